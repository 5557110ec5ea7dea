/* What a page says. SPDX-License-Identifier: Apache-2.0 */
#include "server/web/said.h"

#include <string.h>

#include "protocol/wire.h"

struct said said_read(const void *data, size_t bytes)
{
    static const char *const words[] = {
        [SAID_ACK] = "ack", [SAID_FOLLOW] = "follow", [SAID_DEVICE] = "device", [SAID_PAUSE] = "pause"};
    struct td_reader reader = td_reader_of(data, bytes);
    struct said said = {SAID_WRONG, 0};
    uint32_t count = td_read_array(&reader), length;
    const char *word = td_read_text(&reader, &length);
    for (int kind = SAID_ACK; word && kind <= SAID_PAUSE; kind++)
        if (length == strlen(words[kind]) && !memcmp(word, words[kind], length))
            said.kind = (enum said_kind)kind;
    said.number = said.kind == SAID_PAUSE ? td_read_bool(&reader) : td_read_u32(&reader);
    if (count != 2 || reader.failed || reader.at != reader.end)
        said.kind = SAID_WRONG;
    return said;
}
