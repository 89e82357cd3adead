/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * --attach-loss=KIND[,NAME=VALUE…][:OUTPUT]: an output's loss against an input `label`, as torch
 * computes it.
 *
 * How to add a kind: its rule, and a row in `kinds`. */
#include "api/session.h"
#include "files/npy.h"
#include "ir/nn.h"
#include "ir/text.h"

#include <string.h>

typedef struct attachment {
    api_session *s;
    ir_builder b;
    const char *text;    /* the option */
    ir_value *x;         /* the output, in f32 at least */
    ir_type type;        /* the output's own */
    ir_reduction reduction;
    double smoothing, delta, margin;
    ir_literal *weight;  /* NULL: none */
} attachment;

typedef ir_value *loss_rule(attachment *a);

/* Adds the input `label`. */
static ir_value *add_label(attachment *a, const ir_type *t)
{
    return ir_add_input(a->b.func, "label", t);
}

static ir_value *label_of_floats(attachment *a)
{
    return ir_convert(&a->b, add_label(a, &a->type), a->x->type.dtype);
}

/* The weights, broadcast to the shape; NULL and reported if they do not fit. */
static ir_value *weights(attachment *a, int rank, const int64_t *dim)
{
    const ir_type *t = &a->weight->type;
    bool fits = t->rank <= rank;
    for (int i = 0; fits && i < t->rank; i++)
        fits = t->dim[i] == dim[rank - t->rank + i] || t->dim[i] == 1;
    if (!fits) {
        ir_type due = ir_type_of(a->x->type.dtype, rank, dim);
        api_error(a->s, "--attach-loss=%s: the weights are %s, expected %s", a->text,
                  ir_type_text(a->s->arena, t), ir_type_text(a->s->arena, &due));
        return NULL;
    }
    return ir_broadcast_to(
        &a->b, ir_convert(&a->b, ir_constant(&a->b, a->weight), a->x->type.dtype), rank, dim);
}

/* Classes along the last dimension; label: i64 of the shape without it, -100 where ignored. */
static ir_value *of_classes(attachment *a, bool logarithms)
{
    ir_value *x = a->x;
    int last = x->type.rank - 1;
    if (last < 0 || !x->type.dim[last])
        return NULL;
    ir_type t = ir_type_of(IR_I64, last, x->type.dim);
    ir_classes k = {.axis = last,
                    .ignores = true,
                    .ignore = -100,
                    .smoothing = a->smoothing,
                    .reduction = a->reduction};
    if (a->weight && !(k.weight = weights(a, 1, &x->type.dim[last])))
        return NULL;
    k.logs = logarithms ? x : ir_log_softmax(&a->b, x, last);
    return ir_nll(&a->b, &k, add_label(a, &t));
}

static ir_value *softmax_cross_entropy(attachment *a)
{
    return of_classes(a, false);
}

static ir_value *nll(attachment *a)
{
    return of_classes(a, true);
}

static ir_value *bce_with_logits(attachment *a)
{
    ir_value *loss = ir_bce_with_logits(&a->b, a->x, label_of_floats(a)), *w;
    if (a->weight) {
        w = weights(a, a->x->type.rank, a->x->type.dim);
        loss = w ? ir_mul(&a->b, loss, w) : NULL;
    }
    return ir_reduced(&a->b, loss, a->reduction);
}

static ir_value *difference(attachment *a)
{
    return ir_sub(&a->b, a->x, label_of_floats(a));
}

static ir_value *mse(attachment *a)
{
    ir_value *d = difference(a);
    return ir_reduced(&a->b, ir_mul(&a->b, d, d), a->reduction);
}

static ir_value *l1(attachment *a)
{
    return ir_reduced(&a->b, ir_abs(&a->b, difference(a)), a->reduction);
}

static ir_value *huber(attachment *a)
{
    return ir_reduced(&a->b, ir_huber(&a->b, difference(a), a->delta), a->reduction);
}

/* x: log-probabilities; label: probabilities. */
static ir_value *kl_div(attachment *a)
{
    return ir_reduced(&a->b, ir_kl_div(&a->b, a->x, label_of_floats(a)), a->reduction);
}

static ir_value *hinge(attachment *a)
{
    return ir_reduced(&a->b, ir_hinge(&a->b, a->x, label_of_floats(a), a->margin), a->reduction);
}

