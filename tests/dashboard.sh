#!/usr/bin/env bash
# The dashboard's page, in node and in a browser: web/test/run.sh. With --prepare it installs what that needs instead,
# node, chromium and the npm packages, and never fails: what is not there then is skipped by name.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "${TENSORD_ROOT:-$(dirname "$0")/..}" || exit 1

[ "${1-}" = --prepare ] || exec web/test/run.sh

log=$(mktemp)
trap 'rm -f "$log"' EXIT
timeout 900 tests/deps.sh --browser >"$log" 2>&1 || tail -n 3 "$log"
# What the lock file names, unless that very file was installed from.
if command -v npm >/dev/null && ! cmp -s web/package-lock.json web/node_modules/.tensord-lock; then
    (cd web && timeout 300 npm ci --no-audit --no-fund --loglevel=error) >"$log" 2>&1 &&
        cp web/package-lock.json web/node_modules/.tensord-lock || tail -n 3 "$log"
fi
exit 0
