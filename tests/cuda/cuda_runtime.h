/* CUDA's runtime on the host, as far as kernels/cuda uses it: the same kernel sources, compiled by g++ with this folder
 * on the include path, run here and under the sanitizers. A thread of a block is a run of the kernel's function on a
 * stack of its own, put aside where it waits for the others. The device's memory is the host's; what goes into a stream
 * is done when somebody waits for it and not before, as late as a real device may be: of other streams only what that
 * one was told to wait for.
 * Behaviour of the functions: CUDA Runtime API 13. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_CUDA_RUNTIME_H
#define TD_TESTS_CUDA_RUNTIME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
/* One block runs at a time, and all its threads on one thread of the host. */
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorMemoryAllocation = 2,
    cudaErrorStubLibrary = 34,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorUnknown = 999
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum {
    cudaStreamNonBlocking = 1,
    cudaEventDefault = 0,
    cudaEventDisableTiming = 2,
    cudaHostAllocDefault = 0,
    cudaHostRegisterDefault = 0
};

struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    size_t totalGlobalMem;
};
typedef struct fake_stream *cudaStream_t;
typedef struct fake_event *cudaEvent_t;

extern "C" {
const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device);
cudaError_t cudaDeviceGetPCIBusId(char *bus, int size, int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaMalloc(void **memory, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags);
cudaError_t cudaHostRegister(void *memory, size_t bytes, unsigned flags);
cudaError_t cudaHostUnregister(void *memory);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);

/* emulator.c. A launch: thread is called for each thread of each block with data, which is freed by drop. */
typedef void fake_thread(void *data);
void fake_launch(cudaStream_t stream, unsigned blocks, unsigned threads, fake_thread *thread, void *data,
                 fake_thread *drop);
/* What a library does: call, once, on a stack as large as it may want. */
void fake_call(cudaStream_t stream, fake_thread *call, void *data, fake_thread *drop);
void __syncthreads(void);
int __syncthreads_or(int predicate);
/* The value that the thread at lane of the caller's warp gave in the same call; all its threads call. */
uint64_t fake_exchange(uint64_t value, int lane);
extern struct fake_index {
    unsigned x;
} threadIdx, blockIdx, blockDim, gridDim;
}

template <class T> static inline T fake_shuffle(T value, int lane)
{
    static_assert(sizeof(T) <= 8, "shuffled by words");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = fake_exchange(bits, lane);
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T> static inline T __shfl_xor_sync(unsigned, T value, int mask)
{
    return fake_shuffle(value, (int)(threadIdx.x % 32) ^ mask);
}
template <class T> static inline T __shfl_down_sync(unsigned, T value, int by)
{
    int lane = (int)(threadIdx.x % 32);
    return fake_shuffle(value, lane + by < 32 ? lane + by : lane);
}
template <class T> static inline T __shfl_up_sync(unsigned, T value, int by)
{
    int lane = (int)(threadIdx.x % 32);
    return fake_shuffle(value, lane >= by ? lane - by : lane);
}
template <class T> static inline T __shfl_sync(unsigned, T value, int lane)
{
    return fake_shuffle(value, lane);
}

/* Threads are put aside at barriers only, so each of these is atomic as it stands. */
template <class T> static inline T atomicAdd(T *at, T value)
{
    T old = *at;
    *at = old + value;
    return old;
}
template <class T> static inline T atomicMin(T *at, T value)
{
    T old = *at;
    *at = value < old ? value : old;
    return old;
}
template <class T> static inline T atomicMax(T *at, T value)
{
    T old = *at;
    *at = value > old ? value : old;
    return old;
}
template <class T> static inline T atomicCAS(T *at, T expected, T value)
{
    T old = *at;
    if (old == expected)
        *at = value;
    return old;
}

#endif
