/* The pool of threads behind the CPU's kernels: each item is done once, whoever asks and whoever helps.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cpu/parallel.h"

#define LONG_NS 1000000000u

/* ---- threads that cannot be made: the linker puts this in the way (Makefile) ---- */

static bool refuses;
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *data);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *data);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *data)
{
    return refuses ? EAGAIN : __real_pthread_create(thread, attributes, run, data);
}

/* One that has been joined may still be seen for a moment. */
static int count_once(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; (task = readdir(tasks));)
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static bool has_threads(int count)
{
    for (int k = 0; k < 1000 && count_once() != count; k++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return count_once() == count;
}

/* ---- work that counts how often each item is done ---- */

struct tally {
    uint8_t *times;
    bool slow, nested;
};

static void tally_part(const void *data, int64_t from, int64_t to)
{
    const struct tally *tally = data;
    struct tally inner = {tally->times, false, false};
    if (tally->slow)
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    if (tally->nested) /* all of it, as 0 to count */
        for (int64_t i = from; i < to; i++) {
            inner.times = tally->times + i;
            td_parallel(1, 1, LONG_NS, tally_part, &inner);
        }
    else
        for (int64_t i = from; i < to; i++)
            tally->times[i]++;
}

static void check_tally(int64_t count, int64_t grain, uint64_t ns, bool slow, bool nested)
{
    struct tally tally = {calloc((size_t)count + 1, 1), slow, nested};
    td_parallel(count, grain, ns, tally_part, &tally);
    for (int64_t i = 0; i < count; i++)
        assert_int_equal(tally.times[i], 1);
    assert_int_equal(tally.times[count], 0);
    free(tally.times);
}

static void test_every_item_once(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, 2, 3, 7, 255, 256, 257, 511, 1000, 4099};
    static const int threads[] = {1, 2, 3, 5, 64};
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        td_threads_set(threads[t]);
        assert_int_equal(td_threads(), threads[t]);
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
            for (int64_t grain = 1; grain < 40; grain += 19) {
                check_tally(counts[k], grain, 0, false, false);
                check_tally(counts[k], grain, LONG_NS, false, false);
                check_tally(counts[k], grain, LONG_NS, false, true);
            }
        check_tally(20, 1, 0, true, false);
    }
    td_threads_set(1);
}

/* Small work makes no thread, long work does by what it takes or what is said of it, and all end. */
static void test_threads_come_and_go(void **state)
{
    (void)state;
    int before = count_once(); /* tools like sanitizers may have some of their own by now */
    td_threads_set(3);
    check_tally(2000, 100, 0, false, false); /* some us */
    assert_true(has_threads(before));
    check_tally(8, 1, 0, true, false);
    assert_true(has_threads(before + 2));
    td_threads_set(2);
    assert_true(has_threads(before));
    check_tally(2, 1, LONG_NS, false, false);
    assert_true(has_threads(before + 1));
    td_threads_set(0);
    assert_int_equal(td_threads(), 1);
    td_threads_set(1000);
    assert_int_equal(td_threads(), 64);
    td_threads_set(1);
    assert_true(has_threads(before));
}

static void test_no_thread_to_be_had(void **state)
{
    (void)state;
    td_threads_set(4);
    refuses = true;
    check_tally(1000, 1, LONG_NS, false, false);
    check_tally(8, 1, 0, true, false);
    refuses = false;
    check_tally(1000, 1, LONG_NS, false, false);
    td_threads_set(1);
}

static void *work_beside(void *data)
{
    (void)data;
    for (int k = 0; k < 500; k++)
        check_tally(300 + k, 1, LONG_NS, false, k & 1);
    return NULL;
}

/* Two that ask at the same time, as the loop and the device's thread do. */
static void test_two_callers(void **state)
{
    (void)state;
    pthread_t other;
    td_threads_set(3);
    assert_int_equal(pthread_create(&other, NULL, work_beside, NULL), 0);
    work_beside(NULL);
    pthread_join(other, NULL);
    td_threads_set(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_once),
        cmocka_unit_test(test_threads_come_and_go),
        cmocka_unit_test(test_no_thread_to_be_had),
        cmocka_unit_test(test_two_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
