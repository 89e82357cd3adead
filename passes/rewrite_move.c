/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Rewrites of instructions that move elements. Their normal form: a broadcast's operand has no
 * dimension of extent 1, a reshape is applied directly to a computed value, and no kind of move
 * occurs twice in a row. */
#include "passes/rewrite.h"

#include <string.h>

/* The splat of type t with l's first element. */
static ir_value *splat_of(ir_builder *b, const ir_literal *l, const ir_type *t)
{
    ir_type scalar = ir_scalar_type(l->type.dtype);
    ir_literal *one = ir_literal_new(b->func->module->arena, &scalar);
    memcpy(one->data, l->data, (size_t)ir_bytes(&scalar));
    return ir_broadcast(b, ir_constant(b, one), t->rank, t->dim, NULL);
}

/* A move of a splat is a splat. */
static bool move_splat(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_literal *l;
    return match_splat(X, &l) && give(out, splat_of(b, l, R));
}

/* perm keeps the order of the dimensions that are not 1. */
static bool only_units_move(const ir_type *x, ir_ints perm)
{
    int64_t last = -1;
    for (int i = 0; i < perm.n; i++)
        if (x->dim[perm.v[i]] != 1) {
            if (perm.v[i] < last)
                return false;
            last = perm.v[i];
        }
    return true;
}

/* reshape(broadcast(x)) where the reshape only adds or drops dimensions of extent 1: another
 * broadcast. */
static bool reshape_broadcast(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *r = match(X, IR_OP_broadcast);
    if (!r || !match_unit_reshape(&X->type, R))
        return false;
    const ir_ints dims = IR_ATTR(r, broadcast)->dims;
    int64_t to[IR_MAX_RANK], at = 0, moved[IR_MAX_RANK];
    for (int i = 0; i < X->type.rank; i++) { /* new dimension of each that is not 1 */
        if (X->type.dim[i] == 1) {
            to[i] = -1;
            continue;
        }
        while (R->dim[at] == 1)
            at++;
        to[i] = at++;
    }
    for (int i = 0; i < dims.n; i++)
        if ((moved[i] = to[dims.v[i]]) < 0)
            return false;
    return give(out, ir_broadcast(b, r->operand[0], R->rank, R->dim, moved));
}

RULE(rw_reshape)
{
    ir_inst *inner = match(X, IR_OP_reshape), *t = match(X, IR_OP_transpose);
    if (ir_shape_eq(&X->type, R))
        return give(out, X);
    if (inner)
        return give(out, ir_reshape(b, inner->operand[0], R->rank, R->dim));
    if (t && only_units_move(&t->operand[0]->type, IR_ATTR(t, transpose)->perm))
        return give(out, ir_reshape(b, t->operand[0], R->rank, R->dim));
    return move_splat(b, inst, out) || reshape_broadcast(b, inst, out);
}

RULE(rw_broadcast)
{
    const ir_ints dims = IR_ATTR(inst, broadcast)->dims;
    ir_inst *inner = match(X, IR_OP_broadcast);
    int64_t to[IR_MAX_RANK], shape[IR_MAX_RANK];
    int n = 0;
    if (ir_shape_eq(&X->type, R))
        return give(out, X);
    /* a number stays broadcast, not reshaped */
    if (ir_count(&X->type) == ir_count(R) && ir_count(R) && !match(X, IR_OP_constant))
        return give(out, ir_reshape(b, X, R->rank, R->dim));
    if (inner) {
        const ir_ints first = IR_ATTR(inner, broadcast)->dims;
        for (int i = 0; i < first.n; i++)
            to[i] = dims.v[first.v[i]];
        return give(out, ir_broadcast(b, inner->operand[0], R->rank, R->dim, to));
    }
    for (int i = 0; i < dims.n; i++)
        if (X->type.dim[i] != 1) {
            shape[n] = X->type.dim[i];
            to[n++] = dims.v[i];
        }
    return n < dims.n &&
           give(out, ir_broadcast(b, ir_reshape(b, X, n, shape), R->rank, R->dim, to));
}

