/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Names, scopes, and the walk over the nodes of a graph or function. */
#include "frontend/onnx/reader.h"

static const onnx_entry poison;

void onnx_scope_init(onnx_scope *s, onnx_reader *r, onnx_scope *outer, onnx_body *body, int depth)
{
    *s = (onnx_scope){.r = r,
                      .outer = outer,
                      .body = body,
                      .names = base_map_new(r->scratch),
                      .makers = base_map_new(r->scratch),
                      .depth = depth};
}

ir_func *onnx_func_new(onnx_reader *r, const char *name)
{
    return ir_func_new(r->m, base_format(r->scratch, "%s_%d", name, r->bodies++));
}

onnx_body onnx_body_new(onnx_reader *r, onnx_body *outer, const char *name, const base_loc *loc)
{
    onnx_body body = {.b = ir_builder_new(onnx_func_new(r, name)),
                      .outer = outer,
                      .inside = base_map_new(r->scratch)};
    body.b.loc = loc;
    body.loop = outer && outer->loop;
    return body;
}

/* ---- Values ---- */

ir_value *onnx_capture(onnx_reader *r, onnx_body *body, ir_value *v)
{
    if (!v || v->func == body->b.func)
        return v;
    BUG_UNLESS(body->outer);
    ir_value *outer = onnx_capture(r, body->outer, v), *p = base_map_get_ptr(&body->inside, outer);
    if (p)
        return p;
    if (outer->def && outer->def->op == IR_OP_constant && ir_count(&outer->type) <= 64) {
        p = ir_constant(&body->b, IR_ATTR(outer->def, constant)->value);
    } else {
        p = ir_add_input(body->b.func, NULL, &outer->type);
        BASE_PUSH(r->scratch, &body->captured, outer);
        BASE_PUSH(r->scratch, &body->params, p);
        base_map_put_ptr(&r->outer_of, p, outer);
    }
    base_map_put_ptr(&body->inside, outer, p);
    return p;
}

onnx_entry *onnx_find(onnx_scope *s, const char *name)
{
    for (; s; s = s->outer) {
        onnx_entry *e = base_map_get_text(&s->names, name);
        if (e)
            return e;
    }
    return NULL;
}

/* The value of an initializer: a state of the main function, or a constant. */
static ir_value *make_init(onnx_scope *s, onnx_entry *e)
{
    onnx_reader *r = s->r;
    onnx_init *init = e->init;
    onnx_body *top = s->body;
    while (top->outer)
        top = top->outer;
    if (!init->value)
        return NULL;
    if (init->constant || !ir_is_float(init->value->type.dtype))
        return ir_constant(&s->body->b, init->value);
    if (!init->state) {
        if ((!strcmp(init->name, "seed") || !strcmp(init->name, "calls")) &&
            ir_state_by_name(r->m, init->name)) {
            base_report(r->ctx, BASE_ERROR, s->body->b.loc,
                        "a weight is named '%s', which is reserved for a random number counter",
                        init->name);
            return NULL;
        }
        init->state = ir_state_new(r->m, init->name, IR_PARAM, &init->value->type);
        init->state->init = init->value;
        base_map_put_ptr(&r->states, init->state, init);
    }
    return e->value = ir_add_state(r->main, init->state);
}

ir_value *onnx_value_of(onnx_scope *s, onnx_entry *e)
{
    ir_value *v = e->value;
    if (!v && e->init)
        v = make_init(s, e);
    return onnx_capture(s->r, s->body, v);
}

static void bind_entry(onnx_scope *s, const char *name, onnx_entry e)
{
    base_map_put_text(&s->names, name, base_memdup(s->r->scratch, &e, sizeof e));
}

bool onnx_bind(onnx_scope *s, const base_loc *loc, const char *name, ir_value *v)
{
    if (base_map_get_text(&s->names, name)) {
        base_report(s->r->ctx, BASE_ERROR, loc, "name '%s' is defined twice in one graph", name);
        return false;
    }
    bind_entry(s, name, (onnx_entry){.value = v});
    return true;
}

