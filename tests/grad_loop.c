/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of scan, cond and call: first and second ones against central differences in double,
 * on the evaluator; what the passes and the partition make of them; and compiled code against the
 * evaluator. */
#include "api/machine.h"
#include "api/pipeline.h"
#include "ir/kernels.h"
#include "tests/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- The functions ---- */

/* Bodies that the functions below share. */
#define CELL /* h' = tanh(x + h R) */                                                              \
    "func @cell(%r : f64[3,3], %h : f64[2,3], %x : f64[2,3]) {\n"                                  \
    "  %d = dot_general %h, %r lhs_contract=[1] rhs_contract=[0] : f64[2,3]\n  %s = add %d, %x : " \
    "f64[2,3]\n  %n = tanh %s : f64[2,3]\n"                                                        \
    "  return %n, %n\n}\n"
#define SMOOTH /* x / (1 + x^2) */                                                               \
    "func @smooth(%x : f64[3]) {\n  %q = mul %x, %x : f64[3]\n  %l = log1p %q : f64[3]\n  %s = " \
    "sin %x : f64[3]\n  %m = mul %s, %l : f64[3]\n"                                              \
    "  return %m\n}\n"

typedef struct sample {
    const char *name, *text;
} sample;

static const sample samples[] = {
    {"a recurrent net",
     CELL "entry @f(input %r : f64[3,3], input %h : f64[2,3], input %x : f64[4,2,3]) {\n"
          "  %c, %y, %t = scan %r, %h, %x body=@cell consts=1 carries=1 length=4 reverse=0 live=0 "
          ": f64[2,3], f64[4,2,3], i64[]\n"
          "  return (output \"c\" %c, output \"y\" %y)\n}\n"},
    {"one that runs backward",
     CELL "entry @f(input %r : f64[3,3], input %h : f64[2,3], input %x : f64[4,2,3]) {\n"
          "  %c, %y, %t = scan %r, %h, %x body=@cell consts=1 carries=1 length=4 reverse=1 live=0 "
          ": f64[2,3], f64[4,2,3], i64[]\n"
          "  return (output \"c\" %c, output \"y\" %y)\n}\n"},
    {"the last state only",
     CELL "entry @f(input %r : f64[3,3], input %h : f64[2,3], input %x : f64[4,2,3]) {\n"
          "  %c, %y, %t = scan %r, %h, %x body=@cell consts=1 carries=1 length=4 reverse=0 live=0 "
          ": f64[2,3], f64[4,2,3], i64[]\n"
          "  return (output \"c\" %c)\n}\n"},
    {"the sequence only",
     CELL "entry @f(input %r : f64[3,3], input %h : f64[2,3], input %x : f64[4,2,3]) {\n"
          "  %c, %y, %t = scan %r, %h, %x body=@cell consts=1 carries=1 length=4 reverse=0 live=0 "
          ": f64[2,3], f64[4,2,3], i64[]\n"
          "  return (output \"y\" %y)\n}\n"},
    {"one step",
     CELL "entry @f(input %r : f64[3,3], input %h : f64[2,3], input %x : f64[1,2,3]) {\n"
          "  %c, %y, %t = scan %r, %h, %x body=@cell consts=1 carries=1 length=1 reverse=0 live=0 "
          ": f64[2,3], f64[1,2,3], i64[]\n"
          "  return (output \"c\" %c, output \"y\" %y)\n}\n"},
    {"no step", CELL "entry @f(input %r : f64[3,3], input %h : f64[2,3], input %x : f64[0,2,3]) {\n"
                     "  %c, %y, %t = scan %r, %h, %x body=@cell consts=1 carries=1 length=0 "
                     "reverse=0 live=0 : f64[2,3], f64[0,2,3], i64[]\n"
                     "  return (output \"c\" %c)\n}\n"},
    {"weights, bias and peephole inside",
     "func @cell(%w : f64[4,6], %r : f64[3,6], %b : f64[6], %p : f64[3], %h : f64[2,3], %c : "
     "f64[2,3], %x : f64[2,4]) {\n"
     "  %xw = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f64[2,6]\n  %hr = dot_general "
     "%h, %r lhs_contract=[1] rhs_contract=[0] : "
     "f64[2,6]\n"
     "  %bb = broadcast %b shape=[2,6] dims=[1] : f64[2,6]\n  %s1 = add %xw, %hr : f64[2,6]\n  %s "
     "= add %s1, %bb : f64[2,6]\n"
     "  %f_ = slice %s start=[0,0] limit=[2,3] stride=[1,1] : f64[2,3]\n  %g_ = slice %s "
     "start=[0,3] limit=[2,6] stride=[1,1] : f64[2,3]\n"
     "  %pb = broadcast %p shape=[2,3] dims=[1] : f64[2,3]\n  %pc = mul %pb, %c : f64[2,3]\n  %fp "
     "= add %f_, %pc : f64[2,3]\n"
     "  %f = logistic %fp : f64[2,3]\n  %g = tanh %g_ : f64[2,3]\n  %fc = mul %f, %c : f64[2,3]\n  "
     "%d = add %fc, %g : f64[2,3]\n"
     "  %t = tanh %d : f64[2,3]\n  %n = mul %t, %f : f64[2,3]\n  return %n, %d, %n\n}\n"
     "entry @f(input %w : f64[4,6], input %r : f64[3,6], input %b : f64[6], input %p : f64[3], "
     "input %h : f64[2,3], input %c : f64[2,3], input %x : "
     "f64[5,2,4]) {\n"
     "  %a, %d, %y, %t = scan %w, %r, %b, %p, %h, %c, %x body=@cell consts=4 carries=2 length=5 "
     "reverse=0 live=0 : f64[2,3], f64[2,3], f64[5,2,3], "
     "i64[]\n"
     "  return (output \"h\" %a, output \"c\" %d, output \"y\" %y)\n}\n"},
    {"constants used twice, operands used outside too",
     "func @body(%k : f64[3], %c : f64[3], %d : f64[3], %x : f64[3]) {\n"
     "  %a = mul %k, %c : f64[3]\n  %s = sin %x : f64[3]\n  %n = add %a, %s : f64[3]\n  %e = mul "
     "%d, %k : f64[3]\n  %m = mul %e, %n : f64[3]\n"
     "  %q = mul %m, %m : f64[3]\n  return %n, %m, %q, %s\n}\n"
     "entry @f(input %k : f64[3], input %c : f64[3], input %x : f64[4,3]) {\n"
     "  %a, %b, %q, %s, %t = scan %k, %c, %c, %x body=@body consts=1 carries=2 length=4 reverse=0 "
     "live=0 : f64[3], f64[3], f64[4,3], f64[4,3], "
     "i64[]\n"
     "  %z = mul %q, %x : f64[4,3]\n  %k2 = mul %k, %a : f64[3]\n  return (output \"z\" %z, output "
     "\"a\" %k2, output \"b\" %b)\n}\n"},
    {"carries that nothing needs, that stay, that change places, and integers",
     "func @body(%k : f64[], %a : f64[], %b : f64[], %c : f64[], %n : i64[], %u : f64[], %x : "
     "f64[]) {\n"
     "  %one = constant value=1 : i64[]\n  %m = add %n, %one : i64[]\n  %f = convert %m to=f64 : "
     "f64[]\n  %p = mul %a, %b : f64[]\n"
     "  %q = mul %p, %f : f64[]\n"
     "  %r = add %q, %x : f64[]\n  %v = mul %u, %k : f64[]\n  %ck = mul %c, %k : f64[]\n  %y = mul "
     "%r, %ck : f64[]\n  return %b, %r, %c, %m, %v, %y\n"
     "}\n"
     "entry @f(input %k : f64[], input %a : f64[], input %b : f64[], input %c : f64[], input %n : "
     "i64[], input %u : f64[], input %x : f64[3]) {\n"
     "  %a2, %b2, %c2, %n2, %u2, %y, %t = scan %k, %a, %b, %c, %n, %u, %x body=@body consts=1 "
     "carries=5 length=3 reverse=0 live=0 : f64[], f64[], "
     "f64[], i64[], f64[], f64[3], i64[]\n"
     "  return (output \"a\" %a2, output \"b\" %b2, output \"c\" %c2, output \"y\" %y)\n}\n"},
    {"an early exit", "func @body(%k : f64[3], %c : f64[3], %x : f64[3]) {\n"
                      "  %one = constant value=splat(1) : f64[3]\n  %i = div %one, %x : f64[3]\n  "
                      "%l = log %x : f64[3]\n  %a = mul %c, %k : f64[3]\n"
                      "  %b = mul %a, %l : f64[3]\n  %n = add %b, %i : f64[3]\n"
                      "  %s = reduce %n combine=sum axes=[0] : f64[]\n  %most = constant value=3 : "
                      "f64[]\n  %go = compare %s, %most relation=lt : bool[]\n"
                      "  %y = mul %n, %i : f64[3]\n  return %n, %y, %go\n}\n"
                      "entry @f(input %k : f64[3], input %c : f64[3], input %x_ : f64[6,3]) {\n"
                      "  %x = exp %x_ : f64[6,3]\n  %go = constant value=true : bool[]\n"
                      "  %a, %y, %t = scan %k, %c, %x, %go body=@body consts=1 carries=1 length=6 "
                      "reverse=0 live=1 : f64[3], f64[6,3], i64[]\n"
                      "  return (output \"a\" %a, output \"y\" %y, output \"trips\" %t)\n}\n"},
    {"an early exit running backward, with contractions",
     "func @body(%w : f64[3,3], %c : f64[3], %x : f64[3]) {\n"
     "  %one = constant value=splat(1) : f64[3]\n  %i = div %one, %x : f64[3]\n  %d = dot_general "
     "%c, %w lhs_contract=[0] rhs_contract=[1] : f64[3]\n"
     "  %e = dot_general %w, %x lhs_contract=[1] rhs_contract=[0] : f64[3]\n"
     "  %n_ = add %d, %e : f64[3]\n  %n = mul %n_, %i : f64[3]\n"
     "  %s = reduce %n combine=sum axes=[0] : f64[]\n  %most = constant value=2 : f64[]\n  %go = "
     "compare %s, %most relation=lt : bool[]\n"
     "  %y = mul %n, %i : f64[3]\n  return %n, %y, %go\n}\n"
     "entry @f(input %w : f64[3,3], input %c : f64[3], input %x_ : f64[6,3]) {\n"
     "  %x = exp %x_ : f64[6,3]\n  %go = constant value=true : bool[]\n"
     "  %a, %y, %t = scan %w, %c, %x, %go body=@body consts=1 carries=1 length=6 reverse=1 live=1 "
     ": f64[3], f64[6,3], i64[]\n"
     "  return (output \"a\" %a, output \"y\" %y, output \"trips\" %t)\n}\n"},
    {"a loop that does not start",
     "func @body(%k : f64[3], %c : f64[3], %x : f64[3]) {\n"
     "  %n = mul %c, %k : f64[3]\n  %m = div %n, %x : f64[3]\n  %go = constant value=true : "
     "bool[]\n  return %m, %m, %go\n}\n"
     "entry @f(input %k : f64[3], input %c : f64[3], input %x : f64[4,3]) {\n"
     "  %go = constant value=false : bool[]\n"
     "  %a, %y, %t = scan %k, %c, %x, %go body=@body consts=1 carries=1 length=4 reverse=0 live=1 "
     ": f64[3], f64[4,3], i64[]\n"
     "  return (output \"a\" %a, output \"y\" %y)\n}\n"},
    {"a scan in a scan", "func @inner(%k : f64[3], %o : f64[], %c : f64[3], %x : f64[3]) {\n"
                         "  %p = mul %c, %k : f64[3]\n  %ob = broadcast %o shape=[3] dims=[] : "
                         "f64[3]\n  %q = mul %x, %ob : f64[3]\n  %n = add %p, %q : f64[3]\n"
                         "  %s = sin %n : f64[3]\n  return %s, %n\n}\n"
                         "func @outer(%k : f64[3], %o : f64[], %x : f64[2,3]) {\n"
                         "  %z = sin %k : f64[3]\n  %c, %y, %t = scan %k, %o, %z, %x body=@inner "
                         "consts=2 carries=1 length=2 reverse=1 live=0 : f64[3], f64[2,3], i64[]\n"
                         "  %s = reduce %c combine=sum axes=[0] : f64[]\n  %p = mul %s, %o : "
                         "f64[]\n  return %p, %y\n}\n"
                         "entry @f(input %k : f64[3], input %o : f64[], input %x : f64[3,2,3]) {\n"
                         "  %p, %y, %t = scan %k, %o, %x body=@outer consts=1 carries=1 length=3 "
                         "reverse=0 live=0 : f64[], f64[3,2,3], i64[]\n"
                         "  return (output \"p\" %p, output \"y\" %y)\n}\n"},
    {"a cond, then",
     "func @then(%a : f64[3], %b : f64[3]) {\n  %e = exp %a : f64[3]\n  %s = sin %e : f64[3]\n  %m "
     "= mul %s, %b : f64[3]\n  return %m, %s\n}\n"
     "func @else(%a : f64[3], %b : f64[3]) {\n  %m = mul %a, %a : f64[3]\n  return %m, %b\n}\n"
     "entry @f(input %a : f64[3], input %b : f64[3]) {\n  %c = constant value=true : bool[]\n"
     "  %x, %y = cond %c, %a, %b then_body=@then else_body=@else : f64[3], f64[3]\n  return "
     "(output \"x\" %x, output \"y\" %y)\n}\n"},
    {"a cond, else",
     "func @then(%a : f64[3], %b : f64[3]) {\n  %e = exp %a : f64[3]\n  %s = sin %e : f64[3]\n  %m "
     "= mul %s, %b : f64[3]\n  return %m, %s\n}\n"
     "func @else(%a : f64[3], %b : f64[3]) {\n  %m = mul %a, %a : f64[3]\n  return %m, %b\n}\n"
     "entry @f(input %a : f64[3], input %b : f64[3]) {\n  %c = constant value=false : bool[]\n"
     "  %x, %y = cond %c, %a, %b then_body=@then else_body=@else : f64[3], f64[3]\n  return "
     "(output \"x\" %x, output \"y\" %y)\n}\n"},
    {"a cond in a scan, contractions in its branches",
     "func @then(%w : f64[3,3], %h : f64[2,3], %x : f64[2,3]) {\n  %d = dot_general %h, %w "
     "lhs_contract=[1] rhs_contract=[0] : f64[2,3]\n"
     "  %s = sin %d : f64[2,3]\n  %n = add %s, %x : f64[2,3]\n  return %n\n}\n"
     "func @else(%w : f64[3,3], %h : f64[2,3], %x : f64[2,3]) {\n  %d = dot_general %x, %w "
     "lhs_contract=[1] rhs_contract=[1] : f64[2,3]\n"
     "  %m = mul %d, %h : f64[2,3]\n  return %m\n}\n"
     "func @body(%w : f64[3,3], %h : f64[2,3], %n : i64[], %x : f64[2,3]) {\n"
     "  %two = constant value=2 : i64[]\n  %odd = rem %n, %two : i64[]\n  %zero = constant value=0 "
     ": i64[]\n"
     "  %c = compare %odd, %zero relation=ne : bool[]\n  %one = constant value=1 : i64[]\n  %n1 = "
     "add %n, %one : i64[]\n"
     "  %r = cond %c, %w, %h, %x then_body=@then else_body=@else : f64[2,3]\n  return %r, %n1, "
     "%r\n}\n"
     "entry @f(input %w : f64[3,3], input %h : f64[2,3], input %x : f64[4,2,3]) {\n  %n = constant "
     "value=0 : i64[]\n"
     "  %c, %n2, %y, %t = scan %w, %h, %n, %x body=@body consts=1 carries=2 length=4 reverse=0 "
     "live=0 : f64[2,3], i64[], f64[4,2,3], i64[]\n"
     "  return (output \"c\" %c, output \"y\" %y)\n}\n"},
    {"a scan in a cond", CELL
     "func @then(%r : f64[3,3], %h : f64[2,3], %x : f64[4,2,3]) {\n"
     "  %c, %y, %t = scan %r, %h, %x body=@cell consts=1 carries=1 length=4 reverse=0 live=0 : "
     "f64[2,3], f64[4,2,3], i64[]\n  return %c, %y\n}\n"
     "func @else(%r : f64[3,3], %h : f64[2,3], %x : f64[4,2,3]) {\n  %h2 = mul %h, %h : f64[2,3]\n "
     " %x2 = mul %x, %x : f64[4,2,3]\n"
     "  return %h2, %x2\n}\n"
     "entry @f(input %r : f64[3,3], input %h : f64[2,3], input %x : f64[4,2,3]) {\n  %p = constant "
     "value=true : bool[]\n"
     "  %q = constant value=false : bool[]\n"
     "  %c, %y = cond %p, %r, %h, %x then_body=@then else_body=@else : f64[2,3], f64[4,2,3]\n"
     "  %c2, %y2 = cond %q, %r, %c, %y then_body=@then else_body=@else : f64[2,3], f64[4,2,3]\n"
     "  return (output \"c\" %c2, output \"y\" %y2)\n}\n"},
    {"calls", SMOOTH "func @twice(%x : f64[3], %y : f64[3]) {\n  %a = call %x callee=@smooth : "
                     "f64[3]\n  %p = mul %a, %y : f64[3]\n"
                     "  %b = call %p callee=@smooth : f64[3]\n  return %b, %a\n}\n"
                     "entry @f(input %x : f64[3], input %y : f64[3]) {\n  %a, %b = call %x, %y "
                     "callee=@twice : f64[3], f64[3]\n"
                     "  %c, %d = call %b, %a callee=@twice : f64[3], f64[3]\n"
                     "  return (output \"c\" %c, output \"d\" %d, output \"a\" %a)\n}\n"},
    {"a call in a scan",
     SMOOTH "func @body(%k : f64[3], %c : f64[3]) {\n  %m = mul %k, %c : f64[3]\n  %s = call %m "
            "callee=@smooth : f64[3]\n  %n = add %s, %k : f64[3]\n"
            "  return %n\n}\n"
            "entry @f(input %k : f64[3], input %c : f64[3]) {\n  %a, %t = scan %k, %c body=@body "
            "consts=1 carries=1 length=3 reverse=0 live=0 : "
            "f64[3], i64[]\n  return (output \"a\" %a)\n}\n"},
    {"nothing carried", "func @body(%w : f64[3,2], %k : f64[2], %x : f64[3]) {\n  %d = dot_general "
                        "%x, %w lhs_contract=[0] rhs_contract=[0] : f64[2]\n"
                        "  %s = tanh %d : f64[2]\n  %m = mul %s, %k : f64[2]\n  return %m\n}\n"
                        "entry @f(input %w : f64[3,2], input %k : f64[2], input %x : f64[4,3]) {\n"
                        "  %y, %t = scan %w, %k, %x body=@body consts=2 carries=0 length=4 "
                        "reverse=0 live=0 : f64[4,2], i64[]\n  return (output \"y\" %y)\n}\n"},
    {"contractions with batch dimensions, and moves around them",
     "func @body(%w : f64[2,3,2], %q : f64[3,3], %h : f64[2,3], %x : f64[2,3,2]) {\n"
     "  %wt = transpose %w perm=[0,2,1] : f64[2,2,3]\n  %d = dot_general %x, %wt lhs_batch=[0] "
     "rhs_batch=[0] lhs_contract=[2] rhs_contract=[1] : "
     "f64[2,3,3]\n"
     "  %e = dot_general %q, %d lhs_contract=[1] rhs_contract=[1] : f64[3,2,3]\n  %s = reduce %e "
     "combine=sum axes=[0] : f64[2,3]\n"
     "  %n_ = mul %s, %h : f64[2,3]\n  %n = sin %n_ : f64[2,3]\n"
     "  %qs = slice %q start=[0,0] limit=[1,3] stride=[1,1] : f64[1,3]\n  %qr = reshape %qs "
     "shape=[3] : f64[3]\n"
     "  %y = dot_general %qr, %n lhs_contract=[0] rhs_contract=[1] : f64[2]\n  return %n, %y\n}\n"
     "entry @f(input %w : f64[2,3,2], input %q : f64[3,3], input %h : f64[2,3], input %x : "
     "f64[3,2,3,2]) {\n"
     "  %c, %y, %t = scan %w, %q, %h, %x body=@body consts=2 carries=1 length=3 reverse=0 live=0 : "
     "f64[2,3], f64[3,2], i64[]\n"
     "  return (output \"c\" %c, output \"y\" %y)\n}\n"},
    {"rows of a table",
     "func @body(%table : f64[5,3], %c : f64[3], %i : i64[2,1]) {\n  %g = gather %table, %i "
     "dims=[0] batch=0 : f64[2,3]\n"
     "  %s = reduce %g combine=sum axes=[0] : f64[3]\n  %m = mul %s, %c : f64[3]\n  %n = sin %m : "
     "f64[3]\n  return %n\n}\n"
     "entry @f(input %table : f64[5,3], input %c : f64[3], input %i : i64[3,2,1]) {\n"
     "  %a, %t = scan %table, %c, %i body=@body consts=1 carries=1 length=3 reverse=0 live=0 : "
     "f64[3], i64[]\n  return (output \"a\" %a)\n}\n"},
};
enum { SAMPLES = sizeof samples / sizeof *samples };

