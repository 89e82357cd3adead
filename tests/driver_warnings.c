/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the command warns of, and how it is told to or not to. */
#include "tests/command.h"
#include "tests/suite.h"

#define DECLARED "output 'y' is declared as f32[2,4], the graph makes f32[2,3]"

/* declared.onnx, of which there is one thing to warn. */
static void declared(void)
{
    wire w = {0};
    command_setup();
    wire_value(&w, GRAPH_OUTPUT, "y", 2, (const int64_t[]){2, 4});
    wire_value(&w, GRAPH_INPUT, "x", 2, (const int64_t[]){2, 3});
    wire_node(&w, "Neg", "it", "x", "y");
    wire_model(&w, "declared.onnx");
    put_text("plain.gir", "gir 1\nentry @forward(input %x : f32[2]) {\n  %y = neg %x : f32[2]\n  return (output \"y\" %y)\n}\n");
}

/* What each combination makes of a warning: 'w', 'e' an error, '-' nothing. */
static const struct {
    const char *options;
    char due;
} combinations[] = {
    {"", 'w'},
    {"-q", 'w'},
    {"-Wdeclared-shape", 'w'},
    {"-Wno-declared-shape", '-'},
    {"-W no-declared-shape", '-'},
    {"--warning=no-declared-shape", '-'},
    {"-Wno-declared-shape -Wdeclared-shape", 'w'},
    {"-Wno-everything", '-'},
    {"-Wno-everything -Wdeclared-shape", 'w'},
    {"-Wno-training-info", 'w'},
    {"-Werror", 'e'},
    {"-Werror -Wno-declared-shape", '-'},
    {"-Wno-declared-shape -Werror", '-'},
    {"-Werror -Wno-error", 'w'},
    {"-Werror=declared-shape", 'e'},
    {"-Werror=training-info", 'w'},
    {"-Werror=declared-shape -Wno-error=declared-shape", 'w'},
    {"-Werror -Wno-error=declared-shape", 'w'},
    {"-Wno-error=declared-shape -Werror", 'w'},
    {"-Wno-declared-shape -Werror=declared-shape", 'e'},
    {"-Wno-declared-shape -Wno-error=declared-shape", '-'},
};
enum { COMBINATIONS = sizeof combinations / sizeof *combinations };

START_TEST(warnings_are_told_as_clang_is)
{
    char line[300];
    const char *options = combinations[_i].options, due = combinations[_i].due;
    int files = file_count(".");
    snprintf(line, sizeof line, "compile declared.onnx %s", options);
    gradc_line(line, NULL);
    ck_exit(due == 'e', line);
    if (due == 'e')
        ck_says("declared.onnx: error: " DECLARED " [-Werror,-Wdeclared-shape]\n");
    else if (due == 'w')
        ck_says("declared.onnx: warning: " DECLARED " [-Wdeclared-shape]\n");
    else
        ck_assert_str_eq(said.err, "");
    ck_assert_int_eq(file_count("."), files + (due == 'e' ? 0 : 2));
    ck_assert(strstr(options, "-q") ? !*said.out : due == 'e' ? !*said.out : *said.out);
}
END_TEST

static const char *const verbs[] = {"compile", "run", "bench", "dump", "check", "info"};
enum { VERBS = sizeof verbs / sizeof *verbs };

START_TEST(every_verb_warns)
{
    put_npy("x.npy", "<f4", "(2, 3)", (const float[6]){0}, 24);
    for (int i = 0; i < 2; i++) {
        const char *more = strcmp(verbs[_i], "run") ? "-O1" : "--input=x=x.npy";
        gradc(verbs[_i], "declared.onnx", more, i ? "-Werror=declared-shape" : "-Wdeclared-shape");
        ck_exit(i, verbs[_i]);
        ck_says(DECLARED);
    }
}
END_TEST

START_TEST(json_lists_them)
{
    static const char *const verbs_of_json[] = {"bench", "check", "info"};
    for (int i = 0; i < 3; i++) {
        gradc(verbs_of_json[i], "declared.onnx", "--json");
        ck_exit(0, verbs_of_json[i]);
        ck_assert_msg(strstr(said.out, "\"warnings\": [") && strstr(said.out, "\"name\": \"declared-shape\"") && strstr(said.out, DECLARED), "%s",
                      said.out);
        gradc(verbs_of_json[i], "declared.onnx", "--json", "-Wno-everything");
        ck_assert_msg(strstr(said.out, "\"warnings\": []") != NULL, "%s", said.out);
    }
}
END_TEST

START_TEST(an_unknown_name_is_a_warning)
{
    static const struct {
        const char *line;
        int exit;
        const char *says;
    } cases[] = {
        {"compile plain.gir -Wnothing", 0, "gradc: warning: unknown warning option '-Wnothing'; --help lists the known [-Wunknown-warning-option]\n"},
        {"compile plain.gir -Wno-nothing", 0, "unknown warning option '-Wno-nothing'"},
        {"compile plain.gir -Werror=nothing", 0, "unknown warning option '-Werror=nothing'"},
        {"compile plain.gir -Wno-error=everything", 0, "unknown warning option '-Wno-error=everything'"},
        {"compile plain.gir -Wnothing -Werror", 1, "[-Werror,-Wunknown-warning-option]\n"},
        {"opt plain.gir -Wnothing", 0, "unknown warning option '-Wnothing'"},
        {"opt plain.gir -Wnothing -Werror", 1, "error: unknown warning option '-Wnothing'"},
        {"check plain.gir -Wnothing -Werror", 1, "error: unknown warning option '-Wnothing'"},
        {"compile plain.gir -W", 2, "W"},
        {"compile plain.gir -W,", 2, "an empty name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradc_line(cases[i].line, NULL);
        ck_exit(cases[i].exit, cases[i].line);
        ck_says(cases[i].says);
        ck_assert(cases[i].exit == 0 || !is_there("plain.o"));
        unlink("plain.o"), unlink("plain.h");
    }
    gradc("compile", "plain.gir", "-Wnothing", "-Wno-unknown-warning-option");
    ck_exit(0, "-Wno-unknown-warning-option");
    ck_assert_str_eq(said.err, "");
}
END_TEST

/* --help and the page list the same names as the table. */
START_TEST(help_and_page_list_all)
{
    static const struct {
        const char *name;
    } table[] = {
#define WARNING(identifier, name, doc) {name},
#include "ir/warnings.def"
    };
    static char page[1 << 18];
    char row[100];
    read_all(ROOT "docs/command.md", page, sizeof page);
    gradc("check", "--help");
    ck_exit(0, "--help");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        snprintf(row, sizeof row, "\n| `%s` | ", table[i].name);
        ck_assert_msg(strstr(page, row) != NULL, "%s is not in docs/command.md", table[i].name);
        snprintf(row, sizeof row, "\n  %-22s ", table[i].name);
        ck_assert_msg(strstr(said.out, row) != NULL, "%s is not in --help", table[i].name);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("driver_warnings");
    TCase *c = tcase_create("warnings");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, declared, command_teardown);
    tcase_add_loop_test(c, warnings_are_told_as_clang_is, 0, COMBINATIONS);
    tcase_add_loop_test(c, every_verb_warns, 0, VERBS);
    tcase_add_test(c, json_lists_them);
    tcase_add_test(c, an_unknown_name_is_a_warning);
    tcase_add_test(c, help_and_page_list_all);
    suite_add_tcase(s, c);
    return suite_run(s);
}
