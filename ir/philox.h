/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror, Shaw: Parallel Random
 * Numbers: As Easy as 1, 2, 3 (SC 2011). */
#ifndef GRADC_IR_PHILOX_H
#define GRADC_IR_PHILOX_H

#include <stdint.h>

static inline void ir_philox(uint32_t key0, uint32_t key1, uint32_t c[4])
{
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xD2511F53 * c[0], q = (uint64_t)0xCD9E8D57 * c[2];
        uint32_t next[4] = {(uint32_t)(q >> 32) ^ c[1] ^ key0, (uint32_t)q,
                            (uint32_t)(p >> 32) ^ c[3] ^ key1, (uint32_t)p};
        for (int i = 0; i < 4; i++)
            c[i] = next[i];
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
}

#endif
