/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Losses. */
#include "frontend/trace/trace.h"

#define X c->v[0]
#define Y c->v[1]
#define OUT c->out[0]

static bool reduction_ok(trace_call *c)
{
    if (c->i[0] == GRADC_NONE || c->i[0] == GRADC_MEAN || c->i[0] == GRADC_SUM)
        return true;
    trace_wrong(c, "a reduction of %lld; GRADC_NONE, GRADC_MEAN or GRADC_SUM is due", (long long)c->i[0]);
    return false;
}

static ir_value *reduced(trace_call *c, ir_value *loss)
{
    int64_t axes[IR_MAX_RANK];
    if (!loss || c->i[0] == GRADC_NONE)
        return loss;
    for (int i = 0; i < loss->type.rank; i++)
        axes[i] = i;
    return c->i[0] == GRADC_MEAN ? trace_mean(c, loss, loss->type.rank, axes, false) : ir_reduce(c->b, IR_SUM, loss, loss->type.rank, axes);
}

/* log x, at least -100; no gradient where x is 0. */
static ir_value *bounded_log(trace_call *c, ir_value *x)
{
    ir_builder *b = c->b;
    ir_value *none = ir_compare(b, IR_LE, x, trace_like(c, x, 0));
    ir_value *l = ir_log(b, ir_select(b, none, trace_like(c, x, 1), x)), *least = trace_like(c, x, -100);
    return ir_select(b, none, least, ir_max(b, l, least));
}

static ir_value *binary_cross_entropy(trace_call *c, ir_value *x, ir_value *y)
{
    ir_builder *b = c->b;
    ir_value *one = trace_like(c, x, 1);
    ir_value *yes = ir_mul(b, y, bounded_log(c, x)), *no = ir_mul(b, ir_sub(b, one, y), bounded_log(c, ir_sub(b, one, x)));
    return ir_neg(b, ir_add(b, yes, no));
}

/* y log(1 + e^-x) + (1 - y) log(1 + e^x), without overflow. */
static ir_value *with_logits(trace_call *c, ir_value *x, ir_value *y)
{
    ir_builder *b = c->b;
    return ir_sub(b, ir_softplus(b, x), ir_mul(b, x, y));
}

/* y (log y - x), zero where y is. */
static ir_value *divergence(trace_call *c, ir_value *x, ir_value *y)
{
    ir_builder *b = c->b;
    ir_value *zero = trace_like(c, y, 0), *none = ir_compare(b, IR_LE, y, zero), *l = ir_log(b, ir_select(b, none, trace_like(c, y, 1), y));
    return ir_sub(b, ir_select(b, none, zero, ir_mul(b, y, l)), ir_mul(b, y, x));
}

/* The way torch is made of other operations shows in the name. */
static const char *name_of(const trace_call *c, const char *none, const char *mean, const char *sum)
{
    return c->i[0] == GRADC_NONE ? none : c->i[0] == GRADC_MEAN ? mean : sum;
}

/* Elementwise losses; extra says which. */
TRACE_BUILD(loss)
{
    ir_builder *b = c->b;
    int kind = c->row->extra;
    double n = c->n[0];
    if (!reduction_ok(c))
        return;
    if (kind >= 5 && !ir_shape_eq(&X->type, &Y->type)) {
        trace_wrong(c, "%s with target %s; one shape is due", trace_text(c, X), trace_text(c, Y));
        return;
    }
    if (!ir_broadcast_both(b, &X, &Y))
        return;
    ir_value *d = ir_sub(b, X, Y), *loss;
    switch (kind) {
    case 0: loss = ir_mul(b, d, d); break;
    case 1:
        c->grad_fn = name_of(c, "AbsBackward0", "MeanBackward0", "SumBackward0");
        loss = ir_abs(b, d);
        break;
    case 2: loss = n ? trace_times(c, ir_huber(b, d, n), 1 / n) : ir_abs(b, d); break;
    case 3: loss = ir_huber(b, d, n); break;
    case 4:
        c->grad_fn = name_of(c, "SubBackward0", "MeanBackward0", "SumBackward0");
        loss = divergence(c, X, Y);
        break;
    case 5: loss = binary_cross_entropy(c, X, Y); break;
    default: loss = with_logits(c, X, Y);
    }
    OUT = reduced(c, loss);
}

/* ---- Classes ---- */

typedef struct classes {
    ir_value *logs;    /* [N, C, …], or [C] */
    ir_value *weight;  /* [C] or NULL */
    int axis;          /* of the classes */
    int64_t ignore;
    double smoothing;
} classes;

static ir_value *along_classes(trace_call *c, const classes *k, ir_value *weight)
{
    int64_t axis = k->axis;
    return ir_broadcast(c->b, weight, k->logs->type.rank, k->logs->type.dim, &axis);
}

/* The sum of losses over what the targets' own weights add up to. */
static ir_value *weighted(trace_call *c, ir_value *loss, ir_value *weight, bool counted)
{
    ir_builder *b = c->b;
    if (c->i[0] != GRADC_MEAN || !loss || !weight)
        return reduced(c, loss);
    int64_t axes[IR_MAX_RANK];
    for (int i = 0; i < loss->type.rank; i++)
        axes[i] = i;
    ir_value *sum = ir_reduce(b, IR_SUM, loss, loss->type.rank, axes);
    return counted ? ir_div(b, sum, ir_reduce(b, IR_SUM, weight, loss->type.rank, axes)) : sum;
}