bool onnx_random(onnx_node *n, ir_value **seed, ir_value **calls, int *stream)
{
    onnx_reader *r = n->r;
    if (n->scope->body->loop) {
        onnx_error(n, "random numbers inside a loop are not supported");
        return false;
    }
    const char *names[] = {"seed", "calls"};
    ir_value **mine[] = {&r->random_seed, &r->random_calls};
    for (int i = 0; i < 2; i++)
        if (!*mine[i]) {
            ir_type t = ir_scalar_type(IR_U64);
            ir_state *s = ir_state_by_name(r->m, names[i]);
            if (s && s->kind != IR_COUNTER) {
                onnx_error(n,
                           "a weight is named '%s', which is reserved for a random number counter",
                           names[i]);
                return false;
            }
            *mine[i] = ir_add_state(r->main, s ? s : ir_state_new(r->m, names[i], IR_COUNTER, &t));
        }
    *seed = onnx_capture(r, n->scope->body, r->random_seed);
    *calls = onnx_capture(r, n->scope->body, r->random_calls);
    *stream = r->streams++;
    return true;
}

/* ---- Operators ---- */

int onnx_opset(const onnx_scope *s, const char *domain)
{
    while (s && !s->function && s->outer)
        s = s->outer;
    size_t n = s->function ? s->function->n_opset_import : s->r->model->n_opset_import;
    Onnx__OperatorSetIdProto **import =
        s->function ? s->function->opset_import : s->r->model->opset_import;
    for (size_t i = 0; i < n; i++) {
        const char *d = import[i]->domain ? import[i]->domain : "";
        if (!strcmp(strcmp(d, "ai.onnx") ? d : "", domain))
            return import[i]->version > 0 && import[i]->version < 100000 ? (int)import[i]->version
                                                                         : 0;
    }
    return 0;
}

const base_loc *onnx_loc(onnx_scope *s, const Onnx__NodeProto *p, int index)
{
    base_loc *loc = base_new(s->r->arena, base_loc);
    *loc = (base_loc){.file = s->r->file,
                      .node = index,
                      .name = p->name && *p->name ? base_strdup(s->r->arena, p->name) : NULL};
    loc->op = base_strdup(s->r->arena, p->op_type ? p->op_type : "");
    if (s->depth) {
        /* The node that is being built; its op may be "outermost > inner". */
        const base_loc *outer = s->body->b.loc;
        loc->op =
            base_format(s->r->arena, "%.*s > %s", (int)strcspn(outer->op, " "), outer->op, loc->op);
        loc->node = outer->node;
        if (!loc->name && p->n_output && *p->output[0])
            loc->name = base_strdup(s->r->arena, p->output[0]);
    }
    return loc;
}

static const onnx_op *find_op(onnx_node *n, const char *domain, const char *name)
{
    const onnx_op *first = base_map_get(&n->r->ops, name, strlen(name)), *any = NULL;
    for (const onnx_op *op = first; op && op->name && !strcmp(op->name, name); op++) {
        if (strcmp(op->domain, domain))
            continue;
        any = op;
        if (n->opset >= op->since && (!op->last || n->opset <= op->last))
            return op;
    }
    if (any)
        onnx_error(n, "%s is not an operator of opset %d", name, n->opset);
    else if (*domain)
        onnx_error(n, "operator %s of domain '%s' is not supported", name, domain);
    else
        onnx_error(n, "operator %s is not supported", name);
    return NULL;
}

static bool attrs_ok(onnx_node *n)
{
    if (n->proto->n_attribute > 100)
        onnx_error(n, "too many attributes (%zu)", n->proto->n_attribute);
    for (size_t i = 0; i < n->proto->n_attribute && i < 100; i++) {
        const char *name = n->proto->attribute[i]->name ? n->proto->attribute[i]->name : "";
        size_t length = strlen(name);
        const char *at = n->op->attrs;
        while (*at && !(!strncmp(at, name, length) && at[length] == ' ')) {
            at += strcspn(at, " ");
            at += *at == ' ';
        }
        if (!*at || !length)
            onnx_error(n, "unknown attribute '%s'", name);
        for (size_t k = 0; k < i; k++)
            if (n->proto->attribute[k]->name && !strcmp(n->proto->attribute[k]->name, name))
                onnx_error(n, "attribute '%s' is given twice", name);
        const char *ref = n->proto->attribute[i]->ref_attr_name;
        const onnx_scope *s = n->scope;
        while (s && !s->function)
            s = s->outer;
        if (ref && *ref && !s)
            onnx_error(n, "attribute '%s' refers to '%s' outside a function", name, ref);
    }
    return !n->failed;
}

