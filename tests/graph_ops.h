/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Random instructions: a maker for each shape rule of ir/ops.def, so that a new rule without one
 * does not compile. A maker draws attributes and the types of the operands, tries whether they fit,
 * asks for values of these types, and puts the results into the pool. */
#ifndef TESTS_GRAPH_OPS_H
#define TESTS_GRAPH_OPS_H

#include "passes/passes.h"
#include "tests/graph_contract.h"

enum { GEN_BODY = 8 };

typedef bool gen_maker(gen *g, ir_op op); /* false: nothing was made */

static inline bool gen_make(gen *g);

/* ---- Elementwise ---- */

static inline gen_domain gen_domain_of(ir_op op, int operand)
{
    switch (op) {
    case IR_OP_exp: case IR_OP_expm1: case IR_OP_sinh: case IR_OP_cosh: return GEN_SMALL;
    case IR_OP_tan: return GEN_TINY;
    case IR_OP_log: case IR_OP_sqrt: case IR_OP_rsqrt: return GEN_POSITIVE;
    case IR_OP_log1p: return GEN_NOT_NEGATIVE;
    case IR_OP_asin: case IR_OP_acos: case IR_OP_atanh: return GEN_UNIT;
    case IR_OP_acosh: return GEN_ABOVE_1;
    case IR_OP_div: case IR_OP_rem: return operand ? GEN_POSITIVE : GEN_ANY;
    case IR_OP_pow: return operand ? GEN_TINY : GEN_POSITIVE;
    case IR_OP_atan2: return operand ? GEN_POSITIVE : GEN_ANY;
    default: return GEN_ANY;
    }
}

/* Of a float result. */
static inline double gen_bound_of(ir_op op, ir_value *const *x)
{
    double a = gen_bound(x[0]), b = ir_ops[op].operands > 1 ? gen_bound(x[1]) : 0;
    switch (op) {
    case IR_OP_exp: case IR_OP_expm1: case IR_OP_sinh: case IR_OP_cosh: return exp(fmin(a, 88));
    case IR_OP_add: case IR_OP_sub: return a + b;
    case IR_OP_mul: return a * b;
    case IR_OP_div: return 2 * a;
    case IR_OP_pow: return pow(a + 1, fmin(b, 8)) + 4;
    case IR_OP_neg: case IR_OP_abs: case IR_OP_max: case IR_OP_min: case IR_OP_copy:
    case IR_OP_stop_gradient: case IR_OP_rem: return fmax(a, b);
    default: return fmax(a, 4);
    }
}

/* An operation on floats that are small integers. */
static inline bool gen_make_exact(gen *g, ir_op op, const ir_type *t)
{
    ir_value *x[2] = {gen_operand(g, t), NULL}, *y;
    switch (op) {
    case IR_OP_neg: case IR_OP_abs: case IR_OP_sign: case IR_OP_floor: case IR_OP_ceil:
    case IR_OP_round: case IR_OP_copy: case IR_OP_stop_gradient:
    case IR_OP_add: case IR_OP_sub: case IR_OP_mul: case IR_OP_max: case IR_OP_min:
        if (ir_ops[op].operands > 1)
            x[1] = one_in(g, 12) ? x[0] : gen_operand(g, t);
        return gen_append(g, op, x, ir_ops[op].operands, NULL, gen_bound_of(op, x));
    case IR_OP_div:
        y = ir_div(&g->b, x[0], ir_splat(&g->b, t, 1 << draw(g, 3)));
        break;
    case IR_OP_pow:
        x[1] = ir_splat(&g->b, t, draw(g, 4));
        y = ir_binary(&g->b, op, gen_clamped(g, x[0], 3), x[1]);
        break;
    default: return false;
    }
    gen_push(g, gen_bounded(g, ir_floor(&g->b, y), GEN_LIMIT));
    return true;
}

static inline bool gen_make_same(gen *g, ir_op op)
{
    ir_type t = gen_type(g, ir_ops[op].classes);
    if (g->p->exact && ir_is_float(t.dtype))
        return gen_make_exact(g, op, &t);
    if (t.dtype == IR_DTYPES || (op == IR_OP_stop_gradient && g->p->smooth && draw(g, 16)))
        return false;
    ir_value *x[2] = {NULL, NULL};
    for (int i = 0; i < ir_ops[op].operands; i++) {
        x[i] = i && one_in(g, 12) ? x[0] : gen_operand_in(g, &t, gen_domain_of(op, i));
        if (i && (op == IR_OP_shl || op == IR_OP_shr || op == IR_OP_pow) && !ir_is_float(t.dtype) &&
            draw(g, 3))
            x[i] = gen_small_int(g, x[i]);
    }
    double bound = ir_is_float(t.dtype) ? gen_bound_of(op, x) : 0;
    return gen_append(g, op, x, ir_ops[op].operands, NULL, bound);
}

static inline bool gen_make_predicate(gen *g, ir_op op)
{
    ir_type t = gen_type(g, ir_ops[op].classes);
    if (t.dtype == IR_DTYPES)
        return false;
    ir_value *x[2] = {gen_operand(g, &t), NULL};
    if (ir_ops[op].operands > 1)
        x[1] = draw(g, 3) ? gen_operand(g, &t) : gen_splat(g, &t);
    ir_attrs a = {0};
    if (op == IR_OP_compare)
        a.compare.relation = (ir_relation)draw(g, 6);
    return gen_append(g, op, x, ir_ops[op].operands, &a, 0);
}

