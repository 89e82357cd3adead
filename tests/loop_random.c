/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Random loops: the first and second derivatives of a scan against those of the same loop unrolled, on the evaluator, after the
 * rewrites, and compiled.
 * The seed of a failure is in its message. */
#include "api/machine.h"
#include "api/pipeline.h"
#include "tests/gen.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 400, COMPILED = 12, MOST = 8 };

static void more(gen *g, ir_value *v)
{
    if (g->n == POOL) {
        memmove(g->pool, g->pool + 1, (POOL - 1) * sizeof *g->pool);
        g->n--;
    }
    g->pool[g->n++] = v;
}

static ir_value *pick(gen *g)
{
    return g->pool[draw(g, (uint32_t)g->n)];
}

/* A value of v's shape, v itself if there is no other. */
static ir_value *like(gen *g, const ir_value *v)
{
    uint32_t from = draw(g, (uint32_t)g->n);
    for (int i = 0; i < g->n; i++) {
        ir_value *w = g->pool[(from + (uint32_t)i) % (uint32_t)g->n];
        if (w != v && ir_type_eq(&w->type, &v->type))
            return w;
    }
    return (ir_value *)v;
}

static ir_value *element(gen *g)
{
    ir_value *x = pick(g), *y = like(g, x);
    switch (draw(g, 8)) {
    case 0: return ir_add(&g->b, x, y);
    case 1: return ir_sub(&g->b, x, y);
    case 2: return ir_sin(&g->b, ir_mul(&g->b, x, y));
    case 3: return ir_tanh(&g->b, x);
    case 4: return ir_logistic(&g->b, x);
    case 5: return ir_neg(&g->b, x);
    case 6: return ir_select(&g->b, ir_compare(&g->b, IR_LT, x, y), x, ir_sin(&g->b, y));
    default: return ir_max(&g->b, x, y);
    }
}

static ir_value *move(gen *g)
{
    ir_value *x = pick(g);
    int64_t dims[IR_MAX_RANK], from[IR_MAX_RANK] = {0}, to[IR_MAX_RANK] = {0};
    int n = x->type.rank, axis = n ? (int)draw(g, (uint32_t)n) : 0;
    memcpy(dims, x->type.dim, sizeof dims);
    switch (draw(g, 7)) {
    case 0: /* rotate the dimensions */
        for (int i = 0; i < n; i++)
            dims[i] = (i + 1) % n;
        return ir_transpose(&g->b, x, dims);
    case 1: {
        int64_t all = ir_count(&x->type), two[2] = {2, all / 2};
        return all % 2 || draw(g, 2) ? ir_reshape(&g->b, x, 1, &all) : ir_reshape(&g->b, x, 2, two);
    }
    case 2: {
        if (n > 2)
            return x;
        int at = (int)draw(g, (uint32_t)n + 1);
        int64_t shape[IR_MAX_RANK], map[IR_MAX_RANK];
        for (int i = 0, k = 0; i <= n; i++)
            if (i == at) {
                shape[i] = 2 + draw(g, 2);
            } else {
                shape[i] = x->type.dim[k];
                map[k++] = i;
            }
        return ir_broadcast(&g->b, x, n + 1, shape, map);
    }
    case 3:
        if (!n || x->type.dim[axis] < 2)
            return x;
        return ir_slice_axis(&g->b, x, axis, 1, x->type.dim[axis]);
    case 4:
        if (!n || x->type.dim[axis] > 4)
            return x;
        from[axis] = 1;
        return ir_pad(&g->b, x, ir_scalar(&g->b, IR_F64, 0), from, to, NULL);
    case 5:
        if (!n || x->type.dim[axis] > 4)
            return x;
        return ir_concat(&g->b, (ir_value *[]){x, like(g, x)}, 2, axis);
    default: {
        int64_t a = axis;
        return n ? ir_reverse(&g->b, x, 1, &a) : x;
    }
    }
}

static ir_value *reduced(gen *g)
{
    ir_value *x = pick(g);
    int64_t axes[IR_MAX_RANK];
    int n = 0;
    for (int i = 0; i < x->type.rank; i++)
        if (draw(g, 2))
            axes[n++] = i;
    return ir_tanh(&g->b, ir_reduce(&g->b, draw(g, 4) ? IR_SUM : IR_MAX, x, n, axes));
}

