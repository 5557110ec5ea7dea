/* The kernels of one instruction set by op. A kernel that nobody wrote is a link error with the op's name in it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/internal.h"

#define TD_KERNEL_CREATE(id, name) [id] = TD_CPU(name),
#define TD_KERNEL_RANDOM(id, name) [id] = TD_CPU(name),
#define TD_KERNEL_FRESH(id, name) [id] = TD_CPU(name),
#define TD_KERNEL_INPLACE(id, name) [id] = TD_CPU(name),
#define TD_KERNEL_STEP(id, name) [id] = TD_CPU(name),
#define TD_KERNEL_VIEW(id, name)
#define TD_OP(id, name, group, params, output, kind, ...) TD_KERNEL_##kind(id, name)
td_kernel *const TD_CPU(table)[TD_OP_LIMIT] = {
#include "protocol/ops.def"
};
#include "protocol/ops_undef.h"
