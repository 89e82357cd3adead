/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Kernels of ops that cannot be computed element by element: scatter, sort, cumulative. Tasks
 * divide the dimensions along which the result's parts are independent; lanes run along the
 * innermost dimension in storage if it is one of these. */
#include "codegen/emit.h"

/* The loops of a kernel: tasks, then free dimensions and one of lanes. */
typedef struct parts {
    const ir_value *output;
    const sched_cut *cut;
    int lane, lanes; /* those of the cut, except for copies */
    cg_index chunk; /* the task's, along the lane dimension */
} parts;

static parts parts_of(const cg_emitter *e, const ir_value *output)
{
    const sched_cut *cut = &e->kernel->schedule->cut;
    return (parts){.output = output, .cut = cut, .lane = cut->lane, .lanes = cut->lanes};
}

/* Decodes the task: its indices in the parallel dimensions, and its chunk of the lane dimension. */
static void open_task(cg_emitter *e, parts *p, cg_loop *loop, cg_index *at)
{
    cg_loop_begin(e, loop, e->lo, e->hi, 1, true);
    cg_index task = cg_of_var(cg_var_new(e, loop->i, e->kernel->schedule->tasks - 1));
    p->chunk = cg_of(0);
    if (p->cut->chunks > 1)
        cg_divide(e, &task, p->cut->chunks, &task, &p->chunk);
    for (int d = p->output->type.rank - 1; d >= 0; d--)
        if (p->cut->parallel[d])
            cg_divide(e, &task, p->output->type.dim[d], &task, &at[d]);
}

typedef void body(cg_emitter *e, void *user, cg_index *at);

typedef struct lane_body {
    int lane;
    cg_index *at;
    body *f;
    void *user;
} lane_body;

static void emit_at_lanes(cg_emitter *e, void *user, const cg_index *x)
{
    const lane_body *n = user;
    n->at[n->lane] = *x;
    n->f(e, n->user, n->at);
}

/* Runs the body for the lane dimension. */
static void for_lanes(cg_emitter *e, const parts *p, cg_index *at, body *f, void *user)
{
    if (p->lane < 0) {
        f(e, user, at);
        return;
    }
    const cg_row row = {
        .extent = p->output->type.dim[p->lane],
        .lanes = p->lanes,
        .width = sched_width(e->u->target->vector_bytes, ir_dtypes[p->output->type.dtype].bytes),
        .chunk = &p->chunk,
        .each = p->cut->chunk,
        .chunks = p->cut->chunks};
    cg_each_lanes(e, &row, emit_at_lanes, &(lane_body){p->lane, at, f, user});
}

/* A loop for each dimension of t that `skip` does not name, then the lanes. */
static void for_dims(cg_emitter *e, const parts *p, const ir_type *t, const bool *skip, int d,
                     cg_index *at, body *f, void *user)
{
    while (d < t->rank && (skip[d] || d == p->lane))
        d++;
    if (d == t->rank) {
        for_lanes(e, p, at, f, user);
        return;
    }
    cg_loop loop;
    at[d] = cg_loop_count(e, &loop, t->dim[d]);
    for_dims(e, p, t, skip, d + 1, at, f, user);
    cg_loop_end(e, &loop);
}

static void clear(cg_index *at)
{
    for (int d = 0; d < IR_MAX_RANK; d++)
        at[d] = cg_of(0);
}

/* ---- Scatter ---- */

typedef struct scattering {
    parts *p;
    const ir_inst *inst;
    const struct ir_attrs_scatter *a;
    bool selected[IR_MAX_RANK]; /* dimensions of the result that indices select */
    int leading; /* dimensions of the updates that are the index's */
    int update_dim[IR_MAX_RANK]; /* of a dimension of the result that is not selected */
    cg_index update[IR_MAX_RANK]; /* index in the updates */
} scattering;

static void copy_element(cg_emitter *e, void *user, cg_index *at)
{
    scattering *s = user;
    int mark = e->memo.count;
    cg_store(e, s->p->output, at, cg_at(e, s->inst->operand[0], at));
    cg_forget(e, mark);
}

static void update_element(cg_emitter *e, void *user, cg_index *at)
{
    scattering *s = user;
    const ir_value *output = s->p->output;
    ir_dtype t = output->type.dtype;
    int mark = e->memo.count;
    for (int d = 0; d < output->type.rank; d++)
        if (!s->selected[d])
            s->update[s->update_dim[d]] = at[d];
    LLVMValueRef v = cg_at(e, s->inst->operand[2], s->update);
    cg_index where = cg_element(e, output, at);
    if (s->a->combine != IR_SET)
        v = cg_round(e, t, cg_combine(e, s->a->combine, t, cg_load_element(e, output, &where), v));
    cg_store_element(e, output, &where, v);
    cg_forget(e, mark);
}

