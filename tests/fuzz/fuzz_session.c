/* A whole session's stream of requests, by the table of ops: the input's bytes choose ops, handles, shapes, attributes,
 * what is consumed, when the client stops reading, and where frames are cut; a share is raw bytes. Two sessions of one
 * worker take turns. At the end both hang up, and nothing may be left of them: no session, node or byte of the device.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "server/log.h"
#include "tests/fuzz/choices.h"
#include "tests/harness.h"

#define DEVICE_BYTES ((size_t)16 << 20)
#define KERNEL_NS_MAX 20000 /* so that an execution stays short; what costs more is left out */
#define HANDLES 16
#define REQUESTS_MAX 120
#define FRAME_ROOM 8192 /* of requests in one frame; one request may pass it by far */
#define OUT_BYTES ((size_t)1 << 18)

void __lsan_do_leak_check(void) __attribute__((weak));

static struct harness harness;
static const struct td_op *ops[TD_OP_LIMIT];
static uint32_t op_count;

/* One client: the frame that it is writing, and which handles it thinks that it has. */
struct client {
    struct line *line;
    uint8_t *at;
    uint8_t out[OUT_BYTES];
    uint32_t used; /* a bit a handle */
};
static struct client clients[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_open("fuzz", LOG_ERROR + 1);
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++)
        if (td_op_of((uint64_t)id))
            ops[op_count++] = td_op_of((uint64_t)id);
    HOLDS(!harness_start(&harness, DEVICE_BYTES));
    harness.kernel_ns_max = KERNEL_NS_MAX;
    return 0;
}

/* ---- values ---- */

static int64_t choose_int(struct choices *c)
{
    static const int64_t extreme[] = {INT64_MAX, INT64_MIN, -100, 100, 1 << 20, 1 << 30, INT64_C(1) << 55, 17};
    uint8_t byte = choose(c);
    return byte < 232 ? (int64_t)(byte % 8) - 2 : extreme[byte % 8];
}

static double choose_real(struct choices *c)
{
    const double values[] = {0, 1, -0.5, 0.1, 2.5, 1e300, NAN, INFINITY, 0.9, -1};
    return PICK(c, values);
}

static struct td_number choose_number(struct choices *c)
{
    uint8_t byte = choose(c);
    if (byte % 4 == 0)
        return (struct td_number){.category = TD_INTEGER, .i = choose_int(c)};
    if (byte % 16 == 1)
        return (struct td_number){.category = TD_BOOLEAN, .i = byte > 127};
    return (struct td_number){.category = TD_FLOATING, .f = choose_real(c)};
}

static struct td_dims choose_dims(struct choices *c, bool sizes)
{
    static const int64_t big[] = {64, 256, 1 << 10, 1 << 20, 1 << 30, INT64_C(1) << 55, -1, -2, INT64_MAX, 0};
    uint8_t rank = choose(c);
    struct td_dims dims = {.count = rank < 250 ? rank % 4 : rank % 9};
    for (int d = 0; d < dims.count; d++) {
        uint8_t size = choose(c);
        dims.v[d] = size >= 240 ? PICK(c, big) : sizes ? 1 + size % 4 : size % 4 - 1;
    }
    return dims;
}

static uint32_t choose_handle(struct choices *c, const struct client *client)
{
    uint8_t byte = choose(c);
    if (byte >= 248)
        return byte == 255 ? TD_HANDLES_MAX - 1 : byte == 254 ? TD_HANDLES_MAX : byte; /* none of them is there */
    if (byte >= 224 || !client->used)
        return byte % HANDLES;
    uint32_t left = client->used;
    for (int k = byte % __builtin_popcount(left); k > 0; k--)
        left &= left - 1;
    return (uint32_t)__builtin_ctz(left);
}

/* ---- requests ---- */

static void begin(struct client *client, uint32_t flags, uint32_t count, uint64_t id)
{
    uint8_t *at = td_write_uint(client->at, flags);
    at = td_write_uint(at, 1);
    client->at = td_write_uint(td_write_array(at, count), id);
}

static void put(struct client *client, uint64_t value)
{
    client->at = td_write_uint(client->at, value);
}

