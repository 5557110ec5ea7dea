/* Which devices there are, each with a worker of its own, and which of them a client gets: the one that it names, or of
 * those that it leaves open the one with the most room. From then on the device's lives have it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/log.h"
#include "server/supervisor/internal.h"

/* The environment of a worker: ours, and BLAS on one thread per call, since the worker splits the work itself and
 * bits must not depend on how many threads there are. The service manager is none of its business. */
static char **worker_environment(void)
{
    static const char *const ours[] = {"OPENBLAS_NUM_THREADS=", "OMP_NUM_THREADS=", "NOTIFY_SOCKET="};
    extern char **environ;
    size_t count = 0, used = 0;
    while (environ[count])
        count++;
    char **environment = malloc((count + 3) * sizeof *environment);
    if (!environment)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        bool replaced = false;
        for (size_t k = 0; k < sizeof ours / sizeof *ours; k++)
            replaced |= !strncmp(environ[i], ours[k], strlen(ours[k]));
        if (!replaced)
            environment[used++] = environ[i];
    }
    environment[used++] = "OPENBLAS_NUM_THREADS=1";
    environment[used++] = "OMP_NUM_THREADS=1";
    environment[used] = NULL;
    return environment;
}

/* ---- the table ---- */

static struct lives *add_device(struct supervisor *supervisor, const char *wanted)
{
    struct lives *lives = &supervisor->devices[supervisor->device_count++];
    lives_init(supervisor, lives, wanted);
    return lives;
}

bool devices_init(struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    supervisor->takes_all = !strcmp(config->devices[0], "cuda");
    for (int k = 0; k < config->device_count; k++)
        add_device(supervisor, supervisor->takes_all ? "cuda:0" : config->devices[k]);
    supervisor->environment = worker_environment();
    return supervisor->environment != NULL;
}

void devices_deinit(struct supervisor *supervisor)
{
    for (int k = 0; k < supervisor->device_count; k++)
        lives_deinit(&supervisor->devices[k]);
    free(supervisor->environment);
}

void devices_start(struct supervisor *supervisor)
{
    for (int k = 0; k < supervisor->device_count; k++)
        lives_start(&supervisor->devices[k]);
}

/* The names, with commas between. */
static const char *names(const struct supervisor *supervisor, char *to, size_t size)
{
    size_t used = 0;
    to[0] = 0;
    for (int k = 0; k < supervisor->device_count; k++)
        used += (size_t)snprintf(to + used, size - used, "%s%s", k ? ", " : "", supervisor->devices[k].device);
    return to;
}
#define NAMES_BYTES (TD_DEVICES_MAX * (TD_DEVICE_BYTES + 2))

/* ---- who gets which ---- */

/* Whether a device is what is wished for: by its name, or by its kind, which the name begins with. */
static bool fits(const struct lives *lives, const char *wish)
{
    size_t bytes = strlen(wish);
    bool begins = !strncmp(lives->device, wish, bytes);
    return !bytes || (begins && (!lives->device[bytes] || lives->device[bytes] == ':'));
}

/* Bytes that a session more would find free if all had an equal part: so a class that comes at once is spread, before
 * any of them has taken anything. Below 0 where there is no worker, or none that has come so far: one that is full is
 * better. */
static double room(const struct lives *lives)
{
    const struct blackbox_tables *tables = lives->running && lives->ready ? lives->box.map : NULL;
    if (!tables)
        return -1;
    uint64_t limit = tables->limit_bytes, used = tables->memory.used;
    return limit > used ? (double)(limit - used) / (double)(lives_load(lives) + 1) : 0;
}

/* NULL: there is none. */
static struct lives *roomiest(struct supervisor *supervisor, const char *wish)
{
    struct lives *best = NULL;
    for (int k = 0; k < supervisor->device_count; k++) {
        struct lives *lives = &supervisor->devices[k];
        if (!fits(lives, wish))
            continue;
        double more = best ? room(lives) - room(best) : 1;
        if (more > 0 || (more == 0 && lives_load(lives) < lives_load(best)))
            best = lives;
    }
    return best;
}

/* The device that the client was on when it lost its worker: it is where the program expects to be. */
static struct lives *earlier(struct supervisor *supervisor, uint64_t life)
{
    const struct past_life *past = &supervisor->roster[life % ROSTER_LENGTH];
    for (int k = 0; k < supervisor->device_count && life; k++)
        if (supervisor->devices[k].number == life)
            return &supervisor->devices[k];
    return life && past->number == life ? past->lives : NULL;
}

