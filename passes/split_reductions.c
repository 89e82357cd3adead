/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reductions of many elements to few are split into two steps, so that workers share them: the same
 * steps for any number of workers. */
#include "passes/pass_utils.h"
#include "ir/tuning.h"

/* The reduced dimension that is cut into parts, and how many; 0: not cut. */
static int64_t parts_of(const ir_inst *inst, int *axis)
{
    const ir_type *from = &inst->operand[0]->type;
    const ir_ints *axes = &IR_ATTR(inst, reduce)->axes;
    int64_t n = ir_count(from), out = ir_count(&inst->result[0]->type), most = 0;
    /* The last dimensions: one row after the other. */
    bool rows = axes->n == 0 || axes->v[0] == from->rank - axes->n;
    if (n <= IR_TUNING(SPLIT_LONG) || out >= IR_TUNING(SPLIT_FEW) ||
        (rows && out >= IR_TUNING(SPLIT_ROWS)) || from->dtype == IR_F16 || from->dtype == IR_BF16)
        return 0;
    for (int i = 0; i < axes->n; i++)
        for (int64_t p = IR_TUNING(SPLIT_PARTS);
             p > most && (i == 0 || most < IR_TUNING(SPLIT_PARTS) / 2); p--)
            if (from->dim[axes->v[i]] % p == 0) {
                most = p;
                *axis = (int)axes->v[i];
            }
    return most > 1 ? most : 0;
}

void pass_split_reductions(ir_func *f)
{
    pass_replace_begin(f);
    IR_FOR_SAFE (inst, f) {
        pass_replace_in(inst);
        int axis = 0, n = 0;
        int64_t parts = inst->op == IR_OP_reduce ? parts_of(inst, &axis) : 0;
        if (!parts)
            continue;
        const ir_type *from = &inst->operand[0]->type;
        const ir_ints *axes = &IR_ATTR(inst, reduce)->axes;
        int64_t shape[IR_MAX_RANK + 1], first[IR_MAX_RANK], second = axis;
        if (from->rank == IR_MAX_RANK)
            continue;
        for (int d = 0; d < from->rank; d++) {
            if (d == axis)
                shape[n++] = parts;
            shape[n++] = d == axis ? from->dim[d] / parts : from->dim[d];
        }
        for (int i = 0; i < axes->n; i++) {
            first[i] = axes->v[i] + (axes->v[i] >= axis);
            second -= axes->v[i] < axis;
        }
        ir_builder b = ir_builder_before(inst);
        ir_value *x = ir_reduce(&b, IR_ATTR(inst, reduce)->combine,
                                ir_reshape(&b, inst->operand[0], n, shape), axes->n, first);
        x = ir_reduce(&b, IR_ATTR(inst, reduce)->combine, x, 1, &second);
        ir_built(&b);
        x->name = inst->result[0]->name;
        inst->result[0]->aux = x;
        ir_remove(inst);
    }
    pass_replace_end(f);
}
