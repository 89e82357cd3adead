/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The interface of codegen/: planned modules become an object file and a header. It has no LLVM
 * types. */
#ifndef GRADC_CODEGEN_CODEGEN_H
#define GRADC_CODEGEN_CODEGEN_H

#include "ir/ir.h"

/* One module for one choice of the symbolic dimensions; inlined, fused and planned. All modules of
 * a request have the same parameters, statistics, slots, counters and gradients. */
typedef struct cg_spec {
    /* Its entries are those of the functions forward, forward_train, backward, update, step that
     * it has. */
    ir_module *module;
    const int64_t *dim; /* [ndims] */
} cg_spec;

/* The valid integers of an input: low to high, and `other` if has_other. */
typedef struct cg_taken {
    const char *name; /* raw */
    int64_t low, high, other;
    bool has_other;
} cg_taken;

typedef struct cg_rename {
    const char *from, *to; /* a raw name, and the member's name */
} cg_rename;

typedef struct cg_default {
    const char *name;
    double value;
} cg_default;

/* In the order of gradc_rt.h: forward, forward_train, backward, update, step. */
enum { CG_ENTRIES = 5 };
extern const char *const cg_entry_names[CG_ENTRIES];
/* The entries in the order in which members are taken from them: first those that train, as they
 * have all inputs of the file, in its order. */
extern const int cg_member_order[CG_ENTRIES];

typedef struct cg_request {
    const char *name;            /* of the model, raw; NULL: that of the first module */
    const char *file;            /* that the model came from, for messages; NULL: none */
    const char *prefix;          /* of symbols; cleaned by cg_compile */
    const cg_spec *spec;
    int nspecs;                  /* at least 1 */
    const char *const *dim_name; /* symbolic dimensions that choose the specialisation */
    int ndims;
    const char *triple;          /* NULL: the host */
    /* Levels in the object; none: native, or with a triple its baseline. */
    const char *const *cpu;
    int ncpus;
    int level;                   /* of optimisation, 0 to 3 */
    /* embed: initial values are in the object, else the app loads them */
    bool blas, debug, embed;
    /* The code counts its cycles: cg_object.profile, and the symbol PREFIX_profile. */
    bool profile;
    unsigned entries; /* bit k: compile entry k; 0: all that the modules have */
    const cg_default *hyper;
    int nhyper;
    uint32_t threads;            /* in PREFIX_OPTIONS; 0 is 1 */
    uint64_t seed;
    const cg_rename *rename;
    int nrenames;
    const struct sched_wishes *schedule; /* of a schedule file, or NULL */
    const cg_taken *range;        /* of inputs, as far as they are known */
    int nranges;
} cg_request;

/* A member of one of the header's structs. */
typedef struct cg_member {
    const char *name, *field;     /* raw, and in C */
    const ir_type **type;         /* [nspecs] */
    const char *const *dim_names; /* of each dimension or NULL; may be NULL */
    bool loss;                    /* the loss, or its cotangent */
    double value;                 /* of a hyper-parameter: its default */
    const cg_taken *range;        /* of an input of integers, or NULL */
} cg_member;

/* Structs, in the order of gradc_rt.h. */
enum { CG_INPUTS, CG_COTANGENTS, CG_HYPER, CG_OUTPUTS, CG_INPUT_GRADS, CG_PARTS };
typedef struct cg_part {
    cg_member *items;
    int count, capacity;
} cg_part;

/* Bytes of the arena's pieces; `info` and the header show them. */
typedef struct cg_sizes {
    int64_t context, params, stats, optimizer, counters, grads, saved, scratch, arena;
} cg_sizes;

/* What a counter of a profile measures, in cycles of the first worker. */
typedef struct cg_place {
    const char *entry, *kind, *what; /* "step", "contraction" (or "wait"), a description */
    /* Name of the node that it comes from, "" if unknown; "backward". */
    const char *origin, *phase;
    const char *how; /* its schedule, "" for a wait */
    /* Of a contraction: floating-point operations of all workers. */
    double flops;
} cg_place;
typedef struct cg_profile {
    cg_place *items;
    int count, capacity;
} cg_profile;
enum { CG_PLACES = 65536 }; /* at most; PREFIX_profile is uint64_t[CG_PLACES] */

typedef struct cg_object {
    const char *prefix;           /* clean */
    cg_part part[CG_PARTS];
    int ndims;
    const char **dim_field;       /* [ndims] members of the inputs */
    bool has[CG_ENTRIES];
    cg_sizes sizes;
    uint64_t id;
    const void *bytes;            /* the object file */
    size_t size;
    const char *header;           /* text of PREFIX.h */
    bool uses_blas;
    bool hosted; /* has threads, save and load */
    /* If cg_request.profile: what the counters at PREFIX_profile count, in their order. */
    cg_profile profile;
    struct cg_built *built;       /* for cg_text_of */
} cg_object;

/* False and reported, with those supported, if the target or a processor is not; see
 * cg_request. */
bool cg_check_target(base_ctx *ctx, base_arena *arena, const char *triple, const char *const *cpu,
                     int ncpus);
/* The host's processor as `native` takes it: the row of cpus.def and LLVM's name. */
const char *cg_host_name(base_ctx *ctx, base_arena *arena);

/* f is called, on any thread, when LLVM runs out of memory, and must not return. Without it LLVM
 * aborts. To be called once in a process. */
void cg_on_out_of_memory(void (*f)(void));

/* Compiles; NULL and reported when the request cannot be met (an unknown processor, too large an
 * arena, …). The result lives in arena, LLVM's part of it until the context is freed. Sets
 * ir_state.at. */
cg_object *cg_compile(base_ctx *ctx, base_arena *arena, const cg_request *request);
/* Lays out memory and interface only: bytes, size and header stay NULL. */
cg_object *cg_measure(base_ctx *ctx, base_arena *arena, const cg_request *request);
/* The schedules of all levels, as `--schedule` reads them; false and reported. */
bool cg_print_schedule(base_ctx *ctx, base_arena *arena, const cg_request *request, FILE *out);
/* The text of the same code: assembly, or LLVM's IR. */
const char *cg_text_of(cg_object *o, bool assembly, size_t *size);

/* Turns a name into the header's identifier for it: anything outside [A-Za-z0-9] becomes _, runs
 * collapse, `digit` goes before a leading digit (and stands for an empty name), keywords and
 * standard macros get a trailing _. */
const char *cg_clean(base_arena *arena, const char *raw, const char *digit);
const char *cg_clean_prefix(base_arena *arena, const char *raw);

/* A static library with this one object; its name inside is MEMBER (at most 15 bytes are kept). */
void *cg_archive(base_arena *arena, const cg_object *o, const char *member, size_t *size);
/* Links an object file to a shared library with the C compiler, `cc -shared`; runtime: path of
 * libgradc_rt.a. False and reported on failure. */
bool cg_link_shared(base_ctx *ctx, const char *object, const char *runtime, bool blas,
                    const char *output);

/* An object that is loaded into this process. */
typedef struct cg_jit cg_jit;
typedef struct cg_symbol {
    const char *name;
    void *address;
} cg_symbol;
/* Loads an object; symbols (ended by a NULL name; NULL: none) are what it may refer to beside
 * the runtime. Freed with the context; NULL and reported on failure. */
cg_jit *cg_jit_load(base_ctx *ctx, base_arena *arena, const void *object, size_t size,
                    const cg_symbol *symbols);
/* NULL if there is none. */
void *cg_jit_symbol(cg_jit *jit, const char *name);

#endif
