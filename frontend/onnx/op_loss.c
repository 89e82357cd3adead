/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Losses on class labels. */
#include "frontend/onnx/reader.h"

/* scores [N, C, d…], labels [N, d…], weights [C]; extra 1: the scores are logarithms of
 * probabilities already. */
void onnx_build_cross_entropy(onnx_node *n)
{
    static const char *const ways[] = {"none", "mean", "sum", NULL}; /* as ir_reduction */
    ir_value *x = n->in[0], *y = n->in[1];
    int way = onnx_choice(n, "reduction", "mean", ways), rank = x->type.rank;
    ir_classes k = {.axis = 1,
                    .weight = n->nin > 2 ? n->in[2] : NULL,
                    .ignores = onnx_has(n, "ignore_index"),
                    .reduction = (ir_reduction)way};
    bool fits = rank >= 2 && y->type.rank == rank - 1;
    for (int i = 0; fits && i < rank - 1; i++)
        fits = y->type.dim[i] == x->type.dim[i + (i > 0)];
    if (way < 0)
        return;
    if (!fits || !ir_is_int(y->type.dtype) ||
        (k.weight && (k.weight->type.rank != 1 || k.weight->type.dim[0] != x->type.dim[1]))) {
        onnx_error(
            n, "scores [N, C, …], integer labels [N, …] and weights [C] are due; found %s, %s, %s",
            onnx_type_text(n, x), onnx_type_text(n, y), onnx_type_text(n, k.weight));
        return;
    }
    k.ignore = k.ignores ? onnx_int(n, "ignore_index", 0) : 0;
    n->out[1] = k.logs = n->op->extra ? x : ir_softmax(n->b, x, 1, true);
    n->out[0] = k.logs ? ir_nll(n->b, &k, y) : NULL;
}
