/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Tracing: autograd's rules, errors, compiling. */
#include "files/safetensors.h"
#include "tests/traced.h"

#include <math.h>
#include <stdlib.h>

/* ---- The tutorial ---- */

typedef struct tutorial {
    gradc_tensor *x, *y, *w, *b, *z, *loss;
} tutorial;

static tutorial make_tutorial(void)
{
    static const float W[] = {0.9698f,  -0.4488f, -0.2511f, 0.0960f, -2.0260f,
                              -0.1918f, -0.6390f, -0.2648f, 1.2296f, 0.9061f,
                              -0.0338f, -1.8336f, 0.5091f,  0.0953f, -0.0344f};
    static const float B[] = {-1.7136f, 1.8476f, -0.7694f};
    tutorial t;
    t.x = gradc_ones(g, GRADC_F32, GRADC_SHAPE(5));
    t.y = gradc_zeros(g, GRADC_F32, GRADC_SHAPE(3));
    t.w = gradc_parameter(g, "w", gradc_from(g, GRADC_F32, GRADC_SHAPE(5, 3), W));
    t.b = gradc_parameter(g, "b", gradc_from(g, GRADC_F32, GRADC_SHAPE(3), B));
    t.z = gradc_add(g, gradc_matmul(g, t.x, t.w), t.b);
    t.loss = gradc_binary_cross_entropy_with_logits(g, t.z, t.y, GRADC_MEAN);
    check_no_error("tutorial");
    return t;
}

/* Rows of x, each to four digits. */
static void check_rows(gradc_tensor *x, const char *due)
{
    ck_assert_ptr_nonnull(x);
    const float *v = gradc_data(g, x);
    check_no_error(due);
    for (int64_t i = 0; i < gradc_numel(x); i += 3) {
        char text[80];
        snprintf(text, sizeof text, "%.4f %.4f %.4f", v[i], v[i + 1], v[i + 2]);
        ck_assert_str_eq(text, due);
    }
}

static void check_error(const char *part)
{
    ck_assert_msg(gradc_error(g) && strstr(gradc_error(g), part), "%s",
                  gradc_error(g) ? gradc_error(g) : "no error");
    gradc_clear_error(g);
    ck_assert_ptr_null(gradc_error(g));
}

START_TEST(the_tutorial_to_the_digit)
{
    tutorial t = make_tutorial();
    check_rows(t.z, "0.1284 -0.8305 -1.8507");
    ck_assert_str_eq(gradc_grad_fn(t.z), "AddBackward0");
    ck_assert_str_eq(gradc_grad_fn(t.loss), "BinaryCrossEntropyWithLogitsBackward0");
    ck_assert_str_eq(gradc_grad_fn(t.w), "None");
    ck_assert_double_eq_tol(gradc_item(g, t.loss), 0.4224, 5e-5);
    ck_assert_ptr_null(gradc_grad(g, t.w));
    ck_assert_int_eq(gradc_backward(g, t.loss, NULL, GRADC_RETAIN_GRAPH), 0);
    check_rows(gradc_grad(g, t.w), "0.1774 0.1012 0.0453");
    check_rows(gradc_grad(g, t.b), "0.1774 0.1012 0.0453");
    ck_assert(!gradc_grad(g, t.z) && !gradc_grad(g, t.x) && !gradc_error(g));
    const gradc_tensor *all[] = {t.x, t.y, t.w, t.b, t.z, t.loss};
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(gradc_requires_grad(all[i]), i >= 2);
        ck_assert_int_eq(gradc_is_leaf(all[i]), i < 4);
    }
    ck_assert_int_eq(gradc_backward(g, t.loss, NULL, 0), 0);
    check_rows(gradc_grad(g, t.w), "0.3547 0.2024 0.0905");
    ck_assert_int_eq(gradc_backward(g, t.loss, NULL, 0), -1);
    check_error("released by an earlier backward");
    check_rows(gradc_grad(g, t.w), "0.3547 0.2024 0.0905");
    check_rows(t.z, "0.1284 -0.8305 -1.8507");
}
END_TEST

/* ---- The rules of autograd ---- */

static gradc_tensor *number(double v)
{
    gradc_tensor *x = gradc_scalar(g, GRADC_F32, v);
    gradc_set_requires_grad(g, x, 1);
    return x;
}

static double grad_of(gradc_tensor *x)
{
    gradc_tensor *grad = gradc_grad(g, x);
    ck_assert_ptr_nonnull(grad);
    return gradc_item(g, grad);
}

START_TEST(no_grad_and_detach_cut_the_graph)
{
    gradc_tensor *x = number(3);
    int was = gradc_set_grad_enabled(g, 0);
    ck_assert_int_eq(was, 1);
    ck_assert_int_eq(gradc_set_grad_enabled(g, 0), 0); /* nests */
    gradc_tensor *y = gradc_mul(g, x, x);
    ck_assert(!gradc_requires_grad(y) && gradc_is_leaf(y) && !strcmp(gradc_grad_fn(y), "None"));
    gradc_set_grad_enabled(g, was);
    gradc_tensor *d = gradc_detach(g, gradc_mul(g, x, x));
    ck_assert(!gradc_requires_grad(d));
    gradc_tensor *loss = gradc_mul(g, gradc_mul(g, y, d), x); /* 81 x */
    ck_assert_int_eq(gradc_backward(g, loss, NULL, 0), 0);
    ck_assert_double_eq(grad_of(x), 81);
}
END_TEST

