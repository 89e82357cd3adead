/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The size of generated code: LLVM's time on a function grows faster than the function, so no
 * function may grow with the model. Code that is split for that computes the same. */
#include "gradc_rt.h"
#include "ir/kernels.h"
#include "tests/tiny_model.h"

#include <math.h>

/* Instructions of an entry, of a kernel; kernels of a long function here. */
enum { LONGEST = 1500, LARGEST = 10000, KERNELS = 600 };

static cg_object *compiled(const ir_module *m)
{
    cg_spec spec = {(ir_module *)m, NULL};
    cg_request r = {
        .prefix = "tiny", .spec = &spec, .nspecs = 1, .level = 1, .embed = true, .seed = 1};
    cg_object *o = cg_compile(ctx, arena, &r);
    ck_assert_msg(o != NULL, "%s", first_error);
    return o;
}

/* Instructions of the longest function, and how many all have. */
static int longest_function(cg_object *o, int *total)
{
    size_t size;
    const char *text = cg_text_of(o, false, &size), *end = text + size;
    int longest = 0, lines = 0;
    *total = 0;
    for (const char *at = text; at < end; at++) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        next = next ? next : end;
        lines = !strncmp(at, "define ", 7) ? 0 : lines + (*at == ' ');
        longest = lines > longest ? lines : longest;
        *total += *at == ' ';
        at = next;
    }
    return longest;
}

/* ---- Entries ---- */

/* A list of kernels, each of which reads what the one before has written; one of them looks up a
 * row by an index that may be wrong. */
static ir_value *long_list(ir_builder *b, ir_value *x, ir_value *w, ir_value *index)
{
    const int64_t first = 0, second = 1;
    for (int i = 0; i < KERNELS; i++)
        x = i == KERNELS / 2 ? ir_gather(b, x, index, 1, &first, 0)
                             : ir_dot_general(b, x, w, 0, NULL, NULL, 1, &second, &first);
    return x;
}

static ir_func *body_of(ir_module *m, const ir_value *x, const ir_value *w, const ir_value *index,
                        bool counts)
{
    ir_func *f = ir_func_new(m, "body");
    ir_value *v = ir_add_input(f, NULL, &w->type), *k = ir_add_input(f, NULL, &index->type),
             *z = ir_add_input(f, NULL, &x->type);
    ir_builder b = ir_builder_new(f);
    ir_add_output(f, NULL, long_list(&b, z, v, k));
    if (counts)
        ir_add_output(f, NULL, ir_neg(&b, z));
    return f;
}

enum { IN_ENTRY, IN_LOOP, IN_BRANCH, PLACES };

/* y = what the list makes of x; the statistic adds y up. */
static ir_module *long_model(int place)
{
    ir_module *m = ir_module_new(ctx, arena, "long");
    ir_func *f = ir_func_new(m, "forward_train");
    f->entry = true;
    const ir_type type = ir_type_of(IR_F32, 2, (int64_t[]){4, 4}),
                  rows = ir_type_of(IR_I64, 2, (int64_t[]){4, 1}), flag = ir_scalar_type(IR_BOOL);
    ir_state *mean = ir_state_new(m, "mean", IR_STAT, &type),
             *weight = ir_state_new(m, "w", IR_PARAM, &type);
    weight->init = ir_literal_new(arena, &type);
    for (int64_t i = 0; i < 4; i++) /* rotates the columns: numbers stay small */
        ir_literal_set(weight->init, i * 4 + (i + 1) % 4, 1);
    ir_value *x = ir_add_input(f, "x", &type), *index = ir_add_input(f, "i", &rows),
             *c = ir_add_input(f, "c", &flag);
    ir_value *w = ir_add_state(f, weight), *y = NULL;
    ir_builder b = ir_builder_new(f);
    if (place == IN_ENTRY)
        y = long_list(&b, x, w, index);
    if (place == IN_LOOP)
        y = ir_build1(&b, IR_OP_scan, (ir_value *[]){w, index, x}, 3,
                      &(ir_attrs){.scan = {.body = body_of(m, x, w, index, true),
                                           .consts = 2,
                                           .carries = 1,
                                           .length = 2}});
    if (place == IN_BRANCH) {
        ir_func *idle = ir_func_new(m, "idle");
        ir_add_input(idle, NULL, &type);
        ir_add_input(idle, NULL, &rows);
        ir_add_output(idle, NULL, ir_add_input(idle, NULL, &type));
        y = ir_build1(
            &b, IR_OP_cond, (ir_value *[]){c, w, index, x}, 4,
            &(ir_attrs){.cond = {.then_body = body_of(m, x, w, index, false), .else_body = idle}});
    }
    ir_add_output(f, "y", y);
    ir_add_update(f, mean, ir_add(&b, y, ir_add_state(f, mean)));
    ir_built(&b);
    ir_verify(m);
    return m;
}