/* transpose(broadcast(x)): the smaller x is transposed, if its dimensions change order at all. */
static bool transpose_broadcast(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *r = match(X, IR_OP_broadcast);
    if (!r || ir_count(&r->operand[0]->type) >= ir_count(&X->type))
        return false;
    const ir_ints dims = IR_ATTR(r, broadcast)->dims, perm = IR_ATTR(inst, transpose)->perm;
    int64_t order[IR_MAX_RANK], to[IR_MAX_RANK];
    int n = 0;
    for (int i = 0; i < perm.n; i++)
        for (int j = 0; j < dims.n; j++)
            if (dims.v[j] == perm.v[i]) {
                order[n] = j;
                to[n++] = i;
            }
    return give(out, ir_broadcast(b, ir_transpose(b, r->operand[0], order), R->rank, R->dim, to));
}

/* transpose(dot(x, y)) that swaps the rest of x with the rest of y: dot(y, x). */
static bool transpose_dot(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *d = match(X, IR_OP_dot_general);
    if (!d || X->id > 1)
        return false;
    const struct ir_attrs_dot_general *a = IR_ATTR(d, dot_general);
    const ir_ints perm = IR_ATTR(inst, transpose)->perm;
    int nb = a->lhs_batch.n, m = d->operand[0]->type.rank - nb - a->lhs_contract.n,
        n = X->type.rank - nb - m;
    for (int i = 0; i < perm.n; i++)
        if (perm.v[i] != (i < nb ? i : i < nb + n ? i + m : i - n))
            return false;
    return give(out, ir_dot_general_in(b, a->accumulate, d->operand[1], d->operand[0], nb,
                                       a->rhs_batch.v, a->lhs_batch.v, a->lhs_contract.n,
                                       a->rhs_contract.v, a->lhs_contract.v));
}

RULE(rw_transpose)
{
    const ir_ints perm = IR_ATTR(inst, transpose)->perm;
    ir_inst *inner = match(X, IR_OP_transpose);
    if (only_units_move(&X->type, perm))
        return give(out, ir_reshape(b, X, R->rank, R->dim));
    if (inner) {
        const ir_ints first = IR_ATTR(inner, transpose)->perm;
        int64_t both[IR_MAX_RANK];
        for (int i = 0; i < perm.n; i++)
            both[i] = first.v[perm.v[i]];
        return give(out, ir_transpose(b, inner->operand[0], both));
    }
    return move_splat(b, inst, out) || transpose_broadcast(b, inst, out) ||
           transpose_dot(b, inst, out);
}

/* ---- slice ---- */

static bool slice_slice(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *inner = match(X, IR_OP_slice);
    if (!inner)
        return false;
    const struct ir_attrs_slice *a = IR_ATTR(inst, slice), *c = IR_ATTR(inner, slice);
    int64_t start[IR_MAX_RANK], limit[IR_MAX_RANK], stride[IR_MAX_RANK];
    for (int i = 0; i < R->rank; i++) {
        if (__builtin_mul_overflow(a->stride.v[i], c->stride.v[i], &stride[i]))
            return false;
        /* Inside the operand, so it cannot overflow. */
        start[i] = c->start.v[i] + a->start.v[i] * c->stride.v[i];
        limit[i] = R->dim[i] ? start[i] + (R->dim[i] - 1) * stride[i] + 1 : start[i];
        if (!R->dim[i])
            start[i] = limit[i] = 0;
    }
    return give(out, ir_slice(b, inner->operand[0], start, limit, stride));
}

/* A slice that needs only one, or some, of a concat's operands. */
static bool slice_concat(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *c = match(X, IR_OP_concat);
    if (!c)
        return false;
    const struct ir_attrs_slice *a = IR_ATTR(inst, slice);
    int axis = (int)IR_ATTR(c, concat)->axis;
    int64_t at = 0, start[IR_MAX_RANK], limit[IR_MAX_RANK];
    for (int i = 0; i < c->noperands; i++) {
        int64_t end = at + c->operand[i]->type.dim[axis];
        if (a->start.v[axis] >= at && a->limit.v[axis] <= end) {
            memcpy(start, a->start.v, (size_t)R->rank * sizeof *start);
            memcpy(limit, a->limit.v, (size_t)R->rank * sizeof *limit);
            start[axis] -= at;
            limit[axis] -= at;
            return give(out, ir_slice(b, c->operand[i], start, limit, a->stride.v));
        }
        at = end;
    }
    return false;
}

