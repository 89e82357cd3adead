/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Symbolic indices: affine in loop variables whose ranges are known, so that reshapes, slices and
 * transposes between a kernel's loops and storage cancel at compile time. Where a division is not
 * exact, quotient and remainder become new variables, computed at run time. */
#include "codegen/emit.h"

cg_var *cg_var_new(cg_emitter *e, LLVMValueRef value, int64_t max)
{
    cg_var *v = base_new(e->arena, cg_var);
    *v = (cg_var){.value = value, .max = max, .id = e->vars++};
    return v;
}

cg_index cg_of(int64_t constant)
{
    return (cg_index){.constant = constant};
}

cg_index cg_of_var(const cg_var *v)
{
    cg_index x = {.n = v->max != 0};
    x.term[0].var = v;
    x.term[0].times = 1;
    return x;
}

cg_index cg_plus(const cg_index *x, int64_t constant)
{
    cg_index r = *x;
    r.constant += constant;
    return r;
}

cg_index cg_scaled(const cg_index *x, int64_t times)
{
    cg_index r = *x;
    r.constant *= times;
    if (!times)
        r.n = 0;
    for (int i = 0; i < r.n; i++)
        r.term[i].times *= times;
    return r;
}

cg_index cg_add(cg_emitter *e, const cg_index *x, const cg_index *y, int64_t times)
{
    cg_index r = {.constant = x->constant + times * y->constant};
    int i = 0, j = 0;
    while (i < x->n || (j < y->n && times)) {
        if (r.n == CG_TERMS) { /* too long: the terms so far become one variable */
            int64_t min, max;
            cg_range(&r, &min, &max);
            r.constant -= min;
            cg_index all = cg_opaque(e, cg_index_value(e, &r), max - min);
            r = cg_plus(&all, min);
        }
        bool left = i < x->n && (j >= y->n || !times || x->term[i].var->id <= y->term[j].var->id);
        bool right = j < y->n && times && (i >= x->n || y->term[j].var->id <= x->term[i].var->id);
        const cg_var *var = left ? x->term[i].var : y->term[j].var;
        int64_t t = 0;
        if (left)
            t += x->term[i++].times;
        if (right)
            t += times * y->term[j++].times;
        if (t) {
            r.term[r.n].var = var;
            r.term[r.n++].times = t;
        }
    }
    return r;
}

bool cg_index_eq(const cg_index *x, const cg_index *y)
{
    if (x->constant != y->constant || x->n != y->n)
        return false;
    for (int i = 0; i < x->n; i++)
        if (x->term[i].var != y->term[i].var || x->term[i].times != y->term[i].times)
            return false;
    return true;
}

void cg_range(const cg_index *x, int64_t *min, int64_t *max)
{
    *min = *max = x->constant;
    for (int i = 0; i < x->n; i++)
        *(x->term[i].times < 0 ? min : max) += x->term[i].times * x->term[i].var->max;
}

bool cg_is_varying(const cg_index *x)
{
    for (int i = 0; i < x->n; i++)
        if (x->term[i].var->varying)
            return true;
    return false;
}

int64_t cg_lane_stride(const cg_index *x)
{
    int64_t stride = 0;
    for (int i = 0; i < x->n; i++)
        if (x->term[i].var->lane)
            stride += x->term[i].times;
    return stride;
}

LLVMValueRef cg_scalar_part(cg_emitter *e, const cg_index *x)
{
    cg_unit *u = e->u;
    LLVMValueRef sum = NULL;
    for (int i = 0; i < x->n; i++) {
        if (x->term[i].var->varying)
            continue;
        LLVMValueRef v = x->term[i].var->value;
        if (x->term[i].times != 1)
            v = LLVMBuildNSWMul(u->b, v, cg_i64(u, x->term[i].times), "");
        sum = sum ? LLVMBuildNSWAdd(u->b, sum, v, "") : v;
    }
    if (!sum)
        return cg_i64(u, x->constant);
    return x->constant ? LLVMBuildNSWAdd(u->b, sum, cg_i64(u, x->constant), "") : sum;
}

static LLVMValueRef lane_numbers(cg_emitter *e, LLVMTypeRef type, int64_t times)
{
    LLVMValueRef v[1024];
    for (int i = 0; i < e->lanes; i++)
        v[i] = LLVMConstInt(type, (unsigned long long)(times * i), 1);
    return LLVMConstVector(v, (unsigned)e->lanes);
}

LLVMValueRef cg_index_value(cg_emitter *e, const cg_index *x)
{
    cg_unit *u = e->u;
    LLVMValueRef scalar = cg_scalar_part(e, x);
    int64_t stride = cg_lane_stride(x);
    if (e->lanes == 1 || (!stride && !cg_is_varying(x)))
        return scalar;
    LLVMValueRef sum = cg_splat(u, scalar, e->lanes);
    if (stride)
        sum = LLVMBuildAdd(u->b, sum, lane_numbers(e, u->i64, stride), "");
    for (int i = 0; i < x->n; i++)
        if (x->term[i].var->varying) {
            LLVMValueRef v = x->term[i].var->value;
            if (x->term[i].times != 1)
                v = LLVMBuildMul(u->b, v, cg_splat(u, cg_i64(u, x->term[i].times), e->lanes), "");
            sum = LLVMBuildAdd(u->b, sum, v, "");
        }
    return sum;
}

cg_index cg_opaque(cg_emitter *e, LLVMValueRef v, int64_t max)
{
    cg_var *var = cg_var_new(e, v, max);
    var->varying = cg_lanes_of(v) > 1;
    return cg_of_var(var);
}

