/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * DOT: as BLOCK, with dot-product instructions, which sum a group of products in each lane
 * (dots.def). Both operands are packed. */
#include "schedule/internal.h"
#include "ir/tuning.h"

enum { DOT_LANES = 128 }; /* limit of a schedule file, which bounds stack and code size */

static bool is_of(ir_dtype x, ir_dtype of)
{
    return x == of || (of == IR_I8 && x == IR_U8);
}

static bool is_possible(const sched_job *j, const sched_contraction *c, const sched_dot_info *dot)
{
    ir_dtype sum = c->dtype == IR_BF16 ? IR_F32 : c->dtype; /* rounded after the last addition */
    return is_of(c->of[0], dot->of) && is_of(c->of[1], dot->of) && sum == dot->sum &&
           !(dot->needs & ~j->level->features) && c->width > 1 &&
           (!dot->tiles || c->rows >= SCHED_AMX);
}

/* The first instruction that the level supports for the types, or NULL. */
static const sched_dot_info *best(const sched_job *j, const sched_contraction *c)
{
    for (int i = 0; i < SCHED_DOTS; i++)
        if (is_possible(j, c, &sched_dots[i]))
            return &sched_dots[i];
    return NULL;
}

bool sched_applies_dot(sched_job *j, const sched_contraction *c)
{
    return best(j, c) && sched_applies_block(j, c);
}

/* Two by two tile registers of accumulators, so that each operand that is loaded is used twice, if
 * the rows that are then computed twice are few. */
static void choose_tiles(sched_contraction *c, const sched_dot_info *dot)
{
    int lanes = c->axis[c->lane].extent <= SCHED_AMX ? SCHED_AMX : SCHED_AMX_TILE, rows = SCHED_AMX;
    if (c->rows > 4 * SCHED_AMX_TILE ||
        (c->rows >= SCHED_AMX_TILE && sched_ceil_div(c->rows, SCHED_AMX) % 2 == 0))
        rows = SCHED_AMX_TILE;
    sched_choose_blocks(c, lanes / c->width, 1, rows,
                        IR_TUNING(DOT_BYTES) / ir_dtypes[dot->of].bytes, dot->group * SCHED_AMX);
    c->unroll = 1;
}

/* Rows of a tile whose accumulators fit into the registers beside a row's group and the panel's
 * vectors, which some instructions widen first. */
static int rows_of(const sched_job *j, const sched_dot_info *dot, int vectors)
{
    int sums = vectors * dot->registers;
    return (j->level->registers - sums - 2) / sums;
}

void sched_choose_dot(sched_job *j, sched_contraction *c)
{
    const sched_dot_info *dot = best(j, c);
    c->dot = dot->dot;
    if (dot->tiles) {
        choose_tiles(c, dot);
        return;
    }
    int64_t lanes = sched_ceil_div(c->axis[c->lane].extent, c->width);
    int vectors = lanes == 1 || rows_of(j, dot, 2) < IR_TUNING(DOT_ROWS) ? 1 : 2;
    int64_t panels =
                sched_ceil_div(sched_at_most(IR_TUNING(DOT_LANES), DOT_LANES), vectors * c->width),
            most = sched_ceil_div(lanes, vectors);
    sched_choose_blocks(c, vectors, (int)sched_at_most(panels, most), rows_of(j, dot, vectors),
                        IR_TUNING(DOT_BYTES) / ir_dtypes[dot->of].bytes, dot->group);
    c->unroll = (int)sched_at_most(IR_TUNING(DOT_UNROLL), SCHED_MOST_UNROLL);
}

/* An instruction does a group of products, so this never costs more than BLOCK. */
double sched_cost_dot(const sched_job *j, const sched_contraction *c)
{
    return sched_cost_block(j, c) / sched_dots[c->dot].group;
}

const char *sched_complete_dot(sched_job *j, sched_contraction *c)
{
    if (c->dot == SCHED_DOTS)
        return "`by` does not name an instruction";
    if (!is_possible(j, c, &sched_dots[c->dot]))
        return "the level does not support the instruction, or it is for other types";
    if (c->NR < 1 || c->NC < c->NR || c->NC % c->NR || c->NC > DOT_LANES)
        return "NC is not a positive multiple of NR, or exceeds 128 lanes";
    if (sched_dots[c->dot].tiles &&
        (c->NR % SCHED_AMX || c->NR > SCHED_AMX_TILE || c->MR % SCHED_AMX || c->unroll != 1))
        return "AMX needs an NR and an MR of 16 or 32, and unroll=1";
    c->packs = true;
    const char *wrong = sched_complete_blocks(j, c);
    if (wrong)
        return wrong;
    int group = sched_dots[c->dot].group;
    if (c->split == c->nk - 1 && c->chunk < c->k[c->split].extent && c->chunk % group)
        return "KC is not a multiple of the instruction's group";
    return NULL;
}
