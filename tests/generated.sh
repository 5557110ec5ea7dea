#!/usr/bin/env bash
# The printed files are what protocol/gen.c prints from the table as it is: nobody edited them, nobody forgot
# `make gen`. SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "${TENSORD_ROOT:-$(dirname "$0")/..}" || exit 1
gen=${TENSORD_BUILD:-build/plain}/gen
bad=0
for file in client/tensord_ops.h client/tensord_ops.c protocol/OPS.md; do
    name=${file##*/}
    if ! "$gen" "${name#tensord_}" | diff -u "$file" - >&2; then
        echo "$file is not what protocol/gen.c prints: run make gen"
        bad=1
    fi
done
exit $bad
