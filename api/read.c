/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reads a file, as the options say, into modules with all their entries: one module for each choice
 * of the dimensions. */
#include "api/session.h"
#include "base/path.h"
#include "codegen/names.h"
#include "files/gir.h"
#include "ir/text.h"

#include <string.h>

/* The input that --attach-loss adds: the file does not have it. */
static bool is_attached(const api_session *s, const char *name)
{
    return s->options.attach_loss && !strcmp(name, "label");
}

static const char *value_of(const api_pairs *pairs, const char *name)
{
    for (int i = 0; i < pairs->count; i++)
        if (!strcmp(pairs->items[i].name, name))
            return pairs->items[i].value;
    return NULL;
}

/* Its value is part of the model; one in a file of inputs is ignored. */
static bool is_baked(const api_session *s, const char *name)
{
    return value_of(&s->options.bake, name) != NULL;
}

const char *api_input_file(const api_session *s, const char *name)
{
    const char *own = value_of(&s->options.input, name);
    return own ? own : s->options.inputs ? s->options.inputs : "memory";
}

/* ---- Shapes from the options ---- */

typedef struct wish { /* a --dim */
    const char *name;
    int64_t *extent;
    int n;
} wish;
typedef struct wishes {
    wish *items;
    int count, capacity;
    onnx_shape *shape;
    int nshapes;
    onnx_input *baked, *offered;
    int nbaked, noffered;
} wishes;

static bool read_extents(api_session *s, const api_pair *p, char separator, int64_t *out, int most,
                         int *n)
{
    *n = 0;
    for (const char *at = p->value; at; at = strchr(at, separator), at = at ? at + 1 : NULL) {
        size_t length = strcspn(at, (const char[]){separator, 0});
        if (*n == most || !api_read_integer(base_strndup(s->arena, at, length), &out[*n])) {
            api_usage(s, "'%s=%s': %s", p->name, p->value,
                      *n == most ? "too many numbers" : "expected numbers");
            return false;
        }
        for (int i = 0; i < *n && separator == ','; i++)
            if (out[i] == out[*n]) {
                api_usage(s, "'%s=%s': %lld is given twice", p->name, p->value, (long long)out[i]);
                return false;
            }
        ++*n;
    }
    return true;
}

static bool read_dims(api_session *s, wishes *w)
{
    bool ok = true;
    for (int i = 0; i < s->options.dim.count; i++) {
        const api_pair *p = &s->options.dim.items[i];
        wish x = {.name = p->name, .extent = base_array(s->arena, int64_t, IR_MAX_SPECS)};
        ok &= read_extents(s, p, ',', x.extent, IR_MAX_SPECS, &x.n);
        BASE_PUSH(s->arena, w, x);
    }
    return ok;
}

static bool read_shapes(api_session *s, wishes *w)
{
    bool ok = true;
    w->shape = base_array(s->arena, onnx_shape, s->options.shape.count + s->given.count + 1);
    w->baked = base_array(s->arena, onnx_input, s->options.bake.count + 1);
    w->offered = base_array(s->arena, onnx_input, s->given.count + 1);
    for (int i = 0; i < s->options.shape.count; i++) {
        const api_pair *p = &s->options.shape.items[i];
        onnx_shape *x = &w->shape[w->nshapes++];
        x->input = p->name;
        if (!strcmp(p->value, "[]"))
            continue;
        ok &= read_extents(s, p, 'x', x->dim, IR_MAX_RANK, &x->rank);
    }
    for (int i = 0; i < s->options.bake.count; i++) {
        const api_pair *p = &s->options.bake.items[i];
        ir_literal *value = npy_read_file(s->arena, p->value);
        if (value)
            w->baked[w->nbaked++] = (onnx_input){p->name, value, p->value};
        ok &= value != NULL;
    }
    for (int i = 0; i < s->given.count; i++) {
        const ir_type *t = &s->given.items[i].value->type;
        if (is_attached(s, s->given.items[i].name) || is_baked(s, s->given.items[i].name))
            continue;
        onnx_shape *x = &w->shape[w->nshapes++];
        *x = (onnx_shape){.input = s->given.items[i].name,
                          .rank = t->rank,
                          .from = api_input_file(s, s->given.items[i].name)};
        memcpy(x->dim, t->dim, sizeof x->dim);
        w->offered[w->noffered++] =
            (onnx_input){s->given.items[i].name, s->given.items[i].value, x->from};
    }
    return ok;
}

/* ---- Reading ---- */

