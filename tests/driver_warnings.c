/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Warnings of the command, and the options that control them. */
#include "tests/command.h"
#include "tests/suite.h"

#define DECLARED "output 'y' is declared as f32[2,4], but the graph produces f32[2,3]"

/* declared.onnx, which causes one warning. */
static void declared(void)
{
    wire w = {0};
    command_setup();
    wire_value(&w, GRAPH_OUTPUT, "y", 2, (const int64_t[]){2, 4});
    wire_value(&w, GRAPH_INPUT, "x", 2, (const int64_t[]){2, 3});
    wire_node(&w, "Neg", "it", "x", "y");
    wire_model(&w, "declared.onnx");
    put_text("plain.gir", "gir 1\nentry @forward(input %x : f32[2]) {\n  %y = neg %x : f32[2]\n  "
                          "return (output \"y\" %y)\n}\n");
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
    {"-Werror=declared-shape -Wno-error", 'e'},
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
        ck_assert_msg(strstr(said.out, "\"warnings\": [") &&
                          strstr(said.out, "\"name\": \"declared-shape\"") &&
                          strstr(said.out, DECLARED),
                      "%s", said.out);
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
        {"compile plain.gir -Wnothing", 0,
         "gradc: warning: unknown warning option '-Wnothing'; --help lists the warnings "
         "[-Wunknown-warning-option]\n"},
        {"compile plain.gir -Wno-nothing", 0, "unknown warning option '-Wno-nothing'"},
        {"compile plain.gir -Werror=nothing", 0, "unknown warning option '-Werror=nothing'"},
        {"compile plain.gir -Wno-error=everything", 0,
         "unknown warning option '-Wno-error=everything'"},
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
#include "base/warnings.def"
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

/* ---- What exporters leave behind ---- */

#define FIXTURES ROOT "tests/fixtures/onnx/"
#define NORMS FIXTURES "torch/norms.onnx"
#define TIED(way) FIXTURES "torch/tied_" way ".onnx"
#define IS_TIED                                                                                \
    " and stays one in training; torch's exporters merge equal tensors, as copies are before " \
    "training [-Wtied-weights]\n"

/* All warnings: each piece, and as many warnings as there are pieces. */
static const struct {
    const char *line, *says[8];
} modes[] = {
    {"info " NORMS " --train",
     {"norms.onnx: node 7 'node__native_batch_norm_legit_functional__0' (BatchNormalization): "
      "warning: in inference mode, as are node 10 "
      "'node__native_batch_norm_legit_functional_1__0': training uses the running statistics and "
      "does not update them; give --batchnorm=train to use the batch's, or --batchnorm=eval to "
      "keep the running ones [-Wbatchnorm-eval]\n"}},
    {"info " NORMS, {NULL}},
    {"info " NORMS " --train -Wno-batchnorm-eval", {NULL}},
    {"info " NORMS " --train --batchnorm=train", {NULL}},
    {"info " NORMS " --train --batchnorm=train --batchnorm-variance=torch", {NULL}},
    {"info " NORMS " --train --batchnorm=eval", {NULL}},
    {"info " NORMS " --train --batchnorm=file", {NULL}},
    {"info " NORMS " --batchnorm=train", {NULL}},
    {"info " FIXTURES "conv_script.onnx --train", {NULL}},
    {"info " FIXTURES "conv_script.onnx",
     {"node 1 '/b/BatchNormalization' (BatchNormalization): warning: in training mode: it uses the "
      "batch's statistics and not the running ones; give --batchnorm=eval to use those, or "
      "--batchnorm=file to keep the batch's "
      "[-Wbatchnorm-train]\n"}},
    {"info " FIXTURES "conv_script.onnx --batchnorm=file", {NULL}},
    {"info " FIXTURES "conv_script.onnx --batchnorm=eval", {NULL}},
    {"info " FIXTURES "text_export.onnx", {NULL}},
    {"info " FIXTURES "text_export.onnx --train",
     {"text_export.onnx: warning: neither BatchNormalization nor Dropout is in the file"}},
    {"info " FIXTURES "text_export.onnx --train --batchnorm=eval", {"[-Wfolded-layers]"}},
    {"info " TIED("script_train") " --train --attach-loss=mse",
     {"tied_script_train.onnx: warning: 'e.weight' is one tensor for 'e', 'h'" IS_TIED}},
    {"info " TIED("script_train") " --train --attach-loss=mse --freeze=e.weight", {NULL}},
    {"info " TIED("script_train"), {"[-Wbatchnorm-train]"}},
    {"info " TIED("export_train") " --train --attach-loss=mse --batchnorm=train",
     {"'h.weight' is one tensor for 'e', 'h'" IS_TIED,
      "of the parameters that the exporter lists, 'e.weight' is not in the file"}},
    {"info " TIED("script") " --train --attach-loss=mse --batchnorm=eval",
     {"warning: 'layers.0.weight' is one tensor for 'layers.0', 'layers.1.weight', "
      "'layers.2.weight'" IS_TIED,
      "warning: 'layers.0.bias' is one tensor for 'layers.0', 'layers.1.bias', "
      "'layers.2.bias'" IS_TIED,
      "warning: 'b.weight' is one tensor for 'b', 'b.running_var', 'n.weight', "
      "'n.running_var'" IS_TIED,
      "warning: 'b.bias' is one tensor for 'b', 'b.running_mean', 'n.bias', "
      "'n.running_mean'" IS_TIED,
      "'onnx::MatMul_40': the exporter computed it from the model's parameters"}},
    {"info " TIED("export") " --train --attach-loss=mse --batchnorm=eval",
     {"warning: 'layers.0.weight' is one tensor for 'layers.0', 'layers.1', 'layers.2'" IS_TIED,
      "warning: 'layers.0.bias' is one tensor for 'layers.0', 'layers.1', 'layers.2'" IS_TIED,
      "warning: 'h.weight' is one tensor for 'e', 'h'" IS_TIED,
      "warning: 'b.weight' is one tensor for 'b', 'b' (statistics), 'n', 'n' (statistics)" IS_TIED,
      "warning: 'b.bias' is one tensor for 'b', 'b' (statistics), 'n', 'n' (statistics)" IS_TIED,
      "lists, 'layers.1.weight', 'layers.1.bias', 'layers.2.weight', 'layers.2.bias', 'e.weight', "
      "'n.weight', 'n.bias' are not in the file",
      "of the running statistics that the exporter lists, 'b.running_mean', 'n.running_mean' are "
      "not in the file"}},
};
enum { MODES = sizeof modes / sizeof *modes };

START_TEST(what_trains_otherwise_than_meant_is_said)
{
    int due = 0, found = 0;
    gradc_line(modes[_i].line, NULL);
    ck_exit(0, modes[_i].line);
    for (; due < 8 && modes[_i].says[due]; due++)
        ck_says(modes[_i].says[due]);
    for (const char *at = said.err; (at = strchr(at, '\n')); at++)
        found++;
    ck_assert_msg(found == due, "%s: %d warnings, not %d:\n%s", modes[_i].line, found, due,
                  said.err);
}
END_TEST

/* With --train every verb reads the mode; `check` too, whose nodes are all supported. */
START_TEST(every_verb_knows_the_mode)
{
    static const float x[5 * 2 * 15];
    static const int64_t y[5];
    put_npy("x.npy", "<f4", "(5, 2, 15)", x, sizeof x);
    put_npy("y.npy", "<i8", "(5,)", y, sizeof y);
    bool run = !strcmp(verbs[_i], "run");
    const char *more[] = {run ? "--input=x=x.npy" : "-O1", run ? "--input=y=y.npy" : "-O1"};
    gradc(verbs[_i], NORMS, "--train", more[0], more[1]);
    ck_exit(0, verbs[_i]);
    ck_says("[-Wbatchnorm-eval]");
    gradc(verbs[_i], NORMS, "--train", "--batchnorm=train", "--batchnorm-variance=torch", more[0],
          more[1]);
    ck_exit(0, verbs[_i]);
    ck_assert_str_eq(said.err, "");
    gradc(verbs[_i], FIXTURES "text_export.onnx", "--train", "--batchnorm=train", "--shape=x=2x5",
          "--shape=y=2x5");
    ck_exit(2, verbs[_i]);
    ck_says("error: --batchnorm=train: there is no BatchNormalization in " FIXTURES
            "text_export.onnx");
    gradc(verbs[_i], "plain.gir", "--batchnorm=train");
    ck_exit(2, verbs[_i]);
    ck_says("for ONNX files");
    gradc(verbs[_i], NORMS, "--batchnorm=maybe", "--batchnorm-variance=much");
    ck_exit(2, verbs[_i]);
    ck_says("--batchnorm=maybe: expected file, train or eval");
    ck_says("--batchnorm-variance=much: expected onnx or torch");
}
END_TEST

static void has_row(const char *row)
{
    ck_assert_msg(strstr(said.out, row) != NULL, "no '%s' in\n%s", row, said.out);
}

START_TEST(scalars_train_where_they_are_named)
{
    gradc("info", TIED("script_train"), "--train", "--attach-loss=mse");
    has_row("  scale f32[]: does not train (a scalar initializer, which trains only if --trainable "
            "names it)\n");
    gradc("info", TIED("script_train"), "--train", "--attach-loss=mse", "--trainable=scale");
    has_row("  scale f32[]: trains (--trainable names it)\n");
    gradc("info", TIED("export_train"), "--train", "--attach-loss=mse");
    has_row("  scale f32[]: trains (the exporter lists it as a parameter)\n");
}
END_TEST

/* Dropout of a file that was not written for training, or that was and is not trained. */
START_TEST(dropout_has_modes_too)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 1, (const int64_t[]){3});
    wire_value(&w, GRAPH_INPUT, "x", 1, (const int64_t[]){3});
    wire_node(&w, "Dropout", "drop", "x", "y");
    wire_model(&w, "dropout.onnx");
    gradc("info", "dropout.onnx", "--train", "--cotangent=y");
    ck_exit(0, "--train");
    ck_says("node 0 'drop' (Dropout): warning: in inference mode: training drops no elements "
            "[-Wdropout-eval]\n");
    gradc("info", "dropout.onnx");
    ck_assert_str_eq(said.err, "");
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
    tcase_add_loop_test(c, what_trains_otherwise_than_meant_is_said, 0, MODES);
    tcase_add_loop_test(c, every_verb_knows_the_mode, 0, VERBS);
    tcase_add_test(c, scalars_train_where_they_are_named);
    tcase_add_test(c, dropout_has_modes_too);
    suite_add_tcase(s, c);
    return suite_run(s);
}
