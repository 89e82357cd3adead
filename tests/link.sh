#!/bin/sh
# SPDX-License-Identifier: MIT
# link.sh BUILD: the README's example as the README tells it: compile the model, build it with the line that `gradc compile`
# prints, run it. The README shows that very main.c below its head.
set -eu
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
cd "$to"
cp "$here/examples/link/main.c" app.c
"$build/gradc" compile "$here/examples/link/gate.onnx" --train=adam:lr=0.05 >said
[ -f gate.o ]
[ -f gate.h ]
sh -c "$(sed -n 's/^link: //p' said) -Wall -Wextra -Wpedantic -Werror" || { cat said; exit 1; }
./a.out >is
cat >due <<'END'
0 xor 0: 0.00
0 xor 1: 1.00
1 xor 0: 1.00
1 xor 1: 0.00
END
sed 's/0\.0[1-9]/0.00/; s/0\.9[1-9]/1.00/' is | diff - due
sed '1,/\*\/$/d' app.c >shown
awk 'FNR == NR { due[n++] = $0; next } $0 == due[at] { at++; next } at < n { at = $0 == due[0] } END { exit at < n }' shown "$here/README.md" ||
  { echo "README.md does not show examples/link/main.c"; exit 1; }
# What the program does not call is left out where the linker is told so.
sh -c "$(sed -n 's/^link: //p' said) -Wl,--gc-sections"
./a.out | diff - is
nm a.out >symbols
grep -q ' T gate_step$' symbols
if grep -E ' (gate|gradc_rt)_(save|load)$' symbols; then
  echo "what the program does not call is linked"
  exit 1
fi
