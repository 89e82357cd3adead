/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Prints the module as text, or as a graph for Graphviz. */
#include "api/session.h"
#include "files/gir.h"

#include <string.h>

/* Text in a double-quoted DOT string. */
static void print_dot_text(FILE *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20 || *c >= 0x7f)
            fprintf(out, "?");
        else
            fputc(*c, out);
}

static const char *const colours[] = {"white", "lightblue", "lightyellow"}; /* by phase */

static void print_node(FILE *out, base_arena *arena, const ir_inst *inst, int number)
{
    fprintf(out, "    f%di%d [style=filled, fillcolor=%s, label=\"%s", number, inst->id,
            colours[inst->phase], ir_ops[inst->op].name);
    for (int i = 0; i < inst->nresults; i++)
        fprintf(out, "\\n%s", ir_type_text(arena, &inst->result[i]->type));
    if (inst->loc && inst->loc->name && *inst->loc->name) {
        fputs("\\n", out);
        print_dot_text(out, inst->loc->name);
    }
    fputs("\"];\n", out);
}

static void print_port(FILE *out, base_arena *arena, const ir_port *p, int number, char kind, int i)
{
    fprintf(out, "    f%d%c%d [shape=%s, label=\"", number, kind, i,
            p->state ? "box3d" : "ellipse");
    print_dot_text(out, p->state ? p->state->name : p->name ? p->name : "");
    fprintf(out, "\\n%s\"];\n", ir_type_text(arena, &p->value->type));
}

static void print_edge(FILE *out, const ir_value *from, int number, char kind, int to)
{
    fprintf(out, "    f%d%c%d -> f%d%c%d;\n", number, from->def ? 'i' : 'p',
            from->def ? from->def->id : from->index, number, kind, to);
}

static void print_func(FILE *out, base_arena *arena, ir_func *f, int number)
{
    ir_number(f);
    fprintf(out, "  subgraph cluster_%d {\n    label=\"@", number);
    print_dot_text(out, f->name);
    fputs("\";\n", out);
    for (int i = 0; i < f->params.count; i++)
        print_port(out, arena, &f->params.items[i], number, 'p', i);
    IR_FOR (inst, f) {
        print_node(out, arena, inst, number);
        for (int i = 0; i < inst->noperands; i++)
            print_edge(out, inst->operand[i], number, 'i', inst->id);
    }
    for (int i = 0; i < f->results.count; i++) {
        print_port(out, arena, &f->results.items[i], number, 'r', i);
        print_edge(out, f->results.items[i].value, number, 'r', i);
    }
    fputs("  }\n", out);
}

bool api_print(api_session *s, FILE *out, const char *format)
{
    ir_module *m = s->module[0];
    if (!strcmp(format, "text")) {
        ir_print(out, m, NULL);
        return !ferror(out);
    }
    base_arena *scratch = base_arena_new(s->ctx);
    fputs("digraph \"", out);
    print_dot_text(out, m->name);
    fputs("\" {\n  node [shape=box, fontname=\"sans-serif\"];\n", out);
    for (int i = 0; i < m->funcs.count; i++)
        print_func(out, scratch, m->funcs.items[i], i);
    fputs("}\n", out);
    base_arena_free(scratch);
    return !ferror(out);
}

/* ---- opt ---- */

bool api_opt(api_session *s, const char *path, FILE *out)
{
    const char *dot = strrchr(path, '.');
    if (dot && !strcmp(dot, ".onnx")) {
        api_usage(s,
                  "'%s': opt reads text, NAME.gir or - for standard input; gradc dump --after=read "
                  "converts an ONNX file",
                  path);
        return false;
    }
    s->path = path;
    api_set_warnings(s);
    ir_module *m = gir_read_file(s->ctx, s->arena, path);
    if (!m || !api_sound(s) || !api_check_extent(s, m))
        return false;
    int64_t left = s->options.pass_limit;
    for (int i = 0; i < s->options.passes.count; i++) {
        const pass_info *p = pass_by_name(s->options.passes.items[i]);
        if (!p) {
            api_usage(s, "--passes: unknown pass '%s'; --list-passes lists them",
                      s->options.passes.items[i]);
            return false;
        }
        if ((m->props & p->needs) != p->needs) {
            api_usage(s,
                      "--passes: '%s' needs an earlier pass (the order is pad_convolutions, "
                      "layout, fuse, plan)",
                      p->name);
            return false;
        }
        if (left >= 0 && left-- == 0)
            break;
        pass_run_one(m, p, s->options.verify_each);
    }
    ir_print(out, m, NULL);
    return !ferror(out) && !base_error_count(s->ctx);
}

bool api_pass(int i, const char **name, const char **doc)
{
    *name = passes[i].name;
    *doc = passes[i].doc;
    return *name != NULL;
}
