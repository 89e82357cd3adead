/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Square roots for processors without an instruction for them, by integer arithmetic on the bits of
 * floats, rounded to nearest. */
#include "runtime/rt.h"

/* The first n bits of the square root of m, whose uppermost pair of bits is at `shift`; zeros
 * follow m's last bit. */
static uint64_t root(uint64_t m, int shift, int n)
{
    uint64_t rest = 0, found = 0;
    for (int i = 0; i < n; i++, shift -= 2) {
        rest = rest << 2 | (shift < 0 ? 0 : m >> shift & 3);
        uint64_t trial = found << 2 | 1;
        found <<= 1;
        if (rest >= trial) {
            rest -= trial;
            found |= 1;
        }
    }
    return found;
}

/* The square root of a float with `digits` bits after the point and the largest exponent `top`. A
 * root is never halfway between two floats, so one more bit than are kept decides the rounding. */
static uint64_t float_root(uint64_t x, int digits, int64_t top)
{
    uint64_t one = (uint64_t)1 << digits, m = x & (one - 1);
    int64_t exponent = (int64_t)(x >> digits) & top;
    bool negative = x >> digits > (uint64_t)top;
    if (exponent == top && m) /* NaN, a quiet one */
        return x | one >> 1;
    if (!exponent && !m)
        return x;
    if (negative)
        return (uint64_t)top << digits | one >> 1;
    if (exponent == top)
        return x;
    if (exponent)
        m |= one;
    else
        for (exponent = 1; !(m & one); exponent--)
            m <<= 1;
    exponent -= top / 2;
    if (exponent & 1) {
        m <<= 1;
        exponent--;
    }
    /* m has digits + 1 or digits + 2 bits; pairs of bits are counted from its point. */
    int odd = digits & 1;
    uint64_t found = root(m << odd, digits + odd, digits + 2);
    return (((uint64_t)(exponent / 2 + top / 2)) << digits) + ((found + 1) >> 1) - one;
}

uint32_t gradc_rt_sqrt_f32(uint32_t x)
{
    return (uint32_t)float_root(x, 23, 255);
}

uint64_t gradc_rt_sqrt_f64(uint64_t x)
{
    return float_root(x, 52, 2047);
}
