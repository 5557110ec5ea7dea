/* Random numbers for tests: the same for the same seed, which is printed and can be given by TEST_SEED.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_RANDOM_H
#define TD_TESTS_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct random {
    uint64_t state;
};

static inline struct random random_new(void)
{
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 1;
    printf("# TEST_SEED=%llu\n", (unsigned long long)seed);
    return (struct random){seed};
}

/* splitmix64: https://prng.di.unimi.it/splitmix64.c */
static inline uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t random_below(struct random *random, uint64_t limit)
{
    return random_next(random) % limit;
}

#endif
