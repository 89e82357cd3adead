/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Mutants of .npz: after a change anywhere the checksums of the members that lie in the file are
 * made right again, so that what they hold is read. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static uint32_t number(const uint8_t *p, int bytes)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint32_t)p[i] << 8 * i;
    return v;
}

static void set_number(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* Entry of the directory: sizes and checksum of what the member now holds. */
static void mend(uint8_t *data, size_t size, uint8_t *entry)
{
    enum { MOST = 1 << 16 };
    size_t at = number(entry + 42, 4), packed = number(entry + 20, 4);
    if (at > size || size - at < 30)
        return;
    at += 30 + (size_t)number(data + at + 26, 2) + number(data + at + 28, 2);
    if (at > size || packed > size - at)
        return;
    if (number(entry + 10, 2) == 0) {
        set_number(entry + 24, (uint32_t)packed);
        set_number(entry + 16, (uint32_t)crc32(0, data + at, (uInt)packed));
        return;
    }
    static uint8_t out[MOST];
    z_stream z = {
        .next_in = data + at, .avail_in = (uInt)packed, .next_out = out, .avail_out = MOST};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return;
    if (inflate(&z, Z_FINISH) == Z_STREAM_END) {
        set_number(entry + 24, (uint32_t)z.total_out);
        set_number(entry + 16, (uint32_t)crc32(0, out, (uInt)z.total_out));
    }
    inflateEnd(&z);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, room);
    for (size_t i = 0; seed % 8 && i + 46 <= size; i++)
        if (!memcmp(data + i, "PK\1\2", 4))
            mend(data, size, data + i);
    return size;
}