/* Looks up the inputs into n->in; false if one is missing, or was not built because of an error. */
static bool inputs_ok(onnx_node *n, int most)
{
    bool ok = true;
    for (int i = 0; i < n->nin; i++) {
        const char *name = n->proto->input[i];
        if (!*name)
            continue;
        onnx_entry *e = onnx_find(n->scope, name);
        if (!e) {
            int maker = (int)(intptr_t)base_map_get_text(&n->scope->makers, name) - 1;
            if (maker >= 0)
                onnx_error(n,
                           "input '%s' is produced only by node %d: the nodes form a cycle or are "
                           "out of order",
                           name, maker);
            else
                onnx_error(n, "input '%s' does not exist", name);
            ok = false;
            bind_entry(n->scope, name, poison);
            continue;
        }
        n->entry[i] = e;
        if (!e->sequence) {
            n->in[i] = onnx_value_of(n->scope, e);
            ok = ok && n->in[i];
            onnx_init *init = i < most ? onnx_init_of(n->r, n->in[i]) : NULL;
            if (init && n->op && strcmp(n->op->name, "Identity")) {
                bool config = i < 32 && n->op->config >> i & 1;
                bool stat = !strcmp(n->op->name, "BatchNormalization") && i >= 3;
                init->stat |= stat;
                init->config |= config;
                init->data |= !stat && !config;
                if (stat || !config)
                    onnx_note_use(n, init, i, stat);
            }
        }
    }
    return ok;
}

static bool signature_ok(onnx_node *n)
{
    const onnx_op *op = n->op;
    int given = 0;
    for (int i = 0; i < n->nin; i++)
        if (*n->proto->input[i])
            given = i + 1;
    if (given < op->in_min || (op->in_max >= 0 && given > op->in_max)) {
        const char *expected = op->in_max < 0
                                   ? base_format(n->r->scratch, "at least %d", op->in_min)
                               : op->in_max > op->in_min
                                   ? base_format(n->r->scratch, "%d to %d", op->in_min, op->in_max)
                                   : base_format(n->r->scratch, "%d", op->in_min);
        int most = op->in_max < 0 ? op->in_min : op->in_max;
        onnx_error(n, "expected %s input%s, got %d", expected, most == 1 ? "" : "s", given);
    }
    for (int i = 0; i < op->in_min && i < n->nin; i++)
        if (!*n->proto->input[i])
            onnx_error(n, "input %d is missing", i);
    if (op->out_max >= 0 && n->nout > op->out_max)
        onnx_error(n, "expected at most %d output%s, got %d", op->out_max,
                   op->out_max == 1 ? "" : "s", n->nout);
    return !n->failed;
}

static void bind_outputs(onnx_node *n)
{
    for (int i = 0; i < n->nout; i++) {
        const char *name = n->proto->output[i];
        if (!*name)
            continue;
        onnx_entry *old = base_map_get_text(&n->scope->names, name);
        onnx_entry e = n->failed                  ? poison
                       : n->out_entry[i].sequence ? n->out_entry[i]
                                                  : (onnx_entry){.value = n->out[i]};
        if (old && !(old->value == NULL && !old->init && !old->sequence)) {
            onnx_error(n, "output '%s' reuses a name that is already defined", name);
            continue;
        }
        if (!n->failed && !e.value && !e.sequence) {
            onnx_error(n, "output %d ('%s') is not supported here", i, name);
            e = poison;
        }
        if (e.value && !e.value->name)
            e.value->name = base_strdup(n->r->arena, name);
        bind_entry(n->scope, name, e);
    }
}