START_TEST(backward_needs_a_start)
{
    gradc_tensor *plain = gradc_ones(g, GRADC_F32, GRADC_SHAPE(2)), *x = number(2),
                 *v = gradc_mul(g, x, plain);
    ck_assert_int_eq(gradc_backward(g, gradc_sum(g, plain, GRADC_ALL, 0), NULL, 0), -1);
    check_error("does not require grad");
    ck_assert_int_eq(gradc_backward(g, v, NULL, 0), -1);
    check_error("needs a cotangent");
    ck_assert_int_eq(gradc_backward(g, v, gradc_ones(g, GRADC_F32, GRADC_SHAPE(3)), 0), -1);
    check_error("cotangent");
    ck_assert_int_eq(gradc_backward(g, v, gradc_full(g, GRADC_F32, GRADC_SHAPE(2), 5), 0), 0);
    ck_assert_double_eq(grad_of(x), 10);
    ck_assert_int_eq(gradc_backward(g, x, NULL, 0), 0); /* a leaf: 1 */
    ck_assert_double_eq(grad_of(x), 11);
}
END_TEST

START_TEST(a_shared_part_is_released_too)
{
    gradc_tensor *x = number(2), *y = gradc_mul(g, x, x), *a = gradc_exp(g, y),
                 *b = gradc_sin(g, y);
    ck_assert_int_eq(gradc_backward(g, a, NULL, 0), 0);
    ck_assert_int_eq(gradc_backward(g, b, NULL, 0), -1);
    check_error("MulBackward0");
}
END_TEST

START_TEST(retained_grads_of_inner_tensors)
{
    gradc_tensor *x = number(2), *y = gradc_mul(g, x, x), *z = gradc_mul(g, y, y);
    ck_assert_int_eq(gradc_retain_grad(g, y), 0);
    ck_assert_double_eq(gradc_item(g, y), 4); /* a known value does not hide the graph */
    ck_assert_int_eq(gradc_backward(g, z, NULL, 0), 0);
    ck_assert_double_eq(grad_of(y), 8);
    ck_assert_double_eq(grad_of(x), 32);
    ck_assert_ptr_null(gradc_grad(g, z));
    gradc_zero_grad(g, x);
    ck_assert_ptr_null(gradc_grad(g, x));
    gradc_zero_grads(g);
    ck_assert_ptr_null(gradc_grad(g, y));
    ck_assert_int_eq(gradc_retain_grad(g, gradc_detach(g, y)), -1);
    check_error("does not require grad");
}
END_TEST

START_TEST(gradients_and_gradients_of_gradients)
{
    gradc_tensor *x = number(2), *w = number(5), *y = gradc_mul(g, gradc_pow_scalar(g, x, 3), w),
                 *d[4], *dd[1];
    gradc_tensor *both[] = {x, w};
    ck_assert_int_eq(gradc_gradients(g, y, NULL, both, 2, GRADC_CREATE_GRAPH, d), 0);
    ck_assert_double_eq(gradc_item(g, d[0]), 60);
    ck_assert_double_eq(gradc_item(g, d[1]), 8);
    ck_assert(gradc_requires_grad(d[0]) && !gradc_grad(g, x));
    ck_assert_int_eq(gradc_gradients(g, d[0], NULL, &x, 1, GRADC_RETAIN_GRAPH, dd), 0); /* 6 x w */
    ck_assert_double_eq(gradc_item(g, dd[0]), 60);
    ck_assert(!gradc_requires_grad(dd[0]));
    gradc_tensor *twice[] = {x, x};
    /* Each has all of it. */
    ck_assert_int_eq(gradc_gradients(g, y, NULL, twice, 2, GRADC_RETAIN_GRAPH, d + 2), 0);
    ck_assert(gradc_item(g, d[2]) == 60 && gradc_item(g, d[3]) == 60);
    /* 3 x^2 w + 2 (3 x^2 w) (6 x w) */
    ck_assert_int_eq(gradc_backward(g, gradc_add(g, y, gradc_mul(g, d[0], d[0])), NULL, 0), 0);
    ck_assert_double_eq(grad_of(x), 60 + 2 * 60 * 60);
    check_no_error("gradients");
}
END_TEST

/* The derivative of a running product is a loop; that of the loop is another. */
START_TEST(gradients_that_are_loops)
{
    static const float values[] = {2, 3, 5};
    gradc_tensor *x = gradc_from(g, GRADC_F32, GRADC_SHAPE(3), values), *d, *dd, *ddd;
    ck_assert_int_eq(gradc_set_requires_grad(g, x, 1), 0);
    gradc_tensor *y = gradc_select(g, gradc_cumprod(g, x, 0), 0, 2);
    ck_assert_int_eq(gradc_gradients(g, y, NULL, &x, 1, GRADC_CREATE_GRAPH, &d), 0);
    gradc_tensor *first = gradc_select(g, d, 0, 0);
    ck_assert_double_eq(gradc_item(g, first), 15);
    ck_assert_int_eq(gradc_gradients(g, first, NULL, &x, 1, GRADC_CREATE_GRAPH, &dd), 0);
    gradc_tensor *second = gradc_select(g, dd, 0, 1);
    ck_assert_double_eq(gradc_item(g, second), 5);
    ck_assert_int_eq(gradc_gradients(g, second, NULL, &x, 1, 0, &ddd), 0);
    ck_assert_double_eq(gradc_item(g, gradc_select(g, ddd, 0, 2)), 1);
    ck_assert_double_eq(gradc_item(g, gradc_select(g, ddd, 0, 1)), 0);
    check_no_error("loops");
}
END_TEST

