/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Large matrix products by OpenBLAS, where that was measured to be faster than blocks
 * (docs/kernels.md has the figures). A task is one call for a piece of the result, a few hundred
 * rows and columns whose sizes do not depend on the number of threads; the sums go straight into
 * the root's storage, and if there is an epilogue, a loop over the piece then reads them back.
 *
 * It must be OpenBLAS' serial build, for a processor that OpenBLAS knows: with another one, or
 * none, the code is as without it. */
#include "codegen/contraction.h"

#include <dlfcn.h>
#include <string.h>

enum {
    /* What is smaller is as fast in blocks. */
    LEAST_ROWS = 128, LEAST_STEPS = 768, LEAST_LANES = 512, LEAST_RESULTS = 1 << 19,
    /* Of a task, about; less lanes where there are few tasks. */
    PIECE_ROWS = 256, PIECE_LANES = 1024,
    LEAST_PIECE = 128, FEW_TASKS = 8,
    ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112, /* cblas.h */
};

/* A matrix product: the row axes, the lanes' axis and the contracted ones as one dimension each. */
typedef struct product {
    cg_contraction *c;
    int scalar, vector;                /* numbers of the operands */
    int64_t rows, lanes, steps;
    int64_t row_out;                   /* stride of rows in the result, … */
    int64_t row, step[2], lane;        /* … and of all in the operands */
    int64_t piece_rows, piece_lanes;
} product;

/* The axes, innermost first, lie as one: then its extent and strides. */
static bool as_one(const cg_axis *const *axis, int n, int64_t *extent, int64_t stride[3])
{
    *extent = 1;
    for (int i = 0; i < n; i++) {
        const int64_t here[3] = {axis[i]->move[0], axis[i]->move[1], axis[i]->c};
        for (int s = 0; s < 3; s++) {
            if (i == 0)
                stride[s] = here[s];
            else if (here[s] != stride[s] * *extent)
                return false;
        }
        *extent *= axis[i]->extent;
    }
    return n > 0;
}

static bool find_product(cg_contraction *c, product *p)
{
    const cg_axis *row[CG_AXES], *k[CG_AXES];
    int64_t stride[3];
    *p = (product){.c = c, .scalar = !c->vector, .vector = c->vector};
    if (c->lane < 0 || c->axis[c->lane].move[p->scalar])
        return false;
    for (int i = 0; i < c->nrows; i++)
        row[i] = &c->axis[c->row[i]];
    for (int i = 0; i < c->nk; i++)
        k[i] = &c->k[c->nk - 1 - i];
    if (!as_one(row, c->nrows, &p->rows, stride))
        return false;
    p->row = stride[p->scalar];
    p->row_out = stride[2];
    if (!as_one(k, c->nk, &p->steps, stride))
        return false;
    memcpy(p->step, stride, sizeof p->step);
    p->lanes = c->axis[c->lane].extent;
    p->lane = c->axis[c->lane].move[p->vector];
    return true;
}

/* One of a matrix' strides is 1, and the other leaves room for its rows. */
static bool is_matrix(int64_t x, int64_t y, int64_t nx, int64_t ny)
{
    return (y == 1 && x >= ny && x <= INT32_MAX) || (x == 1 && y >= nx && y <= INT32_MAX);
}

/* The first root's storage can hold the sums: nothing that the kernel reads lies there. */
static bool is_free(const cg_emitter *e, const ir_value *root)
{
    int argument = 0, users = 0;
    for (int i = 0; i < e->leaf.count; i++)
        argument = e->leaf.items[i] == root ? e->argument.items[i] : argument;
    for (int i = 0; i < e->leaf.count; i++)
        users += e->argument.items[i] == argument;
    return users == 1;
}

/* The serial OpenBLAS of this machine, with kernels of the level that was measured, or a better
 * one. */
