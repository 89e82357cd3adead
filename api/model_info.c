/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What is known about a model: `info`, `check`, lists. */
#include "api/session.h"
#include "ir/cost.h"

#include <string.h>

/* ---- info ---- */

static void add_tensor(api_session *s, api_tensors *list, const char *name, const ir_type *type,
                       bool trainable, const char *why)
{
    api_tensor_info t = {name, type ? ir_type_text(s->arena, type) : "", why, trainable,
                         type ? ir_bytes(type) : 0};
    BASE_PUSH(s->arena, list, t);
}

static void add_ports(api_session *s, api_variant *v, const ir_func *f)
{
    for (int i = 0; i < f->params.count + f->results.count; i++) {
        bool result = i >= f->params.count, known = false;
        const ir_port *p = result ? &f->results.items[i - f->params.count] : &f->params.items[i];
        api_tensors *list = result ? &v->outputs : &v->inputs;
        if (p->bind != IR_INPUT || p->role != IR_DATA)
            continue;
        for (int k = 0; k < list->count; k++)
            known |= !strcmp(list->items[k].name, p->name);
        if (!known)
            add_tensor(s, list, p->name, &p->value->type, false, NULL);
    }
}

static api_variant variant_of(api_session *s, int spec)
{
    const ir_module *m = s->module[spec];
    const ir_func *forward = ir_entry_by_name(m, "forward");
    api_variant v = {.extent = s->spec[spec].dim,
                     .macs = forward ? (int64_t)ir_cost_of_func(forward).macs : 0};
    for (int e = 0; e < CG_ENTRIES; e++) {
        const ir_func *f = ir_entry_by_name(m, cg_entry_names[cg_member_order[e]]);
        if (f)
            add_ports(s, &v, f);
    }
    return v;
}

const api_facts *api_facts_of(api_session *s)
{
    api_facts *facts = base_new(s->arena, api_facts);
    api_variant *v = base_array(s->arena, api_variant, s->nspecs);
    const ir_module *m = s->module[0];
    for (int k = 0; k < s->nspecs; k++)
        v[k] = variant_of(s, k);
    *facts = (api_facts){.name = m->name,
                         .loss = s->loss,
                         .dim_name = s->dim_name,
                         .ndims = s->ndims,
                         .variant = v,
                         .nvariants = s->nspecs};
    for (int e = 0; e < (int)GRADC_RT_KINDS; e++)
        facts->entry[e] = ir_entry_by_name(m, api_entry_name(e)) != NULL;
    for (int i = 0; i < m->states.count; i++) {
        const ir_state *x = m->states.items[i];
        if (x->kind <= IR_STAT)
            add_tensor(s, x->kind == IR_PARAM ? &facts->params : &facts->stats, x->name, &x->type,
                       x->trainable, x->why);
    }
    for (int i = 0; i < s->facts.constants.count; i++)
        add_tensor(s, &facts->constants, s->facts.constants.items[i].name, NULL, false,
                   s->facts.constants.items[i].why);
    if (m->props & PASS_PLANNED) {
        cg_request r = api_request(s);
        const cg_object *o = s->object ? s->object : cg_measure(s->ctx, s->arena, &r);
        if (!o)
            return NULL;
        const cg_sizes *z = &o->sizes;
        facts->bytes.context = z->context;
        facts->bytes.params = z->params;
        facts->bytes.stats = z->stats;
        facts->bytes.optimizer = z->optimizer;
        facts->bytes.counters = z->counters;
        facts->bytes.grads = z->grads;
        facts->bytes.saved = z->saved;
        facts->bytes.scratch = z->scratch;
        facts->bytes.arena = z->arena;
    }
    return facts;
}

/* ---- check ---- */

typedef struct gap { /* an error at a node */
    const char *text;
    int node;
    /* Of an error of reading; NULL: an error only if the node's derivative is needed. */
    const base_loc *loc;
} gap;
typedef struct gaps {
    api_session *s;
    gap *items;
    int count, capacity;
    BASE_LIST(base_diagnostic) warnings;
    bool general; /* there was an error without a node, reported at once */
} gaps;

