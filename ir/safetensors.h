/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Weight files: https://github.com/huggingface/safetensors, format section. 8 bytes of header size,
 * a JSON header, data. */
#ifndef GRADC_IR_SAFETENSORS_H
#define GRADC_IR_SAFETENSORS_H

#include "ir/ir.h"
#include "ir/path.h"

/* bytes; parsed JSON takes some twenty times as much */
enum { IR_MAX_SAFETENSORS_HEADER = 25000000 };

typedef struct ir_tensor {
    const char *name;
    ir_literal *value;
} ir_tensor;

/* Named tensors, as files hold them. */
typedef struct ir_tensors {
    ir_tensor *items;
    int count, capacity;
    const char **metadata; /* key, value, key, value, … */
    int nmetadata;         /* pairs */
} ir_tensors;

/* NULL if there is none of that name. */
ir_literal *ir_tensor_by_name(const ir_tensors *tensors, const char *name);

/* Reads a whole file's bytes. The literals point into them where alignment allows, so they must
 * live as long. False and reported at loc (may be NULL) if anything does not hold: sizes, ranges,
 * no overlap, no holes, no name twice, known types. */
bool ir_safetensors_read(ir_arena *arena, const ir_loc *loc, ir_data data, ir_tensors *out);
bool ir_safetensors_read_file(ir_arena *arena, const char *path, ir_tensors *out);

/* Writes in the given order, each tensor aligned to its element; false on a write error. */
bool ir_safetensors_write(FILE *f, ir_arena *scratch, const ir_tensors *tensors);
bool ir_safetensors_write_file(ir_ctx *ctx, const char *path, const ir_tensors *tensors);

#endif
