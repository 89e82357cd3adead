/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The text form: what is printed reads back to itself, byte for byte; errors are reported with
 * their position. */
#include "ir/lex.h"
#include "base/path.h"
#include "files/gir.h"
#include "files/safetensors.h"
#include "ir/text.h"
#include "tests/suite.h"

#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct report {
    int line, column;
    char text[300], source[100];
} report;
static struct {
    report items[BASE_MAX_DIAGNOSTICS];
    int count;
} seen;

static void sink(void *user, const base_diagnostic *d)
{
    (void)user;
    report *r = &seen.items[seen.count++];
    ck_assert_int_eq(d->severity, BASE_ERROR);
    memset(r, 0, sizeof *r);
    r->line = d->loc ? d->loc->line : 0;
    r->column = d->loc ? d->loc->column : 0;
    snprintf(r->text, sizeof r->text, "%s", d->text);
    snprintf(r->source, sizeof r->source, "%s", d->loc && d->loc->source ? d->loc->source : "");
}

static base_ctx *ctx;
static base_arena *arena;

static void setup(void)
{
    seen.count = 0;
    ctx = base_ctx_new(sink, NULL);
    arena = base_arena_new(ctx);
}

static void teardown(void)
{
    base_ctx_free(ctx);
}

static char *printed(const ir_module *m)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    ir_print(f, m, NULL);
    fclose(f);
    char *copy = base_strdup(arena, text);
    free(text);
    return copy;
}

static ir_module *parse(const char *text)
{
    return ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
}

static void same_lines(const char *a, const char *b)
{
    for (int line = 1; *a || *b; line++) {
        size_t n = strcspn(a, "\n"), k = strcspn(b, "\n");
        if (n != k || memcmp(a, b, n))
            ck_abort_msg("line %d differs:\n%.*s\n%.*s", line, (int)n, a, (int)k, b);
        a += n + (a[n] == '\n');
        b += k + (b[k] == '\n');
    }
}

static char *file_text(const char *path)
{
    base_data data;
    ck_assert(base_read_whole_file(arena, path, 1 << 20, &data));
    return (char *)data.bytes;
}

START_TEST(every_op_round_trips)
{
    char *text = file_text("tests/text/ops.gir");
    ir_module *m = parse(text);
    for (int i = 0; i < seen.count; i++)
        fprintf(stderr, "%d:%d: %s\n%s\n", seen.items[i].line, seen.items[i].column,
                seen.items[i].text, seen.items[i].source);
    ck_assert_ptr_nonnull(m);
    bool used[IR_OPS] = {false};
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR (inst, m->funcs.items[i])
            used[inst->op] = true;
    for (int op = 0; op < IR_OPS; op++)
        if (!used[op])
            ck_abort_msg("tests/text/ops.gir lacks `%s`", ir_ops[op].name);
    same_lines(printed(m), text);
    same_lines(printed(parse(printed(m))), text);
}
END_TEST

START_TEST(the_page_shows_what_is_printed)
{
    char *page = strstr(file_text("docs/text-form.md"), "    gir 1\n"),
         *text = base_alloc(arena, 10000), *to = text;
    ck_assert_ptr_nonnull(page);
    for (const char *line = page; strncmp(line, "## ", 3); line += strcspn(line, "\n") + 1) {
        const char *large = strstr(line, "large("); /* the page has no file beside it */
        int n = (int)strcspn(line, "\n"), at = n ? 4 : 0;
        if (large && large < line + n)
            to += sprintf(to, "%.*ssplat(0)\n", (int)(large - line) - at, line + at);
        else
            to += sprintf(to, "%.*s\n", n - at, line + at);
        ck_assert_int_lt(to - text, 9000);
    }
    to[-1] = 0; /* the empty line before the heading */
    ir_module *m = parse(text);
    ck_assert_ptr_nonnull(m);
    same_lines(printed(m), text);
}
END_TEST

/* ---- Numbers ---- */

static void same_element(ir_dtype t, uint64_t bits)
{
    char text[IR_ELEMENT_TEXT];
    uint64_t again = 0;
    int n = ir_format_element(text, t, &bits);
    ck_assert_int_eq(n, (int)strlen(text));
    const char *wrong = ir_read_element(t, text, (size_t)n, &again);
    if (wrong || memcmp(&bits, &again, (size_t)ir_dtypes[t].bytes))
        ck_abort_msg("%s: %llx is printed as %s and read as %llx", ir_dtypes[t].name,
                     (unsigned long long)bits, text, (unsigned long long)again);
}

