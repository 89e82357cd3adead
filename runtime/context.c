/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contexts. The arena holds, each 64-aligned: the context, followed by the pointers of a call and,
 * with threads and files, by the memory of runtime/hosted/; the state block; scratch. */
#include "runtime/memory.h"
#include "runtime/rt.h"

/* The context fits its part of the arena. */
typedef char context_fits[sizeof(gradc_rt_ctx) <= GRADC_RT_CTX_FIXED ? 1 : -1];
#if UINTPTR_MAX == UINT32_MAX
/* The compiler, which runs on a 64-bit machine, assumes these sizes. */
typedef char records_fit[sizeof(gradc_rt_tensor) == GRADC_RT_TENSOR_32 &&
                                 sizeof(gradc_rt_port) == GRADC_RT_PORT_32 &&
                                 sizeof(gradc_rt_entry) == GRADC_RT_ENTRY_32 &&
                                 sizeof(gradc_rt_state) == GRADC_RT_STATE_32 &&
                                 sizeof(gradc_rt_level) == GRADC_RT_LEVEL_32 &&
                                 sizeof(gradc_rt_model) == GRADC_RT_MODEL_32
                             ? 1
                             : -1];
#endif

static size_t align(size_t bytes)
{
    return (bytes + RT_LINE - 1) / RT_LINE * RT_LINE;
}

/* The largest number of ports of an entry. */
static size_t most_ports(const gradc_rt_model *model)
{
    size_t most = 0;
    for (uint32_t l = 0; l < model->nlevels; l++)
        for (size_t e = 0; e < (size_t)model->nspecs * GRADC_RT_KINDS; e++)
            if (model->level[l].entry[e].nports > most)
                most = model->level[l].entry[e].nports;
    return most;
}

static size_t context_bytes(const gradc_rt_model *model, size_t ports)
{
    return GRADC_RT_CTX_BYTES(sizeof(void *), ports, model->ninputs, 0);
}

/* The runtime's limits, which the compiler respects too. */
static bool within_limits(const gradc_rt_model *model, size_t more)
{
    if (model->abi != GRADC_RT_ABI || model->size != sizeof *model ||
        model->ninputs > GRADC_RT_MAX_PORTS || !model->nspecs)
        return false;
    size_t ports = most_ports(model);
    return ports <= GRADC_RT_MAX_PORTS && model->ctx_bytes % RT_LINE == 0 &&
           model->ctx_bytes >= context_bytes(model, ports) + more;
}

static const gradc_rt_level *first_level(const gradc_rt_model *model)
{
    uint64_t have = rt_cpu();
    for (uint32_t i = 0; i < model->nlevels; i++)
        if (!(model->level[i].cpu & ~have) && rt_cpu_grants(model->level[i].cpu))
            return &model->level[i];
    return NULL;
}

static void set_initial_state(gradc_rt_ctx *ctx, uint64_t seed)
{
    const gradc_rt_model *model = ctx->model;
    memset(ctx->state, 0, model->state_bytes);
    for (uint32_t i = 0; i < model->nstates; i++) {
        const gradc_rt_state *s = &model->state[i];
        if (s->init && s->tensor.bytes)
            rt_write_rows(s, ctx->state + s->at, s->init);
    }
    if (model->seed_state < model->nstates) {
        const gradc_rt_state *s = &model->state[model->seed_state];
        memcpy(ctx->state + s->at, &seed,
               s->tensor.bytes < sizeof seed ? s->tensor.bytes : sizeof seed);
    }
}

const gradc_rt_level *rt_check(const gradc_rt_model *model, const void *arena, size_t bytes,
                               const gradc_rt_options *options, size_t more,
                               gradc_rt_status *status)
{
    *status = GRADC_RT_OK;
    if (!model || !arena || !options)
        *status = GRADC_RT_E_ARGUMENT;
    else if (!within_limits(model, more) || options->size != sizeof *options ||
             options->model != model->id)
        *status = GRADC_RT_E_MODEL;
    else if (options->flags || !options->threads)
        *status = GRADC_RT_E_ARGUMENT;
    else if ((uintptr_t)arena % RT_LINE || bytes < model->arena_bytes)
        *status = GRADC_RT_E_ARENA;
    const gradc_rt_level *level = *status ? NULL : first_level(model);
    if (!*status && !level)
        *status = GRADC_RT_E_CPU;
    return level;
}

