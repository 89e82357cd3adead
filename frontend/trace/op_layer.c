/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contractions, convolutions, pooling, attention. */
#include "frontend/trace/trace.h"
#include "ir/nn.h"

#include <math.h>

#define X c->v[0]
#define Y c->v[1]
#define W c->v[1]
#define BIAS c->v[2]
#define OUT c->out[0]

TRACE_BUILD(matmul)
{
    static const char *const names[2][2] = {{"DotBackward0", "SqueezeBackward4"},
                                            {"MvBackward0", "MmBackward0"}};
    int r = X->type.rank, s = Y->type.rank;
    if (r >= 1 && r <= 2 && s >= 1 && s <= 2)
        c->grad_fn = names[r - 1][s - 1];
    OUT = ir_matmul(c->b, X, Y);
}

TRACE_BUILD(outer)
{
    if (X->type.rank != 1 || Y->type.rank != 1) {
        trace_wrong(c, "expected two tensors of rank 1, got %s and %s", trace_text(c, X),
                    trace_text(c, Y));
        return;
    }
    int64_t shape[] = {X->type.dim[0], Y->type.dim[0]};
    OUT = ir_mul(c->b, ir_broadcast(c->b, X, 2, shape, (int64_t[]){0}),
                 ir_broadcast(c->b, Y, 2, shape, (int64_t[]){1}));
}

TRACE_BUILD(einsum)
{
    for (int i = 1; i < c->nin; i++)
        if (c->v[i]->type.dtype != X->type.dtype) {
            trace_wrong(c, "operands have different types, %s and %s", trace_text(c, X),
                        trace_text(c, c->v[i]));
            return;
        }
    OUT = ir_einsum(c->b, c->text ? c->text : "", c->v, c->nin);
}

/* Adds the bias along dimension d of y. */
static ir_value *add_bias(trace_call *c, ir_value *y, int d)
{
    int64_t axis = d;
    if (!y || !BIAS)
        return y;
    if (BIAS->type.rank != 1 || BIAS->type.dim[0] != y->type.dim[d]) {
        trace_wrong(c, "bias %s does not fit %s", trace_text(c, BIAS), trace_text(c, y));
        return NULL;
    }
    return ir_add(c->b, y, ir_broadcast(c->b, BIAS, y->type.rank, y->type.dim, &axis));
}

TRACE_BUILD(linear)
{
    int r = X->type.rank;
    int64_t last = r - 1, in = 1;
    if (r < 1 || W->type.rank != 2 || X->type.dim[last] != W->type.dim[1]) {
        trace_wrong(c, "expected x […, i] and weights [o, i], got %s and %s", trace_text(c, X),
                    trace_text(c, W));
        return;
    }
    if (r == 2)
        c->grad_fn = BIAS ? "AddmmBackward0" : "MmBackward0";
    else
        c->grad_fn = BIAS ? "ViewBackward0" : r == 1 ? "SqueezeBackward4" : c->grad_fn;
    OUT = add_bias(c, ir_dot_general(c->b, X, W, 0, NULL, NULL, 1, &last, &in), r - 1);
}

/* ---- Windows ---- */

typedef struct window { /* one entry per spatial dimension */
    int spatial;
    int64_t size[IR_MAX_RANK], stride[IR_MAX_RANK], dilation[IR_MAX_RANK], low[IR_MAX_RANK],
        high[IR_MAX_RANK];
} window;

static bool window_ok(trace_call *c, const window *w)
{
    const int64_t limit = 1 << 30;
    for (int i = 0; i < w->spatial; i++)
        if (w->size[i] < 1 || w->stride[i] < 1 || w->dilation[i] < 1 || w->low[i] < 0 ||
            w->size[i] > limit || w->stride[i] > limit || w->dilation[i] > limit ||
            w->low[i] > limit) {
            trace_wrong(c,
                        "invalid window: kernel %lld, stride %lld, padding %lld, dilation %lld in "
                        "spatial dimension %d",
                        (long long)w->size[i], (long long)w->stride[i], (long long)w->low[i],
                        (long long)w->dilation[i], i);
            return false;
        }
    return true;
}

static int64_t span_of(const window *w, int i)
{
    return (w->size[i] - 1) * w->dilation[i] + 1;
}

