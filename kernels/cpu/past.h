/* Results written past the caches: memory is not read first to be overwritten, and what is in the caches stays there.
 * Private to kernels/cpu. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_PAST_H
#define TD_KERNELS_CPU_PAST_H

#include <string.h>

#include "kernels/cpu/lanes.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

/* Results from here on: smaller ones are read again before they are gone. */
#define TD_PAST_BYTES ((int64_t)16 << 20)

/* A vector of TD_VECTOR_BYTES; both addresses are multiples of that. */
static inline void td_write_past(void *at, const void *vector)
{
#if defined(__AVX512F__)
    _mm512_stream_si512(at, *(const __m512i *)vector);
#elif defined(__AVX__)
    _mm256_stream_si256(at, *(const __m256i *)vector);
#elif defined(__SSE2__)
    _mm_stream_si128(at, *(const __m128i *)vector);
#else
    memcpy(at, vector, TD_VECTOR_BYTES);
#endif
}

/* After the last of them, before another thread is told that they are there. */
static inline void td_written_past(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

#endif
