/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Elementwise operations. Where a function has a corner, its formulas are chosen so that the
 * derivative at the corner is torch's. */
#include "frontend/trace/trace.h"

#include <math.h>

#define X c->v[0]
#define Y c->v[1]
#define OUT c->out[0]

static ir_value *compare(trace_call *c, ir_relation relation, ir_value *x, double number)
{
    return ir_compare(c->b, relation, x, trace_like(c, x, number));
}

static ir_value *zero(trace_call *c)
{
    return trace_like(c, X, 0);
}

/* ---- Arithmetic ---- */

TRACE_BUILD(unary)
{
    OUT = ir_unary(c->b, (ir_op)c->row->extra, X);
}

/* A negative number: operands the other way round. Sums and products of bool are OR and AND. */
TRACE_BUILD(binary)
{
    int op = c->row->extra;
    if (X->type.dtype == IR_BOOL && (op == IR_OP_add || op == IR_OP_mul))
        op = op == IR_OP_add ? IR_OP_or : IR_OP_and;
    OUT = op < 0 ? ir_binary(c->b, (ir_op)-op, Y, X) : ir_binary(c->b, (ir_op)op, X, Y);
}

/* True where r, a remainder of C's kind, must be moved by y to get y's sign. */
static ir_value *other_sign(trace_call *c, ir_value *r)
{
    ir_builder *b = c->b;
    ir_value *differ = ir_xor(b, compare(c, IR_LT, r, 0), compare(c, IR_LT, Y, 0));
    return ir_and(b, differ, compare(c, IR_NE, r, 0));
}

TRACE_BUILD(remainder)
{
    ir_builder *b = c->b;
    ir_value *r = ir_rem(b, X, Y);
    OUT = r && ir_is_signed(X->type.dtype) ? ir_select(b, other_sign(c, r), ir_add(b, r, Y), r) : r;
}

TRACE_BUILD(floor_divide)
{
    ir_builder *b = c->b;
    ir_value *r = ir_rem(b, X, Y);
    if (!r)
        return;
    if (!ir_is_signed(X->type.dtype)) {
        OUT = ir_div(b, X, Y);
    } else if (ir_is_int(X->type.dtype)) {
        ir_value *q = ir_div(b, X, Y);
        OUT = ir_select(b, other_sign(c, r), trace_plus(c, q, -1), q);
    } else { /* x - r is a multiple of y but for rounding */
        ir_value *q = ir_round(b, ir_div(b, ir_sub(b, X, r), Y));
        q = ir_select(b, other_sign(c, r), trace_plus(c, q, -1), q);
        OUT = ir_select(b, compare(c, IR_EQ, Y, 0), ir_div(b, X, Y), q);
    }
}

TRACE_BUILD(pow_scalar)
{
    double p = c->n[0];
    if (p == 2)
        OUT = ir_mul(c->b, X, X);
    else if (p == 0.5)
        OUT = ir_sqrt(c->b, X);
    else
        OUT = ir_pow(c->b, X, Y);
}

TRACE_BUILD(square)
{
    OUT = ir_mul(c->b, X, X);
}

TRACE_BUILD(reciprocal)
{
    OUT = ir_div(c->b, trace_like(c, X, 1), X);
}

TRACE_BUILD(exp2)
{
    OUT = ir_exp(c->b, trace_times(c, X, M_LN2));
}

TRACE_BUILD(log_base)
{
    OUT = trace_times(c, ir_log(c->b, X), 1 / log(c->row->extra));
}

TRACE_BUILD(erfc)
{
    OUT = ir_sub(c->b, trace_like(c, X, 1), ir_erf(c->b, X));
}

/* extra: an op; -1: towards zero; -2: what that takes away. Integers stay. */
TRACE_BUILD(rounding)
{
    ir_builder *b = c->b;
    OUT = X;
    if (!ir_is_float(X->type.dtype))
        return;
    if (c->row->extra >= 0) {
        OUT = ir_unary(b, (ir_op)c->row->extra, X);
        return;
    }
    OUT = ir_select(b, compare(c, IR_LT, X, 0), ir_ceil(b, X), ir_floor(b, X));
    if (c->row->extra == -2)
        OUT = ir_sub(b, X, OUT);
}

