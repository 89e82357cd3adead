/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of ops that move elements: the cotangents move back, and add up where an element was
 * repeated. */
#include "passes/vjp.h"

#include <string.h>

#define X (inst->operand[0])
#define R (inst->result[0])
#define G (ct[0])
#define SHAPE(v) (v)->type.rank, (v)->type.dim

AD_RULE(reshape)
{
    (void)want;
    out[0] = ir_reshape(b, G, SHAPE(X));
}

AD_RULE(broadcast)
{
    (void)want;
    const ir_ints dims = IR_ATTR(inst, broadcast)->dims;
    int64_t axes[IR_MAX_RANK];
    int n = 0;
    for (int d = 0, i = 0; d < R->type.rank; d++) {
        bool from = i < dims.n && dims.v[i] == d, kept = from && X->type.dim[i] == R->type.dim[d];
        if (!kept)
            axes[n++] = d;
        i += from;
    }
    out[0] = ir_reshape(b, ir_reduce(b, IR_SUM, G, n, axes), SHAPE(X));
}

AD_RULE(transpose)
{
    (void)want;
    int64_t back[IR_MAX_RANK];
    for (int i = 0; i < R->type.rank; i++)
        back[IR_ATTR(inst, transpose)->perm.v[i]] = i;
    out[0] = ir_transpose(b, G, back);
}

AD_RULE(slice)
{
    (void)want;
    const struct ir_attrs_slice *a = IR_ATTR(inst, slice);
    int64_t high[IR_MAX_RANK], interior[IR_MAX_RANK];
    for (int i = 0; i < X->type.rank; i++) {
        interior[i] = a->stride.v[i] - 1;
        high[i] = X->type.dim[i] - (a->start.v[i] + (R->type.dim[i] - 1) * a->stride.v[i] + 1);
    }
    out[0] = ir_pad(b, G, ir_scalar(b, G->type.dtype, 0), a->start.v, high, interior);
}

ir_value *ad_unpad(ir_builder *b, ir_value *g, const ir_type *x, const int64_t *low,
                   const int64_t *high, const int64_t *interior)
{
    int64_t start[IR_MAX_RANK] = {0}, limit[IR_MAX_RANK] = {0}, stride[IR_MAX_RANK] = {0},
            before[IR_MAX_RANK], after[IR_MAX_RANK];
    bool cropped = false;
    for (int i = 0; i < x->rank; i++) {
        int64_t step = interior[i] + 1, span = (x->dim[i] - 1) * step + 1;
        /* Elements that are cropped at the start and at the end. */
        before[i] = low[i] < 0 ? (-low[i] - 1) / step + 1 : 0;
        after[i] = high[i] < 0 ? (-high[i] - 1) / step + 1 : 0;
        if (before[i] + after[i] >= x->dim[i])
            return NULL;
        cropped |= before[i] || after[i];
        start[i] = low[i] + before[i] * step;
        limit[i] = low[i] + span - after[i] * step;
        stride[i] = step;
    }
    g = ir_slice(b, g, start, limit, stride);
    return cropped ? ir_pad(b, g, ir_scalar(b, g->type.dtype, 0), before, after, NULL) : g;
}

AD_RULE(pad)
{
    const struct ir_attrs_pad *a = IR_ATTR(inst, pad);
    if (want[0])
        out[0] = ad_unpad(b, G, &X->type, a->low.v, a->high.v, a->interior.v);
    if (!want[1])
        return;
    ir_type inside = X->type;
    inside.dtype = IR_BOOL;
    int64_t axes[IR_MAX_RANK];
    for (int i = 0; i < R->type.rank; i++)
        axes[i] = i;
    ir_value *taken = ir_pad(b, ir_splat(b, &inside, 1), ir_scalar(b, IR_BOOL, 0), a->low.v,
                             a->high.v, a->interior.v);
    out[1] = ir_reduce(b, IR_SUM, ad_unless(b, taken, G), R->type.rank, axes);
}

AD_RULE(concat)
{
    int axis = (int)IR_ATTR(inst, concat)->axis;
    int64_t at = 0;
    for (int i = 0; i < inst->noperands; i++) {
        int64_t end = at + inst->operand[i]->type.dim[axis];
        if (want[i])
            out[i] = ir_slice_axis(b, G, axis, at, end);
        at = end;
    }
}

AD_RULE(reverse)
{
    (void)want;
    const ir_ints axes = IR_ATTR(inst, reverse)->axes;
    out[0] = ir_reverse(b, G, axes.n, axes.v);
}
