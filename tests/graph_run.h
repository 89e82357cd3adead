/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Compiles graphs given as text in a configuration, and calls them: inputs, outputs and the arena
 * are between pages that fault, and the arena is filled with values that nothing may rely on. */
#ifndef TESTS_GRAPH_RUN_H
#define TESTS_GRAPH_RUN_H

#include "codegen/codegen.h"
#include "gradc_rt.h"
#include "ir/kernels.h"
#include "tests/graph_noise.h"
#include "tests/guarded.h"
#include "tests/levels.h"

#include <stdlib.h>

/* ---- Configurations ---- */

typedef struct graph_config {
    const char *cpu;
    int level;      /* of LLVM's optimisation */
    bool optimised; /* by the passes before layout */
    bool blas;
} graph_config;

static const int graph_levels[] = {0, 2, 3};
enum { GRAPH_LEVELS = 3, GRAPH_CONFIGS = LEVELS * GRAPH_LEVELS * 2 };

static inline graph_config graph_config_of(unsigned number)
{
    return (graph_config){levels[number / (GRAPH_LEVELS * 2) % LEVELS],
                          graph_levels[number / 2 % GRAPH_LEVELS], number % 2, number / 3 % 2};
}

static inline const char *graph_config_text(base_arena *a, const graph_config *c)
{
    return base_format(a, "-O%d --cpu=%s%s%s", c->level, c->cpu,
                       c->optimised ? "" : ", without the passes before layout",
                       c->blas ? ", BLAS" : "");
}

/* ---- A case ---- */

enum {
    GRAPH_TEXT = 1,
    GRAPH_SLOPES = 2,
    GRAPH_VALUES = 4,
    GRAPH_TRAINS = 8,
    GRAPH_SECOND = 16,
    GRAPH_EVERYTHING = 31
};

typedef struct graph_check {
    int stages; /* what is asked: bits */
    base_ctx *ctx;
    base_arena *arena;
    const char *text;
    uint64_t seed;
    char fault[1200]; /* empty: all is well */
} graph_check;

static inline bool __attribute__((format(printf, 2, 3))) graph_fail(graph_check *k,
                                                                    const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!*k->fault)
        vsnprintf(k->fault, sizeof k->fault, format, args);
    va_end(args);
    return false;
}

/* A module of its own; NULL, and failed, if the text is refused. */
static inline ir_module *graph_parse(graph_check *k)
{
    ir_module *m = ir_parse(k->ctx, k->arena, k->text, strlen(k->text), "graph.gir", NULL);
    if (!m)
        graph_fail(k, "the text is refused: %s", base_ctx_why(k->ctx));
    return m;
}

/* ---- Values by name ---- */

static inline uint64_t graph_hash(const char *name, uint64_t seed)
{
    uint64_t h = seed * 0x9e3779b97f4a7c15u + 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h | 1;
}

static inline double graph_special(uint64_t r)
{
    static const double numbers[] = {0, -0.0, 1, -1, NAN, INFINITY, -INFINITY, 0.5, 1000, -1e-3};
    return numbers[r % (sizeof numbers / sizeof *numbers)];
}

/* The values of an input or state depend on its name, so that they stay when others are removed.
 * Seeds differ in the kind of floats: small integers, real, with infinities and NaN. */
static inline ir_literal *graph_values(base_arena *a, const char *name, const ir_type *t,
                                       uint64_t seed, bool real)
{
    uint64_t h = graph_hash(name, seed), flavour = real ? 9 : seed % 10;
    bool any_bits = h >> 40 & 1;
    ir_literal *l = ir_literal_new(a, t);
    for (int64_t i = 0; i < ir_count(t); i++) {
        h ^= h << 13;
        h ^= h >> 7;
        h ^= h << 17;
        double x = (double)(h >> 11) * 0x1p-51 - 2;
        if (!ir_is_float(t->dtype))
            ir_literal_set_int(l, i,
                               t->dtype == IR_BOOL ? (int64_t)(h >> 20 & 1)
                               : any_bits
                                   ? (int64_t)h
                                   : (int64_t)(h >> 20) % 9 - (ir_is_signed(t->dtype) ? 4 : -8));
        else
            ir_literal_set(l, i,
                           flavour < 5 && flavour != 2   ? (double)(h >> 20 & 7) - 3
                           : flavour == 2 && h >> 50 & 1 ? graph_special(h >> 20)
                                                         : x);
    }
    return l;
}

