/* The ops that the host computes for the device, since they have no kernel there: their operands travel, which is
 * counted and shown. Readers define TD_ON_HOST. SPDX-License-Identifier: Apache-2.0 */
TD_ON_HOST(unscale_grads_)
