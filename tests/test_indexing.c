/* td_index and td_index_put_: random expressions as PyTorch takes them (golden/indexing.txt, whose lines indexing.py
 * describes), with gradients; what is used up, what is refused and how; and results that are as large as data say,
 * which nobody waits for. SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <math.h>

#include "tests/library.h"
#include "tests/wrong.h"

#define ELEMENTS 4096

/* ---- the golden expressions ---- */

struct line {
    char *at;
    td_tensor x, base, target; /* target: what is written to, a copy of base */
    td_operand written;
    td_pick picks[TD_PICKS];
    int count;
    td_tensor tensors[TD_PICKS];
    int tensor_count;
};

static char *word(struct line *l)
{
    char *start = l->at;
    l->at += strcspn(l->at, " \n");
    if (*l->at)
        *l->at++ = 0;
    return start;
}

static struct td_dims sizes_of(char **at)
{
    struct td_dims dims = {0};
    if (!strncmp(*at, "()", 2)) {
        *at += 2;
        return dims;
    }
    do
        dims.v[dims.count++] = strtoll(*at, at, 10);
    while (*(*at)++ == ',');
    --*at;
    return dims;
}

static int64_t numel(const struct td_dims *dims)
{
    int64_t count = 1;
    for (int64_t d = 0; d < dims->count; d++)
        count *= dims->v[d];
    return count;
}

static td_tensor counted_from(double first, struct td_dims shape, bool grad)
{
    static double values[ELEMENTS];
    for (int64_t k = 0; k < numel(&shape); k++)
        values[k] = first + (double)k;
    return td_from(s, values, TD_F64, shape, .requires_grad = grad);
}

static td_tensor index_of(char *text)
{
    static int64_t values[ELEMENTS];
    static bool truths[ELEMENTS];
    bool mask = *text++ == 'm';
    struct td_dims shape = sizes_of(&text);
    text++;
    for (int64_t k = 0; k < numel(&shape); k++) {
        if (mask)
            truths[k] = *text++ == '1';
        else
            values[k] = strtoll(text, &text, 10), text += *text == ',';
    }
    return mask ? td_from(s, truths, TD_BOOL, shape) : td_from(s, values, TD_I64, shape);
}

static td_pick pick_of(struct line *l, char *text)
{
    int64_t start, end, step;
    switch (*text) {
    case 'i':
        return TD_AT(strtoll(text + 1, NULL, 10));
    case ':':
        return TD_ALL;
    case '.':
        return TD_REST;
    case '+':
        return TD_NEWAXIS;
    case 's':
        start = strtoll(text + 1, &text, 10);
        end = text[1] == 'E' ? (text += 2, TD_END) : strtoll(text + 1, &text, 10);
        step = strtoll(text + 1, NULL, 10);
        return TD_RANGE(start, end, step);
    default:
        l->tensors[l->tensor_count++] = index_of(text);
        return TD_PICK(l->tensors[l->tensor_count - 1]);
    }
}

static void take_x(struct line *l, bool writes)
{
    char *shape = word(l), *order = word(l);
    l->base = counted_from(0, sizes_of(&shape), true);
    l->target = writes ? td_clone(l->base) : l->base;
    struct td_dims dims = {.count = (int64_t)strlen(order)};
    for (int64_t d = 0; d < dims.count && *order != '-'; d++)
        dims.v[d] = order[d] - '0';
    l->x = *order == '-' ? l->target : td_permute(l->target, dims);
}

static void take_picks(struct line *l)
{
    for (char *text = word(l); *text != '='; text = word(l))
        l->picks[l->count++] = pick_of(l, text);
}

/* Numbers up to a colon or the line's end. */
static void expect_numbers(struct line *l, td_tensor x, const char *what, const char *text)
{
    static double found[ELEMENTS];
    int64_t count = td_read(x, found, TD_F64, ELEMENTS), k = 0;
    if (count < 0)
        fail_msg("%s: %s: %s", text, what, td_error(s)->message);
    l->at += strspn(l->at, " ");
    if (is_wrong("indexing") && count)
        found[0]++;
    for (; *l->at && *l->at != ':' && *l->at != '\n'; k++, l->at += strspn(l->at, " ")) {
        double due = strtod(l->at, &l->at);
        if (k >= count || found[k] != due)
            fail_msg("%s: %s: element %d is %g where %g is due", text, what, (int)k, k < count ? found[k] : NAN, due);
    }
    if (k != count)
        fail_msg("%s: %s: %d elements where %d are due", text, what, (int)count, (int)k);
    l->at += strspn(l->at, " ");
    l->at += *l->at == ':';
}

