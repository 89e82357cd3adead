/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * From the LLVM modules of a unit and its parts to one object. LLVM takes nearly all of the compile
 * time, and modules in separate contexts are independent: each is a job, and threads take one after
 * the other. */
#include "codegen/target.h"

#include <llvm-c/BitReader.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Linker.h>
#include <stdatomic.h>
#include <unistd.h>

typedef struct job {
    cg_unit *u;
    LLVMTargetMachineRef machine;
    LLVMMemoryBufferRef object;
} job;

typedef struct work {
    job *job;
    int n, level;
    atomic_int next;
    const char *pass; /* for BUG */
} work;

enum { MOST_THREADS = 64 };

static void *do_jobs(void *user)
{
    work *w = user;
    base_current_pass = w->pass;
    for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->n;) {
        cg_optimise(w->job[i].u, w->job[i].machine, w->level);
        w->job[i].object = cg_emit(w->job[i].u, w->job[i].machine, false);
    }
    return NULL;
}

static int helpers_for(int jobs)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int most = processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : (int)processors;
    return (jobs < most ? jobs : most) - 1;
}

const void *cg_emit_parts(cg_unit *u, const cg_target *t, LLVMTargetMachineRef machine, int level,
                          size_t *size)
{
    work w = {.n = u->nparts + 1, .level = level, .pass = base_current_pass};
    w.job = base_array(u->arena, job, w.n);
    for (int i = 0; i < w.n; i++) /* the unit's own module last: it is the smallest */
        w.job[i] = (job){i < u->nparts ? u->part[i] : u,
                         i < u->nparts ? cg_machine(u->ctx, t, level) : machine, NULL};
    const void **object = base_array(u->arena, const void *, w.n);
    pthread_t thread[MOST_THREADS];
    int started = 0, helpers = helpers_for(w.n);
    while (started < helpers && !base_thread_start(&thread[started], do_jobs, &w))
        started++;
    do_jobs(&w);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < w.n; i++)
        object[i] = cg_buffer(u->ctx, w.job[i].object, size);
    return w.n == 1 ? object[0] : cg_join_objects(u->arena, object, w.n, size);
}

void cg_link_parts(cg_unit *u)
{
    for (; u->nparts; u->nparts--) {
        LLVMMemoryBufferRef bitcode =
            LLVMWriteBitcodeToMemoryBuffer(u->part[u->nparts - 1]->module);
        LLVMModuleRef module = NULL;
        bool bad = LLVMParseBitcodeInContext2(u->ll, bitcode, &module) ||
                   LLVMLinkModules2(u->module, module);
        LLVMDisposeMemoryBuffer(bitcode);
        if (bad)
            BUG("LLVM cannot link the parts of %s", u->prefix);
    }
}
