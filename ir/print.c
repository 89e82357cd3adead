/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * IR to text; see docs/text-form.md. Nothing in the module is changed, not even scratch numbers, so
 * a module can be printed while a pass runs. A value is shown by its name if the name is short and
 * no other value of its function has it, else by its number in order. */
#include "ir/kernels.h"
#include "base/path.h"
#include "ir/text.h"

#include <string.h>

typedef struct label {
    const ir_func *func;
    int number;
    const char *name; /* raw, or NULL */
    bool by_name;
} label;

typedef struct printer {
    FILE *f;
    base_arena *arena; /* scratch */
    base_map labels;   /* value -> label */
    struct ir_side *side;
    const char *source; /* the file that locations are in unless they say otherwise */
    int large;          /* constants named so far */
    int64_t splat_bytes; /* as the parser counts them */
} printer;

/* ---- Labels ---- */

/* The raw name of a parameter: its port's, if that has one. */
static const char *param_name(const ir_port *p)
{
    return p->bind == IR_STATE ? p->state->name : p->name ? p->name : p->value->name;
}

static void add_label(printer *p, base_map *seen, const ir_func *f, const ir_value *v,
                      const char *name, int number)
{
    enum { LONGEST = 64 };
    label *l = base_new(p->arena, label);
    *l = (label){f, number, name, name && *name && strlen(name) <= LONGEST};
    if (l->by_name) {
        label *other = base_map_get_text(seen, name);
        if (other)
            l->by_name = other->by_name = false;
        else
            base_map_put_text(seen, name, l);
    }
    base_map_put_ptr(&p->labels, v, l);
}

static void label_values(printer *p, const ir_func *f)
{
    base_map seen = base_map_new(p->arena);
    int number = 0;
    for (int i = 0; i < f->params.count; i++)
        add_label(p, &seen, f, f->params.items[i].value, param_name(&f->params.items[i]), number++);
    IR_FOR (inst, f)
        for (int i = 0; i < inst->nresults; i++)
            add_label(p, &seen, f, inst->result[i], inst->result[i]->name, number++);
}

static void print_name(FILE *f, const char *sign, const char *name)
{
    fputs(sign, f);
    if (base_is_word(name))
        fputs(name, f);
    else
        base_print_string(f, name);
}

/* Without a table of labels (single instructions) a value is printed as its scratch number. */
static void print_value(const printer *p, const ir_value *v)
{
    const label *l = p->arena ? base_map_get_ptr(&p->labels, v) : NULL;
    if (!v || (p->arena && !l))
        fputs("%?", p->f);
    else if (l && l->by_name)
        print_name(p->f, "%", l->name);
    else
        fprintf(p->f, "%%%d", l ? l->number : v->id);
}

/* Where a value is defined its name follows, unless the label is the name. */
static void print_definition(const printer *p, const ir_value *v)
{
    print_value(p, v);
    const label *l = p->arena ? base_map_get_ptr(&p->labels, v) : NULL;
    if (l && l->name && !l->by_name) {
        putc(' ', p->f);
        base_print_string(p->f, l->name);
    }
}

/* ---- Types and literals ---- */

static void print_ints(FILE *f, int n, const int64_t *v)
{
    for (int i = 0; i < n; i++)
        fprintf(f, i ? ",%lld" : "[%lld", (long long)v[i]);
    fputs(n ? "]" : "[]", f);
}

static void print_type(FILE *f, const ir_type *t)
{
    fputs(ir_dtypes[t->dtype].name, f);
    print_ints(f, t->rank, t->dim);
}

static void print_element(FILE *f, const ir_literal *l, int64_t i)
{
    char text[IR_ELEMENT_TEXT];
    ir_format_element(text, l->type.dtype,
                      (const char *)l->data + i * ir_dtypes[l->type.dtype].bytes);
    fputs(text, f);
}

/* Nested lists, a level a dimension; *at counts elements. */
static void print_elements(FILE *f, const ir_literal *l, int dimension, int64_t *at)
{
    if (dimension == l->type.rank) {
        print_element(f, l, (*at)++);
        return;
    }
    putc('[', f);
    for (int64_t i = 0; i < l->type.dim[dimension]; i++) {
        if (i)
            fputs(", ", f);
        print_elements(f, l, dimension + 1, at);
    }
    putc(']', f);
}

/* Printed neither as its elements nor as a splat. A reader accepts only so many bytes of splats in
 * all: *splats counts them, in the order of printing. */
static bool is_large(const ir_literal *l, int64_t *splats)
{
    int64_t bytes = ir_bytes(&l->type);
    return ir_count(&l->type) > IR_INLINE_ELEMENTS &&
           (!ir_literal_is_splat(l) || bytes > IR_MAX_FOLD_BYTES ||
            !base_size_within(splats, bytes, IR_MAX_UNPACKED_BYTES));
}

