/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A tile register holds 16 rows of 64 bytes. LLVM configures and allocates the registers by the
 * shape that each use states, and a register keeps its shape in the whole function, which may hold
 * several parts of a kernel. So every shape is the whole register: schedules choose rows and lanes
 * that fill it, and K is padded with zeros. Four accumulators and two registers of each operand are
 * all eight that there are. */
#include "codegen/contract_amx.h"

enum { WORDS = SCHED_AMX, BYTES = 4 * WORDS, MOST = SCHED_AMX_TILE / SCHED_AMX };

typedef struct amx {
    cg_emitter *e;
    cg_unit *u;
    const cg_amx *x;
    LLVMTypeRef vector; /* a register's words: the type of a tile between two instructions */
    int down, across;   /* registers of C */
    LLVMValueRef sum[MOST][MOST];
} amx;

/* Rows, or bytes of a row. */
static LLVMValueRef shape(amx *a, int n)
{
    return LLVMConstInt(LLVMInt16TypeInContext(a->u->ll), (unsigned long long)n, 0);
}

static LLVMValueRef to_vector(amx *a, LLVMValueRef tile)
{
    return cg_intrinsic(a->u, "llvm.x86.cast.tile.to.vector", &a->vector, 1, &tile, 1);
}

static LLVMValueRef to_tile(amx *a, LLVMValueRef vector)
{
    return cg_intrinsic(a->u, "llvm.x86.cast.vector.to.tile", &a->vector, 1, &vector, 1);
}

/* base + row * stride + bytes */
static LLVMValueRef at(amx *a, LLVMValueRef base, LLVMValueRef stride, LLVMValueRef row, int bytes)
{
    LLVMBuilderRef b = a->u->b;
    LLVMValueRef offset = LLVMBuildNSWMul(b, row, stride, "");
    return cg_gep(a->u, base, LLVMBuildNSWAdd(b, offset, cg_i64(a->u, bytes), ""));
}

static LLVMValueRef load(amx *a, LLVMValueRef from, LLVMValueRef stride)
{
    LLVMValueRef args[] = {shape(a, SCHED_AMX), shape(a, BYTES), from, stride};
    return cg_intrinsic(a->u, "llvm.x86.tileloadd64.internal", NULL, 0, args, 4);
}

static LLVMValueRef place_of_sum(amx *a, int i, int j)
{
    return at(a, a->x->c, a->x->c_stride, cg_i64(a->u, (int64_t)i * SCHED_AMX), j * BYTES);
}

/* The accumulators begin as zero, or as what C holds. */
static void begin(amx *a)
{
    for (int i = 0; i < a->down; i++)
        for (int j = 0; j < a->across; j++) {
            LLVMValueRef sum;
            if (a->x->adds) {
                sum = load(a, place_of_sum(a, i, j), a->x->c_stride);
            } else {
                LLVMValueRef args[] = {shape(a, SCHED_AMX), shape(a, BYTES)};
                sum = cg_intrinsic(a->u, "llvm.x86.tilezero.internal", NULL, 0, args, 2);
            }
            a->sum[i][j] = cg_local(a->e, a->vector);
            LLVMBuildStore(a->u->b, to_vector(a, sum), a->sum[i][j]);
        }
}

/* Accumulates the products of one register's columns of A, which begin at `group`. */
static void multiply(amx *a, LLVMValueRef group)
{
    const cg_amx *x = a->x;
    LLVMBuilderRef b = a->u->b;
    LLVMValueRef lanes[MOST];
    LLVMValueRef from = cg_gep(a->u, x->a, LLVMBuildNSWMul(b, group, cg_i64(a->u, 4), ""));
    for (int j = 0; j < a->across; j++)
        lanes[j] = load(a, at(a, x->b, x->b_stride, group, j * BYTES), x->b_stride);
    for (int i = 0; i < a->down; i++) {
        LLVMValueRef first = at(a, from, x->a_stride, cg_i64(a->u, (int64_t)i * SCHED_AMX), 0),
                     row = load(a, first, x->a_stride);
        for (int j = 0; j < a->across; j++) {
            LLVMValueRef sum = LLVMBuildLoad2(b, a->vector, a->sum[i][j], "");
            LLVMValueRef args[] = {shape(a, SCHED_AMX),
                                   shape(a, BYTES),
                                   shape(a, BYTES),
                                   to_tile(a, sum),
                                   row,
                                   lanes[j]};
            sum = cg_intrinsic(a->u, x->product, NULL, 0, args, 6);
            LLVMBuildStore(b, to_vector(a, sum), a->sum[i][j]);
        }
    }
}

/* Stores the accumulators to C. */
static void end(amx *a)
{
    for (int i = 0; i < a->down; i++)
        for (int j = 0; j < a->across; j++) {
            LLVMValueRef sum = LLVMBuildLoad2(a->u->b, a->vector, a->sum[i][j], ""),
                         args[] = {shape(a, SCHED_AMX), shape(a, BYTES), place_of_sum(a, i, j),
                                   a->x->c_stride, to_tile(a, sum)};
            cg_intrinsic(a->u, "llvm.x86.tilestored64.internal", NULL, 0, args, 5);
        }
}

void cg_amx_multiply(cg_emitter *e, const cg_amx *x)
{
    amx a = {.e = e,
             .u = e->u,
             .x = x,
             .vector = cg_vector(e->u->i32, SCHED_AMX * WORDS),
             .down = x->rows / SCHED_AMX,
             .across = x->lanes / SCHED_AMX};
    cg_loop loop;
    begin(&a);
    cg_loop_begin(e, &loop, cg_i64(e->u, 0), cg_i64(e->u, x->groups), SCHED_AMX, true);
    multiply(&a, loop.i);
    cg_loop_end(e, &loop);
    end(&a);
}
