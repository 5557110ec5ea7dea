/* Files into the daemon: elements go there in chunks as they are read, so that a file of any size takes the memory of
 * one chunk. SPDX-License-Identifier: Apache-2.0 */
#include "client/files.h"
#include "client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct load {
    td_session *session;
    td_origin origin;
    const char *what;
    const struct td_load_keywords *keywords;
    struct td_failure failure;
    uint8_t *chunk;
    uint32_t cancels;
    int64_t done, total; /* bytes of elements */
};

static struct load load_begin(td_session *s, td_origin origin, const char *what,
                              const struct td_load_keywords *keywords)
{
    return (struct load){
        .session = s, .origin = origin, .what = what, .keywords = keywords, .cancels = s->wire.cancels};
}

static struct cause *raise(const struct load *load)
{
    return error_make(load->session, &load->failure, load->what, load->origin);
}

/* The end of a call that has no tensor to fail: whether nothing went wrong. */
static bool load_end(struct load *load)
{
    free(load->chunk);
    if (!load->failure.code)
        return true;
    session_enter(load->session);
    cause_unref(raise(load));
    session_leave(load->session);
    return false;
}

/* The same of one that returns x, which the error takes the place of. */
static td_tensor load_result(struct load *load, td_tensor x)
{
    free(load->chunk);
    if (!load->failure.code)
        return x;
    session_enter(load->session);
    if (handles_find(load->session, x))
        request_release(load->session, x.handle);
    x = handles_failed(load->session, raise(load));
    session_leave(load->session);
    return x;
}

/* ---- elements ---- */

static void swap_bytes(uint8_t *data, size_t bytes, size_t size)
{
#define SWAP(bits)                                    \
    for (size_t at = 0; at < bytes; at += bits / 8) { \
        uint##bits##_t element;                       \
        memcpy(&element, data + at, bits / 8);        \
        element = __builtin_bswap##bits(element);     \
        memcpy(data + at, &element, bits / 8);        \
    }
    if (size == 2)
        SWAP(16)
    if (size == 4)
        SWAP(32)
    if (size == 8)
        SWAP(64)
#undef SWAP
}

/* Tells the program how far it is, which may end it; so may another thread. */
static bool goes_on(struct load *load, const struct stream *stream)
{
    const struct td_load_keywords *k = load->keywords;
    if (k && k->progress && k->progress(load->done, load->total, k->data))
        return file_fail(stream->file, TD_E_CANCELLED, "cancelled by its progress function at byte %lld of %lld",
                         (long long)load->done, (long long)load->total);
    if (load->session->wire.cancels != load->cancels)
        return file_fail(stream->file, TD_E_CANCELLED, "cancelled by td_cancel at byte %lld of %lld",
                         (long long)load->done, (long long)load->total);
    return true;
}

/* Reads and sends all elements of x; false after a failure, or where x has failed by itself. */
static bool send_elements(struct load *load, const struct stored *stored, struct stream *stream, td_tensor x)
{
    uint64_t bytes = stored_bytes(stored), offset = 0;
    if (!load->chunk && !(load->chunk = malloc(TD_CHUNK_MAX)))
        return file_fail_memory(stream->file);
    do {
        size_t piece = bytes - offset < TD_CHUNK_MAX ? (size_t)(bytes - offset) : TD_CHUNK_MAX;
        if (!stream_read(stream, load->chunk, piece))
            return false;
        if (stored->swapped)
            swap_bytes(load->chunk, piece, td_dtype_size(stored->dtype));
        session_enter(load->session);
        const struct entry *e = handles_find(load->session, x);
        bool there = e && !e->cause && !load->session->dead;
        if (there && piece)
            there = request_upload(load->session, x.handle, offset, load->chunk, piece);
        session_leave(load->session);
        if (!there)
            return false;
        offset += piece;
        load->done += (int64_t)piece;
        if (!goes_on(load, stream))
            return false;
    } while (offset < bytes);
    return stream_finish(stream);
}

