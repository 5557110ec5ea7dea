/* Strict JSON. Each function takes one thing from at and returns what is behind it, NULL if it is not there.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/strict_json.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64

static const char *value(const char *at, int depth);

static const char *space(const char *at)
{
    return at ? at + strspn(at, " \t\r\n") : NULL;
}

static const char *literal(const char *at, const char *due)
{
    return strncmp(at, due, strlen(due)) ? NULL : at + strlen(due);
}

static const char *digits(const char *at)
{
    return isdigit((unsigned char)*at) ? at + strspn(at, "0123456789") : NULL;
}

static const char *number(const char *at)
{
    at += *at == '-';
    at = *at == '0' ? at + 1 : digits(at);
    if (at && *at == '.')
        at = digits(at + 1);
    if (at && (*at == 'e' || *at == 'E')) {
        at++;
        at = digits(at + (*at == '+' || *at == '-'));
    }
    return at;
}

static const char *string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < ' ')
            return NULL;
        if (*at != '\\')
            continue;
        at++;
        if (*at == 'u' && strspn(at + 1, "0123456789abcdefABCDEF") >= 4)
            at += 4;
        else if (!*at || !strchr("\"\\/bfnrt", *at))
            return NULL;
    }
    return at + 1;
}

static const char *entries(const char *at, char end, int depth)
{
    at = space(at + 1);
    if (*at == end)
        return at + 1;
    for (;;) {
        if (end == '}') {
            at = space(string(at));
            if (!at || *at != ':')
                return NULL;
            at = space(at + 1);
        }
        at = space(value(at, depth + 1));
        if (!at || (*at != ',' && *at != end))
            return NULL;
        if (*at == end)
            return at + 1;
        at = space(at + 1);
    }
}

static const char *value(const char *at, int depth)
{
    if (depth > DEPTH_MAX)
        return NULL;
    switch (*at) {
    case '{':
        return entries(at, '}', depth);
    case '[':
        return entries(at, ']', depth);
    case '"':
        return string(at);
    case 't':
        return literal(at, "true");
    case 'f':
        return literal(at, "false");
    case 'n':
        return literal(at, "null");
    default:
        return number(at);
    }
}

bool json_is_strict(const char *text)
{
    const char *end = space(value(space(text), 0));
    return end && !*end;
}

/* The entry of an object or list: by a key of `length` bytes, or the index-th where key is NULL. */
static const char *entry(const char *at, const char *key, size_t length, long index)
{
    char end = *at == '{' ? '}' : ']';
    if (*at != (key ? '{' : '['))
        return NULL;
    for (at = space(at + 1); *at != end; at = space(at + 1)) {
        bool found = !key && index-- == 0;
        if (key) {
            const char *behind = string(at);
            found = (size_t)(behind - at) == length + 2 && !strncmp(at + 1, key, length);
            behind = space(behind);
            if (!behind)
                return NULL;
            at = space(behind + 1);
        }
        if (found)
            return at;
        at = space(value(at, 0));
        if (*at == end)
            break;
    }
    return NULL;
}

const char *json_at(const char *text, const char *path)
{
    const char *at = space(text);
    while (at && *path) {
        if (*path == '[') {
            char *end;
            long index = strtol(path + 1, &end, 10);
            path = end + 1;
            at = entry(at, NULL, 0, index);
        } else {
            path += *path == '.';
            size_t length = strcspn(path, ".[");
            at = entry(at, path, length, 0);
            path += length;
        }
    }
    return at;
}

double json_number(const char *text, const char *path)
{
    const char *at = json_at(text, path);
    return at && (*at == '-' || isdigit((unsigned char)*at)) ? strtod(at, NULL) : NAN;
}

bool json_says(const char *text, const char *path, const char *due)
{
    const char *at = json_at(text, path);
    return at && *at == '"' && !strncmp(at + 1, due, strlen(due)) && at[1 + strlen(due)] == '"';
}
