/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reductions, softmax, cumulative sums, top-k. */
#include "frontend/onnx/reader.h"
#include "ir/nn.h"

#include <math.h>

#define BUILD(name) void onnx_build_##name(onnx_node *n)
#define X n->in[0]

/* A reduction of x over k axes, which stay with extent 1. */
typedef ir_value *reduction(ir_builder *b, ir_value *x, int k, const int64_t *axes);

/* Reduces over the node's axes, attribute or operand. An empty list means all, or none with
 * noop_with_empty_axes. */
static void reduce(onnx_node *n, reduction *rule)
{
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
    ir_value *y = rule(n->b, X, k, axes);
    n->out[0] = keep ? y : ir_squeeze(n->b, y, k, axes);
}

/* BUILD(reduce_NAME) of an expression in b, x, k and axes. */
#define REDUCTION(name, expression)                                               \
    static ir_value *name(ir_builder *b, ir_value *x, int k, const int64_t *axes) \
    {                                                                             \
        return expression;                                                        \
    }                                                                             \
    BUILD(reduce_##name)                                                          \
    {                                                                             \
        reduce(n, name);                                                          \
    }
#define COMBINED(combine, x) ir_reduce_keep(b, combine, x, k, axes)
REDUCTION(sum, COMBINED(IR_SUM, x))
REDUCTION(mean, ir_mean(b, x, k, axes, true))
REDUCTION(prod, COMBINED(IR_PROD, x))
REDUCTION(max, COMBINED(x->type.dtype == IR_BOOL ? IR_OR : IR_MAX, x))
REDUCTION(min, COMBINED(x->type.dtype == IR_BOOL ? IR_AND : IR_MIN, x))
REDUCTION(l1, ir_vector_norm(b, x, 1, k, axes, true))
REDUCTION(l2, ir_vector_norm(b, x, 2, k, axes, true))
REDUCTION(sum_square, COMBINED(IR_SUM, ir_mul(b, x, x)))
REDUCTION(log_sum, ir_log(b, COMBINED(IR_SUM, x)))
REDUCTION(log_sum_exp, ir_logsumexp(b, x, k, axes, true))

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

/* 1 at the first maximum, 0 elsewhere. */
static ir_value *hardmax(ir_builder *b, ir_value *x, int64_t axis)
{
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

/* Applies the rule along the axis; before opset 13 the dimensions from it on are flattened. */
static void along_axis(onnx_node *n, ir_value *rule(ir_builder *b, ir_value *x, int64_t axis))
{
    bool flat = n->opset < 13;
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
    x = x ? rule(n->b, x, axis) : NULL;
    n->out[0] = x ? ir_reshape(n->b, x, X->type.rank, X->type.dim) : NULL;
}

BUILD(softmax)
{
    along_axis(n, ir_softmax);
}

BUILD(log_softmax)
{
    along_axis(n, ir_log_softmax);
}

BUILD(hardmax)
{
    along_axis(n, hardmax);
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

/* Before opset 10 k is an attribute. */
BUILD(top_k)
{
    int64_t axis, k = onnx_int(n, "k", 0);
    bool largest = onnx_int(n, "largest", 1) != 0;
    if (!onnx_axis(n, onnx_int(n, "axis", -1), X->type.rank, &axis) ||
        (n->opset >= 10 && !onnx_const_int(n, 1, "k", &k)))
        return;
    if (k < 0 || k > X->type.dim[axis]) {
        onnx_error(n, "k is %lld, expected 0 to %lld", (long long)k, (long long)X->type.dim[axis]);
        return;
    }
    ir_inst *sorted = ir_sort_positions(n->b, X, (int)axis, largest);
    for (int i = 0; i < 2 && sorted; i++)
        n->out[i] = ir_slice_axis(n->b, sorted->result[i], (int)axis, 0, k);
}
