/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Generators for random graphs: numbers that follow from a seed, types, and values of a given type.
 * A requested value comes from the pool of existing ones, or is made from one, often behind a chain
 * of views that is drawn backwards from the requested type.
 *
 * Floats are kept within GEN_LIMIT: each value has a bound of its magnitude (`aux`), and values
 * that may exceed it are scaled.
 *
 * An argument list or initializer has at most one call that draws or builds, since C leaves the
 * order of evaluation to the compiler. */
#ifndef TESTS_GRAPH_GEN_H
#define TESTS_GRAPH_GEN_H

#include "ir/ir.h"

#include <math.h>
#include <string.h>

enum { GEN_POOL = 48, GEN_LIMIT = 64, GEN_RANK = 6 };

typedef struct gen_profile {
    unsigned types;  /* a bit for each ir_dtype that may be drawn */
    bool smooth;     /* for derivatives: no while_loop, no bits of floats */
    bool exact;      /* floats are small integers, and stay so: sums in any order are exact */
    bool raw;        /* domains are not guarded: NaN and infinities occur */
    bool states;     /* parameters and statistics */
    bool trains;     /* a loss, and parameters that train */
    bool may_miss;   /* indices may be out of range */
    int64_t most;    /* elements of a value */
    int steps, depth; /* instructions that are tried, bodies inside bodies */
} gen_profile;

typedef enum gen_domain {
    GEN_ANY,
    GEN_SMALL,
    GEN_TINY,
    GEN_POSITIVE,
    GEN_NOT_NEGATIVE,
    GEN_UNIT,
    GEN_ABOVE_1
} gen_domain;

typedef struct gen {
    const gen_profile *p;
    uint64_t *random;
    ir_builder b;
    int depth; /* of the function that is made; only that of depth 0 gets new inputs and states */
    ir_value *pool[GEN_POOL];
    int n;
    gen_domain domain; /* of the values below views */
    bool stored;       /* views are of inputs, states and constants, whose bits are known */
} gen;

static inline uint32_t draw(gen *g, uint32_t below)
{
    *g->random = *g->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*g->random >> 33) % below;
}

static inline bool one_in(gen *g, uint32_t n)
{
    return draw(g, n) == 0;
}

static inline base_arena *gen_arena(gen *g)
{
    return g->b.func->module->arena;
}

static inline ir_ints gen_ints(gen *g, int n, int64_t low, int64_t high)
{
    int64_t v[IR_MAX_RANK] = {0};
    for (int i = 0; i < n; i++)
        v[i] = low + draw(g, (uint32_t)(high - low + 1));
    return ir_ints_of(&g->b, n, v);
}

static inline ir_ints gen_order(gen *g, int n)
{
    int64_t v[IR_MAX_RANK] = {0};
    for (int i = 0; i < n; i++) {
        int j = (int)draw(g, (uint32_t)i + 1);
        v[i] = v[j];
        v[j] = i;
    }
    return ir_ints_of(&g->b, n, v);
}

/* A random subset of 0 to n - 1, ascending. */
static inline ir_ints gen_subset(gen *g, int n)
{
    int64_t v[IR_MAX_RANK] = {0};
    int k = 0;
    for (int i = 0; i < n; i++)
        if (draw(g, 2))
            v[k++] = i;
    return ir_ints_of(&g->b, k, v);
}

/* ---- Types ---- */

static inline ir_dtype gen_dtype(gen *g, int classes)
{
    ir_dtype all[2 * IR_DTYPES];
    uint32_t n = 0;
    for (int t = 0; t < IR_DTYPES; t++)
        for (int k = t == IR_F32 || t == IR_F64 ? 0 : 1;
             k < 2 && (g->p->types >> t & 1) && (ir_dtypes[t].class & classes); k++)
            all[n++] = (ir_dtype)t;
    return n ? all[draw(g, n)] : IR_DTYPES;
}

static inline int64_t gen_extent(gen *g)
{
    static const int64_t often[] = {1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 16, 17};
    if (one_in(g, 40))
        return 0;
    return one_in(g, 40) ? 33 : often[draw(g, sizeof often / sizeof *often)];
}

