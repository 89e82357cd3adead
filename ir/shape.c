/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shape rules: result types from operand types and attributes, or a message that says what is
 * wrong. Counts of operands and the first operand's class were checked before; see ir_build. */
#include "ir/shape.h"

#include <string.h>

#define RULE(name)                                                                        \
    const char *ir_shape_##name(base_arena *arena, ir_op op, const ir_attrs *attrs,       \
                                ir_value *const *operand, int noperands, ir_type *result, \
                                int *nresults)
#define UNUSED \
    (void)arena, (void)op, (void)attrs, (void)operand, (void)noperands, (void)result, (void)nresults
#define TYPE(i) (&operand[i]->type)
#define TEXT(i) ir_type_text(arena, TYPE(i))

/* v is beyond the extent of any tensor; sums of a few numbers that are not do not overflow. */
static bool too_far(int64_t v)
{
    return v > (int64_t)1 << 58 || v < -((int64_t)1 << 58);
}

/* Dimensions listed in v are in range and not named twice; ascending if asked. */
static const char *check_dims(base_arena *arena, const char *what, ir_ints v, int rank,
                              bool ascending)
{
    uint32_t seen = 0;
    for (int i = 0; i < v.n; i++) {
        if (v.v[i] < 0 || v.v[i] >= rank)
            return base_format(arena, "%s %lld is outside a tensor of rank %d", what,
                               (long long)v.v[i], rank);
        if (seen >> v.v[i] & 1)
            return base_format(arena, "%s %lld is named twice", what, (long long)v.v[i]);
        if (ascending && i && v.v[i] < v.v[i - 1])
            return base_format(arena, "%s list is not ascending", what);
        seen |= 1u << v.v[i];
    }
    return NULL;
}

static const char *check_count(base_arena *arena, const char *what, ir_ints v, int n)
{
    return v.n == n ? NULL : base_format(arena, "%s has %d entries; expected %d", what, v.n, n);
}

#define TRY(check)                    \
    do {                              \
        const char *wrong_ = (check); \
        if (wrong_)                   \
            return wrong_;            \
    } while (0)

/* Dimensions from a shape attribute; NULL, or what is wrong. */
static const char *set_shape(base_arena *arena, ir_type *t, ir_dtype dtype, ir_ints shape)
{
    if (shape.n < 0 || shape.n > IR_MAX_RANK)
        return base_format(arena, "rank %d is above the limit of %d", shape.n, IR_MAX_RANK);
    *t = ir_type_of(dtype, shape.n, shape.v);
    return ir_type_ok(t) ? NULL
                         : base_format(arena, "a shape has a negative dimension or is too large");
}

RULE(same)
{
    UNUSED;
    for (int i = 1; i < noperands; i++)
        if (!ir_type_eq(TYPE(0), TYPE(i)))
            return base_format(arena, "operand types differ: %s and %s", TEXT(0), TEXT(i));
    result[0] = *TYPE(0);
    return NULL;
}

RULE(predicate)
{
    TRY(ir_shape_same(arena, op, attrs, operand, noperands, result, nresults));
    result[0].dtype = IR_BOOL;
    return NULL;
}

RULE(convert)
{
    UNUSED;
    result[0] = *TYPE(0);
    result[0].dtype = attrs->convert.to;
    return NULL;
}

RULE(bitcast)
{
    UNUSED;
    result[0] = *TYPE(0);
    result[0].dtype = attrs->bitcast.to;
    if (ir_dtypes[attrs->bitcast.to].bytes != ir_dtypes[TYPE(0)->dtype].bytes)
        return base_format(arena, "%s and %s differ in size", TEXT(0),
                           ir_dtypes[attrs->bitcast.to].name);
    return NULL;
}