static inline bool gen_make_select(gen *g, ir_op op)
{
    ir_type t = gen_type(g, IR_CLASS_ANY), c = t;
    c.dtype = IR_BOOL;
    ir_value *condition = gen_operand(g, &c), *yes = gen_operand(g, &t), *no = gen_operand(g, &t);
    return gen_append(g, op, (ir_value *[]){condition, yes, no}, 3, NULL,
                      fmax(gen_bound(yes), gen_bound(no)));
}

static inline bool gen_make_convert(gen *g, ir_op op)
{
    (void)op;
    ir_type t = gen_type(g, IR_CLASS_ANY);
    ir_dtype to = gen_dtype(g, IR_CLASS_ANY);
    ir_value *v = gen_converted(g, gen_operand(g, &t), to);
    gen_push(g, v);
    return true;
}

static inline bool gen_make_bitcast(gen *g, ir_op op)
{
    ir_type t = gen_type(g, IR_CLASS_ANY);
    ir_dtype all[IR_DTYPES];
    uint32_t n = 0;
    bool real = ir_is_float(t.dtype);
    for (int i = 0; i < IR_DTYPES; i++)
        if (ir_dtypes[i].bytes == ir_dtypes[t.dtype].bytes && (g->p->types >> i & 1) &&
            (i == (int)t.dtype || g->p->raw || !real || !ir_is_float((ir_dtype)i)))
            all[n++] = (ir_dtype)i;
    ir_dtype to = all[draw(g, n)];
    if ((real && g->p->smooth && draw(g, 8)) || (to != t.dtype && ir_is_float(to) && g->p->exact))
        return false;
    g->stored = real && to != t.dtype; /* computed values have other bits in compiled code */
    ir_value *v = gen_operand(g, &t);
    g->stored = false;
    bool tame = ir_is_float(to) && !real && !g->p->raw;
    if (tame) { /* a positive number below 2 */
        int low = 8 * ir_dtypes[to].bytes - 16;
        v = ir_and(&g->b, v, ir_splat(&g->b, &t, ldexp(0x3fff, low)));
        v = ir_or(&g->b, v, ir_splat(&g->b, &t, ldexp(0x2000, low)));
    }
    return gen_append(g, op, &v, 1, &(ir_attrs){.bitcast.to = to}, tame ? 2 : 0);
}

static inline bool gen_make_constant(gen *g, ir_op op)
{
    (void)op;
    ir_type t = gen_type(g, IR_CLASS_ANY);
    gen_push(g, gen_constant(g, &t));
    return true;
}

static inline bool gen_make_iota(gen *g, ir_op op)
{
    ir_type t = gen_type(g, IR_CLASS_ANY);
    if (!t.rank)
        return false;
    ir_attrs a = {.iota = {.to = t.dtype,
                           .shape = ir_ints_of(&g->b, t.rank, t.dim),
                           .axis = draw(g, (uint32_t)t.rank)}};
    return gen_append(g, op, NULL, 0, &a, (double)t.dim[a.iota.axis]);
}

/* ---- Moves ---- */

/* One of the views that gen_viewed draws, perhaps followed by another. */
static inline bool gen_make_via(gen *g, gen_via *way)
{
    ir_type t = gen_type(g, IR_CLASS_ANY);
    if (!t.rank)
        return false;
    gen_push(g, way(g, &t, (int)draw(g, 2)));
    return true;
}
static inline bool gen_make_transpose(gen *g, ir_op op)
{
    (void)op;
    return gen_make_via(g, gen_via_transpose);
}
static inline bool gen_make_reverse(gen *g, ir_op op)
{
    (void)op;
    return gen_make_via(g, gen_via_reverse);
}
static inline bool gen_make_slice(gen *g, ir_op op)
{
    (void)op;
    return gen_make_via(g, gen_via_slice);
}
static inline bool gen_make_reshape(gen *g, ir_op op)
{
    (void)op;
    return gen_make_via(g, draw(g, 2) ? gen_via_split : gen_via_reshape);
}
static inline bool gen_make_broadcast(gen *g, ir_op op)
{
    (void)op;
    return gen_make_via(g, gen_via_broadcast);
}

static inline bool gen_make_pad(gen *g, ir_op op)
{
    ir_type t[2] = {gen_type(g, IR_CLASS_ANY)};
    t[1] = ir_scalar_type(t[0].dtype);
    for (int tries = 0; tries < GEN_TRIES; tries++) {
        ir_attrs a = {0};
        a.pad.low = gen_ints(g, t[0].rank, 0, 3);
        a.pad.high = gen_ints(g, t[0].rank, 0, 3);
        a.pad.interior = gen_ints(g, t[0].rank, 0, 2);
        for (int i = 0; i < t[0].rank; i++) {
            a.pad.low.v[i] = one_in(g, 2) ? 0 : a.pad.low.v[i] - 1;
            a.pad.high.v[i] = one_in(g, 2) ? 0 : a.pad.high.v[i] - 1;
        }
        if (gen_fits(g, op, t, 2, &a))
            return gen_append_two(g, op, t, &a, GEN_LIMIT);
    }
    return false;
}

