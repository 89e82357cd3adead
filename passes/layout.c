/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Chooses for every value the order of its dimensions in storage. Codegen computes with strides, so
 * the graph stays as it is, without explicit transposes. Contractions decide: their vectors run
 * along one dimension of the result, which then is innermost there, and the operand that moves
 * along it should be contiguous along it. The cheapest of the possible dimensions is taken; its
 * cost counts the elements that `copy` must reorder first, vectors that are partly empty, and the
 * order that readers of the result prefer. Every other value takes the order of the largest value
 * that it reads. What the caller sees (inputs, outputs, gradients) is row-major, and so are the
 * operands and results of loops and branches, with two exceptions: constants of a scan have the
 * order that the body prefers, and operands of a branch are used in the order that they have.
 *
 * Needs: calls inlined. Breaks fuse and plan. States are decided for the whole module before. */
#include "passes/layout.h"
#include "ir/tuning.h"

#include <stdlib.h>

#define LANES IR_TUNING(LAYOUT_LANES)

typedef BASE_LIST(ir_inst *) inst_list;

typedef struct facts { /* about a value, through its aux */
    inst_list users;
    inst_list copies; /* of it, in other orders */
    BASE_LIST(int) ports; /* indices of the function's results that it is */
    bool settled;    /* its order was chosen for a reason, not row-major by default */
    bool open;       /* a constant of loops whose order nothing in the body has chosen yet */
} facts;

typedef struct layout {
    ir_func *f;
    base_arena *scratch;
} layout;

static facts *of(const ir_value *v)
{
    return v->aux;
}

static int uses(const ir_value *v)
{
    return of(v)->users.count + of(v)->ports.count;
}

static void find_users(layout *l)
{
    for (int i = 0; i < l->f->params.count; i++)
        l->f->params.items[i].value->aux = base_new(l->scratch, facts);
    IR_FOR (inst, l->f) {
        for (int i = 0; i < inst->nresults; i++) {
            inst->result[i]->aux = base_new(l->scratch, facts);
            inst->result[i]->order = (ir_ints){0};
            inst->result[i]->kernel = NULL;
        }
        for (int i = 0; i < inst->noperands; i++)
            BASE_PUSH(l->scratch, &of(inst->operand[i])->users, inst);
    }
    for (int i = 0; i < l->f->results.count; i++)
        BASE_PUSH(l->scratch, &of(l->f->results.items[i].value)->ports, i);
}

/* Written by loops over its own elements: any order is equally good for writing it. */
static bool flexible(const ir_value *v)
{
    const ir_inst *inst = v->def;
    if (!inst ||
        ir_has_trait(inst, IR_CONTRACTION | IR_VIEW | IR_RUNS | IR_OWN_EMITTER | IR_GENERATED))
        return false;
    return inst->op != IR_OP_constant || !ir_is_immediate(v);
}

/* ---- Orders ---- */

/* Dimensions by descending stride; false if some have stride 0, so that the order is ambiguous. */
static bool order_of_strides(layout *l, const ir_type *t, const int64_t *stride, ir_ints *out)
{
    int64_t dims[IR_MAX_RANK];
    int n = 0;
    for (int unit = 1; unit >= 0; unit--)
        for (int d = 0; d < t->rank; d++)
            if ((t->dim[d] == 1) == unit)
                dims[n++] = d;
    int units = 0;
    while (units < n && t->dim[dims[units]] == 1)
        units++;
    for (int i = units; i < n; i++) {
        if (!stride[dims[i]])
            return false;
        for (int j = i; j > units && llabs(stride[dims[j]]) > llabs(stride[dims[j - 1]]); j--) {
            int64_t swap = dims[j];
            dims[j] = dims[j - 1];
            dims[j - 1] = swap;
        }
    }
    *out = layout_order(l->f, t, dims);
    return true;
}

/* The order in which v is or would be stored; *weight: elements of the value under its views.
 * False: it has none worth following. */
