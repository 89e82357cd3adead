/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The rules that the `lower` column of ir/ops.def names. */
#ifndef GRADC_CODEGEN_LOWER_H
#define GRADC_CODEGEN_LOWER_H

#include "codegen/emit.h"

#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    cg_rule cg_lower_##lower;
#include "ir/ops.def"

/* x and y (NULL: true), of any width. */
LLVMValueRef cg_both(cg_emitter *e, LLVMValueRef x, LLVMValueRef y);
/* condition (NULL: true) ? yes : no, of any width. */
LLVMValueRef cg_choose(cg_emitter *e, LLVMValueRef condition, LLVMValueRef yes, LLVMValueRef no);

#endif
