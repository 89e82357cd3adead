/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The runtime's contexts, calls and workers, with a model written by hand. */
#include "tests/fake_model.h"
#include "tests/no_malloc.h"
#include "tests/suite.h"

#include <dirent.h>
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEP(f, in, out) FAKE_CALL(f, GRADC_RT_STEP, in, NULL, NULL, out, NULL)
#define FORWARD(f, in, out) FAKE_CALL(f, GRADC_RT_FORWARD, in, NULL, NULL, out, NULL)
#define TRAIN(f, in, out) FAKE_CALL(f, GRADC_RT_FORWARD_TRAIN, in, NULL, NULL, out, NULL)
#define BACKWARD(f, cot, dx) FAKE_CALL(f, GRADC_RT_BACKWARD, NULL, cot, NULL, NULL, dx)

static float *state(fake f, const char *name)
{
    return gradc_rt_state_data(f.ctx, name, NULL);
}

START_TEST(init_refuses)
{
    size_t bytes = fake_model.arena_bytes;
    char *arena = aligned_alloc(64, bytes + 64);
    gradc_rt_options good = fake_options(&fake_model, 1, NULL), o = good;
    gradc_rt_ctx *ctx;
    ck_assert_int_eq(gradc_rt_init(NULL, &fake_model, arena, bytes, &o), GRADC_RT_E_ARGUMENT);
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, NULL, bytes, &o), GRADC_RT_E_ARGUMENT);
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena, bytes, NULL), GRADC_RT_E_ARGUMENT);
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena + 8, bytes, &o), GRADC_RT_E_ARENA);
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena, bytes - 1, &o), GRADC_RT_E_ARENA);
    ck_assert_ptr_null(ctx);
    o.model++;
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena, bytes, &o), GRADC_RT_E_MODEL);
    o = good, o.size--;
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena, bytes, &o), GRADC_RT_E_MODEL);
    o = good, o.threads = 0;
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena, bytes, &o), GRADC_RT_E_ARGUMENT);
    o = good, o.flags = 1;
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena, bytes, &o), GRADC_RT_E_ARGUMENT);
    o = good, o.threads = GRADC_RT_MAX_THREADS + 1;
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena, bytes, &o), GRADC_RT_E_THREADS);
    gradc_rt_model m = fake_model;
    m.abi++;
    ck_assert_int_eq(gradc_rt_init(&ctx, &m, arena, bytes, &good), GRADC_RT_E_MODEL);
    m = fake_model, m.ninputs = GRADC_RT_MAX_PORTS + 1;
    ck_assert_int_eq(gradc_rt_init(&ctx, &m, arena, bytes, &good), GRADC_RT_E_MODEL);
    m = fake_model, m.nlevels = 1; /* only the level of a processor that does not exist */
    ck_assert_int_eq(gradc_rt_init(&ctx, &m, arena, bytes, &good), GRADC_RT_E_CPU);
    ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena, bytes, &good), GRADC_RT_OK);
    gradc_rt_fini(ctx);
    gradc_rt_fini(NULL);
    free(arena);
}
END_TEST

START_TEST(every_status_has_a_text)
{
    for (int i = GRADC_RT_OK; i <= GRADC_RT_E_MEMORY; i++) {
        ck_assert_str_ne(gradc_rt_status_text(i), "unknown status");
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(gradc_rt_status_text(i), gradc_rt_status_text(k));
    }
    ck_assert_str_eq(gradc_rt_status_text(-1), "unknown status");
    ck_assert_str_eq(gradc_rt_status_text(99), "unknown status");
}
END_TEST