TRACE_BUILD(lerp)
{
    ir_builder *b = c->b;
    double w = c->n[0];
    ir_value *d = ir_sub(b, Y, X);
    OUT =
        fabs(w) < 0.5 ? ir_add(b, X, trace_times(c, d, w)) : ir_sub(b, Y, trace_times(c, d, 1 - w));
}

/* ---- Truth ---- */

TRACE_BUILD(compare)
{
    OUT = ir_compare(c->b, (ir_relation)c->row->extra, X, Y);
}

TRACE_BUILD(is_nan)
{
    OUT = ir_is_nan(c->b, X);
}

/* extra 1: finite. */
TRACE_BUILD(is_inf)
{
    ir_value *size = ir_abs(c->b, X);
    OUT = compare(c, c->row->extra ? IR_LT : IR_EQ, size, INFINITY);
}

TRACE_BUILD(logical)
{
    ir_value *x = ir_convert(c->b, X, IR_BOOL);
    if (c->row->extra == IR_OP_not)
        OUT = ir_not(c->b, x);
    else
        OUT = ir_binary(c->b, (ir_op)c->row->extra, x, ir_convert(c->b, Y, IR_BOOL));
}

static ir_dtype wider(ir_dtype a, ir_dtype b)
{
    if (ir_is_float(a) != ir_is_float(b))
        return ir_is_float(a) ? a : b;
    return ir_dtypes[a].bytes >= ir_dtypes[b].bytes ? a : b;
}

TRACE_BUILD(where)
{
    ir_builder *b = c->b;
    ir_value *which = X, *x = Y, *y = c->v[2];
    if (which->type.dtype != IR_BOOL) {
        trace_wrong(c, "the condition is %s, bool is due", trace_text(c, which));
        return;
    }
    ir_dtype t = wider(x->type.dtype, y->type.dtype);
    x = ir_convert(b, x, t);
    y = ir_convert(b, y, t);
    if (ir_broadcast_both(b, &x, &y) && ir_broadcast_both(b, &which, &x))
        OUT = ir_select(b, which, x, trace_spread(c, y, x));
}

TRACE_BUILD(masked_fill)
{
    ir_value *x = X, *mask = Y;
    if (mask->type.dtype != IR_BOOL)
        trace_wrong(c, "the mask is %s, bool is due", trace_text(c, mask));
    else if (ir_broadcast_both(c->b, &x, &mask))
        OUT = ir_select(c->b, mask, trace_like(c, x, c->n[0]), x);
}

/* ---- Bounds ---- */

TRACE_BUILD(clamp)
{
    ir_builder *b = c->b;
    bool low = c->n[0] != -INFINITY, high = c->n[1] != INFINITY,
         whole = (!low || floor(c->n[0]) == c->n[0]) && (!high || floor(c->n[1]) == c->n[1]);
    ir_value *x = ir_is_float(X->type.dtype) || whole ? X : ir_convert(b, X, IR_F32);
    if (low)
        x = ir_select(b, compare(c, IR_LT, x, c->n[0]), trace_like(c, x, c->n[0]), x);
    if (high)
        x = ir_select(b, compare(c, IR_GT, x, c->n[1]), trace_like(c, x, c->n[1]), x);
    OUT = x;
}

/* No gradient at the bounds themselves. */
static ir_value *inside(trace_call *c, double low, double high, ir_value *below, ir_value *between,
                        ir_value *above)
{
    return ir_select(c->b, compare(c, IR_LE, X, low), below,
                     ir_select(c->b, compare(c, IR_GE, X, high), above, between));
}

/* extra 6: relu6. */
TRACE_BUILD(hardtanh)
{
    double low = c->row->extra ? 0 : c->n[0], high = c->row->extra ? c->row->extra : c->n[1];
    OUT = inside(c, low, high, trace_like(c, X, low), X, trace_like(c, X, high));
}

/* extra 1: times x. */
TRACE_BUILD(hardsigmoid)
{
    ir_value *y = inside(c, -3, 3, zero(c), trace_plus(c, trace_times(c, X, 1.0 / 6), 0.5),
                         trace_like(c, X, 1));
    OUT = c->row->extra ? ir_mul(c->b, X, y) : y;
}

/* ---- Activations ---- */

