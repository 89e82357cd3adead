/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The checks of every graph: its text reads back to itself; compiled code gives what the evaluator
 * gives, with the same bits for any number of threads; a graph with a loss has the gradients that
 * differences give, and trains as its plain joint function and update do. Some graphs have their
 * second derivatives checked, which are compiled too. */
#ifndef TESTS_GRAPH_CHECK_H
#define TESTS_GRAPH_CHECK_H

#include "passes/optimizers.h"
#include "passes/passes.h"
#include "tests/graph_run.h"

static inline const char *graph_printed(base_arena *a, const ir_module *m)
{
    char *bytes;
    size_t size;
    FILE *f = open_memstream(&bytes, &size);
    ir_print(f, m, NULL);
    fclose(f);
    const char *text = base_strndup(a, bytes, size);
    free(bytes);
    return text;
}

static inline bool graph_reads_back(graph_check *k)
{
    ir_module *m = graph_parse(k);
    if (!m)
        return false;
    const char *first = graph_printed(k->arena, m);
    ir_module *again = ir_parse(k->ctx, k->arena, first, strlen(first), "again.gir", NULL);
    if (!again)
        return graph_fail(k, "what is printed is refused: %s", base_ctx_why(k->ctx));
    return !strcmp(first, graph_printed(k->arena, again)) ||
           graph_fail(k, "text: the graph is printed otherwise after it was read");
}

/* ---- Comparison ---- */

/* The result of a call that is compared with a reference. */
static inline bool graph_compare(graph_code *c, const char *entry, reference *r, int result,
                                 const void *got)
{
    const ir_port *p = &r->f->results.items[result];
    const ir_literal value = {p->value->type, (void *)got};
    int64_t i = reference_check(r, result, &value);
    if (i < 0)
        return true;
    double low = INFINITY, high = -INFINITY;
    for (int s = 0; s < r->samples; s++) {
        low = fmin(low, ir_literal_get(r->sample[s][result], i));
        high = fmax(high, ir_literal_get(r->sample[s][result], i));
    }
    return graph_fail(c->k,
                      "%s, %u threads: %s: `%s` (%s) is %.17g at element %lld, not %.17g (with "
                      "noise %.17g to %.17g)",
                      c->where, c->threads, entry, p->state ? p->state->name : p->name,
                      ir_type_text(c->k->arena, &value.type), ir_literal_get(&value, i),
                      (long long)i, ir_literal_get(r->due[result], i), low, high);
}

/* Outputs and new statistics after a call. */
static inline bool graph_compare_results(graph_code *c, const char *entry, reference *r)
{
    for (int i = 0; i < r->f->results.count; i++) {
        const ir_port *p = &r->f->results.items[i];
        if (p->role != IR_DATA)
            continue;
        const void *got = p->bind == IR_INPUT
                              ? graph_get(c, CG_OUTPUTS, p->name)
                              : base_alloc(c->k->arena, (size_t)ir_bytes(&p->value->type) + 1);
        if (!got || (p->bind == IR_STATE && !graph_param(c, p->state->name, (void *)got)))
            return graph_fail(c->k, "%s: %s: there is no `%s`", c->where, entry,
                              p->state ? p->state->name : p->name);
        if (!graph_compare(c, entry, r, i, got))
            return false;
    }
    return true;
}

/* Whether the call ended as the reference did; `done` is false if there is nothing to compare. */
static inline bool graph_status(graph_code *c, const char *entry, reference *r,
                                gradc_rt_status status, bool *done)
{
    *done = status == GRADC_RT_OK;
    if (status == GRADC_RT_OK)
        return true;
    while (r->samples < NOISE_MANY && status == GRADC_RT_E_INDEX && !r->may_be_bad)
        reference_sample(r);
    if (status == GRADC_RT_E_INDEX && (r->may_be_bad || (r->dead_bad && !c->optimised)))
        return true;
    return graph_fail(c->k, "%s, %u threads: %s: %s", c->where, c->threads, entry,
                      gradc_rt_status_text(status));
}

