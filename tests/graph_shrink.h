/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shrinks a graph as long as it fails in the same way: drops results, replaces instructions by an
 * operand, an input or a constant, makes extents smaller throughout. Each candidate is text, and is
 * tried in a process of its own. */
#ifndef TESTS_GRAPH_SHRINK_H
#define TESTS_GRAPH_SHRINK_H

#include "tests/graph_check.h"

#include <ctype.h>
#include <time.h>

/* Writes into fault what is wrong with a text in a configuration, in these stages; nothing if all
 * is well. */
typedef void shrink_try(const char *text, uint64_t seed, int config, int stages, char *fault,
                        size_t size);

/* A fault without numbers, names and configuration: the same for faults of one kind. */
static inline void shrink_kind(const char *fault, char *kind, size_t size)
{
    static const char *const kinds[] = {
        "slope is", "other bits than", "forward_train: `", "backward: `",       "update: `",
        "step: `",  "forward: `",      "changed",          "printed otherwise", "time out"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strstr(fault, kinds[i])) {
            snprintf(kind, size, "%s", kinds[i]);
            return;
        }
    size_t n = 0;
    for (; *fault && n + 1 < size && n < 60; fault++)
        if (!isdigit((unsigned char)*fault))
            kind[n++] = *fault;
    kind[n] = 0;
}

/* ---- Candidates ---- */

static inline bool shrink_uses(const ir_func *f, const ir_value *v)
{
    IR_FOR(inst, f)
    for (int i = 0; i < inst->noperands; i++)
        if (inst->operand[i] == v)
            return true;
    for (int i = 0; i < f->results.count; i++)
        if (f->results.items[i].value == v)
            return true;
    return false;
}

/* Without inputs and states that nothing uses. */
static inline bool shrink_params(ir_module *m)
{
    ir_func *f = graph_forward(m);
    int n = 0, had = f->params.count;
    for (int i = 0; i < had; i++)
        if (shrink_uses(f, f->params.items[i].value)) {
            f->params.items[i].value->index = n;
            f->params.items[n++] = f->params.items[i];
        }
    f->params.count = n;
    return n < had;
}

static inline bool shrink_drops_result(ir_func *f, int i)
{
    if (f->results.count < 2 || i >= f->results.count)
        return false;
    memmove(f->results.items + i, f->results.items + i + 1,
            (size_t)(f->results.count - i - 1) * sizeof *f->results.items);
    f->results.count--;
    f->loss = f->loss == i ? -1 : f->loss > i ? f->loss - 1 : f->loss;
    return true;
}

/* A name that no input has. */
static inline const char *shrink_name(const ir_func *f)
{
    for (int n = 0;; n++) {
        const char *name = base_format(f->module->arena, "n%d", n);
        bool taken = false;
        for (int i = 0; i < f->params.count; i++)
            taken |= f->params.items[i].name && !strcmp(f->params.items[i].name, name);
        if (!taken)
            return name;
    }
}

static inline bool shrink_removes(ir_inst *inst)
{
    for (int r = 0; r < inst->nresults; r++)
        if (shrink_uses(inst->func, inst->result[r]))
            return false;
    ir_remove(inst);
    return true;
}

enum { SHRINK_WAYS = 7 }; /* removed if unused; by operand 0, 1, 2, an input, zeros, ones */

/* Replaces an instruction's results in one of the ways; false if it does not apply. */
static inline bool shrink_replaces(ir_inst *inst, int way)
{
    ir_func *f = inst->func;
    ir_builder b = ir_builder_before(inst);
    bool any = false;
    if (!way--)
        return shrink_removes(inst);
    for (int r = 0; r < inst->nresults; r++) {
        ir_value *v = inst->result[r], *by = NULL;
        if (!shrink_uses(f, v))
            continue;
        if (way < 3 && way < inst->noperands && ir_type_eq(&inst->operand[way]->type, &v->type))
            by = inst->operand[way];
        else if (way == 3 && f->entry && inst->op != IR_OP_constant)
            by = ir_add_input(f, shrink_name(f), &v->type);
        else if (way > 3 &&
                 !(inst->op == IR_OP_constant &&
                   ir_literal_is_splat(IR_ATTR(inst, constant)->value)) &&
                 inst->op != IR_OP_broadcast)
            by = ir_splat(&b, &v->type, way - 4);
        if (!by)
            continue;
        ir_replace(v, by);
        any = true;
    }
    if (any)
        shrink_removes(inst);
    return any;
}

