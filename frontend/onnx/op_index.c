/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Gathers and scatters. ONNX counts negative indices from the end. */
#include "frontend/onnx/reader.h"

#define BUILD(name) void onnx_build_##name(onnx_node *n)
#define X n->in[0]
#define Y n->in[1]

/* Adds the extent to negative index components; extent[k] is that of the dimension which component
 * k indexes. */
static ir_value *wrap(onnx_node *n, ir_value *index, int count, const int64_t *extent)
{
    ir_builder *b = n->b;
    if (!index)
        return NULL;
    ir_dtype t = index->type.dtype;
    if (!ir_is_int(t)) {
        onnx_error(n, "expected integer indices, got %s", onnx_type_text(n, index));
        return NULL;
    }
    if (!ir_is_signed(t))
        return index;
    ir_literal *known = onnx_peek(n->r, index);
    bool negative = !known || ir_count(&known->type) > 4096;
    for (int64_t i = 0; !negative && i < ir_count(&known->type); i++)
        negative = ir_literal_get_int(known, i) < 0;
    if (!negative)
        return index;
    ir_value *size =
        ir_constant(b, onnx_ints_literal(n->r->arena, t, 1, (int64_t[]){count}, extent));
    size = ir_broadcast_to(b, size, index->type.rank, index->type.dim);
    return ir_select(b, ir_compare(b, IR_LT, index, ir_like(n->b, index, 0)),
                     ir_add(b, index, size), index);
}

/* x with a unit dimension at the end. */
static ir_value *columns(onnx_node *n, ir_value *x)
{
    if (!x)
        return NULL;
    ir_type t = x->type;
    if (t.rank == IR_MAX_RANK) {
        onnx_error(n, "indices of rank 16 are not supported");
        return NULL;
    }
    t.dim[t.rank] = 1;
    return ir_reshape(n->b, x, t.rank + 1, t.dim);
}

BUILD(gather)
{
    int64_t axis, perm[IR_MAX_RANK];
    if (!onnx_axis(n, onnx_int(n, "axis", 0), X->type.rank, &axis))
        return;
    ir_value *index = wrap(n, columns(n, Y), 1, &X->type.dim[axis]),
             *y = index ? ir_gather(n->b, X, index, 1, &axis, 0) : NULL;
    int many = Y->type.rank;
    /* [index…, before axis…, behind…] to [before…, index…, behind…] */
    for (int i = 0; y && i < y->type.rank; i++)
        perm[i] = i < axis ? many + i : i < axis + many ? i - axis : i;
    n->out[0] = ir_transpose(n->b, y, perm);
}

/* Slices x to the extents of the index in all dimensions but the axis. */
static ir_value *cut(onnx_node *n, ir_value *x, const ir_type *index, int axis)
{
    int64_t from[IR_MAX_RANK] = {0}, to[IR_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) {
        to[i] = i == axis ? x->type.dim[i] : index->dim[i];
        if (to[i] > x->type.dim[i]) {
            onnx_error(n, "indices %s do not fit data %s", ir_type_text(n->r->scratch, index),
                       onnx_type_text(n, x));
            return NULL;
        }
    }
    return ir_slice(n->b, x, from, to, NULL);
}

BUILD(gather_elements)
{
    int64_t axis;
    if (!onnx_axis(n, onnx_int(n, "axis", 0), X->type.rank, &axis))
        return;
    if (Y->type.rank != X->type.rank) {
        onnx_error(n, "indices %s do not fit data %s", onnx_type_text(n, Y), onnx_type_text(n, X));
        return;
    }
    int last = X->type.rank - 1;
    int64_t at = last;
    ir_value *x = cut(n, X, &Y->type, (int)axis), *index = ir_move_axis(n->b, Y, (int)axis, last);
    x = x ? ir_move_axis(n->b, x, (int)axis, last) : NULL;
    index = x && index ? wrap(n, columns(n, index), 1, &X->type.dim[axis]) : NULL;
    n->out[0] =
        index ? ir_move_axis(n->b, ir_gather(n->b, x, index, 1, &at, last), last, (int)axis) : NULL;
}

BUILD(gather_nd)
{
    int64_t batch = onnx_int(n, "batch_dims", 0), dims[IR_MAX_RANK],
            count = Y->type.rank ? Y->type.dim[Y->type.rank - 1] : 0;
    if (batch < 0 || Y->type.rank < 1 || count > X->type.rank - batch || batch >= Y->type.rank) {
        onnx_error(n, "indices %s do not fit data %s", onnx_type_text(n, Y), onnx_type_text(n, X));
        return;
    }
    for (int i = 0; i < count; i++)
        dims[i] = batch + i;
    n->out[0] = ir_gather(n->b, X, wrap(n, Y, (int)count, X->type.dim + batch), (int)count, dims,
                          (int)batch);
}

static const char *const ways[] = {"none", "add", "mul", "max", "min", NULL};
static const ir_combine combines[] = {IR_SET, IR_SUM, IR_PROD, IR_MAX, IR_MIN};

BUILD(scatter_elements)
{
    int way = onnx_choice(n, "reduction", "none", ways), rank = X->type.rank;
    int64_t axis, dims[IR_MAX_RANK];
    ir_value *part[IR_MAX_RANK];
    if (way < 0 || !onnx_axis(n, onnx_int(n, "axis", 0), rank, &axis))
        return;
    if (Y->type.rank != rank || !cut(n, X, &Y->type, (int)axis)) {
        onnx_error(n, "indices %s do not fit data %s", onnx_type_text(n, Y), onnx_type_text(n, X));
        return;
    }
    for (int i = 0; i < rank; i++) {
        dims[i] = i;
        part[i] = i == axis ? Y : ir_iota(n->b, Y->type.dtype, rank, Y->type.dim, i);
        part[i] = columns(n, part[i]);
        if (i == axis)
            part[i] = wrap(n, part[i], 1, &X->type.dim[i]);
    }
    n->out[0] = ir_scatter(n->b, combines[way], X, ir_concat(n->b, part, rank, rank), n->in[2],
                           rank, dims, 0);
}

