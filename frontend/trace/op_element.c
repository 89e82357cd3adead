/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Elementwise operations. Where a function has a kink, its formula is chosen so that the derivative
 * there is torch's. */
#include "frontend/trace/trace.h"
#include "ir/nn.h"

#include <math.h>

#define X c->v[0]
#define Y c->v[1]
#define OUT c->out[0]

static ir_value *compare(trace_call *c, ir_relation relation, ir_value *x, double number)
{
    return ir_compare(c->b, relation, x, ir_like(c->b, x, number));
}

static ir_value *zero(trace_call *c)
{
    return ir_like(c->b, X, 0);
}

/* ---- Arithmetic ---- */

TRACE_BUILD(unary)
{
    OUT = ir_unary(c->b, (ir_op)c->row->extra, X);
}

/* Sums and products of bool are OR and AND. */
TRACE_BUILD(binary)
{
    ir_op op = (ir_op)c->row->extra;
    if (X->type.dtype == IR_BOOL && (op == IR_OP_add || op == IR_OP_mul))
        op = op == IR_OP_add ? IR_OP_or : IR_OP_and;
    OUT = ir_binary(c->b, op, X, Y);
}

/* Y - X */
TRACE_BUILD(rsub)
{
    OUT = ir_sub(c->b, Y, X);
}

TRACE_BUILD(remainder)
{
    OUT = ir_modulo(c->b, X, Y);
}

TRACE_BUILD(floor_divide)
{
    OUT = ir_floor_divide(c->b, X, Y);
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
    OUT = ir_div(c->b, ir_like(c->b, X, 1), X);
}

TRACE_BUILD(exp2)
{
    OUT = ir_exp(c->b, ir_times(c->b, X, M_LN2));
}

TRACE_BUILD(log2)
{
    OUT = ir_times(c->b, ir_log(c->b, X), 1 / log(2));
}

TRACE_BUILD(log10)
{
    OUT = ir_times(c->b, ir_log(c->b, X), 1 / log(10));
}

TRACE_BUILD(erfc)
{
    OUT = ir_sub(c->b, ir_like(c->b, X, 1), ir_erf(c->b, X));
}

/* Integers stay. */
TRACE_BUILD(rounding)
{
    OUT = ir_is_float(X->type.dtype) ? ir_unary(c->b, (ir_op)c->row->extra, X) : X;
}

static ir_value *towards_zero(trace_call *c)
{
    if (!ir_is_float(X->type.dtype))
        return X;
    return ir_select(c->b, compare(c, IR_LT, X, 0), ir_ceil(c->b, X), ir_floor(c->b, X));
}

TRACE_BUILD(trunc)
{
    OUT = towards_zero(c);
}

TRACE_BUILD(frac)
{
    OUT = ir_sub(c->b, X, towards_zero(c));
}

TRACE_BUILD(lerp)
{
    ir_builder *b = c->b;
    double w = c->n[0];
    ir_value *d = ir_sub(b, Y, X);
    OUT =
        fabs(w) < 0.5 ? ir_add(b, X, ir_times(c->b, d, w)) : ir_sub(b, Y, ir_times(c->b, d, 1 - w));
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

TRACE_BUILD(is_inf)
{
    OUT = compare(c, IR_EQ, ir_abs(c->b, X), INFINITY);
}

TRACE_BUILD(is_finite)
{
    OUT = compare(c, IR_LT, ir_abs(c->b, X), INFINITY);
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
        trace_wrong(c, "the condition is %s, expected bool", trace_text(c, which));
        return;
    }
    ir_dtype t = wider(x->type.dtype, y->type.dtype);
    x = ir_convert(b, x, t);
    y = ir_convert(b, y, t);
    if (ir_broadcast_both(b, &x, &y) && ir_broadcast_both(b, &which, &x))
        OUT = ir_select(b, which, x, ir_broadcast_like(c->b, y, x));
}

TRACE_BUILD(masked_fill)
{
    ir_value *x = X, *mask = Y;
    if (mask->type.dtype != IR_BOOL)
        trace_wrong(c, "the mask is %s, expected bool", trace_text(c, mask));
    else if (ir_broadcast_both(c->b, &x, &mask))
        OUT = ir_select(c->b, mask, ir_like(c->b, x, c->n[0]), x);
}

