/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of ops with many attributes, with random ones, by differences; the second derivatives too. The seed of a failure
 * is in its message. */
#include "tests/grad.h"

typedef struct gen {
    uint64_t state;
    ir_module *m;
    ir_func *f;
    ir_builder b;
} gen;

static int64_t draw(gen *g, int64_t low, int64_t high)
{
    return low + (int64_t)(grad_random(&g->state) % (uint64_t)(high - low + 1));
}

static ir_ints draws(gen *g, int n, int64_t low, int64_t high)
{
    int64_t v[IR_MAX_RANK] = {0};
    for (int i = 0; i < n; i++)
        v[i] = draw(g, low, high);
    return ir_ints_of(&g->b, n, v);
}

static ir_ints order(gen *g, int n)
{
    int64_t v[IR_MAX_RANK] = {0};
    for (int i = 0; i < n; i++) {
        int64_t j = draw(g, 0, i);
        v[i] = v[j];
        v[j] = i;
    }
    return ir_ints_of(&g->b, n, v);
}

static ir_value *input(gen *g, const char *name, int rank, const int64_t *dim)
{
    ir_type t = ir_type_of(IR_F64, rank, dim);
    return ir_add_input(g->f, name, &t);
}

/* A convolution of small extents; NULL if the numbers do not fit each other. */
static ir_value *convolution(gen *g)
{
    int spatial = (int)draw(g, 0, 2), rank = spatial + 2;
    int64_t groups = draw(g, 1, 3), by = draw(g, 0, 2), fg = by == 1 ? groups : 1, bg = by == 2 ? groups : 1, in[IR_MAX_RANK], w[IR_MAX_RANK];
    struct ir_attrs_convolution a = {.lhs = order(g, rank), .rhs = order(g, rank), .out = order(g, rank), .stride = draws(g, spatial, 1, 3),
                                     .low = draws(g, spatial, -1, 3), .high = draws(g, spatial, -1, 3), .lhs_dilation = draws(g, spatial, 1, 2),
                                     .rhs_dilation = draws(g, spatial, 1, 2), .feature_groups = fg, .batch_groups = bg};
    int64_t channels = draw(g, 1, 2), each = draw(g, 1, 2);
    in[a.lhs.v[0]] = bg * draw(g, 1, 2);
    in[a.lhs.v[1]] = fg * channels;
    w[a.rhs.v[0]] = fg * bg * each;
    w[a.rhs.v[1]] = channels;
    for (int i = 0; i < spatial; i++) {
        in[a.lhs.v[2 + i]] = draw(g, 1, 5);
        w[a.rhs.v[2 + i]] = draw(g, 1, 3);
    }
    return ir_build1(&g->b, IR_OP_convolution, (ir_value *[]){input(g, "x", rank, in), input(g, "w", rank, w)}, 2, &(ir_attrs){.convolution = a});
}

static ir_value *window(gen *g)
{
    int rank = (int)draw(g, 1, 3);
    static const ir_combine combines[] = {IR_SUM, IR_SUM, IR_PROD, IR_MAX, IR_MIN};
    ir_combine c = combines[draw(g, 0, 4)];
    ir_value *x = input(g, "d", rank, draws(g, rank, 1, 5).v);
    ir_value *y = ir_build1(&g->b, IR_OP_reduce_window, &x, 1,
                            &(ir_attrs){.reduce_window = {c, draws(g, rank, 1, 3), draws(g, rank, 1, 3), draws(g, rank, -1, 2), draws(g, rank, -1, 2),
                                                          draws(g, rank, 1, 2), draws(g, rank, 1, 2), 0}});
    if (!y || c <= IR_PROD)
        return y;
    ir_value *finite = ir_compare(&g->b, IR_LT, ir_abs(&g->b, y), ir_splat(&g->b, &y->type, 1e9)); /* not where all is padding */
    return ir_select(&g->b, finite, y, ir_splat(&g->b, &y->type, 0));
}

static ir_value *contraction(gen *g)
{
    int batch = (int)draw(g, 0, 2), contract = (int)draw(g, 0, 2), rest[2] = {(int)draw(g, 0, 2), (int)draw(g, 0, 2)}, rank[2];
    int64_t dim[2][IR_MAX_RANK];
    ir_ints order_of[2];
    for (int s = 0; s < 2; s++) {
        rank[s] = batch + contract + rest[s];
        order_of[s] = order(g, rank[s]);
        for (int i = batch + contract; i < rank[s]; i++)
            dim[s][order_of[s].v[i]] = draw(g, 1, 3);
    }
    for (int i = 0; i < batch + contract; i++)
        dim[0][order_of[0].v[i]] = dim[1][order_of[1].v[i]] = draw(g, 1, 3);
    const int64_t *x = order_of[0].v, *y = order_of[1].v;
    return ir_dot_general(&g->b, input(g, "x", rank[0], dim[0]), input(g, "y", rank[1], dim[1]), batch, x, y, contract, x + batch, y + batch);
}

