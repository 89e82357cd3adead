/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Generated headers: names from anywhere, compilers of C and C++ with warnings as errors, two
 * models in one program. */
#include "codegen/names.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <unistd.h>

static char folder[64];

static void setup(void)
{
    context_setup();
    strcpy(folder, "/tmp/gradc-header-XXXXXX");
    ck_assert(mkdtemp(folder));
}

static int sh(const char *format, const char *a, const char *b)
{
    char command[4000];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(command, sizeof command, format, a, b);
#pragma GCC diagnostic pop
    return system(command);
}

static void teardown(void)
{
    ck_assert_int_eq(sh("rm -rf %s%s", folder, ""), 0);
    context_teardown();
}

static void put(const char *name, const void *bytes, size_t size)
{
    FILE *f = fopen(base_format(arena, "%s/%s", folder, name), "wb");
    ck_assert(f && fwrite(bytes, 1, size, f) == size && !fclose(f));
}

static void put_object(const cg_object *o)
{
    put(base_format(arena, "%s.o", o->prefix), o->bytes, o->size);
    put(base_format(arena, "%s.h", o->prefix), o->header, strlen(o->header));
}

static cg_object *compile(const cg_request *r)
{
    cg_object *o = cg_compile(ctx, arena, r);
    ck_assert_msg(o != NULL, "%s", first_error);
    return o;
}

static const struct { const char *raw, *clean;
} cleaned[] = {
    {"x", "x"},
    {"fc.weight", "fc_weight"},
    {"/conv1/Conv_output_0", "_conv1_Conv_output_0"},
    {"a -- b", "a_b"},
    {"a__b", "a_b"},
    {"9", "in_9"},
    {"9lives", "in_9lives"},
    {"", "in_x"},
    {"***", "in_x"},
    {"\xcf\x80", "in_x"},
    {"int", "int_"},
    {"class", "class_"},
    {"and", "and_"},
    {"linux", "linux_"},
    {"unix", "unix_"},
    {"NULL", "NULL_"},
    {"I", "I_"},
    {"EOF", "EOF_"},
    {"stdin", "stdin_"},
    {"INT64_MAX", "INT64_MAX_"},
    {"_LP64", "_LP64_"},
    {"int64_t", "int64_t_"},
    {"M_PI", "M_PI_"},
    {"PRId64", "PRId64_"},
    {"PRIX64", "PRIX64_"},
    {"Int", "Int"},
    {"x:0", "x_0"},
    {"_Relu", "_Relu"},
    {"integer", "integer"},
    {"E", "E"},
    {"a\nb", "a_b"},
    {"*/ evil", "_evil"},
};

START_TEST(names_are_cleaned_as_documented)
{
    for (size_t i = 0; i < sizeof cleaned / sizeof *cleaned; i++) {
        const char *clean = cg_clean(arena, cleaned[i].raw, "in_");
        ck_assert_str_eq(clean, cleaned[i].clean);
        ck_assert(cg_is_identifier(clean));
    }
    ck_assert_str_eq(cg_clean_prefix(arena, "resnet-18.v2"), "resnet_18_v2");
    ck_assert_str_eq(cg_clean_prefix(arena, "18"), "model_18");
    ck_assert_str_eq(cg_clean_prefix(arena, "/x"), "model_x");
    ck_assert_str_eq(cg_clean_prefix(arena, "gradc_rt"), "gradc_rt_");
    ck_assert_str_eq(cg_clean_prefix(arena, "pthread_mutex"), "pthread_mutex_");
}
END_TEST

START_TEST(equal_names_get_numbers_and_renames_count)
{
    const cg_rename rename = {"b", "a_b"};
    bool renamed = false;
    cg_names n = {.arena = arena, .rename = &rename, .nrenames = 1, .renamed = &renamed};
    ck_assert_str_eq(cg_field(&n, "a.b", "in_"), "a_b");
    ck_assert_str_eq(cg_field(&n, "a/b", "in_"), "a_b_2");
    ck_assert_str_eq(cg_field(&n, "a_b_2", "in_"), "a_b_2_2");
    ck_assert_str_eq(cg_field(&n, "b", "in_"), "a_b_3");
    ck_assert_str_eq(cg_field(&n, "c", "in_"), "c");
    ck_assert(renamed);
}
END_TEST