/* The name in the side file: the existing one if the literal is shared. */
static const char *large_name(printer *p, ir_literal *l, const char *name)
{
    const char *known = p->side ? base_map_get_ptr(&p->side->names, l) : NULL;
    if (known || !p->side)
        return known ? known : name;
    name = base_strdup(p->side->arena, name);
    base_map_put_ptr(&p->side->names, l, (void *)(uintptr_t)name);
    ir_tensor t = {name, l};
    BASE_PUSH(p->side->arena, &p->side->tensors, t);
    return name;
}

/* A name that JSON and every reader can carry. */
static const char *side_name(printer *p, const ir_state *s)
{
    static const char prefix[] = "state/";
    if (!s)
        return base_format(p->arena, "constant/%d", p->large++);
    if (strlen(s->name) + sizeof prefix > IR_MAX_NAME)
        return base_format(p->arena, "states/%d", s->index);
    for (const char *c = s->name; *c; c++)
        if (*c < ' ' || *c > '~')
            return base_format(p->arena, "states/%d", s->index);
    return base_format(p->arena, "%s%s", prefix, s->name);
}

static void print_literal(printer *p, ir_literal *l, const ir_state *state)
{
    int64_t at = 0, count = ir_count(&l->type);
    if (!p->arena && count > IR_INLINE_ELEMENTS) {
        fputs("…", p->f);
    } else if (p->arena && is_large(l, &p->splat_bytes)) {
        fputs("large(", p->f);
        base_print_string(p->f, large_name(p, l, side_name(p, state)));
        putc(')', p->f);
    } else if (count > 4 && ir_literal_is_splat(l)) {
        fputs("splat(", p->f);
        print_element(p->f, l, 0);
        putc(')', p->f);
    } else if (count) {
        print_elements(p->f, l, 0, &at);
    } else {
        fputs("[]", p->f);
    }
}

/* ---- Instructions ---- */

/* In a module that the verifier refuses the choice may be anything. */
static const char *choice_name(const char *const *names, unsigned choice)
{
    for (unsigned i = 0; names[i]; i++)
        if (i == choice)
            return names[i];
    return "?";
}

static void print_attr(printer *p, const ir_attr_info *info, const void *field)
{
    const ir_ints *ints = field;
    if ((info->kind == IR_ATTR_ints && !ints->n) ||
        (info->kind == IR_ATTR_func && !*(ir_func *const *)field) ||
        (info->kind == IR_ATTR_accumulator && *(const ir_dtype *)field == IR_BOOL))
        return; /* an empty list, no function, no accumulator: the defaults */
    fprintf(p->f, " %s=", info->name);
    switch (info->kind) {
    case IR_ATTR_int: fprintf(p->f, "%lld", (long long)*(const int64_t *)field); break;
    case IR_ATTR_ints: print_ints(p->f, ints->n, ints->v); break;
    case IR_ATTR_float: {
        char text[IR_ELEMENT_TEXT];
        ir_format_element(text, IR_F64, field);
        fputs(text, p->f);
        break;
    }
    case IR_ATTR_dtype:
    case IR_ATTR_accumulator: fputs(ir_dtypes[*(const ir_dtype *)field].name, p->f); break;
    case IR_ATTR_relation:
        fputs(choice_name(ir_relation_names, *(const ir_relation *)field), p->f);
        break;
    case IR_ATTR_combine:
        fputs(choice_name(ir_combine_names, *(const ir_combine *)field), p->f);
        break;
    case IR_ATTR_func: print_name(p->f, "@", (*(ir_func *const *)field)->name); break;
    case IR_ATTR_literal: print_literal(p, *(ir_literal *const *)field, NULL); break;
    }
}

/* A position in a text is not printed: the text itself shows it. */
static bool has_origin(const base_loc *loc)
{
    return loc && (loc->node >= 0 || loc->name || loc->op);
}

static void print_loc(const printer *p, const base_loc *loc)
{
    if (loc->node >= 0)
        fprintf(p->f, " node %d", loc->node);
    const struct { const char *word, *text;
    } texts[] = {
        {"op", loc->op},
        {"name", loc->name},
        {"file", !loc->file                                   ? (p->source ? "" : NULL)
                 : p->source && !strcmp(loc->file, p->source) ? NULL
                                                              : loc->file},
    };
    for (int i = 0; i < 3; i++)
        if (texts[i].text) {
            fprintf(p->f, " %s ", texts[i].word);
            base_print_string(p->f, texts[i].text);
        }
    if (loc->line > 0)
        fprintf(p->f, " line %d:%d", loc->line, loc->column);
}

