/* What a browser may send over the WebSocket and in the headers that let it in. Whatever comes, nothing is read behind
 * its end, a message that is taken is one of the four that there are, and no header but the right one lets anybody in.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "server/web/access.h"
#include "server/web/said.h"
#include "tests/fuzz/choices.h"

#define COOKIE "0123456789abcdef0123456789abcdef"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

static void check_said(const uint8_t *data, size_t bytes)
{
    struct said said = said_read(data, bytes);
    HOLDS(said.kind <= SAID_PAUSE);
    HOLDS(said.kind != SAID_PAUSE || said.number <= 1);
    HOLDS(said.kind == SAID_WRONG || bytes >= 6); /* ["ack", n] */
}

static void check_headers(const char *text)
{
    struct access access = {.host = "gpu.example", .port = 7070, .cookie = COOKIE};
    access_add_token(&access, COOKIE, 0);
    HOLDS(!access_has_cookie(&access, text) || strstr(text, "tensord-7070=" COOKIE));
    HOLDS(!access_is_host(&access, text) || (strstr(text, ":7070") && strlen(text) <= strlen("gpu.example:7070")));
    HOLDS(!access_is_origin(text, "gpu.example:7070") || strlen(text) <= strlen("https://gpu.example:7070"));
    HOLDS(!access_take_token(&access, text, 0) || !strcmp(text, COOKIE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1);
    check_said(data, bytes);
    if (!text)
        return 0;
    memcpy(text, data, bytes);
    text[bytes] = 0;
    check_headers(text);
    free(text);
    return 0;
}
