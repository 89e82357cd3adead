/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Elementwise operators. */
#include "frontend/onnx/reader.h"

#include <math.h>

#define BUILD(name) void onnx_build_##name(onnx_node *n)
#define X n->in[0]
#define Y n->in[1]

BUILD(unary)
{
    n->out[0] = ir_unary(n->b, (ir_op)n->op->extra, X);
}

BUILD(identity)
{
    if (n->entry[0] && n->entry[0]->sequence)
        n->out_entry[0] = *n->entry[0];
    else
        n->out[0] = X;
}

BUILD(reciprocal)
{
    n->out[0] = ir_div(n->b, onnx_like(n, X, 1), X);
}

BUILD(is_inf)
{
    ir_value *up = ir_compare(n->b, IR_EQ, X, onnx_like(n, X, INFINITY)),
             *down = ir_compare(n->b, IR_EQ, X, onnx_like(n, X, -INFINITY));
    bool want_up = onnx_int(n, "detect_positive", 1) != 0,
         want_down = onnx_int(n, "detect_negative", 1) != 0;
    n->out[0] = want_up && want_down ? ir_or(n->b, up, down)
                : want_up            ? up
                : want_down          ? down
                                     : ir_xor(n->b, up, up);
}

/* x below zero or above, each with a formula; at 0 the formula for what is not above is used, as
 * torch's derivatives do. */
static ir_value *pick(onnx_node *n, ir_value *x, ir_value *below, ir_value *above)
{
    return ir_select(n->b, ir_compare(n->b, IR_LE, x, onnx_like(n, x, 0)), below, above);
}

static ir_value *times(onnx_node *n, ir_value *x, double a)
{
    return a == 1 ? x : ir_mul(n->b, x, onnx_like(n, x, a));
}

static ir_value *plus(onnx_node *n, ir_value *x, double a)
{
    return ir_add(n->b, x, onnx_like(n, x, a));
}

/* At a bound the derivative is that of the bound, zero, as torch has it of ReLU6 and the like. */
static ir_value *clamp(onnx_node *n, ir_value *x, ir_value *low, ir_value *high)
{
    ir_builder *b = n->b;
    if (low)
        x = ir_select(b, ir_compare(b, IR_LE, x, low), low, x);
    if (high)
        x = ir_select(b, ir_compare(b, IR_GE, x, high), high, x);
    return x;
}

static ir_value *gelu(onnx_node *n, ir_value *x)
{
    static const char *const ways[] = {"none", "tanh", NULL};
    ir_builder *b = n->b;
    int way = onnx_choice(n, "approximate", "none", ways);
    ir_value *inner;
    if (way == 1) {
        ir_value *cube = ir_mul(b, x, ir_mul(b, x, x));
        inner = ir_tanh(b, times(n, ir_add(b, x, times(n, cube, 0.044715)), 0.7978845608028654));
    } else {
        inner = ir_erf(b, times(n, x, 0.7071067811865476));
    }
    return ir_mul(b, times(n, x, 0.5), plus(n, inner, 1));
}

static ir_value *elu(onnx_node *n, ir_value *x, double alpha, double scale, double inside)
{
    /* No overflow in the branch not taken. */
    ir_value *zero = onnx_like(n, x, 0),
             *low = ir_select(n->b, ir_compare(n->b, IR_GT, x, zero), zero, x);
    return pick(n, x, times(n, ir_expm1(n->b, times(n, low, inside)), alpha), times(n, x, scale));
}

/* Bounds and bias are fractions for integers too. */
static ir_value *shrink(onnx_node *n, ir_value *x)
{
    ir_builder *b = n->b;
    ir_dtype t = x->type.dtype;
    double bias = onnx_float(n, "bias", 0), lambda = onnx_float(n, "lambd", 0.5);
    x = ir_is_float(t) ? x : ir_convert(b, x, IR_F64);
    ir_value *above = ir_compare(b, IR_GT, x, onnx_like(n, x, lambda)),
             *below = ir_compare(b, IR_LT, x, onnx_like(n, x, -lambda));
    return ir_convert(b,
                      ir_select(b, below, plus(n, x, bias),
                                ir_select(b, above, plus(n, x, -bias), onnx_like(n, x, 0))),
                      t);
}

BUILD(activation)
{
    ir_builder *b = n->b;
    ir_value *zero = onnx_like(n, X, 0), *y = NULL;
    double alpha;
    switch (n->op->extra) {
    case 0: y = pick(n, X, zero, X); break;
    case 1: y = pick(n, X, times(n, X, onnx_float(n, "alpha", 0.01)), X); break;
    case 2: y = elu(n, X, onnx_float(n, "alpha", 1), 1, 1); break;
    case 3:
        alpha = onnx_float(n, "gamma", 1.05070102214813232421875);
        y = elu(n, X, alpha * onnx_float(n, "alpha", 1.67326319217681884765625), alpha, 1);
        break;
    case 4:
        alpha = onnx_float(n, "alpha", 1);
        y = elu(n, X, alpha, 1, 1 / alpha);
        break;
    case 5:
        y = ir_select(b, ir_compare(b, IR_GT, X, onnx_like(n, X, onnx_float(n, "alpha", 1))), X,
                      zero);
        break;
    case 6:
        y = clamp(n, plus(n, times(n, X, onnx_float(n, "alpha", 0.2)), onnx_float(n, "beta", 0.5)),
                  zero, onnx_like(n, X, 1));
        break;
    case 7:
        y = ir_mul(b, X, clamp(n, plus(n, times(n, X, 1.0 / 6), 0.5), zero, onnx_like(n, X, 1)));
        break;
    case 8: y = ir_softplus(b, X); break;
    case 9: y = ir_div(b, X, plus(n, ir_abs(b, X), 1)); break;
    case 10: y = ir_mul(b, X, ir_tanh(b, ir_softplus(b, X))); break;
    case 11: y = gelu(n, X); break;
    case 12: y = ir_mul(b, X, ir_logistic(b, times(n, X, onnx_float(n, "alpha", 1)))); break;
    default: y = shrink(n, X); break;
    }
    n->out[0] = y;
}

