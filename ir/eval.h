/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The evaluator: the meaning of every op, in plain loops. Values are computed wide (floats in
 * double, integers in 64 bits) and rounded or wrapped to their type at every result. */
#ifndef GRADC_IR_EVAL_H
#define GRADC_IR_EVAL_H

#include "ir/ir.h"

#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    ir_eval_rule ir_eval_##eval;
#include "ir/ops.def"

/* A literal's elements, wide. Integers keep their bits; `is_unsigned`: their type is unsigned. */
typedef struct ir_wide {
    bool is_float, is_unsigned;
    int64_t n;
    double *f;   /* floats, else NULL */
    int64_t *i;
} ir_wide;
ir_wide ir_wide_of(base_arena *arena, const ir_literal *l);
ir_wide ir_wide_new(base_arena *arena, ir_dtype t, int64_t n);
void ir_wide_store(const ir_wide *w, ir_literal *to);
/* One step of a combination. */
double ir_combine_float(ir_combine c, double x, double y);
int64_t ir_combine_int(ir_combine c, int64_t x, int64_t y, bool is_unsigned);
/* Its identity in element k. */
void ir_wide_identity(ir_wide *w, int64_t k, ir_combine c, ir_dtype t);
/* Counts at up like an odometer over dims; false when it wraps to zero. */
bool ir_next_index(int rank, const int64_t *dim, int64_t *at);

#endif
