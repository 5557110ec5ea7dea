/* The device itself: its memory, its streams, and how an op gets there. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/solver.h"

#include <atomic>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

cudaStream_t td_stream;
int td_lane;

/* Launches are put into the streams one at a time: what one of them keeps in scratch must not be used by another, and
 * td_stream is its own. Over all that is counted, too. */
static pthread_mutex_t launching = PTHREAD_MUTEX_INITIALIZER;

static cudaStream_t lanes[TD_LANES];
static std::atomic<uint64_t> stamps[TD_LANES]; /* of what was last put into each; asked for without the lock */
static cudaEvent_t here[TD_LANES];             /* where one was when another was last put behind it */

/* What a context does not survive leaves nothing to be saved; EX_SOFTWARE of sysexits.h. */
#define EXIT_BROKEN 70

/* Which device is meant is said by each thread. */
static int chosen;
static void choose_device(void)
{
    static thread_local bool said;
    if (!said)
        td_cuda_check(cudaSetDevice(chosen), "choosing the device");
    said = true;
}

void td_cuda_check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return;
    fprintf(stderr, "the CUDA device does not work any more: %s: %s (%s)\n", what, cudaGetErrorString(error),
            cudaGetErrorName(error));
    _exit(EXIT_BROKEN);
}

/* What is put into lane now is one thing more; until `leave`. */
static void enter(int lane)
{
    choose_device();
    pthread_mutex_lock(&launching);
    td_lane = lane;
    td_stream = lanes[lane];
    stamps[lane]++;
}

static void leave(void)
{
    pthread_mutex_unlock(&launching);
}

int td_cuda_aside(void)
{
    int lane = td_lane;
    pthread_mutex_unlock(&launching);
    return lane;
}

void td_cuda_back(int lane)
{
    pthread_mutex_lock(&launching);
    td_lane = lane;
    td_stream = lanes[lane];
    stamps[lane]++; /* who was put behind this lane meanwhile is not behind what comes now */
}

cudaStream_t td_cuda_stream_of(int lane)
{
    return lanes[lane];
}

void td_cuda_settle(void)
{
    int lane = td_cuda_aside();
    td_cuda_check(cudaStreamSynchronize(lanes[lane]), "waiting for the device");
    td_cuda_back(lane);
}

/* ---- lanes and points ---- */

static uint64_t stamp(int lane)
{
    return stamps[lane];
}

/* An event that waits already for what it stood for before may be recorded anew: a wait is for what was recorded when
 * it was asked for. */
static uint64_t order(int lane, int after)
{
    enter(lane);
    uint64_t last = stamps[after];
    td_cuda_check(cudaEventRecord(here[after], lanes[after]), "an order of streams");
    td_cuda_check(cudaStreamWaitEvent(td_stream, here[after], 0), "an order of streams");
    leave();
    return last;
}

static void settle(int lane)
{
    choose_device();
    td_cuda_check(cudaStreamSynchronize(lanes[lane]), "waiting for the device");
}

struct td_point {
    cudaEvent_t event;
};

static bool mark(struct td_point **point, int lane)
{
    choose_device();
    if (!*point && !(*point = (struct td_point *)calloc(1, sizeof **point)))
        return false;
    if (!(*point)->event)
        td_cuda_check(cudaEventCreateWithFlags(&(*point)->event, cudaEventDefault), "an event");
    enter(lane);
    td_cuda_check(cudaEventRecord((*point)->event, td_stream), "an event");
    leave();
    return true;
}

static void follow(int lane, const struct td_point *point)
{
    enter(lane);
    td_cuda_check(cudaStreamWaitEvent(td_stream, point->event, 0), "an event");
    leave();
}

static bool has_happened(cudaEvent_t event)
{
    cudaError_t error = cudaEventQuery(event);
    if (error == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* an answer, and no error */
        return false;
    }
    td_cuda_check(error, "an event");
    return true;
}

static bool passed(const struct td_point *point)
{
    choose_device();
    return has_happened(point->event);
}

static double between(const struct td_point *from, const struct td_point *to)
{
    float ms = 0;
    choose_device();
    td_cuda_check(cudaEventSynchronize(from->event), "an event");
    td_cuda_check(cudaEventSynchronize(to->event), "an event");
    td_cuda_check(cudaEventElapsedTime(&ms, from->event, to->event), "the time between events");
    return (double)ms;
}

static void forget(struct td_point *point)
{
    if (!point)
        return;
    choose_device();
    if (point->event)
        td_cuda_check(cudaEventDestroy(point->event), "an event");
    free(point);
}

/* ---- memory ---- */

void *td_cuda_reserve(size_t bytes)
{
    choose_device();
    void *memory = NULL;
    cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError(); /* it has been seen */
        return NULL;
    }
    td_cuda_check(error, "taking memory");
    return memory;
}

