/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Cuts a piece out of the record: walks, without recursion, from a value to all that it depends on,
 * and copies the instructions into a new function. The walk ends at parameters of the record and at
 * tensors whose elements are known. */
#include "frontend/trace/trace.h"

/* The updated value of a leaf, if the parameter stands for a leaf with a pending update and no
 * gradient is asked for; else NULL. */
static ir_value *to_come(const trace_cut *cut, const ir_value *v)
{
    const trace_leaf *leaf = v->aux;
    return leaf->tensor && !leaf->data && leaf->tensor->update && !cut->through
               ? trace_value(leaf->tensor->update)
               : NULL;
}

/* Follows choices between training and inference (trace_choose) to the side that this cut takes. */
static ir_value *resolve(trace_cut *cut, ir_value *v)
{
    for (;;) {
        const ir_inst *inst = v->def;
        ir_value *later = inst ? NULL : to_come(cut, v);
        if (later) {
            v = later;
            continue;
        }
        if (!inst || inst->op != IR_OP_select)
            return v;
        const ir_value *which = inst->operand[0];
        if (which->def && which->def->op == IR_OP_broadcast)
            which = which->def->operand[0];
        if (which->def || ((const trace_leaf *)which->aux)->kind != TRACE_TRAINING)
            return v;
        cut->chose = true;
        v = inst->operand[cut->training ? 1 : 2];
    }
}

static ir_value *add_input(trace_cut *cut, const ir_type *t, gradc_tensor *tensor,
                           ir_value *recorded, trace_data *data)
{
    ir_value *v =
        ir_add_input(cut->f, base_format(cut->f->module->arena, "i%d", cut->inputs.count), t);
    trace_input in = {v, tensor, recorded, data};
    BASE_PUSH(cut->scratch, &cut->inputs, in);
    return v;
}

static bool wants_gradient(const trace_cut *cut, const gradc_tensor *x)
{
    bool wanted = !cut->wrt && (!x->value || x->retains);
    for (int i = 0; i < cut->nwrt; i++)
        wanted |= cut->wrt[i] == x;
    return wanted && cut->through;
}

static ir_value *add_leaf(trace_cut *cut, ir_value *v)
{
    trace_leaf *leaf = v->aux;
    if (cut->leaf)
        return cut->leaf(cut, v, leaf);
    if (!leaf->data)
        cut->without = leaf->tensor;
    return add_input(cut, &v->type,
                     leaf->requires_grad && wants_gradient(cut, leaf->tensor) ? leaf->tensor : NULL,
                     v, leaf->data);
}

/* The tensor that v is, if its elements are known and the walk ends there. */
static gradc_tensor *known(const trace_cut *cut, const ir_value *v)
{
    gradc_tensor *x = v->aux;
    return x && x->data && !cut->leaf && !(cut->through && x->requires_grad) ? x : NULL;
}

/* Records the results of a copied instruction. To a tensor whose gradient is wanted, a zero input
 * is added, which has the same gradient. */
static void keep_results(trace_cut *cut, const ir_inst *inst, const ir_inst *copy)
{
    for (int i = 0; i < inst->nresults; i++) {
        ir_value *v = copy->result[i];
        gradc_tensor *x = inst->result[i]->aux;
        if (x && x->requires_grad && wants_gradient(cut, x))
            v = ir_add(&cut->b, v, add_input(cut, &v->type, x, NULL, NULL));
        base_map_put_ptr(&cut->made, inst->result[i], v);
    }
}

static ir_value *copied(trace_cut *cut, ir_value *v)
{
    return base_map_get_ptr(&cut->made, resolve(cut, v));
}

static void copy_inst(trace_cut *cut, ir_inst *inst)
{
    ir_value **operand = base_array(cut->scratch, ir_value *, inst->noperands);
    ir_attrs attrs = *inst->attrs;
    for (int i = 0; i < inst->noperands; i++)
        operand[i] = copied(cut, inst->operand[i]);
    /* In a model all random draws share one call number. */
    if (inst->op == IR_OP_random_bits && cut->leaf)
        attrs.random_bits.stream = cut->drawings++;
    if (ir_has_trait(inst, IR_CHECKED) && operand[1]->def && !operand[1]->name && inst->loc)
        operand[1]->name = base_format(cut->f->module->arena, "the index of %s", inst->loc->op);
    cut->b.loc = inst->loc;
    ir_inst *copy = ir_build(&cut->b, inst->op, operand, inst->noperands, &attrs);
    ir_adopt_called(cut->f->module, copy, &cut->adopted);
    keep_results(cut, inst, copy);
}

typedef struct step {
    ir_inst *inst;
    int next; /* next operand to visit */
} step;

