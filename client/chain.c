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
