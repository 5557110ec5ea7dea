/* Sums of products: einsum, and tensordot by the same way. Each tensor is seen as a term, whose dimensions have labels;
 * terms are joined from the left by products of matrices. SPDX-License-Identifier: Apache-2.0 */
#include "client/products.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Labels: A to Z, a to z, then the dimensions behind "...", counted from the last. */
#define LETTERS 52
#define LABELS (LETTERS + TD_RANK_MAX)

struct term {
    td_tensor x;
    bool used_up; /* by the next op on it */
    int rank;
    uint8_t label[TD_RANK_MAX];
    int64_t size[TD_RANK_MAX];
};

/* Some labels, a bit for each. */
typedef uint64_t labels;
#define BIT(label) ((labels)1 << (label))

static labels labels_of(const struct term *t)
{
    labels all = 0;
    for (int d = 0; d < t->rank; d++)
        all |= BIT(t->label[d]);
    return all;
}

static void change(td_origin origin, struct term *t, enum td_op_id id, const void *attrs)
{
    t->x = product_apply(origin, t->used_up, id, t->x, attrs);
    t->used_up = true;
}

/* Takes dimension d out of what is known of t. */
static void forget(struct term *t, int d)
{
    t->rank--;
    memmove(t->label + d, t->label + d + 1, (size_t)(t->rank - d) * sizeof *t->label);
    memmove(t->size + d, t->size + d + 1, (size_t)(t->rank - d) * sizeof *t->size);
}

/* A label that stands twice becomes the diagonal of both dimensions. */
static void take_diagonals(td_origin origin, struct term *t)
{
    for (int d = 0; d < t->rank; d++)
        for (int e = d + 1; e < t->rank; e++) {
            if (t->label[d] != t->label[e])
                continue;
            const struct td_diagonal_attrs attrs = {.dim0 = d, .dim1 = e};
            uint8_t label = t->label[d];
            int64_t size = t->size[d];
            change(origin, t, TD_OP_diagonal, &attrs);
            forget(t, e);
            forget(t, d);
            t->label[t->rank] = label;
            t->size[t->rank++] = size;
            d = -1; /* from the start again */
            break;
        }
}

/* Sums over the dimensions that nobody needs, and drops those of size 1 that are longer elsewhere. */
static void reduce(td_origin origin, struct term *t, labels needed, const int64_t *sizes)
{
    struct td_sum_attrs gone = {0};
    struct td_squeeze_attrs repeated = {0};
    for (int d = 0; d < t->rank; d++)
        if (t->size[d] == 1 && sizes[t->label[d]] != 1)
            repeated.dims.v[repeated.dims.count++] = d;
    if (repeated.dims.count)
        change(origin, t, TD_OP_squeeze, &repeated);
    for (int64_t k = repeated.dims.count; k-- > 0;)
        forget(t, (int)repeated.dims.v[k]);
    for (int d = 0; d < t->rank; d++)
        if (!(needed & BIT(t->label[d])))
            gone.dims.v[gone.dims.count++] = d;
    if (gone.dims.count)
        change(origin, t, TD_OP_sum, &gone);
    for (int64_t k = gone.dims.count; k-- > 0;)
        forget(t, (int)gone.dims.v[k]);
}

static void reshape(td_origin origin, struct term *t, const struct td_dims *shape)
{
    const struct td_reshape_attrs attrs = {.shape = *shape};
    change(origin, t, TD_OP_reshape, &attrs);
}

/* The dimensions of t in an order of labels that it has all. */
static void arrange(td_origin origin, struct term *t, int count, const uint8_t *order)
{
    struct td_permute_attrs attrs = {.dims = {.count = count}};
    struct term before = *t;
    bool same = true;
    for (int k = 0; k < count; k++) {
        int d = 0;
        while (d < before.rank - 1 && before.label[d] != order[k])
            d++;
        attrs.dims.v[k] = d;
        t->label[k] = order[k];
        t->size[k] = before.size[d];
        same &= d == k;
    }
    if (!same)
        change(origin, t, TD_OP_permute, &attrs);
}

/* Adds the labels of t that are in one set and not in the other to order; the product of their sizes. */
static int64_t choose(const struct term *t, labels in, labels not_in, uint8_t *order, int *count)
{
    int64_t size = 1;
    for (int d = 0; d < t->rank; d++)
        if (BIT(t->label[d]) & in & ~not_in) {
            order[(*count)++] = t->label[d];
            size *= t->size[d];
        }
    return size;
}

