/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Elementary functions of angles and their inverses, inverse hyperbolic functions, and the
 * remainder. All but rem are in f64 only. */
#include "codegen/math.h"
#include "codegen/math_tables.h"

#include <math.h>

/* ---- Angles: x = q pi/2 + r, |r| <= pi/4 (a little more) ---- */

typedef struct angle {
    V hi, lo; /* r */
    V q;      /* integers; the two lowest bits count */
} angle;

enum { BIG = 1 << 20 }; /* angles above have products with the parts of pi/2 that are not exact */

static V shifted_word(cg_unit *u, V table, V word, V shift)
{
    V pair[2];
    for (int i = 0; i < 2; i++) {
        V at = LLVMBuildAdd(u->b, word, cg_i64(u, i), "");
        pair[i] = LLVMBuildLoad2(u->b, u->i64,
                                 LLVMBuildInBoundsGEP2(u->b, u->i64, table, &at, 1, ""), "");
    }
    return cg_intrinsic(u, "llvm.fshl", (LLVMTypeRef[]){u->i64}, 1, (V[]){pair[0], pair[1], shift},
                        3);
}

/* x = m 2^e with an integer m of 53 bits; the fraction of m 2^e 2/pi / 4 in 192 bits: of 2/pi, only
 * the bits from e - 2 on count. Returns the upper 128 bits below the two that say the quadrant, as
 * a signed number, and the quadrant. */
static V big_fraction(cg_unit *u, V x, V *q)
{
    LLVMBuilderRef b = u->b;
    LLVMTypeRef wide = LLVMIntTypeInContext(u->ll, 128);
    V bits = LLVMBuildBitCast(b, x, u->i64, ""), mask = cg_i64(u, (1ll << 52) - 1);
    V m = LLVMBuildOr(b, LLVMBuildAnd(b, bits, mask, ""), cg_i64(u, 1ll << 52), "");
    V field = LLVMBuildAnd(b, LLVMBuildLShr(b, bits, cg_i64(u, 52), ""), cg_i64(u, 2047), "");
    /* The table begins with 64 zero bits. */
    V from = LLVMBuildSub(b, field, cg_i64(u, 1075 + 2 - 64), "");
    V first = LLVMBuildLShr(b, from, cg_i64(u, 6), ""),
      shift = LLVMBuildAnd(b, from, cg_i64(u, 63), "");
    V table = cg_data_of(u, two_over_pi, sizeof two_over_pi), product[3];
    for (int i = 0; i < 3; i++) {
        V w = shifted_word(u, table, LLVMBuildAdd(b, first, cg_i64(u, i), ""), shift);
        product[i] =
            LLVMBuildMul(b, LLVMBuildZExt(b, m, wide, ""), LLVMBuildZExt(b, w, wide, ""), "");
    }
    V sixty_four = LLVMConstInt(wide, 64, 0), sixty_two = LLVMConstInt(wide, 62, 0);
    V high = LLVMBuildAdd(b, LLVMBuildShl(b, product[0], sixty_four, ""), product[1], "");
    high = LLVMBuildAdd(b, high, LLVMBuildLShr(b, product[2], sixty_four, ""), "");
    V low = LLVMBuildZExt(b, LLVMBuildTrunc(b, product[2], u->i64, ""), wide, "");
    V fraction = LLVMBuildOr(b, LLVMBuildShl(b, high, LLVMConstInt(wide, 2, 0), ""),
                             LLVMBuildLShr(b, low, sixty_two, ""), "");
    V top = LLVMBuildTrunc(b, LLVMBuildLShr(b, high, LLVMConstInt(wide, 126, 0), ""), u->i64, "");
    V up =
        LLVMBuildTrunc(b, LLVMBuildLShr(b, fraction, LLVMConstInt(wide, 127, 0), ""), u->i64, "");
    *q = LLVMBuildAdd(b, top, up, ""); /* the nearest: a fraction above a half is negative */
    return fraction;
}

