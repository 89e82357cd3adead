/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Contraction kernels of sizes at which they pack, tile and transpose their operands: random
 * dot_generals and convolutions, operands stored in any order of dimensions, expressions before and
 * after, compiled for each processor level that runs here, for one thread and for three, against
 * the evaluator. All numbers are small integers, so sums in any order are exact. */
#define _GNU_SOURCE /* names of registers */
#include "gradc_rt.h"
#include "schedule/schedule.h"
#include "tests/amx.h"
#include "tests/levels.h"
#include "tests/tiny_model.h"

#include <math.h>

enum { SEEDS = 80, PARTS = 4 };

static uint64_t state;

static int64_t draw(int64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int64_t)(state >> 20) % n;
}

/* ---- Random kernels ---- */

static ir_ints shuffled(ir_builder *b, int n, int from)
{
    int64_t v[IR_MAX_RANK];
    for (int i = 0; i < n; i++)
        v[i] = i;
    for (int i = n - 1; i > from; i--) {
        int64_t j = from + draw(i + 1 - from), swap = v[i];
        v[i] = v[j];
        v[j] = swap;
    }
    return ir_ints_of(b, n, v);
}

/* A parameter stored in any order. */
static ir_value *stored(ir_builder *b, const char *name, ir_dtype t, int rank, const int64_t *dim)
{
    ir_type type = ir_type_of(t, rank, dim);
    ir_state *s = ir_state_new(b->func->module, name, IR_PARAM, &type);
    s->init = ir_literal_new(arena, &type);
    for (int64_t i = 0; i < ir_count(&type); i++) /* bytes of all values, and rather the extremes */
        if (ir_is_float(t))
            ir_literal_set(s->init, i, (double)(draw(5) - 2));
        else
            ir_literal_set_int(s->init, i, draw(3) ? draw(256) - 128 : draw(2) ? 127 : 128);
    s->order = draw(3) ? shuffled(b, rank, 0) : (ir_ints){0};
    s->ordered = true;
    ir_value *v = ir_add_state(b->func, s);
    return draw(3) ? v : ir_neg(b, v);
}

/* One of integers from -most to most, in the order of its dimensions. */
static ir_value *small_integers(ir_builder *b, const char *name, const ir_type *t, int64_t most)
{
    ir_state *s = ir_state_new(b->func->module, name, IR_PARAM, t);
    s->init = ir_literal_new(arena, t);
    for (int64_t i = 0; i < ir_count(t); i++)
        ir_literal_set(s->init, i, (double)(draw(2 * most + 1) - most));
    return ir_add_state(b->func, s);
}

static ir_value *operand(ir_builder *b, const char *name, ir_dtype t, int rank, const int64_t *dim,
                         int views);

/* Dimension d in `times` repetitions, between others or inside it. */
static ir_value *repeated(ir_builder *b, const char *name, ir_dtype t, int rank, const int64_t *dim,
                          int d, int views)
{
    int64_t times = dim[d], base[IR_MAX_RANK], wide[IR_MAX_RANK], place[IR_MAX_RANK];
    int inside = (int)draw(2);
    for (int64_t k = 2; k < dim[d]; k++)
        times = dim[d] % k == 0 && draw(2) ? k : times;
    memcpy(base, dim, (size_t)rank * sizeof *base);
    base[d] /= times;
    for (int i = 0, k = 0; i < rank + 1; i++) {
        wide[i] = i == d + inside ? times : base[k];
        if (i != d + inside)
            place[k++] = i;
    }
    ir_value *v = ir_broadcast(b, operand(b, name, t, rank, base, views), rank + 1, wide, place);
    return ir_reshape(b, v, rank, dim);
}

/* A value of this shape, which a random chain of views makes of a stored one: broadcast, reversed,
 * sliced, transposed. */
static ir_value *operand(ir_builder *b, const char *name, ir_dtype t, int rank, const int64_t *dim,
                         int views)
{
    int64_t d = draw(rank ? rank : 1), base[IR_MAX_RANK], zero[IR_MAX_RANK] = {0},
            step[IR_MAX_RANK];
    if (!views || !rank || draw(3) == 0)
        return stored(b, name, t, rank, dim);
    for (int i = 0; i < rank; i++) {
        base[i] = dim[i];
        step[i] = 1;
    }
    switch (draw(4)) {
    case 0: return repeated(b, name, t, rank, dim, (int)d, views - 1);
    case 1: return ir_reverse(b, operand(b, name, t, rank, dim, views - 1), 1, &d);
    case 2:
        step[d] = 1 + draw(2);
        base[d] = dim[d] * step[d];
        return ir_slice(b, operand(b, name, t, rank, base, views - 1), zero, base, step);
    default: {
        ir_ints perm = shuffled(b, rank, 0);
        for (int i = 0; i < rank; i++)
            base[perm.v[i]] = dim[i];
        return ir_transpose(b, operand(b, name, t, rank, base, views - 1), perm.v);
    }
    }
}

