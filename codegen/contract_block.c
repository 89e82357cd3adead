/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contractions in blocks, for many rows and many products. A task is a group of MC rows times the
 * lanes of a few registers. It loops over the summed axes in blocks of KC products, so that a
 * block's panel of the vector operand stays in the nearest cache while all rows of the group are
 * multiplied by it. Mostly the panel is packed first, that is copied to where it is contiguous; a
 * vector operand that is contiguous along K is transposed on the way. Between blocks the sums are
 * in memory; products are still added in the order of the summed axes. In the end a loop over rows
 * runs the epilogue.
 *
 * All row axes are collapsed into one, and a tile is MR rows from any row on. The last one is moved
 * back so that it is whole: some rows are then computed twice, which costs less than code for the
 * remainder. */
#include "codegen/contract_block.h"

typedef cg_blocks blocks;

/* ---- Stack memory ---- */

LLVMValueRef cg_block_stack(cg_blocks *b, LLVMTypeRef type, int64_t n)
{
    return cg_local(b->c->e, LLVMArrayType2(type, (uint64_t)n));
}

LLVMValueRef cg_block_slot(cg_blocks *b, LLVMTypeRef type, LLVMValueRef array, LLVMValueRef i)
{
    return LLVMBuildInBoundsGEP2(b->c->e->u->b, type, array, &i, 1, "");
}

void cg_each_width(cg_blocks *b, void (*emit)(cg_blocks *b, int lanes, void *user), void *user)
{
    cg_emitter *e = b->c->e;
    int rest = (int)(b->lane->extent % b->lanes);
    if (!rest || b->lane->tiles == 1) {
        emit(b, rest ? rest : b->lanes, user);
        return;
    }
    for (int last = 0; last < 2; last++) {
        cg_branch branch;
        cg_if(e, &branch,
              LLVMBuildICmp(e->u->b, last ? LLVMIntEQ : LLVMIntNE,
                            cg_scalar_part(e, &b->c->tile[b->s->lane]),
                            cg_i64(e->u, b->lane->tiles - 1), ""));
        emit(b, last ? rest : b->lanes, user);
        cg_endif(e, &branch);
    }
}

/* ---- Packing ---- */

/* Bytes of an element of the panel, in which f16 and bf16 are f32. */
static unsigned element_bytes(const blocks *b)
{
    unsigned bytes = (unsigned)ir_dtypes[b->s->dtype].bytes;
    return ir_is_float(b->s->dtype) && bytes < 4 ? 4 : bytes;
}

/* Alignment of a step's lanes in the panel: the largest power of two that divides the size of a
 * step, at most a register. */
static unsigned step_alignment(const blocks *b)
{
    unsigned step = (unsigned)b->lanes * element_bytes(b),
             most = (unsigned)b->s->width * element_bytes(b);
    step &= -step;
    return step < most ? step : most;
}

typedef struct packing {
    blocks *b;
    const int64_t *extent; /* of the axes from split on */
    /* The summed axis along which the vector operand is contiguous, to be transposed; -1: none. */
    int across;
    int lanes; /* valid lanes; the others are zero */
    LLVMValueRef from;
} packing;

int64_t cg_steps_in(const cg_blocks *b, const int64_t *extent, int axis)
{
    int64_t n = 1;
    for (int i = axis + 1; i < b->c->s->nk; i++)
        n *= extent[i - b->s->split];
    return n;
}

void cg_transpose_lanes(cg_unit *u, LLVMValueRef *v, int n)
{
    LLVMValueRef next[64], order[2][64];
    /* Each pass swaps bit s of the lane's number with that of the vector's. */
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
    LLVMTypeRef element = cg_type(b->c->e, b->c->s->dtype, 1);
    cg_index at = cg_scaled(step, b->lanes);
    at.constant += lane;
    LLVMValueRef to = cg_block_slot(b, element, b->panel, cg_scalar_part(b->c->e, &at)),
                 s = LLVMBuildStore(u->b, v, to);
    LLVMSetAlignment(s, element_bytes(b));
}

LLVMValueRef cg_zero_extend_lanes(cg_unit *u, LLVMValueRef v, int n)
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

