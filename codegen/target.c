/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Processors by name. LLVM's C API cannot be asked what a processor has, and warns or aborts at a name that it does not know: so
 * the names are ours. */
#include "codegen/target.h"
#include "include/gradc_rt.h"

#include <llvm-c/Target.h>
#include <string.h>

typedef struct cpu_row {
    const char *name, *architecture, *llvm;
    int vector_bytes, registers;
    bool fma;
    uint64_t bits;
} cpu_row;

static const cpu_row cpus[] = {
#define CPU(name, architecture, llvm, bytes, registers, fma, bits) {name, architecture, llvm, bytes, registers, fma, bits},
#include "codegen/cpus.def"
};
enum { CPUS = sizeof cpus / sizeof *cpus };

static char *take(ir_arena *arena, char *message)
{
    char *copy = ir_strdup(arena, message);
    LLVMDisposeMessage(message);
    return copy;
}

static bool has(const char *features, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = features; (at = strstr(at, name)); at += n)
        if (at > features && at[-1] == '+' && (at[n] == ',' || !at[n]))
            return true;
    return false;
}

static const cg_target *host(ir_arena *arena, const char *triple)
{
    cg_target *t = ir_new(arena, cg_target);
    t->triple = triple;
    t->cpu = take(arena, LLVMGetHostCPUName());
    t->features = take(arena, LLVMGetHostCPUFeatures());
    t->vector_bytes = 16;
    t->registers = strstr(triple, "x86_64") == triple ? 16 : 32;
    t->fma = strstr(triple, "x86_64") != triple || has(t->features, "fma");
    static const struct { const char *feature; uint64_t bit; } bits[] = {
        {"sse4.1", GRADC_RT_CPU_SSE41}, {"avx", GRADC_RT_CPU_AVX}, {"avx2", GRADC_RT_CPU_AVX2}, {"fma", GRADC_RT_CPU_FMA},
        {"f16c", GRADC_RT_CPU_F16C}, {"bmi2", GRADC_RT_CPU_BMI2},
    };
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        t->cpu_bits |= has(t->features, bits[i].feature) ? bits[i].bit : 0;
    bool wide = has(t->features, "avx512f") && has(t->features, "avx512bw") && has(t->features, "avx512dq") && has(t->features, "avx512vl") &&
                has(t->features, "avx512cd");
    if (has(t->features, "avx2") && t->fma)
        t->vector_bytes = 32;
    if (wide) {
        t->vector_bytes = 64;
        t->registers = 32;
        t->cpu_bits |= GRADC_RT_CPU_AVX512;
    }
    return t;
}

const cg_target *cg_target_named(ir_ctx *ctx, ir_arena *arena, const char *triple, const char *cpu)
{
    LLVMInitializeX86TargetInfo(), LLVMInitializeX86Target(), LLVMInitializeX86TargetMC(), LLVMInitializeX86AsmPrinter(), LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo(), LLVMInitializeAArch64Target(), LLVMInitializeAArch64TargetMC(), LLVMInitializeAArch64AsmPrinter();
    const char *own = take(arena, LLVMGetDefaultTargetTriple());
    bool native = cpu ? !strcmp(cpu, "native") : !triple;
    if (native && (!triple || !strcmp(triple, own)))
        return host(arena, own);
    const char *name = triple ? ir_strdup(arena, triple) : own;
    char *list = ir_strdup(arena, "");
    for (int i = 0; i < CPUS; i++) {
        const cpu_row *c = &cpus[i];
        if (strncmp(name, c->architecture, strlen(c->architecture)))
            continue;
        list = ir_format(arena, "%s%s%s", list, *list ? ", " : "native, ", c->name);
        if (cpu && strcmp(cpu, c->name))
            continue;
        cg_target *t = ir_new(arena, cg_target);
        *t = (cg_target){name, c->llvm, "", c->vector_bytes, c->registers, c->fma, c->bits};
        return t;
    }
    if (!*list)
        ir_report(ctx, IR_ERROR, NULL, "no code is generated for the target %s", name);
    else
        ir_report(ctx, IR_ERROR, NULL, "unknown processor %s; known for %s: %s", cpu ? cpu : "", name, list);
    return NULL;
}

static void dispose_machine(void *machine)
{
    LLVMDisposeTargetMachine(machine);
}

LLVMTargetMachineRef cg_machine(ir_ctx *ctx, const cg_target *t, int level)
{
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(t->triple, &target, &message)) {
        ir_report(ctx, IR_ERROR, NULL, "target %s: %s", t->triple, message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    static const LLVMCodeGenOptLevel levels[] = {LLVMCodeGenLevelNone, LLVMCodeGenLevelLess, LLVMCodeGenLevelDefault, LLVMCodeGenLevelAggressive};
    LLVMTargetMachineRef m = LLVMCreateTargetMachine(target, t->triple, t->cpu, t->features, levels[level], LLVMRelocPIC, LLVMCodeModelDefault);
    ir_defer(ctx, dispose_machine, m);
    return m;
}
