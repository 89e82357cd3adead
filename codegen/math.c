/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Elementary functions as straight-line code on a scalar or a vector: exponentials, logarithms,
 * powers and the error function here, angles in math_angle.c.
 *
 * Frequent functions (exp, log, tanh, logistic, erf, …) are emitted inline, in f32 for f32. Each of
 * the others is an internal function for a type and number of lanes, in f64 for both: f32 is
 * widened, so that its error stays near half an ulp. Control flow does not depend on data, except
 * in the reduction of huge angles and the loop of rem. Denormal numbers count as zero, as they do
 * at run time. Error bounds: docs/numbers.md. */
#include "codegen/math.h"
#include "codegen/math_tables.h"

#include <math.h>
#include <string.h>

/* ---- Building blocks ---- */

V cg_m_num(const cg_m *m, double v)
{
    return cg_splat(m->u, LLVMConstReal(m->wide ? m->u->f64 : m->u->f32, v), m->lanes);
}

V cg_m_int(const cg_m *m, int64_t v)
{
    return cg_splat(m->u, LLVMConstInt(m->wide ? m->u->i64 : m->u->i32, (unsigned long long)v, 1),
                    m->lanes);
}

V cg_m_fma(const cg_m *m, V x, V y, V z)
{
    if (!m->u->target->fma)
        return ADD(MUL(x, y), z);
    LLVMTypeRef t = m->f;
    return cg_intrinsic(m->u, "llvm.fma", &t, 1, (V[]){x, y, z}, 3);
}

V cg_m_call(const cg_m *m, const char *name, V x, V y)
{
    LLVMTypeRef t = m->f;
    return cg_intrinsic(m->u, name, &t, 1, (V[]){x, y}, y ? 2 : 1);
}

V cg_m_poly(const cg_m *m, const double *c, int n, V x)
{
    V r = NUM(c[n - 1]);
    for (int i = n - 2; i >= 0; i--)
        r = FMA(r, x, NUM(c[i]));
    return r;
}

V cg_m_above(const cg_m *m, V x, double limit)
{
    return SELECT(GT(x, NUM(limit)), NUM(limit), x);
}

/* Adding this rounds to the nearest integer, which is then in the low bits. */
static double magic(const cg_m *m)
{
    return m->wide ? 0x1.8p52 : 0x1.8p23;
}

static int mantissa(const cg_m *m)
{
    return m->wide ? 52 : 23;
}

static V one_bits(const cg_m *m)
{
    return INT(m->wide ? 0x3ffll << 52 : 0x7fll << 23);
}

V cg_m_nearest(const cg_m *m, V x, V *bits)
{
    V shifted = ADD(x, NUM(magic(m)));
    *bits = BITS(shifted);
    return SUB(shifted, NUM(magic(m)));
}

cg_two cg_m_two_product(const cg_m *m, V x, V y)
{
    V p = MUL(x, y);
    if (m->u->target->fma)
        return (cg_two){p, FMA(x, y, NEG(p))};
    V big[2] = {x, y}, hi[2], lo[2];
    for (int i = 0; i < 2; i++) {
        V c = MUL(big[i], NUM(134217729.0));
        hi[i] = SUB(c, SUB(c, big[i]));
        lo[i] = SUB(big[i], hi[i]);
    }
    V e = ADD(SUB(MUL(hi[0], hi[1]), p), MUL(hi[0], lo[1]));
    return (cg_two){p, ADD(ADD(e, MUL(lo[0], hi[1])), MUL(lo[0], lo[1]))};
}

cg_two cg_m_two_sum(const cg_m *m, V x, V y)
{
    V s = ADD(x, y), v = SUB(s, x);
    return (cg_two){s, ADD(SUB(x, SUB(s, v)), SUB(y, v))};
}

/* The same when |x| >= |y| or x is 0. */
static cg_two quick_two_sum(const cg_m *m, V x, V y)
{
    V s = ADD(x, y);
    return (cg_two){s, SUB(y, SUB(s, x))};
}