RULE(select)
{
    UNUSED;
    if (TYPE(0)->dtype != IR_BOOL || !ir_shape_eq(TYPE(0), TYPE(1)) ||
        !ir_type_eq(TYPE(1), TYPE(2)))
        return base_format(
            arena, "expected a bool and two operands of one type, all of one shape; got %s, %s, %s",
            TEXT(0), TEXT(1), TEXT(2));
    result[0] = *TYPE(1);
    return NULL;
}

RULE(constant)
{
    UNUSED;
    if (!attrs->constant.value)
        return "the value is missing";
    result[0] = attrs->constant.value->type;
    return NULL;
}

RULE(iota)
{
    UNUSED;
    TRY(set_shape(arena, result, attrs->iota.to, attrs->iota.shape));
    if (attrs->iota.axis < 0 || attrs->iota.axis >= result->rank)
        return base_format(arena, "axis %lld is outside rank %d", (long long)attrs->iota.axis,
                           result->rank);
    return NULL;
}

RULE(reshape)
{
    UNUSED;
    TRY(set_shape(arena, result, TYPE(0)->dtype, attrs->reshape.shape));
    if (ir_count(result) != ir_count(TYPE(0)))
        return base_format(arena, "%s cannot become %s: %lld and %lld elements", TEXT(0),
                           ir_type_text(arena, result), (long long)ir_count(TYPE(0)),
                           (long long)ir_count(result));
    return NULL;
}

RULE(broadcast)
{
    UNUSED;
    const ir_ints dims = attrs->broadcast.dims;
    TRY(set_shape(arena, result, TYPE(0)->dtype, attrs->broadcast.shape));
    TRY(check_count(arena, "dims", dims, TYPE(0)->rank));
    TRY(check_dims(arena, "dimension", dims, result->rank, true));
    for (int i = 0; i < dims.n; i++)
        if (TYPE(0)->dim[i] != 1 && TYPE(0)->dim[i] != result->dim[dims.v[i]])
            return base_format(arena, "cannot broadcast %s to %s", TEXT(0),
                               ir_type_text(arena, result));
    return NULL;
}

RULE(transpose)
{
    UNUSED;
    const ir_ints perm = attrs->transpose.perm;
    TRY(check_count(arena, "perm", perm, TYPE(0)->rank));
    TRY(check_dims(arena, "dimension", perm, TYPE(0)->rank, false));
    result[0] = *TYPE(0);
    for (int i = 0; i < perm.n; i++)
        result->dim[i] = TYPE(0)->dim[perm.v[i]];
    return NULL;
}

RULE(slice)
{
    UNUSED;
    const struct ir_attrs_slice *a = &attrs->slice;
    TRY(check_count(arena, "start", a->start, TYPE(0)->rank));
    TRY(check_count(arena, "limit", a->limit, TYPE(0)->rank));
    TRY(check_count(arena, "stride", a->stride, TYPE(0)->rank));
    result[0] = *TYPE(0);
    for (int i = 0; i < result->rank; i++) {
        int64_t start = a->start.v[i], limit = a->limit.v[i], stride = a->stride.v[i];
        if (start < 0 || limit < start || limit > TYPE(0)->dim[i] || stride < 1)
            return base_format(arena, "slice %lld:%lld:%lld is outside dimension %d of %s",
                               (long long)start, (long long)limit, (long long)stride, i, TEXT(0));
        result->dim[i] = limit == start ? 0 : (limit - start - 1) / stride + 1;
    }
    return NULL;
}