static bool order_of(layout *l, ir_value *v, ir_ints *out, double *weight)
{
    ir_view view;
    ir_value *base = match_under_views(v);
    *weight = (double)ir_count(&base->type);
    if (!of(base)->settled || !match_view(v, &view))
        return false;
    if (base == v) {
        *out = v->order;
        return true;
    }
    return order_of_strides(l, &v->type, view.stride, out);
}

/* The order that result i must have. False: any. */
static bool forced(const ir_func *f, int i, ir_ints *out)
{
    const ir_port *r = &f->results.items[i];
    *out = r->bind == IR_STATE ? r->state->order : (ir_ints){0};
    return r->bind != IR_STATE || r->state->ordered;
}

/* The order of an operand of inst that is in memory and has the shape of its result; parameters
 * first. False: there is none. */
static bool order_beside(layout *l, const ir_inst *inst, ir_ints *out)
{
    double weight;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < inst->noperands; i++) {
            ir_value *v = inst->operand[i];
            if (!ir_shape_eq(&v->type, &inst->result[0]->type) || (pass == 0) != !v->def)
                continue;
            if (pass == 0)
                *out = v->order;
            else if (ir_is_view(v->def) || v->def->op == IR_OP_constant ||
                     !order_of(l, v, out, &weight))
                continue;
            return true;
        }
    return false;
}

/* The order that v's readers prefer: that of the function's result that it becomes, or of what it
 * is combined with. The nearest elementwise readers are asked, all of a value before theirs. */
static bool wished(layout *l, ir_value *v, ir_ints *out)
{
    BASE_LIST(ir_value *) near = {0};
    BASE_PUSH(l->scratch, &near, v);
    for (int k = 0; k < near.count; k++) {
        const facts *at = of(near.items[k]);
        for (int i = 0; i < at->ports.count; i++)
            if (forced(l->f, at->ports.items[i], out))
                return true;
        for (int i = 0; i < at->users.count && near.count < IR_TUNING(LAYOUT_NEAR); i++) {
            ir_inst *next = at->users.items[i];
            if (!ir_has_trait(next, IR_ELEMENTWISE) || next->nresults != 1)
                continue;
            if (order_beside(l, next, out))
                return true;
            BASE_PUSH(l->scratch, &near, next->result[0]);
        }
    }
    return false;
}

/* ---- Copies ---- */

/* May v's own order still be chosen? */
static bool movable(const ir_value *v)
{
    return of(v)->open || (flexible(v) && uses(v) == 1 && v->def->nresults == 1);
}

static void move(ir_value *v, const ir_ints *order)
{
    v->order = *order;
    of(v)->open = false;
}

/* v in another order: v itself if its order is free, else a copy before `at` (NULL: at the end), or
 * an earlier copy. */
static ir_value *reordered(layout *l, ir_value *v, ir_inst *at, const ir_ints *order)
{
    if (v->order.n == 0 ? order->n == 0 : layout_same(&v->type, &v->order, order))
        if (!v->def || !ir_is_view(v->def)) {
            of(v)->open = false;
            return v;
        }
    if (movable(v)) {
        move(v, order);
        return v;
    }
    for (int i = 0; i < of(v)->copies.count && at; i++) {
        ir_value *c = of(v)->copies.items[i]->result[0];
        if (layout_same(&v->type, &c->order, order)) {
            BASE_PUSH(l->scratch, &of(c)->users, at);
            return c;
        }
    }
    ir_builder b = ir_builder_new(l->f);
    b.at = at;
    b.phase = at ? at->phase : v->def ? v->def->phase : IR_FORWARD;
    b.loc = at ? at->loc : v->def ? v->def->loc : NULL;
    b.primal = at ? at->primal : NULL;
    ir_value *c = ir_copy(&b, v);
    ir_built(&b);
    c->name = v->name;
    c->order = *order;
    facts *it = c->aux = base_new(l->scratch, facts);
    it->settled = true;
    BASE_PUSH(l->scratch, &it->users, at);
    if (at)
        BASE_PUSH(l->scratch, &of(v)->copies, c->def);
    return c;
}

