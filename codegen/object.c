/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * From an LLVM module to bytes: a short pipeline of passes, since the code comes with its vectors, then LLVM's code generator. */
#include "codegen/target.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Transforms/PassBuilder.h>

static const char *const pipelines[] = {
    "function(sroa)",
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg)",
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,loop-mssa(licm),gvn,instcombine<no-verify-fixpoint>,simplifycfg)",
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,loop-mssa(licm),gvn,instcombine<no-verify-fixpoint>,simplifycfg,loop(loop-reduce))",
};

void cg_optimise(cg_unit *u, LLVMTargetMachineRef machine, int level)
{
    char *message = NULL;
    if (LLVMVerifyModule(u->module, LLVMReturnStatusAction, &message))
        BUG("LLVM refuses the module: %s", message);
    LLVMDisposeMessage(message);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(u->module, pipelines[level], machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error)
        BUG("LLVM's passes: %s", LLVMGetErrorMessage(error));
}

void *cg_emit(cg_unit *u, LLVMTargetMachineRef machine, bool assembly, size_t *size)
{
    char *message = NULL;
    LLVMMemoryBufferRef buffer = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, u->module, assembly ? LLVMAssemblyFile : LLVMObjectFile, &message, &buffer))
        BUG("LLVM emits nothing: %s", message);
    *size = LLVMGetBufferSize(buffer);
    char *bytes = ir_alloc(u->arena, *size + 1);
    for (size_t i = 0; i < *size; i++)
        bytes[i] = LLVMGetBufferStart(buffer)[i];
    LLVMDisposeMemoryBuffer(buffer);
    return bytes;
}
