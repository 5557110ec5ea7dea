/* The one door to a device: memory, copies, and running an op on operands that lie there. The worker sees nothing of
 * a device but this; each device keeps the same file names in a folder of its own (cpu/, cuda/).
 * Kernels trust what inference has checked: shapes, dtypes, dims, windows. They check what only data can tell
 * (indices), report it as a fault, and never trap. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_KERNELS_H
#define TD_KERNELS_KERNELS_H

#include "protocol/error.h"
#include "protocol/gauges.h"
#include "protocol/ops.h"
#include "protocol/shape.h"

/* A tensor as a kernel sees it. data points at the first element (offset included); strides count elements, are
 * never negative, and are 0 where the input is broadcast. */
struct td_operand {
    void *data;    /* NULL: an optional input left out, or a parameter without gradient */
    uint8_t dtype; /* enum td_dtype */
    uint8_t rank;
    bool immediate; /* data points at a number in the host's memory, which is there until run returns */
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
};

/* What a kernel found wrong in data. The kernel has then written nothing that the rest of the program can see: it
 * checks all indices before it writes, and results with a singular matrix among them are dropped unseen. */
struct td_fault {
    int code;         /* TD_E_OK: nothing; TD_E_ARGUMENT: an integer divided by 0, and the rest is 0, of bce what is no
                       * probability at position, or why; TD_E_SHAPE */
    int64_t value;    /* the index; TD_E_SINGULAR: the pivot that is 0, the minor that is not positive, from 1;
                       * TD_E_SHAPE: the elements that data say */
    int64_t size;     /* of the dimension it does not fit; how many matrices, or elements, there are */
    int64_t position; /* which element of the index tensor, row by row; which matrix, the first one that is wrong */
    const char *why;  /* of TD_E_ARGUMENT: what is wrong with the data; NULL: as above */
};

/* One run of one op.
 *  - Elementwise ops (unary, binary, compare, where, clone, to): inputs have been given the output's shape by strides
 * of 0, and the dtype that inference computes in (where's condition: bool; to: its own); a number is an operand of
 *    stride 0 like any other. The output has any dense strides.
 *  - In place (fill_, add_): in[0] is the target, as out[0] is; the other input has the target's shape by strides.
 *  - dropout: elementwise, and seed and counter as for the ops that create: element i is kept if its uniform number (as
 *    rand would draw it as f32) is at least p.
 *  - index's and index_put's indices count from the end where they are negative. A SIZE has been read: out has it.
 *  - Lists (cat, stack): in holds the list in the dtype of the result; out is contiguous.
 *  - Steps: in holds the row's lists laid out flat; grads[k] is the gradient of parameter k in the parameter's shape
 *    and dtype, contiguous, or has data NULL, and then parameter k and its states stay as they are and counts[k] too.
 *    An optimiser's rate, in[in_count - 1], is read once, before anything is written.
 *    What is written is said by td_op_stepping; the gradients are operands to be written only where it is they.
 *  - All else: inputs with their own shapes (sum's in the dtype it computes in); the output is contiguous, except that
 *    mse_loss without reduction, sort, argsort, index and index_put follow their operands. Inputs whose bit is set in
 * the device's dense_inputs(op) are contiguous. The output never shares memory with an input that it does not write in
 * place. */
struct td_launch {
    const struct td_op *op;
    int in_count;
    const struct td_operand *in;
    const struct td_operand *grads; /* steps only, one for each parameter */
    const uint16_t *list_counts;
    struct td_operand out[TD_OUTPUTS_MAX]; /* as many as the row has; steps have none */
    const void *attrs;                     /* struct td_<op>_attrs */
    uint64_t seed, counter;                /* RANDOM: the key, and the first Philox block that this request owns */
    uint8_t lane;                          /* that the work is put into: below TD_STREAMS */
    struct td_fault fault;                 /* written by the kernel */
};

typedef void td_kernel(struct td_launch *launch);

/* Philox blocks (four 32-bit words) that a RANDOM op of attrs drawing count elements of dtype consumes: part of the
 * meaning of a program, hence the same on every device. */
uint64_t td_random_blocks(const struct td_op *op, const void *attrs, uint8_t dtype, int64_t count);

/* Lanes: what is put into one is done in its order. Between two of them only `order` makes one. The first TD_STREAMS
 * compute; bytes from and to the host have lanes of their own, so that they travel while kernels run. Of TD_STREAMS
 * each costs the device 32 MiB to work in, and more than a few kernels at once do not fit on it. */
#define TD_STREAMS 4
enum td_lane { TD_LANE_UPLOAD = TD_STREAMS, TD_LANE_DOWNLOAD, TD_LANES };

/* A point in a lane, and when the device came there; the device's own. */
struct td_point;

