/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A compiled model in this process: the object's bytes loaded, a context in an arena of its own,
 * and entries that are called with pointers set by the raw names of the model's inputs and
 * outputs. */
#ifndef GRADC_API_MACHINE_H
#define GRADC_API_MACHINE_H

#include "codegen/codegen.h"
#include "include/gradc_rt.h"

typedef struct api_machine api_machine;

typedef struct api_machine_options {
    uint32_t threads; /* 0 means 1 */
    uint64_t seed;
} api_machine_options;

/* Loads the object and makes a context; freed with ctx. NULL and reported on failure. options may
 * be NULL. */
api_machine *api_machine_new(base_ctx *ctx, base_arena *arena, const cg_object *o,
                             const api_machine_options *options);
/* Frees it now: workers are joined, the arena is unmapped. */
void api_machine_free(api_machine *m);

/* Sets the member `name` of a struct of the header (part: CG_INPUTS, CG_COTANGENTS, CG_OUTPUTS,
 * CG_INPUT_GRADS) to data, row-major as the header says; NULL: an input that is not given, an
 * output that is not wanted. False if there is no such member. */
bool api_machine_set(api_machine *m, int part, const char *name, void *data);
/* Sets a hyper-parameter; the others have their defaults. False if there is none of that name. */
bool api_machine_set_hyper(api_machine *m, const char *name, float value);
/* Calls an entry (GRADC_RT_FORWARD, …) with what is set; cotangents: the struct is passed, else
 * NULL, which means 1 for the loss. */
gradc_rt_status api_machine_call(api_machine *m, int entry, bool cotangents);
/* Reports what made a call fail as the user's error; true when status is GRADC_RT_OK. */
bool api_machine_ok(api_machine *m, int entry, gradc_rt_status status);

/* The counters of a profile, in the order of the object's places; NULL when it has none. */
uint64_t *api_machine_counters(api_machine *m);

/* For the runtime's functions that take a context: param_get, grad_block, save, … */
gradc_rt_ctx *api_machine_ctx(api_machine *m);
/* Parameter or statistic i; NULL past the last. */
const gradc_rt_tensor *api_machine_param(api_machine *m, size_t i);

#endif