/* Packs one step, whose lanes are contiguous or strided. */
static void pack_step(packing *p, LLVMValueRef from, const cg_index *step)
{
    blocks *b = p->b;
    cg_contraction *c = b->c;
    cg_unit *u = c->e->u;
    int64_t stride = b->lane->stride[b->vector];
    LLVMValueRef v;
    if (stride == 1 || p->lanes == 1) {
        v = cg_operand_load(c, b->vector, from, 0, p->lanes);
    } else {
        v = LLVMGetPoison(cg_type(c->e, c->s->dtype, p->lanes));
        for (int i = 0; i < p->lanes; i++)
            v = LLVMBuildInsertElement(u->b, v, cg_operand_load(c, b->vector, from, i * stride, 1),
                                       LLVMConstInt(u->i32, (unsigned long long)i, 0), "");
    }
    put(p, step, 0, cg_zero_extend_lanes(u, v, b->lanes));
}

/* Packs as many steps as a register has lanes, from an operand that is contiguous along them. */
static void pack_transposed(packing *p, LLVMValueRef from, const cg_index *step, int64_t apart)
{
    blocks *b = p->b;
    cg_contraction *c = b->c;
    int width = c->s->width;
    for (int lane = 0; lane < b->lanes; lane += width) {
        LLVMValueRef v[64];
        for (int i = 0; i < width; i++)
            v[i] = lane + i < p->lanes
                       ? cg_operand_load(c, b->vector, from,
                                         (lane + i) * b->lane->stride[b->vector], width)
                       : LLVMConstNull(cg_type(c->e, c->s->dtype, width));
        cg_transpose_lanes(c->e->u, v, width);
        for (int i = 0; i < width; i++) {
            cg_index at = cg_plus(step, i * apart);
            put(p, &at, lane, v[i]);
        }
    }
}

static void pack_axis(packing *p, int axis, LLVMValueRef from, const cg_index *step);

/* Packs the axis along which the operand is contiguous: whole registers, then the remainder. */
static void pack_across(packing *p, LLVMValueRef from, const cg_index *step)
{
    blocks *b = p->b;
    cg_contraction *c = b->c;
    cg_unit *u = c->e->u;
    const sched_axis *k = &c->s->k[p->across];
    int64_t extent = p->extent[p->across - b->s->split], whole = extent / c->s->width * c->s->width,
            apart = cg_steps_in(b, p->extent, p->across);
    cg_loop loop;
    if (whole) {
        cg_loop_begin(c->e, &loop, cg_i64(u, 0), cg_i64(u, whole), c->s->width, true);
        cg_index i = cg_of_var(cg_var_new(c->e, loop.i, extent - 1)),
                 at = cg_add(c->e, step, &i, apart);
        pack_transposed(p, cg_operand_pointer(c, b->vector, from, cg_scalar_part(c->e, &i)), &at,
                        apart);
        cg_loop_end(c->e, &loop);
    }
    for (int64_t i = whole; i < extent; i++) {
        cg_index at = cg_plus(step, i * apart);
        pack_step(p, cg_operand_pointer(c, b->vector, from, cg_i64(u, i * k->stride[b->vector])),
                  &at);
    }
}

/* Loops over the axes from `axis` on, p->across innermost. */
static void pack_axis(packing *p, int axis, LLVMValueRef from, const cg_index *step)
{
    blocks *b = p->b;
    cg_contraction *c = b->c;
    while (axis < c->s->nk && axis == p->across)
        axis++;
    if (axis == c->s->nk) {
        if (p->across >= 0)
            pack_across(p, from, step);
        else
            pack_step(p, from, step);
        return;
    }
    cg_loop loop;
    cg_index i = cg_loop_count(c->e, &loop, p->extent[axis - b->s->split]),
             moved = cg_scaled(&i, c->s->k[axis].stride[b->vector]);
    cg_index at = cg_add(c->e, step, &i, cg_steps_in(b, p->extent, axis));
    pack_axis(p, axis + 1, cg_operand_pointer(c, b->vector, from, cg_scalar_part(c->e, &moved)),
              &at);
    cg_loop_end(c->e, &loop);
}

static void pack_lanes(blocks *b, int lanes, void *user)
{
    packing *p = user;
    const cg_index zero = cg_of(0);
    p->lanes = lanes;
    pack_axis(p, b->s->split, p->from, &zero);
}