/* x with a dimension for the batch, which is added if it has none. */
static ir_value *batched(trace_call *c, int spatial, bool *added)
{
    int64_t shape[IR_MAX_RANK] = {1};
    *added = X->type.rank == spatial + 1;
    if (X->type.rank != spatial + 2 && !*added) {
        trace_wrong(c, "expected %d or %d dimensions, got %s", spatial + 1, spatial + 2,
                    trace_text(c, X));
        return NULL;
    }
    if (!*added)
        return X;
    memcpy(shape + 1, X->type.dim, (size_t)(spatial + 1) * sizeof *shape);
    return ir_reshape(c->b, X, spatial + 2, shape);
}

static ir_value *unbatched(trace_call *c, ir_value *y, bool added)
{
    return y && added ? ir_reshape(c->b, y, y->type.rank - 1, y->type.dim + 1) : y;
}

/* ---- Convolutions ---- */

static ir_value *convolve(trace_call *c, ir_value *x, ir_value *w, const window *k,
                          const int64_t *lhs_dilation, int64_t groups)
{
    int64_t order[IR_MAX_RANK], ones[IR_MAX_RANK];
    int s = k->spatial;
    for (int i = 0; i < s + 2; i++) {
        order[i] = i;
        ones[i] = 1;
    }
    ir_builder *b = c->b;
    ir_ints o = ir_ints_of(b, s + 2, order);
    return ir_build1(b, IR_OP_convolution, (ir_value *[]){x, w}, 2,
                     &(ir_attrs){.convolution = {.lhs = o,
                                                 .rhs = o,
                                                 .out = o,
                                                 .stride = ir_ints_of(b, s, k->stride),
                                                 .low = ir_ints_of(b, s, k->low),
                                                 .high = ir_ints_of(b, s, k->high),
                                                 .lhs_dilation = ir_ints_of(
                                                     b, s, lhs_dilation ? lhs_dilation : ones),
                                                 .rhs_dilation = ir_ints_of(b, s, k->dilation),
                                                 .feature_groups = groups,
                                                 .batch_groups = 1}});
}

/* x with a batch dimension; fills the window from the weights and s[0..2] (stride, padding,
 * dilation). NULL and reported if they do not fit. */
static ir_value *read_convolution(trace_call *c, window *w, bool *added)
{
    int s = w->spatial = c->row->extra;
    ir_value *x = batched(c, s, added);
    if (!x)
        return NULL;
    if (*added)
        c->grad_fn = "SqueezeBackward1";
    if (W->type.rank != s + 2 || c->i[0] < 1 || c->i[0] > 1 << 30) {
        trace_wrong(c, "%s does not fit weights %s in %lld groups", trace_text(c, X),
                    trace_text(c, W), (long long)c->i[0]);
        return NULL;
    }
    memcpy(w->size, W->type.dim + 2, (size_t)s * sizeof *w->size);
    if (!trace_numbers(c, "the stride", c->s[0], s, 1, w->stride) ||
        !trace_numbers(c, "the padding", c->s[1], s, 0, w->low) ||
        !trace_numbers(c, "the dilation", c->s[2], s, 1, w->dilation) || !window_ok(c, w))
        return NULL;
    memcpy(w->high, w->low, sizeof w->high);
    return x;
}

TRACE_BUILD(conv)
{
    window w = {0};
    bool added;
    ir_value *x = read_convolution(c, &w, &added);
    for (int i = 0; x && i < w.spatial; i++)
        if (x->type.dim[2 + i] + 2 * w.low[i] < span_of(&w, i)) {
            trace_wrong(c, "weights %s are larger than %s with its padding", trace_text(c, W),
                        trace_text(c, X));
            return;
        }
    if (x)
        OUT = unbatched(c, add_bias(c, convolve(c, x, W, &w, NULL, c->i[0]), 1), added);
}

/* Weights [C, O/g, k…] as those of the equivalent convolution with input dilation: [O, C/g, k…],
 * reversed. */
