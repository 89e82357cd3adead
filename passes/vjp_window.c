/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of sliding windows. The cotangent of a window's maximum goes to the element that
 * arg_window names: the first. */
#include "passes/vjp.h"

#include <math.h>

#define X (inst->operand[0])
#define R (inst->result[0])
#define G (ct[0])

static ir_value *window_put(ir_builder *b, ir_value *g, ir_value *position, const ir_type *shape,
                            const struct ir_attrs_window_take *w)
{
    return ir_build1(b, IR_OP_window_put, (ir_value *[]){g, position}, 2,
                     &(ir_attrs){.window_put = {.shape = ir_ints_of(b, shape->rank, shape->dim),
                                                .window = w->window,
                                                .stride = w->stride,
                                                .low = w->low,
                                                .high = w->high,
                                                .window_dilation = w->window_dilation}});
}

AD_RULE(arg_window)
{
    (void)want;
    const struct ir_attrs_arg_window *a = IR_ATTR(inst, arg_window);
    const struct ir_attrs_window_take w = {a->window, a->stride,          a->low,
                                           a->high,   a->window_dilation, 0};
    out[0] = window_put(b, G, inst->result[1], &X->type, &w);
}

AD_RULE(window_put)
{
    (void)want;
    const struct ir_attrs_window_put *a = IR_ATTR(inst, window_put);
    out[0] = ir_build1(
        b, IR_OP_window_take, (ir_value *[]){G, inst->operand[1]}, 2,
        &(ir_attrs){.window_take = {a->window, a->stride, a->low, a->high, a->window_dilation, 0}});
}

AD_RULE(window_take)
{
    (void)want;
    out[0] = window_put(b, G, inst->operand[1], &X->type, IR_ATTR(inst, window_take));
}

/* ---- reduce_window ---- */

static int64_t span(int64_t n, int64_t dilation)
{
    return n ? (n - 1) * dilation + 1 : 0;
}

/* The windows that hold an element are a window over the cotangent: stride and base_dilation are
 * exchanged. */
static ir_value *window_sum(ir_builder *b, const ir_inst *inst, ir_value *g)
{
    const struct ir_attrs_reduce_window *a = IR_ATTR(inst, reduce_window);
    int rank = X->type.rank;
    int64_t low[IR_MAX_RANK], high[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        int64_t taps = span(a->window.v[i], a->window_dilation.v[i]);
        low[i] = taps - 1 - a->low.v[i];
        high[i] = span(X->type.dim[i], a->base_dilation.v[i]) -
                  span(R->type.dim[i], a->stride.v[i]) + a->low.v[i];
    }
    if (!ad_near(inst, rank, low) || !ad_near(inst, rank, high))
        return NULL;
    return ir_build1(b, IR_OP_reduce_window, &g, 1,
                     &(ir_attrs){.reduce_window = {.combine = IR_SUM,
                                                   .window = a->window,
                                                   .stride = a->base_dilation,
                                                   .low = ir_ints_of(b, rank, low),
                                                   .high = ir_ints_of(b, rank, high),
                                                   .base_dilation = a->stride,
                                                   .window_dilation = a->window_dilation}});
}

/* Forward computes the positions too; if the tensor is dilated, in one whose gaps are filled. */
static ir_value *window_extreme(ir_builder *b, const ir_inst *inst, ir_value *g)
{
    const struct ir_attrs_reduce_window *a = IR_ATTR(inst, reduce_window);
    int64_t zero[IR_MAX_RANK] = {0}, interior[IR_MAX_RANK];
    ir_type dilated = X->type;
    bool gaps = false;
    for (int i = 0; i < dilated.rank; i++) {
        interior[i] = a->base_dilation.v[i] - 1;
        dilated.dim[i] = span(X->type.dim[i], a->base_dilation.v[i]);
        gaps |= interior[i] > 0;
    }
    if (!ad_fits(inst, &dilated, dilated.dtype) || !ad_fits(inst, &R->type, IR_I32))
        return NULL;
    ir_builder before = ad_before(inst);
    double last = a->combine == IR_MAX ? -INFINITY : INFINITY; /* loses to every element */
    ir_value *x =
        gaps ? ir_pad(&before, X, ir_scalar(&before, X->type.dtype, last), zero, zero, interior)
             : X;
    ir_inst *found = ir_build(&before, IR_OP_arg_window, &x, 1,
                              &(ir_attrs){.arg_window = {a->combine, a->window, a->stride, a->low,
                                                         a->high, a->window_dilation, 0}});
    ir_built(&before);
    ad_instead(R, found->result[0]);
    const struct ir_attrs_window_take w = {a->window, a->stride,          a->low,
                                           a->high,   a->window_dilation, 0};
    return ir_slice(b, window_put(b, g, found->result[1], &x->type, &w), zero, x->type.dim,
                    a->base_dilation.v);
}

