/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The joint function: its parameters and results, symbolic zeros, phases and origins, what is
 * refused, what a derivative costs. */
#include "passes/pass_utils.h"
#include "tests/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static ir_func *parse(const char *text)
{
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m != NULL, "%s", first_error);
    return ir_func_by_name(m, "f");
}

/* Of result 0, or of the loss, for all float inputs. */
static ir_func *joint_of(const ir_func *f)
{
    static const int first[] = {0};
    int inputs[16], n = 0;
    for (int i = 0; i < f->params.count; i++)
        if (ir_is_float(f->params.items[i].value->type.dtype))
            inputs[n++] = i;
    ad_request r = {.loss = f->loss,
                    .cotangents = first,
                    .ncotangents = f->loss < 0,
                    .inputs = inputs,
                    .ninputs = n};
    ir_func *joint = ad_joint(f->module, f, &r, "joint");
    if (joint)
        ir_verify(f->module);
    return joint;
}

static const ir_port *result(const ir_func *f, int i)
{
    ck_assert_int_lt(i, f->results.count);
    return &f->results.items[i];
}

static int count(const ir_func *f, ir_phase phase, int op)
{
    int n = 0;
    IR_FOR (inst, f)
        n += inst->phase == phase && (op < 0 || (int)inst->op == op);
    return n;
}

static char *printed(const ir_func *f)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    ir_print_func(out, f);
    fclose(out);
    char *copy = base_strdup(arena, text);
    free(text);
    return copy;
}

#define STATES \
    "gir 1\nmodule \"m\"\nparam \"w\" : f32[2] trainable\nparam \"v\" : f32[3] trainable\n"

START_TEST(ports_are_as_asked)
{
    ir_func *f =
        parse(STATES "entry @f(input %x : f32[2], state %w : f32[2]) {\n"
                     "  %y = mul %x, %w : f32[2]\n  %l = reduce %y combine=sum axes=[0] : f32[]\n"
                     "  return (output \"y\" %y, output \"l\" %l loss)\n}\n");
    ir_module *m = f->module;
    ir_state *states[] = {m->states.items[1], m->states.items[0]};
    const char *before = printed(f);
    for (int given = 0; given < 3; given++) { /* cotangents of nothing, y, y and l */
        const int outputs[] = {0, 1}, inputs[] = {0};
        ad_request r = {.loss = 1,
                        .cotangents = outputs,
                        .ncotangents = given,
                        .states = states,
                        .nstates = 2,
                        .inputs = inputs,
                        .ninputs = 1};
        ir_func *j = ad_joint(m, f, &r, "joint");
        ir_verify(m);
        ck_assert(!j->entry && j->loss == 1);
        ck_assert_int_eq(j->params.count, 2 + given);
        for (int i = 0; i < given; i++) {
            const ir_port *p = &j->params.items[2 + i];
            ck_assert(p->role == IR_GRADIENT && p->bind == IR_INPUT &&
                      !strcmp(p->name, i ? "l" : "y"));
        }
        static const char *const names[] = {"y", "l", "v", "w", "x"};
        ck_assert_int_eq(j->results.count, 5);
        for (int i = 0; i < 5; i++)
            ck_assert(!strcmp(result(j, i)->name, names[i]) &&
                      result(j, i)->role == (i < 2 ? IR_DATA : IR_GRADIENT) &&
                      result(j, i)->bind == IR_INPUT);
        ck_assert(match_is(result(j, 2)->value, 0) && !match_is(result(j, 3)->value, 0) &&
                  ir_type_eq(&result(j, 2)->value->type, &states[0]->type));
        int ones = 0;
        IR_FOR (inst, j)
            ones += inst->op == IR_OP_constant && match_is(inst->result[0], 1);
        ck_assert_int_eq(ones, given < 2);
        ir_func_remove(j);
    }
    ck_assert_str_eq(printed(f), before);
}
END_TEST

