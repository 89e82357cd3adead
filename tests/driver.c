/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The command as a user sees it: exit statuses, what goes to stdout and stderr, what is written and
 * what is not. Hostile files have tests of their own in driver_hostile.c. */
#include "tests/command.h"
#include "tests/suite.h"

/* w * x, and a loss of it. */
static const char small_model[] = "gir 1\n"
                                  "module \"small\"\n"
                                  "param \"w\" : f32[3] trainable init [1, 2, 3]\n"
                                  "entry @forward(\n"
                                  "    input %x : f32[3],\n"
                                  "    state %w : f32[3]\n"
                                  ") {\n"
                                  "    %y = mul %x, %w : f32[3]\n"
                                  "    %loss = reduce %y combine=sum axes=[0] : f32[]\n"
                                  "    return (\n"
                                  "        output \"y\" %y,\n"
                                  "        output \"loss\" %loss loss\n"
                                  "    )\n"
                                  "}\n";
static const float one_two_three[] = {1, 2, 3};

static void small(void)
{
    command_setup();
    put_text("small.gir", small_model);
    put_npy("x.npy", "<f4", "(3,)", one_two_three, sizeof one_two_three);
}

static const char *const verbs[] = {"compile", "run", "bench", "dump", "check", "info", "opt"};
enum { VERBS = sizeof verbs / sizeof *verbs };

START_TEST(help_and_version_go_to_stdout)
{
    gradc("--help");
    ck_exit(0, "--help");
    for (int i = 0; i < VERBS; i++)
        ck_assert_msg(strstr(said.out, verbs[i]), "--help does not name %s", verbs[i]);
    ck_assert_str_eq(said.err, "");
    gradc("--version");
    ck_exit(0, "--version");
    ck_assert(!strncmp(said.out, "gradc ", 6));
    gradc("--list-ops");
    ck_exit(0, "--list-ops");
    ck_assert(strstr(said.out, "dot_general") && strstr(said.out, "Conv"));
}
END_TEST

/* A disk that is full. */
START_TEST(what_does_not_arrive_is_an_error)
{
    static const char *const lines[] = {"--help",
                                        "--version",
                                        "-V",
                                        "--list-ops",
                                        "compile --help",
                                        "compile --usage",
                                        "compile -V",
                                        "dump small.gir",
                                        "opt --list-passes",
                                        "info small.gir",
                                        "run small.gir -i x=x.npy"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char command[400];
        snprintf(command, sizeof command, "%s %s >/dev/full", GRADC_COMMAND, lines[i]);
        run_program((const char *const[]){"sh", "-c", command, NULL}, NULL);
        ck_exit(1, lines[i]);
        ck_says("cannot write to standard output");
        gradc_line(lines[i], NULL);
        ck_exit(0, lines[i]);
    }
}
END_TEST

START_TEST(every_verb_has_help)
{
    gradc(verbs[_i], "--help");
    ck_exit(0, verbs[_i]);
    ck_assert(strstr(said.out, verbs[_i]) && strlen(said.out) > 100);
    ck_assert_str_eq(said.err, "");
    gradc(verbs[_i], "--version");
    ck_exit(0, verbs[_i]);
}
END_TEST

#ifdef __x86_64__ /* a machine that this is not */
#define OTHER "aarch64-linux-gnu"
#else
#define OTHER "x86_64-linux-gnu"
#endif
#define SHAPED ROOT "tests/fixtures/onnx/shape_input.onnx"

