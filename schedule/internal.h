/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the files of schedule/ share. */
#ifndef GRADC_SCHEDULE_INTERNAL_H
#define GRADC_SCHEDULE_INTERNAL_H

#include "base/map.h"
#include "schedule/schedule.h"

/* One kernel while it is scheduled. */
typedef struct sched_job {
    base_ctx *ctx;
    base_arena *arena;
    const sched_level *level;
    ir_kernel *kernel;
    sched_kernel *out;
    struct sched_traits *traits; /* map.c's, of a map; NULL: not known yet */
} sched_job;

/* The columns of strategies.def. c is a part of a contraction, NULL for other kernels. A strategy
 * applies, or not; choose decides; cost estimates the time of what was chosen, in
 * multiply-accumulates; complete checks decisions and computes what follows from them:
 * NULL, or why they cannot be obeyed, in words. */
typedef bool sched_applies(sched_job *j, const sched_contraction *c);
typedef void sched_choose(sched_job *j, sched_contraction *c);
typedef double sched_cost(const sched_job *j, const sched_contraction *c);
typedef const char *sched_complete(sched_job *j, sched_contraction *c);
#define STRATEGY(NAME, text, kind, applies, choose, cost, complete, emit, doc) \
    sched_applies sched_applies_##applies;                                     \
    sched_choose sched_choose_##choose;                                        \
    sched_cost sched_cost_##cost;                                              \
    sched_complete sched_complete_##complete;
#include "schedule/strategies.def"

/* nest.c: the parts of a contraction, with what there is. */
void sched_nest(sched_job *j);

/* contraction.c: the order of the summed axes and the kind of epilogue that suit any strategy. */
void sched_contraction_defaults(sched_job *j, sched_contraction *c);
/* Tasks of the axes that are neither lanes nor rows. */
int64_t sched_batch(const sched_contraction *c);
/* block.c: blocks whose tiles are `rows` (or less) of `vectors` registers, of about KC products, of
 * which groups lie side by side; a task has `panels` tiles side by side. */
void sched_choose_blocks(sched_contraction *c, int vectors, int panels, int rows, int64_t KC,
                         int group);
/* The same for BLOCK and DOT; NC is set. */
const char *sched_complete_blocks(sched_job *j, sched_contraction *c);
/* Products of a result. */
int64_t sched_products(const sched_contraction *c);
/* Does each step along K move the vector operand by whole pages, which caches bear badly? */
bool sched_steps_pages(const sched_contraction *c);
enum { SCHED_LINE = 64 }; /* bytes of a cache line */
/* Cache lines of the broadcast operand that a tile of MR rows touches for the first time, a
 * product: a part of one for each row where products lie side by side, else one, or one for each
 * row. */
double sched_broadcast_lines(const sched_contraction *c);
/* The summed axes in the order that c->order names. */
void sched_order_k(sched_contraction *c);

/* A line of a file of schedules. */
typedef struct sched_pair {
    const char *key, *value; /* value: NULL for a flag */
} sched_pair;
typedef struct sched_wish {
    base_loc loc;
    const char *level, *func;
    int spec, kernel, part;
    sched_strategy strategy;
    BASE_LIST(sched_pair) pairs;
    bool used;
} sched_wish;
struct sched_wishes {
    BASE_LIST(sched_wish *) lines;
    base_map by_key; /* a sched_wish by sched_key */
};
const char *sched_key(base_arena *arena, const char *level, int spec, const char *func, int kernel,
                      int part);

/* text.c: sets the decisions that a wish states, and no others; NULL, or what is wrong. c: the part
 * of a contraction, or NULL. */
const char *sched_set(base_arena *arena, sched_kernel *s, sched_contraction *c,
                      const sched_wish *wish);

#endif