static inline ir_type gen_shape(gen *g, ir_dtype t, int64_t most)
{
    static const int ranks[] = {0, 1, 1, 2, 2, 2, 3, 3, 4, 5};
    ir_type type = {.dtype = t, .rank = ranks[draw(g, 10)]};
    int64_t count = 1;
    for (int i = 0; i < type.rank; i++) {
        type.dim[i] = gen_extent(g);
        if (count * type.dim[i] > most)
            type.dim[i] = 1 + draw(g, 2);
        if (count * type.dim[i] > most)
            type.dim[i] = 1;
        count *= type.dim[i] ? type.dim[i] : 1;
    }
    return type;
}

static inline ir_value *gen_any(gen *g)
{
    return g->pool[one_in(g, 3) ? (uint32_t)g->n - 1 : draw(g, (uint32_t)g->n)];
}

/* A type of these classes: that of an existing value, or a new one. No dtype if the profile has
 * none of them. */
static inline ir_type gen_type(gen *g, int classes)
{
    for (int tries = 0; tries < 4 && draw(g, 3) && g->n; tries++) {
        ir_value *v = gen_any(g);
        if ((ir_dtypes[v->type.dtype].class & classes) && (g->p->types >> v->type.dtype & 1))
            return v->type;
    }
    ir_dtype t = gen_dtype(g, classes);
    return t == IR_DTYPES ? (ir_type){.dtype = t} : gen_shape(g, t, g->p->most);
}

/* ---- Magnitudes ---- */

static inline double gen_largest(ir_dtype t)
{
    return t == IR_BOOL     ? 1
           : ir_is_float(t) ? GEN_LIMIT
                            : ldexp(1, 8 * ir_dtypes[t].bytes - ir_is_signed(t));
}

static inline double gen_bound(const ir_value *v)
{
    if (v->aux)
        return *(const double *)v->aux;
    double most = 0;
    for (int i = 0; v->def && i < v->def->noperands; i++)
        if (v->def->operand[i]->type.dtype == v->type.dtype)
            most = fmax(most, gen_bound(v->def->operand[i]));
    return most > 0 ? most : gen_largest(v->type.dtype);
}

static inline ir_value *gen_bounded(gen *g, ir_value *v, double bound)
{
    v->aux = base_memdup(gen_arena(g), &bound, sizeof bound);
    return v;
}

static inline ir_value *gen_clamped(gen *g, ir_value *v, double limit)
{
    ir_value *high = ir_splat(&g->b, &v->type, limit), *low = ir_splat(&g->b, &v->type, -limit);
    return ir_max(&g->b, ir_min(&g->b, v, high), low);
}

/* v with magnitudes of at most `limit`, given that they are at most `bound`. */
static inline ir_value *gen_scaled(gen *g, ir_value *v, double bound, double limit)
{
    if (!ir_is_float(v->type.dtype) || !(bound > limit))
        return gen_bounded(g, v, bound);
    if (g->p->exact || (!g->p->smooth && one_in(g, 4)))
        return gen_bounded(g, gen_clamped(g, v, limit), limit);
    int e = (int)ceil(log2(fmin(bound, 1e30) / limit));
    v = ir_mul(&g->b, v, ir_splat(&g->b, &v->type, ldexp(1, -e)));
    return gen_bounded(g, v, ldexp(fmin(bound, 1e30), -e));
}

