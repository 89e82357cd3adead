/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Quantisation. DequantizeLinear of a QuantizeLinear is a straight-through estimator, as
 * torch.fake_quantize_per_tensor_affine is, so that models with quantisation train: gradients pass
 * where nothing was clamped, the ends of the range included; scale and zero point get none. */
#include "frontend/onnx/reader.h"
#include "ir/nn.h"

#include <math.h>

#define BUILD(name) void onnx_build_##name(onnx_node *n)
#define X n->in[0]
#define Y n->in[1]

/* What an integer value was quantised from. */
typedef struct quantised {
    ir_value *x, *scale, *inside; /* inside, bool: not clamped */
    const ir_value *raw_scale;    /* before it was broadcast */
} quantised;

/* Broadcasts a scale or zero point, per tensor or along the axis. */
static ir_value *per_axis(onnx_node *n, ir_value *v)
{
    int64_t axis = onnx_int(n, "axis", 1);
    if (onnx_int(n, "block_size", 0)) {
        onnx_error(n, "blocked quantisation is not supported");
        return NULL;
    }
    if (!v || ir_count(&v->type) == 1)
        return v ? ir_broadcast_to(n->b, ir_reshape(n->b, v, 0, NULL), X->type.rank, X->type.dim)
                 : NULL;
    if (!onnx_axis(n, axis, X->type.rank, &axis))
        return NULL;
    if (v->type.rank != 1 || v->type.dim[0] != X->type.dim[axis]) {
        onnx_error(n,
                   "a scale or zero point is %s, expected one element, or one for each element of "
                   "the axis of %s",
                   ir_type_text(n->r->scratch, &v->type), ir_type_text(n->r->scratch, &X->type));
        return NULL;
    }
    return ir_broadcast(n->b, v, X->type.rank, X->type.dim, &axis);
}

/* Converts v, which holds whole numbers, to the type; values out of range saturate. */
static ir_value *to_integer(onnx_node *n, ir_value *v, ir_dtype to, quantised q)
{
    ir_builder *b = n->b;
    ir_value *r = ir_convert(b, v, to); /* saturates */
    if (!r || !ir_is_int(to))
        return r;
    bool is_signed = ir_is_signed(to);
    int bits = 8 * (int)ir_dtypes[to].bytes - is_signed;
    ir_value *low = ir_like(n->b, v, is_signed ? -ldexp(1, bits) : 0),
             *high = ir_like(n->b, v, ldexp(1, bits) - 1);
    q.inside = ir_and(b, ir_compare(b, IR_GE, v, low), ir_compare(b, IR_LE, v, high));
    base_map_put_ptr(&n->r->quantised, r, base_memdup(n->r->scratch, &q, sizeof q));
    return r;
}

BUILD(quantize)
{
    ir_builder *b = n->b;
    ir_value *zero = n->nin > 2 ? n->in[2] : NULL, *scale = per_axis(n, Y);
    ir_dtype to = zero ? zero->type.dtype : IR_U8;
    if (onnx_int(n, "output_dtype", 0) &&
        !onnx_dtype(n->r, n->loc, (int32_t)onnx_int(n, "output_dtype", 0), &to)) {
        n->failed = true;
        return;
    }
    ir_value *x = scale ? ir_round(b, ir_div(b, ir_convert(b, X, scale->type.dtype), scale)) : NULL;
    if (x && zero)
        x = ir_add(b, x, ir_convert(b, per_axis(n, zero), x->type.dtype));
    n->out[0] =
        x ? to_integer(n, x, to, (quantised){.x = X, .scale = scale, .raw_scale = n->given[1]})
          : NULL;
}

/* (x, inside, y) -> y. */
static ir_func *straight_value(ir_module *m, const ir_type *t, const ir_type *mask)
{
    ir_func *f = ir_func_new(m, "straight_through");
    ir_add_input(f, NULL, t);
    ir_add_input(f, NULL, mask);
    ir_add_output(f, NULL, ir_add_input(f, NULL, t));
    return f;
}

