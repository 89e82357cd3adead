/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Emitting expressions at an index.
 *
 * A kernel is an LLVM function (worker, storage pointers…[, scratch or extent]) that does the
 * worker's share of its tasks, lo … hi-1. An emitter holds the state of emitting one. Values are
 * emitted at a tuple of symbolic indices, for `lanes` adjacent elements at once, which the lane
 * variable counts. A value that is uniform across lanes is a scalar (the result of a reduction may
 * be a vector), others are vectors; bool is i1, f16 and bf16 are f32 that are already rounded. So
 * one rule per op serves scalar and vector code, broadcasts are free, and elements that are
 * contiguous in storage are loaded as vectors. */
#ifndef GRADC_CODEGEN_EMIT_H
#define GRADC_CODEGEN_EMIT_H

#include "codegen/cg.h"
#include "schedule/schedule.h"

/* ---- Symbolic indices (index.c) ---- */

typedef struct cg_var {
    LLVMValueRef value; /* i64, at lane 0; of a varying one: a vector of i64 */
    int64_t max;        /* 0 <= variable <= max */
    int id;             /* ascending by creation */
    /* Lane l has value + l, and value is a multiple of the lanes (or lanes is 1). */
    bool lane;
    bool varying;
} cg_var;

enum { CG_TERMS = 24 };
/* constant + sum of times * var; terms ascend by id, no zero factors. */
typedef struct cg_index {
    int64_t constant;
    int n;
    struct { const cg_var *var; int64_t times; } term[CG_TERMS];
} cg_index;

/* ---- The emitter (emit.c) ---- */

typedef struct cg_memo { /* a value already emitted, at an index */
    const ir_value *value;
    const cg_index *at;
    LLVMValueRef emitted;
} cg_memo;

typedef struct cg_emitter {
    cg_unit *u;
    base_arena *arena;          /* lives as long as the kernel is emitted */
    const ir_kernel *kernel;
    /* scratch: NULL if ir_standalone_scratch is 0 */
    LLVMValueRef function, worker, lo, hi, scratch;
    LLVMValueRef extent;      /* of a shape-polymorphic map: the last argument, i64; else NULL */
    int lanes;
    int vars;                 /* made so far */
    BASE_LIST(cg_memo) memo;
    /* Values in storage that the kernel accesses. */
    BASE_LIST(const ir_value *) leaf;
    BASE_LIST(int) argument; /* by leaf: the parameter that is its storage */
    /* Reductions that the outputs need at their own index: those that can share a loop do. */
    BASE_LIST(const ir_inst *) reduces;
    const ir_value *anchor; /* contraction: its result, … */
    LLVMValueRef anchor_value; /* … at the outputs' index; NULL outside the epilogue */
} cg_emitter;

/* A rule of the table's `lower` column: result `which` of inst at index `at` (one cg_index per
 * dimension of that result). */
typedef LLVMValueRef cg_rule(cg_emitter *e, const ir_inst *inst, int which, const cg_index *at);
extern cg_rule *const cg_rules[IR_OPS];

/* Is v in storage, and not an expression of this kernel? */
bool cg_is_leaf(const cg_emitter *e, const ir_value *v);
/* v at an index: from storage, from what was emitted before, or by the rule of its instruction. */
LLVMValueRef cg_at(cg_emitter *e, const ir_value *v, const cg_index *at);
/* The memoised result of cg_at for v at this index, or NULL. */
LLVMValueRef cg_known(cg_emitter *e, const ir_value *v, const cg_index *at);
/* Stores what cg_at yields for v (a leaf) at an index. */
void cg_store(cg_emitter *e, const ir_value *v, const cg_index *at, LLVMValueRef value);
/* Reads or writes storage element `where` of a leaf. */
LLVMValueRef cg_load_element(cg_emitter *e, const ir_value *leaf, const cg_index *where);
void cg_store_element(cg_emitter *e, const ir_value *leaf, const cg_index *where,
                      LLVMValueRef value);
/* A masked load of contiguous lanes; those outside the mask, which may be outside the storage, are
 * zero. */
LLVMValueRef cg_load_lanes(cg_emitter *e, const ir_value *leaf, const cg_index *where,
                           LLVMValueRef mask);