/* v moved into a domain; integers are left as they are. */
static inline ir_value *gen_guarded(gen *g, ir_value *v, gen_domain domain)
{
    if (domain == GEN_ANY || !ir_is_float(v->type.dtype) || (g->p->raw && one_in(g, 3)))
        return v;
    double bound = gen_bound(v), offset = domain == GEN_POSITIVE  ? 0.5
                                          : domain == GEN_ABOVE_1 ? 1.25
                                                                  : 0;
    switch (domain) {
    case GEN_SMALL: return gen_scaled(g, v, bound, 4);
    case GEN_TINY: return gen_scaled(g, v, bound, 1.25);
    case GEN_UNIT: return gen_scaled(g, v, bound, 0.875);
    default: break;
    }
    v = gen_scaled(g, v, bound, 8);
    bound = gen_bound(v);
    ir_value *w = draw(g, 2) ? ir_abs(&g->b, v) : ir_mul(&g->b, v, v);
    return gen_bounded(g, ir_add(&g->b, w, ir_splat(&g->b, &w->type, offset)),
                       fmax(bound, bound * bound) + offset);
}

/* ---- Values ---- */

static inline void gen_push(gen *g, ir_value *v)
{
    if (v->type.rank > GEN_RANK || ir_count(&v->type) > g->p->most)
        return;
    if (g->n < GEN_POOL) {
        g->pool[g->n++] = v;
        return;
    }
    g->pool[draw(g, GEN_POOL - 1)] = g->pool[GEN_POOL - 1];
    g->pool[GEN_POOL - 1] = v;
}

static inline ir_value *gen_input(gen *g, const ir_type *t)
{
    ir_value *v =
        ir_add_input(g->b.func, base_format(gen_arena(g), "x%d", g->b.func->params.count), t);
    gen_bounded(g, v, ir_is_float(t->dtype) ? 4 : gen_largest(t->dtype));
    gen_push(g, v);
    return v;
}

static inline ir_literal *gen_literal(gen *g, const ir_type *t)
{
    ir_literal *l = ir_literal_new(gen_arena(g), t);
    bool real = !g->p->exact && (g->p->smooth || draw(g, 2));
    for (int64_t i = 0; i < ir_count(t); i++)
        if (!ir_is_float(t->dtype))
            ir_literal_set_int(
                l, i, draw(g, t->dtype == IR_BOOL ? 2 : 9) - (ir_is_signed(t->dtype) ? 4 : 0));
        else
            ir_literal_set(l, i, real ? (double)draw(g, 4096) / 1024 - 2 : (double)draw(g, 9) - 4);
    return l;
}

static inline ir_value *gen_splat(gen *g, const ir_type *t)
{
    static const double numbers[] = {0, 1, 2, 3, -1, -2, 0.5, 0.25};
    int class = ir_dtypes[t->dtype].class;
    uint32_t n = class == IR_CLASS_B                  ? 2
                 : class == IR_CLASS_U                ? 4
                 : class == IR_CLASS_S || g->p->exact ? 6
                                                      : 8;
    ir_value *v = ir_splat(&g->b, t, numbers[draw(g, n)]);
    return gen_bounded(g, v, 3);
}

static inline ir_value *gen_constant(gen *g, const ir_type *t)
{
    if (t->rank && t->dtype != IR_BOOL && one_in(g, 4)) {
        int axis = (int)draw(g, (uint32_t)t->rank);
        if (t->dim[axis] <= 33)
            return gen_bounded(g, ir_iota(&g->b, t->dtype, t->rank, t->dim, axis), 33);
    }
    if (ir_count(t) > 64 || one_in(g, 3))
        return gen_splat(g, t);
    return gen_bounded(g, ir_constant(&g->b, gen_literal(g, t)), 4);
}

static inline ir_value *gen_state(gen *g, const ir_type *t)
{
    ir_module *m = g->b.func->module;
    ir_state *s = ir_state_new(m, base_format(m->arena, "w%d", m->states.count), IR_PARAM, t);
    s->trainable = ir_is_float(t->dtype) && draw(g, 5);
    s->init = ir_count(t) && ir_count(t) <= 64 && draw(g, 2) ? gen_literal(g, t) : NULL;
    ir_value *v = gen_bounded(g, ir_add_state(g->b.func, s),
                              ir_is_float(t->dtype) ? 4 : gen_largest(t->dtype));
    gen_push(g, v);
    return v;
}

