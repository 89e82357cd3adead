/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * If, Loop and Scan. A constant condition selects its branch, which is built in place. Otherwise
 * bodies become functions; the values that they capture become parameters in front of their own. */
#include "frontend/onnx/reader.h"

#define BUILD(name) void onnx_build_##name(onnx_node *n)

static const Onnx__GraphProto *graph_of(onnx_node *n, const char *name)
{
    const Onnx__AttributeProto *a = onnx_attr(n, name, 5);
    if (!a && !n->failed)
        onnx_error(n, "attribute '%s' is missing", name);
    return a ? a->g : NULL;
}

static bool run(onnx_node *n, onnx_scope *s, const Onnx__GraphProto *g)
{
    if (!onnx_run_graph(s, g)) {
        n->failed = true;
        return false;
    }
    return true;
}

/* Output i of a graph that was built; a missing one is reported, unless an earlier error explains
 * it. */
static ir_value *output(onnx_node *n, onnx_scope *s, const Onnx__GraphProto *g, size_t i)
{
    const char *name = i < g->n_output && g->output[i]->name ? g->output[i]->name : "";
    onnx_entry *e = onnx_find(s, name);
    ir_value *v = e && !e->sequence ? onnx_value_of(s, e) : NULL;
    if (!v && !n->failed && (!e || base_error_count(n->r->ctx) == n->r->errors))
        onnx_error(n, "the subgraph does not produce its output '%s'", name);
    n->failed |= !v;
    return v;
}

/* Puts the function's parameters in this order. */
static void order_params(ir_func *f, ir_value *const *order, int count)
{
    BUG_UNLESS(count == f->params.count);
    for (int i = 0; i < count; i++) {
        f->params.items[i] = (ir_port){.value = order[i], .bind = IR_INPUT};
        order[i]->index = i;
    }
}

static void branch_in_place(onnx_node *n, const Onnx__GraphProto *g)
{
    onnx_scope s;
    onnx_scope_init(&s, n->r, n->scope, n->scope->body, n->scope->depth + 1);
    if (!run(n, &s, g))
        return;
    for (int i = 0; i < n->nout; i++) {
        onnx_entry *e = (size_t)i < g->n_output && g->output[i]->name
                            ? onnx_find(&s, g->output[i]->name)
                            : NULL;
        if (e && e->sequence)
            n->out_entry[i] = *e;
        else
            n->out[i] = output(n, &s, g, (size_t)i);
    }
}

/* Both branches take the union of the values that they capture. */
static int join_captures(onnx_node *n, onnx_body *body, ir_value ***operands)
{
    onnx_reader *r = n->r;
    base_map seen = base_map_new(r->scratch);
    BASE_LIST(ir_value *) all = {0};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < body[k].captured.count; i++) {
            ir_value *v = body[k].captured.items[i];
            if (!base_map_get_ptr(&seen, v))
                BASE_PUSH(r->scratch, &all, v);
            base_map_put_ptr(&seen, v, v);
        }
    for (int k = 0; k < 2; k++) {
        ir_value **order = base_array(r->scratch, ir_value *, all.count + 1);
        for (int i = 0; i < all.count; i++) {
            for (int j = 0; j < body[k].captured.count; j++)
                if (body[k].captured.items[j] == all.items[i])
                    order[i] = body[k].params.items[j];
            if (!order[i])
                order[i] = ir_add_input(body[k].b.func, NULL, &all.items[i]->type);
        }
        order_params(body[k].b.func, order, all.count);
    }
    *operands = all.items;
    return all.count;
}

/* One branch as a function of its own; false and reported if it cannot be built. */
static bool branch_as_function(onnx_node *n, onnx_body *body, const char *name,
                               const Onnx__GraphProto *g)
{
    onnx_scope s;
    *body = onnx_body_new(n->r, n->scope->body, name, n->loc);
    onnx_scope_init(&s, n->r, n->scope, body, n->scope->depth + 1);
    if (!run(n, &s, g))
        return false;
    for (int i = 0; i < n->nout; i++) {
        ir_value *v = output(n, &s, g, (size_t)i);
        if (!v)
            return false;
        ir_add_output(body->b.func, NULL, v);
    }
    return true;
}