static void release(struct client *client, uint32_t handle)
{
    begin(client, 0, 2, TD_R_RELEASE);
    put(client, handle);
    client->used &= ~(1u << handle % 32);
}

/* A handle for a result: mostly one that is free, made so if need be. */
static uint32_t choose_out(struct choices *c, struct client *client)
{
    uint8_t byte = choose(c);
    uint32_t handle = byte % HANDLES;
    if (byte >= 240)
        return byte == 255 ? TD_HANDLES_MAX : byte == 254 ? 300 : handle;
    if (client->used >> handle & 1)
        release(client, handle);
    client->used |= 1u << handle;
    return handle;
}

static void choose_attr(struct choices *c, const struct td_param *param, int64_t *slot)
{
    static const int64_t dtypes[] = {TD_DTYPE_NONE, TD_F32, TD_F32, TD_F64, TD_I64, TD_BOOL, 2};
    struct td_number number;
    struct td_dims dims;
    double real;
    switch (param->kind) {
    case TD_PARAM_REAL:
        real = choose_real(c);
        memcpy(slot, &real, sizeof real);
        break;
    case TD_PARAM_FLAG:
        *slot = choose(c) & 1;
        break;
    case TD_PARAM_DTYPE:
        *slot = PICK(c, dtypes);
        break;
    case TD_PARAM_NUMBER:
        number = choose_number(c);
        memcpy(slot, &number, sizeof number);
        break;
    case TD_PARAM_SHAPE:
        dims = choose_dims(c, true);
        memcpy(slot, &dims, sizeof dims);
        break;
    case TD_PARAM_DIMS:
        dims = choose(c) & 1 ? choose_dims(c, false) : (struct td_dims){.count = -1};
        memcpy(slot, &dims, sizeof dims);
        break;
    default:
        *slot = choose_int(c);
    }
}

static struct td_input choose_input(struct choices *c, const struct client *client, uint8_t kind)
{
    if (kind == TD_PARAM_NUM && choose(c) & 1)
        return (struct td_input){.kind = TD_INPUT_NUMBER, .number = choose_number(c)};
    if (kind == TD_PARAM_OPT && choose(c) & 1)
        return (struct td_input){.kind = TD_INPUT_NONE};
    return (struct td_input){.kind = TD_INPUT_HANDLE, .handle = choose_handle(c, client)};
}

static uint32_t choose_flags(struct choices *c)
{
    uint8_t byte = choose(c);
    uint32_t flags = (byte & 7 ? TD_FLAG_GRAD : 0) | (byte & 8 ? TD_FLAG_REQUIRES_GRAD : 0);
    return byte < 192 ? flags : flags | (uint32_t)(byte & 0x30) >> 2 | (byte == 255 ? ~3u : 0);
}

static void put_op(struct choices *c, struct client *client, const struct td_op *op)
{
    static struct td_input in[TD_INPUTS_MAX]; /* large */
    uint16_t list_counts[TD_PARAMS_MAX] = {0};
    uint32_t out[TD_OUTPUTS_MAX] = {0}, flags = choose_flags(c);
    int64_t attrs[TD_ATTR_SLOTS] = {0}, *slot = attrs;
    int count = 0, lists = 0;
    uint8_t length = choose(c);
    uint16_t list_count = length == 255 ? 300 : length % 4;
    td_op_defaults(op, attrs);
    for (const struct td_param *p = op->params; p->kind; p++) {
        if (td_param_is_list(p->kind)) {
            list_counts[lists] = length == 254 ? (uint16_t)lists : list_count;
            for (int k = list_counts[lists++]; k > 0; k--)
                in[count++] = choose_input(c, client, p->kind);
        } else if (td_param_is_tensor(p->kind)) {
            in[count++] = choose_input(c, client, p->kind);
        } else {
            if (!p->keyword || choose(c) & 1)
                choose_attr(c, p, slot);
            slot += td_param_slots(p->kind);
        }
    }
    for (int k = 0; k < td_op_named_outputs(op); k++)
        out[k] = choose_out(c, client);
    client->at = td_call_encode(client->at, op, flags, 1, out, in, list_counts, attrs);
}