/* Some values that the contraction depends on are results too, so that they are in memory. */
static void also_results(ir_func *f)
{
    int n = 0;
    IR_FOR (inst, f)
        if (draw(4) == 0 && n < 3) /* one each of these names */
            ir_add_output(f, (const char *[]){"v0", "v1", "v2"}[n++], inst->result[0]);
}

/* Of a contraction: IR_BOOL: summed in the operands' own. */
typedef struct types {
    ir_dtype of[2], sum;
} types;

/* Extents around the tile sizes of kernels, mostly small. */
static int64_t extent(void)
{
    static const int64_t often[] = {1, 2, 3, 5, 7, 8, 12, 15, 16, 17, 24, 31, 33, 48, 50, 64};
    return often[draw(16)];
}

/* [batch], rows in one or two dimensions, contracted in one or two, columns: in any order of
 * dimensions. */
static ir_value *dot(ir_builder *b, const types *t)
{
    int64_t batch = draw(3) ? 0 : 1 + draw(3), rows[2] = {extent()}, k[2] = {extent()},
            columns = extent();
    rows[1] = draw(2) ? 1 + draw(5) : 1;
    k[0] *= 1 + draw(9);
    k[1] = draw(3) ? 1 : 2 + draw(4);
    if (rows[0] * rows[1] * k[0] * k[1] * columns > 600000)
        k[0] = 5;
    if (draw(3) == 0) { /* many products, of which a block takes a part */
        rows[0] = 6 + draw(30);
        rows[1] = 1 + draw(2);
        k[0] = 100 + draw(600);
        k[1] = 1 + draw(2);
        columns = 8 + draw(30);
    }
    const int64_t dims[2][6] = {{batch, rows[0], rows[1], k[0], k[1]},
                                {batch, k[0], k[1], columns}};
    const int role[2][6] = {{0, 1, 1, 2, 3}, {0, 2, 3, 1}}, count[2] = {5, 4};
    ir_value *v[2];
    int64_t at[2][4], shape[IR_MAX_RANK];
    for (int s = 0; s < 2; s++) {
        ir_ints order = shuffled(b, count[s], 0);
        int n = 0;
        for (int i = 0; i < count[s]; i++)
            if (dims[s][order.v[i]]) {
                at[s][role[s][order.v[i]]] = n;
                shape[n++] = dims[s][order.v[i]];
            }
        v[s] = operand(b, s ? "w" : "x", t->of[s], n, shape, 4);
    }
    return ir_dot_general_in(b, t->sum, v[0], v[1], batch != 0, &at[0][0], &at[1][0], 2, &at[0][2],
                             &at[1][2]);
}

static ir_value *convolved(ir_builder *b, const types *t)
{
    int64_t n = 1 + draw(3), groups = draw(4) ? 1 : 2 + draw(8),
            each_in = groups > 1 ? 1 + draw(2) : extent(),
            each_out = groups > 1 ? 1 + draw(2) : extent();
    int64_t h = 4 + draw(9), w = 4 + draw(9), taps[2] = {1 + draw(3)};
    taps[1] = 1 + draw(3);
    bool by_batch = groups > 1 && draw(2);
    if (each_in * each_out * h * w * taps[0] * taps[1] > 200000)
        each_in = 3;
    int64_t lhs[] = {by_batch ? n * groups : n, by_batch ? each_in : each_in * groups, h, w},
            rhs[] = {each_out * groups, each_in, taps[0], taps[1]};
    ir_ints order[3];
    int64_t shape[2][4], small[2], big[2], stride[2], low[2], high[2], spread[2], apart[2];
    for (int i = 0; i < 3; i++)
        order[i] = shuffled(b, 4, 0);
    for (int i = 0; i < 4; i++) {
        shape[0][order[0].v[i]] = lhs[i];
        shape[1][order[1].v[i]] = rhs[i];
    }
    bool dilated = draw(3) == 0;
    for (int i = 0; i < 2; i++) {
        small[i] = draw(2);
        big[i] = draw(3);
        stride[i] = dilated && draw(4) ? 1 : 1 + draw(2);
        spread[i] = dilated ? 1 + draw(3) : 1;
        apart[i] = 1 + draw(2);
        low[i] = small[i] - (draw(8) == 0);
        high[i] = big[i];
    }
    ir_value *x = operand(b, "x", t->of[0], 4, shape[0], 4),
             *y = operand(b, "w", t->of[1], 4, shape[1], 4);
    ir_attrs a = {.convolution = {.lhs = order[0],
                                  .rhs = order[1],
                                  .out = order[2],
                                  .stride = ir_ints_of(b, 2, stride),
                                  .low = ir_ints_of(b, 2, low),
                                  .high = ir_ints_of(b, 2, high),
                                  .lhs_dilation = ir_ints_of(b, 2, spread),
                                  .rhs_dilation = ir_ints_of(b, 2, apart),
                                  .feature_groups = by_batch ? 1 : groups,
                                  .batch_groups = by_batch ? groups : 1,
                                  .accumulate = t->sum}};
    return ir_build1(b, IR_OP_convolution, (ir_value *[]){x, y}, 2, &a);
}

