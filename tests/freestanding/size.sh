#!/bin/sh
# SPDX-License-Identifier: MIT
# size.sh BUILD: bytes of the smallest freestanding program for each target, forward alone and training; and what it prints.
set -eu
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")/../.." && pwd)
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
cd "$to"
bare="-Os -ffreestanding -nostdlib -static -ffunction-sections -fdata-sections -Wl,--gc-sections"
arm="-mthumb -mcpu=cortex-m4 -T $here/tests/freestanding/mps2.ld"
board="qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none -semihosting-config enable=on,target=native -kernel"

# measure TARGET COMPILER EMULATOR [LIBRARY]
measure() {
  for entry in forward step; do
    "$build/gradc" compile "$here/examples/link/gate.onnx" --train=adam:lr=0.05 --entries=$entry --target="$1" -o gate.o -q
    train=""
    [ $entry = forward ] || train=-DTRAIN
    # shellcheck disable=SC2086
    $2 $bare $train -I. -I"$here" -I"$here/include" "$here/tests/freestanding/gate.c" "$here/tests/freestanding/start.c" \
      "$here"/runtime/*.c gate.o ${4:-} -o app
    size app | awk -v target="$1" -v entry=$entry 'NR == 2 { printf "%-22s %-8s code %5d  data %5d  zeros %5d  ", target, entry, $1, $2, $3 }'
    size gate.o | awk 'NR == 2 { printf "of that the object %5d  prints ", $1 + $2 }'
    $3 ./app 2>&1 | tr '\n' ' '
    echo
  done
}
measure x86_64-none-elf "cc -mno-red-zone" ""
measure aarch64-none-elf "aarch64-linux-gnu-gcc -mno-outline-atomics" qemu-aarch64
measure riscv64-none-elf riscv64-linux-gnu-gcc qemu-riscv64
measure thumbv7em-none-eabi "arm-none-eabi-gcc -mfloat-abi=soft $arm" "$board" -lgcc
measure thumbv7em-none-eabihf "arm-none-eabi-gcc -mfloat-abi=hard -mfpu=fpv4-sp-d16 $arm" "$board" -lgcc