RULE(pad)
{
    UNUSED;
    const struct ir_attrs_pad *a = &attrs->pad;
    TRY(check_count(arena, "low", a->low, TYPE(0)->rank));
    TRY(check_count(arena, "high", a->high, TYPE(0)->rank));
    TRY(check_count(arena, "interior", a->interior, TYPE(0)->rank));
    if (TYPE(1)->rank || TYPE(1)->dtype != TYPE(0)->dtype)
        return base_format(arena, "expected a padding value of rank 0 and the type of %s, got %s",
                           TEXT(0), TEXT(1));
    result[0] = *TYPE(0);
    for (int i = 0; i < result->rank; i++) {
        int64_t d = TYPE(0)->dim[i], gaps, n;
        if (too_far(a->low.v[i]) || too_far(a->high.v[i]) || too_far(a->interior.v[i]))
            return base_format(arena, "padding %lld, %lld, interior %lld is too large",
                               (long long)a->low.v[i], (long long)a->high.v[i],
                               (long long)a->interior.v[i]);
        if (a->interior.v[i] < 0 || !base_size_mul(d ? d - 1 : 0, a->interior.v[i], &gaps) ||
            !base_size_add(d, gaps, &n) || too_far(n) || (n += a->low.v[i] + a->high.v[i]) < 0)
            return base_format(
                arena,
                "padding %lld, %lld, interior %lld leaves no valid size for dimension %d of %s",
                (long long)a->low.v[i], (long long)a->high.v[i], (long long)a->interior.v[i], i,
                TEXT(0));
        result->dim[i] = n;
    }
    return ir_type_ok(result) ? NULL : "the padded tensor is too large";
}

RULE(concat)
{
    UNUSED;
    int64_t axis = attrs->concat.axis, sum = 0;
    if (noperands < 1)
        return "nothing to concatenate";
    if (axis < 0 || axis >= TYPE(0)->rank)
        return base_format(arena, "axis %lld is outside %s", (long long)axis, TEXT(0));
    for (int i = 0; i < noperands; i++) {
        ir_type t = *TYPE(i);
        if (t.rank == TYPE(0)->rank)
            t.dim[axis] = TYPE(0)->dim[axis];
        if (!ir_type_eq(&t, TYPE(0)))
            return base_format(arena, "%s and %s differ outside axis %lld", TEXT(0), TEXT(i),
                               (long long)axis);
        if (!base_size_add(sum, TYPE(i)->dim[axis], &sum))
            return "the result is too large";
    }
    result[0] = *TYPE(0);
    result->dim[axis] = sum;
    return ir_type_ok(result) ? NULL : "the result is too large";
}

RULE(reverse)
{
    UNUSED;
    TRY(check_dims(arena, "axis", attrs->reverse.axes, TYPE(0)->rank, true));
    result[0] = *TYPE(0);
    return NULL;
}

/* The result type of a gather; also what scatter's updates must be. */
static const char *gathered(base_arena *arena, const ir_type *x, const ir_type *index, ir_ints dims,
                            int64_t batch, ir_type *out)
{
    if (!ir_is_int(index->dtype))
        return base_format(arena, "expected integer indices, got %s", ir_dtypes[index->dtype].name);
    TRY(check_dims(arena, "dimension", dims, x->rank, true));
    if (batch < 0 || index->rank <= batch || x->rank < batch || (dims.n && dims.v[0] < batch))
        return base_format(arena, "batch %lld does not fit %s and %s", (long long)batch,
                           ir_type_text(arena, x), ir_type_text(arena, index));
    if (index->dim[index->rank - 1] != dims.n)
        return base_format(arena, "index vectors have %lld components; expected %d",
                           (long long)index->dim[index->rank - 1], dims.n);
    *out = (ir_type){.dtype = x->dtype};
    if (index->rank - 1 + x->rank - batch - dims.n > IR_MAX_RANK)
        return "the result's rank is above the limit";
    for (int i = 0; i < batch; i++)
        if (x->dim[i] != index->dim[i])
            return base_format(arena, "batch dimension %d differs: %s and %s", i,
                               ir_type_text(arena, x), ir_type_text(arena, index));
    for (int i = 0; i < index->rank - 1; i++)
        out->dim[out->rank++] = index->dim[i];
    for (int i = (int)batch, j = 0; i < x->rank; i++)
        if (j < dims.n && dims.v[j] == i) {
            if (!x->dim[i] && ir_count(index))
                return "cannot index an empty dimension";
            j++;
        } else {
            out->dim[out->rank++] = x->dim[i];
        }
    return ir_type_ok(out) ? NULL : "the result is too large";
}

