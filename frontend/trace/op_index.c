/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Operations with indices. */
#include "frontend/trace/trace.h"

#define X c->v[0]
#define INDEX c->v[1]
#define RANK c->v[0]->type.rank
#define OUT c->out[0]

static bool is_index(trace_call *c, ir_value *index)
{
    if (index->type.dtype == IR_I64 || index->type.dtype == IR_I32)
        return true;
    trace_wrong(c, "the index is %s, expected i64 or i32", trace_text(c, index));
    return false;
}

/* A value as index vectors of one component. */
static ir_value *vectors(trace_call *c, ir_value *index)
{
    ir_type t = index->type;
    if (t.rank == IR_MAX_RANK) {
        trace_wrong(c, "an index of rank %d is not supported", t.rank);
        return NULL;
    }
    t.dim[t.rank++] = 1;
    return ir_reshape(c->b, index, t.rank, t.dim);
}

TRACE_BUILD(index_select)
{
    int d;
    int64_t dim;
    if (!is_index(c, INDEX) || !trace_dim(c, c->i[0], RANK, &d))
        return;
    if (INDEX->type.rank > 1) {
        trace_wrong(c, "the index is %s, expected at most one dimension", trace_text(c, INDEX));
        return;
    }
    dim = d;
    ir_value *index = ir_reshape(c->b, INDEX, 2, (int64_t[]){ir_count(&INDEX->type), 1});
    OUT = ir_move_axis(c->b, ir_gather(c->b, X, index, 1, &dim, 0), 0, d);
}

TRACE_BUILD(embedding)
{
    if (X->type.rank != 2)
        trace_wrong(c, "the weights are %s, expected [n, d]", trace_text(c, X));
    else if (is_index(c, INDEX))
        OUT = ir_gather(c->b, X, vectors(c, INDEX), 1, (int64_t[]){0}, 0);
}

TRACE_BUILD(one_hot)
{
    ir_value *index = is_index(c, X) ? vectors(c, X) : NULL;
    if (!index)
        return;
    ir_type t = index->type;
    t.dim[t.rank - 1] = c->i[0];
    ir_value *at = ir_iota(c->b, t.dtype, t.rank, t.dim, t.rank - 1);
    OUT = ir_convert(c->b, ir_compare(c->b, IR_EQ, at, ir_broadcast_like(c->b, index, at)), IR_I64);
}

/* Flattens all dimensions but the last: [p, n]. */
static ir_value *rows(trace_call *c, ir_value *v)
{
    int64_t last = v->type.dim[v->type.rank - 1],
            shape[] = {last ? ir_count(&v->type) / last : 0, last};
    if (!last) {
        shape[0] = 1;
        for (int i = 0; i < v->type.rank - 1; i++)
            shape[0] *= v->type.dim[i];
    }
    return ir_reshape(c->b, v, 2, shape);
}

/* [p, m] as [p, m, 1]. */
static ir_value *row_indices(trace_call *c, ir_value *index)
{
    index = rows(c, index);
    return index
               ? ir_reshape(c->b, index, 3, (int64_t[]){index->type.dim[0], index->type.dim[1], 1})
               : NULL;
}

ir_value *trace_take_last(trace_call *c, ir_value *x, ir_value *index)
{
    if (!x || !index)
        return NULL;
    ir_value *y = ir_gather(c->b, rows(c, x), row_indices(c, index), 1, (int64_t[]){1}, 1);
    return ir_reshape(c->b, y, index->type.rank, index->type.dim);
}

/* Slices v to the extents of `to`, except in dimension d; NULL and reported if v is smaller. */
static ir_value *cut_to(trace_call *c, ir_value *v, const ir_value *to, int d)
{
    int64_t from[IR_MAX_RANK] = {0}, limit[IR_MAX_RANK];
    for (int i = 0; i < v->type.rank; i++) {
        limit[i] = i == d ? v->type.dim[i] : to->type.dim[i];
        if (limit[i] > v->type.dim[i]) {
            trace_wrong(c, "the index %s extends beyond %s", trace_text(c, to), trace_text(c, v));
            return NULL;
        }
    }
    return ir_slice(c->b, v, from, limit, NULL);
}

/* The checks that gather and scatter share; reshapes operands of rank 0 to rank 1. */
static bool read_index(trace_call *c, int *d)
{
    for (int i = 0; i < c->nin; i++) {
        if (c->v[i]->type.rank == 0)
            c->v[i] = ir_reshape(c->b, c->v[i], 1, (int64_t[]){1});
        if (!c->v[i])
            return false;
    }
    if (!is_index(c, INDEX) || !trace_dim(c, c->i[0], RANK, d))
        return false;
    if (INDEX->type.rank != RANK)
        trace_wrong(c, "the index %s does not have the rank of %s", trace_text(c, INDEX),
                    trace_text(c, X));
    return !c->b->failed;
}

static ir_value *in_shape_of(trace_call *c, ir_value *v, const gradc_tensor *x)
{
    return v ? ir_reshape(c->b, v, x->type.rank, x->type.dim) : NULL;
}

TRACE_BUILD(gather)
{
    int d;
    if (!read_index(c, &d))
        return;
    ir_value *x = cut_to(c, X, INDEX, d);
    int last = RANK - 1;
    ir_value *y =
        trace_take_last(c, ir_move_axis(c->b, x, d, last), ir_move_axis(c->b, INDEX, d, last));
    OUT = in_shape_of(c, ir_move_axis(c->b, y, last, d), c->in[1]);
}

/* Elements outside the index's extents in the other dimensions keep their values: the part inside
 * is padded to the shape of X and selected. */
static ir_value *put_back(trace_call *c, ir_value *part, int d)
{
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK];
    bool whole = true;
    if (!part)
        return NULL;
    for (int i = 0; i < RANK; i++) {
        high[i] = i == d ? 0 : X->type.dim[i] - INDEX->type.dim[i];
        whole &= high[i] == 0;
    }
    if (whole)
        return part;
    ir_type t = part->type;
    t.dtype = IR_BOOL;
    ir_value *mine =
        ir_pad(c->b, ir_splat(c->b, &t, 1), ir_scalar(c->b, IR_BOOL, 0), low, high, NULL);
    return ir_select(c->b, mine,
                     ir_pad(c->b, part, ir_scalar(c->b, X->type.dtype, 0), low, high, NULL), X);
}

/* extra: how the new elements are combined with those of X. */
TRACE_BUILD(scatter)
{
    int d;
    if (!read_index(c, &d))
        return;
    ir_value *from = c->v[2];
    if (from->type.rank != RANK || from->type.dtype != X->type.dtype) {
        trace_wrong(c, "cannot scatter %s into %s", trace_text(c, from), trace_text(c, X));
        return;
    }
    from = cut_to(c, from, INDEX, -1);
    ir_value *x = cut_to(c, X, INDEX, d), *index = INDEX;
    int last = RANK - 1;
    x = ir_move_axis(c->b, x, d, last);
    index = ir_move_axis(c->b, index, d, last);
    from = ir_move_axis(c->b, from, d, last);
    if (!x || !index || !from)
        return;
    ir_value *y = ir_scatter(c->b, (ir_combine)c->row->extra, rows(c, x), row_indices(c, index),
                             rows(c, from), 1, (int64_t[]){1}, 1);
    y = y ? ir_move_axis(c->b, ir_reshape(c->b, y, x->type.rank, x->type.dim), last, d) : NULL;
    OUT = in_shape_of(c, put_back(c, y, d), c->in[0]);
}
