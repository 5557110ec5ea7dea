/* The scheduler. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/schedule.h"

#include "server/worker/tape.h"

/* A turn of one session, and of all before the loop looks at its sockets again. */
#define SLICE_NS 100000
#define TURN_NS 200000
/* Who used less than a twentieth of the last window is light. */
#define WINDOW_NS 20000000
#define LIGHT_NS (WINDOW_NS / 20)
/* The clock is read when this much time is estimated to have passed, or after this many steps. */
#define CLOCK_STEPS 16
#define CLOCK_NS 20000
/* Dead nodes freed between two ops: keeps up with making them, and takes a few us. */
#define BURY_NODES 64

static bool is_light(struct session *session)
{
    uint64_t now = uv_now(&session->worker->loop) * 1000000; /* the loop's clock: no other needs to be read */
    if (now - session->window_ns > WINDOW_NS) {
        session->window_ns = now;
        session->used_ns = 0;
    }
    return session->used_ns < LIGHT_NS;
}

static void queue_front(struct worker *worker, struct session *session)
{
    session->run_next = worker->run_head;
    worker->run_head = session;
    if (!worker->run_tail)
        worker->run_tail = session;
}

static void queue_back(struct worker *worker, struct session *session)
{
    session->run_next = NULL;
    if (worker->run_tail)
        worker->run_tail->run_next = session;
    else
        worker->run_head = session;
    worker->run_tail = session;
}

void schedule_wake(struct session *session)
{
    struct worker *worker = session->worker;
    if (session->runnable || session->parked || !session->top)
        return;
    session->runnable = true;
    if (is_light(session))
        queue_front(worker, session);
    else
        queue_back(worker, session);
}

void schedule_forget(struct session *session)
{
    struct worker *worker = session->worker;
    struct session **link = &worker->run_head, *before = NULL;
    if (!session->runnable)
        return;
    for (; *link != session; link = &(*link)->run_next)
        before = *link;
    *link = session->run_next;
    if (worker->run_tail == session)
        worker->run_tail = before;
    session->runnable = false;
}

void schedule_charge(struct session *session, uint64_t ns)
{
    session->estimate_ns += ns;
}

static void pop_iterator(struct session *session)
{
    struct iterator *done = session->top;
    session->top = done->below;
    done->drop(session, done);
}

/* Steps session until its turn is over. True: it has more to do. */
static bool run_slice(struct session *session, uint64_t start)
{
    struct worker *worker = session->worker;
    for (unsigned steps = 1;; steps++) {
        enum step step = session->top->next(session, session->top);
        if (worker->dead)
            node_bury(worker, BURY_NODES);
        if (session->parked || step == STEP_WAIT)
            return false;
        if (step == STEP_DONE) {
            pop_iterator(session);
            if (!session->top)
                return false;
        }
        if (steps % CLOCK_STEPS && session->estimate_ns < CLOCK_NS)
            continue;
        session->estimate_ns = 0;
        recorder_clock(worker, uv_hrtime());
        if (worker->recorder.now_ns - start > SLICE_NS)
            return true;
    }
}

/* Sends what the turn has made for the client, and notes how long it waited for it. */
static uint64_t answer(struct session *session)
{
    bool replies = session->output_bytes > 0;
    bool waits = session->input_end > session->input_start || !session_listens(session);
    session_flush(session);
    uint64_t now = uv_hrtime();
    if (replies && session->arrived_ns)
        recorder_answered(session, now - session->arrived_ns);
    if (!waits)
        session->arrived_ns = 0;
    return now;
}

void schedule_turn(struct worker *worker)
{
    uint64_t turn = !worker->run_head ? 0 : worker->looked_ns ? worker->looked_ns : uv_hrtime();
    uint64_t start = turn, now = turn;
    worker->looked_ns = 0;
    if (turn)
        recorder_turn(worker, turn);
    while (worker->run_head && now - turn < TURN_NS) {
        struct session *session = worker->run_head;
        worker->run_head = session->run_next;
        if (!worker->run_head)
            worker->run_tail = NULL;
        session->runnable = false;
        session->in_turn = true;
        recorder_work(session);
        bool more = run_slice(session, start);
        session->in_turn = false;
        now = answer(session);
        session->used_ns += now - start;
        recorder_publish(session, now - start);
        start = now;
        if (!session->top || !more) {
            session_settle(session);
        } else if (!session->runnable) { /* it may have been woken in its own turn, by its end for one */
            session->runnable = true;
            queue_back(worker, session);
        }
    }
    if (turn)
        recorder_rest(worker, now);
    if (!worker->run_head)
        node_bury(worker, 16 * BURY_NODES);
}

static void idle_nothing(uv_idle_t *idle)
{
    (void)idle; /* an active idle handle keeps the loop from sleeping: that is its whole job */
}

/* The last word before the loop would sleep. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct worker *worker = prepare->data;
    if (worker->run_head || worker->dead)
        uv_idle_start(&worker->idle, idle_nothing);
    else
        uv_idle_stop(&worker->idle);
}

static void on_check(uv_check_t *check)
{
    schedule_turn(check->data);
}

int schedule_start(struct worker *worker)
{
    worker->prepare.data = worker->check.data = worker;
    if (uv_prepare_init(&worker->loop, &worker->prepare) || uv_check_init(&worker->loop, &worker->check) ||
        uv_idle_init(&worker->loop, &worker->idle))
        return -1;
    return uv_prepare_start(&worker->prepare, on_prepare) || uv_check_start(&worker->check, on_check) ? -1 : 0;
}
