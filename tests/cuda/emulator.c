/* The device behind cuda_runtime.h: streams that are late, and blocks whose threads take turns.
 * Threads of a block are coroutines: one runs until it ends, and then the same stack is used for the next, or until it
 * waits at a barrier. So a kernel without barriers takes one stack and no switch.
 * TENSORD_FAKE_CUDA in the environment says what the device is like, words with commas between: "none" (there is no
 * device), "old" (the driver is too old), "oom=N" (the Nth allocation and all after it fail), "fault=N" (the Nth launch
 * makes the context unusable), "devices=N" (there are so many, a GPU each; CUDA_VISIBLE_DEVICES chooses among them by
 * number or by UUID, as the real one does), "mig" (the first of them is divided into two instances: tests/cuda/nvml.c
 * has their UUIDs), "narrow" (so does a launch for which the real device would keep its thread waiting, since the
 * stream is full), "unpinnable" (no memory of the host can be registered), "solverless" (cuSOLVER does not start).
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBERS_ARE_TOLD 1
#include <sanitizer/common_interface_defs.h>
#endif

enum {
    OK = 0,
    OUT_OF_MEMORY = 2,
    OLD_DRIVER = 35,
    NO_DEVICE = 100,
    BAD_DEVICE = 101,
    BAD_HANDLE = 400,
    NOT_READY = 600,
    ILLEGAL = 700,
    ALREADY_REGISTERED = 712,
    NOT_REGISTERED = 713
};

typedef void fake_thread(void *data);
struct fake_index {
    unsigned x;
};
struct fake_index threadIdx, blockIdx, blockDim, gridDim;

/* ---- what the device is like ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over all below: the loop's and the device's thread call */
static long allocations, launches;
static int sticky, last;

static long wish(const char *word)
{
    const char *all = getenv("TENSORD_FAKE_CUDA"), *at = all ? strstr(all, word) : NULL;
    if (!at)
        return 0;
    at += strlen(word);
    return *at == '=' ? strtol(at + 1, NULL, 10) : 1;
}

static int said(int error)
{
    if (error)
        last = error;
    return error;
}

/* ---- blocks ---- */

#define STACK_BYTES ((size_t)64 << 10)
#define THREADS_MAX 1024
#define WARP 32

struct fiber {
    ucontext_t context;
    void *stack;
    unsigned thread;
    bool waits, warp_only; /* at a barrier, of its warp only */
};

static struct {
    struct fiber fibers[THREADS_MAX];
    int made;      /* fibers that have a stack */
    int used;      /* of this block */
    int current;   /* -1: the scheduler */
    unsigned next; /* the first thread that has not begun */
    ucontext_t scheduler;
    fake_thread *thread;
    void *data;
    uint64_t given[THREADS_MAX]; /* for exchanges, by thread */
    int any;                     /* of __syncthreads_or, so far */
    int any_before;              /* of the last barrier that all reached */
#ifdef FIBERS_ARE_TOLD
    const void *scheduler_stack;
    size_t scheduler_bytes;
    void *scheduler_fake;
    void *fake[THREADS_MAX];
#endif
} block;

static void to_scheduler(bool ends)
{
    struct fiber *self = &block.fibers[block.current];
#ifdef FIBERS_ARE_TOLD
    __sanitizer_start_switch_fiber(ends ? NULL : &block.fake[block.current], block.scheduler_stack,
                                   block.scheduler_bytes);
#else
    (void)ends;
#endif
    int me = block.current;
    swapcontext(&self->context, &block.scheduler);
#ifdef FIBERS_ARE_TOLD
    __sanitizer_finish_switch_fiber(block.fake[me], &block.scheduler_stack, &block.scheduler_bytes);
#endif
    block.current = me;
    threadIdx.x = self->thread;
}

static void to_fiber(int k)
{
    block.current = k;
    threadIdx.x = block.fibers[k].thread;
#ifdef FIBERS_ARE_TOLD
    __sanitizer_start_switch_fiber(&block.scheduler_fake, block.fibers[k].stack, STACK_BYTES);
#endif
    swapcontext(&block.scheduler, &block.fibers[k].context);
#ifdef FIBERS_ARE_TOLD
    __sanitizer_finish_switch_fiber(block.scheduler_fake, NULL, NULL);
#endif
}

