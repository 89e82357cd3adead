/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Ops that move elements, each of which maps a result index to an operand index, and ops that
 * compute elements from their index. */
#include "codegen/lower.h"

#define RULE(name) \
    LLVMValueRef cg_lower_##name(cg_emitter *e, const ir_inst *inst, int which, const cg_index *at)

RULE(constant)
{
    (void)e, (void)which, (void)at;
    BUG("constant %s is neither an immediate nor in storage",
        inst->result[0]->name ? inst->result[0]->name : "");
}

RULE(iota)
{
    (void)which;
    ir_dtype t = IR_ATTR(inst, iota)->to;
    LLVMValueRef v = cg_index_value(e, &at[IR_ATTR(inst, iota)->axis]);
    LLVMTypeRef type = cg_type(e, t, cg_lanes_of(v));
    if (t == IR_BOOL)
        return LLVMBuildICmp(e->u->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
    return ir_is_float(t) ? cg_round(e, t, LLVMBuildSIToFP(e->u->b, v, type, ""))
                          : LLVMBuildIntCast2(e->u->b, v, type, 1, "");
}

RULE(reshape)
{
    (void)which;
    const ir_type *from = &inst->operand[0]->type, *to = &inst->result[0]->type;
    cg_index x[IR_MAX_RANK], number = cg_linear(e, to, at);
    cg_unravel(e, from, &number, x);
    return cg_at(e, inst->operand[0], x);
}

RULE(broadcast)
{
    (void)which;
    const ir_type *from = &inst->operand[0]->type;
    const ir_ints dims = IR_ATTR(inst, broadcast)->dims;
    cg_index x[IR_MAX_RANK];
    for (int i = 0; i < from->rank; i++)
        x[i] = from->dim[i] == 1 ? cg_of(0) : at[dims.v[i]];
    return cg_at(e, inst->operand[0], x);
}

RULE(transpose)
{
    (void)which;
    const ir_ints perm = IR_ATTR(inst, transpose)->perm;
    cg_index x[IR_MAX_RANK];
    for (int i = 0; i < perm.n; i++)
        x[perm.v[i]] = at[i];
    return cg_at(e, inst->operand[0], x);
}

RULE(slice)
{
    (void)which;
    const ir_ints start = IR_ATTR(inst, slice)->start, stride = IR_ATTR(inst, slice)->stride;
    cg_index x[IR_MAX_RANK];
    for (int i = 0; i < start.n; i++) {
        x[i] = cg_scaled(&at[i], stride.v[i]);
        x[i].constant += start.v[i];
    }
    return cg_at(e, inst->operand[0], x);
}

RULE(reverse)
{
    (void)which;
    const ir_ints axes = IR_ATTR(inst, reverse)->axes;
    const ir_type *t = &inst->operand[0]->type;
    cg_index x[IR_MAX_RANK];
    for (int i = 0; i < t->rank; i++)
        x[i] = at[i];
    for (int i = 0; i < axes.n; i++) {
        x[axes.v[i]] = cg_scaled(&at[axes.v[i]], -1);
        x[axes.v[i]].constant += t->dim[axes.v[i]] - 1;
    }
    return cg_at(e, inst->operand[0], x);
}

LLVMValueRef cg_both(cg_emitter *e, LLVMValueRef x, LLVMValueRef y)
{
    if (!x || !y)
        return x ? x : y;
    cg_level(e, &x, &y);
    return LLVMBuildAnd(e->u->b, x, y, "");
}

LLVMValueRef cg_choose(cg_emitter *e, LLVMValueRef condition, LLVMValueRef yes, LLVMValueRef no)
{
    if (!condition)
        return yes;
    cg_level(e, &yes, &no);
    if (cg_lanes_of(condition) > 1) {
        cg_level(e, &condition, &yes);
        cg_level(e, &condition, &no);
    }
    return LLVMBuildSelect(e->u->b, condition, yes, no, "");
}

RULE(pad)
{
    (void)which;
    const struct ir_attrs_pad *a = IR_ATTR(inst, pad);
    const ir_type *t = &inst->operand[0]->type;
    LLVMValueRef inside = NULL, value = cg_at(e, inst->operand[1], NULL);
    cg_index x[IR_MAX_RANK], rest;
    if (ir_count(t) == 0)
        return value;
    for (int i = 0; i < t->rank; i++) {
        x[i] = cg_plus(&at[i], -a->low.v[i]);
        if (a->interior.v[i]) {
            cg_divide(e, &x[i], a->interior.v[i] + 1, &x[i], &rest);
            LLVMValueRef r = cg_index_value(e, &rest);
            inside = cg_both(
                e, inside, LLVMBuildICmp(e->u->b, LLVMIntEQ, r, LLVMConstNull(LLVMTypeOf(r)), ""));
        }
        inside = cg_both(e, inside, cg_inside(e, &x[i], t->dim[i]));
        x[i] = cg_clamp(e, &x[i], t->dim[i]);
    }
    return cg_choose(e, inside, cg_at(e, inst->operand[0], x), value);
}

RULE(concat)
{
    (void)which;
    int axis = (int)IR_ATTR(inst, concat)->axis, rank = inst->result[0]->type.rank;
    cg_index x[IR_MAX_RANK];
    for (int i = 0; i < rank; i++)
        x[i] = at[i];
    int64_t start = 0, min, max;
    cg_range(&at[axis], &min, &max);
    LLVMValueRef r = NULL;
    for (int i = 0; i < inst->noperands; i++) {
        int64_t extent = inst->operand[i]->type.dim[axis];
        if (extent && start <= max && start + extent > min) {
            cg_index here = cg_plus(&at[axis], -start);
            x[axis] = cg_clamp(e, &here, extent);
            LLVMValueRef part = cg_at(e, inst->operand[i], x);
            if (r) { /* from `start` on the element is this part's */
                LLVMValueRef v = cg_index_value(e, &at[axis]);
                LLVMValueRef from = cg_splat(e->u, cg_i64(e->u, start), cg_lanes_of(v));
                r = cg_choose(e, LLVMBuildICmp(e->u->b, LLVMIntSGE, v, from, ""), part, r);
            } else {
                r = part;
            }
        }
        start += extent;
    }
    return r ? r : cg_number(e, inst->result[0]->type.dtype, 0);
}

/* An element of an index tensor as an index, clamped to 0 … limit-1. */
static cg_index index_element(cg_emitter *e, const ir_value *index, const cg_index *at,
                              int64_t limit)
{
    cg_unit *u = e->u;
    LLVMValueRef v = cg_at(e, index, at);
    LLVMTypeRef type = cg_vector(u->i64, cg_lanes_of(v));
    bool is_signed = ir_is_signed(index->type.dtype);
    v = LLVMBuildIntCast2(u->b, v, type, is_signed, "");
    LLVMValueRef zero = LLVMConstNull(type),
                 top = cg_splat(u, cg_i64(u, limit - 1), cg_lanes_of(v));
    if (is_signed)
        v = cg_intrinsic(u, "llvm.smax", &type, 1, (LLVMValueRef[]){v, zero}, 2);
    v = cg_intrinsic(u, "llvm.umin", &type, 1, (LLVMValueRef[]){v, top}, 2);
    return cg_opaque(e, v, limit - 1);
}

RULE(gather)
{
    (void)which;
    const struct ir_attrs_gather *a = IR_ATTR(inst, gather);
    const ir_value *from = inst->operand[0], *index = inst->operand[1];
    /* selected: the result's leading dimensions, which are the index's. */
    int batch = (int)a->batch, selected = index->type.rank - 1;
    cg_index x[IR_MAX_RANK], where[IR_MAX_RANK];
    bool taken[IR_MAX_RANK] = {false};
    if (ir_count(&from->type) == 0)
        return cg_number(e, from->type.dtype, 0);
    for (int i = 0; i < selected; i++)
        where[i] = at[i];
    for (int i = 0; i < batch; i++)
        x[i] = at[i];
    for (int j = 0; j < a->dims.n; j++) {
        where[selected] = cg_of(j);
        x[a->dims.v[j]] = index_element(e, index, where, from->type.dim[a->dims.v[j]]);
        taken[a->dims.v[j]] = true;
    }
    for (int d = batch, next = selected; d < from->type.rank; d++)
        if (!taken[d])
            x[d] = at[next++];
    return cg_at(e, from, x);
}

/* ---- Philox4x32-10 (Salmon et al., SC 2011) ---- */

/* A value of rank 0 as a scalar, even if it was computed in all lanes. */
static LLVMValueRef scalar_at(cg_emitter *e, const ir_value *v)
{
    LLVMValueRef x = cg_at(e, v, NULL);
    return cg_lanes_of(x) > 1 ? LLVMBuildExtractElement(e->u->b, x, cg_i64(e->u, 0), "") : x;
}

RULE(random_bits)
{
    (void)which;
    cg_unit *u = e->u;
    cg_index number = cg_linear(e, &inst->result[0]->type, at), group, word;
    cg_divide(e, &number, 4, &group, &word);
    LLVMValueRef g = cg_index_value(e, &group), w = cg_index_value(e, &word);
    cg_level(e, &g, &w);
    int lanes = cg_lanes_of(g);
    LLVMTypeRef i32 = cg_vector(u->i32, lanes), i64 = cg_vector(u->i64, lanes);
    LLVMValueRef seed = scalar_at(e, inst->operand[0]), call = scalar_at(e, inst->operand[1]),
                 half = cg_i64(u, 32);
#define LOW(x) cg_splat(u, LLVMBuildTrunc(u->b, x, u->i32, ""), lanes)
#define HIGH(x) LOW(LLVMBuildLShr(u->b, x, half, ""))
    LLVMValueRef key[2] = {LOW(seed), HIGH(seed)};
    LLVMValueRef c[4] = {
        LLVMBuildTrunc(u->b, g, i32, ""), LOW(call), HIGH(call),
        cg_splat(u, LLVMConstInt(u->i32, (unsigned long long)IR_ATTR(inst, random_bits)->stream, 0),
                 lanes)};
    static const uint32_t multiplier[2] = {0xD2511F53, 0xCD9E8D57},
                          weyl[2] = {0x9E3779B9, 0xBB67AE85};
    for (int round = 0; round < 10; round++) {
        LLVMValueRef high[2], low[2];
        for (int i = 0; i < 2; i++) {
            LLVMValueRef wide = LLVMBuildZExt(u->b, c[2 * i], i64, "");
            wide = LLVMBuildMul(u->b, wide, cg_splat(u, cg_i64(u, multiplier[i]), lanes), "");
            low[i] = LLVMBuildTrunc(u->b, wide, i32, "");
            high[i] = LLVMBuildTrunc(u->b, LLVMBuildLShr(u->b, wide, cg_splat(u, half, lanes), ""),
                                     i32, "");
        }
        LLVMValueRef next[4] = {
            LLVMBuildXor(u->b, LLVMBuildXor(u->b, high[1], c[1], ""), key[0], ""), low[1],
            LLVMBuildXor(u->b, LLVMBuildXor(u->b, high[0], c[3], ""), key[1], ""), low[0]};
        for (int i = 0; i < 4; i++)
            c[i] = next[i];
        for (int i = 0; i < 2; i++)
            key[i] = LLVMBuildAdd(u->b, key[i],
                                  cg_splat(u, LLVMConstInt(u->i32, weyl[i], 0), lanes), "");
    }
    LLVMValueRef r = c[0];
    for (int i = 1; i < 4; i++)
        r = LLVMBuildSelect(u->b,
                            LLVMBuildICmp(u->b, LLVMIntEQ, w, cg_splat(u, cg_i64(u, i), lanes), ""),
                            c[i], r, "");
    return r;
}