/* A slice that takes none of the padding. */
static bool slice_pad(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *p = match(X, IR_OP_pad);
    if (!p)
        return false;
    const struct ir_attrs_slice *a = IR_ATTR(inst, slice);
    const struct ir_attrs_pad *c = IR_ATTR(p, pad);
    int64_t start[IR_MAX_RANK], limit[IR_MAX_RANK];
    for (int i = 0; i < R->rank; i++) {
        start[i] = a->start.v[i] - c->low.v[i];
        limit[i] = a->limit.v[i] - c->low.v[i];
        if (c->interior.v[i] || start[i] < 0 || limit[i] > p->operand[0]->type.dim[i])
            return false;
    }
    return give(out, ir_slice(b, p->operand[0], start, limit, a->stride.v));
}

static bool slice_broadcast(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *r = match(X, IR_OP_broadcast);
    if (!r)
        return false;
    const struct ir_attrs_slice *a = IR_ATTR(inst, slice);
    const ir_ints dims = IR_ATTR(r, broadcast)->dims;
    int64_t start[IR_MAX_RANK], limit[IR_MAX_RANK], stride[IR_MAX_RANK];
    for (int i = 0; i < dims.n; i++) {
        bool repeats = r->operand[0]->type.dim[i] != X->type.dim[dims.v[i]];
        start[i] = repeats ? 0 : a->start.v[dims.v[i]];
        limit[i] = repeats ? 1 : a->limit.v[dims.v[i]];
        stride[i] = repeats ? 1 : a->stride.v[dims.v[i]];
    }
    return give(out, ir_broadcast(b, ir_slice(b, r->operand[0], start, limit, stride), R->rank,
                                  R->dim, dims.v));
}

RULE(rw_slice)
{
    if (ir_shape_eq(&X->type, R))
        return give(out, X);
    return move_splat(b, inst, out) || slice_slice(b, inst, out) || slice_concat(b, inst, out) ||
           slice_pad(b, inst, out) || slice_broadcast(b, inst, out);
}

/* ---- pad and concat ---- */

static bool pad_pad(ir_builder *b, ir_inst *inst, ir_value **out)
{
    ir_inst *inner = match(X, IR_OP_pad);
    if (!inner || inner->operand[1] != inst->operand[1])
        return false;
    const struct ir_attrs_pad *a = IR_ATTR(inst, pad), *c = IR_ATTR(inner, pad);
    int64_t low[IR_MAX_RANK], high[IR_MAX_RANK];
    for (int i = 0; i < R->rank; i++) {
        if (a->interior.v[i] || c->low.v[i] < 0 || c->high.v[i] < 0 || a->low.v[i] < 0 ||
            a->high.v[i] < 0)
            return false;
        low[i] = a->low.v[i] + c->low.v[i];
        high[i] = a->high.v[i] + c->high.v[i];
    }
    return give(out, ir_pad(b, inner->operand[0], inst->operand[1], low, high, c->interior.v));
}

RULE(rw_pad)
{
    const struct ir_attrs_pad *a = IR_ATTR(inst, pad);
    ir_literal *x, *v;
    bool crops = true;
    int64_t start[IR_MAX_RANK], limit[IR_MAX_RANK];
    if (!ir_count(R) || !ir_count(&X->type))
        return give(out, ir_broadcast(b, inst->operand[1], R->rank, R->dim, NULL));
    for (int i = 0; i < R->rank; i++) {
        crops &= a->low.v[i] <= 0 && a->high.v[i] <= 0 && !a->interior.v[i];
        start[i] = -a->low.v[i];
        limit[i] = X->type.dim[i] + a->high.v[i];
    }
    if (crops)
        return give(out, ir_slice(b, X, start, limit, NULL));
    if (match_splat(X, &x) && match_splat(inst->operand[1], &v) &&
        !memcmp(x->data, v->data, (size_t)ir_dtypes[R->dtype].bytes))
        return give(out, splat_of(b, v, R));
    return pad_pad(b, inst, out);
}

enum { PIECES = 32 };
typedef struct pieces {
    ir_value *v[PIECES];
    int64_t low[PIECES];
    int n, axis;
} pieces;

