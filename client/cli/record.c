/* Records in words. SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/text.h"
#include "protocol/ops.h"

const char *request_name(uint16_t id)
{
    static const char *const requests[] = {
#define TD_REQUEST(id, name, ...) [id] = #name,
#include "protocol/requests.def"
    };
    const struct td_op *op = td_op_of(id);
    if (op)
        return op->name;
    return id < sizeof requests / sizeof *requests && requests[id] ? requests[id] : "?";
}

const char *outcome_name(uint8_t outcome)
{
    static const char *const names[] = {"started", "done", "failed"};
    return outcome < sizeof names / sizeof *names ? names[outcome] : "?";
}

uint32_t record_session(const union blackbox_copy *copy)
{
    switch ((enum blackbox_kind)copy->record.kind) {
    case BLACKBOX_OP:
        return copy->op.session;
    case BLACKBOX_ERROR:
        return copy->error.session;
    case BLACKBOX_OPEN:
    case BLACKBOX_CLOSE:
        return (uint32_t)copy->event.session;
    case BLACKBOX_SKIP:
        return copy->skip.session;
    case BLACKBOX_PAD:
        break;
    }
    return 0;
}

bool record_is_error(const union blackbox_copy *copy)
{
    return copy->record.kind == BLACKBOX_ERROR ||
           (copy->record.kind == BLACKBOX_OP && copy->op.flags & BLACKBOX_OP_FAILED);
}

/* A call site or message as it may be shown: the writer's own cleaning is not trusted with terminals. */
static const char *site_text(const struct blackbox *box, uint32_t id, char to[TD_SITE_BYTES])
{
    char given[TD_SITE_BYTES];
    return text_clean(to, TD_SITE_BYTES, blackbox_string(box, id, given, sizeof given), sizeof given);
}

/* ---- lines ---- */

/* Of the result (k = -1) or input k; "-" for an input that is no tensor. */
static void print_shape(FILE *out, const struct blackbox_op *op, int k)
{
    const uint32_t *sizes;
    int rank = blackbox_op_shape(op, k, &sizes);
    if (k >= 0 && !blackbox_op_inputs(op)[k]) {
        putc('-', out);
        return;
    }
    putc('[', out);
    for (int d = 0; d < rank; d++)
        fprintf(out, "%s%s%" PRIu32, d ? "," : "", sizes[d] == UINT32_MAX ? ">=" : "", sizes[d]);
    putc(']', out);
}

static void print_flags(FILE *out, const struct blackbox_op *op)
{
    static const struct {
        uint16_t flag;
        const char *name;
    } flags[] = {{BLACKBOX_OP_FAILED, "FAILED"},     {BLACKBOX_OP_VIEW, "view"},
                 {BLACKBOX_OP_IN_PLACE, "in place"}, {BLACKBOX_OP_LEAF, "leaf"},
                 {BLACKBOX_OP_STEP, "step"},         {BLACKBOX_OP_OFFLOADED, "device's thread"}};
    const char *before = "  (";
    for (size_t k = 0; k < sizeof flags / sizeof *flags; k++)
        if (op->flags & flags[k].flag) {
            fprintf(out, "%s%s", before, flags[k].name);
            before = ", ";
        }
    if (op->flags & (BLACKBOX_OP_NODE | BLACKBOX_OP_BACKWARD)) {
        fprintf(out, "%s%s %" PRIu32, before, op->flags & BLACKBOX_OP_BACKWARD ? "backward of node" : "node", op->node);
        before = ", ";
    }
    if (*before == ',')
        putc(')', out);
}

static void print_op(FILE *out, const struct blackbox *box, const struct blackbox_op *op)
{
    char site[TD_SITE_BYTES];
    fputs(request_name(op->op), out);
    for (int k = 0; k < op->in_count; k++) {
        fputs(!k ? " " : op->op == TD_OP_matmul ? " x " : ", ", out);
        print_shape(out, op, k);
    }
    if (op->out) {
        fputs(" -> ", out);
        print_shape(out, op, -1);
        fprintf(out, " %s", td_dtype_name(op->dtype));
    }
    if (op->duration_us)
        fprintf(out, "  %s", span_text(op->duration_us).s);
    if (*site_text(box, op->site, site))
        fprintf(out, "  %s", site);
    print_flags(out, op);
}

