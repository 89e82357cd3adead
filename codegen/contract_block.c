/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contractions in blocks, for many rows and many products. A task is a group of rows times the
 * lanes of a few registers. It goes through the contracted axes a block at a time, so that what the
 * block reads of the vector operand, its panel, stays in the nearest cache while all rows of the
 * group pass by; mostly the panel is first copied ("packed") to where it lies without gaps, and a
 * vector operand that lies across the lanes is turned on the way. Sums wait in memory from block to
 * block; the order of additions is that of the contracted axes all the same. In the end a loop over
 * rows hands the sums to the roots' expressions.
 *
 * Rows of all axes are counted as one, and a tile is R rows from anywhere on; the last one is moved
 * back so that it is whole: some rows are then computed twice, which costs less than code of its
 * own. */
#include "codegen/contraction.h"
#include "ir/tuning.h"

#include <stdlib.h>

enum {
    STEPS = 256,  /* products of a sum in a block, at most */
    UNROLL = 4,
    /* Rows of a tile; those whose places are no multiples of one stride. */
    MOST_WIDE = 3,
    MOST_ROWS = 12,
    MOST_POINTERS = 8,
    PACK_ROWS = 32,
    FEW_TASKS = 16,
    SMALL = 1 << 21, /* tasks wanted for more multiplications than that */
};

typedef struct blocks {
    cg_contraction *c;
    cg_axis *lane;
    int scalar, vector;       /* numbers of the operands */
    int lanes, rows;          /* of a tile */
    int64_t all_rows, group, groups, tiles_most;
    bool packs, affine;       /* affine: row r of the scalar operand is r * row_stride away */
    int64_t row_stride;
    /* Contracted axes before this one are loops around the blocks, this one is cut … */
    int split;
    int64_t chunk;            /* … into pieces of so many */
    bool one;                 /* there is but one block */
    LLVMTypeRef type;         /* of a tile's row */
    /* On the stack: [steps][lanes], [slot][lanes], of each slot's row in the scalar operand. */
    LLVMValueRef panel, sums, places;
    LLVMValueRef base[2];     /* the operands at the task's first row and lane */
    cg_index first;           /* row of all */
    /* Rows of the group, its tiles, slots that the last tile's rows are moved on. */
    LLVMValueRef count, tiles, shift;
} blocks;

/* ---- Sizes ---- */

static int64_t product(const cg_contraction *c, bool contracted)
{
    int64_t n = 1;
    for (int i = 0; i < (contracted ? c->nk : c->nrows); i++)
        n *= contracted ? c->k[i].extent : c->axis[c->row[i]].extent;
    return n;
}

bool cg_contract_wants_blocks(const cg_contraction *c)
{
    return c->lane >= 0 && c->nk && c->axis[c->lane].move[!c->vector] == 0 &&
           ir_gemm_packs(&(ir_gemm){product(c, false), c->axis[c->lane].extent, product(c, true)});
}

/* Registers of a tile's row: as few lanes as can be stay empty, and rather two registers than one
 * or three. */
static int choose_wide(const cg_contraction *c)
{
    int64_t vectors = cg_ceil_div(c->axis[c->lane].extent, c->width), best = 0;
    int wide = 1;
    for (int w = 1; w <= MOST_WIDE; w++) {
        int64_t cost = cg_ceil_div(vectors, w) * w * (w == 1 ? 115 : w == 2 ? 100 : 101);
        if (w == 1 || cost < best) {
            best = cost;
            wide = w;
        }
    }
    return wide;
}

static void choose_rows(blocks *b, int wide)
{
    cg_contraction *c = b->c;
    b->affine = true;
    b->row_stride = c->axis[c->row[0]].move[b->scalar];
    for (int i = 1; i < c->nrows; i++) {
        const cg_axis *x = &c->axis[c->row[i]], *inner = &c->axis[c->row[i - 1]];
        b->affine &= x->move[b->scalar] == inner->move[b->scalar] * inner->extent;
    }
    int most = b->affine ? MOST_ROWS : MOST_POINTERS;
    b->rows = (c->e->u->target->registers - wide - 1) / wide;
    b->rows = b->rows > most ? most : b->rows;
}