START_TEST(gradients_where_nothing_flows)
{
    gradc_tensor *x = number(2), *w = number(5), *y = gradc_mul(g, x, x), *d[2], *both[] = {y, w};
    ck_assert_int_eq(gradc_gradients(g, gradc_sin(g, y), NULL, both, 2, GRADC_RETAIN_GRAPH, d), 0);
    ck_assert_double_eq_tol(gradc_item(g, d[0]), cos(4), 1e-6);
    ck_assert_double_eq(gradc_item(g, d[1]), 0);
}
END_TEST

START_TEST(integers_have_no_gradient)
{
    gradc_tensor *x = gradc_arange(g, GRADC_I64, 0, 4, 1);
    ck_assert_int_eq(gradc_set_requires_grad(g, x, 1), -1);
    check_error("only float");
    ck_assert_ptr_null(gradc_parameter(g, "p", x));
    check_error("only float");
    gradc_tensor *y = gradc_mul(g, number(2), x), *which = NULL;
    gradc_tensor *largest = gradc_max(g, y, 0, 0, &which);
    ck_assert(gradc_requires_grad(largest) && !gradc_requires_grad(which) &&
              gradc_dtype_of(which) == GRADC_I64);
    ck_assert(!gradc_requires_grad(gradc_gt_scalar(g, y, 1)));
}
END_TEST

/* ---- Assignment, marks ---- */

START_TEST(assignment_leaves_older_graphs_alone)
{
    gradc_tensor *x = number(3), *y = gradc_mul(g, x, x);
    ck_assert_int_eq(gradc_assign(g, x, gradc_add_scalar(g, gradc_detach(g, x), 1)), 0);
    ck_assert_double_eq(gradc_item(g, y), 9);
    ck_assert_double_eq(gradc_item(g, x), 4);
    ck_assert_int_eq(gradc_backward(g, y, NULL, 0), 0); /* by the value that x had */
    ck_assert_double_eq(grad_of(x), 6);
    ck_assert_int_eq(gradc_assign(g, x, gradc_mul_scalar(g, gradc_detach(g, x), 2)), 0);
    /* Used before anything was run. */
    ck_assert_int_eq(gradc_backward(g, gradc_mul(g, x, x), NULL, 0), 0);
    ck_assert_double_eq(grad_of(x), 6 + 16);
    ck_assert_int_eq(gradc_assign(g, y, x), -1);
    check_error("leaf");
    ck_assert_int_eq(gradc_assign(g, x, gradc_ones(g, GRADC_F32, GRADC_SHAPE(2))), -1);
    check_error("shapes differ");
}
END_TEST

START_TEST(an_update_that_fails_is_given_up)
{
    static const float W[] = {1, 2};
    gradc_tensor *w = gradc_from(g, GRADC_F32, GRADC_SHAPE(2), W),
                 *v = gradc_from(g, GRADC_F32, GRADC_SHAPE(2), W);
    gradc_assign(g, v, gradc_add(g, v, w));
    gradc_tensor *bad = gradc_index_select(g, w, 0, gradc_full(g, GRADC_I64, GRADC_SHAPE(2), 7)),
                 *y = gradc_neg(g, w);
    ck_assert_ptr_null(gradc_data(g, bad)); /* v gets its value all the same */
    check_error("holds 7");
    ck_assert_float_eq(((const float *)gradc_data(g, v))[1], 4);
    ck_assert_int_eq(gradc_assign(g, w, bad), 0);
    ck_assert_ptr_null(gradc_data(g, y));
    check_error("holds 7");
    ck_assert_float_eq(((const float *)gradc_data(g, y))[1], -2);
    ck_assert_float_eq(((const float *)gradc_data(g, w))[1], 2);
    check_no_error("after");
}
END_TEST

/* One step of gradient descent for (w - 3)^2, in a mark of its own. */
static void descend(gradc_tensor *w)
{
    size_t mark = gradc_mark(g);
    gradc_tensor *d = gradc_add_scalar(g, w, -3);
    ck_assert_int_eq(gradc_backward(g, gradc_mul(g, d, d), NULL, 0), 0);
    gradc_tensor *step = gradc_mul_scalar(g, gradc_grad(g, w), 0.25);
    ck_assert_int_eq(gradc_assign(g, w, gradc_sub(g, gradc_detach(g, w), step)), 0);
    gradc_zero_grad(g, w);
    gradc_release(g, mark);
}

START_TEST(a_loop_compiles_once_and_frees_what_it_made)
{
    gradc_tensor *w = gradc_parameter(g, "w", gradc_scalar(g, GRADC_F32, 11));
    descend(w);
    ck_assert_double_eq(gradc_item(g, w), 7);
    descend(w);
    int compiled = trace_programs_count(g->programs);
    for (int i = 0; i < 20; i++) {
        descend(w);
        ck_assert_int_eq(g->segments.count, 1);
    }
    check_no_error("loop");
    ck_assert_int_eq(trace_programs_count(g->programs), compiled);
    ck_assert_double_eq_tol(gradc_item(g, w), 3, 1e-4);
    ck_assert_ptr_null(gradc_grad(g, w));
    gradc_release(g, 1);
    check_error("is not a mark");
}
END_TEST

