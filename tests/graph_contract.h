/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Makers of random contractions. */
#ifndef TESTS_GRAPH_CONTRACT_H
#define TESTS_GRAPH_CONTRACT_H

#include "tests/graph_build.h"

/* Sometimes chooses operand types (*t, one of which is given) with an accumulator type *sum. */
static inline void gen_accumulator(gen *g, ir_dtype t[2], ir_dtype *sum)
{
    static const ir_dtype rows[][3] = {
#define ACCUMULATOR(lhs, rhs, sum) {IR_##lhs, IR_##rhs, IR_##sum},
#include "ir/accumulators.def"
    };
    const ir_dtype *row = rows[draw(g, sizeof rows / sizeof *rows)];
    *sum = one_in(g, 8) ? t[0] : IR_BOOL;
    for (int i = 0; i < 3; i++)
        if (!(g->p->types >> row[i] & 1))
            return;
    if (one_in(g, 3)) {
        t[0] = row[0];
        t[1] = row[1];
        *sum = row[2];
    }
}

static inline bool gen_make_dot_general(gen *g, ir_op op)
{
    ir_dtype dtype = gen_dtype(g, ir_ops[op].classes);
    if (dtype == IR_DTYPES)
        return false;
    for (int tries = 0; tries < GEN_TRIES; tries++) {
        int batch = (int)draw(g, 3), contract = draw(g, 6) ? 1 + (int)one_in(g, 3) : 0;
        ir_dtype of[2] = {dtype, dtype}, sum;
        gen_accumulator(g, of, &sum);
        ir_type t[2] = {{.dtype = of[0]}, {.dtype = of[1]}};
        ir_ints order[2];
        int64_t products = 1;
        for (int s = 0; s < 2; s++) {
            t[s].rank = batch + contract + (int)draw(g, 3);
            order[s] = gen_order(g, t[s].rank);
            for (int i = batch + contract; i < t[s].rank; i++)
                t[s].dim[order[s].v[i]] = gen_extent(g);
        }
        for (int i = 0; i < batch + contract; i++) {
            t[0].dim[order[0].v[i]] = t[1].dim[order[1].v[i]] = gen_extent(g);
            products *= i < batch ? 1 : t[0].dim[order[0].v[i]];
        }
        const ir_ints x = order[0], y = order[1];
        ir_attrs a = {.dot_general = {{batch, x.v},
                                      {batch, y.v},
                                      {contract, x.v + batch},
                                      {contract, y.v + batch},
                                      sum,
                                      0}};
        if (!gen_fits(g, op, t, 2, &a) ||
            products * ir_count(&t[0]) * ir_count(&t[1]) > GEN_WORK * 100)
            continue;
        ir_value *v[2] = {gen_operand(g, &t[0]), NULL};
        v[1] = ir_type_eq(&t[0], &t[1]) && one_in(g, 4) ? v[0] : gen_operand(g, &t[1]);
        return gen_append(g, op, v, 2, &a, gen_both(v[0], v[1]) * (double)products);
    }
    return false;
}

static inline bool gen_make_convolution(gen *g, ir_op op)
{
    ir_dtype dtype = gen_dtype(g, ir_ops[op].classes);
    /* The product of padding and an infinite weight is not defined. */
    if (dtype == IR_DTYPES || g->p->raw)
        return false;
    for (int tries = 0; tries < GEN_TRIES; tries++) {
        int spatial = (int)draw(g, 4), rank = spatial + 2;
        int64_t groups = 1 + draw(g, 3), by = draw(g, 3), fg = by == 1 ? groups : 1,
                bg = by == 2 ? groups : 1;
        bool plain = draw(g, 2); /* no dilation, as most are */
        ir_attrs a = {
            .convolution = {.lhs = gen_order(g, rank), .feature_groups = fg, .batch_groups = bg}};
        a.convolution.rhs = gen_order(g, rank);
        a.convolution.out = gen_order(g, rank);
        a.convolution.stride = gen_ints(g, spatial, 1, plain ? 2 : 3);
        a.convolution.low = gen_ints(g, spatial, plain ? 0 : -1, 2);
        a.convolution.high = gen_ints(g, spatial, plain ? 0 : -1, 2);
        a.convolution.lhs_dilation = gen_ints(g, spatial, 1, plain ? 1 : 2);
        a.convolution.rhs_dilation = gen_ints(g, spatial, 1, plain ? 1 : 2);
        ir_dtype of[2] = {dtype, dtype};
        gen_accumulator(g, of, &a.convolution.accumulate);
        ir_type t[2] = {{.dtype = of[0], .rank = rank}, {.dtype = of[1], .rank = rank}};
        const int64_t *x = a.convolution.lhs.v, *w = a.convolution.rhs.v;
        int64_t each = draw(g, 8) ? 1 + draw(g, 5) : gen_extent(g), taps = each;
        t[0].dim[x[0]] = bg * (draw(g, 8) ? 1 + draw(g, 3) : gen_extent(g));
        t[0].dim[x[1]] = fg * each;
        t[1].dim[w[0]] = fg * bg * (draw(g, 8) ? 1 + draw(g, 5) : gen_extent(g));
        t[1].dim[w[1]] = each;
        for (int i = 0; i < spatial; i++) {
            t[0].dim[x[2 + i]] = gen_extent(g);
            taps *= t[1].dim[w[2 + i]] = 1 + draw(g, 3);
        }
        if (!gen_fits(g, op, t, 2, &a) || taps * ir_count(&t[0]) > GEN_WORK)
            continue;
        ir_value *v = gen_operand(g, &t[0]), *k = gen_operand(g, &t[1]);
        return gen_append(g, op, (ir_value *[]){v, k}, 2, &a, gen_both(v, k) * (double)taps);
    }
    return false;
}

#endif