START_TEST(backward_names_what_it_differentiates)
{
    ir_func *f = parse("gir 1\nmodule \"m\"\nentry @f(input %x : f32[2], input %k : f32[2]) {\n"
                       "  %a = tanh %x : f32[2]\n  %b = mul %a, %k : f32[2]  ! node 7\n  %c = mul "
                       "%b, %a : f32[2]\n  return (output \"y\" %c)\n}\n");
    ir_func *j = joint_of(f);
    bool second = false;
    IR_FOR (inst, j) {
        second |= inst->phase == IR_BACKWARD;
        ck_assert_int_eq(inst->phase, second ? IR_BACKWARD : IR_FORWARD);
        ck_assert(second == (inst->primal != NULL));
        if (second)
            ck_assert(inst->primal->func == j && inst->primal->phase == IR_FORWARD &&
                      inst->primal->loc == inst->loc && inst->loc);
    }
    ck_assert_int_eq(count(j, IR_BACKWARD, IR_OP_add), 1); /* two paths to a */
    ir_func *k = ad_joint(f->module, j,
                          &(ad_request){.loss = -1,
                                        .cotangents = (int[]){1},
                                        .ncotangents = 1,
                                        .inputs = (int[]){0},
                                        .ninputs = 1},
                          "twice");
    ir_verify(f->module);
    ck_assert_int_gt(count(k, IR_FORWARD, -1), count(j, IR_FORWARD, -1));
    IR_FOR (inst, k)
        ck_assert(inst->phase == IR_FORWARD ? !inst->primal : inst->primal->func == k);
}
END_TEST

/* Nothing flows to x. */
static const char *const nowhere[] = {
    "%y = stop_gradient %x : f32[3]",
    "%y = floor %x : f32[3]",
    "%y = sign %x : f32[3]",
    "%i = convert %x to=i32 : i32[3]\n %y = convert %i to=f32 : f32[3]",
    "%c = compare %x, %x relation=le : bool[3]\n %y = convert %c to=f32 : f32[3]",
    "%i = bitcast %x to=i32 : i32[3]\n %y = bitcast %i to=f32 : f32[3]",
    "%n = is_nan %x : bool[3]\n %z = constant value=splat(2) : f32[3]\n %y = select %n, %z, %z : "
    "f32[3]",
    "%m, %p = arg_reduce %x combine=max axis=0 last=0 : f32[], i64[]\n %q = convert %p to=f32 : "
    "f32[]\n %y = broadcast %q shape=[3] : f32[3]",
    "%e = slice %x start=[1] limit=[1] stride=[1] : f32[0]\n %s = reduce %e combine=sum axes=[0] : "
    "f32[]\n %y = broadcast %s shape=[3] : f32[3]",
    "%y = copy %other : f32[3]",
    "%z = constant value=splat(0) : f32[3]\n %y = pow %x, %z : f32[3]",
};

START_TEST(zeros_stay_symbolic)
{
    ir_func *j = joint_of(parse(base_format(
        arena,
        "gir 1\nmodule \"m\"\nentry @f(input %%x : f32[3], input %%other : f32[3]) {\n %s\n"
        " return (output \"y\" %%y)\n}\n",
        nowhere[_i])));
    ck_assert(match_is(result(j, 1)->value, 0));
    if (!strstr(nowhere[_i], "other"))
        ck_assert_int_eq(count(j, IR_BACKWARD, -1), 4); /* two times a zero, repeated */
}
END_TEST

START_TEST(cotangents_have_the_operands_type)
{
    ir_func *f = parse("gir 1\nmodule \"m\"\nentry @f(input %x : bf16[2], input %h : f16[2], input "
                       "%d : f64[2], input %e : f32[0,2]) {\n"
                       "  %a = convert %x to=f32 : f32[2]\n  %b = convert %h to=f32 : f32[2]\n  %c "
                       "= convert %d to=f32 : f32[2]\n"
                       "  %s = mul %a, %b : f32[2]\n"
                       "  %t = mul %s, %c : f32[2]\n  %n = reduce %e combine=sum axes=[0] : "
                       "f32[2]\n  %u = add %t, %n : f32[2]\n"
                       "  %y = convert %u to=f16 : f16[2]\n"
                       "  return (output \"y\" %y)\n}\n");
    ir_func *j = joint_of(f);
    for (int i = 0; i < 4; i++)
        ck_assert(ir_type_eq(&result(j, 1 + i)->value->type, &j->params.items[i].value->type));
    ck_assert_int_eq(j->params.items[4].value->type.dtype, IR_F16);
    ck_assert(match_is(result(j, 3)->value, 0) == false);
}
END_TEST

