/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Losses on class labels. */
#include "frontend/onnx/reader.h"
#include "ir/nn.h"

/* The loss of x [N, C, d…], which holds scores or log-probabilities, for labels [N, d…] with
 * weights [C]. Returns the log-probabilities. */
static ir_value *class_loss(onnx_node *n, bool scores)
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
        return NULL;
    if (!fits || !ir_is_int(y->type.dtype) ||
        (k.weight && (k.weight->type.rank != 1 || k.weight->type.dim[0] != x->type.dim[1]))) {
        onnx_error(
            n, "expected scores [N, C, …], integer labels [N, …] and weights [C], got %s, %s, %s",
            onnx_type_text(n, x), onnx_type_text(n, y), onnx_type_text(n, k.weight));
        return NULL;
    }
    k.ignore = k.ignores ? onnx_int(n, "ignore_index", 0) : 0;
    k.logs = scores ? ir_log_softmax(n->b, x, 1) : x;
    n->out[0] = k.logs ? ir_nll(n->b, &k, y) : NULL;
    return k.logs;
}

void onnx_build_softmax_cross_entropy(onnx_node *n)
{
    n->out[1] = class_loss(n, true);
}

void onnx_build_nll(onnx_node *n)
{
    class_loss(n, false);
}
