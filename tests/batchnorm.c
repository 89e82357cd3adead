/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * BatchNormalization in training mode: a file of torch's newer exporter, which writes inference
 * mode whatever the model's mode, against torch in training mode, step by step
 * (tests/fixtures/make_onnx.py), and against differences. */
#include "frontend/onnx/onnx.h"
#include "files/npy.h"
#include "tests/grad.h"

#define FOLDER "tests/fixtures/onnx/"

static ir_module *network(const char *path, bool training, onnx_mode mode, bool unbiased)
{
    ir_module *m = onnx_read_file(
        ctx, arena, path,
        &(onnx_options){.training = training, .batch_norm = mode, .unbiased_variance = unbiased});
    ck_assert_msg(m != NULL, "%s", first_error);
    ir_verify(m);
    return m;
}

static ir_tensors values_of(const char *path)
{
    ir_tensors values = {0};
    ck_assert_msg(npz_read_file(arena, path, &values), "%s", first_error);
    return values;
}

/* Row i of a tensor with one row per step. */
static ir_literal *row(const ir_tensors *values, const char *name, int64_t i)
{
    const ir_literal *all = ir_tensor_by_name(values, name);
    ck_assert_msg(all != NULL, "no %s", name);
    ir_type t = ir_type_of(all->type.dtype, all->type.rank - 1, all->type.dim + 1);
    ir_literal *l = ir_literal_new(arena, &t);
    memcpy(l->data, (const char *)all->data + i * ir_bytes(&t), (size_t)ir_bytes(&t));
    return l;
}

static void near_values(const char *what, int64_t step, const ir_literal *is, const ir_literal *due,
                        double limit)
{
    ck_assert_msg(is && due && ir_type_eq(&is->type, &due->type), "%s", what);
    for (int64_t i = 0; i < ir_count(&is->type); i++) {
        double x = ir_literal_get(is, i), y = ir_literal_get(due, i);
        ck_assert_msg(fabs(x - y) <= limit * (1 + fabs(y)),
                      "step %d, %s: element %d is %.15g, expected %.15g", (int)step, what, (int)i,
                      x, y);
    }
}

/* An input by name, a hyper-parameter, or a state of `state`. */
static ir_literal *argument(const ir_port *p, ir_literal *const *state, const ir_tensors *values,
                            int64_t step)
{
    if (p->bind == IR_STATE)
        return state[p->state->index];
    if (p->role == IR_DATA)
        return row(values, base_format(arena, "in/%s", p->name), step);
    ir_literal *l = ir_literal_new(arena, &p->value->type);
    ir_literal_set(l, 0, !strcmp(p->name, "lr") ? 0.5 : !strcmp(p->name, "grad_scale") ? 1 : 0);
    return l;
}

/* Loss, parameters and running statistics after each of four steps of SGD are torch's to the last
 * digits of double. */
START_TEST(steps_agree_with_torch)
{
    ir_module *m = network(FOLDER "torch/norms.onnx", true, ONNX_MODE_TRAIN, true);
    ir_tensors values = values_of(FOLDER "torch/norms.npz");
    pass_widen(m);
    int loss = ir_func_by_name(m, "train")->loss;
    ck_assert_int_eq(loss, 0);
    ck_assert(train_build(m, &(train_options){.optimizer = train_optimizer_by_name("sgd"),
                                              .cotangents = &loss,
                                              .ncotangents = 1,
                                              .step = true}));
    const ir_func *f = ir_func_by_name(m, "step");
    ir_literal **state = base_array(arena, ir_literal *, m->states.count);
    for (int i = 0; i < m->states.count; i++)
        state[i] = m->states.items[i]->init ? m->states.items[i]->init
                                            : ir_literal_new(arena, &m->states.items[i]->type);
    int compared = 0;
    for (int64_t step = 0; step < 4; step++) {
        ir_literal **args = base_array(arena, ir_literal *, f->params.count);
        for (int i = 0; i < f->params.count; i++)
            args[i] = argument(&f->params.items[i], state, &values, step);
        ir_literal **results = grad_eval(arena, f, args);
        near_values("loss", step, results[0], row(&values, "step/loss", step), 1e-12);
        for (int i = 0; i < f->results.count; i++)
            if (f->results.items[i].bind == IR_STATE)
                state[f->results.items[i].state->index] = results[i];
        for (int i = 0; i < m->states.count; i++) {
            const ir_state *s = m->states.items[i];
            if (s->kind != IR_PARAM && s->kind != IR_STAT)
                continue;
            near_values(s->name, step, state[i],
                        row(&values, base_format(arena, "step/%s", s->name), step), 1e-12);
            compared++;
        }
    }
    ck_assert_int_eq(compared, 4 * 13); /* 9 parameters, 4 statistics */
}
END_TEST

