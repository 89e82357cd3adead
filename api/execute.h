/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The results of a run. */
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

/* compare.c: compares with --expect and prints a line for each result; false if one is too far
 * off. */
bool api_judge(api_session *s, const api_results *r, FILE *out);
/* format.c: a raw name as part of a file name, with bytes outside [A-Za-z0-9._-] as %XX. */
const char *api_file_name(base_arena *arena, const char *raw);
/* Prints a tensor for readers, without a newline at the end. `indent` columns precede it, and
 * further lines begin with as many blanks. Returns the column after it. */
int api_print_tensor(FILE *out, const ir_literal *l, int indent);

#endif