#define LOOP                                                                           \
    "gir 1\nmodule \"m\"\nfunc @test(%x : f32[]) {\n  %c = constant value=9 : f32[]\n" \
    "  %t = compare %x, %c relation=lt : bool[]\n  return %t\n}\n"                     \
    "func @body(%x : f32[]) {\n  %y = add %x, %x : f32[]\n  return %y\n}\n"

START_TEST(what_is_missing_is_named)
{
    const char *text = LOOP "entry @f(input %x : f32[]) {\n  %y = while_loop %x test=@test "
                            "body=@body consts=0 limit=9 : f32[]\n"
                            "  %z = while_loop %y test=@test body=@body consts=0 limit=9 : f32[]\n "
                            " return (output \"z\" %z, output \"x\" %x)\n}\n";
    ir_func *f = parse(text);
    int funcs = f->module->funcs.count;
    ck_assert_ptr_null(joint_of(f));
    ck_assert_str_eq(first_error, "14: no derivative rule for `while_loop`");
    ck_assert_int_eq(f->module->funcs.count, funcs);
    *first_error = 0; /* nothing that is wanted goes through it */
    ck_assert_ptr_nonnull(ad_joint(f->module, f,
                                   &(ad_request){.loss = -1,
                                                 .cotangents = (int[]){1},
                                                 .ncotangents = 1,
                                                 .inputs = (int[]){0},
                                                 .ninputs = 1},
                                   "joint"));
    ck_assert_ptr_nonnull(
        ad_joint(f->module, f,
                 &(ad_request){.loss = -1, .cotangents = (int[]){0}, .ncotangents = 1}, "joint"));
    ck_assert_str_eq(first_error, "");
}
END_TEST

/* Shapes of the highest rank cannot get another dimension. */
START_TEST(rank_16)
{
    static const struct { const char *params, *body, *error;
    } all[] = {
        {"%x : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,2,3,1]",
         "%y = sort %x axis=14 : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,2,3,1]", NULL},
        {"%x : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,2,3,1]",
         "%y = cumulative %x combine=max axis=13 : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,2,3,1]", NULL},
        {"%x : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,2,3,1]",
         "%y = cumulative %x combine=prod axis=13 : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,2,3,1]", NULL},
        {"%x : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,2,3,1]",
         "%y = reduce %x combine=prod axes=[13,14] : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,1]", NULL},
        {"%x : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,1,2,3]",
         "%y = reduce_window %x combine=prod window=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,2,2] "
         "stride=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] "
         "low=[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0] "
         "high=[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0] base_dilation=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] "
         "window_dilation=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] : "
         "f64[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]",
         NULL},
        {"%x : f64[1,4,1,1,1,1,1,1,1,1,1,1,1,1,1,1], %w : f64[2,2,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
         "%y = convolution %x, %w lhs=[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15] "
         "rhs=[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15] "
         "out=[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15] "
         "stride=[1,1,1,1,1,1,1,1,1,1,1,1,1,1] low=[0,0,0,0,0,0,0,0,0,0,0,0,0,0] "
         "high=[0,0,0,0,0,0,0,0,0,0,0,0,0,0] "
         "lhs_dilation=[1,1,1,1,1,1,1,1,1,1,1,1,1,1] "
         "rhs_dilation=[1,1,1,1,1,1,1,1,1,1,1,1,1,1] feature_groups=2 batch_groups=1 : "
         "f64[1,2,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
         "4: no derivative rule for a grouped `convolution` of rank 16"},
    };
    ir_func *j = joint_of(parse(base_format(arena,
                                            "gir 1\nmodule \"m\"\nentry @f(%s) {\n %s\n"
                                            " return (output \"y\" %%y)\n}\n",
                                            all[_i].params, all[_i].body)));
    ck_assert_msg((j == NULL) == (all[_i].error != NULL), "%s", first_error);
    if (all[_i].error)
        ck_assert_str_eq(first_error, all[_i].error);
}
END_TEST

/* Derivatives that would exceed a limit are refused, not built: tensors of 2^40 bytes, positions
 * far outside. */
