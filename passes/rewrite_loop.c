/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Rewrites of instructions that name functions. A body may have several users, so it is never
 * changed: a rewrite makes a new one. */
#include "passes/rewrite.h"
#include "ir/tuning.h"

#include <string.h>

static int size_of(const ir_func *f)
{
    int n = 0;
    IR_FOR (inst, f)
        n++;
    return n;
}

ir_func *rw_body_like(const ir_func *f)
{
    size_t n = strlen(f->name), end = n;
    while (end > 0 && f->name[end - 1] >= '0' && f->name[end - 1] <= '9')
        end--;
    bool numbered = end > 1 && end < n && f->name[end - 1] == '_';
    return ir_func_new(f->module, base_strndup(f->module->arena, f->name, numbered ? end - 1 : n));
}

/* Users of inst's results were counted: it was there when the sweep began. */
static bool counted(const ir_inst *inst)
{
    return inst->id != 0;
}

static bool unused(const ir_inst *inst, int result)
{
    return counted(inst) && !inst->result[result]->id;
}

RULE(rw_call)
{
    const struct ir_attrs_call *a = IR_ATTR(inst, call);
    if (a->vjp || size_of(a->callee) > IR_TUNING(INLINE_CALL))
        return false;
    ir_inline(b, a->callee, inst->operand, out);
    return true;
}

/* f with only the results that keep marks. */
static ir_func *some_results(const ir_func *f, const bool *keep)
{
    ir_func *g = ir_clone(f, f->name);
    int n = 0;
    for (int i = 0; i < f->results.count; i++)
        if (keep[i])
            g->results.items[n++] = g->results.items[i];
    g->results.count = n;
    pass_dce(g);
    return g;
}

/* Gives each parameter an id: is it read? */
static void mark_reads(const ir_func *f)
{
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->id = 0;
    IR_FOR (k, f)
        for (int i = 0; i < k->noperands; i++)
            if (!k->operand[i]->def)
                k->operand[i]->id = 1;
    for (int i = 0; i < f->results.count; i++)
        if (!f->results.items[i].value->def)
            f->results.items[i].value->id = 1;
}

/* f with only the parameters that keep marks; it reads no others. */
static ir_func *some_params(const ir_func *f, const bool *keep)
{
    ir_func *g = ir_clone(f, f->name);
    int n = 0;
    for (int i = 0; i < f->params.count; i++)
        if (keep[i]) {
            g->params.items[n] = g->params.items[i];
            g->params.items[n].value->index = n;
            n++;
        }
    g->params.count = n;
    return g;
}

RULE(rw_cond_operands)
{
    const struct ir_attrs_cond *a = IR_ATTR(inst, cond);
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    bool *keep = base_array(scratch, bool, inst->noperands), less = false;
    ir_value **operand = base_array(scratch, ir_value *, inst->noperands);
    int n = 0;
    operand[n++] = inst->operand[0];
    mark_reads(a->then_body);
    mark_reads(a->else_body);
    for (int i = 0; i + 1 < inst->noperands; i++) {
        keep[i] =
            a->then_body->params.items[i].value->id || a->else_body->params.items[i].value->id;
        less |= !keep[i];
        if (keep[i])
            operand[n++] = inst->operand[1 + i];
    }
    ir_inst *cond = NULL;
    if (less)
        cond = ir_build(b, IR_OP_cond, operand, n,
                        &(ir_attrs){.cond = {.then_body = some_params(a->then_body, keep),
                                             .else_body = some_params(a->else_body, keep)}});
    for (int i = 0; i < inst->nresults && cond; i++)
        out[i] = cond->result[i];
    base_arena_free(scratch);
    return cond != NULL;
}

RULE(rw_cond)
{
    const struct ir_attrs_cond *a = IR_ATTR(inst, cond);
    double c;
    if (match_number(inst->operand[0], &c)) {
        ir_inline(b, c != 0 ? a->then_body : a->else_body, inst->operand + 1, out);
        return true;
    }
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    bool *keep = base_array(scratch, bool, inst->nresults), done = false;
    int n = 0;
    for (int i = 0; i < inst->nresults; i++)
        n += keep[i] = !unused(inst, i);
    if (n && n < inst->nresults) {
        ir_attrs attrs = {.cond = {.then_body = some_results(a->then_body, keep),
                                   .else_body = some_results(a->else_body, keep)}};
        ir_inst *less = ir_build(b, IR_OP_cond, inst->operand, inst->noperands, &attrs);
        for (int i = 0, k = 0; i < inst->nresults && less; i++)
            out[i] = keep[i] ? less->result[k++] : NULL;
        done = less != NULL;
    }
    base_arena_free(scratch);
    return done;
}

