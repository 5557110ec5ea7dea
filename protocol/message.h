/* Messages: what frames carry. A frame is a big-endian u32 length and that many bytes of msgpack.
 *
 *   client: HELLO, once; then frames of [ack, request, request, ...] laid out one after the other, where ack is the
 *           number of the last reply that was received and a request is three objects: flags, site, [id, ...];
 *           or an urgent frame: nil, id, ... which overtakes the queue.
 *   daemon: WELCOME or GOODBYE, then replies; each is an array that begins with its kind. To a HELLO of another
 *           purpose than a session OBSERVE, DASHBOARD or GOODBYE, and the connection ends.
 *
 * README.md of this folder says it all in words. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_MESSAGE_H
#define TD_PROTOCOL_MESSAGE_H

#include "protocol/error.h"
#include "protocol/ops.h"
#include "protocol/wire.h"

/* Versions of the protocol that this build speaks. */
#define TD_PROTOCOL_MIN 1
#define TD_PROTOCOL_MAX 1
#define TD_MAGIC "tensord"

/* Flags of a request. Bit 2 + k: input k is released when the request has been executed (k < TD_CONSUME_MAX); of a read
 * the tensor is input 0. */
#define TD_FLAG_GRAD 1u          /* record for autograd */
#define TD_FLAG_REQUIRES_GRAD 2u /* the result of a CREATE op is a leaf */
#define TD_FLAG_CONSUME(k) (4u << (k))
#define TD_CONSUME_MAX 29
#define TD_FLAG_WAITS (1u << 31) /* of a walk: DONE at its end, and CALL before it */

/* Flags of apply. Bit TD_APPLY_FLAGS + k: output k wants no gradient. */
#define TD_APPLY_ONCE 1u /* the gradient is not to be differentiated again */
#define TD_APPLY_FLAGS 4
/* Options of the request grads, added up. */
enum td_grads_option {
    TD_GRADS_RETAIN = 1,   /* the graph can be walked again */
    TD_GRADS_CREATE = 2,   /* the results have gradients themselves */
    TD_GRADS_ZEROS = 4,    /* of an input that the roots do not depend on the gradient is zeros, not an error */
    TD_GRADS_CONSTANTS = 8 /* a root that wants no gradient is none, not an error */
};

/* What a layout says of autograd, added up. */
enum td_layout_grad {
    TD_LAYOUT_REQUIRES = 1,    /* it requires a gradient */
    TD_LAYOUT_LEAF = 2,        /* and was not computed */
    TD_LAYOUT_VIEW_OF_LEAF = 4 /* it is a view of such a one */
};

/* Urgent messages; answered at once, whatever the queue holds, and not numbered. */
enum td_urgent { TD_URGENT_PING = 1, TD_URGENT_CANCEL = 2, TD_URGENT_EVENT = 3 };

/* Kinds of messages from the daemon. */
enum td_reply_kind {
    TD_REPLY_WELCOME =
        1, /* [kind, version, session, life, device, ops hash, credit bytes, credit requests, handles, lost or nil] */
    TD_REPLY_GOODBYE = 2, /* [kind, code, message] and the connection ends */
    TD_REPLY_DONE = 3,    /* [kind, request, executed, error or nil]: barrier, clear_error */
    TD_REPLY_DATA = 4,   /* [kind, request, executed, error or nil, dtype, total bytes, offset, bin]: read, in chunks */
    TD_REPLY_CREDIT = 5, /* [kind, executed, bytes taken] */
    TD_REPLY_PONG = 6,   /* [kind, number] */
    TD_REPLY_MAP = 7,    /* [kind, request, executed, msgpack]: status, table */
    TD_REPLY_OBSERVE =
        8, /* [kind, version of the daemon, pid, start in ns of CLOCK_MONOTONIC, waiting clients, lives], descriptors */
    TD_REPLY_DASHBOARD = 9, /* [kind, address] */
    TD_REPLY_CALL = 10,     /* [kind, call, function, recorded, inputs, bin, [value ...], [value ...]]: a walk waits */
    TD_REPLY_EVENT = 11     /* [kind, event, request that recorded it or 0, done]: to an urgent event */
};
/* A value in CALL: [dtype, shape, strides, offset, requires a gradient]. */
/* A life in OBSERVE: [number, enum td_life_state, cause, has trace, device]. */
enum td_life_state { TD_LIFE_STARTING, TD_LIFE_RUNNING, TD_LIFE_ENDED };
/* An error in a reply: [code, request, op, site, message, hint]. */

