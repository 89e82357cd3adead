/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Normalisation and dropout. Operands: x, weight, bias, and for batch_norm mean and variance. */
#include "frontend/trace/trace.h"

#define X c->v[0]
#define RANK c->v[0]->type.rank
#define DIM c->v[0]->type.dim
#define OUT c->out[0]

/* x / sqrt(mean of x^2 + epsilon) over axes, after x has lost its mean (unless `plain`). */
static ir_value *normalise(trace_call *c, ir_value *x, int n, const int64_t *axes, double epsilon,
                           bool plain)
{
    ir_builder *b = c->b;
    if (!plain)
        x = ir_sub(b, x, trace_spread(c, ir_mean(c->b, x, n, axes, true), x));
    ir_value *scale =
        ir_rsqrt(b, trace_plus(c, ir_mean(c->b, ir_mul(b, x, x), n, axes, true), epsilon));
    return ir_mul(b, x, trace_spread(c, scale, x));
}

/* One number a channel, along dimension 1; true too where there is none. */
static bool by_channel(trace_call *c, int i)
{
    int64_t axis = 1;
    ir_value *v = c->v[i];
    if (!v)
        return true;
    if (RANK < 2 || v->type.rank != 1 || v->type.dim[0] != DIM[1]) {
        trace_wrong(c, "operand %d is %s for %s; one number a channel is due", i, trace_text(c, v),
                    trace_text(c, X));
        return false;
    }
    c->v[i] = ir_broadcast(c->b, ir_convert(c->b, v, X->type.dtype), RANK, DIM, &axis);
    return c->v[i] != NULL;
}

static ir_value *affine(trace_call *c, ir_value *y)
{
    if (y && c->v[1])
        y = ir_mul(c->b, y, c->v[1]);
    if (y && c->v[2])
        y = ir_add(c->b, y, c->v[2]);
    return y;
}

/* x gets (1 - momentum) x + momentum v. */
static void move(trace_call *c, int i, ir_value *old, ir_value *v, double momentum)
{
    ir_builder *b = c->b;
    ir_dtype own = old->type.dtype,
             t = v && ir_dtypes[own].bytes < ir_dtypes[v->type.dtype].bytes ? v->type.dtype : own;
    v = ir_add(b, trace_times(c, ir_convert(b, old, t), 1 - momentum),
               trace_times(c, ir_convert(b, v, t), momentum));
    v = ir_convert(b, v, own);
    if (v)
        trace_update(c, c->in[i], old, v);
}

/* Statistics of the batch; the buffers move. */
static ir_value *batch_normalise(trace_call *c, ir_value *const *old, double epsilon,
                                 double momentum)
{
    ir_builder *b = c->b;
    int64_t axes[IR_MAX_RANK], axis = 1;
    int n = 0;
    for (int i = 0; i < RANK; i++)
        if (i != 1)
            axes[n++] = i;
    double count = DIM[1] ? (double)(ir_count(&X->type) / DIM[1]) : 0;
    ir_value *mean = ir_mean(c->b, X, n, axes, false);
    ir_value *d = mean ? ir_sub(b, X, ir_broadcast(b, mean, RANK, DIM, &axis)) : NULL;
    ir_value *variance = ir_mean(c->b, ir_mul(b, d, d), n, axes, false);
    ir_value *scale = ir_rsqrt(b, trace_plus(c, variance, epsilon));
    if (!scale)
        return NULL;
    if (old[0])
        move(c, 3, old[0], mean, momentum);
    if (old[1])
        move(c, 4, old[1], trace_times(c, variance, count > 1 ? count / (count - 1) : 0), momentum);
    return ir_mul(b, d, ir_broadcast(b, scale, RANK, DIM, &axis));
}

static bool statistics_ok(trace_call *c, bool training)
{
    for (int i = 3; i < 5; i++) {
        const gradc_tensor *x = c->in[i];
        if (!x && !training)
            trace_wrong(c, "without training, mean and variance are due");
        else if (x && training && (x->value || x->requires_grad))
            trace_wrong(
                c, "mean and variance are leaves without gradient, as gradc_buffer makes them");
    }
    if (RANK < 2 || !ir_is_float(X->type.dtype))
        trace_wrong(c, "%s, a float tensor [N, C, …] is due", trace_text(c, X));
    return !c->b->failed;
}

