/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Element types, shapes and literals. */
#include "ir/ir.h"

#include <math.h>
#include <string.h>

const ir_dtype_info ir_dtypes[IR_DTYPES] = {
#define DTYPE(NAME, text, bytes, class, npy, st) \
    [IR_##NAME] = {text, bytes, IR_CLASS_##class, npy, st},
#include "ir/dtypes.def"
#undef DTYPE
};

ir_type ir_type_of(ir_dtype dtype, int rank, const int64_t *dim)
{
    BUG_UNLESS(rank >= 0 && rank <= IR_MAX_RANK);
    ir_type t = {.dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++)
        t.dim[i] = dim[i];
    return t;
}

ir_type ir_scalar_type(ir_dtype dtype)
{
    return (ir_type){.dtype = dtype};
}

bool ir_shape_eq(const ir_type *a, const ir_type *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

bool ir_type_eq(const ir_type *a, const ir_type *b)
{
    return a->dtype == b->dtype && ir_shape_eq(a, b);
}

bool ir_accumulates(ir_dtype x, ir_dtype y, ir_dtype sum)
{
    static const ir_dtype rows[][3] = {
#define ACCUMULATOR(lhs, rhs, sum) {IR_##lhs, IR_##rhs, IR_##sum},
#include "ir/accumulators.def"
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i][0] == x && rows[i][1] == y && rows[i][2] == sum)
            return true;
    return false;
}

int64_t ir_count(const ir_type *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

int64_t ir_bytes(const ir_type *t)
{
    return ir_count(t) * ir_dtypes[t->dtype].bytes;
}

bool ir_type_ok(const ir_type *t)
{
    if (t->rank < 0 || t->rank > IR_MAX_RANK)
        return false;
    int64_t n = ir_dtypes[t->dtype].bytes;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] < 0 ||
            (t->dim[i] > 0 && (!base_size_mul(n, t->dim[i], &n) || n > IR_MAX_TENSOR_BYTES)))
            return false;
    return true;
}

void ir_strides(const ir_type *t, int64_t stride[IR_MAX_RANK])
{
    int64_t s = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        stride[i] = s;
        s *= t->dim[i];
    }
}

const char *ir_type_text(base_arena *arena, const ir_type *t)
{
    char text[32 + 21 * IR_MAX_RANK];
    int n = sprintf(text, "%s[", ir_dtypes[t->dtype].name);
    for (int i = 0; i < t->rank; i++)
        n += sprintf(text + n, i ? ",%lld" : "%lld", (long long)t->dim[i]);
    strcpy(text + n, "]");
    return base_strdup(arena, text);
}

/* ---- 16-bit floats ---- */

/* Rounds a finite or infinite double to a format of `mantissa` bits, exponent range as IEEE with
 * `bias`; 16 bits in all. */
static uint16_t narrow(double x, int mantissa, int bias)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    uint16_t sign = (uint16_t)(bits >> 63 << 15), infinity = (uint16_t)((2 * bias + 1) << mantissa);
    uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7ff);
    if (exponent == 0x7ff)
        return (uint16_t)(sign | infinity | (fraction ? 1u << (mantissa - 1) : 0));
    int e = exponent - 1023 + bias;
    if (e > 2 * bias)
        return sign | infinity;
    int shift = 52 - mantissa;
    if (exponent)
        fraction |= (uint64_t)1 << 52;
    if (e <= 0) { /* subnormal: no implicit bit, shift further */
        shift += 1 - e;
        e = 0;
        if (shift > 60)
            return sign;
    } else {
        e--; /* the implicit bit adds 1 */
    }
    uint64_t kept = fraction >> shift, rest = fraction & (((uint64_t)1 << shift) - 1),
             half = (uint64_t)1 << (shift - 1);
    kept += rest > half || (rest == half && (kept & 1));
    /* a carry moves into the exponent, as it should */
    uint64_t result = ((uint64_t)e << mantissa) + kept;
    return result >= infinity ? (uint16_t)(sign | infinity) : (uint16_t)(sign | result);
}

uint16_t ir_f16_from_f64(double x) { return narrow(x, 10, 15); }
uint16_t ir_bf16_from_f64(double x) { return narrow(x, 7, 127); }

float ir_bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

float ir_f16_to_f32(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float x = exponent == 31 ? (fraction ? NAN : INFINITY)
              : exponent     ? ldexpf((float)(fraction | 1024), exponent - 25)
                             : ldexpf((float)fraction, -24);
    return h >> 15 ? -x : x;
}

/* ---- Literals ---- */

