/* Gradients that are asked for, and what is built on them; included by tensord.h, which says how calls are written.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORD_H
#include "tensord.h" /* which includes this file again */
#elif !defined TENSORD_AUTOGRAD_H
#define TENSORD_AUTOGRAD_H

#ifdef __cplusplus
extern "C" {
#endif

/* ---- gradients by name, as torch.autograd.grad ---- */

struct td_grad_of_keywords {
    td_tensor grad_outputs;
    bool create_graph, retain_graph, allow_unused;
    TD_KEYWORDS_END
};
/* d output / d input, contiguous; no gradient that td_grad shows changes. Nothing waits. The input may have been
 * computed itself; of one that was written to its last version counts. Only what lies between both is walked: the rest
 * of the graph stays as it is. Keywords: .grad_outputs, the gradient of output, of its shape, is needed unless output
 * has one element; .retain_graph (false) keeps the graph for another walk; .create_graph (false) keeps it, too, and
 * the result has a gradient itself; .allow_unused (false): where output does not depend on input the result is zeros
 * (PyTorch's materialize_grads) instead of an error value of code TD_E_GRAD. */
TD_API td_tensor td_grad_of(td_tensor output, td_tensor input,
                            const struct td_grad_of_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_grad_of_at(td_origin origin, td_tensor output, td_tensor input,
                               const struct td_grad_of_keywords *keywords);
struct td_grads_of_keywords {
    td_list grad_outputs;
    bool create_graph, retain_graph, allow_unused;
    TD_KEYWORDS_END
};
/* The same of the sum of several outputs, for several inputs in one walk: grads gets as many tensors as there are
 * inputs. Keywords as above, but .grad_outputs has one for each output; where it is a zeroed td_tensor none is given.
 * If anything is wrong, all of grads are error values. */
TD_API void td_grads_of(td_list outputs, td_list inputs, td_tensor *grads,
                        const struct td_grads_of_keywords *keywords TD_DEFAULT(NULL));
TD_API void td_grads_of_at(td_origin origin, td_list outputs, td_list inputs, td_tensor *grads,
                           const struct td_grads_of_keywords *keywords);

struct td_backward_all_keywords {
    td_list seeds;
    bool retain_graph, create_graph;
    TD_KEYWORDS_END
};
/* td_backward of several losses in one walk: what they share is walked once. Keywords: .seeds, one for each loss, a
 * zeroed td_tensor where none is given; .retain_graph and .create_graph as of td_backward. */
TD_API void td_backward_all(td_list losses, const struct td_backward_all_keywords *keywords TD_DEFAULT(NULL));
TD_API void td_backward_all_at(td_origin origin, td_list losses, const struct td_backward_all_keywords *keywords);

/* From now on td_backward and td_backward_all give x, which was computed, a gradient that td_grad shows and that
 * further ones are added to, as if it were a leaf. Where x is written to afterwards, that of its newest version counts.
 * Returns x. */
TD_API td_tensor td_retain_grad(td_tensor x);
TD_API td_tensor td_retain_grad_at(td_origin origin, td_tensor x);

#ifdef __cplusplus
}
#else
#define td_grad_of(output, input, ...)                                                              \
    TD_WITH_KEYWORDS(td_tensor,                                                                     \
                     td_grad_of_at(TD_HERE(TD_FRESH(#output, 0) | TD_FRESH(#input, 1)), output, input, \
                                   TD_KEYWORDS(td_grad_of, .retain_graph = false, .td_keywords_only = 0, __VA_ARGS__)))
#define td_retain_grad(x) td_retain_grad_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_grads_of(outputs, inputs, grads, ...)                      \
    TD_DO_WITH_KEYWORDS(                                              \
        td_grads_of_at(TD_HERE(0), outputs, inputs, grads, \
                       TD_KEYWORDS(td_grads_of, .retain_graph = false, .td_keywords_only = 0, __VA_ARGS__)))
#define td_backward_all(losses, ...)           \
    TD_DO_WITH_KEYWORDS(td_backward_all_at(    \
        TD_HERE(0), losses, \
        TD_KEYWORDS(td_backward_all, .retain_graph = false, .td_keywords_only = 0, __VA_ARGS__)))
#endif

#endif