/* a times b into a, summed over what both have and nobody needs: as (batch, own of a, shared) @ (batch, shared, own of
 * b). */
static void join(td_origin origin, struct term *a, struct term *b, labels needed)
{
    labels of_a = labels_of(a), of_b = labels_of(b), shared = of_a & of_b & ~needed, batch = of_a & of_b & needed;
    uint8_t a_order[TD_RANK_MAX] = {0}, b_order[TD_RANK_MAX];
    int a_count = 0, b_count = 0;
    int64_t size = choose(a, batch, 0, a_order, &a_count), batches = a_count;
    memcpy(b_order, a_order, sizeof b_order);
    b_count = a_count;
    int64_t rows = choose(a, of_a, of_b, a_order, &a_count), own = a_count,
            inner = choose(a, shared, 0, a_order, &a_count);
    memcpy(b_order + b_count, a_order + own, (size_t)(a_count - own));
    b_count += a_count - (int)own;
    int64_t columns = choose(b, of_b, of_a, b_order, &b_count);
    arrange(origin, a, a_count, a_order);
    arrange(origin, b, b_count, b_order);
    struct td_dims left = {3, {size, rows, inner}}, right = {3, {size, inner, columns}}, result = {0};
    struct term y = {0};
    for (int d = 0; d < own; d++)
        y.label[y.rank] = a->label[d], y.size[y.rank++] = a->size[d];
    for (int d = (int)(batches + a_count - own); d < b->rank && y.rank < TD_RANK_MAX; d++)
        y.label[y.rank] = b->label[d], y.size[y.rank++] = b->size[d];
    result.count = own + b->rank - (batches + a_count - own); /* more than there may be: reshape says so */
    memcpy(result.v, y.size, sizeof result.v);
    reshape(origin, a, &left);
    reshape(origin, b, &right);
    y.x = product_of(origin, shared ? TD_OP_matmul : TD_OP_mul, a->x, b->x,
                     (a->used_up ? 1u : 0) | (b->used_up ? 2u : 0));
    y.used_up = true;
    *a = y;
    reshape(origin, a, &result);
}

/* All terms into the first, whose dimensions get the order of the result. */
static td_tensor contract(td_origin origin, struct term *terms, int count, int out_count, const uint8_t *out,
                          const int64_t *sizes)
{
    labels result = 0;
    for (int k = 0; k < out_count; k++)
        result |= BIT(out[k]);
    for (int k = 0; k < count; k++)
        take_diagonals(origin, &terms[k]);
    for (int k = 0; k < count; k++) { /* each by itself, then those before with it */
        labels behind = result, before = k ? labels_of(&terms[0]) : 0;
        for (int later = k + 1; later < count; later++)
            behind |= labels_of(&terms[later]);
        reduce(origin, &terms[k], behind | before, sizes);
        if (!k)
            continue;
        reduce(origin, &terms[0], behind | labels_of(&terms[k]), sizes);
        join(origin, &terms[0], &terms[k], behind);
    }
    if (!terms[0].used_up) { /* a result is a tensor of its own */
        const struct td_permute_attrs alike = {.dims = {terms[0].rank, {0, 1, 2, 3, 4, 5, 6, 7}}};
        change(origin, &terms[0], TD_OP_permute, &alike);
    }
    arrange(origin, &terms[0], out_count, out);
    return terms[0].x;
}

/* ---- the equation ---- */

struct equation {
    struct td_failure failure;
    const char *text;
    int64_t count;
    struct term *terms;
    int dots;                         /* dimensions that "..." stands for */
    int64_t sizes[LABELS];            /* 0: the label is in no term; size + 1 else, so that 0 is a size */
    int first[LABELS], times[LABELS]; /* the term that gave it its size; how often it stands in terms */
    int out_count;
    uint8_t out[TD_RANK_MAX];
};

static char letter_of(int label)
{
    return (char)(label < 26 ? 'A' + label : 'a' + label - 26);
}

static int label_of(char letter)
{
    return isupper((unsigned char)letter) ? letter - 'A' : letter - 'a' + 26;
}

/* One more subscript from *at: a letter gives its label, "..." LABELS; -1 at the end of the term, or after a failure.
 */