/* Wrong command lines: exit 2, and a message that names the fault. */
static const struct { const char *line, *says;
} misuse[] = {
    {"", "verb"},
    {"frobnicate small.gir", "frobnicate"},
    {"compile", "model"},
    {"compile small.gir small.gir", "small.gir"},
    {"compile small.gir --frobnicate", "--frobnicate"},
    {"compile small.gir --grad", "--grad"},
    {"compile small.gir --prefix", "prefix"},
    {"compile small.gir --quiet=1", "quiet"},
    {"compile small.gir --train=magic", "magic"},
    {"compile small.gir --train=adam:speed=1", "speed"},
    {"compile small.gir --train=adam:lr=fast", "fast"},
    {"compile small.gir --threads=many", "many"},
    {"compile small.gir --threads=-1", "-1"},
    {"compile small.gir --threads=99999999999999999999", "threads"},
    {"compile small.gir --seed=1.5", "seed"},
    {"compile small.gir --seed=9223372036854775808", "from 0 to 9223372036854775807"},
    {"compile small.gir --cpu=z80", "x86-64"},
    {"compile small.gir --target=z80-unknown-cpm", "z80-unknown-cpm"},
    {"compile small.gir --target=x86_64-pc-windows-msvc",
     "x86_64-linux[-gnu|-musl|-android], aarch64-linux"},
    {"compile small.gir --target=x86_64-apple-darwin",
     "x86_64-linux[-gnu|-musl|-android], aarch64-linux"},
    {"compile small.gir --target=aarch64_be-linux-gnu",
     "x86_64-linux[-gnu|-musl|-android], aarch64-linux"},
    {"compile small.gir --target=x86_64-linux-gnux32",
     "x86_64-linux[-gnu|-musl|-android], aarch64-linux"},
    {"compile small.gir --target=riscv64-linux-android", "riscv64-linux[-gnu|-musl]"},
    {"compile small.gir --target=thumbv7em-none", "thumbv7em-none-eabi, thumbv7em-none-eabihf"},
    {"compile small.gir --target=thumbv7em-none-eabi --cpu=cortex-a76", "cortex-m4, cortex-m7"},
    {"compile small.gir --target=x86_64-none-elf --cpu=native",
     "native is this machine's and cannot be used for target x86_64-none-elf"},
    {"compile small.gir --target=x86_64", "x86_64-linux[-gnu|-musl|-android], aarch64-linux"},
    {"compile small.gir --target=" OTHER " --cpu=native",
     "native is this machine's and cannot be used for target " OTHER},
    {"compile small.gir --blas=maybe", "maybe"},
    {"compile small.gir --emit=obj,exe", "exe"},
    {"compile small.gir -o /dev/null", "ends in .o"},
    {"compile small.gir -o .", "ends in .o"},
    {"compile small.gir -o ./", "ends in .o"},
    {"compile small.gir -o .o", "ends in .o"},
    {"compile small.gir -o small.obj", "ends in .o"},
    {"compile small.gir -o small.so --emit=obj", "--emit does not name shared"},
    {"compile small.gir --weights=cloud", "cloud"},
    {"compile small.gir --entries=sideways", "sideways"},
    {"compile small.gir --entries=backward", "'backward' needs --train"},
    {"compile small.gir --train=none --entries=step", "'step' needs an optimizer"},
    {"compile small.gir --train --entries=forward,update", "'update' needs an optimizer"},
    {"compile small.gir -O9", "9"},
    {"compile small.gir --train --freeze=nothing*", "nothing*"},
    {"compile small.gir --train --trainable=v", "'v'"},
    {"compile small.gir --train=sgd --no-decay=v", "'v'"},
    {"compile small.gir --train --loss=nothing", "nothing"},
    {"compile small.gir --train --wrt=nothing", "nothing"},
    {"compile small.gir --dim batch", "batch"},
    {"compile small.gir --dim batch=none", "none"},
    {"compile " SHAPED " --dim batch=2,3,2", "2 is given twice"},
    {"run " SHAPED " --dim batch=2,3", "2 extents, expected one here"},
    {"bench " SHAPED " --dim batch=2,3", "2 extents, expected one here"},
    {"compile small.gir --shape x=3y4", "3y4"},
    {"run small.gir --input x", "x"},
    {"run small.gir --input nothing=x.npy", "nothing"},
    {"compile small.gir --bake nothing=x.npy", "'nothing'"},
    {"compile small.gir --rename nothing=a", "'nothing'"},
    {"compile small.gir --rename x=int", "'int' is not a valid name in C"},
    {"compile small.gir --train --attach-loss=mse:y", "already has an output 'loss'"},
    {"compile small.gir --train --cotangent=nothing", "'nothing'"},
    {"run small.gir --grad --cotangent nothing=x.npy", "'nothing'"},
    {"compile " SHAPED " --shape nothing=3", "'nothing'"},
    {"compile " SHAPED " --bake nothing=x.npy", "'nothing'"},
    {"compile " SHAPED " --dim nothing=3", "dimension 'nothing'"},
    {"run " SHAPED " -i nothing=x.npy", "'nothing'"},
    {"run small.gir -i x=x.npy -i x=y.npy", "'x' is given twice"},
    {"run small.gir --bake x=x.npy --bake x=y.npy", "'x' is given twice"},
    {"run small.gir --bake x=x.npy -i x=x.npy", "'x' is baked"},
    {"run small.gir --grad -i x=x.npy --cotangent y=x.npy --cotangent y=x.npy",
     "'y' is given twice"},
    {"compile small.gir --shape x=3 --shape x=4", "'x' is given twice"},
    {"compile small.gir --dim n=3 --dim n=4", "'n' is given twice"},
    {"compile small.gir --rename x=a --rename x=b", "'x' is given twice"},
    {"compile small.gir --train=adam:lr=1,lr=2", "'lr' is given twice"},
    {"dump small.gir --after=sleep", "sleep"},
    {"dump small.gir --format=pdf", "pdf"},
    {"dump small.gir --after=train", "--train"},
    {"opt " SHAPED, "opt reads text"},
    {"opt small.gir --passes=sleep", "sleep"},
};
enum { MISUSES = sizeof misuse / sizeof *misuse };

START_TEST(misuse_is_exit_2)
{
    int before = file_count(".");
    gradc_line(misuse[_i].line, NULL);
    ck_exit(2, misuse[_i].line);
    ck_says(misuse[_i].says);
    ck_assert_str_eq(said.out, "");
    ck_assert_int_eq(file_count("."), before);
}
END_TEST

START_TEST(a_compiled_model_is_an_object_and_a_header)
{
    gradc("compile", "small.gir", "--train=adam:lr=0.01", "--wrt=x");
    ck_exit(0, "compile");
    ck_assert(is_there("small.o") && is_there("small.h"));
    ck_assert_int_eq(file_count("."), 4);
    ck_assert_msg(strstr(said.out, "small.o") && strstr(said.out, "gradc_rt"),
                  "expected the link line, got '%s'", said.out);
    static char header[1 << 16];
    read_all("small.h", header, sizeof header);
    const char *due[] = {"SMALL_ARENA_BYTES", "SMALL_HYPER {0.00999999978f", "small_step(",
                         "small_backward(", "} small_input_grads;"};
    for (size_t i = 0; i < sizeof due / sizeof *due; i++)
        ck_assert_msg(strstr(header, due[i]) != NULL, "no '%s' in\n%s", due[i], header);
    ck_assert(!mkdir("sub", 0700));
    gradc("compile", "small.gir", "-o", "sub/other.o");
    ck_exit(0, "compile -o");
    ck_assert(is_there("sub/other.o") && is_there("sub/other.h") && file_count("sub") == 2);
    read_all("sub/other.h", header, sizeof header);
    ck_assert(strstr(header, "small_forward(") && !strstr(header, "other_forward("));
    gradc("compile", "small.gir", "-o", "sub/third.o", "--prefix=mine");
    ck_exit(0, "--prefix");
    read_all("sub/third.h", header, sizeof header);
    ck_assert(strstr(header, "mine_forward("));
    ck_assert(!rename("small.gir", "2 of.them.gir"));
    gradc("compile", "2 of.them.gir");
    ck_exit(0, "the file's name is the prefix");
    read_all("model_2_of_them.h", header, sizeof header);
    ck_assert(strstr(header, "model_2_of_them_forward("));
    gradc_line("compile - -o sub/in.o", "2 of.them.gir");
    ck_exit(0, "of standard input the module's name");
    read_all("sub/in.h", header, sizeof header);
    ck_assert(strstr(header, "small_forward("));
}
END_TEST

START_TEST(the_same_input_gives_the_same_bytes)
{
    static char first[1 << 20], second[1 << 20];
    gradc("compile", "small.gir", "--train=adamw", "-o", "a.o");
    ck_exit(0, "compile");
    ck_assert(!mkdir("elsewhere", 0700) && !setenv("LC_ALL", "de_DE.UTF-8", 1) &&
              !chdir("elsewhere"));
    gradc("compile", "../small.gir", "--train=adamw", "-o", "b.o");
    ck_exit(0, "compile");
    ck_assert(!chdir(".."));
    for (int i = 0; i < 2; i++) {
        memset(first, 0, sizeof first), memset(second, 0, sizeof second);
        read_all(i ? "a.h" : "a.o", first, sizeof first);
        read_all(i ? "elsewhere/b.h" : "elsewhere/b.o", second, sizeof second);
        ck_assert(!memcmp(first, second, sizeof first));
    }
}
END_TEST

