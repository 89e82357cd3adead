/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Every function of gradc.h with arguments that no caller should give: NULL, tensors of every type
 * and odd shape, of another context, without a value, with a released graph; shapes and numbers at
 * the limits of their types. A call returns a tensor or fails with a message, and never ends the
 * process. What is recorded nevertheless is sometimes run and differentiated. GRADC_HOSTILE=N: N
 * times as many calls. */
#include "api/trace.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>

static gradc *g, *stranger;
static FILE *nowhere;

enum { POOL = 128, TRIES = 100 };
static gradc_tensor *pool[POOL];
static int pooled;
static uint64_t state;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 20) % below;
}

/* ---- Arguments ---- */

static gradc_tensor *some_tensor(void)
{
    return draw(25) ? pool[draw((uint64_t)pooled)] : NULL;
}

static const int64_t ends[] = {
    INT64_MIN, INT64_MIN + 1, -((int64_t)1 << 40), INT32_MIN,     -17,      17,
    1 << 20,   INT32_MAX,     (int64_t)1 << 40,    INT64_MAX - 1, INT64_MAX};

static int64_t some_int(void)
{
    return draw(4) ? (int64_t)draw(6) - 2 : ends[draw(sizeof ends / sizeof *ends)];
}

static int some_dim(void)
{
    return draw(8) ? (int)draw(6) - 3 : draw(2) ? INT32_MIN : INT32_MAX;
}

static double some_number(void)
{
    static const double odd[] = {NAN,    INFINITY, -INFINITY, -0.0, 1e308, -1e308, 5e-324,
                                 0x1p63, -0x1p63,  0.5,       1,    2,     -1};
    return draw(2) ? odd[draw(sizeof odd / sizeof *odd)] : (double)draw(100) / 25 - 2;
}

static gradc_shape some_shape(void)
{
    static const int ranks[] = {-1, 17, 16, INT32_MIN, INT32_MAX};
    gradc_shape s = {0};
    s.rank = draw(8) ? (int)draw(4) : ranks[draw(5)];
    for (int i = 0; i < GRADC_MAX_RANK; i++)
        s.dim[i] = draw(3) ? (int64_t)draw(4) : some_int();
    return s;
}

enum { LIST = 5 };
static gradc_tensor *list[LIST];

static gradc_tensor *const *some_list(void)
{
    for (int i = 0; i < LIST; i++)
        list[i] = some_tensor();
    return draw(12) ? list : NULL;
}

static int some_count(void)
{
    static const int odd[] = {INT32_MIN, -1, 0};
    return draw(5) ? 1 + (int)draw(LIST) : odd[draw(3)];
}

static const char *some_text(void)
{
    static const char *const texts[] = {NULL,
                                        "",
                                        "ij,jk->ik",
                                        "i,i->",
                                        "...",
                                        "ij->ji",
                                        "ii",
                                        "abcdefghijklmnopqrstuvwxyz,a->b",
                                        "->",
                                        ",",
                                        "i,j,k->ijk",
                                        "\xff\xfe",
                                        "i...,...j->..."};
    return texts[draw(sizeof texts / sizeof *texts)];
}

static gradc_tensor *second;
static gradc_tensor **some_place(void)
{
    return draw(2) ? &second : NULL;
}

/* ---- The table: a signature's letters as in frontend/trace/table.c ---- */

