/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Hostile files, given to the command: each ends with a diagnostic and exit 1, or is compiled;
 * nothing is written when it is refused, nothing crashes, nothing outside the model's folder is
 * read, and no name reaches generated text raw. */
#include "tests/command.h"
#include "tests/suite.h"

#include <jansson.h>

static void refused(const char *model, const char *what)
{
    int before = file_count(".");
    gradc("compile", model, "--train=adam");
    ck_exit(1, what);
    ck_assert_msg(*said.err && !*said.out, "%s: said '%s'", what, said.out);
    ck_assert_msg(file_count(".") == before, "%s: something was written", what);
}

static unsigned char *slurp(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    ck_assert(f && !fseek(f, 0, SEEK_END));
    *size = (size_t)ftell(f);
    unsigned char *b = malloc(*size + 1);
    ck_assert(b && !fseek(f, 0, SEEK_SET) && fread(b, 1, *size, f) == *size);
    fclose(f);
    return b;
}

/* Each file of tests/fixtures/onnx/wrong has a piece of its message beside it. */
START_TEST(wrong_files_are_refused_with_their_message)
{
    DIR *d = opendir(ROOT "tests/fixtures/onnx/wrong");
    ck_assert(d != NULL);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        char path[600], text[300];
        size_t length = strlen(e->d_name);
        if (length < 5 || strcmp(e->d_name + length - 5, ".onnx"))
            continue;
        snprintf(path, sizeof path, ROOT "tests/fixtures/onnx/wrong/%s", e->d_name);
        refused(path, path);
        ck_says(e->d_name);
        strcpy(path + strlen(path) - 5, ".txt");
        read_all(path, text, sizeof text);
        text[strcspn(text, "\n")] = 0;
        ck_says(text);
        n++;
    }
    closedir(d);
    ck_assert_int_gt(n, 40);
}
END_TEST

START_TEST(a_node_is_named)
{
    refused(ROOT "tests/fixtures/onnx/wrong/operator.onnx", "operator");
    ck_says("node 0 'it' (Fancy)");
}
END_TEST

START_TEST(truncated_files_are_refused)
{
    size_t size;
    unsigned char *b = slurp(ROOT "tests/fixtures/onnx/conv_script.onnx", &size);
    for (size_t i = 0; i < 48; i++) {
        size_t cut = i < 16 ? i : size * (i - 15) / 33;
        put("cut.onnx", b, cut);
        refused("cut.onnx", "a truncated file");
    }
    free(b);
}
END_TEST

START_TEST(random_bytes_are_refused)
{
    static unsigned char b[4096];
    uint32_t r = 1;
    for (int i = 0; i < 32; i++) {
        for (size_t k = 0; k < sizeof b; k++)
            b[k] = (unsigned char)((r = r * 1664525u + 1013904223u) >> 24);
        put("random.onnx", b, sizeof b);
        refused("random.onnx", "random bytes");
        put("random.gir", b, sizeof b);
        refused("random.gir", "random bytes as text");
    }
}
END_TEST

/* Bytes of a good file changed at random: anything but a crash or a hang is right. */
START_TEST(changed_bytes_do_no_harm)
{
    size_t size;
    unsigned char *b = slurp(ROOT "tests/fixtures/onnx/rnn.onnx", &size);
    uint32_t r = 7;
    for (int i = 0; i < 60; i++) {
        size_t at[4];
        unsigned char old[4];
        for (int k = 0; k < 4; k++) {
            at[k] = (r = r * 1664525u + 1013904223u) % size;
            old[k] = b[at[k]];
            b[at[k]] = (unsigned char)((r = r * 1664525u + 1013904223u) >> 24);
        }
        put("changed.onnx", b, size);
        gradc("info", "changed.onnx");
        ck_assert_msg(said.status == 0 || said.status == 1, "exit %d: %.1000s", said.status,
                      said.err);
        for (int k = 4; k-- > 0;)
            b[at[k]] = old[k];
    }
    free(b);
}
END_TEST

