/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Random instructions for tests of the passes. All numbers are small integers in f64, so sums in any order are exact. */
#ifndef TESTS_RANDOM_FUNCTION_H
#define TESTS_RANDOM_FUNCTION_H

#include "passes/passes.h"
#include "tests/gen.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 40 };

/* Values stay small: their magnitude is cut after what may grow. */
static inline ir_value *cut(gen *g, ir_value *x)
{
    return ir_max(&g->b, ir_min(&g->b, x, ir_splat(&g->b, &x->type, 16)), ir_splat(&g->b, &x->type, -16));
}

/* The latest value as often as all others, so that instructions stand on each other. */
static inline ir_value *any(gen *g)
{
    if (draw(g, 2))
        return g->pool[g->n - 1];
    return g->pool[draw(g, (uint32_t)g->n)];
}

/* A value of x's type: another one of that type, a splat, or one that repeats along the last dimension. */
static inline ir_value *like(gen *g, const ir_value *x)
{
    static const double splats[] = {0, 1, -1, 2, 0.5, 3, 4};
    const ir_type *t = &x->type;
    for (int tries = 0; tries < 4; tries++) {
        ir_value *y = any(g);
        if (ir_type_eq(&y->type, t))
            return y;
        int64_t last = t->rank - 1;
        if (y->type.rank == 1 && t->rank && y->type.dim[0] == t->dim[last])
            return ir_broadcast(&g->b, y, t->rank, t->dim, &last);
    }
    return ir_splat(&g->b, t, splats[draw(g, 4) == 3 ? 3 + draw(g, 4) : draw(g, 4)]);
}

static inline ir_value *element(gen *g)
{
    ir_value *x = any(g), *y = like(g, x);
    switch (draw(g, 12)) {
    case 0: return ir_add(&g->b, x, y);
    case 1: return ir_sub(&g->b, x, y);
    case 2: return ir_sub(&g->b, y, x);
    case 3: return ir_floor(&g->b, cut(g, ir_mul(&g->b, x, y)));
    case 4: return ir_neg(&g->b, x);
    case 5: return ir_abs(&g->b, x);
    case 6: return ir_max(&g->b, x, y);
    case 7: return ir_floor(&g->b, cut(g, ir_div(&g->b, x, ir_splat(&g->b, &x->type, (double)(1 << draw(g, 3))))));
    case 8: return ir_floor(&g->b, cut(g, ir_binary(&g->b, IR_OP_pow, x, ir_splat(&g->b, &x->type, draw(g, 4)))));
    case 9: return ir_convert(&g->b, ir_convert(&g->b, x, draw(g, 2) ? IR_I32 : IR_F32), IR_F64);
    default: {
        ir_value *c = ir_compare(&g->b, (ir_relation)draw(g, 6), x, like(g, x));
        return ir_select(&g->b, draw(g, 2) ? ir_not(&g->b, c) : c, y, draw(g, 3) ? x : ir_select(&g->b, c, x, y));
    }
    }
}

static inline ir_value *reshaped(gen *g, ir_value *x)
{
    int64_t shape[IR_MAX_RANK];
    int n = 0;
    if (draw(g, 2)) { /* in one dimension, or units dropped and added */
        shape[n++] = ir_count(&x->type);
        return ir_reshape(&g->b, x, n, shape);
    }
    for (int i = 0; i < x->type.rank && n < 4; i++) {
        if (draw(g, 4) == 0)
            shape[n++] = 1;
        if (x->type.dim[i] != 1 || draw(g, 2))
            shape[n++] = x->type.dim[i];
    }
    int64_t count = 1;
    for (int i = 0; i < n; i++)
        count *= shape[i];
    return count == ir_count(&x->type) ? ir_reshape(&g->b, x, n, shape) : x;
}

static inline ir_value *repeated(gen *g, ir_value *x)
{
    int64_t shape[IR_MAX_RANK] = {0}, dims[IR_MAX_RANK] = {0};
    int n = 0;
    for (int i = 0; i < x->type.rank; i++) {
        if (n < 4 && draw(g, 3) == 0)
            shape[n++] = 1 + draw(g, 3);
        dims[i] = n;
        shape[n++] = x->type.dim[i] == 1 ? 1 + draw(g, 3) : x->type.dim[i];
    }
    if (draw(g, 2))
        shape[n++] = 1 + draw(g, 3);
    return ir_broadcast(&g->b, x, n, shape, dims);
}

static inline ir_value *padded(gen *g, ir_value *x)
{
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0}, interior[IR_MAX_RANK] = {0};
    int axis = (int)draw(g, (uint32_t)x->type.rank);
    low[axis] = (int64_t)draw(g, 4) - 1;
    high[axis] = (int64_t)draw(g, 4) - (x->type.dim[axis] > 1);
    interior[axis] = draw(g, 4) == 0;
    if (x->type.dim[axis] + low[axis] + high[axis] < 1)
        return x;
    return ir_pad(&g->b, x, ir_scalar(&g->b, IR_F64, draw(g, 3) ? 0 : 2), low, high, interior);
}