static const char *const large[][2] = {
    {"%x : f16[2,200000000000]", "%y = sort %x axis=0 : f16[2,200000000000]"},
    {"%x : f16[4,100000000000]",
     "%y, %i = arg_reduce %x combine=max axis=0 last=0 : f16[100000000000], i64[100000000000]"},
    {"%x : f16[2,200000000000]", "%y = cumulative %x combine=min axis=0 : f16[2,200000000000]"},
    {"%x : f16[400000000000], %i : i64[3,1], %u : f16[3]",
     "%y = scatter %x, %i, %u combine=set dims=[0] batch=0 : f16[400000000000]"},
    {"%x : f16[400000000000], %i : i64[3,1], %u : f16[3]",
     "%y = scatter %x, %i, %u combine=prod dims=[0] batch=0 : f16[400000000000]"},
    {"%x : f16[400000000000]", "%y = reduce_window %x combine=max window=[1] stride=[1] low=[0] "
                               "high=[0] base_dilation=[1] window_dilation=[1] : "
                               "f16[400000000000]"},
    {"%x : f32[3]", "%y = reduce_window %x combine=min window=[1] stride=[999999999999] low=[0] "
                    "high=[0] base_dilation=[999999999999] "
                    "window_dilation=[1] : f32[3]"},
    {"%x : f32[3]", "%y = reduce_window %x combine=prod window=[1] stride=[999999999999] low=[0] "
                    "high=[0] base_dilation=[999999999999] "
                    "window_dilation=[1] : f32[3]"},
    {"%x : f32[200000000000]",
     "%y = reduce_window %x combine=prod window=[9] stride=[1] low=[4] high=[4] base_dilation=[1] "
     "window_dilation=[1] : f32[200000000000]"},
    {"%x : f32[1,2000000000]",
     "%y = reduce_window %x combine=prod window=[1,2000000000] stride=[1,1] low=[0,0] high=[999,0] "
     "base_dilation=[1,1] window_dilation=[1,1] : "
     "f32[1000,1]"},
    {"%x : f32[3]", "%y = reduce_window %x combine=sum window=[1] stride=[1] "
                    "low=[-99999999999999999] high=[99999999999999999] base_dilation=[1] "
                    "window_dilation=[1] : f32[3]"},
    {"%x : f32[1,1,3], %w : f32[1,1,2]",
     "%y = convolution %x, %w lhs=[0,1,2] rhs=[0,1,2] out=[0,1,2] stride=[1] "
     "low=[99999999999999999] high=[-99999999999999998] lhs_dilation=[1] "
     "rhs_dilation=[1] "
     "feature_groups=1 batch_groups=1 : f32[1,1,3]"},
    /* windows over less than the operand, whose cotangent has all of it */
    {"%x : f32[1,1,100000000000], %w : f32[1,1,100000000000]",
     "%y = convolution %x, %w lhs=[0,1,2] rhs=[0,1,2] out=[0,1,2] stride=[1] low=[0] high=[9] "
     "lhs_dilation=[2] rhs_dilation=[2] "
     "feature_groups=1 batch_groups=1 : f32[1,1,10]"},
};

START_TEST(what_is_too_large_is_refused)
{
    ck_assert_ptr_null(joint_of(parse(base_format(arena,
                                                  "gir 1\nmodule \"m\"\nentry @f(%s) {\n %s\n"
                                                  " return (output \"y\" %%y)\n}\n",
                                                  large[_i][0], large[_i][1]))));
    ck_assert_msg(strstr(first_error, "is too large") &&
                      !strncmp(first_error, "4: the derivative of this `", 27),
                  "%s", first_error);
}
END_TEST

START_TEST(all_cropped_away)
{
    ir_func *j = joint_of(
        parse("gir 1\nmodule \"m\"\nentry @f(input %x : f32[3]) {\n %v = constant value=1 : f32[]\n"
              " %y = pad %x, %v low=[-99999999999999999] high=[99999999999999999] interior=[7] : "
              "f32[17]\n"
              " return (output \"y\" %y)\n}\n"));
    ck_assert(match_is(result(j, 1)->value, 0));
}
END_TEST

/* Instructions of backward after the passes; constants and broadcasts cost nothing. None repeats a
 * comparison or recomputes its function. */