void td_cuda_unreserve(void *memory, size_t bytes)
{
    (void)bytes;
    td_cuda_check(cudaFree(memory), "giving memory back");
}

/* Uploads go through memory that the device can fetch from by itself, a slot at a time: by then the caller has its own
 * back. Four slots keep the bus busy while the host fills the next. */
#define SLOTS 4
#define SLOT_BYTES ((size_t)1 << 20)

static struct {
    char *memory;
    cudaEvent_t fetched[SLOTS];
    int next;
} staging;

static void upload_piece(char *to, const char *from, size_t bytes)
{
    enter(TD_LANE_UPLOAD);
    int slot = staging.next++ % SLOTS;
    char *at = staging.memory + (size_t)slot * SLOT_BYTES;
    td_cuda_check(cudaEventSynchronize(staging.fetched[slot]), "an upload");
    memcpy(at, from, bytes);
    td_cuda_check(cudaMemcpyAsync(to, at, bytes, cudaMemcpyHostToDevice, td_stream), "an upload");
    td_cuda_check(cudaEventRecord(staging.fetched[slot], td_stream), "an upload");
    leave();
}

static void upload(void *to, const void *from, size_t bytes, bool pinned)
{
    if (pinned && bytes) {
        enter(TD_LANE_UPLOAD);
        td_cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, td_stream), "an upload");
        leave();
        return;
    }
    for (size_t done = 0, now; done < bytes; done += now) {
        now = bytes - done < SLOT_BYTES ? bytes - done : SLOT_BYTES;
        upload_piece((char *)to + done, (const char *)from + done, now);
    }
}

/* Into memory that the device writes to by itself, or others would have to wait for the copy. The loop's thread and the
 * device's may be here, one each. */
#define FETCHES 2

void td_cuda_fetch(void *to, const void *from, size_t bytes)
{
    static bool taken[FETCHES];
    int slot = taken[0];
    char *at = staging.memory + SLOTS * SLOT_BYTES + (size_t)slot * TD_FETCH_BYTES;
    taken[slot] = true;
    td_cuda_check(cudaMemcpyAsync(at, from, bytes, cudaMemcpyDeviceToHost, td_stream), "a look at the device's memory");
    td_cuda_settle();
    memcpy(to, at, bytes);
    taken[slot] = false;
}

static void download(int lane, void *to, const void *from, size_t bytes)
{
    enter(lane);
    if (bytes)
        td_cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, td_stream), "a download");
    td_cuda_settle();
    leave();
}

static void copy(int lane, void *to, const void *from, size_t bytes)
{
    enter(lane);
    if (bytes)
        td_cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, td_stream), "a copy");
    leave();
}

static void zero(int lane, void *to, size_t bytes)
{
    enter(lane);
    if (bytes)
        td_cuda_check(cudaMemsetAsync(to, 0, bytes, td_stream), "zeroing");
    leave();
}

static bool pin(void *memory, size_t bytes)
{
    choose_device();
    cudaError_t error = cudaHostRegister(memory, bytes, cudaHostRegisterDefault);
    (void)cudaGetLastError();
    return error == cudaSuccess; /* else it is memory like any other */
}

static void unpin(void *memory)
{
    choose_device();
    td_cuda_check(cudaHostUnregister(memory), "memory of the host");
}

/* One piece for each stream, which grows. What is still to be done in the old one is done before it is given back:
 * cudaFree waits. */
void *td_cuda_scratch(size_t bytes)
{
    static struct {
        void *memory;
        size_t size;
    } pieces[TD_STREAMS];
    auto *piece = &pieces[td_lane];
    if (bytes <= piece->size)
        return piece->memory;
    if (piece->memory)
        td_cuda_unreserve(piece->memory, piece->size);
    piece->size = (bytes + SLOT_BYTES - 1) / SLOT_BYTES * SLOT_BYTES;
    piece->memory = td_cuda_reserve(piece->size);
    if (!piece->memory)
        piece->size = 0;
    return piece->memory;
}

/* ---- what is in flight ---- */

/* A stream takes about a thousand launches, and who puts in one more waits until one is done: that must not be the
 * loop. So a mark is put behind each MARK_OPS ops. An op that finds the device MARKS_MANY marks behind goes to the
 * device's thread, and there waits while it is MARKS behind. */
#define MARK_OPS 32
#define MARKS_MANY 4
#define MARKS 8

static struct {
    cudaEvent_t marks[MARKS];
    uint64_t put, passed; /* marks so far */
    int ops;              /* since the last one */
} flights[TD_STREAMS];