static inline bool gen_make_concat(gen *g, ir_op op)
{
    ir_type t[4] = {gen_type(g, IR_CLASS_ANY)};
    if (!t[0].rank)
        return false;
    int n = 1 + (int)draw(g, 4);
    ir_attrs a = {.concat.axis = draw(g, (uint32_t)t[0].rank)};
    for (int i = 1; i < n; i++) {
        t[i] = t[0];
        if (draw(g, 2))
            t[i].dim[a.concat.axis] = gen_extent(g);
    }
    if (!gen_fits(g, op, t, n, &a))
        return false;
    ir_value *x[4];
    for (int i = 0; i < n; i++)
        x[i] = i && one_in(g, 4) && ir_type_eq(&t[i], &t[0]) ? x[0] : gen_operand(g, &t[i]);
    return gen_append(g, op, x, n, &a, 0);
}

/* Index vectors of a shape, within the dimensions; computed at run time, or a constant. */
static inline ir_value *gen_indices(gen *g, const ir_type *t, const ir_type *of, ir_ints dims)
{
    ir_type components = ir_type_of(t->dtype, 1, (int64_t[]){dims.n});
    ir_literal *l = ir_literal_new(gen_arena(g), &components);
    int64_t last = t->rank - 1;
    for (int i = 0; i < dims.n; i++)
        ir_literal_set_int(l, i, of->dim[dims.v[i]] ? of->dim[dims.v[i]] : 1);
    if (draw(g, 4) == 0 && ir_count(t) <= 64) {
        ir_literal *all = ir_literal_new(gen_arena(g), t);
        for (int64_t i = 0; i < ir_count(t); i++)
            ir_literal_set_int(all, i, draw(g, (uint32_t)ir_literal_get_int(l, i % dims.n)));
        return ir_constant(&g->b, all);
    }
    ir_value *v = gen_operand(g, t),
             *limit = ir_broadcast(&g->b, ir_constant(&g->b, l), t->rank, t->dim, &last);
    if (g->p->may_miss && one_in(g, 12))
        return v;
    if (draw(g, 2)) { /* clamped */
        ir_value *one = ir_splat(&g->b, t, 1), *zero = ir_splat(&g->b, t, 0);
        return ir_max(&g->b, ir_min(&g->b, v, ir_sub(&g->b, limit, one)), zero);
    }
    int64_t mask = t->dtype == IR_I8 || t->dtype == IR_U8 ? 127 : 1023;
    return ir_rem(&g->b, ir_and(&g->b, v, ir_splat(&g->b, t, (double)mask)), limit);
}

/* The operand's type, the dims and the type of the indices of a gather or scatter. */
static inline bool gen_indexing(gen *g, int classes, ir_type *x, ir_type *index, ir_ints *dims,
                                int64_t *batch)
{
    *x = gen_type(g, classes);
    ir_dtype t = gen_dtype(g, IR_CLASS_I);
    if (x->dtype == IR_DTYPES || t == IR_DTYPES || x->rank > 4)
        return false;
    *batch = draw(g, 3) ? 0 : draw(g, (uint32_t)x->rank + 1);
    *index = gen_shape(g, t, 40);
    if (index->rank + *batch > GEN_RANK - 1)
        return false;
    memmove(index->dim + *batch, index->dim, (size_t)index->rank * sizeof *index->dim);
    memcpy(index->dim, x->dim, (size_t)*batch * sizeof *x->dim);
    index->rank += (int)*batch + 1;
    int64_t v[IR_MAX_RANK];
    int n = 0;
    for (int i = (int)*batch; i < x->rank; i++)
        if (draw(g, 3) < 2)
            v[n++] = i;
    *dims = ir_ints_of(&g->b, n, v);
    index->dim[index->rank - 1] = n;
    return true;
}

static inline bool gen_make_gather(gen *g, ir_op op)
{
    ir_type t[2];
    ir_attrs a = {0};
    for (int tries = 0; tries < GEN_TRIES; tries++)
        if (gen_indexing(g, IR_CLASS_ANY, &t[0], &t[1], &a.gather.dims, &a.gather.batch) &&
            gen_fits(g, op, t, 2, &a)) {
            ir_value *x = gen_operand(g, &t[0]);
            return gen_append(g, op, (ir_value *[]){x, gen_indices(g, &t[1], &t[0], a.gather.dims)},
                              2, &a, 0);
        }
    return false;
}

/* The combinations for elements of a type, with `set` where it is allowed. */
static inline ir_combine gen_combine(gen *g, ir_dtype t, bool set)
{
    static const ir_combine of_bool[] = {IR_MAX, IR_MIN, IR_AND, IR_OR, IR_SET},
                            of_ints[] = {IR_SUM, IR_PROD, IR_MAX, IR_MIN, IR_AND, IR_OR, IR_SET},
                            of_floats[] = {IR_SUM, IR_SUM, IR_PROD, IR_MAX, IR_MIN, IR_SET};
    if (t == IR_BOOL)
        return of_bool[draw(g, set ? 5 : 4)];
    return ir_is_float(t) ? of_floats[draw(g, set ? 6 : 5)] : of_ints[draw(g, set ? 7 : 6)];
}

