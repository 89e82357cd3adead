/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Files of the text form: PATH and, for large tensors, PATH.safetensors beside it. */
#ifndef GRADC_FILES_GIR_H
#define GRADC_FILES_GIR_H

#include "ir/ir.h"

/* Writes PATH and, if anything is large, PATH.safetensors; false and reported on failure, nothing
 * left half written. */
bool gir_write_file(const ir_module *m, const char *path);
/* `-` is standard input, which has nothing beside it. NULL and reported when the text is wrong; the
 * result passed ir_verify_user. */
ir_module *gir_read_file(base_ctx *ctx, base_arena *arena, const char *path);

#endif
