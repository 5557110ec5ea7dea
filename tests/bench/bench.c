/* Rounds, medians, rows. SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1024

/* ---- time ---- */

double bench_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct bench_result bench_rounds(int rounds, int count, const struct bench_side *sides)
{
    static double times[BENCH_SIDES][ROUNDS_MAX], ratios[ROUNDS_MAX];
    struct bench_result result;
    for (int round = -1; round < rounds; round++)
        for (int k = 0; k < count; k++) {
            double seconds = sides[k].run(sides[k].data);
            if (round >= 0)
                times[k][round] = seconds;
        }
    for (int k = count - 1; k >= 0; k--) { /* the first side last: sorting its times would part them from the others' */
        for (int round = 0; round < rounds; round++)
            ratios[round] = times[0][round] / times[k][round];
        result.ratio[k] = bench_median(ratios, rounds);
        result.median[k] = bench_median(times[k], rounds);
    }
    return result;
}

/* ---- rows ---- */

static bool json(void)
{
    const char *wish = getenv("JSON");
    return wish && *wish && strcmp(wish, "0");
}

static void print_json(const struct bench_row *row, bool reached)
{
    printf("{\"what\": \"%s\", \"unit\": \"%s\", \"value\": %.6g", row->what, row->unit, row->value);
    if (row->against)
        printf(", \"against\": \"%s\", \"other\": %.6g, \"ratio\": %.4g", row->against, row->other, row->ratio);
    printf(", \"sense\": \"%s\", \"goal\": %g, \"reached\": %s}\n",
           row->sense == BENCH_AT_MOST ? "at most" : "at least", row->goal, reached ? "true" : "false");
    fflush(stdout);
}

void bench_report(const struct bench_row *row)
{
    static bool headed;
    double judged = row->against ? row->ratio : row->value;
    bool reached = row->sense == BENCH_AT_MOST ? judged <= row->goal : judged >= row->goal;
    char value[32], other[64] = "", ratio[32] = "";
    if (json()) {
        print_json(row, reached);
        return;
    }
    if (!headed)
        printf("%-50s %14s  %-32s %6s  %9s\n", "", "", "compared with", "ratio", "goal");
    headed = true;
    snprintf(value, sizeof value, "%.4g %s", row->value, row->unit);
    if (row->against) {
        snprintf(other, sizeof other, "%s %.4g %s", row->against, row->other, row->unit);
        snprintf(ratio, sizeof ratio, "%.2f", row->ratio);
    }
    printf("%-50s %14s  %-32s %6s  %s %-6.4g %s\n", row->what, value, other, ratio,
           row->sense == BENCH_AT_MOST ? "<=" : ">=", row->goal, reached ? "reached" : "MISSED");
    fflush(stdout);
}

void bench_skip(const char *what, const char *why)
{
    if (json())
        printf("{\"what\": \"%s\", \"skipped\": \"%s\"}\n", what, why);
    else
        printf("%-50s not measured: %s\n", what, why);
    fflush(stdout);
}

/* ---- processes ---- */

void bench_pin(pid_t pid, int core)
{
    static cpu_set_t all;
    static bool known;
    char path[64];
    cpu_set_t set;
    if (!known)
        sched_getaffinity(0, sizeof all, &all);
    known = true;
    CPU_ZERO(&set);
    for (int k = 0, seen = 0; k < CPU_SETSIZE; k++) /* the core-th of those that we may use, or the last */
        if (CPU_ISSET(k, &all) && seen++ <= core) {
            CPU_ZERO(&set);
            CPU_SET(k, &set);
        }
    snprintf(path, sizeof path, "/proc/%d/task", (int)(pid ? pid : getpid()));
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && (task = readdir(tasks));)
        if (task->d_name[0] != '.')
            sched_setaffinity((pid_t)strtol(task->d_name, NULL, 10), sizeof set, core < 0 ? &all : &set);
    if (tasks)
        closedir(tasks);
}

pid_t bench_worker(const struct test_daemon *daemon)
{
    char path[64];
    long pid = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)daemon->pid, (int)daemon->pid);
    for (int k = 0; k < 1000 && pid <= 0; k++) { /* the supervisor listens before it has one */
        FILE *file = fopen(path, "r");
        if (!file || fscanf(file, "%ld", &pid) != 1)
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        if (file)
            fclose(file);
    }
    return (pid_t)pid;
}

double bench_cpu_s(pid_t pid)
{
    char path[64];
    double ns = NAN;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%lf", &ns) != 1)
        ns = NAN;
    if (file)
        fclose(file);
    return ns * 1e-9;
}

double bench_memory(pid_t pid, const char *key)
{
    char path[64], line[256];
    double kib = NAN;
    size_t length = strlen(key);
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, length) && line[length] == ':')
            kib = strtod(line + length + 1, NULL);
    if (file)
        fclose(file);
    return kib * 1024;
}
