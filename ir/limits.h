/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Limits of what is compiled (law 1): docs/limits.md, tests/driver_limits.c. */
#ifndef GRADC_IR_LIMITS_H
#define GRADC_IR_LIMITS_H

#include <stdint.h>

enum {
    IR_MAX_RANK = 16,
    IR_MAX_DEPTH = 100,        /* nesting of subgraphs, calls and types */
    IR_MAX_NESTING = IR_MAX_DEPTH - 10, /* of ONNX: bodies become functions, and passes add a few */
    IR_MAX_NODES = 1000000, /* nodes, initializers, values of a file, each */
    /* Of a function, those of the functions that it names among them, each time they are named. */
    IR_MAX_INSTS = 4 * IR_MAX_NODES,
    /* Loops and branches, counted the same way: each gets code of its own. */
    IR_MAX_BODIES = 2000,
    IR_MAX_MESSAGES = 8 * IR_MAX_NODES, /* of an ONNX file, and as many fields that are not known */
    IR_MAX_FUNCS = 10000, /* of a text */
    IR_MAX_NAME = 4096, /* bytes of a name */
    IR_MAX_SPECS = 64, /* choices of extents of symbolic dimensions */
};
#define IR_MAX_TENSOR_BYTES ((int64_t)1 << 40)
#define IR_MAX_FOLD_BYTES ((int64_t)1 << 26) /* a constant that folding may create */
/* Tensors that a file tells in fewer bytes, all of them; folded constants, the same. */
#define IR_MAX_UNPACKED_BYTES (4 * IR_MAX_FOLD_BYTES)

#endif
