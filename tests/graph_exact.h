/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Random graphs on small integers, so that results must be equal after any transformation, not just
 * close. A reduction of no elements may be infinite, and lead to NaN. */
#ifndef TESTS_GRAPH_EXACT_H
#define TESTS_GRAPH_EXACT_H

#include "tests/graph_ops.h"

#include <check.h>

enum { EXACT_STEPS = 30 };

static const gen_profile exact_profile = {.types = 1u << IR_F64 | 1u << IR_F32 | 1u << IR_I32 |
                                                   1u << IR_BOOL,
                                          .exact = true,
                                          .most = 300,
                                          .steps = EXACT_STEPS,
                                          .depth = 1};

static inline ir_literal **exact_inputs(base_arena *arena, const ir_func *f)
{
    ir_literal **args = base_array(arena, ir_literal *, f->params.count + 1);
    for (int i = 0; i < f->params.count; i++) {
        args[i] = ir_literal_new(arena, &f->params.items[i].value->type);
        for (int64_t k = 0; k < ir_count(&args[i]->type); k++)
            ir_literal_set(args[i], k, (double)((k * 5 + i * 3) % 9 - 4));
    }
    return args;
}

static inline void exact_equal(uint64_t seed, const char *name, const ir_literal *a,
                               const ir_literal *b)
{
    ck_assert(ir_type_eq(&a->type, &b->type));
    for (int64_t i = 0; i < ir_count(&a->type); i++) {
        double x = ir_literal_get(a, i), y = ir_literal_get(b, i);
        ck_assert_msg(x == y || (x != x && y != y), "seed %d: %s, element %d is %g, was %g",
                      (int)seed, name, (int)i, y, x);
    }
}

#endif