ir_literal *ir_literal_new(base_arena *arena, const ir_type *type)
{
    if (!ir_type_ok(type))
        base_throw(base_arena_ctx(arena), NULL, "a tensor is above the limit of 2^40 bytes");
    ir_literal *l = base_new(arena, ir_literal);
    l->type = *type;
    l->data = base_alloc(arena, (size_t)ir_bytes(type));
    return l;
}

double ir_literal_get(const ir_literal *l, int64_t i)
{
    switch (l->type.dtype) {
    case IR_F64: return ((const double *)l->data)[i];
    case IR_F32: return (double)((const float *)l->data)[i];
    case IR_F16: return (double)ir_f16_to_f32(((const uint16_t *)l->data)[i]);
    case IR_BF16: return (double)ir_bf16_to_f32(((const uint16_t *)l->data)[i]);
    case IR_U64: return (double)((const uint64_t *)l->data)[i];
    default: return (double)ir_literal_get_int(l, i);
    }
}

int64_t ir_literal_get_int(const ir_literal *l, int64_t i)
{
    switch (l->type.dtype) {
    case IR_BOOL: return ((const uint8_t *)l->data)[i] != 0;
    case IR_U8: return ((const uint8_t *)l->data)[i];
    case IR_I8: return ((const int8_t *)l->data)[i];
    case IR_I16: return ((const int16_t *)l->data)[i];
    case IR_U16: return ((const uint16_t *)l->data)[i];
    case IR_I32: return ((const int32_t *)l->data)[i];
    case IR_U32: return ((const uint32_t *)l->data)[i];
    case IR_I64: return ((const int64_t *)l->data)[i];
    case IR_U64: return (int64_t)((const uint64_t *)l->data)[i];
    default: {
        double v = ir_literal_get(l, i);
        return v != v ? 0 : v >= 0x1p63 ? INT64_MAX : v <= -0x1p63 ? INT64_MIN : (int64_t)v;
    }
    }
}

void ir_literal_set_int(ir_literal *l, int64_t i, int64_t v)
{
    switch (l->type.dtype) {
    case IR_BOOL: ((uint8_t *)l->data)[i] = v != 0; break;
    case IR_I8: case IR_U8: ((uint8_t *)l->data)[i] = (uint8_t)v; break;
    case IR_I16: case IR_U16: ((uint16_t *)l->data)[i] = (uint16_t)v; break;
    case IR_I32: case IR_U32: ((uint32_t *)l->data)[i] = (uint32_t)v; break;
    case IR_I64: case IR_U64: ((uint64_t *)l->data)[i] = (uint64_t)v; break;
    case IR_F32: ((float *)l->data)[i] = (float)v; break;
    default: ir_literal_set(l, i, (double)v);
    }
}

/* v truncated and saturated to [low, high]; NaN gives 0. */
static int64_t saturate(double v, int64_t low, int64_t high)
{
    return v != v ? 0 : v <= (double)low ? low : v >= (double)high ? high : (int64_t)v;
}

void ir_literal_set(ir_literal *l, int64_t i, double v)
{
    switch (l->type.dtype) {
    case IR_F64: ((double *)l->data)[i] = v; break;
    case IR_F32: ((float *)l->data)[i] = (float)v; break;
    case IR_F16: ((uint16_t *)l->data)[i] = ir_f16_from_f64(v); break;
    case IR_BF16: ((uint16_t *)l->data)[i] = ir_bf16_from_f64(v); break;
    case IR_BOOL: ((uint8_t *)l->data)[i] = v != 0; break;
    case IR_U64:
        ((uint64_t *)l->data)[i] = v != v || v <= 0 ? 0 : v >= 0x1p64 ? UINT64_MAX : (uint64_t)v;
        break;
    case IR_I64: ir_literal_set_int(l, i, saturate(v, INT64_MIN, INT64_MAX)); break;
    default: {
        int bits = 8 * ir_dtypes[l->type.dtype].bytes;
        bool sign = ir_is_signed(l->type.dtype);
        int64_t high = (int64_t)(((uint64_t)1 << (bits - sign)) - 1);
        ir_literal_set_int(l, i, saturate(v, sign ? -high - 1 : 0, high));
    }
    }
}

bool ir_literal_is_splat(const ir_literal *l)
{
    size_t bytes = (size_t)ir_bytes(&l->type), one = (size_t)ir_dtypes[l->type.dtype].bytes;
    return bytes <= one || !memcmp(l->data, (const char *)l->data + one, bytes - one);
}

/* ---- Named literals ---- */

ir_literal *ir_tensor_by_name(const ir_tensors *tensors, const char *name)
{
    for (int i = 0; i < tensors->count; i++)
        if (!strcmp(tensors->items[i].name, name))
            return tensors->items[i].value;
    return NULL;
}
