/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Random loops: a scan and its first and second derivatives against those of the same loop
 * unrolled, on the evaluator, after the rewrites, and compiled. The seed of a failure is in its
 * message. */
#include "tests/graph_noise.h"
#include "tests/graph_ops.h"

#include "tests/grad.h" /* its context and arena are seen from here on */

enum { SEEDS = 400, COMPILED = 12, LONGEST = 8, MOST = 64 };

static const gen_profile profile = {.types = 1u << IR_F64 | 1u << IR_I64 | 1u << IR_BOOL,
                                    .smooth = true,
                                    .most = 64,
                                    .steps = 8,
                                    .depth = 2};

/* ---- The same without loops ---- */

static ir_value *chosen(ir_builder *b, ir_value *go, ir_value *yes, ir_value *no)
{
    return go ? ir_select(b, ir_broadcast(b, go, yes->type.rank, yes->type.dim, NULL), yes, no)
              : yes;
}

/* All ys of an unrolled loop in one piece. */
static ir_value *stacked(ir_builder *b, ir_value **y, const ir_type *t)
{
    ir_type one = *t;
    if (!t->dim[0])
        return ir_splat(b, t, 0);
    one.dim[0] = 1;
    for (int64_t k = 0; k < t->dim[0]; k++)
        y[k] = ir_reshape(b, y[k], one.rank, one.dim);
    return ir_concat(b, y, (int)t->dim[0], 0);
}

/* Iterations that do not run are computed too, and their results are not selected. */
static void unroll(ir_inst *scan)
{
    const struct ir_attrs_scan *a = IR_ATTR(scan, scan);
    int n = a->body->params.count, carries = (int)a->carries, ys = scan->nresults - carries - 1;
    ir_builder b = ir_builder_before(scan);
    ir_value *arg[GEN_BODY], *got[MOST], *y[MOST][LONGEST] = {{0}},
                                         *go = a->live ? scan->operand[n] : NULL,
                                         *trips = ir_scalar(&b, IR_I64, 0);
    memcpy(arg, scan->operand, (size_t)n * sizeof *arg);
    for (int64_t k = 0; k < a->length; k++) {
        int64_t at = a->reverse ? a->length - 1 - k : k;
        for (int i = (int)a->consts + carries; i < n; i++) {
            ir_value *s = ir_slice_axis(&b, scan->operand[i], 0, at, at + 1);
            arg[i] = ir_reshape(&b, s, s->type.rank - 1, s->type.dim + 1);
        }
        ir_inline(&b, a->body, arg, got);
        for (int i = 0; i < carries; i++)
            arg[a->consts + i] = chosen(&b, go, got[i], arg[a->consts + i]);
        for (int i = 0; i < ys; i++)
            y[i][at] = chosen(&b, go, got[carries + i], ir_splat(&b, &got[carries + i]->type, 0));
        trips = ir_add(&b, trips, go ? ir_convert(&b, go, IR_I64) : ir_scalar(&b, IR_I64, 1));
        go = go ? ir_and(&b, go, got[carries + ys]) : NULL;
    }
    for (int i = 0; i < carries; i++)
        ir_replace(scan->result[i], arg[a->consts + i]);
    for (int i = 0; i < ys; i++)
        ir_replace(scan->result[carries + i], stacked(&b, y[i], &scan->result[carries + i]->type));
    ir_replace(scan->result[carries + ys], trips);
    ir_built(&b);
    ir_remove(scan);
}

static bool unroll_one(ir_module *m)
{
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR (inst, m->funcs.items[i])
            if (inst->op == IR_OP_scan) {
                unroll(inst);
                return true;
            }
    return false;
}

/* ---- Functions ---- */

static struct {
    int nested, live, reverse, empty, carries, ys; /* loops that were met */
} met;

static void meet(const ir_module *m)
{
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR (inst, m->funcs.items[i]) {
            if (inst->op != IR_OP_scan)
                continue;
            const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
            met.nested += !m->funcs.items[i]->entry;
            met.live += a->live != 0;
            met.reverse += a->reverse != 0;
            met.empty += a->length == 0;
            met.carries += a->carries > 0;
            met.ys += inst->nresults > a->carries + 1;
        }
}

/* A loop or two, and what they give; its joint function, or that of its joint function, if an order
 * is asked for. */