RULE(gather)
{
    UNUSED;
    return gathered(arena, TYPE(0), TYPE(1), attrs->gather.dims, attrs->gather.batch, result);
}

RULE(scatter)
{
    UNUSED;
    ir_type due;
    TRY(gathered(arena, TYPE(0), TYPE(1), attrs->scatter.dims, attrs->scatter.batch, &due));
    if (!ir_type_eq(&due, TYPE(2)))
        return base_format(arena, "updates have type %s; expected %s", TEXT(2),
                           ir_type_text(arena, &due));
    result[0] = *TYPE(0);
    return NULL;
}

/* t without the dimensions in axes (ascending). */
static ir_type without(const ir_type *t, ir_ints axes)
{
    ir_type r = {.dtype = t->dtype};
    for (int i = 0, j = 0; i < t->rank; i++)
        if (j < axes.n && axes.v[j] == i)
            j++;
        else
            r.dim[r.rank++] = t->dim[i];
    return r;
}

RULE(reduce)
{
    UNUSED;
    ir_combine c = attrs->reduce.combine;
    int class = ir_dtypes[TYPE(0)->dtype].class;
    TRY(check_dims(arena, "axis", attrs->reduce.axes, TYPE(0)->rank, true));
    if (c == IR_SET || ((c == IR_AND || c == IR_OR) && (class & IR_CLASS_F)) ||
        ((c == IR_SUM || c == IR_PROD) && (class & IR_CLASS_B)))
        return base_format(arena, "`%s` cannot reduce %s", ir_combine_names[c], TEXT(0));
    result[0] = without(TYPE(0), attrs->reduce.axes);
    return NULL;
}

RULE(arg_reduce)
{
    UNUSED;
    int64_t axis = attrs->arg_reduce.axis;
    if (attrs->arg_reduce.combine != IR_MAX && attrs->arg_reduce.combine != IR_MIN)
        return "expected max or min";
    TRY(check_dims(arena, "axis", (ir_ints){1, &axis}, TYPE(0)->rank, true));
    if (!TYPE(0)->dim[axis])
        return base_format(arena, "dimension %lld of %s is empty", (long long)axis, TEXT(0));
    result[0] = result[1] = without(TYPE(0), (ir_ints){1, &axis});
    result[1].dtype = IR_I64;
    return NULL;
}

/* How many windows fit an extent, and the extent with input dilation and padding; false if a number
 * is out of range. */
static bool windows(int64_t extent, int64_t window, int64_t stride, int64_t low, int64_t high,
                    int64_t base, int64_t dilation, int64_t *padded, int64_t *out)
{
    int64_t span, n;
    if (extent < 0 || window < 1 || stride < 1 || base < 1 || dilation < 1 || too_far(stride) ||
        too_far(low) || too_far(high) || too_far(base) || too_far(dilation) ||
        !base_size_mul(extent ? extent - 1 : 0, base, &n) || !base_size_add(n, extent != 0, &n) ||
        too_far(n) || (n += low + high) < 0 || !base_size_mul(window - 1, dilation, &span) ||
        too_far(span))
        return false;
    span++;
    *padded = n;
    *out = n < span ? 0 : (n - span) / stride + 1;
    return true;
}

