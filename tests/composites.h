/* Functions that the library makes of ops, called by their names with arguments out of a text, as test_oracle needs
 * them. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_COMPOSITES_H
#define TD_TESTS_COMPOSITES_H

#include <stdbool.h>

#include "tensord.h"

/* One argument, whatever it is; one left out is none of them. */
struct argument {
    td_operand operand;
    td_list list;
    struct td_dims dims;
    double real;
    int64_t integer;
};

/* How many results the function gives; 0: there is none of that name. */
int composite_results(const char *name);
/* Calls it; arguments that it does not get are left out. */
void composite_call(const char *name, const struct argument *arguments, td_tensor *results);

#endif