/* Rows of a task: whole runs of the innermost row axis where it is short. */
static void choose_group(blocks *b)
{
    cg_contraction *c = b->c;
    int64_t inner = c->nrows > 1 ? c->axis[c->row[0]].extent : 1,
            tasks = cg_ceil_div(b->lane->extent, b->lanes), group = IR_TUNING_MC;
    for (int i = 0; i < c->n; i++)
        tasks *= i == c->lane || c->axis[i].move[b->vector] == 0 ? 1 : c->axis[i].extent;
    b->all_rows = product(c, false);
    double work = (double)b->all_rows * (double)product(c, true) * (double)(tasks * b->lanes);
    while (work > SMALL && group > 4 * b->rows &&
           tasks * cg_ceil_div(b->all_rows, group) < FEW_TASKS)
        group /= 2;
    group = cg_ceil_div(b->all_rows, cg_ceil_div(b->all_rows, group));
    int64_t unit = inner <= group ? inner : 1;
    unit = unit == 1 ? b->rows : unit;
    b->group = cg_ceil_div(group, unit) * unit;
    b->groups = cg_ceil_div(b->all_rows, b->group);
    b->tiles_most = cg_ceil_div(b->group, b->rows);
}

static int by_distance(const void *p, const void *q)
{
    const cg_axis *x = p, *y = q;
    return (llabs(x->c) < llabs(y->c)) - (llabs(x->c) > llabs(y->c));
}

/* Packed, only the scalar operand's strides matter: the nearest innermost. Axes that follow each
 * other in both operands are one. */
static void order_steps(blocks *b)
{
    cg_contraction *c = b->c;
    for (int i = 0; i < c->nk; i++)
        c->k[i].c = c->k[i].move[b->scalar];
    if (b->packs)
        qsort(c->k, (size_t)c->nk, sizeof *c->k, by_distance);
    int n = 0;
    for (int i = 1; i < c->nk; i++) {
        cg_axis *x = &c->k[n], *y = &c->k[i];
        if (x->move[0] == y->move[0] * y->extent && x->move[1] == y->move[1] * y->extent) {
            y->extent *= x->extent;
            *x = *y;
        } else {
            c->k[++n] = *y;
        }
    }
    c->nk = n + 1;
    int64_t steps = 1;
    b->split = c->nk - 1;
    while (b->split > 0 && steps * c->k[b->split].extent <= STEPS)
        steps *= c->k[b->split--].extent;
    int64_t extent = c->k[b->split].extent, pieces = cg_ceil_div(extent * steps, STEPS);
    pieces = pieces > extent ? extent : pieces;
    b->chunk = cg_ceil_div(extent, pieces);
    b->one = b->split == 0 && b->chunk == extent;
}

/* ---- Memory on the stack ---- */

static LLVMValueRef stack(blocks *b, LLVMTypeRef type, int64_t n)
{
    return cg_local(b->c->e, LLVMArrayType2(type, (uint64_t)n));
}

/* Element i of an array of rows of a tile, or of places. */
static LLVMValueRef slot(blocks *b, LLVMTypeRef type, LLVMValueRef array, LLVMValueRef i)
{
    return LLVMBuildInBoundsGEP2(b->c->e->u->b, type, array, &i, 1, "");
}

/* ---- Packing ---- */

typedef struct packing {
    blocks *b;
    const int64_t *extent; /* of the axes from split on */
    /* The axis along which the vector operand lies side by side, -1: the lanes do. */
    int across;
    int lanes;             /* that there are; the rest is zero */
    LLVMValueRef from;
} packing;

static int64_t steps_in(const blocks *b, const int64_t *extent, int axis)
{
    int64_t n = 1;
    for (int i = axis + 1; i < b->c->nk; i++)
        n *= extent[i - b->split];
    return n;
}

