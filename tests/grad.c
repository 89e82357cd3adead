/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Every derivative rule, by differences: first derivatives, and second ones by differentiating the
 * joint function again. The table has a case or more for each op whose vjp column in ir/ops.def
 * names a rule; an op without one fails. */
#include "tests/grad.h"

/* Parameters (their first letter: tests/grad.h), and instructions, of which the last is the one
 * that is tested. */
static const struct { const char *params, *body;
} cases[] = {
    /* elementwise, one operand */
    {"%x : f64[3,2]", "%y = neg %x : f64[3,2]"},
    {"%x : f64[7]", "%y = abs %x : f64[7]"},
    {"%p : f64[7]", "%y = sqrt %p : f64[7]"},
    {"%p : f64[7]", "%y = rsqrt %p : f64[7]"},
    {"%x : f64[7]", "%y = exp %x : f64[7]"},
    {"%x : f64[7]", "%y = expm1 %x : f64[7]"},
    {"%p : f64[7]", "%y = log %p : f64[7]"},
    {"%p : f64[7]", "%y = log1p %p : f64[7]"},
    {"%x : f64[]", "%y = sin %x : f64[]"},
    {"%x : f64[7]", "%y = cos %x : f64[7]"},
    {"%u : f64[7]", "%y = tan %u : f64[7]"},
    {"%u : f64[7]", "%y = asin %u : f64[7]"},
    {"%u : f64[7]", "%y = acos %u : f64[7]"},
    {"%x : f64[7]", "%y = atan %x : f64[7]"},
    {"%x : f64[7]", "%y = sinh %x : f64[7]"},
    {"%x : f64[7]", "%y = cosh %x : f64[7]"},
    {"%x : f64[7]", "%y = asinh %x : f64[7]"},
    {"%a : f64[7]", "%y = acosh %a : f64[7]"},
    {"%u : f64[7]", "%y = atanh %u : f64[7]"},
    {"%x : f64[7]", "%y = tanh %x : f64[7]"},
    {"%x : f64[7]", "%y = erf %x : f64[7]"},
    {"%x : f64[7]", "%y = logistic %x : f64[7]"},
    {"%x : f64[7]", "%y = convert %x to=f64 : f64[7]"},
    {"%x : f64[7]", "%y = copy %x : f64[7]"},
    /* elementwise, two operands and more; one operand twice */
    {"%x : f64[3,2], %y : f64[3,2]", "%z = add %x, %y : f64[3,2]"},
    {"%x : f64[3,2]", "%z = add %x, %x : f64[3,2]"},
    {"%x : f64[3,2], %y : f64[3,2]", "%z = sub %x, %y : f64[3,2]"},
    {"%x : f64[3,2], %y : f64[3,2]", "%z = mul %x, %y : f64[3,2]"},
    {"%x : f64[3,2]", "%z = mul %x, %x : f64[3,2]"},
    {"%x : f64[3,2], %y : f64[3,2]", "%z = div %x, %y : f64[3,2]"},
    {"%x : f64[3,2]", "%one = constant value=splat(1) : f64[3,2]\n %z = div %one, %x : f64[3,2]"},
    {"%u : f64[5], %x : f64[5]", /* quotients between whole numbers */
     "%k = constant value=[0.5, 3.5, -1.5, -0.5, 6.5] : f64[5]\n %c = constant value=splat(0.4) : "
     "f64[5]\n %v = mul %u, %c : f64[5]\n"
     " %q = add %v, %k : f64[5]\n %far = mul %q, %x : f64[5]\n %z = rem %far, %x : f64[5]"},
    {"%p : f64[9], %x : f64[9]", "%z = pow %p, %x : f64[9]"},
    {"%p : f64[9]", "%c = constant value=splat(2.5) : f64[9]\n %z = pow %p, %c : f64[9]"},
    {"%x : f64[9]", "%c = constant value=splat(3) : f64[9]\n %z = pow %x, %c : f64[9]"},
    {"%x : f64[9]", "%c = constant value=splat(1.5) : f64[9]\n %z = pow %c, %x : f64[9]"},
    {"%p : f64[9]", "%z = pow %p, %p : f64[9]"},
    {"%x : f64[9]",
     "%c = constant value=[0, 1, 2, 3, 4, -1, -2, 0, 2] : f64[9]\n %z = pow %x, %c : f64[9]"},
    {"%d : f64[9], %d2 : f64[9]", "%z = max %d, %d2 : f64[9]"},
    {"%d : f64[9], %d2 : f64[9]", "%z = min %d, %d2 : f64[9]"},
    {"%x : f64[9], %y : f64[9]", "%z = atan2 %x, %y : f64[9]"},
    {"%c : bool[9], %x : f64[9], %y : f64[9]", "%z = select %c, %x, %y : f64[9]"},
    {"%c : bool[9], %x : f64[9]", "%z = select %c, %x, %x : f64[9]"},
    /* moves */
    {"%x : f64[6,4]", "%y = reshape %x shape=[3,8] : f64[3,8]"},
    {"%x : f64[3]", "%y = broadcast %x shape=[2,3,4] dims=[1] : f64[2,3,4]"},
    {"%x : f64[3,1]", "%y = broadcast %x shape=[2,3,1,4] dims=[1,3] : f64[2,3,1,4]"},
    {"%x : f64[1,1]", "%y = broadcast %x shape=[1,3] dims=[0,1] : f64[1,3]"},
    {"%x : f64[]", "%y = broadcast %x shape=[2,2] : f64[2,2]"},
    {"%x : f64[2,3,4]", "%y = transpose %x perm=[2,0,1] : f64[4,2,3]"},
    {"%x : f64[5,7]", "%y = slice %x start=[1,0] limit=[5,6] stride=[2,3] : f64[2,2]"},
    {"%x : f64[5,7]", "%y = slice %x start=[0,6] limit=[5,7] stride=[1,9] : f64[5,1]"},
    {"%x : f64[5,7]", "%y = slice %x start=[4,2] limit=[5,7] "
                      "stride=[9223372036854775807,4611686018427387904] : f64[1,1]"},
    {"%x : f64[3,4], %v : f64[]",
     "%y = pad %x, %v low=[1,2] high=[0,3] interior=[2,1] : f64[8,12]"},
    {"%x : f64[5,6], %v : f64[]",
     "%y = pad %x, %v low=[-1,2] high=[1,-3] interior=[1,0] : f64[9,5]"},
    {"%x : f64[5,6], %v : f64[]",
     "%y = pad %x, %v low=[-2,-1] high=[-1,-2] interior=[1,2] : f64[6,13]"},
    {"%x : f64[2], %v : f64[]", "%y = pad %x, %v low=[3] high=[-4] interior=[0] : f64[1]"},
    {"%x : f64[0,2], %v : f64[]", "%y = pad %x, %v low=[2,0] high=[1,1] interior=[3,0] : f64[3,3]"},
    {"%x : f64[2,3], %y : f64[2,1], %z : f64[2,0]", "%w = concat %x, %z, %y, %x axis=1 : f64[2,7]"},
    {"%x : f64[2,3,4]", "%y = reverse %x axes=[0,2] : f64[2,3,4]"},
    /* indices: slices, elements, repeated ones, batches */
    {"%x : f64[5,3]", "%i = constant value=[[3],[0],[3],[4]] : i64[4,1]\n %y = gather %x, %i "
                      "dims=[0] batch=0 : f64[4,3]"},
    {"%x : f64[3,4,2]", "%i = constant value=[[[1,0],[1,1]],[[3,0],[1,0]]] : i32[2,2,2]\n %y = "
                        "gather %x, %i dims=[1,2] batch=0 : f64[2,2,3]"},
    {"%x : f64[2,4,3]", "%i = constant value=[[[1],[1],[0]],[[3],[2],[1]]] : i64[2,3,1]\n %y = "
                        "gather %x, %i dims=[1] batch=1 : f64[2,3,3]"},
    {"%x : f64[5,3], %y : f64[4,3]",
     "%i = constant value=[[3],[0],[3],[4]] : i64[4,1]\n"
     " %z = scatter %x, %i, %y combine=sum dims=[0] batch=0 : f64[5,3]"},
    {"%x : f64[5,3], %y : f64[4,3]",
     "%i = constant value=[[3],[0],[3],[4]] : i64[4,1]\n"
     " %z = scatter %x, %i, %y combine=set dims=[0] batch=0 : f64[5,3]"},
    {"%x : f64[5,3], %y : f64[4,3]",
     "%i = constant value=[[3],[0],[1],[4]] : i64[4,1]\n"
     " %z = scatter %x, %i, %y combine=set dims=[0] batch=0 : f64[5,3]"},
    {"%x : f64[3,2,4], %y : f64[3,5,2]",
     "%i = constant value=[[[0],[1],[1],[3],[0]],[[1],[1],[1],[1],[1]],[[0],[1],[2],[3],[0]]] : "
     "i64[3,5,1]\n"
     " %z = scatter %x, %i, %y combine=set dims=[2] batch=1 : f64[3,2,4]"},
    {"%x : f64[5,3], %y : f64[4,3]", "%i = constant value=[[3],[0],[3],[4]] : i64[4,1]\n %z = "
                                     "scatter %x, %i, %y combine=prod dims=[0] batch=0 : "
                                     "f64[5,3]"},
    {"%d : f64[5,3], %d2 : f64[4,3]", "%i = constant value=[[3],[0],[3],[4]] : i64[4,1]\n %z = "
                                      "scatter %d, %i, %d2 combine=max dims=[0] batch=0 : "
                                      "f64[5,3]"},
    {"%d : f64[4,5], %d2 : f64[6]",
     "%i = constant value=[[3,1],[0,0],[3,1],[2,4],[3,1],[0,1]] : i64[6,2]\n %z = scatter %d, %i, "
     "%d2 combine=min dims=[0,1] batch=0 : f64[4,5]"},
    /* reductions */
    {"%x : f64[3,4,2]", "%y = reduce %x combine=sum axes=[0,2] : f64[4]"},
    {"%x : f64[3,4,2]", "%y = reduce %x combine=sum axes=[] : f64[3,4,2]"},
    {"%x : f64[3,4,2]", "%y = reduce %x combine=prod axes=[1] : f64[3,2]"},
    {"%x : f64[3,4,2]", "%y = reduce %x combine=prod axes=[0,2] : f64[4]"},
    {"%x : f64[3,2]", "%y = reduce %x combine=prod axes=[0,1] : f64[]"},
    {"%x : f64[3,2]", "%y = reduce %x combine=prod axes=[] : f64[3,2]"},
    {"%d : f64[3,4,2]", "%y = reduce %d combine=max axes=[0,2] : f64[4]"},
    {"%d : f64[3,4,2]", "%y = reduce %d combine=min axes=[1] : f64[3,2]"},
    {"%d : f64[3,5]", "%y, %i = arg_reduce %d combine=max axis=0 last=0 : f64[5], i64[5]"},
    {"%d : f64[3,5,2]", "%y, %i = arg_reduce %d combine=min axis=1 last=1 : f64[3,2], i64[3,2]"},
    {"%x : f64[3,5]", "%y = cumulative %x combine=sum axis=1 : f64[3,5]"},
    {"%x : f64[3,5]", "%y = cumulative %x combine=sum axis=0 reverse=1 exclusive=1 : f64[3,5]"},
    {"%x : f64[3,5]", "%y = cumulative %x combine=prod axis=1 : f64[3,5]"},
    {"%x : f64[2,4,3]", "%y = cumulative %x combine=prod axis=1 exclusive=1 : f64[2,4,3]"},
    {"%x : f64[4,2]", "%y = cumulative %x combine=prod axis=0 reverse=1 : f64[4,2]"},
    {"%x : f64[2,4,3]",
     "%y = cumulative %x combine=prod axis=2 reverse=1 exclusive=1 : f64[2,4,3]"},
    {"%d : f64[3,6]", "%y = cumulative %d combine=max axis=1 : f64[3,6]"},
    {"%d : f64[6,3]", "%y = cumulative %d combine=min axis=0 reverse=1 : f64[6,3]"},
    /* the first result has no element, and is infinite */
    {"%d : f64[3,6]", "%m = cumulative %d combine=max axis=1 exclusive=1 : f64[3,6]\n %y = slice "
                      "%m start=[0,1] limit=[3,6] stride=[1,1] : f64[3,5]"},
    {"%d : f64[6,3]", "%m = cumulative %d combine=min axis=0 exclusive=1 reverse=1 : f64[6,3]\n"
                      " %y = slice %m start=[0,0] limit=[5,3] stride=[1,1] : f64[5,3]"},
    {"%d : f64[3,6]", "%y = sort %d axis=1 : f64[3,6]"},
    {"%d : f64[4,3,2], %x : f64[4,3,2]",
     "%y, %z = sort %d, %x axis=0 descending=1 : f64[4,3,2], f64[4,3,2]"},
    {"%d : f64[5,2], %x : f64[5,2]", "%i = iota to=i64 shape=[5,2] axis=0 : i64[5,2]\n %y, %j, %z "
                                     "= sort %d, %i, %x axis=0 : f64[5,2], i64[5,2], "
                                     "f64[5,2]"},
    /* windows: overlapping, dilated, with padding of either sign, strides that leave a rest */
    {"%x : f64[6,7]", "%y = reduce_window %x combine=sum window=[2,3] stride=[1,2] low=[0,1] "
                      "high=[1,0] base_dilation=[1,1] window_dilation=[2,1] : "
                      "f64[5,3]"},
    {"%x : f64[6,7]", "%y = reduce_window %x combine=sum window=[3,2] stride=[4,3] low=[-1,0] "
                      "high=[0,2] base_dilation=[2,1] window_dilation=[1,3] : "
                      "f64[2,2]"},
    {"%d : f64[6,7]", "%y = reduce_window %d combine=max window=[2,3] stride=[2,2] low=[0,1] "
                      "high=[0,1] base_dilation=[1,1] window_dilation=[1,1] : "
                      "f64[3,4]"},
    {"%d : f64[4,5]", "%y = reduce_window %d combine=min window=[3,3] stride=[2,1] low=[-1,2] "
                      "high=[1,0] base_dilation=[2,1] window_dilation=[1,2] : "
                      "f64[3,3]"},
    {"%x : f64[5,6]", "%y = reduce_window %x combine=prod window=[2,3] stride=[2,2] low=[1,0] "
                      "high=[0,1] base_dilation=[1,1] window_dilation=[1,2] : "
                      "f64[3,2]"},
    {"%x : f64[5,2,4]", "%y = reduce_window %x combine=prod window=[3,1,2] stride=[2,1,1] "
                        "low=[-1,0,0] high=[2,0,1] base_dilation=[2,1,1] window_dilation=[1,1,1] : "
                        "f64[4,2,4]"},
    {"%d : f64[6,7]", "%y, %i = arg_window %d combine=max window=[3,2] stride=[2,3] low=[1,0] "
                      "high=[0,1] window_dilation=[1,2] : f64[3,2], i32[3,2]"},
    {"%d : f64[9]", "%y, %i = arg_window %d combine=min window=[3] stride=[1] low=[-1] high=[-2] "
                    "window_dilation=[1] : f64[4], i32[4]"},
    {"%x : f64[3,2]", "%i = constant value=[[0,3],[5,-1],[2,2]] : i32[3,2]\n"
                      " %y = window_put %x, %i shape=[6,7] window=[3,2] stride=[2,3] low=[1,0] "
                      "high=[0,1] window_dilation=[1,2] : f64[6,7]"},
    {"%x : f64[6,7]", "%i = constant value=[[0,3],[5,-1],[2,2]] : i32[3,2]\n"
                      " %y = window_take %x, %i window=[3,2] stride=[2,3] low=[1,0] high=[0,1] "
                      "window_dilation=[1,2] : f64[3,2]"},
    /* sums that are split, and quotients by their own sum */
    {"%x : f64[3,5]", "%m = reduce %x combine=max axes=[1] : f64[3]\n %s = stop_gradient %m : "
                      "f64[3]\n %b = broadcast %s shape=[3,5] dims=[0] : f64[3,5]\n"
                      " %d = sub %x, %b : f64[3,5]\n"
                      " %e = exp %d : f64[3,5]\n %t = reduce %e combine=sum axes=[1] : f64[3]\n %c "
                      "= broadcast %t shape=[3,5] dims=[0] : f64[3,5]\n"
                      " %y = div %e, %c : f64[3,5]"},
    {"%x : f64[3,1,4]", /* broadcast along other dimensions than it was summed over */
     "%e = exp %x : f64[3,1,4]\n %t = reduce %e combine=sum axes=[0,1] : f64[4]\n %c = broadcast "
     "%t shape=[3,1,4] dims=[2] : f64[3,1,4]\n"
     " %y = div %e, %c : f64[3,1,4]"},
    {"%p : f64[3,3]", "%t = reduce %p combine=sum axes=[0] : f64[3]\n %c = broadcast %t "
                      "shape=[3,3] dims=[0] : f64[3,3]\n"
                      " %y = div %p, %c : f64[3,3]"},
    {"%x : f64[2,3,4], %w : f64[3], %v : f64[3]", /* batch normalisation */
     "%k = constant value=splat(0.125) : f64[3]\n %s = reduce %x combine=sum axes=[0,2] : f64[3]\n "
     "%m = mul %s, %k : f64[3]\n"
     " %mb = broadcast %m shape=[2,3,4] dims=[1] : f64[2,3,4]\n %d = sub %x, %mb : f64[2,3,4]\n %q "
     "= mul %d, %d : f64[2,3,4]\n"
     " %qs = reduce %q combine=sum axes=[0,2] : f64[3]\n %var = mul %qs, %k : f64[3]\n %r = rsqrt "
     "%var : f64[3]\n"
     " %ru = reshape %r shape=[1,3,1] : f64[1,3,1]\n"
     " %rb = broadcast %ru shape=[2,3,4] dims=[0,1,2] : f64[2,3,4]\n %n = mul %d, %rb : "
     "f64[2,3,4]\n"
     " %wb = broadcast %w shape=[2,3,4] dims=[1] : f64[2,3,4]\n"
     " %a = mul %n, %wb : f64[2,3,4]\n %vb = broadcast %v shape=[2,3,4] dims=[1] : f64[2,3,4]\n %y "
     "= add %a, %vb : f64[2,3,4]"},
    /* Factors along rows and along columns, quotients, negations. */
    {"%x : f64[2,4], %w : f64[4], %a : f64[2], %v : f64[4]",
     "%wb = broadcast %w shape=[2,4] dims=[1] : f64[2,4]\n %ab = broadcast %a shape=[2,4] dims=[0] "
     ": f64[2,4]\n"
     " %vb = broadcast %v shape=[2,4] dims=[1] : f64[2,4]\n"
     " %p = mul %x, %wb : f64[2,4]\n %q = div %p, %ab : f64[2,4]\n %n = neg %q : f64[2,4]\n %o = "
     "mul %ab, %vb : f64[2,4]\n"
     " %s = sub %n, %o : f64[2,4]\n"
     " %t = mul %s, %wb : f64[2,4]\n %u = mul %t, %t : f64[2,4]\n %y = add %u, %q : f64[2,4]"},
    /* contractions: dimensions in any order, batches, nothing contracted, all contracted */
    {"%x : f64[3,4], %y : f64[4,2]",
     "%z = dot_general %x, %y lhs_contract=[1] rhs_contract=[0] : f64[3,2]"},
    {"%x : f64[4,3], %y : f64[2,4]",
     "%z = dot_general %x, %y lhs_contract=[0] rhs_contract=[1] : f64[3,2]"},
    {"%x : f64[2,3,4], %y : f64[5,4,2]", "%z = dot_general %x, %y lhs_batch=[0] rhs_batch=[2] "
                                         "lhs_contract=[2] rhs_contract=[1] : f64[2,3,5]"},
    {"%x : f64[3,2,4,5], %y : f64[5,2,3,2]", "%z = dot_general %x, %y lhs_batch=[1] rhs_batch=[3] "
                                             "lhs_contract=[0,3] rhs_contract=[2,0] : f64[2,4,2]"},
    {"%x : f64[2,3], %y : f64[2]",
     "%z = dot_general %x, %y lhs_batch=[0] rhs_batch=[0] : f64[2,3]"},
    {"%x : f64[3], %y : f64[2]", "%z = dot_general %x, %y : f64[3,2]"},
    {"%x : f64[3,2], %y : f64[3,2]",
     "%z = dot_general %x, %y lhs_contract=[0,1] rhs_contract=[0,1] : f64[]"},
    {"%x : f64[3,3]", "%z = dot_general %x, %x lhs_contract=[0] rhs_contract=[1] : f64[3,3]"},
    {"%x : f64[2,0], %y : f64[0,3]",
     "%z = dot_general %x, %y lhs_contract=[1] rhs_contract=[0] : f64[2,3]"},
    {"%x : f64[2,3,5,4], %w : f64[4,3,3,2]",
     "%y = convolution %x, %w lhs=[0,1,2,3] rhs=[0,1,2,3] out=[0,1,2,3] stride=[2,1] low=[1,0] "
     "high=[1,1] lhs_dilation=[1,1] rhs_dilation=[1,2] "
     "feature_groups=1 batch_groups=1 : f64[2,4,3,3]"},
    {"%x : f64[2,6,4], %w : f64[4,3,2]",
     "%y = convolution %x, %w lhs=[0,1,2] rhs=[0,1,2] out=[0,1,2] stride=[3] low=[2] high=[-1] "
     "lhs_dilation=[2] rhs_dilation=[2] "
     "feature_groups=2 batch_groups=1 : f64[2,4,2]"},
    {"%x : f64[4,3,4], %w : f64[3,6,2]", /* dimensions in other orders */
     "%y = convolution %x, %w lhs=[2,1,0] rhs=[1,0,2] out=[1,2,0] stride=[1] low=[0] high=[0] "
     "lhs_dilation=[1] rhs_dilation=[1] "
     "feature_groups=1 batch_groups=2 : f64[3,2,6]"},
    {"%x : f64[2,3], %w : f64[4,3]", /* no spatial dimension */
     "%y = convolution %x, %w lhs=[0,1] rhs=[0,1] out=[0,1] stride=[] low=[] high=[] "
     "lhs_dilation=[] rhs_dilation=[] feature_groups=1 batch_groups=1 "
     ": f64[2,4]"},
    {"%x : f64[1,2,0], %w : f64[1,2,2]", /* only padding */
     "%y = convolution %x, %w lhs=[0,1,2] rhs=[0,1,2] out=[0,1,2] stride=[1] low=[1] high=[2] "
     "lhs_dilation=[1] rhs_dilation=[1] "
     "feature_groups=1 batch_groups=1 : f64[1,1,2]"},
};
enum { CASES = sizeof cases / sizeof *cases };