static void pack(blocks *b, const int64_t *extent, LLVMValueRef from)
{
    cg_contraction *c = b->c;
    packing p = {.b = b, .extent = extent, .across = -1, .from = from};
    for (int i = b->s->split; i < c->s->nk && b->lane->stride[b->vector] != 1; i++)
        if (c->s->k[i].stride[b->vector] == 1 && extent[i - b->s->split] >= c->s->width)
            p.across = i;
    cg_each_width(b, pack_lanes, &p);
}

/* ---- Tiles ---- */

typedef struct tile {
    blocks *b;
    const int64_t *extent;
    LLVMValueRef
        row[SCHED_MOST_ROWS]; /* the scalar operand at each row, at the block's first step */
    LLVMValueRef acc[SCHED_MOST_ROWS];
} tile;

static void multiply(tile *t, LLVMValueRef vector, LLVMValueRef moved, int64_t scalar_at,
                     int64_t vector_at)
{
    blocks *b = t->b;
    cg_contraction *c = b->c;
    cg_unit *u = c->e->u;
    LLVMValueRef v;
    if (b->s->packs) {
        v = LLVMBuildLoad2(
            u->b, b->type,
            cg_block_slot(b, cg_type(c->e, c->s->dtype, 1), vector, cg_i64(u, vector_at)), "");
        LLVMSetAlignment(v, step_alignment(b));
    } else {
        v = cg_operand_load(c, b->vector, vector, vector_at, b->lanes);
    }
    for (int r = 0; r < b->s->MR; r++) {
        LLVMValueRef x = cg_operand_load(
            c, b->scalar, cg_operand_pointer(c, b->scalar, t->row[r], moved), scalar_at, 1);
        LLVMBuildStore(u->b,
                       cg_multiply_add(c, cg_splat(u, x, b->lanes), v,
                                       LLVMBuildLoad2(u->b, b->type, t->acc[r], "")),
                       t->acc[r]);
    }
}

/* The steps of the axes from `axis` on. moved: their offset in the scalar operand; vector: their
 * address in the panel or the vector operand. */
static void steps(tile *t, int axis, LLVMValueRef vector, const cg_index *moved)
{
    blocks *b = t->b;
    cg_contraction *c = b->c;
    cg_unit *u = c->e->u;
    const sched_axis *k = &c->s->k[axis];
    int64_t extent = t->extent[axis - b->s->split],
            each = b->s->packs ? cg_steps_in(b, t->extent, axis) * b->lanes : k->stride[b->vector];
    LLVMTypeRef element =
        b->s->packs ? cg_type(c->e, c->s->dtype, 1) : cg_dtype(u, c->s->of[b->vector]);
    bool inner = axis == c->s->nk - 1;
    int64_t unroll = inner ? (extent < 2 * b->s->unroll ? extent : b->s->unroll) : 1,
            whole = extent / unroll * unroll;
    cg_loop loop;
    cg_loop_begin(c->e, &loop, cg_i64(u, 0), cg_i64(u, whole), unroll, true);
    cg_index i = cg_of_var(cg_var_new(c->e, loop.i, extent - 1)),
             here = cg_add(c->e, moved, &i, k->stride[b->scalar]);
    LLVMValueRef at =
        cg_block_slot(b, element, vector, LLVMBuildNSWMul(u->b, loop.i, cg_i64(u, each), ""));
    if (inner) {
        LLVMValueRef place = cg_scalar_part(c->e, &here);
        for (int64_t j = 0; j < unroll; j++)
            multiply(t, at, place, j * k->stride[b->scalar], j * each);
    } else {
        steps(t, axis + 1, at, &here);
    }
    cg_loop_end(c->e, &loop);
    for (int64_t j = whole; j < extent; j++)
        multiply(t, vector, cg_scalar_part(c->e, moved), j * k->stride[b->scalar], j * each);
}

LLVMValueRef cg_first_slot(cg_blocks *b, cg_loop *loop)
{
    cg_unit *u = b->c->e->u;
    cg_loop_begin(b->c->e, loop, cg_i64(u, 0), b->tiles, 1, true);
    return LLVMBuildNSWMul(u->b, loop->i, cg_i64(u, b->s->MR), "");
}