/* Runs threads, one after the other as long as none of them waits. */
static void fiber_main(void)
{
#ifdef FIBERS_ARE_TOLD
    __sanitizer_finish_switch_fiber(NULL, &block.scheduler_stack, &block.scheduler_bytes);
#endif
    int me = block.current;
    for (;;) {
        struct fiber *self = &block.fibers[me];
        block.thread(block.data);
        if (block.next == blockDim.x)
            break;
        self->thread = block.next++;
        threadIdx.x = self->thread;
    }
    block.fibers[me].thread = UINT32_MAX; /* it has ended */
    to_scheduler(true);
    abort();
}

static void start_fiber(void)
{
    int k = block.used++;
    struct fiber *fiber = &block.fibers[k];
    if (k == block.made) {
        fiber->stack = malloc(STACK_BYTES);
        if (!fiber->stack)
            abort();
        block.made++;
    }
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, fiber_main, 0);
    fiber->thread = block.next++;
    fiber->waits = false;
    to_fiber(k);
}

static bool is_live(const struct fiber *fiber)
{
    return fiber->thread != UINT32_MAX;
}

/* Lets all that wait at the block's barrier go on, or those of one warp at theirs; false if none can: what they wait
 * for are threads that never come. */
static bool release(void)
{
    int live = 0, at_block = 0;
    bool any = false;
    for (int k = 0; k < block.used; k++) {
        live += is_live(&block.fibers[k]);
        at_block += is_live(&block.fibers[k]) && !block.fibers[k].warp_only;
    }
    if (live && live == at_block) {
        for (int k = 0; k < block.used; k++)
            block.fibers[k].waits = false;
        block.any_before = block.any;
        block.any = 0;
        return true;
    }
    for (unsigned warp = 0; warp * WARP < blockDim.x; warp++) {
        unsigned there = 0, alive = 0;
        for (int k = 0; k < block.used; k++)
            if (is_live(&block.fibers[k]) && block.fibers[k].thread / WARP == warp) {
                alive++;
                there += block.fibers[k].warp_only;
            }
        if (!there || there != alive)
            continue;
        for (int k = 0; k < block.used; k++)
            if (is_live(&block.fibers[k]) && block.fibers[k].thread / WARP == warp)
                block.fibers[k].waits = block.fibers[k].warp_only = false;
        any = true;
    }
    return any;
}

static void run_block(void)
{
    block.used = 0;
    block.next = 0;
    block.any = 0;
    while (block.next < blockDim.x)
        start_fiber();
    for (;;) {
        bool live = false, ran = false;
        for (int k = 0; k < block.used; k++) {
            live |= is_live(&block.fibers[k]);
            if (is_live(&block.fibers[k]) && !block.fibers[k].waits) {
                to_fiber(k);
                ran = true;
            }
        }
        if (!live)
            return;
        if (!ran && !release()) {
            fprintf(stderr, "emulator: threads of a block wait at barriers that the others do not reach\n");
            abort();
        }
    }
}

static void wait_at_barrier(bool warp_only)
{
    struct fiber *self = &block.fibers[block.current];
    self->waits = true;
    self->warp_only = warp_only;
    to_scheduler(false);
}

void __syncthreads(void)
{
    wait_at_barrier(false);
}

int __syncthreads_or(int predicate)
{
    block.any |= predicate != 0;
    wait_at_barrier(false);
    return block.any_before;
}

uint64_t fake_exchange(uint64_t value, int lane)
{
    unsigned self = threadIdx.x, from = self / WARP * WARP + (unsigned)lane;
    block.given[self] = value;
    wait_at_barrier(true);
    value = block.given[from];
    wait_at_barrier(true); /* all have taken it before the next is given */
    return value;
}

/* ---- streams: a list of what is to be done ---- */

struct work {
    struct work *next;
    struct fake_event *event; /* NULL: a launch, a copy or a fill */
    uint64_t number;          /* of its records: the one that this is, or that is waited for */
    struct fake_stream *from; /* where that one is; NULL: this is it */
    unsigned blocks, threads; /* of a launch; 0: a call of thread on the host, a copy of bytes, or a fill */
    fake_thread *thread, *drop;
    void *data, *to;
    const void *from_memory;
    size_t bytes;
    int value;
};

#define STREAM_MAX 1024 /* what is to be done in one */
struct fake_stream {
    struct work *first, **last;
    int count;
    struct fake_stream *next; /* of all there are */
};
static struct fake_stream *streams;

struct fake_event {
    uint64_t recorded, happened; /* records of it that were put into streams, and the last one that was done */
    struct fake_stream *stream;  /* where it was recorded last */
    struct timespec at;          /* when happened was set */
    unsigned refs;               /* work that names it, and its owner */
    bool timed;
};

