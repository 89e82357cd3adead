/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The evaluator's walk over a function, wide values, and the elementwise ops. */
#include "ir/eval.h"

#include <math.h>
#include <string.h>

ir_eval_rule *const ir_eval_rules[IR_OPS] = {
#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    ir_eval_##eval,
#include "ir/ops.def"
};

#define RULE(name)                                                                         \
    void ir_eval_##name(ir_evaluation *e, const ir_inst *inst, ir_literal *const *operand, \
                        ir_literal **result)

/* ---- Functions ---- */

static void eval_inst(ir_evaluation *e, base_arena *results, const ir_inst *inst,
                      ir_literal *const *operand, ir_literal **result)
{
    ir_evaluation inner = {.arena = base_arena_new(base_arena_ctx(e->arena))};
    for (int i = 0; i < inst->nresults; i++)
        result[i] = ir_literal_new(results, &inst->result[i]->type);
    ir_eval_rules[inst->op](&inner, inst, operand, result);
    e->bad_index |= inner.bad_index;
    base_arena_free(inner.arena);
}

void ir_eval_inst(base_arena *arena, const ir_inst *inst, ir_literal *const *operand,
                  ir_literal **result)
{
    ir_evaluation e = {.arena = arena};
    eval_inst(&e, arena, inst, operand, result);
}

typedef struct held { /* a value while it is needed */
    ir_literal *literal;
    base_arena *arena; /* that holds it; NULL: the caller's */
    int uses;
} held;

static held *live_of(held *all, const ir_value *v, const ir_func *f, const int *first)
{
    return v->def ? &all[f->params.count + first[v->def->id] + v->index] : &all[v->index];
}

/* Numbers the instructions of f alone, so that callees do not disturb callers; returns how many
 * results they have. */
static int count_values(const ir_func *f)
{
    int n = 0, k = 0;
    IR_FOR (inst, f) {
        inst->id = k++;
        n += inst->nresults;
    }
    return n;
}

static void release(held *v)
{
    if (--v->uses == 0 && v->arena) {
        base_arena_free(v->arena);
        v->arena = NULL;
        v->literal = NULL;
    }
}

static ir_literal *copy_literal(base_arena *arena, const ir_literal *l)
{
    ir_literal *c = ir_literal_new(arena, &l->type);
    if (ir_bytes(&l->type))
        memcpy(c->data, l->data, (size_t)ir_bytes(&l->type));
    return c;
}

static void eval_func(ir_evaluation *e, base_arena *out, const ir_func *f, ir_literal *const *args,
                      ir_literal **results)
{
    base_ctx *ctx = base_arena_ctx(e->arena);
    base_arena *scratch = base_arena_new(ctx);
    int n = f->params.count + count_values(f), insts = 0, k = 0;
    IR_FOR (inst, f)
        insts++;
    held *all = base_array(scratch, held, n + 1);
    int *first = base_array(scratch, int, insts + 1);
    IR_FOR (inst, f) {
        first[inst->id] = k;
        k += inst->nresults;
    }
    for (int i = 0; i < f->params.count; i++)
        all[i].literal = args[i];
    IR_FOR (inst, f)
        for (int i = 0; i < inst->noperands; i++)
            live_of(all, inst->operand[i], f, first)->uses++;
    for (int i = 0; i < f->results.count; i++)
        live_of(all, f->results.items[i].value, f, first)->uses++;
    IR_FOR (inst, f) {
        ir_literal **operand = base_array(scratch, ir_literal *, inst->noperands + 1),
                   **result = base_array(scratch, ir_literal *, inst->nresults + 1);
        for (int i = 0; i < inst->noperands; i++)
            operand[i] = live_of(all, inst->operand[i], f, first)->literal;
        ir_evaluation inner = {.arena = base_arena_new(ctx), .watch = e->watch, .user = e->user};
        for (int i = 0; i < inst->nresults; i++) {
            held *v = live_of(all, inst->result[i], f, first);
            v->arena = base_arena_new(ctx);
            v->uses++; /* until the instruction is done */
            v->literal = result[i] = ir_literal_new(v->arena, &inst->result[i]->type);
        }
        ir_eval_rules[inst->op](&inner, inst, operand, result);
        e->bad_index |= inner.bad_index;
        base_arena_free(inner.arena);
        if (e->watch)
            e->watch(e->user, inst, operand, result);
        for (int i = 0; i < inst->nresults; i++)
            release(live_of(all, inst->result[i], f, first));
        for (int i = 0; i < inst->noperands; i++)
            release(live_of(all, inst->operand[i], f, first));
    }
    for (int i = 0; i < f->results.count; i++)
        results[i] = copy_literal(out, live_of(all, f->results.items[i].value, f, first)->literal);
    for (int i = 0; i < n; i++)
        if (all[i].arena)
            base_arena_free(all[i].arena);
    base_arena_free(scratch);
}

