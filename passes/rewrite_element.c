/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Rewrites of elementwise instructions. */
#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

#define Y (inst->operand[1])

static ir_value *negated(const ir_value *v)
{
    ir_inst *n = match(v, IR_OP_neg);
    return n ? n->operand[0] : NULL;
}

/* Multiplying by c, and by 1/c, is exact except at the ends of the exponent range. */
static bool power_of_two(double c)
{
    int e;
    /* f16's range, so 1/c is normal in all types */
    return isfinite(c) && c != 0 && fabs(frexp(c, &e)) == 0.5 && e > -12 && e < 14;
}

RULE(rw_add_zero)
{
    (void)b;
    return match_is(Y, 0) ? give(out, X) : match_is(X, 0) ? give(out, Y) : false;
}

RULE(rw_add_neg)
{
    ir_value *y = negated(Y), *x = negated(X);
    return y ? give(out, ir_sub(b, X, y)) : x ? give(out, ir_sub(b, Y, x)) : false;
}

RULE(rw_sub_zero)
{
    if (match_is(Y, 0))
        return give(out, X);
    if (match_is(X, 0))
        return give(out, ir_neg(b, Y));
    return X == Y && ir_is_int(X->type.dtype) && give(out, ir_splat(b, &X->type, 0));
}

RULE(rw_sub_neg)
{
    ir_value *y = negated(Y);
    return y && give(out, ir_add(b, X, y));
}

RULE(rw_mul_number)
{
    for (int side = 0; side < 2; side++) {
        ir_value *x = inst->operand[side];
        double c;
        if (!match_number(inst->operand[!side], &c))
            continue;
        if (c == 1)
            return give(out, x);
        if (c == -1 && ir_is_signed(x->type.dtype))
            return give(out, ir_neg(b, x));
        if (c == 0 && ir_is_int(x->type.dtype))
            return give(out, inst->operand[!side]);
    }
    return false;
}

RULE(rw_mul_neg)
{
    ir_value *x = negated(X), *y = negated(Y);
    double c;
    if (x && y)
        return give(out, ir_mul(b, x, y));
    if (x && match_number(Y, &c) && ir_is_float(x->type.dtype))
        return give(out, ir_mul(b, x, ir_splat(b, &x->type, -c)));
    if (y && match_number(X, &c) && ir_is_float(y->type.dtype))
        return give(out, ir_mul(b, y, ir_splat(b, &y->type, -c)));
    return false;
}

/* (x * c) * d = x * (c d), where one of them only changes the exponent. */
RULE(rw_mul_mul)
{
    for (int side = 0; side < 2; side++) {
        ir_inst *inner = match(inst->operand[side], IR_OP_mul);
        double c, d;
        if (!inner || inner->result[0]->id > 1 || !ir_is_float(X->type.dtype) ||
            !match_number(inst->operand[!side], &d))
            continue;
        for (int i = 0; i < 2; i++)
            if (match_number(inner->operand[!i], &c) && (power_of_two(c) || power_of_two(d)))
                return give(out, ir_mul(b, inner->operand[i], ir_splat(b, &X->type, c * d)));
    }
    return false;
}

RULE(rw_div_number)
{
    double c;
    if (!match_number(Y, &c))
        return false;
    if (c == 1)
        return give(out, X);
    return ir_is_float(X->type.dtype) && power_of_two(c) &&
           give(out, ir_mul(b, X, ir_splat(b, &X->type, 1 / c)));
}

RULE(rw_neg)
{
    ir_value *x = negated(X);
    if (x)
        return give(out, x);
    ir_inst *sub = match(X, IR_OP_sub), *mul = match(X, IR_OP_mul);
    if (sub && X->id <= 1)
        return give(out, ir_sub(b, sub->operand[1], sub->operand[0]));
    double c;
    for (int i = 0; i < 2 && mul && X->id <= 1 && ir_is_float(X->type.dtype); i++)
        if (match_number(mul->operand[!i], &c))
            return give(out, ir_mul(b, mul->operand[i], ir_splat(b, &X->type, -c)));
    return false;
}

RULE(rw_abs)
{
    ir_value *x = ir_is_signed(X->type.dtype) ? negated(X) : NULL;
    return match(X, IR_OP_abs) ? give(out, X) : x ? give(out, ir_abs(b, x)) : false;
}

/* x^3 as x x x would round twice; a correctly rounded power rounds once. */
RULE(rw_pow)
{
    double c;
    if (!match_number(Y, &c))
        return false;
    if (c == 0)
        return give(out, ir_splat(b, &X->type, 1));
    if (c == 1)
        return give(out, X);
    if (c == 2)
        return give(out, ir_mul(b, X, X));
    if (c == 3)
        return give(out, ir_mul(b, ir_mul(b, X, X), X));
    if (c == -1 && ir_is_float(X->type.dtype))
        return give(out, ir_div(b, ir_splat(b, &X->type, 1), X));
    return false;
}

RULE(rw_same_operands)
{
    (void)b;
    return X == Y && give(out, X);
}

static bool logic(ir_inst *inst, ir_value **out, int neutral)
{
    if (X == Y)
        return give(out, X);
    for (int side = 0; side < 2 && X->type.dtype == IR_BOOL; side++)
        if (match_is(inst->operand[side], neutral))
            return give(out, inst->operand[!side]);
        else if (match_is(inst->operand[side], !neutral))
            return give(out, inst->operand[side]);
    return false;
}

