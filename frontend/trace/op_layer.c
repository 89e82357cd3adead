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

static bool window_ok(trace_call *c, const ir_window *w)
{
    for (int i = 0; i < w->n; i++)
        if (!ir_window_ok(w, i) || w->low[i] < 0) {
            trace_wrong(c,
                        "invalid window: kernel %lld, stride %lld, padding %lld, dilation %lld in "
                        "spatial dimension %d",
                        (long long)w->size[i], (long long)w->stride[i], (long long)w->low[i],
                        (long long)w->dilation[i], i);
            return false;
        }
    return true;
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

/* x with a batch dimension; fills the window from the weights and s[0..2] (stride, padding,
 * dilation). NULL and reported if they do not fit. */
static ir_value *read_convolution(trace_call *c, ir_window *w, bool *added)
{
    int s = w->n = c->row->extra;
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
        !trace_numbers(c, "the dilation", c->s[2], s, 1, w->dilation))
        return NULL;
    memcpy(w->high, w->low, sizeof w->high);
    return window_ok(c, w) ? x : NULL;
}

TRACE_BUILD(conv)
{
    ir_window w = {0};
    bool added;
    ir_value *x = read_convolution(c, &w, &added);
    for (int i = 0; x && i < w.n; i++)
        if (ir_window_room(&w, i, x->type.dim[2 + i]) < 0) {
            trace_wrong(c, "weights %s are larger than %s with its padding", trace_text(c, W),
                        trace_text(c, X));
            return;
        }
    if (x)
        OUT = unbatched(c, add_bias(c, ir_convolve(c->b, x, W, &w, c->i[0]), 1), added);
}

TRACE_BUILD(conv_transpose)
{
    ir_window w = {0};
    bool added;
    int64_t extra[IR_MAX_RANK], g = c->i[0];
    ir_value *x = read_convolution(c, &w, &added);
    if (!x || !trace_numbers(c, "the output padding", c->s[3], w.n, 0, extra))
        return;
    if (!ir_transposed_fits(x, W, g)) {
        trace_wrong(c, "%s does not fit weights %s in %lld groups", trace_text(c, X),
                    trace_text(c, W), (long long)g);
        return;
    }
    for (int i = 0; i < w.n; i++) {
        if (extra[i] < 0 || (extra[i] >= w.stride[i] && extra[i] >= w.dilation[i])) {
            trace_wrong(c,
                        "output padding is %lld, expected 0 or more and less than the stride or "
                        "the dilation",
                        (long long)extra[i]);
            return;
        }
        int64_t full;
        if (!ir_transposed_extent(&w, i, x->type.dim[2 + i], extra[i], &full) ||
            full - 2 * w.low[i] < 1) {
            trace_wrong(c, "stride %lld and padding %lld make the result for %s empty or too large",
                        (long long)w.stride[i], (long long)w.low[i], trace_text(c, X));
            return;
        }
    }
    OUT = unbatched(c, add_bias(c, ir_convolve_transposed(c->b, x, W, &w, extra, g), 1), added);
}

/* ---- Pools ---- */

/* Fills the window from s[0..2] (kernel, stride, padding). */
static ir_value *read_pool(trace_call *c, ir_window *w, gradc_shape dilation, bool ceil,
                           bool *added)
{
    int s = w->n = c->row->extra;
    ir_value *x = batched(c, s, added);
    if (!x || !trace_numbers(c, "the kernel", c->s[0], s, 0, w->size) ||
        !trace_numbers(c, "the padding", c->s[2], s, 0, w->low) ||
        !trace_numbers(c, "the dilation", dilation, s, 1, w->dilation))
        return NULL;
    if (c->s[1].rank == 0)
        memcpy(w->stride, w->size, sizeof w->stride);
    else if (!trace_numbers(c, "the stride", c->s[1], s, 1, w->stride))
        return NULL;
    memcpy(w->high, w->low, sizeof w->high);
    if (!window_ok(c, w))
        return NULL;
    for (int i = 0; i < s; i++)
        if (w->low[i] > w->size[i] / 2 || ir_window_room(w, i, x->type.dim[2 + i]) < 0) {
            trace_wrong(c, "kernel %lld with padding %lld does not fit spatial dimension %d of %s",
                        (long long)w->size[i], (long long)w->low[i], i, trace_text(c, X));
            return NULL;
        }
    ir_count_windows(w, x, ceil);
    return x;
}

TRACE_BUILD(max_pool)
{
    ir_window w = {0};
    bool added;
    ir_value *x = read_pool(c, &w, c->s[3], c->i[0] != 0, &added);
    ir_inst *inst = ir_pool_max(c->b, x, &w);
    OUT = inst ? unbatched(c, ir_first_windows(c->b, inst->result[0], &w), added) : NULL;
}

/* Divides by the number of elements that each window covers; `padded`: padding counts, except what
 * ceil_mode added. */
static ir_value *divide_by_counts(trace_call *c, ir_value *y, const ir_value *x, const ir_window *w,
                                  bool padded)
{
    ir_builder *b = c->b;
    ir_value *counts = NULL;
    double same = 1;
    for (int d = 0; y && d < w->n; d++) {
        int64_t axis = 2 + d, end = x->type.dim[axis] + (padded ? w->high[d] : 0),
                first = padded ? -w->low[d] : 0;
        ir_type t = ir_type_of(y->type.dtype, 1, &y->type.dim[axis]);
        ir_literal *l = ir_literal_new(b->func->module->arena, &t);
        for (int64_t i = 0; i < t.dim[0]; i++)
            ir_literal_set(l, i, (double)ir_window_covers(w, d, i, first, end));
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
    ir_window w = {0};
    bool added;
    ir_value *x = read_pool(c, &w, GRADC_DIMS(), c->i[0] != 0, &added);
    if (x)
        OUT =
            unbatched(c, divide_by_counts(c, ir_pool_sum(c->b, x, &w), x, &w, c->i[1] != 0), added);
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
    ir_window w = {.n = c->row->extra};
    int s = w.n;
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
        w.count[i] = out[i];
        even &= extent % out[i] == 0;
        one &= out[i] == 1;
        axes[i] = 2 + i;
    }
    if (one && s > 1)
        c->grad_fn = "MeanBackward1";
    if (one) {
        x = ir_mean(c->b, x, s, axes, true);
    } else if (even) {
        x = divide_by_counts(c, ir_pool_sum(c->b, x, &w), x, &w, false);
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
