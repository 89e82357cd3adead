/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "api/machine.h"

#include <string.h>
#include <sys/mman.h>

typedef gradc_rt_status init_function(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *);
typedef const gradc_rt_tensor *param_function(size_t);

struct api_machine {
    base_ctx *ctx;
    const cg_object *o;
    gradc_rt_ctx *rt;
    void *memory;
    size_t bytes;
    /* Members as the entries take them; the inputs' are followed by the dimensions. */
    void **part[CG_PARTS];
    float *hyper;
    param_function *param;
    uint64_t *counters;
};

void api_machine_free(api_machine *m)
{
    if (m->rt)
        gradc_rt_fini(m->rt);
    if (m->memory)
        munmap(m->memory, m->bytes);
    m->rt = NULL;
    m->memory = NULL;
}

static void dispose(void *m)
{
    api_machine_free(m);
}

static void make_members(api_machine *m, base_arena *arena)
{
    for (int p = 0; p < CG_PARTS; p++)
        m->part[p] = base_array(arena, void *, m->o->part[p].count + m->o->ndims + 1);
    const cg_part *hyper = &m->o->part[CG_HYPER];
    m->hyper = base_array(arena, float, hyper->count + 1);
    for (int i = 0; i < hyper->count; i++)
        m->hyper[i] = (float)hyper->items[i].value;
}

static void *symbol(base_arena *arena, cg_jit *jit, const cg_object *o, const char *name)
{
    void *address = cg_jit_symbol(jit, base_format(arena, "%s_%s", o->prefix, name));
    if (!address)
        BUG("the object has no %s_%s", o->prefix, name);
    return address;
}

api_machine *api_machine_new(base_ctx *ctx, base_arena *arena, const cg_object *o,
                             const api_machine_options *options)
{
    static const api_machine_options plain;
    const api_machine_options *w = options ? options : &plain;
    cg_jit *jit = cg_jit_load(ctx, arena, o->bytes, o->size, NULL);
    if (!jit)
        return NULL;
    api_machine *m = base_new(arena, api_machine);
    *m = (api_machine){.ctx = ctx, .o = o, .bytes = (size_t)o->sizes.arena};
    make_members(m, arena);
    void *memory = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        base_report(ctx, BASE_ERROR, NULL, "cannot allocate the model's arena of %zu bytes",
                    m->bytes);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    madvise(memory, m->bytes, MADV_HUGEPAGE); /* optional: it works without huge pages too */
#endif
    m->memory = memory;
    base_defer(ctx, dispose, m);
    init_function *init;
    *(void **)&init = symbol(arena, jit, o, "init");
    *(void **)&m->param = symbol(arena, jit, o, "param");
    if (o->profile.count)
        *(void **)&m->counters = symbol(arena, jit, o, "profile");
    gradc_rt_options r = {.model = o->id,
                          .size = sizeof r,
                          .threads = w->threads ? w->threads : 1,
                          .seed = w->seed,
                          .spin_us = 50};
    gradc_rt_status status = init(&m->rt, memory, m->bytes, &r);
    if (status) {
        base_report(ctx, BASE_ERROR, NULL, "cannot initialize the model: %s",
                    gradc_rt_status_text(status));
        return NULL;
    }
    return m;
}

bool api_machine_set(api_machine *m, int part, const char *name, void *data)
{
    const cg_part *p = &m->o->part[part];
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->items[i].name, name)) {
            m->part[part][i] = data;
            return true;
        }
    return false;
}

bool api_machine_set_hyper(api_machine *m, const char *name, float value)
{
    const cg_part *p = &m->o->part[CG_HYPER];
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->items[i].name, name)) {
            m->hyper[i] = value;
            return true;
        }
    return false;
}

gradc_rt_status api_machine_call(api_machine *m, int entry, bool cotangents)
{
    return gradc_rt_call(m->rt, (uint32_t)entry, m->part[CG_INPUTS],
                         cotangents ? m->part[CG_COTANGENTS] : NULL, m->hyper, m->part[CG_OUTPUTS],
                         m->part[CG_INPUT_GRADS]);
}

/* The value besides 0 to limit - 1 that the input accepts, or NULL. */
static const int64_t *exception(const api_machine *m, const gradc_rt_error *e)
{
    const cg_part *p = &m->o->part[CG_INPUTS];
    for (int i = 0; i < p->count && e->tensor; i++) {
        const cg_taken *r = p->items[i].range;
        if (r && !strcmp(r->name, e->tensor) && r->has_other && r->high == e->limit - 1)
            return &r->other;
    }
    return NULL;
}

static void report_index(api_machine *m, int entry, const gradc_rt_error *e)
{
    const int64_t *other = exception(m, e);
    const char *name = e->tensor ? e->tensor : "?";
    long long at = e->at, value = e->value, last = e->limit - 1;
    if (other)
        base_report(m->ctx, BASE_ERROR, NULL,
                    "%s: '%s' holds %lld at element %lld; expected 0 to %lld, or %lld",
                    cg_entry_names[entry], name, value, at, last, (long long)*other);
    else
        base_report(m->ctx, BASE_ERROR, NULL,
                    "%s: '%s' holds %lld at element %lld; expected 0 to %lld",
                    cg_entry_names[entry], name, value, at, last);
}

bool api_machine_ok(api_machine *m, int entry, gradc_rt_status status)
{
    if (!status)
        return true;
    const gradc_rt_error *e = gradc_rt_last_error(m->rt);
    if (status == GRADC_RT_E_INDEX)
        report_index(m, entry, e);
    else if (e->tensor)
        base_report(m->ctx, BASE_ERROR, NULL, "%s: '%s': %s", cg_entry_names[entry], e->tensor,
                    gradc_rt_status_text(status));
    else
        base_report(m->ctx, BASE_ERROR, NULL, "%s: %s", cg_entry_names[entry],
                    gradc_rt_status_text(status));
    return false;
}

uint64_t *api_machine_counters(api_machine *m)
{
    return m->counters;
}

gradc_rt_ctx *api_machine_ctx(api_machine *m)
{
    return m->rt;
}

const gradc_rt_tensor *api_machine_param(api_machine *m, size_t i)
{
    return m->param(i);
}