START_TEST(states_start_as_the_model_says)
{
    fake f = fake_new(&fake_model, 1, NULL);
    float w[8], zeros[64] = {0};
    ck_assert_int_eq(gradc_rt_param_get(f.ctx, 0, w), GRADC_RT_OK);
    ck_assert_mem_eq(w, fake_w, sizeof w);
    ck_assert_float_eq(*state(f, "mean"), 0.5f);
    ck_assert_mem_eq(state(f, "w.momentum"), zeros, 32);
    ck_assert_mem_eq(state(f, "saved"), zeros, 256);
    size_t bytes;
    ck_assert_uint_eq(*(uint64_t *)gradc_rt_state_data(f.ctx, "seed", &bytes), 7);
    ck_assert_uint_eq(bytes, 8);
    ck_assert_ptr_null(gradc_rt_state_data(f.ctx, "nothing", NULL));
    w[3] = 42;
    ck_assert_int_eq(gradc_rt_param_set(f.ctx, 0, w), GRADC_RT_OK);
    ck_assert_float_eq(state(f, "w")[3], 42);
    /* The first that is no parameter. */
    ck_assert_int_eq(gradc_rt_param_set(f.ctx, 4, w), GRADC_RT_E_ARGUMENT);
    ck_assert_int_eq(gradc_rt_last_error(f.ctx)->value, 4);
    ck_assert_int_eq(gradc_rt_last_error(f.ctx)->limit, 4);
    ck_assert_int_eq(gradc_rt_param_get(f.ctx, 0, NULL), GRADC_RT_E_ARGUMENT);
    fake_free(f);
}
END_TEST

START_TEST(outputs_decide_what_is_wanted_and_needed)
{
    fake f = fake_new(&fake_model, 1, NULL);
    fake_data d;
    fake_inputs in = fake_batch(&d, 4);
    float y[4], loss = -1;
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){y, &loss})), GRADC_RT_OK);
    ck_assert_uint_eq(fake_wanted, FAKE_Y | FAKE_LOSS);
    float whole = loss;
    loss = -1;
    /* y goes to scratch */
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){NULL, &loss})), GRADC_RT_OK);
    ck_assert_uint_eq(fake_wanted, FAKE_LOSS);
    ck_assert_float_eq(loss, whole);
    in.target = NULL; /* which the loss alone needs */
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){y, NULL})), GRADC_RT_OK);
    ck_assert_uint_eq(fake_wanted, FAKE_Y);
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){y, &loss})), GRADC_RT_E_ARGUMENT);
    ck_assert_str_eq(gradc_rt_last_error(f.ctx)->tensor, "target");
    in.x = NULL;
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){y, NULL})), GRADC_RT_E_ARGUMENT);
    ck_assert_str_eq(gradc_rt_last_error(f.ctx)->tensor, "x");
    in.x = d.x;
    in.index = (const int64_t *)(const void *)((const char *)d.index + 4);
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){y, NULL})), GRADC_RT_E_ARGUMENT);
    ck_assert_str_eq(gradc_rt_last_error(f.ctx)->tensor, "index");
    /* The statistics are always wanted. */
    ck_assert_int_eq(TRAIN(f, &(fake_inputs){.batch = 4}, NULL), GRADC_RT_E_ARGUMENT);
    ck_assert_int_eq(gradc_rt_call(f.ctx, GRADC_RT_KINDS, &in, NULL, NULL, NULL, NULL),
                     GRADC_RT_E_MODEL);
    ck_assert_int_eq(gradc_rt_call(NULL, GRADC_RT_FORWARD, &in, NULL, NULL, NULL, NULL),
                     GRADC_RT_E_ARGUMENT);
    ck_assert_int_eq(gradc_rt_last_error(NULL)->status, GRADC_RT_E_ARGUMENT);
    fake_free(f);
}
END_TEST

START_TEST(dimensions_choose_the_specialisation)
{
    fake f = fake_new(&fake_model, 1, NULL);
    fake_data d;
    fake_inputs in = fake_batch(&d, 4);
    float y[64];
    memset(y, 0x7f, sizeof y);
    float untouched = y[63];
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){y, NULL})), GRADC_RT_OK);
    ck_assert_float_eq(y[63], untouched);
    in.batch = 64;
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){y, NULL})), GRADC_RT_OK);
    ck_assert_float_ne(y[63], untouched);
    in.batch = 5;
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){y, NULL})), GRADC_RT_E_DIMENSION);
    ck_assert_str_eq(gradc_rt_last_error(f.ctx)->tensor, "batch");
    ck_assert_int_eq(gradc_rt_last_error(f.ctx)->value, 5);
    ck_assert_int_eq(FORWARD(f, NULL, NULL), GRADC_RT_E_ARGUMENT);
    fake_free(f);
}
END_TEST

