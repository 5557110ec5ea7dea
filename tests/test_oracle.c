/* PyTorch's own results, replayed through libtensord and a daemon: every op of the table (oracle/golden/NAME.txt),
 * programs of views and writes (oracle/golden/programs.txt), what was found wrong once (oracle/golden/found.txt). Each
 * is recorded besides, and the program run on the same leaves made anew. With the argument "-" cases come from standard
 * input and a line goes back for each, which is how oracle/fuzz.py works. What a case looks like stands in
 * oracle/README.md. SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/internal.h"
#include "tests/composites.h"
#include "tests/support.h"

#define NAMES 128
#define INPUTS 64
#define ELEMENTS 65536
#define BLOCKS 8

static struct test_daemon daemon_;
static td_session *s;

/* A case is carried out as it stands; or recorded, where what is expected becomes an output; or run, where its leaves
 * are made and the expectations are met by the outputs. */
enum mode { EAGER, RECORD, RUN };

/* One case on its way through. */
struct replay {
    enum mode mode;
    const char *at;     /* what is not read yet */
    char message[1024]; /* what is wrong; "": nothing so far */
    struct {
        char name[32];
        td_tensor tensor;
    } names[NAMES];
    int count;
    td_guard blocks[BLOCKS]; /* of no_grad and checkpoint that are open */
    int block_count, checkpoints;
    td_program *program; /* RECORD, RUN: NULL as long as its inputs, the leaves at the beginning, are being made */
    bool unfit;          /* it cannot be recorded */
    int every;           /* of what is expected is an output */
    int expected;
    td_tensor outputs[NAMES];
};

static void __attribute__((format(printf, 2, 3))) wrong(struct replay *r, const char *format, ...)
{
    va_list arguments;
    if (*r->message)
        return;
    va_start(arguments, format);
    vsnprintf(r->message, sizeof r->message, format, arguments);
    va_end(arguments);
}

/* ---- words ---- */

static bool take(struct replay *r, const char *text)
{
    size_t length = strlen(text);
    if (strncmp(r->at, text, length))
        return false;
    r->at += length;
    return true;
}

/* Takes what comes before one of these characters, or before the end. */
static const char *take_word(struct replay *r, const char *ends, char word[32])
{
    size_t length = strcspn(r->at, ends);
    if (length > 31)
        wrong(r, "a word is too long: %.40s", r->at);
    snprintf(word, 32, "%.*s", (int)length, r->at);
    r->at += length;
    return word;
}

static int64_t take_integer(struct replay *r)
{
    char *end;
    int64_t value = strtoll(r->at, &end, 10);
    if (end == r->at)
        wrong(r, "no integer: %.40s", r->at);
    r->at = end;
    return value;
}

static double take_real(struct replay *r, bool single)
{
    char *end;
    double value = single ? (double)strtof(r->at, &end) : strtod(r->at, &end);
    if (end == r->at)
        wrong(r, "no number: %.40s", r->at);
    r->at = end;
    return value;
}

/* "[2,3]", or "nil" for a count of -1. */
static struct td_dims take_dims(struct replay *r)
{
    struct td_dims dims = {.count = -1};
    if (take(r, "nil"))
        return dims;
    if (!take(r, "["))
        wrong(r, "no list: %.40s", r->at);
    for (dims.count = 0; !*r->message && !take(r, "]"); take(r, ",")) {
        if (dims.count == TD_RANK_MAX)
            wrong(r, "a list is too long");
        else
            dims.v[dims.count++] = take_integer(r);
    }
    return dims;
}

static uint8_t take_dtype(struct replay *r)
{
    char word[32];
    take_word(r, "![ ", word);
    for (int id = 1; id < TD_DTYPE_LIMIT; id++)
        if (td_dtype_known((uint64_t)id) && !strcmp(word, td_dtype_name((uint8_t)id)))
            return (uint8_t)id;
    if (strcmp(word, "nil"))
        wrong(r, "no element type: %s", word);
    return TD_DTYPE_NONE;
}

