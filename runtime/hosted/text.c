/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Tensor types as text, for files and error reports. */
#include "runtime/hosted/hosted.h"

#include <string.h>

const char *rt_dtype_name(uint32_t dtype)
{
    static const char names[][5] = {
        [GRADC_RT_BOOL] = "BOOL", [GRADC_RT_I8] = "I8",     [GRADC_RT_I16] = "I16",
        [GRADC_RT_I32] = "I32",   [GRADC_RT_I64] = "I64",   [GRADC_RT_U8] = "U8",
        [GRADC_RT_U16] = "U16",   [GRADC_RT_U32] = "U32",   [GRADC_RT_U64] = "U64",
        [GRADC_RT_F16] = "F16",   [GRADC_RT_BF16] = "BF16", [GRADC_RT_F32] = "F32",
        [GRADC_RT_F64] = "F64",
    };
    return dtype < sizeof names / sizeof *names ? names[dtype] : "";
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
    rt_texts *texts = ctx->more;
    rt_type_text(texts->expected, rt_dtype_name((uint32_t)t->dtype), t->rank, t->shape);
    size_t n = strlen(found);
    n = n < sizeof texts->found ? n : sizeof texts->found - 1;
    memcpy(texts->found, found, n);
    texts->found[n] = 0;
    ctx->error.expected = texts->expected;
    ctx->error.found = texts->found;
    return status;
}
