/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * How far compiled code may be from the evaluator on a graph, by stochastic arithmetic: the graph
 * is evaluated several times, and each time each instruction's float results are moved, at random
 * up or down, by the rounding difference that the code may have. How far an output moves shows how
 * much rounding matters there, with depth, cancellation, and kinks and jumps (a comparison, a sort,
 * a floor) included.
 *
 * An instruction moves its result by
 *   nothing                    if it copies, compares or orders, or if the operation was exact (so
 *                              graphs of small integers stay exact)
 *   a unit in the last place   for + - * / and square root
 *   ulps of docs/numbers.md    for elementary functions
 *   n units of the sum of      for a sum of n products: code adds in its own order, f16 and bf16 in
 *   magnitudes                 f32
 *   n units                    for a product of n
 * Denormal numbers are set to zero in the first of the evaluations, as code does; the sign of a
 * zero that a sum gives is open. */
#ifndef TESTS_GRAPH_NOISE_H
#define TESTS_GRAPH_NOISE_H

#include "ir/ir.h"

#include <math.h>
#include <string.h>

typedef struct noise {
    uint64_t random;
    double size;  /* of the moves, in the units above */
    bool flushes; /* denormals are zero */
    bool pads;    /* padding of convolutions is multiplied */
    bool exact_too; /* exact operations are moved as well: code may get there another way */
} noise;

static inline uint32_t noise_draw(noise *z)
{
    z->random = z->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(z->random >> 33);
}

static inline int noise_precision(ir_dtype t)
{
    return t == IR_F64 ? 53 : t == IR_F32 ? 24 : t == IR_F16 ? 11 : 8;
}

/* The precision that sums are accumulated with. */
static inline int noise_accumulates(ir_dtype t)
{
    return t == IR_F64 ? 53 : 24;
}

static inline double noise_smallest(ir_dtype t) /* normal number of the arithmetic */
{
    return t == IR_F64 ? 0x1p-1022 : 0x1p-126;
}

static inline double noise_unit(ir_dtype t, double x)
{
    int least = t == IR_F64   ? -1022
                : t == IR_F16 ? -14
                              : -126,
        e = x == 0 || !isfinite(x) ? least : ilogb(x);
    return ldexp(1, (e < least ? least : e) - noise_precision(t) + 1);
}

/* Units in the last place that compiled code and the evaluator may be apart, for f32 and f64; 0: an
 * op without an error of its own. */
static inline double noise_ulps(ir_op op, ir_dtype t)
{
    double bound = ir_ops[op].ulps[t == IR_F64];
    return bound > 0 ? bound + 1 : 0;
}

/* Whether r = x op y, computed in double, is exact. */
static inline bool noise_is_exact(ir_op op, double x, double y, double r)
{
    if (!isfinite(r))
        return true;
    double s = x + y, d = x - y;
    switch (op) {
    case IR_OP_add: return s == r && s - x == y && s - y == x;
    case IR_OP_sub: return d == r && x - d == y && d + y == x;
    case IR_OP_mul: return fma(x, y, -r) == 0;
    case IR_OP_div: return fma(r, y, -x) == 0;
    case IR_OP_sqrt: return fma(r, r, -x) == 0;
    default: return false;
    }
}

/* The exponent of the lowest bit set in any element: all are multiples of 2 to that power; large if
 * all are zero. */
static inline int noise_grid(const ir_literal *l)
{
    int least = 4000;
    for (int64_t i = 0; i < ir_count(&l->type); i++) {
        double x = ir_literal_get(l, i);
        if (x == 0)
            continue;
        if (!isfinite(x))
            return -4000;
        int e;
        int64_t m = (int64_t)ldexp(fabs(frexp(x, &e)), 53);
        e += __builtin_ctzll((uint64_t)m) - 53;
        least = e < least ? e : least;
    }
    return least;
}

static inline const ir_literal *noise_magnitudes(base_arena *arena, const ir_literal *l)
{
    if (!ir_is_float(l->type.dtype))
        return l;
    ir_literal *r = ir_literal_new(arena, &l->type);
    for (int64_t i = 0; i < ir_count(&l->type); i++)
        ir_literal_set(r, i, fabs(ir_literal_get(l, i)));
    return r;
}

/* The combination of an instruction that sums or multiplies; IR_SET if it does neither. */
static inline ir_combine noise_combine(const ir_inst *inst)
{
    switch (inst->op) {
    case IR_OP_reduce: return IR_ATTR(inst, reduce)->combine;
    case IR_OP_reduce_window: return IR_ATTR(inst, reduce_window)->combine;
    case IR_OP_cumulative: return IR_ATTR(inst, cumulative)->combine;
    case IR_OP_scatter: return IR_ATTR(inst, scatter)->combine;
    case IR_OP_dot_general:
    case IR_OP_convolution:
    case IR_OP_window_put: return IR_SUM;
    default: return IR_SET;
    }
}