/* Inputs of the files named by --input and --inputs. */
static bool read_given(api_session *s)
{
    bool ok = true;
    s->given.count = 0;
    if (s->options.inputs) {
        ir_tensors all = {0};
        if (!npz_read_file(s->arena, s->options.inputs, &all))
            return false;
        for (int i = 0; i < all.count; i++)
            if (!strncmp(all.items[i].name, "in/", 3)) {
                ir_tensor t = {all.items[i].name + 3, all.items[i].value};
                BASE_PUSH(s->arena, &s->given, t);
            }
    }
    for (int i = 0; i < s->options.input.count; i++) {
        if (is_baked(s, s->options.input.items[i].name)) {
            api_usage(s, "--input: '%s' is baked and cannot have another value",
                      s->options.input.items[i].name);
            return false;
        }
        ir_tensor t = {s->options.input.items[i].name,
                       npy_read_file(s->arena, s->options.input.items[i].value)};
        int k = 0;
        while (k < s->given.count && strcmp(s->given.items[k].name, t.name))
            k++;
        if (k < s->given.count)
            s->given.items[k] = t;
        else if (t.value)
            BASE_PUSH(s->arena, &s->given, t);
        ok &= t.value != NULL;
    }
    return ok;
}

/* Makes an input of a text a constant. */
static bool bake(api_session *s, ir_func *f, const onnx_input *in)
{
    for (int i = 0; i < f->params.count; i++) {
        ir_port *p = &f->params.items[i];
        if (p->bind != IR_INPUT || !p->name || strcmp(p->name, in->name))
            continue;
        if (!ir_type_eq(&p->value->type, &in->value->type)) {
            api_error(s, "--bake %s: the input is %s, but %s has %s", in->name,
                      ir_type_text(s->arena, &p->value->type), in->from,
                      ir_type_text(s->arena, &in->value->type));
            return false;
        }
        ir_builder b = ir_builder_new(f);
        b.at = f->first;
        ir_replace(p->value, ir_constant(&b, in->value));
        for (int k = i; k + 1 < f->params.count; k++) {
            f->params.items[k] = f->params.items[k + 1];
            f->params.items[k].value->index = k;
        }
        f->params.count--;
        return true;
    }
    api_usage(s, "--bake: there is no input '%s'", in->name);
    return false;
}

static ir_module *read_text(api_session *s, const wishes *w)
{
    if (s->options.dim.count || s->options.shape.count) {
        api_usage(s, "--dim and --shape are for ONNX files; the shapes of a text are fixed");
        return NULL;
    }
    ir_module *m = gir_read_file(s->ctx, s->arena, s->path);
    ir_func *f = m ? ir_entry_by_name(m, "forward") : NULL;
    if (m && !f) {
        api_error(s, "%s: there is no entry @forward", s->path);
        return NULL;
    }
    ir_func *train = m ? ir_root_by_name(m, "train") : NULL;
    for (int i = 0; i < w->nbaked && m; i++)
        if (!bake(s, f, &w->baked[i]) || (train && !bake(s, train, &w->baked[i])))
            return NULL;
    return m;
}

static onnx_options *onnx_options_of(api_session *s, const wishes *w, const int64_t *extent,
                                     onnx_facts *facts)
{
    onnx_dim *dim = base_array(s->arena, onnx_dim, w->count + 1);
    for (int i = 0; i < w->count; i++)
        dim[i] = (onnx_dim){w->items[i].name, extent ? extent[i] : w->items[i].extent[0]};
    onnx_options o = {.dims = dim,
                      .ndims = w->count,
                      .shapes = w->shape,
                      .nshapes = w->nshapes,
                      .baked = w->baked,
                      .nbaked = w->nbaked,
                      .offered = w->offered,
                      .noffered = w->noffered,
                      .training = s->options.train != NULL,
                      .facts = facts};
    if (s->options.batchnorm)
        o.batch_norm = !strcmp(s->options.batchnorm, "train")  ? ONNX_MODE_TRAIN
                       : !strcmp(s->options.batchnorm, "eval") ? ONNX_MODE_EVAL
                                                               : ONNX_MODE_FILE;
    o.unbiased_variance =
        s->options.batchnorm_variance && !strcmp(s->options.batchnorm_variance, "torch");
    return base_memdup(s->arena, &o, sizeof o);
}

