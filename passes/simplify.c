/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Rewrites: each sweep walks the function once, tries the rows of rewrites.def on every instruction
 * and continues at the first instruction that a rewrite built, so what it built is rewritten too.
 * Operands are replaced on the way (through the values' aux), so a sweep costs time linear in the
 * instructions and rewrites. Each row says why it terminates; in addition each function has a
 * budget, so that a mistake there costs quality and does not loop forever. Elementwise instructions
 * whose operands are all the same broadcast of a smaller shape are computed in that shape and
 * broadcast after. Needs and breaks nothing but plans. */
#include "passes/rewrite.h"

static const struct {
    ir_op op;
    rewrite_rule *rule;
} rules[] = {
#define REWRITE(op, function, ends) {IR_OP_##op, function},
#include "passes/rewrites.def"
};
enum { RULES = sizeof rules / sizeof *rules, SWEEPS = 8 };

/* The first row of each op: rows of one op need not be adjacent. */
typedef struct index {
    int first[IR_OPS], next[RULES]; /* row + 1, or 0 */
} index;

static void index_rules(index *x)
{
    *x = (index){0};
    for (int i = RULES; i-- > 0;) {
        x->next[i] = x->first[rules[i].op];
        x->first[rules[i].op] = i + 1;
    }
}

/* The value that replaces v; paths are shortened. */
static ir_value *resolve(ir_value *v)
{
    ir_value *end = v;
    while (end->aux && end->aux != end)
        end = end->aux;
    while (v->aux && v->aux != v) {
        ir_value *next = v->aux;
        v->aux = end;
        v = next;
    }
    return end;
}

static void count_uses(ir_func *f)
{
    for (int i = 0; i < f->params.count; i++) {
        f->params.items[i].value->id = 0;
        f->params.items[i].value->aux = NULL;
    }
    IR_FOR (inst, f) {
        inst->id = 1; /* counted; 0 in what a rewrite builds */
        for (int i = 0; i < inst->nresults; i++) {
            inst->result[i]->id = 0;
            inst->result[i]->aux = NULL;
        }
    }
    IR_FOR (inst, f)
        for (int i = 0; i < inst->noperands; i++)
            inst->operand[i]->id++;
    for (int i = 0; i < f->results.count; i++)
        f->results.items[i].value->id++;
}

static bool try_rules(const index *x, ir_inst *inst, ir_value **out)
{
    ir_builder b = ir_builder_before(inst);
    bool done = false;
    for (int i = x->first[inst->op]; i && !done; i = x->next[i - 1])
        done = rules[i - 1].rule(&b, inst, out);
    if (!done && ir_has_trait(inst, IR_ELEMENTWISE))
        done = rw_sink_broadcast(&b, inst, out);
    ir_built(&b);
    return done;
}

/* Instructions that a rewrite built, also from another function's, get inst's phase. before: the
 * instruction before them. */
static void in_phase(ir_inst *before, const ir_inst *inst)
{
    for (ir_inst *k = before ? before->next : inst->func->first; k != inst; k = k->next)
        if (!k->id)
            k->phase = inst->phase;
}

static void replaced(ir_inst *inst, ir_value **out)
{
    for (int i = 0; i < inst->nresults; i++) {
        if (!out[i]) { /* a rewrite may omit a result without users */
            BUG_UNLESS(!inst->result[i]->id);
            continue;
        }
        if (!ir_type_eq(&out[i]->type, &inst->result[i]->type))
            BUG("a rewrite of `%s` changed the type of result %d", ir_ops[inst->op].name, i);
        out[i] = resolve(out[i]);
        inst->result[i]->aux = out[i];
        out[i]->id += inst->result[i]->id;
        if (!out[i]->name && out[i]->def)
            out[i]->name = inst->result[i]->name;
    }
    ir_remove(inst);
}

static bool sweep(ir_func *f, const index *x, int64_t *budget)
{
    bool changed = false;
    count_uses(f);
    for (ir_inst *inst = f->first, *next; inst; inst = next) {
        for (int i = 0; i < inst->noperands; i++)
            inst->operand[i] = resolve(inst->operand[i]);
        ir_inst *before = inst->previous;
        base_arena *scratch = inst->nresults > 16 ? base_arena_new(f->module->ctx) : NULL;
        ir_value *few[16] = {0},
                 **out = scratch ? base_array(scratch, ir_value *, inst->nresults) : few;
        if (*budget > 0 && try_rules(x, inst, out)) {
            in_phase(before, inst);
            replaced(inst, out);
            next = before ? before->next : f->first;
            changed = true;
            --*budget;
        } else {
            next = inst->next;
        }
        if (scratch)
            base_arena_free(scratch);
    }
    for (int i = 0; i < f->results.count; i++)
        f->results.items[i].value = resolve(f->results.items[i].value);
    return changed;
}

void pass_simplify(ir_func *f)
{
    index x;
    index_rules(&x);
    int64_t budget = 1000;
    IR_FOR (inst, f)
        budget += 64;
    for (int i = 0; i < SWEEPS && sweep(f, &x, &budget); i++)
        pass_dce(f);
}