/* Builds both branches as functions with results of the same types, so that the condition may
 * depend on data. NULL if that works, else a text that says why not; errors within a branch are
 * held back. */
static const char *branches_as_functions(onnx_node *n, onnx_body *body,
                                         const Onnx__GraphProto *const *g)
{
    static const char *const names[] = {"then", "else"};
    const char *fault = NULL;
    for (int k = 0; k < 2; k++)
        if (!branch_as_function(n, &body[k], names[k], g[k]))
            fault = fault ? "neither branch can be built for these shapes"
                          : base_format(n->r->scratch,
                                        "the %s branch cannot be built for these shapes", names[k]);
    for (int i = 0; i < n->nout && !fault; i++)
        if (!ir_type_eq(&body[0].b.func->results.items[i].value->type,
                        &body[1].b.func->results.items[i].value->type))
            fault = "the branches' outputs differ in type";
    n->failed = false;
    return fault;
}

BUILD(if)
{
    onnx_reader *r = n->r;
    const Onnx__GraphProto *g[2] = {graph_of(n, "then_branch"), graph_of(n, "else_branch")};
    if (!g[0] || !g[1])
        return;
    if (ir_count(&n->in[0]->type) != 1) {
        onnx_error(n, "the condition is %s, expected one bool", onnx_type_text(n, n->in[0]));
        return;
    }
    ir_literal *known = onnx_peek(r, n->in[0]);
    if (known) {
        branch_in_place(n, g[ir_literal_get_int(known, 0) ? 0 : 1]);
        return;
    }
    onnx_body body[2];
    base_held *held = base_hold(r->ctx, r->scratch);
    const char *fault = branches_as_functions(n, body, g), *why = "";
    known = fault ? onnx_demand(r, n->in[0], &why) : NULL;
    base_release(r->ctx, held, !known);
    if (known) {
        branch_in_place(n, g[ir_literal_get_int(known, 0) ? 0 : 1]);
        return;
    }
    if (fault) {
        onnx_error(n, "%s, so the condition must be a constant; it depends on %s", fault, why);
        return;
    }
    ir_value **captured, **operand;
    int count = join_captures(n, body, &captured);
    operand = base_array(r->scratch, ir_value *, count + 1);
    operand[0] = ir_reshape(n->b, n->in[0], 0, NULL);
    for (int i = 0; i < count; i++)
        operand[i + 1] = captured[i];
    ir_inst *inst =
        ir_build(n->b, IR_OP_cond, operand, count + 1,
                 &(ir_attrs){.cond = {.then_body = body[0].b.func, .else_body = body[1].b.func}});
    for (int i = 0; inst && i < n->nout; i++)
        n->out[i] = inst->result[i];
}

/* A scan of the body. Its parameters and operands are the captured values, then its own. */
static ir_inst *build_scan(onnx_node *n, onnx_body *body, ir_value *const *own,
                           ir_value *const *own_param, int nown, int carries, int64_t length,
                           ir_value *go)
{
    int consts = body->captured.count, m = consts + nown;
    ir_value **order = base_array(n->r->scratch, ir_value *, m + 1),
             **operand = base_array(n->r->scratch, ir_value *, m + 2);
    for (int i = 0; i < m; i++) {
        order[i] = i < consts ? body->params.items[i] : own_param[i - consts];
        operand[i] = i < consts ? body->captured.items[i] : own[i - consts];
    }
    order_params(body->b.func, order, m);
    operand[m] = go;
    return ir_build(n->b, IR_OP_scan, operand, m + (go != NULL),
                    &(ir_attrs){.scan = {.body = body->b.func,
                                         .consts = consts,
                                         .carries = carries,
                                         .length = length,
                                         .live = go != NULL}});
}