static const struct kind {
    const char *name;
    loss_rule *rule;
    const char *options[4];
} kinds[] = {
    {"softmax_cross_entropy", softmax_cross_entropy, {"reduction", "smoothing", "weight"}},
    {"nll", nll, {"reduction", "smoothing", "weight"}},
    {"bce_with_logits", bce_with_logits, {"reduction", "weight"}},
    {"mse", mse, {"reduction"}},
    {"l1", l1, {"reduction"}},
    {"huber", huber, {"delta", "reduction"}},
    {"kl_div", kl_div, {"reduction"}},
    {"hinge", hinge, {"margin", "reduction"}},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- The option ---- */

static bool set_number(attachment *a, double *out, const char *name, const char *value,
                       double least, double most)
{
    double v;
    if (ir_read_element(IR_F64, value, strlen(value), &v) || !(v >= least && v <= most)) {
        api_usage(a->s, "--attach-loss=%s: %s=%s: expected a number from %g to %g", a->text, name,
                  value, least, most);
        return false;
    }
    *out = v;
    return true;
}

static bool set_weight(attachment *a, const char *value)
{
    if (*value != '@' || !value[1]) {
        api_usage(a->s, "--attach-loss=%s: weight=%s: expected weight=@FILE.npy", a->text, value);
        return false;
    }
    a->weight = npy_read_file(a->s->arena, value + 1);
    if (a->weight && !ir_is_float(a->weight->type.dtype)) {
        api_error(a->s, "%s: the weights are %s, expected floats", value + 1,
                  ir_type_text(a->s->arena, &a->weight->type));
        a->weight = NULL;
    }
    return a->weight != NULL;
}

static bool set_option(attachment *a, const char *name, const char *value)
{
    if (!strcmp(name, "weight"))
        return set_weight(a, value);
    if (!strcmp(name, "smoothing"))
        return set_number(a, &a->smoothing, name, value, 0, 1);
    if (!strcmp(name, "delta"))
        return set_number(a, &a->delta, name, value, 1e-30, 1e30);
    if (!strcmp(name, "margin"))
        return set_number(a, &a->margin, name, value, -1e30, 1e30);
    if (strcmp(value, "mean") && strcmp(value, "sum")) {
        api_usage(a->s, "--attach-loss=%s: reduction=%s: expected mean or sum", a->text, value);
        return false;
    }
    a->reduction = *value == 'm' ? IR_REDUCE_MEAN : IR_REDUCE_SUM;
    return true;
}

static const struct kind *find_kind(attachment *a, const char *name)
{
    const char *all[KINDS];
    for (int i = 0; i < KINDS; i++) {
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
        all[i] = kinds[i].name;
    }
    api_usage(a->s, "--attach-loss=%s: unknown loss '%s'; the losses are %s", a->text, name,
              base_and(a->s->arena, all, KINDS));
    return NULL;
}

/* Whether the kind has this option and it is given for the first time; sets its bit in `seen`. */
static bool has_option(attachment *a, const struct kind *kind, const char *name, unsigned *seen)
{
    int n = 0;
    for (; kind->options[n]; n++) {
        if (strcmp(kind->options[n], name))
            continue;
        if (*seen >> n & 1) {
            api_usage(a->s, "--attach-loss=%s: '%s' is given twice", a->text, name);
            return false;
        }
        *seen |= 1u << n;
        return true;
    }
    api_usage(a->s, "--attach-loss=%s: %s has no option '%s', only %s", a->text, kind->name, name,
              base_and(a->s->arena, kind->options, n));
    return false;
}

/* Reads the text before the colon; NULL and reported if it is wrong. */
static const struct kind *read_kind(attachment *a, size_t length)
{
    char *text = base_strndup(a->s->arena, a->text, length), *comma = strchr(text, ',');
    if (comma)
        *comma = 0;
    const struct kind *kind = find_kind(a, text);
    unsigned seen = 0;
    for (char *at = comma; kind && at;) {
        char *name = at + 1, *next = strchr(name, ','), *value = strchr(name, '=');
        if (next)
            *next = 0;
        if (!value || (next && value > next)) {
            api_usage(a->s, "--attach-loss=%s: '%s': expected NAME=VALUE", a->text, name);
            return NULL;
        }
        *value = 0;
        if (!has_option(a, kind, name, &seen) || !set_option(a, name, value + 1))
            return NULL;
        at = next;
    }
    return kind;
}

static bool name_is_free(api_session *s, const ir_func *f)
{
    for (int i = 0; i < f->params.count + f->results.count; i++) {
        const ir_port *p =
            i < f->params.count ? &f->params.items[i] : &f->results.items[i - f->params.count];
        if (p->bind == IR_INPUT && !strcmp(p->name, i < f->params.count ? "label" : "loss")) {
            api_usage(s, "--attach-loss: the model already has an %s '%s'",
                      i < f->params.count ? "input" : "output", p->name);
            return false;
        }
    }
    return true;
}

/* The float output of that name, or the only one; -1 and reported if there is none. */
static int find_output(const attachment *a, const ir_func *f, const char *name)
{
    int which = -1, floats = 0;
    for (int i = 0; i < f->results.count; i++) {
        const ir_port *p = &f->results.items[i];
        if (p->bind != IR_INPUT || !ir_is_float(p->value->type.dtype))
            continue;
        floats += !name;
        if (!name ? floats == 1 : !strcmp(p->name, name))
            which = i;
    }
    if (which >= 0 && floats <= 1)
        return which;
    api_usage(a->s, "--attach-loss=%s: expected KIND:OUTPUT with a float output", a->text);
    return -1;
}

bool api_attach_loss(api_session *s, ir_func *f)
{
    attachment a = {.s = s,
                    .b = ir_builder_new(f),
                    .text = s->options.attach_loss,
                    .reduction = IR_REDUCE_MEAN,
                    .delta = 1,
                    .margin = 1};
    const char *colon = strchr(a.text, ':');
    const struct kind *kind = read_kind(&a, colon ? (size_t)(colon - a.text) : strlen(a.text));
    int which = kind ? find_output(&a, f, colon ? colon + 1 : NULL) : -1;
    if (which < 0 || !name_is_free(s, f))
        return false;
    ir_value *x = f->results.items[which].value;
    int errors = base_error_count(s->ctx);
    a.b.loc = x->def ? x->def->loc : NULL;
    a.type = x->type;
    /* Rounded once, at the end. */
    a.x = ir_convert(&a.b, x, ir_dtypes[a.type.dtype].bytes < 4 ? IR_F32 : a.type.dtype);
    ir_value *loss = ir_count(&a.type) ? kind->rule(&a) : NULL;
    if (!loss) {
        if (base_error_count(s->ctx) == errors)
            api_error(s, "--attach-loss=%s: cannot be computed for an output of type %s", a.text,
                      ir_type_text(s->arena, &a.type));
        return false;
    }
    ir_add_output(f, "loss", ir_convert(&a.b, loss, a.type.dtype));
    f->loss = f->results.count - 1;
    return true;
}
