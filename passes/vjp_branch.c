/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of cond and call.
 *
 * cond: both branches are differentiated and cut (body_vjp.h). The residuals of a branch are more
 * results of the forward cond. The two branches share these type by type, since only one branch
 * runs; a branch with fewer residuals returns zeros. A second cond runs the backward half of the
 * branch that ran.
 *
 * call: with a custom derivative, a call of that. Else the callee's joint function replaces the
 * call. */
#include "passes/body_vjp.h"
#include "passes/vjp.h"

#include <string.h>

typedef struct branches {
    const ir_inst *inst;
    base_arena *scratch;
    body_vjp h[2];
    int params, results; /* of a branch */
    BASE_LIST(ir_type) slots; /* additional results of the forward cond */
    /* by slot: the branch's value, or NULL; room for everything that both read */
    ir_value **slot[2];
    ir_inst *forward;
    BASE_LIST(ir_value *) outside; /* operands of the backward cond, without the condition */
} branches;

/* The index of the branch's result that v (of its joint function) is, or -1. */
static int result_of(const branches *s, int side, const ir_value *v)
{
    for (int i = 0; i < s->results; i++)
        if (s->h[side].joint->results.items[i].value == v)
            return i;
    return -1;
}

static bool is_saved(const branches *s, int side, const ir_value *v)
{
    return v->def && result_of(s, side, v) < 0;
}

static void find_slots(branches *s)
{
    int most = s->h[0].nread + s->h[1].nread;
    for (int side = 0; side < 2; side++) {
        s->slot[side] = base_array(s->scratch, ir_value *, most + 1);
        for (int i = 0; i < s->h[side].nread; i++) {
            ir_value *v = s->h[side].read[i];
            int k = 0;
            if (!is_saved(s, side, v))
                continue;
            while (k < s->slots.count &&
                   (s->slot[side][k] || !ir_type_eq(&s->slots.items[k], &v->type)))
                k++;
            if (k == s->slots.count)
                BASE_PUSH(s->scratch, &s->slots, v->type);
            s->slot[side][k] = v;
        }
    }
}

static void build_forward(branches *s)
{
    const ir_inst *inst = s->inst;
    s->forward = (ir_inst *)inst;
    if (!s->slots.count)
        return;
    ir_func *f[2];
    for (int side = 0; side < 2; side++)
        f[side] = body_vjp_forward(&s->h[side], s->slot[side], s->slots.items, s->slots.count, 0);
    ir_builder b = ad_before(inst);
    s->forward = ir_build(&b, IR_OP_cond, inst->operand, inst->noperands,
                          &(ir_attrs){.cond = {.then_body = f[0], .else_body = f[1]}});
    ir_built(&b);
    for (int i = 0; i < inst->nresults; i++)
        ad_instead(inst->result[i], s->forward->result[i]);
}

/* A parameter of both backward branches for the value `outside`. */
static ir_value *add_operand(branches *s, ir_func *const *f, int side, ir_value *outside)
{
    int k = 0;
    while (k < s->outside.count && s->outside.items[k] != outside)
        k++;
    if (k == s->outside.count) {
        BASE_PUSH(s->scratch, &s->outside, outside);
        for (int i = 0; i < 2; i++)
            ir_add_input(f[i], NULL, &outside->type);
    }
    return f[side]->params.items[k].value;
}

/* Finds the outside values for what one branch's backward half reads. */
static void bind_reads(branches *s, ir_func *const *f, int side, ir_value *const *ct)
{
    const body_vjp *h = &s->h[side];
    for (int i = 0; i < h->nread; i++) {
        ir_value *v = h->read[i], *outside;
        int r = v->def ? result_of(s, side, v) : -1;
        if (!v->def)
            outside = s->inst->operand[1 + v->index];
        else
            outside = r >= 0 ? s->forward->result[r] : NULL;
        for (int k = 0; k < s->slots.count && !outside; k++)
            outside = s->slot[side][k] == v ? s->forward->result[s->results + k] : NULL;
        v->aux = add_operand(s, f, side, outside);
    }
    for (int i = 0; i < s->results; i++)
        if (h->cotangent[i])
            h->cotangent[i]->aux = add_operand(s, f, side, ct[i]);
}

static void build_backward(branches *s, ir_builder *b, ir_value *const *ct, ir_value **out)
{
    ir_module *m = b->func->module;
    ir_func *f[2];
    ir_builder inside[2];
    for (int side = 0; side < 2; side++) {
        f[side] = ir_func_new(m, base_format(m->arena, "%s_backward", s->h[side].primal->name));
        inside[side] = ir_builder_new(f[side]);
        inside[side].phase = IR_BACKWARD;
        inside[side].loc = s->inst->loc;
    }
    for (int side = 0; side < 2; side++)
        bind_reads(s, f, side, ct);
    for (int side = 0; side < 2; side++) {
        const body_vjp *h = &s->h[side];
        body_vjp_backward(h, &inside[side]);
        for (int i = 0; i < s->params; i++)
            if (s->h[0].gradient[i] || s->h[1].gradient[i])
                ir_add_output(
                    f[side], NULL,
                    h->gradient[i]
                        ? h->gradient[i]->aux
                        : ir_splat(&inside[side], &h->primal->params.items[i].value->type, 0));
        ir_built(&inside[side]);
        pass_dce(f[side]);
    }
    ir_value **operand = base_array(s->scratch, ir_value *, s->outside.count + 1);
    operand[0] = s->inst->operand[0];
    memcpy(operand + 1, s->outside.items, (size_t)s->outside.count * sizeof *operand);
    ir_inst *cond = ir_build(b, IR_OP_cond, operand, s->outside.count + 1,
                             &(ir_attrs){.cond = {.then_body = f[0], .else_body = f[1]}});
    ir_built(b);
    for (int i = 0, n = 0; i < s->params; i++)
        if (s->h[0].gradient[i] || s->h[1].gradient[i])
            out[1 + i] = cond->result[n++];
}

