/* Shapes of created tensors. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/rules.h"

/* Attributes of the ops that give a shape begin with it. */
static int created(struct td_inference *i, const struct td_dims *shape, int64_t dtype, uint8_t fallback)
{
    i->out[0].dtype = rule_dtype(dtype, fallback);
    return rule_fresh(i, shape->count, shape->v);
}

int td_shape_created(struct td_inference *i)
{
    const struct td_zeros_attrs *a = i->attrs;
    return created(i, &a->shape, a->dtype, TD_F32);
}

int td_shape_full(struct td_inference *i)
{
    const struct td_full_attrs *a = i->attrs;
    return created(i, &a->shape, a->dtype, td_dtype_of_number(a->value));
}

int td_shape_randint(struct td_inference *i)
{
    const struct td_randint_attrs *a = i->attrs;
    if (a->low >= a->high) {
        td_fail(i->failure, TD_E_ARGUMENT, "%s: low %" PRId64 " is not below high %" PRId64, i->op->name, a->low,
                a->high);
        return td_hint(i->failure, "Numbers are drawn from low up to high - 1.");
    }
    return created(i, &a->shape, a->dtype, TD_I64);
}

static int64_t doubles_count(double start, double end, double step)
{
    double count = step != 0 ? ceil((end - start) / step) : -1;
    return !(count >= 0) ? -1 : count <= (double)TD_ELEMENTS_MAX ? (int64_t)count : TD_ELEMENTS_MAX + 1;
}

/* Elements from start up to end, -1 where step does not lead there, one more than the limit where there are too many.
 * For integers all three are cut to integers first, as PyTorch does, and in i64 counted exactly where doubles are not;
 * but in narrower ones they are counted in doubles.
 */
static int64_t arange_count(const struct td_arange_attrs *a, uint8_t dtype)
{
    double start = td_number_real(a->start), end = td_number_real(a->end), step = td_number_real(a->step);
    if (!isfinite(start) || !isfinite(end) || isnan(step))
        return -1;
    if (td_dtype_category(dtype) == TD_INTEGER) {
        __int128 from = td_number_integer(a->start), to = td_number_integer(a->end), by = td_number_integer(a->step);
        if (by == 0 || (by > 0 ? to < from : to > from))
            return -1;
        if (dtype != TD_I64)
            return doubles_count(start, end, step);
        __int128 count = (to - from + by - (by > 0 ? 1 : -1)) / by;
        return count <= TD_ELEMENTS_MAX ? (int64_t)count : TD_ELEMENTS_MAX + 1;
    }
    return (step > 0 ? end < start : end > start) ? -1 : doubles_count(start, end, step);
}

int td_shape_arange(struct td_inference *i)
{
    const struct td_arange_attrs *a = i->attrs;
    bool integers =
        a->start.category != TD_FLOATING && a->end.category != TD_FLOATING && a->step.category != TD_FLOATING;
    i->out[0].dtype = rule_dtype(a->dtype, integers ? TD_I64 : TD_F32);
    int64_t count = arange_count(a, i->out[0].dtype);
    if (count < 0) {
        td_fail(i->failure, TD_E_ARGUMENT, "%s: step %g does not lead from %g to %g", i->op->name,
                td_number_real(a->step), td_number_real(a->start), td_number_real(a->end));
        return td_hint(i->failure, "step is positive where end lies above start, negative where it lies below.");
    }
    return rule_fresh(i, 1, &count);
}

int td_shape_linspace(struct td_inference *i)
{
    const struct td_linspace_attrs *a = i->attrs;
    i->out[0].dtype = rule_dtype(a->dtype, TD_F32);
    if (a->steps >= 0)
        return rule_fresh(i, 1, &a->steps);
    return td_fail(i->failure, TD_E_ARGUMENT, "%s: %" PRId64 " steps; there are 0 or more", i->op->name, a->steps);
}

int td_shape_eye(struct td_inference *i)
{
    const struct td_eye_attrs *a = i->attrs;
    i->out[0].dtype = rule_dtype(a->dtype, TD_F32);
    return rule_fresh(i, 2, (int64_t[]){a->n, a->m == -1 ? a->n : a->m});
}
