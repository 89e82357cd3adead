/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * New tensors. They are filled at once: their elements are data of the record, not part of its
 * graph. */
#include "frontend/trace/trace.h"
#include "ir/philox.h"

#include <math.h>

/* What a tensor is filled with. */
typedef struct filling filling;
typedef void fill(gradc *g, ir_literal *l, const filling *f);
struct filling {
    ir_type type;
    fill *fill;
    const void *from;
    double n[3];
    int64_t i[2];
    gradc_tensor *made;
};

static void make(gradc *g, void *user)
{
    filling *f = user;
    gradc_tensor *x = trace_leaf_new(g, trace_top(g), &f->type, NULL);
    x->data = trace_data_new(g, &f->type);
    f->fill(g, &(ir_literal){f->type, x->data->bytes}, f);
    f->made = x;
}

static gradc_tensor *filled(gradc *g, filling f)
{
    trace_try(g, make, &f);
    return f.made;
}

static gradc_tensor *shaped(gradc *g, const char *function, gradc_dtype dtype, gradc_shape shape,
                            filling f)
{
    return g && trace_type(g, function, dtype, shape, &f.type) ? filled(g, f) : NULL;
}

static void fill_copy(gradc *g, ir_literal *l, const filling *f)
{
    (void)g;
    size_t bytes = (size_t)ir_bytes(&l->type);
    if (bytes)
        memcpy(l->data, f->from, bytes);
    for (int64_t i = 0; l->type.dtype == IR_BOOL && i < ir_count(&l->type); i++)
        ((uint8_t *)l->data)[i] = ((const uint8_t *)f->from)[i] != 0;
}

static void fill_same(gradc *g, ir_literal *l, const filling *f)
{
    (void)g;
    size_t bytes = (size_t)ir_bytes(&l->type), one = (size_t)ir_dtypes[l->type.dtype].bytes;
    if (!bytes)
        return;
    ir_literal_set(l, 0, f->n[0]);
    for (size_t at = one; at < bytes; at += one)
        memcpy((char *)l->data + at, l->data, one);
}

/* start, step. */
static void fill_steps(gradc *g, ir_literal *l, const filling *f)
{
    (void)g;
    for (int64_t i = 0; i < ir_count(&l->type); i++)
        ir_literal_set(l, i, f->n[0] + (double)i * f->n[1]);
}

/* start, end: from both ends towards the middle, so that both are exact. */
static void fill_between(gradc *g, ir_literal *l, const filling *f)
{
    (void)g;
    int64_t n = ir_count(&l->type);
    double step = n > 1 ? (f->n[1] - f->n[0]) / (double)(n - 1) : 0;
    for (int64_t i = 0; i < n; i++)
        ir_literal_set(l, i,
                       i < (n + 1) / 2 ? f->n[0] + (double)i * step
                                       : f->n[1] - (double)(n - 1 - i) * step);
}

static void fill_diagonal(gradc *g, ir_literal *l, const filling *f)
{
    (void)g, (void)f;
    int64_t rows = l->type.dim[0], columns = l->type.dim[1];
    memset(l->data, 0, (size_t)ir_bytes(&l->type));
    for (int64_t i = 0; i < rows && i < columns; i++)
        ir_literal_set(l, i * columns + i, 1);
}

/* ---- Random numbers: word i of a draw, as random_bits computes it ---- */

typedef struct words {
    uint64_t seed, call;
    int64_t block; /* the block that w holds */
    uint32_t w[4];
} words;

static words words_new(gradc *g)
{
    return (words){.seed = g->seed, .call = g->calls++, .block = -1};
}

static uint32_t word(words *r, int64_t i)
{
    if (i / 4 != r->block) {
        r->block = i / 4;
        r->w[0] = (uint32_t)r->block;
        r->w[1] = (uint32_t)r->call;
        r->w[2] = (uint32_t)(r->call >> 32);
        r->w[3] = 0;
        ir_philox((uint32_t)r->seed, (uint32_t)(r->seed >> 32), r->w);
    }
    return r->w[i % 4];
}

/* As many bits as the type's significand, so that no number is rounded up to 1. */
static void fill_uniform(gradc *g, ir_literal *l, const filling *f)
{
    (void)f;
    words r = words_new(g);
    int digits = l->type.dtype == IR_F16 ? 11 : l->type.dtype == IR_BF16 ? 8 : 24;
    for (int64_t i = 0; i < ir_count(&l->type); i++) {
        if (l->type.dtype == IR_F64) {
            uint64_t high = word(&r, 2 * i), low = word(&r, 2 * i + 1);
            ir_literal_set(l, i, ldexp((double)((high << 32 | low) >> 11), -53));
        } else {
            ir_literal_set(l, i, ldexp((double)(word(&r, i) >> (32 - digits)), -digits));
        }
    }
}

/* Box-Muller: two words make two numbers. */
static void fill_normal(gradc *g, ir_literal *l, const filling *f)
{
    (void)f;
    words r = words_new(g);
    for (int64_t i = 0; i < ir_count(&l->type); i++) {
        double u = ((double)word(&r, i & ~(int64_t)1) + 1) / 4294967296.0,
               v = word(&r, i | 1) / 4294967296.0;
        double radius = sqrt(-2 * log(u)), angle = 6.28318530717958647693 * v;
        ir_literal_set(l, i, radius * (i % 2 ? sin(angle) : cos(angle)));
    }
}

static void fill_integers(gradc *g, ir_literal *l, const filling *f)
{
    words r = words_new(g);
    uint64_t range = (uint64_t)f->i[1] - (uint64_t)f->i[0];
    for (int64_t i = 0; i < ir_count(&l->type); i++) {
        uint64_t high = word(&r, 2 * i), low = word(&r, 2 * i + 1);
        ir_literal_set_int(
            l, i,
            (int64_t)((uint64_t)f->i[0] +
                      (uint64_t)((unsigned __int128)(high << 32 | low) * range >> 64)));
    }
}

