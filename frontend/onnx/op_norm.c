/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Normalisation and dropout. */
#include "frontend/onnx/reader.h"
#include "ir/nn.h"

#define BUILD(name) void onnx_build_##name(onnx_node *n)
#define X n->in[0]
#define RANK X->type.rank

static bool channels(onnx_node *n, int i)
{
    if (RANK < 2 || n->in[i]->type.rank != 1 || n->in[i]->type.dim[0] != X->type.dim[1])
        onnx_error(n, "input %d is %s, expected one element per channel of %s", i,
                   onnx_type_text(n, n->in[i]), onnx_type_text(n, X));
    return !n->failed;
}

static ir_value *by_channel(onnx_node *n, ir_value *v)
{
    return v ? onnx_along(n->b, ir_convert(n->b, v, X->type.dtype), RANK, 1, X->type.dim) : NULL;
}

/* Records a layer that has a training mode. */
static void note_layer(onnx_node *n, bool batch_norm, bool training)
{
    onnx_reader *r = n->r;
    if (r->training) /* it was noted in `forward` */
        return;
    onnx_layer_info info = {n->loc, batch_norm, training};
    BASE_PUSH(r->arena, &r->facts->layers, info);
    r->facts->has_training_ops |= training || !batch_norm;
}

/* Whether `train` can update a running statistic. It cannot if that is a constant, or also a
 * parameter: exporters merge equal initializers. */
static bool can_move(onnx_node *n, int i)
{
    const onnx_init *init = onnx_init_of(n->r, n->given[i]);
    const char *what = i == 3 ? "mean" : "variance";
    if (init && init->data)
        onnx_error(
            n,
            "the running %s is the initializer '%s', which is also a parameter: the exporter "
            "merged equal tensors; export again with training=TrainingMode.TRAINING (torch's older "
            "exporter) or optimize=False (the newer one)",
            what, init->name);
    else if (!init && n->r->options->batch_norm == ONNX_MODE_TRAIN && onnx_peek(n->r, n->given[i]))
        onnx_error(
            n,
            "the running %s is a constant, which training cannot update; expected an initializer",
            what);
    return !n->failed;
}

/* new = momentum * old + (1 - momentum) * factor * batch; in `train` this updates the state that
 * `old` reads. */
static ir_value *move_statistic(onnx_node *n, ir_value *old, ir_value *batch, double momentum,
                                double factor)
{
    onnx_reader *r = n->r;
    onnx_init *init = onnx_init_of(r, old);
    ir_value *now = init && init->state ? base_map_get_ptr(&r->updated, init->state) : NULL;
    if (now)
        old = now; /* a layer that runs twice updates its statistics twice */
    ir_value *v = ir_moving_average(n->b, old, batch, momentum, (1 - momentum) * factor);
    if (init && init->state && v && r->training) {
        if (n->scope->body->outer) {
            onnx_error(n, "training inside a subgraph is not supported");
            return NULL;
        }
        base_map_put_ptr(&r->updated, init->state, v);
    }
    return v;
}

BUILD(batch_norm)
{
    ir_builder *b = n->b;
    double epsilon = onnx_float(n, "epsilon", 1e-5), momentum = onnx_float(n, "momentum", 0.9);
    bool training = n->opset >= 14 ? onnx_int(n, "training_mode", 0) != 0 : n->nout > 1;
    if (onnx_int(n, "spatial", 1) != 1) {
        onnx_error(n, "spatial=0 is not supported");
        return;
    }
    for (int i = 1; i < 5; i++)
        if (!channels(n, i))
            return;
    onnx_mode mode = n->r->options->batch_norm;
    note_layer(n, true, training);
    training = !n->r->inference && (mode == ONNX_MODE_FILE ? training : mode == ONNX_MODE_TRAIN);
    if (training && n->r->training && (!can_move(n, 3) || !can_move(n, 4)))
        return;
    ir_value *d, *variance;
    int64_t axes[IR_MAX_RANK];
    int k = 0;
    for (int i = 0; i < RANK; i++)
        if (i != 1)
            axes[k++] = i;
    n->typed = 6; /* the statistics keep their type */
    if (training) {
        ir_moments m = ir_moments_of(b, X, k, axes);
        d = m.centered;
        variance = m.variance;
        double count = (double)(X->type.dim[1] ? ir_count(&X->type) / X->type.dim[1] : 0);
        if (n->r->options->unbiased_variance && count == 1) {
            onnx_error(n, "a channel with one value has no unbiased variance");
            return;
        }
        n->out[1] = move_statistic(n, n->given[3], ir_stop_gradient(b, m.mean), momentum, 1);
        n->out[2] =
            move_statistic(n, n->given[4], ir_stop_gradient(b, variance), momentum,
                           n->r->options->unbiased_variance && count > 1 ? count / (count - 1) : 1);
        n->out[3] = m.mean;
        n->out[4] = variance;
    } else {
        d = ir_sub(b, X, by_channel(n, n->in[3]));
        variance = ir_convert(b, n->in[4], X->type.dtype);
        for (int i = 1; i < 5; i++)
            n->out[i] = n->given[3 + (i - 1) % 2];
    }
    ir_value *weight = by_channel(n, n->in[1]),
             *y = ir_mul(b, ir_standardize(b, d, variance, epsilon, k, axes), weight);
    n->out[0] = ir_add(b, y, by_channel(n, n->in[2]));
}

