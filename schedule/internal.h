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
    struct sched_traits *traits; /* of a map (map.c); NULL: not computed yet */
} sched_job;

/* The columns of strategies.def. c is a part of a contraction, NULL for other kernels. `applies`
 * says whether the strategy can be used; `choose` makes the decisions; `cost` estimates their time,
 * in multiply-accumulates; `complete` checks decisions and computes what follows from them, and
 * returns NULL or the reason why they are not possible. */
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

/* nest.c: finds the parts of a contraction and their axes. */
void sched_nest(sched_job *j);

/* contraction.c: the order of the summed axes and the kind of epilogue that suit any strategy. */
void sched_contraction_defaults(sched_job *j, sched_contraction *c);
/* Tasks of the axes that are neither lanes nor rows. */
int64_t sched_batch(const sched_contraction *c);
/* block.c: decides on blocks of about KC products and tiles of at most `rows` rows of `vectors`
 * registers; `group` adjacent products are packed together, and a task is `panels` tiles wide. */
void sched_choose_blocks(sched_contraction *c, int vectors, int panels, int rows, int64_t KC,
                         int group);
/* `complete` of BLOCK and DOT; needs NC. */
const char *sched_complete_blocks(sched_job *j, sched_contraction *c);
/* Products of a result element. */
int64_t sched_products(const sched_contraction *c);
/* Is the vector operand's stride along K a multiple of the page size, which caches handle badly? */
bool sched_steps_pages(const sched_contraction *c);
static inline int64_t sched_at_most(int64_t x, int64_t limit)
{
    return x < limit ? x : limit;
}
enum { SCHED_LINE = 64 }; /* bytes of a cache line */
/* New cache lines of the broadcast operand for each product of a tile of MR rows: a fraction of a
 * line for each row if the operand is contiguous along K, the lines that the rows share if it is
 * contiguous along M, else one for each row. */
double sched_broadcast_lines(const sched_contraction *c);
/* Puts the summed axes in the order of c->order. */
void sched_order_k(sched_contraction *c);

/* A line of a schedule file. */
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

/* text.c: sets the decisions to a wish's, those that it does not name to their defaults; NULL, or
 * what is wrong. c: the part of a contraction, or NULL. */
const char *sched_set(base_arena *arena, sched_kernel *s, sched_contraction *c,
                      const sched_wish *wish);

#endif
