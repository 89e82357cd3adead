/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * gradc.h from a thread with a small stack, as servers and other languages' runtimes have them. */
#include "include/gradc.h"
#include "tests/suite.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#ifdef GRADC_SANITIZED
enum { SMALL = 1 << 20 }; /* frames are several times as large */
#else
enum { SMALL = 128 << 10 };
#endif

typedef struct run {
    void (*f)(gradc *g);
    char error[400];
} run;

static void *work(void *user)
{
    run *r = user;
    gradc *g = gradc_new();
    if (g)
        r->f(g);
    snprintf(r->error, sizeof r->error, "%s",
             !g               ? "no context"
             : gradc_error(g) ? gradc_error(g)
                              : "");
    gradc_free(g);
    return NULL;
}

static void on_small_stack(void (*f)(gradc *))
{
    run r = {f, "not run"};
    pthread_attr_t attr;
    pthread_t thread;
    ck_assert(!pthread_attr_init(&attr) && !pthread_attr_setstacksize(&attr, SMALL));
    ck_assert(!pthread_create(&thread, &attr, work, &r) && !pthread_join(thread, NULL));
    pthread_attr_destroy(&attr);
    ck_assert_str_eq(r.error, "");
}

/* Convolution, attention, norms, second derivatives. */
static void network(gradc *g)
{
    gradc_tensor *w = gradc_parameter(g, "w", gradc_randn(g, GRADC_F32, GRADC_SHAPE(8, 3, 3, 3)));
    gradc_tensor *x = gradc_randn(g, GRADC_F32, GRADC_SHAPE(2, 3, 16, 16));
    gradc_tensor *y = gradc_tanh(
        g, gradc_conv2d(g, x, w, NULL, GRADC_SHAPE(1, 1), GRADC_SHAPE(1, 1), GRADC_SHAPE(1, 1), 1));
    gradc_tensor *a = gradc_reshape(g, y, GRADC_SHAPE(2, 8, 256)),
                 *s = gradc_softmax(g, gradc_matmul(g, a, gradc_transpose(g, a, 1, 2)), -1);
    gradc_tensor *loss = gradc_mean(g, gradc_matmul(g, s, a), GRADC_ALL, 0), *grad[1];
    gradc_gradients(g, loss, NULL, &w, 1, GRADC_CREATE_GRAPH, grad);
    gradc_backward(g, gradc_sum(g, gradc_mul(g, grad[0], grad[0]), GRADC_ALL, 0), NULL, 0);
    gradc_data(g, gradc_sum(g, gradc_grad(g, w), GRADC_ALL, 0));
}

static void chain(gradc *g)
{
    gradc_tensor *w = gradc_parameter(g, "w", gradc_ones(g, GRADC_F32, GRADC_SHAPE(4, 4))),
                 *y = gradc_matmul(g, w, w);
    for (int i = 0; i < 20000; i++)
        y = i % 3 ? gradc_sin(g, y) : gradc_add(g, y, w);
    gradc_backward(g, gradc_sum(g, y, GRADC_ALL, 0), NULL, 0);
    gradc_data(g, gradc_grad(g, w));
}

static void to_object(gradc *g)
{
    static char path[] = "/tmp/gradc-stack-XXXXXX", file[80];
    static const char *const suffixes[] = {"/small.o", "/small.h", ""};
    static const char *const options[] = {"--train=adam", NULL};
    gradc_tensor *x = gradc_input(g, "x", GRADC_F32, GRADC_SHAPE(4, 8));
    gradc_tensor *w = gradc_parameter(g, "w", gradc_randn(g, GRADC_F32, GRADC_SHAPE(8, 8)));
    gradc_tensor *loss = gradc_mean(g, gradc_tanh(g, gradc_matmul(g, x, w)), GRADC_ALL, 0);
    const gradc_output out = {"loss", loss};
    if (mkdtemp(path)) {
        snprintf(file, sizeof file, "%s/small", path);
        gradc_compile(g, &out, 1, file, options);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "%s%s", path, suffixes[i]);
        *suffixes[i] ? unlink(file) : rmdir(file);
    }
}

START_TEST(a_network_trains)
{
    on_small_stack(network);
}
END_TEST

START_TEST(twenty_thousand_operations)
{
    on_small_stack(chain);
}
END_TEST

START_TEST(compile)
{
    on_small_stack(to_object);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace_stack");
    TCase *c = tcase_create("trace_stack");
    tcase_set_timeout(c, 300);
    tcase_add_test(c, a_network_trains);
    tcase_add_test(c, twenty_thousand_operations);
    tcase_add_test(c, compile);
    suite_add_tcase(s, c);
    return suite_run(s);
}
