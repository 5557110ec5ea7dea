/* Every kernel of every instruction set against the oracle, on calls drawn at random: shapes with 0 and without
 * dimensions, permuted, stepped and repeated inputs. Around every buffer lie guard bytes. The seed is printed and
 * taken from TEST_SEED. Each call is made again with its work cut into small parts for 2, 3 or 5 threads, and gives the
 * same bits; so do calls that are large enough for cuts of other kinds.
 * Tolerance: |got - want| <= slack * eps * scale, where slack is the row's, eps the type's rounding step and scale the
 * sum of the magnitudes of what was added up (|want| where nothing was); doubled for f64, since the oracle rounds too;
 * and one denormal. Slack 0, and integers: equal. SPDX-License-Identifier: Apache-2.0 */
#include "tests/carry.h"
#include "tests/kernel_calls.h"
#include "tests/wrong.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar.h"
#include "tests/cuda_device.h"

#define TRIALS 80
#define LARGE_TRIALS 3
/* The emulator takes a hundred times as long as the CPU's kernels, and longer where each switch of threads is told to a
 * sanitizer. Of the large calls it gets one, there none. */
#if defined(__SANITIZE_ADDRESS__)
#define CUDA_EVERY 16
#define CUDA_LARGE 0
#else
#define CUDA_EVERY 4
#define CUDA_LARGE 1
#endif

/* The instruction sets of the CPU, and before them the CUDA device's kernels on its emulator. */
#define CUDA "cuda"
static const char *const isas[] = {CUDA, "sse2", "avx2", "avx512", "generic"};
#define ISAS 5

static uint64_t seed;

/* ---- how work is cut: the linker puts this in the way of td_parallel (Makefile) ---- */

void __real_td_parallel(int64_t count, int64_t grain, uint64_t ns, td_part *part, const void *data);
void __wrap_td_parallel(int64_t count, int64_t grain, uint64_t ns, td_part *part, const void *data);

static bool cuts; /* into parts of a few items, and calls the helpers for them; else not at all */

struct spoilt {
    td_part *part;
    const void *data;
};

/* Leaves an item out at each cut. */
static void spoilt_part(const void *data, int64_t from, int64_t to)
{
    const struct spoilt *spoilt = data;
    if (from == 0 || from + 1 < to)
        spoilt->part(spoilt->data, from + (from > 0), to);
}

void __wrap_td_parallel(int64_t count, int64_t grain, uint64_t ns, td_part *part, const void *data)
{
    static _Atomic unsigned calls;
    struct spoilt spoilt = {part, data};
    (void)grain, (void)ns;
    if (!cuts && count)
        part(data, 0, count);
    else if (is_wrong("partition"))
        __real_td_parallel(count, 1, 1 << 30, spoilt_part, &spoilt);
    else
        __real_td_parallel(count, 1 + calls++ % 3, 1 << 30, part, data);
}

/* ---- devices ---- */

static const struct td_device *device_of(const char *isa)
{
    return strcmp(isa, CUDA) ? td_device_cpu_variant(isa) : cuda_device();
}

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
                                         .size = c->size,
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
    const struct td_param *p = c->op->params;
    if (compute == TD_DTYPE_NONE)
        return;
    for (int k = 0; k < c->in_count; k++) {
        struct tensor *t = &c->in[k], made;
        while (!td_param_is_tensor(p->kind)) /* attributes may stand between */
            p++;
        bool as_it_is = !td_param_is_promoted(p->kind);
        p += !td_param_is_list(p->kind); /* the only list is the last */
        if (as_it_is || t->meta.dtype == compute || t->meta.dtype == TD_DTYPE_NONE)
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
    return op->id == TD_OP_dropout || op->id == TD_OP_bernoulli || op->id == TD_OP_poisson || op->id == TD_OP_bce;
}

/* ---- runs ---- */

/* With its guards. */
static void carry_tensor(const struct td_device *device, struct td_operand *operand, const struct tensor *t)
{
    carry(device, &operand->data, t->memory, t->bytes + 2 * GUARD);
}

/* A launch on the host's memory, by any device. */
static void run_launch(const struct td_device *device, struct td_launch *launch)
{
    struct td_operand in[INPUTS];
    const struct td_operand *given = launch->in;
    void *out = launch->out[0].data;
    for (int k = 0; k < launch->in_count; k++) {
        in[k] = given[k];
        carry_operand(device, &in[k]);
    }
    carry_operand(device, &launch->out[0]);
    launch->in = in;
    device->run(launch);
    launch->in = given;
    launch->out[0].data = out;
    carry_back(device);
}

