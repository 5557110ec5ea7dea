/* Custom autograd functions: a forward and a backward of your own, in C. There are two forms.
 *
 * Traced, which is the one to use where ops are enough: both are called once for each kind of input (dtypes, shapes,
 * strides, whether a gradient is required, the attributes' bytes); what they compute is traced, and the daemon runs it
 * from then on without asking back.
 *
 *     static void square_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
 *     {
 *         td_save_for_backward(ctx, in[0]);
 *         out[0] = td_mul(in[0], in[0]);
 *     }
 *     static void square_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
 *     {
 *         grad_in[0] = td_mul(grad_out[0], td_mul(td_saved(ctx, 0), 2.0));
 *     }
 *     td_function *square = td_function_new(s, "square", .inputs = 1, .outputs = 1, .forward = square_forward,
 *                                           .backward = square_backward);
 *     td_tensor y = td_apply(square, x);
 *
 * While a function is traced its tensors have shapes, strides and dtypes, but no values: td_item, td_read and td_print
 * are errors at their line. Branches by shape are fine, since another shape is traced anew. What they make is released
 * when they return.
 *
 * Called back, with .called_back = true, where C has to look at values or compute them: another library's solver, a
 * table, a branch by data. forward then runs in every td_apply and backward in every walk that comes to it, both here,
 * in the calling thread and with values, so that td_item, td_read and td_from are at home there:
 *
 *     static void solve_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
 *     {
 *         double g[N];
 *         td_read(grad_out[0], g, TD_F64, N);
 *         my_adjoint_solve(g);
 *         grad_in[0] = td_from(td_context_session(ctx), g, TD_F64, TD_SHAPE(N));
 *     }
 *
 * What it costs: once such a function has been applied to something that requires a gradient, td_backward, td_grad_of
 * and what is made of them wait for the end of the walk, and each application in it is a round trip to this program.
 * Other sessions go on meanwhile; other threads of this program that call the same session wait too. Values that went
 * through C are constants: gradients of gradients come from the ops of backward alone. What is replayed without this
 * program cannot call it: an application inside of td_record, of a hook or of another function's trace is an error at
 * its line, and so is a recorded td_backward that comes to one. TD_CHECKPOINT repeats the ops of forward, not its C.
 * Backward may itself walk graphs (in a TD_ENABLE_GRAD of its own: without .create_graph it records nothing), also
 * through functions that are called back, up to 16 within each other; what it begins (td_record, TD_CHECKPOINT) has to
 * end in it.
 *
 * Included by tensord.h. SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORD_FUNCTION_H
#define TENSORD_FUNCTION_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_function td_function;
/* One call of forward or backward; good until it returns. */
typedef struct td_context td_context;

/* forward fills out, .outputs tensors, from in, .inputs of them; nothing in it is recorded for autograd. backward fills
 * grad_in, the gradient of each input, from grad_out, that of each output (zeros where none came); entries of inputs
 * that require none may stay as they are. With .create_graph, gradients of gradients come from the ops of backward.
 * Both may apply other functions, and backward the function itself: it then has a first and a second derivative, and a
 * third is an error. */
typedef void td_function_forward(td_context *ctx, const td_tensor *in, td_tensor *out);
typedef void td_function_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in);

struct td_function_keywords {
    int inputs, outputs; /* 1 to 16 */
    td_function_forward *forward;
    td_function_backward *backward; /* NULL: no input may require a gradient */
    size_t attributes;              /* bytes of the .attributes that each application gives, with their padding */
    bool once_differentiable;       /* a second derivative is refused */
    bool called_back;               /* both are run here each time, with values; at most 16384 bytes of attributes */
    TD_KEYWORDS_END
};
/* Never NULL; to be freed with td_function_free, before or after td_close. */
TD_API td_function *td_function_new(td_session *s, const char *name, const struct td_function_keywords *keywords);
TD_API td_function *td_function_new_at(td_origin origin, td_session *s, const char *name,
                                       const struct td_function_keywords *keywords);
/* Graphs that it is part of keep what they need. NULL is fine. */
TD_API void td_function_free(td_function *function);

struct td_apply_keywords {
    const void *attributes; /* of the bytes that td_function_new was told; copied */
    TD_KEYWORDS_END
};
/* The function's outputs. Where the backward that it traces gives a gradient of a wrong shape or dtype, or none for an
 * input that requires one, the outputs are error values: at this line, not in td_backward. One that is called back
 * fails the walk then, with this line in the error. */
TD_API void td_apply_to(td_function *function, td_list inputs, td_tensor *outputs,
                        const struct td_apply_keywords *keywords TD_DEFAULT(NULL));
TD_API void td_apply_to_at(td_origin origin, td_function *function, td_list inputs, td_tensor *outputs,
                           const struct td_apply_keywords *keywords);
/* td_apply(function, a, b): the first output. */
TD_API td_tensor td_apply_at(td_origin origin, td_function *function, td_list inputs);

/* In forward: what backward will need, in order, at most 64; further calls add to it. Inputs and outputs can be
 * differentiated again; of anything else a second derivative is an error and never a wrong number. */
TD_API void td_save_for_backward(td_context *ctx, td_list tensors);
TD_API void td_save_for_backward_at(td_origin origin, td_context *ctx, td_list tensors);
/* In backward: the k-th of them. */
TD_API td_tensor td_saved(td_context *ctx, int k);
/* Whether the gradient of input k will be used: of others backward need not compute one. */
TD_API bool td_needs_input_grad(const td_context *ctx, int k);
/* In forward: output is a constant for autograd, as an index or a mask is. */
TD_API void td_mark_non_differentiable(td_context *ctx, td_tensor output);
/* The attributes of this application. */
TD_API const void *td_attributes(const td_context *ctx);
TD_API td_session *td_context_session(const td_context *ctx);

#ifdef __cplusplus
}
#else
#define td_function_new(s, name, ...)                                       \
    TD_WITH_KEYWORDS(td_function *, td_function_new_at(TD_HERE(0), s, name, \
                                                       TD_KEYWORDS(td_function, .td_keywords_only = 0, __VA_ARGS__)))
#define td_apply(function, ...)       \
    td_apply_at(TD_HERE(0), function, \
                ((td_list){TD_COUNT(__VA_ARGS__), (const td_tensor[]){__VA_ARGS__}, #__VA_ARGS__}))
#define td_apply_to(function, inputs, outputs, ...)                           \
    TD_DO_WITH_KEYWORDS(td_apply_to_at(TD_HERE(0), function, inputs, outputs, \
                                       TD_KEYWORDS(td_apply, .attributes = NULL, .td_keywords_only = 0, __VA_ARGS__)))
#define td_save_for_backward(ctx, ...) td_save_for_backward_at(TD_HERE(0), ctx, TD_LIST(__VA_ARGS__))
#endif

#endif
