/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Schedules each kernel: as a schedule file says, else by the strategy of least cost. */
#include "schedule/internal.h"
#include "ir/tuning.h"

#include <string.h>

static const struct strategy {
    ir_kernel_kind kind;
    sched_applies *applies;
    sched_choose *choose;
    sched_cost *cost;
    sched_complete *complete;
} strategies[SCHED_STRATEGIES] = {
#define STRATEGY(NAME, text, kind, applies, choose, cost, complete, emit, doc)            \
    {IR_KERNEL_##kind, sched_applies_##applies, sched_choose_##choose, sched_cost_##cost, \
     sched_complete_##complete},
#include "schedule/strategies.def"
};

static void choose(sched_job *j, sched_contraction *c, sched_strategy *out)
{
    double least = 0;
    int found = -1;
    sched_contraction best = {0};
    for (int s = 0; s < SCHED_STRATEGIES; s++) {
        const struct strategy *t = &strategies[s];
        if (t->kind != j->kernel->kind || !t->applies(j, c))
            continue;
        if (!c) { /* one strategy applies */
            t->choose(j, NULL);
            *out = (sched_strategy)s;
            return;
        }
        sched_contraction chosen = *c;
        chosen.strategy = (sched_strategy)s;
        t->choose(j, &chosen);
        double cost = t->cost(j, &chosen);
        if (found < 0 || cost < least) {
            least = cost;
            best = chosen;
            found = s;
        }
    }
    if (found < 0)
        BUG("no strategy for a kernel of the kind %s", ir_kernel_kind_names[j->kernel->kind]);
    *c = best;
    *out = (sched_strategy)found;
}

/* The file's line for a part of the job's kernel, which belongs to f, or NULL. */
static sched_wish *wish_for(sched_job *j, const struct sched_wishes *wishes, const ir_func *f,
                            int part, int spec)
{
    return wishes ? base_map_get_text(&wishes->by_key, sched_key(j->arena, j->level->name, spec,
                                                                 f->name, j->kernel->index, part))
                  : NULL;
}

static const char *obey(sched_job *j, sched_contraction *c, sched_wish *w)
{
    sched_strategy *strategy = c ? &c->strategy : &j->out->strategy;
    w->used = true;
    if (strategies[w->strategy].kind != j->kernel->kind)
        return base_format(j->arena, "the kernel is a %s, `%s` is for a %s",
                           ir_kernel_kind_names[j->kernel->kind], sched_strategy_names[w->strategy],
                           ir_kernel_kind_names[strategies[w->strategy].kind]);
    if (!strategies[w->strategy].applies(j, c) && w->strategy != SCHED_BLAS)
        return base_format(j->arena, "`%s` does not apply to the kernel",
                           sched_strategy_names[w->strategy]);
    *strategy = w->strategy;
    if (j->kernel->kind == IR_KERNEL_MAP) { /* defaults of what the line does not name */
        j->out->accumulators = 1;
        j->out->taps = 0;
    }
    const char *why = sched_set(j->arena, j->out, c, w);
    return why ? why : strategies[*strategy].complete(j, c);
}

/* Schedules a kernel, or a part of a contraction. */
static bool decide(sched_job *j, sched_contraction *c, sched_wish *w)
{
    sched_strategy *strategy = c ? &c->strategy : &j->out->strategy;
    if (c)
        sched_contraction_defaults(j, c);
    if (w) {
        const char *why = obey(j, c, w);
        if (why)
            base_report(j->ctx, BASE_ERROR, &w->loc, "kernel %d of @%s: %s", j->kernel->index,
                        w->func, why);
        return !why;
    }
    choose(j, c, strategy);
    const char *why = strategies[*strategy].complete(j, c);
    if (why)
        BUG("a strategy chose an invalid schedule: %s", why);
    return true;
}

static bool schedule_kernel(sched_job *j, const ir_func *f, const struct sched_wishes *wishes,
                            int spec)
{
    bool ok = true;
    sched_kernel *s = j->out;
    if (j->kernel->kind != IR_KERNEL_CONTRACTION)
        return decide(j, NULL, wish_for(j, wishes, f, 0, spec));
    if (ir_count(&j->kernel->outputs.items[0]->type) == 0)
        return true;
    sched_nest(j);
    for (int p = 0; p < s->nparts; p++) {
        ok &= decide(j, &s->part[p], wish_for(j, wishes, f, p, spec));
        s->part[p].tasks_before = s->tasks;
        s->tasks += s->part[p].tasks;
    }
    s->strategy = s->part[0].strategy;
    return ok;
}

bool sched_module(ir_module *m, base_arena *arena, const sched_level *level,
                  const struct sched_wishes *wishes, int spec)
{
    bool ok = true;
    for (int i = 0; i < m->funcs.count; i++) {
        const ir_func *f = m->funcs.items[i];
        for (int k = 0; f->plan && k < f->plan->kernels.count; k++) {
            sched_job j = {.ctx = m->ctx,
                           .arena = arena,
                           .level = level,
                           .kernel = f->plan->kernels.items[k],
                           .out = base_new(arena, sched_kernel)};
            j.out->accumulators = IR_TUNING(ROW_ACCUMULATORS);
            j.out->taps = IR_TUNING(UNROLL_WINDOWS);
            ok &= schedule_kernel(&j, f, wishes, spec);
            j.kernel->schedule = j.out;
        }
    }
    return ok;
}

bool sched_all_used(base_ctx *ctx, const struct sched_wishes *wishes, const char *level)
{
    bool ok = true;
    for (int i = 0; wishes && i < wishes->lines.count; i++) {
        const sched_wish *w = wishes->lines.items[i];
        if (w->used || strcmp(w->level, level))
            continue;
        base_report(ctx, BASE_ERROR, &w->loc, "there is no kernel %d, part %d, of @%s, module %d",
                    w->kernel, w->part, w->func, w->spec);
        ok = false;
    }
    return ok;
}