static const char *window_result(base_arena *arena, const ir_type *x, ir_ints window,
                                 ir_ints stride, ir_ints low, ir_ints high, const ir_ints *base,
                                 ir_ints dilation, ir_type *out)
{
    const struct { const char *name; ir_ints v;
    } all[] = {{"window", window},
               {"stride", stride},
               {"low", low},
               {"high", high},
               {"window_dilation", dilation}};
    for (int i = 0; i < 5; i++)
        TRY(check_count(arena, all[i].name, all[i].v, x->rank));
    if (base)
        TRY(check_count(arena, "base_dilation", *base, x->rank));
    *out = *x;
    int64_t taps = 1, padded;
    for (int i = 0; i < x->rank; i++)
        if (!windows(x->dim[i], window.v[i], stride.v[i], low.v[i], high.v[i],
                     base ? base->v[i] : 1, dilation.v[i], &padded, &out->dim[i]) ||
            !base_size_mul(taps, window.v[i], &taps) || taps > INT32_MAX)
            return base_format(arena, "a window attribute is out of range for dimension %d of %s",
                               i, ir_type_text(arena, x));
    return ir_type_ok(out) ? NULL : "the result is too large";
}

RULE(reduce_window)
{
    UNUSED;
    const struct ir_attrs_reduce_window *a = &attrs->reduce_window;
    if (a->combine > IR_MIN)
        return base_format(arena, "expected sum, prod, max or min, got %s",
                           ir_combine_names[a->combine]);
    return window_result(arena, TYPE(0), a->window, a->stride, a->low, a->high, &a->base_dilation,
                         a->window_dilation, result);
}

RULE(arg_window)
{
    UNUSED;
    const struct ir_attrs_arg_window *a = &attrs->arg_window;
    if (a->combine != IR_MAX && a->combine != IR_MIN)
        return "expected max or min";
    TRY(window_result(arena, TYPE(0), a->window, a->stride, a->low, a->high, NULL,
                      a->window_dilation, result));
    result[1] = result[0];
    result[1].dtype = IR_I32;
    return NULL;
}

RULE(window_put)
{
    UNUSED;
    const struct ir_attrs_window_put *a = &attrs->window_put;
    ir_type due;
    TRY(set_shape(arena, result, TYPE(0)->dtype, a->shape));
    TRY(window_result(arena, result, a->window, a->stride, a->low, a->high, NULL,
                      a->window_dilation, &due));
    if (!ir_type_eq(&due, TYPE(0)) || !ir_shape_eq(&due, TYPE(1)) || TYPE(1)->dtype != IR_I32)
        return base_format(arena, "expected %s and i32 positions of its shape, got %s and %s",
                           ir_type_text(arena, &due), TEXT(0), TEXT(1));
    return NULL;
}

RULE(window_take)
{
    UNUSED;
    const struct ir_attrs_window_take *a = &attrs->window_take;
    TRY(window_result(arena, TYPE(0), a->window, a->stride, a->low, a->high, NULL,
                      a->window_dilation, result));
    if (!ir_shape_eq(result, TYPE(1)) || TYPE(1)->dtype != IR_I32)
        return base_format(arena, "positions have type %s; expected i32 in the shape of %s",
                           TEXT(1), ir_type_text(arena, result));
    return NULL;
}

RULE(cumulative)
{
    UNUSED;
    if (attrs->cumulative.combine > IR_MIN)
        return base_format(arena, "expected sum, prod, max or min, got %s",
                           ir_combine_names[attrs->cumulative.combine]);
    int64_t axis = attrs->cumulative.axis;
    TRY(check_dims(arena, "axis", (ir_ints){1, &axis}, TYPE(0)->rank, true));
    result[0] = *TYPE(0);
    return NULL;
}

RULE(sort)
{
    UNUSED;
    if (noperands < 1)
        return "nothing to sort";
    int64_t axis = attrs->sort.axis;
    TRY(check_dims(arena, "axis", (ir_ints){1, &axis}, TYPE(0)->rank, true));
    for (int i = 0; i < noperands; i++) {
        if (!ir_shape_eq(TYPE(0), TYPE(i)))
            return base_format(arena, "%s and %s differ in shape", TEXT(0), TEXT(i));
        result[i] = *TYPE(i);
    }
    *nresults = noperands;
    return NULL;
}

