/* The page's files, /metrics, /ops.json, and who is let in. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/web/internal.h"

#define HEAD_BYTES 2048
/* Of a body that are written at a time, so that a slow browser keeps that much of our memory and no more. */
#define CHUNK_BYTES 16384

#define ARGUMENT_BYTES 128

static const char page_text[] = "text/plain; charset=utf-8";

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 303:
        return "See Other";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 426:
        return "Upgrade Required";
    default:
        return "Service Unavailable";
    }
}

/* A header's value; "" if there is none, or one that is too long to be right. */
static const char *header(struct lws *wsi, enum lws_token_indexes token, char *to, int size)
{
    if (lws.hdr_copy(wsi, to, size, token) < 0)
        to[0] = 0;
    return to;
}

/* The head of a response. more: further header lines, each with its end. Returns its bytes. */
static size_t put_head(struct lws *wsi, char *at, int status, const char *type, size_t bytes, const char *more)
{
    char host[96];
    /* Not every browser takes 'self' for the WebSocket too. */
    const char *name = header(wsi, WSI_TOKEN_HOST, host, sizeof host);
    bool known = access_is_host(&web.access, name);
    return (size_t)snprintf(at, HEAD_BYTES,
                            "HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %zu\r\n"
                            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; "
                            "connect-src 'self'%s%s; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
                            "frame-ancestors 'none'\r\n"
                            "x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
                            "cross-origin-resource-policy: same-origin\r\n%s\r\n",
                            status, reason_of(status), type, bytes, known ? " ws://" : "", known ? name : "", more);
}

/* A short response, in one piece. 0, or -1: the connection is to be closed. */
static int say(struct lws *wsi, int status, const char *more, const char *text)
{
    char buffer[LWS_PRE + HEAD_BYTES + 512], *at = buffer + LWS_PRE;
    char headers[512];
    snprintf(headers, sizeof headers, "cache-control: no-store\r\n%s", more);
    size_t bytes = put_head(wsi, at, status, page_text, strlen(text), headers);
    if (!lws.hdr_total_length(wsi, WSI_TOKEN_HEAD_URI))
        bytes += (size_t)snprintf(at + bytes, 512, "%s", text);
    return lws.write(wsi, (unsigned char *)at, bytes, LWS_WRITE_HTTP_HEADERS) < 0 ? -1 : 0;
}

static int finish(struct lws *wsi, int failed)
{
    return failed || lws.http_transaction_completed(wsi) ? -1 : 0;
}

/* A response whose body follows as the browser takes it. owned: the body is freed then. */
static int respond(struct lws *wsi, struct response *response, const char *type, const char *more, const void *body,
                   size_t bytes, char *owned)
{
    char buffer[LWS_PRE + HEAD_BYTES], *at = buffer + LWS_PRE;
    size_t head = put_head(wsi, at, 200, type, bytes, more);
    free(response->owned);
    *response = (struct response){.at = body, .left = bytes, .owned = owned};
    if (lws.hdr_total_length(wsi, WSI_TOKEN_HEAD_URI))
        response->left = 0;
    if (lws.write(wsi, (unsigned char *)at, head, LWS_WRITE_HTTP_HEADERS) < 0)
        return -1;
    if (!response->left)
        return finish(wsi, 0);
    lws.callback_on_writable(wsi);
    return 0;
}

static int go_on(struct lws *wsi, struct response *response)
{
    unsigned char chunk[LWS_PRE + CHUNK_BYTES];
    size_t bytes = response->left < CHUNK_BYTES ? response->left : CHUNK_BYTES;
    if (!bytes)
        return 0;
    memcpy(chunk + LWS_PRE, response->at, bytes);
    response->at += bytes;
    response->left -= bytes;
    if (lws.write(wsi, chunk + LWS_PRE, bytes, response->left ? LWS_WRITE_HTTP : LWS_WRITE_HTTP_FINAL) < 0)
        return -1;
    if (!response->left)
        return finish(wsi, 0);
    lws.callback_on_writable(wsi);
    return 0;
}

/* ---- what is there ---- */

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".js", "text/javascript; charset=utf-8"},
                                           {".css", "text/css; charset=utf-8"},
                                           {".json", "application/json"},
                                           {".svg", "image/svg+xml"},
                                           {".png", "image/png"},
                                           {".ico", "image/x-icon"}};
    const char *end = strrchr(path, '.');
    for (size_t k = 0; end && k < sizeof types / sizeof *types; k++)
        if (!strcmp(end, types[k][0]))
            return types[k][1];
    return page_text;
}

static int send_asset(struct lws *wsi, struct response *response, const char *path)
{
    path = strcmp(path, "/") ? path : "/index.html";
    for (const struct asset *asset = web_assets; asset->path; asset++)
        if (!strcmp(asset->path, path))
            return respond(wsi, response, type_of(path), "content-encoding: gzip\r\ncache-control: no-cache\r\n",
                           asset->data, asset->bytes, NULL);
    return finish(wsi, say(wsi, 404, "", "There is no such page.\n"));
}

static int send_metrics(struct lws *wsi, struct response *response)
{
    size_t bytes;
    struct metered devices[TD_DEVICES_MAX];
    for (int k = 0; k < web.feeds.count; k++) {
        struct feed *feed = web.feeds.of[k];
        if (feed->box.tables)
            metrics_take(&feed->metrics, &feed->box);
        devices[k] = (struct metered){feed_device(feed), &feed->metrics, &feed->box};
    }
    char *text = metrics_text(devices, web.feeds.count, web.viewer_count, &bytes);
    if (!text)
        return finish(wsi, say(wsi, 503, "", "No memory is left.\n"));
    return respond(wsi, response, "text/plain; version=0.0.4; charset=utf-8", "cache-control: no-store\r\n", text,
                   bytes, text);
}

