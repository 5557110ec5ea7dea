/* Bytes as an npy file: whatever comes, the header is taken or refused with a cause, nothing is promised that is not
 * there, and what we would write for the same array says the same. SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/file_of.h"

static void check_again(const struct stored *stored)
{
    char header[NPY_HEADER_BYTES];
    struct stored again = {0};
    if (stored->dtype == TD_DTYPE_NONE || stored->rank > TD_RANK_MAX || stored->elements > 1 << 16)
        return;
    size_t length = npy_print(header, stored->dtype, stored->rank, stored->shape), bytes = stored_bytes(stored);
    uint8_t *data = calloc(1, length + bytes);
    HOLDS(data && length % 64 == 0);
    memcpy(data, header, length);
    struct file file = file_of(data, length + bytes);
    struct stream stream = stream_of(&file, 0, file.size);
    HOLDS(npy_header(&stream, &again) && stream.taken == length);
    HOLDS(again.dtype == stored->dtype && again.rank == stored->rank && again.elements == stored->elements);
    HOLDS(!memcmp(again.shape, stored->shape, (size_t)stored->rank * sizeof *stored->shape));
    HOLDS(!again.fortran && !again.swapped);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct file file = file_of(data, bytes);
    struct stream stream = stream_of(&file, 0, file.size);
    struct stored stored = {0};
    bool accepted = npy_header(&stream, &stored);
    check_failure(accepted);
    if (accepted)
        HOLDS(take_elements(&stored, &stream));
    if (accepted)
        check_again(&stored);
    return 0;
}