#define T some_tensor()
#define S some_shape()
#define I some_int()
#define D some_dim()
#define N some_number()
#define ARGS_X T
#define ARGS_XY T, T
#define ARGS_XYZ T, T, T
#define ARGS_XN T, N
#define ARGS_XNN T, N, N
#define ARGS_XND T, N, D
#define ARGS_XYN T, T, N
#define ARGS_XYD T, T, D
#define ARGS_XYDN T, T, D, N
#define ARGS_XI T, I
#define ARGS_XD T, D
#define ARGS_XT T, (gradc_dtype)some_dim()
#define ARGS_XDD T, D, D
#define ARGS_XDDO T, D, D, some_place()
#define ARGS_XIDDO T, I, D, D, some_place()
#define ARGS_XID T, I, D
#define ARGS_XDI T, D, I
#define ARGS_XDII T, D, I, I
#define ARGS_XDIII T, D, I, I, I
#define ARGS_XDY T, D, T
#define ARGS_XDYZ T, D, T, T
#define ARGS_XS T, S
#define ARGS_XSN T, S, N
#define ARGS_XSD T, S, D
#define ARGS_XSID T, S, I, D
#define ARGS_XNSD T, N, S, D
#define ARGS_XSSSSD T, S, S, S, S, D
#define ARGS_XSSSDD T, S, S, S, D, D
#define ARGS_XSWN T, S, T, N
#define ARGS_XWB T, T, T
#define ARGS_XWBSSSI T, T, T, S, S, S, I
#define ARGS_XWBSSSIS T, T, T, S, S, S, I, S
#define ARGS_XWBN T, T, T, N
#define ARGS_XSWBN T, S, T, T, N
#define ARGS_XIWBN T, I, T, T, N
#define ARGS_BATCH T, T, T, T, T, D, N, N
#define ARGS_ATTENTION T, T, T, T, D
#define ARGS_WEIGHTED T, T, T, D, I, N
#define ARGS_LD some_list(), some_count(), D
#define ARGS_TL some_text(), some_list(), some_count()

typedef gradc_tensor *hostile(void);

#define OP(name, signature, grad, types, build, extra) \
    static gradc_tensor *hostile_##name(void)          \
    {                                                  \
        return gradc_##name(g, ARGS_##signature);      \
    }
#include "frontend/trace/ops.def"

/* ---- What is not in the table ---- */

static gradc_dtype some_type(void)
{
    return (gradc_dtype)(draw(8) ? (int)draw(13) : some_dim());
}

static const void *some_data(void)
{
    static const double zeros[64];
    return draw(4) ? zeros : NULL;
}

/* A shape that some_data() has the elements of, or an invalid one, or one that is too large. */
static gradc_shape small_shape(void)
{
    gradc_shape s = some_shape();
    ir_type t = {.dtype = IR_BOOL, .rank = s.rank};
    memcpy(t.dim, s.dim, sizeof t.dim);
    return ir_type_ok(&t) && ir_count(&t) > 64 ? GRADC_SHAPE(2, 3) : s;
}

/* A size for which memory always suffices. */
static int64_t some_size(void)
{
    int64_t n = some_int();
    return n > 1 << 20 && n < (int64_t)1 << 42 ? 7 : n;
}

static const char *some_name(void)
{
    static char text[8];
    snprintf(text, sizeof text, "p%d", (int)draw(1000));
    return draw(6) ? text : draw(2) ? "" : NULL;
}

static gradc_tensor *pieces[4];
#define OTHER(name, expression)               \
    static gradc_tensor *hostile_##name(void) \
    {                                         \
        return expression;                    \
    }
OTHER(from, gradc_from(g, some_type(), small_shape(), some_data()))
OTHER(full, gradc_full(g, some_type(), small_shape(), N))
OTHER(ones, gradc_ones(g, some_type(), small_shape()))
OTHER(zeros, gradc_zeros(g, some_type(), small_shape()))
OTHER(scalar, gradc_scalar(g, some_type(), N))
OTHER(arange, gradc_arange(g, some_type(), N, N, N))
OTHER(linspace, gradc_linspace(g, some_type(), N, N, some_size()))
OTHER(eye, gradc_eye(g, some_type(), (int64_t)draw(9), some_size()))
OTHER(rand, gradc_rand(g, some_type(), small_shape()))
OTHER(randn, gradc_randn(g, some_type(), small_shape()))
OTHER(randint, gradc_randint(g, some_type(), small_shape(), I, I))
OTHER(full_like, gradc_full_like(g, T, N))
OTHER(ones_like, gradc_ones_like(g, T))
OTHER(zeros_like, gradc_zeros_like(g, T))
OTHER(rand_like, gradc_rand_like(g, T))
OTHER(randn_like, gradc_randn_like(g, T))
OTHER(parameter, gradc_parameter(g, some_name(), T))
OTHER(buffer, gradc_buffer(g, some_name(), T))
OTHER(input, gradc_input(g, some_name(), some_type(), small_shape()))
OTHER(split, gradc_split(g, T, I, D, draw(5) ? pieces : NULL, draw(5) ? 4 : -(int)draw(4)) > 0
                 ? pieces[0]
                 : NULL)
