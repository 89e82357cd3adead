/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Workers. A worker enters once per call, not once per kernel; inside a call workers meet at
 * barriers. Every wait is on a word that grows by 2 when what is awaited has come: the waiter
 * spins, then sets bit 0 and sleeps on the word, and whoever moves the word on wakes the sleepers
 * if that bit was set. So nobody who spins costs a system call.
 *
 * After fork the child has none of the workers: calls that need them fail there, and fini does not
 * wait for them. */
#define _GNU_SOURCE
#include "runtime/rt.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 4096 };
/* How long to spin at a barrier: above what the kernels of a call differ by, below what a preempted
 * worker takes. */
static const uint64_t barrier_spin_ns = 100000;
/* After so long the one who is waited for may want this very processor: from then on each turn
 * offers it. */
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

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

/* Waits until the word is no longer `old` (whose bit 0 is clear) and returns what it is then,
 * without bit 0. */
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
            relax();
        if (!yields && i % 64 != 63) /* the clock is read once in 64 turns */
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

/* Ends the wait of all who wait on the word. Only one thread at a time moves a word. */
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

void gradc_rt_bad_index(gradc_rt_worker *worker, uint32_t check, int64_t at, int64_t value,
                        int64_t limit)
{
    rt_run *run = worker->run;
    while (__atomic_exchange_n(&run->lock, 1, __ATOMIC_ACQUIRE))
        relax();
    bool first = !__atomic_load_n(&run->noted, __ATOMIC_RELAXED);
    if (first || check < run->check || (check == run->check && at < run->at)) {
        run->check = check;
        run->at = at;
        run->value = value;
        run->limit = limit;
    }
    __atomic_store_n(&run->noted, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&run->lock, 0, __ATOMIC_RELEASE);
}

int gradc_rt_failed(gradc_rt_worker *worker)
{
    rt_run *run = worker->run;
    return worker->threads == 1 ? (int)run->noted : (int)run->agreed;
}

static void *work(void *argument)
{
    rt_box *box = argument;
    gradc_rt_pool *pool = box->pool;
    rt_fp_enter(); /* for good: the thread is the pool's own */
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

gradc_rt_status rt_pool_run(gradc_rt_pool *pool, uint32_t threads, gradc_rt_body *body,
                            void *const *slot, uint64_t wanted, rt_run *run)
{
    if (pool->owner != getpid())
        return GRADC_RT_E_THREADS;
    pthread_mutex_lock(&pool->turn);
    pool->body = body;
    pool->slot = slot;
    pool->wanted = wanted;
    pool->run = run;
    pool->active = threads;
    run->pool = pool;
    __atomic_store_n(&pool->left, threads - 1, __ATOMIC_RELAXED);
    uint32_t done = __atomic_load_n(&pool->done, __ATOMIC_RELAXED) & ~1u;
    for (uint32_t i = 1; i < threads; i++)
        move_on(&pool->box[i].go);
    gradc_rt_worker worker = {0, threads, run};
    uint64_t mode = rt_fp_enter();
    body(&worker, slot, wanted);
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

/* Starts the workers with all signals blocked, so that an application's handlers run in its own
 * threads. */
static uint32_t start(gradc_rt_pool *pool)
{
    sigset_t all, old;
    sigfillset(&all);
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
