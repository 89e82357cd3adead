/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The limits of docs/limits.md, each at its edge: just inside it works, just outside there is a
 * message and exit 1. And what has no limit: graphs as deep as there are nodes, whatever stack the
 * program has, and memory that runs out at any time. */
#include "files/safetensors.h"
#include "tests/command.h"
#include "include/gradc_rt.h"
#include "ir/text.h"
#include "tests/suite.h"

#include <stdarg.h>

/* ---- Texts, in limit.gir ---- */

static FILE *text;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(text, format, args);
    va_end(args);
    putc('\n', text);
}

static void begin(void)
{
    text = fopen("limit.gir", "w");
    ck_assert(text != NULL);
    say("gir 1\nmodule \"m\"");
}

/* Ends the entry, which was begun, with its results. */
static void finish(const char *value)
{
    say("    return (\n        output \"y\" %s\n    )\n}", value);
    ck_assert(!fclose(text));
}

/* A module with so many parameters of one type and initial value. */
static void params(int n, const char *type, const char *init)
{
    begin();
    for (int i = 0; i < n; i++)
        say("param \"w%d\" : %s %s", i, type, init);
    say("entry @forward(");
    for (int i = 0; i < n; i++)
        say("    state %%w%d : %s,", i, type);
    say("    input %%x : f32[2]\n) {\n    %%y = neg %%x : f32[2]");
    finish("%y");
}

#define works(...)                           \
    do {                                     \
        gradc(__VA_ARGS__);                  \
        ck_exit(0, "just inside the limit"); \
    } while (0)
/* The verb and `check`, which reports beforehand what compiling reports. */
#define is_within(verb, path) \
    do {                      \
        works(verb, path);    \
        works("check", path); \
    } while (0)
#define is_refused(message, verb, path)                                           \
    do {                                                                          \
        const char *const both[] = {verb, "check"};                               \
        for (int k = 0; k < 2; k++) {                                             \
            gradc(both[k], path);                                                 \
            ck_exit(1, both[k]);                                                  \
            ck_assert_msg(strstr(said.err, message) || strstr(said.out, message), \
                          "'%s' is not in:\n%.2000s", message, said.err);         \
        }                                                                         \
    } while (0)

/* ---- Depth ---- */

/* The text with the last value's number for each $. */
static void after(int number, const char *line)
{
    fprintf(text, "    %%%d = ", number);
    for (; *line; line++)
        if (*line == '$')
            fprintf(text, "%%%d", number - 1);
        else
            putc(*line, text);
    putc('\n', text);
}

/* A chain of so many instructions, after a contraction that they are fused into, or after none. */
static void chain(int length, bool contraction, const char *const *op, int nops)
{
    char last[20];
    begin();
    say("param \"w\" : f32[4,4] trainable");
    say("entry @forward( input %%x : f32[4,4], state %%w : f32[4,4] ) {");
    after(0, contraction ? "dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[4,4]"
                         : "mul %x, %w : f32[4,4]");
    for (int i = 1; i <= length; i++)
        after(i, op[(i - 1) % nops]);
    after(length + 1, "reduce $ combine=sum axes=[0, 1] : f32[]");
    snprintf(last, sizeof last, "%%%d loss", length + 1);
    finish(last);
}

START_TEST(chains_of_any_length_compile)
{
    static const char *const sines[] = {"sin $ : f32[4,4]"},
                             *const sums[] = {"add $, %x : f32[4,4]", "mul $, $ : f32[4,4]",
                                              "cos $ : f32[4,4]"},
                             *const turned[] = {"transpose $ perm=[1, 0] : f32[4,4]",
                                                "reverse $ axes=[0] : f32[4,4]"},
                             *const shaped[] = {"transpose $ perm=[1, 0] : f32[4,4]",
                                                "reshape $ shape=[2, 8] : f32[2,8]",
                                                "transpose $ perm=[1, 0] : f32[8,2]",
                                                "reshape $ shape=[4, 4] : f32[4,4]"};
    static const struct {
        const char *const *op;
        int n;
    } kinds[] = {{sines, 1}, {sums, 3}, {turned, 2}, {shaped, 4}};
    chain(20000, _i & 1, kinds[_i / 2].op, kinds[_i / 2].n);
    works("compile", "-O0", "limit.gir");
    works("compile", "-O0", "limit.gir", "--train=adam");
}
END_TEST