/* Reports options that are wrong for any model. */
static bool check_words(api_session *s)
{
    const api_options *o = &s->options;
    if (o->target && s->verb & (API_RUN | API_BENCH))
        api_usage(s, "--target: code for another machine cannot run here; use compile");
    if (o->blas && strcmp(o->blas, "auto") && strcmp(o->blas, "none"))
        api_usage(s, "--blas=%s: expected auto or none", o->blas);
    if (o->level > 3)
        api_usage(s, "-O%lld: expected 0 to 3", (long long)o->level);
    if (o->threads == 0 || o->threads > (int64_t)GRADC_RT_MAX_THREADS)
        api_usage(s, "--threads=%lld: expected 1 to %u", (long long)o->threads,
                  GRADC_RT_MAX_THREADS);
    if (o->batchnorm && strcmp(o->batchnorm, "file") && strcmp(o->batchnorm, "train") &&
        strcmp(o->batchnorm, "eval"))
        api_usage(s, "--batchnorm=%s: expected file, train or eval", o->batchnorm);
    if (o->batchnorm_variance && strcmp(o->batchnorm_variance, "onnx") &&
        strcmp(o->batchnorm_variance, "torch"))
        api_usage(s, "--batchnorm-variance=%s: expected onnx or torch", o->batchnorm_variance);
    if (s->text && (o->batchnorm || o->batchnorm_variance))
        api_usage(s, "--batchnorm and --batchnorm-variance are for ONNX files; a text has batch "
                     "normalisation already expanded");
    if (o->weights && strcmp(o->weights, "embed") && strcmp(o->weights, "file"))
        api_usage(s, "--weights=%s: expected embed or file", o->weights);
    if (!s->usage && !cg_check_target(s->ctx, s->arena, o->target,
                                      (const char *const *)o->cpu.items, o->cpu.count))
        s->usage = true;
    return !s->usage;
}

static bool read_training(api_session *s);

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

/* Notes the given inputs that are now constants of the module because they determine a shape. */
static bool note_offers(api_session *s)
{
    const ir_func *f = ir_entry_by_name(s->module[0], "forward");
    for (int i = 0; i < s->given.count; i++) {
        bool is_input =
            is_attached(s, s->given.items[i].name) || is_baked(s, s->given.items[i].name);
        for (int k = 0; k < f->params.count; k++)
            is_input |= f->params.items[k].bind == IR_INPUT &&
                        !strcmp(f->params.items[k].name, s->given.items[i].name);
        for (int k = 0; k < s->facts.overridden.count; k++)
            is_input |= !strcmp(s->facts.overridden.items[k], s->given.items[i].name);
        if (is_input)
            continue;
        if (s->text) {
            const char *name = s->given.items[i].name;
            (value_of(&s->options.input, name) ? api_usage : api_error)(
                s, "%s: there is no input '%s'", s->path, name);
            return false;
        }
        api_note(s, "input '%s' determines a shape: its value is baked in", s->given.items[i].name);
    }
    return true;
}

/* Whether the header has a member of that name. */
static bool is_member(const api_session *s, const char *name)
{
    const ir_module *m = s->module[0];
    for (int k = 0; k < s->ndims; k++)
        if (!strcmp(s->dim_name[k], name))
            return true;
    for (int k = 0; k < m->funcs.count; k++) {
        const ir_func *f = m->funcs.items[k];
        for (int i = 0; f->entry && i < f->params.count + f->results.count; i++) {
            const ir_port *p =
                i < f->params.count ? &f->params.items[i] : &f->results.items[i - f->params.count];
            if (p->bind == IR_INPUT && !strcmp(p->name, name))
                return true;
        }
    }
    return false;
}

static bool check_renames(api_session *s)
{
    for (int i = 0; i < s->options.rename.count; i++) {
        const api_pair *p = &s->options.rename.items[i];
        if (!cg_is_member_name(s->arena, p->value))
            api_usage(s, "--rename: '%s' is not a valid name in C", p->value);
        if (!is_member(s, p->name))
            api_usage(s, "--rename: no input or output is named '%s'", p->name);
    }
    return !s->usage;
}

/* A name that the model does not have is a fault of the command line, unless it comes from a file
 * of inputs. */
void api_blame(api_session *s)
{
    const api_options *o = &s->options;
    for (int i = 0; i < s->facts.unknown.count; i++) {
        const char *name = s->facts.unknown.items[i];
        s->usage |= value_of(&o->shape, name) || value_of(&o->bake, name) ||
                    value_of(&o->dim, name) || value_of(&o->input, name);
    }
}

/* Reads the options for this verb and model; false and reported if they are wrong for any model. */
static bool read_options(api_session *s, wishes *w)
{
    return check_words(s) && read_training(s) && read_given(s) && read_dims(s, w) &&
           read_shapes(s, w);
}

