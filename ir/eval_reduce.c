/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Evaluators of reductions, windows, order and contractions. Floats are summed in double. */
#include "ir/eval.h"

#include <math.h>
#include <string.h>

#define RULE(name)                                                                         \
    void ir_eval_##name(ir_evaluation *e, const ir_inst *inst, ir_literal *const *operand, \
                        ir_literal **result)

static void combine(ir_wide *to, int64_t k, const ir_wide *from, int64_t i, ir_combine c)
{
    if (to->is_float)
        to->f[k] = ir_combine_float(c, to->f[k], from->f[i]);
    else
        to->i[k] = ir_combine_int(c, to->i[k], from->i[i], to->is_unsigned);
}

static ir_wide identities(base_arena *arena, const ir_type *t, ir_combine c)
{
    ir_wide w = ir_wide_new(arena, t->dtype, ir_count(t));
    for (int64_t i = 0; i < w.n; i++)
        ir_wide_identity(&w, i, c, t->dtype);
    return w;
}

RULE(reduce)
{
    const ir_ints axes = IR_ATTR(inst, reduce)->axes;
    const ir_type *t = &operand[0]->type;
    ir_combine c = IR_ATTR(inst, reduce)->combine;
    ir_wide x = ir_wide_of(e->arena, operand[0]), r = identities(e->arena, &result[0]->type, c);
    int64_t at[IR_MAX_RANK] = {0}, s[IR_MAX_RANK], step[IR_MAX_RANK] = {0};
    ir_strides(&result[0]->type, s);
    for (int d = 0, a = 0, next = 0; d < t->rank; d++) {
        if (a < axes.n && axes.v[a] == d)
            a++;
        else
            step[d] = s[next++];
    }
    for (int64_t i = 0; i < x.n; i++) {
        int64_t k = 0;
        for (int d = 0; d < t->rank; d++)
            k += at[d] * step[d];
        combine(&r, k, &x, i, c);
        ir_next_index(t->rank, t->dim, at);
    }
    ir_wide_store(&r, result[0]);
}

/* Does y win against x? NaN wins, then the larger (smaller). */
static bool wins(const ir_wide *w, int64_t x, int64_t y, bool larger, bool last)
{
    if (w->is_float) {
        if (isnan(w->f[x]) || isnan(w->f[y]))
            return isnan(w->f[y]) && (last || !isnan(w->f[x]));
        return last && w->f[x] == w->f[y] ? true : larger ? w->f[y] > w->f[x] : w->f[y] < w->f[x];
    }
    if (w->i[x] == w->i[y])
        return last;
    return (w->is_unsigned ? (uint64_t)w->i[y] > (uint64_t)w->i[x] : w->i[y] > w->i[x]) == larger;
}

RULE(arg_reduce)
{
    const struct ir_attrs_arg_reduce *a = IR_ATTR(inst, arg_reduce);
    const ir_type *t = &operand[0]->type;
    ir_wide x = ir_wide_of(e->arena, operand[0]),
            r = ir_wide_new(e->arena, t->dtype, ir_count(&result[0]->type));
    int64_t s[IR_MAX_RANK], extent = t->dim[a->axis];
    ir_strides(t, s);
    for (int64_t k = 0; k < r.n; k++) {
        int64_t inner = s[a->axis], start = k / inner * inner * extent + k % inner, best = 0;
        for (int64_t i = 1; i < extent; i++)
            if (wins(&x, start + best * inner, start + i * inner, a->combine == IR_MAX,
                     a->last != 0))
                best = i;
        if (r.is_float)
            r.f[k] = x.f[start + best * inner];
        else
            r.i[k] = x.i[start + best * inner];
        ir_literal_set_int(result[1], k, best);
    }
    ir_wide_store(&r, result[0]);
}

/* ---- Windows ---- */

typedef struct window {
    ir_ints size, stride, low, dilation;
    const int64_t *base;
} window;
/* element: of the operand, -1 in the padding */
typedef void tap(void *user, int64_t window, int64_t number, int64_t element);