/* The signed 128-bit number, in units of 2^-128, times pi/2. */
static cg_two fraction_to_angle(const cg_m *m, V fraction)
{
    cg_unit *u = m->u;
    LLVMTypeRef wide = LLVMIntTypeInContext(u->ll, 128);
    V zero = LLVMConstNull(wide), negative = LLVMBuildICmp(B, LLVMIntSLT, fraction, zero, "");
    V a = SELECT(negative, LLVMBuildNeg(B, fraction, ""), fraction);
    V lead =
        cg_intrinsic(u, "llvm.ctlz", (LLVMTypeRef[]){wide}, 1, (V[]){a, LLVMConstNull(u->i1)}, 2);
    lead = SELECT(LLVMBuildICmp(B, LLVMIntUGT, lead, LLVMConstInt(wide, 100, 0), ""),
                  LLVMConstInt(wide, 100, 0), lead);
    a = LLVMBuildShl(B, a, lead, "");
    V part[2]; /* 53 bits each: conversion is exact */
    for (int i = 0; i < 2; i++) {
        V word = LLVMBuildTrunc(B, LLVMBuildLShr(B, a, LLVMConstInt(wide, i ? 22 : 75, 0), ""),
                                u->i64, "");
        part[i] =
            LLVMBuildSIToFP(B, LLVMBuildAnd(B, word, cg_i64(u, (1ll << 53) - 1), ""), u->f64, "");
    }
    V field = LLVMBuildSub(B, cg_i64(u, 1023), LLVMBuildTrunc(B, lead, u->i64, ""), "");
    V scale = FLOATS(LLVMBuildShl(B, field, cg_i64(u, 52), ""));
    scale = SELECT(negative, NEG(scale), scale);
    V hi = MUL(part[0], MUL(scale, NUM(0x1p-53))), lo = MUL(part[1], MUL(scale, NUM(0x1p-106)));
    cg_two p = cg_m_two_product(m, hi, NUM(pi_2[0]));
    V rest = ADD(p.lo, FMA(hi, NUM(pi_2[1]), MUL(lo, NUM(pi_2[0]))));
    V sum = ADD(p.hi, rest);
    return (cg_two){sum, ADD(SUB(p.hi, sum), rest)};
}

/* double (*)(double x, double *lo, i64 *q): the reduction for |x| >= BIG, x > 0. */
static V big_angle(cg_unit *u, LLVMTypeRef *type)
{
    const char *name = base_format(u->arena, "%s_math_angle%s", u->prefix, u->suffix);
    *type = LLVMFunctionType(u->f64, (LLVMTypeRef[]){u->f64, u->ptr, u->ptr}, 3, 0);
    V f = LLVMGetNamedFunction(u->module, name);
    if (f)
        return f;
    f = LLVMAddFunction(u->module, name, *type);
    cg_m_like_caller(u, f);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(u->b);
    LLVMPositionBuilderAtEnd(u->b, LLVMAppendBasicBlockInContext(u->ll, f, ""));
    cg_m scalar = {u, 1, true, false, u->f64, u->i64};
    V q, fraction = big_fraction(u, LLVMGetParam(f, 0), &q);
    cg_two r = fraction_to_angle(&scalar, fraction);
    LLVMBuildStore(u->b, r.lo, LLVMGetParam(f, 1));
    LLVMBuildStore(u->b, q, LLVMGetParam(f, 2));
    LLVMBuildRet(u->b, r.hi);
    LLVMPositionBuilderAtEnd(u->b, before);
    return f;
}

static V any(const cg_m *m, V lanes)
{
    LLVMTypeRef t = LLVMTypeOf(lanes);
    return m->lanes == 1 ? lanes : cg_intrinsic(m->u, "llvm.vector.reduce.or", &t, 1, &lanes, 1);
}

static V lane_pointer(const cg_m *m, V base, V lane)
{
    return LLVMBuildInBoundsGEP2(B, m->u->i64, base, &lane, 1, "");
}

/* Lane by lane through memory: where a lane's x is big, its r and q are replaced. */
static void big_lanes(const cg_m *m, V x, V *slot)
{
    cg_unit *u = m->u;
    LLVMTypeRef type;
    V f = big_angle(u, &type), function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(B));
    LLVMBasicBlockRef block[4], before = LLVMGetInsertBlock(B); /* loop, big, next, done */
    for (int i = 0; i < 4; i++)
        block[i] = LLVMAppendBasicBlockInContext(u->ll, function, "");
    V lanes = slot[3];
    LLVMBuildStore(B, x, lanes);
    LLVMBuildBr(B, block[0]);
    LLVMPositionBuilderAtEnd(B, block[0]);
    V i = LLVMBuildPhi(B, u->i64, ""), zero = cg_i64(u, 0);
    V one = LLVMBuildLoad2(B, u->f64, lane_pointer(m, lanes, i), "");
    cg_m scalar = {u, 1, true, false, u->f64, u->i64};
    V size = cg_m_call(&scalar, "llvm.fabs", one, NULL);
    V big = LLVMBuildAnd(B, GT(size, LLVMConstReal(u->f64, BIG)),
                         LT(size, LLVMConstReal(u->f64, INFINITY)), "");
    LLVMBuildCondBr(B, big, block[1], block[2]);
    LLVMPositionBuilderAtEnd(B, block[1]);
    V lo = lane_pointer(m, slot[1], i), q = lane_pointer(m, slot[2], i);
    V hi = LLVMBuildCall2(B, type, f, (V[]){size, lo, q}, 3, "");
    LLVMBuildStore(B, hi, lane_pointer(m, slot[0], i));
    LLVMBuildBr(B, block[2]);
    LLVMPositionBuilderAtEnd(B, block[2]);
    V next = LLVMBuildAdd(B, i, cg_i64(u, 1), "");
    LLVMBuildCondBr(B, LLVMBuildICmp(B, LLVMIntSLT, next, cg_i64(u, m->lanes), ""), block[0],
                    block[3]);
    LLVMAddIncoming(i, (V[]){zero, next}, (LLVMBasicBlockRef[]){before, block[2]}, 2);
    LLVMPositionBuilderAtEnd(B, block[3]);
}

