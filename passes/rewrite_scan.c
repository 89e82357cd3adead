/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Moves contractions out of a scan's body: those that do not depend on carried values go before the
 * loop, those that no carried value depends on go after it (loop_batch.h). So x W of all iterations
 * becomes one contraction before the loop, and h V, where nothing in the loop reads it, one after
 * it. A recurrent cell written step by step then is a small product in the loop between two large
 * ones, as one would write it by hand. A gather of x by the number of the iteration becomes one
 * gather before the loop. */
#include "passes/rewrite.h"
#include "ir/tuning.h"
#include "passes/loop_batch.h"

#include <string.h>

typedef struct work {
    ir_inst *inst;
    const struct ir_attrs_scan *a;
    base_arena *scratch;
    int fixed, params, ys;    /* consts and carries; with xs; results without trips */
    loop_batch all;
    /* before: contractions and gathers that are moved; after: values that are stacked for the ys
     * that are moved */
    BASE_LIST(ir_value *) list;
    bool *gone;               /* after: by result of the body, is it computed after the loop? */
} work;

static work begin(ir_builder *b, ir_inst *inst)
{
    const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
    work w = {.inst = inst, .a = a, .scratch = base_arena_new(b->func->module->ctx)};
    int values = ir_number(a->body);
    w.fixed = (int)(a->consts + a->carries);
    w.params = a->body->params.count;
    w.ys = inst->nresults - 1;
    w.all = (loop_batch){.b = b, .loc = inst->loc, .length = a->length};
    w.all.stacked = base_array(w.scratch, ir_value *, values + 1);
    w.all.constant = base_array(w.scratch, ir_value *, values + 1);
    return w;
}

/* v stacked over all iterations is within the limits of tensors. */
static bool fits(const work *w, const ir_value *v)
{
    ir_type t = v->type;
    if (t.rank + 1 >= IR_MAX_RANK)
        return false;
    memmove(t.dim + 1, v->type.dim, (size_t)t.rank * sizeof *t.dim);
    t.dim[0] = w->a->length;
    t.rank++;
    return ir_type_ok(&t);
}

/* If dot is a contraction with a constant that is worth batching over all iterations: the operand
 * that varies. Else NULL. */
static ir_value *varying(const work *w, const ir_inst *dot)
{
    if (dot->op != IR_OP_dot_general)
        return NULL;
    bool first = w->all.constant[dot->operand[0]->id] != NULL,
         second = w->all.constant[dot->operand[1]->id] != NULL;
    ir_value *v = dot->operand[first ? 1 : 0];
    int64_t in = ir_count(&v->type), out = ir_count(&dot->result[0]->type);
    return first != second && fits(w, v) && fits(w, dot->result[0]) &&
                   out / IR_TUNING(HOIST_WIDER) <= in && in / IR_TUNING(HOIST_WIDER) <= out
               ? v
               : NULL;
}

/* ---- Before the loop ---- */

/* If k gathers rows of a constant by an index that varies: the index. Else NULL. All iterations
 * run, so every index that is checked is used. */
static const ir_value *looked_up_by(const work *w, const ir_inst *k)
{
    bool plain = k->op == IR_OP_gather && !w->a->live && !IR_ATTR(k, gather)->batch &&
                 w->all.constant[k->operand[0]->id] && !w->all.constant[k->operand[1]->id];
    return plain && fits(w, k->result[0]) && fits(w, k->operand[1]) ? k->operand[1] : NULL;
}

static bool anything(void *user, const ir_value *v)
{
    (void)user;
    return v->def != NULL;
}

static void find_before(work *w)
{
    for (int i = 0; i < w->params; i++)
        if (i < w->a->consts)
            w->all.constant[i] = w->inst->operand[i]; /* parameters have the first ids */
        else if (i >= w->fixed)
            w->all.stacked[i] = w->inst->operand[i];
    w->all.outside = anything;
    IR_FOR (k, w->a->body) {
        const ir_value *v = k->op == IR_OP_gather ? looked_up_by(w, k) : varying(w, k);
        if (v && loop_batch_has(&w->all, v))
            BASE_PUSH(w->scratch, &w->list, k->result[0]);
    }
}

