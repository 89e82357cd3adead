/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reductions, softmax, running sums, order. */
#include "frontend/onnx/reader.h"

#include <math.h>

#define BUILD(name) void onnx_build_##name(onnx_node *n)
#define X n->in[0]

static ir_value *log_sum_exp(onnx_node *n, ir_value *x, int k, const int64_t *axes)
{
    ir_builder *b = n->b;
    ir_value *m = ir_stop_gradient(b, ir_reduce_keep(b, IR_MAX, x, k, axes));
    if (!m)
        return NULL;
    ir_value *zero = onnx_like(n, m, 0),
             *finite = ir_compare(b, IR_LT, ir_abs(b, m), onnx_like(n, m, INFINITY));
    m = ir_select(b, finite, m, zero);
    ir_value *d = ir_sub(b, x, ir_broadcast_to(b, m, x->type.rank, x->type.dim));
    return ir_add(b, ir_log(b, ir_reduce_keep(b, IR_SUM, ir_exp(b, d), k, axes)), m);
}

BUILD(reduce)
{
    ir_builder *b = n->b;
    ir_ints raw;
    bool given;
    int64_t axes[IR_MAX_RANK];
    int k;
    if (!onnx_axes_from(n, "axes", 1, &raw, &given) || !onnx_axes(n, raw, X->type.rank, axes, &k))
        return;
    bool keep = onnx_int(n, "keepdims", 1) != 0, none = onnx_int(n, "noop_with_empty_axes", 0) != 0;
    if (!raw.n) {
        k = none ? 0 : X->type.rank;
        for (int i = 0; i < k; i++)
            axes[i] = i;
    }
    ir_value *x = X, *y = NULL;
    switch (n->op->extra) {
    case 0: y = ir_reduce_keep(b, IR_SUM, x, k, axes); break;
    case 1: y = ir_mean(b, x, k, axes, true); break;
    case 2: y = ir_reduce_keep(b, IR_PROD, x, k, axes); break;
    case 3: y = ir_reduce_keep(b, x->type.dtype == IR_BOOL ? IR_OR : IR_MAX, x, k, axes); break;
    case 4: y = ir_reduce_keep(b, x->type.dtype == IR_BOOL ? IR_AND : IR_MIN, x, k, axes); break;
    case 5: y = ir_reduce_keep(b, IR_SUM, ir_abs(b, x), k, axes); break;
    case 6: y = ir_root(b, ir_reduce_keep(b, IR_SUM, ir_mul(b, x, x), k, axes), 2); break;
    case 7: y = ir_reduce_keep(b, IR_SUM, ir_mul(b, x, x), k, axes); break;
    case 8: y = ir_log(b, ir_reduce_keep(b, IR_SUM, x, k, axes)); break;
    default: y = log_sum_exp(n, x, k, axes);
    }
    if (!y || keep) {
        n->out[0] = y;
        return;
    }
    int64_t shape[IR_MAX_RANK];
    int rank = 0;
    for (int i = 0, j = 0; i < x->type.rank; i++)
        if (j < k && axes[j] == i)
            j++;
        else
            shape[rank++] = x->type.dim[i];
    n->out[0] = ir_reshape(b, y, rank, shape);
}

BUILD(arg_reduce)
{
    int64_t axis;
    if (!onnx_axis(n, onnx_int(n, "axis", 0), X->type.rank, &axis))
        return;
    bool keep = onnx_int(n, "keepdims", 1) != 0;
    ir_inst *inst =
        ir_build(n->b, IR_OP_arg_reduce, &X, 1,
                 &(ir_attrs){.arg_reduce = {.combine = (ir_combine)n->op->extra,
                                            .axis = axis,
                                            .last = onnx_int(n, "select_last_index", 0) != 0}});
    if (!inst)
        return;
    ir_type t = X->type;
    t.dim[axis] = 1;
    n->out[0] = keep ? ir_reshape(n->b, inst->result[1], t.rank, t.dim) : inst->result[1];
}

static ir_value *hardmax(onnx_node *n, ir_value *x, int64_t axis)
{
    ir_builder *b = n->b;
    ir_inst *inst = ir_build(b, IR_OP_arg_reduce, &x, 1,
                             &(ir_attrs){.arg_reduce = {.combine = IR_MAX, .axis = axis}});
    if (!inst)
        return NULL;
    ir_type t = x->type;
    t.dim[axis] = 1;
    ir_value *at = ir_broadcast_to(b, ir_reshape(b, inst->result[1], t.rank, t.dim), x->type.rank,
                                   x->type.dim);
    return ir_convert(
        b, ir_compare(b, IR_EQ, at, ir_iota(b, IR_I64, x->type.rank, x->type.dim, (int)axis)),
        x->type.dtype);
}

/* extra: 0 softmax, 1 log, 2 hard; +4: before opset 13, where all dimensions from the axis on are
 * one. */
BUILD(softmax)
{
    bool flat = n->op->extra & 4;
    int way = n->op->extra & 3;
    int64_t axis = onnx_int(n, "axis", flat ? 1 : -1);
    ir_value *x = X;
    if (!(flat && axis == x->type.rank) && !onnx_axis(n, axis, x->type.rank, &axis))
        return;
    if (flat) {
        int64_t rows = 1, columns = 1;
        for (int i = 0; i < x->type.rank; i++)
            *(i < axis ? &rows : &columns) *= x->type.dim[i];
        x = ir_reshape(n->b, x, 2, (int64_t[]){rows, columns});
        axis = 1;
    }
    x = !x ? NULL : way == 2 ? hardmax(n, x, axis) : ir_softmax(n->b, x, axis, way == 1);
    n->out[0] = x ? ir_reshape(n->b, x, X->type.rank, X->type.dim) : NULL;
}

BUILD(cumulative)
{
    int64_t axis;
    if (!onnx_const_int(n, 1, "axis", &axis) || !onnx_axis(n, axis, X->type.rank, &axis))
        return;
    n->out[0] =
        ir_build1(n->b, IR_OP_cumulative, &X, 1,
                  &(ir_attrs){.cumulative = {.combine = (ir_combine)n->op->extra,
                                             .axis = axis,
                                             .reverse = onnx_int(n, "reverse", 0) != 0,
                                             .exclusive = onnx_int(n, "exclusive", 0) != 0}});
}

BUILD(top_k)
{
    int64_t axis, k = onnx_int(n, "k", 0);
    bool largest = onnx_int(n, "largest", 1) != 0;
    if (!onnx_axis(n, onnx_int(n, "axis", -1), X->type.rank, &axis) ||
        (n->op->extra && !onnx_const_int(n, 1, "k", &k)))
        return;
    if (k < 0 || k > X->type.dim[axis]) {
        onnx_error(n, "k is %lld for a dimension of %lld", (long long)k,
                   (long long)X->type.dim[axis]);
        return;
    }
    ir_value *at = ir_iota(n->b, IR_I64, X->type.rank, X->type.dim, (int)axis);
    ir_inst *inst = ir_build(n->b, IR_OP_sort, (ir_value *[]){X, at}, 2,
                             &(ir_attrs){.sort = {.axis = axis, .descending = largest}});
    if (!inst)
        return;
    n->out[0] = ir_slice_axis(n->b, inst->result[0], (int)axis, 0, k);
    n->out[1] = ir_slice_axis(n->b, inst->result[1], (int)axis, 0, k);
}
