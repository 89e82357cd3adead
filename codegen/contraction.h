/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shared by the emitters of contractions (contraction.c): tasks, operands, epilogue. */
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

/* Begins the loop over this part's tasks; returns the task's number. */
cg_index cg_contract_task(cg_contraction *c, cg_loop *loop);

/* Decodes what is left of a task's number once the tile of the lane axis is divided off and its
 * base is set: the batch axes get their bases from it, the row axes 0. start: the first element of
 * each operand, and of the result's storage. */
void cg_contract_start(cg_contraction *c, cg_index task, cg_index start[3]);
/* Splits an index of the collapsed row axes `from`, … into an index of each. */
void cg_row_parts(cg_contraction *c, int from, cg_index row, cg_index *part);

/* base + element, of operand `side`. */
LLVMValueRef cg_operand_pointer(cg_contraction *c, int side, LLVMValueRef base,
                                LLVMValueRef element);
/* Loads n contiguous elements of operand `side` at pointer + offset, converted to the type of the
 * sum. */
LLVMValueRef cg_operand_load(cg_contraction *c, int side, LLVMValueRef pointer, int64_t offset,
                             int n);
/* x * y + sum; integers wrap. */
LLVMValueRef cg_multiply_add(cg_contraction *c, LLVMValueRef x, LLVMValueRef y, LLVMValueRef sum);
/* Index in the outputs: axis i at base + part[i], the lane axis at base + lane. */
void cg_output_index(cg_contraction *c, const cg_index *part, const cg_index *lane, cg_index *at);
/* The epilogue at an index: computes and stores e->lanes lanes of the outputs, where the anchor's
 * result is `sum`. */
void cg_finish(cg_contraction *c, const cg_index *at, LLVMValueRef sum);

#endif
