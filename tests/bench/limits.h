/* What one core of this machine can do at best: plain loops that the compiler may reorder as it likes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_BENCH_LIMITS_H
#define TD_TESTS_BENCH_LIMITS_H

#include <stddef.h>

/* Each works on count elements of buffers that it makes once and keeps, and returns the seconds it took. */
double limit_exp(size_t count);
double limit_tanh(size_t count);
double limit_gelu(size_t count); /* the form with tanh */
double limit_sum(size_t count);
/* memcpy of as many bytes as are to be moved: half of them read and half written. */
double limit_move(size_t bytes);

#endif