/* Whether input k may be handed over as a number in the host's memory. */
static bool is_number(const struct call *c, int k)
{
    int at = 0;
    if (c->in[k].meta.rank)
        return false;
    if (c->op->kind == TD_STEP)
        return td_op_stepping(c->op) == TD_STEPS_BY_GRADIENTS && k == c->in_count - 1;
    for (const struct td_param *p = c->op->params; p->kind && !td_param_is_list(p->kind); p++)
        if (td_param_is_tensor(p->kind) && at++ == k)
            return p->kind == TD_PARAM_NUM;
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
    for (int k = 0; k < c->op->output_count; k++)
        launch.out[k] = operand_of(&out[k]);
    for (int k = 0; k < c->op->output_count; k++)
        carry_tensor(device, &launch.out[k], &out[k]);
    for (int k = 0; k < c->in_count; k++) {
        in[k] = operand_of(&c->in[k]);
        in[k].immediate = is_number(c, k) && below(2);
        if (is_elementwise(c->op))
            expand(&in[k], &launch.out[0]);
        if (!in[k].immediate)
            carry_tensor(device, &in[k], &c->in[k]);
    }
    for (int k = 0; k < c->params; k++) {
        grads[k] = operand_of(&c->grads[k]);
        carry_tensor(device, &grads[k], &c->grads[k]);
    }
    assert_true(device->cost(&launch) > 0);
    device->run(&launch);
    carry_back(device);
    if (is_wrong(c->op->name) && !launch.fault.code && c->op->output_count && out[0].values.count)
        ((unsigned char *)operand_of(&out[0]).data)[td_dtype_size(launch.out[0].dtype) / 2] ^= 0x11;
    *fault = launch.fault;
}

/* ---- judgement ---- */

static bool close_enough(double got, long double want, double scale, uint8_t dtype, int slack)
{
    double eps = dtype == TD_F32 ? FLT_EPSILON : 2 * DBL_EPSILON, tiny = dtype == TD_F32 ? 0x1p-149 : 0x1p-1074;
    double rounded = dtype == TD_F32 ? (double)(float)want : (double)want;
    if (isnan(scale) && !isnan(want)) /* what is right is left open */
        return true;
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
            fail_msg("%s %s: %s gives other bits at element %" PRId64 ": %.17g and %.17g", c->op->name,
                     td_dtype_name(a->meta.dtype), isa, i, td_number_real(x), td_number_real(y));
    }
}

/* Inputs, results and gradients. */
#define WRITTEN (2 * INPUTS + TD_OUTPUTS_MAX)

/* A tensor that a kernel writes: its state before, and the first variant's result. */
struct written {
    struct tensor *tensor, first;
    char *before;
};

/* Whether the CUDA device gives the CPU's bits: of what is drawn, so that a program draws the same on every device, of
 * what is made of places, and of elements that are rounded right in each step. */
static bool has_same_bits(const struct td_op *op)
{
    return op->kind == TD_RANDOM || op->kind == TD_CREATE || (is_elementwise(op) && op->slack <= 1);
}

static void check_written(struct call *c, struct written *w, int fault, const char *isa)
{
    size_t bytes = w->tensor->bytes + 2 * GUARD;
    assert_guards(w->tensor);
    assert_gaps(w->tensor, w->before);
    if (fault == TD_E_SINGULAR) /* the results are dropped */
        return;
    if (fault) {
        assert_memory_equal(w->tensor->memory, w->before, bytes);
        return;
    }
    if (!strcmp(isa, CUDA) && !has_same_bits(c->op)) /* sums are made in another order */
        return;
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
    const struct td_device *device = device_of(isa);
    struct td_fault fault;
    if (!device)
        return;
    for (int k = 0; k < WRITTEN; k++)
        if (written[k].tensor)
            memcpy(written[k].tensor->memory, written[k].before, written[k].tensor->bytes + 2 * GUARD);
    run(device, c, out, &fault);
    assert_int_equal(fault.code, want->fault);
    if (fault.code) {
        assert_int_equal(fault.value, want->value);
        assert_int_equal(fault.size, want->size);
        assert_int_equal(fault.position, want->position);
    }
    for (int k = 0; k < WRITTEN; k++)
        if (written[k].tensor)
            check_written(c, &written[k], fault.code, isa);
    if (fault.code || want->drawn)
        return;
    for (int k = 0; k < c->op->output_count; k++)
        compare(c, &out[k], &want->out[k], isa);
    for (int k = 0; k < c->in_count && c->op->kind == TD_STEP; k++)
        compare(c, &c->in[k], &want->in[k], isa);
    for (int k = 0; k < c->params; k++)
        compare(c, &c->grads[k], &want->grads[k], isa);
}

static void keep(struct written *w, struct tensor *tensor)
{
    if (!tensor->memory) /* an input left out */
        return;
    w->tensor = tensor;
    w->before = malloc(tensor->bytes + 2 * GUARD);
    memcpy(w->before, tensor->memory, tensor->bytes + 2 * GUARD);
}

