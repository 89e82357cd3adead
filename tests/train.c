/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Training entries, run by the reference evaluator: optimizers against torch's numbers
 * (tests/fixtures/make_optim.py), `step` against forward_train, backward and update, accumulation
 * over micro-batches, what trains and what does not. */
#include "passes/optimizers.h"
#include "passes/passes.h"
#include "tests/context.h"
#include "tests/network_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static ir_module *parse(const char *text)
{
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m != NULL, "%s", first_error);
    return m;
}

/* ---- A module at work: states with values, entries run by name ---- */

typedef struct port {
    const char *name;
    ir_literal *value;
} port;
typedef struct machine {
    ir_module *m;
    ir_literal **state;
    /* in: inputs by name, those of other roles as "gradient NAME", "hyper NAME" */
    port in[16], out[32];
    int nin, nout;
} machine;

static machine start(ir_module *m)
{
    machine x = {.m = m, .state = base_array(arena, ir_literal *, m->states.count)};
    for (int i = 0; i < m->states.count; i++) {
        const ir_state *s = m->states.items[i];
        x.state[i] = ir_literal_new(arena, &s->type);
        if (s->init)
            memcpy(x.state[i]->data, s->init->data, (size_t)ir_bytes(&s->type));
    }
    return x;
}

static const char *port_name(const ir_port *p)
{
    return p->role == IR_DATA ? p->name
                              : base_format(arena, "%s %s", ir_role_names[p->role], p->name);
}

static ir_literal *find(const port *p, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(p[i].name, name))
            return p[i].value;
    ck_abort_msg("no value for `%s`", name);
    return NULL;
}

static ir_literal *set(machine *x, const char *name, ir_literal *v)
{
    for (int i = 0; i < x->nin; i++)
        if (!strcmp(x->in[i].name, name))
            return x->in[i].value = v;
    x->in[x->nin++] = (port){name, v};
    return v;
}

static void set_number(machine *x, const char *name, double v)
{
    ir_type t = ir_scalar_type(IR_F32);
    ir_literal_set(set(x, name, ir_literal_new(arena, &t)), 0, v);
}

static ir_func *entry(const machine *x, const char *name)
{
    ir_func *f = ir_func_by_name(x->m, name);
    ck_assert_msg(f && f->entry, "no entry %s", name);
    return f;
}

static void run(machine *x, const char *name)
{
    const ir_func *f = entry(x, name);
    ir_literal **args = base_array(arena, ir_literal *, f->params.count),
               **results = base_array(arena, ir_literal *, f->results.count);
    for (int i = 0; i < f->params.count; i++) {
        const ir_port *p = &f->params.items[i];
        args[i] =
            p->bind == IR_STATE ? x->state[p->state->index] : find(x->in, x->nin, port_name(p));
    }
    ir_eval(arena, f, args, results, NULL);
    x->nout = 0;
    for (int i = 0; i < f->results.count; i++) {
        const ir_port *p = &f->results.items[i];
        ir_literal *copy = ir_literal_new(arena, &results[i]->type);
        memcpy(copy->data, results[i]->data, (size_t)ir_bytes(&copy->type));
        if (p->bind == IR_STATE)
            x->state[p->state->index] = copy;
        else
            x->out[x->nout++] = (port){port_name(p), copy};
    }
}

static void zero_grad(machine *x)
{
    for (int i = 0; i < x->m->states.count; i++)
        if (x->m->states.items[i]->kind == IR_GRAD)
            x->state[i] = ir_literal_new(arena, &x->m->states.items[i]->type);
}

static ir_literal *state(const machine *x, const char *name)
{
    const ir_state *s = ir_state_by_name(x->m, name);
    ck_assert_msg(s != NULL, "no state %s", name);
    return x->state[s->index];
}

static void near_values(const char *where, const ir_literal *a, const ir_literal *b, double limit)
{
    ck_assert(ir_type_eq(&a->type, &b->type));
    for (int64_t i = 0; i < ir_count(&a->type); i++) {
        double x = ir_literal_get(a, i), y = ir_literal_get(b, i);
        ck_assert_msg(fabs(x - y) <= limit * (1 + fabs(y)), "%s: element %d is %.9g, expected %.9g",
                      where, (int)i, x, y);
    }
}

/* Parameters, statistics, slots and counters agree. */
static void same_states(const char *where, const machine *a, const machine *b, double limit)
{
    for (int i = 0; i < a->m->states.count; i++) {
        ir_state_kind kind = a->m->states.items[i]->kind;
        if (kind != IR_GRAD && kind != IR_SAVED)
            near_values(base_format(arena, "%s: %s", where, a->m->states.items[i]->name),
                        a->state[i], b->state[i], limit);
    }
}

