/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Composites: functions of several primitives, as torch defines them. Each formula is written here
 * once; ONNX, tracing, recurrent layers and --attach-loss call it. NULL in an operand gives NULL.
 *
 * Where a function has a kink, its formula is written so that its derivatives there, also higher
 * ones, are those of one side, or torch's. A branch that is not taken never produces an infinity,
 * which a derivative would turn into NaN. */
#ifndef GRADC_IR_NN_H
#define GRADC_IR_NN_H

#include "ir/ir.h"

/* ---- Activations and other elementwise functions ---- */

/* At 0 the derivative is the one from below. */
ir_value *ir_relu(ir_builder *b, ir_value *x);
ir_value *ir_leaky_relu(ir_builder *b, ir_value *x, double slope);
/* slope: of x's type. */
ir_value *ir_prelu(ir_builder *b, ir_value *x, ir_value *slope);
ir_value *ir_elu(ir_builder *b, ir_value *x, double alpha);
/* scale times elu */
ir_value *ir_selu(ir_builder *b, ir_value *x, double alpha, double scale);
/* elu of x / alpha below 0, its derivative continuous there */
ir_value *ir_celu(ir_builder *b, ir_value *x, double alpha);
/* Through erf. */
ir_value *ir_gelu(ir_builder *b, ir_value *x);
/* Approximated through tanh. */
ir_value *ir_gelu_tanh(ir_builder *b, ir_value *x);
/* x logistic(beta x) */
ir_value *ir_swish(ir_builder *b, ir_value *x, double beta);
ir_value *ir_mish(ir_builder *b, ir_value *x);
/* log(1 + e^x), without overflow. */
ir_value *ir_softplus(ir_builder *b, ir_value *x);
/* log(1 + e^x) - y, accurate also where y is near x or 0 and the terms cancel. */
ir_value *ir_softplus_minus(ir_builder *b, ir_value *x, ir_value *y);
/* x / (1 + |x|) */
ir_value *ir_softsign(ir_builder *b, ir_value *x);
/* alpha x + beta clamped to 0 and 1, where the derivative is 0. */
ir_value *ir_hard_sigmoid(ir_builder *b, ir_value *x, double alpha, double beta);
ir_value *ir_hard_swish(ir_builder *b, ir_value *x);
/* x + bias below -lambda, x - bias above lambda, otherwise `between`. */
ir_value *ir_shrink(ir_builder *b, ir_value *x, double lambda, double bias, ir_value *between);
/* x between two bounds of its type, either of which may be NULL. At a bound the derivative is 0, as
 * in ReLU6 and torch's hardtanh. */
ir_value *ir_hardtanh(ir_builder *b, ir_value *x, ir_value *low, ir_value *high);
/* The same, but at a bound the derivative is 1, as in torch's clamp. */
ir_value *ir_clamp(ir_builder *b, ir_value *x, ir_value *low, ir_value *high);
/* The remainder with the sign of y, and x / y rounded down. x and y have one type. */
ir_value *ir_modulo(ir_builder *b, ir_value *x, ir_value *y);
ir_value *ir_floor_divide(ir_builder *b, ir_value *x, ir_value *y);
/* x where 32 random bits (u32, x's shape) are at least p 2^32, scaled by 1 / (1 - p); elsewhere 0.
 * keep: where x is kept (may be NULL). p is from 0 to below 1. */
ir_value *ir_dropout(ir_builder *b, ir_value *x, ir_value *bits, double p, ir_value **keep);

/* ---- Reductions: over n axes (ascending), which stay as 1 if keep ---- */

ir_value *ir_mean(ir_builder *b, ir_value *x, int n, const int64_t *axes, bool keep);
/* The sum of squared distances from the mean, divided by count - correction (at least 0). */
ir_value *ir_variance(ir_builder *b, ir_value *x, double correction, int n, const int64_t *axes,
                      bool keep);
ir_value *ir_logsumexp(ir_builder *b, ir_value *x, int n, const int64_t *axes, bool keep);
/* torch.linalg.vector_norm; p may be 0 or infinite. Its derivative at 0 is 0. */
ir_value *ir_vector_norm(ir_builder *b, ir_value *x, double p, int n, const int64_t *axes,
                         bool keep);
/* x^(1/p) of the sum x >= 0 in a norm or deviation: its derivative at 0 is 0. */
ir_value *ir_root(ir_builder *b, ir_value *x, double p);
/* |x|^p, p not 0, whose derivative at 0 is 0 also for p < 1. */
ir_value *ir_abs_pow(ir_builder *b, ir_value *x, double p);
/* Along an axis that is not empty. */
ir_value *ir_softmax(ir_builder *b, ir_value *x, int64_t axis);
ir_value *ir_log_softmax(ir_builder *b, ir_value *x, int64_t axis);
/* Two results: x in order along axis, and the positions (i64) where its elements were. */
ir_inst *ir_sort_positions(ir_builder *b, ir_value *x, int axis, bool descending);
/* x where column - row >= k (upper) or <= k in the last two dimensions; zeros elsewhere. */
ir_value *ir_triangle(ir_builder *b, ir_value *x, int64_t k, bool upper);

/* ---- Normalisation ---- */

/* Of x over n axes. mean and variance (divided by the count) lack the axes. */
typedef struct ir_moments {
    ir_value *mean, *variance, *centered; /* x - mean */
} ir_moments;
ir_moments ir_moments_of(ir_builder *b, ir_value *x, int n, const int64_t *axes);
/* centered / sqrt(variance + epsilon); variance has the shape of centered without axes. */
ir_value *ir_standardize(ir_builder *b, ir_value *centered, ir_value *variance, double epsilon,
                         int n, const int64_t *axes);
