/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"
void bench_training(const struct test_daemon *daemon)
{
    (void)daemon;
}
