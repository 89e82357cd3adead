/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The optimizers' table and the arguments of a rule. */
#ifndef GRADC_PASSES_OPTIMIZERS_H
#define GRADC_PASSES_OPTIMIZERS_H

#include "passes/pass_utils.h"

enum { OPTIMIZER_HYPERS = 8, OPTIMIZER_SLOTS = 2 };

/* One parameter's update. All values are of type `type`: the parameter's, f32 in place of 16-bit
 * floats. */
typedef struct optimizer_update {
    ir_builder *b;
    ir_type type;
    ir_value *p, *g;                   /* parameter and gradient (scaled and clipped) */
    ir_value *slot[OPTIMIZER_SLOTS];   /* in: old; out: new */
    ir_value *hyper[OPTIMIZER_HYPERS]; /* in the row's order; rank 0 */
    ir_value *t;                       /* rank 0: number of this step, from 1 */
    bool decay;                        /* weight decay applies */
} optimizer_update;

typedef ir_value *optimizer_rule(optimizer_update *u); /* the new parameter */

struct train_optimizer {
    const char *name, *doc;
    const char *const *hyper, *const *slot; /* names; NULL at the end */
    const double *preset;                   /* of each hyper-parameter */
    optimizer_rule *rule;
};
extern const train_optimizer optimizers[]; /* name NULL at the end */

#endif