static td_tensor weighted(td_tensor y)
{
    td_layout layout = td_layout_of(y);
    struct td_dims shape = {.count = layout.rank};
    memcpy(shape.v, layout.shape, sizeof shape.v);
    return td_sum(td_mul(y, counted_from(1, shape, false)));
}

static bool refused(struct line *l, const char *text)
{
    bool due = !strncmp(l->at, "error", 5);
    const td_error_info *error = td_error(s);
    if (due != (error->code != 0))
        fail_msg("%s: %s", text, error->code ? error->message : "not refused");
    td_clear_error(s);
    return due;
}

static void check_get(struct line *l, const char *text)
{
    td_tensor y = (td_index)(l->x, l->count, l->picks);
    if (refused(l, text))
        return;
    bool view = !strcmp(word(l), "view");
    char *shape = word(l);
    struct td_dims due = sizes_of(&shape);
    td_layout found = td_layout_of(y);
    if (found.rank != due.count || memcmp(found.shape, due.v, (size_t)found.rank * sizeof *found.shape))
        fail_msg("%s: another shape", text);
    if (td_same_storage(y, l->base) != view)
        fail_msg("%s: %s", text, view ? "no view" : "a view");
    l->at += strspn(l->at, " ");
    l->at += *l->at == ':';
    expect_numbers(l, y, "result", text);
    td_backward(weighted(y));
    expect_numbers(l, td_grad(l->base), "gradient", text);
}

static void check_put(struct line *l, bool accumulate, const char *text)
{
    struct td_picks picks = {.accumulate = accumulate};
    memcpy(picks.items, l->picks, sizeof l->picks);
    td_index_put__at((td_origin){"put:1", 0}, l->x, l->written, &picks);
    if (refused(l, text))
        return;
    expect_numbers(l, l->target, "target", text);
    td_backward(weighted(l->target));
    expect_numbers(l, td_grad(l->base), "gradient", text);
    if (l->written.number.category < 0)
        expect_numbers(l, td_grad(l->written.tensor), "gradient of the value", text);
}

static void check_line(char *text)
{
    struct line l = {.at = text};
    char whole[1024];
    snprintf(whole, sizeof whole, "%.*s", (int)strcspn(text, "\n"), text);
    const char *kind = word(&l);
    bool writes = strcmp(kind, "get") != 0;
    take_x(&l, writes);
    if (writes) {
        char *value = word(&l) + 1;
        l.written = value[-1] == '#' ? td_operand_of_integer(strtoll(value, NULL, 10))
                                     : td_operand_of_tensor(counted_from(100, sizes_of(&value), true));
    }
    take_picks(&l);
    if (writes)
        check_put(&l, !strcmp(kind, "add"), whole);
    else
        check_get(&l, whole);
}

static void golden_expressions(void **state)
{
    (void)state;
    static char text[4096];
    const char *root = getenv("TENSORD_ROOT");
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/indexing.txt", root ? root : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    int lines = 0;
    while (fgets(text, sizeof text, file)) {
        if (*text == '#')
            continue;
        check_line(text);
        if (++lines % 50)
            continue;
        assert_int_equal(td_close(s), 0); /* and all that it made */
        s = td_open(daemon_.address);
    }
    fclose(file);
    assert_int_equal(lines, 700);
}

/* ---- how calls are written ---- */

static td_tensor rows_of_three(void)
{
    return td_reshape(td_arange(s, 0, 12, .dtype = TD_F32), TD_SHAPE(4, 3));
}

static void expect_values(td_tensor x, int count, const double *due)
{
    double found[64];
    assert_int_equal(td_read(x, found, TD_F64, 64), count);
    for (int k = 0; k < count; k++)
        assert_true(found[k] == due[k] || (isnan(found[k]) && isnan(due[k])));
}
#define EXPECT(x, ...) expect_values(x, sizeof((double[]){__VA_ARGS__}) / 8, (const double[]){__VA_ARGS__})

