/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * How each kernel runs on one CPU level: decided here, printed, read back, and obeyed by codegen,
 * which decides nothing. The stage `schedule` runs once per level, after `plan` and before code is
 * emitted; docs/schedule.md describes the text form.
 *
 * The terms are those of BLIS. A contraction multiplies a matrix of M rows by one of N columns; K
 * is summed. Lanes run along one axis of the result, N: the operand with a stride along it is
 * loaded as vectors, the other one is broadcast, an element at a time. Axes of the result along
 * which the vector operand has stride 0 are M: one vector serves all their rows. The remaining axes
 * are batch axes, which are loops. */
#ifndef GRADC_SCHEDULE_SCHEDULE_H
#define GRADC_SCHEDULE_SCHEDULE_H

#include "ir/kernels.h"

/* Features of a level that schedules depend on. */
enum {
    SCHED_HAS_PMADDWD = 1, /* x86's multiply-adds of pairs of 16 bits */
    SCHED_HAS_VNNI = 2,    /* vpdpbusd, for all registers of the level */
    SCHED_HAS_BF16 = 4,    /* vdpbf16ps, for all registers of the level */
    SCHED_HAS_VNNI_INT8 = 8, /* vpdpbssd, vpdpbsud, vpdpbuud, the same */
    SCHED_HAS_AMX_INT8 = 16, /* tiles of bytes, of bf16 */
    SCHED_HAS_AMX_BF16 = 32,
};

/* A description of a CPU level. */
typedef struct sched_level {
    const char *name;  /* as --cpu takes it */
    int vector_bytes;  /* of a vector register */
    int registers;     /* vector registers */
    unsigned features; /* SCHED_HAS_* */
    /* Whether OpenBLAS may be called; asked only for large contractions. NULL: no. */
    bool (*has_blas)(void *user);
    void *user;
} sched_level;

typedef enum sched_strategy {
#define STRATEGY(NAME, text, kind, applies, choose, cost, complete, emit, doc) SCHED_##NAME,
#include "schedule/strategies.def"
    SCHED_STRATEGIES
} sched_strategy;
extern const char *const sched_strategy_names[SCHED_STRATEGIES];

/* ---- Contractions ---- */

/* Dot-product instructions: the rows of dots.def. */
typedef enum sched_dot {
#define DOT(NAME, text, kind, emit, of, sum, group, registers, needs, doc) SCHED_DOT_##NAME,
#include "schedule/dots.def"
    SCHED_DOTS
} sched_dot;
typedef struct sched_dot_info {
    sched_dot dot;
    const char *name;
    ir_dtype of, sum; /* I8: of u8 too */
    bool tiles; /* kind tile: registers of SCHED_AMX rows and as many lanes, and so many groups */
    int group, registers;
    unsigned needs;
} sched_dot_info;
enum { SCHED_AMX = 16, SCHED_AMX_TILE = 2 * SCHED_AMX /* most rows and lanes of a tile */ };
extern const sched_dot_info sched_dots[SCHED_DOTS];

enum { SCHED_AXES = 2 * IR_MAX_RANK };
/* Limits of the emitters. */
enum {
    SCHED_MOST_ROWS = 12,      /* MR of BLOCK and DOT without AMX, … */
    SCHED_MOST_PLACES = 8,     /* … if the rows' offsets are read from a table */
    SCHED_MOST_TILE_ROWS = 32, /* MR of TILE */
    SCHED_MOST_UNROLL = 16,
    SCHED_MOST_LANES = 64      /* of a map */
};

/* A loop of a contraction. */
typedef struct sched_axis {
    int64_t extent, stride[2]; /* of the operands, in elements of storage */
    int out;                   /* dimension of the result; -1: summed */
    /* Factor of this axis' index in the result's: features are groups * features of a group. */
    int64_t times;
    int64_t out_stride;        /* in the result's storage */
    /* Of result axes: elements of a tile, and how many tiles there are. */
    int64_t tile, tiles;
} sched_axis;

/* A contraction, or one part of it: an input-dilated convolution has a part for each phase of its
 * results, with taps of its own. */
