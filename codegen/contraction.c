/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Register-tiled contractions. A dot_general and a convolution without padding are the same thing here: loops ("axes"), each with
 * a stride in both operands and, unless it is contracted, a place in the result. One axis of the result, the one whose elements lie
 * side by side, is cut into lanes. Of the others those along which the vector operand does not move make the rows of a tile: one
 * vector load then serves all rows. A tile's sums stay in registers over all contracted axes; then the root's expression takes
 * them, row by row, and is stored. A task is one tile. */
#include "codegen/emit.h"

#include <stdlib.h>

enum { AXES = 2 * IR_MAX_RANK, ROWS = 32, UNROLL = 4, STRAIGHT = 16, MOST_ROOTS = 16, LONG = 12 };

typedef struct axis {
    int64_t extent, a, b; /* strides in elements */
    int out;              /* dimension of the result; -1: contracted */
    int64_t times, c;     /* the result's index is times * this axis' (features are groups * features a group); stride in storage */
    int64_t tile, blocks; /* of result axes: extent of a tile, and how many there are */
    cg_index base;        /* index at the tile's first element */
    cg_index block;
} axis;

typedef struct contraction {
    cg_emitter *e;
    const ir_value *root;
    ir_view view[2];
    ir_dtype dtype;
    int n, nk;
    axis axis[AXES], k[AXES];
    int lane;       /* which axis, -1: none */
    int ragged;     /* the row axis whose last tile is smaller, -1: none */
    int row[AXES], nrows;
    bool long_epilogue;
} contraction;

static void add(contraction *c, int64_t extent, int64_t a, int64_t b, int out, int64_t times)
{
    if (extent == 1)
        return;
    if (out < 0)
        c->k[c->nk++] = (axis){.extent = extent, .a = a, .b = b, .out = -1};
    else
        c->axis[c->n++] = (axis){.extent = extent, .a = a, .b = b, .out = out, .times = times, .tile = 1, .blocks = extent};
}

static void axes_of_dot(contraction *c, const ir_inst *dot)
{
    const struct ir_attrs_dot_general *at = IR_ATTR(dot, dot_general);
    const ir_ints batch[2] = {at->lhs_batch, at->rhs_batch}, contract[2] = {at->lhs_contract, at->rhs_contract};
    int out = 0;
    bool used[2][IR_MAX_RANK] = {{false}};
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < batch[s].n; i++)
            used[s][batch[s].v[i]] = true;
        for (int i = 0; i < contract[s].n; i++)
            used[s][contract[s].v[i]] = true;
    }
    for (int i = 0; i < batch[0].n; i++)
        add(c, dot->result[0]->type.dim[out], c->view[0].stride[batch[0].v[i]], c->view[1].stride[batch[1].v[i]], out, 1), out++;
    for (int s = 0; s < 2; s++)
        for (int d = 0; d < dot->operand[s]->type.rank; d++)
            if (!used[s][d]) {
                int64_t stride = c->view[s].stride[d];
                add(c, dot->result[0]->type.dim[out], s ? 0 : stride, s ? stride : 0, out, 1);
                out++;
            }
    for (int i = 0; i < contract[0].n; i++)
        add(c, dot->operand[0]->type.dim[contract[0].v[i]], c->view[0].stride[contract[0].v[i]], c->view[1].stride[contract[1].v[i]], -1, 0);
}

static void axes_of_convolution(contraction *c, const ir_inst *conv)
{
    const struct ir_attrs_convolution *at = IR_ATTR(conv, convolution);
    const ir_type *in = &conv->operand[0]->type, *w = &conv->operand[1]->type, *out = &conv->result[0]->type;
    const int64_t *x = c->view[0].stride, *y = c->view[1].stride;
    int64_t groups = at->feature_groups > 1 ? at->feature_groups : at->batch_groups, each = out->dim[at->out.v[1]] / groups;
    int64_t of_group = at->feature_groups > 1 ? w->dim[at->rhs.v[1]] * x[at->lhs.v[1]] : in->dim[at->lhs.v[0]] / groups * x[at->lhs.v[0]];
    add(c, out->dim[at->out.v[0]], x[at->lhs.v[0]], 0, (int)at->out.v[0], 1);
    add(c, groups, of_group, each * y[at->rhs.v[0]], (int)at->out.v[1], each);
    add(c, each, 0, y[at->rhs.v[0]], (int)at->out.v[1], 1);
    for (int i = 2; i < in->rank; i++) {
        add(c, out->dim[at->out.v[i]], x[at->lhs.v[i]] * at->stride.v[i - 2], 0, (int)at->out.v[i], 1);
        add(c, w->dim[at->rhs.v[i]], x[at->lhs.v[i]] * at->rhs_dilation.v[i - 2], y[at->rhs.v[i]], -1, 0);
        if (at->low.v[i - 2] || at->lhs_dilation.v[i - 2] != 1)
            BUG("a convolution reached its kernel with padding or dilation of its operand");
    }
    add(c, w->dim[at->rhs.v[1]], x[at->lhs.v[1]], y[at->rhs.v[1]], -1, 0);
}