static void written_inside_is_used_up(void **state)
{
    (void)state;
    td_tensor x = rows_of_three(), i = td_from(s, ((const int64_t[]){3, 0}), TD_I64, TD_SHAPE(2));
    int64_t held = td_tensor_count(s);
    td_tensor y = td_index(x, TD_PICK(td_neg(i)), TD_AT(1));
    assert_int_equal(td_tensor_count(s), held + 1);
    EXPECT(y, 4, 1);
    td_release(y);
    y = td_index(td_neg(x), TD_PICK(td_lt(x, 2.0)));
    assert_int_equal(td_tensor_count(s), held + 1);
    EXPECT(y, 0, -1);
    td_index_put_(x, td_neg(y), TD_AT(0), TD_PICK(td_neg(td_ne(td_arange(s, 0, 3), 1) /* bool: refused */)));
    td_clear_error(s);
    td_index_put_(x, td_neg(y), TD_AT(0), TD_PICK(td_ne(td_arange(s, 0, 3), 0)));
    td_index_put_(x, 9, TD_AT(3));
    td_index_put_(x, 1, TD_RANGE(2, TD_END, 1), TD_AT(-1), .accumulate = true);
    td_index_put_(x, 1, TD_PICK(i), TD_AT(0), .accumulate = true);
    EXPECT(x, 1, 0, 1, 3, 4, 5, 6, 7, 9, 10, 9, 10);
    assert_true(td_same_storage(td_index(x), x));
    assert_int_equal(td_rank(td_index(td_scalar(s, 2.5))), 0);
    td_index_put_(x, 0);
    assert_true(td_item(td_sum(x)) == 0);
    assert_int_equal(td_dtype_of(td_scalar(s, 3)), TD_I64);
    assert_int_equal(td_sync(s), 0);
}

static void refusals_say_what_is_wrong(void **state)
{
    (void)state;
    td_tensor x = rows_of_three(), i = td_from(s, ((const int64_t[]){3, 4}), TD_I64, TD_SHAPE(2));
    int64_t held = td_tensor_count(s);
    td_tensor failed[] = {
        td_index(x, TD_AT(0), TD_AT(0), TD_AT(0)),
    };
    assert_false(td_ok(failed[0]));
    expect_error(TD_E_INDEX, "index: too many indices: 3 for a tensor of 2 dimensions", __LINE__ - 3);
    td_index(x, TD_PICK(td_ones(s, TD_SHAPE(4, 2), .dtype = TD_BOOL)));
    expect_error(TD_E_SHAPE, "a mask of shape (4, 2) does not fit a tensor of shape (4, 3)", __LINE__ - 1);
    td_index(x, TD_PICK(td_ones(s, TD_SHAPE(2))));
    expect_error(TD_E_DTYPE, "index: indices are i64 or masks bool, not f32", __LINE__ - 1);
    td_index(x, TD_REST, TD_REST);
    expect_error(TD_E_ARGUMENT, "more than once", __LINE__ - 1);
    td_index(x, TD_RANGE(0, TD_END, -1));
    expect_error(TD_E_ARGUMENT, "step", __LINE__ - 1);
    td_index(x, TD_PICK(i), TD_PICK(td_zeros(s, TD_SHAPE(3), .dtype = TD_I64)));
    expect_error(TD_E_SHAPE, "indices of shapes (2) and (3) do not fit together", __LINE__ - 1);
    int line = __LINE__ + 1;
    td_tensor late = td_index(x, TD_PICK(i)); /* only the daemon sees that */
    assert_true(td_ok(late));
    expect_error(TD_E_INDEX, "index: index 4 is out of range for a dimension of size 4 (element 1 of the index)", line);
    td_index_put_(x, td_ones(s, TD_SHAPE(2, 2)), TD_PICK(i));
    expect_error(TD_E_SHAPE, "values of shape (2, 2) do not fit into the picked shape (2, 3)", __LINE__ - 1);
    td_index_put_(x, late, TD_AT(0));
    td_index_put_(x, 1, TD_PICK(i)); /* a failed write has no effect */
    td_clear_error(s);
    assert_true(td_item(td_sum(x)) == 66);
    td_tensor w = td_set_requires_grad(td_ones(s, TD_SHAPE(3)), true);
    td_index_put_(w, 1, TD_PICK(td_zeros(s, TD_SHAPE(1), .dtype = TD_I64)));
    expect_error(TD_E_GRAD, "index_put_", __LINE__ - 1);
    td_index(late, TD_PICK(td_neg(i)), TD_PICK(td_lt(x, 2.0)));
    td_clear_error(s);
    assert_int_equal(td_tensor_count(s), held + 9); /* the failed results and w */
}