START_TEST(equal_shapes_other_numbers_are_compiled_once)
{
    for (int i = 0; i < 5; i++) {
        const float v[] = {(float)i, 2};
        gradc_tensor *x = gradc_from(g, GRADC_F32, GRADC_SHAPE(2), v);
        ck_assert_double_eq(gradc_item(g, gradc_sum(g, gradc_mul(g, x, x), GRADC_ALL, 0)),
                            i * i + 4);
    }
    ck_assert_int_eq(trace_programs_count(g->programs), 1);
}
END_TEST

START_TEST(old_code_is_forgotten)
{
    for (int i = 1; i <= 135; i++) {
        gradc_tensor *x = gradc_neg(g, gradc_ones(g, GRADC_F32, GRADC_SHAPE(i)));
        ck_assert_float_eq(((const float *)gradc_data(g, x))[i - 1], -1);
        ck_assert_int_le(trace_programs_count(g->programs), 128);
    }
}
END_TEST

START_TEST(corners_of_shapes)
{
    gradc_tensor *x = gradc_ones(g, GRADC_F64,
                                 GRADC_SHAPE(1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3)),
                 *w, *y, *none;
    gradc_set_requires_grad(g, x, 1);
    y = gradc_sum(g, gradc_mul(g, gradc_exp(g, x), gradc_ones(g, GRADC_F32, GRADC_SHAPE(4, 1, 3))),
                  GRADC_DIMS(-2, 0), 0);
    ck_assert_int_eq(gradc_rank(y), 14);
    ck_assert_int_eq(gradc_backward(g, gradc_sum(g, y, GRADC_ALL, 0), NULL, 0), 0);
    ck_assert_double_eq_tol(((const double *)gradc_data(g, gradc_grad(g, x)))[5], 4 * exp(1),
                            1e-12);
    w = gradc_randn(g, GRADC_F32, GRADC_SHAPE(3, 2));
    gradc_set_requires_grad(g, w, 1);
    none = gradc_matmul(g, gradc_zeros(g, GRADC_F32, GRADC_SHAPE(0, 3)), w);
    ck_assert_ptr_nonnull(gradc_data(g, none));
    ck_assert_double_eq(gradc_item(g, gradc_sum(g, none, GRADC_ALL, 0)), 0);
    ck_assert(isnan(gradc_item(g, gradc_mean(g, none, GRADC_ALL, 0))));
    ck_assert_int_eq(gradc_backward(g, gradc_sum(g, none, GRADC_ALL, 0), NULL, 0), 0);
    ck_assert_float_eq(((const float *)gradc_data(g, gradc_grad(g, w)))[3], 0);
    gradc_amax(g, none, GRADC_DIMS(0), 0);
    check_error("is empty");
}
END_TEST

START_TEST(every_float_type_runs)
{
    static const gradc_dtype types[] = {GRADC_F64, GRADC_F16, GRADC_BF16};
    static const double allowed[] = {1e-12, 2e-3, 2e-2};
    for (int i = 0; i < 3; i++) {
        gradc_tensor *x = gradc_linspace(g, types[i], -1, 1, 6),
                     *w = gradc_linspace(g, types[i], 0.5, 1.5, 6);
        gradc_set_requires_grad(g, x, 1);
        gradc_tensor *h =
            gradc_layer_norm(g, gradc_reshape(g, gradc_mul(g, x, w), GRADC_SHAPE(2, 3)),
                             GRADC_SHAPE(3), NULL, NULL, 1e-5);
        gradc_tensor *loss = gradc_mean(
            g, gradc_gelu(g, gradc_matmul(g, h, gradc_reshape(g, x, GRADC_SHAPE(3, 2))), 0),
            GRADC_ALL, 0);
        ck_assert_int_eq(gradc_dtype_of(loss), types[i]);
        ck_assert_int_eq(gradc_backward(g, loss, NULL, 0), 0);
        check_no_error(gradc_dtype_name(types[i]));
        gradc_tensor *grad = gradc_to(g, gradc_grad(g, x), GRADC_F64);
        static double first[6], loss64;
        if (i == 0) {
            gradc_copy_out(g, grad, first);
            loss64 = gradc_item(g, loss);
        }
        ck_assert_double_eq_tol(gradc_item(g, loss), loss64, allowed[i]);
        for (int k = 0; k < 6; k++)
            ck_assert_double_eq_tol(((const double *)gradc_data(g, grad))[k], first[k],
                                    5 * allowed[i]);
    }
}
END_TEST

START_TEST(a_deep_graph_needs_no_stack)
{
    gradc_tensor *x = number(1), *y = x;
    for (int i = 0; i < 2000; i++)
        y = gradc_neg(g, y);
    ck_assert_int_eq(gradc_backward(g, y, NULL, 0), 0);
    ck_assert_double_eq(grad_of(x), 1);
}
END_TEST

/* With their gradients they are too many at once, without they are not. */
START_TEST(many_leaves_have_a_limit_that_is_told)
{
    enum { MANY = 300 };
    gradc_tensor *sum = number(0);
    for (int i = 1; i < MANY; i++)
        sum = gradc_add(g, sum, number(i));
    ck_assert_int_eq(gradc_backward(g, sum, NULL, GRADC_RETAIN_GRAPH), -1);
    check_error(
        "gradc_backward: the run has 601 leaves, requested values and gradients, the limit is 512");
    ck_assert_double_eq(gradc_item(g, sum), MANY * (MANY - 1) / 2);
}
END_TEST