START_TEST(quoted_names_end_no_comment)
{
    ck_assert_str_eq(cg_quoted(arena, "*/ \"x\" ?"
                                      "?/ \\ \n \xcf\x80 //"),
                     "\\x2a/ \\\"x\\\" \\x3f\\x3f/ \\\\ \\x0a \\xcf\\x80 //");
}
END_TEST

/* Names that would break a careless writer of headers. */
static const char *const hostile[] = {
    "int",
    "class",
    "linux",
    "NULL",
    "a.b/c",
    "a b c",
    "a_b_c",
    "9lives",
    "*/ int evil; /*",
    "?"
    "?/",
    "?"
    "?= ?"
    "?'",
    "\"quoted\"",
    "back\\slash\\",
    "new\nline",
    "\xcf\x80",
    "_LP64",
    "__x",
    "INT64_MAX",
    "EOF",
    "stdin",
    "unsigned char",
    "// comment",
    "%s%n",
    "inputs",
    "hostile_inputs",
    "gradc_rt_status",
    "size_t",
    "int64_t",
    "float",
    "uint8_t",
    "I",
    "complex",
    "errno",
    "true",
    "this",
    "operator",
    "co_await",
    "x",
    "X",
    "y\r#error",
    "\xe2\x80\xae rtl",
    "batch",
    "main",
    "ctx",
    "bool",
    "noreturn",
    "alignas",
    "M_PI",
    "a:0",
    "a_0",
    "-",
    "--",
    "a;b",
    "}",
    "#define x y",
    "$",
    "@",
    "`",
    "\t",
    "\x7f",
    "static_assert",
    "assert",
};
enum { HOSTILE = sizeof hostile / sizeof *hostile };

static ir_module *hostile_module(void)
{
    ir_module *m = ir_module_new(ctx, arena, "*/ hostile ?" "?/\n\"model\"");
    ir_func *f = ir_func_new(m, "forward");
    f->entry = true;
    ir_builder b = ir_builder_new(f);
    ir_value *x[HOSTILE];
    for (int i = 0; i < HOSTILE; i++) {
        ir_type t = ir_type_of(i % 3 ? IR_F32 : IR_I64, i % 2, (int64_t[]){4});
        x[i] = ir_add_input(f, hostile[i], &t);
    }
    for (int i = 0; i < HOSTILE; i++)
        ir_add_output(f, hostile[i], ir_neg(&b, x[i]));
    ir_type t = ir_scalar_type(IR_F32);
    ir_state_new(m, "*/ state \"\\", IR_PARAM, &t);
    ir_built(&b);
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(m, p, true);
    return m;
}

static const char *const compilers[] = {
    "cc -std=c99 -x c",       "cc -std=gnu99 -x c",    "cc -std=c17 -x c",
    "cc -std=gnu17 -O2 -x c", "c++ -std=c++17 -x c++", "c++ -std=gnu++17 -x c++",
};

static void check_compiles(const char *source)
{
    put("main.c", source, strlen(source));
    for (size_t i = 0; i < sizeof compilers / sizeof *compilers; i++)
        ck_assert_msg(
            !sh(base_format(
                    arena,
                    "%s -Wall -Wextra -Wpedantic -Werror -Wshadow -I%s -c %%s/main.c -o %%s/main.o",
                    compilers[i], GRADC_INCLUDE),
                folder, folder),
            "%s", compilers[i]);
}

START_TEST(hostile_names_compile_everywhere)
{
    cg_spec spec = {hostile_module(), NULL};
    cg_request r = {.prefix = "hostile", .spec = &spec, .nspecs = 1, .embed = true};
    cg_object *o = compile(&r);
    ck_assert_int_eq(o->part[CG_INPUTS].count, HOSTILE);
    for (int i = 0; i < HOSTILE; i++) {
        ck_assert(cg_is_identifier(o->part[CG_INPUTS].items[i].field));
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(o->part[CG_INPUTS].items[i].field, o->part[CG_INPUTS].items[k].field);
    }
    for (const char *at = o->header; *at; at++)
        ck_assert(*at == '\n' || (*at >= ' ' && *at <= '~'));
    put_object(o);
    check_compiles("#include <complex.h>\n#include <errno.h>\n#include <math.h>\n#include "
                   "<stdio.h>\n#include <stdlib.h>\n#include <limits.h>\n"
                   "#include <assert.h>\n"
                   "#include \"hostile.h\"\n#include \"hostile.h\"\n"
                   "int main(void)\n{\n    gradc_rt_options options = HOSTILE_OPTIONS;\n    "
                   "hostile_inputs in;\n    (void)in;\n"
                   "    return (int)(options.size + HOSTILE_ARENA_BYTES);\n}\n");
}
END_TEST