/* "b1", "i-3" or "f0.5". */
static struct td_number take_number(struct replay *r)
{
    switch (*r->at++) {
    case 'b':
        return td_number_of_bool(take_integer(r));
    case 'i':
        return td_number_of_integer(take_integer(r));
    case 'f':
        return td_number_of_real(take_real(r, false));
    }
    wrong(r, "no number: %.40s", --r->at);
    return (struct td_number){0};
}

static td_tensor find(struct replay *r, const char *name)
{
    for (int k = r->count; k-- > 0;)
        if (!strcmp(r->names[k].name, name))
            return r->names[k].tensor;
    wrong(r, "there is no tensor %s", name);
    return (td_tensor){.session = s};
}

static void add(struct replay *r, const char *name, td_tensor tensor)
{
    if (r->count == NAMES) {
        wrong(r, "too many tensors");
        return;
    }
    for (int k = 0; k < r->checkpoints; k++) /* the case goes on with it behind them */
        td_keep(tensor);
    snprintf(r->names[r->count].name, sizeof r->names[r->count].name, "%s", name);
    r->names[r->count++].tensor = tensor;
}

/* Elements, "3" or "3*5" for five of them: those of a floating type to reals, others to integers. */
static int64_t take_elements(struct replay *r, uint8_t dtype, double *reals, int64_t *integers)
{
    int64_t count = 0;
    while (*r->at && *r->at != ' ' && !*r->message) {
        bool floating = td_dtype_category(dtype) == TD_FLOATING;
        double real = floating ? take_real(r, dtype == TD_F32) : 0;
        if (floating) { /* as many digits as f32 has, of a half too */
            double element;
            td_number_store(td_number_of_real(real), dtype, &element);
            real = td_number_load(dtype, &element).f;
        }
        int64_t integer = floating ? 0 : take_integer(r), times = take(r, "*") ? take_integer(r) : 1;
        for (; times > 0 && count < ELEMENTS; times--, count++) {
            reals[count] = real;
            integers[count] = integer;
        }
        take(r, ",");
    }
    return count;
}

/* ---- statements ---- */

/* The rest of "a=f32![2,3]:1,2,3,4,5,6"; with "!" it requires a gradient. */
static td_tensor take_leaf(struct replay *r)
{
    static double reals[ELEMENTS];
    static int64_t integers[ELEMENTS], bytes[ELEMENTS];
    uint8_t dtype = take_dtype(r);
    bool requires_grad = take(r, "!");
    struct td_dims shape = take_dims(r);
    take(r, ":");
    int64_t count = take_elements(r, dtype, reals, integers);
    if (count != td_checked_numel((int)shape.count, shape.v))
        wrong(r, "%" PRId64 " elements do not fill a tensor", count);
    for (int64_t k = 0; k < count; k++) {
        bool floating = td_dtype_category(dtype) == TD_FLOATING;
        struct td_number n = floating ? td_number_of_real(reals[k]) : td_number_of_integer(integers[k]);
        td_number_store(n, dtype, (char *)bytes + (size_t)k * td_dtype_size(dtype));
    }
    return td_from(s, bytes, dtype, shape, .requires_grad = requires_grad);
}

struct call {
    const struct td_op *op;
    td_operand in[INPUTS];
    uint16_t lists[TD_PARAMS_MAX];
    int in_count, list_count;
    int64_t attrs[TD_ATTR_SLOTS];
};

static void take_tensor(struct replay *r, struct call *c, const char *ends)
{
    char name[32];
    if (c->in_count == INPUTS)
        wrong(r, "too many inputs");
    else if (take(r, "nil"))
        c->in[c->in_count++] = td_operand_of_tensor((td_tensor){0});
    else if (take(r, "#"))
        c->in[c->in_count++] = td_operand_of_number(take_number(r));
    else
        c->in[c->in_count++] = td_operand_of_tensor(find(r, take_word(r, ends, name)));
}

static void take_list(struct replay *r, struct call *c)
{
    int before = c->in_count;
    if (!take(r, "{"))
        wrong(r, "no list of tensors: %.40s", r->at);
    while (!*r->message && !take(r, "}")) {
        take_tensor(r, c, ",}");
        take(r, ",");
    }
    c->lists[c->list_count++] = (uint16_t)(c->in_count - before);
}