/* Dimensions of equal extent are contracted, or shared. */
static ir_value *contracted(gen *g)
{
    ir_value *x = pick(g), *y = pick(g);
    int64_t xb[IR_MAX_RANK], yb[IR_MAX_RANK], xc[IR_MAX_RANK], yc[IR_MAX_RANK];
    bool used[IR_MAX_RANK] = {false};
    int nb = 0, nc = 0;
    for (int i = 0; i < x->type.rank; i++)
        for (int j = 0; j < y->type.rank; j++) {
            if (used[j] || x->type.dim[i] != y->type.dim[j])
                continue;
            uint32_t how = draw(g, 4);
            if (how == 0) {
                xb[nb] = i;
                yb[nb++] = j;
            } else if (how < 3) {
                xc[nc] = i;
                yc[nc++] = j;
            } else {
                continue;
            }
            used[j] = true;
            break;
        }
    if (x->type.rank + y->type.rank - nb - 2 * nc > 3)
        return x;
    return ir_sin(&g->b, ir_dot_general(&g->b, x, y, nb, xb, yb, nc, xc, yc));
}

static ir_value *gathered(gen *g)
{
    ir_value *x = pick(g);
    if (!x->type.rank || x->type.rank > 3)
        return x;
    ir_type t = ir_type_of(IR_I64, 2, (int64_t[]){2, 1});
    ir_literal *l = ir_literal_new(g->b.func->module->arena, &t);
    for (int i = 0; i < 2; i++)
        ir_literal_set_int(l, i, draw(g, (uint32_t)x->type.dim[0]));
    return ir_gather(&g->b, x, ir_constant(&g->b, l), 1, (int64_t[]){0}, 0);
}

static void step(gen *g)
{
    uint32_t kind = draw(g, 16);
    ir_value *v = kind < 6 ? element(g) : kind < 10 ? move(g) : kind < 12 ? reduced(g) : kind < 15 ? contracted(g) : gathered(g);
    ir_built(&g->b);
    if (v->type.rank <= 4 && ir_count(&v->type) <= 64)
        more(g, v);
}

/* Any value in the shape of t: its sum in a smooth, bounded form, on top of what has the shape already. */
static ir_value *shaped(gen *g, const ir_type *t, ir_value *base)
{
    ir_value *x = pick(g), *same = like(g, base);
    int64_t axes[IR_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++)
        axes[i] = i;
    ir_value *sum = ir_tanh(&g->b, ir_reduce(&g->b, IR_SUM, x, x->type.rank, axes));
    return ir_add(&g->b, ir_tanh(&g->b, same), ir_broadcast(&g->b, sum, t->rank, t->dim, NULL));
}

/* ---- A loop ---- */

typedef struct loop {
    ir_module *m;
    ir_func *body;
    int consts, carries, xs, ys;
    int64_t length, trips;
    bool reverse, live;
} loop;

static const int64_t shapes[][3] = {{0}, {2}, {3}, {2, 3}, {3, 2}, {2, 2}, {2, 1, 3}};
static const int ranks[] = {0, 1, 1, 2, 2, 2, 3};

static ir_type any_type(gen *g)
{
    uint32_t k = draw(g, 7);
    return ir_type_of(IR_F64, ranks[k], shapes[k]);
}