/* |x| = q pi/2 + hi + lo. */
static angle reduce(const cg_m *m, V x)
{
    cg_unit *u = m->u;
    angle r;
    V a = ABS(x), big = GT(a, NUM(BIG)), k = cg_m_nearest(m, MUL(a, NUM(M_2_PI)), &r.q);
    V part[4];
    for (int i = 0; i < 4; i++)
        part[i] = MUL(k, NUM(half_pi[i]));
    V first = SUB(a, part[0]); /* exact, and so are the products but the last */
    cg_two s = cg_m_two_sum(m, first, NEG(part[1])), t = cg_m_two_sum(m, s.hi, NEG(part[2]));
    V rest = SUB(ADD(s.lo, t.lo), part[3]);
    r.hi = ADD(t.hi, rest);
    r.lo = ADD(SUB(t.hi, r.hi), rest);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(B), rare, done;
    V function = LLVMGetBasicBlockParent(before);
    rare = LLVMAppendBasicBlockInContext(u->ll, function, "");
    V slot[4], now[3] = {r.hi, r.lo, r.q}, later[3];
    LLVMTypeRef type[4] = {m->f, m->f, m->i, m->f};
    for (int i = 0; i < 4; i++)
        slot[i] = LLVMBuildAlloca(B, type[i], "");
    done = LLVMAppendBasicBlockInContext(u->ll, function, "");
    LLVMBuildCondBr(B, any(m, big), rare, done);
    LLVMPositionBuilderAtEnd(B, rare);
    for (int i = 0; i < 3; i++)
        LLVMBuildStore(B, now[i], slot[i]);
    big_lanes(m, x, slot);
    for (int i = 0; i < 3; i++)
        later[i] = LLVMBuildLoad2(B, type[i], slot[i], "");
    rare = LLVMGetInsertBlock(B);
    LLVMBuildBr(B, done);
    LLVMPositionBuilderAtEnd(B, done);
    for (int i = 0; i < 3; i++) {
        V either = LLVMBuildPhi(B, type[i], "");
        LLVMAddIncoming(either, (V[]){now[i], later[i]}, (LLVMBasicBlockRef[]){before, rare}, 2);
        now[i] = either;
    }
    return (angle){now[0], now[1], now[2]};
}

static void sin_cos(const cg_m *m, const angle *r, V *sine, V *cosine)
{
    V z = MUL(r->hi, r->hi), half = MUL(NUM(0.5), z), one = SUB(NUM(1), half);
    V s = MUL(MUL(r->hi, z), cg_m_poly(m, sin_64, COUNT(sin_64), z));
    /* For the tail, cos r = 1 - z / 2 is accurate enough. */
    *sine = ADD(r->hi, ADD(s, FMA(NEG(half), r->lo, r->lo)));
    V c = FMA(MUL(z, z), cg_m_poly(m, cos_64, COUNT(cos_64), z), MUL(NEG(r->hi), r->lo));
    *cosine = ADD(one, ADD(SUB(SUB(NUM(1), one), half), c));
}

static V bit(const cg_m *m, V q, int n)
{
    return LLVMBuildICmp(B, LLVMIntNE, LLVMBuildAnd(B, q, INT(n), ""), INT(0), "");
}

/* x, or NaN where the angle is infinite. */
static V of_finite(const cg_m *m, V x, V v)
{
    return SELECT(LT(ABS(x), NUM(INFINITY)), v, NUM(NAN));
}

