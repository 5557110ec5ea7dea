/* The CPU as a device: memory, the choice of kernels, and what they cost. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/cpu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
static void copy(void *to, const void *from, size_t bytes)
{
    if (bytes)
        memcpy(to, from, bytes);
}

static void zero(void *to, size_t bytes)
{
    if (bytes)
        memset(to, 0, bytes);
}

/* ---- what ops need and cost ---- */

/* The strided ops see their content as one row of elements. Everything else reads strides in place. */
static uint32_t dense_inputs(const struct td_op *op)
{
    bool strided = op->id == TD_OP_strided_read || op->id == TD_OP_strided_write || op->id == TD_OP_strided_add;
    return strided ? 1u << 0 : 0;
}

static uint64_t numel(const struct td_operand *operand)
{
    uint64_t count = 1;
    for (int d = 0; d < operand->rank; d++)
        count *= (uint64_t)operand->shape[d];
    return count;
}

/* Measured on one core of an EPYC with AVX-512, November 2026: memory 35 bytes/ns (200 MB added; what lies in cache is
 * two to three times as fast, but a cost too high only moves an op to the device's thread), products 107 f32
 * operations/ns, elementary functions 0.4 to 0.7 ns and random normals 1.7 ns an element. */
static uint64_t cost(const struct td_launch *launch)
{
    uint64_t bytes = 0, elements = 0, work = 0;
    for (int k = 0; k < launch->in_count; k++) {
        uint64_t count = launch->in[k].data ? numel(&launch->in[k]) : 0;
        bytes += count * td_dtype_size(launch->in[k].dtype);
        elements = count > elements ? count : elements;
    }
    if (launch->op->output_count) {
        uint64_t count = numel(&launch->out[0]);
        bytes += count * td_dtype_size(launch->out[0].dtype);
        elements = count > elements ? count : elements;
    }
    switch (launch->op->id) {
    case TD_OP_matmul:
        work = (uint64_t)((double)numel(&launch->in[0]) * (double)launch->out[0].shape[1] / 50);
        if (launch->out[0].dtype != TD_F32)
            work *= launch->out[0].dtype == TD_F64 ? 2 : 20;
        break;
    case TD_OP_rand:
    case TD_OP_randn:
    case TD_OP_randint:
        work = 2 * elements;
        break;
    case TD_OP_exp:
    case TD_OP_log:
    case TD_OP_tanh:
    case TD_OP_sigmoid:
    case TD_OP_log_softmax:
    case TD_OP_cross_entropy:
        work = elements * 6 / 10;
        break;
    }
    return 100 + bytes / 32 + work;
}

/* ---- variants ---- */

struct variant {
    const char *name, *text;
    struct td_device device;
};

#define VARIANT(isa, text_)                                                   \
    extern td_kernel *const td_cpu_table_##isa[TD_OP_LIMIT];                  \
    static void run_##isa(struct td_launch *launch)                           \
    {                                                                         \
        launch->fault = (struct td_fault){.code = TD_E_OK};                   \
        td_cpu_table_##isa[launch->op->id](launch);                           \
    }                                                                         \
    static struct variant variant_##isa = {.name = #isa,                      \
                                           .text = text_,                     \
                                           .device = {.name = "cpu",          \
                                                      .reserve = reserve,     \
                                                      .unreserve = unreserve, \
                                                      .upload = copy,         \
                                                      .download = copy,       \
                                                      .copy = copy,           \
                                                      .zero = zero,           \
                                                      .run = run_##isa,       \
                                                      .cost = cost,           \
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