/* The body carries, last, an integer that counts, which with `live` ends the loop. Bodies nest once. */
static loop random_loop(gen *g, ir_module *m, int depth)
{
    loop l = {.m = m, .consts = (int)draw(g, 4), .carries = (int)draw(g, 3) + 1, .xs = (int)draw(g, 3), .ys = (int)draw(g, 3), .reverse = draw(g, 2),
              .live = draw(g, 3) == 0};
    l.length = draw(g, 6) ? 1 + draw(g, 4) : 0;
    l.trips = l.live ? draw(g, (uint32_t)l.length + 1) : l.length;
    l.body = ir_func_new(m, "body");
    gen in = {.random = g->random, .b = ir_builder_new(l.body)};
    ir_type counter = ir_scalar_type(IR_I64);
    ir_value *count = NULL, *carry[MOST];
    for (int i = 0; i < l.consts + l.carries + l.xs; i++) {
        bool last = i == l.consts + l.carries - 1;
        ir_type t = last ? counter : any_type(&in);
        ir_value *v = ir_add_input(l.body, NULL, &t);
        if (last)
            count = v;
        else
            more(&in, v);
        if (i >= l.consts && i < l.consts + l.carries)
            carry[i - l.consts] = v;
    }
    if (!in.n)
        more(&in, ir_convert(&in.b, count, IR_F64));
    for (int i = 0, steps = 4 + (int)draw(&in, 14); i < steps; i++)
        step(&in);
    if (depth == 0 && draw(&in, 4) == 0) {
        loop inner = random_loop(&in, m, 1);
        ir_value *operand[2 * MOST];
        int k = 0;
        for (; k < inner.body->params.count; k++) {
            ir_type t = inner.body->params.items[k].value->type;
            bool x = k >= inner.consts + inner.carries;
            if (x) {
                memmove(t.dim + 1, t.dim, (size_t)t.rank * sizeof *t.dim);
                t.dim[0] = inner.length;
                t.rank++;
            }
            operand[k] = t.dtype == IR_I64 ? ir_scalar(&in.b, IR_I64, 0) : shaped(&in, &t, ir_splat(&in.b, &t, 0.5));
        }
        if (inner.live)
            operand[k++] = ir_scalar(&in.b, IR_BOOL, inner.trips > 0);
        ir_inst *scan = ir_build(&in.b, IR_OP_scan, operand, k, &(ir_attrs){.scan = {.body = inner.body, .consts = inner.consts,
            .carries = inner.carries, .length = inner.length, .reverse = inner.reverse, .live = inner.live}});
        ir_built(&in.b);
        for (int i = 0; i < scan->nresults; i++)
            if (ir_is_float(scan->result[i]->type.dtype) && ir_count(&scan->result[i]->type) && ir_count(&scan->result[i]->type) < 100)
                more(&in, scan->result[i]);
    }
    for (int i = 0; i < l.carries; i++)
        if (carry[i] == count)
            ir_add_output(l.body, NULL, count = ir_add(&in.b, count, ir_scalar(&in.b, IR_I64, 1)));
        else
            ir_add_output(l.body, NULL, draw(&in, 8) == 0 ? carry[i] : shaped(&in, &carry[i]->type, carry[i]));
    for (int i = 0; i < l.ys; i++)
        ir_add_output(l.body, NULL, pick(&in));
    if (l.live)
        ir_add_output(l.body, NULL, ir_compare(&in.b, IR_LT, count, ir_scalar(&in.b, IR_I64, (double)l.trips)));
    ir_built(&in.b);
    g->random = in.random;
    return l;
}

/* The function around it; operands are its inputs. */
static ir_func *rolled(const loop *l)
{
    ir_func *f = ir_func_new(l->m, "rolled");
    ir_builder b = ir_builder_new(f);
    ir_value *operand[3 * MOST];
    int n = l->body->params.count;
    for (int i = 0; i < n; i++) {
        ir_type t = l->body->params.items[i].value->type;
        if (i >= l->consts + l->carries) {
            memmove(t.dim + 1, t.dim, (size_t)t.rank * sizeof *t.dim);
            t.dim[0] = l->length;
            t.rank++;
        }
        operand[i] = t.dtype == IR_I64 ? ir_scalar(&b, IR_I64, 0) : ir_add_input(f, NULL, &t);
    }
    if (l->live)
        operand[n++] = ir_scalar(&b, IR_BOOL, l->trips > 0);
    ir_inst *scan = ir_build(&b, IR_OP_scan, operand, n, &(ir_attrs){.scan = {.body = l->body, .consts = l->consts, .carries = l->carries,
        .length = l->length, .reverse = l->reverse, .live = l->live}});
    ir_built(&b);
    for (int i = 0; i < scan->nresults - 1; i++)
        ir_add_output(f, NULL, scan->result[i]);
    return f;
}

