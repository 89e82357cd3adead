/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Conversion between row-major order, which callers and files use, and a state's storage order. */
#include "runtime/memory.h"
#include "runtime/rt.h"

enum { MOST_RANK = 16 }; /* the compiler's limit */

/* A row-major position and its offset in storage, updated as the position advances. */
typedef struct walk {
    const gradc_rt_state *state;
    int64_t index[MOST_RANK], stride[MOST_RANK], at;
} walk;

static void start(walk *w, const gradc_rt_state *s, size_t first)
{
    int rank = s->tensor.rank;
    int64_t stride = 1, rest = (int64_t)first;
    w->state = s;
    w->at = 0;
    for (int k = rank; k-- > 0; stride *= s->tensor.shape[s->order[k]])
        w->stride[s->order[k]] = stride;
    for (int d = rank; d-- > 0;) {
        w->index[d] = rest % s->tensor.shape[d];
        rest /= s->tensor.shape[d];
        w->at += w->index[d] * w->stride[d];
    }
}

static void next(walk *w)
{
    const gradc_rt_tensor *t = &w->state->tensor;
    for (int d = t->rank; d-- > 0;) {
        w->at += w->stride[d];
        if (++w->index[d] < t->shape[d])
            return;
        w->at -= w->index[d] * w->stride[d];
        w->index[d] = 0;
    }
}

void rt_read_rows(const gradc_rt_state *s, const char *storage, size_t first, size_t count,
                  char *rows)
{
    size_t width = rt_dtype_bytes((uint32_t)s->tensor.dtype);
    if (!s->order || !count) {
        memcpy(rows, storage + first * width, count * width);
        return;
    }
    walk w;
    start(&w, s, first);
    for (; count; count--, rows += width, next(&w))
        memcpy(rows, storage + (size_t)w.at * width, width);
}

void rt_write_rows(const gradc_rt_state *s, char *storage, const char *rows)
{
    size_t width = rt_dtype_bytes((uint32_t)s->tensor.dtype), count = s->tensor.bytes / width;
    if (!s->order || !count) {
        memcpy(storage, rows, s->tensor.bytes);
        return;
    }
    walk w;
    start(&w, s, 0);
    for (; count; count--, rows += width, next(&w))
        memcpy(storage + (size_t)w.at * width, rows, width);
}