static int send_ops(struct lws *wsi, struct response *response)
{
    static const char *const kinds[] = {[TD_CREATE] = "create", [TD_RANDOM] = "random",   [TD_FRESH] = "fresh",
                                        [TD_VIEW] = "view",     [TD_INPLACE] = "inplace", [TD_STEP] = "step"};
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    for (uint64_t id = 0; out && id < TD_OP_LIMIT; id++)
        if (td_op_of(id))
            fprintf(out, "%s{\"id\": %d, \"name\": \"%s\", \"kind\": \"%s\"}", ftell(out) ? ",\n" : "[", (int)id,
                    td_op_of(id)->name, kinds[td_op_of(id)->kind]);
    if (out)
        fprintf(out, "]\n");
    if (!out || fclose(out))
        return finish(wsi, say(wsi, 503, "", "No memory is left.\n"));
    return respond(wsi, response, "application/json", "cache-control: no-cache\r\n", text, bytes, text);
}

/* ---- who is let in ---- */

static bool has_cookie(struct lws *wsi)
{
    char cookies[1024];
    return access_has_cookie(&web.access, header(wsi, WSI_TOKEN_HTTP_COOKIE, cookies, sizeof cookies));
}

/* The token of the address; "" without one. */
static const char *token_of(struct lws *wsi, char to[ARGUMENT_BYTES])
{
    char argument[ARGUMENT_BYTES];
    to[0] = 0;
    for (int k = 0; lws.hdr_copy_fragment(wsi, argument, sizeof argument, WSI_TOKEN_HTTP_URI_ARGS, k) >= 0; k++)
        if (!strncmp(argument, "token=", 6))
            snprintf(to, ARGUMENT_BYTES, "%s", argument + 6);
    return to;
}

static int take_token(struct lws *wsi, const char *token)
{
    char headers[256];
    if (!access_take_token(&web.access, token, web_now_ns() / 1000000))
        return say(wsi, 403, "",
                   "This address was good for one visit within five minutes. `tensorctl dashboard` gives another.\n");
    snprintf(headers, sizeof headers, "location: /\r\nset-cookie: tensord-%d=%s; HttpOnly; SameSite=Strict; Path=/\r\n",
             web.access.port, web.access.cookie);
    return say(wsi, 303, headers, "");
}

static bool is_our_host(struct lws *wsi)
{
    char host[96];
    return access_is_host(&web.access, header(wsi, WSI_TOKEN_HOST, host, sizeof host));
}

static int serve(struct lws *wsi, struct response *response, const char *path)
{
    char token[ARGUMENT_BYTES];
    if (!lws.hdr_total_length(wsi, WSI_TOKEN_GET_URI) && !lws.hdr_total_length(wsi, WSI_TOKEN_HEAD_URI)) {
        say(wsi, 405, "allow: GET, HEAD\r\nconnection: close\r\n", "There is nothing to be sent here.\n");
        return -1; /* and its body is not read */
    }
    if (!is_our_host(wsi))
        return finish(wsi, say(wsi, 403, "", "This is not the dashboard of that host.\n"));
    if (!strcmp(path, "/") && *token_of(wsi, token))
        return finish(wsi, take_token(wsi, token));
    if (!strcmp(path, "/live"))
        return finish(wsi, has_cookie(wsi)
                               ? say(wsi, 426, "upgrade: websocket\r\n", "This is a WebSocket.\n")
                               : say(wsi, 401, "", "`tensorctl dashboard` gives an address to begin at.\n"));
    if (!strcmp(path, "/metrics"))
        return send_metrics(wsi, response);
    if (!strcmp(path, "/ops.json"))
        return send_ops(wsi, response);
    return send_asset(wsi, response, path);
}

/* Nobody else asks: libwebsockets checks neither Host nor Origin, and any page in any browser may try. */
static int confirm_upgrade(struct lws *wsi, const char *to)
{
    char path[16], host[96], origin[128], protocol[32];
    header(wsi, WSI_TOKEN_GET_URI, path, sizeof path);
    header(wsi, WSI_TOKEN_HOST, host, sizeof host);
    header(wsi, WSI_TOKEN_ORIGIN, origin, sizeof origin);
    header(wsi, WSI_TOKEN_PROTOCOL, protocol, sizeof protocol);
    int status = 0;
    if (strcasecmp(to, "websocket") || strcmp(path, "/live"))
        status = 404;
    else if (!access_is_host(&web.access, host) || !access_is_origin(origin, host))
        status = 403;
    else if (!has_cookie(wsi))
        status = 401;
    else if (strcmp(protocol, "tensord.dash.1"))
        status = 426;
    else if (web.viewer_count >= VIEWERS_MAX)
        status = 503;
    if (!status)
        return 0;
    return say(wsi, status, "connection: close\r\n", "No dashboard is shown here.\n") ? -1 : 1;
}

int http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t bytes)
{
    struct response *response = user;
    (void)bytes;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return serve(wsi, response, in);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return go_on(wsi, response);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return confirm_upgrade(wsi, in);
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED_HTTP:
        if (response) {
            free(response->owned);
            *response = (struct response){0};
        }
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        web_gone(wsi);
        return 0;
    default:
        return 0;
    }
}