/* n vectors of n lanes: lane j of vector i becomes lane i of vector j. */
static void turn(cg_unit *u, LLVMValueRef *v, int n)
{
    LLVMValueRef next[64], order[2][64];
    /* Exchange the lanes whose number has bit s with those of the vectors that have it. */
    for (int s = n / 2; s; s /= 2) {
        for (int i = 0; i < n; i++)
            for (int half = 0; half < 2; half++) {
                int lane = i & s ? n + (i & ~s) + half * s : (i & ~s) + half * s;
                order[half][i] = LLVMConstInt(u->i32, (unsigned long long)lane, 0);
            }
        for (int i = 0; i < n; i++)
            if (!(i & s))
                for (int half = 0; half < 2; half++)
                    next[i + half * s] = LLVMBuildShuffleVector(
                        u->b, v[i], v[i + s], LLVMConstVector(order[half], (unsigned)n), "");
        for (int i = 0; i < n; i++)
            v[i] = next[i];
    }
}

static void put(packing *p, const cg_index *step, int lane, LLVMValueRef v)
{
    blocks *b = p->b;
    cg_unit *u = b->c->e->u;
    LLVMTypeRef element = cg_type(b->c->e, b->c->dtype, 1);
    cg_index at = cg_scaled(step, b->lanes);
    at.constant += lane;
    LLVMValueRef to = slot(b, element, b->panel, cg_scalar_part(b->c->e, &at)),
                 s = LLVMBuildStore(u->b, v, to);
    LLVMSetAlignment(
        s, (unsigned)(ir_dtypes[b->c->dtype].bytes < 4 ? 4 : ir_dtypes[b->c->dtype].bytes));
}

/* v with zeros behind, `n` lanes. */
static LLVMValueRef widened(cg_unit *u, LLVMValueRef v, int n)
{
    LLVMValueRef order[256];
    int have = cg_lanes_of(v);
    if (have == n)
        return v;
    if (have == 1)
        return LLVMBuildInsertElement(u->b,
                                      LLVMConstNull(LLVMVectorType(LLVMTypeOf(v), (unsigned)n)), v,
                                      LLVMConstInt(u->i32, 0, 0), "");
    for (int i = 0; i < n; i++)
        order[i] = LLVMConstInt(u->i32, (unsigned long long)(i < have ? i : have), 0);
    return LLVMBuildShuffleVector(u->b, v, LLVMConstNull(LLVMTypeOf(v)),
                                  LLVMConstVector(order, (unsigned)n), "");
}

/* One step of the panel, its lanes side by side or apart. */
static void pack_step(packing *p, LLVMValueRef from, const cg_index *step)
{
    blocks *b = p->b;
    cg_contraction *c = b->c;
    cg_unit *u = c->e->u;
    int64_t stride = b->lane->move[b->vector];
    LLVMValueRef v;
    if (stride == 1 || p->lanes == 1) {
        v = cg_operand_load(c, b->vector, from, 0, p->lanes);
    } else {
        v = LLVMGetPoison(cg_type(c->e, c->dtype, p->lanes));
        for (int i = 0; i < p->lanes; i++)
            v = LLVMBuildInsertElement(u->b, v, cg_operand_load(c, b->vector, from, i * stride, 1),
                                       LLVMConstInt(u->i32, (unsigned long long)i, 0), "");
    }
    put(p, step, 0, widened(u, v, b->lanes));
}

/* As many steps as a register has lanes, of an operand whose steps lie side by side. */
static void pack_turned(packing *p, LLVMValueRef from, const cg_index *step, int64_t apart)
{
    blocks *b = p->b;
    cg_contraction *c = b->c;
    int width = c->width;
    for (int lane = 0; lane < b->lanes; lane += width) {
        LLVMValueRef v[64];
        for (int i = 0; i < width; i++)
            v[i] = lane + i < p->lanes
                       ? cg_operand_load(c, b->vector, from, (lane + i) * b->lane->move[b->vector],
                                         width)
                       : LLVMConstNull(cg_type(c->e, c->dtype, width));
        turn(c->e->u, v, width);
        for (int i = 0; i < width; i++) {
            cg_index at = cg_plus(step, i * apart);
            put(p, &at, lane, v[i]);
        }
    }
}