START_TEST(backward_follows_forward_train)
{
    fake f = fake_new(&fake_model, 1, NULL);
    fake_data d;
    fake_inputs in = fake_batch(&d, 4);
    float y[4], w[8];
    ck_assert_int_eq(BACKWARD(f, NULL, NULL), GRADC_RT_E_ORDER);
    ck_assert_int_eq(TRAIN(f, &in, NULL), GRADC_RT_OK);
    /* May come between. */
    ck_assert_int_eq(FORWARD(f, &in, (&(fake_outputs){y, NULL})), GRADC_RT_OK);
    ck_assert_int_eq(gradc_rt_zero_grad(f.ctx), GRADC_RT_OK);
    ck_assert_int_eq(BACKWARD(f, NULL, NULL), GRADC_RT_OK);
    ck_assert_int_eq(BACKWARD(f, NULL, NULL), GRADC_RT_E_ORDER); /* consumed */
    gradc_rt_param_get(f.ctx, 0, w);
    ck_assert_int_eq(TRAIN(f, &in, NULL), GRADC_RT_OK);
    gradc_rt_param_set(f.ctx, 0, w); /* what was saved is of other parameters now */
    ck_assert_int_eq(BACKWARD(f, NULL, NULL), GRADC_RT_E_ORDER);
    ck_assert_int_eq(TRAIN(f, &in, NULL), GRADC_RT_OK);
    ck_assert_int_eq(STEP(f, &in, NULL), GRADC_RT_OK);
    ck_assert_int_eq(BACKWARD(f, NULL, NULL), GRADC_RT_E_ORDER);
    in.batch = 9; /* refused before anything is touched */
    in.target = NULL;
    fake_inputs good = fake_batch(&d, 4);
    ck_assert_int_eq(TRAIN(f, &good, NULL), GRADC_RT_OK);
    ck_assert_int_eq(TRAIN(f, &in, NULL), GRADC_RT_E_DIMENSION);
    ck_assert_int_eq(BACKWARD(f, NULL, NULL), GRADC_RT_OK);
    in.batch = 4; /* the loss's cotangent needs the target, which was not given */
    ck_assert_int_eq(TRAIN(f, &in, NULL), GRADC_RT_OK);
    ck_assert_int_eq(BACKWARD(f, NULL, NULL), GRADC_RT_E_ARGUMENT);
    ck_assert_str_eq(gradc_rt_last_error(f.ctx)->tensor, "target");
    fake_free(f);
}
END_TEST

START_TEST(cotangents_default_to_the_loss)
{
    fake f = fake_new(&fake_model, 1, NULL);
    fake_data d;
    fake_inputs in = fake_batch(&d, 4);
    float one = 1, dx[4], same[4], none[4], zeros[4] = {0};
    size_t count;
    float *grad = gradc_rt_grad_block(f.ctx, &count), first[8];
    ck_assert_uint_eq(count, 8);
    /* The noise depends on the counter of calls: put it back each time. */
    int64_t *calls = gradc_rt_state_data(f.ctx, "calls", NULL);
    const fake_cotangents loss = {NULL, &one}, nothing = {NULL, NULL};
    const fake_cotangents *given[] = {NULL, &loss, &nothing};
    float *into[] = {dx, same, none};
    for (int i = 0; i < 3; i++) {
        *calls = 0;
        ck_assert_int_eq(TRAIN(f, &in, NULL), GRADC_RT_OK);
        ck_assert_int_eq(BACKWARD(f, given[i], (&(fake_input_grads){into[i]})), GRADC_RT_OK);
        ck_assert_uint_eq(fake_wanted, FAKE_DX | FAKE_GRADS);
        if (i == 0)
            memcpy(first, grad, sizeof first);
    }
    ck_assert_mem_eq(dx, same, sizeof dx);
    ck_assert_mem_ne(dx, zeros, sizeof dx);
    for (int i = 0; i < 4; i++)
        ck_assert_float_eq(none[i], 0);
    for (int i = 0; i < 8; i++)
        ck_assert_float_eq(grad[i], 2 * first[i]); /* gradients add up */
    ck_assert_int_eq(gradc_rt_zero_grad(f.ctx), GRADC_RT_OK);
    for (int i = 0; i < 8; i++)
        ck_assert_float_eq(grad[i], 0);
    fake_free(f);
}
END_TEST

