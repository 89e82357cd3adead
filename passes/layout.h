/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the files of the layout pass share. */
#ifndef GRADC_PASSES_LAYOUT_H
#define GRADC_PASSES_LAYOUT_H

#include "passes/pass_utils.h"

/* One dimension of a contraction's result along which its vectors may run. */
typedef struct layout_lane {
    int out;    /* of the result */
    int dim[2]; /* of the operands; -1: the operand does not move along it */
} layout_lane;
/* Writes all of them to lane (room for 2 * IR_MAX_RANK); returns how many. */
int layout_lanes(const ir_inst *contraction, layout_lane *lane);

/* Decides the orders of parameters and of the slots that follow them, once for a module. */
void layout_states(ir_module *m);

/* If v is a parameter of a function that only scans name, and a constant in all of them: the first
 * scan's operand. Else NULL. */
ir_value *layout_loop_operand(const ir_value *v);

/* f is a branch that one cond alone names: it is laid out when the cond is. */
bool layout_adapts(const ir_func *f);

/* An order in the module's arena; n = 0 when it is row-major (dimensions of extent 1 aside). */
ir_ints layout_order(ir_func *f, const ir_type *t, const int64_t *dims);
bool layout_same(const ir_type *t, const ir_ints *x, const ir_ints *y);

#endif
