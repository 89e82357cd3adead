/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shared by math.c and math_angle.c: short names that build expressions on floats of one width, in
 * any number of lanes. The macros take the cg_m from a variable m. */
#ifndef GRADC_CODEGEN_MATH_H
#define GRADC_CODEGEN_MATH_H

#include "codegen/cg.h"

typedef LLVMValueRef V;

typedef struct cg_m {
    cg_unit *u;
    int lanes;
    bool wide;       /* f64 */
    bool narrow;     /* the result is rounded to f32: f64 needs no extra bits */
    LLVMTypeRef f, i; /* of values and of their bits */
} cg_m;

/* hi + lo, |lo| at most half an ulp of hi. */
typedef struct cg_two {
    V hi, lo;
} cg_two;

V cg_m_num(const cg_m *m, double v);
V cg_m_int(const cg_m *m, int64_t v);
V cg_m_fma(const cg_m *m, V x, V y, V z); /* fused only if the target has it */
V cg_m_call(const cg_m *m, const char *intrinsic, V x, V y);
V cg_m_poly(const cg_m *m, const double *coefficients, int n, V x);
V cg_m_above(const cg_m *m, V x, double limit); /* x, or limit if x is above; NaN stays */
/* The integer nearest to x, |x| < 2^51 (2^22), which is also in the low bits of *bits. */
V cg_m_nearest(const cg_m *m, V x, V *bits);
cg_two cg_m_two_product(const cg_m *m, V x, V y); /* exact; f64 only */
cg_two cg_m_two_sum(const cg_m *m, V x, V y);     /* exact */
V cg_m_log(const cg_m *m, V x);
V cg_m_log1p(const cg_m *m, V x, V unused);
/* Makes f internal and noinline, for the same processor as the function being emitted. */
void cg_m_like_caller(cg_unit *u, LLVMValueRef f);

/* math_angle.c; all in f64 but rem. */
V cg_m_sin(const cg_m *m, V x, V unused);
V cg_m_cos(const cg_m *m, V x, V unused);
V cg_m_tan(const cg_m *m, V x, V unused);
V cg_m_asin(const cg_m *m, V x, V unused);
V cg_m_acos(const cg_m *m, V x, V unused);
V cg_m_atan(const cg_m *m, V x, V unused);
V cg_m_atan2(const cg_m *m, V y, V x);
V cg_m_asinh(const cg_m *m, V x, V unused);
V cg_m_acosh(const cg_m *m, V x, V unused);
V cg_m_atanh(const cg_m *m, V x, V unused);
V cg_m_rem(const cg_m *m, V x, V y);

#define B (m->u->b)
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
#define NUM(v) cg_m_num(m, v)
#define INT(v) cg_m_int(m, v)
#define ADD(x, y) LLVMBuildFAdd(B, x, y, "")
#define SUB(x, y) LLVMBuildFSub(B, x, y, "")
#define MUL(x, y) LLVMBuildFMul(B, x, y, "")
#define DIV(x, y) LLVMBuildFDiv(B, x, y, "")
#define NEG(x) LLVMBuildFNeg(B, x, "")
#define FMA(x, y, z) cg_m_fma(m, x, y, z)
#define ABS(x) cg_m_call(m, "llvm.fabs", x, NULL)
#define SQRT(x) cg_m_call(m, "llvm.sqrt", x, NULL)
#define COPYSIGN(x, sign) cg_m_call(m, "llvm.copysign", x, sign)
#define BITS(x) LLVMBuildBitCast(B, x, m->i, "")
#define FLOATS(x) LLVMBuildBitCast(B, x, m->f, "")
#define SELECT(c, x, y) LLVMBuildSelect(B, c, x, y, "")
#define LT(x, y) LLVMBuildFCmp(B, LLVMRealOLT, x, y, "")
#define GT(x, y) LLVMBuildFCmp(B, LLVMRealOGT, x, y, "")
#define EQ(x, y) LLVMBuildFCmp(B, LLVMRealOEQ, x, y, "")
#define IS_NAN(x) LLVMBuildFCmp(B, LLVMRealUNO, x, x, "")
#define ZERO_OR_NAN(x) LLVMBuildFCmp(B, LLVMRealUEQ, x, NUM(0), "")

#endif