static ir_literal *numbers(ir_dtype dtype, int rank, const int64_t *dim, int salt)
{
    ir_type t = ir_type_of(dtype, rank, dim);
    ir_literal *l = ir_literal_new(arena, &t);
    for (int64_t i = 0; i < ir_count(&t); i++)
        ir_literal_set(l, i, (double)((i * 7 + salt * 5) % 11 - 5) / 4);
    return l;
}

/* ---- Optimizers ---- */

static const char quadratic[] = "gir 1\n"
                                "module \"quadratic\"\n"
                                "param \"a\" : f32[3] trainable init [0.5, -1.25, 2]\n"
                                "param \"b\" : f32[2,2] trainable init [[1, -0.5], [0.25, -2]]\n"
                                "param \"frozen\" : f32[] init 1\n"
                                "param \"apart\" : f32[3] trainable init [1, 2, 3]\n"
                                "entry @forward( state %a : f32[3], state %b : f32[2,2], state "
                                "%frozen : f32[], state %apart : f32[3],\n"
                                "                input %x : f32[3], input %y : f32[2,2] ) {\n"
                                "    %0 = mul %a, %a : f32[3]\n"
                                "    %1 = mul %0, %x : f32[3]\n"
                                "    %2 = reduce %1 combine=sum axes=[0] : f32[]\n"
                                "    %3 = constant value=0.5 : f32[]\n"
                                "    %4 = mul %2, %3 : f32[]\n"
                                "    %5 = mul %b, %y : f32[2,2]\n"
                                "    %6 = reduce %5 combine=sum axes=[0,1] : f32[]\n"
                                "    %7 = add %4, %6 : f32[]\n"
                                "    %8 = mul %7, %frozen : f32[]\n"
                                "    %9 = stop_gradient %apart : f32[3]\n"
                                "    %10 = reduce %9 combine=sum axes=[0] : f32[]\n"
                                "    %11 = add %8, %10 : f32[]\n"
                                "    return ( output \"loss\" %11 loss )\n"
                                "}\n";

static bool build(ir_module *m, const char *optimizer, const bool *no_decay, int ncotangents,
                  int nwrt)
{
    static const int first[] = {0, 1, 2, 3, 4, 5, 6, 7};
    train_options o = {.optimizer = optimizer ? train_optimizer_by_name(optimizer) : NULL,
                       .cotangents = first,
                       .ncotangents = ncotangents,
                       .wrt = first + 4,
                       .nwrt = nwrt,
                       .no_decay = no_decay,
                       .step = optimizer != NULL,
                       .split = true};
    ck_assert(!optimizer || o.optimizer);
    bool ok = train_build(m, &o);
    ck_assert_msg(ok || *first_error, "refused without a word");
    if (ok)
        ir_verify(m);
    return ok;
}

static void check_case(FILE *f)
{
    char name[64], optimizer[32];
    int excluded, n;
    if (fscanf(f, "%63s %31s %d %d", name, optimizer, &excluded, &n) != 4)
        return;
    const bool no_decay[] = {false, excluded != 0, false, false};
    ir_module *m = parse(quadratic);
    ck_assert(build(m, optimizer, no_decay, 1, 0));
    machine whole = start(m), parts = start(m);
    const train_optimizer *o = train_optimizer_by_name(optimizer);
    ck_assert_int_eq(train_hyper_count(o), n);
    machine *both[] = {&whole, &parts};
    for (int i = 0; i < n; i++) {
        double h;
        ck_assert_int_eq(fscanf(f, "%lf", &h), 1);
        for (int k = 0; k < 2; k++)
            set_number(both[k], base_format(arena, "hyper %s", train_hyper_name(o, i)), h);
    }
    set_number(&parts, "gradient loss", 1);
    for (int step = 0; step < 6; step++) {
        for (int k = 0; k < 2; k++) {
            set(both[k], "x", numbers(IR_F32, 1, (int64_t[]){3}, step));
            set(both[k], "y", numbers(IR_F32, 2, (int64_t[]){2, 2}, step + 3));
        }
        run(&whole, "step");
        zero_grad(&parts);
        run(&parts, "forward_train");
        run(&parts, "backward");
        run(&parts, "update");
        const char *where = base_format(arena, "%s, step %d", name, step);
        same_states(where, &parts, &whole, 1e-6);
        for (int i = 0; i < 7; i++) {
            double due, got = ir_literal_get(state(&whole, i < 3 ? "a" : "b"), i < 3 ? i : i - 3);
            ck_assert_int_eq(fscanf(f, "%lf", &due), 1);
            ck_assert_msg(fabs(got - due) <= 2e-6 * (1 + fabs(due)),
                          "%s: element %d is %.9g, torch has %.9g", where, i, got, due);
        }
    }
    ck_assert(ir_literal_get(state(&whole, "frozen"), 0) == 1);
    for (int i = 0; i < 3; i++) /* no gradient, so no decay either */
        ck_assert(ir_literal_get(state(&whole, "apart"), i) == i + 1);
}