static void for_windows(const window *w, const ir_type *from, const ir_type *windows, tap *f,
                        void *user)
{
    int64_t at[IR_MAX_RANK] = {0}, n = ir_count(windows), s[IR_MAX_RANK];
    ir_strides(from, s);
    for (int64_t i = 0; i < n; i++) {
        int64_t t[IR_MAX_RANK] = {0}, number = 0;
        do {
            int64_t j = 0;
            for (int d = 0; d < from->rank && j >= 0; d++) {
                int64_t place = at[d] * w->stride.v[d] + t[d] * w->dilation.v[d] - w->low.v[d],
                        base = w->base ? w->base[d] : 1;
                j = place >= 0 && place % base == 0 && place / base < from->dim[d]
                        ? j + place / base * s[d]
                        : -1;
            }
            f(user, i, number++, j);
        } while (ir_next_index(w->size.n, w->size.v, t));
        ir_next_index(windows->rank, windows->dim, at);
    }
}

typedef struct windowing {
    ir_wide x, r;
    ir_combine c;
    ir_literal *position;
    int64_t best; /* of the current window */
} windowing;

static void reduce_tap(void *user, int64_t at, int64_t number, int64_t element)
{
    windowing *w = user;
    (void)number;
    if (element >= 0)
        combine(&w->r, at, &w->x, element, w->c);
}

RULE(reduce_window)
{
    const struct ir_attrs_reduce_window *a = IR_ATTR(inst, reduce_window);
    windowing w = {.x = ir_wide_of(e->arena, operand[0]),
                   .r = identities(e->arena, &result[0]->type, a->combine),
                   .c = a->combine};
    for_windows(&(window){a->window, a->stride, a->low, a->window_dilation, a->base_dilation.v},
                &operand[0]->type, &result[0]->type, reduce_tap, &w);
    ir_wide_store(&w.r, result[0]);
}

static void arg_tap(void *user, int64_t at, int64_t number, int64_t element)
{
    windowing *w = user;
    if (number == 0)
        w->best = -1;
    if (element < 0 || (w->best >= 0 && !wins(&w->x, w->best, element, w->c == IR_MAX, false)))
        return;
    w->best = element;
    if (w->r.is_float)
        w->r.f[at] = w->x.f[element];
    else
        w->r.i[at] = w->x.i[element];
    ((int32_t *)w->position->data)[at] = (int32_t)number;
}

RULE(arg_window)
{
    const struct ir_attrs_arg_window *a = IR_ATTR(inst, arg_window);
    windowing w = {.x = ir_wide_of(e->arena, operand[0]),
                   .r = identities(e->arena, &result[0]->type, a->combine),
                   .c = a->combine,
                   .position = result[1]};
    for (int64_t i = 0; i < w.r.n; i++)
        ((int32_t *)result[1]->data)[i] = -1;
    for_windows(&(window){a->window, a->stride, a->low, a->window_dilation, NULL},
                &operand[0]->type, &result[0]->type, arg_tap, &w);
    ir_wide_store(&w.r, result[0]);
}

static void put_tap(void *user, int64_t at, int64_t number, int64_t element)
{
    windowing *w = user;
    if (element >= 0 && ((const int32_t *)w->position->data)[at] == number)
        combine(&w->r, element, &w->x, at, IR_SUM);
}

RULE(window_put)
{
    const struct ir_attrs_window_put *a = IR_ATTR(inst, window_put);
    windowing w = {.x = ir_wide_of(e->arena, operand[0]),
                   .r = identities(e->arena, &result[0]->type, IR_SUM),
                   .position = operand[1]};
    for_windows(&(window){a->window, a->stride, a->low, a->window_dilation, NULL}, &result[0]->type,
                &operand[0]->type, put_tap, &w);
    ir_wide_store(&w.r, result[0]);
}

