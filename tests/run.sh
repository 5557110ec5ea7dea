#!/usr/bin/env bash
# Runs test programs (cmocka) and checks (*.sh), each in its own process with a time limit, and sums them up: the last
# line is "N passed, N failed", with ", N skipped" where some were. A passing program is one line; of a failing one
# everything is shown. A crash, a time-out or an exit without all results counts as a failure.
# A check is one test, or as many as a last line like this script's own says; it skips with status 77 and a reason as
# its last line.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail

limit=${TEST_TIMEOUT:-300}
passed=0 failed=0 skipped=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Sets ok, bad and skip from TAP. cmocka prints "not ok N # SKIP name" for a skipped test.
count() {
    skip=$(grep -cE '^(not )?ok [0-9]+ .*# SKIP' "$1")
    ok=$(grep -E '^ok [0-9]+' "$1" | grep -cv '# SKIP')
    bad=$(grep -E '^not ok [0-9]+' "$1" | grep -cv '# SKIP')
    local planned
    planned=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$1" | awk '{ n += $1 } END { print n + 0 }')
    [ $((ok + bad + skip)) -ge "$planned" ] && [ "$planned" -gt 0 ] || bad=$((bad + 1))
}

for program in "$@"; do
    name=$(basename "$program")
    out=$tmp/$name.out
    start=$(date +%s%N)
    CMOCKA_MESSAGE_OUTPUT=TAP timeout --kill-after=5 "$limit" "$program" >"$out" 2>&1 </dev/null
    status=$?
    ms=$((($(date +%s%N) - start) / 1000000))
    note=
    [ $status != 124 ] && [ $status != 137 ] || note=" (stopped after ${limit} s)"
    case $name in
    *.sh)
        ok=0 bad=0 skip=0
        if [[ $(tail -n 1 "$out") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
            ok=${BASH_REMATCH[1]} bad=${BASH_REMATCH[2]} skip=${BASH_REMATCH[4]:-0}
            reason=$(sed -n 's/^skipped: //p' "$out" | tail -n 1)
            [ -z "$reason" ] || note=" ($reason)"
            [ $status = 0 ] || [ "$bad" -gt 0 ] || bad=1
        else
            case $status in 0) ok=1 ;; 77) skip=1 note=" ($(tail -n 1 "$out"))" ;; *) bad=1 ;; esac
        fi
        ;;
    *)
        count "$out"
        [ "$skip" = 0 ] || note+=" ($(sed -nE 's/^(not )?ok [0-9]+ .*# SKIP ?(.*)/\2/p' "$out" | paste -sd' '))"
        # cmocka's status is the number of failed tests; anything else that is not 0 is a fault of the program itself.
        [ $status = 0 ] || [ "$bad" -gt 0 ] || bad=1
        ;;
    esac
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    if [ "$bad" -gt 0 ]; then
        echo "FAILED $name: $ok passed, $bad failed, exit status $status$note"
        sed 's/^/    /' "$out"
    else
        printf 'ok     %-28s %4d passed%s %6d ms%s\n' "$name" "$ok" \
            "$([ "$skip" = 0 ] || echo ", $skip skipped")" "$ms" "$note"
    fi
done

total="$passed passed, $failed failed"
[ $skipped = 0 ] || total+=", $skipped skipped"
echo "$total"
[ $failed = 0 ]
