/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Operators that move elements, make constants, or hold sequences. */
#include "frontend/onnx/reader.h"
#include "ir/nn.h"

#define BUILD(name) void onnx_build_##name(onnx_node *n)
#define X n->in[0]
#define RANK X->type.rank
#define DIM X->type.dim

BUILD(reshape)
{
    ir_ints want;
    int64_t shape[IR_MAX_RANK], known = 1, total = ir_count(&X->type);
    int infer = -1;
    bool zero = onnx_int(n, "allowzero", 0) != 0;
    if (!onnx_const_ints(n, 1, "shape", &want))
        return;
    if (want.n > IR_MAX_RANK) {
        onnx_error(n, "the result's rank %d is above the limit of %d", want.n, IR_MAX_RANK);
        return;
    }
    for (int i = 0; i < want.n; i++) {
        shape[i] = want.v[i] == 0 && !zero && i < RANK ? DIM[i] : want.v[i];
        if (shape[i] == -1 && infer < 0)
            infer = i;
        else if (shape[i] < 0 || !base_size_mul(known, shape[i], &known)) {
            onnx_error(n, "invalid dimension %d of the new shape: %lld", i, (long long)want.v[i]);
            return;
        }
    }
    if (infer >= 0) {
        if (!known || total % known) {
            onnx_error(n, "cannot infer the dimension -1 of the new shape from %s",
                       onnx_type_text(n, X));
            return;
        }
        shape[infer] = total / known;
    }
    n->out[0] = ir_reshape(n->b, X, want.n, shape);
}

BUILD(flatten)
{
    int64_t axis = onnx_int(n, "axis", 1), rows = 1, columns = 1;
    if (axis != RANK && !onnx_axis(n, axis, RANK, &axis))
        return;
    for (int i = 0; i < RANK; i++)
        *(i < axis ? &rows : &columns) *= DIM[i];
    n->out[0] = ir_reshape(n->b, X, 2, (int64_t[]){rows, columns});
}

BUILD(squeeze)
{
    ir_ints raw;
    bool given;
    int64_t axes[IR_MAX_RANK], shape[IR_MAX_RANK];
    int k, rank = 0;
    if (!onnx_axes_from(n, "axes", 1, &raw, &given) || !onnx_axes(n, raw, RANK, axes, &k))
        return;
    for (int i = 0, j = 0; i < RANK; i++) {
        bool drop = given ? j < k && axes[j] == i : DIM[i] == 1;
        j += drop;
        if (drop && DIM[i] != 1) {
            onnx_error(n, "dimension %d of %s is not 1", i, onnx_type_text(n, X));
            return;
        }
        if (!drop)
            shape[rank++] = DIM[i];
    }
    n->out[0] = ir_reshape(n->b, X, rank, shape);
}

BUILD(unsqueeze)
{
    ir_ints raw;
    bool given;
    int64_t axes[IR_MAX_RANK], shape[IR_MAX_RANK];
    int k, rank;
    if (!onnx_axes_from(n, "axes", 1, &raw, &given))
        return;
    rank = RANK + (raw.n > IR_MAX_RANK ? IR_MAX_RANK + 1 : raw.n);
    if (!given || rank > IR_MAX_RANK) {
        onnx_error(n, given ? "the result's rank is above the limit of 16" : "axes are missing");
        return;
    }
    if (!onnx_axes(n, raw, rank, axes, &k))
        return;
    for (int i = 0, j = 0, d = 0; i < rank; i++)
        shape[i] = j < k && axes[j] == i ? (j++, 1) : DIM[d++];
    n->out[0] = ir_reshape(n->b, X, rank, shape);
}

BUILD(transpose)
{
    ir_ints perm;
    int64_t p[IR_MAX_RANK];
    uint32_t seen = 0;
    bool given = onnx_ints(n, "perm", &perm);
    if (n->failed || (given && perm.n != RANK)) {
        onnx_error(n, "perm has %d entries, which do not match the rank of %s", perm.n,
                   onnx_type_text(n, X));
        return;
    }
    for (int i = 0; i < RANK; i++) {
        p[i] = given ? perm.v[i] : RANK - 1 - i;
        if (p[i] < 0 || p[i] >= RANK || seen >> p[i] & 1) {
            onnx_error(n, "perm is not a permutation of the %d dimensions", RANK);
            return;
        }
        seen |= 1u << p[i];
    }
    n->out[0] = ir_transpose(n->b, X, p);
}