/* ---- The public functions ---- */

gradc_tensor *gradc_from(gradc *g, gradc_dtype dtype, gradc_shape shape, const void *data)
{
    ir_type t;
    if (!g || !trace_type(g, "gradc_from", dtype, shape, &t))
        return NULL;
    if (!data && ir_bytes(&t)) {
        trace_error(g, "gradc_from", "data is NULL");
        return NULL;
    }
    return filled(g, (filling){.type = t, .fill = fill_copy, .from = data});
}

gradc_tensor *gradc_full(gradc *g, gradc_dtype dtype, gradc_shape shape, double value)
{
    return shaped(g, "gradc_full", dtype, shape, (filling){.fill = fill_same, .n = {value}});
}

gradc_tensor *gradc_ones(gradc *g, gradc_dtype dtype, gradc_shape shape)
{
    return shaped(g, "gradc_ones", dtype, shape, (filling){.fill = fill_same, .n = {1}});
}

gradc_tensor *gradc_zeros(gradc *g, gradc_dtype dtype, gradc_shape shape)
{
    return shaped(g, "gradc_zeros", dtype, shape, (filling){.fill = fill_same});
}

gradc_tensor *gradc_scalar(gradc *g, gradc_dtype dtype, double value)
{
    return shaped(g, "gradc_scalar", dtype, GRADC_SHAPE(),
                  (filling){.fill = fill_same, .n = {value}});
}

gradc_tensor *gradc_arange(gradc *g, gradc_dtype dtype, double start, double end, double step)
{
    double n = ceil((end - start) / step);
    if (!g)
        return NULL;
    if (!(n >= 0 && n < (double)IR_MAX_TENSOR_BYTES)) {
        trace_error(g, "gradc_arange", "invalid range: %g to %g by %g", start, end, step);
        return NULL;
    }
    return shaped(g, "gradc_arange", dtype, GRADC_SHAPE((int64_t)n),
                  (filling){.fill = fill_steps, .n = {start, step}});
}

gradc_tensor *gradc_linspace(gradc *g, gradc_dtype dtype, double start, double end, int64_t steps)
{
    return shaped(g, "gradc_linspace", dtype, GRADC_SHAPE(steps),
                  (filling){.fill = fill_between, .n = {start, end}});
}

gradc_tensor *gradc_eye(gradc *g, gradc_dtype dtype, int64_t rows, int64_t columns)
{
    return shaped(g, "gradc_eye", dtype, GRADC_SHAPE(rows, columns),
                  (filling){.fill = fill_diagonal});
}

static gradc_tensor *random_floats(gradc *g, const char *function, gradc_dtype dtype,
                                   gradc_shape shape, fill *how)
{
    ir_type t;
    if (!g || !trace_type(g, function, dtype, shape, &t))
        return NULL;
    if (!ir_is_float(t.dtype)) {
        trace_error(g, function, "expected a float type, got %s", ir_dtypes[t.dtype].name);
        return NULL;
    }
    return filled(g, (filling){.type = t, .fill = how});
}

gradc_tensor *gradc_rand(gradc *g, gradc_dtype dtype, gradc_shape shape)
{
    return random_floats(g, "gradc_rand", dtype, shape, fill_uniform);
}

gradc_tensor *gradc_randn(gradc *g, gradc_dtype dtype, gradc_shape shape)
{
    return random_floats(g, "gradc_randn", dtype, shape, fill_normal);
}

gradc_tensor *gradc_randint(gradc *g, gradc_dtype dtype, gradc_shape shape, int64_t low,
                            int64_t high)
{
    if (g && low >= high) {
        trace_error(g, "gradc_randint", "expected low < high, got %lld and %lld", (long long)low,
                    (long long)high);
        return NULL;
    }
    return shaped(g, "gradc_randint", dtype, shape,
                  (filling){.fill = fill_integers, .i = {low, high}});
}

/* With the element type and shape of another tensor. */
#define LIKE(name, ...)                                                           \
    {                                                                             \
        if (!g || (!x && g->failed) || !trace_mine(g, "gradc_" #name "_like", x)) \
            return NULL;                                                          \
        return gradc_##name(g, gradc_dtype_of(x), gradc_shape_of(x) __VA_ARGS__); \
    }
gradc_tensor *gradc_full_like(gradc *g, gradc_tensor *x, double value) LIKE(full, , value)
gradc_tensor *gradc_ones_like(gradc *g, gradc_tensor *x) LIKE(ones)
gradc_tensor *gradc_zeros_like(gradc *g, gradc_tensor *x) LIKE(zeros)
gradc_tensor *gradc_rand_like(gradc *g, gradc_tensor *x) LIKE(rand)
gradc_tensor *gradc_randn_like(gradc *g, gradc_tensor *x) LIKE(randn)

static void make_input(gradc *g, void *user)
{
    filling *f = user;
    f->made = trace_leaf_new(g, trace_top(g), &f->type, NULL);
    f->made->name = base_strdup(f->made->home->arena, f->from);
    f->made->role = TRACE_INPUT;
    f->made->symbolic = true;
}

gradc_tensor *gradc_input(gradc *g, const char *name, gradc_dtype dtype, gradc_shape shape)
{
    filling f = {.from = name};
    if (!g || !trace_type(g, "gradc_input", dtype, shape, &f.type) ||
        !trace_name_ok(g, "gradc_input", name))
        return NULL;
    trace_try(g, make_input, &f);
    return f.made;
}
