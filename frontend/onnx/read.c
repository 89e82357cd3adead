/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reads a model: inputs, weights, rounds, and which weights train. */
#include "frontend/onnx/reader.h"

enum { OLDEST_OPSET = 7, NEWEST_OPSET = 27 };

/* The symbol of a dimension, or NULL. What exporters write for "unknown" is no symbol: two such
 * dimensions may differ. */
static const char *symbol_of(const Onnx__DimensionProto *d)
{
    const char *name = d && d->dim_param ? d->dim_param : "";
    bool word = false;
    for (const char *at = name; *at && !word; at++)
        word =
            (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (unsigned char)*at >= 128;
    return word && strcmp(name, "None") ? name : NULL;
}

/* ---- Before the rounds ---- */

static void read_lists(onnx_reader *r)
{
    r->ops = r->functions = r->inits = base_map_new(r->scratch);
    for (int i = 0; onnx_ops[i].name; i++)
        if (!base_map_get_text(&r->ops, onnx_ops[i].name))
            base_map_put_text(&r->ops, onnx_ops[i].name, (void *)&onnx_ops[i]);
    for (size_t i = 0; i < r->model->n_functions; i++) {
        const Onnx__FunctionProto *f = r->model->functions[i];
        const char *domain = f->domain && strcmp(f->domain, "ai.onnx") ? f->domain : "";
        const char *key = base_format(r->scratch, "%s:%s:%s", domain, f->name ? f->name : "",
                                      f->overload ? f->overload : "");
        if (base_map_get_text(&r->functions, key))
            base_report(r->ctx, BASE_ERROR, &(base_loc){.file = r->file, .node = -1},
                        "two functions are named %s", key);
        base_map_put_text(&r->functions, key, (void *)f);
    }
}

static void read_initializers(onnx_reader *r)
{
    const Onnx__GraphProto *g = r->model->graph;
    base_loc loc = {.file = r->file, .node = -1};
    if (g->n_initializer + g->n_sparse_initializer > IR_MAX_NODES)
        base_throw(r->ctx, &loc, "the model has more than a million initializers");
    for (size_t i = 0; i < g->n_initializer + g->n_sparse_initializer; i++) {
        const Onnx__SparseTensorProto *sparse =
            i < g->n_initializer ? NULL : g->sparse_initializer[i - g->n_initializer];
        const Onnx__TensorProto *t = sparse ? sparse->values : g->initializer[i];
        const char *name = t && t->name ? t->name : "";
        if (!*name || base_map_get_text(&r->inits, name)) {
            base_report(r->ctx, BASE_ERROR, &loc,
                        *name ? "two initializers are named '%s'"
                              : "initializer %.0s%zu has no name",
                        name, i);
            continue;
        }
        onnx_init *init = base_new(r->scratch, onnx_init);
        init->proto = t;
        init->name = name;
        init->value = sparse ? onnx_dense_literal(r, &loc, sparse) : onnx_literal(r, &loc, t);
        init->broken = !init->value;
        BASE_PUSH(r->scratch, &r->all_inits, init);
        base_map_put_text(&r->inits, name, init);
    }
    r->unpacked_first = r->unpacked;
}

/* The target NAME of the next line `…: KIND target='NAME'` from *at on; NULL: there is none. */
static const char *next_target(onnx_reader *r, const char **at, const char *kind)
{
    const char *mark = base_format(r->scratch, ": %s target='", kind), *found = strstr(*at, mark);
    if (!found)
        return NULL;
    found += strlen(mark);
    size_t n = strcspn(found, "'\n");
    *at = found + n;
    return base_strndup(r->arena, found, n);
}

/* Lists running means that are not initializers: their BatchNormalization was folded. */
static void read_buffers(onnx_reader *r, const char *list)
{
    const char *name, *end = "running_mean";
    for (const char *at = list; (name = next_target(r, &at, "BUFFER"));) {
        size_t n = strlen(name), k = strlen(end);
        if (n >= k && !strcmp(name + n - k, end) && !base_map_get_text(&r->inits, name))
            BASE_PUSH(r->arena, &r->facts->folded_means, name);
    }
}

/* Torch's newer exporter lists the model's parameters and buffers in the graph's metadata. */
static void read_signature(onnx_reader *r)
{
    const Onnx__GraphProto *g = r->model->graph;
    const char *list = NULL, *key = "pkg.torch.export.ExportedProgram.graph_signature";
    for (size_t i = 0; i < g->n_metadata_props; i++)
        if (g->metadata_props[i]->key && !strcmp(g->metadata_props[i]->key, key))
            list = g->metadata_props[i]->value;
    for (size_t i = 0; i < r->model->n_metadata_props; i++)
        if (r->model->metadata_props[i]->key && !strcmp(r->model->metadata_props[i]->key, key))
            list = r->model->metadata_props[i]->value;
    if (!list)
        return;
    r->facts->torch_list = true;
    read_buffers(r, list);
    base_map targets = base_map_new(r->scratch), found = targets;
    BASE_LIST(const char *) names = {0};
    const char *name;
    for (const char *at = list; (name = next_target(r, &at, "PARAMETER"));) {
        BASE_PUSH(r->scratch, &names, name);
        base_map_put_text(&targets, name, (void *)name);
    }
    found = base_map_new(r->scratch);
    for (int i = 0; i < r->all_inits.count; i++)
        if (base_map_get_text(&targets, r->all_inits.items[i]->name)) {
            r->all_inits.items[i]->listed = true;
            base_map_put_text(&found, r->all_inits.items[i]->name, r);
        }
    for (size_t i = 0; i < g->n_value_info; i++) {
        onnx_init *init =
            g->value_info[i]->name ? base_map_get_text(&r->inits, g->value_info[i]->name) : NULL;
        for (size_t k = 0; init && k < g->value_info[i]->n_metadata_props; k++) {
            const Onnx__StringStringEntryProto *p = g->value_info[i]->metadata_props[k];
            const char *tail = p->key ? strstr(p->key, "InputSpec.kind") : NULL;
            if (!p->value)
                continue;
            if (tail && !tail[14] && !strcmp(p->value, "PARAMETER"))
                init->listed = true;
            for (int j = 0; p->key && !strcmp(p->key, "pkg.onnxscript.optimizer.folded_from") &&
                            j < names.count;
                 j++)
                if (strstr(p->value, base_format(r->scratch, "'%s'", names.items[j])) ||
                    !strcmp(p->value, names.items[j])) {
                    init->listed = true;
                    base_map_put_text(&found, names.items[j], r);
                }
        }
    }
    for (int i = 0; i < names.count; i++)
        if (!base_map_get_text(&found, names.items[i]))
            BASE_PUSH(r->arena, &r->facts->merged_params, names.items[i]);
}

static void bind_dims(onnx_reader *r)
{
    for (int i = 0; i < r->options->ndims; i++)
        base_map_put_text(&r->dims, r->options->dims[i].name,
                          (void *)(intptr_t)(r->options->dims[i].extent + 1));
    const Onnx__GraphProto *g = r->model->graph;
    for (int k = 0; k < r->options->nshapes; k++) {
        const onnx_shape *s = &r->options->shapes[k];
        for (size_t i = 0; i < g->n_input; i++) {
            const Onnx__TensorTypeProto *t =
                g->input[i]->type ? g->input[i]->type->tensor_type : NULL;
            if (!g->input[i]->name || strcmp(g->input[i]->name, s->input) || !t || !t->shape ||
                (int)t->shape->n_dim != s->rank)
                continue;
            for (int d = 0; d < s->rank; d++) {
                const char *name = symbol_of(t->shape->dim[d]);
                if (name && !base_map_get_text(&r->dims, name))
                    base_map_put_text(&r->dims, name, (void *)(intptr_t)(s->dim[d] + 1));
            }
        }
    }
}

/* ---- Inputs ---- */

static const Onnx__ValueInfoProto *input_named(const onnx_reader *r, const char *name)
{
    const Onnx__GraphProto *g = r->model->graph;
    for (size_t i = 0; i < g->n_input; i++)
        if (g->input[i]->name && !strcmp(g->input[i]->name, name))
            return g->input[i];
    return NULL;
}

static void list_dims(onnx_reader *r)
{
    const Onnx__GraphProto *g = r->model->graph;
    base_map seen = base_map_new(r->scratch);
    for (size_t i = 0; i < g->n_input; i++) {
        const Onnx__TensorTypeProto *t = g->input[i]->type ? g->input[i]->type->tensor_type : NULL;
        for (size_t d = 0; t && t->shape && d < t->shape->n_dim && d < IR_MAX_RANK; d++) {
            const char *name = symbol_of(t->shape->dim[d]);
            if (!name || base_map_get_text(&seen, name))
                continue;
            base_map_put_text(&seen, name, t->shape->dim[d]);
            BASE_PUSH(r->arena, &r->facts->dim_names, base_strdup(r->arena, name));
        }
    }
}

static bool is_listed(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

/* Reports `what`, a message about the name, once per name. */
static void unknown(onnx_reader *r, const char *name, const char *what)
{
    const base_loc loc = {.file = r->file, .node = -1};
    if (is_listed(r->facts->unknown.items, r->facts->unknown.count, name))
        return;
    BASE_PUSH(r->arena, &r->facts->unknown, name);
    base_report(r->ctx, BASE_ERROR, &loc, "%s", what);
}

/* Reports inputs and dimensions that options name and the file does not have. */
static void check_options(onnx_reader *r)
{
    const onnx_options *o = r->options;
    for (int i = 0; i < o->noffered; i++)
        if (!input_named(r, o->offered[i].name))
            unknown(r, o->offered[i].name,
                    base_format(r->scratch, "there is no input '%s'", o->offered[i].name));
    for (int i = 0; i < o->nshapes; i++)
        if (!input_named(r, o->shapes[i].input))
            unknown(r, o->shapes[i].input,
                    base_format(r->scratch, "there is no input '%s' to set the shape of",
                                o->shapes[i].input));
    for (int i = 0; i < o->nbaked; i++)
        if (!input_named(r, o->baked[i].name))
            unknown(r, o->baked[i].name,
                    base_format(r->scratch, "there is no input '%s' to bake", o->baked[i].name));
    for (int i = 0; i < o->ndims; i++)
        if (!is_listed(r->facts->dim_names.items, r->facts->dim_names.count, o->dims[i].name))
            unknown(
                r, o->dims[i].name,
                base_format(r->scratch, "--dim: no input has a dimension '%s'", o->dims[i].name));
}

static const onnx_shape *shape_option(const onnx_reader *r, const char *name)
{
    for (int i = 0; i < r->options->nshapes; i++)
        if (!strcmp(r->options->shapes[i].input, name))
            return &r->options->shapes[i];
    return NULL;
}

static ir_literal *baked(const onnx_reader *r, const char *name)
{
    for (int i = 0; i < r->options->nbaked; i++)
        if (!strcmp(r->options->baked[i].name, name))
            return r->options->baked[i].value;
    return base_map_get_text(&r->used_offers, name);
}

/* Where an input's shape comes from, for messages. */
static const char *source(const onnx_reader *r, const char *name)
{
    const onnx_shape *s = shape_option(r, name);
    const char *from = s ? s->from ? s->from : "--shape" : NULL;
    for (int i = 0; i < r->options->nbaked && !from; i++)
        if (!strcmp(r->options->baked[i].name, name))
            from = r->options->baked[i].from;
    return from ? from : "its baked value";
}

/* The extent of one dimension; false and reported if it is unknown, or if its sources disagree. */
static bool input_dim(onnx_reader *r, const base_loc *loc, const char *name,
                      const Onnx__DimensionProto *d, int i, const onnx_shape *s,
                      const ir_literal *known, int64_t *out)
{
    const char *symbol = symbol_of(d);
    intptr_t bound = symbol ? (intptr_t)base_map_get_text(&r->dims, symbol) : 0;
    int64_t fixed = d && d->has_dim_value ? d->dim_value : bound ? (int64_t)bound - 1 : -1;
    int64_t given = s ? s->dim[i] : known ? known->type.dim[i] : -1;
    *out = given >= 0 ? given : fixed;
    if (*out < 0 && d && d->has_dim_value)
        base_report(r->ctx, BASE_ERROR, loc, "input '%s' has an invalid dimension %lld", name,
                    (long long)d->dim_value);
    else if (*out < 0 && symbol)
        base_report(r->ctx, BASE_ERROR, loc,
                    "dimension '%s' of input '%s' has no value; give --dim %s=N, or --shape %s=…",
                    symbol, name, symbol, name);
    else if (*out < 0)
        base_report(r->ctx, BASE_ERROR, loc,
                    "dimension %d of input '%s' has no value; give --shape %s=…", i, name, name);
    else if (given >= 0 && fixed >= 0 && given != fixed)
        base_report(r->ctx, BASE_ERROR, loc,
                    "dimension %d of input '%s' is %lld, but %s gives %lld", i, name,
                    (long long)fixed, source(r, name), (long long)given);
    else
        return true;
    return false;
}

static bool input_type(onnx_reader *r, const base_loc *loc, const Onnx__ValueInfoProto *in,
                       ir_type *out)
{
    const Onnx__TensorTypeProto *t = in->type ? in->type->tensor_type : NULL;
    const onnx_shape *s = shape_option(r, in->name);
    const ir_literal *known = baked(r, in->name);
    ir_dtype dtype;
    if (!t) {
        base_report(r->ctx, BASE_ERROR, loc, "input '%s' is not a tensor", in->name);
        return false;
    }
    if (!onnx_dtype(r, loc, t->elem_type, &dtype))
        return false;
    int given = s ? s->rank : known ? known->type.rank : -1;
    size_t rank = t->shape ? t->shape->n_dim : given < 0 ? 0 : (size_t)given;
    if (!t->shape && given < 0)
        base_report(r->ctx, BASE_ERROR, loc, "input '%s' has no shape; give --shape %s=…", in->name,
                    in->name);
    else if (rank > IR_MAX_RANK)
        base_report(r->ctx, BASE_ERROR, loc, "input '%s' has rank %zu, the limit is %d", in->name,
                    rank, IR_MAX_RANK);
    else if (given >= 0 && given != (int)rank)
        base_report(r->ctx, BASE_ERROR, loc, "input '%s' has rank %zu, but %s gives rank %d",
                    in->name, rank, source(r, in->name), given);
    if (rank > IR_MAX_RANK || (given < 0 ? !t->shape : given != (int)rank))
        return false;
    *out = (ir_type){.dtype = dtype, .rank = (int)rank};
    bool ok = true;
    for (int i = 0; i < out->rank; i++)
        ok &= input_dim(r, loc, in->name, t->shape ? t->shape->dim[i] : NULL, i, s, known,
                        &out->dim[i]);
    if (ok && !ir_type_ok(out)) {
        base_report(r->ctx, BASE_ERROR, loc, "input '%s' is too large: %s", in->name,
                    ir_type_text(r->scratch, out));
        return false;
    }
    if (ok && known && known->type.dtype != dtype) {
        base_report(r->ctx, BASE_ERROR, loc, "input '%s' is %s, but %s gives %s", in->name,
                    ir_dtypes[dtype].name, source(r, in->name), ir_dtypes[known->type.dtype].name);
        return false;
    }
    return ok;
}

/* An initializer that is also an input is its default value; a given value replaces it. */
static void override(onnx_reader *r, const onnx_input *given, bool constant)
{
    const base_loc loc = {.file = r->file, .node = -1};
    const Onnx__ValueInfoProto *in = input_named(r, given->name);
    onnx_init *init = base_map_get_text(&r->inits, given->name);
    ir_type type;
    if (!in || !init || !input_type(r, &loc, in, &type))
        return;
    if (!ir_type_eq(&type, &given->value->type)) {
        base_report(r->ctx, BASE_ERROR, &loc, "input '%s' is %s, but %s gives %s", given->name,
                    ir_type_text(r->scratch, &type), source(r, given->name),
                    ir_type_text(r->scratch, &given->value->type));
        return;
    }
    init->value = given->value;
    init->constant |= constant;
    init->why = constant ? "its value is baked" : init->why;
    BASE_PUSH(r->arena, &r->facts->overridden, given->name);
}

static void override_initializers(onnx_reader *r)
{
    for (int i = 0; i < r->options->nbaked; i++)
        override(r, &r->options->baked[i], true);
    for (int i = 0; i < r->options->noffered; i++)
        override(r, &r->options->offered[i], false);
}

static void add_inputs(onnx_scope *s)
{
    onnx_reader *r = s->r;
    const Onnx__GraphProto *g = r->model->graph;
    base_loc *loc = base_new(r->arena, base_loc);
    *loc = (base_loc){.file = r->file, .node = -1};
    for (int i = 0; i < r->all_inits.count; i++) {
        onnx_entry *e = base_new(r->scratch, onnx_entry);
        e->init = r->all_inits.items[i];
        base_map_put_text(&s->names, e->init->name, e);
    }
    for (size_t i = 0; i < g->n_input; i++) {
        const Onnx__ValueInfoProto *in = g->input[i];
        ir_type type;
        if (!in->name || !*in->name) {
            base_report(r->ctx, BASE_ERROR, loc, "input %zu has no name", i);
            continue;
        }
        if (base_map_get_text(&r->inits, in->name))
            continue; /* it has a value: override_initializers() */
        if (!input_type(r, loc, in, &type)) {
            onnx_bind(s, loc, in->name, NULL);
            continue;
        }
        ir_literal *known = baked(r, in->name);
        ir_value *v =
            known ? ir_constant(&s->body->b, known) : ir_add_input(r->main, in->name, &type);
        onnx_bind(s, loc, in->name, v);
        if (known)
            continue;
        const char **names = base_array(r->arena, const char *, type.rank + 1);
        const Onnx__TensorShapeProto *shape = in->type->tensor_type->shape;
        for (int d = 0; shape && d < type.rank; d++)
            if (symbol_of(shape->dim[d]))
                names[d] = base_strdup(r->arena, symbol_of(shape->dim[d]));
        r->main->params.items[v->index].dim_names = names;
    }
}

static void add_outputs(onnx_scope *s)
{
    onnx_reader *r = s->r;
    const Onnx__GraphProto *g = r->model->graph;
    base_loc *loc = base_new(r->arena, base_loc);
    *loc = (base_loc){.file = r->file, .node = -1};
    base_map once = base_map_new(r->scratch);
    int scalars = 0, which = -1;
    if (!g->n_output)
        base_report(r->ctx, BASE_ERROR, loc, "the model has no outputs");
    for (size_t i = 0; i < g->n_output; i++) {
        const char *name = g->output[i]->name ? g->output[i]->name : "";
        onnx_entry *e = onnx_find(s, name);
        if (!e || base_map_get_text(&once, name)) {
            base_report(r->ctx, BASE_ERROR, loc,
                        e ? "two outputs are named '%s'" : "no node produces output '%s'", name);
            continue;
        }
        base_map_put_text(&once, name, e);
        ir_value *v = e->sequence ? NULL : onnx_value_of(s, e);
        if (!v) {
            if (e->sequence)
                base_report(r->ctx, BASE_ERROR, loc,
                            "output '%s' is a sequence, which is not supported", name);
            else if (base_error_count(r->ctx) == r->errors) /* else one of those is the cause */
                base_report(r->ctx, BASE_ERROR, loc, "output '%s' was not produced", name);
            continue;
        }
        if (ir_is_float(v->type.dtype) && ir_count(&v->type) == 1 && v->type.rank <= 1) {
            scalars++;
            which = r->main->results.count;
        }
        ir_add_output(r->main, name, v);
    }
    r->main->loss =
        scalars == 1 && r->main->results.items[which].value->type.rank == 0 ? which : -1;
}

/* "f32[batch,10]", with "?" for what the file leaves open. */
static const char *declared_text(onnx_reader *r, const Onnx__TensorTypeProto *t, const char *dtype)
{
    const char *text = base_format(r->scratch, "%s%s", dtype, t->shape ? "[" : "");
    for (size_t d = 0; t->shape && d < t->shape->n_dim; d++) {
        const Onnx__DimensionProto *dim = t->shape->dim[d];
        const char *symbol = symbol_of(dim) ? symbol_of(dim) : "?", *comma = d ? "," : "";
        text = dim->has_dim_value
                   ? base_format(r->scratch, "%s%s%lld", text, comma, (long long)dim->dim_value)
                   : base_format(r->scratch, "%s%s%s", text, comma, symbol);
    }
    return t->shape ? base_format(r->scratch, "%s]", text) : text;
}

/* Whether the rank or an extent differs from the declared one; an undeclared extent fits. */
static bool shape_differs(const Onnx__TensorShapeProto *shape, const ir_type *is)
{
    bool differs = shape && (int64_t)shape->n_dim != is->rank;
    for (int d = 0; shape && d < is->rank && !differs; d++)
        differs = shape->dim[d]->has_dim_value && shape->dim[d]->dim_value >= 0 &&
                  shape->dim[d]->dim_value != is->dim[d];
    return differs;
}

/* Compares the outputs with what the file declares. A different element type is an error, as in
 * other runtimes: a caller who trusts the file would misread the output. A different shape is a
 * warning, since some exporters leave stale shapes. */
static void check_outputs(onnx_reader *r)
{
    const Onnx__GraphProto *g = r->model->graph;
    const ir_func *f = ir_entry_by_name(r->m, "forward");
    const base_loc loc = {.file = r->file, .node = -1};
    for (int i = 0; i < f->results.count; i++) { /* one for each output, in their order */
        const ir_type *is = &f->results.items[i].value->type;
        const Onnx__TensorTypeProto *t =
            g->output[i]->type ? g->output[i]->type->tensor_type : NULL;
        int dtype;
        const char *name = t ? onnx_dtype_name(t->elem_type, &dtype) : NULL;
        bool wrong = t && t->elem_type && dtype != (int)is->dtype;
        if (!wrong && (!t || !shape_differs(t->shape, is)))
            continue;
        const char *what = base_format(
            r->scratch, "output '%s' is declared as %s, but the graph produces %s",
            f->results.items[i].name, declared_text(r, t, name), ir_type_text(r->scratch, is));
        if (wrong)
            base_report(r->ctx, BASE_ERROR, &loc, "%s", what);
        else
            base_warn(r->ctx, BASE_W_declared_shape, &loc, "%s", what);
    }
}

/* ---- Rounds ---- */

static void build_main(onnx_reader *r, const char *name)
{
    onnx_scope s;
    base_loc *loc = base_new(r->arena, base_loc);
    *loc = (base_loc){.file = r->file, .node = -1};
    onnx_body body = {.b = ir_builder_new(ir_func_new(r->m, name)),
                      .inside = base_map_new(r->scratch)};
    body.b.loc = loc;
    int errors = base_error_count(r->ctx);
    r->main = body.b.func;
    r->known = r->outer_of = r->updated = r->quantised = r->straight = base_map_new(r->scratch);
    r->fold_left = (int64_t)1 << 30;
    r->unpacked = r->unpacked_first;
    r->nodes = 0;
    r->streams = 0;
    r->random_seed = r->random_calls = NULL;
    onnx_scope_init(&s, r, NULL, &body, 0);
    add_inputs(&s);
    onnx_run_graph(&s, r->model->graph);
    add_outputs(&s);
    if (base_error_count(r->ctx) > errors)
        return;
    if (r->training)
        for (int i = 0; i < r->m->states.count; i++) {
            ir_value *v = base_map_get_ptr(&r->updated, r->m->states.items[i]);
            if (v)
                ir_add_update(r->main, r->m->states.items[i], v);
        }
    if (r->training && r->random_calls) {
        ir_value *one = ir_scalar(&body.b, IR_U64, 1);
        ir_add_update(r->main, ir_state_by_name(r->m, "calls"),
                      ir_add(&body.b, r->random_calls, one));
    }
    r->main->entry = !r->training;
}

/* Float initializers that only configure operators become constants; the next round uses them. */
static void find_constants(onnx_reader *r)
{
    for (int i = 0; i < r->all_inits.count; i++) {
        onnx_init *init = r->all_inits.items[i];
        if (init->config && !init->data && !init->stat && !init->constant) {
            init->constant = r->changed = true;
            init->why = "it configures an operator";
        }
    }
}

static void name_trainables(onnx_reader *r)
{
    for (int i = 0; i < r->all_inits.count; i++) {
        onnx_init *init = r->all_inits.items[i];
        ir_state *s = init->state;
        if (!s) {
            bool is_float = init->value && ir_is_float(init->value->type.dtype);
            onnx_constant_info info = {base_strdup(r->arena, init->name),
                                       init->why  ? init->why
                                       : is_float ? "nothing uses it"
                                                  : "it is not a float"};
            BASE_PUSH(r->arena, &r->facts->constants, info);
            continue;
        }
        if (init->stat && !init->data) {
            s->kind = IR_STAT;
            s->why = "running statistics of BatchNormalization";
        } else if (r->facts->torch_list) {
            s->trainable = init->listed;
            s->why = init->listed ? "the exporter lists it as a parameter"
                                  : "the exporter does not list it as a parameter";
        } else {
            s->trainable = s->type.rank > 0;
            s->why = s->trainable
                         ? "a float initializer"
                         : "a scalar initializer, which trains only if --trainable names it";
        }
    }
}

static bool opsets_ok(onnx_reader *r, const base_loc *loc)
{
    bool ok = true;
    for (size_t i = 0; i < r->model->n_opset_import; i++) {
        const char *d = r->model->opset_import[i]->domain;
        long long v = (long long)r->model->opset_import[i]->version;
        if (d && *d && strcmp(d, "ai.onnx"))
            continue;
        if (v < OLDEST_OPSET || v > NEWEST_OPSET) {
            base_report(r->ctx, BASE_ERROR, loc, "opset %lld is not supported; %d to %d are", v,
                        OLDEST_OPSET, NEWEST_OPSET);
            ok = false;
        }
    }
    if (!r->model->n_opset_import && !r->model->n_functions) {
        base_report(r->ctx, BASE_ERROR, loc, "the model does not say which opset it uses");
        ok = false;
    }
    return ok;
}

/* Rounds until nothing changes: at most one per initializer and one per offered input. */
static ir_module *rounds(onnx_reader *r)
{
    int errors = base_error_count(r->ctx), most = r->all_inits.count + r->options->noffered + 2;
    do {
        const char *base = base_file_name(r->file), *end = strstr(base, ".onnx");
        r->m = ir_module_new(r->ctx, r->arena,
                             end && !end[5] ? base_strndup(r->scratch, base, (size_t)(end - base))
                                            : base);
        r->states = base_map_new(r->scratch);
        r->bodies = 1;
        for (int i = 0; i < r->all_inits.count; i++) {
            onnx_init *init = r->all_inits.items[i];
            init->state = NULL;
            init->data = init->config = init->stat = init->more_uses = false;
            init->uses.count = 0;
        }
        r->changed = false;
        r->facts->nodes.count = r->facts->layers.count = 0;
        r->facts->has_training_ops = false;
        r->training = false;
        r->inference = r->options->training;
        build_main(r, "forward");
        if (base_error_count(r->ctx) > errors)
            return NULL;
        if (r->options->training && !r->changed) {
            r->training = true;
            r->inference = false;
            build_main(r, "train");
            if (base_error_count(r->ctx) > errors)
                return NULL;
        }
        find_constants(r);
    } while (r->changed && most--);
    return r->m;
}

ir_module *onnx_read_memory(base_ctx *ctx, base_arena *arena, const void *bytes, size_t size,
                            const char *file, const char *folder, const onnx_options *options)
{
    static const onnx_options none;
    onnx_facts unused = {0};
    base_loc *loc = base_new(arena, base_loc);
    *loc = (base_loc){.file = file, .node = -1};
    onnx_reader r = {.ctx = ctx,
                     .arena = arena,
                     .scratch = base_arena_new(ctx),
                     .options = options ? options : &none,
                     .file = file,
                     .folder = folder};
    r.facts = r.options->facts ? r.options->facts : &unused;
    r.errors = base_error_count(ctx);
    r.model = onnx_unpack(arena, loc, bytes, size);
    if (!r.model)
        return NULL;
    if (!r.model->graph) {
        base_report(ctx, BASE_ERROR, loc, "not an ONNX model: it has no graph");
        return NULL;
    }
    r.used_offers = r.dims = r.unopened = base_map_new(r.scratch);
    if (!opsets_ok(&r, loc))
        return NULL;
    if (r.model->n_training_info)
        base_warn(ctx, BASE_W_training_info, loc, "the training graphs in the file are ignored");
    read_lists(&r);
    read_initializers(&r);
    read_signature(&r);
    list_dims(&r);
    check_options(&r);
    bind_dims(&r);
    override_initializers(&r);
    ir_module *m = rounds(&r);
    if (m) {
        check_outputs(&r);
        name_trainables(&r);
        onnx_list_shared(&r);
    }
    base_arena_free(r.scratch);
    return base_error_count(ctx) > r.errors ? NULL : m;
}

ir_module *onnx_read_file(base_ctx *ctx, base_arena *arena, const char *path,
                          const onnx_options *options)
{
    base_data data;
    if (!base_read_whole_file(arena, path, (int64_t)INT32_MAX + 1, &data))
        return NULL;
    return onnx_read_memory(ctx, arena, data.bytes, data.size, base_strdup(arena, path),
                            strcmp(path, "-") ? base_folder_of(arena, path) : NULL, options);
}