BUILD(prelu)
{
    ir_value *slope =
        ir_broadcast_to(n->b, ir_convert(n->b, Y, X->type.dtype), X->type.rank, X->type.dim);
    /* The slope's derivative is 0 above zero, at infinity too. */
    ir_value *low = pick(n, X, X, onnx_like(n, X, 0));
    n->out[0] = pick(n, X, ir_mul(n->b, low, slope), X);
}

BUILD(clip)
{
    ir_value *bound[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "max" : "min";
        if (!n->op->extra && onnx_has(n, name))
            bound[i] = onnx_like(n, X, onnx_float(n, name, 0));
        else if (n->op->extra && i + 1 < n->nin && n->in[i + 1]) {
            if (ir_count(&n->in[i + 1]->type) != 1 || n->in[i + 1]->type.dtype != X->type.dtype) {
                onnx_error(n, "the bound '%s' is %s, one %s is due", name,
                           onnx_type_text(n, n->in[i + 1]), ir_dtypes[X->type.dtype].name);
                return;
            }
            bound[i] = ir_broadcast_to(n->b, ir_reshape(n->b, n->in[i + 1], 0, NULL), X->type.rank,
                                       X->type.dim);
        }
    }
    n->out[0] = clamp(n, X, bound[0], bound[1]);
}

static bool both(onnx_node *n, ir_value **x, ir_value **y)
{
    *x = X;
    *y = Y;
    return ir_broadcast_both(n->b, x, y);
}

BUILD(binary)
{
    ir_value *x, *y;
    if (both(n, &x, &y))
        n->out[0] = ir_binary(n->b, (ir_op)n->op->extra, x, y);
}

BUILD(compare)
{
    ir_value *x, *y;
    if (both(n, &x, &y))
        n->out[0] = ir_compare(n->b, (ir_relation)n->op->extra, x, y);
}

BUILD(bit_shift)
{
    static const char *const ways[] = {"LEFT", "RIGHT", NULL};
    int way = onnx_choice(n, "direction", "", ways);
    ir_value *x, *y;
    if (way >= 0 && both(n, &x, &y))
        n->out[0] = ir_binary(n->b, way ? IR_OP_shr : IR_OP_shl, x, y);
}

BUILD(pow)
{
    ir_value *x, *y;
    ir_dtype t = X->type.dtype;
    if (!both(n, &x, &y))
        return;
    if (ir_is_float(y->type.dtype) && !ir_is_float(t))
        n->out[0] = ir_convert(
            n->b, ir_pow(n->b, ir_convert(n->b, x, IR_F64), ir_convert(n->b, y, IR_F64)), t);
    else
        n->out[0] = ir_pow(n->b, x, ir_convert(n->b, y, t));
}

/* The sign of y unless fmod. */
BUILD(mod)
{
    ir_value *x, *y;
    ir_builder *b = n->b;
    bool fmod = onnx_int(n, "fmod", 0) != 0;
    if (!both(n, &x, &y))
        return;
    ir_value *r = ir_rem(b, x, y);
    if (!fmod && r && ir_is_signed(r->type.dtype)) {
        ir_value *zero = onnx_like(n, r, 0);
        ir_value *differ = ir_xor(b, ir_compare(b, IR_LT, r, zero), ir_compare(b, IR_LT, y, zero));
        r = ir_select(b, ir_and(b, differ, ir_compare(b, IR_NE, r, zero)), ir_add(b, r, y), r);
    }
    n->out[0] = r;
}

BUILD(variadic)
{
    ir_value *sum = X;
    ir_op op = n->op->extra < 0 ? IR_OP_add : (ir_op)n->op->extra;
    for (int i = 1; i < n->nin; i++) {
        ir_value *y = n->in[i];
        if (!y || !ir_broadcast_both(n->b, &sum, &y))
            return;
        sum = ir_binary(n->b, op, sum, y);
    }
    n->out[0] = n->op->extra < 0 && sum ? ir_div(n->b, sum, onnx_like(n, sum, n->nin)) : sum;
}

BUILD(where)
{
    ir_value *c = X, *x = Y, *y = n->in[2];
    if (!ir_broadcast_both(n->b, &x, &y) || !ir_broadcast_both(n->b, &c, &x))
        return;
    y = ir_broadcast_to(n->b, y, x->type.rank, x->type.dim);
    n->out[0] = ir_select(n->b, c, x, y);
}

BUILD(cast)
{
    ir_dtype to;
    if (n->op->extra == 1)
        to = Y->type.dtype;
    else if (!onnx_dtype(n->r, n->loc, (int32_t)onnx_int(n, "to", 0), &to)) {
        n->failed = true;
        return;
    }
    /* To the same type it is the value, with its derivative. */
    if (n->op->extra == 2 && to != X->type.dtype)
        n->out[0] = ir_build1(n->b, IR_OP_bitcast, &X, 1, &(ir_attrs){.bitcast.to = to});
    else
        n->out[0] = ir_convert(n->b, X, to);
}