/* x, scaled so that a product of n elements stays bounded; *bound: that of n combined elements. */
static inline ir_value *gen_combined(gen *g, ir_combine c, ir_value *x, int64_t n, double *bound)
{
    if (c == IR_PROD && ir_is_float(x->type.dtype))
        x = gen_scaled(g, x, gen_bound(x), 2);
    double b = gen_bound(x);
    *bound = c == IR_SUM    ? b * (double)(n + 1)
             : c == IR_PROD ? pow(fmax(b, 1), (double)(n + 1))
                            : fmax(b, GEN_LIMIT);
    return x;
}

static inline bool gen_make_scatter(gen *g, ir_op op)
{
    ir_type t[3];
    ir_attrs a = {0};
    for (int tries = 0; tries < GEN_TRIES; tries++) {
        if (!gen_indexing(g, IR_CLASS_ANY, &t[0], &t[1], &a.scatter.dims, &a.scatter.batch))
            continue;
        ir_attrs gathers = {.gather = {a.scatter.dims, a.scatter.batch, 0}};
        ir_type *due;
        int n;
        ir_value fake[2] = {{.type = t[0]}, {.type = t[1]}}, *operand[2] = {&fake[0], &fake[1]};
        if (!gen_fits(g, IR_OP_gather, t, 2, &gathers) ||
            ir_infer(gen_arena(g), IR_OP_gather, &gathers, operand, 2, &due, &n))
            continue;
        t[2] = *due;
        a.scatter.combine = gen_combine(g, t[0].dtype, true);
        if (!gen_fits(g, op, t, 3, &a))
            continue;
        double bound[2];
        int64_t most = a.scatter.combine == IR_SET ? 1 : ir_count(&t[2]);
        ir_value *x = gen_combined(g, a.scatter.combine, gen_operand(g, &t[0]), most, &bound[0]);
        ir_value *u = gen_combined(g, a.scatter.combine, gen_operand(g, &t[2]), most, &bound[1]);
        if (a.scatter.combine == IR_PROD && most > 20)
            return false;
        return gen_append(g, op, (ir_value *[]){x, gen_indices(g, &t[1], &t[0], a.scatter.dims), u},
                          3, &a, bound[0] + bound[1]);
    }
    return false;
}

/* ---- Reductions, windows, order ---- */

/* The maximum or minimum of no elements is infinite, and infinities stay out of graphs that are not
 * raw: convolutions rely on that. */
static inline ir_value *gen_finite(gen *g, ir_value *v)
{
    if (!ir_is_float(v->type.dtype) || g->p->raw)
        return v;
    gen_bounded(g, v, GEN_LIMIT);
    return gen_bounded(g, gen_clamped(g, v, GEN_LIMIT), GEN_LIMIT);
}

static inline bool gen_make_reduce(gen *g, ir_op op)
{
    ir_type t = gen_type(g, IR_CLASS_ANY);
    ir_attrs a = {.reduce.combine = gen_combine(g, t.dtype, false)};
    a.reduce.axes = gen_subset(g, t.rank);
    int64_t n = 1;
    for (int i = 0; i < a.reduce.axes.n; i++)
        n *= t.dim[a.reduce.axes.v[i]];
    if (!gen_fits(g, op, &t, 1, &a) ||
        (a.reduce.combine == IR_PROD && ir_is_float(t.dtype) && n > 20))
        return false;
    double bound;
    ir_value *x = gen_combined(g, a.reduce.combine, gen_operand(g, &t), n, &bound);
    if (n || a.reduce.combine == IR_SUM || a.reduce.combine == IR_PROD)
        return gen_append(g, op, &x, 1, &a, bound);
    gen_push(g, gen_finite(g, ir_build1(&g->b, op, &x, 1, &a)));
    return true;
}

static inline bool gen_make_arg_reduce(gen *g, ir_op op)
{
    ir_type t = gen_type(g, ir_ops[op].classes);
    if (!t.rank)
        return false;
    ir_combine c = draw(g, 2) ? IR_MAX : IR_MIN;
    uint32_t axis = draw(g, (uint32_t)t.rank), last = draw(g, 2);
    ir_attrs a = {.arg_reduce = {c, axis, last, 0}};
    return gen_fits(g, op, &t, 1, &a) &&
           gen_append(g, op, (ir_value *[]){gen_operand(g, &t)}, 1, &a, 0);
}

/* The attributes that ops on windows share. */
typedef struct gen_window {
    ir_ints window, stride, low, high, window_dilation;
} gen_window;

static inline gen_window gen_window_of(gen *g, int rank)
{
    gen_window w = {.window = gen_ints(g, rank, 1, 3)};
    w.stride = gen_ints(g, rank, 1, 3);
    w.low = gen_ints(g, rank, -1, 2);
    w.high = gen_ints(g, rank, -1, 2);
    w.window_dilation = gen_ints(g, rank, 1, 2);
    return w;
}

static inline int64_t gen_taps(ir_ints window)
{
    int64_t n = 1;
    for (int i = 0; i < window.n; i++)
        n *= window.v[i];
    return n;
}