START_TEST(optimizers_follow_torch)
{
    FILE *f = fopen("tests/fixtures/optim.txt", "r");
    ck_assert(f != NULL);
    for (int c; (c = fgetc(f)) != EOF;) {
        ungetc(c, f);
        context_teardown();
        context_setup();
        check_case(f);
        while ((c = fgetc(f)) == '\n' || c == ' ')
            ;
        if (c != EOF)
            ungetc(c, f);
    }
    fclose(f);
}
END_TEST

START_TEST(optimizers_are_listed)
{
    train_choice c;
    const char *wrong = train_choose(arena, "sdg", &c);
    for (const train_optimizer *row = optimizers; row->name; row++)
        ck_assert_msg(wrong && strstr(wrong, base_format(arena, "%s, ", row->name)), "%s: %s",
                      row->name, wrong);
    ck_assert_ptr_null(train_choose(arena, "momentum:momentum=0.5,lr=2", &c));
    ck_assert_ptr_eq(c.optimizer, train_optimizer_by_name("momentum"));
    ck_assert_int_eq(c.hyper.count, train_hyper_count(c.optimizer));
    ck_assert_str_eq(c.hyper.items[0].name, "momentum");
    ck_assert(c.hyper.items[0].value == 0.5 && c.hyper.items[1].value == 2);
    ck_assert_ptr_null(train_choose(arena, "none", &c));
    ck_assert_ptr_null(c.optimizer);
    ck_assert_ptr_null(train_optimizer_by_name("none"));
    const train_optimizer *o = train_optimizer_by_name("adamw");
    const char *const names[] = {"lr",           "beta1",      "beta2",    "eps",
                                 "weight_decay", "grad_scale", "clip_norm"};
    const double values[] = {1e-3, 0.9, 0.999, 1e-8, 1e-2, 1, 0};
    ck_assert_int_eq(train_hyper_count(o), 7);
    for (int i = 0; i < 7; i++) {
        ck_assert_str_eq(train_hyper_name(o, i), names[i]);
        ck_assert(train_hyper_default(o, i) == values[i]);
    }
}
END_TEST

/* ---- Functions of a network ---- */

static void set_batch(machine *x, int salt)
{
    int64_t shape[] = {5, 4};
    set(x, "x", numbers(IR_F32, 2, shape, salt));
    ir_type t = ir_type_of(IR_I64, 1, shape);
    ir_literal *label = set(x, "label", ir_literal_new(arena, &t));
    for (int i = 0; i < 5; i++)
        ir_literal_set_int(label, i, (i * 2 + salt) % 3);
}

static void set_presets(machine *x, const train_optimizer *o)
{
    for (int i = 0; i < train_hyper_count(o); i++)
        set_number(x, base_format(arena, "hyper %s", train_hyper_name(o, i)),
                   train_hyper_default(o, i));
    set_number(x, "hyper lr", 0.1);
}

START_TEST(step_is_forward_backward_update)
{
    ir_module *m = parse(network);
    ck_assert(build(m, "adam", NULL, 1, 1));
    ck_assert_ptr_null(ir_func_by_name(m, "train"));
    ck_assert_ptr_nonnull(ir_func_by_name(m, "forward"));
    machine whole = start(m), parts = start(m);
    set_presets(&whole, train_optimizer_by_name("adam"));
    set_presets(&parts, train_optimizer_by_name("adam"));
    set_number(&parts, "gradient loss", 1);
    double first = 0, loss = 0;
    for (int i = 0; i < 20; i++) {
        set_batch(&whole, 1);
        set_batch(&parts, 1);
        run(&whole, "step");
        zero_grad(&parts);
        run(&parts, "forward_train");
        near_values("loss", find(parts.out, parts.nout, "loss"),
                    find(whole.out, whole.nout, "loss"), 1e-5);
        near_values("logits", find(parts.out, parts.nout, "logits"),
                    find(whole.out, whole.nout, "logits"), 1e-4);
        loss = ir_literal_get(find(parts.out, parts.nout, "loss"), 0);
        first = i ? first : loss;
        run(&parts, "backward");
        ck_assert_int_eq(parts.nout, 1);
        ck_assert_str_eq(parts.out[0].name, "gradient x");
        run(&parts, "update");
        same_states(base_format(arena, "step %d", i), &parts, &whole, 1e-4);
    }
    ck_assert(ir_literal_get_int(state(&whole, "calls"), 0) == 20 &&
              ir_literal_get_int(state(&whole, "step"), 0) == 20);
    ck_assert_msg(loss < 0.7 * first, "loss went from %g to %g", first, loss);
}
END_TEST