static void event_unref(struct fake_event *event)
{
    if (--event->refs == 0)
        free(event);
}

static void run_launch(struct work *work)
{
    gridDim.x = work->blocks;
    blockDim.x = work->threads;
    block.thread = work->thread;
    block.data = work->data;
    /* A real device promises no order, and if anything begins with the first. */
    for (unsigned b = work->blocks; b-- > 0;) {
        blockIdx.x = b;
        run_block();
    }
}

static void drain_until(struct fake_stream *stream, const struct fake_event *event, uint64_t number);

static void run_event(const struct work *work)
{
    if (work->from) {
        drain_until(work->from, work->event, work->number);
    } else {
        work->event->happened = work->number;
        clock_gettime(CLOCK_MONOTONIC, &work->event->at);
    }
    event_unref(work->event);
}

/* The first of what is to be done in stream. */
static void run_first(struct fake_stream *stream)
{
    struct work *work = stream->first;
    stream->first = work->next;
    stream->count--;
    if (!stream->first)
        stream->last = &stream->first;
    if (work->event)
        run_event(work);
    else if (work->blocks && !sticky)
        run_launch(work);
    else if (work->thread && !sticky)
        work->thread(work->data);
    else if (!work->blocks && !sticky && work->from_memory)
        memmove(work->to, work->from_memory, work->bytes);
    else if (!work->blocks && !sticky)
        memset(work->to, work->value, work->bytes);
    if (work->drop)
        work->drop(work->data);
    free(work);
}

static void drain(struct fake_stream *stream)
{
    while (stream->first)
        run_first(stream);
}

static void drain_until(struct fake_stream *stream, const struct fake_event *event, uint64_t number)
{
    while (event->happened < number && stream->first)
        run_first(stream);
}

static void append(struct fake_stream *stream, const struct work *given)
{
    struct work *work = malloc(sizeof *work);
    if (!work)
        abort();
    *work = *given;
    work->next = NULL;
    stream->count++;
    *stream->last = work;
    stream->last = &work->next;
}

void fake_launch(struct fake_stream *stream, unsigned blocks, unsigned threads, fake_thread *thread, void *data,
                 fake_thread *drop)
{
    pthread_mutex_lock(&lock);
    if (threads == 0 || threads > THREADS_MAX || blocks == 0)
        last = 9; /* cudaErrorInvalidConfiguration */
    if (wish("fault") && ++launches >= wish("fault"))
        sticky = last = ILLEGAL;
    if (stream->count >= STREAM_MAX && wish("narrow"))
        sticky = last = ILLEGAL;
    while (stream->count >= STREAM_MAX)
        run_first(stream);
    append(stream, &(struct work){.blocks = blocks, .threads = threads, .thread = thread, .data = data, .drop = drop});
    pthread_mutex_unlock(&lock);
}

void fake_call(struct fake_stream *stream, fake_thread *call, void *data, fake_thread *drop)
{
    pthread_mutex_lock(&lock);
    append(stream, &(struct work){.thread = call, .data = data, .drop = drop});
    pthread_mutex_unlock(&lock);
}

int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, struct fake_stream *stream)
{
    (void)kind;
    pthread_mutex_lock(&lock);
    append(stream, &(struct work){.to = to, .from_memory = from, .bytes = bytes});
    pthread_mutex_unlock(&lock);
    return said(sticky);
}

int cudaMemsetAsync(void *to, int value, size_t bytes, struct fake_stream *stream)
{
    pthread_mutex_lock(&lock);
    append(stream, &(struct work){.to = to, .value = value, .bytes = bytes});
    pthread_mutex_unlock(&lock);
    return said(sticky);
}

int cudaStreamCreateWithFlags(struct fake_stream **stream, unsigned flags)
{
    (void)flags;
    *stream = calloc(1, sizeof **stream);
    if (!*stream)
        return said(OUT_OF_MEMORY);
    (*stream)->last = &(*stream)->first;
    pthread_mutex_lock(&lock);
    (*stream)->next = streams;
    streams = *stream;
    pthread_mutex_unlock(&lock);
    return OK;
}

int cudaStreamSynchronize(struct fake_stream *stream)
{
    pthread_mutex_lock(&lock);
    drain(stream);
    pthread_mutex_unlock(&lock);
    return said(sticky);
}

