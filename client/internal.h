/* Private to client/: what the library's sources share. Functions here expect the session's lock to be held unless
 * they say otherwise. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_INTERNAL_H
#define TD_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/address.h"
#include "protocol/error.h"
#include "protocol/infer.h"
#include "protocol/limits.h"
#include "protocol/message.h"
#include "protocol/ops.h"
#include "protocol/shape.h"
#include "protocol/wire.h"

#define TD_API __attribute__((visibility("default")))
#include "client/tensord.h"

/* ---- errors (error.c) ---- */

/* A cause, shared by all tensors that failed of it. */
struct cause {
    uint32_t refs;
    uint64_t request; /* how many requests had been sent when it happened, or the daemon's number */
    struct td_failure failure;
    char op[48], where[TD_SITE_BYTES];
};

/* A cause with one reference, NULL without memory. op and where may be NULL. */
struct cause *cause_new(const struct td_failure *failure, const char *op, const char *where, uint64_t request);
struct cause *cause_ref(struct cause *cause);
void cause_unref(struct cause *cause); /* NULL is fine */
/* The client's own error: stands if none does; aborts if the session wants that. */
void error_raise(struct td_session *s, struct cause *cause);
/* Makes a cause of failure and raises it; returns it with one reference. */
struct cause *error_make(struct td_session *s, const struct td_failure *failure, const char *op, td_origin origin);

/* ---- handles (handles.c) ---- */

/* The bit of a td_tensor's generation that says: the result of a call, nobody may have named it. */
#define FRESH 0x80000000u

enum entry_flags {
    ENTRY_LIVE = 1,
    ENTRY_LOCAL = 2,         /* the daemon does not know the handle */
    ENTRY_REQUIRES_GRAD = 4, /* for itself; its storage may have been written to by something that does, too */
    ENTRY_LEAF = 8,
    ENTRY_LEAF_VIEW = 16,    /* a view of a leaf that requires a gradient */
    ENTRY_NO_GRAD_VIEW = 32, /* a view made under TD_NO_GRAD of something that requires a gradient */
    ENTRY_ALIAS = 64,        /* shares bytes but no history with the storage: detached */
    ENTRY_OWNED = 128,       /* a gradient or state of an optimiser: in no scope */
    ENTRY_UNKNOWN = 256,     /* only rank and dtype are known (layout.c) */
    ENTRY_TURNED = 512,      /* unknown, and perhaps not contiguous */
    ENTRY_INFERENCE = 1024,  /* made in inference mode, or a view of such a tensor */
    ENTRY_VIEW = 2048        /* a view that is part of its base's graph */
};

/* What all tensors on the same bytes share. */
struct storage {
    struct storage *next; /* of one that is not used: the next such */
    uint32_t refs;
    bool recorded; /* written to by something that requires a gradient */
    int64_t bytes; /* -1: not known */
};

struct entry {
    uint32_t generation, flags;
    uint32_t grad;                   /* handle of the gradient that td_grad shows; 0: none yet */
    uint32_t scope_next, scope_last; /* the list of its scope; of a free entry: the next free one */
    td_guard *scope;
    struct cause *cause; /* not NULL: it failed */
    struct storage *storage;
    const struct td_op *maker;
    char *name; /* NULL: none */
    struct td_meta meta;
};

/* Handle 0 is nobody's; its entry holds the cause for results that found no free handle. */
struct handles {
    struct entry *entries;
    uint32_t used, capacity, limit, free;
    struct storage *spare; /* not used, for the next result */
    int64_t live;
};

bool handles_init(struct handles *handles);
void handles_deinit(struct handles *handles);
/* A live handle with generation, in no scope; 0 if there is none left. */
uint32_t handles_take(struct handles *handles);
/* Frees a live handle without telling the daemon; the gradient that it owns stays. */
void handles_drop(struct handles *handles, uint32_t handle);
/* The entry of x, NULL if x was released or is of another session. */
struct entry *handles_find(struct td_session *s, td_tensor x);
td_tensor handles_tensor(struct td_session *s, uint32_t handle, bool fresh);
/* A result that failed; takes over the reference to cause. */
td_tensor handles_failed(struct td_session *s, struct cause *cause);
/* Every tensor fails of cause, and the daemon knows none. */
void handles_fail_all(struct td_session *s, struct cause *cause);
/* Gives entry a storage: that of shared, or its own if NULL. False without memory. */
bool entry_set_storage(struct handles *handles, struct entry *entry, struct storage *shared);
/* Puts a handle into the innermost scope of this thread. */
void scope_add(struct td_session *s, uint32_t handle);
void scope_remove(struct handles *handles, uint32_t handle);
/* No guard of this thread for s forbids recording. */
bool scope_grad_mode(const struct td_session *s);
/* A guard of this thread for s is one of inference mode. */
bool scope_inference_mode(const struct td_session *s);
/* The number of the stream that this thread is on. */
uint32_t scope_stream(const struct td_session *s);
/* The session ends: guards that are still open let go of it. */
void scope_forget(struct td_session *s);