static void print_annotations(printer *p, const ir_inst *inst)
{
    const label *primal = inst->primal && inst->primal->nresults
                              ? base_map_get_ptr(&p->labels, inst->primal->result[0])
                              : NULL;
    if (inst->phase != IR_FORWARD || primal || has_origin(inst->loc))
        fputs("  !", p->f);
    if (inst->phase != IR_FORWARD)
        fprintf(p->f, " %s", ir_phase_names[inst->phase]);
    if (primal) {
        fputs(" of ", p->f);
        if (primal->func != inst->func) {
            print_name(p->f, "@", primal->func->name);
            putc(' ', p->f);
        }
        print_value(p, inst->primal->result[0]);
    }
    if (has_origin(inst->loc))
        print_loc(p, inst->loc);
}

static void print_order(FILE *f, const ir_ints *order)
{
    if (order->n) {
        fputs(" order ", f);
        print_ints(f, order->n, order->v);
    }
}

/* What the passes layout, fuse and plan decided: a comment, for the reader only. */
static void print_places(const printer *p, const ir_inst *inst)
{
    static const char *const places[] = {"", "scratch", "parameter", "result", "data"};
    const char *before = "  //";
    bool planned = inst->func->plan && inst->func->plan->phases;
    for (int i = 0; i < inst->nresults; i++) {
        const ir_value *v = inst->result[i];
        if (v->place == IR_NOWHERE && !v->kernel && !v->order.n)
            continue;
        fputs(before, p->f);
        if (v->kernel)
            fprintf(p->f, planned ? " %s %d phase %d" : " %s %d",
                    ir_kernel_kind_names[v->kernel->kind], v->kernel->index, v->kernel->phase);
        if (v->place != IR_NOWHERE)
            fprintf(p->f, v->shift ? " at %s %lld+%lld" : " at %s %lld", places[v->place],
                    (long long)v->offset, (long long)v->shift);
        print_order(p->f, &v->order);
        before = ",";
    }
}

static void print_schedule(FILE *f, const ir_plan *s)
{
    if (s && (s->phases || !s->kernels.count))
        fprintf(f, "    // %d kernels in %d phases, scratch %lld bytes\n", s->kernels.count,
                s->phases, (long long)s->scratch);
    else if (s) /* not planned yet */
        fprintf(f, "    // %d kernels\n", s->kernels.count);
}

static void print_core(printer *p, const ir_inst *inst)
{
    const ir_op_info *info = &ir_ops[inst->op];
    for (int i = 0; i < inst->nresults; i++) {
        fputs(i ? ", " : "", p->f);
        print_definition(p, inst->result[i]);
    }
    fprintf(p->f, "%s%s", inst->nresults ? " = " : "", info->name);
    for (int i = 0; i < inst->noperands; i++) {
        fputs(i ? ", " : " ", p->f);
        print_value(p, inst->operand[i]);
    }
    for (int i = 0; i < info->nattrs; i++)
        print_attr(p, &info->attr[i], (const char *)inst->attrs + info->attr[i].offset);
    for (int i = 0; i < inst->nresults; i++) {
        fputs(i ? ", " : " : ", p->f);
        print_type(p->f, &inst->result[i]->type);
    }
}

void ir_print_inst(FILE *out, const ir_inst *inst)
{
    printer p = {.f = out};
    print_core(&p, inst);
}

/* ---- Functions ---- */

static void print_dims(FILE *f, const ir_port *port)
{
    if (!port->dim_names)
        return;
    fputs(" dims(", f);
    for (int i = 0; i < port->value->type.rank; i++) {
        fputs(i ? ", " : "", f);
        if (!port->dim_names[i])
            putc('_', f);
        else if (strcmp(port->dim_names[i], "_"))
            print_name(f, "", port->dim_names[i]);
        else
            fputs("\"_\"", f);
    }
    putc(')', f);
}

static void print_params(printer *p, const ir_func *f, const char *gap)
{
    static const char *const roles[] = {"input ", "gradient ", "hyper "};
    for (int i = 0; i < f->params.count; i++) {
        const ir_port *port = &f->params.items[i];
        fputs(gap, p->f);
        fputs(port->bind == IR_STATE                ? "state "
              : port->name || port->role != IR_DATA ? roles[port->role]
                                                    : "",
              p->f);
        print_definition(p, port->value);
        fputs(" : ", p->f);
        print_type(p->f, &port->value->type);
        print_dims(p->f, port);
        if (i + 1 < f->params.count)
            putc(',', p->f);
    }
}

