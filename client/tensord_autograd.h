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

/* ---- hooks, as torch.Tensor.register_hook ---- */

/* What is made of a gradient before anybody else has it: gives what it is from now on, of the same shape and dtype, or
 * (td_tensor){0} to leave it as it is. Written in ops, and called once, by td_register_hook, with a contiguous grad
 * that has a shape and no values: what it computes is traced, and the daemon runs it in each walk, as custom functions
 * are run (tensord_function.h). Tensors from outside are seen as they are then, and written to as they would be there:
 *
 *     static td_tensor scale_and_log(td_tensor grad, void *norm)
 *     {
 *         td_copy_(*(td_tensor *)norm, td_norm(td_detach(grad)));
 *         return td_mul(grad, 0.5);
 *     }
 *
 * It cannot walk the graph itself (td_backward, td_grad_of). What it makes is released when it returns. */
typedef td_tensor td_hook_function(td_tensor grad, void *data);
/* Tells a hook from others; passed by value, and a zeroed one is none. */
typedef struct td_hook {
    td_session *session;
    uint32_t number, epoch;
} td_hook;
struct td_register_hook_keywords {
    void *data;
    TD_KEYWORDS_END
};
/* From now on every walk calls hook when the gradient of x is complete, before it goes to what x was computed from, is
 * added to a leaf's, kept for td_retain_grad or given out by td_grad_of. x may be a leaf or computed; of one that is
 * written to afterwards it is the gradient of what it was. Several hooks run in the order in which they were
 * registered. With .create_graph what a hook computes has gradients itself. An error in it, or a result of another
 * shape or dtype, is raised here, at this line, and then there is no hook: what is returned is zeroed. The hook ends
 * with the graph that x is part of, or by td_remove_hook. One that uses x itself, or what was computed from x, keeps
 * both: then nothing but td_remove_hook or the session's end lets go of them. Inside td_record it is registered by each
 * td_run, too; what a hook then uses from inside the recording is what the recording made. Inside TD_CHECKPOINT it is
 * for tensors made there. Keyword: .data (NULL), what the hook is called with. */
TD_API td_hook td_register_hook(td_tensor x, td_hook_function *hook,
                                const struct td_register_hook_keywords *keywords TD_DEFAULT(NULL));
TD_API td_hook td_register_hook_at(td_origin origin, td_tensor x, td_hook_function *hook,
                                   const struct td_register_hook_keywords *keywords);
/* No walk that begins later calls it. One that has ended already, or was never there, is fine. */
TD_API void td_remove_hook(td_hook hook);

/* ---- what the graph is made of ---- */

/* Ops of one kind, or of one line of the program. */
typedef struct td_graph_part {
    const char *name; /* "matmul"; "train.c:31", "" where the line is not known */
    int64_t nodes, bytes;
} td_graph_part;
/* What td_backward would walk. Bytes are those of blocks in which the graph keeps values, each counted once, for the
 * newest op that keeps it. The parts come with most bytes first; of the lines there are at most 1024. */
typedef struct td_graph {
    int64_t nodes, leaves, bytes; /* nodes: ops */
    int64_t op_count, line_count;
    const td_graph_part *ops, *lines;
} td_graph;
/* The graph that x was computed by, counted; to be freed with free, as one. NULL after an error. Waits. */
TD_API td_graph *td_graph_info(td_tensor x);
TD_API td_graph *td_graph_info_at(td_origin origin, td_tensor x);
#define TD_GRAPH_LISTED 100
struct td_graph_text_keywords {
    int64_t limit;
    TD_KEYWORDS_END
};
/* The same as text, and its newest ops and its leaves in lines: the op, the name that td_name gave, type and shape, the
 * numbers of the lines that it was computed from, the bytes that it keeps, the line of the program. "walked" means that
 * what it kept is gone. What is left out is counted. To be freed with free; NULL after an error. Waits. Keyword: .limit
 * (100; at most 512), of ops and of leaves. */
TD_API char *td_graph_text(td_tensor x, const struct td_graph_text_keywords *keywords TD_DEFAULT(NULL));
TD_API char *td_graph_text_at(td_origin origin, td_tensor x, const struct td_graph_text_keywords *keywords);
/* Prints that on standard output. */
TD_API void td_graph_print(td_tensor x, const struct td_graph_text_keywords *keywords TD_DEFAULT(NULL));
TD_API void td_graph_print_at(td_origin origin, td_tensor x, const struct td_graph_text_keywords *keywords);

/* ---- derivatives of a function, as torch.autograd.functional ---- */

/* A function of one tensor, written in ops; data is the keyword .data of the call. It is called once, with an x of its
 * own, recording; what it makes on the way is released. Nothing waits, but for a size that only data can tell. */