START_TEST(nested_subgraphs_are_refused)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 0, NULL);
    for (int i = 0; i < 100000; i++) {
        /* what is written so far becomes the branch of an If, and that a graph */
        wire_close(&w, 6, 0);       /* g */
        wire_number(&w, 20, 5);     /* type: a graph */
        wire_text(&w, 1, "then_branch");
        wire_close(&w, NODE_ATTRIBUTE, 0);
        wire_text(&w, NODE_OP, "If");
        wire_close(&w, GRAPH_NODE, 0);
    }
    wire_model(&w, "deep.onnx");
    refused("deep.onnx", "100,000 nested subgraphs");
    ck_says("nested");
}
END_TEST

/* Ten million empty messages: nodes, initializers, attributes of one node. */
START_TEST(many_empty_messages_end)
{
    static const struct {
        int field;
        bool in_node;
    } many[] = {{GRAPH_NODE, false}, {GRAPH_INITIALIZER, false}, {NODE_ATTRIBUTE, true}};
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 0, NULL);
    size_t end = wire_mark(&w);
    for (int i = 0; i < 10000000; i++)
        wire_bytes(&w, (char[]){(char)(many[_i].field << 3 | 2), 0}, 2);
    if (many[_i].in_node) {
        wire_text(&w, NODE_OP, "Neg");
        wire_close(&w, GRAPH_NODE, end);
    }
    wire_model(&w, "many.onnx");
    refused("many.onnx", "ten million empty messages");
}
END_TEST

/* A node that reads many initializers and has a long list of scopes. */
START_TEST(a_long_scope_is_read_once)
{
    enum { INPUTS = 20000, ITEMS = 1000000 };
    wire w = {0};
    char name[20];
    wire_value(&w, GRAPH_OUTPUT, "y", 1, (const int64_t[]){INPUTS});
    for (int i = 0; i < INPUTS; i++) {
        snprintf(name, sizeof name, "i%d", i);
        wire_tensor(&w, name, 1, 1, (const int64_t[]){1}, (const float[]){0}, 4);
    }
    size_t node = wire_mark(&w);
    for (int i = 0; i < ITEMS; i++)
        wire_bytes(&w, "'a', ", 5);
    wire_bytes(&w, "[", 1);
    wire_close(&w, 2, node); /* value */
    wire_text(&w, 1, "pkg.torch.onnx.name_scopes");
    wire_close(&w, 9, node); /* metadata_props */
    wire_integer(&w, "axis", 0);
    wire_text(&w, NODE_OP, "Concat");
    wire_text(&w, NODE_OUTPUT, "y");
    for (int i = INPUTS; i-- > 0;) {
        snprintf(name, sizeof name, "i%d", i);
        wire_text(&w, NODE_INPUT, name);
    }
    wire_close(&w, GRAPH_NODE, node);
    wire_model(&w, "scope.onnx");
    gradc("check", "scope.onnx");
    ck_exit(0, "a long scope");
}
END_TEST

/* An output that is an input or an initializer, by no node; no outputs at all. */
START_TEST(graphs_without_nodes)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "x", 1, (const int64_t[]){2});
    wire_value(&w, GRAPH_INPUT, "x", 1, (const int64_t[]){2});
    wire_model(&w, "same.onnx");
    put_npy("x.npy", "<f4", "(2,)", (const float[]){1, -2}, 8);
    gradc("run", "same.onnx", "--input", "x=x.npy");
    ck_exit(0, "an input as output");
    ck_assert_str_eq(said.out, "x f32[2]\n[ 1., -2.]\n");
    wire_value(&w, GRAPH_OUTPUT, "w", 1, (const int64_t[]){2});
    wire_tensor(&w, "w", 1, 1, (const int64_t[]){2}, (const float[]){3, 4}, 8);
    wire_model(&w, "held.onnx");
    gradc("run", "held.onnx");
    ck_exit(0, "an initializer as output");
    ck_assert_str_eq(said.out, "w f32[2]\n[3., 4.]\n");
    wire_value(&w, GRAPH_INPUT, "x", 1, (const int64_t[]){2});
    wire_model(&w, "none.onnx");
    refused("none.onnx", "no outputs");
    ck_says("outputs");
    wire_model(&w, "empty.onnx");
    refused("empty.onnx", "an empty graph");
}
END_TEST