/* In place of a handle: the optional input is none. */
#define LEFT_OUT UINT32_MAX

static void put_call(struct client *client, enum td_op_id id, uint32_t flags, uint32_t out, int count,
                     const uint32_t *handles, const uint16_t *list_counts, const void *attrs)
{
    struct td_input in[12];
    for (int k = 0; k < count; k++)
        in[k] =
            (struct td_input){.kind = handles[k] == LEFT_OUT ? TD_INPUT_NONE : TD_INPUT_HANDLE, .handle = handles[k]};
    if (td_op_named_outputs(td_op_of(id))) {
        if (client->used >> out & 1)
            release(client, out);
        client->used |= 1u << out;
    }
    client->at = td_call_encode(client->at, td_op_of(id), flags, 1, &out, in, list_counts, attrs);
}

static void put_backward(struct client *client, uint32_t root, bool retain, bool create)
{
    begin(client, 0, 5, TD_R_BACKWARD);
    put(client, root);
    client->at = td_write_nil(client->at);
    client->at = td_write_bool(td_write_bool(client->at, retain), create);
}

static void put_upload(struct choices *c, struct client *client)
{
    uint32_t bytes = choose_below(c, 65);
    if (bytes == 64) /* more than a head: cut off in it, the rest comes past the buffer */
        bytes += choose(c);
    begin(client, 0, 4, TD_R_UPLOAD);
    put(client, choose_handle(c, client));
    put(client, choose_below(c, 20) * 4);
    client->at = td_write_bin_header(client->at, bytes);
    for (; bytes > 0; bytes--)
        *client->at++ = choose(c);
}

static void put_text_request(struct choices *c, struct client *client, enum td_request_id id)
{
    static const uint32_t lengths[] = {0, 1, 5, 127, 128, 255, 256, 4000};
    static const char text[4096] = "\x1b[2J";
    begin(client, 0, 3, id);
    put(client, choose_handle(c, client)); /* or the site's number */
    client->at = td_write_text(client->at, text, PICK(c, lengths));
}

static void put_handles(struct choices *c, struct client *client, uint32_t count)
{
    client->at = td_write_array(client->at, count);
    for (; count > 0; count--)
        put(client, choose_handle(c, client));
}

/* Gradients of handle 7, the loss of put_training, by what it was computed from: mostly there are any. */
static void put_loss_grads(struct choices *c, struct client *client)
{
    uint8_t way = choose(c);
    uint32_t inputs = 1 + way % 3, out[3];
    if (way & 4) {
        begin(client, 0, 2, TD_R_RETAIN_GRAD);
        put(client, 5 + (way & 3));
    }
    for (uint32_t k = 0; k < inputs; k++) {
        out[k] = 10 + (way + k) % 6;
        if (client->used >> out[k] & 1)
            release(client, out[k]);
        client->used |= 1u << out[k];
    }
    begin(client, 0, 6, TD_R_GRADS);
    client->at = td_write_uint(td_write_array(client->at, 1), 7);
    client->at = td_write_nil(td_write_array(client->at, 1));
    client->at = td_write_array(client->at, inputs);
    for (uint32_t k = 0; k < inputs; k++)
        put(client, k == 0 && way & 8 ? 5 : k == 2 ? 4 + (way >> 6) : 0);
    client->at = td_write_array(client->at, inputs);
    for (uint32_t k = 0; k < inputs; k++)
        put(client, out[k]);
    put(client, way >> 4 & 7);
}

/* Gradients of a few roots by a few inputs; now and then lists that do not fit. */
static void put_grads(struct choices *c, struct client *client)
{
    uint8_t way = choose(c);
    uint32_t roots = 1 + way % 3, inputs = (way >> 2) % 4, results = inputs + (way >= 250);
    uint32_t out[4];
    for (uint32_t k = 0; k < results; k++)
        out[k] = choose_out(c, client); /* before: it may be released for that */
    begin(client, 0, 6 - (way == 249), TD_R_GRADS);
    put_handles(c, client, roots);
    client->at = td_write_array(client->at, roots);
    for (uint32_t k = 0; k < roots; k++) {
        if (choose(c) & 3)
            client->at = td_write_nil(client->at);
        else
            put(client, choose_handle(c, client));
    }
    put_handles(c, client, inputs);
    client->at = td_write_array(client->at, results);
    for (uint32_t k = 0; k < results; k++)
        put(client, out[k]);
    if (way != 249)
        put(client, choose(c) % 18);
}

