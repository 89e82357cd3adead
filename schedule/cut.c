/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * SCATTER, CUMULATIVE, SORT and CHECK: kernels of ops that cannot be computed element by element.
 * Tasks divide the dimensions along which the result's parts are independent; lanes run along the
 * innermost dimension in storage if it is one of these. */
#include "schedule/internal.h"
#include "ir/tuning.h"

static int lanes_for(sched_job *j, ir_dtype t, int64_t extent)
{
    int lanes = sched_width(j->level->vector_bytes, ir_dtypes[t].bytes);
    return extent < lanes ? (int)(extent ? extent : 1) : lanes;
}

/* Finds the dimensions that may be divided; returns the number of elements that are moved. */
static int64_t find_free(const ir_inst *anchor, sched_cut *c)
{
    const ir_type *t = &anchor->result[0]->type;
    bool touched[IR_MAX_RANK] = {false};
    int64_t work = ir_count(t);
    if (anchor->op == IR_OP_scatter) {
        const struct ir_attrs_scatter *a = IR_ATTR(anchor, scatter);
        for (int i = 0; i < a->dims.n; i++)
            touched[a->dims.v[i]] = true;
        /* Lanes run along a dimension of the slices: along a batch dimension each lane would need
         * an index of its own. */
        int fastest = ir_fastest(anchor->result[0]);
        if (fastest >= 0 && fastest < a->batch)
            touched[fastest] = true;
        work += ir_count(&anchor->operand[2]->type);
    } else {
        touched[IR_ATTR(anchor, cumulative)->axis] = true;
    }
    for (int d = 0; d < t->rank; d++)
        c->free[d] = !touched[d];
    return work;
}

bool sched_applies_scatter(sched_job *j, const sched_contraction *c)
{
    (void)c;
    return j->kernel->anchor->op == IR_OP_scatter;
}

bool sched_applies_cumulative(sched_job *j, const sched_contraction *c)
{
    (void)c;
    return j->kernel->anchor->op == IR_OP_cumulative;
}

void sched_choose_cut(sched_job *j, sched_contraction *unused)
{
    (void)unused;
    sched_cut *c = &j->out->cut;
    const ir_inst *anchor = j->kernel->anchor;
    const ir_value *output = anchor->result[0];
    const ir_type *t = &output->type;
    int64_t work = find_free(anchor, c), tasks = 1;
    int fastest = ir_fastest(output);
    c->lane = fastest >= 0 && c->free[fastest] ? fastest : -1;
    c->lanes = c->lane < 0 ? 1 : lanes_for(j, t->dtype, t->dim[c->lane]);
    if (anchor->op == IR_OP_scatter && c->lane < 0 && fastest >= 0)
        c->copy_lanes = lanes_for(j, t->dtype, t->dim[fastest]);
    if (work <= IR_TUNING(CUT_SMALL))
        return;
    for (int d = 0; d < t->rank && tasks < IR_TUNING(CUT_TASKS); d++)
        if (c->free[d] && d != c->lane && t->dim[d] != 1) {
            c->parallel[d] = true;
            tasks *= t->dim[d];
        }
    if (c->lane < 0 || tasks >= IR_TUNING(CUT_TASKS))
        return;
    int64_t each = sched_ceil_div(t->dim[c->lane], sched_ceil_div(IR_TUNING(CUT_TASKS), tasks));
    each = each < IR_TUNING(CUT_CHUNK) ? IR_TUNING(CUT_CHUNK) : each;
    c->chunk = sched_ceil_div(each, c->lanes) * c->lanes;
}

const char *sched_complete_cut(sched_job *j, sched_contraction *unused)
{
    (void)unused;
    sched_kernel *s = j->out;
    sched_cut *c = &s->cut;
    const ir_inst *anchor = j->kernel->anchor;
    const ir_value *output = anchor->result[0];
    const ir_type *t = &output->type;
    find_free(anchor, c);
    if (c->lane >= 0 && (c->lane != ir_fastest(output) || !c->free[c->lane]))
        return "lane is not the innermost dimension in storage, or parts depend on each other "
               "along it";
    if (c->lanes < 1 || c->lanes > SCHED_MOST_LANES ||
        (c->lane < 0 ? c->lanes != 1 : ir_count(t) && c->lanes > t->dim[c->lane]))
        return "lanes is not 1 to 64, or exceeds the extent of the dimension";
    if (anchor->op == IR_OP_scatter && c->lane < 0 && ir_fastest(output) >= 0 && ir_count(t) &&
        (c->copy_lanes < 1 || c->copy_lanes > SCHED_MOST_LANES ||
         c->copy_lanes > t->dim[ir_fastest(output)]))
        return "copy_lanes is not 1 to 64, or exceeds the extent of the innermost dimension";
    s->tasks = ir_count(t) ? 1 : 0;
    for (int d = 0; d < t->rank; d++) {
        if (c->parallel[d] && (!c->free[d] || d == c->lane))
            return "parallel names the lane dimension, or one along which parts depend on each "
                   "other";
        s->tasks *= c->parallel[d] ? t->dim[d] : 1;
    }
    if (c->chunk < 0 || (c->chunk && (c->lane < 0 || c->chunk % c->lanes)))
        return "chunk is not a multiple of lanes, or there is no lane dimension";
    c->chunks = c->chunk ? sched_ceil_div(t->dim[c->lane], c->chunk) : 1;
    s->tasks *= c->chunks;
    return NULL;
}

/* ---- Ops whose tasks follow from the op ---- */

bool sched_applies_sort(sched_job *j, const sched_contraction *c)
{
    (void)c;
    return j->kernel->anchor->op == IR_OP_sort;
}

const char *sched_complete_sort(sched_job *j, sched_contraction *c)
{
    (void)c;
    j->out->tasks = ir_standalone_tasks(j->kernel->anchor);
    return NULL;
}

bool sched_applies_check(sched_job *j, const sched_contraction *c)
{
    (void)j, (void)c;
    return true;
}

const char *sched_complete_check(sched_job *j, sched_contraction *c)
{
    (void)c;
    const ir_inst *anchor = j->kernel->anchor;
    const ir_ints *dims = anchor->op == IR_OP_gather ? &IR_ATTR(anchor, gather)->dims
                                                     : &IR_ATTR(anchor, scatter)->dims;
    j->out->tasks = dims->n ? ir_count(&anchor->operand[1]->type) / dims->n : 0;
    return NULL;
}

bool sched_applies_loop(sched_job *j, const sched_contraction *c)
{
    (void)j, (void)c;
    return true;
}

bool sched_applies_branch(sched_job *j, const sched_contraction *c)
{
    (void)j, (void)c;
    return true;
}

void sched_choose_none(sched_job *j, sched_contraction *c)
{
    (void)j, (void)c;
}

double sched_cost_none(const sched_job *j, const sched_contraction *c)
{
    (void)j, (void)c;
    return 0;
}

const char *sched_complete_none(sched_job *j, sched_contraction *c)
{
    (void)j, (void)c;
    return NULL;
}
