/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Rewrites of reductions and contractions. */
#include "passes/rewrite.h"
#include "ir/tuning.h"

#include <string.h>

static uint32_t mask_of(ir_ints axes)
{
    uint32_t m = 0;
    for (int i = 0; i < axes.n; i++)
        m |= 1u << axes.v[i];
    return m;
}

static int list_of(uint32_t mask, int64_t *out)
{
    int n = 0;
    for (int i = 0; i < IR_MAX_RANK; i++)
        if (mask >> i & 1)
            out[n++] = i;
    return n;
}

/* Over an extent of 1, every reduction gives the element. */
RULE(rw_reduce_unit)
{
    const ir_ints axes = IR_ATTR(inst, reduce)->axes;
    int64_t left[IR_MAX_RANK];
    int n = rw_long_axes(axes, &X->type, left);
    if (n == axes.n && n)
        return false;
    return give(out, ir_reshape(b, ir_reduce(b, IR_ATTR(inst, reduce)->combine, X, n, left),
                                R->rank, R->dim));
}

static bool reduce_transpose(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *t = match(X, IR_OP_transpose);
    if (!t)
        return false;
    const ir_ints perm = IR_ATTR(t, transpose)->perm;
    uint32_t gone = mask_of(IR_ATTR(inst, reduce)->axes), from = 0;
    int64_t axes[IR_MAX_RANK], order[IR_MAX_RANK];
    int n = 0;
    for (int i = 0; i < perm.n; i++)
        if (gone >> i & 1)
            from |= 1u << perm.v[i];
    for (int i = 0; i < perm.n; i++)
        if (!(gone >> i & 1)) /* its position among the remaining dimensions */
            order[n++] = __builtin_popcount(~from & ((1u << perm.v[i]) - 1));
    n = list_of(from, axes);
    return give(
        out, ir_transpose(b, ir_reduce(b, IR_ATTR(inst, reduce)->combine, t->operand[0], n, axes),
                          order));
}

/* Reduces a broadcast: a sum becomes a multiplication; max, min, and, or change nothing. */
static bool reduce_broadcast(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *r = match(X, IR_OP_broadcast);
    ir_combine combine = IR_ATTR(inst, reduce)->combine;
    if (!r || combine == IR_PROD)
        return false;
    const ir_ints dims = IR_ATTR(r, broadcast)->dims;
    uint32_t gone = mask_of(IR_ATTR(inst, reduce)->axes), inner = 0, mapped = mask_of(dims);
    int64_t axes[IR_MAX_RANK], to[IR_MAX_RANK], times = 1;
    int n = 0;
    for (int i = 0; i < dims.n; i++) {
        if (r->operand[0]->type.dim[i] != X->type.dim[dims.v[i]])
            return false;
        if (gone >> dims.v[i] & 1)
            inner |= 1u << i;
        else
            to[n++] = __builtin_popcount(~gone & ((1u << dims.v[i]) - 1));
    }
    for (int i = 0; i < X->type.rank; i++)
        if ((gone & ~mapped) >> i & 1)
            times *= X->type.dim[i];
    if (!(gone & ~mapped) || times < 1 ||
        (combine == IR_SUM && times > 2048 && ir_dtypes[R->dtype].bytes < 4))
        return false;
    n = list_of(inner, axes);
    ir_value *small = ir_reduce(b, combine, r->operand[0], n, axes);
    if (combine == IR_SUM) /* of integers, times wraps as the sum does */
        small = ir_mul(b, small, ir_like_int(b, small, times));
    return give(out, ir_broadcast(b, small, R->rank, R->dim, to));
}

/* reduce(reshape(x)) where the reshape only adds or drops dimensions of extent 1. */
static bool reduce_reshape(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *r = match(X, IR_OP_reshape);
    if (!r || !match_unit_reshape(&r->operand[0]->type, &X->type))
        return false;
    const ir_type *from = &r->operand[0]->type;
    uint32_t gone = mask_of(IR_ATTR(inst, reduce)->axes);
    int64_t axes[IR_MAX_RANK];
    int n = 0, j = 0;
    for (int i = 0; i < X->type.rank; i++) {
        if (X->type.dim[i] == 1)
            continue; /* rw_reduce_unit left none to reduce */
        while (from->dim[j] == 1)
            j++;
        if (gone >> i & 1)
            axes[n++] = j;
        j++;
    }
    return give(out,
                ir_reshape(b, ir_reduce(b, IR_ATTR(inst, reduce)->combine, r->operand[0], n, axes),
                           R->rank, R->dim));
}

