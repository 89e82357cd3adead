/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The builder's functions for single ops, all through ir_build. */
#include "ir/ir.h"

#include <string.h>

ir_builder ir_builder_before(ir_inst *inst)
{
    return (ir_builder){.func = inst->func,
                        .at = inst,
                        .loc = inst->loc,
                        .phase = inst->phase,
                        .primal = inst->primal};
}

void ir_built(const ir_builder *b)
{
    if (b->failed)
        BUG("an instruction was refused: %s", base_ctx_why(b->func->module->ctx));
}

ir_ints ir_spatial_ints(ir_builder *b, int spatial, const int64_t *v, int64_t first)
{
    int64_t all[IR_MAX_RANK] = {first, first};
    memcpy(all + 2, v, (size_t)spatial * sizeof *v);
    return ir_ints_of(b, spatial + 2, all);
}

ir_value *ir_build1(ir_builder *b, ir_op op, ir_value *const *operand, int noperands,
                    const ir_attrs *attrs)
{
    ir_inst *inst = ir_build(b, op, operand, noperands, attrs);
    return inst ? inst->result[0] : NULL;
}

ir_value *ir_unary(ir_builder *b, ir_op op, ir_value *x)
{
    return ir_build1(b, op, &x, 1, NULL);
}

ir_value *ir_binary(ir_builder *b, ir_op op, ir_value *x, ir_value *y)
{
    return ir_build1(b, op, (ir_value *[]){x, y}, 2, NULL);
}

ir_value *ir_compare(ir_builder *b, ir_relation relation, ir_value *x, ir_value *y)
{
    return ir_build1(b, IR_OP_compare, (ir_value *[]){x, y}, 2,
                     &(ir_attrs){.compare.relation = relation});
}

ir_value *ir_select(ir_builder *b, ir_value *which, ir_value *yes, ir_value *no)
{
    return ir_build1(b, IR_OP_select, (ir_value *[]){which, yes, no}, 3, NULL);
}

ir_value *ir_convert(ir_builder *b, ir_value *x, ir_dtype to)
{
    return x && x->type.dtype == to
               ? x
               : ir_build1(b, IR_OP_convert, &x, 1, &(ir_attrs){.convert.to = to});
}

ir_value *ir_constant(ir_builder *b, ir_literal *value)
{
    return ir_build1(b, IR_OP_constant, NULL, 0, &(ir_attrs){.constant.value = value});
}

ir_value *ir_scalar(ir_builder *b, ir_dtype dtype, double v)
{
    ir_type t = ir_scalar_type(dtype);
    ir_literal *l = ir_literal_new(b->func->module->arena, &t);
    ir_literal_set(l, 0, v);
    return ir_constant(b, l);
}

ir_value *ir_splat(ir_builder *b, const ir_type *type, double v)
{
    return ir_broadcast(b, ir_scalar(b, type->dtype, v), type->rank, type->dim, NULL);
}

ir_value *ir_zeros_like(ir_builder *b, ir_value *x)
{
    return x ? ir_splat(b, &x->type, 0) : NULL;
}

ir_value *ir_iota(ir_builder *b, ir_dtype dtype, int rank, const int64_t *shape, int axis)
{
    return ir_build1(
        b, IR_OP_iota, NULL, 0,
        &(ir_attrs){.iota = {.to = dtype, .shape = ir_ints_of(b, rank, shape), .axis = axis}});
}

static bool has_shape(const ir_value *x, int rank, const int64_t *shape)
{
    return x && x->type.rank == rank &&
           (!rank || !memcmp(x->type.dim, shape, (size_t)rank * sizeof *shape));
}

ir_value *ir_reshape(ir_builder *b, ir_value *x, int rank, const int64_t *shape)
{
    return has_shape(x, rank, shape)
               ? x
               : ir_build1(b, IR_OP_reshape, &x, 1,
                           &(ir_attrs){.reshape.shape = ir_ints_of(b, rank, shape)});
}