/* ---- Tiles ---- */

static int64_t ceil_div(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

static void cut(axis *x, int64_t most)
{
    x->blocks = ceil_div(x->extent, most);
    x->tile = ceil_div(x->extent, x->blocks); /* of about the same size, rather than a small rest */
    x->blocks = ceil_div(x->extent, x->tile);
}

static int by_storage(const void *p, const void *q)
{
    const axis *x = p, *y = q;
    return (llabs(x->c) > llabs(y->c)) - (llabs(x->c) < llabs(y->c));
}

/* The axis cut into lanes: side by side in the result's storage. */
static int lane_axis(const contraction *c)
{
    for (int i = 0; i < c->n; i++)
        if (llabs(c->axis[i].c) == 1)
            return i;
    return -1;
}

static void choose_tiles(contraction *c)
{
    const cg_target *t = c->e->u->target;
    int64_t stride[IR_MAX_RANK], rows = 1;
    ir_storage_strides(c->root, stride);
    for (int i = 0; i < c->n; i++)
        c->axis[i].c = stride[c->axis[i].out] * c->axis[i].times;
    qsort(c->axis, (size_t)c->n, sizeof *c->axis, by_storage);
    c->lane = lane_axis(c);
    c->ragged = -1;
    bool on_b = c->lane < 0 || c->axis[c->lane].b != 0; /* which operand moves along the lanes */
    for (int i = 0; i < c->n; i++)
        if (i != c->lane && (on_b ? c->axis[i].b : c->axis[i].a) == 0) {
            c->row[c->nrows++] = i;
            rows *= c->axis[i].extent;
        }
    int64_t width = cg_width(c->e->u, ir_dtypes[c->dtype].bytes), vectors = c->lane < 0 ? 1 : ceil_div(c->axis[c->lane].extent, width);
    int64_t wide = rows < 6 ? (t->registers - 2) / (rows + 1) : 2; /* vectors of a tile's row: with few rows more, to hide latency */
    wide = wide > 8 ? 8 : wide > vectors ? vectors : wide;
    if (c->lane >= 0) {
        axis *lane = &c->axis[c->lane];
        wide = ceil_div(vectors, ceil_div(vectors, wide));
        lane->tile = lane->extent < wide * width ? lane->extent : wide * width;
        lane->blocks = ceil_div(lane->extent, lane->tile);
    }
    int64_t budget = (t->registers - wide - 2) / wide;
    budget = budget > ROWS ? ROWS : budget;
    for (int i = 0; i < c->nrows && budget > 1; i++) { /* innermost first */
        axis *x = &c->axis[c->row[i]];
        cut(x, budget);
        if (x->extent % x->tile)
            c->ragged = c->row[i];
        budget = x->blocks == 1 ? budget / x->tile : 1;
    }
}

/* ---- One tile ---- */

typedef struct tile {
    contraction *c;
    int64_t size[AXES]; /* by axis */
    int lanes, rows;
    int64_t row_a[ROWS], row_b[ROWS]; /* offset of each row from the first, in elements */
    LLVMValueRef acc[ROWS];
    LLVMTypeRef type;
} tile;

static LLVMValueRef element_pointer(contraction *c, int side, LLVMValueRef base, LLVMValueRef element)
{
    cg_unit *u = c->e->u;
    return LLVMBuildInBoundsGEP2(u->b, cg_dtype(u, c->dtype), base, &element, 1, side ? "b" : "a");
}

/* Elements at pointer + offset: one for all lanes, neighbours, or `stride` apart. */
static LLVMValueRef load(tile *t, int side, LLVMValueRef pointer, int64_t offset)
{
    contraction *c = t->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    int64_t stride = c->lane < 0 ? 0 : side ? c->axis[c->lane].b : c->axis[c->lane].a;
    int lanes = stride == 1 ? t->lanes : 1;
    LLVMValueRef all = NULL;
    for (int i = 0; i < (stride == 0 || stride == 1 ? 1 : t->lanes); i++) {
        LLVMValueRef at = element_pointer(c, side, pointer, cg_i64(u, offset + i * stride));
        LLVMValueRef v = LLVMBuildLoad2(u->b, cg_vector(cg_dtype(u, c->dtype), lanes), at, "");
        LLVMSetAlignment(v, (unsigned)ir_dtypes[c->dtype].bytes);
        v = cg_from_memory(e, c->dtype, v);
        if (stride == 0 || stride == 1)
            return stride ? v : cg_splat(u, v, t->lanes);
        all = LLVMBuildInsertElement(u->b, all ? all : LLVMGetPoison(t->type), v, LLVMConstInt(u->i32, (unsigned long long)i, 0), "");
    }
    return t->lanes == 1 ? LLVMBuildExtractElement(u->b, all, LLVMConstInt(u->i32, 0, 0), "") : all;
}

/* One step of the innermost contracted loop. The operand that rows share is loaded once. */
static void step(tile *t, LLVMValueRef a, LLVMValueRef b, int64_t at_a, int64_t at_b)
{
    LLVMValueRef shared_a = NULL, shared_b = NULL;
    LLVMBuilderRef builder = t->c->e->u->b;
    bool same_a = true, same_b = true;
    for (int r = 0; r < t->rows; r++) {
        same_a &= t->row_a[r] == 0;
        same_b &= t->row_b[r] == 0;
    }
    if (same_b)
        shared_b = load(t, 1, b, at_b);
    if (same_a)
        shared_a = load(t, 0, a, at_a);
    for (int r = 0; r < t->rows; r++) {
        LLVMValueRef x = shared_a ? shared_a : load(t, 0, a, at_a + t->row_a[r]), y = shared_b ? shared_b : load(t, 1, b, at_b + t->row_b[r]);
        LLVMBuildStore(builder, cg_fma(t->c->e, x, y, LLVMBuildLoad2(builder, t->type, t->acc[r], "")), t->acc[r]);
    }
}

/* Contracted loops from number `from` on; a and b point to the elements of the loops outside. */
static void contract(tile *t, int from, LLVMValueRef a, LLVMValueRef b)
{
    contraction *c = t->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    if (from == c->nk) {
        step(t, a, b, 0, 0);
        return;
    }
    const axis *k = &c->k[from];
    if (from < c->nk - 1) {
        cg_loop loop;
        cg_index i = cg_loop_count(e, &loop, k->extent), ia = cg_scaled(&i, k->a), ib = cg_scaled(&i, k->b);
        contract(t, from + 1, element_pointer(c, 0, a, cg_scalar_part(e, &ia)), element_pointer(c, 1, b, cg_scalar_part(e, &ib)));
        cg_loop_end(e, &loop);
        return;
    }
    int64_t unroll = k->extent <= STRAIGHT && k->extent * t->rows <= 128 ? k->extent : UNROLL, whole = k->extent / unroll * unroll;
    if (whole > unroll) {
        cg_loop loop;
        cg_loop_begin(e, &loop, cg_i64(u, 0), cg_i64(u, whole), unroll, true);
        LLVMValueRef pa = element_pointer(c, 0, a, LLVMBuildNSWMul(u->b, loop.i, cg_i64(u, k->a), ""));
        LLVMValueRef pb = element_pointer(c, 1, b, LLVMBuildNSWMul(u->b, loop.i, cg_i64(u, k->b), ""));
        for (int64_t i = 0; i < unroll; i++)
            step(t, pa, pb, i * k->a, i * k->b);
        cg_loop_end(e, &loop);
    } else {
        whole = 0;
    }
    for (int64_t i = whole; i < k->extent; i++)
        step(t, a, b, i * k->a, i * k->b);
}

/* Which element of each row axis row r stands for. */
static void row_index(const tile *t, int r, int64_t *index)
{
    const contraction *c = t->c;
    for (int i = 0; i < c->nrows; i++) {
        index[c->row[i]] = r % t->size[c->row[i]];
        r /= (int)t->size[c->row[i]];
    }
}

/* Index of the tile's row r (its parts by row axis) and first lane in the roots. */
static void root_index(tile *t, const cg_index *part, const cg_index *lane, cg_index *at)
{
    contraction *c = t->c;
    for (int d = 0; d < c->root->type.rank; d++)
        at[d] = cg_of(0);
    for (int i = 0; i < c->n; i++) {
        const axis *x = &c->axis[i];
        cg_index here = x->base;
        if (i == c->lane)
            here = cg_add(c->e, &here, lane, 1);
        else
            here = cg_add(c->e, &here, &part[i], 1);
        at[x->out] = cg_add(c->e, &at[x->out], &here, x->times);
    }
}

/* The roots' expressions of one row, whose sums are in `sum`. */
static void finish_row(tile *t, const cg_index *at, LLVMValueRef sum)
{
    contraction *c = t->c;
    cg_emitter *e = c->e;
    const ir_kernel *k = e->kernel;
    LLVMValueRef value[MOST_ROOTS];
    int mark = e->memo.count;
    BUG_UNLESS(k->roots.count <= MOST_ROOTS);
    e->core = k->core->result[0];
    e->core_value = cg_round(e, c->dtype, sum);
    for (int i = 0; i < k->roots.count; i++) /* all is read before anything is written: a root may lie where an operand lay */
        value[i] = cg_at(e, k->roots.items[i], at);
    for (int i = 0; i < k->roots.count; i++)
        cg_store(e, k->roots.items[i], at, value[i]);
    e->core_value = NULL;
    cg_forget(e, mark);
}

/* Long expressions are emitted once, in a loop over rows, whose sums go through memory. */
static void finish_in_loop(tile *t, const cg_index *lane)
{
    contraction *c = t->c;
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    LLVMValueRef sums = cg_local(e, LLVMArrayType2(t->type, (uint64_t)t->rows));
    for (int r = 0; r < t->rows; r++) {
        LLVMValueRef at[2] = {cg_i64(u, 0), cg_i64(u, r)};
        LLVMBuildStore(u->b, LLVMBuildLoad2(u->b, t->type, t->acc[r], ""), LLVMBuildInBoundsGEP2(u->b, LLVMArrayType2(t->type, (uint64_t)t->rows), sums, at, 2, ""));
    }
    cg_loop loop;
    cg_index part[AXES] = {{0}}, at[IR_MAX_RANK], row = cg_loop_count(e, &loop, t->rows);
    for (int i = 0; i < c->nrows; i++)
        cg_divide(e, &row, t->size[c->row[i]], &row, &part[c->row[i]]);
    root_index(t, part, lane, at);
    LLVMValueRef which[2] = {cg_i64(u, 0), loop.i};
    finish_row(t, at, LLVMBuildLoad2(u->b, t->type, LLVMBuildInBoundsGEP2(u->b, LLVMArrayType2(t->type, (uint64_t)t->rows), sums, which, 2, ""), ""));
    cg_loop_end(e, &loop);
}

static void finish(tile *t)
{
    contraction *c = t->c;
    cg_emitter *e = c->e;
    int64_t index[AXES];
    cg_index lane = cg_of(0);
    e->lanes = t->lanes;
    if (c->lane >= 0) {
        cg_var *v = cg_var_new(e, cg_i64(e->u, 0), t->lanes - 1);
        v->lane = t->lanes > 1;
        lane = cg_of_var(v);
    }
    if (t->rows > 1 && c->long_epilogue)
        finish_in_loop(t, &lane);
    for (int r = 0; r < t->rows && !(t->rows > 1 && c->long_epilogue); r++) {
        cg_index part[AXES] = {{0}}, at[IR_MAX_RANK];
        row_index(t, r, index);
        for (int i = 0; i < c->nrows; i++)
            part[c->row[i]] = cg_of(index[c->row[i]]);
        root_index(t, part, &lane, at);
        finish_row(t, at, LLVMBuildLoad2(e->u->b, t->type, t->acc[r], ""));
    }
    e->lanes = 1;
}

static void emit_tile(contraction *c, bool last_lanes, bool last_rows)
{
    cg_emitter *e = c->e;
    tile t = {.c = c, .lanes = 1, .rows = 1};
    cg_index start[2] = {cg_of(c->view[0].offset), cg_of(c->view[1].offset)};
    for (int i = 0; i < c->n; i++) {
        axis *x = &c->axis[i];
        bool last = i == c->lane ? last_lanes : i == c->ragged && last_rows;
        t.size[i] = last ? x->extent - (x->blocks - 1) * x->tile : x->tile;
        x->base = last ? cg_of((x->blocks - 1) * x->tile) : cg_scaled(&x->block, x->tile);
        start[0] = cg_add(e, &start[0], &x->base, x->a);
        start[1] = cg_add(e, &start[1], &x->base, x->b);
    }
    if (c->lane >= 0)
        t.lanes = (int)t.size[c->lane];
    for (int i = 0; i < c->nrows; i++)
        t.rows *= (int)t.size[c->row[i]];
    t.type = cg_type(e, c->dtype, t.lanes);
    for (int r = 0; r < t.rows; r++) {
        int64_t index[AXES];
        row_index(&t, r, index);
        for (int i = 0; i < c->nrows; i++) {
            t.row_a[r] += index[c->row[i]] * c->axis[c->row[i]].a;
            t.row_b[r] += index[c->row[i]] * c->axis[c->row[i]].b;
        }
        t.acc[r] = cg_local(e, t.type);
        LLVMBuildStore(e->u->b, LLVMConstNull(t.type), t.acc[r]);
    }
    LLVMValueRef base[2];
    for (int s = 0; s < 2; s++)
        base[s] = element_pointer(c, s, cg_storage(e, c->view[s].base), cg_scalar_part(e, &start[s]));
    bool empty = false;
    for (int i = 0; i < c->nk; i++)
        empty |= c->k[i].extent == 0;
    if (!empty)
        contract(&t, 0, base[0], base[1]);
    finish(&t);
}

/* The contracted axes from slow to fast: the longest of those along which an operand lies side by side is innermost. */
static void order_contracted(contraction *c)
{
    for (int i = 0; i + 1 < c->nk; i++) {
        const axis *x = &c->k[i], *y = &c->k[c->nk - 1];
        bool nearer = llabs(x->a) + llabs(x->b) < llabs(y->a) + llabs(y->b);
        if (y->extent < UNROLL ? x->extent > y->extent : nearer && x->extent >= UNROLL) {
            axis swap = c->k[i];
            c->k[i] = c->k[c->nk - 1];
            c->k[c->nk - 1] = swap;
        }
    }
}

/* Instructions between the core's result and v, elementary functions counted as many; at most a little above LONG. */
static int epilogue_work(const cg_emitter *e, const ir_value *v)
{
    const ir_inst *inst = v->def;
    if (!inst || inst == e->kernel->core || (v->kernel && v->kernel != e->kernel) || inst->op == IR_OP_constant)
        return 0;
    int work = cg_is_function(inst->op) ? LONG : !(ir_ops[inst->op].traits & IR_MOVES);
    for (int i = 0; i < inst->noperands && work <= LONG; i++)
        work += epilogue_work(e, inst->operand[i]);
    return work;
}

int64_t cg_contraction_kernel(cg_emitter *e)
{
    const ir_inst *core = e->kernel->core;
    contraction *c = ir_new(e->arena, contraction);
    *c = (contraction){.e = e, .root = e->kernel->roots.items[0], .dtype = core->operand[0]->type.dtype};
    if (ir_count(&c->root->type) == 0)
        return 0;
    for (int s = 0; s < 2; s++)
        if (!ir_view_of(core->operand[s], &c->view[s]))
            BUG("operand %d of a %s is no view", s, ir_ops[core->op].name);
    if (core->op == IR_OP_dot_general)
        axes_of_dot(c, core);
    else
        axes_of_convolution(c, core);
    choose_tiles(c);
    order_contracted(c);
    for (int i = 0; i < e->kernel->roots.count; i++)
        c->long_epilogue |= epilogue_work(e, e->kernel->roots.items[i]) >= LONG;
    int64_t tasks = 1;
    for (int i = 0; i < c->n; i++)
        tasks *= c->axis[i].blocks;
    cg_loop loop;
    cg_loop_begin(e, &loop, e->lo, e->hi, 1, false);
    cg_index task = cg_of_var(cg_var_new(e, loop.i, tasks - 1));
    for (int i = 0; i < c->n; i++) /* rows fastest, so that a panel of the vector operand serves many tiles */
        if (i != c->lane)
            cg_divide(e, &task, c->axis[i].blocks, &task, &c->axis[i].block);
    if (c->lane >= 0)
        c->axis[c->lane].block = task;
    bool lanes_rest = c->lane >= 0 && c->axis[c->lane].extent % c->axis[c->lane].tile;
    for (int v = 0; v < 4; v++) {
        const struct { bool due, last; const axis *x; } part[2] = {
            {lanes_rest, v & 1, c->lane >= 0 ? &c->axis[c->lane] : NULL}, {c->ragged >= 0, v >> 1, c->ragged >= 0 ? &c->axis[c->ragged] : NULL}};
        cg_branch branch[2];
        bool skip = false;
        for (int i = 0; i < 2; i++)
            skip |= (part[i].last && !part[i].due) || (part[i].due && !part[i].last && part[i].x->blocks == 1);
        if (skip)
            continue;
        for (int i = 0; i < 2; i++)
            if (part[i].due)
                cg_if(e, &branch[i], LLVMBuildICmp(e->u->b, part[i].last ? LLVMIntEQ : LLVMIntNE, cg_scalar_part(e, &part[i].x->block),
                                                   cg_i64(e->u, part[i].x->blocks - 1), ""));
        emit_tile(c, part[0].last, part[1].last);
        for (int i = 1; i >= 0; i--)
            if (part[i].due)
                cg_endif(e, &branch[i]);
    }
    cg_loop_end(e, &loop);
    return tasks;
}
