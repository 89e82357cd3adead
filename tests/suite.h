/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * How every Check program of this folder ends. */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Runs the suite and frees it; the program's exit status. */
static inline int suite_run(Suite *s)
{
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV); /* CK_VERBOSITY=verbose prints every test */
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
