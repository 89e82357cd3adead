/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Layout, fusion and the memory plan. Random functions with states in any order of dimensions,
 * compiled and run, give what the evaluator gives, on one thread and on three; plans that are
 * broken on purpose are caught; and small nets are cut, laid out and placed as they should be. */
#include "gradc_rt.h"
#include "passes/pass_utils.h"
#include "tests/graph_exact.h"
#include "tests/tiny_model.h"

#include <signal.h>

enum { SEEDS = 60, STATES = 4 };

static void run_passes(ir_module *m)
{
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(m, p, true);
}

/* ---- Random functions ---- */

static ir_func *random_entry(uint64_t seed)
{
    static const char *const names[STATES] = {"a", "b", "c", "d"};
    ir_module *m = ir_module_new(ctx, arena, "random");
    ir_func *f = ir_func_new(m, "forward_train");
    f->entry = true;
    uint64_t random = seed * 2 + 1;
    gen g = {.p = &exact_profile, .random = &random, .b = ir_builder_new(f)};
    const ir_type types[STATES] = {
        ir_type_of(IR_F64, 2, (int64_t[]){3, 4}), ir_type_of(IR_F64, 3, (int64_t[]){2, 4, 5}),
        ir_type_of(IR_F64, 4, (int64_t[]){2, 3, 4, 3}), ir_type_of(IR_F64, 1, (int64_t[]){4})};
    for (int i = 0; i < STATES; i++) {
        ir_state *s = ir_state_new(m, names[i], IR_PARAM, &types[i]);
        s->init = ir_literal_new(arena, &types[i]);
        for (int64_t k = 0; k < ir_count(&types[i]); k++)
            ir_literal_set(s->init, k, (double)((k * 7 + i) % 5 - 2));
        s->order = gen_order(&g, types[i].rank);
        s->ordered = true;
        gen_push(&g, gen_bounded(&g, ir_add_state(f, s), 4));
        gen_input(&g, &types[i]);
    }
    for (int i = 0; i < EXACT_STEPS; i++)
        gen_make(&g);
    for (int i = 0; i < 6; i++)
        ir_add_output(f, base_format(arena, "y%d", i), g.pool[g.n - 1 - i]);
    /* New values of states: something of the type, or another state as it was. */
    for (int i = 0; i < STATES; i++) {
        ir_value *v = gen_operand(&g, &types[i]), *old = f->params.items[2 * i].value;
        ir_add_update(f, m->states.items[i],
                      draw(&g, 2) ? v : gen_clamped(&g, ir_add(&g.b, v, old), GEN_LIMIT));
    }
    ir_built(&g.b);
    return f;
}

typedef gradc_rt_status entry2(gradc_rt_ctx *, const void *, const void *);

/* Runs a compiled module's forward_train: results into out, by result. */
static void run_compiled(ir_module *m, ir_literal *const *args, ir_literal **out, uint32_t threads)
{
    cg_spec spec = {m, NULL};
    cg_request r = {
        .prefix = "tiny", .spec = &spec, .nspecs = 1, .level = 1, .embed = true, .seed = 1};
    cg_object *o = cg_compile(ctx, arena, &r);
    ck_assert_msg(o != NULL, "%s", first_error);
    cg_jit *jit = cg_jit_load(ctx, arena, o->bytes, o->size, NULL);
    ck_assert_msg(jit != NULL, "%s", first_error);
    gradc_rt_status (*init)(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *);
    *(void **)&init = cg_jit_symbol(jit, "tiny_init");
    entry2 *entry;
    *(void **)&entry = cg_jit_symbol(jit, "tiny_forward_train");
    ck_assert(init && entry);
    const ir_func *f = ir_func_by_name(m, "forward_train");
    gradc_rt_ctx *rt;
    gradc_rt_options options = {o->id, sizeof options, threads, 1, NULL, 10, 0};
    void *memory = aligned_alloc(64, (size_t)o->sizes.arena), *in[64], *results[64];
    ck_assert_int_eq(init(&rt, memory, (size_t)o->sizes.arena, &options), GRADC_RT_OK);
    int nin = 0, nout = 0;
    for (int i = 0; i < f->params.count; i++)
        if (f->params.items[i].bind != IR_STATE)
            in[nin++] = args[i]->data;
    for (int i = 0; i < f->results.count; i++) {
        out[i] = ir_literal_new(arena, &f->results.items[i].value->type);
        if (f->results.items[i].bind != IR_STATE)
            results[nout++] = out[i]->data;
    }
    ck_assert_int_eq(entry(rt, in, results), GRADC_RT_OK);
    for (int i = 0; i < f->results.count; i++)
        if (f->results.items[i].bind == IR_STATE)
            ck_assert_int_eq(
                gradc_rt_param_get(rt, (size_t)f->results.items[i].state->index, out[i]->data),
                GRADC_RT_OK);
    gradc_rt_fini(rt);
    free(memory);
}

