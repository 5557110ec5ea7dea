/* The ops that the host computes for the device, since they have no kernel there: their operands travel, which is
 * counted and shown. Readers define TD_ON_HOST. SPDX-License-Identifier: Apache-2.0 */
TD_ON_HOST(inverse)
TD_ON_HOST(solve)
TD_ON_HOST(solve_triangular)
TD_ON_HOST(cholesky)
TD_ON_HOST(det)
TD_ON_HOST(slogdet)
TD_ON_HOST(cofactor)
TD_ON_HOST(qr)
TD_ON_HOST(eigh)
TD_ON_HOST(svdvals)
TD_ON_HOST(svd)
TD_ON_HOST(unscale_grads_)