LLVMValueRef cg_tile_row(cg_blocks *b, LLVMValueRef scalar, LLVMValueRef first_slot, LLVMValueRef r)
{
    cg_emitter *e = b->c->e;
    cg_unit *u = e->u;
    LLVMValueRef place;
    if (b->s->affine) {
        LLVMValueRef row = LLVMBuildNSWAdd(u->b, cg_scalar_part(e, &b->first), first_slot, "");
        row = cg_min(e, row, cg_i64(u, b->s->rows - b->s->MR));
        place = LLVMBuildNSWMul(u->b, LLVMBuildNSWAdd(u->b, row, r, ""),
                                cg_i64(u, b->s->row_stride), "");
    } else {
        place = LLVMBuildLoad2(
            u->b, u->i64,
            cg_block_slot(b, u->i64, b->places, LLVMBuildNSWAdd(u->b, first_slot, r, "")), "");
    }
    return cg_operand_pointer(b->c, b->scalar, scalar, place);
}

/* Multiplies all tiles of the group by one block. scalar, vector: the operands at the block's first
 * step. */
static void multiply_tiles(blocks *b, const int64_t *extent, LLVMValueRef scalar,
                           LLVMValueRef vector)
{
    cg_contraction *c = b->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    tile t = {.b = b, .extent = extent};
    cg_loop loop;
    LLVMValueRef first_slot = cg_first_slot(b, &loop);
    for (int r = 0; r < b->s->MR; r++) {
        LLVMValueRef here = LLVMBuildNSWAdd(u->b, first_slot, cg_i64(u, r), "");
        t.row[r] = cg_tile_row(b, scalar, first_slot, cg_i64(u, r));
        t.acc[r] = cg_local(e, b->type);
        LLVMValueRef before =
            b->s->one_block
                ? LLVMConstNull(b->type)
                : LLVMBuildLoad2(u->b, b->type, cg_block_slot(b, b->type, b->sums, here), "");
        LLVMBuildStore(u->b, before, t.acc[r]);
    }
    const cg_index zero = cg_of(0);
    steps(&t, b->s->split, vector, &zero);
    for (int r = 0; r < b->s->MR; r++) {
        LLVMValueRef here = LLVMBuildNSWAdd(u->b, first_slot, cg_i64(u, r), "");
        LLVMBuildStore(u->b, LLVMBuildLoad2(u->b, b->type, t.acc[r], ""),
                       cg_block_slot(b, b->type, b->sums, here));
    }
    cg_loop_end(e, &loop);
}

static void packed_block(cg_blocks *b, const int64_t *extent, LLVMValueRef scalar,
                         LLVMValueRef vector)
{
    if (b->s->packs && !b->panel)
        b->panel = cg_block_stack(b, b->type, cg_steps_in(b, extent, b->s->split - 1));
    if (b->s->packs)
        pack(b, extent, vector);
    multiply_tiles(b, extent, scalar, b->s->packs ? b->panel : vector);
}

/* ---- Blocks ---- */

static void emit_block(blocks *b, int64_t chunk, const cg_index *scalar_at,
                       const cg_index *vector_at)
{
    cg_contraction *c = b->c;
    int64_t extent[SCHED_AXES];
    for (int i = b->s->split; i < c->s->nk; i++)
        extent[i - b->s->split] = i == b->s->split ? chunk : c->s->k[i].extent;
    b->block(b, extent,
             cg_operand_pointer(c, b->scalar, b->base[b->scalar], cg_scalar_part(c->e, scalar_at)),
             cg_operand_pointer(c, b->vector, b->base[b->vector], cg_scalar_part(c->e, vector_at)));
}

/* Loops over the summed axes outside the blocks, then over chunks of the one that KC cuts. */
static void emit_blocks(blocks *b, int axis, const cg_index *scalar_at, const cg_index *vector_at)
{
    cg_contraction *c = b->c;
    const sched_axis *k = &c->s->k[axis];
    bool outside = axis < b->s->split;
    int64_t size = outside ? 1 : b->s->chunk, whole = k->extent / size;
    cg_loop loop;
    if (whole) {
        cg_index i = cg_loop_count(c->e, &loop, whole);
        cg_index scalar = cg_add(c->e, scalar_at, &i, size * k->stride[b->scalar]),
                 vector = cg_add(c->e, vector_at, &i, size * k->stride[b->vector]);
        if (outside)
            emit_blocks(b, axis + 1, &scalar, &vector);
        else
            emit_block(b, size, &scalar, &vector);
        cg_loop_end(c->e, &loop);
    }
    if (k->extent % size) {
        cg_index scalar = cg_plus(scalar_at, whole * size * k->stride[b->scalar]),
                 vector = cg_plus(vector_at, whole * size * k->stride[b->vector]);
        emit_block(b, k->extent % size, &scalar, &vector);
    }
}