/* The epilogue: a bias, something elementwise; results are the sum and what is made of it. */
static void after(ir_builder *b, ir_value *v)
{
    ir_func *f = b->func;
    ir_type t = v->type;
    if (draw(2)) {
        int64_t d = draw(t.rank ? t.rank : 1);
        ir_value *bias = stored(b, "b", t.dtype, t.rank > 0, t.rank ? &t.dim[d] : NULL);
        v = ir_add(b, v, ir_broadcast(b, bias, t.rank, t.dim, &d));
    }
    if (draw(3) == 0)
        ir_add_output(f, "sum", v);
    if (draw(2))
        v = ir_max(b, v, ir_splat(b, &t, 0));
    if (draw(4) == 0) {
        ir_value *limit = ir_splat(b, &t, 7), *large = ir_compare(b, IR_GT, ir_abs(b, v), limit);
        v = ir_select(b, large, v, ir_mul(b, v, v));
    }
    if (draw(4) == 0) {
        int64_t perm[IR_MAX_RANK];
        memcpy(perm, shuffled(b, t.rank, 0).v, (size_t)t.rank * sizeof *perm);
        v = ir_transpose(b, v, perm);
    }
    ir_add_output(f, "y", v);
}

/* in_own: summed in the type of the operands; else mostly in another. */
static ir_func *random_function(uint64_t seed, bool in_own)
{
    for (state = seed * 0x9E3779B97F4A7C15u + 1;;) {
        static const types plain[] = {{{IR_F32, IR_F32}, IR_BOOL},
                                      {{IR_F32, IR_F32}, IR_BOOL},
                                      {{IR_F32, IR_F32}, IR_F32},
                                      {{IR_F64, IR_F64}, IR_BOOL},
                                      {{IR_BF16, IR_BF16}, IR_BOOL}},
                           mixed[] = {{{IR_I8, IR_I8}, IR_I32},     {{IR_U8, IR_I8}, IR_I32},
                                      {{IR_I8, IR_U8}, IR_I32},     {{IR_U8, IR_U8}, IR_I32},
                                      {{IR_BF16, IR_BF16}, IR_F32}, {{IR_BF16, IR_BF16}, IR_F32},
                                      {{IR_F16, IR_F16}, IR_F32},   {{IR_F32, IR_F32}, IR_F64},
                                      {{IR_I32, IR_I32}, IR_BOOL},  {{IR_I8, IR_I8}, IR_BOOL}};
        ir_module *m = ir_module_new(ctx, arena, "random");
        ir_func *f = ir_func_new(m, "forward");
        f->entry = true;
        ir_builder b = ir_builder_new(f);
        const types *t = in_own ? &plain[draw(5)] : &mixed[draw(10)];
        ir_value *v = draw(2) ? dot(&b, t) : convolved(&b, t);
        if (!v) { /* a window larger than what it slides over */
            *first_error = 0;
            continue;
        }
        if (draw(2))
            also_results(f);
        after(&b, v);
        ir_built(&b);
        return f;
    }
}

/* ---- Compiled ---- */

typedef gradc_rt_status entry2(gradc_rt_ctx *, const void *, const void *);

/* Runs it, results into out; returns whether it calls OpenBLAS. Where `wishes` are refused,
 * *refused is set and nothing is run. */