int cudaEventCreateWithFlags(struct fake_event **event, unsigned flags)
{
    *event = calloc(1, sizeof **event);
    if (!*event)
        return said(OUT_OF_MEMORY);
    (*event)->refs = 1;
    (*event)->timed = !(flags & 2);
    return OK;
}

int cudaEventDestroy(struct fake_event *event)
{
    pthread_mutex_lock(&lock);
    event_unref(event);
    pthread_mutex_unlock(&lock);
    return OK;
}

int cudaEventRecord(struct fake_event *event, struct fake_stream *stream)
{
    pthread_mutex_lock(&lock);
    event->stream = stream;
    event->refs++;
    append(stream, &(struct work){.event = event, .number = ++event->recorded});
    pthread_mutex_unlock(&lock);
    return said(sticky);
}

/* For what was recorded by now, whatever is recorded later. */
int cudaStreamWaitEvent(struct fake_stream *stream, struct fake_event *event, unsigned flags)
{
    (void)flags;
    pthread_mutex_lock(&lock);
    if (event->stream && event->stream != stream) {
        event->refs++;
        append(stream, &(struct work){.event = event, .number = event->recorded, .from = event->stream});
    }
    pthread_mutex_unlock(&lock);
    return said(sticky);
}

int cudaEventSynchronize(struct fake_event *event)
{
    pthread_mutex_lock(&lock);
    if (event->stream)
        drain_until(event->stream, event, event->recorded);
    pthread_mutex_unlock(&lock);
    return said(sticky);
}

/* Who asks again and again sees the device go on. */
int cudaEventQuery(struct fake_event *event)
{
    pthread_mutex_lock(&lock);
    bool happened = event->happened == event->recorded;
    if (!happened && event->stream->first)
        run_first(event->stream);
    pthread_mutex_unlock(&lock);
    return said(sticky ? sticky : happened ? OK : NOT_READY);
}

int cudaEventElapsedTime(float *ms, struct fake_event *from, struct fake_event *to)
{
    if (!from->timed || !to->timed || !from->recorded || !to->recorded)
        return said(BAD_HANDLE);
    if (from->happened != from->recorded || to->happened != to->recorded)
        return said(NOT_READY);
    *ms = (float)((double)(to->at.tv_sec - from->at.tv_sec) * 1e3 + (double)(to->at.tv_nsec - from->at.tv_nsec) / 1e6);
    return OK;
}

/* ---- memory ---- */

static int allocate(void **memory, size_t bytes)
{
    pthread_mutex_lock(&lock);
    bool fails = wish("oom") && ++allocations >= wish("oom");
    pthread_mutex_unlock(&lock);
    *memory = fails ? NULL : aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (*memory)
        memset(*memory, 0xa5, bytes); /* what lies in fresh memory is nobody's to count on */
    return *memory ? OK : said(OUT_OF_MEMORY);
}

int cudaMalloc(void **memory, size_t bytes)
{
    return allocate(memory, bytes);
}

/* Waits for all that may still use it. */
int cudaFree(void *memory)
{
    pthread_mutex_lock(&lock);
    for (struct fake_stream *stream = streams; stream; stream = stream->next)
        drain(stream);
    pthread_mutex_unlock(&lock);
    free(memory);
    return OK;
}

int cudaHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    (void)flags;
    return allocate(memory, bytes);
}

/* Memory of the host that has been registered; as little as any test needs. */
static void *registered[64];

static int find_registered(const void *memory)
{
    int k = 0;
    while (k < 64 && registered[k] != memory)
        k++;
    return k;
}

int cudaHostRegister(void *memory, size_t bytes, unsigned flags)
{
    (void)bytes;
    (void)flags;
    if (wish("unpinnable"))
        return said(OUT_OF_MEMORY);
    pthread_mutex_lock(&lock);
    int k = find_registered(NULL), error = find_registered(memory) < 64 ? ALREADY_REGISTERED : OK;
    if (error == OK && k < 64)
        registered[k] = memory;
    pthread_mutex_unlock(&lock);
    return said(k < 64 ? error : OUT_OF_MEMORY);
}

int cudaHostUnregister(void *memory)
{
    pthread_mutex_lock(&lock);
    int k = find_registered(memory);
    if (k < 64)
        registered[k] = NULL;
    pthread_mutex_unlock(&lock);
    return said(k < 64 ? OK : NOT_REGISTERED);
}

/* ---- the device ---- */

struct properties {
    char name[256];
    int major, minor, processors;
    size_t bytes;
};

