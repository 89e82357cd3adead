/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Operations on shapes. */
#include "frontend/trace/trace.h"
#include "ir/nn.h"

#define X c->v[0]
#define RANK c->v[0]->type.rank
#define DIM c->v[0]->type.dim
#define OUT c->out[0]

TRACE_BUILD(identity)
{
    OUT = ir_copy(c->b, X);
}

TRACE_BUILD(detach)
{
    OUT = ir_stop_gradient(c->b, X);
}

TRACE_BUILD(to)
{
    if (c->i[0] < 0 || c->i[0] >= IR_DTYPES)
        trace_wrong(c, "unknown element type %lld", (long long)c->i[0]);
    else
        OUT = ir_convert(c->b, X, (ir_dtype)c->i[0]);
}

/* One extent may be -1. */
TRACE_BUILD(reshape)
{
    gradc_shape s = c->s[0];
    int64_t known = 1, count = ir_count(&X->type);
    int open = -1;
    bool fits = true;
    for (int i = 0; i < s.rank; i++) {
        if (s.dim[i] == -1 && open < 0)
            open = i;
        else
            fits &= s.dim[i] >= 0 && base_size_mul(known, s.dim[i], &known);
    }
    if (open >= 0 && fits && known && count % known == 0)
        known *= s.dim[open] = count / known;
    if (fits && known == count && (open < 0 || s.dim[open] >= 0)) {
        OUT = ir_reshape(c->b, X, s.rank, s.dim);
        return;
    }
    char text[400] = "";
    for (int i = 0, at = 0; i < c->s[0].rank; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%lld", i ? "," : "",
                       (long long)c->s[0].dim[i]);
    trace_wrong(c, "cannot reshape %s to [%s]", trace_text(c, X), text);
}

TRACE_BUILD(flatten)
{
    int first, last;
    ir_type t = {0};
    if (RANK == 0) {
        OUT = ir_reshape(c->b, X, 1, (int64_t[]){1});
        return;
    }
    if (!trace_dim(c, c->i[0], RANK, &first) || !trace_dim(c, c->i[1], RANK, &last))
        return;
    if (last < first) {
        trace_wrong(c, "the first dimension, %d, is after the last, %d", first, last);
        return;
    }
    for (int i = 0; i < RANK; i++)
        if (i <= first || i > last)
            t.dim[t.rank++] = DIM[i];
        else
            t.dim[first] *= DIM[i];
    OUT = ir_reshape(c->b, X, t.rank, t.dim);
}

TRACE_BUILD(permute)
{
    int64_t perm[IR_MAX_RANK];
    uint32_t seen = 0;
    for (int i = 0, d; i < c->s[0].rank; i++) {
        if (!trace_dim(c, c->s[0].dim[i], RANK, &d))
            return;
        perm[i] = d;
        seen |= 1u << d;
    }
    if (c->s[0].rank != RANK || seen != (1u << RANK) - 1)
        trace_wrong(c, "expected a permutation of the %d dimensions of %s", RANK, trace_text(c, X));
    else
        OUT = ir_transpose(c->b, X, perm);
}

static ir_value *swap(trace_call *c, int d, int e)
{
    int64_t perm[IR_MAX_RANK];
    for (int i = 0; i < RANK; i++)
        perm[i] = i == d ? e : i == e ? d : i;
    return ir_transpose(c->b, X, perm);
}

TRACE_BUILD(transpose)
{
    int d, e;
    if (RANK == 0)
        OUT = X;
    else if (trace_dim(c, c->i[0], RANK, &d) && trace_dim(c, c->i[1], RANK, &e))
        OUT = swap(c, d, e);
}

TRACE_BUILD(t)
{
    if (RANK > 2)
        trace_wrong(c, "%s has more than two dimensions", trace_text(c, X));
    else
        OUT = RANK == 2 ? swap(c, 0, 1) : X;
}

TRACE_BUILD(squeeze)
{
    int64_t dims[IR_MAX_RANK];
    ir_type t = {0};
    int n;
    if (!trace_dims(c, c->s[0], RANK, dims, &n))
        return;
    c->grad_fn = c->s[0].rank == 0   ? "SqueezeBackward0"
                 : c->s[0].rank == 1 ? "SqueezeBackward1"
                                     : c->grad_fn;
    for (int i = 0, k = 0; i < RANK; i++) {
        bool named = k < n && dims[k] == i;
        k += named;
        if (!named || DIM[i] != 1)
            t.dim[t.rank++] = DIM[i];
    }
    OUT = ir_reshape(c->b, X, t.rank, t.dim);
}

/* x with a dimension of extent 1 before dimension d; NULL and reported if the rank is at the
 * limit. */
static ir_value *unsqueeze(trace_call *c, ir_value *x, int d)
{
    ir_type t = x->type;
    if (t.rank == IR_MAX_RANK) {
        trace_wrong(c, "cannot add a dimension to %s", trace_text(c, x));
        return NULL;
    }
    memmove(t.dim + d + 1, t.dim + d, (size_t)(t.rank - d) * sizeof *t.dim);
    t.dim[d] = 1;
    return ir_reshape(c->b, x, t.rank + 1, t.dim);
}