/* A step of training on handles 0 to 9, which chance would hardly find: x @ w, its loss, backward, an optimiser. */
static void put_training(struct choices *c, struct client *client)
{
    int64_t n = 1 + choose_below(c, 4), m = 1 + choose_below(c, 3);
    uint8_t way = choose(c);
    int64_t dtype = way & 1 ? TD_F32 : TD_F64;
    struct td_zeros_attrs weight = {.shape = {2, {n, m}}, .dtype = dtype},
                          input = {.shape = {2, {3, n}}, .dtype = dtype};
    struct td_zeros_attrs counts = {.shape = {1, {1}}, .dtype = TD_I64}, rows = {.shape = {1, {3}}, .dtype = TD_I64};
    struct td_full_attrs rate = {.value = {.category = TD_FLOATING, .f = 0.1}, .dtype = TD_F64};
    if (way & 2) {
        put_call(client, TD_OP_ones, TD_FLAG_REQUIRES_GRAD, 0, 0, NULL, NULL, &weight);
        put_call(client, TD_OP_zeros, 0, 1, 0, NULL, NULL, &weight);
        put_call(client, TD_OP_zeros, 0, 2, 0, NULL, NULL, &weight);
        put_call(client, TD_OP_zeros, 0, 3, 0, NULL, NULL, &counts);
        put_call(client, TD_OP_full, 0, 8, 0, NULL, NULL, &rate);
    }
    put_call(client, TD_OP_randn, 0, 4, 0, NULL, NULL, &input);
    put_call(client, TD_OP_matmul, TD_FLAG_GRAD, 5, 2, (uint32_t[]){4, 0}, NULL, NULL);
    if (way & 4) {
        put_call(client, TD_OP_zeros, 0, 6, 0, NULL, NULL, &rows);
        put_call(client, TD_OP_cross_entropy, TD_FLAG_GRAD, 7, 3, (uint32_t[]){5, 6, LEFT_OUT}, NULL,
                 &(struct td_cross_entropy_attrs){.ignore_index = -100, .reduction = TD_MEAN});
    } else {
        put_call(client, TD_OP_tanh, TD_FLAG_GRAD, 6, 1, (uint32_t[]){5}, NULL, NULL);
        put_call(client, TD_OP_sum, TD_FLAG_GRAD, 7, 1, (uint32_t[]){6}, NULL,
                 &(struct td_sum_attrs){.dims.count = -1});
    }
    put_backward(client, 7, way & 8, way & 16);
    if (way & 32)
        put_call(client, TD_OP_sgd_step_, 0, 0, 4, (uint32_t[]){0, 1, 3, 8}, (uint16_t[]){1, 1},
                 &(struct td_sgd_step__attrs){.momentum = 0.9, .nesterov = way >> 6 & 1});
    else
        put_call(client, TD_OP_adam_step_, 0, 0, 5, (uint32_t[]){0, 1, 2, 3, 8}, (uint16_t[]){1, 1, 1, 0},
                 &(struct td_adam_step__attrs){.beta1 = 0.9, .beta2 = 0.9, .eps = 1e-8});
}

/* ---- programs: numbers 1 to 4 ---- */

static uint32_t choose_program(struct choices *c)
{
    return 1 + choose(c) % 4;
}

static void put_record(struct client *client, uint32_t number, bool trace, uint32_t count, const uint32_t *in)
{
    begin(client, 0, 4 + count, TD_R_RECORD);
    put(client, number);
    client->at = td_write_bool(td_write_text(client->at, "f", 1), trace);
    for (uint32_t k = 0; k < count; k++)
        put(client, in[k]);
}