/* Expressions that share operands can have any number of paths. */
START_TEST(indices_of_many_paths_end)
{
    enum { LONG = 100 };
    begin();
    say("entry @forward( input %%t : f32[4,4], input %%i : i32[1], input %%j : i32[1] ) {");
    for (int n = 0; n < LONG; n++)
        for (int k = 0; k < 2; k++)
            say(n ? "    %%%d = %s %%%d, %%%d : i32[1]" : "    %%%d = %s %%i, %%j : i32[1]",
                2 * n + k, k ? "max" : "min", 2 * n - 2, 2 * n - 1);
    say("    %%y = gather %%t, %%198 dims=[0] batch=0 : f32[4]");
    finish("%y");
    works("compile", "-O0", "limit.gir");
    begin(); /* values without a name */
    say("func @b( %%0 : f32[4,4], %%1 : f32[4], %%2 : i32[1] ) {\n    %%3 = sub %%2, %%2 : i32[1]");
    for (int n = 4; n < LONG; n++)
        say("    %%%d = %s %%%d, %%%d : i32[1]", n, n & 1 ? "xor" : "sub", n - 1, n - 2);
    say("    %%%d = gather %%0, %%%d dims=[0] batch=0 : f32[4]\n    return %%%d\n}", LONG, LONG - 1,
        LONG);
    say("entry @forward( input %%t : f32[4,4], input %%s : f32[4], input %%i : i32[3,1] ) {");
    say("    %%y, %%n = scan %%t, %%s, %%i body=@b consts=1 carries=1 length=3 reverse=0 live=0 : "
        "f32[4], i64[]");
    finish("%y");
    works("compile", "-O0", "limit.gir");
}
END_TEST

/* Functions that call one another: the entry is one of them. */
static void calls(int depth)
{
    begin();
    say("func @f1( %%0 : f32[2] ) {\n    %%1 = sin %%0 : f32[2]\n    return %%1\n}");
    for (int i = 2; i < depth; i++)
        say("func @f%d( %%0 : f32[2] ) {\n    %%1 = call %%0 callee=@f%d : f32[2]\n    return "
            "%%1\n}",
            i, i - 1);
    say("entry @forward( input %%x : f32[2] ) {\n    %%y = call %%x callee=@f%d : f32[2]",
        depth - 1);
    finish("%y");
}

START_TEST(depth_of_calls)
{
    calls(IR_MAX_DEPTH);
    is_within("compile", "limit.gir");
    calls(IR_MAX_DEPTH + 1);
    is_refused("100 deep", "compile", "limit.gir");
}
END_TEST

static void wire_branch(wire *w, const char *name, int depth);

/* The graph of a branch: so many nested Ifs, with a Neg in the innermost. Its output has a name of
 * its own. */
static void wire_ifs(wire *w, int depth, const char *output)
{
    char name[20];
    size_t node;
    snprintf(name, sizeof name, "%s%d", output, depth);
    wire_value(w, GRAPH_OUTPUT, name, 1, (const int64_t[]){2});
    if (!depth) {
        wire_node(w, "Neg", "n", "x", name);
        return;
    }
    node = wire_mark(w);
    wire_branch(w, "else_branch", 0);
    wire_branch(w, "then_branch", depth - 1);
    wire_text(w, NODE_OP, "If");
    wire_text(w, NODE_OUTPUT, name);
    wire_text(w, NODE_INPUT, "c");
    wire_close(w, GRAPH_NODE, node);
}

static void wire_branch(wire *w, const char *name, int depth)
{
    size_t attribute = wire_mark(w);
    wire_ifs(w, depth, name);
    wire_close(w, 6, attribute); /* g */
    wire_number(w, 20, 5);       /* type: a graph */
    wire_text(w, 1, name);
    wire_close(w, NODE_ATTRIBUTE, attribute);
}

static void nested_ifs(int depth)
{
    wire w = {0};
    wire_value(&w, GRAPH_INPUT, "s", 0, NULL);
    wire_value(&w, GRAPH_INPUT, "x", 1, (const int64_t[]){2});
    wire_ifs(&w, depth, "y");
    wire_node(&w, "IsNaN", "c", "s", "c");
    wire_model(&w, "limit.onnx");
}