ir_value *ir_broadcast(ir_builder *b, ir_value *x, int rank, const int64_t *shape,
                       const int64_t *dims)
{
    if (has_shape(x, rank, shape))
        return x;
    return ir_build1(b, IR_OP_broadcast, &x, 1,
                     &(ir_attrs){.broadcast = {.shape = ir_ints_of(b, rank, shape),
                                               .dims = ir_ints_of(b, x ? x->type.rank : 0, dims)}});
}

ir_value *ir_broadcast_to(ir_builder *b, ir_value *x, int rank, const int64_t *shape)
{
    if (!x)
        return NULL;
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++)
        /* Negative when x has more dimensions; the shape rule reports that. */
        dims[i] = rank - x->type.rank + i;
    return ir_broadcast(b, x, rank, shape, dims);
}

bool ir_broadcast_both(ir_builder *b, ir_value **x, ir_value **y)
{
    if (!*x || !*y)
        return false;
    const ir_type *s = &(*x)->type, *t = &(*y)->type;
    int rank = s->rank > t->rank ? s->rank : t->rank;
    int64_t shape[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        int64_t p = i < rank - s->rank ? 1 : s->dim[i - rank + s->rank],
                q = i < rank - t->rank ? 1 : t->dim[i - rank + t->rank];
        if (p != q && p != 1 && q != 1) {
            base_arena *arena = b->func->module->arena;
            base_report(b->func->module->ctx, BASE_ERROR, b->loc,
                        "shapes do not broadcast: %s and %s", ir_type_text(arena, s),
                        ir_type_text(arena, t));
            b->failed = true;
            return false;
        }
        shape[i] = p == 1 ? q : p;
    }
    *x = ir_broadcast_to(b, *x, rank, shape);
    *y = ir_broadcast_to(b, *y, rank, shape);
    return *x && *y;
}

ir_value *ir_transpose(ir_builder *b, ir_value *x, const int64_t *perm)
{
    if (!x)
        return NULL;
    bool identity = true;
    for (int i = 0; i < x->type.rank; i++)
        identity &= perm[i] == i;
    return identity ? x
                    : ir_build1(b, IR_OP_transpose, &x, 1,
                                &(ir_attrs){.transpose.perm = ir_ints_of(b, x->type.rank, perm)});
}

ir_value *ir_slice(ir_builder *b, ir_value *x, const int64_t *start, const int64_t *limit,
                   const int64_t *stride)
{
    if (!x)
        return NULL;
    int64_t ones[IR_MAX_RANK];
    bool all = true;
    int n = x->type.rank;
    for (int i = 0; i < n; i++) {
        ones[i] = 1;
        all &= start[i] == 0 && limit[i] == x->type.dim[i] && (!stride || stride[i] == 1);
    }
    return all ? x
               : ir_build1(
                     b, IR_OP_slice, &x, 1,
                     &(ir_attrs){.slice = {.start = ir_ints_of(b, n, start),
                                           .limit = ir_ints_of(b, n, limit),
                                           .stride = ir_ints_of(b, n, stride ? stride : ones)}});
}

ir_value *ir_slice_axis(ir_builder *b, ir_value *x, int axis, int64_t start, int64_t limit)
{
    if (!x)
        return NULL;
    int64_t from[IR_MAX_RANK] = {0}, to[IR_MAX_RANK];
    memcpy(to, x->type.dim, sizeof to);
    from[axis] = start;
    to[axis] = limit;
    return ir_slice(b, x, from, to, NULL);
}

ir_value *ir_pad(ir_builder *b, ir_value *x, ir_value *v, const int64_t *low, const int64_t *high,
                 const int64_t *interior)
{
    static const int64_t zeros[IR_MAX_RANK];
    int n = x ? x->type.rank : 0;
    return ir_build1(
        b, IR_OP_pad, (ir_value *[]){x, v}, 2,
        &(ir_attrs){.pad = {.low = ir_ints_of(b, n, low),
                            .high = ir_ints_of(b, n, high),
                            .interior = ir_ints_of(b, n, interior ? interior : zeros)}});
}

ir_value *ir_concat(ir_builder *b, ir_value *const *x, int n, int axis)
{
    return n == 1 ? x[0] : ir_build1(b, IR_OP_concat, x, n, &(ir_attrs){.concat.axis = axis});
}

