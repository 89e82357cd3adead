/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The derivative of scan. The body is differentiated and cut (body_vjp.h). The forward half
 * replaces the body; its residuals are stacked as more ys. The backward half becomes the body of a
 * second scan in the other direction: its carries are the cotangents of the carries, its xs are the
 * residuals, the cotangents of the ys, and the xs that it reads again.
 *
 * A carry's value before an iteration is its value after the previous one; so if that is stacked
 * anyway, it is not saved again but read from there, shifted by one.
 *
 * What does not feed the next iteration need not be inside the loop. The cotangent of a constant is
 * a sum over the iterations; where an iteration's term is a contraction (x^T dy), its operands are
 * stacked and one contraction over all iterations follows the loop; likewise a reduction (of a
 * bias). Cotangents of xs that are contractions with a constant (dy W^T) are one contraction over
 * all iterations too. Both are collected in a function `after`, which is then inlined after the
 * loop. Everything else is summed in a carry, 16-bit types in f32.
 *
 * With `live`, iterations that did not run must have cotangents of zero; their residuals are zeros,
 * from which the backward half could compute something else. So it is inside a cond then. */
#include "passes/body_vjp.h"
#include "passes/loop_batch.h"
#include "passes/vjp.h"

#include <string.h>

/* Marks of joint's instructions: INSIDE: feeds the next iteration; LINEAR: its sum is better
 * computed after the loop; CONTRACTS: because of a contraction. */
enum { INSIDE = 1, LINEAR = 2, CONTRACTS = 4 };

typedef struct source { /* something that the reverse body reads or returns */
    ir_value *inside;   /* joint's value */
    ir_value *outside;  /* operand of the reverse scan, or its result when there is one */
    ir_value *after;    /* parameter of `after`, or NULL */
    int carry;          /* if it is the cotangent of a carry: which one */
} source;

typedef BASE_LIST(source) sources;

typedef struct loop {
    const ir_inst *inst;
    const struct ir_attrs_scan *a;
    base_arena *scratch;
    body_vjp h;
    int fixed, params, ys;       /* consts and carries; with xs; results without trips */
    bool *has_ct, *want;         /* by result of the body; by its parameter */
    ir_inst *forward;            /* the scan that saves */
    sources consts, carries, xs; /* operands of the reverse scan */
    sources sums, stacks;        /* summed in carries; stacked as ys */
    ir_builder after;
    loop_batch all;              /* joint's values in `after`, … */
    ir_value **totals;           /* … and their sums, by id */
    int depth;                   /* of total's recursion */
} loop;

static ir_module *module_of(const loop *l)
{
    return l->inst->func->module;
}

/* ---- What has a cotangent ---- */

static bool is_carry(const loop *l, int param)
{
    return param >= l->a->consts && param < l->fixed;
}

/* A carry has a cotangent if it depends on what is wanted and something with a cotangent depends on
 * it, through any number of iterations. False if nothing has one. */
static bool find_active(loop *l, ir_value *const *ct, const bool *want)
{
    const ir_func *body = l->a->body;
    int n = body->results.count, carries = (int)l->a->carries, consts = (int)l->a->consts;
    bool *from = base_array(l->scratch, bool, l->params),
         *depends = base_array(l->scratch, bool, n),
         *reached = base_array(l->scratch, bool, l->params), any = false;
    l->want = base_array(l->scratch, bool, l->params);
    l->has_ct = base_array(l->scratch, bool, n);
    memcpy(from, want, (size_t)l->params * sizeof *from);
    for (bool changed = true; changed;) {
        changed = false;
        body_vjp_depends(body, from, depends);
        for (int i = 0; i < carries; i++)
            if (depends[i] && !from[consts + i])
                from[consts + i] = changed = true;
    }
    for (int i = 0; i < l->ys; i++)
        l->has_ct[i] = ct[i] && (i < carries || depends[i]);
    for (bool changed = true; changed;) {
        changed = false;
        body_vjp_reaches(body, l->has_ct, reached);
        for (int i = 0; i < carries; i++)
            if (reached[consts + i] && !l->has_ct[i])
                l->has_ct[i] = changed = true;
    }
    for (int i = 0; i < carries; i++)
        l->has_ct[i] &= from[consts + i];
    for (int i = 0; i < l->params; i++)
        l->want[i] = is_carry(l, i)
                         ? l->has_ct[i - consts]
                         : want[i] && ir_is_float(body->params.items[i].value->type.dtype);
    for (int i = 0; i < l->ys; i++)
        any |= l->has_ct[i];
    return any;
}