/* Signalling ones too: the bits of an initializer come through reading and text as they are, and
 * stay a NaN in code. */
START_TEST(payloads_of_nan_are_kept)
{
    static const struct {
        int onnx;
        const char *bits, *shown;
        size_t size;
    } cases[] = {
        {1, "\xef\xbe\xad\x7f", "0x7fadbeef", 4},
        {11, "\xfe\xca\xef\xbe\xad\xde\xf4\x7f", "0x7ff4deadbeefcafe", 8},
        {10, "\x55\x7d", "0x7d55", 2},
        {16, "\xa5\xff", "0xffa5", 2},
    };
    wire w = {0};
    wire_typed(&w, GRAPH_OUTPUT, "w", cases[_i].onnx, 1, (const int64_t[]){1});
    wire_tensor(&w, "w", cases[_i].onnx, 1, (const int64_t[]){1}, cases[_i].bits, cases[_i].size);
    wire_model(&w, "nan.onnx");
    gradc("dump", "nan.onnx", "--after=read");
    ck_exit(0, "dump");
    put_text("nan.gir", said.out);
    gradc("dump", "nan.gir", "--after=plan");
    ck_exit(0, "dump of a text");
    ck_assert_msg(strstr(said.out, cases[_i].shown) != NULL, "%s is not in\n%s", cases[_i].shown,
                  said.out);
    gradc("run", "nan.gir");
    ck_exit(0, "run");
    ck_assert_msg(strstr(said.out, "nan"), "%s", said.out);
}
END_TEST

static void one_node(const char *op, int rank, const int64_t *dim)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", rank, dim);
    wire_value(&w, GRAPH_INPUT, "x", rank, dim);
    wire_node(&w, op, "n", "x", "y");
    wire_model(&w, "one.onnx");
}

START_TEST(dimensions_that_overflow_are_refused)
{
    static const int64_t dim[][3] = {{INT64_MAX, 2, 1},         {1ll << 40, 1ll << 40, 1},
                                     {1ll << 32, 1ll << 30, 4}, {-5, 2, 2},
                                     {1ll << 38, 4, 1},         {1, INT64_MAX, 0}};
    for (size_t i = 0; i < sizeof dim / sizeof *dim; i++) {
        one_node("Neg", 3, dim[i]);
        refused("one.onnx", "an overflowing dimension");
    }
    one_node("Neg", 2, (const int64_t[]){0, 4});
    gradc("compile", "one.onnx");
    ck_exit(0, "no elements");
    gradc("info", "one.onnx", "--shape", "x=4611686018427387904x8");
    ck_assert_msg(said.status == 1 || said.status == 2, "exit %d", said.status);
    ck_assert(*said.err);
}
END_TEST

/* external.onnx reads external.bin beside it; what replaces that is not a file of that folder, or
 * not a file. */