/* Whether lane has this many marks or more that the device has not passed. With the lock. */
static bool is_behind(int lane, uint64_t marks)
{
    auto *flight = &flights[lane];
    while (flight->put - flight->passed >= marks) {
        if (!has_happened(flight->marks[flight->passed % MARKS]))
            return true;
        flight->passed++;
    }
    return false;
}

static bool has_much(int lane)
{
    choose_device();
    pthread_mutex_lock(&launching);
    bool much = is_behind(lane, MARKS_MANY);
    pthread_mutex_unlock(&launching);
    return much;
}

/* Enters lane when there is room in it. */
static void enter_with_room(int lane)
{
    for (enter(lane); is_behind(lane, MARKS); enter(lane)) {
        cudaEvent_t oldest = flights[lane].marks[flights[lane].passed % MARKS];
        leave();
        td_cuda_check(cudaEventSynchronize(oldest), "waiting for the device");
    }
}

static void note_flight(int lane)
{
    auto *flight = &flights[lane];
    if (++flight->ops < MARK_OPS || flight->put - flight->passed == MARKS)
        return;
    td_cuda_check(cudaEventRecord(flight->marks[flight->put++ % MARKS], td_stream), "a mark");
    flight->ops = 0;
}

/* ---- ops ---- */

static const struct td_device *host;

static void run(struct td_launch *launch)
{
    memset(&launch->fault, 0, sizeof launch->fault);
    td_launcher *launcher = td_cuda_launcher(launch->op->id);
    enter_with_room(launch->lane);
    launcher(launch);
    note_flight(launch->lane);
    leave();
}

static bool may_fail(const struct td_launch *launch)
{
    switch (launch->op->id) {
    case TD_OP_fmod:
    case TD_OP_remainder:
    case TD_OP_floor_divide:
    case TD_OP_trunc_divide: /* of floats nothing can fail, and a number is looked at here */
        return td_dtype_category(launch->in[1].dtype) == TD_INTEGER && !launch->in[1].immediate;
    }
    return td_op_fails_for_data(launch->op);
}

static bool waits(const struct td_launch *launch)
{
    int op = launch->op->id;
    return td_cuda_is_on_host(op) || td_cuda_solves(op) || may_fail(launch) || has_much(launch->lane);
}

/* A launch takes the host some 5 us. The device moves bytes at terabytes a second, which is not waited for; what is
 * computed on the host costs what it costs there and the way. Factors are made step by step, each of a few launches: a
 * tenth of the host's time is a guess on the high side. */
#define LAUNCH_NS 5000
#define BUS_BYTES_NS 10
#define SOLVER_NS 100000
#define SOLVER_GAIN 10

static uint64_t bytes_of(const struct td_operand *operand)
{
    return operand->data ? (uint64_t)td_operand_numel(operand) * td_dtype_size(operand->dtype) : 0;
}

static uint64_t cost(const struct td_launch *launch)
{
    uint64_t bytes = 0;
    for (int k = 0; k < launch->in_count; k++)
        bytes += bytes_of(&launch->in[k]);
    for (int k = 0; k < launch->op->output_count; k++)
        bytes += bytes_of(&launch->out[k]);
    bool solves = td_cuda_solves(launch->op->id);
    if (solves && td_solver_may_be_there())
        return host->cost(launch) / SOLVER_GAIN + SOLVER_NS;
    if (solves || td_cuda_is_on_host(launch->op->id))
        return host->cost(launch) + bytes / BUS_BYTES_NS + LAUNCH_NS;
    return LAUNCH_NS + bytes / 1000;
}

static uint8_t works_in_narrow(const struct td_op *op, uint8_t dtype)
{
    bool product = op->id == TD_OP_matmul || op->id == TD_OP_linear || !strcmp(op->group, "conv");
    bool half = dtype == TD_F16 || dtype == TD_BF16;
    return product && half ? dtype : host->works_in_narrow(op, dtype);
}

static uint32_t dense_inputs(const struct td_op *op)
{
    return host->dense_inputs(op);
}

/* The host's part of what it computes for the device. */
static void set_threads(int count)
{
    host->set_threads(count);
}

/* ---- opening ---- */

static struct td_device device;
static char device_name[16];

const struct td_device *td_cuda_host(void)
{
    return host;
}

static int no_device(struct td_failure *failure, const char *why, const char *hint)
{
    td_fail(failure, TD_E_ARGUMENT, "%s", why);
    return td_hint(failure, "%s", hint);
}

