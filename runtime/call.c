/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Calls: chooses the specialisation, determines the wanted outputs, sets a pointer for each port,
 * checks the order of calls. Invalid arguments are refused before the body runs; the body itself
 * detects bad indices, before it writes any state. */
#include "runtime/memory.h"
#include "runtime/rt.h"

/* The caller's structs, as arrays of their members. */
typedef struct call {
    gradc_rt_ctx *ctx;
    const gradc_rt_entry *entry;
    /* By port source; NULL: no struct; not used for hyper. */
    void *const *member[GRADC_RT_INPUT_GRAD + 1];
    const float *hyper;
    uint64_t wanted;
} call;

static void *given(const call *c, const gradc_rt_port *port)
{
    return c->member[port->source] ? c->member[port->source][port->index] : NULL;
}

static bool is_result(const gradc_rt_port *port)
{
    return port->source == GRADC_RT_OUTPUT || port->source == GRADC_RT_INPUT_GRAD;
}

static void *fallback(const call *c, const gradc_rt_port *port)
{
    return port->fallback == SIZE_MAX ? NULL : c->ctx->scratch + port->fallback;
}

/* Fills n bytes with ones of the type. */
static void fill_one(void *at, uint32_t dtype, size_t bytes)
{
    static const uint16_t half = 0x3c00, brain = 0x3f80;
    static const float single = 1;
    static const double full = 1;
    const void *one = dtype == GRADC_RT_F16    ? (const void *)&half
                      : dtype == GRADC_RT_BF16 ? (const void *)&brain
                      : dtype == GRADC_RT_F64  ? (const void *)&full
                                               : (const void *)&single;
    size_t width = rt_dtype_bytes(dtype);
    for (size_t i = 0; i + width <= bytes; i += width)
        memcpy((char *)at + i, one, width);
}

/* A cotangent that was not given: 1 for the loss if there is no struct at all, else 0. */
static void *implied_cotangent(const call *c, const gradc_rt_port *port)
{
    void *at = fallback(c, port);
    if (!at)
        return NULL;
    if (port->one && !c->member[GRADC_RT_COTANGENT])
        fill_one(at, port->dtype, port->bytes);
    else
        memset(at, 0, port->bytes);
    return at;
}

static gradc_rt_status refuse(const call *c, const gradc_rt_port *port)
{
    return rt_fail(c->ctx, GRADC_RT_E_ARGUMENT, port->name, 0, 0, 0);
}

static gradc_rt_status set_slot(const call *c, const gradc_rt_port *port, void **slot)
{
    if (port->source == GRADC_RT_HYPER) {
        *slot = (void *)(uintptr_t)(c->hyper + port->index);
        return GRADC_RT_OK;
    }
    void *p = given(c, port);
    size_t width = rt_dtype_bytes(port->dtype);
    if (p && width && (uintptr_t)p % width)
        return refuse(c, port);
    if (!p && port->source == GRADC_RT_INPUT && port->bytes && port->needed_by & c->wanted)
        return refuse(c, port);
    if (!p && port->source == GRADC_RT_COTANGENT)
        p = implied_cotangent(c, port);
    if (!p && is_result(port))
        p = fallback(c, port);
    *slot = p;
    return GRADC_RT_OK;
}

/* Determines the wanted outputs first, because the needed inputs depend on them. */
static gradc_rt_status set_slots(call *c)
{
    const gradc_rt_entry *e = c->entry;
    c->wanted = e->always;
    for (uint32_t i = 0; i < e->nports; i++)
        if (is_result(&e->port[i]) && given(c, &e->port[i]))
            c->wanted |= e->port[i].needed_by;
    void **slot = c->ctx->slot;
    slot[0] = c->ctx->scratch;
    slot[1] = c->ctx->state;
    for (uint32_t i = 0; i < e->nports; i++) {
        gradc_rt_status status = set_slot(c, &e->port[i], &slot[2 + i]);
        if (status)
            return status;
    }
    return GRADC_RT_OK;
}

/* The first specialisation whose first n dimensions match, or nspecs. */
static uint32_t find_spec(const gradc_rt_model *model, const int64_t *dims, uint32_t n)
{
    for (uint32_t s = 0; s < model->nspecs; s++) {
        const int64_t *row = &model->dims[(size_t)s * model->ndims];
        uint32_t d = 0;
        while (d < n && row[d] == dims[d])
            d++;
        if (d == n)
            return s;
    }
    return model->nspecs;
}