START_TEST(other_forms_of_code_are_written_on_demand)
{
    gradc("compile", "small.gir", "--train=sgd", "--emit=asm,llvm,lib,shared,obj",
          "--weights=file");
    ck_exit(0, "compile");
    const char *due[] = {"small.o",    "small.h",     "small.s",          "small.ll",
                         "libsmall.a", "libsmall.so", "small.safetensors"};
    for (size_t i = 0; i < sizeof due / sizeof *due; i++)
        ck_assert_msg(is_there(due[i]), "%s is not there", due[i]);
    ck_assert_int_eq(file_count("."), 2 + (int)(sizeof due / sizeof *due));
}
END_TEST

START_TEST(the_linker_works_below_tmpdir)
{
    ck_assert(!mkdir("spare", 0700) && !setenv("TMPDIR", "spare/none", 1));
    gradc("compile", "small.gir", "--emit=shared");
    ck_exit(1, "TMPDIR is not there");
    ck_says("spare/none/gradc-link-");
    ck_assert_int_eq(file_count("."), 3);
    ck_assert(!setenv("TMPDIR", "spare", 1));
    gradc("compile", "small.gir", "--emit=shared");
    ck_exit(0, "TMPDIR");
    ck_assert(is_there("libsmall.so") && file_count("spare") == 0 && !unsetenv("TMPDIR"));
}
END_TEST

static void check_files(const char *const *due, int n)
{
    for (int i = 0; i < n; i++)
        ck_assert_msg(is_there(due[i]), "%s is not there", due[i]);
    ck_assert_int_eq(file_count("."), 2 + n);
    for (int i = 0; i < n; i++)
        ck_assert(!unlink(due[i]));
}

