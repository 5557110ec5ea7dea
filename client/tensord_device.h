/* What a program sees of the device: its properties, memory and time, streams and events, and memory of the host that
 * bytes travel from and to faster. A part of tensord.h.
 *
 *     td_stream side = td_stream_new(s);
 *     {
 *         TD_ON_STREAM(side);
 *         y = td_matmul(a, b);
 *     }
 *     z = td_matmul(c, d); // may be computed at the same time
 *     td_print(td_add(y, z)); // sees both, whatever the streams
 *
 * What is guaranteed, on every device:
 *  - What is asked for on one stream is done in that order; a new stream begins behind nothing.
 *  - Values are right whatever the streams: what reads a tensor is done after what wrote it, and what writes to one
 *    after what still reads it, on whichever streams they are. The daemon sees to it, and a td_stream_wait_event that
 *    is forgotten cannot spoil a value, as it does in PyTorch; it may cost overlap, since what the daemon then waits
 *    for is all that the other stream has been asked for by then. Memory that becomes free on one stream is waited
 *    for by the next one that gets it.
 *  - An event is done when all is done that was asked for on its stream before td_event_record; what is asked for on a
 *    stream after td_stream_wait_event is done after the event.
 *  - The time of an event is the device's own, taken when it came there, and no matter when the program asks.
 *
 * What is permitted, and no more:
 *  - Streams may be worked on at the same time, and bytes may go up and down meanwhile. The CUDA device does so: it has
 *    streams of its own for bytes up and bytes down and four for ops, which those of all sessions share in turn. An op
 *    that can fail for its data (an index out of range) and one that it leaves to the host are waited for, and so is
 *    what stands behind them in the session.
 *  - The CPU device does one thing after the other in the order of the calls, whatever the stream, and has done all
 *    that was asked for before an event when it comes to it. What overlaps there is the program and the daemon.
 *  - What waits (td_event_synchronize, td_event_elapsed_time, td_stream_synchronize) may wait for more than it must:
 *    for all that the session has asked for before, where the device is the CPU.
 *
 * Recorded programs, and what td_backward and a checkpoint compute, run on the stream that they are called on; what is
 * said of streams and events inside of a recording is done once and not part of it. SPDX-License-Identifier: Apache-2.0
 */
#ifndef TENSORD_H
#include "tensord.h" /* which includes this file again */
#elif !defined TENSORD_DEVICE_H
#define TENSORD_DEVICE_H

