/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Storage order, strided views, and the memory of kernels with emitters of their own. */
#include "ir/kernels.h"

const char *const ir_kernel_kind_names[] = {"map",  "contraction", "single", "check",
                                            "loop", "branch",      NULL};

void ir_storage_strides(const ir_value *v, int64_t stride[IR_MAX_RANK])
{
    int64_t n = 1;
    if (!v->order.n) {
        ir_strides(&v->type, stride);
        return;
    }
    for (int i = v->type.rank - 1; i >= 0; i--) {
        stride[v->order.v[i]] = n;
        n *= v->type.dim[v->order.v[i]];
    }
}

bool ir_is_immediate(const ir_value *v)
{
    return v->def && v->def->op == IR_OP_constant && !v->kernel &&
           ir_literal_is_splat(IR_ATTR(v->def, constant)->value);
}

/* Strides of `to` over the elements that `from` (same count) has with strides s; false if none
 * exist. Both shapes are cut into runs of dimensions with equal products; inside a run, the
 * operand's dimensions must be contiguous with each other. */
static bool reshape_strides(const ir_type *from, const int64_t *s, const ir_type *to, int64_t *out)
{
    int i = 0, j = 0;
    while (i < from->rank || j < to->rank) {
        int i0 = i, j0 = j;
        int64_t m = 1, n = 1;
        if (i < from->rank)
            m = from->dim[i++];
        if (j < to->rank)
            n = to->dim[j++];
        while (m != n) {
            if (m < n && i < from->rank)
                m *= from->dim[i++];
            else if (j < to->rank)
                n *= to->dim[j++];
            else
                return false;
        }
        while (i < from->rank && from->dim[i] == 1)
            i++;
        while (j < to->rank && to->dim[j] == 1)
            j++;
        /* Stride of the run's innermost dimension; what the next one out must have. */
        int64_t unit = 0, next = 0;
        bool innermost = true;
        for (int d = i - 1; d >= i0; d--) {
            if (from->dim[d] == 1)
                continue;
            if (innermost)
                unit = s[d];
            else if (s[d] != next)
                return false;
            innermost = false;
            next = s[d] * from->dim[d];
        }
        for (int d = j - 1; d >= j0; d--) {
            out[d] = to->dim[d] == 1 ? 0 : unit;
            unit *= to->dim[d];
        }
    }
    return true;
}

static bool view_step(const ir_inst *inst, ir_view *v)
{
    int64_t s[IR_MAX_RANK];
    const ir_type *from = &inst->operand[0]->type, *to = &inst->result[0]->type;
    for (int i = 0; i < from->rank; i++)
        s[i] = v->stride[i];
    switch (inst->op) {
    case IR_OP_reshape:
        return ir_count(from) > 0 && reshape_strides(from, s, to, v->stride);
    case IR_OP_transpose:
        for (int i = 0; i < to->rank; i++)
            v->stride[i] = s[IR_ATTR(inst, transpose)->perm.v[i]];
        return true;
    case IR_OP_slice:
        for (int i = 0; i < to->rank; i++) {
            v->offset += IR_ATTR(inst, slice)->start.v[i] * s[i];
            v->stride[i] = s[i] * IR_ATTR(inst, slice)->stride.v[i];
        }
        return true;
    case IR_OP_broadcast:
        for (int i = 0; i < to->rank; i++)
            v->stride[i] = 0;
        for (int i = 0; i < from->rank; i++)
            v->stride[IR_ATTR(inst, broadcast)->dims.v[i]] = from->dim[i] == 1 ? 0 : s[i];
        return true;
    case IR_OP_reverse:
        for (int i = 0; i < IR_ATTR(inst, reverse)->axes.n; i++) {
            int d = (int)IR_ATTR(inst, reverse)->axes.v[i];
            v->offset += (from->dim[d] - 1) * s[d];
            v->stride[d] = -s[d];
        }
        return true;
    default:
        return false;
    }
}

bool ir_is_view(const ir_inst *inst)
{
    return ir_has_trait(inst, IR_VIEW);
}

bool ir_inside(int64_t offset, int n, const int64_t *extent, const int64_t *stride, int64_t count)
{
    int64_t low = offset, high = offset;
    for (int d = 0; d < n; d++) {
        int64_t reach = (extent[d] - 1) * stride[d];
        if (extent[d] < 1)
            return true;
        *(reach < 0 ? &low : &high) += reach;
    }
    return low >= 0 && high < count;
}

enum { MOST_VIEWS = 64 }; /* in a chain; a longer chain is not treated as a view */

