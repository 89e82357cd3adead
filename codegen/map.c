/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Maps: kernels that are loops over the elements of their roots, around the roots' expressions. The
 * innermost loop takes as many neighbours at once as pays; tasks are what the loops outside of it
 * give, or chunks of it. */
#include "codegen/emit.h"

#include <string.h>

enum {
    TASKS = 32,            /* wanted at least, where there is work for them */
    SMALL = 16384,         /* work (elements times instructions) that one thread does alone */
    CHUNK = 4096,          /* elements of a task that is a part of the innermost loop */
    WIDEST = 64,           /* lanes */
    MOST_STORES = 128,     /* of an index */
    MOST_LOOKS = 4096      /* for reductions that are done in one go */
};

/* What a map's expressions are like. */
typedef struct shape_of_work {
    const cg_emitter *e;
    BASE_LIST(const ir_value *) seen;
    /* Only elementwise ops on values stored alike: one loop over all elements does. */
    bool flat;
    bool plain;     /* no other ops at all, for what is the same for all elements neither */
    bool row;       /* reduces the innermost dimension of something */
    bool column;    /* reduces other dimensions */
    double work;    /* a result element */
} shape_of_work;

static void study(shape_of_work *s, const ir_value *root, const ir_value *v, double times)
{
    for (int i = 0; i < s->seen.count; i++)
        if (s->seen.items[i] == v)
            return;
    BASE_PUSH(s->e->arena, &s->seen, v);
    if (cg_is_leaf(s->e, v)) {
        s->work += times;
        s->flat = s->flat && (v->type.rank == 0 || ir_same_storage(v, root));
        return;
    }
    const ir_inst *inst = v->def;
    if (inst->op == IR_OP_constant)
        return;
    bool to_scalar = inst->op == IR_OP_broadcast && inst->operand[0]->type.rank == 0;
    s->plain = s->plain && (to_scalar || ir_has_trait(inst, IR_ELEMENTWISE));
    s->flat = s->flat && (to_scalar || ir_has_trait(inst, IR_ELEMENTWISE) || v->type.rank == 0);
    if (inst->op == IR_OP_reduce) {
        int fastest = cg_nearest(inst->operand[0]);
        bool inner = false;
        for (int i = 0; i < IR_ATTR(inst, reduce)->axes.n; i++)
            inner |= IR_ATTR(inst, reduce)->axes.v[i] == fastest;
        *(inner ? &s->row : &s->column) = true;
    }
    times *= ir_cost_reads(inst, 0);
    s->work += times;
    for (int i = 0; i < inst->noperands; i++)
        study(s, root, inst->operand[i], times);
}

/* The pieces of a concat lie one behind the other: no dimension outside its axis. */
static bool pieces_in_row(const ir_value *root)
{
    for (int i = 0; i < root->type.rank; i++) {
        int d = root->order.n ? (int)root->order.v[i] : i;
        if (d == IR_ATTR(root->def, concat)->axis)
            return true;
        if (root->type.dim[d] != 1)
            return false;
    }
    return false;
}

static void study_root(shape_of_work *s, const ir_value *space, const ir_value *root)
{
    if (!ir_in_pieces(root)) {
        study(s, space, root, 1);
        return;
    }
    s->flat = s->flat && pieces_in_row(root);
    for (int i = 0; i < root->def->noperands; i++)
        study(s, space, root->def->operand[i], 1);
}

typedef struct map_loops {
    int n;                    /* loops, outermost first; the last is the lanes' unless lanes is 1 */
    int dim[IR_MAX_RANK];     /* of the result; -1: all of them as one */
    int64_t extent[IR_MAX_RANK];
    int outer;                /* loops that tasks divide */
    int64_t chunk, chunks;    /* parts of the last loop that tasks divide too; 1: all */
} map_loops;

static map_loops plan_loops(cg_emitter *e, const ir_value *root, const shape_of_work *s)
{
    map_loops m = {.chunks = 1};
    int64_t outer = 1;
    if (s->flat) {
        m.n = 1;
        m.dim[0] = -1;
        m.extent[0] = ir_count(&root->type);
    }
    for (int i = 0; !s->flat && i < root->type.rank; i++) {
        int d = root->order.n ? (int)root->order.v[i] : i;
        if (root->type.dim[d] != 1) {
            m.dim[m.n] = d;
            m.extent[m.n++] = root->type.dim[d];
        }
    }
    if (m.n == 0) { /* one element */
        m.n = 1;
        m.dim[0] = -1;
        m.extent[0] = 1;
    }
    double work = s->work * (double)ir_count(&root->type);
    if (work <= SMALL)
        return m;
    int loops = e->lanes > 1 ? m.n - 1 : m.n;
    while (m.outer < loops && outer < TASKS)
        outer *= m.extent[m.outer++];
    int64_t last = m.extent[m.n - 1];
    if (e->lanes > 1 && outer < TASKS && last > CHUNK) {
        m.chunk = CHUNK;
        m.chunks = (last + CHUNK - 1) / CHUNK;
    }
    return m;
}

