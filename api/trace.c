/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contexts, and the functions of gradc.h that read or set values. */
#include "api/trace.h"

#include <stdlib.h>

/* ---- The context ---- */

static void start(gradc *g, void *user)
{
    (void)user;
    g->arena = base_arena_new(g->ctx);
    trace_push_segment(g);
}

gradc *gradc_new(void)
{
    gradc *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->ctx = base_ctx_new(trace_sink, g);
    g->programs = trace_programs_new();
    if (g->ctx && g->programs && trace_try(g, start, NULL))
        return g;
    gradc_free(g);
    return NULL;
}

void gradc_free(gradc *g)
{
    if (!g)
        return;
    while (g->segments.count)
        trace_pop_segment(g);
    trace_programs_free(g->programs);
    base_ctx_free(g->ctx);
    free(g);
}

static void push(gradc *g, void *mark)
{
    trace_push_segment(g);
    *(size_t *)mark = (size_t)g->segments.count - 1;
}

size_t gradc_mark(gradc *g)
{
    size_t mark = 0;
    if (g)
        trace_try(g, push, &mark);
    return mark;
}

/* Updates that were not applied, because they depend on inputs or failed, are dropped with the
 * tensors that they depend on. */
static void forget_updates(gradc *g, size_t mark)
{
    size_t first = g->segments.items[mark]->id;
    int n = 0;
    for (int i = 0; i < g->updates.count; i++) {
        gradc_tensor *x = g->updates.items[i];
        bool stays = x->home->id < first;
        if (stays && x->update && x->update->home->id < first)
            g->updates.items[n++] = x;
        else if (stays)
            x->update = NULL;
    }
    g->updates.count = n;
    g->waiting.count = 0;
}

void gradc_release(gradc *g, size_t mark)
{
    if (!g)
        return;
    if (mark < 1 || mark >= (size_t)g->segments.count) {
        trace_error(g, "gradc_release", "%zu is not a mark, or was released", mark);
        return;
    }
    if (g->updates.count)
        trace_execute(g, &(trace_run){.function = "gradc_release"});
    forget_updates(g, mark);
    while ((size_t)g->segments.count > mark)
        trace_pop_segment(g);
}

/* ---- Values ---- */

int gradc_eval(gradc *g, gradc_tensor *const *x, int n)
{
    return trace_evaluate(g, "gradc_eval", x, n) ? 0 : -1;
}

const void *gradc_data(gradc *g, gradc_tensor *x)
{
    return trace_evaluate(g, "gradc_data", &x, 1) ? x->data->bytes : NULL;
}

int gradc_copy_out(gradc *g, gradc_tensor *x, void *dst)
{
    if (!trace_evaluate(g, "gradc_copy_out", &x, 1))
        return -1;
    if (!dst && gradc_bytes(x)) {
        trace_error(g, "gradc_copy_out", "the destination is NULL");
        return -1;
    }
    if (gradc_bytes(x))
        memcpy(dst, x->data->bytes, gradc_bytes(x));
    return 0;
}

/* The only element as a literal of rank 0; false and reported if there is not exactly one. */
static bool only_element(gradc *g, const char *function, gradc_tensor *x, ir_literal *out)
{
    if (!trace_evaluate(g, function, &x, 1))
        return false;
    if (gradc_numel(x) != 1) {
        trace_error(g, function, "expected a tensor of one element, got %lld",
                    (long long)gradc_numel(x));
        return false;
    }
    *out = (ir_literal){ir_scalar_type(x->type.dtype), x->data->bytes};
    return true;
}

double gradc_item(gradc *g, gradc_tensor *x)
{
    ir_literal l;
    return only_element(g, "gradc_item", x, &l) ? ir_literal_get(&l, 0) : 0;
}

int64_t gradc_item_int(gradc *g, gradc_tensor *x)
{
    ir_literal l;
    int64_t whole = 0;
    if (!only_element(g, "gradc_item_int", x, &l))
        return 0;
    if (!ir_is_float(l.type.dtype))
        return ir_literal_get_int(&l, 0);
    /* saturates */
    ir_literal_set(&(ir_literal){ir_scalar_type(IR_I64), &whole}, 0, ir_literal_get(&l, 0));
    return whole;
}

/* ---- Leaves ---- */

typedef struct naming {
    const char *name;
    gradc_tensor *x, *made;
} naming;

static void make_named(gradc *g, void *user)
{
    naming *n = user;
    gradc_tensor *x = trace_leaf_new(g, trace_top(g), &n->x->type, NULL);
    x->name = base_strdup(x->home->arena, n->name);
    x->data = trace_hold(n->x->data);
    n->made = x;
}

static gradc_tensor *named(gradc *g, const char *function, const char *name, gradc_tensor *x)
{
    naming n = {name, x, NULL};
    if (!trace_evaluate(g, function, &x, 1) || !trace_name_ok(g, function, name))
        return NULL;
    trace_try(g, make_named, &n);
    return n.made;
}

gradc_tensor *gradc_parameter(gradc *g, const char *name, gradc_tensor *x)
{
    if (g && x && !ir_is_float(x->type.dtype)) {
        trace_error(g, "gradc_parameter", "'%s' is %s, and only float tensors have gradients",
                    name ? name : "", ir_dtypes[x->type.dtype].name);
        return NULL;
    }
    gradc_tensor *p = named(g, "gradc_parameter", name, x);
    if (p) {
        p->role = TRACE_PARAMETER;
        p->requires_grad = true;
    }
    return p;
}

gradc_tensor *gradc_buffer(gradc *g, const char *name, gradc_tensor *x)
{
    gradc_tensor *b = named(g, "gradc_buffer", name, x);
    if (b)
        b->role = TRACE_BUFFER;
    return b;
}

typedef struct assigning {
    gradc_tensor *x, *to;
} assigning;

static void set_update(gradc *g, void *user)
{
    (void)g;
    assigning *a = user;
    trace_set_update(a->x, a->to);
}

int gradc_assign(gradc *g, gradc_tensor *x, gradc_tensor *from)
{
    static const trace_row row = {.name = "gradc_assign", .build = trace_build_to};
    if (!g || ((!x || !from) && g->failed) || !trace_mine(g, row.name, x) ||
        !trace_mine(g, row.name, from))
        return -1;
    if (!trace_become_leaf(g, row.name, x))
        return -1;
    bool fits = ir_shape_eq(&x->type, &from->type);
    if (x->value || x->role == TRACE_INPUT || from->symbolic || !fits) {
        trace_error(g, row.name, "%s",
                    x->value || x->role == TRACE_INPUT ? "the tensor is not a leaf with a value"
                    : fits                             ? "the value depends on an input"
                                                       : "the shapes differ");
        return -1;
    }
    if (x->update && x->requires_grad && !trace_execute(g, &(trace_run){.function = row.name}))
        return -1;
    if (from->data && !from->update && from->type.dtype == x->type.dtype) {
        x->update = NULL;
        trace_set_data(x, trace_hold(from->data));
        return 0;
    }
    assigning a = {x, trace_apply(&(trace_call){
                          .g = g, .row = &row, .in = &from, .nin = 1, .i = {x->type.dtype}})};
    return a.to && trace_try(g, set_update, &a) ? 0 : -1;
}
