#!/usr/bin/env bash
# The dashboard's page, in node and in a browser: web/test/run.sh, with node, chromium and the npm packages installed
# where that may be done (DEPS=0: never). SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "${TENSORD_ROOT:-$(dirname "$0")/..}" || exit 1

if [ "${DEPS:-1}" != 0 ]; then
    tests/deps.sh --browser >/tmp/tensord-deps.$$ 2>&1 || tail -n 3 /tmp/tensord-deps.$$
    rm -f /tmp/tensord-deps.$$
    # What the lock file names, unless that very file was installed from.
    if command -v npm >/dev/null && ! cmp -s web/package-lock.json web/node_modules/.tensord-lock; then
        (cd web && timeout 300 npm ci --no-audit --no-fund --loglevel=error) &&
            cp web/package-lock.json web/node_modules/.tensord-lock
    fi
fi
exec web/test/run.sh
