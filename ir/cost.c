/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The cost model, see ir/cost.h. */
#include "ir/cost.h"

#include "base/map.h"
#include "ir/kernels.h"
#include "ir/tuning.h"

#include <math.h>

static double count(const ir_value *v)
{
    return (double)ir_count(&v->type);
}

static double bytes(const ir_value *v, double elements)
{
    return elements * ir_dtypes[v->type.dtype].bytes;
}

/* ---- Reads ---- */

static double reduce_reads(const ir_inst *inst)
{
    double out = count(inst->result[0]);
    return out > 0 ? count(inst->operand[0]) / out : 1;
}

static double window_reads(const ir_inst *inst)
{
    double reads = 1;
    for (int d = 0; d < inst->operand[0]->type.rank; d++)
        reads *= (double)ir_taps_of(inst, d).count;
    return reads;
}

static double dot_terms(const ir_inst *inst)
{
    const ir_ints contract = IR_ATTR(inst, dot_general)->lhs_contract;
    double n = 1;
    for (int i = 0; i < contract.n; i++)
        n *= (double)inst->operand[0]->type.dim[contract.v[i]];
    return n;
}

/* Over a whole period of the input dilation, one of `dilation` taps meets an element. */
static double convolution_terms(const ir_inst *inst)
{
    const struct ir_attrs_convolution *at = IR_ATTR(inst, convolution);
    const ir_type *w = &inst->operand[1]->type;
    double n = 1;
    for (int i = 1; i < at->rhs.n; i++)
        n *= (double)w->dim[at->rhs.v[i]];
    for (int i = 0; i < at->lhs_dilation.n; i++)
        n /= (double)at->lhs_dilation.v[i];
    return n;
}

double ir_cost_reads(const ir_inst *inst, int i)
{
    switch (inst->op) {
    case IR_OP_reduce:
    case IR_OP_arg_reduce: return reduce_reads(inst);
    case IR_OP_reduce_window:
    case IR_OP_arg_window:
    case IR_OP_window_put: return window_reads(inst);
    case IR_OP_dot_general: return dot_terms(inst);
    case IR_OP_convolution: return convolution_terms(inst);
    case IR_OP_pad: /* reads of the padding value do not count */ return i == 0;
    case IR_OP_gather: {
        const ir_type *index = &inst->operand[1]->type;
        return i == 0 ? 1 : (double)index->dim[index->rank - 1];
    }
    default: return 1;
    }
}

double ir_cost_macs(const ir_inst *inst)
{
    if (!ir_has_trait(inst, IR_CONTRACTION))
        return 0;
    return ir_cost_reads(inst, 0) * count(inst->result[0]);
}

/* ---- Instructions ---- */

ir_cost ir_cost_plus(ir_cost x, ir_cost y, double times)
{
    x.macs += times * y.macs;
    x.flops += times * y.flops;
    x.read += times * y.read;
    x.written += times * y.written;
    return x;
}

double ir_cost_work(const ir_cost *c)
{
    return c->flops + (c->read + c->written) / IR_TUNING(FLOP_BYTES);
}

/* Reads every element of its operands once, whatever part of the result is computed. */
static bool takes_wholes(const ir_inst *inst)
{
    return ir_has_trait(inst, IR_OWN_EMITTER | IR_STRUCTURED);
}

/* How often operand i is read for `times` elements of the result. */
static double operand_times(const ir_inst *inst, int i, double times)
{
    return takes_wholes(inst) ? count(inst->operand[i]) : times * ir_cost_reads(inst, i);
}

/* Arithmetic for `times` elements of the result. */
static ir_cost arithmetic(const ir_inst *inst, double times)
{
    ir_cost c = {0};
    double each = ir_ops[inst->op].cost;
    switch (inst->op) {
    case IR_OP_dot_general:
    case IR_OP_convolution:
        c.macs = times * ir_cost_reads(inst, 0);
        c.flops = 2 * c.macs;
        break;
    case IR_OP_scatter: c.flops = each * count(inst->operand[2]); break;
    case IR_OP_sort: {
        double extent = (double)inst->operand[0]->type.dim[IR_ATTR(inst, sort)->axis];
        c.flops = each * count(inst->operand[0]) * (extent > 1 ? ceil(log2(extent)) : 0);
        break;
    }
    default: c.flops = each * times * ir_cost_reads(inst, 0);
    }
    return c;
}

