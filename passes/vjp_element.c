/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of elementwise ops, as torch defines them where there is a choice. A rule uses the
 * result where that saves work (tanh, exp, …): it is often saved for another reader anyway. */
#include "passes/vjp.h"

#define X (inst->operand[0])
#define Y (inst->operand[1])
#define R (inst->result[0])
#define G (ct[0])

ir_value *ad_where(ir_builder *b, ir_value *which, ir_value *x)
{
    return ir_select(b, which, x, ir_zeros_like(b, x));
}

ir_value *ad_unless(ir_builder *b, ir_value *which, ir_value *x)
{
    return ir_select(b, which, ir_zeros_like(b, x), x);
}

/* ---- One operand ---- */

#define UNARY(name, derivative)          \
    AD_RULE(name)                        \
    {                                    \
        (void)b, (void)inst, (void)want; \
        out[0] = derivative;             \
    }

static ir_value *square(ir_builder *b, ir_value *x)
{
    return ir_mul(b, x, x);
}

static ir_value *one_minus(ir_builder *b, ir_value *x)
{
    return x ? ir_sub(b, ir_splat(b, &x->type, 1), x) : NULL;
}

UNARY(neg, ir_neg(b, G))
UNARY(abs, ir_mul(b, G, ir_sign(b, X)))
UNARY(sqrt, ir_div(b, ir_times(b, G, 0.5), R))
UNARY(rsqrt, ir_mul(b, ir_times(b, G, -0.5), ir_mul(b, R, square(b, R))))
UNARY(expm1, ir_mul(b, G, ir_plus(b, R, 1)))
UNARY(log, ir_div(b, G, X))
UNARY(log1p, ir_div(b, G, ir_plus(b, X, 1)))
UNARY(sin, ir_mul(b, G, ir_cos(b, X)))
UNARY(cos, ir_neg(b, ir_mul(b, G, ir_sin(b, X))))
UNARY(tan, ir_mul(b, G, ir_plus(b, square(b, R), 1)))
UNARY(asin, ir_mul(b, G, ir_rsqrt(b, one_minus(b, square(b, X)))))
UNARY(acos, ir_neg(b, ir_mul(b, G, ir_rsqrt(b, one_minus(b, square(b, X))))))
UNARY(atan, ir_div(b, G, ir_plus(b, square(b, X), 1)))
UNARY(sinh, ir_mul(b, G, ir_unary(b, IR_OP_cosh, X)))
UNARY(cosh, ir_mul(b, G, ir_unary(b, IR_OP_sinh, X)))
UNARY(asinh, ir_mul(b, G, ir_rsqrt(b, ir_plus(b, square(b, X), 1))))
UNARY(acosh, ir_mul(b, G, ir_rsqrt(b, ir_plus(b, square(b, X), -1))))
UNARY(atanh, ir_div(b, G, one_minus(b, square(b, X))))
UNARY(tanh, ir_mul(b, G, one_minus(b, square(b, R))))
/* 2 / sqrt(pi) */
UNARY(erf, ir_mul(b, ir_times(b, G, 1.1283791670955126), ir_exp(b, ir_neg(b, square(b, X)))))
UNARY(logistic, ir_mul(b, G, ir_mul(b, R, one_minus(b, R))))
UNARY(convert, ir_convert(b, G, X->type.dtype)) /* only floats have cotangents */
UNARY(copy, G)

/* In a softmax the cotangent of e^x has the form g / sum; e^x / sum is computed already, so e^x
 * itself is not needed. */
AD_RULE(exp)
{
    (void)want;
    const ir_inst *quotient = match(G, IR_OP_div);
    out[0] = quotient ? ir_mul(b, quotient->operand[0], ir_div(b, R, quotient->operand[1]))
                      : ir_mul(b, G, R);
}

/* ---- Two operands ---- */

#define BINARY(name, of_x, of_y) \
    AD_RULE(name)                \
    {                            \
        (void)b, (void)inst;     \
        if (want[0])             \
            out[0] = of_x;       \
        if (want[1])             \
            out[1] = of_y;       \
    }

BINARY(add, G, G)
BINARY(sub, G, ir_neg(b, G))
/* fmod is x - y trunc(x / y), and (x - fmod) / y is that integer up to rounding. */
BINARY(rem, G, ir_neg(b, ir_mul(b, G, ir_round(b, ir_div(b, ir_sub(b, X, R), Y)))))

AD_RULE(mul)
{
    if (want[0])
        out[0] = ir_mul(b, X == Y ? ir_times(b, G, 2) : G, Y);
    if (want[1] && X != Y)
        out[1] = ir_mul(b, G, X);
}

