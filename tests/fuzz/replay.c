/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * In place of libFuzzer: a target reads the files named as arguments, each whole, cut short, and
 * changed by the target's mutator, always in the same way. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 16, MUTANTS = 50 };

static uint64_t state;

/* One byte is changed, put in or taken out. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room)
{
    uint32_t what = fuzz_draw(&state, 4), at = fuzz_draw(&state, size);
    uint8_t byte = (uint8_t)fuzz_draw(&state, 256);
    if (!room)
        return 0;
    if ((what == 0 && size < room) || !size) {
        memmove(data + at + (size > 0), data + at, size - at);
        data[at] = byte;
        return size + 1;
    }
    if (what == 1) {
        memmove(data + at, data + at + 1, size - at - 1);
        return size - 1;
    }
    data[at] = (uint8_t)(what == 2 ? byte : data[at] ^ 1 << byte % 8);
    return size;
}

/* What targets without a mutator of their own take. */
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room,
                                                     unsigned seed)
{
    (void)seed;
    return LLVMFuzzerMutate(data, size, room);
}

__attribute__((weak)) size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t n1,
                                                       const uint8_t *two, size_t n2, uint8_t *out,
                                                       size_t room, unsigned seed)
{
    (void)two, (void)n2, (void)seed;
    n1 = n1 < room ? n1 : room;
    memcpy(out, one, n1);
    return n1;
}

/* A copy that ends where its memory does. */
static void read_bytes(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

int main(int argc, char **argv)
{
    static uint8_t whole[2 * ROOM], changed[ROOM], other[ROOM];
    size_t before = 0;
    if (argc < 2) {
        fputs("no seeds\n", stderr);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (!f) {
            perror(argv[i]);
            return 1;
        }
        size_t size = fread(whole, 1, sizeof whole, f);
        fclose(f);
        if (size > ROOM)
            continue;
        state = 1;
        read_bytes(whole, size);
        read_bytes(whole, size / 2);
        for (unsigned k = 0; k < MUTANTS; k++) {
            memcpy(changed, whole, size);
            size_t n = k % 8 || !before ? LLVMFuzzerCustomMutator(changed, size, ROOM, k)
                                        : LLVMFuzzerCustomCrossOver(whole, size, other, before,
                                                                    changed, ROOM, k);
            if (n > ROOM)
                abort();
            read_bytes(changed, n);
        }
        memcpy(other, whole, size);
        before = size;
    }
    return 0;
}