static int next_label(struct equation *e, const char **at)
{
    while (**at == ' ')
        ++*at;
    char c = **at;
    if (!c || c == ',' || (c == '-' && (*at)[1] == '>'))
        return -1;
    if (!strncmp(*at, "...", 3)) {
        *at += 3;
        return LABELS;
    }
    if (!isalpha((unsigned char)c) || (unsigned char)c > 127) {
        td_fail(&e->failure, TD_E_ARGUMENT, "einsum: '%c' at character %d of \"%.100s\" is no letter", c,
                (int)(*at - e->text), e->text);
        td_hint(&e->failure, "An equation has letters, \"...\", commas between terms and \"->\" before the result.");
        return -1;
    }
    ++*at;
    return label_of(c);
}

static void note_size(struct equation *e, int k, int label, int64_t size)
{
    char name[24] = "a dimension of \"...\"";
    if (label < LETTERS)
        snprintf(name, sizeof name, "'%c'", letter_of(label));
    int64_t known = e->sizes[label] - 1;
    if (known < 0 || known == 1) {
        e->sizes[label] = size + 1;
        e->first[label] = k;
    } else if (size != 1 && size != known) {
        td_fail(&e->failure, TD_E_SHAPE, "einsum: %s is %lld in operand %d and %lld in operand %d", name,
                (long long)known, e->first[label], (long long)size, k);
        td_hint(&e->failure, "A letter stands for one size; only 1 is repeated.");
    }
}

/* The labels of term k, which begins at *at. */
static void read_term(struct equation *e, int k, const char **at)
{
    struct term *t = &e->terms[k];
    int found[LABELS + 1], count = 0, dots = -1, label;
    while ((label = next_label(e, at)) >= 0 && count <= LETTERS) {
        if (label == LABELS && dots >= 0) {
            td_fail(&e->failure, TD_E_ARGUMENT, "einsum: operand %d has \"...\" twice", k);
            return;
        }
        if (label == LABELS)
            dots = count;
        else
            found[count++] = label;
    }
    int stand_for = t->rank - count;
    if (stand_for < 0 || (dots < 0 && stand_for)) {
        char shape[TD_SHAPE_TEXT];
        td_fail(&e->failure, TD_E_SHAPE, "einsum: operand %d of shape %s has %d dimensions, and %d letters for them", k,
                td_shape_text(t->rank, t->size, shape, sizeof shape), t->rank, count);
        td_hint(&e->failure, "\"...\" stands for all that have no letter.");
        return;
    }
    for (int d = 0; d < t->rank && !e->failure.code; d++) {
        bool in_dots = dots >= 0 && d >= dots && d < dots + stand_for;
        label = in_dots ? LETTERS + dots + stand_for - 1 - d : found[dots >= 0 && d >= dots ? d - stand_for : d];
        for (int other = 0; other < d; other++)
            if (t->label[other] == label && t->size[other] != t->size[d]) {
                td_fail(&e->failure, TD_E_SHAPE, "einsum: '%c' is %lld and %lld in operand %d", letter_of(label),
                        (long long)t->size[other], (long long)t->size[d], k);
                td_hint(&e->failure, "A letter that stands twice is the diagonal of both dimensions.");
                return;
            }
        t->label[d] = (uint8_t)label;
        e->times[label]++;
        note_size(e, k, label, t->size[d]);
    }
    e->dots = dots >= 0 && stand_for > e->dots ? stand_for : e->dots;
}

static void add_result(struct equation *e, int label)
{
    if (e->out_count == TD_RANK_MAX)
        td_fail(&e->failure, TD_E_LIMIT, "einsum: the result of \"%.100s\" has more than %d dimensions", e->text,
                TD_RANK_MAX);
    else
        e->out[e->out_count++] = (uint8_t)label;
}

static void add_dots(struct equation *e)
{
    for (int k = e->dots; k-- > 0;)
        add_result(e, LETTERS + k);
}

/* What stands behind "->". */
static void read_result(struct equation *e, const char *at)
{
    bool seen[LABELS + 1] = {false};
    for (int label; (label = next_label(e, &at)) >= 0 && !e->failure.code; seen[label] = true) {
        if (seen[label])
            td_fail(&e->failure, TD_E_ARGUMENT, "einsum: the result of \"%.100s\" has %s%c%s twice", e->text,
                    label == LABELS ? "\"." : "'", label == LABELS ? '.' : letter_of(label),
                    label == LABELS ? ".\"" : "'");
        else if (label == LABELS)
            add_dots(e);
        else if (!e->times[label])
            td_fail(&e->failure, TD_E_ARGUMENT, "einsum: the result of \"%.100s\" has '%c', which no operand has",
                    e->text, letter_of(label));
        else
            add_result(e, label);
    }
    if (*at && !e->failure.code)
        td_fail(&e->failure, TD_E_ARGUMENT, "einsum: \"%.100s\" goes on behind its result", e->text);
}