void ir_eval_watched(base_arena *arena, const ir_func *f, ir_literal *const *args,
                     ir_literal **results, bool *bad_index, ir_eval_watch *watch, void *user)
{
    ir_evaluation e = {.arena = arena, .watch = watch, .user = user};
    eval_func(&e, arena, f, args, results);
    if (bad_index)
        *bad_index = e.bad_index;
}

void ir_eval(base_arena *arena, const ir_func *f, ir_literal *const *args, ir_literal **results,
             bool *bad_index)
{
    ir_eval_watched(arena, f, args, results, bad_index, NULL, NULL);
}

/* ---- Structured ops ---- */

static void fill(ir_literal *to, const ir_literal *from)
{
    if (ir_bytes(&from->type))
        memcpy(to->data, from->data, (size_t)ir_bytes(&from->type));
}

RULE(call)
{
    const ir_func *f = IR_ATTR(inst, call)->callee;
    ir_literal **r = base_array(e->arena, ir_literal *, f->results.count + 1);
    eval_func(e, e->arena, f, operand, r);
    for (int i = 0; i < f->results.count; i++)
        fill(result[i], r[i]);
}

RULE(cond)
{
    const ir_func *f = ir_literal_get_int(operand[0], 0) ? IR_ATTR(inst, cond)->then_body
                                                         : IR_ATTR(inst, cond)->else_body;
    ir_literal **r = base_array(e->arena, ir_literal *, f->results.count + 1);
    eval_func(e, e->arena, f, operand + 1, r);
    for (int i = 0; i < f->results.count; i++)
        fill(result[i], r[i]);
}

RULE(while)
{
    const struct ir_attrs_while_loop *a = IR_ATTR(inst, while_loop);
    ir_literal **args = base_array(e->arena, ir_literal *, inst->noperands + 1),
               **next = base_array(e->arena, ir_literal *, inst->noperands + 1);
    base_arena *now = NULL;
    for (int i = 0; i < inst->noperands; i++)
        args[i] = operand[i];
    for (int64_t t = 0; t < a->limit; t++) {
        ir_literal *go;
        base_arena *arena = base_arena_new(base_arena_ctx(e->arena));
        eval_func(e, arena, a->test, args, &go);
        if (!ir_literal_get_int(go, 0)) {
            base_arena_free(arena);
            break;
        }
        eval_func(e, arena, a->body, args, next);
        for (int i = 0; i < inst->nresults; i++)
            args[a->consts + i] = next[i];
        if (now)
            base_arena_free(now);
        now = arena;
    }
    for (int i = 0; i < inst->nresults; i++)
        fill(result[i], args[a->consts + i]);
    if (now)
        base_arena_free(now);
}

static ir_literal slice_of(const ir_literal *l, int64_t i)
{
    ir_literal s = *l;
    s.type.rank--;
    memmove(s.type.dim, s.type.dim + 1, (size_t)s.type.rank * sizeof *s.type.dim);
    s.type.dim[s.type.rank] = 0;
    s.data = (char *)l->data + i * ir_bytes(&s.type);
    return s;
}

