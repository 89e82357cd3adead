/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the rewrites of rewrites.def share. */
#ifndef GRADC_PASSES_REWRITE_H
#define GRADC_PASSES_REWRITE_H

#include "passes/local.h"

/* Looks at one instruction; if it can be said better, builds that through b (before inst, with its phase and loc), writes a
 * replacement of the same type for each result to out, and returns true. Otherwise it builds nothing. A result's `id` counts
 * its users (0: made in this sweep), so `id <= 1` says that a rewrite leaves no second user behind. */
typedef bool rewrite_rule(ir_builder *b, ir_inst *inst, ir_value **out);

/* A new function named as f, without the number that made f's name unique (rewrite_loop.c). */
ir_func *rw_body_like(const ir_func *f);

rewrite_rule rw_sink_broadcast; /* of every elementwise op, after its own rows; ends because elements get fewer */

#define REWRITE(op, function, ends) rewrite_rule function;
#include "passes/rewrites.def"

#endif