static void pack_axis(packing *p, int axis, LLVMValueRef from, const cg_index *step);

/* The axis along which the operand lies side by side: whole registers, then what is left. */
static void pack_across(packing *p, LLVMValueRef from, const cg_index *step)
{
    blocks *b = p->b;
    cg_contraction *c = b->c;
    cg_unit *u = c->e->u;
    const cg_axis *k = &c->k[p->across];
    int64_t extent = p->extent[p->across - b->split], whole = extent / c->width * c->width,
            apart = steps_in(b, p->extent, p->across);
    cg_loop loop;
    if (whole) {
        cg_loop_begin(c->e, &loop, cg_i64(u, 0), cg_i64(u, whole), c->width, true);
        cg_index i = cg_of_var(cg_var_new(c->e, loop.i, extent - 1)),
                 at = cg_add(c->e, step, &i, apart);
        pack_turned(p, cg_operand_pointer(c, b->vector, from, cg_scalar_part(c->e, &i)), &at,
                    apart);
        cg_loop_end(c->e, &loop);
    }
    for (int64_t i = whole; i < extent; i++) {
        cg_index at = cg_plus(step, i * apart);
        pack_step(p, cg_operand_pointer(c, b->vector, from, cg_i64(u, i * k->move[b->vector])),
                  &at);
    }
}

/* Loops over the axes from `axis` on, that which lies side by side last. */
static void pack_axis(packing *p, int axis, LLVMValueRef from, const cg_index *step)
{
    blocks *b = p->b;
    cg_contraction *c = b->c;
    while (axis < c->nk && axis == p->across)
        axis++;
    if (axis == c->nk) {
        if (p->across >= 0)
            pack_across(p, from, step);
        else
            pack_step(p, from, step);
        return;
    }
    cg_loop loop;
    cg_index i = cg_loop_count(c->e, &loop, p->extent[axis - b->split]),
             moved = cg_scaled(&i, c->k[axis].move[b->vector]);
    cg_index at = cg_add(c->e, step, &i, steps_in(b, p->extent, axis));
    pack_axis(p, axis + 1, cg_operand_pointer(c, b->vector, from, cg_scalar_part(c->e, &moved)),
              &at);
    cg_loop_end(c->e, &loop);
}

static void pack(blocks *b, const int64_t *extent, LLVMValueRef from)
{
    cg_contraction *c = b->c;
    int rest = (int)(b->lane->extent % b->lanes);
    packing p = {.b = b, .extent = extent, .across = -1, .lanes = b->lanes, .from = from};
    for (int i = b->split; i < c->nk && b->lane->move[b->vector] != 1; i++)
        if (c->k[i].move[b->vector] == 1 && extent[i - b->split] >= c->width)
            p.across = i;
    const cg_index zero = cg_of(0);
    for (int last = 0; last < (rest ? 2 : 1); last++) { /* fewer lanes at the end */
        cg_branch branch;
        if ((last ? 1 : rest && b->lane->blocks == 1))
            p.lanes = rest;
        if (!last && rest && b->lane->blocks == 1)
            continue;
        if (rest && b->lane->blocks > 1)
            cg_if(c->e, &branch,
                  LLVMBuildICmp(c->e->u->b, last ? LLVMIntEQ : LLVMIntNE,
                                cg_scalar_part(c->e, &b->lane->block),
                                cg_i64(c->e->u, b->lane->blocks - 1), ""));
        pack_axis(&p, b->split, from, &zero);
        if (rest && b->lane->blocks > 1)
            cg_endif(c->e, &branch);
    }
}

/* ---- Tiles ---- */

typedef struct tile {
    blocks *b;
    const int64_t *extent;
    LLVMValueRef row[MOST_ROWS]; /* the scalar operand at each row, at the block's first step */
    LLVMValueRef acc[MOST_ROWS];
} tile;