/* Collects the pads of zeros along one axis that an add tree sums; false if it sums anything
 * else. */
static bool collect(ir_value *v, pieces *p, int depth)
{
    ir_inst *add = match(v, IR_OP_add), *pad = match(v, IR_OP_pad);
    if (depth > PIECES || p->n == PIECES)
        return false;
    if (add)
        return (!depth || v->id <= 1) && collect(add->operand[0], p, depth + 1) &&
               collect(add->operand[1], p, depth + 1);
    if (!pad || !match_is(pad->operand[1], 0))
        return false;
    const struct ir_attrs_pad *a = IR_ATTR(pad, pad);
    for (int i = 0; i < v->type.rank; i++) {
        if (!a->low.v[i] && !a->high.v[i] && !a->interior.v[i])
            continue;
        if (a->low.v[i] < 0 || a->high.v[i] < 0 || a->interior.v[i] ||
            (p->axis >= 0 && p->axis != i))
            return false;
        p->axis = i;
    }
    if (p->axis < 0)
        return false;
    int i = p->n++;
    for (; i > 0 && p->low[i - 1] > a->low.v[p->axis]; i--) {
        p->low[i] = p->low[i - 1];
        p->v[i] = p->v[i - 1];
    }
    p->low[i] = a->low.v[p->axis];
    p->v[i] = pad->operand[0];
    return true;
}

/* The gradient of splitting a tensor: a sum of its parts, each padded with zeros to the whole. */
RULE(rw_add_pads)
{
    pieces p = {.axis = -1};
    if (!collect(inst->result[0], &p, 0) || p.n < 2)
        return false;
    int64_t end = p.low[0];
    for (int i = 0; i < p.n; end = p.low[i] + p.v[i]->type.dim[p.axis], i++)
        if (p.low[i] != end)
            return false;
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0};
    low[p.axis] = p.low[0];
    high[p.axis] = R->dim[p.axis] - end;
    ir_value *whole = ir_concat(b, p.v, p.n, p.axis);
    return give(out, low[p.axis] || high[p.axis]
                         ? ir_pad(b, whole, ir_scalar(b, R->dtype, 0), low, high, NULL)
                         : whole);
}

/* Joins adjacent operands v and w of a concat that are adjacent slices of one value. */
static ir_value *join_slices(ir_builder *b, const ir_value *v, const ir_value *w, int axis)
{
    ir_inst *s = match(v, IR_OP_slice), *t = match(w, IR_OP_slice);
    if (!s || !t || s->operand[0] != t->operand[0])
        return NULL;
    const struct ir_attrs_slice *a = IR_ATTR(s, slice), *c = IR_ATTR(t, slice);
    int64_t limit[IR_MAX_RANK];
    for (int i = 0; i < v->type.rank; i++) {
        limit[i] = i == axis ? c->limit.v[i] : a->limit.v[i];
        if (a->stride.v[i] != c->stride.v[i])
            return NULL;
        if (i == axis ? a->stride.v[i] != 1 || a->limit.v[i] != c->start.v[i]
                      : a->start.v[i] != c->start.v[i] || a->limit.v[i] != c->limit.v[i])
            return NULL;
    }
    return ir_slice(b, s->operand[0], a->start.v, limit, a->stride.v);
}

/* The gradient of n slices becomes one concat step by step, and each step copies the operands of
 * the one before. */
enum { MOST_OPERANDS = 512 };

