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

enum { NOTSET, SAME_UPPER, SAME_LOWER, VALID };

/* kernel: the weights' (NULL: there are none). *way: auto_pad. */
static bool read_window(onnx_node *n, int spatial, const int64_t *kernel, ir_window *w, int *way)
{
    static const char *const ways[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", NULL};
    int64_t pads[2 * IR_MAX_RANK];
    w->n = spatial;
    *way = onnx_choice(n, "auto_pad", "NOTSET", ways);
    if (*way < 0 || spatial < 0)
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
        w->low[i] = *way == NOTSET ? pads[i] : 0;
        w->high[i] = *way == NOTSET ? pads[spatial + i] : 0;
        if (!ir_window_ok(w, i)) {
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

static bool same(int way)
{
    return way == SAME_UPPER || way == SAME_LOWER;
}

/* Splits what padding is due in dimension d; the odd one goes to the side that `way` names. */
static void split_pads(ir_window *w, int way, int d, int64_t total)
{
    int64_t half = total >> 1; /* towards minus infinity */
    w->low[d] = way == SAME_UPPER ? half : total - half;
    w->high[d] = total - w->low[d];
}

/* SAME_*: as many outputs as strides fit into the extent. */
static void auto_pad(ir_window *w, int way, const int64_t *extent)
{
    for (int i = 0; i < w->n && same(way); i++) {
        int64_t out = (extent[i] + w->stride[i] - 1) / w->stride[i],
                total = (out - 1) * w->stride[i] + ir_window_span(w, i) - extent[i];
        split_pads(w, way, i, total < 0 ? 0 : total);
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
    ir_window w;
    int way;
    if (!conv_ok(n) || !read_window(n, X->type.rank - 2, Y->type.dim + 2, &w, &way))
        return;
    auto_pad(&w, way, X->type.dim + 2);
    for (int i = 0; i < w.n; i++)
        if (ir_window_room(&w, i, X->type.dim[2 + i]) < 0) {
            onnx_error(n, "the kernel is larger than spatial dimension %d of %s with its padding",
                       i, onnx_type_text(n, X));
            return;
        }
    n->out[0] = add_bias(n, ir_convolve(n->b, X, Y, &w, onnx_int(n, "group", 1)));
}

/* The padding in spatial dimension i of a transposed convolution whose result has the extent *want;
 * NULL: not given. */
static bool transposed_pads(onnx_node *n, ir_window *w, int way, int i, int64_t extra,
                            const int64_t *want)
{
    int64_t extent = X->type.dim[2 + i], full;
    if (!ir_transposed_extent(w, i, extent, extra, &full)) {
        onnx_error(n, "stride %lld and output_padding %lld do not fit spatial dimension %d of %s",
                   (long long)w->stride[i], (long long)extra, i, onnx_type_text(n, X));
        return false;
    }
    int64_t out = want ? *want : same(way) ? extent * w->stride[i] : full - w->low[i] - w->high[i];
    if (out < 1 || out > IR_MAX_TENSOR_BYTES) {
        onnx_error(n, "the result would have %lld elements in spatial dimension %d", (long long)out,
                   i);
        return false;
    }
    if (want || same(way))
        split_pads(w, way, i, full - out);
    return true;
}

BUILD(conv_transpose)
{
    ir_window w;
    int way;
    int64_t extra[IR_MAX_RANK], want[IR_MAX_RANK], g = onnx_int(n, "group", 1);
    if (!conv_ok(n) || !read_window(n, X->type.rank - 2, Y->type.dim + 2, &w, &way) ||
        !onnx_ints_n(n, "output_padding", w.n, 0, extra))
        return;
    bool shaped = onnx_has(n, "output_shape");
    if (shaped && !onnx_ints_n(n, "output_shape", w.n, 0, want))
        return;
    if (!ir_transposed_fits(X, Y, g)) {
        onnx_error(n, "%lld groups do not fit %s and weights %s", (long long)g,
                   onnx_type_text(n, X), onnx_type_text(n, Y));
        return;
    }
    for (int i = 0; i < w.n; i++)
        if (!transposed_pads(n, &w, way, i, extra[i], shaped ? &want[i] : NULL))
            return;
    n->out[0] = add_bias(n, ir_convolve_transposed(n->b, X, Y, &w, extra, g));
}

/* ---- Pools ---- */

static bool pool_window(onnx_node *n, ir_window *w)
{
    int rank = X->type.rank, way;
    if (rank < 3 || !read_window(n, rank - 2, NULL, w, &way)) {
        if (!n->failed)
            onnx_error(n, "expected a tensor of rank 3 or more, got %s", onnx_type_text(n, X));
        return false;
    }
    auto_pad(w, way, X->type.dim + 2);
    for (int i = 0; i < w->n; i++)
        if (ir_window_room(w, i, X->type.dim[2 + i]) < 0 || w->low[i] < 0 || w->high[i] < 0) {
            onnx_error(n, "the window does not fit spatial dimension %d of %s", i,
                       onnx_type_text(n, X));
            return false;
        }
    ir_count_windows(w, X, onnx_int(n, "ceil_mode", 0) != 0);
    return true;
}

/* The flat position in the tensor of the element that each window chose: MaxPool's second
 * output. */
static ir_value *flat_positions(onnx_node *n, ir_value *inside, const ir_window *w,
                                bool column_major)
{
    ir_builder *b = n->b;
    const ir_type *t = &inside->type;
    ir_value *at = ir_convert(b, inside, IR_I64), *sum = NULL;
    int64_t taps = 1, spatial = 1, weight = 1;
    for (int i = 0; i < w->n; i++)
        spatial *= X->type.dim[2 + i];
    int64_t tap[IR_MAX_RANK], place[IR_MAX_RANK];
    for (int i = w->n - 1; i >= 0; i--) {
        tap[i] = taps;
        taps *= w->size[i];
    }
    for (int k = 0; k < w->n; k++) {
        int i = column_major ? k : w->n - 1 - k;
        place[i] = weight;
        weight *= X->type.dim[2 + i];
    }
    for (int i = 0; i < w->n; i++) {
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
    ir_window w;
    ir_inst *inst = pool_window(n, &w) ? ir_pool_max(n->b, X, &w) : NULL;
    if (!inst)
        return;
    n->out[0] = ir_first_windows(n->b, inst->result[0], &w);
    if (n->nout > 1)
        n->out[1] = ir_first_windows(
            n->b, flat_positions(n, inst->result[1], &w, onnx_int(n, "storage_order", 0) != 0), &w);
}

/* How many elements each window covers, as a tensor over the spatial dimensions of the output. */
static ir_value *window_counts(onnx_node *n, const ir_window *w, const ir_type *y, bool with_pads)
{
    ir_type t = {.dtype = IR_F64, .rank = w->n};
    memcpy(t.dim, y->dim + 2, (size_t)w->n * sizeof *t.dim);
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
        for (int d = 0; d < w->n; d++) {
            int64_t o = i / stride[d] % t.dim[d];
            int64_t first = with_pads ? -w->low[d] : 0,
                    end = X->type.dim[2 + d] + (with_pads ? w->high[d] : 0);
            count *= (double)ir_window_covers(w, d, o, first, end);
        }
        ((double *)l->data)[i] = count != 0 ? count : 1;
    }
    int64_t dims[IR_MAX_RANK];
    for (int d = 0; d < w->n; d++)
        dims[d] = 2 + d;
    ir_value *v =
        ir_literal_is_splat(l) ? ir_scalar(n->b, IR_F64, *(double *)l->data) : ir_constant(n->b, l);
    return ir_broadcast(n->b, ir_convert(n->b, v, y->dtype), y->rank, y->dim, dims);
}

BUILD(average_pool)
{
    ir_window w;
    ir_value *y = pool_window(n, &w) ? ir_pool_sum(n->b, X, &w) : NULL;
    if (y)
        n->out[0] = ir_div(
            n->b, y, window_counts(n, &w, &y->type, onnx_int(n, "count_include_pad", 0) != 0));
}

BUILD(lp_pool)
{
    ir_window w;
    double p = (double)onnx_int(n, "p", 2);
    ir_value *y = pool_window(n, &w) ? ir_pool_sum(n->b, ir_abs_pow(n->b, X, p), &w) : NULL;
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