static ir_literal *literal(ir_dtype t, int rank, int64_t rows, int64_t columns, int64_t step)
{
    ir_type type = ir_type_of(t, rank, (int64_t[]){rows, columns});
    ir_literal *l = ir_literal_new(arena, &type);
    for (int64_t i = 0; i < ir_count(&type); i++)
        ir_literal_set(l, i, (double)((i * step + 1) % 4));
    return l;
}

typedef gradc_rt_status entry2(gradc_rt_ctx *, const void *, const void *);

/* A context of the object, its memory to be freed with the arena, and the entry of this name. */
static gradc_rt_ctx *opened(const cg_object *o, uint32_t threads, const char *name, entry2 **entry)
{
    cg_jit *jit = cg_jit_load(ctx, arena, o->bytes, o->size, NULL);
    ck_assert_msg(jit != NULL, "%s", first_error);
    gradc_rt_status (*init)(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *);
    *(void **)&init = cg_jit_symbol(jit, "tiny_init");
    *(void **)entry = cg_jit_symbol(jit, name);
    const gradc_rt_options options = {o->id, sizeof options, threads, 1, NULL, 10, 0};
    gradc_rt_ctx *rt;
    ck_assert_int_eq(init(&rt, base_alloc(arena, (size_t)o->sizes.arena + 1024),
                          (size_t)o->sizes.arena, &options),
                     GRADC_RT_OK);
    return rt;
}

/* Calls forward_train of two new contexts: with the index as it is, into y and mean, and with one
 * that is out of range, which must fail and leave the statistic alone. */
static void call(const cg_object *o, const ir_literal *x, ir_literal *index, uint32_t threads,
                 float *y, float *mean)
{
    const bool yes = true;
    for (int bad = 0; bad < 2; bad++) {
        entry2 *entry;
        gradc_rt_ctx *rt = opened(o, threads, "tiny_forward_train", &entry);
        float after[16], other[16];
        ir_literal_set_int(index, 3, bad ? 4 : 2);
        const void *in[] = {x->data, index->data, &yes};
        void *out[] = {bad ? other : y};
        ck_assert_int_eq(entry(rt, in, out), bad ? GRADC_RT_E_INDEX : GRADC_RT_OK);
        ck_assert_int_eq(gradc_rt_param_get(rt, 0, bad ? after : mean), GRADC_RT_OK);
        for (int i = 0; i < 16 && bad; i++)
            ck_assert_float_eq(after[i], 0);
        gradc_rt_fini(rt);
    }
}

START_TEST(a_long_list_of_kernels_is_cut_and_computes_what_it_did)
{
    ir_module *m = long_model(_i), *plain = long_model(_i);
    ir_literal *x = literal(IR_F32, 2, 4, 4, 3), *index = literal(IR_I64, 2, 4, 1, 1),
               *c = literal(IR_BOOL, 0, 0, 0, 1), *due[2];
    ir_literal_set_int(index, 3, 2);
    const ir_func *f = ir_func_by_name(plain, "forward_train");
    ir_literal *args[] = {x, index, c, plain->states.items[1]->init, literal(IR_F32, 2, 4, 4, 4)};
    memset(args[4]->data, 0, 64);
    ir_eval(arena, f, args, due, NULL);
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(m, p, true);
    cg_object *o = compiled(m);
    int total;
    ck_assert_int_lt(longest_function(o, &total), LONGEST);
    ck_assert_int_gt(total, 2 * KERNELS);
    for (uint32_t threads = 1; threads < 4; threads += 2) {
        float y[16], mean[16];
        call(o, x, index, threads, y, mean);
        ck_assert_mem_eq(y, due[0]->data, sizeof y);
        ck_assert_mem_eq(mean, due[1]->data, sizeof mean);
    }
}
END_TEST

/* ---- Kernels ---- */

static ir_module *new_model(ir_builder *b)
{
    ir_module *m = ir_module_new(ctx, arena, "wide");
    ir_func *f = ir_func_new(m, "forward");
    f->entry = true;
    *b = ir_builder_new(f);
    return m;
}

enum { MANY = 2000 };

/* Pieces of different length, cut out of one tensor. */
static void many_pieces(ir_builder *b)
{
    ir_value *x = ir_add_input(b->func, "x", &(ir_type){IR_F32, 2, {64, 4}}),
             **piece = base_array(arena, ir_value *, MANY);
    for (int i = 0; i < MANY; i++)
        piece[i] = ir_slice_axis(b, x, 0, i % 13, i % 13 + 1 + i * 7 % 50);
    ir_add_output(b->func, "y", ir_concat(b, piece, MANY, 0));
}

