#!/usr/bin/env bash
# All that is checked on a real GPU (make gpu-check), in under 8 minutes: each part has its time, and what is left out is
# named with the reason. It needs what is built ($TENSORD_BUILD) and the driver: no compiler, no network. TENSORD_CUDA_PLUGIN
# names another device, such as the emulated one, for which SMALL=1 makes it less.
#     tests/gpu.sh --pack FILE PROGRAM...    makes an archive of these and the libraries that they load, for a machine
#                                            that does not have them; make gpu-check unpacks it there
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
root=${TENSORD_ROOT:-.} build=${TENSORD_BUILD:-build/plain}

if [ "${1-}" = --pack ]; then
    set -e
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    cd "$build"
    mkdir -p "$tmp/carried/lib"
    for program in "${@:3}"; do
        install -D -s "$program" "$tmp/carried/$program"
    done
    # Every machine has the C library and zlib of its own.
    ldd tensord tests/bench/bench | awk '$3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/(libc|libm|libmvec|libpthread|libdl|librt|libgcc_s|libz)\.so' | xargs cp -Lt "$tmp/carried/lib"
    cd "$OLDPWD"
    tar -C "$tmp" -czf "$2" carried
    exit
fi

export TENSORD_ROOT=$root TENSORD_BUILD=$build TENSORD_BIN=${TENSORD_BIN:-$build/tensord}
export TENSORCTL_BIN=${TENSORCTL_BIN:-$build/tensorctl}
export TENSORD_CUDA_PLUGIN=${TENSORD_CUDA_PLUGIN:-$build/tensord-cuda.so} TEST_DEVICE=cuda:0
[ ! -d "$build/lib" ] || export LD_LIBRARY_PATH=$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
started=${GPU_CHECK_STARTED:-$(date +%s)}
end=$((SECONDS + started + 470 - $(date +%s))) passed=0 failed=0 skipped=0

# Is there a GPU that it can serve?
"$TENSORD_BIN" --device cuda:0 --listen "unix:$tmp/socket" --web off >"$tmp/log" 2>&1 &
daemon=$!
for _ in $(seq 300); do
    if grep -q 'ready device=' "$tmp/log" || ! kill -0 $daemon 2>/dev/null; then break; fi
    sleep 0.1
done
kill $daemon 2>/dev/null
if ! wait $daemon; then
    echo 'There is no GPU here that the daemon can serve:'
    sed 's/^/    /' "$tmp/log"
    exit 1
fi
grep -h 'ready device=' "$tmp/log" | sed 's/.*ready device=/device: /'
echo "processor: $(nproc) cores"

skip() {
    skipped=$((skipped + 1))
    echo "skipped: $1: $2"
}

# part TITLE SECONDS PROGRAM...: by tests/run.sh, in that time at most.
part() {
    local title=$1 limit=$2 left=$((end - SECONDS))
    shift 2
    echo "--- $title"
    [ $left -gt 5 ] || { skip "$title" 'the time is up' && return; }
    TEST_TIMEOUT=$((left < limit ? left : limit)) "$root/tests/run.sh" "$@" | tee "$tmp/out"
    if [[ $(tail -n 1 "$tmp/out") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
    else
        failed=$((failed + 1))
    fi
}

# Some ops under memcheck, which is an order of magnitude slower.
sanitize() {
    local sanitizer left=$((end - SECONDS)) status
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
    [ -n "$sanitizer" ] || { skip memcheck 'there is no compute-sanitizer here' && return; }
    [ $left -gt 5 ] || { skip memcheck 'the time is up' && return; }
    TEST_ONLY='kernel_s*' timeout $((left < 90 ? left : 90)) "$sanitizer" --tool memcheck --error-exitcode 99 \
        "$build/tests/test_kernels" >"$tmp/out" 2>&1
    status=$?
    if grep -q 'Device not supported' "$tmp/out"; then
        skip memcheck "$(grep -m 1 'Device not supported' "$tmp/out")"
    elif [ $status = 0 ] && grep -q 'ERROR SUMMARY: 0 errors' "$tmp/out"; then
        passed=$((passed + 1))
        echo "ok     $(grep -c '  OK ' "$tmp/out") ops without an error"
    elif [ $status = 124 ] && ! grep -q 'Invalid' "$tmp/out"; then
        skip memcheck "not through in its time; no error in $(grep -c '  OK ' "$tmp/out") ops until then"
    else
        failed=$((failed + 1))
        echo "FAILED with status $status"
        grep -v '\[' "$tmp/out" | tail -n 60
    fi
}

part 'every op against the oracle' 150 "$build/tests/test_kernels"
part 'programs end to end' 90 "$root/tests/cuda.sh"
EXAMPLES=${SMALL:+hello custom called} part 'the examples' 60 "$root/tests/examples.sh"
part 'second gradients of every rule' 90 "$build/tests/test_gradients"
plugin=${TENSORD_CUDA_PLUGIN##*/}
TEST_PLUGIN=$plugin TEST_ONLY='results_*' part 'the results of the CPU' 60 "$build/tests/test_device"
TEST_PLUGIN=$plugin TEST_ONLY='a_bad_index*' part 'errors are values' 60 "$build/tests/test_device"
if [ -e "$build/${plugin/cuda/cuda-faulty}" ]; then
    plugin=${plugin/cuda/cuda-faulty}
elif [ "$plugin" = tensord-cuda.so ]; then
    plugin=
fi
if [ -n "$plugin" ]; then
    TEST_PLUGIN=$plugin TEST_ONLY='a_broken*' part 'a fault of a kernel, and what comes after' 60 "$build/tests/test_device"
else
    skip 'a fault of a kernel' 'there is no tensord-cuda-faulty.so: nvcc makes it'
fi
echo "--- against PyTorch and the device's own limits"
left=$((end - SECONDS))
if [ $left -gt 5 ]; then
    timeout $((left < 240 ? left : 240)) env ONLY=gpu ${SMALL:+BENCH_SMALL=1} "$build/tests/bench/bench"
    case $? in
    0) passed=$((passed + 1)) ;;
    124) skip 'the other comparisons' 'the time is up' ;;
    *) failed=$((failed + 1)) && echo 'FAILED bench' ;;
    esac
else
    skip 'the comparisons' 'the time is up'
fi
echo '--- memcheck'
sanitize
echo "$passed passed, $failed failed, $skipped skipped in $(($(date +%s) - started)) s"
[ $failed = 0 ]
