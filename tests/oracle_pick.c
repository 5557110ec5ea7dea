/* The meaning of lists of indices, of masks, and of what is as large as its data say.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

static bool truth_of(const struct oracle_tensor *x, int64_t i)
{
    return floating(x) ? x->real[i] != 0 : x->integer[i] != 0;
}

static bool refuse_count(struct oracle_call *c, int64_t found, int64_t due)
{
    if (found == due)
        return false;
    c->fault = TD_E_SHAPE;
    c->value = found;
    c->size = due;
    return true;
}

/* ---- lists of indices ---- */

struct places {
    const struct oracle_tensor *x, *index;
    const struct td_dims *dims;
    struct oracle_tensor own, picked; /* shapes: of the indices together, and of what they pick */
    int front;
};

static bool refuse_indices(struct oracle_call *c, const struct places *p)
{
    for (int64_t k = 0; k < p->dims->count; k++) {
        const struct oracle_tensor *index = &p->index[k];
        int64_t size = p->x->shape[p->dims->v[k]];
        for (int64_t i = 0; i < index->count; i++) {
            if (index->integer[i] >= -size && index->integer[i] < size)
                continue;
            c->fault = TD_E_INDEX;
            c->value = index->integer[i];
            c->size = size;
            c->position = i;
            return true;
        }
    }
    return false;
}

static bool is_picked_from(const struct places *p, int d)
{
    for (int64_t k = 0; k < p->dims->count; k++)
        if (p->dims->v[k] == d)
            return true;
    return false;
}

static struct places places_of(const struct oracle_tensor *x, const struct oracle_tensor *index,
                               const struct td_dims *dims)
{
    struct places p = {.x = x, .index = index, .dims = dims, .own.count = 1, .picked.count = 1};
    for (int64_t k = 0; k < dims->count; k++)
        td_broadcast(p.own.rank, p.own.shape, index[k].rank, index[k].shape, &p.own.rank, p.own.shape);
    for (int d = 0; d < p.own.rank; d++)
        p.own.count *= p.own.shape[d];
    bool neighbours = dims->v[dims->count - 1] - dims->v[0] == dims->count - 1;
    p.front = neighbours ? (int)dims->v[0] : 0;
    for (int d = 0; d <= x->rank; d++) {
        for (int own = 0; d == p.front && own < p.own.rank; own++)
            p.picked.shape[p.picked.rank++] = p.own.shape[own];
        if (d < x->rank && !is_picked_from(&p, d))
            p.picked.shape[p.picked.rank++] = x->shape[d];
    }
    for (int d = 0; d < p.picked.rank; d++)
        p.picked.count *= p.picked.shape[d];
    return p;
}

/* Where element i of what is picked lies in x. */
static int64_t place_of(const struct places *p, int64_t i)
{
    int64_t position = 0, at = 0;
    for (int own = 0; own < p->own.rank; own++)
        position = position * p->own.shape[own] + coordinate(&p->picked, i, p->front + own);
    int next = 0; /* dimension of picked */
    for (int d = 0, k = 0; d < p->x->rank; d++) {
        int64_t place;
        if (next == p->front)
            next += p->own.rank;
        if (is_picked_from(p, d)) {
            place = p->index[k].integer[seen_by(&p->index[k], &p->own, position)];
            place += place < 0 ? p->x->shape[d] : 0;
            k++;
        } else {
            place = coordinate(&p->picked, i, next++);
        }
        at = at * p->x->shape[d] + place;
    }
    return at;
}

void oracle_index(struct oracle_call *c)
{
    const struct td_index_attrs *a = c->attrs;
    struct places p = places_of(&c->in[0], &c->in[1], &a->dims);
    if (refuse_indices(c, &p))
        return;
    for (int64_t i = 0; i < p.picked.count; i++)
        copy_element(c->out, i, &c->in[0], place_of(&p, i));
}

void oracle_index_put(struct oracle_call *c)
{
    const struct td_index_put_attrs *a = c->attrs;
    const struct oracle_tensor *values = &c->in[1];
    struct places p = places_of(&c->in[0], &c->in[2], &a->dims);
    if (refuse_indices(c, &p))
        return;
    copy_all(c->out, &c->in[0]);
    for (int64_t i = 0; i < p.picked.count; i++) {
        int64_t at = place_of(&p, i), from = seen_by(values, &p.picked, i);
        if (!a->accumulate) {
            copy_element(c->out, at, values, from);
        } else if (floating(c->out)) {
            c->out->real[at] += values->real[from];
            c->out->scale[at] += fabsl(values->real[from]) + fabsl(c->out->real[at]);
        } else {
            int64_t sum = WRAP(c->out->integer[at], +, values->integer[from]);
            c->out->integer[at] = c->out->dtype == TD_BOOL ? sum != 0 : c->out->dtype == TD_I32 ? (int32_t)sum : sum;
        }
    }
}

/* ---- masks and sizes ---- */

void oracle_nonzero(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t found = 0;
    for (int64_t i = 0; i < x->count; i++)
        found += truth_of(x, i);
    if (refuse_count(c, found, c->out->shape[0]))
        return;
    for (int64_t i = 0, row = 0; i < x->count; i++)
        if (truth_of(x, i)) {
            for (int d = 0; d < x->rank; d++)
                c->out->integer[row * x->rank + d] = coordinate(x, i, d);
            row++;
        }
}

/* The shape that x and mask broadcast to, and how many trues there are. */
static struct oracle_tensor both(const struct oracle_call *c, int64_t *trues)
{
    struct oracle_tensor seen = {.count = 1};
    td_broadcast(c->in[0].rank, c->in[0].shape, c->in[1].rank, c->in[1].shape, &seen.rank, seen.shape);
    for (int d = 0; d < seen.rank; d++)
        seen.count *= seen.shape[d];
    *trues = 0;
    for (int64_t i = 0; i < seen.count; i++)
        *trues += c->in[1].integer[seen_by(&c->in[1], &seen, i)];
    return seen;
}

void oracle_masked_select(struct oracle_call *c)
{
    int64_t trues;
    struct oracle_tensor seen = both(c, &trues);
    if (refuse_count(c, trues, c->out->shape[0]))
        return;
    for (int64_t i = 0, next = 0; i < seen.count; i++)
        if (c->in[1].integer[seen_by(&c->in[1], &seen, i)])
            copy_element(c->out, next++, &c->in[0], seen_by(&c->in[0], &seen, i));
}

void oracle_masked_scatter(struct oracle_call *c)
{
    int64_t trues;
    struct oracle_tensor seen = both(c, &trues);
    if (trues > c->in[2].count && refuse_count(c, trues, c->in[2].count))
        return;
    copy_all(c->out, &c->in[0]);
    for (int64_t i = 0, next = 0; i < seen.count; i++)
        if (c->in[1].integer[seen_by(&c->in[1], &seen, i)])
            copy_element(c->out, i, &c->in[2], next++);
}

void oracle_bincount(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *weights = &c->in[1];
    if (refuse_index(c, x, c->out->shape[0]))
        return;
    for (int64_t i = 0; i < c->out->count; i++) {
        if (floating(c->out))
            put(c->out, i, 0);
        else
            c->out->integer[i] = 0;
    }
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = x->integer[i];
        if (floating(c->out)) {
            c->out->real[at] += weights->real[i];
            c->out->scale[at] += fabsl(weights->real[i]) + fabsl(c->out->real[at]);
        } else {
            c->out->integer[at] = WRAP(c->out->integer[at], +, weights->integer[i]);
        }
    }
}
