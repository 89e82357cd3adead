/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reductions, cumulative sums, sorting. */
#include "frontend/trace/trace.h"
#include "ir/nn.h"

#include <math.h>

#define X c->v[0]
#define RANK c->v[0]->type.rank
#define OUT c->out[0]

/* The dimensions to reduce, and whether they are kept. */
typedef struct over {
    int n;
    int64_t axes[IR_MAX_RANK];
    bool keep, all; /* all: none was named */
} over;

static bool read_over(trace_call *c, over *o)
{
    o->keep = c->i[0] != 0;
    o->all = c->s[0].rank == 0;
    return trace_dims(c, c->s[0], RANK, o->axes, &o->n);
}

static ir_value *reduce(trace_call *c, ir_combine combine, ir_value *x, const over *o)
{
    return o->keep ? ir_reduce_keep(c->b, combine, x, o->n, o->axes)
                   : ir_reduce(c->b, combine, x, o->n, o->axes);
}

/* Reads a dimension of x; a tensor of rank 0 is reshaped to rank 1. */
static bool read_axis(trace_call *c, ir_value **x, int *axis)
{
    *x = X;
    if (RANK == 0)
        *x = ir_reshape(c->b, X, 1, (int64_t[]){1});
    return *x && trace_dim(c, c->i[0], (*x)->type.rank, axis);
}

static ir_value *as_before(trace_call *c, ir_value *v)
{
    return v && RANK == 0 ? ir_reshape(c->b, v, 0, NULL) : v;
}

static void along_axis(trace_call *c, ir_value *rule(ir_builder *b, ir_value *x, int64_t axis))
{
    ir_value *x;
    int axis;
    if (!read_axis(c, &x, &axis))
        return;
    OUT = x->type.dim[axis] ? as_before(c, rule(c->b, x, axis)) : x;
}

TRACE_BUILD(softmax)
{
    along_axis(c, ir_softmax);
}

TRACE_BUILD(log_softmax)
{
    along_axis(c, ir_log_softmax);
}

TRACE_BUILD(reduce)
{
    over o;
    ir_value *x = ir_is_float(X->type.dtype) ? X : ir_convert(c->b, X, IR_I64);
    if (!read_over(c, &o))
        return;
    if (o.all)
        c->grad_fn = c->row->extra == IR_SUM ? "SumBackward0" : "ProdBackward0";
    OUT = reduce(c, (ir_combine)c->row->extra, x, &o);
}

TRACE_BUILD(mean)
{
    over o;
    if (!read_over(c, &o))
        return;
    if (o.all)
        c->grad_fn = "MeanBackward0";
    OUT = ir_mean(c->b, X, o.n, o.axes, o.keep);
}

/* False and reported if a reduced dimension is empty. */
static bool not_empty(trace_call *c, const over *o)
{
    for (int i = 0; i < o->n; i++)
        if (!X->type.dim[o->axes[i]]) {
            trace_wrong(c, "dimension %d of %s is empty", (int)o->axes[i], trace_text(c, X));
            return false;
        }
    return true;
}

TRACE_BUILD(extreme)
{
    over o;
    if (read_over(c, &o) && not_empty(c, &o))
        OUT = reduce(c, (ir_combine)c->row->extra, X, &o);
}

TRACE_BUILD(any)
{
    over o;
    if (read_over(c, &o))
        OUT = reduce(c, (ir_combine)c->row->extra, ir_convert(c->b, X, IR_BOOL), &o);
}

TRACE_BUILD(logsumexp)
{
    over o;
    if (read_over(c, &o) && not_empty(c, &o))
        OUT = ir_logsumexp(c->b, X, o.n, o.axes, o.keep);
}

TRACE_BUILD(var)
{
    over o;
    if (read_over(c, &o))
        OUT = ir_variance(c->b, X, (double)c->i[1], o.n, o.axes, o.keep);
}

TRACE_BUILD(std)
{
    trace_build_var(c);
    OUT = OUT ? ir_root(c->b, OUT, 2) : NULL;
}

TRACE_BUILD(norm)
{
    over o;
    if (read_over(c, &o) && (!isinf(c->n[0]) || not_empty(c, &o)))
        OUT = ir_vector_norm(c->b, X, c->n[0], o.n, o.axes, o.keep);
}

/* ---- Positions ---- */

static ir_inst *arg_reduce(trace_call *c, ir_value **x, int *axis)
{
    if (!read_axis(c, x, axis))
        return NULL;
    if ((*x)->type.dtype == IR_BOOL)
        *x = ir_convert(c->b, *x, IR_U8);
    return ir_build(
        c->b, IR_OP_arg_reduce, x, 1,
        &(ir_attrs){.arg_reduce = {.combine = (ir_combine)c->row->extra, .axis = *axis}});
}

static ir_value *keep_axis(trace_call *c, ir_value *v, const ir_value *x, int axis)
{
    ir_type t = x->type;
    t.dim[axis] = 1;
    return c->i[1] && RANK ? ir_reshape(c->b, v, t.rank, t.dim) : v;
}

TRACE_BUILD(arg)
{
    ir_value *x;
    int axis;
    ir_inst *inst = arg_reduce(c, &x, &axis);
    if (inst) {
        OUT = keep_axis(c, ir_convert(c->b, inst->result[0], X->type.dtype), x, axis);
        c->out[1] = keep_axis(c, inst->result[1], x, axis);
    }
}

TRACE_BUILD(arg_only)
{
    ir_value *x;
    int axis;
    ir_inst *inst = arg_reduce(c, &x, &axis);
    if (inst)
        OUT = keep_axis(c, inst->result[1], x, axis);
}

TRACE_BUILD(cumulative)
{
    ir_value *x;
    int axis;
    if (!read_axis(c, &x, &axis))
        return;
    if (!ir_is_float(x->type.dtype))
        x = ir_convert(c->b, x, IR_I64);
    OUT = as_before(c, ir_build1(c->b, IR_OP_cumulative, &x, 1,
                                 &(ir_attrs){.cumulative = {.combine = (ir_combine)c->row->extra,
                                                            .axis = axis}}));
}

TRACE_BUILD(sort)
{
    ir_value *x;
    int axis;
    ir_inst *inst = read_axis(c, &x, &axis) ? ir_sort_positions(c->b, x, axis, c->i[1] != 0) : NULL;
    if (inst) {
        OUT = as_before(c, inst->result[0]);
        c->out[1] = as_before(c, inst->result[1]);
    }
}

TRACE_BUILD(argsort)
{
    ir_value *x;
    int axis;
    ir_inst *inst = read_axis(c, &x, &axis) ? ir_sort_positions(c->b, x, axis, c->i[1] != 0) : NULL;
    if (inst)
        OUT = as_before(c, inst->result[1]);
}

TRACE_BUILD(topk)
{
    ir_value *x;
    int axis;
    int64_t k = c->i[2];
    if (!read_axis(c, &x, &axis))
        return;
    if (k < 0 || k > x->type.dim[axis]) {
        trace_wrong(c, "k is %lld, out of range for dimension %d of %s", (long long)k, axis,
                    trace_text(c, x));
        return;
    }
    ir_inst *inst = ir_sort_positions(c->b, x, axis, c->i[1] != 0);
    if (inst) {
        OUT = as_before(c, ir_slice_axis(c->b, inst->result[0], axis, 0, k));
        c->out[1] = as_before(c, ir_slice_axis(c->b, inst->result[1], axis, 0, k));
    }
}