/* A chain of moves, so that each meets the derivatives of the others. */
static ir_value *moves(gen *g)
{
    int64_t shape[] = {draw(g, 1, 4), draw(g, 1, 4), draw(g, 1, 4)};
    ir_value *x = input(g, "x", 3, shape), *v = input(g, "v", 0, NULL);
    for (int i = 0; i < 4; i++) {
        int64_t start[3], limit[3], low[3], high[3], wide[4], dims[3], axis = draw(g, 0, 2);
        for (int d = 0; d < 3; d++) {
            start[d] = draw(g, 0, x->type.dim[d] - 1);
            limit[d] = draw(g, start[d] + 1, x->type.dim[d]);
            low[d] = draw(g, -1, 2);
            high[d] = draw(g, 1, 2);
            dims[d] = d < axis ? d : d + 1;
            wide[dims[d]] = x->type.dim[d] == 1 ? draw(g, 1, 3) : x->type.dim[d];
        }
        wide[axis] = draw(g, 1, 3);
        switch (draw(g, 0, 5)) {
        case 0: x = ir_transpose(&g->b, x, order(g, 3).v); break;
        case 1: x = ir_slice(&g->b, x, start, limit, draws(g, 3, 1, 3).v); break;
        case 2: x = ir_pad(&g->b, x, v, low, high, draws(g, 3, 0, 2).v); break;
        case 3: x = ir_concat(&g->b, (ir_value *[]){x, x}, 2, (int)axis); break;
        case 4: x = ir_reverse(&g->b, x, 1, &axis); break;
        default: x = ir_reduce(&g->b, IR_SUM, ir_broadcast(&g->b, x, 4, wide, dims), 1, &axis);
        }
    }
    return ir_mul(&g->b, x, x);
}

/* Indices are constants, so that they are the same at each order. */
static ir_value *indexed(gen *g)
{
    int batch = (int)draw(g, 0, 1), rank = (int)draw(g, batch + 1, 3), irank = (int)draw(g, 1, 2), k = (int)draw(g, 0, rank - batch);
    ir_type x = ir_type_of(IR_F64, rank, draws(g, rank, 1, 3).v), index = {.dtype = IR_I64};
    int64_t dims[IR_MAX_RANK];
    int n = 0;
    for (int d = batch, left = k; d < rank && left; d++)
        if (draw(g, 0, 1) || rank - d == left) {
            dims[n++] = d;
            left--;
        }
    for (int d = 0; d < batch; d++)
        index.dim[index.rank++] = x.dim[d];
    for (int d = 0; d < irank; d++)
        index.dim[index.rank++] = draw(g, 1, 3);
    index.dim[index.rank++] = n;
    ir_literal *l = ir_literal_new(g->m->arena, &index);
    for (int64_t i = 0; i < ir_count(&index); i++)
        ir_literal_set_int(l, i, draw(g, 0, x.dim[dims[i % n]] - 1));
    ir_value *at = ir_constant(&g->b, l), *v = ir_add_input(g->f, "d", &x), *y = ir_gather(&g->b, v, at, n, dims, batch);
    if (!y || draw(g, 0, 3) == 0)
        return y;
    static const ir_combine combines[] = {IR_SUM, IR_SET, IR_PROD, IR_MAX, IR_MIN};
    return ir_scatter(&g->b, combines[draw(g, 0, 4)], v, at, ir_add_input(g->f, "d2", &y->type), n, dims, batch);
}

typedef ir_value *make(gen *g);
static const struct { make *f; int seeds, order; } kinds[] = {{convolution, 250, 2}, {window, 150, 2}, {contraction, 150, 2}, {moves, 150, 2},
                                                              {indexed, 200, 1}};

START_TEST(derivatives_are_those_of_differences)
{
    int built = 0;
    for (int seed = 1; seed <= kinds[_i].seeds; seed++) {
        context_setup();
        gen g = {.state = (uint64_t)seed * 0x9e3779b97f4a7c15ull, .m = ir_module_new(ctx, arena, "random")};
        g.f = ir_func_new(g.m, "f");
        g.f->entry = true;
        g.b = ir_builder_new(g.f);
        ir_value *y = kinds[_i].f(&g);
        *first_error = 0; /* of numbers that did not fit */
        if (y && ir_count(&y->type) && ir_count(&y->type) < 200) {
            ir_add_output(g.f, "y", y);
            ir_literal *args[64] = {NULL};
            const char *what = ir_format(g.m->arena, "kind %d, seed %d", _i, seed);
            ir_func *joint = grad_check_orders(what, g.f, kinds[_i].order, 8, &g.state, args);
            grad_survives_passes(what, joint, args);
            if (seed % 8 == 0)
                grad_compiled(what, joint, args);
            built++;
        }
        context_teardown();
    }
    ck_assert_int_ge(built, kinds[_i].seeds / 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("grad_random");
    TCase *c = tcase_create("grad_random");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, derivatives_are_those_of_differences, 0, sizeof kinds / sizeof *kinds);
    suite_add_tcase(s, c);
    return suite_run(s);
}
