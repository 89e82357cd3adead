/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Messages of the command about an index in the data that is out of range: which tensor, which
 * element, the value, and the expected range. */
#include "tests/command.h"
#include "tests/suite.h"

/* Of a gather and a scatter, whose gradients share reads with what else there is. */
START_TEST(merged_kernels_do_not_need_each_other)
{
    gradc("compile", ROOT "tests/fixtures/merged.gir", "--train=none", "--cotangent=v52,v49,v31",
          "--wrt=x27,x37,x40,x46,v25", "-o", "merged.o");
    ck_exit(0, "compile");
}
END_TEST

/* A classifier of the repository, trained with labels out of range: the check of cross entropy
 * reports them. */
START_TEST(a_bad_label_names_tensor_position_value_and_limit)
{
    static float x[64 * 784];
    static int64_t y[64];
    put_npy("x.npy", "<f4", "(64, 1, 28, 28)", x, sizeof x);
    for (int i = 0; i < 2; i++) {
        y[17] = i ? -3 : 10;
        put_npy("y.npy", "<i8", "(64,)", y, sizeof y);
        gradc("run", ROOT "examples/fashion/cnn.onnx", "--input", "x=x.npy", "--input", "y=y.npy",
              "--grad", "--output", "out");
        ck_exit(1, "a bad label");
        ck_says("'y'");
        ck_says("17");
        ck_says(i ? "-3" : "10");
        ck_says("expected 0 to 9, or -100");
        ck_assert(!is_there("out"));
    }
}
END_TEST

/* Graphs with the forms of an index that front ends make. The label with an ignored value is beside
 * a constant that has a name. */
static const struct {
    /* body: of x f32[3,4] and i, i64 of that shape, makes y */
    const char *name, *shape, *body, *due;
    int64_t i[3];
} bad_indices[] = {
    {"label",
     "(3,)",
     " %1 = constant value=-100 : i64[]\n %2 = broadcast %1 shape=[3] dims=[] : i64[3]\n %zero = "
     "constant value=0 : i64[]\n"
     " %3 = broadcast %zero shape=[3] dims=[] : i64[3]\n %4 = compare %i, %2 relation=ne : "
     "bool[3]\n"
     " %5 = select %4, %i, %3 : i64[3]\n %6 = reshape %5 shape=[3,1] : i64[3,1]\n %y = gather %x, "
     "%6 dims=[1] batch=1 : f32[3]",
     "'i' holds 7 at element 2; expected 0 to 3, or -100",
     {1, -100, 7}},
    /* of no tensor with a name: the message has its node */
    {"node",
     "(3,)",
     " %1 = constant value=[[0],[1],[9]] : i64[3,1]\n %2 = gather %x, %1 dims=[0] batch=0 : "
     "f32[3,4] ! node 4 op \"Gather\"\n"
     " %y = reduce %2 combine=sum axes=[1] : f32[3]",
     "'index of node 4 (Gather)' holds 9 at element 2; expected 0 to 2",
     {0}},
    {"line",
     "(3,)",
     " %1 = constant value=[[0],[1],[9]] : i64[3,1]\n %2 = gather %x, %1 dims=[0] batch=0 : "
     "f32[3,4]\n"
     " %y = reduce %2 combine=sum axes=[1] : f32[3]",
     "'index in line 5' holds 9 at element 2; expected 0 to 2",
     {0}},
    {"body",
     "(3,)",
     " %1 = reshape %i shape=[3,1] : i64[3,1]\n %y, %t = scan %x, %1 body=@body consts=1 carries=0 "
     "length=3 reverse=0 live=0 : f32[3], i64[]",
     "'index in line 11' holds 12 at element 0; expected 0 to 11",
     {11, 12, 0}},
    /* negative ones counted from the end: the message has the given value */
    {"gather",
     "(3,)",
     " %1 = constant value=0 : i64[]\n %2 = broadcast %1 shape=[3] dims=[] : i64[3]\n %3 = "
     "constant value=4 : i64[]\n"
     " %4 = broadcast %3 shape=[3] dims=[] : i64[3]\n %5 = compare %i, %2 relation=lt : bool[3]\n "
     "%6 = add %i, %4 : i64[3]\n"
     " %7 = select %5, %6, %i : i64[3]\n%8 = reshape %7 shape=[3,1] : i64[3,1]\n %y = gather %x, "
     "%8 dims=[1] batch=1 : f32[3]",
     "'i' holds -5 at element 1; expected 0 to 3",
     {-4, -5, 3}},
    {"scatter",
     "(3,)",
     " %1 = constant value=0 : i64[]\n %2 = broadcast %1 shape=[3] dims=[] : i64[3]\n %3 = "
     "constant value=3 : i64[]\n"
     " %4 = broadcast %3 shape=[3] dims=[] : i64[3]\n %5 = compare %i, %2 relation=lt : bool[3]\n "
     "%6 = add %i, %4 : i64[3]\n"
     " %7 = select %5, %6, %i : i64[3]\n%8 = reshape %7 shape=[3,1] : i64[3,1]\n %9 = scatter %x, "
     "%8, %x combine=sum dims=[0] batch=0 : f32[3,4]\n"
     " %y = reduce %9 combine=sum axes=[1] : f32[3]",
     "'i' holds -4 at element 2; expected 0 to 2",
     {-3, 2, -4}},
    {"scatter of the least",
     "(3,)",
     " %1 = constant value=0 : i64[]\n %2 = broadcast %1 shape=[3] dims=[] : i64[3]\n %3 = "
     "constant value=3 : i64[]\n"
     " %4 = broadcast %3 shape=[3] dims=[] : i64[3]\n %5 = compare %i, %2 relation=lt : bool[3]\n "
     "%6 = add %i, %4 : i64[3]\n"
     " %7 = select %5, %6, %i : i64[3]\n%8 = reshape %7 shape=[3,1] : i64[3,1]\n %9 = scatter %x, "
     "%8, %x combine=sum dims=[0] batch=0 : f32[3,4]\n"
     " %y = reduce %9 combine=sum axes=[1] : f32[3]",
     "'i' holds -9223372036854775808 at element 0; expected 0 to 2",
     {INT64_MIN, 0, 1}},
    {"scatter beyond",
     "(3,)",
     " %1 = constant value=0 : i64[]\n %2 = broadcast %1 shape=[3] dims=[] : i64[3]\n %3 = "
     "constant value=3 : i64[]\n"
     " %4 = broadcast %3 shape=[3] dims=[] : i64[3]\n %5 = compare %i, %2 relation=lt : bool[3]\n "
     "%6 = add %i, %4 : i64[3]\n"
     " %7 = select %5, %6, %i : i64[3]\n%8 = reshape %7 shape=[3,1] : i64[3,1]\n %9 = scatter %x, "
     "%8, %x combine=sum dims=[0] batch=0 : f32[3,4]\n"
     " %y = reduce %9 combine=sum axes=[1] : f32[3]",
     "'i' holds 3 at element 1; expected 0 to 2",
     {0, 3, 1}},
    {"gather and scatter",
     "(3,)",
     " %1 = constant value=0 : i64[]\n %2 = broadcast %1 shape=[3] dims=[] : i64[3]\n %3 = "
     "constant value=3 : i64[]\n"
     " %4 = broadcast %3 shape=[3] dims=[] : i64[3]\n %5 = compare %i, %2 relation=lt : bool[3]\n "
     "%6 = add %i, %4 : i64[3]\n"
     " %7 = select %5, %6, %i : i64[3]\n%8 = reshape %7 shape=[3,1] : i64[3,1]\n %9 = gather %x, "
     "%8 dims=[0] batch=0 : f32[3,4]\n"
     " %10 = scatter %x, %8, %9 combine=sum dims=[0] batch=0 : f32[3,4]\n %y = reduce %10 "
     "combine=sum axes=[1] : f32[3]",
     "'i' holds -7 at element 0; expected 0 to 2",
     {-7, 0, 1}},
    {"two components",
     "(3,)",
     " %1 = constant value=0 : i64[]\n %2 = broadcast %1 shape=[1,2] dims=[] : i64[1,2]\n %3 = "
     "constant value=[3,4] : i64[2]\n"
     " %4 = broadcast %3 shape=[1,2] dims=[1] : i64[1,2]\n %5 = slice %i start=[0] limit=[2] "
     "stride=[1] : i64[2]\n"
     " %6 = reshape %5 shape=[1,2] : i64[1,2]\n %7 = compare %6, %2 relation=lt : bool[1,2]\n %8 = "
     "add %4, %6 : i64[1,2]\n"
     " %9 = select %7, %8, %6 : i64[1,2]\n %z = gather %x, %9 dims=[0,1] batch=0 : f32[1]\n %y = "
     "broadcast %z shape=[3] dims=[0] : f32[3]",
     "'i' holds -6 at element 1; expected 0 to 3",
     {-3, -6, 0}},
};

