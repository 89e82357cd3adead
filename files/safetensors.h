/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Weight files: https://github.com/huggingface/safetensors, format section. 8 bytes of header size,
 * a JSON header, data. */
#ifndef GRADC_FILES_SAFETENSORS_H
#define GRADC_FILES_SAFETENSORS_H

#include "base/path.h"
#include "ir/ir.h"

/* bytes; parsed JSON takes about twenty times as much */
enum { SAFETENSORS_MAX_HEADER = 25000000 };

/* Reads a whole file's bytes. The literals point into them where alignment allows, so they must
 * live as long. False and reported at loc (may be NULL) if a check fails: sizes, ranges, no
 * overlap, no holes, unique names, known types. */
bool safetensors_read(base_arena *arena, const base_loc *loc, base_data data, ir_tensors *out);
bool safetensors_read_file(base_arena *arena, const char *path, ir_tensors *out);

/* Writes in the given order, each tensor aligned to its element; false on a write error. */
bool safetensors_write(FILE *f, base_arena *scratch, const ir_tensors *tensors);
bool safetensors_write_file(base_ctx *ctx, const char *path, const ir_tensors *tensors);

#endif
