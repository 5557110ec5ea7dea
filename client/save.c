/* Files out of the daemon: elements go to the disk as they arrive, a frame's at a time.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/files.h"
#include "client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the tensors are, looked up before the first byte is written. */
struct save {
    td_session *session; /* the first tensor's, which errors are told to; NULL: none */
    td_origin origin;
    const char *what;
    struct td_failure failure;
    int code; /* of an error that has been told already */
    struct output output;
    int64_t count;
    const td_tensor *tensors;
    struct stored *items, **order;
};

/* What is wrong with x; 0: nothing. The session's lock is held. */
static int code_of(td_tensor x)
{
    const struct entry *e = handles_find(x.session, x);
    const struct cause *cause = e && e->cause ? e->cause : x.session->dead;
    return cause ? cause->failure.code : e ? TD_E_OK : TD_E_HANDLE;
}

/* Notes what x is; false if it cannot be saved, which has been told. */
static bool look_up(struct save *save, td_tensor x, const char *name, struct stored *item)
{
    td_origin here = {save->origin.where, 0};
    if (!x.session) {
        query_begin(here, x, save->what, true);
        save->code = TD_E_HANDLE;
        return false;
    }
    session_enter(x.session);
    layout_learn(x.session, x, here);
    save->code = code_of(x);
    if (!save->code) {
        const struct td_meta *meta = &handles_find(x.session, x)->meta;
        *item = (struct stored){.name = name, .dtype = meta->dtype, .rank = meta->rank};
        memcpy(item->shape, meta->shape, sizeof item->shape);
        item->elements = (uint64_t)td_meta_numel(meta);
    }
    session_leave(x.session);
    if (save->code && query_begin(here, x, save->what, true)) /* tells why */
        query_end(here, x);
    return !save->code;
}

static void take(void *output, const uint8_t *data, size_t bytes)
{
    output_write(output, data, bytes);
}

/* Waits for x and writes its elements, row by row. */
static void write_elements(struct save *save, td_tensor x, const struct stored *item)
{
    td_origin here = {save->origin.where, 0};
    struct entry *e = save->failure.code || save->code ? NULL : query_begin(here, x, save->what, true);
    struct wait wait = {.take = take, .taker = &save->output, .total = stored_bytes(item), .dtype = item->dtype};
    if (!e && !save->failure.code && !save->code)
        save->code = TD_E_HANDLE; /* released meanwhile */
    if (!e)
        return;
    wait.sink = malloc(TD_FRAME_MAX);
    if (!wait.sink)
        output_fail(&save->output, TD_E_MEMORY, "this program has no memory left to write it");
    else if (!read_into(x.session, x, &wait, here) && !(save->code = code_of(x)))
        save->code = TD_E_LOST;
    free(wait.sink);
    query_end(here, x);
}

/* The file under its name, or nothing of it; the error told, and its code. */
static int save_end(struct save *save)
{
    if (save->code && !save->failure.code) /* told already: the file must not appear */
        save->failure.code = save->code;
    output_close(&save->output);
    if (save->failure.code && !save->code && save->session) {
        session_enter(save->session);
        cause_unref(error_make(save->session, &save->failure, save->what, save->origin));
        session_leave(save->session);
    } else if (save->failure.code && !save->code) {
        fprintf(stderr, "%s: %s\n", save->origin.where ? save->origin.where : "tensord", save->failure.message);
    }
    free(save->items);
    free(save->order);
    return save->failure.code;
}

/* ---- npy ---- */

static void write_npy_header(struct save *save, const struct stored *item)
{
    char header[NPY_HEADER_BYTES];
    size_t bytes = npy_print(header, item->dtype, item->rank, item->shape);
    if (!bytes)
        output_fail(&save->output, TD_E_DTYPE, "NumPy has no element type %s", td_dtype_name(item->dtype));
    output_write(&save->output, header, bytes);
}

int td_save_npy_at(td_origin origin, td_tensor x, const char *path)
{
    struct save save = {.session = x.session, .origin = origin, .what = "save_npy", .output.fd = -1};
    struct stored item;
    save.output.failure = &save.failure;
    if (look_up(&save, x, NULL, &item) && output_open(&save.output, save.what, path, &save.failure)) {
        write_npy_header(&save, &item);
        write_elements(&save, x, &item);
    }
    int code = save_end(&save);
    if (x.session) {
        session_enter(x.session);
        query_end(origin, x);
    }
    return code;
}

