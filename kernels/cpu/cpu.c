/* The CPU as a device: memory, the choice of kernels, and what they cost. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/cpu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kernels/cpu/lapack.h"
#include "kernels/cpu/parallel.h"
#include "protocol/error.h"

#define HUGE_PAGE ((size_t)2 << 20)

/* ---- memory ---- */

static void *reserve(size_t bytes)
{
    /* Aligned, so that the kernel can give huge pages: page faults are most of the price of fresh memory. */
    char *memory = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE, after = HUGE_PAGE - before;
    if (before)
        munmap(memory, before);
    if (after)
        munmap(memory + before + bytes, after);
    (void)madvise(memory + before, bytes, MADV_HUGEPAGE); /* a wish: kernels without it are slower, not wrong */
    return memory + before;
}

static void unreserve(void *memory, size_t bytes)
{
    munmap(memory, bytes);
}

/* Sizes of 0 come with pointers to nothing. */
static void copy(int lane, void *to, const void *from, size_t bytes)
{
    (void)lane;
    if (bytes)
        memcpy(to, from, bytes);
}

static void upload(void *to, const void *from, size_t bytes, bool pinned)
{
    (void)pinned;
    copy(TD_LANE_UPLOAD, to, from, bytes);
}

static void zero(int lane, void *to, size_t bytes)
{
    (void)lane;
    if (bytes)
        memset(to, 0, bytes);
}

/* ---- points: all that was asked for before is done when one is made ---- */

struct td_point {
    struct timespec at;
};

static void settle(int lane)
{
    (void)lane;
}

static bool mark(struct td_point **point, int lane)
{
    (void)lane;
    if (!*point && !(*point = malloc(sizeof **point)))
        return false;
    clock_gettime(CLOCK_MONOTONIC, &(*point)->at);
    return true;
}

static void follow(int lane, const struct td_point *point)
{
    (void)lane;
    (void)point;
}

static bool passed(const struct td_point *point)
{
    (void)point;
    return true;
}

static double between(const struct td_point *from, const struct td_point *to)
{
    return (double)(to->at.tv_sec - from->at.tv_sec) * 1e3 + (double)(to->at.tv_nsec - from->at.tv_nsec) / 1e6;
}

static void forget(struct td_point *point)
{
    free(point);
}

/* ---- what ops need and cost ---- */

/* The groups of the table as numbers: they are asked for at each launch, where comparing names shows. */
enum group {
    GROUP_attention,
    GROUP_binary,
    GROUP_compare,
    GROUP_conv,
    GROUP_copy,
    GROUP_create,
    GROUP_index,
    GROUP_join,
    GROUP_linalg,
    GROUP_loss,
    GROUP_move,
    GROUP_norm,
    GROUP_pool,
    GROUP_random,
    GROUP_reduce,
    GROUP_scan,
    GROUP_search,
    GROUP_softmax,
    GROUP_sort,
    GROUP_special,
    GROUP_step,
    GROUP_strided,
    GROUP_ternary,
    GROUP_unary,
    GROUP_view
};

static const uint8_t group_of[TD_OP_LIMIT] = {
#define TD_OP(id, name, group, ...) [id] = GROUP_##group,
#include "protocol/ops.def"
#include "protocol/ops_undef.h"
};

/* The strided ops see their content as one row of elements, and so do these; norms and what they multiply with go by
 * rows. Everything else reads strides in place. */
static uint32_t dense_inputs(const struct td_op *op)
{
    if (op->id == TD_OP_masked_scatter) /* whose source is taken row by row */
        return 1u << 2;
    bool strided = op->id == TD_OP_strided_read || op->id == TD_OP_strided_write || op->id == TD_OP_strided_add;
    if (group_of[op->id] == GROUP_pool)
        return 1u << 0;
    if (group_of[op->id] == GROUP_conv || group_of[op->id] == GROUP_norm) /* their rows are matrices */
        return 1u << 0 | 1u << 1 | 1u << 2;
    return strided || op->id == TD_OP_roll || op->id == TD_OP_repeat_interleave ? 1u << 0 : 0;
}

