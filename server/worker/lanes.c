/* The order of lanes. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/lanes.h"

/* What is behind a lane is behind all that this one was behind by then, too. */
void lanes_behind(struct worker *worker, int lane, int after, uint64_t stamp)
{
    uint64_t *ordered = worker->ordered[lane];
    if (lane == after || stamp <= ordered[after])
        return;
    ordered[after] = worker->device->order(lane, after);
    for (int k = 0; k < TD_LANES; k++)
        if (worker->ordered[after][k] > ordered[k])
            ordered[k] = worker->ordered[after][k];
}

void lanes_followed(struct worker *worker, int lane, int after, uint64_t stamp)
{
    if (stamp > worker->ordered[lane][after])
        worker->ordered[lane][after] = stamp;
}

void lanes_read_slow(struct worker *worker, int lane, const struct block *block)
{
    lanes_behind(worker, lane, block->uses->writer, block->uses->wrote);
}

void lanes_write_slow(struct worker *worker, int lane, const struct block *block)
{
    for (int k = 0; k < TD_LANES; k++)
        lanes_behind(worker, lane, k, block->uses->used[k]);
}

void lanes_did_read_slow(struct worker *worker, int lane, struct block *block)
{
    block->uses->used[lane] = worker->device->stamp(lane);
}

void lanes_did_write_slow(struct worker *worker, int lane, struct block *block)
{
    lanes_did_read_slow(worker, lane, block);
    block->uses->wrote = block->uses->used[lane];
    block->uses->writer = (uint8_t)lane;
}
