/* td_print: tensors as PyTorch prints them (torch/_tensor_str.py with its default options), so that what a student
 * reads in a book is what stands on the screen. SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* PyTorch's defaults. */
#define PRECISION 4
#define THRESHOLD 1000 /* more elements are summarised */
#define EDGE_ITEMS 3   /* at each end of a summarised dimension */
#define LINE_WIDTH 80
#define INDENT 7 /* of "tensor(" */

/* A text that grows; without memory it stops growing. */
struct text {
    char *bytes;
    size_t used, size;
};

struct printer {
    struct text out;
    const struct td_meta *meta; /* of what is printed */
    const void *elements;       /* row by row: all of them, or the edges if summarised */
    int64_t kept[TD_RANK_MAX];  /* sizes of what is in elements */
    bool summarised, whole, scientific, floats;
    int width;
};

static void add(struct text *t, const char *bytes, size_t count)
{
    if (t->used + count + 1 > t->size) {
        size_t size = 2 * (t->used + count + 1);
        char *grown = realloc(t->bytes, size);
        if (!grown)
            return;
        t->bytes = grown;
        t->size = size;
    }
    memcpy(t->bytes + t->used, bytes, count);
    t->used += count;
    t->bytes[t->used] = 0;
}

static void add_spaces(struct text *t, int count)
{
    while (count-- > 0)
        add(t, " ", 1);
}

