/* Bytes as an npz file: the directory, and every member of it, stored or deflated.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/file_of.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct archive archive = {.file = file_of(data, bytes)};
    bool accepted = zip_read(&archive);
    check_failure(accepted);
    for (size_t k = 0; accepted && k < archive.count; k++) {
        struct stored stored = {.name = archive.members[k].name};
        struct stream stream;
        file_failure.code = TD_E_OK;
        check_failure(zip_member(&archive, &archive.members[k], &stream) && npy_header(&stream, &stored) &&
                      take_elements(&stored, &stream));
        stream_close(&stream);
    }
    archive.file.fd = -1; /* the next input's, too */
    archive_close(&archive);
    return 0;
}