onnx_options *api_onnx_options(api_session *s)
{
    wishes w = {0};
    return read_options(s, &w) ? onnx_options_of(s, &w, NULL, &s->facts) : NULL;
}

bool api_name_model(api_session *s, unsigned verb, const char *path)
{
    s->verb = verb;
    s->path = path;
    api_set_warnings(s);
    s->text = !strcmp(path, "-") || ends_with(path, ".gir");
    if (!s->text && !ends_with(path, ".onnx"))
        api_usage(s,
                  "'%s': a model is a file NAME.onnx or NAME.gir, or - for text on standard input",
                  path);
    const char *base = base_file_name(path), *dot = strrchr(base, '.');
    s->stem = dot ? base_strndup(s->arena, base, (size_t)(dot - base)) : NULL;
    return s->text || !s->usage;
}

bool api_complete(api_session *s)
{
    api_note_stage(s, "read");
    for (int k = 0; k < s->nspecs; k++)
        if (!api_train(s, s->module[k]))
            return false;
    if (s->trains)
        api_note_stage(s, "train");
    api_find_ranges(s);
    return check_renames(s) && api_sound(s);
}

bool api_read_modules(api_session *s, unsigned verb, const char *path)
{
    wishes w = {0};
    if (!api_name_model(s, verb, path) || !read_options(s, &w))
        return false;
    int total = 1;
    for (int i = 0; i < w.count; i++) {
        if (w.items[i].n > 1) {
            s->dim_name = s->dim_name ? s->dim_name : base_array(s->arena, const char *, w.count);
            s->dim_name[s->ndims++] = w.items[i].name;
        }
        if (w.items[i].n > 1 && verb & (API_RUN | API_BENCH)) {
            api_usage(s,
                      "--dim %s has %d extents, expected one here; compile and info take several",
                      w.items[i].name, w.items[i].n);
            return false;
        }
        total *= w.items[i].n;
        if (total > IR_MAX_SPECS) {
            api_usage(s, "--dim asks for more than %d specialisations", IR_MAX_SPECS);
            return false;
        }
    }
    s->nspecs = total;
    s->module = base_array(s->arena, ir_module *, total);
    s->spec = base_array(s->arena, cg_spec, total);
    for (int k = 0; k < total; k++) {
        int64_t *extent = base_array(s->arena, int64_t, w.count + 1),
                *chosen = base_array(s->arena, int64_t, s->ndims + 1);
        for (int i = w.count - 1, rest = k, at = s->ndims; i >= 0; i--) {
            extent[i] = w.items[i].extent[rest % w.items[i].n];
            rest /= w.items[i].n;
            if (w.items[i].n > 1)
                chosen[--at] = extent[i];
        }
        onnx_facts *facts = k && !s->text ? base_new(s->arena, onnx_facts) : &s->facts;
        s->module[k] = s->text ? read_text(s, &w)
                               : onnx_read_file(s->ctx, s->arena, s->path,
                                                onnx_options_of(s, &w, extent, facts));
        api_blame(s);
        if (!s->module[k])
            return false;
        s->spec[k] = (cg_spec){s->module[k], chosen};
    }
    return note_offers(s);
}

bool api_read(api_session *s, unsigned verb, const char *path)
{
    return api_read_modules(s, verb, path) && api_complete(s);
}

bool api_take(api_session *s, unsigned verb, ir_module *m, const char *path)
{
    s->verb = verb;
    s->path = path;
    s->text = true;
    api_set_warnings(s);
    if (s->options.dim.count || s->options.shape.count || s->options.bake.count) {
        api_usage(s, "--dim, --shape and --bake are for files");
        return false;
    }
    s->nspecs = 1;
    s->module = base_memdup(s->arena, &m, sizeof *s->module);
    s->spec = base_memdup(s->arena, &(cg_spec){m, NULL}, sizeof *s->spec);
    return check_words(s) && read_training(s) && api_complete(s);
}

static bool read_training(api_session *s)
{
    train_choice c;
    s->hyper.count = 0;
    if (!s->options.train)
        return true;
    const char *wrong = train_choose(s->arena, s->options.train, &c);
    if (wrong) {
        api_usage(s, "--train=%s: %s", s->options.train, wrong);
        return false;
    }
    s->optimizer = c.optimizer;
    for (int i = 0; i < c.hyper.count; i++) {
        cg_default d = {c.hyper.items[i].name, c.hyper.items[i].value};
        BASE_PUSH(s->arena, &s->hyper, d);
    }
    return true;
}