static void note_gap(void *user, const base_diagnostic *d)
{
    gaps *g = user;
    if (d->warning) {
        base_diagnostic w = *d;
        w.text = base_strdup(g->s->arena, d->text);
        BASE_PUSH(g->s->arena, &g->warnings, w);
    }
    if (d->severity != BASE_ERROR)
        return;
    if (!d->loc || d->loc->node < 0) {
        g->general = true;
        base_report(g->s->ctx, BASE_ERROR, &(base_loc){.file = g->s->path, .node = -1}, "%s",
                    d->text);
        return;
    }
    /* The strings that it points to are freed with the reader's context. */
    base_loc *loc = base_memdup(g->s->arena, d->loc, sizeof *loc);
    loc->file = g->s->path;
    loc->name = d->loc->name ? base_strdup(g->s->arena, d->loc->name) : NULL;
    loc->op = d->loc->op ? base_strdup(g->s->arena, d->loc->op) : NULL;
    loc->source = NULL;
    gap one = {base_strdup(g->s->arena, d->text), d->loc->node, loc};
    BASE_PUSH(g->s->arena, g, one);
}

/* For each node of the facts, by its index: the first error. */
static const char **reasons(const gaps *g, const onnx_facts *facts)
{
    int n = 0;
    for (int i = 0; i < facts->nodes.count; i++)
        n = facts->nodes.items[i].index >= n ? facts->nodes.items[i].index + 1 : n;
    const char **why = base_array(g->s->arena, const char *, n + 1);
    for (int i = g->count - 1; i >= 0; i--)
        if (g->items[i].node < n)
            why[g->items[i].node] = g->items[i].text;
    return why;
}

/* Reports what compiling may still refuse when all nodes have a forward: derivatives that the
 * options ask for, an expanded graph that is too large, inputs and outputs, memory. */
static void check_rest(api_session *s)
{
    if (!api_complete(s) || !api_optimise(s))
        return;
    cg_request r = api_request(s);
    cg_measure(s->ctx, s->arena, &r);
}

/* Lists the instructions of a text, all of which have a forward. */
static bool check_text(api_session *s, const char *path, api_nodes *out)
{
    int index = 0;
    if (!api_read_modules(s, API_CHECK, path))
        return false;
    ir_module *m = s->module[0];
    for (int k = 0; k < m->funcs.count; k++)
        IR_FOR (inst, m->funcs.items[k]) {
            bool has = ad_is_zero(inst->op) || ad_rules[inst->op];
            const char *name = inst->nresults && inst->result[0]->name ? inst->result[0]->name : "";
            api_node x = {index++, name, ir_ops[inst->op].name,
                          true,    has,  has ? NULL : "no derivative rule"};
            BASE_PUSH(s->arena, out, x);
        }
    check_rest(s);
    return true;
}

/* Nodes whose operator has a gradient, but not as it is used here (a Loop with a trip count that
 * depends on data). */
static void without_rule(gaps *g, const ir_module *m)
{
    for (int k = 0; k < m->funcs.count; k++)
        IR_FOR (inst, m->funcs.items[k])
            if (!ad_is_zero(inst->op) && !ad_rules[inst->op] && inst->loc && inst->loc->node >= 0) {
                gap one = {
                    base_format(g->s->arena, "no derivative rule for `%s`", ir_ops[inst->op].name),
                    inst->loc->node, NULL};
                BASE_PUSH(g->s->arena, g, one);
            }
}

/* Whether the fault is the model's as a whole (a dimension has no value, a file of weights is
 * missing). Nodes then failed only for lack of their inputs, and a table of them would say
 * nothing. */
static bool nothing_known(const gaps *g, const onnx_facts *facts)
{
    bool built = true;
    for (int i = 0; i < facts->nodes.count; i++)
        built &= facts->nodes.items[i].forward;
    return g->general && !g->count && !built;
}

/* Whether all nodes have a forward. Which derivatives are needed is known only when the training
 * entries are built. */
static bool all_forward(const gaps *g, const onnx_facts *facts)
{
    bool all = !g->general;
    for (int i = 0; i < facts->nodes.count; i++)
        all &= facts->nodes.items[i].forward;
    return all;
}

/* A row for each node of the file. */
static void list_nodes(const gaps *g, api_nodes *out)
{
    api_session *s = g->s;
    int count = nothing_known(g, &s->facts) ? 0 : s->facts.nodes.count;
    const char **why = reasons(g, &s->facts);
    for (int i = 0; i < count; i++) {
        const onnx_node_info *n = &s->facts.nodes.items[i];
        api_node x = {n->index,   base_strdup(s->arena, n->name), base_strdup(s->arena, n->op),
                      n->forward, strcmp(n->gradient, "no") != 0, NULL};
        x.why = why[n->index];
        x.backward &= !x.forward || !x.why;
        if (!x.forward && !x.why)
            x.why = "an input of it was not built";
        if (x.forward && !x.backward && !x.why)
            x.why = "no derivative rule";
        x.backward &= x.forward;
        BASE_PUSH(s->arena, out, x);
    }
}

