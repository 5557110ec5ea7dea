/* The meaning of normalisation and of losses by class. SPDX-License-Identifier: Apache-2.0 */
#include <float.h>

#include "tests/oracle_tools.h"

static double entry(const struct oracle_tensor *t, int64_t i, double otherwise)
{
    return t->dtype ? (double)t->real[i] : otherwise;
}

/* A row's elements have errors of a rounding of its greatest; the scale by which they are multiplied has that of the
 * row relative to its spread. */
static void normalise(struct oracle_call *c, bool centred, double eps)
{
    const struct oracle_tensor *x = &c->in[0], *weight = &c->in[1], none = {0};
    const struct oracle_tensor *bias = centred ? &c->in[2] : &none;
    const struct td_dims *shape = &((const struct td_layer_norm_attrs *)c->attrs)->normalized_shape;
    int64_t count = 1;
    for (int64_t d = 0; d < shape->count; d++)
        count *= shape->v[d];
    for (int64_t row = 0; row < x->count; row += count) {
        double mean = 0, squares = 0, greatest = 0;
        for (int64_t i = 0; i < count; i++) {
            mean += centred ? (double)x->real[row + i] / (double)count : 0;
            greatest = fmax(greatest, fabs((double)x->real[row + i]));
        }
        for (int64_t i = 0; i < count; i++)
            squares += ((double)x->real[row + i] - mean) * ((double)x->real[row + i] - mean);
        double scale = 1 / sqrt(squares / (double)count + eps);
        for (int64_t i = 0; i < count; i++) {
            double h = ((double)x->real[row + i] - mean) * scale, w = entry(weight, i, 1), b = entry(bias, i, 0);
            c->out->real[row + i] = h * w + b;
            c->out->scale[row + i] = (greatest * scale * (1 + fabs(h)) + fabs(h)) * fabs(w) + fabs(b);
        }
    }
}

void oracle_layer_norm(struct oracle_call *c)
{
    normalise(c, true, ((const struct td_layer_norm_attrs *)c->attrs)->eps);
}

void oracle_rms_norm(struct oracle_call *c)
{
    double eps = ((const struct td_rms_norm_attrs *)c->attrs)->eps;
    normalise(c, false, eps >= 0 ? eps : c->out->dtype == TD_F64 ? DBL_EPSILON : (double)FLT_EPSILON);
}

/* -log(probability) of a class: x itself holds the logarithms, or logits. */
static double surprise(const long double *x, int64_t classes, int64_t step, int64_t at, bool logits, double *scale)
{
    double max = -INFINITY, sum = 0;
    *scale = fabs((double)x[at * step]);
    if (!logits)
        return -(double)x[at * step];
    for (int64_t k = 0; k < classes; k++)
        max = fmax(max, (double)x[k * step]);
    for (int64_t k = 0; k < classes; k++)
        sum += exp((double)x[k * step] - max);
    *scale = fabs((double)x[at * step] - max) + fabs(log(sum)) + 1;
    return log(sum) - ((double)x[at * step] - max);
}

static void loss_by_class(struct oracle_call *c, int64_t ignored, int64_t reduction, bool logits, double smoothing)
{
    const struct oracle_tensor *x = &c->in[0], *target = &c->in[1], *weight = &c->in[2];
    int dim = x->rank > 1;
    int64_t classes = x->shape[dim], step = behind(x, dim);
    long double weights = 0;
    for (int64_t i = 0; i < target->count && !c->fault; i++) {
        int64_t class = target->integer[i];
        if ((class >= 0 && class < classes) || class == ignored)
            continue;
        c->fault = TD_E_INDEX;
        c->value = class, c->size = classes, c->position = i;
    }
    for (int64_t i = 0; i < target->count && !c->fault; i++) {
        int64_t class = target->integer[i], at = reduction == TD_NONE ? i : 0;
        const long double *row = x->real + i / step * classes * step + i % step;
        double scale;
        if (class == ignored)
            continue;
        double w = entry(weight, class, 1),
               term = (1 - smoothing) * w * surprise(row, classes, step, class, logits, &scale);
        scale *= w;
        for (int64_t k = 0; k < classes && smoothing != 0; k++) {
            double each, part = smoothing / (double)classes * entry(weight, k, 1);
            term += part * surprise(row, classes, step, k, logits, &each);
            scale += part * each;
        }
        weights += w;
        c->out->real[at] += term;
        c->out->scale[at] += scale;
    }
    if (reduction == TD_MEAN && !c->fault) {
        c->out->real[0] /= weights;
        c->out->scale[0] /= weights;
    }
}

void oracle_cross_entropy(struct oracle_call *c)
{
    const struct td_cross_entropy_attrs *a = c->attrs;
    loss_by_class(c, a->ignore_index, a->reduction, true, a->label_smoothing);
}

void oracle_nll_loss(struct oracle_call *c)
{
    const struct td_nll_loss_attrs *a = c->attrs;
    loss_by_class(c, a->ignore_index, a->reduction, false, 0);
}

void oracle_bce(struct oracle_call *c)
{
    for (int64_t i = 0; i < c->out->count; i++) {
        double x = (double)c->in[0].real[seen_by(&c->in[0], c->out, i)];
        double t = (double)c->in[1].real[seen_by(&c->in[1], c->out, i)];
        if (!(x >= 0 && x <= 1)) {
            c->fault = TD_E_ARGUMENT;
            c->position = i;
            return;
        }
        double log_x = log(x) < -100 ? -100 : log(x), log_other = log(1 - x) < -100 ? -100 : log(1 - x);
        c->out->real[i] = -(t * log_x + (1 - t) * log_other);
        c->out->scale[i] = fabs(t * log_x) + fabs((1 - t) * log_other) + fabs((1 - t) / (1 - x));
    }
}
