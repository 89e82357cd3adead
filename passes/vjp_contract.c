/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of contractions, which are contractions again.
 *
 * A convolution is out[i] = sum over k of in[j] w[k], where in one spatial dimension
 *
 *     i stride + k rhs_dilation - low = j lhs_dilation.
 *
 * in's derivative is the same equation read for j: with the taps numbered from the other end, a
 * convolution of the cotangent, whose stride is lhs_dilation and whose lhs_dilation is stride. w's
 * derivative is the equation read for k: a convolution of in with the cotangent as weights, stride
 * and rhs_dilation exchanged; batch and features of in exchange their roles, and so feature groups
 * become batch groups and the reverse. */
#include "passes/vjp.h"

#include <string.h>

#define G (ct[0])

/* ---- dot_general ---- */

typedef struct side { /* of a contraction */
    ir_value *v;
    ir_ints batch, contract;
    int64_t rest[IR_MAX_RANK]; /* its other dimensions */
    int nrest;
} side;

static int find(ir_ints list, int64_t d)
{
    for (int i = 0; i < list.n; i++)
        if (list.v[i] == d)
            return i;
    return -1;
}

static side side_of(ir_value *v, ir_ints batch, ir_ints contract)
{
    side s = {.v = v, .batch = batch, .contract = contract};
    for (int d = 0; d < v->type.rank; d++)
        if (find(batch, d) < 0 && find(contract, d) < 0)
            s.rest[s.nrest++] = d;
    return s;
}

/* How many of list are below d. */
static int below(ir_ints list, int64_t d)
{
    int n = 0;
    for (int i = 0; i < list.n; i++)
        n += list.v[i] < d;
    return n;
}

/* The cotangent of `mine`: g [batch…, lhs rest…, rhs rest…] contracted with `other` over the
 * dimensions that other brought in. The operand whose dimensions come first in mine comes first, so
 * that mostly no transpose is needed. */
static ir_value *dot_side(ir_builder *b, ir_value *g, const side *mine, const side *other,
                          bool mine_is_rhs)
{
    int nbatch = mine->batch.n, ncontract = mine->contract.n, first = 0;
    int64_t g_batch[IR_MAX_RANK], g_contract[IR_MAX_RANK], perm[IR_MAX_RANK];
    for (int i = 0; i < nbatch; i++)
        g_batch[i] = i;
    for (int i = 0; i < other->nrest; i++)
        g_contract[i] = nbatch + (mine_is_rhs ? 0 : mine->nrest) + i;
    while (find(mine->batch, first) >= 0)
        first++;
    bool g_first = find(mine->contract, first) < 0;
    ir_value *r = g_first ? ir_dot_general(b, g, other->v, nbatch, g_batch, other->batch.v,
                                           other->nrest, g_contract, other->rest)
                          : ir_dot_general(b, other->v, g, nbatch, other->batch.v, g_batch,
                                           other->nrest, other->rest, g_contract);
    for (int d = 0, rest = 0; d < mine->v->type.rank; d++) {
        int batch = find(mine->batch, d), contract = find(mine->contract, d);
        if (batch >= 0)
            perm[d] = batch;
        else if (contract >= 0)
            perm[d] = nbatch + (g_first ? mine->nrest : 0) +
                      below(other->contract, other->contract.v[contract]);
        else
            perm[d] = nbatch + (g_first ? 0 : ncontract) + rest++;
    }
    return ir_transpose(b, r, perm);
}

AD_RULE(dot_general)
{
    const struct ir_attrs_dot_general *a = IR_ATTR(inst, dot_general);
    side lhs = side_of(inst->operand[0], a->lhs_batch, a->lhs_contract),
         rhs = side_of(inst->operand[1], a->rhs_batch, a->rhs_contract);
    /* The cotangent has the type of the sum: the derivative is computed in it. */
    ir_dtype own = lhs.v->type.dtype;
    lhs.v = ir_convert(b, lhs.v, G->type.dtype);
    rhs.v = ir_convert(b, rhs.v, G->type.dtype);
    if (want[0])
        out[0] = ir_convert(b, dot_side(b, G, &lhs, &rhs, false), own);
    if (want[1])
        out[1] = ir_convert(b, dot_side(b, G, &rhs, &lhs, true), own);
}

/* ---- convolution ---- */

#define IN (inst->operand[0])
#define W (inst->operand[1])
#define OUT (inst->result[0])

/* Dimension `from` is [groups, rest]: moves its groups to dimension `to`, as the outer part. */
static ir_value *move_groups(ir_builder *b, ir_value *x, int64_t from, int64_t to, int64_t groups)
{
    ir_type t = x->type, split = {.rank = t.rank + 1}, merged = t;
    int64_t perm[IR_MAX_RANK];
    if (groups == 1)
        return x;
    for (int d = 0, n = 0; d < t.rank; d++) {
        if (d == from)
            split.dim[n++] = groups;
        split.dim[n++] = d == from ? t.dim[d] / groups : t.dim[d];
    }
    for (int d = 0, n = 0; d < t.rank; d++) {
        if (d == to)
            perm[n++] = from;
        perm[n++] = d < from ? d : d + 1;
    }
    merged.dim[from] /= groups;
    merged.dim[to] *= groups;
    return ir_reshape(b, ir_transpose(b, ir_reshape(b, x, split.rank, split.dim), perm),
                      merged.rank, merged.dim);
}