#define GPUS_MAX 8
#define GPU_BYTES ((size_t)1 << 30)

/* What CUDA sees: its device k is GPU gpu[k], or an instance of it. */
static struct {
    int count;
    struct {
        int gpu;
        bool instance;
    } devices[GPUS_MAX];
} seen;

static int gpus(void)
{
    long count = wish("devices");
    return count < 1 ? 1 : count < GPUS_MAX ? (int)count : GPUS_MAX;
}

static void see(int gpu, bool instance)
{
    seen.devices[seen.count].gpu = gpu;
    seen.devices[seen.count++].instance = instance;
}

/* The GPU that an entry of CUDA_VISIBLE_DEVICES names; -1: none. */
static int named(const char *entry, bool *instance)
{
    int number = -1;
    char end;
    *instance = wish("mig") && (!strcmp(entry, "MIG-emulated-0") || !strcmp(entry, "MIG-emulated-1"));
    if (*instance)
        return 0;
    if (sscanf(entry, "GPU-emulated-%d%c", &number, &end) != 1 && sscanf(entry, "%d%c", &number, &end) != 1)
        return -1;
    *instance = wish("mig") && number == 0; /* the first of a divided one */
    return number < gpus() ? number : -1;
}

/* Looked at once, when CUDA is asked for the first time. A name that is none hides what stands behind it; an instance
 * all else. */
static void look(void)
{
    static bool looked;
    const char *given = getenv("CUDA_VISIBLE_DEVICES");
    char entry[64];
    bool instance;
    if (looked)
        return;
    looked = true;
    if (!given)
        for (int k = 0; k < (wish("mig") ? 1 : gpus()); k++)
            see(k, wish("mig"));
    while (given && *given && seen.count < GPUS_MAX) {
        size_t bytes = strcspn(given, ",");
        snprintf(entry, sizeof entry, "%.*s", (int)bytes, given);
        int gpu = named(entry, &instance);
        if (gpu < 0)
            return;
        if (instance)
            seen.count = 0;
        see(gpu, instance);
        if (instance)
            return;
        given += bytes + (given[bytes] == ',');
    }
}

int cudaGetDeviceCount(int *count)
{
    look();
    *count = 0;
    if (wish("none") || seen.count == 0)
        return said(NO_DEVICE);
    if (wish("old"))
        return said(OLD_DRIVER);
    *count = seen.count;
    return OK;
}

int cudaSetDevice(int device)
{
    look();
    return said(device < 0 || device >= seen.count ? BAD_DEVICE : OK);
}

int cudaGetDeviceProperties(struct properties *properties, int device)
{
    if (cudaSetDevice(device))
        return said(BAD_DEVICE);
    *properties = (struct properties){"", 9, 0, 4, seen.devices[device].instance ? GPU_BYTES / 2 : GPU_BYTES};
    snprintf(properties->name, sizeof properties->name, "an emulated device%s%s",
             seen.devices[device].instance ? " MIG 1g" : "", seen.devices[device].gpu ? " more" : "");
    return OK;
}

int cudaDeviceGetPCIBusId(char *bus, int size, int device)
{
    if (cudaSetDevice(device))
        return said(BAD_DEVICE);
    snprintf(bus, (size_t)size, "0000:%d:00.0", 17 + seen.devices[device].gpu);
    return OK;
}

int cudaDriverGetVersion(int *version)
{
    *version = wish("old") ? 11000 : 13000;
    return OK;
}

int cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return OK;
}

int cudaGetLastError(void)
{
    int error = last;
    last = sticky;
    return error;
}

int cudaPeekAtLastError(void)
{
    return last;
}

const char *cudaGetErrorName(int error)
{
    switch (error) {
    case OK:
        return "cudaSuccess";
    case OUT_OF_MEMORY:
        return "cudaErrorMemoryAllocation";
    case OLD_DRIVER:
        return "cudaErrorInsufficientDriver";
    case NO_DEVICE:
        return "cudaErrorNoDevice";
    case ILLEGAL:
        return "cudaErrorIllegalAddress";
    }
    return "cudaErrorUnknown";
}

const char *cudaGetErrorString(int error)
{
    switch (error) {
    case OK:
        return "no error";
    case OUT_OF_MEMORY:
        return "out of memory";
    case OLD_DRIVER:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case NO_DEVICE:
        return "no CUDA-capable device is detected";
    case ILLEGAL:
        return "an illegal memory access was encountered";
    }
    return "unknown error";
}