/* The present order with dimension d innermost. */
static ir_ints with_last(layout *l, ir_value *v, int d)
{
    int64_t dims[IR_MAX_RANK];
    ir_ints now = {0};
    double weight;
    int n = 0;
    if (!order_of(l, v, &now, &weight))
        now.n = 0;
    for (int i = 0; i < v->type.rank; i++)
        if ((now.n ? now.v[i] : i) != d)
            dims[n++] = now.n ? now.v[i] : i;
    dims[n] = d;
    return layout_order(l->f, &v->type, dims);
}

/* Makes operand s of inst contiguous along its dimension d: by a copy, or through transposes by the
 * order of the value under them. */
static void bring(layout *l, ir_inst *inst, int s, int d)
{
    ir_value *v = inst->operand[s], *base = v;
    int64_t at = d;
    bool alone = true;
    for (; base->def && base->def->op == IR_OP_transpose; base = base->def->operand[0]) {
        alone &= uses(base) == 1;
        at = IR_ATTR(base->def, transpose)->perm.v[at];
    }
    if (base != v && alone && movable(base)) {
        ir_ints order = with_last(l, base, (int)at);
        move(base, &order);
        return;
    }
    ir_ints order = with_last(l, v, d);
    inst->operand[s] = reordered(l, v, inst, &order);
}

/* ---- Contractions ---- */

typedef struct choice {
    layout_lane lane;
    double cost, moves; /* moves: the part that is not arithmetic */
    bool wish; /* the preferred order has this dimension innermost */
    bool stays; /* the operand keeps its order */
} choice;

static int innermost(const ir_type *t, const ir_ints *order)
{
    for (int i = t->rank - 1; i >= 0; i--)
        if (t->dim[order->n ? order->v[i] : i] != 1)
            return (int)(order->n ? order->v[i] : i);
    return -1;
}

/* Is operand s of inst a view with stride 1 along its dimension d? */
static bool side_by_side(const ir_inst *inst, int s, int d)
{
    ir_view view;
    return match_view(inst->operand[s], &view) && view.stride[d] == 1;
}

static choice judge(const ir_inst *inst, const layout_lane *lane, const ir_ints *wish)
{
    const ir_type *t = &inst->result[0]->type;
    double extent = (double)t->dim[lane->out],
           full = extent / (double)((int64_t)(extent + LANES - 1) / LANES * LANES);
    if (extent < LANES)
        full = (extent < LANES / 2 ? extent : LANES / 2) / LANES;
    choice c = {.lane = *lane,
                .cost = 2 * ir_cost_macs(inst) / LANES / full,
                .wish = wish && innermost(t, wish) == lane->out};
    for (int s = 0; s < 2; s++)
        if (lane->dim[s] >= 0 && !side_by_side(inst, s, lane->dim[s])) {
            ir_view view;
            double n = (double)ir_count(&inst->operand[s]->type);
            ir_gemm gemm = ir_gemm_of(inst, lane->out, s);
            bool free = !match_view(inst->operand[s], &view) || movable(inst->operand[s]);
            bool once = of(match_under_views(inst->operand[s]))->open;
            c.stays = !free && !once && lane->dim[!s] < 0 && !ir_gemm_copies(&gemm);
            c.moves += once      ? n / IR_TUNING(TRIPS)
                       : c.stays ? n
                                 : (free ? 1 : IR_TUNING(LAYOUT_COPY)) * n;
        }
    if (wish && !c.wish)
        c.moves += IR_TUNING(LAYOUT_REORDER) * (double)ir_count(t);
    c.cost += c.moves;
    return c;
}