OTHER(chunk, gradc_chunk(g, T, I, D, draw(5) ? pieces : NULL, draw(5) ? 4 : -(int)draw(4)) > 0
                 ? pieces[0]
                 : NULL)

/* Functions that return no tensor. */
static void ask(void)
{
    char room[4096];
    gradc_tensor *x = T;
    size_t bytes = gradc_bytes(x);
    gradc_rank(x);
    gradc_size(x, some_dim());
    gradc_shape_of(x);
    gradc_numel(x);
    ck_assert_int_lt(gradc_dtype_of(x), IR_DTYPES);
    ck_assert_ptr_nonnull(gradc_dtype_name((gradc_dtype)some_dim()));
    gradc_requires_grad(x);
    gradc_is_leaf(x);
    ck_assert_ptr_nonnull(gradc_grad_fn(x));
    gradc_name(x);
    gradc_data(g, x);
    gradc_copy_out(g, x, draw(3) && bytes <= sizeof room ? room : NULL);
    gradc_item(g, T);
    gradc_item_int(g, T);
    gradc_print(g, draw(3) ? nowhere : NULL, x);
}

static void change(void)
{
    gradc_eval(g, some_list(), some_count());
    gradc_assign(g, T, T);
    gradc_set_requires_grad(g, T, some_dim());
    gradc_retain_grad(g, T);
    gradc_grad(g, T);
    gradc_zero_grad(g, T);
    if (!draw(9))
        gradc_zero_grads(g);
    gradc_set_grad_enabled(g, !draw(4));
    gradc_manual_seed(g, draw(UINT64_MAX >> 20));
}

static void differentiate(void)
{
    gradc_tensor *grad[LIST];
    gradc_backward(g, T, T, (unsigned)draw(9));
    gradc_gradients(g, T, T, some_list(), some_count(), (unsigned)draw(9), draw(6) ? grad : NULL);
}

static void compile(void)
{
    gradc_output outputs[] = {{draw(6) ? "y" : some_text(), T}, {draw(6) ? "z" : NULL, T}};
    static const char *const lists[][3] = {
        {NULL},     {"--train=adam", NULL},     {"--nothing", NULL},
        {"", NULL}, {"--emit=lib", "-o", NULL}, {"--prefix=", NULL}};
    static const char *const paths[] = {NULL, "", "/", "/nowhere/x", "/dev/null/x"};
    gradc_compile(g, draw(9) ? outputs : NULL, (int)draw(4) - 1, paths[draw(5)],
                  draw(4) ? lists[draw(6)] : NULL);
}

static void mark(void)
{
    size_t m = gradc_mark(g);
    gradc_add(g, T, T);
    gradc_release(g, draw(3) ? m : (size_t)draw(UINT64_MAX >> 20) - 2);
    gradc_release(g, SIZE_MAX);
    gradc_release(g, 0);
}

static void without_a_context(void)
{
    gradc *was = g;
    g = NULL;
    ask();
    change();
    differentiate();
    compile();
    mark();
    gradc_free(NULL);
    gradc_clear_error(NULL);
    ck_assert_ptr_null(gradc_error(NULL));
    g = was;
}

typedef struct function {
    const char *name;
    hostile *call;
    void (*other)(void);
} function;