static ir_value *turn_weights(trace_call *c, int spatial, int64_t g)
{
    ir_builder *b = c->b;
    const int64_t *dim = W->type.dim;
    int rank = spatial + 2;
    int64_t axes[IR_MAX_RANK], split[IR_MAX_RANK + 1] = {g, dim[0] / g}, perm[IR_MAX_RANK + 1],
                                                   shape[IR_MAX_RANK] = {dim[1] * g, dim[0] / g};
    for (int i = 0; i < spatial; i++)
        axes[i] = 2 + i;
    memcpy(split + 2, dim + 1, (size_t)(rank - 1) * sizeof *split);
    memcpy(shape + 2, dim + 2, (size_t)spatial * sizeof *shape);
    for (int i = 0; i <= rank; i++)
        perm[i] = i == 1 ? 2 : i == 2 ? 1 : i;
    ir_value *w = ir_reshape(b, ir_reverse(b, W, spatial, axes), rank + 1, split);
    return ir_reshape(b, ir_transpose(b, w, perm), rank, shape);
}

TRACE_BUILD(conv_transpose)
{
    window w = {0};
    bool added;
    int64_t extra[IR_MAX_RANK], dilation[IR_MAX_RANK], g = c->i[0];
    ir_value *x = read_convolution(c, &w, &added);
    if (!x || !trace_numbers(c, "the output padding", c->s[3], w.spatial, 0, extra))
        return;
    if (W->type.dim[0] != x->type.dim[1] || W->type.dim[0] % g) {
        trace_wrong(c, "%s does not fit weights %s in %lld groups", trace_text(c, X),
                    trace_text(c, W), (long long)g);
        return;
    }
    for (int i = 0; i < w.spatial; i++) {
        if (extra[i] < 0 || (extra[i] >= w.stride[i] && extra[i] >= w.dilation[i])) {
            trace_wrong(c,
                        "output padding is %lld, expected 0 or more and less than the stride or "
                        "the dilation",
                        (long long)extra[i]);
            return;
        }
        int64_t extent = x->type.dim[2 + i], full;
        if (extent < 1 || !base_size_mul(w.stride[i], extent - 1, &full) ||
            full > IR_MAX_TENSOR_BYTES || full + span_of(&w, i) + extra[i] - 2 * w.low[i] < 1) {
            trace_wrong(c, "stride %lld and padding %lld make the result for %s empty or too large",
                        (long long)w.stride[i], (long long)w.low[i], trace_text(c, X));
            return;
        }
        dilation[i] = w.stride[i];
        w.stride[i] = 1;
        w.low[i] = span_of(&w, i) - 1 - w.low[i];
        w.high[i] = w.low[i] + extra[i];
    }
    OUT = unbatched(
        c, add_bias(c, convolve(c, x, turn_weights(c, w.spatial, g), &w, dilation, g), 1), added);
}

/* ---- Pools ---- */

/* Fills the window from s[0..2] (kernel, stride, padding) and `out` with the number of windows;
 * ceil_mode adds padding on the high side, unless the last window would start in it. */
static ir_value *read_pool(trace_call *c, window *w, gradc_shape dilation, bool ceil, bool *added,
                           int64_t *out)
{
    int s = w->spatial = c->row->extra;
    ir_value *x = batched(c, s, added);
    if (!x || !trace_numbers(c, "the kernel", c->s[0], s, 0, w->size) ||
        !trace_numbers(c, "the padding", c->s[2], s, 0, w->low) ||
        !trace_numbers(c, "the dilation", dilation, s, 1, w->dilation))
        return NULL;
    if (c->s[1].rank == 0)
        memcpy(w->stride, w->size, sizeof w->stride);
    else if (!trace_numbers(c, "the stride", c->s[1], s, 1, w->stride))
        return NULL;
    if (!window_ok(c, w))
        return NULL;
    for (int i = 0; i < s; i++) {
        int64_t extent = x->type.dim[2 + i], room = extent + 2 * w->low[i] - span_of(w, i),
                step = w->stride[i];
        if (w->low[i] > w->size[i] / 2 || room < 0) {
            trace_wrong(c, "kernel %lld with padding %lld does not fit spatial dimension %d of %s",
                        (long long)w->size[i], (long long)w->low[i], i, trace_text(c, X));
            return NULL;
        }
        out[i] = (room + (ceil ? step - 1 : 0)) / step + 1;
        if (ceil && (out[i] - 1) * step >= extent + w->low[i])
            out[i]--;
        int64_t due = (out[i] - 1) * step + span_of(w, i) - extent - w->low[i];
        w->high[i] = due > w->low[i] ? due : w->low[i];
    }
    return x;
}