static void place(struct supervisor *supervisor, struct kept *kept)
{
    const struct td_hello *hello = &kept->handover.hello;
    struct lives *lives = earlier(supervisor, hello->life);
    if (!lives || !fits(lives, hello->device) || lives->failed_starts >= FAILED_STARTS)
        lives = hello->device[0] ? NULL : roomiest(supervisor, "cuda"); /* who asks for the CPU names it */
    lives = lives ? lives : roomiest(supervisor, hello->device);
    if (lives) {
        lives_give(lives, kept);
        return;
    }
    char all[NAMES_BYTES];
    struct td_failure failure = {0};
    td_fail(&failure, TD_E_ARGUMENT, "the daemon has no device '%s'; it has %s", hello->device,
            names(supervisor, all, sizeof all));
    log_event(LOG_INFO, 0, "refused a client: %s", failure.message);
    goodbye(kept->descriptor, failure.code, failure.message);
    supervisor->kept_count--;
    free(kept);
}

/* Whether it can be said now where a client is to go: it names a device, or there is but one, or of each it is known
 * what it is and how much room it has. So those that come while the daemon starts are spread over all of them, and not
 * over those that were there first. One that cannot be started is waited for no longer. */
static bool is_decidable(const struct supervisor *supervisor, const char *wish)
{
    bool all = true;
    for (int k = 0; k < supervisor->device_count; k++) {
        const struct lives *lives = &supervisor->devices[k];
        if (*wish && !strcmp(lives->device, wish))
            return true;
        all &= lives->was_tried && (lives->device[0] || !*wish);
    }
    return all || (supervisor->device_count == 1 && !supervisor->takes_all && !*wish);
}

static void decide(struct supervisor *supervisor, struct kept *kept)
{
    struct kept **end = &supervisor->undecided;
    if (is_decidable(supervisor, kept->handover.hello.device)) {
        place(supervisor, kept);
        return;
    }
    while (*end)
        end = &(*end)->next;
    *end = kept;
}

void devices_give(struct supervisor *supervisor, const struct handover *handover, int descriptor)
{
    struct kept *kept = malloc(sizeof *kept);
    if (!kept) {
        goodbye(descriptor, TD_E_INTERNAL, "the daemon has no memory left to hand a client over");
        return;
    }
    *kept = (struct kept){.handover = *handover, .descriptor = descriptor};
    supervisor->kept_count++;
    decide(supervisor, kept);
    listener_update(supervisor);
}

/* ---- start and end ---- */

/* Those behind the first of as many as there are. */
static void add_rest(struct supervisor *supervisor, uint64_t count)
{
    if (count > TD_DEVICES_MAX)
        log_event(LOG_WARN, 0, "serves %d of %llu devices: there may be no more", TD_DEVICES_MAX,
                  (unsigned long long)count);
    for (uint64_t k = 1; k < count && k < TD_DEVICES_MAX; k++) {
        char wanted[TD_DEVICE_BYTES];
        snprintf(wanted, sizeof wanted, "cuda:%d", (int)k);
        lives_start(add_device(supervisor, wanted));
    }
}

void devices_ready(struct lives *lives, uint64_t count)
{
    struct supervisor *supervisor = lives->supervisor;
    char all[NAMES_BYTES];
    bool ready = true;
    if (supervisor->stopping)
        return;
    if (supervisor->takes_all && lives == supervisor->devices)
        add_rest(supervisor, count);
    for (int k = 0; k < supervisor->device_count; k++)
        ready &= supervisor->devices[k].was_ready;
    if (ready)
        supervisor_ready(supervisor, names(supervisor, all, sizeof all));
}

void devices_give_again(struct lives *lives)
{
    struct kept *kept = lives->kept, *next;
    lives->kept = NULL;
    for (; kept; kept = next) {
        next = kept->next;
        place(lives->supervisor, kept);
    }
}

void devices_decide(struct supervisor *supervisor)
{
    struct kept *kept = supervisor->stopping ? NULL : supervisor->undecided, *next;
    if (!kept)
        return;
    supervisor->undecided = NULL;
    for (; kept; kept = next) {
        next = kept->next;
        kept->next = NULL;
        decide(supervisor, kept);
    }
    listener_update(supervisor);
}

void devices_stop(struct supervisor *supervisor)
{
    while (supervisor->undecided)
        kept_drop(supervisor, &supervisor->undecided, "the daemon is ending");
    for (int k = 0; k < supervisor->device_count; k++)
        lives_stop(&supervisor->devices[k]);
    supervisor_ended(supervisor);
}

void devices_kill(struct supervisor *supervisor)
{
    for (int k = 0; k < supervisor->device_count; k++)
        lives_kill(&supervisor->devices[k]);
}

bool devices_run(const struct supervisor *supervisor)
{
    bool any = false;
    for (int k = 0; k < supervisor->device_count; k++)
        any |= supervisor->devices[k].running || supervisor->devices[k].closing;
    return any;
}
