/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * All that freestanding code needs of its surroundings: a start, memcpy and memset; and for tests
 * a way to say something: the system's calls on Linux, semihosting on Arm. */
#include "tests/freestanding/start.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memset(void *to, int value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile char *)to)[i] = (char)value;
    return to;
}

#ifdef __arm__

extern char stack_top[]; /* mps2.ld */

static void semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void put_text(const char *text)
{
    semihosting(4, text); /* SYS_WRITE0 */
}

static void leave(int status)
{
    uint32_t block[] = {0x20026, (uint32_t)status}; /* ADP_Stopped_ApplicationExit */
    semihosting(0x20, block);                       /* SYS_EXIT_EXTENDED */
    for (;;)
        ;
}

static void fault(void)
{
    put_text("fault\n");
    leave(99);
}

static void reset(void)
{
#ifdef __ARM_FP
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* CPACR: the FPU may be used */
    __asm__ volatile("dsb\n\tisb");
#endif
    leave(main());
}

extern void (*const vectors[])(void);
__attribute__((section(".vectors"), used)) void (*const vectors[])(void) = {
    (void (*)(void))(void *)stack_top, reset, fault, fault, fault, fault, fault};

#else

static long system_call(long number, long a, long b, long c)
{
#ifdef __riscv
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#else
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
#endif
}

#if defined(__riscv) || defined(__aarch64__)
enum { WRITE = 64, EXIT = 93 };
#else
enum { WRITE = 1, EXIT = 60 };
#endif

void put_text(const char *text)
{
    long n = 0;
    while (text[n])
        n++;
    system_call(WRITE, 1, (long)(intptr_t)text, n);
}

__attribute__((used)) static void start(void)
{
    system_call(EXIT, main(), 0, 0);
}

#ifdef __riscv
__asm__(".globl _start\n_start:\n\t.option push\n\t.option norelax\n"
        "\tla gp, __global_pointer$\n\t.option pop\n\tandi sp, sp, -16\n\tcall start");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tbl start"); /* the system aligns the stack */
#else
__asm__(".globl _start\n_start:\n\tand $-16, %rsp\n\tcall start");
#endif

#endif
