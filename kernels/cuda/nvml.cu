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
    void *library;
    int (*init)(void);
    int (*by_bus)(const char *bus, instruments *device);
    /* of divided GPUs: older drivers lack them */
    int (*count)(unsigned *count);
    int (*by_index)(unsigned index, instruments *device);
    int (*by_uuid)(const char *uuid, instruments *device);
    int (*uuid)(instruments device, char *uuid, unsigned bytes);
    int (*is_divided)(instruments device, unsigned *now, unsigned *next);
    int (*instances_max)(instruments device, unsigned *count);
    int (*instance)(instruments device, unsigned index, instruments *instance);
    int (*board_of)(instruments instance, instruments *device);
    int (*power)(instruments device, unsigned *milliwatts);
    int (*power_limit)(instruments device, unsigned *milliwatts);
    int (*temperature)(instruments device, int sensor, unsigned *celsius);
    int (*clock)(instruments device, int which, unsigned *megahertz);
    int (*utilization)(instruments device, struct utilization *utilization);
    int (*memory)(instruments device, struct memory *memory);
} nvml;
/* Of an instance the board has what there is one of, and the part what each has its own of. */
static instruments board, part;

/* *function gets the library's, if it has it. */
template <class F> static bool find(void *library, const char *name, F *function)
{
    *function = (F)dlsym(library, name);
    return *function != NULL;
}

static bool open_library(void)
{
    static bool asked, opened;
    if (asked)
        return opened;
    asked = true;
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL); /* stays for as long as the process does */
    nvml.library = library;
    opened = library && find(library, "nvmlInit_v2", &nvml.init) &&
             find(library, "nvmlDeviceGetHandleByPciBusId_v2", &nvml.by_bus) &&
             find(library, "nvmlDeviceGetPowerUsage", &nvml.power) &&
             find(library, "nvmlDeviceGetEnforcedPowerLimit", &nvml.power_limit) &&
             find(library, "nvmlDeviceGetTemperature", &nvml.temperature) &&
             find(library, "nvmlDeviceGetClockInfo", &nvml.clock) &&
             find(library, "nvmlDeviceGetUtilizationRates", &nvml.utilization) &&
             find(library, "nvmlDeviceGetMemoryInfo", &nvml.memory) && nvml.init() == SUCCESS;
    return opened;
}

static bool knows_instances(void)
{
    return open_library() && find(nvml.library, "nvmlDeviceGetCount_v2", &nvml.count) &&
           find(nvml.library, "nvmlDeviceGetHandleByIndex_v2", &nvml.by_index) &&
           find(nvml.library, "nvmlDeviceGetHandleByUUID", &nvml.by_uuid) &&
           find(nvml.library, "nvmlDeviceGetUUID", &nvml.uuid) &&
           find(nvml.library, "nvmlDeviceGetMigMode", &nvml.is_divided) &&
           find(nvml.library, "nvmlDeviceGetMaxMigDeviceCount", &nvml.instances_max) &&
           find(nvml.library, "nvmlDeviceGetMigDeviceHandleByIndex", &nvml.instance) &&
           find(nvml.library, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", &nvml.board_of);
}

/* An instance has no power and no clock of its own. What NVML calls a device is told apart by its address, which it
 * has from the bus: its numbers are not CUDA's, which CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER change. */
bool td_cuda_gauges_open(const char *bus, const char *instance)
{
    if (!open_library())
        return false;
    if (instance && knows_instances() && nvml.by_uuid(instance, &part) == SUCCESS &&
        nvml.board_of(part, &board) == SUCCESS)
        return true;
    bool found = nvml.by_bus(bus, &board) == SUCCESS;
    part = board;
    return found;
}

static bool is_divided(instruments device)
{
    unsigned now = 0, next = 0;
    return nvml.is_divided(device, &now, &next) == SUCCESS && now;
}

/* The instances of a GPU behind the count uuids that there are; their number then. */
static int add_instances(instruments device, char uuids[][TD_CUDA_UUID_BYTES], int count, int most)
{
    unsigned places = 0;
    instruments instance;
    nvml.instances_max(device, &places);
    for (unsigned k = 0; k < places && count < most; k++) /* a place that is not taken is NOT_FOUND */
        count += nvml.instance(device, k, &instance) == SUCCESS &&
                 nvml.uuid(instance, uuids[count], TD_CUDA_UUID_BYTES) == SUCCESS;
    return count;
}

int td_cuda_list_instances(char uuids[][TD_CUDA_UUID_BYTES], int most)
{
    unsigned gpus = 0;
    instruments gpu;
    int count = 0;
    if (!knows_instances() || nvml.count(&gpus) != SUCCESS)
        return 0;
    for (unsigned k = 0; k < gpus; k++)
        if (nvml.by_index(k, &gpu) == SUCCESS && is_divided(gpu))
            count = add_instances(gpu, uuids, count, most);
    for (unsigned k = 0; k < gpus && count > 0 && count < most; k++)
        if (nvml.by_index(k, &gpu) == SUCCESS && !is_divided(gpu))
            count += nvml.uuid(gpu, uuids[count], TD_CUDA_UUID_BYTES) == SUCCESS;
    return count;
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
    int error = nvml.power(board, &number);
    shown[TD_GAUGE_POWER] = value_of(error, number / 1e3);
    error = nvml.power_limit(board, &number);
    shown[TD_GAUGE_POWER_LIMIT] = value_of(error, number / 1e3);
    error = nvml.temperature(board, TEMPERATURE_GPU, &number);
    shown[TD_GAUGE_TEMPERATURE] = value_of(error, number);
    error = nvml.clock(board, CLOCK_SM, &number);
    shown[TD_GAUGE_CLOCK] = value_of(error, number * 1e6);
    error = nvml.clock(board, CLOCK_MEM, &number);
    shown[TD_GAUGE_MEMORY_CLOCK] = value_of(error, number * 1e6);
    error = nvml.utilization(part, &utilization);
    shown[TD_GAUGE_BUSY] = value_of(error, utilization.gpu / 100.0);
    error = nvml.memory(part, &memory);
    shown[TD_GAUGE_USED] = value_of(error, (double)memory.used);
    for (int k = 0; k < TD_GAUGES; k++)
        if (shown[k] >= 0)
            return true;
    return false;
}
