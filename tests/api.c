/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The library behind the command: printing of tensors, names and globs, attached losses, what
 * trains, the judgement of --expect, specialisations. */
#include "api/execute.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static base_ctx *ctx;
static base_arena *arena;
static char errors[4000];

static void sink(void *user, const base_diagnostic *d)
{
    (void)user;
    size_t used = strlen(errors);
    snprintf(errors + used, sizeof errors - used, "%s%s\n",
             d->severity == BASE_ERROR ? "" : "(note) ", d->text);
}

static void setup(void)
{
    *errors = 0;
    ctx = base_ctx_new(sink, NULL);
    arena = base_arena_new(ctx);
}

static void teardown(void)
{
    base_ctx_free(ctx);
}

/* ---- Printed tensors ---- */

static ir_literal *numbers(ir_dtype t, int rank, const int64_t *dim, double start, double step)
{
    ir_type type = ir_type_of(t, rank, dim);
    ir_literal *l = ir_literal_new(arena, &type);
    for (int64_t i = 0, n = ir_count(&type); i < n; i++)
        ir_literal_set(l, i, start + step * (double)i);
    return l;
}

static ir_literal *list(ir_dtype t, int n, const double *v)
{
    int64_t dim = n;
    ir_literal *l = numbers(t, 1, &dim, 0, 0);
    for (int i = 0; i < n; i++)
        ir_literal_set(l, i, v[i]);
    return l;
}

/* Compares with what torch prints after `tensor(`, where lines begin with seven blanks. */
static void prints(const ir_literal *l, const char *due)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(f);
    api_print_tensor(f, l, 7);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_str_eq(text, due);
    free(text);
}

#define LIST(type, ...) \
    list(type, (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), (double[]){__VA_ARGS__})
#define DIMS(...)                                                          \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) \
    {                                                                      \
        __VA_ARGS__                                                        \
    }

START_TEST(tensors_print_as_torch_prints_them)
{
    prints(numbers(IR_F32, 0, NULL, 3.5, 0), "3.5000");
    prints(LIST(IR_F32, 1, 2, 3), "[1., 2., 3.]");
    prints(LIST(IR_F32, 1e10, 1), "[1.0000e+10, 1.0000e+00]");
    prints(LIST(IR_F32, 0.5, 100000.25), "[5.0000e-01, 1.0000e+05]");
    prints(LIST(IR_F32, 1e-5, 1), "[1.0000e-05, 1.0000e+00]");
    prints(LIST(IR_F64, NAN, INFINITY, -1), "[nan, inf, -1.]");
    prints(LIST(IR_BOOL, 1, 0), "[ True, False]");
    prints(LIST(IR_U8, 5), "[5]");
    prints(numbers(IR_I64, DIMS(10), 0, 1), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]");
    prints(numbers(IR_F32, DIMS(0, 3), 0, 0), "[]");
    prints(numbers(IR_F32, DIMS(2, 3, 4), 0, 1.0 / 7),
           "[[[0.0000, 0.1429, 0.2857, 0.4286],\n         [0.5714, 0.7143, 0.8571, 1.0000],\n      "
           "   [1.1429, 1.2857, 1.4286, 1.5714]],\n\n"
           "        [[1.7143, 1.8571, 2.0000, 2.1429],\n         [2.2857, 2.4286, 2.5714, "
           "2.7143],\n         [2.8571, 3.0000, 3.1429, 3.2857]]]");
    prints(numbers(IR_F32, DIMS(30), 0, 1.0 / 29),
           "[0.0000, 0.0345, 0.0690, 0.1034, 0.1379, 0.1724, 0.2069, 0.2414, 0.2759,\n"
           "        0.3103, 0.3448, 0.3793, 0.4138, 0.4483, 0.4828, 0.5172, 0.5517, 0.5862,\n"
           "        0.6207, 0.6552, 0.6897, 0.7241, 0.7586, 0.7931, 0.8276, 0.8621, 0.8966,\n      "
           "  0.9310, 0.9655, 1.0000]");
    prints(numbers(IR_I64, DIMS(2, 1000), 0, 1),
           "[[   0,    1,    2,  ...,  997,  998,  999],\n        [1000, 1001, 1002,  ..., 1997, "
           "1998, 1999]]");
    prints(numbers(IR_F32, DIMS(40, 30), 0, 1),
           "[[0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 2.7000e+01, 2.8000e+01,\n         "
           "2.9000e+01],\n"
           "        [3.0000e+01, 3.1000e+01, 3.2000e+01,  ..., 5.7000e+01, 5.8000e+01,\n"
           "         5.9000e+01],\n        [6.0000e+01, 6.1000e+01, 6.2000e+01,  ..., 8.7000e+01, "
           "8.8000e+01,\n         8.9000e+01],\n        ...,\n"
           "        [1.1100e+03, 1.1110e+03, 1.1120e+03,  ..., 1.1370e+03, 1.1380e+03,\n         "
           "1.1390e+03],\n"
           "        [1.1400e+03, 1.1410e+03, 1.1420e+03,  ..., 1.1670e+03, 1.1680e+03,\n"
           "         1.1690e+03],\n        [1.1700e+03, 1.1710e+03, 1.1720e+03,  ..., 1.1970e+03, "
           "1.1980e+03,\n         1.1990e+03]]");
}
END_TEST