/* All results of the last instruction are outputs. */
static ir_func *parse(const char *params, const char *body)
{
    const char *text =
        base_format(arena, "gir 1\nmodule \"m\"\nfunc @f(%s) {\n %s\n return\n}\n", params, body);
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m != NULL, "%s: %s", body, first_error);
    ir_func *f = m->funcs.items[0];
    f->entry = true;
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].name = f->params.items[i].value->name;
    for (int i = 0; i < f->last->nresults; i++)
        ir_add_output(f, base_format(arena, "out%d", i), f->last->result[i]);
    return f;
}

START_TEST(derivatives_are_those_of_differences)
{
    ir_func *f = parse(cases[_i].params, cases[_i].body);
    uint64_t state = 88172645463325252ull + (uint64_t)_i * 977;
    for (int k = 0; k < 3; k++)
        grad_random(&state);
    ir_literal *args[64] = {NULL};
    ir_func *joint = grad_check_orders(cases[_i].body, f, 2, 100, &state, args);
    grad_survives_passes(cases[_i].body, joint, args);
    grad_compiled(cases[_i].body, joint, args);
}
END_TEST

START_TEST(every_rule_has_a_case)
{
    /* tests/grad_loop.c */
    bool has[IR_OPS] = {[IR_OP_scan] = true, [IR_OP_cond] = true, [IR_OP_call] = true};
    for (int i = 0; i < CASES; i++)
        has[parse(cases[i].params, cases[i].body)->last->op] = true;
    for (int op = 0; op < IR_OPS; op++)
        ck_assert_msg(has[op] || !ad_rules[op] || ad_is_zero((ir_op)op),
                      "`%s` has a derivative rule and no case", ir_ops[op].name);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("grad");
    TCase *c = tcase_create("grad");
    tcase_set_timeout(c, 30);
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_loop_test(c, derivatives_are_those_of_differences, 0, CASES);
    tcase_add_test(c, every_rule_has_a_case);
    suite_add_tcase(s, c);
    return suite_run(s);
}