START_TEST(nesting)
{
    nested_ifs(IR_MAX_NESTING);
    works("compile", "-O0", "limit.onnx");
    nested_ifs(IR_MAX_NESTING + 1);
    is_refused("90 deep", "compile", "limit.onnx");
}
END_TEST

static void scans(int n)
{
    begin();
    say("func @b( %%0 : f32[] ) {\n    %%1 = sin %%0 : f32[]\n    return %%1\n}");
    say("entry @forward( input %%x : f32[] ) {\n    %%0 = sin %%x : f32[]");
    for (int i = 1; i <= n; i++)
        say("    %%%d, %%t%d = scan %%%d body=@b consts=0 carries=1 length=9 reverse=0 live=0 : "
            "f32[], i64[]",
            i, i, i - 1);
    say("    %%y = sin %%%d : f32[]", n);
    finish("%y");
}

START_TEST(bodies)
{
    scans(IR_MAX_BODIES);
    is_within("info", "limit.gir");
    scans(IR_MAX_BODIES + 1);
    is_refused("2000", "info", "limit.gir");
}
END_TEST

/* 4,004 calls of a function that counts as 998, each of them 999, and the entry's own. */
static void expanded(int more)
{
    begin();
    say("func @f( %%0 : f32[] ) {");
    for (int i = 1; i < 998; i++)
        after(i, "sin $ : f32[]");
    say("    return %%997\n}\nentry @forward( input %%x : f32[] ) {\n    %%0 = sin %%x : f32[]");
    for (int i = 1; i <= 4004; i++)
        after(i, "call $ callee=@f : f32[]");
    for (int i = 4005; i < 4005 + more; i++)
        after(i, "sin $ : f32[]");
    char last[20];
    snprintf(last, sizeof last, "%%%d", 4004 + more);
    finish(last);
}

START_TEST(expanded_instructions)
{
    int more = IR_MAX_INSTS - 4004 * 999 - 2;
    expanded(more);
    is_within("info", "limit.gir");
    expanded(more + 1);
    is_refused("4000000", "info", "limit.gir");
    gradc("opt", "limit.gir", "--passes=inline");
    ck_exit(1, "opt");
    ck_says("4000000");
}
END_TEST

/* ---- Counts ---- */

static void nodes(int n)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 1, (const int64_t[]){2});
    wire_value(&w, GRAPH_INPUT, "x", 1, (const int64_t[]){2});
    for (int i = 0; i < n; i++) {
        char name[20];
        snprintf(name, sizeof name, "v%d", i);
        wire_node(&w, "Neg", "", "x", i ? name : "y");
    }
    wire_model(&w, "limit.onnx");
}

START_TEST(nodes_of_a_graph)
{
    nodes(IR_MAX_NODES);
    is_within("info", "limit.onnx");
    nodes(IR_MAX_NODES + 1);
    is_refused("1000000", "info", "limit.onnx");
    begin();
    say("entry @forward( input %%0 : f32[2] ) {");
    for (int i = 1; i <= IR_MAX_NODES + 1; i++)
        after(i, "neg $ : f32[2]");
    finish("%1000001");
    is_refused("1000000", "info", "limit.gir");
}
END_TEST

/* A model with so many empty entries in a list of the file (metadata_props), or in an unknown
 * list. */
static void messages(int n, bool known)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 1, (const int64_t[]){2});
    wire_value(&w, GRAPH_INPUT, "x", 1, (const int64_t[]){2});
    wire_node(&w, "Neg", "n", "x", "y");
    wire_close(&w, MODEL_GRAPH, 0);
    for (int i = 0; i < n; i++)
        wire_bytes(&w, known ? "\x72\0" : "\x7a\0", 2);
    size_t end = wire_mark(&w);
    wire_number(&w, 2, 17);
    wire_close(&w, MODEL_OPSET, end);
    wire_number(&w, 1, 8);
    put("limit.onnx", w.bytes + w.at, w.size - w.at);
    free(w.bytes);
}

