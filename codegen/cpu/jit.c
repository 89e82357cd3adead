/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Loads an object file into this process: the very bytes that users link. */
#define _GNU_SOURCE /* memmem */
#include "codegen/target.h"
#include "include/gradc_rt.h"

#include <dlfcn.h>
#include <llvm-c/LLJIT.h>
#include <string.h>

/* What an object may refer to: the runtime, and the functions that LLVM calls by itself. */
static const cg_symbol runtime[] = {
#define SYMBOL(name) {#name, (void *)(uintptr_t)name}
    SYMBOL(gradc_rt_init),
    SYMBOL(gradc_rt_fini),
    SYMBOL(gradc_rt_call),
    SYMBOL(gradc_rt_zero_grad),
    SYMBOL(gradc_rt_last_error),
    SYMBOL(gradc_rt_param_get),
    SYMBOL(gradc_rt_param_set),
    SYMBOL(gradc_rt_grad_block),
    SYMBOL(gradc_rt_save),
    SYMBOL(gradc_rt_load),
    SYMBOL(gradc_rt_barrier),
    SYMBOL(gradc_rt_bad_index),
    SYMBOL(gradc_rt_failed),
    SYMBOL(memcpy),
    SYMBOL(memset),
    SYMBOL(memmove),
#undef SYMBOL
};
enum { RUNTIME = sizeof runtime / sizeof *runtime };

/* Functions of OpenBLAS, which is loaded for objects that name one. */
static const char *const blas[] = {"cblas_sgemm", "cblas_dgemm"};
enum { BLAS = sizeof blas / sizeof *blas };

struct cg_jit {
    LLVMOrcLLJITRef jit;
};

static void dispose(void *jit)
{
    LLVMConsumeError(LLVMOrcDisposeLLJIT(jit));
}

static void close_library(void *library)
{
    dlclose(library);
}

/* The functions of OpenBLAS that the object names, appended to pair; how many. */
static int find_blas(base_ctx *ctx, LLVMOrcLLJITRef jit, const void *object, size_t size,
                     LLVMOrcCSymbolMapPair *pair)
{
    int n = 0;
    void *library = NULL;
    for (int i = 0; i < BLAS; i++) {
        if (!memmem(object, size, blas[i], strlen(blas[i]) + 1))
            continue;
        if (!library && (library = dlopen(CG_BLAS_LIBRARY, RTLD_LAZY | RTLD_LOCAL)))
            base_defer(ctx, close_library, library);
        void *address = library ? dlsym(library, blas[i]) : NULL;
        if (address)
            pair[n++] = (LLVMOrcCSymbolMapPair){LLVMOrcLLJITMangleAndIntern(jit, blas[i]),
                                                {(LLVMOrcJITTargetAddress)(uintptr_t)address,
                                                 {LLVMJITSymbolGenericFlagsExported, 0}}};
    }
    return n;
}

static bool failed(base_ctx *ctx, LLVMErrorRef error)
{
    if (!error)
        return false;
    char *message = LLVMGetErrorMessage(error);
    base_report(ctx, BASE_ERROR, NULL, "the object code cannot be loaded: %s", message);
    LLVMDisposeErrorMessage(message);
    return true;
}

cg_jit *cg_jit_load(base_ctx *ctx, base_arena *arena, const void *object, size_t size,
                    const cg_symbol *symbols)
{
    cg_jit *j = base_new(arena, cg_jit);
    if (failed(ctx, LLVMOrcCreateLLJIT(&j->jit, LLVMOrcCreateLLJITBuilder())))
        return NULL;
    base_defer(ctx, dispose, j->jit);
    int more = 0;
    while (symbols && symbols[more].name)
        more++;
    LLVMOrcCSymbolMapPair *pair = base_array(arena, LLVMOrcCSymbolMapPair, more + RUNTIME + BLAS);
    int n = more + RUNTIME;
    for (int i = 0; i < n; i++) {
        const cg_symbol *s = i < RUNTIME ? &runtime[i] : &symbols[i - RUNTIME];
        pair[i] = (LLVMOrcCSymbolMapPair){LLVMOrcLLJITMangleAndIntern(j->jit, s->name),
                                          {(LLVMOrcJITTargetAddress)(uintptr_t)s->address,
                                           {LLVMJITSymbolGenericFlagsExported, 0}}};
    }
    n += find_blas(ctx, j->jit, object, size, pair + n);
    LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(j->jit);
    LLVMOrcMaterializationUnitRef known = LLVMOrcAbsoluteSymbols(pair, (size_t)n);
    LLVMErrorRef error = LLVMOrcJITDylibDefine(library, known);
    if (error)
        LLVMOrcDisposeMaterializationUnit(known);
    if (failed(ctx, error))
        return NULL;
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(object, size, "model");
    return failed(ctx, LLVMOrcLLJITAddObjectFile(j->jit, library, buffer)) ? NULL : j;
}

void *cg_jit_symbol(cg_jit *jit, const char *name)
{
    LLVMOrcExecutorAddress address = 0;
    LLVMErrorRef error = LLVMOrcLLJITLookup(jit->jit, &address, name);
    if (error) {
        LLVMConsumeError(error);
        return NULL;
    }
    return (void *)(uintptr_t)address; /* NOLINT: an address is what was asked for */
}