BUILD(concat)
{
    int64_t axis;
    if (!onnx_has(n, "axis"))
        onnx_error(n, "attribute 'axis' is missing");
    else if (onnx_axis(n, onnx_int(n, "axis", 0), RANK, &axis))
        n->out[0] = ir_concat(n->b, n->in, n->nin, (int)axis);
}

/* Sizes of the parts of a dimension; false and reported if they do not add up. */
static bool parts(onnx_node *n, int64_t extent, int count, int64_t *size)
{
    ir_ints given = {0};
    bool is_given = onnx_ints(n, "split", &given);
    if (!is_given && n->nin > 1 && n->in[1]) {
        if (!onnx_const_ints(n, 1, "split", &given))
            return false;
        is_given = true;
    }
    if (is_given) {
        int64_t sum = 0;
        for (int i = 0; i < given.n && i < count; i++) {
            size[i] = given.v[i];
            if (!base_size_add(sum, size[i], &sum))
                sum = -1;
        }
        if (given.n != count || sum != extent)
            onnx_error(n, "%d split sizes do not divide %lld elements into %d outputs", given.n,
                       (long long)extent, count);
        return !n->failed;
    }
    if (onnx_int(n, "num_outputs", count) != count || (n->opset < 18 && extent % count)) {
        onnx_error(n, "cannot split %lld elements into %d equal parts", (long long)extent, count);
        return false;
    }
    int64_t chunk = (extent + count - 1) / count, left = extent;
    for (int i = 0; i < count; i++) {
        size[i] = left < chunk ? left : chunk;
        left -= size[i];
    }
    return true;
}

BUILD(split)
{
    int64_t axis, at = 0;
    if (!onnx_axis(n, onnx_int(n, "axis", 0), RANK, &axis))
        return;
    int64_t *size = base_array(n->r->scratch, int64_t, n->nout + 1);
    if (n->nout < 1 || !parts(n, DIM[axis], n->nout, size))
        return;
    for (int i = 0; i < n->nout; i++) {
        n->out[i] = ir_slice_axis(n->b, X, (int)axis, at, at + size[i]);
        at += size[i];
    }
}

/* The range of one axis as ONNX defines it: clamped; negative steps count down. */
static void slice_range(int64_t extent, int64_t *start, int64_t *end, int64_t step)
{
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
    int64_t *both[] = {start, end};
    for (int i = 0; i < 2; i++) {
        int64_t v = *both[i];
        if (v < 0)
            v = v < -extent ? low : v + extent;
        *both[i] = v > high ? high : v < low ? low : v;
    }
}

/* Before opset 10 starts, ends and axes are attributes. */
BUILD(slice)
{
    ir_ints start, end, axes = {0}, step = {0};
    int64_t from[IR_MAX_RANK] = {0}, to[IR_MAX_RANK], stride[IR_MAX_RANK], flip[IR_MAX_RANK];
    int flips = 0;
    uint32_t seen = 0;
    bool operands = n->opset >= 10;
    bool ok = operands
                  ? onnx_const_ints(n, 1, "starts", &start) && onnx_const_ints(n, 2, "ends", &end)
                  : onnx_ints(n, "starts", &start) && onnx_ints(n, "ends", &end);
    bool has_axes = operands ? n->nin > 3 && n->in[3] : onnx_ints(n, "axes", &axes),
         has_step = operands && n->nin > 4 && n->in[4];
    if (!ok || (operands && has_axes && !onnx_const_ints(n, 3, "axes", &axes)) ||
        (has_step && !onnx_const_ints(n, 4, "steps", &step))) {
        if (!n->failed)
            onnx_error(n, "starts or ends are missing");
        return;
    }
    if (start.n != end.n || (has_axes && axes.n != start.n) || (has_step && step.n != start.n) ||
        start.n > RANK) {
        onnx_error(n, "starts, ends, axes and steps do not fit each other and %s",
                   onnx_type_text(n, X));
        return;
    }
    for (int i = 0; i < RANK; i++) {
        to[i] = DIM[i];
        stride[i] = 1;
    }
    for (int i = 0; i < start.n; i++) {
        int64_t a, s = start.v[i], e = end.v[i], k = has_step ? step.v[i] : 1;
        if (!onnx_axis(n, has_axes ? axes.v[i] : i, RANK, &a))
            return;
        if (k == 0 || seen >> a & 1) {
            onnx_error(n, k ? "axis %lld is given twice" : "the step of axis %lld is 0",
                       (long long)a);
            return;
        }
        seen |= 1u << a;
        slice_range(DIM[a], &s, &e, k);
        if (k < 0) { /* of the reversed dimension */
            s = DIM[a] - 1 - s;
            e = DIM[a] - 1 - e;
            k = k == INT64_MIN ? INT64_MAX : -k;
            flip[flips++] = a;
        }
        from[a] = s;
        to[a] = e > s ? e : s;
        stride[a] = k;
    }
    int64_t sorted[IR_MAX_RANK];
    int k = 0;
    for (int d = 0; d < RANK; d++)
        for (int i = 0; i < flips; i++)
            if (flip[i] == d)
                sorted[k++] = d;
    n->out[0] = ir_slice(n->b, ir_reverse(n->b, X, k, sorted), from, to, stride);
}