START_TEST(messages_of_a_file)
{
    int others = 13; /* the model's and twice those of a value */
    messages(IR_MAX_MESSAGES - others, true);
    is_within("info", "limit.onnx");
    messages(IR_MAX_MESSAGES - others + 1, true);
    is_refused("8000000 messages", "info", "limit.onnx");
    messages(IR_MAX_MESSAGES, false);
    is_within("info", "limit.onnx");
    messages(IR_MAX_MESSAGES + 1, false);
    is_refused("8000000 unknown fields", "info", "limit.onnx");
}
END_TEST

static void functions(int n)
{
    begin();
    for (int i = 1; i < n; i++)
        say("func @f%d( %%0 : f32[2] ) {\n    return %%0\n}", i);
    say("entry @forward( input %%x : f32[2] ) {\n    %%y = neg %%x : f32[2]");
    finish("%y");
}

START_TEST(functions_of_a_text)
{
    functions(IR_MAX_FUNCS);
    is_within("info", "limit.gir");
    functions(IR_MAX_FUNCS + 1);
    is_refused("10000", "info", "limit.gir");
}
END_TEST

static void inputs(int n)
{
    begin();
    say("entry @forward(");
    for (int i = 0; i < n; i++)
        say("    input %%x%d : f32[2]%s", i, i == n - 1 ? "" : ",");
    say(") {\n    %%y = neg %%x0 : f32[2]");
    finish("%y");
}

START_TEST(inputs_and_outputs)
{
    inputs(GRADC_RT_MAX_PORTS - 1);
    is_within("compile", "limit.gir");
    inputs(GRADC_RT_MAX_PORTS);
    is_refused("limit.gir: error: an entry has at most 512", "compile", "limit.gir");
}
END_TEST

/* An input or output of a dimension n. */
static void wire_symbolic(wire *w, int field, const char *name)
{
    size_t value = wire_mark(w);
    wire_text(w, 2, "n"); /* dim_param */
    wire_close(w, 1, value);
    wire_close(w, 2, value);
    wire_number(w, 1, 1);
    wire_close(w, 1, value);
    wire_close(w, 2, value);
    wire_text(w, 1, name);
    wire_close(w, field, value);
}

START_TEST(specialisations)
{
    char option[400] = "--dim=n=1";
    wire w = {0};
    wire_symbolic(&w, GRAPH_OUTPUT, "y");
    wire_symbolic(&w, GRAPH_INPUT, "x");
    wire_node(&w, "Neg", "n", "x", "y");
    wire_model(&w, "limit.onnx");
    for (int i = 2; i <= IR_MAX_SPECS; i++)
        snprintf(option + strlen(option), sizeof option - strlen(option), ",%d", i);
    works("info", option, "limit.onnx");
    strcat(option, ",99");
    gradc("info", option, "limit.onnx");
    ck_exit(2, "one extent more");
    ck_says("64");
}
END_TEST

static void many_faults(int n)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 1, (const int64_t[]){2});
    wire_value(&w, GRAPH_INPUT, "x", 1, (const int64_t[]){2});
    for (int i = 0; i < n; i++)
        wire_node(&w, "Fancy", "n", "x", i ? "v" : "y");
    wire_model(&w, "limit.onnx");
}

START_TEST(diagnostics)
{
    for (int n = BASE_MAX_DIAGNOSTICS; n <= BASE_MAX_DIAGNOSTICS + 1; n++) {
        int lines = 0;
        many_faults(n);
        gradc("info", "limit.onnx");
        ck_exit(1, "unknown operators");
        for (const char *c = said.err; (c = strstr(c, "error:")); c++)
            lines++;
        ck_assert_int_eq(lines, BASE_MAX_DIAGNOSTICS);
    }
}
END_TEST

/* ---- Sizes ---- */

static void rank(int n)
{
    int64_t dim[IR_MAX_RANK + 1];
    for (int i = 0; i < n; i++)
        dim[i] = 1;
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", n, dim);
    wire_value(&w, GRAPH_INPUT, "x", n, dim);
    wire_node(&w, "Neg", "n", "x", "y");
    wire_model(&w, "limit.onnx");
}

START_TEST(rank_of_a_tensor)
{
    rank(IR_MAX_RANK);
    is_within("compile", "limit.onnx");
    rank(IR_MAX_RANK + 1);
    is_refused("rank", "compile", "limit.onnx");
}
END_TEST