static const struct { const char *body; int most;
} costs[] = {
    {"%y = tanh %x : f32[8]", 3},
    {"%y = exp %x : f32[8]", 1},
    {"%y = logistic %x : f32[8]", 3},
    {"%y = sqrt %x : f32[8]", 2},
    {"%y = neg %x : f32[8]", 1},
    {"%y = mul %x, %x : f32[8]", 2},
    {"%k = constant value=splat(2) : f32[8]\n %y = pow %x, %k : f32[8]", 2},
    {"%k = constant value=splat(3) : f32[8]\n %y = pow %x, %k : f32[8]", 3},
    {"%k = constant value=splat(0.25) : f32[8]\n %y = mul %x, %k : f32[8]", 1},
    {"%z = constant value=splat(0) : f32[8]\n %c = compare %x, %z relation=gt : bool[8]\n %y = "
     "select %c, %x, %z : f32[8]",
     1},
    {"%y = reduce %x combine=sum axes=[0] : f32[]", 0},
    {"%y = reverse %x axes=[0] : f32[8]", 1},
    {"%y = slice %x start=[2] limit=[6] stride=[1] : f32[4]", 1},
    {"%y = copy %x : f32[8]", 0},
    {"%z = constant value=splat(3) : f32[8]\n %y = sub %z, %x : f32[8]", 1},
};

START_TEST(derivatives_are_cheap)
{
    ir_func *f = parse(base_format(
        arena, "gir 1\nmodule \"m\"\nfunc @f(input %%x : f32[8]) {\n %s\n return %%y\n}\n",
        costs[_i].body));
    f->results.items[0].name = "y";
    ir_func *j = joint_of(f);
    ir_op op = f->last->op;
    pass_fold(j);
    cse_across(j);
    pass_simplify(j);
    cse_across(j);
    pass_dce(j);
    int n = count(j, IR_BACKWARD, -1) - count(j, IR_BACKWARD, IR_OP_constant) -
            count(j, IR_BACKWARD, IR_OP_broadcast) - count(j, IR_BACKWARD, IR_OP_reshape);
    ck_assert_msg(n <= costs[_i].most, "%s: %d instructions\n%s", costs[_i].body, n, printed(j));
    ck_assert(!count(j, IR_BACKWARD, IR_OP_compare));
    ck_assert(op == IR_OP_neg || op == IR_OP_mul || op == IR_OP_select || op == IR_OP_reverse ||
              !count(j, IR_BACKWARD, (int)op));
}
END_TEST

static const struct { int64_t window, stride, low, high, dilation, extent;
} windows[] = {
    {2, 2, 0, 0, 1, 56},   {3, 1, 1, 1, 1, 56},  {3, 2, 1, 0, 1, 56},    {7, 7, 0, 0, 1, 56},
    {14, 1, 0, 0, 1, 56},  {14, 2, 6, 6, 1, 56}, {14, 14, 0, 0, 1, 56},  {56, 1, 0, 0, 1, 56},
    {56, 56, 0, 0, 1, 56}, {50, 3, 0, 0, 1, 56}, {56, 1, 55, 0, 1, 56},  {5, 3, 2, 2, 2, 56},
    {9, 4, 0, 0, 3, 56},   {9, 8, 4, 4, 5, 56},  {99, 99, 40, 3, 1, 56}, {6, 1, 0, 0, 9, 56},
};

static double reads_of(const ir_func *f, ir_phase phase)
{
    double reads = 0;
    IR_FOR (inst, f)
    if (inst->phase == phase && (inst->op == IR_OP_reduce_window || inst->op == IR_OP_arg_window ||
                                 inst->op == IR_OP_window_put))
        reads += (double)ir_count(&inst->result[0]->type) * ir_cost_reads(inst, 0);
    return reads;
}

/* Code for a window's derivative reads about as much as forward, whatever the window: along a
 * dimension of n elements, at most twice that, and one more per element where strides do not
 * divide; all times the dilation. */