static void make_results(const struct call *c, struct tensor *fresh, struct written *written)
{
    for (int k = 0; k < c->op->output_count; k++) {
        fresh[k].meta = c->inference.out[k];
        fresh[k].meta.offset = 0;
        values_init(&fresh[k].values, fresh[k].meta.dtype, fresh[k].meta.rank, fresh[k].meta.shape);
        allocate(&fresh[k]);
        keep(&written[INPUTS + k], &fresh[k]);
    }
}

static int widest(void)
{
    int v = ISAS - 1;
    while (!device_of(isas[v]))
        v--;
    return v;
}

static bool spares_cuda; /* the call at hand */

static void check_call(struct call *c)
{
    infer(c);
    convert_inputs(c);
    struct tensor fresh[TD_OUTPUTS_MAX] = {0};
    struct written written[WRITTEN] = {0};
    struct oracle_tensor in[INPUTS], grads[INPUTS] = {0}, expected[TD_OUTPUTS_MAX] = {0};
    bool in_place = c->op->kind == TD_INPLACE;
    if (!in_place)
        make_results(c, fresh, written);
    for (int k = 0; k < c->op->output_count; k++)
        values_init(&expected[k], c->inference.out[k].dtype, c->inference.out[k].rank, c->inference.out[k].shape);
    for (int k = 0; k < c->in_count; k++) {
        in[k] = c->in[k].values;
        keep(&written[k], &c->in[k]);
    }
    for (int k = 0; k < c->params; k++) {
        grads[k] = c->grads[k].values;
        keep(&written[INPUTS + TD_OUTPUTS_MAX + k], &c->grads[k]);
    }
    struct oracle_call want = {.op = c->op,
                               .in_count = c->in_count,
                               .in = in,
                               .grads = grads,
                               .list_counts = c->lists,
                               .attrs = c->attrs,
                               .out = expected};
    /* Their lines in the oracle go over all of a row for each element. */
    want.drawn = draws_large &&
                 (c->op->id == TD_OP_matmul || !strcmp(c->op->group, "softmax") || !strcmp(c->op->group, "attention"));
    if (!want.drawn)
        oracle_run(&want);
    for (int v = spares_cuda; v < ISAS; v++)
        for (int cut = 0; cut < (v ? 2 : 1) && !(draws_large && v && v != widest()); cut++) {
            cuts = cut;
            check_variant(c, written, in_place ? &c->in[0] : fresh, &want, isas[v]);
        }
    cuts = false;
    for (int k = 0; k < WRITTEN; k++) {
        bool writes = c->op->kind == TD_STEP || (in_place && k == 0) || k >= INPUTS;
        if (written[k].tensor && !writes)
            assert_memory_equal(c->in[k].memory, written[k].before, c->in[k].bytes + 2 * GUARD);
        free(written[k].before);
        free(written[k].first.memory);
    }
    for (int k = 0; k < TD_OUTPUTS_MAX; k++) {
        struct tensor wanted = {.values = expected[k]};
        tensor_deinit(&fresh[k]);
        tensor_deinit(&wanted);
    }
}

static void draw_and_check(const struct td_op *op, uint8_t dtype, bool on_cuda)
{
    spares_cuda = !on_cuda;
    struct call c;
    draw_call(&c, op, dtype);
    check_call(&c);
    for (int k = 0; k < INPUTS; k++) {
        tensor_deinit(&c.in[k]);
        tensor_deinit(&c.grads[k]);
    }
}

/* Whether the op's kernels see that dtype: of bool some work in numbers. */
static bool is_worked_in(const struct td_op *op, uint8_t dtype)
{
    return op->takes & TD_MASK(dtype) && td_device_cpu()->works_in_narrow(op, dtype) == dtype;
}

static void test_op(void **state)
{
    const struct td_op *op = *state;
    random_state = seed + op->id;
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        if (!is_worked_in(op, dtypes[d]))
            continue;
        for (int trial = 0; trial < TRIALS; trial++) {
            if (trial % (TRIALS / 2) == 0)
                td_device_cpu()->set_threads(trial ? 3 : 2);
            draw_and_check(op, dtypes[d], trial % CUDA_EVERY == 0);
        }
    }
    td_device_cpu()->set_threads(5);
    for (int trial = 0; trial < LARGE_TRIALS; trial++) {
        uint8_t dtype;
        do
            dtype = dtypes[below(sizeof dtypes)];
        while (!is_worked_in(op, dtype));
        draws_large = true;
        draw_and_check(op, dtype, trial < CUDA_LARGE);
        draws_large = false;
    }
    td_device_cpu()->set_threads(1);
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
    run_launch(device_of(isa), &launch);
}

