/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The cost model against counts by hand. */
#include "ir/kernels.h"
#include "ir/tuning.h"
#include "passes/passes.h"
#include "tests/context.h"

#include <string.h>

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static ir_module *parse(const char *text)
{
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m != NULL, "%s", first_error);
    return m;
}

/* ---- Instructions ---- */

#define CONV "lhs=[0,1,2] rhs=[0,1,2] out=[0,1,2] "

/* Parameters, and an instruction: what it costs, and how often its operands are read for one
 * element of its result. */
static const struct {
    const char *params, *inst;
    double macs, flops, read, written, reads[3];
} insts[] = {
    /* clang-format off */
    /* 42 elements of 4 bytes each. */
    {"%x : f32[6,7], %y : f32[6,7]", "%z = add %x, %y : f32[6,7]", 0, 42, 336, 168, {1, 1}},
    {"%x : f64[5]", "%z = exp %x : f64[5]", 0, 60, 40, 40, {1}},
    {"%x : f32[8]", "%z = convert %x to=f16 : f16[8]", 0, 8, 32, 16, {1}},
    {"%x : f32[8], %y : f32[8]", "%z = compare %x, %y relation=gt : bool[8]", 0, 8, 64, 8, {1, 1}},
    {"%p : bool[8], %x : f32[8], %y : f32[8]", "%z = select %p, %x, %y : f32[8]", 0, 8, 72, 32, {1, 1, 1}},
    /* Moves: no arithmetic but for addresses; only what is read counts. */
    {"%x : f32[100]", "%z = slice %x start=[0] limit=[10] stride=[1] : f32[10]", 0, 0, 40, 40, {1}},
    {"%x : f32[3]", "%z = broadcast %x shape=[4,3] dims=[1] : f32[4,3]", 0, 0, 12, 48, {1}},
    {"%x : f32[3,4]", "%z = transpose %x perm=[1,0] : f32[4,3]", 0, 0, 48, 48, {1}},
    {"%x : f32[4], %v : f32[]", "%z = pad %x, %v low=[1] high=[2] interior=[0] : f32[7]", 0, 28, 16, 28, {1, 0}},
    {"%x : f32[3], %y : f32[5]", "%z = concat %x, %y axis=0 : f32[8]", 0, 32, 32, 32, {1, 1}},
    /* 5 rows of 8 out of 100, and 5 indices of 8 bytes. */
    {"%x : f32[100,8], %i : i64[5,1]", "%z = gather %x, %i dims=[0] batch=0 : f32[5,8]", 0, 160, 200, 160, {1, 1}},
    /* 3 indices of two components of 4 bytes. */
    {"%x : f32[7,9], %i : i32[3,2]", "%z = gather %x, %i dims=[0,1] batch=0 : f32[3]", 0, 12, 36, 12, {1, 2}},
    {"%x : f32[10,4], %i : i64[3,1], %u : f32[3,4]", "%z = scatter %x, %i, %u combine=sum dims=[0] batch=0 : f32[10,4]",
     0, 12, 232, 160, {1, 1, 1}},
    /* Reductions: a term is one element. */
    {"%x : f32[4,10]", "%z = reduce %x combine=sum axes=[1] : f32[4]", 0, 40, 160, 16, {10}},
    {"%x : f32[4,10]", "%z = reduce %x combine=max axes=[0,1] : f32[]", 0, 40, 160, 4, {40}},
    {"%x : f32[4,0]", "%z = reduce %x combine=sum axes=[1] : f32[4]", 0, 0, 0, 16, {0}},
    {"%x : f32[4,10]", "%z, %p = arg_reduce %x combine=max axis=0 last=0 : f32[10], i64[10]", 0, 40, 160, 120, {4}},
    {"%x : f32[3,4]", "%z = cumulative %x combine=sum axis=1 reverse=0 exclusive=0 : f32[3,4]", 0, 12, 48, 48, {1}},
    /* 16 elements, 3 rounds of merging rows of 8. */
    {"%x : f32[2,8]", "%z = sort %x axis=1 descending=0 : f32[2,8]", 0, 48, 64, 64, {1}},
    /* Windows: 3 taps with dilation 2 are still 3; of 3 taps over an operand with input dilation 2,
     * 2 can meet an element. */
    {"%x : f32[10]", "%z = reduce_window %x combine=sum window=[3] stride=[1] low=[0] high=[0] base_dilation=[1] window_dilation=[2] : f32[6]",
     0, 18, 40, 24, {3}},
    {"%x : f32[5]", "%z = reduce_window %x combine=sum window=[3] stride=[1] low=[0] high=[0] base_dilation=[2] window_dilation=[1] : f32[7]",
     0, 14, 20, 28, {2}},
    {"%x : f32[4,6]", "%z, %p = arg_window %x combine=max window=[2,3] stride=[2,3] low=[0,0] high=[0,0] window_dilation=[1,1] : f32[2,2], i32[2,2]",
     0, 24, 96, 32, {6}},
    /* Windows of 3 at steps of 2: an element lies in at most 2. */
    {"%x : f32[3], %p : i32[3]", "%z = window_put %x, %p shape=[7] window=[3] stride=[2] low=[0] high=[0] window_dilation=[1] : f32[7]",
     0, 14, 24, 28, {2, 2}},
    /* Contractions. 2 * 3 * 5 results of 4 products. */
    {"%x : f32[2,3,4], %w : f32[2,4,5]", "%z = dot_general %x, %w lhs_batch=[0] rhs_batch=[0] lhs_contract=[2] rhs_contract=[1] : f32[2,3,5]",
     120, 240, 256, 120, {4, 4}},
    {"%x : f64[2,6,3,5], %w : f64[5,2,4,3]", "%z = dot_general %x, %w lhs_batch=[0] rhs_batch=[1] lhs_contract=[3,2] rhs_contract=[0,3] : f64[2,6,4]",
     720, 1440, 2400, 384, {15, 15}},
    {"%x : f32[3,0], %w : f32[0,5]", "%z = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[3,5]", 0, 0, 0, 60, {0, 0}},
    /* 2 * 5 * 8 results, 3 channels, 3 taps. */
    {"%x : f32[2,3,10], %w : f32[5,3,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[0] lhs_dilation=[1] rhs_dilation=[1] feature_groups=1 batch_groups=1 : f32[2,5,8]",
     720, 1440, 420, 320, {9, 9}},
    /* Padding is multiplied: the same number of products for all 10 positions. */
    {"%x : f32[2,3,10], %w : f32[5,3,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[1] high=[1] lhs_dilation=[1] rhs_dilation=[1] feature_groups=1 batch_groups=1 : f32[2,5,10]",
     900, 1800, 420, 400, {9, 9}},
    /* Groups: 3 of 6 channels for each of 4 features. */
    {"%x : f32[2,6,8], %w : f32[4,3,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[0] lhs_dilation=[1] rhs_dilation=[1] feature_groups=2 batch_groups=1 : f32[2,4,6]",
     432, 864, 528, 192, {9, 9}},
    {"%x : f32[1,4,10], %w : f32[4,1,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[0] lhs_dilation=[1] rhs_dilation=[1] feature_groups=4 batch_groups=1 : f32[1,4,8]",
     96, 192, 208, 128, {3, 3}},
    /* Groups of the batch: 2 * 6 * 4 results of 3 channels and 2 taps, each from its own half of the batch. */
    {"%x : f32[4,3,5], %w : f32[6,3,2]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[0] lhs_dilation=[1] rhs_dilation=[1] feature_groups=1 batch_groups=2 : f32[2,6,4]",
     288, 576, 384, 192, {6, 6}},
    /* Input dilation: of 10 positions the odd ones meet 2 taps, the others 1; 15 in all, for 2
     * channels and 4 features. */
    {"%x : f32[1,2,5], %w : f32[4,2,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[1] high=[2] lhs_dilation=[2] rhs_dilation=[1] feature_groups=1 batch_groups=1 : f32[1,4,10]",
     120, 240, 136, 160, {3, 3}},
    /* Dilation of both: position i meets tap 0 where 3 divides i, tap 1 where it divides i + 2. */
    {"%x : f32[1,1,4], %w : f32[1,1,2]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[1] lhs_dilation=[3] rhs_dilation=[2] feature_groups=1 batch_groups=1 : f32[1,1,9]",
     6, 12, 24, 36, {2.0 / 3, 2.0 / 3}},
    {"%s : u64[], %c : u64[]", "%z = random_bits %s, %c shape=[6] stream=0 : u32[6]", 0, 240, 16, 24, {1, 1}},
    {"%x : f32[4]", "%z = iota to=i32 shape=[7] axis=0 : i32[7]", 0, 0, 0, 28, {0}},
    /* clang-format on */
};

