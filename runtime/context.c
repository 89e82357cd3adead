/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contexts. The arena holds, each 64-aligned: the context with its own pool (GRADC_RT_CTX_BYTES),
 * the state block, scratch. */
#include "runtime/rt.h"

#include <string.h>

#define POOL_AT ((sizeof(gradc_rt_ctx) + RT_LINE - 1) / RT_LINE * RT_LINE)
/* The context and a pool of the promised size fit their part of the arena. */
typedef char context_fits[POOL_AT + sizeof(gradc_rt_pool) + GRADC_RT_MAX_THREADS * sizeof(rt_box) <=
                                  GRADC_RT_CTX_BYTES
                              ? 1
                              : -1];

static size_t align(size_t bytes)
{
    return (bytes + RT_LINE - 1) / RT_LINE * RT_LINE;
}

/* The runtime's limits, which the compiler keeps as well. */
static bool within_limits(const gradc_rt_model *model)
{
    if (model->abi != GRADC_RT_ABI || model->size != sizeof *model ||
        model->ninputs > GRADC_RT_MAX_PORTS || !model->nspecs)
        return false;
    for (uint32_t l = 0; l < model->nlevels; l++)
        for (size_t e = 0; e < (size_t)model->nspecs * GRADC_RT_KINDS; e++)
            if (model->level[l].entry[e].nports > GRADC_RT_MAX_PORTS)
                return false;
    return true;
}

static const gradc_rt_level *best_level(const gradc_rt_model *model)
{
    uint64_t have = rt_cpu();
    for (uint32_t i = 0; i < model->nlevels; i++)
        if (!(model->level[i].cpu & ~have))
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

gradc_rt_status gradc_rt_init(gradc_rt_ctx **out, const gradc_rt_model *model, void *arena,
                              size_t bytes, const gradc_rt_options *options)
{
    if (!out)
        return GRADC_RT_E_ARGUMENT;
    *out = NULL;
    if (!model || !arena || !options)
        return GRADC_RT_E_ARGUMENT;
    if (!within_limits(model) || options->size != sizeof *options || options->model != model->id)
        return GRADC_RT_E_MODEL;
    if (options->flags || !options->threads)
        return GRADC_RT_E_ARGUMENT;
    if ((uintptr_t)arena % RT_LINE || bytes < model->arena_bytes)
        return GRADC_RT_E_ARENA;
    const gradc_rt_level *level = best_level(model);
    if (!level)
        return GRADC_RT_E_CPU;
    if (options->threads > (options->pool ? options->pool->threads : GRADC_RT_MAX_THREADS))
        return GRADC_RT_E_THREADS;

    gradc_rt_ctx *ctx = arena;
    memset(ctx, 0, sizeof *ctx);
    ctx->model = model;
    ctx->level = level;
    ctx->state = (char *)arena + GRADC_RT_CTX_BYTES;
    ctx->scratch = ctx->state + align(model->state_bytes);
    ctx->threads = options->threads;
    set_initial_state(ctx, options->seed);
    if (ctx->threads > 1) {
        ctx->pool = options->pool;
        ctx->own_pool = !options->pool;
    }
    if (ctx->own_pool) {
        gradc_rt_status status =
            gradc_rt_pool_init(&ctx->pool, (char *)arena + POOL_AT, GRADC_RT_CTX_BYTES - POOL_AT,
                               ctx->threads, options->spin_us);
        if (status)
            return status;
    }
    *out = ctx;
    return GRADC_RT_OK;
}

void gradc_rt_fini(gradc_rt_ctx *ctx)
{
    if (ctx && ctx->own_pool)
        gradc_rt_pool_fini(ctx->pool);
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
    ctx->ready = 0; /* what forward_train saved belongs to the old value */
    return GRADC_RT_OK;
}

/* The gradient block is of doubles when all tensors that have a gradient are. */
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

void *gradc_rt_state_data(gradc_rt_ctx *ctx, const char *name, size_t *bytes)
{
    for (uint32_t i = 0; ctx && name && i < ctx->model->nstates; i++) {
        const gradc_rt_state *s = &ctx->model->state[i];
        if (strcmp(s->tensor.name, name))
            continue;
        if (bytes)
            *bytes = s->tensor.bytes;
        return ctx->state + s->at;
    }
    return NULL;
}
