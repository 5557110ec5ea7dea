/* Three models trained on real data follow PyTorch's loss curves from the same weights by the same batches
 * (golden/curves.txt, by curves.py): to 1e-4 in f32 and 1e-10 in f64. The data are not part of this project: they are
 * looked for in $TENSORD_DATA, else in ../shared/data beside the project, and without them the test is skipped.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>
#include <unistd.h>
#include <zlib.h>

#ifdef __has_feature
#define CLANG_SANITIZES __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#else
#define CLANG_SANITIZES 0
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ || CLANG_SANITIZES
enum { STEPS = 15 }; /* of the 200 that the files hold: a sanitized daemon is ten to thirty times as slow */
#else
enum { STEPS = 200 };
#endif
enum { IMAGES = 10000, PIXELS = 28 * 28, BATCH = 50, CONTEXT = 8, WIDTH = 16, HIDDEN = 64, VOCABULARY = 96 };
enum { PARAMETERS = 10, TEXT = 201 * BATCH + CONTEXT };

/* ---- data ---- */

static void data_path(const char *name, char *path, size_t room)
{
    const char *folder = getenv("TENSORD_DATA"), *root = getenv("TENSORD_ROOT");
    if (folder)
        snprintf(path, room, "%s/%s", folder, name);
    else
        snprintf(path, room, "%s/../shared/data/%s", root ? root : ".", name);
}

/* Reads count bytes behind the first skip ones of a file that may be compressed. */
static void data_read(const char *name, uint8_t *bytes, int skip, int count)
{
    char path[512];
    data_path(name, path, sizeof path);
    gzFile file = gzopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(gzseek(file, skip, SEEK_SET), skip);
    assert_int_equal(gzread(file, bytes, (unsigned)count), count);
    gzclose(file);
}

#define IMAGES_FILE "mnist/t10k-images-idx3-ubyte.gz"
#define LABELS_FILE "mnist/t10k-labels-idx1-ubyte.gz"
#define TEXT_FILE "tinyshakespeare.txt"

static td_tensor images, labels, text;

static void images_read(void)
{
    static uint8_t pixels[IMAGES * PIXELS], digits[IMAGES];
    data_read(IMAGES_FILE, pixels, 16, sizeof pixels);
    data_read(LABELS_FILE, digits, 8, sizeof digits);
    images = td_from(s, pixels, TD_U8, TD_SHAPE(IMAGES, 1, 28, 28));
    labels = td_to(td_from(s, digits, TD_U8, TD_SHAPE(IMAGES)), TD_I64);
}

/* Printable characters and line ends as numbers from 0. */
static void text_read(void)
{
    static uint8_t bytes[TEXT];
    static int64_t symbols[TEXT];
    data_read(TEXT_FILE, bytes, 0, TEXT);
    for (int i = 0; i < TEXT; i++)
        symbols[i] = bytes[i] > 32 && bytes[i] < 127 ? bytes[i] - 32 : bytes[i] == '\n' ? VOCABULARY - 1 : 0;
    text = td_from(s, symbols, TD_I64, TD_SHAPE(TEXT));
}

/* ---- models ---- */

struct model {
    const char *name;
    const char *files[2]; /* that it needs */
    void (*read)(void);
    td_tensor (*loss)(const td_tensor *p, int step, enum td_dtype dtype);
    td_optimizer *(*optimizer)(td_list p);
    int count;
    struct {
        struct td_dims shape;
        int fan_in;
    } p[PARAMETERS];
};

/* Rows of a batch, in the data's order. */
static td_tensor rows(td_tensor of, int step)
{
    return td_slice(of, 0, .start = step * BATCH, .end = (step + 1) * BATCH);
}

static td_tensor pixels_of(int step, enum td_dtype dtype)
{
    return td_div(td_to(rows(images, step), dtype), 255);
}

