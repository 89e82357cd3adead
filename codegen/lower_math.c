/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Elementwise ops at an index. f16 and bf16 compute in f32 and round at every result. */
#include "codegen/lower.h"

#define RULE(name) \
    LLVMValueRef cg_lower_##name(cg_emitter *e, const ir_inst *inst, int which, const cg_index *at)

typedef LLVMValueRef float_op(cg_emitter *e, LLVMValueRef x, LLVMValueRef y);
typedef LLVMValueRef int_op(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, bool is_signed);

static LLVMValueRef operand(cg_emitter *e, const ir_inst *inst, int i, const cg_index *at)
{
    return cg_at(e, inst->operand[i], at);
}

/* x and y as wide as each other; the result rounded to its type. */
static LLVMValueRef binary(cg_emitter *e, const ir_inst *inst, const cg_index *at,
                           float_op *on_floats, int_op *on_ints)
{
    ir_dtype t = inst->operand[0]->type.dtype;
    LLVMValueRef x = operand(e, inst, 0, at), y = inst->noperands > 1 ? operand(e, inst, 1, at) : x;
    cg_level(e, &x, &y);
    return ir_is_float(t) ? cg_round(e, t, on_floats(e, x, y)) : on_ints(e, x, y, ir_is_signed(t));
}

static LLVMValueRef call1(cg_emitter *e, const char *name, LLVMValueRef x)
{
    LLVMTypeRef type = LLVMTypeOf(x);
    return cg_intrinsic(e->u, name, &type, 1, &x, 1);
}

static LLVMValueRef call2(cg_emitter *e, const char *name, LLVMValueRef x, LLVMValueRef y)
{
    LLVMTypeRef type = LLVMTypeOf(x);
    return cg_intrinsic(e->u, name, &type, 1, (LLVMValueRef[]){x, y}, 2);
}

static LLVMValueRef like(LLVMValueRef x, LLVMValueRef scalar, cg_emitter *e)
{
    return cg_splat(e->u, scalar, cg_lanes_of(x));
}

static LLVMTypeRef element(LLVMValueRef x)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t;
}

static LLVMValueRef real(cg_emitter *e, LLVMValueRef x, double v)
{
    return like(x, LLVMConstReal(element(x), v), e);
}

static LLVMValueRef whole(cg_emitter *e, LLVMValueRef x, int64_t v)
{
    return like(x, LLVMConstInt(element(x), (unsigned long long)v, 1), e);
}

#define B (e->u->b)
#define FLOAT(name, expression)                                                     \
    static LLVMValueRef float_##name(cg_emitter *e, LLVMValueRef x, LLVMValueRef y) \
    {                                                                               \
        (void)e, (void)y;                                                           \
        return expression;                                                          \
    }
#define INT(name, expression)                                                                     \
    static LLVMValueRef int_##name(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, bool is_signed) \
    {                                                                                             \
        (void)e, (void)y, (void)is_signed;                                                        \
        return expression;                                                                        \
    }