/* ---- several in one file ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct stored *const *)a)->name, (*(struct stored *const *)b)->name);
}

/* Names that the formats can hold, each once; order comes out sorted by them. */
static bool check_names(struct save *save)
{
    const struct output *output = &save->output;
    for (int64_t k = 0; k < save->count; k++) {
        const char *name = save->items[k].name;
        if (!name || strlen(name) > ZIP_NAME_MAX || !text_is_clean(name, strlen(name)) || !strcmp(name, "__metadata__"))
            return output_fail(output, TD_E_ARGUMENT, "%.80s cannot be the name of tensor %lld", name ? name : "(null)",
                               (long long)k);
        save->order[k] = &save->items[k];
    }
    qsort(save->order, (size_t)save->count, sizeof *save->order, by_name);
    for (int64_t k = 1; k < save->count; k++)
        if (!strcmp(save->order[k - 1]->name, save->order[k]->name))
            return output_fail(output, TD_E_ARGUMENT, "two tensors have the name %.100s", save->order[k]->name);
    return true;
}

/* Ready to write; save_end is due in any case. */
static bool save_begin(struct save *save, const struct td_save_arguments *a)
{
    save->session = a->count > 0 && a->tensors ? a->tensors[0].session : NULL;
    save->tensors = a->tensors;
    save->count = a->count;
    save->output = (struct output){.path = a->path ? a->path : "(null)", .what = save->what, .fd = -1};
    save->output.failure = &save->failure;
    if (a->count < 0 || (a->count > 0 && (!a->names || !a->tensors)))
        return output_fail(&save->output, TD_E_ARGUMENT, "%lld tensors cannot be saved", (long long)a->count);
    save->items = calloc((size_t)a->count + 1, sizeof *save->items);
    save->order = calloc((size_t)a->count + 1, sizeof *save->order);
    if (!save->items || !save->order)
        return output_fail(&save->output, TD_E_MEMORY, "this program has no memory left to write it");
    for (int64_t k = 0; k < a->count; k++)
        if (!look_up(save, a->tensors[k], a->names[k], &save->items[k]))
            return false;
    return check_names(save) && output_open(&save->output, save->what, a->path, &save->failure);
}

int td_save_npz_at(td_origin origin, const struct td_save_arguments *arguments)
{
    struct save save = {.origin = origin, .what = "save_npz"};
    struct zip zip;
    char header[NPY_HEADER_BYTES];
    if (save_begin(&save, arguments)) {
        zip_begin(&zip, &save.output);
        for (int64_t k = 0; k < save.count; k++) {
            const struct stored *item = &save.items[k];
            size_t bytes = npy_print(header, item->dtype, item->rank, item->shape);
            zip_member_begin(&zip, item->name, bytes + stored_bytes(item));
            write_npy_header(&save, item);
            write_elements(&save, save.tensors[k], item);
            zip_member_end(&zip);
        }
        zip_end(&zip);
    }
    return save_end(&save);
}

int td_save_safetensors_at(td_origin origin, const struct td_save_arguments *arguments)
{
    struct save save = {.origin = origin, .what = "save_safetensors"};
    if (save_begin(&save, arguments)) {
        size_t bytes;
        char *header = safetensors_print(save.order, (size_t)save.count, arguments->metadata, &bytes);
        if (!header)
            output_fail(&save.output, TD_E_MEMORY, "this program has no memory left to write it");
        else if (bytes > HEADER_MAX)
            output_fail(&save.output, TD_E_LIMIT, "its header of %zu bytes is above %u", bytes, HEADER_MAX);
        else
            output_write(&save.output, header, bytes);
        free(header);
        for (int64_t k = 0; k < save.count; k++)
            write_elements(&save, save.tensors[save.order[k] - save.items], save.order[k]);
    }
    return save_end(&save);
}

/* ---- the functions without a call site ---- */

int(td_save_npy)(td_tensor x, const char *path)
{
    return td_save_npy_at((td_origin){0}, x, path);
}

int(td_save_npz)(const char *path, const char *const *names, const td_tensor *tensors, int64_t count)
{
    return td_save_npz_at((td_origin){0}, &(struct td_save_arguments){NULL, path, names, tensors, count});
}

int(td_save_safetensors)(const char *path, const char *const *names, const td_tensor *tensors, int64_t count,
                         const struct td_save_keywords *keywords)
{
    return td_save_safetensors_at(
        (td_origin){0}, &(struct td_save_arguments){keywords ? keywords->metadata : NULL, path, names, tensors, count});
}