RULE(rw_and)
{
    (void)b;
    return logic(inst, out, 1);
}

RULE(rw_or)
{
    (void)b;
    return logic(inst, out, 0);
}

/* The negation of an ordering is the opposite ordering only without NaN; eq and ne are always
 * opposites. */
RULE(rw_not)
{
    static const ir_relation opposite[] = {[IR_EQ] = IR_NE, [IR_NE] = IR_EQ, [IR_LT] = IR_GE,
                                           [IR_LE] = IR_GT, [IR_GT] = IR_LE, [IR_GE] = IR_LT};
    ir_inst *n = match(X, IR_OP_not), *c = match(X, IR_OP_compare);
    if (n)
        return give(out, n->operand[0]);
    if (!c || X->id > 1)
        return false;
    ir_relation r = IR_ATTR(c, compare)->relation;
    return (r <= IR_NE || !ir_is_float(c->operand[0]->type.dtype)) &&
           give(out, ir_compare(b, opposite[r], c->operand[0], c->operand[1]));
}

RULE(rw_select)
{
    ir_value *yes = inst->operand[1], *no = inst->operand[2];
    double c;
    if (yes == no)
        return give(out, yes);
    if (match_number(X, &c))
        return give(out, c != 0 ? yes : no);
    ir_inst *n = match(X, IR_OP_not);
    if (n)
        return give(out, ir_select(b, n->operand[0], no, yes));
    ir_inst *y = match(yes, IR_OP_select), *z = match(no, IR_OP_select);
    if ((y && y->operand[0] == X) || (z && z->operand[0] == X))
        return give(out, ir_select(b, X, y && y->operand[0] == X ? y->operand[1] : yes,
                                   z && z->operand[0] == X ? z->operand[2] : no));
    if (yes->type.dtype == IR_BOOL && match_is(yes, 1) && match_is(no, 0))
        return give(out, X);
    return yes->type.dtype == IR_BOOL && match_is(yes, 0) && match_is(no, 1) &&
           give(out, ir_unary(b, IR_OP_not, X));
}

/* Every value of `from` is one of `to`. */
static bool widens(ir_dtype from, ir_dtype to)
{
    const ir_dtype_info *a = &ir_dtypes[from], *z = &ir_dtypes[to];
    if (from == to || a->class == IR_CLASS_B)
        return true;
    if (z->class == IR_CLASS_F && a->class == IR_CLASS_F)
        return z->bytes > a->bytes;
    if (z->class == IR_CLASS_F)
        return to == IR_F64 ? a->bytes <= 4 : to == IR_F32 && a->bytes <= 2;
    return (a->class & IR_CLASS_I) && (z->class & IR_CLASS_I) && z->bytes > a->bytes &&
           (a->class == IR_CLASS_U || z->class == IR_CLASS_S);
}

/* A conversion through a type that holds every value of the first equals a direct one, unless it
 * takes an integer through a float to an integer, which saturates where integers wrap. */
RULE(rw_convert)
{
    ir_dtype to = IR_ATTR(inst, convert)->to;
    if (X->type.dtype == to)
        return give(out, X);
    ir_inst *first = match(X, IR_OP_convert);
    if (!first)
        return false;
    ir_dtype from = first->operand[0]->type.dtype, middle = X->type.dtype;
    bool saturates = ir_is_float(middle) && ir_is_int(to) && !ir_is_float(from) &&
                     ir_dtypes[from].class != IR_CLASS_B;
    return widens(from, middle) && !saturates && give(out, ir_convert(b, first->operand[0], to));
}

/* An elementwise instruction whose operands are all splats or the same broadcast of values of one
 * smaller shape. */
RULE(rw_sink_broadcast)
{
    ir_inst *first = NULL;
    ir_literal *number[3];
    ir_value *operand[3];
    if (inst->op == IR_OP_copy || inst->noperands > 3)
        return false;
    for (int i = 0; i < inst->noperands; i++) {
        ir_inst *r = match(inst->operand[i], IR_OP_broadcast);
        number[i] = NULL;
        if (match_splat(inst->operand[i], &number[i]))
            continue;
        if (!r || (first && (!ir_attrs_eq(IR_OP_broadcast, r->attrs, first->attrs) ||
                             !ir_shape_eq(&r->operand[0]->type, &first->operand[0]->type))))
            return false;
        first = r;
    }
    if (!first || ir_count(&first->operand[0]->type) >= ir_count(&first->result[0]->type))
        return false;
    for (int i = 0; i < inst->noperands; i++) {
        operand[i] =
            match(inst->operand[i], IR_OP_broadcast) ? inst->operand[i]->def->operand[0] : NULL;
        if (!number[i])
            continue;
        ir_type scalar = ir_scalar_type(number[i]->type.dtype), *small = &first->operand[0]->type;
        ir_literal *one = ir_literal_new(b->func->module->arena, &scalar);
        memcpy(one->data, number[i]->data, (size_t)ir_bytes(&scalar));
        operand[i] = ir_broadcast(b, ir_constant(b, one), small->rank, small->dim, NULL);
    }
    const ir_ints shape = IR_ATTR(first, broadcast)->shape, dims = IR_ATTR(first, broadcast)->dims;
    return give(out, ir_broadcast(b, ir_build1(b, inst->op, operand, inst->noperands, inst->attrs),
                                  shape.n, shape.v, dims.v));
}
