/* Instruments. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/instruments.h"

#define EVERY_MS 1000

static void read_them(uv_work_t *work)
{
    struct worker *worker = work->data;
    worker->instruments.found = worker->device->read_gauges(&worker->instruments.gauges);
}

static void show(uv_work_t *work, int status)
{
    struct worker *worker = work->data;
    struct blackbox_tables *tables = worker->recorder.tables;
    worker->instruments.reading = false;
    if (status == 0 && worker->instruments.found)
        tables->gauges = worker->instruments.gauges;
    tables->has_gauges = status == 0 && worker->instruments.found;
}

static void on_timer(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    if (!worker->instruments.reading)
        worker->instruments.reading = uv_queue_work(&worker->loop, &worker->instruments.work, read_them, show) == 0;
}

int instruments_start(struct worker *worker)
{
    if (!worker->device->read_gauges)
        return 0;
    worker->instruments.timer.data = worker->instruments.work.data = worker;
    return uv_timer_init(&worker->loop, &worker->instruments.timer) ||
                   uv_timer_start(&worker->instruments.timer, on_timer, 0, EVERY_MS)
               ? -1
               : 0;
}