/* W: converts 16-bit float inputs to f32 … */
static void enter(onnx_node *n)
{
    ir_dtype first = IR_DTYPES;
    n->rounded = IR_F32;
    for (int i = 0; i < n->nin; i++) {
        ir_value *v = n->given[i] = n->in[i];
        if (!v || !ir_is_float(v->type.dtype))
            continue;
        first = first == IR_DTYPES ? v->type.dtype : first;
        if (!(n->op->types & ONNX_WIDE) || v->type.dtype != first || ir_dtypes[first].bytes >= 4)
            continue;
        n->rounded = first;
        n->in[i] = ir_convert(n->b, v, IR_F32);
    }
}

/* … and the results back to the type of the first. */
static void leave(onnx_node *n)
{
    for (int i = 0; i < n->nout && i < 32 && n->rounded != IR_F32; i++)
        if (n->out[i] && n->out[i]->type.dtype == IR_F32 && !(n->typed >> i & 1))
            n->out[i] = ir_convert(n->b, n->out[i], n->rounded);
}

static void call_function(onnx_node *n, const Onnx__FunctionProto *f);

static void build_node(onnx_node *n)
{
    const char *domain = n->proto->domain ? n->proto->domain : "",
               *name = n->proto->op_type ? n->proto->op_type : "";
    if (!strcmp(domain, "ai.onnx"))
        domain = "";
    const Onnx__FunctionProto *f = NULL;
    if (n->r->model->n_functions) {
        const char *key = base_format(n->r->scratch, "%s:%s:%s", domain, name,
                                      n->proto->overload ? n->proto->overload : "");
        f = base_map_get_text(&n->r->functions, key);
    }
    n->opset = onnx_opset(n->scope, domain);
    if (!n->opset && !f) {
        onnx_error(n, "domain '%s' is not imported with a version above 0", domain);
        return;
    }
    if (!f && !(n->op = find_op(n, domain, name)))
        return;
    if (!inputs_ok(n, f ? 0 : n->nin)) {
        n->failed = true;
        return;
    }
    if (f) {
        call_function(n, f);
        return;
    }
    if (!signature_ok(n) || !attrs_ok(n))
        return;
    if (n->nin && n->in[0] && !(ir_dtypes[n->in[0]->type.dtype].class & n->op->types)) {
        onnx_error(n, "%s is not defined for %s", name, onnx_type_text(n, n->in[0]));
        return;
    }
    for (int i = 0; i < n->nin; i++)
        if (n->entry[i] && n->entry[i]->sequence && strncmp(name, "Sequence", 8) &&
            strcmp(name, "ConcatFromSequence") && strcmp(name, "Identity")) {
            onnx_error(n, "input %d: expected a tensor, got a sequence", i);
            return;
        }
    enter(n);
    n->op->build(n);
    leave(n);
    n->failed |= n->b->failed;
    n->b->failed = false;
}

static bool one_node(onnx_scope *s, const Onnx__NodeProto *p, int index)
{
    onnx_reader *r = s->r;
    if (++r->nodes > IR_MAX_NODES) {
        base_report(r->ctx, BASE_ERROR, onnx_loc(s, p, index),
                    "functions and loops expand to more than %d nodes", IR_MAX_NODES);
        return false;
    }
    onnx_node n = {.r = r,
                   .scope = s,
                   .proto = p,
                   .loc = onnx_loc(s, p, index),
                   .b = &s->body->b,
                   .nin = (int)p->n_input,
                   .nout = (int)p->n_output};
    n.in = base_array(r->scratch, ir_value *, n.nin + 16);
    n.given = base_array(r->scratch, ir_value *, n.nin + 16);
    n.entry = base_array(r->scratch, onnx_entry *, n.nin + 16);
    n.out = base_array(r->scratch, ir_value *, n.nout + 16);
    n.out_entry = base_array(r->scratch, onnx_entry, n.nout + 16);
    const base_loc *before = n.b->loc;
    n.b->loc = n.loc;
    build_node(&n);
    bind_outputs(&n);
    if (!s->depth && !r->training) {
        const char *domain = base_strdup(r->arena, p->domain ? p->domain : ""),
                   *gradient = n.op       ? n.op->gradient
                               : n.failed ? "no"
                                          : "yes";
        onnx_node_info info = {
            index, n.loc->name ? n.loc->name : "", n.loc->op, domain, !n.failed, gradient};
        BASE_PUSH(r->arena, &r->facts->nodes, info);
    }
    n.b->loc = before;
    n.b->failed = false;
    return base_error_count(r->ctx) < BASE_MAX_DIAGNOSTICS;
}