static void take_attribute(struct replay *r, uint8_t kind, void *slot)
{
    struct td_number number;
    struct td_dims dims;
    double real;
    switch ((enum td_param_kind)kind) {
    case TD_PARAM_REAL:
        real = take_real(r, false);
        memcpy(slot, &real, sizeof real);
        break;
    case TD_PARAM_NUMBER:
        take(r, "#");
        number = take_number(r);
        memcpy(slot, &number, sizeof number);
        break;
    case TD_PARAM_SHAPE:
    case TD_PARAM_DIMS:
        dims = take_dims(r);
        memcpy(slot, &dims, sizeof dims);
        break;
    case TD_PARAM_DTYPE:
        *(int64_t *)slot = take_dtype(r);
        break;
    default:
        *(int64_t *)slot = take_integer(r);
    }
}

/* The rest of "y,z=op argument ...": arguments in the row's order; keywords may be missing at the end. */
static void take_call(struct replay *r, const struct td_op *op, const char *results, bool in_place)
{
    struct call c = {.op = op};
    td_op_defaults(op, c.attrs);
    int64_t *slot = c.attrs;
    for (const struct td_param *p = op->params; p->kind && !*r->message; slot += td_param_slots(p++->kind)) {
        if (*r->at == '\0' || !strncmp(r->at, " ;", 2))
            break;
        take(r, " ");
        if (td_param_is_list(p->kind))
            take_list(r, &c);
        else if (td_param_is_tensor(p->kind))
            take_tensor(r, &c, " ");
        else
            take_attribute(r, p->kind, slot);
    }
    td_tensor out[TD_OUTPUTS_MAX] = {{0}};
    if (*r->message)
        return;
    const struct client_op call = {.id = op->id,
                                   .origin = {op->name, 0},
                                   .session = s,
                                   .in = c.in,
                                   .in_count = c.in_count,
                                   .list_counts = c.lists,
                                   .attrs = c.attrs};
    r->unfit |= r->mode == RECORD && in_place && op->kind == TD_VIEW;
    if (in_place && op->kind == TD_VIEW)
        client_view_in_place(&call);
    else if (in_place)
        client_in_place(&call);
    else
        client_ops(&call, out);
    for (int k = 0; *results && k < op->output_count; k++) {
        char name[32];
        size_t length = strcspn(results, ",");
        snprintf(name, sizeof name, "%.*s", (int)length, results);
        results += length + (results[length] == ',');
        add(r, name, out[k]);
    }
}

/* The rest of "y=huber_loss a b 1 0.5", of a function that the library makes of ops. */
static struct argument take_argument(struct replay *r, td_tensor *items)
{
    struct argument a = {.dims.count = -1, .list = {.items = items}};
    char name[32];
    if (*r->at == '[') {
        a.dims = take_dims(r);
    } else if (take(r, "#")) {
        a.operand = td_operand_of_number(take_number(r));
    } else if (take(r, "{")) {
        for (; !*r->message && !take(r, "}") && a.list.count < INPUTS; take(r, ","))
            items[a.list.count++] = find(r, take_word(r, ",}", name));
    } else if (*r->at == 't') {
        a.operand = td_operand_of_tensor(find(r, take_word(r, " ", name)));
    } else if (!take(r, "nil")) {
        const char *at = r->at;
        a.real = take_real(r, false);
        a.integer = strtoll(at, NULL, 10);
    }
    return a;
}

/* Whether the program waits in that function, or its result is as large as its data say: nothing recorded may. */
static bool depends_on_data(const char *function)
{
    static const char *const some[] = {"one_hot" /* without a number of classes */, "repeat_interleave_each", "unique",
                                       "unique_consecutive"};
    for (int k = 0; k < (int)(sizeof some / sizeof *some); k++)
        if (!strcmp(function, some[k]))
            return true;
    return false;
}

