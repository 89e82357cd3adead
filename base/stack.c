/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Threads for the compiler, with a large stack. */
#include "base/arena.h"

int base_thread_start(pthread_t *thread, void *(*f)(void *), void *data)
{
    enum { GUARD = 1 << 20 }; /* larger than any frame: an overflow faults here */
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error)
        return error;
    error = pthread_attr_setstacksize(&attr, BASE_STACK_BYTES);
    if (!error)
        error = pthread_attr_setguardsize(&attr, GUARD);
    if (!error)
        error = pthread_create(thread, &attr, f, data);
    pthread_attr_destroy(&attr);
    return error;
}

typedef struct call {
    base_ctx *ctx;
    void (*f)(void *);
    void *data;
    const char *pass; /* for BUG */
    bool threw;
} call;

static void *run(void *user)
{
    call *c = user;
    base_try frame;
    base_current_pass = c->pass;
    if (setjmp(base_try_push(c->ctx, &frame))) {
        c->threw = true;
        return NULL;
    }
    c->f(c->data);
    base_try_pop(c->ctx, &frame);
    return NULL;
}

void base_on_stack(base_ctx *ctx, void (*f)(void *), void *data)
{
    call c = {ctx, f, data, base_current_pass, false};
    pthread_t thread;
    if (base_thread_start(&thread, run, &c))
        base_throw(ctx, NULL, "not enough memory to start a thread for the compiler");
    pthread_join(thread, NULL);
    if (c.threw)
        base_throw(ctx, NULL, NULL);
}
