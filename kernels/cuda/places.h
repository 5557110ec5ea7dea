/* What an index names, and what is done there. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_PLACES_H
#define TD_KERNELS_CUDA_PLACES_H

#include "kernels/cuda/grid.h"

/* Elements that an index names, and those beside them: for each position where it stands in either operand.
 * named: the operand along whose dimension the index goes; plain: the other one. Positions at which the index names the
 * same have the same key, if nothing else moves it; of those, items count which comes first. */
enum td_place_operand { TD_NAMED, TD_PLAIN, TD_INDEX, TD_KEY, TD_ITEM, TD_PLACE_OPERANDS };
struct td_places {
    td_grid<TD_PLACE_OPERANDS> at;
    const int64_t *index;         /* NULL: none */
    int64_t size, step, key_step; /* an index below 0 counts from size; steps in named and of the key */
};

struct td_place {
    int64_t named, plain, key, item;
};

__device__ static inline td_place td_place_of(const td_places &places, uint64_t i)
{
    int64_t offset[TD_PLACE_OPERANDS] = {0};
    td_grid_seek(places.at, i, offset);
    td_place place = {offset[TD_NAMED], offset[TD_PLAIN], offset[TD_KEY], offset[TD_ITEM]};
    if (places.index) {
        int64_t value = places.index[offset[TD_INDEX]];
        value += value < 0 ? places.size : 0;
        place.named += value * places.step;
        place.key += value * places.key_step;
    }
    return place;
}

/* What is done at places: each element of all, which an item has for each of its columns. items has one position for
 * each item, whose number is its position, and columns the others, so that an element is an item and a column. */
struct td_placing {
    td_places all, items;
    td_grid<2> columns; /* named, plain */
    int64_t keys;       /* are below this */
    uint8_t dtype;
    void *named, *plain;
    uint64_t value; /* of all elements of plain, where that is NULL */
    size_t ahead;   /* bytes of scratch that are in use, and stay so if td_placing_bytes are there behind them */
};
size_t td_placing_bytes(const struct td_placing *placing);
/* plain's data, or the number that it is. */
void td_placing_set_plain(struct td_placing *placing, const struct td_operand *plain);

/* plain = named */
void td_cuda_get_places(const struct td_placing *placing);
/* named = plain; of several items the last one counts. False where there was no memory. */
bool td_cuda_put_places(const struct td_placing *placing);
/* named is joined with plain, item by item in their order; begins: with what by begins with, and not what is there.
 * False where there was no memory. by: enum td_bringing. */
bool td_cuda_join_places(const struct td_placing *placing, int by, bool begins);

/* The parts of placing, dimension by dimension. */
static inline struct td_placing td_placing_begin(const struct td_operand *named, const struct td_operand *plain)
{
    struct td_placing p;
    memset(&p, 0, sizeof p);
    p.all.at = p.items.at = td_grid_begin<TD_PLACE_OPERANDS>();
    p.columns = td_grid_begin<2>();
    p.dtype = named->dtype;
    p.named = named->data;
    td_placing_set_plain(&p, plain);
    return p;
}
static inline void td_placing_index(struct td_placing *p, const void *index, int64_t size, int64_t step,
                                    int64_t key_step)
{
    p->all.index = (const int64_t *)index;
    p->all.size = size;
    p->all.step = step;
    p->all.key_step = key_step;
    p->items.index = p->all.index;
    p->items.size = size;
    p->items.step = step;
    p->items.key_step = key_step;
}
static inline void td_placing_column(struct td_placing *p, int64_t size, int64_t named, int64_t plain)
{
    td_grid_add(p->all.at, size, {named, plain, 0, 0, 0});
    td_grid_add(p->columns, size, {named, plain});
}
static inline void td_placing_item(struct td_placing *p, int64_t size, const int64_t (&stride)[TD_PLACE_OPERANDS])
{
    td_grid_add(p->all.at, size, stride);
    td_grid_add(p->items.at, size, stride);
}

#endif