/* ---- Forward, and where backward finds what it reads ---- */

/* The index of the y that is v (of joint), or -1. */
static int y_of(const loop *l, const ir_value *v)
{
    for (int i = (int)l->a->carries; i < l->ys; i++)
        if (l->h.joint->results.items[i].value == v)
            return i;
    return -1;
}

/* What carry parameter v is in the next iteration. */
static ir_value *next_of(const loop *l, const ir_value *v)
{
    return l->h.joint->results.items[v->index - l->a->consts].value;
}

static bool is_stepped(const loop *l, const ir_value *v)
{
    return !v->def && is_carry(l, v->index) && next_of(l, v) != v;
}

/* Must v, which backward reads (its aux is set), be one of the additional results of the forward
 * half? */
static bool must_save(const loop *l, const ir_value *v)
{
    if (v->def)
        return y_of(l, v) < 0;
    if (!is_stepped(l, v))
        return false;
    const ir_value *next = next_of(l, v);
    return y_of(l, next) < 0 && !(next->def && next->aux);
}

/* The forward scan with the values `save` as ys after its own. */
static void build_forward(loop *l, ir_value **save, int nsave)
{
    const ir_inst *inst = l->inst;
    l->forward = (ir_inst *)inst;
    if (!nsave)
        return;
    ir_attrs attrs = *inst->attrs;
    ir_builder b = ad_before(inst);
    attrs.scan.body = body_vjp_forward(&l->h, save, NULL, nsave, l->a->live != 0);
    l->forward = ir_build(&b, IR_OP_scan, inst->operand, inst->noperands, &attrs);
    ir_built(&b);
    for (int i = 0; i < inst->nresults; i++) {
        int to = i < l->ys ? i : l->forward->nresults - 1; /* trips stay last */
        ad_instead(inst->result[i], l->forward->result[to]);
    }
}

/* The carry's values before each iteration, from those after each. */
static ir_value *one_on(const loop *l, ir_builder *b, ir_value *start, ir_value *after)
{
    ir_type t = after->type;
    t.dim[0] = 1;
    start = ir_reshape(b, start, t.rank, t.dim);
    int64_t n = l->a->length;
    if (n == 1)
        return start;
    after = ir_slice_axis(b, after, 0, l->a->reverse ? 1 : 0, l->a->reverse ? n : n - 1);
    ir_value *both[2] = {start, after}, *other[2] = {after, start};
    return ir_concat(b, l->a->reverse ? other : both, 2, 0);
}

static void add_source(loop *l, sources *to, ir_value *inside, ir_value *outside)
{
    source s = {.inside = inside, .outside = outside};
    BASE_PUSH(l->scratch, to, s);
}

static void find_sources(loop *l, ir_builder *b)
{
    int nsave = 0;
    ir_value **save = base_array(l->scratch, ir_value *, l->h.nread + 1);
    l->all = (loop_batch){.b = b, .loc = l->inst->loc, .length = l->a->length};
    for (int i = 0; i < l->h.nread; i++)
        if (must_save(l, l->h.read[i])) {
            loop_batch_type(&l->all, &l->h.read[i]->type); /* throws if that is too large */
            save[nsave++] = l->h.read[i];
        }
    build_forward(l, save, nsave);
    for (int i = 0; i < l->h.nread; i++) {
        ir_value *v = l->h.read[i], *stack = NULL,
                 *operand = v->def ? NULL : l->inst->operand[v->index];
        if (!v->def && !is_stepped(l, v)) {
            add_source(l, v->index < l->fixed ? &l->consts : &l->xs, v, operand);
            continue;
        }
        for (int turn = 0; turn < 2 && !stack; turn++) { /* v itself, or its next value */
            ir_value *what = turn ? next_of(l, v) : v;
            int y = y_of(l, what);
            stack = y >= 0 ? l->forward->result[y] : NULL;
            for (int k = 0; k < nsave && !stack; k++)
                stack = save[k] == what ? l->forward->result[l->ys + k] : NULL;
            if (stack && turn)
                stack = one_on(l, b, operand, stack);
        }
        add_source(l, &l->xs, v, stack);
    }
}

