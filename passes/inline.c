/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Replaces calls by the called functions' instructions, and stop_gradient by its operand. Runs
 * after autodiff: a call's custom derivative (its `vjp`) is no longer needed. Called functions come
 * first (see pass_run_one), so one walk leaves no call. Chains of calls that double grow without
 * bound, so a function beyond the limit of instructions is refused as the user's error. */
#include "passes/pass_utils.h"

void pass_inline(ir_func *f)
{
    base_arena *scratch = base_arena_new(f->module->ctx);
    int64_t size = 0;
    IR_FOR (inst, f)
        size++;
    pass_replace_begin(f);
    IR_FOR_SAFE (inst, f) {
        pass_replace_in(inst);
        if (inst->op == IR_OP_stop_gradient) {
            inst->result[0]->aux = inst->operand[0];
            ir_remove(inst);
        }
        if (inst->op != IR_OP_call)
            continue;
        const ir_func *callee = IR_ATTR(inst, call)->callee;
        IR_FOR (k, callee)
            size++;
        if (size > IR_MAX_INSTS)
            base_throw(f->module->ctx, inst->loc,
                       "inlining the calls gives more instructions than the limit");
        ir_value **out = base_array(scratch, ir_value *, inst->nresults);
        ir_builder b = ir_builder_before(inst);
        ir_inst *before = inst->previous;
        ir_inline(&b, callee, inst->operand, out);
        for (ir_inst *k = before ? before->next : f->first; k != inst; k = k->next) {
            k->phase = inst->phase;
            k->primal = inst->primal;
            k->loc = k->loc ? k->loc : inst->loc;
            for (int i = 0; i < k->nresults; i++)
                k->result[i]->aux = NULL;
        }
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->aux = out[i];
        ir_remove(inst);
    }
    pass_replace_end(f);
    base_arena_free(scratch);
}