/* Targets that are classes, integers in the shape of the scores without axis. */
static ir_value *by_class(trace_call *c, const classes *k)
{
    ir_builder *b = c->b;
    ir_value *y = Y, *logs = trace_move_axis(c, k->logs, k->axis, k->logs->type.rank - 1);
    if (!logs)
        return NULL;
    ir_value *valid = ir_compare(b, IR_NE, y, trace_like(c, y, (double)k->ignore));
    ir_type t = y->type;
    t.dim[t.rank++] = 1;
    ir_value *index = ir_reshape(b, ir_select(b, valid, y, trace_like(c, y, 0)), t.rank, t.dim), *loss = trace_take_last(c, logs, index);
    loss = loss ? ir_neg(b, ir_reshape(b, loss, y->type.rank, y->type.dim)) : NULL;
    ir_value *w = k->weight ? ir_gather(b, k->weight, index, 1, (int64_t[]){0}, 0) : trace_like(c, loss, 1);
    if (k->weight)
        loss = ir_mul(b, loss, w);
    if (k->smoothing > 0 && loss) { /* the loss of a target spread over all classes */
        int64_t last = logs->type.rank - 1;
        ir_value *all = k->weight ? ir_mul(b, logs, trace_spread(c, k->weight, logs)) : logs;
        all = trace_times(c, ir_neg(b, ir_reduce(b, IR_SUM, all, 1, &last)), k->smoothing / (double)logs->type.dim[last]);
        loss = ir_add(b, trace_times(c, loss, 1 - k->smoothing), all);
    }
    ir_value *zero = trace_like(c, loss, 0);
    loss = ir_select(b, valid, loss, zero);
    return weighted(c, loss, ir_select(b, valid, w, zero), true);
}

/* Targets that are probabilities. */
static ir_value *by_probability(trace_call *c, const classes *k)
{
    ir_builder *b = c->b;
    int64_t axis = k->axis;
    ir_value *y = trace_times(c, Y, 1 - k->smoothing);
    if (k->smoothing > 0)
        y = trace_plus(c, y, k->smoothing / (double)X->type.dim[axis]);
    ir_value *loss = ir_mul(b, k->logs, y);
    if (k->weight)
        loss = ir_mul(b, loss, along_classes(c, k, k->weight));
    loss = ir_neg(b, ir_reduce(b, IR_SUM, loss, 1, &axis));
    if (c->i[0] != GRADC_MEAN || !loss)
        return reduced(c, loss);
    double batch = (double)ir_count(&loss->type);
    loss = weighted(c, loss, loss, false);
    return ir_div(b, loss, trace_like(c, loss, batch));
}

static bool target_ok(trace_call *c, bool probability, int axis)
{
    bool fits = probability ? ir_type_eq(&X->type, &Y->type) : ir_is_int(Y->type.dtype) && Y->type.rank == X->type.rank - 1;
    for (int i = 0; fits && !probability && i < Y->type.rank; i++)
        fits = Y->type.dim[i] == X->type.dim[i + (i >= axis)];
    if (!fits)
        trace_wrong(c, "scores %s and target %s; [N, C, …] with classes [N, …]%s are due", trace_text(c, X), trace_text(c, Y),
                    c->row->extra == 1 ? "" : " or probabilities [N, C, …]");
    return fits;
}

/* extra 1: the scores are logarithms already; 2: with weights. */
TRACE_BUILD(cross_entropy)
{
    bool probability = c->row->extra != 1 && ir_is_float(Y->type.dtype);
    classes k = {.axis = X->type.rank > 1, .ignore = -100};
    if (c->row->extra == 2) {
        k.weight = c->v[2];
        k.ignore = c->i[1];
        k.smoothing = c->n[0];
    }
    if (!reduction_ok(c))
        return;
    if (X->type.rank < 1 || X->type.rank == IR_MAX_RANK || !ir_is_float(X->type.dtype)) {
        trace_wrong(c, "scores %s, a float tensor [N, C, …] is due", trace_text(c, X));
        return;
    }
    if (!target_ok(c, probability, k.axis))
        return;
    if (k.weight && (k.weight->type.dtype != X->type.dtype || k.weight->type.rank != 1 || k.weight->type.dim[0] != X->type.dim[k.axis])) {
        trace_wrong(c, "weights %s for scores %s", trace_text(c, k.weight), trace_text(c, X));
        return;
    }
    if (!(k.smoothing >= 0 && k.smoothing <= 1)) {
        trace_wrong(c, "a label smoothing of %g", k.smoothing);
        return;
    }
    k.logs = c->row->extra == 1 ? X : trace_softmax(c, X, k.axis, true);
    if (!k.logs)
        return;
    if (probability || k.smoothing > 0)
        c->grad_fn = probability ? name_of(c, "NegBackward0", "DivBackward1", "NegBackward0") : "AddBackward0";
    else if (X->type.rank > 2)
        c->grad_fn = "NllLoss2DBackward0";
    OUT = probability ? by_probability(c, &k) : by_class(c, &k);
}
