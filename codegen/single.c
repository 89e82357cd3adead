/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Kernels of ops that are no expression at an index: scatter, sort, cumulative. */
#include "codegen/emit.h"

int64_t cg_single_kernel(cg_emitter *e)
{
    const ir_inst *core = e->kernel->core;
    BUG("%s has no kernel", ir_ops[core->op].name);
}