#define BINARY(name)                                          \
    RULE(name)                                                \
    {                                                         \
        (void)which;                                          \
        return binary(e, inst, at, float_##name, int_##name); \
    }

/* ---- Arithmetic ---- */

/* clang-format off */
FLOAT(neg, LLVMBuildFNeg(B, x, "")) INT(neg, LLVMBuildNeg(B, x, "")) BINARY(neg)
FLOAT(add, LLVMBuildFAdd(B, x, y, "")) INT(add, LLVMBuildAdd(B, x, y, "")) BINARY(add)
FLOAT(sub, LLVMBuildFSub(B, x, y, "")) INT(sub, LLVMBuildSub(B, x, y, "")) BINARY(sub)
FLOAT(mul, LLVMBuildFMul(B, x, y, "")) INT(mul, LLVMBuildMul(B, x, y, "")) BINARY(mul)
FLOAT(div, LLVMBuildFDiv(B, x, y, ""))
FLOAT(abs, call1(e, "llvm.fabs", x))
INT(abs, !is_signed ? x : cg_intrinsic(e->u, "llvm.abs", (LLVMTypeRef[]){LLVMTypeOf(x)}, 1, (LLVMValueRef[]){x, LLVMConstNull(e->u->i1)}, 2))
BINARY(abs)
/* clang-format on */

/* x / 0 is 0, the most negative / -1 wraps: neither may reach the machine's division. */
static LLVMValueRef int_div(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, bool is_signed)
{
    LLVMValueRef zero = LLVMBuildICmp(B, LLVMIntEQ, y, whole(e, y, 0), ""), one = whole(e, y, 1);
    LLVMValueRef safe = LLVMBuildSelect(B, zero, one, y, "");
    if (!is_signed)
        return LLVMBuildSelect(B, zero, whole(e, x, 0), LLVMBuildUDiv(B, x, safe, ""), "");
    LLVMValueRef minus = LLVMBuildICmp(B, LLVMIntEQ, y, whole(e, y, -1), "");
    LLVMValueRef q = LLVMBuildSDiv(B, x, LLVMBuildSelect(B, minus, one, safe, ""), "");
    q = LLVMBuildSelect(B, minus, LLVMBuildNeg(B, x, ""), q, "");
    return LLVMBuildSelect(B, zero, whole(e, x, 0), q, "");
}
BINARY(div)

FLOAT(rem, cg_math(e->u, IR_OP_rem, x, y))
static LLVMValueRef int_rem(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, bool is_signed)
{
    LLVMValueRef zero = LLVMBuildICmp(B, LLVMIntEQ, y, whole(e, y, 0), ""), one = whole(e, y, 1);
    LLVMValueRef safe = LLVMBuildSelect(B, zero, one, y, "");
    if (is_signed)
        safe =
            LLVMBuildSelect(B, LLVMBuildICmp(B, LLVMIntEQ, y, whole(e, y, -1), ""), one, safe, "");
    LLVMValueRef r = is_signed ? LLVMBuildSRem(B, x, safe, "") : LLVMBuildURem(B, x, safe, "");
    return LLVMBuildSelect(B, zero, whole(e, x, 0), r, "");
}
BINARY(rem)

FLOAT(pow, cg_math(e->u, IR_OP_pow, x, y))
static LLVMValueRef int_pow(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, bool is_signed)
{
    int bits = (int)LLVMGetIntTypeWidth(element(x));
    LLVMValueRef r = whole(e, x, 1), power = x, zero = whole(e, x, 0), one = whole(e, x, 1);
    for (int i = 0; i < bits; i++) {
        LLVMValueRef bit = LLVMBuildAnd(B, LLVMBuildLShr(B, y, whole(e, y, i), ""), one, "");
        r = LLVMBuildSelect(B, LLVMBuildICmp(B, LLVMIntNE, bit, zero, ""),
                            LLVMBuildMul(B, r, power, ""), r, "");
        power = LLVMBuildMul(B, power, power, "");
    }
    if (!is_signed)
        return r;
    LLVMValueRef odd = LLVMBuildICmp(B, LLVMIntNE, LLVMBuildAnd(B, y, one, ""), zero, "");
    LLVMValueRef unit = LLVMBuildSelect(B, odd, x, one, ""); /* of 1 and -1 */
    LLVMValueRef is_unit = LLVMBuildOr(B, LLVMBuildICmp(B, LLVMIntEQ, x, one, ""),
                                       LLVMBuildICmp(B, LLVMIntEQ, x, whole(e, x, -1), ""), "");
    LLVMValueRef negative = LLVMBuildSelect(B, is_unit, unit, zero, "");
    return LLVMBuildSelect(B, LLVMBuildICmp(B, LLVMIntSLT, y, zero, ""), negative, r, "");
}
BINARY(pow)

/* Is y a constant other than NaN and the zero that loses to the other zero? Then a comparison is
 * enough. */
static bool is_plain(cg_emitter *e, LLVMValueRef y, bool larger)
{
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(y));
    return LLVMIsConstant(y) && LLVMIsNull(LLVMBuildFCmp(B, LLVMRealUNO, y, y, "")) &&
           (LLVMIsNull(LLVMBuildFCmp(B, LLVMRealOEQ, y, zero, "")) || (larger && LLVMIsNull(y)));
}

