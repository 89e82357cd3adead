/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * For most tests of the compiler: a context and an arena per test, and the first diagnostic. */
#ifndef TESTS_CONTEXT_H
#define TESTS_CONTEXT_H

#include "base/arena.h"
#include "tests/suite.h"

#include <stdio.h>

static base_ctx *ctx;
static base_arena *arena;
static char first_error[1000]; /* "LINE: text", 0 without a line; empty if there was none */

static inline void first_error_sink(void *user, const base_diagnostic *d)
{
    (void)user;
    if (d->severity == BASE_ERROR && !*first_error)
        snprintf(first_error, sizeof first_error, "%d: %s", d->loc ? d->loc->line : 0, d->text);
}

/* A checked fixture; `tcase_add_checked_fixture(c, context_setup, context_teardown)`. */
static inline void context_setup(void)
{
    *first_error = 0;
    ctx = base_ctx_new(first_error_sink, NULL);
    arena = base_arena_new(ctx);
}

static inline void context_teardown(void)
{
    base_ctx_free(ctx);
}

#endif
