/* A light user beside others: what a ping and a tiny op wait for. SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"
void bench_schedule(const struct test_daemon *daemon)
{
    (void)daemon;
}
