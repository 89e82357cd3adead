/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Random functions, the same before and after the passes. All numbers are small integers in f64, so sums in any order are
 * exact and the results must be equal, not close. The seed of a failure is in its message. */
#include "tests/random_function.h"
#include "tests/suite.h"

enum { SEEDS = 400 };

/* The function of a seed; the same one each time. */
static ir_func *random_function(ir_ctx *ctx, uint64_t seed, bool phases)
{
    ir_arena *arena = ir_arena_new(ctx);
    ir_module *m = ir_module_new(ctx, arena, "random");
    ir_func *f = ir_func_new(m, phases ? "joint" : "f");
    f->entry = true;
    gen g = {.random = seed * 2 + 1, .b = ir_builder_new(f)};
    const ir_type types[] = {ir_type_of(IR_F64, 2, (int64_t[]){3, 4}), ir_type_of(IR_F64, 1, (int64_t[]){4}),
                             ir_type_of(IR_F64, 3, (int64_t[]){2, 1, 3}),
                             ir_type_of(IR_F64, 0, NULL)};
    for (int i = 0; i < 4; i++)
        g.pool[g.n++] = ir_add_input(f, ir_format(arena, "x%d", i), &types[i]);
    for (int i = 0; i < STEPS; i++) {
        if (phases && i == STEPS / 2)
            g.b.phase = IR_BACKWARD;
        uint32_t kind = draw(&g, 16);
        ir_value *v = kind < 7 ? element(&g) : kind < 13 ? move(&g) : kind < 15 ? reduced(&g) : contracted(&g);
        ir_built(&g.b);
        more(&g, v);
    }
    for (int i = 0; i < 6; i++) {
        ir_value *v = g.pool[g.n - 1 - i * 3];
        bool backward = phases && (i < 3 || (v->def && v->def->phase == IR_BACKWARD));
        ir_add_output(f, ir_format(arena, "y%d", i), v);
        f->results.items[i].role = backward ? IR_GRADIENT : IR_DATA;
    }
    return f;
}

START_TEST(passes_keep_the_meaning)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        ir_ctx *ctx = ir_ctx_new(NULL, NULL);
        ir_arena *arena = ir_arena_new(ctx);
        ir_func *f = random_function(ctx, seed, false), *g = random_function(ctx, seed, false);
        static const char *const order[] = {"simplify", "fold", "cse", "simplify", "dce"};
        for (int i = 0; i < 5; i++)
            pass_run_one(g->module, pass_by_name(order[i]), true);
        ir_literal *args[8], *before[8], *after[8];
        inputs(arena, f, args);
        ir_eval(arena, f, args, before, NULL);
        ir_eval(arena, g, args, after, NULL);
        for (int i = 0; i < f->results.count; i++)
            equal(seed, f->results.items[i].name, before[i], after[i]);
        ir_ctx_free(ctx);
    }
}
END_TEST

START_TEST(halves_give_what_the_whole_gave)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        ir_ctx *ctx = ir_ctx_new(NULL, NULL);
        ir_arena *arena = ir_arena_new(ctx);
        ir_func *f = random_function(ctx, seed, true), *g = random_function(ctx, seed, true);
        ir_module *m = g->module;
        train_partition(m, g, "forward_train", "backward");
        ir_verify(m);
        ir_literal *args[8], *due[8], *got[256], *part[256], **state = ir_array(arena, ir_literal *, m->states.count + 1);
        inputs(arena, f, args);
        ir_eval(arena, f, args, due, NULL);
        for (int h = 0; h < 2; h++) {
            const ir_func *half = ir_func_by_name(m, h ? "backward" : "forward_train");
            ck_assert(half->params.count < 256 && half->results.count < 256);
            for (int i = 0; i < half->params.count; i++) {
                const ir_port *p = &half->params.items[i];
                part[i] = p->state ? state[p->state->index] : args[p->name[1] - '0'];
            }
            ir_eval(arena, half, part, got, NULL);
            for (int i = 0; i < half->results.count; i++) {
                const ir_port *p = &half->results.items[i];
                if (p->state)
                    state[p->state->index] = got[i];
                else
                    equal(seed, p->name, due[p->name[1] - '0'], got[i]);
            }
        }
        ir_ctx_free(ctx);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("passes_random");
    TCase *c = tcase_create("passes_random");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, passes_keep_the_meaning);
    tcase_add_test(c, halves_give_what_the_whole_gave);
    suite_add_tcase(s, c);
    return suite_run(s);
}
