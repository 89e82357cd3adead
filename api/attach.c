/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * --attach-loss: an output's loss against an input `label`, as torch computes it with reduction="mean". */
#include "api/session.h"

#include <string.h>

typedef ir_value *loss_rule(ir_builder *b, ir_func *f, ir_value *x);

static ir_value *mean(ir_builder *b, ir_value *x)
{
    int64_t axes[IR_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++)
        axes[i] = i;
    int64_t n = ir_count(&x->type);
    return ir_div(b, ir_reduce(b, IR_SUM, x, x->type.rank, axes), ir_scalar(b, x->type.dtype, (double)n));
}

static ir_value *like(ir_builder *b, const ir_value *x, double v)
{
    return ir_splat(b, &x->type, v);
}

/* x: scores, classes along the last dimension; label: i64, x's shape without it. */
static ir_value *softmax_cross_entropy(ir_builder *b, ir_func *f, ir_value *x)
{
    if (!x->type.rank || x->type.rank == IR_MAX_RANK)
        return NULL;
    int last = x->type.rank - 1;
    int64_t axis = last, shape[IR_MAX_RANK], dims[IR_MAX_RANK];
    ir_type t = ir_type_of(IR_I64, last, x->type.dim);
    memcpy(shape, t.dim, sizeof shape);
    shape[last] = 1;
    for (int i = 0; i < last; i++)
        dims[i] = i;
    ir_value *label = ir_add_input(f, "label", &t);
    ir_value *top = ir_stop_gradient(b, ir_reduce(b, IR_MAX, x, 1, &axis));
    ir_value *low = ir_sub(b, x, ir_broadcast(b, top, x->type.rank, x->type.dim, dims));
    ir_value *sum = ir_log(b, ir_reduce(b, IR_SUM, ir_exp(b, low), 1, &axis));
    ir_value *own = ir_gather(b, low, ir_reshape(b, label, last + 1, shape), 1, &axis, last);
    return mean(b, ir_sub(b, sum, own));
}

/* max(x, 0) - x y + log(1 + e^-|x|) */
static ir_value *bce_with_logits(ir_builder *b, ir_func *f, ir_value *x)
{
    ir_value *y = ir_add_input(f, "label", &x->type);
    ir_value *soft = ir_unary(b, IR_OP_log1p, ir_exp(b, ir_neg(b, ir_abs(b, x))));
    return mean(b, ir_add(b, ir_sub(b, ir_max(b, x, like(b, x, 0)), ir_mul(b, x, y)), soft));
}

static ir_value *mse(ir_builder *b, ir_func *f, ir_value *x)
{
    ir_value *d = ir_sub(b, x, ir_add_input(f, "label", &x->type));
    return mean(b, ir_mul(b, d, d));
}

static ir_value *l1(ir_builder *b, ir_func *f, ir_value *x)
{
    return mean(b, ir_abs(b, ir_sub(b, x, ir_add_input(f, "label", &x->type))));
}

static const struct {
    const char *name;
    loss_rule *rule;
} kinds[] = {{"softmax_cross_entropy", softmax_cross_entropy}, {"bce_with_logits", bce_with_logits}, {"mse", mse}, {"l1", l1}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static bool name_is_free(api_session *s, const ir_func *f)
{
    for (int i = 0; i < f->params.count + f->results.count; i++) {
        const ir_port *p = i < f->params.count ? &f->params.items[i] : &f->results.items[i - f->params.count];
        if (p->bind == IR_INPUT && !strcmp(p->name, i < f->params.count ? "label" : "loss")) {
            api_usage(s, "--attach-loss: the model has an %s '%s' already", i < f->params.count ? "input" : "output", p->name);
            return false;
        }
    }
    return true;
}

bool api_attach_loss(api_session *s, ir_func *f)
{
    const char *text = s->options.attach_loss, *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    int kind = 0, which = -1, floats = 0;
    while (kind < KINDS && (strlen(kinds[kind].name) != n || strncmp(kinds[kind].name, text, n)))
        kind++;
    for (int i = 0; i < f->results.count; i++) {
        const ir_port *p = &f->results.items[i];
        if (p->bind != IR_INPUT || !ir_is_float(p->value->type.dtype))
            continue;
        floats += !colon;
        if (!colon ? floats == 1 : !strcmp(p->name, colon + 1))
            which = i;
    }
    if (kind == KINDS || which < 0 || floats > 1) {
        api_usage(s, kind == KINDS ? "--attach-loss=%s: softmax_cross_entropy, bce_with_logits, mse or l1"
                                   : "--attach-loss=%s: KIND:OUTPUT is due, with one of the outputs of floats", text);
        return false;
    }
    if (!name_is_free(s, f))
        return false;
    ir_value *x = f->results.items[which].value;
    ir_builder b = ir_builder_new(f);
    b.loc = x->def ? x->def->loc : NULL;
    ir_value *loss = ir_count(&x->type) ? kinds[kind].rule(&b, f, x) : NULL;
    if (!loss) {
        api_error(s, "--attach-loss=%s: not for an output of type %s", text, ir_type_text(s->arena, &x->type));
        return false;
    }
    ir_add_output(f, "loss", loss);
    f->loss = f->results.count - 1;
    return true;
}
