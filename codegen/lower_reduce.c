/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reductions, windows and contractions at an index: loops around the operand's expression. With several lanes each lane
 * reduces for its own result element. With one, and a reduced dimension innermost in storage, lanes run along that dimension
 * and are combined at the end in a fixed tree. */
#include "codegen/lower.h"

#define RULE(name) LLVMValueRef cg_lower_##name(cg_emitter *e, const ir_inst *inst, int which, const cg_index *at)

/* Several accumulators of f32 width hide the latency of addition. */
enum { ACCUMULATORS = 4, UNROLLED_TAPS = 32, MOST_SUMS = 8 };

static void remember(cg_emitter *e, const ir_value *v, const cg_index *at, LLVMValueRef emitted)
{
    cg_memo m = {v, ir_memdup(e->arena, at, (size_t)v->type.rank * sizeof *at), emitted};
    IR_PUSH(e->arena, &e->memo, m);
}

int cg_fastest(const ir_value *v)
{
    for (int i = v->type.rank - 1; i >= 0; i--) {
        int d = v->order.n ? (int)v->order.v[i] : i;
        if (v->type.dim[d] != 1)
            return d;
    }
    return -1;
}

int cg_nearest(ir_value *v)
{
    ir_view view;
    if (!ir_view_over(v, &view))
        return cg_fastest(v);
    for (int d = v->type.rank - 1; d >= 0; d--)
        if (v->type.dim[d] != 1 && (view.stride[d] == 1 || view.stride[d] == -1))
            return d;
    return -1;
}

/* ---- reduce ---- */

static ir_dtype accumulator_type(ir_dtype t)
{
    return t == IR_F16 || t == IR_BF16 ? IR_F32 : t;
}

/* Reductions that are done in one go: of the same axes of operands of one shape, wanted at the same index. */
typedef struct sums {
    ir_ints axes;
    int row, n;                       /* row: the reduced dimension along which lanes run, -1: none */
    const ir_inst *inst[MOST_SUMS];
    LLVMValueRef acc[MOST_SUMS], done[MOST_SUMS];
    cg_index x[IR_MAX_RANK];          /* index in the operands */
} sums;

static ir_combine combine_of(const ir_inst *inst)
{
    return IR_ATTR(inst, reduce)->combine;
}

static LLVMTypeRef sum_type(cg_emitter *e, const ir_inst *inst)
{
    return cg_type(e, inst->operand[0]->type.dtype, e->lanes);
}

static void open_sums(cg_emitter *e, sums *s)
{
    for (int i = 0; i < s->n; i++) {
        s->acc[i] = cg_local(e, sum_type(e, s->inst[i]));
        LLVMValueRef first = cg_identity(e, combine_of(s->inst[i]), accumulator_type(s->inst[i]->operand[0]->type.dtype));
        LLVMBuildStore(e->u->b, cg_splat(e->u, first, e->lanes), s->acc[i]);
    }
}

/* The operands at s->x into the accumulators. */
static void add_to_sums(cg_emitter *e, sums *s)
{
    for (int i = 0; i < s->n; i++) {
        ir_value *operand = s->inst[i]->operand[0];
        LLVMTypeRef type = sum_type(e, s->inst[i]);
        LLVMValueRef v = cg_as_vector(e, cg_at(e, operand, s->x)), sum = LLVMBuildLoad2(e->u->b, type, s->acc[i], "");
        LLVMBuildStore(e->u->b, cg_combine(e, combine_of(s->inst[i]), accumulator_type(operand->type.dtype), sum, v), s->acc[i]);
    }
}