static void print_results(printer *p, const ir_func *f, const char *gap)
{
    static const char *const roles[] = {"output ", "gradient ", "hyper "};
    for (int i = 0; i < f->results.count; i++) {
        const ir_port *port = &f->results.items[i];
        const char *name = port->bind == IR_STATE ? port->state->name : port->name;
        fputs(gap, p->f);
        fputs(port->bind == IR_STATE          ? "update "
              : name || port->role != IR_DATA ? roles[port->role]
                                              : "",
              p->f);
        if (name) {
            base_print_string(p->f, name);
            putc(' ', p->f);
        }
        print_value(p, port->value);
        if (f->loss == i)
            fputs(" loss", p->f);
        print_dims(p->f, port);
        if (i + 1 < f->results.count)
            putc(',', p->f);
    }
}

/* True when ports consist of nothing but values. */
static bool is_bare(const ir_port *ports, int n)
{
    for (int i = 0; i < n; i++)
        if (ports[i].name || ports[i].bind == IR_STATE || ports[i].role != IR_DATA ||
            ports[i].dim_names)
            return false;
    return true;
}

static void print_func(printer *p, const ir_func *f)
{
    bool plain = is_bare(f->params.items, f->params.count);
    print_name(p->f, f->entry ? "entry @" : "func @", f->name);
    putc('(', p->f);
    print_params(p, f, plain ? " " : "\n    ");
    fputs(plain ? f->params.count ? " ) {\n" : ") {\n" : "\n) {\n", p->f);
    print_schedule(p->f, f->plan);
    IR_FOR (inst, f) {
        fputs("    ", p->f);
        print_core(p, inst);
        print_annotations(p, inst);
        print_places(p, inst);
        putc('\n', p->f);
    }
    plain = is_bare(f->results.items, f->results.count) && f->loss < 0;
    fputs(plain ? "    return" : "    return (", p->f);
    print_results(p, f, plain ? " " : "\n        ");
    fputs(plain ? "\n}\n" : "\n    )\n}\n", p->f);
}

void ir_print_func(FILE *out, const ir_func *f)
{
    printer p = {.f = out, .arena = base_arena_new(f->module->ctx)};
    p.labels = base_map_new(p.arena);
    label_values(&p, f);
    print_func(&p, f);
    base_arena_free(p.arena);
}

/* ---- Modules ---- */

static void print_state(printer *p, const ir_state *s)
{
    fprintf(p->f, "%s ", ir_state_kind_names[s->kind]);
    base_print_string(p->f, s->name);
    fputs(" : ", p->f);
    print_type(p->f, &s->type);
    if (s->trainable)
        fputs(" trainable", p->f);
    if (s->of) {
        fputs(" of ", p->f);
        base_print_string(p->f, s->of->name);
    }
    if (s->why) {
        fputs(" why ", p->f);
        base_print_string(p->f, s->why);
    }
    if (s->init) {
        fputs(" init ", p->f);
        print_literal(p, s->init, s);
    }
    fputs(s->order.n ? "  //" : "", p->f);
    print_order(p->f, &s->order);
    putc('\n', p->f);
}

/* The file of the first location, most likely that of all. */
static const char *first_file(const ir_module *m)
{
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR (inst, m->funcs.items[i])
            if (has_origin(inst->loc) && inst->loc->file && *inst->loc->file)
                return inst->loc->file;
    return NULL;
}

void ir_print(FILE *out, const ir_module *m, struct ir_side *side)
{
    printer p = {.f = out, .arena = base_arena_new(m->ctx), .side = side, .source = first_file(m)};
    p.labels = base_map_new(p.arena);
    for (int i = 0; i < m->funcs.count; i++)
        label_values(&p, m->funcs.items[i]);
    fprintf(out, "gir %d\nmodule ", IR_TEXT_VERSION);
    base_print_string(out, m->name);
    putc('\n', out);
    if (p.source) {
        fputs("source ", out);
        base_print_string(out, p.source);
        putc('\n', out);
    }
    for (int i = 0; i < m->states.count; i++) {
        fputs(i ? "" : "\n", out);
        print_state(&p, m->states.items[i]);
    }
    for (int i = 0; i < m->funcs.count; i++) {
        putc('\n', out);
        print_func(&p, m->funcs.items[i]);
    }
    base_arena_free(p.arena);
}

bool ir_has_large(const ir_module *m)
{
    int64_t splats = 0;
    for (int i = 0; i < m->states.count; i++)
        if (m->states.items[i]->init && is_large(m->states.items[i]->init, &splats))
            return true;
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR (inst, m->funcs.items[i])
            if (inst->op == IR_OP_constant && is_large(IR_ATTR(inst, constant)->value, &splats))
                return true;
    return false;
}
