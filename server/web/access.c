/* Tokens, cookie, Host and Origin. SPDX-License-Identifier: Apache-2.0 */
#include "server/web/access.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* In a time that does not tell how many bytes were right. */
static bool is_equal(const char *secret, const char *given, size_t bytes)
{
    unsigned char difference = 0;
    if (bytes != WEB_SECRET_DIGITS)
        return false;
    for (size_t k = 0; k < bytes; k++)
        difference |= (unsigned char)(secret[k] ^ given[k]);
    return !difference;
}

void access_add_token(struct access *access, const char *secret, uint64_t now_ms)
{
    int oldest = 0;
    for (int k = 1; k < TOKENS_MAX; k++)
        if (access->tokens[oldest].secret[0] &&
            (!access->tokens[k].secret[0] || access->tokens[k].made_ms < access->tokens[oldest].made_ms))
            oldest = k;
    snprintf(access->tokens[oldest].secret, sizeof access->tokens[oldest].secret, "%s", secret);
    access->tokens[oldest].made_ms = now_ms;
}

bool access_take_token(struct access *access, const char *secret, uint64_t now_ms)
{
    size_t bytes = strlen(secret);
    bool found = false;
    for (int k = 0; k < TOKENS_MAX; k++) {
        char *token = access->tokens[k].secret;
        if (*token && now_ms - access->tokens[k].made_ms >= TOKEN_MS)
            *token = 0;
        if (*token && is_equal(token, secret, bytes)) {
            *token = 0;
            found = true;
        }
    }
    return found;
}

bool access_has_cookie(const struct access *access, const char *cookies)
{
    char name[32];
    int name_bytes = snprintf(name, sizeof name, "tensord-%d=", access->port);
    while (*cookies && access->cookie[0]) {
        cookies += strspn(cookies, " ;");
        size_t bytes = strcspn(cookies, ";");
        if (!strncmp(cookies, name, (size_t)name_bytes) &&
            is_equal(access->cookie, cookies + name_bytes, bytes - (size_t)name_bytes))
            return true;
        cookies += bytes;
    }
    return false;
}

bool access_is_host(const struct access *access, const char *host)
{
    static const char *const loopback[] = {"localhost", "127.0.0.1", "::1"};
    char name[64], port[16] = "", all[16];
    bool bracket = *host == '[';
    const char *end = bracket ? strchr(host, ']') : strchr(host, ':');
    size_t bytes = end ? (size_t)(end - host) - bracket : strlen(host);
    if (access->port != 80 || (end && end[bracket])) /* that one browsers leave out */
        snprintf(port, sizeof port, ":%d", access->port);
    if (bytes >= sizeof name || (bracket && !end) || strcmp(end ? end + bracket : "", port))
        return false;
    memcpy(name, host + bracket, bytes);
    name[bytes] = 0;
    bool served = !strcasecmp(name, access->host);
    for (size_t k = 0; k < sizeof loopback / sizeof *loopback; k++)
        served |= !strcasecmp(name, loopback[k]);
    if (!strcmp(access->host, "0.0.0.0") || !strcmp(access->host, "::"))
        served |= inet_pton(bracket ? AF_INET6 : AF_INET, name, all) == 1;
    return served;
}

bool access_is_origin(const char *origin, const char *host)
{
    size_t scheme = !strncmp(origin, "http://", 7) ? 7 : !strncmp(origin, "https://", 8) ? 8 : 0;
    return scheme && !strcasecmp(origin + scheme, host);
}
