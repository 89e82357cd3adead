/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Schedules as text: what is chosen for kernels of known shapes, that a text reads back to itself,
 * and what is refused, with which message. tests/kernels.c runs random schedules. */
#include "schedule/schedule.h"
#include "tests/tiny_model.h"

#include <stdio.h>

static ir_module *m;

/* The schedules of m on one level, as `dump --after=schedule` prints them. */
static const char *text_of(const char *cpu, const struct sched_wishes *wishes)
{
    cg_spec spec = {m, NULL};
    cg_request r = {.spec = &spec, .nspecs = 1, .cpu = &cpu, .ncpus = 1, .schedule = wishes};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    bool ok = cg_print_schedule(ctx, arena, &r, out);
    fclose(out);
    const char *copy = ok ? base_strdup(arena, text) : NULL;
    free(text);
    return copy;
}

/* The line of kernel k, its comment and the blanks around left out. */
static const char *line_of(const char *text, int k)
{
    const char *at = strstr(text, base_format(arena, "\n  %d ", k));
    ck_assert_msg(at != NULL, "no kernel %d in\n%s", k, text);
    at = strchr(at + 3, ' ') + 1;
    size_t n = 0;
    while (at[n] != '\n' && strncmp(at + n, "  //", 4))
        n++;
    return base_strndup(arena, at, n);
}

static void plan(const char *body)
{
    m = tiny_planned(ctx, arena, base_format(arena, "gir 1\nmodule \"m\"\n%s", body));
}

/* ---- Choices ---- */

#define MATMUL(M, K, N)                                                                        \
    "entry @forward(input %x : f32[" #M "," #K "], input %w : f32[" #K "," #N "]) {\n"         \
    "  %y = dot_general %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] : " \
    "f32[" #M "," #N "]\n  return (output \"y\" %y)\n}\n"
#define BYTES(lhs, rhs)                                                                          \
    "entry @forward(input %x : " lhs "[64,768], input %w : " rhs "[768,512]) {\n"                \
    "  %y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] accumulate=i32 : i32[64,512]\n" \
    "  return (output \"y\" %y)\n}\n"
#define BF16                                                                       \
    "entry @forward(input %x : bf16[64,768], input %w : bf16[768,512]) {\n"        \
    "  %y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : bf16[64,512]\n" \
    "  return (output \"y\" %y)\n}\n"
#define UNARY(op, shape)                                                               \
    "entry @forward(input %x : f32[" shape "]) {\n  %y = " op " %x : f32[" shape "]\n" \
    "  return (output \"y\" %y)\n}\n"

static const struct choice {
    const char *body, *cpu, *line;
} choices[] = {
    {MATMUL(64, 784, 512), "x86-64-v3", "tile NR=16 MR=6 unroll=4 epilogue=unrolled"},
    {MATMUL(64, 784, 512), "x86-64-v4", "tile NR=32 MR=13 unroll=4 epilogue=unrolled"},
    {MATMUL(64, 784, 512), "x86-64", "block NR=8 MR=6 MC=66 KC=196 unroll=8"},
    /* Steps of pages; a tile's operands beyond the next cache. */
    {MATMUL(64, 784, 1024), "x86-64-v3", "block NR=16 MR=6 MC=66 KC=196 unroll=8 pack"},
    {MATMUL(256, 4096, 96), "x86-64-v4", "block NR=32 MR=11 MC=44 KC=256 unroll=8"},
    {BYTES("i8", "i8"), "x86-64-v3", "dot by=pmaddwd NR=8 MR=6 MC=66 NC=32 KC=384 unroll=2"},
    {BYTES("u8", "i8"), "x86-64-v3+avxvnni", "dot by=vnni NR=16 MR=6 MC=66 NC=32 KC=384 unroll=2"},
    {BYTES("i8", "i8"), "x86-64-v3+avxvnniint8",
     "dot by=vnniint8 NR=16 MR=6 MC=66 NC=32 KC=384 unroll=2"},
    {BYTES("i8", "i8"), "x86-64-v3+avxvnni+avxvnniint8",
     "dot by=vnniint8 NR=16 MR=6 MC=66 NC=32 KC=384 unroll=2"},
    {BYTES("u8", "u8"), "x86-64-v4+avx512vnni",
     "dot by=vnni NR=32 MR=11 MC=66 NC=32 KC=384 unroll=2"},
    {BYTES("i8", "u8"), "x86-64-v4+avx512vnni+amx-int8",
     "dot by=amxint8 NR=32 MR=32 MC=64 NC=32 KC=384 unroll=1"},
    {BYTES("i8", "u8"), "x86-64-v3+amx-int8",
     "dot by=amxint8 NR=32 MR=32 MC=64 NC=32 KC=384 unroll=1"},
    /* Summed in f32 and rounded once, with an accumulator of f32 or without. */
    {BF16, "x86-64-v4+avx512bf16", "dot by=bf16 NR=32 MR=11 MC=66 NC=32 KC=256 unroll=2"},
    {BF16, "x86-64-v3", "dot by=widen NR=16 MR=6 MC=66 NC=32 KC=256 unroll=2"},
    /* Several registers of lanes are a power of two of them. */
    {MATMUL(64, 256, 144), "x86-64-v3", "tile NR=16 MR=6 unroll=4 epilogue=unrolled"},
    {MATMUL(64, 256, 48), "x86-64-v4", "tile NR=32 MR=13 unroll=4 epilogue=unrolled"},
    {MATMUL(4, 256, 256), "x86-64-v4", "tile NR=64 MR=4 unroll=4 epilogue=unrolled"},
    {MATMUL(4, 40, 48), "x86-64-v4", "tile NR=32 MR=4 unroll=4 epilogue=unrolled"},
    {MATMUL(4, 40, 7), "x86-64-v4", "tile NR=7 MR=4 unroll=4 epilogue=unrolled"},
    {MATMUL(4, 40, 64), "x86-64-v3", "tile NR=16 MR=4 unroll=4 epilogue=unrolled"},
    {MATMUL(1, 8, 3), "x86-64-v3", "tile NR=3 unroll=8 epilogue=unrolled"},
    {UNARY("neg", "1000,1000"), "x86-64-v3", "map flat polymorphic lanes=16 chunk=4096"},
    {UNARY("neg", "7"), "x86-64-v3", "map flat polymorphic lanes=7 chunk=4096"},
    {"entry @forward(input %x : f32[100,300]) {\n"
     "  %y = reduce %x combine=sum axes=[1] : f32[100]\n  return (output \"y\" %y)\n}\n",
     "x86-64-v3", "row lanes=1 accumulators=4 parallel=1"},
    {"entry @forward(input %x : f32[100,300]) {\n"
     "  %y = cumulative %x combine=sum axis=0 reverse=0 exclusive=0 : f32[100,300]\n"
     "  return (output \"y\" %y)\n}\n",
     "x86-64-v3", "cumulative lane=1 lanes=8 chunk=256"},
};