/* The first `out` windows: high padding may have added one more. */
static ir_value *first_windows(trace_call *c, ir_value *y, const int64_t *out)
{
    int64_t from[IR_MAX_RANK] = {0}, to[IR_MAX_RANK];
    if (!y)
        return NULL;
    memcpy(to, y->type.dim, sizeof to);
    memcpy(to + 2, out, (size_t)(y->type.rank - 2) * sizeof *out);
    return ir_slice(c->b, y, from, to, NULL);
}

TRACE_BUILD(max_pool)
{
    window w = {0};
    bool added;
    int64_t out[IR_MAX_RANK];
    ir_value *x = read_pool(c, &w, c->s[3], c->i[0] != 0, &added, out);
    if (!x)
        return;
    int s = w.spatial;
    ir_attrs attrs = {.arg_window = {.combine = IR_MAX,
                                     .window = ir_spatial_ints(c->b, s, w.size, 1),
                                     .stride = ir_spatial_ints(c->b, s, w.stride, 1),
                                     .low = ir_spatial_ints(c->b, s, w.low, 0),
                                     .high = ir_spatial_ints(c->b, s, w.high, 0),
                                     .window_dilation = ir_spatial_ints(c->b, s, w.dilation, 1)}};
    ir_inst *inst = ir_build(c->b, IR_OP_arg_window, &x, 1, &attrs);
    OUT = inst ? unbatched(c, first_windows(c, inst->result[0], out), added) : NULL;
}

static ir_value *window_sum(trace_call *c, ir_value *x, const window *w)
{
    int64_t ones[IR_MAX_RANK];
    int s = w->spatial;
    for (int i = 0; i < s; i++)
        ones[i] = 1;
    ir_ints one = ir_spatial_ints(c->b, s, ones, 1);
    ir_attrs attrs = {.reduce_window = {.combine = IR_SUM,
                                        .window = ir_spatial_ints(c->b, s, w->size, 1),
                                        .stride = ir_spatial_ints(c->b, s, w->stride, 1),
                                        .low = ir_spatial_ints(c->b, s, w->low, 0),
                                        .high = ir_spatial_ints(c->b, s, w->high, 0),
                                        .base_dilation = one,
                                        .window_dilation = one}};
    return ir_build1(c->b, IR_OP_reduce_window, &x, 1, &attrs);
}

/* Divides by the number of elements that each window covers; `padded`: padding counts, except what
 * ceil_mode added. */
static ir_value *divide_by_counts(trace_call *c, ir_value *y, const ir_value *x, const window *w,
                                  bool padded)
{
    ir_builder *b = c->b;
    ir_value *counts = NULL;
    double same = 1;
    for (int d = 0; y && d < w->spatial; d++) {
        int64_t axis = 2 + d, end = x->type.dim[axis] + (padded ? w->low[d] : 0),
                first = padded ? -w->low[d] : 0;
        ir_type t = ir_type_of(y->type.dtype, 1, &y->type.dim[axis]);
        ir_literal *l = ir_literal_new(b->func->module->arena, &t);
        for (int64_t i = 0; i < t.dim[0]; i++) {
            int64_t low = i * w->stride[d] - w->low[d], high = low + w->size[d];
            low = low < first ? first : low;
            high = high > end ? end : high;
            ir_literal_set(l, i, (double)(high - low));
        }
        if (ir_literal_is_splat(l) && t.dim[0])
            same *= ir_literal_get(l, 0);
        else {
            ir_value *count = ir_broadcast(b, ir_constant(b, l), y->type.rank, y->type.dim, &axis);
            counts = counts ? ir_mul(b, counts, count) : count;
        }
    }
    return ir_div(b, y, counts ? ir_times(c->b, counts, same) : ir_like(c->b, y, same));
}

TRACE_BUILD(avg_pool)
{
    window w = {0};
    bool added;
    int64_t out[IR_MAX_RANK];
    ir_value *x = read_pool(c, &w, GRADC_DIMS(), c->i[0] != 0, &added, out);
    if (x)
        OUT = unbatched(
            c,
            divide_by_counts(c, first_windows(c, window_sum(c, x, &w), out), x, &w, c->i[1] != 0),
            added);
}

/* Window i of n over an extent e goes from floor(i e / n) to ceil((i + 1) e / n). Dimension d is
 * contracted with a matrix [n, e] of the windows' weights. */
