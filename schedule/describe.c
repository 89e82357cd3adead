/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A description of a kernel, for comments in schedules and for profiles. */
#include "schedule/schedule.h"

enum { WORDS = 5, SEEN = 200 };

/* The ops that a description names, each once; views and constants are left out. */
typedef struct words {
    base_arena *arena;
    const ir_kernel *k;
    const ir_inst **seen;
    int count, found;
    ir_op op[WORDS];
} words;

static void gather(words *w, const ir_value *v, int depth)
{
    const ir_inst *inst = v->def;
    if (!inst || (v->kernel && v->kernel != w->k) || depth > 40 || w->found == WORDS)
        return;
    for (int i = 0; i < w->count; i++)
        if (w->seen[i] == inst)
            return;
    if (w->count == SEEN)
        return;
    w->seen[w->count++] = inst;
    bool known = ir_is_view(inst) || inst->op == IR_OP_constant;
    for (int i = 0; i < w->found; i++)
        known |= w->op[i] == inst->op;
    if (!known)
        w->op[w->found++] = inst->op;
    for (int i = 0; i < inst->noperands; i++)
        gather(w, inst->operand[i], depth + 1);
}

/* "dot_general f32[64,784] f32[784,512] -> f32[64,512], max add" */
const char *sched_describe(base_arena *arena, const ir_kernel *k)
{
    words w = {.arena = arena, .k = k, .seen = base_array(arena, const ir_inst *, SEEN)};
    const char *text = "";
    if (k->anchor) {
        text = ir_ops[k->anchor->op].name;
        for (int i = 0; i < k->anchor->noperands && i < 3; i++)
            text = base_format(arena, "%s %s", text,
                               ir_type_text(arena, &k->anchor->operand[i]->type));
    }
    for (int i = 0; i < k->outputs.count; i++) {
        text = base_format(arena, "%s%s%s", text,
                           i       ? " "
                           : *text ? " -> "
                                   : "",
                           ir_type_text(arena, &k->outputs.items[i]->type));
        gather(&w, k->outputs.items[i], 0);
    }
    for (int i = 0; i < w.found; i++)
        if (!k->anchor || w.op[i] != k->anchor->op)
            text = base_format(arena, "%s%s%s", text, i ? " " : ", ", ir_ops[w.op[i]].name);
    return text;
}