static double value_of(const void *data, uint8_t dtype, int64_t i)
{
    return dtype == TD_F32   ? (double)((const float *)data)[i]
           : dtype == TD_F64 ? ((const double *)data)[i]
           : dtype == TD_I32 ? ((const int32_t *)data)[i]
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
        for (int law = 0; law < 3 && device_of(isas[v]); law++)
            for (size_t d = 1; d < sizeof dtypes; d++) {
                if (!is_worked_in(td_op_of((uint64_t)laws[law].op), dtypes[d]))
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

/* Kept is what rand's number for it, in f32, lets pass; a turned input gets the same decisions. */
static void test_dropout(void **state)
{
    (void)state;
    enum { ROWS = 37, COLUMNS = 101, COUNT = ROWS * COLUMNS };
    static float drawn[COUNT], x32[COUNT], y32[COUNT];
    static double x64[COUNT], y64[COUNT];
    struct td_dropout_attrs a = {.p = 0.3, .training = 1};
    for (int i = 0; i < COUNT; i++)
        x64[i] = x32[i] = (float)(i + 1);
    for (int v = 0; v < ISAS; v++) {
        if (!device_of(isas[v]))
            continue;
        draw_tensor(isas[v], TD_OP_rand, TD_F32, 0, 0, COUNT, drawn);
        for (int trial = 0; trial < 4; trial++) {
            bool wide = trial & 1, turned = trial & 2;
            struct td_operand in = {
                .data = wide ? (void *)x64 : (void *)x32, .dtype = wide ? TD_F64 : TD_F32, .rank = 2};
            in.shape[0] = ROWS, in.shape[1] = COLUMNS;
            in.stride[0] = turned ? 1 : COLUMNS, in.stride[1] = turned ? ROWS : 1;
            struct td_launch launch = {.op = td_op_named("dropout"), .in = &in, .in_count = 1, .attrs = &a};
            launch.seed = seed, launch.counter = 77;
            launch.out[0] = in;
            launch.out[0].data = wide ? (void *)y64 : (void *)y32;
            run_launch(device_of(isas[v]), &launch);
            for (int i = 0; i < COUNT; i++) {
                int at = turned ? i / COLUMNS + i % COLUMNS * ROWS : i;
                double want = (double)drawn[i] >= a.p ? x64[at] / (1 - a.p) : 0;
                assert_true(fabs((wide ? y64[at] : (double)y32[at]) - want) <= (wide ? 3e-16 : 1.2e-7) * want);
            }
        }
    }
    struct td_dropout_attrs drops = {.p = 0.5, .training = 1};
    assert_int_equal(td_random_blocks(td_op_named("dropout"), &drops, TD_F64, 5), 2);
    drops.training = 0;
    assert_int_equal(td_random_blocks(td_op_named("dropout"), &drops, TD_F64, 5), 0);
    drops = (struct td_dropout_attrs){.p = 0, .training = 1};
    assert_int_equal(td_random_blocks(td_op_named("dropout"), &drops, TD_F64, 5), 0);
}

/* One drawing of 1000 places by weights that all rows share. */
static void draw_places(const char *isa, bool again, int64_t count, int64_t *places, struct td_fault *fault,
                        float spoilt)
{
    static float weights[] = {0, 1, 0, 3, 4, 0, 0.5f, 1.5f, 0};
    struct td_multinomial_attrs a = {.count = count, .replacement = again};
    struct td_operand in = {.data = weights, .dtype = TD_F32, .rank = 2, .shape = {1000 / count, 9}, .stride = {0, 1}};
    struct td_launch launch = {.op = td_op_named("multinomial"), .in = &in, .in_count = 1, .attrs = &a};
    launch.seed = seed, launch.counter = 77;
    launch.out[0] = (struct td_operand){
        .data = places, .dtype = TD_I64, .rank = 2, .shape = {1000 / count, count}, .stride = {count, 1}};
    weights[8] = spoilt;
    run_launch(device_of(isa), &launch);
    weights[8] = 0;
    *fault = launch.fault;
}

/* Places come in the proportion of their weights, and never those of weight 0; without replacement each comes once. */
static void test_places(void **state)
{
    (void)state;
    static const double chance[9] = {0, 0.1, 0, 0.3, 0.4, 0, 0.05, 0.15, 0};
    static int64_t places[1000], first[1000];
    struct td_fault fault;
    for (int v = 0; v < ISAS; v++) {
        if (!device_of(isas[v]))
            continue;
        for (int64_t count = 1; count <= 1000; count *= 1000) {
            int found[9] = {0};
            draw_places(isas[v], true, count, places, &fault, 0);
            assert_int_equal(fault.code, 0);
            for (int k = 0; k < 1000; k++)
                found[places[k]]++;
            for (int k = 0; k < 9; k++) {
                double due = 1000 * chance[k];
                assert_true(fabs(found[k] - due) <= 5 * sqrt(due * (1 - chance[k])));
            }
            memcpy(count == 1 ? first : places, places, sizeof places);
            assert_memory_equal(first, places, sizeof places); /* each draw is its own, however rows lie */
        }
        draw_places(isas[v], false, 5, places, &fault, 0);
        assert_int_equal(fault.code, 0);
        for (int k = 0; k < 1000; k++) {
            assert_true(chance[places[k]] > 0);
            for (int before = k / 5 * 5; before < k; before++)
                assert_true(places[before] != places[k]);
        }
        draw_places(isas[v], false, 8, places, &fault, 0); /* of 5 with any weight */
        assert_true(fault.code == TD_E_ARGUMENT && strstr(fault.why, "fewer weights"));
        draw_places(isas[v], true, 5, places, &fault, -1);
        assert_true(fault.code == TD_E_ARGUMENT && strstr(fault.why, "negative"));
    }
}

/* Coins fall as rand's numbers of their type do. */
static void test_coins(void **state)
{
    (void)state;
    static double drawn[1001], p[1001], y[1001];
    for (int v = 0; v < ISAS; v++)
        for (int wide = 0; wide < 2 && device_of(isas[v]); wide++) {
            uint8_t dtype = wide ? TD_F64 : TD_F32;
            draw_tensor(isas[v], TD_OP_rand, dtype, 0, 0, 1001, drawn);
            for (int i = 0; i < 1001; i++)
                td_number_store((struct td_number){.category = TD_FLOATING, .f = i / 1000.0}, dtype,
                                (char *)p + (size_t)i * td_dtype_size(dtype));
            struct td_operand in = {.data = p, .dtype = dtype, .rank = 1, .shape = {1001}, .stride = {1}};
            struct td_launch launch = {.op = td_op_named("bernoulli"), .in = &in, .in_count = 1};
            launch.seed = seed, launch.counter = 77;
            launch.out[0] = in;
            launch.out[0].data = y;
            run_launch(device_of(isas[v]), &launch);
            for (int i = 0; i < 1001; i++)
                assert_true(value_of(y, dtype, i) == (value_of(drawn, dtype, i) < value_of(p, dtype, i)));
        }
    assert_int_equal(td_random_blocks(td_op_named("multinomial"), NULL, TD_I64, 5), 3);
    assert_int_equal(td_random_blocks(td_op_named("poisson"), NULL, TD_F32, 5), 3);
}

static void test_randint_extremes(void **state)
{
    (void)state;
    int64_t x[1000];
    int negative = 0;
    for (int v = 0; v < ISAS; v++) {
        if (!device_of(isas[v]))
            continue;
        draw_tensor(isas[v], TD_OP_randint, TD_I64, INT64_MIN, INT64_MAX, 1000, x);
        for (int i = 0; i < 1000; i++)
            negative += x[i] < 0;
        draw_tensor(isas[v], TD_OP_randint, TD_I64, INT64_MAX - 1, INT64_MAX, 1000, x);
        for (int i = 0; i < 1000; i++)
            assert_int_equal(x[i], INT64_MAX - 1);
    }
    assert_true(negative > 300);
    assert_int_equal(td_random_blocks(td_op_named("rand"), NULL, TD_F32, 5), 2);
    assert_int_equal(td_random_blocks(td_op_named("rand"), NULL, TD_F64, 5), 3);
    assert_int_equal(td_random_blocks(td_op_named("randint"), NULL, TD_F32, 5), 3);
}

/* ---- optimiser steps of halves ---- */

/* t in dtype, laid out the same; t's own elements become what dtype holds of them. */
static void halve(struct tensor *t, uint8_t dtype, struct tensor *half)
{
    *half = (struct tensor){.meta = t->meta};
    half->meta.dtype = dtype;
    allocate(half);
    for (int64_t i = 0; i < t->values.count; i++) {
        td_number_store(get(t, i), dtype, element_at(half, i));
        store(t, i, td_number_load(dtype, element_at(half, i)));
    }
}

/* What became of t in f32, rounded, is what became of half. */
static void expect_halves(const struct call *c, const struct tensor *t, const struct tensor *half, double loss)
{
    for (int64_t i = 0; i < t->values.count; i++) {
        uint64_t rounded = 0;
        td_number_store(get(t, i), half->meta.dtype, &rounded);
        double due = td_number_load(half->meta.dtype, &rounded).f;
        double got = td_number_load(half->meta.dtype, element_at(half, i)).f;
        if (!(fabs(got - due) <= loss * fabs(due)) && !(got == due) && !(isnan(got) && isnan(due)))
            fail_msg("%s of %s: element %d is %g where %g is due", c->op->name, td_dtype_name(half->meta.dtype), (int)i,
                     got, due);
    }
    assert_guards(half);
}

static void check_halves(const char *isa, const struct td_op *op, uint8_t dtype)
{
    struct call wide, narrow;
    struct td_fault fault;
    struct tensor norm[2] = {0};
    draw_call(&wide, op, TD_F32);
    narrow = wide;
    for (int k = 0; k < wide.in_count; k++)
        if (wide.in[k].meta.dtype == TD_F32)
            halve(&wide.in[k], dtype, &narrow.in[k]);
        else if (wide.in[k].meta.dtype == TD_I64) /* counts, which both raise */
            make(&narrow.in[k], TD_I64, 1, wide.in[k].meta.shape, TD_REALS, DENSE);
    for (int k = 0; k < wide.in_count; k++)
        for (int64_t i = 0; i < wide.in[k].values.count && wide.in[k].meta.dtype == TD_I64; i++)
            store(&narrow.in[k], i, get(&wide.in[k], i));
    for (int k = 0; k < wide.params; k++)
        if (wide.grads[k].memory)
            halve(&wide.grads[k], dtype, &narrow.grads[k]);
    for (int k = 0; k < 2; k++)
        make(&norm[k], TD_F32, 0, (int64_t[TD_RANK_MAX]){0}, TD_REALS, DENSE);
    run(device_of(isa), &wide, &norm[0], &fault);
    run(device_of(isa), &narrow, &norm[1], &fault);
    double loss = op->id == TD_OP_clip_grad_norm_ ? 0.01 : 0; /* the norm is put together in another order */
    for (int k = 0; k < wide.in_count; k++)
        if (wide.in[k].meta.dtype == TD_F32)
            expect_halves(&wide, &wide.in[k], &narrow.in[k], loss);
    for (int k = 0; k < wide.params; k++)
        if (wide.grads[k].memory)
            expect_halves(&wide, &wide.grads[k], &narrow.grads[k], loss);
    if (op->output_count)
        assert_true(fabs(get(&norm[0], 0).f - get(&norm[1], 0).f) <= 1e-5 * fabs(get(&norm[0], 0).f));
    tensor_deinit(&norm[0]);
    tensor_deinit(&norm[1]);
    for (int k = 0; k < INPUTS; k++) {
        const void *memory = wide.in[k].memory;
        tensor_deinit(&wide.in[k]);
        tensor_deinit(&wide.grads[k]);
        free(narrow.grads[k].memory);
        if (narrow.in[k].meta.dtype == TD_I64)
            tensor_deinit(&narrow.in[k]);
        else if (narrow.in[k].memory != memory) /* a rate is only read, by both */
            free(narrow.in[k].memory);
    }
}

/* A step of halves is that of f32, rounded once. */
static void test_steps_of_halves(void **state)
{
    (void)state;
    random_state = seed;
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++)
        for (int v = 0; v < ISAS && td_op_of((uint64_t)id) && td_op_of((uint64_t)id)->kind == TD_STEP; v++)
            for (int trial = 0; trial < 60 && device_of(isas[v]); trial++)
                check_halves(isas[v], td_op_of((uint64_t)id), trial % 2 ? TD_F16 : TD_BF16);
}

/* ---- products of halves ---- */

static void check_half_product(const char *isa, const struct td_op *op, uint8_t dtype)
{
    struct call wide, narrow;
    struct td_fault fault;
    struct tensor out = {0};
    struct oracle_tensor in[INPUTS], due;
    draw_call(&wide, op, TD_F32);
    infer(&wide);
    narrow = wide;
    for (int k = 0; k < wide.in_count; k++) {
        if (wide.in[k].memory)
            halve(&wide.in[k], dtype, &narrow.in[k]);
        read_back(&wide.in[k]);
        in[k] = wide.in[k].values;
    }
    out.meta = wide.inference.out[0];
    out.meta.dtype = dtype;
    allocate(&out);
    values_init(&due, TD_F32, out.meta.rank, out.meta.shape);
    struct oracle_call want = {.op = op, .in_count = wide.in_count, .in = in, .attrs = wide.attrs, .out = &due};
    oracle_run(&want);
    out.values.count = due.count;
    run(device_of(isa), &narrow, &out, &fault);
    double eps = dtype == TD_F16 ? 0x1p-11 : 0x1p-8, tiny = dtype == TD_F16 ? 0x1p-24 : 0x1p-133;
    for (int64_t i = 0; i < due.count; i++) {
        double got = td_number_load(dtype, element_at(&out, i)).f, wanted = (double)due.real[i];
        double slack = op->slack * (double)FLT_EPSILON * due.scale[i];
        if (!(fabs(got - wanted) <= slack + eps * (fabs(wanted) + slack) + tiny))
            fail_msg("%s %s %s: element %" PRId64 " is %g where %g is due", op->name, td_dtype_name(dtype), isa, i, got,
                     wanted);
    }
    assert_guards(&out);
    free(out.memory);
    tensor_deinit(&(struct tensor){.values = due});
    for (int k = 0; k < INPUTS; k++) {
        if (wide.in[k].memory)
            free(narrow.in[k].memory);
        tensor_deinit(&wide.in[k]);
    }
}

/* Where a device takes halves as they are, sums are made in f32 and rounded once. */
static void test_products_of_halves(void **state)
{
    static const char *const products[] = {"matmul",           "linear",           "conv1d",
                                           "conv2d",           "conv3d",           "conv_transpose1d",
                                           "conv_transpose2d", "conv_transpose3d", "conv_weight"};
    static const uint8_t halves[] = {TD_F16, TD_BF16};
    enum { COUNT = sizeof products / sizeof *products };
    (void)state;
    random_state = seed;
    for (int v = 0; v < ISAS; v++)
        for (int trial = 0; trial < 2 * COUNT * TRIALS && device_of(isas[v]); trial++) {
            const struct td_op *op = td_op_named(products[trial % COUNT]);
            uint8_t dtype = halves[trial / COUNT % 2];
            bool as_they_are = device_of(isas[v])->works_in_narrow(op, dtype) == dtype;
            assert_true(as_they_are || strcmp(isas[v], CUDA));
            draws_large = !strcmp(op->group, "conv") && trial / COUNT % 40 == 39; /* the oracle is slow with matmul's */
            if (as_they_are)
                check_half_product(isas[v], op, dtype);
            draws_large = false;
        }
}

/* A call that differs from the one before in where its operands lie only reads its own. */
static void test_linear_again(void **state)
{
    enum { SIZE = 64 }; /* all lie as well aligned as each other */
    static _Alignas(256) float x[2][SIZE], w[2][SIZE], bias[2][SIZE], y[2][SIZE];
    (void)state;
    for (int i = 0; i < 2 * SIZE; i++) {
        x[i / SIZE][i % SIZE] = (float)(i % 7);
        w[i / SIZE][i % SIZE] = (float)(i % 5);
        bias[i / SIZE][i % SIZE] = (float)i;
    }
    for (int v = 0; v < ISAS; v++)
        for (int call = 0; call < 2 && device_of(isas[v]); call++) {
            struct td_operand in[] = {{.data = x[call], .dtype = TD_F32, .rank = 2, .shape = {4, 3}, .stride = {3, 1}},
                                      {.data = w[call], .dtype = TD_F32, .rank = 2, .shape = {5, 3}, .stride = {3, 1}},
                                      {.data = bias[call], .dtype = TD_F32, .rank = 1, .shape = {5}, .stride = {1}}};
            struct td_launch launch = {.op = td_op_named("linear"), .in_count = 3, .in = in};
            launch.out[0] =
                (struct td_operand){.data = y[call], .dtype = TD_F32, .rank = 2, .shape = {4, 5}, .stride = {5, 1}};
            run_launch(device_of(isas[v]), &launch);
            for (int i = 0; i < 20; i++) {
                float due = bias[call][i % 5];
                for (int k = 0; k < 3; k++)
                    due += x[call][i / 5 * 3 + k] * w[call][i % 5 * 3 + k];
                assert_float_equal(y[call][i], due, 0);
            }
        }
}

/* BLAS adds an element up in an order that depends on where it is, at the edges of the product above all. */
static void check_panels(const char *isa, uint8_t dtype, const int64_t *size)
{
    struct tensor a, b, y[2];
    make(&a, dtype, 2, (int64_t[TD_RANK_MAX]){size[0], size[1]}, TD_REALS, DENSE);
    make(&b, dtype, 2, (int64_t[TD_RANK_MAX]){size[1], size[2]}, TD_REALS, DENSE);
    for (int cut = 0; cut < 2; cut++) {
        make(&y[cut], dtype, 2, (int64_t[TD_RANK_MAX]){size[0], size[2]}, TD_REALS, DENSE);
        struct td_operand in[] = {operand_of(&a), operand_of(&b)};
        struct td_launch launch = {.op = td_op_of(TD_OP_matmul), .in_count = 2, .in = in};
        launch.out[0] = operand_of(&y[cut]);
        cuts = cut;
        td_device_cpu()->set_threads(cut ? 3 : 1);
        run_launch(device_of(isa), &launch);
    }
    cuts = false;
    td_device_cpu()->set_threads(1);
    assert_memory_equal(y[0].memory + GUARD, y[1].memory + GUARD, y[0].bytes);
    tensor_deinit(&a);
    tensor_deinit(&b);
    tensor_deinit(&y[0]);
    tensor_deinit(&y[1]);
}

static void test_panels(void **state)
{
    static const int64_t sizes[][3] = {
        {331, 175, 611}, {466, 38, 394}, {589, 505, 677}, {20, 640, 1594}, {1031, 97, 55}};
    (void)state;
    random_state = seed;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int wide = 0; wide < 2; wide++)
            check_panels(isas[widest()], wide ? TD_F64 : TD_F32, sizes[k]);
}

