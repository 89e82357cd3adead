/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * How the code of a target runs. An entry launches kernels one after the other, with barriers where
 * a kernel reads what others wrote; a kernel is a number of independent tasks. Who runs the tasks,
 * what a barrier is, and what the bytes of an object are, a backend says: it is all that the files
 * which emit expressions and kernels know of it. Those of CPUs are in codegen/cpu/. */
#ifndef GRADC_CODEGEN_BACKEND_H
#define GRADC_CODEGEN_BACKEND_H

#include "codegen/emit.h"

struct cg_backend {
    /* Code has threads and files: entries may be given to several workers, the header has save and
     * load. */
    bool hosted;
    /* ---- In the body of an entry, (worker, slots, wanted) -> nothing; worker: gradc_rt_worker */
    /* Before the first of the others, in a function whose worker is given: the worker's number, an
     * i64 that is valid wherever that function goes on. */
    LLVMValueRef (*worker_id)(cg_unit *u, LLVMValueRef worker);
    /* Declares what an entry may call; once for each entry. */
    void (*begin_entry)(cg_unit *u);
    /* Runs all tasks of a kernel. arg: the worker, then the call's arguments. */
    void (*launch)(cg_unit *u, const cg_call *call, LLVMValueRef *arg, int nargs);
    /* What was written before it is seen after it. */
    void (*barrier)(cg_unit *u, LLVMValueRef worker);
    /* i1: a bad index was noted before the last barrier. */
    LLVMValueRef (*failed)(cg_unit *u, LLVMValueRef worker);

    /* ---- In a kernel's function */
    /* Sets e->lo and e->hi to the tasks, of so many (i64), that this run of the function does, and
     * leaves the function where there are none. Code goes on behind it. */
    void (*begin_tasks)(cg_emitter *e, LLVMValueRef tasks);
    /* Notes a bad index: check (i32), then element, value and limit (i64). */
    void (*bad_index)(cg_unit *u, LLVMValueRef worker, LLVMValueRef check, LLVMValueRef at,
                      LLVMValueRef value, LLVMValueRef limit);

    /* ---- The object */
    /* Optimises the modules of the unit and its parts and makes one object file of them; machine:
     * the unit's. What is given lives in the unit's arena or until its context is freed. */
    const void *(*emit_object)(cg_unit *u, const cg_target *t, LLVMTargetMachineRef machine,
                               int level, size_t *size);
};

/* Workers that meet at barriers in one address space (codegen/cpu/threaded.c). */
extern const cg_backend cg_threaded;
/* One thread without an operating system (codegen/cpu/freestanding.c). */
extern const cg_backend cg_freestanding;

#endif