static inline ir_value *gen_find(gen *g, const ir_type *t)
{
    uint32_t from = draw(g, (uint32_t)g->n + 1);
    for (int i = 0; i < g->n; i++) {
        ir_value *v = g->pool[(from + (uint32_t)i) % (uint32_t)g->n];
        if (ir_type_eq(&v->type, t))
            return v;
    }
    return NULL;
}

/* A small non-negative integer, for floats and indices. */
static inline ir_value *gen_small_int(gen *g, ir_value *v)
{
    if (v->type.dtype == IR_BOOL || (v->aux && gen_bound(v) <= 16 && !ir_is_signed(v->type.dtype)))
        return v;
    return gen_bounded(g, ir_and(&g->b, v, ir_splat(&g->b, &v->type, 15)), 15);
}

static inline ir_value *gen_converted(gen *g, ir_value *v, ir_dtype to)
{
    if (v->type.dtype == to)
        return v;
    if (to == IR_BOOL && draw(g, 4)) {
        ir_relation relation = (ir_relation)draw(g, 6);
        return ir_compare(&g->b, relation, v, gen_splat(g, &v->type));
    }
    if (ir_is_float(to) && !ir_is_float(v->type.dtype) && gen_bound(v) > GEN_LIMIT)
        v = gen_small_int(g, v);
    double bound = gen_bound(v);
    return gen_bounded(g, ir_convert(&g->b, v, to), fmin(bound, gen_largest(to)));
}

/* n elements of a value of rank 1: a part of them, or repeated, or with padding. */
static inline ir_value *gen_resized(gen *g, ir_value *v, int64_t n)
{
    int64_t has = v->type.dim[0], low = 0;
    if (has == n)
        return v;
    if (has > n) {
        int64_t stride = n > 1 && draw(g, 2) ? (has - 1) / (n - 1) : 1,
                start = draw(g, (uint32_t)(has - (n ? (n - 1) * stride + 1 : 0) + 1));
        int64_t limit = n ? start + (n - 1) * stride + 1 : start;
        return ir_slice(&g->b, v, &start, &limit, &stride);
    }
    if (has && n % has == 0 && draw(g, 4)) {
        int64_t inner = draw(g, 2), shape[2] = {inner ? n / has : has, inner ? has : n / has};
        return ir_reshape(&g->b, ir_broadcast(&g->b, v, 2, shape, &inner), 1, &n);
    }
    int64_t high = n - has;
    return ir_pad(&g->b, v, ir_scalar(&g->b, v->type.dtype, 1), &low, &high, NULL);
}

/* Any value, converted to type t. */
static inline ir_value *gen_adapted(gen *g, const ir_type *t)
{
    if (!g->n)
        return gen_constant(g, t);
    ir_value *v = gen_any(g);
    for (int tries = 0; tries < 4 && v->type.dtype != t->dtype; tries++)
        v = g->pool[draw(g, (uint32_t)g->n)];
    int64_t n = ir_count(&v->type);
    if (!ir_shape_eq(&v->type, t))
        v = ir_reshape(&g->b, gen_resized(g, ir_reshape(&g->b, v, 1, &n), ir_count(t)), t->rank,
                       t->dim);
    return gen_converted(g, v, t->dtype);
}

/* A new input or state. */
static inline ir_value *gen_held(gen *g, const ir_type *t)
{
    uint32_t how = draw(g, 12);
    return g->p->states && (g->p->trains && ir_is_float(t->dtype) ? how < 8 : how < 3)
               ? gen_state(g, t)
               : gen_input(g, t);
}

static inline ir_value *gen_any_leaf(gen *g, const ir_type *t)
{
    uint32_t how = draw(g, 16);
    if (g->stored)
        return g->depth || how > 13 ? gen_constant(g, t) : gen_held(g, t);
    if (how < 10) {
        ir_value *v = gen_find(g, t);
        if (v)
            return v;
    }
    if (how == 13 || (how > 13 && g->depth))
        return gen_constant(g, t);
    if (how > 13 || (how > 11 && !g->depth))
        return gen_held(g, t);
    return gen_adapted(g, t);
}

