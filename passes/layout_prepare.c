/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Along which dimensions a contraction's vectors may run, and the orders of the module's states,
 * which are decided before those of values. */
#include "passes/layout.h"

int layout_lanes(const ir_inst *inst, layout_lane *lane)
{
    int n = 0;
    if (inst->op == IR_OP_dot_general) {
        const struct ir_attrs_dot_general *at = IR_ATTR(inst, dot_general);
        const ir_ints batch[2] = {at->lhs_batch, at->rhs_batch},
                      contract[2] = {at->lhs_contract, at->rhs_contract};
        for (; n < batch[0].n; n++)
            lane[n] = (layout_lane){n, {(int)batch[0].v[n], (int)batch[1].v[n]}};
        for (int s = 0; s < 2; s++)
            for (int d = 0; d < inst->operand[s]->type.rank; d++) {
                bool used = false;
                for (int i = 0; i < batch[s].n; i++)
                    used |= batch[s].v[i] == d;
                for (int i = 0; i < contract[s].n; i++)
                    used |= contract[s].v[i] == d;
                if (!used) {
                    lane[n] = (layout_lane){n, {s ? -1 : d, s ? d : -1}};
                    n++;
                }
            }
        return n;
    }
    const struct ir_attrs_convolution *at = IR_ATTR(inst, convolution);
    int64_t groups = at->feature_groups > 1 ? at->feature_groups : at->batch_groups,
            features = inst->result[0]->type.dim[at->out.v[1]];
    /* a group has one feature */
    int moves =
        groups == 1 || groups != features ? -1 : (int)at->lhs.v[at->feature_groups > 1 ? 1 : 0];
    lane[n++] = (layout_lane){(int)at->out.v[1], {moves, (int)at->rhs.v[0]}};
    lane[n++] = (layout_lane){(int)at->out.v[0], {(int)at->lhs.v[0], -1}};
    for (int i = 0; i < at->stride.n; i++)
        if (at->stride.v[i] == 1 && at->lhs_dilation.v[i] == 1)
            lane[n++] = (layout_lane){(int)at->out.v[i + 2], {(int)at->lhs.v[i + 2], -1}};
    return n;
}

/* ---- States ---- */

ir_ints layout_order(ir_func *f, const ir_type *t, const int64_t *dims)
{
    int64_t last = -1;
    bool sorted = true;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[dims[i]] != 1) {
            sorted &= dims[i] > last;
            last = dims[i];
        }
    if (sorted)
        return (ir_ints){0};
    ir_builder b = ir_builder_new(f);
    return ir_ints_of(&b, t->rank, dims);
}

bool layout_same(const ir_type *t, const ir_ints *x, const ir_ints *y)
{
    ir_value v = {.type = *t, .order = *x}, w = {.type = *t, .order = *y};
    return ir_same_storage(&v, &w);
}

ir_value *layout_loop_operand(const ir_value *v)
{
    const ir_func *f = v->func;
    if (v->def || f->entry)
        return NULL;
    for (int i = 0; i < f->callers.count; i++)
        if (f->callers.items[i]->op != IR_OP_scan ||
            v->index >= IR_ATTR(f->callers.items[i], scan)->consts)
            return NULL;
    return f->callers.count ? f->callers.items[0]->operand[v->index] : NULL;
}

bool layout_adapts(const ir_func *f)
{
    return !f->entry && f->callers.count == 1 && f->callers.items[0]->op == IR_OP_cond;
}

/* The state whose parameter v is, seen through transposes, reshapes that only add or drop
 * dimensions of extent 1, and constants of loops; else NULL. dim[i] is the state's dimension that
 * v's dimension i is; -1: one of extent 1. */
static ir_state *state_under(const ir_value *v, int64_t *dim)
{
    int rank = v->type.rank;
    for (int i = 0; i < rank; i++)
        dim[i] = i;
    for (;;) {
        int64_t inner[IR_MAX_RANK], next = 0; /* the operand's dimension for each of v */
        if (v->def && v->def->op == IR_OP_transpose) {
            for (int i = 0; i < v->type.rank; i++)
                inner[i] = IR_ATTR(v->def, transpose)->perm.v[i];
        } else if (v->def && v->def->op == IR_OP_reshape &&
                   match_unit_reshape(&v->def->operand[0]->type, &v->type)) {
            /* Dimensions of extent 1 do not matter: any will do. */
            for (int i = 0; i < v->type.rank; i++) {
                while (v->type.dim[i] != 1 && v->def->operand[0]->type.dim[next] == 1)
                    next++;
                inner[i] = v->type.dim[i] == 1 ? -1 : next++;
            }
        } else {
            const ir_value *outside = layout_loop_operand(v);
            if (!outside)
                break;
            v = outside;
            continue;
        }
        for (int i = 0; i < rank; i++)
            dim[i] = dim[i] < 0 ? -1 : inner[dim[i]];
        v = v->def->operand[0];
    }
    return v->def ? NULL : v->func->params.items[v->index].state;
}