/* ---- Known operands ---- */

/* A splat, or a small constant: can be known inside a body too. */
static bool is_known(const ir_value *v)
{
    ir_literal *splat;
    return match_splat(v, &splat) ||
           (match(v, IR_OP_constant) && ir_count(&v->type) <= IR_TUNING(KNOWN_SMALL));
}

static ir_value *known(ir_builder *b, const ir_value *v)
{
    ir_literal *splat;
    if (!match_splat(v, &splat))
        return ir_constant(b, IR_ATTR(v->def, constant)->value);
    ir_type scalar = ir_scalar_type(v->type.dtype);
    ir_literal *one = ir_literal_new(b->func->module->arena, &scalar);
    memcpy(one->data, splat->data, (size_t)ir_bytes(&scalar));
    return ir_broadcast(b, ir_constant(b, one), v->type.rank, v->type.dim, NULL);
}

/* f with constants in place of those of its first n parameters whose operand[] is known; the
 * parameters stay. NULL: it reads none of them. */
static ir_func *with_known(const ir_func *f, ir_value *const *operand, int n, base_arena *scratch)
{
    bool any = false;
    mark_reads(f);
    for (int i = 0; i < n && !any; i++)
        any = f->params.items[i].value->id && is_known(operand[i]);
    if (!any)
        return NULL;
    ir_func *g = rw_body_like(f);
    ir_builder b = ir_builder_new(g);
    ir_value **args = base_array(scratch, ir_value *, f->params.count + 1),
             **got = base_array(scratch, ir_value *, f->results.count + 1);
    for (int i = 0; i < f->params.count; i++) {
        args[i] = ir_add_input(g, NULL, &f->params.items[i].value->type);
        args[i] = i < n && is_known(operand[i]) ? known(&b, operand[i]) : args[i];
    }
    ir_inline(&b, f, args, got);
    for (int i = 0; i < f->results.count; i++)
        ir_add_output(g, NULL, got[i]);
    ir_built(&b);
    pass_fold(g);
    pass_simplify(g);
    pass_dce(g);
    return g;
}

/* The same instruction with other attributes. */
static void with_attrs(ir_builder *b, const ir_inst *inst, const ir_attrs *attrs, ir_value **out)
{
    ir_inst *better = ir_build(b, inst->op, inst->operand, inst->noperands, attrs);
    for (int i = 0; i < inst->nresults && better; i++)
        out[i] = better->result[i];
}

RULE(rw_cond_known)
{
    const struct ir_attrs_cond *a = IR_ATTR(inst, cond);
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    ir_func *f = with_known(a->then_body, inst->operand + 1, inst->noperands - 1, scratch),
            *g = with_known(a->else_body, inst->operand + 1, inst->noperands - 1, scratch);
    if (f || g)
        with_attrs(b, inst,
                   &(ir_attrs){.cond = {.then_body = f ? f : a->then_body,
                                        .else_body = g ? g : a->else_body}},
                   out);
    base_arena_free(scratch);
    return f || g;
}

RULE(rw_scan_known)
{
    ir_attrs attrs = *inst->attrs;
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    ir_func *f = with_known(attrs.scan.body, inst->operand, (int)attrs.scan.consts, scratch);
    if (f) {
        attrs.scan.body = f;
        with_attrs(b, inst, &attrs, out);
    }
    base_arena_free(scratch);
    return f != NULL;
}

/* ---- scan ---- */

/* x[0] without its first dimension of extent 1, and back. */
static ir_value *unstack(ir_builder *b, ir_value *x)
{
    return ir_reshape(b, x, x->type.rank - 1, x->type.dim + 1);
}

/* No iteration, or exactly one. */
RULE(rw_scan_short)
{
    const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
    int first_x = (int)(a->consts + a->carries), ys = inst->nresults - 1;
    if (a->length > 1 || a->live || (a->length == 1 && size_of(a->body) > IR_TUNING(INLINE_TRIP)))
        return false;
    out[ys] = ir_scalar(b, IR_I64, (double)a->length);
    if (a->length == 0) {
        for (int i = 0; i < ys; i++)
            out[i] = i < a->carries ? inst->operand[a->consts + i]
                                    : ir_splat(b, &inst->result[i]->type, 0);
        return true;
    }
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    ir_value **args = base_array(scratch, ir_value *, inst->noperands),
             **got = base_array(scratch, ir_value *, inst->nresults);
    for (int i = 0; i < inst->noperands; i++)
        args[i] = i < first_x ? inst->operand[i] : unstack(b, inst->operand[i]);
    ir_inline(b, a->body, args, got);
    for (int i = 0; i < ys; i++)
        out[i] = ir_reshape(b, got[i], inst->result[i]->type.rank, inst->result[i]->type.dim);
    base_arena_free(scratch);
    return true;
}

