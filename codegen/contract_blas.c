/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Large matrix products by OpenBLAS, where that was measured to be faster than blocks
 * (docs/kernels.md has the figures). A task is one call for a block of the result, a few hundred
 * rows and columns; its size does not depend on the number of threads. The sums are written to the
 * output's storage; if there is an epilogue, it is a loop that reads them back.
 *
 * OpenBLAS must be the serial build and know the processor: with another one, or none, the code is
 * the same as with --blas=none. */
#include "codegen/contraction.h"

#include <dlfcn.h>
#include <string.h>

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 }; /* cblas.h */

/* Is there a serial OpenBLAS on this machine, with kernels for the level of the measurements or a
 * higher one? */
static bool is_installed(void)
{
    void *library = dlopen(CG_BLAS_LIBRARY, RTLD_LAZY | RTLD_LOCAL);
    if (!library)
        return false;
    int (*parallel)(void);
    const char *(*anchor)(void);
    *(void **)&parallel = dlsym(library, "openblas_get_parallel");
    *(void **)&anchor = dlsym(library, "openblas_get_corename");
    const char *name = anchor ? anchor() : "";
    static const char *const good[] = {"Haswell", "Zen", "SkylakeX", "Cooperlake",
                                       "SapphireRapids"};
    bool found = false;
    for (size_t i = 0; parallel && !parallel() && i < sizeof good / sizeof *good; i++)
        found |= !strcmp(name, good[i]);
    dlclose(library);
    return found;
}

static bool has_blas(void *unit)
{
    cg_unit *u = unit;
    if (!u->blas_found)
        u->blas_found = is_installed() ? 1 : -1;
    return u->blas_found > 0;
}

static LLVMValueRef number(cg_unit *u, int64_t v)
{
    return LLVMConstInt(u->i32, (unsigned long long)v, 0);
}

sched_level cg_schedule_level(cg_unit *u, const cg_target *level)
{
    return (sched_level){.name = level->name,
                         .vector_bytes = level->vector_bytes,
                         .registers = level->registers,
                         .features = level->schedules,
                         .has_blas = u->blas ? has_blas : NULL,
                         .user = u};
}

/* A part as a matrix product. */
typedef struct product {
    cg_contraction *c;
    sched_product p;
    int scalar, vector; /* numbers of the operands */
} product;

/* C = A B for a block of `rows` and `lanes` (i64). */
static void multiply(product *p, const LLVMValueRef operand[2], LLVMValueRef result,
                     LLVMValueRef rows, LLVMValueRef lanes)
{
    cg_contraction *c = p->c;
    cg_unit *u = c->e->u;
    /* An operand is transposed unless its rows are contiguous: A's along K, B's along N. */
    bool transposed[2] = {p->p.step[p->scalar] != 1, p->p.lane != 1};
    int64_t leading[2] = {transposed[0] ? p->p.step[p->scalar] : p->p.row,
                          transposed[1] ? p->p.lane : p->p.step[p->vector]};
    LLVMTypeRef real = cg_dtype(u, c->s->dtype);
    LLVMTypeRef param[] = {u->i32, u->i32, u->i32, u->i32, u->i32, u->i32, real,
                           u->ptr, u->i32, u->ptr, u->i32, real,   u->ptr, u->i32};
    LLVMTypeRef type = LLVMFunctionType(u->nothing, param, sizeof param / sizeof *param, 0);
    const char *name = c->s->dtype == IR_F32 ? "cblas_sgemm" : "cblas_dgemm";
    LLVMValueRef f = LLVMGetNamedFunction(u->module, name);
    f = f ? f : LLVMAddFunction(u->module, name, type);
    LLVMValueRef m = LLVMBuildTrunc(u->b, rows, u->i32, ""),
                 n = LLVMBuildTrunc(u->b, lanes, u->i32, "");
    LLVMValueRef args[] = {number(u, ROW_MAJOR),
                           number(u, transposed[0] ? TRANSPOSED : PLAIN),
                           number(u, transposed[1] ? TRANSPOSED : PLAIN),
                           m,
                           n,
                           number(u, p->p.products),
                           LLVMConstReal(real, 1),
                           operand[p->scalar],
                           number(u, leading[0]),
                           operand[p->vector],
                           number(u, leading[1]),
                           LLVMConstReal(real, 0),
                           result,
                           number(u, p->p.row_out)};
    LLVMBuildCall2(u->b, type, f, args, sizeof args / sizeof *args, "");
    u->uses_blas = true;
}