TRACE_BUILD(batch_norm)
{
    ir_builder *b = c->b;
    double epsilon = c->n[0], momentum = c->n[1];
    bool training = c->i[0] != 0;
    if (!statistics_ok(c, training))
        return;
    ir_value *old[] = {c->given[3], c->given[4]};
    for (int i = 1; i < 5; i++)
        if (!by_channel(c, i))
            return;
    ir_value *y = NULL, *z = training ? batch_normalise(c, old, epsilon, momentum) : NULL;
    if (old[0] && old[1])
        y = ir_mul(b, ir_sub(b, X, c->v[3]), ir_rsqrt(b, trace_plus(c, c->v[4], epsilon)));
    if (training)
        y = y ? trace_choose(c, z, y) : z;
    OUT = affine(c, y);
}

/* extra 1: rms_norm, which takes no mean away and has no bias. */
TRACE_BUILD(layer_norm)
{
    int64_t axes[IR_MAX_RANK];
    int n = c->s[0].rank, first = RANK - n;
    bool fits = n >= 1 && first >= 0 && !memcmp(c->s[0].dim, DIM + first, (size_t)n * sizeof *DIM);
    for (int i = 1; fits && i < c->nin; i++)
        fits = !c->v[i] || (c->v[i]->type.rank == n &&
                            !memcmp(c->v[i]->type.dim, c->s[0].dim, (size_t)n * sizeof *DIM));
    if (!fits) {
        trace_wrong(c, "%s does not end in the shape given, or weight or bias has another",
                    trace_text(c, X));
        return;
    }
    for (int i = 0; i < n; i++)
        axes[i] = first + i;
    ir_value *y = normalise(c, X, n, axes, c->n[0], c->row->extra != 0);
    for (int i = 1; i < c->nin; i++)
        if (c->v[i] && y)
            y = i == 1 ? ir_mul(c->b, y, trace_spread(c, c->v[1], X))
                       : ir_add(c->b, y, trace_spread(c, c->v[2], X));
    OUT = y;
}

/* Normalises [N, groups, …]. */
static ir_value *by_group(trace_call *c, int64_t groups)
{
    int64_t shape[3] = {DIM[0], groups, 1}, axis = 2;
    shape[2] = DIM[1] / groups;
    for (int i = 2; i < RANK; i++)
        shape[2] *= DIM[i];
    ir_value *y = normalise(c, ir_reshape(c->b, X, 3, shape), 1, &axis, c->n[0], false);
    return y ? ir_reshape(c->b, y, RANK, DIM) : NULL;
}

TRACE_BUILD(group_norm)
{
    int64_t groups = c->i[0];
    if (RANK < 2 || groups < 1 || DIM[1] % groups)
        trace_wrong(c, "%lld groups of %s", (long long)groups, trace_text(c, X));
    else if (by_channel(c, 1) && by_channel(c, 2))
        OUT = affine(c, by_group(c, groups));
}

TRACE_BUILD(instance_norm)
{
    if (RANK < 3 || !DIM[1])
        trace_wrong(c, "%s, [N, C, …] is due", trace_text(c, X));
    else if (by_channel(c, 1) && by_channel(c, 2))
        OUT = affine(c, by_group(c, DIM[1]));
}

/* An element stays if its 32 random bits are at least p * 2^32. */
TRACE_BUILD(dropout)
{
    ir_builder *b = c->b;
    double p = c->n[0];
    OUT = X;
    if (!(p >= 0 && p <= 1)) {
        trace_wrong(c, "a probability of %g", p);
        return;
    }
    if (!c->i[0] || p == 0)
        return;
    ir_value *dropped = trace_like(c, X, 0);
    if (p < 1) {
        ir_value *bits = trace_random_bits(c, &X->type);
        ir_value *keep =
            ir_compare(b, IR_GE, bits, trace_like(c, bits, (double)(uint32_t)(p * 4294967296.0)));
        dropped = ir_select(b, keep, trace_times(c, X, 1 / (1 - p)), dropped);
    }
    OUT = trace_choose(c, dropped, X);
}
