/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contractions a tile at a time. A tile is a few rows of a few registers each; its sums stay in
 * registers over all contracted axes. Then the roots' expressions take them, row by row, and are
 * stored. A task is one tile. */
#include "codegen/contraction.h"

enum { ROWS = 32, UNROLL = 4, STRAIGHT = 16 };

typedef struct tile {
    cg_contraction *c;
    int64_t size[CG_AXES]; /* by axis */
    int lanes, rows;
    int64_t row[2][ROWS]; /* offset of each row from the first, in elements of either operand */
    LLVMValueRef acc[ROWS];
    LLVMTypeRef type;
} tile;

static void cut(cg_axis *x, int64_t most)
{
    x->blocks = cg_ceil_div(x->extent, most);
    /* Of about the same size, rather than a small rest. */
    x->tile = cg_ceil_div(x->extent, x->blocks);
    x->blocks = cg_ceil_div(x->extent, x->tile);
}

/* The row axis whose last tile is smaller, -1: none. */
static int choose_tiles(cg_contraction *c)
{
    const cg_target *t = c->e->u->target;
    int ragged = -1;
    int64_t rows = 1;
    for (int i = 0; i < c->nrows; i++)
        rows *= c->axis[c->row[i]].extent;
    int64_t vectors = c->lane < 0 ? 1 : cg_ceil_div(c->axis[c->lane].extent, c->width);
    /* Vectors of a tile's row: with few rows more, to hide latency. */
    int64_t wide = rows < 6 ? (t->registers - 2) / (rows + 1) : 2;
    wide = wide > 8 ? 8 : wide > vectors ? vectors : wide;
    if (c->lane >= 0) {
        cg_axis *lane = &c->axis[c->lane];
        wide = cg_ceil_div(vectors, cg_ceil_div(vectors, wide));
        lane->tile = lane->extent < wide * c->width ? lane->extent : wide * c->width;
        lane->blocks = cg_ceil_div(lane->extent, lane->tile);
    }
    int64_t budget = (t->registers - wide - 2) / wide;
    budget = budget > ROWS ? ROWS : budget;
    for (int i = 0; i < c->nrows && budget > 1; i++) { /* innermost first */
        cg_axis *x = &c->axis[c->row[i]];
        cut(x, budget);
        if (x->extent % x->tile)
            ragged = c->row[i];
        budget = x->blocks == 1 ? budget / x->tile : 1;
    }
    return ragged;
}

/* Elements at pointer + offset: one for all lanes, neighbours, or `stride` apart. */
static LLVMValueRef load(tile *t, int side, LLVMValueRef pointer, int64_t offset)
{
    cg_contraction *c = t->c;
    cg_unit *u = c->e->u;
    int64_t stride = c->lane < 0 ? 0 : c->axis[c->lane].move[side];
    if (stride == 1)
        return cg_operand_load(c, side, pointer, offset, t->lanes);
    if (stride == 0)
        return cg_splat(u, cg_operand_load(c, side, pointer, offset, 1), t->lanes);
    LLVMValueRef all = LLVMGetPoison(t->type);
    if (t->lanes == 1)
        return cg_operand_load(c, side, pointer, offset, 1);
    for (int i = 0; i < t->lanes; i++)
        all = LLVMBuildInsertElement(u->b, all,
                                     cg_operand_load(c, side, pointer, offset + i * stride, 1),
                                     LLVMConstInt(u->i32, (unsigned long long)i, 0), "");
    return all;
}

/* One step of the innermost contracted loop. The operand that rows share is loaded once. */
static void step(tile *t, const LLVMValueRef pointer[2], const int64_t at[2])
{
    LLVMValueRef shared[2] = {NULL, NULL};
    LLVMBuilderRef builder = t->c->e->u->b;
    for (int s = 1; s >= 0; s--) {
        bool same = true;
        for (int r = 0; r < t->rows; r++)
            same &= t->row[s][r] == 0;
        if (same)
            shared[s] = load(t, s, pointer[s], at[s]);
    }
    for (int r = 0; r < t->rows; r++) {
        LLVMValueRef x[2];
        for (int s = 0; s < 2; s++)
            x[s] = shared[s] ? shared[s] : load(t, s, pointer[s], at[s] + t->row[s][r]);
        LLVMBuildStore(builder,
                       cg_fma(t->c->e, x[0], x[1], LLVMBuildLoad2(builder, t->type, t->acc[r], "")),
                       t->acc[r]);
    }
}