START_TEST(elements_keep_their_bits)
{
    for (int locale = 0; locale < 2; locale++) {
        for (uint64_t bits = 0; bits < 65536; bits += locale ? 97 : 1) {
            same_element(IR_F16, bits);
            same_element(IR_BF16, bits);
        }
        uint64_t x = 0x9e3779b97f4a7c15u;
        for (int i = 0; i < 20000; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            same_element(IR_F32, x >> 32);
            same_element(IR_F64, x);
            same_element(IR_I64, x);
            same_element(IR_U64, x);
            same_element(IR_I32, x >> 32);
            same_element(IR_U8, x >> 56);
            same_element(IR_I8, x >> 56);
        }
        const uint64_t edges[] = {0,
                                  1,
                                  0x8000000000000000,
                                  0x7ff0000000000000,
                                  0xfff0000000000000,
                                  0x7ff8000000000000,
                                  0xfff8000000000000,
                                  0x7ff0000000000001,
                                  0x7fefffffffffffff,
                                  0x0010000000000000,
                                  UINT64_MAX,
                                  INT64_MAX};
        for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
            for (int t = 1; t < IR_DTYPES; t++)
                same_element((ir_dtype)t, edges[i] >> (64 - 8 * ir_dtypes[t].bytes));
        if (!setlocale(LC_ALL, "de_DE.UTF-8")) /* with a decimal comma, where it is installed */
            break;
    }
    setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(elements_are_short_and_checked)
{
    const struct { ir_dtype t; double v; const char *text;
    } shown[] = {
        {IR_F32, 0.1f, "0.1"},          {IR_F64, 0.1, "0.1"},
        {IR_F32, 16777216, "16777216"}, {IR_F32, 1e20, "1e20"},
        {IR_F64, 1.5e-7, "1.5e-7"},     {IR_F64, -0.00012, "-0.00012"},
        {IR_F64, -0.0, "-0"},           {IR_F64, 123456.75, "123456.75"},
        {IR_F16, 65504, "65500"},       {IR_F64, 1e15, "1000000000000000"},
        {IR_F64, NAN, "nan"},           {IR_F32, -INFINITY, "-inf"},
        {IR_BOOL, 1, "true"},           {IR_I8, -128, "-128"},
    };
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        char text[IR_ELEMENT_TEXT];
        ir_type t = ir_scalar_type(shown[i].t);
        ir_literal *l = ir_literal_new(arena, &t);
        ir_literal_set(l, 0, shown[i].v);
        ir_format_element(text, shown[i].t, l->data);
        ck_assert_str_eq(text, shown[i].text);
    }
    const struct { ir_dtype t; const char *text; bool ok;
    } read[] = {
        {IR_I8, "127", true},
        {IR_I8, "128", false},
        {IR_I8, "-128", true},
        {IR_I8, "-129", false},
        {IR_U8, "-1", false},
        {IR_U8, "-0", true},
        {IR_U64, "18446744073709551615", true},
        {IR_U64, "18446744073709551616", false},
        {IR_I64, "9223372036854775808", false},
        {IR_I64, "-9223372036854775808", true},
        {IR_I32, "0x7fffffff", true},
        {IR_I32, "0x80000000", false},
        {IR_I32, "1.5", false},
        {IR_I32, "", false},
        {IR_I32, "-", false},
        {IR_I32, "1e3", false},
        {IR_F32, "1e39", false},
        {IR_F16, "65519", true},
        {IR_F16, "65520", false},
        {IR_F32, "0x7f800001", true},
        {IR_F32, "0x17f800001", false},
        {IR_F32, "0x", false},
        {IR_F32, "1e", false},
        {IR_F32, ".", false},
        {IR_F32, ".5", true},
        {IR_F32, "5.", true},
        {IR_F32, "1,5", false},
        {IR_F32, "0x1p3", false},
        {IR_F32, "infinity", false},
        {IR_F32, "nan(1)", false},
        {IR_F64, "1e-400", true},
        {IR_BOOL, "1", false},
        {IR_BOOL, "true", true},
    };
    for (size_t i = 0; i < sizeof read / sizeof *read; i++) {
        uint64_t element;
        ck_assert_msg(!ir_read_element(read[i].t, read[i].text, strlen(read[i].text), &element) ==
                          read[i].ok,
                      "%s as %s", read[i].text, ir_dtypes[read[i].t].name);
    }
}
END_TEST

