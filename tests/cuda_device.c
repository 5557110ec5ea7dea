/* Loading a CUDA device into a test. SPDX-License-Identifier: Apache-2.0 */
#include "tests/cuda_device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

const struct td_device *cuda_device(void)
{
    static const struct td_device *device;
    struct td_failure failure = {0};
    char path[4096];
    if (device)
        return device;
    const char *build = getenv("TENSORD_BUILD"), *given = getenv("TENSORD_CUDA_PLUGIN");
    if (given)
        snprintf(path, sizeof path, "%s", given);
    else
        snprintf(path, sizeof path, "%s/tensord-cuda-emulated.so", build ? build : "build/plain");
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    td_device_opener *opener = plugin ? (td_device_opener *)dlsym(plugin, TD_DEVICE_OPEN) : NULL;
    device = opener ? opener(0, td_device_cpu(), &failure) : NULL;
    if (!device) {
        fprintf(stderr, "%s: %s\n", path, plugin ? failure.message : dlerror());
        exit(1);
    }
    return device;
}
