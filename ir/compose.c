/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Functions made of several primitives that the front ends share. Where a formula has a corner it is written so that its derivatives
 * there, the higher ones too, are those of one side, or torch's; a branch that is not taken never makes an infinity, which a
 * derivative would turn into NaN. */
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

ir_value *ir_softplus(ir_builder *b, ir_value *x)
{
    ir_value *positive = compare(b, IR_GT, x, 0); /* not max and abs: the two of them have no common second derivative at 0 */
    ir_value *away = ir_select(b, positive, ir_neg(b, x), x);
    return ir_add(b, ir_select(b, positive, x, ir_like(b, x, 0)), ir_log1p(b, ir_exp(b, away)));
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
    return ir_select(b, none, ir_like(b, x, p > 0 ? 0 : INFINITY), ir_pow(b, ir_abs(b, safe), ir_like(b, x, p)));
}

ir_value *ir_huber(ir_builder *b, ir_value *d, double delta)
{
    ir_value *size = ir_abs(b, d), *small = compare(b, IR_LT, size, delta), *near = ir_select(b, small, d, ir_like(b, d, 0));
    ir_value *linear = ir_mul(b, ir_add(b, size, ir_like(b, d, -delta / 2)), ir_like(b, d, delta));
    return ir_select(b, small, ir_mul(b, ir_mul(b, near, near), ir_like(b, d, 0.5)), linear);
}
