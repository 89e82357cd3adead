/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What differs between processors: feature bits and the floating-point mode. */
#include "runtime/rt.h"

#if defined(__x86_64__)

#include <cpuid.h>

/* The register sets that the system saves. */
static uint64_t xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

uint64_t rt_cpu(void)
{
    static const struct {
        uint64_t bit;
        /* Bits of leaf 1, leaf 7, and its subleaf 1, that must all be set. */
        uint32_t ecx1, ebx7, ecx7, edx7, eax71, edx71;
        uint32_t saved; /* and of xcr0 */
    } feature[] = {
        {GRADC_RT_CPU_SSE41, .ecx1 = 1u << 19},
        {GRADC_RT_CPU_AVX, .ecx1 = 1u << 28, .saved = 0x06},
        {GRADC_RT_CPU_AVX2, .ecx1 = 1u << 28, .ebx7 = 1u << 5, .saved = 0x06},
        {GRADC_RT_CPU_FMA, .ecx1 = 1u << 12 | 1u << 28, .saved = 0x06},
        {GRADC_RT_CPU_F16C, .ecx1 = 1u << 29 | 1u << 28, .saved = 0x06},
        {GRADC_RT_CPU_AVX512, .ecx1 = 1u << 28,
         .ebx7 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31, .saved = 0xe6},
        {GRADC_RT_CPU_BMI2, .ebx7 = 1u << 8},
        {GRADC_RT_CPU_AVXVNNI, .ecx1 = 1u << 28, .eax71 = 1u << 4, .saved = 0x06},
        {GRADC_RT_CPU_AVX512VNNI, .ecx1 = 1u << 28, .ebx7 = 1u << 16, .ecx7 = 1u << 11,
         .saved = 0xe6},
        {GRADC_RT_CPU_AVX512BF16, .ecx1 = 1u << 28, .ebx7 = 1u << 16, .eax71 = 1u << 5,
         .saved = 0xe6},
        {GRADC_RT_CPU_AVXVNNIINT8, .ecx1 = 1u << 28, .edx71 = 1u << 4, .saved = 0x06},
        {GRADC_RT_CPU_AMX_INT8, .edx7 = 1u << 24 | 1u << 25, .saved = 0x60000},
        {GRADC_RT_CPU_AMX_BF16, .edx7 = 1u << 24 | 1u << 22, .saved = 0x60000},
    };
    uint32_t a, b, c, c1 = 0, d, b7 = 0, c7 = 0, d7 = 0, a71 = 0, d71 = 0;
    if (!__get_cpuid(1, &a, &b, &c1, &d))
        return 0;
    if (__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) && a >= 1)
        __get_cpuid_count(7, 1, &a71, &b, &c, &d71);
    uint64_t saved = c1 & 1u << 27 ? xcr0() : 0; /* xgetbv exists only with OSXSAVE */
    uint64_t bits = 0;
    for (size_t i = 0; i < sizeof feature / sizeof *feature; i++)
        if ((c1 & feature[i].ecx1) == feature[i].ecx1 &&
            (b7 & feature[i].ebx7) == feature[i].ebx7 &&
            (c7 & feature[i].ecx7) == feature[i].ecx7 &&
            (d7 & feature[i].edx7) == feature[i].edx7 &&
            (a71 & feature[i].eax71) == feature[i].eax71 &&
            (d71 & feature[i].edx71) == feature[i].edx71 &&
            (saved & feature[i].saved) == feature[i].saved)
            bits |= feature[i].bit;
    return bits;
}

/* Linux lets a process use the tiles of AMX after it has asked for them: signal frames grow. */
bool rt_cpu_grants(uint64_t bits)
{
    if (!(bits & (GRADC_RT_CPU_AMX_INT8 | GRADC_RT_CPU_AMX_BF16)))
        return true;
#if defined(__linux__) && __STDC_HOSTED__
    enum { ARCH_PRCTL = 158, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    long result = ARCH_PRCTL;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"((long)REQUEST_PERMISSION), "S"((long)TILE_DATA)
                     : "rcx", "r11", "memory");
    return result == 0;
#else
    return false;
#endif
}

uint64_t rt_fp_enter(void)
{
    uint32_t mode = __builtin_ia32_stmxcsr();
    /* FTZ 0x8000, DAZ 0x0040, all traps masked 0x1f80, rounding 0. */
    __builtin_ia32_ldmxcsr(0x9fc0);
    return mode;
}

void rt_fp_leave(uint64_t mode)
{
    __builtin_ia32_ldmxcsr((uint32_t)mode);
}

#elif defined(__aarch64__)

uint64_t rt_cpu(void)
{
    return 0; /* the baseline is the only level */
}

uint64_t rt_fp_enter(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)1 << 24)); /* FZ; rounding and traps 0 */
    return mode;
}

void rt_fp_leave(uint64_t mode)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(mode));
}

#elif defined(__riscv)

uint64_t rt_cpu(void)
{
    return 0;
}

/* RISC-V cannot flush to zero. */
uint64_t rt_fp_enter(void)
{
#ifdef __riscv_flen
    unsigned long mode;
    __asm__ volatile("frcsr %0" : "=r"(mode));
    __asm__ volatile("fscsr zero"); /* rounding 0; there are no traps */
    return mode;
#else
    return 0;
#endif
}

void rt_fp_leave(uint64_t mode)
{
#ifdef __riscv_flen
    __asm__ volatile("fscsr %0" ::"r"((unsigned long)mode));
#else
    (void)mode;
#endif
}

#elif defined(__arm__)

uint64_t rt_cpu(void)
{
    return 0;
}

/* Without a floating-point unit there is no mode. */
uint64_t rt_fp_enter(void)
{
#ifdef __ARM_FP
    uint32_t mode;
    __asm__ volatile("vmrs %0, fpscr" : "=r"(mode));
    __asm__ volatile("vmsr fpscr, %0" ::"r"((uint32_t)1 << 24)); /* FZ; rounding and traps 0 */
    return mode;
#else
    return 0;
#endif
}

void rt_fp_leave(uint64_t mode)
{
#ifdef __ARM_FP
    __asm__ volatile("vmsr fpscr, %0" ::"r"((uint32_t)mode));
#else
    (void)mode;
#endif
}

#else
#error "gradc_rt does not support this processor: add its floating-point mode here"
#endif
