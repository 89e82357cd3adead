/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What a run gave. */
#ifndef GRADC_API_EXECUTE_H
#define GRADC_API_EXECUTE_H

#include "api/session.h"

typedef struct api_result {
    const char *name; /* raw, of an output, parameter or input */
    ir_literal *value;
    bool grad;        /* its gradient */
} api_result;
typedef struct api_results {
    api_result *items;
    int count, capacity;
} api_results;

/* compare.c: compares with --expect, a line each to out; false when one is too far away. */
bool api_judge(api_session *s, const api_results *r, FILE *out);
/* format.c: a raw name in a file name, bytes outside [A-Za-z0-9._-] as %XX. */
const char *api_file_name(base_arena *arena, const char *raw);
/* A tensor as people read it, without a newline at the end; so many columns stand before
 * it, and further lines begin with as many blanks. Returns the column behind it. */
int api_print_tensor(FILE *out, const ir_literal *l, int indent);

#endif
