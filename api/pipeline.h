/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The passes of passes.def in their order, and modules made ready for codegen. */
#ifndef GRADC_API_PIPELINE_H
#define GRADC_API_PIPELINE_H

#include "passes/passes.h"

typedef struct api_pipeline {
    bool verify;       /* after every pass; debug builds always do */
    pass_watch *watch; /* called after every pass; may be NULL */
    void *user;
    int limit;         /* at most this many passes; negative: all */
} api_pipeline;

/* Runs all passes on a module; options may be NULL. Afterwards its entries are planned. */
void api_run_passes(ir_module *m, const api_pipeline *options);

#endif