static void contraction(layout *l, ir_inst *inst)
{
    layout_lane lane[2 * IR_MAX_RANK];
    ir_value *out = inst->result[0];
    ir_ints wish;
    bool wishes = wished(l, out, &wish);
    choice best = {.cost = -1};
    for (int i = layout_lanes(inst, lane) - 1; i >= 0; i--) {
        choice c = judge(inst, &lane[i], wishes ? &wish : NULL);
        /* Of equal costs the one that moves less: the cost of partly empty vectors is more
         * certain. */
        bool better = c.cost < best.cost || (c.cost == best.cost && c.moves < best.moves);
        if (out->type.dim[lane[i].out] > 1 && (best.cost < 0 || better))
            best = c;
    }
    of(out)->settled = true;
    for (int s = 0; s < 2 && best.cost >= 0 && !best.stays; s++)
        if (best.lane.dim[s] >= 0 && !side_by_side(inst, s, best.lane.dim[s]))
            bring(l, inst, s, best.lane.dim[s]);
    if (best.cost < 0)
        return;
    if (best.wish) {
        out->order = wish;
        return;
    }
    int64_t dims[IR_MAX_RANK];
    int n = 0;
    for (int d = 0; d < out->type.rank; d++)
        if (d != best.lane.out)
            dims[n++] = d;
    dims[n] = best.lane.out;
    out->order = layout_order(l->f, &out->type, dims);
}

/* ---- Everything else ---- */

/* The order of the largest operand of the same rank; one that is not row-major counts more. */
static void follow(layout *l, ir_inst *inst)
{
    double most = 0, weight;
    ir_ints order, best = {0};
    for (int i = 0; i < inst->noperands; i++)
        if (inst->operand[i]->type.rank == inst->result[0]->type.rank &&
            order_of(l, inst->operand[i], &order, &weight)) {
            weight *= order.n ? 4 : 1;
            /* Of equal weights the last: of window_put's operands, the positions, which forward
             * computed. */
            if (weight >= most) {
                most = weight;
                best = order;
            }
        }
    for (int i = 0; i < inst->nresults; i++) {
        of(inst->result[i])->settled = most > 0;
        inst->result[i]->order = best;
    }
}

/* The remaining dimensions keep their order. */
static void reduced(layout *l, ir_inst *inst)
{
    ir_ints order,
        one = {1, inst->op == IR_OP_arg_reduce ? &IR_ATTR(inst, arg_reduce)->axis : NULL};
    const ir_ints *axes = inst->op == IR_OP_reduce ? &IR_ATTR(inst, reduce)->axes : &one;
    double weight;
    int64_t dims[IR_MAX_RANK], new_number[IR_MAX_RANK];
    int n = 0;
    if (!order_of(l, inst->operand[0], &order, &weight))
        return;
    for (int d = 0, i = 0; d < inst->operand[0]->type.rank; d++) {
        bool goes = i < axes->n && axes->v[i] == d;
        i += goes;
        new_number[d] = goes ? -1 : d - i;
    }
    for (int i = 0; i < inst->operand[0]->type.rank; i++) {
        int64_t d = new_number[order.n ? order.v[i] : i];
        if (d >= 0)
            dims[n++] = d;
    }
    for (int i = 0; i < inst->nresults; i++) {
        inst->result[i]->order = layout_order(l->f, &inst->result[i]->type, dims);
        of(inst->result[i])->settled = true;
    }
}

/* A reshape that is not a view of its operand as stored: if it is large, the operand is reordered
 * first. */
static void reshaped(layout *l, ir_inst *inst)
{
    ir_view view;
    ir_value *base = match_under_views(inst->operand[0]);
    ir_ints row_major = {0};
    if (ir_count(&inst->result[0]->type) < IR_TUNING(LAYOUT_SMALL) || !of(base)->settled ||
        !match_view(inst->operand[0], &view) || match_view(inst->result[0], &view))
        return;
    inst->operand[0] = reordered(l, inst->operand[0], inst, &row_major);
}

/* The body's parameter for operand i of a scan, if that is constant: the body chooses its order. */
static const ir_value *loop_constant(const ir_inst *inst, int i)
{
    return inst->op == IR_OP_scan && i < IR_ATTR(inst, scan)->consts
               ? IR_ATTR(inst, scan)->body->params.items[i].value
               : NULL;
}

