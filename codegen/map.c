/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Maps: kernels that are loops over the elements of their outputs, around the outputs'
 * expressions. The innermost loop is vectorised; tasks divide the loops outside of it, or chunks
 * of it. */
#include "codegen/emit.h"

#include <string.h>

enum { MOST_STORES = 128, /* at an index */ MOST_LOOKS = 4096 /* for shared reductions */ };

/* All outputs at the index, and all pieces of a concat in pieces. All are computed before any is
 * stored, so that an output may share the storage of an operand. */
static void emit_element(cg_emitter *e, const cg_index *at)
{
    const ir_kernel *k = e->kernel;
    LLVMValueRef value[MOST_STORES];
    int mark = e->memo.count, n = 0;
    for (int i = 0; i < k->outputs.count; i++) {
        const ir_value *output = k->outputs.items[i];
        int pieces = ir_in_pieces(output) ? output->def->noperands : 1;
        BUG_UNLESS(n + pieces <= MOST_STORES);
        for (int p = 0; p < pieces; p++)
            value[n++] = cg_at(e, ir_in_pieces(output) ? output->def->operand[p] : output, at);
    }
    n = 0;
    for (int i = 0; i < k->outputs.count; i++) {
        const ir_value *output = k->outputs.items[i];
        if (!ir_in_pieces(output)) {
            cg_store(e, output, at, value[n++]);
            continue;
        }
        int axis = (int)IR_ATTR(output->def, concat)->axis;
        cg_index there[IR_MAX_RANK];
        memcpy(there, at, sizeof there);
        for (int p = 0; p < output->def->noperands;
             p++, there[axis] = cg_plus(&there[axis], output->def->operand[0]->type.dim[axis]))
            cg_store(e, output, there, value[n++]);
    }
    cg_forget(e, mark);
}

static void set_index(const sched_map *m, int loop, const cg_index *v, cg_index *at,
                      const ir_value *output)
{
    /* Collapsed: the innermost dimension has stride 1, so its index can count all elements. */
    int d = m->dim[loop] >= 0 ? m->dim[loop] : ir_fastest(output);
    if (d >= 0)
        at[d] = *v;
}

/* The innermost loop; its body sets the last index of `at`. */
typedef struct inner {
    const sched_map *m;
    const ir_value *output;
    cg_index *at;
} inner;

static void emit_at_lanes(cg_emitter *e, void *user, const cg_index *x)
{
    const inner *n = user;
    set_index(n->m, n->m->nloops - 1, x, n->at, n->output);
    emit_element(e, n->at);
}

static void emit_lanes(cg_emitter *e, const sched_map *m, const ir_value *output,
                       const cg_index *chunk, cg_index *at)
{
    const cg_row row = {.extent = m->extent[m->nloops - 1],
                        .lanes = e->lanes,
                        .width = m->width,
                        .chunk = chunk,
                        .each = m->chunk,
                        .chunks = m->chunks};
    cg_each_lanes(e, &row, emit_at_lanes, &(inner){m, output, at});
}

static void emit_loops(cg_emitter *e, const sched_map *m, int loop_number, const ir_value *output,
                       const cg_index *chunk, cg_index *at)
{
    if (e->lanes > 1 && loop_number == m->nloops - 1) {
        emit_lanes(e, m, output, chunk, at);
        return;
    }
    if (loop_number == m->nloops) {
        emit_element(e, at);
        return;
    }
    cg_loop loop;
    cg_index x = cg_loop_count(e, &loop, m->extent[loop_number]);
    set_index(m, loop_number, &x, at, output);
    emit_loops(e, m, loop_number + 1, output, chunk, at);
    cg_loop_end(e, &loop);
}

/* Reductions that v needs at its own index. The search ends after `left` values; a reduction that
 * is not found does not share a loop. */
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

LLVMValueRef cg_map_tasks(cg_emitter *e)
{
    cg_unit *u = e->u;
    int64_t chunk = e->kernel->schedule->map.chunk;
    return LLVMBuildUDiv(u->b, LLVMBuildNSWAdd(u->b, e->extent, cg_i64(u, chunk - 1), ""),
                         cg_i64(u, chunk), "");
}

/* A task is a chunk of all elements. */
static void emit_polymorphic(cg_emitter *e)
{
    cg_unit *u = e->u;
    int64_t chunk = e->kernel->schedule->map.chunk;
    cg_index at[IR_MAX_RANK] = {{0}};
    e->lanes = e->kernel->schedule->map.lanes;
    cg_loop task, loop;
    cg_loop_begin(e, &task, e->lo, e->hi, 1, true);
    LLVMValueRef start = LLVMBuildNSWMul(u->b, task.i, cg_i64(u, chunk), ""),
                 next = LLVMBuildNSWAdd(u->b, start, cg_i64(u, chunk), "");
    LLVMValueRef end = cg_min(e, next, e->extent);
    cg_loop_begin(e, &loop, start, end, e->lanes, true);
    cg_var *v = cg_var_new(e, loop.i, IR_MAX_TENSOR_BYTES);
    v->lane = true;
    at[ir_fastest(e->kernel->outputs.items[0])] = cg_of_var(v);
    emit_element(e, at);
    cg_loop_end(e, &loop);
    cg_loop_end(e, &task);
}

void cg_emit_map(cg_emitter *e, const sched_contraction *part)
{
    (void)part;
    const ir_value *output = ir_space(e->kernel->outputs.items[0]);
    const sched_map *m = &e->kernel->schedule->map;
    if (m->polymorphic) {
        emit_polymorphic(e);
        return;
    }
    for (int i = 0; i < e->kernel->outputs.count; i++) {
        int left = MOST_LOOKS;
        find_reduces(e, e->kernel->outputs.items[i], &left);
    }
    e->lanes = m->lanes;
    cg_index at[IR_MAX_RANK];
    for (int d = 0; d < IR_MAX_RANK; d++)
        at[d] = cg_of(0);
    cg_loop loop;
    cg_loop_begin(e, &loop, e->lo, e->hi, 1, true);
    cg_index task = cg_of_var(cg_var_new(e, loop.i, e->kernel->schedule->tasks - 1)),
             chunk = cg_of(0), x;
    if (m->chunks > 1)
        cg_divide(e, &task, m->chunks, &task, &chunk);
    for (int i = m->parallel - 1; i >= 0; i--) {
        if (i)
            cg_divide(e, &task, m->extent[i], &task, &x);
        set_index(m, i, i ? &x : &task, at, output);
    }
    emit_loops(e, m, m->parallel, output, &chunk, at);
    cg_loop_end(e, &loop);
}
