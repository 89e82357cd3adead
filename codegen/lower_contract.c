/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contractions at an index, for what the register-tiled kernels do not take (integers, mostly):
 * plain loops. */
#include "codegen/lower.h"

#define RULE(name) \
    LLVMValueRef cg_lower_##name(cg_emitter *e, const ir_inst *inst, int which, const cg_index *at)

static void accumulate(cg_emitter *e, const ir_inst *inst, const cg_index *x, const cg_index *y,
                       LLVMValueRef inside, LLVMValueRef acc, LLVMTypeRef type)
{
    LLVMBuilderRef b = e->u->b;
    ir_dtype t = inst->operand[0]->type.dtype;
    LLVMValueRef p = cg_as_vector(e, cg_at(e, inst->operand[0], x)),
                 q = cg_as_vector(e, cg_at(e, inst->operand[1], y));
    LLVMValueRef sum = LLVMBuildLoad2(b, type, acc, "");
    p = cg_as_vector(e, cg_choose(e, inside, p, cg_number(e, t, 0)));
    sum =
        ir_is_float(t) ? cg_fma(e, p, q, sum) : LLVMBuildAdd(b, sum, LLVMBuildMul(b, p, q, ""), "");
    LLVMBuildStore(b, sum, acc);
}

RULE(dot_general)
{
    (void)which;
    const struct ir_attrs_dot_general *a = IR_ATTR(inst, dot_general);
    const ir_ints batch[2] = {a->lhs_batch, a->rhs_batch},
                  contract[2] = {a->lhs_contract, a->rhs_contract};
    ir_dtype t = inst->operand[0]->type.dtype;
    cg_index x[2][IR_MAX_RANK];
    bool set[2][IR_MAX_RANK] = {{false}};
    cg_loop loop[IR_MAX_RANK];
    int next = 0;
    LLVMTypeRef type = cg_type(e, t, e->lanes);
    LLVMValueRef acc = cg_local(e, type);
    LLVMBuildStore(e->u->b, LLVMConstNull(type), acc);
    for (int i = 0; i < batch[0].n; i++, next++)
        for (int s = 0; s < 2; s++) {
            x[s][batch[s].v[i]] = at[next];
            set[s][batch[s].v[i]] = true;
        }
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < contract[s].n; i++)
            set[s][contract[s].v[i]] = true;
        for (int d = 0; d < inst->operand[s]->type.rank; d++)
            if (!set[s][d])
                x[s][d] = at[next++];
    }
    for (int i = 0; i < contract[0].n; i++)
        x[0][contract[0].v[i]] = x[1][contract[1].v[i]] =
            cg_loop_count(e, &loop[i], inst->operand[0]->type.dim[contract[0].v[i]]);
    accumulate(e, inst, x[0], x[1], NULL, acc, type);
    for (int i = contract[0].n - 1; i >= 0; i--)
        cg_loop_end(e, &loop[i]);
    return cg_round(e, t, LLVMBuildLoad2(e->u->b, type, acc, ""));
}

RULE(convolution)
{
    (void)which;
    const struct ir_attrs_convolution *a = IR_ATTR(inst, convolution);
    const ir_type *in = &inst->operand[0]->type, *w = &inst->operand[1]->type,
                  *out = &inst->result[0]->type;
    ir_dtype t = in->dtype;
    int64_t features = out->dim[a->out.v[1]],
            groups = a->feature_groups > 1 ? a->feature_groups : a->batch_groups;
    cg_index x[IR_MAX_RANK], y[IR_MAX_RANK], group, rest;
    LLVMTypeRef type = cg_type(e, t, e->lanes);
    LLVMValueRef acc = cg_local(e, type), inside = NULL;
    LLVMBuildStore(e->u->b, LLVMConstNull(type), acc);
    int spatial = in->rank - 2;
    cg_loop loop[IR_MAX_RANK];
    if (!ir_count(in) || !ir_count(w))
        return cg_number(e, t, 0);
    cg_index o = at[a->out.v[1]];
    cg_divide(e, &o, features / groups, &group, &rest);
    y[a->rhs.v[0]] = o;
    y[a->rhs.v[1]] = cg_loop_count(e, &loop[0], w->dim[a->rhs.v[1]]);
    x[a->lhs.v[0]] = at[a->out.v[0]];
    x[a->lhs.v[1]] = y[a->rhs.v[1]];
    if (a->feature_groups > 1)
        x[a->lhs.v[1]] = cg_add(e, &x[a->lhs.v[1]], &group, w->dim[a->rhs.v[1]]);
    if (a->batch_groups > 1)
        x[a->lhs.v[0]] = cg_add(e, &x[a->lhs.v[0]], &group, in->dim[a->lhs.v[0]] / groups);
    for (int i = 0; i < spatial; i++) {
        cg_index k = cg_loop_count(e, &loop[1 + i], w->dim[a->rhs.v[2 + i]]),
                 place = cg_scaled(&at[a->out.v[2 + i]], a->stride.v[i]);
        y[a->rhs.v[2 + i]] = k;
        place = cg_add(e, &place, &k, a->rhs_dilation.v[i]);
        place.constant -= a->low.v[i];
        if (a->lhs_dilation.v[i] > 1) {
            cg_divide(e, &place, a->lhs_dilation.v[i], &place, &rest);
            LLVMValueRef r = cg_index_value(e, &rest);
            inside = cg_both(
                e, inside, LLVMBuildICmp(e->u->b, LLVMIntEQ, r, LLVMConstNull(LLVMTypeOf(r)), ""));
        }
        inside = cg_both(e, inside, cg_inside(e, &place, in->dim[a->lhs.v[2 + i]]));
        x[a->lhs.v[2 + i]] = cg_clamp(e, &place, in->dim[a->lhs.v[2 + i]]);
    }
    accumulate(e, inst, x, y, inside, acc, type);
    for (int i = spatial; i >= 0; i--)
        cg_loop_end(e, &loop[i]);
    return cg_round(e, t, LLVMBuildLoad2(e->u->b, type, acc, ""));
}