START_TEST(hyper_parameters_are_read_at_each_call)
{
    fake f = fake_new(&fake_model, 1, NULL);
    float *w = state(f, "w"), *grad = gradc_rt_grad_block(f.ctx, NULL);
    grad[0] = 1;
    ck_assert_int_eq(FAKE_CALL(f, GRADC_RT_UPDATE, NULL, NULL, NULL, NULL, NULL), GRADC_RT_OK);
    ck_assert_float_eq(w[0], 1 - 0.01f);
    ck_assert_int_eq(FAKE_CALL(f, GRADC_RT_UPDATE, NULL, NULL, (&(fake_hyper){1, 0}), NULL, NULL),
                     GRADC_RT_OK);
    ck_assert_float_eq(w[0], 1 - 0.01f - 1);
    char bytes[12];
    ck_assert_int_eq(FAKE_CALL(f, GRADC_RT_UPDATE, NULL, NULL,
                               bytes + ((uintptr_t)bytes % 4 ? 0 : 1), NULL, NULL),
                     GRADC_RT_E_ARGUMENT);
    fake_free(f);
}
END_TEST

START_TEST(results_do_not_depend_on_threads)
{
    fake_data d;
    fake_inputs in = fake_batch(&d, 64);
    float w[3][8], losses[3][30];
    for (uint32_t threads = 1; threads <= 3; threads++) {
        fake f = fake_new(&fake_model, threads, NULL);
        for (int i = 0; i < 30; i++) {
            ck_assert_int_eq(STEP(f, &in, (&(fake_outputs){NULL, &losses[threads - 1][i]})),
                             GRADC_RT_OK);
            ck_assert_uint_eq(fake_threads, threads);
        }
        memcpy(w[threads - 1], state(f, "w"), 32);
        fake_free(f);
    }
    ck_assert_float_lt(losses[0][29], losses[0][0] / 2);
    for (int t = 1; t < 3; t++) {
        ck_assert_mem_eq(w[t], w[0], 32);
        ck_assert_mem_eq(losses[t], losses[0], sizeof losses[0]);
    }
}
END_TEST

START_TEST(a_small_entry_runs_alone)
{
    fake f = fake_new(&fake_model, 3, NULL);
    fake_data d;
    fake_inputs in = fake_batch(&d, 4);
    ck_assert_int_eq(STEP(f, &in, NULL), GRADC_RT_OK);
    ck_assert_uint_eq(fake_threads, 1);
    fake_free(f);
}
END_TEST

START_TEST(a_bad_index_changes_nothing_and_is_named)
{
    for (uint32_t threads = 1; threads <= 4; threads++) {
        fake f = fake_new(&fake_model, threads, NULL);
        fake_data d;
        fake_inputs in = fake_batch(&d, 64);
        ck_assert_int_eq(STEP(f, &in, NULL), GRADC_RT_OK);
        char before[STATE_BYTES];
        memcpy(before, state(f, "w"), AT_SAVED);
        d.index[62] = 8;
        d.index[40] = -1;
        d.index[33] = 1000;
        d.index[50] = INT64_MIN;
        const uint32_t kinds[] = {GRADC_RT_FORWARD, GRADC_RT_FORWARD_TRAIN, GRADC_RT_STEP};
        for (int k = 0; k < 3; k++) {
            ck_assert_int_eq(FAKE_CALL(f, kinds[k], &in, NULL, NULL, NULL, NULL), GRADC_RT_E_INDEX);
            const gradc_rt_error *e = gradc_rt_last_error(f.ctx);
            ck_assert_int_eq(e->status, GRADC_RT_E_INDEX);
            /* The first check, though another comes first in the batch. */
            ck_assert_str_eq(e->tensor, "index below 0");
            ck_assert_int_eq(e->at, 40);
            ck_assert_int_eq(e->value, -1);
            ck_assert_int_eq(e->limit, 8);
            ck_assert_mem_eq(before, state(f, "w"), AT_SAVED);
        }
        ck_assert_int_eq(BACKWARD(f, NULL, NULL), GRADC_RT_E_ORDER);
        in = fake_batch(&d, 64);
        ck_assert_int_eq(STEP(f, &in, NULL), GRADC_RT_OK); /* the next call starts afresh */
        fake_free(f);
    }
}
END_TEST

