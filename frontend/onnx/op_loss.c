/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Losses on class labels. */
#include "frontend/onnx/reader.h"

enum { MEAN, SUM, NONE };

/* scores [N, C, d…], labels [N, d…], weights [C]; extra 1: the scores are logarithms of probabilities already. */
void onnx_build_cross_entropy(onnx_node *n)
{
    static const char *const ways[] = {"mean", "sum", "none", NULL};
    ir_builder *b = n->b;
    ir_value *x = n->in[0], *y = n->in[1], *weights = n->nin > 2 ? n->in[2] : NULL, *valid = NULL, *w = NULL;
    int way = onnx_choice(n, "reduction", "mean", ways), rank = x->type.rank;
    int64_t last = rank - 1, axes[IR_MAX_RANK];
    bool ignore = onnx_has(n, "ignore_index"), fits = rank >= 2 && y->type.rank == rank - 1;
    for (int i = 0; fits && i < rank - 1; i++) {
        fits = y->type.dim[i] == x->type.dim[i + (i > 0)];
        axes[i] = i;
    }
    if (way < 0)
        return;
    if (!fits || !ir_is_int(y->type.dtype) || (weights && (weights->type.rank != 1 || weights->type.dim[0] != x->type.dim[1]))) {
        onnx_error(n, "scores [N, C, …], integer labels [N, …] and weights [C] are due; found %s, %s, %s", onnx_type_text(n, x), onnx_type_text(n, y),
                   onnx_type_text(n, weights));
        return;
    }
    ir_value *logs = n->op->extra ? x : onnx_softmax_last(b, x, 1, true);
    n->out[1] = logs;
    if (ignore) {
        ir_value *number = onnx_like(n, y, (double)onnx_int(n, "ignore_index", 0));
        valid = ir_compare(b, IR_NE, y, number);
        y = ir_select(b, valid, y, onnx_like(n, y, 0));
    }
    if (!y || rank == IR_MAX_RANK)
        return;
    int64_t shape[IR_MAX_RANK];
    memcpy(shape, y->type.dim, sizeof shape);
    shape[rank - 1] = 1;
    ir_value *index = ir_reshape(b, y, rank, shape);
    ir_value *loss = ir_gather(b, onnx_move_axis(b, logs, 1, rank - 1), index, 1, &last, rank - 1); /* [N, d…] */
    loss = ir_neg(b, loss);
    if (weights) {
        w = ir_gather(b, weights, index, 1, (int64_t[]){0}, 0);
        loss = ir_mul(b, loss, w);
    }
    if (valid && loss) {
        ir_value *zero = onnx_like(n, loss, 0);
        loss = ir_select(b, valid, loss, zero);
        w = ir_select(b, valid, w ? w : onnx_like(n, loss, 1), zero);
    }
    if (way == NONE || !loss) {
        n->out[0] = loss;
        return;
    }
    ir_value *sum = ir_reduce(b, IR_SUM, loss, rank - 1, axes);
    if (way == MEAN && sum)
        sum = ir_div(b, sum, w ? ir_reduce(b, IR_SUM, w, rank - 1, axes) : ir_scalar(b, sum->type.dtype, (double)ir_count(&y->type)));
    n->out[0] = sum;
}
