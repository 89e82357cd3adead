/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Data files: .npy and .npz (numpy.lib.format; zip with stored or deflated members, zip64), and IDX
 * (the format of MNIST), also gzipped. bf16 is `<V2` in .npy, as ml_dtypes writes it. Reading takes
 * untrusted bytes: every error is reported at loc (may be NULL) and gives NULL or false. */
#ifndef GRADC_FILES_NPY_H
#define GRADC_FILES_NPY_H

#include "files/safetensors.h"

/* One array. The literal points into the bytes where alignment and order allow, so they must live
 * as long. */
ir_literal *npy_read(base_arena *arena, const base_loc *loc, base_data data);
ir_literal *npy_read_file(base_arena *arena, const char *path);
/* Row-major, version 1.0; false on a write error. */
bool npy_write(FILE *f, base_ctx *ctx, const ir_literal *l);

/* The members called NAME.npy, by NAME, in the file's order; others are skipped. A name that occurs
 * twice is an error. */
bool npz_read(base_arena *arena, const base_loc *loc, base_data data, ir_tensors *out);
bool npz_read_file(base_arena *arena, const char *path, ir_tensors *out);
typedef enum npz_mode {
    NPZ_STORED = 0,
    NPZ_DEFLATED = 1,
    NPZ_ZIP64 = 2, /* 64-bit fields also where 32 bits would do */
} npz_mode;
bool npz_write(FILE *f, base_arena *arena, const ir_tensors *tensors, int mode);
bool npz_write_file(base_ctx *ctx, const char *path, const ir_tensors *tensors, int mode);

/* IDX, or gzipped IDX: u8, i8, i16, i32, f32, f64. */
ir_literal *idx_read(base_arena *arena, const base_loc *loc, base_data data);
ir_literal *idx_read_file(base_arena *arena, const char *path);

/* Shared by npy.c and npz.c. What precedes an array's elements in a file. */
base_data npy_header(base_arena *arena, const ir_type *type);
/* Inflates exactly `size` bytes (window: zlib's windowBits, negative for raw); NULL if the stream
 * is corrupt or of another size. *used: bytes of input consumed. */
unsigned char *npz_inflate(base_arena *arena, const unsigned char *from, size_t n, int window,
                           int64_t size, bool whole, size_t *used);

#endif
