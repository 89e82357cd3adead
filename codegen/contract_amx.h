/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Products of small matrices in the tile registers of AMX. */
#ifndef GRADC_CODEGEN_CONTRACT_AMX_H
#define GRADC_CODEGEN_CONTRACT_AMX_H

#include "codegen/emit.h"

/* C += A B, or C = A B. All elements are words of 32 bits: an accumulator, or a group of adjacent
 * elements along K. The extents are multiples of SCHED_AMX: `rows` of A and C, `lanes`, the columns
 * of B and C, at most SCHED_AMX_TILE each, and `groups`, the columns of A and rows of B. */
typedef struct cg_amx {
    const char *product; /* LLVM's name of the instruction */
    int rows, lanes;
    int64_t groups;
    LLVMValueRef a, b, c;
    LLVMValueRef a_stride, b_stride, c_stride; /* bytes from row to row, i64 */
    bool adds;
} cg_amx;
void cg_amx_multiply(cg_emitter *e, const cg_amx *x);

#endif
