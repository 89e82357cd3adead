/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Workers. A worker enters once per call, not once per kernel; inside a call workers synchronise at
 * barriers. Every wait is on a word that grows by 2 when the event occurs: the waiter spins, then
 * sets bit 0 and sleeps on the word; whoever advances the word wakes the sleepers if that bit was
 * set. So waking threads that only spin costs no system call.
 *
 * After fork the child has none of the workers: calls that need them fail there, and fini does not
 * wait for them. */
#define _GNU_SOURCE
#include "runtime/hosted/hosted.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 4096 };
/* How long to spin at a barrier: longer than workers differ in a call's kernels, shorter than a
 * worker stays preempted. */
static const uint64_t barrier_spin_ns = 100000;
/* After so long the awaited thread may be waiting for this very processor: from then on each
 * iteration yields. */
static const uint64_t yield_after_ns = 5000;

static void futex_wait(uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Waits until the word is no longer `old` (whose bit 0 is clear) and returns its new value, without
 * bit 0. */
static uint32_t wait_while(uint32_t *word, uint32_t old, uint64_t spin_ns)
{
    uint64_t start = 0;
    bool yields = false;
    for (uint32_t i = 0;; i++) {
        uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE) & ~1u;
        if (now != old)
            return now;
        if (yields)
            sched_yield();
        else
            rt_relax();
        if (!yields && i % 64 != 63) /* reads the clock once in 64 iterations */
            continue;
        uint64_t time = now_ns();
        if (!start)
            start = time;
        if (time - start >= spin_ns)
            break;
        yields = time - start >= yield_after_ns;
    }
    for (;;) {
        uint32_t found = old;
        if (!__atomic_compare_exchange_n(word, &found, old | 1, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE) &&
            (found & ~1u) != old)
            return found & ~1u;
        futex_wait(word, old | 1);
    }
}

/* Ends all waits on the word. Only one thread at a time advances a word. */
static void move_on(uint32_t *word)
{
    uint32_t next = (__atomic_load_n(word, __ATOMIC_RELAXED) & ~1u) + 2;
    if (__atomic_exchange_n(word, next, __ATOMIC_ACQ_REL) & 1)
        futex_wake(word);
}

void gradc_rt_barrier(gradc_rt_worker *worker)
{
    if (worker->threads == 1)
        return;
    rt_run *run = worker->run;
    gradc_rt_pool *pool = run->pool;
    uint32_t phase = __atomic_load_n(&pool->phase, __ATOMIC_RELAXED) & ~1u;
    if (__atomic_add_fetch(&pool->arrived, 1, __ATOMIC_ACQ_REL) < worker->threads) {
        wait_while(&pool->phase, phase, barrier_spin_ns);
        return;
    }
    run->agreed = __atomic_load_n(&run->noted, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->arrived, 0, __ATOMIC_RELAXED);
    move_on(&pool->phase);
}

static void *work(void *argument)
{
    rt_box *box = argument;
    gradc_rt_pool *pool = box->pool;
    rt_fp_enter(); /* never restored: the thread belongs to the pool */
    for (uint32_t seen = 0;;) {
        seen = wait_while(&box->go, seen, pool->spin_ns);
        if (!pool->body)
            return NULL;
        gradc_rt_worker worker = {box->id, pool->active, pool->run};
        pool->body(&worker, pool->slot, pool->wanted);
        if (!__atomic_sub_fetch(&pool->left, 1, __ATOMIC_ACQ_REL))
            move_on(&pool->done);
    }
}

static gradc_rt_status launch(gradc_rt_ctx *ctx, gradc_rt_body *body, uint64_t wanted)
{
    gradc_rt_pool *pool = ctx->pool;
    uint32_t threads = ctx->threads;
    if (pool->owner != getpid())
        return GRADC_RT_E_THREADS;
    pthread_mutex_lock(&pool->turn);
    pool->body = body;
    pool->slot = ctx->slot;
    pool->wanted = wanted;
    pool->run = &ctx->run;
    pool->active = threads;
    ctx->run.pool = pool;
    __atomic_store_n(&pool->left, threads - 1, __ATOMIC_RELAXED);
    uint32_t done = __atomic_load_n(&pool->done, __ATOMIC_RELAXED) & ~1u;
    for (uint32_t i = 1; i < threads; i++)
        move_on(&pool->box[i].go);
    gradc_rt_worker worker = {0, threads, &ctx->run};
    uint64_t mode = rt_fp_enter();
    body(&worker, ctx->slot, wanted);
    rt_fp_leave(mode);
    wait_while(&pool->done, done, barrier_spin_ns);
    pthread_mutex_unlock(&pool->turn);
    return GRADC_RT_OK;
}

