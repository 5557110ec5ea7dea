/* What functions made of several ops share. SPDX-License-Identifier: Apache-2.0 */
#include "client/chain.h"

td_tensor chain_refuse(const struct chain *c, const struct td_failure *failure)
{
    if (!c->session)
        return (td_tensor){0};
    session_enter(c->session);
    struct cause *cause = error_make(c->session, failure, c->name, c->origin);
    td_tensor failed = handles_failed(c->session, cause_ref(cause));
    cause_unref(cause);
    session_leave(c->session);
    return failed;
}

void chain_drop(td_tensor x)
{
    if (!x.session)
        return;
    session_enter(x.session);
    if (handles_find(x.session, x))
        request_release(x.session, x.handle);
    session_leave(x.session);
}

td_tensor chain_write(const struct chain *c, td_tensor x, td_tensor y)
{
    struct td_failure failure = {0};
    if (!x.session) /* never made, as the steps have said */
        return x;
    session_enter(x.session);
    const struct entry *target = handles_find(x.session, x), *result = handles_find(x.session, y);
    bool healthy = target && result && !target->cause && !result->cause;
    bool vague = healthy && (target->flags | result->flags) & ENTRY_UNKNOWN;
    bool refused = healthy && call_refuses_result(c->name, "x", &target->meta, &result->meta, vague, &failure);
    session_leave(x.session);
    if (refused) {
        chain_drop(y);
        y = chain_refuse(c, &failure);
    }
    chain_binary(c, TD_OP_copy_, lasting(x), passing(y));
    return chain_target(c, x);
}
