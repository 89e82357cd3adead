/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Checks gradients by differences on the evaluator in f64: central differences of fourth order,
 * whose error is about h^4. */
#ifndef TESTS_GRAD_H
#define TESTS_GRAD_H

#include "codegen/codegen.h"
#include "gradc_rt.h"
#include "passes/passes.h"
#include "tests/context.h"

#include <math.h>
#include <string.h>

static inline uint64_t grad_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline double grad_uniform(uint64_t *state, double low, double high)
{
    return low + (high - low) * (double)(grad_random(state) >> 11) * 0x1p-53;
}

/* Numbers for a parameter; the first letter of its name says which:
 *   p  positive
 *   u  inside (-1, 1)
 *   a  above 1
 *   d  0.17 apart from each other, and 0.04 from those of the next parameter
 *   i, c  small integers, bools
 *   others  of both signs, away from 0 */
static inline ir_literal *grad_numbers(base_arena *to, const ir_port *port, int number,
                                       uint64_t *state)
{
    const ir_type *t = &port->value->type;
    ir_literal *l = ir_literal_new(to, t);
    int64_t n = ir_count(t), *order = base_array(to, int64_t, n + 1);
    for (int64_t i = 0; i < n; i++) { /* a random order */
        int64_t j = (int64_t)(grad_random(state) % (uint64_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    char kind = port->role == IR_GRADIENT ? 'x' : port->name[0];
    for (int64_t i = 0; i < n; i++) {
        double x = grad_uniform(state, 0.3, 1.7);
        if (!ir_is_float(t->dtype))
            ir_literal_set_int(l, i, (int64_t)(grad_random(state) % (t->dtype == IR_BOOL ? 2 : 3)));
        else
            ir_literal_set(l, i,
                           kind == 'p'   ? x
                           : kind == 'u' ? (x - 1) * 1.2
                           : kind == 'a' ? x + 1
                           : kind == 'd' ? 0.17 * (double)(order[i] - n / 2) + 0.04 * (number + 1)
                           : grad_random(state) % 2 ? x
                                                    : -x);
    }
    return l;
}

static inline ir_literal **grad_eval(base_arena *to, const ir_func *f, ir_literal *const *args)
{
    ir_literal **results = base_array(to, ir_literal *, f->results.count + 1);
    bool bad = false;
    ir_eval(to, f, args, results, &bad);
    ck_assert_msg(!bad, "@%s: an index is out of range", f->name);
    return results;
}

/* What is differentiated: the float results of f from `first` on, with respect to its float
 * inputs. */
typedef struct grad_request {
    ad_request r;
    int cotangents[64], inputs[64];
} grad_request;

static inline void grad_all(grad_request *q, const ir_func *f, int first)
{
    *q = (grad_request){.r = {.loss = -1}};
    q->r.cotangents = q->cotangents;
    q->r.inputs = q->inputs;
    for (int i = 0; i < f->params.count; i++)
        if (ir_is_float(f->params.items[i].value->type.dtype))
            q->inputs[q->r.ninputs++] = i;
    for (int i = first; i < f->results.count; i++)
        if (ir_is_float(f->results.items[i].value->type.dtype))
            q->cotangents[q->r.ncotangents++] = i;
}

/* The sum of the requested results of f, each times its cotangent, with element k of parameter p
 * moved by h. */
static inline double grad_moved(const ir_func *f, const grad_request *q, ir_literal *const *args,
                                int p, int64_t k, double h)
{
    base_arena *scratch = base_arena_new(ctx);
    ir_literal **moved = base_memdup(scratch, args, (size_t)f->params.count * sizeof *args);
    moved[p] = ir_literal_new(scratch, &args[p]->type);
    memcpy(moved[p]->data, args[p]->data, (size_t)ir_bytes(&args[p]->type));
    ir_literal_set(moved[p], k, ir_literal_get(args[p], k) + h);
    ir_literal **results = grad_eval(scratch, f, moved);
    double sum = 0;
    for (int i = 0; i < q->r.ncotangents; i++) {
        const ir_literal *r = results[q->cotangents[i]], *ct = args[f->params.count + i];
        for (int64_t j = 0; j < ir_count(&r->type); j++)
            if (ir_literal_get(ct, j) != 0)
                sum += ir_literal_get(ct, j) * ir_literal_get(r, j);
    }
    base_arena_free(scratch);
    return sum;
}

/* joint is f's joint function of q; args are those of joint, where f's come first. At most `most`
 * elements of each input are tried. */
static inline void grad_check(const char *what, const ir_func *f, const ir_func *joint,
                              const grad_request *q, ir_literal *const *args, int most)
{
    const double h = 1e-3;
    base_arena *scratch = base_arena_new(ctx);
    ir_literal **results = grad_eval(scratch, joint, args);
    for (int i = 0; i < q->r.ninputs; i++) {
        const ir_literal *got = results[f->results.count + i];
        int p = q->inputs[i];
        int64_t n = ir_count(&args[p]->type), step = n > most ? (n + most - 1) / most : 1;
        ck_assert(ir_type_eq(&got->type, &args[p]->type));
        for (int64_t k = 0; k < n; k += step) {
            double d[4];
            for (int j = 0; j < 4; j++)
                d[j] = grad_moved(f, q, args, p, k, h * (j < 2 ? j - 2 : j - 1));
            double due = (d[0] - 8 * d[1] + 8 * d[2] - d[3]) / (12 * h), x = ir_literal_get(got, k);
            ck_assert_msg(fabs(x - due) <= 1e-7 * (1 + fabs(due)),
                          "%s: the derivative for `%s`, element %d, is %.12g; %.12g by differences",
                          what, f->params.items[p].name, (int)k, x, due);
        }
    }
    base_arena_free(scratch);
}

/* Checks first derivatives of f, then those of the joint function, up to `order`. args holds values
 * for f, or NULL, and has room for those of all orders. Returns the last joint function. */
static inline ir_func *grad_check_orders(const char *what, ir_func *f, int order, int most,
                                         uint64_t *state, ir_literal **args)
{
    ir_module *m = f->module;
    int first = 0;
    for (int k = 1; k <= order; k++) {
        grad_request q;
        grad_all(&q, f, first);
        ir_func *joint = ad_joint(m, f, &q.r, base_format(m->arena, "joint%d", k));
        ck_assert_msg(joint != NULL, "%s: %s", what, first_error);
        ir_verify(m);
        for (int i = 0; i < joint->params.count; i++)
            if (!args[i])
                args[i] = grad_numbers(m->arena, &joint->params.items[i], i, state);
        grad_check(base_format(m->arena, "%s, order %d", what, k), f, joint, &q, args, most);
        first = f->results.count;
        f = joint;
    }
    return f;
}

static inline void grad_near(const char *what, const ir_literal *a, const ir_literal *b,
                             double limit)
{
    ck_assert(ir_type_eq(&a->type, &b->type));
    for (int64_t i = 0; i < ir_count(&a->type); i++) {
        double x = ir_literal_get(a, i), y = ir_literal_get(b, i);
        ck_assert_msg(x == y || (x != x && y != y) || fabs(x - y) <= limit * (1 + fabs(y)),
                      "%s: element %d is %.17g, expected %.17g", what, (int)i, x, y);
    }
}

/* The passes before layout leave f's results as they are. */
static inline void grad_survives_passes(const char *what, ir_func *f, ir_literal *const *args)
{
    static const char *const order[] = {"inline", "fold", "simplify", "cse", "simplify", "dce"};
    ir_module *m = f->module;
    ir_literal **before = grad_eval(m->arena, f, args);
    int named = 0;
    for (int i = 0; i < f->params.count; i++)
        named += f->params.items[i].name != NULL;
    ck_assert_msg(named == f->params.count, "%s: a parameter has no name", what);
    for (int i = 0; i < 6; i++)
        pass_run_one(m, pass_by_name(order[i]), true);
    ir_literal **after = grad_eval(m->arena, f, args);
    for (int i = 0; i < f->results.count; i++)
        grad_near(base_format(m->arena, "%s, result %d after the passes", what, i), after[i],
                  before[i], 1e-10);
}

/* Compiled code for two threads gives what the evaluator gives. f becomes @forward, the module's
 * only entry. */
static inline void grad_compiled(const char *what, ir_func *f, ir_literal *const *args)
{
    ir_module *m = f->module;
    ir_literal **due = grad_eval(m->arena, f, args);
    for (int i = m->funcs.count; i-- > 0;)
        if (m->funcs.items[i] != f && m->funcs.items[i]->params.count &&
            m->funcs.items[i]->params.items[0].name)
            ir_func_remove(m->funcs.items[i]);
    ir_func_rename(f, "forward");
    f->entry = true;
    const void *in[64];
    void *out[64];
    for (int i = 0; i < f->params.count; i++) {
        f->params.items[i].role = IR_DATA;
        f->params.items[i].name = base_format(m->arena, "in%d", i);
        in[i] = args[i]->data;
    }
    for (int i = 0; i < f->results.count; i++) {
        f->results.items[i].role = IR_DATA;
        f->results.items[i].name = base_format(m->arena, "out%d", i);
        out[i] = base_alloc(m->arena, (size_t)ir_bytes(&due[i]->type) + 64);
    }
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(m, p, true);
    cg_object *o = cg_compile(
        ctx, m->arena,
        &(cg_request){.prefix = "t", .spec = &(cg_spec){.module = m}, .nspecs = 1, .level = 1});
    cg_jit *jit = o ? cg_jit_load(ctx, m->arena, o->bytes, o->size, NULL) : NULL;
    ck_assert_msg(jit != NULL, "%s: %s", what, first_error);
    gradc_rt_status (*init)(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *),
        (*forward)(gradc_rt_ctx *, const void *, const void *);
    *(void **)&init = cg_jit_symbol(jit, "t_init");
    *(void **)&forward = cg_jit_symbol(jit, "t_forward");
    gradc_rt_options options = {.model = o->id, .size = sizeof options, .threads = 2};
    gradc_rt_ctx *rt;
    void *memory = aligned_alloc(64, (size_t)o->sizes.arena);
    ck_assert_int_eq(init(&rt, memory, (size_t)o->sizes.arena, &options), GRADC_RT_OK);
    ck_assert_int_eq(forward(rt, in, out), GRADC_RT_OK);
    gradc_rt_fini(rt);
    free(memory);
    for (int i = 0; i < f->results.count; i++)
        grad_near(base_format(m->arena, "%s, result %d compiled", what, i),
                  &(ir_literal){due[i]->type, out[i]}, due[i], 1e-9);
}

#endif