static void multiply(tile *t, LLVMValueRef vector, LLVMValueRef moved, int64_t scalar_at,
                     int64_t vector_at)
{
    blocks *b = t->b;
    cg_contraction *c = b->c;
    cg_unit *u = c->e->u;
    LLVMValueRef v;
    if (b->packs) {
        v = LLVMBuildLoad2(u->b, b->type,
                           slot(b, cg_type(c->e, c->dtype, 1), vector, cg_i64(u, vector_at)), "");
        LLVMSetAlignment(v, (unsigned)(c->width * ir_dtypes[c->dtype].bytes < 4 * c->width
                                           ? 4 * c->width
                                           : c->width * ir_dtypes[c->dtype].bytes));
    } else {
        v = cg_operand_load(c, b->vector, vector, vector_at, b->lanes);
    }
    for (int r = 0; r < b->rows; r++) {
        LLVMValueRef x = cg_operand_load(
            c, b->scalar, cg_operand_pointer(c, b->scalar, t->row[r], moved), scalar_at, 1);
        LLVMBuildStore(
            u->b,
            cg_fma(c->e, cg_splat(u, x, b->lanes), v, LLVMBuildLoad2(u->b, b->type, t->acc[r], "")),
            t->acc[r]);
    }
}

/* Steps of the axes from `axis` on; moved: where they begin in the scalar operand, vector: in the
 * panel or the vector operand. */
static void steps(tile *t, int axis, LLVMValueRef vector, const cg_index *moved)
{
    blocks *b = t->b;
    cg_contraction *c = b->c;
    cg_unit *u = c->e->u;
    const cg_axis *k = &c->k[axis];
    int64_t extent = t->extent[axis - b->split],
            each = b->packs ? steps_in(b, t->extent, axis) * b->lanes : k->move[b->vector];
    LLVMTypeRef element = b->packs ? cg_type(c->e, c->dtype, 1) : cg_dtype(u, c->dtype);
    bool inner = axis == c->nk - 1;
    int64_t unroll = inner ? (extent < 2 * UNROLL ? extent : UNROLL) : 1,
            whole = extent / unroll * unroll;
    cg_loop loop;
    cg_loop_begin(c->e, &loop, cg_i64(u, 0), cg_i64(u, whole), unroll, true);
    cg_index i = cg_of_var(cg_var_new(c->e, loop.i, extent - 1)),
             here = cg_add(c->e, moved, &i, k->move[b->scalar]);
    LLVMValueRef at = slot(b, element, vector, LLVMBuildNSWMul(u->b, loop.i, cg_i64(u, each), ""));
    if (inner) {
        LLVMValueRef place = cg_scalar_part(c->e, &here);
        for (int64_t j = 0; j < unroll; j++)
            multiply(t, at, place, j * k->move[b->scalar], j * each);
    } else {
        steps(t, axis + 1, at, &here);
    }
    cg_loop_end(c->e, &loop);
    for (int64_t j = whole; j < extent; j++)
        multiply(t, vector, cg_scalar_part(c->e, moved), j * k->move[b->scalar], j * each);
}

/* All tiles of the group against one block. scalar, vector: the operands at the block's first
 * step. */
static void multiply_tiles(blocks *b, const int64_t *extent, LLVMValueRef scalar,
                           LLVMValueRef vector)
{
    cg_contraction *c = b->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    tile t = {.b = b, .extent = extent};
    LLVMTypeRef i64 = u->i64;
    cg_loop loop;
    cg_loop_begin(e, &loop, cg_i64(u, 0), b->tiles, 1, true);
    LLVMValueRef first_slot = LLVMBuildNSWMul(u->b, loop.i, cg_i64(u, b->rows), "");
    LLVMValueRef row = LLVMBuildNSWAdd(u->b, cg_scalar_part(e, &b->first), first_slot, "");
    row = cg_min(e, row, cg_i64(u, b->all_rows - b->rows));
    for (int r = 0; r < b->rows; r++) {
        LLVMValueRef here = LLVMBuildNSWAdd(u->b, first_slot, cg_i64(u, r), ""), place;
        if (b->affine)
            place = LLVMBuildNSWMul(u->b, LLVMBuildNSWAdd(u->b, row, cg_i64(u, r), ""),
                                    cg_i64(u, b->row_stride), "");
        else
            place = LLVMBuildLoad2(u->b, i64, slot(b, i64, b->places, here), "");
        t.row[r] = cg_operand_pointer(c, b->scalar, scalar, place);
        t.acc[r] = cg_local(e, b->type);
        LLVMValueRef before =
            b->one ? LLVMConstNull(b->type)
                   : LLVMBuildLoad2(u->b, b->type, slot(b, b->type, b->sums, here), "");
        LLVMBuildStore(u->b, before, t.acc[r]);
    }
    const cg_index zero = cg_of(0);
    steps(&t, b->split, vector, &zero);
    for (int r = 0; r < b->rows; r++) {
        LLVMValueRef here = LLVMBuildNSWAdd(u->b, first_slot, cg_i64(u, r), "");
        LLVMBuildStore(u->b, LLVMBuildLoad2(u->b, b->type, t.acc[r], ""),
                       slot(b, b->type, b->sums, here));
    }
    cg_loop_end(e, &loop);
}

