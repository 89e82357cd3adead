/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Element types between memory and registers. f16 and bf16 are 16-bit patterns in memory and f32 in
 * registers; their conversions are integer operations on every target, round to nearest even, and
 * so need no library function. */
#include "codegen/emit.h"

static LLVMValueRef k32(cg_emitter *e, LLVMValueRef like, uint32_t v)
{
    return cg_splat(e->u, LLVMConstInt(e->u->i32, v, 0), cg_lanes_of(like));
}

static LLVMTypeRef as(LLVMTypeRef element, LLVMValueRef like)
{
    return cg_vector(element, cg_lanes_of(like));
}

static LLVMValueRef compare(cg_emitter *e, LLVMIntPredicate p, LLVMValueRef x, uint32_t v)
{
    return LLVMBuildICmp(e->u->b, p, x, k32(e, x, v), "");
}

/* 16 bits in the low half of i32 lanes, to f32. */
static LLVMValueRef from_f16(cg_emitter *e, LLVMValueRef h)
{
    LLVMBuilderRef b = e->u->b;
    LLVMValueRef sign =
        LLVMBuildShl(b, LLVMBuildAnd(b, h, k32(e, h, 0x8000), ""), k32(e, h, 16), "");
    LLVMValueRef low = LLVMBuildAnd(b, h, k32(e, h, 0x7fff), ""),
                 shifted = LLVMBuildShl(b, low, k32(e, h, 13), "");
    LLVMValueRef normal = LLVMBuildAdd(b, shifted, k32(e, h, 112u << 23), "");
    LLVMValueRef special = LLVMBuildOr(b, shifted, k32(e, h, 0x7f800000), "");
    LLVMValueRef scale = cg_splat(e->u, LLVMConstReal(e->u->f32, 0x1p-24), cg_lanes_of(h));
    LLVMValueRef small = LLVMBuildFMul(b, LLVMBuildUIToFP(b, low, as(e->u->f32, h), ""), scale, "");
    LLVMValueRef bits =
        LLVMBuildSelect(b, compare(e, LLVMIntUGE, low, 0x7c00), special, normal, "");
    bits = LLVMBuildSelect(b, compare(e, LLVMIntULT, low, 0x0400),
                           LLVMBuildBitCast(b, small, as(e->u->i32, h), ""), bits, "");
    return LLVMBuildBitCast(b, LLVMBuildOr(b, bits, sign, ""), as(e->u->f32, h), "");
}

static LLVMValueRef to_f16(cg_emitter *e, LLVMValueRef x)
{
    LLVMBuilderRef b = e->u->b;
    LLVMValueRef bits = LLVMBuildBitCast(b, x, as(e->u->i32, x), "");
    LLVMValueRef size = LLVMBuildAnd(b, bits, k32(e, x, 0x7fffffff), "");
    LLVMValueRef sign =
        LLVMBuildAnd(b, LLVMBuildLShr(b, bits, k32(e, x, 16), ""), k32(e, x, 0x8000), "");
    LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, size, k32(e, x, 13), ""), k32(e, x, 1), "");
    LLVMValueRef normal =
        LLVMBuildAdd(b, LLVMBuildAdd(b, size, odd, ""), k32(e, x, 0xfffu - 0x38000000u), "");
    normal = LLVMBuildLShr(b, normal, k32(e, x, 13), "");
    /* Adding a half puts the last place of the sum at 2^-24, that of a subnormal result. */
    LLVMValueRef half = cg_splat(e->u, LLVMConstReal(e->u->f32, 0.5), cg_lanes_of(x));
    LLVMValueRef sum = LLVMBuildFAdd(b, LLVMBuildBitCast(b, size, as(e->u->f32, x), ""), half, "");
    LLVMValueRef small =
        LLVMBuildSub(b, LLVMBuildBitCast(b, sum, as(e->u->i32, x), ""), k32(e, x, 0x3f000000), "");
    LLVMValueRef r =
        LLVMBuildSelect(b, compare(e, LLVMIntULT, size, 0x38800000), small, normal, "");
    r = LLVMBuildSelect(b, compare(e, LLVMIntUGE, size, 0x47800000), k32(e, x, 0x7c00), r, "");
    r = LLVMBuildSelect(b, compare(e, LLVMIntUGT, size, 0x7f800000), k32(e, x, 0x7e00), r, "");
    return LLVMBuildOr(b, r, sign, "");
}

static LLVMValueRef to_bf16(cg_emitter *e, LLVMValueRef x)
{
    LLVMBuilderRef b = e->u->b;
    LLVMValueRef bits = LLVMBuildBitCast(b, x, as(e->u->i32, x), "");
    LLVMValueRef size = LLVMBuildAnd(b, bits, k32(e, x, 0x7fffffff), "");
    LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, bits, k32(e, x, 16), ""), k32(e, x, 1), "");
    LLVMValueRef rounded =
        LLVMBuildLShr(b, LLVMBuildAdd(b, LLVMBuildAdd(b, bits, odd, ""), k32(e, x, 0x7fff), ""),
                      k32(e, x, 16), "");
    LLVMValueRef nan =
        LLVMBuildOr(b, LLVMBuildLShr(b, bits, k32(e, x, 16), ""), k32(e, x, 0x40), "");
    return LLVMBuildSelect(b, compare(e, LLVMIntUGT, size, 0x7f800000), nan, rounded, "");
}

LLVMValueRef cg_from_memory(cg_emitter *e, ir_dtype t, LLVMValueRef v)
{
    LLVMBuilderRef b = e->u->b;
    if (t == IR_BOOL)
        return LLVMBuildICmp(b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
    if (t != IR_F16 && t != IR_BF16)
        return v;
    v = LLVMBuildZExt(b, v, as(e->u->i32, v), "");
    return t == IR_F16
               ? from_f16(e, v)
               : LLVMBuildBitCast(b, LLVMBuildShl(b, v, k32(e, v, 16), ""), as(e->u->f32, v), "");
}

LLVMValueRef cg_to_memory(cg_emitter *e, ir_dtype t, LLVMValueRef v)
{
    LLVMBuilderRef b = e->u->b;
    if (t == IR_BOOL)
        return LLVMBuildZExt(b, v, as(e->u->i8, v), "");
    if (t != IR_F16 && t != IR_BF16)
        return v;
    return LLVMBuildTrunc(b, t == IR_F16 ? to_f16(e, v) : to_bf16(e, v), as(e->u->i16, v), "");
}

LLVMValueRef cg_round(cg_emitter *e, ir_dtype t, LLVMValueRef x)
{
    LLVMBuilderRef b = e->u->b;
    if (t == IR_F16)
        return from_f16(e, to_f16(e, x));
    if (t == IR_BF16)
        return LLVMBuildBitCast(b, LLVMBuildShl(b, to_bf16(e, x), k32(e, x, 16), ""),
                                as(e->u->f32, x), "");
    return x;
}