#define POLY(name, x)                                       \
    (m->wide ? cg_m_poly(m, name##_64, COUNT(name##_64), x) \
             : cg_m_poly(m, name##_32, COUNT(name##_32), x))

/* ---- Exponentials ---- */

/* x = k ln 2 + r, |r| <= ln 2 / 2. */
typedef struct reduced {
    V bits;  /* k in the low bits */
    V minus; /* e^r - 1 */
} reduced;

static V minus_one(const cg_m *m, V r)
{
    return FMA(MUL(r, r), POLY(exp, r), r);
}

static reduced reduce(const cg_m *m, V x, V tail)
{
    const double *ln2 = m->wide ? ln2_64 : ln2_32;
    reduced e;
    V k = cg_m_nearest(m, MUL(x, NUM(M_LOG2E)), &e.bits),
      r = FMA(k, NUM(-ln2[1]), FMA(k, NUM(-ln2[0]), x));
    e.minus = minus_one(m, tail ? ADD(r, tail) : r);
    return e;
}

/* 2^k, k in the range of exponents. */
static V power_of_two(const cg_m *m, V bits)
{
    return FLOATS(LLVMBuildAdd(B, LLVMBuildShl(B, bits, INT(mantissa(m)), ""), one_bits(m), ""));
}

/* v 2^(k - less) for v near 1, where that is a normal number; else anything. */
static V scaled(const cg_m *m, V v, V bits, int less)
{
    V k = LLVMBuildShl(B, bits, INT(mantissa(m)), "");
    if (less)
        k = LLVMBuildSub(B, k, INT((int64_t)less << mantissa(m)), "");
    return FLOATS(LLVMBuildAdd(B, BITS(v), k, ""));
}

static double highest(const cg_m *m) { return m->wide ? 709.782712893384 : 88.72283905; }
static double lowest(const cg_m *m) { return m->wide ? -708.3964185322641 : -87.33654475; }

static V in_range(const cg_m *m, V x, V v, double high)
{
    v = SELECT(GT(x, NUM(high)), NUM(INFINITY), v);
    v = SELECT(LT(x, NUM(lowest(m))), NUM(0), v);
    return SELECT(IS_NAN(x), x, v);
}

static V exp_of(const cg_m *m, V x, V unused)
{
    (void)unused;
    reduced e = reduce(m, x, NULL);
    return in_range(m, x, scaled(m, ADD(e.minus, NUM(1)), e.bits, 0), highest(m));
}

/* e^x - 1 for 0 <= x < 700 (f32: 80) or NaN. */
static V expm1_inside(const cg_m *m, V x)
{
    reduced e = reduce(m, x, NULL);
    V s = power_of_two(m, e.bits);
    return FMA(e.minus, s, SUB(s, NUM(1)));
}

static V expm1_of(const cg_m *m, V x, V unused)
{
    (void)unused;
    double low = m->wide ? -40 : -18; /* below it is -1 */
    V c = SELECT(LT(x, NUM(low)), NUM(low), x);
    reduced e = reduce(m, c, NULL);
    /* (e^r - 1 + (1 - 2^-k)) 2^k; where k is large, 2^-k is too small to count. */
    V k = cg_m_above(m, SUB(FLOATS(e.bits), NUM(magic(m))), 100), bits;
    cg_m_nearest(m, NEG(k), &bits);
    V v = scaled(m, ADD(e.minus, SUB(NUM(1), power_of_two(m, bits))), e.bits, 0);
    v = SELECT(GT(x, NUM(highest(m))), NUM(INFINITY), v);
    return SELECT(ZERO_OR_NAN(x), x, v);
}

static V logistic_of(const cg_m *m, V x, V unused)
{
    (void)unused;
    double low = m->wide ? -708 : -87;
    V t = cg_m_above(m, NEG(x), m->wide ? 709 : 88);
    t = SELECT(LT(t, NUM(low)), NUM(low), t);
    reduced e = reduce(m, t, NULL);
    V s = power_of_two(m, e.bits);
    return DIV(NUM(1), ADD(NUM(1), FMA(e.minus, s, s)));
}

static V tanh_of(const cg_m *m, V x, V unused)
{
    (void)unused;
    V a = cg_m_above(m, ABS(x), m->wide ? 20 : 10), t = expm1_inside(m, ADD(a, a));
    return COPYSIGN(DIV(t, ADD(t, NUM(2))), x);
}

/* e^a / 2 for a >= 0, NaN, up to where cosh overflows. */
static V half_exp(const cg_m *m, V a)
{
    reduced e = reduce(m, a, NULL);
    return in_range(m, a, scaled(m, ADD(e.minus, NUM(1)), e.bits, 1), 710.4758600739439);
}

static V sinh_of(const cg_m *m, V x, V unused)
{
    (void)unused;
    V a = ABS(x), t = expm1_inside(m, cg_m_above(m, a, 22));
    V small = MUL(NUM(0.5), ADD(t, DIV(t, ADD(t, NUM(1)))));
    return COPYSIGN(SELECT(GT(a, NUM(22)), half_exp(m, a), small), x);
}

static V cosh_of(const cg_m *m, V x, V unused)
{
    (void)unused;
    V h = half_exp(m, ABS(x));
    return ADD(h, DIV(NUM(0.25), h));
}

static V erf_of(const cg_m *m, V x, V unused)
{
    (void)unused;
    V a = ABS(x), q = SUB(cg_m_above(m, a, m->wide ? 6 : 4), NUM(1));
    V small = FMA(x, POLY(erf, MUL(x, x)), x);
    if (!m->u->target->fma) /* the product alone may be denormal, and count as zero */
        small = SELECT(LT(a, NUM(1e-30)), MUL(x, NUM(M_2_SQRTPI)), small);
    V t = NEG(POLY(erfc, q));
    reduced e = reduce(m, t, NULL);
    V s = power_of_two(m, e.bits);
    V large = SUB(NUM(1), FMA(e.minus, s, s));
    return SELECT(LLVMBuildFCmp(B, LLVMRealULT, a, NUM(1), ""), small, COPYSIGN(large, x));
}

/* ---- Logarithms ---- */

/* x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for normal positive x; e as a float. */
typedef struct parts {
    V f, e;
    V down; /* bits of 2^-e less those of 1 */
} parts;

static parts take_apart(const cg_m *m, V x)
{
    int64_t root = m->wide ? 0x3fe6a09e667f3bcdll : 0x3f3504f3, mask = (1ll << mantissa(m)) - 1;
    int64_t bias = m->wide ? 1023 : 127;
    double unit = m->wide ? 0x1p52 : 0x1p23; /* adding an integer below it sets its low bits */
    V i = LLVMBuildAdd(B, BITS(x), LLVMBuildSub(B, one_bits(m), INT(root), ""), "");
    V e = LLVMBuildOr(B, LLVMBuildLShr(B, i, INT(mantissa(m)), ""), BITS(NUM(unit)), "");
    parts p;
    p.f = SUB(FLOATS(LLVMBuildAdd(B, LLVMBuildAnd(B, i, INT(mask), ""), INT(root), "")), NUM(1));
    p.e = SUB(FLOATS(e), NUM(unit + (double)bias));
    p.down = LLVMBuildSub(B, one_bits(m), LLVMBuildAnd(B, i, INT(~mask), ""), "");
    return p;
}

/* log(2^e (1 + f)) */
static V log_parts(const cg_m *m, V f, V e)
{
    const double *ln2 = m->wide ? ln2_64 : ln2_32;
    V half = MUL(MUL(NUM(0.5), f), f);
    if (m->wide) {
        V s = DIV(f, ADD(NUM(2), f)), z = MUL(s, s),
          r = MUL(z, cg_m_poly(m, log_64, COUNT(log_64), z));
        V low = FMA(s, ADD(half, r), MUL(e, NUM(ln2[1])));
        return SUB(MUL(e, NUM(ln2[0])), SUB(SUB(half, low), f));
    }
    V p = MUL(MUL(MUL(f, f), f), cg_m_poly(m, log_32, COUNT(log_32), f));
    V low = SUB(FMA(e, NUM(ln2[1]), p), half);
    return FMA(e, NUM(ln2[0]), ADD(low, f));
}

/* v, the logarithm of a positive finite x, corrected for any other x. */
static V log_edges(const cg_m *m, V x, V v)
{
    v = SELECT(LT(x, NUM(INFINITY)), v, x); /* also NaN */
    v = SELECT(LT(x, NUM(0)), NUM(NAN), v);
    return SELECT(EQ(x, NUM(0)), NUM(-INFINITY), v);
}

static V log_of(const cg_m *m, V x, V unused)
{
    (void)unused;
    parts p = take_apart(m, x);
    return log_edges(m, x, log_parts(m, p.f, p.e));
}

V cg_m_log(const cg_m *m, V x)
{
    return log_of(m, x, NULL);
}

V cg_m_log1p(const cg_m *m, V x, V unused)
{
    (void)unused;
    cg_two t = cg_m_two_sum(m, NUM(1), x);
    parts p = take_apart(m, t.hi);
    V down = SELECT(GT(x, NUM(0x1p60)), NUM(0), FLOATS(LLVMBuildAdd(B, p.down, one_bits(m), "")));
    V f = FMA(t.lo, down, p.f);
    V v = log_edges(m, t.hi, log_parts(m, f, p.e));
    return SELECT(ZERO_OR_NAN(x), x, v);
}

/* ---- Powers ---- */

/* log x as a sum of two, accurate to 2^-64. */
static cg_two long_log(const cg_m *m, V x)
{
    parts p = take_apart(m, x);
    cg_two d = quick_two_sum(m, NUM(2), p.f);
    V s = DIV(p.f, d.hi);
    cg_two back = cg_m_two_product(m, s, d.hi);
    V sl = DIV(SUB(SUB(SUB(p.f, back.hi), back.lo), MUL(s, d.lo)), d.hi);
    cg_two z = cg_m_two_product(m, s, s);
    z.lo = FMA(ADD(s, s), sl, z.lo);
    cg_two c = cg_m_two_product(m, s, z.hi);
    c.lo = ADD(c.lo, FMA(s, z.lo, MUL(sl, z.hi)));
    cg_two g = cg_m_two_product(m, c.hi, NUM(two_thirds[0]));
    g.lo = ADD(g.lo, FMA(c.hi, NUM(two_thirds[1]), MUL(c.lo, NUM(two_thirds[0]))));
    V rest = MUL(MUL(c.hi, z.hi), cg_m_poly(m, log_low_64, COUNT(log_low_64), z.hi));
    cg_two a = quick_two_sum(m, ADD(s, s), g.hi);
    a.lo = ADD(ADD(a.lo, ADD(sl, sl)), ADD(g.lo, rest));
    cg_two l = cg_m_two_sum(m, MUL(p.e, NUM(ln2_long[0])), a.hi);
    l.lo = ADD(ADD(l.lo, FMA(p.e, NUM(ln2_long[2]), a.lo)), MUL(p.e, NUM(ln2_long[1])));
    return quick_two_sum(m, l.hi, l.lo);
}

/* x^y for positive finite x other than 0. */
static V positive_power(const cg_m *m, V x, V y)
{
    /* Beyond these, only x = 1 has a power other than 0 or infinity. */
    V limit = NUM(0x1p70), h, tail = NUM(0);
    y = SELECT(GT(y, limit), limit, SELECT(LT(y, NEG(limit)), NEG(limit), y));
    if (m->narrow) {
        h = MUL(y, cg_m_log(m, x));
    } else {
        cg_two l = long_log(m, x), p = cg_m_two_product(m, y, l.hi);
        h = p.hi;
        tail = FMA(y, l.lo, p.lo);
    }
    V far = GT(ABS(h), NUM(800));
    h = SELECT(far, COPYSIGN(NUM(800), h), h);
    reduced e = reduce(m, h, m->narrow ? NULL : SELECT(far, NUM(0), tail));
    return in_range(m, h, scaled(m, ADD(e.minus, NUM(1)), e.bits, 0), highest(m));
}

static V pow_of(const cg_m *m, V x, V y)
{
    V a = ABS(x), b = ABS(y), zero = NUM(0), one = NUM(1), inf = NUM(INFINITY);
    V v = positive_power(m, a, y);
    V up = GT(y, zero); /* of 0 and infinity */
    v = SELECT(EQ(a, zero), SELECT(up, zero, inf), v);
    v = SELECT(EQ(a, inf), SELECT(up, inf, zero), v);
    V unit = NUM(0x1p52), whole = SUB(ADD(b, unit), unit), half = MUL(b, NUM(0.5));
    V large = LLVMBuildFCmp(B, LLVMRealOGE, b, unit, ""),
      larger = LLVMBuildFCmp(B, LLVMRealOGE, b, NUM(0x1p53), "");
    V is_whole = LLVMBuildOr(B, EQ(whole, b), large, "");
    V even = LLVMBuildOr(B, EQ(SUB(ADD(half, unit), unit), half), larger, "");
    V negative = LLVMBuildICmp(B, LLVMIntSLT, BITS(x), INT(0), "");
    V odd = LLVMBuildAnd(B, is_whole, LLVMBuildNot(B, even, ""), "");
    v = SELECT(LLVMBuildAnd(B, negative, odd, ""), NEG(v), v);
    V finite_negative = LLVMBuildAnd(B, LT(x, zero), LT(a, inf), "");
    v = SELECT(LLVMBuildAnd(B, finite_negative, LLVMBuildNot(B, is_whole, ""), ""), NUM(NAN), v);
    v = SELECT(LLVMBuildFCmp(B, LLVMRealUNO, x, y, ""), NUM(NAN), v);
    return SELECT(LLVMBuildOr(B, EQ(y, zero), EQ(x, one), ""), one, v);
}

/* ---- The table ---- */

typedef V emitter(const cg_m *m, V x, V y);
typedef struct math_row {
    emitter *emit;
    bool in_place; /* emitted inline, and in f32 for f32 */
} math_row;

static const math_row rows[IR_OPS] = {
    [IR_OP_exp] = {exp_of, true},
    [IR_OP_expm1] = {expm1_of, true},
    [IR_OP_log] = {log_of, true},
    [IR_OP_log1p] = {cg_m_log1p, true},
    [IR_OP_tanh] = {tanh_of, true},
    [IR_OP_erf] = {erf_of, true},
    [IR_OP_logistic] = {logistic_of, true},
    [IR_OP_pow] = {pow_of, false},
    [IR_OP_sinh] = {sinh_of, false},
    [IR_OP_cosh] = {cosh_of, false},
    [IR_OP_sin] = {cg_m_sin, false},
    [IR_OP_cos] = {cg_m_cos, false},
    [IR_OP_tan] = {cg_m_tan, false},
    [IR_OP_asin] = {cg_m_asin, false},
    [IR_OP_acos] = {cg_m_acos, false},
    [IR_OP_atan] = {cg_m_atan, false},
    [IR_OP_atan2] = {cg_m_atan2, false},
    [IR_OP_asinh] = {cg_m_asinh, false},
    [IR_OP_acosh] = {cg_m_acosh, false},
    [IR_OP_atanh] = {cg_m_atanh, false},
    [IR_OP_rem] = {cg_m_rem, false},
};

static cg_m math_of(cg_unit *u, bool wide, int lanes)
{
    return (cg_m){u,
                  lanes,
                  wide,
                  false,
                  cg_vector(wide ? u->f64 : u->f32, lanes),
                  cg_vector(wide ? u->i64 : u->i32, lanes)};
}

static cg_m math_like(cg_unit *u, V x)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    bool vector = LLVMGetTypeKind(t) == LLVMVectorTypeKind;
    return math_of(u, (vector ? LLVMGetElementType(t) : t) == u->f64,
                   vector ? (int)LLVMGetVectorSize(t) : 1);
}

void cg_m_like_caller(cg_unit *u, LLVMValueRef f)
{
    static const char *const names[] = {"target-cpu", "target-features", "prefer-vector-width",
                                        "min-legal-vector-width"};
    LLVMValueRef caller = LLVMGetBasicBlockParent(LLVMGetInsertBlock(u->b));
    LLVMAttributeIndex function = (LLVMAttributeIndex)LLVMAttributeFunctionIndex;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        LLVMAttributeRef a =
            LLVMGetStringAttributeAtIndex(caller, function, names[i], (unsigned)strlen(names[i]));
        if (a)
            LLVMAddAttributeAtIndex(f, function, a);
    }
    LLVMAddAttributeAtIndex(
        f, function,
        LLVMCreateEnumAttribute(u->ll, LLVMGetEnumAttributeKindForName("nounwind", 8), 0));
    LLVMAddAttributeAtIndex(
        f, function,
        LLVMCreateEnumAttribute(u->ll, LLVMGetEnumAttributeKindForName("noinline", 8), 0));
    LLVMSetLinkage(f, LLVMInternalLinkage);
}

static V function_for(cg_unit *u, ir_op op, const cg_m *outer, LLVMTypeRef type)
{
    const char *name = base_format(u->arena, "%s_math_%s_%s_%d%s", u->prefix, ir_ops[op].name,
                                   outer->wide ? "f64" : "f32", outer->lanes, u->suffix);
    V f = LLVMGetNamedFunction(u->module, name);
    if (f)
        return f;
    f = LLVMAddFunction(u->module, name, type);
    cg_m_like_caller(u, f);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(u->b);
    LLVMPositionBuilderAtEnd(u->b, LLVMAppendBasicBlockInContext(u->ll, f, ""));
    cg_m m = math_of(u, outer->wide || op != IR_OP_rem, outer->lanes);
    m.narrow = !outer->wide;
    V arg[2] = {LLVMGetParam(f, 0), LLVMCountParams(f) > 1 ? LLVMGetParam(f, 1) : NULL};
    for (int i = 0; i < 2; i++)
        if (arg[i] && m.wide && m.narrow)
            arg[i] = LLVMBuildFPExt(u->b, arg[i], m.f, "");
    V r = rows[op].emit(&m, arg[0], arg[1]);
    LLVMBuildRet(u->b, m.wide && m.narrow ? LLVMBuildFPTrunc(u->b, r, outer->f, "") : r);
    LLVMPositionBuilderAtEnd(u->b, before);
    return f;
}

static V call_function(cg_unit *u, ir_op op, V x, V y)
{
    cg_m m = math_like(u, x);
    bool two = ir_ops[op].operands == 2;
    LLVMTypeRef param[2] = {m.f, m.f}, type = LLVMFunctionType(m.f, param, two ? 2 : 1, 0);
    return LLVMBuildCall2(u->b, type, function_for(u, op, &m, type), (V[]){x, y}, two ? 2 : 1, "");
}

/* Lanes from … from + n-1 of x; numbers outside of it give its first or last lane. */
static V lanes_from(cg_unit *u, V x, int from, int n)
{
    V order[1024];
    int have = (int)LLVMGetVectorSize(LLVMTypeOf(x));
    for (int i = 0; i < n; i++) {
        int lane = from + i < 0 ? 0 : from + i < have ? from + i : have - 1;
        order[i] = LLVMConstInt(u->i32, (unsigned long long)lane, 0);
    }
    return LLVMBuildShuffleVector(u->b, x, LLVMGetPoison(LLVMTypeOf(x)),
                                  LLVMConstVector(order, (unsigned)n), "");
}

/* Calls the function for pieces of a long vector that fit registers, so that there is not a
 * function for every length. */
static V call_in_pieces(cg_unit *u, ir_op op, V x, V y, int lanes, int piece)
{
    V all = LLVMGetPoison(LLVMTypeOf(x)), order[1024];
    for (int from = 0; from < lanes; from += piece) {
        V part = call_function(u, op, lanes_from(u, x, from, piece),
                               y ? lanes_from(u, y, from, piece) : NULL);
        for (int i = 0; i < lanes; i++)
            order[i] = LLVMConstInt(
                u->i32, (unsigned long long)(i >= from && i < from + piece ? lanes + i : i), 0);
        all = LLVMBuildShuffleVector(u->b, all, lanes_from(u, part, -from, lanes),
                                     LLVMConstVector(order, (unsigned)lanes), "");
    }
    return all;
}

LLVMValueRef cg_math(cg_unit *u, ir_op op, LLVMValueRef x, LLVMValueRef y)
{
    if (!rows[op].emit)
        BUG("%s is not an elementary function", ir_ops[op].name);
    cg_m m = math_like(u, x);
    if (rows[op].in_place)
        return rows[op].emit(&m, x, y);
    int piece = u->target->vector_bytes > 8 ? 2 * u->target->vector_bytes / 8 : 2;
    return m.lanes > piece
               ? call_in_pieces(u, op, x, ir_ops[op].operands == 2 ? y : NULL, m.lanes, piece)
               : call_function(u, op, x, y);
}