/* ---- Models ---- */

/* A session whose options are the strings, up to NULL, on a module of that text. */
static api_session *session(unsigned verb, const char *text, const char *const *options)
{
    api_session *s = api_session_in(ctx, arena);
    for (; *options; options++)
        if (!api_option_string(s, verb, *options))
            return s;
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m != NULL, "%s", errors);
    if (api_take(s, verb, m, "test.gir"))
        api_optimise(s);
    return s;
}
#define SESSION(verb, text, ...) session(verb, text, (const char *const[]){__VA_ARGS__, NULL})

static const char net[] = "gir 1\nmodule \"net\"\nparam \"fc.weight\" : f32[3,2] trainable init "
                          "[[0.5, -0.25], [1, 0.75], [-0.5, 0.125]]\n"
                          "param \"fc.bias\" : f32[2] trainable init [0.1, -0.2]\n"
                          "param \"scale\" : f32[] trainable init 1\n"
                          "entry @forward(input %x : f32[2,3], state %fc.weight : f32[3,2], state "
                          "%fc.bias : f32[2], state %scale : f32[]) {\n"
                          "  %m = dot_general %x, %fc.weight lhs_contract=[1] rhs_contract=[0] : "
                          "f32[2,2]\n  %b = broadcast %fc.bias shape=[2,2] dims=[1] : f32[2,2]\n"
                          "  %y = add %m, %b : f32[2,2]\n  %k = broadcast %scale shape=[2,2] : "
                          "f32[2,2]\n  %z = mul %y, %k : f32[2,2]\n  return (output \"y\" %z)\n}\n";

