/* The benchmarks' own small library: two sides of a comparison in turn, medians, and a table or JSON of what came out.
 * Each benchmark is one function here and says what it is compared with. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_BENCH_H
#define TD_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "tests/support.h"

/* One way of doing a piece of work. */
struct bench_side {
    const char *name;
    double (*run)(void *data); /* does it and returns the seconds that it took */
    void *data;
};

#define BENCH_SIDES 4
struct bench_result {
    double median[BENCH_SIDES]; /* seconds of each side */
    double ratio[BENCH_SIDES];  /* the first side's time over this one's: median of the rounds' ratios */
};

/* Runs the sides one after the other, once unmeasured, then rounds times. */
struct bench_result bench_rounds(int rounds, int count, const struct bench_side *sides);
/* Sorts values and gives the one in the middle. */
double bench_median(double *values, int count);
double bench_now_s(void);

enum bench_sense { BENCH_AT_MOST, BENCH_AT_LEAST };
struct bench_row {
    const char *what, *unit;
    double value;
    const char *against; /* NULL: the value itself is held against the goal */
    double other;        /* the other side's value */
    double ratio;        /* value to other */
    enum bench_sense sense;
    double goal; /* of the ratio, or of the value where there is none */
};
void bench_report(const struct bench_row *row);
/* One line of a benchmark that could not be run, and why. */
void bench_skip(const char *what, const char *why);

/* Binds the process to a core, or to all that it had at first with -1. */
void bench_pin(pid_t pid, int core);
/* The worker of a daemon. */
pid_t bench_worker(const struct test_daemon *daemon);
/* Seconds that the main thread of a process has run: unlike the clock it does not count what others took from it. */
double bench_cpu_s(pid_t pid);
/* A number out of /proc/PID/status, in bytes: "VmRSS". */
double bench_memory(pid_t pid, const char *key);

/* ---- what is compared with (others.c); each serves one connection after the other in a process of its own ---- */

struct bench_other {
    pid_t pid;
    int fd; /* connected to it */
};
/* libuv: answers each request_bytes with reply_bytes. */
struct bench_other bench_echo_start(size_t request_bytes, size_t reply_bytes);
/* Plain sockets: takes or gives bytes of bulk, in pieces of 256 KiB, out of and into one buffer. */
struct bench_other bench_bulk_start(size_t bytes);
void bench_other_stop(struct bench_other *other);
/* A request and its answer. */
bool bench_echo(const struct bench_other *other, const void *request, size_t request_bytes, void *reply,
                size_t reply_bytes);
bool bench_bulk_send(const struct bench_other *other, const void *data, size_t bytes);
bool bench_bulk_receive(const struct bench_other *other, void *data, size_t bytes);

/* Runs the kernel of a product of 8 f32 by a number *data (int) times: seconds of one. */
double bench_tiny_kernel(void *data);

/* ---- PyTorch (torch.c): tests/bench/torch_step.py in a process of its own, on one thread, or torch_gpu.py ---- */

struct bench_torch {
    int steps;        /* of a round; set by whoever starts it */
    const char *what; /* of torch_gpu.py, which does several things: copies of this struct ask for them; else NULL */
    int64_t size;     /* of it */
    pid_t pid;
    FILE *to, *from;
    char name[64]; /* with its version */
};
/* False where it is not installed. which: "sgd", "adam", "lenet", "chain", "attention"; NULL: torch_gpu.py. */
bool bench_torch_start(struct bench_torch *torch, const char *which);
void bench_torch_stop(struct bench_torch *torch);
/* The steps of a round of the struct bench_torch in data: seconds that one took. NaN where it cannot. */
double bench_torch_steps(void *data);
/* Why there cannot be such steps; NULL: there were those of a round. Until the next call. */
const char *bench_torch_lacks(const struct bench_torch *torch);

/* ---- the benchmarks ---- */

void bench_requests(const struct test_daemon *daemon);
void bench_training(const struct test_daemon *daemon);
void bench_kernels(const struct test_daemon *daemon);
/* A part of it: attention with its gradients. */
void bench_attention(void);
/* A part of it: a step of a convolutional network. */
void bench_lenet(void);
void bench_threads(const struct test_daemon *daemon);
void bench_bulk(const struct test_daemon *daemon);
void bench_daemon(const struct test_daemon *daemon);
void bench_blackbox(const struct test_daemon *daemon);
/* A part of it: the writing of one record, in this process. */
void bench_record(void);
void bench_schedule(const struct test_daemon *daemon);
/* On a CUDA device. */
void bench_gpu(const struct test_daemon *daemon);

#endif