/* Rows picked into a result that is too large for caches, and so is written past them. */
static void test_many_rows(void **state)
{
    enum { ROWS = 100, WIDTH = 48, PICKED = 90001 };
    float *x = malloc(ROWS * WIDTH * sizeof *x), *y = aligned_alloc(64, (size_t)PICKED * WIDTH * sizeof *y);
    int64_t *index = malloc(PICKED * sizeof *index);
    struct td_operand in[] = {{.data = x, .dtype = TD_F32, .rank = 2, .shape = {ROWS, WIDTH}, .stride = {WIDTH, 1}},
                              {.data = index, .dtype = TD_I64, .rank = 1, .shape = {PICKED}, .stride = {1}}};
    struct td_index_select_attrs attrs = {.dim = 0};
    (void)state;
    random_state = seed;
    for (int i = 0; i < ROWS * WIDTH; i++)
        x[i] = (float)i;
    for (int i = 0; i < PICKED; i++)
        index[i] = below(ROWS);
    for (int v = 0; v < 2 * ISAS; v++) {
        const struct td_device *device = device_of(isas[v / 2]);
        struct td_launch launch = {
            .op = td_op_of(v % 2 ? TD_OP_embedding : TD_OP_index_select), .in_count = 2, .in = in};
        launch.attrs = v % 2 ? NULL : &attrs;
        launch.out[0] =
            (struct td_operand){.data = y, .dtype = TD_F32, .rank = 2, .shape = {PICKED, WIDTH}, .stride = {WIDTH, 1}};
        if (!device)
            continue;
        memset(y, 0, (size_t)PICKED * WIDTH * sizeof *y);
        run_launch(device, &launch);
        for (int i = 0; i < PICKED; i++)
            assert_memory_equal(y + (size_t)i * WIDTH, x + index[i] * WIDTH, WIDTH * sizeof *x);
    }
    free(x);
    free(y);
    free(index);
}