static ir_module *parse(const char *text)
{
    char *all = base_format(arena, "gir 1\nmodule \"m\"\n%s", text);
    ir_module *m = ir_parse(ctx, arena, all, strlen(all), "test", NULL);
    ck_assert_msg(m != NULL, "%s", first_error);
    return m;
}

/* ---- Differences ---- */

static bool is_float_port(const ir_port *p)
{
    return ir_is_float(p->value->type.dtype);
}

/* The joint function of f for cotangents of all its float results, from number `from` on, and
 * gradients of all its float inputs. */
static ir_func *joint_of(const ir_func *f, int from, const char *name)
{
    int ct[64], input[64], nct = 0, ninput = 0;
    for (int i = from; i < f->results.count; i++)
        if (is_float_port(&f->results.items[i]))
            ct[nct++] = i;
    for (int i = 0; i < f->params.count; i++)
        if (is_float_port(&f->params.items[i]))
            input[ninput++] = i;
    ir_func *j = ad_joint(
        f->module, f,
        &(ad_request){
            .loss = -1, .cotangents = ct, .ncotangents = nct, .inputs = input, .ninputs = ninput},
        name);
    ck_assert_msg(j != NULL, "%s", first_error);
    ir_verify(f->module);
    return j;
}

static ir_literal **inputs_of(const ir_func *f)
{
    ir_literal **args = base_array(arena, ir_literal *, f->params.count + 1);
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < f->params.count; i++) {
        args[i] = ir_literal_new(arena, &f->params.items[i].value->type);
        for (int64_t k = 0; k < ir_count(&args[i]->type); k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            if (is_float_port(&f->params.items[i]))
                ir_literal_set(args[i], k, (double)(random >> 11) * 0x1p-52 - 1);
            else
                ir_literal_set_int(args[i], k, (int64_t)(random % 3));
        }
    }
    return args;
}