/* ---- Bounds ---- */

TRACE_BUILD(clamp)
{
    ir_builder *b = c->b;
    bool low = c->n[0] != -INFINITY, high = c->n[1] != INFINITY,
         whole = (!low || floor(c->n[0]) == c->n[0]) && (!high || floor(c->n[1]) == c->n[1]);
    ir_value *x = ir_is_float(X->type.dtype) || whole ? X : ir_convert(b, X, IR_F32);
    OUT = ir_clamp(b, x, low ? ir_like(b, x, c->n[0]) : NULL, high ? ir_like(b, x, c->n[1]) : NULL);
}

TRACE_BUILD(hardtanh)
{
    OUT = ir_hardtanh(c->b, X, ir_like(c->b, X, c->n[0]), ir_like(c->b, X, c->n[1]));
}

TRACE_BUILD(relu6)
{
    OUT = ir_hardtanh(c->b, X, zero(c), ir_like(c->b, X, 6));
}

TRACE_BUILD(hard_sigmoid)
{
    OUT = ir_hard_sigmoid(c->b, X, 1.0 / 6, 0.5);
}

TRACE_BUILD(hard_swish)
{
    OUT = ir_hard_swish(c->b, X);
}

/* ---- Activations ---- */

TRACE_BUILD(relu)
{
    OUT = ir_relu(c->b, X);
}

TRACE_BUILD(leaky_relu)
{
    OUT = ir_leaky_relu(c->b, X, c->n[0]);
}

TRACE_BUILD(prelu)
{
    ir_value *slope = Y;
    int64_t channels = X->type.rank > 1 ? X->type.dim[1] : 1, axis = 1;
    if (ir_count(&slope->type) == 1)
        slope = ir_broadcast_like(c->b, ir_reshape(c->b, slope, 0, NULL), X);
    else if (slope->type.rank == 1 && slope->type.dim[0] == channels)
        slope = ir_broadcast(c->b, slope, X->type.rank, X->type.dim, &axis);
    else
        trace_wrong(c, "slopes %s do not fit %s", trace_text(c, slope), trace_text(c, X));
    OUT = ir_prelu(c->b, X, slope);
}

TRACE_BUILD(elu)
{
    OUT = ir_elu(c->b, X, c->n[0]);
}

TRACE_BUILD(celu)
{
    OUT = ir_celu(c->b, X, c->n[0]);
}

TRACE_BUILD(selu)
{
    OUT = ir_selu(c->b, X, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946);
}

TRACE_BUILD(gelu)
{
    OUT = c->i[0] ? ir_gelu_tanh(c->b, X) : ir_gelu(c->b, X);
}

TRACE_BUILD(silu)
{
    OUT = ir_swish(c->b, X, 1);
}

TRACE_BUILD(softplus)
{
    double beta = c->n[0], threshold = c->n[1];
    ir_value *x = ir_times(c->b, X, beta), *y = ir_times(c->b, ir_softplus(c->b, x), 1 / beta);
    OUT = ir_select(c->b, compare(c, IR_GT, x, threshold), X, y);
}

TRACE_BUILD(mish)
{
    OUT = ir_mish(c->b, X);
}

TRACE_BUILD(logsigmoid)
{
    OUT = ir_neg(c->b, ir_softplus(c->b, ir_neg(c->b, X)));
}

/* NaN stays. */
static ir_value *shrink(trace_call *c, double lambda, double bias)
{
    ir_value *between = ir_select(c->b, ir_is_nan(c->b, X), X, zero(c));
    return ir_shrink(c->b, X, lambda, bias, between);
}

TRACE_BUILD(hardshrink)
{
    OUT = shrink(c, c->n[0], 0);
}

TRACE_BUILD(softshrink)
{
    OUT = shrink(c, c->n[0], c->n[0]);
}

TRACE_BUILD(tanhshrink)
{
    OUT = ir_sub(c->b, X, ir_tanh(c->b, X));
}

TRACE_BUILD(softsign)
{
    OUT = ir_softsign(c->b, X);
}

TRACE_BUILD(threshold)
{
    OUT = ir_select(c->b, compare(c, IR_LE, X, c->n[0]), ir_like(c->b, X, c->n[1]), X);
}