static bool body_inputs(onnx_node *n, const Onnx__GraphProto *g, int due)
{
    if ((int)g->n_input != due)
        onnx_error(n, "the body has %zu inputs, expected %d", g->n_input, due);
    for (size_t i = 0; i < g->n_input; i++)
        if (!g->input[i]->name)
            onnx_error(n, "input %zu of the body has no name", i);
    return !n->failed;
}

/* The body's parameters: carried values, then the iteration. False and reported if that fails. */
static bool loop_params(onnx_node *n, onnx_scope *s, const Onnx__GraphProto *g, int carries,
                        ir_value **own, ir_value **param)
{
    ir_type counter = ir_scalar_type(IR_I64);
    if (carries > 60) {
        onnx_error(n, "%d carried values exceed the limit of 60", carries);
        return false;
    }
    for (int i = 0; i < carries; i++) {
        own[i] = n->in[2 + i];
        if (!own[i]) {
            onnx_error(n, "carried value %d is missing", i);
            return false;
        }
        param[i] = ir_add_input(s->body->b.func, NULL, &own[i]->type);
        onnx_bind(s, n->loc, g->input[2 + i]->name, param[i]);
    }
    param[carries] = ir_add_input(s->body->b.func, NULL, &counter);
    onnx_bind(s, n->loc, g->input[0]->name, param[carries]);
    onnx_bind(s, n->loc, g->input[1]->name, ir_scalar(&s->body->b, IR_BOOL, 1));
    return true;
}

/* Adds the body's outputs from number `first` on as results of its function. */
static bool add_results(onnx_node *n, onnx_scope *s, const Onnx__GraphProto *g, size_t first,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ir_value *v = output(n, s, g, first + i);
        if (!v)
            return false;
        ir_add_output(s->body->b.func, NULL, v);
    }
    return true;
}

/* A loop that may end early and has at most this many iterations becomes a scan, which has a
 * derivative; one with more becomes a while_loop. */
enum { SCANNED = 65536 };

typedef struct onnx_loop {
    onnx_node *n;
    onnx_body body;
    ir_value *own[64], *param[64]; /* carried values, then the iteration */
    int carries;
    int64_t length;  /* most iterations, if known */
    ir_value *most;  /* the same, if data decides, or NULL */
    ir_value *go;    /* input "cond", or NULL */
    ir_value *more;  /* the body's condition */
} onnx_loop;

/* The trip count depends on data: a while_loop over the condition, the iteration and the carried
 * values. */
static ir_inst *build_while(onnx_loop *l)
{
    onnx_node *n = l->n;
    ir_func *body = l->body.b.func, *test = onnx_func_new(n->r, "test");
    ir_builder *b = n->b, *in = &l->body.b, tb = ir_builder_new(test);
    ir_type flag = ir_scalar_type(IR_BOOL);
    int consts = l->body.captured.count, fixed = consts + (l->most != NULL),
        m = fixed + 2 + l->carries;
    ir_value **order = base_array(n->r->scratch, ir_value *, m),
             **operand = base_array(n->r->scratch, ir_value *, m);
    for (int i = 0; i < consts; i++) {
        order[i] = l->body.params.items[i];
        operand[i] = l->body.captured.items[i];
    }
    if (l->most) {
        operand[consts] = l->most;
        order[consts] = ir_add_input(body, NULL, &l->most->type);
    }
    operand[fixed] = l->go ? ir_reshape(b, l->go, 0, NULL) : ir_scalar(b, IR_BOOL, 1);
    order[fixed] = ir_add_input(body, NULL, &flag);
    operand[fixed + 1] = ir_scalar(b, IR_I64, 0);
    order[fixed + 1] = l->param[l->carries];
    for (int i = 0; i < l->carries; i++) {
        operand[fixed + 2 + i] = l->own[i];
        order[fixed + 2 + i] = l->param[i];
    }
    order_params(body, order, m);
    ir_port *carried = body->results.items; /* added before; two more go in front of them */
    int count = body->results.count;
    body->results.items = NULL;
    body->results.count = body->results.capacity = 0;
    ir_add_output(body, NULL, ir_reshape(in, l->more, 0, NULL));
    ir_add_output(body, NULL, ir_add(in, order[fixed + 1], ir_scalar(in, IR_I64, 1)));
    for (int i = 0; i < count; i++)
        ir_add_output(body, NULL, carried[i].value);
    for (int i = 0; i < m; i++)
        ir_add_input(test, NULL, &order[i]->type);
    ir_value *go = test->params.items[fixed].value;
    ir_add_output(test, NULL,
                  l->most ? ir_and(&tb, go,
                                   ir_compare(&tb, IR_LT, test->params.items[fixed + 1].value,
                                              test->params.items[consts].value))
                          : go);
    return ir_build(
        b, IR_OP_while_loop, operand, m,
        &(ir_attrs){
            .while_loop = {.test = test, .body = body, .consts = fixed, .limit = l->length}});
}

