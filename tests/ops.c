/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Every row of ir/ops.def, compiled, against the evaluator; tests/op_run.h says how. The cases of
 * elementwise ops are made here, by element type and shape; those of the others are in
 * tests/op_cases.h. */
#include "tests/op_cases.h"

enum { MOST = 48 }; /* cases of a module */

/* Cases gather here, and run when they are many. */
typedef struct collector {
    op_batch batch;
    base_arena *arena;
    int op, wrong, seen;
    unsigned seed, turn, batches; /* turn: of shapes and of kinds of operands */
} collector;

/* The seed of an op's cases, from its name: a new row of the table does not change the cases of
 * other ops. */
static unsigned seed_of(int op)
{
    unsigned h = 2166136261u;
    for (const char *c = ir_ops[op].name; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    return h ^ h >> 16;
}

/* Whether the op occurs in what was made. (The text could name another.) */
static bool occurs(const ir_module *m, int op)
{
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR (inst, m->funcs.items[i])
            if ((int)inst->op == op)
                return true;
    return false;
}

static void run(collector *c)
{
    if (!c->batch.cases)
        return;
    /* Enough work that two threads are used. */
    static const op_case ballast = {
        IR_OP_abs, F, "%x f32[64,2001]", "%y = abs %x : f32[64,2001]", NULL, FILL_REAL, 0, 0, true};
    op_add(&c->batch, &ballast, IR_F32, PLAIN);
    ir_module *m = op_module(&c->batch);
    c->seen += occurs(m, c->op);
    c->wrong += op_run(&c->batch, m, c->seed + c->batches++);
    base_ctx_free(ctx);
    context_setup();
    c->batch.cases = 0;
}

static void add(collector *c, const op_case *made, ir_dtype t, unsigned kind)
{
    if (!c->batch.cases)
        op_open(&c->batch);
    op_add(&c->batch, made, t, kind);
    if (c->batch.cases >= MOST)
        run(c);
}

/* ---- Elementwise ---- */

static const char *const shapes[] = {"",   "1",   "3",    "7",      "8",     "9",
                                     "15", "16",  "17",   "31",     "33",    "100",
                                     "0",  "5,3", "4,33", "2,3,17", "2,0,3", "6,1,8"};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* The published bound plus one: the evaluator has an error of its own. tests/math.c tests the
 * bounds themselves. */
static double ulps_of(int op, ir_dtype t)
{
    double bound = ir_ops[op].ulps[t == IR_F64];
    return bound == 0 ? 0 : t == IR_F16 || t == IR_BF16 ? 1 : bound + 1;
}

/* "%y = OP %a, %b, … attributes : result[shape]" */
static const char *instruction(base_arena *a, int op, const char *result, const char *names,
                               const char *attributes, const char *to, const char *shape)
{
    return base_format(a, "%s = %s %s%s : %s[%s]", result, ir_ops[op].name, names, attributes, to,
                       shape);
}

typedef struct elementwise {
    int op;
    ir_dtype t;
    const char *attributes, *to; /* element type of the result, `$` for that of the operands */
} elementwise;

static op_case *elementwise_case(base_arena *a, const elementwise *e, const char *operands,
                                 const char *body)
{
    op_case *c = base_new(a, op_case);
    *c = (op_case){.op = e->op,
                   .operands = operands,
                   .body = body,
                   .fill = FILL_SPECIAL,
                   .ulps = ir_is_float(e->t) ? ulps_of(e->op, e->t) : 0};
    return c;
}

static void elementwise_shape(collector *c, const elementwise *e, const char *shape)
{
    static const char *const names[] = {NULL, "%a", "%a, %b", "%c, %a, %b"};
    int n = ir_ops[e->op].operands;
    const char *operands =
        n == 1   ? base_format(c->arena, "%%a $[%s]", shape)
        : n == 2 ? base_format(c->arena, "%%a $[%s], %%b $[%s]", shape, shape)
                 : base_format(c->arena, "%%c bool[%s], %%a $[%s], %%b $[%s]", shape, shape, shape);
    add(c,
        elementwise_case(c->arena, e, operands,
                         instruction(c->arena, e->op, "%y", names[n], e->attributes, e->to, shape)),
        e->t, c->turn++);
}

/* Every special value with every other one, by repeating one along rows and one along columns. */
static void elementwise_grid(collector *c, const elementwise *e)
{
    if (ir_ops[e->op].operands == 1) {
        elementwise_shape(c, e, "67");
        return;
    }
    const char *choice = ir_ops[e->op].operands == 3 ? ", %c bool[31]" : "";
    const char *body =
        base_format(c->arena,
                    "%%p = broadcast %%a shape=[31,31] dims=[0] : $[31,31]\n"
                    "  %%q = broadcast %%b shape=[31,31] dims=[1] : $[31,31]\n%s  %s",
                    *choice ? "  %d = broadcast %c shape=[31,31] dims=[1] : bool[31,31]\n" : "",
                    instruction(c->arena, e->op, "%y", *choice ? "%d, %p, %q" : "%p, %q",
                                e->attributes, e->to, "31,31"));
    op_case *made = elementwise_case(c->arena, e,
                                     base_format(c->arena, "%%a $[31], %%b $[31]%s", choice), body);
    made->plain = true;
    add(c, made, e->t, 0);
}

/* A result with several consumers, none of which reads it in its order. */
static void elementwise_consumers(collector *c, const elementwise *e)
{
    static const char *const names[] = {NULL, "%a", "%a, %b", "%c, %a, %b"};
    static const char *const operands[] = {NULL, "%a $[5,9]", "%a $[5,9], %b $[5,9]",
                                           "%c bool[5,9], %a $[5,9], %b $[5,9]"};
    int n = ir_ops[e->op].operands;
    const char *body = base_format(
        c->arena,
        "%s\n  %%y2 = transpose %%y1 perm=[1,0] : %s[9,5]\n  %%r = reverse %%y1 axes=[1] "
        ": %s[5,9]\n"
        "  %%y3 = max %%r, %%y1 : %s[5,9]",
        instruction(c->arena, e->op, "%y1", names[n], e->attributes, e->to, "5,9"), e->to, e->to,
        e->to);
    add(c, elementwise_case(c->arena, e, operands[n], body), e->t, c->turn++);
}

static void elementwise_types(collector *c, int op, const char *attributes, const char *to,
                              int nshapes)
{
    for (int t = 0; t < IR_DTYPES; t++) {
        if (!(ir_dtypes[t].class & ir_ops[op].classes))
            continue;
        elementwise e = {op, (ir_dtype)t, attributes, to};
        for (int i = 0; i < nshapes; i++)
            elementwise_shape(c, &e, shapes[(c->turn + (unsigned)t) % SHAPES]);
        elementwise_grid(c, &e);
        if ((c->seed + (unsigned)t) % 2)
            elementwise_consumers(c, &e);
    }
}

/* convert and bitcast, between all pairs of types. */
static void conversions(collector *c, int op)
{
    for (int from = 0; from < IR_DTYPES; from++)
        for (int to = 0; to < IR_DTYPES; to++) {
            if (op == IR_OP_bitcast && ir_dtypes[from].bytes != ir_dtypes[to].bytes)
                continue;
            elementwise e = {op, (ir_dtype)from,
                             base_format(c->arena, " to=%s", ir_dtypes[to].name),
                             ir_dtypes[to].name};
            elementwise_shape(c, &e, "67");
            elementwise_shape(c, &e, shapes[c->turn % SHAPES]);
        }
}

static void comparisons(collector *c)
{
    for (int r = IR_EQ; r <= IR_GE; r++)
        elementwise_types(c, IR_OP_compare,
                          base_format(c->arena, " relation=%s", ir_relation_names[r]), "bool", 1);
}

static void elementwise_cases(collector *c, int op)
{
    if (op == IR_OP_convert || op == IR_OP_bitcast)
        conversions(c, op);
    else if (op == IR_OP_compare)
        comparisons(c);
    else
        /* Integer powers take long. */
        elementwise_types(c, op, "", op == IR_OP_is_nan ? "bool" : "$", op == IR_OP_pow ? 1 : 3);
}

/* ---- Tests ---- */

/* An op's cases use f32 and, alternately, every other type that they allow. GRADC_OPS_ALL=1 in the
 * environment asks for all. */
static bool has_turn(const op_case *c, unsigned number, int t)
{
    if (!op_is_typed(c))
        return t == 0;
    return (ir_dtypes[t].class & op_classes(c)) &&
           (t == IR_F32 || (number + (unsigned)t) % 2 == 0 || getenv("GRADC_OPS_ALL"));
}

START_TEST(as_the_evaluator)
{
    base_ctx *own = base_ctx_new(NULL, NULL);
    unsigned seed = seed_of(_i), number = seed;
    collector c = {.arena = base_arena_new(own), .op = _i, .seed = seed, .turn = seed};
    if (ir_ops[_i].traits & IR_ELEMENTWISE)
        elementwise_cases(&c, _i);
    for (int i = 0; i < OP_CASES; i++) {
        if (op_cases[i].op != _i)
            continue;
        for (int t = 0; t < IR_DTYPES; t++)
            if (has_turn(&op_cases[i], number, t))
                add(&c, &op_cases[i], (ir_dtype)t, c.turn++);
        number++;
    }
    run(&c);
    ck_assert_msg(c.seen > 0, "%s has no case", ir_ops[_i].name);
    ck_assert_msg(c.wrong == 0, "%s: %d results are wrong", ir_ops[_i].name, c.wrong);
    base_ctx_free(own);
}
END_TEST

/* An index of each type that is below, above, and above what its type's signed twin holds. */
static const struct { const char *type, *bounds;
} bad_indices[] = {
    {"i8", "-1:-1"},
    {"i8", "7:7"},
    {"u8", "255:255"},
    {"i16", "-32768:-32768"},
    {"u16", "65535:65535"},
    {"i32", "-2147483648:-2147483648"},
    {"u32", "7:7"},
    {"u32", "4294967295:4294967295"},
    {"i64", "-1:-1"},
    {"i64", "9e18:9e18"},
    {"u64", "7:7"},
    {"u64", "9223372036854775808:9223372036854775808"},
    {"u64", "18446744073709551615:18446744073709551615"},
};
enum { BAD_INDICES = sizeof bad_indices / sizeof *bad_indices };

START_TEST(bad_indices_are_noticed)
{
    for (int k = 0; k < 4; k++) {
        op_batch b;
        op_open(&b);
        const char *index =
            base_format(b.arena, "%%i %s[3,1] %s", bad_indices[_i].type, bad_indices[_i].bounds);
        op_case made = {.op = k % 2 ? IR_OP_scatter : IR_OP_gather, .fill = FILL_SMALL};
        made.operands = base_format(
            b.arena, k % 2 ? "%%x f32[7,9], %%u f32[3,9], %s" : "%%x f32[7,9], %s", index);
        made.body = k % 2 ? "%y = scatter %x, %i, %u combine=sum dims=[0] batch=0 : f32[7,9]"
                          : "%y = gather %x, %i dims=[0] batch=0 : f32[3,9]";
        made.plain = k < 2;
        /* The index is a constant the second time. */
        op_add(&b, &made, IR_F32, CONSTANT - (k % 2 ? 2 : 1));
        ir_module *m = op_module(&b);
        ck_assert_int_eq(op_run(&b, m, (unsigned)_i * 3), 0);
        ck_assert(b.bad);
        context_teardown();
        context_setup();
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ops");
    TCase *t = tcase_create("ops");
    tcase_add_checked_fixture(t, context_setup, context_teardown);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, as_the_evaluator, 0, IR_OPS);
    tcase_add_loop_test(t, bad_indices_are_noticed, 0, BAD_INDICES);
    suite_add_tcase(s, t);
    return suite_run(s);
}