static void named(int length)
{
    char name[IR_MAX_NAME + 20];
    memset(name, 'n', sizeof name);
    name[length] = 0;
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 1, (const int64_t[]){2});
    wire_value(&w, GRAPH_INPUT, name, 1, (const int64_t[]){2});
    wire_node(&w, "Neg", "n", name, "y");
    wire_model(&w, "limit.onnx");
    begin();
    say("param \"%s\" : f32[2]\nentry @forward( input %%x : f32[2] ) {\n    %%y = neg %%x : f32[2]",
        name);
    finish("%y");
}

START_TEST(length_of_a_name)
{
    named(IR_MAX_NAME);
    is_within("compile", "limit.onnx");
    is_within("compile", "limit.gir");
    named(IR_MAX_NAME + 1);
    is_refused("4096", "compile", "limit.onnx");
    named(IR_MAX_NAME + 17); /* a text may have names that gradc made of others, as "NAME.m" */
    is_refused("4096", "compile", "limit.gir");
}
END_TEST

static void input_of(const char *type)
{
    begin();
    say("entry @forward( input %%x : %s ) {\n    %%y = neg %%x : %s", type, type);
    finish("%y");
}

START_TEST(bytes_of_a_tensor)
{
    _Static_assert(IR_MAX_TENSOR_BYTES == 1099511627776, "what the texts say");
    input_of("f32[274877906944]");
    is_within("compile", "limit.gir");
    input_of("f32[274877906945]");
    is_refused("2^40", "compile", "limit.gir");
    input_of("f32[4611686018427387904,4,0]");
    is_refused("2^40", "compile", "limit.gir");
}
END_TEST

START_TEST(bytes_that_one_number_becomes)
{
    _Static_assert(IR_MAX_FOLD_BYTES == 67108864 && IR_MAX_UNPACKED_BYTES == 268435456,
                   "what the texts say");
    params(1, "f32[16777216]", "init splat(0.5)");
    is_within("info", "limit.gir");
    params(1, "f32[16777217]", "init splat(0.5)");
    is_refused("67108864", "info", "limit.gir");
    params(4, "f32[16777216]", "init splat(0.5)");
    is_within("info", "limit.gir");
    works("dump", "limit.gir", "--after-all", "-o", "all");
    works("info", "all/00-read.gir");
    params(5, "f32[13421773]", "init splat(0.5)");
    is_refused("268435456", "info", "limit.gir");
}
END_TEST

/* A model of sparse initializers that hold one element each. */
static void sparse(int n, int64_t elements)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 1, (const int64_t[]){2});
    wire_value(&w, GRAPH_INPUT, "x", 1, (const int64_t[]){2});
    for (int i = 0; i < n; i++) {
        char name[20];
        size_t all = wire_mark(&w), tensor = all;
        snprintf(name, sizeof name, "w%d", i);
        wire_number(&w, 3, elements); /* dims */
        tensor = wire_mark(&w);
        wire_number(&w, 7, 0); /* indices: int64_data */
        wire_number(&w, 2, 7);
        wire_number(&w, 1, 1);
        wire_close(&w, 2, tensor);
        tensor = wire_mark(&w);
        wire_text(&w, 8, name); /* values: name */
        wire_bytes(&w, "\x22\x04\0\0\x80\x3f", 6); /* float_data: 1 */
        wire_number(&w, 2, 1);
        wire_number(&w, 1, 1);
        wire_close(&w, 1, tensor);
        wire_close(&w, 15, all); /* sparse_initializer */
    }
    wire_node(&w, "Neg", "n", "x", "y");
    wire_model(&w, "limit.onnx");
}

START_TEST(bytes_of_sparse_tensors)
{
    sparse(1, 16777216);
    is_within("info", "limit.onnx");
    sparse(1, 16777217);
    is_refused("sparse", "info", "limit.onnx");
    sparse(4, 16777216);
    is_within("info", "limit.onnx");
    sparse(5, 13421773);
    is_refused("268435456", "info", "limit.onnx");
}
END_TEST

static void weights_of(int64_t elements)
{
    char type[40];
    snprintf(type, sizeof type, "f32[%lld]", (long long)elements);
    params(1, type, "");
}