static ir_literal **eval(base_arena *where, const ir_func *f, ir_literal *const *args)
{
    ir_literal **results = base_array(where, ir_literal *, f->results.count + 1);
    bool bad;
    ir_eval(where, f, args, results, &bad);
    ck_assert(!bad);
    return results;
}

/* Sum of the results from `from` on, each times its cotangent. */
static double weighed(const ir_func *f, int from, ir_literal *const *args, ir_literal *const *ct)
{
    base_arena *scratch = base_arena_new(ctx);
    ir_literal **r = eval(scratch, f, args);
    double sum = 0;
    for (int i = from, k = 0; i < f->results.count; i++) {
        if (!is_float_port(&f->results.items[i]))
            continue;
        for (int64_t j = 0; j < ir_count(&r[i]->type); j++)
            sum += ir_literal_get(r[i], j) * ir_literal_get(ct[k], j);
        k++;
    }
    base_arena_free(scratch);
    return sum;
}

/* The gradients that `joint` (of f) gives for args, against differences. */
static void check_gradients(const char *name, const ir_func *f, int from, const ir_func *joint,
                            ir_literal **args)
{
    ir_literal **got = eval(arena, joint, args), **ct = args + f->params.count;
    for (int i = 0, g = f->results.count; i < f->params.count; i++) {
        if (!is_float_port(&f->params.items[i]))
            continue;
        const ir_literal *gradient = got[g++];
        for (int64_t k = 0; k < ir_count(&args[i]->type); k++) {
            double x = ir_literal_get(args[i], k), step = 1e-5;
            ir_literal_set(args[i], k, x + step);
            double above = weighed(f, from, args, ct);
            ir_literal_set(args[i], k, x - step);
            double below = weighed(f, from, args, ct);
            ir_literal_set(args[i], k, x);
            double due = (above - below) / (2 * step), is = ir_literal_get(gradient, k);
            ck_assert_msg(fabs(due - is) <= 2e-7 * (1 + fabs(due)),
                          "%s: gradient of input %d [%d] is %.10g, %.10g by differences", name, i,
                          (int)k, is, due);
        }
    }
}

