/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Readers of data: READER is the one of this target, of an array or of several. Each array that it
 * gives is looked at to its end; where there is a writer of the kind (WRITES: safetensors 1, npz
 * 2), what was read is written, and read again to the same. */
#include "files/npy.h"
#include "files/safetensors.h"
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

static void write_again(base_ctx *ctx, base_arena *arena, const ir_tensors *tensors)
{
    char *bytes;
    size_t size;
    ir_tensors again;
    for (int zipped = 0; zipped < 2; zipped++) {
        FILE *f = WRITES >> zipped & 1 ? open_memstream(&bytes, &size) : NULL;
        if (!f)
            continue;
        bool ok = zipped ? npz_write(f, arena, tensors, NPZ_DEFLATED)
                         : safetensors_write(f, arena, tensors);
        fclose(f);
        base_data data = {base_memdup(arena, bytes, size), size};
        free(bytes);
        BUG_UNLESS(ok && (zipped ? npz_read(arena, NULL, data, &again)
                                 : safetensors_read(arena, NULL, data, &again)));
        BUG_UNLESS(!base_error_count(ctx) && again.count == tensors->count);
        for (int i = 0; i < again.count; i++) {
            const ir_literal *x = tensors->items[i].value,
                             *y = ir_tensor_by_name(&again, tensors->items[i].name);
            BUG_UNLESS(y && ir_type_eq(&x->type, &y->type));
            BUG_UNLESS(!memcmp(x->data, y->data, (size_t)ir_bytes(&x->type)));
        }
    }
}

typedef ir_literal *read_one(base_arena *, const base_loc *, base_data);
typedef bool read_several(base_arena *, const base_loc *, base_data, ir_tensors *);

static inline bool several(read_several *reader, base_arena *arena, base_data data, ir_tensors *out)
{
    return reader(arena, NULL, data, out);
}

static inline bool one(read_one *reader, base_arena *arena, base_data data, ir_tensors *out)
{
    ir_tensor t = {"one", reader(arena, NULL, data)};
    if (t.value)
        BASE_PUSH(arena, out, t);
    return t.value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    setenv("GRADC_LIMIT_BYTES", "268435456", 1);
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_try frame;
    if (!setjmp(base_try_push(ctx, &frame))) {
        base_arena *arena = base_arena_new(ctx);
        ir_tensors out = {0};
        /* As base_read_whole_file gives it: a NUL follows. */
        base_data copy = {base_alloc(arena, size + 1), size};
        if (size)
            memcpy(copy.bytes, data, size);
        volatile double sum = 0;
        bool ok =
            _Generic(READER, read_one *: one, read_several *: several)(READER, arena, copy, &out);
        BUG_UNLESS(ok == !base_error_count(ctx));
        for (int i = 0; ok && i < out.count; i++)
            sum += look(out.items[i].value);
        if (ok)
            write_again(ctx, arena, &out);
        base_try_pop(ctx, &frame);
    }
    base_ctx_free(ctx);
    return 0;
}
