/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the emitters of contractions share (contraction.c): tasks, operands, and the end of a
 * row. */
#ifndef GRADC_CODEGEN_CONTRACTION_H
#define GRADC_CODEGEN_CONTRACTION_H

#include "codegen/emit.h"

typedef struct cg_contraction {
    cg_emitter *e;
    const sched_contraction *s; /* the part that is emitted */
    const ir_value *output;
    bool parts;                 /* it is one of several */
    /* By axis of the result: the number of the tile, and the index at its first element. */
    cg_index tile[SCHED_AXES], base[SCHED_AXES];
} cg_contraction;

cg_contraction cg_contraction_of(cg_emitter *e, const sched_contraction *s);

/* The loop over this part's tasks. */
cg_index cg_contract_task(cg_contraction *c, cg_loop *loop);

/* Where a task of all rows from the first on begins, the tile of the lanes' axis taken off and its
 * base set: the other axes that are no rows get what is left of the task's number, and all their
 * bases. start: element of the operands, and of the result's storage. */
void cg_contract_start(cg_contraction *c, cg_index task, cg_index start[3]);
/* A number of row axes `from`, …, counted as one, as an index of each. */
void cg_row_parts(cg_contraction *c, int from, cg_index row, cg_index *part);

/* base + element, of operand `side`. */
LLVMValueRef cg_operand_pointer(cg_contraction *c, int side, LLVMValueRef base,
                                LLVMValueRef element);
/* The element of operand `side` at a pointer, in the type of the sum, as it is in registers; n > 1:
 * so many side by side. */
LLVMValueRef cg_operand_load(cg_contraction *c, int side, LLVMValueRef pointer, int64_t offset,
                             int n);
/* x * y + sum; integers wrap. */
LLVMValueRef cg_multiply_add(cg_contraction *c, LLVMValueRef x, LLVMValueRef y, LLVMValueRef sum);
/* Index in the outputs: axis i at base + part[i], the lanes' axis at base + lane. */
void cg_output_index(cg_contraction *c, const cg_index *part, const cg_index *lane, cg_index *at);
/* The outputs' expressions at an index where the anchor's result is `sum`, e->lanes lanes;
 * stored. */
void cg_finish(cg_contraction *c, const cg_index *at, LLVMValueRef sum);

#endif