/* The element type of a contraction's result; returns NULL, or why there is none. */
static const char *accumulated(base_arena *arena, ir_value *const *operand, ir_dtype accumulate,
                               ir_dtype *out)
{
    ir_dtype x = TYPE(0)->dtype, y = TYPE(1)->dtype;
    *out = accumulate;
    if (accumulate == IR_BOOL || (accumulate == x && x == y)) {
        *out = x;
        return x == y
                   ? NULL
                   : base_format(arena, "operands of different types need `accumulate`: %s and %s",
                                 TEXT(0), TEXT(1));
    }
    return ir_accumulates(x, y, accumulate)
               ? NULL
               : base_format(arena, "products of %s and %s cannot be accumulated in %s", TEXT(0),
                             TEXT(1), ir_dtypes[accumulate].name);
}

RULE(dot_general)
{
    UNUSED;
    const struct ir_attrs_dot_general *a = &attrs->dot_general;
    const ir_type *x = TYPE(0), *y = TYPE(1);
    const ir_ints batch[2] = {a->lhs_batch, a->rhs_batch},
                  contract[2] = {a->lhs_contract, a->rhs_contract};
    ir_dtype sum;
    TRY(accumulated(arena, operand, a->accumulate, &sum));
    if (batch[0].n != batch[1].n || contract[0].n != contract[1].n)
        return "operands have different numbers of batch or contracted dimensions";
    uint32_t used[2] = {0, 0};
    for (int side = 0; side < 2; side++) {
        TRY(check_dims(arena, "batch dimension", batch[side], TYPE(side)->rank, false));
        TRY(check_dims(arena, "contracted dimension", contract[side], TYPE(side)->rank, false));
        for (int i = 0; i < batch[side].n; i++)
            used[side] |= 1u << batch[side].v[i];
        for (int i = 0; i < contract[side].n; i++) {
            if (used[side] >> contract[side].v[i] & 1)
                return "a dimension is both batch and contracted";
            used[side] |= 1u << contract[side].v[i];
        }
    }
    *result = (ir_type){.dtype = sum};
    for (int i = 0; i < contract[0].n; i++)
        if (x->dim[contract[0].v[i]] != y->dim[contract[1].v[i]])
            return base_format(arena, "contracted dimensions differ: %lld in %s, %lld in %s",
                               (long long)x->dim[contract[0].v[i]], TEXT(0),
                               (long long)y->dim[contract[1].v[i]], TEXT(1));
    if (x->rank + y->rank - batch[0].n - 2 * contract[0].n > IR_MAX_RANK)
        return "the result's rank is above the limit";
    for (int i = 0; i < batch[0].n; i++) {
        if (x->dim[batch[0].v[i]] != y->dim[batch[1].v[i]])
            return base_format(arena, "batch dimensions differ: %s and %s", TEXT(0), TEXT(1));
        result->dim[result->rank++] = x->dim[batch[0].v[i]];
    }
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < TYPE(side)->rank; i++)
            if (!(used[side] >> i & 1))
                result->dim[result->rank++] = TYPE(side)->dim[i];
    return ir_type_ok(result) ? NULL : "the result is too large";
}