ir_value *trace_cut_value(trace_cut *cut, gradc_tensor *x)
{
    BASE_LIST(step) stack = {0};
    if (!cut->made.arena) {
        cut->made = base_map_new(cut->scratch);
        cut->adopted = base_map_new(cut->scratch);
        cut->b = ir_builder_new(cut->f);
    }
    ir_value *goal = resolve(cut, trace_value(x)), *v = goal;
    for (;;) {
        if (!base_map_get_ptr(&cut->made, v)) {
            if (!v->def) {
                base_map_put_ptr(&cut->made, v, add_leaf(cut, v));
            } else if (known(cut, v)) {
                base_map_put_ptr(&cut->made, v,
                                 add_input(cut, &v->type, NULL, v, known(cut, v)->data));
            } else {
                step s = {v->def, 0};
                BASE_PUSH(cut->scratch, &stack, s);
            }
        }
        step *top = stack.count ? &stack.items[stack.count - 1] : NULL;
        while (top && top->next == top->inst->noperands) {
            if (!base_map_get_ptr(&cut->made, top->inst->result[0]))
                copy_inst(cut, top->inst);
            top = --stack.count ? top - 1 : NULL;
        }
        if (!top)
            return base_map_get_ptr(&cut->made, goal);
        v = resolve(cut, top->inst->operand[top->next++]);
    }
}

/* ---- Keys ---- */

static void add_bytes(base_arena *arena, trace_bytes *out, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = ((const unsigned char *)p)[i];
        BASE_PUSH(arena, out, byte);
    }
}

static void add_int(base_arena *arena, trace_bytes *out, int64_t v)
{
    add_bytes(arena, out, &v, sizeof v);
}

static void add_type(base_arena *arena, trace_bytes *out, const ir_type *t)
{
    add_int(arena, out, t->dtype);
    add_int(arena, out, t->rank);
    add_bytes(arena, out, t->dim, (size_t)t->rank * sizeof *t->dim);
}

static void add_func(base_arena *arena, trace_bytes *out, ir_func *f);

static void add_attr(base_arena *arena, trace_bytes *out, ir_attr_kind kind, const void *field)
{
    switch (kind) {
    case IR_ATTR_int: add_int(arena, out, *(const ir_attr_int *)field); break;
    case IR_ATTR_float: add_bytes(arena, out, field, sizeof(ir_attr_float)); break;
    case IR_ATTR_accumulator:
    case IR_ATTR_dtype: add_int(arena, out, *(const ir_attr_dtype *)field); break;
    case IR_ATTR_relation: add_int(arena, out, *(const ir_attr_relation *)field); break;
    case IR_ATTR_combine: add_int(arena, out, *(const ir_attr_combine *)field); break;
    case IR_ATTR_func: add_func(arena, out, *(ir_func *const *)field); break;
    case IR_ATTR_ints: {
        const ir_ints *v = field;
        add_int(arena, out, v->n);
        add_bytes(arena, out, v->v, (size_t)v->n * sizeof *v->v);
        break;
    }
    case IR_ATTR_literal: {
        const ir_literal *l = *(ir_literal *const *)field;
        add_type(arena, out, &l->type);
        add_bytes(arena, out, l->data, (size_t)ir_bytes(&l->type));
    }
    }
}

static void add_insts(base_arena *arena, trace_bytes *out, ir_func *f)
{
    ir_number(f);
    IR_FOR (inst, f) {
        const ir_op_info *info = &ir_ops[inst->op];
        add_int(arena, out, inst->op);
        add_int(arena, out, inst->noperands);
        for (int i = 0; i < inst->noperands; i++)
            add_int(arena, out, inst->operand[i]->id);
        for (int i = 0; i < info->nattrs; i++)
            add_attr(arena, out, info->attr[i].kind,
                     (const char *)inst->attrs + info->attr[i].offset);
    }
    add_int(arena, out, -1);
    for (int i = 0; i < f->results.count; i++)
        add_int(arena, out, f->results.items[i].value->id);
    add_int(arena, out, -1);
}

/* A body; NULL where an attribute names none. */
static void add_func(base_arena *arena, trace_bytes *out, ir_func *f)
{
    add_int(arena, out, f ? f->params.count : -1);
    for (int i = 0; f && i < f->params.count; i++)
        add_type(arena, out, &f->params.items[i].value->type);
    if (f)
        add_insts(arena, out, f);
}

void trace_key(base_arena *arena, const trace_cut *cut, trace_bytes *out)
{
    for (int i = 0; i < cut->inputs.count; i++) {
        add_type(arena, out, &cut->inputs.items[i].value->type);
        add_int(arena, out, cut->inputs.items[i].tensor != NULL);
    }
    add_insts(arena, out, cut->f);
}
