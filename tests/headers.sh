#!/usr/bin/env bash
# Every header compiles alone, and the public one does so outside the tree, in C and in C++.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "${TENSORD_ROOT:-$(dirname "$0")/..}" || exit 1
cc=${CC:-gcc}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

# try WHAT COMMAND...: reads the text to compile from standard input.
try() {
    local what=$1
    shift
    if ! "$@" -Wall -Wextra -Werror -fsyntax-only - >"$tmp/log" 2>&1; then
        echo "$what does not compile alone:"
        cat "$tmp/log"
        bad=1
    fi
}

case $cc in *clang*) cxx=clang++ ;; *) cxx=g++ ;; esac
# An undef list is no header; on_host.h is a list; client/tensord_*.h are parts of client/tensord.h, which is tried below.
while read -r header; do
    case $header in
    kernels/cuda/*) set -- $cxx -std=c++17 -I. -Itests/cuda -x c++ ;;
    *) set -- "$cc" -std=gnu11 -D_GNU_SOURCE -DTD_ISA=generic -I. -Iclient -x c ;;
    esac
    # What a header of C++ defines for others need not be used here.
    echo "#include \"$header\"" | try "$header" "$@" -Wno-unused-function
done < <(find protocol kernels server client -name '*.h' ! -name '*_undef.h' ! -name 'tensord_*.h' ! -name on_host.h |
    sort)

if [ -e client/tensord.h ]; then
    cp client/tensord.h client/tensord_*.h "$tmp"
    for std in gnu11 gnu17; do
        echo '#include <tensord.h>' | try "tensord.h ($std)" "$cc" -std=$std -I"$tmp" -x c
    done
    if command -v $cxx >/dev/null; then
        for std in gnu++17 gnu++20; do
            echo '#include <tensord.h>' | try "tensord.h ($std)" $cxx -std=$std -I"$tmp" -x c++
        done
    fi
fi
exit $bad