/* A gradient that cancels out is 0 and decays, as torch's; a parameter that no gradient flows to
 * stays. */
START_TEST(what_cancels_decays)
{
    ir_module *m = parse(
        "gir 1\nmodule \"m\"\nparam \"w\" : f32[] trainable init 2\nparam \"u\" : f32[] trainable "
        "init 3.5\n"
        "entry @forward( state %w : f32[], state %u : f32[] ) {\n"
        "    %1 = sub %w, %w : f32[]\n    %2 = floor %u : f32[]\n    %3 = add %1, %2 : f32[]\n"
        "    return ( output \"loss\" %3 loss )\n}\n");
    ck_assert(build(m, "adamw", NULL, 1, 0));
    machine whole = start(m), parts = start(m);
    set_presets(&whole, train_optimizer_by_name("adamw"));
    set_presets(&parts, train_optimizer_by_name("adamw"));
    set_number(&parts, "gradient loss", 1);
    run(&whole, "step");
    zero_grad(&parts);
    run(&parts, "forward_train");
    run(&parts, "backward");
    run(&parts, "update");
    same_states("one step", &parts, &whole, 0);
    ck_assert(fabs(ir_literal_get(state(&whole, "w"), 0) - 2 * (1 - 0.1 * 0.01)) < 1e-6);
    ck_assert(ir_literal_get(state(&whole, "u"), 0) == 3.5);
}
END_TEST

/* The slope of the loss along a parameter's element, from two calls of forward_train. */
static double slope(machine x, const char *name, int at)
{
    double loss[2];
    const ir_state *s = ir_state_by_name(x.m, name);
    ir_literal **states = x.state;
    for (int k = 0; k < 2; k++) {
        x.state = base_memdup(arena, states, (size_t)x.m->states.count * sizeof *states);
        x.state[s->index] = ir_literal_new(arena, &s->type);
        memcpy(x.state[s->index]->data, states[s->index]->data, (size_t)ir_bytes(&s->type));
        ir_literal_set(x.state[s->index], at,
                       ir_literal_get(states[s->index], at) + (k ? 1e-5 : -1e-5));
        run(&x, "forward_train");
        loss[k] = ir_literal_get(find(x.out, x.nout, "loss"), 0);
    }
    return (loss[1] - loss[0]) / 2e-5;
}

START_TEST(backward_is_the_derivative_in_double)
{
    ir_module *m = parse(network);
    pass_widen(m);
    ir_verify(m);
    ck_assert(build(m, NULL, NULL, 1, 0));
    ck_assert_ptr_null(ir_func_by_name(m, "update"));
    ck_assert_ptr_null(ir_func_by_name(m, "step"));
    machine x = start(m);
    int64_t six[] = {6};
    memcpy(x.state[ir_state_by_name(m, "mean")->index]->data, numbers(IR_F64, 1, six, 2)->data, 48);
    set_batch(&x, 2);
    int64_t shape[] = {5, 4};
    set(&x, "x", numbers(IR_F64, 2, shape, 2));
    ir_type t = ir_scalar_type(IR_F64);
    ir_literal_set(set(&x, "gradient loss", ir_literal_new(arena, &t)), 0, 1);
    machine y = x;
    y.state = base_memdup(arena, x.state, (size_t)m->states.count * sizeof *x.state);
    run(&y, "forward_train");
    run(&y, "backward");
    for (int i = 0; i < 24; i++) {
        double due = slope(x, "w", i), got = ir_literal_get(state(&y, "grad:w"), i);
        ck_assert_msg(fabs(due - got) <= 1e-6, "w[%d]: %g, by differences %g", i, got, due);
        due = slope(x, "v", i % 18), got = ir_literal_get(state(&y, "grad:v"), i % 18);
        ck_assert_msg(fabs(due - got) <= 1e-6, "v[%d]: %g, by differences %g", i % 18, got, due);
    }
}
END_TEST

