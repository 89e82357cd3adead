/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Turns a graph of inputs into a module like one read from a file: parameters and buffers become
 * states with their current values, inputs become inputs in the order of their creation, and other
 * data becomes constants. What dropout and batch_norm do in training goes into a function `train`;
 * `forward` is inference. */
#include "frontend/trace/trace.h"

typedef struct model {
    gradc *g;
    const char *function;
    base_arena *arena;
    ir_module *m;
    ir_func *f;
    base_map met; /* input tensors that some output depends on */
    bool failed;
} model;

static ir_literal *literal_of(model *w, const ir_type *t, trace_data *d)
{
    ir_literal *l = base_new(w->arena, ir_literal);
    *l = (ir_literal){*t, d->bytes};
    return l;
}

static ir_value *counter(model *w, const char *name)
{
    ir_type t = ir_scalar_type(IR_U64);
    ir_state *s = ir_state_by_name(w->m, name);
    if (s && s->kind != IR_COUNTER) {
        trace_error(w->g, w->function,
                    "a tensor is named '%s', which is reserved for a random number counter", name);
        w->failed = true;
    }
    return ir_add_state(w->f, s ? s : ir_state_new(w->m, name, IR_COUNTER, &t));
}

static ir_value *state(model *w, const gradc_tensor *x)
{
    ir_state *s = ir_state_by_name(w->m, x->name);
    if (!s) {
        s = ir_state_new(w->m, x->name, x->role == TRACE_PARAMETER ? IR_PARAM : IR_STAT, &x->type);
        s->trainable = x->role == TRACE_PARAMETER && x->requires_grad;
        s->why = x->role == TRACE_BUFFER ? "a buffer"
                 : x->requires_grad      ? "a parameter"
                                         : "it does not require grad";
        s->init = literal_of(w, &x->type, x->data);
    }
    return ir_add_state(w->f, s);
}

static ir_value *input(model *w, const gradc_tensor *x)
{
    for (int i = 0; i < w->f->params.count; i++)
        if (w->f->params.items[i].bind == IR_INPUT && !strcmp(w->f->params.items[i].name, x->name))
            return w->f->params.items[i].value;
    return ir_add_input(w->f, x->name, &x->type);
}

/* What a parameter of the record becomes. */
static ir_value *place(trace_cut *cut, ir_value *v, trace_leaf *leaf)
{
    model *w = cut->user;
    gradc_tensor *x = leaf->tensor;
    if (leaf->kind == TRACE_SEED || leaf->kind == TRACE_CALL)
        return counter(w, leaf->kind == TRACE_SEED ? "seed" : "calls");
    if (x && x->role == TRACE_INPUT) {
        base_map_put_ptr(&w->met, x, x);
        return input(w, x);
    }
    if (x && x->role != TRACE_PLAIN)
        return state(w, x);
    if (x && leaf->requires_grad && !w->failed) {
        trace_error(w->g, w->function,
                    "a tensor %s that requires grad has no name; give it one with gradc_parameter",
                    ir_type_text(w->arena, &v->type));
        w->failed = true;
    }
    return ir_constant(&cut->b, literal_of(w, &v->type, leaf->data));
}

/* Builds function `name`, which computes the outputs. */
static trace_cut build(model *w, const char *name, const gradc_output *outputs, int n,
                       bool training)
{
    trace_cut cut = {.f = ir_func_new(w->m, name),
                     .training = training,
                     .leaf = place,
                     .user = w,
                     .scratch = w->arena};
    w->f = cut.f;
    for (int s = 0; s < w->g->segments.count; s++) {
        const trace_segment *seg = w->g->segments.items[s];
        for (int i = 0; i < seg->tensors.count; i++)
            if (base_map_get_ptr(&w->met, seg->tensors.items[i]))
                input(w, seg->tensors.items[i]);
    }
    for (int i = 0; i < n; i++)
        ir_add_output(cut.f, outputs[i].name, trace_cut_value(&cut, outputs[i].tensor));
    return cut;
}

/* Adds the recorded updates of the model's buffers. */
static void add_updates(model *w, trace_cut *cut)
{
    for (int i = 0; i < w->g->updates.count; i++) {
        gradc_tensor *x = w->g->updates.items[i];
        ir_state *s = x->role == TRACE_BUFFER ? ir_state_by_name(w->m, x->name) : NULL;
        if (s && x->update && x->update->symbolic)
            ir_add_update(cut->f, s, trace_cut_value(cut, x->update));
    }
    if (cut->drawings) {
        ir_value *calls = counter(w, "calls");
        ir_add_update(cut->f, ir_state_by_name(w->m, "calls"),
                      ir_add(&cut->b, calls, ir_scalar(&cut->b, IR_U64, 1)));
    }
}

static bool outputs_ok(gradc *g, const char *function, const gradc_output *outputs, int n)
{
    for (int i = 0; i < n; i++) {
        if (!trace_mine(g, function, outputs[i].tensor))
            return false;
        if (!outputs[i].name || !*outputs[i].name)
            trace_error(g, function, "output %d has no name", i);
        for (int k = 0; outputs[i].name && k < i; k++)
            if (!strcmp(outputs[k].name, outputs[i].name))
                trace_error(g, function, "two outputs are named '%s'", outputs[i].name);
    }
    return !g->failed;
}

ir_module *trace_model(gradc *g, const char *function, base_ctx *ctx, base_arena *arena,
                       const char *name, const gradc_output *outputs, int n)
{
    model w = {.g = g,
               .function = function,
               .arena = arena,
               .m = ir_module_new(ctx, arena, name),
               .met = base_map_new(arena)};
    if (!outputs_ok(g, function, outputs, n))
        return NULL;
    ir_module *m = w.m;
    w.m = ir_module_new(ctx, arena, "survey"); /* finds the inputs of both functions */
    bool chose = build(&w, "survey", outputs, n, false).chose;
    build(&w, "survey", outputs, n, true);
    w.m = m;
    if (w.failed)
        return NULL;
    build(&w, "forward", outputs, n, false);
    w.f->entry = true;
    if (chose) {
        trace_cut train = build(&w, "train", outputs, n, true);
        add_updates(&w, &train);
    }
    return m;
}
