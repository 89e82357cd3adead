/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Activations, reductions and normalisation made of primitives. The losses are in nn_loss.c,
 * convolutions and pools in nn_window.c. */
#include "ir/nn.h"

#include <math.h>

static ir_value *compare(ir_builder *b, ir_relation relation, ir_value *x, double number)
{
    return ir_compare(b, relation, x, ir_like(b, x, number));
}

/* ---- Activations ---- */

/* `below` where x is at or below zero, else `above`. */
static ir_value *pick(ir_builder *b, ir_value *x, ir_value *below, ir_value *above)
{
    return ir_select(b, compare(b, IR_LE, x, 0), below, above);
}

ir_value *ir_relu(ir_builder *b, ir_value *x)
{
    return pick(b, x, ir_like(b, x, 0), x);
}

ir_value *ir_leaky_relu(ir_builder *b, ir_value *x, double slope)
{
    return pick(b, x, ir_times(b, x, slope), x);
}

ir_value *ir_prelu(ir_builder *b, ir_value *x, ir_value *slope)
{
    /* The slope's derivative is 0 above zero, at infinity too. */
    ir_value *low = pick(b, x, x, ir_like(b, x, 0));
    return pick(b, x, ir_mul(b, low, slope), x);
}

/* alpha (e^(inner x) - 1) below zero, scale x above. */
static ir_value *exponential(ir_builder *b, ir_value *x, double alpha, double scale, double inner)
{
    ir_value *low = pick(b, x, x, ir_like(b, x, 0)); /* no overflow in the branch not taken */
    return pick(b, x, ir_times(b, ir_expm1(b, ir_times(b, low, inner)), alpha),
                ir_times(b, x, scale));
}

ir_value *ir_elu(ir_builder *b, ir_value *x, double alpha)
{
    return exponential(b, x, alpha, 1, 1);
}

ir_value *ir_selu(ir_builder *b, ir_value *x, double alpha, double scale)
{
    return exponential(b, x, scale * alpha, scale, 1);
}

ir_value *ir_celu(ir_builder *b, ir_value *x, double alpha)
{
    return exponential(b, x, alpha, 1, 1 / alpha);
}

/* x / 2 (1 + inner) */
static ir_value *gated(ir_builder *b, ir_value *x, ir_value *inner)
{
    return ir_mul(b, ir_times(b, x, 0.5), ir_plus(b, inner, 1));
}

ir_value *ir_gelu(ir_builder *b, ir_value *x)
{
    return gated(b, x, ir_erf(b, ir_times(b, x, M_SQRT1_2)));
}

ir_value *ir_gelu_tanh(ir_builder *b, ir_value *x)
{
    ir_value *cube = ir_mul(b, x, ir_mul(b, x, x));
    return gated(b, x,
                 ir_tanh(b, ir_times(b, ir_add(b, x, ir_times(b, cube, 0.044715)),
                                     M_SQRT2 * M_2_SQRTPI / 2)));
}

ir_value *ir_swish(ir_builder *b, ir_value *x, double beta)
{
    return ir_mul(b, x, ir_logistic(b, ir_times(b, x, beta)));
}

ir_value *ir_mish(ir_builder *b, ir_value *x)
{
    return ir_mul(b, x, ir_tanh(b, ir_softplus(b, x)));
}

ir_value *ir_softplus_minus(ir_builder *b, ir_value *x, ir_value *y)
{
    /* Not max and abs: the two of them have no common second derivative at 0. */
    ir_value *positive = compare(b, IR_GT, x, 0);
    ir_value *away = ir_select(b, positive, ir_neg(b, x), x),
             *line = ir_select(b, positive, x, ir_like(b, x, 0));
    return ir_add(b, y ? ir_sub(b, line, y) : line, ir_log1p(b, ir_exp(b, away)));
}

ir_value *ir_softplus(ir_builder *b, ir_value *x)
{
    return ir_softplus_minus(b, x, NULL);
}

ir_value *ir_softsign(ir_builder *b, ir_value *x)
{
    return ir_div(b, x, ir_plus(b, ir_abs(b, x), 1));
}

