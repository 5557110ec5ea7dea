/* One piece of work on several threads. The cut never shows in the results: every kernel that uses this gives the
 * same bits however its work is cut and whoever does the parts. Compiled once.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_PARALLEL_H
#define TD_KERNELS_CPU_PARALLEL_H

#include <stdint.h>

/* Does the items from up to, but not including, to. Parts of one work run at the same time; what they write lies
 * behind pointers in data. */
typedef void td_part(const void *data, int64_t from, int64_t to);

/* Elements of simple work that make up a part worth taking: some 5 us. */
#define TD_GRAIN 16384
/* The same as a number of items that hold elements each; by whole cache lines, should they be elements themselves. */
static inline int64_t td_grain(int64_t elements)
{
    int64_t grain = elements > 0 ? TD_GRAIN / elements : TD_GRAIN;
    return grain >= 64 ? grain / 64 * 64 : grain ? grain : 1;
}

/* Has part do count items, in parts of at least grain of them (1 or more), and returns when all are done. The calling
 * thread begins alone, and others join in once enough is left to pay for waking them: by the time that the first
 * parts took, or at once if ns, what an item takes in nanoseconds, is known and not 0.
 * Work that is handed in from within a part, or while another thread's is in hand, is done here and whole. */
void td_parallel(int64_t count, int64_t grain, uint64_t ns, td_part *part, const void *data);

/* How many threads take part, the calling one included: 1 at first, and that is no thread but the caller's. */
int td_threads(void);
/* Sets it, and ends the threads that there are; new ones are made when they are needed. Not while work is in hand. */
void td_threads_set(int count);

#endif
