/* The CUDA device: the real one, or on the CPU (tests/cuda). SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_CUDA_DEVICE_H
#define TD_TESTS_CUDA_DEVICE_H

#include "kernels/kernels.h"

/* The plug-in that $TENSORD_CUDA_PLUGIN names, or the one that was built on the emulator, opened once; ends the test
 * where it cannot be. */
const struct td_device *cuda_device(void);

#endif
