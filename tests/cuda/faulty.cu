/* A CUDA device that breaks for real: $TENSORD_BUILD/tensord-cuda.so, but that with the Nth op a kernel writes where no
 * memory is. TENSORD_FAKE_CUDA="fault=N", as of the emulated device. SPDX-License-Identifier: Apache-2.0 */
extern "C" {
#include "kernels/kernels.h"
}

#include <atomic>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static const struct td_device *sound;
static struct td_device device;
static std::atomic<long> left;

static __global__ void write_to(int *nowhere)
{
    *nowhere = 1;
}

static void run(struct td_launch *launch)
{
    if (--left == 0)
        write_to<<<1, 1>>>((int *)16);
    sound->run(launch);
}

extern "C" __attribute__((visibility("default"))) const struct td_device *
td_device_open(int index, const struct td_device *cpu, struct td_failure *failure)
{
    char path[4096];
    const char *build = getenv("TENSORD_BUILD"), *wish = getenv("TENSORD_FAKE_CUDA");
    snprintf(path, sizeof path, "%s/tensord-cuda.so", build ? build : "build/plain");
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    td_device_opener *open = plugin ? (td_device_opener *)dlsym(plugin, TD_DEVICE_OPEN) : NULL;
    if (!open) {
        td_fail(failure, TD_E_ARGUMENT, "%s", dlerror());
        return NULL;
    }
    if (!(sound = open(index, cpu, failure)))
        return NULL;
    long n = 0;
    if (wish && sscanf(wish, "fault=%ld", &n) == 1)
        left = n;
    device = *sound;
    device.run = run;
    return &device;
}
