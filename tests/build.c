/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Types, arenas, diagnostics and the builder. */
#include "ir/ir.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

START_TEST(sixteen_bit_floats_round_to_nearest_even)
{
    for (int h = 0; h < 65536; h++) {
        float x = ir_f16_to_f32((uint16_t)h), y = ir_bf16_to_f32((uint16_t)h);
        if (x == x)
            ck_assert_int_eq(ir_f16_from_f64(x), h);
        if (y == y)
            ck_assert_int_eq(ir_bf16_from_f64(y), h);
    }
    ck_assert_int_eq(ir_f16_from_f64(65519.0f), 0x7bff);
    ck_assert_int_eq(ir_f16_from_f64(65520.0f), 0x7c00);
    ck_assert_int_eq(ir_f16_from_f64(0x1p-25f), 0);
    ck_assert_int_eq(ir_f16_from_f64(0x1.8p-25f), 1);
    ck_assert_int_eq(ir_f16_from_f64(1.0f + 0x1p-11f), 0x3c00);
    ck_assert_int_eq(ir_f16_from_f64(1.0f + 0x1.8p-10f), 0x3c02);
    ck_assert(isnan(ir_f16_to_f32(ir_f16_from_f64(NAN))));
}
END_TEST

START_TEST(sizes_are_checked)
{
    int64_t n;
    ck_assert(!base_size_mul(INT64_MAX, 2, &n));
    ck_assert(!base_size_mul(-1, 2, &n));
    ck_assert(!base_size_add(INT64_MAX, 1, &n));
    ck_assert(!base_size_align(INT64_MAX - 3, 64, &n));
    ck_assert(base_size_align(65, 64, &n) && n == 128);
    ir_type t = ir_type_of(IR_F32, 3, (int64_t[]){0, INT64_MAX, 2});
    ck_assert(!ir_type_ok(&t));
}
END_TEST

START_TEST(each_failed_allocation_comes_back)
{
    for (volatile int n = 1;; n++) {
        base_ctx *ctx = base_ctx_new(NULL, NULL);
        base_fail_allocation(ctx, n, false);
        base_try frame;
        volatile bool done = false;
        if (!setjmp(base_try_push(ctx, &frame))) {
            base_arena *arena = base_arena_new(ctx);
            ir_module *m = ir_module_new(ctx, arena, "m");
            ir_func *f = ir_func_new(m, "f");
            ir_type t = ir_type_of(IR_F32, 2, (int64_t[]){3, 4});
            ir_value *x = ir_add_input(f, "x", &t);
            ir_builder b = ir_builder_new(f);
            ir_add_output(f, "y", ir_add(&b, ir_exp(&b, x), ir_splat(&b, &t, 1)));
            base_try_pop(ctx, &frame);
            done = true;
        } else {
            ck_assert(base_ctx_out_of_memory(ctx));
        }
        base_ctx_free(ctx);
        if (done) {
            ck_assert_int_gt(n, 10);
            break;
        }
    }
}
END_TEST

static int reports;
static char last[512];

static void sink(void *user, const base_diagnostic *d)
{
    (void)user;
    reports++;
    snprintf(last, sizeof last, "%s", d->text);
}

/* The environment lowers the limit of memory; nothing raises it. */
START_TEST(memory_has_a_limit)
{
    static const struct { const char *environment; size_t bytes; const char *due; } limits[] = {
        {"1048576", (size_t)2 << 20, "the limit of 1 MiB"},
        {"1000001", (size_t)2 << 20, "the limit of 1000001 bytes"},
        {"999999999999999", (size_t)21 << 30, "the limit of 20 GiB"},
        {"-1", (size_t)21 << 30, "the limit of 20 GiB"},
        {"", (size_t)21 << 30, "the limit of 20 GiB"},
    };
    for (volatile size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        setenv("GRADC_LIMIT_BYTES", limits[i].environment, 1);
        base_ctx *ctx = base_ctx_new(sink, NULL);
        unsetenv("GRADC_LIMIT_BYTES");
        base_try frame;
        *last = '\0';
        if (!setjmp(base_try_push(ctx, &frame))) {
            base_alloc(base_arena_new(ctx), limits[i].bytes);
            ck_abort_msg("%s: no limit", limits[i].environment);
        }
        ck_assert_msg(strstr(last, limits[i].due) != NULL, "%s: %s", limits[i].environment, last);
        base_ctx_free(ctx);
    }
    reports = 0;
}
END_TEST