static td_tensor mlp_loss(const td_tensor *p, int step, enum td_dtype dtype)
{
    td_tensor x = td_flatten(pixels_of(step, dtype), .start_dim = 1);
    td_tensor h = td_relu(td_linear(x, p[0], .bias = p[1]));
    return td_cross_entropy(td_linear(h, p[2], .bias = p[3]), rows(labels, step));
}

static td_optimizer *mlp_optimizer(td_list p)
{
    return td_sgd(s, p, .lr = 0.1);
}

static td_tensor lenet_loss(const td_tensor *p, int step, enum td_dtype dtype)
{
    td_tensor h = td_relu(td_conv2d(pixels_of(step, dtype), p[0], .bias = p[1], .padding = TD_SHAPE(2)));
    h = td_max_pool2d(h, TD_SHAPE(2)).values;
    h = td_relu(td_conv2d(h, p[2], .bias = p[3]));
    h = td_flatten(td_max_pool2d(h, TD_SHAPE(2)).values, .start_dim = 1);
    h = td_relu(td_linear(h, p[4], .bias = p[5]));
    h = td_relu(td_linear(h, p[6], .bias = p[7]));
    return td_cross_entropy(td_linear(h, p[8], .bias = p[9]), rows(labels, step));
}

static td_optimizer *lenet_optimizer(td_list p)
{
    return td_adagrad(s, p, .lr = 0.01);
}

static td_tensor characters_loss(const td_tensor *p, int step, enum td_dtype dtype)
{
    (void)dtype; /* the text is of integers */
    td_tensor windows = rows(td_unfold(text, 0, CONTEXT + 1, 1), step);
    td_tensor x = td_flatten(td_embedding(p[0], td_slice(windows, 1, .end = CONTEXT)), .start_dim = 1);
    td_tensor h = td_tanh(td_linear(x, p[1], .bias = p[2]));
    return td_cross_entropy(td_linear(h, p[3], .bias = p[4]), td_select(windows, 1, CONTEXT));
}

static td_optimizer *characters_optimizer(td_list p)
{
    return td_adam(s, p, .lr = 0.005);
}

#define SHAPE(...)             \
    {                          \
        TD_COUNT(__VA_ARGS__), \
        {                      \
            __VA_ARGS__        \
        }                      \
    }
static const struct model models[] = {
    {"mlp",
     {IMAGES_FILE, LABELS_FILE},
     images_read,
     mlp_loss,
     mlp_optimizer,
     4,
     {{SHAPE(128, 784), 784}, {SHAPE(128), 784}, {SHAPE(10, 128), 128}, {SHAPE(10), 128}}},
    {"lenet",
     {IMAGES_FILE, LABELS_FILE},
     images_read,
     lenet_loss,
     lenet_optimizer,
     10,
     {{SHAPE(6, 1, 5, 5), 25},
      {SHAPE(6), 25},
      {SHAPE(16, 6, 5, 5), 150},
      {SHAPE(16), 150},
      {SHAPE(120, 400), 400},
      {SHAPE(120), 400},
      {SHAPE(84, 120), 120},
      {SHAPE(84), 120},
      {SHAPE(10, 84), 84},
      {SHAPE(10), 84}}},
    {"characters",
     {TEXT_FILE},
     text_read,
     characters_loss,
     characters_optimizer,
     5,
     {{SHAPE(VOCABULARY, WIDTH), 1},
      {SHAPE(HIDDEN, CONTEXT *WIDTH), CONTEXT *WIDTH},
      {SHAPE(HIDDEN), CONTEXT *WIDTH},
      {SHAPE(VOCABULARY, HIDDEN), HIDDEN},
      {SHAPE(VOCABULARY), HIDDEN}}},
};