START_TEST(the_callers_mode_is_kept)
{
    fake f = fake_new(&fake_model, 3, NULL);
    fake_data d;
    fake_bad_modes = 0;
    fesetround(FE_UPWARD);
    feclearexcept(FE_ALL_EXCEPT);
    for (int n = 4; n <= 64; n += 60) {
        fake_inputs in = fake_batch(&d, n);
        feclearexcept(FE_ALL_EXCEPT);
        ck_assert_int_eq(STEP(f, &in, NULL), GRADC_RT_OK);
        ck_assert_int_eq(fegetround(), FE_UPWARD);
        ck_assert_int_eq(fetestexcept(FE_ALL_EXCEPT), 0);
        volatile float small = 1e-40f;
        ck_assert(small * 0.5f != 0);
    }
    fesetround(FE_TONEAREST);
    ck_assert_uint_eq(fake_bad_modes, 0);
    fake_free(f);
}
END_TEST

/* Trains for a while in a thread of its own. */
typedef struct trainer {
    fake f;
    float w[8];
    int failures;
} trainer;

static void *train(void *argument)
{
    trainer *t = argument;
    fake_data d;
    for (int i = 0; i < 100; i++) {
        float loss;
        fake_inputs in = fake_batch(&d, i % 8 ? 64 : 4);
        if (i % 5 == 4)
            d.index[1] = 9;
        t->failures += STEP(t->f, &in, (&(fake_outputs){NULL, &loss})) !=
                       (i % 5 == 4 ? GRADC_RT_E_INDEX : GRADC_RT_OK);
    }
    memcpy(t->w, state(t->f, "w"), sizeof t->w);
    return NULL;
}

/* Two contexts in two threads, with that pool or their own. */
static void train_two(gradc_rt_pool *pool, uint32_t threads)
{
    trainer t[3] = {{.f = fake_new(&fake_model, threads, pool)},
                    {.f = fake_new(&fake_model, threads, pool)},
                    {.f = fake_new(&fake_model, 1, NULL)}};
    pthread_t thread[2];
    fake_threads = 0;
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, train, &t[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    train(&t[2]);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(t[i].failures, 0);
        ck_assert_mem_eq(t[i].w, t[2].w, sizeof t[2].w);
        fake_free(t[i].f);
    }
}

START_TEST(two_contexts_in_two_threads)
{
    train_two(NULL, 1);
    train_two(NULL, 2);
}
END_TEST

START_TEST(contexts_share_a_pool)
{
    for (uint32_t spin = 0; spin <= 30; spin += 30) {
        size_t bytes = gradc_rt_pool_bytes(3);
        void *memory = aligned_alloc(64, bytes);
        gradc_rt_pool *pool;
        ck_assert_int_eq(gradc_rt_pool_init(&pool, memory, bytes, 3, spin), GRADC_RT_OK);
        train_two(pool, 3);
        train_two(pool, 2); /* fewer than the pool has */
        train_two(pool, 1);
        char *arena = aligned_alloc(64, fake_model.arena_bytes);
        gradc_rt_ctx *ctx;
        gradc_rt_options o = fake_options(&fake_model, 4, pool);
        ck_assert_int_eq(gradc_rt_init(&ctx, &fake_model, arena, fake_model.arena_bytes, &o),
                         GRADC_RT_E_THREADS);
        free(arena);
        gradc_rt_pool_fini(pool);
        free(memory);
    }
}
END_TEST

