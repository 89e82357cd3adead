/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A concat of many operands becomes one of concats, which fusion may split into kernels: code is
 * generated for each operand. */
#include "passes/pass_utils.h"
#include "ir/tuning.h"

void pass_split_concats(ir_func *f)
{
    IR_FOR (inst, f) {
        if (inst->op != IR_OP_concat)
            continue;
        ir_builder b = ir_builder_before(inst);
        while (inst->noperands > IR_TUNING(CONCAT_PIECES)) {
            int n = 0;
            ir_value **part = base_array(f->module->arena, ir_value *,
                                         (inst->noperands + IR_TUNING(CONCAT_PIECES) - 1) /
                                             IR_TUNING(CONCAT_PIECES));
            for (int i = 0; i < inst->noperands; i += IR_TUNING(CONCAT_PIECES))
                part[n++] = ir_concat(&b, inst->operand + i,
                                      inst->noperands - i < IR_TUNING(CONCAT_PIECES)
                                          ? inst->noperands - i
                                          : IR_TUNING(CONCAT_PIECES),
                                      (int)IR_ATTR(inst, concat)->axis);
            inst->operand = part;
            inst->noperands = n;
        }
        ir_built(&b);
    }
}
