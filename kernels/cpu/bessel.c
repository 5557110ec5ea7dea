/* Modified Bessel functions. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/bessel.h"
#include "kernels/cpu/unary.h"

UNARY_REAL(i0)
UNARY_REAL(i1)
