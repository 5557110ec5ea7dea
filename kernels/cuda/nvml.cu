/* The device's instruments, by NVML, the driver's library for them, which is found when the program runs: it may be
 * missing where the rest of the driver is there. Its functions as nvml.h of the toolkit 11 to 13 declares them, whose
 * versions are part of their names. SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>

#include "kernels/cuda/internal.h"

typedef struct nvmlDevice_st *instruments;
struct utilization {
    unsigned gpu, memory; /* percent */
};
struct memory {
    unsigned long long total, free, used;
};
enum { SUCCESS = 0, TEMPERATURE_GPU = 0, CLOCK_SM = 1, CLOCK_MEM = 2 };

static struct {
    int (*init)(void);
    int (*by_bus)(const char *bus, instruments *device);
    int (*power)(instruments device, unsigned *milliwatts);
    int (*power_limit)(instruments device, unsigned *milliwatts);
    int (*temperature)(instruments device, int sensor, unsigned *celsius);
    int (*clock)(instruments device, int which, unsigned *megahertz);
    int (*utilization)(instruments device, struct utilization *utilization);
    int (*memory)(instruments device, struct memory *memory);
} nvml;
static instruments device;

/* *function gets the library's, if it has it. */
template <class F> static bool find(void *library, const char *name, F *function)
{
    *function = (F)dlsym(library, name);
    return *function != NULL;
}

bool td_cuda_gauges_open(const char *bus)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL); /* stays for as long as the process does */
    return library && find(library, "nvmlInit_v2", &nvml.init) &&
           find(library, "nvmlDeviceGetHandleByPciBusId_v2", &nvml.by_bus) &&
           find(library, "nvmlDeviceGetPowerUsage", &nvml.power) &&
           find(library, "nvmlDeviceGetEnforcedPowerLimit", &nvml.power_limit) &&
           find(library, "nvmlDeviceGetTemperature", &nvml.temperature) &&
           find(library, "nvmlDeviceGetClockInfo", &nvml.clock) &&
           find(library, "nvmlDeviceGetUtilizationRates", &nvml.utilization) &&
           find(library, "nvmlDeviceGetMemoryInfo", &nvml.memory) && nvml.init() == SUCCESS &&
           nvml.by_bus(bus, &device) == SUCCESS;
}

/* What an instrument shows, in the unit of the gauge; -1 where the device has no such instrument. */
static double value_of(int error, double shown)
{
    return error == SUCCESS ? shown : -1;
}

bool td_cuda_read_gauges(struct td_gauges *gauges)
{
    double *shown = gauges->shown;
    unsigned number = 0;
    struct utilization utilization = {0, 0};
    struct memory memory = {0, 0, 0};
    int error = nvml.power(device, &number);
    shown[TD_GAUGE_POWER] = value_of(error, number / 1e3);
    error = nvml.power_limit(device, &number);
    shown[TD_GAUGE_POWER_LIMIT] = value_of(error, number / 1e3);
    error = nvml.temperature(device, TEMPERATURE_GPU, &number);
    shown[TD_GAUGE_TEMPERATURE] = value_of(error, number);
    error = nvml.clock(device, CLOCK_SM, &number);
    shown[TD_GAUGE_CLOCK] = value_of(error, number * 1e6);
    error = nvml.clock(device, CLOCK_MEM, &number);
    shown[TD_GAUGE_MEMORY_CLOCK] = value_of(error, number * 1e6);
    error = nvml.utilization(device, &utilization);
    shown[TD_GAUGE_BUSY] = value_of(error, utilization.gpu / 100.0);
    error = nvml.memory(device, &memory);
    shown[TD_GAUGE_USED] = value_of(error, (double)memory.used);
    for (int k = 0; k < TD_GAUGES; k++)
        if (shown[k] >= 0)
            return true;
    return false;
}