RULE(rw_reduce_move)
{
    return reduce_transpose(b, inst, out) || reduce_broadcast(b, inst, out) ||
           reduce_reshape(b, inst, out);
}

RULE(rw_reduce_reduce)
{
    ir_inst *inner = match(X, IR_OP_reduce);
    if (!inner || X->id > 1 || IR_ATTR(inner, reduce)->combine != IR_ATTR(inst, reduce)->combine)
        return false;
    uint32_t first = mask_of(IR_ATTR(inner, reduce)->axes),
             second = mask_of(IR_ATTR(inst, reduce)->axes), all = first;
    for (int i = 0, k = 0; i < inner->operand[0]->type.rank; i++)
        if (!(first >> i & 1) && (second >> k++ & 1))
            all |= 1u << i;
    int64_t axes[IR_MAX_RANK];
    int n = list_of(all, axes);
    return give(out, ir_reduce(b, IR_ATTR(inst, reduce)->combine, inner->operand[0], n, axes));
}

/* A window as large as the tensor in some dimensions and 1 in the others. */
RULE(rw_reduce_window)
{
    const struct ir_attrs_reduce_window *a = IR_ATTR(inst, reduce_window);
    int64_t axes[IR_MAX_RANK];
    int n = 0;
    for (int i = 0; i < R->rank; i++) {
        bool one = a->window.v[i] == 1 && a->stride.v[i] == 1,
             all = a->window.v[i] == X->type.dim[i] && a->window_dilation.v[i] == 1;
        if (a->low.v[i] || a->high.v[i] || a->base_dilation.v[i] != 1 || !(one || all))
            return false;
        if (!one)
            axes[n++] = i;
    }
    return give(out, ir_reshape(b, ir_reduce(b, a->combine, X, n, axes), R->rank, R->dim));
}

ir_value *window_along(ir_builder *b, const ir_inst *inst, ir_value *x, int d)
{
    struct ir_attrs_reduce_window a = *IR_ATTR(inst, reduce_window);
    ir_ints *const list[] = {&a.window, &a.stride,        &a.low,
                             &a.high,   &a.base_dilation, &a.window_dilation};
    for (int i = 0; i < 6; i++) {
        int64_t v[IR_MAX_RANK];
        for (int k = 0; k < list[i]->n; k++)
            v[k] = k == d ? list[i]->v[k] : list[i] != &a.low && list[i] != &a.high;
        *list[i] = ir_ints_of(b, list[i]->n, v);
    }
    return ir_build1(b, IR_OP_reduce_window, &x, 1, &(ir_attrs){.reduce_window = a});
}

/* The window is not trivial along dimension d. */
static bool has_window(const struct ir_attrs_reduce_window *a, int d)
{
    return a->window.v[d] > 1 || a->stride.v[d] > 1 || a->base_dilation.v[d] > 1 || a->low.v[d] ||
           a->high.v[d];
}

/* A sum over windows is separated into one per dimension, those that shrink the most first, if that
 * halves the reads, including the writes in between. */
RULE(rw_window_separate)
{
    const struct ir_attrs_reduce_window *a = IR_ATTR(inst, reduce_window);
    if (a->combine != IR_SUM || R->dtype == IR_F16 || R->dtype == IR_BF16 || !ir_count(R) ||
        !ir_count(&X->type))
        return false;
    int order[IR_MAX_RANK], n = 0;
    double growth[IR_MAX_RANK], size = (double)ir_count(&X->type), cost = 0;
    for (int d = 0; d < R->rank; d++) {
        growth[d] = (double)R->dim[d] / (double)X->type.dim[d];
        if (!has_window(a, d))
            continue;
        int at = n++;
        for (; at > 0 && growth[order[at - 1]] > growth[d]; at--)
            order[at] = order[at - 1];
        order[at] = d;
    }
    for (int i = 0; i < n; i++) {
        size *= growth[order[i]];
        cost += size * (double)(ir_taps_of(inst, order[i]).count + (i + 1 < n));
    }
    if (n < 2 ||
        IR_TUNING(WINDOW_SEPARATE) / 100.0 * cost > ir_cost_reads(inst, 0) * (double)ir_count(R))
        return false;
    ir_value *x = X;
    for (int i = 0; i < n; i++)
        x = window_along(b, inst, x, order[i]);
    return give(out, x);
}

/* ---- Contractions ---- */

/* An operand's transpose is folded into the dimension numbers if the free dimensions keep their
 * order. */
