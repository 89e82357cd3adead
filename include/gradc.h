/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * gradc as a library: tensors that are traced, run, differentiated and compiled. C99 and C++17.
 *
 * A context records operations on its tensors; reading a value compiles what is pending to native
 * code and runs it. A graph of the same structure is not compiled again. Semantics are torch's:
 * types promote, shapes broadcast, a result's requires_grad is the OR of its operands', and
 * backward adds into the leaves' grad.
 *
 *     gradc *g = gradc_new();
 *     gradc_tensor *w = gradc_parameter(g, "w", gradc_randn(g, GRADC_F32, GRADC_SHAPE(3, 2)));
 *     gradc_tensor *x = gradc_ones(g, GRADC_F32, GRADC_SHAPE(3));
 *     gradc_tensor *loss = gradc_mean(g, gradc_relu(g, gradc_matmul(g, x, w)), GRADC_ALL, 0);
 *     gradc_backward(g, loss, NULL, 0);
 *     gradc_print(g, stdout, gradc_grad(g, w));
 *     if (gradc_error(g)) …
 *     gradc_free(g);
 *
 * Ownership: the context owns every tensor; see gradc_mark. A context and its tensors are used by
 * one thread at a time; contexts share nothing.
 *
 * Errors: a function that fails returns NULL (or what its comment says) and leaves a message that
 * names the function and the shapes; the first one stays until gradc_clear_error. A NULL tensor
 * gives NULL, so a chain of calls is checked once, at its end. Optional tensors are NULL too; while
 * an error is set, such a NULL counts as one that failed.
 *
 * Stack and memory: code is generated on gradc's own thread with 64 MiB of stack, so a caller needs
 * only 128 KiB. When memory runs out, a call fails with an error, except that LLVM, which generates
 * the code, aborts the process. See docs/limits.md.
 *
 * Dimensions: below, a negative `dim` counts from the end; `dims` is GRADC_DIMS(…), and GRADC_ALL
 * means all. Comments write shapes as [N, C, …]; rank is at most 16. A number given as double
 * counts as an integer if it has no fraction. */
#ifndef GRADC_H
#define GRADC_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gradc gradc;
typedef struct gradc_tensor gradc_tensor;

/* Element types. f16 and bf16 are 16-bit patterns outside and computed in f32; bool is one byte, 0
 * or 1. */
typedef enum gradc_dtype {
    GRADC_BOOL,
    GRADC_I8,
    GRADC_I16,
    GRADC_I32,
    GRADC_I64,
    GRADC_U8,
    GRADC_U16,
    GRADC_U32,
    GRADC_U64,
    GRADC_F16,
    GRADC_BF16,
    GRADC_F32,
    GRADC_F64
} gradc_dtype;

enum { GRADC_MAX_RANK = 16 };
typedef struct gradc_shape { /* extents, or a list of dimensions; passed by value */
    int rank;
    int64_t dim[GRADC_MAX_RANK];
} gradc_shape;
/* From an array. A rank above 16 is an error of the function that takes the shape. */
static inline gradc_shape gradc_shape_from(int rank, const int64_t *dim)
{
    gradc_shape s;
    int i;
    s.rank = rank;
    for (i = 0; i < GRADC_MAX_RANK; i++)
        s.dim[i] = i < rank ? dim[i] : 0;
    return s;
}
/* GRADC_SHAPE(64, 784); GRADC_SHAPE() is rank 0. */
#ifdef __cplusplus
#define GRADC_SHAPE(...) gradc_shape_list(__VA_ARGS__)
#else
#define GRADC_SHAPE(...)                                                                     \
    gradc_shape_from((int)(sizeof((const int64_t[]){0, __VA_ARGS__}) / sizeof(int64_t)) - 1, \
                     (const int64_t[]){0, __VA_ARGS__} + 1)
#endif
#define GRADC_DIMS(...) GRADC_SHAPE(__VA_ARGS__)
#define GRADC_ALL GRADC_SHAPE()

/* ==== The context ==== */

/* NULL when out of memory. */
gradc *gradc_new(void);
/* Frees all its tensors too. NULL is allowed. */
void gradc_free(gradc *g);
/* The first error since the context was created or cleared, or NULL. Valid until cleared. */
const char *gradc_error(const gradc *g);
/* Clears it, so that the next error is kept. */
void gradc_clear_error(gradc *g);

/* gradc_release frees every tensor created since the mark, and their graph; older tensors stay
 * valid, with the values assigned to them and the gradients added into their grad. A training loop
 * marks, computes a step, and releases. Releasing an older mark releases the newer ones too. */
