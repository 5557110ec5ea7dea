#!/usr/bin/env bash
# Installs the packages that the build needs, through apt, and only those that are missing: with all of them there it
# asks nobody and takes milliseconds. With --flags it prints their compiler and linker flags for the Makefile, with
# --browser it is about what only the dashboard's tests need.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

# Debian 12 calls the C library of msgpack "msgpack", later releases "msgpack-c".
msgpack() {
    for name in msgpack-c msgpack; do
        if pkg-config --exists "$name" 2>/dev/null && pkg-config --libs "$name" | grep -q msgpack; then
            echo "$name"
            return
        fi
    done
    return 1
}

if [ "${1-}" = --flags ]; then
    name=$(msgpack) || name=msgpack
    # libwebsockets is loaded by this name when it is needed, not linked.
    library=$(pkg-config --variable=libdir libwebsockets || true)/libwebsockets.so
    echo "LWS_SONAME := $(objdump -p "$library" 2>/dev/null | awk '$1 == "SONAME" { print $2 }')"
    for pair in UV:libuv MSGPACK:$name BLAS:openblas LWS:libwebsockets Z:zlib CMOCKA:cmocka; do
        echo "${pair%%:*}_CFLAGS := $(pkg-config --cflags "${pair#*:}")"
        echo "${pair%%:*}_LIBS := $(pkg-config --libs "${pair#*:}")"
    done
    exit
fi

missing=()
need() { # package, what for, test
    local package=$1 reason=$2
    shift 2
    "$@" >/dev/null 2>&1 && return
    missing+=("$package")
    echo "missing: $package ($reason)"
}

if [ "${1-}" = --browser ]; then
    # What the dashboard's tests need; without it they are skipped.
    need nodejs "builds and tests the dashboard" command -v node
    need npm "its packages" command -v npm
    need chromium "the dashboard's tests" command -v chromium
else
    need gcc "the compiler" command -v gcc
    need g++ "the tests' stand-in for a CUDA device" command -v g++
    need libc6-dev "the C library's headers" test -e /usr/include/stdio.h
    need pkg-config "finds the libraries" command -v pkg-config
    need libuv1-dev "the daemon's event loop" pkg-config --exists libuv
    need libopenblas-dev "matrix products on the CPU" pkg-config --exists openblas
    need libwebsockets-dev "the dashboard's server" pkg-config --exists libwebsockets
    need libwebsockets-evlib-uv "the same on libuv, when it runs" \
        test -e "$(pkg-config --variable=libdir libwebsockets 2>/dev/null)/libwebsockets-evlib_uv.so"
    need zlib1g-dev "compressed files of the client" pkg-config --exists zlib
    need libcmocka-dev "the unit tests" pkg-config --exists cmocka
    if ! msgpack >/dev/null; then
        # Only one of the two names exists in a release.
        if apt-cache show libmsgpack-c-dev >/dev/null 2>&1; then
            need libmsgpack-c-dev "the wire format" false
        else
            need libmsgpack-dev "the wire format" false
        fi
    fi
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "There is no apt-get here. Install these yourself and try again: ${missing[*]}" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "Run this as root and try again: apt-get install ${missing[*]}" >&2
        exit 1
    }
    sudo=sudo
fi
echo "installing: $sudo apt-get install ${missing[*]}    (make DEPS=0 never installs)"
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; }
# Lists of packages that are old or absent are the usual reason for a first failure.
install || { $sudo apt-get update -q && install; }