START_TEST(kernels_of_known_shapes)
{
    const struct choice *c = &choices[_i];
    plan(c->body);
    ck_assert_str_eq(line_of(text_of(c->cpu, NULL), 0), c->line);
}
END_TEST

/* Every printed text reads back to itself, and that of one level does not affect another. */
START_TEST(a_text_gives_itself_again)
{
    m = tiny_module(ctx, arena, 100);
    const char *text = text_of("x86-64-v3", NULL), *other = text_of("x86-64-v4", NULL);
    struct sched_wishes *w = sched_read(ctx, arena, text, strlen(text), "s.txt");
    ck_assert_msg(w != NULL, "%s", first_error);
    ck_assert_str_eq(text_of("x86-64-v3", w), text);
    ck_assert_str_eq(text_of("x86-64-v4", w), other);
}
END_TEST

START_TEST(what_is_wished_is_done)
{
    static const char wish[] = "schedule 1\nlevel \"x86-64-v3\"\nfunc @forward\n"
                               "  0 tile MR=3 NR=24 epilogue=loop unroll=2 // by hand\n";
    plan(MATMUL(64, 784, 512));
    struct sched_wishes *w = sched_read(ctx, arena, wish, sizeof wish - 1, "s.txt");
    ck_assert_msg(w != NULL, "%s", first_error);
    const char *text = text_of("x86-64-v3", w);
    ck_assert_msg(text != NULL, "%s", first_error);
    ck_assert_str_eq(line_of(text, 0), "tile NR=24 MR=3 unroll=2 epilogue=loop");
}
END_TEST

/* ---- Refusals ---- */