START_TEST(builder_infers_and_refuses)
{
    base_ctx *ctx = base_ctx_new(sink, NULL);
    base_arena *arena = base_arena_new(ctx);
    ir_module *m = ir_module_new(ctx, arena, "m");
    ir_func *f = ir_func_new(m, "f");
    ir_type a = ir_type_of(IR_F32, 3, (int64_t[]){7, 3, 4}),
            w = ir_type_of(IR_F32, 2, (int64_t[]){4, 5});
    ir_type i = ir_type_of(IR_I64, 2, (int64_t[]){2, 1});
    ir_value *x = ir_add_input(f, "x", &a), *y = ir_add_input(f, "y", &w),
             *k = ir_add_input(f, "k", &i);
    ir_builder b = ir_builder_new(f);
    ck_assert_str_eq(ir_type_text(arena, &ir_matmul(&b, x, y)->type), "f32[7,3,5]");
    ck_assert_str_eq(
        ir_type_text(arena, &ir_matmul(&b, x, ir_transpose(&b, x, (int64_t[]){0, 2, 1}))->type),
        "f32[7,3,3]");
    ck_assert_str_eq(ir_type_text(arena, &ir_gather(&b, x, k, 1, (int64_t[]){0}, 0)->type),
                     "f32[2,3,4]");
    ck_assert_str_eq(ir_type_text(arena, &ir_gather(&b, x, k, 1, (int64_t[]){1}, 0)->type),
                     "f32[2,7,4]");
    ck_assert_str_eq(ir_type_text(arena, &ir_reduce(&b, IR_SUM, x, 2, (int64_t[]){0, 2})->type),
                     "f32[3]");
    ck_assert_str_eq(ir_type_text(arena, &ir_reduce_keep(&b, IR_MAX, x, 1, (int64_t[]){1})->type),
                     "f32[7,1,4]");
    const ir_value *s =
        ir_slice(&b, y, (int64_t[]){1, 0}, (int64_t[]){4, 5}, (int64_t[]){INT64_MAX, 4});
    ck_assert_str_eq(ir_type_text(arena, &s->type), "f32[1,2]");
    ck_assert_int_eq(IR_ATTR(s->def, slice)->stride.v[0], 4); /* no more than the extent */
    ck_assert_int_eq(IR_ATTR(s->def, slice)->stride.v[1], 4);
    ck_assert(!b.failed && reports == 0);
    ck_assert_ptr_null(ir_add(&b, x, y));
    ck_assert(b.failed && reports == 1);
    ck_assert_str_eq(last, "add: operand types differ: f32[7,3,4] and f32[4,5]");
    ck_assert_ptr_null(ir_exp(&b, NULL));
    ck_assert_int_eq(reports, 1);
    ck_assert_ptr_null(ir_exp(&b, k));
    ck_assert_str_eq(last, "exp: not defined for i64[2,1]");
    base_ctx_free(ctx);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("build");
    TCase *c = tcase_create("build");
    tcase_add_test(c, sixteen_bit_floats_round_to_nearest_even);
    tcase_add_test(c, sizes_are_checked);
    tcase_add_test(c, each_failed_allocation_comes_back);
    tcase_add_test(c, memory_has_a_limit);
    tcase_add_test(c, builder_infers_and_refuses);
    suite_add_tcase(s, c);
    return suite_run(s);
}