/* sin(|x| + quarters pi/2) */
static V sine_from(const cg_m *m, V x, int quarters)
{
    angle r = reduce(m, x);
    V s, c, q = LLVMBuildAdd(B, r.q, INT(quarters), "");
    sin_cos(m, &r, &s, &c);
    V v = SELECT(bit(m, q, 1), c, s);
    return of_finite(m, x, SELECT(bit(m, q, 2), NEG(v), v));
}

/* v with its sign changed where x's is set. */
static V odd(const cg_m *m, V x, V v)
{
    V sign = LLVMBuildAnd(B, BITS(x), INT((int64_t)(1ull << 63)), "");
    return FLOATS(LLVMBuildXor(B, BITS(v), sign, ""));
}

V cg_m_sin(const cg_m *m, V x, V unused)
{
    (void)unused;
    return odd(m, x, sine_from(m, x, 0));
}

V cg_m_cos(const cg_m *m, V x, V unused)
{
    (void)unused;
    return sine_from(m, x, 1);
}

V cg_m_tan(const cg_m *m, V x, V unused)
{
    (void)unused;
    angle r = reduce(m, x);
    V s, c, swap = bit(m, r.q, 1);
    sin_cos(m, &r, &s, &c);
    V v = DIV(SELECT(swap, NEG(c), s), SELECT(swap, s, c));
    return odd(m, x, of_finite(m, x, v));
}

/* ---- Inverses ---- */

/* asin x = x + x tail, |x| <= 1/2, z = x^2. */
static V asin_tail(const cg_m *m, V z)
{
    return MUL(z, cg_m_poly(m, asin_64, COUNT(asin_64), z));
}

typedef struct arc {
    V outer; /* |x| > 1/2: the half angle, s = sqrt((1 - |x|) / 2), is more accurate there */
    V s, tail;    /* or s = |x| */
} arc;

static arc arc_of(const cg_m *m, V x)
{
    V a = ABS(x), half = NUM(0.5);
    arc r;
    r.outer = GT(a, half);
    V z = SELECT(r.outer, MUL(half, SUB(NUM(1), a)), MUL(a, a));
    r.s = SELECT(r.outer, SQRT(z), a);
    r.tail = asin_tail(m, z);
    return r;
}

V cg_m_asin(const cg_m *m, V x, V unused)
{
    (void)unused;
    arc r = arc_of(m, x);
    V part = FMA(r.s, r.tail, r.s);
    V v = SELECT(r.outer, SUB(NUM(pi_2[0]), SUB(ADD(part, part), NUM(pi_2[1]))), part);
    return SELECT(IS_NAN(v), v, COPYSIGN(v, x));
}

V cg_m_acos(const cg_m *m, V x, V unused)
{
    (void)unused;
    arc r = arc_of(m, x);
    V part = FMA(r.s, r.tail, r.s), twice = ADD(part, part);
    V inner = SUB(NUM(pi_2[0]), SUB(COPYSIGN(part, x), NUM(pi_2[1])));
    V left = SUB(NUM(pi_1[0]), SUB(twice, NUM(pi_1[1])));
    return SELECT(r.outer, SELECT(LT(x, NUM(0)), left, twice), SELECT(IS_NAN(part), part, inner));
}

/* atan(a / b) for a, b >= 0, not both infinite. */
static V atan_ratio(const cg_m *m, V a, V b)
{
    V zero = NUM(0), high = GT(a, MUL(b, NUM(2.414213562373095))),
      middle = GT(a, MUL(b, NUM(0.4142135623730951)));
    V over = SELECT(high, NEG(b), SELECT(middle, SUB(a, b), a)),
      under = SELECT(high, a, SELECT(middle, ADD(a, b), b));
    V t = DIV(over, SELECT(EQ(under, zero), NUM(1), under)), z = MUL(t, t);
    V base = SELECT(high, NUM(pi_2[0]), SELECT(middle, NUM(pi_4[0]), zero)),
      rest = SELECT(high, NUM(pi_2[1]), SELECT(middle, NUM(pi_4[1]), zero));
    V tail = FMA(MUL(t, z), cg_m_poly(m, atan_64, COUNT(atan_64), z), rest);
    return ADD(base, ADD(t, tail));
}

V cg_m_atan(const cg_m *m, V x, V unused)
{
    (void)unused;
    return COPYSIGN(atan_ratio(m, ABS(x), NUM(1)), x);
}

