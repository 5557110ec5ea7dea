/* What a recorded program consists of, as text and as JSON. Nothing in the daemon's answer is trusted.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/recording.h"

#define LISTED 512
#define TEXT_BYTES 256

/* A growing text; failed: no memory. */
struct page {
    FILE *file;
    char *text;
    size_t bytes;
};

static void put_json_text(FILE *file, const char *text, uint32_t bytes)
{
    fputc('"', file);
    for (uint32_t k = 0; text && k < bytes; k++) {
        unsigned char c = (unsigned char)text[k];
        if (c == '"' || c == '\\' || c < ' ')
            fprintf(file, "\\u%04x", c);
        else
            fputc(c, file);
    }
    fputc('"', file);
}

/* Takes an array of handles, and writes them with word before each; as JSON without. */
static void put_handles(FILE *file, struct td_reader *r, bool json)
{
    uint32_t count = td_read_array(r);
    fputs(json ? "[" : "", file);
    for (uint32_t k = 0; k < count && !r->failed; k++) {
        const char *comma = k ? (json ? ", " : " ") : "";
        if (td_read_nil(r))
            fprintf(file, "%s%s", comma, json ? "null" : "-");
        else
            fprintf(file, "%s%s%" PRIu64, comma, json ? "" : "%", td_read_uint(r));
    }
    fputs(json ? "]" : "", file);
}

static void put_texts(FILE *file, struct td_reader *r, bool json, const char *key)
{
    uint32_t bytes = 0;
    const char *text = td_read_text(r, &bytes);
    if (json) {
        fprintf(file, "\"%s\": ", key);
        put_json_text(file, text, bytes);
    } else {
        fprintf(file, "%-18.*s", (int)bytes, text ? text : "");
    }
}

static void put_captures(FILE *file, struct td_reader *r, bool json)
{
    uint32_t count = td_read_array(r), bytes;
    for (uint32_t k = 0; k < count && !r->failed; k++) {
        td_read_array(r);
        uint64_t handle = td_read_uint(r);
        const char *name = td_read_text(r, &bytes);
        if (json) {
            fprintf(file, "%s{\"tensor\": %" PRIu64 ", \"name\": ", k ? ", " : "", handle);
            put_json_text(file, name, bytes);
            fputs("}", file);
        } else if (bytes) {
            fprintf(file, "  %%%" PRIu64 " is %.*s\n", handle, (int)bytes, name);
        }
    }
}

static void put_requests(FILE *file, struct td_reader *r, bool json, uint64_t requests)
{
    uint32_t count = td_read_array(r);
    for (uint32_t k = 0; k < count && !r->failed; k++) {
        uint32_t bytes = 0;
        td_read_array(r);
        fputs(json ? k ? ",\n  {" : "\n  {" : "  ", file);
        put_texts(file, r, json, "op");
        const char *site = td_read_text(r, &bytes);
        if (json) {
            fputs(", \"line\": ", file);
            put_json_text(file, site, bytes);
            fputs(", \"in\": ", file);
            put_handles(file, r, true);
            fputs(", \"out\": ", file);
            put_handles(file, r, true);
            fputs(td_read_bool(r) ? ", \"left_out\": true}" : "}", file);
            continue;
        }
        put_handles(file, r, false);
        fputs(" -> ", file);
        put_handles(file, r, false);
        fprintf(file, "%s%.*s%s\n", bytes ? "  " : "", (int)bytes, site ? site : "",
                td_read_bool(r) ? "  (left out: nobody reads it)" : "");
    }
    if (!json && requests > count)
        fprintf(file, "  ... and %" PRIu64 " more\n", requests - count);
}

/* The answer behind its error, as text or as JSON; false if it cannot be read. */
static bool put_answer(FILE *file, struct td_reader *r, bool json)
{
    uint64_t requests = td_read_uint(r), bytes = td_read_uint(r), captures = td_read_uint(r), runs = td_read_uint(r),
             differed = td_read_uint(r), left_out = td_read_uint(r);
    fprintf(file,
            json ? "{\"requests\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"captures\": %" PRIu64 ", \"runs\": %" PRIu64
                   ", \"runs_unlike_recorded\": %" PRIu64 ", \"left_out\": %" PRIu64 ",\n \"inputs\": "
                 : "program of %" PRIu64 " requests in %" PRIu64 " bytes; %" PRIu64 " tensors captured; run %" PRIu64
                   " times, %" PRIu64 " unlike what was recorded; %" PRIu64 " requests left out\n  inputs: ",
            requests, bytes, captures, runs, differed, left_out);
    put_handles(file, r, json);
    fputs(json ? ",\n \"outputs\": " : "\n  outputs: ", file);
    put_handles(file, r, json);
    fputs(json ? ",\n \"captured\": [" : "\n", file);
    put_captures(file, r, json);
    fputs(json ? "],\n \"ops\": [" : "", file);
    put_requests(file, r, json, requests);
    fputs(json ? "]}\n" : "", file);
    return !r->failed;
}

/* Asks for the program's listing. */
static char *listing(td_origin origin, td_program *p, const char *name, bool json)
{
    struct page page = {0};
    struct td_failure failure = {0};
    void *map = NULL;
    size_t bytes = 0;
    struct wait wait = {.map = &map, .map_bytes = &bytes};
    struct td_session *s = program_session(p);
    if (!s)
        return NULL;
    session_enter(s);
    struct cause *error = program_refuses(p, name, origin);
    if (!error) {
        request_numbers(s, site_number(s, origin.where), TD_R_PROGRAM, 2, (uint64_t[]){program_number(p), LISTED});
        wait.request = s->wire.requests;
        bool there = !s->dead && connection_wait(s, &wait) && map;
        struct td_reader r = td_reader_of(map, bytes);
        if (there)
            r.failed |= td_read_array(&r) < 1;
        if (there && !td_read_nil(&r))
            error = reply_error(&r);
        else if (there && (page.file = open_memstream(&page.text, &page.bytes)))
            r.failed |= !put_answer(page.file, &r, json);
        if (page.file)
            fclose(page.file);
        if (there && !error && (r.failed || !page.text)) {
            td_fail(&failure, TD_E_PROTOCOL, "%s: the daemon sent a program that cannot be read", name);
            error = cause_new(&failure, name, origin.where, s->wire.requests);
        }
    }
    error_raise(s, error ? error : wait.error);
    if (error || wait.error) {
        free(page.text);
        page.text = NULL;
    }
    cause_unref(error);
    cause_unref(wait.error);
    free(map);
    session_leave(s);
    return page.text;
}

char *td_program_text_at(td_origin origin, td_program *program)
{
    return listing(origin, program, "program_text", false);
}

char *td_program_json_at(td_origin origin, td_program *program)
{
    return listing(origin, program, "program_json", true);
}

void td_program_print_at(td_origin origin, td_program *program)
{
    char *text = listing(origin, program, "program_print", false);
    if (text)
        fputs(text, stdout);
    free(text);
}

char *(td_program_text)(td_program *program)
{
    return td_program_text_at((td_origin){0}, program);
}

char *(td_program_json)(td_program *program)
{
    return td_program_json_at((td_origin){0}, program);
}

void(td_program_print)(td_program *program)
{
    td_program_print_at((td_origin){0}, program);
}