/* Contracted loops from number `from` on; the pointers are those of the loops outside. */
static void contract(tile *t, int from, const LLVMValueRef pointer[2])
{
    cg_contraction *c = t->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    LLVMValueRef inner[2];
    if (from == c->nk) {
        step(t, pointer, (int64_t[]){0, 0});
        return;
    }
    const cg_axis *k = &c->k[from];
    cg_loop loop;
    if (from < c->nk - 1) {
        cg_index i = cg_loop_count(e, &loop, k->extent);
        for (int s = 0; s < 2; s++) {
            cg_index moved = cg_scaled(&i, k->move[s]);
            inner[s] = cg_operand_pointer(c, s, pointer[s], cg_scalar_part(e, &moved));
        }
        contract(t, from + 1, inner);
        cg_loop_end(e, &loop);
        return;
    }
    int64_t unroll = k->extent <= STRAIGHT && k->extent * t->rows <= 128 ? k->extent : UNROLL,
            whole = k->extent / unroll * unroll;
    if (whole > unroll) {
        cg_loop_begin(e, &loop, cg_i64(u, 0), cg_i64(u, whole), unroll, true);
        for (int s = 0; s < 2; s++)
            inner[s] = cg_operand_pointer(c, s, pointer[s],
                                          LLVMBuildNSWMul(u->b, loop.i, cg_i64(u, k->move[s]), ""));
        for (int64_t i = 0; i < unroll; i++)
            step(t, inner, (int64_t[]){i * k->move[0], i * k->move[1]});
        cg_loop_end(e, &loop);
    } else {
        whole = 0;
    }
    for (int64_t i = whole; i < k->extent; i++)
        step(t, pointer, (int64_t[]){i * k->move[0], i * k->move[1]});
}

/* Which element of each row axis row r stands for. */
static void row_index(const tile *t, int r, int64_t *index)
{
    const cg_contraction *c = t->c;
    for (int i = 0; i < c->nrows; i++) {
        index[c->row[i]] = r % t->size[c->row[i]];
        r /= (int)t->size[c->row[i]];
    }
}

/* Long expressions are emitted once, in a loop over rows, whose sums go through memory. */
static void finish_in_loop(tile *t, const cg_index *lane)
{
    cg_contraction *c = t->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    LLVMTypeRef all = LLVMArrayType2(t->type, (uint64_t)t->rows);
    LLVMValueRef sums = cg_local(e, all), zero = cg_i64(u, 0);
    for (int r = 0; r < t->rows; r++)
        LLVMBuildStore(
            u->b, LLVMBuildLoad2(u->b, t->type, t->acc[r], ""),
            LLVMBuildInBoundsGEP2(u->b, all, sums, (LLVMValueRef[]){zero, cg_i64(u, r)}, 2, ""));
    cg_loop loop;
    cg_index part[CG_AXES] = {{0}}, at[IR_MAX_RANK], row = cg_loop_count(e, &loop, t->rows);
    for (int i = 0; i < c->nrows; i++)
        cg_divide(e, &row, t->size[c->row[i]], &row, &part[c->row[i]]);
    cg_root_index(c, part, lane, at);
    cg_finish(c, at,
              LLVMBuildLoad2(
                  u->b, t->type,
                  LLVMBuildInBoundsGEP2(u->b, all, sums, (LLVMValueRef[]){zero, loop.i}, 2, ""),
                  ""));
    cg_loop_end(e, &loop);
}

static void finish(tile *t)
{
    cg_contraction *c = t->c;
    cg_emitter *e = c->e;
    bool in_loop = t->rows > 1 && c->long_epilogue;
    cg_index lane = cg_of(0);
    e->lanes = t->lanes;
    if (c->lane >= 0) {
        cg_var *v = cg_var_new(e, cg_i64(e->u, 0), t->lanes - 1);
        v->lane = t->lanes > 1;
        lane = cg_of_var(v);
    }
    if (in_loop)
        finish_in_loop(t, &lane);
    for (int r = 0; r < t->rows && !in_loop; r++) {
        cg_index part[CG_AXES] = {{0}}, at[IR_MAX_RANK];
        int64_t index[CG_AXES];
        row_index(t, r, index);
        for (int i = 0; i < c->nrows; i++)
            part[c->row[i]] = cg_of(index[c->row[i]]);
        cg_root_index(c, part, &lane, at);
        cg_finish(c, at, LLVMBuildLoad2(e->u->b, t->type, t->acc[r], ""));
    }
    e->lanes = 1;
}