TRACE_BUILD(unsqueeze)
{
    int d;
    if (trace_dim(c, c->i[0], RANK + 1, &d))
        OUT = unsqueeze(c, X, d);
}

TRACE_BUILD(expand)
{
    gradc_shape s = c->s[0];
    for (int i = 0; i < s.rank; i++) {
        int mine = i - (s.rank - RANK);
        if (s.dim[i] == -1 && mine >= 0)
            s.dim[i] = DIM[mine];
    }
    OUT = ir_broadcast_to(c->b, X, s.rank, s.dim);
}

/* ---- Parts ---- */

TRACE_BUILD(narrow)
{
    int d;
    if (!trace_dim(c, c->i[0], RANK, &d))
        return;
    int64_t extent = DIM[d], start = c->i[1] < 0 ? c->i[1] + extent : c->i[1], length = c->i[2];
    if (start < 0 || length < 0 || start > extent || length > extent - start)
        trace_wrong(c, "%lld elements from %lld on do not fit dimension %d of %s",
                    (long long)length, (long long)c->i[1], d, trace_text(c, X));
    else
        OUT = ir_slice_axis(c->b, X, d, start, start + length);
}

/* A slice bound as in Python. */
static int64_t bound(int64_t v, int64_t extent)
{
    v = v < 0 ? v + extent : v;
    return v < 0 ? 0 : v > extent ? extent : v;
}

TRACE_BUILD(slice)
{
    int d;
    int64_t from[IR_MAX_RANK] = {0}, to[IR_MAX_RANK], step[IR_MAX_RANK];
    if (!trace_dim(c, c->i[0], RANK, &d))
        return;
    if (c->i[3] < 1) {
        trace_wrong(c, "the step is %lld, expected 1 or more", (long long)c->i[3]);
        return;
    }
    for (int i = 0; i < RANK; i++) {
        to[i] = DIM[i];
        step[i] = 1;
    }
    from[d] = bound(c->i[1], DIM[d]);
    to[d] = bound(c->i[2], DIM[d]);
    to[d] = to[d] < from[d] ? from[d] : to[d];
    step[d] = c->i[3];
    OUT = ir_slice(c->b, X, from, to, step);
}

TRACE_BUILD(select)
{
    int d;
    if (!trace_dim(c, c->i[0], RANK, &d))
        return;
    int64_t i = c->i[1] < 0 ? c->i[1] + DIM[d] : c->i[1];
    if (i < 0 || i >= DIM[d]) {
        trace_wrong(c, "index %lld is out of range for dimension %d of %s", (long long)c->i[1], d,
                    trace_text(c, X));
        return;
    }
    ir_type t = X->type;
    memmove(t.dim + d, t.dim + d + 1, (size_t)(t.rank - d - 1) * sizeof *t.dim);
    OUT = ir_reshape(c->b, ir_slice_axis(c->b, X, d, i, i + 1), t.rank - 1, t.dim);
}

TRACE_BUILD(flip)
{
    int64_t dims[IR_MAX_RANK];
    int n = 0;
    if (c->s[0].rank && !trace_dims(c, c->s[0], RANK, dims, &n))
        return;
    OUT = ir_reverse(c->b, X, n, dims);
}

TRACE_BUILD(roll)
{
    int d;
    if (!trace_dim(c, c->i[0], RANK, &d))
        return;
    int64_t extent = DIM[d], shift = extent ? (c->i[1] % extent + extent) % extent : 0;
    ir_value *parts[] = {ir_slice_axis(c->b, X, d, extent - shift, extent),
                         ir_slice_axis(c->b, X, d, 0, extent - shift)};
    OUT = shift ? ir_concat(c->b, parts, 2, d) : X;
}

/* For each dimension, x is flattened to [before, rest], broadcast to [before, times, rest] and
 * reshaped to the result; `rest` starts with the dimension. */
TRACE_BUILD(repeat)
{
    gradc_shape times = c->s[0];
    ir_value *x = X;
    if (times.rank < RANK) {
        trace_wrong(c, "%d repeat counts are fewer than the dimensions of %s", times.rank,
                    trace_text(c, X));
        return;
    }
    ir_type t = {.rank = times.rank};
    for (int i = 0; i < t.rank; i++)
        t.dim[i] = i < t.rank - RANK ? 1 : DIM[i - t.rank + RANK];
    x = ir_reshape(c->b, x, t.rank, t.dim);
    for (int d = 0; d < t.rank; d++) {
        int64_t n = times.dim[d];
        if (n < 0 || n > IR_MAX_TENSOR_BYTES) {
            trace_wrong(c, "invalid repeat count %lld", (long long)n);
            return;
        }
        if (n == 1 || !x)
            continue;
        int64_t parts[] = {1, n, 1}, dims[] = {0, 2};
        for (int i = 0; i < t.rank; i++)
            parts[i < d ? 0 : 2] *= x->type.dim[i];
        ir_value *piece = ir_reshape(c->b, x, 2, (int64_t[]){parts[0], parts[2]});
        ir_type joined = x->type;
        if (!base_size_mul(joined.dim[d], n, &joined.dim[d])) {
            trace_wrong(c, "%lld times %s is too large", (long long)n, trace_text(c, x));
            return;
        }
        x = ir_reshape(c->b, ir_broadcast(c->b, piece, 3, parts, dims), t.rank, joined.dim);
    }
    OUT = x;
}