BUILD(scatter_nd)
{
    int way = onnx_choice(n, "reduction", "none", ways);
    int64_t dims[IR_MAX_RANK], count = Y->type.rank ? Y->type.dim[Y->type.rank - 1] : -1;
    if (way < 0 || count < 0 || count > X->type.rank) {
        onnx_error(n, "indices %s do not fit data %s", onnx_type_text(n, Y), onnx_type_text(n, X));
        return;
    }
    for (int i = 0; i < count; i++)
        dims[i] = i;
    n->out[0] = ir_scatter(n->b, combines[way], X, wrap(n, Y, (int)count, X->type.dim), n->in[2],
                           (int)count, dims, 0);
}

BUILD(one_hot)
{
    ir_builder *b = n->b;
    double depth;
    int64_t axis, shape[IR_MAX_RANK], dims[IR_MAX_RANK];
    int rank = X->type.rank + 1;
    ir_value *values = n->in[2];
    if (!onnx_const_float(n, 1, "depth", &depth) || rank > IR_MAX_RANK ||
        !onnx_axis(n, onnx_int(n, "axis", -1), rank, &axis))
        return;
    if (!(depth >= 0 && depth < 1e15) || values->type.rank != 1 || values->type.dim[0] != 2) {
        onnx_error(n, "expected a depth of 0 or more and two values, got depth %g and values %s",
                   depth, onnx_type_text(n, values));
        return;
    }
    int64_t extent = (int64_t)depth;
    for (int i = 0, d = 0; i < rank; i++) {
        shape[i] = i == axis ? extent : X->type.dim[d];
        if (i != axis)
            dims[d++] = i;
    }
    if (!onnx_shape_ok(n, values->type.dtype, rank, shape))
        return;
    ir_value *index = ir_convert(b, X, IR_I64);
    index = ir_select(b, ir_compare(b, IR_LT, index, ir_like(n->b, index, 0)),
                      ir_add(b, index, ir_like(n->b, index, depth)), index);
    ir_value *hit = ir_compare(b, IR_EQ, ir_broadcast(b, index, rank, shape, dims),
                               ir_iota(b, IR_I64, rank, shape, (int)axis));
    ir_value *off = ir_reshape(b, ir_slice_axis(b, values, 0, 0, 1), 0, NULL),
             *on = ir_reshape(b, ir_slice_axis(b, values, 0, 1, 2), 0, NULL);
    n->out[0] = ir_select(b, hit, ir_broadcast(b, on, rank, shape, NULL),
                          ir_broadcast(b, off, rank, shape, NULL));
}

BUILD(compress)
{
    ir_literal *l = onnx_const(n, 1, "condition");
    bool flat = !onnx_has(n, "axis");
    int64_t axis = 0, one = ir_count(&X->type);
    ir_value *x = flat ? ir_reshape(n->b, X, 1, &one) : X;
    if (l && (l->type.dtype != IR_BOOL || l->type.rank != 1))
        onnx_error(n, "input 1 (condition): expected a list of bools, got %s",
                   ir_type_text(n->r->scratch, &l->type));
    if (n->failed || !x || (!flat && !onnx_axis(n, onnx_int(n, "axis", 0), X->type.rank, &axis)))
        return;
    int64_t *kept = base_array(n->r->scratch, int64_t, ir_count(&l->type) + 1), count = 0;
    for (int64_t i = 0; i < ir_count(&l->type); i++)
        if (ir_literal_get_int(l, i)) {
            if (i >= x->type.dim[axis]) {
                onnx_error(n, "the condition is longer than the dimension of %lld",
                           (long long)x->type.dim[axis]);
                return;
            }
            kept[count++] = i;
        }
    ir_value *index =
        ir_constant(n->b, onnx_ints_literal(n->r->arena, IR_I64, 2, (int64_t[]){count, 1}, kept));
    n->out[0] = ir_move_axis(n->b, ir_gather(n->b, x, index, 1, &axis, 0), 0, (int)axis);
}

/* Reverses the first lengths[b] elements of each sequence; the others stay in place. */
BUILD(reverse_sequence)
{
    ir_builder *b = n->b;
    int64_t t = onnx_int(n, "time_axis", 0), a = onnx_int(n, "batch_axis", 1), one = 1;
    if (X->type.rank < 2 || t < 0 || t > 1 || a < 0 || a > 1 || t == a || Y->type.rank != 1 ||
        Y->type.dim[0] != X->type.dim[a] || !ir_is_int(Y->type.dtype)) {
        onnx_error(n, "time axis %lld, batch axis %lld and lengths %s do not fit %s", (long long)t,
                   (long long)a, onnx_type_text(n, Y), onnx_type_text(n, X));
        return;
    }
    ir_value *x = t == 0 ? ir_move_axis(b, X, 1, 0) : X; /* [B, T, rest] */
    if (!x)
        return;
    ir_value *at = ir_iota(b, IR_I64, 2, x->type.dim, 1),
             *length = ir_broadcast(b, ir_convert(b, Y, IR_I64), 2, x->type.dim, (int64_t[]){0});
    ir_value *back = ir_sub(b, ir_sub(b, length, at), ir_like(n->b, at, 1));
    ir_value *index = columns(n, ir_select(b, ir_compare(b, IR_LT, at, length), back, at));
    x = ir_gather(b, x, index, 1, &one, 1);
    n->out[0] = t == 0 ? ir_move_axis(b, x, 1, 0) : x;
}