/* ---- Training and inference ---- */

START_TEST(batch_norm_moves_its_buffers)
{
    static const float X[] = {1, 2, 3, 4, 5, 7};
    gradc_tensor *mean = gradc_buffer(g, "mean", gradc_zeros(g, GRADC_F32, GRADC_SHAPE(2)));
    gradc_tensor *variance = gradc_buffer(g, "variance", gradc_ones(g, GRADC_F32, GRADC_SHAPE(2)));
    gradc_tensor *x = gradc_from(g, GRADC_F32, GRADC_SHAPE(3, 2), X);
    gradc_tensor *y = gradc_batch_norm(g, x, mean, variance, NULL, NULL, 1, 0.1, 1e-5);
    gradc_tensor *z = gradc_batch_norm(g, x, mean, variance, NULL, NULL, 0, 0.1, 1e-5);
    const float *v = gradc_data(g, y);
    check_no_error("batch_norm");
    ck_assert_float_eq_tol(v[0], -1.2247402f, 1e-5f);
    const float *m = gradc_data(g, mean), *s = gradc_data(g, variance);
    ck_assert_float_eq_tol(m[0], 0.3f, 1e-6f);
    ck_assert_float_eq_tol(m[1], 0.1f * 13 / 3, 1e-6f);
    ck_assert_float_eq_tol(s[0], 0.9f + 0.1f * 4, 1e-6f); /* divided by count - 1 */
    ck_assert_float_eq_tol(((const float *)gradc_data(g, z))[0], (1 - 0.3f) / sqrtf(1.3f + 1e-5f),
                           1e-5f);
    gradc_batch_norm(g, x, mean, variance, NULL, NULL, 1, 0.1, 1e-5);
    ck_assert_float_eq_tol(((const float *)gradc_data(g, mean))[0], 0.57f, 1e-6f);
}
END_TEST

START_TEST(dropout_scales_what_stays)
{
    gradc_tensor *x = gradc_ones(g, GRADC_F32, GRADC_SHAPE(1000)), *y[2];
    ck_assert_int_eq(gradc_set_requires_grad(g, x, 1), 0);
    int stayed = 0, same = 0;
    for (int k = 0; k < 2; k++)
        y[k] = gradc_dropout(g, x, 0.25, 1);
    const float *a = gradc_data(g, y[0]), *b = gradc_data(g, y[1]);
    for (int i = 0; i < 1000; i++) {
        ck_assert(a[i] == 0 || fabsf(a[i] - 4 / 3.0f) < 1e-6f);
        stayed += a[i] != 0;
        same += a[i] == b[i];
    }
    ck_assert(stayed > 690 && stayed < 810 && same < 800);
    ck_assert_int_eq(gradc_backward(g, gradc_sum(g, y[0], GRADC_ALL, 0), NULL, 0), 0);
    const float *d = gradc_data(g, gradc_grad(g, x)); /* the same elements, drawn again */
    for (int i = 0; i < 1000; i++)
        ck_assert_float_eq(d[i], a[i]);
    ck_assert_float_eq(((const float *)gradc_data(g, gradc_dropout(g, x, 0.25, 0)))[3], 1);
    ck_assert_int_eq(trace_programs_count(g->programs) < 4, 1);
}
END_TEST

START_TEST(random_numbers_follow_the_seed)
{
    gradc_manual_seed(g, 5);
    float a[4], b[4];
    gradc_copy_out(g, gradc_randn(g, GRADC_F32, GRADC_SHAPE(4)), a);
    gradc_copy_out(g, gradc_randn(g, GRADC_F32, GRADC_SHAPE(4)), b);
    ck_assert(memcmp(a, b, sizeof a));
    gradc_manual_seed(g, 5);
    gradc_copy_out(g, gradc_randn(g, GRADC_F32, GRADC_SHAPE(4)), b);
    ck_assert(!memcmp(a, b, sizeof a));
    gradc_tensor *n = gradc_randn(g, GRADC_F64, GRADC_SHAPE(10000)),
                 *u = gradc_rand(g, GRADC_F32, GRADC_SHAPE(10000));
    ck_assert_double_eq_tol(gradc_item(g, gradc_mean(g, n, GRADC_ALL, 0)), 0, 0.05);
    ck_assert_double_eq_tol(gradc_item(g, gradc_std(g, n, GRADC_ALL, 1, 0)), 1, 0.05);
    ck_assert_double_eq_tol(gradc_item(g, gradc_mean(g, u, GRADC_ALL, 0)), 0.5, 0.02);
    ck_assert_double_eq(gradc_item(g, gradc_all(g, gradc_lt_scalar(g, u, 1), GRADC_ALL, 0)), 1);
    gradc_tensor *k = gradc_randint(g, GRADC_I64, GRADC_SHAPE(1000), -2, 3);
    ck_assert_int_eq(gradc_item_int(g, gradc_amin(g, k, GRADC_ALL, 0)), -2);
    ck_assert_int_eq(gradc_item_int(g, gradc_amax(g, k, GRADC_ALL, 0)), 2);
}
END_TEST

/* ---- Errors ---- */

