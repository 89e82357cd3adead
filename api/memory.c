/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The memory of a process that is nothing but the command. */
#include "api/api.h"
#include "codegen/codegen.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Whatever thread is here, others may hold any lock: nothing but system calls. */
static void give_up(void)
{
    static const char text[] = "gradc: error: out of memory while machine code was generated\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    _exit(1);
}

/* Bytes of private memory that the process may write to; 0: unknown. */
static rlim_t in_use(void)
{
    unsigned long long data = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%*s %*s %*s %*s %*s %llu", &data) != 1)
        data = 0;
    fclose(f);
    return (rlim_t)data * (rlim_t)sysconf(_SC_PAGESIZE);
}

void api_own_process(void)
{
    struct rlimit limit;
    long pages = sysconf(_SC_PHYS_PAGES);
    rlim_t budget = pages > 0 ? (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) : 0;
    cg_on_out_of_memory(give_up);
    /* A sanitizer's shadow is larger than any memory. */
    if (budget && in_use() < budget && !getrlimit(RLIMIT_DATA, &limit) && limit.rlim_cur > budget) {
        limit.rlim_cur = budget;
        setrlimit(RLIMIT_DATA, &limit);
    }
}
