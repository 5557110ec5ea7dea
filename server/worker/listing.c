/* What a program consists of. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/listing.h"

#include "server/worker/decoder.h"
#include "server/worker/reply.h"

static void pack_handles(msgpack_packer *packer, const uint32_t *handles, int count)
{
    msgpack_pack_array(packer, (size_t)count);
    for (int k = 0; k < count; k++)
        if (handles[k] == UINT32_MAX)
            msgpack_pack_nil(packer);
        else
            msgpack_pack_uint32(packer, handles[k]);
}

/* [name, call site, inputs, results, left out] of the request that the reader is at, which is taken. Numbers are no
 * inputs. */
static void pack_request(msgpack_packer *packer, struct session *session, struct td_reader *reader, bool left_out)
{
    struct td_call *call = &session->worker->call;
    uint32_t in[LISTING_MAX];
    int in_count = 0;
    TD_NO_FAILURE(ignored);
    td_read_u32(reader);
    uint32_t site = td_read_u32(reader);
    struct td_reader array = *reader;
    uint32_t elements = td_read_array(reader);
    uint64_t id = td_read_uint(reader);
    const struct td_op *op = td_op_of(id);
    msgpack_pack_array(packer, 5);
    reply_text(packer, op ? op->name : control_name(id));
    reply_text(packer, session_site(session, site));
    if (!op) {
        pack_handles(packer, NULL, 0);
        pack_handles(packer, NULL, 0);
        msgpack_pack_false(packer);
        *reader = array;
        td_read_skip(reader);
        return;
    }
    td_call_decode(reader, op, elements, call, &ignored);
    for (int k = 0; k < call->in_count && in_count < LISTING_MAX; k++)
        if (call->in[k].kind == TD_INPUT_HANDLE)
            in[in_count++] = call->in[k].handle;
    pack_handles(packer, in, in_count);
    pack_handles(packer, op->kind == TD_INPLACE ? in : call->out, op->kind == TD_INPLACE ? 1 : td_op_named_outputs(op));
    if (left_out)
        msgpack_pack_true(packer);
    else
        msgpack_pack_false(packer);
}

static void pack_captures(msgpack_packer *packer, const struct program *program)
{
    size_t count = program->capture_count < LISTING_MAX ? program->capture_count : LISTING_MAX;
    msgpack_pack_array(packer, count);
    for (size_t k = 0; k < count; k++) {
        const struct tensor *tensor = program->captures[k].tensor;
        msgpack_pack_array(packer, 2);
        msgpack_pack_uint32(packer, program->captures[k].handle);
        reply_text(packer, tensor && tensor->name ? tensor->name : "");
    }
}

void listing_reply(struct session *session, const struct program *program, uint32_t limit)
{
    msgpack_packer packer;
    struct td_reader reader = td_reader_of(program->bytes, program->size);
    uint32_t count = limit < LISTING_MAX ? limit : LISTING_MAX;
    if (program->requests < count)
        count = program->cause ? 0 : program->requests;
    reply_map_begin(session, &packer);
    msgpack_pack_array(&packer, 11);
    reply_error(&packer, program->cause);
    msgpack_pack_uint64(&packer, program->requests);
    msgpack_pack_uint64(&packer, program->size);
    msgpack_pack_uint64(&packer, program->capture_count);
    msgpack_pack_uint64(&packer, program->runs);
    msgpack_pack_uint64(&packer, program->differed);
    msgpack_pack_uint32(&packer, program->left_out_count);
    pack_handles(&packer, program->in, program->in_count);
    pack_handles(&packer, program->out, program->out_count);
    pack_captures(&packer, program);
    msgpack_pack_array(&packer, count);
    for (uint32_t k = 0, left_out = 0; k < count; k++) {
        bool left = left_out < program->left_out_count && program->left_out[left_out] == k;
        left_out += left;
        pack_request(&packer, session, &reader, left);
    }
    reply_end(session);
}

void listing_failed(struct session *session, const struct cause *cause)
{
    msgpack_packer packer;
    reply_map_begin(session, &packer);
    msgpack_pack_array(&packer, 1);
    reply_error(&packer, cause);
    reply_end(session);
}