static void same(const char *what, const char *of, double got, double due)
{
    double apart = got > due ? got - due : due - got;
    ck_assert_msg(apart <= 1e-9 * due, "%s: %s is %.17g, %.17g by hand", of, what, got, due);
}

START_TEST(instructions_cost_what_is_counted_by_hand)
{
    const char *text = insts[_i].inst;
    const ir_module *m =
        parse(base_format(arena, "gir 1\nmodule \"test\"\nfunc @f(%s) {\n  %s\n  return %%z\n}\n",
                          insts[_i].params, text));
    const ir_inst *inst = m->funcs.items[0]->last;
    ir_cost c = ir_cost_of_inst(inst), f = ir_cost_of_func(m->funcs.items[0]);
    same("macs", text, c.macs, insts[_i].macs);
    same("macs", text, ir_cost_macs(inst), insts[_i].macs);
    same("flops", text, c.flops, insts[_i].flops);
    same("read", text, c.read, insts[_i].read);
    same("written", text, c.written, insts[_i].written);
    same("work", text, ir_cost_work(&c),
         insts[_i].flops + (insts[_i].read + insts[_i].written) / IR_TUNING(FLOP_BYTES));
    same("the function's work", text, ir_cost_work(&f), ir_cost_work(&c));
    for (int i = 0; i < inst->noperands; i++)
        same("reads", text, ir_cost_reads(inst, i), insts[_i].reads[i]);
}
END_TEST

