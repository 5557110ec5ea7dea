/* A custom function for tests, x * x, that counts how often its C code runs. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_SQUARE_H
#define TD_TESTS_SQUARE_H

#include "client/tensord.h"

static int forwards, backwards;

static void square_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    forwards++;
    td_save_for_backward(ctx, in[0]);
    out[0] = td_mul(in[0], in[0]);
}

static void square_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    backwards++;
    grad_in[0] = td_mul(grad_out[0], td_mul(td_saved(ctx, 0), 2.0));
}

static inline td_function *square_new(td_session *s)
{
    return td_function_new(s, "square", .inputs = 1, .outputs = 1, .forward = square_forward,
                           .backward = square_backward);
}

#endif
