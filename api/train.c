/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Applies the options about training: which output is the loss, what trains, and which entries are
 * built. */
#include "api/session.h"

#include <string.h>

const char *api_entry_name(int e)
{
    return e < CG_ENTRIES ? cg_entry_names[e] : NULL;
}

/* ---- Loss ---- */

static int find_output(const ir_func *f, const char *name)
{
    for (int i = 0; i < f->results.count; i++)
        if (f->results.items[i].bind == IR_INPUT && !strcmp(f->results.items[i].name, name))
            return i;
    return -1;
}

static bool is_scalar_float(const ir_port *p)
{
    return p->bind == IR_INPUT && p->value->type.rank == 0 && ir_is_float(p->value->type.dtype);
}

static bool find_loss(api_session *s, ir_func *f)
{
    if (s->options.loss) {
        int i = find_output(f, s->options.loss);
        if (i < 0 || !is_scalar_float(&f->results.items[i])) {
            api_usage(s,
                      i < 0 ? "--loss: there is no output '%s'"
                            : "--loss: output '%s' is not a float scalar",
                      s->options.loss);
            return false;
        }
        f->loss = i;
    } else if (f->loss < 0) {
        int scalars = 0, which = -1;
        for (int i = 0; i < f->results.count; i++)
            if (is_scalar_float(&f->results.items[i])) {
                which = i;
                scalars++;
            }
        f->loss = scalars == 1 ? which : -1;
    }
    if (f->loss >= 0)
        s->loss = f->results.items[f->loss].name;
    return true;
}

/* Reports that a loss is needed and none is known. */
static bool miss_loss(api_session *s, const ir_func *f)
{
    const char *list = "";
    for (int i = 0; i < f->results.count; i++)
        if (is_scalar_float(&f->results.items[i]))
            list = base_format(s->arena, "%s%s'%s'", list, *list ? ", " : "",
                               f->results.items[i].name);
    if (*list)
        api_error(s, "%s: several outputs could be the loss: %s; choose one with --loss=NAME",
                  s->path, list);
    else
        api_error(s,
                  "%s: training needs a loss, and no output is a float scalar; add one with "
                  "--attach-loss=KIND",
                  s->path);
    return false;
}

/* ---- What trains ---- */

static bool choose_states(api_session *s, const char *option, const api_names *patterns,
                          ir_module *m, bool *chosen)
{
    const char **name = base_array(s->arena, const char *, m->states.count + 1);
    int *index = base_array(s->arena, int, m->states.count + 1), n = 0;
    for (int i = 0; i < m->states.count; i++)
        if (m->states.items[i]->kind == IR_PARAM) {
            index[n] = i;
            name[n++] = m->states.items[i]->name;
        }
    bool *found = base_array(s->arena, bool, n + 1);
    if (!api_choose(s, option, patterns, name, n, found))
        return false;
    for (int k = 0; k < n; k++)
        chosen[index[k]] = found[k];
    return true;
}

static bool choose_trainable(api_session *s, ir_module *m)
{
    bool *yes = base_array(s->arena, bool, m->states.count + 1),
         *no = base_array(s->arena, bool, m->states.count + 1);
    if (!choose_states(s, "trainable", &s->options.trainable, m, yes) ||
        !choose_states(s, "freeze", &s->options.freeze, m, no))
        return false;
    for (int i = 0; i < m->states.count; i++) {
        ir_state *x = m->states.items[i];
        if (x->kind != IR_PARAM)
            continue;
        if (s->options.trainable.count && yes[i] != x->trainable) {
            x->trainable = yes[i];
            x->why = yes[i] ? "--trainable names it" : "--trainable does not name it";
        }
        if (no[i]) {
            x->trainable = false;
            x->why = "--freeze names it";
        }
        if (x->trainable && !ir_is_float(x->type.dtype)) {
            api_usage(s, "'%s' is %s; only float parameters can train", x->name,
                      ir_type_text(s->arena, &x->type));
            return false;
        }
    }
    return true;
}

/* ---- Entries ---- */