static void take_composite(struct replay *r, const char *function, const char *results)
{
    struct argument arguments[TD_PARAMS_MAX] = {{.dims.count = -1}};
    td_tensor items[INPUTS], out[TD_OUTPUTS_MAX] = {{0}};
    for (int count = 0; count < TD_PARAMS_MAX && strncmp(r->at, " ;", 2) && take(r, " "); count++)
        arguments[count] = take_argument(r, items);
    r->unfit |= r->mode == RECORD && depends_on_data(function);
    if (!*r->message && !r->unfit)
        composite_call(function, arguments, out);
    for (int k = 0; k < composite_results(function) && *results; k++) {
        char name[32];
        size_t length = strcspn(results, ",");
        snprintf(name, sizeof name, "%.*s", (int)length, results);
        results += length + (results[length] == ',');
        add(r, name, out[k]);
    }
}

/* The op whose form in place has this name; NULL if it is none. */
static const struct td_op *written(const char *word)
{
    char name[32];
    size_t length = strlen(word);
    snprintf(name, sizeof name, "%.*s", (int)length - 1, word);
    return length > 1 && word[length - 1] == '_' && !td_op_named(word) ? td_op_named(name) : NULL;
}

/* ---- expectations ---- */

/* How exact a value has to be: to the bit, or to within 16 units of the last place and what else is allowed. */
struct tolerance {
    bool any;
    double absolute;
};

static double epsilon_of(uint8_t dtype)
{
    return dtype == TD_F64 ? DBL_EPSILON : dtype == TD_F32 ? (double)FLT_EPSILON : dtype == TD_F16 ? 0x1p-10 : 0x1p-7;
}

/* The least number that has all of its places. */
static double least_normal(uint8_t dtype)
{
    return dtype == TD_F64 ? DBL_MIN : dtype == TD_F16 ? 0x1p-14 : (double)FLT_MIN;
}

static bool fits(double got, double want, uint8_t dtype, const struct tolerance *tolerance)
{
    bool zeros_differ = got == 0 && want == 0 && signbit(got) != signbit(want) && tolerance->absolute == 0;
    double unit = epsilon_of(dtype) * fmax(fabs(want), least_normal(dtype));
    if (isnan(got) || isnan(want))
        return isnan(got) && isnan(want);
    if (got == want)
        return !zeros_differ;
    return tolerance->any && fabs(got - want) <= 16 * unit + tolerance->absolute;
}

static void expect_values(struct replay *r, const char *name, td_tensor x, uint8_t dtype,
                          const struct tolerance *tolerance)
{
    static double want[ELEMENTS], got[ELEMENTS];
    static int64_t want_integers[ELEMENTS], got_integers[ELEMENTS];
    bool floating = td_dtype_category(dtype) == TD_FLOATING;
    int64_t count = take_elements(r, dtype, want, want_integers);
    int64_t there = floating ? td_read(x, got, TD_F64, ELEMENTS) : td_read(x, got_integers, TD_I64, ELEMENTS);
    if (there != count)
        wrong(r, "%s: %s", name, there < 0 ? "refused" : "another number of elements");
    for (int64_t k = 0; k < count && !*r->message; k++) {
        if (!floating && got_integers[k] != want_integers[k])
            wrong(r, "%s[%" PRId64 "] is %" PRId64 " where %" PRId64 " is due", name, k, got_integers[k],
                  want_integers[k]);
        if (floating && !fits(got[k], want[k], dtype, tolerance))
            wrong(r, "%s[%" PRId64 "] is %.9g where %.9g is due", name, k, got[k], want[k]);
    }
}

static void expect_numbers(struct replay *r, const char *name, const char *what, const int64_t *got, int rank,
                           const struct td_dims *want)
{
    char text[TD_SHAPE_TEXT];
    if (rank != want->count || memcmp(got, want->v, (size_t)rank * sizeof *got))
        wrong(r, "%s has %s %s", name, what, td_shape_text(rank, got, text, sizeof text));
}

/* The rest of "a>f32[2,3]/[3,1]+0@a~1e-6:1,2,...": dtype, shape, strides, offset and whose storage it shares ("-": none
 * of an input), what values may differ by, values. Only the first two must stand there. */
