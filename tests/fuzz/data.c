/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Readers of data: READER is the one of this target, of an array or of several. Each array that it
 * gives is looked at to its end; where there is a writer of the kind (WRITES: safetensors 1, npz
 * 2), what was read is written, and read again to the same. */
#include "ir/npy.h"
#include "ir/safetensors.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double look(const ir_literal *l)
{
    double sum = 0;
    for (int64_t i = 0; i < ir_count(&l->type); i++)
        sum += ir_literal_get(l, i);
    return sum;
}

static void write_again(ir_ctx *ctx, ir_arena *arena, const ir_tensors *tensors)
{
    char *bytes;
    size_t size;
    ir_tensors again;
    for (int zipped = 0; zipped < 2; zipped++) {
        FILE *f = WRITES >> zipped & 1 ? open_memstream(&bytes, &size) : NULL;
        if (!f)
            continue;
        bool ok = zipped ? ir_npz_write(f, arena, tensors, IR_NPZ_DEFLATED)
                         : ir_safetensors_write(f, arena, tensors);
        fclose(f);
        ir_data data = {ir_memdup(arena, bytes, size), size};
        free(bytes);
        BUG_UNLESS(ok && (zipped ? ir_npz_read(arena, NULL, data, &again)
                                 : ir_safetensors_read(arena, NULL, data, &again)));
        BUG_UNLESS(!ir_error_count(ctx) && again.count == tensors->count);
        for (int i = 0; i < again.count; i++) {
            const ir_literal *x = tensors->items[i].value,
                             *y = ir_tensor_by_name(&again, tensors->items[i].name);
            BUG_UNLESS(y && ir_type_eq(&x->type, &y->type));
            BUG_UNLESS(!memcmp(x->data, y->data, (size_t)ir_bytes(&x->type)));
        }
    }
}

typedef ir_literal *read_one(ir_arena *, const ir_loc *, ir_data);
typedef bool read_several(ir_arena *, const ir_loc *, ir_data, ir_tensors *);

static inline bool several(read_several *reader, ir_arena *arena, ir_data data, ir_tensors *out)
{
    return reader(arena, NULL, data, out);
}

static inline bool one(read_one *reader, ir_arena *arena, ir_data data, ir_tensors *out)
{
    ir_tensor t = {"one", reader(arena, NULL, data)};
    if (t.value)
        IR_PUSH(arena, out, t);
    return t.value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    setenv("GRADC_LIMIT_BYTES", "268435456", 1);
    ir_ctx *ctx = ir_ctx_new(NULL, NULL);
    ir_try frame;
    if (!setjmp(ir_try_push(ctx, &frame))) {
        ir_arena *arena = ir_arena_new(ctx);
        ir_tensors out = {0};
        /* As ir_read_whole_file gives it: a NUL follows. */
        ir_data copy = {ir_alloc(arena, size + 1), size};
        if (size)
            memcpy(copy.bytes, data, size);
        volatile double sum = 0;
        bool ok =
            _Generic(READER, read_one *: one, read_several *: several)(READER, arena, copy, &out);
        BUG_UNLESS(ok == !ir_error_count(ctx));
        for (int i = 0; ok && i < out.count; i++)
            sum += look(out.items[i].value);
        if (ok)
            write_again(ctx, arena, &out);
        ir_try_pop(ctx, &frame);
    }
    ir_ctx_free(ctx);
    return 0;
}