/* Signals that each thread of this process but the first blocks; returns how many threads. */
static int blocked_signals(uint64_t *mask, int most)
{
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(tasks);
    for (struct dirent *d; (d = readdir(tasks));) {
        char path[300], line[200];
        if (d->d_name[0] == '.' || atoi(d->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", d->d_name);
        FILE *status = fopen(path, "r");
        ck_assert_ptr_nonnull(status);
        ck_assert_int_lt(n, most);
        while (fgets(line, sizeof line, status))
            if (!strncmp(line, "SigBlk:", 7))
                mask[n] = strtoull(line + 7, NULL, 16);
        fclose(status);
        n++;
    }
    closedir(tasks);
    return n;
}

START_TEST(workers_block_all_signals_but_faults)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS},
                     others[] = {SIGINT, SIGTERM, SIGALRM, SIGUSR1, SIGCHLD, SIGPIPE};
    size_t bytes = gradc_rt_pool_bytes(3);
    void *memory = aligned_alloc(64, bytes);
    gradc_rt_pool *pool;
    uint64_t mask[8] = {0};
    ck_assert_int_eq(gradc_rt_pool_init(&pool, memory, bytes, 3, 0), GRADC_RT_OK);
    int workers = 0;
    for (int tries = 0; tries < 1000 && workers < 2; tries++) { /* a thread begins with all */
        int n = blocked_signals(mask, 8);
        workers = 0;
        for (int i = 0; i < n; i++)
            workers += mask[i] && !(mask[i] >> (SIGSEGV - 1) & 1);
        usleep(1000);
    }
    ck_assert_int_eq(workers, 2);
    for (int i = 0; i < 8; i++) /* a sanitizer's thread blocks all */
        for (int k = 0; k < 6 && mask[i] && !(mask[i] >> (SIGSEGV - 1) & 1); k++) {
            ck_assert_uint_eq(mask[i] >> (faults[k] - 1) & 1, 0);
            ck_assert_uint_eq(mask[i] >> (others[k] - 1) & 1, 1);
        }
    gradc_rt_pool_fini(pool);
    free(memory);
}
END_TEST

START_TEST(pool_init_refuses)
{
    size_t bytes = gradc_rt_pool_bytes(2);
    char *memory = aligned_alloc(64, bytes + 64);
    gradc_rt_pool *pool = (gradc_rt_pool *)(void *)memory;
    ck_assert_int_eq(gradc_rt_pool_init(NULL, memory, bytes, 2, 0), GRADC_RT_E_ARGUMENT);
    ck_assert_int_eq(gradc_rt_pool_init(&pool, NULL, bytes, 2, 0), GRADC_RT_E_ARGUMENT);
    ck_assert_ptr_null(pool);
    ck_assert_int_eq(gradc_rt_pool_init(&pool, memory, bytes, 0, 0), GRADC_RT_E_ARGUMENT);
    ck_assert_int_eq(gradc_rt_pool_init(&pool, memory + 8, bytes, 2, 0), GRADC_RT_E_ARENA);
    ck_assert_int_eq(gradc_rt_pool_init(&pool, memory, bytes - 1, 2, 0), GRADC_RT_E_ARENA);
    ck_assert_int_eq(gradc_rt_pool_init(&pool, memory, bytes, UINT32_MAX, 0), GRADC_RT_E_ARENA);
    ck_assert_int_eq(gradc_rt_pool_init(&pool, memory, bytes, 2, 0), GRADC_RT_OK);
    gradc_rt_pool_fini(pool);
    gradc_rt_pool_fini(NULL);
    free(memory);
}
END_TEST

/* More workers than processors, asleep between calls and at barriers. */
START_TEST(sleepers_are_woken)
{
    fake f = {NULL, aligned_alloc(64, fake_model.arena_bytes)};
    gradc_rt_options o = fake_options(&fake_model, 8, NULL);
    o.spin_us = 0;
    ck_assert_int_eq(gradc_rt_init(&f.ctx, &fake_model, f.arena, fake_model.arena_bytes, &o),
                     GRADC_RT_OK);
    fake_data d;
    fake_inputs in = fake_batch(&d, 64);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(STEP(f, &in, NULL), GRADC_RT_OK);
        ck_assert_uint_eq(fake_threads, 8);
        if (i % 10 == 0)
            usleep(1000);
    }
    fake_free(f);
}
END_TEST

