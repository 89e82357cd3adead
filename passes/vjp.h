/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The rules that the vjp column of ir/ops.def names, and what they share. A rule is called when at
 * least one result has a cotangent and at least one operand is wanted; an operand that is wanted is
 * a float with elements, and so is a result that has a cotangent. b stands at the end of the
 * function, with the phase backward and the loc and primal of inst.
 *
 * A rule may also give the function a better forward instruction in place of inst (one with a
 * result more, say): built in front of inst, ad_instead.
 *
 * How to add a rule: the function where its neighbours are, a case in tests/grad.c. */
#ifndef GRADC_PASSES_VJP_H
#define GRADC_PASSES_VJP_H

#include "passes/pass_utils.h"

#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    ad_rule ad_vjp_##vjp;
#include "ir/ops.def"

#define AD_RULE(name)                                                                           \
    void ad_vjp_##name(ir_builder *b, const ir_inst *inst, ir_value *const *ct, ir_value **out, \
                       const bool *want)

/* For a rule that does not exist: "no derivative rule for `while_loop`" at inst. */
void ad_missing(const ir_inst *inst);
/* False, with a diagnostic, where a rule would need a tensor of that shape and type, or numbers
 * about positions, beyond the limits. */
bool ad_fits(const ir_inst *inst, const ir_type *shape, ir_dtype type);
bool ad_near(const ir_inst *inst, int n, const int64_t *numbers);
/* As ir_build1; NULL, with the same diagnostic, where the attributes that a rule has computed are
 * beyond the limits. */
ir_value *ad_build(ir_builder *b, const ir_inst *inst, ir_op op, ir_value *const *operand,
                   int noperands, const ir_attrs *attrs);
/* A builder of forward instructions in front of inst. */
ir_builder ad_before(const ir_inst *inst);
/* All users of v, a result of an instruction, have `by` from now on, a result without users of one
 * in front of it: the two values change places, so afterwards v is what the new instruction
 * gives. */
void ad_instead(ir_value *v, ir_value *by);

/* ---- Small forms (vjp_element.c) ---- */

/* x * c, x + c, elementwise. */
ir_value *ad_times(ir_builder *b, ir_value *x, double c);
ir_value *ad_plus(ir_builder *b, ir_value *x, double c);
/* which ? x : 0, and the reverse. */
ir_value *ad_where(ir_builder *b, ir_value *which, ir_value *x);
ir_value *ad_unless(ir_builder *b, ir_value *which, ir_value *x);
/* r in the shape of t, repeated along the axes, which r does not have. */
ir_value *ad_repeat(ir_builder *b, ir_value *r, const ir_type *t, ir_ints axes);

/* ---- Others ---- */

/* Of a pad with elements (vjp_move.c): the part of its result's cotangent that came from the
 * operand x; zeros where that was cropped, NULL where it was cropped away. */
ir_value *ad_unpad(ir_builder *b, ir_value *g, const ir_type *x, const int64_t *low,
                   const int64_t *high, const int64_t *interior);
/* Zeros in the shape of g, and g's elements added in at `position` (integers in range) along axis
 * (vjp_index.c). */
ir_value *ad_put_along(ir_builder *b, ir_value *g, ir_value *position, int axis);

#endif