START_TEST(double_trains_in_double)
{
    ir_module *m = parse(quadratic);
    pass_widen(m);
    ck_assert(build(m, "sgd", NULL, 1, 0));
    machine x = start(m);
    set(&x, "x", numbers(IR_F64, 1, (int64_t[]){3}, 0));
    set(&x, "y", numbers(IR_F64, 2, (int64_t[]){2, 2}, 1));
    set_number(&x, "hyper lr", 0.25);
    set_number(&x, "hyper weight_decay", 0);
    set_number(&x, "hyper grad_scale", 1);
    set_number(&x, "hyper clip_norm", 0.5);
    double sum = 0, g[3];
    for (int i = 0; i < 3; i++) {
        g[i] = ir_literal_get(state(&x, "a"), i) * ir_literal_get(find(x.in, x.nin, "x"), i);
        sum += g[i] * g[i];
    }
    for (int i = 0; i < 4; i++)
        sum +=
            ir_literal_get(find(x.in, x.nin, "y"), i) * ir_literal_get(find(x.in, x.nin, "y"), i);
    double due = ir_literal_get(state(&x, "a"), 1) - 0.25 * g[1] * 0.5 / (sqrt(sum) + 1e-6);
    run(&x, "step");
    ck_assert(fabs(ir_literal_get(state(&x, "a"), 1) - due) < 1e-14);
}
END_TEST

START_TEST(gradients_add_up)
{
    ir_module *m = parse(network);
    ck_assert(build(m, "sgd", NULL, 1, 0));
    machine x = start(m);
    set_number(&x, "gradient loss", 1);
    ir_literal *sum[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) { /* each batch alone, from the same state but for the counters */
        machine y = start(m);
        y.state = base_memdup(arena, x.state, (size_t)m->states.count * sizeof *x.state);
        memcpy(y.in, x.in, sizeof x.in);
        y.nin = x.nin;
        machine *both[] = {&x, &y};
        zero_grad(&y);
        for (int k = 0; k < 2; k++) {
            set_batch(both[k], i);
            run(both[k], "forward_train");
            run(both[k], "backward");
        }
        sum[i] = state(&y, "grad:w");
    }
    for (int i = 0; i < 24; i++)
        ir_literal_set(sum[0], i, ir_literal_get(sum[0], i) + ir_literal_get(sum[1], i));
    near_values("sum of both", state(&x, "grad:w"), sum[0], 1e-6);
}
END_TEST

START_TEST(saved_is_what_backward_reads)
{
    ir_module *m = parse(network);
    ck_assert(build(m, NULL, NULL, 1, 0));
    const ir_func *forward = ir_func_by_name(m, "forward_train"),
                  *backward = ir_func_by_name(m, "backward");
    int64_t bytes = 0;
    for (int i = 0; i < m->states.count; i++) {
        const ir_state *s = m->states.items[i];
        if (s->kind != IR_SAVED)
            continue;
        bool written = false, read = false;
        for (int k = 0; k < forward->results.count; k++)
            written |= forward->results.items[k].state == s;
        for (int k = 0; k < backward->params.count; k++)
            read |= backward->params.items[k].state == s;
        ck_assert_msg(written && read, "%s is not both written and read", s->name);
        ck_assert_msg(s->type.dtype != IR_U32, "random bits are saved, not the mask");
        bytes += ir_bytes(&s->type);
    }
    /* operand of the second contraction 120, a mask or two of 30, shifted 60, sum 20, old mean
     * 24 */
    ck_assert_msg(bytes <= 120 + 60 + 60 + 20 + 24, "%d bytes are saved", (int)bytes);
    IR_FOR (inst, backward)
        ck_assert_msg(inst->op != IR_OP_random_bits, "backward draws random bits again");
}
END_TEST

START_TEST(a_step_needs_a_loss)
{
    ir_module *m = parse("gir 1\nmodule \"m\"\nparam \"w\" : f32[2] trainable\n"
                         "entry @forward( state %w : f32[2], input %x : f32[2] ) {\n    %0 = mul "
                         "%x, %w : f32[2]\n    return ( output \"y\" %0 )\n"
                         "}\n");
    ck_assert(!build(m, "sgd", NULL, 0, 0));
    ck_assert_ptr_nonnull(strstr(first_error, "needs a loss"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("train");
    TCase *c = tcase_create("train");
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_test(c, optimizers_are_listed);
    tcase_add_test(c, optimizers_follow_torch);
    tcase_add_test(c, step_is_forward_backward_update);
    tcase_add_test(c, what_cancels_decays);
    tcase_add_test(c, backward_is_the_derivative_in_double);
    tcase_add_test(c, double_trains_in_double);
    tcase_add_test(c, gradients_add_up);
    tcase_add_test(c, saved_is_what_backward_reads);
    tcase_add_test(c, a_step_needs_a_loss);
    suite_add_tcase(s, c);
    return suite_run(s);
}
