#!/usr/bin/env bash
# The layers: which folder may include which. Every #include of a project file is looked at.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "${TENSORD_ROOT:-$(dirname "$0")/..}" || exit 1

# What a file may include, as a pattern of paths from the root.
allowed() {
    case $1 in
    protocol/*) echo 'protocol/' ;;
    kernels/*) echo 'kernels/|protocol/(dtype|shape|ops|error|limits|gauges)[a-z_]*\.(h|def)' ;;
    server/worker/*) echo 'kernels/kernels\.h|protocol/|server/worker/|server/[a-z_]*\.h' ;;
    server/supervisor/*) echo 'protocol/|server/supervisor/|server/[a-z_]*\.h' ;;
    server/web/*) echo 'protocol/|server/web/|server/[a-z_]*\.h' ;;
    server/main.c) echo 'protocol/|server/' ;;
    server/*) echo 'protocol/|server/[a-z_]*\.h' ;;
    client/cli/*) echo 'client/|protocol/|server/blackbox\.h' ;; # the daemon's own tool: it reads the black box
    client/examples/*) echo 'client/tensord(_ops)?\.h|client/examples/' ;;
    client/*) echo 'client/|protocol/' ;;
    tests/oracle*) echo 'tests/|protocol/' ;;
    *) echo '' ;;
    esac
}

bad=0
while read -r file; do
    pattern=$(allowed "$file")
    while IFS=: read -r line include; do
        path=$(sed -E 's/.*["<](.*)[">].*/\1/' <<<"$include")
        # A name without a folder is one beside the file; <tensord.h> is the public header.
        case $path in */*) ;; tensord.h) path=client/tensord.h ;; *) path=$(dirname "$file")/$path ;; esac
        [ -e "$path" ] || continue # a system's or a library's
        if [ -n "$pattern" ] && ! grep -qE "^($pattern)" <<<"$path"; then
            echo "$file:$line: $(cut -d/ -f1 <<<"$file") may not include $path"
            bad=1
        fi
    done < <(grep -nE '^ *# *include *["<]' "$file")
done < <(find protocol kernels server client tests \
    \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.def' \) | sort)
exit $bad