START_TEST(external_data_stays_in_the_folder)
{
    size_t size, weights_size;
    unsigned char *b = slurp(ROOT "tests/fixtures/onnx/external.onnx", &size);
    unsigned char *weights = slurp(ROOT "tests/fixtures/onnx/external.bin", &weights_size);
    ck_assert(!mkdir("in", 0700) && !mkdir("out", 0700));
    put("in/external.onnx", b, size);
    put("out/external.bin", weights, weights_size);
    put("in/external.bin", weights, weights_size);
    gradc("info", "in/external.onnx");
    ck_exit(0, "data beside the model");
    ck_assert(!unlink("in/external.bin") && !link("out/external.bin", "in/external.bin"));
    gradc("info", "in/external.onnx");
    ck_exit(0, "a hard link is a plain file"); /* docs/onnx.md says so */
    ck_assert(!unlink("in/external.bin") && !symlink("../out/external.bin", "in/external.bin"));
    refused("in/external.onnx", "a link out of the folder");
    ck_assert(!unlink("in/external.bin") && !symlink("/dev/zero", "in/external.bin"));
    refused("in/external.onnx", "a link to a device");
    ck_assert(!unlink("in/external.bin") && !mkfifo("in/external.bin", 0600));
    refused("in/external.onnx", "a pipe");
    ck_assert(!unlink("in/external.bin") && !mkdir("in/external.bin", 0700));
    refused("in/external.onnx", "a folder");
    ck_assert(!rmdir("in/external.bin"));
    refused("in/external.onnx", "data that is missing");
    const char *told = strstr(said.err, "external.bin");
    ck_assert_msg(told && !strstr(told + 1, "external.bin"),
                  "two tensors lie in it, and it is named once:\n%s", said.err);
    ck_assert_msg(!strstr(said.err, "was not produced"), "what follows from it is said too:\n%s",
                  said.err);
    gradc("info", ROOT "tests/fixtures/onnx/if_true.onnx", "--shape", "x=1x1");
    ck_exit(1, "an input that is at fault, read in a branch");
    ck_assert_msg(strstr(said.err, "rank 1") && !strstr(said.err, "not produced"),
                  "what follows from it is said too:\n%s", said.err);
    put("in/external.bin", weights, weights_size - 1);
    refused("in/external.onnx", "data that ends early");
    free(b), free(weights);
}
END_TEST

/* Two tensors of one file may share bytes: each is read for itself. */
START_TEST(external_tensors_overlap)
{
    static const struct {
        const char *name, *offset;
    } tensor[] = {{"b", "4"}, {"a", "0"}};
    wire w = {0};
    for (int i = 0; i < 2; i++)
        wire_value(&w, GRAPH_OUTPUT, tensor[i].name, 1, (const int64_t[]){2});
    for (int i = 0; i < 2; i++) {
        const struct {
            const char *key, *value;
        } entry[] = {{"length", "8"}, {"offset", tensor[i].offset}, {"location", "w.bin"}};
        size_t end = wire_mark(&w);
        wire_number(&w, 14, 1); /* data_location: EXTERNAL */
        for (int k = 0; k < 3; k++) {
            size_t at = wire_mark(&w);
            wire_text(&w, 2, entry[k].value);
            wire_text(&w, 1, entry[k].key);
            wire_close(&w, 13, at); /* external_data */
        }
        wire_text(&w, 8, tensor[i].name);
        wire_number(&w, 2, 1);
        wire_number(&w, 1, 2);
        wire_close(&w, GRAPH_INITIALIZER, end);
    }
    wire_model(&w, "two.onnx");
    put("w.bin", (const float[]){1, 2, 3}, 12);
    gradc("run", "two.onnx");
    ck_exit(0, "overlapping tensors");
    ck_assert_str_eq(said.out, "a f32[2]\n[1., 2.]\nb f32[2]\n[2., 3.]\n");
    put("w.bin", (const float[]){1, 2, 3}, 11);
    refused("two.onnx", "the second ends early");
}
END_TEST

/* Names that would break a careless writer of headers, paths, terminals, DOT or JSON. */
static const char *const names[] = {
    "x; system(\"..\")",
    "*/ #include \"/etc/passwd\"",
    "\n#define x y",
    "int",
    "main",
    "malloc",
    "a/b",
    "a_b",
    "a-b",
    "9lives",
    ("?"
     "?/"),
    "%s%n%n%n",
    "\033[2J\033]0;evil\007",
    "<script>alert(1)</script>",
    "\"quoted\"\\",
    "line\nbreak\r",
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "grad",
    "\xe2\x80\xae rtl",
    "zero\xe2\x80\x8bwidth",
    "\xe2\x81\xa6isolate",
    "\xef\xbb\xbf"
    "bom",
    "tag\xf3\xa0\x81\x81",
    "delete\x7f",
    "-rf",
    "~",
    "$(reboot)",
    "a.npy",
    "inputs",
    "hostile_inputs",
    "ctx",
};
enum { NAMES = sizeof names / sizeof *names };