/* The trip count of a loop; 1 for a branch or call. */
static double trips(const ir_inst *inst)
{
    return inst->op == IR_OP_scan         ? (double)IR_ATTR(inst, scan)->length
           : inst->op == IR_OP_while_loop ? IR_TUNING(TRIPS)
                                          : 1;
}

/* Cost of the functions that a structured instruction runs; cost_of gives that of one function. */
static ir_cost inside(const ir_inst *inst, ir_cost cost_of(const ir_func *))
{
    ir_func *called[2];
    ir_cost all = {0};
    for (int c = 0, n = ir_called(inst, called, 2); c < n; c++) {
        ir_cost one = cost_of(called[c]);
        if (inst->op != IR_OP_cond)
            all = ir_cost_plus(all, one, trips(inst));
        else if (ir_cost_work(&one) > ir_cost_work(&all))
            all = one;
    }
    return all;
}

ir_cost ir_cost_of_inst(const ir_inst *inst)
{
    if (ir_ops[inst->op].traits & IR_STRUCTURED)
        return inside(inst, ir_cost_of_func);
    double n = inst->nresults ? count(inst->result[0]) : 0;
    ir_cost c = arithmetic(inst, n);
    for (int i = 0; i < inst->noperands; i++) {
        double all = count(inst->operand[i]), times = operand_times(inst, i, n);
        c.read += bytes(inst->operand[i], times < all ? times : all);
    }
    for (int i = 0; i < inst->nresults; i++)
        c.written += bytes(inst->result[i], count(inst->result[i]));
    return c;
}

ir_cost ir_cost_of_func(const ir_func *f)
{
    ir_cost all = {0};
    IR_FOR (inst, f)
        all = ir_cost_plus(all, ir_cost_of_inst(inst), 1);
    return all;
}

/* ---- Kernels ---- */

/* An instruction inside a kernel, or a value that the kernel reads from memory. */
typedef struct node {
    const ir_inst *inst;
    const ir_value *leaf;
    double times; /* results computed, or elements read */
} node;

typedef struct walk {
    const ir_kernel *k;
    base_arena *arena;
    base_map at; /* by instruction, by leaf */
    BASE_LIST(node *) order; /* operands before users */
} walk;

static bool is_leaf(const ir_kernel *k, const ir_value *v)
{
    return !v->def || (v->kernel && v->kernel != k) ||
           (v->def->op == IR_OP_constant && !ir_is_immediate(v));
}

static node *node_of(const walk *w, const ir_value *v)
{
    return base_map_get_ptr(&w->at, is_leaf(w->k, v) ? (const void *)v : v->def);
}

/* Recurses as deep as the kernel's expressions are nested, which fusion bounds. */
static void visit(walk *w, const ir_value *v)
{
    bool leaf = is_leaf(w->k, v);
    if (node_of(w, v))
        return;
    node *n = base_new(w->arena, node);
    *n = (node){leaf ? NULL : v->def, leaf ? v : NULL, 0};
    base_map_put_ptr(&w->at, leaf ? (const void *)v : v->def, n);
    for (int i = 0; !leaf && i < v->def->noperands; i++)
        visit(w, v->def->operand[i]);
    BASE_PUSH(w->arena, &w->order, n);
}

static void needed(const walk *w, const ir_value *v, double times)
{
    node *n = node_of(w, v);
    n->times = times > n->times ? times : n->times;
}

/* A concat that is written piece by piece: each operand is computed at its own elements only. */
static bool in_pieces(const ir_kernel *k, const ir_inst *inst)
{
    return k->kind == IR_KERNEL_MAP && inst->result[0]->kernel == k &&
           ir_in_pieces(inst->result[0]);
}

