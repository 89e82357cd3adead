/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of gather, scatter and sort. */
#include "passes/vjp.h"

#define X (inst->operand[0])
#define INDEX (inst->operand[1])
#define R (inst->result[0])
#define G (ct[0])

ir_value *ad_put_along(ir_builder *b, ir_value *g, ir_value *position, int axis)
{
    int rank = g->type.rank;
    int64_t n = g->type.dim[axis], rows = ir_count(&g->type) / n, perm[IR_MAX_RANK],
            back[IR_MAX_RANK], last = 1;
    for (int d = 0; d < rank; d++)
        perm[d] = d == rank - 1 ? axis : d < axis ? d : d + 1;
    for (int d = 0; d < rank; d++)
        back[perm[d]] = d;
    ir_value *moved = ir_transpose(b, g, perm),
             *flat = ir_reshape(b, moved, 2, (int64_t[]){rows, n});
    ir_value *at = ir_reshape(b, ir_transpose(b, position, perm), 3, (int64_t[]){rows, n, 1});
    flat = ir_scatter(b, IR_SUM, ir_zeros_like(b, flat), at, flat, 1, &last, 1);
    return ir_transpose(b, ir_reshape(b, flat, rank, moved->type.dim), back);
}

AD_RULE(gather)
{
    (void)want;
    const struct ir_attrs_gather *a = IR_ATTR(inst, gather);
    out[0] =
        ir_scatter(b, IR_SUM, ir_zeros_like(b, X), INDEX, G, a->dims.n, a->dims.v, (int)a->batch);
}

/* ---- scatter ---- */

#define UPDATE (inst->operand[2])

static ir_value *gathered(ir_builder *b, const ir_inst *inst, ir_value *x)
{
    const struct ir_attrs_scatter *a = IR_ATTR(inst, scatter);
    return ir_gather(b, x, INDEX, a->dims.n, a->dims.v, (int)a->batch);
}

static ir_value *scattered(ir_builder *b, const ir_inst *inst, ir_combine combine, ir_value *x,
                           ir_value *update)
{
    const struct ir_attrs_scatter *a = IR_ATTR(inst, scatter);
    return ir_scatter(b, combine, x, INDEX, update, a->dims.n, a->dims.v, (int)a->batch);
}

/* The dimensions of the operand in which elements are selected, after the shared ones. */
static ir_type places(const ir_inst *inst)
{
    const struct ir_attrs_scatter *a = IR_ATTR(inst, scatter);
    ir_type t = {.dtype = IR_I64};
    for (int d = 0; d < a->batch; d++)
        t.dim[t.rank++] = X->type.dim[d];
    for (int i = 0; i < a->dims.n; i++)
        t.dim[t.rank++] = X->type.dim[a->dims.v[i]];
    return t;
}

/* Is it known at compile time that no two index vectors are equal? */
static bool distinct(const ir_inst *inst)
{
    enum { LIMIT = 1 << 22 };
    const struct ir_attrs_scatter *a = IR_ATTR(inst, scatter);
    ir_inst *c = match(INDEX, IR_OP_constant);
    ir_type t = places(inst);
    int64_t n = ir_count(&t), vectors = 1;
    for (int d = 0; d < INDEX->type.rank - 1; d++)
        vectors *= INDEX->type.dim[d];
    if (vectors == 1)
        return true;
    if (!c || n > LIMIT || vectors > n)
        return false;
    const ir_literal *l = IR_ATTR(c, constant)->value;
    base_arena *scratch = base_arena_new(inst->func->module->ctx);
    bool *seen = base_array(scratch, bool, n), is = true;
    int64_t shared = 1;
    for (int d = 0; d < a->batch; d++)
        shared *= X->type.dim[d];
    for (int64_t i = 0; i < vectors && is; i++) {
        int64_t at = i / (vectors / shared);
        for (int k = 0; k < a->dims.n && at >= 0; k++) {
            int64_t v = ir_literal_get_int(l, i * a->dims.n + k), extent = t.dim[a->batch + k];
            at = v < 0 || v >= extent ? -1 : at * extent + v; /* out of range: writes nothing */
        }
        is = at < 0 || !seen[at];
        if (at >= 0)
            seen[at] = true;
    }
    base_arena_free(scratch);
    return is;
}

/* bool: this update is the last one at its position, whose value stays. */
static ir_value *stays(ir_builder *b, const ir_inst *inst)
{
    const struct ir_attrs_scatter *a = IR_ATTR(inst, scatter);
    ir_type t = places(inst);
    int64_t vectors = 1, dims[IR_MAX_RANK], n = INDEX->type.rank - 1;
    for (int d = 0; d < n; d++) {
        vectors *= INDEX->type.dim[d];
        dims[d] = d;
    }
    ir_value *number = ir_reshape(b, ir_iota(b, IR_I64, 1, &vectors, 0), (int)n, INDEX->type.dim);
    for (int i = 0; i < a->dims.n; i++)
        dims[i] = a->batch + i;
    ir_value *last =
        ir_scatter(b, IR_SET, ir_splat(b, &t, 0), INDEX, number, a->dims.n, dims, (int)a->batch);
    ir_value *mine =
        ir_compare(b, IR_EQ, ir_gather(b, last, INDEX, a->dims.n, dims, (int)a->batch), number);
    for (int d = 0; d < n; d++)
        dims[d] = d;
    return ir_broadcast(b, mine, UPDATE->type.rank, UPDATE->type.dim, dims);
}

