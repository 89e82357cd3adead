/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * scatter, sort and cumulative, and a reduction of dilated rows: compiled for one thread and for
 * three, against the evaluator, bit for bit (the numbers are small integers, so sums are exact). */
#include "codegen/target.h"
#include "gradc_rt.h"
#include "ir/eval.h"
#include "tests/tiny_model.h"

#include <math.h>

/* Parameters and the instructions of @forward, whose last line returns. */
static const struct { const char *params, *body;
} cases[] = {
    /* rows of a table, with slices; indices repeat, some are bad */
    {"input %x : f32[50,19], input %i : i64[40,1], input %u : f32[40,19]",
     "%y = scatter %x, %i, %u combine=sum dims=[0] batch=0 : f32[50,19]"},
    {"input %x : f32[50,19], input %i : i64[40,1], input %u : f32[40,19]",
     "%y = scatter %x, %i, %u combine=set dims=[0] batch=0 : f32[50,19]"},
    {"input %x : f64[50,19], input %i : i32[40,1], input %u : f64[40,19]",
     "%y = scatter %x, %i, %u combine=max dims=[0] batch=0 : f64[50,19]"},
    {"input %x : i32[50,3], input %i : u8[40,1], input %u : i32[40,3]",
     "%y = scatter %x, %i, %u combine=min dims=[0] batch=0 : i32[50,3]"},
    /* elements */
    {"input %x : f32[100], input %i : i64[300,1], input %u : f32[300]",
     "%y = scatter %x, %i, %u combine=sum dims=[0] batch=0 : f32[100]"},
    {"input %x : f32[9,7], input %i : i64[5,8,2], input %u : f32[5,8]",
     "%y = scatter %x, %i, %u combine=prod dims=[0,1] batch=0 : f32[9,7]"},
    /* batches; a slice outside the selected dimension; large enough for many tasks */
    {"input %x : f32[6,10,4], input %i : i64[6,3,1], input %u : f32[6,3,4]",
     "%y = scatter %x, %i, %u combine=sum dims=[1] batch=1 : f32[6,10,4]"},
    {"input %x : f32[40,30,35], input %i : i64[40,11,1], input %u : f32[40,11,30]",
     "%y = scatter %x, %i, %u combine=sum dims=[2] batch=1 : f32[40,30,35]"},
    {"input %x : f32[30,1000], input %i : i64[25,1], input %u : f32[25,1000]",
     "%y = scatter %x, %i, %u combine=sum dims=[0] batch=0 : f32[30,1000]"},
    {"input %x : f32[4,9000], input %i : i64[4,1], input %u : f32[4,4]",
     "%y = scatter %x, %i, %u combine=sum dims=[1] batch=0 : f32[4,9000]"},
    /* operands that are expressions (and good indices, else the entry ends before the sum), and a
     * bool */
    {"input %i : u32[40,1], input %u : f32[40,19]",
     "%z = constant value=splat(0) : f32[50,19]\n  %n = neg %u : f32[40,19]\n  %s = scatter %z, "
     "%i, %n combine=sum dims=[0] batch=0 : f32[50,19]\n"
     "  %y = add %s, %s : f32[50,19]"},
    {"input %x : bool[70], input %i : i64[30,1], input %u : bool[30]",
     "%y = scatter %x, %i, %u combine=or dims=[0] batch=0 : bool[70]"},
    /* running values along each axis */
    {"input %x : f32[13,29]",
     "%y = cumulative %x combine=sum axis=0 reverse=0 exclusive=0 : f32[13,29]"},
    {"input %x : f32[13,29]",
     "%y = cumulative %x combine=sum axis=1 reverse=1 exclusive=1 : f32[13,29]"},
    {"input %x : f32[21,40,33]",
     "%y = cumulative %x combine=max axis=1 reverse=1 exclusive=0 : f32[21,40,33]"},
    {"input %x : i64[3,5000]", "%n = neg %x : i64[3,5000]\n  %y = cumulative %n combine=min axis=0 "
                               "reverse=0 exclusive=1 : i64[3,5000]"},
    {"input %x : f32[1]", "%y = cumulative %x combine=sum axis=0 reverse=0 exclusive=0 : f32[1]"},
    {"input %x : f32[3,20000]",
     "%y = cumulative %x combine=sum axis=0 reverse=0 exclusive=0 : f32[3,20000]"},
    /* three lanes at the end of a row, which does not begin them at a multiple of three */
    {"input %x : f64[3], input %v : f64[]",
     "%p = pad %x, %v low=[0] high=[0] interior=[2] : f64[7]\n  %y = reduce %p combine=sum "
     "axes=[0] : f64[]"},
    {"input %x : f32[4], input %v : f32[]",
     "%p = pad %x, %v low=[1] high=[0] interior=[2] : f32[11]\n  %y = reduce %p combine=sum "
     "axes=[0] : f32[]"},
    /* order: many equal keys, NaN, payloads */
    {"input %x : f32[57], input %p : i32[57]",
     "%k, %y = sort %x, %p axis=0 descending=0 : f32[57], i32[57]"},
    {"input %x : f32[57], input %p : i32[57]",
     "%k, %y = sort %x, %p axis=0 descending=1 : f32[57], i32[57]"},
    {"input %x : f32[57], input %p : i32[57]",
     "%y, %k = sort %x, %p axis=0 descending=1 : f32[57], i32[57]"},
    {"input %x : i32[12,8,9], input %p : f64[12,8,9]",
     "%n = neg %x : i32[12,8,9]\n  %k, %y = sort %n, %p axis=1 descending=0 : i32[12,8,9], "
     "f64[12,8,9]"},
    {"input %x : u64[70,64]", "%y = sort %x axis=1 descending=0 : u64[70,64]"},
    {"input %x : f32[5,1]", "%y = sort %x axis=1 descending=0 : f32[5,1]"},
};
enum { CASES = sizeof cases / sizeof *cases };

