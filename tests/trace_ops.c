/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Tracing: every operation against torch, and printing. */
#include "files/safetensors.h"
#include "tests/traced.h"

#include <math.h>
#include <stdlib.h>

/* ---- Operations against torch ---- */

enum { OPERANDS = 5 };
typedef struct op_case {
    const char *name;
    int operands;
    gradc_tensor *(*call)(gradc_tensor **x, gradc_tensor **also);
} op_case;

#define CASE(text, count, expression)                                              \
    static gradc_tensor *CALL(__LINE__)(gradc_tensor * *x, gradc_tensor * *second) \
    {                                                                              \
        gradc_tensor *also = NULL, *piece[3] = {NULL}, *y = (expression);          \
        (void)piece;                                                               \
        *second = also;                                                            \
        return y;                                                                  \
    }
#define CALL(line) CALL_(line)
#define CALL_(line) call_##line
#include "tests/trace_cases.def"
#define CASE(text, count, expression) {text, count, CALL(__LINE__)},
static const op_case cases[] = {
#include "tests/trace_cases.def"
};
enum { CASES = sizeof cases / sizeof *cases };

static base_ctx *ctx;
static base_arena *arena;
static ir_tensors saved;

static ir_literal *saved_tensor(const char *name, const char *what, int i)
{
    return ir_tensor_by_name(&saved, i < 0 ? base_format(arena, "%s/%s", name, what)
                                           : base_format(arena, "%s/%s%d", name, what, i));
}

static void load(void)
{
    ctx = base_ctx_new(NULL, NULL);
    arena = base_arena_new(ctx);
    ck_assert_msg(safetensors_read_file(arena, "tests/fixtures/trace.safetensors", &saved), "%s",
                  base_ctx_why(ctx));
    setup();
}

static void unload(void)
{
    teardown();
    base_ctx_free(ctx);
}

/* The value of x is that of the literal, as torch's double arithmetic rounds it. */
static void check_value(const char *name, const char *what, gradc_tensor *x, const ir_literal *due)
{
    check_no_error(name);
    ck_assert_msg(x != NULL, "%s: no %s", name, what);
    ck_assert_msg(ir_type_eq(&x->type, &due->type), "%s: %s is %s, torch has %s", name, what,
                  ir_type_text(arena, &x->type), ir_type_text(arena, &due->type));
    const void *data = gradc_data(g, x);
    check_no_error(name);
    ir_literal mine = {x->type, (void *)(uintptr_t)data};
    double largest = 0;
    for (int64_t i = 0; i < ir_count(&due->type); i++) {
        double v = fabs(ir_literal_get(due, i));
        largest = isfinite(v) && v > largest ? v : largest;
    }
    double allowed = !ir_is_float(x->type.dtype) ? 0
                     : x->type.dtype == IR_F16   ? 1e-3
                                                 : 4e-6 * (1 + largest);
    for (int64_t i = 0; i < ir_count(&due->type); i++) {
        double a = ir_literal_get(&mine, i), b = ir_literal_get(due, i);
        bool same = isnan(b) ? isnan(a) : isinf(b) ? a == b : fabs(a - b) <= allowed;
        ck_assert_msg(same, "%s: %s[%lld] is %.9g, torch has %.9g", name, what, (long long)i, a, b);
    }
}

static void check_grads(const op_case *c, gradc_tensor *y, gradc_tensor **x)
{
    const ir_literal *ct = saved_tensor(c->name, "ct", -1);
    if (!ct)
        return;
    gradc_tensor *cotangent = gradc_from(g, (gradc_dtype)ct->type.dtype,
                                         gradc_shape_from(ct->type.rank, ct->type.dim), ct->data);
    cotangent = gradc_to(g, cotangent, gradc_dtype_of(y));
    ck_assert_msg(!gradc_backward(g, y, cotangent, 0), "%s: %s", c->name, gradc_error(g));
    for (int i = 0; i < c->operands; i++) {
        const ir_literal *due = saved_tensor(c->name, "grad", i);
        gradc_tensor *grad = due ? gradc_grad(g, x[i]) : NULL;
        if (due && !grad) { /* nothing flows, and torch's is zero too */
            for (int64_t k = 0; k < ir_count(&due->type); k++)
                ck_assert_msg(ir_literal_get(due, k) == 0, "%s: operand %d has no gradient",
                              c->name, i);
        } else if (due) {
            check_value(c->name, base_format(arena, "the gradient of operand %d", i), grad, due);
        }
    }
}

