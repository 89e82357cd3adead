/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Processors, and what LLVM makes of a module: object code and text. */
#ifndef GRADC_CODEGEN_TARGET_H
#define GRADC_CODEGEN_TARGET_H

#include "codegen/cg.h"
#include "codegen/codegen.h"

/* NAME[+FEATURE…], of cpus.def and features.def, for the triple's architecture (NULL: the host's
 * triple), or the host for `native` and for NULL without a triple (with one: the architecture's
 * first row). NULL and reported, with the list, when there is no such row. */
const cg_target *cg_target_named(base_ctx *ctx, base_arena *arena, const char *triple,
                                 const char *cpu);
/* Freed with the context. Level 0 to 3. */
LLVMTargetMachineRef cg_machine(base_ctx *ctx, const cg_target *t, int level);

/* A message of LLVM's, freed with the context. */
char *cg_message(base_ctx *ctx, char *message);
/* Errors that LLVM reports from now on are a BUG. */
void cg_catch_errors(LLVMContextRef ll);
/* Sets u->target for the functions that have no target yet. */
void cg_mark_functions(cg_unit *u);
/* Runs the module's passes. BUG if the module is not valid. */
void cg_optimise(cg_unit *u, LLVMTargetMachineRef machine, int level);
/* Object bytes or assembly; a zero byte follows. */
LLVMMemoryBufferRef cg_emit(cg_unit *u, LLVMTargetMachineRef machine, bool assembly);
/* Freed with the context. */
const void *cg_buffer(base_ctx *ctx, LLVMMemoryBufferRef buffer, size_t *size);

/* cpu/parallel_codegen.c: one object of a unit and its parts, which are optimised and emitted by as
 * many threads as there are processors. The bytes do not depend on their number, and live in the
 * unit's arena or until its context is freed. machine: of the unit. */
const void *cg_emit_parts(cg_unit *u, const cg_target *t, LLVMTargetMachineRef machine, int level,
                          size_t *size);
/* The parts' modules, emitted or not, become part of the unit's. */
void cg_link_parts(cg_unit *u);
/* cpu/join.c: joins n relocatable objects into one. */
const void *cg_join_objects(base_arena *arena, const void *const *object, int n, size_t *size);

#endif
