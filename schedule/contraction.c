/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shared by all contraction strategies: the order of the summed axes, the kind of epilogue, and the
 * table of dot-product instructions. */
#include "schedule/internal.h"
#include "ir/tuning.h"

#include <stdlib.h>

enum { IS_vector = 0, IS_tile = 1 };

/* clang-format off */
const sched_dot_info sched_dots[SCHED_DOTS] = {
#define DOT(NAME, text, kind, emit, of, sum, group, registers, needs, doc) \
    [SCHED_DOT_##NAME] = {SCHED_DOT_##NAME, text, IR_##of, IR_##sum, IS_##kind, group, \
                          registers, needs},
#include "schedule/dots.def"
};
/* clang-format on */

int64_t sched_ceil_div(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

int sched_width(int vector_bytes, int bytes)
{
    int lanes = vector_bytes / (bytes < 4 ? 4 : bytes);
    return lanes ? lanes : 1;
}

int64_t sched_products(const sched_contraction *c)
{
    int64_t n = 1;
    for (int i = 0; i < c->nk; i++)
        n *= c->k[i].extent;
    return n;
}

bool sched_steps_pages(const sched_contraction *c)
{
    enum { PAGE = 4096 };
    int64_t bytes = ir_dtypes[c->of[c->vector]].bytes;
    bool moves = false;
    for (int i = 0; i < c->nk; i++) {
        int64_t step = c->k[i].stride[c->vector] * bytes;
        if (c->k[i].extent > 1 && step % PAGE != 0)
            return false;
        moves |= c->k[i].extent > 1 && step != 0;
    }
    return moves;
}

double sched_broadcast_lines(const sched_contraction *c)
{
    int s = !c->vector, bytes = ir_dtypes[c->of[s]].bytes;
    int64_t step = INT64_MAX;
    for (int i = 0; i < c->nk; i++) {
        int64_t stride = llabs(c->k[i].stride[s]);
        if (c->k[i].extent > 1 && stride < step)
            step = stride;
    }
    if (step < SCHED_LINE / bytes)
        return (double)(c->MR * step * bytes) / SCHED_LINE;
    return c->axis[c->row[0]].stride[s] == 1 ? (double)sched_ceil_div(c->MR * bytes, SCHED_LINE)
                                             : c->MR;
}

int64_t sched_batch(const sched_contraction *c)
{
    int64_t n = 1;
    for (int i = 0; i < c->naxes; i++)
        n *= i == c->lane || c->axis[i].stride[c->vector] == 0 ? 1 : c->axis[i].extent;
    return n;
}

/* Chooses the innermost summed axis: the one with the smallest strides among those that are not
 * short; the longest if all are. */
static void choose_order(sched_contraction *c)
{
    c->norder = c->nk;
    for (int i = 0; i < c->nk; i++)
        c->order[i] = i;
    for (int i = 0; i + 1 < c->nk; i++) {
        const sched_axis *x = &c->k[c->order[i]], *y = &c->k[c->order[c->nk - 1]];
        bool nearer =
            llabs(x->stride[0]) + llabs(x->stride[1]) < llabs(y->stride[0]) + llabs(y->stride[1]);
        if (y->extent < IR_TUNING(K_SHORT) ? x->extent > y->extent
                                           : nearer && x->extent >= IR_TUNING(K_SHORT)) {
            int64_t swap = c->order[i];
            c->order[i] = c->order[c->nk - 1];
            c->order[c->nk - 1] = swap;
        }
    }
}

void sched_order_k(sched_contraction *c)
{
    sched_axis k[SCHED_AXES];
    for (int i = 0; i < c->nk; i++)
        k[i] = c->k[c->order[i]];
    for (int i = 0; i < c->nk; i++)
        c->k[i] = k[i];
}

/* Counts instructions from the anchor's result to v; stops at IR_TUNING(EPILOGUE_LONG). */
static int epilogue_work(const ir_kernel *k, const ir_value *v)
{
    const ir_inst *inst = v->def;
    if (!inst || inst == k->anchor || (v->kernel && v->kernel != k) || inst->op == IR_OP_constant)
        return 0;
    int work = ir_has_trait(inst, IR_FUNCTION) ? IR_TUNING(EPILOGUE_LONG)
                                               : !(ir_ops[inst->op].traits & IR_MOVES);
    for (int i = 0; i < inst->noperands && work <= IR_TUNING(EPILOGUE_LONG); i++)
        work += epilogue_work(k, inst->operand[i]);
    return work;
}

void sched_contraction_defaults(sched_job *j, sched_contraction *c)
{
    c->epilogue_loop = false;
    for (int i = 0; i < j->kernel->outputs.count; i++)
        c->epilogue_loop |=
            epilogue_work(j->kernel, j->kernel->outputs.items[i]) >= IR_TUNING(EPILOGUE_LONG);
    choose_order(c);
}