#define OP(name, signature, grad, types, build, extra) {#name, hostile_##name, NULL},
#define GIVES(name) {#name, hostile_##name, NULL}
#define DOES(name) {#name, NULL, name}
static const function functions[] = {
#include "frontend/trace/ops.def"
    GIVES(from),       GIVES(full),       GIVES(ones),
    GIVES(zeros),      GIVES(scalar),     GIVES(arange),
    GIVES(linspace),   GIVES(eye),        GIVES(rand),
    GIVES(randn),      GIVES(randint),    GIVES(full_like),
    GIVES(ones_like),  GIVES(zeros_like), GIVES(rand_like),
    GIVES(randn_like), GIVES(parameter),  GIVES(buffer),
    GIVES(input),      GIVES(split),      GIVES(chunk),
    DOES(ask),         DOES(change),      DOES(differentiate),
    DOES(compile),     DOES(mark),        DOES(without_a_context),
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* ---- The pool ---- */

static void add(gradc_tensor *x)
{
    ck_assert_msg(x && pooled < POOL, "%s", gradc_error(g));
    pool[pooled++] = x;
}

static void fill_pool(void)
{
    static const double odd[] = {0, -0.0, 1, -2.5, INFINITY, NAN, -INFINITY, 1e300};
    static const int64_t indices[] = {0, 1, -1, INT64_MAX, INT64_MIN, 2};
    static const gradc_shape shapes[] = {{0, {0}},    {1, {3}},       {2, {2, 3}},      {1, {0}},
                                         {2, {0, 3}}, {3, {2, 3, 2}}, {4, {1, 2, 3, 3}}};
    gradc_shape deep = {.rank = GRADC_MAX_RANK,
                        .dim = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 3}};
    pooled = 0;
    for (int t = GRADC_BOOL; t <= GRADC_F64; t++)
        add(gradc_full(g, (gradc_dtype)t, shapes[t % 3], t));
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        add(gradc_randn(g, GRADC_F32, shapes[i]));
        gradc_tensor *x = gradc_randn(g, GRADC_F32, shapes[i]);
        gradc_set_requires_grad(g, x, 1);
        add(x);
        add(gradc_mul(g, x, x));
        add(gradc_randint(g, GRADC_I64, shapes[i], 0, 2));
    }
    add(gradc_to(g, gradc_from(g, GRADC_F64, GRADC_SHAPE(8), odd), GRADC_F32));
    add(gradc_from(g, GRADC_F64, GRADC_SHAPE(2, 4), odd));
    add(gradc_from(g, GRADC_I64, GRADC_SHAPE(6), indices));
    add(gradc_ones(g, GRADC_F32, deep));
    add(gradc_ones(g, GRADC_BOOL, deep));
    add(gradc_parameter(g, "w", pool[GRADC_F32]));
    add(gradc_buffer(g, "b", pool[GRADC_F32]));
    add(gradc_input(g, "x", GRADC_F32, GRADC_SHAPE(2, 3)));
    add(gradc_mul(g, pool[pooled - 1], pool[pooled - 3]));
    gradc_tensor *gone = gradc_sum(g, gradc_exp(g, pool[pooled - 4]), GRADC_ALL, 0);
    gradc_backward(g, gone, NULL, 0);
    add(gone);
    add(gradc_ones(stranger, GRADC_F32, GRADC_SHAPE(2, 3)));
    ck_assert_msg(!gradc_error(g), "%s", gradc_error(g));
}

static FILE *nowhere_file(void)
{
    FILE *f = fopen("/dev/null", "w");
    ck_assert_ptr_nonnull(f);
    return f;
}

/* A tensor from a hostile call is like any other. */
static void use(gradc_tensor *y)
{
    gradc_tensor *x = pool[GRADC_F32], *d;
    ck_assert_ptr_nonnull(gradc_grad_fn(y));
    if (gradc_numel(y) > 1 << 12)
        return;
    gradc_data(g, y);
    for (int i = 0; i < pooled && gradc_requires_grad(y); i++)
        if (gradc_requires_grad(pool[i]) && !draw(4))
            x = pool[i];
    if (gradc_requires_grad(y) && gradc_requires_grad(x) &&
        !gradc_gradients(g, gradc_sum(g, y, GRADC_ALL, 0), NULL, &x, 1, GRADC_CREATE_GRAPH, &d))
        gradc_gradients(g, gradc_sum(g, d, GRADC_ALL, 0), NULL, &x, 1, 0, &d);
}

