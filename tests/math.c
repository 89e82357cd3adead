/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Elementary functions: compiled alone for this processor and for one without fused multiply-add,
 * at several numbers of lanes, on random and special arguments, against the C library in long
 * double. With arguments, prints the errors: test_math measure N. */
#include "codegen/target.h"
#include "tests/levels.h"
#include "tests/suite.h"

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

typedef long double reference(long double x, long double y);
#define ONE(name)                                               \
    static long double ref_##name(long double x, long double y) \
    {                                                           \
        (void)y;                                                \
        return name##l(x);                                      \
    }
/* clang-format off */
ONE(exp) ONE(expm1) ONE(log) ONE(log1p) ONE(sin) ONE(cos) ONE(tan) ONE(asin) ONE(acos) ONE(atan) ONE(sinh) ONE(cosh) ONE(asinh) ONE(acosh) ONE(atanh)
ONE(tanh) ONE(erf)
/* clang-format on */

static long double ref_logistic(long double x, long double y)
{
    (void)y;
    return 1 / (1 + expl(-x));
}

typedef struct math_case {
    ir_op op;
    reference *f;
    /* Of random arguments; low > 0: of either sign if both_signs, spread over magnitudes. */
    double low, high;
    bool both_signs;
} math_case;

static const math_case cases[] = {
    {IR_OP_exp, ref_exp, 1e-9, 750, true},           {IR_OP_expm1, ref_expm1, 1e-9, 720, true},
    {IR_OP_log, ref_log, 1e-300, 1e300, false},      {IR_OP_log1p, ref_log1p, 1e-10, 1e300, true},
    {IR_OP_tanh, ref_tanh, 1e-9, 30, true},          {IR_OP_erf, ref_erf, 1e-9, 7, true},
    {IR_OP_logistic, ref_logistic, 1e-9, 750, true}, {IR_OP_sin, ref_sin, 1e-9, 1e300, true},
    {IR_OP_cos, ref_cos, 1e-9, 1e300, true},         {IR_OP_tan, ref_tan, 1e-9, 1e300, true},
    {IR_OP_asin, ref_asin, 1e-9, 1, true},           {IR_OP_acos, ref_acos, 1e-9, 1, true},
    {IR_OP_atan, ref_atan, 1e-9, 1e9, true},         {IR_OP_sinh, ref_sinh, 1e-9, 715, true},
    {IR_OP_cosh, ref_cosh, 1e-9, 715, true},         {IR_OP_asinh, ref_asinh, 1e-9, 1e300, true},
    {IR_OP_acosh, ref_acosh, 1, 1e300, false},       {IR_OP_atanh, ref_atanh, 1e-9, 1, true},
    {IR_OP_pow, powl, 1e-300, 1e300, false},         {IR_OP_atan2, atan2l, 1e-300, 1e300, true},
    {IR_OP_rem, fmodl, 1e-300, 1e300, true},
};
enum { CASES = sizeof cases / sizeof *cases, COUNTS = 6, MOST_LANES = 64 };

typedef void compiled(const void *x, const void *y, void *to);

typedef struct built {
    base_ctx *ctx;
    compiled *f[CASES][2][COUNTS];
} built;
static const int lane_counts[COUNTS] = {1, 3, 8, 10, 16, 64};

