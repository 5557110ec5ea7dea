/* Carrying. SPDX-License-Identifier: Apache-2.0 */
#include "tests/carry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define ARENA_BYTES ((size_t)256 << 20)
#define CARRIED_MAX 64 /* of one call */

static struct {
    char *memory;
    size_t used;
    int count;
    struct {
        char *here, *there;
        size_t bytes;
    } carried[CARRIED_MAX];
} arena;

void carry(const struct td_device *device, void **data, char *here, size_t bytes)
{
    int k = 0;
    if (!*data || device->host_memory)
        return;
    while (k < arena.count && arena.carried[k].here != here)
        k++;
    if (k == arena.count) {
        size_t skew = (uintptr_t)here % 64;
        assert_true(arena.count++ < CARRIED_MAX);
        arena.memory = arena.memory ? arena.memory : device->reserve(ARENA_BYTES);
        assert_non_null(arena.memory);
        arena.carried[k].here = here;
        arena.carried[k].there = arena.memory + arena.used + skew;
        arena.carried[k].bytes = bytes;
        arena.used += (skew + bytes + 63) / 64 * 64;
        assert_true(arena.used <= ARENA_BYTES);
        device->upload(arena.carried[k].there, here, bytes, false);
        device->order(0, TD_LANE_UPLOAD);
    }
    *data = arena.carried[k].there + ((char *)*data - here);
}

void carry_back(const struct td_device *device)
{
    for (int k = 0; k < arena.count; k++)
        device->download(0, arena.carried[k].here, arena.carried[k].there, arena.carried[k].bytes);
    arena.used = 0;
    arena.count = 0;
}

void carry_operand(const struct td_device *device, struct td_operand *operand)
{
    int64_t last = 0;
    for (int d = 0; d < operand->rank; d++)
        last += (operand->shape[d] - 1) * operand->stride[d];
    carry(device, &operand->data, operand->data, (size_t)(last + 1) * td_dtype_size(operand->dtype));
}
