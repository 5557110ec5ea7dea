#!/usr/bin/env bash
# The CUDA plug-in where there is no GPU: what it needs and exports, what registers its kernels take, and that a daemon
# with it says why it serves the CPU, or that it cannot serve what it was told to. With no driver, and with the toolkit's
# stub in its place.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
build=${TENSORD_BUILD:-build/plain} passed=0 failed=0 skipped=0
plugin=$build/tensord-cuda.so
[ -e "$plugin" ] || { echo "there is no $plugin: make plugin"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# due WHAT COMMAND...
due() {
    local what=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED $what" && cat "$tmp/log"; fi
}

# The daemon's log on that device, and how it ended; one that serves is told to stop.
start() {
    "$build/tensord" --device "$1" --listen "unix:$tmp/socket" --web off >"$tmp/log" 2>&1 &
    local daemon=$!
    for _ in $(seq 300); do
        grep -q 'supervisor serves' "$tmp/log" && kill $daemon 2>/dev/null && break
        kill -0 $daemon 2>/dev/null || break
        sleep 0.1
    done
    wait $daemon
}

serves_cpu_since() { start auto && grep -q "serves from the CPU: .*$1" "$tmp/log"; }
refuses_since() { ! start cuda:0 && grep -q "cannot serve cuda:0: .*$1" "$tmp/log"; }
needs_no_driver() { ! readelf -d "$plugin" | grep -q 'NEEDED.*libcuda\.so'; }
exports_one() { [ "$(nm -D --defined-only "$plugin" | awk '{ print $3 }')" = td_device_open ]; }

# On every GPU that it is compiled for: with up to 192 registers 320 threads fit on a multiprocessor, and blocks have 256.
# Up to 32 bytes of a thread in memory are what ptxas spills around a call or a barrier; a loop would take more.
registers_fit() {
    cat "$build"/kernels/cuda/*.ptxas | awk '
        /Compiling entry function/ { kernel = $0; sub(/^[^:]*: /, "", kernel) }
        /bytes spill stores/ { for (k = 2; k <= NF; k++) if ($k == "bytes" && $(k + 1) == "spill" && $(k - 1) > 32) bad = 1 }
        /Used [0-9]+ registers/ { kernels++; for (k = 2; k <= NF; k++) if ($(k - 1) == "Used" && $k > 192) bad = 1 }
        bad { print kernel; print; failed = 1; bad = 0 }
        END { if (!kernels) print "no kernel is told of"; exit failed || !kernels }' >"$tmp/log"
}

touch "$tmp/log"
due "registers of kernels" registers_fit
due "the plug-in links libcuda" needs_no_driver
due "the plug-in exports more than its entry" exports_one
export TENSORD_CUDA_PLUGIN=$plugin
if ldconfig -p | grep -q 'libcuda\.so\.1'; then
    skipped=$((skipped + 1))
    echo 'skipped: there is a driver here'
else
    due "auto without a driver" serves_cpu_since 'no NVIDIA driver'
    due "cuda:0 without a driver" refuses_since 'no NVIDIA driver'
fi
toolkit=$(readlink -f "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")
stub=$(find "${toolkit%/bin/nvcc}" -name libcuda.so -path '*stubs*' 2>/dev/null | head -n 1)
if [ -n "$stub" ]; then
    ln -s "$stub" "$tmp/libcuda.so.1"
    export LD_LIBRARY_PATH=$tmp
    due "auto with the toolkit's stub" serves_cpu_since "toolkit's stub"
    due "cuda:0 with the toolkit's stub" refuses_since "toolkit's stub"
else
    skipped=$((skipped + 1))
    echo "skipped: the toolkit's stub of libcuda is not here"
fi
echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
[ $failed = 0 ]