RULE(scan)
{
    const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
    int live = a->live != 0, fixed = (int)(a->consts + a->carries), n = inst->noperands - live,
        ys = inst->nresults - 1;
    ir_literal **args = base_array(e->arena, ir_literal *, n + 1),
               **next = base_array(e->arena, ir_literal *, ys + 2);
    ir_literal *slices = base_array(e->arena, ir_literal, n + 1);
    base_arena *now = NULL;
    bool go = !live || ir_literal_get_int(operand[inst->noperands - 1], 0);
    int64_t t = 0;
    for (int i = 0; i < fixed; i++)
        args[i] = operand[i];
    for (; t < a->length && go; t++) {
        int64_t at = a->reverse ? a->length - 1 - t : t;
        base_arena *arena = base_arena_new(base_arena_ctx(e->arena));
        for (int i = fixed; i < n; i++) {
            slices[i] = slice_of(operand[i], at);
            args[i] = &slices[i];
        }
        eval_func(e, arena, a->body, args, next);
        for (int i = (int)a->carries; i < ys; i++) {
            ir_literal y = slice_of(result[i], at);
            fill(&y, next[i]);
        }
        for (int i = 0; i < a->carries; i++)
            args[a->consts + i] = next[i];
        go = !live || ir_literal_get_int(next[ys], 0);
        if (now)
            base_arena_free(now);
        now = arena;
    }
    for (int i = 0; i < a->carries; i++)
        fill(result[i], args[a->consts + i]);
    ir_literal_set_int(result[ys], 0, t);
    if (now)
        base_arena_free(now);
}

/* ---- Wide values ---- */

ir_wide ir_wide_new(base_arena *arena, ir_dtype t, int64_t n)
{
    ir_wide w = {.is_float = ir_is_float(t), .is_unsigned = !ir_is_signed(t), .n = n};
    if (w.is_float)
        w.f = base_array(arena, double, n + 1);
    else
        w.i = base_array(arena, int64_t, n + 1);
    return w;
}

ir_wide ir_wide_of(base_arena *arena, const ir_literal *l)
{
    int64_t n = ir_count(&l->type);
    ir_wide w = ir_wide_new(arena, l->type.dtype, n);
    if (l->type.dtype == IR_F32)
        for (int64_t i = 0; i < n; i++)
            w.f[i] = ((const float *)l->data)[i];
    else if (l->type.dtype == IR_F64)
        memcpy(w.f, l->data, (size_t)n * sizeof *w.f);
    else if (w.is_float)
        for (int64_t i = 0; i < n; i++)
            w.f[i] = ir_literal_get(l, i);
    else
        for (int64_t i = 0; i < n; i++)
            w.i[i] = ir_literal_get_int(l, i);
    return w;
}

void ir_wide_store(const ir_wide *w, ir_literal *to)
{
    int64_t n = ir_count(&to->type);
    if (to->type.dtype == IR_F32 && w->is_float)
        for (int64_t i = 0; i < n; i++)
            ((float *)to->data)[i] = (float)w->f[i];
    else if (to->type.dtype == IR_F64 && w->is_float)
        memcpy(to->data, w->f, (size_t)n * sizeof *w->f);
    else if (w->is_float)
        for (int64_t i = 0; i < n; i++)
            ir_literal_set(to, i, w->f[i]);
    else
        for (int64_t i = 0; i < n; i++)
            ir_literal_set_int(to, i, w->i[i]);
}

bool ir_next_index(int rank, const int64_t *dim, int64_t *at)
{
    for (int d = rank - 1; d >= 0; d--) {
        if (++at[d] < dim[d])
            return true;
        at[d] = 0;
    }
    return false;
}

/* ---- Elementwise, one operand ---- */

typedef double unary_float(double x);
typedef int64_t unary_int(int64_t x);

static void unary(ir_evaluation *e, ir_literal *const *operand, ir_literal **result, unary_float *f,
                  unary_int *g)
{
    ir_wide x = ir_wide_of(e->arena, operand[0]);
    for (int64_t i = 0; i < x.n; i++) {
        if (x.is_float)
            x.f[i] = f(x.f[i]);
        else
            x.i[i] = g(x.i[i]);
    }
    ir_wide_store(&x, result[0]);
}

