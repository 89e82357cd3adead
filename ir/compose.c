/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Functions made of several primitives that the front ends share. Where a formula has a corner it
 * is written so that its derivatives there, the higher ones too, are those of one side, or torch's;
 * a branch that is not taken never makes an infinity, which a derivative would turn into NaN. */
#include "ir/ir.h"

#include <math.h>

ir_value *ir_like(ir_builder *b, const ir_value *x, double v)
{
    return x ? ir_splat(b, &x->type, v) : NULL;
}

static ir_value *compare(ir_builder *b, ir_relation relation, ir_value *x, double number)
{
    return ir_compare(b, relation, x, ir_like(b, x, number));
}

ir_value *ir_mean(ir_builder *b, ir_value *x, int n, const int64_t *axes, bool keep)
{
    double count = 1;
    if (!x)
        return NULL;
    for (int i = 0; i < n; i++)
        count *= (double)x->type.dim[axes[i]];
    ir_value *s = keep ? ir_reduce_keep(b, IR_SUM, x, n, axes) : ir_reduce(b, IR_SUM, x, n, axes);
    return n ? ir_div(b, s, ir_like(b, s, count)) : s;
}

ir_value *ir_softmax(ir_builder *b, ir_value *x, int64_t axis, bool logarithm)
{
    if (!x)
        return NULL;
    ir_value *m = ir_stop_gradient(b, ir_reduce_keep(b, IR_MAX, x, 1, &axis));
    ir_value *d = ir_sub(b, x, ir_broadcast_to(b, m, x->type.rank, x->type.dim)), *e = ir_exp(b, d);
    ir_value *s = ir_reduce_keep(b, IR_SUM, e, 1, &axis);
    if (logarithm)
        return ir_sub(b, d, ir_broadcast_to(b, ir_log(b, s), x->type.rank, x->type.dim));
    return ir_div(b, e, ir_broadcast_to(b, s, x->type.rank, x->type.dim));
}

ir_value *ir_move_axis(ir_builder *b, ir_value *x, int from, int to)
{
    int64_t perm[IR_MAX_RANK];
    if (!x)
        return NULL;
    for (int i = 0, k = 0; i < x->type.rank; i++) {
        k += k == from;
        perm[i] = i == to ? from : k++;
    }
    return ir_transpose(b, x, perm);
}

ir_value *ir_softplus_less(ir_builder *b, ir_value *x, ir_value *y)
{
    /* Not max and abs: the two of them have no common second derivative at 0. */
    ir_value *positive = compare(b, IR_GT, x, 0);
    ir_value *away = ir_select(b, positive, ir_neg(b, x), x),
             *line = ir_select(b, positive, x, ir_like(b, x, 0));
    return ir_add(b, y ? ir_sub(b, line, y) : line, ir_log1p(b, ir_exp(b, away)));
}

ir_value *ir_softplus(ir_builder *b, ir_value *x)
{
    return ir_softplus_less(b, x, NULL);
}

ir_value *ir_root(ir_builder *b, ir_value *x, double p)
{
    if (p == 1)
        return x;
    ir_value *none = compare(b, IR_EQ, x, 0), *safe = ir_select(b, none, ir_like(b, x, 1), x);
    ir_value *root = p == 2 ? ir_sqrt(b, safe) : ir_pow(b, safe, ir_like(b, safe, 1 / p));
    return ir_select(b, none, ir_like(b, x, p > 0 ? 0 : INFINITY), root);
}

ir_value *ir_size_pow(ir_builder *b, ir_value *x, double p)
{
    if (p == 2)
        return ir_mul(b, x, x);
    if (p >= 1)
        return p == 1 ? ir_abs(b, x) : ir_pow(b, ir_abs(b, x), ir_like(b, x, p));
    ir_value *none = compare(b, IR_EQ, x, 0), *safe = ir_select(b, none, ir_like(b, x, 1), x);
    return ir_select(b, none, ir_like(b, x, p > 0 ? 0 : INFINITY),
                     ir_pow(b, ir_abs(b, safe), ir_like(b, x, p)));
}
