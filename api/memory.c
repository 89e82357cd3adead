/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Memory limits of a process that runs only the command. */
#include "api/api.h"
#include "codegen/codegen.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Called on any thread, while others may hold any lock: only system calls are safe. */
static void give_up(void)
{
    static const char text[] = "gradc: error: out of memory during code generation\n";
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

/* The memory of the machine, or of the container if that has less (cgroups v2 and v1); 0:
 * unknown. */
static rlim_t memory_there_is(void)
{
    static const char *const files[] = {"/sys/fs/cgroup/memory.max",
                                        "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    long pages = sysconf(_SC_PHYS_PAGES);
    rlim_t least = pages > 0 ? (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) : 0;
    for (int i = 0; i < 2; i++) {
        unsigned long long bytes = 0;
        FILE *f = fopen(files[i], "re");
        if (!f)
            continue;
        if (fscanf(f, "%llu", &bytes) == 1 && bytes && (!least || bytes < least)) /* "max": none */
            least = (rlim_t)bytes;
        fclose(f);
    }
    return least;
}

void api_own_process(void)
{
    struct rlimit limit;
    rlim_t budget = memory_there_is();
    cg_on_out_of_memory(give_up);
    /* A sanitizer's shadow memory is larger than any budget. */
    if (budget && in_use() < budget && !getrlimit(RLIMIT_DATA, &limit) && limit.rlim_cur > budget) {
        limit.rlim_cur = budget;
        setrlimit(RLIMIT_DATA, &limit);
    }
}