bool ir_view_over(ir_value *v, ir_view *out)
{
    const ir_inst *step[MOST_VIEWS];
    ir_value *base = v;
    int n = 0;
    for (; base->def && !base->kernel && ir_is_view(base->def); base = base->def->operand[0]) {
        if (n == MOST_VIEWS)
            return false;
        step[n++] = base->def;
    }
    *out = (ir_view){.base = base};
    ir_storage_strides(base, out->stride);
    while (n)
        if (!view_step(step[--n], out))
            return false;
    if (!ir_inside(out->offset, v->type.rank, v->type.dim, out->stride, ir_count(&base->type)))
        BUG("a view of %%%s reaches outside its storage", base->name ? base->name : "");
    return true;
}

bool ir_view_of(ir_value *v, ir_view *out)
{
    return ir_view_over(v, out) &&
           (!out->base->def || out->base->kernel || out->base->def->op == IR_OP_constant) &&
           !ir_is_immediate(out->base);
}

enum { MOST_PIECES = 8, LANES = 8 };

bool ir_in_pieces(const ir_value *v)
{
    const ir_inst *inst = v->def;
    if (!inst || inst->op != IR_OP_concat || inst->noperands < 2 || inst->noperands > MOST_PIECES)
        return false;
    const ir_value *first = inst->operand[0];
    int rank = v->type.rank, axis = (int)IR_ATTR(inst, concat)->axis;
    for (int i = 0; i < inst->noperands; i++) {
        const ir_value *x = inst->operand[i];
        if (!ir_type_eq(&x->type, &first->type))
            return false;
        for (int d = 0; d < rank; d++)
            if ((x->order.n ? x->order.v[d] : d) != (v->order.n ? v->order.v[d] : d))
                return false;
    }
    int fastest = (int)(v->order.n ? v->order.v[rank - 1] : rank - 1);
    /* Short pieces would leave vectors partly empty. */
    return fastest != axis || first->type.dim[axis] >= LANES;
}

const ir_value *ir_space(const ir_value *output)
{
    return ir_in_pieces(output) ? output->def->operand[0] : output;
}

int64_t ir_standalone_tasks(const ir_inst *anchor)
{
    enum { MOST = 32 }; /* each has buffers of its own */
    if (anchor->op != IR_OP_sort)
        return 0;
    const ir_type *t = &anchor->operand[0]->type;
    int64_t extent = t->dim[IR_ATTR(anchor, sort)->axis], rows = extent ? ir_count(t) / extent : 0;
    return rows < MOST ? rows : MOST;
}

int64_t ir_standalone_scratch(const ir_inst *anchor)
{
    if (anchor->op != IR_OP_sort)
        return 0;
    int64_t row, all;
    if (!base_size_mul(anchor->operand[0]->type.dim[IR_ATTR(anchor, sort)->axis],
                       2 * (int64_t)sizeof(int64_t), &row) ||
        !base_size_mul(row, ir_standalone_tasks(anchor), &all))
        BUG("the scratch memory of a sort is too large");
    return all;
}

bool ir_same_storage(const ir_value *x, const ir_value *y)
{
    int64_t s[IR_MAX_RANK], t[IR_MAX_RANK];
    if (!ir_shape_eq(&x->type, &y->type))
        return false;
    ir_storage_strides(x, s);
    ir_storage_strides(y, t);
    for (int d = 0; d < x->type.rank; d++)
        if (x->type.dim[d] != 1 && s[d] != t[d])
            return false;
    return true;
}

bool ir_is_read(const ir_kernel *k, const ir_value *v)
{
    if (!v->def || (v->kernel && v->kernel != k))
        return true;
    return v->def->op == IR_OP_constant && !ir_is_immediate(v);
}

int ir_fastest(const ir_value *v)
{
    for (int i = v->type.rank - 1; i >= 0; i--) {
        int d = v->order.n ? (int)v->order.v[i] : i;
        if (v->type.dim[d] != 1)
            return d;
    }
    return -1;
}

int ir_nearest(ir_value *v)
{
    ir_view view;
    if (!ir_view_over(v, &view))
        return ir_fastest(v);
    for (int d = v->type.rank - 1; d >= 0; d--)
        if (v->type.dim[d] != 1 && (view.stride[d] == 1 || view.stride[d] == -1))
            return d;
    return -1;
}

/* The buffer that a value is stored in, and the offset in bytes. */
typedef struct place {
    const void *base;
    int64_t offset;
} place;

static place place_of(const ir_value *v)
{
    const ir_func *f = v->func;
    const ir_port *port = NULL;
    if (!v->def)
        port = &f->params.items[v->index];
    else if (v->place == IR_AT_PARAM)
        port = &f->params.items[v->offset];
    else if (v->place == IR_AT_RESULT)
        port = &f->results.items[v->offset];
    if (port)
        return (place){port->bind == IR_STATE ? (const void *)port->state : port,
                       v->def ? v->shift : 0};
    if (v->place == IR_SCRATCH)
        return (place){f, v->offset + v->shift};
    return (place){v, 0};
}

bool ir_share_place(const ir_value *x, const ir_value *y)
{
    place a = place_of(x), b = place_of(y);
    return a.base == b.base && a.offset == b.offset;
}
