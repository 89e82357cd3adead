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
    trace_wrong(c, "a reduction of %lld; GRADC_NONE, GRADC_MEAN or GRADC_SUM is due",
                (long long)c->i[0]);
    return false;
}

_Static_assert((int)GRADC_NONE == (int)IR_REDUCE_NONE && (int)GRADC_MEAN == (int)IR_REDUCE_MEAN &&
                   (int)GRADC_SUM == (int)IR_REDUCE_SUM,
               "the reductions of gradc.h");

static ir_value *reduced(trace_call *c, ir_value *loss)
{
    return ir_reduced(c->b, loss, (ir_reduction)c->i[0]);
}

/* log x, at least -100; no gradient where x is 0. */
static ir_value *bounded_log(trace_call *c, ir_value *x)
{
    ir_builder *b = c->b;
    ir_value *none = ir_compare(b, IR_LE, x, trace_like(c, x, 0));
    ir_value *l = ir_log(b, ir_select(b, none, trace_like(c, x, 1), x)),
             *least = trace_like(c, x, -100);
    return ir_select(b, none, least, ir_max(b, l, least));
}

static ir_value *binary_cross_entropy(trace_call *c, ir_value *x, ir_value *y)
{
    ir_builder *b = c->b;
    ir_value *one = trace_like(c, x, 1);
    ir_value *yes = ir_mul(b, y, bounded_log(c, x)),
             *no = ir_mul(b, ir_sub(b, one, y), bounded_log(c, ir_sub(b, one, x)));
    return ir_neg(b, ir_add(b, yes, no));
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
        loss = ir_kl_div(b, X, Y);
        break;
    case 5: loss = binary_cross_entropy(c, X, Y); break;
    default: loss = ir_bce_with_logits(b, X, Y);
    }
    OUT = reduced(c, loss);
}

/* ---- Classes ---- */

/* Targets that are probabilities. */
static ir_value *by_probability(trace_call *c, const ir_classes *k)
{
    ir_builder *b = c->b;
    int64_t axis = k->axis;
    ir_value *y = trace_times(c, Y, 1 - k->smoothing);
    if (k->smoothing > 0)
        y = trace_plus(c, y, k->smoothing / (double)X->type.dim[axis]);
    ir_value *loss = ir_mul(b, k->logs, y);
    if (k->weight)
        loss = ir_mul(b, loss, ir_broadcast(b, k->weight, X->type.rank, X->type.dim, &axis));
    return reduced(c, ir_neg(b, ir_reduce(b, IR_SUM, loss, 1, &axis)));
}

static bool target_ok(trace_call *c, bool probability, int axis)
{
    bool fits = probability ? ir_type_eq(&X->type, &Y->type)
                            : ir_is_int(Y->type.dtype) && Y->type.rank == X->type.rank - 1;
    for (int i = 0; fits && !probability && i < Y->type.rank; i++)
        fits = Y->type.dim[i] == X->type.dim[i + (i >= axis)];
    if (!fits)
        trace_wrong(c, "scores %s and target %s; [N, C, …] with classes [N, …]%s are due",
                    trace_text(c, X), trace_text(c, Y),
                    c->row->extra == 1 ? "" : " or probabilities [N, C, …]");
    return fits;
}

/* extra 1: the scores are logarithms already; 2: with weights. */
TRACE_BUILD(cross_entropy)
{
    bool probability = c->row->extra != 1 && ir_is_float(Y->type.dtype);
    ir_classes k = {.axis = X->type.rank > 1, .ignores = true, .ignore = -100};
    if (c->row->extra == 2) {
        k.weight = c->v[2];
        k.ignore = c->i[1];
        k.smoothing = c->n[0];
    }
    if (!reduction_ok(c))
        return;
    k.reduction = (ir_reduction)c->i[0];
    if (X->type.rank < 1 || X->type.rank == IR_MAX_RANK || !ir_is_float(X->type.dtype)) {
        trace_wrong(c, "scores %s, a float tensor [N, C, …] is due", trace_text(c, X));
        return;
    }
    if (!target_ok(c, probability, k.axis))
        return;
    if (k.weight && (k.weight->type.dtype != X->type.dtype || k.weight->type.rank != 1 ||
                     k.weight->type.dim[0] != X->type.dim[k.axis])) {
        trace_wrong(c, "weights %s for scores %s", trace_text(c, k.weight), trace_text(c, X));
        return;
    }
    if (!(k.smoothing >= 0 && k.smoothing <= 1)) {
        trace_wrong(c, "a label smoothing of %g", k.smoothing);
        return;
    }
    k.logs = c->row->extra == 1 ? X : ir_softmax(c->b, X, k.axis, true);
    if (!k.logs)
        return;
    if (probability || k.smoothing > 0)
        c->grad_fn = probability ? name_of(c, "NegBackward0", "DivBackward1", "NegBackward0")
                                 : "AddBackward0";
    else if (X->type.rank > 2)
        c->grad_fn = "NllLoss2DBackward0";
    OUT = probability ? by_probability(c, &k) : ir_nll(c->b, &k, Y);
}
