/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * TILE: a task is one register tile, whose sums stay in registers from the first to the last
 * product. */
#include "schedule/internal.h"
#include "ir/tuning.h"

#include <math.h>

enum { MOST_VECTORS = 8 /* of a row of a tile */ };

bool sched_applies_tile(sched_job *j, const sched_contraction *c)
{
    (void)j, (void)c;
    return true;
}

static void cut(sched_axis *x, int64_t most)
{
    x->tiles = sched_ceil_div(x->extent, most);
    x->tile = sched_ceil_div(x->extent, x->tiles); /* equal tiles rather than a small remainder */
}

void sched_choose_tile(sched_job *j, sched_contraction *c)
{
    int registers = j->level->registers;
    int64_t vectors = c->lane < 0 ? 1 : sched_ceil_div(c->axis[c->lane].extent, c->width);
    int64_t wide = c->rows < IR_TUNING(TILE_FEW_ROWS) ? (registers - 2) / (c->rows + 1) : 2;
    wide = wide > MOST_VECTORS ? MOST_VECTORS : wide > vectors ? vectors : wide;
    c->NR = 1;
    if (c->lane >= 0) {
        int64_t extent = c->axis[c->lane].extent;
        int64_t lanes = c->width; /* a power of two of registers, or less than one */
        while (lanes * 2 <= wide * c->width && lanes * 2 <= extent)
            lanes *= 2;
        c->NR = (int)(extent < lanes ? extent : lanes);
        wide = lanes / c->width;
    }
    int64_t budget = (registers - wide - 2) / wide;
    budget = sched_at_most(budget, SCHED_MOST_TILE_ROWS);
    c->MR = 1;
    for (int i = 0; i < c->nrows && budget > 1; i++) { /* innermost first */
        sched_axis *x = &c->axis[c->row[i]];
        cut(x, budget);
        c->MR *= (int)x->tile;
        budget = sched_ceil_div(x->extent, x->tile) == 1 ? budget / x->tile : 1;
    }
    int64_t inner = c->nk ? c->k[c->order[c->nk - 1]].extent : 1;
    inner = inner ? inner : 1; /* an empty sum */
    c->unroll = inner <= SCHED_MOST_UNROLL && inner * c->MR <= IR_TUNING(TILE_STRAIGHT)
                    ? (int)inner
                    : (int)sched_at_most(IR_TUNING(TILE_UNROLL), SCHED_MOST_UNROLL);
}

/* The factor by which loads slow down the products. Where the operands of a tile exceed the nearest
 * cache, a cache line takes as long as the products of some rows with a line of lanes; longer where
 * strides along K are pages; and longer where the operands exceed the next cache. */
static double slowed_by_loads(const sched_contraction *c)
{
    int bytes = ir_dtypes[c->of[c->vector]].bytes;
    double vector = (double)(c->NR * bytes) / SCHED_LINE,
           scalar = c->nrows ? sched_broadcast_lines(c) : 0,
           all = (double)sched_products(c) * (vector + scalar) * SCHED_LINE, slow = 1;
    if (c->lane < 0)
        return 1;
    if (all > IR_TUNING(TILE_NEAR))
        slow = IR_TUNING(TILE_LINE) * (vector + scalar) / (c->MR * vector);
    if (sched_steps_pages(c))
        slow = fmax(slow, (double)IR_TUNING(TILE_PAGES) / c->MR);
    if (all > IR_TUNING(TILE_FAR))
        slow = fmax(slow, IR_TUNING(TILE_LARGE) / 100.0);
    return fmax(slow, 1);
}

/* The remainder along N counts in whole registers, as it is done in narrower tiles. Strided lanes
 * are gathered for each tile; few accumulators do not hide the latency of addition. */
double sched_cost_tile(const sched_job *j, const sched_contraction *c)
{
    (void)j;
    const sched_axis *lane = c->lane < 0 ? NULL : &c->axis[c->lane];
    double lanes = lane ? (double)(sched_ceil_div(lane->extent, c->width) * c->width) : 1,
           sums = c->MR * (double)sched_ceil_div(c->NR, c->width),
           slow = fmax(slowed_by_loads(c), IR_TUNING(TILE_SUMS) / sums);
    if (lane && lane->stride[c->vector] != 1 && lane->stride[c->vector] != 0)
        slow += (double)IR_TUNING(TILE_GATHER) / c->MR;
    return (double)sched_products(c) * lanes * (double)c->rows * slow;
}

const char *sched_complete_tile(sched_job *j, sched_contraction *c)
{
    (void)j;
    int64_t rows = 1;
    bool whole = true; /* the row axes so far are one tile each */
    c->ragged = -1;
    if (c->NR < 1 || c->NR > MOST_VECTORS * c->width || (c->lane < 0 && c->NR != 1))
        return "NR is not 1 lane to 8 vector registers, or not 1 without an axis for lanes";
    if (c->lane >= 0 && c->NR > c->axis[c->lane].extent)
        return "NR exceeds N";
    if (c->unroll < 1 || c->unroll > SCHED_MOST_UNROLL)
        return "unroll is not 1 to 16 products";
    if (c->lane >= 0) {
        c->axis[c->lane].tile = c->NR;
        c->axis[c->lane].tiles = sched_ceil_div(c->axis[c->lane].extent, c->NR);
    }
    for (int i = 0; i < c->nrows; i++) {
        sched_axis *x = &c->axis[c->row[i]];
        if (x->tile > 1 && !whole)
            return "MR cuts a row axis that is not the last one in the tile";
        x->tiles = sched_ceil_div(x->extent, x->tile);
        whole &= x->tiles == 1;
        if (x->extent % x->tile)
            c->ragged = c->row[i];
        rows *= x->tile;
    }
    if (rows > SCHED_MOST_TILE_ROWS)
        return "MR is more than 32 rows";
    sched_order_k(c);
    c->MR = (int)rows;
    c->tasks = 1;
    for (int i = 0; i < c->naxes; i++)
        c->tasks *= c->axis[i].tiles;
    return NULL;
}
