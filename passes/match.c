/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Questions that several passes ask of a value. */
#include "passes/local.h"

bool match_splat(const ir_value *v, ir_literal **literal)
{
    for (int steps = 0; steps < 16 && v->def; steps++) {
        switch (v->def->op) {
        case IR_OP_constant: {
            ir_literal *l = IR_ATTR(v->def, constant)->value;
            if (ir_count(&l->type) < 1 || !ir_literal_is_splat(l))
                return false;
            *literal = l;
            return true;
        }
        case IR_OP_broadcast:
        case IR_OP_reshape:
        case IR_OP_transpose:
            v = v->def->operand[0];
            break;
        default:
            return false;
        }
    }
    return false;
}

bool match_number(const ir_value *v, double *number)
{
    ir_literal *l;
    if (!match_splat(v, &l))
        return false;
    *number = ir_literal_get(l, 0);
    int64_t whole = ir_literal_get_int(l, 0);
    return !ir_is_int(l->type.dtype) || (whole > -((int64_t)1 << 53) && whole < (int64_t)1 << 53);
}

bool match_is(const ir_value *v, double number)
{
    double found;
    return match_number(v, &found) && found == number;
}

bool match_unit_reshape(const ir_type *from, const ir_type *to)
{
    int i = 0, j = 0;
    for (;; i++, j++) {
        while (i < from->rank && from->dim[i] == 1)
            i++;
        while (j < to->rank && to->dim[j] == 1)
            j++;
        if (i == from->rank || j == to->rank)
            return i == from->rank && j == to->rank;
        if (from->dim[i] != to->dim[j])
            return false;
    }
}