/* ---- the connection (connection.c) and what goes over it (request.c, reply.c) ---- */

/* What a reply is waited for with. */
struct wait {
    uint64_t request;
    bool done;
    struct cause *error; /* of the reply; the waiter's to unref */
    uint8_t *sink;       /* for DATA: gets exactly total bytes */
    /* Not NULL: elements go on here, a frame's at a time, and sink has room for one frame's. */
    void (*take)(void *taker, const uint8_t *data, size_t bytes);
    void *taker;
    uint64_t total, received, taken;
    uint8_t dtype;
    void **map; /* for MAP: gets a copy, to be freed */
    size_t *map_bytes;
    int *descriptor;   /* not NULL: gets the one that comes along, the waiter's to close */
    bool asks, passed; /* for EVENT: what is known of event */
    uint32_t event;
    uint64_t recorded; /* the request that recorded it */
};

struct connection {
    int fd;                   /* -1: closed */
    pthread_mutex_t sending;  /* over writes to fd and its end; inside the session's lock, or without it (td_cancel) */
    bool torn;                /* part of a frame has been sent */
    _Atomic uint32_t cancels; /* by td_cancel, so that what was half sent can be told from what is whole */
    uint32_t urgent_due;      /* an urgent frame that could not be sent yet; 0: none */
    uint32_t epoch;           /* counts losses, so that a waiter knows that its reply will not come */
    uint64_t life;
    uint8_t *out; /* the frame in the making, with its length and ack; 0 used: not begun */
    size_t out_used, out_size;
    uint8_t *in;
    size_t in_from, in_to, in_size;
    uint64_t requests, requests_flushed, executed;
    _Atomic uint64_t bytes_sent; /* td_cancel counts its frame without the session's lock */
    uint64_t bytes_taken, credit_bytes, credit_requests;
    uint64_t replies;
    struct wait *wait;
    uint8_t *call; /* a CALL that has come and is to be served; NULL: none */
    size_t call_bytes;
    uint64_t sink_left; /* bytes of a bin that go straight into wait's sink */
};

/* A connected socket that does not block, or -1 with the failure; its first frame, sent. tensorctl uses both, too. */
int connection_dial(const struct td_address *address, struct td_failure *failure);
bool connection_hello(int fd, uint64_t life, enum td_purpose purpose, const char *device);
/* Connects and shakes hands; lost gets why the named life ended, "" if that is not told. TD_E_OK or the failure. */
int connection_open(struct td_session *s, struct td_failure *failure, char lost[TD_MESSAGE_BYTES]);
void connection_close(struct td_session *s);
/* Sends what is buffered, and bulk behind it in the same frame. False: the connection is gone, and all that follows
 * from it is done. */
bool connection_flush(struct td_session *s, const void *bulk, size_t bytes);
/* Sends a whole frame, all before it having been flushed. False: the connection is gone. */
bool connection_send(struct td_session *s, const uint8_t *frame, size_t bytes);
/* Sends an urgent frame between two others. Does not need the session's lock. */
void connection_urgent(struct td_session *s, uint32_t id);
/* Flushes and waits for the reply that wait names. */
bool connection_wait(struct td_session *s, struct wait *wait);
/* Takes what has arrived apart. False, with failure, if it is not the protocol; true with closed set at a GOODBYE. */
bool reply_take(struct td_session *s, struct td_failure *failure, bool *goodbye);
/* Bytes more have come into wait's sink, and left are still due of their frame. */
void reply_received(struct wait *wait, uint64_t bytes, uint64_t left);
/* Reads [code, request, op, site, message, hint]; sets the reader failed if it is not that. */
struct cause *reply_error(struct td_reader *r);

