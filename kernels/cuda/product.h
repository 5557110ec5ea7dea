/* A product in f64 that leaves the range only if all of it does: in the order in which a device multiplies, one part
 * may come to 0 and another to infinity where the whole is neither. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_PRODUCT_H
#define TD_KERNELS_CUDA_PRODUCT_H

#include <math.h>

#include "kernels/cuda/internal.h"

/* What a product of two parts may be without one of them having to be taken apart: 2^-500 to 2^500. */
#define TD_PART_LEAST 3.054936363499605e-151
#define TD_PART_MOST 3.273390607896142e+150

/* part * 2^power. */
struct td_product {
    double part;
    int64_t power;

    TD_HD static td_product of(double x)
    {
        return {x, 0};
    }
    TD_HD void multiply(const td_product &by)
    {
        double product = part * by.part, size = fabs(product);
        power += by.power;
        if (!(size >= TD_PART_LEAST && size <= TD_PART_MOST) && isfinite(part) && isfinite(by.part) && part != 0 &&
            by.part != 0) {
            int mine, other;
            product = frexp(part, &mine) * frexp(by.part, &other);
            power += mine + other;
        }
        part = product;
    }
    TD_HD double value() const
    {
        return ldexp(part, (int)(power < -9999 ? -9999 : power > 9999 ? 9999 : power));
    }
};

#endif