/* ---- What is wrong, and where ---- */

/* Lines 1 to 4 of the text stand before each case. */
#define HEAD "gir 1\nparam \"w\" : f32[2,3]\nparam \"v\" : f32[3]\n\n"
/* Lines from 6 on. */
#define BODY(lines) \
    HEAD "entry @f(input %x : f32[2,3], state %w : f32[2,3]) {\n" lines "\n    return %x\n}\n"

static const struct {
    const char *text;
    int line, column;
    const char *why;
} errors[] = {
    {"", 1, 1, "not gradc's text form"},
    {"{\"a\":1}", 1, 1, "not gradc's text form"},
    {"gir 2\n", 1, 5, "version 2"},
    {"gir x\n", 1, 5, "an integer"},
    {HEAD "bogus\n", 5, 1, "expected one of module, source"},
    {HEAD "param \"w\" : f32[1]\n", 5, 7, "a state of this name is already defined"},
    {HEAD "param \"a\" : f99[1]\n", 5, 13, "expected one of bool, i8"},
    {HEAD "param \"a\" : f32[-1]\n", 5, 13, "negative"},
    {HEAD "param \"a\" : f32[4611686018427387904,4]\n", 5, 13, "limit"},
    {HEAD "param \"a\" : f32[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]\n", 5, 13, "rank 17"},
    {HEAD "param \"a\" : f32[9223372036854775808]\n", 5, 17, "out of range"},
    {HEAD "param \"a\" : f32[2] init [1, 2, 3]\n", 5, 30, "expected `]`, found `,`"},
    {HEAD "param \"a\" : f32[2] init [1]\n", 5, 27, "expected `,`, found `]`"},
    {HEAD "param \"a\" : i8[2] init [1, 300]\n", 5, 28, "`300` is out of range (i8)"},
    {HEAD "param \"a\" : f32[65] init [1]\n", 5, 26, "65 elements are written out"},
    {HEAD "param \"a\" : f32[1000000000] init splat(1)\n", 5, 34, "the limit is 67108864"},
    {HEAD "param \"a\" : f32[0] init splat(1)\n", 5, 25, "written `[]`"},
    {HEAD "param \"a\" : f32[100] init large(\"a\")\n", 5, 27, "no folder"},
    {HEAD "slot \"a\" : f32[2] of \"none\"\n", 5, 22, "unknown state"},
    {HEAD "slot \"a\" : f32[2] of \"a\"\n", 0, 0, "belongs to no parameter"},
    {HEAD "param \"a\" : i32[2] trainable\n", 0, 0, "cannot be trained"},
    {HEAD "param \"a\" : f32[2] wrong\n", 5, 20, "expected one of trainable, of, why, init"},
    {HEAD "param \"a : f32[2]\n", 5, 7, "without a closing quote"},
    {HEAD "param \"a\\q\" : f32[2]\n", 5, 7, "unknown escape"},
    {HEAD "param \"a\\x00\" : f32[2]\n", 5, 7, "zero byte"},
    {HEAD "param a : f32[2]\n", 5, 7, "expected a string, found `a`"},
    {HEAD "param \"a\" : f32[2] = 3\n", 5, 20, "expected the end of the line"},
    {HEAD "entry @f(input %x : f32[2]) {\n", 6, 1, "expected `}` at the end of the function"},
    {HEAD "entry f() {\n}\n", 5, 7, "the function's name"},
    {HEAD "entry @f() {\n}\n", 6, 1, "an instruction or `return`"},
    {HEAD "entry @f() {\nreturn\n}\nentry @f() {\nreturn\n}\n", 8, 7, "a function of this name"},
    {HEAD "entry @f(input %x : f32[2] input %y : f32[2]) {\nreturn\n}\n", 5, 28,
     "expected `,` or `)`"},
    {HEAD "entry @f(input %x : f32[2], input %x : f32[2]) {\nreturn\n}\n", 5, 35,
     "defined twice; first in line 5"},
    {HEAD "entry @f(input %1 \"x\" : f32[2], input %2 \"x\" : f32[2]) {\nreturn\n}\n", 0, 0,
     "two inputs are named 'x'"},
    {HEAD "entry @f(state %u : f32[2]) {\nreturn\n}\n", 5, 16, "unknown state"},
    {HEAD "entry @f(state %v : f32[2]) {\nreturn\n}\n", 5, 16,
     "the state has type f32[3], found f32[2]"},
    {HEAD "entry @f(state %1 \"v\" : f32[3], state %2 \"v\" : f32[3]) {\nreturn\n}\n", 0, 0,
     "two parameters"},
    {HEAD "entry @f(input %x : f32[2,3] dims(a)) {\nreturn\n}\n", 5, 36, "expected `,`, found `)`"},
    {HEAD "entry @f(input %x : f32[1] dims(a, b)) {\nreturn\n}\n", 5, 28, "exactly 1 dimension"},
    {BODY("    %1 = frobnicate %x : f32[2,3]"), 6, 10, "unknown operation `frobnicate`"},
    {BODY("    %1 = add %x : f32[2,3]"), 6, 10, "add: expected 2 operands, got 1"},
    {BODY("    %1 = neg %x, %x : f32[2,3]"), 6, 10, "neg: expected 1 operand, got 2"},
    {BODY("    %1 = add %x, %y : f32[2,3]"), 6, 18, "`%y` is not defined before"},
    {BODY("    %1 = add %x, %1 : f32[2,3]"), 6, 18, "`%1` is not defined before"},
    {BODY("    %1 = add %x, 3 : f32[2,3]"), 6, 18, "expected a value, found `3`"},
    {BODY("    %1 = add %x, %w"), 6, 20, "expected `:`, found the end of the line"},
    {BODY("    %1 = add %x, %w : f32[3,2]"), 6, 23, "result 0 has type f32[2,3], found f32[3,2]"},
    {BODY("    %1 = add %x, %w : f32[2,3], f32[2]"), 6, 10,
     "1 results here, got 1 names and 2 types"},
    {BODY("    %1, %2 = add %x, %w : f32[2,3]"), 6, 14, "got 2 names"},
    {BODY("    %x = add %x, %w : f32[2,3]"), 6, 5, "defined twice; first in line 5"},
    {BODY("    add %x, %w : f32[2,3]"), 6, 5, "got 0 names"},
    {BODY("    %1 = add %x, %w : f32[2,3] junk"), 6, 32, "expected the end of the line"},
    {BODY("    %1 = add %x, %w $ : f32[2,3]"), 6, 21, "unexpected character"},
    {BODY("    %1 = convert %x : f32[2,3]"), 6, 10, "lacks the attribute `to`"},
    {BODY("    %1 = convert %x to=f33 : f32[2,3]"), 6, 24, "found `f33`"},
    {BODY("    %1 = convert %x to=i32 to=i32 : i32[2,3]"), 6, 28, "given twice"},
    {BODY("    %1 = convert %x from=i32 : i32[2,3]"), 6, 21,
     "`convert` has no attribute `from`; it has to"},
    {BODY("    %1 = reduce %x combine=avg axes=[0] : f32[3]"), 6, 28, "expected one of sum, prod"},
    {BODY("    %1 = reduce %x combine=sum axes=[0,2] : f32[3]"), 6, 10,
     "reduce: axis 2 is outside"},
    {BODY("    %1 = reduce %x combine=sum axes=[0;1] : f32[3]"), 6, 39, "expected `,` or `]`"},
    {BODY("    %1 = dot_general %x, %w accumulate=i32 : i32[2,3,2,3]"), 6, 10,
     "products of f32[2,3] and f32[2,3] cannot be accumulated in i32"},
    {BODY("    %1 = dot_general %x, %w accumulate=bool : f32[2,3,2,3]"), 6, 10,
     "bool is not an accumulator type"},
    {BODY("    %v = convert %x to=f16 : f16[2,3]\n    %1 = dot_general %x, %v : f32[2,3,2,3]"), 7,
     10, "operands of different types need `accumulate`"},
    {BODY("    %1 = constant : f32[3]"), 6, 10, "lacks the attribute `value`"},
    {BODY("    %1 = constant value=[1, 2] : f32[3]"), 6, 30, "expected `,`, found `]`"},
    {BODY("    %1 = constant value=[1, x, 2] : f32[3]"), 6, 29, "`x` is not a number (f32)"},
    {BODY("    %v = constant value=0 : f32[]\n %1 = pad %x, %v low=[-9000000000000000000,0] "
          "high=[9000000000000000000,0] interior=[0,0] : f32[2,3]"),
     7, 7, "too large"},
    {BODY("    %1 = reduce_window %x combine=sum window=[1,1] stride=[1,1] "
          "low=[-9000000000000000000,0] high=[9000000000000000000,0] "
          "base_dilation=[1,1] "
          "window_dilation=[1,1] : f32[2,3]"),
     6, 10, "a window attribute is out of range"},
    {BODY("    %c = reshape %x shape=[1,1,6] : f32[1,1,6]\n    %1 = convolution %c, %c lhs=[0,1,2] "
          "rhs=[0,1,2] out=[0,1,2] stride=[99999999999999] "
          "low=[99999999999999] high=[0] lhs_dilation=[1] rhs_dilation=[1] feature_groups=1 "
          "batch_groups=1 : f32[1,1,2]"),
     7, 10, "f32[1,1,6] with padding and input dilation is too large"},
    {BODY("    %1 = constant value=1 : f32[], f32[]"), 6, 10, "exactly one result type"},
    {BODY("    %1 = call %x callee=@none : f32[2,3]"), 6, 25, "unknown function `@none`"},
    {BODY("    %1 = call %x, %w callee=@f : f32[2,3]"), 6, 29, "`@f` calls itself"},
    {BODY("    %1 = neg %x : f32[2,3] ! sideways"), 6, 30, "expected one of forward, backward"},
    {BODY("    %1 = neg %x : f32[2,3] ! backward of %77"), 6, 42,
     "no instruction defines this value"},
    {BODY("    %1 = neg %x : f32[2,3] ! backward of %x"), 6, 42,
     "no instruction defines this value"},
    {BODY("    %1 = neg %x : f32[2,3] ! node -4"), 6, 35, "out of range"},
    {HEAD "entry @f(input %x : f32[2]) {\nreturn output \"a\" %y\n}\n", 6, 19,
     "`%y` is not defined"},
    {HEAD "entry @f(input %x : f32[2]) {\nreturn update \"v\" %x\n}\n", 6, 19,
     "the state has type f32[3], found f32[2]"},
    {HEAD "entry @f(input %x : f32[2]) {\nreturn update \"u\" %x\n}\n", 6, 15, "unknown state"},
    {HEAD "entry @f(input %x : f32[2]) {\nreturn %x loss, %x loss\n}\n", 6, 20,
     "already has a loss"},
    {HEAD "entry @f(input %x : i32[2]) {\nreturn %x loss\n}\n", 0, 0, "the loss is not a float"},
    {HEAD "entry @f(state %v : f32[3]) {\nreturn update \"v\" %v, update \"v\" %v\n}\n", 0, 0,
     "two updates"},
    {HEAD "entry @f(input %x : f32[2]) {\nreturn (output \"a\" %x, output \"a\" %x)\n}\n", 0, 0,
     "two outputs are named 'a'"},
    {HEAD "entry @f(input %x : f32[2]) {\nreturn %x %x\n}\n", 6, 11,
     "expected `,` or the end of the line"},
    {HEAD "entry @f(input %x : f32[2]) {\nreturn %x\n%1 = neg %x : f32[2]\n}\n", 7, 1,
     "expected `}` after the return"},
    {HEAD "func @g(%x : f32[3]) {\nreturn update \"v\" %x\n}\nentry @f(input %x : f32[3]) {\n%1 = "
          "call %x callee=@g : f32[3]\nreturn %1\n}\n",
     0, 0, "a called function cannot update"},
    {HEAD "func @g(%x : f32[3]) {\nreturn %x\n}\nentry @f(input %x : f32[3]) {\n%1 = call %x "
          "callee=@g vjp=@g : f32[3]\nreturn %1\n}\n",
     9, 0, "the derivative @g takes 1 values"},
};