static void put_record_end(struct client *client, uint32_t number, uint32_t count, const uint32_t *out)
{
    begin(client, 0, 2 + count, TD_R_RECORD_END);
    put(client, number);
    for (uint32_t k = 0; k < count; k++)
        if (out[k] == LEFT_OUT)
            client->at = td_write_nil(client->at);
        else
            put(client, out[k]);
}

/* y = x x as a function of programs 1 and 2, applied to handle 0, and its gradient: what chance would hardly find. */
static void put_function(struct choices *c, struct client *client)
{
    uint8_t way = choose(c);
    struct td_zeros_attrs shape = {.shape = {1, {1 + (way & 3)}}, .dtype = TD_F64};
    put_call(client, TD_OP_ones, TD_FLAG_REQUIRES_GRAD, 0, 0, NULL, NULL, &shape);
    put_record(client, 1, true, 1, (uint32_t[]){20});
    put_call(client, TD_OP_mul, 0, 21, 2, (uint32_t[]){20, way & 4 ? 20 : 0}, NULL, NULL);
    if (way & 8)
        put_call(client, TD_OP_exp, 0, 22, 1, (uint32_t[]){21}, NULL, NULL);
    put_record_end(client, 1, 2, (uint32_t[]){21, way & 8 ? 22 : way & 16 ? 21 : 20});
    put_record(client, 2, true, 2, (uint32_t[]){23, 24});
    put_call(client, TD_OP_mul, TD_FLAG_GRAD, 25, 2, (uint32_t[]){23, way & 32 ? 0 : 24}, NULL, NULL);
    put_record_end(client, 2, 1, (uint32_t[]){way == 255 ? LEFT_OUT : 25});
    for (uint32_t k = 20; k <= 25; k++)
        release(client, k);
    begin(client, TD_FLAG_GRAD, 7, TD_R_APPLY);
    put(client, 1);
    put(client, 2);
    put(client, way >> 6 & 1 ? TD_APPLY_ONCE : 0);
    put(client, 1);
    put(client, 0);
    put(client, 6);
    put_call(client, TD_OP_sum, TD_FLAG_GRAD, 7, 1, (uint32_t[]){6}, NULL, &(struct td_sum_attrs){.dims.count = -1});
    put_backward(client, 7, way & 64, way & 128);
}

/* The requests about programs in any order, mostly with handles that are there. */
static void put_program(struct choices *c, struct client *client)
{
    uint8_t way = choose(c);
    uint32_t in[3], out[3], in_count = way >> 3 & 3, out_count = way >> 5 & 3, number = choose_program(c);
    for (uint32_t k = 0; k < 3; k++)
        in[k] = choose_handle(c, client);
    switch (way & 7) {
    case 0:
        put_record(client, number, way & 128, in_count % 3, in);
        break;
    case 1:
        in[2] = LEFT_OUT;
        put_record_end(client, number, in_count, in);
        break;
    case 2:
    case 3:
        for (uint32_t k = 0; k < out_count; k++)
            out[k] = choose_out(c, client);
        begin(client, way & 128 ? TD_FLAG_GRAD : 0,
              (way & 7) == 2 ? 3 + in_count + out_count : 5 + in_count + out_count,
              (way & 7) == 2 ? TD_R_RUN : TD_R_APPLY);
        put(client, number);
        if ((way & 7) == 3) {
            put(client, choose_program(c));
            put(client, choose(c) % 32);
        }
        put(client, in_count);
        for (uint32_t k = 0; k < in_count; k++)
            put(client, in[k]);
        for (uint32_t k = 0; k < out_count; k++)
            put(client, out[k]);
        break;
    case 4:
        begin(client, 0, 2, TD_R_PROGRAM_FREE);
        put(client, number);
        break;
    case 5:
        begin(client, 0, 1, TD_R_CHECKPOINT);
        break;
    case 6:
        begin(client, 0, 1, TD_R_CHECKPOINT_END);
        break;
    default:
        put_function(c, client);
    }
}

