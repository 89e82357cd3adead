/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What programs of tests/freestanding.c stand on; start.c is without a C library, hosted.c with
 * one. */
#ifndef TESTS_FREESTANDING_START_H
#define TESTS_FREESTANDING_START_H

#include <stddef.h>
#include <stdint.h>

void put_text(const char *text);
int main(void); /* its result ends the program */

static inline void put_number(int64_t v)
{
    char digits[24], *at = digits + sizeof digits - 1;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    *at = 0;
    *--at = '\n';
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (v < 0)
        *--at = '-';
    put_text(at);
}

static inline void put_bytes(const void *p, size_t n)
{
    char hex[65];
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned byte = ((const unsigned char *)p)[i];
        hex[at++] = "0123456789abcdef"[byte >> 4];
        hex[at++] = "0123456789abcdef"[byte & 15];
        if (at == 64 || i + 1 == n) {
            hex[at] = 0;
            put_text(hex);
            at = 0;
        }
    }
    put_text("\n");
}

#endif