static ir_func *unrolled(const loop *l)
{
    ir_func *f = ir_func_new(l->m, "unrolled");
    ir_builder b = ir_builder_new(f);
    int fixed = l->consts + l->carries, n = l->body->params.count;
    ir_value *operand[3 * MOST], *args[3 * MOST], *got[3 * MOST], *y[MOST][8] = {{0}};
    for (int i = 0; i < n; i++) {
        ir_type t = l->body->params.items[i].value->type;
        if (i >= fixed) {
            memmove(t.dim + 1, t.dim, (size_t)t.rank * sizeof *t.dim);
            t.dim[0] = l->length;
            t.rank++;
        }
        args[i] = operand[i] = t.dtype == IR_I64 ? ir_scalar(&b, IR_I64, 0) : ir_add_input(f, NULL, &t);
    }
    for (int64_t k = 0; k < l->trips; k++) {
        int64_t at = l->reverse ? l->length - 1 - k : k;
        for (int i = fixed; i < n; i++) {
            ir_value *s = ir_slice_axis(&b, operand[i], 0, at, at + 1);
            args[i] = ir_reshape(&b, s, s->type.rank - 1, s->type.dim + 1);
        }
        ir_inline(&b, l->body, args, got);
        for (int i = 0; i < l->carries; i++)
            args[l->consts + i] = got[i];
        for (int i = 0; i < l->ys; i++)
            y[i][at] = got[l->carries + i];
    }
    for (int i = 0; i < l->carries; i++)
        ir_add_output(f, NULL, args[l->consts + i]);
    for (int i = 0; i < l->ys; i++) {
        ir_type t = l->body->results.items[l->carries + i].value->type;
        memmove(t.dim + 1, t.dim, (size_t)t.rank * sizeof *t.dim);
        t.dim[0] = 1;
        t.rank++;
        for (int64_t k = 0; k < l->length; k++)
            y[i][k] = y[i][k] ? ir_reshape(&b, y[i][k], t.rank, t.dim) : ir_splat(&b, &t, 0);
        t.dim[0] = 0;
        ir_add_output(f, NULL, l->length ? ir_concat(&b, y[i], (int)l->length, 0) : ir_splat(&b, &t, 0));
    }
    ir_built(&b);
    return f;
}

/* ---- Comparison ---- */

static ir_func *joint_of(const ir_func *f, int from)
{
    int ct[64], input[64], nct = 0, ninput = 0;
    for (int i = from; i < f->results.count; i++)
        if (ir_is_float(f->results.items[i].value->type.dtype))
            ct[nct++] = i;
    for (int i = 0; i < f->params.count; i++)
        input[ninput++] = i;
    ir_func *j = ad_joint(f->module, f, &(ad_request){.loss = -1, .cotangents = ct, .ncotangents = nct, .inputs = input, .ninputs = ninput}, "joint");
    ck_assert_ptr_nonnull(j);
    return j;
}

static ir_literal **inputs_of(ir_arena *arena, const ir_func *f)
{
    ir_literal **args = ir_array(arena, ir_literal *, f->params.count + 1);
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < f->params.count; i++) {
        args[i] = ir_literal_new(arena, &f->params.items[i].value->type);
        for (int64_t k = 0; k < ir_count(&args[i]->type); k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            ir_literal_set(args[i], k, (double)(random >> 11) * 0x1p-52 - 1);
        }
    }
    return args;
}

static void close_to(uint64_t seed, int order, int result, const ir_literal *got, const ir_literal *due)
{
    ck_assert(ir_type_eq(&got->type, &due->type));
    for (int64_t i = 0; i < ir_count(&due->type); i++) {
        double x = ir_literal_get(got, i), y = ir_literal_get(due, i);
        ck_assert_msg(fabs(x - y) <= 1e-9 * (1 + fabs(y)), "seed %d, derivative %d: result %d [%d] is %.12g, %.12g is due", (int)seed, order, result,
                      (int)i, x, y);
    }
}

static ir_func *random_function(ir_ctx *ctx, ir_arena *arena, uint64_t seed, bool roll, int order)
{
    ir_module *m = ir_module_new(ctx, arena, "random");
    gen g = {.random = seed * 2 + 1};
    draw(&g, 2);
    loop l = random_loop(&g, m, 0);
    ir_func *f = roll ? rolled(&l) : unrolled(&l);
    for (int i = 0, from = 0; i < order; i++) {
        int results = f->results.count;
        f = joint_of(f, from);
        from = results;
    }
    ir_verify(m);
    return f;
}