static int64_t span(int64_t n, int64_t dilation)
{
    return n ? (n - 1) * dilation + 1 : 0;
}

/* The weights with their taps in the other order. */
static ir_value *turned(ir_builder *b, ir_value *w, ir_ints order)
{
    int64_t axes[IR_MAX_RANK];
    int n = 0;
    for (int d = 0; d < order.n; d++)
        if (find(order, d) >= 2)
            axes[n++] = d;
    return ir_reverse(b, w, n, axes);
}

/* kernel: inst's, in the type of g, like the result. */
static ir_value *of_lhs(ir_builder *b, const ir_inst *inst, ir_value *g, ir_value *kernel)
{
    const struct ir_attrs_convolution *a = IR_ATTR(inst, convolution);
    int spatial = a->stride.n;
    int64_t groups = a->feature_groups * a->batch_groups, low[IR_MAX_RANK], high[IR_MAX_RANK],
            weights[IR_MAX_RANK];
    for (int i = 0; i < spatial; i++) {
        int64_t taps = span(W->type.dim[a->rhs.v[2 + i]], a->rhs_dilation.v[i]);
        low[i] = taps - 1 - a->low.v[i];
        high[i] = span(IN->type.dim[a->lhs.v[2 + i]], a->lhs_dilation.v[i]) -
                  span(OUT->type.dim[a->out.v[2 + i]], a->stride.v[i]) + a->low.v[i];
    }
    if (!ad_near(inst, spatial, low) || !ad_near(inst, spatial, high))
        return NULL;
    memcpy(weights, a->rhs.v, (size_t)a->rhs.n * sizeof *weights);
    weights[0] = a->rhs.v[1];
    weights[1] = a->rhs.v[0];
    ir_value *w = move_groups(b, turned(b, kernel, a->rhs), a->rhs.v[0], a->rhs.v[1], groups);
    ir_attrs attrs = {.convolution = {.lhs = a->out,
                                      .rhs = ir_ints_of(b, a->rhs.n, weights),
                                      .out = a->lhs,
                                      .stride = a->lhs_dilation,
                                      .low = ir_ints_of(b, spatial, low),
                                      .high = ir_ints_of(b, spatial, high),
                                      .lhs_dilation = a->stride,
                                      .rhs_dilation = a->rhs_dilation,
                                      .feature_groups = groups,
                                      .batch_groups = 1}};
    ir_value *r = ad_build(b, inst, IR_OP_convolution, (ir_value *[]){g, w}, 2, &attrs);
    return r ? move_groups(b, r, a->lhs.v[1], a->lhs.v[0], a->batch_groups) : NULL;
}

static ir_ints exchanged(ir_builder *b, ir_ints order)
{
    ir_ints r = ir_ints_of(b, order.n, order.v);
    r.v[0] = order.v[1];
    r.v[1] = order.v[0];
    return r;
}

/* in: inst's operand, in the type of g, like the result. */
static ir_value *of_rhs(ir_builder *b, const ir_inst *inst, ir_value *g, ir_value *in)
{
    const struct ir_attrs_convolution *a = IR_ATTR(inst, convolution);
    int spatial = a->stride.n;
    int64_t high[IR_MAX_RANK];
    for (int i = 0; i < spatial; i++)
        high[i] = span(W->type.dim[a->rhs.v[2 + i]], a->rhs_dilation.v[i]) - 1 +
                  span(OUT->type.dim[a->out.v[2 + i]], a->stride.v[i]) -
                  span(IN->type.dim[a->lhs.v[2 + i]], a->lhs_dilation.v[i]) - a->low.v[i];
    if (!ad_near(inst, spatial, a->low.v) || !ad_near(inst, spatial, high))
        return NULL;
    ir_attrs attrs = {.convolution = {.lhs = exchanged(b, a->lhs),
                                      .rhs = exchanged(b, a->out),
                                      .out = exchanged(b, a->rhs),
                                      .stride = a->rhs_dilation,
                                      .low = a->low,
                                      .high = ir_ints_of(b, spatial, high),
                                      .lhs_dilation = a->lhs_dilation,
                                      .rhs_dilation = a->stride,
                                      .feature_groups = a->batch_groups,
                                      .batch_groups = a->feature_groups}};
    return ad_build(b, inst, IR_OP_convolution, (ir_value *[]){in, g}, 2, &attrs);
}

/* NULL: there was no derivative, which is reported. */
static ir_value *converted(ir_builder *b, ir_value *v, ir_dtype to)
{
    return v ? ir_convert(b, v, to) : NULL;
}

AD_RULE(convolution)
{
    const struct ir_attrs_convolution *a = IR_ATTR(inst, convolution);
    /* Groups are a dimension of their own in between. */
    if (W->type.rank == IR_MAX_RANK && (a->feature_groups > 1 || a->batch_groups > 1)) {
        base_report(b->func->module->ctx, BASE_ERROR, inst->loc,
                    "no derivative rule for a grouped `convolution` of rank %d", IR_MAX_RANK);
        return;
    }
    ir_dtype own = IN->type.dtype, sum = G->type.dtype;
    if (want[0])
        out[0] = converted(b, of_lhs(b, inst, G, ir_convert(b, W, sum)), own);
    if (want[1] && ir_count(&IN->type))
        out[1] = converted(b, of_rhs(b, inst, G, ir_convert(b, IN, sum)), own);
}