LLVMValueRef cg_storage(cg_emitter *e, const ir_value *leaf);
/* Storage element of the index. */
cg_index cg_element(cg_emitter *e, const ir_value *v, const cg_index *at);
LLVMValueRef cg_from_memory(cg_emitter *e, ir_dtype t, LLVMValueRef stored);
LLVMValueRef cg_to_memory(cg_emitter *e, ir_dtype t, LLVMValueRef value);
/* Same number of lanes for both: splats the scalar one. */
void cg_level(cg_emitter *e, LLVMValueRef *x, LLVMValueRef *y);
/* Splat to e->lanes if it is a scalar and lanes > 1. */
LLVMValueRef cg_as_vector(cg_emitter *e, LLVMValueRef x);
/* An integer value of the index, in all lanes (i64 scalar or vector). */
LLVMValueRef cg_index_value(cg_emitter *e, const cg_index *x);
/* The type of dtype in registers. */
LLVMTypeRef cg_type(cg_emitter *e, ir_dtype t, int lanes);
/* A number in registers, scalar. */
LLVMValueRef cg_number(cg_emitter *e, ir_dtype t, double v);
LLVMValueRef cg_integer(cg_emitter *e, ir_dtype t, int64_t v);
/* The larger or smaller of two floats; y where either is NaN, or both are zeros: one instruction on
 * x86. */