/* A hook: a program of a product, traced or carried out, on a handle that may be the leaf of put_training. */
static void put_hook(struct choices *c, struct client *client)
{
    uint8_t way = choose(c), number = 1 + way % 3;
    uint32_t x = way & 4 ? 0 : choose_handle(c, client);
    if (!(way & 8)) {
        uint32_t in = way & 16 ? choose_out(c, client) : x, out = choose_below(c, HANDLES);
        begin(client, 0, 5, TD_R_RECORD);
        put(client, number);
        client->at = td_write_bool(td_write_text(client->at, "", 0), way & 16);
        put(client, in);
        put_call(client, TD_OP_mul, TD_FLAG_GRAD, out, 2, (uint32_t[]){in, choose_handle(c, client)}, NULL, NULL);
        begin(client, 0, 3, TD_R_RECORD_END);
        put(client, number);
        if (way & 32)
            client->at = td_write_nil(client->at);
        else
            put(client, out);
    }
    begin(client, 0, 3, TD_R_HOOK);
    if ((way & 0x18) == 0x18)
        client->at = td_write_nil(client->at);
    else
        put(client, x);
    put(client, number);
    if (way & 64) {
        begin(client, 0, 2, TD_R_PROGRAM_FREE);
        put(client, number);
    }
    if (way & 128)
        put_training(c, client);
}

/* Answers to a call: its values' handles, and after an op on them the gradient, as far as way lets it be right. */
static void put_answer(struct client *client, uint32_t number, uint8_t way)
{
    begin(client, 0, 5, TD_R_ANSWER);
    put(client, number);
    client->at = td_write_bool(client->at, false);
    put(client, 23);
    put(client, way & 1 ? 23 : 24);
    put_call(client, TD_OP_mul, TD_FLAG_GRAD, 25, 2, (uint32_t[]){23, 24}, NULL, NULL);
    begin(client, way & 2 ? TD_FLAG_CONSUME(0) : 0, 4, TD_R_ANSWER);
    put(client, number);
    client->at = td_write_bool(client->at, true);
    if (way & 4)
        client->at = td_write_text(td_write_text(td_write_uint(td_write_array(client->at, 3), 3), "no", 2), "", 0);
    else
        put(client, way & 8 ? 7 : 25);
    for (uint32_t k = 23; k <= 25; k++)
        release(client, k);
}

/* y = x x, for x of handle 0, by a function that is called, a walk through it, and answers to that or to others; more
 * of the input comes in between. */
static void put_called(struct choices *c, struct client *client)
{
    uint8_t way = choose(c), answers = choose(c);
    struct td_zeros_attrs shape = {.shape = {1, {1 + (way & 1)}}, .dtype = TD_F64};
    if (way & 2)
        put_call(client, TD_OP_ones, TD_FLAG_REQUIRES_GRAD, 0, 0, NULL, NULL, &shape);
    put_call(client, TD_OP_mul, 0, 21, 2, (uint32_t[]){0, 0}, NULL, NULL);
    begin(client, TD_FLAG_GRAD, 11, TD_R_CALLED);
    put(client, 1 + (way >> 6));
    client->at = td_write_bin_header(td_write_text(client->at, "f", 1), 1);
    *client->at++ = way;
    put(client, way & 4 ? TD_APPLY_ONCE : 0);
    put(client, 1);
    put(client, 3);
    put(client, 0);
    put(client, way & 8 ? 0 : 21);
    put(client, way & 16 ? 21 : 0);
    put(client, 6);
    release(client, 21);
    put_call(client, TD_OP_sum, TD_FLAG_GRAD, 7, 1, (uint32_t[]){6}, NULL, &(struct td_sum_attrs){.dims.count = -1});
    begin(client, way & 32 ? TD_FLAG_WAITS : 0, 5, TD_R_BACKWARD);
    put(client, 7);
    client->at = td_write_nil(client->at);
    client->at = td_write_bool(client->at, way & 64);
    client->at = td_write_bool(client->at, way & 128);
    for (uint32_t number = 1; number <= 4; number++)
        if (answers >> number & 1)
            put_answer(client, number, choose(c));
}

/* Streams, events, figures, and memory of the host: numbers mostly of few that are there, and bytes in and out of it.
 */