START_TEST(operations_are_torchs)
{
    const op_case *c = &cases[_i];
    gradc_tensor *x[OPERANDS] = {NULL}, *also = NULL;
    for (int i = 0; i < c->operands; i++) {
        const ir_literal *in = saved_tensor(c->name, "in", i);
        ck_assert_msg(in != NULL, "%s has no operand %d", c->name, i);
        x[i] = gradc_from(g, (gradc_dtype)in->type.dtype,
                          gradc_shape_from(in->type.rank, in->type.dim), in->data);
        if (ir_is_float(in->type.dtype))
            ck_assert_int_eq(gradc_set_requires_grad(g, x[i], 1), 0);
    }
    ck_assert_ptr_null(saved_tensor(c->name, "in", c->operands));
    gradc_tensor *y = c->call(x, &also);
    check_no_error(c->name);
    const ir_literal *fn = saved_tensor(c->name, "fn", -1);
    const char *name = base_strndup(arena, fn->data, (size_t)ir_count(&fn->type));
    ck_assert_msg(!strcmp(gradc_grad_fn(y), name), "%s: %s, torch says %s", c->name,
                  gradc_grad_fn(y), name);
    check_grads(c, y, x); /* which makes the result known too */
    check_value(c->name, "the result", y, saved_tensor(c->name, "out", 0));
    if (saved_tensor(c->name, "out", 1))
        check_value(c->name, "the second result", also, saved_tensor(c->name, "out", 1));
}
END_TEST