/* Above zero, or else: zero itself counts as below, as in torch's derivatives. */
static ir_value *above_zero(trace_call *c, ir_value *yes, ir_value *no)
{
    return ir_select(c->b, compare(c, IR_LE, X, 0), no, yes);
}

TRACE_BUILD(relu)
{
    OUT = above_zero(c, X, zero(c));
}

TRACE_BUILD(leaky_relu)
{
    OUT = above_zero(c, X, trace_times(c, X, c->n[0]));
}

TRACE_BUILD(prelu)
{
    ir_value *slope = Y;
    int64_t channels = X->type.rank > 1 ? X->type.dim[1] : 1, axis = 1;
    if (ir_count(&slope->type) == 1)
        slope = trace_spread(c, ir_reshape(c->b, slope, 0, NULL), X);
    else if (slope->type.rank == 1 && slope->type.dim[0] == channels)
        slope = ir_broadcast(c->b, slope, X->type.rank, X->type.dim, &axis);
    else
        trace_wrong(c, "slopes %s for %s", trace_text(c, slope), trace_text(c, X));
    /* The slope's derivative is 0 above zero, at infinity too. */
    ir_value *low = above_zero(c, zero(c), X);
    OUT = above_zero(c, X, ir_mul(c->b, low, slope));
}

/* Extra 0: elu; 1: celu; 2: selu. */
TRACE_BUILD(elu)
{
    double alpha = c->n[0], scale = 1, inner = 1;
    if (c->row->extra == 1)
        inner = 1 / alpha;
    if (c->row->extra == 2) {
        scale = 1.0507009873554804934193349852946;
        alpha = scale * 1.6732632423543772848170429916717;
    }
    ir_value *low = above_zero(c, zero(c), X); /* no overflow in the branch that is not taken */
    OUT = above_zero(c, trace_times(c, X, scale),
                     trace_times(c, ir_expm1(c->b, trace_times(c, low, inner)), alpha));
}

TRACE_BUILD(gelu)
{
    ir_builder *b = c->b;
    ir_value *inner;
    if (c->i[0])
        inner = ir_tanh(
            b, trace_times(c, ir_add(b, X, trace_times(c, ir_mul(b, X, ir_mul(b, X, X)), 0.044715)),
                           0.79788456080286535588));
    else
        inner = ir_erf(b, trace_times(c, X, M_SQRT1_2));
    OUT = ir_mul(b, trace_times(c, X, 0.5), trace_plus(c, inner, 1));
}

TRACE_BUILD(silu)
{
    OUT = ir_mul(c->b, X, ir_logistic(c->b, X));
}

TRACE_BUILD(softplus)
{
    double beta = c->n[0], threshold = c->n[1];
    ir_value *x = trace_times(c, X, beta), *y = trace_times(c, ir_softplus(c->b, x), 1 / beta);
    OUT = ir_select(c->b, compare(c, IR_GT, x, threshold), X, y);
}

TRACE_BUILD(mish)
{
    OUT = ir_mul(c->b, X, ir_tanh(c->b, ir_softplus(c->b, X)));
}

TRACE_BUILD(logsigmoid)
{
    OUT = ir_neg(c->b, ir_softplus(c->b, ir_neg(c->b, X)));
}

/* extra 1: softshrink. */
TRACE_BUILD(shrink)
{
    ir_builder *b = c->b;
    double l = c->n[0];
    ir_value *high = c->row->extra ? trace_plus(c, X, -l) : X,
             *low = c->row->extra ? trace_plus(c, X, l) : X;
    ir_value *between = ir_select(b, ir_is_nan(b, X), X, zero(c));
    OUT = ir_select(b, compare(c, IR_GT, X, l), high,
                    ir_select(b, compare(c, IR_LT, X, -l), low, between));
}

TRACE_BUILD(tanhshrink)
{
    OUT = ir_sub(c->b, X, ir_tanh(c->b, X));
}

TRACE_BUILD(softsign)
{
    OUT = ir_div(c->b, X, trace_plus(c, ir_abs(c->b, X), 1));
}

TRACE_BUILD(threshold)
{
    OUT = ir_select(c->b, compare(c, IR_LE, X, c->n[0]), trace_like(c, X, c->n[1]), X);
}
