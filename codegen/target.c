/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Processors by name. LLVM's C API does not give a processor's features, and LLVM warns or aborts
 * at a name that it does not know: so the tables are gradc's own. */
#include "codegen/target.h"
#include "codegen/backend.h"
#include "include/gradc_rt.h"

#include <llvm-c/Target.h>
#include <string.h>

typedef struct cpu_row {
    const char *name, *architecture, *llvm;
    int vector_bytes, registers;
    bool fma, rounds;
    uint64_t bits;
} cpu_row;

static const cpu_row cpus[] = {
#define CPU(name, architecture, llvm, bytes, registers, fma, rounds, bits) \
    {name, architecture, llvm, bytes, registers, fma, rounds, bits},
#include "codegen/cpus.def"
};
enum { CPUS = sizeof cpus / sizeof *cpus };

typedef struct feature_row {
    const char *name, *architecture;
    uint64_t levels;
    const char *llvm;
    int vector_bytes;
    uint64_t bit;
    unsigned schedules;
    bool native;
} feature_row;

static const feature_row features[] = {
#define FEATURE(name, architecture, levels, llvm, bytes, bit, schedules, native) \
    {name, architecture, levels, llvm, bytes, bit, schedules, native},
#include "codegen/features.def"
};
enum { FEATURES = sizeof features / sizeof *features };

static const cg_system systems[] = {
#define TARGET(architecture, system, environments, llvm, abi, features, bytes, f32, f64, pic, \
               backend)                                                                       \
    {architecture, system, environments, llvm, abi, features, bytes, f32, f64, pic, &backend},
#include "codegen/targets.def"
};
enum { SYSTEMS = sizeof systems / sizeof *systems };

static void dispose_message(void *message)
{
    LLVMDisposeMessage(message);
}

char *cg_message(base_ctx *ctx, char *message)
{
    base_defer(ctx, dispose_message, message);
    return message;
}

static bool has(const char *all, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = all; (at = strstr(at, name)); at += n)
        if (at > all && at[-1] == '+' && (at[n] == ',' || !at[n]))
            return true;
    return false;
}

/* Code uses the features of one of the common levels, whose bits the runtime checks before it runs
 * the code; the processor's own name only tunes it within the level. So code never runs on a
 * processor that lacks a feature. */
static cg_target *target_of(base_arena *arena, const char *triple, const cg_system *system,
                            const cpu_row *row, const char *tune)
{
    const cpu_row *level = row;
    for (int i = CPUS; i-- > 0;)
        if (!strcmp(cpus[i].architecture, row->architecture) && cpus[i].bits == row->bits)
            level = &cpus[i]; /* the first row of that level */
    cg_target *t = base_new(arena, cg_target);
    *t = (cg_target){system->llvm ? base_format(arena, "%s-unknown-%s-%s", system->architecture,
                                                system->name, system->llvm)
                                  : triple,
                     level->llvm,
                     system->features,
                     NULL,
                     tune,
                     row->name,
                     row->vector_bytes,
                     row->registers,
                     row->fma,
                     level->rounds,
                     row->bits,
                     0,
                     system};
    for (int i = 0; i < FEATURES; i++)
        if (!*features[i].name && !strcmp(features[i].architecture, row->architecture))
            t->schedules |= features[i].schedules;
    t->plain = base_memdup(arena, t, sizeof *t);
    return t;
}

static bool suits(const feature_row *f, const cg_target *t)
{
    return *f->name && !strcmp(f->architecture, t->system->architecture) &&
           !(f->levels & ~t->cpu_bits) && t->vector_bytes <= f->vector_bytes;
}

static void add_feature(base_arena *arena, cg_target *t, const feature_row *f)
{
    if (t->cpu_bits & f->bit)
        return; /* native has it */
    t->features = base_format(arena, "%s%s+%s", t->features, *t->features ? "," : "", f->llvm);
    t->name = base_format(arena, "%s+%s", t->name, f->name);
    t->cpu_bits |= f->bit;
    t->schedules |= f->schedules;
}

/* Adds "+name+name" to a processor; false and reported, with those possible, if one cannot be
 * added. */
