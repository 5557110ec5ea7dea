/* The graph of a tensor as the daemon tells it, counted and as text. Nothing in the answer is trusted.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lines of a summary in the text. */
#define SUMMARY_LINES 10
#define LABEL_BYTES (48 + TD_NAME_BYTES)

struct answer {
    void *map;
    size_t bytes;
    int64_t nodes, leaves, kept;
    struct td_reader parts; /* the ops, then the call sites, then the listing */
};

static bool take_heads(struct answer *a, struct cause **error)
{
    struct td_reader *r = &a->parts;
    *r = td_reader_of(a->map, a->bytes);
    r->failed |= td_read_array(r) < 7;
    if (!td_read_nil(r)) {
        *error = reply_error(r);
        return *error != NULL;
    }
    a->nodes = (int64_t)td_read_uint(r);
    a->leaves = (int64_t)td_read_uint(r);
    a->kept = (int64_t)td_read_uint(r);
    return !r->failed;
}

/* The answer about x, whose map is to be freed; false after an error, which has been raised. */
static bool ask(td_origin origin, td_tensor x, const char *name, uint64_t limit, struct answer *a)
{
    struct td_session *s = x.session;
    struct cause *error = NULL;
    *a = (struct answer){0};
    if (!query_begin(origin, x, name, true))
        return false;
    struct wait wait = {.map = &a->map, .map_bytes = &a->bytes};
    request_numbers(s, site_number(s, origin.where), TD_R_GRAPH, 2, (uint64_t[]){x.handle, limit});
    wait.request = s->wire.requests;
    bool there = !s->dead && connection_wait(s, &wait) && a->map;
    if (there && !take_heads(a, &error)) {
        TD_NO_FAILURE(failure);
        td_fail(&failure, TD_E_PROTOCOL, "%s: the daemon sent a graph that cannot be read", name);
        error = cause_new(&failure, name, origin.where, s->wire.requests);
    }
    error_raise(s, error ? error : wait.error);
    there &= !error && !wait.error;
    cause_unref(error);
    cause_unref(wait.error);
    query_end(origin, x);
    if (!there)
        free(a->map);
    return there;
}

/* ---- counted ---- */

static int by_weight(const void *a, const void *b)
{
    const td_graph_part *p = a, *q = b;
    if (p->bytes != q->bytes)
        return p->bytes < q->bytes ? 1 : -1;
    return p->nodes == q->nodes ? strcmp(p->name, q->name) : p->nodes < q->nodes ? 1 : -1;
}

/* Parts with their names behind room; the end of these. */
static char *take_parts(struct td_reader *r, uint32_t count, td_graph_part *parts, char *names)
{
    for (uint32_t k = 0; k < count; k++) {
        uint32_t bytes = 0, members = td_read_array(r);
        const char *name = td_read_text(r, &bytes);
        memcpy(names, name ? name : "", bytes);
        names[bytes] = 0;
        parts[k] = (td_graph_part){names, (int64_t)td_read_uint(r), 0};
        parts[k].bytes = (int64_t)td_read_uint(r);
        r->failed |= members != 3;
        names += bytes + 1;
    }
    return names;
}

/* In one piece: as long as the answer, and a byte more for each name, for which it has one at least. */
static td_graph *graph_of(struct answer *a)
{
    struct td_reader *r = &a->parts, ahead = *r;
    uint32_t ops = td_read_array(&ahead);
    for (uint32_t k = 0; k < ops && !ahead.failed; k++)
        td_read_skip(&ahead);
    uint32_t lines = td_read_array(&ahead);
    size_t parts = ahead.failed ? 0 : (size_t)ops + lines;
    td_graph *graph = ahead.failed ? NULL : calloc(1, sizeof *graph + parts * sizeof(td_graph_part) + 2 * a->bytes);
    if (!graph)
        return NULL;
    td_graph_part *part = (td_graph_part *)(graph + 1);
    *graph = (td_graph){a->nodes, a->leaves, a->kept, ops, lines, part, part + ops};
    char *names = (char *)(part + parts);
    td_read_array(r);
    names = take_parts(r, ops, part, names);
    td_read_array(r);
    take_parts(r, lines, part + ops, names);
    if (r->failed) {
        free(graph);
        return NULL;
    }
    qsort(part, ops, sizeof *part, by_weight);
    qsort(part + ops, lines, sizeof *part, by_weight);
    return graph;
}

static td_graph *graph_from(td_origin origin, td_session *s, struct answer *a, const char *name)
{
    td_graph *graph = graph_of(a);
    if (graph)
        return graph;
    TD_NO_FAILURE(failure);
    td_fail(&failure, TD_E_PROTOCOL, "%s: the daemon sent a graph that cannot be read, or there is no memory", name);
    session_enter(s);
    cause_unref(error_make(s, &failure, name, origin));
    session_leave(s);
    return NULL;
}

td_graph *td_graph_info_at(td_origin origin, td_tensor x)
{
    struct answer a;
    if (!ask(origin, x, "graph_info", 0, &a))
        return NULL;
    td_graph *graph = graph_from(origin, x.session, &a, "graph_info");
    free(a.map);
    return graph;
}

/* ---- as text ---- */

static const char *plural(int64_t count)
{
    return count == 1 ? "" : "s";
}

/* "1 leaf", "2 leaves" */
static void print_leaves(FILE *out, int64_t count)
{
    fprintf(out, "%lld %s", (long long)count, count == 1 ? "leaf" : "leaves");
}

/* [name, op, call site, dtype, shape, bytes, walked, inputs], as a line. False at a leaf, which is not printed unless
 * leaves are. */