static bool run_as(const ir_func *f, const char *cpu, bool blas, uint32_t threads, ir_literal **out,
                   const struct sched_wishes *wishes, bool *refused)
{
    cg_spec spec = {f->module, NULL};
    const char *comma = cpu ? strchr(cpu, ',') : NULL,
               *cpus[2] = {comma ? base_strndup(arena, cpu, (size_t)(comma - cpu)) : cpu,
                           comma ? comma + 1 : NULL};
    cg_request r = {.prefix = "tiny",
                    .spec = &spec,
                    .nspecs = 1,
                    .level = 1,
                    .embed = true,
                    .cpu = cpus,
                    .ncpus = comma ? 2 : cpu != NULL,
                    .schedule = wishes,
                    .blas = blas};
    cg_object *o = cg_compile(ctx, arena, &r);
    ck_assert_msg(o != NULL || wishes, "%s", first_error);
    if (!o) {
        ck_assert_msg(*first_error, "refused without a reason");
        *refused = true;
        return false;
    }
    cg_jit *jit = cg_jit_load(ctx, arena, o->bytes, o->size, NULL);
    ck_assert_msg(jit != NULL, "%s", first_error);
    gradc_rt_status (*init)(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *);
    entry2 *entry;
    *(void **)&init = cg_jit_symbol(jit, "tiny_init");
    *(void **)&entry = cg_jit_symbol(jit, "tiny_forward");
    gradc_rt_ctx *rt;
    gradc_rt_options options = {o->id, sizeof options, threads, 1, NULL, 10, 0};
    void *memory = aligned_alloc(64, (size_t)o->sizes.arena), *data[8];
    ck_assert_int_eq(init(&rt, memory, (size_t)o->sizes.arena, &options), GRADC_RT_OK);
    for (int i = 0; i < f->results.count; i++) {
        out[i] = ir_literal_new(arena, &f->results.items[i].value->type);
        data[i] = out[i]->data;
    }
    amx_install();
    ck_assert_int_eq(entry(rt, NULL, data), GRADC_RT_OK);
    gradc_rt_fini(rt);
    free(memory);
    return o->uses_blas;
}

static bool run(const ir_func *f, const char *cpu, bool blas, uint32_t threads, ir_literal **out)
{
    return run_as(f, cpu, blas, threads, out, NULL, NULL);
}

static void equal(uint64_t seed, const ir_func *f, const char *how, ir_literal *const *due,
                  ir_literal *const *got)
{
    for (int i = 0; i < f->results.count; i++)
        for (int64_t k = 0; k < ir_count(&got[i]->type); k++)
            ck_assert_msg(ir_literal_get(got[i], k) == ir_literal_get(due[i], k),
                          "seed %llu, %s: element %lld of %s %s is %g and should be %g",
                          (unsigned long long)seed, how, (long long)k, f->results.items[i].name,
                          ir_type_text(arena, &got[i]->type), ir_literal_get(got[i], k),
                          ir_literal_get(due[i], k));
}

static void check(uint64_t seed, const ir_func *f, const char *cpu, uint32_t threads,
                  ir_literal *const *due)
{
    ir_literal *got[8];
    run(f, cpu, true, threads, got);
    level_ran(cpu ? cpu : "native");
    equal(seed, f, base_format(arena, "%s, %u threads", cpu ? cpu : "native", threads), due, got);
}

/* What the evaluator gives for the initial values of all parameters. */
static void evaluate(const ir_func *f, ir_literal **due)
{
    ir_literal *arg[8];
    for (int i = 0; i < f->params.count; i++)
        arg[i] = f->params.items[i].state->init;
    ir_eval(arena, f, arg, due, NULL);
}

static void run_passes(const ir_func *f)
{
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(f->module, p, true);
}

/* Function `seed` on `native` and on another level. */
static void compare(uint64_t seed, bool in_own, const char *cpu)
{
    context_setup();
    const ir_func *f = random_function(seed, in_own), *g = random_function(seed, in_own);
    ir_literal *due[8]; /* results: sum, y, and three views */
    evaluate(f, due);
    run_passes(g);
    check(seed, g, NULL, 1 + 2 * (unsigned)(seed % 2), due);
    check(seed, g, cpu, 3 - 2 * (unsigned)(seed / 4 % 2), due);
    context_teardown();
}

/* ---- Rows of any length ---- */

