#!/usr/bin/env bash
# The examples that judge themselves, against one daemon, of the CPU or the device that TEST_DEVICE names. SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "${TENSORD_ROOT:-$(dirname "$0")/..}" || exit 1
build=${TENSORD_BUILD:-build/plain}
folder=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon"; wait; rm -rf "$folder"' EXIT
export TENSORD=unix:$folder/socket
"$build/tensord" --device "${TEST_DEVICE:-cpu}" --listen "$TENSORD" --web off --log-level error 2>"$folder/log" &
daemon=$!
for _ in $(seq 500); do
    [ ! -S "$folder/socket" ] || break
    sleep 0.02
done

passed=0 failed=0
for example in ${EXAMPLES:-hello custom called checkpoint record streams}; do
    if "$build/examples/$example" >"$folder/out" 2>&1 && ! grep DIFFER "$folder/out"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$example:"
        cat "$folder/out"
    fi
done
cat "$folder/log"
[ ! -s "$folder/log" ] || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
