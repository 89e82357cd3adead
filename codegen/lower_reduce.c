/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reductions and windows at an index: loops around the operand's expression. With several lanes,
 * each lane reduces a result element of its own. With one, and a reduced dimension innermost in
 * storage, lanes run along that dimension and are combined at the end in a fixed tree. */
#include "codegen/lower.h"

#define RULE(name) \
    LLVMValueRef cg_lower_##name(cg_emitter *e, const ir_inst *inst, int which, const cg_index *at)

enum { MOST_SUMS = 8 };

static void remember(cg_emitter *e, const ir_value *v, const cg_index *at, LLVMValueRef emitted)
{
    cg_memo m = {v, base_memdup(e->arena, at, (size_t)v->type.rank * sizeof *at), emitted};
    BASE_PUSH(e->arena, &e->memo, m);
}

/* ---- reduce ---- */

static ir_dtype accumulator_type(ir_dtype t)
{
    return t == IR_F16 || t == IR_BF16 ? IR_F32 : t;
}

/* Reductions that share their loops: over the same axes of operands of one shape, at the same
 * index. */
typedef struct sums {
    ir_ints axes;
    /* row: the reduced dimension along which lanes run, -1: none */
    int row, n;
    const ir_inst *inst[MOST_SUMS];
    LLVMValueRef acc[MOST_SUMS], done[MOST_SUMS];
    /* Of a max or min of floats: the AND (max) or OR (min) of all elements' bits; else NULL. */
    LLVMValueRef bits[MOST_SUMS];
    LLVMValueRef nan[MOST_SUMS];      /* … and the latest element that is NaN, 0 if none is */
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

/* A max or min of floats handles NaN and the order of zeros once, at the end. If the result is a
 * zero, no element is beyond it: so it is -0 in a max if all elements have the sign bit, in a min
 * if any has. */
static bool is_extreme(const ir_inst *inst)
{
    return ir_is_float(inst->operand[0]->type.dtype) &&
           (combine_of(inst) == IR_MAX || combine_of(inst) == IR_MIN);
}

static LLVMTypeRef bits_type(cg_emitter *e, const ir_inst *inst)
{
    return cg_vector(
        accumulator_type(inst->operand[0]->type.dtype) == IR_F64 ? e->u->i64 : e->u->i32, e->lanes);
}

static void add_to_extreme(cg_emitter *e, const sums *s, int i, LLVMValueRef v)
{
    LLVMBuilderRef b = e->u->b;
    LLVMTypeRef type = sum_type(e, s->inst[i]), bits = bits_type(e, s->inst[i]);
    bool larger = combine_of(s->inst[i]) == IR_MAX;
    LLVMValueRef best = LLVMBuildLoad2(b, type, s->acc[i], ""),
                 nan = LLVMBuildLoad2(b, type, s->nan[i], "");
    LLVMValueRef had = LLVMBuildLoad2(b, bits, s->bits[i], ""),
                 more = LLVMBuildBitCast(b, v, bits, "");
    LLVMBuildStore(b, cg_pick_number(e, larger, v, best), s->acc[i]);
    LLVMBuildStore(b, LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealUNO, v, v, ""), v, nan, ""),
                   s->nan[i]);
    LLVMBuildStore(b, larger ? LLVMBuildAnd(b, had, more, "") : LLVMBuildOr(b, had, more, ""),
                   s->bits[i]);
}

/* The final value of an accumulator. */
static LLVMValueRef close_sum(cg_emitter *e, const sums *s, int i)
{
    LLVMBuilderRef b = e->u->b;
    LLVMTypeRef type = sum_type(e, s->inst[i]), bits = bits_type(e, s->inst[i]);
    LLVMValueRef v = LLVMBuildLoad2(b, type, s->acc[i], "");
    if (!s->bits[i])
        return v;
    LLVMValueRef sign = LLVMBuildBitCast(b, LLVMBuildFNeg(b, LLVMConstNull(type), ""), bits, "");
    LLVMValueRef zero = LLVMBuildAnd(b, LLVMBuildLoad2(b, bits, s->bits[i], ""), sign, "");
    LLVMValueRef nan = LLVMBuildLoad2(b, type, s->nan[i], "");
    v = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOEQ, v, LLVMConstNull(type), ""),
                        LLVMBuildBitCast(b, zero, type, ""), v, "");
    return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealUNO, nan, nan, ""), nan, v, "");
}

