/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Resize and Upsample, axis by axis: nearest is a gather with constant indices; linear and cubic
 * are contractions with a constant matrix of weights, so their derivatives are contractions too.
 *
 * Scales are f32, and extents and positions are computed from them in f32, as in onnxruntime: with
 * more precision, a position close to a whole or a half could select another nearest element. */
#include "frontend/onnx/reader.h"

#include <math.h>

enum { NEAREST, LINEAR, CUBIC };
enum { HALF_PIXEL, ASYMMETRIC, ALIGN_CORNERS, PYTORCH_HALF_PIXEL, HALF_PIXEL_SYMMETRIC };
/* OUTWARD, for old files: floor to enlarge, ceil to shrink. */
enum { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL, OUTWARD };

typedef struct resize {
    int mode, place, nearest;
    double a; /* cubic coefficient */
    bool exclude_outside;
} resize;

/* The position of output i along the input; the extents are d (input) and m (output). */
static float position(const resize *z, int64_t i, int64_t d, int64_t m, float scale)
{
    float x = (float)i, from = (float)d, to = (float)m;
    switch (z->place) {
    case ASYMMETRIC: return x / scale;
    case ALIGN_CORNERS: return m == 1 ? 0 : x * (from - 1) / (to - 1);
    case PYTORCH_HALF_PIXEL: return m == 1 ? 0 : (x + 0.5f) / scale - 0.5f;
    case HALF_PIXEL_SYMMETRIC:
        return from / 2 * (1 - to / (scale * from)) + (x + 0.5f) / scale - 0.5f;
    default: return (x + 0.5f) / scale - 0.5f;
    }
}

static int64_t clamp(double x, int64_t d)
{
    return x < 0 ? 0 : x > (double)(d - 1) ? d - 1 : (int64_t)x;
}

static double cubic(double x, double a)
{
    x = fabs(x);
    return x <= 1  ? ((a + 2) * x - (a + 3)) * x * x + 1
           : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
                   : 0;
}

/* Row i of the matrix [m, d]. */
static void weights(const resize *z, double x, int64_t d, double *row)
{
    int64_t base = (int64_t)floor(x);
    int taps = z->mode == CUBIC ? 4 : 2;
    double sum = 0;
    for (int k = 0; k < taps; k++) {
        int64_t at = base + k - (taps / 2 - 1);
        double w = z->mode == CUBIC ? cubic(x - (double)at, z->a) : 1 - fabs(x - (double)at);
        if (z->exclude_outside && (at < 0 || at >= d))
            continue;
        row[clamp((double)at, d)] += w;
        sum += w;
    }
    for (int64_t k = 0; z->exclude_outside && k < d; k++)
        row[k] /= sum;
}

static ir_value *nearest_axis(onnx_node *n, const resize *z, ir_value *x, int64_t axis, int64_t m,
                              float scale)
{
    int64_t d = x->type.dim[axis], *index = base_array(n->r->scratch, int64_t, m + 1);
    for (int64_t i = 0; i < m; i++) {
        double p = (double)position(z, i, d, m, scale), low = floor(p);
        bool half = p - low == 0.5;
        double to = half ? (z->nearest == ROUND_PREFER_CEIL ? low + 1 : low) : floor(p + 0.5);
        int way = z->nearest != OUTWARD ? z->nearest : scale < 1 ? CEIL : FLOOR;
        index[i] = clamp(way == FLOOR ? low : way == CEIL ? ceil(p) : to, d);
    }
    ir_value *at =
        ir_constant(n->b, onnx_ints_literal(n->r->arena, IR_I64, 2, (int64_t[]){m, 1}, index));
    return ir_move_axis(n->b, ir_gather(n->b, x, at, 1, &axis, 0), 0, (int)axis);
}

static ir_value *weighted_axis(onnx_node *n, const resize *z, ir_value *x, int64_t axis, int64_t m,
                               float scale)
{
    int64_t d = x->type.dim[axis], one = 1;
    ir_type t = ir_type_of(IR_F64, 2, (int64_t[]){m, d});
    if (!ir_type_ok(&t) || ir_bytes(&t) > IR_MAX_FOLD_BYTES) {
        onnx_error(n, "axis %lld is too long to resize", (long long)axis);
        return NULL;
    }
    if (!onnx_unpacks(n->r, n->loc, 2 * ir_bytes(&t))) {
        n->failed = true;
        return NULL;
    }
    ir_literal *l = ir_literal_new(n->r->arena, &t);
    for (int64_t i = 0; i < m; i++)
        weights(z, (double)position(z, i, d, m, scale), d, (double *)l->data + i * d);
    ir_type narrow = t;
    narrow.dtype = x->type.dtype;
    ir_literal *w = ir_literal_new(n->r->arena, &narrow);
    for (int64_t i = 0; i < m * d; i++)
        ir_literal_set(w, i, ((double *)l->data)[i]);
    /* The new axis comes last. */
    ir_value *y = ir_dot_general(n->b, x, ir_constant(n->b, w), 0, NULL, NULL, 1, &axis, &one);
    return y ? ir_move_axis(n->b, y, y->type.rank - 1, (int)axis) : NULL;
}

/* Where the result's extents come from. */
typedef enum source {
    BY_SIZES_OR_SCALES, /* operands 3 or 2: Resize since opset 11 */
    BY_SCALES,          /* operand 1: Resize of opset 10, Upsample of 9 */
    BY_ATTRIBUTE,       /* `scales`: older Upsample */
} source;

