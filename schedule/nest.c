/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The loop nest of a contraction. A dot_general and a convolution without padding have the same
 * form here: axes with a stride in each operand and, unless they are summed, a dimension of the
 * result. */
#include "schedule/internal.h"

#include <stdlib.h>

static void add(sched_contraction *c, int64_t extent, int64_t a, int64_t b, int out, int64_t times)
{
    if (extent == 1)
        return;
    sched_axis x = {.extent = extent, .stride = {a, b}, .out = out, .times = times};
    x.tile = 1;
    x.tiles = extent;
    if (out < 0)
        c->k[c->nk++] = x;
    else
        c->axis[c->naxes++] = x;
}

static void axes_of_dot(sched_contraction *c, const ir_inst *dot)
{
    const struct ir_attrs_dot_general *at = IR_ATTR(dot, dot_general);
    const ir_ints batch[2] = {at->lhs_batch, at->rhs_batch},
                  contract[2] = {at->lhs_contract, at->rhs_contract};
    const int64_t *size = dot->result[0]->type.dim;
    int out = 0;
    bool used[2][IR_MAX_RANK] = {{false}};
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < batch[s].n; i++)
            used[s][batch[s].v[i]] = true;
        for (int i = 0; i < contract[s].n; i++)
            used[s][contract[s].v[i]] = true;
    }
    for (int i = 0; i < batch[0].n; i++, out++)
        add(c, size[out], c->operand[0].stride[batch[0].v[i]], c->operand[1].stride[batch[1].v[i]],
            out, 1);
    for (int s = 0; s < 2; s++)
        for (int d = 0; d < dot->operand[s]->type.rank; d++)
            if (!used[s][d]) {
                int64_t stride = c->operand[s].stride[d];
                add(c, size[out], s ? 0 : stride, s ? stride : 0, out, 1);
                out++;
            }
    for (int i = 0; i < contract[0].n; i++)
        add(c, dot->operand[0]->type.dim[contract[0].v[i]], c->operand[0].stride[contract[0].v[i]],
            c->operand[1].stride[contract[1].v[i]], -1, 0);
}

/* In a convolution whose input is dilated by d, results that are d apart read the same taps. A
 * phase is the results r, r + d, …: they read the n taps k0, k0 + each, …, and result r reads
 * element `start` of the input at tap k0. */
typedef struct phase {
    int64_t r, k0, each, n, start;
} phase;

static phase phase_of(const ir_inst *conv, int spatial, int64_t r)
{
    const struct ir_attrs_convolution *at = IR_ATTR(conv, convolution);
    int64_t taps = conv->operand[1]->type.dim[at->rhs.v[2 + spatial]],
            d = at->lhs_dilation.v[spatial], apart = at->rhs_dilation.v[spatial],
            low = at->low.v[spatial];
    phase p = {.r = r, .each = d};
    for (int64_t k = d - 1; k > 0; k--)
        p.each = k * apart % d == 0 ? k : p.each;
    while (p.k0 < taps && (r + p.k0 * apart - low) % d)
        p.k0++;
    p.n = (taps - p.k0 + p.each - 1) / p.each;
    p.start = (r + p.k0 * apart - low) / d;
    if (d > 1 && at->stride.v[spatial] != 1)
        BUG("a convolution in a kernel has both a stride and a dilated input");
    return p;
}

/* Adds the axes of a part: one phase in each spatial dimension. */
static void axes_of_convolution(sched_contraction *c, const ir_inst *conv, const phase *phases)
{
    const struct ir_attrs_convolution *at = IR_ATTR(conv, convolution);
    const ir_type *in = &conv->operand[0]->type, *w = &conv->operand[1]->type,
                  *out = &conv->result[0]->type;
    const int64_t *x = c->operand[0].stride, *y = c->operand[1].stride;
    int64_t groups = at->feature_groups > 1 ? at->feature_groups : at->batch_groups,
            each = out->dim[at->out.v[1]] / groups;
    int64_t of_group = at->feature_groups > 1 ? w->dim[at->rhs.v[1]] * x[at->lhs.v[1]]
                                              : in->dim[at->lhs.v[0]] / groups * x[at->lhs.v[0]];
    add(c, out->dim[at->out.v[0]], x[at->lhs.v[0]], 0, (int)at->out.v[0], 1);
    add(c, groups, of_group, each * y[at->rhs.v[0]], (int)at->out.v[1], each);
    add(c, each, 0, y[at->rhs.v[0]], (int)at->out.v[1], 1);
    for (int i = 2; i < in->rank; i++) {
        const phase *p = &phases[i - 2];
        int64_t d = at->lhs_dilation.v[i - 2], apart = at->rhs_dilation.v[i - 2],
                move = x[at->lhs.v[i]], size = out->dim[at->out.v[i]], last;
        last = (size - p->r - 1) / d + p->start + (p->n - 1) * p->each * apart / d;
        if (p->n && (p->start < 0 || (at->stride.v[i - 2] == 1 && last >= in->dim[at->lhs.v[i]])))
            BUG("a convolution in a kernel has padding");
        c->operand[0].offset += p->n ? p->start * move : 0;
        c->operand[1].offset += p->n ? p->k0 * y[at->rhs.v[i]] : 0;
        c->first[at->out.v[i]] = p->r;
        add(c, (size - p->r + d - 1) / d, move * at->stride.v[i - 2], 0, (int)at->out.v[i], d);
        add(c, p->n, move * p->each * apart / d, y[at->rhs.v[i]] * p->each, -1, 0);
    }
    add(c, w->dim[at->rhs.v[1]], x[at->lhs.v[1]], y[at->rhs.v[1]], -1, 0);
}

