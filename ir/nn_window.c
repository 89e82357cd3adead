/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The windows of nn.h: convolutions and pools. */
#include "ir/nn.h"

#include <string.h>

enum { MOST = 1 << 30 }; /* limits each number of a window */

bool ir_window_ok(const ir_window *w, int d)
{
    const int64_t sizes[] = {w->size[d], w->stride[d], w->dilation[d]},
                  pads[] = {w->low[d], w->high[d]};
    for (int i = 0; i < 3; i++)
        if (sizes[i] < 1 || sizes[i] > MOST)
            return false;
    for (int i = 0; i < 2; i++)
        if (pads[i] < -MOST || pads[i] > MOST)
            return false;
    return true;
}

int64_t ir_window_span(const ir_window *w, int d)
{
    return (w->size[d] - 1) * w->dilation[d] + 1;
}

int64_t ir_window_room(const ir_window *w, int d, int64_t extent)
{
    return extent + w->low[d] + w->high[d] - ir_window_span(w, d);
}

static const int64_t ones[IR_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* ---- Convolutions ---- */

static ir_value *convolve(ir_builder *b, ir_value *x, ir_value *weights, const ir_window *w,
                          const int64_t *lhs_dilation, int64_t groups)
{
    int64_t order[IR_MAX_RANK];
    for (int i = 0; i < w->n + 2; i++)
        order[i] = i;
    const ir_ints o = ir_ints_of(b, w->n + 2, order);
    return ir_build1(b, IR_OP_convolution, (ir_value *[]){x, weights}, 2,
                     &(ir_attrs){.convolution = {.lhs = o,
                                                 .rhs = o,
                                                 .out = o,
                                                 .stride = ir_ints_of(b, w->n, w->stride),
                                                 .low = ir_ints_of(b, w->n, w->low),
                                                 .high = ir_ints_of(b, w->n, w->high),
                                                 .lhs_dilation = ir_ints_of(b, w->n, lhs_dilation),
                                                 .rhs_dilation = ir_ints_of(b, w->n, w->dilation),
                                                 .feature_groups = groups,
                                                 .batch_groups = 1}});
}

ir_value *ir_convolve(ir_builder *b, ir_value *x, ir_value *weights, const ir_window *w,
                      int64_t groups)
{
    return convolve(b, x, weights, w, ones, groups);
}

bool ir_transposed_fits(const ir_value *x, const ir_value *weights, int64_t groups)
{
    const ir_type *t = &weights->type;
    int64_t features;
    return t->rank < IR_MAX_RANK && t->dim[0] == x->type.dim[1] && t->dim[0] % groups == 0 &&
           base_size_mul(t->dim[1], groups, &features);
}

bool ir_transposed_extent(const ir_window *w, int d, int64_t extent, int64_t extra, int64_t *out)
{
    if (extent < 1 || extra < 0 || extra > MOST || !base_size_mul(w->stride[d], extent - 1, out) ||
        *out > IR_MAX_TENSOR_BYTES)
        return false;
    *out += ir_window_span(w, d) + extra;
    return true;
}

/* Weights [C, O/g, k…] as [O, C/g, k…], reversed: those of the convolution with input dilation. */
static ir_value *transpose_weights(ir_builder *b, ir_value *weights, int spatial, int64_t g)
{
    const int64_t *dim = weights->type.dim;
    int rank = spatial + 2;
    int64_t axes[IR_MAX_RANK], perm[IR_MAX_RANK], split[IR_MAX_RANK] = {g, dim[0] / g},
                                                  shape[IR_MAX_RANK] = {dim[1] * g, dim[0] / g};
    for (int i = 0; i < spatial; i++)
        axes[i] = 2 + i;
    memcpy(split + 2, dim + 1, (size_t)(rank - 1) * sizeof *split);
    memcpy(shape + 2, dim + 2, (size_t)spatial * sizeof *shape);
    for (int i = 0; i <= rank; i++)
        perm[i] = i == 1 ? 2 : i == 2 ? 1 : i;
    ir_value *y = ir_reshape(b, ir_reverse(b, weights, spatial, axes), rank + 1, split);
    return ir_reshape(b, ir_transpose(b, y, perm), rank, shape);
}

ir_value *ir_convolve_transposed(ir_builder *b, ir_value *x, ir_value *weights, const ir_window *w,
                                 const int64_t *extra, int64_t groups)
{
    ir_window forward = *w;
    for (int d = 0; d < w->n; d++) {
        forward.stride[d] = 1;
        forward.low[d] = ir_window_span(w, d) - 1 - w->low[d];
        forward.high[d] = ir_window_span(w, d) - 1 - w->high[d] + extra[d];
    }
    return convolve(b, x, transpose_weights(b, weights, w->n, groups), &forward, w->stride, groups);
}

/* ---- Pools ---- */

int64_t ir_window_covers(const ir_window *w, int d, int64_t i, int64_t first, int64_t end)
{
    int64_t at = i * w->stride[d] - w->low[d], step = w->dilation[d];
    int64_t skipped = first > at ? (first - at + step - 1) / step : 0,
            until = end > at ? (end - at + step - 1) / step : 0;
    until = until < w->size[d] ? until : w->size[d];
    return until > skipped ? until - skipped : 0;
}

void ir_count_windows(ir_window *w, const ir_value *x, bool ceil)
{
    for (int d = 0; d < w->n; d++) {
        const int64_t extent = x->type.dim[2 + d], step = w->stride[d];
        int64_t count = (ir_window_room(w, d, extent) + (ceil ? step - 1 : 0)) / step + 1;
        if (ceil && count > 1 && (count - 1) * step >= extent + w->low[d])
            count--;
        w->count[d] = count;
    }
}

/* The high padding, and as much more as the last window reaches into. */
static ir_ints high_of(ir_builder *b, const ir_value *x, const ir_window *w)
{
    int64_t high[IR_MAX_RANK];
    for (int d = 0; d < w->n; d++) {
        int64_t due = (w->count[d] - 1) * w->stride[d] + ir_window_span(w, d) - x->type.dim[2 + d] -
                      w->low[d];
        high[d] = due > w->high[d] ? due : w->high[d];
    }
    return ir_spatial_ints(b, w->n, high, 0);
}

ir_value *ir_first_windows(ir_builder *b, ir_value *y, const ir_window *w)
{
    int64_t from[IR_MAX_RANK] = {0}, to[IR_MAX_RANK];
    if (!y)
        return NULL;
    memcpy(to, y->type.dim, sizeof to);
    memcpy(to + 2, w->count, (size_t)w->n * sizeof *to);
    return ir_slice(b, y, from, to, NULL);
}

ir_inst *ir_pool_max(ir_builder *b, ir_value *x, const ir_window *w)
{
    if (!x)
        return NULL;
    return ir_build(
        b, IR_OP_arg_window, &x, 1,
        &(ir_attrs){.arg_window = {.combine = IR_MAX,
                                   .window = ir_spatial_ints(b, w->n, w->size, 1),
                                   .stride = ir_spatial_ints(b, w->n, w->stride, 1),
                                   .low = ir_spatial_ints(b, w->n, w->low, 0),
                                   .high = high_of(b, x, w),
                                   .window_dilation = ir_spatial_ints(b, w->n, w->dilation, 1)}});
}

ir_value *ir_pool_sum(ir_builder *b, ir_value *x, const ir_window *w)
{
    if (!x)
        return NULL;
    ir_value *y =
        ir_build1(b, IR_OP_reduce_window, &x, 1,
                  &(ir_attrs){.reduce_window = {.combine = IR_SUM,
                                                .window = ir_spatial_ints(b, w->n, w->size, 1),
                                                .stride = ir_spatial_ints(b, w->n, w->stride, 1),
                                                .low = ir_spatial_ints(b, w->n, w->low, 0),
                                                .high = high_of(b, x, w),
                                                .base_dilation = ir_spatial_ints(b, w->n, ones, 1),
                                                .window_dilation =
                                                    ir_spatial_ints(b, w->n, w->dilation, 1)}});
    return ir_first_windows(b, y, w);
}