/* ---- as large as data say ---- */

/* What the connection has waited for is told by what it has flushed, as long as little is sent. */
static uint64_t flushed(void)
{
    return s->wire.requests_flushed;
}

static void chains_do_not_wait(void **state)
{
    (void)state;
    td_tensor x = td_from(s, ((const float[]){3, 0, -1, 0, 2, 5}), TD_F32, TD_SHAPE(2, 3), .requires_grad = true);
    td_tensor m = td_gt(x, 0);
    td_flush(s);
    uint64_t before = flushed();
    td_tensor y = td_mul(td_masked_select(x, m), 2);
    td_add_(y, 1);
    td_tensor z = td_square_(td_reshape(y, TD_SHAPE(-1, 1)));
    assert_int_equal(td_rank(z), 2);
    assert_int_equal(td_dtype_of(z), TD_F32);
    assert_true(td_requires_grad(z) && !td_is_leaf(z));
    td_tensor part = td_index(x, TD_PICK(m));
    assert_int_equal(td_rank(part), 1);
    td_backward(td_sum(td_cat(TD_LIST(td_flatten(z), part))));
    assert_int_equal(flushed(), before);
    EXPECT(td_grad(x), 29, 0, 0, 0, 21, 45); /* 4 (2 x + 1) + 1 */
    before = flushed();
    assert_int_equal(td_size(y, 0), 3);
    uint64_t asked = flushed();
    assert_true(asked > before); /* once */
    assert_int_equal(td_numel(y), 3);
    assert_true(td_is_contiguous(y));
    assert_int_equal(flushed(), asked);
    EXPECT(z, 49, 25, 121);
    assert_true(td_same_storage(z, y));
    assert_int_equal(td_sync(s), 0);
}

static void unknown_layouts_are_learned_where_they_decide(void **state)
{
    (void)state;
    td_tensor x = td_from(s, ((const float[]){3, 0, 7, 0}), TD_F32, TD_SHAPE(4));
    td_tensor y = td_masked_select(x, td_gt(x, 0)), one = td_masked_select(x, td_gt(x, 5));
    EXPECT(td_add(y, td_ones(s, TD_SHAPE(2))), 4, 8);
    assert_int_equal(td_rank(td_squeeze(one)), 0);
    assert_int_equal(td_rank(td_squeeze(td_unsqueeze(y, 0))), 1);
    EXPECT(td_reshape(y, TD_SHAPE(2, -1)), 3, 7);
    EXPECT(td_index(y, TD_PICK(td_gt(y, 5))), 7);
    assert_false(td_same_storage(td_contiguous(td_transpose(td_nonzero(td_unsqueeze(x, 0)), 0, 1)), y));
    td_tensor places = td_nonzero(td_reshape(x, TD_SHAPE(2, 2)));
    EXPECT(places, 0, 0, 1, 0);
    td_layout layout = td_layout_of(places);
    assert_true(layout.shape[0] == 2 && layout.shape[1] == 2 && layout.stride[0] == 1 && layout.stride[1] == 2);
    char *text = td_text(one);
    assert_string_equal(text, "tensor([7.])");
    free(text);
    td_add(y, td_ones(s, TD_SHAPE(3)));
    expect_error(TD_E_SHAPE, "add: shapes (2) and (3)", __LINE__ - 1);
    td_bitwise_and(y, y); /* dtypes are known */
    expect_error(TD_E_DTYPE, "bitwise_and", __LINE__ - 1);
    td_tensor late = td_matmul(td_masked_select(x, td_gt(x, 0)), td_masked_select(x, td_ge(x, 0)));
    assert_true(td_ok(late));
    assert_true(isnan(td_item(late)));
    expect_error(TD_E_SHAPE, "matmul", __LINE__ - 3);
    td_tensor target = td_zeros(s, TD_SHAPE(2)), whole = td_zeros(s, TD_SHAPE(2), .dtype = TD_I64);
    td_copy_(target, y);
    EXPECT(td_sub_(target, y), 0, 0);
    td_sub_(whole, y);
    expect_error(TD_E_DTYPE, "sub_", __LINE__ - 1);
    td_tensor leaf = td_set_requires_grad(td_masked_select(x, td_gt(x, 0)), true);
    td_backward(td_sum(td_square(leaf)));
    EXPECT(td_grad(leaf), 6, 14);
    assert_int_equal(td_sync(s), 0);
}

