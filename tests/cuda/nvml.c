/* NVML of the emulated device: what nvml.cu asks of it. The device does not tell its power limit.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

int nvmlInit_v2(void)
{
    return SUCCESS;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device)
{
    static int only;
    *device = &only;
    return strcmp(bus, "0000:17:00.0") ? NOT_FOUND : SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
{
    (void)device;
    *milliwatts = 71500;
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts)
{
    (void)device;
    (void)milliwatts;
    return NOT_SUPPORTED;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius)
{
    (void)device;
    *celsius = sensor ? 99 : 34;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(void *device, int which, unsigned *megahertz)
{
    (void)device;
    *megahertz = which == 1 ? 1980 : which == 2 ? 2619 : 0;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned percent[2])
{
    (void)device;
    percent[0] = 12;
    percent[1] = 3;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long bytes[3])
{
    (void)device;
    bytes[0] = 80ull << 30;
    bytes[1] = 75ull << 30;
    bytes[2] = 5ull << 30;
    return SUCCESS;
}