/* Room for bytes more in the frame; counts the request. NULL: the session is dead. */
uint8_t *request_begin(struct td_session *s, size_t bytes);
/* The request ends at at; flushes where enough has come together. */
void request_end(struct td_session *s, uint8_t *at);
/* Flags, site and the head of an array of count elements: what every request begins with. */
uint8_t *request_head(uint8_t *at, uint32_t flags, uint32_t site, uint32_t count, uint32_t id);
/* A request without a reply, of up to 4 numbers. */
void request_numbers(struct td_session *s, uint32_t site, uint32_t id, int count, const uint64_t *numbers);
/* Sends a chunk of the elements of a tensor that from made, straight from the caller's memory, in a frame that it ends.
 * False: the connection was lost, or is gone. */
bool request_upload(struct td_session *s, uint32_t handle, uint64_t offset, const void *data, size_t bytes);
/* Tells the daemon of the release (if it knows the handle) and frees it, with the gradient that it owns, and so on. */
void request_release(struct td_session *s, uint32_t handle);
/* The same of one that the daemon releases by itself, for a request said TD_FLAG_CONSUME of it. */
void request_used_up(struct td_session *s, uint32_t handle);
/* Sends a request of no parameters and waits; fills error. */
bool request_wait(struct td_session *s, uint32_t id, struct wait *wait);
/* The number of a call site, told to the daemon on first use; 0 for none. */
uint32_t site_number(struct td_session *s, const char *where);
/* The same of an op that a function of several sends: "train.c:12 in gelu", of which errors are told as the function's
 * at train.c:12 (reply_error). function NULL: the op is the caller's own. */
uint32_t site_within(struct td_session *s, const char *where, const char *function);
#define SITE_IN " in "

struct site {
    const char *where;
    uint32_t within; /* by the text of the function, 0 for none */
    char *text;
    uint32_t number;
};
struct sites {
    struct site *slots; /* open addressing by the pointer and within */
    uint32_t count, capacity;
};
void sites_deinit(struct sites *sites);
/* The daemon was lost: all numbers are new to the next one. */
void sites_forget(struct sites *sites);

/* ---- streams, events (device.c), and memory that the daemon sees (host.c) ---- */

struct event_slot {
    uint32_t generation;
    bool live;
    uint64_t recorded; /* the request that did it last; 0: none */
};
struct events {
    struct event_slot *slots; /* by number */
    uint32_t capacity, first_free;
};
/* Tells the daemon which stream this thread is on. */
void streams_send(struct td_session *s);
/* The daemon was lost: it knows nothing of them. */
void streams_lost(struct td_session *s);
void hosts_lost(struct td_session *s);
void hosts_forget(struct td_session *s);
/* Brings the elements of a tensor that from made to the daemon, if they lie where it sees them. False: they do not. */
bool hosts_upload(struct td_session *s, uint32_t handle, const void *data, size_t bytes, bool non_blocking,
                  td_origin origin);
/* Writes the piece's number and the byte of it where data lies, the same; NULL: it does not. */
uint8_t *hosts_write(const struct td_session *s, uint8_t *at, const void *data, size_t bytes);

/* ---- sessions (session.c) ---- */

struct td_session {
    pthread_mutex_t lock;
    struct td_session *next; /* of all sessions of the process */
    struct td_address address;
    char address_text[TD_PATH_BYTES + 8];
    char device[TD_DEVICE_BYTES]; /* that it wishes for; "": any */
    struct connection wire;
    struct handles handles;
    struct sites sites;
    struct cause *dead;     /* not NULL: every call fails of it */
    struct cause *standing; /* the first error of the client's own */
    struct cause *reported; /* what td_error gave out */
    td_error_info info;
    enum td_policy policy;
    bool sync, forked;
    bool graph_created; /* by the last td_backward: gradients have gradients */
    td_guard *guards;
    struct td_optimizer *optimizers;
    struct td_program *programs;
    struct td_function *functions;
    struct recording *recording; /* the innermost; NULL: nothing is recorded */
    uint32_t programs_made, functions_made;
    struct events events;
    struct host *hosts;
    uint32_t streams_made, stream_sent; /* stream_sent: that the daemon knows to be the current one */
    bool calls_back;                    /* a function that is called back is part of some graph: walks are waited for */
    int serving;                        /* calls, within each other */
};