BUILD(expand)
{
    ir_ints want;
    int64_t shape[IR_MAX_RANK];
    if (!onnx_const_ints(n, 1, "shape", &want))
        return;
    int rank = want.n > RANK ? want.n : RANK;
    if (rank > IR_MAX_RANK) {
        onnx_error(n, "the result's rank %d is above the limit of %d", rank, IR_MAX_RANK);
        return;
    }
    for (int i = 0; i < rank; i++) {
        int64_t p = i < rank - RANK ? 1 : DIM[i - rank + RANK],
                q = i < rank - want.n ? 1 : want.v[i - rank + want.n];
        if (q < 0 || (p != q && p != 1 && q != 1)) {
            onnx_error(n, "cannot broadcast %s: dimension %d of the result is %lld",
                       onnx_type_text(n, X), i, (long long)q);
            return;
        }
        shape[i] = p == 1 ? q : p;
    }
    if (onnx_shape_ok(n, X->type.dtype, rank, shape))
        n->out[0] = ir_broadcast_to(n->b, X, rank, shape);
}

/* Repeats x along an axis: [.., 1, d, ..] is broadcast to [.., t, d, ..]. */
static ir_value *repeat(onnx_node *n, ir_value *x, int axis, int64_t times)
{
    if (times == 1)
        return x;
    ir_type t = x->type;
    int64_t wide[IR_MAX_RANK + 1], dims[IR_MAX_RANK];
    if (times < 0 || !base_size_mul(t.dim[axis], times, &t.dim[axis]) ||
        !onnx_shape_ok(n, t.dtype, t.rank, t.dim) || t.rank == IR_MAX_RANK) {
        onnx_error(n, "cannot repeat dimension %d by a factor of %lld", axis, (long long)times);
        return NULL;
    }
    for (int d = 0; d < x->type.rank; d++) {
        dims[d] = d < axis ? d : d + 1;
        wide[dims[d]] = x->type.dim[d];
    }
    wide[axis] = times;
    return ir_reshape(n->b, ir_broadcast(n->b, x, x->type.rank + 1, wide, dims), t.rank, t.dim);
}

BUILD(tile)
{
    ir_ints times;
    if (!onnx_const_ints(n, 1, "repeats", &times))
        return;
    if (times.n != RANK) {
        onnx_error(n, "%d repeats do not match the rank of %s", times.n, onnx_type_text(n, X));
        return;
    }
    ir_value *x = X;
    for (int i = 0; i < RANK && x; i++)
        x = repeat(n, x, i, times.v[i]);
    n->out[0] = x;
}

