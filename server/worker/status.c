/* What the daemon tells about itself. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/status.h"

#include <string.h>
#include <unistd.h>

#include "server/worker/reply.h"

static void put_text(msgpack_packer *packer, const char *text)
{
    msgpack_pack_str(packer, strlen(text));
    msgpack_pack_str_body(packer, text, strlen(text));
}

static void put_number(msgpack_packer *packer, const char *key, uint64_t value)
{
    put_text(packer, key);
    msgpack_pack_uint64(packer, value);
}

static void put_entry(msgpack_packer *packer, const char *key, const char *value)
{
    put_text(packer, key);
    put_text(packer, value);
}

static void put_device(msgpack_packer *packer, const struct worker *worker)
{
    put_text(packer, "device");
    msgpack_pack_map(packer, 9);
    put_entry(packer, "name", worker->device->name);
    put_entry(packer, "description", worker->device->description);
    put_number(packer, "memory_bytes", worker->device->memory_bytes);
    put_number(packer, "limit_bytes", worker->pool.limit_bytes);
    put_number(packer, "pool_bytes", worker->pool.reserved_bytes);
    put_number(packer, "used_bytes", worker->pool.used_bytes);
    put_number(packer, "peak_bytes", worker->pool.peak_bytes);
    put_number(packer, "copied_bytes", worker->copied_bytes);
    put_number(packer, "carried_bytes", worker_carried_bytes(worker));
}

static void put_session(msgpack_packer *packer, const struct session *session)
{
    const struct blackbox_session *card = session->card;
    msgpack_pack_map(packer, 11);
    put_number(packer, "id", session->number);
    put_number(packer, "pid", session->pid);
    put_number(packer, "uid", session->uid);
    put_entry(packer, "program", session->program);
    put_number(packer, "tensors", session->own.count);
    put_number(packer, "bytes", session_bytes(session));
    put_number(packer, "copied_bytes", session->copied_bytes);
    put_number(packer, "requests", session->executed);
    put_number(packer, "latency_p50_us", card ? (uint64_t)blackbox_latency_us(card, 0.5) : 0);
    put_number(packer, "latency_p99_us", card ? (uint64_t)blackbox_latency_us(card, 0.99) : 0);
    put_number(packer, "age_s", (uv_hrtime() - session->started_ns) / 1000000000u);
}

void status_reply(struct session *session)
{
    const struct worker *worker = session->worker;
    msgpack_packer packer;
    size_t count = 0;
    for (const struct session *s = worker->sessions; s; s = s->next)
        count += !s->closing;
    reply_map_begin(session, &packer);
    msgpack_pack_map(&packer, 8);
    put_entry(&packer, "version", TD_VERSION);
    put_number(&packer, "protocol", TD_PROTOCOL_MAX);
    put_device(&packer, worker);
    put_number(&packer, "uptime_s", (uv_hrtime() - worker->started_ns) / 1000000000u);
    put_number(&packer, "life", worker->life);
    put_number(&packer, "pid", (uint64_t)getpid());
    put_number(&packer, "session", session->number);
    put_text(&packer, "sessions");
    msgpack_pack_array(&packer, count);
    for (const struct session *s = worker->sessions; s; s = s->next)
        if (!s->closing)
            put_session(&packer, s);
    reply_end(session);
}

static void put_op(msgpack_packer *packer, const struct td_op *op)
{
    size_t params = 0;
    while (op->params[params].kind)
        params++;
    msgpack_pack_map(packer, 5);
    put_number(packer, "id", op->id);
    put_entry(packer, "name", op->name);
    put_entry(packer, "group", op->group);
    put_entry(packer, "doc", op->doc);
    put_text(packer, "params");
    msgpack_pack_array(packer, params);
    for (const struct td_param *p = op->params; p->kind; p++) {
        msgpack_pack_map(packer, 3);
        put_entry(packer, "name", p->name);
        put_number(packer, "kind", p->kind);
        put_entry(packer, "default", p->text ? p->text : "");
    }
}

void table_reply(struct session *session)
{
    msgpack_packer packer;
    size_t count = 0;
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++)
        count += td_op_of((uint64_t)id) != NULL;
    reply_map_begin(session, &packer);
    msgpack_pack_array(&packer, count);
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++)
        if (td_op_of((uint64_t)id))
            put_op(&packer, td_op_of((uint64_t)id));
    reply_end(session);
}