/* New extent and scale of each listed axis; false and reported if they are not valid. */
static bool targets(onnx_node *n, source from, const int64_t *axis, int count, int64_t *size,
                    float *scale)
{
    ir_value *x = n->in[0];
    ir_literal *l = NULL;
    bool sized = from == BY_SIZES_OR_SCALES && n->nin > 3 && n->in[3];
    if (from == BY_ATTRIBUTE) {
        const Onnx__AttributeProto *a = onnx_attr(n, "scales", 6);
        for (int i = 0; a && a->n_floats == (size_t)count && i < count; i++)
            scale[i] = a->floats[i];
        if (!a || a->n_floats != (size_t)count)
            onnx_error(n, "expected one scale for each axis of %s", onnx_type_text(n, x));
    } else {
        const char *what = sized ? "sizes" : "scales";
        l = onnx_const(n, sized ? 3 : from == BY_SCALES ? 1 : 2, what);
        if (l && ir_count(&l->type) != count)
            onnx_error(n, "expected as many %s as axes", what);
    }
    for (int i = 0; !n->failed && i < count; i++) {
        float d = (float)x->type.dim[axis[i]];
        if (l && !sized)
            scale[i] = (float)ir_literal_get(l, i);
        if (sized)
            size[i] = ir_literal_get_int(l, i);
        else
            size[i] =
                scale[i] == 1 ? x->type.dim[axis[i]] : (int64_t)floorf(fminf(d * scale[i], 1e15f));
        if (sized)
            scale[i] = d > 0 ? (float)size[i] / d : 1;
        if (!(scale[i] > 0) || size[i] < 0 || (d == 0 && size[i] > 0))
            onnx_error(n, "cannot resize axis %lld to %lld elements", (long long)axis[i],
                       (long long)size[i]);
    }
    return !n->failed;
}

/* keep_aspect_ratio_policy: one scale for all axes. */
static void same_scale(int policy, const ir_value *x, const int64_t *axis, int count, int64_t *size,
                       float *scale)
{
    float s = scale[0];
    for (int i = 1; i < count; i++)
        s = policy == 1 ? fminf(s, scale[i]) : fmaxf(s, scale[i]);
    for (int i = 0; i < count; i++) {
        scale[i] = s;
        size[i] = (int64_t)floorf(s * (float)x->type.dim[axis[i]] + 0.5f);
    }
}

static void resample(onnx_node *n, source from)
{
    static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
    static const char *const nearests[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                           "ceil", NULL};
    static const char *const places[] = {"half_pixel",           "asymmetric",
                                         "align_corners",        "pytorch_half_pixel",
                                         "half_pixel_symmetric", NULL};
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller", NULL};
    bool old = from != BY_SIZES_OR_SCALES;
    resize z = {
        .mode = onnx_choice(n, "mode", "nearest", modes),
        .place = old ? ASYMMETRIC
                     : onnx_choice(n, "coordinate_transformation_mode", "half_pixel", places),
        .nearest = old ? OUTWARD : onnx_choice(n, "nearest_mode", "round_prefer_floor", nearests),
        .a = onnx_float(n, "cubic_coeff_a", -0.75),
        .exclude_outside = onnx_int(n, "exclude_outside", 0) != 0};
    int policy = onnx_choice(n, "keep_aspect_ratio_policy", "stretch", policies),
        count = n->in[0]->type.rank;
    int64_t axis[IR_MAX_RANK], size[IR_MAX_RANK];
    float scale[IR_MAX_RANK];
    ir_ints axes;
    for (int i = 0; i < count; i++)
        axis[i] = i;
    if (onnx_ints(n, "axes", &axes) && onnx_axes(n, axes, n->in[0]->type.rank, axis, &count))
        for (int i = 0; i < count; i++)
            if (!onnx_axis(n, axes.v[i], n->in[0]->type.rank, &axis[i]))
                return;
    if (onnx_int(n, "antialias", 0))
        onnx_error(n, "antialias is not supported");
    if (n->failed || !targets(n, from, axis, count, size, scale))
        return;
    if (policy && n->nin > 3 && n->in[3])
        same_scale(policy, n->in[0], axis, count, size, scale);
    ir_value *x = z.mode == NEAREST ? n->given[0] : n->in[0];
    for (int i = 0; x && i < count; i++) {
        ir_type t = x->type;
        t.dim[axis[i]] = size[i];
        if (scale[i] == 1 && size[i] == x->type.dim[axis[i]])
            continue;
        if (!onnx_shape_ok(n, t.dtype, t.rank, t.dim) || size[i] > 1 << 24) {
            onnx_error(n, "cannot resize axis %lld to %lld elements", (long long)axis[i],
                       (long long)size[i]);
            return;
        }
        if (z.mode != NEAREST && !ir_is_float(t.dtype)) {
            onnx_error(n, "linear and cubic resizing of %s is not supported",
                       ir_dtypes[t.dtype].name);
            return;
        }
        x = z.mode == NEAREST ? nearest_axis(n, &z, x, axis[i], size[i], scale[i])
                              : weighted_axis(n, &z, x, axis[i], size[i], scale[i]);
    }
    n->out[0] = x;
}

void onnx_build_resize(onnx_node *n)
{
    resample(n, BY_SIZES_OR_SCALES);
}

void onnx_build_upsample(onnx_node *n)
{
    resample(n, BY_SCALES);
}

void onnx_build_upsample_7(onnx_node *n)
{
    resample(n, BY_ATTRIBUTE);
}