enum { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

/* The padding of one side of one axis from x: reflect, edge or wrap. */
static ir_value *border(onnx_node *n, ir_value *x, int axis, int64_t count, bool high, int mode)
{
    int64_t extent = x->type.dim[axis], a = axis, from, to;
    if (count <= 0)
        return NULL;
    if (extent == 0 || (mode == PAD_REFLECT && count > extent - 1)) {
        onnx_error(n, "axis %d of %s is too short for padding of %lld", axis, onnx_type_text(n, x),
                   (long long)count);
        return NULL;
    }
    if (mode == PAD_EDGE) {
        ir_type t = x->type;
        ir_value *line = ir_slice_axis(n->b, x, axis, high ? extent - 1 : 0, high ? extent : 1);
        t.dim[axis] = count;
        return onnx_shape_ok(n, t.dtype, t.rank, t.dim) ? ir_broadcast_to(n->b, line, t.rank, t.dim)
                                                        : NULL;
    }
    if (mode == PAD_WRAP) {
        int64_t times = (count - 1) / extent + 1;
        if (!(x = repeat(n, x, axis, times)))
            return NULL;
        from = high ? 0 : times * extent - count;
        to = from + count;
    } else {
        from = high ? extent - 1 - count : 1;
        to = from + count;
    }
    ir_value *piece = ir_slice_axis(n->b, x, axis, from, to);
    return mode == PAD_REFLECT ? ir_reverse(n->b, piece, 1, &a) : piece;
}

/* Before opset 11 pads and value are attributes. */
static bool pads_of(onnx_node *n, int64_t *low, int64_t *high)
{
    ir_ints pads, axes = {0};
    bool operands = n->opset >= 11, listed = operands && n->nin > 3 && n->in[3];
    if (operands ? !onnx_const_ints(n, 1, "pads", &pads) ||
                       (listed && !onnx_const_ints(n, 3, "axes", &axes))
                 : !onnx_ints(n, "pads", &pads)) {
        if (!n->failed)
            onnx_error(n, "pads are missing");
        return false;
    }
    int count = listed ? axes.n : RANK;
    if (pads.n != 2 * count || count > RANK) {
        onnx_error(n, "%d pads do not match %d axes", pads.n, count);
        return false;
    }
    for (int i = 0; i < count; i++) {
        int64_t a = i;
        if (listed && !onnx_axis(n, axes.v[i], RANK, &a))
            return false;
        low[a] = pads.v[i];
        high[a] = pads.v[count + i];
    }
    return true;
}

/* Slices off what negative pads remove; those elements are not reflected, repeated or wrapped. */
static ir_value *crop(onnx_node *n, ir_value *x, const int64_t *low, const int64_t *high)
{
    for (int i = 0; i < RANK && x; i++) {
        int64_t extent = x->type.dim[i], from = low[i] < 0 ? low[i] : 0,
                to = high[i] < 0 ? high[i] : 0;
        if (from < -extent || to < -extent - from) {
            onnx_error(n, "negative padding removes more elements than axis %d has", i);
            return NULL;
        }
        x = from || to ? ir_slice_axis(n->b, x, i, -from, extent + to) : x;
    }
    return x;
}

BUILD(pad)
{
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap", NULL};
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0};
    int mode = onnx_choice(n, "mode", "constant", modes);
    if (mode < 0 || !pads_of(n, low, high))
        return;
    if (mode == PAD_CONSTANT) {
        ir_value *v =
            n->opset >= 11 && n->nin > 2 && n->in[2]
                ? n->in[2]
                : ir_scalar(n->b, X->type.dtype, n->opset >= 11 ? 0 : onnx_float(n, "value", 0));
        n->out[0] = v && ir_count(&v->type) == 1
                        ? ir_pad(n->b, X, ir_reshape(n->b, v, 0, NULL), low, high, NULL)
                        : NULL;
        return;
    }
    ir_value *x = crop(n, X, low, high);
    for (int i = 0; i < RANK && x; i++) {
        ir_value *piece[3], *before = border(n, x, i, low[i], false, mode),
                            *after = border(n, x, i, high[i], true, mode);
        int k = 0;
        if (before)
            piece[k++] = before;
        piece[k++] = x;
        if (after)
            piece[k++] = after;
        if (n->failed)
            return;
        x = ir_concat(n->b, piece, k, i);
    }
    n->out[0] = x;
}

BUILD(size)
{
    int64_t count = ir_count(&X->type);
    n->out[0] = ir_constant(n->b, onnx_ints_literal(n->r->arena, IR_I64, 0, NULL, &count));
}

