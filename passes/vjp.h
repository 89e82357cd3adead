/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The rules that the vjp column of ir/ops.def names, and what they share. A rule is called when at
 * least one result has a cotangent and at least one operand is wanted; an operand that is wanted is
 * a float with elements, and so is a result that has a cotangent. b appends to the function, with
 * the phase backward and the loc and primal of inst.
 *
 * A rule may also replace inst by a better forward instruction (for example with another result):
 * it builds that before inst and calls ad_instead.
 *
 * How to add a rule: write the function next to similar ones, and a case in tests/grad.c. */
#ifndef GRADC_PASSES_VJP_H
#define GRADC_PASSES_VJP_H

#include "passes/pass_utils.h"

#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    ad_rule ad_vjp_##vjp;
#include "ir/ops.def"

#define AD_RULE(name)                                                                           \
    void ad_vjp_##name(ir_builder *b, const ir_inst *inst, ir_value *const *ct, ir_value **out, \
                       const bool *want)

/* Reports "no derivative rule for `while_loop`" at inst. */
void ad_missing(const ir_inst *inst);
/* False, with a diagnostic, where a rule would need a tensor of that shape and type, or numbers
 * about positions, beyond the limits. */
bool ad_fits(const ir_inst *inst, const ir_type *shape, ir_dtype type);
bool ad_near(const ir_inst *inst, int n, const int64_t *numbers);
/* Like ir_build1; NULL, with the same diagnostic, where the attributes that a rule computed exceed
 * the limits. */
ir_value *ad_build(ir_builder *b, const ir_inst *inst, ir_op op, ir_value *const *operand,
                   int noperands, const ir_attrs *attrs);
/* A builder of forward instructions before inst. */
ir_builder ad_before(const ir_inst *inst);
/* Replaces v, an instruction's result, by `by`, an unused result of an instruction before it: the
 * two values are exchanged, so users keep the pointer v, and v is then the new instruction's
 * result. */
void ad_instead(ir_value *v, ir_value *by);

/* ---- Small forms (vjp_element.c) ---- */

/* which ? x : 0, and the reverse. */
ir_value *ad_where(ir_builder *b, ir_value *which, ir_value *x);
ir_value *ad_unless(ir_builder *b, ir_value *which, ir_value *x);

/* ---- Others ---- */

/* The cotangent of the operand x of a pad with elements (vjp_move.c), from that of its result;
 * zeros where x was cropped, NULL where all of it was. */
ir_value *ad_unpad(ir_builder *b, ir_value *g, const ir_type *x, const int64_t *low,
                   const int64_t *high, const int64_t *interior);
/* Zeros in the shape of g, and g's elements added in at `position` (integers in range) along axis
 * (vjp_index.c). */
ir_value *ad_put_along(ir_builder *b, ir_value *g, ir_value *position, int axis);

#endif