/* Asserts that no product of the part reads outside its operands' storage. */
static void prove_extents(const sched_contraction *c)
{
    for (int s = 0; s < 2; s++) {
        int64_t extent[2 * SCHED_AXES], stride[2 * SCHED_AXES];
        int n = 0;
        for (int i = 0; i < c->naxes + c->nk; i++) {
            const sched_axis *x = i < c->naxes ? &c->axis[i] : &c->k[i - c->naxes];
            extent[n] = x->extent;
            stride[n++] = x->stride[s];
        }
        if (!ir_inside(c->operand[s].offset, n, extent, stride,
                       ir_count(&c->operand[s].base->type)))
            BUG("operand %d of a contraction is read outside its storage", s);
    }
}

static int by_storage(const void *p, const void *q)
{
    const sched_axis *x = p, *y = q;
    return (llabs(x->out_stride) > llabs(y->out_stride)) -
           (llabs(x->out_stride) < llabs(y->out_stride));
}

/* Decides which axis is N, and which are M. */
static void divide_axes(sched_job *j, sched_contraction *c)
{
    int64_t stride[IR_MAX_RANK];
    ir_storage_strides(j->kernel->outputs.items[0], stride);
    for (int i = 0; i < c->naxes; i++)
        c->axis[i].out_stride = stride[c->axis[i].out] * c->axis[i].times;
    qsort(c->axis, (size_t)c->naxes, sizeof *c->axis, by_storage);
    c->lane = -1;
    for (int i = 0; i < c->naxes && c->lane < 0; i++)
        if (llabs(c->axis[i].out_stride) == 1)
            c->lane = i;
    c->vector = c->lane < 0 || c->axis[c->lane].stride[1] != 0;
    c->width = sched_width(j->level->vector_bytes, ir_dtypes[c->dtype].bytes);
    c->rows = 1;
    for (int i = 0; i < c->naxes; i++)
        if (i != c->lane && c->axis[i].stride[c->vector] == 0) {
            c->row[c->nrows++] = i;
            c->rows *= c->axis[i].extent;
        }
}

static void add_part(sched_job *j, const sched_contraction *c)
{
    sched_kernel *s = j->out;
    sched_contraction *part = base_array(j->arena, sched_contraction, s->nparts + 1);
    for (int i = 0; i < s->nparts; i++)
        part[i] = s->part[i];
    part[s->nparts] = *c;
    prove_extents(c);
    divide_axes(j, &part[s->nparts++]);
    s->part = part;
}

/* A part for each combination of phases of the spatial dimensions. */
static void add_phases(sched_job *j, const sched_contraction *c, int spatial, phase *phases)
{
    const ir_inst *conv = j->kernel->anchor;
    const struct ir_attrs_convolution *at = IR_ATTR(conv, convolution);
    if (spatial == at->stride.n) {
        sched_contraction part = *c;
        axes_of_convolution(&part, conv, phases);
        add_part(j, &part);
        return;
    }
    for (int64_t r = 0;
         r < at->lhs_dilation.v[spatial] && r < conv->result[0]->type.dim[at->out.v[2 + spatial]];
         r++) {
        phases[spatial] = phase_of(conv, spatial, r);
        add_phases(j, c, spatial + 1, phases);
    }
}

void sched_nest(sched_job *j)
{
    const ir_inst *anchor = j->kernel->anchor;
    sched_contraction c = {.of = {anchor->operand[0]->type.dtype, anchor->operand[1]->type.dtype},
                           .dtype = anchor->result[0]->type.dtype,
                           .ragged = -1};
    phase phases[IR_MAX_RANK];
    for (int s = 0; s < 2; s++)
        if (!ir_view_of(anchor->operand[s], &c.operand[s]))
            BUG("operand %d of a %s is not a view", s, ir_ops[anchor->op].name);
    if (anchor->op == IR_OP_dot_general) {
        axes_of_dot(&c, anchor);
        add_part(j, &c);
    } else {
        add_phases(j, &c, 0, phases);
    }
}