RULE(rw_concat)
{
    int axis = (int)IR_ATTR(inst, concat)->axis, n = 0, most = 0;
    bool changed = inst->noperands == 1, splat = true;
    ir_literal *first = NULL, *l;
    for (int i = 0; i < inst->noperands; i++) {
        ir_inst *inner = match(inst->operand[i], IR_OP_concat);
        most += inner ? inner->noperands : 1;
        splat = splat && match_splat(inst->operand[i], &l) &&
                (!first || !memcmp(first->data, l->data, (size_t)ir_dtypes[R->dtype].bytes));
        first = splat ? l : first;
    }
    if (splat && ir_count(R))
        return give(out, splat_of(b, first, R));
    if (most > MOST_OPERANDS)
        return false;
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    ir_value **v = base_array(scratch, ir_value *, most);
    for (int i = 0; i < inst->noperands; i++) {
        ir_inst *inner = match(inst->operand[i], IR_OP_concat);
        if (inner && IR_ATTR(inner, concat)->axis == axis && inst->operand[i]->id <= 1) {
            for (int j = 0; j < inner->noperands; j++)
                v[n++] = inner->operand[j];
            changed = true;
            continue;
        }
        ir_value *joined = n ? join_slices(b, v[n - 1], inst->operand[i], axis) : NULL;
        if (joined)
            v[n - 1] = joined;
        else if (inst->operand[i]->type.dim[axis] || (!n && i == inst->noperands - 1))
            v[n++] = inst->operand[i];
        changed |= joined || !inst->operand[i]->type.dim[axis];
    }
    changed &= n < inst->noperands || n > inst->noperands || most > inst->noperands || n == 1;
    bool done = changed && give(out, ir_concat(b, v, n, axis));
    base_arena_free(scratch);
    return done;
}

RULE(rw_reverse)
{
    const ir_ints axes = IR_ATTR(inst, reverse)->axes;
    int64_t left[IR_MAX_RANK];
    int n = rw_long_axes(axes, R, left);
    if (n < axes.n)
        return give(out, ir_reverse(b, X, n, left));
    ir_inst *inner = match(X, IR_OP_reverse);
    if (inner && ir_attrs_eq(IR_OP_reverse, inner->attrs, inst->attrs))
        return give(out, inner->operand[0]);
    return move_splat(b, inst, out);
}

/* ---- gather and scatter ---- */

/* One index vector, known and inside: a slice. */
RULE(rw_gather)
{
    const struct ir_attrs_gather *a = IR_ATTR(inst, gather);
    const ir_type *it = &inst->operand[1]->type;
    ir_inst *c = match(inst->operand[1], IR_OP_constant);
    ir_literal *l = c ? IR_ATTR(c, constant)->value : NULL;
    if ((!l && !match_splat(inst->operand[1], &l)) || a->batch || ir_count(it) != a->dims.n ||
        !a->dims.n)
        return false;
    int64_t start[IR_MAX_RANK] = {0}, limit[IR_MAX_RANK];
    memcpy(limit, X->type.dim, sizeof limit);
    for (int j = 0; j < a->dims.n; j++) {
        int64_t at = ir_literal_get_int(l, c ? j : 0);
        if (at < 0 || at >= X->type.dim[a->dims.v[j]])
            return false; /* the gather stays, and reports at run time */
        start[a->dims.v[j]] = at;
        limit[a->dims.v[j]] = at + 1;
    }
    return give(out, ir_reshape(b, ir_slice(b, X, start, limit, NULL), R->rank, R->dim));
}

/* The gradient of picking one element of each row (a label's): updates added to zeros, one index a
 * row, is a comparison with iota. Only where the index was checked before, by the gather that this
 * differentiates. */
RULE(rw_scatter)
{
    const struct ir_attrs_scatter *a = IR_ATTR(inst, scatter);
    ir_value *index = inst->operand[1], *update = inst->operand[2];
    int batch = (int)a->batch;
    if (a->combine != IR_SUM || !match_is(X, 0) || a->dims.n != 1 ||
        index->type.rank != batch + 1 || !inst->primal || inst->primal->op != IR_OP_gather)
        return false;
    int axis = (int)a->dims.v[0];
    if (ir_dtypes[index->type.dtype].bytes < 4 && R->dim[axis] > 127)
        return false; /* iota must not wrap */
    int64_t rows[IR_MAX_RANK], rest[IR_MAX_RANK];
    for (int i = 0; i < batch; i++)
        rows[i] = i;
    for (int i = 0, n = 0; i < R->rank; i++)
        if (i != axis)
            rest[n++] = i;
    ir_value *which =
        ir_broadcast(b, ir_reshape(b, index, batch, index->type.dim), R->rank, R->dim, rows);
    ir_value *hit =
        ir_compare(b, IR_EQ, ir_iota(b, index->type.dtype, R->rank, R->dim, axis), which);
    return give(out, ir_select(b, hit, ir_broadcast(b, update, R->rank, R->dim, rest), X));
}