/* Body: 4 products for each of 4 results, and 4 additions. */
#define FUNCS                                                                          \
    "gir 1\nmodule \"test\"\n"                                                         \
    "func @body(%c : f32[4], %x : f32[4,4]) {\n"                                       \
    "  %d = dot_general %c, %x lhs_contract=[0] rhs_contract=[0] : f32[4]\n"           \
    "  %s = add %c, %d : f32[4]\n  return %s\n}\n"                                     \
    "func @test(%c : f32[4]) {\n  %t = constant value=true : bool[]\n  return %t\n}\n" \
    "func @more(%c : f32[4]) {\n  %s = exp %c : f32[4]\n  return %s\n}\n"              \
    "func @less(%c : f32[4]) {\n  %s = neg %c : f32[4]\n  return %s\n}\n"

START_TEST(loops_count_their_trips_and_branches_the_dearer_one)
{
    const ir_module *m = parse(
        FUNCS "func @f(%c : f32[4], %x : f32[7,4,4], %p : bool[]) {\n"
              "  %y, %t = scan %c, %x body=@body consts=0 carries=1 length=7 reverse=0 live=0 : "
              "f32[4], i64[]\n"
              "  %w = while_loop %y test=@test body=@more consts=0 limit=1000 : f32[4]\n"
              "  %z = cond %p, %w then_body=@less else_body=@more : f32[4]\n  return %z\n}\n");
    const ir_inst *branch = ir_func_by_name(m, "f")->last, *loop = branch->operand[1]->def,
                  *scan = loop->operand[0]->def;
    ir_cost c = ir_cost_of_inst(scan);
    same("macs", "scan", c.macs, 7 * 16);
    same("flops", "scan", c.flops, 7 * (32 + 4));
    same("read", "scan", c.read, 7 * (16 + 64 + 32));
    same("written", "scan", c.written, 7 * 32);
    c = ir_cost_of_inst(loop);
    same("flops", "while_loop", c.flops, IR_TUNING(TRIPS) * 48);
    c = ir_cost_of_inst(branch);
    same("flops", "cond", c.flops, 48);
}
END_TEST

/* ---- Kernels ---- */

