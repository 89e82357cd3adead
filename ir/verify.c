/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The rules of a module. Membership is looked up in tables by pointer before any pointer is
 * followed, so that a broken module is reported without reading through bad pointers. */
#include "base/map.h"
#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

typedef struct verifier {
    const ir_module *m;
    base_arena *arena; /* scratch */
    base_map funcs, states, called; /* members; functions that instructions name */
    const ir_func *func;          /* current */
    const ir_inst *inst;
    bool user, ok;
} verifier;

/* Location of the instruction, else the file that the module's instructions come from; NULL:
 * unknown. */
static const base_loc *place_of(verifier *v)
{
    if (v->inst)
        return v->inst->loc;
    for (int i = 0; i < v->m->funcs.count; i++)
        IR_FOR (inst, v->m->funcs.items[i])
            if (inst->loc)
                return base_memdup(v->arena, &(base_loc){.file = inst->loc->file, .node = -1},
                                   sizeof(base_loc));
    return NULL;
}

static bool wrong(verifier *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(verifier *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = base_vformat(v->arena, format, args);
    va_end(args);
    v->ok = false;
    const char *func = v->func ? base_format(v->arena, "@%s: ", v->func->name) : "",
               *op = v->inst ? ir_ops[v->inst->op].name : "";
    if (v->user) {
        base_report(v->m->ctx, BASE_ERROR, place_of(v), "%s%s%s%s", func, op, *op ? ": " : "",
                    text);
        return false;
    }
    if (v->inst) {
        ir_print_inst(stderr, v->inst);
        putc('\n', stderr);
    }
    BUG("%s%s%s%s", func, op, *op ? ": " : "", text);
}

static const char *type_text(verifier *v, const ir_type *t)
{
    return ir_type_text(v->arena, t);
}

/* ---- Attributes ---- */

static int choices(const char *const *names)
{
    int n = 0;
    while (names[n])
        n++;
    return n;
}

static bool attr_ok(verifier *v, const ir_attr_info *info, const void *field)
{
    switch (info->kind) {
    case IR_ATTR_ints: {
        const ir_ints *x = field;
        return x->n >= 0 && (!x->n || x->v);
    }
    case IR_ATTR_dtype:
    case IR_ATTR_accumulator: return *(const unsigned *)field < IR_DTYPES;
    case IR_ATTR_relation: return *(const unsigned *)field < (unsigned)choices(ir_relation_names);
    case IR_ATTR_combine: return *(const unsigned *)field < (unsigned)choices(ir_combine_names);
    case IR_ATTR_func: {
        const ir_func *f = *(ir_func *const *)field;
        return !f || base_map_get_ptr(&v->funcs, f);
    }
    case IR_ATTR_literal: {
        const ir_literal *l = *(ir_literal *const *)field;
        return l && l->data && l->type.dtype < IR_DTYPES && ir_type_ok(&l->type);
    }
    default: return true;
    }
}

static bool check_attrs(verifier *v, const ir_inst *inst)
{
    const ir_op_info *info = &ir_ops[inst->op];
    for (int i = 0; i < info->nattrs; i++)
        if (!attr_ok(v, &info->attr[i], (const char *)inst->attrs + info->attr[i].offset))
            return wrong(v, "attribute `%s` is not valid", info->attr[i].name);
    return true;
}

/* A custom derivative takes (operands, results, cotangents) and returns the operands'
 * cotangents. */
static bool check_vjp(verifier *v, const ir_inst *inst)
{
    const ir_func *f = inst->op == IR_OP_call ? IR_ATTR(inst, call)->vjp : NULL;
    if (!f)
        return true;
    int n = inst->noperands, r = inst->nresults;
    if (f->params.count != n + 2 * r || f->results.count != n)
        return wrong(v, "the derivative @%s takes %d values and returns %d; expected %d and %d",
                     f->name, f->params.count, f->results.count, n + 2 * r, n);
    for (int i = 0; i < n + 2 * r; i++) {
        const ir_type *due = i < n ? &inst->operand[i]->type : &inst->result[(i - n) % r]->type,
                      *found = &f->params.items[i].value->type;
        if (!ir_type_eq(due, found))
            return wrong(v, "parameter %d of the derivative @%s has type %s; expected %s", i,
                         f->name, type_text(v, found), type_text(v, due));
    }
    for (int i = 0; i < n; i++) {
        const ir_type *due = &inst->operand[i]->type, *found = &f->results.items[i].value->type;
        if (!ir_type_eq(due, found))
            return wrong(v, "result %d of the derivative @%s has type %s; expected %s", i, f->name,
                         type_text(v, found), type_text(v, due));
    }
    return true;
}

/* ---- Instructions ---- */

static bool check_operands(verifier *v, const ir_inst *inst, const base_map *known)
{
    if (inst->noperands < 0 || (inst->noperands && !inst->operand))
        return wrong(v, "the operand list is missing");
    for (int i = 0; i < inst->noperands; i++)
        if (!inst->operand[i] || !base_map_get_ptr(known, inst->operand[i]))
            return wrong(v, "operand %d is not defined in this function before its use", i);
    return true;
}

static bool check_results(verifier *v, const ir_inst *inst, base_map *known)
{
    /* With one arena the shape rules' memory would pile up in a large module. */
    base_arena *scratch = base_arena_new(v->m->ctx);
    ir_type *type;
    int n;
    const char *refused =
        ir_infer(scratch, inst->op, inst->attrs, inst->operand, inst->noperands, &type, &n);
    bool ok = !refused || wrong(v, "%s", refused);
    if (ok && n != inst->nresults)
        ok = wrong(v, "expected %d result%s, got %d", n, n == 1 ? "" : "s", inst->nresults);
    for (int i = 0; ok && i < n; i++) {
        const ir_value *r = inst->result[i];
        if (!r || r->def != inst || r->func != v->func || r->index != i)
            ok = wrong(v, "result %d does not belong to its instruction", i);
        else if (!ir_type_eq(&r->type, &type[i]))
            ok = wrong(v, "result %d has type %s; expected %s", i, type_text(v, &r->type),
                       type_text(v, &type[i]));
    }
    for (int i = 0; ok && i < n; i++)
        base_map_put_ptr(known, inst->result[i], inst->result[i]);
    base_arena_free(scratch);
    return ok;
}

static bool check_inst(verifier *v, const ir_inst *inst, const ir_inst *previous, base_map *known)
{
    v->inst = NULL;
    if ((unsigned)inst->op >= IR_OPS || !inst->attrs)
        return wrong(v, "an instruction has no operation or no attributes");
    v->inst = inst;
    if (inst->func != v->func || inst->previous != previous)
        return wrong(v, "the instruction list is broken");
    if ((unsigned)inst->phase > IR_UPDATE)
        return wrong(v, "unknown phase");
    if (!check_operands(v, inst, known) || !check_attrs(v, inst) ||
        !check_results(v, inst, known) || !check_vjp(v, inst))
        return false;
    ir_func *called[2];
    int n = ir_called(inst, called, 2);
    for (int i = 0; i < n; i++)
        base_map_put_ptr(&v->called, called[i], called[i]);
    return true;
}

/* ---- Functions ---- */

static bool check_state(verifier *v, const ir_port *p, base_map *once, const char *what)
{
    const ir_state *s = p->state;
    if (!s || !base_map_get_ptr(&v->states, s))
        return wrong(v, "a %s is not bound to a state of the module", what);
    if (!ir_type_eq(&s->type, &p->value->type))
        return wrong(v, "the state '%s' has type %s; its %s has type %s", s->name,
                     type_text(v, &s->type), what, type_text(v, &p->value->type));
    if (base_map_get_ptr(once, s))
        return wrong(v, "the state '%s' has two %ss", s->name, what);
    base_map_put_ptr(once, s, p->state);
    return true;
}

/* Names of one role are unique in an entry: they become members of one struct. */
static bool check_names(verifier *v, const ir_port *ports, int n, const char *what)
{
    base_map names[IR_HYPER + 1];
    for (int i = 0; i <= IR_HYPER; i++)
        names[i] = base_map_new(v->arena);
    for (int i = 0; i < n; i++) {
        const ir_port *p = &ports[i];
        if ((unsigned)p->role > IR_HYPER || (unsigned)p->bind > IR_STATE)
            return wrong(v, "%s %d has an unknown role", what, i);
        if (p->bind == IR_STATE || !p->name || !v->func->entry)
            continue;
        if (base_map_get_text(&names[p->role], p->name))
            return wrong(v, "two %ss are named '%s'", what, p->name);
        base_map_put_text(&names[p->role], p->name, p->value);
    }
    return true;
}

static bool check_params(verifier *v, const ir_func *f, base_map *known)
{
    base_map once = base_map_new(v->arena);
    for (int i = 0; i < f->params.count; i++) {
        const ir_port *p = &f->params.items[i];
        const ir_value *x = p->value;
        if (!x || x->def || x->func != f || x->index != i || (unsigned)x->type.dtype >= IR_DTYPES ||
            !ir_type_ok(&x->type))
            return wrong(v, "parameter %d is not valid", i);
        if (p->bind == IR_STATE && !check_state(v, p, &once, "parameter"))
            return false;
        base_map_put_ptr(known, x, p->value);
    }
    return check_names(v, f->params.items, f->params.count, "input");
}

static bool check_func_results(verifier *v, const ir_func *f, const base_map *known)
{
    base_map once = base_map_new(v->arena);
    for (int i = 0; i < f->results.count; i++) {
        const ir_port *p = &f->results.items[i];
        if (!p->value || !base_map_get_ptr(known, p->value))
            return wrong(v, "result %d is not a value of this function", i);
        if (p->bind == IR_STATE && !check_state(v, p, &once, "update"))
            return false;
    }
    if (f->loss < -1 || f->loss >= f->results.count ||
        (f->loss >= 0 && !ir_is_float(f->results.items[f->loss].value->type.dtype)))
        return wrong(v, "the loss is not a float result");
    return check_names(v, f->results.items, f->results.count, "output");
}

static bool check_func(verifier *v, const ir_func *f)
{
    base_map known = base_map_new(v->arena);
    v->func = f;
    v->inst = NULL;
    if (f->module != v->m)
        return wrong(v, "belongs to another module");
    if (!check_params(v, f, &known))
        return false;
    const ir_inst *previous = NULL;
    IR_FOR (inst, f) {
        if (!check_inst(v, inst, previous, &known))
            return false;
        previous = inst;
    }
    v->inst = NULL;
    if (f->last != previous)
        return wrong(v, "the instruction list is broken");
    return check_func_results(v, f, &known);
}

/* ---- The call graph ---- */

typedef struct visit {
    const ir_func *func;
    const ir_inst *at; /* the next instruction to look at */
    int which;         /* function of it */
} visit;

/* Walks the functions that root calls, with an explicit stack: nothing calls itself, and calls nest
 * at most IR_MAX_DEPTH deep. `done` holds the height of finished functions. */
static bool check_calls(verifier *v, const ir_func *root, base_map *done)
{
    visit stack[IR_MAX_DEPTH + 1];
    intptr_t height[IR_MAX_DEPTH + 1];
    int depth = 1;
    if (base_map_get_ptr(done, root))
        return true;
    stack[0] = (visit){root, root->first, 0};
    height[0] = 1;
    while (depth) {
        visit *top = &stack[depth - 1];
        ir_func *called[2];
        int n = top->at ? ir_called(top->at, called, 2) : 0;
        if (!top->at) {
            base_map_put_ptr(done, top->func, (void *)height[depth - 1]);
            depth--;
            if (depth && height[depth - 1] <= height[depth])
                height[depth - 1] = height[depth] + 1;
            continue;
        }
        if (top->which >= n) {
            top->at = top->at->next;
            top->which = 0;
            continue;
        }
        const ir_func *f = called[top->which++];
        v->func = top->func;
        for (int i = 0; i < depth; i++)
            if (stack[i].func == f)
                return wrong(v, "@%s calls itself", f->name);
        intptr_t known = (intptr_t)base_map_get_ptr(done, f);
        if (depth + (known ? known : 1) > IR_MAX_DEPTH)
            return wrong(v, "calls are nested more than %d deep", IR_MAX_DEPTH);
        if (known) {
            height[depth - 1] = known >= height[depth - 1] ? known + 1 : height[depth - 1];
            continue;
        }
        stack[depth] = (visit){f, f->first, 0};
        height[depth++] = 1;
    }
    return true;
}

/* A function that instructions name cannot be a root: calling it would have an effect, and its name
 * would have a meaning. */
static void check_called(verifier *v, const ir_func *f)
{
    v->func = f;
    v->inst = NULL;
    if (!base_map_get_ptr(&v->called, f) || !ir_is_root(f))
        return;
    for (int i = 0; i < f->results.count; i++)
        if (f->results.items[i].bind == IR_STATE) {
            wrong(v, "a called function cannot update the state '%s'",
                  f->results.items[i].state->name);
            return;
        }
    wrong(v, f->entry ? "an entry cannot be called"
                      : "a called function cannot have named inputs or outputs or read a state");
}

/* ---- The module ---- */

static void check_states(verifier *v)
{
    base_map names = base_map_new(v->arena);
    for (int i = 0; i < v->m->states.count; i++)
        base_map_put_ptr(&v->states, v->m->states.items[i], v->m->states.items[i]);
    for (int i = 0; i < v->m->states.count; i++) {
        const ir_state *s = v->m->states.items[i];
        if (!s->name || base_map_get_text(&names, s->name))
            wrong(v, "two states are named '%s'", s->name ? s->name : "");
        else
            base_map_put_text(&names, s->name, v->m->states.items[i]);
        if ((unsigned)s->kind > IR_SAVED || (unsigned)s->type.dtype >= IR_DTYPES ||
            !ir_type_ok(&s->type) || s->index != i)
            wrong(v, "the state '%s' is not valid", s->name);
        if (s->of && (!base_map_get_ptr(&v->states, s->of) || s->of->kind != IR_PARAM))
            wrong(v, "the state '%s' belongs to no parameter", s->name);
        if (s->init && !ir_type_eq(&s->init->type, &s->type))
            wrong(v, "the state '%s' has type %s; its initial value has type %s", s->name,
                  type_text(v, &s->type), type_text(v, &s->init->type));
        if (s->init && !s->init->data)
            wrong(v, "the state '%s' has an initial value without data", s->name);
        if (s->trainable && !ir_is_float(s->type.dtype))
            wrong(v, "the state '%s' has type %s and cannot be trained", s->name,
                  type_text(v, &s->type));
    }
}

static void check_func_names(verifier *v)
{
    base_map names = base_map_new(v->arena);
    for (int i = 0; i < v->m->funcs.count; i++) {
        ir_func *f = v->m->funcs.items[i];
        if (base_map_get_text(&names, f->name))
            wrong(v, "two functions are named @%s", f->name);
        base_map_put_text(&names, f->name, f);
        base_map_put_ptr(&v->funcs, f, f);
    }
}

static bool verify(const ir_module *m, bool user)
{
    verifier v = {.m = m, .arena = base_arena_new(m->ctx), .user = user, .ok = true};
    v.funcs = v.states = v.called = base_map_new(v.arena);
    check_states(&v);
    check_func_names(&v);
    for (int i = 0; i < m->funcs.count; i++)
        check_func(&v, m->funcs.items[i]);
    if (v.ok) { /* the functions can be walked */
        base_map done = base_map_new(v.arena);
        for (int i = 0; i < m->funcs.count; i++) {
            v.inst = NULL;
            check_calls(&v, m->funcs.items[i], &done);
            check_called(&v, m->funcs.items[i]);
        }
    }
    base_arena_free(v.arena);
    return v.ok;
}

void ir_verify(const ir_module *m)
{
    verify(m, false);
}

bool ir_verify_user(const ir_module *m)
{
    return verify(m, true);
}

/* ---- The size of a module with every call expanded ---- */

typedef struct extent {
    double bodies, insts;
} extent;

/* Each function is counted once; ids are the functions' places in `known`. */
static extent extent_of(const ir_func *f, extent *known)
{
    extent *e = &known[f->id];
    if (e->insts > 0)
        return *e;
    e->insts = 1;
    IR_FOR (inst, f) {
        ir_func *called[2];
        int n = ir_called(inst, called, 2);
        e->insts++;
        for (int i = 0; i < n; i++) {
            extent inner = extent_of(called[i], known);
            e->bodies += inner.bodies + (inst->op != IR_OP_call);
            e->insts += inner.insts;
        }
    }
    return *e;
}

const char *ir_extent_fault(const ir_module *m, base_arena *arena)
{
    extent *known = base_array(arena, extent, m->funcs.count + 1);
    for (int i = 0; i < m->funcs.count; i++)
        m->funcs.items[i]->id = i;
    for (int i = 0; i < m->funcs.count; i++) {
        extent e = extent_of(m->funcs.items[i], known);
        if (e.bodies > IR_MAX_BODIES || e.insts > IR_MAX_INSTS)
            return base_format(arena,
                               "with every call expanded there are %.*g loops and branches and "
                               "%.*g instructions; the limits are %d and %d",
                               e.bodies < 1e15 ? 15 : 3, e.bodies, e.insts < 1e15 ? 15 : 3, e.insts,
                               IR_MAX_BODIES, IR_MAX_INSTS);
    }
    return NULL;
}
