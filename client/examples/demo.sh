#!/usr/bin/env bash
# make demo: a daemon of its own on a private socket, and a small model that is trained on it. On a terminal the
# daemon stays up afterwards, for programs and tensorctl to be tried on, until Ctrl-C.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail

build=${TENSORD_BUILD:?run make demo}
folder=$(mktemp -d)
daemon=
clean_up() {
    [ -z "$daemon" ] || { kill "$daemon" && wait "$daemon"; } 2>/dev/null
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

export TENSORD=unix:$folder/tensord.sock
"$build/tensord" --device cpu --listen "$TENSORD" --log-level error 2>"$folder/log" &
daemon=$!

# From the moment the socket is there the kernel holds who connects, so there is nothing more to wait for.
for _ in $(seq 200); do
    [ -S "$folder/tensord.sock" ] && break
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.02
done
if [ ! -S "$folder/tensord.sock" ]; then
    echo "the daemon did not start:" >&2
    cat "$folder/log" >&2
    exit 1
fi
echo "tensord (pid $daemon) serves $TENSORD"
# Its process starts a moment after the worker; a daemon without it trains all the same.
dashboard=
for _ in $(seq 100); do
    dashboard=$("$build/tensorctl" dashboard 2>/dev/null) && break
    sleep 0.02
done
[ -z "$dashboard" ] || printf 'dashboard: %s\n\n' "$dashboard"

"$build/examples/charlm" "$@"
status=$?
[ ! -s "$folder/log" ] || cat "$folder/log" >&2

if [ $status = 0 ] && [ -t 0 ] && [ -t 1 ]; then
    echo
    echo "The daemon stays up until Ctrl-C. In another terminal:"
    echo "    export TENSORD=$TENSORD"
    echo "    $build/tensorctl top"
    echo "A dashboard's address opens it once; \"tensorctl dashboard\" gives another."
    trap 'exit 0' INT # is how it is meant to end
    wait "$daemon"
fi
exit $status
