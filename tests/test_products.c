/* einsum, tensordot and kron against PyTorch's own results (golden/einsum.txt), what else is made of products, and what
 * they say of calls that they refuse. SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>

#define ELEMENTS 128
#define OPERANDS 4

/* Whole numbers of a field; how many. */
static int numbers(const char *text, double *to)
{
    int count = 0;
    char *end;
    for (double x = strtod(text, &end); end != text; x = strtod(text, &end)) {
        assert_true(count < ELEMENTS);
        to[count++] = x;
        text = *end == ',' ? end + 1 : end;
    }
    return count;
}

static struct td_dims dims_of(const char *text)
{
    double sizes[ELEMENTS];
    struct td_dims dims = {.count = numbers(text, sizes)};
    for (int64_t d = 0; d < dims.count; d++)
        dims.v[d] = (int64_t)sizes[d];
    return dims;
}

/* As einsum.py makes it. */
static td_tensor operand(int k, const char *text)
{
    double x[ELEMENTS];
    struct td_dims shape = dims_of(text);
    int64_t count = 1;
    for (int64_t d = 0; d < shape.count; d++)
        count *= shape.v[d];
    for (int64_t i = 0; i < count; i++)
        x[i] = (double)((7 * i + 3 * k) % 11 - 5);
    return td_from(s, x, TD_F64, shape, .requires_grad = k == 0);
}

static td_tensor run(const char *equation, const td_tensor *in, int count)
{
    if (!strcmp(equation, "kron"))
        return td_kron(in[0], in[1]);
    if (strncmp(equation, "tensordot ", 10))
        return td_einsum(equation, TD_LIST_OF(count, in));
    const char *second = strchr(equation, ':');
    if (!second)
        return td_tensordot(in[0], in[1], .dims = atoi(equation + 10));
    return td_tensordot(in[0], in[1], .a_dims = dims_of(equation + 10), .b_dims = dims_of(second + 1));
}

static bool equal(td_tensor x, const char *text, const char *what, const char *equation)
{
    double due[ELEMENTS], found[ELEMENTS];
    int count = numbers(text, due);
    if (td_read(x, found, TD_F64, ELEMENTS) != count) {
        print_error("%s: the %s has not %d elements: %s\n", equation, what, count, td_error(s)->message);
        return false;
    }
    for (int k = 0; k < count; k++)
        if (found[k] != due[k]) {
            print_error("%s: element %d of the %s is %g where %g is due\n", equation, k, what, found[k], due[k]);
            return false;
        }
    return true;
}

/* equation | shapes | shape of the result | its elements | the first gradient's */
static bool check_line(char *line)
{
    char *field[5], *rest = NULL;
    td_tensor in[OPERANDS];
    int count = 0;
    for (int k = 0; k < 5; k++) {
        field[k] = line;
        if ((line = strchr(line, '|')))
            *line++ = 0;
        else
            line = field[k] + strlen(field[k]);
    }
    if (*field[0] && field[0][strlen(field[0]) - 1] == ' ')
        field[0][strlen(field[0]) - 1] = 0;
    for (char *at = field[1]; at && count < OPERANDS; at = rest) {
        if ((rest = strchr(at, ';')))
            *rest++ = 0;
        in[count] = operand(count, at);
        count++;
    }
    int64_t held = td_tensor_count(s);
    td_tensor y = run(field[0], in, count);
    if (strstr(field[2], "refused")) {
        bool refused = td_error(s)->code != TD_E_OK && !td_ok(y) && td_tensor_count(s) == held + 1;
        bool named = !strncmp(td_error(s)->message, field[0][0] == 't' ? "tensordot: " : "einsum: ", 8);
        if (!refused || !named)
            print_error("%s: %s\n", field[0], refused ? td_error(s)->message : "not refused, or something is left");
        td_clear_error(s);
        return refused && named;
    }
    td_layout layout = td_layout_of(y);
    struct td_dims shape = dims_of(field[2]), same = {.count = layout.rank};
    memcpy(same.v, layout.shape, sizeof same.v);
    bool right = shape.count == same.count && !memcmp(shape.v, same.v, (size_t)shape.count * sizeof *shape.v);
    if (!right || td_tensor_count(s) != held + 1)
        print_error("%s: %s\n", field[0], right ? "tensors are left behind" : "the result has another shape");
    double weights[ELEMENTS];
    for (int i = 0; i < ELEMENTS; i++)
        weights[i] = i % 5 - 2;
    right = right && td_tensor_count(s) == held + 1 && equal(y, field[3], "result", field[0]);
    td_backward(td_sum(td_mul(y, td_from(s, weights, TD_F64, same))));
    right = right && equal(td_grad(in[0]), field[4], "gradient", field[0]);
    td_clear_error(s);
    return right;
}

