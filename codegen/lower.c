/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "codegen/lower.h"

cg_rule *const cg_rules[IR_OPS] = {
#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    cg_lower_##lower,
#include "ir/ops.def"
};

/* These are not expressions: kernels compute them, or run the functions that they call. */
static _Noreturn void structured(const ir_inst *inst)
{
    BUG("%s is not an expression", ir_ops[inst->op].name);
}
#define STRUCTURED(rule)                                                        \
    LLVMValueRef cg_lower_##rule(cg_emitter *e, const ir_inst *inst, int which, \
                                 const cg_index *at)                            \
    {                                                                           \
        (void)e, (void)which, (void)at;                                         \
        structured(inst);                                                       \
    }
STRUCTURED(dot_general)
STRUCTURED(convolution)
STRUCTURED(scan)
STRUCTURED(cond)
STRUCTURED(while)
STRUCTURED(call)
STRUCTURED(scatter)
STRUCTURED(sort)
STRUCTURED(cumulative)