START_TEST(first_derivatives_are_right)
{
    const sample *s = &samples[_i];
    const ir_func *f = ir_func_by_name(parse(s->text), "f"), *joint = joint_of(f, 0, "joint");
    check_gradients(s->name, f, 0, joint, inputs_of(joint));
}
END_TEST

START_TEST(second_derivatives_are_right)
{
    const sample *s = &samples[_i];
    const ir_func *f = ir_func_by_name(parse(s->text), "f"), *joint = joint_of(f, 0, "joint"),
                  *twice = joint_of(joint, f->results.count, "twice");
    check_gradients(s->name, joint, f->results.count, twice, inputs_of(twice));
}
END_TEST

/* ---- Compiled ---- */

/* f as the only entry of its module, with ports that any header can name; the module is its own. */
static ir_module *only_entry(const char *text, bool second)
{
    ir_module *m = parse(text);
    ir_func *f = ir_func_by_name(m, "f"), *joint = joint_of(f, 0, "joint"),
            *entry = second ? joint_of(joint, f->results.count, "twice") : joint;
    ir_func_remove(f);
    if (second)
        ir_func_remove(joint);
    entry->entry = true;
    ir_func_rename(entry, "forward");
    for (int i = 0; i < entry->params.count; i++) {
        entry->params.items[i].role = IR_DATA;
        entry->params.items[i].name = base_format(arena, "in%d", i);
    }
    for (int i = 0; i < entry->results.count; i++) {
        entry->results.items[i].role = IR_DATA;
        entry->results.items[i].name = base_format(arena, "out%d", i);
    }
    ir_verify(m);
    return m;
}

