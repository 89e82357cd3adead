/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The op table's columns of the ir folder: names, counts, classes, attributes, traits, shape
 * rules. */
#include "ir/ir.h"
#include "ir/shape.h"

#include <string.h>

const char *const ir_relation_names[] = {"eq", "ne", "lt", "le", "gt", "ge", NULL};
const char *const ir_combine_names[] = {"sum", "prod", "max", "min", "and", "or", "set", NULL};
const char *const ir_state_kind_names[] = {"param", "stat",  "slot", "counter",
                                           "grad",  "saved", NULL};
const char *const ir_role_names[] = {"data", "gradient", "hyper", NULL};
const char *const ir_phase_names[] = {"forward", "backward", "update", NULL};

#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    static const ir_attr_info attrs_of_##name[] = {attrs{NULL, IR_ATTR_int, 0}};
#define A(op, kind, field) {#field, IR_ATTR_##kind, offsetof(struct ir_attrs_##op, field)},
#include "ir/ops.def"

/* Letters of the table's columns. */
enum { B = IR_CLASS_B, I = IR_CLASS_I, F = IR_CLASS_F, N = IR_CLASS_N, ANY = IR_CLASS_ANY };
enum {
    E = IR_ELEMENTWISE,
    C = IR_COMMUTATIVE,
    M = IR_MOVES,
    V = IR_VIEW,
    Z = IR_NULLARY,
    G = IR_GENERATED,
    A = IR_OVER_AXES,
    W = IR_OVER_WINDOW,
    P = IR_CONTRACTION,
    T = IR_FUNCTION,
    X = IR_OWN_EMITTER,
    K = IR_CHECKED,
    S = IR_STRUCTURED,
    R = IR_RUNS
};
#define ULPS(f32, f64) f32, f64

const ir_op_info ir_ops[IR_OPS] = {
#define OP(name_, in, out, types, attrs, traits_, cost_, error_, shape_, eval, vjp, lower, doc_) \
    [IR_OP_##name_] = {.name = #name_,                                                           \
                       .doc = doc_,                                                              \
                       .operands = in,                                                           \
                       .results = out,                                                           \
                       .classes = types,                                                         \
                       .traits = traits_,                                                        \
                       .cost = cost_,                                                            \
                       .ulps = {error_},                                                         \
                       .nattrs = (int)(sizeof attrs_of_##name_ / sizeof *attrs_of_##name_) - 1,  \
                       .attr = attrs_of_##name_,                                                 \
                       .shape = ir_shape_##shape_},
#include "ir/ops.def"
};

bool ir_op_by_name(const char *name, ir_op *out)
{
    for (int i = 0; i < IR_OPS; i++)
        if (!strcmp(ir_ops[i].name, name)) {
            *out = (ir_op)i;
            return true;
        }
    return false;
}