START_TEST(windows_are_read_once)
{
    static const char *const ops[] = {"reduce_window", "reduce_window", "arg_window"};
    int64_t k = windows[_i].window, s = windows[_i].stride, l = windows[_i].low,
            h = windows[_i].high, d = windows[_i].dilation;
    int64_t n = windows[_i].extent, out = (n + l + h - (k - 1) * d - 1) / s + 1;
    for (int i = 0; i < 3; i++) {
        const char *base = i < 2 ? "base_dilation=[1,1,1] " : "";
        ir_func *f = parse(base_format(
            arena,
            "gir 1\nmodule \"m\"\nentry @f(input %%x : f32[3,%d,%d]) {\n %%y%s = %s %%x combine=%s "
            "window=[1,%d,%d] "
            "stride=[1,%d,%d] low=[0,%d,%d] high=[0,%d,%d] %swindow_dilation=[1,%d,%d] : "
            "f32[3,%d,%d]%s\n"
            " return (output \"y\" %%y)\n}\n",
            (int)n, (int)n, i < 2 ? "" : ", %p", ops[i], i ? "max" : "sum", (int)k, (int)k, (int)s,
            (int)s, (int)l, (int)l, (int)h, (int)h, base, (int)d, (int)d, (int)out, (int)out,
            i < 2 ? "" : base_format(arena, ", i32[3,%d,%d]", (int)out, (int)out)));
        ir_func *j = joint_of(f);
        double forward = reads_of(j, IR_FORWARD), backward = reads_of(j, IR_BACKWARD);
        double along = (double)d * (2 * sqrt(forward / 3) + (double)n), most = 3 * along * along;
        ck_assert_msg(backward > 0 && backward <= most,
                      "%s: %g elements are read, forward reads %g", ops[i], backward, forward);
    }
}
END_TEST

/* A sum over large windows, and its derivative, are computed one dimension after the other. */
START_TEST(sums_of_windows_are_separated)
{
    ir_func *j = joint_of(parse("gir 1\nmodule \"m\"\nentry @f(input %x : f32[3,56,56]) {\n %y = "
                                "reduce_window %x combine=sum window=[1,14,14] "
                                "stride=[1,1,1] low=[0,0,0] high=[0,0,0] base_dilation=[1,1,1] "
                                "window_dilation=[1,1,1] : f32[3,43,43]\n"
                                " return (output \"y\" %y)\n}\n"));
    pass_simplify(j);
    pass_dce(j);
    double most = 3.0 * 56 * 56 * 14 * 2;
    ck_assert(reads_of(j, IR_FORWARD) <= most && reads_of(j, IR_BACKWARD) <= most);
}
END_TEST

static int saved(const char *params, const char *body)
{
    ir_func *f = parse(base_format(
                arena, "gir 1\nmodule \"m\"\nentry @f(%s) {\n %s\n return (output \"y\" %%y)\n}\n",
                params, body)),
            *j = joint_of(f);
    int n = 0;
    pass_fold(j);
    cse_across(j);
    pass_simplify(j);
    cse_across(j);
    pass_simplify(j);
    pass_dce(j);
    train_partition(f->module, j, "forward_train", "backward");
    ir_verify(f->module);
    for (int i = 0; i < f->module->states.count; i++)
        n += f->module->states.items[i]->kind == IR_SAVED;
    return n;
}

START_TEST(softmax_saves_its_result)
{
    ck_assert_int_eq(
        saved("input %x : f32[8,9], input %w : f32[9,5]",
              "%m = reduce %x combine=max axes=[1] : f32[8]\n %b = broadcast %m shape=[8,9] "
              "dims=[0] : f32[8,9]\n"
              " %s = stop_gradient %b : f32[8,9]\n"
              " %d = sub %x, %s : f32[8,9]\n %e = exp %d : f32[8,9]\n %t = reduce %e combine=sum "
              "axes=[1] : f32[8]\n"
              " %u = reshape %t shape=[8,1] : f32[8,1]\n"
              " %c = broadcast %u shape=[8,9] dims=[0,1] : f32[8,9]\n %p = div %e, %c : f32[8,9]\n"
              " %y = dot_general %p, %w lhs_contract=[1] rhs_contract=[0] : f32[8,5]"),
        1);
}
END_TEST

/* Operands of bf16 have the gradients of the same numbers in f32, in their own type: small
 * integers, so exact. */
