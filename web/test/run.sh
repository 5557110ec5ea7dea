#!/bin/sh
# Tests the page: units in node, views in a browser. One line per test; the last line sums them up.
# SCREENSHOTS=FOLDER keeps what the browser saw. SPDX-License-Identifier: Apache-2.0
cd "$(dirname "$0")/.." || exit 1

skip_all() {
    echo "skipped: $1"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}
command -v node >/dev/null || skip_all "there is no node"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || skip_all "node is older than 18"
[ -d node_modules/esbuild ] && [ -d node_modules/playwright-core ] && [ -d node_modules/ws ] ||
    skip_all "the packages are not there (npm ci in web/)"

out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
if node node_modules/typescript/bin/tsc --noEmit >"$out" 2>&1; then
    echo 'ok 1 - types' >"$out"
else
    sed -i '1i not ok 1 - types' "$out"
fi
for file in units page daemon; do
    node --test-reporter=tap "test/$file.test.mjs" >>"$out" 2>&1 || status=1
done
# Of a passing test the line, of a failing one all that is told; what failed first, as a log may be cut.
awk '
    /^not ok / { bad++; sub(/^not ok [0-9]+ - /, "FAILED "); print; failing = 1; next }
    /^ok / { failing = 0; sub(/^ok [0-9]+ - /, "ok     ")
        if ($0 ~ /# SKIP/) skipped++; else good++
        told = told $0 "\n"; next }
    /^# (Subtest|tests|suites|pass|fail|cancelled|skipped|todo|duration_ms)/ { failing = 0; next }
    /^# / { sub(/^# (\\# )?/, "       "); told = told $0 "\n"; next }
    failing && !/^1\.\./ { print "    " $0 }
    END { printf "%s%d passed, %d failed, %d skipped\n", told, good, bad, skipped; exit bad > 0 }
' "$out" || status=1
exit $status
