/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shared by the runtime's files. The runtime has no static mutable state: everything is in a
 * context or a pool, both in memory of the caller. The files of runtime/ need only a compiler,
 * memcpy and memset; code that needs an operating system is in runtime/hosted/. */
#ifndef RUNTIME_RT_H
#define RUNTIME_RT_H

#include "include/gradc_rt.h"

#include <stdbool.h>

/* Pauses in a loop that waits for another thread. */
static inline void rt_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#define RT_LINE 64 /* bytes of a cache line, and the alignment of every block */

/* Shared by the workers of one call, beside the model's own memory. */
typedef struct rt_run {
    gradc_rt_pool *pool; /* for barriers; NULL if one thread runs the call */
    uint32_t noted;      /* atomic: a bad index was reported */
    uint32_t lock;       /* atomic: guards the last four fields */
    /* `noted` at the last barrier: the same for all workers until the next one */
    uint32_t agreed;
    uint32_t check;
    int64_t at, value, limit;
} rt_run;

/* Runs an entry's body with several threads, including the caller's, and returns when all have
 * finished. */
typedef gradc_rt_status rt_launch(gradc_rt_ctx *ctx, gradc_rt_body *body, uint64_t wanted);

struct gradc_rt_ctx {
    const gradc_rt_model *model;
    const gradc_rt_level *level; /* the first that this processor supports */
    char *state, *scratch;
    void **slot;       /* [2 + ports of an entry], after the context, … */
    void **kept;       /* [inputs]: … then forward_train's inputs, for backward, … */
    void *more;        /* … then the memory of runtime/hosted/ */
    rt_launch *launch; /* NULL: the caller runs all entries alone */
    gradc_rt_pool *pool;
    uint32_t threads;
    uint32_t own_pool;
    uint32_t ready;     /* the residuals of forward_train are valid: backward may run */
    uint32_t kept_spec; /* forward_train's specialisation, for backward */
    gradc_rt_error error;
    rt_run run;
};

/* context.c: gradc_rt_init in two steps. */
/* Checks the arguments of init: returns the level to run, or NULL and the status. more: bytes that
 * are needed after the context. */
const gradc_rt_level *rt_check(const gradc_rt_model *model, const void *arena, size_t bytes,
                               const gradc_rt_options *options, size_t more,
                               gradc_rt_status *status);
/* A context with the initial state, for one thread. */
gradc_rt_ctx *rt_lay_out(const gradc_rt_model *model, const gradc_rt_level *level, void *arena,
                         uint64_t seed);

/* status.c */
/* Records the error of a failed call and returns its status. */
gradc_rt_status rt_fail(gradc_rt_ctx *ctx, gradc_rt_status status, const char *tensor, int64_t at,
                        int64_t value, int64_t limit);
/* Bytes of an element; 0 if dtype is not an element type. */
size_t rt_dtype_bytes(uint32_t dtype);

/* order.c */
/* Copies `count` elements from row-major position `first` on out of the state's storage. */
void rt_read_rows(const gradc_rt_state *s, const char *storage, size_t first, size_t count,
                  char *rows);
/* Stores all of the state's elements, given row-major. */
void rt_write_rows(const gradc_rt_state *s, char *storage, const char *rows);

/* cpu.c */
/* GRADC_RT_CPU_ bits of the features that this processor and the system support. */
uint64_t rt_cpu(void);
/* Asks the system for what it gives only on request, by a system call if a bit needs it; false: it
 * refuses one of these, or there is no system. */
#ifdef __x86_64__
bool rt_cpu_grants(uint64_t bits);
#else
static inline bool rt_cpu_grants(uint64_t bits)
{
    (void)bits;
    return true;
}
#endif
/* Sets flush-to-zero, denormals-are-zero, round to nearest, no traps. Returns the previous mode. */
uint64_t rt_fp_enter(void);
void rt_fp_leave(uint64_t mode);

#endif