START_TEST(nothing_ends_the_process)
{
    const function *f = &functions[_i];
    const char *times = getenv("GRADC_HOSTILE");
    int more = times ? atoi(times) : 1, used = 0;
    state = 0x9e3779b97f4a7c15u + (uint64_t)_i;
    nowhere = nowhere_file();
    stranger = gradc_new();
    for (int round = 0; round < more; round++) {
        g = gradc_new();
        fill_pool();
        for (int i = 0; i < TRIES; i++) {
            size_t m = gradc_mark(g);
            gradc_tensor *y = f->call ? f->call() : NULL;
            if (f->other)
                f->other();
            else if (!y && !gradc_error(g))
                ck_abort_msg("gradc_%s failed, and no error says so", f->name);
            else if (y && gradc_error(g))
                ck_abort_msg("gradc_%s gave a tensor with an error: %s", f->name, gradc_error(g));
            if (y && used++ % 8 == 0)
                use(y);
            gradc_clear_error(g);
            gradc_release(g, m);
            ck_assert_msg(!gradc_error(g) || f->other, "gradc_%s: %s", f->name, gradc_error(g));
            gradc_clear_error(g);
        }
        gradc_free(g);
    }
    gradc_free(stranger);
    fclose(nowhere);
}
END_TEST

START_TEST(numbers_at_the_ends_of_their_types)
{
    g = gradc_new();
    gradc_tensor *x = gradc_ones(g, GRADC_F32, GRADC_SHAPE(2, 2)),
                 *w = gradc_scalar(g, GRADC_F32, 3), *piece[1];
    gradc_set_requires_grad(g, w, 1);
    gradc_tensor *sums[] = {gradc_tril(g, x, INT64_MAX), gradc_tril(g, x, INT64_MIN),
                            gradc_triu(g, x, INT64_MAX), gradc_triu(g, x, INT64_MIN)};
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq(gradc_item(g, gradc_sum(g, sums[i], GRADC_ALL, 0)), i % 3 == 0 ? 4 : 0);
    ck_assert_int_eq(gradc_split(g, x, INT64_MAX, 0, piece, 1), 1);
    ck_assert_int_eq(gradc_chunk(g, x, INT64_MAX, 0, piece, 1), -1);
    ck_assert_ptr_nonnull(strstr(gradc_error(g), "2 pieces do not fit an array of 1"));
    gradc_clear_error(g);
    gradc_tensor *many = gradc_sum(g, gradc_repeat(g, w, GRADC_SHAPE(2, 500000)), GRADC_ALL, 0);
    ck_assert_double_eq(gradc_item(g, many), 3000000);
    ck_assert_int_eq(gradc_backward(g, many, NULL, 0), 0);
    ck_assert_double_eq(gradc_item(g, gradc_grad(g, w)), 1000000);
    ck_assert_ptr_null(gradc_repeat(g, x, GRADC_SHAPE(INT64_MAX, 1)));
    ck_assert_ptr_nonnull(strstr(gradc_error(g), "repeat count"));
    gradc_clear_error(g);
    ck_assert(gradc_item_int(g, gradc_scalar(g, GRADC_F32, INFINITY)) == INT64_MAX);
    ck_assert(gradc_item_int(g, gradc_scalar(g, GRADC_F32, -1e30)) == INT64_MIN);
    ck_assert_int_eq(gradc_item_int(g, gradc_scalar(g, GRADC_F32, NAN)), 0);
    gradc_free(g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace_hostile");
    TCase *c = tcase_create("hostile");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, nothing_ends_the_process, 0, FUNCTIONS);
    tcase_add_test(c, numbers_at_the_ends_of_their_types);
    suite_add_tcase(s, c);
    return suite_run(s);
}
