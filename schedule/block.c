/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * BLOCK: a task computes MC rows and NR lanes, a few registers wide. It loops over blocks of KC
 * products, so that a block's panel of the vector operand stays in the nearest cache while all rows
 * are multiplied by it. The panel is packed first where that pays. */
#include "schedule/internal.h"
#include "ir/tuning.h"

#include <stdlib.h>

/* Limits of a schedule file, which bound stack and code size. */
enum { MOST_MC = 4096, MOST_KC = 4096 };

bool sched_applies_block(sched_job *j, const sched_contraction *c)
{
    (void)j;
    return c->lane >= 0 && c->nk && c->axis[c->lane].stride[!c->vector] == 0 &&
           ir_gemm_packs(&(ir_gemm){c->rows, c->axis[c->lane].extent, sched_products(c)});
}

/* Vector registers in a row of a tile, one or two: two cost less unless they leave many lanes
 * unused. */
static int choose_vectors(const sched_contraction *c)
{
    int64_t vectors = sched_ceil_div(c->axis[c->lane].extent, c->width);
    return sched_ceil_div(vectors, 2) * 2 * 100 < vectors * IR_TUNING(BLOCK_ONE) ? 2 : 1;
}

/* Do all row axes of the broadcast operand collapse into one with a single stride? */
static bool rows_are_affine(const sched_contraction *c)
{
    int s = !c->vector;
    for (int i = 1; i < c->nrows; i++) {
        const sched_axis *x = &c->axis[c->row[i]], *inner = &c->axis[c->row[i - 1]];
        if (x->stride[s] != inner->stride[s] * inner->extent)
            return false;
    }
    return true;
}

static bool uses_amx(const sched_contraction *c)
{
    return c->strategy == SCHED_DOT && sched_dots[c->dot].tiles;
}

/* The largest number of rows of a tile. */
static int most_rows(const sched_contraction *c)
{
    if (uses_amx(c))
        return SCHED_AMX_TILE;
    return rows_are_affine(c) ? SCHED_MOST_ROWS : SCHED_MOST_PLACES;
}

/* Chooses MC, a multiple of the innermost row axis' extent where that is short, and divides it into
 * tiles of equal size of at most MR rows; by AMX, of MR rows. */
static void choose_rows(sched_contraction *c)
{
    int64_t inner = c->nrows > 1 ? c->axis[c->row[0]].extent : 1,
            MC = sched_at_most(IR_TUNING(MC), MOST_MC / 2); /* and a run of rows more */
    int64_t tasks = sched_ceil_div(c->axis[c->lane].extent, c->NC) * sched_batch(c);
    double work = (double)c->rows * (double)sched_products(c) * (double)(tasks * c->NC);
    while (work > IR_TUNING(BLOCK_SMALL) && MC > 4 * c->MR &&
           tasks * sched_ceil_div(c->rows, MC) < IR_TUNING(BLOCK_TASKS))
        MC /= 2;
    MC = sched_ceil_div(c->rows, sched_ceil_div(c->rows, MC));
    if (inner > 1 && inner <= MC)
        MC = sched_ceil_div(MC, inner) * inner;
    int64_t tiles = sched_ceil_div(MC, c->MR);
    if (!uses_amx(c))
        c->MR = (int)sched_ceil_div(MC, tiles);
    c->MC = inner > 1 && inner <= MC ? MC : tiles * c->MR;
}

/* If the vector operand is packed, only the broadcast operand's strides matter: the axis with the
 * smallest is innermost. */
static void choose_order(sched_contraction *c)
{
    int s = !c->vector;
    for (int i = 1; i < c->nk && c->packs; i++)
        for (int j = i;
             j > 0 && llabs(c->k[c->order[j]].stride[s]) > llabs(c->k[c->order[j - 1]].stride[s]);
             j--) {
            int64_t swap = c->order[j];
            c->order[j] = c->order[j - 1];
            c->order[j - 1] = swap;
        }
}

/* Collapses adjacent summed axes where the strides of both operands allow it. */
static void join_axes(sched_contraction *c)
{
    int n = 0;
    for (int i = 1; i < c->nk; i++) {
        sched_axis *x = &c->k[n], *y = &c->k[i];
        if (x->stride[0] == y->stride[0] * y->extent && x->stride[1] == y->stride[1] * y->extent) {
            y->extent *= x->extent;
            *x = *y;
        } else {
            c->k[++n] = *y;
        }
    }
    c->nk = n + 1;
}

/* The summed axis that KC cuts: those inside it fit into KC whole. *inner: the product of their
 * extents. */