static void expect(struct replay *r, const char *name, td_tensor x)
{
    struct tolerance tolerance = {0};
    char word[32];
    uint8_t dtype = take_dtype(r);
    struct td_dims shape = take_dims(r), stride;
    td_layout layout = td_layout_of(x);
    if (!td_ok(x)) {
        wrong(r, "%s: refused", name);
        return;
    }
    if (td_dtype_of(x) != dtype)
        wrong(r, "%s is %s", name, td_dtype_name((uint8_t)td_dtype_of(x)));
    expect_numbers(r, name, "shape", layout.shape, layout.rank, &shape);
    if (take(r, "/")) {
        stride = take_dims(r);
        expect_numbers(r, name, "strides", layout.stride, layout.rank, &stride);
    }
    if (take(r, "+") && take_integer(r) != layout.offset)
        wrong(r, "%s has offset %" PRId64, name, layout.offset);
    if (take(r, "@")) {
        take_word(r, "-~: ", word);
        bool shares = !take(r, "-");
        if (r->mode == EAGER && td_same_storage(x, find(r, word)) != shares)
            wrong(r, "%s %s %s", name, shares ? "is no view of" : "is a view of", word);
    }
    if (take(r, "~")) {
        tolerance.any = true;
        tolerance.absolute = *r->at == ':' ? 0 : take_real(r, false);
    }
    if (take(r, ":"))
        expect_values(r, name, x, dtype, &tolerance);
}

static void expect_error(struct replay *r, const char *what)
{
    const td_error_info *e = td_error(s);
    if (e->code == TD_E_OK)
        wrong(r, "%s is not refused", what);
    else if (e->code == TD_E_INTERNAL || e->code == TD_E_LOST || e->code == TD_E_PROTOCOL)
        wrong(r, "%s: %s", what, e->message);
    td_clear_error(s);
}

static void skip_statement(struct replay *r)
{
    while (*r->at && strncmp(r->at, " ; ", 3))
        r->at++;
}

/* Of a recorded case: some of what is expected, so that nobody reads the rest. */
static void take_output(struct replay *r, char *name)
{
    char *dot = strchr(name, '.'), *by = strchr(name, '/');
    int number = r->mode == RUN ? r->expected / r->every : r->expected;
    td_tensor *output = &r->outputs[number % NAMES];
    bool chosen = !take(r, "none") && r->expected++ % r->every == 0;
    if (chosen && r->mode == RUN) {
        expect(r, name, *output);
        return;
    }
    if (dot || by)
        *(dot ? dot : by) = '\0';
    if (chosen)
        *output = by    ? td_grad_of(find(r, name), find(r, by + 1), .retain_graph = true)
                  : dot ? td_grad(find(r, name))
                        : find(r, name);
    skip_statement(r);
}

static void take_expectation(struct replay *r, char *name)
{
    char *dot = strchr(name, '.'), *by = strchr(name, '/');
    if (r->mode != EAGER) {
        take_output(r, name);
        return;
    }
    if (by) {
        *by = '\0';
        td_tensor grad = td_grad_of(find(r, name), find(r, by + 1), .retain_graph = true);
        *by = '/';
        if (take(r, "none"))
            expect_error(r, name);
        else
            expect(r, name, grad);
        return;
    }
    if (!dot) {
        expect(r, name, find(r, name));
        return;
    }
    *dot = '\0';
    td_tensor grad = td_grad(find(r, name));
    *dot = '.';
    if (take(r, "none"))
        expect_error(r, name);
    else
        expect(r, name, grad);
}

/* " 1": a block begins; " 0": the last one that began ends. */
static void take_block(struct replay *r, bool checkpoint)
{
    if (!take_integer(r)) {
        if (r->block_count == 0)
            wrong(r, "no block is open");
        else
            td_guard_end(&r->blocks[--r->block_count]);
        r->checkpoints -= checkpoint;
    } else if (r->block_count == BLOCKS) {
        wrong(r, "too many blocks");
    } else {
        (checkpoint ? td_checkpoint_begin : td_no_grad_begin)(s, &r->blocks[r->block_count++]);
        r->checkpoints += checkpoint;
    }
}

