/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contraction kernels: what is a loop over what, and the end of each row: the roots' expressions.
 * The loops themselves are in contract_tile.c, contract_block.c and contract_blas.c. */
#include "codegen/contraction.h"

#include <stdlib.h>

enum { MOST_ROOTS = 16, LONG = 12, SHORT = 4 };

/* ---- Axes ---- */

static void add(cg_contraction *c, int64_t extent, int64_t a, int64_t b, int out, int64_t times)
{
    if (extent == 1)
        return;
    if (out < 0)
        c->k[c->nk++] = (cg_axis){.extent = extent, .move = {a, b}, .out = -1};
    else
        c->axis[c->n++] = (cg_axis){.extent = extent,
                                    .move = {a, b},
                                    .out = out,
                                    .times = times,
                                    .tile = 1,
                                    .blocks = extent};
}

static void axes_of_dot(cg_contraction *c, const ir_inst *dot)
{
    const struct ir_attrs_dot_general *at = IR_ATTR(dot, dot_general);
    const ir_ints batch[2] = {at->lhs_batch, at->rhs_batch},
                  contract[2] = {at->lhs_contract, at->rhs_contract};
    int out = 0;
    bool used[2][IR_MAX_RANK] = {{false}};
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < batch[s].n; i++)
            used[s][batch[s].v[i]] = true;
        for (int i = 0; i < contract[s].n; i++)
            used[s][contract[s].v[i]] = true;
    }
    for (int i = 0; i < batch[0].n; i++)
        add(c, dot->result[0]->type.dim[out], c->view[0].stride[batch[0].v[i]],
            c->view[1].stride[batch[1].v[i]], out, 1),
            out++;
    for (int s = 0; s < 2; s++)
        for (int d = 0; d < dot->operand[s]->type.rank; d++)
            if (!used[s][d]) {
                int64_t stride = c->view[s].stride[d];
                add(c, dot->result[0]->type.dim[out], s ? 0 : stride, s ? stride : 0, out, 1);
                out++;
            }
    for (int i = 0; i < contract[0].n; i++)
        add(c, dot->operand[0]->type.dim[contract[0].v[i]], c->view[0].stride[contract[0].v[i]],
            c->view[1].stride[contract[1].v[i]], -1, 0);
}

/* Of a convolution whose operand is spread out by `dilation`, results at distances of that read the
 * same taps: those from r on, taps k0, k0 + each, …, n of them, the first of which stands on
 * element `start` of the operand. */
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
        BUG("a convolution reached its kernel with strides on both sides");
    return p;
}

/* Axes of one phase in each spatial dimension. */
static void axes_of_convolution(cg_contraction *c, const ir_inst *conv, const phase *phases)
{
    const struct ir_attrs_convolution *at = IR_ATTR(conv, convolution);
    const ir_type *in = &conv->operand[0]->type, *w = &conv->operand[1]->type,
                  *out = &conv->result[0]->type;
    const int64_t *x = c->view[0].stride, *y = c->view[1].stride;
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
                move = x[at->lhs.v[i]], last;
        last =
            (out->dim[at->out.v[i]] - p->r - 1) / d + p->start + (p->n - 1) * p->each * apart / d;
        if (p->n && (p->start < 0 || (at->stride.v[i - 2] == 1 && last >= in->dim[at->lhs.v[i]])))
            BUG("a convolution reached its kernel with padding");
        c->view[0].offset += p->n ? p->start * move : 0;
        c->view[1].offset += p->n ? p->k0 * y[at->rhs.v[i]] : 0;
        c->first[at->out.v[i]] = p->r;
        add(c, (out->dim[at->out.v[i]] - p->r + d - 1) / d, move * at->stride.v[i - 2], 0,
            (int)at->out.v[i], d);
        add(c, p->n, move * p->each * apart / d, y[at->rhs.v[i]] * p->each, -1, 0);
    }
    add(c, w->dim[at->rhs.v[1]], x[at->lhs.v[1]], y[at->rhs.v[1]], -1, 0);
}

static int by_storage(const void *p, const void *q)
{
    const cg_axis *x = p, *y = q;
    return (llabs(x->c) > llabs(y->c)) - (llabs(x->c) < llabs(y->c));
}