/* The tensor that stream stands before. It is an error value where load's failure is not set and it went wrong. */
static td_tensor load_stored(struct load *load, const struct stored *stored, struct stream *stream)
{
    const struct file *file = stream->file;
    td_tensor x = {.session = load->session};
    struct td_from_attrs attrs = {.dtype = stored->dtype, .shape = {.count = stored->rank}};
    struct td_permute_attrs axes = {.dims = {.count = stored->rank}};
    const char *name = stored->name ? stored->name : "its array";
    if (stored->dtype == TD_DTYPE_NONE)
        file_fail(file, TD_E_DTYPE, "%.80s has elements of type %s, which tensord has not", name, stored->type);
    else if (stored->rank > TD_RANK_MAX)
        file_fail(file, TD_E_LIMIT, "%.80s has %d dimensions, and %d are possible", name, stored->rank, TD_RANK_MAX);
    if (load->failure.code)
        return x;
    /* What runs fastest last, that is the array's transpose; turned around it has NumPy's own strides. */
    bool turned = stored->fortran && stored->rank > 1;
    for (int d = 0; d < stored->rank; d++) {
        axes.dims.v[d] = stored->rank - 1 - d;
        attrs.shape.v[d] = stored->shape[turned ? stored->rank - 1 - d : d];
    }
    x = client_op(
        &(struct client_op){.id = TD_OP_from, .origin = load->origin, .session = load->session, .attrs = &attrs});
    if (!send_elements(load, stored, stream, x) || !turned)
        return x;
    const td_operand in = td_operand_of_tensor(x);
    return client_op(&(struct client_op){
        .id = TD_OP_permute, .origin = {load->origin.where, 1}, .in = &in, .in_count = 1, .attrs = &axes});
}

/* ---- npy ---- */

td_tensor td_load_npy_at(td_origin origin, td_session *s, const char *path, const struct td_load_keywords *keywords)
{
    struct load load = load_begin(s, origin, "load_npy", keywords);
    struct stored stored = {0};
    struct file file;
    td_tensor x = {.session = s};
    if (file_open(&file, load.what, path, &load.failure)) {
        struct stream stream = stream_of(&file, 0, file.size);
        if (npy_header(&stream, &stored)) {
            load.total = (int64_t)stored_bytes(&stored);
            x = load_stored(&load, &stored, &stream);
        }
    }
    file_close(&file);
    return load_result(&load, x);
}

/* ---- npz and safetensors: files of several ---- */

typedef bool reader(struct archive *archive);

static bool archive_open(struct archive *archive, reader *read, struct load *load, const char *path)
{
    *archive = (struct archive){0};
    return file_open(&archive->file, load->what, path, &load->failure) && read(archive);
}

static const char *name_of(const struct archive *archive, size_t k)
{
    return archive->members ? archive->members[k].name : archive->items[k].name;
}

/* The k-th tensor, and a stream that stands before its elements; to be closed in any case. */
static bool item_open(const struct archive *archive, size_t k, struct stored *stored, struct stream *stream)
{
    *stream = (struct stream){0};
    if (archive->items) {
        *stored = archive->items[k];
        *stream = stream_of(&archive->file, stored->at, stored_bytes(stored));
        return true;
    }
    *stored = (struct stored){.name = archive->members[k].name};
    return zip_member(archive, &archive->members[k], stream) && npy_header(stream, stored);
}

static td_tensor load_item(struct load *load, const struct archive *archive, size_t k, bool alone)
{
    struct stored stored;
    struct stream stream;
    td_tensor x = {.session = load->session};
    if (item_open(archive, k, &stored, &stream)) {
        if (alone)
            load->total = (int64_t)stored_bytes(&stored);
        x = load_stored(load, &stored, &stream);
    }
    stream_close(&stream);
    return x;
}

static td_tensor load_named(td_origin origin, td_session *s, const char *path, const char *name, const char *what,
                            reader *read, const struct td_load_keywords *keywords)
{
    struct load load = load_begin(s, origin, what, keywords);
    struct archive archive;
    td_tensor x = {.session = s};
    if (archive_open(&archive, read, &load, path)) {
        size_t k = archive.count; /* of members of one name the last one counts, as in Python */
        while (k > 0 && (!name || strcmp(name_of(&archive, k - 1), name)))
            k--;
        if (k > 0) {
            x = load_item(&load, &archive, k - 1, true);
        } else {
            file_fail(&archive.file, TD_E_ARGUMENT, "has no tensor of the name %.100s", name ? name : "(null)");
            td_hint(&load.failure, "It has %zu; td_list_npz and td_list_safetensors tell their names.", archive.count);
        }
    }
    archive_close(&archive);
    return load_result(&load, x);
}

/* ---- all of them ---- */

/* What the program gets, names behind it, in one allocation. */
static td_stored *describe(struct load *load, const struct archive *archive)
{
    size_t names = 0;
    for (size_t k = 0; k < archive->count; k++)
        names += strlen(name_of(archive, k)) + 1;
    td_stored *list = calloc(1, archive->count * sizeof *list + names + 1);
    char *text = (char *)(list + archive->count);
    if (!list)
        file_fail_memory(&archive->file);
    for (size_t k = 0; list && k < archive->count; k++) {
        struct stored stored;
        struct stream stream;
        if (item_open(archive, k, &stored, &stream)) {
            list[k].name = text;
            list[k].dtype = (enum td_dtype)(stored.rank > TD_RANK_MAX ? TD_DTYPE_NONE : stored.dtype);
            list[k].rank = stored.rank;
            memcpy(list[k].shape, stored.shape, sizeof stored.shape);
            text = stpcpy(text, stored.name) + 1;
            load->total += (int64_t)stored_bytes(&stored);
        }
        stream_close(&stream);
        if (load->failure.code)
            break;
    }
    return list;
}