size_t gradc_mark(gradc *g);
void gradc_release(gradc *g, size_t mark);

/* Whether operations record for backward: 0 is torch's no_grad. Returns the previous value, for the
 * caller to restore. */
int gradc_set_grad_enabled(gradc *g, int on);
/* Restarts the context's sequence of random numbers, which the seed (initially 0) determines. */
void gradc_manual_seed(gradc *g, uint64_t seed);

/* ==== New tensors ==== */

/* A leaf with a copy of data: row-major, no gradient. */
gradc_tensor *gradc_from(gradc *g, gradc_dtype dtype, gradc_shape shape, const void *data);
/* Every element is value, 1 or 0. */
gradc_tensor *gradc_full(gradc *g, gradc_dtype dtype, gradc_shape shape, double value);
gradc_tensor *gradc_ones(gradc *g, gradc_dtype dtype, gradc_shape shape);
gradc_tensor *gradc_zeros(gradc *g, gradc_dtype dtype, gradc_shape shape);
/* f32[] (or i64[] …) with one number. */
gradc_tensor *gradc_scalar(gradc *g, gradc_dtype dtype, double value);
/* start, start + step, … below end (above, if step is negative). */
gradc_tensor *gradc_arange(gradc *g, gradc_dtype dtype, double start, double end, double step);
/* steps numbers from start to end, both included. */
gradc_tensor *gradc_linspace(gradc *g, gradc_dtype dtype, double start, double end, int64_t steps);
/* [rows, columns], ones on the diagonal. */
gradc_tensor *gradc_eye(gradc *g, gradc_dtype dtype, int64_t rows, int64_t columns);
/* Uniform in [0, 1); normal of mean 0 and deviation 1; integers in [low, high). Float dtypes for
 * the first two. */
gradc_tensor *gradc_rand(gradc *g, gradc_dtype dtype, gradc_shape shape);
gradc_tensor *gradc_randn(gradc *g, gradc_dtype dtype, gradc_shape shape);
gradc_tensor *gradc_randint(gradc *g, gradc_dtype dtype, gradc_shape shape, int64_t low,
                            int64_t high);
