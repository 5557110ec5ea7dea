/* Modified Bessel functions. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/functors.h"
#include "kernels/bessel.h"

UNARY_REAL(i0)
UNARY_REAL(i1)