static bool computes_wide(const char *name)
{
    enum { ANY = 0, FLOATS = 0, PROMOTE = 0, REAL = 0, SPREAD = 0, NUMBER = 0, WIDE = 1 };
    static const struct {
        const char *name;
        bool wide;
    } rows[] = {
#define OP(name, signature, grad, types, build, extra) {#name, (types) != 0},
#include "frontend/trace/ops.def"
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        if (strlen(rows[r].name) == strcspn(name, ".") &&
            !strncmp(rows[r].name, name, strlen(rows[r].name)))
            return rows[r].wide;
    return false;
}

/* The saved tensor as `narrow` holds its floats, in type t; others as they are. */
static gradc_tensor *rounded(const ir_literal *from, ir_dtype narrow, ir_dtype t)
{
    gradc_tensor *x = gradc_from(g, (gradc_dtype)from->type.dtype,
                                 gradc_shape_from(from->type.rank, from->type.dim), from->data);
    return from->type.dtype == IR_F32
               ? gradc_detach(g, gradc_to(g, gradc_to(g, x, (gradc_dtype)narrow), (gradc_dtype)t))
               : x;
}

/* Each element of x is that of y rounded to x's type, or next to that where y is halfway. */
static void check_rounded(const char *name, const char *what, gradc_tensor *x, gradc_tensor *y)
{
    check_no_error(name);
    if (!x && !y)
        return;
    ck_assert_msg(x && y, "%s: %s is there in one type only", name, what);
    ir_literal a = {x->type, (void *)(uintptr_t)gradc_data(g, x)},
               b = {y->type, (void *)(uintptr_t)gradc_data(g, y)};
    check_no_error(name);
    double unit = x->type.dtype == IR_F16    ? 0x1p-11
                  : x->type.dtype == IR_BF16 ? 0x1p-8
                                             : 0,
           least = x->type.dtype == IR_F16 ? 0x1p-24 : 0x1p-120;
    for (int64_t i = 0; i < ir_count(&y->type); i++) {
        double v = ir_literal_get(&a, i), w = ir_literal_get(&b, i);
        bool same = isnan(w)               ? isnan(v)
                    : isinf(w) || isinf(v) ? v == w
                                           : fabs(v - w) <= unit * fabs(w) * 1.001 + least;
        ck_assert_msg(same, "%s: %s[%lld] is %.9g in %s, %.9g in f32", name, what, (long long)i, v,
                      ir_dtypes[x->type.dtype].name, w);
    }
}

/* An operation of several primitives gives in f16 and bf16 what it gives in f32, rounded once; so
 * do its gradients. */
START_TEST(short_floats_round_once)
{
    const op_case *c = &cases[_i];
    const ir_literal *ct = saved_tensor(c->name, "ct", -1);
    for (int k = 0; k < 2 && computes_wide(c->name); k++) {
        ir_dtype narrow = k ? IR_BF16 : IR_F16;
        gradc_tensor *x[2][OPERANDS] = {{NULL}}, *y[2], *also[2];
        for (int w = 0; w < 2; w++) {
            ir_dtype t = w ? IR_F32 : narrow;
            for (int i = 0; i < c->operands; i++) {
                const ir_literal *in = saved_tensor(c->name, "in", i);
                x[w][i] = rounded(in, narrow, t);
                if (ir_is_float(in->type.dtype))
                    ck_assert_int_eq(gradc_set_requires_grad(g, x[w][i], 1), 0);
            }
            y[w] = c->call(x[w], &also[w]);
            check_no_error(c->name);
            if (ct && gradc_requires_grad(y[w]))
                ck_assert_msg(!gradc_backward(g, y[w], rounded(ct, narrow, y[w]->type.dtype), 0),
                              "%s: %s", c->name, gradc_error(g));
        }
        check_rounded(c->name, "the result", y[0], y[1]);
        check_rounded(c->name, "the second result", also[0], also[1]);
        for (int i = 0; i < c->operands; i++)
            check_rounded(c->name, base_format(arena, "the gradient of operand %d", i),
                          gradc_grad(g, x[0][i]), gradc_grad(g, x[1][i]));
    }
}
END_TEST

/* Every row of the table, and every case of the script, is tested. */
START_TEST(all_operations_are_tested)
{
    static const char *const rows[] = {
#define OP(name, signature, grad, types, build, extra) #name,
#include "frontend/trace/ops.def"
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        bool found = false;
        for (int i = 0; i < CASES; i++)
            found |= !strcmp(cases[i].name, rows[r]);
        ck_assert_msg(found, "gradc_%s has no case", rows[r]);
    }
    for (int t = 0; t < saved.count; t++) {
        const char *name =
            base_strndup(arena, saved.items[t].name, strcspn(saved.items[t].name, "/"));
        bool found = !strcmp(name, "print");
        for (int i = 0; i < CASES; i++)
            found |= !strcmp(cases[i].name, name);
        ck_assert_msg(found, "%s is not used", saved.items[t].name);
    }
}
END_TEST

START_TEST(prints_as_torch)
{
    for (int i = 0; saved_tensor("print", "in", i); i++) {
        const ir_literal *in = saved_tensor("print", "in", i),
                         *due = saved_tensor("print", "text", i);
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        gradc_tensor *x = gradc_from(g, (gradc_dtype)in->type.dtype,
                                     gradc_shape_from(in->type.rank, in->type.dim), in->data);
        ck_assert_int_eq(gradc_print(g, f, x), 0);
        fclose(f);
        const char *torch = base_strndup(arena, due->data, (size_t)ir_count(&due->type));
        ck_assert_msg(!strcmp(text, torch), "%s\ntorch:\n%s", text, torch);
        free(text);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace_ops");
    TCase *ops = tcase_create("operations");
    tcase_add_checked_fixture(ops, load, unload);
    tcase_add_loop_test(ops, operations_are_torchs, 0, CASES);
    tcase_add_loop_test(ops, short_floats_round_once, 0, CASES);
    tcase_add_test(ops, all_operations_are_tested);
    tcase_set_timeout(ops, 60);
    tcase_add_test(ops, prints_as_torch);
    suite_add_tcase(s, ops);
    return suite_run(s);
}
