/* The launchers by op. One that nobody wrote and that is not in on_host.h is a link error with the op's name in it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/internal.h"

/* What is the host's is declared so by name, and defined here. */
#define TD_ON_HOST(name)                          \
    void TD_CUDA(name)(struct td_launch * launch) \
    {                                             \
        td_cuda_on_host(launch);                  \
    }
#include "kernels/cuda/on_host.h"
#undef TD_ON_HOST

td_launcher *td_cuda_launcher(int op)
{
    switch (op) {
#define TD_KERNEL_CREATE(id, name) \
    case id:                       \
        return TD_CUDA(name);
#define TD_KERNEL_RANDOM(id, name) TD_KERNEL_CREATE(id, name)
#define TD_KERNEL_FRESH(id, name) TD_KERNEL_CREATE(id, name)
#define TD_KERNEL_INPLACE(id, name) TD_KERNEL_CREATE(id, name)
#define TD_KERNEL_STEP(id, name) TD_KERNEL_CREATE(id, name)
#define TD_KERNEL_VIEW(id, name)
#define TD_OP(id, name, group, params, output, kind, ...) TD_KERNEL_##kind(id, name)
#include "protocol/ops.def"
#include "protocol/ops_undef.h"
    }
    return NULL;
}

bool td_cuda_is_on_host(int op)
{
    switch (op) {
#define TD_ON_HOST(name) case TD_OP_##name:
#include "kernels/cuda/on_host.h"
        return true;
    }
    return false;
}