/* Numbers within 1 / sqrt(fan_in) by a hash of the tensor's number and the element's, as curves.py draws them. */
static td_tensor drawn(int tensor, struct td_dims shape, int fan_in, enum td_dtype dtype)
{
    static double values[128 * 784];
    uint32_t count = 1;
    for (int64_t d = 0; d < shape.count; d++)
        count *= (uint32_t)shape.v[d];
    assert_true(count <= sizeof values / sizeof *values);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t h = (i + 1) * 0x9e3779b1u + (uint32_t)tensor * 0x85ebca6bu;
        h = (h ^ h >> 16) * 0x7feb352du;
        h = (h ^ h >> 15) * 0x846ca68bu;
        h ^= h >> 16;
        values[i] = ((double)(h >> 8) / 8388608 - 1) / sqrt(fan_in);
    }
    td_tensor x = td_to(td_from(s, values, TD_F64, shape), dtype);
    return td_set_requires_grad(x, true);
}

/* ---- the curves ---- */

/* The losses of a model in the golden file, from after its name on; to be freed. */
static char *curve_of(const char *name, const char *dtype)
{
    char path[512], start[64], *line = NULL;
    const char *folder = getenv("TENSORD_GOLDEN");
    size_t size = 0;
    snprintf(path, sizeof path, "%s/curves.txt", folder ? folder : "tests/golden");
    int length = snprintf(start, sizeof start, "%s %s ", name, dtype);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (getline(&line, &size, file) > 0)
        if (!strncmp(line, start, (size_t)length)) {
            fclose(file);
            memmove(line, line + length, strlen(line + length) + 1);
            return line;
        }
    fail_msg("%s has no curve of %s", path, start);
    return NULL;
}

static void follow(const struct model *m, enum td_dtype dtype, const char *dtype_name, double margin)
{
    char *curve = curve_of(m->name, dtype_name), *at = curve;
    double worst = 0;
    td_tensor p[PARAMETERS];
    for (int k = 0; k < m->count; k++)
        p[k] = drawn(k, m->p[k].shape, m->p[k].fan_in, dtype);
    td_optimizer *o = m->optimizer(TD_LIST_OF(m->count, p));
    for (int step = 0; step < STEPS; step++) {
        TD_SCOPE(s);
        td_tensor loss = m->loss(p, step, dtype);
        double got = td_item(loss), due = strtod(at, &at), error = fabs(got - due) / due;
        if (!(error <= margin))
            fail_msg("%s in %s: the loss of step %d is %.15g where %.15g is due", m->name, dtype_name, step, got, due);
        worst = fmax(worst, error);
        td_zero_grad(o);
        td_backward(loss);
        td_step(o);
    }
    print_message("# %s in %s: %d losses within %.1e of PyTorch's\n", m->name, dtype_name, STEPS, worst);
    td_optimizer_free(o);
    free(curve);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

static void follows_pytorch(void **state)
{
    const struct model *m = *state;
    m->read();
    follow(m, TD_F32, "f32", 1e-4);
    follow(m, TD_F64, "f64", 1e-10);
}

static void without_data(void **state)
{
    (void)state;
    skip();
}

/* A test of a model; where a file is missing its name says why it is skipped. */
static struct CMUnitTest test_of(const struct model *m, char *name, size_t room)
{
    char path[512];
    for (int k = 0; k < 2 && m->files[k]; k++) {
        data_path(m->files[k], path, sizeof path);
        if (access(path, R_OK) == 0)
            continue;
        snprintf(name, room, "%s: there is no %s", m->name, path);
        return (struct CMUnitTest){.name = name, .test_func = without_data};
    }
    return (struct CMUnitTest){.name = m->name,
                               .test_func = follows_pytorch,
                               .setup_func = open_session,
                               .teardown_func = close_session,
                               .initial_state = (void *)(uintptr_t)m};
}

int main(void)
{
    enum { MODELS = sizeof models / sizeof *models };
    struct CMUnitTest tests[MODELS];
    char names[MODELS][600];
    for (int k = 0; k < MODELS; k++)
        tests[k] = test_of(&models[k], names[k], sizeof names[k]);
    return cmocka_run_group_tests(tests, start, stop);
}
