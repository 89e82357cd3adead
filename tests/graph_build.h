/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Helpers for the makers of random instructions (graph_ops.h). */
#ifndef TESTS_GRAPH_BUILD_H
#define TESTS_GRAPH_BUILD_H

#include "tests/graph_gen.h"

enum { GEN_TRIES = 6, GEN_WORK = 60000 };

/* Whether an instruction on operands of these types is valid, with results that are not too
 * large. */
static inline bool gen_fits(gen *g, ir_op op, const ir_type *types, int n, const ir_attrs *attrs)
{
    ir_value fake[8], *operand[8];
    ir_type *result;
    int nresults;
    for (int i = 0; i < n; i++) {
        if (types[i].dtype >= IR_DTYPES || types[i].rank > GEN_RANK ||
            ir_count(&types[i]) > g->p->most)
            return false;
        fake[i] = (ir_value){.type = types[i]};
        operand[i] = &fake[i];
    }
    if (ir_infer(gen_arena(g), op, attrs, operand, n, &result, &nresults))
        return false;
    for (int i = 0; i < nresults; i++)
        if (result[i].rank > GEN_RANK || ir_count(&result[i]) > g->p->most)
            return false;
    return true;
}

/* Appends it; magnitudes of float results are at most `bound`, or 0: the bound of the operands. */
static inline bool gen_append(gen *g, ir_op op, ir_value *const *operand, int n,
                              const ir_attrs *attrs, double bound)
{
    const ir_inst *inst = ir_build(&g->b, op, operand, n, attrs);
    if (!inst)
        return false;
    for (int i = 0; i < inst->nresults; i++) {
        ir_value *v = inst->result[i];
        if (ir_is_float(v->type.dtype) && bound > 0)
            v = gen_scaled(g, v, bound, GEN_LIMIT);
        gen_push(g, v);
    }
    return true;
}

/* Appends one of two operands of these types. */
static inline bool gen_append_two(gen *g, ir_op op, const ir_type *t, const ir_attrs *attrs,
                                  double bound)
{
    ir_value *x = gen_operand(g, &t[0]), *y = gen_operand(g, &t[1]);
    return gen_append(g, op, (ir_value *[]){x, y}, 2, attrs, bound);
}

static inline double gen_both(const ir_value *x, const ir_value *y)
{
    return gen_bound(x) * gen_bound(y);
}

#endif
