/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The header of a model: C99 and C++17, without warnings under -Wall -Wextra -Wpedantic. Names of
 * the model are cleaned, with the originals, escaped, in comments. */
#include "codegen/model.h"
#include "include/gradc_rt.h"

#include <stdio.h>
#include <string.h>

static const char *const c_types[IR_DTYPES] = {
    [IR_BOOL] = "uint8_t", [IR_I8] = "int8_t",    [IR_I16] = "int16_t",   [IR_I32] = "int32_t",
    [IR_I64] = "int64_t",  [IR_U8] = "uint8_t",   [IR_U16] = "uint16_t",  [IR_U32] = "uint32_t",
    [IR_U64] = "uint64_t", [IR_F16] = "uint16_t", [IR_BF16] = "uint16_t", [IR_F32] = "float",
    [IR_F64] = "double",
};
static const char *const part_names[CG_PARTS] = {"inputs", "cotangents", "hyper", "outputs",
                                                 "input_grads"};

/* The comments of the structs. */
static const char *const part_docs[CG_PARTS] = {
    "Row-major tensors that a call reads. An input may be NULL if only outputs that are not wanted "
    "need it.",
    "Gradients with respect to outputs, read by backward. NULL: zeros.",
    "Read at each call.",
    "Row-major buffers that a call writes; they must not overlap any other memory of the call. "
    "NULL: not wanted.",
    "Buffers to which backward writes the gradients with respect to inputs (it does not add). "
    "NULL: not wanted.",
};
/* The comments of optimizers' hyper-parameters. */
static const struct { const char *name, *doc;
} hyper_docs[] = {
    {"lr", "learning rate"},
    {"momentum", "decay of the momentum buffer"},
    {"beta1", "decay of the first moment"},
    {"beta2", "decay of the second moment"},
    {"alpha", "decay of the mean of squared gradients"},
    {"rho", "decay of the mean of squared gradients"},
    {"eps", "added to the denominator"},
    {"weight_decay", "weight decay coefficient"},
    {"lr_decay", "decay of the learning rate"},
    {"grad_scale", "factor on the gradients, before clip_norm"},
    {"clip_norm", "largest L2 norm of all gradients together; 0: no clipping"},
};

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
    bool step = has[GRADC_RT_STEP], back = has[GRADC_RT_BACKWARD],
         run = step || has[GRADC_RT_FORWARD] || has[GRADC_RT_FORWARD_TRAIN];
    switch (part) {
    case CG_INPUTS: case CG_OUTPUTS: return run;
    case CG_HYPER: return step || has[GRADC_RT_UPDATE];
    default: return back;
    }
}

static void print_hyper(cg_text *t, const cg_member *x)
{
    const char *doc = cg_quoted(t->arena, x->name);
    for (size_t i = 0; i < sizeof hyper_docs / sizeof *hyper_docs; i++)
        if (!strcmp(hyper_docs[i].name, x->name))
            doc = hyper_docs[i].doc;
    cg_print(t, "    float %s; /* %s */\n", x->field, doc);
}