static void as_in_pytorch(void **state)
{
    char path[4096], line[4096];
    int wrong = 0, cases = 0;
    (void)state;
    snprintf(path, sizeof path, "%s/tests/golden/einsum.txt", getenv("TENSORD_ROOT") ? getenv("TENSORD_ROOT") : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (*line == '#')
            continue;
        wrong += !check_line(line);
        cases++;
    }
    fclose(file);
    assert_int_equal(wrong, 0);
    assert_true(cases > 100);
}

static td_tensor numbered(struct td_dims shape)
{
    int64_t count = 1;
    for (int64_t d = 0; d < shape.count; d++)
        count *= shape.v[d];
    return td_reshape(td_arange(s, 1, count + 1, .dtype = TD_F64), shape);
}

static void einsum_says_what_is_wrong(void **state)
{
    (void)state;
    td_tensor a = numbered(TD_SHAPE(2, 3)), b = numbered(TD_SHAPE(4, 5));
    td_einsum("ij,jk->ik", TD_LIST(a, b));
    expect_error(TD_E_SHAPE, "einsum: 'j' is 3 in operand 0 and 4 in operand 1", __LINE__ - 1);
    td_einsum("ii", TD_LIST(a));
    expect_error(TD_E_SHAPE, "einsum: 'i' is 2 and 3 in operand 0", __LINE__ - 1);
    td_einsum("ijk,kl", TD_LIST(a, b));
    expect_error(TD_E_SHAPE, "einsum: operand 0 of shape (2, 3) has 2 dimensions, and 3 letters", __LINE__ - 1);
    td_einsum("ij,kl->iz", TD_LIST(a, b));
    expect_error(TD_E_ARGUMENT, "has 'z', which no operand has", __LINE__ - 1);
    td_einsum("ij,kl->ii", TD_LIST(a, b));
    expect_error(TD_E_ARGUMENT, "has 'i' twice", __LINE__ - 1);
    td_einsum("ij,k#", TD_LIST(a, b));
    expect_error(TD_E_ARGUMENT, "'#' at character 4", __LINE__ - 1);
    td_einsum("ij", TD_LIST(a, b));
    expect_error(TD_E_ARGUMENT, "less terms than there are operands (2)", __LINE__ - 1);
    td_einsum("...i,...k", TD_LIST(a, b));
    expect_error(TD_E_SHAPE, "a dimension of \"...\" is 2 in operand 0 and 4 in operand 1", __LINE__ - 1);
    td_tensor failed = td_einsum("ij,jk", TD_LIST(td_neg(a), td_matmul(a, b)));
    expect_error(TD_E_SHAPE, "matmul: ", __LINE__ - 1);
    assert_false(td_ok(failed));
}

static void what_is_nested_is_used_up(void **state)
{
    (void)state;
    td_tensor a = numbered(TD_SHAPE(2, 2)), v = numbered(TD_SHAPE(2));
    int64_t held = td_tensor_count(s);
    td_tensor y = td_einsum("ij,jk->ik", TD_LIST(td_neg(a), td_neg(a)));
    td_release(td_einsum("ij,ij,j->i", TD_LIST(a, a, td_neg(v))));
    td_release(td_einsum("ij,jk,kz", TD_LIST(td_neg(a), a, td_neg(v)))); /* refused */
    td_clear_error(s);
    td_release(td_tensordot(td_neg(a), td_neg(a), .dims = 1));
    td_release(td_addmm(td_neg(v), td_neg(a), td_neg(a), .beta = 2, .alpha = 3));
    td_release(td_addmm(td_neg(v), a, a, .beta = 0));
    td_release(td_outer(td_neg(v), td_neg(v)));
    td_release(td_kron(td_neg(v), td_neg(a)));
    td_release(td_cross(td_expand(td_neg(td_sum(v)), TD_SHAPE(3)), td_expand(td_neg(td_sum(v)), TD_SHAPE(3)), 0));
    td_release(td_matrix_power(td_neg(a), 5));
    td_release(td_matrix_power(a, -3));
    td_release(td_logdet(td_neg(a)));
    td_release(td_mm(td_neg(a), td_neg(v)));
    expect_error(TD_E_SHAPE, "mm: shapes (2, 2) and (2): a matrix and a matrix are due", __LINE__ - 1);
    assert_int_equal(td_tensor_count(s), held + 1);
    assert_int_equal(td_item(td_sum(y)), 54);
}

