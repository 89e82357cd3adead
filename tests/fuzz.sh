#!/bin/sh
# SPDX-License-Identifier: MIT
# fuzz.sh BUILD SECONDS [TARGET...]: each target of BUILD/tests/fuzz (or those named: onnx, text, …) for so many seconds, as many at once as
# there are processors. What a target learns stays in BUILD/corpus/TARGET, what it finds in BUILD/found; found inputs that have been mended
# move to tests/fixtures/fuzz/TARGET, where they are seeds, and tests. SEED in the environment: of libFuzzer's random numbers (0: the time).
# With one target the exit status says how it went, without a summary.
set -eu
build=$(cd "$1" && pwd)
seconds=$2
shift 2
cd "$(dirname "$0")/.."

# one TARGET: a line, and its log where something was found.
one() {
  seeds=$build/seeds/$1 corpus=$build/corpus/$1 log=$build/fuzz-$1.log
  rm -rf "$seeds"
  mkdir -p "$seeds" "$corpus" "$build/found"
  i=0
  while read -r file; do
    i=$((i + 1))
    cp "$file" "$seeds/$i"
  done <"$build/tests/fuzz/$1.seeds"
  cat "$seeds"/* | grep -aohE '[A-Za-z_][A-Za-z0-9_.]{1,15}' | sort -u | sed 's/.*/"&"/' >"$seeds.dict"
  status=0
  "$build/tests/fuzz/fuzz_$1" -seed="${SEED:-0}" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2500 -malloc_limit_mb=1200 \
    -max_len=16384 -dict="$seeds.dict" -artifact_prefix="$build/found/$1-" -print_final_stats=1 \
    "$corpus" "$seeds" >"$log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
  if [ "$status" = 0 ]; then
    echo "$1: passed, ${runs:-0} runs, ${edges:-cov: 0}"
  else
    grep -v "^#[0-9]" "$log" | tail -n 60
    echo "$1: failed, see $log"
    return 1
  fi
}
if [ $# = 1 ]; then
  one "$1"
  exit
fi
[ $# != 0 ] || set -- $(ls "$build"/tests/fuzz/*.seeds | sed 's|.*/||; s|\.seeds$||')
printf '%s\n' "$@" | xargs -I{} -P "$(nproc)" sh tests/fuzz.sh "$build" "$seconds" {} | tee "$build/fuzz.log"
passed=$(grep -c '^[a-z]*: passed' "$build/fuzz.log") || true
echo "file fuzzers: $passed passed, $(($# - passed)) failed, $seconds s each"
[ "$passed" = $# ]