/* The best order for operand s of a contraction when the vectors run along its own free dimension:
 * batch dimensions, contracted ones, free ones. */
static int wanted_dims(const ir_inst *inst, int s, int64_t *dims)
{
    int n = 0;
    if (inst->op == IR_OP_convolution) {
        const struct ir_attrs_convolution *at = IR_ATTR(inst, convolution);
        for (int i = 2; i < at->rhs.n; i++)
            dims[n++] = at->rhs.v[i];
        dims[n++] = at->rhs.v[1];
        dims[n++] = at->rhs.v[0];
        return s == 1;
    }
    const struct ir_attrs_dot_general *at = IR_ATTR(inst, dot_general);
    const ir_ints *batch = s ? &at->rhs_batch : &at->lhs_batch,
                  *contract = s ? &at->rhs_contract : &at->lhs_contract;
    bool used[IR_MAX_RANK] = {false};
    for (int i = 0; i < batch->n; i++)
        used[dims[n++] = batch->v[i]] = true;
    for (int i = 0; i < contract->n; i++)
        used[dims[n++] = contract->v[i]] = true;
    int first = n;
    for (int d = 0; d < inst->operand[s]->type.rank; d++)
        if (!used[d])
            dims[n++] = d;
    return n > first;
}

/* Tables of a gather or scatter keep their order. */
static void keep_tables(ir_module *m)
{
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR (inst, m->funcs.items[i]) {
            int64_t dim[IR_MAX_RANK];
            ir_state *s =
                ir_has_trait(inst, IR_CHECKED) ? state_under(inst->operand[0], dim) : NULL;
            if (s)
                s->ordered = true;
        }
}

/* All dimensions of the state in the preferred order, those of extent 1 first. */
static void complete(const ir_state *state, int rank, const int64_t *dim, const int64_t *wish,
                     int64_t *order)
{
    int n = 0;
    for (int d = 0; d < state->type.rank; d++)
        if (state->type.dim[d] == 1)
            order[n++] = d;
    for (int i = 0; i < rank; i++)
        if (dim[wish[i]] >= 0 && state->type.dim[dim[wish[i]]] != 1)
            order[n++] = dim[wish[i]];
    BUG_UNLESS(n == state->type.rank);
}

static void order_states_of(ir_func *f, ir_phase phase)
{
    IR_FOR (inst, f)
        for (int s = 1; s >= 0 && ir_has_trait(inst, IR_CONTRACTION) && inst->phase == phase; s--) {
            int64_t dim[IR_MAX_RANK], wish[IR_MAX_RANK], order[IR_MAX_RANK];
            ir_state *state = state_under(inst->operand[s], dim);
            if (!state || state->ordered || state->kind != IR_PARAM || !wanted_dims(inst, s, wish))
                continue;
            complete(state, inst->operand[s]->type.rank, dim, wish, order);
            state->order = layout_order(f, &state->type, order);
            state->ordered = true;
        }
}

void layout_states(ir_module *m)
{
    bool open = false;
    for (int i = 0; i < m->states.count; i++) {
        ir_state *s = m->states.items[i];
        s->ordered |= s->order.n > 0;
        open |= !s->ordered && s->kind != IR_SAVED;
    }
    if (!open)
        return;
    keep_tables(m);
    for (int i = 0; i < m->funcs.count; i++)
        order_states_of(m->funcs.items[i], IR_FORWARD);
    for (int i = 0; i < m->states.count; i++) {
        ir_state *s = m->states.items[i];
        if (s->kind == IR_SLOT && s->of && ir_shape_eq(&s->type, &s->of->type) && !s->ordered)
            s->order = s->of->order;
        s->ordered |= s->kind != IR_SAVED;
    }
}
