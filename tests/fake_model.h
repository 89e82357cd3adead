/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A model written by hand as generated code would be: y = x * (1 + noise) * w[index], loss = sum of
 * (y - target)^2 / 2, trained by SGD with momentum, for batches of 4 and of 64; and a model that is
 * one large parameter. */
#ifndef TESTS_FAKE_MODEL_H
#define TESTS_FAKE_MODEL_H

#include "gradc_rt.h"

#include <stdlib.h>
#include <string.h>

enum { FAKE_ROWS = 8, FAKE_MOST = 64, FAKE_BIG = 65536 };

typedef struct fake_inputs {
    const float *x;
    const int64_t *index;
    const float *target;
    int64_t batch;
} fake_inputs;
typedef struct fake_outputs {
    float *y, *loss;
} fake_outputs;
typedef struct fake_cotangents {
    const float *y, *loss;
} fake_cotangents;
typedef struct fake_input_grads {
    float *x;
} fake_input_grads;
typedef struct fake_hyper {
    float lr, momentum;
} fake_hyper;

/* What the bodies observed, for tests to read; written atomically, since contexts may run
 * concurrently. */
static uint32_t fake_threads;   /* of the last call */
static uint32_t fake_bad_modes; /* workers that were not in flush-to-zero, round-to-nearest mode */
static uint64_t fake_wanted;    /* of the last call */

/* Bits of wanted. */
enum { FAKE_Y = 1, FAKE_LOSS = 2, FAKE_STATE = 4, FAKE_DX = 1, FAKE_GRADS = 2 };

/* Offsets in the state block and in scratch. */
enum {
    AT_W = 0,
    AT_MASK = 64,
    AT_MEAN = 128,
    AT_ODD = 192,
    AT_MOMENTUM = 256,
    AT_SEED = 320,
    AT_CALLS = 384,
    AT_GRAD = 448,
    AT_SAVED = 512,
    STATE_BYTES = 768,
    IN_Y = 0,
    IN_LOSS = 256,
    IN_DLOSS = 320,
    IN_DY = 384,
    IN_SAVED = 640,
    IN_GRAD = 896,
    SCRATCH_BYTES = 960
};

static void fake_look(const gradc_rt_worker *worker, uint64_t wanted)
{
    volatile float small = 1e-40f, normal = 2e-38f, one = 1;
    if (small * 1e10f != 0 || normal * 0.25f != 0 || one + 1e-9f != 1 || one - 1e-9f != 1)
        __atomic_add_fetch(&fake_bad_modes, 1, __ATOMIC_RELAXED);
    if (!worker->id) {
        __atomic_store_n(&fake_threads, worker->threads, __ATOMIC_RELAXED);
        __atomic_store_n(&fake_wanted, wanted, __ATOMIC_RELAXED);
    }
}

/* A number in [-0.01, 0.01) that depends on seed, call and position alone. */
static float fake_noise(uint64_t seed, int64_t call, int64_t i)
{
    uint64_t z = seed + (uint64_t)call * 0x9e3779b97f4a7c15u + (uint64_t)i * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (float)(z >> 40) * 0x1p-24f * 0.02f - 0.01f;
}

/* The pieces of the bodies; each worker does its share of the batch, worker 0 the sums. */

static void fake_share(const gradc_rt_worker *worker, int64_t n, int64_t *from, int64_t *to)
{
    *from = n * worker->id / worker->threads;
    *to = n * (worker->id + 1) / worker->threads;
}

static int64_t fake_row(gradc_rt_worker *worker, const int64_t *index, int64_t i)
{
    if (index[i] >= 0 && index[i] < FAKE_ROWS)
        return index[i];
    gradc_rt_bad_index(worker, index[i] < 0 ? 0 : 1, i, index[i], FAKE_ROWS);
    return 0;
}