#define EQUAL(x, ...)                                                                       \
    do {                                                                                    \
        double due_[] = {__VA_ARGS__}, found_[ELEMENTS];                                    \
        assert_int_equal(td_read(x, found_, TD_F64, ELEMENTS), sizeof due_ / sizeof *due_); \
        for (size_t k_ = 0; k_ < sizeof due_ / sizeof *due_; k_++)                          \
            if (!(fabs(found_[k_] - due_[k_]) <= 1e-9) && found_[k_] != due_[k_] &&         \
                !(isnan(found_[k_]) && isnan(due_[k_])))                                    \
                fail_msg("line %d: element %d is %.17g", __LINE__, (int)k_, found_[k_]);    \
    } while (0)

static void the_other_names(void **state)
{
    (void)state;
    td_tensor a = numbered(TD_SHAPE(2, 2)), v = numbered(TD_SHAPE(2)), w = td_neg(v);
    EQUAL(td_mm(a, a), 7, 10, 15, 22);
    EQUAL(td_bmm(td_expand(a, TD_SHAPE(2, 2, 2)), td_expand(a, TD_SHAPE(2, 2, 2))), 7, 10, 15, 22, 7, 10, 15, 22);
    EQUAL(td_mv(a, v), 5, 11);
    EQUAL(td_dot(v, w), -5);
    EQUAL(td_outer(v, w), -1, -2, -2, -4);
    EQUAL(td_addmm(v, a, a), 8, 12, 16, 24);
    EQUAL(td_addmm(v, a, a, .beta = -1, .alpha = 0.5), 2.5, 3, 6.5, 9);
    EQUAL(td_addmm(td_full(s, TD_SHAPE(), NAN), a, a, .beta = 0), 7, 10, 15, 22);
    td_tensor whole = td_addmm(td_to(v, TD_I64), td_to(a, TD_I64), td_to(a, TD_I64), .alpha = 2);
    assert_int_equal(td_dtype_of(whole), TD_I64);
    EQUAL(whole, 15, 22, 31, 46);
    EQUAL(td_baddbmm(td_full(s, TD_SHAPE(1, 1, 1), 1.0), td_unsqueeze(a, 0), td_unsqueeze(a, 0)), 8, 11, 16, 23);
    EQUAL(td_cross(numbered(TD_SHAPE(3)), td_flip(numbered(TD_SHAPE(3)), TD_DIMS(0)), 0), -4, 8, -4);
    EQUAL(td_cross(numbered(TD_SHAPE(3, 1)), td_flip(numbered(TD_SHAPE(3, 1)), TD_DIMS(0)), -2), -4, 8, -4);
    EQUAL(td_matrix_power(a, 0), 1, 0, 0, 1);
    EQUAL(td_matrix_power(a, 1), 1, 2, 3, 4);
    EQUAL(td_matrix_power(a, 3), 37, 54, 81, 118);
    EQUAL(td_matrix_power(a, 6), 5743, 8370, 12555, 18298);
    EQUAL(td_matrix_power(a, -2), 5.5, -2.5, -3.75, 1.75);
    EQUAL(td_logdet(td_stack(TD_LIST(a, td_flip(a, TD_DIMS(0)), td_mul(a, 0)))), NAN, log(2), -INFINITY);
    td_addmm(numbered(TD_SHAPE(3)), a, a);
    expect_error(TD_E_SHAPE, "addmm: shapes (3) and (2, 2): the first does not broadcast", __LINE__ - 1);
    td_bmm(numbered(TD_SHAPE(2, 2, 2)), numbered(TD_SHAPE(1, 2, 2)));
    expect_error(TD_E_SHAPE, "bmm: ", __LINE__ - 1);
    td_cross(v, v, 0);
    expect_error(TD_E_SHAPE, "cross: shapes (2) and (2): the dimension must have 3 elements", __LINE__ - 1);
    td_matrix_power(v, 2);
    expect_error(TD_E_SHAPE, "matrix_power: ", __LINE__ - 1);
}