static void open_sums(cg_emitter *e, sums *s)
{
    for (int i = 0; i < s->n; i++) {
        s->bits[i] = is_extreme(s->inst[i]) ? cg_local(e, bits_type(e, s->inst[i])) : NULL;
        if (s->bits[i]) {
            LLVMTypeRef type = bits_type(e, s->inst[i]);
            s->nan[i] = cg_local(e, sum_type(e, s->inst[i]));
            LLVMBuildStore(e->u->b, LLVMConstNull(sum_type(e, s->inst[i])), s->nan[i]);
            LLVMBuildStore(e->u->b,
                           combine_of(s->inst[i]) == IR_MAX ? LLVMConstAllOnes(type)
                                                            : LLVMConstNull(type),
                           s->bits[i]);
        }
        s->acc[i] = cg_local(e, sum_type(e, s->inst[i]));
        LLVMValueRef first = cg_identity(e, combine_of(s->inst[i]),
                                         accumulator_type(s->inst[i]->operand[0]->type.dtype));
        LLVMBuildStore(e->u->b, cg_splat(e->u, first, e->lanes), s->acc[i]);
    }
}

/* Accumulates the operands at s->x. */
static void add_to_sums(cg_emitter *e, sums *s)
{
    for (int i = 0; i < s->n; i++) {
        ir_value *operand = s->inst[i]->operand[0];
        LLVMTypeRef type = sum_type(e, s->inst[i]);
        LLVMValueRef v = cg_as_vector(e, cg_at(e, operand, s->x));
        if (s->bits[i]) {
            add_to_extreme(e, s, i, v);
            continue;
        }
        LLVMValueRef sum = LLVMBuildLoad2(e->u->b, type, s->acc[i], "");
        LLVMBuildStore(
            e->u->b,
            cg_combine(e, combine_of(s->inst[i]), accumulator_type(operand->type.dtype), sum, v),
            s->acc[i]);
    }
}

/* Loops over the reduced axes from number `from` on; the lanes' axis, if any, is innermost, with
 * `count` elements from `start` on. */
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

/* Each lane reduces a result element of its own. */
static void sum_lanes(cg_emitter *e, sums *s)
{
    open_sums(e, s);
    sum_loops(e, s, 0, 0, 0);
    for (int i = 0; i < s->n; i++)
        s->done[i] = close_sum(e, s, i);
}

/* Lanes run along a reduced dimension: whole vectors, then the remainder; combined at the end. */
static void sum_row(cg_emitter *e, sums *s)
{
    const ir_type *t = &s->inst[0]->operand[0]->type;
    int64_t extent = t->dim[s->row];
    int width =
            sched_width(e->u->target->vector_bytes, ir_dtypes[accumulator_type(t->dtype)].bytes),
        lanes = width, mark = e->memo.count;
    while (lanes * s->n < e->kernel->schedule->accumulators * width && lanes * 2 <= extent)
        lanes *= 2;
    int64_t whole = extent / lanes * lanes;
    for (int64_t start = 0, count; start < extent; start += count) {
        e->lanes = start < whole ? lanes : cg_piece(extent - start, width);
        count = start < whole ? whole : e->lanes;
        open_sums(e, s);
        sum_loops(e, s, 0, start, count);
        for (int i = 0; i < s->n; i++) {
            ir_combine c = combine_of(s->inst[i]);
            ir_dtype wide = accumulator_type(s->inst[i]->operand[0]->type.dtype);
            LLVMValueRef sum = cg_across(e, c, wide, close_sum(e, s, i));
            s->done[i] = s->done[i] ? cg_combine(e, c, wide, s->done[i], sum) : sum;
        }
    }
    e->lanes = 1;
    cg_forget(e, mark);
}

/* The reduced dimension along which inst's operand is contiguous; -1: none. */
static int row_of(const ir_inst *inst)
{
    int nearest = ir_nearest(inst->operand[0]);
    for (int i = 0; i < IR_ATTR(inst, reduce)->axes.n; i++)
        if (IR_ATTR(inst, reduce)->axes.v[i] == nearest)
            return nearest;
    return -1;
}