/* All roots at the index, of a concat in pieces all pieces: first everything is read, then written,
 * so that a root may lie where an operand lay. */
static void emit_element(cg_emitter *e, const cg_index *at)
{
    const ir_kernel *k = e->kernel;
    LLVMValueRef value[MOST_STORES];
    int mark = e->memo.count, n = 0;
    for (int i = 0; i < k->roots.count; i++) {
        const ir_value *root = k->roots.items[i];
        int pieces = ir_in_pieces(root) ? root->def->noperands : 1;
        BUG_UNLESS(n + pieces <= MOST_STORES);
        for (int p = 0; p < pieces; p++)
            value[n++] = cg_at(e, ir_in_pieces(root) ? root->def->operand[p] : root, at);
    }
    n = 0;
    for (int i = 0; i < k->roots.count; i++) {
        const ir_value *root = k->roots.items[i];
        if (!ir_in_pieces(root)) {
            cg_store(e, root, at, value[n++]);
            continue;
        }
        int axis = (int)IR_ATTR(root->def, concat)->axis;
        cg_index there[IR_MAX_RANK];
        memcpy(there, at, sizeof there);
        for (int p = 0; p < root->def->noperands;
             p++, there[axis] = cg_plus(&there[axis], root->def->operand[0]->type.dim[axis]))
            cg_store(e, root, there, value[n++]);
    }
    cg_forget(e, mark);
}

static void set_index(const map_loops *m, int loop, const cg_index *v, cg_index *at,
                      const ir_value *root)
{
    /* As one: the stride of the innermost is 1, so it counts all elements. */
    int d = m->dim[loop] >= 0 ? m->dim[loop] : cg_fastest(root);
    if (d >= 0)
        at[d] = *v;
}

static void emit_lanes(cg_emitter *e, const map_loops *m, const ir_value *root,
                       const cg_index *chunk, cg_index *at)
{
    cg_unit *u = e->u;
    int last = m->n - 1, lanes = e->lanes;
    int64_t extent = m->extent[last], whole = extent / lanes * lanes;
    LLVMValueRef start = cg_i64(u, 0), end = cg_i64(u, whole);
    if (m->chunks > 1) {
        start = LLVMBuildMul(u->b, cg_scalar_part(e, chunk), cg_i64(u, m->chunk), "");
        LLVMValueRef next = LLVMBuildAdd(u->b, start, cg_i64(u, m->chunk), "");
        end = cg_min(e, next, end);
    }
    if (whole) {
        cg_loop loop;
        cg_loop_begin(e, &loop, start, end, lanes, m->chunks == 1);
        cg_var *v = cg_var_new(e, loop.i, extent - 1);
        v->lane = lanes > 1;
        cg_index x = cg_of_var(v);
        set_index(m, last, &x, at, root);
        emit_element(e, at);
        cg_loop_end(e, &loop);
    }
    if (extent > whole) {
        cg_branch branch;
        if (m->chunks > 1)
            cg_if(e, &branch,
                  LLVMBuildICmp(u->b, LLVMIntEQ, cg_scalar_part(e, chunk), cg_i64(u, m->chunks - 1),
                                ""));
        e->lanes = (int)(extent - whole);
        cg_var *v = cg_var_new(e, cg_i64(u, 0), e->lanes - 1);
        v->lane = e->lanes > 1;
        cg_index x = cg_of_var(v);
        x.constant = whole;
        set_index(m, last, &x, at, root);
        emit_element(e, at);
        e->lanes = lanes;
        if (m->chunks > 1)
            cg_endif(e, &branch);
    }
}

static void emit_loops(cg_emitter *e, const map_loops *m, int loop_number, const ir_value *root,
                       const cg_index *chunk, cg_index *at)
{
    if (e->lanes > 1 && loop_number == m->n - 1) {
        emit_lanes(e, m, root, chunk, at);
        return;
    }
    if (loop_number == m->n) {
        emit_element(e, at);
        return;
    }
    cg_loop loop;
    cg_index x = cg_loop_count(e, &loop, m->extent[loop_number]);
    set_index(m, loop_number, &x, at, root);
    emit_loops(e, m, loop_number + 1, root, chunk, at);
    cg_loop_end(e, &loop);
}

static int choose_lanes(cg_emitter *e, const ir_value *root, const shape_of_work *s)
{
    int size = 4;
    for (int i = 0; i < e->kernel->roots.count; i++) {
        int here = ir_dtypes[e->kernel->roots.items[i]->type.dtype].bytes;
        size = here > size ? here : size;
    }
    int fastest = cg_fastest(root), lanes = cg_width(e->u, size),
        most = s->column      ? 4 * lanes
               : s->work < 16 ? 2 * lanes
                              : lanes;
    int64_t extent = s->flat ? ir_count(&root->type) : fastest < 0 ? 1 : root->type.dim[fastest];
    if (s->row)
        return 1;
    while (lanes < most && lanes < WIDEST && lanes * 2 <= extent)
        lanes *= 2;
    return extent < lanes ? (int)(extent < 1 ? 1 : extent) : lanes;
}