static bool run_nodes(onnx_scope *s, Onnx__NodeProto *const *node, size_t count)
{
    if (count > IR_MAX_NODES) {
        base_report(s->r->ctx, BASE_ERROR, &(base_loc){.file = s->r->file, .node = -1},
                    "a graph has %zu nodes, the limit is %d", count, IR_MAX_NODES);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < node[i]->n_output; k++)
            base_map_put_text(&s->makers, node[i]->output[k], (void *)(intptr_t)(i + 1));
    for (size_t i = 0; i < count; i++)
        if (!one_node(s, node[i], (int)i))
            return false;
    return true;
}

static void call_function(onnx_node *n, const Onnx__FunctionProto *f)
{
    onnx_scope inner;
    for (const onnx_scope *s = n->scope; s; s = s->function ? s->caller->scope : s->outer)
        if (s->function == f) {
            onnx_error(n, "function %s calls itself", f->name);
            return;
        }
    if (n->scope->depth >= IR_MAX_NESTING) {
        onnx_error(n, "functions and subgraphs are nested more than %d deep", IR_MAX_NESTING);
        return;
    }
    if (n->nin > (int)f->n_input || n->nout > (int)f->n_output) {
        onnx_error(n, "the call has %d inputs and %d outputs, the function has %zu and %zu", n->nin,
                   n->nout, f->n_input, f->n_output);
        return;
    }
    onnx_scope_init(&inner, n->r, NULL, n->scope->body, n->scope->depth + 1);
    inner.caller = n;
    inner.function = f;
    for (size_t i = 0; i < f->n_input; i++)
        if ((int)i < n->nin && n->entry[i])
            bind_entry(&inner, f->input[i], *n->entry[i]);
    int errors = base_error_count(n->r->ctx);
    run_nodes(&inner, f->node, f->n_node);
    for (int i = 0; i < n->nout; i++) {
        onnx_entry *e = base_map_get_text(&inner.names, f->output[i]);
        if (!e && base_error_count(n->r->ctx) == errors)
            onnx_error(n, "function %s does not produce its output '%s'", f->name, f->output[i]);
        if (e && e->sequence)
            n->out_entry[i] = *e;
        else
            n->out[i] = e ? onnx_value_of(&inner, e) : NULL;
    }
    n->failed |= base_error_count(n->r->ctx) > errors;
}

/* Initializers of a subgraph are constants; those of the main graph were bound before. */
static void bind_constants(onnx_scope *s, const Onnx__GraphProto *g)
{
    for (size_t i = 0; i < g->n_initializer; i++) {
        const char *name = g->initializer[i]->name ? g->initializer[i]->name : "";
        ir_literal *l = onnx_literal(s->r, s->body->b.loc, g->initializer[i]);
        onnx_bind(s, s->body->b.loc, name, l ? ir_constant(&s->body->b, l) : NULL);
    }
}

bool onnx_run_graph(onnx_scope *s, const Onnx__GraphProto *g)
{
    if (s->depth > IR_MAX_NESTING) {
        base_report(s->r->ctx, BASE_ERROR, s->body->b.loc, "subgraphs are nested more than %d deep",
                    IR_MAX_NESTING);
        return false;
    }
    int errors = base_error_count(s->r->ctx);
    if (s->depth)
        bind_constants(s, g);
    run_nodes(s, g->node, g->n_node);
    return base_error_count(s->r->ctx) == errors;
}