START_TEST(bytes_of_a_model)
{
    int64_t context = GRADC_RT_CTX_BYTES(sizeof(void *), 2, 1, 1),
            most = ((int64_t)BASE_MAX_ARENA_BYTES - context) / 4;
    weights_of(most);
    is_within("info", "limit.gir");
    weights_of(most + 16);
    is_refused("the limit is", "info", "limit.gir");
}
END_TEST

/* ---- Files ---- */

static void of_length(const char *path, int64_t size)
{
    put_text(path, "");
    ck_assert(!truncate(path, size));
}

START_TEST(length_of_a_file)
{
    of_length("long.onnx", (int64_t)INT32_MAX + 1);
    is_refused("2 GiB", "info", "long.onnx");
    of_length("long.gir", IR_MAX_TEXT_BYTES + 1);
    is_refused("1073741824", "info", "long.gir");
}
END_TEST

/* The weights file of a text, with a header of this length. */
static void side_file(size_t header)
{
    static const char json[] =
        "{\"state/w0\":{\"dtype\":\"F32\",\"shape\":[100],\"data_offsets\":[0,400]}}";
    unsigned char *bytes = malloc(8 + header + 400);
    ck_assert(bytes != NULL);
    memset(bytes, ' ', 8 + header);
    memset(bytes + 8 + header, 0, 400);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(header >> 8 * i);
    memcpy(bytes + 8, json, sizeof json - 1);
    put("limit.gir.safetensors", bytes, 8 + header + 400);
    free(bytes);
}

START_TEST(length_of_a_header)
{
    params(1, "f32[100]", "init large(\"state/w0\")");
    side_file(SAFETENSORS_MAX_HEADER / 8 * 8);
    is_within("info", "limit.gir");
    side_file(SAFETENSORS_MAX_HEADER / 8 * 8 + 8);
    is_refused("header", "info", "limit.gir");
}
END_TEST

/* ---- Memory ---- */

/* Runs the command with so much address space. */
static int within(rlim_t bytes, const char *verb)
{
    struct rlimit before;
    ck_assert(!getrlimit(RLIMIT_AS, &before));
    ck_assert(!setrlimit(RLIMIT_AS, &(struct rlimit){bytes, before.rlim_max}));
    int status = verb ? gradc(verb, "limit.gir", "-O2") : gradc("--version");
    ck_assert(!setrlimit(RLIMIT_AS, &before));
    return status;
}

/* If the compiler or LLVM runs out of memory, the command reports it and exits with 1. */
START_TEST(memory_runs_out)
{
    enum { STEP = 8 << 20 };
    static const char *const ops[] = {"sin $ : f32[4,4]", "cos $ : f32[4,4]", "exp $ : f32[4,4]"};
    rlim_t bytes = STEP;
    int failures = 0;
    chain(2000, true, ops, 3);
    while (within(bytes, NULL) && bytes < (rlim_t)1 << 30) /* until it can be loaded */
        bytes += STEP;
    for (; within(bytes, "compile"); bytes += STEP, failures++) {
        ck_exit(1, "too little memory");
        ck_assert_msg(strstr(said.err, "memory") && file_count(".") == 1, "%s", said.err);
        ck_assert(bytes < (rlim_t)4 << 30);
    }
    ck_assert_int_gt(failures, 5);
}
END_TEST

/* ---- The page ---- */

static const struct { const char *name; int64_t value;
} limits[] = {
#define LIMIT(name) {#name, (int64_t)(name)}
    LIMIT(IR_MAX_RANK),          LIMIT(IR_MAX_DEPTH),           LIMIT(IR_MAX_NESTING),
    LIMIT(IR_MAX_NODES),         LIMIT(IR_MAX_INSTS),           LIMIT(IR_MAX_BODIES),
    LIMIT(IR_MAX_MESSAGES),      LIMIT(IR_MAX_FUNCS),           LIMIT(IR_MAX_NAME),
    LIMIT(BASE_MAX_DIAGNOSTICS), LIMIT(IR_MAX_SPECS),           LIMIT(IR_MAX_TENSOR_BYTES),
    LIMIT(IR_MAX_FOLD_BYTES),    LIMIT(IR_MAX_UNPACKED_BYTES),  LIMIT(BASE_MAX_ARENA_BYTES),
    LIMIT(IR_MAX_TEXT_BYTES),    LIMIT(SAFETENSORS_MAX_HEADER), LIMIT(BASE_STACK_BYTES),
    LIMIT(GRADC_RT_MAX_PORTS),
};
enum { LIMITS = sizeof limits / sizeof *limits };