/* All outputs in one piece, to compare them with those for other numbers of threads. */
static inline const char *graph_bits(graph_code *c, size_t *size)
{
    size_t n = 0;
    const cg_part *part = &c->o->part[CG_OUTPUTS];
    for (int i = 0; i < part->count; i++)
        n += c->at[CG_OUTPUTS][i].bytes;
    char *all = base_alloc(c->k->arena, n + 1);
    *size = n;
    n = 0;
    for (int i = 0; i < part->count; i++) {
        memcpy(all + n, c->pointer[CG_OUTPUTS][i], c->at[CG_OUTPUTS][i].bytes);
        n += c->at[CG_OUTPUTS][i].bytes;
    }
    return all;
}

/* ---- Values ---- */

static inline ir_func *graph_forward(const ir_module *m)
{
    return ir_func_by_name(m, "forward");
}

/* The reference of @forward, without dead code: an index that nothing uses is not checked. */
static inline reference *graph_reference(graph_check *k, bool real)
{
    ir_module *m = graph_parse(k);
    if (!m)
        return NULL;
    ir_func *f = graph_forward(m);
    ir_literal **args = graph_args(k, f, NULL, false, real),
               **ignored = base_array(k->arena, ir_literal *, f->results.count + 1);
    bool bad = false;
    ir_eval(k->arena, f, args, ignored, &bad);
    pass_run_one(m, pass_by_name("dce"), true);
    reference *r = reference_new(k->arena, f, args, k->seed);
    r->dead_bad = bad;
    return r;
}

