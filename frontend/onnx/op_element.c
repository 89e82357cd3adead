/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Elementwise operators. */
#include "frontend/onnx/reader.h"
#include "ir/nn.h"

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
    n->out[0] = ir_div(n->b, ir_like(n->b, X, 1), X);
}

BUILD(is_inf)
{
    ir_value *up = ir_compare(n->b, IR_EQ, X, ir_like(n->b, X, INFINITY)),
             *down = ir_compare(n->b, IR_EQ, X, ir_like(n->b, X, -INFINITY));
    bool want_up = onnx_int(n, "detect_positive", 1) != 0,
         want_down = onnx_int(n, "detect_negative", 1) != 0;
    n->out[0] = want_up && want_down ? ir_or(n->b, up, down)
                : want_up            ? up
                : want_down          ? down
                                     : ir_xor(n->b, up, up);
}

/* ---- Activations ---- */

BUILD(relu)
{
    n->out[0] = ir_relu(n->b, X);
}

BUILD(leaky_relu)
{
    n->out[0] = ir_leaky_relu(n->b, X, onnx_float(n, "alpha", 0.01));
}

BUILD(elu)
{
    n->out[0] = ir_elu(n->b, X, onnx_float(n, "alpha", 1));
}

BUILD(selu)
{
    n->out[0] = ir_selu(n->b, X, onnx_float(n, "alpha", 1.67326319217681884765625),
                        onnx_float(n, "gamma", 1.05070102214813232421875));
}

BUILD(celu)
{
    n->out[0] = ir_celu(n->b, X, onnx_float(n, "alpha", 1));
}

BUILD(thresholded_relu)
{
    ir_value *above = ir_compare(n->b, IR_GT, X, ir_like(n->b, X, onnx_float(n, "alpha", 1)));
    n->out[0] = ir_select(n->b, above, X, ir_like(n->b, X, 0));
}

BUILD(hard_sigmoid)
{
    n->out[0] = ir_hard_sigmoid(n->b, X, onnx_float(n, "alpha", 0.2), onnx_float(n, "beta", 0.5));
}

BUILD(hard_swish)
{
    n->out[0] = ir_hard_swish(n->b, X);
}

BUILD(softplus)
{
    n->out[0] = ir_softplus(n->b, X);
}

BUILD(softsign)
{
    n->out[0] = ir_softsign(n->b, X);
}

BUILD(mish)
{
    n->out[0] = ir_mish(n->b, X);
}

BUILD(gelu)
{
    static const char *const ways[] = {"none", "tanh", NULL};
    bool by_tanh = onnx_choice(n, "approximate", "none", ways) == 1;
    n->out[0] = by_tanh ? ir_gelu_tanh(n->b, X) : ir_gelu(n->b, X);
}

BUILD(swish)
{
    n->out[0] = ir_swish(n->b, X, onnx_float(n, "alpha", 1));
}

/* Integers are computed in f64, since the bounds and the bias may be fractions. */
BUILD(shrink)
{
    ir_dtype t = X->type.dtype;
    ir_value *x = ir_is_float(t) ? X : ir_convert(n->b, X, IR_F64);
    x = ir_shrink(n->b, x, onnx_float(n, "lambd", 0.5), onnx_float(n, "bias", 0),
                  ir_like(n->b, x, 0));
    n->out[0] = ir_convert(n->b, x, t);
}

BUILD(prelu)
{
    n->out[0] = ir_prelu(n->b, X, ir_broadcast_like(n->b, ir_convert(n->b, Y, X->type.dtype), X));
}

/* Before opset 11 the bounds are attributes. */
BUILD(clip_6)
{
    ir_value *low = onnx_has(n, "min") ? ir_like(n->b, X, onnx_float(n, "min", 0)) : NULL,
             *high = onnx_has(n, "max") ? ir_like(n->b, X, onnx_float(n, "max", 0)) : NULL;
    n->out[0] = ir_hardtanh(n->b, X, low, high);
}

BUILD(clip)
{
    ir_value *bound[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        ir_value *v = i + 1 < n->nin ? n->in[i + 1] : NULL;
        if (!v)
            continue;
        if (ir_count(&v->type) != 1 || v->type.dtype != X->type.dtype) {
            onnx_error(n, "bound '%s' is %s, expected one %s", i ? "max" : "min",
                       onnx_type_text(n, v), ir_dtypes[X->type.dtype].name);
            return;
        }
        bound[i] = ir_broadcast_like(n->b, ir_reshape(n->b, v, 0, NULL), X);
    }
    n->out[0] = ir_hardtanh(n->b, X, bound[0], bound[1]);
}

/* ---- Two operands and more ---- */

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

/* The result has the sign of y, unless fmod. */
BUILD(mod)
{
    ir_value *x, *y;
    if (both(n, &x, &y))
        n->out[0] = onnx_int(n, "fmod", 0) ? ir_rem(n->b, x, y) : ir_modulo(n->b, x, y);
}

static ir_value *fold_operands(onnx_node *n, ir_op op)
{
    ir_value *all = X;
    for (int i = 1; i < n->nin; i++) {
        ir_value *y = n->in[i];
        if (!y || !ir_broadcast_both(n->b, &all, &y))
            return NULL;
        all = ir_binary(n->b, op, all, y);
    }
    return all;
}

BUILD(variadic)
{
    n->out[0] = fold_operands(n, (ir_op)n->op->extra);
}

BUILD(mean)
{
    ir_value *sum = fold_operands(n, IR_OP_add);
    n->out[0] = sum ? ir_div(n->b, sum, ir_like(n->b, sum, n->nin)) : NULL;
}

BUILD(where)
{
    ir_value *c = X, *x = Y, *y = n->in[2];
    if (!ir_broadcast_both(n->b, &x, &y) || !ir_broadcast_both(n->b, &c, &x))
        return;
    y = ir_broadcast_to(n->b, y, x->type.rank, x->type.dim);
    n->out[0] = ir_select(n->b, c, x, y);
}

/* A cast to the same type is the value itself, and keeps its derivative. */
BUILD(cast)
{
    ir_dtype to;
    if (onnx_dtype(n->r, n->loc, (int32_t)onnx_int(n, "to", 0), &to))
        n->out[0] = ir_convert(n->b, X, to);
    else
        n->failed = true;
}

BUILD(cast_like)
{
    n->out[0] = ir_convert(n->b, X, Y->type.dtype);
}

BUILD(bit_cast)
{
    ir_dtype to;
    if (!onnx_dtype(n->r, n->loc, (int32_t)onnx_int(n, "to", 0), &to))
        n->failed = true;
    else if (to == X->type.dtype)
        n->out[0] = X;
    else
        n->out[0] = ir_build1(n->b, IR_OP_bitcast, &X, 1, &(ir_attrs){.bitcast.to = to});
}
