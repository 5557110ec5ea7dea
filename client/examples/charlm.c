/* A language model that writes one character after the other: it looks at the last CONTEXT characters and gives each
 * character that may follow a probability. Trained here, in half a minute, on a text of your own:
 *
 *     charlm [FILE [SECONDS]]
 *
 * without FILE on the licenses that come with Debian. The text is sent to the daemon once; batches are cut out of it
 * there, and of the training itself nothing comes back but the loss. A tenth of the text is held out: the model is
 * asked about it at the end, and never learns from it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensord.h>
#include <time.h>
#include <unistd.h>

enum { CONTEXT = 16, WIDTH = 24, HIDDEN = 256, BATCH = 128, VOCABULARY = 96, REPORT = 25, SAMPLE = 400, PAGE = 1000 };

#define SECONDS 30.0 /* of training */
#define LR 0.002
#define LINES "/usr/share/common-licenses/*"

/* ---- the text: printable characters and line ends, as numbers from 0 ---- */

struct text {
    int64_t *symbols;
    int64_t count, capacity;
};

static int64_t symbol_of(int character)
{
    return character > ' ' && character <= '~' ? character - ' ' : character == '\n' ? VOCABULARY - 1 : 0;
}

static char character_of(int64_t symbol)
{
    return symbol == VOCABULARY - 1 ? '\n' : (char)(' ' + symbol);
}

static void text_add(struct text *text, const char *path)
{
    FILE *file = fopen(path, "r");
    for (int c; file && (c = getc(file)) != EOF;) {
        if (text->count == text->capacity) {
            text->capacity = text->capacity ? 2 * text->capacity : 1 << 16;
            text->symbols = realloc(text->symbols, (size_t)text->capacity * sizeof *text->symbols);
            if (!text->symbols)
                abort();
        }
        text->symbols[text->count++] = symbol_of(c);
    }
    if (file)
        fclose(file);
}

/* Puts the pages of the text into an order by chance, always the same: files differ in kind, and what is held out is
 * to be a fair sample of them all. */
static void text_shuffle(struct text *text)
{
    int64_t page[PAGE];
    srand48(1);
    for (int64_t left = text->count / PAGE; left > 1; left--) {
        int64_t *last = text->symbols + (left - 1) * PAGE, *drawn = text->symbols + lrand48() % left * PAGE;
        memcpy(page, drawn, sizeof page);
        memmove(drawn, last, sizeof page);
        memcpy(last, page, sizeof page);
    }
}

static struct text text_read(const char *pattern)
{
    struct text text = {0};
    glob_t files;
    if (glob(pattern, 0, NULL, &files) == 0) {
        for (size_t k = 0; k < files.gl_pathc; k++)
            text_add(&text, files.gl_pathv[k]);
        globfree(&files);
    }
    text_shuffle(&text);
    return text;
}

/* ---- the model: characters to vectors, two layers, a score for each next character ---- */

struct model {
    td_tensor embedding, w1, b1, w2, b2, w3, b3;
    td_optimizer *adam;
};

static td_tensor weights(td_session *s, const char *name, int64_t in, int64_t out)
{
    td_tensor drawn = td_mul(td_randn(s, TD_SHAPE(in, out)), sqrt(2.0 / (double)in));
    return td_set_requires_grad(td_name(td_take(drawn), name), true);
}

static struct model model_new(td_session *s)
{
    struct model m = {
        .embedding = td_name(td_randn(s, TD_SHAPE(VOCABULARY, WIDTH), .requires_grad = true), "embedding"),
        .w1 = weights(s, "w1", CONTEXT * WIDTH, HIDDEN),
        .b1 = td_zeros(s, TD_SHAPE(HIDDEN), .requires_grad = true),
        .w2 = weights(s, "w2", HIDDEN, HIDDEN),
        .b2 = td_zeros(s, TD_SHAPE(HIDDEN), .requires_grad = true),
        .w3 = weights(s, "w3", HIDDEN, VOCABULARY),
        .b3 = td_zeros(s, TD_SHAPE(VOCABULARY), .requires_grad = true),
    };
    m.adam = td_adam(s, TD_LIST(m.embedding, m.w1, m.b1, m.w2, m.b2, m.w3, m.b3), .lr = LR);
    return m;
}

/* contexts (n, CONTEXT) to scores (n, VOCABULARY). */
static td_tensor scores_of(const struct model *m, td_tensor contexts)
{
    td_tensor x = td_reshape(td_embedding(m->embedding, contexts), TD_SHAPE(-1, CONTEXT * WIDTH));
    td_tensor h = td_relu(td_add(td_matmul(x, m->w1), m->b1));
    h = td_relu(td_add(td_matmul(h, m->w2), m->b2));
    return td_add(td_matmul(h, m->w3), m->b3);
}

/* How badly the model guesses the character behind the context, at these places (n, 1) of the text. */
static td_tensor loss_at(td_session *s, const struct model *m, td_tensor text, td_tensor places)
{
    td_tensor offsets = td_arange(s, 0, CONTEXT + 1);
    td_tensor index = td_reshape(td_add(places, offsets), TD_SHAPE(-1));
    td_tensor windows = td_reshape(td_index_select(text, 0, index), TD_SHAPE(-1, CONTEXT + 1));
    td_tensor scores = scores_of(m, td_slice(windows, 1, .end = CONTEXT));
    return td_cross_entropy(scores, td_select(windows, 1, CONTEXT));
}