static inline bool gen_make_reduce_window(gen *g, ir_op op)
{
    for (int tries = 0; tries < GEN_TRIES; tries++) {
        ir_type t = gen_type(g, ir_ops[op].classes);
        if (t.dtype == IR_DTYPES || t.rank > 4)
            continue;
        ir_combine c = (ir_combine)draw(g, 4); /* sum, prod, max, min */
        gen_window w = gen_window_of(g, t.rank);
        ir_attrs a = {.reduce_window = {c, w.window, w.stride, w.low, w.high,
                                        gen_ints(g, t.rank, 1, 2), w.window_dilation, 0}};
        int64_t taps = gen_taps(w.window);
        if (!gen_fits(g, op, &t, 1, &a) || (c == IR_PROD && taps > 20))
            continue;
        double bound;
        ir_value *x = gen_combined(g, c, gen_operand(g, &t), taps, &bound);
        ir_value *y = ir_build1(&g->b, op, &x, 1, &a);
        if (!ir_is_float(t.dtype) || c == IR_SUM || c == IR_PROD) {
            gen_push(g, gen_scaled(g, y, bound, GEN_LIMIT));
            return true;
        }
        gen_push(g, gen_finite(g, y)); /* where all is padding */
        return true;
    }
    return false;
}

/* The type of the operand, the windows, and the type of arg_window's results; or false. */
static inline bool gen_windowing(gen *g, ir_type *t, gen_window *w, ir_type *windows, ir_attrs *a)
{
    *t = gen_type(g, ir_ops[IR_OP_arg_window].classes);
    if (t->dtype == IR_DTYPES || t->rank > 4)
        return false;
    *w = gen_window_of(g, t->rank);
    a->arg_window = (struct ir_attrs_arg_window){
        draw(g, 2) ? IR_MAX : IR_MIN, w->window, w->stride, w->low, w->high, w->window_dilation, 0};
    ir_value fake = {.type = *t}, *operand = &fake;
    ir_type *result;
    int n;
    if (!gen_fits(g, IR_OP_arg_window, t, 1, a) ||
        ir_infer(gen_arena(g), IR_OP_arg_window, a, &operand, 1, &result, &n))
        return false;
    *windows = result[0];
    return true;
}

static inline bool gen_make_arg_window(gen *g, ir_op op)
{
    ir_type t, windows;
    ir_attrs a = {0};
    gen_window w;
    for (int tries = 0; tries < GEN_TRIES; tries++)
        if (gen_windowing(g, &t, &w, &windows, &a)) {
            ir_value *x = gen_operand(g, &t);
            const ir_inst *inst = ir_build(&g->b, op, &x, 1, &a);
            gen_push(g, gen_finite(g, inst->result[0])); /* where all is padding */
            gen_push(g, inst->result[1]);
            return true;
        }
    return false;
}

/* An op on values and positions inside windows of as many elements as they have taps, -1 among
 * them. */
static inline bool gen_append_positions(gen *g, ir_op op, const ir_type *x, const ir_type *windows,
                                        int64_t taps, const ir_attrs *a, bool sums)
{
    ir_type at = *windows;
    at.dtype = IR_I32;
    ir_value *v = gen_operand(g, x), *p = gen_operand(g, &at), *mask = ir_splat(&g->b, &at, 255),
             *n = ir_splat(&g->b, &at, (double)(taps + 1)), *one = ir_splat(&g->b, &at, 1);
    p = ir_sub(&g->b, ir_rem(&g->b, ir_and(&g->b, p, mask), n), one);
    return gen_append(g, op, (ir_value *[]){v, p}, 2, a, sums ? gen_bound(v) * (double)taps : 0);
}

static inline bool gen_make_window_put(gen *g, ir_op op)
{
    ir_type t, windows;
    ir_attrs a = {0};
    gen_window w;
    for (int tries = 0; tries < GEN_TRIES && g->p->types >> IR_I32 & 1; tries++)
        if (gen_windowing(g, &t, &w, &windows, &a)) {
            ir_attrs put = {.window_put = {ir_ints_of(&g->b, t.rank, t.dim), w.window, w.stride,
                                           w.low, w.high, w.window_dilation, 0}};
            windows.dtype = t.dtype;
            return gen_append_positions(g, op, &windows, &windows, gen_taps(w.window), &put, true);
        }
    return false;
}

static inline bool gen_make_window_take(gen *g, ir_op op)
{
    ir_type t, windows;
    ir_attrs a = {0};
    gen_window w;
    for (int tries = 0; tries < GEN_TRIES && g->p->types >> IR_I32 & 1; tries++)
        if (gen_windowing(g, &t, &w, &windows, &a)) {
            ir_attrs take = {
                .window_take = {w.window, w.stride, w.low, w.high, w.window_dilation, 0}};
            return gen_append_positions(g, op, &t, &windows, gen_taps(w.window), &take, false);
        }
    return false;
}

static inline bool gen_make_cumulative(gen *g, ir_op op)
{
    ir_type t = gen_type(g, ir_ops[op].classes);
    if (t.dtype == IR_DTYPES || !t.rank)
        return false;
    ir_combine c = (ir_combine)draw(g, 4);
    uint32_t axis = draw(g, (uint32_t)t.rank), exclusive = draw(g, 2), reverse = draw(g, 2);
    ir_attrs a = {.cumulative = {c, axis, exclusive, reverse, 0}};
    int64_t n = t.dim[a.cumulative.axis];
    if (c == IR_PROD && ir_is_float(t.dtype) && n > 17)
        return false;
    double bound;
    ir_value *x = gen_combined(g, c, gen_operand(g, &t), n, &bound),
             *y = ir_build1(&g->b, op, &x, 1, &a);
    if (a.cumulative.exclusive && c >= IR_MAX)
        y = gen_finite(g, y);
    gen_push(g, gen_scaled(g, y, bound, GEN_LIMIT));
    return true;
}

