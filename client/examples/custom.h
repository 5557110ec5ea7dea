/* Five layers as custom autograd functions: each says in ops what it computes (forward) and how a gradient of its
 * output becomes gradients of its inputs (backward). The built-in td_relu, td_sigmoid, td_gelu, td_linear and
 * td_batch_norm do the same; custom.c trains with both. What backward needs is an input or an output of the function,
 * or is computed from those again: then backward, being made of ops, can itself be differentiated.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CUSTOM_H
#define CUSTOM_H

#include <math.h>
#include <stdlib.h>
#include <tensord.h>

/* ---- relu: y = max(x, 0); dx = g where y > 0 ---- */

static void relu_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    out[0] = td_where(td_le(in[0], 0.0), 0.0, in[0]); /* NaN stays NaN */
    td_save_for_backward(ctx, out[0]);
}

/* Never g times a mask: 0 times infinity would be NaN. */
static void relu_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    grad_in[0] = td_where(td_le(td_saved(ctx, 0), 0.0), 0.0, grad_out[0]);
}

/* ---- sigmoid: y = 1 / (1 + exp(-x)); dx = g y (1 - y) ---- */

static void sigmoid_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    out[0] = td_reciprocal(td_add(td_exp(td_neg(in[0])), 1.0));
    td_save_for_backward(ctx, out[0]);
}

static void sigmoid_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    td_tensor y = td_saved(ctx, 0);
    grad_in[0] = td_mul(td_mul(grad_out[0], y), td_rsub(y, 1.0));
}

/* ---- gelu: y = x Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2; dx = g (Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)) ---- */

static td_tensor gelu_phi(td_tensor x)
{
    return td_mul(td_add(td_erf(td_mul(x, M_SQRT1_2)), 1.0), 0.5);
}

static void gelu_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_save_for_backward(ctx, in[0]);
    out[0] = td_mul(in[0], td_take(gelu_phi(in[0])));
}

static void gelu_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    td_tensor x = td_saved(ctx, 0);
    td_tensor bell = td_mul(td_exp(td_mul(td_square(x), -0.5)), M_2_SQRTPI * M_SQRT1_2 / 2);
    grad_in[0] = td_mul(grad_out[0], td_add(gelu_phi(x), td_mul(x, bell)));
}

/* ---- linear: y = x w^T + b for rows x of any number of dimensions; dx = g w, dw = g^T x, db = sum of g's rows ---- */

/* Rows of any shape as a matrix. */
static td_tensor linear_rows(td_tensor x)
{
    int64_t rows = 1;
    int last = td_rank(x) - 1;
    for (int d = 0; d < last; d++)
        rows *= td_size(x, d);
    return td_reshape(x, TD_SHAPE(rows, td_size(x, last)));
}

static void linear_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_tensor x = in[0], w = in[1], b = in[2];
    td_save_for_backward(ctx, x, w);
    out[0] = td_add(td_matmul(x, td_t(w)), b);
}

static void linear_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    td_tensor x = td_saved(ctx, 0), w = td_saved(ctx, 1), g = linear_rows(grad_out[0]);
    if (td_needs_input_grad(ctx, 0))
        grad_in[0] = td_reshape_as(td_matmul(g, w), x);
    if (td_needs_input_grad(ctx, 1))
        grad_in[1] = td_matmul(td_t(g), td_take(linear_rows(x)));
    if (td_needs_input_grad(ctx, 2))
        grad_in[2] = td_sum(g, .dims = TD_DIMS(0));
}

/* ---- batch_norm of x (n, channels, ...): xh = (x - mean) / sqrt(var + eps), y = w xh + b, each channel by itself ----
 *
 * In training mean and variance are the batch's: they depend on x, which gives dx two more terms. Otherwise they are
 * the running ones, and constants. */

struct batch_norm_attributes {
    double momentum, eps;
    int64_t training;
};

/* All dimensions but that of the channels, and a shape that broadcasts a row of the channels over x. */
static struct td_dims batch_norm_dims(td_tensor x)
{
    struct td_dims dims = {0};
    for (int d = 0; d < td_rank(x); d++)
        if (d != 1)
            dims.v[dims.count++] = d;
    return dims;
}

static td_tensor batch_norm_row(td_tensor row, td_tensor x)
{
    struct td_dims shape = {.count = td_rank(x)};
    for (int d = 0; d < shape.count; d++)
        shape.v[d] = d == 1 ? td_size(x, 1) : 1;
    return td_reshape(row, shape);
}