static inline ir_value *gen_leaf(gen *g, const ir_type *t)
{
    return gen_guarded(g, gen_any_leaf(g, t), g->domain);
}

/* ---- Views, drawn backwards ---- */

static inline ir_value *gen_viewed(gen *g, const ir_type *t, int depth);

static inline ir_value *gen_via_transpose(gen *g, const ir_type *t, int depth)
{
    ir_ints perm = gen_order(g, t->rank);
    ir_type from = *t;
    for (int i = 0; i < t->rank; i++)
        from.dim[perm.v[i]] = t->dim[i];
    return ir_transpose(&g->b, gen_viewed(g, &from, depth), perm.v);
}

static inline ir_value *gen_via_reverse(gen *g, const ir_type *t, int depth)
{
    ir_ints axes = gen_subset(g, t->rank);
    ir_value *v = gen_viewed(g, t, depth);
    return axes.n ? ir_reverse(&g->b, v, axes.n, axes.v) : v;
}

static inline ir_value *gen_via_broadcast(gen *g, const ir_type *t, int depth)
{
    ir_type from = {.dtype = t->dtype};
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < t->rank; i++) {
        uint32_t how = draw(g, 4);
        if (how == 0)
            continue;
        dims[from.rank] = i;
        from.dim[from.rank++] = how == 1 ? 1 : t->dim[i];
    }
    return ir_broadcast(&g->b, gen_viewed(g, &from, depth), t->rank, t->dim, dims);
}

/* Splits a dimension into two neighbours, of which one may be repeated: the reshape of a
 * broadcast. */
static inline ir_value *gen_via_split(gen *g, const ir_type *t, int depth)
{
    int axis = (int)draw(g, (uint32_t)t->rank);
    int64_t extent = t->dim[axis], parts[IR_MAX_RANK], n = 0;
    for (int64_t k = 1; k <= extent && n < IR_MAX_RANK; k++)
        if (extent % k == 0)
            parts[n++] = k;
    ir_type wide = *t, from = {.dtype = t->dtype};
    int64_t dims[IR_MAX_RANK], outer = n ? parts[draw(g, (uint32_t)n)] : 1;
    memmove(wide.dim + axis + 1, wide.dim + axis, (size_t)(wide.rank - axis) * sizeof *wide.dim);
    wide.rank++;
    wide.dim[axis] = outer;
    wide.dim[axis + 1] = extent / outer;
    if (draw(g, 3) == 0) /* no repeated one */
        return ir_reshape(&g->b, gen_viewed(g, &wide, depth), t->rank, t->dim);
    int dropped = axis + (int)draw(g, 2);
    for (int i = 0; i < wide.rank; i++)
        if (i != dropped) {
            dims[from.rank] = i;
            from.dim[from.rank++] = wide.dim[i];
        }
    ir_value *v = ir_broadcast(&g->b, gen_viewed(g, &from, depth), wide.rank, wide.dim, dims);
    return ir_reshape(&g->b, v, t->rank, t->dim);
}

/* Merges neighbouring dimensions, inserts or drops unit dimensions. */
static inline ir_value *gen_via_reshape(gen *g, const ir_type *t, int depth)
{
    ir_type from = {.dtype = t->dtype};
    for (int i = 0; i < t->rank; i++) {
        uint32_t how = draw(g, 4);
        if (how == 0 && from.rank) {
            from.dim[from.rank - 1] *= t->dim[i];
            continue;
        }
        if (how == 1 && from.rank < GEN_RANK - 1 && from.rank < IR_MAX_RANK - t->rank)
            from.dim[from.rank++] = 1;
        if (how != 2 || t->dim[i] != 1)
            from.dim[from.rank++] = t->dim[i];
    }
    if (from.rank < GEN_RANK && one_in(g, 4))
        from.dim[from.rank++] = 1;
    return ir_reshape(&g->b, gen_viewed(g, &from, depth), t->rank, t->dim);
}

