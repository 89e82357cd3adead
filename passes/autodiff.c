/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reverse-mode autodiff: a copy of the function, walked once from its results to its parameters.
 * Each instruction on a path from a wanted parameter to a result with a cotangent passes its
 * results' cotangents to its rule, which appends the instructions that compute the operands'
 * cotangents. A missing cotangent is zero: nothing is built for it. A value with several users sums
 * their contributions.
 *
 * The cotangent of a value has the value's type. Only floats have one. */
#include "passes/vjp.h"

#define ad_vjp_missing NULL
ad_rule *const ad_rules[IR_OPS] = {
#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    [IR_OP_##name] = ad_vjp_##vjp,
#include "ir/ops.def"
};
#undef ad_vjp_missing

/* Zero for every operand. */
AD_RULE(none)
{
    (void)b, (void)inst, (void)ct, (void)out, (void)want;
}

bool ad_is_zero(ir_op op)
{
    return ad_rules[op] == ad_vjp_none;
}

void ad_missing(const ir_inst *inst)
{
    base_report(inst->func->module->ctx, BASE_ERROR, inst->loc, "no derivative rule for `%s`",
                ir_ops[inst->op].name);
}

static bool too_large(const ir_inst *inst)
{
    base_report(inst->func->module->ctx, BASE_ERROR, inst->loc,
                "the derivative of this `%s` is too large", ir_ops[inst->op].name);
    return false;
}

bool ad_fits(const ir_inst *inst, const ir_type *shape, ir_dtype type)
{
    ir_type t = *shape;
    t.dtype = type;
    return ir_type_ok(&t) || too_large(inst);
}

bool ad_near(const ir_inst *inst, int n, const int64_t *numbers)
{
    for (int i = 0; i < n; i++)
        if (numbers[i] > (int64_t)1 << 56 || numbers[i] < -((int64_t)1 << 56))
            return too_large(inst);
    return true;
}

ir_value *ad_build(ir_builder *b, const ir_inst *inst, ir_op op, ir_value *const *operand,
                   int noperands, const ir_attrs *attrs)
{
    ir_type *type;
    int n;
    if (!ir_infer(inst->func->module->arena, op, attrs, operand, noperands, &type, &n))
        return ir_build1(b, op, operand, noperands, attrs);
    too_large(inst);
    return NULL;
}

ir_builder ad_before(const ir_inst *inst)
{
    ir_builder b = ir_builder_new(inst->func);
    b.at = (ir_inst *)inst;
    b.loc = inst->loc;
    return b;
}

void ad_instead(ir_value *v, ir_value *by)
{
    ir_inst *from = v->def, *to = by->def;
    int index = v->index;
    BUG_UNLESS(from && to && ir_type_eq(&v->type, &by->type));
    from->result[index] = by;
    to->result[by->index] = v;
    v->def = to;
    v->index = by->index;
    by->def = from;
    by->index = index;
}

typedef struct walk {
    ir_func *f;
    base_arena *scratch;
    ir_inst **inst; /* of the forward half, in order */
    int ninsts;
    bool *active;   /* by value id: depends on a wanted parameter */
    ir_value **ct;  /* by value id: cotangent so far, NULL: zero */
    ir_builder b;
} walk;

static bool may_flow(const ir_value *v)
{
    return ir_is_float(v->type.dtype) && ir_count(&v->type) > 0;
}

/* Forward instructions, listed before the walk adds others; their values numbered. */
static walk survey(ir_func *f)
{
    walk w = {.f = f, .scratch = base_arena_new(f->module->ctx), .b = ir_builder_new(f)};
    int values = ir_number(f);
    w.inst = base_array(w.scratch, ir_inst *, f->last ? f->last->id + 1 : 1);
    w.active = base_array(w.scratch, bool, values + 1);
    w.ct = base_array(w.scratch, ir_value *, values + 1);
    w.b.phase = IR_BACKWARD;
    IR_FOR (inst, f) {
        inst->phase = IR_FORWARD;
        inst->primal = NULL;
        w.inst[w.ninsts++] = inst;
    }
    return w;
}

static void find_active(walk *w)
{
    for (int k = 0; k < w->ninsts; k++) {
        const ir_inst *inst = w->inst[k];
        bool any = false;
        for (int i = 0; i < inst->noperands && !ad_is_zero(inst->op); i++)
            any |= w->active[inst->operand[i]->id];
        for (int i = 0; i < inst->nresults && any; i++)
            w->active[inst->result[i]->id] = may_flow(inst->result[i]);
    }
}

