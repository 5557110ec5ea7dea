/* JSON, written as it comes: objects and lists are opened and closed, and values put into them. key is NULL inside a
 * list and at the top. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_JSON_H
#define TD_CLIENT_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    int depth;
    bool some; /* a value stands before, at this depth */
};

/* bracket: '{' or '['; '}' or ']'. */
void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);
/* Bytes that are no UTF-8 become U+FFFD. */
void json_text(struct json *json, const char *key, const char *text);
void json_uint(struct json *json, const char *key, uint64_t value);
/* Nine digits, which is what anything measured here is worth; null for what is no number. */
void json_real(struct json *json, const char *key, double value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);

#endif
