/* Pieces of one size that were given back and wait for the next who needs one: what comes and goes with every op would
 * spend a tenth of its time in malloc and free. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_SPARES_H
#define TD_SERVER_WORKER_SPARES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* So many are kept: what a large release gives back goes back to the system. */
#define SPARES_MAX 1024

struct spares {
    void *first; /* each begins with the next one's address */
    uint32_t count;
};

/* Under AddressSanitizer nothing is kept, so that it sees who uses what was given back. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SPARES_KEPT 0
#else
#define SPARES_KEPT SPARES_MAX
#endif

/* A piece of bytes, always as many of one spares and at least a pointer's; NULL without memory. */
static inline void *spares_take(struct spares *spares, size_t bytes)
{
    void *piece = spares->first;
    if (!piece)
        return malloc(bytes);
    memcpy(&spares->first, piece, sizeof piece);
    spares->count--;
    return piece;
}

static inline void spares_give(struct spares *spares, void *piece)
{
    if (spares->count >= SPARES_KEPT) {
        free(piece);
        return;
    }
    memcpy(piece, &spares->first, sizeof piece);
    spares->first = piece;
    spares->count++;
}

static inline void spares_free(struct spares *spares)
{
    while (spares->first)
        free(spares_take(spares, 0));
}

#endif