START_TEST(derivatives_are_those_of_the_unrolled_loop)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        for (int order = 0; order < 3; order++) {
            ir_ctx *ctx = ir_ctx_new(NULL, NULL);
            ir_arena *arena = ir_arena_new(ctx);
            ir_func *f = random_function(ctx, arena, seed, true, order), *u = random_function(ctx, arena, seed, false, order);
            ck_assert_int_eq(f->results.count, u->results.count);
            ir_literal **args = inputs_of(arena, f), **got = ir_array(arena, ir_literal *, f->results.count + 1),
                       **due = ir_array(arena, ir_literal *, f->results.count + 1);
            ir_eval(arena, f, args, got, NULL);
            ir_eval(arena, u, args, due, NULL);
            for (int i = 0; i < f->results.count; i++)
                if (ir_is_float(due[i]->type.dtype))
                    close_to(seed, order, i, got[i], due[i]);
            f->entry = true; /* and once more after the rewrites */
            static const char *const rewriting[] = {"inline", "simplify", "cse", "fold", "simplify", "dce"};
            for (int i = 0; i < 6; i++)
                pass_run_one(f->module, pass_by_name(rewriting[i]), true);
            ir_eval(arena, f, args, got, NULL);
            for (int i = 0; i < f->results.count; i++)
                if (ir_is_float(due[i]->type.dtype))
                    close_to(seed, order, i, got[i], due[i]);
            ir_ctx_free(ctx);
        }
}
END_TEST

START_TEST(compiled_code_agrees)
{
    for (uint64_t seed = 1000; seed < 1000 + COMPILED; seed++) {
        ir_ctx *ctx = ir_ctx_new(NULL, NULL);
        ir_arena *arena = ir_arena_new(ctx);
        ir_func *plain = random_function(ctx, arena, seed, true, 1 + seed % 2), *f = random_function(ctx, arena, seed, true, 1 + seed % 2);
        f->entry = true;
        ir_func_rename(f, "forward");
        for (int i = 0; i < f->params.count; i++)
            f->params.items[i] = (ir_port){.value = f->params.items[i].value, .name = ir_format(arena, "in%d", i)};
        for (int i = 0; i < f->results.count; i++)
            f->results.items[i] = (ir_port){.value = f->results.items[i].value, .name = ir_format(arena, "out%d", i)};
        ir_literal **args = inputs_of(arena, plain), **got = ir_array(arena, ir_literal *, f->results.count + 1),
                   **due = ir_array(arena, ir_literal *, f->results.count + 1);
        ir_eval(arena, plain, args, due, NULL);
        api_run_passes(f->module, NULL);
        cg_spec spec = {f->module, NULL};
        const cg_object *o = cg_compile(ctx, arena, &(cg_request){.prefix = "m", .spec = &spec, .nspecs = 1, .level = 1, .embed = true});
        api_machine *x = o ? api_machine_new(ctx, arena, o, &(api_machine_options){.threads = 2}) : NULL;
        ck_assert_msg(x != NULL, "seed %d: %s", (int)seed, ir_ctx_why(ctx));
        for (int i = 0; i < f->params.count; i++)
            api_machine_set(x, CG_INPUTS, f->params.items[i].name, args[i]->data);
        for (int i = 0; i < f->results.count; i++) {
            got[i] = ir_literal_new(arena, &due[i]->type);
            api_machine_set(x, CG_OUTPUTS, f->results.items[i].name, got[i]->data);
        }
        ck_assert_int_eq(api_machine_call(x, GRADC_RT_FORWARD, false), GRADC_RT_OK);
        for (int i = 0; i < f->results.count; i++)
            if (ir_is_float(due[i]->type.dtype))
                close_to(seed, 3, i, got[i], due[i]);
        ir_ctx_free(ctx);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("loop_random");
    TCase *c = tcase_create("loop_random");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, derivatives_are_those_of_the_unrolled_loop);
    tcase_add_test(c, compiled_code_agrees);
    suite_add_tcase(s, c);
    return suite_run(s);
}