/* The axes along which y is x's sum, broadcast; none if y is something else. */
static ir_ints own_sum(const ir_value *x, const ir_value *y)
{
    const ir_inst *r = match(y, IR_OP_broadcast),
                  *unit = r ? match(r->operand[0], IR_OP_reshape) : NULL;
    const ir_value *sum =
        unit && match_unit_reshape(&unit->operand[0]->type, &unit->result[0]->type)
            ? unit->operand[0]
        : r ? r->operand[0]
            : y;
    const ir_inst *reduce = match(sum, IR_OP_reduce);
    if (!r || !reduce || reduce->operand[0] != x || IR_ATTR(reduce, reduce)->combine != IR_SUM)
        return (ir_ints){0, NULL};
    const ir_ints axes = IR_ATTR(reduce, reduce)->axes, dims = IR_ATTR(r, broadcast)->dims;
    uint32_t left = 0, kept = 0; /* dimensions of x that are not summed; those that y follows */
    for (int d = 0; d < x->type.rank; d++)
        left |= (uint32_t)(x->type.dim[d] != 1) << d;
    for (int i = 0; i < axes.n; i++)
        left &= ~(1u << axes.v[i]);
    for (int i = 0; i < dims.n; i++)
        kept |= (uint32_t)(r->operand[0]->type.dim[i] != 1) << dims.v[i];
    return left == kept ? axes : (ir_ints){0, NULL};
}

AD_RULE(div)
{
    const ir_ints axes = own_sum(X, Y);
    if (axes.n && want[0]) { /* both paths to x in one: (g - sum(g r)) / sum */
        out[0] = ir_div(b,
                        ir_sub(b, G,
                               ir_unreduce(b, ir_reduce(b, IR_SUM, ir_mul(b, G, R), axes.n, axes.v),
                                           X, axes.n, axes.v)),
                        Y);
        return;
    }
    ir_value *quotient = ir_div(b, G, Y);
    if (want[0])
        out[0] = quotient;
    if (want[1])
        out[1] = ir_neg(b, ir_mul(b, quotient, R));
}

/* y x^(y-1), which is 0 for y = 0 whatever x is. 0^-1 must not occur in the expression, not even
 * multiplied by 0: it would come back in the second derivative. */
static ir_value *pow_of_base(ir_builder *b, ir_value *x, ir_value *y)
{
    double c;
    if (match_number(y, &c))
        return c == 0 ? NULL : ir_times(b, ir_pow(b, x, ir_splat(b, &x->type, c - 1)), c);
    ir_value *zero = ir_zeros_like(b, x),
             *both = ir_and(b, ir_compare(b, IR_EQ, x, zero), ir_compare(b, IR_EQ, y, zero));
    return ir_mul(b, y, ir_pow(b, x, ad_unless(b, both, ir_plus(b, y, -1))));
}

/* x^y log x, which is 0 for x = 0 and y >= 0. */
static ir_value *pow_of_exponent(ir_builder *b, ir_value *x, ir_value *y, ir_value *r)
{
    double c;
    if (match_number(x, &c) && c != 0)
        return ir_mul(b, r, ir_log(b, x));
    ir_value *zero = ir_zeros_like(b, x),
             *both = ir_and(b, ir_compare(b, IR_EQ, x, zero), ir_compare(b, IR_GE, y, zero));
    return ir_mul(b, r, ir_log(b, ir_select(b, both, ir_splat(b, &x->type, 1), x)));
}

AD_RULE(pow)
{
    ir_value *slope = want[0] ? pow_of_base(b, X, Y) : NULL;
    if (slope)
        out[0] = ir_mul(b, G, slope);
    if (want[1])
        out[1] = ir_mul(b, G, pow_of_exponent(b, X, Y, R));
}

AD_RULE(atan2)
{
    ir_value *length = ir_add(b, square(b, X), square(b, Y)),
             *none = ir_compare(b, IR_EQ, length, ir_zeros_like(b, length));
    ir_value *scaled =
        ad_unless(b, none, ir_div(b, G, ir_select(b, none, ir_splat(b, &length->type, 1), length)));
    if (want[0])
        out[0] = ir_mul(b, scaled, Y);
    if (want[1])
        out[1] = ir_neg(b, ir_mul(b, scaled, X));
}

/* The larger (or smaller) operand gets all of it; at a tie each gets half. */
static void extreme(ir_builder *b, const ir_inst *inst, ir_value *g, ir_relation loses,
                    ir_value **out, const bool *want)
{
    static const ir_relation mirrored[] = {[IR_LT] = IR_GT, [IR_GT] = IR_LT};
    ir_value *share = ir_select(b, ir_compare(b, IR_EQ, X, Y), ir_times(b, g, 0.5), g);
    if (want[0])
        out[0] = ad_unless(b, ir_compare(b, loses, X, Y), share);
    if (want[1])
        out[1] = ad_unless(b, ir_compare(b, mirrored[loses], X, Y), share);
}

AD_RULE(max)
{
    extreme(b, inst, G, IR_LT, out, want);
}

AD_RULE(min)
{
    extreme(b, inst, G, IR_GT, out, want);
}

AD_RULE(select)
{
    if (want[1])
        out[1] = ad_where(b, X, G);
    if (want[2])
        out[2] = ad_unless(b, X, G);
}