START_TEST(sums_of_another_type)
{
    static const char *const bodies[][2] = {
        {"%y = dot_general %x, %w lhs_batch=[2] rhs_batch=[2] lhs_contract=[1] rhs_contract=[1] ",
         " : f32[2,2,4]"},
        {"%y = convolution %x, %w lhs=[0,1,2] rhs=[0,1,2] out=[0,1,2] stride=[1] low=[1] high=[0] "
         "lhs_dilation=[1] rhs_dilation=[1] feature_groups=1 batch_groups=1 ",
         " : f32[2,4,2]"}};
    ir_literal *got[2][2];
    for (int typed = 0; typed < 2; typed++) {
        const char *t = typed ? "bf16" : "f32";
        ir_func *f = parse(base_format(
            arena,
            "gir 1\nmodule \"m\"\nentry @f(input %%x : %s[2,3,2], input %%w : %s[4,3,2]) {\n "
            "%s%s%s\n return (output \"y\" %%y)\n}\n",
            t, t, bodies[_i][0], typed ? "accumulate=f32" : "", bodies[_i][1]));
        ir_func *j = joint_of(f);
        ck_assert_msg(j != NULL, "%s", first_error);
        ir_literal *arg[3], *out[8];
        for (int i = 0; i < j->params.count; i++) {
            arg[i] = ir_literal_new(arena, &j->params.items[i].value->type);
            for (int64_t k = 0; k < ir_count(&arg[i]->type); k++)
                ir_literal_set(arg[i], k, (double)((k * 7 + i * 3) % 5 - 2));
        }
        ir_eval(arena, j, arg, out, NULL);
        for (int g = 0; g < 2; g++) { /* the gradients are the last results */
            got[typed][g] = out[j->results.count - 2 + g];
            ck_assert_str_eq(ir_dtypes[got[typed][g]->type.dtype].name, t);
        }
    }
    for (int g = 0; g < 2; g++)
        for (int64_t k = 0; k < ir_count(&got[0][g]->type); k++)
            ck_assert_double_eq(ir_literal_get(got[0][g], k), ir_literal_get(got[1][g], k));
}
END_TEST

/* Sums over a tensor in backward: of the gradient, of that times x, of x. */
START_TEST(batch_normalisation_sums_thrice)
{
    ir_func *f = parse(
        "gir 1\nmodule \"m\"\nentry @f(input %x : f32[6,3,8], input %w : f32[3], input %v : "
        "f32[3]) {\n"
        " %k = constant value=splat(0.02) : f32[3]\n %s = reduce %x combine=sum axes=[0,2] : "
        "f32[3]\n %m = mul %s, %k : f32[3]\n"
        " %mb = broadcast %m shape=[6,3,8] dims=[1] : f32[6,3,8]\n %d = sub %x, %mb : f32[6,3,8]\n "
        "%q = mul %d, %d : f32[6,3,8]\n"
        " %qs = reduce %q combine=sum axes=[0,2] : f32[3]\n %var = mul %qs, %k : f32[3]\n %r = "
        "rsqrt %var : f32[3]\n"
        " %rb = broadcast %r shape=[6,3,8] dims=[1] : f32[6,3,8]\n %n = mul %d, %rb : f32[6,3,8]\n"
        " %wb = broadcast %w shape=[6,3,8] dims=[1] : f32[6,3,8]\n"
        " %a = mul %n, %wb : f32[6,3,8]\n %vb = broadcast %v shape=[6,3,8] dims=[1] : f32[6,3,8]\n "
        "%y = add %a, %vb : f32[6,3,8]\n"
        " return (output \"y\" %y)\n}\n");
    ir_func *j = joint_of(f);
    pass_fold(j);
    cse_across(j);
    pass_simplify(j);
    pass_factor(j);
    cse_across(j);
    pass_dce(j);
    ck_assert_int_eq(count(j, IR_BACKWARD, IR_OP_reduce), 3);
    int *level = base_array(arena, int, ir_number(j)); /* of sums, one after the other */
    IR_FOR (inst, j) {
        int most = 0;
        for (int i = 0; inst->phase == IR_BACKWARD && i < inst->noperands; i++)
            most = level[inst->operand[i]->id] > most ? level[inst->operand[i]->id] : most;
        level[inst->result[0]->id] =
            most + (inst->phase == IR_BACKWARD && inst->op == IR_OP_reduce);
        ck_assert_int_le(level[inst->result[0]->id], 1);
    }
}
END_TEST

/* A bias before a GELU, whose result is scaled or not: its gradient is the sum of the tensor that
 * the weights' gradient reads. Backward writes no other tensor of that size. */
