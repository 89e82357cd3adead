/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * BLAS: a task is one call of OpenBLAS for MC rows and NC lanes of the result, where that was
 * measured to be faster than blocks (docs/kernels.md has the figures). The sums are written to the
 * storage of the first output; if there is an epilogue, it is a loop that reads them back. */
#include "schedule/internal.h"
#include "ir/tuning.h"

enum { MEASURED_VECTOR_BYTES = 32 }; /* the level of the measurements */

/* Collapses the axes, innermost first, into one and gives its extent and strides; false if their
 * strides do not allow it. */
static bool as_one(const sched_axis *const *axis, int n, int64_t *extent, int64_t stride[3])
{
    *extent = 1;
    for (int i = 0; i < n; i++) {
        const int64_t here[3] = {axis[i]->stride[0], axis[i]->stride[1], axis[i]->out_stride};
        for (int s = 0; s < 3; s++) {
            if (i == 0)
                stride[s] = here[s];
            else if (here[s] != stride[s] * *extent)
                return false;
        }
        *extent *= axis[i]->extent;
    }
    return n > 0;
}

bool sched_product_of(const sched_contraction *c, const int64_t *order, sched_product *p)
{
    const sched_axis *row[SCHED_AXES], *k[SCHED_AXES];
    int64_t stride[3];
    int scalar = !c->vector;
    if (c->lane < 0 || c->axis[c->lane].stride[scalar])
        return false;
    for (int i = 0; i < c->nrows; i++)
        row[i] = &c->axis[c->row[i]];
    for (int i = 0; i < c->nk; i++)
        k[i] = &c->k[order ? order[c->nk - 1 - i] : c->nk - 1 - i];
    if (!as_one(row, c->nrows, &p->rows, stride))
        return false;
    p->row = stride[scalar];
    p->row_out = stride[2];
    if (!as_one(k, c->nk, &p->products, stride))
        return false;
    p->step[0] = stride[0];
    p->step[1] = stride[1];
    p->lanes = c->axis[c->lane].extent;
    p->lane = c->axis[c->lane].stride[c->vector];
    return true;
}

/* What BLAS requires: one stride is 1, the other is at least the extent of the contiguous axis. */
static bool is_matrix(int64_t x, int64_t y, int64_t nx, int64_t ny)
{
    return (y == 1 && x >= ny && x <= INT32_MAX) || (x == 1 && y >= nx && y <= INT32_MAX);
}

/* The first output's storage can hold the sums: no operand and no other output shares it. */
static bool is_free(const ir_kernel *k)
{
    const ir_value *output = k->outputs.items[0];
    for (int i = 0; i < k->outputs.count; i++)
        if (k->outputs.items[i] != output && ir_share_place(k->outputs.items[i], output))
            return false;
    for (int i = 0; i < k->reads.count; i++)
        if (ir_share_place(k->reads.items[i], output))
            return false;
    return true;
}

static bool is_possible(sched_job *j, const sched_contraction *c, const int64_t *order)
{
    const ir_kernel *k = j->kernel;
    sched_product p;
    if (j->out->nparts > 1 || (c->dtype != IR_F32 && c->dtype != IR_F64) || c->of[0] != c->dtype ||
        c->of[1] != c->dtype || k->outputs.items[0]->type.dtype != c->dtype ||
        !sched_product_of(c, order, &p))
        return false;
    return p.lanes <= INT32_MAX && p.products <= INT32_MAX && p.row_out >= p.lanes &&
           p.row_out <= INT32_MAX && is_free(k) &&
           is_matrix(p.row, p.step[!c->vector], p.rows, p.products) &&
           is_matrix(p.step[c->vector], p.lane, p.products, p.lanes);
}

bool sched_applies_blas(sched_job *j, const sched_contraction *c)
{
    sched_product p;
    return j->level->has_blas && j->level->vector_bytes == MEASURED_VECTOR_BYTES &&
           sched_product_of(c, c->order, &p) && p.rows >= IR_TUNING(BLAS_ROWS) &&
           p.products >= IR_TUNING(BLAS_PRODUCTS) && p.lanes >= IR_TUNING(BLAS_LANES) &&
           p.rows * p.lanes >= IR_TUNING(BLAS_RESULTS) && is_possible(j, c, c->order) &&
           j->level->has_blas(j->level->user);
}

static int64_t piece(int64_t extent, int64_t about, int64_t unit)
{
    int64_t each = sched_ceil_div(extent, sched_ceil_div(extent, about));
    return sched_ceil_div(each, unit) * unit;
}

void sched_choose_blas(sched_job *j, sched_contraction *c)
{
    (void)j;
    int64_t about = IR_TUNING(BLAS_NC), lanes = c->axis[c->lane].extent;
    while (about > IR_TUNING(BLAS_LEAST_NC) &&
           sched_ceil_div(c->rows, IR_TUNING(BLAS_MC)) * sched_ceil_div(lanes, about) <
               IR_TUNING(BLAS_TASKS))
        about /= 2;
    c->MC = piece(c->rows, IR_TUNING(BLAS_MC), 1);
    c->NC = piece(lanes, about, 2 * c->width);
}

/* BLAS applies only where it was measured to be the fastest. */
double sched_cost_blas(const sched_job *j, const sched_contraction *c)
{
    (void)j, (void)c;
    return 0;
}

const char *sched_complete_blas(sched_job *j, sched_contraction *c)
{
    if (!j->level->has_blas || !j->level->has_blas(j->level->user))
        return "OpenBLAS is not available, or calling it is disabled";
    if (!is_possible(j, c, c->order))
        return "the contraction is not a matrix product of f32 or f64 that BLAS can compute";
    if (c->MC < 1 || c->NC < 1 || c->NC % (2 * c->width))
        return "MC is less than 1, or NC is not a multiple of two vector registers";
    sched_order_k(c);
    sched_axis *lane = &c->axis[c->lane];
    lane->tile = c->NC;
    lane->tiles = sched_ceil_div(lane->extent, c->NC);
    c->tasks = lane->tiles * sched_ceil_div(c->rows, c->MC) * sched_batch(c);
    return NULL;
}