ir_value *ir_reverse(ir_builder *b, ir_value *x, int n, const int64_t *axes)
{
    return n == 0 ? x
                  : ir_build1(b, IR_OP_reverse, &x, 1,
                              &(ir_attrs){.reverse.axes = ir_ints_of(b, n, axes)});
}

ir_value *ir_gather(ir_builder *b, ir_value *x, ir_value *index, int ndims, const int64_t *dims,
                    int batch)
{
    return ir_build1(b, IR_OP_gather, (ir_value *[]){x, index}, 2,
                     &(ir_attrs){.gather = {.dims = ir_ints_of(b, ndims, dims), .batch = batch}});
}

ir_value *ir_scatter(ir_builder *b, ir_combine combine, ir_value *x, ir_value *index,
                     ir_value *update, int ndims, const int64_t *dims, int batch)
{
    return ir_build1(
        b, IR_OP_scatter, (ir_value *[]){x, index, update}, 3,
        &(ir_attrs){
            .scatter = {.combine = combine, .dims = ir_ints_of(b, ndims, dims), .batch = batch}});
}

ir_value *ir_reduce(ir_builder *b, ir_combine combine, ir_value *x, int n, const int64_t *axes)
{
    return n == 0 ? x
                  : ir_build1(b, IR_OP_reduce, &x, 1,
                              &(ir_attrs){
                                  .reduce = {.combine = combine, .axes = ir_ints_of(b, n, axes)}});
}

ir_value *ir_reduce_keep(ir_builder *b, ir_combine combine, ir_value *x, int n, const int64_t *axes)
{
    if (!x)
        return NULL;
    ir_type t = x->type;
    for (int i = 0; i < n; i++)
        if (axes[i] >= 0 && axes[i] < t.rank)
            t.dim[axes[i]] = 1;
    ir_value *r = ir_reduce(b, combine, x, n, axes);
    return r ? ir_reshape(b, r, t.rank, t.dim) : NULL;
}

/* The dimensions of x that are not among axes. */
static int other_axes(const ir_value *x, int n, const int64_t *axes, int64_t *out)
{
    int count = 0;
    for (int i = 0, k = 0; i < x->type.rank; i++)
        if (k < n && axes[k] == i)
            k++;
        else
            out[count++] = i;
    return count;
}

ir_value *ir_squeeze(ir_builder *b, ir_value *x, int n, const int64_t *axes)
{
    int64_t other[IR_MAX_RANK], shape[IR_MAX_RANK];
    if (!x)
        return NULL;
    int rank = other_axes(x, n, axes, other);
    for (int i = 0; i < rank; i++)
        shape[i] = x->type.dim[other[i]];
    return ir_reshape(b, x, rank, shape);
}

ir_value *ir_unreduce(ir_builder *b, ir_value *v, const ir_value *x, int n, const int64_t *axes)
{
    int64_t dims[IR_MAX_RANK];
    if (!v || !x)
        return NULL;
    other_axes(x, n, axes, dims);
    return ir_broadcast(b, v, x->type.rank, x->type.dim, dims);
}

ir_value *ir_dot_general(ir_builder *b, ir_value *x, ir_value *y, int nbatch, const int64_t *xbatch,
                         const int64_t *ybatch, int ncontract, const int64_t *xcontract,
                         const int64_t *ycontract)
{
    return ir_dot_general_in(b, IR_BOOL, x, y, nbatch, xbatch, ybatch, ncontract, xcontract,
                             ycontract);
}

ir_value *ir_dot_general_in(ir_builder *b, ir_dtype accumulate, ir_value *x, ir_value *y,
                            int nbatch, const int64_t *xbatch, const int64_t *ybatch, int ncontract,
                            const int64_t *xcontract, const int64_t *ycontract)
{
    return ir_build1(
        b, IR_OP_dot_general, (ir_value *[]){x, y}, 2,
        &(ir_attrs){.dot_general = {.lhs_batch = ir_ints_of(b, nbatch, xbatch),
                                    .rhs_batch = ir_ints_of(b, nbatch, ybatch),
                                    .lhs_contract = ir_ints_of(b, ncontract, xcontract),
                                    .rhs_contract = ir_ints_of(b, ncontract, ycontract),
                                    .accumulate = accumulate}});
}