static inline bool gen_make_sort(gen *g, ir_op op)
{
    ir_type t = gen_type(g, IR_CLASS_ANY);
    if (!t.rank)
        return false;
    int n = 1 + (int)draw(g, 3);
    ir_value *x[3];
    for (int i = 0; i < n; i++) {
        ir_type other = t;
        other.dtype = i ? gen_dtype(g, IR_CLASS_ANY) : t.dtype;
        x[i] = gen_operand(g, &other);
    }
    uint32_t axis = draw(g, (uint32_t)t.rank), descending = draw(g, 2);
    return gen_append(g, op, x, n, &(ir_attrs){.sort = {axis, descending, 0}}, 0);
}

static inline bool gen_make_random_bits(gen *g, ir_op op)
{
    if (!(g->p->types >> IR_U32 & 1) || !(g->p->types >> IR_U64 & 1))
        return false;
    ir_type t = gen_shape(g, IR_U32, g->p->most),
            keys[2] = {ir_scalar_type(IR_U64), ir_scalar_type(IR_U64)};
    ir_attrs a = {.random_bits = {ir_ints_of(&g->b, t.rank, t.dim), draw(g, 4), 0}};
    return gen_append_two(g, op, keys, &a, 0);
}

/* ---- Bodies ---- */

/* A called function with parameters of these types and some instructions on them. */
static inline gen gen_body(gen *g, const char *name, const ir_type *types, int n)
{
    ir_func *f = ir_func_new(g->b.func->module, name);
    gen in = {.p = g->p, .random = g->random, .b = ir_builder_new(f), .depth = g->depth + 1};
    for (int i = 0; i < n; i++)
        gen_push(&in, ir_add_input(f, NULL, &types[i]));
    if (!in.n) {
        ir_type t = gen_shape(&in, gen_dtype(&in, IR_CLASS_F), 16);
        gen_push(&in, gen_constant(&in, &t));
    }
    for (int steps = 1 + (int)draw(g, 6); steps > 0; steps--)
        gen_make(&in);
    return in;
}

static inline ir_type gen_carried(gen *g)
{
    return gen_shape(g, gen_dtype(g, IR_CLASS_ANY), 40);
}

static inline ir_type gen_sequence(const ir_type *t, int64_t length)
{
    ir_type s = *t;
    memmove(s.dim + 1, s.dim, (size_t)s.rank * sizeof *s.dim);
    s.dim[0] = length;
    s.rank++;
    return s;
}

/* The next value of a carry: often computed from it. */
static inline ir_value *gen_next(gen *g, ir_value *carry)
{
    ir_value *v = gen_operand(g, &carry->type);
    if (!ir_is_float(carry->type.dtype) || draw(g, 2))
        return v;
    double bound = gen_both(carry, v);
    return gen_scaled(g, ir_mul(&g->b, carry, v), bound, GEN_LIMIT);
}

static inline bool gen_make_scan(gen *g, ir_op op)
{
    if (g->depth >= g->p->depth)
        return false;
    struct ir_attrs_scan a = {.consts = draw(g, 3)};
    a.carries = draw(g, 3);
    a.length = draw(g, 8) ? 1 + draw(g, 5) : 0;
    a.reverse = draw(g, 2);
    a.live = one_in(g, 4);
    int xs = (int)draw(g, 3), ys = (int)draw(g, 3), fixed = (int)(a.consts + a.carries),
        n = fixed + xs;
    ir_type types[GEN_BODY], boolean = ir_scalar_type(IR_BOOL);
    for (int i = 0; i < n; i++)
        types[i] = gen_carried(g);
    gen in = gen_body(g, "body", types, n);
    a.body = in.b.func;
    for (int i = 0; i < a.carries; i++)
        ir_add_output(a.body, NULL, gen_next(&in, a.body->params.items[a.consts + i].value));
    for (int i = 0; i < ys; i++) {
        bool carried = a.carries && one_in(g, 3); /* as recurrent layers have it */
        ir_value *y =
            carried ? a.body->results.items[draw(g, (uint32_t)a.carries)].value : gen_any(&in);
        if (ir_count(&y->type) * a.length > g->p->most || y->type.rank >= GEN_RANK)
            y = in.pool[0];
        ir_add_output(a.body, NULL, y);
    }
    if (a.live)
        ir_add_output(a.body, NULL, gen_operand(&in, &boolean));
    ir_value *x[GEN_BODY];
    for (int i = 0; i < n; i++) {
        ir_type t = i < fixed ? types[i] : gen_sequence(&types[i], a.length);
        x[i] = gen_operand(g, &t);
    }
    if (a.live)
        x[n++] = gen_operand(g, &boolean);
    return gen_append(g, op, x, n, &(ir_attrs){.scan = a}, 0);
}