START_TEST(a_bad_index_is_named)
{
    static const float x[12];
    char text[4096];
    put_npy("x.npy", "<f4", "(3, 4)", x, sizeof x);
    put_npy("i.npy", "<i8", bad_indices[_i].shape, bad_indices[_i].i, sizeof bad_indices[_i].i);
    snprintf(text, sizeof text,
             "gir 1\nmodule \"m\"\nentry @forward(input %%x : f32[3,4], input %%i : i64[3]) {\n%s\n"
             " %%s = reduce %%y combine=sum axes=[0] : f32[]\n return (output \"s\" %%s loss)\n}\n"
             "func @body(%%x : f32[3,4], %%2 : i64[1]) {\n %%f = reshape %%x shape=[12] : f32[12]\n"
             " %%g = gather %%f, %%2 dims=[0] batch=0 : f32[]\n return %%g\n}\n",
             bad_indices[_i].body);
    put_text("bad.gir", text);
    for (int train = 0; train < 2; train++) {
        gradc("run", "bad.gir", "--input", "x=x.npy", "--input", "i=i.npy", train ? "--grad" : "-q",
              train ? "--wrt=x" : "-q");
        ck_exit(1, bad_indices[_i].name);
        ck_says(bad_indices[_i].due);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("driver_indices");
    TCase *c = tcase_create("indices");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, command_setup, command_teardown);
    tcase_add_test(c, merged_kernels_do_not_need_each_other);
    tcase_add_test(c, a_bad_label_names_tensor_position_value_and_limit);
    tcase_add_loop_test(c, a_bad_index_is_named, 0, sizeof bad_indices / sizeof *bad_indices);
    suite_add_tcase(s, c);
    return suite_run(s);
}