static void scatter_set(ir_builder *b, const ir_inst *inst, ir_value *g, ir_value **out,
                        const bool *want)
{
    if (want[0])
        out[0] = scattered(b, inst, IR_SET, g, ir_zeros_like(b, UPDATE));
    if (want[2])
        out[2] = gathered(b, inst, g);
    if (want[2] && !distinct(inst) && ad_fits(inst, &X->type, IR_I64) &&
        ad_fits(inst, &UPDATE->type, IR_I64))
        out[2] = ad_where(b, stays(b, inst), out[2]);
}

/* An update's derivative is the product of the others at its position: 0 unless all of those are
 * nonzero, else the product of the nonzero ones, divided by the update if it is one of them. */
static void scatter_prod(ir_builder *b, const ir_inst *inst, ir_value *g, ir_value **out,
                         const bool *want)
{
    if (want[0])
        out[0] = ir_mul(b, g, scattered(b, inst, IR_PROD, ir_splat(b, &X->type, 1), UPDATE));
    if (!want[2] || !ad_fits(inst, &X->type, IR_I32) || !ad_fits(inst, &UPDATE->type, IR_I32))
        return;
    ir_value *is_zero = ir_compare(b, IR_EQ, UPDATE, ir_zeros_like(b, UPDATE)),
             *one = ir_splat(b, &UPDATE->type, 1);
    ir_value *nonzero = ir_select(b, is_zero, one, UPDATE),
             *product = scattered(b, inst, IR_PROD, X, nonzero);
    ir_value *flag = ir_convert(b, is_zero, IR_I32);
    ir_type count = X->type;
    count.dtype = IR_I32;
    ir_value *zeros = gathered(b, inst, scattered(b, inst, IR_SUM, ir_splat(b, &count, 0), flag));
    out[2] = ad_where(b, ir_compare(b, IR_EQ, zeros, flag),
                      ir_div(b, gathered(b, inst, ir_mul(b, g, product)), nonzero));
}

/* Shared evenly by all that equal the result. */
static void scatter_extreme(ir_builder *b, const ir_inst *inst, ir_value *g, ir_value **out,
                            const bool *want)
{
    ir_dtype type = g->type.dtype;
    ir_value *own = ir_compare(b, IR_EQ, X, R),
             *theirs = ir_compare(b, IR_EQ, UPDATE, gathered(b, inst, R));
    ir_value *share = ir_div(
        b, g, scattered(b, inst, IR_SUM, ir_convert(b, own, type), ir_convert(b, theirs, type)));
    if (want[0])
        out[0] = ad_where(b, own, share);
    if (want[2])
        out[2] = ad_where(b, theirs, gathered(b, inst, share));
}

AD_RULE(scatter)
{
    switch (IR_ATTR(inst, scatter)->combine) {
    case IR_SUM:
        out[0] = want[0] ? G : NULL;
        out[2] = want[2] ? gathered(b, inst, G) : NULL;
        break;
    case IR_PROD: scatter_prod(b, inst, G, out, want); break;
    case IR_SET: scatter_set(b, inst, G, out, want); break;
    default: scatter_extreme(b, inst, G, out, want);
    }
}

/* ---- sort ---- */

/* The position that each element came from: an existing payload that counts along the axis, or one
 * that is added to the forward sort. */
static ir_value *origin(const ir_inst *inst)
{
    const struct ir_attrs_sort *a = IR_ATTR(inst, sort);
    int n = inst->noperands;
    for (int i = 1; i < n; i++) {
        const ir_inst *iota = match(inst->operand[i], IR_OP_iota);
        ir_dtype type = inst->operand[i]->type.dtype;
        if (iota && IR_ATTR(iota, iota)->axis == a->axis && ir_is_int(type) &&
            ir_dtypes[type].bytes == 8)
            return inst->result[i];
    }
    if (!ad_fits(inst, &X->type, IR_I64))
        return NULL;
    base_arena *arena = inst->func->module->arena;
    ir_builder before = ad_before(inst);
    ir_value **operand = base_array(arena, ir_value *, n + 1);
    for (int i = 0; i < n; i++)
        operand[i] = inst->operand[i];
    operand[n] = ir_iota(&before, IR_I64, X->type.rank, X->type.dim, (int)a->axis);
    ir_inst *both = ir_build(&before, IR_OP_sort, operand, n + 1, inst->attrs);
    ir_built(&before);
    for (int i = 0; i < n; i++)
        ad_instead(inst->result[i], both->result[i]);
    return both->result[n];
}

AD_RULE(sort)
{
    ir_value *from = origin(inst);
    for (int i = 0; i < inst->noperands; i++)
        if (from && want[i] && ct[i])
            out[i] = ad_put_along(b, ct[i], from, (int)IR_ATTR(inst, sort)->axis);
}