START_TEST(errors_have_their_place)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        teardown();
        setup();
        ir_module *m = parse(errors[i].text);
        const report *r = &seen.items[0];
        if (m || seen.count != 1 || r->line != errors[i].line ||
            (errors[i].column && r->column != errors[i].column) || !strstr(r->text, errors[i].why))
            ck_abort_msg("case %d: %d errors, first %d:%d %s; expected %d:%d %s in\n%s", (int)i,
                         seen.count, r->line, r->column, r->text, errors[i].line, errors[i].column,
                         errors[i].why, errors[i].text);
    }
}
END_TEST

START_TEST(all_errors_in_one_run)
{
    ck_assert_ptr_null(parse(BODY(
        "    %1 = add %x, %y : f32[2,3]\n    %2 = neg %1 : f32[2,3]\n    %3 = neg %w, : f32[2,3]\n"
        "    %4 = exp %w : f32[1]\n    %5 = mul %4, %2 : f32[2,3]")));
    ck_assert_int_eq(seen.count, 3); /* what uses a refused value is not refused again */
    ck_assert_int_eq(seen.items[0].line, 6);
    ck_assert_int_eq(seen.items[1].line, 8);
    ck_assert_int_eq(seen.items[2].line, 9);
    ck_assert_str_eq(seen.items[2].source, "    %4 = exp %w : f32[1]");
}
END_TEST

