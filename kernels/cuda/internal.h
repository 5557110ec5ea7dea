/* Private to kernels/cuda: a plug-in (kernels.h). A stream for each lane; launches are put into them one at a time,
 * whoever asked. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_INTERNAL_H
#define TD_KERNELS_CUDA_INTERNAL_H

#include <cuda_runtime.h>

extern "C" {
#include "kernels/kernels.h"
}

/* The number of an op's row, what works on it, and the name of its kernel's launcher. */
#define TD_CUDA(name) td_cuda_##name

/* A launcher for each row but the views. Those in on_host.h are the host's. */
#define TD_KERNEL_CREATE(name) void TD_CUDA(name)(struct td_launch * launch);
#define TD_KERNEL_RANDOM(name) TD_KERNEL_CREATE(name)
#define TD_KERNEL_FRESH(name) TD_KERNEL_CREATE(name)
#define TD_KERNEL_INPLACE(name) TD_KERNEL_CREATE(name)
#define TD_KERNEL_STEP(name) TD_KERNEL_CREATE(name)
#define TD_KERNEL_VIEW(name)
#define TD_OP(id, name, group, params, output, kind, ...) TD_KERNEL_##kind(name)
#include "protocol/ops.def"
#include "protocol/ops_undef.h"
#undef TD_KERNEL_CREATE
#undef TD_KERNEL_RANDOM
#undef TD_KERNEL_FRESH
#undef TD_KERNEL_INPLACE
#undef TD_KERNEL_STEP
#undef TD_KERNEL_VIEW

/* The stream of the launch in work, and its lane. */
extern cudaStream_t td_stream;
extern int td_lane;

/* Ends the process if error is one: what and where is said on standard error. */
void td_cuda_check(cudaError_t error, const char *what);

/* Waits for all that is in the stream, and lets other launches go on meanwhile: scratch is theirs. Afterwards the
 * stream is the launch's own again. */
void td_cuda_settle(void);

/* Brings a few bytes (TD_FETCH_BYTES at most) from the device, and settles. */
#define TD_FETCH_BYTES 256
void td_cuda_fetch(void *to, const void *from, size_t bytes);

/* Memory of the device that what the same launch puts into the stream may use, until its next call or td_cuda_settle;
 * NULL where the device has none left. */
void *td_cuda_scratch(size_t bytes);

/* The CPU, which computes what has no kernel here. */
const struct td_device *td_cuda_host(void);
/* host.cu: carries the operands to the host, lets the CPU compute, and carries back what it wrote. */
void td_cuda_on_host(struct td_launch *launch);
/* Of kernels.h. */
uint64_t td_cuda_carried_bytes(void);
/* nvml.cu: the instruments of the device with that address on the bus, or of the instance (MIG) with that UUID if it is
 * not NULL; false: there are none to read. */
bool td_cuda_gauges_open(const char *bus, const char *instance);
bool td_cuda_read_gauges(struct td_gauges *gauges);
#define TD_CUDA_UUID_BYTES 96 /* NVML's own limit */
/* Where a GPU is divided (MIG), the UUIDs of all instances that there are, and then of the GPUs that are not divided;
 * returns how many. 0: none is divided, or nobody knows. */
int td_cuda_list_instances(char uuids[][TD_CUDA_UUID_BYTES], int most);

/* visible.cu: what CUDA is to be asked for to get device number index. Called before CUDA is. */
struct td_cuda_choice {
    int index;            /* of those that CUDA sees then */
    int count;            /* devices that there are; -1: as many as CUDA sees */
    const char *instance; /* the UUID of an instance of a GPU; NULL: it is none */
};
struct td_cuda_choice td_cuda_choose(int index);

/* table.cu: NULL for a view, which has no work to do. */
typedef void td_launcher(struct td_launch *launch);
td_launcher *td_cuda_launcher(int op);
/* Whether the op is computed on the host. */
bool td_cuda_is_on_host(int op);

static inline int64_t td_operand_numel(const struct td_operand *operand)
{
    int64_t count = 1;
    for (int d = 0; d < operand->rank; d++)
        count *= operand->shape[d];
    return count;
}

#define TD_THREADS 256 /* of a block, where nothing speaks for another number */

/* Puts a kernel into the stream: blocks of threads. The only place that knows how a launch is written. */
#ifdef __CUDACC__
template <class... P, class... A>
static inline void td_enqueue(void (*kernel)(P...), int64_t blocks, int threads, A... arguments)
{
    if (blocks == 0)
        return;
    kernel<<<(unsigned)blocks, (unsigned)threads, 0, td_stream>>>(static_cast<P>(arguments)...);
    td_cuda_check(cudaPeekAtLastError(), "a launch");
}
#else
template <class... P, class... A>
static inline void td_enqueue(void (*kernel)(P...), int64_t blocks, int threads, A... arguments)
{
    if (blocks == 0)
        return;
    auto call = [=]() { kernel(static_cast<P>(arguments)...); };
    typedef decltype(call) closure;
    fake_launch(
        td_stream, (unsigned)blocks, (unsigned)threads, [](void *data) { (*(closure *)data)(); }, new closure(call),
        [](void *data) { delete (closure *)data; });
    td_cuda_check(cudaPeekAtLastError(), "a launch");
}
#endif

/* As many blocks of threads as count items need, each thread taking per. */
static inline int64_t td_blocks(int64_t count, int64_t per, int threads)
{
    int64_t items = per * threads;
    return (count + items - 1) / items;
}

#endif
