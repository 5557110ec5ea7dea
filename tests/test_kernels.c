/* Every kernel of every instruction set against the oracle, on calls drawn at random: shapes with 0 and without
 * dimensions, permuted, stepped and repeated inputs. Around every buffer lie guard bytes. The seed is printed and
 * taken from TEST_SEED.
 * Tolerance: |got - want| <= slack * eps * scale, where slack is the row's, eps the type's rounding step and scale the
 * sum of the magnitudes of what was added up (|want| where nothing was); doubled for f64, since the oracle rounds too;
 * and one denormal. Slack 0, and integers: equal. SPDX-License-Identifier: Apache-2.0 */
#include "tests/kernel_calls.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "kernels/cpu/cpu.h"
#include "kernels/scalar.h"

#define TRIALS 80

static const char *const isas[] = {"sse2", "avx2", "avx512", "generic"};
#define ISAS 4

static uint64_t seed;

/* ---- one call ---- */

static void infer(struct call *c)
{
    struct td_meta metas[INPUTS];
    struct td_failure failure = {0};
    for (int k = 0; k < c->in_count; k++)
        metas[k] = c->in[k].meta;
    c->inference = (struct td_inference){.op = c->op,
                                         .in = metas,
                                         .in_count = c->in_count,
                                         .list_counts = c->lists,
                                         .attrs = c->attrs,
                                         .failure = &failure};
    if (td_infer(&c->inference))
        fail_msg("%s", failure.message);
    c->inference.in = NULL;
    c->inference.failure = NULL;
}

/* What the executor does before a launch: promoted inputs get the dtype of the computation. */
static void convert_inputs(struct call *c)
{
    uint8_t compute = c->inference.compute;
    int k = 0;
    if (compute == TD_DTYPE_NONE)
        return;
    for (const struct td_param *p = c->op->params; td_param_is_tensor(p->kind); p++, k++) {
        struct tensor *t = &c->in[k], made;
        if (p->kind == TD_PARAM_INDEX || p->kind == TD_PARAM_MASK || t->meta.dtype == compute)
            continue;
        make(&made, compute, t->meta.rank, t->meta.shape, TD_REALS, DENSE);
        for (int64_t i = 0; i < t->values.count; i++)
            store(&made, i, get(t, i));
        read_back(&made);
        tensor_deinit(t);
        *t = made;
    }
}

static struct td_operand operand_of(const struct tensor *t)
{
    struct td_operand operand = {.dtype = t->meta.dtype, .rank = t->meta.rank};
    operand.data = t->memory ? t->memory + GUARD + (size_t)t->meta.offset * td_dtype_size(t->meta.dtype) : NULL;
    memcpy(operand.shape, t->meta.shape, sizeof operand.shape);
    memcpy(operand.stride, t->meta.stride, sizeof operand.stride);
    return operand;
}

static void expand(struct td_operand *operand, const struct td_operand *out)
{
    struct td_operand seen = *out;
    seen.data = operand->data;
    seen.dtype = operand->dtype;
    for (int d = 0; d < out->rank; d++) {
        int from = d - (out->rank - operand->rank);
        bool repeated = from < 0 || (operand->shape[from] == 1 && out->shape[d] != 1);
        seen.stride[d] = repeated ? 0 : operand->stride[from];
    }
    *operand = seen;
}

static bool is_elementwise(const struct td_op *op)
{
    static const char *const groups[] = {"copy", "unary", "binary", "compare", "ternary"};
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        if (!strcmp(op->group, groups[g]))
            return true;
    return false;
}

static void run(const struct td_device *device, struct call *c, struct tensor *out, struct td_fault *fault)
{
    struct td_operand in[INPUTS], grads[INPUTS];
    struct td_launch launch = {.op = c->op,
                               .in_count = c->in_count,
                               .in = in,
                               .grads = grads,
                               .list_counts = c->lists,
                               .attrs = c->attrs,
                               .seed = seed,
                               .counter = 5};
    if (out)
        launch.out[0] = operand_of(out);
    for (int k = 0; k < c->in_count; k++) {
        in[k] = operand_of(&c->in[k]);
        if (is_elementwise(c->op))
            expand(&in[k], &launch.out[0]);
    }
    for (int k = 0; k < c->params; k++)
        grads[k] = operand_of(&c->grads[k]);
    assert_true(device->cost(&launch) > 0);
    device->run(&launch);
    *fault = launch.fault;
}

/* ---- judgement ---- */