BUILD(shape)
{
    int64_t start = onnx_int(n, "start", 0), end = onnx_int(n, "end", RANK);
    slice_range(RANK, &start, &end, 1);
    n->out[0] = onnx_i64s(n, end > start ? (int)(end - start) : 0, DIM + start);
}

BUILD(constant)
{
    static const char *const names[] = {"value",     "value_float", "value_floats",
                                        "value_int", "value_ints",  "sparse_value"};
    static const int types[] = {4, 1, 6, 2, 7, 4};
    const Onnx__AttributeProto *a = NULL;
    int which = -1;
    if (n->proto->n_attribute == 1)
        for (int i = 0; i < 6; i++)
            if (onnx_has(n, names[i]))
                which = i;
    if (which == 5) {
        const Onnx__AttributeProto *s = n->proto->attribute[0];
        ir_literal *l =
            s->sparse_tensor ? onnx_dense_literal(n->r, n->loc, s->sparse_tensor) : NULL;
        n->out[0] = l ? ir_constant(n->b, l) : NULL;
        return;
    }
    if (which < 0 || !(a = onnx_attr(n, names[which], types[which]))) {
        if (!n->failed)
            onnx_error(n, "expected one attribute that holds a numeric value");
        return;
    }
    ir_literal *l = NULL;
    ir_type t = {.dtype = which <= 2 ? IR_F32 : IR_I64, .rank = which == 2 || which == 4};
    t.dim[0] = t.rank ? (int64_t)(which == 2 ? a->n_floats : a->n_ints) : 0;
    if (which == 0)
        l = onnx_literal(n->r, n->loc, a->t);
    else
        l = ir_literal_new(n->r->arena, &t);
    if (which == 1)
        ((float *)l->data)[0] = a->f;
    if (which == 2 && a->n_floats)
        memcpy(l->data, a->floats, a->n_floats * sizeof *a->floats);
    if (which == 3)
        ((int64_t *)l->data)[0] = a->i;
    if (which == 4 && a->n_ints)
        memcpy(l->data, a->ints, a->n_ints * sizeof *a->ints);
    n->failed |= !l;
    n->out[0] = l ? ir_constant(n->b, l) : NULL;
}

BUILD(constant_of_shape)
{
    ir_ints shape;
    const Onnx__AttributeProto *a = onnx_attr(n, "value", 4);
    ir_literal *l = a ? onnx_literal(n->r, n->loc, a->t) : NULL;
    if (!onnx_const_ints(n, 0, "shape", &shape) || (a && !l))
        return;
    if (l && ir_count(&l->type) != 1) {
        onnx_error(n, "expected a value of one element, got %lld", (long long)ir_count(&l->type));
        return;
    }
    if (onnx_shape_ok(n, l ? l->type.dtype : IR_F32, shape.n, shape.v))
        n->out[0] = ir_broadcast(
            n->b, l ? ir_reshape(n->b, ir_constant(n->b, l), 0, NULL) : ir_scalar(n->b, IR_F32, 0),
            shape.n, shape.v, NULL);
}

BUILD(eye_like)
{
    ir_dtype t = X->type.dtype;
    if (RANK != 2 ||
        (onnx_has(n, "dtype") && !onnx_dtype(n->r, n->loc, (int32_t)onnx_int(n, "dtype", 1), &t))) {
        onnx_error(n, "expected a matrix and a supported element type");
        return;
    }
    ir_value *d = ir_sub(n->b, ir_iota(n->b, IR_I64, 2, DIM, 1), ir_iota(n->b, IR_I64, 2, DIM, 0));
    n->out[0] = ir_convert(
        n->b, ir_compare(n->b, IR_EQ, d, ir_like(n->b, d, (double)onnx_int(n, "k", 0))), t);
}

BUILD(trilu)
{
    int64_t k = 0;
    bool upper = onnx_int(n, "upper", 1) != 0;
    if (RANK < 2 || (n->nin > 1 && n->in[1] && !onnx_const_int(n, 1, "k", &k))) {
        onnx_error(n, "expected a tensor of rank 2 or more and a constant k");
        return;
    }
    n->out[0] = ir_triangle(n->b, X, k, upper);
}

