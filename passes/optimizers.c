/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The table of optimizers, and their rules in torch's formulas. A rule is elementwise in the
 * parameter; what all elements share it computes once, at rank 0. */
#include "passes/optimizers.h"
#include "ir/text.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define OPTIMIZER(name, hypers, slots, doc)                                                 \
    static optimizer_rule optimizer_##name;                                                 \
    static const char *const hypers_of_##name[] = {hypers "grad_scale", "clip_norm", NULL}, \
                             *const slots_of_##name[] = {slots NULL};                       \
    _Static_assert(COUNT(hypers_of_##name) <= OPTIMIZER_HYPERS + 3 &&                       \
                       COUNT(slots_of_##name) <= OPTIMIZER_SLOTS + 1,                       \
                   "more than passes/optimizers.h has room for");
#define H(name, value) #name,
#define S(name) #name,
#include "passes/optimizers.def"

#define OPTIMIZER(name, hypers, slots, doc) static const double presets_of_##name[] = {hypers 1, 0};
#define H(name, value) value,
#define S(name)
#include "passes/optimizers.def"

const train_optimizer optimizers[] = {
#define OPTIMIZER(name_, hypers, slots, doc_) \
    {#name_, doc_, hypers_of_##name_, slots_of_##name_, presets_of_##name_, optimizer_##name_},
#include "passes/optimizers.def"
    {0}};

const train_optimizer *train_optimizer_by_name(const char *name)
{
    for (const train_optimizer *o = optimizers; o->name; o++)
        if (!strcmp(o->name, name))
            return o;
    return NULL;
}

int train_hyper_count(const train_optimizer *o)
{
    int n = 0;
    while (o->hyper[n])
        n++;
    return n;
}

const char *train_hyper_name(const train_optimizer *o, int i)
{
    return o->hyper[i];
}

double train_hyper_default(const train_optimizer *o, int i)
{
    return o->preset[i];
}

/* ---- A choice in words ---- */

static const char *no_such_hyper(base_arena *arena, const train_optimizer *o, const char *name)
{
    int n = train_hyper_count(o);
    return base_format(arena, "unknown hyper-parameter '%s'; the optimizer has %s", name,
                       base_and(arena, o->hyper, n));
}

static const train_hyper *find_set(const train_choice *c, const char *name)
{
    for (int i = 0; i < c->hyper.count; i++)
        if (!strcmp(c->hyper.items[i].name, name))
            return &c->hyper.items[i];
    return NULL;
}

/* NAME=VALUE of the optimizer; NULL, or what is wrong. */
static const char *set_hyper(base_arena *arena, const char *item, train_choice *c)
{
    const char *equals = strchr(item, '=');
    train_hyper h = {.name = equals ? base_strndup(arena, item, (size_t)(equals - item)) : item};
    int i = 0;
    while (i < train_hyper_count(c->optimizer) && strcmp(train_hyper_name(c->optimizer, i), h.name))
        i++;
    if (i == train_hyper_count(c->optimizer))
        return no_such_hyper(arena, c->optimizer, h.name);
    if (!equals || ir_read_element(IR_F64, equals + 1, strlen(equals + 1), &h.value) ||
        !(fabs(h.value) <= FLT_MAX))
        return base_format(arena, "'%s': expected NAME=VALUE with a number", item);
    if (find_set(c, h.name))
        return base_format(arena, "'%s' is given twice", h.name);
    BASE_PUSH(arena, &c->hyper, h);
    return NULL;
}

const char *train_choose(base_arena *arena, const char *text, train_choice *out)
{
    size_t n = strcspn(text, ":");
    const char *name = base_strndup(arena, text, n), *wrong = NULL;
    *out = (train_choice){.optimizer = train_optimizer_by_name(name)};
    if (!out->optimizer && (strcmp(name, "none") || text[n])) {
        const char *list = "";
        for (const train_optimizer *o = optimizers; o->name; o++)
            list = base_format(arena, "%s%s, ", list, o->name);
        return base_format(arena, "unknown optimizer `%s`; choose one of %snone", name, list);
    }
    for (const char *at = text + n + (text[n] == ':'); *at && !wrong;) {
        size_t length = strcspn(at, ",");
        wrong = set_hyper(arena, base_strndup(arena, at, length), out);
        at += length + (at[length] == ',');
    }
    for (int i = 0; out->optimizer && i < train_hyper_count(out->optimizer) && !wrong; i++) {
        train_hyper h = {train_hyper_name(out->optimizer, i),
                         train_hyper_default(out->optimizer, i)};
        if (!find_set(out, h.name))
            BASE_PUSH(arena, &out->hyper, h);
    }
    return wrong;
}

/* ---- Pieces of rules ---- */

/* A scalar broadcast to every element. */
static ir_value *wide(optimizer_update *u, ir_value *scalar)
{
    return ir_broadcast(u->b, scalar, u->type.rank, u->type.dim, NULL);
}

static ir_value *scale(optimizer_update *u, ir_value *x, ir_value *scalar)
{
    return ir_mul(u->b, x, wide(u, scalar));
}

static ir_value *number(optimizer_update *u, double v)
{
    return ir_scalar(u->b, u->type.dtype, v);
}

/* 1 - x */
static ir_value *rest(optimizer_update *u, ir_value *x)
{
    return ir_sub(u->b, number(u, 1), x);
}

/* 1 - beta^t, exact to the last bits also where beta is near 1: through log1p and expm1, not a
 * power. */
static ir_value *bias_correction(optimizer_update *u, ir_value *beta)
{
    ir_value *log = ir_log1p(u->b, ir_sub(u->b, beta, number(u, 1)));
    return ir_neg(u->b, ir_expm1(u->b, ir_mul(u->b, u->t, log)));
}

/* beta x + (1 - beta) y */
static ir_value *average(optimizer_update *u, ir_value *beta, ir_value *x, ir_value *y)
{
    return ir_add(u->b, scale(u, x, beta), scale(u, y, rest(u, beta)));
}

static ir_value *square(optimizer_update *u, ir_value *x)
{
    return ir_mul(u->b, x, x);
}

static ir_value *plus(optimizer_update *u, ir_value *x, ir_value *scalar)
{
    return ir_add(u->b, x, wide(u, scalar));
}

/* The gradient plus that of the L2 penalty. */
static ir_value *decayed(optimizer_update *u, ir_value *weight_decay)
{
    return u->decay ? ir_add(u->b, u->g, scale(u, u->p, weight_decay)) : u->g;
}

/* p - rate x */
static ir_value *descend(optimizer_update *u, ir_value *p, ir_value *rate, ir_value *x)
{
    return ir_sub(u->b, p, scale(u, x, rate));
}

/* ---- Rules ---- */

static ir_value *optimizer_sgd(optimizer_update *u)
{
    enum { LR, DECAY };
    return descend(u, u->p, u->hyper[LR], decayed(u, u->hyper[DECAY]));
}

static ir_value *optimizer_momentum(optimizer_update *u)
{
    enum { LR, MOMENTUM, DECAY };
    u->slot[0] =
        ir_add(u->b, scale(u, u->slot[0], u->hyper[MOMENTUM]), decayed(u, u->hyper[DECAY]));
    return descend(u, u->p, u->hyper[LR], u->slot[0]);
}

static ir_value *optimizer_nesterov(optimizer_update *u)
{
    enum { LR, MOMENTUM, DECAY };
    ir_value *g = decayed(u, u->hyper[DECAY]);
    u->slot[0] = ir_add(u->b, scale(u, u->slot[0], u->hyper[MOMENTUM]), g);
    return descend(u, u->p, u->hyper[LR],
                   ir_add(u->b, g, scale(u, u->slot[0], u->hyper[MOMENTUM])));
}

enum { ADAM_LR, ADAM_BETA1, ADAM_BETA2, ADAM_EPS, ADAM_DECAY };

static ir_value *adam_step(optimizer_update *u, ir_value *p, ir_value *g)
{
    u->slot[0] = average(u, u->hyper[ADAM_BETA1], u->slot[0], g);
    u->slot[1] = average(u, u->hyper[ADAM_BETA2], u->slot[1], square(u, g));
    ir_value *rate = ir_div(u->b, u->hyper[ADAM_LR], bias_correction(u, u->hyper[ADAM_BETA1]));
    ir_value *root = ir_rsqrt(u->b, bias_correction(u, u->hyper[ADAM_BETA2]));
    ir_value *below = plus(u, scale(u, ir_sqrt(u->b, u->slot[1]), root), u->hyper[ADAM_EPS]);
    return descend(u, p, rate, ir_div(u->b, u->slot[0], below));
}

static ir_value *optimizer_adam(optimizer_update *u)
{
    return adam_step(u, u->p, decayed(u, u->hyper[ADAM_DECAY]));
}

static ir_value *optimizer_adamw(optimizer_update *u)
{
    ir_value *kept = rest(u, ir_mul(u->b, u->hyper[ADAM_LR], u->hyper[ADAM_DECAY]));
    return adam_step(u, u->decay ? scale(u, u->p, kept) : u->p, u->g);
}

static ir_value *optimizer_adamax(optimizer_update *u)
{
    ir_value *g = decayed(u, u->hyper[ADAM_DECAY]);
    u->slot[0] = average(u, u->hyper[ADAM_BETA1], u->slot[0], g);
    u->slot[1] = ir_max(u->b, scale(u, u->slot[1], u->hyper[ADAM_BETA2]),
                        plus(u, ir_abs(u->b, g), u->hyper[ADAM_EPS]));
    ir_value *rate = ir_div(u->b, u->hyper[ADAM_LR], bias_correction(u, u->hyper[ADAM_BETA1]));
    return descend(u, u->p, rate, ir_div(u->b, u->slot[0], u->slot[1]));
}

/* The number of gradients that the second moment averages is rho = rho_inf - 2 t beta^t / (1 -
 * beta^t), rho_inf = 2 / (1 - beta) - 1: a small difference of large numbers, so in f64. Of it, the
 * factor of Adam's step; *certain: rho > 5, below which the step is that of momentum. */
static ir_value *rectification(optimizer_update *u, ir_value **certain)
{
    ir_builder *b = u->b;
    ir_value *t = ir_convert(b, u->t, IR_F64), *two = ir_scalar(b, IR_F64, 2);
    ir_value *less = ir_plus(b, ir_convert(b, u->hyper[ADAM_BETA2], IR_F64), -1),
             *log = ir_mul(b, t, ir_log1p(b, less));
    ir_value *all = ir_plus(b, ir_neg(b, ir_div(b, two, less)), -1),
             *gone = ir_div(b, ir_exp(b, log), ir_expm1(b, log));
    ir_value *rho = ir_add(b, all, ir_mul(b, ir_mul(b, two, t), gone));
    ir_value *above = ir_mul(b, ir_mul(b, ir_plus(b, rho, -4), ir_plus(b, rho, -2)), all),
             *below = ir_mul(b, ir_mul(b, ir_plus(b, all, -4), ir_plus(b, all, -2)), rho);
    *certain = ir_compare(b, IR_GT, rho, ir_scalar(b, IR_F64, 5));
    return ir_convert(b, ir_sqrt(b, ir_div(b, above, below)), u->type.dtype);
}

static ir_value *optimizer_radam(optimizer_update *u)
{
    ir_value *g = decayed(u, u->hyper[ADAM_DECAY]), *certain, *factor = rectification(u, &certain);
    u->slot[0] = average(u, u->hyper[ADAM_BETA1], u->slot[0], g);
    u->slot[1] = average(u, u->hyper[ADAM_BETA2], u->slot[1], square(u, g));
    ir_value *rate = ir_div(u->b, u->hyper[ADAM_LR], bias_correction(u, u->hyper[ADAM_BETA1]));
    ir_value *root = ir_sqrt(u->b, bias_correction(u, u->hyper[ADAM_BETA2]));
    ir_value *below = plus(u, ir_sqrt(u->b, u->slot[1]), u->hyper[ADAM_EPS]);
    ir_value *adaptive = ir_div(u->b, wide(u, ir_mul(u->b, root, factor)), below);
    adaptive = ir_select(u->b, wide(u, certain), adaptive, wide(u, number(u, 1)));
    return descend(u, u->p, rate, ir_mul(u->b, u->slot[0], adaptive));
}

static ir_value *optimizer_adagrad(optimizer_update *u)
{
    enum { LR, LR_DECAY, DECAY, EPS };
    ir_value *g = decayed(u, u->hyper[DECAY]), *before = ir_sub(u->b, u->t, number(u, 1));
    ir_value *rate = ir_div(u->b, u->hyper[LR],
                            ir_add(u->b, number(u, 1), ir_mul(u->b, before, u->hyper[LR_DECAY])));
    u->slot[0] = ir_add(u->b, u->slot[0], square(u, g));
    return descend(u, u->p, rate,
                   ir_div(u->b, g, plus(u, ir_sqrt(u->b, u->slot[0]), u->hyper[EPS])));
}

static ir_value *optimizer_adadelta(optimizer_update *u)
{
    enum { LR, RHO, EPS, DECAY };
    ir_value *g = decayed(u, u->hyper[DECAY]);
    u->slot[0] = average(u, u->hyper[RHO], u->slot[0], square(u, g));
    ir_value *to = ir_sqrt(u->b, plus(u, u->slot[1], u->hyper[EPS])),
             *from = ir_sqrt(u->b, plus(u, u->slot[0], u->hyper[EPS]));
    ir_value *delta = ir_mul(u->b, ir_div(u->b, to, from), g);
    u->slot[1] = average(u, u->hyper[RHO], u->slot[1], square(u, delta));
    return descend(u, u->p, u->hyper[LR], delta);
}

static ir_value *optimizer_rmsprop(optimizer_update *u)
{
    enum { LR, ALPHA, EPS, DECAY };
    ir_value *g = decayed(u, u->hyper[DECAY]);
    u->slot[0] = average(u, u->hyper[ALPHA], u->slot[0], square(u, g));
    return descend(u, u->p, u->hyper[LR],
                   ir_div(u->b, g, plus(u, ir_sqrt(u->b, u->slot[0]), u->hyper[EPS])));
}
