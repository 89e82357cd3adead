/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Backward: finds the operations between a tensor and the leaves, runs that piece of the record
 * with its gradients, accumulates them, and releases the operations unless they are retained. */
#include "api/trace.h"
#include "passes/passes.h"

#include <stdlib.h>

/* ---- The graph of operations ---- */

/* Every node that x depends on, each once. */
typedef struct nodes {
    trace_node **items;
    int count, capacity;
} nodes;

static void add_node(base_arena *arena, base_map *seen, nodes *all, trace_node *node)
{
    if (node && !base_map_get_ptr(seen, node)) {
        base_map_put_ptr(seen, node, node);
        BASE_PUSH(arena, all, node);
    }
}

static nodes nodes_of(base_arena *arena, const gradc_tensor *x)
{
    nodes all = {0};
    base_map seen = base_map_new(arena);
    add_node(arena, &seen, &all, x->node);
    for (int i = 0; i < all.count; i++)
        for (int k = 0; k < all.items[i]->nin; k++)
            add_node(arena, &seen, &all, all.items[i]->in[k]->node);
    return all;
}

/* ---- Accumulation ---- */

static void add_into(ir_literal *sum, const ir_literal *x)
{
    int64_t n = ir_count(&sum->type);
    if (sum->type.dtype == IR_F32)
        for (int64_t i = 0; i < n; i++)
            ((float *)sum->data)[i] += ((const float *)x->data)[i];
    else
        for (int64_t i = 0; i < n; i++)
            ir_literal_set(sum, i, ir_literal_get(sum, i) + ir_literal_get(x, i));
}

static void make_grad(gradc *g, void *user)
{
    gradc_tensor *x = user;
    x->grad = trace_leaf_new(g, x->home, &x->type, NULL);
}

/* Accumulates d into x's grad. Data that others hold is not written to. */
static void accumulate(trace_run *run, gradc_tensor *x, trace_data *d)
{
    (void)run;
    gradc_tensor *grad = x->grad;
    if (!grad && (!trace_try(x->g, make_grad, x) || !(grad = x->grad))) {
        trace_drop(d);
        return;
    }
    if (x->has_grad) {
        ir_literal sum = {x->type, d->bytes}, old = {x->type, grad->data->bytes};
        add_into(&sum, &old);
    }
    trace_set_data(grad, d); /* d is the run's result, held by nobody else */
    x->has_grad = true;
}

/* ---- backward ---- */

typedef struct backward {
    const char *function;
    gradc_tensor *from, *cotangent;
    unsigned flags;
    trace_run run;
    /* Instead of a run: records the gradients. */
    bool (*record)(gradc *g, struct backward *w);
    gradc_tensor **grad;
    bool ok;
} backward;

static bool start_ok(gradc *g, const backward *w)
{
    const gradc_tensor *y = w->from, *ct = w->cotangent;
    if (((!y || !ct) && g->failed) || !trace_mine(g, w->function, y) ||
        (ct && !trace_mine(g, w->function, ct)))
        return false;
    if (!y->requires_grad)
        trace_error(g, w->function, "the tensor does not require grad and has no grad_fn");
    else if (!ct && gradc_numel(y) != 1)
        trace_error(g, w->function, "a tensor of %lld elements needs a cotangent",
                    (long long)gradc_numel(y));
    else if (ct && !ir_type_eq(&y->type, &ct->type))
        trace_error(g, w->function, "the cotangent does not have the tensor's type and shape");
    else
        return true;
    return false;
}

static bool graph_ok(gradc *g, const backward *w, const nodes *all)
{
    for (int i = 0; i < all->count; i++)
        if (all->items[i]->released) {
            trace_error(g, w->function,
                        "the graph was released by an earlier backward (at %s); call that one with "
                        "GRADC_RETAIN_GRAPH",
                        all->items[i]->grad_fn);
            return false;
        }
    return true;
}

static void walk(gradc *g, void *user)
{
    backward *w = user;
    base_arena *scratch = base_arena_new(g->ctx);
    nodes all = nodes_of(scratch, w->from);
    w->run.function = w->function;
    w->run.from = w->from;
    w->run.cotangent = w->cotangent;
    w->ok = graph_ok(g, w, &all) && (w->record ? w->record(g, w) : trace_execute(g, &w->run));
    for (int i = 0;
         i < all.count && w->ok && !(w->flags & (GRADC_RETAIN_GRAPH | GRADC_CREATE_GRAPH)); i++)
        all.items[i]->released = true;
    base_arena_free(scratch);
}