BUILD(range)
{
    double v[3], count;
    static const char *const names[] = {"start", "limit", "delta"};
    for (int i = 0; i < 3; i++)
        if (!onnx_const_float(n, i, names[i], &v[i]))
            return;
    count = v[2] != 0 ? (v[1] - v[0]) / v[2] : -1;
    count = count > 0 ? (double)(int64_t)(count > 1e15 ? 1e15 : count) +
                            (count > (double)(int64_t)(count > 1e15 ? 1e15 : count))
                      : 0;
    int64_t dim = (int64_t)count;
    if (v[2] == 0 || dim * 8 > IR_MAX_FOLD_BYTES) {
        onnx_error(n,
                   v[2] == 0 ? "the step is 0" : "the range has too many elements for a constant");
        return;
    }
    ir_value *x = ir_iota(n->b, IR_I64, 1, &dim, 0);
    x = ir_convert(n->b, x, X->type.dtype);
    ir_value *step = ir_broadcast(n->b, ir_reshape(n->b, n->in[2], 0, NULL), 1, &dim, NULL),
             *start = ir_broadcast(n->b, ir_reshape(n->b, X, 0, NULL), 1, &dim, NULL);
    n->out[0] = ir_add(n->b, ir_mul(n->b, x, step), start);
}

BUILD(depth_to_space)
{
    static const char *const modes[] = {"DCR", "CRD", NULL};
    int mode = onnx_choice(n, "mode", "DCR", modes);
    int64_t s = onnx_int(n, "blocksize", 0);
    if (mode < 0 || RANK != 4 || s < 1 || s > 65536 || DIM[1] % (s * s)) {
        onnx_error(n, "blocksize %lld does not fit %s", (long long)s, onnx_type_text(n, X));
        return;
    }
    int64_t c = DIM[1] / (s * s);
    int64_t dcr[] = {DIM[0], s, s, c, DIM[2], DIM[3]}, crd[] = {DIM[0], c, s, s, DIM[2], DIM[3]};
    ir_value *x = ir_reshape(n->b, X, 6, mode ? crd : dcr);
    x = ir_transpose(n->b, x, mode ? (int64_t[]){0, 1, 4, 2, 5, 3} : (int64_t[]){0, 3, 4, 1, 5, 2});
    n->out[0] = ir_reshape(n->b, x, 4, (int64_t[]){DIM[0], c, DIM[2] * s, DIM[3] * s});
}

BUILD(space_to_depth)
{
    int64_t s = onnx_int(n, "blocksize", 0);
    if (RANK != 4 || s < 1 || s > 65536 || DIM[2] % s || DIM[3] % s) {
        onnx_error(n, "blocksize %lld does not fit %s", (long long)s, onnx_type_text(n, X));
        return;
    }
    ir_value *x = ir_reshape(n->b, X, 6, (int64_t[]){DIM[0], DIM[1], DIM[2] / s, s, DIM[3] / s, s});
    x = ir_transpose(n->b, x, (int64_t[]){0, 3, 5, 1, 2, 4});
    n->out[0] = ir_reshape(n->b, x, 4, (int64_t[]){DIM[0], DIM[1] * s * s, DIM[2] / s, DIM[3] / s});
}

/* ---- Sequences ---- */

BUILD(split_to_sequence)
{
    int64_t axis;
    ir_literal *l = n->nin > 1 && n->in[1] ? onnx_const(n, 1, "split") : NULL;
    bool keep = onnx_int(n, "keepdims", 1) != 0 || l;
    if (l && !ir_is_int(l->type.dtype))
        onnx_error(n, "input 1 (split): expected integers, got %s",
                   ir_type_text(n->r->scratch, &l->type));
    if (n->failed || !onnx_axis(n, onnx_int(n, "axis", 0), RANK, &axis))
        return;
    int64_t chunk = l && l->type.rank == 0 ? ir_literal_get_int(l, 0) : 1, extent = DIM[axis],
            count = l && l->type.rank ? ir_count(&l->type) : 0, at = 0;
    if (!count && chunk > 0)
        count = (extent + chunk - 1) / chunk;
    if (chunk < 1 || count > 65536) {
        onnx_error(n, "split size %lld is below 1 or makes more than 65536 parts",
                   (long long)chunk);
        return;
    }
    onnx_entry e = {.sequence = true,
                    .nitems = (int)count,
                    .items = base_array(n->r->scratch, ir_value *, count + 1)};
    ir_type t = X->type;
    for (int d = (int)axis; d < t.rank - 1; d++)
        t.dim[d] = t.dim[d + 1];
    for (int i = 0; i < count; i++) {
        int64_t size = l && l->type.rank     ? ir_literal_get_int(l, i)
                       : extent - at < chunk ? extent - at
                                             : chunk;
        if (size < 0 || size > extent - at) {
            onnx_error(n, "the split sizes do not fit the dimension of %lld", (long long)extent);
            return;
        }
        e.items[i] = ir_slice_axis(n->b, X, (int)axis, at, at + size);
        if (!keep)
            e.items[i] = ir_reshape(n->b, e.items[i], t.rank - 1, t.dim);
        at += size;
    }
    n->out_entry[0] = e;
}

