/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Losses. */
#include "frontend/trace/trace.h"
#include "ir/nn.h"

#define X c->v[0]
#define Y c->v[1]
#define OUT c->out[0]

static bool reduction_ok(trace_call *c)
{
    if (c->i[0] == GRADC_NONE || c->i[0] == GRADC_MEAN || c->i[0] == GRADC_SUM)
        return true;
    trace_wrong(c, "unknown reduction %lld; expected GRADC_NONE, GRADC_MEAN or GRADC_SUM",
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

/* The name shows of which operations torch composes the loss. */
static const char *name_of(const trace_call *c, const char *none, const char *mean, const char *sum)
{
    return c->i[0] == GRADC_NONE ? none : c->i[0] == GRADC_MEAN ? mean : sum;
}

/* Broadcasts the operands to one shape; false and reported if that fails or the reduction is
 * unknown. */
static bool prepare(trace_call *c)
{
    return reduction_ok(c) && ir_broadcast_both(c->b, &X, &Y);
}

/* The same for losses that do not broadcast. */
static bool prepare_equal(trace_call *c)
{
    if (!reduction_ok(c))
        return false;
    if (ir_shape_eq(&X->type, &Y->type))
        return true;
    trace_wrong(c, "x %s and target %s differ in shape", trace_text(c, X), trace_text(c, Y));
    return false;
}

TRACE_BUILD(mse_loss)
{
    if (!prepare(c))
        return;
    ir_value *d = ir_sub(c->b, X, Y);
    OUT = reduced(c, ir_mul(c->b, d, d));
}

TRACE_BUILD(l1_loss)
{
    c->grad_fn = name_of(c, "AbsBackward0", "MeanBackward0", "SumBackward0");
    if (prepare(c))
        OUT = reduced(c, ir_abs(c->b, ir_sub(c->b, X, Y)));
}

TRACE_BUILD(smooth_l1_loss)
{
    if (prepare(c))
        OUT = reduced(c, ir_smooth_l1(c->b, ir_sub(c->b, X, Y), c->n[0]));
}

TRACE_BUILD(huber_loss)
{
    if (prepare(c))
        OUT = reduced(c, ir_huber(c->b, ir_sub(c->b, X, Y), c->n[0]));
}

TRACE_BUILD(kl_div)
{
    c->grad_fn = name_of(c, "SubBackward0", "MeanBackward0", "SumBackward0");
    if (prepare(c))
        OUT = reduced(c, ir_kl_div(c->b, X, Y));
}

TRACE_BUILD(bce)
{
    if (prepare_equal(c))
        OUT = reduced(c, ir_bce(c->b, X, Y));
}

TRACE_BUILD(bce_with_logits)
{
    if (prepare_equal(c))
        OUT = reduced(c, ir_bce_with_logits(c->b, X, Y));
}

/* ---- Classes ---- */

static bool target_ok(trace_call *c, bool logarithms, bool probability, int axis)
{
    bool fits = probability ? ir_type_eq(&X->type, &Y->type)
                            : ir_is_int(Y->type.dtype) && Y->type.rank == X->type.rank - 1;
    for (int i = 0; fits && !probability && i < Y->type.rank; i++)
        fits = Y->type.dim[i] == X->type.dim[i + (i >= axis)];
    if (!fits)
        trace_wrong(
            c, "scores %s and target %s do not match; expected [N, C, …] with classes [N, …]%s",
            trace_text(c, X), trace_text(c, Y), logarithms ? "" : " or probabilities [N, C, …]");
    return fits;
}

/* The loss of X, scores or log-probabilities, for Y; k has the weight, the ignored class and the
 * smoothing. */
static void class_loss(trace_call *c, bool logarithms, ir_classes k)
{
    bool probability = !logarithms && ir_is_float(Y->type.dtype);
    k.axis = X->type.rank > 1;
    k.ignores = true;
    if (!reduction_ok(c))
        return;
    k.reduction = (ir_reduction)c->i[0];
    if (X->type.rank < 1 || X->type.rank == IR_MAX_RANK || !ir_is_float(X->type.dtype)) {
        trace_wrong(c, "scores are %s, expected a float tensor [N, C, …]", trace_text(c, X));
        return;
    }
    if (!target_ok(c, logarithms, probability, k.axis))
        return;
    if (k.weight && (k.weight->type.dtype != X->type.dtype || k.weight->type.rank != 1 ||
                     k.weight->type.dim[0] != X->type.dim[k.axis])) {
        trace_wrong(c, "weights %s do not fit scores %s", trace_text(c, k.weight),
                    trace_text(c, X));
        return;
    }
    if (!(k.smoothing >= 0 && k.smoothing <= 1)) {
        trace_wrong(c, "label smoothing is %g, expected 0 to 1", k.smoothing);
        return;
    }
    k.logs = logarithms ? X : ir_log_softmax(c->b, X, k.axis);
    if (!k.logs)
        return;
    if (probability || k.smoothing > 0)
        c->grad_fn = probability ? name_of(c, "NegBackward0", "DivBackward1", "NegBackward0")
                                 : "AddBackward0";
    else if (X->type.rank > 2)
        c->grad_fn = "NllLoss2DBackward0";
    OUT = probability ? ir_cross_entropy(c->b, &k, Y) : ir_nll(c->b, &k, Y);
}

TRACE_BUILD(cross_entropy)
{
    class_loss(c, false, (ir_classes){.ignore = -100});
}

TRACE_BUILD(cross_entropy_weighted)
{
    class_loss(c, false, (ir_classes){.weight = c->v[2], .ignore = c->i[1], .smoothing = c->n[0]});
}

TRACE_BUILD(nll_loss)
{
    class_loss(c, true, (ir_classes){.ignore = -100});
}
