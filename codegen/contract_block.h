/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the emitters of contractions in blocks share (contract_block.c): the way of a task through
 * its blocks, and its end. */
#ifndef GRADC_CODEGEN_CONTRACT_BLOCK_H
#define GRADC_CODEGEN_CONTRACT_BLOCK_H

#include "codegen/contraction.h"

typedef struct cg_blocks cg_blocks;
struct cg_blocks {
    cg_contraction *c;
    const sched_contraction *s;
    const sched_axis *lane;
    int scalar, vector;  /* numbers of the operands */
    int lanes;           /* of a block */
    int64_t groups;      /* of MC rows */
    LLVMTypeRef type;    /* of a tile's row */
    /* On the stack: products by lanes, [slot][lanes], of each slot's row in the scalar operand. */
    LLVMValueRef panel, sums, places;
    LLVMValueRef base[2]; /* the operands at the task's first row and lane */
    cg_index first; /* row of all */
    /* Rows of the group, its tiles, slots that the last tile's rows are moved on. */
    LLVMValueRef count, tiles, shift;
    /* Code for one block. extent: of the summed axes from s->split on; scalar, vector: the operands
     * at its first product. */
    void (*block)(cg_blocks *b, const int64_t *extent, LLVMValueRef scalar, LLVMValueRef vector);
    void *user; /* the emitter's own */
};

/* b->s and b->block are set. */
void cg_emit_blocks(cg_blocks *b, cg_emitter *e);

/* Products of the axes after `axis`, of those from split on. */
int64_t cg_steps_in(const cg_blocks *b, const int64_t *extent, int axis);
/* Array of n on the stack, and its element i. */
LLVMValueRef cg_block_stack(cg_blocks *b, LLVMTypeRef type, int64_t n);
LLVMValueRef cg_block_slot(cg_blocks *b, LLVMTypeRef type, LLVMValueRef array, LLVMValueRef i);
/* The tiles of the task in a loop: its first slot; and the scalar operand at row r of the tile. */
LLVMValueRef cg_first_slot(cg_blocks *b, cg_loop *loop);
LLVMValueRef cg_tile_row(cg_blocks *b, LLVMValueRef scalar, LLVMValueRef first_slot,
                         LLVMValueRef r);
/* Runs `emit` with the lanes that a panel has: once, or for whole panels and for the last, behind a
 * branch on which of them the task's is. */
void cg_each_width(cg_blocks *b, void (*emit)(cg_blocks *b, int lanes, void *user), void *user);

/* n vectors of n lanes: lane j of vector i becomes lane i of vector j. */
void cg_transpose_lanes(cg_unit *u, LLVMValueRef *v, int n);
/* v with zeros behind, `n` lanes. */
LLVMValueRef cg_zero_extend_lanes(cg_unit *u, LLVMValueRef v, int n);

#endif
