/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * An f32 module in double, for `--f64`: every f32 type, constant and initial value becomes f64. f32
 * remains only where bits are used, between a bitcast and a convert. Runs on functions without
 * plans. */
#include "passes/pass_utils.h"

static ir_literal *widened(base_arena *arena, ir_literal *l)
{
    if (!l || l->type.dtype != IR_F32)
        return l;
    ir_type t = l->type;
    t.dtype = IR_F64;
    ir_literal *w = ir_literal_new(arena, &t);
    for (int64_t i = 0, n = ir_count(&t); i < n; i++)
        ((double *)w->data)[i] = (double)((const float *)l->data)[i];
    return w;
}

static void widen_type(ir_type *t)
{
    if (t->dtype == IR_F32)
        t->dtype = IR_F64;
}

/* bitcast to f32: the result, still f32, is converted for its users, who find that in its aux. */
static void from_bits(ir_inst *inst)
{
    ir_builder b = ir_builder_before(inst);
    b.at = inst->next;
    inst->result[0]->aux = ir_convert(&b, inst->result[0], IR_F64);
}

/* bitcast from f32: of the operand, converted back. */
static void to_bits(ir_inst *inst)
{
    ir_builder b = ir_builder_before(inst);
    inst->operand[0] = ir_convert(&b, inst->operand[0], IR_F32);
}

static void widen_func(ir_func *f)
{
    base_arena *arena = f->module->arena;
    ir_value *wide;
    for (int i = 0; i < f->params.count; i++) {
        widen_type(&f->params.items[i].value->type);
        f->params.items[i].value->aux = NULL;
    }
    IR_FOR_SAFE (inst, f) {
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->aux = NULL;
        for (int i = 0; i < inst->noperands; i++)
            if ((wide = inst->operand[i]->aux))
                inst->operand[i] = wide;
        if (inst->op == IR_OP_constant)
            IR_ATTR(inst, constant)->value = widened(arena, IR_ATTR(inst, constant)->value);
        if (inst->op == IR_OP_iota && IR_ATTR(inst, iota)->to == IR_F32)
            IR_ATTR(inst, iota)->to = IR_F64;
        if (inst->op == IR_OP_convert && IR_ATTR(inst, convert)->to == IR_F32)
            IR_ATTR(inst, convert)->to = IR_F64;
        ir_dtype *sum = ir_accumulator(inst->op, inst->attrs);
        if (sum && *sum == IR_F32)
            *sum = IR_F64;
        if (inst->op == IR_OP_bitcast) {
            if (inst->operand[0]->type.dtype == IR_F64 &&
                ir_dtypes[inst->result[0]->type.dtype].bytes == 4)
                to_bits(inst);
            if (inst->result[0]->type.dtype == IR_F32)
                from_bits(inst);
            continue;
        }
        for (int i = 0; i < inst->nresults; i++)
            widen_type(&inst->result[i]->type);
    }
    for (int i = 0; i < f->results.count; i++)
        if ((wide = f->results.items[i].value->aux))
            f->results.items[i].value = wide;
}

void pass_widen(ir_module *m)
{
    for (int i = 0; i < m->states.count; i++) {
        widen_type(&m->states.items[i]->type);
        m->states.items[i]->init = widened(m->arena, m->states.items[i]->init);
    }
    for (int i = 0; i < m->funcs.count; i++)
        widen_func(m->funcs.items[i]);
}