static void put_device(struct choices *c, struct client *client)
{
    static const uint64_t counts[] = {1, 2, 2, 1, 2, 1, 2, 1, 6, 4},
                          sizes[] = {1, 64, 4096, 5000, 300000, 0, TD_HOST_BYTES + 1, UINT64_MAX};
    uint32_t k = choose_below(c, 10);
    begin(client, 0, 1 + (uint32_t)counts[k] - (choose(c) == 255), TD_R_STREAM + k);
    switch (TD_R_STREAM + k) {
    case TD_R_MEMORY:
        client->at = td_write_bool(client->at, choose(c) & 1);
        return;
    case TD_R_HOST_ALLOC:
        put(client, choose_below(c, 3));
        put(client, PICK(c, sizes)); /* no other: what is large takes its time to be had */
        return;
    case TD_R_COPY_IN:
        put(client, choose_handle(c, client));
        client->at = td_write_int(client->at, choose_int(c));
        put(client, choose_below(c, 3));
        client->at = td_write_int(client->at, choose_int(c));
        client->at = td_write_int(client->at, choose(c) < 240 ? (int64_t)choose(c) : choose_int(c));
        client->at = td_write_bool(client->at, choose(c) & 1);
        return;
    case TD_R_COPY_OUT:
        put(client, choose_handle(c, client));
        put(client, choose_below(c, 12));
        put(client, choose_below(c, 3));
        client->at = td_write_int(client->at, choose_int(c));
        return;
    default:
        for (uint64_t n = counts[k]; n > 0; n--)
            put(client, choose(c) < 250 ? choose_below(c, 3) : (uint64_t)choose_int(c));
    }
}

static void put_control(struct choices *c, struct client *client)
{
    static const uint32_t later[] = {TD_R_GRADS, TD_R_RETAIN_GRAD, TD_R_GRAPH}, last[] = {TD_R_HOOK, TD_R_ANOMALY};
    uint8_t kind = choose(c);
    if (kind >= 232) {
        (kind >= 250 ? put_called : kind >= 242 ? put_device : put_program)(c, client);
        return;
    }
    uint32_t count, id = kind < 208 ? 1u + kind % 16u : kind < 224 ? later[kind % 3] : last[kind % 2];
    switch (id) {
    case TD_R_RELEASE:
    case TD_R_ZERO_GRAD:
        count = choose_below(c, 6);
        begin(client, 0, 1 + count, id);
        for (; count > 0; count--)
            put(client, choose_handle(c, client));
        break;
    case TD_R_GRAPH:
    case TD_R_READ: {
        uint32_t handle = choose_handle(c, client), last = choose_below(c, 24);
        begin(client, last < 12 ? 0 : TD_FLAG_CONSUME(0), 3, id);
        put(client, handle);
        put(client, last % 12);
        if (last >= 12)
            client->used &= ~(1u << handle % 32);
        break;
    }
    case TD_R_UPLOAD:
        put_upload(c, client);
        break;
    case TD_R_BACKWARD:
        begin(client, 0, 5, id);
        put(client, choose_handle(c, client));
        if (choose(c) & 1)
            put(client, choose_handle(c, client));
        else
            client->at = td_write_nil(client->at);
        client->at = td_write_bool(client->at, choose(c) & 1);
        client->at = td_write_bool(client->at, choose(c) & 1);
        break;
    case TD_R_GRADS:
        put_grads(c, client);
        break;
    case TD_R_HOOK:
        put_hook(c, client);
        break;
    case TD_R_ANOMALY:
        begin(client, 0, 2, id);
        client->at = td_write_bool(client->at, choose(c) & 3);
        break;
    case TD_R_GRAD:
        begin(client, 0, 3, id);
        put(client, choose_out(c, client));
        put(client, choose_handle(c, client));
        break;
    case TD_R_RETAIN_GRAD:
        begin(client, 0, 2, id);
        put(client, choose_handle(c, client));
        break;
    case TD_R_REQUIRES_GRAD:
        begin(client, 0, 3, id);
        put(client, choose_handle(c, client));
        client->at = td_write_bool(client->at, choose(c) & 1);
        break;
    case TD_R_SITE:
    case TD_R_NAME:
        put_text_request(c, client, id);
        break;
    case TD_R_SEED:
        begin(client, 0, 2, id);
        put(client, choose(c));
        break;
    case TD_R_STATUS: /* large, and nothing in it is the input's */
    case TD_R_TABLE:
    case TD_R_GOODBYE:
        if (choose(c) < 250)
            return;
        begin(client, 0, 1, id);
        break;
    default:
        begin(client, 0, 1, id);
    }
}