static void fake_eval(gradc_rt_worker *worker, int64_t n, char *state, const float *x,
                      const int64_t *index, float *y, float *saved)
{
    const float *w = (const float *)(void *)(state + AT_W);
    uint64_t seed = *(uint64_t *)(void *)(state + AT_SEED);
    int64_t calls = *(int64_t *)(void *)(state + AT_CALLS), from, to;
    fake_share(worker, n, &from, &to);
    for (int64_t i = from; i < to; i++) {
        float in = saved ? x[i] * (1 + fake_noise(seed, calls, i)) : x[i];
        if (saved)
            saved[i] = in;
        y[i] = in * w[fake_row(worker, index, i)];
    }
    gradc_rt_barrier(worker);
}

static void fake_loss(int64_t n, const float *y, const float *target, float *loss)
{
    float sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (y[i] - target[i]) * (y[i] - target[i]) * 0.5f;
    *loss = sum;
}

static void fake_count(int64_t n, char *state, const float *y)
{
    float sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += y[i];
    float *mean = (float *)(void *)(state + AT_MEAN);
    *mean = 0.9f * *mean + 0.1f * sum / (float)n;
    ++*(int64_t *)(void *)(state + AT_CALLS);
}

static void fake_update(char *state, const float *grad, const float *lr, const float *momentum)
{
    float *w = (float *)(void *)(state + AT_W), *m = (float *)(void *)(state + AT_MOMENTUM);
    for (int k = 0; k < FAKE_ROWS; k++) {
        m[k] = *momentum * m[k] + grad[k];
        w[k] -= *lr * m[k];
    }
}

static void fake_forward(gradc_rt_worker *worker, void *const *slot, uint64_t wanted, int64_t n,
                         int train)
{
    fake_look(worker, wanted);
    char *state = slot[1];
    float *y = slot[5], *saved = train ? (float *)(void *)(state + AT_SAVED) : NULL;
    fake_eval(worker, n, state, slot[2], slot[3], y, saved);
    if (gradc_rt_failed(worker) || worker->id)
        return;
    if (wanted & FAKE_LOSS)
        fake_loss(n, y, slot[4], slot[6]);
    if (train)
        fake_count(n, state, y);
}

static void fake_backward(gradc_rt_worker *worker, void *const *slot, uint64_t wanted, int64_t n)
{
    fake_look(worker, wanted);
    char *state = slot[1];
    const int64_t *index = slot[2];
    const float *target = slot[3], *dy = slot[4], *dloss = slot[5],
                *w = (float *)(void *)(state + AT_W);
    const float *saved = (float *)(void *)(state + AT_SAVED);
    /* g: scratch from 0 on */
    float *dx = slot[6], *g = slot[0], *grad = (float *)(void *)(state + AT_GRAD);
    int64_t from, to;
    fake_share(worker, n, &from, &to);
    for (int64_t i = from; i < to; i++) {
        g[i] = dy[i] + *dloss * (saved[i] * w[index[i]] - target[i]);
        if (dx)
            dx[i] = g[i] * w[index[i]];
    }
    gradc_rt_barrier(worker);
    for (int64_t i = 0; !worker->id && i < n; i++)
        grad[index[i]] += g[i] * saved[i];
}

static void fake_step(gradc_rt_worker *worker, void *const *slot, uint64_t wanted, int64_t n)
{
    fake_look(worker, wanted);
    char *scratch = slot[0], *state = slot[1];
    const int64_t *index = slot[3];
    const float *target = slot[4];
    float *y = slot[7], *saved = (float *)(void *)(scratch + IN_SAVED),
          *grad = (float *)(void *)(scratch + IN_GRAD);
    fake_eval(worker, n, state, slot[2], index, y, saved);
    if (gradc_rt_failed(worker) || worker->id)
        return;
    memset(grad, 0, FAKE_ROWS * sizeof(float));
    for (int64_t i = 0; i < n; i++)
        grad[index[i]] += (y[i] - target[i]) * saved[i];
    if (wanted & FAKE_LOSS)
        fake_loss(n, y, target, slot[8]);
    fake_count(n, state, y);
    fake_update(state, grad, slot[5], slot[6]);
}