static void print_struct(cg_text *t, const cg_model *m, int part)
{
    const char *prefix = m->o->prefix;
    const cg_part *p = &m->o->part[part];
    int dims = part == CG_INPUTS ? m->r->ndims : 0;
    if (!is_used(m, part))
        return;
    if (!p->count && !dims) {
        cg_print(t, "/* Has no members: pass NULL. */\ntypedef struct %s_%s %s_%s;\n", prefix,
                 part_names[part], prefix, part_names[part]);
        return;
    }
    cg_print(t, "/* %s */\ntypedef struct %s_%s {\n", part_docs[part], prefix, part_names[part]);
    for (int i = 0; i < p->count; i++) {
        const cg_member *x = &p->items[i];
        const char *quoted = cg_quoted(t->arena, x->name);
        ir_dtype type = any_type(m, x)->dtype;
        if (part == CG_HYPER) {
            print_hyper(t, x);
            continue;
        }
        cg_print(t, "    %s%s *%s; /* \"%s\" %s ",
                 part == CG_INPUTS || part == CG_COTANGENTS ? "const " : "", c_types[type],
                 x->field, quoted, ir_dtypes[type].name);
        print_shape(t, m, x);
        if (x->range)
            cg_print(t, ", %lld..%lld", (long long)x->range->low, (long long)x->range->high);
        if (x->range && x->range->has_other)
            cg_print(t, " or %lld", (long long)x->range->other);
        cg_print(t, "%s */\n", x->loss ? ", the loss" : "");
    }
    for (int d = 0; d < dims; d++) {
        cg_print(t, "    int64_t %s; /* chooses the extent of the dimension \"%s\": ",
                 m->o->dim_field[d], cg_quoted(t->arena, m->r->dim_name[d]));
        for (int s = 0; s < m->r->nspecs; s++)
            cg_print(t, "%s%lld", s ? ", " : "", (long long)m->r->spec[s].dim[d]);
        cg_print(t, "; else GRADC_RT_E_DIMENSION */\n");
    }
    cg_print(t, "} %s_%s;\n", prefix, part_names[part]);
}

/* A float as a literal, whatever the locale. */
static const char *float_text(base_arena *arena, double value)
{
    float f = (float)value;
    if (f != f || f - f != 0)
        BUG("a hyper-parameter's default is not finite");
    char *s = base_format(arena, "%.9g", (double)f);
    bool whole = true;
    for (char *at = s; *at; at++) {
        if (!strchr("0123456789+-e", *at))
            *at = '.';
        whole &= *at != '.' && *at != 'e';
    }
    return base_format(arena, "%s%sf", s, whole ? ".0" : "");
}

static void print_upper(cg_text *t, const char *s)
{
    for (; *s; s++)
        cg_print(t, "%c", *s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);
}

static void print_macros(cg_text *t, const cg_model *m)
{
    const cg_sizes *z = &m->o->sizes;
    bool hosted = m->o->hosted;
    cg_print(t,
             "/* Bytes of the arena: context %lld, parameters %lld, statistics %lld, optimizer "
             "%lld, counters %lld, gradients %lld,\n"
             "   saved for backward %lld, scratch %lld. */\n#define ",
             (long long)z->context, (long long)z->params, (long long)z->stats,
             (long long)z->optimizer, (long long)z->counters, (long long)z->grads,
             (long long)z->saved, (long long)z->scratch);
    print_upper(t, m->o->prefix);
    cg_print(t, "_ARENA_BYTES ((size_t)%lld)\n", (long long)z->arena);
    cg_print(t, "/* Options for init, an initialiser of gradc_rt_options: model, size, threads, "
                "seed, pool, spin_us, flags. */\n#define ");
    print_upper(t, m->o->prefix);
    cg_print(t,
             "_OPTIONS {UINT64_C(0x%016llx), (uint32_t)sizeof(gradc_rt_options), %u, "
             "UINT64_C(%llu), NULL, %d, 0}\n",
             (unsigned long long)m->o->id, hosted && m->r->threads ? m->r->threads : 1,
             (unsigned long long)m->r->seed, hosted ? 50 : 0);
    const cg_part *hyper = &m->o->part[CG_HYPER];
    if (!hyper->count || !is_used(m, CG_HYPER))
        return;
    cg_print(t, "/* The default hyper-parameters, an initialiser. NULL for hyper means these. */\n"
                "#define ");
    print_upper(t, m->o->prefix);
    cg_print(t, "_HYPER {");
    for (int i = 0; i < hyper->count; i++)
        cg_print(t, "%s%s", i ? ", " : "", float_text(t->arena, hyper->items[i].value));
    cg_print(t, "}\n");
}

/* Functions that are not an entry's: of all models, of targets with threads and files, of targets
 * without, of models with gradients. */