/* ---- After the loop ---- */

static ir_value *source_after(loop *l, source *s, ir_type type)
{
    return s->after = ir_add_input(l->after.func, NULL, &type);
}

static bool is_backward(const ir_value *v)
{
    return v->def && v->def->phase != IR_FORWARD;
}

static bool marked(const ir_value *v, int mark)
{
    return is_backward(v) && (v->def->id & mark);
}

static bool outside(void *user, const ir_value *v)
{
    (void)user;
    return is_backward(v) && !marked(v, INSIDE);
}

static ir_value *stack(void *user, ir_value *v)
{
    loop *l = user;
    add_source(l, &l->stacks, v, NULL);
    return source_after(l, &l->stacks.items[l->stacks.count - 1],
                        loop_batch_type(&l->all, &v->type));
}

/* The operands of the reverse scan are known in `after`; but if iterations may not run, no
 * sequences, since those must be zero. */
static void begin_after(loop *l)
{
    int values = ir_number(l->h.joint) + 1;
    l->after = ir_builder_new(ir_func_new(module_of(l), "after"));
    l->after.phase = IR_BACKWARD;
    l->after.loc = l->inst->loc;
    l->after.primal = l->forward;
    l->totals = base_array(l->scratch, ir_value *, values);
    l->all = (loop_batch){.b = &l->after,
                          .loc = l->inst->loc,
                          .length = l->a->length,
                          .exact = l->a->live,
                          .outside = outside,
                          .stack = stack,
                          .user = l};
    l->all.stacked = base_array(l->scratch, ir_value *, values);
    l->all.constant = base_array(l->scratch, ir_value *, values);
    for (int i = 0; i < l->consts.count; i++)
        l->all.constant[l->consts.items[i].inside->id] =
            source_after(l, &l->consts.items[i], l->consts.items[i].inside->type);
    for (int i = 0; i < l->xs.count && !l->a->live; i++)
        l->all.stacked[l->xs.items[i].inside->id] = source_after(
            l, &l->xs.items[i], loop_batch_type(&l->all, &l->xs.items[i].inside->type));
}

/* ---- Sums over the iterations ---- */

/* Instructions whose sum over the iterations is the same instruction on their operands' sums. */
static bool is_linear(const ir_inst *k)
{
    switch (k->op) {
    case IR_OP_add:
    case IR_OP_sub:
    case IR_OP_neg:
    case IR_OP_concat: return true;
    case IR_OP_pad: return match_is(k->operand[1], 0);
    case IR_OP_convert: return ir_is_float(k->operand[0]->type.dtype);
    default: return ir_is_view(k);
    }
}

/* Instructions that can sum over the iterations as over one more dimension. */
static bool sums_itself(const ir_inst *k)
{
    if (k->op == IR_OP_reduce)
        return IR_ATTR(k, reduce)->combine == IR_SUM;
    if (k->op == IR_OP_scatter) /* the gradient of a gather */
        return IR_ATTR(k, scatter)->combine == IR_SUM && !IR_ATTR(k, scatter)->batch &&
               match_is(k->operand[0], 0);
    return k->op == IR_OP_dot_general;
}

/* Marks joint's backward instructions. */
static void mark(loop *l)
{
    IR_FOR (k, l->h.joint) {
        k->id = 0;
        if (k->phase == IR_FORWARD)
            continue;
        k->id = sums_itself(k) ? LINEAR : 0;
        k->id |= k->op == IR_OP_dot_general ? CONTRACTS : 0;
        for (int i = 0; i < k->noperands && is_linear(k); i++)
            if (is_backward(k->operand[i]))
                k->id |= k->operand[i]->def->id;
    }
    for (int i = 0; i < l->a->carries; i++) {
        ir_value *g = l->h.gradient[l->a->consts + i];
        if (g && g->def)
            g->def->id |= INSIDE;
    }
    IR_FOR_REVERSE (k, l->h.joint)
        for (int i = 0; i < k->noperands && (k->id & INSIDE); i++)
            if (k->operand[i]->def)
                k->operand[i]->def->id |= INSIDE;
}