/* All or none: after an error nothing that was loaded is left. */
static void load_items(struct load *load, const struct archive *archive, td_stored *list)
{
    bool fine = true;
    size_t k = 0;
    for (; fine && k < archive->count; k++) {
        list[k].tensor = load_item(load, archive, k, false);
        fine = !load->failure.code && td_ok_at((td_origin){0}, list[k].tensor);
    }
    while (!fine && k-- > 0) {
        session_enter(load->session);
        if (handles_find(load->session, list[k].tensor))
            request_release(load->session, list[k].tensor.handle);
        session_leave(load->session);
        list[k].tensor = (td_tensor){0};
    }
    for (k = 0; fine && k < archive->count; k++)
        list[k].tensor.generation &= ~FRESH;
}

static int64_t list_items(td_origin origin, td_session *s, const char *path, td_stored **list, const char *what,
                          reader *read, bool loads, const struct td_load_keywords *keywords)
{
    struct load load = load_begin(s, origin, what, keywords);
    struct archive archive;
    int64_t count = -1;
    *list = NULL;
    if (archive_open(&archive, read, &load, path) && (*list = describe(&load, &archive)) && !load.failure.code) {
        count = (int64_t)archive.count;
        if (loads)
            load_items(&load, &archive, *list);
        if (loads && count > 0 && !(*list)->tensor.session)
            count = -1;
    }
    archive_close(&archive);
    if (!load_end(&load))
        count = -1;
    if (count < 0) {
        free(*list);
        *list = NULL;
    }
    return count;
}

#define FORMAT(format, read)                                                                              \
    td_tensor td_load_##format##_at(td_origin origin, td_session *s, const char *path, const char *name,  \
                                    const struct td_load_keywords *keywords)                              \
    {                                                                                                     \
        return load_named(origin, s, path, name, "load_" #format, read, keywords);                        \
    }                                                                                                     \
    int64_t td_load_all_##format##_at(td_origin origin, td_session *s, const char *path, td_stored **all, \
                                      const struct td_load_keywords *keywords)                            \
    {                                                                                                     \
        return list_items(origin, s, path, all, "load_all_" #format, read, true, keywords);               \
    }                                                                                                     \
    int64_t td_list_##format##_at(td_origin origin, td_session *s, const char *path, td_stored **list)    \
    {                                                                                                     \
        return list_items(origin, s, path, list, "list_" #format, read, false, NULL);                     \
    }                                                                                                     \
    td_tensor(td_load_##format)(td_session * s, const char *path, const char *name,                       \
                                const struct td_load_keywords *keywords)                                  \
    {                                                                                                     \
        return td_load_##format##_at((td_origin){0}, s, path, name, keywords);                            \
    }                                                                                                     \
    int64_t(td_load_all_##format)(td_session * s, const char *path, td_stored **all,                      \
                                  const struct td_load_keywords *keywords)                                \
    {                                                                                                     \
        return td_load_all_##format##_at((td_origin){0}, s, path, all, keywords);                         \
    }                                                                                                     \
    int64_t(td_list_##format)(td_session * s, const char *path, td_stored **list)                         \
    {                                                                                                     \
        return td_list_##format##_at((td_origin){0}, s, path, list);                                      \
    }

FORMAT(npz, zip_read)
FORMAT(safetensors, safetensors_read)

char *td_metadata_safetensors_at(td_origin origin, td_session *s, const char *path, const char *key)
{
    struct load load = load_begin(s, origin, "metadata_safetensors", NULL);
    struct archive archive;
    char *value = NULL;
    if (archive_open(&archive, safetensors_read, &load, path))
        for (size_t k = 0; k < archive.texts && !value; k += 2)
            if (key && !strcmp(archive.metadata[k], key) && !(value = strdup(archive.metadata[k + 1])))
                file_fail_memory(&archive.file);
    archive_close(&archive);
    load_end(&load);
    return value;
}

/* ---- the functions without a call site ---- */

td_tensor(td_load_npy)(td_session *s, const char *path, const struct td_load_keywords *keywords)
{
    return td_load_npy_at((td_origin){0}, s, path, keywords);
}

char *(td_metadata_safetensors)(td_session *s, const char *path, const char *key)
{
    return td_metadata_safetensors_at((td_origin){0}, s, path, key);
}