static void add_function(cg_unit *u, const math_case *c, bool wide, int lanes, const char *name)
{
    LLVMTypeRef param[3] = {u->ptr, u->ptr, u->ptr}, t = cg_vector(wide ? u->f64 : u->f32, lanes);
    LLVMValueRef f = LLVMAddFunction(u->module, name, LLVMFunctionType(u->nothing, param, 3, 0)),
                 x[2];
    const char *const attribute[2][2] = {{"target-cpu", u->target->cpu},
                                         {"target-features", u->target->features}};
    for (int i = 0; i < 2; i++)
        LLVMAddAttributeAtIndex(
            f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
            LLVMCreateStringAttribute(u->ll, attribute[i][0], (unsigned)strlen(attribute[i][0]),
                                      attribute[i][1], (unsigned)strlen(attribute[i][1])));
    LLVMPositionBuilderAtEnd(u->b, LLVMAppendBasicBlockInContext(u->ll, f, ""));
    for (unsigned i = 0; i < 2; i++) {
        x[i] = LLVMBuildLoad2(u->b, t, LLVMGetParam(f, i), "");
        LLVMSetAlignment(x[i], wide ? 8 : 4);
    }
    LLVMValueRef v = cg_math(u, c->op, x[0], ir_ops[c->op].operands == 2 ? x[1] : NULL);
    LLVMSetAlignment(LLVMBuildStore(u->b, v, LLVMGetParam(f, 2)), wide ? 8 : 4);
    LLVMBuildRetVoid(u->b);
}