static void emit_block(blocks *b, int64_t chunk, const cg_index *scalar_at,
                       const cg_index *vector_at)
{
    cg_contraction *c = b->c;
    int64_t extent[CG_AXES];
    for (int i = b->split; i < c->nk; i++)
        extent[i - b->split] = i == b->split ? chunk : c->k[i].extent;
    LLVMValueRef scalar =
        cg_operand_pointer(c, b->scalar, b->base[b->scalar], cg_scalar_part(c->e, scalar_at));
    LLVMValueRef vector =
        cg_operand_pointer(c, b->vector, b->base[b->vector], cg_scalar_part(c->e, vector_at));
    if (b->packs)
        pack(b, extent, vector);
    multiply_tiles(b, extent, scalar, b->packs ? b->panel : vector);
}

/* Loops over the contracted axes outside the blocks, then over pieces of the one that is cut. */
static void emit_blocks(blocks *b, int axis, const cg_index *scalar_at, const cg_index *vector_at)
{
    cg_contraction *c = b->c;
    const cg_axis *k = &c->k[axis];
    bool outside = axis < b->split;
    int64_t size = outside ? 1 : b->chunk, whole = k->extent / size;
    cg_loop loop;
    if (whole) {
        cg_index i = cg_loop_count(c->e, &loop, whole);
        cg_index scalar = cg_add(c->e, scalar_at, &i, size * k->move[b->scalar]),
                 vector = cg_add(c->e, vector_at, &i, size * k->move[b->vector]);
        if (outside)
            emit_blocks(b, axis + 1, &scalar, &vector);
        else
            emit_block(b, size, &scalar, &vector);
        cg_loop_end(c->e, &loop);
    }
    if (k->extent % size) {
        cg_index scalar = cg_plus(scalar_at, whole * size * k->move[b->scalar]),
                 vector = cg_plus(vector_at, whole * size * k->move[b->vector]);
        emit_block(b, k->extent % size, &scalar, &vector);
    }
}

/* ---- The end ---- */

/* One row of the group: `local`, its number in it, and `row` among all. */
static void finish_row(blocks *b, LLVMValueRef local, const cg_index *part, int lanes)
{
    cg_contraction *c = b->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    cg_index at[IR_MAX_RANK];
    LLVMValueRef last = LLVMBuildNSWMul(u->b, LLVMBuildNSWSub(u->b, b->tiles, cg_i64(u, 1), ""),
                                        cg_i64(u, b->rows), "");
    LLVMValueRef moved = LLVMBuildSelect(u->b, LLVMBuildICmp(u->b, LLVMIntSGE, local, last, ""),
                                         b->shift, cg_i64(u, 0), "");
    LLVMValueRef sum = LLVMBuildLoad2(
                     u->b, b->type,
                     slot(b, b->type, b->sums, LLVMBuildNSWAdd(u->b, local, moved, "")), ""),
                 order[256];
    for (int i = 0; i < lanes; i++)
        order[i] = LLVMConstInt(u->i32, (unsigned long long)i, 0);
    if (lanes == 1)
        sum = LLVMBuildExtractElement(u->b, sum, order[0], "");
    else if (lanes < b->lanes)
        sum = LLVMBuildShuffleVector(u->b, sum, LLVMGetPoison(b->type),
                                     LLVMConstVector(order, (unsigned)lanes), "");
    e->lanes = lanes;
    cg_var *v = cg_var_new(e, cg_i64(u, 0), lanes - 1);
    v->lane = lanes > 1;
    cg_index lane = cg_of_var(v);
    cg_root_index(c, part, &lane, at);
    cg_finish(c, at, sum);
    e->lanes = 1;
}