static double neg_float(double x) { return -x; }
static int64_t neg_int(int64_t x) { return (int64_t)(0 - (uint64_t)x); }
static double sign_float(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
static double rsqrt_float(double x) { return 1 / sqrt(x); }
static double logistic_float(double x) { return 1 / (1 + exp(-x)); }
static double copy_float(double x) { return x; }
static int64_t copy_int(int64_t x) { return x; }

#define UNARY(name, on_floats, on_ints)                \
    RULE(name)                                         \
    {                                                  \
        (void)inst;                                    \
        unary(e, operand, result, on_floats, on_ints); \
    }
/* clang-format off */
UNARY(neg, neg_float, neg_int)
UNARY(floor, floor, NULL) UNARY(ceil, ceil, NULL) UNARY(round, nearbyint, NULL) UNARY(sqrt, sqrt, NULL) UNARY(rsqrt, rsqrt_float, NULL)
UNARY(exp, exp, NULL) UNARY(expm1, expm1, NULL) UNARY(log, log, NULL) UNARY(log1p, log1p, NULL) UNARY(sin, sin, NULL) UNARY(cos, cos, NULL)
UNARY(tan, tan, NULL) UNARY(asin, asin, NULL) UNARY(acos, acos, NULL) UNARY(atan, atan, NULL) UNARY(sinh, sinh, NULL) UNARY(cosh, cosh, NULL)
UNARY(asinh, asinh, NULL) UNARY(acosh, acosh, NULL) UNARY(atanh, atanh, NULL) UNARY(tanh, tanh, NULL) UNARY(erf, erf, NULL)
UNARY(logistic, logistic_float, NULL) UNARY(copy, copy_float, copy_int)
/* clang-format on */

RULE(abs)
{
    (void)inst;
    ir_wide x = ir_wide_of(e->arena, operand[0]);
    for (int64_t i = 0; i < x.n; i++) {
        if (x.is_float)
            x.f[i] = fabs(x.f[i]);
        else if (!x.is_unsigned && x.i[i] < 0)
            x.i[i] = neg_int(x.i[i]);
    }
    ir_wide_store(&x, result[0]);
}

RULE(sign)
{
    (void)inst;
    ir_wide x = ir_wide_of(e->arena, operand[0]);
    for (int64_t i = 0; i < x.n; i++) {
        if (x.is_float)
            x.f[i] = sign_float(x.f[i]);
        else
            x.i[i] = x.i[i] == 0 ? 0 : x.is_unsigned || x.i[i] > 0 ? 1 : -1;
    }
    ir_wide_store(&x, result[0]);
}

RULE(not)
{
    (void)inst;
    ir_wide x = ir_wide_of(e->arena, operand[0]);
    for (int64_t i = 0; i < x.n; i++)
        x.i[i] = operand[0]->type.dtype == IR_BOOL ? !x.i[i] : ~x.i[i];
    ir_wide_store(&x, result[0]);
}

RULE(is_nan)
{
    (void)inst;
    ir_wide x = ir_wide_of(e->arena, operand[0]);
    for (int64_t i = 0; i < x.n; i++)
        ((uint8_t *)result[0]->data)[i] = (uint8_t)(isnan(x.f[i]) != 0);
}

/* Truncated and saturated; NaN is 0. */
static int64_t saturate(double x, ir_dtype to)
{
    int bits = ir_dtypes[to].bytes * 8;
    if (isnan(x))
        return 0;
    x = trunc(x);
    if (!ir_is_signed(to)) {
        if (x <= 0)
            return 0;
        return x >= ldexp(1, bits) ? (int64_t)(~0ull >> (64 - bits)) : (int64_t)(uint64_t)x;
    }
    if (x >= ldexp(1, bits - 1))
        return (int64_t)(~0ull >> (65 - bits));
    return x < -ldexp(1, bits - 1) ? (int64_t)(-1ull << (bits - 1)) : (int64_t)x;
}

RULE(convert)
{
    (void)inst;
    ir_dtype to = result[0]->type.dtype;
    ir_wide x = ir_wide_of(e->arena, operand[0]), y = ir_wide_new(e->arena, to, x.n);
    for (int64_t i = 0; i < x.n; i++) {
        if (to == IR_BOOL)
            y.i[i] = x.is_float ? x.f[i] != 0 : x.i[i] != 0;
        else if (x.is_float && y.is_float)
            y.f[i] = x.f[i];
        else if (x.is_float)
            y.i[i] = saturate(x.f[i], to);
        else if (to == IR_F32) /* straight from the integer: one rounding */
            y.f[i] = x.is_unsigned ? (float)(uint64_t)x.i[i] : (float)x.i[i];
        else if (y.is_float)
            y.f[i] = x.is_unsigned ? (double)(uint64_t)x.i[i] : (double)x.i[i];
        else
            y.i[i] = x.i[i];
    }
    ir_wide_store(&y, result[0]);
}

RULE(bitcast)
{
    (void)e, (void)inst;
    fill(result[0], &(ir_literal){result[0]->type, operand[0]->data});
    if (result[0]->type.dtype == IR_BOOL)
        for (int64_t i = 0; i < ir_count(&result[0]->type); i++)
            ((uint8_t *)result[0]->data)[i] = ((uint8_t *)result[0]->data)[i] != 0;
}

/* ---- Elementwise, two operands ---- */

typedef double binary_float(double x, double y);
typedef int64_t binary_int(int64_t x, int64_t y, bool is_unsigned, int bits);

static void binary(ir_evaluation *e, ir_literal *const *operand, ir_literal **result,
                   binary_float *f, binary_int *g)
{
    ir_wide x = ir_wide_of(e->arena, operand[0]), y = ir_wide_of(e->arena, operand[1]);
    int bits = ir_dtypes[operand[0]->type.dtype].bytes * 8;
    for (int64_t i = 0; i < x.n; i++) {
        if (x.is_float)
            x.f[i] = f(x.f[i], y.f[i]);
        else
            x.i[i] = g(x.i[i], y.i[i], x.is_unsigned, bits);
    }
    ir_wide_store(&x, result[0]);
}

#define U(x) ((uint64_t)(x))
#define FLOAT(name, expression)                    \
    static double name##_float(double x, double y) \
    {                                              \
        return expression;                         \
    }
#define INT(name, expression)                                                   \
    static int64_t name##_int(int64_t x, int64_t y, bool is_unsigned, int bits) \
    {                                                                           \
        (void)is_unsigned, (void)bits;                                          \
        return (int64_t)(expression);                                           \
    }
#define BINARY(name, f, g)                \
    RULE(name)                            \
    {                                     \
        (void)inst;                       \
        binary(e, operand, result, f, g); \
    }

/* clang-format off */
FLOAT(add, x + y) FLOAT(sub, x - y) FLOAT(mul, x *y) FLOAT(div, x / y)
/* NaN if either is; 0 is above -0. */
FLOAT(max, isnan(x) ? x : isnan(y) ? y : x > y || (x == y && !signbit(x)) ? x : y)
FLOAT(min, isnan(x) ? x : isnan(y) ? y : x < y || (x == y && signbit(x)) ? x : y)
INT(add, U(x) + U(y)) INT(sub, U(x) - U(y)) INT(mul, U(x) * U(y))
INT(max, (is_unsigned ? U(x) > U(y) : x > y) ? x : y)
INT(min, (is_unsigned ? U(x) < U(y) : x < y) ? x : y)
INT(and, x &y) INT(or, x | y) INT(xor, x ^ y)

INT(div, y == 0 ? 0 : is_unsigned ? (int64_t)(U(x) / U(y)) : y == -1 ? neg_int(x) : x / y)
INT(rem, y == 0 ? 0 : is_unsigned ? (int64_t)(U(x) % U(y)) : y == -1 ? 0 : x % y)
INT(shl, U(y) >= (uint64_t)bits ? 0 : U(x) << y)
INT(shr, U(y) >= (uint64_t)bits ? 0 : is_unsigned ? (int64_t)(U(x) >> y) : x >> y)
/* clang-format on */
static int64_t pow_int(int64_t x, int64_t y, bool is_unsigned, int bits)
{
    (void)bits;
    uint64_t r = 1, base = U(x), n = U(y);
    if (!is_unsigned && y < 0)
        return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;
    for (; n; n >>= 1, base *= base)
        if (n & 1)
            r *= base;
    return (int64_t)r;
}
/* clang-format off */
BINARY(add, add_float, add_int) BINARY(sub, sub_float, sub_int) BINARY(mul, mul_float, mul_int) BINARY(div, div_float, div_int)
BINARY(rem, fmod, rem_int) BINARY(pow, pow, pow_int) BINARY(max, max_float, max_int) BINARY(min, min_float, min_int)
BINARY(atan2, atan2, NULL) BINARY(and, NULL, and_int) BINARY(or, NULL, or_int) BINARY(xor, NULL, xor_int) BINARY(shl, NULL, shl_int)
BINARY(shr, NULL, shr_int)
/* clang-format on */

RULE(compare)
{
    ir_wide x = ir_wide_of(e->arena, operand[0]), y = ir_wide_of(e->arena, operand[1]);
    ir_relation r = IR_ATTR(inst, compare)->relation;
    for (int64_t i = 0; i < x.n; i++) {
        bool less = x.is_float      ? x.f[i] < y.f[i]
                    : x.is_unsigned ? U(x.i[i]) < U(y.i[i])
                                    : x.i[i] < y.i[i];
        bool equal = x.is_float ? x.f[i] == y.f[i] : x.i[i] == y.i[i];
        bool more = x.is_float ? x.f[i] > y.f[i] : !less && !equal;
        const bool holds[] = {equal, !equal, less, less || equal, more, more || equal};
        ((uint8_t *)result[0]->data)[i] = holds[r];
    }
}

RULE(select)
{
    (void)e, (void)inst;
    int64_t n = ir_count(&result[0]->type), size = ir_dtypes[result[0]->type.dtype].bytes;
    for (int64_t i = 0; i < n; i++)
        memcpy((char *)result[0]->data + i * size,
               (const char *)operand[((const uint8_t *)operand[0]->data)[i] ? 1 : 2]->data +
                   i * size,
               (size_t)size);
}

/* ---- For reductions ---- */

double ir_combine_float(ir_combine c, double x, double y)
{
    static binary_float *const all[] = {add_float, mul_float, max_float, min_float};
    return all[c](x, y);
}

int64_t ir_combine_int(ir_combine c, int64_t x, int64_t y, bool is_unsigned)
{
    static binary_int *const all[] = {add_int, mul_int, max_int, min_int, and_int, or_int};
    return all[c](x, y, is_unsigned, 64);
}

void ir_wide_identity(ir_wide *w, int64_t k, ir_combine c, ir_dtype t)
{
    int bits = ir_dtypes[t].bytes * 8;
    bool s = ir_is_signed(t) && t != IR_BOOL;
    if (w->is_float)
        w->f[k] = c == IR_PROD ? 1 : c == IR_MAX ? -INFINITY : c == IR_MIN ? INFINITY : 0;
    else if (t == IR_BOOL)
        w->i[k] = c == IR_PROD || c == IR_MIN || c == IR_AND;
    else
        w->i[k] = c == IR_PROD  ? 1
                  : c == IR_AND ? -1
                  : c == IR_MAX ? (s ? (int64_t)(-1ull << (bits - 1)) : 0)
                  : c == IR_MIN
                      ? (s ? (int64_t)(~0ull >> (65 - bits)) : (int64_t)(~0ull >> (64 - bits)))
                      : 0;
}
