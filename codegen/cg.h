/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shared by the files of codegen/. cg_compile (codegen.h) makes a unit. For each CPU level,
 * specialisation and entry, cg_emit_body turns a planned function into an LLVM function (entry.c)
 * that launches kernels (kernel.c, contraction.c, standalone.c), whose expressions are emitted at
 * an index (emit.c, index.c, math.c). The target's backend decides who runs the tasks and what a
 * barrier is (backend.h, cpu/). model.c adds the model's descriptor and the functions of the
 * header; object.c makes the object file. */
#ifndef GRADC_CODEGEN_CG_H
#define GRADC_CODEGEN_CG_H

#include "ir/ir.h"
#include "ir/kernels.h"
#include "schedule/schedule.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

typedef struct cg_backend cg_backend; /* backend.h */

/* A row of targets.def. */
typedef struct cg_system {
    const char *architecture, *name, *environments, *llvm, *abi, *features;
    int word_bytes;        /* of a pointer and of size_t: 4 or 8 */
    bool has_f32, has_f64; /* computed by instructions */
    bool position_independent;
    const cg_backend *backend;
} cg_system;

/* A processor that code is generated for: a row of cpus.def, or the host. */
typedef struct cg_target {
    const char *triple, *cpu, *features; /* as LLVM takes them */
    const struct cg_target *plain;       /* the same without features that --cpu adds */
    const char *tune;                    /* LLVM's name of the processor to schedule for */
    const char *name;                    /* as --cpu takes it */
    int vector_bytes;                    /* of the widest register worth using: 16, 32, 64 */
    int registers;                       /* vector registers: 16 or 32 */
    bool fma;
    bool rounds;                         /* has an instruction for floor, ceil and round */
    uint64_t cpu_bits;                   /* GRADC_RT_CPU_* that the code needs */
    unsigned schedules;                  /* SCHED_HAS_* */
    const cg_system *system;
} cg_target;

/* The library that shows whether OpenBLAS is installed; the JIT takes its functions. */
#define CG_BLAS_LIBRARY "libopenblas.so.0"

/* An LLVM module that becomes an object file, or a part of one. */
typedef struct cg_unit {
    base_ctx *ctx;
    base_arena *arena;
    LLVMContextRef ll;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    const cg_target *target;  /* the level being emitted */
    const char *prefix;       /* of all symbols, clean */
    const char *suffix;       /* of internal functions' names of this level, e.g. "_v1" */
    bool blas;                /* may call OpenBLAS, if … */
    int blas_found; /* … it is installed: 1, -1, or 0 if not looked up yet */
    bool debug;
    bool uses_blas;           /* set when a call was emitted */
    LLVMTypeRef ptr, i1, i8, i16, i32, i64, f32, f64, nothing;
    LLVMTypeRef word; /* size_t of the target */
    /* Units for the kernels of a large model, which several threads compile; they have no parts of
     * their own. */
    struct cg_unit **part;
    int nparts; /* 0: kernels are in this module */
    int64_t weight;             /* of a part: instructions in it */
    int nkernels;               /* emitted so far */
    int nparts_cut;             /* parts of entries emitted so far, for their names */
    struct cg_kernels *kernels; /* emitted so far, by signature: identical ones are emitted once */
    struct cg_data *data;       /* constant data emitted so far */
    struct cg_debug *info;      /* debug.c; NULL before the first function */
    const char *entry;          /* the body being emitted: "forward", …; for a profile */
    struct cg_profile *profile; /* NULL: no profile */
    LLVMValueRef counters; /* of the profile; NULL: none yet */
    /* Names of the index tensors of the last body's checks, those of called functions included. */
    BASE_LIST(const char *) checks;
} cg_unit;

/* ---- contract_blas.c ---- */
/* The description of a level for schedules. */
sched_level cg_schedule_level(cg_unit *u, const cg_target *level);

/* ---- entry.c ---- */
/* The function of type gradc_rt_body (see gradc_rt.h) for a planned entry, internal linkage. Ports
 * are slots 2… in the order: parameters that are inputs, then results that are outputs; states are
 * at ir_state.at in slot 1. */
LLVMValueRef cg_emit_body(cg_unit *u, const ir_func *f, const char *symbol);
/* Constant data in the object: internal, 64-aligned; identical bytes once. */
LLVMValueRef cg_data_of(cg_unit *u, const void *bytes, size_t size);

/* ---- profile.c: only when cg_unit.profile is set ---- */
/* The number of the counter of a kernel, or (NULL) of the waits of the entry being emitted. */
int cg_profile_place(cg_unit *u, const struct ir_kernel *k);
LLVMValueRef cg_profile_begin(cg_unit *u);
/* Adds the cycles since `begin` to the counter, if `first` (i1): only the first worker counts. */
void cg_profile_end(cg_unit *u, LLVMValueRef begin, int place, LLVMValueRef first);

/* ---- math.c: elementary functions on a scalar or vector of f32 or f64 of any number of lanes
 * ---- */
/* op is one of the elementwise ops without an instruction: exp, expm1, log, log1p, sin,
 * cos, tan, asin, …, erf, logistic, tanh, pow, atan2, rem (fmod). Error bounds are published in
 * docs/numbers.md. */
LLVMValueRef cg_math(cg_unit *u, ir_op op, LLVMValueRef x, LLVMValueRef y);

/* ---- debug.c: no effect without -g ---- */
/* Describes a function before its body is emitted, and sets the location to its. */
void cg_debug_function(cg_unit *u, LLVMValueRef function, const char *what, const base_loc *loc);
/* Sets the location of the code that follows (NULL: unchanged); returns the previous one, for
 * cg_debug_leave. */
LLVMMetadataRef cg_debug_enter(cg_unit *u, const base_loc *loc);
void cg_debug_leave(cg_unit *u, LLVMMetadataRef before);
/* To be called before the module is used. */
void cg_debug_close(cg_unit *u);

/* ---- small helpers (llvm_helpers.c) ---- */
/* In memory: bool is i8, f16 and bf16 are i16. */
LLVMTypeRef cg_dtype(const cg_unit *u, ir_dtype t);
/* Floats of this type are computed by instructions, not by functions of a support library. */
bool cg_has_instructions(const cg_unit *u, LLVMTypeRef f);
LLVMTypeRef cg_vector(LLVMTypeRef element, int lanes);           /* element itself if lanes is 1 */
LLVMValueRef cg_i64(const cg_unit *u, int64_t v);
LLVMValueRef cg_word(const cg_unit *u, int64_t v); /* as size_t of the target */
/* The address of pointer `number` in an array of pointers. */
LLVMValueRef cg_pointer_at(cg_unit *u, LLVMValueRef array, int64_t number);
LLVMValueRef cg_splat(cg_unit *u, LLVMValueRef scalar, int lanes);
int cg_lanes_of(LLVMValueRef x); /* 1 of a scalar */
LLVMValueRef cg_intrinsic(cg_unit *u, const char *name, LLVMTypeRef *overload, int noverload,
                          LLVMValueRef *args, int nargs);
LLVMValueRef cg_gep(cg_unit *u, LLVMValueRef base, LLVMValueRef byte_offset);

#endif