START_TEST(a_child_of_fork_is_told)
{
    fake f = fake_new(&fake_model, 2, NULL), alone = fake_new(&fake_model, 1, NULL);
    fake_data d;
    fake_inputs in = fake_batch(&d, 64);
    ck_assert_int_eq(STEP(f, &in, NULL), GRADC_RT_OK);
    pid_t child = fork();
    if (!child) {
        int good =
            STEP(f, &in, NULL) == GRADC_RT_E_THREADS && STEP(alone, &in, NULL) == GRADC_RT_OK;
        gradc_rt_fini(f.ctx);
        _exit(good ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(STEP(f, &in, NULL), GRADC_RT_OK);
    fake_free(f);
    fake_free(alone);
}
END_TEST

START_TEST(calls_allocate_nothing)
{
    fake_data d;
    fake_inputs in = fake_batch(&d, 64);
    void *arena = aligned_alloc(64, fake_model.arena_bytes);
    char path[] = "/tmp/gradc-runtime-XXXXXX";
    close(mkstemp(path));
    for (uint32_t threads = 1; threads <= 2; threads++) {
        long before = no_malloc_count();
        gradc_rt_options o = fake_options(&fake_model, threads, NULL);
        fake f = {NULL, arena};
        gradc_rt_status failed =
            gradc_rt_init(&f.ctx, &fake_model, arena, fake_model.arena_bytes, &o);
        if (threads > 1) /* starting a thread, the C library itself allocates */
            before = no_malloc_count();
        for (int i = 0; i < 3; i++) {
            failed |= STEP(f, &in, NULL) | TRAIN(f, &in, NULL) | BACKWARD(f, NULL, NULL) |
                      FORWARD(f, &in, NULL);
            failed |= FAKE_CALL(f, GRADC_RT_UPDATE, NULL, NULL, NULL, NULL, NULL) |
                      gradc_rt_zero_grad(f.ctx);
            failed |= gradc_rt_save(f.ctx, path, 1) | gradc_rt_load(f.ctx, path);
        }
        gradc_rt_fini(f.ctx);
        long after = no_malloc_count();
        ck_assert_int_eq(failed, 0);
        ck_assert_int_eq(after, before);
    }
    long before = no_malloc_count();
    void *volatile p = malloc(1); /* the count does count */
    long after = no_malloc_count();
    free(p);
    ck_assert_int_eq(after, before + NO_MALLOC_COUNTS);
    unlink(path);
    free(arena);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("runtime");
    TCase *c = tcase_create("runtime");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, init_refuses);
    tcase_add_test(c, every_status_has_a_text);
    tcase_add_test(c, states_start_as_the_model_says);
    tcase_add_test(c, outputs_decide_what_is_wanted_and_needed);
    tcase_add_test(c, dimensions_choose_the_specialisation);
    tcase_add_test(c, backward_follows_forward_train);
    tcase_add_test(c, cotangents_default_to_the_loss);
    tcase_add_test(c, hyper_parameters_are_read_at_each_call);
    tcase_add_test(c, results_do_not_depend_on_threads);
    tcase_add_test(c, a_small_entry_runs_alone);
    tcase_add_test(c, a_bad_index_changes_nothing_and_is_named);
    tcase_add_test(c, the_callers_mode_is_kept);
    tcase_add_test(c, two_contexts_in_two_threads);
    tcase_add_test(c, contexts_share_a_pool);
    tcase_add_test(c, workers_block_all_signals_but_faults);
    tcase_add_test(c, pool_init_refuses);
    tcase_add_test(c, sleepers_are_woken);
    tcase_add_test(c, a_child_of_fork_is_told);
    tcase_add_test(c, calls_allocate_nothing);
    suite_add_tcase(s, c);
    return suite_run(s);
}
