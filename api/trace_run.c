/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Runs a piece of the record: cuts it out, and compiles it unless a piece that computes the same
 * was compiled before. */
#include "api/trace.h"
#include "api/machine.h"
#include "api/pipeline.h"

#include <stdlib.h>

enum { PROGRAMS = 128 }; /* kept at most */

typedef struct program {
    base_ctx *ctx;          /* owns all of it */
    trace_bytes key;
    api_machine *machine;
    uint64_t used;        /* number of the last run */
    struct program *next;
} program;

struct trace_programs {
    program *first;
    int count;
    uint64_t clock;
};

trace_programs *trace_programs_new(void)
{
    return calloc(1, sizeof(trace_programs));
}

void trace_programs_free(trace_programs *p)
{
    for (program *q = p ? p->first : NULL, *next; q; q = next) {
        next = q->next;
        base_ctx_free(q->ctx);
    }
    free(p);
}

int trace_programs_count(const trace_programs *p)
{
    return p->count;
}

static program *find_program(trace_programs *all, const trace_bytes *key)
{
    for (program *p = all->first; p; p = p->next)
        if (p->key.count == key->count && !memcmp(p->key.items, key->items, (size_t)key->count))
            return p;
    return NULL;
}

static void forget_oldest(trace_programs *all)
{
    program **oldest = &all->first;
    for (program **p = &all->first; *p; p = &(*p)->next)
        if ((*p)->used < (*oldest)->used)
            oldest = p;
    program *gone = *oldest;
    *oldest = gone->next;
    all->count--;
    base_ctx_free(gone->ctx);
}

/* ---- One run ---- */

typedef struct running {
    gradc *g;
    trace_run *run;
    base_ctx *ctx;    /* of the new program; unused if an old one matches */
    base_arena *arena;
    trace_cut cut;
    ir_value *cotangent;
    BASE_LIST(gradc_tensor *) out; /* results of the cut function, in order */
    int start;      /* which of them is run->from; -1: forward only */
    BASE_LIST(trace_data *) data;  /* of all results, gradients after the others */
    BASE_LIST(trace_data *) zeros;
    program *program;
    bool kept;      /* the program is in the list, and its context with it */
} running;

/* The values to compute: those wanted, the tensor where backward starts (at no extra cost), and
 * updates. */
static void list_outputs(running *r)
{
    gradc *g = r->g;
    r->start = -1;
    if (r->run->from) {
        r->start = 0;
        BASE_PUSH(r->arena, &r->out, r->run->from);
    }
    for (int i = 0; i < r->run->nwanted; i++) {
        gradc_tensor *x = r->run->wanted[i];
        if (x->value && !x->data && x != r->run->from)
            BASE_PUSH(r->arena, &r->out, x);
    } /* a leaf is known, or its update is in the list below */
    for (int i = 0; i < g->updates.count; i++) {
        gradc_tensor *to = g->updates.items[i]->update;
        if (to && !to->symbolic && !to->data)
            BASE_PUSH(r->arena, &r->out, to);
    }
}

/* Cuts out the function with its results, and computes the key of its program. */
static void cut_out(running *r, trace_bytes *key)
{
    ir_module *m = ir_module_new(r->ctx, r->arena, "trace");
    r->cut.f = ir_func_new(m, "forward");
    r->cut.scratch = r->arena;
    r->cut.through = r->run->from != NULL;
    r->cut.training = true;
    r->cut.wrt = r->run->wrt;
    r->cut.nwrt = r->run->nwrt;
    for (int i = 0; i < r->out.count; i++)
        ir_add_output(r->cut.f, base_format(r->arena, "o%d", i),
                      trace_cut_value(&r->cut, r->out.items[i]));
    r->cut.f->entry = true;
    trace_key(r->arena, &r->cut, key);
    unsigned char how = (unsigned char)((r->start >= 0) | (r->run->cotangent != NULL) << 1);
    BASE_PUSH(r->arena, key, how);
}

/* Replaces the function by one that also computes its gradients. */
static bool add_gradients(running *r)
{
    ir_func *f = r->cut.f;
    ir_module *m = f->module;
    int *inputs = base_array(r->arena, int, r->cut.inputs.count + 1), n = 0,
        results = f->results.count, params = f->params.count;
    for (int i = 0; i < r->cut.inputs.count; i++)
        if (r->cut.inputs.items[i].tensor)
            inputs[n++] = r->cut.inputs.items[i].value->index;
    bool given = r->run->cotangent != NULL;
    ad_request request = {.loss = given ? -1 : r->start,
                          .cotangents = &r->start,
                          .ncotangents = given,
                          .inputs = inputs,
                          .ninputs = n};
    ir_func *joint = ad_joint(m, f, &request, "joint");
    if (!joint)
        return false;
    for (int i = params; i < joint->params.count; i++) {
        joint->params.items[i].name = "cotangent";
        joint->params.items[i].role = IR_DATA;
    }
    for (int i = results; i < joint->results.count; i++) {
        joint->results.items[i].name = base_format(r->arena, "o%d", i);
        joint->results.items[i].role = IR_DATA;
    }
    ir_func_remove(f);
    ir_func_rename(joint, "forward");
    joint->entry = true;
    joint->loss = -1;
    return true;
}

