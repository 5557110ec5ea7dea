/* Gradient rules of the modified Bessel functions, written as those of gradients_elementwise.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/rule_ops.h"

/* g * i1(x) */
RULE(i0)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_i1, as_computed(r, in(r, 0)))));
}

/* g * (i0(x) - y / x), at 0 g / 2 */
RULE(i1)
{
    ref x = as_computed(r, in(r, 0)), at_zero = binary(r, TD_OP_eq, x, real(r, 0));
    ref safe = where(r, at_zero, real(r, 1), x);
    ref slope = sub(r, unary(r, TD_OP_i0, x), divide(r, out(r), safe));
    give(r, 0, mul(r, g, where(r, at_zero, real(r, 0.5), slope)));
}