static inline ir_value *gen_via_slice(gen *g, const ir_type *t, int depth)
{
    ir_type from = *t;
    int64_t start[IR_MAX_RANK], limit[IR_MAX_RANK], stride[IR_MAX_RANK];
    for (int i = 0; i < t->rank; i++) {
        bool whole = draw(g, 2);
        start[i] = whole ? 0 : draw(g, 3);
        stride[i] = whole ? 1 : 1 + draw(g, 3);
        limit[i] = start[i] + (t->dim[i] ? (t->dim[i] - 1) * stride[i] + 1 : 0);
        from.dim[i] = limit[i] + (whole ? 0 : draw(g, 2));
        if (!whole && limit[i] < from.dim[i] && stride[i] > 1 && t->dim[i])
            limit[i]++;
    }
    if (ir_count(&from) > g->p->most)
        return gen_viewed(g, t, depth);
    return ir_slice(&g->b, gen_viewed(g, &from, depth), start, limit, stride);
}

static inline ir_value *gen_via_pad(gen *g, const ir_type *t, int depth)
{
    ir_type from = *t;
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0}, interior[IR_MAX_RANK] = {0};
    int axis = (int)draw(g, (uint32_t)t->rank);
    low[axis] = (int64_t)draw(g, 4) - 1;
    high[axis] = (int64_t)draw(g, 4) - 1;
    int64_t n = t->dim[axis] - low[axis] - high[axis];
    if (n < 0)
        return gen_viewed(g, t, depth);
    interior[axis] = n % 2 && one_in(g, 3); /* extent k becomes 2k - 1 */
    from.dim[axis] = interior[axis] ? (n + 1) / 2 : n;
    if (ir_count(&from) > g->p->most)
        return gen_viewed(g, t, depth);
    ir_type scalar = ir_scalar_type(t->dtype);
    ir_value *fill =
        draw(g, 3) ? gen_guarded(g, gen_splat(g, &scalar), g->domain) : gen_leaf(g, &scalar);
    return ir_pad(&g->b, gen_viewed(g, &from, depth), fill, low, high, interior);
}

static inline ir_value *gen_via_concat(gen *g, const ir_type *t, int depth)
{
    int axis = (int)draw(g, (uint32_t)t->rank), n = 0;
    ir_value *part[3];
    int64_t left = t->dim[axis];
    while (n < 3 && (left || !n)) {
        ir_type from = *t;
        from.dim[axis] = n == 2 ? left : (int64_t)draw(g, (uint32_t)left + 1);
        left -= from.dim[axis];
        part[n] = gen_viewed(g, &from, n ? 0 : depth);
        n++;
    }
    return ir_concat(&g->b, part, n, axis);
}

typedef ir_value *gen_via(gen *g, const ir_type *t, int depth);

/* A value of type t behind at least `depth` views or moves. */
static inline ir_value *gen_viewed(gen *g, const ir_type *t, int depth)
{
    static gen_via *const ways[] = {
        gen_via_transpose, gen_via_reverse,   gen_via_broadcast, gen_via_split,     gen_via_reshape,
        gen_via_slice,     gen_via_transpose, gen_via_reverse,   gen_via_broadcast, gen_via_split,
        gen_via_reshape,   gen_via_slice,     gen_via_pad,       gen_via_concat};
    if (depth <= 0 || t->rank > GEN_RANK)
        return gen_leaf(g, t);
    gen_via *way = ways[draw(g, sizeof ways / sizeof *ways)];
    if (!t->rank)
        way = gen_via_reshape;
    return way(g, t, depth - 1);
}

static inline ir_value *gen_operand(gen *g, const ir_type *t)
{
    static const int depths[] = {0, 0, 0, 1, 1, 2, 2, 3};
    return gen_viewed(g, t, depths[draw(g, 8)]);
}

/* A value within a domain: moved into it after its views, or before them. */
static inline ir_value *gen_operand_in(gen *g, const ir_type *t, gen_domain domain)
{
    if (draw(g, 2))
        return gen_guarded(g, gen_operand(g, t), domain);
    g->domain = domain;
    ir_value *v = gen_operand(g, t);
    g->domain = GEN_ANY;
    return v;
}

#endif
