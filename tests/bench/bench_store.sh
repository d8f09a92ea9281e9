#!/usr/bin/env bash
# bench_store.sh - builds and runs bench_store.c on a directory of its own; arguments: rounds, seconds each.
set -eu
cd "$(dirname "$0")/../.."
make -s build/libhost.a
cc -std=c11 -D_GNU_SOURCE -O2 -g -Iinclude -Ihost -o build/bench_store tests/bench/bench_store.c build/libhost.a \
    $(pkg-config --libs libuv libcurl libpq sqlite3 openssl libsodium jansson yaml-0.1) -l:libboost_context.a -lcrypt -ldl -lpthread -lm
work=$(mktemp -d "${TMPDIR:-/var/tmp}/sl-bench-XXXXXX")
trap 'rm -rf "$work"' EXIT
build/bench_store "$work" "$@"