/* A product over a window along one dimension. */
typedef struct along {
    int64_t window, stride, low, high, base, dilation;
} along;

static along along_of(const struct ir_attrs_reduce_window *a, int d)
{
    return (along){a->window.v[d], a->stride.v[d],        a->low.v[d],
                   a->high.v[d],   a->base_dilation.v[d], a->window_dilation.v[d]};
}

static bool is_nothing(const along *w)
{
    return w->window == 1 && w->stride == 1 && w->base == 1 && !w->low && !w->high;
}

/* All elements of the windows along d are gathered, [windows, window, outer, inner]; an element's
 * derivative is the product of those before it and those after it, so that zeros need no special
 * case. NULL and reported where that is too large. */
static ir_value *product_along(ir_builder *b, const ir_inst *inst, ir_value *x, ir_value *g, int d,
                               const along *w)
{
    int64_t outer = 1, inner = 1, m = g->type.dim[d], axis = 1;
    for (int i = 0; i < x->type.rank; i++)
        *(i < d ? &outer : &inner) *= i == d ? 1 : x->type.dim[i];
    ir_type all = ir_type_of(x->type.dtype, 4, (int64_t[]){m, w->window, outer, inner});
    ir_type wide =
        ir_type_of(x->type.dtype, 3,
                   (int64_t[]){outer, span(x->type.dim[d], w->base) + w->low + w->high, inner});
    if (!ad_fits(inst, &all, all.dtype) || !ad_fits(inst, &wide, wide.dtype))
        return NULL;
    int64_t low[] = {0, w->low, 0}, high[] = {0, w->high, 0}, gaps[] = {0, w->base - 1, 0},
            grid[] = {m, w->window, 1};
    ir_value *flat = ir_reshape(b, x, 3, (int64_t[]){outer, x->type.dim[d], inner});
    ir_value *padded = ir_pad(b, flat, ir_scalar(b, x->type.dtype, 1), low, high, gaps);
    ir_value *first = ir_times(b, ir_iota(b, IR_I64, 3, grid, 0), (double)w->stride),
             *tap = ir_iota(b, IR_I64, 3, grid, 1);
    ir_value *at = ir_add(b, first, ir_times(b, tap, (double)w->dilation));
    ir_value *taken = ir_gather(b, padded, at, 1, &axis, 0);
    ir_value *share =
        ir_transpose(b, ir_reshape(b, g, 3, (int64_t[]){outer, m, inner}), (int64_t[]){1, 0, 2});
    share = ir_broadcast(b, share, 4, all.dim, (int64_t[]){0, 2, 3});
    for (int after = 0; after < 2; after++)
        share = ir_mul(b, share,
                       ir_build1(b, IR_OP_cumulative, &taken, 1,
                                 &(ir_attrs){.cumulative = {IR_PROD, 1, after, 1, 0}}));
    ir_value *r = ir_scatter(b, IR_SUM, ir_zeros_like(b, padded), at, share, 1, &axis, 0);
    r = ad_unpad(b, r, &flat->type, low, high, gaps);
    return r ? ir_reshape(b, r, x->type.rank, x->type.dim) : NULL;
}

/* One dimension after the other. */
static ir_value *window_prod(ir_builder *b, const ir_inst *inst, ir_value *g)
{
    const struct ir_attrs_reduce_window *a = IR_ATTR(inst, reduce_window);
    ir_value *before[IR_MAX_RANK + 1] = {X};
    int rank = X->type.rank;
    ir_type t = X->type;
    for (int d = 0; d < rank; d++) {
        along w = along_of(a, d);
        t.dim[d] = R->type.dim[d];
        if (!ad_fits(inst, &t, t.dtype))
            return NULL;
        before[d + 1] =
            is_nothing(&w) || d == rank - 1 ? before[d] : window_along(b, inst, before[d], d);
    }
    for (int d = rank; d-- > 0 && g;) {
        along w = along_of(a, d);
        g = is_nothing(&w) ? g : product_along(b, inst, before[d], g, d, &w);
    }
    return g;
}

AD_RULE(reduce_window)
{
    (void)want;
    ir_combine combine = IR_ATTR(inst, reduce_window)->combine;
    out[0] = combine == IR_SUM    ? window_sum(b, inst, G)
             : combine == IR_PROD ? window_prod(b, inst, G)
                                  : window_extreme(b, inst, G);
}
