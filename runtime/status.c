/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Status texts, error reports, sizes of element types. */
#include "runtime/rt.h"

const char *gradc_rt_status_text(gradc_rt_status status)
{
    static const char *const text[] = {
        [GRADC_RT_OK] = "done",
        [GRADC_RT_E_ARGUMENT] =
            "a pointer is missing or misaligned, or an argument is out of range",
        [GRADC_RT_E_ARENA] = "the arena is too small or not 64-aligned",
        [GRADC_RT_E_MODEL] =
            "options, entry or file are of another model, or of another version of the runtime",
        [GRADC_RT_E_CPU] = "the model was not compiled for this processor",
        [GRADC_RT_E_THREADS] = "the workers could not be started, or the pool has too few threads",
        [GRADC_RT_E_ORDER] = "backward needs a call of forward_train before it",
        [GRADC_RT_E_INDEX] = "an index in the data is out of range",
        [GRADC_RT_E_DIMENSION] = "the model has no specialisation for this dimension",
        [GRADC_RT_E_FILE] = "the file cannot be read or written",
        [GRADC_RT_E_FORMAT] = "the file is malformed or does not match the model",
        [GRADC_RT_E_MEMORY] = "out of memory",
    };
    if (status < 0 || (size_t)status >= sizeof text / sizeof *text)
        return "unknown status";
    return text[status];
}

static const uint8_t dtype_bytes[] = {
    [GRADC_RT_BOOL] = 1, [GRADC_RT_I8] = 1,  [GRADC_RT_I16] = 2,  [GRADC_RT_I32] = 4,
    [GRADC_RT_I64] = 8,  [GRADC_RT_U8] = 1,  [GRADC_RT_U16] = 2,  [GRADC_RT_U32] = 4,
    [GRADC_RT_U64] = 8,  [GRADC_RT_F16] = 2, [GRADC_RT_BF16] = 2, [GRADC_RT_F32] = 4,
    [GRADC_RT_F64] = 8,
};

size_t rt_dtype_bytes(uint32_t dtype)
{
    return dtype < sizeof dtype_bytes ? dtype_bytes[dtype] : 0;
}

gradc_rt_status rt_fail(gradc_rt_ctx *ctx, gradc_rt_status status, const char *tensor, int64_t at,
                        int64_t value, int64_t limit)
{
    ctx->error = (gradc_rt_error){status, tensor, at, value, limit, NULL, NULL};
    return status;
}

const gradc_rt_error *gradc_rt_last_error(const gradc_rt_ctx *ctx)
{
    static const gradc_rt_error no_context = {.status = GRADC_RT_E_ARGUMENT};
    return ctx ? &ctx->error : &no_context;
}