/* The same scan with the moved values as further xs. */
static ir_inst *rebuild_before(work *w, ir_builder *b)
{
    const ir_func *f = w->a->body;
    int n = w->list.count;
    ir_attrs attrs = {.scan = *w->a};
    ir_func *g = attrs.scan.body = rw_body_like(f);
    ir_builder gb = ir_builder_new(g);
    ir_value **operand = base_array(w->scratch, ir_value *, w->inst->noperands + n),
             **args = base_array(w->scratch, ir_value *, w->params + 1);
    ir_value **got = base_array(w->scratch, ir_value *, f->results.count + 1);
    for (int i = 0; i < w->params; i++) {
        operand[i] = w->inst->operand[i];
        args[i] = ir_add_input(g, NULL, &f->params.items[i].value->type);
    }
    ir_inline(&gb, f, args, got);
    for (int i = 0; i < f->results.count; i++)
        ir_add_output(g, NULL, got[i]);
    for (int i = 0; i < n; i++) {
        operand[w->params + i] = loop_batch_of(&w->all, w->list.items[i]);
        ir_replace(w->list.items[i]->aux, ir_add_input(g, NULL, &w->list.items[i]->type));
    }
    if (w->a->live)
        operand[w->params + n] = w->inst->operand[w->params];
    pass_dce(g);
    return ir_build(b, IR_OP_scan, operand, w->inst->noperands + n, &attrs);
}

RULE(rw_scan_before)
{
    if (IR_ATTR(inst, scan)->length < 2)
        return false;
    work w = begin(b, inst);
    find_before(&w);
    ir_inst *scan = w.list.count ? rebuild_before(&w, b) : NULL;
    for (int i = 0; i < inst->nresults && scan; i++)
        out[i] = scan->result[i];
    base_arena_free(w.scratch);
    return scan != NULL;
}

/* ---- After the loop ---- */

/* Is v not needed by the next iteration? find_inside has set the instruction's id. */
static bool not_inside(void *user, const ir_value *v)
{
    (void)user;
    return v->def && !v->def->id;
}

static void find_inside(const work *w)
{
    const ir_func *f = w->a->body;
    IR_FOR (k, f)
        k->id = 0;
    for (int i = 0; i < f->results.count; i++)
        if ((i < w->a->carries || i >= w->ys) && f->results.items[i].value->def)
            f->results.items[i].value->def->id = 1;
    IR_FOR_REVERSE (k, f)
        for (int i = 0; i < k->noperands && k->id; i++)
            if (k->operand[i]->def)
                k->operand[i]->def->id = 1;
}

/* Is v a contraction with a constant, or a short expression of one? Its other operands must be
 * splats or short expressions of known values. */
static bool contracts(const work *w, const ir_value *v, int depth)
{
    if (!v->def || v->def->id || depth == IR_TUNING(HOIST_DEEP) || !fits(w, v))
        return false;
    if (v->def->op == IR_OP_dot_general)
        return varying(w, v->def) != NULL;
    if (!ir_has_trait(v->def, IR_ELEMENTWISE) && v->def->op != IR_OP_reshape &&
        v->def->op != IR_OP_transpose)
        return false;
    int found = 0;
    for (int i = 0; i < v->def->noperands; i++) {
        ir_literal *splat;
        bool here = contracts(w, v->def->operand[i], depth + 1);
        if (!here && !match_splat(v->def->operand[i], &splat) &&
            !loop_batch_has(&w->all, v->def->operand[i]))
            return false;
        found += here;
    }
    return found > 0;
}

/* Adds v to the ys, and as a parameter to the function that runs after the loop. */
static ir_value *stack(void *user, ir_value *v)
{
    work *w = user;
    BASE_PUSH(w->scratch, &w->list, v);
    ir_type t = loop_batch_type(&w->all, &v->type);
    return ir_add_input(w->all.b->func, NULL, &t);
}

/* The index of the kept y that is v, or -1. */
static int kept_as(const work *w, const ir_value *v)
{
    for (int i = (int)w->a->carries, n = 0; i < w->ys; i++) {
        if (!w->gone[i] && w->a->body->results.items[i].value == v)
            return (int)w->a->carries + n;
        n += !w->gone[i];
    }
    return -1;
}

/* The same scan without the ys that are gone and with the listed values that are not ys yet.
 * Results: the kept ones in order, then those. */
