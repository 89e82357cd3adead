/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of each primitive with random attributes, one or two of it behind random views, by
 * differences; the second derivatives too, and compiled. The seed of a failure is in its
 * message. */
#include "tests/graph_check.h"
#include "tests/graph_ops.h"
#include "tests/suite.h"

static const gen_profile profile = {.types = 1u << IR_F64 | 1u << IR_F32 | 1u << IR_I64 |
                                             1u << IR_I32 | 1u << IR_BOOL,
                                    .smooth = true,
                                    .states = true,
                                    .trains = true,
                                    .most = 200,
                                    .steps = 1,
                                    .depth = 1};

static int seeds_of(ir_op op)
{
    int n = ir_ops[op].nattrs; /* the more there is to draw */
    return n > 4 ? 240 : n ? 80 : 16;
}

/* The text of a graph with the op and a loss of its results; NULL if what was drawn does not
 * fit. */
static const char *graph_of(base_ctx *ctx, base_arena *arena, ir_op op, uint64_t seed)
{
    ir_module *m = ir_module_new(ctx, arena, "random");
    ir_func *f = ir_func_new(m, "forward");
    f->entry = true;
    uint64_t random = seed * 0x9e3779b97f4a7c15u + (uint64_t)op;
    gen g = {.p = &profile, .random = &random, .b = ir_builder_new(f)};
    ir_type t = gen_shape(&g, IR_F64, 60);
    gen_held(&g, &t);
    int made = 0;
    for (int tries = 0; tries < 10 && made < 1 + (int)seed % 2; tries++)
        made += gen_makers[op](&g, op);
    gen_loss(&g, IR_F64);
    ir_built(&g.b);
    pass_drop_functions(m);
    ir_verify(m);
    return made ? graph_printed(arena, m) : NULL;
}

START_TEST(derivatives_are_those_of_differences)
{
    ir_op op = (ir_op)_i;
    if (!ad_rules[op] || ad_is_zero(op) || op == IR_OP_stop_gradient)
        return;
    int seeds = seeds_of(op), built = 0;
    graph_slopes slopes = {0};
    for (int seed = 1; seed <= seeds; seed++) {
        base_ctx *ctx = base_ctx_new(NULL, NULL);
        base_arena *arena = base_arena_new(ctx);
        const char *text = graph_of(ctx, arena, op, (uint64_t)seed);
        if (text) {
            static graph_check k;
            k = (graph_check){.ctx = ctx,
                              .arena = arena,
                              .text = text,
                              .seed = (uint64_t)seed,
                              .stages = GRAPH_SLOPES | GRAPH_SECOND};
            bool ok = graph_differences(&k, &slopes);
            k.stages = GRAPH_VALUES | GRAPH_TRAINS | GRAPH_SECOND;
            ok = ok && (seed % 8 || graph_is_right(&k, GRAPH_TWO, &slopes));
            ck_assert_msg(ok, "`%s`, seed %d: %s\n%s", ir_ops[op].name, seed, k.fault, text);
            built++;
        }
        base_ctx_free(ctx);
    }
    ck_assert_msg(built >= seeds / 2 && slopes.judged >= seeds,
                  "`%s`: %d of %d could be made, %d of %d slopes were without a kink",
                  ir_ops[op].name, built, seeds, slopes.judged, slopes.tried);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("grad_random");
    TCase *c = tcase_create("grad_random");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, derivatives_are_those_of_differences, 0, IR_OPS);
    suite_add_tcase(s, c);
    return suite_run(s);
}