static bool is_installed(void)
{
    void *library = dlopen(CG_BLAS_LIBRARY, RTLD_LAZY | RTLD_LOCAL);
    if (!library)
        return false;
    int (*parallel)(void);
    const char *(*core)(void);
    *(void **)&parallel = dlsym(library, "openblas_get_parallel");
    *(void **)&core = dlsym(library, "openblas_get_corename");
    const char *name = core ? core() : "";
    static const char *const good[] = {"Haswell", "Zen", "SkylakeX", "Cooperlake",
                                       "SapphireRapids"};
    bool found = false;
    for (size_t i = 0; parallel && !parallel() && i < sizeof good / sizeof *good; i++)
        found |= !strcmp(name, good[i]);
    dlclose(library);
    return found;
}

bool cg_contract_wants_blas(cg_contraction *c)
{
    cg_unit *u = c->e->u;
    product p;
    if (!u->blas || c->parts || u->target->vector_bytes != 32 ||
        (c->dtype != IR_F32 && c->dtype != IR_F64) || c->root->type.dtype != c->dtype)
        return false;
    if (!find_product(c, &p) || p.rows < LEAST_ROWS || p.steps < LEAST_STEPS ||
        p.lanes < LEAST_LANES || p.rows * p.lanes < LEAST_RESULTS)
        return false;
    if (p.lanes > INT32_MAX || p.steps > INT32_MAX || p.row_out < p.lanes ||
        p.row_out > INT32_MAX || !is_free(c->e, c->root) ||
        !is_matrix(p.row, p.step[p.scalar], p.rows, p.steps) ||
        !is_matrix(p.step[p.vector], p.lane, p.steps, p.lanes))
        return false;
    if (!u->blas_found)
        u->blas_found = is_installed() ? 1 : -1;
    return u->blas_found > 0;
}

/* ---- A task ---- */

static LLVMValueRef number(cg_unit *u, int64_t v)
{
    return LLVMConstInt(u->i32, (unsigned long long)v, 0);
}

/* C = A B for the piece, of so many rows and lanes (i64). */
static void multiply(product *p, const LLVMValueRef operand[2], LLVMValueRef result,
                     LLVMValueRef rows, LLVMValueRef lanes)
{
    cg_contraction *c = p->c;
    cg_unit *u = c->e->u;
    /* The scalar operand's steps, the vector operand's lanes lie apart. */
    bool turned[2] = {p->step[p->scalar] != 1, p->lane != 1};
    int64_t apart[2] = {turned[0] ? p->step[p->scalar] : p->row,
                        turned[1] ? p->lane : p->step[p->vector]};
    LLVMTypeRef real = cg_dtype(u, c->dtype);
    LLVMTypeRef param[] = {u->i32, u->i32, u->i32, u->i32, u->i32, u->i32, real,
                           u->ptr, u->i32, u->ptr, u->i32, real,   u->ptr, u->i32};
    LLVMTypeRef type = LLVMFunctionType(u->nothing, param, sizeof param / sizeof *param, 0);
    const char *name = c->dtype == IR_F32 ? "cblas_sgemm" : "cblas_dgemm";
    LLVMValueRef f = LLVMGetNamedFunction(u->module, name);
    f = f ? f : LLVMAddFunction(u->module, name, type);
    LLVMValueRef m = LLVMBuildTrunc(u->b, rows, u->i32, ""),
                 n = LLVMBuildTrunc(u->b, lanes, u->i32, "");
    LLVMValueRef args[] = {number(u, ROW_MAJOR),
                           number(u, turned[0] ? TRANSPOSED : PLAIN),
                           number(u, turned[1] ? TRANSPOSED : PLAIN),
                           m,
                           n,
                           number(u, p->steps),
                           LLVMConstReal(real, 1),
                           operand[p->scalar],
                           number(u, apart[0]),
                           operand[p->vector],
                           number(u, apart[1]),
                           LLVMConstReal(real, 0),
                           result,
                           number(u, p->row_out)};
    LLVMBuildCall2(u->b, type, f, args, sizeof args / sizeof *args, "");
    u->uses_blas = true;
}

/* `lanes` neighbouring sums of a row to the roots. */
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
    cg_root_index(c, part, &lane, at);
    cg_index where = cg_element(e, c->root, at);
    cg_finish(c, at, cg_load_element(e, c->root, &where));
    e->lanes = 1;
}