static void compile(void *user)
{
    running *r = user;
    if (r->start >= 0 && !add_gradients(r))
        return;
    ir_module *m = r->cut.f->module;
    api_run_passes(m, NULL);
    cg_spec *spec = base_new(r->arena, cg_spec);
    cg_request *request = base_new(r->arena, cg_request);
    spec->module = m;
    *request = (cg_request){
        .prefix = "trace", .spec = spec, .nspecs = 1, .level = 2, .blas = true, .embed = true};
    const cg_object *o = base_error_count(r->ctx) ? NULL : cg_compile(r->ctx, r->arena, request);
    r->program->machine = o ? api_machine_new(r->ctx, r->arena, o, NULL) : NULL;
}

/* Whether the inputs and outputs of a program fit the runtime's limit for a call; reported if
 * not. */
static bool has_room(running *r)
{
    int n = r->cut.f->params.count + (r->run->cotangent != NULL) + r->out.count;
    for (int i = 0; i < r->cut.inputs.count; i++)
        n += r->cut.inputs.items[i].tensor != NULL;
    if (n <= (int)GRADC_RT_MAX_PORTS)
        return true;
    trace_error(r->g, r->run->function,
                "the run has %d leaves, requested values and gradients, the limit is %u; "
                "parameters of a model from gradc_compile do not count",
                n, GRADC_RT_MAX_PORTS);
    return false;
}

/* In the new context: sets r->program to an old program that matches, or to a new one. False on
 * failure. */
static bool prepare(running *r)
{
    trace_programs *all = r->g->programs;
    trace_bytes key = {0};
    r->arena = base_arena_new(r->ctx);
    list_outputs(r);
    cut_out(r, &key);
    if (r->cut.without) {
        trace_error(r->g, r->run->function, "the value depends on input '%s', which has no value",
                    r->cut.without->name);
        return false;
    }
    if (!has_room(r))
        return false;
    r->program = find_program(all, &key);
    if (r->program)
        return true;
    r->program = base_new(r->arena, program);
    r->program->ctx = r->ctx;
    r->program->key = key;
    base_on_stack(r->ctx, compile, r);
    if (!r->program->machine)
        return false;
    if (all->count == PROGRAMS)
        forget_oldest(all);
    r->program->next = all->first;
    all->first = r->program;
    all->count++;
    r->kept = true;
    return true;
}

static trace_data *new_data(running *r, const ir_type *t, bool zero)
{
    /* The list grows first: that may throw, and then nobody would free the data. */
    if (zero)
        BASE_PUSH(r->arena, &r->zeros, NULL);
    else
        BASE_PUSH(r->arena, &r->data, NULL);
    trace_data *d = trace_data_try(t);
    if (!d)
        base_throw(r->ctx, NULL, "out of memory");
    if (zero) {
        memset(d->bytes, 0, (size_t)ir_bytes(t));
        r->zeros.items[r->zeros.count - 1] = d;
    } else {
        r->data.items[r->data.count - 1] = d;
    }
    return d;
}

static void bind_result(running *r, const ir_type *t)
{
    const char *name = base_format(r->arena, "o%d", r->data.count);
    api_machine_set(r->program->machine, CG_OUTPUTS, name, new_data(r, t, false)->bytes);
}

/* Binds inputs and results, and calls. */
static bool call(running *r)
{
    api_machine *m = r->program->machine;
    for (int i = 0; i < r->cut.inputs.count; i++) {
        const trace_input *in = &r->cut.inputs.items[i];
        trace_data *d = in->data ? in->data : new_data(r, &in->value->type, true);
        api_machine_set(m, CG_INPUTS, base_format(r->arena, "i%d", i), d->bytes);
    }
    if (r->run->cotangent)
        api_machine_set(m, CG_INPUTS, "cotangent", r->run->cotangent->data->bytes);
    for (int i = 0; i < r->out.count; i++)
        bind_result(r, &r->out.items[i]->type);
    for (int i = 0; i < r->cut.inputs.count; i++)
        if (r->cut.inputs.items[i].tensor)
            bind_result(r, &r->cut.inputs.items[i].value->type);
    r->program->used = ++r->g->programs->clock;
    return api_machine_ok(m, GRADC_RT_FORWARD, api_machine_call(m, GRADC_RT_FORWARD, false));
}

/* ---- After a run ---- */