/* Loops over the reduced axes from number `from` on, that of the lanes, if any, innermost: `count` elements from `start` on. */
static void sum_loops(cg_emitter *e, sums *s, int from, int64_t start, int64_t count)
{
    const ir_type *t = &s->inst[0]->operand[0]->type;
    cg_loop loop;
    while (from < s->axes.n && s->axes.v[from] == s->row)
        from++;
    if (from < s->axes.n) {
        s->x[s->axes.v[from]] = cg_loop_count(e, &loop, t->dim[s->axes.v[from]]);
        sum_loops(e, s, from + 1, start, count);
        cg_loop_end(e, &loop);
    } else if (s->row >= 0) {
        cg_loop_begin(e, &loop, cg_i64(e->u, 0), cg_i64(e->u, count), e->lanes, true);
        cg_var *v = cg_var_new(e, loop.i, count - 1);
        v->lane = e->lanes > 1;
        s->x[s->row] = cg_of_var(v);
        s->x[s->row].constant = start;
        add_to_sums(e, s);
        cg_loop_end(e, &loop);
    } else {
        add_to_sums(e, s);
    }
}

/* Each lane sums for a result element of its own. */
static void sum_lanes(cg_emitter *e, sums *s)
{
    open_sums(e, s);
    sum_loops(e, s, 0, 0, 0);
    for (int i = 0; i < s->n; i++)
        s->done[i] = LLVMBuildLoad2(e->u->b, sum_type(e, s->inst[i]), s->acc[i], "");
}

/* Lanes along a reduced dimension: all that fill registers, then the rest; combined in the end. */
static void sum_row(cg_emitter *e, sums *s)
{
    const ir_type *t = &s->inst[0]->operand[0]->type;
    int64_t extent = t->dim[s->row];
    int width = cg_width(e->u, ir_dtypes[accumulator_type(t->dtype)].bytes), lanes = width, mark = e->memo.count;
    while (lanes * s->n < ACCUMULATORS * width && lanes * 2 <= extent)
        lanes *= 2;
    int64_t whole = extent / lanes * lanes;
    const struct { int64_t start, count; int lanes; } part[2] = {{0, whole, lanes}, {whole, extent - whole, (int)(extent - whole)}};
    for (int p = 0; p < 2; p++) {
        if (part[p].count == 0)
            continue;
        e->lanes = part[p].lanes;
        open_sums(e, s);
        sum_loops(e, s, 0, part[p].start, part[p].count);
        for (int i = 0; i < s->n; i++) {
            ir_combine c = combine_of(s->inst[i]);
            ir_dtype wide = accumulator_type(s->inst[i]->operand[0]->type.dtype);
            LLVMValueRef sum = cg_across(e, c, wide, LLVMBuildLoad2(e->u->b, sum_type(e, s->inst[i]), s->acc[i], ""));
            s->done[i] = s->done[i] ? cg_combine(e, c, wide, s->done[i], sum) : sum;
        }
    }
    e->lanes = 1;
    cg_forget(e, mark);
}

/* The reduced dimension along which inst's operand lies side by side; -1: none. */
static int row_of(const ir_inst *inst)
{
    int nearest = cg_nearest(inst->operand[0]);
    for (int i = 0; i < IR_ATTR(inst, reduce)->axes.n; i++)
        if (IR_ATTR(inst, reduce)->axes.v[i] == nearest)
            return nearest;
    return -1;
}

static bool go_together(const ir_inst *x, const ir_inst *y)
{
    const ir_ints *p = &IR_ATTR(x, reduce)->axes, *q = &IR_ATTR(y, reduce)->axes;
    const ir_type *s = &x->operand[0]->type, *t = &y->operand[0]->type;
    if (!ir_shape_eq(s, t) || ir_dtypes[s->dtype].bytes != ir_dtypes[t->dtype].bytes || p->n != q->n || row_of(x) != row_of(y))
        return false;
    for (int i = 0; i < p->n; i++)
        if (p->v[i] != q->v[i])
            return false;
    return true;
}

