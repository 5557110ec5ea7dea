/* Taking requests apart. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/request.h"

#include <stdlib.h>
#include <string.h>

bool take_integer(struct request *request, int64_t *value)
{
    if (request->elements == 0 || !td_take_int(request->reader, value))
        return false;
    request->elements--;
    return true;
}

bool take_bool(struct request *request, bool *value)
{
    if (request->elements == 0 || td_read_type(request->reader) != TD_WIRE_BOOL)
        return false;
    request->elements--;
    *value = td_read_bool(request->reader);
    return true;
}

uint32_t take_handle(struct request *request)
{
    int64_t handle;
    return take_integer(request, &handle) && handle >= 0 && handle < TD_HANDLES_MAX ? (uint32_t)handle : UINT32_MAX;
}

bool take_nil(struct request *request)
{
    if (request->elements == 0 || !td_read_nil(request->reader))
        return false;
    request->elements--;
    return true;
}

char *take_text(struct request *request, uint32_t limit, struct td_failure *failure)
{
    uint32_t bytes;
    if (request->elements == 0 || td_read_type(request->reader) != TD_WIRE_TEXT)
        return NULL;
    request->elements--;
    const char *text = td_read_text(request->reader, &bytes);
    if (!text || bytes >= limit)
        return NULL;
    char *copy = malloc(bytes + 1);
    if (!copy) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        return NULL;
    }
    for (uint32_t i = 0; i < bytes; i++)
        copy[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
    copy[bytes] = 0;
    return copy;
}

struct cause *request_fail(struct session *session, const struct request *request, const char *name,
                           const struct td_failure *failure)
{
    struct td_failure named = {0};
    td_fail(&named, failure->code, "%s: %s", name, failure->message);
    memcpy(named.hint, failure->hint, sizeof named.hint);
    return session_fail(session, name, request->site, &named);
}

struct tensor *request_failed_value(struct session *session, const struct request *request, const char *name,
                                    struct td_failure *failure)
{
    struct cause *cause = request_fail(session, request, name, failure);
    struct tensor *tensor = tensor_failed(cause);
    cause_unref(cause);
    failure->code = TD_E_OK;
    return tensor;
}

void request_rebind(struct session *session, uint32_t handle, struct tensor *result, struct td_failure *failure)
{
    TD_NO_FAILURE(unbound);
    session_release(session, handle, &unbound);
    session_bind(session, handle, result, failure);
}