struct td_device {
    const char *name;      /* "cpu" */
    char description[128]; /* "PROCESSOR, AVX-512, 2 cores" */
    size_t memory_bytes;   /* what the device has */
    int units;             /* cores, or multiprocessors */
    int count;             /* devices of its kind that there are: cuda:0 and so on; 1 of the CPU */
    int capability[2];     /* of a GPU, major and minor: what code it runs; 0 of the CPU */
    bool host_memory;      /* tensors lie where the host can touch them */

    /* Address space of bytes (a multiple of 2 MiB), usable at once; NULL if there is none. The pool asks rarely and
     * for much, and never gives part of it back. */
    void *(*reserve)(size_t bytes);
    void (*unreserve)(void *memory, size_t bytes);
    /* Host to device, in TD_LANE_UPLOAD; device to host; device to device. On the CPU all are memcpy. Elsewhere only
     * download waits, for its lane. The bytes of an upload may be overwritten as soon as it returns, but where they lie
     * in pinned memory: then when the lane has come there. */
    void (*upload)(void *to, const void *from, size_t bytes, bool pinned);
    void (*download)(int lane, void *to, const void *from, size_t bytes);
    void (*copy)(int lane, void *to, const void *from, size_t bytes);
    void (*zero)(int lane, void *to, size_t bytes);

    /* The number of what was last put into lane: they rise. NULL, as order then is, where everything is done when it
     * is asked for, and there is nothing to be put into an order. */
    uint64_t (*stamp)(int lane);
    /* What is put into lane from now on is done after what is in the lane after by now; returns that one's stamp. */
    uint64_t (*order)(int lane, int after);
    /* Waits for all that is in lane by now. */
    void (*settle)(int lane);

    /* A point where lane is now, in place of where *point was, which is NULL at first. False without memory. */
    bool (*mark)(struct td_point **point, int lane);
    /* What is put into lane from now on is done after point. */
    void (*follow)(int lane, const struct td_point *point);
    /* Whether the device has come there; never waits. */
    bool (*passed)(const struct td_point *point);
    /* Waits for both and returns the milliseconds in between, by the device's clock. */
    double (*between)(const struct td_point *from, const struct td_point *to);
    void (*forget)(struct td_point *point);

    /* Makes memory of the host that the device moves bytes from and to by itself; false where it cannot. Both may take
     * milliseconds. NULL: there is no such difference. */
    bool (*pin)(void *memory, size_t bytes);
    void (*unpin)(void *memory);

    /* How many threads one op may be spread over, the calling one included: 1 at first, at most 64. Results do not
     * depend on it. Threads are made when an op is long enough to need them, and end here: call it with 1 before the
     * device is given up. Not while an op runs. */
    void (*set_threads)(int count);
    /* Runs an op: to its end where the device is the CPU or waits(launch), else the results are there for whatever is
     * put into the same lane from now on. Called from the loop's thread and, at the same time, from the device's. */
    void (*run)(struct td_launch *launch);
    /* Whether run will wait for what was put into its lane before: what may fail for its data, what the host computes,
     * and anything while the lane has as much as it should. It then belongs on the device's thread. NULL: never. */
    bool (*waits)(const struct td_launch *launch);
    /* Nanoseconds that the op will take, roughly: from bytes moved and operations done. Above 2 ms it runs on the
     * device's thread. */
    uint64_t (*cost)(const struct td_launch *launch);
    /* The dtype in which the op's kernel wants what is of a narrow dtype (dtypes.def): that itself, or the wide one
     * beside it; and of bool: that itself, or i32. Inputs are converted to it before and results rounded from it
     * afterwards. Wide ones are always taken. */
    uint8_t (*works_in_narrow)(const struct td_op *op, uint8_t dtype);
    /* Bytes that have travelled since ops without a kernel on the device were computed on the host: both ways, since
     * the device was opened. NULL: there are none. */
    uint64_t (*carried_bytes)(void);
    /* Mask of the inputs that the op's kernel needs contiguous. */
    uint32_t (*dense_inputs)(const struct td_op *op);
    /* Reads the device's instruments, which may take milliseconds: not for the loop's thread. False: they cannot be
     * read. NULL: it has none. */
    bool (*read_gauges)(struct td_gauges *gauges);
};

/* The CPU device. Picks the widest kernels that this processor runs; TENSORD_CPU=sse2|avx2|avx512 narrows it. Never
 * fails. Static; not to be freed. */
const struct td_device *td_device_cpu(void);

/* Devices of other kinds are plug-ins, so that the daemon itself needs neither their libraries nor a driver: shared
 * objects with one symbol, TD_DEVICE_OPEN, of this type. It opens device number index of those that there are, once in
 * a process. cpu computes what has no kernel there; operands are carried to it and back. Returns NULL and the reason in
 * failure, in words of somebody who can do something about it: no driver, too old a one, no such device. The device is
 * static.
 * A device that breaks while it works (an error that stays with its context) ends the process, with a line on standard
 * error: nothing of what it holds can be had any more, and whoever started the process starts the next. */
#define TD_DEVICE_OPEN "td_device_open"
typedef const struct td_device *td_device_opener(int index, const struct td_device *cpu, struct td_failure *failure);

#endif