static api_machine *machine_of(ir_module *m, uint32_t threads)
{
    api_run_passes(m, NULL);
    cg_spec spec = {m, NULL};
    const train_optimizer *momentum = train_optimizer_by_name("momentum");
    cg_default hyper[8];
    for (int i = 0; i < train_hyper_count(momentum); i++)
        hyper[i] = (cg_default){train_hyper_name(momentum, i), train_hyper_default(momentum, i)};
    const cg_request request = {.prefix = "m",
                                .spec = &spec,
                                .nspecs = 1,
                                .level = 1,
                                .embed = true,
                                .hyper = hyper,
                                .nhyper = train_hyper_count(momentum)};
    const cg_object *o = cg_compile(ctx, arena, &request);
    ck_assert_msg(o != NULL, "%s", first_error);
    api_machine *x = api_machine_new(ctx, arena, o, &(api_machine_options){.threads = threads});
    ck_assert_msg(x != NULL, "%s", first_error);
    return x;
}

static void near(const char *name, const char *what, const ir_literal *got, const ir_literal *due,
                 double tolerance)
{
    ck_assert(ir_type_eq(&got->type, &due->type));
    for (int64_t i = 0; i < ir_count(&due->type); i++) {
        double x = ir_literal_get(got, i), y = ir_literal_get(due, i);
        ck_assert_msg(fabs(x - y) <= tolerance * (1 + fabs(y)),
                      "%s: %s [%d] is %.10g, expected %.10g", name, what, (int)i, x, y);
    }
}

static void check_compiled(const sample *s, bool second)
{
    const ir_func *plain = ir_func_by_name(only_entry(s->text, second), "forward");
    ir_literal **args = inputs_of(plain), **due = eval(arena, plain, args),
               **got = base_array(arena, ir_literal *, plain->results.count + 1);
    api_machine *x = machine_of(only_entry(s->text, second), second ? 2 : 1);
    for (int i = 0; i < plain->params.count; i++)
        api_machine_set(x, CG_INPUTS, plain->params.items[i].name, args[i]->data);
    for (int i = 0; i < plain->results.count; i++) {
        got[i] = ir_literal_new(arena, &due[i]->type);
        ck_assert(api_machine_set(x, CG_OUTPUTS, plain->results.items[i].name, got[i]->data));
    }
    ck_assert_msg(api_machine_ok(x, GRADC_RT_FORWARD, api_machine_call(x, GRADC_RT_FORWARD, false)),
                  "%s", first_error);
    for (int i = 0; i < plain->results.count; i++)
        near(s->name, plain->results.items[i].name, got[i], due[i], 1e-9);
    api_machine_free(x);
}

START_TEST(compiled_first_derivatives_agree)
{
    check_compiled(&samples[_i], false);
}
END_TEST

START_TEST(compiled_second_derivatives_agree)
{
    check_compiled(&samples[_i], true);
}
END_TEST

/* ---- Training ---- */

/* An LSTM over 5 steps and a batch of $m; its last state and all its outputs are in the loss. $n is
 * the number of hidden units, $2, $3 and $g are two, three and four times that. */
