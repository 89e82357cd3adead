/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Calls of kernels and of the runtime, which are the same on all CPUs. */
#include "codegen/cpu/cpu.h"

LLVMValueRef cg_cpu_external(cg_unit *u, const char *name, LLVMTypeRef type)
{
    LLVMValueRef f = LLVMGetNamedFunction(u->module, name);
    return f ? f : LLVMAddFunction(u->module, name, type);
}

void cg_cpu_launch(cg_unit *u, const cg_call *c, LLVMValueRef *arg, int nargs)
{
    LLVMBuildCall2(u->b, c->type, c->function, arg, (unsigned)nargs, "");
}

LLVMValueRef cg_cpu_failed_function(cg_unit *u)
{
    return cg_cpu_external(u, "gradc_rt_failed", LLVMFunctionType(u->i32, &u->ptr, 1, 0));
}

LLVMValueRef cg_cpu_failed(cg_unit *u, LLVMValueRef worker)
{
    LLVMValueRef f = cg_cpu_failed_function(u),
                 bad = LLVMBuildCall2(u->b, LLVMGlobalGetValueType(f), f, &worker, 1, "");
    return LLVMBuildICmp(u->b, LLVMIntNE, bad, LLVMConstNull(u->i32), "");
}

void cg_cpu_bad_index(cg_unit *u, LLVMValueRef worker, LLVMValueRef check, LLVMValueRef at,
                      LLVMValueRef value, LLVMValueRef limit)
{
    LLVMTypeRef param[] = {u->ptr, u->i32, u->i64, u->i64, u->i64},
                type = LLVMFunctionType(u->nothing, param, 5, 0);
    LLVMValueRef args[] = {worker, check, at, value, limit};
    LLVMBuildCall2(u->b, type, cg_cpu_external(u, "gradc_rt_bad_index", type), args, 5, "");
}

void cg_cpu_leave_without_tasks(cg_emitter *e)
{
    cg_unit *u = e->u;
    LLVMBasicBlockRef some = LLVMAppendBasicBlockInContext(u->ll, e->function, ""),
                      none = LLVMAppendBasicBlockInContext(u->ll, e->function, "");
    LLVMBuildCondBr(u->b, LLVMBuildICmp(u->b, LLVMIntSLT, e->lo, e->hi, ""), some, none);
    LLVMPositionBuilderAtEnd(u->b, none);
    LLVMBuildRetVoid(u->b);
    LLVMPositionBuilderAtEnd(u->b, some);
}