static void take_command(struct replay *r, const char *word)
{
    char name[32], seed[32];
    const struct td_op *op = td_op_named(word), *in_place = written(word);
    if (op) {
        take_call(r, op, "", false);
    } else if (in_place) {
        take_call(r, in_place, "", true);
    } else if (!strcmp(word, "error") && r->mode == RECORD) {
        r->unfit = true;
    } else if (!strcmp(word, "error")) {
        expect_error(r, "the call");
    } else if (!take(r, " ")) {
        wrong(r, "neither an op nor a statement: %s", word);
    } else if (!strcmp(word, "backward")) {
        td_tensor y = find(r, take_word(r, " ", name));
        if (r->at[0] == ' ' && r->at[1] != ';' && take(r, " "))
            td_backward(y, .seed = find(r, take_word(r, " ", seed)));
        else
            td_backward(y);
    } else if (!strcmp(word, "no_grad") || !strcmp(word, "checkpoint")) {
        take_block(r, *word == 'c');
    } else {
        wrong(r, "neither an op nor a statement: %s", word);
    }
}

/* The leaves of a case that is recorded or run are complete: they are the inputs. */
static void begin_program(struct replay *r, td_program *program)
{
    td_tensor in[NAMES];
    for (int k = 0; k < r->count; k++)
        in[k] = r->names[k].tensor;
    td_list inputs = {r->count, in, NULL};
    r->program = r->mode == RECORD ? td_record(s, inputs) : program;
    if (r->mode == RUN)
        td_run(program, inputs, r->outputs);
}

/* program: what is run; NULL unless that is the mode. */
static void take_statement(struct replay *r, td_program *program)
{
    char names[32], word[32] = "";
    take_word(r, "=> ", names);
    bool expectation = take(r, ">"), command = !expectation && !take(r, "=");
    const char *before = r->at;
    const struct td_op *op = expectation || command ? NULL : td_op_named(take_word(r, "![ ", word));
    bool composite = !expectation && !command && composite_results(word) > 0;
    bool leaf = !expectation && !command && !op && !composite;
    if (r->mode != EAGER && !leaf && !r->program)
        begin_program(r, program);
    if (expectation) {
        take_expectation(r, names);
    } else if (r->mode == RUN && r->program) {
        skip_statement(r);
    } else if (command && composite_results(names) > 0) {
        take_composite(r, names, ""); /* a form in place */
    } else if (command) {
        take_command(r, names);
    } else if (op) {
        r->unfit |= r->mode == RECORD && td_op_is_sized(op);
        if (!r->unfit)
            take_call(r, op, names, false);
    } else if (composite) {
        take_composite(r, word, names);
    } else {
        r->at = before;
        add(r, names, take_leaf(r));
    }
}

static void replay_in(struct replay *r, td_program *program)
{
    while (*r->at && !*r->message && !r->unfit) {
        take_statement(r, program);
        if (*r->at && !take(r, " ; ") && !r->unfit)
            wrong(r, "what does not belong there: %.40s", r->at);
    }
    while (r->block_count)
        td_guard_end(&r->blocks[--r->block_count]);
}

/* What is wrong with a case; NULL if nothing is. Good until the next one. */
static const char *verdict(struct replay *r)
{
    const td_error_info *e = td_error(s);
    if (e->code != TD_E_OK) {
        size_t used = strlen(r->message);
        snprintf(r->message + used, sizeof r->message - used, "%s[%s: %s]", used ? " " : "", td_code_name(e->code),
                 e->message);
        td_clear_error(s);
    }
    return *r->message ? r->message : NULL;
}

static const char *replay(const char *text)
{
    static struct replay r;
    TD_SCOPE(s);
    r = (struct replay){.at = text};
    replay_in(&r, NULL);
    return verdict(&r);
}

