/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * ONNX files in, graph IR out. */
#ifndef GRADC_FRONTEND_ONNX_H
#define GRADC_FRONTEND_ONNX_H

#include "ir/ir.h"

/* A symbolic dimension's extent. */
typedef struct onnx_dim {
    const char *name;
    int64_t extent;
} onnx_dim;

/* The shape of an input; it also binds the symbolic dimensions that the file names there. */
typedef struct onnx_shape {
    const char *input;
    int rank;
    int64_t dim[IR_MAX_RANK];
    const char *from; /* where it comes from, for messages: a file's name; NULL: --shape */
} onnx_shape;

/* An input's value that is known when the model is compiled. */
typedef struct onnx_input {
    const char *name;
    ir_literal *value;
    const char *from; /* the file's name, or NULL */
} onnx_input;

/* A node of the main graph, for `check`; the diagnostics with its index say why it failed. */
typedef struct onnx_node_info {
    int index;
    const char *name, *op, *domain; /* name "" if it has none */
    bool forward;                   /* it was built; false also where an operand of it was not */
    /* As in onnx_op_info; "no" for an operator not in the table, "yes" for a function. */
    const char *gradient;
} onnx_node_info;

/* An initializer that is a constant and no state, and why. */
typedef struct onnx_constant_info {
    const char *name, *why;
} onnx_constant_info;

/* A BatchNormalization or Dropout, wherever it is in the file, and whether the file has it in
 * training mode. */
typedef struct onnx_layer_info {
    const base_loc *loc;
    bool batch_norm, training;
} onnx_layer_info;

/* An initializer of rank 1 or more that layers of different scopes share, or that is a weight and a
 * statistic; `users`: the scopes, or the names that the exporter gave it there, each in quotes. */
typedef struct onnx_shared_info {
    const char *name;
    BASE_LIST(const char *) users;
    bool more; /* there are others */
} onnx_shared_info;

/* What reading found besides the module; lists live in the arena. */
typedef struct onnx_facts {
    /* Parameters that the exporter lists and the file does not have. */
    BASE_LIST(const char *) merged_params;
    BASE_LIST(const char *) folded_means; /* running means, likewise */
    BASE_LIST(const char *) dim_names; /* symbolic dimensions of the inputs, each once */
    /* Inputs that are initializers too, whose values the options give. */
    BASE_LIST(const char *) overridden;
    /* Inputs and dimensions that the options name and the file does not have: reported. */
    BASE_LIST(const char *) unknown;
    BASE_LIST(onnx_constant_info) constants;
    BASE_LIST(onnx_node_info) nodes; /* in the file's order */
    BASE_LIST(onnx_layer_info) layers;
    BASE_LIST(onnx_shared_info) shared;
    /* The file lists its parameters (torch's newer exporter). */
    bool torch_list;
    /* a Dropout, or a BatchNormalization that trains, is left in it */
    bool has_training_ops;
} onnx_facts;

typedef enum onnx_mode { ONNX_MODE_FILE, ONNX_MODE_TRAIN, ONNX_MODE_EVAL } onnx_mode;

typedef struct onnx_options {
    const onnx_dim *dims;
    int ndims;
    const onnx_shape *shapes;
    int nshapes;
    /* Inputs that become constants; one that is an initializer too becomes one of this value. */
    const onnx_input *baked;
    int nbaked;
    /* Inputs that become constants only where they determine a shape; facts says which did. For an
     * input that is an initializer too it is the (initial) value. */
    const onnx_input *offered;
    int noffered;
    /* `forward` is inference, with a function `train` beside it; else `forward` follows the file
     * exactly */
    bool training;
    /* Of BatchNormalization; `forward` beside a `train` is inference whatever it says. */
    onnx_mode batch_norm;
    /* Running variances use the batch's variance divided by count - 1, as in torch; else by count,
     * as ONNX says. */
    bool unbiased_variance;
    onnx_facts *facts; /* filled if not NULL */
} onnx_options;

/* The model as a module: an entry `forward` and, when training, a function `train` (entry false)
 * whose results are the same outputs, then updates of statistics and of the counter `calls`.
 * Weights are states. NULL, with all errors reported, if the file cannot be read; external data is
 * read from the file's folder only. options may be NULL. */
ir_module *onnx_read_file(base_ctx *ctx, base_arena *arena, const char *path,
                          const onnx_options *options);
/* The same for bytes; `file` names them in messages, `folder` (may be NULL: none) holds external
 * data. */
ir_module *onnx_read_memory(base_ctx *ctx, base_arena *arena, const void *bytes, size_t size,
                            const char *file, const char *folder, const onnx_options *options);

/* A row of the operator table, for lists. */
typedef struct onnx_op_info {
    const char *name, *domain; /* "" is the standard domain */
    int since, last;           /* opset versions; last 0: still current */
    const char *types;         /* of the first input, in words */
    const char *gradient;      /* "yes", "zero" or "no" */
} onnx_op_info;
/* Row i; false past the last. */
bool onnx_op_at(int i, onnx_op_info *out);

#endif