/* Reductions that v needs at its own index, as far as `left` looks reach: what is not found is done
 * by itself. */
static void find_reduces(cg_emitter *e, const ir_value *v, int *left)
{
    if (cg_is_leaf(e, v) || --*left < 0)
        return;
    if (v->def->op == IR_OP_reduce) {
        for (int i = 0; i < e->reduces.count; i++)
            if (e->reduces.items[i] == v->def)
                return;
        BASE_PUSH(e->arena, &e->reduces, v->def);
    }
    for (int i = 0; ir_has_trait(v->def, IR_ELEMENTWISE) && i < v->def->noperands; i++)
        find_reduces(e, v->def->operand[i], left);
}

/* The code of a map of plain expressions need not know how many elements there are, if there is no
 * rest beside the lanes: an optimizer's update then is one kernel for many parameters. */
int cg_map_serves_any_extent(cg_emitter *e)
{
    const ir_kernel *k = e->kernel;
    if (k->kind != IR_KERNEL_MAP)
        return 0;
    const ir_value *root = k->roots.items[0];
    shape_of_work s = {.e = e, .flat = true, .plain = true, .work = 1};
    for (int i = 0; i < k->roots.count; i++) {
        s.plain = s.plain && !ir_in_pieces(k->roots.items[i]);
        study_root(&s, root, k->roots.items[i]);
    }
    int lanes = choose_lanes(e, root, &s);
    return s.flat && s.plain && lanes > 1 && ir_count(&root->type) % lanes == 0 ? lanes : 0;
}

LLVMValueRef cg_map_tasks(cg_emitter *e)
{
    cg_unit *u = e->u;
    return LLVMBuildUDiv(u->b, LLVMBuildNSWAdd(u->b, e->extent, cg_i64(u, CHUNK - 1), ""),
                         cg_i64(u, CHUNK), "");
}

/* A task is a chunk of all elements. */
static void emit_any_extent(cg_emitter *e)
{
    cg_unit *u = e->u;
    cg_index at[IR_MAX_RANK] = {{0}};
    e->lanes = e->any_extent;
    cg_loop task, loop;
    cg_loop_begin(e, &task, e->lo, e->hi, 1, true);
    LLVMValueRef start = LLVMBuildNSWMul(u->b, task.i, cg_i64(u, CHUNK), ""),
                 next = LLVMBuildNSWAdd(u->b, start, cg_i64(u, CHUNK), "");
    LLVMValueRef end = cg_min(e, next, e->extent);
    cg_loop_begin(e, &loop, start, end, e->lanes, true);
    cg_var *v = cg_var_new(e, loop.i, IR_MAX_TENSOR_BYTES);
    v->lane = true;
    at[cg_fastest(e->kernel->roots.items[0])] = cg_of_var(v);
    emit_element(e, at);
    cg_loop_end(e, &loop);
    cg_loop_end(e, &task);
}

int64_t cg_map_kernel(cg_emitter *e)
{
    const ir_value *root = ir_space(e->kernel->roots.items[0]);
    if (ir_count(&root->type) == 0)
        return 0;
    if (e->any_extent) {
        emit_any_extent(e);
        return 1;
    }
    shape_of_work s = {.e = e, .flat = true, .work = 1};
    for (int i = 0; i < e->kernel->roots.count; i++) {
        int left = MOST_LOOKS;
        study_root(&s, root, e->kernel->roots.items[i]);
        find_reduces(e, e->kernel->roots.items[i], &left);
    }
    e->lanes = choose_lanes(e, root, &s);
    map_loops m = plan_loops(e, root, &s);
    cg_index at[IR_MAX_RANK];
    for (int d = 0; d < IR_MAX_RANK; d++)
        at[d] = cg_of(0);
    int64_t outer = 1;
    for (int i = 0; i < m.outer; i++)
        outer *= m.extent[i];
    int64_t tasks = outer * m.chunks;
    cg_loop loop;
    cg_loop_begin(e, &loop, e->lo, e->hi, 1, true);
    cg_index task = cg_of_var(cg_var_new(e, loop.i, tasks - 1)), chunk = cg_of(0), x;
    if (m.chunks > 1)
        cg_divide(e, &task, m.chunks, &task, &chunk);
    for (int i = m.outer - 1; i >= 0; i--) {
        if (i)
            cg_divide(e, &task, m.extent[i], &task, &x);
        set_index(&m, i, i ? &x : &task, at, root);
    }
    emit_loops(e, &m, m.outer, root, &chunk, at);
    cg_loop_end(e, &loop);
    return tasks;
}