/* Which axis is cut into lanes, and which are rows. */
static void divide_axes(cg_contraction *c)
{
    int64_t stride[IR_MAX_RANK];
    ir_storage_strides(c->root, stride);
    for (int i = 0; i < c->n; i++)
        c->axis[i].c = stride[c->axis[i].out] * c->axis[i].times;
    qsort(c->axis, (size_t)c->n, sizeof *c->axis, by_storage);
    c->lane = -1;
    for (int i = 0; i < c->n && c->lane < 0; i++)
        if (llabs(c->axis[i].c) == 1)
            c->lane = i;
    c->vector = c->lane < 0 || c->axis[c->lane].move[1] != 0;
    c->width = cg_width(c->e->u, ir_dtypes[c->dtype].bytes);
    for (int i = 0; i < c->n; i++)
        if (i != c->lane && c->axis[i].move[c->vector] == 0)
            c->row[c->nrows++] = i;
}

/* The contracted axes from slow to fast: the longest of those along which an operand lies side by
 * side is innermost. */
static void order_contracted(cg_contraction *c)
{
    for (int i = 0; i + 1 < c->nk; i++) {
        const cg_axis *x = &c->k[i], *y = &c->k[c->nk - 1];
        bool nearer = llabs(x->move[0]) + llabs(x->move[1]) < llabs(y->move[0]) + llabs(y->move[1]);
        if (y->extent < SHORT ? x->extent > y->extent : nearer && x->extent >= SHORT) {
            cg_axis swap = c->k[i];
            c->k[i] = c->k[c->nk - 1];
            c->k[c->nk - 1] = swap;
        }
    }
}

/* ---- Operands ---- */