static inline bool gen_make_cond(gen *g, ir_op op)
{
    if (g->depth >= g->p->depth)
        return false;
    int n = (int)draw(g, 4), results = 1 + (int)draw(g, 3);
    ir_type types[GEN_BODY], boolean = ir_scalar_type(IR_BOOL);
    for (int i = 0; i < n; i++)
        types[i] = gen_type(g, IR_CLASS_ANY);
    gen yes = gen_body(g, "then", types, n), no = gen_body(g, "else", types, n);
    for (int i = 0; i < results; i++) {
        ir_value *v = gen_any(&yes);
        ir_add_output(yes.b.func, NULL, v);
        ir_add_output(no.b.func, NULL, gen_operand(&no, &v->type));
    }
    ir_value *x[GEN_BODY] = {gen_operand(g, &boolean)};
    for (int i = 0; i < n; i++)
        x[1 + i] = gen_operand(g, &types[i]);
    return gen_append(g, op, x, n + 1,
                      &(ir_attrs){.cond = {.then_body = yes.b.func, .else_body = no.b.func}}, 0);
}

/* It runs while a count is below a number, and perhaps while another condition holds. */
static inline bool gen_make_while(gen *g, ir_op op)
{
    if (g->depth >= g->p->depth || g->p->smooth)
        return false;
    struct ir_attrs_while_loop a = {.consts = draw(g, 3)};
    a.limit = draw(g, 6);
    int n = (int)a.consts + 1 + (int)draw(g, 3);
    ir_type types[GEN_BODY], boolean = ir_scalar_type(IR_BOOL), count = ir_scalar_type(IR_I32);
    for (int i = 0; i < n; i++)
        types[i] = i == a.consts ? count : gen_carried(g);
    gen body = gen_body(g, "body", types, n), test = gen_body(g, "test", types, n);
    a.body = body.b.func;
    a.test = test.b.func;
    ir_value *at = a.body->params.items[a.consts].value;
    for (int i = (int)a.consts; i < n; i++)
        ir_add_output(a.body, NULL,
                      i == a.consts ? ir_add(&body.b, at, ir_scalar(&body.b, IR_I32, 1))
                                    : gen_operand(&body, &types[i]));
    ir_value *go = ir_compare(&test.b, IR_LT, a.test->params.items[a.consts].value,
                              ir_scalar(&test.b, IR_I32, draw(g, 6)));
    ir_add_output(a.test, NULL,
                  draw(g, 2) ? go : ir_and(&test.b, go, gen_operand(&test, &boolean)));
    ir_value *x[GEN_BODY];
    for (int i = 0; i < n; i++)
        x[i] = i == a.consts ? ir_scalar(&g->b, IR_I32, 0) : gen_operand(g, &types[i]);
    return gen_append(g, op, x, n, &(ir_attrs){.while_loop = a}, 0);
}

/* The callee's derivative by autodiff, in the form of a call's vjp: (operands, results, cotangents)
 * to the operands' cotangents. NULL if it has none. */
static inline ir_func *gen_derivative(const ir_func *callee)
{
    int n = callee->params.count, r = callee->results.count, given[GEN_BODY], input[GEN_BODY],
        ngiven = 0, ninput = 0;
    for (int i = 0; i < r; i++)
        if (ir_is_float(callee->results.items[i].value->type.dtype))
            given[ngiven++] = i;
    for (int i = 0; i < n; i++)
        if (ir_is_float(callee->params.items[i].value->type.dtype))
            input[ninput++] = i;
    const ad_request request = {
        .loss = -1, .cotangents = given, .ncotangents = ngiven, .inputs = input, .ninputs = ninput};
    ir_func *joint = ngiven && ninput ? ad_joint(callee->module, callee, &request, "joint") : NULL;
    if (!joint)
        return NULL;
    ir_func *f = ir_func_new(callee->module, "derivative");
    ir_builder b = ir_builder_new(f);
    ir_value *arg[3 * GEN_BODY], *own[3 * GEN_BODY], *got[3 * GEN_BODY];
    for (int i = 0; i < n + 2 * r; i++)
        own[i] = ir_add_input(f, NULL,
                              i < n ? &callee->params.items[i].value->type
                                    : &callee->results.items[(i - n) % r].value->type);
    memcpy(arg, own, (size_t)n * sizeof *arg);
    for (int i = 0; i < ngiven; i++)
        arg[n + i] = own[n + r + given[i]];
    ir_inline(&b, joint, arg, got);
    ir_func_remove(joint);
    for (int i = 0, k = 0; i < n; i++) {
        bool flows = k < ninput && input[k] == i;
        ir_add_output(f, NULL, flows ? got[r + k] : ir_splat(&b, &own[i]->type, 0));
        k += flows;
    }
    /* It is called in backward; in itself it has one phase. */
    for (ir_inst *i = f->first; i; i = i->next)
        i->phase = IR_FORWARD;
    ir_built(&b);
    return f;
}