#ifdef __cplusplus
extern "C" {
#endif

/* ---- streams ---- */

/* A value: copies name the same stream. Needs no end. */
typedef struct td_stream {
    td_session *session;
    uint32_t number; /* 0: the one that calls are made on outside of any TD_ON_STREAM */
} td_stream;
/* Where events stand. A value, too; to be ended by td_event_free, or by td_close. */
typedef struct td_event {
    td_session *session;
    uint32_t number, generation;
} td_event;

/* One of 31 beside the first; from then on they go round, as PyTorch's do. */
TD_API td_stream td_stream_new(td_session *s);
/* The one that this thread is on. */
TD_API td_stream td_current_stream(td_session *s);
TD_API td_guard *td_on_stream_begin(td_stream stream, td_guard *guard);
/* What is asked for on stream from now on is done after event; after all that was asked for on other. An event that was
 * never recorded is not waited for. Nothing waits here. */
TD_API void td_stream_wait_event(td_stream stream, td_event event);
TD_API void td_stream_wait_stream(td_stream stream, td_stream other);
/* Waits until all that was asked for on stream is done. */
TD_API void td_stream_synchronize(td_stream stream);
/* td_sync by its other name: waits for all streams. */
TD_API int td_synchronize(td_session *s);

/* ---- events ---- */

TD_API td_event td_event_new(td_session *s);
TD_API void td_event_free(td_event event);
/* The event is where the stream of this thread is now; where it was before counts no more. */
TD_API void td_event_record(td_event event);
/* Whether it is done; true of one that was never recorded. Asks the daemon, and waits for nothing but the answer, which
 * comes also while something long is computed, or while the daemon has not come to the td_event_record yet: false. */
TD_API bool td_event_query(td_event event);
/* Waits until it is done. */
TD_API void td_event_synchronize(td_event event);
/* Waits for both and returns the milliseconds from one to the other; NaN after an error, as of one that was never
 * recorded. */
TD_API double td_event_elapsed_time(td_event from, td_event to);

/* ---- time ---- */

/* A stretch of what this thread asks for on its stream, timed by the device itself: neither the way to the daemon nor a
 * wait for its answer is part of it.
 *
 *     td_time time = td_time_start(s);
 *     ...
 *     printf("%.3f ms\n", td_time_stop(time)); // waits */
typedef struct td_time {
    td_event start;
} td_time;
TD_API td_time td_time_start(td_session *s);
TD_API double td_time_stop(td_time time);

/* ---- memory and properties ---- */

/* Bytes of the device. peak counts from the session's start, or from the last td_reset_peak_memory. */
typedef struct td_memory_info {
    int64_t allocated, peak;               /* of this session: now, and at most at once */
    int64_t params, grads, saved, values;  /* allocated, by what it is for: leaves that require gradients, gradients,
                                              what only graphs keep, all else */
    int64_t device_allocated, device_peak; /* of all sessions */
    int64_t reserved, limit, free_run;     /* by the daemon: taken from the device, at most, the largest piece of it
                                              that is free */
} td_memory_info;
/* All 0 after an error. Both wait. */
TD_API td_memory_info td_memory(td_session *s);
TD_API void td_reset_peak_memory(td_session *s);

typedef struct td_device_info {
    char name[32];         /* "cpu", "cuda:0" */
    char kind[8];          /* "cpu", "cuda" */
    char description[128]; /* the processor or GPU */
    int64_t memory;        /* bytes that it has */
    int units;             /* cores, or multiprocessors */
    int capability[2];     /* of a GPU: major and minor; 0, 0 of a CPU */
    int streams;           /* that it can work on at the same time; 1: one after the other */
} td_device_info;
/* All empty after an error. Waits. */
TD_API td_device_info td_device(td_session *s);

/* ---- memory of the host ---- */

/* Memory of the daemon's host that the program and the daemon both see: td_from of an array in it and td_read into one
 * move the bytes without the connection carrying them; on a GPU it is pinned, and the GPU fetches them by itself. It is
 * like any other memory otherwise, and a tensor is a copy as ever. A session has at most 64 pieces, 1 GiB together.
 * Where a connection cannot pass memory on (any but a socket of this machine) it is plain memory: the same calls work,
 * by the usual way; td_host_kind says so. Never moves; ends by td_host_free or td_close. NULL after an error.
 * td_from's keyword .non_blocking = true lets it return before the bytes have been taken: they must not be changed
 * until an event recorded after it on the same stream is done, or td_sync is back. Without it, and of other memory, the
 * array may be changed at once. */
enum td_host_kind {
    TD_HOST_NONE,   /* not by td_host_alloc of this session */
    TD_HOST_PLAIN,  /* only the program sees it; also after the daemon was lost */
    TD_HOST_SHARED, /* both see it */
    TD_HOST_PINNED  /* so does the GPU */
};
TD_API void *td_host_alloc(td_session *s, size_t bytes);
TD_API void td_host_free(td_session *s, void *memory);
TD_API enum td_host_kind td_host_kind(td_session *s, const void *memory);

/* ---- the functions behind the macros below ---- */

TD_API void td_stream_wait_event_at(td_origin origin, td_stream stream, td_event event);
TD_API void td_event_record_at(td_origin origin, td_event event);
TD_API bool td_event_query_at(td_origin origin, td_event event);
TD_API void td_event_synchronize_at(td_origin origin, td_event event);
TD_API double td_event_elapsed_time_at(td_origin origin, td_event from, td_event to);
TD_API void *td_host_alloc_at(td_origin origin, td_session *s, size_t bytes);
TD_API void td_host_free_at(td_origin origin, td_session *s, void *memory);

#ifdef __cplusplus
}
#else
/* TD_ON_STREAM(stream); at the top of a block: until its end what this thread asks for is on that stream. */
#define TD_ON_STREAM(stream) TD_GUARD(td_on_stream_begin, stream, TD_JOIN(td_guard_, __COUNTER__))
#define td_stream_wait_event(stream, event) td_stream_wait_event_at(TD_HERE(0), stream, event)
#define td_synchronize(s) td_sync_at(TD_HERE(0), s)
#define td_event_record(event) td_event_record_at(TD_HERE(0), event)
#define td_event_query(event) td_event_query_at(TD_HERE(0), event)
#define td_event_synchronize(event) td_event_synchronize_at(TD_HERE(0), event)
#define td_event_elapsed_time(from, to) td_event_elapsed_time_at(TD_HERE(0), from, to)
#define td_host_alloc(s, bytes) td_host_alloc_at(TD_HERE(0), s, bytes)
#define td_host_free(s, memory) td_host_free_at(TD_HERE(0), s, memory)
#endif

#endif