/* "64 MiB", or "1,000,000". */
static void written(int64_t v, char out[40])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    char digits[24];
    int unit = -1, n = 0;
    if (v >= 1 << 20)
        for (; v % 1024 == 0; v /= 1024)
            unit++;
    int length = snprintf(digits, sizeof digits, "%lld", (long long)v);
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            out[n++] = ',';
        out[n++] = digits[i];
    }
    snprintf(out + n, 40 - (size_t)n, "%s%s", unit < 0 ? "" : " ", unit < 0 ? "" : units[unit]);
}

/* Every limit has its row in docs/limits.md, with its value; no row is of another; and every
 * IR_MAX_… of the headers is a limit here. */
START_TEST(the_page_says_what_holds)
{
    static char page[1 << 16], header[1 << 17];
    read_all(ROOT "docs/limits.md", page, sizeof page);
    int rows = 0;
    for (int i = 0; i < LIMITS; i++) {
        char value[40], row[100];
        written(limits[i].value, value);
        snprintf(row, sizeof row, "\n| %s | `%s` |", value, limits[i].name);
        ck_assert_msg(strstr(page, row) != NULL, "docs/limits.md has no row '%s'", row + 1);
    }
    for (const char *c = page; (c = strstr(c, "` |")); c++)
        rows++;
    ck_assert_int_eq(rows, LIMITS);
    static const struct {
        const char *name, *prefix;
    } headers[] = {{"base/arena.h", "BASE_MAX_"},
                   {"ir/limits.h", "IR_MAX_"},
                   {"ir/text.h", "IR_MAX_"},
                   {"files/safetensors.h", "SAFETENSORS_MAX_"}};
    for (size_t h = 0; h < sizeof headers / sizeof *headers; h++) {
        char path[400];
        snprintf(path, sizeof path, ROOT "%s", headers[h].name);
        read_all(path, header, sizeof header);
        int found = 0;
        for (const char *c = header; (c = strstr(c, headers[h].prefix)); c++, found++) {
            size_t n = strspn(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
            bool known = false;
            for (int i = 0; i < LIMITS; i++)
                known |= strlen(limits[i].name) == n && !strncmp(limits[i].name, c, n);
            ck_assert_msg(known, "%.*s of %s is not on the page", (int)n, c, headers[h].name);
        }
        ck_assert_msg(found > 0, "%s has no limits", headers[h].name);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("limits");
    TCase *c = tcase_create("limits");
    tcase_set_timeout(c, 300);
    tcase_add_checked_fixture(c, command_setup, command_teardown);
    tcase_add_loop_test(c, chains_of_any_length_compile, 0, 8);
    tcase_add_test(c, indices_of_many_paths_end);
    tcase_add_test(c, depth_of_calls);
    tcase_add_test(c, nesting);
    tcase_add_test(c, bodies);
    tcase_add_test(c, expanded_instructions);
    tcase_add_test(c, nodes_of_a_graph);
    tcase_add_test(c, messages_of_a_file);
    tcase_add_test(c, functions_of_a_text);
    tcase_add_test(c, inputs_and_outputs);
    tcase_add_test(c, specialisations);
    tcase_add_test(c, diagnostics);
    tcase_add_test(c, rank_of_a_tensor);
    tcase_add_test(c, length_of_a_name);
    tcase_add_test(c, bytes_of_a_tensor);
    tcase_add_test(c, bytes_that_one_number_becomes);
    tcase_add_test(c, bytes_of_sparse_tensors);
    tcase_add_test(c, bytes_of_a_model);
    tcase_add_test(c, length_of_a_file);
    tcase_add_test(c, length_of_a_header);
    if (!SANITIZED) /* the shadow is larger than any limit */
        tcase_add_test(c, memory_runs_out);
    tcase_add_test(c, the_page_says_what_holds);
    suite_add_tcase(s, c);
    return suite_run(s);
}