static inline ir_literal *graph_state_values(graph_check *k, const ir_state *s, bool real)
{
    return s->init ? s->init : graph_values(k->arena, s->name, &s->type, k->seed, real);
}

/* Arguments of a function: states by theirs, others by name; cotangents 1 for the loss and values
 * for others, or 0 with `ones`. */
static inline ir_literal **graph_args(graph_check *k, const ir_func *f, const char *loss, bool ones,
                                      bool real)
{
    ir_literal **args = base_array(k->arena, ir_literal *, f->params.count + 1);
    for (int i = 0; i < f->params.count; i++) {
        const ir_port *p = &f->params.items[i];
        const ir_type *t = &p->value->type;
        if (p->bind == IR_STATE) {
            args[i] = graph_state_values(k, p->state, real);
        } else if (p->role == IR_GRADIENT && ones) {
            args[i] = ir_literal_new(k->arena, t);
            for (int64_t e = 0; e < ir_count(t) && loss && !strcmp(p->name, loss); e++)
                ir_literal_set(args[i], e, 1);
        } else {
            args[i] = graph_values(
                k->arena, p->role == IR_GRADIENT ? base_format(k->arena, "d_%s", p->name) : p->name,
                t, k->seed, real || p->role == IR_GRADIENT);
        }
    }
    return args;
}

/* ---- Compiled ---- */

typedef struct graph_code {
    graph_check *k;
    ir_module *m;
    cg_object *o;
    gradc_rt_status (*init)(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *);
    const gradc_rt_tensor *(*param)(size_t);
    gradc_rt_ctx *rt;
    guarded arena;
    guarded *at[CG_PARTS]; /* a member each */
    void **pointer[CG_PARTS];
    uint32_t threads;
    const char *where;
    bool optimised;
} graph_code;

static inline bool graph_pass_runs(const pass_info *p, bool optimised)
{
    /* Calls are not allowed from layout on. */
    return optimised || p->needs || p->sets || !strcmp(p->name, "inline");
}

