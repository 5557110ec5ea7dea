#!/usr/bin/env bash
# End to end on a CUDA device: programs that were written for the CPU, with their daemons told to serve cuda:0. It is the
# emulated one (tests/cuda), unless TENSORD_CUDA_PLUGIN names another. SPDX-License-Identifier: Apache-2.0
set -uo pipefail
build=${TENSORD_BUILD:-build/plain}
export TENSORD_CUDA_PLUGIN=${TENSORD_CUDA_PLUGIN:-$build/tensord-cuda-emulated.so} TEST_DEVICE=cuda:0
programs=()
for name in autograd products indexing programs checkpoints functions optimizers streams gradcheck; do
    programs+=("$build/tests/test_$name")
done
exec "${TENSORD_ROOT:-.}/tests/run.sh" "${programs[@]}"