enum { DROP, KEEP, FIXED }; /* FIXED: a carry that never changes becomes a constant */

typedef struct plan {
    char *param, *result; /* one of the above for each parameter or result of the body */
} plan;

/* Which parameters and results of a body matter: those that a used result of the scan needs,
 * through any number of iterations. */
static void liveness(const ir_inst *inst, plan *p)
{
    const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
    const ir_func *f = a->body;
    int yielded = inst->nresults - 1;
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->id = 0;
    IR_FOR (k, f)
        for (int i = 0; i < k->nresults; i++)
            k->result[i]->id = 0;
    for (int i = 0; i < f->results.count; i++)
        p->result[i] = i >= yielded || !unused(inst, i);
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < f->results.count; i++)
            if (p->result[i])
                f->results.items[i].value->id = 1;
        IR_FOR_REVERSE (k, f) {
            bool live = false;
            for (int i = 0; i < k->nresults; i++)
                live |= k->result[i]->id != 0;
            for (int i = 0; i < k->noperands && live; i++)
                k->operand[i]->id = 1;
        }
        for (int i = 0; i < a->carries; i++)
            if (f->params.items[a->consts + i].value->id && !p->result[i])
                p->result[i] = changed = true;
    }
    for (int i = 0; i < f->params.count; i++)
        p->param[i] = f->params.items[i].value->id != 0;
    for (int i = 0; i < a->carries; i++)
        if (f->results.items[i].value == f->params.items[a->consts + i].value)
            p->param[a->consts + i] = p->result[i] ? FIXED : DROP, p->result[i] = DROP;
        else
            /* a carry without readers in the body still passes its result out */
            p->param[a->consts + i] = p->result[i];
}

/* Builds the body and the scan that the plan keeps. */
static void rebuild(ir_builder *b, ir_inst *inst, const plan *p, base_arena *scratch,
                    ir_value **out)
{
    const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
    const ir_func *f = a->body;
    ir_attrs attrs = {.scan = *a};
    ir_func *g = rw_body_like(f);
    ir_builder gb = ir_builder_new(g);
    ir_value **args = base_array(scratch, ir_value *, f->params.count),
             **got = base_array(scratch, ir_value *, f->results.count);
    ir_value **operand = base_array(scratch, ir_value *, inst->noperands);
    int n = 0, live = a->live != 0, first_x = (int)(a->consts + a->carries);
    attrs.scan.body = g;
    attrs.scan.consts = attrs.scan.carries = 0;
    /* Constants and the fixed carries first, then the rest in order. */
    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < f->params.count; i++) {
            bool constant = i < a->consts || p->param[i] == FIXED;
            if (constant != !turn || p->param[i] == DROP)
                continue;
            attrs.scan.consts += constant;
            attrs.scan.carries += !constant && i < first_x;
            args[i] = ir_add_input(g, NULL, &f->params.items[i].value->type);
            operand[n++] = inst->operand[i];
        }
    for (int i = 0; i < f->params.count; i++)
        if (!args[i])
            /* Nothing that is kept reads it. */
            args[i] = ir_splat(&gb, &f->params.items[i].value->type, 0);
    if (live)
        operand[n++] = inst->operand[inst->noperands - 1];
    ir_inline(&gb, f, args, got);
    for (int i = 0; i < f->results.count; i++)
        if (p->result[i] == KEEP)
            ir_add_output(g, NULL, got[i]);
    pass_dce(g);
    ir_inst *less = ir_build(b, IR_OP_scan, operand, n, &attrs);
    for (int i = 0, k = 0; i < inst->nresults && less; i++)
        if (i == inst->nresults - 1)
            out[i] = less->result[k];
        else
            out[i] = p->result[i] == KEEP ? less->result[k++]
                     : i < a->carries && p->param[a->consts + i] == FIXED
                         ? inst->operand[a->consts + i]
                         : NULL;
}

RULE(rw_scan_unused)
{
    const ir_func *f = IR_ATTR(inst, scan)->body;
    if (!counted(inst))
        return false;
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    plan p = {base_array(scratch, char, f->params.count),
              base_array(scratch, char, f->results.count)};
    liveness(inst, &p);
    bool less = false;
    for (int i = 0; i < f->params.count; i++)
        less |= p.param[i] != KEEP;
    for (int i = 0; i < f->results.count; i++)
        less |= p.result[i] != KEEP;
    if (less)
        rebuild(b, inst, &p, scratch, out);
    base_arena_free(scratch);
    return less;
}