static int split_at(const sched_contraction *c, int64_t KC, int64_t *inner)
{
    int split = c->nk - 1;
    *inner = 1;
    while (split > 0 && *inner * c->k[split].extent <= KC)
        *inner *= c->k[split--].extent;
    return split;
}

void sched_choose_blocks(sched_contraction *c, int vectors, int panels, int rows, int64_t KC,
                         int group)
{
    const sched_axis *lane = &c->axis[c->lane];
    int64_t most = sched_at_most(most_rows(c), c->rows);
    KC = sched_at_most(KC, MOST_KC);
    c->NR = vectors * c->width;
    c->NC = panels * c->NR;
    c->MR = rows > most ? (int)most : rows < 1 ? 1 : rows;
    choose_rows(c);
    c->packs = group > 1 || lane->stride[c->vector] != 1 || lane->extent % c->NC ||
               (c->MC >= IR_TUNING(BLOCK_PACK_ROWS) &&
                (sched_steps_pages(c) || sched_broadcast_lines(c) >= 1));
    choose_order(c);
    sched_contraction joined = *c;
    sched_order_k(&joined);
    join_axes(&joined);
    int64_t inner, split = split_at(&joined, KC, &inner), extent = joined.k[split].extent,
                   pieces = sched_ceil_div(extent * inner, KC);
    pieces = sched_at_most(pieces, extent);
    int64_t chunk = sched_ceil_div(extent, pieces);
    if (split == joined.nk - 1) /* all chunks but the last consist of whole groups */
        chunk = sched_ceil_div(chunk, group) * group;
    c->KC = sched_at_most(chunk, extent) * inner;
    c->unroll = (int)sched_at_most(IR_TUNING(BLOCK_UNROLL), SCHED_MOST_UNROLL);
}

void sched_choose_block(sched_job *j, sched_contraction *c)
{
    int vectors = choose_vectors(c);
    sched_choose_blocks(c, vectors, 1, (j->level->registers - vectors - 1) / vectors,
                        IR_TUNING(BLOCK_KC), 1);
}

double sched_cost_block(const sched_job *j, const sched_contraction *c)
{
    (void)j;
    double groups = (double)sched_ceil_div(c->rows, c->MC), k = (double)sched_products(c),
           rows = (double)(sched_ceil_div(c->rows, c->MR) * c->MR),
           lanes = (double)(sched_ceil_div(c->axis[c->lane].extent, c->NR) * c->NR);
    return k * lanes *
           (rows * IR_TUNING(BLOCK_COST) / 100 + (c->packs ? groups * IR_TUNING(BLOCK_PACK) : 0));
}

const char *sched_complete_block(sched_job *j, sched_contraction *c)
{
    c->NC = c->NR;
    return sched_complete_blocks(j, c);
}

const char *sched_complete_blocks(sched_job *j, sched_contraction *c)
{
    int64_t inner;
    if (!sched_applies_block(j, c))
        return "the contraction has too few rows, products or lanes for blocks";
    c->affine = rows_are_affine(c);
    c->row_stride = c->axis[c->row[0]].stride[!c->vector];
    if (c->NR % c->width || c->NR > 8 * c->width || c->NR < 1)
        return "NR is not 1 to 8 vector registers";
    if (c->MR < 1 || c->MR > most_rows(c) || c->MR > c->rows)
        return uses_amx(c) ? "MR exceeds 32 rows, or M"
                           : "MR is not 1 to 12 rows (8 where they have no common stride), or "
                             "exceeds M";
    if (c->MC < c->MR || c->MC > MOST_MC)
        return "MC is not MR to 4096 rows";
    if (c->KC < 1 || c->KC > MOST_KC)
        return "KC is not 1 to 4096 products";
    if (c->unroll < 1 || c->unroll > SCHED_MOST_UNROLL)
        return "unroll is not 1 to 16 products";
    sched_axis *lane = &c->axis[c->lane];
    lane->tile = c->NC;
    lane->tiles = sched_ceil_div(lane->extent, c->NC);
    if (!c->packs && (lane->stride[c->vector] != 1 || lane->extent % c->NC))
        return "the vector operand must be packed: its lanes are strided, or there is a remainder";
    sched_order_k(c);
    join_axes(c);
    c->split = split_at(c, c->KC, &inner);
    c->chunk = c->KC / inner;
    if (c->KC % inner || c->chunk > c->k[c->split].extent)
        return "KC is not a multiple of the inner summed axes' extents, or exceeds K";
    c->one_block = c->split == 0 && c->chunk == c->k[c->split].extent;
    c->tasks = lane->tiles * sched_ceil_div(c->rows, c->MC) * sched_batch(c);
    return NULL;
}
