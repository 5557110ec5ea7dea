/* Every limit of the protocol, each with its reason. Both sides enforce them; WELCOME tells the client those
 * that a daemon may choose lower. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_LIMITS_H
#define TD_PROTOCOL_LIMITS_H

/* Rank. PyTorch's own indexing works to 64, real programs to 6; 8 keeps a layout in three cache lines. */
#define TD_RANK_MAX 8

/* A frame: one chunk of bulk data (1 MiB) and the requests around it. It bounds what one peer can make us buffer. */
#define TD_CHUNK_MAX (1u << 20)
#define TD_FRAME_MAX (TD_CHUNK_MAX + (1u << 16))
#define TD_FRAME_HEADER 4

/* The first frame of a connection: nothing of it is big, and the supervisor reads it before it knows who sends. */
#define TD_HELLO_MAX 1024
#define TD_HELLO_TIMEOUT_MS 5000

/* The client flushes its request buffer at this size (16 KiB gains no more, every op costs 25x in rate). */
#define TD_FLUSH_BYTES 1024

/* Live handles of one session. A million tensors is a program gone wrong; four bytes of index each are spent. */
#define TD_HANDLES_MAX (1u << 20)

/* Tensors in one list argument: optimisers of big models have a few hundred parameters. */
#define TD_LIST_MAX 1024
/* Tensors in one request: three lists (Adam) and a counter. */
#define TD_INPUTS_MAX (4 * TD_LIST_MAX + 8)
/* Results of one op: linear algebra gives three. */
#define TD_OUTPUTS_MAX 4
#define TD_PARAMS_MAX 12
/* Eight-byte slots of one op's attributes: strided_write has two shapes and an offset. */
#define TD_ATTR_SLOTS 48

/* Elements of one tensor: any byte count of any layout then stays below 2^60 and sums of two never overflow. */
#define TD_ELEMENTS_MAX (INT64_C(1) << 56)

/* Interned call sites ("file.c:12") of one session, and the bytes of one; programs have thousands at most. */
#define TD_SITES_MAX 65536
#define TD_SITE_BYTES 256
/* Bytes of a tensor's name. */
#define TD_NAME_BYTES 128
/* Bytes of an error's message and of its hint: a line on a terminal or two. */
#define TD_MESSAGE_BYTES 384
#define TD_HINT_BYTES 192

/* What both ends ask for as a socket's buffer: few and large pieces of bulk data. The kernel may allow less. */
#define TD_SOCKET_BYTES (2 << 20)

/* What a client may have sent and not yet been told of: bytes and requests. Enough to hide a round trip at the
 * speed of a unix socket, small enough that 100 idle-then-mad clients do not fill a machine's memory. */
#define TD_CREDIT_BYTES (8u << 20)
#define TD_CREDIT_REQUESTS 65536u

/* Recorded programs of one session that are alive, where each checkpoint in a graph is one, and the bytes of all their
 * requests: uploads inside count. */
#define TD_PROGRAMS_MAX 65536
/* Hooks on one tensor. */
#define TD_HOOKS_MAX 1024
#define TD_PROGRAM_BYTES ((size_t)64 << 20)

/* Inputs, and outputs, of a custom autograd function: a bit each in one integer. */
#define TD_FUNCTION_TENSORS 16
/* Of one application of a function that the client runs: what it saved, and the bytes that it wants back. Both come
 * back in one CALL. */
#define TD_FUNCTION_SAVED 64
#define TD_FUNCTION_BYTES (16u << 10)
/* Walks that wait for their client within each other: each is some calls deep on the client's stack. */
#define TD_CALLS_MAX 16

/* Streams of one session: as many as PyTorch has in its pool. */
#define TD_STREAMS_MAX 32
/* Events of one session: two a step of a long run that is timed throughout. */
#define TD_EVENTS_MAX 65536
/* Pieces of the host's memory that one session shares with the daemon, and their bytes: batches, where they wait to be
 * fetched. All sessions together get a quarter of what the host has. */
#define TD_HOSTS_MAX 64
#define TD_HOST_BYTES ((size_t)1 << 30)

/* Nesting of msgpack containers: request, list, nothing deeper. */
#define TD_NESTING_MAX 4

/* Bytes of replies that may wait for a client that does not read, before its queue stands still. */
#define TD_REPLY_BACKLOG (4u << 20)

#endif
