/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Losses as torch defines them, for ONNX, tracing and --attach-loss. */
#include "ir/ir.h"

static ir_value *sum_all(ir_builder *b, ir_value *x)
{
    int64_t axes[IR_MAX_RANK];
    if (!x)
        return NULL;
    for (int i = 0; i < x->type.rank; i++)
        axes[i] = i;
    return ir_reduce(b, IR_SUM, x, x->type.rank, axes);
}

ir_value *ir_reduced(ir_builder *b, ir_value *loss, ir_reduction how)
{
    if (!loss || how == IR_REDUCE_NONE)
        return loss;
    ir_value *sum = sum_all(b, loss);
    return how == IR_REDUCE_SUM || !sum
               ? sum
               : ir_div(b, sum, ir_like(b, sum, (double)ir_count(&loss->type)));
}

ir_value *ir_huber(ir_builder *b, ir_value *d, double delta)
{
    ir_value *size = ir_abs(b, d), *small = ir_compare(b, IR_LT, size, ir_like(b, d, delta));
    /* Its square is finite where it is not taken. */
    ir_value *near = ir_select(b, small, d, ir_like(b, d, 0));
    ir_value *linear = ir_mul(b, ir_add(b, size, ir_like(b, d, -delta / 2)), ir_like(b, d, delta));
    return ir_select(b, small, ir_mul(b, ir_mul(b, near, near), ir_like(b, d, 0.5)), linear);
}

ir_value *ir_bce_with_logits(ir_builder *b, ir_value *x, ir_value *y)
{
    return ir_softplus_less(b, x, ir_mul(b, x, y));
}

ir_value *ir_kl_div(ir_builder *b, ir_value *x, ir_value *y)
{
    ir_value *zero = ir_like(b, y, 0), *none = ir_compare(b, IR_LE, y, zero),
             *l = ir_log(b, ir_select(b, none, ir_like(b, y, 1), y));
    return ir_sub(b, ir_select(b, none, zero, ir_mul(b, y, l)), ir_mul(b, y, x));
}

/* The loss of a label that is spread over all classes. */
static ir_value *spread_loss(ir_builder *b, ir_value *logs, ir_value *weight)
{
    int64_t last = logs->type.rank - 1;
    ir_value *all =
        weight ? ir_mul(b, logs, ir_broadcast_to(b, weight, logs->type.rank, logs->type.dim))
               : logs;
    return ir_neg(b, ir_reduce(b, IR_SUM, all, 1, &last));
}

/* v, which need not be exact as a double, in the shape of x. */
static ir_value *integers(ir_builder *b, const ir_value *x, int64_t v)
{
    ir_type type = ir_scalar_type(IR_I64);
    ir_literal *one = ir_literal_new(b->func->module->arena, &type);
    ir_literal_set_int(one, 0, v);
    return ir_broadcast_to(b, ir_constant(b, one), x->type.rank, x->type.dim);
}

ir_value *ir_nll(ir_builder *b, const ir_classes *k, ir_value *labels)
{
    ir_value *logs = ir_move_axis(b, k->logs, k->axis, k->logs->type.rank - 1), *valid = NULL,
             *weight = NULL;
    /* Which holds every label, and what is ignored. */
    ir_value *y = labels ? ir_convert(b, labels, IR_I64) : NULL;
    if (!logs || !y)
        return NULL;
    if (k->ignores) {
        valid = ir_compare(b, IR_NE, y, integers(b, y, k->ignore));
        y = ir_select(b, valid, y, ir_like(b, y, 0));
    }
    int64_t last = logs->type.rank - 1, shape[IR_MAX_RANK], classes = logs->type.dim[last];
    for (int i = 0; i < last; i++)
        shape[i] = labels->type.dim[i];
    shape[last] = 1;
    ir_value *index = ir_reshape(b, y, (int)last + 1, shape),
             *loss = ir_neg(b, ir_gather(b, logs, index, 1, &last, (int)last));
    if (k->weight) {
        weight = ir_gather(b, k->weight, index, 1, (int64_t[]){0}, 0);
        loss = ir_mul(b, loss, weight);
    }
    if (k->smoothing > 0)
        loss = ir_add(b, ir_mul(b, loss, ir_like(b, loss, 1 - k->smoothing)),
                      ir_mul(b, spread_loss(b, logs, k->weight),
                             ir_like(b, loss, k->smoothing / (double)classes)));
    if (valid && loss) {
        ir_value *zero = ir_like(b, loss, 0);
        loss = ir_select(b, valid, loss, zero);
        weight = ir_select(b, valid, weight ? weight : ir_like(b, loss, 1), zero);
    }
    if (k->reduction != IR_REDUCE_MEAN || !weight)
        return ir_reduced(b, loss, k->reduction);
    return ir_div(b, sum_all(b, loss), sum_all(b, weight));
}