/* Entries, and what each of their kernels costs: macs, flops, bytes read, bytes written. */
static const struct {
    const char *text;
    double cost[3][4];
} kernels[] = {
    /* One kernel: what is used twice is computed once. */
    {"entry @f(input %x : f32[100], input %y : f32[100]) {\n"
     "  %a = mul %x, %y : f32[100]\n  %b = exp %a : f32[100]\n  %c = add %b, %x : f32[100]\n"
     "  %d = mul %c, %c : f32[100]\n  return (output \"d\" %d)\n}\n",
     {{0, 1500, 800, 400}}},
    /* Bias and relu are the contraction's epilogue. The zero is an immediate. */
    {"entry @f(input %x : f32[32,64], input %w : f32[64,48], input %b : f32[48]) {\n"
     "  %p = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[32,48]\n"
     "  %r = broadcast %b shape=[32,48] dims=[1] : f32[32,48]\n  %s = add %p, %r : f32[32,48]\n"
     "  %0 = constant value=0 : f32[]\n  %z = broadcast %0 shape=[32,48] dims=[] : f32[32,48]\n"
     "  %m = max %s, %z : f32[32,48]\n  return (output \"m\" %m)\n}\n",
     {{98304, 2 * 98304 + 2 * 1536, 4 * (2048 + 3072 + 48), 4 * 1536}}},
    /* Ten elements of a large tensor are ten that are read; the exp is done for those alone. */
    {"entry @f(input %x : f32[1000]) {\n  %e = exp %x : f32[1000]\n"
     "  %s = slice %e start=[5] limit=[15] stride=[1] : f32[10]\n"
     "  %y = neg %s : f32[10]\n  return (output \"y\" %y)\n}\n",
     {{0, 130, 40, 40}}},
    /* A sum over windows of 9, each element of which is an exp that is computed for each: exp is
     * not written, the window reads 9 * 4 of them. */
    {"entry @f(input %x : f32[8,8]) {\n"
     "  %y = reduce_window %x combine=max window=[3,3] stride=[1,1] low=[0,0] high=[0,0] "
     "base_dilation=[1,1] window_dilation=[1,1] : f32[6,6]\n  return (output \"y\" %y)\n}\n",
     {{0, 324, 256, 144}}},
    /* Pieces of a concat: each is computed for its own elements. */
    {"entry @f(input %x : f32[4,16], input %y : f32[4,16]) {\n  %e = exp %x : f32[4,16]\n"
     "  %c = concat %e, %y axis=1 : f32[4,32]\n  return (output \"c\" %c)\n}\n",
     {{0, 4 * 128 + 12 * 64, 512, 512}}},
    /* Two comparisons an index; then three rows of 8. */
    {"entry @f(input %x : f32[100,8], input %i : i64[3,1]) {\n"
     "  %y = gather %x, %i dims=[0] batch=0 : f32[3,8]\n  return (output \"y\" %y)\n}\n",
     {{0, 6, 24, 0}, {0, 96, 96 + 24, 96}}},
    /* Both results of one instruction: its loop runs once. */
    {"entry @f(input %x : f32[5,40]) {\n"
     "  %m, %i = arg_reduce %x combine=max axis=1 last=0 : f32[5], i64[5]\n"
     "  return (output \"m\" %m, output \"i\" %i)\n}\n",
     {{0, 200, 800, 60}}},
};

START_TEST(kernels_cost_what_is_counted_by_hand)
{
    ir_module *m = parse(base_format(arena, "gir 1\nmodule \"test\"\n%s", kernels[_i].text));
    for (const pass_info *p = passes; p->name; p++)
        if (p->needs || p->sets)
            pass_run_one(m, p, true);
    const ir_plan *s = m->funcs.items[0]->plan;
    ir_cost sum = {0};
    for (int k = 0; k < s->kernels.count; k++) {
        const char *of = base_format(arena, "kernel %d of case %d", k, _i);
        const double *due = kernels[_i].cost[k];
        ir_cost c = ir_cost_of_kernel(arena, s->kernels.items[k]);
        ck_assert_int_lt(k, 3);
        ck_assert_msg(due[1] > 0, "%s is one too many", of);
        same("macs", of, c.macs, due[0]);
        same("flops", of, c.flops, due[1]);
        same("read", of, c.read, due[2]);
        same("written", of, c.written, due[3]);
        sum = ir_cost_plus(sum, c, 1);
    }
    ck_assert(s->kernels.count == 3 || kernels[_i].cost[s->kernels.count][1] == 0);
    same("work", "the schedule", ir_cost_work(&s->cost), ir_cost_work(&sum));
}
END_TEST

/* A loop's kernel is its trips times its body's kernels. */
START_TEST(a_loop_s_kernel_runs_its_body_s)
{
    ir_module *m =
        parse(FUNCS "entry @f(input %c : f32[4], input %x : f32[7,4,4]) {\n"
                    "  %y, %t = scan %c, %x body=@body consts=0 carries=1 length=7 reverse=0 "
                    "live=0 : f32[4], i64[]\n  return (output \"y\" %y)\n}\n");
    for (const pass_info *p = passes; p->name; p++)
        if (p->needs || p->sets)
            pass_run_one(m, p, true);
    const ir_cost *c = &ir_func_by_name(m, "f")->plan->cost,
                  *body = &ir_func_by_name(m, "body")->plan->cost;
    same("macs", "scan", c->macs, 112);
    same("macs", "body", body->macs, 16);
    same("flops", "scan", c->flops, 7 * body->flops);
    ck_assert(c->read >= 7 * body->read && body->read >= 80);
}
END_TEST

/* ---- Matrix products ---- */

