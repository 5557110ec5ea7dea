/* A deliberate fault, for tests/wrong.sh to see that the walks over the table would notice one: with TEST_WRONG=<op> in
 * the environment what that op gave is spoilt before it is judged. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_WRONG_H
#define TD_TESTS_WRONG_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool is_wrong(const char *op)
{
    const char *wrong = getenv("TEST_WRONG");
    return wrong && !strcmp(wrong, op);
}

#endif
