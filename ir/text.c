/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Elements and strings as text, the same in every locale. */
#define _GNU_SOURCE
#include "ir/text.h"

#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Numbers ---- */

static uint64_t bits_of(ir_dtype t, const void *element)
{
    uint64_t bits = 0;
    memcpy(&bits, element, (size_t)ir_dtypes[t].bytes);
    return bits;
}

static uint64_t quiet_nan(ir_dtype t)
{
    switch (t) {
    case IR_F16: return 0x7e00;
    case IR_BF16: return 0x7fc0;
    case IR_F32: return 0x7fc00000;
    default: return 0x7ff8000000000000;
    }
}

/* Plain decimal text, already checked, as bits of a float type: strtod, in the C locale. */
static uint64_t decimal_to_bits(ir_dtype t, const char *text, bool *overflow)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc returns a constant */
    uint64_t bits = 0;
    if (t == IR_F32) {
        float v = strtof_l(text, NULL, c);
        *overflow = isinf(v);
        memcpy(&bits, &v, sizeof v);
    } else {
        double v = strtod_l(text, NULL, c);
        *overflow = isinf(v);
        if (t == IR_F64) {
            memcpy(&bits, &v, sizeof v);
        } else {
            bits = t == IR_F16 ? ir_f16_from_f64(v) : ir_bf16_from_f64(v);
            *overflow =
                isinf(t == IR_F16 ? ir_f16_to_f32((uint16_t)bits) : ir_bf16_to_f32((uint16_t)bits));
        }
    }
    freelocale(c);
    return bits;
}

/* Digits d1 d2 … dn and exponent e of d1.d2…dn * 10^e, written without an exponent where that is
 * short. */
static int write_decimal(char *out, bool negative, const char *digits, int n, int e)
{
    int at = 0;
    if (negative)
        out[at++] = '-';
    if (e < -5 || e > 15) {
        out[at++] = digits[0];
        if (n > 1)
            at += sprintf(out + at, ".%.*s", n - 1, digits + 1);
        return at + sprintf(out + at, "e%d", e);
    }
    if (e < 0) {
        at += sprintf(out + at, "0.%.*s", -e - 1, "0000");
        return at + sprintf(out + at, "%.*s", n, digits);
    }
    for (int i = 0; i <= e || i < n; i++) {
        if (i == e + 1)
            out[at++] = '.';
        out[at++] = i < n ? digits[i] : '0';
    }
    out[at] = 0;
    return at;
}

static int format_float(char *out, ir_dtype t, const void *element)
{
    uint64_t bits = bits_of(t, element);
    ir_literal one = {.type = ir_scalar_type(t), .data = (void *)(uintptr_t)element};
    double v = ir_literal_get(&one, 0);
    if (v != v)
        return bits == quiet_nan(t)
                   ? sprintf(out, "nan")
                   : sprintf(out, "0x%0*llx", 2 * ir_dtypes[t].bytes, (unsigned long long)bits);
    if (isinf(v))
        return sprintf(out, v > 0 ? "inf" : "-inf");
    for (int precision = 0;; precision++) {
        char text[48], digits[20];
        bool overflow;
        int n = 0;
        snprintf(text, sizeof text, "%.*e", precision, v);
        const char *e = strchr(text, 'e');
        /* Skips the sign and whatever the locale's decimal point is. */
        for (const char *p = text; p < e; p++)
            if (isdigit((unsigned char)*p))
                digits[n++] = *p;
        int length = write_decimal(out, signbit(v), digits, n, atoi(e + 1));
        if (decimal_to_bits(t, out, &overflow) == bits)
            return length;
        BUG_UNLESS(precision < 17);
    }
}

int ir_format_element(char out[IR_ELEMENT_TEXT], ir_dtype t, const void *element)
{
    if (ir_is_float(t))
        return format_float(out, t, element);
    ir_literal one = {.type = ir_scalar_type(t), .data = (void *)(uintptr_t)element};
    int64_t v = ir_literal_get_int(&one, 0);
    if (t == IR_BOOL)
        return sprintf(out, v ? "true" : "false");
    return ir_is_signed(t) ? sprintf(out, "%lld", (long long)v)
                           : sprintf(out, "%llu", (unsigned long long)v);
}