static bool add_features(base_ctx *ctx, base_arena *arena, cg_target *t, const char *text)
{
    bool wanted[FEATURES] = {false};
    for (size_t n; *text; text += n + 1) {
        const char *list = "";
        int found = -1;
        n = strcspn(text + 1, "+");
        for (int i = 0; i < FEATURES; i++)
            if (suits(&features[i], t)) {
                if (!(t->cpu_bits & features[i].bit))
                    list = base_format(arena, "%s%s%s", list, *list ? ", " : "", features[i].name);
                if (strlen(features[i].name) == n && !strncmp(features[i].name, text + 1, n))
                    found = i;
            }
        if (found < 0) {
            base_report(ctx, BASE_ERROR, NULL,
                        "feature `%.*s` cannot be added to %s; features that can: %s", (int)n,
                        text + 1, t->name, *list ? list : "none");
            return false;
        }
        wanted[found] = true;
    }
    for (int i = 0; i < FEATURES; i++) /* the level's name does not depend on their order */
        if (wanted[i])
            add_feature(arena, t, &features[i]);
    return true;
}

/* The highest level that the host supports, with the host's further features. */
static cg_target *host(base_ctx *ctx, base_arena *arena, const char *triple,
                       const cg_system *system)
{
    static const struct { const char *feature; uint64_t bit;
    } names[] = {
        {"sse4.1", GRADC_RT_CPU_SSE41}, {"avx", GRADC_RT_CPU_AVX},   {"avx2", GRADC_RT_CPU_AVX2},
        {"fma", GRADC_RT_CPU_FMA},      {"f16c", GRADC_RT_CPU_F16C}, {"bmi2", GRADC_RT_CPU_BMI2},
    };
    static const char *const wide[] = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"};
    const char *own = cg_message(ctx, LLVMGetHostCPUFeatures());
    uint64_t bits = GRADC_RT_CPU_AVX512;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (!has(own, wide[i]))
            bits = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        bits |= has(own, names[i].feature) ? names[i].bit : 0;
    const cpu_row *best = NULL;
    for (int i = 0; i < CPUS; i++)
        if (!strncmp(triple, cpus[i].architecture, strlen(cpus[i].architecture)) &&
            !(cpus[i].bits & ~bits) && (!best || cpus[i].bits > best->bits))
            best = &cpus[i];
    if (!best)
        return NULL;
    cg_target *t = target_of(arena, triple, system, best, cg_message(ctx, LLVMGetHostCPUName()));
    for (int i = 0; i < FEATURES; i++)
        if (features[i].native && suits(&features[i], t) && has(own, features[i].llvm))
            add_feature(arena, t, &features[i]);
    return t;
}

/* The triple's row of targets.def, or NULL. */
static const cg_system *system_of(const char *triple)
{
    for (int i = 0; i < SYSTEMS; i++) {
        const cg_system *s = &systems[i];
        size_t n = strlen(s->architecture), k = strlen(s->name);
        if (strncmp(triple, s->architecture, n) || triple[n] != '-')
            continue;
        const char *at = triple + n + 1;
        if (strncmp(at, s->name, k) || (at[k] && at[k] != '-')) /* skip the vendor */
            at += strcspn(at, "-") + 1;
        if (at > triple + strlen(triple) || strncmp(at, s->name, k) || (at[k] && at[k] != '-'))
            continue;
        const char *environment = at[k] ? at + k + 1 : "";
        size_t length = strlen(environment);
        for (const char *known = s->environments; (known = strchr(known, ' ')); known++)
            if (!strncmp(known + 1, environment, length) && known[1 + length] == ' ')
                return s;
    }
    return NULL;
}

static bool is_of(const char *triple, const char *architecture)
{
    size_t n = strlen(architecture);
    return !strncmp(triple, architecture, n) && triple[n] == '-';
}

static bool same_architecture(const char *x, const char *y)
{
    size_t n = strcspn(x, "-");
    return n == strcspn(y, "-") && !strncmp(x, y, n);
}

/* "x86_64-linux[-gnu|-musl|-android], …": the supported targets. */
static const char *system_list(base_arena *arena)
{
    const char *list = "";
    for (int i = 0; i < SYSTEMS; i++) {
        const cg_system *s = &systems[i];
        list = base_format(arena, "%s%s%s-%s", list, i ? ", " : "", s->architecture, s->name);
        bool optional = s->environments[1] == ' ';
        const char *at = s->environments + (optional ? 2 : 1), *open = optional ? "[-" : "-";
        for (size_t n; (n = strcspn(at, " ")); at += n + 1, open = "|-")
            list = base_format(arena, "%s%s%.*s", list, open, (int)n, at);
        list = base_format(arena, "%s%s", list, optional ? "]" : "");
    }
    return list;
}

/* Reports why a target or processor is not supported; `list`: the processors of the
 * architecture. */
