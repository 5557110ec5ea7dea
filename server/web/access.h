/* Who may see the dashboard's data: one-time tokens, the cookie that a browser gets for one, and whether a request is
 * one that a page of ours made. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WEB_ACCESS_H
#define TD_SERVER_WEB_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/config.h"
#include "server/handover.h"

#define TOKENS_MAX 16 /* outstanding; one more takes the place of the oldest */
#define TOKEN_MS (5 * 60 * 1000)

struct access {
    const char *host;                   /* that is served: a name or an address, without brackets */
    int port;                           /* the same */
    char cookie[WEB_SECRET_DIGITS + 1]; /* "": nobody is let in yet */
    struct {
        char secret[WEB_SECRET_DIGITS + 1]; /* "": a free place */
        uint64_t made_ms;
    } tokens[TOKENS_MAX];
};

void access_add_token(struct access *access, const char *secret, uint64_t now_ms);
/* True once for each token, and not after TOKEN_MS. */
bool access_take_token(struct access *access, const char *secret, uint64_t now_ms);
/* Whether a Cookie header has our cookie; its name has the port in it, since browsers keep one jar for all of a host.
 */
bool access_has_cookie(const struct access *access, const char *cookies);
/* Whether a Host header names us. What a page of a stranger's made the browser believe (DNS rebinding) is no name of
 * ours; an address that is served because all are is one, since no page can rebind it. */
bool access_is_host(const struct access *access, const char *host);
/* Whether an Origin header is of a page that this Host gave. */
bool access_is_origin(const char *origin, const char *host);

#endif
