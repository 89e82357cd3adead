/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The losses of nn.h. */
#include "ir/nn.h"

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
    /* Keeps the square finite where it is not taken. */
    ir_value *near = ir_select(b, small, d, ir_like(b, d, 0));
    ir_value *linear = ir_mul(b, ir_add(b, size, ir_like(b, d, -delta / 2)), ir_like(b, d, delta));
    return ir_select(b, small, ir_mul(b, ir_mul(b, near, near), ir_like(b, d, 0.5)), linear);
}

ir_value *ir_smooth_l1(ir_builder *b, ir_value *d, double beta)
{
    return beta != 0 ? ir_times(b, ir_huber(b, d, beta), 1 / beta) : ir_abs(b, d);
}

/* log x, at least -100; no gradient where x is 0. */
static ir_value *bounded_log(ir_builder *b, ir_value *x)
{
    ir_value *none = ir_compare(b, IR_LE, x, ir_like(b, x, 0));
    ir_value *l = ir_log(b, ir_select(b, none, ir_like(b, x, 1), x)), *least = ir_like(b, x, -100);
    return ir_select(b, none, least, ir_max(b, l, least));
}

ir_value *ir_bce(ir_builder *b, ir_value *x, ir_value *y)
{
    ir_value *one = ir_like(b, x, 1);
    ir_value *yes = ir_mul(b, y, bounded_log(b, x)),
             *no = ir_mul(b, ir_sub(b, one, y), bounded_log(b, ir_sub(b, one, x)));
    return ir_neg(b, ir_add(b, yes, no));
}

ir_value *ir_bce_with_logits(ir_builder *b, ir_value *x, ir_value *y)
{
    return ir_softplus_minus(b, x, ir_mul(b, x, y));
}

ir_value *ir_kl_div(ir_builder *b, ir_value *x, ir_value *y)
{
    ir_value *zero = ir_like(b, y, 0), *none = ir_compare(b, IR_LE, y, zero),
             *l = ir_log(b, ir_select(b, none, ir_like(b, y, 1), y));
    return ir_sub(b, ir_select(b, none, zero, ir_mul(b, y, l)), ir_mul(b, y, x));
}

ir_value *ir_hinge(ir_builder *b, ir_value *x, ir_value *y, double margin)
{
    ir_value *room = ir_sub(b, ir_like(b, x, margin), ir_mul(b, x, y)), *zero = ir_like(b, room, 0);
    return ir_select(b, ir_compare(b, IR_GT, room, zero), room, zero);
}

/* ---- Classes ---- */

/* The loss of a label spread over all classes. */
static ir_value *spread_loss(ir_builder *b, ir_value *logs, ir_value *weight)
{
    int64_t last = logs->type.rank - 1;
    ir_value *all =
        weight ? ir_mul(b, logs, ir_broadcast_to(b, weight, logs->type.rank, logs->type.dim))
               : logs;
    return ir_neg(b, ir_reduce(b, IR_SUM, all, 1, &last));
}

ir_value *ir_nll(ir_builder *b, const ir_classes *k, ir_value *labels)
{
    ir_value *logs = ir_move_axis(b, k->logs, k->axis, k->logs->type.rank - 1), *valid = NULL,
             *weight = NULL;
    /* This type holds every label and `ignore`. */
    ir_value *y = labels ? ir_convert(b, labels, IR_I64) : NULL;
    if (!logs || !y)
        return NULL;
    if (k->ignores) {
        valid = ir_compare(b, IR_NE, y, ir_like_int(b, y, k->ignore));
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
        loss = ir_add(b, ir_times(b, loss, 1 - k->smoothing),
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

ir_value *ir_cross_entropy(ir_builder *b, const ir_classes *k, ir_value *targets)
{
    const ir_type *t = &targets->type;
    int64_t axis = k->axis;
    ir_value *y = ir_times(b, targets, 1 - k->smoothing);
    if (k->smoothing > 0)
        y = ir_plus(b, y, k->smoothing / (double)t->dim[axis]);
    ir_value *loss = ir_mul(b, k->logs, y);
    if (k->weight)
        loss = ir_mul(b, loss, ir_broadcast(b, k->weight, t->rank, t->dim, &axis));
    return ir_reduced(b, ir_neg(b, ir_reduce(b, IR_SUM, loss, 1, &axis)), k->reduction);
}