/* Applies updates whose value is known. */
static void settle(gradc *g)
{
    int n = 0;
    for (int i = 0; i < g->updates.count; i++) {
        gradc_tensor *x = g->updates.items[i], *to = x->update;
        if (to && to->data) {
            x->update = NULL;
            trace_set_data(x, trace_hold(to->data));
        } else if (to) {
            g->updates.items[n++] = x;
        } /* else it was already applied, or dropped */
    }
    g->updates.count = n;
    n = 0;
    for (int i = 0; i < g->waiting.count; i++) {
        trace_leaf *leaf = g->waiting.items[i];
        if (leaf->tensor->update)
            g->waiting.items[n++] = leaf;
        else
            leaf->data = trace_hold(leaf->tensor->data);
    }
    g->waiting.count = n;
}

/* Drops updates that cannot be computed: leaves keep their values. */
static void give_up_updates(gradc *g)
{
    for (int i = 0; i < g->updates.count; i++) {
        gradc_tensor *x = g->updates.items[i];
        if (x->update && !x->update->symbolic)
            x->update = NULL;
    }
    settle(g);
}

/* Hands each result to its owner. */
static void distribute(running *r)
{
    int n = 0;
    for (int i = 0; i < r->out.count; i++) {
        gradc_tensor *x = r->out.items[i];
        if (x->value && !x->data)
            x->data = trace_hold(r->data.items[n]);
        n++;
    }
    settle(r->g);
    for (int i = 0; i < r->cut.inputs.count; i++)
        if (r->cut.inputs.items[i].tensor)
            r->run->take(r->run, r->cut.inputs.items[i].tensor, trace_hold(r->data.items[n++]));
}

/* Everything that may throw in the new context; false when it did. r is the caller's, so that it
 * can be read after a throw. */
static bool guarded(running *r)
{
    base_try frame;
    if (setjmp(base_try_push(r->ctx, &frame)))
        return false;
    bool ok = prepare(r) && (!r->out.count || call(r));
    base_try_pop(r->ctx, &frame);
    return ok;
}

static void execute(gradc *g, void *user)
{
    running *r = user;
    for (int i = 0; i < r->run->nwanted; i++) /* may throw in the record's context: not later */
        trace_value(r->run->wanted[i]);
    if (r->run->from)
        trace_value(r->run->from);
    r->ctx = base_ctx_new(trace_sink, g);
    if (!r->ctx) {
        trace_error(g, r->run->function, "out of memory");
        return;
    }
    bool ok = guarded(r);
    if (ok)
        distribute(r);
    for (int i = 0; i < r->data.count; i++)
        trace_drop(r->data.items[i]);
    for (int i = 0; i < r->zeros.count; i++)
        trace_drop(r->zeros.items[i]);
    if (!r->kept)
        base_ctx_free(r->ctx);
    if (ok)
        r->run = NULL;
}

bool trace_execute(gradc *g, trace_run *run)
{
    /* Leaves get their values before their gradients are computed. */
    if (run->from && g->waiting.count) {
        trace_run first = {.function = run->function};
        if (!trace_execute(g, &first))
            return false;
    }
    running r = {.g = g, .run = run};
    g->asking = run->function;
    trace_try(g, execute, &r);
    g->asking = NULL;
    /* An error in what was wanted does not lose updates … */
    if (r.run && (run->nwanted || run->from))
        trace_execute(g, &(trace_run){.function = run->function});
    else if (r.run) /* … and an update with an error of its own does not make all later runs fail */
        give_up_updates(g);
    return !r.run;
}

bool trace_evaluate(gradc *g, const char *function, gradc_tensor *const *x, int n)
{
    bool due = false;
    if (!g)
        return false;
    if (n < 0 || (n && !x)) {
        trace_error(g, function, "the list of tensors is NULL, or n is negative");
        return false;
    }
    for (int i = 0; i < n; i++) {
        if ((!x[i] && g->failed) || !trace_mine(g, function, x[i]))
            return false;
        if (x[i]->symbolic && !x[i]->value) {
            trace_error(g, function, "input '%s' has no value", x[i]->name);
            return false;
        }
        if (x[i]->update && x[i]->update->symbolic) {
            trace_error(g, function, "the value of '%s' depends on an input, which has no value",
                        x[i]->name ? x[i]->name : "a tensor");
            return false;
        }
        due |= !x[i]->data || x[i]->update;
    }
    return !due || trace_execute(g, &(trace_run){.function = function, .wanted = x, .nwanted = n});
}

bool trace_become_leaf(gradc *g, const char *function, gradc_tensor *x)
{
    if (!x->value || x->node)
        return true;
    if (!trace_evaluate(g, function, &x, 1))
        return false;
    x->value->aux = NULL;
    x->value = NULL;
    return true;
}