static void sizes_come_from_data(void **state)
{
    (void)state;
    td_tensor x = td_from(s, ((const int64_t[]){4, 1, 1, 7, 4, 1}), TD_I64, TD_SHAPE(2, 3)), inverse, counts, parts[2];
    EXPECT(td_unique(x, .inverse = &inverse, .counts = &counts), 1, 4, 7);
    EXPECT(inverse, 1, 0, 0, 2, 1, 0);
    EXPECT(counts, 3, 2, 1);
    assert_int_equal(td_rank(inverse), 2);
    EXPECT(td_unique_consecutive(x, .inverse = &inverse, .counts = &counts), 4, 1, 7, 4, 1);
    EXPECT(inverse, 0, 1, 1, 2, 3, 4);
    EXPECT(counts, 1, 2, 1, 1, 1);
    td_tensor row = td_reshape(x, TD_SHAPE(-1)), none = td_zeros(s, TD_SHAPE(0), .dtype = TD_I64);
    EXPECT(td_bincount(row), 0, 3, 0, 0, 2, 0, 0, 1);
    EXPECT(td_bincount(row, .minlength = 10), 0, 3, 0, 0, 2, 0, 0, 1, 0, 0);
    EXPECT(td_bincount(row, .weights = td_full(s, TD_SHAPE(6), 0.5)), 0, 1.5, 0, 0, 1, 0, 0, 0.5);
    EXPECT(td_bincount(none, .minlength = 2), 0, 0);
    assert_int_equal(td_numel(td_bincount(none)), 0);
    assert_int_equal(td_numel(td_unique(none, .inverse = &inverse, .counts = &counts)), 0);
    assert_int_equal(td_numel(counts) + td_numel(inverse), 0);
    td_bincount(td_neg(row));
    expect_error(TD_E_INDEX, "bincount", __LINE__ - 1);
    td_bincount(x);
    expect_error(TD_E_ARGUMENT, "bincount: integers in one dimension are due", __LINE__ - 1);
    assert_int_equal(td_nonzero_tuple(td_gt(x, 3), parts), 2);
    EXPECT(parts[0], 0, 1, 1);
    EXPECT(parts[1], 0, 0, 1);
    assert_int_equal(td_nonzero_tuple(td_scalar(s, 1.0), parts), 1);
    EXPECT(parts[0], 0);
    EXPECT(td_unique(td_from(s, ((const float[]){2, NAN, 2}), TD_F32, TD_SHAPE(3)), .counts = &counts), 2, NAN);
    assert_int_equal(td_sync(s), 0);
}

/* Slices along a dimension, in the order of their elements; and each as often as its own number says. */
static void slices_come_from_data(void **state)
{
    (void)state;
    td_tensor inverse, counts;
    td_tensor x = td_from(s, ((const float[]){2, 1, 0, 1, 5, 3, 2, 1, 0, 1, 4, 9, 1, 5, 3}), TD_F32, TD_SHAPE(5, 3),
                          .requires_grad = true);
    td_tensor some = td_unique(x, .inverse = &inverse, .counts = &counts, .dim = 0);
    EXPECT(some, 1, 4, 9, 1, 5, 3, 2, 1, 0);
    EXPECT(inverse, 2, 1, 2, 0, 1);
    EXPECT(counts, 1, 2, 2);
    td_backward(td_sum(some));
    EXPECT(td_grad(x), 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0);
    EXPECT(td_unique_consecutive(x, .inverse = &inverse, .counts = &counts, .dim = -2), 2, 1, 0, 1, 5, 3, 2, 1, 0, 1, 4,
           9, 1, 5, 3);
    EXPECT(inverse, 0, 1, 2, 3, 4);
    int64_t before = td_tensor_count(s);
    td_release(td_unique(x, .dim = 1));
    td_release(td_unique_consecutive(x, .dim = 1));
    td_release(td_repeat_interleave(x, inverse, .dim = 0));
    assert_int_equal(td_tensor_count(s), before); /* nothing made on the way is left */
    td_unique(x, .dim = 2);
    expect_error(TD_E_INDEX, "unique: dimension 2 does not exist in a tensor of 2 dimensions", __LINE__ - 1);
    td_unique_consecutive(td_zeros(s, TD_SHAPE(2, 0)), .dim = 0);
    expect_error(TD_E_SHAPE, "unique_consecutive: x of shape (2, 0) has slices without elements", __LINE__ - 1);
    assert_int_equal(td_size(td_unique(td_zeros(s, TD_SHAPE(2, 0)), .counts = &counts, .dim = 1), 1), 0);
    assert_int_equal(td_numel(counts), 0);
    td_tensor repeats = td_from(s, ((const int64_t[]){1, 0, -2}), TD_I64, TD_SHAPE(3));
    EXPECT(td_repeat_interleave(td_index(x, TD_AT(1)), td_abs(repeats)), 1, 3, 3);
    EXPECT(td_repeat_interleave(td_index(x, TD_AT(1)), 2), 1, 1, 5, 5, 3, 3);
    td_repeat_interleave(x, repeats, .dim = 1);
    expect_error(TD_E_INDEX, "repeat_interleave: index -2 is out of range", __LINE__ - 1);
    td_repeat_interleave(x, repeats, .dim = 0);
    expect_error(TD_E_SHAPE, "repeat_interleave: repeats of shape (3) for 5 slices", __LINE__ - 1);
    td_repeat_interleave(x, x);
    expect_error(TD_E_DTYPE, "repeat_interleave: repeats are f32 where i64 or i32 is due", __LINE__ - 1);
    td_repeat_interleave(x, repeats, .dim = 2);
    expect_error(TD_E_INDEX, "repeat_interleave: dimension 2 does not exist", __LINE__ - 1);
    assert_int_equal(td_sync(s), 0);
}