/* ---- Epilogue ---- */

/* A row of the group: its sums, and its index in the axes that are not lanes. */
typedef struct finished {
    blocks *b;
    LLVMValueRef sum;
    const cg_index *part;
} finished;

static void finish_lanes(cg_emitter *e, void *user, const cg_index *lane)
{
    const finished *f = user;
    cg_unit *u = e->u;
    cg_index at[IR_MAX_RANK];
    LLVMValueRef sum = f->sum, order[256];
    for (int i = 0; i < e->lanes; i++)
        order[i] = LLVMConstInt(u->i32, (unsigned long long)(lane->constant + i), 0);
    if (e->lanes == 1 && f->b->lanes > 1)
        sum = LLVMBuildExtractElement(u->b, sum, order[0], "");
    else if (e->lanes < f->b->lanes)
        sum = LLVMBuildShuffleVector(u->b, sum, LLVMGetPoison(f->b->type),
                                     LLVMConstVector(order, (unsigned)e->lanes), "");
    cg_output_index(f->b->c, f->part, lane, at);
    cg_finish(f->b->c, at, sum);
}

/* The epilogue of row `local` of the group. lanes: the valid ones. */
static void finish_row(blocks *b, LLVMValueRef local, const cg_index *part, int lanes)
{
    cg_unit *u = b->c->e->u;
    LLVMValueRef last = LLVMBuildNSWMul(u->b, LLVMBuildNSWSub(u->b, b->tiles, cg_i64(u, 1), ""),
                                        cg_i64(u, b->s->MR), "");
    LLVMValueRef moved = LLVMBuildSelect(u->b, LLVMBuildICmp(u->b, LLVMIntSGE, local, last, ""),
                                         b->shift, cg_i64(u, 0), "");
    LLVMValueRef sum = LLVMBuildLoad2(
        u->b, b->type, cg_block_slot(b, b->type, b->sums, LLVMBuildNSWAdd(u->b, local, moved, "")),
        "");
    cg_each_piece(b->c->e, 0, lanes, b->s->width, finish_lanes, &(finished){b, sum, part});
}

/* The epilogue of all rows of the group, in whole runs of the innermost row axis if MC is a
 * multiple of its extent. */
static void finish_rows(blocks *b, int lanes, void *user)
{
    (void)user;
    cg_contraction *c = b->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    int64_t run = c->s->nrows > 1 ? c->s->axis[c->s->row[0]].extent : 1;
    if (b->s->MC % run)
        run = 1;
    cg_loop outer, inner;
    cg_index part[SCHED_AXES] = {{0}};
    LLVMValueRef runs = LLVMBuildUDiv(u->b, b->count, cg_i64(u, run), "");
    cg_loop_begin(e, &outer, cg_i64(u, 0), runs, 1, true);
    cg_index q = cg_of_var(cg_var_new(e, outer.i, b->s->MC / run - 1)), row = cg_scaled(&q, run);
    row = cg_add(e, &b->first, &row, 1);
    cg_divide(e, &row, run, &row, &part[c->s->row[0]]); /* no remainder: groups begin with a run */
    cg_row_parts(c, run > 1, row, part);
    LLVMValueRef local = LLVMBuildNSWMul(u->b, outer.i, cg_i64(u, run), "");
    if (run > 1) {
        part[c->s->row[0]] = cg_loop_count(e, &inner, run);
        local = LLVMBuildNSWAdd(u->b, local, inner.i, "");
    }
    finish_row(b, local, part, lanes);
    if (run > 1)
        cg_loop_end(e, &inner);
    cg_loop_end(e, &outer);
}

/* ---- Tasks ---- */

