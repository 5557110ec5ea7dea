/* The CUDA device on the CPU (tests/cuda). SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_EMULATED_H
#define TD_TESTS_EMULATED_H

#include "kernels/kernels.h"

/* The plug-in that was built on the emulator, opened once; ends the test where it cannot be. Its memory is the host's,
 * but what it is asked to do is done when somebody waits for it. */
const struct td_device *emulated_device(void);

#endif