/* Why there is none, in words of somebody who can do something about it. */
static int find_device(int index, struct td_cuda_choice choice, struct td_failure *failure)
{
    int count = 0, driver = 0, runtime = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    (void)cudaGetLastError();
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    char why[256];
    if (error == cudaErrorStubLibrary)
        return no_device(failure, "libcuda.so.1 is the toolkit's stub, not a driver",
                         "Take the toolkit's stubs folder out of LD_LIBRARY_PATH.");
    if (error == cudaErrorInsufficientDriver && driver == 0)
        return no_device(failure, "there is no NVIDIA driver here (libcuda.so.1)", "Install the driver of the GPU.");
    if (error == cudaErrorInsufficientDriver) {
        snprintf(why, sizeof why, "the NVIDIA driver is for CUDA %d.%d at most, and this build needs %d.%d",
                 driver / 1000, driver % 100 / 10, runtime / 1000, runtime % 100 / 10);
        return no_device(failure, why, "Update the driver, or build with an older toolkit.");
    }
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
        return no_device(failure, "the NVIDIA driver sees no GPU", "nvidia-smi and CUDA_VISIBLE_DEVICES tell more.");
    if (error != cudaSuccess) {
        snprintf(why, sizeof why, "CUDA does not start: %s (%s)", cudaGetErrorString(error), cudaGetErrorName(error));
        return no_device(failure, why, "nvidia-smi tells more.");
    }
    device.count = choice.count < 0 ? count : choice.count;
    if (index < device.count)
        return TD_E_OK;
    snprintf(why, sizeof why, "there is no cuda:%d: CUDA sees %d device%s, from cuda:0 on", index, device.count,
             device.count == 1 ? "" : "s");
    return no_device(failure, why, "CUDA_VISIBLE_DEVICES hides some.");
}

static int open_device(int index, struct td_failure *failure)
{
    struct cudaDeviceProp properties;
    cudaError_t error = cudaSetDevice(chosen);
    if (error == cudaSuccess)
        error = cudaGetDeviceProperties(&properties, chosen);
    for (int lane = 0; lane < TD_LANES && error == cudaSuccess; lane++) {
        error = cudaStreamCreateWithFlags(&lanes[lane], cudaStreamNonBlocking);
        if (error == cudaSuccess)
            error = cudaEventCreateWithFlags(&here[lane], cudaEventDisableTiming);
    }
    for (int k = 0; k < TD_STREAMS * MARKS && error == cudaSuccess; k++)
        error = cudaEventCreateWithFlags(&flights[k / MARKS].marks[k % MARKS], cudaEventDisableTiming);
    if (error == cudaSuccess)
        error = cudaHostAlloc((void **)&staging.memory, SLOTS * SLOT_BYTES + FETCHES * TD_FETCH_BYTES,
                              cudaHostAllocDefault);
    for (int slot = 0; slot < SLOTS && error == cudaSuccess; slot++)
        error = cudaEventCreateWithFlags(&staging.fetched[slot], cudaEventDisableTiming);
    if (error == cudaSuccess)
        error = td_cuda_blas_open();
    if (error != cudaSuccess)
        return td_fail(failure, TD_E_MEMORY, "cuda:%d cannot be opened: %s", index, cudaGetErrorString(error));
    snprintf(device_name, sizeof device_name, "cuda:%d", index);
    snprintf(device.description, sizeof device.description, "%.64s, %.0f GiB, compute capability %d.%d",
             properties.name, (double)properties.totalGlobalMem / (1 << 30), properties.major, properties.minor);
    device.memory_bytes = properties.totalGlobalMem;
    device.units = properties.multiProcessorCount;
    device.capability[0] = properties.major;
    device.capability[1] = properties.minor;
    return TD_E_OK;
}

extern "C" __attribute__((visibility("default"))) const struct td_device *
td_device_open(int index, const struct td_device *cpu, struct td_failure *failure)
{
    struct td_cuda_choice choice = td_cuda_choose(index);
    host = cpu;
    chosen = choice.index;
    if (find_device(index, choice, failure) || open_device(index, failure))
        return NULL;
    device.name = device_name;
    device.reserve = td_cuda_reserve;
    device.unreserve = td_cuda_unreserve;
    device.upload = upload;
    device.download = download;
    device.copy = copy;
    device.zero = zero;
    device.stamp = stamp;
    device.order = order;
    device.settle = settle;
    device.mark = mark;
    device.follow = follow;
    device.passed = passed;
    device.between = between;
    device.forget = forget;
    device.pin = pin;
    device.unpin = unpin;
    device.set_threads = set_threads;
    device.run = run;
    device.waits = waits;
    device.cost = cost;
    device.works_in_narrow = works_in_narrow;
    device.carried_bytes = td_cuda_carried_bytes;
    device.dense_inputs = dense_inputs;
    char bus[32];
    if (cudaDeviceGetPCIBusId(bus, sizeof bus, chosen) == cudaSuccess && td_cuda_gauges_open(bus, choice.instance))
        device.read_gauges = td_cuda_read_gauges;
    (void)cudaGetLastError();
    return &device;
}