RULE(reduce)
{
    (void)which;
    const ir_type *t = &inst->operand[0]->type;
    sums s = {.axes = IR_ATTR(inst, reduce)->axes, .row = row_of(inst), .n = 1, .inst = {inst}};
    for (int i = 0; i < e->reduces.count && s.n < MOST_SUMS; i++) {
        const ir_inst *other = e->reduces.items[i];
        if (other != inst && go_together(inst, other) && !cg_known(e, other->result[0], at))
            s.inst[s.n++] = other;
    }
    for (int d = 0, next = 0, a = 0; d < t->rank; d++) {
        bool gone = a < s.axes.n && s.axes.v[a] == d;
        s.x[d] = gone ? cg_of(0) : at[next++];
        a += gone;
    }
    s.row = e->lanes == 1 && ir_count(t) > 0 ? s.row : -1;
    if (s.row >= 0)
        sum_row(e, &s);
    else
        sum_lanes(e, &s);
    for (int i = 0; i < s.n; i++) {
        s.done[i] = cg_round(e, s.inst[i]->operand[0]->type.dtype, s.done[i]);
        if (i)
            remember(e, s.inst[i]->result[0], at, s.done[i]);
    }
    return s.done[0];
}

/* ---- Position of an extreme ---- */

typedef struct extreme { /* accumulators */
    LLVMTypeRef value_type, index_type;
    LLVMValueRef value, index;
} extreme;

static extreme extreme_new(cg_emitter *e, ir_dtype t, LLVMTypeRef index_element, int64_t none, LLVMValueRef first)
{
    extreme x = {cg_type(e, t, e->lanes), cg_vector(index_element, e->lanes), NULL, NULL};
    x.value = cg_local(e, x.value_type);
    x.index = cg_local(e, x.index_type);
    LLVMBuildStore(e->u->b, cg_splat(e->u, first, e->lanes), x.value);
    LLVMBuildStore(e->u->b, cg_splat(e->u, LLVMConstInt(index_element, (unsigned long long)none, 1), e->lanes), x.index);
    return x;
}

/* Takes (v, index) where it wins: larger (smaller), or NaN against a number, or nothing was there (index < 0); `last`: also equal. */
static void extreme_offer(cg_emitter *e, const extreme *x, ir_dtype t, bool larger, bool last, LLVMValueRef v, LLVMValueRef index, LLVMValueRef valid)
{
    LLVMBuilderRef b = e->u->b;
    LLVMValueRef best = LLVMBuildLoad2(b, x->value_type, x->value, ""), at = LLVMBuildLoad2(b, x->index_type, x->index, ""), wins;
    v = cg_as_vector(e, v);
    index = cg_as_vector(e, index);
    if (ir_is_float(t)) {
        LLVMRealPredicate p = larger ? (last ? LLVMRealOGE : LLVMRealOGT) : (last ? LLVMRealOLE : LLVMRealOLT);
        LLVMValueRef nan = LLVMBuildFCmp(b, LLVMRealUNO, v, v, ""), had = LLVMBuildFCmp(b, LLVMRealUNO, best, best, "");
        if (!last)
            nan = LLVMBuildAnd(b, nan, LLVMBuildNot(b, had, ""), "");
        wins = LLVMBuildOr(b, LLVMBuildFCmp(b, p, v, best, ""), nan, "");
    } else {
        bool s = t != IR_BOOL && ir_is_signed(t);
        LLVMIntPredicate p = larger ? (last ? (s ? LLVMIntSGE : LLVMIntUGE) : (s ? LLVMIntSGT : LLVMIntUGT))
                                    : (last ? (s ? LLVMIntSLE : LLVMIntULE) : (s ? LLVMIntSLT : LLVMIntULT));
        wins = LLVMBuildICmp(b, p, v, best, "");
    }
    wins = LLVMBuildOr(b, wins, LLVMBuildICmp(b, LLVMIntSLT, at, LLVMConstNull(x->index_type), ""), "");
    if (valid)
        wins = LLVMBuildAnd(b, wins, cg_as_vector(e, valid), "");
    LLVMBuildStore(b, LLVMBuildSelect(b, wins, v, best, ""), x->value);
    LLVMBuildStore(b, LLVMBuildSelect(b, wins, index, at, ""), x->index);
}

