/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Random functions, the same before and after the passes. All numbers are small integers, so sums
 * in any order are exact and the results must be equal, not close. The seed of a failure is in its
 * message. */
#include "tests/graph_exact.h"
#include "tests/suite.h"

#include <stdlib.h>

enum { SEEDS = 400, MOST = 256 };

/* The function of a seed; the same one each time. */
static ir_func *random_function(base_ctx *ctx, uint64_t seed, bool phases)
{
    base_arena *arena = base_arena_new(ctx);
    ir_module *m = ir_module_new(ctx, arena, "random");
    ir_func *f = ir_func_new(m, phases ? "joint" : "f");
    f->entry = true;
    uint64_t random = seed * 2 + 1;
    gen g = {.p = &exact_profile, .random = &random, .b = ir_builder_new(f)};
    static const int64_t shapes[][3] = {{3, 4}, {4}, {2, 1, 3}};
    static const int ranks[] = {2, 1, 3, 0};
    for (int i = 0; i < 4; i++) {
        ir_type t = ir_type_of(IR_F64, ranks[i], ranks[i] ? shapes[i] : NULL);
        gen_input(&g, &t);
    }
    for (int i = 0; i < EXACT_STEPS; i++) {
        if (phases && i == EXACT_STEPS / 2)
            g.b.phase = IR_BACKWARD;
        gen_make(&g);
    }
    ir_built(&g.b);
    for (int i = 0; i < 6; i++) {
        ir_value *v = g.pool[g.n - 1 - (g.n > 15 ? i * 3 : i % g.n)];
        bool backward = phases && (i < 3 || (v->def && v->def->phase == IR_BACKWARD));
        ir_add_output(f, base_format(arena, "y%d", i), v);
        f->results.items[i].role = backward ? IR_GRADIENT : IR_DATA;
    }
    pass_drop_functions(m);
    return f;
}

START_TEST(passes_keep_the_meaning)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        base_ctx *ctx = base_ctx_new(NULL, NULL);
        base_arena *arena = base_arena_new(ctx);
        ir_func *f = random_function(ctx, seed, false), *g = random_function(ctx, seed, false);
        static const char *const order[] = {"simplify", "fold", "factor", "cse", "simplify", "dce"};
        for (int i = 0; i < 5; i++)
            pass_run_one(g->module, pass_by_name(order[i]), true);
        ir_literal **args = exact_inputs(arena, f), *before[8], *after[8];
        ir_eval(arena, f, args, before, NULL);
        ir_eval(arena, g, args, after, NULL);
        for (int i = 0; i < f->results.count; i++)
            exact_equal(seed, f->results.items[i].name, before[i], after[i]);
        base_ctx_free(ctx);
    }
}
END_TEST

/* Which parameter of f has the name, and which result. */
static int number(const char *name)
{
    return atoi(name + 1);
}

START_TEST(halves_give_what_the_whole_gave)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        base_ctx *ctx = base_ctx_new(NULL, NULL);
        base_arena *arena = base_arena_new(ctx);
        ir_func *f = random_function(ctx, seed, true), *g = random_function(ctx, seed, true);
        ir_module *m = g->module;
        train_partition(m, g, "forward_train", "backward");
        ir_verify(m);
        ir_literal **args = exact_inputs(arena, f), *due[8], *got[MOST], *part[MOST],
                   **state = base_array(arena, ir_literal *, m->states.count + 1);
        ir_eval(arena, f, args, due, NULL);
        for (int h = 0; h < 2; h++) {
            const ir_func *half = ir_func_by_name(m, h ? "backward" : "forward_train");
            ck_assert(half->params.count < MOST && half->results.count < MOST);
            for (int i = 0; i < half->params.count; i++) {
                const ir_port *p = &half->params.items[i];
                part[i] = p->state ? state[p->state->index] : args[number(p->name)];
            }
            ir_eval(arena, half, part, got, NULL);
            for (int i = 0; i < half->results.count; i++) {
                const ir_port *p = &half->results.items[i];
                if (p->state)
                    state[p->state->index] = got[i];
                else
                    exact_equal(seed, p->name, due[number(p->name)], got[i]);
            }
        }
        base_ctx_free(ctx);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("passes_random");
    TCase *c = tcase_create("passes_random");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, passes_keep_the_meaning);
    tcase_add_test(c, halves_give_what_the_whole_gave);
    suite_add_tcase(s, c);
    return suite_run(s);
}
