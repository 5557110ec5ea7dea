/* tensord: tensors that live in a daemon, and PyTorch's ops on them.
 *
 *     td_session *s = td_open(NULL);
 *     td_tensor w = td_full(s, TD_SHAPE(3, 2), 0.1, .requires_grad = true);
 *     td_tensor loss = td_mean(td_square(td_matmul(x, w)));
 *     td_backward(loss);
 *     td_print(td_grad(w));
 *     return td_close(s);
 *
 * Calls. Ops (tensord_ops.h) return at once; only reading a value, td_error, td_sync and td_close wait for the daemon.
 *     Keyword arguments come last, as designated initialisers: td_sum(x, .dims = TD_DIMS(0), .keepdim = true). A number
 *     may stand where the second operand of an op is due: td_mul(x, 3.0). Shapes, strides and dtypes are known here; of
 *     what is as large as its data say, as td_nonzero(x), rank and dtype, and sizes when they are asked for.
 * Errors are values. No call needs checking: what fails gives a failed tensor, what is computed from that fails too, an
 *     in-place op with a failed operand leaves its target as it was, and td_error or td_close tell the first cause
 *     with the line of your program that made it.
 * Ownership. A tensor is released by td_release, by the end of the TD_SCOPE it was made in, or by td_close. A call
 *     written as an argument, td_relu(td_matmul(x, w)), is used up by the op around it and leaves nothing behind; for
 *     that the names of functions of your own must not begin with td_. A tensor used after its release is an error
 *     of code TD_E_HANDLE.
 * Threads may share a session; TD_SCOPE and TD_NO_GRAD are each thread's own. After fork the child cannot use it.
 *
 * The macros need GNU C (gcc, clang). A function of the same name stands behind each; C++ sees those alone.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORD_H
#define TENSORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef TD_API
#define TD_API
#endif

/* A connection to a daemon and all that was made through it. */
typedef struct td_session td_session;

/* A tensor, passed by value: a name for what the daemon holds. Copies name the same tensor. Its members are the
 * library's; a zeroed one names nothing. */
typedef struct td_tensor {
    td_session *session;
    uint32_t handle, generation;
} td_tensor;

/* Several tensors; the array stays the caller's. Write TD_LIST(a, b, c) or TD_LIST_OF(count, array). A call written
 * inside TD_LIST is used up by the op around it, as a nested call is. */
typedef struct td_list {
    int64_t count;
    const td_tensor *items;
    const char *text; /* the list as it was written, NULL if unknown: tells which items are used up */
} td_list;

/* What an op with two results gives, as td_max_dim(x, 1): the elements found and where they stand. */
typedef struct td_indexed {
    td_tensor values, indices;
} td_indexed;

/* Where a call was written, and which of its tensors it uses up (bit k: the k-th). Made by the macros. */
typedef struct td_origin {
    const char *where; /* "file.c:12", read again later: a literal, or text that stays */
    uint32_t consume;
} td_origin;

#ifdef __cplusplus
}
#endif

#include "tensord_ops.h"
#include "tensord_nn.h"
#include "tensord_function.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- sessions ---- */

/* Connects to "unix:PATH"; with NULL to $TENSORD, else to the user's own daemon if there is one, else to the
 * machine's. Never NULL: if no daemon answers, every op of the session fails with TD_E_CONNECT and td_close says so.
 * With TENSORD_SYNC=1 in the environment every op waits for its result, so that errors come up at their line.
 * Keyword: .device, for a daemon with several devices: the one that the session is to be on ("cuda:1", "cpu"), or its
 * kind ("cuda"); without it $TENSORD_DEVICE. Without a wish it is the GPU with the most free memory for each session on
 * it; the CPU only where there is no GPU. A wish that the daemon cannot meet is an error of code TD_E_ARGUMENT that
 * names the devices that it has. td_device(s).name tells which it is; a session that loses its worker stays there. */
struct td_open_keywords {
    const char *device;
    TD_KEYWORDS_END
};
TD_API td_session *td_open(const char *address, const struct td_open_keywords *keywords TD_DEFAULT(NULL));
/* Waits for all ops, ends the session and frees it with all its tensors. Returns 0, or the code of the error that
 * stands, which it prints on standard error. Optimisers may be freed before or after. */
TD_API int td_close(td_session *s);
/* The address of the daemon, "unix:/run/...". Lives as long as the session. */
TD_API const char *td_address(const td_session *s);
/* Sends what is still buffered here. Reading does so by itself; this is for work to start before a pause. */
TD_API void td_flush(td_session *s);
/* Ends what the daemon still has to do for this session: a td_backward in work stops and leaves no gradient, ops not
 * yet done give error values of code TD_E_CANCELLED; a kernel that runs already is let finish. Does not wait, and the
 * session goes on. Meant for another thread while one waits in td_item or td_sync. */
TD_API void td_cancel(td_session *s);
/* Waits until every op so far is done. Returns 0 or the code of the error that stands. */
TD_API int td_sync(td_session *s);
/* Restarts the session's random numbers from seed; equal seeds give equal numbers on every device. */
TD_API void td_manual_seed(td_session *s, uint64_t seed);
/* Tensors that are held at the moment; gradients and the state of optimisers count. */
TD_API int64_t td_tensor_count(td_session *s);
/* The daemon's state as a msgpack map of *bytes bytes, to be freed with free; NULL after an error. Waits. */
TD_API void *td_status(td_session *s, size_t *bytes);

/* ---- errors ---- */

typedef struct td_error_info {
    int code;            /* enum td_error_code; TD_E_OK (0): no error stands */
    const char *message; /* one line: the op, the shapes, what is wrong; "" without error. No member is ever NULL */
    const char *hint;    /* what to do about it, a whole sentence, or "" */
    const char *where;   /* the call: "train.c:31", "" if unknown */
    uint64_t request;    /* its number, counted from the session's start */
    const char *op;      /* "matmul" */
} td_error_info;

/* Waits until every op so far is done and returns the first error since the last td_clear_error. Good until the next
 * td_error, td_clear_error or td_close of this session. */
TD_API const td_error_info *td_error(td_session *s);
/* The same wait, and no error stands any more. Failed tensors stay failed. */
TD_API void td_clear_error(td_session *s);
/* Whether nothing is known against the tensor; never waits, so an error that only the daemon sees shows after a read.
 */
TD_API bool td_ok(td_tensor x);
/* "shape" for TD_E_SHAPE; "?" for a code that does not exist. */
TD_API const char *td_code_name(int code);
/* With TD_ABORT the program ends by abort() in the call that finds an error, for a debugger to look at. */
enum td_policy { TD_CONTINUE, TD_ABORT };
TD_API void td_on_error(td_session *s, enum td_policy policy);

/* ---- data in and out ---- */

/* A tensor with a copy of the elements at data, row by row, of the given dtype (bool: one byte each). The array may be
 * changed or freed as soon as the call is back. Keywords: .requires_grad (false); .non_blocking (false), see
 * td_host_alloc. */
struct td_from_keywords {
    bool requires_grad, non_blocking;
    TD_KEYWORDS_END
};
TD_API td_tensor td_from(td_session *s, const void *data, enum td_dtype dtype, struct td_dims shape,
                         const struct td_from_keywords *keywords TD_DEFAULT(NULL));
/* The macro's arguments: data may be a compound literal, (const float[]){1, 2}, whose commas a macro would split at. */
struct td_from_arguments {
    bool requires_grad, non_blocking;
    td_session *session;
    const void *data;
    enum td_dtype dtype;
    struct td_dims shape;
    TD_ARGUMENTS_END
};
TD_API td_tensor td_from_at(td_origin origin, const struct td_from_arguments *arguments);
/* Waits for x and writes its elements to array, row by row, converted to dtype. Returns how many, or -1 after an
 * error: also if there are more than count, and then nothing is written. */
TD_API int64_t td_read(td_tensor x, void *array, enum td_dtype dtype, int64_t count);
/* Waits for x and returns its one element; NaN after an error. */
TD_API double td_item(td_tensor x);
/* Waits for x and prints it on standard output as PyTorch does. */
TD_API void td_print(td_tensor x);
/* What td_print prints, without the line's end; to be freed with free. */
TD_API char *td_text(td_tensor x);

/* ---- files: NumPy's npy and npz, and safetensors ---- */