static bool print_node(FILE *out, struct td_reader *r, uint32_t place, bool leaves)
{
    uint32_t name_bytes = 0, op_bytes = 0, site_bytes = 0;
    char label[LABEL_BYTES], shape[TD_SHAPE_TEXT];
    int64_t sizes[TD_RANK_MAX] = {0};
    r->failed |= td_read_array(r) != 8;
    const char *name = td_read_text(r, &name_bytes), *op = td_read_text(r, &op_bytes),
               *site = td_read_text(r, &site_bytes);
    bool leaf = op_bytes == 0;
    uint32_t dtype = (uint32_t)td_read_uint(r), rank = td_read_array(r);
    r->failed |= rank > TD_RANK_MAX;
    for (uint32_t d = 0; d < rank && !r->failed; d++)
        r->failed |= !td_take_int(r, &sizes[d]);
    uint64_t kept = td_read_uint(r);
    bool any = false, walked = td_read_bool(r), shown = !r->failed && leaf == leaves;
    uint32_t inputs = td_read_array(r);
    if (shown) {
        snprintf(label, sizeof label, name_bytes ? "%.*s \"%.*s\"" : "%.*s", leaf ? 4 : (int)op_bytes,
                 leaf ? "leaf" : op, (int)name_bytes, name);
        fprintf(out, leaf ? "%5u  %-22s %s %s" : "%5u  %-22s %s %-14s", place, label, td_dtype_name((uint8_t)dtype),
                td_shape_text((int)rank, sizes, shape, sizeof shape));
    }
    for (uint32_t k = 0; k < inputs && !r->failed; k++) {
        if (td_read_nil(r))
            continue;
        uint64_t input = td_read_uint(r);
        if (shown)
            fprintf(out, "%s%llu", any ? ", " : "  of ", (unsigned long long)input);
        any = true;
    }
    if (shown) {
        if (kept)
            fprintf(out, "  keeps %llu bytes", (unsigned long long)kept);
        if (walked)
            fputs("  walked", out);
        fprintf(out, "%s%.*s\n", site_bytes ? "  " : "", (int)site_bytes, site);
    }
    return leaf;
}

static void print_more(FILE *out, int64_t left, const char *of)
{
    if (left > 0)
        fprintf(out, "       and %lld %s%s more\n", (long long)left, of, plural(left));
}

static void print_listing(FILE *out, const struct answer *a)
{
    struct td_reader first = a->parts, r = first;
    uint32_t count = td_read_array(&r), ops = 0;
    for (uint32_t k = 0; k < count && !r.failed; k++)
        ops += !print_node(out, &r, k, false);
    print_more(out, a->nodes - ops, "op");
    r = first;
    td_read_array(&r);
    for (uint32_t k = 0; k < count && !r.failed; k++)
        print_node(out, &r, k, true);
    if (a->leaves > count - ops) {
        fputs("       and ", out);
        print_leaves(out, a->leaves - (count - ops));
        fputs(" more\n", out);
    }
}

static void print_summary(FILE *out, const char *title, int64_t count, const td_graph_part *parts)
{
    fprintf(out, "%s\n", title);
    for (int64_t k = 0; k < count && k < SUMMARY_LINES; k++)
        fprintf(out, "       %-24s %6lld op%s %12lld bytes\n", *parts[k].name ? parts[k].name : "(unknown)",
                (long long)parts[k].nodes, plural(parts[k].nodes), (long long)parts[k].bytes);
    print_more(out, count - SUMMARY_LINES, "line");
}

static void print_graph(FILE *out, const struct answer *a, const td_graph *graph)
{
    fprintf(out, "graph: %lld op%s, ", (long long)graph->nodes, plural(graph->nodes));
    print_leaves(out, graph->leaves);
    fprintf(out, ", %lld bytes kept\n", (long long)graph->bytes);
    print_listing(out, a);
    if (graph->nodes) {
        print_summary(out, "by op", graph->op_count, graph->ops);
        print_summary(out, "by line", graph->line_count, graph->lines);
    }
}

static char *text_of(td_origin origin, td_tensor x, const char *name, const struct td_graph_text_keywords *keywords)
{
    struct answer a;
    int64_t limit = keywords ? keywords->limit : TD_GRAPH_LISTED;
    char *text = NULL;
    size_t bytes;
    if (!ask(origin, x, name,
             limit < 0                          ? 0
             : (uint64_t)limit < TD_HANDLES_MAX ? (uint64_t)limit
                                                : TD_HANDLES_MAX - 1,
             &a))
        return NULL;
    td_graph *graph = graph_from(origin, x.session, &a, name);
    FILE *out = graph ? open_memstream(&text, &bytes) : NULL;
    if (out) {
        print_graph(out, &a, graph);
        fclose(out);
    }
    free(graph);
    free(a.map);
    return text;
}

char *td_graph_text_at(td_origin origin, td_tensor x, const struct td_graph_text_keywords *keywords)
{
    return text_of(origin, x, "graph_text", keywords);
}

void td_graph_print_at(td_origin origin, td_tensor x, const struct td_graph_text_keywords *keywords)
{
    char *text = text_of(origin, x, "graph_print", keywords);
    if (text)
        fputs(text, stdout);
    free(text);
}

td_graph *(td_graph_info)(td_tensor x)
{
    return td_graph_info_at((td_origin){0}, x);
}

char *(td_graph_text)(td_tensor x, const struct td_graph_text_keywords *keywords)
{
    return td_graph_text_at((td_origin){0}, x, keywords);
}

void(td_graph_print)(td_tensor x, const struct td_graph_text_keywords *keywords)
{
    td_graph_print_at((td_origin){0}, x, keywords);
}
