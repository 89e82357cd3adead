/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contractions, convolutions, pooling. */
#include "frontend/onnx/reader.h"
#include "ir/nn.h"

#include <math.h>

#define BUILD(name) void onnx_build_##name(onnx_node *n)
#define X n->in[0]
#define Y n->in[1]

BUILD(matmul)
{
    n->out[0] = ir_matmul(n->b, X, Y);
}

BUILD(gemm)
{
    int64_t xc = onnx_int(n, "transA", 0) ? 0 : 1, yc = onnx_int(n, "transB", 0) ? 1 : 0;
    if (X->type.rank != 2 || Y->type.rank != 2) {
        onnx_error(n, "expected two matrices, got %s and %s", onnx_type_text(n, X),
                   onnx_type_text(n, Y));
        return;
    }
    ir_value *y = ir_times(n->b, ir_dot_general(n->b, X, Y, 0, NULL, NULL, 1, &xc, &yc),
                           onnx_float(n, "alpha", 1)),
             *c = n->nin > 2 ? n->in[2] : NULL;
    if (y && c)
        y = ir_add(n->b, y,
                   ir_broadcast_like(n->b, ir_times(n->b, c, onnx_float(n, "beta", 1)), y));
    n->out[0] = y;
}

BUILD(einsum)
{
    n->out[0] = ir_einsum(n->b, onnx_text(n, "equation", ""), n->in, n->nin);
}

/* ---- Windows ---- */

typedef struct window { /* one entry per spatial dimension */
    int spatial;
    int64_t size[IR_MAX_RANK], stride[IR_MAX_RANK], dilation[IR_MAX_RANK], low[IR_MAX_RANK],
        high[IR_MAX_RANK];
    int way; /* auto_pad */
} window;
enum { NOTSET, SAME_UPPER, SAME_LOWER, VALID };
enum { MAX_WINDOW = 1 << 30 }; /* limits each member of a window */

