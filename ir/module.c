/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Modules, functions, states, and edits of instruction lists. */
#include "ir/ir.h"
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

ir_module *ir_module_new(base_ctx *ctx, base_arena *arena, const char *name)
{
    ir_module *m = base_new(arena, ir_module);
    m->ctx = ctx;
    m->arena = arena;
    m->name = base_strdup(arena, name);
    m->func_names = base_new(arena, base_map);
    *m->func_names = base_map_new(arena);
    m->state_names = base_new(arena, base_map);
    *m->state_names = base_map_new(arena);
    return m;
}

/* ---- Functions and their names ---- */

typedef struct func_name { /* a name that a function has, had or wished for */
    ir_func *func;
    int next; /* all of NAME_2 … up to the one before this number are taken */
} func_name;

static func_name *func_name_of(ir_module *m, const char *name)
{
    func_name *n = base_map_get_text(m->func_names, name);
    if (!n) {
        n = base_new(m->arena, func_name);
        n->next = 2;
        base_map_put_text(m->func_names, base_strdup(m->arena, name), n);
    }
    return n;
}

ir_func *ir_func_by_name(const ir_module *m, const char *name)
{
    const func_name *n = base_map_get_text(m->func_names, name);
    return n ? n->func : NULL;
}

bool ir_is_root(const ir_func *f)
{
    bool root = f->entry;
    for (int i = 0; i < f->params.count && !root; i++)
        root = f->params.items[i].name || f->params.items[i].state;
    for (int i = 0; i < f->results.count && !root; i++)
        root = f->results.items[i].name || f->results.items[i].state;
    return root;
}

ir_func *ir_entry_by_name(const ir_module *m, const char *name)
{
    ir_func *f = ir_func_by_name(m, name);
    return f && f->entry ? f : NULL;
}

ir_func *ir_root_by_name(const ir_module *m, const char *name)
{
    ir_func *f = ir_func_by_name(m, name);
    return f && ir_is_root(f) ? f : NULL;
}

static void take_name(ir_func *f, const char *wish)
{
    base_arena *arena = f->module->arena;
    func_name *wished = func_name_of(f->module, wish), *n = wished;
    f->name = base_strdup(arena, wish);
    while (n->func) {
        f->name = base_format(arena, "%s_%d", wish, wished->next++);
        n = func_name_of(f->module, f->name);
    }
    n->func = f;
}

void ir_func_forget(ir_func *f)
{
    ir_module *m = f->module;
    const char *tail = strrchr(f->name, '_');
    func_name *n = func_name_of(m, f->name);
    if (n->func == f)
        n->func = NULL;
    long number = tail ? strtol(tail + 1, NULL, 10) : 0;
    func_name *base =
        number >= 2 ? base_map_get_text(m->func_names,
                                        base_strndup(m->arena, f->name, (size_t)(tail - f->name)))
                    : NULL;
    if (base && number < base->next)
        base->next = (int)number;
}

ir_func *ir_func_new(ir_module *m, const char *name)
{
    ir_func *f = base_new(m->arena, ir_func);
    f->module = m;
    f->loss = -1;
    take_name(f, name);
    BASE_PUSH(m->arena, &m->funcs, f);
    return f;
}

void ir_func_rename(ir_func *f, const char *wish)
{
    const char *before = f->name;
    take_name(f, wish);
    const char *name = f->name;
    f->name = before;
    ir_func_forget(f);
    f->name = name;
}

void ir_func_remove(ir_func *f)
{
    ir_module *m = f->module;
    int at = m->funcs.count - 1; /* mostly one of the last */
    while (m->funcs.items[at] != f)
        at--;
    m->funcs.count--;
    memmove(m->funcs.items + at, m->funcs.items + at + 1,
            (size_t)(m->funcs.count - at) * sizeof(ir_func *));
    ir_func_forget(f);
}

/* ---- States, parameters and results ---- */