/* Ops that move elements as they are, by their size; all others compute, in wide dtypes. */
static const bool moves[TD_OP_LIMIT] = {
    [TD_OP_from] = true,
    [TD_OP_clone] = true,
    [TD_OP_to] = true,
    [TD_OP_fill_] = true,
    [TD_OP_copy_] = true,
    [TD_OP_full_like] = true,
    [TD_OP_zeros] = true,
    [TD_OP_ones] = true,
    [TD_OP_full] = true,
    [TD_OP_eye] = true,
    [TD_OP_embedding] = true,
    [TD_OP_index_select] = true,
    [TD_OP_gather] = true,
    [TD_OP_cat] = true,
    [TD_OP_stack] = true,
    [TD_OP_strided_read] = true,
    [TD_OP_strided_write] = true,
    [TD_OP_nan_to_num] = true, /* whose greatest number is the type's own */
    [TD_OP_flip] = true,
    [TD_OP_roll] = true,
    [TD_OP_repeat] = true,
    [TD_OP_repeat_interleave] = true,
    [TD_OP_tril] = true,
    [TD_OP_triu] = true,
    [TD_OP_diag_embed] = true,
    [TD_OP_pad] = true,
    [TD_OP_scatter] = true,
    [TD_OP_index_copy] = true,
    [TD_OP_index_fill] = true,
    [TD_OP_index] = true,
    [TD_OP_nonzero] = true,
    [TD_OP_masked_select] = true,
    [TD_OP_masked_scatter] = true,
};

/* Ops of numbers to which bools are 0 and 1, and what is not 0 true. */
static const bool counts_truth[TD_OP_LIMIT] = {
    [TD_OP_sign] = true,        [TD_OP_randint] = true,        [TD_OP_index_add] = true,
    [TD_OP_scatter_add] = true, [TD_OP_scatter_reduce] = true, [TD_OP_strided_add] = true,
};

static uint8_t works_in_narrow(const struct td_op *op, uint8_t dtype)
{
    if (dtype == TD_BOOL)
        return counts_truth[op->id] ? TD_I32 : TD_BOOL;
    return op->kind == TD_VIEW || moves[op->id] ? dtype : td_dtype_wide(dtype);
}

static uint64_t numel(const struct td_operand *operand)
{
    uint64_t count = 1;
    for (int d = 0; d < operand->rank; d++)
        count *= (uint64_t)operand->shape[d];
    return count;
}

/* Tenths of a nanosecond that an element takes beside its way through memory, in f32; f64 takes three times as long.
 * Measured over 4M elements on one core with AVX-512. */