size_t gradc_rt_pool_bytes(uint32_t threads)
{
    return threads > MOST_THREADS ? SIZE_MAX : sizeof(gradc_rt_pool) + threads * sizeof(rt_box);
}

/* Ends the first n workers. */
static void stop(gradc_rt_pool *pool, uint32_t n)
{
    pool->body = NULL;
    for (uint32_t i = 1; i <= n; i++)
        move_on(&pool->box[i].go);
    for (uint32_t i = 1; i <= n; i++)
        pthread_join(pool->box[i].thread, NULL);
}

/* Starts the workers with all signals blocked but for faults, so that an application's handlers run
 * in its own threads. A blocked fault ends the process without a handler. */
static uint32_t start(gradc_rt_pool *pool)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
    sigset_t all, old;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    uint32_t started = 0;
    for (uint32_t i = 1; i < pool->threads; i++) {
        pool->box[i] = (rt_box){.pool = pool, .id = i};
        if (pthread_create(&pool->box[i].thread, NULL, work, &pool->box[i]))
            break;
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return started;
}

gradc_rt_status gradc_rt_pool_init(gradc_rt_pool **out, void *memory, size_t bytes,
                                   uint32_t threads, uint32_t spin_us)
{
    if (!out)
        return GRADC_RT_E_ARGUMENT;
    *out = NULL;
    if (!memory || !threads)
        return GRADC_RT_E_ARGUMENT;
    if ((uintptr_t)memory % RT_LINE || bytes < gradc_rt_pool_bytes(threads))
        return GRADC_RT_E_ARENA;
    gradc_rt_pool *pool = memory;
    *pool =
        (gradc_rt_pool){.spin_ns = (uint64_t)spin_us * 1000, .owner = getpid(), .threads = threads};
    if (pthread_mutex_init(&pool->turn, NULL))
        return GRADC_RT_E_THREADS;
    uint32_t started = start(pool);
    if (started + 1 < threads) {
        stop(pool, started);
        pthread_mutex_destroy(&pool->turn);
        return GRADC_RT_E_THREADS;
    }
    *out = pool;
    return GRADC_RT_OK;
}

void gradc_rt_pool_fini(gradc_rt_pool *pool)
{
    if (!pool || pool->owner != getpid())
        return;
    stop(pool, pool->threads - 1);
    pthread_mutex_destroy(&pool->turn);
}

/* ---- Contexts with threads and files ---- */

#define POOL_AT ((sizeof(rt_texts) + RT_LINE - 1) / RT_LINE * RT_LINE)
/* The error texts and a pool of GRADC_RT_MAX_THREADS fit. */
typedef char hosted_fits[POOL_AT + sizeof(gradc_rt_pool) + GRADC_RT_MAX_THREADS * sizeof(rt_box) <=
                                 GRADC_RT_HOSTED_BYTES
                             ? 1
                             : -1];

gradc_rt_status gradc_rt_init(gradc_rt_ctx **out, const gradc_rt_model *model, void *arena,
                              size_t bytes, const gradc_rt_options *options)
{
    gradc_rt_status status = GRADC_RT_E_ARGUMENT;
    if (!out)
        return status;
    *out = NULL;
    const gradc_rt_level *level =
        rt_check(model, arena, bytes, options, GRADC_RT_HOSTED_BYTES, &status);
    if (!level)
        return status;
    if (options->threads > (options->pool ? options->pool->threads : GRADC_RT_MAX_THREADS))
        return GRADC_RT_E_THREADS;
    gradc_rt_ctx *ctx = rt_lay_out(model, level, arena, options->seed);
    ctx->threads = options->threads;
    if (ctx->threads > 1) {
        ctx->launch = launch;
        ctx->pool = options->pool;
        ctx->own_pool = !options->pool;
    }
    if (ctx->own_pool) {
        status =
            gradc_rt_pool_init(&ctx->pool, (char *)ctx->more + POOL_AT,
                               GRADC_RT_HOSTED_BYTES - POOL_AT, ctx->threads, options->spin_us);
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