/* ---- a list that names the same memory twice ---- */

static void add_reals(struct tensor *t, int64_t count)
{
    make(t, TD_F32, 1, (int64_t[TD_RANK_MAX]){count}, TD_REALS, DENSE);
}

/* One update comes after the other, and what they lie between takes no part. */
static void check_twice(const char *isa, int64_t count)
{
    struct call c = {.op = td_op_of(TD_OP_sgd_step_), .params = 3, .lists = {3, 0}};
    struct td_fault fault;
    float *due = malloc((size_t)count * sizeof *due);
    td_op_defaults(c.op, c.attrs);
    add_reals(next(&c), count);
    add_reals(next(&c), count);
    *next(&c) = c.in[0];
    for (int k = 0; k < c.params; k++)
        add_reals(&c.grads[k], count);
    make(next(&c), TD_I64, 1, (int64_t[TD_RANK_MAX]){c.params}, TD_REALS, DENSE);
    make(next(&c), TD_F64, 0, (int64_t[TD_RANK_MAX]){0}, TD_REALS, DENSE);
    store(&c.in[4], 0, (struct td_number){.category = TD_FLOATING, .f = 0.125});
    for (int64_t i = 0; i < count; i++) {
        due[i] = (float)get(&c.in[0], i).f - 0.125f * (float)get(&c.grads[0], i).f;
        due[i] -= 0.125f * (float)get(&c.grads[2], i).f;
    }
    run(device_of(isa), &c, NULL, &fault);
    assert_int_equal(fault.code, TD_E_OK);
    for (int64_t i = 0; i < count; i++)
        assert_true(get(&c.in[0], i).f == (double)due[i]);
    c.in[2] = (struct tensor){0};
    free(due);
    for (int k = 0; k < INPUTS; k++) {
        tensor_deinit(&c.in[k]);
        tensor_deinit(&c.grads[k]);
    }
}

static void test_named_twice(void **state)
{
    (void)state;
    random_state = seed;
    for (int v = 0; v < ISAS; v++)
        for (int trial = 0; trial < 10 && device_of(isas[v]); trial++)
            check_twice(isas[v], 1 + below(9000));
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
    device->zero(0, memory, bytes);
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
    if (getenv("TEST_ONLY")) /* a test's name */
        cmocka_set_test_filter(getenv("TEST_ONLY"));
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++) {
        const struct td_op *op = td_op_of((uint64_t)id);
        if (!op || !oracle_table[id])
            continue;
        snprintf(names[id], sizeof names[id], "kernel_%s", op->name);
        tests[count++] = (struct CMUnitTest){.name = names[id], .test_func = test_op, .initial_state = (void *)op};
    }
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_philox),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_steps_of_halves),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_randint_extremes),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_coins),
        cmocka_unit_test(test_products_of_halves),
        cmocka_unit_test(test_linear_again),
        cmocka_unit_test(test_panels),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_named_twice),
    };
    memcpy(tests + count, others, sizeof others);
    count += sizeof others / sizeof *others;
    return _cmocka_run_group_tests("kernels", tests, count, NULL, NULL);
}
