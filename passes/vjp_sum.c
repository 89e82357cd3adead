/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The sum of a cotangent along axes, which is due where a value was repeated along them. In a
 * product, a factor that is the same all along the axes goes out of the sum, where it multiplies
 * fewer elements; and so sums that differed in such factors only become one. A sum of products that
 * all have such factors is taken apart too where what is left to sum is there already: an
 * activation's derivative would be computed, and kept in memory, once as a whole and once in parts.
 *
 * Batch normalisation shows what it is for. As the rules give it, backward sums g, g w x and g x /
 * s, and then, when the second of these has become the gradient of the variance, what that adds up
 * to for the mean. Taken apart, these are the sums of g, g x and x, and all are made in one pass
 * over the tensors.
 *
 * Derivatives only are treated so: pulled out of a sum of the model's own, a factor may turn a NaN
 * into an infinity or back. f16 is left alone: its sums could leave its range. */
#include "passes/vjp.h"

enum { FACTORS = 16, ADDENDS = 8, DEPTH = 16, FORKS = 3 };

typedef struct product {
    const int64_t *axes;
    int naxes;
    struct { ir_value *v; bool divides; } factor[FACTORS]; /* the same along the axes */
    int nfactors;
    bool negative;
    bool computed; /* what is left is no value that is there already */
} product;

static bool listed(const product *p, int64_t d)
{
    for (int i = 0; i < p->naxes; i++)
        if (p->axes[i] == d)
            return true;
    return false;
}

/* v is repeated along the axes. One number everywhere counts only in backward: forward's
 * expressions stay what they are, so that they stay the same instructions. */
static bool is_factor(const product *p, const ir_inst *in, const ir_value *v)
{
    const ir_inst *r = match(v, IR_OP_broadcast);
    ir_literal *splat;
    if (!r || (in->phase == IR_FORWARD && match_splat(v, &splat)))
        return false;
    const ir_ints dims = IR_ATTR(r, broadcast)->dims;
    for (int i = 0; i < dims.n; i++)
        if (listed(p, dims.v[i]) && r->operand[0]->type.dim[i] != 1)
            return false;
    return true;
}

static bool take(product *p, const ir_inst *in, ir_value *v)
{
    if (p->nfactors == FACTORS || !is_factor(p, in, v))
        return false;
    p->factor[p->nfactors].v = v;
    p->factor[p->nfactors++].divides = in->op == IR_OP_div;
    return true;
}

/* v without its factors, which p collects. */
static ir_value *peel(ir_builder *b, product *p, ir_value *v, int depth, int forks)
{
    const ir_inst *inst = v->def;
    if (!inst || depth == DEPTH)
        return v;
    if (inst->op == IR_OP_neg && inst->phase != IR_FORWARD) {
        p->negative = !p->negative;
        return peel(b, p, inst->operand[0], depth + 1, forks);
    }
    if (inst->op != IR_OP_mul && inst->op != IR_OP_div)
        return v;
    if (take(p, inst, inst->operand[1]))
        return peel(b, p, inst->operand[0], depth + 1, forks);
    if (inst->op == IR_OP_div)
        return v;
    if (take(p, inst, inst->operand[0]))
        return peel(b, p, inst->operand[1], depth + 1, forks);
    if (forks == FORKS)
        return v;
    ir_value *x = peel(b, p, inst->operand[0], depth + 1, forks + 1),
             *y = peel(b, p, inst->operand[1], depth + 1, forks + 1);
    if (x == inst->operand[0] && y == inst->operand[1])
        return v;
    if (take(p, inst, x))
        return y;
    if (take(p, inst, y))
        return x;
    p->computed = true;
    return ir_mul(b, x, y);
}

/* A factor in the shape of the sum. */
static ir_value *reduced(ir_builder *b, const product *p, const ir_value *factor,
                         const ir_type *shape)
{
    const ir_inst *r = factor->def;
    const ir_ints dims = IR_ATTR(r, broadcast)->dims;
    ir_type from = {.dtype = shape->dtype};
    int64_t to[IR_MAX_RANK];
    for (int i = 0; i < dims.n; i++) {
        int64_t d = dims.v[i];
        if (listed(p, d))
            continue;
        to[from.rank] = d;
        for (int k = 0; k < p->naxes; k++)
            to[from.rank] -= p->axes[k] < d;
        from.dim[from.rank++] = r->operand[0]->type.dim[i];
    }
    return ir_broadcast(b, ir_reshape(b, r->operand[0], from.rank, from.dim), shape->rank,
                        shape->dim, to);
}

static ir_value *sum_of(ir_builder *b, const product *p, ir_value *core)
{
    ir_value *r = ir_reduce(b, IR_SUM, core, p->naxes, p->axes);
    for (int i = p->nfactors; i-- > 0 && r;)
        r = ir_binary(b, p->factor[i].divides ? IR_OP_div : IR_OP_mul, r,
                      reduced(b, p, p->factor[i].v, &r->type));
    return r && p->negative ? ir_neg(b, r) : r;
}

typedef struct addends {
    struct { ir_value *v; bool negative; } item[ADDENDS];
    int n;
} addends;

static addends take_apart(ir_value *v)
{
    addends a = {.item[0].v = v, .n = 1};
    for (int i = 0; i < a.n;) {
        const ir_inst *inst = a.item[i].v->def;
        if (inst && inst->phase != IR_FORWARD && inst->op == IR_OP_neg) {
            a.item[i].v = inst->operand[0];
            a.item[i].negative = !a.item[i].negative;
        } else if (inst && inst->phase != IR_FORWARD &&
                   (inst->op == IR_OP_add || inst->op == IR_OP_sub) && a.n < ADDENDS) {
            a.item[i].v = inst->operand[0];
            a.item[a.n].v = inst->operand[1];
            a.item[a.n++].negative = a.item[i].negative != (inst->op == IR_OP_sub);
        } else {
            i++;
        }
    }
    return a;
}

ir_value *ad_sum(ir_builder *b, ir_value *g, int n, const int64_t *axes)
{
    if (n == 0 || g->type.dtype == IR_F16)
        return ir_reduce(b, IR_SUM, g, n, axes);
    addends a = take_apart(g);
    product p[ADDENDS];
    ir_value *core[ADDENDS], *sum = NULL;
    bool all = true;
    for (int i = 0; i < a.n; i++) {
        p[i] = (product){.axes = axes, .naxes = n, .negative = a.item[i].negative};
        core[i] = peel(b, &p[i], a.item[i].v, 0, 0);
        all &= p[i].nfactors > 0 && !p[i].computed;
    }
    if (a.n > 1 && !all)
        return ir_reduce(b, IR_SUM, g, n, axes);
    for (int i = 0; i < a.n; i++)
        sum = ir_add_or(b, sum, sum_of(b, &p[i], core[i]));
    return sum;
}

ir_value *ad_repeat(ir_builder *b, ir_value *r, const ir_type *t, ir_ints axes)
{
    int64_t dims[IR_MAX_RANK];
    for (int d = 0, i = 0, n = 0; d < t->rank; d++) {
        if (i < axes.n && axes.v[i] == d)
            i++;
        else
            dims[n++] = d;
    }
    return ir_broadcast(b, r, t->rank, t->dim, dims);
}
