/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * gradc_compile: makes a module of a graph of inputs, and compiles it like one from a file. */
#include "api/session.h"
#include "api/trace.h"
#include "base/path.h"

static const char function[] = "gradc_compile";

typedef struct compiling {
    gradc *g;
    const gradc_output *outputs;
    int n;
    const char *path;
    const char *const *options;
    base_ctx *ctx;
    base_arena *arena;
    ir_module *m;
    bool ok;
} compiling;

/* Errors are reported under this function's name, unless they have an operation of the record. */
static void sink(void *g, const base_diagnostic *d)
{
    const base_loc *loc = d->loc;
    const char *name = d->warning ? d->warning->name : NULL;
    if (d->severity != BASE_ERROR)
        return;
    trace_error(g, loc && !loc->file && loc->op ? loc->op : function, "%s%s%s%s%s%s",
                loc && loc->file ? loc->file : "", loc && loc->file ? ": " : "", d->text,
                name ? " [-Werror,-W" : "", name ? name : "", name ? "]" : "");
}

static void compile(void *user)
{
    compiling *w = user;
    api_session *s = api_session_in(w->ctx, w->arena);
    if (!api_set_option(s, API_COMPILE, "output", base_format(w->arena, "%s.o", w->path)) ||
        !api_set_option(s, API_COMPILE, "prefix", base_file_name(w->path)))
        return;
    for (const char *const *o = w->options; o && *o; o++)
        if (!api_option_string(s, API_COMPILE, *o))
            return;
    api_outputs written;
    w->ok = api_take(s, API_COMPILE, w->m, w->path) && api_optimise(s) && api_compile(s) &&
            api_write_outputs(s, &written);
}

static bool guarded(compiling *w)
{
    base_try frame;
    if (setjmp(base_try_push(w->ctx, &frame)))
        return false;
    w->arena = base_arena_new(w->ctx);
    w->m = trace_model(w->g, function, w->ctx, w->arena, base_file_name(w->path), w->outputs, w->n);
    if (w->m)
        base_on_stack(w->ctx, compile, w);
    base_try_pop(w->ctx, &frame);
    return w->ok && !base_error_count(w->ctx);
}

static void run(gradc *g, void *user)
{
    compiling *w = user;
    for (int i = 0; i < w->n; i++) /* may throw in the record's context, so not later */
        if (w->outputs[i].tensor)
            trace_value(w->outputs[i].tensor);
    w->ctx = base_ctx_new(sink, g);
    w->ok = w->ctx && guarded(w);
    if (!w->ok)
        trace_error(g, function, "out of memory"); /* without effect after another error */
    base_ctx_free(w->ctx);
}

int gradc_compile(gradc *g, const gradc_output *outputs, int n, const char *path,
                  const char *const *options)
{
    compiling w = {.g = g, .outputs = outputs, .n = n, .path = path, .options = options};
    if (!g || g->failed)
        return -1;
    if (!path || !*base_file_name(path)) {
        trace_error(g, function, "the path has no file name");
        return -1;
    }
    if (n < 1 || !outputs) {
        trace_error(g, function, "expected at least one output");
        return -1;
    }
    if (g->updates.count && !trace_execute(g, &(trace_run){.function = function}))
        return -1;
    trace_try(g, run, &w);
    return w.ok ? 0 : -1;
}