ir_state *ir_state_by_name(const ir_module *m, const char *name)
{
    return base_map_get_text(m->state_names, name);
}

ir_state *ir_state_new(ir_module *m, const char *name, ir_state_kind kind, const ir_type *type)
{
    ir_state *s = base_new(m->arena, ir_state);
    s->name = base_strdup(m->arena, name);
    s->type = *type;
    s->kind = kind;
    s->index = m->states.count;
    BASE_PUSH(m->arena, &m->states, s);
    if (!base_map_get_text(m->state_names, s->name))
        base_map_put_text(m->state_names, s->name, s);
    return s;
}

static ir_value *value_new(ir_func *f, ir_inst *def, int index, const ir_type *type)
{
    ir_value *v = base_new(f->module->arena, ir_value);
    v->type = *type;
    v->def = def;
    v->func = f;
    v->index = index;
    return v;
}

ir_value *ir_add_input(ir_func *f, const char *name, const ir_type *type)
{
    ir_value *v = value_new(f, NULL, f->params.count, type);
    v->name = name ? base_strdup(f->module->arena, name) : NULL;
    ir_port p = {.value = v, .bind = IR_INPUT, .name = v->name};
    BASE_PUSH(f->module->arena, &f->params, p);
    return v;
}

ir_value *ir_state_param(ir_func *f, const ir_state *s)
{
    if (!f->param_of_state) {
        f->param_of_state = base_new(f->module->arena, base_map);
        *f->param_of_state = base_map_new(f->module->arena);
    }
    if (f->looked_up > f->params.count)
        f->looked_up = f->params.count;
    for (; f->looked_up < f->params.count; f->looked_up++) {
        const ir_port *p = &f->params.items[f->looked_up];
        if (p->state)
            base_map_put_ptr(f->param_of_state, p->state, p->value);
    }
    ir_value *v = base_map_get_ptr(f->param_of_state, s);
    return v && v->index < f->params.count && f->params.items[v->index].value == v ? v : NULL;
}

ir_value *ir_add_state(ir_func *f, ir_state *s)
{
    ir_value *v = ir_state_param(f, s);
    if (v)
        return v;
    v = value_new(f, NULL, f->params.count, &s->type);
    v->name = s->name;
    ir_port p = {.value = v, .bind = IR_STATE, .state = s};
    BASE_PUSH(f->module->arena, &f->params, p);
    return v;
}

void ir_add_output(ir_func *f, const char *name, ir_value *v)
{
    ir_port p = {
        .value = v, .bind = IR_INPUT, .name = name ? base_strdup(f->module->arena, name) : NULL};
    BASE_PUSH(f->module->arena, &f->results, p);
}

void ir_add_update(ir_func *f, ir_state *s, ir_value *v)
{
    ir_port p = {.value = v, .bind = IR_STATE, .state = s};
    BASE_PUSH(f->module->arena, &f->results, p);
}

/* Links inst before at (NULL: last). */
static void link_before(ir_func *f, ir_inst *inst, ir_inst *at)
{
    inst->next = at;
    inst->previous = at ? at->previous : f->last;
    if (inst->previous)
        inst->previous->next = inst;
    else
        f->first = inst;
    if (at)
        at->previous = inst;
    else
        f->last = inst;
}

static void unlink(ir_inst *inst)
{
    ir_func *f = inst->func;
    if (inst->previous)
        inst->previous->next = inst->next;
    else
        f->first = inst->next;
    if (inst->next)
        inst->next->previous = inst->previous;
    else
        f->last = inst->previous;
    inst->next = inst->previous = NULL;
}

void ir_remove(ir_inst *inst)
{
    unlink(inst);
}

void ir_move(ir_inst *inst, ir_inst *at)
{
    if (inst == at)
        return;
    unlink(inst);
    link_before(inst->func, inst, at);
}

