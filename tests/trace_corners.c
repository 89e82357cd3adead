/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * First and second derivatives at corners against torch's in f64:
 * tests/fixtures/corners.safetensors, which make_corners.py writes. */
#include "api/trace.h"
#include "files/safetensors.h"
#include "tests/suite.h"

#include <math.h>

static gradc *g;

typedef struct corner {
    const char *name;
    int operands;
    gradc_tensor *(*call)(gradc_tensor **x);
} corner;

#define CASE(text, count, expression)                      \
    static gradc_tensor *CALL(__LINE__)(gradc_tensor * *x) \
    {                                                      \
        return expression;                                 \
    }
#define CALL(line) CALL_(line)
#define CALL_(line) call_##line
#include "tests/trace_corners.def"
#define CASE(text, count, expression) {text, count, CALL(__LINE__)},
static const corner corners[] = {
#include "tests/trace_corners.def"
};
enum { CASES = sizeof corners / sizeof *corners, OPERANDS = 2 };

static base_ctx *ctx;
static base_arena *arena;
static ir_tensors saved;

static void load(void)
{
    ctx = base_ctx_new(NULL, NULL);
    arena = base_arena_new(ctx);
    ck_assert_msg(safetensors_read_file(arena, "tests/fixtures/corners.safetensors", &saved), "%s",
                  base_ctx_why(ctx));
    g = gradc_new();
}

static void unload(void)
{
    gradc_free(g);
    base_ctx_free(ctx);
}

static const ir_literal *find(const corner *c, const char *what, int i)
{
    return ir_tensor_by_name(&saved, i < 0 ? base_format(arena, "%s/%s", c->name, what)
                                           : base_format(arena, "%s/%s%d", c->name, what, i));
}

static gradc_tensor *tensor(const ir_literal *l)
{
    ck_assert_ptr_nonnull(l);
    return gradc_from(g, (gradc_dtype)l->type.dtype, gradc_shape_from(l->type.rank, l->type.dim),
                      l->data);
}

static void check(const corner *c, const char *what, int i, gradc_tensor *x)
{
    const ir_literal *due = find(c, what, i);
    const double *data = gradc_data(g, x);
    ck_assert_msg(data && due, "%s: %s", c->name, gradc_error(g));
    for (int64_t k = 0; k < ir_count(&due->type); k++) {
        double a = data[k], b = ir_literal_get(due, k);
        bool same = isnan(b) ? isnan(a) : isinf(b) ? a == b : fabs(a - b) <= 1e-9 * (1 + fabs(b));
        ck_assert_msg(same, "%s: %s%d[%lld] is %.12g, torch has %.12g", c->name, what, i,
                      (long long)k, a, b);
    }
}

/* The gradients of the sum of all gradients, each times a tensor of numbers. */
static void check_second(const corner *c, gradc_tensor **x, gradc_tensor **grad)
{
    gradc_tensor *sum = NULL, *second[OPERANDS];
    for (int i = 0; i < c->operands; i++) {
        gradc_tensor *part =
            gradc_sum(g, gradc_mul(g, grad[i], tensor(find(c, "w", i))), GRADC_ALL, 0);
        sum = sum ? gradc_add(g, sum, part) : part;
    }
    ck_assert_msg(!gradc_gradients(g, sum, NULL, x, c->operands, 0, second), "%s: %s", c->name,
                  gradc_error(g));
    for (int i = 0; i < c->operands; i++)
        check(c, "second", i, second[i]);
}

START_TEST(corners_are_torchs)
{
    const corner *c = &corners[_i];
    gradc_tensor *x[OPERANDS], *grad[OPERANDS];
    for (int i = 0; i < c->operands; i++) {
        x[i] = tensor(find(c, "in", i));
        gradc_set_requires_grad(g, x[i], 1);
    }
    gradc_tensor *y = c->call(x);
    ck_assert_msg(
        !gradc_gradients(g, y, tensor(find(c, "ct", -1)), x, c->operands, GRADC_CREATE_GRAPH, grad),
        "%s: %s", c->name, gradc_error(g));
    for (int i = 0; i < c->operands; i++)
        check(c, "grad", i, grad[i]);
    if (find(c, "second", 0))
        check_second(c, x, grad);
}
END_TEST

/* The loss of a confident answer is small but exact: due is softplus(-x) or softplus(x) of torch
 * 2.13.0 in double. */
START_TEST(confident_answers_keep_their_loss)
{
    static const struct { float x, y; double due;
    } cases[] = {
        {12, 1, 6.14419347773280582e-06},  {16, 1, 1.12535168387176823e-07},
        {20, 1, 2.06115362031438080e-09},  {80, 1, 1.80485138784541530e-35},
        {-16, 0, 1.12535168387176823e-07}, {-20, 0, 2.06115362031438080e-09},
        {16, 0, 16.0000001125351683},      {0, 1, 0.693147180559945286},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradc_tensor *x = gradc_from(g, GRADC_F32, GRADC_SHAPE(1), &cases[i].x),
                     *y = gradc_from(g, GRADC_F32, GRADC_SHAPE(1), &cases[i].y);
        double loss = gradc_item(g, gradc_binary_cross_entropy_with_logits(g, x, y, GRADC_MEAN));
        ck_assert_msg(fabs(loss - cases[i].due) <= 1e-6 * cases[i].due, "%g, %g: %.9g, not %.9g",
                      cases[i].x, cases[i].y, loss, cases[i].due);
    }
    ck_assert_ptr_null(gradc_error(g));
}
END_TEST

/* Labels are of any type of integers: no class is what the ignored label, -100, becomes in it. */
START_TEST(labels_of_any_integer)
{
    static const gradc_dtype types[] = {GRADC_I8, GRADC_I16, GRADC_I32, GRADC_I64,
                                        GRADC_U8, GRADC_U16, GRADC_U32, GRADC_U64};
    gradc_tensor *x = gradc_from(g, GRADC_F32, GRADC_SHAPE(2, 3), (float[]){1, 2, 3, 3, 1, 0});
    gradc_tensor *y = gradc_from(g, GRADC_I64, GRADC_SHAPE(2), (int64_t[]){0, 1});
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        double loss =
            gradc_item(g, gradc_cross_entropy(g, x, gradc_to(g, y, types[i]), GRADC_MEAN));
        ck_assert_msg(fabs(loss - 2.288725992) < 1e-6, "type %d: %.9g", (int)types[i], loss);
    }
    ck_assert_ptr_null(gradc_error(g));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace_corners");
    TCase *c = tcase_create("corners");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, load, unload);
    tcase_add_loop_test(c, corners_are_torchs, 0, CASES);
    tcase_add_test(c, confident_answers_keep_their_loss);
    tcase_add_test(c, labels_of_any_integer);
    suite_add_tcase(s, c);
    return suite_run(s);
}