/* What ends in a piece of a vector: maps, sums, tiles of a contraction, running sums, scatters. */
static const ir_func *function_of_rows(int64_t n, ir_dtype dtype)
{
    ir_builder b = ir_builder_new(ir_func_new(ir_module_new(ctx, arena, "rows"), "forward"));
    b.func->entry = true;
    state = (uint64_t)n * 31 + dtype;
    const int64_t shape[2] = {3, n}, square[2] = {4, 3}, zero = 0, one = 1;
    const ir_type t = ir_type_of(dtype, 2, shape), w = ir_type_of(dtype, 2, square);
    ir_value *v[2];
    for (int s = 0; s < 2; s++) {
        v[s] = small_integers(&b, s ? "w" : "x", s ? &w : &t, 3);
    }
    ir_value *x = v[0], *square_of = ir_mul(&b, x, x);
    ir_attrs running = {.cumulative = {IR_SUM, 0, 0, 0, 0}};
    ir_value *y[] = {ir_add(&b, square_of, x),
                     ir_reduce(&b, IR_SUM, square_of, 1, &one),
                     ir_reduce(&b, IR_MAX, x, 1, &one),
                     ir_reduce(&b, IR_SUM, x, 1, &zero),
                     ir_build1(&b, IR_OP_cumulative, &x, 1, &running),
                     ir_dot_general(&b, v[1], x, 0, NULL, NULL, 1, &one, &zero)};
    for (int i = 0; i < (int)(sizeof y / sizeof *y); i++)
        ir_add_output(b.func, base_format(arena, "y%d", i), y[i]);
    ir_built(&b);
    return b.func;
}

START_TEST(rows_of_any_length_give_what_the_evaluator_gives)
{
    static const ir_dtype of[] = {IR_F32, IR_F64, IR_I8, IR_I64};
    static const int64_t extents[] = {1,  7,  8,  15, 16, 17, 24,  31,  33,  47,  48,
                                      49, 63, 65, 79, 96, 97, 100, 127, 129, 1000};
    for (int i = 0; i < (int)(sizeof extents / sizeof *extents); i++) {
        context_setup();
        const ir_func *f = function_of_rows(extents[i], of[_i]);
        ir_literal *due[8];
        evaluate(f, due);
        run_passes(f);
        check((uint64_t)extents[i], f, level_by_turn((unsigned)i), 1 + 2 * (unsigned)(i % 2), due);
        context_teardown();
    }
}
END_TEST

START_TEST(random_contractions_give_what_the_evaluator_gives)
{
    for (uint64_t seed = (uint64_t)_i * SEEDS / PARTS; seed < (uint64_t)(_i + 1) * SEEDS / PARTS;
         seed++)
        compare(seed, true, level_by_turn((unsigned)seed));
}
END_TEST

/* A level, or alternately one with features. */
static const char *level_or_features(unsigned turn)
{
    static const char *const more[] = {"x86-64-v3+avxvnni",    "x86-64-v3+avxvnniint8",
                                       "x86-64-v4+avx512vnni", "x86-64-v4+avx512bf16",
                                       "x86-64-v3+amx-int8",   "x86-64-v3+amx-bf16",
                                       "x86-64-v4+amx-int8",   "x86-64-v4+amx-bf16"};
    unsigned n = sizeof more / sizeof *more;
    const char *cpu = turn % 2 ? more[turn / 2 % n] : level_by_turn(turn / 2);
    return level_runs_here(cpu) ? cpu : level_by_turn(turn);
}

START_TEST(random_mixed_contractions_give_what_the_evaluator_gives)
{
    for (uint64_t seed = 5000 + (uint64_t)_i * SEEDS / PARTS;
         seed < 5000 + (uint64_t)(_i + 1) * SEEDS / PARTS; seed++)
        compare(seed, false, level_or_features((unsigned)seed));
}
END_TEST

/* ---- Schedules ---- */

static char *schedule_of(const ir_func *f, const char *cpu)
{
    cg_spec spec = {f->module, NULL};
    cg_request r = {.spec = &spec, .nspecs = 1, .cpu = &cpu, .ncpus = 1};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    ck_assert(cg_print_schedule(ctx, arena, &r, out));
    fclose(out);
    char *copy = base_strdup(arena, text);
    free(text);
    return copy;
}

/* Blocks of any size, with the order of the summed axes that the line has: of one to eight
 * registers of lanes, and numbers of lanes that no level would choose. */
static const char *random_block(const char *line, size_t n)
{
    static const int lanes[] = {1, 3, 4, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128};
    const char *k = base_strndup(arena, line, n), *order = strstr(k, " k=");
    return base_format(arena, "block NR=%d MR=%d MC=%d KC=%d%s unroll=1 pack ",
                       lanes[draw(sizeof lanes / sizeof *lanes)], 1 + (int)draw(6),
                       6 + (int)draw(20), 1 + (int)draw(60),
                       order ? base_strndup(arena, order, 1 + strcspn(order + 1, " ")) : "");
}

