/* What attention's ops, rule and composite agree on. C and C++. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_SHAPE_ATTENTION_H
#define TD_PROTOCOL_SHAPE_ATTENTION_H

#include <math.h>
#include <stdint.h>

/* What scores are multiplied by, 0 standing for what comes of the width of queries. */
static inline double td_attention_scale(double scale, int64_t width)
{
    return scale != 0 ? scale : width ? 1 / sqrt((double)width) : 1;
}

#endif