/* Stores some states with their dimensions in another order, which layout finds decided. */
static inline void graph_orders(const graph_check *k, ir_module *m)
{
    for (int s = 0; s < m->states.count; s++) {
        ir_state *state = m->states.items[s];
        uint64_t h = graph_hash(state->name, k->seed + 99) >> 8;
        int64_t order[IR_MAX_RANK];
        if (state->kind > IR_STAT || state->type.rank < 2 || h % 3)
            continue;
        for (int i = 0; i < state->type.rank; i++) {
            int64_t j = (int64_t)(h >> (8 + 4 * i)) % (i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        state->order = (ir_ints){state->type.rank, base_memdup(m->arena, order, sizeof order)};
        state->ordered = true;
    }
}

static inline bool graph_compile(graph_check *k, ir_module *m, const graph_config *c,
                                 graph_code *code)
{
    *code = (graph_code){
        .k = k, .m = m, .where = graph_config_text(k->arena, c), .optimised = c->optimised};
    graph_orders(k, m);
    for (const pass_info *p = passes; p->name; p++)
        if (graph_pass_runs(p, c->optimised))
            pass_run_one(m, p, true);
    for (int i = 0; i < m->funcs.count; i++)
        if (m->funcs.items[i]->plan)
            m->funcs.items[i]->plan->cost.flops = 1e12; /* worth all threads */
    const cg_spec spec = {m, NULL};
    code->o = cg_compile(k->ctx, k->arena,
                         &(cg_request){.prefix = "t",
                                       .spec = &spec,
                                       .nspecs = 1,
                                       .level = c->level,
                                       .blas = c->blas,
                                       .embed = true,
                                       .cpu = &c->cpu,
                                       .ncpus = 1});
    if (!code->o)
        return graph_fail(k, "%s: it does not compile: %s", code->where, base_ctx_why(k->ctx));
    cg_jit *jit = cg_jit_load(k->ctx, k->arena, code->o->bytes, code->o->size, NULL);
    if (!jit)
        return graph_fail(k, "%s: it does not load: %s", code->where, base_ctx_why(k->ctx));
    *(void **)&code->init = cg_jit_symbol(jit, "t_init");
    *(void **)&code->param = cg_jit_symbol(jit, "t_param");
    return true;
}

/* A context in a fresh arena with the states' values, and storage for the members of all parts. */
static inline bool graph_start(graph_code *c, uint32_t threads, bool real)
{
    graph_check *k = c->k;
    const cg_object *o = c->o;
    c->threads = threads;
    c->arena = guarded_new((size_t)o->sizes.arena, threads == 1);
    gradc_rt_options options = {o->id, sizeof options, threads, 5, NULL, 20, 0};
    memset(c->arena.at, threads == 1 ? 0xa5 : 0x7f, c->arena.bytes);
    gradc_rt_status status = c->init(&c->rt, c->arena.at, c->arena.bytes, &options);
    if (status)
        return graph_fail(k, "%s: init: %s", c->where, gradc_rt_status_text(status));
    for (size_t i = 0; c->param(i); i++) {
        const ir_state *s = ir_state_by_name(c->m, c->param(i)->name);
        if (s && !s->init)
            gradc_rt_param_set(c->rt, i, graph_state_values(k, s, real)->data);
    }
    for (int p = 0; p < CG_PARTS; p++) {
        const cg_part *part = &o->part[p];
        c->at[p] = base_array(k->arena, guarded, part->count + 1);
        c->pointer[p] = base_array(k->arena, void *, part->count + 1);
        for (int i = 0; i < part->count && p != CG_HYPER; i++) {
            c->at[p][i] = guarded_new((size_t)ir_bytes(part->items[i].type[0]),
                                      (unsigned)i % 3 || threads == 1);
            c->pointer[p][i] = c->at[p][i].at;
            memset(c->pointer[p][i], 0xa5, c->at[p][i].bytes);
        }
    }
    return true;
}

static inline void graph_stop(graph_code *c)
{
    gradc_rt_fini(c->rt);
    guarded_free(&c->arena, 1);
    for (int p = 0; p < CG_PARTS; p++)
        guarded_free(c->at[p], c->o->part[p].count);
}

static inline void graph_set(graph_code *c, int part, const char *name, const ir_literal *v)
{
    for (int i = 0; i < c->o->part[part].count; i++)
        if (!strcmp(c->o->part[part].items[i].name, name))
            memcpy(c->pointer[part][i], v->data, c->at[part][i].bytes);
}

static inline const void *graph_get(const graph_code *c, int part, const char *name)
{
    for (int i = 0; i < c->o->part[part].count; i++)
        if (!strcmp(c->o->part[part].items[i].name, name))
            return c->pointer[part][i];
    return NULL;
}

/* Hands a function's arguments over. */
static inline void graph_pass_args(graph_code *c, const ir_func *f, ir_literal *const *args)
{
    for (int i = 0; i < f->params.count; i++) {
        const ir_port *p = &f->params.items[i];
        if (p->bind == IR_INPUT)
            graph_set(c, p->role == IR_GRADIENT ? CG_COTANGENTS : CG_INPUTS, p->name, args[i]);
    }
}

static inline gradc_rt_status graph_call(graph_code *c, int entry, bool cotangents,
                                         const float *hyper)
{
    return gradc_rt_call(c->rt, (uint32_t)entry, c->pointer[CG_INPUTS],
                         cotangents ? c->pointer[CG_COTANGENTS] : NULL, hyper,
                         c->pointer[CG_OUTPUTS], c->pointer[CG_INPUT_GRADS]);
}

/* The value of a parameter or statistic; false if the object has none of that name. */
static inline bool graph_param(graph_code *c, const char *name, void *out)
{
    for (size_t i = 0; c->param(i); i++)
        if (!strcmp(c->param(i)->name, name))
            return gradc_rt_param_get(c->rt, i, out) == GRADC_RT_OK;
    return false;
}

#endif