static void emit_tile(cg_contraction *c, int ragged, bool last_lanes, bool last_rows)
{
    cg_emitter *e = c->e;
    tile t = {.c = c, .lanes = 1, .rows = 1};
    cg_index start[2] = {cg_of(c->view[0].offset), cg_of(c->view[1].offset)};
    for (int i = 0; i < c->n; i++) {
        cg_axis *x = &c->axis[i];
        bool last = i == c->lane ? last_lanes : i == ragged && last_rows;
        t.size[i] = last ? x->extent - (x->blocks - 1) * x->tile : x->tile;
        x->base = last ? cg_of((x->blocks - 1) * x->tile) : cg_scaled(&x->block, x->tile);
        for (int s = 0; s < 2; s++)
            start[s] = cg_add(e, &start[s], &x->base, x->move[s]);
    }
    if (c->lane >= 0)
        t.lanes = (int)t.size[c->lane];
    for (int i = 0; i < c->nrows; i++)
        t.rows *= (int)t.size[c->row[i]];
    t.type = cg_type(e, c->dtype, t.lanes);
    for (int r = 0; r < t.rows; r++) {
        int64_t index[CG_AXES];
        row_index(&t, r, index);
        for (int i = 0; i < c->nrows; i++)
            for (int s = 0; s < 2; s++)
                t.row[s][r] += index[c->row[i]] * c->axis[c->row[i]].move[s];
        t.acc[r] = cg_local(e, t.type);
        LLVMBuildStore(e->u->b, LLVMConstNull(t.type), t.acc[r]);
    }
    LLVMValueRef base[2];
    for (int s = 0; s < 2; s++)
        base[s] =
            cg_operand_pointer(c, s, cg_storage(e, c->view[s].base), cg_scalar_part(e, &start[s]));
    bool empty = false;
    for (int i = 0; i < c->nk; i++)
        empty |= c->k[i].extent == 0;
    if (!empty)
        contract(&t, 0, base);
    finish(&t);
}

int64_t cg_contract_tiles(cg_contraction *c)
{
    cg_emitter *e = c->e;
    int ragged = choose_tiles(c);
    int64_t tasks = 1;
    for (int i = 0; i < c->n; i++)
        tasks *= c->axis[i].blocks;
    cg_loop loop;
    cg_index task = cg_contract_task(c, &loop, tasks);
    /* Rows fastest, so that a panel of the vector operand serves many tiles. */
    for (int i = 0; i < c->n; i++)
        if (i != c->lane)
            cg_divide(e, &task, c->axis[i].blocks, &task, &c->axis[i].block);
    if (c->lane >= 0)
        c->axis[c->lane].block = task;
    bool lanes_rest = c->lane >= 0 && c->axis[c->lane].extent % c->axis[c->lane].tile;
    for (int v = 0; v < 4; v++) { /* whole tiles, and those at the ends */
        const struct { bool due, last; const cg_axis *x;
        } part[2] = {{lanes_rest, v & 1, c->lane >= 0 ? &c->axis[c->lane] : NULL},
                     {ragged >= 0, v >> 1, ragged >= 0 ? &c->axis[ragged] : NULL}};
        cg_branch branch[2];
        bool skip = false;
        for (int i = 0; i < 2; i++)
            skip |= (part[i].last && !part[i].due) ||
                    (part[i].due && !part[i].last && part[i].x->blocks == 1);
        if (skip)
            continue;
        for (int i = 0; i < 2; i++)
            if (part[i].due)
                cg_if(e, &branch[i],
                      LLVMBuildICmp(e->u->b, part[i].last ? LLVMIntEQ : LLVMIntNE,
                                    cg_scalar_part(e, &part[i].x->block),
                                    cg_i64(e->u, part[i].x->blocks - 1), ""));
        emit_tile(c, ragged, part[0].last, part[1].last);
        for (int i = 1; i >= 0; i--)
            if (part[i].due)
                cg_endif(e, &branch[i]);
    }
    cg_loop_end(e, &loop);
    return tasks;
}