/* Of a contraction with the lanes along a dimension of the result and of an operand. */
static const struct {
    const char *params, *inst;
    int lane, side;
    int64_t m, n, k;
} gemms[] = {
    /* clang-format off */
    {"%x : f32[32,64], %w : f32[64,48]", "%z = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[32,48]", 1, 1, 32, 48, 64},
    {"%x : f32[32,64], %w : f32[64,48]", "%z = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[32,48]", 0, 0, 48, 32, 64},
    /* A product of 3 * 5 by 7 for each of 2, sums of 4. */
    {"%x : f32[2,3,4,5], %w : f32[2,4,7]", "%z = dot_general %x, %w lhs_batch=[0] rhs_batch=[0] lhs_contract=[2] rhs_contract=[1] : f32[2,3,5,7]",
     3, 1, 15, 7, 4},
    {"%x : f32[2,0,4], %w : f32[2,4,7]", "%z = dot_general %x, %w lhs_batch=[0] rhs_batch=[0] lhs_contract=[2] rhs_contract=[1] : f32[2,0,7]",
     2, 1, 0, 7, 4},
    {"%x : f32[2,3,10], %w : f32[5,3,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[0] lhs_dilation=[1] rhs_dilation=[1] feature_groups=1 batch_groups=1 : f32[2,5,8]",
     1, 1, 16, 5, 9},
    {"%x : f32[2,3,10], %w : f32[5,3,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[0] lhs_dilation=[1] rhs_dilation=[1] feature_groups=1 batch_groups=1 : f32[2,5,8]",
     2, 0, 5, 8, 9},
    /* Two groups: two products, each of half of the features. */
    {"%x : f32[2,6,8], %w : f32[4,3,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[0] lhs_dilation=[1] rhs_dilation=[1] feature_groups=2 batch_groups=1 : f32[2,4,6]",
     1, 1, 12, 2, 9},
    {"%x : f32[4,3,5], %w : f32[6,3,2]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[0] lhs_dilation=[1] rhs_dilation=[1] feature_groups=1 batch_groups=2 : f32[2,6,4]",
     1, 1, 8, 3, 6},
    /* Every other position is a product of its own; that of odd positions has 2 of 3 taps, for 2
     * channels. */
    {"%x : f32[1,2,5], %w : f32[4,2,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[1] high=[2] lhs_dilation=[2] rhs_dilation=[1] feature_groups=1 batch_groups=1 : f32[1,4,10]",
     1, 1, 5, 4, 4},
    /* Dilation 2 of both: half of the positions meet all 3 taps, the others none. */
    {"%x : f32[1,2,5], %w : f32[4,2,3]",
     "%z = convolution %x, %w " CONV "stride=[1] low=[0] high=[0] lhs_dilation=[2] rhs_dilation=[2] feature_groups=1 batch_groups=1 : f32[1,4,5]",
     1, 1, 3, 4, 6},
    /* clang-format on */
};

START_TEST(contractions_are_matrix_products)
{
    const char *text = gemms[_i].inst;
    const ir_module *m =
        parse(base_format(arena, "gir 1\nmodule \"test\"\nfunc @f(%s) {\n  %s\n  return %%z\n}\n",
                          gemms[_i].params, text));
    ir_gemm g = ir_gemm_of(m->funcs.items[0]->last, gemms[_i].lane, gemms[_i].side);
    ck_assert_msg(g.m == gemms[_i].m && g.n == gemms[_i].n && g.k == gemms[_i].k,
                  "%s: m %d, n %d, k %d", text, (int)g.m, (int)g.n, (int)g.k);
}
END_TEST

/* Packed if it is used often, copied if it is used often and not packed, else read in place. */
START_TEST(an_operand_is_packed_copied_or_read_as_it_lies)
{
    static const struct {
        ir_gemm g;
        bool packs, copies;
    } cases[] = {{{1, 1000, 1000}, false, false}, {{11, 1000, 1000}, false, false},
                 {{12, 1000, 1000}, true, false}, {{1000, 1000, 9}, false, true},
                 {{1000, 4, 1000}, false, true},  {{0, 10, 10}, false, false}};
    for (int i = 0; i < COUNT(cases); i++) {
        ck_assert(ir_gemm_packs(&cases[i].g) == cases[i].packs);
        ck_assert(ir_gemm_copies(&cases[i].g) == cases[i].copies);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cost");
    TCase *c = tcase_create("cost");
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    tcase_add_loop_test(c, instructions_cost_what_is_counted_by_hand, 0, COUNT(insts));
    tcase_add_test(c, loops_count_their_trips_and_branches_the_dearer_one);
    tcase_add_loop_test(c, kernels_cost_what_is_counted_by_hand, 0, COUNT(kernels));
    tcase_add_test(c, a_loop_s_kernel_runs_its_body_s);
    tcase_add_loop_test(c, contractions_are_matrix_products, 0, COUNT(gemms));
    tcase_add_test(c, an_operand_is_packed_copied_or_read_as_it_lies);
    suite_add_tcase(s, c);
    return suite_run(s);
}