typedef struct sched_contraction {
    /* Given, set by sched_nest. Offsets of the views are those of the part. */
    ir_view operand[2];
    ir_dtype of[2]; /* the operands' types */
    ir_dtype dtype; /* of products and sums */
    int64_t first[IR_MAX_RANK]; /* index in the result at which the axes begin */
    int naxes, nk;
    sched_axis axis[SCHED_AXES]; /* of the result, by ascending stride in its storage */
    sched_axis k[SCHED_AXES];    /* summed, from slow to fast */
    int lane;                    /* the axis that is N, -1: none */
    int vector; /* the operand with a stride along it */
    int row[SCHED_AXES], nrows;  /* the axes that are M, innermost first */
    int width;                   /* lanes of a register */
    /* Decided, by `choose` or a file, as is axis[row].tile. `complete` then computes what follows
     * and puts the summed axes in order (sched_order_k). */
    sched_strategy strategy;
    int64_t order[SCHED_AXES]; /* of the summed axes, from slow to fast, as the op numbers them */
    int norder;
    int NR, MR;                  /* lanes and rows of a register tile */
    int64_t MC, NC, KC;          /* rows, lanes and products of a block */
    bool packs; /* BLOCK: the vector operand is copied to a packed panel */
    int unroll; /* of the innermost summed axis; DOT: in groups */
    sched_dot dot; /* DOT: the instruction */
    /* Expressions after the sum are emitted once, in a loop over rows. */
    bool epilogue_loop;
    /* What follows. */
    int ragged;                  /* TILE: the row axis whose last tile is smaller, -1: none */
    int64_t rows; /* M: the product of the row axes' extents; 1 without any */
    /* BLOCK: the offset of row r of the broadcast operand is row_stride * r; else it is read from a
     * table. */
    bool affine;
    int64_t row_stride;
    /* BLOCK: summed axes before this one are loops around the blocks; … */
    int split;
    int64_t chunk; /* … this one is cut into chunks of this size */
    bool one_block; /* KC is K */
    int64_t tasks, tasks_before; /* of this part, and of the parts before */
} sched_contraction;

/* A contraction as a product of two matrices: the axes of each of M, N and K collapsed into one. */
typedef struct sched_product {
    int64_t rows, lanes, products;
    int64_t row_out; /* stride of rows in the result */
    int64_t row, step[2], lane; /* strides in the operands: along M, K and N */
} sched_product;
/* False if the strides do not allow it. order: of the summed axes; NULL: as they are. */
bool sched_product_of(const sched_contraction *c, const int64_t *order, sched_product *p);

/* ---- Maps ---- */

typedef struct sched_map {
    bool flat; /* all elements are one loop */
    /* The code serves any number of elements that is a multiple of the lanes. */
    bool polymorphic;
    int width; /* lanes of a register for the widest output */
    int lanes; /* of the innermost loop; 1: lanes may run inside a reduction */
    int accumulators; /* registers of a reduction whose lanes run along the reduced dimension */
    int nloops; /* outermost first; the last one is vectorised unless lanes is 1 */
    int dim[IR_MAX_RANK]; /* of the result; -1: all dimensions collapsed */
    int64_t extent[IR_MAX_RANK];
    int parallel; /* loops that tasks divide, from the outermost on */
    int64_t chunk, chunks; /* elements of the last loop in a task; 0, 1: all */
} sched_map;

/* ---- Kernels that are divided along dimensions of their result ---- */

typedef struct sched_cut {
    bool free[IR_MAX_RANK]; /* dimensions along which parts of the result are independent */
    bool parallel[IR_MAX_RANK]; /* those that tasks divide */
    int lane; /* dimension along which lanes run; -1: none */
    int lanes;
    /* Of a scatter's copy of its operand, along the innermost dimension, if lane is -1. */
    int copy_lanes;
    int64_t chunk, chunks; /* elements of `lane` in a task; 0, 1: all */
} sched_cut;

/* ---- Kernels ---- */

typedef struct sched_kernel {
    sched_strategy strategy; /* of a contraction: that of its first part */
    /* 0: the outputs are empty. Of a polymorphic map: see cg_map_tasks. */
    int64_t tasks;
    /* accumulators: of reductions in expressions, if lanes run along the reduced dimension. taps:
     * the largest windows whose loops are unrolled, in elements. */
    int accumulators, taps;
    sched_contraction *part;
    int nparts;
    sched_map map;
    sched_cut cut;
} sched_kernel;

/* Schedules all kernels of m (ir_kernel.schedule). wishes: NULL, or what was read from a schedule
 * file; spec: the module's number in it. False and reported, with the line, when one of the wishes
 * cannot be obeyed. */
struct sched_wishes;
bool sched_module(ir_module *m, base_arena *arena, const sched_level *level,
                  const struct sched_wishes *wishes, int spec);
/* After all modules of the level: false and reported when there is no kernel for a line. */
bool sched_all_used(base_ctx *ctx, const struct sched_wishes *wishes, const char *level);

/* ---- Text (text.c); docs/schedule.md ---- */

/* The decisions, in one line without a newline. Equal texts mean equal code. */
const char *sched_text(base_arena *arena, const sched_kernel *s);
/* All kernels of the functions of m, with what they compute as a comment. */
void sched_print(FILE *out, const ir_module *m, const sched_level *level, int spec);
/* Reads a schedule file; NULL and reported. */
struct sched_wishes *sched_read(base_ctx *ctx, base_arena *arena, const char *text, size_t size,
                                const char *file);
/* What a kernel computes: "dot_general f32[64,784] f32[784,512] -> f32[64,512], max add". */
const char *sched_describe(base_arena *arena, const ir_kernel *k);

int64_t sched_ceil_div(int64_t x, int64_t y);
/* Lanes of a register of `vector_bytes` for elements of `bytes`; narrow ones are computed in 32
 * bits. 1 on a machine without vectors. */
int sched_width(int vector_bytes, int bytes);

#endif