START_TEST(the_suffix_says_what_is_written)
{
    static const struct { const char *line, *due[4]; int n; } cases[] = {
        {"compile small.gir -o other.s", {"other.s", "other.h"}, 2},
        {"compile small.gir -o other.so", {"other.so", "other.h"}, 2},
        {"compile small.gir -o libzz.so --emit=shared,obj", {"libzz.so", "zz.o", "zz.h"}, 3},
        {"compile small.gir -o libzz.o --emit=obj,lib", {"libzz.o", "liblibzz.a", "libzz.h"}, 3},
        {"compile small.gir -o other.o --emit=asm,lib", {"other.s", "libother.a", "other.h"}, 3},
        {"compile small.gir --emit=shared", {"libsmall.so", "small.h"}, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradc_line(cases[i].line, NULL);
        ck_exit(0, cases[i].line);
        check_files(cases[i].due, cases[i].n);
    }
    char *path = strdup(getenv("PATH"));
    ck_assert(path && !setenv("PATH", "/nowhere", 1));
    gradc("compile", "small.gir", "--emit=shared,obj", "--weights=file");
    ck_assert(!setenv("PATH", path, 1));
    free(path);
    ck_exit(1, "no linker");
    ck_says("cannot run cc");
    check_files(NULL, 0);
}
END_TEST

static void check_npy(const char *path, const float *due, size_t n)
{
    static char file[4096];
    read_all(path, file, sizeof file);
    size_t head = 10 + (unsigned char)file[8] + 256 * (size_t)(unsigned char)file[9];
    float is[16];
    memcpy(is, file + head, n * sizeof *is);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(is[i] == due[i], "%s: element %zu is %g, not %g", path, i, (double)is[i],
                      (double)due[i]);
}

START_TEST(run_writes_or_prints)
{
    gradc("run", "small.gir", "--input", "x=x.npy");
    ck_exit(0, "run");
    ck_assert_msg(strstr(said.out, "y") && strstr(said.out, "14"), "'%s'", said.out);
    ck_assert_int_eq(file_count("."), 2);
    gradc("run", "small.gir", "--input", "x=x.npy", "--grad", "--output", "deep/er");
    ck_exit(0, "run --output");
    check_npy("deep/er/y.npy", (const float[]){1, 4, 9}, 3);
    check_npy("deep/er/loss.npy", (const float[]){14}, 1);
    check_npy("deep/er/grad/w.npy", one_two_three, 3);
    check_npy("deep/er/grad/x.npy", one_two_three, 3);
    put_npy("g.npy", "<f4", "(3,)", (const float[]){10, 0, 1}, 12);
    gradc("run", "small.gir", "--input", "x=x.npy", "--grad", "--cotangent", "y=g.npy",
          "--cotangent", "loss=zero.npy", "--output", "out");
    ck_exit(1, "a file that is missing");
    ck_says("zero.npy");
    ck_assert(!is_there("out"));
    put_npy("zero.npy", "<f4", "()", (const float[]){0}, 4);
    gradc("run", "small.gir", "--input", "x=x.npy", "--grad", "--cotangent", "y=g.npy",
          "--cotangent", "loss=zero.npy", "--output", "out");
    ck_exit(0, "--cotangent");
    check_npy("out/grad/w.npy", (const float[]){10, 0, 3}, 3);
}
END_TEST

/* If backward starts at another output than the loss, an input that only the loss needs may be
 * missing; else it is named. */
START_TEST(a_cotangent_goes_without_the_labels)
{
    put_text("labelled.gir",
             "gir 1\nmodule \"labelled\"\nparam \"w\" : f32[3] trainable init [1, 2, 3]\n"
             "entry @forward(input %x : f32[3], input %t : f32[3], state %w : f32[3]) {\n"
             "    %y = mul %x, %w : f32[3]\n"
             "    %d = sub %y, %t : f32[3]\n"
             "    %q = mul %d, %d : f32[3]\n"
             "    %loss = reduce %q combine=sum axes=[0] : f32[]\n"
             "    return (output \"y\" %y, output \"loss\" %loss loss)\n"
             "}\n");
    put_npy("g.npy", "<f4", "(3,)", (const float[]){10, 0, 1}, 12);
    put_npy("one.npy", "<f4", "()", (const float[]){1}, 4);
    gradc("run", "labelled.gir", "-i", "x=x.npy", "--grad", "--cotangent", "y=g.npy", "--wrt=x",
          "-o", "out");
    ck_exit(0, "no labels");
    check_npy("out/y.npy", (const float[]){1, 4, 9}, 3);
    check_npy("out/grad/x.npy", (const float[]){10, 0, 3}, 3);
    ck_assert(!is_there("out/loss.npy"));
    gradc("run", "labelled.gir", "-i", "x=x.npy", "-i", "t=x.npy", "--grad", "--cotangent",
          "y=g.npy", "-o", "all");
    ck_exit(0, "labels");
    check_npy("all/loss.npy", (const float[]){40}, 1);
    check_npy("all/grad/x.npy", (const float[]){10, 0, 3}, 3);
    gradc("run", "labelled.gir", "-i", "x=x.npy", "-i", "t=x.npy", "--grad", "--cotangent",
          "y=g.npy", "--cotangent", "loss=one.npy", "-o", "both");
    ck_exit(0, "both");
    check_npy("both/grad/x.npy", (const float[]){10, 8, 39}, 3);
    static const char *const lines[] = {"", "--cotangent loss=one.npy",
                                        "--cotangent y=g.npy --cotangent loss=one.npy"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[200];
        snprintf(line, sizeof line, "run labelled.gir -i x=x.npy --grad %s", lines[i]);
        gradc_line(line, NULL);
        ck_exit(1, line);
        ck_says("input 't' (f32[3]) is missing");
    }
}
END_TEST

START_TEST(data_at_fault_is_exit_1)
{
    static const double wide[3];
    static const struct {
        const char *type, *shape;
        size_t bytes;
        const char *say, *and;
    } wrong[] = {
        {"<f8", "(3,)", 24, "f64", "f32"},
        {"<i4", "(3,)", 12, "i32", "f32"},
        {"<f4", "(2,)", 8, "[2]", "[3]"},
        {"<f4", "(3, 1)", 12, "[3,1]", "[3]"},
        {"<f4", "(3,)", 8, "wrong.npy", ""},
        {"<f4", "(-3,)", 12, "wrong.npy", ""},
        {"<U1", "(3,)", 12, "wrong.npy", ""},
        {">f4", "(4611686018427387904, 4)", 12, "wrong.npy", ""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put_npy("wrong.npy", wrong[i].type, wrong[i].shape, wide, wrong[i].bytes);
        gradc("run", "small.gir", "--input", "x=wrong.npy", "--output", "out");
        ck_exit(1, wrong[i].shape);
        ck_says(wrong[i].say);
        ck_says(wrong[i].and);
        ck_says("wrong.npy");
        ck_assert(!is_there("out"));
    }
    gradc("run", "small.gir");
    ck_exit(1, "a missing input");
    ck_says("x");
    gradc("run", "small.gir", "--input", "x=there_is_no.npy");
    ck_exit(1, "a missing file");
    ck_says("there_is_no.npy");
    gradc("run", "small.gir", "--inputs", "x.npy");
    ck_exit(1, "not an npz");
    ck_says("x.npy");
}
END_TEST

/* The same for an ONNX file, whose reader checks shapes. */
START_TEST(what_does_not_fit_is_named_with_its_file)
{
    static const double zeros[8];
    const char *model = ROOT "tests/fixtures/onnx/conv_script.onnx";
    put_npy("wrong.npy", "<f4", "(2, 3)", zeros, 24);
    gradc("run", model, "--input", "x=wrong.npy");
    ck_exit(1, "a rank");
    ck_says("input 'x' has rank 4, but wrong.npy gives rank 2");
    put_npy("wrong.npy", "<f4", "(1, 1, 2, 3)", zeros, 24);
    gradc("run", model, "--input", "x=wrong.npy");
    ck_exit(1, "an extent");
    ck_says("but wrong.npy gives");
    put_npy("wrong.npy", "<f8", "(3,)", zeros, 24);
    gradc("run", "small.gir", "--bake", "x=wrong.npy");
    ck_exit(1, "a baked value");
    ck_says("the input is f32[3], but wrong.npy has f64[3]");
    gradc("run", "small.gir", "--input", "x=x.npy", "--grad", "--cotangent", "y=wrong.npy");
    ck_exit(1, "a cotangent");
    ck_says("cotangent 'y' is f32[3], but wrong.npy has f64[3]");
}
END_TEST

/* Stale shapes from exporters are reported and otherwise ignored; a symbolic dimension fits. */
START_TEST(declared_shapes_that_contradict_are_warned_of)
{
    wire w = {0};
    wire_value(&w, GRAPH_OUTPUT, "y", 2, (const int64_t[]){2, 4});
    wire_value(&w, GRAPH_INPUT, "x", 2, (const int64_t[]){2, 3});
    wire_node(&w, "Neg", "it", "x", "y");
    wire_model(&w, "declared.onnx");
    gradc("compile", "declared.onnx", "--train=none", "--cotangent=y");
    ck_exit(0, "compile");
    const char *due = "declared.onnx: warning: output 'y' is declared as f32[2,4], but the graph "
                      "produces f32[2,3]";
    ck_says(due);
    ck_assert(!strstr(strstr(said.err, due) + strlen(due), "declared as"));
    put_npy("s.npy", "<i8", "(2,)", (const int64_t[]){3, 2}, 16);
    gradc("compile", SHAPED, "--dim", "batch=2", "--bake", "s=s.npy");
    ck_exit(0, "compile");
    ck_assert(!strstr(said.err, "declared"));
}
END_TEST

/* An initializer among the inputs is a default: it stays a parameter in `compile`, and a value that
 * is given takes its place. */
START_TEST(an_initializer_that_is_an_input_may_be_given)
{
    const char *model = ROOT "tests/fixtures/onnx/overridden.onnx",
               *values = ROOT "tests/fixtures/onnx/overridden.npz";
    const float x[6] = {0, 1, 2, 3, 4, 5}, w[3] = {2, 3, 4};
    gradc("run", model, "--inputs", values, "--expect", values);
    ck_exit(0, "run --inputs");
    ck_assert_msg(!strstr(said.err, "baked"), "%s", said.err);
    put_npy("x.npy", "<f4", "(1, 2, 3)", x, sizeof x);
    put_npy("w.npy", "<f4", "(3,)", w, sizeof w);
    gradc("run", model, "--input", "x=x.npy", "--input", "w=w.npy");
    ck_exit(0, "run --input");
    ck_assert_msg(strstr(said.out, "y f32[6,1]") && strstr(said.out, "20"), "%s", said.out);
    gradc("run", model, "--input", "x=x.npy", "--bake", "w=w.npy");
    ck_exit(0, "run --bake");
    ck_assert_msg(strstr(said.out, "20"), "%s", said.out);
    gradc("info", model, "--shape", "x=1x2x3", "--bake", "w=w.npy");
    ck_exit(0, "info --bake");
    ck_assert_msg(strstr(said.out, "w: its value is baked"), "%s", said.out);
    gradc("compile", model, "--train", "--wrt=x", "--cotangent=y");
    ck_exit(0, "compile");
    ck_assert_msg(strstr(said.out, "trains: w"), "%s", said.out);
    gradc("run", model, "--input", "x=x.npy", "--input", "w=x.npy");
    ck_exit(1, "another shape");
    ck_says("input 'w' has rank 1, but x.npy gives rank 3");
    put_npy("w.npy", "<i8", "(3,)", (const int64_t[]){2, 3, 4}, 24);
    gradc("run", model, "--input", "x=x.npy", "--input", "w=w.npy");
    ck_exit(1, "another type");
    ck_says("input 'w' is f32[3], but w.npy gives i64[3]");
}
END_TEST

/* Updates that the text writes itself: of a statistic and of a parameter. */
START_TEST(updates_of_a_text)
{
    static char header[1 << 16];
    static const char text[] =
        "gir 1\nmodule \"m\"\nparam \"w\" : f32[3] trainable init [1, 2, 3]\nstat \"s\" : f32[3] "
        "init [0, 0, 0]\n"
        "entry @forward(input %x : f32[3], state %w : f32[3], state %s : f32[3]) {\n %1 = mul %x, "
        "%w : f32[3]\n"
        " %2 = reduce %1 combine=sum axes=[0] : f32[]\n %3 = add %s, %x : f32[3]\n"
        " return (output \"y\" %2 loss, update \"s\" %3";
    static const char *const option[] = {"-q", "--train=sgd", "--train"};
    for (int both = 0; both < 2; both++)
        for (int i = 0; i < 3; i++) {
            char whole[1024];
            command_setup();
            snprintf(whole, sizeof whole, "%s%s)\n}\n", text, both ? ", update \"w\" %1" : "");
            put_text("m.gir", whole);
            gradc("compile", "m.gir", option[i]);
            if (both && i) {
                ck_exit(1, "a parameter that trains");
                ck_says(
                    "@forward updates 'w', which also trains; --freeze=w leaves it to the graph");
                gradc("check", "m.gir", option[i]);
                ck_exit(1, "check");
                ck_says("@forward updates 'w', which also trains");
                gradc("compile", "m.gir", option[i], "--freeze=w", "--wrt=x",
                      "--entries=forward,forward_train,backward");
            }
            ck_exit(0, "compile");
            read_all("m.h", header, sizeof header);
            ck_assert_msg(
                strstr(header, "outputs from inputs; changes the states that the graph updates."),
                "%s", header);
            ck_assert_ptr_null(strstr(header, "changes no state"));
        }
    small();
    gradc("compile", "small.gir");
    read_all("small.h", header, sizeof header);
    ck_assert(strstr(header, "Computes outputs from inputs; changes no state."));
}
END_TEST

/* Each member on its line, each function on the lines before. */
START_TEST(the_header_says_what_everything_is_for)
{
    static char header[1 << 16];
    gradc("compile", ROOT "examples/fashion/cnn.onnx", "--train=adamw", "--wrt=x");
    ck_exit(0, "compile");
    read_all("cnn.h", header, sizeof header);
    int members = 0, functions = 0;
    char *before = header;
    for (char *line = strtok(header, "\n"); line; before = line, line = strtok(NULL, "\n")) {
        size_t n = strlen(line);
        bool member = !strncmp(line, "    ", 4),
             function = n > 2 && !strcmp(line + n - 2, ");") && *line != ' ';
        const char *comment = member ? strstr(line, "; /* ") : before + strlen(before) - 2;
        ck_assert_msg((!member && !function) || (comment && strstr(comment, "*/")),
                      "no comment: %s", line);
        members += member;
        functions += function;
        ck_assert_msg(!strstr(line, "cnn_OPTIONS") && !strchr(line, '$'), "%s", line);
    }
    ck_assert_int_eq(members, 2 + 1 + 7 + 2 + 1);
    ck_assert_int_eq(functions, 16);
}
END_TEST

/* Labels, and indices that count from the end where they are negative. */
START_TEST(the_header_says_which_indices_are_taken)
{
    static char header[1 << 16];
    gradc("compile", ROOT "examples/fashion/cnn.onnx", "--train");
    ck_exit(0, "compile");
    read_all("cnn.h", header, sizeof header);
    ck_assert_msg(strstr(header, "const int64_t *y; /* \"y\" i64 [64], 0..9 or -100 */"), "%s",
                  header);
    gradc("compile", ROOT "tests/fixtures/onnx/text_script.onnx");
    ck_exit(0, "compile");
    read_all("text_script.h", header, sizeof header);
    ck_assert_msg(strstr(header, ", -7..6 */"), "%s", header);
    put_text("labelled.gir",
             "gir 1\nmodule \"m\"\nparam \"w\" : f32[5] trainable init [1, 2, 3, 4, 5]\n"
             "entry @forward(input %x : f32[2,5], state %w : f32[5]) {\n"
             "  %b = broadcast %w shape=[2,5] dims=[1] : f32[2,5]\n  %y = mul %x, %b : f32[2,5]\n  "
             "return (output \"y\" %y)\n}\n");
    gradc("compile", "labelled.gir", "--train", "--attach-loss=softmax_cross_entropy");
    ck_exit(0, "compile");
    read_all("labelled.h", header, sizeof header);
    ck_assert_msg(strstr(header, "const int64_t *label; /* \"label\" i64 [2], 0..4 or -100 */"),
                  "%s", header);
}
END_TEST

START_TEST(a_missing_file_is_named_once)
{
    gradc("info", ROOT "examples/fashion/cnn.onnx", "--train", "--freeze=@nowhere.txt");
    ck_exit(2, "a list of names");
    const char *told = strstr(said.err, "nowhere.txt");
    ck_assert_msg(told && !strstr(told + 1, "nowhere.txt"), "%s", said.err);
}
END_TEST

START_TEST(a_text_error_has_a_place_and_a_caret)
{
    put_text("bad.gir", "gir 1\nmodule \"bad\"\nentry @forward( input %x : f32[3] ) {\n    %y = "
                        "frob %x : f32[3]\n    %z = neg %w : f32[3]\n"
                        "    return ( output \"y\" %y )\n}\n");
    gradc("check", "bad.gir");
    ck_exit(1, "bad.gir");
    ck_says("bad.gir:4:");
    ck_says("bad.gir:5:");
    ck_says("frob");
    ck_says("^");
    ck_assert(!strchr(said.err, '\033'));
    put_text(
        "bad.gir",
        "gir 1\nmodule \"bad\"\nentry @forward( input %x : f32[3] ) {\n    %y = neg %x : f32[4]\n"
        "    %q = call %x callee=@later : f32[3]\n    return ( output \"y\" %y )\n}\n"
        "func @later( %x : f32[3] ) {\n    %y = frob %x : f32[3]\n    return %y\n}\nfunc @later( "
        "%x : f32[3] ) {\n    return %x\n"
        "}\n");
    gradc("check", "bad.gir");
    ck_exit(1, "bad.gir");
    const char *at = said.err;
    for (int i = 0; i < 3; i++) {
        static const char *const places[] = {"bad.gir:4:", "bad.gir:9:", "bad.gir:12:"};
        at = strstr(at, places[i]);
        ck_assert_msg(at != NULL, "%s is out of order in %s", places[i], said.err);
    }
}
END_TEST

START_TEST(text_comes_from_stdin_too)
{
    gradc_line("run - --input x=x.npy", "small.gir");
    ck_exit(0, "run -");
    gradc_line("opt - --passes=dce", "small.gir");
    ck_exit(0, "opt -");
    put_text("again.gir", said.out);
    static char first[sizeof said.out];
    strcpy(first, said.out);
    gradc("opt", "again.gir", "--passes=dce");
    ck_exit(0, "opt");
    ck_assert_str_eq(said.out, first);
}
END_TEST

START_TEST(dump_shows_each_form)
{
    static const struct {
        const char *format, *shows;
    } forms[] = {{"text", "gir 1"}, {"dot", "digraph"}, {"llvm", "define "}, {"asm", ".text"}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char format[32];
        snprintf(format, sizeof format, "--format=%s", forms[i].format);
        gradc("dump", "small.gir", format);
        ck_exit(0, format);
        ck_assert_msg(strstr(said.out, forms[i].shows), "%s: %.500s", format, said.out);
    }
    gradc("dump", "small.gir", "--train=adam", "--after=read");
    ck_exit(0, "--after=read");
    ck_assert_msg(strstr(said.out, "@forward") && !strstr(said.out, "@step"), "%s", said.out);
    gradc("dump", "small.gir", "--train=adam", "--after=train");
    ck_exit(0, "--after=train");
    ck_assert(strstr(said.out, "@step"));
    gradc("dump", ROOT "tests/fixtures/onnx/conv_script.onnx", "--train", "--after=read");
    ck_exit(0, "--after=read of a file with training");
    put_text("read.gir", said.out);
    gradc("opt", "read.gir", "--passes=dce");
    ck_exit(0, "what was dumped is a text");
    gradc("dump", "small.gir", "--train=adam", "--after-all", "-o", "stages");
    ck_exit(0, "--after-all");
    gradc("dump", "small.gir", "--after-all", "-o", "x.npy");
    ck_exit(1, "a file in place of the folder");
    ck_says("x.npy: cannot create the folder");
    ck_assert_msg(strchr(said.err, '\n') == strrchr(said.err, '\n'), "one error is enough: %s",
                  said.err);
    ck_assert_int_gt(file_count("stages"), 5);
}
END_TEST

/* Backward reads w x b, and not the inputs before and after b. */
START_TEST(info_lists_inputs_as_the_header)
{
    static const char *const trained[] = {"--seed=1", "--train=none", "--train=sgd"};
    put_text("order.gir", "gir 1\nparam \"w\" : f32[] trainable init 1\nentry @forward(input %a : "
                          "f32[], input %b : f32[], input %c : f32[], state %w : f32[]) {\n"
                          "  %p = mul %w, %b : f32[]\n  %q = add %p, %a : f32[]\n  %r = add %q, %c "
                          ": f32[]\n  return (output \"r\" %r)\n}\n");
    for (int i = 0; i < 3; i++) {
        static char header[1 << 16];
        gradc("info", "order.gir", trained[i]);
        ck_exit(0, "info");
        ck_assert_msg(strstr(said.out, "inputs\n  a f32[]\n  b f32[]\n  c f32[]\noutputs\n") !=
                          NULL,
                      "%s: %s", trained[i], said.out);
        gradc("info", "order.gir", "--json", trained[i]);
        ck_exit(0, "info --json");
        const char *a = strstr(said.out, "\"name\": \"a\""),
                   *b = strstr(said.out, "\"name\": \"b\""),
                   *c = strstr(said.out, "\"name\": \"c\"");
        ck_assert_msg(a && a < b && b < c, "%s: %s", trained[i], said.out);
        gradc("compile", "order.gir", trained[i]);
        ck_exit(0, "compile");
        read_all("order.h", header, sizeof header);
        a = strstr(header, "float *a;"), b = strstr(header, "float *b;"),
        c = strstr(header, "float *c;");
        ck_assert_msg(a && a < b && b < c, "%s: %s", trained[i], header);
    }
}
END_TEST

START_TEST(info_and_check_know_the_model)
{
    gradc("info", "small.gir", "--train=adam");
    ck_exit(0, "info");
    ck_assert(strstr(said.out, "w") && strstr(said.out, "x") && strstr(said.out, "loss"));
    gradc("info", "small.gir", "--json");
    ck_exit(0, "info --json");
    ck_assert(said.out[0] == '{');
    put_npy("s.npy", "<i8", "(2,)", (const int64_t[]){3, -1}, 16);
    gradc("info", SHAPED, "--dim", "batch=2,32", "--bake", "s=s.npy");
    ck_exit(0, "info of specialisations");
    ck_assert_msg(strstr(said.out, "batch=2\n") && strstr(said.out, "f32[2,3]") &&
                      strstr(said.out, "batch=32\n") && strstr(said.out, "f32[32,3]"),
                  "%s", said.out);
    gradc("info", SHAPED, "--dim", "batch=2,32", "--bake", "s=s.npy", "--json");
    ck_assert_msg(strstr(said.out, "\"batch\": 32") && strstr(said.out, "f32[32,3]"), "%s",
                  said.out);
    gradc("check", "small.gir");
    ck_exit(0, "check");
    gradc("check", ROOT "tests/fixtures/onnx/wrong/operator.onnx");
    ck_exit(1, "check of a gap");
    ck_assert_msg(strstr(said.out, "Fancy") != NULL, "'%s'", said.out);
    gradc("check", ROOT "tests/fixtures/onnx/wrong/body.onnx", "--json");
    ck_exit(1, "check of a gap in a loop's body");
    const char *loop = strstr(said.out, "\"Loop\"");
    bool blamed =
        loop && strstr(loop, "operator Fancy is not supported") && strstr(said.out, "Fancy") > loop;
    ck_assert_msg(blamed, "the loop is to blame: '%s'", said.out);
    gradc("check", ROOT "tests/fixtures/onnx/loop_while.onnx");
    ck_exit(0, "check of a loop whose end data decides");
    gradc("check", ROOT "tests/fixtures/onnx/loop_while.onnx", "--train", "--attach-loss=mse",
          "--wrt=x");
    ck_exit(1, "the same, to train");
    ck_assert_msg(strstr(said.out, "`while_loop`") != NULL, "'%s'", said.out);
    gradc("check", SHAPED, "--bake", "s=s.npy", "--dim", "batch=2,3");
    int checks = said.status;
    gradc("compile", SHAPED, "--bake", "s=s.npy", "--dim", "batch=2,3");
    ck_assert_int_eq(said.status, checks);
    put_text("apart.gir",
             "gir 1\nmodule \"m\"\nparam \"w\" : f32[] trainable init 2\nfunc @c( %0 : f32[] ) {\n"
             "    %1 = constant value=9 : f32[]\n    %2 = compare %0, %1 relation=lt : bool[]\n    "
             "return %2\n}\n"
             "func @b( %0 : f32[] ) {\n    %1 = add %0, %0 : f32[]\n    return %1\n}\n"
             "entry @forward( state %w : f32[], input %x : f32[] ) {\n"
             "    %l = mul %w, %w : f32[]\n    %n = while_loop %x test=@c body=@b consts=0 "
             "limit=99 : f32[]\n"
             "    return ( output \"loss\" %l, output \"n\" %n )\n}\n");
    gradc("compile", "apart.gir", "--train", "--loss=loss");
    ck_exit(0, "a loop on no path to what trains");
    gradc("check", "apart.gir", "--train", "--loss=loss");
    ck_exit(0, "the same");
    gradc("check", ROOT "tests/fixtures/onnx/torch/tied_script.onnx", "--train",
          "--attach-loss=mse", "--batchnorm=train");
    ck_exit(1, "check of what training refuses of a node");
    ck_says("(BatchNormalization): error: the running mean is");
    gradc("check", SHAPED);
    ck_exit(1, "check of a file with open shapes");
    ck_says("give --dim batch=N");
    ck_assert_msg(!*said.out && !strstr(said.err, "not supported"),
                  "the missing --dim is all that is wrong: %s%s", said.out, said.err);
    gradc("check", SHAPED, "--shape", "x=2x3", "--bake", "s=s.npy");
    ck_exit(0, "check with --shape and --bake");
    static const char *const typos[] = {"--freeze=typo", "--trainable=typo", "--no-decay=typo",
                                        "--wrt=typo",    "--cotangent=typo", "--loss=typo"};
    for (size_t i = 0; i < 2 * sizeof typos / sizeof *typos; i++) {
        gradc("check", i % 2 ? "small.gir" : ROOT "tests/fixtures/onnx/conv_script.onnx",
              typos[i / 2], "--train");
        ck_exit(2, typos[i / 2]);
        ck_says("'typo'");
    }
    gradc("check", SHAPED, "--dim", "nothing=2", "--shape", "no=2x6", "--bake", "none=s.npy");
    ck_exit(2, "check of names that are not there");
    ck_says("'nothing'");
    ck_says("'no'");
    ck_says("'none'");
}
END_TEST

/* A function that instructions name may have any name; only entries are entries. */
START_TEST(a_called_function_may_have_the_name_of_an_entry)
{
    static const char *const lines[] = {
        "info", "check", "dump --after=plan", "compile", "compile --train=sgd", "bench", "run"};
    static const char *const names[] = {"forward_train", "backward", "update", "step", "train"};
    char line[200], text[1000];
    snprintf(
        text, sizeof text,
        "gir 1\nparam \"w\" : f32[3] trainable init [1, 2, 3]\n"
        "func @%s( %%c : f32[3], %%x : f32[3] ) {\n  %%n = add %%c, %%x : f32[3]\n  return %%n\n}\n"
        "entry @forward(input %%x : f32[4,3], state %%w : f32[3]) {\n"
        "  %%y, %%t = scan %%w, %%x body=@%s consts=0 carries=1 length=4 reverse=0 live=0 : "
        "f32[3], i64[]\n"
        "  %%l = reduce %%y combine=sum axes=[0] : f32[]\n  return (output \"y\" %%y, output "
        "\"loss\" %%l loss)\n}\n",
        names[_i], names[_i]);
    put_text("loop.gir", text);
    put_npy("x.npy", "<f4", "(4, 3)", (float[12]){0}, 48);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        snprintf(line, sizeof line, "%s loop.gir%s", lines[i],
                 i + 1 == sizeof lines / sizeof *lines ? " -i x=x.npy" : "");
        gradc_line(line, NULL);
        ck_exit(0, line);
    }
    ck_assert_msg(strstr(said.out, "[1., 2., 3.]") != NULL, "%s", said.out);
}
END_TEST

/* The text of a stage after training compiles as it stands; training entries are not built a second
 * time. */
START_TEST(training_entries_are_built_once)
{
    gradc("dump", "small.gir", "--train=sgd", "--after=train");
    ck_exit(0, "dump");
    put_text("trained.gir", said.out);
    gradc("compile", "trained.gir");
    ck_exit(0, "compile");
    gradc("compile", "trained.gir", "--train=sgd");
    ck_exit(1, "compile --train");
    ck_says("entry @forward_train already exists");
    gradc("compile", "trained.gir", "--entries=step");
    ck_exit(1, "compile --entries");
    ck_says("trained.gir: entry @forward_train already exists; compile this file without --train");
}
END_TEST

START_TEST(nothing_is_written_on_failure)
{
    gradc("compile", "small.gir", "-o", "not/there/small.o");
    ck_exit(1, "a folder that is missing");
    ck_says("not/there/small.o");
    ck_assert_int_eq(file_count("."), 2);
    ck_assert(!mkdir("other.h", 0700));
    gradc("compile", "small.gir", "-o", "other.o");
    ck_exit(1, "a folder in place of the header");
    ck_assert(!is_there("other.o") && file_count(".") == 3);
    gradc("compile", "missing.onnx");
    ck_exit(1, "a missing model");
    ck_says("missing.onnx");
    ck_assert(!mkdir("folder.onnx", 0700));
    gradc("compile", "folder.onnx");
    ck_exit(1, "a folder as a model");
    ck_assert(!rmdir("folder.onnx"));
    gradc("compile", "x.npy");
    ck_exit(2, "a model is .onnx or .gir");
    ck_assert_int_eq(file_count("."), 3);
}
END_TEST

/* A limit of file sizes that the object exceeds. */
START_TEST(a_file_too_large_leaves_nothing)
{
    char command[400];
    snprintf(command, sizeof command, "ulimit -f 1; exec %s compile small.gir --train=adam",
             GRADC_COMMAND);
    run_program((const char *const[]){"sh", "-c", command, NULL}, NULL);
    ck_exit(1, "ulimit -f");
    ck_says("File too large");
    ck_assert_int_eq(file_count("."), 2);
}
END_TEST

/* Every ONNX fixture with inputs and values of another implementation: run must agree, and must
 * notice when a value is not right. */
static void each_fixture(void (*f)(const char *model, const char *data))
{
    DIR *d = opendir(ROOT "tests/fixtures/onnx");
    int n = 0;
    ck_assert(d != NULL);
    for (struct dirent *e; (e = readdir(d));) {
        char model[600], data[600];
        size_t length = strlen(e->d_name);
        if (length < 5 || strcmp(e->d_name + length - 5, ".onnx"))
            continue;
        snprintf(model, sizeof model, ROOT "tests/fixtures/onnx/%s", e->d_name);
        snprintf(data, sizeof data, ROOT "tests/fixtures/onnx/%.*s.npz", (int)length - 5,
                 e->d_name);
        f(model, data);
        n++;
    }
    closedir(d);
    ck_assert_int_gt(n, 20);
}

/* For networks that were exported for training, the files have the values of inference, which
 * --train makes of @forward. */
static void agrees(const char *model, const char *data)
{
    gradc("run", model, "--inputs", data, "--expect", data,
          strstr(model, "_script.onnx") ? "--train" : "--quiet");
    ck_exit(0, model);
}

START_TEST(fixtures_agree)
{
    each_fixture(agrees);
}
END_TEST

START_TEST(a_bitcast_to_the_same_type_has_a_gradient)
{
    static const char *const model = ROOT "tests/fixtures/onnx/same_bits.onnx",
                             *const data = ROOT "tests/fixtures/onnx/same_bits.npz";
    gradc("run", model, "--inputs", data, "--grad", "--expect", data);
    ck_exit(0, said.err);
    gradc("run", model, "--inputs", data, "--grad", "--expect", data, "--f64");
    ck_exit(0, said.err);
}
END_TEST

START_TEST(a_wrong_value_is_noticed)
{
    gradc("run", ROOT "tests/fixtures/onnx/if_true.onnx", "--inputs",
          ROOT "tests/fixtures/onnx/if_true.npz", "--expect",
          ROOT "tests/fixtures/onnx/if_false.npz");
    ck_exit(1, "the values of the other branch");
}
END_TEST

START_TEST(quiet_hides_notes)
{
    gradc("compile", "small.gir", "--quiet");
    ck_exit(0, "--quiet");
    ck_assert_str_eq(said.err, "");
    gradc("compile", "missing.gir", "--quiet");
    ck_exit(1, "--quiet");
    ck_says("missing.gir");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("driver");
    TCase *c = tcase_create("driver");
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, small, command_teardown);
    tcase_add_test(c, help_and_version_go_to_stdout);
    tcase_add_test(c, what_does_not_arrive_is_an_error);
    tcase_add_loop_test(c, every_verb_has_help, 0, VERBS);
    tcase_add_loop_test(c, misuse_is_exit_2, 0, MISUSES);
    tcase_add_test(c, a_compiled_model_is_an_object_and_a_header);
    tcase_add_test(c, the_same_input_gives_the_same_bytes);
    tcase_add_test(c, other_forms_of_code_are_written_on_demand);
    tcase_add_test(c, the_linker_works_below_tmpdir);
    tcase_add_test(c, the_suffix_says_what_is_written);
    tcase_add_test(c, run_writes_or_prints);
    tcase_add_test(c, a_cotangent_goes_without_the_labels);
    tcase_add_test(c, data_at_fault_is_exit_1);
    tcase_add_test(c, what_does_not_fit_is_named_with_its_file);
    tcase_add_test(c, declared_shapes_that_contradict_are_warned_of);
    tcase_add_test(c, an_initializer_that_is_an_input_may_be_given);
    tcase_add_test(c, updates_of_a_text);
    tcase_add_test(c, the_header_says_what_everything_is_for);
    tcase_add_test(c, the_header_says_which_indices_are_taken);
    tcase_add_test(c, a_missing_file_is_named_once);
    tcase_add_test(c, a_text_error_has_a_place_and_a_caret);
    tcase_add_test(c, text_comes_from_stdin_too);
    tcase_add_test(c, dump_shows_each_form);
    tcase_add_test(c, info_lists_inputs_as_the_header);
    tcase_add_test(c, info_and_check_know_the_model);
    tcase_add_loop_test(c, a_called_function_may_have_the_name_of_an_entry, 0, 5);
    tcase_add_test(c, training_entries_are_built_once);
    tcase_add_test(c, nothing_is_written_on_failure);
    tcase_add_test(c, a_file_too_large_leaves_nothing);
    tcase_add_test(c, fixtures_agree);
    tcase_add_test(c, a_bitcast_to_the_same_type_has_a_gradient);
    tcase_add_test(c, a_wrong_value_is_noticed);
    tcase_add_test(c, quiet_hides_notes);
    suite_add_tcase(s, c);
    return suite_run(s);
}