/* (x, inside, y; y; cotangent) -> cotangents: inside ? that of y : 0 for x. */
static ir_func *straight_vjp(ir_module *m, const ir_type *t, const ir_type *mask)
{
    ir_func *f = ir_func_new(m, "straight_through_vjp");
    ir_add_input(f, NULL, t);
    ir_value *inside = ir_add_input(f, NULL, mask);
    ir_add_input(f, NULL, t);
    ir_add_input(f, NULL, t);
    ir_value *g = ir_add_input(f, NULL, t);
    ir_builder b = ir_builder_new(f);
    b.phase = IR_BACKWARD;
    ir_value *zero = ir_zeros_like(&b, g);
    ir_add_output(f, NULL, ir_select(&b, inside, g, zero));
    ir_add_output(f, NULL, inside);
    ir_add_output(f, NULL, zero);
    ir_built(&b);
    return f;
}

/* y, with the derivative of x where `inside`, and 0 elsewhere. */
static ir_value *straight_through(onnx_node *n, ir_value *x, ir_value *inside, ir_value *y)
{
    onnx_reader *r = n->r;
    const char *key = ir_type_text(r->scratch, &y->type);
    ir_attrs *attrs = base_map_get_text(&r->straight, key);
    if (!attrs) {
        attrs = base_new(r->scratch, ir_attrs);
        attrs->call.callee = straight_value(r->m, &y->type, &inside->type);
        attrs->call.vjp = straight_vjp(r->m, &y->type, &inside->type);
        base_map_put_text(&r->straight, key, attrs);
    }
    return ir_build1(n->b, IR_OP_call, (ir_value *[]){x, inside, ir_stop_gradient(n->b, y)}, 3,
                     attrs);
}

BUILD(dequantize)
{
    ir_builder *b = n->b;
    ir_value *scale = per_axis(n, Y), *zero = n->nin > 2 && n->in[2] ? per_axis(n, n->in[2]) : NULL,
             *x = X;
    if (!scale)
        return;
    x = ir_convert(b, x, IR_I64);
    if (zero)
        x = ir_sub(b, x, ir_convert(b, zero, IR_I64));
    ir_value *y = ir_mul(b, ir_convert(b, x, scale->type.dtype), scale);
    const quantised *q = base_map_get_ptr(&n->r->quantised, X);
    if (!q || !y) {
        n->out[0] = y;
        return;
    }
    ir_value *from = ir_convert(b, q->x, y->type.dtype);
    if (q->raw_scale != n->given[1])
        from = ir_mul(
            b, from, ir_stop_gradient(b, ir_div(b, scale, ir_convert(b, q->scale, y->type.dtype))));
    n->out[0] = straight_through(n, from, q->inside, y);
}

/* To u8, with scale and zero point from the range of the values. */
BUILD(dynamic_quantize)
{
    ir_builder *b = n->b;
    int64_t axes[IR_MAX_RANK];
    for (int i = 0; i < X->type.rank; i++)
        axes[i] = i;
    ir_value *zero = ir_scalar(b, X->type.dtype, 0);
    ir_value *low = ir_min(b, ir_reduce(b, IR_MIN, X, X->type.rank, axes), zero);
    ir_value *high = ir_max(b, ir_reduce(b, IR_MAX, X, X->type.rank, axes), zero);
    ir_value *scale = ir_sub(b, high, low);
    scale = ir_div(b, scale, ir_like(n->b, scale, 255));
    /* All zeros: any scale represents them, except 0. */
    scale = ir_select(b, ir_compare(b, IR_EQ, scale, zero), ir_scalar(b, X->type.dtype, 1), scale);
    /* saturates */
    ir_value *point = ir_convert(b, ir_round(b, ir_neg(b, ir_div(b, low, scale))), IR_U8);
    if (!point)
        return;
    ir_value *wide = ir_broadcast_to(b, scale, X->type.rank, X->type.dim),
             *q = ir_round(b, ir_div(b, X, wide));
    q = ir_add(b, q,
               ir_broadcast_to(b, ir_convert(b, point, X->type.dtype), X->type.rank, X->type.dim));
    n->out[0] = to_integer(n, q, IR_U8, (quantised){.x = X, .scale = wide, .raw_scale = scale});
    n->out[1] = scale;
    n->out[2] = point;
}

