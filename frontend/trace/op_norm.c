/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Normalisation and dropout. Operands: x, weight, bias, and for batch_norm mean and variance. */
#include "frontend/trace/trace.h"
#include "ir/nn.h"

#define X c->v[0]
#define RANK c->v[0]->type.rank
#define DIM c->v[0]->type.dim
#define OUT c->out[0]

/* Broadcasts operand i, one element per channel, along dimension 1; true if it is left out. */
static bool by_channel(trace_call *c, int i)
{
    int64_t axis = 1;
    ir_value *v = c->v[i];
    if (!v)
        return true;
    if (RANK < 2 || v->type.rank != 1 || v->type.dim[0] != DIM[1]) {
        trace_wrong(c, "operand %d is %s, expected one element per channel of %s", i,
                    trace_text(c, v), trace_text(c, X));
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

/* x gets (1 - momentum) x + gain v. */
static void move(trace_call *c, int i, ir_value *old, ir_value *v, double momentum, double gain)
{
    if (!old)
        return;
    v = ir_moving_average(c->b, old, v, 1 - momentum, gain);
    if (v)
        trace_update(c, c->in[i], old, v);
}

/* All dimensions except that of the channels. */
static int batch_axes(trace_call *c, int64_t *axes)
{
    int n = 0;
    for (int i = 0; i < RANK; i++)
        if (i != 1)
            axes[n++] = i;
    return n;
}

/* Normalises by the batch's statistics and updates the buffers. */
static ir_value *batch_normalise(trace_call *c, ir_value *const *old, double epsilon,
                                 double momentum)
{
    int64_t axes[IR_MAX_RANK];
    int n = batch_axes(c, axes);
    double count = DIM[1] ? (double)(ir_count(&X->type) / DIM[1]) : 0;
    ir_moments m = ir_moments_of(c->b, X, n, axes);
    if (!m.variance)
        return NULL;
    move(c, 3, old[0], m.mean, momentum, momentum);
    move(c, 4, old[1], m.variance, momentum, count > 1 ? momentum * (count / (count - 1)) : 0);
    return ir_standardize(c->b, m.centered, m.variance, epsilon, n, axes);
}

static bool statistics_ok(trace_call *c, bool training)
{
    for (int i = 3; i < 5; i++) {
        const gradc_tensor *x = c->in[i];
        if (!x && !training)
            trace_wrong(c, "mean and variance are required outside training");
        else if (x && training && (x->value || x->requires_grad))
            trace_wrong(
                c, "mean and variance must be leaves without gradient, as gradc_buffer makes them");
    }
    if (RANK < 2 || !ir_is_float(X->type.dtype))
        trace_wrong(c, "expected a float tensor [N, C, …], got %s", trace_text(c, X));
    return !c->b->failed;
}

TRACE_BUILD(batch_norm)
{
    ir_builder *b = c->b;
    double epsilon = c->n[0], momentum = c->n[1];
    bool training = c->i[0] != 0;
    if (!statistics_ok(c, training))
        return;
    int64_t axes[IR_MAX_RANK];
    ir_value *old[] = {c->given[3], c->given[4]},
             *variance = old[1] ? ir_convert(b, c->v[4], X->type.dtype) : NULL;
    for (int i = 1; i < 5; i++)
        if (!by_channel(c, i))
            return;
    ir_value *y = NULL, *z = training ? batch_normalise(c, old, epsilon, momentum) : NULL;
    if (old[0] && old[1])
        y = ir_standardize(b, ir_sub(b, X, c->v[3]), variance, epsilon, batch_axes(c, axes), axes);
    if (training)
        y = y ? trace_choose(c, z, y) : z;
    OUT = affine(c, y);
}

/* The last dimensions, whose shape is s[0] and that of weight and bias; 0 and reported if not. */
static int layer_axes(trace_call *c, int64_t *axes)
{
    int n = c->s[0].rank, first = RANK - n;
    bool fits = n >= 1 && first >= 0 && !memcmp(c->s[0].dim, DIM + first, (size_t)n * sizeof *DIM);
    for (int i = 1; fits && i < c->nin; i++)
        fits = !c->v[i] || (c->v[i]->type.rank == n &&
                            !memcmp(c->v[i]->type.dim, c->s[0].dim, (size_t)n * sizeof *DIM));
    if (!fits)
        trace_wrong(
            c,
            "the normalized shape does not match the last dimensions of %s, the weight or the bias",
            trace_text(c, X));
    for (int i = 0; fits && i < n; i++)
        axes[i] = first + i;
    return fits ? n : 0;
}

TRACE_BUILD(layer_norm)
{
    int64_t axes[IR_MAX_RANK];
    int n = layer_axes(c, axes);
    if (!n)
        return;
    for (int i = 1; i < 3; i++)
        c->v[i] = ir_broadcast_like(c->b, c->v[i], X);
    OUT = affine(c, ir_normalize(c->b, X, c->n[0], n, axes, NULL, NULL));
}

TRACE_BUILD(rms_norm)
{
    int64_t axes[IR_MAX_RANK];
    int n = layer_axes(c, axes);
    if (!n)
        return;
    ir_value *y = ir_rms_normalize(c->b, X, c->n[0], n, axes);
    OUT = c->v[1] ? ir_mul(c->b, y, ir_broadcast_like(c->b, c->v[1], X)) : y;
}

TRACE_BUILD(group_norm)
{
    int64_t groups = c->i[0];
    if (RANK < 2 || groups < 1 || DIM[1] % groups)
        trace_wrong(c, "%lld groups do not fit %s", (long long)groups, trace_text(c, X));
    else if (by_channel(c, 1) && by_channel(c, 2))
        OUT = affine(c, ir_group_normalize(c->b, X, groups, c->n[0]));
}

TRACE_BUILD(instance_norm)
{
    if (RANK < 3 || !DIM[1])
        trace_wrong(c, "expected a tensor [N, C, …] of rank 3 or more, got %s", trace_text(c, X));
    else if (by_channel(c, 1) && by_channel(c, 2))
        OUT = affine(c, ir_group_normalize(c->b, X, DIM[1], c->n[0]));
}

TRACE_BUILD(dropout)
{
    double p = c->n[0];
    OUT = X;
    if (!(p >= 0 && p <= 1))
        trace_wrong(c, "the probability is %g, expected 0 to 1", p);
    else if (c->i[0] && p > 0)
        OUT = trace_choose(c,
                           p < 1 ? ir_dropout(c->b, X, trace_random_bits(c, &X->type), p, NULL)
                                 : ir_like(c->b, X, 0),
                           X);
}