ir_value *ir_matmul(ir_builder *b, ir_value *x, ir_value *y)
{
    return ir_matmul_in(b, IR_BOOL, x, y);
}

ir_value *ir_matmul_in(ir_builder *b, ir_dtype accumulate, ir_value *x, ir_value *y)
{
    if (!x || !y)
        return NULL;
    if (x->type.rank == 0 || y->type.rank == 0) {
        base_report(b->func->module->ctx, BASE_ERROR, b->loc,
                    "matmul needs operands of rank 1 or more");
        b->failed = true;
        return NULL;
    }
    /* Number of matrix dimensions of each operand. */
    int xm = x->type.rank == 1 ? 1 : 2, yn = y->type.rank == 1 ? 1 : 2;
    int xb = x->type.rank - xm, yb = y->type.rank - yn;
    int64_t ycontract = y->type.rank - yn, xcontract = x->type.rank - 1, batch[IR_MAX_RANK];
    if (yb == 0) /* the batch dimensions of x are just more rows */
        return ir_dot_general_in(b, accumulate, x, y, 0, NULL, NULL, 1, &xcontract, &ycontract);
    int nbatch = xb > yb ? xb : yb;
    int64_t shape[IR_MAX_RANK], xs[IR_MAX_RANK], ys[IR_MAX_RANK];
    for (int i = 0; i < nbatch; i++) {
        int64_t p = i < nbatch - xb ? 1 : x->type.dim[i - nbatch + xb],
                q = i < nbatch - yb ? 1 : y->type.dim[i - nbatch + yb];
        /* If both differ from 1 and each other, the broadcast below reports it. */
        shape[i] = p == 1 ? q : p;
        batch[i] = i;
    }
    memcpy(xs, shape, sizeof xs);
    memcpy(ys, shape, sizeof ys);
    for (int i = 0; i < xm; i++)
        xs[nbatch + i] = x->type.dim[xb + i];
    for (int i = 0; i < yn; i++)
        ys[nbatch + i] = y->type.dim[yb + i];
    x = ir_broadcast_to(b, x, nbatch + xm, xs);
    y = ir_broadcast_to(b, y, nbatch + yn, ys);
    xcontract = nbatch + xm - 1;
    ycontract = nbatch;
    return ir_dot_general_in(b, accumulate, x, y, nbatch, batch, batch, 1, &xcontract, &ycontract);
}

ir_value *ir_add_or(ir_builder *b, ir_value *x, ir_value *y)
{
    return !x ? y : !y ? x : ir_add(b, x, y);
}

ir_value *ir_like(ir_builder *b, const ir_value *x, double v)
{
    return x ? ir_splat(b, &x->type, v) : NULL;
}

ir_value *ir_like_int(ir_builder *b, const ir_value *x, int64_t v)
{
    if (!x)
        return NULL;
    ir_type type = ir_scalar_type(x->type.dtype);
    ir_literal *one = ir_literal_new(b->func->module->arena, &type);
    ir_literal_set_int(one, 0, v);
    return ir_broadcast(b, ir_constant(b, one), x->type.rank, x->type.dim, NULL);
}

ir_value *ir_times(ir_builder *b, ir_value *x, double v)
{
    return v == 1 ? x : ir_mul(b, x, ir_like(b, x, v));
}

ir_value *ir_plus(ir_builder *b, ir_value *x, double v)
{
    return v == 0 ? x : ir_add(b, x, ir_like(b, x, v));
}

ir_value *ir_broadcast_like(ir_builder *b, ir_value *x, const ir_value *to)
{
    return x && to ? ir_broadcast_to(b, x, to->type.rank, to->type.dim) : NULL;
}

ir_value *ir_move_axis(ir_builder *b, ir_value *x, int from, int to)
{
    int64_t perm[IR_MAX_RANK];
    if (!x)
        return NULL;
    for (int i = 0, k = 0; i < x->type.rank; i++) {
        k += k == from;
        perm[i] = i == to ? from : k++;
    }
    return ir_transpose(b, x, perm);
}