AD_RULE(cond)
{
    const struct ir_attrs_cond *a = IR_ATTR(inst, cond);
    branches s = {.inst = inst,
                  .scratch = base_arena_new(inst->func->module->ctx),
                  .params = inst->noperands - 1,
                  .results = inst->nresults};
    bool *has_ct = base_array(s.scratch, bool, s.results + 1);
    for (int i = 0; i < s.results; i++)
        has_ct[i] = ct[i] != NULL;
    if (body_vjp_make(&s.h[0], s.scratch, a->then_body, has_ct, want + 1, NULL)) {
        if (body_vjp_make(&s.h[1], s.scratch, a->else_body, has_ct, want + 1, NULL)) {
            find_slots(&s);
            build_forward(&s);
            build_backward(&s, b, ct, out);
            body_vjp_end(&s.h[1]);
        }
        body_vjp_end(&s.h[0]);
    }
    base_arena_free(s.scratch);
}

/* ---- call ---- */

/* vjp(operands, results, cotangents). */
static void custom(ir_builder *b, const ir_inst *inst, ir_func *vjp, ir_value *const *ct,
                   ir_value **out)
{
    int n = inst->noperands, r = inst->nresults;
    base_arena *scratch = base_arena_new(inst->func->module->ctx);
    ir_value **operand = base_array(scratch, ir_value *, n + 2 * r);
    memcpy(operand, inst->operand, (size_t)n * sizeof *operand);
    for (int i = 0; i < r; i++) {
        operand[n + i] = inst->result[i];
        operand[n + r + i] = ct[i] ? ct[i] : ir_splat(b, &inst->result[i]->type, 0);
    }
    ir_inst *call =
        ir_build(b, IR_OP_call, operand, n + 2 * r, &(ir_attrs){.call = {.callee = vjp}});
    ir_built(b);
    for (int i = 0; i < n; i++)
        out[i] = call->result[i];
    base_arena_free(scratch);
}

/* Chains of calls that double grow without bound. Returns the number of instructions. */
static int limit_size(const ir_func *f, const base_loc *loc)
{
    int n = 0;
    IR_FOR (inst, f)
        if (++n > IR_MAX_INSTS)
            base_throw(f->module->ctx, loc,
                       "inlining the calls gives more instructions than the limit");
    return n;
}

/* Replaces the call by the joint function: first all of it, then its backward half moves to the
 * end. */
static void joint(ir_builder *b, const ir_inst *inst, ir_func *callee, ir_value *const *ct,
                  ir_value **out, const bool *want)
{
    ir_module *m = callee->module;
    base_arena *scratch = base_arena_new(m->ctx);
    int n = inst->noperands, nct = 0, nwant = 0,
        *given = base_array(scratch, int, inst->nresults + 1),
        *input = base_array(scratch, int, n + 1);
    ir_value **arg = base_array(scratch, ir_value *, n + inst->nresults + 1),
             **got = base_array(scratch, ir_value *, n + inst->nresults + 1);
    if (n)
        memcpy(arg, inst->operand, (size_t)n * sizeof *arg);
    for (int i = 0; i < inst->nresults; i++)
        if (ct[i]) {
            arg[n + nct] = ct[i];
            given[nct++] = i;
        }
    for (int i = 0; i < n; i++)
        if (want[i])
            input[nwant++] = i;
    ir_func *f = ad_joint(
        m, callee,
        &(ad_request){
            .loss = -1, .cotangents = given, .ncotangents = nct, .inputs = input, .ninputs = nwant},
        callee->name);
    if (f) {
        ir_builder before = ad_before(inst);
        ir_inst *last = inst->previous, *next;
        ir_inline(&before, f, arg, got);
        for (ir_inst *k = last ? last->next : inst->func->first; k != inst; k = next) {
            next = k->next;
            if (k->phase != IR_FORWARD)
                ir_move(k, b->at);
            k->loc = k->loc ? k->loc : inst->loc;
        }
        for (int i = 0; i < inst->nresults; i++)
            ir_replace(inst->result[i], got[i]);
        for (int i = 0; i < nwant; i++)
            out[input[i]] = got[inst->nresults + i];
        ir_func_remove(f);
        if (limit_size(f, inst->loc) > 10000)
            limit_size(inst->func, inst->loc);
    }
    base_arena_free(scratch);
}

AD_RULE(call)
{
    const struct ir_attrs_call *a = IR_ATTR(inst, call);
    if (a->vjp)
        custom(b, inst, a->vjp, ct, out);
    else
        joint(b, inst, a->callee, ct, out, want);
}
