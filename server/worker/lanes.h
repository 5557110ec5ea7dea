/* The order of lanes (kernels.h): whoever puts work into one says before which blocks it will touch and afterwards that
 * it is in, and what other lanes have put in for these blocks is then done first. So a program never sees a value that
 * is not there yet, whatever it says of streams itself: they permit that things are done at once, no more. Kept by the
 * stamps of the lanes, on each block also while it is free.
 * Of a lane's work on a block the next one has to wait for writes, and who writes for reads, too. Only the loop's
 * thread is here; work of the device's thread is noted when it is back, until when nobody else has its blocks.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_LANES_H
#define TD_SERVER_WORKER_LANES_H

#include "server/worker/worker.h"

/* What is put into lane from now on is done after what has the stamp of the lane after. */
void lanes_behind(struct worker *worker, int lane, int after, uint64_t stamp);
/* It has been put there, by an event. */
void lanes_followed(struct worker *worker, int lane, int after, uint64_t stamp);
void lanes_read_slow(struct worker *worker, int lane, const struct block *block);
void lanes_write_slow(struct worker *worker, int lane, const struct block *block);
void lanes_did_read_slow(struct worker *worker, int lane, struct block *block);
void lanes_did_write_slow(struct worker *worker, int lane, struct block *block);

/* Where all is done when it is asked for there is nothing to do. */
static inline void lanes_read(struct worker *worker, int lane, const struct block *block)
{
    if (worker->device->stamp)
        lanes_read_slow(worker, lane, block);
}
static inline void lanes_write(struct worker *worker, int lane, const struct block *block)
{
    if (worker->device->stamp)
        lanes_write_slow(worker, lane, block);
}
static inline void lanes_did_read(struct worker *worker, int lane, struct block *block)
{
    if (worker->device->stamp)
        lanes_did_read_slow(worker, lane, block);
}
static inline void lanes_did_write(struct worker *worker, int lane, struct block *block)
{
    if (worker->device->stamp)
        lanes_did_write_slow(worker, lane, block);
}

#endif
