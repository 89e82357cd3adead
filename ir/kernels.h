/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * How a function is cut into kernels and placed in memory: decided by the passes layout, fuse and
 * plan, read by codegen.
 *
 * layout  chooses for every value an order of its dimensions in storage (ir_value.order); the graph
 *         stays as it is, without explicit transposes. It inserts `copy` where an operand needs
 *         another order than its storage has.
 * fuse    decides which values are written to memory: those with a kernel. All others are computed
 *         inside their users, at the index where they are needed.
 * plan    orders kernels, cuts them into phases, and gives every written value its place.
 *
 * Kernels of a function run phase by phase; between phases all workers meet. Kernels of one phase
 * neither depend on each other nor share memory (in-place reuse inside one kernel aside). */
#ifndef GRADC_IR_KERNELS_H
#define GRADC_IR_KERNELS_H

#include "ir/cost.h"

typedef enum ir_kernel_kind {
    /* Outputs of one shape and order (below: ir_space), each emitted at every index; reductions
     * among them are loops there. */
    IR_KERNEL_MAP,
    /* The anchor is a dot_general or convolution; the outputs, which share one storage order, are
     * its result or expressions that use its result at their own index only (epilogue). Both
     * operands are views (below). */
    IR_KERNEL_CONTRACTION,
    /* The anchor has an emitter of its own: scatter, sort, cumulative; the outputs are its
     * results. */
    IR_KERNEL_STANDALONE,
    /* The anchor is a gather or scatter: checks that every element of its index operand is in
     * range; no outputs. */
    IR_KERNEL_CHECK,
    /* The anchor is a scan or while_loop: runs its functions' plans. */
    IR_KERNEL_LOOP,
    IR_KERNEL_BRANCH, /* anchor is a cond */
} ir_kernel_kind;
extern const char *const ir_kernel_kind_names[]; /* NULL at the end */

typedef struct ir_kernel {
    ir_kernel_kind kind;
    ir_inst *anchor; /* NULL for a map */
    BASE_LIST(ir_value *) outputs; /* written by it */
    /* Parameters, large constants and other kernels' outputs that its expressions reach, each
     * once. */
    BASE_LIST(ir_value *) reads;
    int index; /* in the plan */
    int size;                   /* of its code, in additions */
    int phase;
    /* Result ports that need it, by bit (63: state updates and all ports from 63 on). */
    uint64_t wanted;
    int check; /* IR_KERNEL_CHECK: number in the plan's checks */
    /* Loops, branches: offset in the function's scratch of the called functions' scratch;
     * STANDALONE: of the emitter's own scratch, if any. */
    int64_t scratch_at;
    /* Loops: for each carried value, which is double-buffered, the offset of its second buffer in
     * scratch; then that of two flags. */
    int64_t *second_buffer;
    struct sched_kernel *schedule; /* how it runs on the CPU level that code is generated for */
} ir_kernel;

typedef struct ir_plan {
    BASE_LIST(ir_kernel *) kernels; /* in order; phases ascend */
    int phases;
    int64_t scratch;              /* bytes, PLAN_ALIGN-ed, those of called functions included */
    BASE_LIST(const char *) checks; /* name of the index tensor of each check */
    /* No state is written in a phase up to this one; -1: nothing is checked. */
    int checked_phase;
    ir_cost cost; /* of all kernels, set by plan */
} ir_plan;

/* Called functions. The body of a loop or branch has a plan of its own, whose IR_SCRATCH offsets
 * count from scratch_at of the kernel that runs it. Its parameters are stored where the operands
 * are (slices of them for the sequences of a scan). Each of its results is the output of a kernel
 * of its own and has the place IR_AT_RESULT; codegen decides where that is: the storage of the
 * caller's result, a slice of it, or for carried values alternately the caller's result and
 * second_buffer. Carried values, sequences and results of branches are row-major in storage;
 * constants of a scan and operands of a branch have the order of the function's parameter. Calls
 * have been inlined before. */

/* A strided view: element (i0, i1, …) of v is element `offset + sum(i_d * stride[d])` of base's
 * storage. */
typedef struct ir_view {
    ir_value *base; /* a parameter, constant or value with a kernel */
    int64_t offset; /* in elements */
    int64_t stride[IR_MAX_RANK]; /* by v's dimensions; may be 0 or negative */
} ir_view;

/* Storage strides of v's own order, in elements. */
void ir_storage_strides(const ir_value *v, int64_t stride[IR_MAX_RANK]);
/* Two values of one shape have the same storage order. */
bool ir_same_storage(const ir_value *x, const ir_value *y);
/* Reshape, transpose, slice, broadcast, reverse: no elements of their own. */
bool ir_is_view(const ir_inst *inst);
/* Follows views from v down to storage. False if v is not such a view. BUG when an element would be
 * outside the storage. */
bool ir_view_of(ir_value *v, ir_view *out);
/* The same down to the first value that is not a view, whether it is in memory or not, as if it
 * were stored in its order. */
bool ir_view_over(ir_value *v, ir_view *out);
/* True when all of `offset + sum(i_d * stride[d])`, i_d from 0 to extent[d] - 1 in n dimensions,
 * are at least 0 and below count. */
bool ir_inside(int64_t offset, int n, const int64_t *extent, const int64_t *stride, int64_t count);
/* One dimension of a reduce_window, arg_window or window_put: result element i combines the
 * operand's elements o at taps t with
 *
 *     base * o = sign * (dilation * t - N(i)),   N(i) = low + step * i,
 *     0 <= t < window,   0 <= o < extent.
 *
 * Only every skip-th tap can have an element there. So `count` positions are visited: with common =
 * gcd(base, dilation), where N is a multiple of it, the taps t0 + skip * j for j = 0, 1, …, with t0
 * = inverse * ((N mod base) / common) mod skip; or all elements, where these are fewer. */
typedef struct ir_taps {
    int64_t low, step, sign, base, dilation, window, extent, common, skip, inverse, count;
    bool elements;
} ir_taps;
ir_taps ir_taps_of(const ir_inst *inst, int d);
int64_t ir_gcd(int64_t x, int64_t y);
/* A STANDALONE kernel whose emitter needs scratch memory divides its work into this many tasks, and
 * needs this many bytes in all. */
int64_t ir_standalone_tasks(const ir_inst *anchor);
int64_t ir_standalone_scratch(const ir_inst *anchor);
/* A map may write a concat piece by piece: at each index of a piece it writes all of them. True for
 * a concat of a few equal pieces. */
bool ir_in_pieces(const ir_value *v);
/* The value at whose indices a map emits its output: the output itself, or the first of its
 * pieces. */
const ir_value *ir_space(const ir_value *output);
/* Kernel k reads v from storage and does not compute it. */
bool ir_is_read(const ir_kernel *k, const ir_value *v);
/* The dimension of v that is innermost in storage (extents of 1 aside); -1 if there is none. */
int ir_fastest(const ir_value *v);
/* The dimension of v along which the value under its views is contiguous, whether that is in memory
 * or not; -1: none. */
int ir_nearest(ir_value *v);
/* Does the storage of two values of a planned function begin at the same place? */
bool ir_share_place(const ir_value *x, const ir_value *y);
/* True for a value that codegen emits as an immediate: a constant whose elements are all the
 * same. */
bool ir_is_immediate(const ir_value *v);

#endif