static ir_inst *rebuild_after(work *w, ir_builder *b)
{
    const ir_func *f = w->a->body;
    ir_attrs attrs = {.scan = *w->a};
    ir_func *g = attrs.scan.body = rw_body_like(f);
    ir_builder gb = ir_builder_new(g);
    ir_value **args = base_array(w->scratch, ir_value *, w->params + 1),
             **got = base_array(w->scratch, ir_value *, f->results.count + 1);
    for (int i = 0; i < w->params; i++)
        args[i] = ir_add_input(g, NULL, &f->params.items[i].value->type);
    ir_inline(&gb, f, args, got);
    for (int i = 0; i < w->ys; i++)
        if (!w->gone[i])
            ir_add_output(g, NULL, got[i]);
    for (int i = 0; i < w->list.count; i++)
        if (kept_as(w, w->list.items[i]) < 0)
            ir_add_output(g, NULL, w->list.items[i]->aux);
    pass_dce(g);
    return ir_build(b, IR_OP_scan, w->inst->operand, w->inst->noperands, &attrs);
}

/* Finds which ys are moved. Nothing is built yet: known values are their own placeholders. */
static bool find_after(work *w)
{
    const ir_func *f = w->a->body;
    bool any = false;
    w->gone = base_array(w->scratch, bool, f->results.count + 1);
    w->all.outside = not_inside;
    find_inside(w);
    for (int i = 0; i < w->params; i++)
        *(i < w->a->consts ? &w->all.constant[i] : &w->all.stacked[i]) =
            i < w->a->consts || i >= w->fixed ? w->inst->operand[i] : NULL;
    for (int i = (int)w->a->carries; i < w->ys; i++) {
        const ir_value *v = f->results.items[i].value;
        bool known = w->all.stacked[v->id] || w->all.constant[v->id]; /* only passed on */
        any |= w->gone[i] = known || contracts(w, v, 0);
    }
    return any;
}

/* v, which contracts or is known, for all iterations. */
static ir_value *outside(work *w, ir_value *v)
{
    ir_inst *k = v->def;
    ir_value *operand[3];
    if (!k || w->all.stacked[v->id] || !ir_has_trait(k, IR_ELEMENTWISE))
        return loop_batch_of(&w->all, v);
    for (int i = 0; i < k->noperands; i++)
        operand[i] = contracts(w, k->operand[i], 0) ? outside(w, k->operand[i])
                                                    : loop_batch_of(&w->all, k->operand[i]);
    return w->all.stacked[v->id] = ir_build1(w->all.b, k->op, operand, k->noperands, k->attrs);
}

/* Builds the moved ys in a function of their own. Its parameters are the operands of the scan
 * except the carries, then the values stacked for it. */
static void build_after(work *w, ir_builder *after)
{
    const ir_func *f = w->a->body;
    w->all.b = after;
    w->all.stack = stack;
    w->all.user = w;
    for (int i = 0; i < w->params; i++)
        if (i < w->a->consts || i >= w->fixed)
            *(i < w->a->consts ? &w->all.constant[i] : &w->all.stacked[i]) =
                ir_add_input(after->func, NULL, &w->inst->operand[i]->type);
    for (int i = (int)w->a->carries; i < w->ys; i++)
        if (w->gone[i])
            ir_add_output(after->func, NULL, outside(w, f->results.items[i].value));
    ir_built(after);
}

static void finish_after(work *w, ir_builder *b, const ir_func *after, ir_value **out)
{
    ir_inst *scan = rebuild_after(w, b);
    ir_value **arg = base_array(w->scratch, ir_value *, after->params.count + 1),
             **got = base_array(w->scratch, ir_value *, after->results.count + 1);
    int n = 0, kept = 0;
    for (int i = 0; i < w->params; i++)
        if (i < w->a->consts || i >= w->fixed)
            arg[n++] = w->inst->operand[i];
    for (int i = 0; i < w->ys; i++)
        kept += !w->gone[i];
    for (int i = 0; i < w->list.count; i++) {
        int y = kept_as(w, w->list.items[i]);
        arg[n++] = scan->result[y >= 0 ? y : kept++];
    }
    ir_inst *last = b->at->previous;
    ir_inline(b, after, arg, got);
    for (ir_inst *k = last->next; k != b->at; k = k->next) {
        k->phase = b->phase;
        k->primal = b->primal;
    }
    for (int i = 0, k = 0, g = 0; i < w->ys; i++)
        out[i] = w->gone[i] ? got[g++] : scan->result[k++];
    out[w->ys] = scan->result[scan->nresults - 1];
}

RULE(rw_scan_after)
{
    const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
    if (a->length < 2 || a->live)
        return false;
    work w = begin(b, inst);
    bool any = find_after(&w);
    if (any) {
        ir_builder after = ir_builder_new(ir_func_new(b->func->module, "after"));
        after.loc = inst->loc;
        build_after(&w, &after);
        ir_func_remove(after.func);
        finish_after(&w, b, after.func, out);
    }
    base_arena_free(w.scratch);
    return any;
}
