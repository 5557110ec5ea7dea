/* NVML of the emulated devices: what nvml.cu asks of it. There are as many GPUs as emulator.c has, in the other order,
 * so that who takes NVML's numbers for CUDA's is wrong. GPU k draws 71.5 + k watts; none tells its power limit. Of
 * instance k 1 + k GiB are held. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

#define GPUS_MAX 8

/* A handle points into these. */
static char gpu_handles[GPUS_MAX], instance_handles[2];

static int wish(const char *word)
{
    const char *all = getenv("TENSORD_FAKE_CUDA"), *at = all ? strstr(all, word) : NULL;
    if (!at)
        return 0;
    at += strlen(word);
    return *at == '=' ? atoi(at + 1) : 1;
}

static int gpus(void)
{
    int count = wish("devices");
    return count < 1 ? 1 : count < GPUS_MAX ? count : GPUS_MAX;
}

/* -1: it is a GPU. */
static int instance_of(const char *device)
{
    return device == instance_handles ? 0 : device == instance_handles + 1 ? 1 : -1;
}

int nvmlInit_v2(void)
{
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = (unsigned)gpus();
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, char **device)
{
    *device = gpu_handles + (gpus() - 1 - (int)index);
    return index < (unsigned)gpus() ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, char **device)
{
    int number = 0;
    if (sscanf(bus, "0000:%d:00.0", &number) != 1 || number < 17 || number >= 17 + gpus())
        return NOT_FOUND;
    *device = gpu_handles + number - 17;
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, char **device)
{
    int number;
    if (wish("mig") && sscanf(uuid, "MIG-emulated-%d", &number) == 1 && (number == 0 || number == 1))
        *device = instance_handles + number;
    else if (sscanf(uuid, "GPU-emulated-%d", &number) == 1 && number >= 0 && number < gpus())
        *device = gpu_handles + number;
    else
        return NOT_FOUND;
    return SUCCESS;
}

int nvmlDeviceGetUUID(char *device, char *uuid, unsigned bytes)
{
    int instance = instance_of(device);
    snprintf(uuid, bytes, instance < 0 ? "GPU-emulated-%d" : "MIG-emulated-%d",
             instance < 0 ? (int)(device - gpu_handles) : instance);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(char *device, unsigned *now, unsigned *next)
{
    *now = *next = wish("mig") && device == gpu_handles;
    return SUCCESS;
}

/* The place in the middle is not taken. */
int nvmlDeviceGetMaxMigDeviceCount(char *device, unsigned *count)
{
    (void)device;
    *count = 3;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(char *device, unsigned index, char **instance)
{
    (void)device;
    *instance = instance_handles + index / 2;
    return index == 0 || index == 2 ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(char *instance, char **device)
{
    *device = gpu_handles;
    return instance_of(instance) < 0 ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetPowerUsage(char *device, unsigned *milliwatts)
{
    *milliwatts = instance_of(device) < 0 ? 71500 + 1000 * (unsigned)(device - gpu_handles) : 0;
    return instance_of(device) < 0 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetEnforcedPowerLimit(char *device, unsigned *milliwatts)
{
    (void)device;
    (void)milliwatts;
    return NOT_SUPPORTED;
}

int nvmlDeviceGetTemperature(char *device, int sensor, unsigned *celsius)
{
    (void)device;
    *celsius = sensor ? 99 : 34;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(char *device, int which, unsigned *megahertz)
{
    (void)device;
    *megahertz = which == 1 ? 1980 : which == 2 ? 2619 : 0;
    return SUCCESS;
}

/* What an instance does is not measured. */
int nvmlDeviceGetUtilizationRates(char *device, unsigned percent[2])
{
    percent[0] = 12;
    percent[1] = 3;
    return instance_of(device) < 0 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetMemoryInfo(char *device, unsigned long long bytes[3])
{
    bytes[0] = 80ull << 30;
    bytes[1] = 75ull << 30;
    bytes[2] = instance_of(device) < 0 ? 5ull << 30 : (1ull + (unsigned)instance_of(device)) << 30;
    return SUCCESS;
}