static bool go_together(const ir_inst *x, const ir_inst *y)
{
    const ir_ints *p = &IR_ATTR(x, reduce)->axes, *q = &IR_ATTR(y, reduce)->axes;
    const ir_type *s = &x->operand[0]->type, *t = &y->operand[0]->type;
    if (!ir_shape_eq(s, t) || ir_dtypes[s->dtype].bytes != ir_dtypes[t->dtype].bytes ||
        p->n != q->n || row_of(x) != row_of(y))
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

static extreme extreme_new(cg_emitter *e, ir_dtype t, LLVMTypeRef index_element, int64_t none,
                           LLVMValueRef first)
{
    extreme x = {cg_type(e, t, e->lanes), cg_vector(index_element, e->lanes), NULL, NULL};
    x.value = cg_local(e, x.value_type);
    x.index = cg_local(e, x.index_type);
    LLVMBuildStore(e->u->b, cg_splat(e->u, first, e->lanes), x.value);
    LLVMBuildStore(
        e->u->b, cg_splat(e->u, LLVMConstInt(index_element, (unsigned long long)none, 1), e->lanes),
        x.index);
    return x;
}

/* Replaces the extreme by (v, index) where v wins: it is larger (smaller), or NaN against a number,
 * or the first (index < 0); `last`: equal also wins. */
static void extreme_offer(cg_emitter *e, const extreme *x, ir_dtype t, bool larger, bool last,
                          LLVMValueRef v, LLVMValueRef index, LLVMValueRef valid)
{
    LLVMBuilderRef b = e->u->b;
    LLVMValueRef best = LLVMBuildLoad2(b, x->value_type, x->value, ""),
                 at = LLVMBuildLoad2(b, x->index_type, x->index, ""), wins;
    v = cg_as_vector(e, v);
    index = cg_as_vector(e, index);
    if (ir_is_float(t)) {
        LLVMRealPredicate p =
            larger ? (last ? LLVMRealOGE : LLVMRealOGT) : (last ? LLVMRealOLE : LLVMRealOLT);
        LLVMValueRef nan = LLVMBuildFCmp(b, LLVMRealUNO, v, v, ""),
                     had = LLVMBuildFCmp(b, LLVMRealUNO, best, best, "");
        if (!last)
            nan = LLVMBuildAnd(b, nan, LLVMBuildNot(b, had, ""), "");
        wins = LLVMBuildOr(b, LLVMBuildFCmp(b, p, v, best, ""), nan, "");
    } else {
        bool s = t != IR_BOOL && ir_is_signed(t);
        LLVMIntPredicate p =
            larger ? (last ? (s ? LLVMIntSGE : LLVMIntUGE) : (s ? LLVMIntSGT : LLVMIntUGT))
                   : (last ? (s ? LLVMIntSLE : LLVMIntULE) : (s ? LLVMIntSLT : LLVMIntULT));
        wins = LLVMBuildICmp(b, p, v, best, "");
    }
    wins = LLVMBuildOr(b, wins, LLVMBuildICmp(b, LLVMIntSLT, at, LLVMConstNull(x->index_type), ""),
                       "");
    if (valid)
        wins = LLVMBuildAnd(b, wins, cg_as_vector(e, valid), "");
    LLVMBuildStore(b, LLVMBuildSelect(b, wins, v, best, ""), x->value);
    LLVMBuildStore(b, LLVMBuildSelect(b, wins, index, at, ""), x->index);
}

static LLVMValueRef extreme_results(cg_emitter *e, const ir_inst *inst, const extreme *x, int which,
                                    const cg_index *at)
{
    LLVMValueRef r[2] = {LLVMBuildLoad2(e->u->b, x->value_type, x->value, ""),
                         LLVMBuildLoad2(e->u->b, x->index_type, x->index, "")};
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
    extreme_offer(e, &best, t, a->combine == IR_MAX, a->last != 0, cg_at(e, operand, x),
                  cg_index_value(e, &x[a->axis]), NULL);
    cg_loop_end(e, &loop);
    return extreme_results(e, inst, &best, which, at);
}

/* ---- Windows ---- */

typedef struct window_run window_run;
typedef void tap(cg_emitter *e, window_run *r, const cg_index *x, const cg_index *number,
                 LLVMValueRef inside);

/* A window op at an index. `each` is called with the index of an element of the operand, the
 * row-major number of its tap, and whether both exist (NULL: always); read_place loads the element.
 * The index is clamped except in the dimension `beyond`. */
struct window_run {
    const ir_inst *inst;
    tap *each;
    const cg_index *at;
    ir_taps dim[IR_MAX_RANK];
    /* The first place that is visited (ir_taps). */
    cg_index tap[IR_MAX_RANK], element[IR_MAX_RANK];
    int beyond; /* along which lanes are contiguous in all operands: loads are masked; or -1 */
    /* N is a multiple of common in all dimensions; NULL: it always is. */
    LLVMValueRef aligned;
    LLVMValueRef acc;
    LLVMTypeRef type;
    extreme best;
};

static LLVMValueRef is_zero(cg_emitter *e, const cg_index *x)
{
    int64_t min, max;
    cg_range(x, &min, &max);
    if (min == 0 && max == 0)
        return NULL;
    LLVMValueRef v = cg_index_value(e, x);
    return LLVMBuildICmp(e->u->b, LLVMIntEQ, v, LLVMConstNull(LLVMTypeOf(v)), "");
}

/* Sets the first place in dimension d. */
static void first_place(cg_emitter *e, window_run *r, int d)
{
    const ir_taps *t = &r->dim[d];
    cg_index n = cg_scaled(&r->at[d], t->step), quotient, rest, odd;
    n.constant += t->low;
    if (t->elements) {
        r->tap[d] = n;
        r->element[d] = cg_of(0);
        return;
    }
    cg_divide(e, &n, t->base, &quotient, &rest);
    cg_divide(e, &rest, t->common, &rest, &odd);
    r->aligned = cg_both(e, r->aligned, is_zero(e, &odd));
    rest = cg_scaled(&rest, t->inverse);
    cg_divide(e, &rest, t->skip, &rest, &r->tap[d]);
    if (t->dilation > 1 && t->base > 1) {
        n = cg_add(e, &n, &r->tap[d], -t->dilation);
        cg_divide(e, &n, t->base, &quotient, &rest);
    }
    r->element[d] = cg_scaled(&quotient, -t->sign);
}

static bool in_lanes(cg_emitter *e, const cg_index *x)
{
    return e->lanes > 1 && cg_lane_stride(x) == 1 && !cg_is_varying(x);
}

/* The only dimension in which lanes differ, if all operands are in storage and have a stride of 1
 * along it; -1: none. */
static int find_beyond(cg_emitter *e, const ir_inst *inst, const cg_index *at)
{
    int beyond = -1;
    for (int d = 0; d < inst->operand[0]->type.rank; d++) {
        if (!cg_lane_stride(&at[d]) && !cg_is_varying(&at[d]))
            continue;
        if (beyond >= 0)
            return -1;
        beyond = d;
    }
    for (int i = 0; i < inst->noperands && beyond >= 0; i++) {
        ir_view view;
        if (!ir_view_of(inst->operand[i], &view) || !cg_is_leaf(e, view.base) ||
            view.stride[beyond] != 1)
            return -1;
    }
    return beyond;
}

/* Operand i at a place. */
static LLVMValueRef read_place(cg_emitter *e, const window_run *r, int i, const cg_index *x,
                               LLVMValueRef inside)
{
    ir_value *v = r->inst->operand[i];
    if (r->beyond < 0 || !inside || cg_lanes_of(inside) != e->lanes || !in_lanes(e, &x[r->beyond]))
        return cg_at(e, v, x);
    ir_view view;
    ir_view_of(v, &view);
    cg_index where = cg_of(view.offset);
    for (int d = 0; d < v->type.rank; d++)
        where = cg_add(e, &where, &x[d], view.stride[d]);
    return cg_load_lanes(e, view.base, &where, inside);
}

/* Place j in dimension d: the tap and the element there, and whether both exist. */
static LLVMValueRef place(cg_emitter *e, const window_run *r, int d, const cg_index *j,
                          cg_index *tap_at, cg_index *element)
{
    const ir_taps *t = &r->dim[d];
    LLVMValueRef there = NULL;
    if (t->elements) {
        cg_index rest;
        *element = *j;
        *tap_at = cg_add(e, &r->tap[d], j, t->sign * t->base);
        cg_divide(e, tap_at, t->dilation, tap_at, &rest);
        there = is_zero(e, &rest);
    } else {
        *tap_at = cg_add(e, &r->tap[d], j, t->skip);
        *element = cg_add(e, &r->element[d], j, t->sign * (t->dilation / t->common));
    }
    there = cg_both(e, there, cg_inside(e, tap_at, t->window));
    there = cg_both(e, there, cg_inside(e, element, t->extent));
    if (d != r->beyond || !in_lanes(e, element))
        *element = cg_clamp(e, element, t->extent);
    return there;
}

/* Calls r->each for every place, of which there are `places` from dimension d on: unrolled, or in
 * loops if there are many. */
static void for_places(cg_emitter *e, window_run *r, int d, double places, cg_index *x,
                       const cg_index *number, LLVMValueRef inside)
{
    if (d == r->inst->operand[0]->type.rank) {
        r->each(e, r, x, number, inside);
        return;
    }
    const ir_taps *t = &r->dim[d];
    bool unrolled = places <= e->kernel->schedule->taps || t->count == 1;
    cg_loop loop;
    for (int64_t i = 0; i < (unrolled ? t->count : 1); i++) {
        cg_index j = unrolled ? cg_of(i) : cg_loop_count(e, &loop, t->count), tap_at,
                 here = cg_scaled(number, t->window);
        LLVMValueRef there = place(e, r, d, &j, &tap_at, &x[d]);
        here = cg_add(e, &here, &tap_at, 1);
        for_places(e, r, d + 1, places / (double)t->count, x, &here, cg_both(e, inside, there));
        if (!unrolled)
            cg_loop_end(e, &loop);
    }
}

static void run_window(cg_emitter *e, window_run *r)
{
    cg_index x[IR_MAX_RANK], zero = cg_of(0);
    if (!ir_count(&r->inst->operand[0]->type))
        return;
    r->beyond = find_beyond(e, r->inst, r->at);
    for (int d = 0; d < r->inst->operand[0]->type.rank; d++) {
        r->dim[d] = ir_taps_of(r->inst, d);
        first_place(e, r, d);
    }
    for_places(e, r, 0, ir_cost_reads(r->inst, 0), x, &zero, r->aligned);
}

/* What r->each accumulates over a window. */
static LLVMValueRef accumulated(cg_emitter *e, window_run *r, ir_combine c)
{
    ir_dtype t = r->inst->operand[0]->type.dtype;
    r->type = cg_type(e, t, e->lanes);
    r->acc = cg_local(e, r->type);
    LLVMBuildStore(e->u->b, cg_splat(e->u, cg_identity(e, c, accumulator_type(t)), e->lanes),
                   r->acc);
    run_window(e, r);
    return cg_round(e, t, LLVMBuildLoad2(e->u->b, r->type, r->acc, ""));
}

static void accumulate(cg_emitter *e, const window_run *r, ir_combine c, LLVMValueRef holds,
                       LLVMValueRef element)
{
    ir_dtype t = accumulator_type(r->inst->operand[0]->type.dtype);
    LLVMValueRef v = cg_as_vector(e, cg_choose(e, holds, element, cg_identity(e, c, t)));
    LLVMBuildStore(e->u->b, cg_combine(e, c, t, LLVMBuildLoad2(e->u->b, r->type, r->acc, ""), v),
                   r->acc);
}

static void reduce_tap(cg_emitter *e, window_run *r, const cg_index *x, const cg_index *number,
                       LLVMValueRef inside)
{
    (void)number;
    accumulate(e, r, IR_ATTR(r->inst, reduce_window)->combine, inside,
               read_place(e, r, 0, x, inside));
}

RULE(reduce_window)
{
    (void)which;
    window_run run = {.inst = inst, .each = reduce_tap, .at = at};
    return accumulated(e, &run, IR_ATTR(inst, reduce_window)->combine);
}

/* The number of a tap, i32. */
static LLVMValueRef tap_number(cg_emitter *e, const cg_index *number)
{
    LLVMValueRef n = cg_index_value(e, number);
    return LLVMBuildIntCast2(e->u->b, n, cg_vector(e->u->i32, cg_lanes_of(n)), 1, "");
}

static void arg_tap(cg_emitter *e, window_run *r, const cg_index *x, const cg_index *number,
                    LLVMValueRef inside)
{
    const ir_value *operand = r->inst->operand[0];
    LLVMValueRef n = tap_number(e, number), v = read_place(e, r, 0, x, inside);
    extreme_offer(e, &r->best, operand->type.dtype, IR_ATTR(r->inst, arg_window)->combine == IR_MAX,
                  false, v, n, inside);
}

RULE(arg_window)
{
    ir_dtype t = inst->operand[0]->type.dtype;
    ir_combine c = IR_ATTR(inst, arg_window)->combine;
    window_run run = {.inst = inst,
                      .each = arg_tap,
                      .at = at,
                      .best = extreme_new(e, t, e->u->i32, -1, cg_identity(e, c, t))};
    run_window(e, &run);
    return extreme_results(e, inst, &run.best, which, at);
}

/* Adds the value of a window if operand 1, the position in it, is this tap. */
static void put_tap(cg_emitter *e, window_run *r, const cg_index *x, const cg_index *number,
                    LLVMValueRef inside)
{
    cg_branch branch;
    /* Uniform across lanes: a branch skips the loads. */
    bool skip = inside && cg_lanes_of(inside) == 1;
    if (skip)
        cg_if(e, &branch, inside);
    LLVMValueRef n = tap_number(e, number), p = read_place(e, r, 1, x, inside),
                 v = read_place(e, r, 0, x, inside);
    cg_level(e, &n, &p);
    LLVMValueRef hit = LLVMBuildICmp(e->u->b, LLVMIntEQ, n, p, "");
    accumulate(e, r, IR_SUM, skip ? hit : cg_both(e, hit, inside), v);
    if (skip)
        cg_endif(e, &branch);
}

RULE(window_put)
{
    (void)which;
    window_run run = {.inst = inst, .each = put_tap, .at = at};
    return accumulated(e, &run, IR_SUM);
}

/* The element at the position in operand 1, which is unravelled into a tap for each dimension. */
RULE(window_take)
{
    (void)which;
    const struct ir_attrs_window_take *a = IR_ATTR(inst, window_take);
    const ir_value *operand = inst->operand[0];
    LLVMBuilderRef b = e->u->b;
    if (!ir_count(&operand->type))
        return cg_number(e, operand->type.dtype, 0);
    LLVMValueRef p = cg_at(e, inst->operand[1], at);
    LLVMTypeRef type = LLVMTypeOf(p);
    int64_t taps = 1;
    for (int d = 0; d < a->window.n; d++)
        taps *= a->window.v[d];
    LLVMValueRef top =
        cg_splat(e->u, LLVMConstInt(e->u->i32, (unsigned long long)taps, 0), cg_lanes_of(p));
    LLVMValueRef inside = LLVMBuildICmp(b, LLVMIntULT, p, top, "");
    p = LLVMBuildSelect(b, inside, p, LLVMConstNull(type), "");
    cg_index rest = cg_opaque(
                 e, LLVMBuildIntCast2(b, p, cg_vector(e->u->i64, cg_lanes_of(p)), 1, ""), taps - 1),
             x[IR_MAX_RANK];
    for (int d = operand->type.rank; d-- > 0;) {
        cg_index tap_at, place = cg_scaled(&at[d], a->stride.v[d]);
        cg_divide(e, &rest, a->window.v[d], &rest, &tap_at);
        place = cg_add(e, &place, &tap_at, a->window_dilation.v[d]);
        place.constant -= a->low.v[d];
        inside = cg_both(e, inside, cg_inside(e, &place, operand->type.dim[d]));
        x[d] = cg_clamp(e, &place, operand->type.dim[d]);
    }
    return cg_choose(e, inside, cg_at(e, operand, x), cg_number(e, operand->type.dtype, 0));
}
