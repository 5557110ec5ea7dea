/* Calls with lists, and cutting into several: the lists are laid out flat for call.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A call laid out flat. */
struct flat {
    td_operand *in;
    bool *used_up;
    int count;
    uint16_t list_counts[TD_PARAMS_MAX];
};

/* What td_is_call sees of an argument, of the text from start to end. */
static bool is_call(const char *start, const char *end)
{
    while (start < end && *start == ' ')
        start++;
    while (start < end && end[-1] == ' ')
        end--;
    return end - start > 4 && !strncmp(start, "td_", 3) && end[-1] == ')' && !memchr(start, '?', (size_t)(end - start));
}

/* The end of a literal that begins at at: its last quote. */
static const char *skip_literal(const char *at)
{
    char quote = *at++;
    while (*at && *at != quote)
        at += *at == '\\' && at[1] ? 2 : 1;
    return *at ? at : at - 1;
}

void list_calls(const td_list *list, bool *calls)
{
    const char *start = list->text;
    int64_t items = 0;
    int depth = 0;
    memset(calls, 0, (size_t)list->count * sizeof *calls);
    for (const char *at = start; at; at++) {
        if (*at == '"' || *at == '\'')
            at = skip_literal(at);
        depth += (*at == '(' || *at == '[' || *at == '{') - (*at == ')' || *at == ']' || *at == '}');
        if (*at && (*at != ',' || depth))
            continue;
        if (items < list->count)
            calls[items] = is_call(start, at);
        items++;
        if (!*at)
            break;
        start = at + 1;
    }
    if (items != list->count)
        memset(calls, 0, (size_t)list->count * sizeof *calls);
}

/* One too many is enough for the call to be refused. */
static int64_t clipped(int64_t count)
{
    return count < 0 ? 0 : count > TD_LIST_MAX ? TD_LIST_MAX + 1 : count;
}

static void lay_out(const struct client_op *given, struct flat *flat)
{
    const td_list *written = given->lists;
    int single = 0, list = 0, tensors = 0;
    for (const struct td_param *p = td_op_of(given->id)->params; p->kind; p++) {
        if (!td_param_is_tensor(p->kind))
            continue;
        if (!td_param_is_list(p->kind)) {
            flat->used_up[flat->count] = given->origin.consume >> tensors & 1;
            flat->in[flat->count++] = given->in[single++];
        } else {
            td_list items = {clipped(written->count), written->items, written->text};
            list_calls(&items, flat->used_up + flat->count);
            for (int64_t k = 0; k < items.count; k++)
                flat->in[flat->count++] = td_operand_of_tensor(items.items[k]);
            flat->list_counts[list++] = (uint16_t)items.count;
            written++;
        }
        tensors++;
    }
}

void client_lists(const struct client_op *given, td_tensor *results)
{
    struct flat flat = {0};
    struct client_op call = *given;
    size_t room = (size_t)given->in_count + 1, list = 0;
    for (const struct td_param *p = td_op_of(given->id)->params; p->kind; p++)
        if (td_param_is_list(p->kind))
            room += (size_t)clipped(given->lists[list++].count);
    flat.in = malloc(room * sizeof *flat.in);
    flat.used_up = malloc(room * sizeof *flat.used_up);
    if (!flat.in || !flat.used_up)
        abort(); /* a few kilobytes are not to be had */
    lay_out(given, &flat);
    call.in = flat.in;
    call.in_count = flat.count;
    call.lists = NULL;
    call.list_counts = flat.list_counts;
    call.used_up = flat.used_up;
    client_ops(&call, results);
    free(flat.in);
    free(flat.used_up);
}

/* ---- cutting ---- */

/* What cannot be cut comes out as failed parts: narrow says why. */
int td_chunk_at(td_origin origin, td_tensor x, int64_t chunks, td_tensor *parts,
                const struct td_chunk_keywords *keywords)
{
    SPEAKS_FOR("chunk");
    int64_t dim = keywords ? keywords->dim : 0, size = 0, each = 0, count = chunks;
    if (chunks < 1 || chunks > INT_MAX) {
        struct td_failure failure = {0};
        struct entry *e = query_begin(origin, x, "chunk", false);
        if (!e)
            return 0;
        td_fail(&failure, TD_E_ARGUMENT, "chunk: %lld is not a number of parts", (long long)chunks);
        cause_unref(error_make(x.session, &failure, "chunk", origin));
        query_end(origin, x);
        return 0;
    }
    td_layout layout = td_layout_of_at((td_origin){origin.where, 0}, x);
    int d = td_wrap_dim(dim, layout.rank);
    if (d >= 0 && layout.rank && layout.shape[d]) {
        size = layout.shape[d];
        each = (size - 1) / chunks + 1;
        count = (size - 1) / each + 1;
    }
    for (int64_t k = 0; k < count; k++) {
        int64_t left = size - k * each;
        const struct td_narrow_attrs attrs = {.dim = dim, .start = k * each, .length = left < each ? left : each};
        const td_operand in = td_operand_of_tensor(x);
        uint32_t consume = k == count - 1 ? origin.consume : 0;
        parts[k] = client_op(&(struct client_op){
            .id = TD_OP_narrow, .origin = {origin.where, consume}, .in = &in, .in_count = 1, .attrs = &attrs});
    }
    return (int)count;
}

int(td_chunk)(td_tensor x, int64_t chunks, td_tensor *parts, const struct td_chunk_keywords *keywords)
{
    return td_chunk_at((td_origin){0}, x, chunks, parts, keywords);
}