/* The entries that the verb wants, by bit. */
static bool wanted_entries(api_session *s, unsigned *out)
{
    enum {
        FORWARD = 1 << GRADC_RT_FORWARD,
        SPLIT = 1 << GRADC_RT_FORWARD_TRAIN | 1 << GRADC_RT_BACKWARD,
        ALL = (1 << GRADC_RT_KINDS) - 1
    };
    *out = s->verb == API_RUN ? (s->options.grad ? SPLIT : FORWARD)
           : s->options.train ? ALL
                              : FORWARD;
    if (!s->options.entries.count)
        return true;
    *out = 0;
    for (int i = 0; i < s->options.entries.count; i++) {
        int e = 0;
        while (api_entry_name(e) && strcmp(api_entry_name(e), s->options.entries.items[i]))
            e++;
        const char *wrong = !api_entry_name(e)                           ? "there is no entry '%s'"
                            : e != GRADC_RT_FORWARD && !s->options.train ? "'%s' needs --train"
                            : (e == GRADC_RT_UPDATE || e == GRADC_RT_STEP) && !s->optimizer
                                ? "'%s' needs an optimizer: --train=OPT"
                                : NULL;
        if (wrong) {
            api_usage(s, base_format(s->arena, "--entries: %s", wrong),
                      s->options.entries.items[i]);
            return false;
        }
        *out |= 1u << e;
    }
    return true;
}

/* Inputs by --wrt, as indices of f's parameters. */
static bool choose_inputs(api_session *s, const ir_func *f, int *out, int *n)
{
    const char **name = base_array(s->arena, const char *, f->params.count + 1);
    int *index = base_array(s->arena, int, f->params.count + 1), count = 0;
    for (int i = 0; i < f->params.count; i++)
        if (f->params.items[i].bind == IR_INPUT &&
            ir_is_float(f->params.items[i].value->type.dtype)) {
            index[count] = i;
            name[count++] = f->params.items[i].name;
        }
    bool *chosen = base_array(s->arena, bool, count + 1),
         all = s->options.grad && !s->options.wrt.count;
    if (!api_choose(s, "wrt", &s->options.wrt, name, count, chosen))
        return false;
    *n = 0;
    for (int k = 0; k < count; k++)
        if (chosen[k] || all)
            out[(*n)++] = index[k];
    return true;
}

/* Results with a cotangent: the loss, unless backward starts elsewhere, and those named. */
static bool choose_outputs(api_session *s, const ir_func *f, int *out, int *n)
{
    int named = s->options.cotangent.count + s->options.cotangents.count;
    *n = 0;
    if (f->loss >= 0 && !s->options.cotangent.count)
        out[(*n)++] = f->loss;
    for (int k = 0; k < named; k++) {
        const char *name = k < s->options.cotangent.count
                               ? s->options.cotangent.items[k].name
                               : s->options.cotangents.items[k - s->options.cotangent.count];
        int i = find_output(f, name);
        if (i < 0 || !ir_is_float(f->results.items[i].value->type.dtype)) {
            api_usage(s,
                      i < 0 ? "--cotangent: there is no output '%s'"
                            : "--cotangent: output '%s' is not a float tensor",
                      name);
            return false;
        }
        bool twice = false;
        for (int j = 0; j < *n; j++)
            twice |= out[j] == i;
        if (!twice)
            out[(*n)++] = i;
    }
    return true;
}

/* A trainable parameter is updated by the optimizer, or by the caller from its gradient, so the
 * graph must not update it too. */
static bool updates_no_parameter(api_session *s, const ir_func *f)
{
    for (int i = 0; i < f->results.count; i++) {
        const ir_port *p = &f->results.items[i];
        if (p->bind != IR_STATE || p->state->kind != IR_PARAM || !p->state->trainable)
            continue;
        api_error(s, "@%s updates '%s', which also trains; --freeze=%s leaves it to the graph",
                  f->name, p->state->name, p->state->name);
        return false;
    }
    return true;
}

