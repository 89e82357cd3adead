/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Common subexpressions: one walk with a hash table of the instructions seen. Operands are first
 * replaced by what they merged into, so chains merge in the same walk. Operands of commutative
 * instructions match in either order. After a partition, phases say what is recomputed, so the pass
 * never merges across phases; cse_across does, on a joint function that is not cut yet. `copy` asks
 * for storage of its own and is never merged. */
#include "passes/pass_utils.h"

typedef struct table {
    ir_inst **slot;
    size_t mask;
    bool across;
} table;

/* The operands of a commutative instruction in the order of their definition. */
static ir_inst ordered(const ir_inst *inst, ir_value *pair[2])
{
    ir_inst probe = *inst;
    if (inst->noperands == 2 && ir_has_trait(inst, IR_COMMUTATIVE) &&
        inst->operand[0]->id > inst->operand[1]->id) {
        pair[0] = inst->operand[1];
        pair[1] = inst->operand[0];
        probe.operand = pair;
    }
    return probe;
}

/* An earlier instruction that computes the same; inst itself, now in the table, if there is
 * none. */
static ir_inst *find(table *t, ir_inst *inst)
{
    ir_value *p[2], *q[2];
    ir_inst a = ordered(inst, p);
    uint64_t h = ir_hash(&a);
    h ^= h >> 29;
    for (size_t i = (size_t)h & t->mask;; i = (i + 1) & t->mask) {
        if (!t->slot[i])
            return t->slot[i] = inst;
        ir_inst b = ordered(t->slot[i], q);
        if ((t->across || b.phase == a.phase) && ir_same(&a, &b))
            return t->slot[i];
    }
}

static void run(ir_func *f, bool across)
{
    ir_number(f);
    size_t count = 0, capacity = 16;
    IR_FOR (inst, f)
        count++;
    while (capacity < 2 * count)
        capacity *= 2;
    base_arena *scratch = base_arena_new(f->module->ctx);
    table t = {base_array(scratch, ir_inst *, capacity), capacity - 1, across};
    pass_replace_begin(f);
    IR_FOR_SAFE (inst, f) {
        pass_replace_in(inst);
        ir_inst *same = inst->op == IR_OP_copy ? inst : find(&t, inst);
        for (int i = 0; i < inst->nresults; i++) {
            inst->result[i]->aux = same->result[i];
            if (same != inst && !same->result[i]->name)
                same->result[i]->name = inst->result[i]->name;
        }
        if (same != inst)
            ir_remove(inst);
    }
    pass_replace_end(f);
    base_arena_free(scratch);
}

void pass_cse(ir_func *f)
{
    run(f, false);
}

void cse_across(ir_func *f)
{
    run(f, true);
}
