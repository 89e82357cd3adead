/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * MAP and ROW: loops over the elements of the outputs around their expressions. The innermost loop
 * is vectorised; tasks divide the loops outside of it, or chunks of it. Where an expression reduces
 * the innermost dimension in storage, lanes run along that one instead (ROW). */
#include "schedule/internal.h"
#include "ir/tuning.h"

enum { MOST_TAPS = 1024 }; /* limit of a schedule file, which bounds code size */

/* Properties of a map's expressions. */
typedef struct sched_traits {
    const sched_job *j;
    BASE_LIST(const ir_value *) seen;
    bool flat; /* only elementwise ops on values of equal storage order: one loop is enough */
    bool plain; /* no other ops at all, not even on values that are the same for all elements */
    bool row; /* reduces the innermost dimension of an operand */
    bool column; /* reduces other dimensions */
    bool window; /* reduces windows */
    double work; /* for a result element */
} traits;

static void study_reduce(traits *t, const ir_inst *inst)
{
    const ir_ints *axes = &IR_ATTR(inst, reduce)->axes;
    int fastest = ir_nearest(inst->operand[0]);
    bool inner = false;
    for (int i = 0; i < axes->n; i++)
        inner |= axes->v[i] == fastest;
    *(inner ? &t->row : &t->column) = true;
}

static void study(traits *t, const ir_value *output, const ir_value *v, double times)
{
    for (int i = 0; i < t->seen.count; i++)
        if (t->seen.items[i] == v)
            return;
    BASE_PUSH(t->j->arena, &t->seen, v);
    if (ir_is_read(t->j->kernel, v)) {
        t->work += times;
        t->flat = t->flat && (v->type.rank == 0 || ir_same_storage(v, output));
        return;
    }
    const ir_inst *inst = v->def;
    if (inst->op == IR_OP_constant)
        return;
    bool to_scalar = inst->op == IR_OP_broadcast && inst->operand[0]->type.rank == 0;
    bool simple = to_scalar || ir_has_trait(inst, IR_ELEMENTWISE);
    t->plain = t->plain && simple;
    t->flat = t->flat && (simple || v->type.rank == 0);
    if (inst->op == IR_OP_reduce)
        study_reduce(t, inst);
    t->window |= ir_has_trait(inst, IR_OVER_WINDOW);
    times *= ir_cost_reads(inst, 0);
    t->work += times;
    for (int i = 0; i < inst->noperands; i++)
        study(t, output, inst->operand[i], times);
}

/* The pieces of a concat are contiguous: dimensions outside its axis have extent 1. */
static bool pieces_in_row(const ir_value *output)
{
    for (int i = 0; i < output->type.rank; i++) {
        int d = output->order.n ? (int)output->order.v[i] : i;
        if (d == IR_ATTR(output->def, concat)->axis)
            return true;
        if (output->type.dim[d] != 1)
            return false;
    }
    return false;
}

static void study_output(traits *t, const ir_value *space, const ir_value *output)
{
    if (!ir_in_pieces(output)) {
        study(t, space, output, 1);
        return;
    }
    t->plain = false;
    t->flat = t->flat && pieces_in_row(output);
    for (int i = 0; i < output->def->noperands; i++)
        study(t, space, output->def->operand[i], 1);
}

/* The traits of the job's kernel, computed once. */
static const traits *traits_of(sched_job *j)
{
    const ir_kernel *k = j->kernel;
    if (!j->traits) {
        j->traits = base_new(j->arena, traits);
        *j->traits = (traits){.j = j, .flat = true, .plain = true, .work = 1};
        for (int i = 0; i < k->outputs.count; i++)
            study_output(j->traits, ir_space(k->outputs.items[0]), k->outputs.items[i]);
    }
    return j->traits;
}

static int width_of(const sched_job *j)
{
    int size = 4;
    for (int i = 0; i < j->kernel->outputs.count; i++) {
        int here = ir_dtypes[j->kernel->outputs.items[i]->type.dtype].bytes;
        size = here > size ? here : size;
    }
    return sched_width(j->level->vector_bytes, size);
}

static int choose_lanes(sched_job *j, const ir_value *output, const traits *t)
{
    int fastest = ir_fastest(output), lanes = width_of(j),
        most = t->column                        ? IR_TUNING(MAP_COLUMN) * lanes
               : t->work < IR_TUNING(MAP_HEAVY) ? 2 * lanes
                                                : lanes;
    int64_t extent = t->flat       ? ir_count(&output->type)
                     : fastest < 0 ? 1
                                   : output->type.dim[fastest];
    if (t->row)
        return 1;
    while (lanes < most && lanes < SCHED_MOST_LANES && lanes * 2 <= extent)
        lanes *= 2;
    return extent < lanes ? (int)(extent < 1 ? 1 : extent) : lanes;
}