enum { ALWAYS = -1, HOSTED = -2, FREESTANDING = -3, GRADS = -4 };
/* Each function of the header; $ is the prefix, ~ says what forward does to states. */
static const struct { int entry; const char *text;
} functions[] = {
    {ALWAYS,
     "/* If a function returns another status than GRADC_RT_OK, parameters, statistics, gradients "
     "and optimizer state are unchanged, and\n"
     "   $_error has the details. Pointers must be aligned to their element; the memory is the "
     "caller's. Only one thread at a time may use\n"
     "   a context. */\n\n"},
    {HOSTED,
     "/* Creates a context in a 64-aligned arena of at least $_ARENA_BYTES, with the initial "
     "parameters, and starts options->threads - 1\n"
     "   workers. The arena belongs to the context until $_fini. Errors: GRADC_RT_E_ARENA, "
     "GRADC_RT_E_MODEL (options that are not $_OPTIONS),\n"
     "   GRADC_RT_E_CPU, GRADC_RT_E_THREADS. */\n"
     "gradc_rt_status $_init($_ctx **ctx, void *arena, size_t bytes, const gradc_rt_options "
     "*options);\n"
     "/* Joins the workers; the arena is the caller's again. NULL is allowed. */\n"
     "void $_fini($_ctx *ctx);\n"},
    {FREESTANDING,
     "/* Creates a context in a 64-aligned arena of at least $_ARENA_BYTES, with the initial "
     "parameters. The arena belongs to the context until\n"
     "   $_fini. Errors: GRADC_RT_E_ARENA, GRADC_RT_E_MODEL (options that are not $_OPTIONS), "
     "GRADC_RT_E_CPU. */\n"
     "gradc_rt_status $_init($_ctx **ctx, void *arena, size_t bytes, const gradc_rt_options "
     "*options);\n"
     "/* The arena is the caller's again. NULL is allowed. */\n"
     "void $_fini($_ctx *ctx);\n"},
    {GRADC_RT_FORWARD,
     "/* Computes outputs from inputs; ~. Errors: GRADC_RT_E_ARGUMENT (an input that a wanted "
     "output needs is\n"
     "   NULL), GRADC_RT_E_INDEX (an index in an input is out of range). */\n"
     "gradc_rt_status $_forward($_ctx *ctx, const $_inputs *inputs, const $_outputs *outputs);\n"},
    {GRADC_RT_FORWARD_TRAIN, "/* Forward in training mode: saves what backward needs, updates "
                             "running statistics. Inputs must stay valid\n"
                             "   and unchanged until backward has returned. Errors as of forward. "
                             "*/\n"
                             "gradc_rt_status $_forward_train($_ctx *ctx, const $_inputs *inputs, "
                             "const $_outputs *outputs);\n"},
    {GRADC_RT_BACKWARD,
     "/* Adds the gradients of the parameters to the gradient block, writes those of inputs. "
     "cotangents NULL: 1 for\n"
     "   the loss; a NULL member: zeros. Once after each forward_train, else GRADC_RT_E_ORDER. */\n"
     "gradc_rt_status $_backward($_ctx *ctx, const $_cotangents *cotangents, const $_input_grads "
     "*input_grads);\n"},
    {GRADC_RT_UPDATE, "/* The optimizer: updates the parameters from the gradient block, which is "
                      "unchanged. hyper NULL: the defaults. */\n"
                      "gradc_rt_status $_update($_ctx *ctx, const $_hyper *hyper);\n"},
    {GRADC_RT_STEP,
     "/* A training step: forward_train, backward from zero gradients and update in one; the "
     "gradient block is neither read nor written.\n"
     "   hyper NULL: the defaults; outputs NULL: none wanted. Errors as of forward_train. */\n"
     "gradc_rt_status $_step($_ctx *ctx, const $_inputs *inputs, const $_hyper *hyper, const "
     "$_outputs *outputs);\n"},
    {GRADS, "/* Sets the gradient block to zero. */\n"
            "gradc_rt_status $_zero_grad($_ctx *ctx);\n"
            "/* The gradient block, in the arena: row-major, parameter i's gradient at its "
            "grad_at; *count elements in all. */\n"
            "float *$_grad_block($_ctx *ctx, size_t *count);\n"},
    {ALWAYS,
     "/* The details of the last call that failed; never NULL, valid as long as the context. */\n"
     "const gradc_rt_error *$_error(const $_ctx *ctx);\n"
     "/* The number of parameters and statistics. */\n"
     "size_t $_param_count(void);\n"
     "/* Name, type and size of number i, constant data; NULL if i is out of range. */\n"
     "const gradc_rt_tensor *$_param(size_t i);\n"
     "/* Copies number i to dst, row-major, $_param(i)->bytes bytes. GRADC_RT_E_ARGUMENT if i is "
     "out of range. */\n"
     "gradc_rt_status $_param_get($_ctx *ctx, size_t i, void *dst);\n"
     "/* Copies src to number i. Backward then needs another forward_train. */\n"
     "gradc_rt_status $_param_set($_ctx *ctx, size_t i, const void *src);\n"},
    {HOSTED,
     "/* Writes parameters and statistics as a safetensors file, with_state: optimizer state "
     "and counters too; a file of that name is\n"
     "   replaced atomically. Errors: GRADC_RT_E_FILE, GRADC_RT_E_MEMORY. */\n"
     "gradc_rt_status $_save($_ctx *ctx, const char *path, int with_state);\n"
     "/* Reads such a file, or another one with all parameters, by name, type and shape; all "
     "or nothing. Errors: GRADC_RT_E_FILE,\n"
     "   GRADC_RT_E_FORMAT, GRADC_RT_E_MODEL (state of another model), GRADC_RT_E_MEMORY; "
     "$_error() has the tensor that is missing or differs,\n"
     "   and how. */\n"
     "gradc_rt_status $_load($_ctx *ctx, const char *path);\n"},
};

