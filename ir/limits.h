/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Limits of models: docs/limits.md, tests/driver_limits.c. */
#ifndef GRADC_IR_LIMITS_H
#define GRADC_IR_LIMITS_H

#include <stdint.h>

enum {
    IR_MAX_RANK = 16,
    IR_MAX_DEPTH = 100,        /* nesting of subgraphs, calls and types */
    /* of ONNX subgraphs: they become functions, and passes add a few levels */
    IR_MAX_NESTING = IR_MAX_DEPTH - 10,
    IR_MAX_NODES = 1000000, /* nodes, initializers, values of a file, each */
    /* Of a function, including those of the functions that it names, once for each mention. */
    IR_MAX_INSTS = 4 * IR_MAX_NODES,
    /* Loops and branches, counted the same way: each has its own code. */
    IR_MAX_BODIES = 2000,
    IR_MAX_MESSAGES = 8 * IR_MAX_NODES, /* of an ONNX file, and as many unknown fields */
    IR_MAX_FUNCS = 10000, /* of a text */
    IR_MAX_NAME = 4096, /* bytes of a name */
    IR_MAX_SPECS = 64, /* choices of extents of symbolic dimensions */
};
#define IR_MAX_TENSOR_BYTES ((int64_t)1 << 40)
#define IR_MAX_FOLD_BYTES ((int64_t)1 << 26) /* a constant that folding may create */
/* All tensors that a file stores in fewer bytes, together; folded constants, likewise. */
#define IR_MAX_UNPACKED_BYTES (4 * IR_MAX_FOLD_BYTES)

#endif
