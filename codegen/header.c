/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The header of a model: C99 and C++17, clean under -Wall -Wextra -Wpedantic. Names of the model stand in it cleaned, their originals
 * in comments, escaped. */
#include "codegen/model.h"
#include "include/gradc_rt.h"

#include <stdio.h>
#include <string.h>

static const char *const c_types[IR_DTYPES] = {
    [IR_BOOL] = "uint8_t", [IR_I8] = "int8_t",    [IR_I16] = "int16_t",  [IR_I32] = "int32_t",  [IR_I64] = "int64_t",  [IR_U8] = "uint8_t",
    [IR_U16] = "uint16_t", [IR_U32] = "uint32_t", [IR_U64] = "uint64_t", [IR_F16] = "uint16_t", [IR_BF16] = "uint16_t", [IR_F32] = "float",
    [IR_F64] = "double",
};
static const char *const part_names[CG_PARTS] = {"inputs", "cotangents", "hyper", "outputs", "input_grads"};

static const ir_type *any_type(const cg_model *m, const cg_member *x)
{
    for (int s = 0; s < m->r->nspecs; s++)
        if (x->type[s])
            return x->type[s];
    BUG("%s has no type", x->name);
}

/* "[64][784]"; where the specialisations differ "[32|64][784]". */
static void print_shape(cg_text *t, const cg_model *m, const cg_member *x)
{
    const ir_type *first = any_type(m, x);
    if (!first->rank)
        cg_print(t, "[]");
    for (int d = 0; d < first->rank; d++) {
        bool same = true;
        for (int s = 0; s < m->r->nspecs; s++)
            same &= !x->type[s] || x->type[s]->rank <= d || x->type[s]->dim[d] == first->dim[d];
        cg_print(t, "[%lld", (long long)first->dim[d]);
        for (int s = 1; !same && s < m->r->nspecs; s++)
            if (x->type[s] && x->type[s]->rank > d)
                cg_print(t, "|%lld", (long long)x->type[s]->dim[d]);
        cg_print(t, "]");
    }
}

static bool is_used(const cg_model *m, int part)
{
    const bool *has = m->o->has;
    bool step = has[GRADC_RT_STEP], back = has[GRADC_RT_BACKWARD], run = step || has[GRADC_RT_FORWARD] || has[GRADC_RT_FORWARD_TRAIN];
    switch (part) {
    case CG_INPUTS: case CG_OUTPUTS: return run;
    case CG_HYPER: return step || has[GRADC_RT_UPDATE];
    default: return back;
    }
}

static void print_struct(cg_text *t, const cg_model *m, int part)
{
    const char *prefix = m->o->prefix;
    const cg_part *p = &m->o->part[part];
    int dims = part == CG_INPUTS ? m->r->ndims : 0;
    if (!is_used(m, part))
        return;
    if (!p->count && !dims) {
        cg_print(t, "typedef struct %s_%s %s_%s; /* has no members: pass NULL */\n", prefix, part_names[part], prefix, part_names[part]);
        return;
    }
    cg_print(t, "typedef struct %s_%s {\n", prefix, part_names[part]);
    for (int i = 0; i < p->count; i++) {
        const cg_member *x = &p->items[i];
        const char *quoted = cg_quoted(t->arena, x->name);
        ir_dtype type = any_type(m, x)->dtype;
        if (part == CG_HYPER) {
            cg_print(t, "    float %s; /* \"%s\" */\n", x->field, quoted);
            continue;
        }
        cg_print(t, "    %s%s *%s; /* \"%s\" %s ", part == CG_INPUTS || part == CG_COTANGENTS ? "const " : "", c_types[type], x->field, quoted,
                 ir_dtypes[type].name);
        print_shape(t, m, x);
        if (x->range)
            cg_print(t, ", %lld..%lld", (long long)x->range->low, (long long)x->range->high);
        if (x->range && x->range->has_other)
            cg_print(t, " or %lld", (long long)x->range->other);
        cg_print(t, "%s */\n", x->loss ? ", the loss" : "");
    }
    for (int d = 0; d < dims; d++) {
        cg_print(t, "    int64_t %s; /* the dimension \"%s\": ", m->o->dim_field[d], cg_quoted(t->arena, m->r->dim_name[d]));
        for (int s = 0; s < m->r->nspecs; s++)
            cg_print(t, "%s%lld", s ? ", " : "", (long long)m->r->spec[s].dim[d]);
        cg_print(t, " */\n");
    }
    cg_print(t, "} %s_%s;\n", prefix, part_names[part]);
}

/* A float as a literal, whatever the locale. */
static const char *float_text(ir_arena *arena, double value)
{
    float f = (float)value;
    if (f != f || f - f != 0)
        BUG("a hyper-parameter's default is not finite");
    char *s = ir_format(arena, "%.9g", (double)f);
    bool whole = true;
    for (char *at = s; *at; at++) {
        if (!strchr("0123456789+-e", *at))
            *at = '.';
        whole &= *at != '.' && *at != 'e';
    }
    return ir_format(arena, "%s%sf", s, whole ? ".0" : "");
}

static void print_upper(cg_text *t, const char *s)
{
    for (; *s; s++)
        cg_print(t, "%c", *s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);
}

