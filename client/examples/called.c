/* C in the middle of a graph. The nearest rising curve to a given one (isotonic regression) comes from an algorithm
 * that looks at values, pools neighbours that fall, and looks again: no op of tensors. As a function that is called
 * back it is a layer like any other. Here it is behind a straight line that bends as it must: the line is trained
 * through it, so that the curve fits noisy points. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <tensord.h>

enum { POINTS = 64, STEPS = 400, REPORT = 80 };

/* ---- in C: pools of neighbours, each with its mean ---- */

/* y[k] = the mean of the pool that x[k] is in; first[k] = where that pool begins. */
static void pool(const double *x, double *y, int64_t *first)
{
    double sum[POINTS];
    int begin[POINTS + 1], pools = 0;
    for (int k = 0; k < POINTS; k++) {
        begin[pools] = k;
        sum[pools++] = x[k];
        while (pools > 1 &&
               sum[pools - 2] * (k + 1 - begin[pools - 1]) > sum[pools - 1] * (begin[pools - 1] - begin[pools - 2])) {
            sum[pools - 2] += sum[pools - 1]; /* it falls: the two become one */
            pools--;
        }
    }
    begin[pools] = POINTS;
    for (int p = 0; p < pools; p++)
        for (int k = begin[p]; k < begin[p + 1]; k++) {
            y[k] = sum[p] / (begin[p + 1] - begin[p]);
            first[k] = begin[p];
        }
}

/* ---- as a function ---- */

static void rising_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_session *s = td_context_session(ctx);
    double x[POINTS], y[POINTS];
    int64_t first[POINTS];
    td_read(in[0], x, TD_F64, POINTS);
    pool(x, y, first);
    out[0] = td_from(s, y, TD_F64, TD_SHAPE(POINTS));
    td_save_for_backward(ctx, td_from(s, first, TD_I64, TD_SHAPE(POINTS)));
}

/* A mean hands its gradient out in equal parts: each gets the mean of its pool's. In ops where ops do, so that it can
 * be differentiated again. */
static void rising_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    td_tensor first = td_saved(ctx, 0), g = grad_out[0];
    td_tensor sums = td_scatter_add(td_zeros_like(g), 0, first, g);
    td_tensor counts = td_scatter_add(td_zeros_like(g), 0, first, td_ones_like(g));
    grad_in[0] = td_div(td_gather(sums, 0, first), td_gather(counts, 0, first));
}

int main(void)
{
    td_session *s = td_open(NULL);
    td_function *rising = td_function_new(s, "rising", .inputs = 1, .outputs = 1, .forward = rising_forward,
                                          .backward = rising_backward, .called_back = true);
    td_tensor t = td_linspace(s, -1, 1, POINTS, .dtype = TD_F64);
    td_tensor noise = td_mul(td_randn(s, TD_SHAPE(POINTS), .dtype = TD_F64), 0.1);
    td_tensor points = td_add(td_relu(t), noise); /* flat, then rising */
    td_tensor w = td_set_requires_grad(td_clone(t), true);
    bool right = td_gradcheck(rising, TD_LIST(w));
    printf("gradients against differences: %s\n", right ? "equal" : "DIFFER");

    td_optimizer *sgd = td_sgd(s, TD_LIST(w), .lr = 2);
    for (int k = 0; k < STEPS; k++) {
        TD_SCOPE(s);
        td_tensor loss = td_mse_loss(td_apply(rising, w), points);
        td_zero_grad(sgd);
        td_backward(loss); /* waits, and calls rising_backward */
        td_step(sgd);
        if (k % REPORT == 0)
            printf("step %3d   %.5f\n", k, td_item(loss));
    }
    /* What is learned is what the algorithm finds at once. */
    bool learned = td_allclose(td_apply(rising, w), td_apply(rising, points), .rtol = 1e-3, .atol = 1e-3);
    printf("the curve learned and the nearest to the points: %s\n", learned ? "equal" : "DIFFER");
    td_optimizer_free(sgd);
    td_function_free(rising);
    int code = td_close(s);
    return code ? code : !right + !learned;
}