/* Updates the slice of one index vector, if the vector is in range. */
static void update_slice(cg_emitter *e, scattering *s, cg_index *at)
{
    cg_unit *u = e->u;
    const ir_value *index = s->inst->operand[1], *output = s->p->output;
    cg_index where[IR_MAX_RANK];
    bool skip[IR_MAX_RANK];
    LLVMValueRef inside = NULL;
    for (int d = 0; d < s->leading; d++)
        where[d] = s->update[d];
    for (int j = 0; j < s->a->dims.n; j++) {
        int d = (int)s->a->dims.v[j];
        where[s->leading] = cg_of(j);
        LLVMValueRef v = LLVMBuildIntCast2(u->b, cg_at(e, index, where), u->i64,
                                           ir_is_signed(index->type.dtype), "");
        LLVMValueRef fits = LLVMBuildICmp(u->b, LLVMIntULT, v, cg_i64(u, output->type.dim[d]), "");
        inside = inside ? LLVMBuildAnd(u->b, inside, fits, "") : fits;
        at[d] = cg_opaque(e, v, output->type.dim[d] - 1);
    }
    for (int d = 0; d < output->type.rank; d++)
        skip[d] = s->selected[d] || d < s->a->batch || s->p->cut->parallel[d];
    cg_branch branch;
    if (inside)
        cg_if(e, &branch, inside);
    for_dims(e, s->p, &output->type, skip, 0, at, update_element, s);
    if (inside)
        cg_endif(e, &branch);
}

/* Loops over the index vectors, in their order. */
static void for_vectors(cg_emitter *e, scattering *s, int d, cg_index *at)
{
    const ir_value *index = s->inst->operand[1];
    if (d == s->leading) {
        update_slice(e, s, at);
        return;
    }
    if (d < s->a->batch && s->p->cut->parallel[d]) {
        s->update[d] = at[d];
        for_vectors(e, s, d + 1, at);
        return;
    }
    cg_loop loop;
    s->update[d] = cg_loop_count(e, &loop, index->type.dim[d]);
    if (d < s->a->batch)
        at[d] = s->update[d];
    for_vectors(e, s, d + 1, at);
    cg_loop_end(e, &loop);
}

static bool same_argument(const cg_emitter *e, const ir_value *x, const ir_value *y)
{
    int argument[2] = {-1, -2};
    for (int i = 0; i < e->leaf.count; i++) {
        if (e->leaf.items[i] == x)
            argument[0] = e->argument.items[i];
        if (e->leaf.items[i] == y)
            argument[1] = e->argument.items[i];
    }
    return argument[0] == argument[1];
}

void cg_emit_scatter(cg_emitter *e, const sched_contraction *part)
{
    (void)part;
    const ir_inst *inst = e->kernel->anchor;
    parts p = parts_of(e, inst->result[0]);
    scattering s = {.p = &p,
                    .inst = inst,
                    .a = IR_ATTR(inst, scatter),
                    .leading = inst->operand[1]->type.rank - 1};
    cg_index at[IR_MAX_RANK];
    const ir_type *t = &p.output->type;
    for (int j = 0; j < s.a->dims.n; j++)
        s.selected[s.a->dims.v[j]] = true;
    for (int d = 0, next = s.leading; d < t->rank; d++)
        if (!s.selected[d])
            s.update_dim[d] = d < s.a->batch ? d : next++;
    clear(at);
    clear(s.update);
    cg_loop task;
    open_task(e, &p, &task, at);
    if (!same_argument(e, inst->operand[0], p.output)) {
        parts copy = p;
        int fastest = ir_fastest(p.output);
        if (p.lane < 0 && fastest >= 0) { /* copies are vectorised in any case */
            copy.lane = fastest;
            copy.lanes = p.cut->copy_lanes;
        }
        for_dims(e, &copy, t, p.cut->parallel, 0, at, copy_element, &s);
    }
    if (ir_count(&inst->operand[2]->type))
        for_vectors(e, &s, 0, at);
    cg_loop_end(e, &task);
}

/* ---- Cumulative ---- */

typedef struct accumulation {
    const ir_inst *inst;
    const struct ir_attrs_cumulative *a;
    const ir_value *output;
} accumulation;