static void print_macros(cg_text *t, const cg_model *m)
{
    const cg_sizes *z = &m->o->sizes;
    cg_print(t, "/* Bytes of the arena: context %lld, parameters %lld, statistics %lld, optimizer %lld, counters %lld, gradients %lld,\n"
                "   saved for backward %lld, scratch %lld. */\n#define ",
             (long long)z->context, (long long)z->params, (long long)z->stats, (long long)z->optimizer, (long long)z->counters, (long long)z->grads,
             (long long)z->saved, (long long)z->scratch);
    print_upper(t, m->o->prefix);
    cg_print(t, "_ARENA_BYTES ((size_t)%lld)\n/* An initialiser: model, size, threads, seed, pool, spin_us, flags. */\n#define ",
             (long long)z->arena);
    print_upper(t, m->o->prefix);
    cg_print(t, "_OPTIONS {UINT64_C(0x%016llx), (uint32_t)sizeof(gradc_rt_options), %u, UINT64_C(%llu), NULL, 50, 0}\n", (unsigned long long)m->o->id,
             m->r->threads ? m->r->threads : 1, (unsigned long long)m->r->seed);
    const cg_part *hyper = &m->o->part[CG_HYPER];
    if (!hyper->count || !is_used(m, CG_HYPER))
        return;
    cg_print(t, "/* The default hyper-parameters, also those of NULL. */\n#define ");
    print_upper(t, m->o->prefix);
    cg_print(t, "_HYPER {");
    for (int i = 0; i < hyper->count; i++)
        cg_print(t, "%s%s", i ? ", " : "", float_text(t->arena, hyper->items[i].value));
    cg_print(t, "}\n");
}

/* Each function of the header; $ is the prefix. */
static const struct { int entry; const char *text; } functions[] = {
    {-1, "/* Lays a context into a 64-aligned arena of $_ARENA_BYTES. */\n"
         "gradc_rt_status $_init($_ctx **ctx, void *arena, size_t bytes, const gradc_rt_options *options);\n"
         "/* Joins the workers; the arena is the caller's again. */\n"
         "void $_fini($_ctx *ctx);\n"},
    {GRADC_RT_FORWARD, "gradc_rt_status $_forward($_ctx *ctx, const $_inputs *inputs, const $_outputs *outputs);\n"},
    {GRADC_RT_FORWARD_TRAIN, "gradc_rt_status $_forward_train($_ctx *ctx, const $_inputs *inputs, const $_outputs *outputs);\n"},
    {GRADC_RT_BACKWARD, "/* After forward_train, whose inputs must still be there. Adds into the gradients. */\n"
                        "gradc_rt_status $_backward($_ctx *ctx, const $_cotangents *cotangents, const $_input_grads *input_grads);\n"},
    {GRADC_RT_UPDATE, "/* The optimizer, on the gradient block. */\n"
                      "gradc_rt_status $_update($_ctx *ctx, const $_hyper *hyper);\n"},
    {GRADC_RT_STEP, "/* forward_train, backward from zero and update in one; the gradient block is left alone. */\n"
                    "gradc_rt_status $_step($_ctx *ctx, const $_inputs *inputs, const $_hyper *hyper, const $_outputs *outputs);\n"},
    {-2, "gradc_rt_status $_zero_grad($_ctx *ctx);\n"
         "/* Row-major, tensor i at its grad_at; *count elements. */\n"
         "float *$_grad_block($_ctx *ctx, size_t *count);\n"},
    {-1, "/* What the last call that failed found. */\n"
         "const gradc_rt_error *$_error(const $_ctx *ctx);\n"
         "/* Parameters and statistics; NULL from $_param_count() on. */\n"
         "size_t $_param_count(void);\n"
         "const gradc_rt_tensor *$_param(size_t i);\n"
         "gradc_rt_status $_param_get($_ctx *ctx, size_t i, void *dst);\n"
         "gradc_rt_status $_param_set($_ctx *ctx, size_t i, const void *src);\n"
         "/* A safetensors file; with_state: optimizer state and counters too. */\n"
         "gradc_rt_status $_save($_ctx *ctx, const char *path, int with_state);\n"
         "gradc_rt_status $_load($_ctx *ctx, const char *path);\n"},
};

static void print_functions(cg_text *t, const cg_model *m)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        int e = functions[i].entry;
        if (e == -2 ? !m->grad_count : e >= 0 && !m->o->has[e])
            continue;
        for (const char *at = functions[i].text; *at; at++) {
            if (*at != '$')
                IR_PUSH(t->arena, t, *at);
            else if (!strncmp(at, "$_ARENA", 7))
                print_upper(t, m->o->prefix);
            else
                cg_print(t, "%s", m->o->prefix);
        }
    }
}

const char *cg_header(const cg_model *m)
{
    cg_text t = {.arena = m->arena};
    const char *prefix = m->o->prefix, *name = m->r->name ? m->r->name : m->r->spec[0].module->name;
    cg_print(&t, "/* Generated by gradc from \"%s\". Link with the object and libgradc_rt", cg_quoted(m->arena, name));
    cg_print(&t, "%s. */\n", m->o->uses_blas ? ", and with OpenBLAS (-lopenblas), which the object calls" : "");
    cg_print(&t, "#ifndef GRADC_MODEL_%s_H\n#define GRADC_MODEL_%s_H\n\n#include \"gradc_rt.h\"\n\n", prefix, prefix);
    print_macros(&t, m);
    cg_print(&t, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\ntypedef struct %s_ctx %s_ctx;\n", prefix, prefix);
    for (int part = 0; part < CG_PARTS; part++)
        print_struct(&t, m, part);
    cg_print(&t, "\n");
    print_functions(&t, m);
    cg_print(&t, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
    IR_PUSH(m->arena, &t, '\0');
    return t.items;
}
