/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shared by the emitters of contractions in blocks (contract_block.c): a task's loops over its
 * blocks, and its epilogue. */
#ifndef GRADC_CODEGEN_CONTRACT_BLOCK_H
#define GRADC_CODEGEN_CONTRACT_BLOCK_H

#include "codegen/contraction.h"

typedef struct cg_blocks cg_blocks;
struct cg_blocks {
    cg_contraction *c;
    const sched_contraction *s;
    const sched_axis *lane;
    int scalar, vector;  /* numbers of the operands; the scalar one is broadcast */
    int lanes;           /* of a block */
    int64_t groups;      /* of MC rows */
    LLVMTypeRef type;    /* a row of sums: a vector of `lanes` */
    /* On the stack: the packed panel; sums [slot][lanes]; offsets [slot] of the slots' rows in the
     * scalar operand, if they are not affine. A slot is a row of a tile of the group. */
    LLVMValueRef panel, sums, places;
    LLVMValueRef base[2]; /* the operands at the task's first row and lane */
    cg_index first; /* the first row of the group */
    /* Rows of the group, its tiles, and the rows by which the last tile is moved back. */
    LLVMValueRef count, tiles, shift;
    /* Emits one block. extent: of the summed axes from s->split on; scalar, vector: the operands at
     * its first product. */
    void (*block)(cg_blocks *b, const int64_t *extent, LLVMValueRef scalar, LLVMValueRef vector);
    void *user; /* the emitter's own */
};

/* Needs b->s and b->block. */
void cg_emit_blocks(cg_blocks *b, cg_emitter *e);

/* The product of the extents after `axis`; extent: of the axes from split on. */
int64_t cg_steps_in(const cg_blocks *b, const int64_t *extent, int axis);
/* Array of n on the stack, and its element i. */
LLVMValueRef cg_block_stack(cg_blocks *b, LLVMTypeRef type, int64_t n);
LLVMValueRef cg_block_slot(cg_blocks *b, LLVMTypeRef type, LLVMValueRef array, LLVMValueRef i);
/* Begins the loop over the group's tiles; returns the tile's first slot. */
LLVMValueRef cg_first_slot(cg_blocks *b, cg_loop *loop);
/* The address of row r of a tile in the scalar operand. */
LLVMValueRef cg_tile_row(cg_blocks *b, LLVMValueRef scalar, LLVMValueRef first_slot,
                         LLVMValueRef r);
/* Calls `emit` with the number of valid lanes. If the last panel along N is partial, it is called
 * twice, for whole panels and for the last one, each under a branch. */
void cg_each_width(cg_blocks *b, void (*emit)(cg_blocks *b, int lanes, void *user), void *user);

/* n vectors of n lanes: lane j of vector i becomes lane i of vector j. */
void cg_transpose_lanes(cg_unit *u, LLVMValueRef *v, int n);
/* v extended to n lanes by zeros. */
LLVMValueRef cg_zero_extend_lanes(cg_unit *u, LLVMValueRef v, int n);

#endif
