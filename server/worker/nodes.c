/* Lists of nodes. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/nodes.h"

#include <stdlib.h>

bool list_push(struct node_list *list, struct node *node)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct node **nodes = realloc(list->nodes, capacity * sizeof *nodes);
        if (!nodes)
            return false;
        list->nodes = nodes;
        list->capacity = capacity;
    }
    list->nodes[list->count++] = node_ref(node);
    return true;
}

bool heap_push(struct node_list *heap, struct node *node)
{
    if (!list_push(heap, node))
        return false;
    size_t at = heap->count - 1;
    for (; at > 0 && heap->nodes[(at - 1) / 2]->number < node->number; at = (at - 1) / 2)
        heap->nodes[at] = heap->nodes[(at - 1) / 2];
    heap->nodes[at] = node;
    return true;
}

struct node *heap_pop(struct node_list *heap)
{
    struct node *top = heap->nodes[0], *last = heap->nodes[--heap->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < heap->count && heap->nodes[child + 1]->number > heap->nodes[child]->number)
            child++;
        if (child >= heap->count || heap->nodes[child]->number <= last->number)
            break;
        heap->nodes[at] = heap->nodes[child];
        at = child;
    }
    if (heap->count)
        heap->nodes[at] = last;
    return top;
}

void list_free(struct session *session, struct node_list *list)
{
    for (size_t k = 0; k < list->count; k++) {
        struct node *node = list->nodes[k];
        for (int output = 0; output < node->out_count; output++) {
            tensor_unref(session, node->out[output].pending);
            node->out[output].pending = NULL;
        }
        node->queued = node->combined = false;
        node_unref(session, node);
    }
    free(list->nodes);
    *list = (struct node_list){0};
}
