/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * From planned modules to an object file: one LLVM module holds all levels, specialisations and
 * entries; the kernels of a large model are in further modules. */
#include "codegen/backend.h"
#include "codegen/model.h"
#include "codegen/target.h"

#include <string.h>

/* The largest number of modules beside the main one, and about the least number of kernels in
 * one. */
enum { PARTS = 8, KERNELS = 24 };

struct cg_built {
    cg_unit unit;
    LLVMTargetMachineRef machine;
};

static void dispose_context(void *ll)
{
    LLVMContextDispose(ll);
}

static void dispose_module(void *module)
{
    LLVMDisposeModule(module);
}

static void dispose_builder(void *b)
{
    LLVMDisposeBuilder(b);
}

/* The requested processors in order of preference, each level once; NULL and reported if one is
 * unknown. */
static const cg_target **levels_of(base_ctx *ctx, base_arena *arena, const cg_request *r, int *n)
{
    int wished = r->ncpus ? r->ncpus : 1;
    const cg_target **level = base_array(arena, const cg_target *, wished);
    *n = 0;
    for (int i = 0; i < wished; i++) {
        const cg_target *t = cg_target_named(ctx, arena, r->triple, r->ncpus ? r->cpu[i] : NULL);
        if (!t)
            return NULL;
        bool known = false;
        for (int k = 0; k < *n; k++)
            known |= level[k]->cpu_bits == t->cpu_bits && level[k]->vector_bytes == t->vector_bytes;
        if (!known)
            level[(*n)++] = t;
    }
    return level;
}

/* The target of code that is shared by all levels: the lowest one, without features. */
static const cg_target *common_of(const cg_target *const *level, int n)
{
    const cg_target *least = level[0]->plain;
    for (int i = 1; i < n; i++) {
        const cg_target *t = level[i]->plain;
        if (t->vector_bytes != least->vector_bytes ? t->vector_bytes < least->vector_bytes
                                                   : t->cpu_bits < least->cpu_bits)
            least = t;
    }
    return least;
}