static void singular_matrices(void **state)
{
    (void)state;
    td_tensor x = td_from(s, (const double[]){1, 2, 3, 4, 1, 2, 2, 4}, TD_F64, TD_SHAPE(2, 2, 2));
    td_item(td_sum(td_inverse(x)));
    expect_error(TD_E_SINGULAR, "inverse: matrix 1 of 2 (from 0) is singular: pivot 2 is 0", __LINE__ - 1);
    td_item(td_sum(td_solve(td_select(x, 0, 1), td_ones(s, TD_SHAPE(2), .dtype = TD_F64))));
    expect_error(TD_E_SINGULAR, "solve: the matrix is singular: pivot 2 is 0", 0);
    td_item(td_sum(td_cholesky(x)));
    expect_error(TD_E_SINGULAR,
                 "cholesky: matrix 0 of 2 (from 0) is not positive definite: its leading minor of order 2", 0);
    EQUAL(td_det(x), -2, 0);
    struct td_slogdet_results log = td_slogdet(x);
    EQUAL(log.sign, -1, 0);
    EQUAL(log.logabsdet, 0.69314718055994530942, -INFINITY);
}

/* The gradient of det where it is 0: the cofactors; of the second order there an error, and no number. */
static void gradients_of_singular_matrices(void **state)
{
    (void)state;
    td_tensor x =
        td_from(s, (const double[]){1, 2, 3, 4, 5, 6, 7, 8, 9}, TD_F64, TD_SHAPE(3, 3), .requires_grad = true);
    td_backward(td_det(x));
    EQUAL(td_grad(x), -3, 6, -3, 6, -12, 6, -3, 6, -3);
    td_tensor zero = td_zeros(s, TD_SHAPE(2, 2), .dtype = TD_F64, .requires_grad = true);
    td_backward(td_det(zero), .create_graph = true);
    EQUAL(td_grad(zero), 0, 0, 0, 0);
    td_backward(td_sum(td_grad(zero)));
    td_sync(s);
    expect_error(TD_E_SINGULAR, "singular", 0);
}

/* Values that are equal have a gradient, vectors that could as well be others have none; q r and u s vh are x again. */
static void spectral_edges(void **state)
{
    (void)state;
    td_tensor x = td_eye(s, 3, .dtype = TD_F64, .requires_grad = true);
    struct td_eigh_results e = td_eigh(x);
    td_backward(td_sum(e.eigenvalues));
    EQUAL(td_grad(x), 1, 0, 0, 0, 1, 0, 0, 0, 1);
    td_tensor y = td_eye(s, 2, .dtype = TD_F64, .requires_grad = true);
    td_backward(td_sum(td_svdvals(y)));
    EQUAL(td_grad(y), 1, 0, 0, 1);
    td_tensor z = td_eye(s, 2, .dtype = TD_F64, .requires_grad = true);
    td_backward(td_sum(td_square(td_slice(td_eigh(z).eigenvectors, 1, .end = 1))));
    assert_false(isfinite(td_item(td_sum(td_grad(z)))));
    td_tensor wide =
        td_einsum("ij->ji", TD_LIST(td_add(numbered(TD_SHAPE(3, 2)), td_eye(s, 3, .m = 2, .dtype = TD_F64))));
    struct td_qr_results qr = td_qr(wide);
    EQUAL(td_matmul(qr.q, qr.r), 2, 3, 5, 2, 5, 6);
    EQUAL(td_matmul(qr.q, td_transpose(qr.q, 0, 1)), 1, 0, 0, 1);
    struct td_svd_results svd = td_svd(wide);
    EQUAL(td_einsum("ik,k,kj->ij", TD_LIST(svd.u, svd.s, svd.vh)), 2, 3, 5, 2, 5, 6);
    EQUAL(td_svdvals(td_zeros(s, TD_SHAPE(2, 3))), 0, 0);
    EQUAL(td_eigh(td_full(s, TD_SHAPE(2, 2), NAN)).eigenvalues, NAN, NAN);
    assert_int_equal(td_sync(s), 0);
}

int main(void)
{
#define PRODUCTS(test) cmocka_unit_test_setup_teardown(test, open_session, close_session)
    const struct CMUnitTest tests[] = {
        PRODUCTS(as_in_pytorch),   PRODUCTS(einsum_says_what_is_wrong), PRODUCTS(what_is_nested_is_used_up),
        PRODUCTS(the_other_names), PRODUCTS(singular_matrices),         PRODUCTS(gradients_of_singular_matrices),
        PRODUCTS(spectral_edges),
    };
    return cmocka_run_group_tests_name("products", tests, start, stop);
}