/* The same with a program whose outputs are the first of every so many values that are expected. */
static const char *replay_recorded(const char *text, int every)
{
    static struct replay r, run;
    td_tensor outputs[NAMES];
    int count = 0;
    TD_SCOPE(s);
    r = (struct replay){.mode = RECORD, .at = text, .every = every};
    replay_in(&r, NULL);
    for (int k = 0; k < r.expected && k < NAMES; k += every)
        outputs[count++] = r.outputs[k];
    if (r.program)
        td_record_end(r.program, (td_list){count, outputs, NULL});
    if (r.unfit)
        td_clear_error(s);
    const char *problem = verdict(&r);
    if (r.program && !r.unfit && !problem) {
        run = (struct replay){.mode = RUN, .at = text, .every = every};
        replay_in(&run, r.program);
        problem = verdict(&run);
    }
    td_program_free(r.program);
    return problem;
}

/* ---- the committed cases ---- */

static FILE *golden(const char *name)
{
    char path[512];
    const char *root = getenv("TENSORD_ROOT");
    snprintf(path, sizeof path, "%s/tests/oracle/golden/%s.txt", root ? root : ".", name);
    return fopen(path, "r");
}

/* Takes the next case; NULL at the end. */
static char *next_case(FILE *file, char **line, size_t *room)
{
    do {
        if (getline(line, room, file) < 0)
            return NULL;
        (*line)[strcspn(*line, "\n")] = '\0';
    } while (**line == '#' || **line == '\0');
    return *line;
}

static void test_golden(void **state)
{
    const char *name = *state, *text, *problem;
    FILE *file = golden(name);
    char *line = NULL;
    size_t room = 0;
    int number = 0, bad = 0;
    if (!file) {
        print_message("%s is not covered: no line of tests/oracle/ops.py says how torch is called\n", name);
        skip();
    }
    while ((text = next_case(file, &line, &room))) {
        number++;
        for (int every = 0; every < 3; every++) { /* 0: as it stands */
            problem = every ? replay_recorded(text, every) : replay(text);
            if (problem && bad++ < 5)
                print_error("%s, case %d%s: %s\n    %s\n", name, number, every ? ", recorded" : "", problem, text);
        }
    }
    free(line);
    fclose(file);
    if (bad)
        fail_msg("%s: %d of %d cases differ from PyTorch", name, bad, number);
}

static int start(void **state)
{
    (void)state;
    if (daemon_start(&daemon_, NULL))
        return -1;
    s = td_open(daemon_.address);
    return td_error(s)->code;
}

static int stop(void **state)
{
    (void)state;
    int code = td_close(s);
    return daemon_stop(&daemon_) || code;
}

/* A line for each case on standard input; an empty line asks for what is held back. */
static int serve(void)
{
    char *line = NULL;
    size_t room = 0;
    if (start(NULL))
        return 1;
    while (getline(&line, &room, stdin) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        if (!*line) {
            fflush(stdout);
            continue;
        }
        const char *problem = replay(line);
        if (!problem)
            problem = replay_recorded(line, 1);
        if (!problem)
            problem = replay_recorded(line, 2);
        printf("%s\n", problem ? problem : "ok");
    }
    free(line);
    return stop(NULL);
}

int main(int argc, char **argv)
{
    static const char *const more[] = {"programs", "found", "made", "in_place"};
    enum { FILES = TD_OP_LIMIT + sizeof more / sizeof *more };
    struct CMUnitTest tests[FILES];
    static char names[FILES][64];
    size_t count = 0;
    if (argc == 2 && !strcmp(argv[1], "-"))
        return serve();
    for (int id = TD_OP_FIRST; id < (int)FILES; id++) {
        const struct td_op *op = td_op_of((uint64_t)id);
        const char *file = id >= TD_OP_LIMIT ? more[id - TD_OP_LIMIT] : op ? op->name : NULL;
        if (!file)
            continue;
        snprintf(names[id], sizeof names[id], "oracle_%s", file);
        tests[count++] =
            (struct CMUnitTest){.name = names[id], .test_func = test_golden, .initial_state = (void *)file};
    }
    return _cmocka_run_group_tests("oracle", tests, count, start, stop);
}
