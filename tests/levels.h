/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The processor levels (codegen/cpus.def) that tests compile for and run, as far as this processor
 * has them. */
#ifndef TESTS_LEVELS_H
#define TESTS_LEVELS_H

#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const levels[] = {
#ifdef __x86_64__
    "x86-64",
    "x86-64-v2",
    "x86-64-v3",
    "x86-64-v4",
#else
    "native",
#endif
};
enum { LEVELS = sizeof levels / sizeof *levels };

static inline bool level_runs_here(const char *cpu)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (!strcmp(cpu, "x86-64-v2"))
        return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    if (!strcmp(cpu, "x86-64-v3"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("bmi2");
    if (!strcmp(cpu, "x86-64-v4"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (!strcmp(cpu, "x86-64-v3+avxvnni"))
        return level_runs_here("x86-64-v3") && __builtin_cpu_supports("avxvnni");
    unsigned a, b, c, d = 0;
    if (!strcmp(cpu, "x86-64-v3+avxvnniint8")) /* gcc 12 has no name for it */
        return level_runs_here("x86-64-v3") && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
               d & 1u << 4;
    if (!strcmp(cpu, "x86-64-v4+avx512vnni"))
        return level_runs_here("x86-64-v4") && __builtin_cpu_supports("avx512vnni");
    if (!strcmp(cpu, "x86-64-v4+avx512bf16"))
        return level_runs_here("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
    if (strstr(cpu, "+amx-")) /* emulated by tests/amx.h */
        return level_runs_here(cpu[8] == '3' ? "x86-64-v3" : "x86-64-v4");
#endif
    (void)cpu;
    return true;
}

/* The next of the levels that run here, cyclically. */
static inline const char *level_by_turn(unsigned turn)
{
    unsigned n = 0;
    for (int i = 0; i < LEVELS; i++)
        n += level_runs_here(levels[i]);
    turn %= n;
    for (int i = 0;; i++)
        if (level_runs_here(levels[i]) && !turn--)
            return levels[i];
}

/* Writes to the tests' log, once per process, that code of this level was run; `./run test` counts
 * these lines. */
static inline void level_ran(const char *cpu)
{
    static unsigned said;
    for (int i = 0; i < LEVELS; i++)
        if (!strcmp(cpu, levels[i]) && !(said >> i & 1)) {
            said |= 1u << i;
            printf("ran: %s\n", cpu);
            fflush(stdout);
        }
}

#endif