/* ---- Hostile text ---- */

/* n functions, each calling the next (or, last, the first if `ring`). */
static const char *chain(int n, bool ring, bool backwards)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fputs("gir 1\n", f);
    for (int k = 0; k < n; k++) {
        int i = backwards ? n - 1 - k : k;
        fprintf(f, "func @f%d(%%0 : f32[]) {\n", i);
        if (i + 1 < n || ring)
            fprintf(f, "%%1 = call %%0 callee=@f%d : f32[]\n", (i + 1) % n);
        fputs("return %0\n}\n", f);
    }
    fclose(f);
    const char *copy = base_strdup(arena, text);
    free(text);
    return copy;
}

START_TEST(calls_are_bounded)
{
    for (int backwards = 0; backwards < 2; backwards++) {
        ck_assert_ptr_nonnull(parse(chain(IR_MAX_DEPTH, false, backwards)));
        ck_assert_ptr_null(parse(chain(IR_MAX_DEPTH + 1, false, backwards)));
        ck_assert_ptr_nonnull(strstr(seen.items[seen.count - 1].text, "more than 100 deep"));
        ck_assert_ptr_null(parse(chain(9000, false, backwards)));
        teardown();
        setup();
        ck_assert_ptr_null(parse(chain(7, true, backwards)));
        ck_assert_ptr_nonnull(strstr(seen.items[seen.count - 1].text, "calls itself"));
    }
}
END_TEST