static bool close_enough(double got, long double want, double scale, uint8_t dtype, int slack)
{
    double eps = dtype == TD_F32 ? FLT_EPSILON : 2 * DBL_EPSILON, tiny = dtype == TD_F32 ? 0x1p-149 : 0x1p-1074;
    double rounded = dtype == TD_F32 ? (double)(float)want : (double)want;
    if (isnan(want) || isinf(rounded) || slack == 0)
        return got == rounded || (isnan(got) && isnan(want));
    return fabsl(got - want) <= slack * eps * scale + tiny;
}

static void compare(const struct call *c, const struct tensor *got, const struct oracle_tensor *want, const char *isa)
{
    for (int64_t i = 0; i < want->count; i++) {
        struct td_number n = get(got, i);
        bool fits = n.category == TD_FLOATING
                        ? close_enough(n.f, want->real[i], want->scale[i], want->dtype, c->op->slack)
                        : n.i == want->integer[i];
        if (!fits && n.category == TD_FLOATING)
            fail_msg("%s %s %s: element %" PRId64 " of %" PRId64 " is %.17g where %.17g is due (scale %g)", c->op->name,
                     td_dtype_name(want->dtype), isa, i, want->count, n.f, (double)want->real[i], want->scale[i]);
        if (!fits)
            fail_msg("%s %s %s: element %" PRId64 " is %" PRId64 " where %" PRId64 " is due", c->op->name,
                     td_dtype_name(want->dtype), isa, i, n.i, want->integer[i]);
    }
}

/* Bytes of a tensor that no element of it holds are as they were. */
static void assert_gaps(const struct tensor *t, const char *before)
{
    struct tensor old = *t;
    size_t bytes = t->bytes + 2 * GUARD, size = td_dtype_size(t->meta.dtype);
    old.memory = malloc(bytes);
    memcpy(old.memory, before, bytes);
    for (int64_t i = 0; i < t->values.count; i++)
        memcpy(element_at(&old, i), element_at(t, i), size);
    assert_memory_equal(old.memory, t->memory, bytes);
    free(old.memory);
}

/* Bit for bit but for the payload of a nan. */
static void assert_same_bits(const struct call *c, const struct tensor *a, const struct tensor *b, const char *isa)
{
    for (int64_t i = 0; i < a->values.count; i++) {
        struct td_number x = get(a, i), y = get(b, i);
        bool nans = x.category == TD_FLOATING && isnan(x.f) && isnan(y.f);
        if (x.i != y.i && !nans)
            fail_msg("%s: %s gives other bits at element %" PRId64, c->op->name, isa, i);
    }
}

/* A tensor that a kernel writes: its state before, and the first variant's result. */
struct written {
    struct tensor *tensor, first;
    char *before;
};

static void check_written(struct call *c, struct written *w, bool fault, const char *isa)
{
    size_t bytes = w->tensor->bytes + 2 * GUARD;
    assert_guards(w->tensor);
    assert_gaps(w->tensor, w->before);
    if (fault) {
        assert_memory_equal(w->tensor->memory, w->before, bytes);
        return;
    }
    if (!w->first.memory) {
        w->first = *w->tensor;
        w->first.memory = malloc(bytes);
        memcpy(w->first.memory, w->tensor->memory, bytes);
    }
    assert_same_bits(c, &w->first, w->tensor, isa);
}

static void check_variant(struct call *c, struct written *written, struct tensor *out, const struct oracle_call *want,
                          const char *isa)
{
    const struct td_device *device = td_device_cpu_variant(isa);
    struct td_fault fault;
    if (!device)
        return;
    for (int k = 0; k <= c->in_count; k++)
        if (written[k].tensor)
            memcpy(written[k].tensor->memory, written[k].before, written[k].tensor->bytes + 2 * GUARD);
    run(device, c, out, &fault);
    assert_int_equal(fault.code, want->fault);
    if (fault.code) {
        assert_int_equal(fault.value, want->value);
        assert_int_equal(fault.size, want->size);
        assert_int_equal(fault.position, want->position);
    }
    for (int k = 0; k <= c->in_count; k++)
        if (written[k].tensor)
            check_written(c, &written[k], fault.code != 0, isa);
    if (fault.code || want->drawn)
        return;
    if (out)
        compare(c, out, want->out, isa);
    for (int k = 0; k < c->in_count && c->op->kind == TD_STEP; k++)
        compare(c, &c->in[k], &want->in[k], isa);
}