RULE(rw_dot_transpose)
{
    const struct ir_attrs_dot_general *a = IR_ATTR(inst, dot_general);
    for (int side = 0; side < 2; side++) {
        ir_inst *t = match(inst->operand[side], IR_OP_transpose);
        if (!t)
            continue;
        const ir_ints perm = IR_ATTR(t, transpose)->perm, batch[2] = {a->lhs_batch, a->rhs_batch},
                      contract[2] = {a->lhs_contract, a->rhs_contract};
        uint32_t used = mask_of(batch[side]) | mask_of(contract[side]);
        int64_t last = -1, nb[2][IR_MAX_RANK], nc[2][IR_MAX_RANK];
        bool ordered = true;
        for (int i = 0; i < perm.n; i++)
            if (!(used >> i & 1)) {
                ordered &= perm.v[i] > last;
                last = perm.v[i];
            }
        if (!ordered)
            continue;
        for (int s = 0; s < 2; s++) {
            for (int i = 0; i < batch[s].n; i++)
                nb[s][i] = s == side ? perm.v[batch[s].v[i]] : batch[s].v[i];
            for (int i = 0; i < contract[s].n; i++)
                nc[s][i] = s == side ? perm.v[contract[s].v[i]] : contract[s].v[i];
        }
        ir_value *x = side ? inst->operand[0] : t->operand[0],
                 *y = side ? t->operand[0] : inst->operand[1];
        return give(out, ir_dot_general_in(b, a->accumulate, x, y, batch[0].n, nb[0], nb[1],
                                           contract[0].n, nc[0], nc[1]));
    }
    return false;
}

/* Conversions of both operands to the type of the sum are left to the contraction. Those of f16
 * take a dozen instructions: better once per element than once per product. */
RULE(rw_dot_convert)
{
    ir_inst *x = match(X, IR_OP_convert), *y = match(inst->operand[1], IR_OP_convert);
    if (!x || !y || R->dtype != X->type.dtype || x->operand[0]->type.dtype == IR_F16 ||
        !ir_accumulates(x->operand[0]->type.dtype, y->operand[0]->type.dtype, R->dtype))
        return false;
    ir_attrs attrs = *inst->attrs;
    *ir_accumulator(inst->op, &attrs) = R->dtype;
    return give(out,
                ir_build1(b, inst->op, (ir_value *[]){x->operand[0], y->operand[0]}, 2, &attrs));
}

/* A right operand that is broadcast along all batch dimensions needs none: the left one's batch is
 * just more rows. */
RULE(rw_dot_broadcast)
{
    const struct ir_attrs_dot_general *a = IR_ATTR(inst, dot_general);
    ir_inst *r = match(inst->operand[1], IR_OP_broadcast);
    if (!r || !a->lhs_batch.n)
        return false;
    const ir_ints dims = IR_ATTR(r, broadcast)->dims;
    uint32_t batch = mask_of(a->rhs_batch), mapped = mask_of(dims),
             lhs_contract = mask_of(a->lhs_contract), lhs_batch = mask_of(a->lhs_batch);
    int rank = inst->operand[1]->type.rank;
    if ((batch & mapped) || (batch | mapped) != (1u << rank) - 1)
        return false;
    for (int i = 0; i < dims.n; i++)
        if (r->operand[0]->type.dim[i] != inst->operand[1]->type.dim[dims.v[i]])
            return false;
    int64_t contract[IR_MAX_RANK], perm[IR_MAX_RANK];
    for (int i = 0; i < a->rhs_contract.n; i++)
        contract[i] = __builtin_popcount(mapped & ((1u << a->rhs_contract.v[i]) - 1));
    ir_value *d = ir_dot_general_in(b, a->accumulate, X, r->operand[0], 0, NULL, NULL,
                                    a->lhs_contract.n, a->lhs_contract.v, contract);
    int n = 0, rows = X->type.rank - a->lhs_contract.n;
    for (int i = 0; i < a->lhs_batch.n; i++)
        perm[n++] = __builtin_popcount(~lhs_contract & ((1u << a->lhs_batch.v[i]) - 1));
    for (int i = 0; i < X->type.rank; i++)
        if (!((lhs_contract | lhs_batch) >> i & 1))
            perm[n++] = __builtin_popcount(~lhs_contract & ((1u << i) - 1));
    for (int i = rows; n < R->rank; i++)
        perm[n++] = i;
    return give(out, ir_transpose(b, d, perm));
}
