/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * One thread without an operating system: a kernel's function does all its tasks, and barriers are
 * empty. */
#include "codegen/cpu/cpu.h"
#include "codegen/target.h"

static LLVMValueRef worker_id(cg_unit *u, LLVMValueRef worker)
{
    (void)worker;
    return cg_i64(u, 0);
}

static void begin_entry(cg_unit *u)
{
    (void)u;
}

static void barrier(cg_unit *u, LLVMValueRef worker)
{
    (void)u, (void)worker;
}

static void begin_tasks(cg_emitter *e, LLVMValueRef tasks)
{
    e->lo = cg_i64(e->u, 0);
    e->hi = tasks;
    cg_cpu_leave_without_tasks(e);
}

const cg_backend cg_freestanding = {
    .hosted = false,
    .worker_id = worker_id,
    .begin_entry = begin_entry,
    .launch = cg_cpu_launch,
    .barrier = barrier,
    .failed = cg_cpu_failed,
    .begin_tasks = begin_tasks,
    .bad_index = cg_cpu_bad_index,
    .emit_object = cg_emit_parts,
};