/* running = (1 - momentum) running + momentum value. Forward records nothing for autograd, so it may write. */
static void batch_norm_run_on(td_tensor running, td_tensor value, double momentum)
{
    td_mul_(running, 1 - momentum);
    td_add_(running, td_mul(td_reshape_as(value, running), momentum));
}

static void batch_norm_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    const struct batch_norm_attributes *a = td_attributes(ctx);
    td_tensor x = in[0], w = in[1], b = in[2], running_mean = in[3], running_var = in[4];
    td_tensor mean = batch_norm_row(running_mean, x), var = batch_norm_row(running_var, x);
    if (a->training) {
        struct td_dims dims = batch_norm_dims(x);
        double count = (double)td_numel(x) / (double)td_size(x, 1);
        mean = td_mean(x, .dims = dims, .keepdim = true);
        var = td_var(x, .dims = dims, .correction = 0, .keepdim = true);
        batch_norm_run_on(running_mean, mean, a->momentum);
        batch_norm_run_on(running_var, td_mul(var, count / (count - 1)), a->momentum);
    }
    td_tensor scale = td_mul(td_rsqrt(td_add(var, a->eps)), td_take(batch_norm_row(w, x)));
    td_tensor shift = td_sub(td_take(batch_norm_row(b, x)), td_mul(mean, scale));
    out[0] = td_add(td_mul(x, scale), shift);
    td_save_for_backward(ctx, x, w);
    if (!a->training)
        td_save_for_backward(ctx, running_mean, running_var);
}

static void batch_norm_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    const struct batch_norm_attributes *a = td_attributes(ctx);
    td_tensor g = grad_out[0], x = td_saved(ctx, 0), w = td_saved(ctx, 1), mean, var;
    struct td_dims dims = batch_norm_dims(x);
    if (a->training) {
        mean = td_mean(x, .dims = dims, .keepdim = true);
        var = td_var(x, .dims = dims, .correction = 0, .keepdim = true);
    } else {
        mean = batch_norm_row(td_saved(ctx, 2), x);
        var = batch_norm_row(td_saved(ctx, 3), x);
    }
    td_tensor steep = td_rsqrt(td_add(var, a->eps)), xh = td_mul(td_sub(x, mean), steep);
    td_tensor scale = td_mul(steep, td_take(batch_norm_row(w, x)));
    grad_in[1] = td_sum(td_mul(g, xh), .dims = dims);
    grad_in[2] = td_sum(g, .dims = dims);
    if (a->training) {
        td_tensor along = td_mul(xh, td_mean(td_mul(g, xh), .dims = dims, .keepdim = true));
        g = td_sub(td_sub(g, td_mean(g, .dims = dims, .keepdim = true)), along);
    }
    grad_in[0] = td_mul(g, scale);
}

/* ---- all of them ---- */

struct custom {
    td_function *relu, *sigmoid, *gelu, *linear, *batch_norm;
};

static inline struct custom custom_new(td_session *s)
{
    return (struct custom){
        .relu = td_function_new(s, "my_relu", .inputs = 1, .outputs = 1, .forward = relu_forward,
                                .backward = relu_backward),
        .sigmoid = td_function_new(s, "my_sigmoid", .inputs = 1, .outputs = 1, .forward = sigmoid_forward,
                                   .backward = sigmoid_backward),
        .gelu = td_function_new(s, "my_gelu", .inputs = 1, .outputs = 1, .forward = gelu_forward,
                                .backward = gelu_backward),
        .linear = td_function_new(s, "my_linear", .inputs = 3, .outputs = 1, .forward = linear_forward,
                                  .backward = linear_backward),
        .batch_norm =
            td_function_new(s, "my_batch_norm", .inputs = 5, .outputs = 1, .forward = batch_norm_forward,
                            .backward = batch_norm_backward, .attributes = sizeof(struct batch_norm_attributes)),
    };
}

static inline void custom_free(struct custom *f)
{
    td_function_free(f->relu);
    td_function_free(f->sigmoid);
    td_function_free(f->gelu);
    td_function_free(f->linear);
    td_function_free(f->batch_norm);
}

/* in: x, weight, bias, running mean, running variance. */
static inline td_tensor custom_batch_norm(const struct custom *f, td_list in, bool training)
{
    const struct batch_norm_attributes attributes = {.momentum = 0.1, .eps = 1e-5, .training = training};
    td_tensor y;
    td_apply_to(f->batch_norm, in, &y, .attributes = &attributes);
    return y;
}

#endif