static void add_line(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_line(struct text *t, const char *format, ...)
{
    char line[TD_MESSAGE_BYTES + 64];
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    add(t, line, count < (int)sizeof line ? (size_t)count : sizeof line - 1);
}

/* ---- one element ---- */

static struct td_number number_at(const struct printer *p, int64_t index)
{
    return td_number_load(p->meta->dtype, (const char *)p->elements + (size_t)index * td_dtype_size(p->meta->dtype));
}

static double real_at(const struct printer *p, int64_t index)
{
    return number_at(p, index).f;
}

/* C prints -nan where Python prints nan. */
static int format_real(char *to, size_t size, const char *format, double value)
{
    return isnan(value) ? snprintf(to, size, "nan") : snprintf(to, size, format, PRECISION, value);
}

static int format_element(const struct printer *p, int64_t index, char *to, size_t size)
{
    if (p->meta->dtype == TD_BOOL)
        return snprintf(to, size, "%s", number_at(p, index).i ? "True" : "False");
    if (!p->floats)
        return snprintf(to, size, "%" PRId64, number_at(p, index).i);
    double value = real_at(p, index);
    if (p->scientific)
        return format_real(to, size, "%.*e", value);
    if (!p->whole)
        return format_real(to, size, "%.*f", value);
    if (isnan(value))
        return snprintf(to, size, "nan");
    return snprintf(to, size, isinf(value) ? "%.0f" : "%.0f.", value);
}

static int64_t kept_count(const struct printer *p)
{
    int64_t count = 1;
    for (int d = 0; d < p->meta->rank; d++)
        count *= p->kept[d];
    return count;
}

/* Decides how numbers are written, from all that will be seen. */
static void choose_format(struct printer *p)
{
    int64_t count = kept_count(p), finite = 0;
    double least = INFINITY, greatest = 0;
    char text[400]; /* 1e308 with %f */
    p->width = 1;
    p->whole = true;
    for (int64_t k = 0; p->floats && k < count; k++) {
        double value = real_at(p, k), size = fabs(value);
        if (!isfinite(value) || value == 0)
            continue;
        finite++;
        least = size < least ? size : least;
        greatest = size > greatest ? size : greatest;
        p->whole &= value == ceil(value);
    }
    if (p->floats && !finite)
        return;
    p->scientific = p->floats && (greatest / least > 1000 || greatest > 1e8 || (!p->whole && least < 1e-4));
    for (int64_t k = 0; k < count; k++) {
        if (p->floats && (!isfinite(real_at(p, k)) || real_at(p, k) == 0))
            continue;
        int width = format_element(p, k, text, sizeof text);
        p->width = width > p->width ? width : p->width;
    }
}

/* ---- brackets ---- */

/* A line of elements: wrapped so that none passes LINE_WIDTH. */
static void add_row(struct printer *p, int indent, int64_t first)
{
    int last = p->meta->rank - 1;
    int64_t size = p->kept[last];
    bool cut = p->summarised && p->meta->shape[last] > 2 * EDGE_ITEMS;
    int per_line = (LINE_WIDTH - indent) / (p->width + 2), column = 0;
    char text[400];
    per_line = per_line < 1 ? 1 : per_line;
    add(&p->out, "[", 1);
    for (int64_t k = 0; k < size + cut; k++, column++) {
        if (k)
            add(&p->out, ",", 1);
        if (k && column == per_line) {
            add(&p->out, "\n", 1);
            add_spaces(&p->out, indent + 1);
            column = 0;
        } else if (k) {
            add(&p->out, " ", 1);
        }
        if (cut && k == EDGE_ITEMS) {
            add(&p->out, " ...", 4);
            continue;
        }
        int width = format_element(p, first + k - (cut && k > EDGE_ITEMS), text, sizeof text);
        add_spaces(&p->out, p->width - width);
        add(&p->out, text, (size_t)width);
    }
    add(&p->out, "]", 1);
}

/* Between two slices of dimension d: as many line ends as brackets close. */
static void add_break(struct printer *p, int d)
{
    add(&p->out, ",", 1);
    for (int k = d; k < p->meta->rank - 1; k++)
        add(&p->out, "\n", 1);
    add_spaces(&p->out, INDENT + d + 1);
}

/* All rows in order, with the brackets that open and close between them. */
static void add_elements(struct printer *p)
{
    int rank = p->meta->rank;
    int64_t at[TD_RANK_MAX] = {0}, rows = rank ? kept_count(p) / p->kept[rank - 1] : 0;
    char text[400];
    if (rank == 0)
        add(&p->out, text, (size_t)format_element(p, 0, text, sizeof text));
    for (int d = 0; d < rank - 1; d++)
        add(&p->out, "[", 1);
    for (int64_t row = 0; row < rows; row++) {
        add_row(p, INDENT + rank - 1, row * p->kept[rank - 1]);
        int d = rank - 2;
        for (; d >= 0 && ++at[d] == p->kept[d]; d--) {
            at[d] = 0;
            add(&p->out, "]", 1);
        }
        if (d < 0)
            break;
        add_break(p, d);
        if (p->summarised && p->meta->shape[d] > 2 * EDGE_ITEMS && at[d] == EDGE_ITEMS) {
            add(&p->out, "...", 3);
            add_break(p, d);
        }
        for (int k = d + 1; k < rank - 1; k++)
            add(&p->out, "[", 1);
    }
}

/* ---- what stands behind the brackets ---- */

static void add_suffix(struct text *t, int *column, const char *suffix)
{
    int width = (int)strlen(suffix);
    if (*column + width + 2 > LINE_WIDTH) {
        add_line(t, ",\n%*s%s", INDENT, "", suffix);
        *column = INDENT + width;
    } else {
        add_line(t, ", %s", suffix);
        *column += width + 2;
    }
}

static void add_suffixes(struct printer *p, const struct entry *e)
{
    struct text *t = &p->out;
    char suffix[TD_SHAPE_TEXT + 16], shape[TD_SHAPE_TEXT];
    if (!t->bytes)
        return;
    const char *line = strrchr(t->bytes, '\n');
    /* PyTorch counts the columns of the last line, and one more where there is only one. */
    int column = (int)(line ? t->bytes + t->used - line + 1 : (long)t->used + 2);
    bool empty = td_meta_numel(&e->meta) == 0;
    if (empty && e->meta.rank != 1) {
        snprintf(suffix, sizeof suffix, "size=%s", td_shape_text(e->meta.rank, e->meta.shape, shape, sizeof shape));
        add_suffix(t, &column, suffix);
    }
    bool usual = e->meta.dtype == TD_F32 || (!empty && (e->meta.dtype == TD_I64 || e->meta.dtype == TD_BOOL));
    if (!usual) {
        snprintf(suffix, sizeof suffix, "dtype=torch.%s", td_dtype_torch_name(e->meta.dtype));
        add_suffix(t, &column, suffix);
    }
    if (e->flags & ENTRY_REQUIRES_GRAD) {
        bool leaf = e->flags & ENTRY_LEAF;
        snprintf(suffix, sizeof suffix, "grad_fn=<%s>", e->maker && !leaf ? e->maker->name : "");
        add_suffix(t, &column, leaf ? "requires_grad=True" : suffix);
    }
    add(t, ")", 1);
}

/* ---- reading what is to be seen ---- */

static void drop(td_tensor x)
{
    session_enter(x.session);
    if (handles_find(x.session, x))
        request_release(x.session, x.handle);
    session_leave(x.session);
}

/* x without what a summary leaves out; the caller's to release. Nothing of it is recorded, no scope has it. */
static td_tensor edges_of(const struct printer *p, td_tensor x, td_origin origin)
{
    td_tensor seen = x;
    origin.consume = 0;
    for (int d = 0; d < p->meta->rank; d++) {
        int64_t size = p->meta->shape[d], kept[] = {0, 1, 2, size - 3, size - 2, size - 1};
        const struct td_from_attrs all = {.shape = {1, {2 * EDGE_ITEMS}}, .dtype = TD_I64};
        const struct td_index_select_attrs along = {.dim = d};
        if (size == p->kept[d])
            continue;
        td_tensor index = client_op(&(struct client_op){
            .id = TD_OP_from, .origin = origin, .session = x.session, .owned = true, .attrs = &all, .data = kept});
        const td_operand in[] = {td_operand_of_tensor(seen), td_operand_of_tensor(index)};
        td_tensor less = client_op(&(struct client_op){
            .id = TD_OP_index_select, .origin = origin, .in = in, .in_count = 2, .owned = true, .attrs = &along});
        drop(index);
        if (seen.handle != x.handle)
            drop(seen);
        seen = less;
    }
    return seen;
}

/* seen is the entry as it was when the call began. NULL after an error, which has been raised. */
static char *print_entry(struct printer *p, const struct entry *seen, td_tensor x, td_origin origin)
{
    const struct td_meta *meta = &seen->meta;
    p->meta = meta;
    p->floats = td_dtype_category(meta->dtype) == TD_FLOATING;
    p->summarised = td_meta_numel(meta) > THRESHOLD;
    for (int d = 0; d < meta->rank; d++)
        p->kept[d] = p->summarised && meta->shape[d] > 2 * EDGE_ITEMS ? 2 * EDGE_ITEMS : meta->shape[d];
    int64_t count = kept_count(p);
    void *elements = malloc((size_t)count * td_dtype_size(meta->dtype) + 1);
    td_tensor shown = edges_of(p, x, origin);
    bool there = elements && td_read_at((td_origin){origin.where, 0}, shown, elements, meta->dtype, count) == count;
    if (shown.handle != x.handle)
        drop(shown);
    p->elements = elements;
    if (there) {
        add(&p->out, "tensor(", INDENT);
        if (count) {
            choose_format(p);
            add_elements(p);
        } else {
            add(&p->out, "[]", 2);
        }
        add_suffixes(p, seen);
    }
    free(elements);
    return p->out.bytes;
}

static char *failed_text(td_tensor x)
{
    struct text t = {0};
    struct cause *cause = NULL;
    if (x.session) {
        session_enter(x.session);
        const struct entry *e = handles_find(x.session, x);
        cause = cause_ref(e && e->cause ? e->cause : x.session->dead);
        session_leave(x.session);
    }
    add_line(&t, "tensor(failed: %s)", cause ? cause->failure.message : "it was released");
    cause_unref(cause);
    return t.bytes;
}

char *td_text_at(td_origin origin, td_tensor x)
{
    struct printer p = {0};
    struct entry *e = layout_begin((td_origin){origin.where, 0}, x, "print", true);
    char *text = NULL;
    if (e) {
        struct entry seen = *e;
        bool requires = autograd_requires(e);
        if (requires && !(seen.flags & ENTRY_REQUIRES_GRAD)) /* by a write to what it shares */
            seen.flags = (seen.flags | ENTRY_REQUIRES_GRAD) & ~(uint32_t)ENTRY_LEAF;
        session_leave(x.session);
        text = print_entry(&p, &seen, x, origin);
    }
    if (!text)
        text = failed_text(x);
    if (x.session) {
        session_enter(x.session);
        query_end(origin, x);
    }
    return text;
}

void td_print_at(td_origin origin, td_tensor x)
{
    char *text = td_text_at(origin, x);
    puts(text ? text : "tensor(no memory to print it)");
    free(text);
}

char *(td_text)(td_tensor x)
{
    return td_text_at((td_origin){0}, x);
}

void(td_print)(td_tensor x)
{
    td_print_at((td_origin){0}, x);
}