/* The epilogue of `lanes` adjacent sums of a row. */
static void finish_lanes(product *p, const cg_index *part, LLVMValueRef from, int64_t most,
                         int lanes)
{
    cg_contraction *c = p->c;
    cg_emitter *e = c->e;
    cg_index at[IR_MAX_RANK];
    e->lanes = lanes;
    cg_var *v = cg_var_new(e, from, most);
    v->lane = lanes > 1;
    cg_index lane = cg_of_var(v);
    cg_output_index(c, part, &lane, at);
    cg_index where = cg_element(e, c->output, at);
    cg_finish(c, at, cg_load_element(e, c->output, &where));
    e->lanes = 1;
}

/* The epilogue of a block, whose sums are in the first output's storage. */
static void finish(product *p, const cg_index *first, LLVMValueRef rows, LLVMValueRef lanes)
{
    cg_contraction *c = p->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    int wide = 2 * c->s->width;
    cg_loop outer, inner, rest;
    cg_index part[SCHED_AXES] = {{0}};
    cg_loop_begin(e, &outer, cg_i64(u, 0), rows, 1, true);
    cg_index r = cg_of_var(cg_var_new(e, outer.i, c->s->MC - 1)), row = cg_add(e, first, &r, 1);
    cg_row_parts(c, 0, row, part);
    LLVMValueRef whole = LLVMBuildAnd(u->b, lanes, cg_i64(u, -(int64_t)wide), "");
    cg_loop_begin(e, &inner, cg_i64(u, 0), whole, wide, false);
    finish_lanes(p, part, inner.i, c->s->NC - 1, wide);
    cg_loop_end(e, &inner);
    cg_loop_begin(e, &rest, whole, lanes, 1, false);
    finish_lanes(p, part, rest.i, c->s->NC - 1, 1);
    cg_loop_end(e, &rest);
    cg_loop_end(e, &outer);
}

void cg_emit_blas(cg_emitter *e, const sched_contraction *s)
{
    cg_unit *u = e->u;
    cg_contraction contraction = cg_contraction_of(e, s), *c = &contraction;
    product p = {.c = c, .scalar = !s->vector, .vector = s->vector};
    BUG_UNLESS(sched_product_of(s, NULL, &p.p));
    int64_t groups = sched_ceil_div(p.p.rows, s->MC);
    cg_loop loop;
    cg_index task = cg_contract_task(c, &loop), group, start[3];
    cg_divide(e, &task, s->axis[s->lane].tiles, &task, &c->tile[s->lane]);
    cg_divide(e, &task, groups, &task, &group);
    cg_index first = cg_scaled(&group, s->MC);
    c->base[s->lane] = cg_scaled(&c->tile[s->lane], s->NC);
    cg_contract_start(c, task, start);
    start[p.scalar] = cg_add(e, &start[p.scalar], &first, p.p.row);
    start[2] = cg_add(e, &start[2], &first, p.p.row_out);
    LLVMValueRef operand[2];
    for (int i = 0; i < 2; i++)
        operand[i] = cg_operand_pointer(c, i, cg_storage(e, s->operand[i].base),
                                        cg_scalar_part(e, &start[i]));
    LLVMValueRef left = LLVMBuildNSWSub(u->b, cg_i64(u, p.p.rows), cg_scalar_part(e, &first), "");
    LLVMValueRef rows = cg_min(e, left, cg_i64(u, s->MC));
    left = LLVMBuildNSWSub(u->b, cg_i64(u, p.p.lanes), cg_scalar_part(e, &c->base[s->lane]), "");
    LLVMValueRef lanes = cg_min(e, left, cg_i64(u, s->NC));
    multiply(
        &p, operand,
        cg_operand_pointer(c, p.vector, cg_storage(e, c->output), cg_scalar_part(e, &start[2])),
        rows, lanes);
    if (c->output != e->kernel->anchor->result[0] || e->kernel->outputs.count > 1)
        finish(&p, &first, rows, lanes);
    cg_loop_end(e, &loop);
}