/* What a client connects for. */
enum td_purpose {
    TD_PURPOSE_SESSION,
    TD_PURPOSE_OBSERVE, /* what is known of the worker's lives: answered by the supervisor, whatever the worker does */
    TD_PURPOSE_DASHBOARD, /* an address of the dashboard: the same */
    TD_PURPOSES
};
/* Devices of one daemon, and the bytes of a device's name with its final 0: "cuda:12". */
#define TD_DEVICES_MAX 16
#define TD_DEVICE_BYTES 32
/* Lives in one OBSERVE: of each device the present one and four that are over. */
#define TD_OBSERVED_MAX (5 * TD_DEVICES_MAX)

struct td_hello {
    uint32_t version_min, version_max;
    uint64_t ops_hash;
    uint64_t life; /* the worker life that the client has just lost, 0 if none */
    char program[TD_NAME_BYTES];
    uint32_t purpose;             /* enum td_purpose */
    char device[TD_DEVICE_BYTES]; /* the one that the session is to be on, or its kind: "cuda:1", "cuda"; "": any */
};
/* Writes HELLO into at most TD_HELLO_MAX bytes, without the frame's length; returns the bytes. */
size_t td_hello_encode(const struct td_hello *hello, uint8_t *at);
/* Takes apart the payload of a first frame. Returns TD_E_OK, TD_E_PROTOCOL or TD_E_VERSION. */
int td_hello_decode(const void *data, size_t bytes, struct td_hello *hello, struct td_failure *failure);

/* One input of a call: a handle or a number. */
struct td_input {
    uint8_t kind;            /* enum td_input_kind; the members below mean nothing for another one */
    uint32_t handle;         /* TD_INPUT_HANDLE */
    struct td_number number; /* TD_INPUT_NUMBER */
};
enum td_input_kind { TD_INPUT_NONE, TD_INPUT_HANDLE, TD_INPUT_NUMBER };

/* A call of an op, decoded. */
struct td_call {
    const struct td_op *op;
    uint32_t flags, site;
    uint32_t out[TD_OUTPUTS_MAX]; /* handles of the results; UINT32_MAX: not a handle */
    int in_count;
    struct td_input in[TD_INPUTS_MAX];
    uint16_t list_counts[TD_PARAMS_MAX];
    int64_t attrs[TD_ATTR_SLOTS];
};

/* Upper bound of the bytes that td_call_encode writes for in_count inputs. */
size_t td_call_bound(int in_count);
/* Writes a call as a request (flags, site, array); returns the end. */
uint8_t *td_call_encode(uint8_t *at, const struct td_op *op, uint32_t flags, uint32_t site, const uint32_t *out,
                        const struct td_input *in, const uint16_t *list_counts, const void *attrs);
/* Reads the array of a call whose flags, site, count of elements and id have been taken. Returns TD_E_OK, or
 * TD_E_ARGUMENT, TD_E_DTYPE or TD_E_LIMIT for a request that is well formed but does not fit its row: all its bytes
 * are taken then, and out and the handles in its inputs are still right as far as in_count goes. What cannot be a
 * handle is UINT32_MAX, for the caller to refuse. Sets reader->failed where the bytes are not msgpack. */
int td_call_decode(struct td_reader *reader, const struct td_op *op, uint32_t elements, struct td_call *call,
                   struct td_failure *failure);

#endif
