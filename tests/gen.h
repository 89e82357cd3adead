/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What random functions are drawn with: numbers that follow from a seed, and the values that there are. */
#ifndef TESTS_GEN_H
#define TESTS_GEN_H

#include "ir/ir.h"

enum { POOL = 64 };

typedef struct gen {
    uint64_t random;
    ir_builder b;
    ir_value *pool[POOL];
    int n;
} gen;

static inline uint32_t draw(gen *g, uint32_t below)
{
    g->random = g->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(g->random >> 33) % below;
}

#endif