START_TEST(gradients_agree_with_differences)
{
    ir_module *m = network(FOLDER "torch/norms.onnx", true, ONNX_MODE_TRAIN, _i);
    ir_tensors values = values_of(FOLDER "torch/norms.npz");
    grad_request q;
    pass_widen(m);
    const ir_func *f = ir_func_by_name(m, "train");
    grad_all(&q, f, 0);
    q.r.ncotangents = 1; /* of the loss */
    ir_func *joint = ad_joint(m, f, &q.r, "joint");
    ck_assert_msg(joint != NULL, "%s", first_error);
    ir_literal **args = base_array(arena, ir_literal *, joint->params.count);
    for (int i = 0; i < joint->params.count; i++) {
        const ir_port *p = &joint->params.items[i];
        args[i] = p->role == IR_GRADIENT ? ir_literal_new(arena, &p->value->type)
                  : p->bind == IR_STATE  ? p->state->init
                                         : row(&values, base_format(arena, "in/%s", p->name), 0);
    }
    ir_literal_set(args[f->params.count], 0, 1);
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].name =
            f->params.items[i].name ? f->params.items[i].name : f->params.items[i].state->name;
    grad_check("norms", f, joint, &q, args, 20);
}
END_TEST

/* The same network from both exporters, in the same mode, gives the same results. */
START_TEST(the_mode_is_as_told)
{
    static const struct {
        const char *file;
        onnx_mode mode;
        bool training;
    } cases[] = {
        {"conv_script", ONNX_MODE_FILE, true},  {"conv_script", ONNX_MODE_TRAIN, true},
        {"conv_script", ONNX_MODE_EVAL, false}, {"conv_export", ONNX_MODE_FILE, false},
        {"conv_export", ONNX_MODE_TRAIN, true}, {"conv_export", ONNX_MODE_EVAL, false},
    };
    const ir_module *script = network(FOLDER "conv_script.onnx", false, ONNX_MODE_FILE, false);
    ir_tensors trains = values_of(FOLDER "conv_script.npz");
    for (int k = 0; k < 6; k++)
        for (int way = 0; way < 3; way++) { /* `train`, `forward` beside it, `forward` alone */
            ir_module *m = network(base_format(arena, FOLDER "%s.onnx", cases[k].file), way < 2,
                                   cases[k].mode, false);
            const ir_func *f = ir_func_by_name(m, way ? "forward" : "train");
            bool training = cases[k].training && way != 1;
            ir_tensors own = values_of(base_format(arena, FOLDER "%s.npz", cases[k].file));
            const ir_tensors *due = training ? &trains : &own;
            ir_literal **args = base_array(arena, ir_literal *, f->params.count);
            for (int i = 0; i < f->params.count; i++) {
                const ir_port *p = &f->params.items[i];
                args[i] = p->bind == IR_STATE
                              ? p->state->init
                              : ir_tensor_by_name(due, base_format(arena, "in/%s", p->name));
            }
            ir_literal **results = grad_eval(arena, f, args);
            /* Loss and logits, mean and variance. */
            ck_assert_int_eq(f->results.count, 2 + (training && !way ? 2 : 0));
            for (int i = 0; i < f->results.count; i++) {
                const ir_port *p = &f->results.items[i];
                const char *name = p->bind == IR_STATE ? p->state->name : p->name;
                const char *where = base_format(arena, "%s, mode %d, way %d, %s", cases[k].file,
                                                (int)cases[k].mode, way, name);
                ir_literal *value = ir_tensor_by_name(
                    due, base_format(arena, training ? "train/%s" : "out/%s", name));
                /* The files hold other statistics: what is added to nine tenths of them is the
                 * same. */
                if (p->bind == IR_STATE)
                    for (int64_t j = 0; j < ir_count(&value->type); j++) {
                        const ir_literal *old = ir_state_by_name(script, name)->init,
                                         *mine = p->state->init;
                        ir_literal_set(results[i], j,
                                       ir_literal_get(results[i], j) +
                                           0.9 *
                                               (ir_literal_get(old, j) - ir_literal_get(mine, j)));
                    }
                near_values(where, 0, results[i], value, 2e-6);
            }
        }
}
END_TEST

