/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The cost of instructions, kernels and functions, independent of the processor. Everything that
 * compares costs uses it: passes, the choice of a kernel's strategy, `info`, profiles.
 *
 * It counts multiply-accumulates, arithmetic in units of one addition (the column `cost` of
 * ir/ops.def: an exp counts as 12), and bytes read and written. Zeros from padding or input
 * dilation are counted as codegen treats them: padding is multiplied, the gaps of input dilation
 * are not. Numbers are doubles, so nothing overflows. */
#ifndef GRADC_IR_COST_H
#define GRADC_IR_COST_H

#include "ir/ir.h"

struct ir_kernel;

typedef struct ir_cost {
    double macs;    /* of contractions; flops include them, two each */
    double flops;   /* arithmetic, in additions */
    double read;    /* bytes: each element counts once, however often it is read */
    double written; /* bytes */
} ir_cost;

/* How often operand i is read for one element of the result, on average: once per term of a
 * reduction, window or contraction, once per component of a gather's index, otherwise once. In a
 * convolution with input dilation only the taps that meet an element count. */
double ir_cost_reads(const ir_inst *inst, int i);
/* Multiply-accumulates; 0 if inst is not a contraction. */
double ir_cost_macs(const ir_inst *inst);
/* Cost of inst alone, with all operands and results in memory. A loop counts its body's
 * instructions once per trip, a branch the more expensive of its functions. */
ir_cost ir_cost_of_inst(const ir_inst *inst);
/* The sum over f's instructions. */
ir_cost ir_cost_of_func(const ir_func *f);
/* Cost of a kernel: instructions inside it count once for each index at which they are needed;
 * bytes are those that it reads from memory and those of its outputs. Functions that a loop or
 * branch runs must be planned already. scratch holds the walk's data. */
ir_cost ir_cost_of_kernel(base_arena *scratch, const struct ir_kernel *k);
ir_cost ir_cost_plus(ir_cost x, ir_cost y, double times);
/* One number for the time, in additions; tuning.def says how bytes count. */
double ir_cost_work(const ir_cost *c);

/* A contraction as the matrix product C[m,n] += A[m,k] B[k,n]. The n results along one dimension
 * are the lanes. B is the operand that moves along them; m results use each of its elements. Each
 * result is a sum of k products. */
typedef struct ir_gemm {
    int64_t m, n, k;
} ir_gemm;
/* The product of a dot_general or convolution whose lanes are along dimension `lane` of the result,
 * along which only operand `side` moves. Batch dimensions and groups repeat the product. A
 * convolution with input dilation consists of several products: this is the largest, which has most
 * of the work. */
ir_gemm ir_gemm_of(const ir_inst *inst, int lane, int side);
/* Is B read so often that packing it, a panel at a time, pays? Then its order in memory does not
 * matter. */
bool ir_gemm_packs(const ir_gemm *g);
/* Does it pay to copy B into another order in memory? Not where it is packed anyway, nor where only
 * a few results use each element. */
bool ir_gemm_copies(const ir_gemm *g);

#endif