static LLVMValueRef extreme_results(cg_emitter *e, const ir_inst *inst, const extreme *x, int which, const cg_index *at)
{
    LLVMValueRef r[2] = {LLVMBuildLoad2(e->u->b, x->value_type, x->value, ""), LLVMBuildLoad2(e->u->b, x->index_type, x->index, "")};
    remember(e, inst->result[1 - which], at, r[1 - which]);
    return r[which];
}

RULE(arg_reduce)
{
    const struct ir_attrs_arg_reduce *a = IR_ATTR(inst, arg_reduce);
    const ir_value *operand = inst->operand[0];
    ir_dtype t = operand->type.dtype;
    cg_index x[IR_MAX_RANK];
    for (int d = 0, next = 0; d < operand->type.rank; d++)
        if (d != a->axis)
            x[d] = at[next++];
    extreme best = extreme_new(e, t, e->u->i64, -1, cg_identity(e, a->combine, t));
    cg_loop loop;
    x[a->axis] = cg_loop_count(e, &loop, operand->type.dim[a->axis]);
    extreme_offer(e, &best, t, a->combine == IR_MAX, a->last != 0, cg_at(e, operand, x), cg_index_value(e, &x[a->axis]), NULL);
    cg_loop_end(e, &loop);
    return extreme_results(e, inst, &best, which, at);
}

/* ---- Windows ---- */

typedef struct window { /* the attributes that all window ops have, and what is done at each tap */
    ir_ints size, stride, low, dilation;
    const int64_t *base; /* base dilation or NULL */
} window;
typedef void tap(cg_emitter *e, void *user, const cg_index *tap, const cg_index *number);

/* Calls f for every tap, with its index in the window and its row-major number: unrolled, or in loops when there are many. */
static void for_taps(cg_emitter *e, const window *w, int d, cg_index *at, const cg_index *number, tap *f, void *user)
{
    int64_t taps = 1;
    for (int i = 0; i < w->size.n; i++)
        taps *= w->size.v[i];
    if (d == w->size.n) {
        f(e, user, at, number);
        return;
    }
    int64_t n = w->size.v[d];
    cg_index base = cg_scaled(number, n);
    if (taps <= UNROLLED_TAPS) {
        for (int64_t i = 0; i < n; i++) {
            at[d] = cg_of(i);
            cg_index here = cg_plus(&base, i);
            for_taps(e, w, d + 1, at, &here, f, user);
        }
        return;
    }
    cg_loop loop;
    at[d] = cg_loop_count(e, &loop, n);
    cg_index here = cg_add(e, &base, &at[d], 1);
    for_taps(e, w, d + 1, at, &here, f, user);
    cg_loop_end(e, &loop);
}

/* Where a tap of the window at `at` lies in the operand, clamped; *inside is NULL where it always is. */
static void tap_place(cg_emitter *e, const window *w, const ir_type *t, const cg_index *at, const cg_index *tap_at, cg_index *x, LLVMValueRef *inside)
{
    *inside = NULL;
    for (int d = 0; d < t->rank; d++) {
        cg_index place = cg_scaled(&at[d], w->stride.v[d]), rest;
        place = cg_add(e, &place, &tap_at[d], w->dilation.v[d]);
        place.constant -= w->low.v[d];
        if (w->base && w->base[d] > 1) {
            cg_divide(e, &place, w->base[d], &place, &rest);
            LLVMValueRef r = cg_index_value(e, &rest);
            *inside = cg_both(e, *inside, LLVMBuildICmp(e->u->b, LLVMIntEQ, r, LLVMConstNull(LLVMTypeOf(r)), ""));
        }
        *inside = cg_both(e, *inside, cg_inside(e, &place, t->dim[d]));
        x[d] = cg_clamp(e, &place, t->dim[d]);
    }
}

typedef struct window_run {
    const ir_inst *inst;
    const window *w;
    const cg_index *at;
    LLVMValueRef acc;
    LLVMTypeRef type;
    extreme best;
} window_run;