static void fake_update_body(gradc_rt_worker *worker, void *const *slot, uint64_t wanted)
{
    fake_look(worker, wanted);
    fake_update(slot[1], (float *)(void *)((char *)slot[1] + AT_GRAD), slot[2], slot[3]);
}

#define FAKE_BODIES(n)                                                              \
    static void fake_forward_##n(gradc_rt_worker *w, void *const *s, uint64_t want) \
    {                                                                               \
        fake_forward(w, s, want, n, 0);                                             \
    }                                                                               \
    static void fake_train_##n(gradc_rt_worker *w, void *const *s, uint64_t want)   \
    {                                                                               \
        fake_forward(w, s, want, n, 1);                                             \
    }                                                                               \
    static void fake_backward_##n(gradc_rt_worker *w, void *const *s, uint64_t want) \
    {                                                                               \
        fake_backward(w, s, want, n);                                               \
    }                                                                               \
    static void fake_step_##n(gradc_rt_worker *w, void *const *s, uint64_t want)    \
    {                                                                               \
        fake_step(w, s, want, n);                                                   \
    }
FAKE_BODIES(4)
FAKE_BODIES(64)

/* The tables. */

static const int64_t fake_shape_4[] = {4}, fake_shape_64[] = {64}, fake_shape_8[] = {8},
                     fake_shape_13[] = {1, 3}, fake_shape_2[] = {2};