/* The trip count: known, or `most`, or INT64_MAX if there is no such input. */
static bool loop_bound(onnx_loop *l, int ys)
{
    onnx_node *n = l->n;
    ir_value *given = n->nin > 0 ? n->in[0] : NULL;
    l->length = INT64_MAX;
    if (!given)
        return true;
    if (ys || onnx_peek(n->r, given)) /* the length of scan outputs is part of a shape */
        return onnx_const_int(n, 0, "M", &l->length);
    l->most = ir_reshape(n->b, ir_convert(n->b, given, IR_I64), 0, NULL);
    return l->most != NULL;
}

static bool loop_fits(onnx_loop *l, const Onnx__GraphProto *g, int ys, bool live)
{
    onnx_node *n = l->n;
    if (!l->more)
        return false;
    if (l->more->type.dtype != IR_BOOL || ir_count(&l->more->type) != 1)
        onnx_error(n, "the body's condition is %s, expected one bool", onnx_type_text(n, l->more));
    else if (ys < 0 || n->nout > l->carries + ys)
        onnx_error(n, "the body has %zu outputs for %d carried values", g->n_output, l->carries);
    else if (live && ys)
        onnx_error(n, "scan outputs of a loop that may end early have a data-dependent length, "
                      "which is not supported");
    else if (!live && l->length == INT64_MAX && !l->most)
        onnx_error(n, "the loop has neither a trip count nor a condition that can end it");
    return !n->failed;
}

/* A scan where the number of iterations is known, or bounded by a known number and a condition;
 * else a while_loop. */
BUILD(loop)
{
    onnx_reader *r = n->r;
    const Onnx__GraphProto *g = graph_of(n, "body");
    onnx_loop l = {
        .n = n, .carries = n->nin > 2 ? n->nin - 2 : 0, .go = n->nin > 1 ? n->in[1] : NULL};
    int ys = g ? (int)g->n_output - 1 - l.carries : 0;
    if (!g || !body_inputs(n, g, l.carries + 2) || !loop_bound(&l, ys))
        return;
    ir_literal *first = l.go ? onnx_peek(r, l.go) : NULL;
    if (l.length < 0 || (first && ir_count(&first->type) == 1 && !ir_literal_get_int(first, 0)))
        l.length = 0;
    onnx_scope s;
    l.body = onnx_body_new(r, n->scope->body, "loop", n->loc);
    l.body.loop = true;
    onnx_scope_init(&s, r, n->scope, &l.body, n->scope->depth + 1);
    if (!loop_params(n, &s, g, l.carries, l.own, l.param) || !run(n, &s, g))
        return;
    l.more = output(n, &s, g, 0);
    ir_literal *stays = l.more ? onnx_peek(r, l.more) : NULL;
    bool live = !stays || (l.go && !first);
    if (stays && ir_count(&stays->type) == 1 && !ir_literal_get_int(stays, 0) && l.length > 1 &&
        !l.most)
        l.length = 1;
    if (!loop_fits(&l, g, ys, live) || !add_results(n, &s, g, 1, (size_t)(l.carries + ys)))
        return;
    bool open = l.most || (live && l.length > SCANNED);
    ir_inst *inst;
    if (open) {
        inst = build_while(&l);
    } else {
        if (live)
            ir_add_output(l.body.b.func, NULL, ir_reshape(&l.body.b, l.more, 0, NULL));
        ir_value *start = !live  ? NULL
                          : l.go ? ir_reshape(n->b, l.go, 0, NULL)
                                 : ir_scalar(n->b, IR_BOOL, 1);
        l.own[l.carries] = ir_iota(n->b, IR_I64, 1, &l.length, 0);
        inst = build_scan(n, &l.body, l.own, l.param, l.carries + 1, l.carries, l.length, start);
    }
    for (int i = 0; inst && i < n->nout; i++)
        n->out[i] = inst->result[i + (open ? 2 : 0)];
}