static void read_equation(struct equation *e)
{
    const char *at = e->text;
    int64_t k = 0;
    for (;; at++, k++) {
        if (k < e->count)
            read_term(e, (int)k, &at);
        if (e->failure.code || k >= e->count || *at != ',')
            break;
    }
    if (!e->failure.code && k != e->count - 1)
        td_fail(&e->failure, TD_E_ARGUMENT, "einsum: \"%.100s\" has %s terms than there are operands (%lld)", e->text,
                k < e->count - 1 ? "less" : "more", (long long)e->count);
    if (e->failure.code)
        return;
    if (*at) {
        read_result(e, at + 2);
        return;
    }
    add_dots(e); /* without "->": "...", then the letters that stand once, as they come in the alphabet */
    for (int label = 0; label < LETTERS; label++)
        if (e->times[label] == 1)
            add_result(e, label);
}

/* The operands as terms; false, and *failed gets one, where one is an error value already. */
static bool see_operands(td_origin origin, struct equation *e, const td_list *tensors, const bool *calls, int *failed)
{
    for (int k = 0; k < e->count; k++) {
        struct term *t = &e->terms[k];
        t->x = tensors->items[k];
        t->used_up = calls[k];
        for (int later = k + 1; later < e->count; later++)
            t->used_up &= tensors->items[later].handle != t->x.handle;
    }
    for (int k = 0; k < e->count; k++) {
        struct term *t = &e->terms[k];
        if (!td_ok_at((td_origin){origin.where, 0}, t->x)) {
            *failed = k;
            return false;
        }
        td_layout layout = td_layout_of_at((td_origin){origin.where, 0}, t->x);
        t->rank = layout.rank;
        memcpy(t->size, layout.shape, sizeof t->size);
    }
    return true;
}

td_tensor td_einsum_at(td_origin origin, const char *equation, td_list tensors)
{
    SPEAKS_FOR("einsum");
    struct equation e = {.text = equation ? equation : "", .count = tensors.count};
    td_tensor y = {0};
    int failed = -1;
    if (tensors.count < 1 || tensors.count > TD_LIST_MAX) {
        fprintf(stderr, "%s: einsum: %lld operands\n", origin.where ? origin.where : "tensord",
                (long long)tensors.count);
        return y;
    }
    e.terms = calloc((size_t)e.count, sizeof *e.terms);
    bool *calls = calloc((size_t)e.count, sizeof *calls);
    if (!e.terms || !calls)
        abort(); /* a few kilobytes are not to be had */
    list_calls(&tensors, calls);
    if (see_operands(origin, &e, &tensors, calls, &failed))
        read_equation(&e);
    if (failed < 0 && !e.failure.code) {
        for (int label = 0; label < LABELS; label++)
            e.sizes[label]--;
        y = contract(origin, e.terms, (int)e.count, e.out_count, e.out, e.sizes);
    } else {
        y = failed < 0 ? product_refuse(origin, tensors.items[0].session, "einsum", &e.failure)
                       : product_apply(origin, false, TD_OP_detach, tensors.items[failed], NULL);
        for (int k = 0; k < e.count; k++) /* used up all the same */
            if (e.terms[k].used_up)
                td_rank_at((td_origin){origin.where, 1}, tensors.items[k]);
    }
    free(calls);
    free(e.terms);
    return y;
}

/* ---- tensordot ---- */

/* Labels the dimensions that meet, in pairs; how many, or -1 where they do not fit. */
static int label_pairs(struct term *terms, const struct td_dims *dims, int64_t *sizes)
{
    int64_t count = dims[0].count;
    if (count < 0 || count != dims[1].count || count > TD_RANK_MAX)
        return -1;
    for (int64_t k = 0; k < count; k++) {
        int a = td_wrap_dim(dims[0].v[k], terms[0].rank), b = td_wrap_dim(dims[1].v[k], terms[1].rank);
        if (a < 0 || b < 0 || a >= terms[0].rank || b >= terms[1].rank || terms[0].label[a] != LABELS ||
            terms[1].label[b] != LABELS)
            return -1;
        int64_t of_a = terms[0].size[a], of_b = terms[1].size[b];
        if (of_a != of_b && of_a != 1 && of_b != 1)
            return -1;
        terms[0].label[a] = terms[1].label[b] = (uint8_t)k;
        sizes[k] = of_a == 1 ? of_b : of_a;
    }
    return (int)count;
}