static void keep(struct written *w, struct tensor *tensor)
{
    w->tensor = tensor;
    w->before = malloc(tensor->bytes + 2 * GUARD);
    memcpy(w->before, tensor->memory, tensor->bytes + 2 * GUARD);
}

static void check_call(struct call *c)
{
    infer(c);
    convert_inputs(c);
    struct tensor fresh = {.meta = c->inference.out[0]}, *out = NULL;
    struct written written[INPUTS + 1] = {0};
    struct oracle_tensor in[INPUTS], grads[INPUTS] = {0}, expected;
    values_init(&expected, c->inference.out[0].dtype, c->inference.out[0].rank, c->inference.out[0].shape);
    if (c->op->kind == TD_INPLACE) {
        out = &c->in[0];
    } else if (c->op->output_count) {
        out = &fresh;
        fresh.meta.offset = 0;
        values_init(&fresh.values, fresh.meta.dtype, fresh.meta.rank, fresh.meta.shape);
        allocate(&fresh);
        keep(&written[c->in_count], &fresh);
    }
    for (int k = 0; k < c->in_count; k++) {
        in[k] = c->in[k].values;
        keep(&written[k], &c->in[k]);
    }
    for (int k = 0; k < c->params; k++)
        grads[k] = c->grads[k].values;
    struct oracle_call want = {.op = c->op,
                               .in_count = c->in_count,
                               .in = in,
                               .grads = grads,
                               .list_counts = c->lists,
                               .attrs = c->attrs,
                               .out = &expected};
    oracle_table[c->op->id](&want);
    for (int v = 0; v < ISAS; v++)
        check_variant(c, written, out, &want, isas[v]);
    for (int k = 0; k <= c->in_count; k++) {
        bool writes = c->op->kind == TD_STEP || (c->op->kind == TD_INPLACE && k == 0) || k == c->in_count;
        if (written[k].tensor && !writes)
            assert_memory_equal(c->in[k].memory, written[k].before, c->in[k].bytes + 2 * GUARD);
        free(written[k].before);
        free(written[k].first.memory);
    }
    fresh.values.scale = fresh.memory ? fresh.values.scale : NULL;
    tensor_deinit(&fresh);
    free(expected.real);
    free(expected.integer);
    free(expected.scale);
}

static void test_op(void **state)
{
    const struct td_op *op = *state;
    random_state = seed + op->id;
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        if (!(op->takes & TD_MASK(dtypes[d])))
            continue;
        for (int trial = 0; trial < TRIALS; trial++) {
            struct call c;
            draw_call(&c, op, dtypes[d]);
            check_call(&c);
            for (int k = 0; k < INPUTS; k++) {
                tensor_deinit(&c.in[k]);
                tensor_deinit(&c.grads[k]);
            }
        }
    }
}

/* ---- elementary functions ---- */

/* Error in units of the last place of the result's type. */
static double ulps(double got, long double want, int digits, int exponent_min)
{
    int exponent;
    if (isnan(want))
        return isnan(got) ? 0 : INFINITY;
    if ((double)want == got)
        return 0;
    if (digits == 24 && isinf((float)want)) /* the last finite numbers are as good */
        return isinf(got) || fabs(got) > FLT_MAX * (1 - 4 * FLT_EPSILON) ? 0 : INFINITY;
    if (isinf(got) || isinf((double)want))
        return INFINITY;
    frexpl(want, &exponent);
    int last = exponent - digits > exponent_min ? exponent - digits : exponent_min;
    return (double)(fabsl(got - want) / ldexpl(1, last));
}

#define sigmoid_true(x) (1 / (1 + expl(-(x))))
#define FUNCTIONS(X)                     \
    X(exp, expl, -110, 95, -750, 720, 4) \
    X(log, logl, 0, 1e6, 0, 1e9, 4)      \
    X(tanh, tanhl, -12, 12, -24, 24, 6)  \
    X(sigmoid, sigmoid_true, -110, 30, -750, 50, 4)