/* The roots' expressions over the piece whose sums are in the first root's storage. */
static void finish(product *p, const cg_index *first, LLVMValueRef rows, LLVMValueRef lanes)
{
    cg_contraction *c = p->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    int wide = 2 * c->width;
    cg_loop outer, inner, rest;
    cg_index part[CG_AXES] = {{0}};
    cg_loop_begin(e, &outer, cg_i64(u, 0), rows, 1, true);
    cg_index r = cg_of_var(cg_var_new(e, outer.i, p->piece_rows - 1)),
             row = cg_add(e, first, &r, 1);
    cg_row_parts(c, 0, row, part);
    LLVMValueRef whole = LLVMBuildAnd(u->b, lanes, cg_i64(u, -(int64_t)wide), "");
    cg_loop_begin(e, &inner, cg_i64(u, 0), whole, wide, false);
    finish_lanes(p, part, inner.i, p->piece_lanes - 1, wide);
    cg_loop_end(e, &inner);
    cg_loop_begin(e, &rest, whole, lanes, 1, false);
    finish_lanes(p, part, rest.i, p->piece_lanes - 1, 1);
    cg_loop_end(e, &rest);
    cg_loop_end(e, &outer);
}

static int64_t piece(int64_t extent, int64_t about, int64_t unit)
{
    int64_t each = cg_ceil_div(extent, cg_ceil_div(extent, about));
    return cg_ceil_div(each, unit) * unit;
}

int64_t cg_contract_blas(cg_contraction *c)
{
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    product p;
    BUG_UNLESS(find_product(c, &p));
    int64_t about = PIECE_LANES;
    while (about > LEAST_PIECE &&
           cg_ceil_div(p.rows, PIECE_ROWS) * cg_ceil_div(p.lanes, about) < FEW_TASKS)
        about /= 2;
    p.piece_rows = piece(p.rows, PIECE_ROWS, 1);
    p.piece_lanes = piece(p.lanes, about, 2 * c->width);
    cg_axis *lane = &c->axis[c->lane];
    lane->blocks = cg_ceil_div(p.lanes, p.piece_lanes);
    int64_t tasks = lane->blocks * cg_ceil_div(p.rows, p.piece_rows);
    for (int i = 0; i < c->n; i++)
        tasks *= i == c->lane || !c->axis[i].move[p.vector] ? 1 : c->axis[i].extent;
    cg_loop loop;
    cg_index task = cg_contract_task(c, &loop, tasks), group, start[3];
    cg_divide(e, &task, lane->blocks, &task, &lane->block);
    cg_divide(e, &task, cg_ceil_div(p.rows, p.piece_rows), &task, &group);
    cg_index first = cg_scaled(&group, p.piece_rows);
    lane->base = cg_scaled(&lane->block, p.piece_lanes);
    cg_contract_start(c, task, start);
    start[p.scalar] = cg_add(e, &start[p.scalar], &first, p.row);
    start[2] = cg_add(e, &start[2], &first, p.row_out);
    LLVMValueRef operand[2];
    for (int s = 0; s < 2; s++)
        operand[s] =
            cg_operand_pointer(c, s, cg_storage(e, c->view[s].base), cg_scalar_part(e, &start[s]));
    LLVMValueRef rows =
        cg_min(e, LLVMBuildNSWSub(u->b, cg_i64(u, p.rows), cg_scalar_part(e, &first), ""),
               cg_i64(u, p.piece_rows));
    LLVMValueRef lanes =
        cg_min(e, LLVMBuildNSWSub(u->b, cg_i64(u, p.lanes), cg_scalar_part(e, &lane->base), ""),
               cg_i64(u, p.piece_lanes));
    multiply(&p, operand,
             cg_operand_pointer(c, p.vector, cg_storage(e, c->root), cg_scalar_part(e, &start[2])),
             rows, lanes);
    if (c->root != e->kernel->core->result[0] || e->kernel->roots.count > 1)
        finish(&p, &first, rows, lanes);
    cg_loop_end(e, &loop);
    return tasks;
}
