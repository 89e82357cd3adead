/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contractions in register tiles. A task is one tile, a few rows of a few registers each: its sums
 * stay in registers over all summed axes, then the epilogue computes and stores the outputs row by
 * row. */
#include "codegen/contraction.h"

typedef struct tile {
    cg_contraction *c;
    int64_t size[SCHED_AXES]; /* by axis */
    int lanes, rows;
    /* Offset of each row from the first, in elements of either operand. */
    int64_t row[2][SCHED_MOST_TILE_ROWS];
    LLVMValueRef acc[SCHED_MOST_TILE_ROWS];
    LLVMTypeRef type;
} tile;

/* The lanes at pointer + offset: broadcast, contiguous or strided. */
static LLVMValueRef load(tile *t, int side, LLVMValueRef pointer, int64_t offset)
{
    cg_contraction *c = t->c;
    cg_unit *u = c->e->u;
    int64_t stride = c->s->lane < 0 ? 0 : c->s->axis[c->s->lane].stride[side];
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

/* One step of the innermost summed axis. The operand that rows share is loaded once. */
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
        LLVMBuildStore(
            builder,
            cg_multiply_add(t->c, x[0], x[1], LLVMBuildLoad2(builder, t->type, t->acc[r], "")),
            t->acc[r]);
    }
}

/* Loops over the summed axes from number `from` on; pointer: as the loops outside set them. */
static void contract(tile *t, int from, const LLVMValueRef pointer[2])
{
    cg_contraction *c = t->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    LLVMValueRef inner[2];
    if (from == c->s->nk) {
        step(t, pointer, (int64_t[]){0, 0});
        return;
    }
    const sched_axis *k = &c->s->k[from];
    cg_loop loop;
    if (from < c->s->nk - 1) {
        cg_index i = cg_loop_count(e, &loop, k->extent);
        for (int s = 0; s < 2; s++) {
            cg_index moved = cg_scaled(&i, k->stride[s]);
            inner[s] = cg_operand_pointer(c, s, pointer[s], cg_scalar_part(e, &moved));
        }
        contract(t, from + 1, inner);
        cg_loop_end(e, &loop);
        return;
    }
    int64_t unroll = c->s->unroll, whole = k->extent / unroll * unroll;
    if (whole > unroll) {
        cg_loop_begin(e, &loop, cg_i64(u, 0), cg_i64(u, whole), unroll, true);
        for (int s = 0; s < 2; s++)
            inner[s] = cg_operand_pointer(
                c, s, pointer[s], LLVMBuildNSWMul(u->b, loop.i, cg_i64(u, k->stride[s]), ""));
        for (int64_t i = 0; i < unroll; i++)
            step(t, inner, (int64_t[]){i * k->stride[0], i * k->stride[1]});
        cg_loop_end(e, &loop);
    } else {
        whole = 0;
    }
    for (int64_t i = whole; i < k->extent; i++)
        step(t, pointer, (int64_t[]){i * k->stride[0], i * k->stride[1]});
}

/* The index of row r along each row axis. */
static void row_index(const tile *t, int r, int64_t *index)
{
    const cg_contraction *c = t->c;
    for (int i = 0; i < c->s->nrows; i++) {
        index[c->s->row[i]] = r % t->size[c->s->row[i]];
        r /= (int)t->size[c->s->row[i]];
    }
}

/* The epilogue emitted once, in a loop over rows that reads the sums from memory: for long
 * expressions. */
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
    cg_index part[SCHED_AXES] = {{0}}, at[IR_MAX_RANK], row = cg_loop_count(e, &loop, t->rows);
    for (int i = 0; i < c->s->nrows; i++)
        cg_divide(e, &row, t->size[c->s->row[i]], &row, &part[c->s->row[i]]);
    cg_output_index(c, part, lane, at);
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
    bool in_loop = t->rows > 1 && c->s->epilogue_loop;
    cg_index lane = cg_of(0);
    e->lanes = t->lanes;
    if (c->s->lane >= 0) {
        cg_var *v = cg_var_new(e, cg_i64(e->u, 0), t->lanes - 1);
        v->lane = t->lanes > 1;
        lane = cg_of_var(v);
    }
    if (in_loop)
        finish_in_loop(t, &lane);
    for (int r = 0; r < t->rows && !in_loop; r++) {
        cg_index part[SCHED_AXES] = {{0}}, at[IR_MAX_RANK];
        int64_t index[SCHED_AXES];
        row_index(t, r, index);
        for (int i = 0; i < c->s->nrows; i++)
            part[c->s->row[i]] = cg_of(index[c->s->row[i]]);
        cg_output_index(c, part, &lane, at);
        cg_finish(c, at, LLVMBuildLoad2(e->u->b, t->type, t->acc[r], ""));
    }
    e->lanes = 1;
}