static ir_value *adapt(trace_call *c, ir_value *x, int d, int64_t n)
{
    ir_builder *b = c->b;
    int64_t e = x->type.dim[d], from = d, to = 1, shape[] = {n, e};
    ir_type t = ir_type_of(x->type.dtype, 2, shape);
    ir_literal *l = ir_literal_new(b->func->module->arena, &t);
    for (int64_t i = 0; i < n; i++) {
        int64_t low = i * e / n, high = ((i + 1) * e + n - 1) / n;
        for (int64_t k = low; k < high; k++)
            ir_literal_set(l, i * e + k, 1 / (double)(high - low));
    }
    ir_value *y = ir_dot_general(b, x, ir_constant(b, l), 0, NULL, NULL, 1, &from, &to);
    return y ? ir_move_axis(c->b, y, y->type.rank - 1, d) : NULL;
}

TRACE_BUILD(adaptive)
{
    window w = {.spatial = c->row->extra};
    int s = w.spatial;
    int64_t out[IR_MAX_RANK], axes[IR_MAX_RANK];
    bool added, even = true, one = true;
    ir_value *x = batched(c, s, &added);
    if (!x || !trace_numbers(c, "the shape", c->s[0], s, -1, out))
        return;
    for (int i = 0; i < s; i++) {
        int64_t extent = x->type.dim[2 + i];
        out[i] = out[i] == -1 ? extent : out[i];
        if (out[i] < 1 || out[i] > 1 << 20 || extent < 1) {
            trace_wrong(c, "invalid output size %lld for spatial dimension %d of %s",
                        (long long)out[i], i, trace_text(c, X));
            return;
        }
        w.size[i] = w.stride[i] = extent / out[i];
        w.dilation[i] = 1;
        even &= extent % out[i] == 0;
        one &= out[i] == 1;
        axes[i] = 2 + i;
    }
    if (one && s > 1)
        c->grad_fn = "MeanBackward1";
    if (one) {
        x = ir_mean(c->b, x, s, axes, true);
    } else if (even) {
        x = divide_by_counts(c, window_sum(c, x, &w), x, &w, false);
    } else {
        for (int i = 0; i < s && x; i++)
            x = out[i] == x->type.dim[2 + i] ? x : adapt(c, x, 2 + i, out[i]);
    }
    OUT = unbatched(c, x, added);
}

/* ---- Attention ---- */

TRACE_BUILD(attention)
{
    ir_builder *b = c->b;
    ir_value *q = X, *k = Y, *v = c->v[2], *mask = c->v[3];
    int r = k->type.rank;
    if (q->type.rank == 4)
        c->grad_fn = "ScaledDotProductFlashAttentionForCpuBackward0";
    if (q->type.rank < 2 || r < 2 || v->type.rank < 2 ||
        q->type.dim[q->type.rank - 1] != k->type.dim[r - 1] || !q->type.dim[q->type.rank - 1] ||
        !ir_is_float(q->type.dtype)) {
        trace_wrong(c, "expected q […, l, e], k […, s, e] and v […, s, f], got %s, %s and %s",
                    trace_text(c, q), trace_text(c, k), trace_text(c, v));
        return;
    }
    int64_t perm[IR_MAX_RANK];
    for (int i = 0; i < r; i++)
        perm[i] = i < r - 2 ? i : i == r - 2 ? r - 1 : r - 2;
    ir_value *s = ir_matmul(b, ir_times(c->b, q, 1 / sqrt((double)k->type.dim[r - 1])),
                            ir_transpose(b, k, perm));
    if (!s)
        return;
    int rank = s->type.rank;
    ir_value *hidden = ir_like(c->b, s, -INFINITY);
    if (c->i[0]) {
        ir_value *row = ir_iota(b, IR_I64, rank, s->type.dim, rank - 2),
                 *column = ir_iota(b, IR_I64, rank, s->type.dim, rank - 1);
        s = ir_select(b, ir_compare(b, IR_LE, column, row), s, hidden);
    }
    if (mask) {
        mask = ir_broadcast_like(c->b, mask, s);
        s = mask && mask->type.dtype == IR_BOOL ? ir_select(b, mask, s, hidden)
                                                : ir_add(b, s, mask);
    }
    OUT = ir_matmul(b, ir_softmax(c->b, s, rank - 1), v);
}