/* Refused: a statistic that exporters merged with a parameter, and the unbiased variance of a
 * single value per channel. */
START_TEST(what_cannot_train_is_refused)
{
    static const struct {
        const char *file, *says;
        onnx_mode mode;
    } cases[] = {
        {"torch/tied_script.onnx",
         "the running mean is the initializer 'b.bias', which is also a parameter",
         ONNX_MODE_TRAIN},
        {"torch/tied_export.onnx",
         "the running mean is the initializer 'b.bias', which is also a parameter",
         ONNX_MODE_TRAIN},
        {"torch/tied_script.onnx", NULL, ONNX_MODE_EVAL},
        {"torch/tied_export_train.onnx", NULL, ONNX_MODE_TRAIN},
    };
    for (int i = 0; i < 4; i++) {
        *first_error = 0;
        ir_module *m = onnx_read_file(ctx, arena, base_format(arena, FOLDER "%s", cases[i].file),
                                      &(onnx_options){.training = true,
                                                      .batch_norm = cases[i].mode,
                                                      .unbiased_variance = true});
        ck_assert_msg(cases[i].says ? !m && strstr(first_error, cases[i].says) : m && !*first_error,
                      "%s: %s", cases[i].file, first_error);
    }
}
END_TEST

/* Which float initializers train: those that the exporter lists, else all but scalars and
 * statistics. */
START_TEST(scalars_train_where_they_are_listed)
{
    static const struct {
        const char *file;
        bool trains;
        const char *why;
    } cases[] = {
        {"torch/tied_script_train.onnx", false,
         "a scalar initializer, which trains only if --trainable names it"},
        {"torch/tied_export_train.onnx", true, "the exporter lists it as a parameter"},
    };
    for (int i = 0; i < 2; i++) {
        ir_module *m =
            network(base_format(arena, FOLDER "%s", cases[i].file), true, ONNX_MODE_TRAIN, false);
        const ir_state *s = ir_state_by_name(m, "scale"), *w = ir_state_by_name(m, "twice.weight");
        ck_assert(s && s->type.rank == 0 && w && w->trainable);
        ck_assert_int_eq(s->trainable, cases[i].trains);
        ck_assert_str_eq(s->why, cases[i].why);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batchnorm");
    TCase *c = tcase_create("batchnorm");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_test(c, steps_agree_with_torch);
    tcase_add_loop_test(c, gradients_agree_with_differences, 0, 2);
    tcase_add_test(c, the_mode_is_as_told);
    tcase_add_test(c, what_cannot_train_is_refused);
    tcase_add_test(c, scalars_train_where_they_are_listed);
    suite_add_tcase(s, c);
    return suite_run(s);
}