static void take_tap(void *user, int64_t at, int64_t number, int64_t element)
{
    windowing *w = user;
    if (element < 0 || ((const int32_t *)w->position->data)[at] != number)
        return;
    if (w->r.is_float)
        w->r.f[at] = w->x.f[element];
    else
        w->r.i[at] = w->x.i[element];
}

RULE(window_take)
{
    const struct ir_attrs_window_take *a = IR_ATTR(inst, window_take);
    windowing w = {.x = ir_wide_of(e->arena, operand[0]),
                   .r = identities(e->arena, &result[0]->type, IR_SUM),
                   .position = operand[1]};
    for_windows(&(window){a->window, a->stride, a->low, a->window_dilation, NULL},
                &operand[0]->type, &result[0]->type, take_tap, &w);
    ir_wide_store(&w.r, result[0]);
}

/* ---- Along an axis ---- */

RULE(cumulative)
{
    const struct ir_attrs_cumulative *a = IR_ATTR(inst, cumulative);
    const ir_type *t = &operand[0]->type;
    ir_wide x = ir_wide_of(e->arena, operand[0]), r = ir_wide_new(e->arena, t->dtype, x.n),
            acc = ir_wide_new(e->arena, t->dtype, 1);
    int64_t s[IR_MAX_RANK], extent = t->dim[a->axis];
    ir_strides(t, s);
    int64_t inner = s[a->axis];
    for (int64_t k = 0; k < (extent ? x.n / extent : 0); k++) {
        int64_t start = k / inner * inner * extent + k % inner;
        ir_wide_identity(&acc, 0, a->combine, t->dtype);
        for (int64_t i = 0; i < extent; i++) {
            int64_t at = start + (a->reverse ? extent - 1 - i : i) * inner;
            if (!a->exclusive)
                combine(&acc, 0, &x, at, a->combine);
            if (r.is_float)
                r.f[at] = acc.f[0];
            else
                r.i[at] = acc.i[0];
            if (a->exclusive)
                combine(&acc, 0, &x, at, a->combine);
        }
    }
    ir_wide_store(&r, result[0]);
}

/* Must x come before y? */
static bool before(const ir_wide *w, int64_t x, int64_t y, bool descending)
{
    if (w->is_float) {
        if (isnan(w->f[x]) || isnan(w->f[y]))
            return descending ? isnan(w->f[x]) && !isnan(w->f[y])
                              : !isnan(w->f[x]) && isnan(w->f[y]);
        return descending ? w->f[x] > w->f[y] : w->f[x] < w->f[y];
    }
    if (w->is_unsigned)
        return descending ? (uint64_t)w->i[x] > (uint64_t)w->i[y]
                          : (uint64_t)w->i[x] < (uint64_t)w->i[y];
    return descending ? w->i[x] > w->i[y] : w->i[x] < w->i[y];
}

RULE(sort)
{
    const struct ir_attrs_sort *a = IR_ATTR(inst, sort);
    const ir_type *t = &operand[0]->type;
    ir_wide x = ir_wide_of(e->arena, operand[0]);
    int64_t s[IR_MAX_RANK], extent = t->dim[a->axis];
    ir_strides(t, s);
    int64_t inner = s[a->axis], *order = base_array(e->arena, int64_t, extent + 1),
            *other = base_array(e->arena, int64_t, extent + 1);
    for (int64_t k = 0; k < (extent ? x.n / extent : 0); k++) {
        int64_t start = k / inner * inner * extent + k % inner;
        for (int64_t i = 0; i < extent; i++)
            order[i] = start + i * inner;
        /* stable: the left one unless the right one must come first */
        for (int64_t run = 1; run < extent; run *= 2) {
            for (int64_t left = 0; left < extent; left += 2 * run) {
                int64_t middle = left + run < extent ? left + run : extent,
                        right = left + 2 * run < extent ? left + 2 * run : extent, i = left,
                        j = middle;
                for (int64_t o = left; o < right; o++)
                    other[o] = j >= right || (i < middle &&
                                              !before(&x, order[j], order[i], a->descending != 0))
                                   ? order[i++]
                                   : order[j++];
            }
            int64_t *swap = order;
            order = other;
            other = swap;
        }
        for (int p = 0; p < inst->noperands; p++) {
            int64_t size = ir_dtypes[operand[p]->type.dtype].bytes;
            for (int64_t i = 0; i < extent; i++)
                memcpy((char *)result[p]->data + (start + i * inner) * size,
                       (const char *)operand[p]->data + order[i] * size, (size_t)size);
        }
    }
}

