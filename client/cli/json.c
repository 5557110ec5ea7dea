/* JSON, written. SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "client/cli/text.h"

static void write_text(FILE *out, const char *given)
{
    const unsigned char *text = (const unsigned char *)given;
    uint32_t bytes = (uint32_t)strlen(given);
    putc('"', out);
    for (uint32_t k = 0; k < bytes;) {
        uint32_t length = utf8_length(text + k, bytes - k);
        if (length == 0) {
            fputs("\\ufffd", out);
            k++;
            continue;
        }
        if (text[k] == '"' || text[k] == '\\')
            fprintf(out, "\\%c", text[k]);
        else if (text[k] < ' ' || text[k] == 0x7f)
            fprintf(out, "\\u%04x", text[k]);
        else if (text[k] == 0xc2 && text[k + 1] < 0xa0) /* allowed as it is, but terminals obey it */
            fprintf(out, "\\u%04x", text[k + 1]);
        else
            fwrite(text + k, 1, length, out);
        k += length;
    }
    putc('"', out);
}

/* All that stands before a value. */
static void begin(struct json *json, const char *key)
{
    fputs(json->some ? "," : "", json->out);
    if (json->depth)
        fprintf(json->out, "\n%*s", 2 * json->depth, "");
    if (key) {
        write_text(json->out, key);
        fputs(": ", json->out);
    }
    json->some = true;
}

void json_open(struct json *json, const char *key, char bracket)
{
    begin(json, key);
    putc(bracket, json->out);
    json->depth++;
    json->some = false;
}

void json_close(struct json *json, char bracket)
{
    json->depth--;
    if (json->some)
        fprintf(json->out, "\n%*s", 2 * json->depth, "");
    putc(bracket, json->out);
    json->some = true;
    if (!json->depth)
        putc('\n', json->out);
}

void json_text(struct json *json, const char *key, const char *text)
{
    begin(json, key);
    write_text(json->out, text);
}

void json_uint(struct json *json, const char *key, uint64_t value)
{
    begin(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void json_real(struct json *json, const char *key, double value)
{
    begin(json, key);
    if (isfinite(value))
        fprintf(json->out, "%.9g", value);
    else
        fputs("null", json->out);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin(json, key);
    fputs(value ? "true" : "false", json->out);
}

void json_null(struct json *json, const char *key)
{
    begin(json, key);
    fputs("null", json->out);
}