RULE(convolution)
{
    UNUSED;
    const struct ir_attrs_convolution *a = &attrs->convolution;
    const ir_type *x = TYPE(0), *w = TYPE(1);
    int rank = x->rank, spatial = rank - 2;
    int64_t fg = a->feature_groups, bg = a->batch_groups;
    ir_dtype sum;
    TRY(accumulated(arena, operand, a->accumulate, &sum));
    if (rank < 2 || w->rank != rank)
        return base_format(
            arena,
            "expected a tensor of rank 2 or more and weights of the same rank, got %s and %s",
            TEXT(0), TEXT(1));
    const ir_ints orders[3] = {a->lhs, a->rhs, a->out},
                  spatials[5] = {a->stride, a->low, a->high, a->lhs_dilation, a->rhs_dilation};
    for (int i = 0; i < 3; i++) {
        TRY(check_count(arena, "dimension order", orders[i], rank));
        TRY(check_dims(arena, "dimension", orders[i], rank, false));
    }
    for (int i = 0; i < 5; i++)
        TRY(check_count(arena, "stride, padding or dilation", spatials[i], spatial));
    int64_t n = x->dim[a->lhs.v[0]], c = x->dim[a->lhs.v[1]], o = w->dim[a->rhs.v[0]],
            ci = w->dim[a->rhs.v[1]];
    if (fg < 1 || bg < 1 || (fg > 1 && bg > 1) || c % fg || o % fg || o % bg || n % bg ||
        ci != c / fg)
        return base_format(arena, "channels do not fit: %s with weights %s in %lld groups", TEXT(0),
                           TEXT(1), (long long)(fg > 1 ? fg : bg));
    ir_type padded = *x; /* kernels read it from memory padded, and some dilated */
    *result = ir_type_of(sum, rank, x->dim);
    result->dim[a->out.v[0]] = n / bg;
    result->dim[a->out.v[1]] = o;
    for (int i = 0; i < spatial; i++) {
        int64_t *extent = &padded.dim[a->lhs.v[2 + i]];
        if (!windows(*extent, w->dim[a->rhs.v[2 + i]], a->stride.v[i], a->low.v[i], a->high.v[i],
                     a->lhs_dilation.v[i], a->rhs_dilation.v[i], extent,
                     &result->dim[a->out.v[2 + i]]))
            return base_format(
                arena,
                "a window attribute is out of range for spatial dimension %d: %s with weights %s",
                i, TEXT(0), TEXT(1));
    }
    if (!ir_type_ok(&padded))
        return base_format(arena, "%s with padding and input dilation is too large", TEXT(0));
    return ir_type_ok(result) ? NULL : "the result is too large";
}

RULE(random_bits)
{
    UNUSED;
    if (TYPE(0)->rank || TYPE(1)->rank || TYPE(0)->dtype != IR_U64 || TYPE(1)->dtype != IR_U64)
        return base_format(arena, "expected seed and call of type u64[], got %s and %s", TEXT(0),
                           TEXT(1));
    return set_shape(arena, result, IR_U32, attrs->random_bits.shape);
}

/* ---- Structured ---- */

/* Checks operands against the parameters of f; NULL if they match. */
static const char *check_call(base_arena *arena, const ir_func *f, ir_value *const *operand, int n)
{
    if (!f)
        return "a function is missing";
    if (f->params.count != n)
        return base_format(arena, "@%s takes %d operands, got %d", f->name, f->params.count, n);
    for (int i = 0; i < n; i++)
        if (!ir_type_eq(&operand[i]->type, &f->params.items[i].value->type))
            return base_format(arena, "operand %d of @%s has type %s; expected %s", i, f->name,
                               ir_type_text(arena, &operand[i]->type),
                               ir_type_text(arena, &f->params.items[i].value->type));
    return NULL;
}

static void results_of(const ir_func *f, ir_type *result, int *nresults)
{
    *nresults = f->results.count;
    for (int i = 0; i < f->results.count; i++)
        result[i] = f->results.items[i].value->type;
}

RULE(call)
{
    UNUSED;
    TRY(check_call(arena, attrs->call.callee, operand, noperands));
    results_of(attrs->call.callee, result, nresults);
    return NULL;
}

RULE(cond)
{
    UNUSED;
    const ir_func *f = attrs->cond.then_body, *g = attrs->cond.else_body;
    if (noperands < 1 || TYPE(0)->rank || TYPE(0)->dtype != IR_BOOL)
        return "the condition must be a bool[]";
    TRY(check_call(arena, f, operand + 1, noperands - 1));
    TRY(check_call(arena, g, operand + 1, noperands - 1));
    results_of(f, result, nresults);
    if (g->results.count != f->results.count)
        return base_format(arena, "branches have %d and %d results", f->results.count,
                           g->results.count);
    for (int i = 0; i < *nresults; i++)
        if (!ir_type_eq(&result[i], &g->results.items[i].value->type))
            return base_format(arena, "result %d of the branches differs in type: %s and %s", i,
                               ir_type_text(arena, &result[i]),
                               ir_type_text(arena, &g->results.items[i].value->type));
    return NULL;
}