/* Labels all other dimensions, which are the result's; how many. */
static int label_others(struct term *terms, int next, int64_t *sizes, uint8_t *out)
{
    int count = 0;
    for (int k = 0; k < 2; k++)
        for (int d = 0; d < terms[k].rank; d++) {
            if (terms[k].label[d] != LABELS)
                continue;
            sizes[next] = terms[k].size[d];
            terms[k].label[d] = (uint8_t)next;
            out[count++] = (uint8_t)next++;
        }
    return count;
}

/* The pairs that the keywords ask for; a count of -1 for none that can be. */
static void read_pairs(const struct td_tensordot_keywords *keywords, const struct term *terms, struct td_dims *dims)
{
    int64_t count = keywords ? keywords->dims : 2;
    if (keywords && (keywords->a_dims.count || keywords->b_dims.count)) {
        dims[0] = keywords->a_dims;
        dims[1] = keywords->b_dims;
        return;
    }
    dims[0].count = dims[1].count = count < 0 || count > terms[0].rank || count > terms[1].rank ? -1 : count;
    for (int64_t d = 0; d < dims[0].count; d++) {
        dims[0].v[d] = terms[0].rank - count + d;
        dims[1].v[d] = d;
    }
}

static td_tensor refuse_pairs(td_origin origin, const struct term *terms, bool fits)
{
    struct td_failure failure = {0};
    char at[TD_SHAPE_TEXT], bt[TD_SHAPE_TEXT];
    td_fail(&failure, fits ? TD_E_LIMIT : TD_E_SHAPE, "tensordot: shapes %s and %s %s",
            td_shape_text(terms[0].rank, terms[0].size, at, sizeof at),
            td_shape_text(terms[1].rank, terms[1].size, bt, sizeof bt),
            fits ? "give a result of too many dimensions" : "do not fit together by these dimensions");
    td_hint(&failure, fits ? "There are at most 8."
                           : "Those that are summed over come in pairs of equal size, each once; without dims they are "
                             "the last two and the first two.");
    td_tensor y = product_refuse(origin, terms[0].x.session, "tensordot", &failure);
    for (int k = 0; k < 2; k++)
        if (terms[k].used_up)
            td_rank_at((td_origin){origin.where, 1}, terms[k].x);
    return y;
}

td_tensor td_tensordot_at(td_origin origin, td_tensor a, td_tensor b, const struct td_tensordot_keywords *keywords)
{
    SPEAKS_FOR("tensordot");
    struct term terms[2] = {{.x = a, .used_up = origin.consume & 1 && a.handle != b.handle},
                            {.x = b, .used_up = origin.consume >> 1 & 1}};
    struct td_dims dims[2] = {{0}, {0}};
    uint8_t out[2 * TD_RANK_MAX];
    int64_t sizes[2 * TD_RANK_MAX];
    if (!td_ok_at((td_origin){origin.where, 0}, a) || !td_ok_at((td_origin){origin.where, 0}, b))
        return product_of(origin, TD_OP_matmul, a, b, origin.consume);
    for (int k = 0; k < 2; k++) {
        td_layout layout = td_layout_of_at((td_origin){origin.where, 0}, terms[k].x);
        terms[k].rank = layout.rank;
        memcpy(terms[k].size, layout.shape, sizeof layout.shape);
        memset(terms[k].label, LABELS, sizeof terms[k].label);
    }
    read_pairs(keywords, terms, dims);
    int pairs = label_pairs(terms, dims, sizes), out_count = pairs < 0 ? 0 : label_others(terms, pairs, sizes, out);
    if (pairs < 0 || out_count > TD_RANK_MAX)
        return refuse_pairs(origin, terms, pairs >= 0);
    return contract(origin, terms, 2, out_count, out, sizes);
}

td_tensor(td_tensordot)(td_tensor a, td_tensor b, const struct td_tensordot_keywords *keywords)
{
    return td_tensordot_at((td_origin){0}, a, b, keywords);
}

td_tensor(td_einsum)(const char *equation, td_list tensors)
{
    return td_einsum_at((td_origin){0}, equation, tensors);
}
