/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A tile register holds 16 rows of 64 bytes. LLVM configures the registers and allocates them, by
 * the shapes that each use states; a register has one shape in a whole function, so all shapes of K
 * are whole ones (the operands are padded with zeros). Four registers of sums, two of each operand:
 * that is all eight. */
#include "codegen/contract_amx.h"

enum { WORDS = SCHED_AMX, BYTES = 4 * WORDS, MOST = 2 };

typedef struct amx {
    cg_emitter *e;
    cg_unit *u;
    const cg_amx *x;
    LLVMTypeRef vector; /* of a register's words: values are such between two instructions */
    int down, across;   /* registers of C */
    LLVMValueRef sum[MOST][MOST];
} amx;

static LLVMValueRef shape(amx *a, int n)
{
    return LLVMConstInt(LLVMInt16TypeInContext(a->u->ll), (unsigned long long)n, 0);
}

/* Rows of C that are in registers of line i. */
static int rows_of(const amx *a, int i)
{
    int rest = a->x->rows - i * SCHED_AMX;
    return rest < SCHED_AMX ? rest : SCHED_AMX;
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

static LLVMValueRef load(amx *a, int rows, LLVMValueRef from, LLVMValueRef stride)
{
    LLVMValueRef args[] = {shape(a, rows), shape(a, BYTES), from, stride};
    return cg_intrinsic(a->u, "llvm.x86.tileloadd64.internal", NULL, 0, args, 4);
}

static LLVMValueRef place_of_sum(amx *a, int i, int j)
{
    return at(a, a->x->c, a->x->c_stride, cg_i64(a->u, (int64_t)i * SCHED_AMX), j * BYTES);
}

static void begin(amx *a)
{
    for (int i = 0; i < a->down; i++)
        for (int j = 0; j < a->across; j++) {
            LLVMValueRef sum;
            if (a->x->adds) {
                sum = load(a, rows_of(a, i), place_of_sum(a, i, j), a->x->c_stride);
            } else {
                LLVMValueRef args[] = {shape(a, rows_of(a, i)), shape(a, BYTES)};
                sum = cg_intrinsic(a->u, "llvm.x86.tilezero.internal", NULL, 0, args, 2);
            }
            a->sum[i][j] = cg_local(a->e, a->vector);
            LLVMBuildStore(a->u->b, to_vector(a, sum), a->sum[i][j]);
        }
}

/* Adds the products of a register's columns of A, from group on. */
static void multiply(amx *a, LLVMValueRef group)
{
    const cg_amx *x = a->x;
    LLVMBuilderRef b = a->u->b;
    LLVMValueRef lanes[MOST];
    LLVMValueRef from = cg_gep(a->u, x->a, LLVMBuildNSWMul(b, group, cg_i64(a->u, 4), ""));
    for (int j = 0; j < a->across; j++)
        lanes[j] = load(a, SCHED_AMX, at(a, x->b, x->b_stride, group, j * BYTES), x->b_stride);
    for (int i = 0; i < a->down; i++) {
        int rows = rows_of(a, i);
        LLVMValueRef first = at(a, from, x->a_stride, cg_i64(a->u, (int64_t)i * SCHED_AMX), 0),
                     row = load(a, rows, first, x->a_stride);
        for (int j = 0; j < a->across; j++) {
            LLVMValueRef sum = LLVMBuildLoad2(b, a->vector, a->sum[i][j], "");
            LLVMValueRef args[] = {
                shape(a, rows), shape(a, BYTES), shape(a, BYTES), to_tile(a, sum), row, lanes[j]};
            sum = cg_intrinsic(a->u, x->product, NULL, 0, args, 6);
            LLVMBuildStore(b, to_vector(a, sum), a->sum[i][j]);
        }
    }
}

static void end(amx *a)
{
    for (int i = 0; i < a->down; i++)
        for (int j = 0; j < a->across; j++) {
            LLVMValueRef sum = LLVMBuildLoad2(a->u->b, a->vector, a->sum[i][j], ""),
                         args[] = {shape(a, rows_of(a, i)), shape(a, BYTES), place_of_sum(a, i, j),
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
             .down = (x->rows + SCHED_AMX - 1) / SCHED_AMX,
             .across = x->lanes / SCHED_AMX};
    cg_loop loop;
    begin(&a);
    cg_loop_begin(e, &loop, cg_i64(e->u, 0), cg_i64(e->u, x->groups), SCHED_AMX, true);
    multiply(&a, loop.i);
    cg_loop_end(e, &loop);
    end(&a);
}