START_TEST(gelu_writes_one_derivative)
{
    const char *scale = _i ? " %sb = broadcast %s shape=[64,32] dims=[1] : f32[64,32]\n %o = mul "
                             "%g, %sb : f32[64,32]\n"
                           : " %o = copy %g : f32[64,32]\n";
    ir_func *f = parse(base_format(
        arena,
        "gir 1\nmodule \"m\"\nparam \"w\" : f32[8,32] trainable\nparam \"v\" : f32[32] trainable\n"
        "entry @f(input %%x : f32[64,8], input %%s : f32[32], state %%w : f32[8,32], state %%v : "
        "f32[32]) {\n"
        " %%xw = dot_general %%x, %%w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] "
        ": f32[64,32]\n"
        " %%vb = broadcast %%v shape=[64,32] dims=[1] : f32[64,32]\n %%a = add %%xw, %%vb : "
        "f32[64,32]\n"
        " %%k = constant value=splat(0.70710677) : f32[64,32]\n %%one = constant value=splat(1) : "
        "f32[64,32]\n"
        " %%half = constant value=splat(0.5) : f32[64,32]\n %%t = mul %%a, %%k : f32[64,32]\n %%e "
        "= erf %%t : f32[64,32]\n"
        " %%p = add %%e, %%one : f32[64,32]\n %%h = mul %%a, %%half : f32[64,32]\n %%g = mul %%h, "
        "%%p : f32[64,32]\n%s"
        " %%q = mul %%o, %%o : f32[64,32]\n %%l = reduce %%q combine=sum axes=[0,1] : f32[]\n "
        "return (output \"l\" %%l loss)\n}\n",
        scale));
    ad_request r = {.states = f->module->states.items, .nstates = f->module->states.count};
    ir_func *j = ad_joint(f->module, f, &r, "joint");
    ck_assert(j != NULL);
    pass_run_sequence(j, PASS_JOINT_CLEAN);
    train_partition(f->module, j, "forward_train", "backward");
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(f->module, p, true);
    const ir_plan *schedule = ir_func_by_name(f->module, "backward")->plan;
    int written = 0;
    for (int i = 0; i < schedule->kernels.count; i++)
        for (int k = 0; k < schedule->kernels.items[i]->outputs.count; k++)
            written += ir_count(&schedule->kernels.items[i]->outputs.items[k]->type) == 64 * 32;
    ck_assert_int_eq(written, 1);
}
END_TEST

START_TEST(long_functions)
{
    ir_module *m = ir_module_new(ctx, arena, "m");
    ir_func *f = ir_func_new(m, "f");
    ir_type t = ir_type_of(IR_F32, 1, (int64_t[]){8});
    ir_value *x = ir_add_input(f, "x", &t), *v = x;
    ir_builder b = ir_builder_new(f);
    for (int i = 0; i < 20000; i++)
        v = i % 2 ? ir_mul(&b, v, x) : ir_build1(&b, IR_OP_sort, &v, 1, &(ir_attrs){.sort = {0}});
    ir_add_output(f, "y", v);
    ir_func *j = joint_of(f);
    ck_assert_int_ge(count(j, IR_BACKWARD, IR_OP_scatter), 10000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("autodiff");
    TCase *c = tcase_create("autodiff");
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_test(c, ports_are_as_asked);
    tcase_add_test(c, backward_names_what_it_differentiates);
    tcase_add_loop_test(c, zeros_stay_symbolic, 0, sizeof nowhere / sizeof *nowhere);
    tcase_add_test(c, cotangents_have_the_operands_type);
    tcase_add_test(c, what_is_missing_is_named);
    tcase_add_loop_test(c, rank_16, 0, 6);
    tcase_add_loop_test(c, what_is_too_large_is_refused, 0, sizeof large / sizeof *large);
    tcase_add_test(c, all_cropped_away);
    tcase_add_loop_test(c, derivatives_are_cheap, 0, sizeof costs / sizeof *costs);
    tcase_add_loop_test(c, windows_are_read_once, 0, sizeof windows / sizeof *windows);
    tcase_add_test(c, sums_of_windows_are_separated);
    tcase_add_test(c, softmax_saves_its_result);
    tcase_add_loop_test(c, sums_of_another_type, 0, 2);
    tcase_add_test(c, batch_normalisation_sums_thrice);
    tcase_add_loop_test(c, gelu_writes_one_derivative, 0, 2);
    tcase_add_test(c, long_functions);
    suite_add_tcase(s, c);
    return suite_run(s);
}