START_TEST(errors_name_function_and_shapes_and_stick)
{
    gradc_tensor *x = gradc_ones(g, GRADC_F32, GRADC_SHAPE(4, 3)),
                 *y = gradc_ones(g, GRADC_F32, GRADC_SHAPE(5, 2));
    gradc_tensor *z = gradc_relu(g, gradc_add(g, gradc_matmul(g, x, y), x));
    ck_assert_ptr_null(z);
    ck_assert_ptr_null(gradc_reshape(g, x, GRADC_SHAPE(7)));
    ck_assert(strstr(gradc_error(g), "gradc_matmul") && strstr(gradc_error(g), "f32[4,3]") &&
              strstr(gradc_error(g), "f32[5,2]"));
    gradc_clear_error(g);
    gradc_reshape(g, x, GRADC_SHAPE(7, -1));
    check_error("gradc_reshape: cannot reshape f32[4,3] to [7,-1]");
    gradc_add(g, x, y);
    check_error("gradc_add: shapes do not broadcast: f32[4,3] and f32[5,2]");
    gradc_matmul(g, x, y);
    check_error("gradc_matmul: contracted dimensions differ: 3 in f32[4,3], 5 in f32[5,2]");
    gradc_expand(g, x, GRADC_SHAPE(7, 7));
    check_error("gradc_expand: cannot broadcast f32[4,3] to f32[7,7]");
    gradc_one_hot(g, gradc_ones(g, GRADC_I64, GRADC_SHAPE(2)), (int64_t)1 << 41);
    check_error("gradc_one_hot: a shape has a negative dimension or is too large");
    gradc_add(g, x, NULL);
    check_error("gradc_add: a tensor is NULL");
    ck_assert_ptr_nonnull(gradc_linear(g, x, gradc_ones(g, GRADC_F32, GRADC_SHAPE(2, 3)), NULL));
    gradc_softmax(g, x, 2);
    check_error("gradc_softmax: dimension 2 is out of range for f32[4,3]");
    gradc_conv2d(g, x, y, NULL, GRADC_DIMS(), GRADC_DIMS(), GRADC_DIMS(), 1);
    check_error("gradc_conv2d");
    gradc_tensor *signal = gradc_ones(g, GRADC_F32, GRADC_SHAPE(1, 2, 5)),
                 *long_one = gradc_ones(g, GRADC_F32, GRADC_SHAPE(2, 2, 7));
    gradc_conv1d(g, signal, long_one, NULL, GRADC_DIMS(), GRADC_DIMS(), GRADC_DIMS(), 1);
    check_error("gradc_conv1d: weights f32[2,2,7] are larger than f32[1,2,5] with its padding");
    gradc_conv_transpose1d(g, signal, long_one, NULL, GRADC_DIMS(), GRADC_DIMS(6), GRADC_DIMS(), 1,
                           GRADC_DIMS());
    check_error("gradc_conv_transpose1d: stride 1 and padding 6 make the result for f32[1,2,5] "
                "empty or too large");
    gradc_tensor *nothing = gradc_ones(g, GRADC_F32, GRADC_SHAPE(1, 0, 4)),
                 *far = gradc_ones(g, GRADC_F32, GRADC_SHAPE(0, (int64_t)1 << 34, 1));
    gradc_conv_transpose1d(g, nothing, far, NULL, GRADC_DIMS(), GRADC_DIMS(), GRADC_DIMS(), 1 << 30,
                           GRADC_DIMS());
    check_error("f32[1,0,4] does not fit weights f32[0,17179869184,1] in 1073741824 groups");
    gradc_cross_entropy(g, x, y, GRADC_MEAN);
    check_error("gradc_cross_entropy: scores f32[4,3] and target f32[5,2]");
    gradc_ones(g, GRADC_F32, GRADC_SHAPE(1 << 30, 1 << 30, 1 << 30));
    check_error("gradc_ones");
    gradc_ones(g, GRADC_F32, GRADC_SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    check_error("rank 17");
    gradc_item(g, x);
    check_error("expected a tensor of one element, got 12");
}
END_TEST

START_TEST(a_null_left_out_counts_while_an_error_stands)
{
    gradc_tensor *x = gradc_ones(g, GRADC_F32, GRADC_SHAPE(4, 3)),
                 *w = gradc_ones(g, GRADC_F32, GRADC_SHAPE(2, 3));
    gradc_tensor *bias = gradc_reshape(g, x, GRADC_SHAPE(5));
    ck_assert_ptr_null(gradc_linear(g, x, w, bias));
    check_error("gradc_reshape");
    ck_assert_ptr_nonnull(gradc_linear(g, x, w, NULL));
}
END_TEST

START_TEST(a_bad_index_is_an_error_when_it_runs)
{
    static const int64_t rows[] = {0, 9, 1};
    gradc_tensor *weight = gradc_ones(g, GRADC_F32, GRADC_SHAPE(4, 2)),
                 *index = gradc_from(g, GRADC_I64, GRADC_SHAPE(3), rows);
    gradc_tensor *y = gradc_embedding(g, weight, index);
    ck_assert_ptr_nonnull(y);
    ck_assert_ptr_null(gradc_data(g, y));
    check_error("9");
    ck_assert_ptr_null(gradc_data(
        g, gradc_cross_entropy(g, weight,
                               gradc_from(g, GRADC_I64, GRADC_SHAPE(4), (int64_t[]){0, 1, 2, 0}),
                               GRADC_MEAN)));
    check_error("2");
}
END_TEST

START_TEST(contexts_do_not_mix)
{
    gradc *other = gradc_new();
    gradc_tensor *x = gradc_ones(other, GRADC_F32, GRADC_SHAPE(2));
    ck_assert_ptr_null(gradc_add(g, x, x));
    check_error("another context");
    gradc_free(other);
    ck_assert(!gradc_add(NULL, NULL, NULL) && !gradc_error(NULL) && !gradc_requires_grad(NULL) &&
              gradc_rank(NULL) == 0);
    gradc_free(NULL);
}
END_TEST

START_TEST(an_error_a_thousand_times_is_told_each_time)
{
    gradc_tensor *x = gradc_ones(g, GRADC_F32, GRADC_SHAPE(2)),
                 *y = gradc_ones(g, GRADC_F32, GRADC_SHAPE(3));
    for (int i = 0; i < 1000; i++) {
        gradc_add(g, x, y);
        check_error("broadcast");
    }
}
END_TEST

/* Every context, also those that compile, runs out of memory at its n-th allocation. */
START_TEST(memory_runs_out)
{
    int failures = 0;
    for (int n = 1; n < 100000; n += 1 + n / 8) {
        char text[20];
        snprintf(text, sizeof text, "%d", n);
        setenv("GRADC_FAIL_ALLOCATION", text, 1);
        gradc *h = gradc_new();
        unsetenv("GRADC_FAIL_ALLOCATION");
        if (!h)
            continue;
        setenv("GRADC_FAIL_ALLOCATION", text, 1);
        size_t mark = gradc_mark(h);
        gradc_tensor *w = gradc_parameter(h, "w", gradc_randn(h, GRADC_F32, GRADC_SHAPE(3, 4)));
        gradc_tensor *loss = gradc_sum(
            h, gradc_tanh(h, gradc_matmul(h, w, gradc_ones(h, GRADC_F32, GRADC_SHAPE(4)))),
            GRADC_ALL, 0);
        int status = gradc_backward(h, loss, NULL, 0);
        gradc_assign(h, w, gradc_mul_scalar(h, gradc_grad(h, w), 2));
        unsetenv("GRADC_FAIL_ALLOCATION");
        ck_assert_msg(!gradc_error(h) || strstr(gradc_error(h), "memory"), "%s", gradc_error(h));
        failures += gradc_error(h) != NULL;
        bool whole = !status && !gradc_error(h);
        if (mark)
            gradc_release(h, mark);
        gradc_free(h);
        if (whole && n > 5000)
            break;
    }
    ck_assert_int_gt(failures, 20);
}
END_TEST

/* ---- Compiling ---- */

START_TEST(inputs_have_no_value)
{
    gradc_tensor *x = gradc_input(g, "x", GRADC_F32, GRADC_SHAPE(2)), *y = gradc_exp(g, x);
    ck_assert_ptr_null(gradc_data(g, y));
    check_error("input 'x'");
    ck_assert_ptr_null(gradc_data(g, x));
    check_error("input 'x'");
    ck_assert_ptr_null(gradc_input(g, "x", GRADC_F32, GRADC_SHAPE(2)));
    check_error("already a tensor named 'x'");
    gradc_tensor *w = number(1);
    ck_assert_int_eq(gradc_backward(g, gradc_sum(g, gradc_mul(g, y, w), GRADC_ALL, 0), NULL, 0),
                     -1);
    check_error("input 'x'");
    ck_assert_int_eq(gradc_assign(g, w, gradc_sum(g, y, GRADC_ALL, 0)), -1);
    check_error("depends on an input");
}
END_TEST

START_TEST(models_that_cannot_be_compiled)
{
    static const char *const unknown[] = {"--wings=2", NULL}, *const train[] = {"--train=sgd",
                                                                                NULL};
    gradc_tensor *x = gradc_input(g, "x", GRADC_F32, GRADC_SHAPE(2)), *y = gradc_exp(g, x);
    ck_assert_int_eq(gradc_compile(g, (gradc_output[]){{"y", y}}, 1, "/tmp/", NULL), -1);
    gradc_clear_error(g);
    ck_assert_int_eq(gradc_compile(g, (gradc_output[]){{"y", y}, {"y", x}}, 2, "/tmp/none", NULL),
                     -1);
    check_error("two outputs are named 'y'");
    ck_assert_int_eq(gradc_compile(g, (gradc_output[]){{"y", y}}, 1, "/tmp/none", unknown), -1);
    check_error("wings");
    ck_assert_int_eq(gradc_compile(g, (gradc_output[]){{"y", y}}, 1, "/tmp/none", train), -1);
    check_error("loss");
    ck_assert_int_eq(
        gradc_compile(g, (gradc_output[]){{"y", gradc_mul(g, y, number(2))}}, 1, "/tmp/none", NULL),
        -1);
    check_error("has no name");
    ck_assert_int_eq(gradc_compile(g, (gradc_output[]){{"y", y}}, 1, "/nowhere/none", NULL), -1);
    check_error("/nowhere");
    static const char *const strict[] = {"-Wnothing", "-Werror", NULL},
                             *const lax[] = {"-Wnothing", "-Werror",
                                             "-Wno-error=unknown-warning-option", NULL};
    ck_assert_int_eq(gradc_compile(g, (gradc_output[]){{"y", y}}, 1, "/tmp/none", strict), -1);
    check_error("unknown warning option '-Wnothing'");
    ck_assert_int_eq(gradc_compile(g, (gradc_output[]){{"y", y}}, 1, "/nowhere/none", lax), -1);
    check_error("/nowhere");
}
END_TEST

/* A small net with everything that training changes. */
static void make_net(gradc_output outputs[2])
{
    gradc_tensor *t = gradc_input(g, "t", GRADC_I64, GRADC_SHAPE(4)),
                 *x = gradc_input(g, "x", GRADC_F32, GRADC_SHAPE(4, 3));
    gradc_tensor *w = gradc_parameter(g, "w", gradc_randn(g, GRADC_F32, GRADC_SHAPE(5, 3)));
    gradc_tensor *mean = gradc_buffer(g, "mean", gradc_zeros(g, GRADC_F32, GRADC_SHAPE(5))),
                 *var = gradc_buffer(g, "var", gradc_ones(g, GRADC_F32, GRADC_SHAPE(5)));
    gradc_tensor *h =
        gradc_batch_norm(g, gradc_linear(g, x, w, NULL), mean, var, NULL, NULL, 1, 0.1, 1e-5);
    h = gradc_dropout(g, gradc_relu(g, h), 0.5, 1);
    gradc_tensor *loss = gradc_cross_entropy(g, h, t, GRADC_MEAN);
    outputs[0] = (gradc_output){"scores", h};
    outputs[1] = (gradc_output){"loss", loss};
    check_no_error("net");
}

START_TEST(a_module_of_inputs)
{
    gradc_output outputs[2];
    make_net(outputs);
    base_ctx *c = base_ctx_new(NULL, NULL);
    ir_module *m = trace_model(g, "test", c, base_arena_new(c), "net", outputs, 2);
    check_no_error("model");
    ir_verify(m);
    const ir_func *forward = ir_func_by_name(m, "forward"), *train = ir_func_by_name(m, "train");
    ck_assert(forward && train && m->states.count == 5 && forward->results.count == 2 &&
              train->results.count == 5);
    /* Inputs in the order in which they were made. */
    ck_assert_str_eq(forward->params.items[0].name, "t");
    ck_assert_str_eq(forward->params.items[1].name, "x");
    IR_FOR (inst, forward)
        ck_assert(inst->op != IR_OP_random_bits);
    base_ctx_free(c);
}
END_TEST

START_TEST(a_net_compiles_for_training)
{
    char folder[] = "/tmp/gradc-trace-XXXXXX", path[60], command[400];
    static const char *const options[] = {"--train=adam:lr=0.01", "-O1", "--wrt=x", NULL};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/net", folder);
    gradc_output outputs[2];
    make_net(outputs);
    ck_assert_msg(!gradc_compile(g, outputs, 2, path, options), "%s", gradc_error(g));
    snprintf(command, sizeof command,
             "test -s %s.o && grep -q 'net_step(' %s.h && grep -q 'const int64_t \\*t;' %s.h && cc "
             "-std=c99 "
             "-I" GRADC_INCLUDE " -fsyntax-only %s.h && rm -r %s",
             path, path, path, path, folder);
    ck_assert_msg(!system(command), "%s", command);
}
END_TEST

START_TEST(the_header_is_c99_and_cxx17)
{
    static const char *const compilers[] = {"cc -std=c99 -x c", "cc -std=gnu99 -x c",
                                            "cc -std=c17 -x c", "c++ -std=c++17 -x c++",
                                            "c++ -std=gnu++17 -x c++"};
    static const char program[] =
        "#include \\\"gradc.h\\\"\\nvoid f(gradc *g, int n, gradc_tensor *x) "
        "{ gradc_ones(g, GRADC_F32, GRADC_SHAPE(n, 4)); gradc_sum(g, x, GRADC_ALL, 0); }";
    for (size_t i = 0; i < sizeof compilers / sizeof *compilers; i++) {
        char command[1000];
        snprintf(command, sizeof command,
                 "printf \"%s\\n\" | %s -Wall -Wextra -Wpedantic -Werror -I" GRADC_INCLUDE
                 " -fsyntax-only -",
                 program, compilers[i]);
        ck_assert_msg(!system(command), "%s", compilers[i]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace");
    TCase *rules = tcase_create("rules");
    tcase_add_checked_fixture(rules, setup, teardown);
    const TTest *const tests[] = {
        the_tutorial_to_the_digit,
        no_grad_and_detach_cut_the_graph,
        backward_needs_a_start,
        a_shared_part_is_released_too,
        retained_grads_of_inner_tensors,
        gradients_and_gradients_of_gradients,
        gradients_that_are_loops,
        gradients_where_nothing_flows,
        integers_have_no_gradient,
        assignment_leaves_older_graphs_alone,
        an_update_that_fails_is_given_up,
        a_loop_compiles_once_and_frees_what_it_made,
        old_code_is_forgotten,
        corners_of_shapes,
        every_float_type_runs,
        a_deep_graph_needs_no_stack,
        many_leaves_have_a_limit_that_is_told,
        equal_shapes_other_numbers_are_compiled_once,
        batch_norm_moves_its_buffers,
        dropout_scales_what_stays,
        random_numbers_follow_the_seed,
        errors_name_function_and_shapes_and_stick,
        a_null_left_out_counts_while_an_error_stands,
        a_bad_index_is_an_error_when_it_runs,
        contexts_do_not_mix,
        an_error_a_thousand_times_is_told_each_time,
        memory_runs_out,
        inputs_have_no_value,
        models_that_cannot_be_compiled,
        a_module_of_inputs,
        a_net_compiles_for_training,
        the_header_is_c99_and_cxx17,
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(rules, tests[i]);
    tcase_set_timeout(rules, 60);
    suite_add_tcase(s, rules);
    return suite_run(s);
}