static void refuse(base_ctx *ctx, base_arena *arena, const char *triple, const char *cpu,
                   const char *list, bool native)
{
    if (!*list || !system_of(triple))
        base_report(ctx, BASE_ERROR, NULL,
                    "target %s is not supported; supported are %s, each with or without a vendor",
                    triple, system_list(arena));
    else if (native)
        base_report(
            ctx, BASE_ERROR, NULL,
            "processor native is this machine's and cannot be used for target %s; known for it: %s",
            triple, list);
    else
        base_report(ctx, BASE_ERROR, NULL, "unknown processor %s; known for %s: %s", cpu ? cpu : "",
                    triple, list);
}

static void initialize(void)
{
    LLVMInitializeX86TargetInfo(), LLVMInitializeX86Target(), LLVMInitializeX86TargetMC(),
        LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo(), LLVMInitializeAArch64Target(),
        LLVMInitializeAArch64TargetMC(), LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeRISCVTargetInfo(), LLVMInitializeRISCVTarget(), LLVMInitializeRISCVTargetMC(),
        LLVMInitializeRISCVAsmPrinter();
    LLVMInitializeARMTargetInfo(), LLVMInitializeARMTarget(), LLVMInitializeARMTargetMC(),
        LLVMInitializeARMAsmPrinter();
}

const cg_target *cg_target_named(base_ctx *ctx, base_arena *arena, const char *triple,
                                 const char *cpu)
{
    initialize();
    const char *own = cg_message(ctx, LLVMGetDefaultTargetTriple()),
               *name = triple ? base_strdup(arena, triple) : own;
    const cg_system *system = system_of(name);
    bool native = cpu ? !strncmp(cpu, "native", 6) && (!cpu[6] || cpu[6] == '+') : !triple;
    char *list = base_strdup(arena, native || !same_architecture(name, own) ? "" : "native");
    if (native && system && system->backend->hosted && same_architecture(name, own)) {
        cg_target *t = host(ctx, arena, name, system);
        if (!t)
            refuse(ctx, arena, own, NULL, "", true);
        return t && (!cpu || add_features(ctx, arena, t, cpu + strlen("native"))) ? t : NULL;
    }
    for (int i = 0; i < CPUS; i++) {
        const cpu_row *c = &cpus[i];
        if (!is_of(name, c->architecture))
            continue;
        list = base_format(arena, "%s%s%s", list, *list ? ", " : "", c->name);
        size_t n = cpu ? strcspn(cpu, "+") : 0;
        if (system && (!cpu || (strlen(c->name) == n && !strncmp(cpu, c->name, n)))) {
            cg_target *t = target_of(arena, name, system, c, c->llvm);
            return !cpu || add_features(ctx, arena, t, cpu + n) ? t : NULL;
        }
    }
    refuse(ctx, arena, name, cpu, list, native);
    return NULL;
}

bool cg_check_target(base_ctx *ctx, base_arena *arena, const char *triple, const char *const *cpu,
                     int ncpus)
{
    bool ok = ncpus || cg_target_named(ctx, arena, triple, NULL);
    for (int i = 0; i < ncpus; i++)
        ok &= cg_target_named(ctx, arena, triple, cpu[i]) != NULL;
    return ok;
}

const char *cg_host_name(base_ctx *ctx, base_arena *arena)
{
    const cg_target *t = cg_target_named(ctx, arena, NULL, NULL);
    return t ? base_format(arena, "%s (%s)", t->name, t->tune) : "unknown";
}

static void dispose_machine(void *machine)
{
    LLVMDisposeTargetMachine(machine);
}

LLVMTargetMachineRef cg_machine(base_ctx *ctx, const cg_target *t, int level)
{
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(t->triple, &target, &message)) {
        base_report(ctx, BASE_ERROR, NULL, "target %s: %s", t->triple, message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    static const LLVMCodeGenOptLevel levels[] = {LLVMCodeGenLevelNone, LLVMCodeGenLevelLess,
                                                 LLVMCodeGenLevelDefault,
                                                 LLVMCodeGenLevelAggressive};
    LLVMTargetMachineOptionsRef options = LLVMCreateTargetMachineOptions();
    LLVMTargetMachineOptionsSetCPU(options, t->cpu);
    LLVMTargetMachineOptionsSetFeatures(options, t->features);
    if (t->system->abi)
        LLVMTargetMachineOptionsSetABI(options, t->system->abi);
    LLVMTargetMachineOptionsSetCodeGenOptLevel(options, levels[level]);
    LLVMTargetMachineOptionsSetRelocMode(
        options, t->system->position_independent ? LLVMRelocPIC : LLVMRelocStatic);
    LLVMTargetMachineRef m = LLVMCreateTargetMachineWithOptions(target, t->triple, options);
    LLVMDisposeTargetMachineOptions(options);
    base_defer(ctx, dispose_machine, m);
    return m;
}
