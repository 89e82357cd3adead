/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * How much work instructions, kernels and functions are, whatever the processor. All who weigh one
 * thing against another ask here: passes, the choice of a kernel's strategy, `info`, profiles.
 *
 * Counted are multiply-accumulates, arithmetic in additions (the column `cost` of ir/ops.def: an
 * exp counts as 12), and bytes that are read and written. Zeros that only padding or an operand's
 * dilation puts in are counted as codegen treats them: padding is multiplied, gaps between elements
 * are not. Numbers are doubles, so nothing overflows. */
#ifndef GRADC_IR_COST_H
#define GRADC_IR_COST_H

#include "ir/ir.h"

struct ir_kernel;

typedef struct ir_cost {
    double macs;    /* of contractions; counted in flops too, two each */
    double flops;   /* arithmetic, in additions */
    double read;    /* bytes: each element that is read counts once, however often it is */
    double written; /* bytes */
} ir_cost;

/* How often operand i is read for one element of the result, on average: of a reduction, window or
 * contraction once a term, of a gather's index once a component, of all else once. Of a convolution
 * whose operand is dilated only the taps that meet an element count. */
double ir_cost_reads(const ir_inst *inst, int i);
/* Multiply-accumulates; 0 if inst is no contraction. */
double ir_cost_macs(const ir_inst *inst);
/* Of inst alone, with all operands and results in memory. A loop counts its body's instructions
 * once a trip, a branch the dearer of its functions. */
ir_cost ir_cost_of_inst(const ir_inst *inst);
/* The sum over f's instructions. */
ir_cost ir_cost_of_func(const ir_func *f);
/* Of a kernel: what is computed inside it once an index at which it is needed; bytes of what it
 * reads from memory and of its outputs. Functions that a loop or branch runs must have their
 * schedules. The arena is for the walk. */
ir_cost ir_cost_of_kernel(base_arena *scratch, const struct ir_kernel *k);
ir_cost ir_cost_plus(ir_cost x, ir_cost y, double times);
/* One number for time, in additions: bytes count as tuning.def says. */
double ir_cost_work(const ir_cost *c);

/* A contraction as the matrix product C[m,n] += A[m,k] B[k,n]. The n results along one dimension
 * are the lanes; m results use each element of the operand that moves along them, B; each is a sum
 * of k products. */
typedef struct ir_gemm {
    int64_t m, n, k;
} ir_gemm;
/* Of a dot_general or convolution whose lanes are along dimension `lane` of the result and move
 * along operand `side` alone. Batch dimensions and groups are other such products. Of a convolution
 * with a dilated operand: the largest of the products that it consists of, where most of its work
 * is. */
ir_gemm ir_gemm_of(const ir_inst *inst, int lane, int side);
/* Is B read so often that it pays to copy it first to where it lies without gaps, a panel at a
 * time? Then it may lie in memory anyhow. */
bool ir_gemm_packs(const ir_gemm *g);
/* Does it pay to copy B into another order in memory? Not where it is packed anyway, nor where each
 * element serves so few results that it is read once. */
bool ir_gemm_copies(const ir_gemm *g);

#endif