/* Bytes as they stand in the input, or a request that is all right but for one of them. */
static void put_garbage(struct choices *c, struct client *client)
{
    uint32_t bytes = choose_below(c, 24);
    uint8_t *start = client->at;
    if (bytes & 1) {
        put_op(c, client, ops[choose_below(c, op_count)]);
        start[choose(c) % (client->at - start)] ^= (uint8_t)(1u << choose_below(c, 8));
        return;
    }
    for (; bytes > 0; bytes--)
        *client->at++ = choose(c);
}

static void put_request(struct choices *c, struct client *client)
{
    uint8_t kind = choose(c);
    if (kind < 176)
        put_op(c, client, ops[kind % op_count]);
    else if (kind < 240)
        put_control(c, client);
    else if (kind < 246)
        put_training(c, client);
    else if (kind < 250) /* of those that kind itself cannot reach, too */
        put_op(c, client, ops[(176 + choose(c)) % op_count]);
    else if (kind < 253)
        put_loss_grads(c, client);
    else
        put_garbage(c, client);
}

/* ---- frames ---- */

static void send_urgent(struct choices *c, struct client *client)
{
    uint8_t frame[16], *at = td_write_nil(frame + TD_FRAME_HEADER);
    at = td_write_uint(td_write_uint(at, 1 + choose_below(c, 4)), choose(c) % 8);
    td_write_be32(frame, (uint32_t)(at - frame - TD_FRAME_HEADER));
    harness_send(client->line, frame, (size_t)(at - frame));
}

/* Sends the frame in the making, whole or in pieces, with turns between them or none. */
static void send_frame(struct choices *c, struct client *client)
{
    size_t bytes = (size_t)(client->at - client->out), sent = 0;
    uint8_t way = choose(c);
    td_write_be32(client->out, (uint32_t)(bytes - TD_FRAME_HEADER) + (way == 255) - (way == 254));
    if (way >= 192) {
        size_t piece = 1 + choose(c);
        for (; sent + piece < bytes && way & 1; sent += piece) {
            harness_send(client->line, client->out + sent, piece);
            harness_turn(&harness);
        }
    }
    harness_send(client->line, client->out + sent, bytes - sent);
    client->line->stalled = (way & 0x30) == 0x30;
    if (way & 8)
        send_urgent(c, client);
    for (int turns = way & 4 ? 0 : 1 + (way & 3); turns > 0; turns--)
        harness_turn(&harness);
    client->at = td_write_uint(client->out + TD_FRAME_HEADER, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct choices c = {data, data + bytes};
    for (int k = 0; k < 2; k++) {
        clients[k].at = td_write_uint(clients[k].out + TD_FRAME_HEADER, 0);
        clients[k].used = 0;
        clients[k].line = harness_open(&harness);
        HOLDS(clients[k].line);
    }
    struct client *client = &clients[0];
    for (int requests = 0; requests < REQUESTS_MAX && c.at < c.end; requests++) {
        put_request(&c, client);
        uint8_t next = choose(&c);
        if (next < 160 && client->at - client->out < FRAME_ROOM)
            continue;
        send_frame(&c, client);
        client = &clients[next >= 240];
    }
    for (int k = 0; k < 2; k++)
        send_frame(&c, &clients[k]);
    if (choose(&c) & 1)
        harness_run(&harness);
    const char *left = harness_end(&harness);
    if (left) {
        fprintf(stderr, "%s: %zu bytes of the device\n", left, harness.worker.pool.used_bytes);
        if (__lsan_do_leak_check) /* says who took what is lost */
            __lsan_do_leak_check();
    }
    HOLDS(!left);
    return 0;
}