static int code_of_call(enum td_op_id id, int count, const td_operand *in)
{
    td_tensor y =
        client_op(&(struct client_op){.id = (uint16_t)id, .origin = {"sized:1", 0}, .in = in, .in_count = count});
    td_item(td_sum(y));
    int code = td_error(s)->code;
    td_clear_error(s);
    return code;
}

/* Whoever speaks the protocol can say any size. */
static void sizes_are_not_trusted(void **state)
{
    (void)state;
    static const struct {
        int64_t size;
        int code, bincount;
    } given[] = {{6, TD_E_OK, TD_E_OK},
                 {5, TD_E_SHAPE, TD_E_OK},
                 {7, TD_E_SHAPE, TD_E_OK},
                 {0, TD_E_SHAPE, TD_E_INDEX},
                 {-1, TD_E_ARGUMENT, TD_E_ARGUMENT},
                 {INT64_C(1) << 42, TD_E_MEMORY, TD_E_MEMORY},
                 {INT64_C(1) << 56, TD_E_SHAPE, TD_E_MEMORY},
                 {INT64_MAX, TD_E_ARGUMENT, TD_E_ARGUMENT}};
    td_tensor x = td_ones(s, TD_SHAPE(2, 3)), m = td_gt(x, 0), places = td_ones(s, TD_SHAPE(4), .dtype = TD_I64);
    for (size_t k = 0; k < sizeof given / sizeof *given; k++) {
        td_operand size = td_operand_of_tensor(td_scalar(s, given[k].size)), on = td_operand_of_tensor(x);
        assert_int_equal(code_of_call(TD_OP_nonzero, 2, (td_operand[]){on, size}), given[k].code);
        int code = code_of_call(TD_OP_masked_select, 3, (td_operand[]){on, td_operand_of_tensor(m), size});
        assert_true(code == given[k].code || given[k].size == INT64_C(1) << 56);
        td_operand tally[] = {td_operand_of_tensor(places), td_operand_of_tensor(places), size};
        assert_int_equal(code_of_call(TD_OP_bincount, 3, tally), given[k].bincount);
    }
    td_operand on = td_operand_of_tensor(x), row = td_operand_of_tensor(places);
    assert_int_equal(code_of_call(TD_OP_nonzero, 2, (td_operand[]){on, row}), TD_E_SHAPE);
    assert_int_equal(code_of_call(TD_OP_nonzero, 2, (td_operand[]){on, on}), TD_E_DTYPE);
    assert_true(td_item(td_sum(x)) == 6);
}

int main(void)
{
#define HERE(test) cmocka_unit_test_setup_teardown(test, open_session, close_session)
    const struct CMUnitTest tests[] = {
        HERE(golden_expressions),
        HERE(written_inside_is_used_up),
        HERE(refusals_say_what_is_wrong),
        HERE(chains_do_not_wait),
        HERE(unknown_layouts_are_learned_where_they_decide),
        HERE(sizes_come_from_data),
        HERE(slices_come_from_data),
        HERE(sizes_are_not_trusted),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
