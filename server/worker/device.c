/* Finding and loading a device's plug-in. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/device.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/log.h"

/* Where the plug-in is for this program: tests name another. */
#define PLUGIN_VARIABLE "TENSORD_CUDA_PLUGIN"

/* Beside the program, where it was built; in ../lib/tensord, where it was installed. */
static bool find_plugin(char *path, size_t size)
{
    static const char *const places[] = {"%.*s/tensord-cuda.so", "%.*s/../lib/tensord/tensord-cuda.so"};
    char program[PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", program, sizeof program - 1);
    program[bytes > 0 ? bytes : 0] = 0;
    const char *slash = strrchr(program, '/');
    for (size_t k = 0; slash && k < sizeof places / sizeof *places; k++) {
        int needed = snprintf(path, size, places[k], (int)(slash - program), program);
        if (needed > 0 && (size_t)needed < size && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

/* The plug-in brings CUDA's libraries with it, hundreds of MB: where there is no driver they need not be loaded. */
static bool has_driver(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver)
        dlclose(driver);
    return driver != NULL;
}

static const struct td_device *open_cuda(int index, struct td_failure *failure)
{
    char found[PATH_MAX];
    const char *path = getenv(PLUGIN_VARIABLE);
    if (!path && !find_plugin(found, sizeof found)) {
        td_fail(failure, TD_E_ARGUMENT, "this tensord has no CUDA plug-in (tensord-cuda.so)");
        td_hint(failure, "Build it where there is nvcc: make CUDA=1.");
        return NULL;
    }
    if (!path && !has_driver()) {
        td_fail(failure, TD_E_ARGUMENT, "there is no NVIDIA driver here (libcuda.so.1)");
        td_hint(failure, "Install the driver of the GPU.");
        return NULL;
    }
    path = path ? path : found;
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays for as long as the process does */
    const char *problem = plugin ? NULL : dlerror();
    td_device_opener *open = plugin ? (td_device_opener *)dlsym(plugin, TD_DEVICE_OPEN) : NULL;
    if (!open) {
        td_fail(failure, TD_E_ARGUMENT, "the CUDA plug-in cannot be loaded: %s", problem ? problem : path);
        td_hint(failure, "Build it again: make CUDA=1.");
        return NULL;
    }
    return open(index, td_device_cpu(), failure);
}

const struct td_device *device_open(const char *name, struct td_failure *failure)
{
    if (!strcmp(name, "cpu"))
        return td_device_cpu();
    if (!strncmp(name, "cuda:", 5))
        return open_cuda(atoi(name + 5), failure);
    struct td_failure why = {0};
    const struct td_device *device = open_cuda(0, &why);
    if (!device)
        log_event(LOG_INFO, 0, "serves from the CPU: %s", why.message);
    return device ? device : td_device_cpu();
}
