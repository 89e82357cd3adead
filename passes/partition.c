/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What forward saves and what backward recomputes, as a minimum cut (the formulation of Jain et
 * al., "Checkmate", and of the partitioner of PyTorch's AOTAutograd).
 *
 * Nodes are the forward values that backward depends on through instructions that may be
 * recomputed: elementwise ones and plain moves, which are fused into the kernel of their user. A
 * value that backward reads must be on backward's side; one whose instruction may not be recomputed
 * (contractions, convolutions, reductions, windows, indexing, random bits, loops) is on forward's
 * side, and so is a state that forward itself changes. Inputs, other states and constants are read
 * again at no cost. Cutting a value costs its bytes, twice that where forward would not write it to
 * memory anyway. Of equally cheap cuts the one nearest to backward is taken, which recomputes
 * least.
 *
 * A contraction in backward reads its operands from memory, so recomputing one would cost a pass
 * over memory that saving it does not: such operands are saved where an elementwise instruction
 * computed them.
 *
 * The decision is first applied to the joint function: recomputed instructions get copies of phase
 * backward, so that afterwards backward reads exactly the saved values. `step` uses that form
 * whole; train_partition then splits it. */
#include "ir/tuning.h"
#include "passes/flow.h"
#include "passes/pass_utils.h"

#include <stdlib.h>
#include <string.h>

typedef struct cut {
    ir_func *f;
    base_arena *arena;
    ir_value **value; /* by id */
    int nvalues;
    int *level;       /* by id: contractions and reductions on the longest path to it */
    /* By id: read by backward; not to be recomputed; in memory anyway; no longer available when
     * backward runs. */
    bool *need, *keep, *written, *changed;
    bool *again; /* the decision: recomputed */
} cut;

static bool is_forward(const ir_value *v)
{
    return !v->def || v->def->phase == IR_FORWARD;
}

/* Results of a joint function that its backward half computes. */
static bool backward_result(const ir_port *p)
{
    return p->bind == IR_STATE ? p->state->kind == IR_GRAD : p->role == IR_GRADIENT;
}

static bool plain(const ir_inst *inst)
{
    return inst->op != IR_OP_copy && inst->op != IR_OP_reverse &&
           ir_has_trait(inst, IR_ELEMENTWISE | IR_VIEW | IR_NULLARY);
}

/* A reduction over the last dimensions shares a kernel with the elementwise instructions around
 * it. */
static bool row_reduce(const ir_inst *inst)
{
    if (inst->op != IR_OP_reduce)
        return false;
    const ir_ints axes = IR_ATTR(inst, reduce)->axes;
    return axes.n && axes.v[0] == inst->operand[0]->type.rank - axes.n;
}

/* Reads its operands from memory, whatever computed them. */
static bool reads_memory(const ir_inst *inst)
{
    return !plain(inst) && inst->op != IR_OP_reduce && inst->op != IR_OP_arg_reduce &&
           inst->op != IR_OP_pad && inst->op != IR_OP_concat;
}

/* max(x, 0), select(x > 0, x, 0) and select(x <= 0, 0, x) are above 0 where x is: backward tests
 * the result, which is saved for the next layer more often than x. The first and last keep NaN, so
 * they also answer x <= 0. */
static void ask_results(ir_func *f)
{
    base_arena *scratch = base_arena_new(f->module->ctx);
    int ids = ir_number(f);
    ir_value **result = base_array(scratch, ir_value *, ids);
    IR_FOR (inst, f) {
        if (inst->phase != IR_FORWARD)
            continue;
        ir_value *x = NULL;
        if (inst->op == IR_OP_max)
            x = match_is(inst->operand[1], 0)   ? inst->operand[0]
                : match_is(inst->operand[0], 0) ? inst->operand[1]
                                                : NULL;
        else if (inst->op == IR_OP_select && match(inst->operand[0], IR_OP_compare)) {
            const ir_inst *c = inst->operand[0]->def;
            int above = IR_ATTR(c, compare)->relation == IR_GT ? 1 : 2; /* the operand that is x */
            if ((above == 1 || IR_ATTR(c, compare)->relation == IR_LE) &&
                c->operand[0] == inst->operand[above] && match_is(inst->operand[3 - above], 0) &&
                match_is(c->operand[1], 0))
                x = c->operand[0];
        }
        if (x && !result[x->id])
            result[x->id] = inst->result[0];
    }
    ir_value **asked = base_array(scratch, ir_value *, ids);
    IR_FOR (user, f)
        for (int i = 0; user->phase != IR_FORWARD && i < user->noperands; i++) {
            ir_inst *c = match(user->operand[i], IR_OP_compare);
            ir_relation relation = c ? IR_ATTR(c, compare)->relation : IR_EQ;
            if (!c || c->phase != IR_FORWARD || (relation != IR_GT && relation != IR_LE) ||
                !match_is(c->operand[1], 0))
                continue;
            ir_value *y = result[c->operand[0]->id], **known = &asked[c->result[0]->id];
            if (y && relation == IR_LE && y->def->op == IR_OP_select &&
                IR_ATTR(y->def->operand[0]->def, compare)->relation == IR_GT)
                continue;
            if (y && !*known) {
                ir_builder b = ir_builder_new(f);
                b.at = y->def->next;
                b.loc = c->loc;
                *known = ir_compare(&b, relation, y, ir_splat(&b, &y->type, 0));
                ir_built(&b);
            }
            if (y)
                user->operand[i] = *known;
        }
    base_arena_free(scratch);
}

/* The value under views of it. */
static ir_value *base(ir_value *v)
{
    while (v->def && v->def->phase == IR_FORWARD && ir_is_view(v->def))
        v = v->def->operand[0];
    return v;
}

/* By parameter: whether it is a state that forward updates, or `gone`. */
static bool *changed_params(ir_func *f, base_arena *arena, int n, const bool *gone)
{
    bool *of_state = base_array(arena, bool, f->module->states.count),
         *changed = base_array(arena, bool, n);
    for (int i = 0; i < f->results.count; i++)
        if (f->results.items[i].bind == IR_STATE && !backward_result(&f->results.items[i]))
            of_state[f->results.items[i].state->index] = true;
    for (int i = 0; i < f->params.count; i++)
        changed[i] = (gone && gone[i]) || (f->params.items[i].bind == IR_STATE &&
                                           of_state[f->params.items[i].state->index]);
    return changed;
}

/* Finds which values are read, by what, and where. */
static void survey(cut *c)
{
    ir_func *f = c->f;
    for (int i = 0; i < f->results.count; i++) {
        const ir_port *p = &f->results.items[i];
        if (backward_result(p))
            c->need[p->value->id] |= is_forward(p->value);
        else
            c->written[p->value->id] = true;
    }
    IR_FOR (inst, f) {
        int level = 0;
        for (int i = 0; i < inst->noperands; i++)
            level = c->level[inst->operand[i]->id] > level ? c->level[inst->operand[i]->id] : level;
        level += !plain(inst) && !row_reduce(inst);
        for (int i = 0; i < inst->nresults; i++)
            c->level[inst->result[i]->id] = level;
        for (int i = 0; i < inst->noperands; i++) {
            ir_value *v = inst->operand[i], *under = base(v);
            if (inst->phase == IR_FORWARD) {
                if (level > c->level[v->id])
                    c->written[v->id] = c->written[under->id] = true;
                continue;
            }
            if (!is_forward(v))
                continue;
            c->need[v->id] = true;
            if (reads_memory(inst) && under->def && under->def->noperands)
                c->keep[under->id] = true;
        }
    }
}

/* Always copied into backward: nothing need be saved. */
static bool is_free(const cut *c, const ir_value *v)
{
    return v->def ? !v->def->noperands && plain(v->def) : !c->changed[v->id];
}

static bool may_repeat(const cut *c, const ir_value *v)
{
    return v->def && v->def->nresults == 1 && plain(v->def) && !c->keep[v->id];
}

/* Nodes: value i enters at 2i and leaves at 2i + 1; then source and sink. */
static void decide(cut *c)
{
    int source = 2 * c->nvalues, sink = source + 1;
    flow *g = flow_new(c->arena, sink + 1);
    bool *wanted = base_array(c->arena, bool, c->nvalues),
         *side = base_array(c->arena, bool, sink + 1);
    for (int i = c->nvalues; i-- > 0;) { /* users before operands */
        ir_value *v = c->value[i];
        if (c->need[i]) {
            wanted[i] = true;
            flow_edge(g, 2 * i + 1, sink, FLOW_NEVER);
        }
        if (!wanted[i] || is_free(c, v))
            continue;
        flow_edge(g, 2 * i, 2 * i + 1,
                  ir_bytes(&v->type) * (c->written[i] ? 1 : IR_TUNING(SAVE_UNWRITTEN)) +
                      IR_TUNING(SAVE_VALUE));
        if (!may_repeat(c, v)) {
            flow_edge(g, source, 2 * i, FLOW_NEVER);
            continue;
        }
        for (int k = 0; k < v->def->noperands; k++) {
            int from = v->def->operand[k]->id;
            wanted[from] = true;
            flow_edge(g, 2 * from + 1, 2 * i, FLOW_NEVER);
        }
    }
    if (flow_cut(g, source, sink, side))
        for (int i = 0; i < c->nvalues; i++)
            c->again[i] = wanted[i] && c->value[i]->def &&
                          (is_free(c, c->value[i]) || (may_repeat(c, c->value[i]) && side[2 * i]));
    else /* took too long: save what is read */
        for (int i = 0; i < c->nvalues; i++)
            c->again[i] = wanted[i] && c->value[i]->def && is_free(c, c->value[i]);
}

static int by_id(const void *a, const void *b)
{
    const ir_value *const *v = a, *const *w = b;
    return ((*v)->id > (*w)->id) - ((*v)->id < (*w)->id);
}

/* The backward copy of v, after copies of what it needs, before `at`. */
static ir_value *repeat(cut *c, ir_value **copy, ir_value *v, ir_inst *at)
{
    BASE_LIST(ir_value *) todo = {0};
    bool *listed = (bool *)copy[c->nvalues]; /* a set of ids, stored after the copies */
    BASE_PUSH(c->arena, &todo, v);
    listed[v->id] = true;
    for (int i = 0; i < todo.count; i++)
        for (int k = 0; k < todo.items[i]->def->noperands; k++) {
            ir_value *w = todo.items[i]->def->operand[k];
            if (c->again[w->id] && !copy[w->id] && !listed[w->id]) {
                listed[w->id] = true;
                BASE_PUSH(c->arena, &todo, w);
            }
        }
    qsort(todo.items, (size_t)todo.count, sizeof *todo.items, by_id);
    ir_builder b = ir_builder_new(c->f);
    b.at = at;
    b.phase = IR_BACKWARD;
    for (int i = 0; i < todo.count; i++) {
        const ir_inst *inst = todo.items[i]->def;
        ir_value **operand = base_array(c->arena, ir_value *, inst->noperands);
        for (int k = 0; k < inst->noperands; k++)
            operand[k] = copy[inst->operand[k]->id] ? copy[inst->operand[k]->id] : inst->operand[k];
        b.loc = inst->loc;
        b.primal = (ir_inst *)inst;
        copy[todo.items[i]->id] = ir_build1(&b, inst->op, operand, inst->noperands, inst->attrs);
    }
    ir_built(&b);
    return copy[v->id];
}

static void apply(cut *c)
{
    ir_value **copy = base_array(c->arena, ir_value *, c->nvalues + 1);
    copy[c->nvalues] = (ir_value *)base_array(c->arena, bool, c->nvalues);
    ir_inst *first = c->f->first, *end = NULL;
    for (ir_inst *inst = first; inst; inst = inst->next)
        inst->id = inst->phase == IR_FORWARD ? 0 : 1;
    for (ir_inst *inst = first; inst; inst = inst->next)
        for (int i = 0; i < inst->noperands && inst->id; i++) {
            ir_value *v = inst->operand[i];
            if (v->id < c->nvalues && c->value[v->id] == v && is_forward(v) && c->again[v->id])
                inst->operand[i] = copy[v->id] ? copy[v->id] : repeat(c, copy, v, inst);
        }
    for (int i = 0; i < c->f->results.count; i++) {
        ir_port *p = &c->f->results.items[i];
        if (backward_result(p) && is_forward(p->value) && c->again[p->value->id])
            p->value = copy[p->value->id] ? copy[p->value->id] : repeat(c, copy, p->value, end);
    }
}

void partition_recompute(ir_func *f, const bool *gone)
{
    ask_results(f);
    cut c = {.f = f, .arena = base_arena_new(f->module->ctx), .nvalues = ir_number(f)};
    c.value = base_array(c.arena, ir_value *, c.nvalues);
    c.level = base_array(c.arena, int, c.nvalues);
    c.need = base_array(c.arena, bool, c.nvalues);
    c.keep = base_array(c.arena, bool, c.nvalues);
    c.written = base_array(c.arena, bool, c.nvalues);
    c.changed = changed_params(f, c.arena, c.nvalues, gone); /* parameters have the first ids */
    c.again = base_array(c.arena, bool, c.nvalues);
    for (int i = 0; i < f->params.count; i++)
        c.value[i] = f->params.items[i].value;
    IR_FOR (inst, f)
        for (int i = 0; i < inst->nresults; i++)
            c.value[inst->result[i]->id] = inst->result[i];
    survey(&c);
    decide(&c);
    apply(&c);
    base_arena_free(c.arena);
    pass_dce(f);
}

/* ---- The split ---- */

typedef struct frontier {
    ir_value **value;
    int n;
    bool *seen, *changed;
} frontier;

static void add_saved(frontier *s, ir_value *v)
{
    if (is_forward(v) && (v->def || s->changed[v->id]) && !s->seen[v->id]) {
        s->seen[v->id] = true;
        s->value[s->n++] = v;
    }
}

int partition_saved(ir_func *joint, base_arena *arena, ir_value **saved)
{
    int n = ir_number(joint);
    frontier s = {saved, 0, base_array(arena, bool, n), changed_params(joint, arena, n, NULL)};
    IR_FOR (inst, joint)
        for (int i = 0; i < inst->noperands && inst->phase != IR_FORWARD; i++)
            add_saved(&s, inst->operand[i]);
    for (int i = 0; i < joint->results.count; i++)
        if (backward_result(&joint->results.items[i]))
            add_saved(&s, joint->results.items[i].value);
    return s.n;
}

/* Drops parameters without readers: states, and inputs unless `inputs`. */
static void drop_params(ir_func *f, bool inputs)
{
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->id = 0;
    IR_FOR (inst, f)
        for (int i = 0; i < inst->noperands; i++)
            inst->operand[i]->id = 1;
    for (int i = 0; i < f->results.count; i++)
        f->results.items[i].value->id = 1;
    int n = 0;
    for (int i = 0; i < f->params.count; i++) {
        ir_port p = f->params.items[i];
        bool keep = p.value->id ||
                    (p.bind == IR_INPUT && (inputs ? p.role == IR_DATA : p.role == IR_GRADIENT));
        if (!keep)
            continue;
        p.value->index = n;
        f->params.items[n++] = p;
    }
    f->params.count = n;
}

static void keep_results(ir_func *f, bool backward)
{
    int n = 0;
    for (int i = 0; i < f->results.count; i++)
        if (backward_result(&f->results.items[i]) == backward) {
            if (f->loss == i)
                f->loss = n;
            f->results.items[n++] = f->results.items[i];
        } else if (f->loss == i) {
            f->loss = -1;
        }
    f->results.count = n;
}

const char *state_prefix(ir_module *m, const char *wish)
{
    for (int k = 1;; k++) {
        const char *prefix =
            k == 1 ? base_format(m->arena, "%s:", wish) : base_format(m->arena, "%s_%d:", wish, k);
        bool taken = false;
        for (int i = 0; i < m->states.count && !taken; i++)
            taken = !strncmp(m->states.items[i]->name, prefix, strlen(prefix));
        if (!taken)
            return prefix;
    }
}

/* In a copy of the joint function (saved values' aux), replaces the values by the states. */
static void read_saved(ir_func *f, ir_value *const *saved, ir_state *const *state, int n)
{
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->aux = NULL;
    IR_FOR (inst, f)
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->aux = NULL;
    for (int i = 0; i < n; i++)
        ((ir_value *)saved[i]->aux)->aux = ir_add_state(f, state[i]);
    IR_FOR (inst, f)
        for (int i = 0; i < inst->noperands; i++)
            if (inst->operand[i]->aux)
                inst->operand[i] = inst->operand[i]->aux;
    for (int i = 0; i < f->results.count; i++)
        if (f->results.items[i].value->aux)
            f->results.items[i].value = f->results.items[i].value->aux;
}

void train_partition(ir_module *m, const ir_func *joint_, const char *forward_name,
                     const char *backward_name)
{
    ir_func *joint = (ir_func *)joint_;
    partition_recompute(joint, NULL);
    base_arena *scratch = base_arena_new(m->ctx);
    int n = ir_number(joint);
    ir_value **saved = base_array(scratch, ir_value *, n);
    int nsaved = partition_saved(joint, scratch, saved);
    ir_func *forward = ir_clone(joint, forward_name);
    keep_results(forward, false);
    const char *prefix = state_prefix(m, "saved");
    ir_state **state = base_array(scratch, ir_state *, nsaved);
    for (int i = 0; i < nsaved; i++) {
        state[i] =
            ir_state_new(m, base_format(m->arena, "%s%d", prefix, i), IR_SAVED, &saved[i]->type);
        state[i]->why = saved[i]->name;
        ir_add_update(forward, state[i], saved[i]->aux);
    }
    IR_FOR (inst, joint)
        /* Its copy in forward. */
        inst->aux = inst->nresults ? ((ir_value *)inst->result[0]->aux)->def : NULL;
    ir_func *backward = ir_clone(joint, backward_name);
    IR_FOR (inst, backward)
        if (inst->primal && inst->primal->func == joint)
            inst->primal = inst->primal->aux;
    keep_results(backward, true);
    read_saved(backward, saved, state, nsaved);
    ir_func *both[] = {forward, backward};
    for (int i = 0; i < 2; i++) {
        pass_dce(both[i]);
        drop_params(both[i], i == 0);
        both[i]->entry = true;
    }
    ir_func_remove(joint);
    base_arena_free(scratch);
}