/* Characters that no output may have: controls, and what hides or reorders text (here all such
 * characters of `names`). */
static bool has_controls(const char *text)
{
    static const char *const hidden[] = {"\xe2\x80\xae", "\xe2\x80\x8b", "\xe2\x81\xa6",
                                         "\xef\xbb\xbf", "\xf3\xa0\x81\x81"};
    for (const char *c = text; *c; c++)
        if (((unsigned char)*c < 32 && *c != '\n' && *c != '\t') || *c == 127)
            return true;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (strstr(text, hidden[i]))
            return true;
    return false;
}

static void named_model(const char *path)
{
    wire w = {0};
    char output[200];
    for (int i = NAMES; i-- > 0;) {
        snprintf(output, sizeof output, "%s out", names[i]);
        wire_value(&w, GRAPH_OUTPUT, output, 1, (const int64_t[]){3});
    }
    for (int i = NAMES; i-- > 0;)
        wire_value(&w, GRAPH_INPUT, names[i], 1, (const int64_t[]){3});
    for (int i = NAMES; i-- > 0;) {
        snprintf(output, sizeof output, "%s out", names[i]);
        wire_node(&w, "Neg", names[i], names[i], output);
    }
    wire_model(&w, path);
}

START_TEST(names_never_reach_text_raw)
{
    named_model("hostile.onnx");
    static const char *const lines[] = {
        "info hostile.onnx",
        "check hostile.onnx",
        "dump hostile.onnx",
        "dump hostile.onnx --format=dot",
        "dump hostile.onnx --format=llvm",
        "dump hostile.onnx --format=asm",
        "info hostile.onnx --json",
        "check hostile.onnx --json",
        "bench hostile.onnx --json",
        "bench hostile.onnx --profile",
        "compile hostile.onnx -g --emit=obj,asm,llvm",
        "run hostile.onnx",
    };
    static const char *const written[] = {"hostile.h", "hostile.s", "hostile.ll"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        gradc_line(lines[i], NULL);
        ck_exit(i + 1 == sizeof lines / sizeof *lines ? 1 : 0, lines[i]);
        ck_assert_msg(!has_controls(said.out) && !has_controls(said.err),
                      "%s prints control characters", lines[i]);
    }
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        static char text[1 << 20];
        read_all(written[i], text, sizeof text);
        ck_assert_msg(*text && !has_controls(text), "%s has control characters", written[i]);
    }
    put_text("use.c", "#include \"hostile.h\"\nint main(void)\n{\n    hostile_inputs in = {0};\n   "
                      " return in.int_ != NULL;\n}\n");
    ck_assert(!system("cc -std=c99 -Wall -Wextra -Wpedantic -Werror "
                      "-Wno-missing-field-initializers -I" GRADC_INCLUDE " -c use.c"));
}
END_TEST

/* The output is JSON, and its list with that key has members of all names. */
static void json_has_names(const char *key)
{
    json_t *all = json_loads(said.out, 0, NULL), *list = json_object_get(all, key);
    ck_assert_int_eq((int)json_array_size(list), NAMES);
    for (int i = 0; i < NAMES; i++)
        ck_assert_str_eq(
            json_string_value(json_object_get(json_array_get(list, (size_t)i), "name")), names[i]);
    json_decref(all);
}