/* Also outside a test, where Check's assertions cannot be used. */
static void need(const void *p, const char *what)
{
    if (p)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* Code may call nothing: the loader is given no symbols. */
static built *build(const char *cpu, int cases_from, int cases_to)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    built *all = base_new(arena, built);
    all->ctx = ctx;
    const cg_target *target = cg_target_named(ctx, arena, NULL, cpu);
    need(target, "no such processor");
    LLVMContextRef ll = LLVMContextCreate();
    cg_unit u = {.ctx = ctx,
                 .arena = arena,
                 .ll = ll,
                 .module = LLVMModuleCreateWithNameInContext("math", ll),
                 .b = LLVMCreateBuilderInContext(ll),
                 .target = target,
                 .prefix = "t",
                 .suffix = "",
                 .ptr = LLVMPointerTypeInContext(ll, 0),
                 .i1 = LLVMInt1TypeInContext(ll),
                 .i8 = LLVMInt8TypeInContext(ll),
                 .i16 = LLVMInt16TypeInContext(ll),
                 .i32 = LLVMInt32TypeInContext(ll),
                 .i64 = LLVMInt64TypeInContext(ll),
                 .f32 = LLVMFloatTypeInContext(ll),
                 .f64 = LLVMDoubleTypeInContext(ll),
                 .nothing = LLVMVoidTypeInContext(ll)};
    LLVMTargetMachineRef machine = cg_machine(ctx, target, 1);
    LLVMSetTarget(u.module, target->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(u.module, layout);
    for (int c = cases_from; c < cases_to; c++)
        for (int k = 0; k < 2 * COUNTS; k++)
            add_function(&u, &cases[c], k & 1, lane_counts[k >> 1],
                         base_format(arena, "f_%d_%d_%d", c, k & 1, k >> 1));
    cg_optimise(&u, machine, 1);
    size_t size;
    const void *object = cg_buffer(ctx, cg_emit(&u, machine, false), &size);
    cg_jit *jit = cg_jit_load(ctx, arena, object, size, (cg_symbol[]){{NULL, NULL}});
    need(jit, base_ctx_why(ctx));
    for (int c = cases_from; c < cases_to; c++)
        for (int k = 0; k < 2 * COUNTS; k++) {
            void *address = cg_jit_symbol(jit, base_format(arena, "f_%d_%d_%d", c, k & 1, k >> 1));
            need(address, ir_ops[cases[c].op].name);
            memcpy(&all->f[c][k & 1][k >> 1], &address, sizeof address);
        }
    LLVMDisposeTargetData(layout);
    LLVMDisposeBuilder(u.b);
    LLVMDisposeModule(u.module);
    LLVMContextDispose(ll);
    return all;
}

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static double uniform(uint64_t *s)
{
    return (double)(next_random(s) >> 11) * 0x1p-53;
}

static const double special[] = {0.0,
                                 -0.0,
                                 1,
                                 -1,
                                 0.5,
                                 -0.5,
                                 2,
                                 -2,
                                 3,
                                 -3,
                                 INFINITY,
                                 -INFINITY,
                                 NAN,
                                 1e300,
                                 -1e300,
                                 3e38,
                                 -3e38,
                                 1e-300,
                                 -1e-300,
                                 1e-37,
                                 1.3e-38,
                                 -2.5e-308,
                                 88.7,
                                 -87.3,
                                 709.7,
                                 -708.3,
                                 710.4,
                                 1e22,
                                 2.5,
                                 0x1p53,
                                 0x1p54 - 1,
                                 3.141592653589793,
                                 6381956970095103.0 * 0x1p797,
                                 0.7071067811865476,
                                 1.4142135623730951};
enum { SPECIALS = sizeof special / sizeof *special };

static double argument(const math_case *c, bool wide, uint64_t *s)
{
    if (next_random(s) % 8 == 0)
        return special[next_random(s) % SPECIALS];
    double low = c->low, high = c->high;
    if (!wide) {
        low = low < 1e-37 ? 1e-37 : low;
        high = high > 1e38 ? 1e38 : high;
    }
    double v = next_random(s) % 2 ? exp(log(low) + (log(high) - log(low)) * uniform(s))
                                  : low + ((high > 100 ? 100 : high) - low) * uniform(s);
    return c->both_signs && next_random(s) % 2 ? -v : v;
}

/* Distance in ulps of the type; a huge number where infinity, NaN or the sign of zero is wrong. */
static double ulps(double got, long double want, bool wide)
{
    long double most = wide ? DBL_MAX : FLT_MAX, least = wide ? DBL_MIN : FLT_MIN;
    double wrong = 1e9;
    if (isnan(want))
        return isnan(got) ? 0 : wrong;
    if (isnan(got))
        return wrong;
    double rounded = wide ? (double)want : (double)(float)want;
    if (got == rounded && (got == 0 || isinf(got)))
        return got == 0 && want == 0 && !signbit(got) != !signbit(want) ? wrong : 0;
    if (fabsl(want) < least * (1 + 0x1p-20L)) /* denormal results may be zero */
        return fabs(got) <= (double)least * (1 + 0x1p-20) ? 0 : wrong;
    if (isinf(got) || isinf(rounded))
        return fabsl(isinf(got) ? want : (long double)got) > most * (1 - 0x1p-20L) ? 1 : wrong;
    int e;
    frexpl(want, &e);
    return (double)(fabsl(got - want) / ldexpl(1, e - (wide ? 53 : 24)));
}

typedef struct worst {
    double ulps, x, y, got;
    long double want;
} worst;

static double at(const void *p, bool wide, int i)
{
    return wide ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void try_lanes(const built *all, int c, bool wide, int which, uint64_t *seed, worst *w)
{
    double x[2][MOST_LANES], y[MOST_LANES];
    float fx[2][MOST_LANES], fy[MOST_LANES];
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < lane_counts[which]; i++) {
            x[k][i] = argument(&cases[c], wide, seed);
            if (cases[c].op == IR_OP_pow && next_random(seed) % 4)
                x[k][i] = k ? (next_random(seed) % 2
                                   ? round(uniform(seed) * 40 - 20)
                                   : uniform(seed) * 1400 / log(x[0][i]) - 700 / log(x[0][i]))
                            : x[0][i];
            if (cases[c].op == IR_OP_pow && !k && next_random(seed) % 4 == 0)
                x[k][i] = next_random(seed) % 2 ? -x[k][i] : 1 + (uniform(seed) - 0.5) * 1e-3;
            if (fabs(x[k][i]) < (wide ? DBL_MIN : FLT_MIN) ||
                (!wide && fabsf((float)x[k][i]) < FLT_MIN))
                x[k][i] = 0;
            fx[k][i] = (float)x[k][i];
        }
    compiled *f = all->f[c][wide][which];
#ifdef __SSE__
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
#endif
    f(wide ? (void *)x[0] : fx[0], wide ? (void *)x[1] : fx[1], wide ? (void *)y : fy);
#ifdef __SSE__
    _mm_setcsr(before);
#endif
    for (int i = 0; i < lane_counts[which]; i++) {
        double a = wide ? x[0][i] : (double)fx[0][i], b = wide ? x[1][i] : (double)fx[1][i],
               got = at(wide ? (void *)y : fy, wide, i);
        long double want = cases[c].f(a, b);
        double u = ulps(got, want, wide);
        if (u > w->ulps || w->ulps == 0)
            *w = (worst){u, a, b, got, want};
    }
}

static void measure(const char *cpu, int samples, bool print)
{
    for (int c = 0; c < CASES; c++) {
        built *all = build(cpu, c, c + 1);
        worst w[2] = {0};
        for (int wide = 0; wide < 2; wide++)
            for (int which = 0; which < COUNTS; which++) {
                uint64_t seed = 88172645463325252ull + (unsigned)c;
                for (int i = 0; i < samples; i += lane_counts[which])
                    try_lanes(all, c, wide, which, &seed, &w[wide]);
            }
        const char *name = ir_ops[cases[c].op].name;
        for (int wide = 0; wide < 2; wide++) {
            if (print)
                printf("| %s | %s | %.2f | %.17g, %.17g: %.17g instead of %.17Lg |\n", name,
                       wide ? "f64" : "f32", w[wide].ulps, w[wide].x, w[wide].y, w[wide].got,
                       w[wide].want);
            else
                ck_assert_msg(w[wide].ulps <= ir_ops[cases[c].op].ulps[wide],
                              "%s of %s: %.2f ulps at %.17g, %.17g: %.17g instead of %.17Lg", name,
                              wide ? "f64" : "f32", w[wide].ulps, w[wide].x, w[wide].y, w[wide].got,
                              w[wide].want);
        }
        base_ctx_free(all->ctx);
    }
}

START_TEST(functions_of_this_processor)
{
    measure("native", 4000, false);
}
END_TEST

/* Of the rows of ir/ops.def. */
START_TEST(every_function_has_a_case)
{
    for (int op = 0; op < IR_OPS; op++) {
        bool found = !(ir_ops[op].traits & IR_FUNCTION);
        for (int c = 0; c < CASES; c++)
            found |= (int)cases[c].op == op;
        ck_assert_msg(found, "`%s` is an elementary function and has no case", ir_ops[op].name);
    }
}
END_TEST

START_TEST(functions_of_each_level)
{
    if (!level_runs_here(levels[_i]))
        return;
    measure(levels[_i], 4000, false);
    level_ran(levels[_i]);
}
END_TEST

/* docs/numbers.md says of each function what the table of ops says. */
START_TEST(bounds_are_published)
{
    static char text[65536];
    FILE *page = fopen("docs/numbers.md", "r");
    ck_assert_ptr_nonnull(page);
    text[fread(text, 1, sizeof text - 1, page)] = 0;
    fclose(page);
    for (int op = 0; op < IR_OPS; op++) {
        double f32, f64;
        char name[64];
        if (!(ir_ops[op].traits & IR_FUNCTION))
            continue;
        snprintf(name, sizeof name, "| `%s` |", ir_ops[op].name);
        const char *row = strstr(text, name);
        ck_assert_msg(row, "%s has no row", name);
        ck_assert_int_eq(sscanf(row + strlen(name), "%lf | %*f | %lf |", &f32, &f64), 2);
        ck_assert_msg(f32 == ir_ops[op].ulps[0] && f64 == ir_ops[op].ulps[1],
                      "%s %g and %g, the table of ops has %g and %g", name, f32, f64,
                      ir_ops[op].ulps[0], ir_ops[op].ulps[1]);
    }
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "measure")) {
        printf("| function | type | ulps | worst |\n|---|---|---|---|\n");
        measure(argc > 3 ? argv[3] : "native", atoi(argv[2]), true);
        return EXIT_SUCCESS;
    }
    Suite *s = suite_create("math");
    TCase *t = tcase_create("math");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, every_function_has_a_case);
    tcase_add_test(t, bounds_are_published);
    tcase_add_test(t, functions_of_this_processor);
    tcase_add_loop_test(t, functions_of_each_level, 0, LEVELS);
    suite_add_tcase(s, t);
    return suite_run(s);
}
