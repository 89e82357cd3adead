/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * See body_vjp.h. The body's joint function is simplified before it is cut, as train.c does with an
 * entry's: values that backward would compute just like forward then come from forward, and the cut
 * decides how backward gets them. */
#include "passes/body_vjp.h"

static bool is_forward(const ir_value *v)
{
    return !v->def || v->def->phase == IR_FORWARD;
}

/* ---- What depends on what ---- */

static bool flows(const ir_value *v)
{
    return ir_is_float(v->type.dtype);
}

void body_vjp_depends(const ir_func *f, const bool *from, bool *result)
{
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->id = from[i] && flows(f->params.items[i].value);
    IR_FOR (inst, f) {
        bool any = false;
        for (int i = 0; i < inst->noperands && !ad_is_zero(inst->op); i++)
            any |= inst->operand[i]->id != 0;
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->id = any && flows(inst->result[i]);
    }
    for (int i = 0; i < f->results.count; i++)
        result[i] = f->results.items[i].value->id != 0;
}

void body_vjp_reaches(const ir_func *f, const bool *to, bool *param)
{
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->id = 0;
    IR_FOR (inst, f)
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->id = 0;
    for (int i = 0; i < f->results.count; i++)
        if (to[i] && flows(f->results.items[i].value))
            f->results.items[i].value->id = 1;
    IR_FOR_REVERSE (inst, f) {
        bool any = false;
        for (int i = 0; i < inst->nresults && !ad_is_zero(inst->op); i++)
            any |= inst->result[i]->id != 0;
        for (int i = 0; i < inst->noperands && any; i++)
            inst->operand[i]->id |= flows(inst->operand[i]);
    }
    for (int i = 0; i < f->params.count; i++)
        param[i] = f->params.items[i].value->id != 0;
}

/* ---- The joint function ---- */

static void add_read(body_vjp *h, ir_value *v)
{
    bool cotangent = !v->def && v->index >= h->primal->params.count;
    if (!is_forward(v) || cotangent || v->aux)
        return;
    v->aux = v;
    h->read[h->nread++] = v;
}

/* What backward's instructions and gradients read. */
static void find_reads(body_vjp *h, base_arena *arena)
{
    h->read = base_array(arena, ir_value *, ir_number(h->joint) + 1);
    for (int i = 0; i < h->joint->params.count; i++)
        h->joint->params.items[i].value->aux = NULL;
    IR_FOR (inst, h->joint)
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->aux = NULL;
    IR_FOR (inst, h->joint)
        for (int i = 0; i < inst->noperands && inst->phase != IR_FORWARD; i++)
            add_read(h, inst->operand[i]);
    for (int i = 0; i < h->primal->params.count; i++)
        if (h->gradient[i])
            add_read(h, h->gradient[i]);
}

/* Nested bodies with several users each are differentiated once per user, so the number of
 * functions has a limit. */
enum { MOST_FUNCTIONS = 20000 };

bool body_vjp_make(body_vjp *h, base_arena *arena, const ir_func *f, const bool *has_ct,
                   const bool *want, const bool *gone)
{
    int nct = 0, nwant = 0, *ct = base_array(arena, int, f->results.count),
        *input = base_array(arena, int, f->params.count);
    *h = (body_vjp){.primal = f};
    if (f->module->funcs.count > MOST_FUNCTIONS)
        base_throw(
            f->module->ctx, NULL,
            "the derivatives of nested loops and branches need more functions than the limit");
    h->cotangent = base_array(arena, ir_value *, f->results.count);
    h->gradient = base_array(arena, ir_value *, f->params.count);
    for (int i = 0; i < f->results.count; i++)
        if (has_ct[i])
            ct[nct++] = i;
    for (int i = 0; i < f->params.count; i++)
        if (want[i])
            input[nwant++] = i;
    ad_request request = {
        .loss = -1, .cotangents = ct, .ncotangents = nct, .inputs = input, .ninputs = nwant};
    h->joint = ad_joint(f->module, f, &request, f->name);
    if (!h->joint)
        return false;
    pass_run_sequence(h->joint, PASS_JOINT_CLEAN);
    bool *all_gone = base_array(arena, bool, f->params.count + nct);
    for (int i = 0; i < f->params.count; i++)
        all_gone[i] = gone && gone[i];
    partition_recompute(h->joint, all_gone);
    for (int i = 0; i < nct; i++)
        h->cotangent[ct[i]] = h->joint->params.items[f->params.count + i].value;
    for (int i = 0; i < nwant; i++) {
        ir_value *g = h->joint->results.items[f->results.count + i].value;
        h->gradient[input[i]] = match_is(g, 0) ? NULL : g;
    }
    find_reads(h, arena);
    return true;
}

/* ---- The halves ---- */

ir_func *body_vjp_forward(const body_vjp *h, ir_value *const *extra, const ir_type *type, int n,
                          int tail)
{
    int own = h->primal->results.count;
    ir_func *f = ir_clone(h->joint, h->primal->name);
    ir_builder b = ir_builder_new(f);
    f->results.count = own - tail;
    for (int i = 0; i < n; i++)
        ir_add_output(f, NULL, extra[i] ? extra[i]->aux : ir_splat(&b, &type[i], 0));
    for (int i = own - tail; i < own; i++)
        ir_add_output(f, NULL, h->joint->results.items[i].value->aux);
    ir_built(&b);
    f->params.count = h->primal->params.count;
    f->loss = -1;
    IR_FOR (inst, h->joint)
        /* Its copy, for backward's `of`. */
        inst->aux = inst->nresults ? ((ir_value *)inst->result[0]->aux)->def : NULL;
    pass_dce(f);
    return f;
}

void body_vjp_backward(const body_vjp *h, ir_builder *b)
{
    ir_builder own = *b;
    base_arena *scratch = base_arena_new(h->joint->module->ctx);
    IR_FOR (inst, h->joint) {
        if (inst->phase == IR_FORWARD)
            continue;
        ir_value **operand = base_array(scratch, ir_value *, inst->noperands);
        for (int i = 0; i < inst->noperands; i++)
            operand[i] = inst->operand[i]->aux;
        own.phase = inst->phase;
        own.loc = inst->loc;
        own.primal = inst->primal && inst->primal->func == h->joint && inst->primal->aux
                         ? inst->primal->aux
                         : inst->primal;
        ir_inst *copy = ir_build(&own, inst->op, operand, inst->noperands, inst->attrs);
        ir_built(&own);
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->aux = copy->result[i];
    }
    base_arena_free(scratch);
}

void body_vjp_end(body_vjp *h)
{
    ir_func_remove(h->joint);
}
