/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The shape rules that ir/ops.def names. */
#ifndef GRADC_IR_SHAPE_H
#define GRADC_IR_SHAPE_H

#include "ir/ir.h"

#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    ir_shape_rule ir_shape_##shape;
#include "ir/ops.def"

#endif
