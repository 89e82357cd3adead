/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Counts allocations. To be included by one source of a test program (with glibc): it defines
 * malloc and its relatives, so calls from anywhere in the program are counted, those of libraries
 * and of other threads too.
 *
 *     long before = no_malloc_count();
 *     mlp_step(...);
 *     ck_assert_int_eq(no_malloc_count(), before);
 *
 * The sanitizers define malloc themselves; under them NO_MALLOC_COUNTS is 0 and the count stays
 * 0. */
#ifndef TESTS_NO_MALLOC_H
#define TESTS_NO_MALLOC_H

#include <errno.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NO_MALLOC_COUNTS 0
static inline long no_malloc_count(void)
{
    return 0;
}
#else
#define NO_MALLOC_COUNTS 1

static long no_malloc_calls; /* atomic */

/* How many allocations there were in this process. */
static inline long no_malloc_count(void)
{
    return __atomic_load_n(&no_malloc_calls, __ATOMIC_SEQ_CST);
}

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

void *malloc(size_t bytes)
{
    __atomic_add_fetch(&no_malloc_calls, 1, __ATOMIC_SEQ_CST);
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    __atomic_add_fetch(&no_malloc_calls, 1, __ATOMIC_SEQ_CST);
    return __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
    __atomic_add_fetch(&no_malloc_calls, 1, __ATOMIC_SEQ_CST);
    return __libc_realloc(p, bytes);
}

void *memalign(size_t alignment, size_t bytes)
{
    __atomic_add_fetch(&no_malloc_calls, 1, __ATOMIC_SEQ_CST);
    return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return memalign(alignment, bytes);
}

int posix_memalign(void **p, size_t alignment, size_t bytes)
{
    *p = memalign(alignment, bytes);
    return *p ? 0 : ENOMEM;
}

void free(void *p)
{
    __libc_free(p);
}
#endif

#endif