BUILD(sequence_construct)
{
    onnx_entry e = {.sequence = true,
                    .nitems = n->nin,
                    .items = base_memdup(n->r->scratch, n->in, (size_t)n->nin * sizeof *n->in)};
    n->out_entry[0] = e;
}

static bool is_sequence(onnx_node *n)
{
    if (!n->entry[0] || !n->entry[0]->sequence)
        onnx_error(n, "input 0 is not a sequence");
    return !n->failed;
}

BUILD(sequence_at)
{
    int64_t at;
    if (!is_sequence(n) || !onnx_const_int(n, 1, "position", &at))
        return;
    int count = n->entry[0]->nitems;
    if (at < -count || at >= count)
        onnx_error(n, "position %lld is out of range for a sequence of %d tensors", (long long)at,
                   count);
    else
        n->out[0] =
            onnx_capture(n->r, n->scope->body, n->entry[0]->items[at < 0 ? at + count : at]);
}

BUILD(sequence_length)
{
    int64_t count = is_sequence(n) ? n->entry[0]->nitems : 0;
    n->out[0] = ir_constant(n->b, onnx_ints_literal(n->r->arena, IR_I64, 0, NULL, &count));
}

BUILD(concat_from_sequence)
{
    if (!is_sequence(n) || !n->entry[0]->nitems) {
        onnx_error(n, "the sequence is empty");
        return;
    }
    int count = n->entry[0]->nitems, fresh = onnx_int(n, "new_axis", 0) != 0;
    ir_value **items = base_array(n->r->scratch, ir_value *, count);
    int64_t axis;
    for (int i = 0; i < count; i++)
        items[i] = onnx_capture(n->r, n->scope->body, n->entry[0]->items[i]);
    if (!items[0] || items[0]->type.rank + fresh > IR_MAX_RANK ||
        !onnx_axis(n, onnx_int(n, "axis", 0), items[0]->type.rank + fresh, &axis))
        return;
    for (int i = 0; fresh && i < count; i++) {
        ir_type t = items[i]->type;
        for (int d = t.rank; d > axis; d--)
            t.dim[d] = t.dim[d - 1];
        t.dim[axis] = 1;
        items[i] = ir_reshape(n->b, items[i], t.rank + 1, t.dim);
    }
    n->out[0] = ir_concat(n->b, items, count, (int)axis);
}

/* Crops or zero-pads each axis, evenly on both sides; the odd element goes to the end. */
BUILD(center_crop_pad)
{
    ir_ints want, raw;
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0}, axis;
    bool listed = onnx_ints(n, "axes", &raw);
    if (n->failed || !onnx_const_ints(n, 1, "shape", &want))
        return;
    if (want.n != (listed ? raw.n : RANK) || want.n > RANK) {
        onnx_error(n, "%d sizes do not match the axes of %s", want.n, onnx_type_text(n, X));
        return;
    }
    for (int i = 0; i < want.n; i++) {
        if (!onnx_axis(n, listed ? raw.v[i] : i, RANK, &axis))
            return;
        int64_t more = want.v[i] < 0 || want.v[i] > IR_MAX_TENSOR_BYTES ? IR_MAX_TENSOR_BYTES
                                                                        : want.v[i] - DIM[axis];
        low[axis] = more >= 0 ? more / 2 : -(-more / 2);
        high[axis] = more - low[axis];
    }
    n->out[0] = ir_pad(n->b, X, ir_scalar(n->b, X->type.dtype, 0), low, high, NULL);
}
