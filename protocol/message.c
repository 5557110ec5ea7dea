/* Messages. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message.h"

#include <inttypes.h>
#include <string.h>

size_t td_hello_encode(const struct td_hello *hello, uint8_t *at)
{
    uint8_t *start = at;
    at = td_write_array(at, hello->device[0] ? 8 : hello->purpose ? 7 : 6);
    at = td_write_text(at, TD_MAGIC, sizeof TD_MAGIC - 1);
    at = td_write_uint(at, hello->version_min);
    at = td_write_uint(at, hello->version_max);
    at = td_write_uint(at, hello->ops_hash);
    at = td_write_uint(at, hello->life);
    at = td_write_text(at, hello->program, (uint32_t)strnlen(hello->program, TD_NAME_BYTES - 1));
    if (hello->purpose || hello->device[0])
        at = td_write_uint(at, hello->purpose);
    if (hello->device[0])
        at = td_write_text(at, hello->device, (uint32_t)strnlen(hello->device, TD_DEVICE_BYTES - 1));
    return (size_t)(at - start);
}

/* Takes a text, cut to size. It goes into logs: what is no plain character becomes '?'. */
static void take_plain(struct td_reader *r, char *to, uint32_t size)
{
    uint32_t length;
    const char *text = td_read_text(r, &length);
    for (uint32_t i = 0; text && i < length && i < size - 1; i++)
        to[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
}

int td_hello_decode(const void *data, size_t bytes, struct td_hello *hello, struct td_failure *failure)
{
    struct td_reader r = td_reader_of(data, bytes);
    uint32_t length, elements = td_read_array(&r);
    const char *magic = td_read_text(&r, &length);
    if (r.failed || length != sizeof TD_MAGIC - 1 || memcmp(magic, TD_MAGIC, length))
        return td_fail(failure, TD_E_PROTOCOL, "the first frame is not a HELLO of tensord");
    *hello = (struct td_hello){0};
    hello->version_min = td_read_u32(&r);
    hello->version_max = td_read_u32(&r);
    if (r.failed)
        return td_fail(failure, TD_E_PROTOCOL, "the HELLO has no version range");
    /* What comes after the versions may differ between them, so the versions are looked at first. */
    if (hello->version_min > TD_PROTOCOL_MAX || hello->version_max < TD_PROTOCOL_MIN) {
        td_fail(failure, TD_E_VERSION,
                "the client speaks protocol versions %" PRIu32 " to %" PRIu32 ", the daemon %d to %d",
                hello->version_min, hello->version_max, TD_PROTOCOL_MIN, TD_PROTOCOL_MAX);
        return td_hint(failure, "Install the same release of tensord on both sides.");
    }
    hello->ops_hash = td_read_uint(&r);
    hello->life = td_read_uint(&r);
    take_plain(&r, hello->program, sizeof hello->program);
    hello->purpose = elements > 6 ? td_read_u32(&r) : TD_PURPOSE_SESSION;
    if (elements > 7)
        take_plain(&r, hello->device, sizeof hello->device);
    if (r.failed || elements < 6)
        return td_fail(failure, TD_E_PROTOCOL, "the HELLO is cut short, or its parts are of another type");
    if (hello->purpose >= TD_PURPOSES)
        return td_fail(failure, TD_E_VERSION,
                       "the client comes for a purpose, %" PRIu32 ", that the daemon does not know", hello->purpose);
    return TD_E_OK;
}

size_t td_call_bound(int in_count)
{
    return 64 + (size_t)in_count * (TD_WIRE_MAX + 1) + TD_ATTR_SLOTS * TD_WIRE_MAX;
}

static uint8_t *encode_input(uint8_t *at, const struct td_input *in)
{
    if (in->kind == TD_INPUT_HANDLE)
        return td_write_uint(at, in->handle);
    return in->kind == TD_INPUT_NUMBER ? td_write_number(td_write_array(at, 1), in->number) : td_write_nil(at);
}

static uint8_t *encode_attr(uint8_t *at, uint8_t kind, const void *slot)
{
    int64_t integer;
    double real;
    struct td_number number;
    struct td_dims dims;
    memcpy(&integer, slot, sizeof integer);
    switch (kind) {
    case TD_PARAM_REAL:
        memcpy(&real, slot, sizeof real);
        return td_write_real(at, real);
    case TD_PARAM_FLAG:
        return td_write_bool(at, integer != 0);
    case TD_PARAM_NUMBER:
        memcpy(&number, slot, sizeof number);
        return td_write_number(at, number);
    case TD_PARAM_SHAPE:
    case TD_PARAM_DIMS:
        memcpy(&dims, slot, sizeof dims);
        if (dims.count < 0)
            return td_write_nil(at);
        at = td_write_array(at, (uint32_t)dims.count);
        for (int64_t d = 0; d < dims.count; d++)
            at = td_write_int(at, dims.v[d]);
        return at;
    default:
        return td_write_int(at, integer);
    }
}

uint8_t *td_call_encode(uint8_t *at, const struct td_op *op, uint32_t flags, uint32_t site, const uint32_t *out,
                        const struct td_input *in, const uint16_t *list_counts, const void *attrs)
{
    const char *slot = attrs;
    at = td_write_uint(at, flags);
    at = td_write_uint(at, site);
    at = td_write_array(at, 1 + (uint32_t)td_op_named_outputs(op) + op->param_count);
    at = td_write_uint(at, op->id);
    for (int k = 0; k < td_op_named_outputs(op); k++)
        at = td_write_uint(at, out[k]);
    for (const struct td_param *p = op->params; p->kind; p++) {
        if (td_param_is_list(p->kind)) {
            at = td_write_array(at, *list_counts);
            for (int k = *list_counts++; k > 0; k--)
                at = encode_input(at, in++);
        } else if (td_param_is_tensor(p->kind)) {
            at = encode_input(at, in++);
        } else {
            at = encode_attr(at, p->kind, slot);
            slot += td_param_slots(p->kind) * 8;
        }
    }
    return at;
}

/* ---- decoding ---- */

struct decoding {
    struct td_reader *reader;
    struct td_call *call;
    struct td_failure *failure;
    const struct td_param *param;
};

static void misfit(struct decoding *d, const char *due)
{
    td_fail(d->failure, TD_E_ARGUMENT, "%s: parameter %s is not %s", d->call->op->name, d->param->name, due);
    td_read_skip(d->reader);
}

/* Takes an object of type INT; one beyond int64_t is a misfit of this request and not of the bytes. */
static bool take_int(struct decoding *d, int64_t *value)
{
    if (td_take_int(d->reader, value))
        return true;
    misfit(d, "an integer of 64 bits");
    return false;
}

/* Takes a bool, an integer or a real. */
static bool take_number(struct decoding *d, struct td_number *number)
{
    int64_t integer;
    *number = (struct td_number){0};
    if (td_read_type(d->reader) != TD_WIRE_INT) {
        *number = td_read_number(d->reader);
        return !d->reader->failed;
    }
    if (!take_int(d, &integer))
        return false;
    *number = (struct td_number){.category = TD_INTEGER, .i = integer};
    return true;
}

/* Takes one object. What cannot be a handle becomes UINT32_MAX: the lookup refuses it and names it. */
static uint32_t take_handle(struct td_reader *reader)
{
    int64_t handle = -1;
    if (!td_take_int(reader, &handle))
        td_read_skip(reader);
    return handle >= 0 && handle < TD_HANDLES_MAX ? (uint32_t)handle : UINT32_MAX;
}

static void decode_input(struct decoding *d)
{
    struct td_input *in = &d->call->in[d->call->in_count];
    enum td_wire_type type = td_read_type(d->reader);
    if (d->call->in_count == TD_INPUTS_MAX) {
        misfit(d, "within the limit of inputs");
        return;
    }
    if (type == TD_WIRE_INT) {
        in->kind = TD_INPUT_HANDLE;
        in->handle = take_handle(d->reader);
        d->call->in_count++;
    } else if (type == TD_WIRE_ARRAY && d->param->kind == TD_PARAM_NUM) {
        uint32_t count = td_read_array(d->reader);
        type = td_read_type(d->reader);
        if (count != 1 || (type != TD_WIRE_INT && type != TD_WIRE_REAL && type != TD_WIRE_BOOL)) {
            td_fail(d->failure, TD_E_ARGUMENT, "%s: parameter %s is not one number in an array", d->call->op->name,
                    d->param->name);
            while (count-- && !d->reader->failed)
                td_read_skip(d->reader);
            return;
        }
        struct td_number number;
        if (!take_number(d, &number))
            return;
        *in = (struct td_input){.kind = TD_INPUT_NUMBER, .number = number};
        d->call->in_count++;
    } else if (type == TD_WIRE_NIL && d->param->kind == TD_PARAM_OPT) {
        td_read_nil(d->reader);
        in->kind = TD_INPUT_NONE;
        d->call->in_count++;
    } else {
        misfit(d, d->param->kind == TD_PARAM_NUM ? "a tensor's handle or a number in an array" : "a tensor's handle");
    }
}

static void decode_list(struct decoding *d, uint16_t *list_count)
{
    *list_count = 0;
    if (td_read_type(d->reader) != TD_WIRE_ARRAY) {
        misfit(d, "a list of tensors");
        return;
    }
    uint32_t count = td_read_array(d->reader);
    if (count > TD_LIST_MAX)
        td_fail(d->failure, TD_E_LIMIT, "%s: a list of %" PRIu32 " tensors; the limit is %d", d->call->op->name, count,
                TD_LIST_MAX);
    for (uint32_t k = 0; k < count && !d->reader->failed; k++) {
        if (k < TD_LIST_MAX && !d->failure->code)
            decode_input(d);
        else
            td_read_skip(d->reader);
    }
    *list_count = (uint16_t)(count < TD_LIST_MAX ? count : TD_LIST_MAX);
}

static void decode_dims(struct decoding *d, struct td_dims *dims)
{
    dims->count = -1;
    if (d->param->kind == TD_PARAM_DIMS && td_read_nil(d->reader))
        return;
    if (td_read_type(d->reader) != TD_WIRE_ARRAY) {
        misfit(d, "a list of integers");
        return;
    }
    uint32_t count = td_read_array(d->reader);
    if (count > TD_RANK_MAX)
        td_fail(d->failure, TD_E_LIMIT, "%s: %s has %" PRIu32 " entries; the limit is %d", d->call->op->name,
                d->param->name, count, TD_RANK_MAX);
    for (uint32_t k = 0; k < count && !d->reader->failed; k++) {
        if (k >= TD_RANK_MAX || td_read_type(d->reader) != TD_WIRE_INT)
            misfit(d, "a list of integers");
        else
            take_int(d, &dims->v[k]);
    }
    dims->count = count < TD_RANK_MAX ? count : TD_RANK_MAX;
}

static void decode_attr(struct decoding *d, void *slot)
{
    enum td_wire_type type = td_read_type(d->reader);
    int64_t integer = 0;
    struct td_number number;
    struct td_dims dims = {0};
    double real;
    switch (d->param->kind) {
    case TD_PARAM_REAL:
        if (type != TD_WIRE_REAL && type != TD_WIRE_INT) {
            misfit(d, "a number");
            return;
        }
        if (!take_number(d, &number))
            return;
        real = td_number_real(number);
        memcpy(slot, &real, sizeof real);
        return;
    case TD_PARAM_NUMBER:
        if (type != TD_WIRE_REAL && type != TD_WIRE_INT && type != TD_WIRE_BOOL) {
            misfit(d, "a number");
            return;
        }
        if (take_number(d, &number))
            memcpy(slot, &number, sizeof number);
        return;
    case TD_PARAM_SHAPE:
    case TD_PARAM_DIMS:
        decode_dims(d, &dims);
        memcpy(slot, &dims, sizeof dims);
        return;
    case TD_PARAM_FLAG:
        if (type != TD_WIRE_BOOL) {
            misfit(d, "true or false");
            return;
        }
        integer = td_read_bool(d->reader);
        break;
    default:
        if (type != TD_WIRE_INT) {
            misfit(d, "an integer");
            return;
        }
        if (!take_int(d, &integer))
            return;
        if (d->param->kind == TD_PARAM_DTYPE && integer != TD_DTYPE_NONE &&
            (integer < 0 || !td_dtype_known((uint64_t)integer)))
            td_fail(d->failure, TD_E_DTYPE, "%s: element type %" PRId64 " does not exist", d->call->op->name, integer);
    }
    memcpy(slot, &integer, sizeof integer);
}

int td_call_decode(struct td_reader *reader, const struct td_op *op, uint32_t elements, struct td_call *call,
                   struct td_failure *failure)
{
    struct decoding d = {reader, call, failure, NULL};
    char *slot = (char *)call->attrs;
    uint16_t *list_count = call->list_counts;
    uint32_t due = 1 + (uint32_t)td_op_named_outputs(op);
    call->op = op;
    call->in_count = 0;
    if (elements < due + op->param_count) /* some keyword is left out */
        td_op_defaults(op, call->attrs);
    for (uint32_t k = 0; k + 1 < due; k++)
        call->out[k] = k + 1 < elements ? take_handle(reader) : UINT32_MAX;
    for (d.param = op->params; d.param->kind && !reader->failed; d.param++, due++) {
        bool given = due < elements;
        /* A row can grow by keywords at its end: requests of before the growth leave them out. */
        if (!given && !d.param->keyword) {
            return td_fail(failure, TD_E_ARGUMENT, "%s: %" PRIu32 " elements in the request; parameter %s is missing",
                           op->name, elements, d.param->name);
        }
        if (td_param_is_list(d.param->kind))
            decode_list(&d, list_count++);
        else if (td_param_is_tensor(d.param->kind))
            decode_input(&d);
        else if (given)
            decode_attr(&d, slot);
        slot += td_param_slots(d.param->kind) * 8;
    }
    if (due < elements)
        td_fail(failure, TD_E_ARGUMENT, "%s: %" PRIu32 " elements in the request where at most %" PRIu32 " are due",
                op->name, elements, due);
    for (; due < elements && !reader->failed; due++)
        td_read_skip(reader);
    return failure->code;
}