/* How many terms an element of the result has, at most. */
static inline double noise_terms(const ir_inst *inst)
{
    double in = 1, out = (double)ir_count(&inst->result[0]->type);
    for (int i = 0; i < inst->noperands; i++)
        in = fmax(in, (double)ir_count(&inst->operand[i]->type));
    double n = inst->op == IR_OP_reduce ? in / fmax(out, 1) : in;
    /* Partial sums of code and evaluator differ by far less than n units for large n. */
    return fmin(n, 64) + 1;
}

static inline void noise_move(noise *z, ir_literal *r, int64_t i, double by)
{
    double x = ir_literal_get(r, i);
    ir_dtype t = r->type.dtype;
    if (by > 0 && isfinite(x)) {
        by = fmax(by * z->size, noise_unit(t, x));
        ir_literal_set(r, i, noise_draw(z) & 1 ? x + by : x - by);
    }
}

static inline void noise_sum(noise *z, const ir_inst *inst, ir_literal *const *operand,
                             ir_literal *r)
{
    base_arena *scratch = base_arena_new(inst->func->module->ctx);
    ir_dtype t = r->type.dtype;
    ir_literal **magnitude = base_array(scratch, ir_literal *, inst->noperands), *sum;
    int grid = 0, scale = inst->op == IR_OP_dot_general || inst->op == IR_OP_convolution;
    for (int i = 0; i < inst->noperands; i++) {
        magnitude[i] = (ir_literal *)noise_magnitudes(scratch, operand[i]);
        if (ir_is_float(operand[i]->type.dtype))
            grid = scale || !i ? grid + noise_grid(operand[i])
                               : (int)fmin(grid, noise_grid(operand[i]));
    }
    ir_eval_inst(scratch, inst, magnitude, &sum);
    double terms = noise_terms(inst), unit = ldexp(1, 1 - noise_accumulates(t));
    for (int64_t i = 0; i < ir_count(&r->type); i++) {
        double a = ir_literal_get(sum, i), x = ir_literal_get(r, i);
        if (x == 0 && noise_draw(z) & 1)
            ir_literal_set(r, i, -0.0);
        bool exact = a == 0 || (isfinite(a) && ilogb(a) - grid < noise_accumulates(t) - 1);
        if (!exact || z->exact_too) /* what is summed exactly is rounded once, in both */
            noise_move(z, r, i, (a > 0 ? terms * unit * a : 0) + noise_unit(t, x));
    }
    base_arena_free(scratch);
}

static inline void noise_product(noise *z, const ir_inst *inst, ir_literal *r)
{
    double terms = noise_terms(inst), unit = ldexp(1, 1 - noise_accumulates(r->type.dtype));
    for (int64_t i = 0; i < ir_count(&r->type); i++) {
        double x = ir_literal_get(r, i);
        int e;
        int64_t m = x == 0 || !isfinite(x) ? 0 : (int64_t)ldexp(fabs(frexp(x, &e)), 53);
        /* Bits, so none was lost. */
        bool few = !m || 53 - __builtin_ctzll((uint64_t)m) <= noise_precision(r->type.dtype) / 2;
        if (!few || z->exact_too)
            noise_move(z, r, i, terms * unit * fabs(x) + noise_unit(r->type.dtype, x));
    }
}

static inline void noise_elements(noise *z, const ir_inst *inst, ir_literal *const *operand,
                                  ir_literal *r)
{
    ir_dtype t = r->type.dtype;
    double ulps = noise_ulps(inst->op, t);
    bool narrow = noise_precision(t) < 24;
    for (int64_t i = 0; i < ir_count(&r->type); i++) {
        double x = ir_literal_get(r, i), a = ir_literal_get(operand[0], i),
               b = inst->noperands > 1 ? ir_literal_get(operand[1], i) : 0;
        if ((inst->op == IR_OP_add || inst->op == IR_OP_sub) && x == 0 && noise_draw(z) & 1)
            ir_literal_set(r, i, -x);
        bool exact = ulps > 0 ? x == 0 : noise_is_exact(inst->op, a, b, x);
        if (!exact || (z->exact_too && x != 0))
            noise_move(z, r, i, (narrow || ulps == 0 ? 1 : ulps) * noise_unit(t, x));
    }
}

static inline void noise_flush(ir_literal *r)
{
    double least = noise_smallest(r->type.dtype);
    for (int64_t i = 0; i < ir_count(&r->type); i++) {
        double x = ir_literal_get(r, i);
        if (x != 0 && fabs(x) < least)
            ir_literal_set(r, i, copysign(0, x));
    }
}

static inline bool noise_is_finite(const ir_literal *x)
{
    bool finite = true;
    for (int64_t i = 0; i < ir_count(&x->type) && finite; i++)
        finite = isfinite(ir_literal_get(x, i));
    return finite;
}

/* Padding of a convolution may be multiplied by what is infinite or no number (docs/numbers.md). */
static inline void noise_padding(ir_literal *const *operand, ir_literal *r)
{
    bool finite = noise_is_finite(operand[0]) && noise_is_finite(operand[1]);
    for (int64_t i = 0; i < ir_count(&r->type) && !finite; i++)
        ir_literal_set(r, i, NAN);
}