/* Takes the lock; again where the thread has it already, as in a function that is called back while a walk is waited
 * for. A session of before a fork is dead from here on. */
void session_enter(struct td_session *s);
void session_leave(struct td_session *s);
/* The connection ended: everything on it is lost; connects anew. why ends up in the error if the daemon has no other.
 */
void session_lost(struct td_session *s, const char *why);
/* Waits, prints the error that stands and returns its code: what td_close does first. */
int session_last_error(struct td_session *s);
/* Every call fails of this from now on. */
void session_kill(struct td_session *s, const struct td_failure *failure);

/* ---- calls (call.c) and autograd (autograd.c) ---- */

struct client_op {
    uint16_t id;
    const char *name; /* what errors say was called, where that is not the op; NULL: the op */
    td_origin origin;
    td_session *session; /* NULL: the first tensor's */
    bool requires_grad;
    bool owned;           /* the result belongs to no scope */
    bool in_place;        /* the result is to go into the first tensor: it has to fit */
    bool rebinds;         /* the result, a view, is to be what the first tensor's handle names */
    const td_operand *in; /* every tensor of the call; with lists given, all but theirs */
    int in_count;
    const td_list *lists;        /* as they were written, for client_lists to lay out; NULL: in has all */
    const uint16_t *list_counts; /* of a call laid out flat */
    const bool *used_up;         /* of a call laid out flat, by input; NULL: the origin tells */
    const void *attrs;
    const void *data;  /* of from: what is uploaded */
    bool non_blocking; /* it stays as it is until that is over */
};
/* In a function made of ops: until its block ends errors say that name was called, whichever of the ops refuses. Of
 * such functions that call each other the outermost counts. */
#define SPEAKS_FOR(name) bool speaks __attribute__((cleanup(client_silent), unused)) = client_speaks_for(name)
bool client_speaks_for(const char *name);
void client_silent(const bool *speaks);
/* The name that this thread speaks for; name if it speaks for itself. */
const char *client_speaker(const char *name);

/* Runs a call; results has room for TD_OUTPUTS_MAX. client_op returns the first. Both take the lock themselves. */
void client_ops(const struct client_op *call, td_tensor *results);
/* The same of a call with lists (list.c). */
void client_lists(const struct client_op *call, td_tensor *results);
td_tensor client_op(const struct client_op *call);
/* Which items of a list were written as calls; none where its text is not known or does not tell. */
void list_calls(const td_list *list, bool *calls);
/* The form in place of an op: the call, and a copy_ of its result into the first tensor, which it returns. */
td_tensor client_in_place(const struct client_op *call);
/* Whether what the call of name gives does not go into its target, the tensor of that parameter; vague: sizes are not
 * known yet. */
bool call_refuses_result(const char *name, const char *parameter, const struct td_meta *target,
                         const struct td_meta *result, bool vague, struct td_failure *failure);
struct td_number client_keyword_number(double value);
/* With TENSORD_SYNC: waits for the call just sent and raises what the daemon found. */
void call_check(struct td_session *s, td_origin origin);

/* A call of something that is not an op, on one tensor. Takes the lock; NULL (and the lock is free again) if x cannot
 * be used, which is raised. wants_value: a failed tensor cannot be used either. */
struct entry *query_begin(td_origin origin, td_tensor x, const char *what, bool wants_value);
/* Releases x if the call used it up, and frees the lock. */
void query_end(td_origin origin, td_tensor x);
bool consumes(td_origin origin, td_tensor x, int k);

/* d output / d input (grads.c), asked for in the name of another function. The origin tells whether output, input and
 * seed, which may be left out, are used up. options: enum td_grads_option. Takes the lock itself. */
td_tensor grads_ask(const char *name, td_origin origin, td_tensor output, td_tensor input, td_tensor seed,
                    uint32_t options);

/* ---- views in place (rebinding.c) ---- */

/* That of a view: the first tensor becomes it, under all of its names, and is what is returned. */
td_tensor client_view_in_place(const struct client_op *call);
/* Whether the first tensor may become the view that an accepted call of op gives. */
int rebinding_check(const struct td_session *s, const struct td_op *op, struct entry *const *in, bool recording,
                    struct td_failure *failure);
/* It is the view now. vague: of which rank and dtype are known only. */
void rebinding_note(const struct td_op *op, struct entry *const *in, const struct td_meta *view, bool recording,
                    bool vague);