/* Pieces that are computed. */
static void computed_pieces(ir_builder *b)
{
    ir_value *x = ir_add_input(b->func, "x", &(ir_type){IR_F32, 1, {2 * MANY}}),
             **piece = base_array(arena, ir_value *, MANY);
    for (int i = 0; i < MANY; i++)
        piece[i] = ir_exp(b, ir_slice_axis(b, x, 0, 2 * i, 2 * i + 2));
    for (int i = 0; i < MANY / 2; i++) {
        ir_value *swap = piece[i];
        piece[i] = piece[MANY - 1 - i];
        piece[MANY - 1 - i] = swap;
    }
    ir_add_output(b->func, "y", ir_concat(b, piece, MANY, 0));
}

/* A tensor split into many, each of which goes into a long chain. */
static void long_chain(ir_builder *b)
{
    ir_value *x = ir_add_input(b->func, "x", &(ir_type){IR_F32, 1, {2 * MANY}}),
             *y = ir_slice_axis(b, x, 0, 0, 2);
    for (int i = 1; i < MANY; i++)
        y = ir_add(b, ir_tanh(b, y), ir_slice_axis(b, x, 0, 2 * i, 2 * i + 2));
    ir_add_output(b->func, "y", y);
}

/* A sum of very many terms, as a tree. */
static void wide_sum(ir_builder *b)
{
    ir_value *x = ir_add_input(b->func, "x", &(ir_type){IR_F32, 1, {2 * MANY}}),
             **term = base_array(arena, ir_value *, MANY);
    for (int i = 0; i < MANY; i++)
        term[i] = ir_tanh(b, ir_slice_axis(b, x, 0, 2 * i, 2 * i + 2));
    for (int n = MANY; n > 1; n = (n + 1) / 2)
        for (int i = 0; i < n; i += 2)
            term[i / 2] = i + 1 < n ? ir_add(b, term[i], term[i + 1]) : term[i];
    ir_add_output(b->func, "y", term[0]);
}

/* The same after a contraction, whose kernel takes along what follows. */
static void long_epilogue(ir_builder *b)
{
    const int64_t one = 1, zero = 0;
    ir_value *x = ir_add_input(b->func, "x", &(ir_type){IR_F32, 2, {8, 8}}),
             *y = ir_dot_general(b, x, x, 0, NULL, NULL, 1, &one, &zero);
    for (int i = 1; i < MANY; i++)
        y = ir_tanh(b, ir_add(b, ir_sin(b, y), x));
    ir_add_output(b->func, "y", y);
}

/* A small expression that a tree would count 2^60 times: what is computed twice decides where it is
 * cut, and not its size. */
static void doubling(ir_builder *b)
{
    ir_value *y = ir_add_input(b->func, "x", &(ir_type){IR_F32, 1, {64}});
    for (int i = 0; i < 60; i++)
        y = ir_mul(b, y, ir_logistic(b, y));
    ir_add_output(b->func, "y", y);
}

static const struct { void (*build)(ir_builder *); int kernels;
} wide[] = {{many_pieces, 0}, {computed_pieces, 0}, {long_chain, 0},
            {wide_sum, 0},    {long_epilogue, 0},   {doubling, 5}};

START_TEST(no_kernel_grows_with_the_model)
{
    ir_builder b, c;
    ir_module *m = new_model(&b);
    new_model(&c);
    wide[_i].build(&b);
    wide[_i].build(&c);
    ir_built(&b);
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(m, p, true);
    if (wide[_i].kernels)
        ck_assert_int_eq(b.func->plan->kernels.count, wide[_i].kernels);
    cg_object *o = compiled(m);
    int total;
    ck_assert_int_lt(longest_function(o, &total), LARGEST);
    const ir_type *type = &c.func->params.items[0].value->type;
    ir_literal *x = ir_literal_new(arena, type), *due;
    for (int64_t i = 0; i < ir_count(type); i++)
        ir_literal_set(x, i, (double)(i % 17) / 16 - 0.5);
    ir_eval(arena, c.func, &x, &due, NULL);
    ir_literal *got = ir_literal_new(arena, &due->type);
    entry2 *entry;
    gradc_rt_ctx *rt = opened(o, 1, "tiny_forward", &entry);
    ck_assert_int_eq(entry(rt, (const void *[]){x->data}, (void *[]){got->data}), GRADC_RT_OK);
    for (int64_t i = 0; i < ir_count(&got->type); i++)
        ck_assert_double_eq_tol(ir_literal_get(got, i), ir_literal_get(due, i),
                                1e-4 * (1 + fabs(ir_literal_get(due, i))));
    gradc_rt_fini(rt);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("size");
    TCase *c = tcase_create("size");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_loop_test(c, a_long_list_of_kernels_is_cut_and_computes_what_it_did, 0, PLACES);
    tcase_add_loop_test(c, no_kernel_grows_with_the_model, 0, sizeof wide / sizeof *wide);
    suite_add_tcase(s, c);
    return suite_run(s);
}
