/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The operator table. */
#include "frontend/onnx/reader.h"

enum {
    B = IR_CLASS_B,
    I = IR_CLASS_I,
    F = IR_CLASS_F,
    N = IR_CLASS_N,
    ANY = IR_CLASS_ANY,
    W = ONNX_WIDE
};

const onnx_op onnx_ops[] = {
#define ONNX_OP(name, domain, since, last, in_min, in_max, out_max, types, config, gradient, \
                build, extra, attrs)                                                         \
    {#name,                                                                                  \
     domain,                                                                                 \
     since,                                                                                  \
     last,                                                                                   \
     in_min,                                                                                 \
     in_max,                                                                                 \
     out_max,                                                                                \
     types,                                                                                  \
     config,                                                                                 \
     gradient,                                                                               \
     onnx_build_##build,                                                                     \
     extra,                                                                                  \
     attrs},
#include "frontend/onnx/ops.def"
    {.name = NULL}
};

bool onnx_op_at(int i, onnx_op_info *out)
{
    const onnx_op *op = &onnx_ops[i];
    if (!op->name)
        return false;
    *out = (onnx_op_info){op->name, op->domain, op->since, op->last, "any", op->gradient};
    const struct {
        int mask;
        const char *text;
    } words[] = {
        {B, "bool"}, {I, "integer"}, {F, "float"}, {N, "number"}, {B | I, "bool or integer"}};
    for (int k = 0; k < 5; k++)
        if ((op->types & ~ONNX_WIDE) == words[k].mask)
            out->types = words[k].text;
    return true;
}