static inline bool graph_gives(graph_check *k, const graph_config *config, reference *r, bool real)
{
    static const uint32_t threads[] = {1, 3};
    ir_module *m = graph_parse(k);
    graph_code code;
    if (!m || !graph_compile(k, m, config, &code))
        return false;
    const char *bits[2] = {NULL, NULL};
    for (int t = 0; t < 2; t++) {
        size_t size;
        bool done;
        if (!graph_start(&code, threads[t], real))
            return false;
        graph_pass_args(&code, r->f, r->args);
        bool ok = graph_status(&code, "forward", r,
                               graph_call(&code, GRADC_RT_FORWARD, false, NULL), &done);
        if (ok && done) {
            bits[t] = graph_bits(&code, &size);
            ok = t && bits[0]
                     ? !memcmp(bits[0], bits[1], size) ||
                           graph_fail(k, "%s: 3 threads give other bits than 1", code.where)
                     : graph_compare_results(&code, "forward", r);
        }
        graph_stop(&code);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- Derivatives ---- */

/* Whether differences can check it: not where a value is rounded to 16 bits, or a derivative is
 * zero by definition. */
static inline bool graph_is_smooth(const ir_module *m)
{
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR(inst, m->funcs.items[i])
        {
            if (inst->op == IR_OP_stop_gradient ||
                (inst->op == IR_OP_bitcast && ir_is_float(inst->operand[0]->type.dtype)))
                return false;
            for (int r = 0; r < inst->nresults; r++)
                if (ir_is_float(inst->result[r]->type.dtype) &&
                    ir_dtypes[inst->result[r]->type.dtype].bytes < 4)
                    return false;
        }
    return true;
}

/* Higher derivatives grow; those that are too long are skipped. */
static inline bool graph_is_short(const ir_func *f)
{
    int n = 0;
    for (int i = 0; i < f->module->funcs.count; i++)
        IR_FOR(inst, f->module->funcs.items[i]) n++;
    return n < 3000;
}

typedef struct graph_wish { /* what is differentiated */
    ad_request r;
    ir_state **states;
    int inputs[64], cotangents[64];
    ir_literal **weight; /* of the results with a cotangent; NULL: the loss alone */
} graph_wish;

/* Requests gradients of the loss for all trainable parameters that @forward reads, and for some of
 * the float inputs; with `outputs`, also of other outputs. */
static inline void graph_wishes(graph_check *k, const ir_module *m, graph_wish *w, bool all,
                                bool outputs)
{
    const ir_func *f = graph_forward(m);
    *w = (graph_wish){.r = {.loss = f->loss},
                      .states = base_array(k->arena, ir_state *, m->states.count + 1)};
    w->r.states = w->states;
    w->r.inputs = w->inputs;
    w->r.cotangents = w->cotangents;
    for (int s = 0; s < m->states.count; s++)
        for (int i = 0; i < f->params.count; i++)
            if (f->params.items[i].state == m->states.items[s] && m->states.items[s]->trainable)
                w->states[w->r.nstates++] = m->states.items[s];
    for (int i = 0; i < f->params.count && w->r.ninputs < 64; i++) {
        const ir_port *p = &f->params.items[i];
        if (p->bind == IR_INPUT && ir_is_float(p->value->type.dtype) &&
            (all || graph_hash(p->name, k->seed) >> 30 & 1))
            w->inputs[w->r.ninputs++] = i;
    }
    for (int i = 0; i < f->results.count && w->r.ncotangents < 64 && !all; i++) {
        const ir_port *p = &f->results.items[i];
        if (i == f->loss || (outputs && p->bind == IR_INPUT && ir_is_float(p->value->type.dtype) &&
                             graph_hash(p->name, k->seed) >> 30 & 1))
            w->cotangents[w->r.ncotangents++] = i;
    }
}

/* The scalar that is differentiated; *size is the sum of its terms' magnitudes. */
static inline double graph_number(const ir_func *f, const graph_wish *w, ir_literal *const *results,
                                  double *size)
{
    double sum = w->weight ? 0 : ir_literal_get(results[f->loss], 0);
    *size = fabs(sum);
    for (int i = 0; i < w->r.ncotangents && w->weight; i++)
        for (int64_t e = 0; e < ir_count(&w->weight[i]->type); e++) {
            double x =
                ir_literal_get(w->weight[i], e) * ir_literal_get(results[w->cotangents[i]], e);
            sum += x;
            *size += fabs(x);
        }
    return sum;
}

/* The same scalar with its arguments moved by h along a direction that depends on `way`; adds up
 * the slope by the gradients. */
static inline double graph_moved(graph_check *k, const ir_func *f, const graph_wish *w,
                                 ir_literal *const *args, ir_literal *const *gradient, int way,
                                 double h, double *slope)
{
    base_arena *scratch = base_arena_new(k->ctx);
    ir_literal **moved = base_memdup(scratch, args, (size_t)(f->params.count + 1) * sizeof *args),
               **results = base_array(scratch, ir_literal *, f->results.count + 1);
    *slope = 0;
    int n = w->r.nstates + w->r.ninputs;
    for (int i = 0; i < n; i++) {
        int p = i < w->r.nstates ? -1 : w->inputs[i - w->r.nstates];
        for (int j = 0; p < 0 && j < f->params.count; j++)
            if (f->params.items[j].state == w->states[i])
                p = j;
        const ir_type *t = &args[p]->type;
        uint64_t random = graph_hash("way", (uint64_t)(way * 64 + i));
        if (way && i != way % n)
            continue;
        moved[p] = ir_literal_new(scratch, t);
        for (int64_t e = 0; e < ir_count(t); e++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            double by = (double)(random >> 11) * 0x1p-52 - 1;
            ir_literal_set(moved[p], e, ir_literal_get(args[p], e) + h * by);
            *slope += by * ir_literal_get(gradient[i], e);
        }
    }
    ir_eval(scratch, f, moved, results, NULL);
    double size, y = graph_number(f, w, results, &size);
    base_arena_free(scratch);
    return y;
}

static inline void graph_see_infinity(void *user, const ir_inst *inst, ir_literal *const *operand,
                                      ir_literal **result)
{
    (void)operand;
    bool *seen = user;
    for (int i = 0; i < inst->nresults; i++)
        *seen |= ir_is_float(result[i]->type.dtype) && !noise_is_finite(result[i]);
}

/* Whether an intermediate value is infinite, as the minimum of a window of padding alone: where
 * that leads to a finite value again, a derivative is zero times infinity, in torch too. */
static inline bool graph_meets_infinity(graph_check *k, const ir_func *f, ir_literal *const *args)
{
    bool seen = false;
    ir_literal **results = base_array(k->arena, ir_literal *, f->results.count + 1);
    ir_eval_watched(k->arena, f, args, results, NULL, graph_see_infinity, &seen);
    return seen;
}

typedef struct graph_slopes {
    int tried, judged; /* directions; those without a kink nearby */
} graph_slopes;

/* Central differences of two steps, extrapolated. Where they disagree, or the second difference
 * does not shrink with the square of the step, there is a kink, and nothing is checked. */
static inline bool graph_slope(graph_check *k, const ir_func *f, const graph_wish *w,
                               ir_literal *const *args, ir_literal *const *gradient, int way,
                               double at, double size, graph_slopes *count)
{
    const double h = 1e-4;
    double slope, up[3], down[3];
    for (int i = 0; i < 3; i++) {
        up[i] = graph_moved(k, f, w, args, gradient, way, h / (1 << i), &slope);
        down[i] = graph_moved(k, f, w, args, gradient, way, -h / (1 << i), &slope);
    }
    double d[3], bend[3];
    for (int i = 0; i < 3; i++) {
        d[i] = (up[i] - down[i]) / (2 * h / (1 << i));
        bend[i] = fabs(up[i] - 2 * at + down[i]);
    }
    double best = (4 * d[2] - d[1]) / 3, rounding = 1e-15 * size / h * 64,
           off = fabs(d[1] - d[2]) + fabs(d[0] - d[1]);
    count->tried++;
    bool kink = !isfinite(best) || off > 1e-4 * (1 + fabs(best)) ||
                bend[2] > 0.3 * bend[1] + rounding * h || bend[1] > 0.3 * bend[0] + rounding * h;
    if (kink || (isnan(slope) && graph_meets_infinity(k, f, args)))
        return true;
    count->judged++;
    return fabs(slope - best) <= 2 * off + rounding + 1e-7 * (1 + fabs(best)) ||
           graph_fail(
               k,
               "gradient of order %d: along direction %d the slope is %.12g, %.12g by differences",
               w->weight ? 2 : 1, way, slope, best);
}

/* joint is f's joint function for w; args are joint's. */
static inline bool graph_slopes_are(graph_check *k, const ir_func *f, const ir_func *joint,
                                    const graph_wish *w, ir_literal *const *args,
                                    graph_slopes *count)
{
    ir_literal **results = base_array(k->arena, ir_literal *, joint->results.count + 1);
    bool bad = false;
    ir_eval(k->arena, joint, args, results, &bad);
    double size, at = graph_number(f, w, results, &size);
    if (!isfinite(size) || bad || !(w->r.nstates + w->r.ninputs))
        return true;
    for (int way = 0; way < 3; way++)
        if (!graph_slope(k, f, w, args, results + f->results.count, way, at, size + 1, count))
            return false;
    return true;
}

/* Requests the derivatives of a joint function's gradients. */
static inline void graph_wish_next(graph_wish *w, const ir_func *f, const ir_func *joint)
{
    w->r.loss = -1;
    w->r.ncotangents = 0;
    for (int i = f->results.count; i < joint->results.count && w->r.ncotangents < 64; i++)
        w->cotangents[w->r.ncotangents++] = i;
}

/* Appends values for a joint function's cotangents to its `own` other arguments. */
static inline ir_literal **graph_more_args(graph_check *k, const ir_func *joint,
                                           ir_literal *const *args, int own)
{
    ir_literal **all = base_array(k->arena, ir_literal *, joint->params.count + 1);
    memcpy(all, args, (size_t)own * sizeof *all);
    for (int i = own; i < joint->params.count; i++)
        all[i] = graph_values(k->arena, base_format(k->arena, "weight%d", i),
                              &joint->params.items[i].value->type, k->seed, true);
    return all;
}

static inline bool graph_differences(graph_check *k, graph_slopes *count)
{
    ir_module *m = graph_parse(k);
    if (!m)
        return false;
    if (!graph_is_smooth(m) || graph_forward(m)->loss < 0)
        return true;
    pass_widen(m);
    ir_func *f = graph_forward(m);
    graph_wish w;
    graph_wishes(k, m, &w, true, false);
    ir_literal **args = graph_args(k, f, NULL, false, true);
    ir_func *joint = ad_joint(m, f, &w.r, "joint");
    if (!joint)
        return strstr(base_ctx_why(k->ctx), "while_loop") ||
               graph_fail(k, "no gradient: %s", base_ctx_why(k->ctx));
    ir_verify(m);
    if ((k->stages & GRAPH_SLOPES) && !graph_slopes_are(k, f, joint, &w, args, count))
        return false;
    if (!(k->stages & GRAPH_SECOND) || !graph_is_short(joint))
        return true;
    graph_wish_next(&w, f, joint);
    ir_func *second = ad_joint(m, joint, &w.r, "second");
    if (!second)
        return graph_fail(k, "no second derivative: %s", base_ctx_why(k->ctx));
    ir_verify(m);
    args = graph_more_args(k, second, args, joint->params.count);
    w.weight = args + joint->params.count;
    return !graph_is_short(second) || graph_slopes_are(k, joint, second, &w, args, count);
}

/* A graph's gradients of order 2 as a graph of its own; NULL if it has none, or they are too
 * long. */
static inline const char *graph_second(graph_check *k)
{
    ir_module *m = graph_parse(k);
    ir_func *f = graph_forward(m);
    graph_wish w;
    graph_wishes(k, m, &w, true, false);
    ir_func *joint = w.r.nstates + w.r.ninputs ? ad_joint(m, f, &w.r, "joint") : NULL;
    if (!joint || !graph_is_short(joint))
        return NULL;
    graph_wish_next(&w, f, joint);
    ir_func *second = ad_joint(m, joint, &w.r, "second");
    if (!second || !graph_is_short(second))
        return NULL;
    ir_func_remove(f);
    ir_func_remove(joint);
    ir_func_rename(second, "forward");
    second->entry = true;
    for (int i = 0; i < second->params.count + second->results.count; i++) {
        bool in = i < second->params.count;
        ir_port *p =
            in ? &second->params.items[i] : &second->results.items[i - second->params.count];
        p->role = IR_DATA;
        if (p->bind == IR_INPUT)
            p->name = base_format(k->arena, "%s%d", in ? "in" : "out", i);
    }
    second->loss = -1;
    pass_drop_functions(m);
    ir_verify(m);
    return graph_printed(k->arena, m);
}

static inline bool graph_gives_second(graph_check *k, const graph_config *c)
{
    graph_check second = *k;
    second.text = graph_second(k);
    reference *r = second.text ? graph_reference(&second, true) : NULL;
    return !r || graph_gives(&second, c, r, true) || graph_fail(k, "order 2: %s", second.fault);
}

/* ---- Training ---- */

typedef struct graph_training {
    graph_check *k;
    struct graph_training *before; /* the step before this one, or NULL */
    reference *joint, *update; /* update: NULL without an optimizer */
    const ir_func *f;
    int own; /* results of the joint function that are the forward function's */
    const float *hyper;
    bool ones;
} graph_training;

static inline ir_literal **graph_sampled(reference *r, int sample) /* -1: without noise */
{
    while (sample >= r->samples)
        reference_sample(r);
    return sample < 0 ? r->due : r->sample[sample];
}

/* What a state holds before a step of a sample, if the step before wrote it; else NULL. */
static inline ir_literal *graph_held(graph_training *t, const ir_state *s, int sample)
{
    for (int k = 0; t->before && k < 2; k++) {
        reference *r = k ? t->before->update : t->before->joint;
        for (int i = 0; i < r->f->results.count; i++)
            if (r->f->results.items[i].state &&
                !strcmp(r->f->results.items[i].state->name, s->name))
                return graph_sampled(r, sample)[i];
    }
    return NULL;
}

static inline ir_literal **graph_joint_args(void *user, int sample)
{
    graph_training *t = user;
    const ir_func *f = t->before->joint->f;
    ir_literal **first = t->before->joint->args,
               **args =
                   base_memdup(t->k->arena, first, (size_t)(f->params.count + 1) * sizeof *args);
    for (int i = 0; i < f->params.count; i++) {
        ir_literal *held =
            f->params.items[i].state ? graph_held(t, f->params.items[i].state, sample) : NULL;
        args[i] = held ? held : args[i];
    }
    return args;
}

/* Arguments of the update when the joint function's results are those of a sample. */
static inline ir_literal **graph_update_args(void *user, int sample)
{
    graph_training *t = user;
    ir_literal **from = graph_sampled(t->joint, sample);
    const ir_func *u = t->update ? t->update->f : t->f;
    ir_literal **args = base_array(t->k->arena, ir_literal *, u->params.count + 1);
    int hyper = 0;
    for (int i = 0; i < u->params.count; i++) {
        const ir_port *p = &u->params.items[i];
        ir_literal *held = p->state ? graph_held(t, p->state, sample) : NULL;
        args[i] = held ? held : ir_literal_new(t->k->arena, &p->value->type);
        if (p->role == IR_HYPER)
            ir_literal_set(args[i], 0, t->hyper[hyper++]);
        else if (held)
            continue;
        else if (p->state && p->state->kind == IR_PARAM)
            args[i] = graph_state_values(t->k, p->state, true);
        for (int j = t->own; j < t->joint->f->results.count && p->state && p->state->of &&
                             p->state->kind == IR_GRAD;
             j++)
            if (!strcmp(t->joint->f->results.items[j].name, p->state->of->name))
                args[i] = from[j];
    }
    return args;
}

/* Checks that parameters are the update's results, or unchanged. */
static inline bool graph_compare_params(graph_code *c, const char *entry, graph_training *t,
                                        bool changed)
{
    for (size_t i = 0; c->param(i); i++) {
        const ir_state *s = ir_state_by_name(c->m, c->param(i)->name);
        if (!s || s->kind != IR_PARAM)
            continue;
        void *got = base_alloc(t->k->arena, c->param(i)->bytes + 1);
        gradc_rt_param_get(c->rt, i, got);
        int result = -1;
        for (int j = 0; changed && t->update && j < t->update->f->results.count; j++)
            if (t->update->f->results.items[j].state &&
                !strcmp(t->update->f->results.items[j].state->name, s->name))
                result = j;
        if (result >= 0 && !graph_compare(c, entry, t->update, result, got))
            return false;
        if (result < 0 && memcmp(got, graph_state_values(t->k, s, true)->data, c->param(i)->bytes))
            return graph_fail(t->k, "%s: %s: the parameter `%s` changed", c->where, entry, s->name);
    }
    return true;
}

/* Checks gradients after backward. */
static inline bool graph_compare_gradients(graph_code *c, graph_training *t)
{
    for (int j = t->own; j < t->joint->f->results.count; j++) {
        const ir_port *p = &t->joint->f->results.items[j];
        const void *got = NULL;
        bool is_state = false;
        for (int s = 0; s < c->m->states.count; s++)
            if (c->m->states.items[s]->kind == IR_GRAD &&
                !strcmp(c->m->states.items[s]->of->name, p->name)) {
                size_t bytes;
                is_state = true;
                got = gradc_rt_state_data(c->rt, c->m->states.items[s]->name, &bytes);
            }
        if (!is_state)
            got = graph_get(c, CG_INPUT_GRADS, p->name);
        if (got && !graph_compare(c, "backward", t->joint, j, got))
            return false;
    }
    return true;
}

static inline bool graph_trains_split(graph_code *c, graph_training *t)
{
    bool done;
    graph_pass_args(c, t->joint->f, t->joint->args);
    if (!graph_status(c, "forward_train", t->joint,
                      graph_call(c, GRADC_RT_FORWARD_TRAIN, false, NULL), &done) ||
        !done)
        return !*t->k->fault;
    if (!graph_compare_results(c, "forward_train", t->joint))
        return false;
    if (!graph_status(c, "backward", t->joint, graph_call(c, GRADC_RT_BACKWARD, !t->ones, NULL),
                      &done) ||
        !done)
        return !*t->k->fault;
    if (!graph_compare_gradients(c, t))
        return false;
    if (!t->update)
        return true;
    gradc_rt_status status = graph_call(c, GRADC_RT_UPDATE, false, t->hyper);
    if (status)
        return graph_fail(t->k, "%s: update: %s", c->where, gradc_rt_status_text(status));
    return graph_compare_params(c, "update", t, true);
}

/* The references of the step behind t. */
static inline void graph_training_next(graph_training *t, graph_training *next)
{
    *next = *t;
    next->before = t;
    next->joint =
        reference_new(t->k->arena, t->joint->f, graph_joint_args(next, -1), t->k->seed + 1);
    next->joint->args_of = graph_joint_args;
    next->update =
        reference_new(t->k->arena, t->update->f, graph_update_args(next, -1), t->k->seed + 1);
    next->update->args_of = graph_update_args;
    next->joint->user = next->update->user = next;
}

static inline bool graph_step(graph_code *c, graph_training *t, const char *entry, bool *done)
{
    return graph_status(c, entry, t->joint, graph_call(c, GRADC_RT_STEP, false, t->hyper), done) &&
           (!*done || graph_compare_results(c, entry, t->joint)) &&
           graph_compare_params(c, entry, t, *done);
}

/* Two steps: the second reads what the first wrote: parameters, statistics, slots, the step
 * count. */
static inline bool graph_trains_whole(graph_code *c, graph_training *t)
{
    bool done;
    graph_pass_args(c, t->joint->f, t->joint->args);
    if (!graph_step(c, t, "step", &done) || !done)
        return !*t->k->fault;
    graph_training next;
    graph_training_next(t, &next);
    return graph_step(c, &next, "second step", &done);
}

static inline bool graph_builds_training(graph_check *k, ir_module *m,
                                         const train_optimizer *optimizer)
{
    graph_wish w;
    graph_wishes(k, m, &w, false, !optimizer);
    train_options o = {.optimizer = optimizer,
                       .cotangents = w.cotangents,
                       .ncotangents = w.r.ncotangents,
                       .wrt = w.inputs,
                       .nwrt = w.r.ninputs,
                       .step = optimizer != NULL,
                       .split = true};
    return train_build(m, &o) || graph_fail(k, "training is refused: %s", base_ctx_why(k->ctx));
}

/* The references: the joint function as autodiff gives it, and the update on its gradients. */
static inline bool graph_training_of(graph_check *k, const train_optimizer *optimizer,
                                     graph_training *t)
{
    ir_module *plain = graph_parse(k), *built = graph_parse(k);
    graph_wish w;
    graph_wishes(k, plain, &w, false, !optimizer);
    const ir_func *f = graph_forward(plain);
    const char *loss = f->results.items[f->loss].name;
    if (!w.r.nstates)
        return false;
    ir_func *joint = ad_joint(plain, f, &w.r, "joint");
    if (!joint)
        return strstr(base_ctx_why(k->ctx), "while_loop")
                   ? false
                   : graph_fail(k, "no gradient: %s", base_ctx_why(k->ctx));
    int own = f->results.count;
    f = joint;
    pass_run_one(plain, pass_by_name("dce"), true);
    *t = (graph_training){.k = k, .own = own, .ones = !optimizer ? k->seed >> 3 & 1 : true};
    ir_literal **args = graph_args(k, joint, loss, t->ones, true);
    t->joint = reference_new(k->arena, joint, args, k->seed);
    if (!optimizer)
        return true;
    int n = train_hyper_count(optimizer);
    float *hyper = base_array(k->arena, float, n + 1);
    for (int i = 0; i < n; i++)
        hyper[i] = (float)train_hyper_default(optimizer, i);
    hyper[n - 1] = k->seed >> 4 & 1 ? 0.5f : 0; /* clip_norm */
    t->hyper = hyper;
    if (!graph_builds_training(k, built, optimizer))
        return false;
    t->f = ir_func_by_name(built, "update");
    t->update = reference_new(k->arena, t->f, graph_update_args(t, -1), k->seed);
    t->update->args_of = graph_update_args;
    t->update->user = t;
    return true;
}

static inline bool graph_trains(graph_check *k, const graph_config *config)
{
    unsigned rows = 0;
    while (optimizers[rows].name)
        rows++;
    /* Cycles through the optimizers and none. */
    const train_optimizer *optimizer =
        k->seed % (rows + 1) ? &optimizers[k->seed % (rows + 1) - 1] : NULL;
    graph_training t;
    if (!graph_training_of(k, optimizer, &t))
        return !*k->fault;
    ir_module *m = graph_parse(k);
    graph_code code;
    if (!graph_builds_training(k, m, optimizer) || !graph_compile(k, m, config, &code))
        return false;
    for (int whole = 0; whole < 1 + (optimizer != NULL); whole++) {
        if (!graph_start(&code, (k->seed + (unsigned)whole) % 2 ? 1 : 3, true))
            return false;
        bool ok = whole ? graph_trains_whole(&code, &t) : graph_trains_split(&code, &t);
        graph_stop(&code);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- All checks ---- */

enum { GRAPH_ALL = -1, GRAPH_TWO = -2 };

/* The n-th requested configuration; false past the last. which: one, GRAPH_ALL, or GRAPH_TWO: two
 * that depend on the seed. */
static inline bool graph_config_at(const graph_check *k, int which, int n, graph_config *out)
{
    unsigned random = (unsigned)(graph_hash("configurations", k->seed) >> 20), seen = 0;
    for (unsigned i = 0; i < GRAPH_CONFIGS; i++) {
        *out = graph_config_of(which >= 0           ? (unsigned)which
                               : which == GRAPH_ALL ? i
                                                    : random + i * 7);
        if (level_runs_here(out->cpu) && (int)seen++ == n)
            return which == GRAPH_ALL || n < (which == GRAPH_TWO ? 2 : 1);
    }
    return false;
}

static inline bool graph_is_right(graph_check *k, int which, graph_slopes *slopes)
{
    const ir_module *m = graph_parse(k);
    if (!m || ((k->stages & GRAPH_TEXT) && !graph_reads_back(k)))
        return false;
    if (!graph_forward(m))
        return graph_fail(k, "there is no @forward");
    bool loss = graph_forward(m)->loss >= 0, values = k->stages & GRAPH_VALUES,
         trains = loss && k->stages & GRAPH_TRAINS;
    if (k->stages == GRAPH_EVERYTHING && k->seed % 4 != 1)
        k->stages &= ~GRAPH_SECOND;
    if (loss && (k->stages & (GRAPH_SLOPES | GRAPH_SECOND)) && !graph_differences(k, slopes))
        return false;
    reference *r = values ? graph_reference(k, loss) : NULL;
    graph_config c;
    for (int n = 0; graph_config_at(k, which, n, &c); n++) { /* of two, the second one trains */
        bool first = which != GRAPH_TWO || n == 0, second = which != GRAPH_TWO || n == 1;
        if ((values && (!loss || first) && !graph_gives(k, &c, r, loss)) ||
            (trains && second && !graph_trains(k, &c)) ||
            (loss && first && (k->stages & GRAPH_SECOND) && !graph_gives_second(k, &c)))
            return false;
    }
    return true;
}

#endif