/* Sums v in a carry. */
static ir_value *sum_inside(loop *l, ir_value *v)
{
    ir_type t = v->type;
    t.dtype = ir_dtypes[t.dtype].bytes < 4 ? IR_F32 : t.dtype;
    add_source(l, &l->sums, v, NULL);
    return ir_convert(&l->after, source_after(l, &l->sums.items[l->sums.count - 1], t),
                      v->type.dtype);
}

static ir_value *sum_self(loop *l, const ir_inst *k)
{
    ir_builder *b = &l->after;
    int64_t x[IR_MAX_RANK] = {0}, y[IR_MAX_RANK] = {0}, xb[IR_MAX_RANK], yb[IR_MAX_RANK];
    if (k->op == IR_OP_reduce) {
        int n = loop_batch_dims(IR_ATTR(k, reduce)->axes, x + 1);
        return ir_reduce(b, IR_SUM, loop_batch_of(&l->all, k->operand[0]), n + 1, x);
    }
    if (k->op == IR_OP_scatter) {
        const struct ir_attrs_scatter *a = IR_ATTR(k, scatter);
        ir_value *index = loop_batch_of(&l->all, k->operand[1]),
                 *update = loop_batch_of(&l->all, k->operand[2]);
        return ir_scatter(b, IR_SUM, ir_splat(b, &k->result[0]->type, 0), index, update, a->dims.n,
                          a->dims.v, 0);
    }
    const struct ir_attrs_dot_general *a = IR_ATTR(k, dot_general);
    int nb = loop_batch_dims(a->lhs_batch, xb), n = loop_batch_dims(a->lhs_contract, x + 1);
    loop_batch_dims(a->rhs_batch, yb);
    loop_batch_dims(a->rhs_contract, y + 1);
    ir_value *lhs = loop_batch_of(&l->all, k->operand[0]),
             *rhs = loop_batch_of(&l->all, k->operand[1]);
    return ir_dot_general_in(b, a->accumulate, lhs, rhs, nb, xb, yb, n + 1, x, y);
}

enum { DEEPEST = 1000 };

/* The sum of v over all iterations. */
static ir_value *total(loop *l, ir_value *v)
{
    ir_inst *k = v->def;
    int64_t first = 0;
    ir_value **known = &l->totals[v->id];
    if (*known)
        return *known;
    if (!marked(v, LINEAR) || marked(v, INSIDE) || l->depth == DEEPEST)
        return *known = loop_batch_has(&l->all, v)
                            ? ir_reduce(&l->after, IR_SUM, loop_batch_of(&l->all, v), 1, &first)
                            : sum_inside(l, v);
    if (sums_itself(k))
        return *known = sum_self(l, k);
    ir_value **operand = base_array(l->scratch, ir_value *, k->noperands);
    l->depth++;
    for (int i = 0; i < k->noperands; i++)
        operand[i] = k->op == IR_OP_pad && i ? ir_scalar(&l->after, v->type.dtype, 0)
                                             : total(l, k->operand[i]);
    l->depth--;
    return *known = ir_build1(&l->after, k->op, operand, k->noperands, k->attrs);
}

/* The function `after`: its results are the cotangents of constants and xs that have any, in the
 * order of the parameters. Contractions come first: the others reuse what they stack. */
static void build_after(loop *l)
{
    ir_value **ct = base_array(l->scratch, ir_value *, l->params + 1);
    begin_after(l);
    mark(l);
    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < l->params; i++) {
            ir_value *g = is_carry(l, i) ? NULL : l->h.gradient[i];
            if (g && !ct[i] && (turn || marked(g, CONTRACTS)))
                ct[i] = i < l->fixed ? total(l, g) : loop_batch_of(&l->all, g);
        }
    for (int i = 0; i < l->params; i++)
        if (ct[i])
            ir_add_output(l->after.func, NULL, ct[i]);
    ir_built(&l->after);
}