typedef td_tensor td_mapping(td_tensor x, void *data);
/* Keywords of all that follow: .data (NULL); .value gets f(x); .create_graph (false): the result, and .value, are part
 * of x's graph and can be differentiated. What does not depend on x has derivatives of zeros. */
struct td_derivative_keywords {
    void *data;
    td_tensor *value;
    bool create_graph;
    TD_KEYWORDS_END
};
/* v times the Jacobian of f at x: of x's shape. v has the shape of f(x); a zeroed td_tensor is 1 for an f of one
 * element. */
TD_API td_tensor td_vjp(td_mapping *f, td_tensor x, td_tensor v,
                        const struct td_derivative_keywords *keywords TD_DEFAULT(NULL));
/* The Jacobian of f at x times v, which has x's shape: how f(x) changes as x goes along v. Differentiates twice. */
TD_API td_tensor td_jvp(td_mapping *f, td_tensor x, td_tensor v,
                        const struct td_derivative_keywords *keywords TD_DEFAULT(NULL));
/* The Hessian of f, which gives one element, times v, which has x's shape; without the matrix. */
TD_API td_tensor td_hvp(td_mapping *f, td_tensor x, td_tensor v,
                        const struct td_derivative_keywords *keywords TD_DEFAULT(NULL));
/* The derivatives of each element of f(x) by each of x: of the shapes of both, f(x)'s first. One walk for each element
 * of f(x). */
TD_API td_tensor td_jacobian(td_mapping *f, td_tensor x,
                             const struct td_derivative_keywords *keywords TD_DEFAULT(NULL));
/* The second derivatives of f, which gives one element: of x's shape twice. One walk for each element of x. */
TD_API td_tensor td_hessian(td_mapping *f, td_tensor x, const struct td_derivative_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_vjp_at(td_origin origin, td_mapping *f, td_tensor x, td_tensor v,
                           const struct td_derivative_keywords *keywords);
TD_API td_tensor td_jvp_at(td_origin origin, td_mapping *f, td_tensor x, td_tensor v,
                           const struct td_derivative_keywords *keywords);
TD_API td_tensor td_hvp_at(td_origin origin, td_mapping *f, td_tensor x, td_tensor v,
                           const struct td_derivative_keywords *keywords);
TD_API td_tensor td_jacobian_at(td_origin origin, td_mapping *f, td_tensor x,
                                const struct td_derivative_keywords *keywords);
TD_API td_tensor td_hessian_at(td_origin origin, td_mapping *f, td_tensor x,
                               const struct td_derivative_keywords *keywords);

/* ---- checks by differences ---- */

/* How the gradients of a function came off. Elements are counted row by row; matrices have a row for each element of
 * the output and a column for each of the input, and are tensors of the session, only where the check failed. */
typedef struct td_gradcheck_report {
    bool passed;
    bool deterministic; /* a second walk gave the same bits */
    int input, output;  /* where the worst element is */
    int64_t input_element, output_element;
    double analytic, numeric, absolute_error, relative_error;
    double excess; /* |analytic - numeric| / (atol + rtol |numeric|): above 1 it is refused */
    td_tensor analytic_matrix, numeric_matrix;
} td_gradcheck_report;

struct td_gradcheck_keywords {
    double eps, atol, rtol;
    const void *data; /* of a td_mapping; the .attributes of a td_function */
    td_gradcheck_report *report;
    TD_KEYWORDS_END
};
struct td_gradcheck_arguments {
    td_function *function;
    td_mapping *mapping;
    td_list inputs;
    const struct td_gradcheck_keywords *keywords;
};
/* td_gradcheck(function, x) or td_gradcheck(function, TD_LIST(a, b)): compares the gradients that the function's
 * backward gives with central differences of its values, as torch.autograd.gradcheck does, and looks whether a second
 * walk gives the same bits. All inputs are f64 and are checked; those of the program do not change. function is a
 * td_function or a td_mapping. All of it is computed in the daemon, and only the verdict is waited for. Where it fails
 * that is the error of code TD_E_GRAD which names the worst element, and the result is false. Keywords: .eps (1e-6),
 * .atol (1e-5), .rtol (1e-3), .data (NULL), .report (NULL). */
TD_API bool td_gradcheck_at(td_origin origin, const struct td_gradcheck_arguments *arguments);
/* The same of the gradients themselves, and so of second derivatives, for seeds of its own. */
TD_API bool td_gradgradcheck_at(td_origin origin, const struct td_gradcheck_arguments *arguments);

#ifdef __cplusplus
}
#else
static inline td_function *td_checked_function(td_function *function)
{
    return function;
}
static inline td_function *td_checked_none(td_mapping *mapping)
{
    (void)mapping;
    return 0;
}
static inline td_mapping *td_checked_mapping(td_mapping *mapping)
{
    return mapping;
}
static inline td_mapping *td_checked_no_mapping(td_function *function)
{
    (void)function;
    return 0;
}
#define TD_GRADCHECK(at, f, inputs_, ...)                                                                    \
    __extension__({                                                                                          \
        const td_tensor td_one_[1] = {_Generic((inputs_), td_tensor : (inputs_), default : (td_tensor){0})}; \
        at(TD_HERE(0), &(const struct td_gradcheck_arguments){                                               \
                           .function = _Generic((f), td_function *                                           \
                                                : td_checked_function, default                               \
                                                : td_checked_none)(f),                                       \
                           .mapping = _Generic((f), td_function *                                            \
                                               : td_checked_no_mapping, default                              \
                                               : td_checked_mapping)(f),                                     \
                           .inputs = _Generic((inputs_), td_list                                             \
                                              : (inputs_), default                                           \
                                              : TD_LIST_OF(1, td_one_)),                                     \
                           .keywords = TD_KEYWORDS(td_gradcheck, .eps = 1e-6, .atol = 1e-5, .rtol = 1e-3,    \
                                                   .td_keywords_only = 0, __VA_ARGS__)});                    \
    })