static bool go_back(gradc *g, backward *w)
{
    if (!g || !start_ok(g, w) ||
        (w->cotangent && !trace_evaluate(g, w->function, &w->cotangent, 1)))
        return false;
    trace_try(g, walk, w);
    return w->ok;
}

int gradc_backward(gradc *g, gradc_tensor *loss, gradc_tensor *cotangent, unsigned flags)
{
    backward w = {.function = "gradc_backward",
                  .from = loss,
                  .cotangent = cotangent,
                  .flags = flags,
                  .run = {.take = accumulate}};
    return go_back(g, &w) ? 0 : -1;
}

/* ---- gradients ---- */

/* Sums up the gradients of each tensor in a run's results. */
static void gather(trace_run *run, gradc_tensor *x, trace_data *d)
{
    trace_data **sum = run->user;
    for (int i = 0; i < run->nwrt; i++) {
        if (run->wrt[i] != x)
            continue;
        if (sum[i]) {
            ir_literal all = {x->type, sum[i]->bytes}, more = {x->type, d->bytes};
            add_into(&all, &more);
        } else {
            sum[i] = trace_hold(d);
        }
        break;
    }
    trace_drop(d);
}

static void make_gradients(gradc *g, void *user)
{
    backward *w = user;
    trace_data **sum = w->run.user;
    for (int i = 0; i < w->run.nwrt; i++) {
        gradc_tensor *x = trace_leaf_new(g, trace_top(g), &w->run.wrt[i]->type, NULL);
        x->data = sum[i];
        sum[i] = NULL;
        for (int k = 0; k < i && !x->data; k++) /* a tensor that is listed twice has one gradient */
            if (w->run.wrt[k] == w->run.wrt[i])
                x->data = trace_hold(w->grad[k]->data);
        if (!x->data) {
            x->data = trace_data_new(g, &x->type);
            memset(x->data->bytes, 0, gradc_bytes(x));
        }
        w->grad[i] = x;
    }
}

/* The sum of the gradients of x among the results of `joint`; zeros if there are none. */
static ir_value *recorded_sum(ir_builder *b, const trace_cut *cut, const gradc_tensor *x,
                              ir_value *const *out)
{
    ir_value *sum = NULL;
    for (int i = 0, n = 1; i < cut->inputs.count; i++) {
        if (!cut->inputs.items[i].tensor)
            continue;
        if (cut->inputs.items[i].tensor == x)
            sum = ir_add_or(b, sum, out[n]);
        n++;
    }
    return sum ? sum : ir_splat(b, &x->type, 0);
}

/* Records forward and backward once more; the repeated forward is merged by CSE when it is
 * compiled. */
static bool record_gradients(gradc *g, backward *w)
{
    base_arena *arena = trace_top(g)->arena;
    ir_module *m = ir_module_new(g->ctx, arena, "gradients");
    trace_cut cut = {.f = ir_func_new(m, "forward"),
                     .through = true,
                     .training = true,
                     .wrt = w->run.wrt,
                     .nwrt = w->run.nwrt,
                     .scratch = arena};
    ir_value *ct = w->cotangent ? trace_value(w->cotangent) : NULL;
    ir_add_output(cut.f, "y", trace_cut_value(&cut, w->from));
    int *inputs = base_array(arena, int, cut.inputs.count + 1), n = 0, start = 0;
    for (int i = 0; i < cut.inputs.count; i++)
        if (cut.inputs.items[i].tensor)
            inputs[n++] = cut.inputs.items[i].value->index;
    ad_request request = {.loss = ct ? -1 : 0,
                          .cotangents = &start,
                          .ncotangents = ct != NULL,
                          .inputs = inputs,
                          .ninputs = n};
    ir_func *joint = ad_joint(m, cut.f, &request, "joint");
    if (!joint)
        return false;
    ir_builder b = ir_builder_new(trace_top(g)->func);
    ir_value **args = base_array(arena, ir_value *, joint->params.count),
             **out = base_array(arena, ir_value *, joint->results.count);
    for (int i = 0; i < cut.inputs.count; i++) {
        const trace_input *in = &cut.inputs.items[i];
        args[in->value->index] = in->recorded ? in->recorded : ir_splat(&b, &in->value->type, 0);
    }
    if (ct)
        args[joint->params.count - 1] = ct;
    ir_inline(&b, joint, args, out);
    trace_node *node = base_new(arena, trace_node);
    *node = (trace_node){
        .grad_fn = "GradientsBackward0", .nin = 1, .in = base_array(arena, gradc_tensor *, 2)};
    node->in[0] = w->from;
    if (w->cotangent && w->cotangent->requires_grad)
        node->in[node->nin++] = w->cotangent;
    for (int i = 0; i < w->run.nwrt; i++) {
        ir_value *v = recorded_sum(&b, &cut, w->run.wrt[i], out);
        gradc_tensor *x = trace_result_new(g, v->def && !v->aux ? v : ir_copy(&b, v));
        x->requires_grad = true;
        x->node = node;
        w->grad[i] = x;
    }
    return true;
}

