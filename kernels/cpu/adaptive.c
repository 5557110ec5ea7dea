/* Pools of the greatest with as many windows as asked for: each window by itself. SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>

#include "kernels/cpu/conv.h"
#include "kernels/cpu/parallel.h"

struct adaptive {
    int64_t size[TD_IMAGE_RANK], count[TD_IMAGE_RANK];
    int64_t pixels, places;
    const void *image;
    void *values;
    int64_t *indices;
};

/* The greatest under window i of one channel, and where it stands. The first of equal elements stays; nan wins, the
 * last of them, as in PyTorch. */
#define GREATEST(name, type)                                                                            \
    static type name(const struct adaptive *c, const type *x, int64_t i, int64_t *index)                \
    {                                                                                                   \
        int64_t at[] = {i / c->count[2] / c->count[1], i / c->count[2] % c->count[1], i % c->count[2]}; \
        int64_t low[TD_IMAGE_RANK], high[TD_IMAGE_RANK];                                                \
        type most = (type)-INFINITY;                                                                    \
        for (int d = 0; d < TD_IMAGE_RANK; d++)                                                         \
            td_adaptive_window(c->size[d], c->count[d], at[d], &low[d], &high[d]);                      \
        *index = (low[0] * c->size[1] + low[1]) * c->size[2] + low[2];                                  \
        for (int64_t d = low[0]; d < high[0]; d++)                                                      \
            for (int64_t h = low[1]; h < high[1]; h++)                                                  \
                for (int64_t w = low[2]; w < high[2]; w++) {                                            \
                    int64_t place = (d * c->size[1] + h) * c->size[2] + w;                              \
                    if (x[place] > most || isnan(x[place]))                                             \
                        most = x[place], *index = place;                                                \
                }                                                                                       \
        return most;                                                                                    \
    }                                                                                                   \
    /* Items are channels of images. */                                                                 \
    static void name##_part(const void *data, int64_t from, int64_t to)                                 \
    {                                                                                                   \
        const struct adaptive *c = data;                                                                \
        for (int64_t k = from * c->places; k < to * c->places; k++) {                                   \
            const type *x = (const type *)c->image + k / c->places * c->pixels;                         \
            ((type *)c->values)[k] = name(c, x, k % c->places, &c->indices[k]);                         \
        }                                                                                               \
    }
GREATEST(greatest_f32, float)
GREATEST(greatest_f64, double)

static void run(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *y = &launch->out[0];
    int rank = td_image_rank(launch->op), first = x->rank - rank, added = TD_IMAGE_RANK - rank;
    struct adaptive c = {.pixels = 1, .places = 1, .image = x->data, .values = y->data, .indices = launch->out[1].data};
    int64_t planes = 1;
    for (int d = 0; d < first; d++)
        planes *= x->shape[d];
    for (int d = 0; d < TD_IMAGE_RANK; d++) {
        c.pixels *= c.size[d] = d >= added ? x->shape[first + d - added] : 1;
        c.places *= c.count[d] = d >= added ? y->shape[first + d - added] : 1;
    }
    td_parallel(planes, td_grain(c.pixels + c.places), 0, x->dtype == TD_F32 ? greatest_f32_part : greatest_f64_part,
                &c);
}

void TD_CPU(adaptive_max_pool1d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CPU(adaptive_max_pool2d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CPU(adaptive_max_pool3d)(struct td_launch *launch)
{
    run(launch);
}