START_TEST(two_models_live_in_one_program)
{
    static const cg_default lr = {"lr", 1e-3};
    for (int i = 0; i < 2; i++) {
        cg_spec spec = {tiny_module(ctx, arena, 4 + 4 * i), NULL};
        cg_request r = {.prefix = i ? "two" : "one",
                        .spec = &spec,
                        .nspecs = 1,
                        .embed = true,
                        .hyper = &lr,
                        .nhyper = 1,
                        .level = 1};
        put_object(compile(&r));
    }
    const char *source = "#include \"one.h\"\n#include \"two.h\"\n#include <string.h>\n"
                         "static union {\n    char bytes[ONE_ARENA_BYTES + TWO_ARENA_BYTES + "
                         "64];\n    double align;\n} memory;\n"
                         "int main(void)\n{\n    char *arena = memory.bytes + (64 - "
                         "(uintptr_t)memory.bytes % 64) % 64;\n"
                         "    gradc_rt_options first = ONE_OPTIONS, second = TWO_OPTIONS;\n    "
                         "const one_hyper h = ONE_HYPER;\n    one_ctx *a;\n    two_ctx *b;\n"
                         "    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8], z[8];\n"
                         "    one_inputs in = {x, x};\n    one_outputs out = {y, NULL};\n    "
                         "two_inputs in2 = {x, x};\n    two_outputs out2 = {z, NULL};\n"
                         "    if (one_init(&a, arena, ONE_ARENA_BYTES, &second) != "
                         "GRADC_RT_E_MODEL || one_init(&a, arena, ONE_ARENA_BYTES, &first) ||\n"
                         "        two_init(&b, arena + ONE_ARENA_BYTES, TWO_ARENA_BYTES, "
                         "&second))\n        return 1;\n"
                         "    if (one_forward(a, &in, &out) || two_forward(b, &in2, &out2) || y[3] "
                         "!= 8 || z[7] != 16)\n        return 2;\n"
                         "    if (one_forward_train(a, &in, &out) || one_backward(a, NULL, NULL) "
                         "|| one_update(a, NULL) || one_zero_grad(a))\n        return 3;\n"
                         "    if (one_param_count() != 3 || strcmp(two_param(0)->name, \"w\") || "
                         "h.lr != 1e-3f)\n        return 4;\n"
                         "    one_fini(a);\n    two_fini(b);\n    return 0;\n}\n";
    check_compiles(source);
    ck_assert_int_eq(
        sh("cd %s && cc main.o one.o two.o %s -pthread -o a && ./a", folder, GRADC_RT_LIBRARY), 0);
}
END_TEST

START_TEST(bad_renames_are_refused)
{
    cg_spec spec = {tiny_module(ctx, arena, 4), NULL};
    cg_rename renames[] = {{"x", "no name"}, {"nothing", "fine"}};
    cg_request r = {.prefix = "tiny", .spec = &spec, .nspecs = 1, .rename = renames, .nrenames = 1};
    ck_assert_ptr_null(cg_measure(ctx, arena, &r));
    ck_assert_str_eq(first_error, "0: 'no name' is not a valid name in C");
    *first_error = 0;
    r.rename = renames + 1;
    ck_assert_ptr_null(cg_measure(ctx, arena, &r));
    ck_assert_str_eq(first_error, "0: no input or output is named 'nothing'");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("header");
    TCase *c = tcase_create("header");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, names_are_cleaned_as_documented);
    tcase_add_test(c, equal_names_get_numbers_and_renames_count);
    tcase_add_test(c, quoted_names_end_no_comment);
    tcase_add_test(c, hostile_names_compile_everywhere);
    tcase_add_test(c, two_models_live_in_one_program);
    tcase_add_test(c, bad_renames_are_refused);
    suite_add_tcase(s, c);
    return suite_run(s);
}