START_TEST(names_and_globs_choose_what_trains)
{
    api_session *s = SESSION(API_INFO, net, "--train=sgd", "--attach-loss=mse", "--freeze=fc.*",
                             "--no-decay=scale");
    ck_assert_msg(!s->usage && !base_error_count(ctx), "%s", errors);
    ck_assert(strstr(errors, "(note) 'scale' trains, but does not look like a weight"));
    const api_facts *f = api_facts_of(s);
    ck_assert_int_eq(f->params.count, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(f->params.items[i].trainable, !strcmp(f->params.items[i].name, "scale"));
    ck_assert_str_eq(f->loss, "loss");
    ck_assert_int_eq(f->variant->macs, 12);
    for (int e = 0; e < 5; e++)
        ck_assert(f->entry[e]);
    s = SESSION(API_INFO, net, "--train=sgd", "--attach-loss=mse", "--trainable=fc.weight",
                "--freeze=other*");
    ck_assert(s->usage && strstr(errors, "--freeze: 'other*' matches nothing"));
}
END_TEST

START_TEST(wrong_options_are_faults_of_the_command_line)
{
    static const char *const wrong[][2] = {
        {"--train=sdg", "adam"},
        {"--train=adam:beta3=1", "'beta3'; the optimizer has lr, beta1, beta2, eps, weight_decay, "
                                 "grad_scale and clip_norm"},
        {"--train=adam:lr=nan", "lr=nan"},
        {"--train=adam:lr=1e39", "lr=1e39"},
        {"--train=none:lr=1", "none"},
        {"--blas=perhaps", "auto or none"},
        {"-O4", "0 to 3"},
        {"--threads=0", "1 to"},
        {"--cpu=pentium9", "pentium9"},
        {"--loss=z", "no output 'z'"},
        {"--wrt=q", "'q'"},
        {"--attach-loss=hinges", "softmax_cross_entropy"},
        {"--nonsense", "unknown option"},
        {"--threads=two", "an integer"},
        {"--rename=a", "NAME=VALUE"},
        {"--freeze=a,,b", "empty name"},
        {"threads", "not an option"},
        {"--entries=step", "--train"},
        {"--no-decay=scale", "needs backward"},
        {"--cotangents=y", "unknown option"},
        {"--grad", "unknown option"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        *errors = 0;
        api_session *s =
            SESSION(API_COMPILE, net, wrong[i][0],
                    strstr(wrong[i][0], "loss=z") || strstr(wrong[i][0], "wrt") ? "--train=none"
                                                                                : "--seed=1");
        ck_assert_msg(s->usage && strstr(errors, wrong[i][1]), "%s: %s", wrong[i][0], errors);
    }
}
END_TEST

/* Runs forward_train and backward; the loss, and the gradient of parameter i (a name) goes to
 * grad. */
static float train(api_session *s, float *x, void *label, const char *name, float *grad)
{
    float loss = 0, y[4];
    ck_assert_msg(api_compile(s) != NULL, "%s", errors);
    api_machine *m = api_start(s, true);
    ck_assert_msg(m != NULL, "%s", errors);
    ck_assert(api_machine_set(m, CG_INPUTS, "x", x) &&
              api_machine_set(m, CG_INPUTS, "label", label));
    ck_assert(api_machine_set(m, CG_OUTPUTS, "y", y) &&
              api_machine_set(m, CG_OUTPUTS, "loss", &loss));
    ck_assert_int_eq(api_machine_call(m, GRADC_RT_FORWARD_TRAIN, false), GRADC_RT_OK);
    ck_assert_int_eq(api_machine_call(m, GRADC_RT_BACKWARD, false), GRADC_RT_OK);
    size_t count;
    const float *block = gradc_rt_grad_block(api_machine_ctx(m), &count);
    const gradc_rt_tensor *t;
    for (size_t i = 0; (t = api_machine_param(m, i)); i++)
        if (!strcmp(t->name, name))
            memcpy(grad, block + t->grad_at, t->bytes);
    api_machine_free(m);
    return loss;
}

static void near(float x, double y)
{
    ck_assert_msg(fabs(x - y) < 2e-6 * (1 + fabs(y)), "%.9g, expected %.9g", x, y);
}

typedef struct attached {
    const char *option, *label;
    double loss, bias[2];
} attached;
static const attached losses[] = {
#include "tests/fixtures/losses.inc"
};
enum { LOSSES = sizeof losses / sizeof *losses };

/* The label of that name, in the element type of the model. */
static void *label_of(const attached *a, ir_dtype dtype)
{
    static const double target[] = {1, 0, 0.25, 0.5}, sign[] = {1, -1, -1, 1};
    static int64_t label[] = {1, 0}, ignoring[] = {1, -100};
    if (!strcmp(a->label, "label") || !strcmp(a->label, "ignoring"))
        return *a->label == 'l' ? label : ignoring;
    ir_literal *l = ir_literal_new(arena, &(ir_type){.dtype = dtype, .rank = 1, .dim = {4}});
    for (int i = 0; i < 4; i++)
        ir_literal_set(l, i, *a->label == 't' ? target[i] : sign[i]);
    return l->data;
}

static api_session *attach(const char *text, const char *loss)
{
    return session(
        API_COMPILE, text,
        (const char *const[]){"--train=none", base_format(arena, "--attach-loss=%s", loss), NULL});
}

/* The values are torch's, printed by tests/fixtures/make_losses.py. */
START_TEST(attached_losses_are_torchs)
{
    float x[] = {0.5f, -1, 2, 1.5f, 0.25f, -0.75f}, g[2];
    for (int i = 0; i < LOSSES; i++) {
        float loss =
            train(attach(net, losses[i].option), x, label_of(&losses[i], IR_F32), "fc.bias", g);
        near(loss, losses[i].loss);
        near(g[0], losses[i].bias[0]);
        near(g[1], losses[i].bias[1]);
    }
}
END_TEST

static const char *in_f64(const char *text)
{
    char *t = base_strdup(arena, text);
    for (char *at = t; (at = strstr(at, "f32")); at += 3)
        memcpy(at, "f64", 3);
    return t;
}

/* Central differences in f64, of a bias in which no element lies at a kink. */
START_TEST(attached_losses_agree_with_differences)
{
    double x[] = {0.5, -1, 2, 1.5, 0.25, -0.75}, y[4], h = 1e-4;
    for (int i = 0; i < LOSSES; i++) {
        api_session *s = attach(in_f64(net), losses[i].option);
        double bias[] = {0.13, -0.21}, loss, side[2], *block;
        ck_assert_msg(api_compile(s) != NULL, "%s", errors);
        api_machine *m = api_start(s, true);
        ck_assert_msg(m != NULL, "%s", errors);
        ck_assert(api_machine_set(m, CG_INPUTS, "x", x) &&
                  api_machine_set(m, CG_INPUTS, "label", label_of(&losses[i], IR_F64)));
        ck_assert(api_machine_set(m, CG_OUTPUTS, "y", y) &&
                  api_machine_set(m, CG_OUTPUTS, "loss", &loss));
        gradc_rt_ctx *rt = api_machine_ctx(m);
        size_t p = 0, count;
        while (strcmp(api_machine_param(m, p)->name, "fc.bias"))
            p++;
        for (int k = 0; k < 2; k++) {
            ck_assert_int_eq(gradc_rt_param_set(rt, p, bias), GRADC_RT_OK);
            ck_assert_int_eq(gradc_rt_zero_grad(rt), GRADC_RT_OK);
            ck_assert_int_eq(api_machine_call(m, GRADC_RT_FORWARD_TRAIN, false), GRADC_RT_OK);
            ck_assert_int_eq(api_machine_call(m, GRADC_RT_BACKWARD, false), GRADC_RT_OK);
            block = (double *)gradc_rt_grad_block(rt, &count);
            double due = block[api_machine_param(m, p)->grad_at + (size_t)k];
            for (int j = 0; j < 2; j++) {
                bias[k] += j ? -2 * h : h;
                ck_assert_int_eq(gradc_rt_param_set(rt, p, bias), GRADC_RT_OK);
                ck_assert_int_eq(api_machine_call(m, GRADC_RT_FORWARD_TRAIN, false), GRADC_RT_OK);
                side[j] = loss;
            }
            bias[k] += h;
            double is = (side[0] - side[1]) / (2 * h);
            ck_assert_msg(fabs(is - due) < 1e-6 * (1 + fabs(due)), "%s: %.9g, by differences %.9g",
                          losses[i].option, due, is);
        }
        api_machine_free(m);
    }
}
END_TEST

/* Errors in the option itself. */
START_TEST(attached_losses_name_what_there_is)
{
    static const char *const wrong[][2] = {
        {"hinges", "unknown loss 'hinges'; the losses are softmax_cross_entropy, nll, "
                   "bce_with_logits, mse, l1, huber, kl_div and hinge"},
        {"mse,weight=@w.npy", "mse has no option 'weight', only reduction"},
        {"nll,smooth=1", "nll has no option 'smooth', only reduction, smoothing and weight"},
        {"nll,smoothing=1.5", "smoothing=1.5: expected a number from 0 to 1"},
        {"nll,smoothing=x", "smoothing=x"},
        {"nll,smoothing", "'smoothing': expected NAME=VALUE"},
        {"nll,", "'': expected NAME=VALUE"},
        {"huber,delta=0", "delta=0"},
        {"mse,reduction=none", "expected mean or sum"},
        {"nll,weight=w.npy", "expected weight=@FILE.npy"},
        {"mse,reduction=sum,reduction=mean", "'reduction' is given twice"},
        {"nll,smoothing=0,reduction=sum,smoothing=0.1", "'smoothing' is given twice"},
        {"mse:z", "expected KIND:OUTPUT"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        *errors = 0;
        api_session *s = attach(net, wrong[i][0]);
        ck_assert_msg(s->usage && strstr(errors, wrong[i][1]), "%s: %s", wrong[i][0], errors);
    }
    *errors = 0;
    api_session *s = attach(net, "nll,weight=@tests/fixtures/elements.npy");
    ck_assert_msg(!s->usage && strstr(errors, "the weights are f32[2,2], expected f32[2]"), "%s",
                  errors);
    *errors = 0;
    s = attach(net, "nll,weight=@tests/fixtures/none.npy");
    ck_assert_msg(!s->usage && strstr(errors, "No such file"), "%s", errors);
}
END_TEST

START_TEST(hyper_parameters_have_the_defaults_asked_for)
{
    api_session *s = SESSION(API_COMPILE, net, "--train=adam:lr=0.25,eps=1e-3", "--attach-loss=mse",
                             "--prefix=other");
    const api_code *code = api_compile(s);
    ck_assert_msg(code != NULL, "%s", errors);
    ck_assert(strstr(code->header,
                     "#define OTHER_HYPER {0.25f, 0.899999976f, 0.999000013f, 0.00100000005f"));
}
END_TEST

/* A missing input is named, and what does not need it is computed. */
START_TEST(outputs_whose_inputs_are_missing_are_left_out)
{
    static const char two[] = "gir 1\nmodule \"m\"\nentry @forward(input %a : f32[2], input %b : "
                              "f32[2]) {\n  %x = neg %a : f32[2]\n"
                              "  %s = add %a, %b : f32[2]\n"
                              "  %y = reduce %s combine=sum axes=[0] : f32[]\n  return (output "
                              "\"y\" %y, output \"x\" %x)\n}\n";
    for (int given = 0; given < 2; given++) {
        *errors = 0;
        api_session *s = SESSION(API_RUN, two, "--seed=1");
        ir_tensor a = {"a", LIST(IR_F32, 1, 2)};
        if (given)
            BASE_PUSH(arena, &s->given, a);
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        bool fine = api_compile(s) && api_execute(s, f);
        ck_assert_int_eq(fclose(f), 0);
        ck_assert_msg(fine == (given == 1), "%s%s", errors, text);
        ck_assert_str_eq(text, given ? "x f32[2]\n[-1., -2.]\n" : "");
        ck_assert(strstr(errors, given ? "(note) input 'b' is missing"
                                       : "input 'a' (f32[2]) is missing"));
        free(text);
    }
}
END_TEST

START_TEST(members_are_renamed_to_names_only)
{
    static const char *const wrong[] = {"--rename=x=int", "--rename=x=a b", "--rename=x=NULL",
                                        "--rename=x=1a"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        *errors = 0;
        api_session *s = SESSION(API_COMPILE, net, wrong[i]);
        ck_assert(s->usage && strstr(errors, "is not a valid name in C"));
    }
}
END_TEST

/* Each function has the next one twice: 2^20 loops from a text of a few lines. */
START_TEST(functions_that_double_are_refused_before_they_grow)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fprintf(
        f,
        "gir 1\nmodule \"m\"\nfunc @f0(%%c : f32[]) {\n  %%n = neg %%c : f32[]\n  return %%n\n}\n");
    for (int i = 1; i <= 20; i++)
        fprintf(f,
                "func @f%d(%%c : f32[]) {\n  %%a, %%t = scan %%c body=@f%d consts=0 carries=1 "
                "length=3 reverse=0 live=0 : f32[], i64[]\n"
                "  %%b, %%u = scan %%a body=@f%d consts=0 carries=1 length=2 reverse=0 live=0 : "
                "f32[], i64[]\n  return %%b\n}\n",
                i, i - 1, i - 1);
    fprintf(f, "entry @forward(input %%x : f32[]) {\n  %%y = call %%x callee=@f20 : f32[]\n  "
               "return (output \"y\" %%y)\n}\n");
    ck_assert(!fclose(f));
    api_session *s = api_session_in(ctx, arena);
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m && !api_take(s, API_INFO, m, "test.gir"), "%s", errors);
    ck_assert_msg(strstr(errors, "limits") && !strstr(errors, "e+"), "%s", errors);
    free(text);
}
END_TEST

/* ---- --expect ---- */

static bool judged_literals(api_session *s, ir_literal *x, ir_literal *narrow, ir_literal *wide,
                            char **text)
{
    char path[] = "/tmp/gradc-expect-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert(!close(fd));
    ir_tensors t = {0};
    ir_tensor a = {"out/y", narrow}, b = {"out64/y", wide};
    BASE_PUSH(arena, &t, a);
    if (wide)
        BASE_PUSH(arena, &t, b);
    ck_assert(npz_write_file(ctx, path, &t, NPZ_STORED));
    s->options.expect = path;
    api_results r = {0};
    api_result one = {"y", x, false};
    BASE_PUSH(arena, &r, one);
    size_t size;
    FILE *f = open_memstream(text, &size);
    bool fine = api_judge(s, &r, f);
    ck_assert(!fclose(f) && !remove(path));
    free(*text);
    return fine;
}

static bool judged_as(api_session *s, double x, ir_dtype narrow_type, double narrow,
                      ir_dtype wide_type, double wide, bool has_wide, char **text)
{
    return judged_literals(s, LIST(IR_F32, x, 0), LIST(narrow_type, narrow, 0),
                           has_wide ? LIST(wide_type, wide, 0) : NULL, text);
}

static bool judged(api_session *s, double x, double narrow, double wide, bool has_wide, char **text)
{
    return judged_as(s, x, IR_F32, narrow, IR_F64, wide, has_wide, text);
}

START_TEST(what_is_expected_has_the_results_type)
{
    api_session *s = api_session_in(ctx, arena);
    char *text;
    ck_assert(!judged_as(s, 1, IR_I64, 1, IR_F64, 1, true, &text));
    ck_assert_msg(strstr(errors, "has out/y as i64[2], expected f32[2]"), "%s", errors);
    ck_assert(!judged_as(s, 1, IR_F32, 1, IR_F32, 1, true, &text));
    ck_assert_msg(strstr(errors, "has out64/y as f32[2], expected f64[2]"), "%s", errors);
    ck_assert(strstr(errors, "/tmp/gradc-expect-"));
}
END_TEST

START_TEST(distances_are_judged_by_the_files_own)
{
    api_session *s = api_session_in(ctx, arena);
    char *text;
    ck_assert(judged(s, 1.000009, 1, 1, false, &text));
    ck_assert(!judged(s, 1.00002, 1, 1, false, &text));
    ck_assert(judged(s, 1.0009, 1.0001, 1, true, &text));   /* ten times the file's own distance */
    ck_assert(!judged(s, 1.0011, 1.0001, 1, true, &text));
    ck_assert(!judged(s, NAN, 1, 1, true, &text));
    ck_assert(judged(s, 9e-6, 1e-12, 1e-12, true, &text));  /* zero: absolute */
    ck_assert(!judged(s, 2e-5, 0, 0, true, &text));
    s->options.f64 = true;
    ck_assert(judged(s, 1 + 1.0 / (1 << 24), 1.0001, 1, true, &text));
    ck_assert(!judged(s, 1.000001, 1.0001, 1, true, &text));
}
END_TEST

/* Else the limit, ten times the distance, would let anything pass. */
START_TEST(a_file_far_from_itself_judges_nothing)
{
    api_session *s = api_session_in(ctx, arena);
    char *text;
    ck_assert(judged(s, 1.5, 1.09, 1, true, &text));
    ck_assert(!judged(s, 1, 1.11, 1, true, &text));
    ck_assert_msg(
        strstr(errors, "is inconsistent: out/y is 0.11 from out64/y, expected at most 0.1"), "%s",
        errors);
    ck_assert(!judged(s, 1, INFINITY, 1, true, &text));
    ck_assert(!judged(s, 1, NAN, 1, true, &text));
    ir_literal *one = LIST(IR_F16, 1, 1, 1), *exact = LIST(IR_F64, 1, 1, 1);
    ck_assert(judged_literals(s, one, LIST(IR_F16, 1.09375, 1, 1), exact, &text));
    ck_assert(!judged_literals(s, one, LIST(IR_F16, 1.25, 1, 1), exact, &text));
    s->options.f64 = true; /* the value in double is enough */
    ck_assert(judged(s, 1, 2, 1, true, &text));
}
END_TEST

START_TEST(infinities_and_nan_agree_with_themselves_and_nothing_else)
{
    api_session *s = api_session_in(ctx, arena);
    char *text;
    const double odd[] = {INFINITY, -INFINITY, NAN};
    for (int i = 0; i < 9; i++) {
        double x = odd[i / 3], due = odd[i % 3];
        for (int wide = 0; wide < 2; wide++) {
            ir_literal *narrow = LIST(IR_F32, due, due, 1),
                       *exact = wide ? LIST(IR_F64, due, due, 1) : NULL;
            ck_assert_int_eq(judged_literals(s, LIST(IR_F32, x, x, 1), narrow, exact, &text),
                             i / 3 == i % 3);
            /* The others still count. */
            ck_assert(!judged_literals(s, LIST(IR_F32, due, due, 2), narrow, exact, &text));
            ck_assert(!judged_literals(s, LIST(IR_F32, due, 0, 1), narrow, exact, &text));
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("api");
    TCase *c = tcase_create("api");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, tensors_print_as_torch_prints_them);
    tcase_add_test(c, names_and_globs_choose_what_trains);
    tcase_add_test(c, wrong_options_are_faults_of_the_command_line);
    tcase_add_test(c, attached_losses_are_torchs);
    tcase_add_test(c, attached_losses_agree_with_differences);
    tcase_add_test(c, attached_losses_name_what_there_is);
    tcase_add_test(c, hyper_parameters_have_the_defaults_asked_for);
    tcase_add_test(c, outputs_whose_inputs_are_missing_are_left_out);
    tcase_add_test(c, members_are_renamed_to_names_only);
    tcase_add_test(c, functions_that_double_are_refused_before_they_grow);
    tcase_add_test(c, what_is_expected_has_the_results_type);
    tcase_add_test(c, distances_are_judged_by_the_files_own);
    tcase_add_test(c, a_file_far_from_itself_judges_nothing);
    tcase_add_test(c, infinities_and_nan_agree_with_themselves_and_nothing_else);
    suite_add_tcase(s, c);
    return suite_run(s);
}