/* A tensor taken apart along an axis and put together from zeros and parts, as the gradient of a split does. */
static inline ir_value *apart(gen *g, ir_value *x)
{
    int axis = (int)draw(g, (uint32_t)x->type.rank);
    int64_t d = x->type.dim[axis], at = d / 2, low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0};
    if (d < 2)
        return x;
    ir_value *a = ir_neg(&g->b, ir_slice_axis(&g->b, x, axis, 0, at)), *c = ir_slice_axis(&g->b, x, axis, at, d);
    if (draw(g, 2))
        return ir_concat(&g->b, (ir_value *[]){c, a}, 2, axis);
    ir_value *zero = ir_scalar(&g->b, IR_F64, 0);
    high[axis] = d - at;
    a = ir_pad(&g->b, a, zero, low, high, NULL);
    low[axis] = at;
    high[axis] = 0;
    return ir_add(&g->b, ir_pad(&g->b, c, zero, low, high, NULL), a);
}

static inline ir_value *move(gen *g)
{
    ir_value *x = any(g);
    int rank = x->type.rank;
    if (!rank)
        return repeated(g, x);
    int64_t perm[IR_MAX_RANK], start[IR_MAX_RANK] = {0}, limit[IR_MAX_RANK], stride[IR_MAX_RANK], axis = draw(g, (uint32_t)rank);
    for (int i = 0; i < rank; i++) {
        perm[i] = i;
        limit[i] = x->type.dim[i];
        stride[i] = 1;
    }
    switch (draw(g, 8)) {
    case 0: return reshaped(g, x);
    case 1: return rank < 4 ? repeated(g, x) : x;
    case 2:
        for (int i = rank - 1; i > 0; i--) {
            int j = (int)draw(g, (uint32_t)i + 1);
            int64_t t = perm[i];
            perm[i] = perm[j];
            perm[j] = t;
        }
        return ir_transpose(&g->b, x, perm);
    case 3:
        start[axis] = draw(g, (uint32_t)x->type.dim[axis]);
        limit[axis] = start[axis] + 1 + draw(g, (uint32_t)(x->type.dim[axis] - start[axis]));
        stride[axis] = 1 + draw(g, 2);
        return ir_slice(&g->b, x, start, limit, stride);
    case 4: return padded(g, x);
    case 5: return ir_reverse(&g->b, x, 1, &axis);
    case 6: return ir_count(&x->type) < 100 ? ir_concat(&g->b, (ir_value *[]){x, like(g, x), x}, 3, (int)axis) : x;
    default: return apart(g, x);
    }
}

static inline ir_value *reduced(gen *g)
{
    ir_value *x = any(g);
    int64_t axes[IR_MAX_RANK];
    int n = 0;
    for (int i = 0; i < x->type.rank; i++)
        if (draw(g, 2))
            axes[n++] = i;
    return cut(g, ir_reduce(&g->b, draw(g, 2) ? IR_SUM : draw(g, 2) ? IR_MAX : IR_MIN, x, n, axes));
}

/* Contracts one dimension of two values, with a batch dimension where one fits. */
static inline ir_value *contracted(gen *g)
{
    ir_value *x = any(g), *y = any(g);
    for (int tries = 0; tries < 8; tries++) {
        if (!x->type.rank || !y->type.rank || x->type.rank + y->type.rank > 6)
            return x;
        int64_t i = draw(g, (uint32_t)x->type.rank), j = draw(g, (uint32_t)y->type.rank), p = draw(g, (uint32_t)x->type.rank),
                q = draw(g, (uint32_t)y->type.rank);
        if (x->type.dim[i] != y->type.dim[j])
            continue;
        int batch = p != i && q != j && x->type.dim[p] == y->type.dim[q] && draw(g, 2);
        ir_value *d = ir_dot_general(&g->b, x, y, batch, &p, &q, 1, &i, &j);
        return ir_count(&d->type) < 300 ? cut(g, d) : x;
    }
    return x;
}

/* The next value into the pool. */
static inline void more(gen *g, ir_value *v)
{
    if (v->type.rank <= 5 && ir_count(&v->type) <= 400)
        g->pool[g->n < POOL ? g->n++ : (int)draw(g, POOL)] = v;
}

static inline void inputs(ir_arena *arena, const ir_func *f, ir_literal **args)
{
    for (int i = 0; i < f->params.count; i++) {
        args[i] = ir_literal_new(arena, &f->params.items[i].value->type);
        for (int64_t k = 0; k < ir_count(&args[i]->type); k++)
            ir_literal_set(args[i], k, (double)((k * 5 + i * 3) % 9 - 4));
    }
}

static inline void equal(uint64_t seed, const char *name, const ir_literal *a, const ir_literal *b)
{
    ck_assert(ir_type_eq(&a->type, &b->type));
    for (int64_t i = 0; i < ir_count(&a->type); i++) {
        double x = ir_literal_get(a, i), y = ir_literal_get(b, i);
        ck_assert_msg(x == y, "seed %d: %s, element %d is %g, was %g", (int)seed, name, (int)i, y, x);
    }
}

#endif
