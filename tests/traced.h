/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * For tests of tracing: a context, as a fixture. */
#ifndef TESTS_TRACED_H
#define TESTS_TRACED_H

#include "api/trace.h"
#include "tests/suite.h"

static gradc *g;

static inline void setup(void)
{
    g = gradc_new();
    ck_assert_ptr_nonnull(g);
}

static inline void teardown(void)
{
    gradc_free(g);
}

static inline void check_no_error(const char *where)
{
    ck_assert_msg(!gradc_error(g), "%s: %s", where, gradc_error(g));
}

#endif