static void flow_to(walk *w, const ir_value *v, ir_value *ct)
{
    if (!ct || !w->active[v->id])
        return;
    BUG_UNLESS(ir_type_eq(&v->type, &ct->type));
    w->ct[v->id] = ir_add_or(&w->b, w->ct[v->id], ct);
}

static void pull_back(walk *w, ir_inst *inst)
{
    ir_value **ct = base_array(w->scratch, ir_value *, inst->nresults + 1),
             **out = base_array(w->scratch, ir_value *, inst->noperands + 1);
    bool *want = base_array(w->scratch, bool, inst->noperands + 1), reached = false, wanted = false;
    for (int i = 0; i < inst->nresults; i++) {
        ct[i] = w->ct[inst->result[i]->id];
        reached |= ct[i] != NULL;
    }
    for (int i = 0; i < inst->noperands; i++) {
        want[i] = w->active[inst->operand[i]->id];
        wanted |= want[i];
    }
    if (!reached || !wanted || ad_is_zero(inst->op))
        return;
    if (!ad_rules[inst->op]) {
        ad_missing(inst);
        return;
    }
    w->b.loc = inst->loc;
    w->b.primal = inst;
    ad_rules[inst->op](&w->b, inst, ct, out, want);
    for (int i = 0; i < inst->noperands; i++)
        flow_to(w, inst->operand[i], out[i]);
    ir_built(&w->b);
}

/* ---- The joint function ---- */

/* What is wanted: parameter i of the request (states, then inputs) and its port's name; NULL if f
 * does not read that state. */
static ir_value *wanted(ir_func *f, const ad_request *r, int i, const char **name, ir_type *type)
{
    if (i < r->nstates) {
        *name = r->states[i]->name;
        *type = r->states[i]->type;
        return ir_state_param(f, r->states[i]);
    }
    const ir_port *p = &f->params.items[r->inputs[i - r->nstates]];
    *name = p->name;
    *type = p->value->type;
    return p->value;
}

/* Cotangents of the results: inputs, and 1 for a loss without one. */
static void seed(walk *w, const ad_request *r)
{
    ir_func *f = w->f;
    bool loss_given = false;
    for (int i = 0; i < r->ncotangents; i++) {
        const ir_port p = f->results.items[r->cotangents[i]];
        BUG_UNLESS(ir_is_float(p.value->type.dtype));
        ir_value *ct = ir_add_input(f, p.name, &p.value->type);
        f->params.items[f->params.count - 1].role = IR_GRADIENT;
        flow_to(w, p.value, ct);
        loss_given |= r->cotangents[i] == r->loss;
    }
    if (r->loss < 0 || loss_given)
        return;
    ir_value *loss = f->results.items[r->loss].value;
    flow_to(w, loss, ir_splat(&w->b, &loss->type, 1));
}

static void add_gradients(walk *w, const ad_request *r)
{
    w->b.loc = NULL;
    w->b.primal = NULL;
    for (int i = 0; i < r->nstates + r->ninputs; i++) {
        const char *name;
        ir_type type;
        const ir_value *v = wanted(w->f, r, i, &name, &type);
        ir_value *gradient = v ? w->ct[v->id] : NULL;
        ir_add_output(w->f, name, gradient ? gradient : ir_splat(&w->b, &type, 0));
        w->f->results.items[w->f->results.count - 1].role = IR_GRADIENT;
    }
    ir_built(&w->b);
}

ir_func *ad_joint(ir_module *m, const ir_func *f, const ad_request *r, const char *name)
{
    int errors = base_error_count(m->ctx);
    ir_func *joint = ir_clone(f, name);
    joint->entry = false;
    walk w = survey(joint);
    for (int i = 0; i < r->nstates + r->ninputs; i++) {
        const char *unused;
        ir_type type;
        ir_value *v = wanted(joint, r, i, &unused, &type);
        if (v)
            w.active[v->id] = may_flow(v);
    }
    find_active(&w);
    seed(&w, r);
    for (int k = w.ninsts; k-- > 0;)
        pull_back(&w, w.inst[k]);
    add_gradients(&w, r);
    base_arena_free(w.scratch);
    pass_dce(joint); /* removes what rules have replaced */
    if (base_error_count(m->ctx) == errors)
        return joint;
    ir_func_remove(joint);
    return NULL;
}