/* `head`, n times `middle`, `tail`: ends, with a module or a report. */
static void survives(const char *head, const char *middle, int n, const char *tail)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fputs(head, f);
    for (int i = 0; i < n; i++)
        fputs(middle, f);
    fputs(tail, f);
    fclose(f);
    base_ctx *c = base_ctx_new(NULL, NULL);
    base_try frame;
    if (!setjmp(base_try_push(c, &frame))) {
        ir_module *m = ir_parse(c, base_arena_new(c), text, size, "t", NULL);
        ck_assert(m || base_error_count(c));
        base_try_pop(c, &frame);
    }
    base_ctx_free(c);
    free(text);
}

START_TEST(floods_end)
{
    enum { MANY = 100000 };
    survives("gir 1\nparam \"a\" : f32[1] init ", "[", MANY, "");
    survives("gir 1\nparam \"a\" : f32[", "1,", MANY, "");
    survives("gir 1\nparam \"", "a", MANY, "\" : f32[1]\n");
    survives("gir 1\n", "(", MANY, "");
    survives("gir 1\n", "\"\n", MANY, "");
    survives("gir 1\n", "param \"a\" : f32[1]\n", MANY, "");
    survives("gir 1\n", "param \"a\" : f32[16777216] init splat(0)\n", 50, "");
    survives("gir 1\nentry @f(", "%1 : f32[1],", MANY, "");
    survives("gir 1\nentry @f() {\n", "%1 = add %2 : f32[1]\n", MANY, "");
    survives("gir 1\nentry @f() {\nreturn (", "%1,", MANY, "");
    survives("gir 1\n", "func @f() {\nreturn\n}\n", MANY, "");
    survives("gir 1\nentry @f(%x : f32[1]) {\n%1 = concat ", "%x,", MANY,
             " %x axis=0 : f32[100001]\nreturn %1\n}\n");
    survives("gir 1\nentry @f(%x : f32[1]) {\n%1 = reduce %x axes=[", "0,", MANY,
             "0] combine=sum : f32[]\nreturn %1\n}\n");
    survives("gir 1\nentry @f(%x : f32[1]) {\n%1 = neg %x : f32[1] ! ", "node 1 ", MANY,
             "\nreturn %1\n}\n");
    survives("gir 1\nentry @f(%x : f32[1]) {\n%1 = constant value=", "1", MANY,
             " : f32[]\nreturn %1\n}\n");
}
END_TEST

