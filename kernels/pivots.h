/* What the pivots of triangular factors tell. C and C++. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_PIVOTS_H
#define TD_KERNELS_PIVOTS_H

#include <stdbool.h>

#include "kernels/scalar.h"

/* Whether factors of n pivots are as good as those of any matrix: pivots of one order of magnitude. */
TD_HD static inline bool td_pivots_are_sound(double least, double most, double eps, int n)
{
    return least > most * eps * 256 * (n + 1);
}

#endif