gradc_rt_ctx *rt_lay_out(const gradc_rt_model *model, const gradc_rt_level *level, void *arena,
                         uint64_t seed)
{
    gradc_rt_ctx *ctx = arena;
    size_t ports = most_ports(model);
    memset(ctx, 0, context_bytes(model, ports));
    ctx->model = model;
    ctx->level = level;
    ctx->state = (char *)arena + model->ctx_bytes;
    ctx->scratch = ctx->state + align(model->state_bytes);
    ctx->slot = (void **)(void *)((char *)arena + GRADC_RT_CTX_FIXED);
    ctx->kept = ctx->slot + 2 + ports;
    ctx->more = (char *)arena + context_bytes(model, ports);
    ctx->threads = 1;
    set_initial_state(ctx, seed);
    return ctx;
}

gradc_rt_status gradc_rt_init_freestanding(gradc_rt_ctx **out, const gradc_rt_model *model,
                                           void *arena, size_t bytes,
                                           const gradc_rt_options *options)
{
    gradc_rt_status status = GRADC_RT_E_ARGUMENT;
    if (!out)
        return status;
    *out = NULL;
    const gradc_rt_level *level = rt_check(model, arena, bytes, options, 0, &status);
    if (level && (options->threads > 1 || options->pool))
        status = GRADC_RT_E_THREADS;
    if (!status)
        *out = rt_lay_out(model, level, arena, options->seed);
    return status;
}

gradc_rt_status gradc_rt_param_get(gradc_rt_ctx *ctx, size_t i, void *dst)
{
    if (!ctx)
        return GRADC_RT_E_ARGUMENT;
    if (i >= ctx->model->nparams || !dst)
        return rt_fail(ctx, GRADC_RT_E_ARGUMENT, NULL, 0, (int64_t)i, ctx->model->nparams);
    const gradc_rt_state *s = &ctx->model->state[i];
    rt_read_rows(s, ctx->state + s->at, 0,
                 s->tensor.bytes / rt_dtype_bytes((uint32_t)s->tensor.dtype), dst);
    return GRADC_RT_OK;
}

gradc_rt_status gradc_rt_param_set(gradc_rt_ctx *ctx, size_t i, const void *src)
{
    if (!ctx)
        return GRADC_RT_E_ARGUMENT;
    if (i >= ctx->model->nparams || !src)
        return rt_fail(ctx, GRADC_RT_E_ARGUMENT, NULL, 0, (int64_t)i, ctx->model->nparams);
    const gradc_rt_state *s = &ctx->model->state[i];
    rt_write_rows(s, ctx->state + s->at, src);
    ctx->ready = 0; /* the residuals of forward_train belong to the old value */
    return GRADC_RT_OK;
}

/* The gradient block holds doubles if all tensors with a gradient do. */
static size_t grad_element(const gradc_rt_model *model)
{
    for (uint32_t i = 0; i < model->nparams; i++)
        if (model->state[i].tensor.grad_at != SIZE_MAX &&
            model->state[i].tensor.dtype != GRADC_RT_F64)
            return sizeof(float);
    return sizeof(double);
}

gradc_rt_status gradc_rt_zero_grad(gradc_rt_ctx *ctx)
{
    if (!ctx)
        return GRADC_RT_E_ARGUMENT;
    memset(ctx->state + ctx->model->grad_at, 0, ctx->model->grad_count * grad_element(ctx->model));
    return GRADC_RT_OK;
}

float *gradc_rt_grad_block(gradc_rt_ctx *ctx, size_t *count)
{
    bool there = ctx && ctx->model->grad_count;
    if (count)
        *count = there ? ctx->model->grad_count : 0;
    return there ? (float *)(void *)(ctx->state + ctx->model->grad_at) : NULL;
}

static bool same_text(const char *x, const char *y)
{
    while (*x && *x == *y)
        x++, y++;
    return *x == *y;
}

void *gradc_rt_state_data(gradc_rt_ctx *ctx, const char *name, size_t *bytes)
{
    for (uint32_t i = 0; ctx && name && i < ctx->model->nstates; i++) {
        const gradc_rt_state *s = &ctx->model->state[i];
        if (!same_text(s->tensor.name, name))
            continue;
        if (bytes)
            *bytes = s->tensor.bytes;
        return ctx->state + s->at;
    }
    return NULL;
}
