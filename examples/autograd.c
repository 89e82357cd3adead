/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A tour of tensors and automatic differentiation. At the end the same function is traced on
 * inputs and compiled to autograd_loss.o and autograd_loss.h in the current folder;
 * examples/autograd_linked.c is a program that links them. */
#include "gradc.h"

static const float W[5][3] = {{0.9698f, -0.4488f, -0.2511f},
                              {0.0960f, -2.0260f, -0.1918f},
                              {-0.6390f, -0.2648f, 1.2296f},
                              {0.9061f, -0.0338f, -1.8336f},
                              {0.5091f, 0.0953f, -0.0344f}};
static const float B[3] = {-1.7136f, 1.8476f, -0.7694f};

/* Prints "name = [0.1284, -0.8305, -1.8507]", from the elements that gradc_data returns. */
static void list(gradc *g, const char *name, gradc_tensor *x)
{
    const float *v = gradc_data(g, x);
    printf("%s = %s", name, gradc_rank(x) ? "[" : "");
    for (int64_t i = 0; v && i < gradc_numel(x); i++)
        printf("%s%.4f", i ? ", " : "", v[i]);
    printf("%s\n", gradc_rank(x) ? "]" : "");
}

static void rows(gradc *g, const char *name, gradc_tensor *x)
{
    char text[40];
    for (int64_t i = 0; i < gradc_size(x, 0); i++) {
        snprintf(text, sizeof text, "%s[%d]", name, (int)i);
        list(g, text, gradc_select(g, x, 0, i));
    }
}

static void print(gradc *g, const char *name, gradc_tensor *x)
{
    printf("%s:\n", name);
    gradc_print(g, stdout, x);
}

static const char *truth(int x)
{
    return x ? "true" : "false";
}

static void tensors(gradc *g)
{
    static const float cube[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    puts("== Tensors");
    print(g, "tensor of rank 0", gradc_from(g, GRADC_F32, GRADC_SHAPE(), cube + 4));
    print(g, "tensor of rank 1", gradc_from(g, GRADC_F32, GRADC_SHAPE(3), cube));
    print(g, "tensor of rank 2", gradc_from(g, GRADC_F32, GRADC_SHAPE(2, 3), cube));
    print(g, "tensor of rank 3", gradc_from(g, GRADC_F32, GRADC_SHAPE(2, 2, 2), cube));
    print(g, "ones(2, 3)", gradc_ones(g, GRADC_F32, GRADC_SHAPE(2, 3)));
    print(g, "zeros(2, 3)", gradc_zeros(g, GRADC_F32, GRADC_SHAPE(2, 3)));
    print(g, "randn(2, 3)", gradc_randn(g, GRADC_F32, GRADC_SHAPE(2, 3)));
    print(g, "arange(0, 10)", gradc_arange(g, GRADC_I64, 0, 10, 1));
    print(g, "linspace(0, 1, steps=5)", gradc_linspace(g, GRADC_F32, 0, 1, 5));
}

/* The example's function: z = x w + b. The loss compares it with y. */
static gradc_tensor *linear(gradc *g, gradc_tensor *x, gradc_tensor *w, gradc_tensor *b)
{
    return gradc_add(g, gradc_matmul(g, x, w), b);
}

static void gradients(gradc *g, gradc_tensor *w, gradc_tensor *b)
{
    puts("\n== Gradients");
    gradc_tensor *x = gradc_ones(g, GRADC_F32, GRADC_SHAPE(5)),
                 *y = gradc_zeros(g, GRADC_F32, GRADC_SHAPE(3));
    gradc_tensor *z = linear(g, x, w, b);
    gradc_tensor *loss = gradc_binary_cross_entropy_with_logits(g, z, y, GRADC_MEAN);
    print(g, "w", w);
    print(g, "b", b);
    print(g, "z", z);
    list(g, "z", z);
    printf("z.grad_fn = %s\n", gradc_grad_fn(z));
    printf("z.grad = %s\n", gradc_grad(g, z) ? "something" : "None");
    list(g, "loss", loss);
    printf("loss.grad_fn = %s\n", gradc_grad_fn(loss));

    puts("\nbackward(loss, retain_graph):");
    gradc_backward(g, loss, NULL, GRADC_RETAIN_GRAPH);
    rows(g, "w.grad", gradc_grad(g, w));
    list(g, "b.grad", gradc_grad(g, b));
    struct {
        const char *name;
        gradc_tensor *tensor;
    } all[] = {{"x", x}, {"y", y}, {"w", w}, {"b", b}, {"z", z}, {"loss", loss}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        printf("%s.requires_grad = %s, is_leaf = %s\n", all[i].name,
               truth(gradc_requires_grad(all[i].tensor)), truth(gradc_is_leaf(all[i].tensor)));

    puts("\na second backward adds up:");
    gradc_backward(g, loss, NULL, 0);
    rows(g, "w.grad", gradc_grad(g, w));
    list(g, "b.grad", gradc_grad(g, b));

    puts("\na third one, though the second did not retain the graph:");
    if (gradc_backward(g, loss, NULL, 0))
        printf("error: %s\n", gradc_error(g));
    gradc_clear_error(g);

    puts("\nwithout gradients:");
    int was = gradc_set_grad_enabled(g, 0);
    printf("under no_grad: z.requires_grad = %s\n", truth(gradc_requires_grad(linear(g, x, w, b))));
    gradc_set_grad_enabled(g, was);
    printf("after detach: z.requires_grad = %s\n", truth(gradc_requires_grad(gradc_detach(g, z))));
}

static void compile(gradc *g, gradc_tensor *w, gradc_tensor *b)
{
    static const char *const options[] = {"--train=none", NULL};
    puts("\n== Compiled");
    gradc_tensor *x = gradc_input(g, "x", GRADC_F32, GRADC_SHAPE(5)),
                 *y = gradc_input(g, "y", GRADC_F32, GRADC_SHAPE(3));
    gradc_tensor *z = linear(g, x, w, b);
    gradc_output outputs[] = {
        {"z", z}, {"loss", gradc_binary_cross_entropy_with_logits(g, z, y, GRADC_MEAN)}};
    if (!gradc_compile(g, outputs, 2, "autograd_loss", options))
        puts("wrote autograd_loss.o and autograd_loss.h");
}

int main(void)
{
    gradc *g = gradc_new();
    tensors(g);
    gradc_tensor *w = gradc_parameter(g, "w", gradc_from(g, GRADC_F32, GRADC_SHAPE(5, 3), W));
    gradc_tensor *b = gradc_parameter(g, "b", gradc_from(g, GRADC_F32, GRADC_SHAPE(3), B));
    gradients(g, w, b);
    compile(g, w, b);
    const char *error = gradc_error(g);
    if (error)
        fprintf(stderr, "%s\n", error);
    int status = error != NULL;
    gradc_free(g);
    return status;
}
