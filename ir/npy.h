/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Data files: .npy and .npz (numpy.lib.format; zip with stored or deflated members, zip64), and IDX
 * (the format of MNIST and its kin), also gzipped. bf16 is `<V2` in .npy, as ml_dtypes writes it.
 * Reading takes untrusted bytes: every error is reported at loc (may be NULL) and gives NULL or
 * false. */
#ifndef GRADC_IR_NPY_H
#define GRADC_IR_NPY_H

#include "ir/safetensors.h"

/* One array. The literal points into the bytes where alignment and order allow, so they must live
 * as long. */
ir_literal *ir_npy_read(ir_arena *arena, const ir_loc *loc, ir_data data);
ir_literal *ir_npy_read_file(ir_arena *arena, const char *path);
/* Row-major, version 1.0; false on a write error. */
bool ir_npy_write(FILE *f, ir_ctx *ctx, const ir_literal *l);

/* The members called NAME.npy, by NAME, in the file's order; others are passed over. No name
 * twice. */
bool ir_npz_read(ir_arena *arena, const ir_loc *loc, ir_data data, ir_tensors *out);
bool ir_npz_read_file(ir_arena *arena, const char *path, ir_tensors *out);
typedef enum ir_npz_mode {
    IR_NPZ_STORED = 0,
    IR_NPZ_DEFLATED = 1,
    IR_NPZ_ZIP64 = 2, /* 64-bit fields also where 32 bits would do */
} ir_npz_mode;
bool ir_npz_write(FILE *f, ir_arena *arena, const ir_tensors *tensors, int mode);
bool ir_npz_write_file(ir_ctx *ctx, const char *path, const ir_tensors *tensors, int mode);

/* IDX, or gzipped IDX: u8, i8, i16, i32, f32, f64. */
ir_literal *ir_idx_read(ir_arena *arena, const ir_loc *loc, ir_data data);
ir_literal *ir_idx_read_file(ir_arena *arena, const char *path);

/* Inside: npy.c and npz.c. The text before an array's elements into an arena's bytes. */
ir_data ir_npy_header(ir_arena *arena, const ir_type *type);
/* Inflates exactly `size` bytes (window: zlib's windowBits, negative for raw); NULL if the stream
 * is broken or of another size. *used: bytes of input taken. */
unsigned char *ir_inflate(ir_arena *arena, const unsigned char *from, size_t n, int window,
                          int64_t size, bool whole, size_t *used);

#endif
