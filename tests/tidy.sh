#!/bin/sh
# SPDX-License-Identifier: MIT
# tidy.sh BUILD CLANG-TIDY: the checks of .clang-tidy over every C file of the project; any finding is an error. BUILD has the commands that
# compile them (the programs that only link are compiled by other tests, and are not among them).
set -eu
build=$1
tidy=$2
cd "$(dirname "$0")/.."
find api base codegen driver examples files frontend ir passes runtime schedule tests \
  -name '*.c' ! -path 'examples/*/*' ! -path 'tests/freestanding/*' -print0 |
  xargs -0 -n 8 -P 2 "$tidy" -p "$build" --quiet --extra-arg=-Wno-enum-float-conversion 2>"$build/tidy.log" || \
  { grep -v 'warnings generated' "$build/tidy.log"; exit 1; }