START_TEST(compiled_random_functions_give_what_the_evaluator_gives)
{
    for (uint64_t seed = (uint64_t)_i * SEEDS / 4; seed < (uint64_t)(_i + 1) * SEEDS / 4; seed++) {
        context_setup();
        ir_func *f = random_entry(seed), *g = random_entry(seed);
        ir_literal **args = exact_inputs(arena, f), *due[64], *got[64];
        for (int i = 0; i < f->params.count; i++)
            if (f->params.items[i].state)
                args[i] = f->params.items[i].state->init;
        ir_eval(arena, f, args, due, NULL);
        run_passes(g->module);
        run_compiled(g->module, args, got, seed % 2 ? 1 : 3);
        for (int i = 0; i < f->results.count; i++)
            exact_equal(seed, base_format(arena, "result %d", i), due[i], got[i]);
        context_teardown();
    }
}
END_TEST

/* Whichever results share a kernel, a call that does not want a result need not give the inputs
 * that only that result reads. */
START_TEST(no_result_needs_what_it_does_not_read)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        context_setup();
        ir_func *f = random_entry(seed);
        run_passes(f->module);
        uint64_t *wanted = base_array(arena, uint64_t, ir_number(f) + 1);
        match_wanted(f, wanted);
        for (int i = 0; i < f->plan->kernels.count; i++) {
            const ir_kernel *k = f->plan->kernels.items[i];
            for (int r = 0; r < k->reads.count; r++) {
                uint64_t due = wanted[k->reads.items[r]->id];
                ck_assert_msg(due >> 63 || !(k->wanted & ~due),
                              "seed %d: kernel %d for %llx reads what is for %llx", (int)seed, i,
                              (unsigned long long)k->wanted, (unsigned long long)due);
            }
        }
        context_teardown();
    }
}
END_TEST

/* ---- Small nets ---- */

static const ir_func *planned(const char *params, const char *body)
{
    const char *text = base_format(
        arena, "gir 1\nmodule \"m\"\nentry @forward(%s) {\n  %s\n  return (output \"y\" %%y)\n}\n",
        params, body);
    return ir_func_by_name(tiny_planned(ctx, arena, text), "forward");
}

START_TEST(the_sum_of_two_contractions_has_one_writer)
{
    const ir_func *f =
        planned("input %x : f32[4,5], input %w : f32[5,6], input %u : f32[5,6]",
                "%a = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[4,6]\n"
                "  %b = dot_general %x, %u lhs_contract=[1] rhs_contract=[0] : f32[4,6]\n"
                "  %s = add %a, %b : f32[4,6]\n  %y = neg %s : f32[4,6]");
    const ir_plan *s = f->plan;
    ck_assert_int_eq(s->kernels.count, 2);
    ck_assert_int_eq(s->kernels.items[0]->kind, IR_KERNEL_CONTRACTION);
    ck_assert_ptr_eq(s->kernels.items[0]->outputs.items[0], s->kernels.items[0]->anchor->result[0]);
    ck_assert_int_eq(s->kernels.items[1]->kind, IR_KERNEL_CONTRACTION);
    ck_assert_int_eq(s->kernels.items[1]->outputs.items[0]->def->op, IR_OP_neg);
}
END_TEST

/* An index that is computed, checked, left for backward, and counted in a statistic: all of it by
 * one kernel. */
START_TEST(a_checked_index_may_be_saved)
{
    const char *text = "gir 1\nmodule \"m\"\nsaved \"i\" : i64[3,1]\nstat \"last\" : "
                       "i64[3,1]\nparam \"w\" : f32[8]\n"
                       "entry @forward_train(input %a : i64[3,1], state %w : f32[8]) {\n"
                       "  %o = constant value=splat(1) : i64[3,1]\n  %i = add %a, %o : i64[3,1]\n  "
                       "%g = gather %w, %i dims=[0] batch=0 : f32[3]\n"
                       "  %l = mul %i, %o : i64[3,1]\n  %l2 = add %l, %a : i64[3,1]\n"
                       "  return (output \"y\" %g, update \"i\" %i, update \"last\" %l2)\n}\n";
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m != NULL, "%s", first_error);
    run_passes(m);
    const ir_func *f = ir_func_by_name(m, "forward_train");
    for (int i = 0; i < f->results.count; i++)
        if (f->results.items[i].state && f->results.items[i].state->kind == IR_STAT)
            ck_assert_int_gt(f->results.items[i].value->kernel->phase, f->plan->checked_phase);
}
END_TEST