#define HEAD "schedule 1\nlevel \"x86-64-v3\"\nfunc @forward\n"
static const struct refusal {
    const char *text, *says;
} refusals[] = {
    {"", "expected `schedule 1`, found the end"},
    {"schedule 2\n", "schedule version 2 is not supported, only version 1"},
    {"schedule 1\n  0 tile\n", "expected `level`"},
    {"schedule 1\nlevel \"x86-64-v3\"\n  0 tile\n", "expected `func`"},
    {HEAD "  0 fast\n", "expected a strategy, found `fast`"},
    {HEAD "  0 tile NR=\n", "expected a value"},
    {HEAD "  0 tile NR=8 )\n", "expected the end of the line"},
    {HEAD "  0 tile NR=8\n  0 tile NR=8\n", "is scheduled twice"},
    {HEAD "  0 map lanes=8\n", "the kernel is a contraction, `map` is for a map"},
    {HEAD "  1 tile NR=8\n", "there is no kernel 1, part 0, of @forward, module 0"},
    {HEAD "  0 part 1 tile NR=8\n", "there is no kernel 0, part 1"},
    {"schedule 1\nlevel \"x86-64-v3\"\nfunc @backward\n  0 tile\n", "of @backward"},
    {"schedule 1\nlevel \"x86-64-v3\"\nfunc @forward module 1\n  0 tile\n", "module 1"},
    {HEAD "  0 tile KC=8\n", "`tile` has no `KC`"},
    {HEAD "  0 tile NR\n", "`NR` needs a value"},
    {HEAD "  0 tile NR=8 MR=2 NR=16\n", "`NR` is given twice"},
    {HEAD "  0 block NR=8 MR=2 MC=2 KC=4 pack pack\n", "`pack` is given twice"},
    {HEAD "  0 tile NR=x\n", "`NR` takes one number"},
    {HEAD "  0 block pack=1\n", "`pack` takes no value"},
    {HEAD "  0 tile NR=8,8\n", "`NR` takes one number"},
    {HEAD "  0 tile NR=0\n", "NR is not 1 lane to 8 vector registers"},
    {HEAD "  0 tile NR=8 MR=65\n", "`MR` does not fit the row axes"},
    {HEAD "  0 tile NR=8 MR=64\n", "MR is more than 32 rows"},
    {HEAD "  0 tile NR=8 k=1\n", "`k` does not name each summed axis once"},
    {HEAD "  0 tile NR=8 unroll=17\n", "unroll is not 1 to 16 products"},
    {HEAD "  0 tile NR=8 epilogue=none\n", "`epilogue` is loop or unrolled"},
    {HEAD "  0 block NR=12 MR=4 MC=4 KC=4\n", "NR is not 1 to 8 vector registers"},
    {HEAD "  0 block NR=8 MR=13 MC=26 KC=4\n", "MR is not 1 to 12 rows"},
    {HEAD "  0 block NR=8 MR=4 MC=3 KC=4\n", "MC is not MR to 4096 rows"},
    {HEAD "  0 block NR=8 MR=4 MC=4 KC=1000\n",
     "KC is not a multiple of the inner summed axes' extents"},
};

#define DOT "schedule 1\nlevel \"x86-64-v3\"\nfunc @forward\n  0 dot "
static const struct refusal dot_refusals[] = {
    {DOT "NR=8 MR=6 MC=66 NC=32 KC=384\n", "`by` does not name an instruction"},
    {DOT "by=vnni NR=16 MR=6 MC=66 NC=32 KC=384\n", "the level does not support the instruction"},
    {DOT "by=bf16 NR=16 MR=6 MC=66 NC=32 KC=384\n", "or it is for other types"},
    {DOT "by=fast NR=16 MR=6 MC=66 NC=32 KC=384\n", "does not name an instruction"},
    {DOT "by=pmaddwd NR=8 MR=6 MC=66 NC=0 KC=384\n", "NC is not a positive multiple of NR"},
    {DOT "by=pmaddwd NR=8 MR=6 MC=66 KC=384\n", "NC is not a positive multiple of NR"},
    {DOT "by=pmaddwd NR=8 MR=6 MC=66 NC=12 KC=384\n", "NC is not a positive multiple of NR"},
    {DOT "by=pmaddwd NR=8 MR=6 MC=66 NC=136 KC=384\n", "NC is not a positive multiple of NR"},
    {DOT "by=pmaddwd NR=8 MR=6 MC=66 NC=32 KC=382\n",
     "KC is not a multiple of the instruction's group"},
    {DOT "by=pmaddwd NR=4 MR=6 MC=66 NC=32 KC=384\n", "NR is not 1 to 8 vector registers"},
};

START_TEST(what_cannot_be_obeyed_by_a_dot_is_refused)
{
    const struct refusal *r = &dot_refusals[_i];
    plan(BYTES("i8", "i8"));
    *first_error = 0;
    struct sched_wishes *w = sched_read(ctx, arena, r->text, strlen(r->text), "s.txt");
    const char *text = w ? text_of("x86-64-v3", w) : NULL;
    ck_assert_msg(!text, "obeyed:\n%s", text);
    ck_assert_msg(strstr(first_error, r->says) != NULL, "`%s` is not in: %s", r->says, first_error);
    *first_error = 0;
}
END_TEST

START_TEST(what_cannot_be_obeyed_is_refused_with_its_reason)
{
    const struct refusal *r = &refusals[_i];
    plan(MATMUL(64, 784, 512));
    *first_error = 0;
    struct sched_wishes *w = sched_read(ctx, arena, r->text, strlen(r->text), "s.txt");
    const char *text = w ? text_of("x86-64-v3", w) : NULL;
    ck_assert_msg(!text, "obeyed:\n%s", text);
    ck_assert_msg(strstr(first_error, r->says) != NULL, "`%s` is not in: %s", r->says, first_error);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("schedule");
    TCase *c = tcase_create("texts");
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_loop_test(c, kernels_of_known_shapes, 0, sizeof choices / sizeof *choices);
    tcase_add_test(c, a_text_gives_itself_again);
    tcase_add_test(c, what_is_wished_is_done);
    tcase_add_loop_test(c, what_cannot_be_obeyed_is_refused_with_its_reason, 0,
                        sizeof refusals / sizeof *refusals);
    tcase_add_loop_test(c, what_cannot_be_obeyed_by_a_dot_is_refused, 0,
                        sizeof dot_refusals / sizeof *dot_refusals);
    suite_add_tcase(s, c);
    return suite_run(s);
}