#define ACCURACY(name, truth, low32, high32, low64, high64, bound)                               \
    static void test_accuracy_##name(void **state)                                               \
    {                                                                                            \
        (void)state;                                                                             \
        double worst32 = 0, worst64 = 0;                                                         \
        random_state = seed;                                                                     \
        for (int i = 0; i < 1000000; i++) {                                                      \
            float x = (float)between(low32, high32);                                             \
            double y = between(low64, high64);                                                   \
            if (i % 4 == 0) { /* all magnitudes */                                               \
                x = (float)ldexp(between(0.5, 1), (int)below(150) - 149);                        \
                y = ldexp(between(0.5, 1), (int)below(1080) - 1074);                             \
            }                                                                                    \
            worst32 = fmax(worst32, ulps(td_##name##_f32(x), truth((long double)x), 24, -149));  \
            worst64 = fmax(worst64, ulps(td_##name##_f64(y), truth((long double)y), 53, -1074)); \
        }                                                                                        \
        print_message("%s: %.2f ulp in f32, %.2f in f64\n", #name, worst32, worst64);            \
        assert_true(worst32 <= bound);                                                           \
        assert_true(worst64 <= bound);                                                           \
    }
FUNCTIONS(ACCURACY)

#define SPECIAL(name, truth, ...)                                                                                    \
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {                                                              \
        assert_true(ulps(td_##name##_f64(x[i]), truth((long double)x[i]), 53, -1074) <= 6);                          \
        assert_true(                                                                                                 \
            ulps(td_##name##_f32((float)x[i]), (long double)(float)truth((long double)(float)x[i]), 24, -149) <= 6); \
    }

static void test_special_values(void **state)
{
    (void)state;
    static const double x[] = {0.0,       -0.0,     INFINITY,  -INFINITY, NAN,        1,          -1,     0x1p-149,
                               0x1p-1074, 0x1p-126, 0x1p-1022, -0x1p-149, 88.722839f, 88.722847f, -103.9, -104.5,
                               -87.5,     709.7827, 709.79,    -745.1,    -745.2,     -708.5,     1e30,   -1e30,
                               FLT_MAX,   DBL_MAX,  -DBL_MAX,  FLT_MIN,   0.625,      -0.625,     20,     -20};
    FUNCTIONS(SPECIAL)
    assert_true(signbit(td_tanh_f32(-0.0f)));
    assert_true(isnan(td_relu_f32(NAN)) && isnan(td_relu_f64(NAN)));
    assert_true(isnan(td_max_f32(NAN, 1)) && isnan(td_max_f32(1, NAN)));
    assert_int_equal(td_i64_of_f64(NAN), INT64_MIN);
    assert_int_equal(td_i64_of_f64(-INFINITY), INT64_MIN);
    assert_int_equal(td_i64_of_f64(9223372036854775808.0), INT64_MIN);
    assert_int_equal(td_i64_of_f64(-2.9), -2);
}

/* ---- random numbers ---- */

/* The published vectors of Philox4x32-10 for zeros, and for a counter and key of ones (low half of the counter). */
static void test_philox(void **state)
{
    (void)state;
    struct td_words w = td_philox(0, 0);
    assert_int_equal(w.w0, 0x6627e8d5);
    assert_int_equal(w.w1, 0xe169c58d);
    assert_int_equal(w.w2, 0xbc57ac4c);
    assert_int_equal(w.w3, 0x9b00dbd8);
}

#define DRAWN 100003

static void draw_tensor(const char *isa, int op, uint8_t dtype, int64_t low, int64_t high, int64_t count, void *to)
{
    struct td_rand_attrs shape = {.shape = {.count = 1, .v = {count}}, .dtype = dtype};
    struct td_randint_attrs integers = {.low = low, .high = high, .shape = shape.shape, .dtype = dtype};
    struct td_launch launch = {.op = td_op_of((uint64_t)op), .seed = seed, .counter = 77};
    launch.attrs = op == TD_OP_randint ? (void *)&integers : (void *)&shape;
    launch.out[0] = (struct td_operand){.data = to, .dtype = dtype, .rank = 1, .shape = {count}, .stride = {1}};
    td_device_cpu_variant(isa)->run(&launch);
}

static double value_of(const void *data, uint8_t dtype, int64_t i)
{
    return dtype == TD_F32   ? (double)((const float *)data)[i]
           : dtype == TD_F64 ? ((const double *)data)[i]
                             : (double)((const int64_t *)data)[i];
}

/* mean and variance to 5 standard errors; the first elements of a longer draw are those of a shorter one; every
 * element changes with the seed's successor. */
static void test_draws(void **state)
{
    static const struct {
        int op;
        double low, high, mean, variance, fourth;
    } laws[] = {{TD_OP_rand, 0, 1, 0.5, 1.0 / 12, 1.0 / 80},
                {TD_OP_randn, -9, 9, 0, 1, 3},
                {TD_OP_randint, -3, 8, 2.5, 143.0 / 12, 20449.0 / 80}};
    (void)state;
    double *data = malloc(2 * DRAWN * sizeof *data), *shorter = malloc(2 * DRAWN * sizeof *data);
    for (int v = 0; v < ISAS; v++)
        for (int law = 0; law < 3 && td_device_cpu_variant(isas[v]); law++)
            for (size_t d = 1; d < sizeof dtypes; d++) {
                if (!(td_op_of((uint64_t)laws[law].op)->takes & TD_MASK(dtypes[d])))
                    continue;
                double sum = 0, squares = 0, mean = laws[law].mean;
                draw_tensor(isas[v], laws[law].op, dtypes[d], -3, 9, DRAWN, data);
                draw_tensor(isas[v], laws[law].op, dtypes[d], -3, 9, 777, shorter);
                assert_memory_equal(data, shorter, 777 * td_dtype_size(dtypes[d]));
                for (int64_t i = 0; i < DRAWN; i++) {
                    double x = value_of(data, dtypes[d], i);
                    assert_true(x >= laws[law].low && x <= laws[law].high);
                    sum += x - mean;
                    squares += (x - mean) * (x - mean);
                }
                assert_true(fabs(sum / DRAWN) < 5 * sqrt(laws[law].variance / DRAWN));
                double spread = sqrt(fabs(laws[law].fourth - laws[law].variance * laws[law].variance) / DRAWN);
                assert_true(fabs(squares / DRAWN - laws[law].variance) < 5 * spread);
            }
    free(data);
    free(shorter);
}

static void test_randint_extremes(void **state)
{
    (void)state;
    int64_t x[1000];
    int negative = 0;
    for (int v = 0; v < ISAS; v++) {
        if (!td_device_cpu_variant(isas[v]))
            continue;
        draw_tensor(isas[v], TD_OP_randint, TD_I64, INT64_MIN, INT64_MAX, 1000, x);
        for (int i = 0; i < 1000; i++)
            negative += x[i] < 0;
        draw_tensor(isas[v], TD_OP_randint, TD_I64, INT64_MAX - 1, INT64_MAX, 1000, x);
        for (int i = 0; i < 1000; i++)
            assert_int_equal(x[i], INT64_MAX - 1);
    }
    assert_true(negative > 300);
    assert_int_equal(td_random_blocks(td_op_named("rand"), TD_F32, 5), 2);
    assert_int_equal(td_random_blocks(td_op_named("rand"), TD_F64, 5), 3);
    assert_int_equal(td_random_blocks(td_op_named("randint"), TD_F32, 5), 3);
}

/* ---- the device ---- */

static void test_device(void **state)
{
    (void)state;
    const struct td_device *device = td_device_cpu();
    assert_non_null(device);
    print_message("%s\n", device->description);
    assert_true(device->memory_bytes > 0);
    size_t bytes = (size_t)4 << 20;
    char *memory = device->reserve(bytes);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % ((size_t)2 << 20), 0);
    memory[0] = memory[bytes - 1] = 1;
    device->zero(memory, bytes);
    assert_int_equal(memory[bytes - 1], 0);
    device->unreserve(memory, bytes);
}

int main(void)
{
    struct CMUnitTest tests[TD_OP_LIMIT + 16];
    static char names[TD_OP_LIMIT][48];
    size_t count = 0;
    const char *given = getenv("TEST_SEED");
    seed = given ? strtoull(given, NULL, 0) : 20251123;
    print_message("TEST_SEED=%" PRIu64 "\n", seed);
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++) {
        const struct td_op *op = td_op_of((uint64_t)id);
        if (!op || !oracle_table[id])
            continue;
        snprintf(names[id], sizeof names[id], "kernel_%s", op->name);
        tests[count++] = (struct CMUnitTest){.name = names[id], .test_func = test_op, .initial_state = (void *)op};
    }
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_accuracy_exp),   cmocka_unit_test(test_accuracy_log),
        cmocka_unit_test(test_accuracy_tanh),  cmocka_unit_test(test_accuracy_sigmoid),
        cmocka_unit_test(test_special_values), cmocka_unit_test(test_philox),
        cmocka_unit_test(test_draws),          cmocka_unit_test(test_randint_extremes),
        cmocka_unit_test(test_device),
    };
    memcpy(tests + count, others, sizeof others);
    count += sizeof others / sizeof *others;
    return _cmocka_run_group_tests("kernels", tests, count, NULL, NULL);
}