static void reduce_tap(cg_emitter *e, void *user, const cg_index *tap_at, const cg_index *number)
{
    (void)number;
    window_run *r = user;
    const ir_value *operand = r->inst->operand[0];
    ir_combine c = IR_ATTR(r->inst, reduce_window)->combine;
    ir_dtype t = accumulator_type(operand->type.dtype);
    cg_index x[IR_MAX_RANK];
    LLVMValueRef inside;
    tap_place(e, r->w, &operand->type, r->at, tap_at, x, &inside);
    LLVMValueRef v = cg_as_vector(e, cg_choose(e, inside, cg_at(e, operand, x), cg_identity(e, c, t)));
    LLVMBuildStore(e->u->b, cg_combine(e, c, t, LLVMBuildLoad2(e->u->b, r->type, r->acc, ""), v), r->acc);
}

RULE(reduce_window)
{
    (void)which;
    const struct ir_attrs_reduce_window *a = IR_ATTR(inst, reduce_window);
    const ir_value *operand = inst->operand[0];
    ir_dtype t = operand->type.dtype;
    const window w = {a->window, a->stride, a->low, a->window_dilation, a->base_dilation.v};
    window_run run = {.inst = inst, .w = &w, .at = at, .type = cg_type(e, t, e->lanes)};
    run.acc = cg_local(e, run.type);
    LLVMBuildStore(e->u->b, cg_splat(e->u, cg_identity(e, a->combine, accumulator_type(t)), e->lanes), run.acc);
    cg_index tap_at[IR_MAX_RANK], zero = cg_of(0);
    if (ir_count(&operand->type))
        for_taps(e, &w, 0, tap_at, &zero, reduce_tap, &run);
    return cg_round(e, t, LLVMBuildLoad2(e->u->b, run.type, run.acc, ""));
}

static void arg_tap(cg_emitter *e, void *user, const cg_index *tap_at, const cg_index *number)
{
    window_run *r = user;
    const ir_value *operand = r->inst->operand[0];
    cg_index x[IR_MAX_RANK];
    LLVMValueRef inside;
    tap_place(e, r->w, &operand->type, r->at, tap_at, x, &inside);
    LLVMValueRef n = cg_index_value(e, number);
    n = LLVMBuildIntCast2(e->u->b, n, cg_vector(e->u->i32, cg_lanes_of(n)), 1, "");
    extreme_offer(e, &r->best, operand->type.dtype, IR_ATTR(r->inst, arg_window)->combine == IR_MAX, false, cg_at(e, operand, x), n, inside);
}

RULE(arg_window)
{
    const struct ir_attrs_arg_window *a = IR_ATTR(inst, arg_window);
    const ir_value *operand = inst->operand[0];
    ir_dtype t = operand->type.dtype;
    const window w = {a->window, a->stride, a->low, a->window_dilation, NULL};
    window_run run = {.inst = inst, .w = &w, .at = at, .best = extreme_new(e, t, e->u->i32, -1, cg_identity(e, a->combine, t))};
    cg_index tap_at[IR_MAX_RANK], zero = cg_of(0);
    if (ir_count(&operand->type))
        for_taps(e, &w, 0, tap_at, &zero, arg_tap, &run);
    return extreme_results(e, inst, &run.best, which, at);
}

/* The position tensor at x names this tap. */
static LLVMValueRef names(cg_emitter *e, const ir_value *position, const cg_index *x, const cg_index *number)
{
    LLVMValueRef n = cg_index_value(e, number), p = cg_at(e, position, x);
    n = LLVMBuildIntCast2(e->u->b, n, cg_vector(e->u->i32, cg_lanes_of(n)), 1, "");
    cg_level(e, &n, &p);
    return LLVMBuildICmp(e->u->b, LLVMIntEQ, n, p, "");
}

