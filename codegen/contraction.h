/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the files of contraction kernels share. A dot_general and a convolution without padding are
 * the same thing here: loops ("axes"), each with a stride in both operands and, unless it is
 * contracted, a place in the result. One axis of the result, the one whose elements lie side by
 * side, is cut into lanes; the operand that moves along it is the vector operand, the other the
 * scalar one. Axes of the result along which the vector operand does not move are rows: a vector of
 * it serves them all. */
#ifndef GRADC_CODEGEN_CONTRACTION_H
#define GRADC_CODEGEN_CONTRACTION_H

#include "codegen/emit.h"

enum { CG_AXES = 2 * IR_MAX_RANK };

typedef struct cg_axis {
    int64_t extent, move[2]; /* strides of the operands, in elements */
    int out;                 /* dimension of the result; -1: contracted */
    /* The result's index is times * this axis' (features are groups * features a group); stride in
     * storage. */
    int64_t times, c;
    int64_t tile, blocks;    /* of result axes: extent of a tile, and how many there are */
    cg_index base;           /* index at the tile's first element */
    cg_index block;
} cg_axis;

typedef struct cg_contraction {
    cg_emitter *e;
    const ir_value *root;
    ir_view view[2];
    ir_dtype dtype;
    int64_t first[IR_MAX_RANK]; /* of the result: index at which the axes begin */
    int n, nk;
    /* Of the result, by ascending stride in storage; contracted, from slow to fast. */
    cg_axis axis[CG_AXES], k[CG_AXES];
    int lane;                /* which axis, -1: none */
    int vector;              /* the operand that moves along the lanes */
    int row[CG_AXES], nrows; /* axes that are rows, innermost first */
    int width;               /* lanes of a register */
    bool long_epilogue;      /* expressions after the sum are emitted once, in a loop over rows */
    bool parts;              /* this is one of several parts of the kernel */
    int64_t tasks_before;    /* those of the parts before */
} cg_contraction;

/* The loop over this part's tasks, which are `tasks` of the kernel's from tasks_before on. */
cg_index cg_contract_task(cg_contraction *c, cg_loop *loop, int64_t tasks);

/* Where a task of all rows from the first on begins, its lanes' block taken off and the base of
 * their axis set: the other axes that are no rows get what is left of its number, and all their
 * bases. start: element of the operands, and of the result's storage. */
void cg_contract_start(cg_contraction *c, cg_index task, cg_index start[3]);
/* A number of row axes `from`, …, counted as one, as an index of each. */
void cg_row_parts(cg_contraction *c, int from, cg_index row, cg_index *part);

int64_t cg_ceil_div(int64_t x, int64_t y);
/* base + element, of operand `side`. */
LLVMValueRef cg_operand_pointer(cg_contraction *c, int side, LLVMValueRef base,
                                LLVMValueRef element);
/* The element of operand `side` at a pointer, as it is in registers; n > 1: so many side by
 * side. */
LLVMValueRef cg_operand_load(cg_contraction *c, int side, LLVMValueRef pointer, int64_t offset,
                             int n);
/* Index in the roots: axis i at base + part[i], the lanes' axis at base + lane. */
void cg_root_index(cg_contraction *c, const cg_index *part, const cg_index *lane, cg_index *at);
/* The roots' expressions at an index where the core's result is `sum`, e->lanes lanes; stored. */
void cg_finish(cg_contraction *c, const cg_index *at, LLVMValueRef sum);

/* contract_tile.c: a task is one tile, whose sums stay in registers from the first to the last
 * product. Returns the tasks. */
int64_t cg_contract_tiles(cg_contraction *c);
/* contract_block.c: a task is a block of rows, the products are added up a part of the contracted
 * axes at a time. */
bool cg_contract_wants_blocks(const cg_contraction *c);
int64_t cg_contract_blocks(cg_contraction *c);
/* contract_blas.c: a task is a call of OpenBLAS for a piece of the result. */
bool cg_contract_wants_blas(cg_contraction *c);
int64_t cg_contract_blas(cg_contraction *c);

#endif