/* Small numbers that repeat; indices reach a little outside on both sides; a NaN here and there in
 * what is sorted. */
static void fill(ir_literal *l, unsigned seed, bool nan)
{
    uint64_t s = 88172645463325252ull + seed * 977;
    for (int64_t i = 0; i < ir_count(&l->type); i++) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        int64_t v =
            (int64_t)(s % 13) - (ir_is_float(l->type.dtype) || ir_is_signed(l->type.dtype) ? 2 : 0);
        if (ir_is_float(l->type.dtype))
            ir_literal_set(l, i, nan && s % 7 == 0 ? NAN : (double)v);
        else
            ir_literal_set_int(l, i, l->type.dtype == IR_BOOL ? s % 3 == 0 : v);
    }
}

typedef gradc_rt_status entry2(gradc_rt_ctx *, const void *, const void *);

/* The text is parsed twice: the passes change a module. */
static void run(int c, uint32_t threads)
{
    const char *text = base_format(
        arena, "gir 1\nmodule \"m\"\nentry @forward(%s) {\n  %s\n  return (output \"y\" %%y)\n}\n",
        cases[c].params, cases[c].body);
    ir_module *plain = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(plain != NULL, "case %d: %s", c, first_error);
    const ir_func *f = plain->funcs.items[0];
    ir_literal *arg[8], *want[8];
    const void *in[8];
    bool bad = false;
    for (int i = 0; i < f->params.count; i++) {
        arg[i] = ir_literal_new(arena, &f->params.items[i].value->type);
        fill(arg[i], (unsigned)(c * 8 + i), strstr(cases[c].body, "sort") != NULL);
        in[i] = arg[i]->data;
    }
    ir_eval(arena, f, arg, want, &bad);
    cg_spec spec = {tiny_planned(ctx, arena, text), NULL};
    cg_request r = {.prefix = "t", .spec = &spec, .nspecs = 1, .level = 2, .threads = threads};
    cg_object *o = cg_compile(ctx, arena, &r);
    ck_assert_msg(o != NULL, "case %d: %s", c, first_error);
    cg_jit *jit = cg_jit_load(ctx, arena, o->bytes, o->size, NULL);
    ck_assert_msg(jit != NULL, "case %d: %s", c, first_error);
    gradc_rt_status (*init)(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *);
    entry2 *forward;
    *(void **)&init = cg_jit_symbol(jit, "t_init");
    *(void **)&forward = cg_jit_symbol(jit, "t_forward");
    gradc_rt_options options = {o->id, sizeof options, threads, 5, NULL, 0, 0};
    gradc_rt_ctx *rt;
    void *memory = aligned_alloc(64, (size_t)o->sizes.arena);
    ck_assert_int_eq(init(&rt, memory, (size_t)o->sizes.arena, &options), GRADC_RT_OK);
    size_t size = (size_t)ir_bytes(&want[0]->type);
    char *y = base_alloc(arena, size + 64);
    void *out[] = {y};
    gradc_rt_status status = forward(rt, in, out);
    ck_assert_msg(status == (bad ? GRADC_RT_E_INDEX : GRADC_RT_OK), "case %d: status %d", c,
                  (int)status);
    const ir_literal got = {.type = want[0]->type, .data = y};
    for (int64_t i = 0; i < ir_count(&got.type); i++) {
        double a = ir_literal_get(&got, i), b = ir_literal_get(want[0], i);
        ck_assert_msg(a == b || (isnan(a) && isnan(b)), "case %d, element %lld: %g instead of %g",
                      c, (long long)i, a, b);
    }
    gradc_rt_fini(rt);
    free(memory);
}

START_TEST(as_the_evaluator)
{
    run(_i, 1);
    run(_i, 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("single");
    TCase *t = tcase_create("single");
    tcase_add_checked_fixture(t, context_setup, context_teardown);
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, as_the_evaluator, 0, CASES);
    suite_add_tcase(s, t);
    return suite_run(s);
}
