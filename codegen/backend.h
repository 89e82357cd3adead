/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The interface to a kind of machine. An entry launches kernels in order, with barriers where a
 * kernel reads what others wrote; a kernel is a number of independent tasks. A backend decides who
 * runs the tasks, what a barrier is, and what the bytes of an object are. The files that emit
 * expressions and kernels see nothing else of the machine. Backends of CPUs are in codegen/cpu/. */
#ifndef GRADC_CODEGEN_BACKEND_H
#define GRADC_CODEGEN_BACKEND_H

#include "codegen/emit.h"

struct cg_backend {
    /* There are threads and files: several workers may run an entry, the header has save and
     * load. */
    bool hosted;
    /* ---- In the body of an entry, (worker, slots, wanted) -> nothing; worker: gradc_rt_worker */
    /* The worker's number, an i64. Called before the others, in the entry block of a function, so
     * that the number dominates all later uses. */
    LLVMValueRef (*worker_id)(cg_unit *u, LLVMValueRef worker);
    /* Declares what an entry may call; once for each entry. */
    void (*begin_entry)(cg_unit *u);
    /* Runs all tasks of a kernel. arg: the worker, then the call's arguments. */
    void (*launch)(cg_unit *u, const cg_call *call, LLVMValueRef *arg, int nargs);
    /* Writes before it are visible to all workers after it. */
    void (*barrier)(cg_unit *u, LLVMValueRef worker);
    /* i1: a bad index was noted before the last barrier. */
    LLVMValueRef (*failed)(cg_unit *u, LLVMValueRef worker);

    /* ---- In a kernel's function */
    /* Sets e->lo and e->hi to the worker's share of `tasks` (i64), and returns from the function
     * where that is empty. The builder is left in the block for the tasks. */
    void (*begin_tasks)(cg_emitter *e, LLVMValueRef tasks);
    /* Notes a bad index: check (i32), then element, value and limit (i64). */
    void (*bad_index)(cg_unit *u, LLVMValueRef worker, LLVMValueRef check, LLVMValueRef at,
                      LLVMValueRef value, LLVMValueRef limit);

    /* ---- The object */
    /* Optimises the modules of the unit and its parts and makes one object file of them; machine:
     * the unit's. The bytes live in the unit's arena or until its context is freed. */
    const void *(*emit_object)(cg_unit *u, const cg_target *t, LLVMTargetMachineRef machine,
                               int level, size_t *size);
};

/* Workers in one address space that synchronise at barriers (codegen/cpu/threaded.c). */
extern const cg_backend cg_threaded;
/* One thread without an operating system (codegen/cpu/freestanding.c). */
extern const cg_backend cg_freestanding;

#endif