RULE(while)
{
    UNUSED;
    const struct ir_attrs_while_loop *a = &attrs->while_loop;
    TRY(check_call(arena, a->test, operand, noperands));
    TRY(check_call(arena, a->body, operand, noperands));
    if (a->consts < 0 || a->consts > noperands || a->limit < 0)
        return "`consts` or `limit` is out of range";
    if (a->test->results.count != 1 || a->test->results.items[0].value->type.rank ||
        a->test->results.items[0].value->type.dtype != IR_BOOL)
        return "the test must yield a bool[]";
    results_of(a->body, result, nresults);
    if (*nresults != noperands - a->consts)
        return "the body must yield one value for each carried value";
    for (int i = 0; i < *nresults; i++)
        if (!ir_type_eq(&result[i], TYPE(a->consts + i)))
            return base_format(arena, "carried value %d changes type: %s and %s", i,
                               TEXT(a->consts + i), ir_type_text(arena, &result[i]));
    return NULL;
}

RULE(scan)
{
    UNUSED;
    const struct ir_attrs_scan *a = &attrs->scan;
    const ir_func *f = a->body;
    int live = a->live != 0;
    int64_t fixed;
    if (!f || a->length < 0 || !base_size_add(a->consts, a->carries, &fixed) ||
        fixed > noperands - live)
        return "the body is missing, or `length`, `consts` or `carries` is out of range";
    if (f->params.count != noperands - live)
        return base_format(arena, "@%s takes %d operands, got %d", f->name, f->params.count,
                           noperands - live);
    for (int i = 0; i < noperands - live; i++) {
        ir_type t = *TYPE(i);
        if (i >= fixed) {
            if (t.rank < 1 || t.dim[0] != a->length)
                return base_format(arena,
                                   "operand %d, a sequence, has type %s; expected length %lld", i,
                                   TEXT(i), (long long)a->length);
            t.rank--;
            memmove(t.dim, t.dim + 1, (size_t)t.rank * sizeof *t.dim);
            t.dim[t.rank] = 0;
        }
        if (!ir_type_eq(&t, &f->params.items[i].value->type))
            return base_format(arena, "operand %d has type %s; @%s takes %s", i,
                               ir_type_text(arena, &t), f->name,
                               ir_type_text(arena, &f->params.items[i].value->type));
    }
    const ir_type boolean = ir_scalar_type(IR_BOOL);
    int yielded = f->results.count - live;
    if (yielded < a->carries ||
        (live && (!ir_type_eq(TYPE(noperands - 1), &boolean) ||
                  !ir_type_eq(&f->results.items[yielded].value->type, &boolean))))
        return base_format(
            arena, "@%s yields too few values, or the flag of `live` is not a bool[]", f->name);
    for (int i = 0; i < yielded; i++) {
        result[i] = f->results.items[i].value->type;
        if (i < a->carries) {
            if (!ir_type_eq(&result[i], TYPE(a->consts + i)))
                return base_format(arena, "carried value %d changes type: %s and %s", i,
                                   TEXT(a->consts + i), ir_type_text(arena, &result[i]));
        } else {
            if (result[i].rank == IR_MAX_RANK)
                return "a stacked result's rank is above the limit";
            memmove(result[i].dim + 1, result[i].dim,
                    (size_t)result[i].rank * sizeof *result[i].dim);
            result[i].dim[0] = a->length;
            result[i].rank++;
            if (!ir_type_ok(&result[i]))
                return "a stacked result is too large";
        }
    }
    result[yielded] = ir_scalar_type(IR_I64);
    *nresults = yielded + 1;
    return NULL;
}
