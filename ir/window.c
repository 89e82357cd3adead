/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What an element of a window op's result reads. */
#include "ir/kernels.h"

/* Limit of products, so that sums of them do not overflow. */
static const int64_t MOST = (int64_t)1 << 60;

int64_t ir_gcd(int64_t x, int64_t y)
{
    while (y) {
        int64_t rest = x % y;
        x = y;
        y = rest;
    }
    return x;
}

/* The inverse of x modulo m, 0 < x, which has no divisor in common with m; 0 for m = 1. */
static int64_t inverse(int64_t x, int64_t m)
{
    int64_t r = m, next_r = x % m, t = 0, next_t = 1;
    while (next_r) {
        int64_t q = r / next_r, old_r = r, old_t = t;
        r = next_r;
        next_r = old_r - q * next_r;
        t = next_t;
        next_t = old_t - q * next_t;
    }
    return m == 1 ? 0 : t < 0 ? t + m : t;
}

typedef struct numbers {
    ir_ints window, stride, low, base, dilation; /* base.v: NULL for ones */
} numbers;

static bool numbers_of(const ir_inst *inst, numbers *n)
{
#define NUMBERS(op, base)                                                                   \
    (numbers)                                                                               \
    {                                                                                       \
        IR_ATTR(inst, op)->window, IR_ATTR(inst, op)->stride, IR_ATTR(inst, op)->low, base, \
            IR_ATTR(inst, op)->window_dilation                                              \
    }
    const ir_ints none = {0};
    switch (inst->op) {
    case IR_OP_reduce_window:
        *n = NUMBERS(reduce_window, IR_ATTR(inst, reduce_window)->base_dilation);
        return true;
    case IR_OP_arg_window: *n = NUMBERS(arg_window, none); return true;
    case IR_OP_window_put: *n = NUMBERS(window_put, none); return true;
    default: return false;
    }
#undef NUMBERS
}

ir_taps ir_taps_of(const ir_inst *inst, int d)
{
    numbers n;
    if (!numbers_of(inst, &n))
        BUG("`%s` has no windows", ir_ops[inst->op].name);
    bool put = inst->op == IR_OP_window_put;
    int64_t product;
    ir_taps t = {.low = n.low.v[d],
                 .step = put ? 1 : -n.stride.v[d],
                 .sign = put ? -1 : 1,
                 .dilation = n.dilation.v[d],
                 .base = put        ? n.stride.v[d]
                         : n.base.v ? n.base.v[d]
                                    : 1,
                 .window = n.window.v[d],
                 .extent = inst->operand[0]->type.dim[d]};
    t.common = ir_gcd(t.base, t.dilation);
    t.skip = t.base / t.common;
    t.inverse = inverse(t.dilation / t.common, t.skip);
    t.count = (t.window + t.skip - 1) / t.skip;
    t.elements = t.extent < t.count || t.skip > INT32_MAX ||
                 !base_size_mul(t.skip, t.dilation, &product) || product > MOST;
    if (t.elements)
        t.count = t.extent;
    return t;
}