static bool read_window(onnx_node *n, int spatial, const int64_t *kernel, window *w)
{
    static const char *const ways[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", NULL};
    int64_t pads[2 * IR_MAX_RANK];
    w->spatial = spatial;
    w->way = onnx_choice(n, "auto_pad", "NOTSET", ways);
    if (w->way < 0 || spatial < 0)
        return false;
    if (!onnx_ints_n(n, "strides", spatial, 1, w->stride) ||
        !onnx_ints_n(n, "dilations", spatial, 1, w->dilation) ||
        !onnx_ints_n(n, "pads", 2 * spatial, 0, pads))
        return false;
    if (onnx_has(n, "kernel_shape") ? !onnx_ints_n(n, "kernel_shape", spatial, 1, w->size)
                                    : !kernel) {
        onnx_error(n, "kernel_shape is missing");
        return false;
    }
    for (int i = 0; i < spatial; i++) {
        if (kernel && onnx_has(n, "kernel_shape") && w->size[i] != kernel[i]) {
            onnx_error(n, "kernel_shape is %lld in dimension %d, the weights have %lld",
                       (long long)w->size[i], i, (long long)kernel[i]);
            return false;
        }
        if (kernel)
            w->size[i] = kernel[i];
        w->low[i] = w->way == NOTSET ? pads[i] : 0;
        w->high[i] = w->way == NOTSET ? pads[spatial + i] : 0;
        const int64_t limit = MAX_WINDOW;
        if (w->size[i] < 1 || w->stride[i] < 1 || w->dilation[i] < 1 || w->size[i] > limit ||
            w->stride[i] > limit || w->dilation[i] > limit || w->low[i] < -limit ||
            w->low[i] > limit || w->high[i] < -limit || w->high[i] > limit) {
            onnx_error(n,
                       "invalid window in spatial dimension %d: kernel %lld, stride %lld, dilation "
                       "%lld, pads %lld, %lld",
                       i, (long long)w->size[i], (long long)w->stride[i], (long long)w->dilation[i],
                       (long long)w->low[i], (long long)w->high[i]);
            return false;
        }
    }
    return true;
}

static int64_t span_of(const window *w, int i)
{
    return (w->size[i] - 1) * w->dilation[i] + 1;
}

/* SAME_*: as many outputs as strides fit into the extent. */
static void auto_pad(window *w, const int64_t *extent)
{
    for (int i = 0; i < w->spatial && (w->way == SAME_UPPER || w->way == SAME_LOWER); i++) {
        int64_t out = (extent[i] + w->stride[i] - 1) / w->stride[i],
                total = (out - 1) * w->stride[i] + span_of(w, i) - extent[i];
        total = total < 0 ? 0 : total;
        w->low[i] = w->way == SAME_UPPER ? total / 2 : total - total / 2;
        w->high[i] = total - w->low[i];
    }
}

static ir_value *add_bias(onnx_node *n, ir_value *y)
{
    ir_value *bias = n->nin > 2 ? n->in[2] : NULL;
    if (!y || !bias)
        return y;
    if (bias->type.rank != 1 || bias->type.dim[0] != y->type.dim[1]) {
        onnx_error(n, "bias %s does not fit %lld channels", onnx_type_text(n, bias),
                   (long long)y->type.dim[1]);
        return NULL;
    }
    return ir_add(n->b, y, onnx_along(n->b, bias, y->type.rank, 1, y->type.dim));
}

static ir_value *convolve(onnx_node *n, ir_value *x, ir_value *w, const window *k,
                          const int64_t *lhs_dilation, int64_t groups)
{
    static const int64_t ones[IR_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const int64_t order[IR_MAX_RANK] = {0, 1, 2,  3,  4,  5,  6,  7,
                                               8, 9, 10, 11, 12, 13, 14, 15};
    ir_builder *b = n->b;
    ir_ints o = ir_ints_of(b, k->spatial + 2, order);
    return ir_build1(
        b, IR_OP_convolution, (ir_value *[]){x, w}, 2,
        &(ir_attrs){.convolution = {.lhs = o,
                                    .rhs = o,
                                    .out = o,
                                    .stride = ir_ints_of(b, k->spatial, k->stride),
                                    .low = ir_ints_of(b, k->spatial, k->low),
                                    .high = ir_ints_of(b, k->spatial, k->high),
                                    .lhs_dilation = ir_ints_of(b, k->spatial,
                                                               lhs_dilation ? lhs_dilation : ones),
                                    .rhs_dilation = ir_ints_of(b, k->spatial, k->dilation),
                                    .feature_groups = groups,
                                    .batch_groups = 1}});
}

static bool conv_ok(onnx_node *n)
{
    if (X->type.rank < 3 || Y->type.rank != X->type.rank)
        onnx_error(
            n, "expected a tensor of rank 3 or more and weights of the same rank, got %s and %s",
            onnx_type_text(n, X), onnx_type_text(n, Y));
    else if (onnx_int(n, "group", 1) < 1)
        onnx_error(n, "group is %lld, expected 1 or more", (long long)onnx_int(n, "group", 1));
    return !n->failed;
}

BUILD(conv)
{
    window w;
    if (!conv_ok(n) || !read_window(n, X->type.rank - 2, Y->type.dim + 2, &w))
        return;
    auto_pad(&w, X->type.dim + 2);
    for (int i = 0; i < w.spatial; i++)
        if (X->type.dim[2 + i] + w.low[i] + w.high[i] < span_of(&w, i)) {
            onnx_error(n, "the kernel is larger than spatial dimension %d of %s with its padding",
                       i, onnx_type_text(n, X));
            return;
        }
    n->out[0] = add_bias(n, convolve(n, X, Y, &w, NULL, onnx_int(n, "group", 1)));
}

/* Padding in spatial dimension i of the convolution that computes a transposed one, for the output
 * extent that the pads give, or for *want (NULL: not given). */
static bool transposed_pads(onnx_node *n, window *w, int i, int64_t extra, const int64_t *want)
{
    int64_t extent = X->type.dim[2 + i], span = span_of(w, i), full;
    if (extent < 1 || extra < 0 || extra > MAX_WINDOW ||
        !base_size_mul(w->stride[i], extent - 1, &full) || full > IR_MAX_TENSOR_BYTES) {
        onnx_error(n, "stride %lld and output_padding %lld do not fit spatial dimension %d of %s",
                   (long long)w->stride[i], (long long)extra, i, onnx_type_text(n, X));
        return false;
    }
    full += extra + span;
    int64_t out = want                                           ? *want
                  : w->way == SAME_UPPER || w->way == SAME_LOWER ? extent * w->stride[i]
                                                                 : full - w->low[i] - w->high[i];
    if (out < 1 || out > IR_MAX_TENSOR_BYTES) {
        onnx_error(n, "the result would have %lld elements in spatial dimension %d", (long long)out,
                   i);
        return false;
    }
    if (want || w->way == SAME_UPPER || w->way == SAME_LOWER) {
        int64_t total = full - out, half = total >> 1; /* towards minus infinity */
        w->low[i] = w->way == SAME_UPPER ? half : total - half;
        w->high[i] = total - w->low[i];
    }
    w->low[i] = span - 1 - w->low[i];
    w->high[i] = span - 1 - w->high[i] + extra;
    return true;
}

/* The derivative of a convolution with respect to its input: weights reversed, input dilation by
 * the stride. */
BUILD(conv_transpose)
{
    window w;
    int64_t extra[IR_MAX_RANK], want[IR_MAX_RANK], axes[IR_MAX_RANK], dilation[IR_MAX_RANK],
        split[IR_MAX_RANK], shape[IR_MAX_RANK];
    int64_t g = onnx_int(n, "group", 1);
    if (!conv_ok(n) || !read_window(n, X->type.rank - 2, Y->type.dim + 2, &w) ||
        !onnx_ints_n(n, "output_padding", w.spatial, 0, extra))
        return;
    int s = w.spatial, rank = s + 2;
    bool shaped = onnx_has(n, "output_shape");
    if (shaped && !onnx_ints_n(n, "output_shape", s, 0, want))
        return;
    if (Y->type.dim[0] % g || Y->type.dim[0] != X->type.dim[1] ||
        !base_size_mul(Y->type.dim[1], g, &shape[0]) || rank == IR_MAX_RANK) {
        onnx_error(n, "%lld groups do not fit %s and weights %s", (long long)g,
                   onnx_type_text(n, X), onnx_type_text(n, Y));
        return;
    }
    for (int i = 0; i < s; i++) {
        if (!transposed_pads(n, &w, i, extra[i], shaped ? &want[i] : NULL))
            return;
        axes[i] = 2 + i;
        dilation[i] = w.stride[i];
        w.stride[i] = 1;
    }
    ir_value *y = ir_reverse(n->b, Y, s, axes); /* [C, O/g, k…] to [O, C/g, k…] */
    memcpy(split + 1, Y->type.dim, (size_t)rank * sizeof *split);
    split[0] = g;
    split[1] = Y->type.dim[0] / g;
    y = ir_reshape(n->b, y, rank + 1, split);
    int64_t perm[IR_MAX_RANK];
    for (int i = 0; i <= rank; i++)
        perm[i] = i == 1 ? 2 : i == 2 ? 1 : i;
    y = ir_transpose(n->b, y, perm);
    shape[1] = Y->type.dim[0] / g;
    memcpy(shape + 2, Y->type.dim + 2, (size_t)s * sizeof *shape);
    y = ir_reshape(n->b, y, rank, shape);
    n->out[0] = y ? add_bias(n, convolve(n, X, y, &w, dilation, g)) : NULL;
}

/* ---- Pools ---- */

/* ceil_mode adds padding on the high side, unless the last window would start in it. *given: the
 * padding there without that. */
static bool pool_window(onnx_node *n, window *w, int64_t *out, int64_t *given)
{
    int rank = X->type.rank;
    const int64_t *extent = X->type.dim + 2;
    if (rank < 3 || !read_window(n, rank - 2, NULL, w)) {
        if (!n->failed)
            onnx_error(n, "expected a tensor of rank 3 or more, got %s", onnx_type_text(n, X));
        return false;
    }
    auto_pad(w, extent);
    bool ceil = onnx_int(n, "ceil_mode", 0) != 0;
    for (int i = 0; i < w->spatial; i++) {
        int64_t room = extent[i] + w->low[i] + w->high[i] - span_of(w, i);
        out[i] = room < 0 ? 0 : (room + (ceil ? w->stride[i] - 1 : 0)) / w->stride[i] + 1;
        if (ceil && out[i] > 1 && (out[i] - 1) * w->stride[i] >= extent[i] + w->low[i])
            out[i]--;
        if (out[i] < 1 || w->low[i] < 0 || w->high[i] < 0) {
            onnx_error(n, "the window does not fit spatial dimension %d of %s", i,
                       onnx_type_text(n, X));
            return false;
        }
        int64_t due = (out[i] - 1) * w->stride[i] + span_of(w, i) - extent[i] - w->low[i];
        given[i] = w->high[i];
        if (due > w->high[i])
            w->high[i] = due;
    }
    return true;
}

static ir_value *window_sum(onnx_node *n, ir_value *x, const window *w)
{
    static const int64_t ones[IR_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    int s = w->spatial;
    return ir_build1(n->b, IR_OP_reduce_window, &x, 1,
                     &(ir_attrs){.reduce_window = {
                                     .combine = IR_SUM,
                                     .window = ir_spatial_ints(n->b, s, w->size, 1),
                                     .stride = ir_spatial_ints(n->b, s, w->stride, 1),
                                     .low = ir_spatial_ints(n->b, s, w->low, 0),
                                     .high = ir_spatial_ints(n->b, s, w->high, 0),
                                     .base_dilation = ir_spatial_ints(n->b, s, ones, 1),
                                     .window_dilation = ir_spatial_ints(n->b, s, w->dilation, 1)}});
}

/* The flat position in the tensor of the element that each window chose: MaxPool's second
 * output. */
static ir_value *flat_positions(onnx_node *n, ir_value *inside, const window *w, bool column_major)
{
    ir_builder *b = n->b;
    const ir_type *t = &inside->type;
    ir_value *at = ir_convert(b, inside, IR_I64), *sum = NULL;
    int64_t taps = 1, spatial = 1, weight = 1;
    for (int i = 0; i < w->spatial; i++)
        spatial *= X->type.dim[2 + i];
    int64_t tap[IR_MAX_RANK], place[IR_MAX_RANK];
    for (int i = w->spatial - 1; i >= 0; i--) {
        tap[i] = taps;
        taps *= w->size[i];
    }
    for (int k = 0; k < w->spatial; k++) {
        int i = column_major ? k : w->spatial - 1 - k;
        place[i] = weight;
        weight *= X->type.dim[2 + i];
    }
    for (int i = 0; i < w->spatial; i++) {
        ir_value *k = ir_rem(b, ir_div(b, at, ir_like(n->b, at, (double)tap[i])),
                             ir_like(n->b, at, (double)w->size[i]));
        ir_value *start = ir_mul(b, ir_iota(b, IR_I64, t->rank, t->dim, 2 + i),
                                 ir_like(n->b, at, (double)w->stride[i]));
        ir_value *c = ir_add(b, ir_add(b, start, ir_like(n->b, at, (double)-w->low[i])),
                             ir_mul(b, k, ir_like(n->b, at, (double)w->dilation[i])));
        c = ir_mul(b, c, ir_like(n->b, at, (double)place[i]));
        sum = sum ? ir_add(b, sum, c) : c;
    }
    ir_value *image = ir_mul(b, ir_iota(b, IR_I64, t->rank, t->dim, 0),
                             ir_like(n->b, at, (double)X->type.dim[1]));
    image = ir_add(b, image, ir_iota(b, IR_I64, t->rank, t->dim, 1));
    return ir_add(b, sum, ir_mul(b, image, ir_like(n->b, at, (double)spatial)));
}

BUILD(max_pool)
{
    window w;
    int64_t out[IR_MAX_RANK], given[IR_MAX_RANK];
    if (!pool_window(n, &w, out, given))
        return;
    int s = w.spatial;
    ir_inst *inst = ir_build(
        n->b, IR_OP_arg_window, &X, 1,
        &(ir_attrs){.arg_window = {.combine = IR_MAX,
                                   .window = ir_spatial_ints(n->b, s, w.size, 1),
                                   .stride = ir_spatial_ints(n->b, s, w.stride, 1),
                                   .low = ir_spatial_ints(n->b, s, w.low, 0),
                                   .high = ir_spatial_ints(n->b, s, w.high, 0),
                                   .window_dilation = ir_spatial_ints(n->b, s, w.dilation, 1)}});
    if (!inst)
        return;
    int64_t from[IR_MAX_RANK] = {0}, to[IR_MAX_RANK];
    memcpy(to, X->type.dim, sizeof to);
    memcpy(to + 2, out, (size_t)s * sizeof *out);
    n->out[0] = ir_slice(n->b, inst->result[0], from, to, NULL);
    if (n->nout > 1)
        n->out[1] = ir_slice(
            n->b, flat_positions(n, inst->result[1], &w, onnx_int(n, "storage_order", 0) != 0),
            from, to, NULL);
}

/* How many of n positions, at, at + step, at + 2 step, …, lie between first and end - 1. */
static int64_t positions_in(int64_t at, int64_t n, int64_t step, int64_t first, int64_t end)
{
    int64_t skipped = first > at ? (first - at + step - 1) / step : 0,
            until = end > at ? (end - at + step - 1) / step : 0;
    until = until < n ? until : n;
    return until > skipped ? until - skipped : 0;
}

/* How many elements each window covers, as a tensor over the spatial dimensions of the output. */
static ir_value *window_counts(onnx_node *n, const window *w, const int64_t *pad_high,
                               const ir_type *y, bool with_pads)
{
    ir_type t = {.dtype = IR_F64, .rank = w->spatial};
    memcpy(t.dim, y->dim + 2, (size_t)w->spatial * sizeof *t.dim);
    if (ir_bytes(&t) > IR_MAX_FOLD_BYTES) {
        onnx_error(n, "the output is too large");
        return NULL;
    }
    if (!onnx_unpacks(n->r, n->loc, ir_bytes(&t))) {
        n->failed = true;
        return NULL;
    }
    ir_literal *l = ir_literal_new(n->r->arena, &t);
    int64_t stride[IR_MAX_RANK];
    ir_strides(&t, stride);
    for (int64_t i = 0; i < ir_count(&t); i++) {
        double count = 1;
        for (int d = 0; d < w->spatial; d++) {
            int64_t o = i / stride[d] % t.dim[d];
            int64_t first = with_pads ? -w->low[d] : 0,
                    end = X->type.dim[2 + d] + (with_pads ? pad_high[d] : 0);
            count *= (double)positions_in(o * w->stride[d] - w->low[d], w->size[d], w->dilation[d],
                                          first, end);
        }
        ((double *)l->data)[i] = count != 0 ? count : 1;
    }
    int64_t dims[IR_MAX_RANK];
    for (int d = 0; d < w->spatial; d++)
        dims[d] = 2 + d;
    ir_value *v =
        ir_literal_is_splat(l) ? ir_scalar(n->b, IR_F64, *(double *)l->data) : ir_constant(n->b, l);
    return ir_broadcast(n->b, ir_convert(n->b, v, y->dtype), y->rank, y->dim, dims);
}

/* The sum of each window of x; fills *w and the high padding that counts. */
static ir_value *pooled_sum(onnx_node *n, ir_value *x, window *w, int64_t *pad_high)
{
    int64_t out[IR_MAX_RANK], from[IR_MAX_RANK] = {0}, to[IR_MAX_RANK];
    if (!pool_window(n, w, out, pad_high))
        return NULL;
    ir_value *y = window_sum(n, x, w);
    if (!y)
        return NULL;
    memcpy(to, y->type.dim, sizeof to);
    memcpy(to + 2, out, (size_t)w->spatial * sizeof *out);
    return ir_slice(n->b, y, from, to, NULL);
}

BUILD(average_pool)
{
    window w;
    int64_t pad_high[IR_MAX_RANK];
    ir_value *y = pooled_sum(n, X, &w, pad_high);
    if (y)
        n->out[0] = ir_div(
            n->b, y,
            window_counts(n, &w, pad_high, &y->type, onnx_int(n, "count_include_pad", 0) != 0));
}

BUILD(lp_pool)
{
    window w;
    int64_t pad_high[IR_MAX_RANK];
    double p = (double)onnx_int(n, "p", 2);
    ir_value *y = pooled_sum(n, ir_abs_pow(n->b, X, p), &w, pad_high);
    n->out[0] = y ? ir_root(n->b, y, p) : NULL;
}

/* The spatial dimensions; 0 and reported if there are none. */
static int spatial_axes(onnx_node *n, int64_t *axes)
{
    int k = X->type.rank - 2;
    for (int i = 0; i < k; i++)
        axes[i] = 2 + i;
    if (k < 1)
        onnx_error(n, "expected a tensor of rank 3 or more, got %s", onnx_type_text(n, X));
    return k < 1 ? 0 : k;
}

BUILD(global_average_pool)
{
    int64_t axes[IR_MAX_RANK];
    int k = spatial_axes(n, axes);
    if (k)
        n->out[0] = ir_mean(n->b, X, k, axes, true);
}

BUILD(global_max_pool)
{
    int64_t axes[IR_MAX_RANK];
    int k = spatial_axes(n, axes);
    if (k)
        n->out[0] = ir_reduce_keep(n->b, IR_MAX, X, k, axes);
}

BUILD(global_lp_pool)
{
    int64_t axes[IR_MAX_RANK];
    int k = spatial_axes(n, axes);
    if (k)
        n->out[0] = ir_vector_norm(n->b, X, (double)onnx_int(n, "p", 2), k, axes, true);
}
