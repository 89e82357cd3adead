/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The pass table, and how one of its rows runs on a module. */
#include "passes/layout.h"

#include <string.h>

#define PASS(name, function, prepare, needs, sets, breaks, doc) pass_run function;
#define STEP(sequence, function)
#include "passes/passes.def"

const pass_info passes[] = {
#define PASS(name_, function, prepare_, needs_, sets_, breaks_, doc_) \
    {.name = #name_,                                                  \
     .doc = doc_,                                                     \
     .run = function,                                                 \
     .prepare = prepare_,                                             \
     .needs = needs_,                                                 \
     .sets = sets_,                                                   \
     .breaks = breaks_},
#define STEP(sequence, function)
#include "passes/passes.def"
    {0}};

static const struct step {
    pass_sequence sequence;
    pass_run *run;
} steps[] = {
#define PASS(name, function, prepare, needs, sets, breaks, doc)
#define STEP(sequence, function) {PASS_##sequence, function},
#include "passes/passes.def"
};

void pass_run_sequence(ir_func *f, pass_sequence sequence)
{
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (steps[i].sequence == sequence)
            steps[i].run(f);
}

const pass_info *pass_by_name(const char *name)
{
    for (const pass_info *p = passes; p->name; p++)
        if (!strcmp(p->name, name))
            return p;
    return NULL;
}

/* Marks the functions that f names and then f by their id, each once, and appends them to the order
 * (may be NULL). Modules have no recursion, and nesting has a limit. */
static void after_callees(ir_func *f, ir_func **order, int *n)
{
    if (f->id)
        return;
    f->id = 1;
    ir_func *called[2];
    IR_FOR (inst, f) {
        int k = ir_called(inst, called, 2);
        for (int i = 0; i < k; i++)
            after_callees(called[i], order, n);
    }
    if (order)
        order[(*n)++] = f;
}

/* The lists are in scratch. */
static void find_callers(ir_module *m, base_arena *scratch)
{
    ir_func *called[2];
    for (int i = 0; i < m->funcs.count; i++)
        memset(&m->funcs.items[i]->callers, 0, sizeof m->funcs.items[i]->callers);
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR (inst, m->funcs.items[i])
            for (int c = 0, n = ir_called(inst, called, 2); c < n; c++)
                BASE_PUSH(scratch, &called[c]->callers, inst);
}

void pass_run_one(ir_module *m, const pass_info *pass, bool verify)
{
    const char *before = base_current_pass;
    base_current_pass = pass->name;
    if ((m->props & pass->needs) != pass->needs)
        BUG("the pass needs the properties %#x, the module has %#x", (unsigned)pass->needs,
            (unsigned)m->props);
    base_arena *scratch = base_arena_new(m->ctx);
    ir_func **order = base_array(scratch, ir_func *, m->funcs.count);
    int n = 0;
    for (int i = 0; i < m->funcs.count; i++)
        m->funcs.items[i]->id = 0;
    for (int i = 0; i < m->funcs.count; i++)
        after_callees(m->funcs.items[i], order, &n);
    find_callers(m, scratch);
    if (pass->prepare)
        pass->prepare(m);
    for (int i = 0; i < n; i++)
        pass->run(order[i]);
    base_arena_free(scratch);
    pass_drop_functions(m);
    m->props = (m->props & ~pass->breaks) | pass->sets;
    if (verify)
        ir_verify(m);
    base_current_pass = before;
}

void pass_drop_functions(ir_module *m)
{
    int n = 0, roots = 0;
    for (int i = 0; i < m->funcs.count; i++)
        m->funcs.items[i]->id = 0;
    for (int i = 0; i < m->funcs.count; i++)
        if (ir_is_root(m->funcs.items[i])) {
            after_callees(m->funcs.items[i], NULL, NULL);
            roots++;
        }
    for (int i = 0; i < m->funcs.count && roots; i++)
        if (m->funcs.items[i]->id)
            m->funcs.items[n++] = m->funcs.items[i];
        else
            ir_func_forget(m->funcs.items[i]);
    if (roots)
        m->funcs.count = n;
}