/* ---- The reverse scan ---- */

static void add_params(ir_func *f, const sources *s)
{
    for (int i = 0; i < s->count; i++)
        s->items[i].inside->aux = ir_add_input(f, NULL, &s->items[i].inside->type);
}

/* Parameters: consts, carries, sums, xs. Results: carries, sums, stacks. */
static ir_func *reverse_body(loop *l)
{
    ir_func *f = ir_func_new(module_of(l),
                             base_format(module_of(l)->arena, "%s_backward", l->a->body->name));
    ir_builder b = ir_builder_new(f);
    ir_value **sum = base_array(l->scratch, ir_value *, l->sums.count + 1);
    b.phase = IR_BACKWARD;
    b.loc = l->inst->loc;
    add_params(f, &l->consts);
    add_params(f, &l->carries);
    for (int i = 0; i < l->sums.count; i++)
        sum[i] = ir_add_input(f, NULL, &l->sums.items[i].after->type);
    add_params(f, &l->xs);
    body_vjp_backward(&l->h, &b);
    for (int i = 0; i < l->carries.count; i++) {
        const ir_value *g = l->h.gradient[l->a->consts + l->carries.items[i].carry];
        ir_add_output(f, NULL, g ? g->aux : ir_splat(&b, &l->carries.items[i].inside->type, 0));
    }
    for (int i = 0; i < l->sums.count; i++)
        ir_add_output(
            f, NULL,
            ir_add(&b, sum[i], ir_convert(&b, l->sums.items[i].inside->aux, sum[i]->type.dtype)));
    for (int i = 0; i < l->stacks.count; i++)
        ir_add_output(f, NULL, l->stacks.items[i].inside->aux);
    ir_built(&b);
    pass_dce(f);
    return f;
}

/* f with one more parameter, a bool[]: whether to run. If not, the carried results are the
 * parameters from `first` on, the others zero. */
static ir_func *only_where_run(loop *l, ir_func *f, int first, int carried)
{
    ir_module *m = module_of(l);
    ir_func *idle = ir_func_new(m, base_format(m->arena, "%s_idle", f->name)),
            *g = ir_func_new(m, base_format(m->arena, "%s_live", f->name));
    ir_builder ib = ir_builder_new(idle), gb = ir_builder_new(g);
    ir_type flag = ir_scalar_type(IR_BOOL);
    int n = f->params.count;
    ir_value **operand = base_array(l->scratch, ir_value *, n + 1);
    ib.phase = gb.phase = IR_BACKWARD;
    ib.loc = gb.loc = l->inst->loc;
    for (int i = 0; i < n; i++) {
        ir_add_input(idle, NULL, &f->params.items[i].value->type);
        operand[i + 1] = ir_add_input(g, NULL, &f->params.items[i].value->type);
    }
    operand[0] = ir_add_input(g, NULL, &flag);
    for (int i = 0; i < f->results.count; i++)
        ir_add_output(idle, NULL,
                      i < carried ? idle->params.items[first + i].value
                                  : ir_splat(&ib, &f->results.items[i].value->type, 0));
    ir_inst *cond = ir_build(&gb, IR_OP_cond, operand, n + 1,
                             &(ir_attrs){.cond = {.then_body = f, .else_body = idle}});
    ir_built(&ib);
    ir_built(&gb);
    for (int i = 0; i < f->results.count; i++)
        ir_add_output(g, NULL, cond->result[i]);
    return g;
}

/* By position in the sequences: did the iteration run? */
static ir_value *which_ran(loop *l, ir_builder *b)
{
    ir_value *trips = l->forward->result[l->forward->nresults - 1],
             *at = ir_iota(b, IR_I64, 1, &l->a->length, 0);
    if (l->a->reverse)
        trips = ir_sub(b, ir_scalar(b, IR_I64, (double)l->a->length), trips);
    return ir_compare(b, l->a->reverse ? IR_GE : IR_LT, at,
                      ir_broadcast(b, trips, 1, &l->a->length, NULL));
}

