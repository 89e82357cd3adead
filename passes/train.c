/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The training entries, from one function: autodiff makes a joint function of it. For
 * `forward_train` and `backward` that is split (partition.c); for `step` it stays whole, and the
 * optimizer's update is appended. Order of operations on a gradient: times grad_scale, clipped by
 * the global norm (torch's clip_grad_norm_), weight decay, the optimizer's rule.
 *
 * A trainable parameter that the loss does not depend on keeps its value: no decay, no momentum, as
 * torch leaves parameters whose grad is None. Parameters of 16 bits are updated in f32 and rounded
 * once; their slots are f32. */
#include "passes/optimizers.h"

#include <string.h>

typedef struct target { /* a parameter that trains */
    ir_state *param, *grad, *slot[OPTIMIZER_SLOTS];
    bool flows; /* the loss depends on it */
} target;

typedef struct build {
    ir_module *m;
    const train_options *o;
    ir_func *source;
    base_arena *scratch;
    target *target;
    int ntargets;
    ir_state *step; /* counter */
} build;

/* ---- Joint functions ---- */

/* Frees an entry's name: renames a function that has it. */
static void free_name(ir_module *m, const char *name)
{
    ir_func *other = ir_func_by_name(m, name);
    if (!other)
        return;
    ir_func_rename(other, name);
}

/* The joint function, and which targets a gradient flows to. */
static ir_func *joint(build *t, const char *name, const int *cotangents, int ncotangents,
                      const int *wrt, int nwrt)
{
    ir_state **states = base_array(t->scratch, ir_state *, t->ntargets);
    for (int i = 0; i < t->ntargets; i++)
        states[i] = t->target[i].param;
    ad_request r = {.loss = t->source->loss,
                    .cotangents = cotangents,
                    .ncotangents = ncotangents,
                    .states = states,
                    .nstates = t->ntargets,
                    .inputs = wrt,
                    .ninputs = nwrt};
    ir_func *f = ad_joint(t->m, t->source, &r, name);
    if (!f)
        return NULL;
    pass_run_sequence(f, PASS_JOINT);
    pass_run_sequence(f, PASS_JOINT_CLEAN);
    bool all = true;
    for (int i = 0; i < t->ntargets; i++) {
        t->target[i].flows = !match_is(f->results.items[t->source->results.count + i].value, 0);
        all &= t->target[i].flows;
    }
    if (all || ncotangents)
        return f;
    /* Where the loss's cotangent is the constant 1, a gradient may fold to 0, as that of x - x
     * does. It still counts as flowing, so that decay applies: `flows` must not depend on the value
     * of the cotangent. */
    ir_func *any = joint(t, "flows", &t->source->loss, 1, NULL, 0);
    if (any)
        ir_func_remove(any);
    return f;
}

/* ---- The update ---- */

static bool is_narrow(ir_dtype t)
{
    return ir_dtypes[t].bytes < 4;
}

static ir_dtype compute_type(ir_dtype t)
{
    return is_narrow(t) ? IR_F32 : t;
}

static void make_slots(build *t)
{
    const train_optimizer *o = t->o->optimizer;
    if (t->step)
        return;
    ir_type counter = ir_scalar_type(IR_U64);
    const char *name = ir_state_by_name(t->m, "step")
                           ? base_format(t->m->arena, "%sstep", state_prefix(t->m, "optimizer"))
                           : "step";
    t->step = ir_state_new(t->m, name, IR_COUNTER, &counter);
    for (int k = 0; o->slot[k]; k++) {
        const char *prefix = state_prefix(t->m, o->slot[k]);
        for (int i = 0; i < t->ntargets; i++) {
            target *x = &t->target[i];
            ir_type type = x->param->type;
            type.dtype = compute_type(type.dtype);
            x->slot[k] = ir_state_new(
                t->m, base_format(t->m->arena, "%s%s", prefix, x->param->name), IR_SLOT, &type);
            x->slot[k]->of = x->param;
        }
    }
}

/* The sum of n values, as a tree, whose parts can be computed in parallel. NULL if there are none.
 * Overwrites v. */
static ir_value *sum_in_pairs(ir_builder *b, ir_value **v, int n)
{
    for (; n > 1; n = (n + 1) / 2)
        for (int i = 0; i < n; i += 2)
            v[i / 2] = i + 1 < n ? ir_add(b, v[i], v[i + 1]) : v[i];
    return n ? v[0] : NULL;
}

/* The factor of all gradients: grad_scale, and with clipping min(1, clip_norm / (norm + 1e-6))
 * times that. The norm needs all gradients, so it is in a branch that runs only if clip_norm >
 * 0. */
static ir_value *clip_factor(ir_builder *b, ir_value *const *g, int n, ir_value *grad_scale,
                             ir_value *clip_norm, base_arena *scratch)
{
    ir_module *m = b->func->module;
    ir_dtype type = IR_F32;
    for (int i = 0; i < n; i++)
        type = g[i]->type.dtype == IR_F64 ? IR_F64 : type;
    ir_func *branch[2] = {ir_func_new(m, "clip"), ir_func_new(m, "no_clip")};
    ir_value **operand = base_array(scratch, ir_value *, n + 3);
    operand[0] = ir_compare(b, IR_GT, clip_norm, ir_scalar(b, clip_norm->type.dtype, 0));
    operand[1] = grad_scale;
    operand[2] = clip_norm;
    memcpy(operand + 3, g, (size_t)n * sizeof *g);
    for (int k = 0; k < 2; k++) {
        ir_value *scale = ir_add_input(branch[k], NULL, &grad_scale->type),
                 *limit = ir_add_input(branch[k], NULL, &clip_norm->type), *sum = NULL;
        ir_builder in = ir_builder_new(branch[k]);
        in.phase = IR_UPDATE;
        scale = ir_convert(&in, scale, type);
        limit = ir_convert(&in, limit, type);
        ir_value **square = base_array(scratch, ir_value *, n + 1);
        for (int i = 0; i < n; i++) {
            ir_value *x = ir_add_input(branch[k], NULL, &g[i]->type);
            if (k)
                continue;
            int64_t axes[IR_MAX_RANK];
            for (int d = 0; d < x->type.rank; d++)
                axes[d] = d;
            x = ir_convert(&in, x, type);
            x = ir_mul(&in, x, ir_broadcast(&in, scale, x->type.rank, x->type.dim, NULL));
            square[i] = ir_reduce(&in, IR_SUM, ir_mul(&in, x, x), x->type.rank, axes);
        }
        if (!k)
            sum = sum_in_pairs(&in, square, n);
        if (sum) {
            ir_value *norm = ir_add(&in, ir_sqrt(&in, sum), ir_scalar(&in, type, 1e-6));
            scale =
                ir_mul(&in, scale, ir_min(&in, ir_div(&in, limit, norm), ir_scalar(&in, type, 1)));
        }
        ir_add_output(branch[k], NULL, scale);
        ir_built(&in);
    }
    ir_inst *cond = ir_build(b, IR_OP_cond, operand, n + 3,
                             &(ir_attrs){.cond = {.then_body = branch[0], .else_body = branch[1]}});
    return cond ? cond->result[0] : NULL;
}

/* Hyper-parameters as inputs after those that f has. */
static void add_hypers(build *t, ir_func *f, ir_value **hyper)
{
    ir_type scalar = ir_scalar_type(IR_F32);
    for (int i = 0; i < train_hyper_count(t->o->optimizer); i++) {
        hyper[i] = ir_add_input(f, train_hyper_name(t->o->optimizer, i), &scalar);
        f->params.items[f->params.count - 1].role = IR_HYPER;
    }
}

/* Appends the update of all parameters to f. g[i]: gradient of target i. */
static void append_update(build *t, ir_func *f, ir_value *const *g)
{
    const train_optimizer *o = t->o->optimizer;
    int nhyper = train_hyper_count(o), flowing = 0;
    ir_value *hyper[OPTIMIZER_HYPERS + 2],
        **clipped = base_array(t->scratch, ir_value *, t->ntargets + 1);
    make_slots(t);
    add_hypers(t, f, hyper);
    ir_builder b = ir_builder_new(f);
    b.phase = IR_UPDATE;
    for (int i = 0; i < t->ntargets; i++)
        if (t->target[i].flows)
            clipped[flowing++] = g[i];
    ir_value *factor =
        clip_factor(&b, clipped, flowing, hyper[nhyper - 2], hyper[nhyper - 1], t->scratch);
    ir_value *count = ir_add(&b, ir_add_state(f, t->step), ir_scalar(&b, IR_U64, 1));
    for (int i = 0; i < t->ntargets; i++) {
        target *x = &t->target[i];
        ir_dtype type = compute_type(x->param->type.dtype);
        if (!x->flows)
            continue;
        optimizer_update u = {.b = &b, .type = x->param->type, .t = ir_convert(&b, count, type),
                              .decay = !t->o->no_decay || !t->o->no_decay[x->param->index]};
        u.type.dtype = type;
        u.p = ir_convert(&b, ir_add_state(f, x->param), type);
        for (int k = 0; k < nhyper; k++)
            if (k < OPTIMIZER_HYPERS)
                u.hyper[k] = ir_convert(&b, hyper[k], type);
        for (int k = 0; o->slot[k]; k++)
            u.slot[k] = ir_add_state(f, x->slot[k]);
        u.g = ir_mul(&b, ir_convert(&b, g[i], type),
                     ir_broadcast(&b, ir_convert(&b, factor, type), u.type.rank, u.type.dim, NULL));
        ir_value *p = ir_convert(&b, o->rule(&u), x->param->type.dtype);
        ir_built(&b);
        ir_add_update(f, x->param, p);
        for (int k = 0; o->slot[k]; k++)
            ir_add_update(f, x->slot[k], u.slot[k]);
    }
    ir_add_update(f, t->step, count);
    ir_built(&b);
}

/* ---- Entries ---- */

static bool build_step(build *t)
{
    ir_func *f = joint(t, "step", NULL, 0, NULL, 0);
    if (!f)
        return false;
    partition_recompute(f, NULL);
    ir_value **g = base_array(t->scratch, ir_value *, t->ntargets);
    int own = t->source->results.count;
    for (int i = 0; i < t->ntargets; i++)
        g[i] = f->results.items[own + i].value;
    f->results.count = own;
    append_update(t, f, g);
    pass_run_sequence(f, PASS_UPDATE);
    f->entry = true;
    return true;
}

/* Turns gradients of parameters into updates that add to the old ones. */
static void accumulate(build *t, ir_func *f)
{
    int own = t->source->results.count, n = own;
    ir_builder b = ir_builder_new(f);
    b.phase = IR_BACKWARD;
    for (int i = own; i < f->results.count; i++) {
        ir_port p = f->results.items[i];
        if (i < own + t->ntargets) {
            target *x = &t->target[i - own];
            if (!x->flows)
                continue;
            p = (ir_port){.value = ir_add(&b, ir_add_state(f, x->grad), p.value),
                          .bind = IR_STATE,
                          .state = x->grad};
        }
        f->results.items[n++] = p;
    }
    f->results.count = n;
    ir_built(&b);
}

static bool build_split(build *t)
{
    ir_module *m = t->m;
    ir_func *f = joint(t, "joint", t->o->cotangents, t->o->ncotangents, t->o->wrt, t->o->nwrt);
    if (!f)
        return false;
    const char *prefix = state_prefix(m, "grad");
    for (int i = 0; i < t->ntargets; i++) {
        target *x = &t->target[i];
        x->grad = ir_state_new(m, base_format(m->arena, "%s%s", prefix, x->param->name), IR_GRAD,
                               &x->param->type);
        x->grad->of = x->param;
    }
    accumulate(t, f);
    train_partition(m, f, "forward_train", "backward");
    if (!t->o->optimizer)
        return true;
    ir_func *u = ir_func_new(m, "update");
    ir_value **g = base_array(t->scratch, ir_value *, t->ntargets);
    for (int i = 0; i < t->ntargets; i++)
        if (t->target[i].flows)
            g[i] = ir_add_state(u, t->target[i].grad);
    append_update(t, u, g);
    pass_run_sequence(u, PASS_UPDATE);
    u->entry = true;
    return true;
}

/* Parameters that train and that f reads, in the module's order. */
static void find_targets(build *t)
{
    bool *reads = base_array(t->scratch, bool, t->m->states.count);
    for (int i = 0; i < t->source->params.count; i++)
        if (t->source->params.items[i].bind == IR_STATE)
            reads[t->source->params.items[i].state->index] = true;
    t->target = base_array(t->scratch, target, t->m->states.count);
    for (int i = 0; i < t->m->states.count; i++) {
        ir_state *s = t->m->states.items[i];
        if (s->kind == IR_PARAM && s->trainable && reads[i] && ir_is_float(s->type.dtype))
            t->target[t->ntargets++].param = s;
    }
}

bool train_build(ir_module *m, const train_options *options)
{
    build t = {.m = m, .o = options, .source = ir_root_by_name(m, "train")};
    ir_func *own = t.source;
    if (!own)
        t.source = ir_entry_by_name(m, "forward");
    BUG_UNLESS(t.source);
    if (options->step && options->optimizer && t.source->loss < 0) {
        base_report(
            m->ctx, BASE_ERROR, NULL,
            "an optimizer's step needs a loss: a scalar float output, or one named by --loss");
        return false;
    }
    const char *before = base_current_pass;
    base_current_pass = "train";
    t.scratch = base_arena_new(m->ctx);
    static const char *const entries[] = {"forward_train", "backward", "update", "step"};
    for (int i = 0; i < 4; i++)
        free_name(m, entries[i]);
    find_targets(&t);
    bool ok = !options->split || build_split(&t);
    ok = ok && (!options->step || !options->optimizer || build_step(&t));
    if (ok && own)
        ir_func_remove(own);
    if (ok)
        pass_drop_functions(m);
    m->props = 0;
    base_arena_free(t.scratch);
    base_current_pass = before;
    return ok;
}