/* Loading reads a file a megabyte at a time and returns when all is on its way; what comes out is an error value of
 * code TD_E_FILE for what cannot be read or is not its format (the message names the file, the byte and what stands
 * there), TD_E_DTYPE for element types that tensord has not. Both byte orders and all versions of npy can be read. An
 * array in Fortran's order keeps the strides that it has in NumPy: it is the transpose of a contiguous tensor. Keywords
 * of all that load: .progress, called after each piece with the bytes done, their total, and .data; what it returns
 * other than 0 ends the loading, as td_cancel does: the tensor is an error value of code TD_E_CANCELLED. It may use the
 * session. Saving waits for the tensors and writes them in C's order, whatever their strides. The file appears when it
 * is complete, in place of one that was there; after an error nothing of it is left. Returns 0 or the code of the
 * error, which stands in the session, too. Gradients and names given by td_name are not saved. */
struct td_load_keywords {
    int (*progress)(int64_t done, int64_t total, void *data);
    void *data;
    TD_KEYWORDS_END
};
/* The array of an npy file. What lies behind it is not looked at, as in NumPy. */
TD_API td_tensor td_load_npy(td_session *s, const char *path, const struct td_load_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_load_npy_at(td_origin origin, td_session *s, const char *path,
                                const struct td_load_keywords *keywords);
TD_API int td_save_npy(td_tensor x, const char *path);
TD_API int td_save_npy_at(td_origin origin, td_tensor x, const char *path);

/* One array of a file, stored or deflated; name is without .npy. */
TD_API td_tensor td_load_npz(td_session *s, const char *path, const char *name,
                             const struct td_load_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_load_npz_at(td_origin origin, td_session *s, const char *path, const char *name,
                                const struct td_load_keywords *keywords);
TD_API td_tensor td_load_safetensors(td_session *s, const char *path, const char *name,
                                     const struct td_load_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_load_safetensors_at(td_origin origin, td_session *s, const char *path, const char *name,
                                        const struct td_load_keywords *keywords);

/* A tensor as a file has it. */
typedef struct td_stored {
    const char *name;
    enum td_dtype dtype; /* TD_DTYPE_NONE: one that cannot be loaded, of an element type or rank that tensord has not */
    int rank;            /* shape has the first TD_RANKS */
    int64_t shape[TD_RANKS];
    td_tensor tensor; /* where they were loaded */
} td_stored;
/* What a file has, in its order: returns how many, and sets *list to an array to be freed with free; -1 and NULL after
 * an error. Loads nothing. */
TD_API int64_t td_list_npz(td_session *s, const char *path, td_stored **list);
TD_API int64_t td_list_npz_at(td_origin origin, td_session *s, const char *path, td_stored **list);
TD_API int64_t td_list_safetensors(td_session *s, const char *path, td_stored **list);
TD_API int64_t td_list_safetensors_at(td_origin origin, td_session *s, const char *path, td_stored **list);
/* The same, and loads them all, or none after an error. Progress counts the bytes of all. */
TD_API int64_t td_load_all_npz(td_session *s, const char *path, td_stored **all,
                               const struct td_load_keywords *keywords TD_DEFAULT(NULL));
TD_API int64_t td_load_all_npz_at(td_origin origin, td_session *s, const char *path, td_stored **all,
                                  const struct td_load_keywords *keywords);
TD_API int64_t td_load_all_safetensors(td_session *s, const char *path, td_stored **all,
                                       const struct td_load_keywords *keywords TD_DEFAULT(NULL));
TD_API int64_t td_load_all_safetensors_at(td_origin origin, td_session *s, const char *path, td_stored **all,
                                          const struct td_load_keywords *keywords);
/* The text that a safetensors file's metadata has under key, to be freed with free; NULL if it has none, and after an
 * error. */
TD_API char *td_metadata_safetensors(td_session *s, const char *path, const char *key);
TD_API char *td_metadata_safetensors_at(td_origin origin, td_session *s, const char *path, const char *key);

/* count tensors under as many names, each once, in UTF-8; npz files are not compressed. */
TD_API int td_save_npz(const char *path, const char *const *names, const td_tensor *tensors, int64_t count);
/* Keyword: .metadata, an array of key, value, key, value, ..., NULL. */
struct td_save_keywords {
    const char *const *metadata;
    TD_KEYWORDS_END
};
TD_API int td_save_safetensors(const char *path, const char *const *names, const td_tensor *tensors, int64_t count,
                               const struct td_save_keywords *keywords TD_DEFAULT(NULL));
/* The macros' arguments: names and tensors may be compound literals. */
struct td_save_arguments {
    const char *const *metadata;
    const char *path;
    const char *const *names;
    const td_tensor *tensors;
    int64_t count;
    TD_ARGUMENTS_END
};
TD_API int td_save_npz_at(td_origin origin, const struct td_save_arguments *arguments);
TD_API int td_save_safetensors_at(td_origin origin, const struct td_save_arguments *arguments);

/* ---- what is known without asking; of a failed tensor: rank 0, no elements, dtype TD_DTYPE_NONE ---- */

typedef struct td_layout {
    int rank;
    int64_t shape[TD_RANKS], stride[TD_RANKS]; /* the first rank of them; strides count elements */
    int64_t offset;                            /* elements from the storage's start */
} td_layout;

TD_API td_layout td_layout_of(td_tensor x);
TD_API int td_rank(td_tensor x);
/* Elements along dim, negative dims counted from the end. A dim that does not exist is an error and gives -1. */
TD_API int64_t td_size(td_tensor x, int64_t dim);
TD_API int64_t td_numel(td_tensor x);
TD_API enum td_dtype td_dtype_of(td_tensor x);
/* Row by row, without gaps. */
TD_API bool td_is_contiguous(td_tensor x);
/* Whether a write to one can be seen in the other. */
TD_API bool td_same_storage(td_tensor a, td_tensor b);
/* The type that an op computes a and b in, which may be a number: of one category the wider one's, where a tensor
 * without dimensions only counts beside its like, and a number beside neither, unless its category is higher. */
TD_API enum td_dtype td_result_type(td_tensor a, td_operand b);
TD_API enum td_dtype td_result_type_at(td_origin origin, td_tensor a, td_operand b);
/* The same of two types, and whether a result of from goes into a tensor of to: its category is no higher. */
TD_API enum td_dtype td_promote_types(enum td_dtype a, enum td_dtype b);
TD_API bool td_can_cast(enum td_dtype from, enum td_dtype to);

/* ---- parts ---- */

struct td_chunk_keywords {
    int64_t dim;
    TD_KEYWORDS_END
};
/* Cuts x along a dimension into chunks parts of equal size, the last of what is left, and puts them into parts: views
 * of x. Returns how many came out, at most chunks (5 elements in 4 chunks are 3 parts); what lies behind them in parts
 * stays as it was. Keyword: .dim (0). */
TD_API int td_chunk(td_tensor x, int64_t chunks, td_tensor *parts,
                    const struct td_chunk_keywords *keywords TD_DEFAULT(NULL));
TD_API int td_chunk_at(td_origin origin, td_tensor x, int64_t chunks, td_tensor *parts,
                       const struct td_chunk_keywords *keywords);

/* Keyword of these three: .dim (0). All give views, and how many they are. */
struct td_split_keywords {
    int64_t dim;
    TD_KEYWORDS_END
};
/* Parts of the given sizes; of one size, TD_SHAPE(3), as many parts as there are, the last of what is left. */
TD_API int td_split(td_tensor x, struct td_dims sizes, td_tensor *parts,
                    const struct td_split_keywords *keywords TD_DEFAULT(NULL));
TD_API int td_split_at(td_origin origin, td_tensor x, struct td_dims sizes, td_tensor *parts,
                       const struct td_split_keywords *keywords);
/* Exactly sections parts, the first ones longer by one where they cannot be equal. */
TD_API int td_tensor_split(td_tensor x, int64_t sections, td_tensor *parts,
                           const struct td_split_keywords *keywords TD_DEFAULT(NULL));
TD_API int td_tensor_split_at(td_origin origin, td_tensor x, int64_t sections, td_tensor *parts,
                              const struct td_split_keywords *keywords);
/* What td_tensor_split(x, TD_DIMS(...), parts) is: a part before each of these places, and one from the last on. They
 * count from the end below 0, and may lie outside, as in td_slice. */
TD_API int td_tensor_split_before(td_tensor x, struct td_dims places, td_tensor *parts,
                                  const struct td_split_keywords *keywords TD_DEFAULT(NULL));
TD_API int td_tensor_split_before_at(td_origin origin, td_tensor x, struct td_dims places, td_tensor *parts,
                                     const struct td_split_keywords *keywords);
/* The slices along a dimension, without it. */
TD_API int td_unbind(td_tensor x, td_tensor *parts, const struct td_split_keywords *keywords TD_DEFAULT(NULL));
TD_API int td_unbind_at(td_origin origin, td_tensor x, td_tensor *parts, const struct td_split_keywords *keywords);

/* ---- made of other ops ---- */

/* td_expand, td_view and td_reshape to the shape of other. */
TD_API td_tensor td_expand_as(td_tensor x, td_tensor other);
TD_API td_tensor td_view_as(td_tensor x, td_tensor other);
TD_API td_tensor td_reshape_as(td_tensor x, td_tensor other);
/* A matrix with x on its diagonal, or of a matrix x a copy of its diagonal. */
TD_API td_tensor td_diag(td_tensor x, int64_t offset);
/* The sum of a matrix's diagonal. */
TD_API td_tensor td_trace(td_tensor x);
/* x turned times a quarter from dim0 to dim1. */
TD_API td_tensor td_rot90(td_tensor x, int64_t times, int64_t dim0, int64_t dim1);
/* td_repeat where sizes may have less dimensions than x: 1 for those in front. */
TD_API td_tensor td_tile(td_tensor x, struct td_dims sizes);
/* i64: 1 at the index, otherwise 0, along a new last dimension of classes elements; with -1 for classes of as many as
 * the greatest index takes, for which it waits. */
TD_API td_tensor td_one_hot(td_tensor index, int64_t classes);
/* Images (..., channels * factor * factor, height, width) with their channels laid side by side: (..., channels,
 * height * factor, width * factor); and back. */
TD_API td_tensor td_pixel_shuffle(td_tensor x, int64_t factor);
TD_API td_tensor td_pixel_unshuffle(td_tensor x, int64_t factor);
TD_API td_tensor td_expand_as_at(td_origin origin, td_tensor x, td_tensor other);
TD_API td_tensor td_view_as_at(td_origin origin, td_tensor x, td_tensor other);
TD_API td_tensor td_reshape_as_at(td_origin origin, td_tensor x, td_tensor other);
TD_API td_tensor td_diag_at(td_origin origin, td_tensor x, int64_t offset);
TD_API td_tensor td_trace_at(td_origin origin, td_tensor x);
TD_API td_tensor td_rot90_at(td_origin origin, td_tensor x, int64_t times, int64_t dim0, int64_t dim1);
TD_API td_tensor td_tile_at(td_origin origin, td_tensor x, struct td_dims sizes);
TD_API td_tensor td_one_hot_at(td_origin origin, td_tensor index, int64_t classes);
TD_API td_tensor td_pixel_shuffle_at(td_origin origin, td_tensor x, int64_t factor);
TD_API td_tensor td_pixel_unshuffle_at(td_origin origin, td_tensor x, int64_t factor);

/* ---- products ---- */

/* torch.einsum: each tensor has a letter for each dimension, "ij,jk->ik"; letters that the result has not are summed
 * over, a letter that stands twice in a tensor is its diagonal, "..." stands for dimensions that broadcast. Without
 * "->" the result has those of "...", then the letters that stand once, in the order of the alphabet, capitals first. A
 * result that moves dimensions only is a view. */
TD_API td_tensor td_einsum(const char *equation, td_list tensors);
TD_API td_tensor td_einsum_at(td_origin origin, const char *equation, td_list tensors);
/* Sums over dimensions of a and b in pairs. Keywords: .dims (2): the last ones of a with the first ones of b; or
 * .a_dims and .b_dims: those that meet. */
struct td_tensordot_keywords {
    int64_t dims;
    struct td_dims a_dims, b_dims;
    TD_KEYWORDS_END
};
TD_API td_tensor td_tensordot(td_tensor a, td_tensor b, const struct td_tensordot_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_tensordot_at(td_origin origin, td_tensor a, td_tensor b,
                                 const struct td_tensordot_keywords *keywords);
/* td_matmul of two matrices, of two batches of as many matrices, of a matrix and a vector, of two vectors; and the
 * product of each element of a vector with each of another. */
TD_API td_tensor td_mm(td_tensor a, td_tensor b);
TD_API td_tensor td_bmm(td_tensor a, td_tensor b);
TD_API td_tensor td_mv(td_tensor a, td_tensor b);
TD_API td_tensor td_dot(td_tensor a, td_tensor b);
TD_API td_tensor td_outer(td_tensor a, td_tensor b);
/* td_dot; and the sums of products over the last dimension of both, each row of a with each of b. */
TD_API td_tensor td_vdot(td_tensor a, td_tensor b);
TD_API td_tensor td_inner(td_tensor a, td_tensor b);
TD_API td_tensor td_mm_at(td_origin origin, td_tensor a, td_tensor b);
TD_API td_tensor td_bmm_at(td_origin origin, td_tensor a, td_tensor b);
TD_API td_tensor td_mv_at(td_origin origin, td_tensor a, td_tensor b);
TD_API td_tensor td_dot_at(td_origin origin, td_tensor a, td_tensor b);
TD_API td_tensor td_outer_at(td_origin origin, td_tensor a, td_tensor b);
TD_API td_tensor td_vdot_at(td_origin origin, td_tensor a, td_tensor b);
TD_API td_tensor td_inner_at(td_origin origin, td_tensor a, td_tensor b);
/* beta * x + alpha * (a @ b), of matrices and of batches of them, of a matrix and a vector (addmv), of td_outer (addr),
 * and of all products of a batch together (addbmm). Keywords: .beta (1), .alpha (1); x is not looked at where beta is
 * 0.
 */
struct td_addmm_keywords {
    double beta, alpha;
    TD_KEYWORDS_END
};
TD_API td_tensor td_addmm(td_tensor x, td_tensor a, td_tensor b,
                          const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_baddbmm(td_tensor x, td_tensor a, td_tensor b,
                            const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_addmm_at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                             const struct td_addmm_keywords *keywords);
TD_API td_tensor td_baddbmm_at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                               const struct td_addmm_keywords *keywords);
TD_API td_tensor td_addmv(td_tensor x, td_tensor a, td_tensor b,
                          const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_addr(td_tensor x, td_tensor a, td_tensor b,
                         const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_addbmm(td_tensor x, td_tensor a, td_tensor b,
                           const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_addmv_at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                             const struct td_addmm_keywords *keywords);
TD_API td_tensor td_addr_at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                            const struct td_addmm_keywords *keywords);
TD_API td_tensor td_addbmm_at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                              const struct td_addmm_keywords *keywords);
/* All of them written into x, which is returned. */
TD_API td_tensor td_addmm_(td_tensor x, td_tensor a, td_tensor b,
                           const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_baddbmm_(td_tensor x, td_tensor a, td_tensor b,
                             const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_addmm__at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                              const struct td_addmm_keywords *keywords);
TD_API td_tensor td_baddbmm__at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                                const struct td_addmm_keywords *keywords);
TD_API td_tensor td_addmv_(td_tensor x, td_tensor a, td_tensor b,
                           const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_addr_(td_tensor x, td_tensor a, td_tensor b,
                          const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_addbmm_(td_tensor x, td_tensor a, td_tensor b,
                            const struct td_addmm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_addmv__at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                              const struct td_addmm_keywords *keywords);
TD_API td_tensor td_addr__at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                             const struct td_addmm_keywords *keywords);
TD_API td_tensor td_addbmm__at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                               const struct td_addmm_keywords *keywords);
/* Kronecker's product: a with each element times all of b. */
TD_API td_tensor td_kron(td_tensor a, td_tensor b);
TD_API td_tensor td_kron_at(td_origin origin, td_tensor a, td_tensor b);
/* The vector product along dim, which has 3 elements in both. */
TD_API td_tensor td_cross(td_tensor a, td_tensor b, int64_t dim);
TD_API td_tensor td_cross_at(td_origin origin, td_tensor a, td_tensor b, int64_t dim);
/* Square matrices to the n-th power, of the inverse where n < 0. */
TD_API td_tensor td_matrix_power(td_tensor x, int64_t n);
TD_API td_tensor td_matrix_power_at(td_origin origin, td_tensor x, int64_t n);
/* The logarithm of the determinant: nan where that is negative. */
TD_API td_tensor td_logdet(td_tensor x);
TD_API td_tensor td_logdet_at(td_origin origin, td_tensor x);
/* ---- indexing, as x[...] in PyTorch ---- */

/* One of the indices of td_index: write TD_AT, TD_RANGE, TD_ALL, TD_REST, TD_NEWAXIS or TD_PICK. */
enum td_pick_kind {
    TD_PICK_END, /* none */
    TD_PICK_INDEX,
    TD_PICK_SLICE,
    TD_PICK_EVERY,
    TD_PICK_REST,
    TD_PICK_NEW,
    TD_PICK_TENSOR
};
typedef struct td_pick {
    int kind;
    bool used_up; /* a tensor written as a call */
    int64_t start, end, step;
    td_tensor tensor;
} td_pick;
static inline td_pick td_pick_of(int kind, int64_t start, int64_t end, int64_t step)
{
    td_pick pick = {kind, false, start, end, step, {NULL, 0, 0}};
    return pick;
}
static inline td_pick td_pick_of_tensor(td_tensor x, bool used_up)
{
    td_pick pick = {TD_PICK_TENSOR, used_up, 0, 0, 0, {NULL, 0, 0}};
    pick.tensor = x;
    return pick;
}
/* The i-th, without its dimension; negative counts from the end. */
#define TD_AT(i) td_pick_of(TD_PICK_INDEX, i, 0, 0)
/* start:end:step; TD_END is the end of the dimension, step is 1 or more. */
#define TD_RANGE(start, end, step) td_pick_of(TD_PICK_SLICE, start, end, step)
#define TD_END INT64_MAX
/* A whole dimension; all that no other index takes; a new dimension of size 1. */
#define TD_ALL td_pick_of(TD_PICK_EVERY, 0, 0, 0)
#define TD_REST td_pick_of(TD_PICK_REST, 0, 0, 0)
#define TD_NEWAXIS td_pick_of(TD_PICK_NEW, 0, 0, 0)
#define TD_PICKS 24

/* x[picks]. Without TD_PICK a view of x, otherwise a copy. TD_PICK(t) takes i64 indices, negative ones from the end,
 * or a bool mask with the sizes of the dimensions that it stands for. Tensors are broadcast together; their shape
 * stands in place of the dimensions that they pick from if these are neighbours, else in front. Two things wait:
 * TD_PICK of an integer without dimensions, which is TD_AT then, and a mask if its sizes or those of x are not known
 * yet. Behind a mask of several dimensions the next index takes the dimension behind all of them, as in NumPy; PyTorch
 * takes the second of them. */
TD_API td_tensor td_index(td_tensor x, int64_t count, const td_pick *picks);
TD_API td_tensor td_index_at(td_origin origin, td_tensor x, int64_t count, const td_pick *picks);
typedef struct td_picks {
    td_pick items[TD_PICKS]; /* up to the first that is none */
    bool accumulate;
    TD_KEYWORDS_END
} td_picks;
/* x[picks] = value, broadcast; with .accumulate = true x[picks] += value. Of indices that name the same element the
 * last one counts, and gets the gradient, or they add up in their order. Writes through views, and returns x. */
TD_API td_tensor td_index_put_(td_tensor x, td_tensor value, const struct td_picks *picks);
TD_API td_tensor td_index_put__at(td_origin origin, td_tensor x, td_operand value, const struct td_picks *picks);
/* A tensor without dimensions. Keywords as of td_full. */
TD_API td_tensor td_scalar(td_session *s, struct td_number value,
                           const struct td_full_keywords *keywords TD_DEFAULT(NULL));

/* ---- as large as data say: sizes are known by asking (td_size, td_print, ...), which waits; nothing else does ---- */

/* Where x is not 0: a row of places for each element, i64. */
TD_API td_tensor td_nonzero(td_tensor x);
TD_API td_tensor td_nonzero_at(td_origin origin, td_tensor x);
/* The same, the places in each dimension by themselves (1-d, in parts). Returns how many: those of x, or 1. It is
 * PyTorch's where(x). */
TD_API int td_nonzero_tuple(td_tensor x, td_tensor *parts);
TD_API int td_nonzero_tuple_at(td_origin origin, td_tensor x, td_tensor *parts);
/* The elements of x for which mask is true, row by row; both are broadcast. */
TD_API td_tensor td_masked_select(td_tensor x, td_tensor mask);
TD_API td_tensor td_masked_select_at(td_origin origin, td_tensor x, td_tensor mask);
struct td_bincount_keywords {
    td_tensor weights;
    int64_t minlength;
    TD_KEYWORDS_END
};
/* How often each integer from 0 to the greatest stands in x, which has one dimension. Keywords: .weights are added up
 * instead; .minlength (0), the least size of the result. */
TD_API td_tensor td_bincount(td_tensor x, const struct td_bincount_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_bincount_at(td_origin origin, td_tensor x, const struct td_bincount_keywords *keywords);
struct td_unique_keywords {
    td_tensor *inverse, *counts;
    int64_t dim;
    TD_KEYWORDS_END
};
/* The different elements of x in rising order. Keywords: .inverse gets which of them each element of x is, in x's
 * shape; .counts gets how often each stands in x. With .dim (INT64_MIN, none) the different slices along that dimension
 * instead, ordered by their first element, then the next: .inverse has one entry for each slice. */
TD_API td_tensor td_unique(td_tensor x, const struct td_unique_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_unique_at(td_origin origin, td_tensor x, const struct td_unique_keywords *keywords);
/* The same of runs of equal elements, in their order. */
TD_API td_tensor td_unique_consecutive(td_tensor x, const struct td_unique_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_unique_consecutive_at(td_origin origin, td_tensor x, const struct td_unique_keywords *keywords);

/* ---- lifetimes ---- */

/* Ends x. What was computed from it stays. */
TD_API void td_release(td_tensor x);
/* Moves x out of the innermost TD_SCOPE that holds it into the one around. Returns x. */
TD_API td_tensor td_keep(td_tensor x);
/* td_relu(td_take(x)): x is used up as a nested call would be. */
TD_API td_tensor td_take(td_tensor x);
/* A name for errors and for the dashboard, of at most 127 bytes. Returns x, so it may stand around its making. */
TD_API td_tensor td_name(td_tensor x, const char *name);

/* A guard at the top of a block; use TD_SCOPE, TD_NO_GRAD, TD_ENABLE_GRAD, TD_INFERENCE_MODE, TD_DETECT_ANOMALY and
 * TD_ON_STREAM. */
typedef struct td_guard {
    td_session *session;                    /* NULL: ended already, by td_close */
    struct td_guard *outer, *session_outer; /* of this thread; of this session */
    uint32_t first;                         /* the handles it holds are a list; 0: none */
    int32_t kind;
    uint32_t stream;
} td_guard;
TD_API td_guard *td_scope_begin(td_session *s, td_guard *guard);
TD_API td_guard *td_no_grad_begin(td_session *s, td_guard *guard);
TD_API td_guard *td_checkpoint_begin(td_session *s, td_guard *guard);
TD_API td_guard *td_enable_grad_begin(td_session *s, td_guard *guard);
TD_API td_guard *td_inference_mode_begin(td_session *s, td_guard *guard);
TD_API td_guard *td_detect_anomaly_begin(td_session *s, td_guard *guard);
TD_API void td_guard_end(td_guard *guard);

/* ---- autograd ---- */

/* Adds d loss / d w to the gradient of every leaf w that loss was computed from. Keywords: .retain_graph (false)
 * keeps the graph for another td_backward; .create_graph (false) keeps it, too, and records how the gradients were
 * computed, so that they have gradients themselves; .seed, a tensor of loss's shape, is needed unless loss has one
 * element. */
struct td_backward_keywords {
    td_tensor seed;
    bool retain_graph, create_graph;
    TD_KEYWORDS_END
};
TD_API void td_backward(td_tensor loss, const struct td_backward_keywords *keywords TD_DEFAULT(NULL));
TD_API void td_backward_at(td_origin origin, td_tensor loss, const struct td_backward_keywords *keywords);
/* The gradient of w, a leaf or what td_retain_grad was called with, as it is now; each call shows the newest. It
 * belongs to w and ends with it. */
TD_API td_tensor td_grad(td_tensor w);
TD_API bool td_requires_grad(td_tensor x);
/* Makes a leaf of autograd of x, or ends that. Returns x. */
TD_API td_tensor td_set_requires_grad(td_tensor x, bool requires_grad);
/* False for what was computed from something that requires a gradient. */
TD_API bool td_is_leaf(td_tensor x);

/* ---- optimisers: they hold their own state, of the parameters' types, and only refer to the parameters; a step of
 * halves (TD_F16, TD_BF16) is computed in f32, and what is kept of it is rounded once ----
 *
 * One that is refused has no parameters, and its steps do nothing. Learning rates are on the device: a step uses the
 * one that was set when it was sent, and what td_set_lr sends comes in its turn. */

typedef struct td_optimizer td_optimizer;

struct td_sgd_keywords {
    double lr, momentum, dampening, weight_decay;
    bool nesterov;
    TD_KEYWORDS_END
};
/* Stochastic gradient descent. Keywords: .lr (0.001), .momentum (0), .dampening (0), .weight_decay (0), .nesterov.
 * Never NULL; to be freed with td_optimizer_free. */
TD_API td_optimizer *td_sgd(td_session *s, td_list parameters, const struct td_sgd_keywords *keywords TD_DEFAULT(NULL));
TD_API td_optimizer *td_sgd_at(td_origin origin, td_session *s, td_list parameters,
                               const struct td_sgd_keywords *keywords);
struct td_adam_keywords {
    double lr, beta1, beta2, eps, weight_decay;
    bool decoupled, amsgrad;
    TD_KEYWORDS_END
};
/* Adam; AdamW with .decoupled, AMSGrad with .amsgrad. Keywords: .lr (0.001), .beta1 (0.9), .beta2 (0.999), .eps (1e-8),
 * .weight_decay (0). */
TD_API td_optimizer *td_adam(td_session *s, td_list parameters,
                             const struct td_adam_keywords *keywords TD_DEFAULT(NULL));
TD_API td_optimizer *td_adam_at(td_origin origin, td_session *s, td_list parameters,
                                const struct td_adam_keywords *keywords);
struct td_rmsprop_keywords {
    double lr, alpha, eps, weight_decay, momentum;
    bool centered;
    TD_KEYWORDS_END
};
/* RMSprop. Keywords: .lr (0.01), .alpha (0.99), .eps (1e-8), .weight_decay (0), .momentum (0), .centered. */
TD_API td_optimizer *td_rmsprop(td_session *s, td_list parameters,
                                const struct td_rmsprop_keywords *keywords TD_DEFAULT(NULL));
TD_API td_optimizer *td_rmsprop_at(td_origin origin, td_session *s, td_list parameters,
                                   const struct td_rmsprop_keywords *keywords);
struct td_adagrad_keywords {
    double lr, lr_decay, weight_decay, initial_accumulator_value, eps;
    TD_KEYWORDS_END
};
/* Adagrad. Keywords: .lr (0.01), .lr_decay (0), .weight_decay (0), .initial_accumulator_value (0), .eps (1e-10). */
TD_API td_optimizer *td_adagrad(td_session *s, td_list parameters,
                                const struct td_adagrad_keywords *keywords TD_DEFAULT(NULL));
TD_API td_optimizer *td_adagrad_at(td_origin origin, td_session *s, td_list parameters,
                                   const struct td_adagrad_keywords *keywords);
struct td_lion_keywords {
    double lr, beta1, beta2, weight_decay;
    TD_KEYWORDS_END
};
/* Lion (Chen et al., 2023): by the sign alone. Keywords: .lr (0.0001), .beta1 (0.9), .beta2 (0.99), .weight_decay (0,
 * decoupled). */
TD_API td_optimizer *td_lion(td_session *s, td_list parameters,
                             const struct td_lion_keywords *keywords TD_DEFAULT(NULL));
TD_API td_optimizer *td_lion_at(td_origin origin, td_session *s, td_list parameters,
                                const struct td_lion_keywords *keywords);
/* One update of every parameter that has a gradient, in all groups. */
TD_API void td_step(td_optimizer *optimizer);
/* The parameters have no gradients any more. */
TD_API void td_zero_grad(td_optimizer *optimizer);
struct td_param_group_keywords {
    double lr, weight_decay, momentum, dampening, beta1, beta2, eps, alpha, lr_decay;
    TD_KEYWORDS_END
};
/* More parameters, with rates of their own. Keywords, each for optimisers that have it: .lr, .weight_decay, .momentum,
 * .dampening, .beta1, .beta2, .eps, .alpha, .lr_decay; those left out are what the optimiser was made with, as its
 * flags always are. Returns the group's number: 1, 2, ...; what the optimiser was made with is group 0. A parameter
 * belongs to one group only. */
TD_API int td_add_param_group(td_optimizer *optimizer, td_list parameters,
                              const struct td_param_group_keywords *keywords TD_DEFAULT(NULL));
TD_API int td_add_param_group_at(td_origin origin, td_optimizer *optimizer, td_list parameters,
                                 const struct td_param_group_keywords *keywords);
#define TD_ALL_GROUPS (-1)
struct td_lr_keywords {
    int group;
    TD_KEYWORDS_END
};
/* The learning rate of all groups or of one, from the next step on. One below 0 is refused and changes nothing.
 * Keyword: .group (TD_ALL_GROUPS). */
TD_API void td_set_lr(td_optimizer *optimizer, double lr, const struct td_lr_keywords *keywords TD_DEFAULT(NULL));
TD_API void td_set_lr_at(td_origin origin, td_optimizer *optimizer, double lr, const struct td_lr_keywords *keywords);
/* What it has been set to, without waiting; NAN for a group that there is not. Keyword: .group (0). */
TD_API double td_lr(const td_optimizer *optimizer, const struct td_lr_keywords *keywords TD_DEFAULT(NULL));
/* Frees the optimiser and its state; the parameters stay. NULL is fine. */
TD_API void td_optimizer_free(td_optimizer *optimizer);

/* ---- recorded programs ---- */

/* A stretch of calls, recorded once and run again by one small message: a whole training step, with td_backward and
 * td_step, for one. */
typedef struct td_program td_program;

/* From here to td_record_end everything that this session does is carried out as always and recorded, too. inputs are
 * what differs from run to run; every other tensor that is used and was made before is captured by reference: a run
 * sees what it holds then, and writes to it. Values that C computed (a size, a rate given as a number, the array of
 * td_from) stay as they were recorded. Random ops draw on. Nothing may be read meanwhile (td_item, td_read, td_print),
 * and no op used whose result is as large as its data say: that is an error at its line, and the program fails. Other
 * threads must leave the session alone until td_record_end. Never NULL; to be freed with td_program_free. */
TD_API td_program *td_record(td_session *s, td_list inputs);
TD_API td_program *td_record_at(td_origin origin, td_session *s, td_list inputs);
/* The program is complete, and each run gives these tensors anew. They stay what they are. */
TD_API void td_record_end(td_program *program, td_list outputs);
TD_API void td_record_end_at(td_origin origin, td_program *program, td_list outputs);
/* The recorded calls again, with other inputs, of any shape that they accept: as if they had been written here. outputs
 * gets a tensor for each output of td_record_end, with the graph that they would have. What fails in the middle fails
 * as it would there, with the line of the recorded call. The daemon has read the program ahead: what computes values
 * that nobody reads is left out, and each value's memory is used again from its last use on, also where the recorded
 * calls kept it (td_release inside is not needed). May itself be recorded. Returns at once, unless the inputs have
 * other dtypes, shapes or strides than were recorded, or other ones require gradients: then it waits to know that of
 * the outputs. */
TD_API void td_run(td_program *program, td_list inputs, td_tensor *outputs);
TD_API void td_run_at(td_origin origin, td_program *program, td_list inputs, td_tensor *outputs);
/* What the program consists of, to be freed with free; NULL after an error. Waits. Counts (how often it was run, how
 * often on what was unlike the recording: inputs of other dtypes, shapes, strides or sharing, inputs or captured
 * tensors that require gradients or no longer do, gradients that are there or not; how many requests runs leave out),
 * inputs, outputs, names of captured tensors, and the first 512 requests: op, tensors read and written as %number, line
 * of the recorded call, and whether runs leave it out. As text, as JSON, and printed. */
TD_API char *td_program_text(td_program *program);
TD_API char *td_program_json(td_program *program);
TD_API void td_program_print(td_program *program);
TD_API char *td_program_text_at(td_origin origin, td_program *program);
TD_API char *td_program_json_at(td_origin origin, td_program *program);
TD_API void td_program_print_at(td_origin origin, td_program *program);
/* NULL is fine. What has captured the program (another one, a graph) keeps it. Before or after td_close. */
TD_API void td_program_free(td_program *program);

/* ---- over lists of parameters, between td_backward and td_step ---- */

struct td_clip_grad_norm__keywords {
    double norm_type;
    TD_KEYWORDS_END
};
/* The norm of all gradients of the parameters taken together; where it is above max_norm, all of them are made smaller
 * by one factor, in place. Nothing waits for it. Parameters without a gradient do not count. Keyword: .norm_type (2;
 * INFINITY for the greatest magnitude). */
TD_API td_tensor td_clip_grad_norm_(td_session *s, td_list parameters, double max_norm,
                                    const struct td_clip_grad_norm__keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_clip_grad_norm__at(td_origin origin, td_session *s, td_list parameters, double max_norm,
                                       const struct td_clip_grad_norm__keywords *keywords);
/* Brings each element of the parameters' gradients between -clip_value and clip_value, in place. */
TD_API void td_clip_grad_value_(td_session *s, td_list parameters, double clip_value);
TD_API void td_clip_grad_value__at(td_origin origin, td_session *s, td_list parameters, double clip_value);
/* averages = decay * averages + (1 - decay) * parameters, in place; each average has its parameter's shape and dtype
 * and is contiguous. */
TD_API void td_ema_step_(td_session *s, td_list parameters, td_list averages, double decay);
TD_API void td_ema_step__at(td_origin origin, td_session *s, td_list parameters, td_list averages, double decay);

/* For models of halves, whose small gradients would round to 0: the loss is scaled up before td_backward, and the
 * gradients down before td_step. */
typedef struct td_scaler {
    td_tensor scale, good_steps; /* f64 and i64, on the device; they end as other tensors do */
    double growth_factor, backoff_factor;
    int64_t growth_interval;
} td_scaler;
struct td_grad_scaler_keywords {
    double init_scale, growth_factor, backoff_factor;
    int64_t growth_interval;
    TD_KEYWORDS_END
};
#define TD_GRAD_SCALER_DEFAULTS .init_scale = 65536, .growth_factor = 2, .backoff_factor = 0.5, .growth_interval = 2000
/* Keywords: .init_scale (65536), .growth_factor (2), .backoff_factor (0.5), .growth_interval (2000). */
TD_API td_scaler td_grad_scaler(td_session *s, const struct td_grad_scaler_keywords *keywords TD_DEFAULT(NULL));
TD_API td_scaler td_grad_scaler_at(td_origin origin, td_session *s, const struct td_grad_scaler_keywords *keywords);
/* loss times the scale: what td_backward is called with. */
TD_API td_tensor td_scale(td_scaler scaler, td_tensor loss);
TD_API td_tensor td_scale_at(td_origin origin, td_scaler scaler, td_tensor loss);
/* The gradients of the parameters divided by the scale, in place. Where one of their elements is inf or nan, 1 comes
 * back (else 0), and none of the parameters has a gradient any more: td_step does nothing then. Nothing waits. */
TD_API td_tensor td_unscale_(td_scaler scaler, td_list parameters);
TD_API td_tensor td_unscale__at(td_origin origin, td_scaler scaler, td_list parameters);
/* After the step, with what td_unscale_ gave: the scale falls by the backoff factor after a 1, and rises by the growth
 * factor after as many steps without one as the growth interval says. */
TD_API void td_scaler_update(td_scaler scaler, td_tensor found);
TD_API void td_scaler_update_at(td_origin origin, td_scaler scaler, td_tensor found);

/* ---- the functions behind the macros below ---- */

TD_API bool td_ok_at(td_origin origin, td_tensor x);
TD_API int64_t td_read_at(td_origin origin, td_tensor x, void *array, enum td_dtype dtype, int64_t count);
TD_API double td_item_at(td_origin origin, td_tensor x);
TD_API void td_print_at(td_origin origin, td_tensor x);
TD_API char *td_text_at(td_origin origin, td_tensor x);
TD_API td_layout td_layout_of_at(td_origin origin, td_tensor x);
TD_API int td_rank_at(td_origin origin, td_tensor x);
TD_API int64_t td_size_at(td_origin origin, td_tensor x, int64_t dim);
TD_API int64_t td_numel_at(td_origin origin, td_tensor x);
TD_API enum td_dtype td_dtype_of_at(td_origin origin, td_tensor x);
TD_API bool td_is_contiguous_at(td_origin origin, td_tensor x);
TD_API bool td_same_storage_at(td_origin origin, td_tensor a, td_tensor b);
TD_API void td_release_at(td_origin origin, td_tensor x);
TD_API td_tensor td_keep_at(td_origin origin, td_tensor x);
TD_API td_tensor td_take_at(td_origin origin, td_tensor x);
TD_API td_tensor td_name_at(td_origin origin, td_tensor x, const char *name);
TD_API td_tensor td_grad_at(td_origin origin, td_tensor w);
TD_API bool td_requires_grad_at(td_origin origin, td_tensor x);
TD_API td_tensor td_set_requires_grad_at(td_origin origin, td_tensor x, bool requires_grad);
TD_API bool td_is_leaf_at(td_origin origin, td_tensor x);
TD_API void td_step_at(td_origin origin, td_optimizer *optimizer);
TD_API void td_zero_grad_at(td_origin origin, td_optimizer *optimizer);
TD_API int td_sync_at(td_origin origin, td_session *s);

#ifdef __cplusplus
}
#define TD_PICK(x) td_pick_of_tensor(x, false)
template <typename... Picks> inline td_tensor td_index(td_tensor x, td_pick first, Picks... rest)
{
    const td_pick picks[] = {first, rest...};
    return td_index_at(td_origin(), x, 1 + sizeof...(rest), picks);
}
template <typename Value, typename... Picks>
inline td_tensor td_index_put_(td_tensor x, Value value, td_pick first, Picks... rest)
{
    const td_pick given[] = {first, rest...};
    static_assert(sizeof...(rest) < TD_PICKS, "too many indices");
    td_picks picks = td_picks();
    for (size_t k = 0; k <= sizeof...(rest); k++)
        picks.items[k] = given[k];
    return td_index_put__at(td_origin(), x, td_operand_of(value), &picks);
}
#else
#define TD_GUARD(begin, s, name) TD_GUARD_(begin, s, name)
#define TD_GUARD_(begin, s, name) \
    td_guard name __attribute__((cleanup(td_guard_end))), *name##_begun __attribute__((unused)) = begin(s, &name)
/* TD_SCOPE(s); at the top of a block: every tensor made from here on by this thread is released where the block ends,
 * however it ends (break, continue, return, goto). td_keep lets one out. */
#define TD_SCOPE(s) TD_GUARD(td_scope_begin, s, TD_JOIN(td_guard_, __COUNTER__))
/* TD_CHECKPOINT(s); at the top of a block: its graph is not kept. td_backward computes the block again when it comes
 * there, from the tensors that it took from outside and with the same random numbers, so that a deep model needs memory
 * for the ends of its blocks and the inside of one. The block is a TD_SCOPE, too: td_keep lets its results out. Writes
 * to tensors from outside happen once (the running statistics of td_batch_norm) and have their gradients. A gradient
 * that is asked for of something that the block gave counts its uses behind the block. td_backward and td_step are
 * refused inside. May be nested. */
#define TD_CHECKPOINT(s) TD_GUARD(td_checkpoint_begin, s, TD_JOIN(td_guard_, __COUNTER__))
/* TD_NO_GRAD(s); until the end of the block nothing is recorded for td_backward. */
#define TD_NO_GRAD(s) TD_GUARD(td_no_grad_begin, s, TD_JOIN(td_guard_, __COUNTER__))
/* TD_ENABLE_GRAD(s); inside TD_NO_GRAD: until the end of the block ops are recorded again. */
#define TD_ENABLE_GRAD(s) TD_GUARD(td_enable_grad_begin, s, TD_JOIN(td_guard_, __COUNTER__))
/* TD_INFERENCE_MODE(s); as TD_NO_GRAD, and what is made until the end of the block can be part of no graph later,
 * either: together with something that requires a gradient it is refused, and so are writes to it outside of the block.
 * A td_clone made outside is free of that. Views of what was made outside are no such results. */
#define TD_INFERENCE_MODE(s) TD_GUARD(td_inference_mode_begin, s, TD_JOIN(td_guard_, __COUNTER__))
/* TD_DETECT_ANOMALY(s); until the end of the block, in all threads of the session, the op that makes the first nan or
 * infinity is an error of code TD_E_NAN: forward, backward and in td_step. It names the op, the element and its value;
 * in td_backward also the op whose gradient it is, with its line. Its result is an error value, so that nothing comes
 * of it; an op that is made to write in place (td_add_, td_mul_, a step) has written. An op is not blamed for what went
 * in: a nan is its own where no input is nan, an infinity where no input is nan or infinite. Numbers that are given
 * count as inputs (td_masked_fill by -INFINITY, td_full_like of one), and what makes tensors of nothing (td_from,
 * td_full) is never blamed. Of td_run and of functions what is looked at is what runs inside of the block. Costs a look
 * at each result, and nothing outside of such blocks. A daemon that is lost takes it along: the block goes on without.
 */
#define TD_DETECT_ANOMALY(s) TD_GUARD(td_detect_anomaly_begin, s, TD_JOIN(td_guard_, __COUNTER__))

#define TD_LIST(...) ((td_list){TD_COUNT(__VA_ARGS__), (const td_tensor[]){__VA_ARGS__}, #__VA_ARGS__})
#define TD_LIST_OF(count, items) ((td_list){(count), (items), NULL})

#define td_ok(x) td_ok_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_read(x, array, dtype, count) td_read_at(TD_HERE(TD_FRESH(#x, 0)), x, array, dtype, count)
#define td_item(x) td_item_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_print(x) td_print_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_text(x) td_text_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_layout_of(x) td_layout_of_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_rank(x) td_rank_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_size(x, dim) td_size_at(TD_HERE(TD_FRESH(#x, 0)), x, dim)
#define td_numel(x) td_numel_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_dtype_of(x) td_dtype_of_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_is_contiguous(x) td_is_contiguous_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_same_storage(a, b) td_same_storage_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, b)
#define td_result_type(a, b) td_result_type_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, TD_OPERAND(b))
#define td_release(x) td_release_at(TD_HERE(0), x)
#define td_keep(x) td_keep_at(TD_HERE(0), x)
#define td_take(x) td_take_at(TD_HERE(0), x)
#define td_name(x, name) td_name_at(TD_HERE(TD_FRESH(#x, 0)), x, name)
#define td_grad(w) td_grad_at(TD_HERE(0), w)
#define td_requires_grad(x) td_requires_grad_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_set_requires_grad(x, on) td_set_requires_grad_at(TD_HERE(TD_FRESH(#x, 0)), x, on)
#define td_is_leaf(x) td_is_leaf_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_clip_grad_value_(s, parameters, clip_value) td_clip_grad_value__at(TD_HERE(0), s, parameters, clip_value)
#define td_ema_step_(s, parameters, averages, decay) td_ema_step__at(TD_HERE(0), s, parameters, averages, decay)
#define td_grad_scaler(s, ...)                                                                         \
    TD_WITH_KEYWORDS(td_scaler, td_grad_scaler_at(TD_HERE(0), s,                                       \
                                                  TD_KEYWORDS(td_grad_scaler, TD_GRAD_SCALER_DEFAULTS, \
                                                              .td_keywords_only = 0, __VA_ARGS__)))
#define td_scale(scaler, loss) td_scale_at(TD_HERE(TD_FRESH(#loss, 0)), scaler, loss)
#define td_unscale_(scaler, parameters) td_unscale__at(TD_HERE(0), scaler, parameters)
#define td_scaler_update(scaler, found) td_scaler_update_at(TD_HERE(TD_FRESH(#found, 0)), scaler, found)
#define td_record(s, ...) td_record_at(TD_HERE(0), s, __VA_ARGS__)
#define td_record_end(program, ...) td_record_end_at(TD_HERE(0), program, __VA_ARGS__)
#define td_program_text(program) td_program_text_at(TD_HERE(0), program)
#define td_program_json(program) td_program_json_at(TD_HERE(0), program)
#define td_program_print(program) td_program_print_at(TD_HERE(0), program)
#define td_run(program, ...) td_run_at(TD_HERE(0), program, __VA_ARGS__)
#define td_step(optimizer) td_step_at(TD_HERE(0), optimizer)
#define td_zero_grad(optimizer) td_zero_grad_at(TD_HERE(0), optimizer)
#define td_sync(s) td_sync_at(TD_HERE(0), s)
#define td_from(s, ...)                                                                                          \
    TD_WITH_KEYWORDS(td_tensor, td_from_at(TD_HERE(0), &(const struct td_from_arguments){.shape = {.count = -2}, \
                                                                                         .requires_grad = false, \
                                                                                         .non_blocking = false,  \
                                                                                         .session = s,           \
                                                                                         __VA_ARGS__}))
#define td_open(address, ...)      \
    TD_WITH_KEYWORDS(td_session *, \
                     td_open(address, TD_KEYWORDS(td_open, .device = NULL, .td_keywords_only = 0, __VA_ARGS__)))
#define TD_LOAD_KEYWORDS(...) TD_KEYWORDS(td_load, .progress = NULL, .data = NULL, .td_keywords_only = 0, __VA_ARGS__)
#define td_load_npy(s, path, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_load_npy_at(TD_HERE(0), s, path, TD_LOAD_KEYWORDS(__VA_ARGS__)))
#define td_load_npz(s, path, name, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_load_npz_at(TD_HERE(0), s, path, name, TD_LOAD_KEYWORDS(__VA_ARGS__)))
#define td_load_safetensors(s, path, name, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_load_safetensors_at(TD_HERE(0), s, path, name, TD_LOAD_KEYWORDS(__VA_ARGS__)))
#define td_load_all_npz(s, path, all, ...) \
    TD_WITH_KEYWORDS(int64_t, td_load_all_npz_at(TD_HERE(0), s, path, all, TD_LOAD_KEYWORDS(__VA_ARGS__)))
#define td_load_all_safetensors(s, path, all, ...) \
    TD_WITH_KEYWORDS(int64_t, td_load_all_safetensors_at(TD_HERE(0), s, path, all, TD_LOAD_KEYWORDS(__VA_ARGS__)))
#define td_list_npz(s, path, list) td_list_npz_at(TD_HERE(0), s, path, list)
#define td_list_safetensors(s, path, list) td_list_safetensors_at(TD_HERE(0), s, path, list)
#define td_metadata_safetensors(s, path, key) td_metadata_safetensors_at(TD_HERE(0), s, path, key)
#define td_save_npy(x, path) td_save_npy_at(TD_HERE(TD_FRESH(#x, 0)), x, path)
#define td_save_npz(file, ...) \
    td_save_npz_at(TD_HERE(0), &(const struct td_save_arguments){.metadata = NULL, .path = file, __VA_ARGS__})
#define td_save_safetensors(file, ...)                                                          \
    TD_WITH_KEYWORDS(int, td_save_safetensors_at(TD_HERE(0), &(const struct td_save_arguments){ \
                                                                 .metadata = NULL, .path = file, __VA_ARGS__}))
#define td_backward(loss, ...)                            \
    TD_DO_WITH_KEYWORDS(                                  \
        td_backward_at(TD_HERE(TD_FRESH(#loss, 0)), loss, \
                       TD_KEYWORDS(td_backward, .retain_graph = false, .td_keywords_only = 0, __VA_ARGS__)))
#define td_chunk(x, chunks, parts, ...)                                           \
    TD_WITH_KEYWORDS(int, td_chunk_at(TD_HERE(TD_FRESH(#x, 0)), x, chunks, parts, \
                                      TD_KEYWORDS(td_chunk, .dim = 0, .td_keywords_only = 0, __VA_ARGS__)))
#define TD_SPLIT_KEYWORDS(...) TD_KEYWORDS(td_split, .dim = 0, .td_keywords_only = 0, __VA_ARGS__)
#define td_split(x, sizes, parts, ...) \
    TD_WITH_KEYWORDS(int, td_split_at(TD_HERE(TD_FRESH(#x, 0)), x, sizes, parts, TD_SPLIT_KEYWORDS(__VA_ARGS__)))
#define td_tensor_split(x, sections, parts, ...)                                                       \
    TD_WITH_KEYWORDS(int, _Generic((sections), struct td_dims                                          \
                                   : td_tensor_split_before_at, default                                \
                                   : td_tensor_split_at)(TD_HERE(TD_FRESH(#x, 0)), x, sections, parts, \
                                                         TD_SPLIT_KEYWORDS(__VA_ARGS__)))
#define td_tensor_split_before(x, places, parts, ...) \
    TD_WITH_KEYWORDS(                                 \
        int, td_tensor_split_before_at(TD_HERE(TD_FRESH(#x, 0)), x, places, parts, TD_SPLIT_KEYWORDS(__VA_ARGS__)))
#define td_unbind(x, parts, ...) \
    TD_WITH_KEYWORDS(int, td_unbind_at(TD_HERE(TD_FRESH(#x, 0)), x, parts, TD_SPLIT_KEYWORDS(__VA_ARGS__)))
#define td_expand_as(x, other) td_expand_as_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1)), x, other)
#define td_view_as(x, other) td_view_as_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1)), x, other)
#define td_reshape_as(x, other) td_reshape_as_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1)), x, other)
#define td_diag(x, offset) td_diag_at(TD_HERE(TD_FRESH(#x, 0)), x, offset)
#define td_trace(x) td_trace_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_rot90(x, times, dim0, dim1) td_rot90_at(TD_HERE(TD_FRESH(#x, 0)), x, times, dim0, dim1)
#define td_tile(x, sizes) td_tile_at(TD_HERE(TD_FRESH(#x, 0)), x, sizes)
#define td_pixel_shuffle(x, factor) td_pixel_shuffle_at(TD_HERE(TD_FRESH(#x, 0)), x, factor)
#define td_pixel_unshuffle(x, factor) td_pixel_unshuffle_at(TD_HERE(TD_FRESH(#x, 0)), x, factor)
#define td_one_hot(index, classes) td_one_hot_at(TD_HERE(TD_FRESH(#index, 0)), index, classes)
#define td_einsum(equation, ...) td_einsum_at(TD_HERE(0), equation, __VA_ARGS__)
/* By their texts, which a macro that another one calls does not see. */
#define TD_PAIR(a, b) TD_HERE(TD_FRESH(a, 0) | TD_FRESH(b, 1))
#define td_tensordot(a, b, ...)                             \
    TD_WITH_KEYWORDS(td_tensor,                             \
                     td_tensordot_at(TD_PAIR(#a, #b), a, b, \
                                     TD_KEYWORDS(td_tensordot, .dims = 2, .td_keywords_only = 0, __VA_ARGS__)))
#define td_mm(a, b) td_mm_at(TD_PAIR(#a, #b), a, b)
#define td_bmm(a, b) td_bmm_at(TD_PAIR(#a, #b), a, b)
#define td_mv(a, b) td_mv_at(TD_PAIR(#a, #b), a, b)
#define td_dot(a, b) td_dot_at(TD_PAIR(#a, #b), a, b)
#define td_outer(a, b) td_outer_at(TD_PAIR(#a, #b), a, b)
#define td_vdot(a, b) td_vdot_at(TD_PAIR(#a, #b), a, b)
#define td_inner(a, b) td_inner_at(TD_PAIR(#a, #b), a, b)
#define td_kron(a, b) td_kron_at(TD_PAIR(#a, #b), a, b)
#define td_cross(a, b, dim) td_cross_at(TD_PAIR(#a, #b), a, b, dim)
#define TD_ADDMM(at, x_text, a_text, b_text, x, a, b, ...)                                                            \
    TD_WITH_KEYWORDS(td_tensor, at(TD_HERE(TD_FRESH(x_text, 0) | TD_FRESH(a_text, 1) | TD_FRESH(b_text, 2)), x, a, b, \
                                   TD_KEYWORDS(td_addmm, .beta = 1, .alpha = 1, .td_keywords_only = 0, __VA_ARGS__)))
#define td_addmm(x, a, b, ...) TD_ADDMM(td_addmm_at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_baddbmm(x, a, b, ...) TD_ADDMM(td_baddbmm_at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_addmv(x, a, b, ...) TD_ADDMM(td_addmv_at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_addr(x, a, b, ...) TD_ADDMM(td_addr_at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_addbmm(x, a, b, ...) TD_ADDMM(td_addbmm_at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_addmv_(x, a, b, ...) TD_ADDMM(td_addmv__at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_addr_(x, a, b, ...) TD_ADDMM(td_addr__at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_addbmm_(x, a, b, ...) TD_ADDMM(td_addbmm__at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_addmm_(x, a, b, ...) TD_ADDMM(td_addmm__at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_baddbmm_(x, a, b, ...) TD_ADDMM(td_baddbmm__at, #x, #a, #b, x, a, b, __VA_ARGS__)
#define td_matrix_power(x, n) td_matrix_power_at(TD_HERE(TD_FRESH(#x, 0)), x, n)
#define td_logdet(x) td_logdet_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define TD_PICK(x) td_pick_of_tensor(x, TD_FRESH(#x, 0))
#define td_index(x, ...) td_index_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_COUNT(__VA_ARGS__), (const td_pick[]){__VA_ARGS__})
#define td_index_put_(x, value, ...)                                                                     \
    TD_WITH_PICKS(TD_JOIN(td_result_, __COUNTER__),                                                      \
                  td_index_put__at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#value, 1)), x, TD_OPERAND(value), \
                                   &(const struct td_picks){__VA_ARGS__}))
#define TD_WITH_PICKS(name, ...)                                                                             \
    __extension__({                                                                                          \
        _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wmissing-braces\"")                \
            _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"") td_tensor name = __VA_ARGS__; \
        _Pragma("GCC diagnostic pop") name;                                                                  \
    })
#define td_scalar(s, value, ...) td_full(s, TD_SHAPE(), value, __VA_ARGS__)
#define td_nonzero(x) td_nonzero_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_nonzero_tuple(x, parts) td_nonzero_tuple_at(TD_HERE(TD_FRESH(#x, 0)), x, parts)
#define td_masked_select(x, mask) td_masked_select_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#mask, 1)), x, mask)
#define td_bincount(x, ...)                                      \
    TD_WITH_KEYWORDS(td_tensor,                                  \
                     td_bincount_at(TD_HERE(TD_FRESH(#x, 0)), x, \
                                    TD_KEYWORDS(td_bincount, .minlength = 0, .td_keywords_only = 0, __VA_ARGS__)))
#define TD_UNIQUE_KEYWORDS(...) TD_KEYWORDS(td_unique, .dim = INT64_MIN, .td_keywords_only = 0, __VA_ARGS__)
#define td_unique(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_unique_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_UNIQUE_KEYWORDS(__VA_ARGS__)))
#define td_unique_consecutive(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_unique_consecutive_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_UNIQUE_KEYWORDS(__VA_ARGS__)))
#define td_sgd(s, parameters, ...)                                        \
    TD_WITH_KEYWORDS(td_optimizer *, td_sgd_at(TD_HERE(0), s, parameters, \
                                               TD_KEYWORDS(td_sgd, .lr = 0.001, .td_keywords_only = 0, __VA_ARGS__)))
#define td_adam(s, parameters, ...)                                                                             \
    TD_WITH_KEYWORDS(td_optimizer *, td_adam_at(TD_HERE(0), s, parameters,                                      \
                                                TD_KEYWORDS(td_adam, .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, \
                                                            .eps = 1e-8, .td_keywords_only = 0, __VA_ARGS__)))
#define td_clip_grad_norm_(s, parameters, max_norm, ...)                                              \
    TD_WITH_KEYWORDS(td_tensor, td_clip_grad_norm__at(TD_HERE(0), s, parameters, max_norm,            \
                                                      TD_KEYWORDS(td_clip_grad_norm_, .norm_type = 2, \
                                                                  .td_keywords_only = 0, __VA_ARGS__)))
#define td_rmsprop(s, parameters, ...)                                                                             \
    TD_WITH_KEYWORDS(td_optimizer *, td_rmsprop_at(TD_HERE(0), s, parameters,                                      \
                                                   TD_KEYWORDS(td_rmsprop, .lr = 0.01, .alpha = 0.99, .eps = 1e-8, \
                                                               .td_keywords_only = 0, __VA_ARGS__)))
#define td_adagrad(s, parameters, ...)                                                               \
    TD_WITH_KEYWORDS(td_optimizer *, td_adagrad_at(TD_HERE(0), s, parameters,                        \
                                                   TD_KEYWORDS(td_adagrad, .lr = 0.01, .eps = 1e-10, \
                                                               .td_keywords_only = 0, __VA_ARGS__)))
#define td_lion(s, parameters, ...)                                                                             \
    TD_WITH_KEYWORDS(td_optimizer *, td_lion_at(TD_HERE(0), s, parameters,                                      \
                                                TD_KEYWORDS(td_lion, .lr = 0.0001, .beta1 = 0.9, .beta2 = 0.99, \
                                                            .td_keywords_only = 0, __VA_ARGS__)))
/* A rate that is not given. */
#define TD_NOT_GIVEN __builtin_nan("")
#define TD_NO_RATES                                                                                        \
    .lr = TD_NOT_GIVEN, .weight_decay = TD_NOT_GIVEN, .momentum = TD_NOT_GIVEN, .dampening = TD_NOT_GIVEN, \
    .beta1 = TD_NOT_GIVEN, .beta2 = TD_NOT_GIVEN, .eps = TD_NOT_GIVEN, .alpha = TD_NOT_GIVEN, .lr_decay = TD_NOT_GIVEN
#define td_add_param_group(optimizer, parameters, ...)                \
    TD_WITH_KEYWORDS(                                                 \
        int, td_add_param_group_at(TD_HERE(0), optimizer, parameters, \
                                   TD_KEYWORDS(td_param_group, TD_NO_RATES, .td_keywords_only = 0, __VA_ARGS__)))
#define td_set_lr(optimizer, lr, ...)                           \
    TD_DO_WITH_KEYWORDS(td_set_lr_at(TD_HERE(0), optimizer, lr, \
                                     TD_KEYWORDS(td_lr, .group = TD_ALL_GROUPS, .td_keywords_only = 0, __VA_ARGS__)))
#define td_lr(optimizer, ...) \
    TD_WITH_KEYWORDS(double, (td_lr)(optimizer, TD_KEYWORDS(td_lr, .group = 0, .td_keywords_only = 0, __VA_ARGS__)))
#endif

#include "tensord_made.h"
#include "tensord_autograd.h"
#include "tensord_schedule.h"
#include "tensord_names.h"
#include "tensord_device.h"

#endif