/* Computes the offset of each slot's row in the scalar operand. */
static void find_places(blocks *b)
{
    cg_contraction *c = b->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    LLVMTypeRef i64 = u->i64;
    cg_loop tiles, rows;
    cg_loop_begin(e, &tiles, cg_i64(u, 0), b->tiles, 1, true);
    LLVMValueRef first_slot = LLVMBuildNSWMul(u->b, tiles.i, cg_i64(u, b->s->MR), "");
    LLVMValueRef start = LLVMBuildNSWAdd(u->b, cg_scalar_part(e, &b->first), first_slot, "");
    start = cg_min(e, start, cg_i64(u, b->s->rows - b->s->MR));
    cg_index r = cg_loop_count(e, &rows, b->s->MR), place = cg_of(0), part[SCHED_AXES];
    cg_index row =
        cg_opaque(e, LLVMBuildNSWAdd(u->b, start, cg_scalar_part(e, &r), ""), b->s->rows - 1);
    cg_row_parts(c, 0, row, part);
    for (int i = 0; i < c->s->nrows; i++)
        place = cg_add(e, &place, &part[c->s->row[i]], c->s->axis[c->s->row[i]].stride[b->scalar]);
    LLVMBuildStore(u->b, cg_scalar_part(e, &place),
                   cg_block_slot(b, i64, b->places, LLVMBuildNSWAdd(u->b, first_slot, rows.i, "")));
    cg_loop_end(e, &rows);
    cg_loop_end(e, &tiles);
}

static void clear_sums(blocks *b)
{
    cg_unit *u = b->c->e->u;
    cg_loop loop;
    cg_loop_begin(b->c->e, &loop, cg_i64(u, 0),
                  LLVMBuildNSWMul(u->b, b->tiles, cg_i64(u, b->s->MR), ""), 1, true);
    LLVMBuildStore(u->b, LLVMConstNull(b->type), cg_block_slot(b, b->type, b->sums, loop.i));
    cg_loop_end(b->c->e, &loop);
}

/* Decodes the task, and computes what is the same for all its blocks. */
static void open_task(blocks *b, cg_index task)
{
    cg_contraction *c = b->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    cg_index start[3], group;
    cg_divide(e, &task, b->lane->tiles, &task, &b->c->tile[b->s->lane]);
    cg_divide(e, &task, b->groups, &task, &group);
    c->base[b->s->lane] = cg_scaled(&b->c->tile[b->s->lane], b->lanes);
    cg_contract_start(c, task, start);
    for (int s = 0; s < 2; s++)
        b->base[s] = cg_operand_pointer(c, s, cg_storage(e, c->s->operand[s].base),
                                        cg_scalar_part(e, &start[s]));
    b->first = cg_scaled(&group, b->s->MC);
    LLVMValueRef first = cg_scalar_part(e, &b->first), rows = cg_i64(u, b->s->MR);
    b->count = LLVMBuildNSWSub(u->b, cg_i64(u, b->s->rows), first, "");
    b->count = cg_min(e, b->count, cg_i64(u, b->s->MC));
    b->tiles =
        LLVMBuildUDiv(u->b, LLVMBuildNSWAdd(u->b, b->count, cg_i64(u, b->s->MR - 1), ""), rows, "");
    LLVMValueRef last = LLVMBuildNSWAdd(
        u->b, first,
        LLVMBuildNSWMul(u->b, LLVMBuildNSWSub(u->b, b->tiles, cg_i64(u, 1), ""), rows, ""), "");
    LLVMValueRef back = LLVMBuildNSWSub(u->b, last, cg_i64(u, b->s->rows - b->s->MR), "");
    b->shift = cg_max(e, back, cg_i64(u, 0));
}

void cg_emit_blocks(cg_blocks *b, cg_emitter *e)
{
    const sched_contraction *s = b->s;
    cg_contraction c = cg_contraction_of(e, s);
    b->c = &c;
    b->lane = &s->axis[s->lane];
    b->vector = s->vector;
    b->scalar = !s->vector;
    b->lanes = (int)s->NC;
    b->groups = sched_ceil_div(s->rows, s->MC);
    b->type = cg_type(e, s->dtype, b->lanes);
    int64_t slots = sched_ceil_div(s->MC, s->MR) * s->MR;
    b->sums = cg_block_stack(b, b->type, slots);
    if (!s->affine)
        b->places = cg_block_stack(b, e->u->i64, slots);
    cg_loop loop;
    open_task(b, cg_contract_task(&c, &loop));
    if (!s->affine)
        find_places(b);
    if (!s->one_block)
        clear_sums(b);
    const cg_index zero = cg_of(0);
    emit_blocks(b, 0, &zero, &zero);
    cg_each_width(b, finish_rows, NULL);
    cg_loop_end(e, &loop);
}

void cg_emit_block(cg_emitter *e, const sched_contraction *s)
{
    blocks b = {.s = s, .block = packed_block};
    cg_emit_blocks(&b, e);
}