/* Rows of the group, in runs of the innermost row axis where groups are made of such. */
static void finish_rows(blocks *b, int lanes)
{
    cg_contraction *c = b->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    int64_t run = c->nrows > 1 ? c->axis[c->row[0]].extent : 1;
    if (b->group % run)
        run = 1;
    cg_loop outer, inner;
    cg_index part[CG_AXES] = {{0}};
    LLVMValueRef runs = LLVMBuildUDiv(u->b, b->count, cg_i64(u, run), "");
    cg_loop_begin(e, &outer, cg_i64(u, 0), runs, 1, true);
    cg_index q = cg_of_var(cg_var_new(e, outer.i, b->group / run - 1)), row = cg_scaled(&q, run);
    row = cg_add(e, &b->first, &row, 1);
    cg_divide(e, &row, run, &row, &part[c->row[0]]); /* no remainder: groups begin with a run */
    cg_row_parts(c, run > 1, row, part);
    LLVMValueRef local = LLVMBuildNSWMul(u->b, outer.i, cg_i64(u, run), "");
    if (run > 1) {
        part[c->row[0]] = cg_loop_count(e, &inner, run);
        local = LLVMBuildNSWAdd(u->b, local, inner.i, "");
    }
    finish_row(b, local, part, lanes);
    if (run > 1)
        cg_loop_end(e, &inner);
    cg_loop_end(e, &outer);
}

static void finish(blocks *b)
{
    cg_emitter *e = b->c->e;
    int rest = (int)(b->lane->extent % b->lanes);
    if (!rest || b->lane->blocks == 1) {
        finish_rows(b, rest ? rest : b->lanes);
        return;
    }
    for (int last = 0; last < 2; last++) {
        cg_branch branch;
        cg_if(e, &branch,
              LLVMBuildICmp(e->u->b, last ? LLVMIntEQ : LLVMIntNE,
                            cg_scalar_part(e, &b->lane->block), cg_i64(e->u, b->lane->blocks - 1),
                            ""));
        finish_rows(b, last ? rest : b->lanes);
        cg_endif(e, &branch);
    }
}

/* ---- Tasks ---- */

/* Where the rows of all slots lie in the scalar operand. */
static void find_places(blocks *b)
{
    cg_contraction *c = b->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    LLVMTypeRef i64 = u->i64;
    cg_loop tiles, rows;
    cg_loop_begin(e, &tiles, cg_i64(u, 0), b->tiles, 1, true);
    LLVMValueRef first_slot = LLVMBuildNSWMul(u->b, tiles.i, cg_i64(u, b->rows), "");
    LLVMValueRef start = LLVMBuildNSWAdd(u->b, cg_scalar_part(e, &b->first), first_slot, "");
    start = cg_min(e, start, cg_i64(u, b->all_rows - b->rows));
    cg_index r = cg_loop_count(e, &rows, b->rows), place = cg_of(0), part[CG_AXES];
    cg_index row =
        cg_opaque(e, LLVMBuildNSWAdd(u->b, start, cg_scalar_part(e, &r), ""), b->all_rows - 1);
    cg_row_parts(c, 0, row, part);
    for (int i = 0; i < c->nrows; i++)
        place = cg_add(e, &place, &part[c->row[i]], c->axis[c->row[i]].move[b->scalar]);
    LLVMBuildStore(u->b, cg_scalar_part(e, &place),
                   slot(b, i64, b->places, LLVMBuildNSWAdd(u->b, first_slot, rows.i, "")));
    cg_loop_end(e, &rows);
    cg_loop_end(e, &tiles);
}

