/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * AMX for processors without it. Its instructions raise SIGILL there; the handler does what the
 * instruction would have done, and goes on behind it. So the machine code itself is tested,
 * configuration of the tiles included. Link with --wrap=rt_cpu and --wrap=rt_cpu_grants. Where
 * the processor has AMX and the system grants it, the code runs as it is.
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2. */
#ifndef TESTS_AMX_H
#define TESTS_AMX_H

#include "gradc_rt.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { AMX_BITS = GRADC_RT_CPU_AMX_INT8 | GRADC_RT_CPU_AMX_BF16 };

uint64_t __real_rt_cpu(void);
uint64_t __wrap_rt_cpu(void);

#ifdef __x86_64__
#include <ucontext.h>

bool __real_rt_cpu_grants(uint64_t bits);
bool __wrap_rt_cpu_grants(uint64_t bits);

typedef union amx_tile {
    uint8_t row[16][64];
    int32_t i32[16][16];
    float f32[16][16];
    uint16_t bf16[16][32];
} amx_tile;
static _Thread_local struct {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config;
    amx_tile tile[8];
} amx;

static volatile int amx_emulated; /* instructions, of all threads, about */

typedef struct amx_code {
    const uint8_t *at;
    greg_t *reg;
    int prefix, opcode, mod, to, rm, third; /* of a tile, or the parts of an address */
    bool x, b;
} amx_code;

static inline int64_t amx_reg(const amx_code *c, int number)
{
    static const int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
    return c->reg[order[number]];
}

/* The address after the ModRM byte, and what an index register adds to it. */
static inline char *amx_address(amx_code *c, int64_t *stride)
{
    int64_t at = 0;
    int32_t wide;
    bool relative = c->rm == 5 && !c->mod, bare = false;
    *stride = 0;
    if (c->rm == 4) {
        int sib = *c->at++, index = (sib >> 3 & 7) + 8 * c->x, base = sib & 7;
        if (index != 4)
            *stride = (int64_t)((uint64_t)amx_reg(c, index) << (sib >> 6));
        bare = base == 5 && !c->mod;
        at = bare ? 0 : amx_reg(c, base + 8 * c->b);
    } else if (!relative) {
        at = amx_reg(c, c->rm + 8 * c->b);
    }
    if (c->mod == 1) {
        at += (int8_t)*c->at++;
    } else if (c->mod == 2 || relative || bare) {
        memcpy(&wide, c->at, sizeof wide);
        c->at += sizeof wide;
        at += wide + (relative ? (int64_t)(intptr_t)c->at : 0);
    }
    return (char *)(intptr_t)at; /* NOLINT: an address out of registers */
}

static inline float amx_float(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
}

/* c += a b; prefix: 0 u8 u8, 1 u8 i8, 2 i8 u8, 3 i8 i8. */
static inline void amx_multiply(amx_code *c)
{
    amx_tile *sum = &amx.tile[c->to];
    const amx_tile *a = &amx.tile[c->rm], *b = &amx.tile[c->third];
    int rows = amx.config.rows[c->to], lanes = amx.config.bytes[c->to] / 4,
        groups = amx.config.bytes[c->rm] / 4;
    if (!rows || amx.config.rows[c->rm] != rows || amx.config.rows[c->third] != groups ||
        amx.config.bytes[c->third] != lanes * 4)
        abort(); /* the processor refuses */
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < lanes; n++) {
            float even = 0, odd = 0;
            int32_t total = 0;
            for (int k = 0; k < groups && c->opcode == 0x5c; k++) {
                even += amx_float(a->bf16[m][2 * k]) * amx_float(b->bf16[k][2 * n]);
                odd += amx_float(a->bf16[m][2 * k + 1]) * amx_float(b->bf16[k][2 * n + 1]);
            }
            for (int k = 0; k < groups && c->opcode == 0x5e; k++)
                for (int i = 0; i < 4; i++) {
                    uint8_t x = a->row[m][4 * k + i], y = b->row[k][4 * n + i];
                    total += (c->prefix & 2 ? (int8_t)x : x) * (c->prefix & 1 ? (int8_t)y : y);
                }
            if (c->opcode == 0x5e)
                sum->i32[m][n] += total;
            else
                sum->f32[m][n] += even + odd;
        }
}