/* ---- writing ---- */

/* One character by chance: softmax(scores), sharpened a little. */
static int64_t draw(const float *scores)
{
    double weight[VOCABULARY], total = 0, greatest = scores[0];
    for (int k = 1; k < VOCABULARY; k++)
        greatest = fmax(greatest, scores[k]);
    for (int k = 0; k < VOCABULARY; k++)
        total += weight[k] = exp((scores[k] - greatest) / 0.8);
    double left = drand48() * total;
    int64_t k = 0;
    while (k < VOCABULARY - 1 && (left -= weight[k]) > 0)
        k++;
    return k;
}

static void write_sample(td_session *s, const struct model *m, const char *title)
{
    int64_t context[CONTEXT];
    float scores[VOCABULARY] = {0};
    char written[SAMPLE];
    TD_NO_GRAD(s);
    for (int k = 0; k < CONTEXT; k++)
        context[k] = symbol_of('\n');
    for (int k = 0; k < SAMPLE; k++) {
        TD_SCOPE(s);
        td_read(scores_of(m, td_from(s, context, TD_I64, TD_SHAPE(1, CONTEXT))), scores, TD_F32, VOCABULARY);
        memmove(context, context + 1, sizeof context - sizeof *context);
        context[CONTEXT - 1] = draw(scores);
        written[k] = character_of(context[CONTEXT - 1]);
    }
    printf("---- %s ----\n%.*s\n\n", title, SAMPLE, written);
}

/* ---- training ---- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A bar that is drawn over, or a line for each tenth where there is no terminal. */
static void show_progress(double done, double left_s, int step, double steps_per_s, double loss)
{
    static int tenth = -1;
    bool terminal = isatty(STDOUT_FILENO);
    if (!terminal && (int)(done * 10) == tenth)
        return;
    tenth = (int)(done * 10);
    if (terminal)
        printf("\r[%-30.*s] ", (int)(done * 30), "##############################");
    printf("%3.0f%%  step %d  loss %.3f  %.0f steps/s  %.0f s left%s", done * 100, step, loss, steps_per_s, left_s,
           terminal ? "   " : "\n");
    fflush(stdout);
}

static double held_out_loss(td_session *s, const struct model *m, td_tensor text, int64_t from, int64_t to)
{
    TD_SCOPE(s);
    TD_NO_GRAD(s);
    td_tensor places = td_reshape(td_arange(s, from, to, .step = (to - from) / 2000 + 1), TD_SHAPE(-1, 1));
    return td_item(loss_at(s, m, text, places));
}

static void train(td_session *s, struct model *m, td_tensor text, int64_t places, double seconds)
{
    double start = now_s(), loss_value = NAN, done = 0;
    for (int step = 1; done < 1; step++) {
        TD_SCOPE(s);
        td_tensor loss = loss_at(s, m, text, td_randint(s, 0, places, TD_SHAPE(BATCH, 1)));
        td_zero_grad(m->adam);
        td_backward(loss);
        td_step(m->adam);
        if (step % REPORT)
            continue;
        loss_value = td_item(loss); /* waits, so the clock below is the daemon's */
        double elapsed = now_s() - start;
        done = fmin(elapsed / seconds, 1);
        td_set_lr(m->adam, LR * (1 - 0.95 * done));
        show_progress(done, fmax(seconds - elapsed, 0), step, step / elapsed, loss_value);
        if (!td_ok(loss))
            break;
    }
    putchar('\n');
}

/* What a loss means: the model gives the character that really follows a probability of exp(-loss), on the average. */
static void tell(double loss)
{
    printf("On text that it never saw, the loss is %.3f: %.2f bits for each character.\n"
           "It guesses as well as if it chose between %.1f characters that are all as likely;\n"
           "a blind guess has all %d to choose from: %.2f bits.\n",
           loss, loss / log(2), exp(loss), VOCABULARY, log2(VOCABULARY));
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : SECONDS;
    struct text text = text_read(argc > 1 ? argv[1] : LINES);
    int64_t split = text.count * 9 / 10 - CONTEXT - 1;
    if (split < 1000) {
        fprintf(stderr, "charlm: %s: not enough text to learn from\n", argc > 1 ? argv[1] : LINES);
        return 1;
    }
    td_session *s = td_open(NULL);
    printf("%lld characters, daemon at %s\n\n", (long long)text.count, td_address(s));
    td_manual_seed(s, 1);
    td_tensor symbols = td_name(td_from(s, text.symbols, TD_I64, TD_SHAPE(text.count)), "text");
    struct model model = model_new(s);

    if (td_sync(s) == 0) {
        write_sample(s, &model, "before");
        train(s, &model, symbols, split, seconds);
        write_sample(s, &model, "after");
        tell(held_out_loss(s, &model, symbols, split + CONTEXT + 1, text.count - CONTEXT - 1));
    }
    td_optimizer_free(model.adam);
    free(text.symbols);
    return td_close(s);
}