/* Quotient and remainder of a non-negative index whose value is only known at run time. */
static void divide_at_run_time(cg_emitter *e, const cg_index *x, int64_t d, cg_index *quotient,
                               cg_index *remainder)
{
    cg_unit *u = e->u;
    int64_t min, max, stride = cg_lane_stride(x);
    cg_range(x, &min, &max);
    bool together =
        !cg_is_varying(x) && stride == 1 && d % e->lanes == 0 && x->constant % e->lanes == 0;
    for (int i = 0; together && i < x->n; i++) /* lanes stay inside one multiple of d */
        together = x->term[i].var->lane || x->term[i].times % e->lanes == 0;
    LLVMValueRef v = together ? cg_scalar_part(e, x) : cg_index_value(e, x);
    LLVMValueRef by = cg_splat(u, cg_i64(u, d), cg_lanes_of(v));
    *quotient = cg_opaque(e, LLVMBuildUDiv(u->b, v, by, ""), max / d);
    int64_t most = max < d - 1 ? max : d - 1;
    *remainder =
        cg_opaque(e, LLVMBuildURem(u->b, v, by, ""), together ? most - (e->lanes - 1) : most);
    if (together && e->lanes > 1) { /* that was lane 0's; lane l adds l */
        cg_var *steps = cg_var_new(e, cg_i64(u, 0), e->lanes - 1);
        steps->lane = true;
        cg_index lane = cg_of_var(steps);
        *remainder = cg_add(e, remainder, &lane, 1);
    }
}

void cg_divide(cg_emitter *e, const cg_index *x, int64_t d, cg_index *quotient, cg_index *remainder)
{
    cg_index q = cg_of(0), r = cg_of(0);
    int64_t min, max;
    if (d == 1) {
        *quotient = *x;
        *remainder = r;
        return;
    }
    for (int i = 0; i < x->n; i++) {
        cg_index term = {.n = 1};
        term.term[0] = x->term[i];
        int64_t whole = x->term[i].times / d;
        if (whole && x->term[i].times % d == 0) {
            term.term[0].times = whole;
            q = cg_add(e, &q, &term, 1);
        } else {
            r = cg_add(e, &r, &term, 1);
        }
    }
    r.constant = x->constant;
    cg_range(&r, &min, &max);
    /* Multiples of d that all values of r contain. */
    int64_t turns = min >= 0 ? min / d : -((-min + d - 1) / d);
    q.constant += turns;
    r.constant -= turns * d;
    if (max - turns * d < d) {
        *quotient = q;
        *remainder = r;
        return;
    }
    cg_index rq;
    divide_at_run_time(e, &r, d, &rq, remainder);
    *quotient = cg_add(e, &q, &rq, 1);
}

cg_index cg_linear(cg_emitter *e, const ir_type *t, const cg_index *at)
{
    int64_t stride[IR_MAX_RANK];
    ir_strides(t, stride);
    cg_index r = cg_of(0);
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] != 1)
            r = cg_add(e, &r, &at[i], stride[i]);
    return r;
}

void cg_unravel(cg_emitter *e, const ir_type *t, const cg_index *number, cg_index *at)
{
    cg_index rest = *number;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] <= 1)
            at[i] = cg_of(0);
        else
            cg_divide(e, &rest, t->dim[i], &rest, &at[i]);
    }
}

LLVMValueRef cg_inside(cg_emitter *e, const cg_index *x, int64_t limit)
{
    cg_unit *u = e->u;
    int64_t min, max, stride = cg_lane_stride(x);
    cg_range(x, &min, &max);
    if (min >= 0 && max < limit)
        return NULL;
    cg_index above = *x; /* if x >= 0 always holds, its constant is taken from the limit instead */
    if (min >= 0 && min == x->constant && min < limit) {
        above.constant = 0;
        limit -= min;
    }
    LLVMValueRef v;
    /* Narrow lanes are cheaper. */
    if (e->lanes > 1 && stride && !cg_is_varying(x) && min >= INT32_MIN && max <= INT32_MAX &&
        limit <= INT32_MAX) {
        v = cg_splat(u, LLVMBuildTrunc(u->b, cg_scalar_part(e, &above), u->i32, ""), e->lanes);
        v = LLVMBuildAdd(u->b, v, lane_numbers(e, u->i32, stride), "");
    } else {
        v = cg_index_value(e, &above);
    }
    LLVMTypeRef type = LLVMTypeOf(v); /* negative numbers are large as unsigned ones */
    type = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
    return LLVMBuildICmp(
        u->b, LLVMIntULT, v,
        cg_splat(u, LLVMConstInt(type, (unsigned long long)limit, 0), cg_lanes_of(v)), "");
}

cg_index cg_clamp(cg_emitter *e, const cg_index *x, int64_t limit)
{
    cg_unit *u = e->u;
    int64_t min, max;
    cg_range(x, &min, &max);
    if (min >= 0 && max < limit)
        return *x;
    /* Each lane is clamped on its own. Contiguous lanes would remain so if only the other terms
     * could leave the range, but that is not known here. */
    LLVMValueRef v = cg_index_value(e, x);
    int lanes = cg_lanes_of(v);
    LLVMTypeRef type = LLVMTypeOf(v);
    LLVMValueRef zero = cg_splat(u, cg_i64(u, 0), lanes),
                 top = cg_splat(u, cg_i64(u, limit - 1), lanes);
    v = cg_intrinsic(u, "llvm.smax", &type, 1, (LLVMValueRef[]){v, zero}, 2);
    v = cg_intrinsic(u, "llvm.smin", &type, 1, (LLVMValueRef[]){v, top}, 2);
    return cg_opaque(e, v, limit - 1);
}