/* Replaces a result by an operand of its instruction. */
static inline bool shrink_lifts(ir_func *f, int i, int operand)
{
    ir_port *p = i < f->results.count ? &f->results.items[i] : NULL;
    if (!p || p->bind != IR_INPUT || !p->value->def || operand >= p->value->def->noperands ||
        i == f->loss)
        return false;
    p->value = p->value->def->operand[operand];
    return true;
}

/* Change number n of a module; 0: it does not apply, -1: there are no more. */
static inline int shrink_module(ir_module *m, int n)
{
    ir_func *f = graph_forward(m);
    if (n == 0) {
        pass_run_one(m, pass_by_name("dce"), true);
        return 1;
    }
    if (n == 1)
        return shrink_params(m);
    n -= 2;
    if (n < 64)
        return shrink_drops_result(f, n);
    n -= 64;
    if (n < 64 * 3)
        return shrink_lifts(f, n / 3, n % 3);
    n -= 64 * 3;
    for (int k = m->funcs.count; k-- > 0;) {
        IR_FOR_REVERSE(inst, m->funcs.items[k])
        {
            if (n < SHRINK_WAYS)
                return shrink_replaces(inst, n);
            n -= SHRINK_WAYS;
        }
    }
    return -1;
}

/* The text with one extent made another one: in types, shapes, limits and lengths. */
static inline char *shrink_extent(base_arena *a, const char *text, long from, long to)
{
    char *out = base_alloc(a, strlen(text) * 2 + 16), *at = out;
    bool inside = false, any = false;
    for (const char *s = text; *s;) {
        if (*s == '[') {
            const char *word = s;
            while (word > text && (isalnum((unsigned char)word[-1]) || word[-1] == '_'))
                word--;
            const char *name = s > text && s[-1] == '=' ? s - 1 : NULL;
            inside =
                word < s || (name && name - text > 5 &&
                             (!strncmp(name - 5, "shape", 5) || !strncmp(name - 5, "limit", 5)));
        }
        inside = inside && *s != ']' && *s != '\n';
        bool length = !strncmp(s, "length=", 7);
        if (length) {
            memcpy(at, s, 7);
            at += 7;
            s += 7;
        }
        if ((inside || length) && isdigit((unsigned char)*s) && !isalnum((unsigned char)s[-1])) {
            char *end;
            long v = strtol(s, &end, 10);
            any |= v == from;
            at += sprintf(at, "%ld", v == from ? to : v);
            s = end;
            continue;
        }
        *at++ = *s++;
    }
    *at = 0;
    return any ? out : NULL;
}

/* ---- The search ---- */

typedef struct shrinking {
    base_arena *arena;
    const char *text; /* the smallest so far */
    uint64_t seed;
    int config, stages;
    char kind[80];
    shrink_try *fails;
    time_t until;
} shrinking;

static inline bool shrink_accepts(shrinking *s, const char *text)
{
    char fault[1200], kind[80];
    if (!text || !strcmp(text, s->text) || time(NULL) > s->until)
        return false;
    s->fails(text, s->seed, s->config, s->stages, fault, sizeof fault);
    shrink_kind(fault, kind, sizeof kind);
    if (!*fault || strcmp(kind, s->kind) != 0)
        return false;
    s->text = base_strdup(s->arena, text);
    return true;
}

/* A context of its own for what one change takes. */
static inline int shrink_change(shrinking *s, int n)
{
    base_ctx *c = base_ctx_new(NULL, NULL);
    base_arena *a = base_arena_new(c);
    ir_module *m = ir_parse(c, a, s->text, strlen(s->text), "graph.gir", NULL);
    int applied = m ? shrink_module(m, n) : -1;
    if (applied > 0) {
        pass_drop_functions(m);
        applied = shrink_accepts(s, graph_printed(a, m));
    }
    base_ctx_free(c);
    return applied;
}

/* Makes s->text as small as time allows. */
static inline void shrink(shrinking *s, const char *fault, int seconds)
{
    s->until = time(NULL) + seconds;
    shrink_kind(fault, s->kind, sizeof s->kind);
    for (bool any = true; any && time(NULL) <= s->until;) {
        any = false;
        int applied = 0;
        for (int n = 0; applied >= 0 && time(NULL) <= s->until; n += applied <= 0) {
            applied = shrink_change(s, n);
            any |= applied > 0;
        }
        for (long from = 40; from > 1; from--)
            for (long to = 1; to < from; to = to < from - 1 ? from - 1 : from)
                any |= shrink_accepts(s, shrink_extent(s->arena, s->text, from, to));
    }
}

#endif
