/* Bytes as a safetensors file: what is accepted covers the data without holes, and says the same when it is written and
 * read again. SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/file_of.h"

static const struct stored *find(const struct archive *archive, const char *name)
{
    for (size_t k = 0; k < archive->count; k++)
        if (!strcmp(archive->items[k].name, name))
            return &archive->items[k];
    return NULL;
}

static void check_again(struct archive *archive, uint64_t data_bytes)
{
    size_t length, count = archive->count;
    struct stored **order = malloc((count + 1) * sizeof *order), *items = malloc((count + 1) * sizeof *items);
    const char **metadata = calloc(archive->texts + 1, sizeof *metadata);
    HOLDS(order && items && metadata);
    for (size_t k = 0; k < count; k++) {
        items[k] = archive->items[k];
        order[k] = &items[k];
    }
    for (size_t k = 0; k < archive->texts; k++)
        metadata[k] = archive->metadata[k];
    char *header = safetensors_print(order, count, metadata, &length);
    uint8_t *whole = calloc(1, length + data_bytes);
    HOLDS(header && whole && length % 8 == 0);
    memcpy(whole, header, length);
    struct archive again = {.file = file_of(whole, length + data_bytes)};
    HOLDS(safetensors_read(&again) && again.count == count && again.texts == archive->texts);
    for (size_t k = 0; k < count; k++) {
        const struct stored *item = find(&again, items[k].name);
        HOLDS(item && item->dtype == items[k].dtype && item->rank == items[k].rank);
        HOLDS(!memcmp(item->shape, items[k].shape, (size_t)item->rank * sizeof *item->shape));
        HOLDS(item->at % td_dtype_size(item->dtype) == 0);
    }
    again.file.fd = -1;
    archive_close(&again);
    free(whole);
    free(header);
    free(metadata);
    free(items);
    free(order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct archive archive = {.file = file_of(data, bytes)};
    bool accepted = safetensors_read(&archive), ours = accepted && archive.count <= 256;
    uint64_t sum = 0;
    check_failure(accepted);
    for (size_t k = 0; accepted && k < archive.count; k++) {
        struct stored *item = &archive.items[k];
        struct stream stream = stream_of(&archive.file, item->at, stored_bytes(item));
        HOLDS(take_elements(item, &stream));
        sum += stored_bytes(item);
        ours = ours && item->dtype != TD_DTYPE_NONE && item->rank <= TD_RANK_MAX;
    }
    HOLDS(sum <= bytes);
    if (ours)
        check_again(&archive, sum);
    archive.file.fd = -1; /* the next input's, too */
    archive_close(&archive);
    return 0;
}