int gradc_gradients(gradc *g, gradc_tensor *y, gradc_tensor *cotangent, gradc_tensor *const *x,
                    int n, unsigned flags, gradc_tensor **grad)
{
    static const char function[] = "gradc_gradients";
    for (int i = 0; grad && i < n; i++)
        grad[i] = NULL;
    if (!g)
        return -1;
    if (n < 0 || (n && (!x || !grad))) {
        trace_error(g, function, "the list of tensors or of gradients is NULL, or n is negative");
        return -1;
    }
    for (int i = 0; i < n; i++) {
        if ((!x[i] && g->failed) || !trace_mine(g, function, x[i]))
            return -1;
        if (!x[i]->requires_grad) {
            trace_error(g, function, "tensor %d does not require grad", i);
            return -1;
        }
    }
    trace_data **sum = calloc((size_t)n + 1, sizeof *sum);
    if (!sum) {
        trace_error(g, function, "out of memory");
        return -1;
    }
    backward w = {.function = function,
                  .from = y,
                  .cotangent = cotangent,
                  .flags = flags,
                  .grad = grad,
                  .record = flags & GRADC_CREATE_GRAPH ? record_gradients : NULL,
                  .run = {.wrt = x, .nwrt = n, .take = gather, .user = sum}};
    bool ok = go_back(g, &w) && (w.record || trace_try(g, make_gradients, &w));
    for (int i = 0; i < n; i++) {
        trace_drop(sum[i]);
        grad[i] = ok ? grad[i] : NULL;
    }
    free(sum);
    return ok ? 0 : -1;
}

/* ---- grad ---- */

gradc_tensor *gradc_grad(gradc *g, gradc_tensor *x)
{
    if (!g || (!x && g->failed) || !trace_mine(g, "gradc_grad", x))
        return NULL;
    return x->has_grad ? x->grad : NULL;
}

void gradc_zero_grad(gradc *g, gradc_tensor *x)
{
    if (g && (x || !g->failed) && trace_mine(g, "gradc_zero_grad", x))
        x->has_grad = false;
}

void gradc_zero_grads(gradc *g)
{
    for (int s = 0; g && s < g->segments.count; s++)
        for (int i = 0; i < g->segments.items[s]->tensors.count; i++)
            g->segments.items[s]->tensors.items[i]->has_grad = false;
}

int gradc_retain_grad(gradc *g, gradc_tensor *x)
{
    if (!g || (!x && g->failed) || !trace_mine(g, "gradc_retain_grad", x))
        return -1;
    if (!x->requires_grad) {
        trace_error(g, "gradc_retain_grad", "the tensor does not require grad");
        return -1;
    }
    x->retains = true;
    return 0;
}

int gradc_set_requires_grad(gradc *g, gradc_tensor *x, int on)
{
    static const char function[] = "gradc_set_requires_grad";
    if (!g || (!x && g->failed) || !trace_mine(g, function, x))
        return -1;
    if (x->node || (on && !ir_is_float(x->type.dtype))) {
        trace_error(g, function,
                    x->node ? "the tensor is not a leaf" : "only float tensors have gradients");
        return -1;
    }
    if (!trace_become_leaf(g, function, x))
        return -1;
    x->requires_grad = on != 0;
    x->leaf_value = NULL;
    return 0;
}