static const uint8_t work_of[TD_OP_LIMIT] = {
    [TD_OP_exp] = 5,
    [TD_OP_log] = 5,
    [TD_OP_tanh] = 6,
    [TD_OP_sigmoid] = 6,
    [TD_OP_silu] = 6,
    [TD_OP_sin] = 11,
    [TD_OP_cos] = 11,
    [TD_OP_erf] = 35,
    [TD_OP_gelu] = 35,
    [TD_OP_pow] = 250,
    [TD_OP_rand] = 20,
    [TD_OP_randn] = 20,
    [TD_OP_randint] = 20,
    [TD_OP_dropout] = 15,
    [TD_OP_log_softmax] = 15,
    [TD_OP_softmax] = 15,
    [TD_OP_max_dim] = 2,
    [TD_OP_min_dim] = 2,
    [TD_OP_cross_entropy] = 6,
    [TD_OP_sum] = 3,
    [TD_OP_mean] = 3,
    [TD_OP_max] = 3,
    [TD_OP_min] = 3,
    [TD_OP_argmax] = 2,
    [TD_OP_argmin] = 2,
    [TD_OP_gather] = 80,
    [TD_OP_scatter_add] = 90,
    [TD_OP_cat] = 6,
    [TD_OP_stack] = 6,
    [TD_OP_index_select] = 5,
    [TD_OP_index_add] = 5,
    [TD_OP_embedding] = 5,
    [TD_OP_prod] = 12,
    [TD_OP_any] = 6,
    [TD_OP_all] = 6,
    [TD_OP_count_nonzero] = 6,
    [TD_OP_var] = 12,
    [TD_OP_std] = 12,
    [TD_OP_logsumexp] = 25,
    [TD_OP_norm] = 12,
    [TD_OP_cumsum] = 15,
    [TD_OP_cumprod] = 15,
    [TD_OP_logcumsumexp] = 200,
    [TD_OP_cummax] = 20,
    [TD_OP_cummin] = 20,
    [TD_OP_sort] = 250,
    [TD_OP_argsort] = 250,
    [TD_OP_topk] = 250,
    [TD_OP_kthvalue] = 250,
    [TD_OP_median] = 250,
    [TD_OP_median_dim] = 250,
    [TD_OP_mode] = 250,
    [TD_OP_exp2] = 12,
    [TD_OP_expm1] = 15,
    [TD_OP_log2] = 12,
    [TD_OP_log10] = 12,
    [TD_OP_log1p] = 15,
    [TD_OP_tan] = 150,
    [TD_OP_asin] = 100,
    [TD_OP_acos] = 100,
    [TD_OP_atan] = 100,
    [TD_OP_sinh] = 20,
    [TD_OP_cosh] = 20,
    [TD_OP_asinh] = 25,
    [TD_OP_acosh] = 25,
    [TD_OP_atanh] = 25,
    [TD_OP_erfc] = 200,
    [TD_OP_erfinv] = 250,
    [TD_OP_sinc] = 100,
    [TD_OP_logsigmoid] = 30,
    [TD_OP_mish] = 20,
    [TD_OP_softplus] = 30,
    [TD_OP_elu] = 15,
    [TD_OP_celu] = 15,
    [TD_OP_selu] = 15,
    [TD_OP_logit] = 15,
    [TD_OP_fmod] = 80,
    [TD_OP_remainder] = 80,
    [TD_OP_floor_divide] = 90,
    [TD_OP_trunc_divide] = 10,
    [TD_OP_atan2] = 200,
    [TD_OP_hypot] = 60,
    [TD_OP_logaddexp] = 30,
    [TD_OP_xlogy] = 8,
    [TD_OP_scatter] = 80,
    [TD_OP_lgamma] = 250,
    [TD_OP_digamma] = 250,
    [TD_OP_polygamma] = 250,
    [TD_OP_logaddexp2] = 30,
    [TD_OP_searchsorted] = 250,
    [TD_OP_histc] = 40,
    [TD_OP_scatter_reduce] = 120,
    [TD_OP_bernoulli] = 30,
    [TD_OP_multinomial] = 250,
    [TD_OP_i0] = 250,
    [TD_OP_i1] = 250,
    [TD_OP_poisson] = 250,
    [TD_OP_index] = 30,
    [TD_OP_index_put] = 30,
    [TD_OP_nonzero] = 15,
    [TD_OP_masked_select] = 15,
    [TD_OP_masked_scatter] = 20,
    [TD_OP_bincount] = 20,
    [TD_OP_max_pool1d] = 15,
    [TD_OP_max_pool2d] = 15,
    [TD_OP_max_pool3d] = 15,
    [TD_OP_avg_pool1d] = 30,
    [TD_OP_avg_pool2d] = 30,
    [TD_OP_avg_pool3d] = 30,
    [TD_OP_avg_pool_back] = 30,
    [TD_OP_adaptive_avg_pool1d] = 30,
    [TD_OP_adaptive_avg_pool2d] = 30,
    [TD_OP_adaptive_avg_pool3d] = 30,
    [TD_OP_adaptive_max_pool1d] = 30,
    [TD_OP_adaptive_max_pool2d] = 30,
    [TD_OP_adaptive_max_pool3d] = 30,
    [TD_OP_nll_loss] = 2,
    [TD_OP_bce] = 15,
    [TD_OP_layer_norm] = 4,
    [TD_OP_rms_norm] = 4,
};