static void reverse_scan(loop *l, ir_builder *b)
{
    int carried = l->carries.count + l->sums.count, n = 0, at = 0;
    if (!carried && !l->stacks.count)
        return;
    ir_func *body = reverse_body(l);
    ir_value **operand =
        base_array(l->scratch, ir_value *, l->consts.count + carried + l->xs.count + 1);
    if (l->a->live)
        body = only_where_run(l, body, l->consts.count, carried);
    for (int i = 0; i < l->consts.count; i++)
        operand[n++] = l->consts.items[i].outside;
    for (int i = 0; i < l->carries.count; i++)
        operand[n++] = l->carries.items[i].outside;
    for (int i = 0; i < l->sums.count; i++)
        operand[n++] = ir_splat(b, &l->sums.items[i].after->type, 0);
    for (int i = 0; i < l->xs.count; i++)
        operand[n++] = l->xs.items[i].outside;
    if (l->a->live)
        operand[n++] = which_ran(l, b);
    ir_attrs attrs = {.scan = {.body = body,
                               .consts = l->consts.count,
                               .carries = carried,
                               .length = l->a->length,
                               .reverse = !l->a->reverse}};
    ir_inst *scan = ir_build(b, IR_OP_scan, operand, n, &attrs);
    ir_built(b);
    sources *results[] = {&l->carries, &l->sums, &l->stacks};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < results[k]->count; i++)
            results[k]->items[i].outside = scan->result[at++];
}

/* Cotangents of carries and ys, as the reverse scan takes them. */
static void add_cotangents(loop *l, ir_builder *b, ir_value *const *ct)
{
    for (int i = 0; i < l->ys; i++) {
        ir_value *inside = l->h.cotangent[i];
        if (!inside)
            continue;
        bool carried = i < l->a->carries;
        add_source(l, carried ? &l->carries : &l->xs, inside,
                   ct[i] ? ct[i] : ir_splat(b, &inside->type, 0));
        if (carried)
            l->carries.items[l->carries.count - 1].carry = i;
    }
}

/* Inlines `after` after the loop. */
static void finish(loop *l, ir_builder *b, ir_value **out)
{
    sources *all[] = {&l->consts, &l->xs, &l->sums, &l->stacks};
    ir_func *f = l->after.func;
    ir_value **arg = base_array(l->scratch, ir_value *, f->params.count + 1),
             **got = base_array(l->scratch, ir_value *, f->results.count + 1);
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < all[k]->count; i++)
            if (all[k]->items[i].after)
                arg[all[k]->items[i].after->index] = all[k]->items[i].outside;
    ir_inline(b, f, arg, got);
    ir_func_remove(f);
    for (int i = 0, n = 0; i < l->params; i++)
        if (!is_carry(l, i) && l->h.gradient[i])
            out[i] = got[n++];
    for (int i = 0; i < l->carries.count; i++)
        out[l->a->consts + l->carries.items[i].carry] = l->carries.items[i].outside;
}

AD_RULE(scan)
{
    const struct ir_attrs_scan *a = IR_ATTR(inst, scan);
    loop l = {.inst = inst, .a = a, .scratch = base_arena_new(inst->func->module->ctx)};
    l.fixed = (int)(a->consts + a->carries);
    l.params = inst->noperands - (a->live != 0);
    l.ys = inst->nresults - 1;
    bool *gone = base_array(l.scratch, bool, l.params + 1);
    for (int i = 0; i < l.params; i++)
        gone[i] = is_carry(&l, i);
    if (a->length == 0) {
        for (int i = 0; i < a->carries; i++)
            out[a->consts + i] = ct[i];
    } else if (find_active(&l, ct, want) &&
               body_vjp_make(&l.h, l.scratch, a->body, l.has_ct, l.want, gone)) {
        find_sources(&l, b);
        add_cotangents(&l, b, ct);
        build_after(&l);
        reverse_scan(&l, b);
        finish(&l, b, out);
        body_vjp_end(&l.h);
    }
    base_arena_free(l.scratch);
}