/* The same for `dot`, by any instruction. */
static const char *random_dot(const char *line, size_t n)
{
    const char *k = base_strndup(arena, line, n), *order = strstr(k, " k=");
    int NR = 8 << draw(3);
    return base_format(arena, "dot by=%s NR=%d MR=%d MC=%d NC=%d KC=%d%s unroll=1 ",
                       sched_dots[draw(SCHED_DOTS)].name, NR, 1 + (int)draw(draw(2) ? 12 : 32),
                       32 + (int)draw(20), NR * (1 + (int)draw(3)), 64 * (1 + (int)draw(4)),
                       order ? base_strndup(arena, order, 1 + strcspn(order + 1, " ")) : "");
}

/* The text with another number, flag or strategy in a few places. */
static const char *changed(const char *text)
{
    static const char *const
        numbers[] = {"0",  "1",  "2",  "3",  "4",  "6",   "7",   "8",   "12",  "16",
                     "17", "24", "32", "48", "64", "100", "192", "256", "4096"},
        *const words[] = {"pack", "flat", "polymorphic", "block",         "tile",
                          "map",  "dot",  "row",         "epilogue=loop", "epilogue=unrolled",
                          ""};
    char *out = base_strdup(arena, "");
    for (const char *at = text; *at;) {
        size_t line = strcspn(at, "\n"), comment = 0;
        while (comment + 1 < line && strncmp(at + comment, "//", 2))
            comment++;
        bool kernel = at[0] == ' ';
        size_t n = kernel ? comment : line;
        for (size_t i = 0; i < n;) {
            size_t word = i + strcspn(at + i, " =,\n");
            word = word > n ? n : word;
            const char *put = base_strndup(arena, at + i, word - i);
            bool number = i && strchr("=,", at[i - 1]) && word > i;
            if (kernel && (!strcmp(put, "tile") || !strcmp(put, "dot")) && draw(3) == 0) {
                bool dots = !strcmp(put, "dot") && draw(3);
                out = base_format(arena, "%s%s", out,
                                  (dots ? random_dot : random_block)(at + i, n - i));
                break;
            }
            if (kernel && number && draw(8) == 0)
                put = numbers[draw(sizeof numbers / sizeof *numbers)];
            else if (kernel && !number && i > 4 && word > i && at[word] == ' ' && draw(24) == 0)
                put = words[draw(sizeof words / sizeof *words)];
            out = base_format(arena, "%s%s%.*s", out, put, word < n, at + word);
            i = word + 1;
        }
        out = base_format(arena, "%s\n", out);
        at += line + (at[line] != 0);
    }
    return out;
}

/* Sums of narrow integers, whose steps in a packed panel need not be aligned as registers are. */
START_TEST(blocks_of_three_registers_are_loaded_as_they_lie)
{
    static const ir_dtype of[] = {IR_I8, IR_I16, IR_F32};
    static const int registers[] = {1, 3, 5};
    const int64_t shape[2][2] = {{16, 64}, {100, 64}}, one = 1;
    for (int run = 0; run < 9; run++) {
        context_setup();
        const char *cpu = level_by_turn((unsigned)run);
        ir_builder b = ir_builder_new(ir_func_new(ir_module_new(ctx, arena, "narrow"), "forward"));
        b.func->entry = true;
        state = (uint64_t)run;
        ir_value *v[2];
        ir_literal *due[1], *got[1];
        for (int s = 0; s < 2; s++) {
            ir_type t = ir_type_of(of[run / 3], 2, shape[s]);
            v[s] = small_integers(&b, s ? "w" : "x", &t, 1);
        }
        ir_add_output(b.func, "y", ir_dot_general(&b, v[0], v[1], 0, NULL, NULL, 1, &one, &one));
        ir_built(&b);
        evaluate(b.func, due);
        run_passes(b.func);
        const char *plain = schedule_of(b.func, cpu), *level = strstr(plain, "// "),
                   *kernel = strstr(plain, " block ");
        kernel = kernel ? kernel : strstr(plain, " tile ");
        ck_assert_msg(level && kernel, "%s", plain);
        int width = atoi(level + 3) / 4; /* "64 bytes in a vector register" */
        const char *text = base_format(arena, "%.*s block NR=%d MR=4 MC=16 KC=63 unroll=2 pack\n",
                                       (int)(kernel - plain), plain, width * registers[run % 3]);
        bool no = false;
        const struct sched_wishes *w = sched_read(ctx, arena, text, strlen(text), "s.txt");
        ck_assert_msg(w != NULL, "%s", first_error);
        run_as(b.func, cpu, true, 1, got, w, &no);
        ck_assert_msg(!no, "%s\n%s", first_error, text);
        equal((uint64_t)run, b.func, text, due, got);
        context_teardown();
    }
}
END_TEST