static void print_error(FILE *out, const struct blackbox *box, const struct blackbox_error *error)
{
    char site[TD_SITE_BYTES], message[TD_MESSAGE_BYTES];
    text_clean(message, sizeof message, error->message, sizeof error->message);
    fprintf(out, "ERROR %s: %s", td_error_name(error->code), message); /* which names the op */
    if (*site_text(box, error->site, site))
        fprintf(out, "  %s", site);
}

void record_print(FILE *out, const struct blackbox *box, const union blackbox_copy *copy)
{
    switch ((enum blackbox_kind)copy->record.kind) {
    case BLACKBOX_OP:
        print_op(out, box, &copy->op);
        break;
    case BLACKBOX_ERROR:
        print_error(out, box, &copy->error);
        break;
    case BLACKBOX_OPEN:
        fprintf(out, "opened by process %" PRIu32 " of %s", copy->event.pid, user_text(copy->event.uid).s);
        break;
    case BLACKBOX_CLOSE:
        fputs("closed", out);
        break;
    case BLACKBOX_SKIP:
        fprintf(out, "%" PRIu32 " ops more, too many to be written down", copy->skip.count);
        break;
    case BLACKBOX_PAD:
        break;
    }
    putc('\n', out);
}

/* ---- JSON ---- */

static void shape_json(struct json *json, const char *key, const struct blackbox_op *op, int k)
{
    const uint32_t *sizes;
    int rank = blackbox_op_shape(op, k, &sizes);
    json_open(json, key, '[');
    for (int d = 0; d < rank; d++)
        json_uint(json, NULL, sizes[d]);
    json_close(json, ']');
}

static void op_json(struct json *json, const struct blackbox_op *op)
{
    json_uint(json, "request", op->request);
    json_text(json, "name", request_name(op->op));
    json_open(json, "inputs", '[');
    for (int k = 0; k < op->in_count; k++)
        shape_json(json, NULL, op, k);
    json_close(json, ']');
    shape_json(json, "shape", op, -1);
    json_text(json, "dtype", td_dtype_name(op->dtype));
    json_uint(json, "bytes", op->bytes);
    json_uint(json, "duration_us", op->duration_us);
    json_uint(json, "node", op->node);
    json_bool(json, "backward", op->flags & BLACKBOX_OP_BACKWARD);
    json_bool(json, "failed", op->flags & BLACKBOX_OP_FAILED);
}

void record_json(struct json *json, const struct blackbox *box, const union blackbox_copy *copy)
{
    static const char *const kinds[] = {"pad", "op", "error", "open", "close", "skip"};
    char site[TD_SITE_BYTES], message[TD_MESSAGE_BYTES];
    json_text(json, "kind", kinds[copy->record.kind]);
    json_uint(json, "session", record_session(copy));
    if (copy->record.kind == BLACKBOX_OP) {
        op_json(json, &copy->op);
        json_text(json, "site", site_text(box, copy->op.site, site));
    } else if (copy->record.kind == BLACKBOX_ERROR) {
        json_uint(json, "request", copy->error.request);
        json_text(json, "name", request_name(copy->error.id));
        json_text(json, "code", td_error_name(copy->error.code));
        json_text(json, "message",
                  text_clean(message, sizeof message, copy->error.message, sizeof copy->error.message));
        json_text(json, "site", site_text(box, copy->error.site, site));
    } else if (copy->record.kind == BLACKBOX_SKIP) {
        json_uint(json, "ops", copy->skip.count);
    } else if (copy->record.kind == BLACKBOX_OPEN) {
        json_uint(json, "uid", copy->event.uid);
        json_uint(json, "pid", copy->event.pid);
    }
}