LLVMValueRef cg_pick_number(cg_emitter *e, bool larger, LLVMValueRef x, LLVMValueRef y);
/* x combined with y; f16 and bf16 are not rounded. The identity of a combination. */
LLVMValueRef cg_combine(cg_emitter *e, ir_combine c, ir_dtype t, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef cg_identity(cg_emitter *e, ir_combine c, ir_dtype t);
/* The smaller and the larger of two i64. */
static inline LLVMValueRef cg_min(cg_emitter *e, LLVMValueRef x, LLVMValueRef y)
{
    return cg_combine(e, IR_MIN, IR_I64, x, y);
}
static inline LLVMValueRef cg_max(cg_emitter *e, LLVMValueRef x, LLVMValueRef y)
{
    return cg_combine(e, IR_MAX, IR_I64, x, y);
}
/* The horizontal reduction of x's lanes. */
LLVMValueRef cg_across(cg_emitter *e, ir_combine c, ir_dtype t, LLVMValueRef x);
/* f16 and bf16: rounded to the type, as floats; others unchanged. */
LLVMValueRef cg_round(cg_emitter *e, ir_dtype t, LLVMValueRef x);
/* Multiply and add, fused where the target can. */
LLVMValueRef cg_fma(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z);

/* ---- Indices (index.c) ---- */
cg_var *cg_var_new(cg_emitter *e, LLVMValueRef value, int64_t max);
cg_index cg_of(int64_t constant);
cg_index cg_of_var(const cg_var *v);
/* x + times * y */
cg_index cg_add(cg_emitter *e, const cg_index *x, const cg_index *y, int64_t times);
cg_index cg_scaled(const cg_index *x, int64_t times);
cg_index cg_plus(const cg_index *x, int64_t constant);
/* floor(x / d) and x mod d, d > 0. */
void cg_divide(cg_emitter *e, const cg_index *x, int64_t d, cg_index *quotient,
               cg_index *remainder);
bool cg_index_eq(const cg_index *x, const cg_index *y);
void cg_range(const cg_index *x, int64_t *min, int64_t *max);
/* The value at lane 0 without varying parts, the factor of the lane variable, and whether there are
 * varying parts. */
LLVMValueRef cg_scalar_part(cg_emitter *e, const cg_index *x);
int64_t cg_lane_stride(const cg_index *x);
bool cg_is_varying(const cg_index *x);
/* An index whose value is known only at run time: v is i64 or a vector of i64, in 0 … max. */
cg_index cg_opaque(cg_emitter *e, LLVMValueRef v, int64_t max);
/* Row-major: an index tuple to a number, and back. */
cg_index cg_linear(cg_emitter *e, const ir_type *t, const cg_index *at);
void cg_unravel(cg_emitter *e, const ir_type *t, const cg_index *number, cg_index *at);
/* i1: 0 <= x < limit, in all lanes; NULL when it always holds. */
LLVMValueRef cg_inside(cg_emitter *e, const cg_index *x, int64_t limit);
/* x kept in 0 … limit-1. */
cg_index cg_clamp(cg_emitter *e, const cg_index *x, int64_t limit);

/* ---- Control flow (emit.c) ---- */
typedef struct cg_loop {
    LLVMBasicBlockRef body, done;
    LLVMValueRef i; /* i64 */
    LLVMValueRef narrow; /* the counter as i32, where i is wider than registers; or NULL */
    LLVMValueRef end;
    int64_t step;
    int mark; /* of the memo */
} cg_loop;
/* for (i = start; i < end; i += step); sure: it runs at least once. */
void cg_loop_begin(cg_emitter *e, cg_loop *loop, LLVMValueRef start, LLVMValueRef end, int64_t step,
                   bool sure);
void cg_loop_end(cg_emitter *e, cg_loop *loop);
/* A counted loop whose variable is an index. */
cg_index cg_loop_count(cg_emitter *e, cg_loop *loop, int64_t count);
typedef struct cg_branch {
    LLVMBasicBlockRef done;
    int mark;
} cg_branch;
void cg_if(cg_emitter *e, cg_branch *b, LLVMValueRef condition); /* i1 */
void cg_endif(cg_emitter *e, cg_branch *b);
/* Vector loops (lanes.c). Lanes of the next vector of a remainder: a register of `width` lanes
 * times a power of two, or all that are left if they are fewer. */
int cg_piece(int64_t left, int width);
/* Emits the code for e->lanes elements from x on. */
typedef void cg_lanes_body(cg_emitter *e, void *user, const cg_index *x);
/* For elements from … to - 1, in pieces. */
void cg_each_piece(cg_emitter *e, int64_t from, int64_t to, int width, cg_lanes_body *body,
                   void *user);
/* A row of adjacent elements, or a task's chunk of it. */
typedef struct cg_row {
    int64_t extent;
    int lanes, width; /* of whole vectors, of a register */
    const cg_index *chunk; /* the number of the task's chunk; read only if there are several */
    int64_t each, chunks; /* elements of a chunk; how many */
} cg_row;
/* A loop of whole vectors, then the remainder, which belongs to the last chunk. */
void cg_each_lanes(cg_emitter *e, const cg_row *r, cg_lanes_body *body, void *user);
/* Stack storage for an accumulator, in the function's first block. */
LLVMValueRef cg_local(cg_emitter *e, LLVMTypeRef type);
/* Forgets what was emitted since the memo had `mark` entries. */
void cg_forget(cg_emitter *e, int mark);

/* ---- Kernels ---- */
/* Sets the attributes of a kernel's function. */
void cg_kernel_attributes(cg_unit *u, LLVMValueRef f);
/* The column `emit` of schedule/strategies.def: emits tasks lo … hi-1 of the kernel as its schedule
 * says; part: of a contraction, else NULL. */
typedef void cg_strategy(cg_emitter *e, const sched_contraction *part);
#define STRATEGY(NAME, text, kind, applies, choose, cost, complete, emit, doc) \
    cg_strategy cg_emit_##emit;
#include "schedule/strategies.def"
/* The number of tasks of a shape-polymorphic map for e->extent elements. */
LLVMValueRef cg_map_tasks(cg_emitter *e);

/* An emitted kernel function and how to call it: the storage of which leaves, in order. */
typedef struct cg_call {
    LLVMValueRef function;
    LLVMTypeRef type;
    int64_t tasks;
    int nargs;
    const ir_value **arg;
    bool scratch;   /* after the storage: where ir_kernel.scratch_at is, or … */
    int64_t extent; /* … the number of elements of a shape-polymorphic map, else 0 */
} cg_call;
/* The function for a kernel; an identical one that was emitted before is used again.
 * same_storage(user, x, y): do two values share storage. */
cg_call cg_kernel_function(cg_unit *u, const ir_kernel *k,
                           bool (*same_storage)(void *user, const ir_value *x, const ir_value *y),
                           void *user);

#endif