static const char lstm_text[] =
    "param \"w\" : f64[$g,4] trainable\nparam \"r\" : f64[$g,$n] trainable\nparam \"b\" : f64[$g] "
    "trainable\n"
    "func @cell(%r : f64[$g,$n], %h : f64[$m,$n], %c : f64[$m,$n], %x : f64[$m,$g]) {\n"
    "  %hr = dot_general %h, %r lhs_contract=[1] rhs_contract=[1] : f64[$m,$g]\n  %s = add %x, %hr "
    ": f64[$m,$g]\n"
    "  %i_ = slice %s start=[0,0] limit=[$m,$n] stride=[1,1] : f64[$m,$n]\n  %o_ = slice %s "
    "start=[0,$n] limit=[$m,$2] stride=[1,1] : f64[$m,$n]\n"
    "  %f_ = slice %s start=[0,$2] limit=[$m,$3] stride=[1,1] : f64[$m,$n]\n  %g_ = slice %s "
    "start=[0,$3] limit=[$m,$g] stride=[1,1] : f64[$m,$n]\n"
    "  %i = logistic %i_ : f64[$m,$n]\n  %o = logistic %o_ : f64[$m,$n]\n  %f = logistic %f_ : "
    "f64[$m,$n]\n  %g = tanh %g_ : f64[$m,$n]\n"
    "  %fc = mul %f, %c : f64[$m,$n]\n  %ig = mul %i, %g : f64[$m,$n]\n  %d = add %fc, %ig : "
    "f64[$m,$n]\n  %t = tanh %d : f64[$m,$n]\n"
    "  %n = mul %o, %t : f64[$m,$n]\n  return %n, %d, %n\n}\n"
    "entry @forward(input %x : f64[5,$m,4], input %h : f64[$m,$n], state %w : f64[$g,4], state %r "
    ": f64[$g,$n], state %b : f64[$g]) {\n"
    "  %xw = dot_general %x, %w lhs_contract=[2] rhs_contract=[1] : f64[5,$m,$g]\n  %bb = "
    "broadcast %b shape=[5,$m,$g] dims=[2] : f64[5,$m,$g]\n"
    "  %p = add %xw, %bb : f64[5,$m,$g]\n"
    "  %r2 = add %r, %r : f64[$g,$n]\n  %hn, %cn, %y, %t = scan %r2, %h, %h, %p body=@cell "
    "consts=1 carries=2 length=5 : f64[$m,$n], f64[$m,$n], "
    "f64[5,$m,$n], i64[]\n"
    "  %y2 = mul %y, %y : f64[5,$m,$n]\n  %l1 = reduce %y2 combine=sum axes=[0,1,2] : f64[]\n  %l2 "
    "= reduce %cn combine=sum axes=[0,1] : f64[]\n"
    "  %loss = add %l1, %l2 : f64[]\n"
    "  return (output \"loss\" %loss loss, output \"y\" %y)\n}\n";

static const char *lstm_of(int m, int n)
{
    char *out = base_alloc(arena, 4 * sizeof lstm_text), *to = out;
    for (const char *at = lstm_text; *at; at++)
        if (*at == '$')
            to += sprintf(to, "%d",
                          *++at == 'm' ? m
                          : *at == 'n' ? n
                          : *at == 'g' ? 4 * n
                                       : (*at - '0') * n);
        else
            *to++ = *at;
    return out;
}

static ir_module *trained(const char *text)
{
    ir_module *m = parse(text);
    uint64_t random = 4242;
    for (int i = 0; i < m->states.count; i++) {
        ir_state *s = m->states.items[i];
        s->init = ir_literal_new(arena, &s->type);
        for (int64_t k = 0; k < ir_count(&s->type); k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            ir_literal_set(s->init, k, (double)(random >> 40) * 0x1p-23 - 1);
        }
    }
    int x = 0;
    const train_options o = {.optimizer = train_optimizer_by_name("momentum"),
                             .wrt = &x,
                             .nwrt = 1,
                             .step = true,
                             .split = true};
    ck_assert_msg(train_build(m, &o), "%s", first_error);
    ir_verify(m);
    return m;
}

/* Runs an entry on the evaluator: states are read and updated; the inputs by name; results of role
 * gradient go to *dx. */
static void run_entry(ir_module *m, const char *name, ir_literal **state, ir_literal *const *in,
                      ir_literal **out, ir_literal **dx)
{
    static const char *const inputs[] = {"x", "h"};
    const ir_func *f = ir_func_by_name(m, name);
    ir_literal **args = base_array(arena, ir_literal *, f->params.count + 1);
    const train_optimizer *momentum = train_optimizer_by_name("momentum");
    for (int i = 0; i < f->params.count; i++) {
        const ir_port *p = &f->params.items[i];
        args[i] = p->state ? state[p->state->index] : ir_literal_new(arena, &p->value->type);
        for (int k = 0; k < 2 && !p->state; k++)
            args[i] = p->role == IR_DATA && !strcmp(p->name, inputs[k]) ? in[k] : args[i];
        for (int k = 0; p->role == IR_HYPER && k < train_hyper_count(momentum); k++)
            if (!strcmp(p->name, train_hyper_name(momentum, k)))
                ir_literal_set(args[i], 0, train_hyper_default(momentum, k));
        if (p->role == IR_GRADIENT)
            ir_literal_set(args[i], 0, 1);
    }
    ir_literal **results = eval(arena, f, args);
    for (int i = 0, n = 0; i < f->results.count; i++) {
        const ir_port *p = &f->results.items[i];
        if (p->state)
            state[p->state->index] = results[i];
        else if (p->role == IR_GRADIENT)
            *dx = results[i];
        else
            out[n++] = results[i];
    }
}

static ir_literal **states_of(const ir_module *m)
{
    ir_literal **state = base_array(arena, ir_literal *, m->states.count + 1);
    for (int i = 0; i < m->states.count; i++)
        state[i] = m->states.items[i]->init ? m->states.items[i]->init
                                            : ir_literal_new(arena, &m->states.items[i]->type);
    return state;
}

static ir_literal **lstm_inputs(void)
{
    ir_module *m = parse(lstm_of(3, 2));
    return inputs_of(ir_func_by_name(m, "forward"));
}

START_TEST(parts_of_a_step_give_the_step)
{
    ir_module *m = trained(lstm_of(3, 2));
    ir_literal **whole = states_of(m), **parts = states_of(m), **in = lstm_inputs(), *out[2],
               *same[2], *dx = NULL;
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < m->states.count; i++)
            if (m->states.items[i]->kind == IR_GRAD)
                parts[i] = ir_literal_new(arena, &m->states.items[i]->type);
        run_entry(m, "forward_train", parts, in, out, &dx);
        run_entry(m, "backward", parts, in, out, &dx);
        run_entry(m, "update", parts, in, out, &dx);
        run_entry(m, "step", whole, in, same, &dx);
        near("lstm", "loss", same[0], out[0], 1e-12);
        for (int i = 0; i < m->states.count; i++)
            if (m->states.items[i]->kind == IR_PARAM || m->states.items[i]->kind == IR_SLOT)
                near("lstm", m->states.items[i]->name, whole[i], parts[i], 1e-12);
    }
    ck_assert_ptr_nonnull(dx);
}
END_TEST

