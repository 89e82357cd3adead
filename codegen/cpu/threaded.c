/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Workers in one address space: every worker runs the whole body of an entry, and its share of each
 * kernel's tasks; barriers are the runtime's. */
#include "codegen/cpu/cpu.h"
#include "codegen/target.h"

static LLVMValueRef call(cg_unit *u, LLVMValueRef f, LLVMValueRef *arg, unsigned n)
{
    return LLVMBuildCall2(u->b, LLVMGlobalGetValueType(f), f, arg, n, "");
}

/* ---- Entries ---- */

enum { WORKER_ID, WORKER_THREADS }; /* words of gradc_rt_worker */

static LLVMValueRef worker_word(cg_unit *u, LLVMValueRef worker, int word)
{
    return LLVMBuildZExt(
        u->b, LLVMBuildLoad2(u->b, u->i32, cg_gep(u, worker, cg_i64(u, 4 * word)), ""), u->i64, "");
}

static LLVMValueRef worker_id(cg_unit *u, LLVMValueRef worker)
{
    return worker_word(u, worker, WORKER_ID);
}

static LLVMValueRef barrier_function(cg_unit *u)
{
    return cg_cpu_external(u, "gradc_rt_barrier", LLVMFunctionType(u->nothing, &u->ptr, 1, 0));
}

static void begin_entry(cg_unit *u)
{
    barrier_function(u);
    cg_cpu_failed_function(u);
}

static void barrier(cg_unit *u, LLVMValueRef worker)
{
    call(u, barrier_function(u), &worker, 1);
}

/* ---- Kernels ---- */

/* The object's function (worker, tasks) -> {lo, hi}: a worker's share of a kernel's tasks. A single
 * task is the first worker's. */
static LLVMValueRef share_function(cg_unit *u)
{
    const char *symbol = base_format(u->arena, "%s_share%s", u->prefix, u->suffix);
    LLVMValueRef f = LLVMGetNamedFunction(u->module, symbol), bound[2];
    if (f)
        return f;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(u->b);
    LLVMMetadataRef place = cg_debug_enter(u, NULL);
    LLVMTypeRef param[] = {u->ptr, u->i64}, pair[] = {u->i64, u->i64};
    f = LLVMAddFunction(u->module, symbol,
                        LLVMFunctionType(LLVMStructTypeInContext(u->ll, pair, 2, 0), param, 2, 0));
    LLVMSetLinkage(f, LLVMInternalLinkage);
    cg_kernel_attributes(u, f);
    LLVMPositionBuilderAtEnd(u->b, LLVMAppendBasicBlockInContext(u->ll, f, ""));
    LLVMValueRef id = worker_word(u, LLVMGetParam(f, 0), WORKER_ID),
                 threads = worker_word(u, LLVMGetParam(f, 0), WORKER_THREADS);
    LLVMValueRef up = LLVMBuildSub(u->b, threads, cg_i64(u, 1), "");
    for (int i = 0; i < 2; i++) {
        LLVMValueRef number = LLVMBuildAdd(u->b, id, cg_i64(u, i), "");
        bound[i] = LLVMBuildUDiv(
            u->b, LLVMBuildAdd(u->b, LLVMBuildMul(u->b, LLVMGetParam(f, 1), number, ""), up, ""),
            threads, "");
    }
    LLVMBuildAggregateRet(u->b, bound, 2);
    LLVMPositionBuilderAtEnd(u->b, before);
    cg_debug_leave(u, place);
    return f;
}

static void begin_tasks(cg_emitter *e, LLVMValueRef tasks)
{
    cg_unit *u = e->u;
    LLVMValueRef args[] = {e->worker, tasks}, share = call(u, share_function(u), args, 2);
    e->lo = LLVMBuildExtractValue(u->b, share, 0, "");
    e->hi = LLVMBuildExtractValue(u->b, share, 1, "");
    cg_cpu_leave_without_tasks(e);
}

const cg_backend cg_threaded = {
    .hosted = true,
    .worker_id = worker_id,
    .begin_entry = begin_entry,
    .launch = cg_cpu_launch,
    .barrier = barrier,
    .failed = cg_cpu_failed,
    .begin_tasks = begin_tasks,
    .bad_index = cg_cpu_bad_index,
    .emit_object = cg_emit_parts,
};
