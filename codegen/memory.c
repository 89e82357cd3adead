/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What LLVM's C API lacks: handlers for running out of memory, where LLVM otherwise aborts. It
 * allocates with operator new and with malloc, and each of the two has a C++ function that sets a
 * handler. Both are looked up by their mangled names of the Itanium C++ ABI; if LLVM is linked so
 * that they are not found, it still aborts. */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "codegen/codegen.h"

#include <dlfcn.h>

typedef void handler(void);
typedef handler *set_new_handler(handler *f);
typedef void bad_alloc(void *user, const char *reason, bool crash_report);
typedef void install_bad_alloc(bad_alloc *f, void *user);

static void on_bad_alloc(void *user, const char *reason, bool crash_report)
{
    (void)reason, (void)crash_report;
    ((handler *)user)();
}

void cg_on_out_of_memory(void (*f)(void))
{
    set_new_handler *set = (set_new_handler *)dlsym(RTLD_DEFAULT, "_ZSt15set_new_handlerPFvvE");
    install_bad_alloc *install = (install_bad_alloc *)dlsym(
        RTLD_DEFAULT, "_ZN4llvm31install_bad_alloc_error_handlerEPFvPvPKcbES0_");
    if (set)
        set(f);
    if (install)
        install(on_bad_alloc, (void *)f);
}