/* An ir_eval_watch; user is a noise. */
static inline void noise_watch(void *user, const ir_inst *inst, ir_literal *const *operand,
                               ir_literal **result)
{
    noise *z = user;
    for (int k = 0; k < inst->nresults; k++) {
        ir_literal *r = result[k];
        if (!ir_is_float(r->type.dtype))
            continue;
        ir_combine c = noise_combine(inst);
        if (inst->op == IR_OP_convolution && z->pads)
            noise_padding(operand, r);
        if (z->size > 0 && c == IR_SUM)
            noise_sum(z, inst, operand, r);
        else if (z->size > 0 && c == IR_PROD)
            noise_product(z, inst, r);
        else if (z->size > 0 &&
                 (ir_ops[inst->op].ulps[0] > 0 || inst->op == IR_OP_add || inst->op == IR_OP_sub ||
                  inst->op == IR_OP_mul || inst->op == IR_OP_div || inst->op == IR_OP_sqrt))
            noise_elements(z, inst, operand, r);
        if (z->flushes && !(ir_ops[inst->op].traits & (IR_STRUCTURED | IR_MOVES)))
            noise_flush(r);
    }
}

/* ---- References ---- */

enum { NOISE_FEW = 5, NOISE_MANY = 60 };

typedef ir_literal **reference_args(void *user, int sample);

/* A function's results for its arguments, without and with noise. args_of, if not NULL, gives the
 * arguments of a sample. */
typedef struct reference {
    base_arena *arena;
    const ir_func *f;
    ir_literal **args, **due, **sample[NOISE_MANY];
    reference_args *args_of;
    void *user;
    bool bad, may_be_bad; /* an index was out of range; in any evaluation */
    bool dead_bad;        /* in a dead instruction: code without dce may check it */
    int samples;
    uint64_t random;
} reference;

static inline void reference_sample(reference *r)
{
    int k = r->samples++;
    ir_literal **args = r->args_of ? r->args_of(r->user, k) : r->args;
    noise z = {.random = r->random + (uint64_t)k * 7919,
               .size = k == 0          ? 0
                       : k < NOISE_FEW ? 1
                                       : 0.5 + k % 4,
               .flushes = k == 0 || k % 2,
               .pads = k % 2,
               .exact_too = k >= NOISE_FEW && k % 3 == 0};
    bool bad = false;
    r->sample[k] = base_array(r->arena, ir_literal *, r->f->results.count + 1);
    ir_eval_watched(r->arena, r->f, args, r->sample[k], &bad, noise_watch, &z);
    r->may_be_bad |= bad;
}

static inline reference *reference_new(base_arena *arena, const ir_func *f, ir_literal **args,
                                       uint64_t random)
{
    reference *r = base_new(arena, reference);
    *r = (reference){.arena = arena,
                     .f = f,
                     .args = args,
                     .due = base_array(arena, ir_literal *, f->results.count + 1),
                     .random = random};
    ir_eval(arena, f, args, r->due, &r->bad);
    r->may_be_bad = r->bad;
    return r;
}

static inline bool reference_same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* Whether x is a possible value of element i of result k, judged by the samples so far. */
static inline bool reference_allows(const reference *r, int k, int64_t i, const ir_literal *got,
                                    double margin)
{
    const ir_literal *due = r->due[k];
    if (!ir_is_float(due->type.dtype)) {
        int64_t x = ir_literal_get_int(got, i), low = ir_literal_get_int(due, i), high = low;
        for (int s = 0; s < r->samples; s++) {
            int64_t v = ir_literal_get_int(r->sample[s][k], i);
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
        return x >= low && x <= high;
    }
    double x = ir_literal_get(got, i), want = ir_literal_get(due, i), spread = 0;
    double least = noise_smallest(got->type.dtype);
    if (reference_same(x, want) || (fabs(x) < least && fabs(want) < least))
        return true; /* what the compiler computes itself is not flushed */
    for (int s = 0; s < r->samples; s++) {
        double v = ir_literal_get(r->sample[s][k], i);
        if (reference_same(x, v))
            return true;
        if (isfinite(v) && isfinite(want))
            spread = fmax(spread, fabs(v - want));
        /* At the edge of overflow or of a domain. */
        else if (isfinite(x) && isfinite(v) != isfinite(want))
            return true;
    }
    return isfinite(x) && isfinite(want) && spread > 0 &&
           fabs(x - want) <= margin * spread + noise_unit(got->type.dtype, want);
}

/* The first element of result k that is not possible, or -1. Samples are made on demand: a few, and
 * many before a failure is reported. */
static inline int64_t reference_check(reference *r, int k, const ir_literal *got)
{
    static const struct {
        int samples;
        double margin;
    } efforts[] = {{0, 0}, {NOISE_FEW, 4}, {NOISE_MANY, 6}};
    for (int64_t i = 0; i < ir_count(&got->type); i++) {
        bool allowed = false;
        for (int e = 0; e < 3 && !allowed; e++) {
            while (r->samples < efforts[e].samples)
                reference_sample(r);
            allowed = reference_allows(r, k, i, got, efforts[e].margin);
        }
        if (!allowed)
            return i;
    }
    return -1;
}

#endif