BUILD(instance_norm)
{
    int64_t axes[IR_MAX_RANK];
    if (RANK < 3 || !channels(n, 1) || !channels(n, 2)) {
        onnx_error(n, "expected a tensor of rank 3 or more, got %s", onnx_type_text(n, X));
        return;
    }
    for (int i = 2; i < RANK; i++)
        axes[i - 2] = i;
    ir_value *y = ir_normalize(n->b, X, onnx_float(n, "epsilon", 1e-5), RANK - 2, axes, NULL, NULL);
    n->out[0] = ir_add(n->b, ir_mul(n->b, y, by_channel(n, n->in[1])), by_channel(n, n->in[2]));
}

/* Scale and bias are per group before opset 21, per channel since. */
BUILD(group_norm)
{
    ir_builder *b = n->b;
    int64_t g = onnx_int(n, "num_groups", 0);
    if (RANK < 2 || g < 1 || X->type.dim[1] % g) {
        onnx_error(n, "num_groups %lld does not fit %s", (long long)g, onnx_type_text(n, X));
        return;
    }
    int64_t c = X->type.dim[1];
    ir_value *y = ir_group_normalize(b, X, g, onnx_float(n, "epsilon", 1e-5)), *factor[2];
    for (int i = 0; i < 2; i++) {
        ir_value *v = n->in[1 + i];
        if (n->opset < 21) {
            if (v->type.rank != 1 || v->type.dim[0] != g) {
                onnx_error(n, "input %d is %s, expected one element for each of %lld groups", 1 + i,
                           onnx_type_text(n, v), (long long)g);
                return;
            }
            v = ir_reshape(b, ir_broadcast(b, v, 2, (int64_t[]){g, c / g}, (int64_t[]){0}), 1, &c);
        } else if (!channels(n, 1 + i)) {
            return;
        }
        factor[i] = by_channel(n, v);
    }
    n->out[0] = ir_add(b, ir_mul(b, y, factor[0]), factor[1]);
}

/* The axes from `axis` to the last; false and reported if `axis` is out of range. */
static bool axes_from(onnx_node *n, int64_t *axes, int *k)
{
    int64_t axis;
    if (!onnx_axis(n, onnx_int(n, "axis", -1), RANK, &axis))
        return false;
    for (int i = (int)axis; i < RANK; i++)
        axes[i - axis] = i;
    *k = RANK - (int)axis;
    return true;
}

BUILD(layer_norm)
{
    ir_builder *b = n->b;
    int64_t axes[IR_MAX_RANK];
    int k;
    if (!axes_from(n, axes, &k))
        return;
    if (onnx_int(n, "stash_type", 1) == 1)
        n->typed = 6; /* mean and deviation */
    ir_value *y =
        ir_normalize(b, X, onnx_float(n, "epsilon", 1e-5), k, axes, &n->out[1], &n->out[2]);
    y = ir_mul(b, y, ir_broadcast_like(b, n->in[1], X));
    n->out[0] = n->nin > 2 && n->in[2] ? ir_add(b, y, ir_broadcast_like(b, n->in[2], X)) : y;
}

BUILD(rms_norm)
{
    int64_t axes[IR_MAX_RANK];
    int k;
    if (!axes_from(n, axes, &k))
        return;
    ir_value *y = ir_rms_normalize(n->b, X, onnx_float(n, "epsilon", 1e-5), k, axes);
    n->out[0] = ir_mul(n->b, y, ir_broadcast_like(n->b, n->in[1], X));
}

/* Epsilon is added to the deviation, not to the variance. */
BUILD(mean_variance_norm)
{
    ir_builder *b = n->b;
    ir_ints raw;
    int64_t axes[IR_MAX_RANK], usual[] = {0, 2, 3};
    int k;
    if (!onnx_ints(n, "axes", &raw))
        raw = (ir_ints){3, usual};
    if (n->failed || !onnx_axes(n, raw, RANK, axes, &k))
        return;
    ir_moments m = ir_moments_of(b, X, k, axes);
    ir_value *deviation = ir_plus(b, ir_root(b, m.variance, 2), 1e-9);
    n->out[0] = ir_div(b, m.centered, ir_unreduce(b, deviation, X, k, axes));
}