/* lanes: 0 for a whole tile along N, else that many from lane `from` of the last one. last_rows:
 * the smaller tile of the ragged row axis. */
static void emit_tile(cg_contraction *c, int64_t from, int lanes, bool last_rows)
{
    cg_emitter *e = c->e;
    tile t = {.c = c, .lanes = 1, .rows = 1};
    cg_index start[2] = {cg_of(c->s->operand[0].offset), cg_of(c->s->operand[1].offset)};
    for (int i = 0; i < c->s->naxes; i++) {
        const sched_axis *x = &c->s->axis[i];
        bool last = i == c->s->lane ? lanes > 0 : i == c->s->ragged && last_rows;
        int64_t begin = (x->tiles - 1) * x->tile, piece = i == c->s->lane ? from : 0;
        t.size[i] = !last ? x->tile : i == c->s->lane ? lanes : x->extent - begin;
        c->base[i] = last ? cg_of(begin + piece) : cg_scaled(&c->tile[i], x->tile);
        for (int s = 0; s < 2; s++)
            start[s] = cg_add(e, &start[s], &c->base[i], x->stride[s]);
    }
    if (c->s->lane >= 0)
        t.lanes = (int)t.size[c->s->lane];
    for (int i = 0; i < c->s->nrows; i++)
        t.rows *= (int)t.size[c->s->row[i]];
    t.type = cg_type(e, c->s->dtype, t.lanes);
    for (int r = 0; r < t.rows; r++) {
        int64_t index[SCHED_AXES];
        row_index(&t, r, index);
        for (int i = 0; i < c->s->nrows; i++)
            for (int s = 0; s < 2; s++)
                t.row[s][r] += index[c->s->row[i]] * c->s->axis[c->s->row[i]].stride[s];
        t.acc[r] = cg_local(e, t.type);
        LLVMBuildStore(e->u->b, LLVMConstNull(t.type), t.acc[r]);
    }
    LLVMValueRef base[2];
    for (int s = 0; s < 2; s++)
        base[s] = cg_operand_pointer(c, s, cg_storage(e, c->s->operand[s].base),
                                     cg_scalar_part(e, &start[s]));
    bool empty = false;
    for (int i = 0; i < c->s->nk; i++)
        empty |= c->s->k[i].extent == 0;
    if (!empty)
        contract(&t, 0, base);
    finish(&t);
}

/* An axis whose last tile is smaller; -1: there is none. */
typedef struct end {
    int axis;
    bool last; /* this is the code for it */
} end;

static LLVMValueRef is_end(cg_contraction *c, const end *x)
{
    return LLVMBuildICmp(c->e->u->b, x->last ? LLVMIntEQ : LLVMIntNE,
                         cg_scalar_part(c->e, &c->tile[x->axis]),
                         cg_i64(c->e->u, c->s->axis[x->axis].tiles - 1), "");
}

void cg_emit_tile(cg_emitter *e, const sched_contraction *s)
{
    cg_contraction contraction = cg_contraction_of(e, s), *c = &contraction;
    cg_loop loop;
    cg_index task = cg_contract_task(c, &loop);
    /* Rows fastest, so that a panel of the vector operand serves many tiles. */
    for (int i = 0; i < s->naxes; i++)
        if (i != s->lane)
            cg_divide(e, &task, s->axis[i].tiles, &task, &c->tile[i]);
    if (s->lane >= 0)
        c->tile[s->lane] = task;
    bool lanes_rest = s->lane >= 0 && s->axis[s->lane].extent % s->axis[s->lane].tile;
    for (int v = 0; v < 4; v++) { /* whole tiles, and the smaller ones at the ends */
        const end ends[2] = {{lanes_rest ? s->lane : -1, v & 1}, {s->ragged, v >> 1}};
        cg_branch branch[2];
        bool skip = false;
        for (int i = 0; i < 2; i++)
            skip |=
                ends[i].axis < 0 ? ends[i].last : !ends[i].last && s->axis[ends[i].axis].tiles == 1;
        if (skip)
            continue;
        for (int i = 0; i < 2; i++)
            if (ends[i].axis >= 0)
                cg_if(e, &branch[i], is_end(c, &ends[i]));
        int64_t rest = ends[0].last ? s->axis[s->lane].extent % s->axis[s->lane].tile : 0;
        if (!rest)
            emit_tile(c, 0, 0, ends[1].last);
        for (int64_t from = 0; from < rest; from += cg_piece(rest - from, s->width))
            emit_tile(c, from, cg_piece(rest - from, s->width), ends[1].last);
        for (int i = 1; i >= 0; i--)
            if (ends[i].axis >= 0)
                cg_endif(e, &branch[i]);
    }
    cg_loop_end(e, &loop);
}