static ir_func *random_function(uint64_t seed, bool rolled, int order)
{
    ir_module *m = ir_module_new(ctx, arena, "random");
    ir_func *f = ir_func_new(m, "f");
    f->entry = true;
    uint64_t random = seed * 0x9e3779b97f4a7c15u + 77;
    gen g = {.p = &profile, .random = &random, .b = ir_builder_new(f)};
    ir_type t = gen_shape(&g, IR_F64, 40);
    gen_input(&g, &t);
    for (int loops = 1 + (int)draw(&g, 2); loops > 0; loops--)
        while (!gen_make_scan(&g, IR_OP_scan))
            ;
    for (int i = g.n, n = 0; i-- > 0 && n < 8;)
        if (g.pool[i]->def && ir_is_float(g.pool[i]->type.dtype) && ir_count(&g.pool[i]->type))
            ir_add_output(f, base_format(arena, "y%d", n++), g.pool[i]);
    ir_built(&g.b);
    pass_drop_functions(m);
    if (rolled && !order)
        meet(m);
    while (!rolled && unroll_one(m))
        ;
    ir_verify(m);
    for (int i = 0, first = 0; i < order; i++) {
        grad_request q;
        grad_all(&q, f, first);
        first = f->results.count;
        ir_func *joint = ad_joint(m, f, &q.r, base_format(arena, "joint%d", i));
        ck_assert_msg(joint != NULL, "seed %d: %s", (int)seed, first_error);
        f->entry = false;
        f = joint;
        ir_verify(m);
    }
    return f;
}

static ir_literal **arguments(const ir_func *f, uint64_t seed)
{
    ir_literal **args = base_array(arena, ir_literal *, f->params.count + 1);
    uint64_t random = seed * 2 + 88172645463325251u;
    for (int i = 0; i < f->params.count; i++)
        args[i] = grad_numbers(arena, &f->params.items[i], i, &random);
    return args;
}

static void agrees(const char *what, reference *r, const ir_func *f)
{
    ir_literal **got = grad_eval(arena, f, r->args);
    ck_assert_int_eq(f->results.count, r->f->results.count);
    for (int i = 0; i < f->results.count; i++) {
        ck_assert(ir_type_eq(&got[i]->type, &r->due[i]->type));
        int64_t at = reference_check(r, i, got[i]);
        ck_assert_msg(at < 0, "%s: result %d [%d] is %.17g, expected %.17g", what, i, (int)at,
                      ir_literal_get(got[i], at), ir_literal_get(r->due[i], at));
    }
}

START_TEST(derivatives_are_those_of_the_unrolled_loop)
{
    static const char *const rewriting[] = {"inline", "simplify", "factor", "cse",
                                            "fold",   "simplify", "dce"};
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        for (int order = 0; order < 3; order++) {
            context_setup();
            ir_func *f = random_function(seed, true, order),
                    *u = random_function(seed, false, order);
            const char *what = base_format(arena, "seed %d, derivative %d", (int)seed, order);
            reference *r = reference_new(arena, u, arguments(u, seed), seed);
            agrees(what, r, f);
            for (int i = 0; i < 6; i++)
                pass_run_one(f->module, pass_by_name(rewriting[i]), true);
            agrees(base_format(arena, "%s, after the rewrites", what), r, f);
            context_teardown();
        }
    ck_assert_msg(
        met.nested > 8 && met.live > 40 && met.reverse > 40 && met.empty > 10 &&
            met.carries > 100 && met.ys > 100,
        "%d nested, %d with a condition, %d reversed, %d empty, %d with carries, %d with ys",
        met.nested, met.live, met.reverse, met.empty, met.carries, met.ys);
}
END_TEST

START_TEST(compiled_code_agrees)
{
    for (uint64_t seed = 1000; seed < 1000 + COMPILED; seed++) {
        context_setup();
        ir_func *f = random_function(seed, true, 1 + seed % 2);
        grad_compiled(base_format(arena, "seed %d", (int)seed), f, arguments(f, seed));
        context_teardown();
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("loop_random");
    TCase *c = tcase_create("loop_random");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, derivatives_are_those_of_the_unrolled_loop);
    tcase_add_test(c, compiled_code_agrees);
    suite_add_tcase(s, c);
    return suite_run(s);
}