static void accumulate(cg_emitter *e, void *user, cg_index *at)
{
    accumulation *s = user;
    cg_unit *u = e->u;
    ir_dtype t = s->output->type.dtype;
    int64_t extent = s->output->type.dim[s->a->axis];
    LLVMTypeRef type = cg_type(e, t, e->lanes);
    LLVMValueRef total = cg_local(e, type);
    LLVMBuildStore(u->b, cg_as_vector(e, cg_identity(e, s->a->combine, t)), total);
    cg_loop loop;
    cg_index i = cg_loop_count(e, &loop, extent);
    if (s->a->reverse) {
        i = cg_scaled(&i, -1);
        i = cg_plus(&i, extent - 1);
    }
    at[s->a->axis] = i;
    LLVMValueRef before = LLVMBuildLoad2(u->b, type, total, ""),
                 x = cg_as_vector(e, cg_at(e, s->inst->operand[0], at));
    LLVMValueRef after = cg_combine(e, s->a->combine, t, before, x);
    LLVMBuildStore(u->b, after, total);
    cg_store(e, s->output, at, s->a->exclusive ? before : after);
    cg_loop_end(e, &loop);
}

void cg_emit_cumulative(cg_emitter *e, const sched_contraction *part)
{
    (void)part;
    const ir_inst *inst = e->kernel->anchor;
    parts p = parts_of(e, inst->result[0]);
    accumulation s = {inst, IR_ATTR(inst, cumulative), p.output};
    cg_index at[IR_MAX_RANK];
    bool skip[IR_MAX_RANK];
    for (int d = 0; d < p.output->type.rank; d++)
        skip[d] = p.cut->parallel[d] || d == s.a->axis;
    clear(at);
    cg_loop task;
    open_task(e, &p, &task, at);
    for_dims(e, &p, &p.output->type, skip, 0, at, accumulate, &s);
    cg_loop_end(e, &task);
}

/* ---- Sort ---- Each row's keys are first copied to where the sorted ones will be. A bottom-up
 * merge sort then orders their indices, double-buffered; at the end each result gathers its
 * operand's elements in that order. */

typedef struct sorting {
    const ir_inst *inst;
    const ir_value *keys; /* result 0, until the end in the operand's order */
    int64_t axis, extent;
    bool descending;
    cg_index *at;
    LLVMValueRef buffer; /* the task's: two times `extent` indices */
} sorting;

static LLVMValueRef number_at(cg_emitter *e, const sorting *s, LLVMValueRef which, LLVMValueRef i)
{
    cg_unit *u = e->u;
    LLVMValueRef at =
        LLVMBuildAdd(u->b, LLVMBuildMul(u->b, which, cg_i64(u, s->extent), ""), i, "");
    return LLVMBuildInBoundsGEP2(u->b, u->i64, s->buffer, &at, 1, "");
}

static LLVMValueRef key_of(cg_emitter *e, const sorting *s, LLVMValueRef number)
{
    s->at[s->axis] = cg_opaque(e, number, s->extent - 1);
    cg_index where = cg_element(e, s->keys, s->at);
    return cg_load_element(e, s->keys, &where);
}

/* i1: x is ordered before y; NaN is the largest. */
static LLVMValueRef stands_before(cg_emitter *e, const sorting *s, LLVMValueRef x, LLVMValueRef y)
{
    LLVMBuilderRef b = e->u->b;
    ir_dtype t = s->keys->type.dtype;
    if (s->descending) {
        LLVMValueRef swap = x;
        x = y;
        y = swap;
    }
    if (!ir_is_float(t))
        return LLVMBuildICmp(b, ir_is_signed(t) ? LLVMIntSLT : LLVMIntULT, x, y, "");
    LLVMValueRef only_y = LLVMBuildAnd(b, LLVMBuildFCmp(b, LLVMRealORD, x, x, ""),
                                       LLVMBuildFCmp(b, LLVMRealUNO, y, y, ""), "");
    return LLVMBuildOr(b, LLVMBuildFCmp(b, LLVMRealOLT, x, y, ""), only_y, "");
}

/* Merges the sorted indices left … middle-1 and middle … right-1 of buffer `from` into the other
 * one. */
static void merge(cg_emitter *e, const sorting *s, LLVMValueRef from, LLVMValueRef left,
                  LLVMValueRef middle, LLVMValueRef right)
{
    cg_unit *u = e->u;
    LLVMBuilderRef b = u->b;
    LLVMValueRef next[2] = {cg_local(e, u->i64), cg_local(e, u->i64)},
                 last = cg_i64(u, s->extent - 1), i[2], number[2], key[2];
    LLVMValueRef other = LLVMBuildSub(b, cg_i64(u, 1), from, "");
    LLVMBuildStore(b, left, next[0]);
    LLVMBuildStore(b, middle, next[1]);
    cg_loop loop;
    cg_loop_begin(e, &loop, left, right, 1, true);
    for (int k = 0; k < 2; k++) {
        i[k] = LLVMBuildLoad2(b, u->i64, next[k], "");
        number[k] = LLVMBuildLoad2(b, u->i64, number_at(e, s, from, cg_min(e, i[k], last)), "");
        key[k] = key_of(e, s, number[k]);
    }
    /* The left one, unless it is exhausted or the right one is ordered before it: so the sort is
     * stable. */
    LLVMValueRef none = LLVMBuildICmp(b, LLVMIntSGE, i[0], middle, ""),
                 some = LLVMBuildICmp(b, LLVMIntSLT, i[1], right, "");
    LLVMValueRef take =
        LLVMBuildAnd(b, some, LLVMBuildOr(b, none, stands_before(e, s, key[1], key[0]), ""), "");
    LLVMBuildStore(b, LLVMBuildSelect(b, take, number[1], number[0], ""),
                   number_at(e, s, other, loop.i));
    LLVMValueRef one = LLVMBuildZExt(b, take, u->i64, "");
    LLVMBuildStore(b, LLVMBuildAdd(b, i[0], LLVMBuildSub(b, cg_i64(u, 1), one, ""), ""), next[0]);
    LLVMBuildStore(b, LLVMBuildAdd(b, i[1], one, ""), next[1]);
    cg_loop_end(e, &loop);
}