/* onnx.proto allows both and does not say which one counts. */
START_TEST(elements_stand_in_one_place)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 1, (const int64_t[]){2});
    size_t tensor = wire_mark(&w);
    wire_bytes(&w, "12345678", 8);
    wire_close(&w, 9, tensor); /* raw_data */
    wire_text(&w, 8, "b");
    size_t end = wire_mark(&w);
    wire_bytes(&w, "12345678", 8);
    wire_close(&w, 4, end); /* float_data */
    wire_number(&w, 2, 1);
    wire_number(&w, 1, 2);
    wire_close(&w, GRAPH_INITIALIZER, tensor);
    wire_node(&w, "Neg", "n", "b", "y");
    wire_model(&w, "twice.onnx");
    gradc("info", "twice.onnx");
    ck_exit(1, "info");
    ck_says("twice.onnx: error: tensor 'b' has data in two places");
}
END_TEST

START_TEST(scales_fit_the_axis)
{
    static const struct {
        int rank;
        int64_t dim[2];
        const char *type;
    } scales[] = {{2, {1, 2}, "f32[1,2]"}, {1, {3}, "f32[3]"}, {1, {0}, "f32[0]"}};
    for (int i = 0; i < 3; i++) {
        wire w = {0};
        char due[200];
        wire_value(&w, GRAPH_INPUT, "x", 2, (const int64_t[]){2, 2});
        wire_typed(&w, GRAPH_OUTPUT, "y", 2, 2, (const int64_t[]){2, 2}); /* u8 */
        wire_tensor(&w, "s", 1, scales[i].rank, scales[i].dim,
                    "\0\0\x80\x3f\0\0\x80\x3f\0\0\x80\x3f",
                    i == 0   ? 8
                    : i == 1 ? 12
                             : 0);
        wire_binary(&w, "QuantizeLinear", "x", "s", "y");
        wire_model(&w, "scales.onnx");
        gradc("info", "scales.onnx");
        ck_exit(1, "info");
        snprintf(due, sizeof due,
                 "(QuantizeLinear): error: a scale or zero point is %s, expected one element",
                 scales[i].type);
        ck_says(due);
    }
}
END_TEST

/* Bytes of a bool tensor that are neither 0 nor 1 mean 1. */
START_TEST(a_boolean_is_0_or_1)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 1, (const int64_t[]){3});
    wire_tensor(&w, "b", 9, 1, (const int64_t[]){3}, "\x02\x00\xff", 3); /* bool */
    wire_tensor(&w, "c", 9, 1, (const int64_t[]){3}, "\x01\x00\x01", 3); /* bool */
    size_t node = wire_mark(&w);
    wire_integer(&w, "to", 1); /* float */
    wire_text(&w, NODE_OP, "Cast");
    wire_text(&w, NODE_OUTPUT, "y");
    wire_text(&w, NODE_INPUT, "same");
    wire_close(&w, GRAPH_NODE, node);
    wire_binary(&w, "Equal", "b", "c", "same");
    wire_model(&w, "bool.onnx");
    gradc("run", "bool.onnx");
    ck_exit(0, "a bool tensor of other bytes");
    ck_assert_msg(strstr(said.out, "1, 1, 1") || strstr(said.out, "1., 1., 1."), "%s", said.out);
}
END_TEST

START_TEST(names_reach_json_whole)
{
    named_model("hostile.onnx");
    gradc("info", "hostile.onnx", "--json");
    json_has_names("inputs");
    gradc("check", "hostile.onnx", "--json");
    json_has_names("nodes");
    put_text("bytes.gir", "gir 1\nmodule \"m\\xff\"\nentry @forward( input %\"x\\xfd\" : f32[2] ) "
                          "{\n    %y = neg %\"x\\xfd\" : f32[2]\n"
                          "    return (\n        output \"y\\xfa\" %y\n    )\n}\n");
    gradc("info", "bytes.gir", "--json");
    ck_exit(0, "names that are no UTF-8");
    ck_assert_msg(strstr(said.out, "\"x\\\\xfd\"") && strstr(said.out, "\"m\\\\xff\""), "%s",
                  said.out);
}
END_TEST