/* ---- Contractions: strides of each loop in both operands ---- */

typedef struct loop_nest {
    int n;
    int64_t extent[2 * IR_MAX_RANK], x[2 * IR_MAX_RANK], y[2 * IR_MAX_RANK];
} loop_nest;

static void add_loop(loop_nest *l, int64_t extent, int64_t x, int64_t y)
{
    l->extent[l->n] = extent;
    l->x[l->n] = x;
    l->y[l->n++] = y;
}

static double sum_float(const loop_nest *l, int from, const double *x, const double *y)
{
    double sum = 0;
    if (from == l->n)
        return *x * *y;
    int64_t n = l->extent[from], p = l->x[from], q = l->y[from];
    if (from == l->n - 1) {
        for (int64_t i = 0; i < n; i++)
            sum += x[i * p] * y[i * q];
        return sum;
    }
    for (int64_t i = 0; i < n; i++)
        sum += sum_float(l, from + 1, x + i * p, y + i * q);
    return sum;
}

static uint64_t sum_int(const loop_nest *l, int from, const int64_t *x, const int64_t *y)
{
    uint64_t sum = 0;
    if (from == l->n)
        return (uint64_t)*x * (uint64_t)*y;
    for (int64_t i = 0; i < l->extent[from]; i++)
        sum += sum_int(l, from + 1, x + i * l->x[from], y + i * l->y[from]);
    return sum;
}

RULE(dot_general)
{
    const struct ir_attrs_dot_general *a = IR_ATTR(inst, dot_general);
    const ir_ints batch[2] = {a->lhs_batch, a->rhs_batch},
                  contract[2] = {a->lhs_contract, a->rhs_contract};
    int64_t s[2][IR_MAX_RANK], at[IR_MAX_RANK] = {0}, step[2][IR_MAX_RANK] = {{0}};
    bool used[2][IR_MAX_RANK] = {{false}};
    loop_nest l = {0};
    int next = 0;
    for (int o = 0; o < 2; o++)
        ir_strides(&operand[o]->type, s[o]);
    for (int i = 0; i < batch[0].n; i++, next++)
        for (int o = 0; o < 2; o++) {
            step[o][next] = s[o][batch[o].v[i]];
            used[o][batch[o].v[i]] = true;
        }
    for (int i = 0; i < contract[0].n; i++) {
        add_loop(&l, operand[0]->type.dim[contract[0].v[i]], s[0][contract[0].v[i]],
                 s[1][contract[1].v[i]]);
        used[0][contract[0].v[i]] = used[1][contract[1].v[i]] = true;
    }
    for (int o = 0; o < 2; o++)
        for (int d = 0; d < operand[o]->type.rank; d++)
            if (!used[o][d])
                step[o][next++] = s[o][d];
    ir_wide x = ir_wide_of(e->arena, operand[0]), y = ir_wide_of(e->arena, operand[1]),
            r = ir_wide_new(e->arena, result[0]->type.dtype, ir_count(&result[0]->type));
    for (int64_t k = 0; k < r.n; k++) {
        int64_t i = 0, j = 0;
        for (int d = 0; d < result[0]->type.rank; d++) {
            i += at[d] * step[0][d];
            j += at[d] * step[1][d];
        }
        bool empty = false;
        for (int d = 0; d < l.n; d++)
            empty |= l.extent[d] == 0;
        if (!empty && r.is_float)
            /* Sums begin with +0, that of one product too. */
            r.f[k] = 0 + sum_float(&l, 0, x.f + i, y.f + j);
        else if (!empty)
            r.i[k] = (int64_t)sum_int(&l, 0, x.i + i, y.i + j);
        ir_next_index(result[0]->type.rank, result[0]->type.dim, at);
    }
    ir_wide_store(&r, result[0]);
}