/* ---- Products of bytes ---- */

/* The zero point of v, operand i of a matrix product, in i32 and with v's rank: one number, one for
 * each row of the left operand or column of the right one, or a tensor with extent 1 along what is
 * summed. NULL: there is none, or (reported) it does not fit. */
static ir_value *zero_of(onnx_node *n, int i, const ir_value *v)
{
    ir_value *zero = n->nin > i + 2 ? n->in[i + 2] : NULL;
    if (!zero)
        return NULL;
    int rank = v->type.rank, each = rank - 2 + i, summed = rank - 1 - i;
    int64_t shape[IR_MAX_RANK];
    for (int k = 0; k < rank; k++)
        shape[k] = zero->type.rank == rank ? zero->type.dim[k] : 1;
    if (zero->type.rank == 1)
        shape[each] = zero->type.dim[0];
    bool fits = zero->type.dtype == v->type.dtype && shape[summed] == 1 &&
                (zero->type.rank <= 1 || zero->type.rank == rank);
    for (int k = 0; k < rank; k++)
        fits &= shape[k] == 1 || shape[k] == v->type.dim[k];
    if (!fits) {
        onnx_error(n, "a zero point is %s, which does not fit %s", onnx_type_text(n, zero),
                   onnx_type_text(n, v));
        return NULL;
    }
    return ir_convert(n->b, ir_reshape(n->b, zero, rank, shape), IR_I32);
}

/* r - x y, broadcast */
static ir_value *less_product(ir_builder *b, ir_value *r, ir_value *x, ir_value *y)
{
    return ir_sub(b, r, ir_mul(b, ir_broadcast_like(b, x, r), ir_broadcast_like(b, y, r)));
}

/* Sums of k bytes, as a product with ones: of the rows of x, or of the columns. */
static ir_value *sums(ir_builder *b, ir_value *x, int64_t k, bool columns)
{
    ir_type t = ir_type_of(IR_I8, 2, columns ? (int64_t[]){1, k} : (int64_t[]){k, 1});
    ir_value *ones = ir_splat(b, &t, 1);
    return columns ? ir_matmul_in(b, IR_I32, ones, x) : ir_matmul_in(b, IR_I32, x, ones);
}

/* Σ (x - p)(y - q) = Σ x y - p (Σ y - k q) - q Σ x: all sums are of bytes, and Σ y of weights is
 * constant. */
BUILD(matmul_integer)
{
    ir_builder *b = n->b;
    ir_value *m[2], *zero[2];
    int64_t added[2];
    int nadded = 0;
    for (int i = 0; i < 2; i++) {
        ir_value *v = n->in[i];
        if ((v->type.dtype != IR_I8 && v->type.dtype != IR_U8) || v->type.rank == 0) {
            onnx_error(n, "expected matrices of i8 or u8, got %s", onnx_type_text(n, v));
            return;
        }
        int64_t k = v->type.dim[0]; /* a vector is one row, or one column */
        m[i] =
            v->type.rank > 1 ? v : ir_reshape(b, v, 2, i ? (int64_t[]){k, 1} : (int64_t[]){1, k});
        zero[i] = zero_of(n, i, m[i]);
    }
    ir_value *r = ir_matmul_in(b, IR_I32, m[0], m[1]);
    if (!r || n->failed)
        return;
    int64_t k = m[0]->type.dim[m[0]->type.rank - 1];
    if (zero[0]) {
        ir_value *y = sums(b, m[1], k, true);
        if (zero[1])
            y = ir_sub(b, y, ir_broadcast_like(b, ir_times(b, zero[1], (double)k), y));
        r = less_product(b, r, zero[0], y);
    }
    if (zero[1])
        r = less_product(b, r, sums(b, m[0], k, false), zero[1]);
    for (int i = 0; i < 2; i++)
        if (n->in[i]->type.rank == 1)
            added[nadded++] = r->type.rank - 2 + i;
    n->out[0] = ir_squeeze(b, r, nadded, added);
}