/* The same, compiled, against the evaluator. */
START_TEST(compiled_training_agrees)
{
    ir_module *plain = trained(lstm_of(3, 2));
    ir_literal **state = states_of(plain), **in = lstm_inputs(), *out[2], *dx = NULL;
    api_machine *x = machine_of(trained(lstm_of(3, 2)), 2);
    double loss, y[30], got_dx[60];
    api_machine_set(x, CG_INPUTS, "x", in[0]->data);
    api_machine_set(x, CG_INPUTS, "h", in[1]->data);
    api_machine_set(x, CG_OUTPUTS, "loss", &loss);
    api_machine_set(x, CG_OUTPUTS, "y", y);
    api_machine_set(x, CG_INPUT_GRADS, "x", got_dx);
    for (int turn = 0; turn < 3; turn++) {
        run_entry(plain, "forward_train", state, in, out, &dx);
        run_entry(plain, "backward", state, in, out, &dx);
        ck_assert(!api_machine_call(x, GRADC_RT_FORWARD_TRAIN, false) &&
                  !api_machine_call(x, GRADC_RT_BACKWARD, false));
        ck_assert(fabs(loss - ir_literal_get(out[0], 0)) < 1e-9 &&
                  fabs(y[29] - ir_literal_get(out[1], 29)) < 1e-9);
        for (int i = 0; i < 60; i++)
            ck_assert_msg(fabs(got_dx[i] - ir_literal_get(dx, i)) < 1e-9, "x [%d]: %g, expected %g",
                          i, got_dx[i], ir_literal_get(dx, i));
        run_entry(plain, turn ? "step" : "update", state, in, out, &dx); /* both, and in the mix */
        ck_assert(!api_machine_call(x, turn ? GRADC_RT_STEP : GRADC_RT_UPDATE, false));
        const gradc_rt_tensor *t;
        for (size_t i = 0; (t = api_machine_param(x, i)); i++) {
            const ir_state *s = ir_state_by_name(plain, t->name);
            ir_literal *value = ir_literal_new(arena, &s->type);
            ck_assert(!gradc_rt_param_get(api_machine_ctx(x), i, value->data));
            near("lstm", s->name, value, state[s->index], 1e-9);
        }
    }
    api_machine_free(x);
}
END_TEST

static int count(const ir_func *f, ir_op op)
{
    int n = 0;
    IR_FOR (inst, f)
        n += inst->op == op;
    return n;
}

static const ir_inst *only_scan(const ir_func *f)
{
    const ir_inst *scan = NULL;
    IR_FOR (inst, f)
        if (inst->op == IR_OP_scan) {
            ck_assert_ptr_null(scan);
            scan = inst;
        }
    ck_assert_ptr_nonnull(scan);
    return scan;
}

/* An iteration of backward has only the contraction that the next one needs; those of weights and
 * inputs, and the bias's sum, follow the loop. Forward saves its ys, the gates' sums and the cells'
 * states, and nothing twice. */
START_TEST(weights_are_contracted_once)
{
    ir_module *m = trained(lstm_of(3, 2));
    const ir_func *backward = ir_func_by_name(m, "backward"),
                  *forward = ir_func_by_name(m, "forward_train");
    const ir_inst *scan = only_scan(backward);
    const ir_func *body = IR_ATTR(scan, scan)->body;
    ck_assert_int_eq(count(body, IR_OP_dot_general), 1);
    ck_assert_int_eq(count(body, IR_OP_reduce), 0);
    ck_assert_int_eq(count(backward, IR_OP_dot_general), 3); /* dW, dR, dx */
    ck_assert_int_eq(count(backward, IR_OP_reduce), 1);
    ck_assert_int_eq(IR_ATTR(scan, scan)->carries, 2);
    ck_assert_int_eq(count(IR_ATTR(only_scan(forward), scan)->body, IR_OP_dot_general), 1);
    ck_assert_int_eq(count(ir_func_by_name(m, "step"), IR_OP_scan), 2);
    int64_t bytes = 0;
    for (int i = 0; i < m->states.count; i++)
        if (m->states.items[i]->kind == IR_SAVED)
            bytes += ir_bytes(&m->states.items[i]->type);
    ck_assert_int_le(bytes, 5 * 3 * (2 + 8 + 2) * 8 + 8 * 2 * 8); /* and R */
}
END_TEST

/* Forward's iteration is the contraction with its sum, and one kernel for all gates; backward's the
 * kernel of all gates and the contraction. Nothing is copied into another order. */
START_TEST(iterations_are_few_kernels)
{
    ir_module *m = trained(lstm_of(16, 128));
    api_run_passes(m, NULL);
    const ir_func *forward = ir_func_by_name(m, "forward_train"),
                  *backward = ir_func_by_name(m, "backward");
    ck_assert_int_eq(IR_ATTR(only_scan(forward), scan)->body->plan->kernels.count, 2);
    ck_assert_int_eq(IR_ATTR(only_scan(backward), scan)->body->plan->kernels.count, 2);
}
END_TEST

START_TEST(while_has_no_derivative)
{
    const ir_func *f = ir_func_by_name(
        parse("func @test(%x : f64[]) {\n  %m = constant value=9 : f64[]\n  %c = compare %x, %m "
              "relation=lt : bool[]\n  return %c\n}\n"
              "func @body(%x : f64[]) {\n  %y = mul %x, %x : f64[]\n  return %y\n}\n"
              "func @outer(%c : f64[]) {\n  %y = while_loop %c test=@test body=@body consts=0 "
              "limit=5 : f64[]\n  return %y\n}\n"
              "entry @f(input %x : f64[]) {\n  %y, %t = scan %x body=@outer consts=0 carries=1 "
              "length=3 : f64[], i64[]\n  return (output \"y\" %y)\n"
              "}\n"),
        "f");
    int zero = 0;
    ck_assert_ptr_null(
        ad_joint(f->module, f, &(ad_request){.loss = 0, .inputs = &zero, .ninputs = 1}, "joint"));
    ck_assert_ptr_nonnull(strstr(first_error, ": no derivative rule for `while_loop`"));
    ir_verify(f->module);
}
END_TEST

