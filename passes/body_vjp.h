/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A function that an instruction names (a loop's body, a branch), differentiated and cut in two:
 * forward, which saves residuals, and backward, which uses them. The rules of the structured ops
 * put both halves back into instructions. */
#ifndef GRADC_PASSES_BODY_VJP_H
#define GRADC_PASSES_BODY_VJP_H

#include "passes/pass_utils.h"

typedef struct body_vjp {
    const ir_func *primal;
    ir_func *joint;       /* simplified and cut */
    ir_value **cotangent; /* by result of primal: joint's parameter; NULL: zero */
    ir_value **gradient;  /* by parameter of primal: joint's value; NULL: zero, or not wanted */
    /* joint's parameters and forward values that backward reads, each once, cotangents aside */
    ir_value **read;
    int nread;
} body_vjp;

/* has_ct by result, want and gone (see partition_recompute; may be NULL) by parameter; arrays in
 * `arena`. False, with diagnostics, where a derivative rule is missing. */
bool body_vjp_make(body_vjp *h, base_arena *arena, const ir_func *f, const bool *has_ct,
                   const bool *want, const bool *gone);
/* A new function with primal's parameters and results; before the last `tail` results it has the
 * values extra[i] of joint, or where that is NULL zeros of type[i]. */
ir_func *body_vjp_forward(const body_vjp *h, ir_value *const *extra, const ir_type *type, int n,
                          int tail);
/* Copies the backward instructions to b. The aux of each value that they read, and of joint's
 * cotangent parameters, is its replacement there; afterwards the aux of each backward value is its
 * copy. */
void body_vjp_backward(const body_vjp *h, ir_builder *b);
/* Removes the joint function from the module, after everything is copied. */
void body_vjp_end(body_vjp *h);

/* By result of f: does it depend, as far as derivatives go, on a parameter i with from[i]? */
void body_vjp_depends(const ir_func *f, const bool *from, bool *result);
/* By parameter of f: does a result i with to[i] depend on it? */
void body_vjp_reaches(const ir_func *f, const bool *to, bool *param);

#endif
