/* Contiguous tensors made of nothing but the places of their elements.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_MAKE_H
#define TD_KERNELS_CUDA_MAKE_H

#include "kernels/cuda/map.h"

template <class F, class Y, int N> __global__ void td_make_words(Y *y, int64_t count, bool aligned, F f)
{
    int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, i = k * N;
    if (i >= count)
        return;
    td_word<Y, N> word;
    f(k, word.v);
    if (aligned && i + N <= count) {
        *(td_word<Y, N> *)(y + i) = word;
        return;
    }
    for (int j = 0; j < N; j++)
        if (i + j < count)
            y[i + j] = word.v[j];
}

/* f(k, v) makes elements number k * N and the N - 1 after it. */
template <class F, class Y, int N> static void td_make(const struct td_operand &out, const F &f)
{
    bool aligned = (uintptr_t)out.data % sizeof(td_word<Y, N>) == 0;
    int64_t count = td_operand_numel(&out);
    td_enqueue(td_make_words<F, Y, N>, td_blocks(count, N, TD_THREADS), TD_THREADS, (Y *)out.data, count, aligned, f);
}

#endif
