/* What it costs to bring bytes to the device and back, by the way that they go; what may overlap; and what memory is
 * in use. Times are the device's own (td_time) but where the program's wait is what counts.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensord.h>
#include <time.h>

enum { COUNT = 16 << 20, SIDE = 512, BATCHES = 12, BATCH = 1 << 20, TRIES = 5 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static const char *kind_of(td_session *s, const void *memory)
{
    static const char *const names[] = {"pageable", "plain", "shared", "pinned"};
    return names[td_host_kind(s, memory)];
}

/* ---- there and back ---- */

/* The shortest of some tries: the first one takes the memory. */
static void there_and_back(td_session *s, float *memory)
{
    double up = 1e9, down = 1e9, megabytes = COUNT * sizeof *memory / 1e6;
    for (int k = 0; k < TRIES; k++) {
        double start = now_ms();
        td_tensor x = td_from(s, memory, TD_F32, TD_SHAPE(COUNT));
        td_sync(s);
        double between = now_ms();
        td_read(x, memory, TD_F32, COUNT);
        double end = now_ms();
        td_release(x);
        up = between - start < up ? between - start : up;
        down = end - between < down ? end - between : down;
    }
    printf("%-9s up %7.2f ms (%5.2f GB/s)   down %7.2f ms (%5.2f GB/s)\n", kind_of(s, memory), up, megabytes / up, down,
           megabytes / down);
}

/* ---- two streams ---- */

/* The same products, all on one stream or on two by turns; the device's milliseconds. */
static double products(td_session *s, td_stream side, int streams, double *sum)
{
    td_tensor x = td_full(s, TD_SHAPE(SIDE, SIDE), 0.001), total[2] = {td_zeros_like(x), td_zeros_like(x)};
    td_sync(s);
    td_time time = td_time_start(s);
    for (int k = 0; k < 8; k++) {
        TD_ON_STREAM(k % streams ? side : td_current_stream(s));
        td_add_(total[k % 2], td_matmul(x, x));
    }
    td_stream_wait_stream(td_current_stream(s), side); /* so that the time's end is behind both */
    double ms = td_time_stop(time);
    *sum = td_item(td_sum(td_add(total[0], total[1])));
    td_release(x);
    td_release(total[0]);
    td_release(total[1]);
    return ms;
}

/* ---- the next batch while this one is computed ---- */

/* Batches made by the program, in two buffers that take turns: one is filled while the device fetches the other. */
static double batches(td_session *s, float *const buffers[2], bool overlap)
{
    td_event taken[2] = {td_event_new(s), td_event_new(s)};
    td_tensor total = td_zeros(s, TD_SHAPE());
    double start = now_ms();
    for (int batch = 0; batch < BATCHES; batch++) {
        float *buffer = buffers[batch % 2];
        td_event_synchronize(taken[batch % 2]); /* what was in it has been fetched; at first nothing was */
        for (int k = 0; k < BATCH; k++)
            buffer[k] = (float)((batch + k) % 7);
        td_tensor x = td_from(s, buffer, TD_F32, TD_SHAPE(BATCH), .non_blocking = overlap);
        td_event_record(taken[batch % 2]);
        td_add_(total, td_mean(td_sqrt(td_add(td_square(td_take(x)), 1.0))));
        if (!overlap)
            td_sync(s);
    }
    double sum = td_item(total), ms = now_ms() - start;
    printf("%-9s %7.2f ms   (sum %.4f)\n", overlap ? "at once" : "in turn", ms, sum);
    td_release(total);
    td_event_free(taken[0]);
    td_event_free(taken[1]);
    return sum;
}

/* ---- memory ---- */

static void row(const char *what, int64_t bytes)
{
    printf("  %-34s %10.2f MB\n", what, (double)bytes / 1e6);
}

static void table(td_session *s)
{
    td_memory_info m = td_memory(s);
    printf("memory of this session\n");
    row("parameters", m.params);
    row("gradients", m.grads);
    row("kept by graphs", m.saved);
    row("other tensors", m.values);
    row("together", m.allocated);
    row("together, at most", m.peak);
    printf("memory of the device\n");
    row("of all sessions", m.device_allocated);
    row("of all sessions, at most", m.device_peak);
    row("taken from the device", m.reserved);
    row("that the daemon may take", m.limit);
}

int main(void)
{
    td_session *s = td_open(NULL);
    td_device_info device = td_device(s);
    printf("%s: %s, %d streams at a time\n\n", device.name, device.description, device.streams);

    float *pageable = calloc(COUNT, sizeof *pageable), *shared = td_host_alloc(s, COUNT * sizeof *shared);
    if (!pageable || !shared)
        return td_close(s) ? 1 : 2;
    memset(shared, 0, COUNT * sizeof *shared);
    printf("%.0f MB\n", COUNT * sizeof *shared / 1e6);
    there_and_back(s, pageable);
    there_and_back(s, shared);

    double sums[2];
    td_stream side = td_stream_new(s);
    products(s, side, 1, sums); /* once before it counts */
    double one = products(s, side, 1, &sums[0]), two = products(s, side, 2, &sums[1]);
    printf("\n8 products: on one stream %.2f ms, on two %.2f ms: %s results\n", one, two,
           sums[0] == sums[1] ? "the same" : "DIFFERENT");

    float *const buffers[2] = {shared, shared + BATCH};
    printf("\n%d batches\n", BATCHES);
    bool same = sums[0] == sums[1] && batches(s, buffers, false) == batches(s, buffers, true);

    td_tensor w = td_randn(s, TD_SHAPE(1000, 1000), .requires_grad = true);
    td_tensor loss = td_mean(td_square(td_tanh(td_matmul(w, w))));
    printf("\n");
    table(s);
    td_backward(loss);
    td_host_free(s, shared);
    free(pageable);
    int code = td_close(s);
    return code ? code : !same;
}