#define td_gradcheck(f, inputs, ...) TD_GRADCHECK(td_gradcheck_at, f, inputs, __VA_ARGS__)
#define td_gradgradcheck(f, inputs, ...) TD_GRADCHECK(td_gradgradcheck_at, f, inputs, __VA_ARGS__)
#define td_grad_of(output, input, ...)                                                               \
    TD_WITH_KEYWORDS(                                                                                \
        td_tensor, td_grad_of_at(TD_HERE(TD_FRESH(#output, 0) | TD_FRESH(#input, 1)), output, input, \
                                 TD_KEYWORDS(td_grad_of, .retain_graph = false, .td_keywords_only = 0, __VA_ARGS__)))
#define td_retain_grad(x) td_retain_grad_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_grads_of(outputs, inputs, grads, ...)           \
    TD_DO_WITH_KEYWORDS(                                   \
        td_grads_of_at(TD_HERE(0), outputs, inputs, grads, \
                       TD_KEYWORDS(td_grads_of, .retain_graph = false, .td_keywords_only = 0, __VA_ARGS__)))
#define td_register_hook(x, hook, ...)                                  \
    TD_WITH_KEYWORDS(                                                   \
        td_hook, td_register_hook_at(TD_HERE(TD_FRESH(#x, 0)), x, hook, \
                                     TD_KEYWORDS(td_register_hook, .data = NULL, .td_keywords_only = 0, __VA_ARGS__)))
#define td_graph_info(x) td_graph_info_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_graph_text(x, ...)                                                                      \
    TD_WITH_KEYWORDS(char *, td_graph_text_at(TD_HERE(TD_FRESH(#x, 0)), x,                         \
                                              TD_KEYWORDS(td_graph_text, .limit = TD_GRAPH_LISTED, \
                                                          .td_keywords_only = 0, __VA_ARGS__)))
#define td_graph_print(x, ...)                         \
    TD_DO_WITH_KEYWORDS(                               \
        td_graph_print_at(TD_HERE(TD_FRESH(#x, 0)), x, \
                          TD_KEYWORDS(td_graph_text, .limit = TD_GRAPH_LISTED, .td_keywords_only = 0, __VA_ARGS__)))
#define TD_DERIVATIVE_KEYWORDS(...) \
    TD_KEYWORDS(td_derivative, .create_graph = false, .td_keywords_only = 0, __VA_ARGS__)
#define td_vjp(f, x, v, ...)                                                                   \
    TD_WITH_KEYWORDS(td_tensor, td_vjp_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#v, 1)), f, x, v, \
                                          TD_DERIVATIVE_KEYWORDS(__VA_ARGS__)))
#define td_jvp(f, x, v, ...)                                                                   \
    TD_WITH_KEYWORDS(td_tensor, td_jvp_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#v, 1)), f, x, v, \
                                          TD_DERIVATIVE_KEYWORDS(__VA_ARGS__)))
#define td_hvp(f, x, v, ...)                                                                   \
    TD_WITH_KEYWORDS(td_tensor, td_hvp_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#v, 1)), f, x, v, \
                                          TD_DERIVATIVE_KEYWORDS(__VA_ARGS__)))
#define td_jacobian(f, x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_jacobian_at(TD_HERE(TD_FRESH(#x, 0)), f, x, TD_DERIVATIVE_KEYWORDS(__VA_ARGS__)))
#define td_hessian(f, x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_hessian_at(TD_HERE(TD_FRESH(#x, 0)), f, x, TD_DERIVATIVE_KEYWORDS(__VA_ARGS__)))
#define td_backward_all(losses, ...)        \
    TD_DO_WITH_KEYWORDS(td_backward_all_at( \
        TD_HERE(0), losses, TD_KEYWORDS(td_backward_all, .retain_graph = false, .td_keywords_only = 0, __VA_ARGS__)))
#endif

#endif