/* Sum for one result element over the spatial taps from dimension d on, then over the group's
 * features. Sums floats, or integers with wraparound. */
typedef struct conv {
    const struct ir_attrs_convolution *a;
    const ir_type *in, *w;
    int64_t xs[IR_MAX_RANK], ws[IR_MAX_RANK];
    const ir_wide *x, *y;
    const int64_t *out;
} conv;
typedef struct sums {
    double f;
    uint64_t i;
} sums;

static sums taps(const conv *c, int d, int64_t i, int64_t j)
{
    const struct ir_attrs_convolution *a = c->a;
    sums sum = {0};
    if (d == c->in->rank - 2) {
        int64_t n = c->w->dim[a->rhs.v[1]], p = c->xs[a->lhs.v[1]], q = c->ws[a->rhs.v[1]];
        for (int64_t k = 0; k < n; k++)
            if (c->x->is_float)
                sum.f += c->x->f[i + k * p] * c->y->f[j + k * q];
            else
                sum.i += (uint64_t)c->x->i[i + k * p] * (uint64_t)c->y->i[j + k * q];
        return sum;
    }
    int from = (int)a->lhs.v[2 + d], with = (int)a->rhs.v[2 + d];
    for (int64_t k = 0; k < c->w->dim[with]; k++) {
        int64_t place =
            c->out[a->out.v[2 + d]] * a->stride.v[d] + k * a->rhs_dilation.v[d] - a->low.v[d];
        if (place >= 0 && place % a->lhs_dilation.v[d] == 0 &&
            place / a->lhs_dilation.v[d] < c->in->dim[from]) {
            sums here =
                taps(c, d + 1, i + place / a->lhs_dilation.v[d] * c->xs[from], j + k * c->ws[with]);
            sum.f += here.f;
            sum.i += here.i;
        }
    }
    return sum;
}

RULE(convolution)
{
    const struct ir_attrs_convolution *a = IR_ATTR(inst, convolution);
    const ir_type *t = &result[0]->type;
    int64_t at[IR_MAX_RANK] = {0};
    ir_wide x = ir_wide_of(e->arena, operand[0]), y = ir_wide_of(e->arena, operand[1]),
            r = ir_wide_new(e->arena, t->dtype, ir_count(t));
    conv c = {.a = a, .in = &operand[0]->type, .w = &operand[1]->type, .x = &x, .y = &y, .out = at};
    ir_strides(c.in, c.xs);
    ir_strides(c.w, c.ws);
    int64_t groups = a->feature_groups > 1 ? a->feature_groups : a->batch_groups,
            each = t->dim[a->out.v[1]] / groups;
    for (int64_t k = 0; k < r.n; k++) {
        int64_t o = at[a->out.v[1]], g = o / each, n = at[a->out.v[0]], ch = 0;
        if (a->batch_groups > 1)
            n += g * (c.in->dim[a->lhs.v[0]] / groups);
        else
            ch = g * c.w->dim[a->rhs.v[1]];
        sums sum =
            taps(&c, 0, n * c.xs[a->lhs.v[0]] + ch * c.xs[a->lhs.v[1]], o * c.ws[a->rhs.v[0]]);
        if (r.is_float)
            r.f[k] = sum.f;
        else
            r.i[k] = (int64_t)sum.i;
        ir_next_index(t->rank, t->dim, at);
    }
    ir_wide_store(&r, result[0]);
}