int64_t cg_ceil_div(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

LLVMValueRef cg_operand_pointer(cg_contraction *c, int side, LLVMValueRef base,
                                LLVMValueRef element)
{
    cg_unit *u = c->e->u;
    return LLVMBuildInBoundsGEP2(u->b, cg_dtype(u, c->dtype), base, &element, 1, side ? "b" : "a");
}

LLVMValueRef cg_operand_load(cg_contraction *c, int side, LLVMValueRef pointer, int64_t offset,
                             int n)
{
    cg_unit *u = c->e->u;
    LLVMValueRef at = cg_operand_pointer(c, side, pointer, cg_i64(u, offset));
    LLVMValueRef v = LLVMBuildLoad2(u->b, cg_vector(cg_dtype(u, c->dtype), n), at, "");
    LLVMSetAlignment(v, (unsigned)ir_dtypes[c->dtype].bytes);
    return cg_from_memory(c->e, c->dtype, v);
}

/* ---- The end of a row ---- */

void cg_root_index(cg_contraction *c, const cg_index *part, const cg_index *lane, cg_index *at)
{
    for (int d = 0; d < c->root->type.rank; d++)
        at[d] = cg_of(c->first[d]);
    for (int i = 0; i < c->n; i++) {
        const cg_axis *x = &c->axis[i];
        cg_index here = cg_add(c->e, &x->base, i == c->lane ? lane : &part[i], 1);
        at[x->out] = cg_add(c->e, &at[x->out], &here, x->times);
    }
}

void cg_finish(cg_contraction *c, const cg_index *at, LLVMValueRef sum)
{
    cg_emitter *e = c->e;
    const ir_kernel *k = e->kernel;
    LLVMValueRef value[MOST_ROOTS];
    int mark = e->memo.count;
    BUG_UNLESS(k->roots.count <= MOST_ROOTS);
    e->core = k->core->result[0];
    e->core_value = cg_round(e, c->dtype, sum);
    /* All is read before anything is written: a root may lie where an operand lay. */
    for (int i = 0; i < k->roots.count; i++)
        value[i] = cg_at(e, k->roots.items[i], at);
    for (int i = 0; i < k->roots.count; i++)
        cg_store(e, k->roots.items[i], at, value[i]);
    e->core_value = NULL;
    cg_forget(e, mark);
}

/* Instructions between the core's result and v, elementary functions counted as many; at most a
 * little above LONG. */
static int epilogue_work(const cg_emitter *e, const ir_value *v)
{
    const ir_inst *inst = v->def;
    if (!inst || inst == e->kernel->core || (v->kernel && v->kernel != e->kernel) ||
        inst->op == IR_OP_constant)
        return 0;
    int work = cg_is_function(inst->op) ? LONG : !(ir_ops[inst->op].traits & IR_MOVES);
    for (int i = 0; i < inst->noperands && work <= LONG; i++)
        work += epilogue_work(e, inst->operand[i]);
    return work;
}

/* ---- The kernel ---- */

cg_index cg_contract_task(cg_contraction *c, cg_loop *loop, int64_t tasks)
{
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    LLVMValueRef lo = e->lo, hi = e->hi;
    if (c->parts) { /* what is this part's of lo … hi */
        LLVMValueRef before = cg_i64(u, c->tasks_before);
        lo = cg_max(e, LLVMBuildNSWSub(u->b, lo, before, ""), cg_i64(u, 0));
        hi = cg_min(e, LLVMBuildNSWSub(u->b, hi, before, ""), cg_i64(u, tasks));
    }
    cg_loop_begin(e, loop, lo, hi, 1, !c->parts);
    return cg_of_var(cg_var_new(e, loop->i, tasks - 1));
}

void cg_contract_start(cg_contraction *c, cg_index task, cg_index start[3])
{
    start[0] = cg_of(c->view[0].offset);
    start[1] = cg_of(c->view[1].offset);
    start[2] = cg_of(0);
    for (int i = 0; i < c->n; i++) {
        cg_axis *x = &c->axis[i];
        if (i != c->lane)
            x->base = cg_of(0);
        if (i != c->lane && x->move[c->vector])
            cg_divide(c->e, &task, x->extent, &task, &x->base);
        for (int s = 0; s < 3; s++)
            start[s] = cg_add(c->e, &start[s], &x->base, s < 2 ? x->move[s] : x->c);
    }
}

void cg_row_parts(cg_contraction *c, int from, cg_index row, cg_index *part)
{
    for (int i = from; i < c->nrows; i++) {
        if (i == c->nrows - 1)
            part[c->row[i]] = row;
        else
            cg_divide(c->e, &row, c->axis[c->row[i]].extent, &row, &part[c->row[i]]);
    }
}

/* No product of the part reads outside what its operand stands on. */
static void prove_extents(const cg_contraction *c)
{
    for (int s = 0; s < 2; s++) {
        int64_t extent[2 * CG_AXES], move[2 * CG_AXES];
        int n = 0;
        for (int i = 0; i < c->n + c->nk; i++) {
            const cg_axis *x = i < c->n ? &c->axis[i] : &c->k[i - c->n];
            extent[n] = x->extent;
            move[n++] = x->move[s];
        }
        if (!ir_inside(c->view[s].offset, n, extent, move, ir_count(&c->view[s].base->type)))
            BUG("operand %d of a contraction is read outside its storage", s);
    }
}

static int64_t emit_part(cg_contraction c)
{
    prove_extents(&c);
    divide_axes(&c);
    order_contracted(&c);
    if (cg_contract_wants_blas(&c))
        return cg_contract_blas(&c);
    return cg_contract_wants_blocks(&c) ? cg_contract_blocks(&c) : cg_contract_tiles(&c);
}

/* A part for each combination of phases of the spatial dimensions. */
static int64_t emit_phases(cg_contraction *c, const ir_inst *conv, int spatial, phase *phases)
{
    const struct ir_attrs_convolution *at = IR_ATTR(conv, convolution);
    if (spatial == at->stride.n) {
        cg_contraction part = *c;
        axes_of_convolution(&part, conv, phases);
        int64_t here = emit_part(part);
        c->tasks_before += here;
        return here;
    }
    int64_t tasks = 0;
    for (int64_t r = 0;
         r < at->lhs_dilation.v[spatial] && r < conv->result[0]->type.dim[at->out.v[2 + spatial]];
         r++) {
        phases[spatial] = phase_of(conv, spatial, r);
        tasks += emit_phases(c, conv, spatial + 1, phases);
    }
    return tasks;
}

int64_t cg_contraction_kernel(cg_emitter *e)
{
    const ir_inst *core = e->kernel->core;
    cg_contraction c = {
        .e = e, .root = e->kernel->roots.items[0], .dtype = core->operand[0]->type.dtype};
    phase phases[IR_MAX_RANK];
    if (ir_count(&c.root->type) == 0)
        return 0;
    for (int s = 0; s < 2; s++)
        if (!ir_view_of(core->operand[s], &c.view[s]))
            BUG("operand %d of a %s is no view", s, ir_ops[core->op].name);
    for (int i = 0; i < e->kernel->roots.count; i++)
        c.long_epilogue |= epilogue_work(e, e->kernel->roots.items[i]) >= LONG;
    if (core->op == IR_OP_dot_general) {
        axes_of_dot(&c, core);
        return emit_part(c);
    }
    for (int i = 0; i < IR_ATTR(core, convolution)->stride.n; i++)
        c.parts |= IR_ATTR(core, convolution)->lhs_dilation.v[i] > 1;
    return emit_phases(&c, core, 0, phases);
}
