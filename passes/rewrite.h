/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the rewrites of rewrites.def share. */
#ifndef GRADC_PASSES_REWRITE_H
#define GRADC_PASSES_REWRITE_H

#include "passes/pass_utils.h"

/* Looks at one instruction; if it can be improved, builds that through b (before inst, with its
 * phase and loc), writes a replacement of the same type for each result to out, and returns true.
 * Otherwise it builds nothing. A result's `id` counts its users (0: made in this sweep), so `id <=
 * 1` says that a rewrite leaves no second user behind. */
typedef bool rewrite_rule(ir_builder *b, ir_inst *inst, ir_value **out);

#define RULE(name) bool name(ir_builder *b, ir_inst *inst, ir_value **out)
#define X (inst->operand[0])
#define R (&inst->result[0]->type)

/* Ends a rule: v replaces the only result. */
static inline bool give(ir_value **out, ir_value *v)
{
    out[0] = v;
    return v != NULL;
}

/* Writes the axes whose extent in t is not 1 to out; returns how many. */
static inline int rw_long_axes(ir_ints axes, const ir_type *t, int64_t out[IR_MAX_RANK])
{
    int n = 0;
    for (int i = 0; i < axes.n; i++)
        if (t->dim[axes.v[i]] != 1)
            out[n++] = axes.v[i];
    return n;
}

/* A new function named as f, without the number that made f's name unique (rewrite_loop.c). */
ir_func *rw_body_like(const ir_func *f);

/* Tried on every elementwise op, after its own rows; ends because elements get fewer. */
rewrite_rule rw_sink_broadcast;

#define REWRITE(op, function, ends) rewrite_rule function;
#include "passes/rewrites.def"

#endif
