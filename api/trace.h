/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Inside api/: running what gradc.h recorded. */
#ifndef GRADC_API_TRACE_H
#define GRADC_API_TRACE_H

#include "frontend/trace/trace.h"

typedef struct trace_programs trace_programs; /* compiled code, by what it computes */

/* One run: values of tensors, and with `from` gradients. */
typedef struct trace_run {
    const char *function;          /* of gradc.h, for messages */
    gradc_tensor *const *wanted;   /* whose values are wanted; known ones are passed over */
    int nwanted;
    /* Where backward starts; NULL: forward only; cotangent NULL: 1. */
    gradc_tensor *from, *cotangent;
    /* Gradients wanted: of these, or of the leaves and what retains its own if NULL. */
    gradc_tensor *const *wrt;
    int nwrt;
    /* Gets each gradient and whose it is; the hold on d passes. */
    void (*take)(struct trace_run *run, gradc_tensor *x, trace_data *d);
    void *user;
} trace_run;

/* Runs. Pending updates of leaves are computed along with it and take place. False and reported on
 * failure: then nothing has changed. */
bool trace_execute(gradc *g, trace_run *run);
/* Makes the values of x known; false and reported if it cannot be, or a tensor is NULL. */
bool trace_evaluate(gradc *g, const char *function, gradc_tensor *const *x, int n);
/* A result without gradient becomes a leaf that has its value; false if it cannot be known. */
bool trace_become_leaf(gradc *g, const char *function, gradc_tensor *x);
trace_programs *trace_programs_new(void); /* NULL when out of memory */
void trace_programs_free(trace_programs *p);
int trace_programs_count(const trace_programs *p);

#endif
