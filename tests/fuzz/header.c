/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Mutants of safetensors: eight bytes that say how long the header is, the header, the data. The
 * header or the data is changed, and the length with it. A file that is too short for a header is
 * given one. */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static uint64_t length_of(const uint8_t *data)
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)data[i] << 8 * i;
    return n;
}

static void set_length(uint8_t *data, uint64_t n)
{
    for (int i = 0; i < 8; i++)
        data[i] = (uint8_t)(n >> 8 * i);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    static const char least[] = "{\"w\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]}}";
    if (size < 8 && room >= 8 + sizeof least + 32) {
        set_length(data, sizeof least - 1);
        memcpy(data + 8, least, sizeof least - 1);
        memset(data + 8 + sizeof least - 1, 1, 32);
        size = 8 + sizeof least - 1 + 32;
    }
    uint64_t n = size < 8 ? 0 : length_of(data);
    bool whole = size >= 8 && n <= size - 8;
    if (!whole || seed % 16 == 0)
        return LLVMFuzzerMutate(data, size, room);
    uint8_t *header = data + 8, *rest = header + n;
    size_t nrest = size - 8 - n;
    if (seed % 16 == 1)
        return 8 + n + LLVMFuzzerMutate(rest, nrest, room - 8 - n);
    uint8_t *kept = malloc(nrest + 1);
    if (!kept)
        return size;
    memcpy(kept, rest, nrest);
    size_t changed = LLVMFuzzerMutate(header, n, room - 8 - nrest);
    memcpy(header + changed, kept, nrest);
    set_length(data, changed);
    free(kept);
    return 8 + changed + nrest;
}