static inline bool gen_make_call(gen *g, ir_op op)
{
    if (g->depth >= g->p->depth)
        return false;
    int n = 1 + (int)draw(g, 3);
    ir_type types[GEN_BODY];
    for (int i = 0; i < n; i++)
        types[i] = gen_type(g, IR_CLASS_ANY);
    gen in = gen_body(g, "callee", types, n);
    for (int results = 1 + (int)draw(g, 2); results > 0; results--)
        ir_add_output(in.b.func, NULL, gen_any(&in));
    ir_value *x[GEN_BODY];
    for (int i = 0; i < n; i++)
        x[i] = gen_operand(g, &types[i]);
    ir_built(&in.b);
    ir_func *vjp = g->p->smooth && draw(g, 2) ? gen_derivative(in.b.func) : NULL;
    return gen_append(g, op, x, n, &(ir_attrs){.call = {.callee = in.b.func, .vjp = vjp}}, 0);
}

/* ---- Graphs ---- */

static gen_maker *const gen_makers[IR_OPS] = {
#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    [IR_OP_##name] = gen_make_##shape,
#include "ir/ops.def"
};

/* Adds an instruction, if the drawn one can be made: elementwise ones as often as all others. */
static inline bool gen_make(gen *g)
{
    bool elementwise = draw(g, 5) < 2;
    for (;;) {
        ir_op op = (ir_op)draw(g, IR_OPS);
        bool moves = ir_ops[op].traits & (IR_MOVES | IR_NULLARY);
        if (((ir_ops[op].traits & IR_ELEMENTWISE) != 0) == elementwise && (!moves || draw(g, 2)))
            return gen_makers[op](g, op);
    }
}

static inline bool gen_is_used(const ir_func *f, const ir_value *v)
{
    IR_FOR(inst, f)
    for (int i = 0; i < inst->noperands; i++)
        if (inst->operand[i] == v)
            return true;
    return false;
}

/* Outputs: values that nothing uses, then any: intermediates, inputs, constants, one twice. */
static inline void gen_outputs(gen *g)
{
    ir_func *f = g->b.func;
    int n = 0;
    for (int i = g->n; i-- > 0 && n < 6;)
        if (!gen_is_used(f, g->pool[i]) && draw(g, 8))
            ir_add_output(f, base_format(gen_arena(g), "y%d", n++), g->pool[i]);
    for (int more = (int)draw(g, 3) + (n == 0); more > 0; more--, n++)
        ir_add_output(f, base_format(gen_arena(g), "y%d", n),
                      one_in(g, 6) && n ? f->results.items[0].value
                                        : g->pool[draw(g, (uint32_t)g->n)]);
}

/* A smooth scalar computed from the floats that exist. */
static inline void gen_loss(gen *g, ir_dtype t)
{
    ir_value *sum = NULL;
    int terms = 0;
    for (int i = g->n; i-- > 0 && terms < 6;) {
        ir_value *v = g->pool[i];
        int64_t axes[IR_MAX_RANK];
        if (!ir_is_float(v->type.dtype) || ir_dtypes[v->type.dtype].bytes < 4 ||
            (gen_is_used(g->b.func, v) && draw(g, 4)))
            continue;
        for (int d = 0; d < v->type.rank; d++)
            axes[d] = d;
        v = ir_convert(&g->b, draw(g, 2) ? ir_sin(&g->b, v) : v, t);
        sum = ir_add_or(&g->b, sum, ir_reduce(&g->b, IR_SUM, v, v->type.rank, axes));
        terms++;
    }
    ir_type scalar = ir_scalar_type(t);
    ir_func *f = g->b.func;
    f->loss = f->results.count;
    ir_add_output(f, "loss", sum ? sum : gen_splat(g, &scalar));
}

static inline void gen_statistics(gen *g)
{
    ir_module *m = g->b.func->module;
    for (int n = (int)draw(g, g->p->trains ? 3 : 2); n > 0; n--) {
        ir_type t = gen_shape(g, gen_dtype(g, IR_CLASS_N), 40);
        ir_state *s = ir_state_new(m, base_format(m->arena, "s%d", m->states.count), IR_STAT, &t);
        if (draw(g, 2))
            gen_push(g, gen_bounded(g, ir_add_state(g->b.func, s), 4));
        ir_add_update(g->b.func, s, gen_operand(g, &t));
    }
}

/* A module of one entry `forward`; the same one for the same seed. */
static inline ir_module *gen_module(base_ctx *c, base_arena *arena, uint64_t seed,
                                    const gen_profile *p)
{
    uint64_t random = seed * 0x9e3779b97f4a7c15u + 0x1234567;
    ir_module *m = ir_module_new(c, arena, "graph");
    ir_func *f = ir_func_new(m, "forward");
    f->entry = true;
    gen g = {.p = p, .random = &random, .b = ir_builder_new(f)};
    for (int i = 0; i < 4; i++)
        draw(&g, 2);
    for (int n = 1 + (int)draw(&g, 4); n > 0; n--) {
        ir_type t =
            gen_shape(&g, gen_dtype(&g, one_in(&g, 3) ? IR_CLASS_ANY : IR_CLASS_F), p->most);
        gen_held(&g, &t);
    }
    for (int n = p->steps / 2 + (int)draw(&g, (uint32_t)p->steps); n > 0; n--)
        gen_make(&g);
    gen_outputs(&g);
    if (p->trains)
        gen_loss(&g, p->types >> IR_F32 & 1 ? IR_F32 : IR_F64);
    if (p->states)
        gen_statistics(&g);
    ir_built(&g.b);
    pass_drop_functions(m);
    return m;
}

#endif
