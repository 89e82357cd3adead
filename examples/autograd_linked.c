/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Links the object that examples/autograd.c compiled: the same function and gradients, without the
 * compiler. */
#include "autograd_loss.h"

#include <stdio.h>
#include <stdlib.h>

static int failed(const char *what, gradc_rt_status status)
{
    if (status)
        fprintf(stderr, "%s: %s\n", what, gradc_rt_status_text(status));
    return status != GRADC_RT_OK;
}

static void list(const char *name, const float *v, size_t n)
{
    printf("%s = [", name);
    for (size_t i = 0; i < n; i++)
        printf("%s%.4f", i ? ", " : "", v[i]);
    puts("]");
}

int main(void)
{
    static const float x[5] = {1, 1, 1, 1, 1}, y[3] = {0, 0, 0};
    float z[3], loss;
    autograd_loss_ctx *model;
    gradc_rt_options options = AUTOGRAD_LOSS_OPTIONS;
    void *arena = aligned_alloc(64, AUTOGRAD_LOSS_ARENA_BYTES);
    if (!arena ||
        failed("init", autograd_loss_init(&model, arena, AUTOGRAD_LOSS_ARENA_BYTES, &options)))
        return 1;
    autograd_loss_inputs in = {.x = x, .y = y};
    autograd_loss_outputs out = {.z = z, .loss = &loss};
    int bad = failed("zero_grad", autograd_loss_zero_grad(model)) ||
              failed("forward_train", autograd_loss_forward_train(model, &in, &out)) ||
              failed("backward", autograd_loss_backward(model, NULL, NULL));
    if (!bad) {
        list("z", z, 3);
        printf("loss = %.4f\n", loss);
    }
    size_t count;
    const float *grad = autograd_loss_grad_block(model, &count);
    for (size_t i = 0; !bad && i < autograd_loss_param_count(); i++) {
        const gradc_rt_tensor *p = autograd_loss_param(i);
        size_t n = p->bytes / sizeof(float), row = p->rank ? (size_t)p->shape[p->rank - 1] : 1;
        for (size_t k = 0; k < n; k += row) {
            char name[40];
            if (n > row)
                snprintf(name, sizeof name, "%s.grad[%zu]", p->name, k / row);
            else
                snprintf(name, sizeof name, "%s.grad", p->name);
            list(name, grad + p->grad_at + k, row);
        }
    }
    autograd_loss_fini(model);
    free(arena);
    return bad;
}
