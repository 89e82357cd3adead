/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Gradients of the networks among the ONNX fixtures, against torch's. */
#include "frontend/onnx/onnx.h"
#include "files/npy.h"
#include "passes/passes.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/fixtures/onnx/"

/* L2 distance of a to b over the length of b. */
static double apart(const ir_literal *a, const ir_literal *b)
{
    double d = 0, length = 0;
    for (int64_t i = 0; i < ir_count(&b->type); i++) {
        double x = ir_literal_get(a, i), y = ir_literal_get(b, i);
        d += (x - y) * (x - y);
        length += y * y;
    }
    return sqrt(d) / (length > 1e-12 ? sqrt(length) : 1);
}

static void check_network(const char *name)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    ir_tensors values = {0};
    ck_assert(npz_read_file(arena, base_format(arena, FOLDER "%s.npz", name), &values));
    ir_module *m = onnx_read_file(ctx, arena, base_format(arena, FOLDER "%s.onnx", name),
                                  &(onnx_options){.training = true});
    ck_assert_msg(m != NULL, "%s", base_ctx_why(ctx));
    ir_func *train = ir_func_by_name(m, "train");
    BASE_LIST(ir_state *) wanted = {0};
    for (int i = 0; i < m->states.count; i++)
        if (m->states.items[i]->trainable)
            BASE_PUSH(arena, &wanted, m->states.items[i]);
    ir_func *joint = ad_joint(
        m, train,
        &(ad_request){.loss = train->loss, .states = wanted.items, .nstates = wanted.count},
        "joint");
    ck_assert_msg(joint != NULL, "%s", base_ctx_why(ctx));
    ir_verify(m);
    ir_literal **args = base_array(arena, ir_literal *, joint->params.count + 1),
               **results = base_array(arena, ir_literal *, joint->results.count + 1);
    for (int i = 0; i < joint->params.count; i++) {
        const ir_port *p = &joint->params.items[i];
        args[i] = p->bind == IR_STATE
                      ? p->state->init
                      : ir_tensor_by_name(&values, base_format(arena, "in/%s", p->name));
        if (!args[i])
            args[i] = ir_literal_new(arena, &p->value->type);
    }
    bool bad;
    ir_eval(arena, joint, args, results, &bad);
    ck_assert(!bad);
    int compared = 0;
    for (int i = 0; i < joint->results.count; i++) {
        const ir_port *p = &joint->results.items[i];
        const ir_literal *due =
            p->role == IR_GRADIENT
                ? ir_tensor_by_name(&values, base_format(arena, "grad/%s", p->name))
                : NULL;
        if (p->role != IR_GRADIENT)
            continue;
        ck_assert_msg(due && ir_type_eq(&due->type, &results[i]->type), "%s: %s", name, p->name);
        ck_assert_msg(apart(results[i], due) < 1e-4, "%s: the gradient of %s is %g apart", name,
                      p->name, apart(results[i], due));
        compared++;
    }
    ck_assert_int_ge(compared, 6);
    base_ctx_free(ctx);
}

START_TEST(gradients_agree_with_torch)
{
    const char *names[] = {"conv_script", "conv_export", "text_script",
                           "text_export", "bounds",      "corners"};
    check_network(names[_i]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("onnx_grad");
    TCase *c = tcase_create("onnx_grad");
    tcase_add_loop_test(c, gradients_agree_with_torch, 0, 6);
    suite_add_tcase(s, c);
    return suite_run(s);
}
