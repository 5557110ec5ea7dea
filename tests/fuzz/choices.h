/* Bytes of a fuzzer read as choices; at their end every choice is 0. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_FUZZ_CHOICES_H
#define TD_TESTS_FUZZ_CHOICES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Called by libFuzzer, or by replay.c with the files of the corpus. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct choices {
    const uint8_t *at, *end;
};

static inline uint8_t choose(struct choices *c)
{
    return c->at < c->end ? *c->at++ : 0;
}

static inline uint32_t choose_below(struct choices *c, uint32_t limit)
{
    return choose(c) % limit;
}

#define PICK(c, table) ((table)[choose_below(c, sizeof(table) / sizeof *(table))])

/* What must hold whatever the input. */
#define HOLDS(x)                                                         \
    do {                                                                 \
        if (!(x)) {                                                      \
            fprintf(stderr, "%s:%d: not: %s\n", __FILE__, __LINE__, #x); \
            abort();                                                     \
        }                                                                \
    } while (0)

#endif