/* Elements in a row that lie behind each other, and what an element costs more where there are none: steps inside a
 * cache line a little, longer ones that line (a turned copy of 4096 x 4096 takes 1.2 to 2 ns an element, of f64 twice
 * that). along is the dimension by which the op goes. */
static uint64_t detour(const struct td_operand *x, int along, uint64_t count)
{
    uint64_t size = td_dtype_size(x->dtype), step = along < 0 ? 1 : (uint64_t)x->stride[along] * size;
    if (along < 0 || x->stride[along] <= 1)
        return 0;
    return step <= 64 ? count : count * (size > 4 ? 4 : 2);
}

/* The dimension in which out's elements are neighbours; -1 if it has one element only. */
static int dense_dim(const struct td_operand *out)
{
    for (int d = out->rank - 1; d >= 0; d--)
        if (out->shape[d] > 1 && out->stride[d] == 1)
            return d;
    return -1;
}

static uint64_t product_work(const struct td_launch *launch)
{
    const struct td_operand *a = &launch->in[0];
    double work = (double)numel(&launch->out[0]) * (double)a->shape[a->rank - 1] / 50;
    bool whole = td_dtype_category(launch->out[0].dtype) == TD_INTEGER;
    return (uint64_t)(work * (whole ? 20 : launch->out[0].dtype == TD_F64 ? 2 : 1));
}

static bool is_linalg(const struct td_op *op)
{
    return group_of[op->id] == GROUP_linalg && op->id != TD_OP_matmul && op->id != TD_OP_linear;
}

/* Matrices that are factored one by one, of each result as many as of any. */
static uint64_t linalg_work(const struct td_launch *launch)
{
    const struct td_operand *a = &launch->in[0];
    uint64_t matrices = 1;
    for (int d = 0; d < a->rank - 2; d++)
        matrices *= (uint64_t)a->shape[d];
    if (launch->in_count > 1) { /* an equation may have more of the other side */
        const struct td_operand *b = &launch->in[1];
        bool vectors = td_solves_vectors(a->rank, a->shape, b->rank, b->shape);
        for (int d = 0; d < b->rank - 2 && !vectors; d++)
            matrices *= d < b->rank - a->rank || a->shape[d - (b->rank - a->rank)] == 1 ? (uint64_t)b->shape[d] : 1;
    }
    double ns = (double)matrices * (double)td_lapack_ns(launch);
    return ns < 1e18 ? (uint64_t)ns : (uint64_t)1e18;
}

/* Each window, or each element that is spread over windows, meets a filter. */
static uint64_t conv_work(const struct td_launch *launch)
{
    bool forward = launch->op->id <= TD_OP_conv3d, of_weight = launch->op->id == TD_OP_conv_weight;
    const struct td_operand *windows = forward ? &launch->out[0] : &launch->in[of_weight];
    const struct td_operand *weight = of_weight ? &launch->out[0] : &launch->in[1];
    double work = (double)numel(windows) * (double)(numel(weight) / (uint64_t)weight->shape[0]) / 30;
    bool whole = td_dtype_category(windows->dtype) == TD_INTEGER;
    return (uint64_t)(work * (whole ? 8 : windows->dtype == TD_F64 ? 2 : 1));
}

