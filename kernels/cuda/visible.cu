/* Which devices there are. Those that CUDA sees, in its order, which CUDA_VISIBLE_DEVICES sets; but of the instances of
 * a GPU that is divided (MIG) CUDA sees one in a process, the first of those that it may. So they are counted here, and
 * the one that is meant is made the only one that CUDA may see: by its UUID, before CUDA is asked for anything.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/internal.h"

#define VARIABLE "CUDA_VISIBLE_DEVICES"
#define INSTANCE "MIG-"
#define DEVICES_MAX 64

static char uuids[DEVICES_MAX][TD_CUDA_UUID_BYTES];

/* The entries of CUDA_VISIBLE_DEVICES, where one of them is an instance; 0: none is. As for CUDA the list ends with one
 * that is empty or below 0. */
static int list_given(const char *given)
{
    int count = 0;
    bool divided = false;
    while (given && count < DEVICES_MAX) {
        given += strspn(given, " ");
        size_t bytes = strcspn(given, ", ");
        if (bytes == 0 || *given == '-')
            break;
        snprintf(uuids[count], sizeof uuids[count], "%.*s", (int)bytes, given);
        divided |= !strncmp(uuids[count++], INSTANCE, strlen(INSTANCE));
        given = strchr(given, ',');
        given = given ? given + 1 : NULL;
    }
    return divided ? count : 0;
}

struct td_cuda_choice td_cuda_choose(int index)
{
    const char *given = getenv(VARIABLE);
    int count = given ? list_given(given) : td_cuda_list_instances(uuids, DEVICES_MAX);
    if (count == 0)
        return {index, -1, NULL};
    if (index >= count)
        return {0, count, NULL};
    setenv(VARIABLE, uuids[index], 1);
    return {0, count, strncmp(uuids[index], INSTANCE, strlen(INSTANCE)) ? NULL : uuids[index]};
}