/* The same by comparisons, for which LLVM has support functions. If both are zeros, the sign
 * decides. */
static LLVMValueRef compared_pick(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, bool larger)
{
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMTypeRef bits = cg_vector(element(x) == e->u->f64 ? e->u->i64 : e->u->i32, cg_lanes_of(x));
    LLVMValueRef a = LLVMBuildBitCast(B, x, bits, ""), b = LLVMBuildBitCast(B, y, bits, ""),
                 tie = larger ? LLVMBuildAnd(B, a, b, "") : LLVMBuildOr(B, a, b, ""),
                 nan = LLVMBuildSelect(B, LLVMBuildFCmp(B, LLVMRealUNO, x, x, ""), x, y, "");
    LLVMValueRef other = LLVMBuildSelect(B, LLVMBuildFCmp(B, LLVMRealOEQ, x, y, ""),
                                         LLVMBuildBitCast(B, tie, type, ""), nan, "");
    return LLVMBuildSelect(B, LLVMBuildFCmp(B, larger ? LLVMRealOGT : LLVMRealOLT, x, y, ""), x,
                           other, "");
}

/* NaN if either is; 0 is above -0. So the result of a reduction does not depend on its order. */
static LLVMValueRef float_pick(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, bool larger)
{
    if (LLVMIsConstant(x)) {
        LLVMValueRef swap = x;
        x = y;
        y = swap;
    }
    if (!is_plain(e, y, larger))
        return cg_has_instructions(e->u, element(x))
                   ? call2(e, larger ? "llvm.maximum" : "llvm.minimum", y, x)
                   : compared_pick(e, x, y, larger);
    /* x when unordered */
    return LLVMBuildSelect(B, LLVMBuildFCmp(B, larger ? LLVMRealUGT : LLVMRealULT, x, y, ""), x, y,
                           "");
}
/* clang-format off */
FLOAT(max, float_pick(e, x, y, true)) INT(max, call2(e, is_signed ? "llvm.smax" : "llvm.umax", x, y)) BINARY(max)
FLOAT(min, float_pick(e, x, y, false)) INT(min, call2(e, is_signed ? "llvm.smin" : "llvm.umin", x, y)) BINARY(min)
/* clang-format on */

static LLVMValueRef float_sign(cg_emitter *e, LLVMValueRef x, LLVMValueRef y)
{
    (void)y;
    LLVMValueRef zero = real(e, x, 0);
    LLVMValueRef low =
        LLVMBuildSelect(B, LLVMBuildFCmp(B, LLVMRealOLT, x, zero, ""), real(e, x, -1), x, "");
    return LLVMBuildSelect(B, LLVMBuildFCmp(B, LLVMRealOGT, x, zero, ""), real(e, x, 1), low, "");
}
static LLVMValueRef int_sign(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, bool is_signed)
{
    (void)y;
    LLVMValueRef zero = whole(e, x, 0), one = whole(e, x, 1);
    LLVMValueRef r = LLVMBuildSelect(B, LLVMBuildICmp(B, LLVMIntEQ, x, zero, ""), zero, one, "");
    return is_signed ? LLVMBuildSelect(B, LLVMBuildICmp(B, LLVMIntSLT, x, zero, ""),
                                       whole(e, x, -1), r, "")
                     : r;
}
BINARY(sign)

/* ---- Bits ---- */