/* The same five with the shape and dtype of x, which is not read. */
gradc_tensor *gradc_full_like(gradc *g, gradc_tensor *x, double value);
gradc_tensor *gradc_ones_like(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_zeros_like(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_rand_like(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_randn_like(gradc *g, gradc_tensor *x);

/* A new leaf with the value of x (which is run if pending) that requires grad; float. The name must
 * be unique in the context; compiled models use it. */
gradc_tensor *gradc_parameter(gradc *g, const char *name, gradc_tensor *x);
/* The same without gradient: state of a model beside its parameters, such as batch_norm's running
 * statistics. */
gradc_tensor *gradc_buffer(gradc *g, const char *name, gradc_tensor *x);
/* A leaf without a value: an input of a graph that is to be compiled. The name must be unique.
 * Reading a value that depends on it is an error. */
gradc_tensor *gradc_input(gradc *g, const char *name, gradc_dtype dtype, gradc_shape shape);

/* ==== Queries ==== */

/* For a NULL tensor: rank, size, numel 0, dtype GRADC_F32, "None", 0. */
int gradc_rank(const gradc_tensor *x);              /* dimensions */
/* Extent of a dimension; 0 if there is no such dimension. */
int64_t gradc_size(const gradc_tensor *x, int dim);
gradc_shape gradc_shape_of(const gradc_tensor *x);
int64_t gradc_numel(const gradc_tensor *x);         /* elements */
/* Size of the elements, as gradc_copy_out writes them. */
size_t gradc_bytes(const gradc_tensor *x);
gradc_dtype gradc_dtype_of(const gradc_tensor *x);
const char *gradc_dtype_name(gradc_dtype dtype); /* "f32" */
int gradc_requires_grad(const gradc_tensor *x); /* 1: backward goes through it */
int gradc_is_leaf(const gradc_tensor *x);       /* 1: no recorded operation made it */
/* The operation that made x, under torch's name, "AddBackward0"; "None" for a leaf or without
 * gradient. */
const char *gradc_grad_fn(const gradc_tensor *x);
/* The name of a parameter, buffer or input; otherwise NULL. */
const char *gradc_name(const gradc_tensor *x);

/* ==== Values: these run what is pending ==== */

/* The elements, row-major; valid until x is released or assigned to. */
const void *gradc_data(gradc *g, gradc_tensor *x);
/* The same, copied to dst, which has room for gradc_bytes(x). 0, or -1 on failure. */
int gradc_copy_out(gradc *g, gradc_tensor *x, void *dst);
/* The only element. 0 on failure; f16 and bf16 as their value. */
double gradc_item(gradc *g, gradc_tensor *x);
/* Exact for 64-bit integers; floats are truncated and saturate. */
int64_t gradc_item_int(gradc *g, gradc_tensor *x);
/* Prints a tensor as torch does: four digits, dots for the middle of a large one. 0, or -1 on
 * failure. */
int gradc_print(gradc *g, FILE *out, gradc_tensor *x);
/* Runs all of these at once, so that what they share is computed once. 0, or -1. */
int gradc_eval(gradc *g, gradc_tensor *const *x, int n);

/* x, a leaf, gets the value of `from` (same shape, converted to x's dtype), without a graph:
 * torch's copy_ under no_grad. Graphs recorded before keep the old value. Runs when a value is next
 * read or x is next used. 0, or -1. */
int gradc_assign(gradc *g, gradc_tensor *x, gradc_tensor *from);

/* ==== Gradients ==== */

enum {
    GRADC_RETAIN_GRAPH = 1, /* another backward may use the graph; gradients accumulate */
    /* for gradc_gradients: its results are recorded and can be differentiated; retains too */
    GRADC_CREATE_GRAPH = 2
};
/* Reverse-mode differentiation from loss, which has one element unless a cotangent of its shape is
 * given: adds into the grad of the leaves that require it, and of tensors with gradc_retain_grad.
 * Then releases the graph: another backward through it is an error, unless flags retain it. 0, or
 * -1. */
int gradc_backward(gradc *g, gradc_tensor *loss, gradc_tensor *cotangent, unsigned flags);
/* Gradients of y with respect to each x[i], to grad[i], without adding into any grad; zeros if y
 * does not depend on x[i]. 0, or -1 (grad[i] is then NULL). */
int gradc_gradients(gradc *g, gradc_tensor *y, gradc_tensor *cotangent, gradc_tensor *const *x,
                    int n, unsigned flags, gradc_tensor **grad);
/* The accumulated gradient; NULL if there is none. The same tensor as long as x lives. */
gradc_tensor *gradc_grad(gradc *g, gradc_tensor *x);
/* Empties the grad of x, or of all tensors of the context. */
void gradc_zero_grad(gradc *g, gradc_tensor *x);
void gradc_zero_grads(gradc *g);
/* Backward adds x's gradient into its grad although x is not a leaf. 0, or -1. */
int gradc_retain_grad(gradc *g, gradc_tensor *x);
/* For float leaves. 0, or -1. */
int gradc_set_requires_grad(gradc *g, gradc_tensor *x, int on);
/* The same value, without a graph. */
gradc_tensor *gradc_detach(gradc *g, gradc_tensor *x);

/* ==== Compiling ==== */

typedef struct gradc_output {
    const char *name;
    gradc_tensor *tensor;
} gradc_output;
/* Compiles the graph from inputs to outputs as the command compiles a file, with the command's
 * option strings, "--train=adam", in an array that ends with NULL (options may be NULL): writes
 * PATH.o and PATH.h. Dropout and batch_norm with training on are in training mode in the training
 * entries, and in inference mode in `forward`. Parameters are the ones that the graph reaches, with
 * their current values. 0, or -1 with nothing written. */
int gradc_compile(gradc *g, const gradc_output *outputs, int n, const char *path,
                  const char *const *options);

/* ==== Operations ==== */

/* Each is torch's function of its name; comments say what the name does not. */

/* ---- Elementwise: types promote, shapes broadcast; integers become f32 where the result is not an
 * integer in general ---- */

gradc_tensor *gradc_add(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_sub(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_mul(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_div(gradc *g, gradc_tensor *x, gradc_tensor *y);          /* never truncates */
/* Towards minus infinity; integers: x/0 is 0. */
gradc_tensor *gradc_floor_divide(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_remainder(gradc *g, gradc_tensor *x, gradc_tensor *y);    /* sign of y */
gradc_tensor *gradc_fmod(gradc *g, gradc_tensor *x, gradc_tensor *y);         /* sign of x */
gradc_tensor *gradc_pow(gradc *g, gradc_tensor *x, gradc_tensor *y);
/* NaN if either is; ties share the gradient. */
gradc_tensor *gradc_maximum(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_minimum(gradc *g, gradc_tensor *x, gradc_tensor *y);
/* Angle of the point (x, y). */
gradc_tensor *gradc_atan2(gradc *g, gradc_tensor *y, gradc_tensor *x);
/* The same with a number. */
gradc_tensor *gradc_add_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_sub_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_rsub_scalar(gradc *g, gradc_tensor *x, double y); /* y - x */
gradc_tensor *gradc_mul_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_div_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_floor_divide_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_remainder_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_fmod_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_pow_scalar(gradc *g, gradc_tensor *x, double y);
/* Comparisons, bool[…]; NaN equals nothing. */
gradc_tensor *gradc_eq(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_ne(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_lt(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_le(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_gt(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_ge(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_eq_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_ne_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_lt_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_le_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_gt_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_ge_scalar(gradc *g, gradc_tensor *x, double y);
gradc_tensor *gradc_isnan(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_isinf(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_isfinite(gradc *g, gradc_tensor *x);
/* Nonzero is true; bool[…]. */
gradc_tensor *gradc_logical_and(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_logical_or(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_logical_xor(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_logical_not(gradc *g, gradc_tensor *x);
/* Integers and bool. */
gradc_tensor *gradc_bitwise_and(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_bitwise_or(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_bitwise_xor(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_bitwise_not(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_bitwise_left_shift(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_bitwise_right_shift(gradc *g, gradc_tensor *x, gradc_tensor *y);
/* which (bool) ? x : y */
gradc_tensor *gradc_where(gradc *g, gradc_tensor *which, gradc_tensor *x, gradc_tensor *y);
/* x, and value where mask (bool, broadcast to x) is true. */
gradc_tensor *gradc_masked_fill(gradc *g, gradc_tensor *x, gradc_tensor *mask, double value);
/* low and high: -INFINITY and INFINITY for no bound. */
gradc_tensor *gradc_clamp(gradc *g, gradc_tensor *x, double low, double high);
/* x + weight (y - x) */
gradc_tensor *gradc_lerp(gradc *g, gradc_tensor *x, gradc_tensor *y, double weight);

gradc_tensor *gradc_neg(gradc *g, gradc_tensor *x); /* -x */
gradc_tensor *gradc_abs(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_sign(gradc *g, gradc_tensor *x); /* -1, 0 or 1 */
gradc_tensor *gradc_floor(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_ceil(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_round(gradc *g, gradc_tensor *x); /* halves to even */
gradc_tensor *gradc_trunc(gradc *g, gradc_tensor *x); /* towards zero */
gradc_tensor *gradc_frac(gradc *g, gradc_tensor *x); /* x - trunc(x) */
gradc_tensor *gradc_square(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_sqrt(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_rsqrt(gradc *g, gradc_tensor *x); /* 1/sqrt(x) */
gradc_tensor *gradc_reciprocal(gradc *g, gradc_tensor *x); /* 1/x */
gradc_tensor *gradc_exp(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_exp2(gradc *g, gradc_tensor *x); /* 2^x */
gradc_tensor *gradc_expm1(gradc *g, gradc_tensor *x); /* exp(x) - 1, accurate near 0 */
gradc_tensor *gradc_log(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_log2(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_log10(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_log1p(gradc *g, gradc_tensor *x); /* log(1 + x), accurate near 0 */
gradc_tensor *gradc_sin(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_cos(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_tan(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_asin(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_acos(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_atan(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_sinh(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_cosh(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_tanh(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_asinh(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_acosh(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_atanh(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_erf(gradc *g, gradc_tensor *x);
gradc_tensor *gradc_erfc(gradc *g, gradc_tensor *x); /* 1 - erf(x) */

/* ---- Activations ---- */

gradc_tensor *gradc_relu(gradc *g, gradc_tensor *x); /* max(x, 0) */
gradc_tensor *gradc_relu6(gradc *g, gradc_tensor *x); /* min(max(x, 0), 6) */
gradc_tensor *gradc_leaky_relu(gradc *g, gradc_tensor *x, double slope); /* slope x below 0 */
/* slope: [1], or one a channel (dimension 1) */
gradc_tensor *gradc_prelu(gradc *g, gradc_tensor *x, gradc_tensor *slope);
gradc_tensor *gradc_elu(gradc *g, gradc_tensor *x, double alpha); /* alpha (exp(x) - 1) below 0 */
/* alpha (exp(x/alpha) - 1) below 0. */
gradc_tensor *gradc_celu(gradc *g, gradc_tensor *x, double alpha);
gradc_tensor *gradc_selu(gradc *g, gradc_tensor *x); /* elu scaled by torch's constants */
/* By erf, or torch's approximate="tanh". */
gradc_tensor *gradc_gelu(gradc *g, gradc_tensor *x, int by_tanh);
gradc_tensor *gradc_silu(gradc *g, gradc_tensor *x); /* x sigmoid(x) */
gradc_tensor *gradc_mish(gradc *g, gradc_tensor *x); /* x tanh(softplus(x)) */
gradc_tensor *gradc_sigmoid(gradc *g, gradc_tensor *x); /* 1/(1 + exp(-x)) */
gradc_tensor *gradc_logsigmoid(gradc *g, gradc_tensor *x); /* log(sigmoid(x)) */
gradc_tensor *gradc_hardsigmoid(gradc *g, gradc_tensor *x); /* relu6(x + 3)/6 */
gradc_tensor *gradc_hardswish(gradc *g, gradc_tensor *x); /* x relu6(x + 3)/6 */
/* x clamped to low and high */
gradc_tensor *gradc_hardtanh(gradc *g, gradc_tensor *x, double low, double high);
/* 0 where |x| <= lambda */
gradc_tensor *gradc_hardshrink(gradc *g, gradc_tensor *x, double lambda);
/* x moved towards 0 by lambda */
gradc_tensor *gradc_softshrink(gradc *g, gradc_tensor *x, double lambda);
gradc_tensor *gradc_tanhshrink(gradc *g, gradc_tensor *x); /* x - tanh(x) */
/* torch: 1, 20 */
gradc_tensor *gradc_softplus(gradc *g, gradc_tensor *x, double beta, double threshold);
gradc_tensor *gradc_softsign(gradc *g, gradc_tensor *x); /* x/(1 + |x|) */
/* x above threshold, else value */
gradc_tensor *gradc_threshold(gradc *g, gradc_tensor *x, double threshold, double value);
gradc_tensor *gradc_softmax(gradc *g, gradc_tensor *x, int dim); /* sums to 1 along dim */
/* The logarithm of softmax, without overflow. */
gradc_tensor *gradc_log_softmax(gradc *g, gradc_tensor *x, int dim);

/* ---- Reductions over dims (none: all); keepdim keeps them with extent 1 ---- */

/* Integers and bool: i64. */
gradc_tensor *gradc_sum(gradc *g, gradc_tensor *x, gradc_shape dims, int keepdim);
gradc_tensor *gradc_prod(gradc *g, gradc_tensor *x, gradc_shape dims, int keepdim);
gradc_tensor *gradc_mean(gradc *g, gradc_tensor *x, gradc_shape dims, int keepdim); /* float */
/* Ties share the gradient. */
gradc_tensor *gradc_amax(gradc *g, gradc_tensor *x, gradc_shape dims, int keepdim);
gradc_tensor *gradc_amin(gradc *g, gradc_tensor *x, gradc_shape dims, int keepdim);
gradc_tensor *gradc_any(gradc *g, gradc_tensor *x, gradc_shape dims, int keepdim);  /* bool */
gradc_tensor *gradc_all(gradc *g, gradc_tensor *x, gradc_shape dims, int keepdim);
/* Without overflow. */
gradc_tensor *gradc_logsumexp(gradc *g, gradc_tensor *x, gradc_shape dims, int keepdim);
/* Divided by count - correction; torch's default is 1. */
gradc_tensor *gradc_var(gradc *g, gradc_tensor *x, gradc_shape dims, int64_t correction,
                        int keepdim);
gradc_tensor *gradc_std(gradc *g, gradc_tensor *x, gradc_shape dims, int64_t correction,
                        int keepdim);
/* (sum |x|^p)^(1/p); p may be INFINITY; 0 counts the nonzero elements. */
gradc_tensor *gradc_norm(gradc *g, gradc_tensor *x, double p, gradc_shape dims, int keepdim);
/* Largest or smallest along dim; its position (i64) goes to *indices unless that is NULL. The first
 * of equal ones; NaN wins. */
gradc_tensor *gradc_max(gradc *g, gradc_tensor *x, int dim, int keepdim, gradc_tensor **indices);
gradc_tensor *gradc_min(gradc *g, gradc_tensor *x, int dim, int keepdim, gradc_tensor **indices);
/* The position alone. */
gradc_tensor *gradc_argmax(gradc *g, gradc_tensor *x, int dim, int keepdim);
gradc_tensor *gradc_argmin(gradc *g, gradc_tensor *x, int dim, int keepdim);
/* Running sum and product along dim. */
gradc_tensor *gradc_cumsum(gradc *g, gradc_tensor *x, int dim);
gradc_tensor *gradc_cumprod(gradc *g, gradc_tensor *x, int dim);
/* Stable sort along dim; positions go to *indices unless that is NULL. */
gradc_tensor *gradc_sort(gradc *g, gradc_tensor *x, int dim, int descending,
                         gradc_tensor **indices);
gradc_tensor *gradc_argsort(gradc *g, gradc_tensor *x, int dim, int descending);
/* The k largest (or smallest) along dim, in order. */
gradc_tensor *gradc_topk(gradc *g, gradc_tensor *x, int64_t k, int dim, int largest,
                         gradc_tensor **indices);

/* ---- Shape: the same elements, or some of them ---- */

/* One extent may be -1: inferred. view is reshape: tensors never observably share elements. */
gradc_tensor *gradc_reshape(gradc *g, gradc_tensor *x, gradc_shape shape);
gradc_tensor *gradc_view(gradc *g, gradc_tensor *x, gradc_shape shape);
/* Dimensions first to last become one. */
gradc_tensor *gradc_flatten(gradc *g, gradc_tensor *x, int first, int last);
/* Dimension i is dims[i] of x. */
gradc_tensor *gradc_permute(gradc *g, gradc_tensor *x, gradc_shape dims);
/* Swaps two dimensions. */
gradc_tensor *gradc_transpose(gradc *g, gradc_tensor *x, int dim0, int dim1);
gradc_tensor *gradc_t(gradc *g, gradc_tensor *x);                           /* of rank 2 or less */
/* Removes those of dims whose extent is 1. */
gradc_tensor *gradc_squeeze(gradc *g, gradc_tensor *x, gradc_shape dims);
gradc_tensor *gradc_unsqueeze(gradc *g, gradc_tensor *x, int dim); /* a new one of extent 1 there */
gradc_tensor *gradc_expand(gradc *g, gradc_tensor *x, gradc_shape shape);   /* -1: as it is */
/* `length` elements from start on. */
gradc_tensor *gradc_narrow(gradc *g, gradc_tensor *x, int dim, int64_t start, int64_t length);
/* As x[start:end:step]. */
gradc_tensor *gradc_slice(gradc *g, gradc_tensor *x, int dim, int64_t start, int64_t end,
                          int64_t step);
/* Element `index` of dim, which is removed. */
gradc_tensor *gradc_select(gradc *g, gradc_tensor *x, int dim, int64_t index);
gradc_tensor *gradc_flip(gradc *g, gradc_tensor *x, gradc_shape dims); /* in reverse along dims */
/* Elements shifted off the end enter at the start. */
gradc_tensor *gradc_roll(gradc *g, gradc_tensor *x, int64_t shift, int dim);
/* times[i] copies along dimension i. */
gradc_tensor *gradc_repeat(gradc *g, gradc_tensor *x, gradc_shape times);
/* [.., r, c]: zero above the diagonal */
gradc_tensor *gradc_tril(gradc *g, gradc_tensor *x, int64_t diagonal);
gradc_tensor *gradc_triu(gradc *g, gradc_tensor *x, int64_t diagonal); /* zero below it */
/* pads: (low, high) of the last dimension, then of the one before, … as in torch; negative ones
 * crop. */
gradc_tensor *gradc_pad(gradc *g, gradc_tensor *x, gradc_shape pads, double value);
/* Along an existing dimension. */
gradc_tensor *gradc_cat(gradc *g, gradc_tensor *const *x, int n, int dim);
/* Along a new dimension. */
gradc_tensor *gradc_stack(gradc *g, gradc_tensor *const *x, int n, int dim);
/* Pieces of this size along dim (the last may be smaller), or `chunks` pieces of equal size; into
 * out, which has room for max. Returns their number, or -1 on failure, also if max is too small. */
int gradc_split(gradc *g, gradc_tensor *x, int64_t size, int dim, gradc_tensor **out, int max);
int gradc_chunk(gradc *g, gradc_tensor *x, int64_t chunks, int dim, gradc_tensor **out, int max);
gradc_tensor *gradc_clone(gradc *g, gradc_tensor *x); /* x, recorded */
gradc_tensor *gradc_to(gradc *g, gradc_tensor *x, gradc_dtype dtype); /* of another element type */

/* ---- Indices: i64 or i32, 0 to extent - 1; others are an error when the graph is run ---- */

/* index [n]. */
gradc_tensor *gradc_index_select(gradc *g, gradc_tensor *x, int dim, gradc_tensor *index);
/* The result has index's shape. */
gradc_tensor *gradc_gather(gradc *g, gradc_tensor *x, int dim, gradc_tensor *index);
/* x with from (index's shape, or larger) stored, or added, at index along dim; of equal indices the
 * last is stored. */
gradc_tensor *gradc_scatter(gradc *g, gradc_tensor *x, int dim, gradc_tensor *index,
                            gradc_tensor *from);
gradc_tensor *gradc_scatter_add(gradc *g, gradc_tensor *x, int dim, gradc_tensor *index,
                                gradc_tensor *from);
/* weight [n, d], index […]: […, d]. */
gradc_tensor *gradc_embedding(gradc *g, gradc_tensor *weight, gradc_tensor *index);
/* i64 […, classes] */
gradc_tensor *gradc_one_hot(gradc *g, gradc_tensor *index, int64_t classes);

/* ---- Layers ---- */

/* x of rank 1 counts as a row, y as a column; leading dimensions broadcast. */
gradc_tensor *gradc_matmul(gradc *g, gradc_tensor *x, gradc_tensor *y);
gradc_tensor *gradc_outer(gradc *g, gradc_tensor *x, gradc_tensor *y); /* of rank 1 each */
/* "bij,bjk->bik" */
gradc_tensor *gradc_einsum(gradc *g, const char *equation, gradc_tensor *const *x, int n);
/* […, i], [o, i], [o] or NULL */
gradc_tensor *gradc_linear(gradc *g, gradc_tensor *x, gradc_tensor *weight, gradc_tensor *bias);
/* x [N, C, …] (or [C, …]), weight [O, C/groups, k…], bias [O] or NULL. stride, padding, dilation:
 * one number for all dimensions, or one each; GRADC_DIMS() is 1, 0, 1. */
gradc_tensor *gradc_conv1d(gradc *g, gradc_tensor *x, gradc_tensor *weight, gradc_tensor *bias,
                           gradc_shape stride, gradc_shape padding, gradc_shape dilation,
                           int64_t groups);
gradc_tensor *gradc_conv2d(gradc *g, gradc_tensor *x, gradc_tensor *weight, gradc_tensor *bias,
                           gradc_shape stride, gradc_shape padding, gradc_shape dilation,
                           int64_t groups);
gradc_tensor *gradc_conv3d(gradc *g, gradc_tensor *x, gradc_tensor *weight, gradc_tensor *bias,
                           gradc_shape stride, gradc_shape padding, gradc_shape dilation,
                           int64_t groups);
/* weight [C, O/groups, k…]. */
gradc_tensor *gradc_conv_transpose1d(gradc *g, gradc_tensor *x, gradc_tensor *weight,
                                     gradc_tensor *bias, gradc_shape stride, gradc_shape padding,
                                     gradc_shape output_padding, int64_t groups,
                                     gradc_shape dilation);
gradc_tensor *gradc_conv_transpose2d(gradc *g, gradc_tensor *x, gradc_tensor *weight,
                                     gradc_tensor *bias, gradc_shape stride, gradc_shape padding,
                                     gradc_shape output_padding, int64_t groups,
                                     gradc_shape dilation);
gradc_tensor *gradc_conv_transpose3d(gradc *g, gradc_tensor *x, gradc_tensor *weight,
                                     gradc_tensor *bias, gradc_shape stride, gradc_shape padding,
                                     gradc_shape output_padding, int64_t groups,
                                     gradc_shape dilation);
/* stride GRADC_DIMS(): the kernel's extents. */
gradc_tensor *gradc_max_pool1d(gradc *g, gradc_tensor *x, gradc_shape kernel, gradc_shape stride,
                               gradc_shape padding, gradc_shape dilation, int ceil_mode);
gradc_tensor *gradc_max_pool2d(gradc *g, gradc_tensor *x, gradc_shape kernel, gradc_shape stride,
                               gradc_shape padding, gradc_shape dilation, int ceil_mode);
gradc_tensor *gradc_max_pool3d(gradc *g, gradc_tensor *x, gradc_shape kernel, gradc_shape stride,
                               gradc_shape padding, gradc_shape dilation, int ceil_mode);
gradc_tensor *gradc_avg_pool1d(gradc *g, gradc_tensor *x, gradc_shape kernel, gradc_shape stride,
                               gradc_shape padding, int ceil_mode, int count_include_pad);
gradc_tensor *gradc_avg_pool2d(gradc *g, gradc_tensor *x, gradc_shape kernel, gradc_shape stride,
                               gradc_shape padding, int ceil_mode, int count_include_pad);
gradc_tensor *gradc_avg_pool3d(gradc *g, gradc_tensor *x, gradc_shape kernel, gradc_shape stride,
                               gradc_shape padding, int ceil_mode, int count_include_pad);
/* To these extents (-1: unchanged), from windows of nearly equal size. */
gradc_tensor *gradc_adaptive_avg_pool1d(gradc *g, gradc_tensor *x, gradc_shape out);
gradc_tensor *gradc_adaptive_avg_pool2d(gradc *g, gradc_tensor *x, gradc_shape out);
gradc_tensor *gradc_adaptive_avg_pool3d(gradc *g, gradc_tensor *x, gradc_shape out);
/* x [N, C, …]; the others [C] or NULL. With training, normalises by the batch's statistics and
 * moves mean and variance (buffers, or NULL) towards them by momentum, the variance with divisor
 * count - 1; else normalises by mean and variance. */
gradc_tensor *gradc_batch_norm(gradc *g, gradc_tensor *x, gradc_tensor *mean,
                               gradc_tensor *variance, gradc_tensor *weight, gradc_tensor *bias,
                               int training, double momentum, double eps);
/* Over the last dimensions, which have this shape; weight and bias have it too, or are NULL. */
gradc_tensor *gradc_layer_norm(gradc *g, gradc_tensor *x, gradc_shape shape, gradc_tensor *weight,
                               gradc_tensor *bias, double eps);
gradc_tensor *gradc_rms_norm(gradc *g, gradc_tensor *x, gradc_shape shape, gradc_tensor *weight,
                             double eps);
/* x [N, C, …]; weight, bias [C] or NULL. */
gradc_tensor *gradc_group_norm(gradc *g, gradc_tensor *x, int64_t groups, gradc_tensor *weight,
                               gradc_tensor *bias, double eps);
gradc_tensor *gradc_instance_norm(gradc *g, gradc_tensor *x, gradc_tensor *weight,
                                  gradc_tensor *bias, double eps);
/* With training, sets elements to zero with probability p and multiplies the others by 1/(1 - p);
 * else x. */
gradc_tensor *gradc_dropout(gradc *g, gradc_tensor *x, double p, int training);
/* softmax(q k' / sqrt(e)) v for q […, l, e], k […, s, e], v […, s, f]; mask [.., l, s] (or NULL) is
 * added to the scores, or if bool selects the positions that are seen; causal: position i sees 0 to
 * i. */
gradc_tensor *gradc_scaled_dot_product_attention(gradc *g, gradc_tensor *q, gradc_tensor *k,
                                                 gradc_tensor *v, gradc_tensor *mask, int causal);

/* ---- Losses ---- */

enum { GRADC_NONE, GRADC_MEAN, GRADC_SUM }; /* how a loss is reduced */
/* With d the difference of an element to its target: d^2; |d|; d^2/(2 beta) for |d| below beta,
 * then |d| - beta/2; huber_loss is that times beta, which it calls delta. */
gradc_tensor *gradc_mse_loss(gradc *g, gradc_tensor *x, gradc_tensor *target, int reduction);
gradc_tensor *gradc_l1_loss(gradc *g, gradc_tensor *x, gradc_tensor *target, int reduction);
gradc_tensor *gradc_smooth_l1_loss(gradc *g, gradc_tensor *x, gradc_tensor *target, int reduction,
                                   double beta);
gradc_tensor *gradc_huber_loss(gradc *g, gradc_tensor *x, gradc_tensor *target, int reduction,
                               double delta);
/* target (log target - x); x: logarithms. */
gradc_tensor *gradc_kl_div(gradc *g, gradc_tensor *x, gradc_tensor *target, int reduction);
/* -(target log x + (1 - target) log(1 - x)), of probabilities x or of their logits. */
gradc_tensor *gradc_binary_cross_entropy(gradc *g, gradc_tensor *x, gradc_tensor *target,
                                         int reduction);
gradc_tensor *gradc_binary_cross_entropy_with_logits(gradc *g, gradc_tensor *x,
                                                     gradc_tensor *target, int reduction);
/* x [N, C, …] (or [C]): scores, or for nll_loss logarithms of probabilities; target: classes
 * [N, …], where -100 is left out of the sum and the mean; or, for cross_entropy, probabilities of
 * x's shape. */
gradc_tensor *gradc_cross_entropy(gradc *g, gradc_tensor *x, gradc_tensor *target, int reduction);
gradc_tensor *gradc_nll_loss(gradc *g, gradc_tensor *x, gradc_tensor *target, int reduction);
/* With one weight per class [C] or NULL, another class to leave out, and label smoothing. */
gradc_tensor *gradc_cross_entropy_weighted(gradc *g, gradc_tensor *x, gradc_tensor *target,
                                           gradc_tensor *weight, int reduction,
                                           int64_t ignore_index, double label_smoothing);

#ifdef __cplusplus
}
template <class... T> inline gradc_shape gradc_shape_list(T... d)
{
    const int64_t all[] = {0, static_cast<int64_t>(d)...};
    return gradc_shape_from(static_cast<int>(sizeof...(d)), all + 1);
}
#endif
#endif
