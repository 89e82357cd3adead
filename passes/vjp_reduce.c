/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of reductions and running reductions. Products multiply what comes before an element
 * by what comes after it, and never divide, so zeros need no special case, also in higher
 * derivatives. */
#include "passes/vjp.h"

#include <math.h>
#include <string.h>

#define X (inst->operand[0])
#define R (inst->result[0])
#define G (ct[0])

static ir_value *cumulative(ir_builder *b, ir_value *x, ir_combine combine, int64_t axis,
                            bool reverse, bool exclusive)
{
    return ir_build1(b, IR_OP_cumulative, &x, 1,
                     &(ir_attrs){.cumulative = {combine, axis, reverse, exclusive, 0}});
}

/* ---- reduce ---- */

/* Shared evenly by all elements that equal the result, as torch's amax does; NaN where the result
 * is NaN, since no element equals that. */
static ir_value *extreme(ir_builder *b, const ir_inst *inst, ir_value *g)
{
    const ir_ints axes = IR_ATTR(inst, reduce)->axes;
    ir_value *is = ir_compare(b, IR_EQ, X, ir_unreduce(b, R, X, axes.n, axes.v));
    ir_value *count = ir_reduce(b, IR_SUM, ir_convert(b, is, g->type.dtype), axes.n, axes.v);
    ir_value *share = ir_div(b, g, count),
             *others =
                 ir_select(b, ir_is_nan(b, R), ir_splat(b, &R->type, NAN), ir_zeros_like(b, R));
    return ir_select(b, is, ir_unreduce(b, share, X, axes.n, axes.v),
                     ir_unreduce(b, others, X, axes.n, axes.v));
}

/* Along several axes the reduced dimensions become one, the last. */
static ir_value *prod(ir_builder *b, const ir_inst *inst, ir_value *g)
{
    const ir_ints axes = IR_ATTR(inst, reduce)->axes;
    const ir_type *t = &X->type;
    int64_t perm[IR_MAX_RANK], back[IR_MAX_RANK], axis = axes.v[0];
    ir_value *x = X, *each = ir_unreduce(b, g, X, axes.n, axes.v);
    int kept = 0;
    for (int d = 0, i = 0; d < t->rank; d++)
        if (i < axes.n && axes.v[i] == d)
            perm[t->rank - axes.n + i++] = d;
        else
            perm[kept++] = d;
    for (int d = 0; d < t->rank; d++)
        back[perm[d]] = d;
    ir_type moved = *t, flat = *t;
    if (axes.n > 1) {
        x = ir_transpose(b, x, perm);
        moved = flat = x->type;
        axis = kept;
        flat.rank = kept + 1;
        flat.dim[kept] = ir_count(&moved) / ir_count(&R->type);
        x = ir_reshape(b, x, flat.rank, flat.dim);
    }
    ir_value *others = ir_mul(b, cumulative(b, x, IR_PROD, axis, false, true),
                              cumulative(b, x, IR_PROD, axis, true, true));
    if (axes.n > 1)
        others = ir_transpose(b, ir_reshape(b, others, moved.rank, moved.dim), back);
    return ir_mul(b, each, others);
}

AD_RULE(reduce)
{
    (void)want;
    const ir_ints axes = IR_ATTR(inst, reduce)->axes;
    switch (axes.n ? IR_ATTR(inst, reduce)->combine : IR_SUM) {
    case IR_SUM: out[0] = ir_unreduce(b, G, X, axes.n, axes.v); break;
    case IR_PROD: out[0] = prod(b, inst, G); break;
    default: out[0] = extreme(b, inst, G);
    }
}

AD_RULE(arg_reduce)
{
    (void)want;
    const int64_t axis = IR_ATTR(inst, arg_reduce)->axis;
    const ir_ints axes = {1, (int64_t *)&axis};
    if (!ad_fits(inst, &X->type, IR_I64))
        return;
    ir_value *place = ir_iota(b, IR_I64, X->type.rank, X->type.dim, (int)axis);
    out[0] =
        ad_where(b, ir_compare(b, IR_EQ, place, ir_unreduce(b, inst->result[1], X, axes.n, axes.v)),
                 ir_unreduce(b, G, X, axes.n, axes.v));
}

/* ---- cumulative ---- */