START_TEST(what_would_be_saved_has_a_limit)
{
    static const char *const texts[] = {
        "func @body(%c : f64[1000,1000]) {\n  %n = sin %c : f64[1000,1000]\n  return %n\n}\n"
        "entry @f(input %x : f64[1000,1000]) {\n  %y, %t = scan %x body=@body consts=0 carries=1 "
        "length=200000 : f64[1000,1000], i64[]\n"
        "  return (output \"y\" %y)\n}\n",
        "func @body(%c : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]) {\n  %n = sin %c : "
        "f64[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]\n  return %n\n}\n"
        "entry @f(input %x : f64[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]) {\n  %y, %t = scan %x "
        "body=@body consts=0 carries=1 length=2 : "
        "f64[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2], i64[]\n"
        "  return (output \"y\" %y)\n}\n"};
    const ir_func *f = ir_func_by_name(parse(texts[_i]), "f");
    base_try frame;
    int zero = 0;
    if (!setjmp(base_try_push(ctx, &frame))) {
        ad_joint(
            f->module, f,
            &(ad_request){
                .loss = -1, .cotangents = &zero, .ncotangents = 1, .inputs = &zero, .ninputs = 1},
            "joint");
        ck_abort_msg("not refused");
    }
    ck_assert_msg(strstr(first_error, "are too large or have too high a rank") != NULL, "%s",
                  first_error);
}
END_TEST

/* d sin(x) / dx is given as 1, which shows whether the rule is used. */
START_TEST(custom_derivatives_are_called)
{
    ir_module *m =
        parse("func @sin(%x : f64[], %n : i64[]) {\n  %y = sin %x : f64[]\n  return %y, %y\n}\n"
              "func @one(%x : f64[], %n : i64[], %y : f64[], %y2 : f64[], %c : f64[], %c2 : f64[]) "
              "{\n  %a = mul %c, %x : f64[]\n"
              "  %b = add %a, %c2 : f64[]\n  return %b, %n\n}\n"
              "func @body(%c : f64[], %n : i64[]) {\n  %y, %z = call %c, %n callee=@sin vjp=@one : "
              "f64[], f64[]\n  return %y, %n\n}\n"
              "entry @f(input %x : f64[], input %n : i64[]) {\n  %y, %k, %t = scan %x, %n "
              "body=@body consts=0 carries=2 length=2 : f64[], "
              "i64[], i64[]\n  return (output \"y\" %y)\n}\n");
    ir_func *joint = joint_of(ir_func_by_name(m, "f"), 0, "joint"),
            *twice = joint_of(joint, 1, "twice");
    ir_literal **args = inputs_of(twice);
    double x = ir_literal_get(args[0], 0), c = ir_literal_get(args[2], 0),
           c2 = ir_literal_get(args[3], 0);
    ck_assert(fabs(ir_literal_get(eval(arena, joint, args)[1], 0) - c * sin(x) * x) < 1e-12);
    /* the second derivative differentiates the rule: d (c y x) with y = sin x, whose derivative is
     * again x */
    ck_assert(fabs(ir_literal_get(eval(arena, twice, args)[2], 0) - c2 * c * (sin(x) + x * x)) <
              1e-12);
}
END_TEST

/* A derivative given as a function, and a branch in it, computes in backward: what is inlined of it
 * does not move to forward. */
START_TEST(what_a_derivative_calls_is_backward)
{
    ir_module *m = parse(
        "func @mean(%x : f64[2,2]) {\n  %h = constant value=0.5 : f64[]\n  %s = reduce %x "
        "combine=sum axes=[1] : f64[2]\n"
        "  %w = broadcast %h shape=[2] : f64[2]\n  %y = mul %s, %w : f64[2]\n  return %y\n}\n"
        "func @none(%x : f64[2,2], %y : f64[2], %c : f64[2]) {\n  %z = constant value=0 : f64[]\n"
        "  %w = broadcast %z shape=[2,2] : f64[2,2]\n  return %w\n}\n"
        "func @some(%x : f64[2,2], %y : f64[2], %c : f64[2]) {\n  %w = broadcast %c shape=[2,2] "
        "dims=[0] : f64[2,2]\n"
        "  %a = mul %x, %w : f64[2,2]\n  %s = reduce %c combine=sum axes=[0] : f64[]\n"
        "  %t = broadcast %s shape=[2,2] : f64[2,2]\n  %b = add %a, %t : f64[2,2]\n  return %b\n}\n"
        "func @slope(%x : f64[2,2], %y : f64[2], %c : f64[2]) {\n  %t = constant value=true : "
        "bool[]\n"
        "  %a = cond %t, %x, %y, %c then_body=@some else_body=@none : f64[2,2]\n  return %a\n}\n"
        "func @body(%k : f64[2,2]) {\n  %m = mul %k, %k : f64[2,2]\n"
        "  %y = call %m callee=@mean vjp=@slope : f64[2]\n  return %y\n}\n"
        "entry @f(input %x : f64[3,2,2]) {\n  %y, %t = scan %x body=@body consts=0 carries=0 "
        "length=3 : f64[3,2], i64[]\n"
        "  return (output \"y\" %y)\n}\n");
    ir_func *joint = joint_of(ir_func_by_name(m, "f"), 0, "joint");
    ir_literal **args = inputs_of(joint), **got = eval(arena, joint, args);
    for (int64_t i = 0; i < 12; i++) {
        double x = ir_literal_get(args[0], i), c = ir_literal_get(args[1], i / 2),
               other = ir_literal_get(args[1], i / 2 ^ 1), due = 2 * x * (x * x * c + c + other);
        ck_assert(fabs(ir_literal_get(got[1], i) - due) < 1e-12);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("grad_loop");
    TCase *c = tcase_create("grad_loop");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_loop_test(c, first_derivatives_are_right, 0, SAMPLES);
    tcase_add_loop_test(c, second_derivatives_are_right, 0, SAMPLES);
    tcase_add_loop_test(c, compiled_first_derivatives_agree, 0, SAMPLES);
    tcase_add_loop_test(c, compiled_second_derivatives_agree, 0, SAMPLES);
    tcase_add_test(c, parts_of_a_step_give_the_step);
    tcase_add_test(c, compiled_training_agrees);
    tcase_add_test(c, weights_are_contracted_once);
    tcase_add_test(c, iterations_are_few_kernels);
    tcase_add_test(c, while_has_no_derivative);
    tcase_add_test(c, custom_derivatives_are_called);
    tcase_add_test(c, what_a_derivative_calls_is_backward);
    tcase_add_loop_test(c, what_would_be_saved_has_a_limit, 0, 2);
    suite_add_tcase(s, c);
    return suite_run(s);
}
