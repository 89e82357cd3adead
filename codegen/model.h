/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A model's interface and memory layout, gathered by abi.c: what header.c writes and model.c puts
 * into the object. */
#ifndef GRADC_CODEGEN_MODEL_H
#define GRADC_CODEGEN_MODEL_H

#include "codegen/cg.h"
#include "codegen/codegen.h"
#include "codegen/names.h"

/* A port of an entry, as gradc_rt_port has it. */
typedef struct cg_port {
    const char *name;
    int part, member;
    const ir_type *type;
    uint64_t needed_by;
    int64_t fallback; /* in scratch; -1: none */
    bool one;
} cg_port;

typedef struct cg_entry {
    const ir_func *f; /* NULL: the model has no such entry */
    cg_port *port;
    int nports;
    bool parallel;
    uint64_t always;
    const char **check; /* names of the index tensors; known when the body has been emitted */
    int nchecks;
} cg_entry;

typedef struct cg_model {
    base_ctx *ctx;
    base_arena *arena;
    const cg_request *r;
    const cg_target *target;        /* the lowest of the object's levels */
    base_loc place;                 /* the file, for messages */
    cg_object *o;
    cg_entry *entry;              /* [nspecs][CG_ENTRIES] */
    /* The first module's that are in the object, in the order of gradc_rt_model.state. */
    BASE_LIST(const ir_state *) states;
    int nparams;
    int64_t state_bytes, scratch_bytes;
    int64_t grad_at, grad_count, grad_element;
    int64_t *grad_of;             /* by position in `states`: in elements, -1: none */
    int seed_state;               /* in `states`, or -1 */
} cg_model;

/* abi.c: NULL and reported on failure. */
cg_model *cg_model_of(base_ctx *ctx, base_arena *arena, const cg_request *r,
                      const cg_target *target);

/* model.c: gradc_rt_model and the functions of the header. body: [nlevels][nspecs][CG_ENTRIES],
 * NULL where there is none; levels best first. */
void cg_emit_model(cg_unit *u, const cg_model *m, const cg_target *const *level, int nlevels,
                   const LLVMValueRef *body);

/* header.c */
const char *cg_header(const cg_model *m);

#endif