/* (x - mean) / sqrt(variance + epsilon) over axes; also mean and 1 / deviation, the axes kept as 1,
 * if asked for (else NULL). */
ir_value *ir_normalize(ir_builder *b, ir_value *x, double epsilon, int n, const int64_t *axes,
                       ir_value **mean, ir_value **scale);
/* x / sqrt(mean of x^2 + epsilon) over axes. */
ir_value *ir_rms_normalize(ir_builder *b, ir_value *x, double epsilon, int n, const int64_t *axes);
/* ir_normalize of each group of the channels (dimension 1) of each x[i]. */
ir_value *ir_group_normalize(ir_builder *b, ir_value *x, int64_t groups, double epsilon);
/* keep old + gain batch, computed in the wider of their types, returned in old's. */
ir_value *ir_moving_average(ir_builder *b, ir_value *old, ir_value *batch, double keep,
                            double gain);

/* ---- Windows (nn_window.c): convolutions and pools of x, [batch, features, spatial…] ---- */

typedef struct ir_window { /* entry d is that of spatial dimension d, dimension 2 + d of x */
    int n; /* spatial dimensions */
    int64_t size[IR_MAX_RANK], stride[IR_MAX_RANK], dilation[IR_MAX_RANK];
    int64_t low[IR_MAX_RANK], high[IR_MAX_RANK]; /* padding; of a convolution: negative crops */
    int64_t count[IR_MAX_RANK]; /* windows of a pool: ir_count_windows */
} ir_window;
/* Are the numbers of dimension d in range? The functions below need that, those of pools also a
 * padding of at least 0 and windows that fit (ir_window_room). */
bool ir_window_ok(const ir_window *w, int d);
/* The extent that one window covers. */
int64_t ir_window_span(const ir_window *w, int d);
/* How far an extent of x, padded, exceeds the span; negative: no window fits. */
int64_t ir_window_room(const ir_window *w, int d, int64_t extent);
/* Weights [out, in / groups, size…]. */
ir_value *ir_convolve(ir_builder *b, ir_value *x, ir_value *weights, const ir_window *w,
                      int64_t groups);
/* The derivative of a convolution with respect to its input. Weights [in, out / groups, size…],
 * which must fit. extra[d] more elements of the result on the high side have no window. */
ir_value *ir_convolve_transposed(ir_builder *b, ir_value *x, ir_value *weights, const ir_window *w,
                                 const int64_t *extra, int64_t groups);
bool ir_transposed_fits(const ir_value *x, const ir_value *weights, int64_t groups);
/* The extent of its result before the padding is taken off; false where that, or `extra`, is out of
 * range. */
bool ir_transposed_extent(const ir_window *w, int d, int64_t extent, int64_t extra, int64_t *out);
/* Fills in count. ceil: a last window may reach beyond the high padding, but not start in it. */
void ir_count_windows(ir_window *w, const ir_value *x, bool ceil);
/* The maxima, and which element of its window each is (i32), both for ir_first_windows. */
ir_inst *ir_pool_max(ir_builder *b, ir_value *x, const ir_window *w);
ir_value *ir_pool_sum(ir_builder *b, ir_value *x, const ir_window *w);
/* The windows that count: high padding may have room for one more. */
ir_value *ir_first_windows(ir_builder *b, ir_value *y, const ir_window *w);
/* How many elements of window i along dimension d lie from `first` to before `end`. */
int64_t ir_window_covers(const ir_window *w, int d, int64_t i, int64_t first, int64_t end);

/* ---- Losses ---- */

typedef enum ir_reduction { IR_REDUCE_NONE, IR_REDUCE_MEAN, IR_REDUCE_SUM } ir_reduction;
/* Over all elements. */
ir_value *ir_reduced(ir_builder *b, ir_value *loss, ir_reduction how);
/* Elementwise: d^2 / 2 for |d| below delta, delta (|d| - delta / 2) from there on. */
ir_value *ir_huber(ir_builder *b, ir_value *d, double delta);
/* huber / beta; |d| where beta is 0. */
ir_value *ir_smooth_l1(ir_builder *b, ir_value *d, double beta);
/* Of probabilities x: -(y log x + (1 - y) log(1 - x)), logarithms at least -100. */
ir_value *ir_bce(ir_builder *b, ir_value *x, ir_value *y);
/* y log(1 + e^-x) + (1 - y) log(1 + e^x), without overflow. */
ir_value *ir_bce_with_logits(ir_builder *b, ir_value *x, ir_value *y);
/* y (log y - x), zero where y is zero; x are logarithms. */
ir_value *ir_kl_div(ir_builder *b, ir_value *x, ir_value *y);
/* max(0, margin - x y), y 1 or -1; no gradient at the margin itself. */
ir_value *ir_hinge(ir_builder *b, ir_value *x, ir_value *y, double margin);
/* Losses of classes: minus the logarithm of the label's probability. */
typedef struct ir_classes {
    ir_value *logs; /* logarithms of probabilities */
    int axis; /* of the classes */
    ir_value *weight; /* [classes], or NULL; ir_nll's mean divides by the weights' sum */
    bool ignores; /* a label `ignore` does not count, nor in a mean */
    int64_t ignore;
    double smoothing; /* how much of a label is spread over all classes */
    ir_reduction reduction;
} ir_classes;
/* labels: integers of the shape of logs without axis. */
ir_value *ir_nll(ir_builder *b, const ir_classes *k, ir_value *labels);
/* targets: probabilities in the shape of logs. The mean is over all elements of the result; nothing
 * is ignored. */
ir_value *ir_cross_entropy(ir_builder *b, const ir_classes *k, ir_value *targets);

#endif