#ifdef __x86_64__
/* A product of matrices: several blocks of K, whose last is not whole groups, and rows and lanes
 * that do not fill the tiles. Or a convolution of a dilated input, whose parts differ in rows and
 * products. */
static ir_func *amx_function(const types *t, bool dilated)
{
    static const int64_t shape[2][2] = {{41, 1031}, {1031, 45}}, one = 1, zero = 0,
                         image[2][4] = {{1, 64, 14, 14}, {64, 64, 3, 3}}, two[2] = {1, 1},
                         low[2] = {1, 1}, high[2] = {2, 2}, dilation[2] = {2, 2},
                         order[4] = {0, 1, 2, 3};
    ir_builder b = ir_builder_new(ir_func_new(ir_module_new(ctx, arena, "tiles"), "forward"));
    b.func->entry = true;
    ir_value *v[2];
    for (int s = 0; s < 2; s++)
        v[s] = stored(&b, s ? "w" : "x", t->of[s], dilated ? 4 : 2, dilated ? image[s] : shape[s]);
    ir_ints four = ir_ints_of(&b, 4, order), ones = ir_ints_of(&b, 2, two);
    ir_attrs a = {.convolution = {.lhs = four,
                                  .rhs = four,
                                  .out = four,
                                  .stride = ones,
                                  .low = ir_ints_of(&b, 2, low),
                                  .high = ir_ints_of(&b, 2, high),
                                  .lhs_dilation = ir_ints_of(&b, 2, dilation),
                                  .rhs_dilation = ones,
                                  .feature_groups = 1,
                                  .batch_groups = 1,
                                  .accumulate = t->sum}};
    ir_add_output(b.func, "y",
                  dilated
                      ? ir_build1(&b, IR_OP_convolution, v, 2, &a)
                      : ir_dot_general_in(&b, t->sum, v[0], v[1], 0, NULL, NULL, 1, &one, &zero));
    ir_built(&b);
    return b.func;
}

/* On both levels, for every pair of signs and for bf16. */
START_TEST(tiles_of_amx_give_what_the_evaluator_gives)
{
    static const types pairs[] = {{{IR_I8, IR_I8}, IR_I32},
                                  {{IR_I8, IR_U8}, IR_I32},
                                  {{IR_U8, IR_I8}, IR_I32},
                                  {{IR_U8, IR_U8}, IR_I32},
                                  {{IR_BF16, IR_BF16}, IR_F32}};
    const types *t = &pairs[_i / 2];
    for (int dilated = 0; dilated < 2; dilated++) {
        char cpu[24];
        snprintf(cpu, sizeof cpu, "x86-64-v%d+amx-%s", 3 + _i % 2,
                 t->sum == IR_I32 ? "int8" : "bf16");
        if (!level_runs_here(cpu))
            continue;
        context_setup();
        state = (uint64_t)_i + 1;
        const ir_func *f = amx_function(t, dilated);
        ir_literal *due[1], *got[1];
        evaluate(f, due);
        run_passes(f);
        const char *text = schedule_of(f, cpu);
        ck_assert_msg(strstr(text, "by=amx"), "%s", text);
        amx_emulated = 0;
        run(f, cpu, true, 2, got);
        ck_assert(amx_emulated || (__real_rt_cpu() & AMX_BITS));
        equal((uint64_t)_i, f, text, due, got);
        context_teardown();
    }
}
END_TEST

START_TEST(a_level_whose_registers_are_refused_is_not_taken)
{
    static const types bytes = {{IR_I8, IR_I8}, IR_I32};
    if (!level_runs_here("x86-64-v3"))
        return;
    context_setup();
    state = 1;
    const ir_func *f = amx_function(&bytes, false);
    ir_literal *due[1], *got[1];
    evaluate(f, due);
    run_passes(f);
    amx_refused = true;
    amx_emulated = 0;
    run(f, "x86-64-v3+amx-int8,x86-64-v3", true, 1, got);
    amx_refused = false;
    ck_assert_int_eq(amx_emulated, 0);
    equal(0, f, "the second level", due, got);
    context_teardown();
}
END_TEST
#endif