/* Entry i of a list attribute, or 0. */
static int64_t entry(onnx_node *n, const char *name, int i)
{
    ir_ints v;
    return onnx_ints(n, name, &v) && i < v.n ? v.v[i] : 0;
}

BUILD(scan)
{
    onnx_reader *r = n->r;
    const Onnx__GraphProto *g = graph_of(n, "body");
    int64_t nx = onnx_int(n, "num_scan_inputs", 0), length = -1;
    if (!g || !body_inputs(n, g, n->nin))
        return;
    int carries = nx >= 1 && nx <= n->nin ? n->nin - (int)nx : -1;
    if (carries < 0 || n->nin > 60 || (int)g->n_output < carries || n->nout > (int)g->n_output) {
        onnx_error(n, "num_scan_inputs is %lld for %d inputs and %zu outputs of the body",
                   (long long)nx, n->nin, g->n_output);
        return;
    }
    onnx_scope s;
    onnx_body body = onnx_body_new(r, n->scope->body, "scan", n->loc);
    ir_value *own[64], *param[64];
    body.loop = true;
    onnx_scope_init(&s, r, n->scope, &body, n->scope->depth + 1);
    for (int i = 0; i < n->nin; i++) {
        ir_value *v = n->in[i];
        int64_t axis, zero = 0;
        if (!v) {
            onnx_error(n, "input %d is missing", i);
            return;
        }
        ir_type t = v->type;
        if (i >= carries) {
            if (!onnx_axis(n, entry(n, "scan_input_axes", i - carries), t.rank, &axis))
                return;
            v = ir_move_axis(n->b, v, (int)axis, 0);
            if (v && entry(n, "scan_input_directions", i - carries))
                v = ir_reverse(n->b, v, 1, &zero);
            if (!v)
                return;
            if (length >= 0 && length != v->type.dim[0])
                onnx_error(n, "the scan inputs have different lengths, %lld and %lld",
                           (long long)length, (long long)v->type.dim[0]);
            length = v->type.dim[0];
            t = v->type;
            memmove(t.dim, t.dim + 1, (size_t)(t.rank - 1) * sizeof *t.dim);
            t.dim[--t.rank] = 0;
        }
        own[i] = v;
        param[i] = ir_add_input(body.b.func, NULL, &t);
        onnx_bind(&s, n->loc, g->input[i]->name, param[i]);
    }
    if (n->failed || !run(n, &s, g))
        return;
    if (!add_results(n, &s, g, 0, g->n_output))
        return;
    ir_inst *inst = build_scan(n, &body, own, param, n->nin, carries, length, NULL);
    for (int i = 0; inst && i < n->nout; i++) {
        int64_t axis, zero = 0;
        n->out[i] = inst->result[i];
        if (i < carries)
            continue;
        if (entry(n, "scan_output_directions", i - carries))
            n->out[i] = ir_reverse(n->b, n->out[i], 1, &zero);
        if (!onnx_axis(n, entry(n, "scan_output_axes", i - carries), n->out[i]->type.rank, &axis))
            return;
        n->out[i] = ir_move_axis(n->b, n->out[i], 0, (int)axis);
    }
}
