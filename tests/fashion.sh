#!/bin/sh
# SPDX-License-Identifier: MIT
# fashion.sh BUILD: the example of `./run demo` on a few made-up pictures: it builds without warnings as C99, trains to the same bits
# for any number of threads, reads no file that is none, and says which label is wrong. The binary is below 2 MB.
set -eu
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
cd "$to"

# images NAME COUNT, labels NAME COUNT [LABEL]: IDX files; the pictures are bytes of a file that is there.
images() {
  {
    printf '\0\0\010\003\0\0\0'
    printf "\\$(printf %o "$2")"
    printf '\0\0\0\034\0\0\0\034'
    tail -c +1000 "$here/examples/fashion/cnn.onnx" | head -c $((784 * $2))
  } | gzip >"$1"
}
labels() {
  {
    printf '\0\0\010\001\0\0\0'
    printf "\\$(printf %o "$2")"
    i=0
    while [ $i -lt "$2" ]; do
      printf "\\$(printf %o "${3:-$((i % 10))}")"
      i=$((i + 1))
    done
  } | gzip >"$1"
}
images train-images-idx3-ubyte.gz 192
labels train-labels-idx1-ubyte.gz 192
images t10k-images-idx3-ubyte.gz 100
labels t10k-labels-idx1-ubyte.gz 100

"$build/gradc" compile "$here/examples/fashion/cnn.onnx" --train=adam --entries=forward,step >/dev/null
cc -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -I"$here/include" -I. "$here/examples/fashion/train.c" cnn.o "$build/runtime/libgradc_rt.a" \
  -pthread -lm -lz -s -o train
[ "$(stat -c %s train)" -lt 2000000 ]

./train -e 2 -t 1 -o one.safetensors . >one
./train -e 2 -t 2 -o two.safetensors . >two
cmp one.safetensors two.safetensors
tail -n 1 one | grep -Eqx 'test accuracy [0-9]+\.[0-9][0-9] %'
[ "$(tail -n 1 one)" = "$(tail -n 1 two)" ]
./train -e 2 -s 2 -o other.safetensors . >/dev/null
if cmp -s one.safetensors other.safetensors; then echo "the seed changes nothing"; exit 1; fi

# refused FOLDER WORDS
refused() {
  if ./train "$1" >/dev/null 2>said; then echo "not refused: $2"; exit 1; fi
  grep -q "$2" said || { cat said; exit 1; }
}
refused ./nowhere 'cannot open the file'
labels train-labels-idx1-ubyte.gz 192 10
refused . 'train: y: '
labels train-labels-idx1-ubyte.gz 100
refused . 'the number of labels'
gzip -dc train-images-idx3-ubyte.gz | head -c 100000 | gzip >short.gz
mv short.gz train-images-idx3-ubyte.gz
refused . 'the file is truncated'
labels train-images-idx3-ubyte.gz 192
refused . 'unexpected shape'
