/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shared by the backends of CPUs. */
#ifndef GRADC_CODEGEN_CPU_CPU_H
#define GRADC_CODEGEN_CPU_CPU_H

#include "codegen/backend.h"

/* The module's declaration of a function of the runtime. */
LLVMValueRef cg_cpu_external(cg_unit *u, const char *name, LLVMTypeRef type);
/* Calls the kernel's function. */
void cg_cpu_launch(cg_unit *u, const cg_call *call, LLVMValueRef *arg, int nargs);
LLVMValueRef cg_cpu_failed_function(cg_unit *u);
LLVMValueRef cg_cpu_failed(cg_unit *u, LLVMValueRef worker);
void cg_cpu_bad_index(cg_unit *u, LLVMValueRef worker, LLVMValueRef check, LLVMValueRef at,
                      LLVMValueRef value, LLVMValueRef limit);
/* Returns from the kernel's function if there are no tasks; the builder is left in the block for
 * them. */
void cg_cpu_leave_without_tasks(cg_emitter *e);

#endif