/* prefix: 1 a hint not to keep, 3 loads, 2 stores */
static inline void amx_move(amx_code *c)
{
    int64_t stride;
    char *memory = amx_address(c, &stride);
    amx_tile *t = &amx.tile[c->to];
    if (!amx.config.rows[c->to])
        abort();
    if (c->prefix != 2)
        memset(t, 0, sizeof *t);
    for (int i = 0; i < amx.config.rows[c->to]; i++)
        if (c->prefix == 2)
            memcpy(memory + i * stride, t->row[i], amx.config.bytes[c->to]);
        else
            memcpy(t->row[i], memory + i * stride, amx.config.bytes[c->to]);
}

static inline void amx_configure(amx_code *c)
{
    int64_t stride;
    if (c->mod == 3 && c->prefix == 3) /* tilezero */
        memset(&amx.tile[c->to], 0, sizeof amx.tile[0]);
    else if (c->mod == 3) /* tilerelease */
        memset(&amx, 0, sizeof amx);
    else if (c->prefix == 1) /* sttilecfg */
        memcpy(amx_address(c, &stride), &amx.config, sizeof amx.config);
    else {
        memset(&amx, 0, sizeof amx);
        memcpy(&amx.config, amx_address(c, &stride), sizeof amx.config);
    }
}

static void amx_emulate(int signal, siginfo_t *info, void *context)
{
    (void)info;
    amx_emulated++;
    ucontext_t *machine = context;
    amx_code c = {.reg = machine->uc_mcontext.gregs};
    c.at = (const uint8_t *)(intptr_t)c.reg[REG_RIP]; /* NOLINT: an address out of a register */
    bool known = c.at[0] == 0xc4 && (c.at[1] & 0x1f) == 2; /* VEX, 0F 38 */
    c.x = !(c.at[1] & 0x40);
    c.b = !(c.at[1] & 0x20);
    c.prefix = c.at[2] & 3; /* none, 66, F3, F2 */
    c.third = ~c.at[2] >> 3 & 7;
    c.opcode = c.at[3];
    c.mod = c.at[4] >> 6;
    c.to = c.at[4] >> 3 & 7;
    c.rm = c.at[4] & 7;
    c.at += 5;
    if (known && (c.opcode == 0x5e || (c.opcode == 0x5c && c.prefix == 2)))
        amx_multiply(&c);
    else if (known && c.opcode == 0x4b && c.mod != 3)
        amx_move(&c);
    else if (known && c.opcode == 0x49)
        amx_configure(&c);
    else {
        struct sigaction usual = {.sa_handler = SIG_DFL};
        sigaction(signal, &usual, NULL);
        return;
    }
    c.reg[REG_RIP] = (greg_t)(intptr_t)c.at;
}

/* Runs AMX from here on. LLVM's code generator sets a handler of its own: so after it. */
static inline void amx_install(void)
{
    struct sigaction emulate = {.sa_sigaction = amx_emulate, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &emulate, NULL);
}

/* What the code asks of the processor, it has. */
uint64_t __wrap_rt_cpu(void)
{
    return __real_rt_cpu() | AMX_BITS;
}

static bool amx_refused;         /* by the system */

bool __wrap_rt_cpu_grants(uint64_t bits)
{
    if (amx_refused)
        return !(bits & AMX_BITS);
    __real_rt_cpu_grants(bits & __real_rt_cpu());
    return true;
}
#else
static inline void amx_install(void)
{
}

uint64_t __wrap_rt_cpu(void)
{
    return __real_rt_cpu();
}

bool __wrap_rt_cpu_grants(uint64_t bits)
{
    return __real_rt_cpu_grants(bits);
}
#endif

#endif