static void clear_sums(blocks *b)
{
    cg_unit *u = b->c->e->u;
    cg_loop loop;
    cg_loop_begin(b->c->e, &loop, cg_i64(u, 0),
                  LLVMBuildNSWMul(u->b, b->tiles, cg_i64(u, b->rows), ""), 1, true);
    LLVMBuildStore(u->b, LLVMConstNull(b->type), slot(b, b->type, b->sums, loop.i));
    cg_loop_end(b->c->e, &loop);
}

/* The task's place, and everything about it that is the same for all blocks. */
static void open_task(blocks *b, cg_index task)
{
    cg_contraction *c = b->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    cg_index start[3], group;
    cg_divide(e, &task, b->lane->blocks, &task, &b->lane->block);
    cg_divide(e, &task, b->groups, &task, &group);
    b->lane->base = cg_scaled(&b->lane->block, b->lanes);
    cg_contract_start(c, task, start);
    for (int s = 0; s < 2; s++)
        b->base[s] =
            cg_operand_pointer(c, s, cg_storage(e, c->view[s].base), cg_scalar_part(e, &start[s]));
    b->first = cg_scaled(&group, b->group);
    LLVMValueRef first = cg_scalar_part(e, &b->first), rows = cg_i64(u, b->rows);
    b->count = LLVMBuildNSWSub(u->b, cg_i64(u, b->all_rows), first, "");
    b->count = cg_min(e, b->count, cg_i64(u, b->group));
    b->tiles =
        LLVMBuildUDiv(u->b, LLVMBuildNSWAdd(u->b, b->count, cg_i64(u, b->rows - 1), ""), rows, "");
    LLVMValueRef last = LLVMBuildNSWAdd(
        u->b, first,
        LLVMBuildNSWMul(u->b, LLVMBuildNSWSub(u->b, b->tiles, cg_i64(u, 1), ""), rows, ""), "");
    LLVMValueRef back = LLVMBuildNSWSub(u->b, last, cg_i64(u, b->all_rows - b->rows), "");
    b->shift = cg_max(e, back, cg_i64(u, 0));
}

static blocks plan(cg_contraction *c)
{
    cg_emitter *e = c->e;
    blocks b = {.c = c, .lane = &c->axis[c->lane], .vector = c->vector, .scalar = !c->vector};
    int wide = choose_wide(c);
    b.lanes = wide * c->width;
    choose_rows(&b, wide);
    choose_group(&b);
    b.lane->tile = b.lanes;
    b.lane->blocks = cg_ceil_div(b.lane->extent, b.lanes);
    b.packs = b.lane->move[b.vector] != 1 || b.lane->extent % b.lanes || b.group >= PACK_ROWS;
    order_steps(&b);
    b.type = cg_type(e, c->dtype, b.lanes);
    int64_t steps = b.chunk;
    for (int i = b.split + 1; i < c->nk; i++)
        steps *= c->k[i].extent;
    b.sums = stack(&b, b.type, b.tiles_most * b.rows);
    if (b.packs)
        b.panel = stack(&b, b.type, steps);
    if (!b.affine)
        b.places = stack(&b, e->u->i64, b.tiles_most * b.rows);
    return b;
}

int64_t cg_contract_blocks(cg_contraction *c)
{
    cg_emitter *e = c->e;
    blocks b = plan(c);
    int64_t tasks = b.lane->blocks * b.groups;
    for (int i = 0; i < c->n; i++)
        tasks *= &c->axis[i] == b.lane || !c->axis[i].move[b.vector] ? 1 : c->axis[i].extent;
    cg_loop loop;
    open_task(&b, cg_contract_task(c, &loop, tasks));
    if (!b.affine)
        find_places(&b);
    if (!b.one)
        clear_sums(&b);
    const cg_index zero = cg_of(0);
    emit_blocks(&b, 0, &zero, &zero);
    finish(&b);
    cg_loop_end(e, &loop);
    return tasks;
}