ir_value *ir_hard_sigmoid(ir_builder *b, ir_value *x, double alpha, double beta)
{
    ir_value *y = ir_plus(b, ir_times(b, x, alpha), beta);
    return ir_hardtanh(b, y, ir_like(b, x, 0), ir_like(b, x, 1));
}

ir_value *ir_hard_swish(ir_builder *b, ir_value *x)
{
    return ir_mul(b, x, ir_hard_sigmoid(b, x, 1.0 / 6, 0.5));
}

ir_value *ir_shrink(ir_builder *b, ir_value *x, double lambda, double bias, ir_value *between)
{
    ir_value *above = compare(b, IR_GT, x, lambda), *below = compare(b, IR_LT, x, -lambda);
    return ir_select(b, below, ir_plus(b, x, bias),
                     ir_select(b, above, ir_plus(b, x, -bias), between));
}

static ir_value *bounded(ir_builder *b, ir_value *x, ir_relation relation, ir_value *bound)
{
    return bound ? ir_select(b, ir_compare(b, relation, x, bound), bound, x) : x;
}

ir_value *ir_hardtanh(ir_builder *b, ir_value *x, ir_value *low, ir_value *high)
{
    return bounded(b, bounded(b, x, IR_LE, low), IR_GE, high);
}

ir_value *ir_clamp(ir_builder *b, ir_value *x, ir_value *low, ir_value *high)
{
    return bounded(b, bounded(b, x, IR_LT, low), IR_GT, high);
}

/* True where r, a remainder as in C, is nonzero and its sign differs from y's. */
static ir_value *other_sign(ir_builder *b, ir_value *r, ir_value *y)
{
    ir_value *differ = ir_xor(b, compare(b, IR_LT, r, 0), compare(b, IR_LT, y, 0));
    return ir_and(b, differ, compare(b, IR_NE, r, 0));
}

ir_value *ir_modulo(ir_builder *b, ir_value *x, ir_value *y)
{
    ir_value *r = ir_rem(b, x, y);
    return r && ir_is_signed(r->type.dtype) ? ir_select(b, other_sign(b, r, y), ir_add(b, r, y), r)
                                            : r;
}

ir_value *ir_floor_divide(ir_builder *b, ir_value *x, ir_value *y)
{
    if (!x || !y || !ir_is_signed(x->type.dtype))
        return ir_div(b, x, y);
    ir_value *r = ir_rem(b, x, y), *q;
    if (ir_is_int(x->type.dtype)) {
        q = ir_div(b, x, y);
        return ir_select(b, other_sign(b, r, y), ir_plus(b, q, -1), q);
    }
    /* x - r is a multiple of y up to rounding */
    q = ir_round(b, ir_div(b, ir_sub(b, x, r), y));
    q = ir_select(b, other_sign(b, r, y), ir_plus(b, q, -1), q);
    return ir_select(b, compare(b, IR_EQ, y, 0), ir_div(b, x, y), q);
}

ir_value *ir_dropout(ir_builder *b, ir_value *x, ir_value *bits, double p, ir_value **keep)
{
    ir_value *stays = compare(b, IR_GE, bits, (double)(uint32_t)(p * 4294967296.0));
    if (keep)
        *keep = stays;
    return ir_select(b, stays, ir_times(b, x, 1 / (1 - p)), ir_like(b, x, 0));
}

/* ---- Reductions ---- */

static ir_value *reduce(ir_builder *b, ir_combine combine, ir_value *x, int n, const int64_t *axes,
                        bool keep)
{
    return keep ? ir_reduce_keep(b, combine, x, n, axes) : ir_reduce(b, combine, x, n, axes);
}

static double count_along(const ir_value *x, int n, const int64_t *axes)
{
    double count = 1;
    for (int i = 0; i < n; i++)
        count *= (double)x->type.dim[axes[i]];
    return count;
}

ir_value *ir_mean(ir_builder *b, ir_value *x, int n, const int64_t *axes, bool keep)
{
    ir_value *s = x ? reduce(b, IR_SUM, x, n, axes, keep) : NULL;
    return s && n ? ir_div(b, s, ir_like(b, s, count_along(x, n, axes))) : s;
}

