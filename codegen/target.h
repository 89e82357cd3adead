/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Processors, and what LLVM makes of a module: object code, text, and code in this process. */
#ifndef GRADC_CODEGEN_TARGET_H
#define GRADC_CODEGEN_TARGET_H

#include "codegen/cg.h"

/* A row of cpus.def for the triple's architecture (NULL: the host's triple), or the host for `native` and for NULL without a triple
 * (with one: the architecture's first row). NULL and reported, with the list, when there is no such row. */
const cg_target *cg_target_named(ir_ctx *ctx, ir_arena *arena, const char *triple, const char *cpu);
/* Freed with the context. Level 0 to 3. */
LLVMTargetMachineRef cg_machine(ir_ctx *ctx, const cg_target *t, int level);

/* Runs the module's passes. BUG if the module is not valid. */
void cg_optimise(cg_unit *u, LLVMTargetMachineRef machine, int level);
/* Object bytes or assembly, in the arena. */
void *cg_emit(cg_unit *u, LLVMTargetMachineRef machine, bool assembly, size_t *size);

/* Code in this process. */
typedef struct cg_jit cg_jit;
typedef struct cg_symbol {
    const char *name;
    void *address;
} cg_symbol;
/* Loads an object; symbols (ended by a NULL name) are what it may refer to. Freed with the context; NULL and reported on failure. */
cg_jit *cg_jit_load(ir_ctx *ctx, ir_arena *arena, const void *object, size_t size, const cg_symbol *symbols);
/* NULL if there is none. */
void *cg_jit_symbol(cg_jit *jit, const char *name);

#endif
