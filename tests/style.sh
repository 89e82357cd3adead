#!/bin/sh
# SPDX-License-Identifier: MIT
# style.sh: what holds for every file, also where no formatter looks: lines of at most 100 characters in C (tables under `clang-format off`
# aside) and of 150 elsewhere (rows of Markdown tables aside, which cannot be broken), no tabs, no blanks at line ends, a licence line at the
# head, at most 1000 lines of code.
set -eu
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.."
# files PATTERN: those that are in git or could be (what the README's commands write here is ignored); without git, all.
files() {
  { git ls-files --cached --others --exclude-standard 2>/dev/null ||
    find . \( -name .git -o -name .venv -o -path './build*' \) -prune -o -type f -print; } |
    sed 's|^\./||' | grep -E "$1" | sort | while read -r f; do [ ! -f "$f" ] || echo "$f"; done
}
c=$(files '\.[ch]$')
code=$(files '\.([ch]|def|py|sh)$|(^|/)CMakeLists\.txt$|^(run|\.ci/run)$')
pages=$(files '\.md$')

# A line for each fault.
faults() {
  for f in $c; do
    sed '/clang-format off/,/clang-format on/s/.*//' "$f" | grep -nE '^.{101}' | sed "s|^\([0-9]*\):.*|$f:\1: longer than 100 characters|"
  done
  grep -nHE '^.{151}' $code | sed 's/^\([^:]*:[0-9]*\):.*/\1: longer than 150 characters/'
  grep -nHE '^[^|].{150}' $pages | sed 's/^\([^:]*:[0-9]*\):.*/\1: longer than 150 characters/'
  grep -nHE "$(printf '\t')|[[:space:]]$" $code $pages | sed 's/^\([^:]*:[0-9]*\):.*/\1: a tab, or blanks at the end/'
  for f in $code $pages; do
    head -n 3 "$f" | grep -q 'SPDX-License-Identifier: MIT' || echo "$f: no licence line"
  done
  wc -l $code | awk '$1 > 1000 && $2 != "total" { print $2 ": " $1 " lines, 1000 are the limit" }'
}
found=$(faults)
[ -z "$found" ] || { echo "$found"; exit 1; }
