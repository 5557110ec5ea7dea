/* Takes back every word that a reader of ops.def defines, so that the next reader starts clean.
 * No include guard: it is meant to be included after each reading. SPDX-License-Identifier: Apache-2.0 */
#undef TD_OP
#undef IN
#undef NUM
#undef INDEX
#undef MASK
#undef RATE
#undef OPT
#undef INS
#undef SIZE
#undef INDICES
#undef INT
#undef NUMBER
#undef SHAPE
#undef DTYPE
#undef KINT
#undef KREAL
#undef KFLAG
#undef KDTYPE
#undef KDIMS
#undef KSIZES
#undef KNUMBER
#undef OUT
#undef NOOUT
#undef GRAD
#undef NOGRAD