/* What a call may find out of range inside a branch or a loop, in a function in a function too, it
 * finds before a state changes. */
START_TEST(a_state_is_written_after_checks_in_bodies)
{
    static const char *const run[] = {
        "%g, %n = cond %c, %w, %i then_body=@take else_body=@leave : f32[3], i64[3,1]",
        ("%n, %g, %t = scan %w, %i body=@turn consts=1 carries=1 length=2 reverse=0 live=0 : "
         "i64[3,1], f32[2,3], i64[]"),
        "%n, %g = while_loop %w, %i, %z test=@test body=@step consts=1 limit=3 : i64[3,1], f32[3]",
        "%g, %n = cond %c, %w, %i then_body=@inner else_body=@leave : f32[3], i64[3,1]",
    };
    const char *text = base_format(
        arena,
        "gir 1\nmodule \"m\"\nparam \"w\" : f32[8]\nstat \"mean\" : f32[8]\n"
        "func @take(%%w : f32[8], %%i : i64[3,1]) {\n  %%g = gather %%w, %%i dims=[0] batch=0 : "
        "f32[3]\n  return %%g, %%i\n}\n"
        "func @leave(%%w : f32[8], %%i : i64[3,1]) {\n  %%g = constant value=splat(0) : f32[3]\n  "
        "return %%g, %%i\n}\n"
        "func @inner(%%w : f32[8], %%i : i64[3,1]) {\n  %%c = constant value=true : bool[]\n"
        "  %%g, %%n = cond %%c, %%w, %%i then_body=@take else_body=@leave : f32[3], i64[3,1]\n  "
        "return %%g, %%n\n}\n"
        "func @turn(%%w : f32[8], %%i : i64[3,1]) {\n  %%g = gather %%w, %%i dims=[0] batch=0 : "
        "f32[3]\n  %%n = add %%i, %%i : i64[3,1]\n"
        "  return %%n, %%g\n}\n"
        "func @test(%%w : f32[8], %%i : i64[3,1], %%z : f32[3]) {\n  %%c = constant value=true : "
        "bool[]\n  return %%c\n}\n"
        "func @step(%%w : f32[8], %%i : i64[3,1], %%z : f32[3]) {\n  %%g = gather %%w, %%i "
        "dims=[0] batch=0 : f32[3]\n"
        "  %%n = add %%i, %%i : i64[3,1]\n  return %%n, %%g\n}\n"
        "entry @forward_train(input %%c : bool[], input %%i : i64[3,1], input %%z : f32[3], state "
        "%%w : f32[8], state %%mean : f32[8]) {\n"
        "  %%m = add %%mean, %%mean : f32[8]\n  %s\n  return (output \"g\" %%g, output \"n\" %%n, "
        "update \"mean\" %%m)\n}\n",
        run[_i]);
    const ir_func *f = ir_func_by_name(tiny_planned(ctx, arena, text), "forward_train");
    ck_assert_int_ge(f->plan->checked_phase, 0);
    ck_assert_int_gt(f->results.items[2].value->kernel->phase, f->plan->checked_phase);
}
END_TEST

/* No kernel at all: nothing is sorted, copied or placed. */
START_TEST(a_function_may_have_nothing_to_do)
{
    ir_module *m = ir_module_new(ctx, arena, "idle");
    ir_func *f = ir_func_new(m, "forward");
    f->entry = true;
    ir_add_input(f, "x", &(ir_type){IR_F32, 1, {3}});
    run_passes(m);
    ck_assert_int_eq(f->plan->kernels.count, 0);
    const cg_spec spec = {m, NULL};
    const cg_request r = {.prefix = "t", .spec = &spec, .nspecs = 1, .level = 1};
    ck_assert_msg(cg_compile(ctx, arena, &r) != NULL, "%s", first_error);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("plan");
    TCase *c = tcase_create("random");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, compiled_random_functions_give_what_the_evaluator_gives, 0, 4);
    tcase_add_test(c, no_result_needs_what_it_does_not_read);
    suite_add_tcase(s, c);
    c = tcase_create("nets");
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_test(c, the_sum_of_two_contractions_has_one_writer);
    tcase_add_test(c, a_checked_index_may_be_saved);
    tcase_add_loop_test(c, a_state_is_written_after_checks_in_bodies, 0, 4);
    tcase_add_test(c, a_function_may_have_nothing_to_do);
    suite_add_tcase(s, c);
    return suite_run(s);
}
