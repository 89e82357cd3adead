/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Warns where training may not be what the author meant: exporters write inference mode for
 * training, and merge tensors that are only equal at the start. Once per model, whatever the number
 * of its specialisations. */
#include "api/session.h"

#include <string.h>

enum { MOST_NAMES = 20 };

/* A list of names as text, of which the first few are shown. */
typedef struct listing {
    const char *text;
    int count;
} listing;

static void list_name(api_session *s, listing *l, const char *name)
{
    if (l->count++ < MOST_NAMES)
        l->text =
            base_format(s->arena, "%s%s%s", l->text ? l->text : "", l->text ? ", " : "", name);
}

static const char *listed(api_session *s, const listing *l, bool more)
{
    if (l->count > MOST_NAMES)
        return base_format(s->arena, "%s and %d more", l->text, l->count - MOST_NAMES);
    return more ? base_format(s->arena, "%s and others", l->text) : l->text;
}

/* ---- Modes ---- */

/* One warning for all layers of a kind in a mode, at the first one; it names the others. `what`
 * says what that means. */
static void warn_mode(api_session *s, base_warning which, bool batch_norm, bool training,
                      const char *what)
{
    const base_loc *first = NULL;
    listing others = {0};
    for (int i = 0; i < s->facts.layers.count; i++) {
        const onnx_layer_info *x = &s->facts.layers.items[i];
        if (x->batch_norm != batch_norm || x->training != training)
            continue;
        if (first)
            list_name(s, &others,
                      base_format(s->arena, x->loc->name ? "node %d '%s'" : "node %d", x->loc->node,
                                  x->loc->name));
        first = first ? first : x->loc;
    }
    if (first)
        base_warn(s->ctx, which, first, "in %s mode%s%s: %s", training ? "training" : "inference",
                  others.count ? ", as are " : "", others.count ? listed(s, &others, false) : "",
                  what);
}

/* What the exporter folded, as far as the file shows it. */
static void warn_folded(api_session *s, const ir_module *m)
{
    const base_loc loc = {.file = s->path, .node = -1};
    const onnx_facts *f = &s->facts;
    listing means = {0}, made = {0};
    for (int i = 0; i < f->folded_means.count; i++)
        list_name(s, &means, base_format(s->arena, "'%s'", f->folded_means.items[i]));
    for (int i = 0; i < m->states.count; i++) {
        const ir_state *x = m->states.items[i];
        if (x->kind == IR_PARAM && x->trainable && !strncmp(x->name, "onnx::", 6))
            list_name(s, &made, base_format(s->arena, "'%s'", x->name));
    }
    if (means.count)
        base_warn(
            s->ctx, BASE_W_folded_layers, &loc,
            "of the running statistics that the exporter lists, %s %s not in the file: folded "
            "with the BatchNormalization into the layer before, "
            "or merged with an equal tensor; optimize=False keeps them",
            listed(s, &means, false), means.count > 1 ? "are" : "is");
    else if (f->torch_list && !f->layers.count)
        base_warn(s->ctx, BASE_W_folded_layers, &loc,
                  "neither BatchNormalization nor Dropout is in the file; torch's newer exporter "
                  "keeps those of a model in training mode only with optimize=False");
    if (made.count)
        base_warn(s->ctx, BASE_W_folded_layers, &loc,
                  "%s: the exporter computed %s from the model's parameters, as it does when it "
                  "folds BatchNormalization; training=TrainingMode.TRAINING and "
                  "do_constant_folding=False keep the model's",
                  listed(s, &made, false), made.count > 1 ? "these" : "it");
}

static void warn_modes(api_session *s, const ir_module *m)
{
    bool train = s->options.train != NULL, said = s->options.batchnorm != NULL;
    if (train && !said)
        warn_mode(
            s, BASE_W_batchnorm_eval, true, false,
            "training uses the running statistics and does not update them; give --batchnorm=train "
            "to use the batch's, or --batchnorm=eval to keep the running ones");
    if (!train && !said)
        warn_mode(s, BASE_W_batchnorm_train, true, true,
                  "it uses the batch's statistics and not the running ones; give --batchnorm=eval "
                  "to use those, or --batchnorm=file to keep the batch's");
    if (train)
        warn_mode(s, BASE_W_dropout_eval, false, false, "training drops no elements");
    else
        warn_mode(s, BASE_W_dropout_train, false, true, "it drops elements at random");
    if (train)
        warn_folded(s, m);
}

bool api_check_layers(api_session *s)
{
    const char *mode = s->options.batchnorm;
    int found = 0;
    for (int i = 0; i < s->facts.layers.count; i++)
        found += s->facts.layers.items[i].batch_norm;
    if (!mode || strcmp(mode, "train") || found)
        return true;
    api_usage(s,
              "--batchnorm=train: there is no BatchNormalization in %s; torch's exporters fold it "
              "into the layer before it, the older one without training=TrainingMode.TRAINING, the "
              "newer one without optimize=False",
              s->path);
    return false;
}

/* ---- Parameters ---- */

static void warn_shared(api_session *s, const ir_module *m)
{
    for (int i = 0; i < s->facts.shared.count; i++) {
        const onnx_shared_info *x = &s->facts.shared.items[i];
        const ir_state *state = ir_state_by_name(m, x->name);
        listing users = {0};
        if (!state || !(state->trainable || state->kind == IR_STAT))
            continue;
        for (int k = 0; k < x->users.count; k++)
            list_name(s, &users, x->users.items[k]);
        base_warn(s->ctx, BASE_W_tied_weights, &(base_loc){.file = s->path, .node = -1},
                  "'%s' is one tensor for %s and stays one in training; torch's exporters merge "
                  "equal tensors, as copies are before training",
                  x->name, listed(s, &users, x->more));
    }
}

static void warn_merged(api_session *s)
{
    listing names = {0};
    for (int i = 0; i < s->facts.merged_params.count; i++)
        list_name(s, &names, base_format(s->arena, "'%s'", s->facts.merged_params.items[i]));
    if (names.count)
        base_warn(
            s->ctx, BASE_W_merged_parameter, &(base_loc){.file = s->path, .node = -1},
            "of the parameters that the exporter lists, %s %s not in the file: merged with an "
            "equal one, or folded into a constant",
            listed(s, &names, false), names.count > 1 ? "are" : "is");
}

/* A single number, or a mask of huge numbers, is hardly a weight and may need --freeze. */
static bool looks_odd(const ir_state *x)
{
    int64_t n = ir_count(&x->type);
    if (!x->init)
        return false;
    for (int64_t i = 0; i < n && i < 1 << 20; i++) {
        double v = ir_literal_get(x->init, i);
        if (!(v > -1e4 && v < 1e4))
            return true;
    }
    return x->type.rank == 0;
}

static void warn_odd(api_session *s, const ir_module *m)
{
    for (int i = 0; i < m->states.count; i++) {
        const ir_state *x = m->states.items[i];
        if (x->kind == IR_PARAM && x->trainable && !s->options.trainable.count &&
            !s->facts.torch_list && looks_odd(x))
            base_warn(s->ctx, BASE_W_odd_parameter, NULL,
                      "'%s' trains, but does not look like a weight; --freeze keeps it constant",
                      x->name);
    }
}

void api_warn(api_session *s, const ir_module *m)
{
    warn_modes(s, m);
    if (!s->options.train && !s->options.grad)
        return;
    warn_shared(s, m);
    warn_merged(s);
    warn_odd(s, m);
}
