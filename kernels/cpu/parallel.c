/* The pool of helper threads. One work at a time is shared: whoever hands it in takes part after part from a counter,
 * and so does each helper that has been woken by then; a helper that comes late finds less to do, and nobody waits for
 * it. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define HELPERS_MAX 63
/* Parts of one work: few enough to cost nothing, many enough that nobody is left alone with a large one. */
#define PARTS_MAX 256
/* Work left for each helper that is woken. Waking one costs 6 us and it comes after 30 to 60, so with 60 us left there
 * is a gain, where a processor is free; where none is, the end of a helper's last part is waited for. */
#define WORTH_NS 100000
/* How long to wait for the others' last parts before sleeping. */
#define SPIN_NS 50000

struct work {
    td_part *part;
    const void *data;
    int64_t count, parts, size; /* items, what they are cut into, and the items of each part but the last */
    atomic_int_fast64_t next;   /* part to be taken */
    atomic_int inside;          /* helpers at it */
};

static struct {
    pthread_mutex_t mutex; /* over all below but in_hand */
    pthread_cond_t wake, left;
    pthread_t helpers[HELPERS_MAX];
    int helper_count;
    struct work *work; /* what woken helpers are to join */
    int wanted;        /* how many more of them */
    bool ends;
    atomic_bool in_hand;
    int threads; /* changes only while nothing is in hand */
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .left = PTHREAD_COND_INITIALIZER,
          .threads = 1};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Does the next part; false if none is left. */
static bool take(struct work *work)
{
    int64_t part = atomic_fetch_add(&work->next, 1), from = part * work->size;
    if (part >= work->parts)
        return false;
    work->part(work->data, from, part + 1 == work->parts ? work->count : from + work->size);
    return true;
}

/* ---- helpers ---- */

static void *help(void *data)
{
    (void)data;
    pthread_mutex_lock(&pool.mutex);
    while (!pool.ends) {
        struct work *work = pool.work;
        if (!work || !pool.wanted) {
            pthread_cond_wait(&pool.wake, &pool.mutex);
            continue;
        }
        pool.wanted--;
        atomic_fetch_add(&work->inside, 1);
        pthread_mutex_unlock(&pool.mutex);
        while (take(work))
            ;
        pthread_mutex_lock(&pool.mutex);
        if (atomic_fetch_sub(&work->inside, 1) == 1)
            pthread_cond_signal(&pool.left);
    }
    pthread_mutex_unlock(&pool.mutex);
    return NULL;
}

/* A thread that cannot be made is done without. */
static void wake(struct work *work, int helpers)
{
    pthread_mutex_lock(&pool.mutex);
    while (pool.helper_count < helpers && !pthread_create(&pool.helpers[pool.helper_count], NULL, help, NULL))
        pool.helper_count++;
    pool.work = work;
    pool.wanted = helpers;
    pthread_mutex_unlock(&pool.mutex);
    for (int k = 0; k < helpers; k++)
        pthread_cond_signal(&pool.wake);
}

/* Takes work back from helpers that have not come, and waits for those that have: their last parts are as good as
 * done, so sleeping comes second. */
static void finish(struct work *work)
{
    pthread_mutex_lock(&pool.mutex);
    pool.work = NULL;
    pthread_mutex_unlock(&pool.mutex);
    for (uint64_t start = now_ns(); now_ns() - start < SPIN_NS;)
        if (!atomic_load(&work->inside))
            return;
    pthread_mutex_lock(&pool.mutex);
    while (atomic_load(&work->inside))
        pthread_cond_wait(&pool.left, &pool.mutex);
    pthread_mutex_unlock(&pool.mutex);
}

/* ---- the calling thread ---- */

/* How many helpers are worth waking for so many parts of part_ns each, one of which the caller takes next. */
static int helpers_for(int64_t parts, double part_ns)
{
    double worth = (double)parts * part_ns / WORTH_NS;
    int64_t most = parts < pool.threads ? parts - 1 : pool.threads - 1;
    if (parts < 2)
        return 0;
    return (int)(worth < (double)most ? worth : (double)most);
}

static void share(struct work *work, uint64_t ns)
{
    uint64_t start = now_ns();
    int helpers = helpers_for(work->parts, (double)ns * (double)work->size);
    if (helpers)
        wake(work, helpers);
    for (int64_t done = 1; take(work); done++) {
        if (helpers || ns)
            continue;
        helpers = helpers_for(work->parts - done, (double)(now_ns() - start) / (double)done);
        if (helpers)
            wake(work, helpers);
    }
    if (helpers)
        finish(work);
}

void td_parallel(int64_t count, int64_t grain, uint64_t ns, td_part *part, const void *data)
{
    /* Whole grains, so that parts begin where vectors and cache lines do. */
    int64_t grains = count / grain, together = (grains + PARTS_MAX - 1) / PARTS_MAX;
    struct work work = {.part = part, .data = data, .count = count, .size = grain * together};
    work.parts = grains ? grains / together : 0;
    if (work.parts < 2 || pool.threads < 2 || atomic_exchange(&pool.in_hand, true)) {
        if (count)
            part(data, 0, count);
        return;
    }
    share(&work, ns);
    atomic_store(&pool.in_hand, false);
}

int td_threads(void)
{
    return pool.threads;
}

void td_threads_set(int count)
{
    pthread_mutex_lock(&pool.mutex);
    pool.ends = true;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.mutex);
    while (pool.helper_count)
        pthread_join(pool.helpers[--pool.helper_count], NULL);
    pool.ends = false;
    pool.threads = count < 1 ? 1 : count <= HELPERS_MAX ? count : HELPERS_MAX + 1;
}
