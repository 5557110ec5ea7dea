/* The CPU device's own extras beside the one door. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_CPU_H
#define TD_KERNELS_CPU_CPU_H

#include "kernels/kernels.h"

/* The device with the kernels of one instruction set ("sse2", "avx2", "avx512"; elsewhere than on x86 "generic");
 * NULL if this processor or this build does not have it. For tests, which compare them. */
const struct td_device *td_device_cpu_variant(const char *isa);

#endif