V cg_m_atan2(const cg_m *m, V y, V x)
{
    V a = ABS(y), b = ABS(x), inf = NUM(INFINITY), nan = LLVMBuildFCmp(B, LLVMRealUNO, x, y, "");
    V both = LLVMBuildAnd(B, EQ(a, inf), EQ(b, inf), "");
    a = SELECT(both, NUM(1), a);
    b = SELECT(both, NUM(1), b);
    /* Scaled so that sums do not overflow and differences are not denormal. */
    V larger = SELECT(GT(a, b), a, b);
    V scale = SELECT(GT(larger, NUM(0x1p1000)), NUM(0x1p-100),
                     SELECT(LT(larger, NUM(0x1p-800)), NUM(0x1p200), NUM(1)));
    V r = atan_ratio(m, MUL(a, scale), MUL(b, scale));
    V left = LLVMBuildICmp(B, LLVMIntSLT, BITS(x), INT(0), "");
    r = SELECT(left, SUB(NUM(pi_1[0]), SUB(r, NUM(pi_1[1]))), r);
    return SELECT(nan, NUM(NAN), COPYSIGN(r, y));
}

/* ---- Inverse hyperbolic functions ---- */

V cg_m_asinh(const cg_m *m, V x, V unused)
{
    (void)unused;
    V a = ABS(x), one = NUM(1), large = GT(a, NUM(0x1p28)), square = MUL(a, a);
    V arg = SELECT(large, SUB(a, one), ADD(a, DIV(square, ADD(one, SQRT(ADD(square, one))))));
    V v = cg_m_log1p(m, arg, NULL);
    return COPYSIGN(ADD(v, SELECT(large, NUM(M_LN2), NUM(0))), x);
}

V cg_m_acosh(const cg_m *m, V x, V unused)
{
    (void)unused;
    V one = NUM(1), large = GT(x, NUM(0x1p28)), t = SUB(x, one);
    V arg = SELECT(large, t, ADD(t, SQRT(FMA(t, t, ADD(t, t)))));
    V v = ADD(cg_m_log1p(m, arg, NULL), SELECT(large, NUM(M_LN2), NUM(0)));
    return SELECT(LT(x, one), NUM(NAN), v);
}

V cg_m_atanh(const cg_m *m, V x, V unused)
{
    (void)unused;
    V a = ABS(x), one = NUM(1), t = ADD(a, a), small = LT(a, NUM(0.5));
    V q = DIV(MUL(t, SELECT(small, a, one)), SUB(one, a));
    V v = MUL(NUM(0.5), cg_m_log1p(m, ADD(SELECT(small, t, NUM(0)), q), NULL));
    return SELECT(GT(a, one), NUM(NAN), COPYSIGN(v, x));
}

/* ---- The remainder ---- */

/* While r >= b in any lane, subtracts the largest b 2^k not above r, which is exact. */
V cg_m_rem(const cg_m *m, V x, V y)
{
    cg_unit *u = m->u;
    V a = ABS(x), b = ABS(y), inf = NUM(INFINITY), zero = NUM(0);
    V bad = LLVMBuildOr(B, LLVMBuildFCmp(B, LLVMRealUEQ, b, zero, ""),
                        LLVMBuildNot(B, LT(a, inf), ""), "");
    V start = SELECT(bad, zero, a);
    int64_t exponents = m->wide ? 0x7ffll << 52 : 0xffll << 23;
    V function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(B));
    LLVMBasicBlockRef before = LLVMGetInsertBlock(B),
                      loop = LLVMAppendBasicBlockInContext(u->ll, function, ""),
                      body = LLVMAppendBasicBlockInContext(u->ll, function, ""),
                      done = LLVMAppendBasicBlockInContext(u->ll, function, "");
    b = SELECT(bad, NUM(1), b);
    V fraction = LLVMBuildAnd(B, BITS(b), INT(~exponents), "");
    LLVMBuildBr(B, loop);
    LLVMPositionBuilderAtEnd(B, loop);
    V r = LLVMBuildPhi(B, m->f, ""), more = LLVMBuildFCmp(B, LLVMRealOGE, r, b, "");
    LLVMBuildCondBr(B, any(m, more), body, done);
    LLVMPositionBuilderAtEnd(B, body);
    V take = FLOATS(LLVMBuildOr(B, LLVMBuildAnd(B, BITS(r), INT(exponents), ""), fraction, ""));
    take = SELECT(GT(take, r), MUL(take, NUM(0.5)), take);
    V next = SELECT(more, SUB(r, take), r);
    LLVMBuildBr(B, loop);
    LLVMAddIncoming(r, (V[]){start, next}, (LLVMBasicBlockRef[]){before, body}, 2);
    LLVMPositionBuilderAtEnd(B, done);
    return SELECT(bad, NUM(NAN), COPYSIGN(r, x));
}