/* An instruction with results of the given types, linked at the builder. */
static ir_inst *inst_new(ir_builder *b, ir_op op, ir_value *const *operand, int noperands,
                         const ir_attrs *attrs, const ir_type *type, int nresults)
{
    base_arena *arena = b->func->module->arena;
    ir_inst *inst = base_new(arena, ir_inst);
    inst->op = op;
    inst->phase = b->phase;
    inst->loc = b->loc;
    inst->primal = b->primal;
    inst->func = b->func;
    inst->noperands = noperands;
    inst->nresults = nresults;
    inst->operand = base_array(arena, ir_value *, noperands);
    if (noperands)
        memcpy(inst->operand, operand, (size_t)noperands * sizeof *operand);
    inst->result = base_array(arena, ir_value *, nresults);
    inst->attrs = base_new(arena, ir_attrs);
    if (attrs)
        *inst->attrs = *attrs;
    for (int i = 0; i < nresults; i++)
        inst->result[i] = value_new(b->func, inst, i, &type[i]);
    link_before(b->func, inst, b->at);
    return inst;
}

const char *ir_infer(base_arena *arena, ir_op op, const ir_attrs *attrs, ir_value *const *operand,
                     int noperands, ir_type **result, int *nresults)
{
    const ir_op_info *info = &ir_ops[op];
    ir_func *called[2] = {NULL, NULL};
    int capacity = noperands + 4,
        ncalled = ir_called(&(ir_inst){.op = op, .attrs = (ir_attrs *)(uintptr_t)attrs}, called, 2);
    for (int i = 0; i < ncalled; i++)
        capacity += called[i]->results.count;
    *result = base_array(arena, ir_type, capacity);
    *nresults = info->results;
    if (info->operands >= 0 && noperands != info->operands)
        return base_format(arena, "expected %d operand%s, got %d", info->operands,
                           info->operands == 1 ? "" : "s", noperands);
    if (noperands && !(ir_dtypes[operand[0]->type.dtype].class & info->classes))
        return base_format(arena, "not defined for %s", ir_type_text(arena, &operand[0]->type));
    return info->shape(arena, op, attrs, operand, noperands, *result, nresults);
}

ir_builder ir_builder_new(ir_func *f)
{
    return (ir_builder){.func = f};
}

ir_ints ir_ints_of(ir_builder *b, int n, const int64_t *v)
{
    return (ir_ints){n, base_memdup(b->func->module->arena, v, (size_t)n * sizeof *v)};
}

/* A stride larger than the extent takes one element, as one equal to the extent does; clamping it
 * keeps numbers computed from strides small. */
static ir_attrs nearest_strides(ir_builder *b, const ir_attrs *attrs, const ir_type *x)
{
    ir_attrs r = *attrs;
    r.slice.stride = ir_ints_of(b, x->rank, attrs->slice.stride.v);
    for (int i = 0; i < x->rank; i++) {
        int64_t most = x->dim[i] > 1 ? x->dim[i] : 1, *stride = &r.slice.stride.v[i];
        *stride = *stride < most ? *stride : most;
    }
    return r;
}

ir_inst *ir_build(ir_builder *b, ir_op op, ir_value *const *operand, int noperands,
                  const ir_attrs *attrs)
{
    ir_module *m = b->func->module;
    for (int i = 0; i < noperands; i++)
        if (!operand[i]) {
            b->failed = true;
            return NULL;
        }
    ir_attrs none = {0};
    if (!attrs)
        attrs = &none;
    ir_attrs nearest;
    ir_type *type;
    int nresults;
    const char *wrong = ir_infer(m->arena, op, attrs, operand, noperands, &type, &nresults);
    if (wrong) {
        b->failed = true;
        bool known = b->loc && b->loc->op; /* names what the user wrote, not the primitive */
        base_report(m->ctx, BASE_ERROR, b->loc, "%s%s%s", known ? "" : ir_ops[op].name,
                    known ? "" : ": ", wrong);
        return NULL;
    }
    if (op == IR_OP_slice) {
        nearest = nearest_strides(b, attrs, &operand[0]->type);
        attrs = &nearest;
    }
    return inst_new(b, op, operand, noperands, attrs, type, nresults);
}