/* Cheaper to recompute in each iteration than to read from memory. */
static bool cheap(const ir_inst *k)
{
    return k->op == IR_OP_constant || k->op == IR_OP_iota || k->op == IR_OP_broadcast ||
           k->op == IR_OP_reshape;
}

enum { HOISTED = 64 };
typedef struct hoist {
    ir_value *root[HOISTED]; /* values of the body to compute before the loop */
    int n;
} hoist;

static void add_root(hoist *h, ir_value *v)
{
    while (v->def && cheap(v->def) && v->def->noperands)
        v = v->def->operand[0];
    if (!v->def || !v->def->id || cheap(v->def) || h->n == HOISTED)
        return;
    for (int i = 0; i < h->n; i++)
        if (h->root[i] == v)
            return;
    h->root[h->n++] = v;
}

/* Marks instructions that depend only on constants of the loop (inst id 1) and lists those of their
 * results that the rest of the body reads. */
static void find_invariant(const struct ir_attrs_scan *a, hoist *h)
{
    const ir_func *f = a->body;
    IR_FOR (k, f) {
        k->id = 1;
        for (int i = 0; i < k->noperands; i++)
            k->id &= k->operand[i]->def ? k->operand[i]->def->id : k->operand[i]->index < a->consts;
        for (int i = 0; i < k->noperands && !k->id; i++)
            add_root(h, k->operand[i]);
    }
    for (int i = 0; i < f->results.count; i++)
        add_root(h, f->results.items[i].value);
}

/* Hoists copies of the invariant instructions before the loop; the next dce removes dead ones. */
static void hoist_out(ir_builder *b, const ir_inst *inst, ir_value **copy)
{
    const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    for (int i = 0; i < a->consts; i++)
        copy[a->body->params.items[i].value->id] = inst->operand[i];
    IR_FOR (k, a->body) {
        ir_value **operand = base_array(scratch, ir_value *, k->noperands);
        bool known = true;
        for (int i = 0; i < k->noperands; i++)
            known &= (operand[i] = copy[k->operand[i]->id]) != NULL;
        ir_inst *made = known ? ir_build(b, k->op, operand, k->noperands, k->attrs) : NULL;
        for (int i = 0; i < k->nresults && made; i++)
            copy[k->result[i]->id] = made->result[i];
    }
    base_arena_free(scratch);
}

RULE(rw_scan_invariant)
{
    const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
    const ir_func *f = a->body;
    hoist h = {.n = 0};
    find_invariant(a, &h);
    if (!h.n)
        return false;
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    ir_value **copy = base_array(scratch, ir_value *, ir_number(a->body));
    hoist_out(b, inst, copy);
    ir_attrs attrs = {.scan = *a};
    ir_func *g = attrs.scan.body = rw_body_like(f);
    ir_builder gb = ir_builder_new(g);
    ir_value **args = base_array(scratch, ir_value *, f->params.count),
             **got = base_array(scratch, ir_value *, f->results.count);
    ir_value **operand = base_array(scratch, ir_value *, inst->noperands + h.n), *fresh[HOISTED];
    int n = 0;
    for (int i = 0; i < inst->noperands; i++) {
        for (int j = 0; j < h.n && i == a->consts; j++) {
            operand[n++] = copy[h.root[j]->id];
            fresh[j] = ir_add_input(g, NULL, &h.root[j]->type);
        }
        operand[n++] = inst->operand[i];
        if (i < f->params.count)
            args[i] = ir_add_input(g, NULL, &f->params.items[i].value->type);
    }
    for (int j = 0; j < h.n && inst->noperands == a->consts; j++) {
        operand[n++] = copy[h.root[j]->id];
        fresh[j] = ir_add_input(g, NULL, &h.root[j]->type);
    }
    attrs.scan.consts += h.n;
    ir_inline(&gb, f, args, got);
    for (int i = 0; i < f->results.count; i++)
        ir_add_output(g, NULL, got[i]);
    for (int j = 0; j < h.n; j++)
        ir_replace(h.root[j]->aux, fresh[j]);
    pass_dce(g);
    ir_inst *better = ir_build(b, IR_OP_scan, operand, n, &attrs);
    for (int i = 0; i < inst->nresults && better; i++)
        out[i] = better->result[i];
    base_arena_free(scratch);
    return better != NULL;
}
