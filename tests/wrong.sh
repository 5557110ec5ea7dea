#!/usr/bin/env bash
# Whether the walks over the table see a wrong kernel, a wrong gradient and a wrong layout: each is made wrong on purpose, and
# its test has to fail; so is the way in which work is cut for threads, for a row of each kind.
# Prints what went unnoticed.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail

status=0
# must_fail PROGRAM OP PATTERN: with OP made wrong, PROGRAM fails and says so in a line that matches PATTERN.
must_fail() {
    local out
    out=$(TEST_WRONG=$2 CMOCKA_MESSAGE_OUTPUT=TAP "$TENSORD_BUILD/tests/$1" 2>&1 </dev/null) && {
        echo "$1 does not notice that $2 is wrong"
        status=1
        return
    }
    grep -qE "$3" <<<"$out" || {
        echo "$1 fails for another reason than that $2 is wrong"
        status=1
    }
}

TEST_ONLY=kernel_sigmoid must_fail test_kernels sigmoid '^not ok [0-9]+ - kernel_sigmoid'
TEST_ONLY=kernel_max_dim must_fail test_kernels max_dim '^not ok [0-9]+ - kernel_max_dim'
for op in add sum argmax softmax cross_entropy gather index_add randn adam_step_ arange; do
    TEST_ONLY=kernel_$op must_fail test_kernels partition "^not ok [0-9]+ - kernel_$op\$"
done
must_fail test_gradients tanh '^ *tanh '
must_fail test_gradients gather '^ *gather '
must_fail test_shape transpose '^transpose '
must_fail test_shape cat '^cat '
exit $status