/* The variance of values centered by their mean. */
static ir_value *spread_of(ir_builder *b, ir_value *centered, double correction, int n,
                           const int64_t *axes, bool keep)
{
    if (!centered)
        return NULL;
    double count = count_along(centered, n, axes);
    ir_value *sum = reduce(b, IR_SUM, ir_mul(b, centered, centered), n, axes, keep);
    return ir_div(b, sum, ir_like(b, sum, count > correction ? count - correction : 0));
}

ir_value *ir_variance(ir_builder *b, ir_value *x, double correction, int n, const int64_t *axes,
                      bool keep)
{
    ir_value *centered = ir_sub(b, x, ir_broadcast_like(b, ir_mean(b, x, n, axes, true), x));
    return spread_of(b, centered, correction, n, axes, keep);
}

ir_value *ir_logsumexp(ir_builder *b, ir_value *x, int n, const int64_t *axes, bool keep)
{
    ir_value *m = ir_stop_gradient(b, ir_reduce_keep(b, IR_MAX, x, n, axes));
    /* inf - inf would be NaN. */
    m = ir_select(b, compare(b, IR_LT, ir_abs(b, m), INFINITY), m, ir_like(b, m, 0));
    ir_value *e = ir_exp(b, ir_sub(b, x, ir_broadcast_like(b, m, x)));
    ir_value *y = ir_add(b, ir_log(b, ir_reduce_keep(b, IR_SUM, e, n, axes)), m);
    return keep ? y : ir_squeeze(b, y, n, axes);
}

ir_value *ir_root(ir_builder *b, ir_value *x, double p)
{
    if (p == 1)
        return x;
    ir_value *none = compare(b, IR_EQ, x, 0), *safe = ir_select(b, none, ir_like(b, x, 1), x);
    ir_value *root = p == 2 ? ir_sqrt(b, safe) : ir_pow(b, safe, ir_like(b, safe, 1 / p));
    return ir_select(b, none, ir_like(b, x, p > 0 ? 0 : INFINITY), root);
}

ir_value *ir_abs_pow(ir_builder *b, ir_value *x, double p)
{
    if (p == 2)
        return ir_mul(b, x, x);
    if (p >= 1)
        return p == 1 ? ir_abs(b, x) : ir_pow(b, ir_abs(b, x), ir_like(b, x, p));
    ir_value *none = compare(b, IR_EQ, x, 0), *safe = ir_select(b, none, ir_like(b, x, 1), x);
    return ir_select(b, none, ir_like(b, x, p > 0 ? 0 : INFINITY),
                     ir_pow(b, ir_abs(b, safe), ir_like(b, x, p)));
}

ir_value *ir_vector_norm(ir_builder *b, ir_value *x, double p, int n, const int64_t *axes,
                         bool keep)
{
    if (!x)
        return NULL;
    if (isinf(p))
        return reduce(b, p > 0 ? IR_MAX : IR_MIN, ir_abs(b, x), n, axes, keep);
    if (p == 0)
        return reduce(b, IR_SUM, ir_convert(b, compare(b, IR_NE, x, 0), x->type.dtype), n, axes,
                      keep);
    return ir_root(b, reduce(b, IR_SUM, ir_abs_pow(b, x, p), n, axes, keep), p);
}

/* x minus its maximum; *e: the exponentials of that, *sum: their sum. */
static ir_value *below_maximum(ir_builder *b, ir_value *x, int64_t axis, ir_value **e,
                               ir_value **sum)
{
    ir_value *m = ir_stop_gradient(b, ir_reduce_keep(b, IR_MAX, x, 1, &axis));
    ir_value *d = ir_sub(b, x, ir_broadcast_like(b, m, x));
    *e = ir_exp(b, d);
    *sum = ir_reduce_keep(b, IR_SUM, *e, 1, &axis);
    return d;
}

ir_value *ir_softmax(ir_builder *b, ir_value *x, int64_t axis)
{
    ir_value *e, *sum;
    below_maximum(b, x, axis, &e, &sum);
    return ir_div(b, e, ir_broadcast_like(b, sum, x));
}

