/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What passes share. */
#ifndef GRADC_PASSES_PASS_UTILS_H
#define GRADC_PASSES_PASS_UTILS_H

#include "ir/kernels.h"
#include "passes/passes.h"

/* ---- Looking at values (pattern.c) ---- */

/* The instruction that defines v if it is an `op`, else NULL. */
static inline ir_inst *match(const ir_value *v, ir_op op)
{
    return v->def && v->def->op == op ? v->def : NULL;
}

/* True when all elements of v are one number known now: a constant of one element or a splat,
 * repeated or reshaped. */
bool match_splat(const ir_value *v, ir_literal **literal);
/* The same as a number: false if it is not a splat, or not exact in double. */
bool match_number(const ir_value *v, double *number);
bool match_is(const ir_value *v, double number);
/* A reshape that only adds or removes dimensions of extent 1. */
bool match_unit_reshape(const ir_type *from, const ir_type *to);

/* The value under a chain of views; v itself if it is not a view. */
ir_value *match_under_views(ir_value *v);
/* ir_view_of, as it will be when the value under v is in memory. */
bool match_view(ir_value *v, ir_view *out);
/* Does k, on some path, read v at another index than the output's own, that is, through an
 * instruction that is not elementwise? *stamp: 0 at first, when the aux of all values must be NULL,
 * then left alone. */
bool match_reads_moved(const ir_kernel *k, const ir_value *v, uintptr_t *stamp);
/* By value id, for which results it is computed: bits as in ir_kernel.wanted, or-ed into
 * `wanted`. */
void match_wanted(const ir_func *f, uint64_t *wanted);

/* ---- Replacing values in one walk (pattern.c) ---- */

/* A pass that replaces values as it goes: pass_replace_begin, then pass_replace_in first thing at
 * each instruction, and pass_replace_end. `result->aux = other` replaces a result (NULL: it stays)
 * in all instructions still to come, and costs nothing; ir_replace reads the whole function. */
void pass_replace_begin(ir_func *f);
void pass_replace_in(ir_inst *inst);
void pass_replace_end(ir_func *f);

/* ---- Windows (rewrite_reduce.c) ---- */

/* Applies to x what the reduce_window inst does along dimension d alone. */
ir_value *window_along(ir_builder *b, const ir_inst *inst, ir_value *x, int d);

/* ---- Passes that are called by name, inside others ---- */

pass_run pass_inline, pass_fold, pass_simplify, pass_factor, pass_cse, pass_dce;
/* cse that also merges a backward instruction into an identical forward one: only before a
 * partition. */
void cse_across(ir_func *f);

/* ---- partition.c ---- */

/* In a joint function, gives backward copies of the forward instructions that it recomputes;
 * afterwards the phases say which half computes what, and nothing may merge across them. gone[i]
 * (gone may be NULL): parameter i is no longer available when backward runs. */
void partition_recompute(ir_func *joint, const bool *gone);
/* After that: the residuals, which forward saves for backward, each once, in the order in which
 * backward first reads them; returns how many. saved has room for as many values as joint has.
 * Results of role IR_GRADIENT and updates of IR_GRAD states count as read. */
int partition_saved(ir_func *joint, base_arena *arena, ir_value **saved);
/* "wish:", or the first of "wish_2:", … that no state's name begins with: model files may name
 * states so. */
const char *state_prefix(ir_module *m, const char *wish);

#endif