static const char *read_int(ir_dtype t, const char *s, void *element)
{
    bool negative = *s == '-';
    s += *s == '-' || *s == '+';
    int base = s[0] == '0' && s[1] == 'x' ? 16 : 10;
    s += base == 16 ? 2 : 0;
    uint64_t v = 0;
    if (!*s)
        return "not a number";
    for (; *s; s++) {
        int d = isdigit((unsigned char)*s)                  ? *s - '0'
                : base == 16 && isxdigit((unsigned char)*s) ? tolower((unsigned char)*s) - 'a' + 10
                                                            : -1;
        if (d < 0)
            return "not an integer";
        if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
            __builtin_add_overflow(v, (uint64_t)d, &v))
            return "out of range";
    }
    int bits = 8 * ir_dtypes[t].bytes;
    uint64_t limit = ir_is_signed(t) ? ((uint64_t)1 << (bits - 1)) - !negative
                     : negative      ? 0
                                     : UINT64_MAX >> (64 - bits);
    if (v > limit)
        return "out of range";
    ir_literal one = {.type = ir_scalar_type(t), .data = element};
    ir_literal_set_int(&one, 0, (int64_t)(negative ? 0 - v : v));
    return NULL;
}

/* [+-] digits [. digits] [e [+-] digits], a digit before or after the point. */
static bool is_decimal(const char *s)
{
    s += *s == '-' || *s == '+';
    size_t whole = strspn(s, "0123456789"), part = 0;
    s += whole;
    if (*s == '.')
        s += 1 + (part = strspn(s + 1, "0123456789"));
    if (!whole && !part)
        return false;
    if (*s == 'e' || *s == 'E') {
        s += 1 + (s[1] == '-' || s[1] == '+');
        size_t exponent = strspn(s, "0123456789");
        if (!exponent)
            return false;
        s += exponent;
    }
    return !*s;
}

static const char *read_float(ir_dtype t, const char *s, void *element)
{
    uint64_t bits = 0, sign = (uint64_t)1 << (8 * ir_dtypes[t].bytes - 1);
    bool negative = *s == '-', overflow = false;
    const char *rest = s + (*s == '-' || *s == '+');
    if (rest == s && s[0] == '0' && s[1] == 'x') { /* the bit pattern */
        char *end;
        if (strlen(s) > 18 || !isxdigit((unsigned char)s[2]))
            return "not a bit pattern";
        bits = strtoull(s + 2, &end, 16);
        if (*end || (t != IR_F64 && bits >= sign << 1))
            return "not a bit pattern of this type";
    } else if (!strcmp(rest, "inf")) {
        ir_literal one = {.type = ir_scalar_type(t), .data = element};
        ir_literal_set(&one, 0, negative ? -INFINITY : INFINITY);
        return NULL;
    } else if (!strcmp(rest, "nan")) {
        bits = quiet_nan(t) | (negative ? sign : 0);
    } else {
        if (!is_decimal(s))
            return "not a number";
        bits = decimal_to_bits(t, s, &overflow);
    }
    memcpy(element, &bits, (size_t)ir_dtypes[t].bytes);
    return overflow ? "out of range" : NULL;
}

const char *ir_read_element(ir_dtype t, const char *text, size_t n, void *element)
{
    char s[512];
    if (n >= sizeof s)
        return "a number of more than 511 characters";
    memcpy(s, text, n);
    s[n] = 0;
    if (strlen(s) != n)
        return "not a number";
    if (ir_is_float(t))
        return read_float(t, s, element);
    if (t != IR_BOOL)
        return read_int(t, s, element);
    bool yes = !strcmp(s, "true");
    if (!yes && strcmp(s, "false"))
        return "neither true nor false";
    *(uint8_t *)element = yes;
    return NULL;
}