static bool build_entries(api_session *s, ir_module *m, ir_func *f, unsigned wanted)
{
    bool step = wanted >> GRADC_RT_STEP & 1,
         split = wanted & ~(1u << GRADC_RT_STEP | 1u << GRADC_RT_FORWARD);
    int *wrt = base_array(s->arena, int, f->params.count + 1),
        *cotangents = base_array(s->arena, int, f->results.count + 1);
    bool *no_decay = base_array(s->arena, bool, m->states.count + 1);
    train_options o = {.optimizer = s->optimizer,
                       .wrt = wrt,
                       .cotangents = cotangents,
                       .no_decay = no_decay,
                       .step = step,
                       .split = split};
    if (!updates_no_parameter(s, f) || !choose_inputs(s, f, wrt, &o.nwrt) ||
        !choose_outputs(s, f, cotangents, &o.ncotangents) ||
        !choose_states(s, "no-decay", &s->options.no_decay, m, no_decay))
        return false;
    /* With --cotangent of `run`, the loss counts only if it is named, and inputs that only it needs
     * may be missing. */
    if (s->options.cotangent.count)
        f->loss = -1;
    if (f->loss < 0 && ((s->optimizer && step) || !o.ncotangents))
        return miss_loss(s, f);
    return train_build(m, &o);
}

/* The first given option that is about backward; NULL: none. */
static const char *needs_backward(const api_options *o)
{
    return o->wrt.count                                ? "wrt"
           : o->cotangent.count || o->cotangents.count ? "cotangent"
           : o->no_decay.count                         ? "no-decay"
                                                       : NULL;
}

bool api_check_names(api_session *s, ir_module *m)
{
    ir_func *f = ir_entry_by_name(m, "forward");
    bool *unused = base_array(s->arena, bool, m->states.count + 1);
    int *index = base_array(s->arena, int, f->params.count + f->results.count + 1), n;
    bool ok = api_check_layers(s) && choose_trainable(s, m);
    ok &= choose_states(s, "no-decay", &s->options.no_decay, m, unused);
    ok &= choose_inputs(s, f, index, &n);
    /* --attach-loss adds an output. */
    return (s->options.attach_loss || (find_loss(s, f) && choose_outputs(s, f, index, &n))) && ok;
}

/* A text that was written after training entries were built already has them; building them again
 * would make others beside them. */
static bool is_built(api_session *s, const ir_module *m)
{
    const char *found = NULL;
    for (int e = GRADC_RT_FORWARD + 1; e < (int)GRADC_RT_KINDS && !found; e++)
        found = ir_entry_by_name(m, api_entry_name(e)) ? api_entry_name(e) : NULL;
    if (found)
        api_error(s,
                  "%s: entry @%s already exists; compile this file without --train and --entries",
                  s->path, found);
    return found;
}

bool api_train(api_session *s, ir_module *m)
{
    ir_func *forward = ir_entry_by_name(m, "forward"), *train = ir_root_by_name(m, "train");
    unsigned wanted;
    if (!api_check_extent(s, m))
        return false;
    for (int k = 0; k < 2; k++) {
        ir_func *f = k ? train : forward;
        if (f && ((s->options.attach_loss && !api_attach_loss(s, f)) || !find_loss(s, f)))
            return false;
    }
    if (s->options.entries.count && is_built(s, m))
        return false;
    if (!api_check_layers(s) || !choose_trainable(s, m) || !wanted_entries(s, &wanted))
        return false;
    if (s->options.f64)
        pass_widen(m);
    if (!s->options.train && !s->options.grad && needs_backward(&s->options)) {
        api_usage(s, "--%s needs backward; give --train%s", needs_backward(&s->options),
                  s->verb == API_RUN ? " or --grad" : "");
        return false;
    }
    forward->entry = true;
    s->trains = wanted & ~(1u << GRADC_RT_FORWARD);
    if (m == s->module[0])
        api_warn(s, m);
    if (s->trains && (is_built(s, m) || !build_entries(s, m, train ? train : forward, wanted)))
        return false;
    if (!s->trains && train)
        ir_func_remove(train);
    if (!(wanted >> GRADC_RT_FORWARD & 1))
        ir_func_remove(forward);
    pass_drop_functions(m);
    return true;
}
