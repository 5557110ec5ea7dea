/* Lots drawn by weight: a tree of sums whose leaves are the weights and whose root is node 1; node k lies over 2 * k
 * and 2 * k + 1. The number of leaves is a power of 2. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_LOTS_H
#define TD_KERNELS_LOTS_H

#include <math.h>

#include "kernels/scalar.h"

/* The leaf at which the sum of those before it passes at; never one of weight 0. */
TD_HD static inline int64_t td_lots_leaf(const double *tree, int64_t leaves, double at)
{
    int64_t k = 1;
    while (k < leaves) {
        k *= 2;
        if (tree[k] == 0 || (at >= tree[k] && tree[k + 1] > 0))
            at -= tree[k++];
    }
    return k;
}

/* Takes a leaf out of the tree. */
TD_HD static inline void td_lots_take(double *tree, int64_t leaf)
{
    tree[leaf] = 0;
    for (leaf /= 2; leaf > 0; leaf /= 2)
        tree[leaf] = tree[2 * leaf] + tree[2 * leaf + 1];
}

/* What is wrong with the weights of a row. */
enum td_lots_fault { TD_LOTS_FINE, TD_LOTS_WEIGHT, TD_LOTS_NONE, TD_LOTS_SUM, TD_LOTS_FEW };

TD_HD static inline bool td_lots_is_weight(double weight)
{
    return weight >= 0 && weight - weight == 0;
}

/* Of a row that has some weights above 0, whose sum is sum, and of which count are to be drawn. */
TD_HD static inline enum td_lots_fault td_lots_check(int64_t some, double sum, int64_t count, bool replacement)
{
    if (some == 0)
        return TD_LOTS_NONE;
    if (sum - sum != 0)
        return TD_LOTS_SUM;
    return some < count && !replacement ? TD_LOTS_FEW : TD_LOTS_FINE;
}

static inline const char *td_lots_why(enum td_lots_fault fault)
{
    return fault == TD_LOTS_WEIGHT ? "a weight is negative, infinite or nan"
           : fault == TD_LOTS_NONE ? "the weights of a row are all 0"
           : fault == TD_LOTS_SUM  ? "the weights of a row have no finite sum"
           : fault == TD_LOTS_FEW  ? "a row has fewer weights above 0 than places are drawn"
                                   : NULL;
}

#endif
