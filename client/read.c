/* Elements out of the daemon. SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

bool read_into(struct td_session *s, td_tensor x, struct wait *wait, td_origin origin)
{
    if (recording_refuses(s, "read", origin))
        return false;
    uint32_t site = site_number(s, origin.where);
    uint8_t *at = request_begin(s, 64);
    if (!at)
        return false;
    wait->request = s->wire.requests + 1;
    bool used_up = consumes(origin, x, 0);
    uint32_t flags = used_up ? TD_FLAG_CONSUME(0) : 0;
    uint8_t where[2 * TD_WIRE_MAX],
        *end = wait->take || !wait->total ? NULL : hosts_write(s, where, wait->sink, wait->total);
    at = td_write_uint(request_head(at, flags, site, end ? 5 : 3, end ? TD_R_COPY_OUT : TD_R_READ), x.handle);
    at = td_write_uint(at, wait->dtype);
    if (end)
        memcpy(at, where, (size_t)(end - where));
    request_end(s, end ? at + (end - where) : at);
    bool there = connection_wait(s, wait);
    struct entry *e = handles_find(s, x);
    if (wait->error) {
        if (e && !e->cause)
            e->cause = cause_ref(wait->error);
        error_raise(s, wait->error);
    }
    if (used_up && e)
        request_used_up(s, x.handle);
    there = there && !wait->error;
    cause_unref(wait->error);
    return there;
}

bool read_elements(struct td_session *s, td_tensor x, void *array, uint8_t dtype, td_origin origin)
{
    uint8_t none;
    uint64_t total = (uint64_t)td_meta_numel(&handles_find(s, x)->meta) * td_dtype_size(dtype);
    return read_into(s, x, &(struct wait){.sink = total ? array : &none, .total = total, .dtype = dtype}, origin);
}

int64_t td_read_at(td_origin origin, td_tensor x, void *array, enum td_dtype dtype, int64_t count)
{
    struct entry *e = layout_begin(origin, x, "read", true);
    struct td_failure failure = {0};
    if (!e)
        return -1;
    int64_t elements = td_meta_numel(&e->meta);
    if (!td_dtype_known((uint64_t)dtype))
        td_fail(&failure, TD_E_DTYPE, "read: element type %d does not exist", (int)dtype);
    else if (elements > count)
        td_fail(&failure, TD_E_ARGUMENT, "read: %" PRId64 " elements do not fit into an array of %" PRId64, elements,
                count);
    if (failure.code) {
        cause_unref(error_make(x.session, &failure, "read", origin));
        elements = -1;
    } else if (!read_elements(x.session, x, array, (uint8_t)dtype, origin)) {
        elements = -1;
    }
    query_end(origin, x);
    return elements;
}

double td_item_at(td_origin origin, td_tensor x)
{
    struct entry *e = layout_begin(origin, x, "item", true);
    TD_NO_FAILURE(failure);
    double value = NAN;
    if (!e)
        return NAN;
    if (td_meta_numel(&e->meta) != 1) {
        char shape[TD_SHAPE_TEXT];
        td_fail(&failure, TD_E_SHAPE, "item: a tensor of shape %s has not just one element",
                td_shape_text(e->meta.rank, e->meta.shape, shape, sizeof shape));
        td_hint(&failure,
                "td_item(td_sum(x)) or td_item(td_mean(x)) may be meant; td_read(x, ...) reads all elements.");
        cause_unref(error_make(x.session, &failure, "item", origin));
    } else {
        uint64_t element; /* it comes as it is, and is converted here: the daemon would run an op for it */
        uint8_t dtype = e->meta.dtype;
        if (read_elements(x.session, x, &element, dtype, origin))
            value = td_number_real(td_number_load(dtype, &element));
    }
    query_end(origin, x);
    return value;
}

int64_t(td_read)(td_tensor x, void *array, enum td_dtype dtype, int64_t count)
{
    return td_read_at((td_origin){0}, x, array, dtype, count);
}

double(td_item)(td_tensor x)
{
    return td_item_at((td_origin){0}, x);
}