/* Does forward update states? The first specialisation shows it for all. */
static bool forward_updates(const cg_model *m)
{
    const ir_func *f = ir_entry_by_name(m->r->spec[0].module, "forward");
    bool updates = false;
    for (int i = 0; f && i < f->results.count; i++)
        updates |= f->results.items[i].bind == IR_STATE;
    return updates;
}

static bool is_declared(const cg_model *m, int entry)
{
    switch (entry) {
    case ALWAYS: return true;
    case HOSTED: return m->o->hosted;
    case FREESTANDING: return !m->o->hosted;
    case GRADS: return m->grad_count != 0;
    default: return m->o->has[entry];
    }
}

static void print_functions(cg_text *t, const cg_model *m)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (!is_declared(m, functions[i].entry))
            continue;
        for (const char *at = functions[i].text; *at; at++) {
            if (*at == '~')
                cg_print(t, forward_updates(m) ? "changes the states that the graph updates"
                                               : "changes no state");
            else if (*at != '$')
                BASE_PUSH(t->arena, t, *at);
            else if (at[2] >= 'A' && at[2] <= 'Z') /* a macro's */
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
    cg_print(&t, "/* Generated by gradc from \"%s\". Link with the object and libgradc_rt",
             cg_quoted(m->arena, name));
    cg_print(&t, "%s. */\n",
             !m->o->hosted     ? " built for the same freestanding target"
             : m->o->uses_blas ? ", and with OpenBLAS (-lopenblas), which the object calls"
                               : "");
    cg_print(&t,
             "#ifndef GRADC_MODEL_%s_H\n#define GRADC_MODEL_%s_H\n\n#include \"gradc_rt.h\"\n\n",
             prefix, prefix);
    print_macros(&t, m);
    cg_print(&t,
             "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
             "/* A model in an arena: parameters, optimizer state%s. */\ntypedef struct "
             "%s_ctx %s_ctx;\n\n",
             m->o->hosted ? ", workers" : "", prefix, prefix);
    for (int part = 0; part < CG_PARTS; part++)
        print_struct(&t, m, part);
    cg_print(&t, "\n");
    print_functions(&t, m);
    cg_print(&t, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
    BASE_PUSH(m->arena, &t, '\0');
    return t.items;
}