static void sort_row(cg_emitter *e, void *user, cg_index *at)
{
    sorting *s = user;
    cg_unit *u = e->u;
    LLVMValueRef zero = cg_i64(u, 0), extent = cg_i64(u, s->extent);
    cg_loop loop, merges;
    int passes = 0;
    s->at = at;
    at[s->axis] = cg_loop_count(e, &loop, s->extent);
    cg_store(e, s->keys, at, cg_at(e, s->inst->operand[0], at));
    LLVMBuildStore(u->b, loop.i, number_at(e, s, zero, loop.i));
    cg_loop_end(e, &loop);
    while ((s->extent - 1) >> passes)
        passes++;
    cg_loop_begin(e, &loop, zero, cg_i64(u, passes), 1, false);
    LLVMValueRef run = LLVMBuildShl(u->b, cg_i64(u, 1), loop.i, ""),
                 twice = LLVMBuildShl(u->b, run, cg_i64(u, 1), "");
    LLVMValueRef from = LLVMBuildAnd(u->b, loop.i, cg_i64(u, 1), "");
    LLVMValueRef count = LLVMBuildUDiv(
        u->b, LLVMBuildAdd(u->b, extent, LLVMBuildSub(u->b, twice, cg_i64(u, 1), ""), ""), twice,
        "");
    cg_loop_begin(e, &merges, zero, count, 1, true);
    LLVMValueRef left = LLVMBuildMul(u->b, merges.i, twice, "");
    merge(e, s, from, left, cg_min(e, LLVMBuildAdd(u->b, left, run, ""), extent),
          cg_min(e, LLVMBuildAdd(u->b, left, twice, ""), extent));
    cg_loop_end(e, &merges);
    cg_loop_end(e, &loop);
    cg_index i = cg_loop_count(e, &loop, s->extent), source[IR_MAX_RANK];
    for (int d = 0; d < s->keys->type.rank; d++)
        source[d] = at[d];
    at[s->axis] = i;
    LLVMValueRef number =
        LLVMBuildLoad2(u->b, u->i64, number_at(e, s, cg_i64(u, passes & 1), loop.i), "");
    source[s->axis] = cg_opaque(e, number, s->extent - 1);
    for (int k = 0; k < s->inst->nresults; k++)
        cg_store(e, s->inst->result[k], at, cg_at(e, s->inst->operand[k], source));
    cg_loop_end(e, &loop);
}

void cg_emit_sort(cg_emitter *e, const sched_contraction *part)
{
    (void)part;
    cg_unit *u = e->u;
    const ir_inst *inst = e->kernel->anchor;
    const ir_type *t = &inst->result[0]->type;
    sorting s = {.inst = inst,
                 .keys = inst->result[0],
                 .axis = IR_ATTR(inst, sort)->axis,
                 .descending = IR_ATTR(inst, sort)->descending != 0};
    s.extent = t->dim[s.axis];
    int64_t tasks = e->kernel->schedule->tasks;
    ir_type rows = *t; /* one element per row */
    rows.dim[s.axis] = 1;
    int64_t count = ir_count(&rows);
    cg_index at[IR_MAX_RANK];
    clear(at);
    cg_loop task, row;
    cg_loop_begin(e, &task, e->lo, e->hi, 1, true);
    LLVMValueRef own = LLVMBuildMul(u->b, task.i, cg_i64(u, 2 * s.extent), "");
    s.buffer = LLVMBuildInBoundsGEP2(u->b, u->i64, e->scratch, &own, 1, "");
    /* Task i has rows i, i + tasks, … */
    cg_loop_begin(e, &row, task.i, cg_i64(u, count), tasks, true);
    cg_index number = cg_of_var(cg_var_new(e, row.i, count - 1));
    cg_unravel(e, &rows, &number, at);
    sort_row(e, &s, at);
    cg_loop_end(e, &row);
    cg_loop_end(e, &task);
}
