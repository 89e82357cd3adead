/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Dead code: no instruction has an effect, so one walk from the last instruction to the first
 * removes each whose results have no user left. Needs nothing, breaks nothing but a plan. */
#include "passes/pass_utils.h"

static bool used(const ir_inst *inst)
{
    for (int i = 0; i < inst->nresults; i++)
        if (inst->result[i]->id)
            return true;
    return false;
}

void pass_dce(ir_func *f)
{
    IR_FOR (inst, f)
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->id = 0;
    for (int i = 0; i < f->results.count; i++)
        f->results.items[i].value->id = 1;
    for (ir_inst *inst = f->last, *previous; inst; inst = previous) {
        previous = inst->previous;
        if (!used(inst)) {
            ir_remove(inst);
            continue;
        }
        for (int i = 0; i < inst->noperands; i++)
            inst->operand[i]->id = 1;
    }
}
