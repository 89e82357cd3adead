/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Memory that ends or begins at a page boundary, beside pages that fault when they are touched. */
#ifndef TESTS_GUARDED_H
#define TESTS_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct guarded {
    char *map, *at; /* at: NULL when there was no memory */
    size_t mapped, bytes;
} guarded;

/* Writable bytes that end, or begin, at a page that faults. */
static inline guarded guarded_new(size_t bytes, bool at_end)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    guarded s = {.mapped = whole + 2 * page, .bytes = bytes};
    s.map = mmap(NULL, s.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s.map == MAP_FAILED || (whole && mprotect(s.map + page, whole, PROT_READ | PROT_WRITE)))
        return (guarded){0};
    s.at = s.map + page + (at_end ? whole - bytes : 0);
    return s;
}

static inline void guarded_free(guarded *s, int n)
{
    for (int i = 0; i < n; i++)
        if (s[i].at)
            munmap(s[i].map, s[i].mapped);
}

#endif
