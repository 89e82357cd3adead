/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Status texts, error reports, element types. */
#include "runtime/rt.h"

#include <string.h>

const char *gradc_rt_status_text(gradc_rt_status status)
{
    static const char *const text[] = {
        [GRADC_RT_OK] = "done",
        [GRADC_RT_E_ARGUMENT] =
            "a pointer is missing or misaligned, or an argument is out of range",
        [GRADC_RT_E_ARENA] = "the arena is too small or not 64-aligned",
        [GRADC_RT_E_MODEL] = "this belongs to another model, or to another version of the runtime",
        [GRADC_RT_E_CPU] = "the model was not compiled for this processor",
        [GRADC_RT_E_THREADS] = "the workers could not be started, or the pool has too few",
        [GRADC_RT_E_ORDER] = "backward needs forward_train before it",
        [GRADC_RT_E_INDEX] = "an index in the data is out of range",
        [GRADC_RT_E_DIMENSION] = "the model was not compiled for this dimension",
        [GRADC_RT_E_FILE] = "the file cannot be read or written",
        [GRADC_RT_E_FORMAT] = "the file's content is not what is due",
        [GRADC_RT_E_MEMORY] = "the system gave no memory",
    };
    if (status < 0 || (size_t)status >= sizeof text / sizeof *text)
        return "unknown status";
    return text[status];
}

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [GRADC_RT_BOOL] = {"BOOL", 1}, [GRADC_RT_I8] = {"I8", 1},     [GRADC_RT_I16] = {"I16", 2},
    [GRADC_RT_I32] = {"I32", 4},   [GRADC_RT_I64] = {"I64", 8},   [GRADC_RT_U8] = {"U8", 1},
    [GRADC_RT_U16] = {"U16", 2},   [GRADC_RT_U32] = {"U32", 4},   [GRADC_RT_U64] = {"U64", 8},
    [GRADC_RT_F16] = {"F16", 2},   [GRADC_RT_BF16] = {"BF16", 2}, [GRADC_RT_F32] = {"F32", 4},
    [GRADC_RT_F64] = {"F64", 8},
};

size_t rt_dtype_bytes(uint32_t dtype)
{
    return dtype < sizeof dtypes / sizeof *dtypes ? dtypes[dtype].bytes : 0;
}

const char *rt_dtype_name(uint32_t dtype)
{
    return dtype < sizeof dtypes / sizeof *dtypes ? dtypes[dtype].name : "";
}

gradc_rt_status rt_fail(gradc_rt_ctx *ctx, gradc_rt_status status, const char *tensor, int64_t at,
                        int64_t value, int64_t limit)
{
    ctx->error = (gradc_rt_error){status, tensor, at, value, limit, NULL, NULL};
    return status;
}

size_t rt_digits(char to[RT_DIGITS], uint64_t value)
{
    char reversed[RT_DIGITS];
    size_t n = 0;
    do
        reversed[n++] = (char)('0' + value % 10);
    while (value /= 10);
    for (size_t i = 0; i < n; i++)
        to[i] = reversed[n - 1 - i];
    return n;
}

void rt_type_text(char text[RT_TYPE_TEXT], const char *dtype, int rank, const int64_t *shape)
{
    size_t n = 0;
    for (; dtype[n] && n < 8; n++)
        text[n] = (char)(dtype[n] >= 'A' && dtype[n] <= 'Z' ? dtype[n] - 'A' + 'a' : dtype[n]);
    text[n++] = '[';
    for (int d = 0; d < rank; d++) {
        if (n + RT_DIGITS + sizeof ",,...]" > RT_TYPE_TEXT) {
            memcpy(text + n, ",...", 4);
            n += 4;
            break;
        }
        if (d)
            text[n++] = ',';
        size_t length = rt_digits(text + n, (uint64_t)shape[d]);
        n += length;
    }
    memcpy(text + n, "]", 2);
}

gradc_rt_status rt_fail_tensor(gradc_rt_ctx *ctx, gradc_rt_status status, const gradc_rt_tensor *t,
                               int64_t at, const char *found)
{
    rt_fail(ctx, status, t->name, at, 0, 0);
    rt_type_text(ctx->due, rt_dtype_name((uint32_t)t->dtype), t->rank, t->shape);
    size_t n = strlen(found);
    n = n < sizeof ctx->found ? n : sizeof ctx->found - 1;
    memcpy(ctx->found, found, n);
    ctx->found[n] = 0;
    ctx->error.due = ctx->due;
    ctx->error.found = ctx->found;
    return status;
}

const gradc_rt_error *gradc_rt_last_error(const gradc_rt_ctx *ctx)
{
    static const gradc_rt_error no_context = {.status = GRADC_RT_E_ARGUMENT};
    return ctx ? &ctx->error : &no_context;
}