/* Products of scores: two forward, five backward, half of which are by the width of values; and the exponentials. */
static uint64_t attention_work(const struct td_launch *launch)
{
    bool back = launch->op->id == TD_OP_attention_back;
    const struct td_operand *query = &launch->in[back], *key = query + 1, *value = query + 2;
    double queries = 1;
    for (int d = 0; d < launch->out[0].rank - 1; d++)
        queries *= (double)launch->out[0].shape[d];
    double width = (double)query->shape[query->rank - 1], out_width = (double)value->shape[value->rank - 1];
    double each = ((back ? 3 : 1) * width + (back ? 2 : 1) * out_width) / 50 + 1;
    double work = queries * (double)key->shape[key->rank - 2] * each * (launch->out[0].dtype == TD_F64 ? 2 : 1);
    return work < 1e18 ? (uint64_t)work : (uint64_t)1e18;
}

/* Slices that an op copies or adds one by one cost 10 ns each. */
static uint64_t slice_work(const struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0];
    bool adds = launch->op->id == TD_OP_index_add || launch->op->id == TD_OP_index_copy;
    uint64_t width = 1, count = numel(adds ? &launch->in[2] : &launch->out[0]);
    int dim = launch->op->id == TD_OP_embedding
                  ? 0
                  : td_wrap_dim(((const struct td_index_select_attrs *)launch->attrs)->dim, x->rank);
    for (int d = dim + 1; d < x->rank; d++)
        width *= (uint64_t)x->shape[d];
    return width ? 10 * count / width : 0;
}

/* Nanoseconds. Memory moves 35 bytes in one (200 MB added; what lies in cache is two to three times as fast, but a cost
 * too high only moves an op to the device's thread), a product makes 107 f32 operations. */
static uint64_t large_cost(const struct td_launch *launch)
{
    const struct td_operand *out = &launch->out[0];
    uint64_t bytes = 0, elements = 0, extra = 0;
    int along = launch->op->output_count ? dense_dim(out) : -1;
    bool is_product = launch->op->id == TD_OP_matmul || launch->op->id == TD_OP_linear;
    for (int k = 0; k < launch->in_count; k++) {
        const struct td_operand *in = &launch->in[k];
        uint64_t count = in->data ? numel(in) : 0;
        bool alike = in->rank == out->rank && count == numel(out);
        int last = in->rank - 1;
        bytes += count * td_dtype_size(in->dtype);
        elements = count > elements ? count : elements;
        while (last > 0 && in->shape[last] == 1)
            last--;
        if (!is_product && launch->op->output_count)
            extra += detour(in, alike ? along : last, count);
        /* Short rows of what is reduced are done one by one. */
        if (group_of[launch->op->id] == GROUP_reduce && last >= 0 && in->shape[last] < 32)
            extra += count * 3 / 2;
    }
    for (int k = 0; k < launch->op->output_count; k++) {
        uint64_t count = numel(&launch->out[k]);
        bytes += count * td_dtype_size(launch->out[k].dtype);
        elements = count > elements ? count : elements;
    }
    if (is_product)
        extra += product_work(launch);
    if (is_linalg(launch->op))
        extra += linalg_work(launch);
    if (group_of[launch->op->id] == GROUP_conv)
        extra += conv_work(launch);
    if (group_of[launch->op->id] == GROUP_attention)
        extra += attention_work(launch);
    if (launch->op->id == TD_OP_embedding || launch->op->id == TD_OP_index_select ||
        launch->op->id == TD_OP_index_add || launch->op->id == TD_OP_index_copy)
        extra += slice_work(launch);
    bool wide = launch->op->output_count && out->dtype == TD_F64;
    return 100 + bytes / 32 + elements * work_of[launch->op->id] * (wide ? 3 : 1) / 10 + extra;
}

/* Below this many elements in all an op takes less than the estimate of what it takes is off by, and the estimating
 * shows. */
#define SMALL 256

