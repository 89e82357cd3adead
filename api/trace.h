/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Internals of api/: runs what gradc.h recorded. */
#ifndef GRADC_API_TRACE_H
#define GRADC_API_TRACE_H

#include "frontend/trace/trace.h"

typedef struct trace_programs trace_programs; /* compiled code, by what it computes */

/* One run: values of tensors, and with `from` gradients. */
typedef struct trace_run {
    const char *function;          /* of gradc.h, for messages */
    gradc_tensor *const *wanted;   /* whose values are wanted; known ones are skipped */
    int nwanted;
    /* Where backward starts; NULL: forward only; cotangent NULL: 1. */
    gradc_tensor *from, *cotangent;
    /* Gradients wanted: of these, or of the leaves and what retains its own if NULL. */
    gradc_tensor *const *wrt;
    int nwrt;
    /* Receives each gradient with its tensor, and takes over the hold on d. */
    void (*take)(struct trace_run *run, gradc_tensor *x, trace_data *d);
    void *user;
} trace_run;

/* Runs, and computes and applies pending updates of leaves. False and reported on failure: then
 * nothing has changed. */
bool trace_execute(gradc *g, trace_run *run);
/* Computes the values of x; false and reported if that fails, or if a tensor is NULL. */
bool trace_evaluate(gradc *g, const char *function, gradc_tensor *const *x, int n);
/* Makes a result without gradient a leaf with its value; false if that cannot be computed. */
bool trace_become_leaf(gradc *g, const char *function, gradc_tensor *x);
trace_programs *trace_programs_new(void); /* NULL when out of memory */
void trace_programs_free(trace_programs *p);
int trace_programs_count(const trace_programs *p);

#endif