void ir_inline(ir_builder *b, const ir_func *from, ir_value *const *args, ir_value **out)
{
    base_arena *scratch = base_arena_new(b->func->module->ctx);
    for (int i = 0; i < from->params.count; i++)
        from->params.items[i].value->aux = args[i];
    IR_FOR (inst, from) {
        ir_value **operand = base_array(scratch, ir_value *, inst->noperands);
        ir_type *type = base_array(scratch, ir_type, inst->nresults);
        for (int i = 0; i < inst->noperands; i++)
            operand[i] = inst->operand[i]->aux;
        for (int i = 0; i < inst->nresults; i++)
            type[i] = inst->result[i]->type;
        ir_inst *copy =
            inst_new(b, inst->op, operand, inst->noperands, inst->attrs, type, inst->nresults);
        copy->loc = inst->loc;
        copy->primal = inst->primal;
        copy->phase = inst->phase;
        for (int i = 0; i < inst->nresults; i++) {
            copy->result[i]->name = inst->result[i]->name;
            inst->result[i]->aux = copy->result[i];
        }
    }
    for (int i = 0; i < from->results.count; i++)
        out[i] = from->results.items[i].value->aux;
    base_arena_free(scratch);
}

static ir_func *clone_to(ir_module *m, const ir_func *f, const char *name)
{
    ir_func *g = ir_func_new(m, name);
    ir_value **args = base_array(m->arena, ir_value *, f->params.count),
             **out = base_array(m->arena, ir_value *, f->results.count);
    for (int i = 0; i < f->params.count; i++) {
        ir_port p = f->params.items[i];
        p.value = args[i] = value_new(g, NULL, i, &p.value->type);
        args[i]->name = f->params.items[i].value->name;
        BASE_PUSH(m->arena, &g->params, p);
    }
    ir_builder b = ir_builder_new(g);
    ir_inline(&b, f, args, out);
    for (int i = 0; i < f->results.count; i++) {
        ir_port p = f->results.items[i];
        p.value = out[i];
        BASE_PUSH(m->arena, &g->results, p);
    }
    g->loss = f->loss;
    g->entry = f->entry;
    return g;
}

ir_func *ir_clone(const ir_func *f, const char *name)
{
    return clone_to(f->module, f, name);
}

static ir_func *adopt(ir_module *m, const ir_func *f, base_map *adopted)
{
    ir_func *g = base_map_get_ptr(adopted, f);
    if (!g) {
        g = clone_to(m, f, f->name);
        base_map_put_ptr(adopted, f, g);
        IR_FOR (inst, g)
            ir_adopt_called(m, inst, adopted);
    }
    return g;
}

void ir_adopt_called(ir_module *m, ir_inst *inst, base_map *adopted)
{
    const ir_op_info *info = &ir_ops[inst->op];
    for (int i = 0; i < info->nattrs; i++) {
        if (info->attr[i].kind != IR_ATTR_func)
            continue;
        ir_func **field = (ir_func **)((char *)inst->attrs + info->attr[i].offset);
        *field = *field ? adopt(m, *field, adopted) : NULL;
    }
}

void ir_replace(ir_value *old, ir_value *with)
{
    IR_FOR (inst, old->func)
        for (int i = 0; i < inst->noperands; i++)
            if (inst->operand[i] == old)
                inst->operand[i] = with;
    for (int i = 0; i < old->func->results.count; i++)
        if (old->func->results.items[i].value == old)
            old->func->results.items[i].value = with;
}

int ir_number(ir_func *f)
{
    int values = 0, insts = 0;
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->id = values++;
    IR_FOR (inst, f) {
        inst->id = insts++;
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->id = values++;
    }
    return values;
}

bool ir_has_trait(const ir_inst *inst, int traits)
{
    return (ir_ops[inst->op].traits & traits) != 0;
}

