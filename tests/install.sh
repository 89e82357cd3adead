#!/bin/sh
# SPDX-License-Identifier: MIT
# install.sh BUILD: installs into a folder of its own and uses what is there as an application would: through pkg-config, in C99
# and in C++17, with warnings as errors. Then reads the library's symbols: nothing static is writable, and what it calls is
# on the list below, without malloc, printf or abort. The compiler's library is used the same way, by examples/autograd.c; it defines
# what gradc.h declares and no name beside.
set -eu
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
cmake --install "$build" --prefix "$to/prefix" >"$to/log" || { cat "$to/log"; exit 1; }
PKG_CONFIG_PATH=$(dirname "$(find "$to/prefix" -name gradc-rt.pc)")
export PKG_CONFIG_PATH
cflags=$(pkg-config --cflags gradc-rt)
libs=$(pkg-config --libs gradc-rt)

cat >"$to/app.c" <<'END'
#include <gradc_rt.h>
#include <string.h>
int main(void)
{
    gradc_rt_ctx *ctx = 0;
    gradc_rt_options options;
    memset(&options, 0, sizeof options);
    if (gradc_rt_init(&ctx, 0, 0, 0, &options) != GRADC_RT_E_ARGUMENT || ctx)
        return 1;
    return strlen(gradc_rt_status_text(GRADC_RT_OK)) == 0 || gradc_rt_save(ctx, "x", 0) == GRADC_RT_OK || gradc_rt_load(ctx, "x") == GRADC_RT_OK;
}
END
cp "$to/app.c" "$to/app.cc"
warnings="-Wall -Wextra -Wpedantic -Werror"
# shellcheck disable=SC2086
{
  cc -std=c99 $warnings $cflags "$to/app.c" $libs -o "$to/app"
  "$to/app"
  cc -std=gnu99 $warnings $cflags "$to/app.c" $libs -o "$to/app"
  "$to/app"
  c++ -std=c++17 $warnings $cflags "$to/app.cc" $libs -o "$to/app"
  "$to/app"
}

library=$(find "$to/prefix" -name libgradc_rt.a)
[ -s "$library" ]
size -A "$library" | awk '$1 ~ /^\.(t?data|t?bss)$/ && $2 > 0 { print "writable: " $2 " bytes in " $1; bad = 1 } END { exit bad }'
allowed=" __errno_location clock_gettime close fstat fsync getpid memcmp memcpy memset mmap munmap open openat pread
  pthread_create pthread_join pthread_mutex_destroy pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock pthread_sigmask readlink renameat
  sched_yield sigdelset sigfillset stat strchr strcmp strlen strrchr syscall unlinkat write
  memmove __stack_chk_fail _GLOBAL_OFFSET_TABLE_ "
nm "$library" | awk -v allowed="$(echo $allowed)" '
  BEGIN { n = split(allowed, list); for (i = 1; i <= n; i++) ok[list[i]] = 1 }
  $2 ~ /^[TtRr]$/ { ok[$3] = 1 }
  $1 == "U" { used[$2] = 1 }
  END { for (s in used) if (!(s in ok)) { print "calls " s; bad = 1 } exit bad }'

cd "$to"
# shellcheck disable=SC2046,SC2086
{
  cc $warnings "$here/examples/autograd.c" $(pkg-config --cflags --libs gradc) -o autograd
  ./autograd >said
  cc $warnings -I. "$here/examples/autograd_linked.c" autograd_loss.o $cflags $libs -o linked
}
./linked >linked.txt
[ -s linked.txt ]
if grep -vxFf said linked.txt; then echo "the linked program says something else"; exit 1; fi
nm -g --defined-only "$(pkg-config --variable=libdir gradc)/libgradc.a" | awk '$2 ~ /^[A-Z]$/ { print $3 }' | sort >defined
grep -v '^static' "$(pkg-config --variable=includedir gradc)/gradc.h" | grep -o '\bgradc_[a-z0-9_]*(' | tr -d '(' | sort -u >declared
[ -s defined ]
[ -z "$(comm -23 defined declared)" ] || { comm -23 defined declared; echo "defined, not declared in gradc.h"; exit 1; }