static ir_value *triangle(trace_call *c, bool upper)
{
    if (RANK >= 2)
        return ir_triangle(c->b, X, c->i[0], upper);
    trace_wrong(c, "%s has fewer than two dimensions", trace_text(c, X));
    return NULL;
}

TRACE_BUILD(tril)
{
    OUT = triangle(c, false);
}

TRACE_BUILD(triu)
{
    OUT = triangle(c, true);
}

TRACE_BUILD(pad)
{
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0};
    gradc_shape p = c->s[0];
    if (p.rank % 2 || p.rank / 2 > RANK) {
        trace_wrong(c, "%d padding numbers do not fit %s", p.rank, trace_text(c, X));
        return;
    }
    for (int i = 0; i < p.rank / 2; i++) {
        low[RANK - 1 - i] = p.dim[2 * i];
        high[RANK - 1 - i] = p.dim[2 * i + 1];
    }
    OUT = ir_pad(c->b, X, ir_scalar(c->b, X->type.dtype, c->n[0]), low, high, NULL);
}

/* ---- Several ---- */

/* Empty operands of rank 1 are skipped, as in torch, unless there are no others. */
TRACE_BUILD(cat)
{
    int d, n = 0;
    for (int i = 0; i < c->nin; i++)
        if (c->v[i]->type.rank != 1 || c->v[i]->type.dim[0])
            c->v[n++] = c->v[i];
    if (trace_dim(c, c->i[0], RANK, &d))
        OUT = ir_concat(c->b, c->v, n ? n : 1, d);
}

TRACE_BUILD(stack)
{
    int d;
    if (!trace_dim(c, c->i[0], RANK + 1, &d))
        return;
    for (int i = c->nin - 1; i >= 0; i--) {
        if (!ir_shape_eq(&c->v[i]->type, &X->type)) {
            trace_wrong(c, "tensors differ in shape: %s and %s", trace_text(c, X),
                        trace_text(c, c->v[i]));
            return;
        }
        c->v[i] = unsqueeze(c, c->v[i], d);
        if (!c->v[i])
            return;
    }
    OUT = ir_concat(c->b, c->v, c->nin, d);
}

/* ---- Pieces ---- */

/* Pieces of `size` along d (valid). */
static int pieces(gradc *g, const trace_row *row, gradc_tensor *x, int64_t size, int d,
                  gradc_tensor **out, int max)
{
    int64_t extent = x->type.dim[d], n = extent ? (extent - 1) / size + 1 : 1;
    if (n > max) {
        trace_error(g, row->name, "%lld pieces do not fit an array of %d", (long long)n, max);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        int64_t start = i * size, length = extent - start < size ? extent - start : size;
        out[i] = trace_apply(
            &(trace_call){.g = g, .row = row, .in = &x, .nin = 1, .i = {d, start, length}});
        if (!out[i])
            return -1;
    }
    return (int)n;
}

static int split(gradc *g, const trace_row *row, gradc_tensor *x, int64_t size, bool count, int dim,
                 gradc_tensor **out, int max)
{
    int rank = gradc_rank(x), d = dim < 0 ? dim + rank : dim;
    for (int i = 0; out && i < max; i++)
        out[i] = NULL;
    if (!g || (!x && g->failed) || !trace_mine(g, row->name, x))
        return -1;
    if (d < 0 || d >= rank || size < 1 || !out) {
        trace_error(g, row->name, "cannot split by %lld along dimension %d of a tensor of rank %d",
                    (long long)size, dim, rank);
        return -1;
    }
    if (count)
        size = x->type.dim[d] ? (x->type.dim[d] - 1) / size + 1 : 1;
    return pieces(g, row, x, size, d, out, max);
}

int gradc_split(gradc *g, gradc_tensor *x, int64_t size, int dim, gradc_tensor **out, int max)
{
    static const trace_row row = {
        .name = "gradc_split", .grad_fn = "SplitBackward0", .build = trace_build_narrow};
    return split(g, &row, x, size, false, dim, out, max);
}

int gradc_chunk(gradc *g, gradc_tensor *x, int64_t chunks, int dim, gradc_tensor **out, int max)
{
    static const trace_row row = {
        .name = "gradc_chunk", .grad_fn = "SplitBackward0", .build = trace_build_narrow};
    return split(g, &row, x, chunks, true, dim, out, max);
}