int ir_called(const ir_inst *inst, ir_func **out, int max)
{
    const ir_op_info *info = &ir_ops[inst->op];
    int n = 0;
    for (int i = 0; i < info->nattrs; i++)
        if (info->attr[i].kind == IR_ATTR_func) {
            ir_func *f = *(ir_func **)((char *)inst->attrs + info->attr[i].offset);
            if (f && n < max)
                out[n++] = f;
        }
    return n;
}

/* ---- Hash and equality ---- */

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *c = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ c[i]) * 0x100000001b3u;
    return h;
}

static size_t scalar_size(ir_attr_kind kind)
{
    switch (kind) {
    case IR_ATTR_int: return sizeof(ir_attr_int);
    case IR_ATTR_float: return sizeof(ir_attr_float);
    case IR_ATTR_dtype:
    case IR_ATTR_accumulator: return sizeof(ir_dtype);
    case IR_ATTR_relation: return sizeof(ir_attr_relation);
    case IR_ATTR_combine: return sizeof(ir_attr_combine);
    case IR_ATTR_func: return sizeof(ir_attr_func);
    default: return 0;
    }
}

ir_dtype *ir_accumulator(ir_op op, ir_attrs *attrs)
{
    for (int i = 0; i < ir_ops[op].nattrs; i++)
        if (ir_ops[op].attr[i].kind == IR_ATTR_accumulator)
            return (ir_dtype *)((char *)attrs + ir_ops[op].attr[i].offset);
    return NULL;
}

static bool literal_eq(const ir_literal *a, const ir_literal *b)
{
    return a == b || (ir_type_eq(&a->type, &b->type) &&
                      !memcmp(a->data, b->data, (size_t)ir_bytes(&a->type)));
}

bool ir_attrs_eq(ir_op op, const ir_attrs *a, const ir_attrs *b)
{
    for (int i = 0; i < ir_ops[op].nattrs; i++) {
        const ir_attr_info *info = &ir_ops[op].attr[i];
        const char *x = (const char *)a + info->offset, *y = (const char *)b + info->offset;
        if (info->kind == IR_ATTR_ints) {
            const ir_ints *p = (const ir_ints *)x, *q = (const ir_ints *)y;
            if (p->n != q->n || (p->n && memcmp(p->v, q->v, (size_t)p->n * sizeof *p->v)))
                return false;
        } else if (info->kind == IR_ATTR_literal) {
            if (!literal_eq(*(ir_literal *const *)x, *(ir_literal *const *)y))
                return false;
        } else if (memcmp(x, y, scalar_size(info->kind))) {
            return false;
        }
    }
    return true;
}

uint64_t ir_hash(const ir_inst *inst)
{
    uint64_t h = mix(0xcbf29ce484222325u, &inst->op, sizeof inst->op);
    h = mix(h, inst->operand, (size_t)inst->noperands * sizeof *inst->operand);
    for (int i = 0; i < ir_ops[inst->op].nattrs; i++) {
        const ir_attr_info *info = &ir_ops[inst->op].attr[i];
        const char *x = (const char *)inst->attrs + info->offset;
        if (info->kind == IR_ATTR_ints) {
            const ir_ints *v = (const ir_ints *)x;
            h = mix(h, v->v, (size_t)v->n * sizeof *v->v);
        } else if (info->kind == IR_ATTR_literal) {
            const ir_literal *l = *(ir_literal *const *)x;
            int64_t bytes = ir_bytes(&l->type);
            h = mix(h, l->data, (size_t)(bytes < 256 ? bytes : 256));
        } else {
            h = mix(h, x, scalar_size(info->kind));
        }
    }
    return h;
}

bool ir_same(const ir_inst *a, const ir_inst *b)
{
    return a->op == b->op && a->noperands == b->noperands &&
           (!a->noperands ||
            !memcmp(a->operand, b->operand, (size_t)a->noperands * sizeof *a->operand)) &&
           ir_attrs_eq(a->op, a->attrs, b->attrs);
}