ir_value *ir_log_softmax(ir_builder *b, ir_value *x, int64_t axis)
{
    ir_value *e, *sum, *d = below_maximum(b, x, axis, &e, &sum);
    return ir_sub(b, d, ir_broadcast_like(b, ir_log(b, sum), x));
}

ir_inst *ir_sort_positions(ir_builder *b, ir_value *x, int axis, bool descending)
{
    if (!x)
        return NULL;
    ir_value *both[] = {x, ir_iota(b, IR_I64, x->type.rank, x->type.dim, axis)};
    return ir_build(b, IR_OP_sort, both, 2,
                    &(ir_attrs){.sort = {.axis = axis, .descending = descending}});
}

ir_value *ir_triangle(ir_builder *b, ir_value *x, int64_t k, bool upper)
{
    if (!x)
        return NULL;
    int rank = x->type.rank;
    ir_value *row = ir_iota(b, IR_I64, rank, x->type.dim, rank - 2),
             *column = ir_iota(b, IR_I64, rank, x->type.dim, rank - 1);
    ir_value *diagonal = ir_sub(b, column, row);
    ir_value *stays = ir_compare(b, upper ? IR_GE : IR_LE, diagonal, ir_like_int(b, diagonal, k));
    return ir_select(b, stays, x, ir_like(b, x, 0));
}

/* ---- Normalisation ---- */

ir_moments ir_moments_of(ir_builder *b, ir_value *x, int n, const int64_t *axes)
{
    ir_moments m = {.mean = ir_mean(b, x, n, axes, false)};
    m.centered = ir_sub(b, x, ir_unreduce(b, m.mean, x, n, axes));
    m.variance = spread_of(b, m.centered, 0, n, axes, false);
    return m;
}

ir_value *ir_standardize(ir_builder *b, ir_value *centered, ir_value *variance, double epsilon,
                         int n, const int64_t *axes)
{
    ir_value *scale = ir_rsqrt(b, ir_plus(b, variance, epsilon));
    return ir_mul(b, centered, ir_unreduce(b, scale, centered, n, axes));
}

ir_value *ir_normalize(ir_builder *b, ir_value *x, double epsilon, int n, const int64_t *axes,
                       ir_value **mean, ir_value **scale)
{
    ir_value *m = ir_mean(b, x, n, axes, true),
             *centered = ir_sub(b, x, ir_broadcast_like(b, m, x)),
             *s = ir_rsqrt(b, ir_plus(b, spread_of(b, centered, 0, n, axes, true), epsilon));
    if (mean)
        *mean = m;
    if (scale)
        *scale = s;
    return ir_mul(b, centered, ir_broadcast_like(b, s, x));
}

ir_value *ir_rms_normalize(ir_builder *b, ir_value *x, double epsilon, int n, const int64_t *axes)
{
    ir_value *square = ir_mean(b, ir_mul(b, x, x), n, axes, true);
    return ir_mul(b, x, ir_broadcast_like(b, ir_rsqrt(b, ir_plus(b, square, epsilon)), x));
}

ir_value *ir_group_normalize(ir_builder *b, ir_value *x, int64_t groups, double epsilon)
{
    if (!x)
        return NULL;
    const int64_t *dim = x->type.dim;
    int64_t shape[3] = {dim[0], groups, dim[1] / groups}, axis = 2;
    for (int i = 2; i < x->type.rank; i++)
        shape[2] *= dim[i];
    ir_value *y = ir_normalize(b, ir_reshape(b, x, 3, shape), epsilon, 1, &axis, NULL, NULL);
    return ir_reshape(b, y, x->type.rank, dim);
}

ir_value *ir_moving_average(ir_builder *b, ir_value *old, ir_value *batch, double keep, double gain)
{
    if (!old || !batch)
        return NULL;
    ir_dtype own = old->type.dtype, other = batch->type.dtype,
             wide = ir_dtypes[own].bytes < ir_dtypes[other].bytes ? other : own;
    ir_value *added = ir_times(b, ir_convert(b, batch, wide), gain),
             *moved = ir_times(b, ir_convert(b, old, wide), keep);
    return ir_convert(b, ir_add(b, moved, added), own);
}