BUILD(lp_norm)
{
    int64_t axis, p = onnx_int(n, "p", 2);
    if (!onnx_axis(n, onnx_int(n, "axis", -1), RANK, &axis) || p < 1 || p > 2) {
        onnx_error(n, "p is %lld, expected 1 or 2", (long long)p);
        return;
    }
    ir_value *s =
        ir_reduce_keep(n->b, IR_SUM, p == 1 ? ir_abs(n->b, X) : ir_mul(n->b, X, X), 1, &axis);
    if (!s)
        return;
    /* Zeros stay zeros. */
    ir_value *zero = ir_like(n->b, s, 0), *one = ir_like(n->b, s, 1),
             *empty = ir_compare(n->b, IR_EQ, s, zero);
    s = ir_select(n->b, empty, one, s);
    n->out[0] = ir_div(n->b, X, ir_broadcast_like(n->b, p == 1 ? s : ir_sqrt(n->b, s), X));
}

BUILD(lrn)
{
    ir_builder *b = n->b;
    int64_t size = onnx_int(n, "size", 0), ones[IR_MAX_RANK], window[IR_MAX_RANK],
            low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0};
    if (size < 1 || size > 1 << 20 || RANK < 2) {
        onnx_error(n, "size %lld does not fit %s", (long long)size, onnx_type_text(n, X));
        return;
    }
    for (int i = 0; i < RANK; i++)
        ones[i] = window[i] = 1;
    window[1] = size;
    low[1] = (size - 1) / 2;
    high[1] = size - 1 - low[1];
    ir_value *square = ir_mul(b, X, X);
    ir_value *s =
        ir_build1(b, IR_OP_reduce_window, &square, 1,
                  &(ir_attrs){.reduce_window = {.combine = IR_SUM,
                                                .window = ir_ints_of(b, RANK, window),
                                                .stride = ir_ints_of(b, RANK, ones),
                                                .low = ir_ints_of(b, RANK, low),
                                                .high = ir_ints_of(b, RANK, high),
                                                .base_dilation = ir_ints_of(b, RANK, ones),
                                                .window_dilation = ir_ints_of(b, RANK, ones)}});
    if (!s)
        return;
    s = ir_add(b, ir_mul(b, s, ir_like(n->b, s, onnx_float(n, "alpha", 1e-4) / (double)size)),
               ir_like(n->b, s, onnx_float(n, "bias", 1)));
    n->out[0] = ir_div(b, X, ir_pow(b, s, ir_like(n->b, s, onnx_float(n, "beta", 0.75))));
}

/* Before opset 12 the ratio is an attribute, and there is no training_mode. */
BUILD(dropout)
{
    ir_builder *b = n->b;
    bool operands = n->opset >= 12, training = false;
    double ratio = operands ? 0.5 : onnx_float(n, "ratio", 0.5);
    if (operands && n->nin > 2 && n->in[2]) {
        const char *why;
        ir_literal *l = onnx_demand(n->r, n->in[2], &why);
        if (!l)
            onnx_error(n, "input 2 (training_mode) must be a constant; it depends on %s", why);
        else if (l->type.dtype != IR_BOOL || ir_count(&l->type) != 1)
            onnx_error(n, "input 2 (training_mode): expected one bool, got %s",
                       ir_type_text(n->r->scratch, &l->type));
        if (n->failed)
            return;
        training = ir_literal_get_int(l, 0);
    }
    note_layer(n, false, training);
    training &= !n->r->inference;
    if (operands && n->nin > 1 && n->in[1] && !onnx_const_float(n, 1, "ratio", &ratio))
        return;
    if (!(ratio >= 0 && ratio < 1)) {
        onnx_error(n, "the ratio is %g, expected 0 <= ratio < 1", ratio);
        return;
    }
    n->out[0] = X;
    ir_type t = X->type, mask = t;
    mask.dtype = IR_BOOL;
    n->out[1] = ir_splat(b, &mask, 1);
    if (!training || ratio == 0)
        return;
    ir_value *seed, *calls;
    int stream;
    if (!onnx_random(n, &seed, &calls, &stream))
        return;
    ir_value *bits = ir_build1(
        b, IR_OP_random_bits, (ir_value *[]){seed, calls}, 2,
        &(ir_attrs){.random_bits = {.shape = ir_ints_of(b, t.rank, t.dim), .stream = stream}});
    n->out[0] = ir_dropout(b, X, bits, ratio, &n->out[1]);
}