static gradc_rt_status choose_spec(gradc_rt_ctx *ctx, const void *inputs, uint32_t *spec)
{
    const gradc_rt_model *model = ctx->model;
    *spec = 0;
    if (!model->ndims)
        return GRADC_RT_OK;
    if (!inputs)
        return rt_fail(ctx, GRADC_RT_E_ARGUMENT, model->dim_name[0], 0, 0, 0);
    /* The dimensions follow the pointers, aligned as an int64_t in a struct. */
    size_t at = (model->ninputs * sizeof(void *) + sizeof(int64_t) - 1) & ~(sizeof(int64_t) - 1);
    const int64_t *dims = (const int64_t *)(const void *)((const char *)inputs + at);
    *spec = find_spec(model, dims, model->ndims);
    if (*spec < model->nspecs)
        return GRADC_RT_OK;
    uint32_t d = 0; /* the first that matches no specialisation, given those before it */
    while (d + 1 < model->ndims && find_spec(model, dims, d + 1) < model->nspecs)
        d++;
    return rt_fail(ctx, GRADC_RT_E_DIMENSION, model->dim_name[d], d, dims[d], 0);
}

static gradc_rt_status run(call *c)
{
    gradc_rt_ctx *ctx = c->ctx;
    memset(&ctx->run, 0, sizeof ctx->run);
    if (c->entry->parallel && ctx->launch) {
        gradc_rt_status status = ctx->launch(ctx, c->entry->body, c->wanted);
        if (status)
            return rt_fail(ctx, status, NULL, 0, 0, 0);
    } else {
        gradc_rt_worker alone = {0, 1, &ctx->run};
        uint64_t mode = rt_fp_enter();
        c->entry->body(&alone, ctx->slot, c->wanted);
        rt_fp_leave(mode);
    }
    if (!ctx->run.noted)
        return GRADC_RT_OK;
    const char *name = ctx->run.check < c->entry->nchecks ? c->entry->check[ctx->run.check] : NULL;
    return rt_fail(ctx, GRADC_RT_E_INDEX, name, ctx->run.at, ctx->run.value, ctx->run.limit);
}

/* Keeps the inputs, which backward reads again. */
static void make_ready(gradc_rt_ctx *ctx, uint32_t spec, void *const *inputs)
{
    for (uint32_t i = 0; i < ctx->model->ninputs; i++)
        ctx->kept[i] = inputs ? inputs[i] : NULL;
    ctx->kept_spec = spec;
    ctx->ready = 1;
}

gradc_rt_status gradc_rt_call(gradc_rt_ctx *ctx, uint32_t kind, const void *inputs,
                              const void *cotangents, const void *hyper, const void *outputs,
                              const void *input_grads)
{
    if (!ctx)
        return GRADC_RT_E_ARGUMENT;
    const gradc_rt_model *model = ctx->model;
    if (kind >= GRADC_RT_KINDS || !ctx->level->entry[kind].body)
        return rt_fail(ctx, GRADC_RT_E_MODEL, NULL, 0, kind, 0);
    bool takes_inputs = kind != GRADC_RT_BACKWARD && kind != GRADC_RT_UPDATE;
    uint32_t spec = 0;
    gradc_rt_status status = GRADC_RT_OK;
    if (takes_inputs)
        status = choose_spec(ctx, inputs, &spec);
    else if (kind == GRADC_RT_BACKWARD && !ctx->ready)
        status = rt_fail(ctx, GRADC_RT_E_ORDER, NULL, 0, 0, 0);
    else if (kind == GRADC_RT_BACKWARD)
        spec = ctx->kept_spec;
    if (status)
        return status;

    call c = {.ctx = ctx, .entry = &ctx->level->entry[(size_t)spec * GRADC_RT_KINDS + kind]};
    c.member[GRADC_RT_INPUT] = kind == GRADC_RT_BACKWARD ? ctx->kept : inputs;
    c.member[GRADC_RT_COTANGENT] = cotangents;
    c.member[GRADC_RT_OUTPUT] = outputs;
    c.member[GRADC_RT_INPUT_GRAD] = input_grads;
    c.hyper = hyper ? hyper : model->hyper;
    if ((uintptr_t)c.hyper % sizeof(float))
        return rt_fail(ctx, GRADC_RT_E_ARGUMENT, NULL, 0, 0, 0);
    status = set_slots(&c);
    if (status)
        return status;
    uint32_t was_ready = ctx->ready;
    status = run(&c);
    if (status == GRADC_RT_E_THREADS)
        return status; /* the body did not run */
    /* forward_train and backward invalidate the residuals even if they fail; the other calls only
     * if they changed the parameters. */
    ctx->ready =
        kind == GRADC_RT_FORWARD || (status && (kind == GRADC_RT_UPDATE || kind == GRADC_RT_STEP))
            ? was_ready
            : 0;
    if (!status && kind == GRADC_RT_FORWARD_TRAIN)
        make_ready(ctx, spec, inputs);
    return status;
}