#define FAKE_X(n, by) \
    {"x", GRADC_RT_INPUT, 0, GRADC_RT_F32, 1, fake_shape_##n, n * 4, by, SIZE_MAX, 0, 0}
#define FAKE_INDEX(n, by) \
    {"index", GRADC_RT_INPUT, 1, GRADC_RT_I64, 1, fake_shape_##n, n * 8, by, SIZE_MAX, 0, 0}
#define FAKE_TARGET(n, by) \
    {"target", GRADC_RT_INPUT, 2, GRADC_RT_F32, 1, fake_shape_##n, n * 4, by, SIZE_MAX, 0, 0}
#define FAKE_OUT_Y(n) \
    {"y", GRADC_RT_OUTPUT, 0, GRADC_RT_F32, 1, fake_shape_##n, n * 4, FAKE_Y, IN_Y, 0, 0}
#define FAKE_OUT_LOSS \
    {"loss", GRADC_RT_OUTPUT, 1, GRADC_RT_F32, 0, NULL, 4, FAKE_LOSS, SIZE_MAX, 0, 0}
#define FAKE_LR {"lr", GRADC_RT_HYPER, 0, GRADC_RT_F32, 0, NULL, 4, 0, SIZE_MAX, 0, 0}
#define FAKE_MOMENTUM {"momentum", GRADC_RT_HYPER, 1, GRADC_RT_F32, 0, NULL, 4, 0, SIZE_MAX, 0, 0}
#define FAKE_PORTS(n)                                                                             \
    static const gradc_rt_port fake_forward_ports_##n[] = {                                       \
        FAKE_X(n, FAKE_Y | FAKE_LOSS | FAKE_STATE),                                               \
        FAKE_INDEX(n, FAKE_Y | FAKE_LOSS | FAKE_STATE), FAKE_TARGET(n, FAKE_LOSS), FAKE_OUT_Y(n), \
        FAKE_OUT_LOSS};                                                                           \
    static const gradc_rt_port fake_backward_ports_##n[] = {                                      \
        FAKE_INDEX(n, FAKE_GRADS),                                                                \
        FAKE_TARGET(n, FAKE_GRADS),                                                               \
        {"y", GRADC_RT_COTANGENT, 0, GRADC_RT_F32, 1, fake_shape_##n, n * 4, 0, IN_DY, 0, 0},     \
        {"loss", GRADC_RT_COTANGENT, 1, GRADC_RT_F32, 0, NULL, 4, 0, IN_DLOSS, 1, 0},             \
        {"x", GRADC_RT_INPUT_GRAD, 0, GRADC_RT_F32, 1, fake_shape_##n, n * 4, FAKE_DX, SIZE_MAX,  \
         0, 0}};                                                                                  \
    static const gradc_rt_port fake_step_ports_##n[] = {FAKE_X(n, FAKE_STATE),                    \
                                                        FAKE_INDEX(n, FAKE_STATE),                \
                                                        FAKE_TARGET(n, FAKE_STATE),               \
                                                        FAKE_LR,                                  \
                                                        FAKE_MOMENTUM,                            \
                                                        FAKE_OUT_Y(n),                            \
                                                        FAKE_OUT_LOSS};
FAKE_PORTS(4)
FAKE_PORTS(64)
static const gradc_rt_port fake_update_ports[] = {FAKE_LR, FAKE_MOMENTUM};
static const char *const fake_checks[] = {"index below 0", "index"};

#define FAKE_ENTRIES(n, parallel)                                                             \
    {fake_forward_##n, fake_forward_ports_##n, 5, parallel, 0, fake_checks, 2},               \
        {fake_train_##n, fake_forward_ports_##n, 5, parallel, FAKE_STATE, fake_checks, 2},    \
        {fake_backward_##n, fake_backward_ports_##n, 5, parallel, FAKE_GRADS, fake_checks, 2}, \
        {fake_update_body, fake_update_ports, 2, 0, FAKE_STATE, NULL, 0},                     \
        {fake_step_##n, fake_step_ports_##n, 7, parallel, FAKE_STATE, fake_checks, 2}
static const gradc_rt_entry fake_entries[] = {FAKE_ENTRIES(4, 0), FAKE_ENTRIES(64, 1)};
/* Bodies for a processor that does not exist: calling one would crash. */
static const gradc_rt_entry fake_other_entries[2 * GRADC_RT_KINDS] = {
    {NULL, NULL, 0, 0, 0, NULL, 0}};
static const gradc_rt_level fake_levels[] = {{(uint64_t)1 << 63, fake_other_entries},
                                             {0, fake_entries}};

static const float fake_w[] = {1, -1, 2, -2, 0.5f, -0.5f, 3, -3}, fake_mean = 0.5f;
static const uint8_t fake_mask[] = {1, 0, 1};
static const double fake_odd[] = {1e300, -0.0};
static const gradc_rt_state fake_states[] = {
    {{"w", fake_shape_8, 1, GRADC_RT_F32, 1, 32, 0}, 0, 0, AT_W, fake_w, NULL},
    {{"mask", fake_shape_13, 2, GRADC_RT_BOOL, 0, 3, SIZE_MAX}, 0, 0, AT_MASK, fake_mask, NULL},
    {{"mean", NULL, 0, GRADC_RT_F32, 0, 4, SIZE_MAX}, 1, 0, AT_MEAN, &fake_mean, NULL},
    {{"a \"name\"\\with\n\x01 all/\xc3\xa9", fake_shape_2, 1, GRADC_RT_F64, 0, 16, SIZE_MAX},
     0,
     0,
     AT_ODD,
     fake_odd,
     NULL},
    {{"w.momentum", fake_shape_8, 1, GRADC_RT_F32, 0, 32, SIZE_MAX}, 2, 0, AT_MOMENTUM, NULL, NULL},
    {{"seed", NULL, 0, GRADC_RT_U64, 0, 8, SIZE_MAX}, 3, 0, AT_SEED, NULL, NULL},
    {{"calls", NULL, 0, GRADC_RT_I64, 0, 8, SIZE_MAX}, 3, 0, AT_CALLS, NULL, NULL},
    {{"w.grad", fake_shape_8, 1, GRADC_RT_F32, 0, 32, SIZE_MAX}, 4, 0, AT_GRAD, NULL, NULL},
    {{"saved", fake_shape_64, 1, GRADC_RT_F32, 0, 256, SIZE_MAX}, 5, 0, AT_SAVED, NULL, NULL},
};
static const int64_t fake_dims[] = {4, 64};
static const char *const fake_dim_names[] = {"batch"};
static const float fake_hyper_defaults[] = {0.01f, 0.9f};
/* No entry has more ports. */
#define FAKE_CTX_BYTES GRADC_RT_CTX_BYTES(sizeof(void *), 8, 3, 1)
static const gradc_rt_model fake_model = {
    .abi = GRADC_RT_ABI,
    .size = sizeof(gradc_rt_model),
    .id = 0xfa4e0123456789abu,
    .name = "fake",
    .state = fake_states,
    .nstates = 9,
    .nparams = 4,
    .state_bytes = STATE_BYTES,
    .scratch_bytes = SCRATCH_BYTES,
    .grad_at = AT_GRAD,
    .grad_count = 8,
    .ctx_bytes = FAKE_CTX_BYTES,
    .arena_bytes = FAKE_CTX_BYTES + STATE_BYTES + SCRATCH_BYTES,
    .level = fake_levels,
    .nlevels = 2,
    .nspecs = 2,
    .ninputs = 3,
    .ndims = 1,
    .dims = fake_dims,
    .dim_name = fake_dim_names,
    .hyper = fake_hyper_defaults,
    .nhyper = 2,
    .seed_state = 5,
};

/* A model that is one large parameter, without entries. */
static const int64_t big_shape[] = {256, 256};
static const gradc_rt_state big_states[] = {
    {{"w", big_shape, 2, GRADC_RT_F32, 1, 4 * FAKE_BIG, SIZE_MAX}, 0, 0, 0, NULL, NULL}};
static const gradc_rt_model big_model = {
    .abi = GRADC_RT_ABI,
    .size = sizeof(gradc_rt_model),
    .id = 0xb16,
    .name = "big",
    .state = big_states,
    .nstates = 1,
    .nparams = 1,
    .state_bytes = 4 * FAKE_BIG,
    .ctx_bytes = FAKE_CTX_BYTES,
    .arena_bytes = FAKE_CTX_BYTES + 4 * FAKE_BIG,
    .level = &fake_levels[1],
    .nlevels = 1,
    .nspecs = 1,
    .seed_state = UINT32_MAX,
};

/* An arena with a context in it. */
typedef struct fake {
    gradc_rt_ctx *ctx;
    void *arena;
} fake;

static inline gradc_rt_options fake_options(const gradc_rt_model *model, uint32_t threads,
                                            gradc_rt_pool *pool)
{
    return (gradc_rt_options){.model = model->id,
                              .size = sizeof(gradc_rt_options),
                              .threads = threads,
                              .seed = 7,
                              .pool = pool,
                              .spin_us = 20};
}

static inline fake fake_new(const gradc_rt_model *model, uint32_t threads, gradc_rt_pool *pool)
{
    fake f = {NULL, aligned_alloc(64, (model->arena_bytes + 63) / 64 * 64)};
    memset(f.arena, 0xee, model->arena_bytes); /* so that nothing relies on a zeroed arena */
    gradc_rt_options o = fake_options(model, threads, pool);
    if (gradc_rt_init(&f.ctx, model, f.arena, model->arena_bytes, &o))
        abort();
    return f;
}

static inline void fake_free(fake f)
{
    gradc_rt_fini(f.ctx);
    free(f.arena);
}

/* A batch of 64 to train on. */
typedef struct fake_data {
    float x[FAKE_MOST], target[FAKE_MOST];
    int64_t index[FAKE_MOST];
} fake_data;

static inline fake_inputs fake_batch(fake_data *d, int64_t n)
{
    for (int64_t i = 0; i < FAKE_MOST; i++) {
        d->x[i] = 0.25f * (float)(i % 7) - 0.5f;
        d->target[i] = 0.5f * (float)(i % 3);
        d->index[i] = i * 5 % FAKE_ROWS;
    }
    return (fake_inputs){d->x, d->index, d->target, n};
}

#define FAKE_CALL(f, kind, in, cot, hyper, out, dx) \
    gradc_rt_call((f).ctx, kind, in, cot, hyper, out, dx)

#endif