/* The body of the loop below: (after; g, x) -> after, sum. */
static ir_func *product_step(ir_module *m, const ir_type *t, bool exclusive)
{
    ir_func *f = ir_func_new(m, "product_step");
    ir_value *after = ir_add_input(f, NULL, t), *g = ir_add_input(f, NULL, t),
             *x = ir_add_input(f, NULL, t);
    ir_builder b = ir_builder_new(f);
    b.phase = IR_BACKWARD;
    ir_value *sum = exclusive ? after : ir_add(&b, g, after);
    ir_value *next = exclusive ? ir_add(&b, g, ir_mul(&b, x, after)) : ir_mul(&b, x, sum);
    ir_built(&b);
    ir_add_output(f, NULL, next);
    ir_add_output(f, NULL, sum);
    return f;
}

/* Element k's derivative: the product of the elements before it, times the sum over all later
 * results of cotangent times the product of the elements in between. That sum is a loop from the
 * end:
 *   inclusive  sum[k] = g[k] + x[k+1] sum[k+1]      exclusive  sum[k] = g[k+1] + x[k+1] sum[k+1] */
static ir_value *running_product(ir_builder *b, const ir_inst *inst, ir_value *g)
{
    const struct ir_attrs_cumulative *a = IR_ATTR(inst, cumulative);
    int rank = X->type.rank;
    int64_t perm[IR_MAX_RANK], back[IR_MAX_RANK];
    for (int d = 0; d < rank; d++)
        perm[d] = d == 0 ? a->axis : d <= a->axis ? d - 1 : d;
    for (int d = 0; d < rank; d++)
        back[perm[d]] = d;
    ir_value *gs = ir_transpose(b, g, perm), *xs = ir_transpose(b, X, perm);
    ir_type step = ir_type_of(X->type.dtype, rank - 1, xs->type.dim + 1);
    ir_inst *loop =
        ir_build(b, IR_OP_scan, (ir_value *[]){ir_splat(b, &step, 0), gs, xs}, 3,
                 &(ir_attrs){.scan = {.body = product_step(b->func->module, &step, a->exclusive),
                                      .carries = 1,
                                      .length = xs->type.dim[0],
                                      .reverse = !a->reverse}});
    ir_value *before = a->exclusive ? R : cumulative(b, X, IR_PROD, a->axis, a->reverse, true);
    return loop ? ir_mul(b, before, ir_transpose(b, loop->result[1], back)) : NULL;
}

/* The cotangent of a running maximum goes to the latest element that equals it, as in torch's
 * cummax. */
static ir_value *running_extreme(ir_builder *b, const ir_inst *inst, ir_value *g)
{
    const struct ir_attrs_cumulative *a = IR_ATTR(inst, cumulative);
    int axis = (int)a->axis;
    int64_t n = X->type.dim[axis];
    if (!ad_fits(inst, &X->type, IR_I64))
        return NULL;
    ir_value *place = ir_iota(b, IR_I64, X->type.rank, X->type.dim, axis);
    ir_value *best =
        !a->exclusive ? R : ir_binary(b, a->combine == IR_MAX ? IR_OP_max : IR_OP_min, R, X);
    ir_value *first = ir_splat(b, &place->type, a->reverse ? (double)(n - 1) : 0);
    ir_value *record = ir_select(b, ir_compare(b, IR_EQ, X, best), place, first);
    ir_value *from =
        cumulative(b, record, a->reverse ? IR_MIN : IR_MAX, axis, a->reverse, a->exclusive);
    if (a->exclusive) { /* the first result is not an element and has no position */
        from = a->reverse ? ir_min(b, from, first) : ir_max(b, from, first);
        g = ad_unless(b, ir_compare(b, IR_EQ, place, first), g);
    }
    return ad_put_along(b, g, from, axis);
}

AD_RULE(cumulative)
{
    (void)want;
    const struct ir_attrs_cumulative *a = IR_ATTR(inst, cumulative);
    switch (a->combine) {
    case IR_SUM: out[0] = cumulative(b, G, IR_SUM, a->axis, !a->reverse, a->exclusive); break;
    case IR_PROD: out[0] = running_product(b, inst, G); break;
    default: out[0] = running_extreme(b, inst, G);
    }
}