/* Text that holds every part of the form, small enough to be cut at each byte. */
static const char small[] =
    "gir 1\nmodule \"m\"\nsource \"a.onnx\"\n\nparam \"w\" : f32[2] trainable why \"x\" init [1, "
    "-2]\nslot \"s\" : f32[2] of \"w\"\n\n"
    "func @g( %0 : f32[2] ) {\n    %1 = add %0, %0 : f32[2]\n    return %1\n}\n\n"
    "entry @f(\n    input %x : f32[2] dims(n),\n    state %w : f32[2]\n) {\n    %2 = constant "
    "value=splat(0.5) : f32[5]\n"
    "    %3 \"x\" = call %x callee=@g : f32[2]  ! backward of @g %1 node 3 op \"Add\" name \"n\" "
    "line 3:4\n"
    "    %4 = reduce %3 combine=sum axes=[0] : f32[]\n    return (\n        output \"y\" %3,\n     "
    "   output \"loss\" %4 loss,\n"
    "        update \"w\" %w\n    )\n}\n";

START_TEST(damaged_text)
{
    for (size_t n = 0; n < sizeof small; n++) {
        char *text = base_strndup(arena, small, sizeof small);
        text[n] = 0;
        survives(text, "", 0, "");
        for (const char *c = "\"%@([{\n0"; *c; c++) {
            text = base_strndup(arena, small, sizeof small);
            text[n] = *c;
            survives(text, "", 0, "");
        }
    }
    char *all = file_text("tests/text/ops.gir");
    for (size_t n = strlen(all); n > 23; n -= 23) {
        all[n] = 0;
        survives(all, "", 0, "");
    }
}
END_TEST