/* Reports why reading failed although all nodes have a forward: the requested training is not
 * possible. The table lists missing derivatives, which may not be needed; these errors always
 * count. */
static void tell_refused(const gaps *g)
{
    for (int i = 0; i < g->s->facts.nodes.count; i++)
        if (!g->s->facts.nodes.items[i].forward)
            return;
    for (int i = 0; i < g->count; i++)
        if (g->items[i].loc)
            base_report(g->s->ctx, BASE_ERROR, g->items[i].loc, "%s", g->items[i].text);
}

/* Passes on the warnings of reading; the session knows which are enabled. */
static void tell_warnings(gaps *g)
{
    for (int i = 0; i < g->warnings.count; i++) {
        const base_diagnostic *w = &g->warnings.items[i];
        base_warn(g->s->ctx, (base_warning)(w->warning - base_warnings), w->loc, "%s", w->text);
    }
    g->warnings.count = 0;
}

/* True if all nodes have a forward; then the warnings, and errors about the rest, are still to be
 * reported. */
static bool read_nodes(gaps *g, base_ctx *ctx, const onnx_options *o)
{
    api_session *s = g->s;
    ir_module *m = onnx_read_file(ctx, base_arena_new(ctx), s->path, o);
    if (m)
        without_rule(g, m);
    if (m && all_forward(g, &s->facts))
        return true;
    tell_warnings(g);
    if (!m)
        tell_refused(g);
    else if (api_check_names(s, m))
        api_warn(s, m);
    return false;
}

/* Reads the file only for its nodes and keeps the diagnostics, in a context of its own where
 * failures end. */
static bool check_nodes(gaps *g, const onnx_options *o, api_nodes *out)
{
    api_session *s = g->s;
    base_ctx *ctx = base_ctx_new(note_gap, g);
    volatile bool forward = false;
    if (!ctx)
        return false;
    base_try frame;
    if (!setjmp(base_try_push(ctx, &frame))) {
        forward = read_nodes(g, ctx, o);
        base_try_pop(ctx, &frame);
    } else {
        tell_warnings(g);
        if (!g->general)
            note_gap(g, &(base_diagnostic){.severity = BASE_ERROR, .text = base_ctx_why(ctx)});
    }
    api_blame(s);
    list_nodes(g, out);
    s->facts = (onnx_facts){0}; /* its memory belongs to that context */
    base_ctx_free(ctx);
    return forward;
}

bool api_check(api_session *s, const char *path, api_nodes *out)
{
    gaps g = {.s = s};
    if (!api_name_model(s, API_CHECK, path))
        return false;
    if (s->text)
        return check_text(s, path, out);
    onnx_options *o = api_onnx_options(s);
    if (!o)
        return false;
    base_try frame;
    if (!check_nodes(&g, o, out))
        return out->count > 0 || !g.general;
    if (!setjmp(base_try_push(s->ctx, &frame))) { /* the table is shown also when this fails */
        if (api_read_modules(s, API_CHECK, path))
            check_rest(s);
        base_try_pop(s->ctx, &frame);
    }
    return true;
}

/* ---- Lists ---- */

static const char *class_text(api_session *s, int classes)
{
    static const struct {
        int bits;
        const char *name;
    } words[] = {{IR_CLASS_B, "bool"},
                 {IR_CLASS_S, "signed"},
                 {IR_CLASS_U, "unsigned"},
                 {IR_CLASS_F, "float"}};
    const char *text = "";
    if (classes == IR_CLASS_ANY)
        return "any";
    for (int i = 0; i < 4; i++)
        if (classes & words[i].bits)
            text = base_format(s->arena, "%s%s%s", text, *text ? ", " : "", words[i].name);
    return text;
}

bool api_primitive(api_session *s, int i, api_op_row *out)
{
    if (i >= IR_OPS)
        return false;
    *out = (api_op_row){ir_ops[i].name, ir_ops[i].doc, class_text(s, ir_ops[i].classes),
                        ad_is_zero((ir_op)i) ? "zero"
                        : ad_rules[i]        ? "yes"
                                             : "no"};
    return true;
}

bool api_onnx_operator(api_session *s, int i, api_op_row *out)
{
    onnx_op_info o;
    if (!onnx_op_at(i, &o))
        return false;
    const char *range = o.last ? base_format(s->arena, "opset %d to %d", o.since, o.last)
                               : base_format(s->arena, "opset %d on", o.since);
    *out = (api_op_row){*o.domain ? base_format(s->arena, "%s.%s", o.domain, o.name) : o.name,
                        range, o.types, o.gradient};
    return true;
}
