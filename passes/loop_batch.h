/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Values of a loop's body for all iterations at once, stacked along a new first dimension: a value
 * that no other iteration needs can be computed outside the loop. That pays for contractions, which
 * become larger. */
#ifndef GRADC_PASSES_LOOP_BATCH_H
#define GRADC_PASSES_LOOP_BATCH_H

#include "passes/pass_utils.h"

typedef struct loop_batch {
    ir_builder *b;       /* appends the instructions for all iterations */
    const base_loc *loc;   /* of the loop */
    int64_t length;
    /* By id of the body's values: all iterations of it, outside; NULL: not known yet. */
    ir_value **stacked;
    ir_value **constant; /* by id: its value outside, if it is the same in all iterations */
    bool exact; /* stacked values are zero in iterations that did not run, and must stay so */
    /* May the instruction of v be done outside? */
    bool (*outside)(void *user, const ir_value *v);
    /* Makes v one of the loop's ys, and returns the stacked value; NULL if that is not
     * requested. */
    ir_value *(*stack)(void *user, ir_value *v);
    void *user;
    int depth;
} loop_batch;

/* The type of t stacked over all iterations; throws when that is too large. */
ir_type loop_batch_type(const loop_batch *s, const ir_type *t);
/* Is v a short expression of known values, so that nothing need be stacked for it? */
bool loop_batch_has(const loop_batch *s, const ir_value *v);
/* v for all iterations, [length, …]. */
ir_value *loop_batch_of(loop_batch *s, ir_value *v);
/* Writes dims + 1 to out; returns how many. */
int loop_batch_dims(ir_ints dims, int64_t *out);

#endif
