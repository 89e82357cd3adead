/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Kernels of convolutions do not pad their operand: a `pad` before them does. A convolution with
 * input dilation gets its outer padding the same way; its kernel dilates by itself where the
 * windows move by one and there are few enough phases, otherwise the `pad` dilates too. */
#include "passes/pass_utils.h"
#include "ir/tuning.h"

typedef BASE_LIST(ir_inst *) inst_list;

/* A pad of x as in attrs; an existing one if possible: x's aux lists those. */
static ir_value *padded(ir_builder *b, base_arena *scratch, ir_value *x, const int64_t *low,
                        const int64_t *high, const int64_t *interior)
{
    inst_list *pads = x->aux = x->aux ? x->aux : base_new(scratch, inst_list);
    for (int i = 0; i < pads->count; i++) {
        const ir_inst *p = pads->items[i];
        bool same = true;
        for (int d = 0; same && d < x->type.rank; d++)
            same = IR_ATTR(p, pad)->low.v[d] == low[d] && IR_ATTR(p, pad)->high.v[d] == high[d] &&
                   IR_ATTR(p, pad)->interior.v[d] == interior[d];
        if (same)
            return p->result[0];
    }
    ir_value *v = ir_pad(b, x, ir_scalar(b, x->type.dtype, 0), low, high, interior);
    ir_built(b);
    BASE_PUSH(scratch, pads, v->def);
    return v;
}

/* How one spatial dimension is padded: before and after the operand, and between its elements. */
typedef struct padding {
    int64_t low, high, interior;
} padding;

/* Kernels dilate a convolution's operand by themselves where the windows move by one: then only the
 * outside is padded. */
static padding padding_of(const ir_inst *inst, int spatial, bool by_kernel)
{
    const struct ir_attrs_convolution *at = IR_ATTR(inst, convolution);
    int64_t d = at->lhs_dilation.v[spatial], low = at->low.v[spatial], high = at->high.v[spatial],
            n = inst->operand[0]->type.dim[at->lhs.v[2 + spatial]];
    if (d == 1 || !by_kernel)
        return (padding){low, high, d - 1};
    /* The last position that a window covers, counted from the operand's first element. */
    int64_t last = (n - 1) * d + high;
    padding p = {low > 0 ? low / d : 0, last / d - (n - 1), 0};
    p.high = last < 0 || p.high < 0 ? 0 : p.high;
    return p;
}

/* Are there kernels for the phases into which input dilation cuts the results? */
static bool kernel_dilates(const ir_inst *inst)
{
    const struct ir_attrs_convolution *at = IR_ATTR(inst, convolution);
    int64_t phases = 1;
    for (int i = 0; i < at->stride.n; i++) {
        if (at->lhs_dilation.v[i] > 1 && at->stride.v[i] != 1)
            return false;
        phases = phases > IR_TUNING(DILATION_PHASES) ? phases : phases * at->lhs_dilation.v[i];
    }
    return phases <= IR_TUNING(DILATION_PHASES) && ir_count(&inst->operand[0]->type) > 0;
}

void pass_pad_convolutions(ir_func *f)
{
    base_arena *scratch = base_arena_new(f->module->ctx);
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->aux = NULL;
    IR_FOR (inst, f) {
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->aux = NULL;
        if (inst->op != IR_OP_convolution)
            continue;
        const struct ir_attrs_convolution *at = IR_ATTR(inst, convolution);
        int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0}, interior[IR_MAX_RANK] = {0},
                new_low[IR_MAX_RANK], new_high[IR_MAX_RANK], dilation[IR_MAX_RANK];
        bool any = false, by_kernel = kernel_dilates(inst);
        for (int i = 0; i < at->low.n; i++) {
            padding p = padding_of(inst, i, by_kernel);
            int64_t d = by_kernel ? at->lhs_dilation.v[i] : 1;
            low[at->lhs.v[i + 2]] = p.low;
            high[at->lhs.v[i + 2]] = p.high;
            interior[at->lhs.v[i + 2]] = p.interior;
            dilation[i] = d;
            new_low[i] = at->low.v[i] - p.low * d;
            new_high[i] = at->high.v[i] - p.high * d;
            any |= p.low || p.high || p.interior;
        }
        if (!any)
            continue;
        ir_builder b = ir_builder_before(inst);
        inst->operand[0] = padded(&b, scratch, inst->operand[0], low, high, interior);
        ir_attrs *attrs = base_new(f->module->arena, ir_attrs);
        attrs->convolution = *at;
        attrs->convolution.low = ir_ints_of(&b, at->low.n, new_low);
        attrs->convolution.high = ir_ints_of(&b, at->low.n, new_high);
        attrs->convolution.lhs_dilation = ir_ints_of(&b, at->low.n, dilation);
        inst->attrs = attrs;
    }
    base_arena_free(scratch);
}