/* Sets the loops, outermost first. */
static void find_loops(sched_map *m, const ir_value *output)
{
    m->nloops = 0;
    if (m->flat) {
        m->nloops = 1;
        m->dim[0] = -1;
        m->extent[0] = ir_count(&output->type);
    }
    for (int i = 0; !m->flat && i < output->type.rank; i++) {
        int d = output->order.n ? (int)output->order.v[i] : i;
        if (output->type.dim[d] != 1) {
            m->dim[m->nloops] = d;
            m->extent[m->nloops++] = output->type.dim[d];
        }
    }
    if (m->nloops == 0) { /* one element */
        m->nloops = 1;
        m->dim[0] = -1;
        m->extent[0] = 1;
    }
}

static void choose_tasks(sched_map *m, double work)
{
    int64_t outer = 1, last = m->extent[m->nloops - 1];
    int loops = m->lanes > 1 ? m->nloops - 1 : m->nloops;
    if (work <= IR_TUNING(MAP_SMALL))
        return;
    while (m->parallel < loops && outer < IR_TUNING(MAP_TASKS))
        outer *= m->extent[m->parallel++];
    if (m->lanes > 1 && outer < IR_TUNING(MAP_TASKS) && last > IR_TUNING(MAP_CHUNK))
        m->chunk = IR_TUNING(MAP_CHUNK);
}

bool sched_applies_row(sched_job *j, const sched_contraction *c)
{
    (void)c;
    return traits_of(j)->row;
}

bool sched_applies_map(sched_job *j, const sched_contraction *c)
{
    return !sched_applies_row(j, c);
}

void sched_choose_map(sched_job *j, sched_contraction *c)
{
    (void)c;
    sched_map *m = &j->out->map;
    const ir_value *output = j->kernel->outputs.items[0], *space = ir_space(output);
    const traits *t = traits_of(j);
    m->flat = t->flat;
    m->lanes = choose_lanes(j, space, t);
    j->out->taps = t->window ? j->out->taps : 0;
    /* A map of plain expressions is shape-polymorphic if there is no remainder: an optimizer's
     * update then is one kernel for many parameters. */
    m->polymorphic = t->flat && t->plain && m->lanes > 1 && ir_count(&output->type) % m->lanes == 0;
    find_loops(m, space);
    if (m->polymorphic)
        m->chunk = IR_TUNING(MAP_CHUNK);
    else
        choose_tasks(m, t->work * (double)ir_count(&space->type));
}

const char *sched_complete_map(sched_job *j, sched_contraction *c)
{
    (void)c;
    sched_map *m = &j->out->map;
    const ir_value *output = j->kernel->outputs.items[0], *space = ir_space(output);
    const traits *t = traits_of(j);
    int64_t count = ir_count(&space->type);
    if (m->flat && !t->flat)
        return "the kernel cannot be flat: its elements are not one loop";
    find_loops(m, space);
    m->width = width_of(j);
    if (m->lanes < 1 || m->lanes > SCHED_MOST_LANES || (t->row && m->lanes != 1) ||
        (m->lanes > 1 && m->lanes > m->extent[m->nloops - 1]))
        return "lanes is not 1 to 64 (1 in a row kernel), or exceeds the innermost loop";
    if (j->out->taps < 0 || j->out->taps > MOST_TAPS)
        return "taps is not 0 to 1024";
    if (j->out->accumulators < 1 || j->out->accumulators > SCHED_MOST_LANES)
        return "accumulators is not 1 to 64";
    if (m->polymorphic &&
        (!t->flat || !t->plain || m->lanes < 2 || count % m->lanes || !m->flat || m->parallel ||
         m->chunk < 1 || (m->chunk % m->lanes && count != m->lanes)))
        return "polymorphic needs a flat map of elementwise ops and a chunk that is a multiple of "
               "lanes";
    int loops = m->lanes > 1 ? m->nloops - 1 : m->nloops;
    if (m->parallel < 0 || m->parallel > loops)
        return "parallel exceeds the number of loops that tasks can divide";
    if (m->chunk < 0 || (m->chunk && !m->polymorphic && (m->lanes < 2 || m->chunk % m->lanes)))
        return "chunk is not a multiple of lanes, or there is only one lane";
    m->chunks =
        m->chunk && !m->polymorphic ? sched_ceil_div(m->extent[m->nloops - 1], m->chunk) : 1;
    j->out->tasks = count ? m->chunks : 0;
    for (int i = 0; i < m->parallel; i++)
        j->out->tasks *= m->extent[i];
    return NULL;
}