static LLVMValueRef no_float(cg_emitter *e, LLVMValueRef x, LLVMValueRef y)
{
    (void)e, (void)x, (void)y;
    BUG("bits of a float");
}
#define BITS(name)                                        \
    RULE(name)                                            \
    {                                                     \
        (void)which;                                      \
        return binary(e, inst, at, no_float, int_##name); \
    }
/* clang-format off */
INT(and, LLVMBuildAnd(B, x, y, "")) BITS(and)
INT(or, LLVMBuildOr(B, x, y, "")) BITS(or)
INT(xor, LLVMBuildXor(B, x, y, "")) BITS(xor)
INT(not, LLVMBuildNot(B, x, "")) BITS(not)
/* clang-format on */

static LLVMValueRef shift(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, bool left, bool is_signed)
{
    LLVMValueRef zero = whole(e, x, 0);
    LLVMValueRef fits =
        LLVMBuildICmp(B, LLVMIntULT, y, whole(e, y, (int64_t)LLVMGetIntTypeWidth(element(x))), "");
    LLVMValueRef by = LLVMBuildSelect(B, fits, y, zero, "");
    LLVMValueRef r = left        ? LLVMBuildShl(B, x, by, "")
                     : is_signed ? LLVMBuildAShr(B, x, by, "")
                                 : LLVMBuildLShr(B, x, by, "");
    return LLVMBuildSelect(B, fits, r, zero, "");
}
/* clang-format off */
INT(shl, shift(e, x, y, true, is_signed)) BITS(shl)
INT(shr, shift(e, x, y, false, is_signed)) BITS(shr)
    /* clang-format on */

    /* ---- Functions ---- */

    /* A rounding to integers. Without an instruction for it LLVM would call libm: adding and taking
 * away 2^23 (2^52) leaves the nearest integer, which is one too far for floor (ceil) where it is
 * `beyond` x. Larger numbers, infinities and NaN are themselves. */
    static LLVMValueRef integral(cg_emitter *e, const char *intrinsic, LLVMValueRef x,
                                 LLVMRealPredicate beyond, double step)
{
    if (e->u->target->rounds)
        return call1(e, intrinsic, x);
    LLVMValueRef size = call1(e, "llvm.fabs", x),
                 unit = real(e, x, element(x) == e->u->f64 ? 0x1p52 : 0x1p23);
    LLVMValueRef near =
        call2(e, "llvm.copysign", LLVMBuildFSub(B, LLVMBuildFAdd(B, size, unit, ""), unit, ""), x);
    LLVMValueRef next = LLVMBuildFAdd(B, near, real(e, x, step), "");
    LLVMValueRef r = LLVMBuildSelect(B, LLVMBuildFCmp(B, beyond, near, x, ""), next, near, "");
    return LLVMBuildSelect(B, LLVMBuildFCmp(B, LLVMRealOLT, size, unit, ""),
                           call2(e, "llvm.copysign", r, x), x, "");
}

/* Without an instruction for it LLVM would call libm; the runtime has a function on the bits. */
static LLVMValueRef root(cg_emitter *e, LLVMValueRef x)
{
    cg_unit *u = e->u;
    bool wide = element(x) == u->f64;
    if (cg_has_instructions(u, element(x)))
        return call1(e, "llvm.sqrt", x);
    int lanes = cg_lanes_of(x);
    LLVMTypeRef bits = wide ? u->i64 : u->i32, type = LLVMFunctionType(bits, &bits, 1, 0);
    const char *name = wide ? "gradc_rt_sqrt_f64" : "gradc_rt_sqrt_f32";
    LLVMValueRef f = LLVMGetNamedFunction(u->module, name), all = LLVMGetPoison(LLVMTypeOf(x));
    f = f ? f : LLVMAddFunction(u->module, name, type);
    for (int i = 0; i < lanes; i++) {
        LLVMValueRef at = LLVMConstInt(u->i32, (unsigned long long)i, 0),
                     one = lanes == 1 ? x : LLVMBuildExtractElement(B, x, at, "");
        one = LLVMBuildBitCast(B, one, bits, "");
        one = LLVMBuildBitCast(B, LLVMBuildCall2(B, type, f, &one, 1, ""), element(x), "");
        all = lanes == 1 ? one : LLVMBuildInsertElement(B, all, one, at, "");
    }
    return all;
}

#define UNARY(name, expression)                                       \
    RULE(name)                                                        \
    {                                                                 \
        (void)which;                                                  \
        LLVMValueRef x = operand(e, inst, 0, at);                     \
        return cg_round(e, inst->operand[0]->type.dtype, expression); \
    }
#define MATH(name) UNARY(name, cg_math(e->u, IR_OP_##name, x, NULL))
UNARY(floor, integral(e, "llvm.floor", x, LLVMRealOGT, -1))
UNARY(ceil, integral(e, "llvm.ceil", x, LLVMRealOLT, 1))
UNARY(round, integral(e, "llvm.roundeven", x, LLVMRealPredicateFalse, 0))
UNARY(sqrt, root(e, x))
UNARY(rsqrt, LLVMBuildFDiv(B, real(e, x, 1), root(e, x), ""))
/* clang-format off */
MATH(exp) MATH(expm1) MATH(log) MATH(log1p) MATH(sin) MATH(cos) MATH(tan) MATH(asin) MATH(acos) MATH(atan) MATH(sinh) MATH(cosh)
MATH(asinh) MATH(acosh) MATH(atanh) MATH(tanh) MATH(erf) MATH(logistic)
FLOAT(atan2, cg_math(e->u, IR_OP_atan2, x, y))
/* clang-format on */
RULE(atan2)
{
    (void)which;
    return binary(e, inst, at, float_atan2, NULL);
}

RULE(is_nan)
{
    (void)which;
    LLVMValueRef x = operand(e, inst, 0, at);
    return LLVMBuildFCmp(B, LLVMRealUNO, x, x, "");
}

RULE(copy)
{
    (void)which;
    return operand(e, inst, 0, at);
}

RULE(compare)
{
    (void)which;
    static const LLVMRealPredicate reals[] = {LLVMRealOEQ, LLVMRealUNE, LLVMRealOLT,
                                              LLVMRealOLE, LLVMRealOGT, LLVMRealOGE};
    static const LLVMIntPredicate ints[2][6] = {
        {LLVMIntEQ, LLVMIntNE, LLVMIntULT, LLVMIntULE, LLVMIntUGT, LLVMIntUGE},
        {LLVMIntEQ, LLVMIntNE, LLVMIntSLT, LLVMIntSLE, LLVMIntSGT, LLVMIntSGE}};
    _Static_assert(IR_EQ == 0 && IR_NE == 1 && IR_LT == 2 && IR_LE == 3 && IR_GT == 4 && IR_GE == 5,
                   "order of relations");
    ir_dtype t = inst->operand[0]->type.dtype;
    ir_relation r = IR_ATTR(inst, compare)->relation;
    LLVMValueRef x = operand(e, inst, 0, at), y = operand(e, inst, 1, at);
    cg_level(e, &x, &y);
    return ir_is_float(t) ? LLVMBuildFCmp(B, reals[r], x, y, "")
                          : LLVMBuildICmp(B, ints[ir_is_signed(t)][r], x, y, "");
}

RULE(select)
{
    (void)which;
    LLVMValueRef c = operand(e, inst, 0, at), x = operand(e, inst, 1, at),
                 y = operand(e, inst, 2, at);
    cg_level(e, &x, &y);
    if (cg_lanes_of(c) > 1) {
        cg_level(e, &c, &x);
        cg_level(e, &c, &y);
    }
    return LLVMBuildSelect(B, c, x, y, "");
}

/* ---- Types ---- */

/* f64 to f32 by rounding to odd, so that a second rounding to 16 bits is correct. */
static LLVMValueRef narrow_to_odd(cg_emitter *e, LLVMValueRef x)
{
    cg_unit *u = e->u;
    int lanes = cg_lanes_of(x);
    LLVMTypeRef f32 = cg_vector(u->f32, lanes), i32 = cg_vector(u->i32, lanes);
    LLVMValueRef near = LLVMBuildFPTrunc(u->b, x, f32, ""),
                 back = LLVMBuildFPExt(u->b, near, LLVMTypeOf(x), "");
    LLVMValueRef bits = LLVMBuildBitCast(u->b, near, i32, "");
    LLVMValueRef beyond =
        LLVMBuildFCmp(u->b, LLVMRealOGT, call1(e, "llvm.fabs", back), call1(e, "llvm.fabs", x), "");
    LLVMValueRef toward = LLVMBuildSub(u->b, bits, LLVMBuildZExt(u->b, beyond, i32, ""), "");
    LLVMValueRef odd =
        LLVMBuildOr(u->b, toward, cg_splat(u, LLVMConstInt(u->i32, 1, 0), lanes), "");
    LLVMValueRef lost = LLVMBuildFCmp(u->b, LLVMRealONE, back, x, "");
    return LLVMBuildBitCast(u->b, LLVMBuildSelect(u->b, lost, odd, bits, ""), f32, "");
}

static LLVMValueRef float_to_float(cg_emitter *e, LLVMValueRef x, ir_dtype to)
{
    int lanes = cg_lanes_of(x);
    bool wide = element(x) == e->u->f64;
    if (to == IR_F64)
        return wide ? x : LLVMBuildFPExt(B, x, cg_vector(e->u->f64, lanes), "");
    if (!wide)
        return cg_round(e, to, x);
    return to == IR_F32 ? LLVMBuildFPTrunc(B, x, cg_vector(e->u->f32, lanes), "")
                        : cg_round(e, to, narrow_to_odd(e, x));
}

static LLVMValueRef int_to_float(cg_emitter *e, LLVMValueRef x, bool is_signed, ir_dtype to)
{
    LLVMTypeRef type = cg_vector(to == IR_F32 ? e->u->f32 : e->u->f64, cg_lanes_of(x));
    LLVMValueRef r = is_signed ? LLVMBuildSIToFP(B, x, type, "") : LLVMBuildUIToFP(B, x, type, "");
    return to == IR_F32 || to == IR_F64 ? r : float_to_float(e, r, to);
}

RULE(convert)
{
    (void)which;
    ir_dtype from = inst->operand[0]->type.dtype, to = IR_ATTR(inst, convert)->to;
    LLVMValueRef x = operand(e, inst, 0, at);
    LLVMTypeRef type = cg_type(e, to, cg_lanes_of(x));
    if (from == to)
        return x;
    if (to == IR_BOOL)
        return ir_is_float(from) ? LLVMBuildFCmp(B, LLVMRealUNE, x, real(e, x, 0), "")
                                 : LLVMBuildICmp(B, LLVMIntNE, x, whole(e, x, 0), "");
    if (ir_is_float(from) && ir_is_float(to))
        return float_to_float(e, x, to);
    if (ir_is_float(from))
        return cg_intrinsic(e->u, ir_is_signed(to) ? "llvm.fptosi.sat" : "llvm.fptoui.sat",
                            (LLVMTypeRef[]){type, LLVMTypeOf(x)}, 2, &x, 1);
    bool is_signed = from != IR_BOOL && ir_is_signed(from);
    if (ir_is_float(to))
        return int_to_float(e, x, is_signed, to);
    return LLVMBuildIntCast2(B, x, type, is_signed, "");
}

RULE(bitcast)
{
    (void)which;
    ir_dtype from = inst->operand[0]->type.dtype, to = IR_ATTR(inst, bitcast)->to;
    LLVMValueRef x = cg_to_memory(e, from, operand(e, inst, 0, at));
    x = LLVMBuildBitCast(B, x, cg_vector(cg_dtype(e->u, to), cg_lanes_of(x)), "");
    return cg_from_memory(e, to, x);
}

/* ---- For reductions ---- */

LLVMValueRef cg_pick_number(cg_emitter *e, bool larger, LLVMValueRef x, LLVMValueRef y)
{
    return LLVMBuildSelect(B, LLVMBuildFCmp(B, larger ? LLVMRealOGT : LLVMRealOLT, x, y, ""), x, y,
                           "");
}

LLVMValueRef cg_combine(cg_emitter *e, ir_combine c, ir_dtype t, LLVMValueRef x, LLVMValueRef y)
{
    static float_op *const floats[] = {float_add, float_mul, float_max,
                                       float_min, no_float,  no_float};
    static int_op *const ints[] = {int_add, int_mul, int_max, int_min, int_and, int_or};
    _Static_assert(IR_SUM == 0 && IR_PROD == 1 && IR_MAX == 2 && IR_MIN == 3 && IR_AND == 4 &&
                       IR_OR == 5,
                   "order of combinations");
    cg_level(e, &x, &y);
    if (t == IR_BOOL)
        return c == IR_MAX || c == IR_OR ? LLVMBuildOr(B, x, y, "") : LLVMBuildAnd(B, x, y, "");
    return ir_is_float(t) ? floats[c](e, x, y) : ints[c](e, x, y, ir_is_signed(t));
}

LLVMValueRef cg_identity(cg_emitter *e, ir_combine c, ir_dtype t)
{
    int bits = ir_dtypes[t].bytes * 8;
    bool is_signed = ir_is_signed(t);
    switch (c) {
    case IR_PROD: return cg_number(e, t, 1);
    case IR_MAX:
        return ir_is_float(t)
                   ? cg_number(e, t, -__builtin_inf())
                   : cg_integer(e, t,
                                t == IR_BOOL || !is_signed ? 0 : (int64_t)(-1ull << (bits - 1)));
    case IR_MIN:
        return ir_is_float(t)
                   ? cg_number(e, t, __builtin_inf())
                   : cg_integer(e, t,
                                t == IR_BOOL || !is_signed ? -1 : (int64_t)~(-1ull << (bits - 1)));
    case IR_AND: return cg_integer(e, t, -1);
    default: return cg_number(e, t, 0);
    }
}

LLVMValueRef cg_across(cg_emitter *e, ir_combine c, ir_dtype t, LLVMValueRef x)
{
    /* Halves are combined with each other: the same tree on every processor with this many
     * lanes. */
    LLVMValueRef order[1024];
    while (cg_lanes_of(x) > 1) {
        unsigned n = (unsigned)cg_lanes_of(x), half = n / 2;
        LLVMValueRef part[2],
            rest =
                n % 2 ? LLVMBuildExtractElement(B, x, LLVMConstInt(e->u->i32, n - 1, 0), "") : NULL;
        for (unsigned side = 0; side < 2; side++) {
            for (unsigned i = 0; i < half; i++)
                order[i] = LLVMConstInt(e->u->i32, side * half + i, 0);
            part[side] = half == 1 ? LLVMBuildExtractElement(B, x, order[0], "")
                                   : LLVMBuildShuffleVector(B, x, LLVMGetPoison(LLVMTypeOf(x)),
                                                            LLVMConstVector(order, half), "");
        }
        x = cg_combine(e, c, t, part[0], part[1]);
        if (rest) { /* the odd one joins the first lane */
            LLVMValueRef first =
                half == 1 ? x : LLVMBuildExtractElement(B, x, LLVMConstInt(e->u->i32, 0, 0), "");
            first = cg_combine(e, c, t, first, rest);
            x = half == 1 ? first
                          : LLVMBuildInsertElement(B, x, first, LLVMConstInt(e->u->i32, 0, 0), "");
        }
    }
    return x;
}