/* Refuses a window that leaves the storage of base, where its size is known: the daemon would, too, but later. */
int rebinding_check_window(const struct td_op *op, const struct entry *base, const struct td_meta *window,
                           struct td_failure *failure);

/* ---- functions that are called back (called.c) ---- */

/* The flags of a request for a walk. */
uint32_t calls_flags(const struct td_session *s);
/* Waits for the end of the walk that the last request asked for, where its flags say so; epoch is that of before. */
void calls_wait(struct td_session *s, uint32_t flags, uint32_t epoch);
/* Does what the CALL asks for that has come. False, with failure: it is none. */
bool calls_serve(struct td_session *s, struct td_failure *failure);

/* ---- layouts that only data can tell (layout.c) ---- */

/* Sizes or strides out of a reply; how many. */
int layout_read_sizes(struct td_reader *r, int64_t *sizes);

/* The entry of x with its layout, which is asked for if it is not known; what the daemon has against x is its cause
 * then. NULL if x was released. */
struct entry *layout_learn(struct td_session *s, td_tensor x, td_origin origin);
/* query_begin of something that needs the layout. */
struct entry *layout_begin(td_origin origin, td_tensor x, const char *what, bool wants_value);
/* Whether op has to know the layout of x, which is unknown. */
bool layout_decides(const struct td_op *op, const struct entry *x);
/* Marks the result of an op with an input that is unknown, or with a SIZE. */
void layout_note(const struct td_op *op, struct entry *result, struct entry *const *in, int count, int shares);

bool autograd_requires(const struct entry *entry);
bool autograd_is_leaf(const struct entry *entry);
/* A recorded write that the rules forbid. */
int autograd_check_write(const struct td_op *op, struct entry *const *in, struct td_failure *failure);
/* What was made in inference mode, and is written to or recorded outside of it. */
int autograd_check_inference(const struct td_op *op, struct entry *const *in, int count, bool recording,
                             struct td_failure *failure);
/* What is known of the result of an accepted call. */
void autograd_note(const struct td_op *op, struct entry *result, struct entry *const *in, int count, int shares,
                   bool recording);
/* The daemon has told what it is to autograd: enum td_layout_grad. */
void autograd_learn(struct entry *e, uint64_t grad);
/* What is known of the gradient of a tensor; recorded: it has gradients itself. */
void autograd_note_gradient(struct entry *gradient, const struct entry *of, bool recorded);

/* Reads all elements of x, a live and healthy entry, as dtype. False after an error, which has been raised. */
bool read_elements(struct td_session *s, td_tensor x, void *array, uint8_t dtype, td_origin origin);
/* The same with all of wait given but its request: where they go, or who takes them. */
bool read_into(struct td_session *s, td_tensor x, struct wait *wait, td_origin origin);

/* Parameters with rates of their own. */
struct param_group {
    uint16_t lists[TD_PARAMS_MAX]; /* the step's: the parameters, then as many states or none */
    int count, in_count;           /* of parameters; of tensors */
    td_operand *tensors;           /* parameters, then each list of states, then the counts and the rate */
    double lr;                     /* what the rate has been set to */
    int64_t attrs[TD_ATTR_SLOTS];  /* the step's */
};

struct td_optimizer {
    td_session *session; /* NULL: closed before */
    struct td_optimizer *next;
    const struct td_op *op; /* its step */
    uint32_t states;        /* bit k: it has the list k of the step */
    int momenta;            /* the list that a group has where its momentum is not 0; 0: none */
    double first;           /* what states begin with */
    double lr;              /* of a group that names none; the same for its attrs */
    int64_t attrs[TD_ATTR_SLOTS];
    struct param_group *groups;
    int group_count;
};
void optimizers_forget(struct td_session *s);
void programs_forget(struct td_session *s);
/* The name of one whose C code is being run; NULL: none. */
const char *functions_in_work(const struct td_session *s);
void functions_forget(struct td_session *s);
int function_inputs(const struct td_function *function);
int function_outputs(const struct td_function *function);
const char *function_name(const struct td_function *function);
/* Whether something is being recorded, so that what must be read cannot be: raised then, and the recording fails. */
bool recording_refuses(struct td_session *s, const char *what, td_origin origin);
/* What may not be called while recording fails. */
void recording_check(struct td_session *s, const struct td_op *op, struct td_failure *failure);

#endif
