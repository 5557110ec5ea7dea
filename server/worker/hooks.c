/* Hooks. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/hooks.h"

#include <stdlib.h>

int hook_add(struct session *session, struct node *node, uint8_t output, struct program *program, uint32_t number,
             struct td_failure *failure)
{
    struct hook **end = &node->hooks;
    int count = 0;
    for (; *end; end = &(*end)->next)
        count++;
    if (count >= TD_HOOKS_MAX) {
        td_fail(failure, TD_E_LIMIT, "the tensor has %d hooks; the limit is %d", count, TD_HOOKS_MAX);
        return td_hint(failure, "td_remove_hook ends one.");
    }
    struct hook *hook = calloc(1, sizeof *hook);
    if (!hook)
        return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    *hook = (struct hook){.program_next = program->hooks,
                          .node = node,
                          .program = program_ref(program),
                          .order = ++session->hook_count,
                          .output = output};
    if (program->hooks)
        program->hooks->program_prev = hook;
    program->hooks = hook;
    program->hook = number;
    *end = hook;
    return TD_E_OK;
}

static void hook_free(struct session *session, struct hook *hook)
{
    struct hook **at = &hook->node->hooks;
    while (*at != hook)
        at = &(*at)->next;
    *at = hook->next;
    if (hook->program_next)
        hook->program_next->program_prev = hook->program_prev;
    if (hook->program_prev)
        hook->program_prev->program_next = hook->program_next;
    else
        hook->program->hooks = hook->program_next;
    program_unref(session, hook->program);
    free(hook);
}

void hooks_remove(struct session *session, uint32_t number)
{
    struct program *program = session->programs;
    while (program) {
        if (program->hook != number || !program->hooks) {
            program = program->next;
            continue;
        }
        program_ref(program); /* its last hook may be all that holds it */
        while (program->hooks)
            hook_free(session, program->hooks);
        program_unref(session, program);
        program = session->programs; /* others may have gone with it */
    }
}

void hooks_free(struct session *session, struct node *node)
{
    while (node->hooks)
        hook_free(session, node->hooks);
}

struct hook *hook_next(const struct node *node, uint64_t after, uint64_t last)
{
    struct hook *hook = node->hooks;
    while (hook && (hook->order <= after || !node->out[hook->output].pending))
        hook = hook->next;
    return hook && hook->order <= last ? hook : NULL;
}