START_TEST(files_are_named_inside_the_folder)
{
    named_model("hostile.onnx");
    static const float x[3] = {1, 2, 3};
    put_npy("x.npy", "<f4", "(3,)", x, sizeof x);
    const char *argv[8 + 2 * NAMES] = {GRADC_COMMAND, "run", "hostile.onnx", "--output", "out"};
    static char pair[NAMES][200];
    int n = 5;
    for (int i = 0; i < NAMES; i++) {
        snprintf(pair[i], sizeof pair[i], "%s=x.npy", names[i]);
        argv[n++] = "--input";
        argv[n++] = pair[i];
    }
    int before = file_count(".");
    run_program(argv, NULL);
    ck_exit(0, "run");
    ck_assert_int_eq(file_count("."), before + 1);
    ck_assert_int_eq(file_count("out"), NAMES);
    ck_assert(is_there("out/..%2F..%2F..%2Fetc%2Fpasswd%20out.npy") &&
              is_there("out/%1B%5B2J%1B%5D0%3Bevil%07%20out.npy"));
}
END_TEST

START_TEST(weights_beside_a_text_are_not_believed)
{
    static const char head[] =
        "gir 1\nmodule \"m\"\nparam \"w\" : f32[100] trainable init large(\"state/w\")\n"
        "entry @forward( state %w : f32[100] ) {\n    %y = neg %w : f32[100]\n    return ( output "
        "\"y\" %y )\n}\n";
    static const struct { const char *header; size_t data;
    } files[] = {
        {"{\"state/w\":{\"dtype\":\"F32\",\"shape\":[100],\"data_offsets\":[0,400]}}", 399},
        {"{\"state/w\":{\"dtype\":\"F32\",\"shape\":[100],\"data_offsets\":[-400,0]}}", 400},
        {"{\"state/"
         "w\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}",
         0},
        {"{\"state/w\":{\"dtype\":\"F64\",\"shape\":[100],\"data_offsets\":[0,800]}}", 800},
        {"{\"other\":{\"dtype\":\"F32\",\"shape\":[100],\"data_offsets\":[0,400]}}", 400},
        {"[[[[[[[[[[[[[[[[", 400},
    };
    put_text("m.gir", head);
    refused("m.gir", "no file beside it");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        static char b[2048];
        size_t n = strlen(files[i].header);
        memset(b, 0, sizeof b);
        b[0] = (char)n;
        memcpy(b + 8, files[i].header, n);
        put("m.gir.safetensors", b, 8 + n + files[i].data);
        refused("m.gir", files[i].header);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hostile");
    TCase *c = tcase_create("hostile");
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, command_setup, command_teardown);
    tcase_add_test(c, wrong_files_are_refused_with_their_message);
    tcase_add_test(c, a_node_is_named);
    tcase_add_test(c, truncated_files_are_refused);
    tcase_add_test(c, random_bytes_are_refused);
    tcase_add_test(c, changed_bytes_do_no_harm);
    tcase_add_test(c, nested_subgraphs_are_refused);
    tcase_add_loop_test(c, many_empty_messages_end, 0, 3);
    tcase_add_test(c, a_long_scope_is_read_once);
    tcase_add_test(c, graphs_without_nodes);
    tcase_add_loop_test(c, payloads_of_nan_are_kept, 0, 4);
    tcase_add_test(c, dimensions_that_overflow_are_refused);
    tcase_add_test(c, external_data_stays_in_the_folder);
    tcase_add_test(c, external_tensors_overlap);
    tcase_add_test(c, names_never_reach_text_raw);
    tcase_add_test(c, a_boolean_is_0_or_1);
    tcase_add_test(c, names_reach_json_whole);
    tcase_add_test(c, files_are_named_inside_the_folder);
    tcase_add_test(c, elements_stand_in_one_place);
    tcase_add_test(c, scales_fit_the_axis);
    tcase_add_test(c, weights_beside_a_text_are_not_believed);
    suite_add_tcase(s, c);
    return suite_run(s);
}
