/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The record: segments, tensors, elements, errors. */
#include "frontend/trace/trace.h"

#include <stdlib.h>

#define DTYPE(NAME, text, bytes, class, npy, st) \
    _Static_assert((int)IR_##NAME == (int)GRADC_##NAME, "the element types of gradc.h");
#include "ir/dtypes.def"
#undef DTYPE
_Static_assert((int)IR_MAX_RANK == (int)GRADC_MAX_RANK, "the rank of gradc.h");

/* ---- Errors ---- */

void trace_sink(void *user, const base_diagnostic *d)
{
    gradc *g = user;
    if (d->severity != BASE_ERROR || g->failed)
        return;
    const char *function = d->loc && d->loc->op ? d->loc->op : g->asking;
    snprintf(g->error, sizeof g->error, "%s%s%s", function ? function : "", function ? ": " : "",
             d->text);
    g->failed = true;
}

void trace_error(gradc *g, const char *function, const char *format, ...)
{
    char text[sizeof g->error - 100];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    trace_sink(g, &(base_diagnostic){.severity = BASE_ERROR,
                                     .loc = &(base_loc){.op = function, .node = -1},
                                     .text = text});
}

bool trace_try(gradc *g, void (*body)(gradc *g, void *user), void *user)
{
    base_try frame;
    if (setjmp(base_try_push(g->ctx, &frame)))
        return false;
    body(g, user);
    base_try_pop(g->ctx, &frame);
    return true;
}

const char *gradc_error(const gradc *g)
{
    return g && g->failed ? g->error : NULL;
}

void gradc_clear_error(gradc *g)
{
    if (!g)
        return;
    g->failed = false;
    base_forget_errors(g->ctx);
}

int gradc_set_grad_enabled(gradc *g, int on)
{
    if (!g)
        return 0;
    int was = !g->no_grad;
    g->no_grad = !on;
    return was;
}

void gradc_manual_seed(gradc *g, uint64_t seed)
{
    if (g) {
        g->seed = seed;
        g->calls = 0;
    }
}

/* ---- Elements ---- */

trace_data *trace_data_try(const ir_type *t)
{
    int64_t bytes;
    trace_data *d = NULL;
    if (base_size_add(ir_bytes(t), (int64_t)sizeof *d, &bytes) &&
        base_size_align(bytes, 64, &bytes))
        d = aligned_alloc(64, (size_t)bytes);
    if (d)
        d->holders = 1;
    return d;
}

trace_data *trace_data_new(gradc *g, const ir_type *t)
{
    trace_data *d = trace_data_try(t);
    if (!d)
        base_throw(g->ctx, NULL, "out of memory");
    return d;
}

trace_data *trace_hold(trace_data *d)
{
    if (d)
        d->holders++;
    return d;
}

void trace_drop(trace_data *d)
{
    if (d && !--d->holders)
        free(d);
}

/* ---- Segments ---- */

trace_segment *trace_top(gradc *g)
{
    return g->segments.items[g->segments.count - 1];
}

trace_segment *trace_push_segment(gradc *g)
{
    base_arena *arena = base_arena_new(g->ctx);
    trace_segment *s = base_new(arena, trace_segment);
    s->arena = arena;
    s->id = ++g->next_segment;
    s->func = ir_func_new(ir_module_new(g->ctx, arena, "record"), "record");
    BASE_PUSH(g->arena, &g->segments, s);
    return s;
}

void trace_pop_segment(gradc *g)
{
    trace_segment *s = trace_top(g);
    for (int i = 0; i < s->tensors.count; i++)
        trace_drop(s->tensors.items[i]->data);
    for (int i = 0; i < s->leaves.count; i++)
        trace_drop(s->leaves.items[i]->data);
    base_arena_free(s->arena);
    g->segments.count--;
}

/* ---- Tensors ---- */

static gradc_tensor *tensor_new(gradc *g, trace_segment *home, const ir_type *t)
{
    gradc_tensor *x = base_new(home->arena, gradc_tensor);
    x->g = g;
    x->home = home;
    x->type = *t;
    return x;
}

gradc_tensor *trace_leaf_new(gradc *g, trace_segment *home, const ir_type *t, trace_data *data)
{
    gradc_tensor *x = tensor_new(g, home, t);
    BASE_PUSH(home->arena, &home->tensors, x);
    x->data = data;
    return x;
}

gradc_tensor *trace_result_new(gradc *g, ir_value *v)
{
    trace_segment *home = trace_top(g);
    gradc_tensor *x = tensor_new(g, home, &v->type);
    BASE_PUSH(home->arena, &home->tensors, x);
    x->value = v;
    v->aux = x;
    return x;
}

/* A new parameter of the record. The leaf holds data. */
static ir_value *leaf_value(gradc *g, trace_kind kind, gradc_tensor *x, const ir_type *t,
                            trace_data *data)
{
    trace_segment *s = trace_top(g);
    trace_leaf *leaf = base_new(s->arena, trace_leaf);
    *leaf = (trace_leaf){.kind = kind, .tensor = x, .requires_grad = x && x->requires_grad};
    ir_value *v = ir_add_input(s->func, NULL, t);
    v->aux = leaf;
    BASE_PUSH(s->arena, &s->leaves, leaf);
    leaf->data = trace_hold(data);
    return v;
}

ir_value *trace_value(gradc_tensor *x)
{
    gradc *g = x->g;
    if (x->update && !x->requires_grad)
        return trace_value(x->update);
    if (x->value)
        return x->value;
    if (x->leaf_value && x->leaf_segment == trace_top(g)->id)
        return x->leaf_value;
    ir_value *v = leaf_value(g, TRACE_DATA, x, &x->type, x->update ? NULL : x->data);
    if (x->update)
        BASE_PUSH(g->arena, &g->waiting, (trace_leaf *)v->aux);
    x->leaf_segment = trace_top(g)->id;
    return x->leaf_value = v;
}

ir_value *trace_special(gradc *g, trace_kind kind, const ir_type *t, uint64_t value)
{
    ir_value *v = leaf_value(g, kind, NULL, t, NULL);
    trace_data *d = ((trace_leaf *)v->aux)->data = trace_data_new(g, t);
    memcpy(d->bytes, &value, (size_t)ir_bytes(t));
    return v;
}

void trace_set_data(gradc_tensor *x, trace_data *data)
{
    trace_drop(x->data);
    x->data = data;
    x->leaf_value = NULL;
}

void trace_set_update(gradc_tensor *x, gradc_tensor *to)
{
    gradc *g = x->g;
    if (!x->update)
        BASE_PUSH(g->arena, &g->updates, x);
    x->update = to;
    x->leaf_value = NULL;
}

bool trace_type(gradc *g, const char *function, gradc_dtype dtype, gradc_shape shape, ir_type *out)
{
    if ((unsigned)dtype >= IR_DTYPES)
        trace_error(g, function, "unknown element type %d", (int)dtype);
    else if (shape.rank < 0 || shape.rank > IR_MAX_RANK)
        trace_error(g, function, "the shape has rank %d, expected at most %d", shape.rank,
                    IR_MAX_RANK);
    else if (*out = ir_type_of((ir_dtype)dtype, shape.rank, shape.dim), ir_type_ok(out))
        return true;
    else
        trace_error(g, function, "the shape has a negative dimension or is too large");
    return false;
}

bool trace_mine(gradc *g, const char *function, const gradc_tensor *x)
{
    if (!x)
        trace_error(g, function, "a tensor is NULL");
    else if (x->g != g)
        trace_error(g, function, "a tensor belongs to another context");
    else
        return true;
    return false;
}

static bool is_taken(const gradc *g, const char *name)
{
    for (int s = 0; s < g->segments.count; s++)
        for (int i = 0; i < g->segments.items[s]->tensors.count; i++) {
            const gradc_tensor *x = g->segments.items[s]->tensors.items[i];
            if (x->name && !strcmp(x->name, name))
                return true;
        }
    return false;
}

bool trace_name_ok(gradc *g, const char *function, const char *name)
{
    if (!name || !*name || strlen(name) > IR_MAX_NAME)
        trace_error(g, function, "the name is empty or longer than %d bytes", IR_MAX_NAME);
    else if (is_taken(g, name))
        trace_error(g, function, "there is already a tensor named '%s'", name);
    else
        return true;
    return false;
}

/* ---- Queries ---- */

int gradc_rank(const gradc_tensor *x)
{
    return x ? x->type.rank : 0;
}

int64_t gradc_size(const gradc_tensor *x, int dim)
{
    int rank = gradc_rank(x);
    dim = dim < 0 ? dim + rank : dim;
    return dim >= 0 && dim < rank ? x->type.dim[dim] : 0;
}

gradc_shape gradc_shape_of(const gradc_tensor *x)
{
    return gradc_shape_from(gradc_rank(x), x ? x->type.dim : NULL);
}

int64_t gradc_numel(const gradc_tensor *x)
{
    return x ? ir_count(&x->type) : 0;
}

size_t gradc_bytes(const gradc_tensor *x)
{
    return x ? (size_t)ir_bytes(&x->type) : 0;
}

gradc_dtype gradc_dtype_of(const gradc_tensor *x)
{
    return x ? (gradc_dtype)x->type.dtype : GRADC_F32;
}

const char *gradc_dtype_name(gradc_dtype dtype)
{
    return (unsigned)dtype < IR_DTYPES ? ir_dtypes[dtype].name : "?";
}

int gradc_requires_grad(const gradc_tensor *x)
{
    return x && x->requires_grad;
}

int gradc_is_leaf(const gradc_tensor *x)
{
    return x && !x->node;
}

const char *gradc_grad_fn(const gradc_tensor *x)
{
    return x && x->node ? x->node->grad_fn : "None";
}

const char *gradc_name(const gradc_tensor *x)
{
    return x ? x->name : NULL;
}