/* What `each` accumulates over a window, from zero on. */
static LLVMValueRef over_taps(cg_emitter *e, const ir_inst *inst, const cg_index *at, const window *w, tap *each)
{
    window_run run = {.inst = inst, .w = w, .at = at, .type = cg_type(e, inst->operand[0]->type.dtype, e->lanes)};
    run.acc = cg_local(e, run.type);
    LLVMBuildStore(e->u->b, LLVMConstNull(run.type), run.acc);
    cg_index tap_at[IR_MAX_RANK], zero = cg_of(0);
    if (ir_count(&inst->operand[0]->type))
        for_taps(e, w, 0, tap_at, &zero, each, &run);
    return LLVMBuildLoad2(e->u->b, run.type, run.acc, "");
}

/* Element i of the sum over windows: those that hold i at the position that operand 1 names. */
static void put_tap(cg_emitter *e, void *user, const cg_index *tap_at, const cg_index *number)
{
    window_run *r = user;
    const window *w = r->w;
    const ir_value *value = r->inst->operand[0], *position = r->inst->operand[1];
    const ir_type *t = &value->type;
    LLVMBuilderRef b = e->u->b;
    cg_index x[IR_MAX_RANK];
    LLVMValueRef inside = NULL;
    for (int d = 0; d < t->rank; d++) {
        cg_index place = cg_plus(&r->at[d], w->low.v[d]), rest;
        place = cg_add(e, &place, &tap_at[d], -w->dilation.v[d]);
        cg_divide(e, &place, w->stride.v[d], &place, &rest);
        if (w->stride.v[d] > 1) {
            LLVMValueRef v = cg_index_value(e, &rest);
            inside = cg_both(e, inside, LLVMBuildICmp(b, LLVMIntEQ, v, LLVMConstNull(LLVMTypeOf(v)), ""));
        }
        inside = cg_both(e, inside, cg_inside(e, &place, t->dim[d]));
        x[d] = cg_clamp(e, &place, t->dim[d]);
    }
    cg_branch branch;
    bool skip = inside && cg_lanes_of(inside) == 1; /* the same for all lanes: a jump saves the loads */
    if (skip)
        cg_if(e, &branch, inside);
    LLVMValueRef hit = names(e, position, x, number);
    if (!skip)
        hit = cg_both(e, hit, inside);
    LLVMValueRef v = cg_as_vector(e, cg_choose(e, hit, cg_at(e, value, x), cg_number(e, t->dtype, 0)));
    LLVMBuildStore(b, cg_combine(e, IR_SUM, accumulator_type(t->dtype), LLVMBuildLoad2(b, r->type, r->acc, ""), v), r->acc);
    if (skip)
        cg_endif(e, &branch);
}

RULE(window_put)
{
    (void)which;
    const struct ir_attrs_window_put *a = IR_ATTR(inst, window_put);
    const window w = {a->window, a->stride, a->low, a->window_dilation, NULL};
    return cg_round(e, inst->operand[0]->type.dtype, over_taps(e, inst, at, &w, put_tap));
}

static void take_tap(cg_emitter *e, void *user, const cg_index *tap_at, const cg_index *number)
{
    window_run *r = user;
    const ir_value *operand = r->inst->operand[0];
    cg_index x[IR_MAX_RANK];
    LLVMValueRef inside;
    tap_place(e, r->w, &operand->type, r->at, tap_at, x, &inside);
    LLVMValueRef hit = cg_both(e, names(e, r->inst->operand[1], r->at, number), inside), had = LLVMBuildLoad2(e->u->b, r->type, r->acc, "");
    LLVMBuildStore(e->u->b, cg_as_vector(e, cg_choose(e, hit, cg_at(e, operand, x), had)), r->acc);
}

RULE(window_take)
{
    (void)which;
    const struct ir_attrs_window_take *a = IR_ATTR(inst, window_take);
    const window w = {a->window, a->stride, a->low, a->window_dilation, NULL};
    return over_taps(e, inst, at, &w, take_tap);
}