static ir_cost scheduled(const ir_func *f)
{
    return f->plan->cost;
}

ir_cost ir_cost_of_kernel(base_arena *scratch, const ir_kernel *k)
{
    walk w = {.k = k, .arena = scratch, .at = base_map_new(scratch)};
    ir_cost c = {0};
    for (int i = 0; i < k->outputs.count; i++) {
        const ir_value *output = k->outputs.items[i];
        visit(&w, output);
        needed(&w, output, count(output));
        c.written += bytes(output, count(output));
    }
    if (k->kind == IR_KERNEL_CHECK) {
        const ir_value *index = k->anchor->operand[1];
        visit(&w, index);
        needed(&w, index, count(index));
        c.flops += 2 * count(index);
    }
    for (int i = w.order.count; i-- > 0;) {
        const node *n = w.order.items[i];
        if (n->leaf) {
            double all = count(n->leaf);
            c.read += bytes(n->leaf, n->times < all ? n->times : all);
            continue;
        }
        bool structured = ir_ops[n->inst->op].traits & IR_STRUCTURED;
        c = ir_cost_plus(c, structured ? inside(n->inst, scheduled) : arithmetic(n->inst, n->times),
                         1);
        for (int o = 0; o < n->inst->noperands; o++)
            needed(&w, n->inst->operand[o],
                   in_pieces(k, n->inst) ? n->times / n->inst->noperands
                                         : operand_times(n->inst, o, n->times));
    }
    return c;
}

/* ---- Matrix products ---- */

static int64_t ceil_div(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

static ir_gemm gemm_of_convolution(const ir_inst *inst, int lane, int side)
{
    const struct ir_attrs_convolution *at = IR_ATTR(inst, convolution);
    const ir_type *w = &inst->operand[1]->type, *out = &inst->result[0]->type;
    int64_t groups = at->feature_groups > 1 ? at->feature_groups : at->batch_groups,
            features = out->dim[at->out.v[1]] / groups, positions = out->dim[at->out.v[0]];
    ir_gemm g = {.n = side ? features : out->dim[lane], .k = w->dim[at->rhs.v[1]]};
    for (int i = 0; i < at->lhs_dilation.n; i++) {
        int64_t d = at->lhs_dilation.v[i], taps = w->dim[at->rhs.v[2 + i]];
        positions *= ceil_div(out->dim[at->out.v[2 + i]], d);
        g.k *= ceil_div(taps, d / ir_gcd(d, at->rhs_dilation.v[i]));
    }
    g.m = side ? positions : features;
    return g;
}

ir_gemm ir_gemm_of(const ir_inst *inst, int lane, int side)
{
    if (inst->op == IR_OP_convolution)
        return gemm_of_convolution(inst, lane, side);
    const struct ir_attrs_dot_general *at = IR_ATTR(inst, dot_general);
    const ir_ints batch = side ? at->lhs_batch : at->rhs_batch,
                  contract = side ? at->lhs_contract : at->rhs_contract;
    const ir_type *other = &inst->operand[!side]->type;
    ir_gemm g = {.m = 1, .n = inst->result[0]->type.dim[lane], .k = 1};
    for (int d = 0; d < other->rank; d++)
        g.m *= other->dim[d];
    for (int i = 0; i < batch.n; i++)
        g.m = other->dim[batch.v[i]] ? g.m / other->dim[batch.v[i]] : 0;
    for (int i = 0; i < contract.n; i++) {
        g.k *= other->dim[contract.v[i]];
        g.m = other->dim[contract.v[i]] ? g.m / other->dim[contract.v[i]] : 0;
    }
    return g;
}

bool ir_gemm_packs(const ir_gemm *g)
{
    return g->m >= IR_TUNING(PACK_M) && g->k >= IR_TUNING(PACK_K) && g->n >= IR_TUNING(PACK_N);
}

bool ir_gemm_copies(const ir_gemm *g)
{
    return g->m >= IR_TUNING(PACK_M) && !ir_gemm_packs(g);
}