static uint64_t cost(const struct td_launch *launch)
{
    uint64_t elements = 0;
    for (int k = 0; k < launch->in_count && elements < SMALL; k++)
        elements += launch->in[k].data ? numel(&launch->in[k]) : 0;
    for (int k = 0; k < launch->op->output_count && elements < SMALL; k++)
        elements += numel(&launch->out[k]);
    return elements < SMALL && !is_linalg(launch->op) ? 100 + elements : large_cost(launch);
}

/* ---- variants ---- */

struct variant {
    const char *name, *text;
    struct td_device device;
};

#define VARIANT(isa, text_)                                                               \
    extern td_kernel *const td_cpu_table_##isa[TD_OP_LIMIT];                              \
    static void run_##isa(struct td_launch *launch)                                       \
    {                                                                                     \
        launch->fault = (struct td_fault){.code = TD_E_OK};                               \
        td_cpu_table_##isa[launch->op->id](launch);                                       \
    }                                                                                     \
    static struct variant variant_##isa = {.name = #isa,                                  \
                                           .text = text_,                                 \
                                           .device = {.name = "cpu",                      \
                                                      .host_memory = true,                \
                                                      .reserve = reserve,                 \
                                                      .unreserve = unreserve,             \
                                                      .upload = upload,                   \
                                                      .download = copy,                   \
                                                      .copy = copy,                       \
                                                      .zero = zero,                       \
                                                      .settle = settle,                   \
                                                      .mark = mark,                       \
                                                      .follow = follow,                   \
                                                      .passed = passed,                   \
                                                      .between = between,                 \
                                                      .forget = forget,                   \
                                                      .set_threads = td_threads_set,      \
                                                      .run = run_##isa,                   \
                                                      .cost = cost,                       \
                                                      .works_in_narrow = works_in_narrow, \
                                                      .dense_inputs = dense_inputs}};

#ifdef __x86_64__
VARIANT(sse2, "SSE2")
VARIANT(avx2, "AVX2")
VARIANT(avx512, "AVX-512")
/* By rising width. */
static struct variant *const variants[] = {&variant_sse2, &variant_avx2, &variant_avx512};
#else
VARIANT(generic, "generic vectors")
static struct variant *const variants[] = {&variant_generic};
#endif
#define VARIANTS ((int)(sizeof variants / sizeof *variants))

/* Whether the processor has all that the Makefile's flags for this variant let the compiler use. */
static bool processor_has(const char *name)
{
#ifdef __x86_64__
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(name, "avx512"))
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (!strcmp(name, "avx2"))
        return avx2;
#else
    (void)name;
#endif
    return true;
}

static void processor_name(char *name, size_t bytes)
{
    char line[256];
    snprintf(name, bytes, "unknown processor");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon)
            continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(name, bytes, "%s", colon + 1 + strspn(colon + 1, " \t"));
        break;
    }
    fclose(file);
}

static void describe(void)
{
    char name[80];
    long cores = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    processor_name(name, sizeof name);
    for (int v = 0; v < VARIANTS; v++) {
        struct td_device *device = &variants[v]->device;
        snprintf(device->description, sizeof device->description, "%s, %s, %ld core%s", name, variants[v]->text, cores,
                 cores == 1 ? "" : "s");
        device->memory_bytes = (size_t)pages * (size_t)page;
        device->units = (int)cores;
        device->count = 1;
    }
}

const struct td_device *td_device_cpu_variant(const char *isa)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, describe);
    for (int v = 0; v < VARIANTS; v++)
        if (!strcmp(variants[v]->name, isa) && processor_has(isa))
            return &variants[v]->device;
    return NULL;
}

const struct td_device *td_device_cpu(void)
{
    const char *wish = getenv("TENSORD_CPU");
    const struct td_device *device = NULL;
    for (int v = 0; v < VARIANTS; v++) {
        const struct td_device *next = td_device_cpu_variant(variants[v]->name);
        device = next ? next : device;
        if (wish && !strcmp(wish, variants[v]->name))
            break;
    }
    return device;
}