static void open_unit(cg_unit *u, const cg_model *m, LLVMTargetMachineRef machine,
                      const char *triple)
{
    u->ctx = m->ctx;
    u->arena = m->arena;
    u->prefix = m->o->prefix;
    u->blas = m->r->blas && !m->r->triple; /* another machine may have none */
    u->debug = m->r->debug;
    u->profile = m->r->profile ? &m->o->profile : NULL;
    u->ll = LLVMContextCreate();
    base_defer(u->ctx, dispose_context, u->ll);
    cg_catch_errors(u->ll);
    u->module = LLVMModuleCreateWithNameInContext(u->prefix, u->ll);
    base_defer(u->ctx, dispose_module, u->module);
    u->b = LLVMCreateBuilderInContext(u->ll);
    base_defer(u->ctx, dispose_builder, u->b);
    LLVMSetTarget(u->module, triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(u->module, layout);
    u->word = LLVMIntPtrTypeInContext(u->ll, layout);
    LLVMDisposeTargetData(layout);
    u->ptr = LLVMPointerTypeInContext(u->ll, 0);
    u->i1 = LLVMInt1TypeInContext(u->ll);
    u->i8 = LLVMInt8TypeInContext(u->ll);
    u->i16 = LLVMInt16TypeInContext(u->ll);
    u->i32 = LLVMInt32TypeInContext(u->ll);
    u->i64 = LLVMInt64TypeInContext(u->ll);
    u->f32 = LLVMFloatTypeInContext(u->ll);
    u->f64 = LLVMDoubleTypeInContext(u->ll);
    u->nothing = LLVMVoidTypeInContext(u->ll);
}

/* Kernels are counted as planned, although identical ones are emitted once. */
static void open_parts(cg_unit *u, const cg_model *m, int nlevels, LLVMTargetMachineRef machine,
                       const char *triple)
{
    int kernels = 0;
    if (m->target->system->word_bytes != 8)
        return; /* objects are joined as ELF of 64 bits */
    for (int i = 0; i < m->r->nspecs * CG_ENTRIES; i++)
        kernels +=
            m->entry[i].f && m->entry[i].f->plan ? m->entry[i].f->plan->kernels.count * nlevels : 0;
    int n = kernels / KERNELS < PARTS ? kernels / KERNELS : PARTS;
    if (n < 2)
        return;
    u->part = base_array(u->arena, cg_unit *, n);
    for (; u->nparts < n; u->nparts++)
        open_unit(u->part[u->nparts] = base_new(u->arena, cg_unit), m, machine, triple);
}

static void mark_functions(cg_unit *u)
{
    cg_mark_functions(u);
    for (int i = 0; i < u->nparts; i++) {
        u->part[i]->target = u->target;
        cg_mark_functions(u->part[i]);
    }
}

/* Decides how the kernels of all modules run on the level. */
static bool schedule_level(cg_unit *u, const cg_model *m, const cg_target *level)
{
    sched_level l = cg_schedule_level(u, level);
    bool ok = true;
    for (int i = 0; i < m->r->nspecs; i++)
        ok &= sched_module(m->r->spec[i].module, u->arena, &l, m->r->schedule, i);
    return ok & sched_all_used(u->ctx, m->r->schedule, l.name);
}

static bool emit_level(cg_unit *u, const cg_model *m, const cg_target *level, LLVMValueRef *body)
{
    u->target = level;
    if (!schedule_level(u, m, level))
        return false;
    u->suffix = base_format(u->arena, "_%s", cg_clean(u->arena, level->name, "cpu_"));
    for (int i = 0; i < m->r->nspecs * CG_ENTRIES; i++) {
        cg_entry *e = &m->entry[i];
        if (!e->f)
            continue;
        u->entry = cg_entry_names[i % CG_ENTRIES];
        body[i] =
            cg_emit_body(u, m->entry[i].f,
                         base_format(u->arena, "%s_%s_%d%s", u->prefix,
                                     cg_entry_names[i % CG_ENTRIES], i / CG_ENTRIES, u->suffix));
        e->nchecks = u->checks.count;
        e->check =
            base_memdup(u->arena, u->checks.items, (size_t)u->checks.count * sizeof *e->check);
    }
    mark_functions(u);
    return true;
}

bool cg_print_schedule(base_ctx *ctx, base_arena *arena, const cg_request *r, FILE *out)
{
    int nlevels;
    const cg_target **level = levels_of(ctx, arena, r, &nlevels);
    cg_unit u = {.ctx = ctx, .arena = arena, .blas = r->blas && !r->triple};
    cg_model m = {.r = r};
    if (!level)
        return false;
    fputs("schedule 1\n", out);
    for (int l = 0; l < nlevels; l++) {
        const sched_level how = cg_schedule_level(&u, level[l]);
        if (!schedule_level(&u, &m, level[l]))
            return false;
        fputc('\n', out);
        for (int i = 0; i < r->nspecs; i++)
            sched_print(out, r->spec[i].module, &how, i);
    }
    return true;
}

cg_object *cg_measure(base_ctx *ctx, base_arena *arena, const cg_request *r)
{
    int nlevels;
    const cg_target **level = levels_of(ctx, arena, r, &nlevels);
    cg_model *m = level ? cg_model_of(ctx, arena, r, common_of(level, nlevels)) : NULL;
    return m ? m->o : NULL;
}

cg_object *cg_compile(base_ctx *ctx, base_arena *arena, const cg_request *r)
{
    int nlevels;
    const cg_target **level = levels_of(ctx, arena, r, &nlevels),
                    *common = level ? common_of(level, nlevels) : NULL;
    cg_model *m = level ? cg_model_of(ctx, arena, r, common) : NULL;
    if (!m)
        return NULL;
    struct cg_built *built = base_new(arena, struct cg_built);
    cg_unit *u = &built->unit;
    built->machine = cg_machine(ctx, common, r->level);
    if (!built->machine)
        return NULL;
    open_unit(u, m, built->machine, common->triple);
    open_parts(u, m, nlevels, built->machine, common->triple);
    int n = r->nspecs * CG_ENTRIES;
    LLVMValueRef *body = base_array(arena, LLVMValueRef, nlevels * n);
    for (int l = 0; l < nlevels; l++)
        if (!emit_level(u, m, level[l], body + l * n))
            return NULL;
    cg_emit_model(u, m, level, nlevels, body);
    u->target = common;
    mark_functions(u);
    cg_debug_close(u);
    for (int i = 0; i < u->nparts; i++)
        cg_debug_close(u->part[i]);
    m->o->uses_blas = u->uses_blas;
    m->o->built = built;
    m->o->bytes = u->target->system->backend->emit_object(u, u->target, built->machine, r->level,
                                                          &m->o->size);
    m->o->header = cg_header(m);
    return m->o;
}

const char *cg_text_of(cg_object *o, bool assembly, size_t *size)
{
    cg_unit *u = &o->built->unit;
    cg_link_parts(u);
    if (assembly)
        return cg_buffer(u->ctx, cg_emit(u, o->built->machine, true), size);
    const char *text = cg_message(u->ctx, LLVMPrintModuleToString(u->module));
    *size = strlen(text);
    return text;
}
