/* Growing arrays of nodes: plain ones, and heaps with the highest number on top.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_NODES_H
#define TD_SERVER_WORKER_NODES_H

#include "server/worker/tape.h"

/* Zeroed at first. Has a reference of each node. */
struct node_list {
    struct node **nodes;
    size_t count, capacity;
};

/* Both take a reference of node of their own; false without memory. */
bool list_push(struct node_list *list, struct node *node);
bool heap_push(struct node_list *heap, struct node *node);
/* The top, with the heap's reference. There must be one. */
struct node *heap_pop(struct node_list *heap);
/* Lets go of all nodes, and of what a walk has left pending there. */
void list_free(struct session *session, struct node_list *list);

#endif
