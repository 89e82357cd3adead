/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * From an LLVM module to bytes: a short pipeline of passes, since the code is already vectorised,
 * then LLVM's code generator. */
#include "codegen/target.h"
#include "codegen/backend.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <string.h>

static const char *const pipelines[] = {
    /* Constants are folded before instruction selection, which does not terminate on some vectors
     * of unfolded ones. */
    "function(sroa,instsimplify)",
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg)",
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,loop-mssa(licm),gvn,instcombine<no-"
    "verify-fixpoint>,simplifycfg)",
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,loop-mssa(licm),gvn,instcombine<no-"
    "verify-fixpoint>,simplifycfg,loop(loop-reduce))",
};

static void on_fatal_error(const char *reason)
{
    BUG("LLVM: %s", reason);
}

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *user)
{
    (void)user;
    if (LLVMGetDiagInfoSeverity(info) == LLVMDSError)
        BUG("LLVM: %s", LLVMGetDiagInfoDescription(info));
}

void cg_catch_errors(LLVMContextRef ll)
{
    LLVMResetFatalErrorHandler();
    LLVMInstallFatalErrorHandler(on_fatal_error);
    LLVMContextSetDiagnosticHandler(ll, on_diagnostic, NULL);
}

static void set_attribute(cg_unit *u, LLVMValueRef f, const char *name, const char *value)
{
    unsigned n = (unsigned)strlen(name);
    if (!LLVMGetStringAttributeAtIndex(f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, name, n))
        LLVMAddAttributeAtIndex(
            f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
            LLVMCreateStringAttribute(u->ll, name, n, value, (unsigned)strlen(value)));
}

void cg_mark_functions(cg_unit *u)
{
    for (LLVMValueRef f = LLVMGetFirstFunction(u->module); f; f = LLVMGetNextFunction(f)) {
        if (LLVMIsDeclaration(f) ||
            LLVMGetStringAttributeAtIndex(f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                                          "tune-cpu", 8))
            continue; /* it is of another level */
        set_attribute(u, f, "tune-cpu", u->target->tune);
        set_attribute(u, f, "target-cpu", u->target->cpu);
        set_attribute(u, f, "target-features", u->target->features);
        if (!u->target->system->backend->hosted) /* no unwind tables */
            LLVMAddAttributeAtIndex(
                f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                LLVMCreateEnumAttribute(u->ll, LLVMGetEnumAttributeKindForName("nounwind", 8), 0));
    }
}

/* FastISel, which level 0 uses, turns a select of two floats into a blend that loads its first
 * operand, 16 bytes, from memory, where only 4 may be readable. A freeze keeps the load apart, and
 * costs a move. */
static void freeze_selected_loads(cg_unit *u)
{
    LLVMBuilderRef b = LLVMCreateBuilderInContext(u->ll);
    for (LLVMValueRef f = LLVMGetFirstFunction(u->module); f; f = LLVMGetNextFunction(f))
        for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(f); block;
             block = LLVMGetNextBasicBlock(block))
            for (LLVMValueRef i = LLVMGetFirstInstruction(block); i;
                 i = LLVMGetNextInstruction(i)) {
                LLVMTypeKind type = LLVMGetTypeKind(LLVMTypeOf(i));
                if (!LLVMIsASelectInst(i) ||
                    (type != LLVMFloatTypeKind && type != LLVMDoubleTypeKind) ||
                    !LLVMIsALoadInst(LLVMGetOperand(i, 1)))
                    continue;
                LLVMPositionBuilderBefore(b, i);
                LLVMSetOperand(i, 1, LLVMBuildFreeze(b, LLVMGetOperand(i, 1), ""));
            }
    LLVMDisposeBuilder(b);
}

void cg_optimise(cg_unit *u, LLVMTargetMachineRef machine, int level)
{
    char *message = NULL;
    if (LLVMVerifyModule(u->module, LLVMReturnStatusAction, &message))
        BUG("LLVM rejects the module: %s", message);
    LLVMDisposeMessage(message);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(u->module, pipelines[level], machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error)
        BUG("LLVM's passes: %s", LLVMGetErrorMessage(error));
    if (!level)
        freeze_selected_loads(u);
}

LLVMMemoryBufferRef cg_emit(cg_unit *u, LLVMTargetMachineRef machine, bool assembly)
{
    char *message = NULL;
    LLVMMemoryBufferRef buffer = NULL;
    LLVMModuleRef copy = LLVMCloneModule(u->module); /* emitting changes a module */
    if (LLVMTargetMachineEmitToMemoryBuffer(
            machine, copy, assembly ? LLVMAssemblyFile : LLVMObjectFile, &message, &buffer))
        BUG("LLVM emits nothing: %s", message);
    LLVMDisposeModule(copy);
    return buffer;
}

static void dispose_buffer(void *buffer)
{
    LLVMDisposeMemoryBuffer(buffer);
}

const void *cg_buffer(base_ctx *ctx, LLVMMemoryBufferRef buffer, size_t *size)
{
    base_defer(ctx, dispose_buffer, buffer);
    *size = LLVMGetBufferSize(buffer);
    return LLVMGetBufferStart(buffer);
}