static void lay_out(ir_func *f, bool inputs_ordered);

/* Branch functions that nothing else names are laid out for the operands' present orders. */
static void branches(const ir_inst *inst)
{
    ir_func *called[2];
    for (int c = 0, n = ir_called(inst, called, 2); c < n; c++) {
        for (int i = 1; i < inst->noperands; i++)
            called[c]->params.items[i - 1].value->order = inst->operand[i]->order;
        lay_out(called[c], true);
    }
}

static void structured(layout *l, ir_inst *inst)
{
    ir_ints row_major = {0};
    bool adapts = inst->op == IR_OP_cond && layout_adapts(IR_ATTR(inst, cond)->then_body) &&
                  layout_adapts(IR_ATTR(inst, cond)->else_body);
    for (int i = 0; i < inst->noperands; i++) {
        const ir_value *inside = loop_constant(inst, i);
        const ir_ints *order = inside ? &inside->order : &row_major;
        /* The pass fuse copies it. */
        bool view = inst->operand[i]->def && ir_is_view(inst->operand[i]->def);
        if (adapts && i && !view)
            continue;
        if (inst->operand[i]->order.n || order->n)
            inst->operand[i] = reordered(l, inst->operand[i], inst, order);
    }
    for (int i = 0; i < inst->nresults; i++)
        of(inst->result[i])->settled = true;
    if (adapts)
        branches(inst);
}

static void visit(layout *l, ir_inst *inst)
{
    if (ir_has_trait(inst, IR_CONTRACTION))
        contraction(l, inst);
    else if (ir_has_trait(inst, IR_RUNS))
        structured(l, inst);
    else if (inst->op == IR_OP_reshape)
        reshaped(l, inst);
    else if (ir_has_trait(inst, IR_VIEW | IR_GENERATED))
        return;
    else if (inst->op == IR_OP_constant)
        of(inst->result[0])->settled = !ir_is_immediate(inst->result[0]);
    else if (ir_has_trait(inst, IR_OWN_EMITTER | IR_CHECKED))
        for (int i = 0; i < inst->nresults; i++)
            of(inst->result[i])->settled = true;
    else if (ir_has_trait(inst, IR_OVER_AXES))
        reduced(l, inst);
    else
        follow(l, inst);
}

/* Brings results into the required order; residuals keep the order that they have. */
static void results(layout *l)
{
    for (int i = 0; i < l->f->results.count; i++) {
        ir_port *r = &l->f->results.items[i];
        ir_value *v = r->value;
        ir_ints order;
        double weight;
        if (!forced(l->f, i, &order)) {
            if (!order_of(l, v, &order, &weight))
                order.n = 0;
            r->state->order = order;
            r->state->ordered = true;
        }
        bool view = v->def && ir_is_view(v->def);
        if (view && uses(v) == 1)
            v->order = order;
        else if (view ? order.n > 0 : !layout_same(&v->type, &v->order, &order))
            r->value = reordered(l, v, NULL, &order);
    }
}

/* inputs_ordered: the caller has set the orders of f's inputs. */
static void lay_out(ir_func *f, bool inputs_ordered)
{
    layout l = {.f = f, .scratch = base_arena_new(f->module->ctx)};
    f->plan = NULL;
    find_users(&l);
    for (int i = 0; i < f->params.count; i++) {
        ir_port *p = &f->params.items[i];
        if (p->bind == IR_STATE)
            p->state->ordered = true; /* what forward saved was laid out before backward */
        if (p->bind == IR_STATE || !inputs_ordered)
            p->value->order = p->bind == IR_STATE ? p->state->order : (ir_ints){0};
        of(p->value)->settled = true;
        of(p->value)->open = layout_loop_operand(p->value) != NULL;
    }
    IR_FOR_SAFE (inst, f)
        visit(&l, inst);
    results(&l);
    base_arena_free(l.scratch);
}

void pass_layout(ir_func *f)
{
    if (!layout_adapts(f))
        lay_out(f, false);
}