/* A schedule is applied and the sums stay the same, or it is refused with a reason. */
START_TEST(random_schedules_are_obeyed_or_refused)
{
    enum { CHANGES = 6 };
    int obeyed = 0, refused = 0;
    for (uint64_t seed = 1000 + (uint64_t)_i * SEEDS / PARTS;
         seed < 1000 + (uint64_t)(_i + 1) * SEEDS / PARTS; seed++) {
        context_setup();
        const ir_func *f = random_function(seed, seed % 2), *g = random_function(seed, seed % 2);
        const char *cpu = level_or_features((unsigned)(seed / 2));
        ir_literal *due[8], *got[8];
        evaluate(f, due);
        run_passes(g);
        const char *plain = schedule_of(g, cpu);
        for (int k = 0; k < CHANGES; k++) {
            const char *text = k ? changed(plain) : plain;
            bool no = false;
            *first_error = 0;
            const struct sched_wishes *w = sched_read(ctx, arena, text, strlen(text), "s.txt");
            ck_assert_msg(w || (k && *first_error), "%s\n%s", first_error, text);
            if (w)
                run_as(g, cpu, true, 1 + 2 * (unsigned)(k & 1), got, w, &no);
            ck_assert_msg(k || !no, "its own schedule is refused: %s\n%s", first_error, text);
            *(w && !no ? &obeyed : &refused) += 1;
            if (w && !no)
                equal(seed, f, base_format(arena, "%s, as\n%s", cpu, text), due, got);
        }
        context_teardown();
    }
    ck_assert_int_gt(obeyed, SEEDS / PARTS);
    ck_assert_int_gt(refused, SEEDS / PARTS);
}
END_TEST

#ifdef __x86_64__
/* Just large enough for OpenBLAS, and a little larger; operands are transposed or not, alone or in
 * a batch. */
static ir_func *large_function(int number)
{
    bool turned[2] = {number & 1, number & 2}, batched = number == 3, wide = number == 2;
    int64_t lhs[] = {2, 1030, 770}, rhs[] = {2, 770, 515};
    ir_builder b = ir_builder_new(ir_func_new(ir_module_new(ctx, arena, "large"), "forward"));
    b.func->entry = true;
    ir_value *v[2];
    for (int s = 0; s < 2; s++) {
        int64_t *dim = s ? rhs : lhs, shape[3] = {dim[0], dim[1 + turned[s]], dim[2 - turned[s]]};
        ir_type t = ir_type_of(wide ? IR_F64 : IR_F32, batched ? 3 : 2, shape + !batched);
        v[s] = small_integers(&b, s ? "w" : "x", &t, 2);
    }
    int64_t zero = 0, k[2] = {batched + !turned[0], batched + turned[1]};
    after(&b, ir_dot_general(&b, v[0], v[1], batched, &zero, &zero, 1, &k[0], &k[1]));
    ir_built(&b);
    return b.func;
}

/* Against blocks, which are checked against the evaluator. */
START_TEST(large_products_are_left_to_openblas)
{
    for (int number = 1; number < 4 && level_runs_here("x86-64-v3"); number++) {
        context_setup();
        state = (uint64_t)number * 77 + 5;
        const ir_func *f = large_function(number);
        run_passes(f);
        ir_literal *due[2], *got[2];
        ck_assert_msg(!run(f, "x86-64-v3", false, 2, due), "OpenBLAS was not asked for");
        ck_assert_msg(!run(f, "x86-64", true, 2, got), "of that level it was not measured");
        equal((uint64_t)number, f, "x86-64", due, got);
        ck_assert_msg(run(f, "x86-64-v3", true, 3, got),
                      "product %d is done without OpenBLAS, whose serial build tests need", number);
        equal((uint64_t)number, f, "by OpenBLAS", due, got);
        context_teardown();
    }
}
END_TEST
#endif

int main(void)
{
    Suite *s = suite_create("kernels");
    TCase *c = tcase_create("contractions");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, random_contractions_give_what_the_evaluator_gives, 0, PARTS);
    tcase_add_loop_test(c, random_mixed_contractions_give_what_the_evaluator_gives, 0, PARTS);
    tcase_add_loop_test(c, random_schedules_are_obeyed_or_refused, 0, PARTS);
    tcase_add_test(c, blocks_of_three_registers_are_loaded_as_they_lie);
    tcase_add_loop_test(c, rows_of_any_length_give_what_the_evaluator_gives, 0, 4);
#ifdef __x86_64__
    tcase_add_test(c, large_products_are_left_to_openblas);
#endif
    suite_add_tcase(s, c);
#ifdef __x86_64__
    TCase *amx_case = tcase_create("amx");
    tcase_set_timeout(amx_case, 120);
    tcase_add_loop_test(amx_case, tiles_of_amx_give_what_the_evaluator_gives, 0, 10);
    tcase_add_test(amx_case, a_level_whose_registers_are_refused_is_not_taken);
    suite_add_tcase(s, amx_case);
#endif
    return suite_run(s);
}