START_TEST(each_failed_allocation_comes_back)
{
    char folder[] = "/tmp/gradc-text-XXXXXX", path[64], command[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.gir", folder);
    for (int n = 1;; n++) {
        base_ctx *c = base_ctx_new(NULL, NULL);
        base_fail_allocation(c, n, n % 2);
        base_try frame;
        volatile bool done = false;
        if (!setjmp(base_try_push(c, &frame))) {
            ir_module *m = ir_parse(c, base_arena_new(c), small, strlen(small), "t", NULL);
            ck_assert_ptr_nonnull(m);
            ck_assert(gir_write_file(m, path));
            base_try_pop(c, &frame);
            done = true;
        } else {
            ck_assert(base_ctx_out_of_memory(c));
            ck_assert_int_ne(access(path, F_OK), 0);
        }
        base_ctx_free(c);
        if (done) {
            ck_assert_int_gt(n, 100);
            break;
        }
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* ---- Large constants ---- */

static ir_literal *counted(int64_t n)
{
    ir_type t = ir_type_of(IR_F32, 1, &n);
    ir_literal *l = ir_literal_new(arena, &t);
    for (int64_t i = 0; i < n; i++)
        ir_literal_set(l, i, (double)i);
    return l;
}

START_TEST(large_tensors_lie_beside)
{
    char folder[] = "/tmp/gradc-text-XXXXXX", command[200];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    const char *path = base_format(arena, "%s/x.gir", folder),
               *side = base_format(arena, "%s.safetensors", path);
    ir_module *m = ir_module_new(ctx, arena, "m");
    ir_literal *big = counted(65), *fits = counted(64);
    const char *const names[] = {"a", "\xff odd \"\n", "shared"};
    for (int i = 0; i < 3; i++)
        ir_state_new(m, names[i], IR_PARAM, &big->type)->init = i < 2 ? counted(65) : big;
    ir_func *f = ir_func_new(m, "f");
    ir_builder b = ir_builder_new(f);
    ir_add_output(f, "y", ir_constant(&b, big));
    ir_add_output(f, "z", ir_constant(&b, counted(66)));
    ir_add_output(f, "u", ir_constant(&b, fits));
    ck_assert(gir_write_file(m, path));
    ir_module *again = gir_read_file(ctx, arena, path);
    ck_assert_ptr_nonnull(again);
    same_lines(printed(again), printed(m));
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(again->states.items[i]->name, names[i]);
        ck_assert(!memcmp(again->states.items[i]->init->data, big->data, 65 * 4));
    }
    ir_tensors t;
    ck_assert(safetensors_read_file(arena, side, &t));
    ck_assert_int_eq(t.count, 4); /* what is shared is stored once */
    ck_assert_ptr_null(ir_parse(ctx, arena, printed(m), strlen(printed(m)), "x.gir", NULL));
    snprintf(command, sizeof command, "mv %s %s/else && ln -s else %s", side, folder, side);
    ck_assert_int_eq(system(command), 0);
    seen.count = 0;
    ck_assert_ptr_null(gir_read_file(ctx, arena, path));
    ck_assert_int_eq(seen.count, 1); /* although four tensors are missing */
    ck_assert_ptr_nonnull(strstr(seen.items[0].text, "symbolic link"));
    t.items[0].value = counted(70);
    snprintf(command, sizeof command, "rm %s", side);
    ck_assert_int_eq(system(command), 0);
    t.count = 3;
    ck_assert(safetensors_write_file(ctx, side, &t));
    seen.count = 0;
    ck_assert_ptr_null(gir_read_file(ctx, arena, path));
    ck_assert_int_eq(seen.count, 2);
    ck_assert_ptr_nonnull(strstr(seen.items[0].text, "expected f32[65]"));
    ck_assert_ptr_nonnull(strstr(seen.items[1].text, "no tensor of this name"));
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* ---- Verifier ---- */

static ir_module *two_adds(void)
{
    ir_module *m = parse("gir 1\nentry @f(input %x : f32[2]) {\n%1 = add %x, %x : f32[2]\n%2 = mul "
                         "%1, %x : f32[2]\nreturn output \"y\" %2\n}\n");
    ir_verify(m);
    return m;
}

static void swap_order(ir_module *m) { ir_move(m->funcs.items[0]->last, m->funcs.items[0]->first); }
static void change_type(ir_module *m) { m->funcs.items[0]->last->result[0]->type.dim[0] = 3; }
static void drop_used(ir_module *m) { ir_remove(m->funcs.items[0]->first); }
static void foreign_operand(ir_module *m)
{
    m->funcs.items[0]->last->operand[0] = two_adds()->funcs.items[0]->params.items[0].value;
}
static void foreign_result(ir_module *m)
{
    m->funcs.items[0]->results.items[0].value = two_adds()->funcs.items[0]->params.items[0].value;
}
static void wrong_loss(ir_module *m) { m->funcs.items[0]->loss = 1; }
static void same_names(ir_module *m) { ir_func_new(m, "g")->name = "f"; }
static void no_such_combine(ir_module *m)
{
    ir_builder b = ir_builder_new(m->funcs.items[0]);
    ir_reduce(&b, IR_SUM, m->funcs.items[0]->params.items[0].value, 1, (int64_t[]){0})
        ->def->attrs->reduce.combine = (ir_combine)99;
}
static void removed_function(ir_module *m)
{
    ir_func *f = m->funcs.items[0], *g = ir_clone(f, "g");
    ir_builder b = ir_builder_new(f);
    ir_build(&b, IR_OP_call, &f->params.items[0].value, 1, &(ir_attrs){.call.callee = g});
    ir_func_remove(g);
}

static void (*const breakers[])(ir_module *) = {swap_order,      change_type,     drop_used,
                                                foreign_operand, foreign_result,  wrong_loss,
                                                same_names,      no_such_combine, removed_function};

START_TEST(broken_modules_are_refused)
{
    ir_module *m = two_adds();
    breakers[_i](m);
    ck_assert(!ir_verify_user(m));
    ck_assert_int_ge(seen.count, 1);
}
END_TEST

START_TEST(broken_modules_are_bugs)
{
    ir_module *m = two_adds();
    breakers[_i](m);
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
    ir_verify(m);
}
END_TEST

START_TEST(one_instruction_prints)
{
    ir_module *m = two_adds();
    ir_number(m->funcs.items[0]);
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    ir_print_inst(f, m->funcs.items[0]->last);
    fclose(f);
    ck_assert_str_eq(text, "%2 = mul %1, %0 : f32[2]");
    free(text);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("text");
    TCase *c = tcase_create("text");
    int n = (int)(sizeof breakers / sizeof *breakers);
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, every_op_round_trips);
    tcase_add_test(c, the_page_shows_what_is_printed);
    tcase_add_test(c, elements_keep_their_bits);
    tcase_add_test(c, elements_are_short_and_checked);
    tcase_add_test(c, errors_have_their_place);
    tcase_add_test(c, all_errors_in_one_run);
    tcase_add_test(c, calls_are_bounded);
    tcase_add_test(c, floods_end);
    tcase_add_test(c, damaged_text);
    tcase_add_test(c, each_failed_allocation_comes_back);
    tcase_add_test(c, large_tensors_lie_beside);
    tcase_add_loop_test(c, broken_modules_are_refused, 0, n);
    tcase_add_loop_test_raise_signal(c, broken_modules_are_bugs, SIGABRT, 0, n);
    tcase_add_test(c, one_instruction_prints);
    suite_add_tcase(s, c);
    return suite_run(s);
}
