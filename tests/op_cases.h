/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Cases of the ops that are not elementwise, written as tests/op_run.h reads them. */
#ifndef TESTS_OP_CASES_H
#define TESTS_OP_CASES_H

#include "tests/op_run.h"

enum { B = IR_CLASS_B, I = IR_CLASS_I, F = IR_CLASS_F, N = IR_CLASS_N };

/* Moves of any element type. */
#define MOVE(op, operands, body) {IR_OP_##op, 0, operands, body, NULL, FILL_SPECIAL, 0, 0, false},
/* Small integers, so exact in any order. */
#define EXACT(op, types, operands, body) \
    {IR_OP_##op, types, operands, body, NULL, FILL_SMALL, 0, 0, false},
/* Limits, NaN and infinities. */
#define NANS(op, types, operands, body) \
    {IR_OP_##op, types, operands, body, NULL, FILL_NAN, 0, 0, false},
#define ZEROS(op, operands, body) {IR_OP_##op, F, operands, body, NULL, FILL_ZERO, 0, 0, false},
#define SPECIAL(op, types, operands, body) \
    {IR_OP_##op, types, operands, body, NULL, FILL_SPECIAL, 0, 0, false},
/* Real numbers, with an error of so many units in the last place, of the value and of 1. */
#define REAL(op, types, operands, body, ulps, error) \
    {IR_OP_##op, types, operands, body, NULL, FILL_REAL, ulps, error, false},
#define CALLS(op, types, operands, body, funcs) \
    {IR_OP_##op, types, operands, body, funcs, FILL_SMALL, 0, 0, false},

/* clang-format off */
static const op_case op_cases[] = {
    /* ---- Moves ---- */
    MOVE(constant, "%x $[3]", "%k = iota to=$ shape=[3] axis=0 : $[3]\n  %y1 = max %k, %x : $[3]")
    EXACT(constant, N, "%x $[2,3]", "%k = constant value=[[1,2,3],[4,5,6]] : $[2,3]\n  %y1 = max %k, %x : $[2,3]\n"
                                    "  %y2 = reverse %k axes=[1] : $[2,3]\n  %y3 = constant value=7 : $[]\n  %y4 = constant value=[] : $[0]")
    EXACT(constant, B, "%x $[2,3]", "%k = constant value=[[true,false,false],[true,true,false]] : $[2,3]\n  %y1 = xor %k, %x : $[2,3]\n"
                                    "  %y2 = constant value=splat(true) : $[17]")
    EXACT(iota, B|N, "%x $[]", "%y1 = iota to=$ shape=[2] axis=0 : $[2]")
    EXACT(iota, N, "%x $[]", "%y1 = iota to=$ shape=[100] axis=0 : $[100]\n  %y2 = iota to=$ shape=[7,33] axis=0 : $[7,33]\n"
                             "  %y3 = iota to=$ shape=[3,5,17] axis=2 : $[3,5,17]\n  %y4 = iota to=$ shape=[0,4] axis=1 : $[0,4]")
    EXACT(iota, I, "%x $[]", "%y1 = iota to=$ shape=[300] axis=0 : $[300]\n  %t = iota to=$ shape=[4,9] axis=1 : $[4,9]\n"
                             "  %y2 = transpose %t perm=[1,0] : $[9,4]")
    MOVE(reshape, "%x $[6,4]", "%y1 = reshape %x shape=[3,8] : $[3,8]\n  %y2 = reshape %x shape=[24] : $[24]\n"
                               "  %y3 = reshape %x shape=[2,3,1,4] : $[2,3,1,4]")
    MOVE(reshape, "%x $[7,9,5]", "%y1 = reshape %x shape=[9,35] : $[9,35]\n  %t = transpose %x perm=[2,0,1] : $[5,7,9]\n"
                                 "  %y2 = reshape %t shape=[35,9] : $[35,9]\n  %y3 = reshape %t shape=[21,15] : $[21,15]")
    MOVE(reshape, "%x $[1,1], %z $[], %e $[0,3]", "%y1 = reshape %x shape=[] : $[]\n  %y2 = reshape %z shape=[1,1,1] : $[1,1,1]\n"
                                                  "  %y3 = reshape %e shape=[5,0] : $[5,0]")
    MOVE(broadcast, "%x $[3]", "%y1 = broadcast %x shape=[2,3] dims=[1] : $[2,3]\n  %y2 = broadcast %x shape=[3,33] dims=[0] : $[3,33]\n"
                               "  %y3 = broadcast %x shape=[0,3] dims=[1] : $[0,3]")
    MOVE(broadcast, "%x $[5,1,3]", "%y1 = broadcast %x shape=[5,2,4,3] dims=[0,2,3] : $[5,2,4,3]\n"
                                   "  %y2 = broadcast %x shape=[5,0,3] dims=[0,1,2] : $[5,0,3]")
    MOVE(broadcast, "%x $[], %o $[1]", "%y1 = broadcast %x shape=[4,17] dims=[] : $[4,17]\n  %y2 = broadcast %x shape=[] dims=[] : $[]\n"
                                       "  %y3 = broadcast %o shape=[31] dims=[0] : $[31]\n  %y4 = broadcast %o shape=[0] dims=[0] : $[0]")
    MOVE(transpose, "%x $[3,5]", "%y1 = transpose %x perm=[1,0] : $[5,3]")
    MOVE(transpose, "%x $[17,33], %z $[]", "%y1 = transpose %x perm=[1,0] : $[33,17]\n  %y2 = transpose %z perm=[] : $[]")
    MOVE(transpose, "%x $[4,1,5,2,3]", "%y1 = transpose %x perm=[2,0,4,3,1] : $[5,4,3,2,1]\n  %y2 = transpose %x perm=[0,1,2,4,3] : $[4,1,5,3,2]")
    MOVE(transpose, "%x $[4,0,3]", "%y1 = transpose %x perm=[2,0,1] : $[3,4,0]")
    MOVE(slice, "%x $[10,37]", "%y1 = slice %x start=[1,2] limit=[10,36] stride=[3,1] : $[3,34]\n"
                               "  %y2 = slice %x start=[0,1] limit=[10,37] stride=[1,2] : $[10,18]\n"
                               "  %y3 = slice %x start=[4,5] limit=[4,9] stride=[1,1] : $[0,4]")
    MOVE(slice, "%x $[100], %z $[], %e $[0]", "%y1 = slice %x start=[99] limit=[100] stride=[7] : $[1]\n"
                                              "  %y2 = slice %x start=[3] limit=[100] stride=[1] : $[97]\n"
                                              "  %y3 = slice %z start=[] limit=[] stride=[] : $[]\n"
                                              "  %y4 = slice %e start=[0] limit=[0] stride=[1] : $[0]\n"
                                              "  %y5 = slice %x start=[0] limit=[100] stride=[9223372036854775807] : $[1]")
    MOVE(pad, "%x $[4,5], %v $[]", "%y1 = pad %x, %v low=[1,2] high=[0,3] interior=[0,0] : $[5,10]\n"
                                   "  %y2 = pad %x, %v low=[-1,2] high=[2,-3] interior=[0,0] : $[5,4]\n"
                                   "  %y3 = pad %x, %v low=[0,1] high=[1,0] interior=[2,1] : $[11,10]\n"
                                   "  %y4 = pad %x, %v low=[-4,-2] high=[5,3] interior=[1,3] : $[8,18]")
    MOVE(pad, "%x $[2,33], %v $[]", "%y1 = pad %x, %v low=[-2,0] high=[4,0] interior=[0,0] : $[4,33]\n"
                                    "  %y2 = pad %x, %v low=[0,-20] high=[0,-13] interior=[0,0] : $[2,0]\n"
                                    "  %y3 = pad %x, %v low=[-1,-3] high=[-1,-2] interior=[3,0] : $[3,28]\n"
                                    "  %y4 = pad %x, %v low=[7,0] high=[-5,0] interior=[0,0] : $[4,33]")
    MOVE(pad, "%x $[0,3], %v $[], %z $[]", "%y1 = pad %x, %v low=[2,0] high=[1,1] interior=[4,2] : $[3,8]\n"
                                           "  %y2 = pad %z, %v low=[] high=[] interior=[] : $[]\n"
                                           "  %y3 = pad %x, %v low=[0,0] high=[0,0] interior=[1,0] : $[0,3]")
    MOVE(concat, "%x $[3,5], %z $[3,2], %e $[3,0]", "%y1 = concat %x, %z axis=1 : $[3,7]\n  %y2 = concat %e, %x, %e, %z, %x axis=1 : $[3,12]\n"
                                                    "  %y3 = concat %x axis=0 : $[3,5]\n  %y4 = concat %e, %e axis=0 : $[6,0]")
    MOVE(concat, "%x $[1,33], %z $[8,33], %w $[2,33]", "%y1 = concat %z, %x, %w, %z axis=0 : $[19,33]\n  %y2 = concat %x, %x axis=1 : $[1,66]")
    /* equal pieces */
    MOVE(concat, "%x $[3,17], %z $[3,17]", "%a = max %x, %z : $[3,17]\n  %b = min %x, %z : $[3,17]\n  %y1 = concat %a, %b, %x axis=1 : $[3,51]\n"
                                           "  %y2 = concat %b, %a axis=0 : $[6,17]\n  %y3 = max %b, %a : $[3,17]")
    MOVE(concat, "%x $[2,5,9], %z $[2,5,9]", "%a = max %x, %z : $[2,5,9]\n  %y1 = concat %a, %z, %a, %x axis=1 : $[2,20,9]\n"
                                             "  %y2 = concat %x, %a axis=2 : $[2,5,18]\n  %t = transpose %a perm=[2,0,1] : $[9,2,5]\n"
                                             "  %y3 = concat %t, %t axis=2 : $[9,2,10]")
    MOVE(concat, "%x $[40], %z $[40]", "%a = max %x, %z : $[40]\n  %y1 = concat %a, %x, %a axis=0 : $[120]\n"
                                       "  %r = reshape %a shape=[1,40,1] : $[1,40,1]\n  %y2 = concat %r, %r axis=1 : $[1,80,1]\n"
                                       "  %y3 = concat %r, %r axis=2 : $[1,40,2]")
    MOVE(concat, "%x $[2,3,4], %z $[2,2,4]", "%t = concat %x, %z axis=1 : $[2,5,4]\n  %y1 = transpose %t perm=[2,1,0] : $[4,5,2]\n"
                                             "  %y2 = slice %t start=[0,2,1] limit=[2,5,4] stride=[1,2,1] : $[2,2,3]")
    MOVE(reverse, "%x $[5,33], %z $[], %e $[0,2]", "%y1 = reverse %x axes=[0] : $[5,33]\n  %y2 = reverse %x axes=[1] : $[5,33]\n"
                                                   "  %y3 = reverse %x axes=[0,1] : $[5,33]\n  %y4 = reverse %x axes=[] : $[5,33]\n"
                                                   "  %y5 = reverse %z axes=[] : $[]\n  %y6 = reverse %e axes=[0] : $[0,2]")

    /* ---- Gather and scatter ---- */
    MOVE(gather, "%x $[7,9], %i i64[5,1] 0:6", "%y = gather %x, %i dims=[0] batch=0 : $[5,9]")
    MOVE(gather, "%x $[7,9], %i i32[5,1] 0:8", "%y = gather %x, %i dims=[1] batch=0 : $[5,7]")
    MOVE(gather, "%x $[7,9,4], %i u8[3,2,2] 0:6", "%y = gather %x, %i dims=[0,1] batch=0 : $[3,2,4]")
    MOVE(gather, "%x $[7,9,4], %i i8[5,2] 0:3", "%y = gather %x, %i dims=[0,2] batch=0 : $[5,9]")
    MOVE(gather, "%x $[6,10,4], %i u64[6,3,1] 0:9", "%y = gather %x, %i dims=[1] batch=1 : $[6,3,4]")
    MOVE(gather, "%x $[2,3,8,5], %i u16[2,3,33,1] 0:4", "%y = gather %x, %i dims=[3] batch=2 : $[2,3,33,8]")
    MOVE(gather, "%x $[2,3,8], %i i16[2,3,7,1] 0:7", "%y = gather %x, %i dims=[2] batch=2 : $[2,3,7]")
    MOVE(gather, "%x $[4,4], %i u32[4,4,2] 0:3", "%y = gather %x, %i dims=[0,1] batch=0 : $[4,4]")
    MOVE(gather, "%x $[9,31], %i i64[1] 0:8", "%y = gather %x, %i dims=[0] batch=0 : $[31]")
    MOVE(gather, "%x $[9], %i i64[1] 0:8", "%y = gather %x, %i dims=[0] batch=0 : $[]")
    MOVE(gather, "%x $[3,5], %i i64[4,0]", "%y = gather %x, %i dims=[] batch=0 : $[4,3,5]")
    MOVE(gather, "%x $[], %i i64[4,0]", "%y = gather %x, %i dims=[] batch=0 : $[4]")
    MOVE(gather, "%x $[3,0], %i i64[4,1] 0:2, %j i64[0,1]", "%y1 = gather %x, %i dims=[0] batch=0 : $[4,0]\n"
                                                            "  %y2 = gather %x, %j dims=[1] batch=0 : $[0,3]")
    MOVE(gather, "%x $[5,3], %i i64[17] 0:4", "%j = reshape %i shape=[17,1] : i64[17,1]\n  %t = transpose %x perm=[1,0] : $[3,5]\n"
                                              "  %g = gather %t, %j dims=[1] batch=0 : $[17,3]\n  %y = reverse %g axes=[0] : $[17,3]")
    EXACT(scatter, N, "%x $[50,19], %i i64[20,1] 0:49, %u $[20,19]", "%y1 = scatter %x, %i, %u combine=sum dims=[0] batch=0 : $[50,19]")
    EXACT(scatter, N, "%x $[9,7], %i i32[12,1] 0:8, %u $[12,7]", "%y1 = scatter %x, %i, %u combine=sum dims=[0] batch=0 : $[9,7]\n"
                                                                 "  %y2 = neg %y1 : $[9,7]")
    EXACT(scatter, N, "%x $[9,7], %i u8[4,1] 0:6, %u $[4,9]", "%y1 = scatter %x, %i, %u combine=prod dims=[1] batch=0 : $[9,7]")
    MOVE(scatter, "%x $[9,7], %i i64[20,1] 0:8, %u $[20,7]", "%y1 = scatter %x, %i, %u combine=set dims=[0] batch=0 : $[9,7]")
    SPECIAL(max, F, "%x $[67]", "%z = constant value=splat(0) : $[67]\n  %n = constant value=splat(-0.0) : $[67]\n"
                                "  %w = constant value=splat(nan) : $[67]\n  %s = constant value=splat(6) : $[67]\n"
                                "  %y1 = max %x, %z : $[67]\n  %y2 = max %n, %x : $[67]\n  %y3 = max %w, %x : $[67]\n"
                                "  %y4 = min %x, %z : $[67]\n  %y5 = min %n, %x : $[67]\n  %y6 = min %x, %w : $[67]\n"
                                "  %y7 = min %x, %s : $[67]\n  %y8 = max %s, %x : $[67]")
    ZEROS(max, "%x $[67]", "%z = constant value=splat(0) : $[67]\n  %n = constant value=splat(-0.0) : $[67]\n"
                                "  %w = constant value=splat(nan) : $[67]\n  %s = constant value=splat(6) : $[67]\n"
                                "  %y1 = max %x, %z : $[67]\n  %y2 = max %n, %x : $[67]\n  %y3 = max %w, %x : $[67]\n"
                                "  %y4 = min %x, %z : $[67]\n  %y5 = min %n, %x : $[67]\n  %y6 = min %x, %w : $[67]\n"
                                "  %y7 = min %x, %s : $[67]\n  %y8 = max %s, %x : $[67]")
    ZEROS(scatter, "%x $[33], %i i64[100,1] 0:32, %u $[100]", "%y1 = scatter %x, %i, %u combine=max dims=[0] batch=0 : $[33]\n"
                                                              "  %y2 = scatter %x, %i, %u combine=min dims=[0] batch=0 : $[33]")
    NANS(scatter, B|N, "%x $[33], %i i64[100,1] 0:32, %u $[100]", "%y1 = scatter %x, %i, %u combine=max dims=[0] batch=0 : $[33]\n"
                                                                  "  %y2 = scatter %x, %i, %u combine=min dims=[0] batch=0 : $[33]")
    SPECIAL(scatter, B|I, "%x $[33], %i i64[40,1] 0:32, %u $[40]", "%y1 = scatter %x, %i, %u combine=and dims=[0] batch=0 : $[33]\n"
                                                                   "  %y2 = scatter %x, %i, %u combine=or dims=[0] batch=0 : $[33]")
    EXACT(scatter, N, "%x $[6,10,4], %i u64[6,3,1] 0:9, %u $[6,3,4]", "%y1 = scatter %x, %i, %u combine=sum dims=[1] batch=1 : $[6,10,4]")
    EXACT(scatter, N, "%x $[3,4,5], %i i16[7,2] 0:3, %u $[7,5]", "%t = gather %x, %i dims=[0,1] batch=0 : $[7,5]\n  %s = add %t, %u : $[7,5]\n"
                                                                 "  %y1 = scatter %x, %i, %s combine=set dims=[0,1] batch=0 : $[3,4,5]")
    EXACT(scatter, N, "%x $[7], %i i64[1] 0:6, %u $[]", "%y1 = scatter %x, %i, %u combine=sum dims=[0] batch=0 : $[7]")
    EXACT(scatter, N, "%x $[3,5], %i i64[4,0], %u $[4,3,5]", "%y1 = scatter %x, %i, %u combine=sum dims=[] batch=0 : $[3,5]")
    EXACT(scatter, N, "%x $[], %i i64[4,0], %u $[4]", "%y1 = scatter %x, %i, %u combine=sum dims=[] batch=0 : $[]")
    MOVE(scatter, "%x $[3,5], %i i64[0,1], %u $[0,5], %e $[0,5]", "%y1 = scatter %x, %i, %u combine=set dims=[0] batch=0 : $[3,5]\n"
                                                                  "  %y2 = scatter %e, %i, %u combine=set dims=[0] batch=0 : $[0,5]")
    MOVE(scatter, "%x $[2,3,8,5], %i i64[2,3,6,1] 0:4, %u $[2,3,6,8]", "%y1 = scatter %x, %i, %u combine=set dims=[3] batch=2 : $[2,3,8,5]")

    /* ---- Reductions ---- */
    EXACT(reduce, N, "%x $[7,33]", "%y1 = reduce %x combine=sum axes=[0] : $[33]\n  %y2 = reduce %x combine=sum axes=[1] : $[7]\n"
                                   "  %y3 = reduce %x combine=sum axes=[0,1] : $[]\n  %y4 = reduce %x combine=sum axes=[] : $[7,33]")
    EXACT(reduce, N, "%x $[3,8,5]", "%y1 = reduce %x combine=sum axes=[1] : $[3,5]\n  %y2 = reduce %x combine=sum axes=[0,2] : $[8]\n"
                                    "  %n = neg %x : $[3,8,5]\n  %y3 = reduce %n combine=max axes=[2] : $[3,8]\n"
                                    "  %y4 = reduce %n combine=min axes=[0,1,2] : $[]")
    EXACT(reduce, N, "%x $[5,4]", "%y1 = reduce %x combine=prod axes=[0] : $[4]\n  %y2 = reduce %x combine=prod axes=[1] : $[5]")
    NANS(reduce, B|N, "%x $[6,17]", "%y1 = reduce %x combine=max axes=[0] : $[17]\n  %y2 = reduce %x combine=max axes=[1] : $[6]\n"
                                    "  %y3 = reduce %x combine=min axes=[0] : $[17]\n  %y4 = reduce %x combine=min axes=[0,1] : $[]")
    NANS(reduce, F, "%x $[6,9]", "%y1 = reduce %x combine=sum axes=[0] : $[9]\n  %y2 = reduce %x combine=prod axes=[1] : $[6]")
    SPECIAL(reduce, B|I, "%x $[8,15]", "%y1 = reduce %x combine=and axes=[0] : $[15]\n  %y2 = reduce %x combine=or axes=[1] : $[8]\n"
                                       "  %y3 = reduce %x combine=or axes=[0,1] : $[]\n  %y4 = reduce %x combine=and axes=[1] : $[8]")
    SPECIAL(reduce, I, "%x $[31,9]", "%y1 = reduce %x combine=sum axes=[0] : $[9]\n  %y2 = reduce %x combine=prod axes=[1] : $[31]\n"
                                     "  %y3 = reduce %x combine=max axes=[1] : $[31]\n  %y4 = reduce %x combine=min axes=[0] : $[9]")
    EXACT(reduce, N, "%x $[3,0], %e $[0], %z $[]", "%y1 = reduce %x combine=sum axes=[1] : $[3]\n  %y2 = reduce %x combine=prod axes=[1] : $[3]\n"
                                                   "  %y3 = reduce %x combine=max axes=[0] : $[0]\n  %y4 = reduce %e combine=prod axes=[0] : $[]\n"
                                                   "  %y5 = reduce %z combine=sum axes=[] : $[]")
    EXACT(reduce, B|N, "%x $[3,0], %e $[0]", "%y1 = reduce %x combine=max axes=[1] : $[3]\n  %y2 = reduce %e combine=min axes=[0] : $[]")
    EXACT(reduce, B|I, "%x $[3,0], %e $[0]", "%y1 = reduce %x combine=and axes=[1] : $[3]\n  %y2 = reduce %e combine=or axes=[0] : $[]")
    NANS(reduce, F, "%x $[5,300]", "%y1 = reduce %x combine=max axes=[1] : $[5]\n  %y2 = reduce %x combine=min axes=[1] : $[5]\n"
                                   "  %y3 = reduce %x combine=max axes=[0] : $[300]")
    ZEROS(reduce, "%x $[5,300]", "%n = abs %x : $[5,300]\n  %m = neg %n : $[5,300]\n  %y1 = reduce %x combine=max axes=[1] : $[5]\n"
                                 "  %y2 = reduce %n combine=min axes=[1] : $[5]\n  %y3 = reduce %m combine=max axes=[1] : $[5]\n"
                                 "  %y4 = reduce %x combine=min axes=[0] : $[300]")
    ZEROS(reduce, "%x $[37,3]", "%y1 = reduce %x combine=max axes=[1] : $[37]\n  %n = neg %x : $[37,3]\n"
                                "  %y2 = reduce %n combine=min axes=[1] : $[37]\n  %t = transpose %x perm=[1,0] : $[3,37]\n"
                                "  %y3 = reduce %t combine=max axes=[0] : $[37]\n  %y4 = reduce %x combine=max axes=[0,1] : $[]")
    ZEROS(reduce, "%x $[9,40]", "%n = abs %x : $[9,40]\n  %m = neg %n : $[9,40]\n  %y1 = reduce %x combine=max axes=[1] : $[9]\n"
                                "  %y2 = reduce %n combine=min axes=[1] : $[9]\n  %y3 = reduce %m combine=max axes=[1] : $[9]")
    REAL(reduce, F, "%x $[4,999]", "%y1 = reduce %x combine=sum axes=[1] : $[4]\n  %y2 = reduce %x combine=max axes=[1] : $[4]\n"
                                   "  %e = mul %x, %x : $[4,999]\n  %y3 = reduce %e combine=max axes=[1] : $[4]", 1, 2000)
    EXACT(reduce, N, "%x $[1000,20]", "%y1 = reduce %x combine=sum axes=[0] : $[20]\n  %y2 = reduce %x combine=max axes=[1] : $[1000]")
    ZEROS(arg_reduce, "%x $[6,17]", "%y1, %y2 = arg_reduce %x combine=max axis=0 last=0 : $[17], i64[17]\n"
                                    "  %y3, %y4 = arg_reduce %x combine=min axis=1 last=1 : $[6], i64[6]")
    NANS(arg_reduce, B|N, "%x $[6,17]", "%y1, %y2 = arg_reduce %x combine=max axis=0 last=0 : $[17], i64[17]\n"
                                        "  %y3, %y4 = arg_reduce %x combine=max axis=1 last=1 : $[6], i64[6]")
    NANS(arg_reduce, B|N, "%x $[5,3,8]", "%y1, %y2 = arg_reduce %x combine=min axis=1 last=1 : $[5,8], i64[5,8]\n"
                                         "  %y3, %y4 = arg_reduce %x combine=min axis=2 last=0 : $[5,3], i64[5,3]")
    SPECIAL(arg_reduce, B|N, "%x $[33], %o $[1], %e $[0,3]", "%y1, %y2 = arg_reduce %x combine=max axis=0 last=0 : $[], i64[]\n"
                                                             "  %z, %y3 = arg_reduce %x combine=min axis=0 last=1 : $[], i64[]\n"
                                                             "  %y4, %w = arg_reduce %o combine=max axis=0 last=0 : $[], i64[]\n"
                                                             "  %y5, %y6 = arg_reduce %e combine=max axis=1 last=0 : $[0], i64[0]")

    /* ---- Windows ---- */
    EXACT(reduce_window, N, "%x $[2,11,9]", "%y1 = reduce_window %x combine=sum window=[1,3,2] stride=[1,2,1] low=[0,1,0] high=[0,1,1] "
                                            "base_dilation=[1,1,1] window_dilation=[1,1,1] : $[2,6,9]\n"
                                            "  %y2 = reduce_window %x combine=max window=[1,2,3] stride=[1,2,2] low=[0,0,1] high=[0,0,2] "
                                            "base_dilation=[1,1,1] window_dilation=[1,1,2] : $[2,5,4]")
    EXACT(reduce_window, N, "%x $[10,7]", "%y1 = reduce_window %x combine=min window=[3,2] stride=[1,1] low=[-2,-1] high=[-1,1] base_dilation=[1,1] "
                                          "window_dilation=[1,2] : $[5,5]\n  %y2 = reduce_window %x combine=sum window=[2,3] stride=[2,1] low=[1,2] "
                                          "high=[0,0] base_dilation=[2,3] window_dilation=[1,1] : $[10,19]\n"
                                          "  %y3 = reduce_window %x combine=prod window=[2,2] stride=[3,3] low=[0,0] high=[0,0] base_dilation=[1,1] "
                                          "window_dilation=[1,1] : $[3,2]")
    EXACT(reduce_window, N, "%x $[3], %e $[0], %z $[]", "%y1 = reduce_window %x combine=max window=[2] stride=[1] low=[4] high=[5] base_dilation=[1] "
                                                        "window_dilation=[1] : $[11]\n  %y2 = reduce_window %e combine=sum window=[2] stride=[1] "
                                                        "low=[2] high=[1] base_dilation=[1] window_dilation=[1] : $[2]\n"
                                                        "  %y3 = reduce_window %x combine=sum window=[7] stride=[1] low=[0] high=[0] "
                                                        "base_dilation=[1] window_dilation=[1] : $[0]\n"
                                                        "  %y4 = reduce_window %z combine=sum window=[] stride=[] low=[] high=[] base_dilation=[] "
                                                        "window_dilation=[] : $[]\n  %y5 = reduce_window %x combine=min window=[1] stride=[1] "
                                                        "low=[-3] high=[4] base_dilation=[1] window_dilation=[1] : $[4]")
    ZEROS(reduce_window, "%x $[9,33]", "%y1 = reduce_window %x combine=max window=[2,2] stride=[1,2] low=[1,0] high=[0,1] base_dilation=[1,1] "
                                       "window_dilation=[1,1] : $[9,17]\n  %n = neg %x : $[9,33]\n  %y2 = reduce_window %n combine=min window=[1,3] "
                                       "stride=[1,1] low=[0,0] high=[0,0] base_dilation=[1,1] window_dilation=[1,1] : $[9,31]")
    NANS(reduce_window, N, "%x $[9,33]", "%y1 = reduce_window %x combine=max window=[3,3] stride=[1,1] low=[1,1] high=[1,1] base_dilation=[1,1] "
                                         "window_dilation=[1,1] : $[9,33]\n  %y2 = reduce_window %x combine=min window=[7,6] stride=[2,3] low=[3,0] "
                                         "high=[0,3] base_dilation=[1,1] window_dilation=[1,1] : $[3,11]")
    EXACT(reduce_window, N, "%x $[5,9]", "%y1 = reduce_window %x combine=sum window=[5,7] stride=[1,2] low=[6,5] "
                                         "high=[5,9] base_dilation=[4,6] window_dilation=[6,4] : $[4,20]\n"
                                         "  %y2 = reduce_window %x combine=sum window=[3,3] stride=[1,1] low=[4,2] "
                                         "high=[5,2] base_dilation=[3,1] window_dilation=[3,1] : $[16,11]\n"
                                         "  %y3 = reduce_window %x combine=max window=[2,4] stride=[1,1] low=[0,3] "
                                         "high=[1,4] base_dilation=[3,7] window_dilation=[2,5] : $[12,49]")
    EXACT(reduce_window, N, "%x $[3,41]", "%y1 = reduce_window %x combine=sum window=[1,45] stride=[1,1] low=[0,44] "
                                          "high=[0,44] base_dilation=[1,1] window_dilation=[1,1] : $[3,85]\n"
                                          "  %y2 = reduce_window %x combine=sum window=[3,3] stride=[1,1] low=[2,2] "
                                          "high=[2,2] base_dilation=[1,1] window_dilation=[1,1] : $[5,43]\n"
                                          "  %y3 = reduce_window %x combine=min window=[9,50] stride=[1,1] low=[8,49] "
                                          "high=[8,49] base_dilation=[1,1] window_dilation=[1,1] : $[11,90]")
    EXACT(reduce_window, N, "%x $[2,3]", "%y1 = reduce_window %x combine=sum window=[56,56] stride=[1,1] low=[55,55] "
                                         "high=[54,55] base_dilation=[1,1] window_dilation=[1,1] : $[56,58]\n"
                                         "  %y2 = reduce_window %x combine=sum window=[20,30] stride=[1,1] low=[19,29] "
                                         "high=[19,28] base_dilation=[20,2] window_dilation=[1,1] : $[40,33]")
    NANS(arg_window, N, "%x $[9,33]", "%y1, %y2 = arg_window %x combine=max window=[3,3] stride=[1,1] low=[1,1] high=[1,1] window_dilation=[1,1] : "
                                      "$[9,33], i32[9,33]\n  %y3, %y4 = arg_window %x combine=min window=[2,3] stride=[2,2] low=[0,2] high=[1,0] "
                                      "window_dilation=[2,1] : $[4,17], i32[4,17]")
    SPECIAL(arg_window, N, "%x $[11,7]", "%y1, %y2 = arg_window %x combine=max window=[7,6] stride=[2,1] low=[0,0] high=[1,2] window_dilation=[1,1] "
                                         ": $[3,4], i32[3,4]\n  %y3, %y4 = arg_window %x combine=min window=[2,2] stride=[1,3] low=[-3,-1] "
                                         "high=[-2,-1] window_dilation=[1,1] : $[5,2], i32[5,2]")
    NANS(arg_window, N, "%x $[2,3], %e $[2,0]", "%y1, %y2 = arg_window %x combine=max window=[1,2] stride=[1,1] low=[0,3] high=[0,4] "
                                                "window_dilation=[1,1] : $[2,9], i32[2,9]\n"
                                                "  %y3, %y4 = arg_window %e combine=min window=[1,1] stride=[1,1] low=[0,1] high=[0,1] "
                                                "window_dilation=[1,1] : $[2,2], i32[2,2]\n"
                                                "  %y5, %y6 = arg_window %x combine=max window=[5,1] stride=[1,1] low=[0,0] high=[0,0] "
                                                "window_dilation=[1,1] : $[0,3], i32[0,3]")
    EXACT(window_put, N, "%x $[5,5], %p i32[5,5] -1:5", "%y1 = window_put %x, %p shape=[10,6] window=[2,3] stride=[2,1] low=[0,0] high=[0,1] "
                                                        "window_dilation=[1,1] : $[10,6]")
    EXACT(window_put, N, "%x $[6,17], %p i32[6,17] -1:8", "%y1 = window_put %x, %p shape=[6,33] window=[3,3] stride=[1,2] low=[1,2] high=[1,0] "
                                                          "window_dilation=[1,1] : $[6,33]")
    EXACT(window_put, N, "%x $[3,4], %p i32[3,4] -1:41", "%y1 = window_put %x, %p shape=[11,7] window=[7,6] stride=[2,1] low=[0,0] high=[1,2] "
                                                         "window_dilation=[1,1] : $[11,7]")
    EXACT(window_put, N, "%x $[5,2], %p i32[5,2] -1:3, %e $[0,3], %q i32[0,3]",
          "%y1 = window_put %x, %p shape=[11,7] window=[2,2] stride=[1,3] low=[-3,-1] high=[-2,-1] window_dilation=[1,1] : $[11,7]\n"
          "  %y2 = window_put %e, %q shape=[2,3] window=[5,1] stride=[1,1] low=[0,0] high=[0,0] window_dilation=[1,1] : $[2,3]")
    EXACT(window_put, N, "%x $[3,8], %p i32[3,8] -1:23", "%y1 = window_put %x, %p shape=[14,50] window=[4,6] stride=[2,4] low=[1,3] "
                                                         "high=[2,8] window_dilation=[4,6] : $[14,50]")
    EXACT(window_put, N, "%x $[1,52], %p i32[1,52] -1:359", "%y1 = window_put %x, %p shape=[9,70] window=[9,40] stride=[9,1] low=[0,12] "
                                                            "high=[0,9] window_dilation=[1,1] : $[9,70]")
    EXACT(window_put, N, "%x $[38,49], %p i32[38,49] -1:5", "%y1 = window_put %x, %p shape=[40,47] window=[2,3] stride=[1,1] low=[1,2] "
                                                            "high=[0,2] window_dilation=[3,1] : $[40,47]")
    EXACT(window_put, N, "%x $[1,17], %p i32[1,17] -1:34", "%y1 = window_put %x, %p shape=[14,90] window=[5,7] stride=[6,5] low=[2,3] "
                                                           "high=[1,0] window_dilation=[3,2] : $[14,90]")
    /* operands and result stored in different orders */
    EXACT(window_put, N, "%x $[40,40], %p i32[40,40] -1:3",
          "%a = transpose %x perm=[1,0] : $[40,40]\n  %q = transpose %p perm=[1,0] : i32[40,40]\n"
          "  %u = window_put %a, %p shape=[41,41] window=[2,2] stride=[1,1] low=[0,0] high=[0,0] window_dilation=[1,1] : $[41,41]\n"
          "  %v = window_put %x, %q shape=[41,41] window=[2,2] stride=[1,1] low=[0,0] high=[0,0] window_dilation=[1,1] : $[41,41]\n"
          "  %s = transpose %u perm=[1,0] : $[41,41]\n  %t = transpose %v perm=[1,0] : $[41,41]\n"
          "  %y1 = add %s, %s : $[41,41]\n  %y2 = add %t, %t : $[41,41]\n  %y3 = add %u, %u : $[41,41]\n  %y4 = add %v, %v : $[41,41]")
    EXACT(window_take, N, "%x $[14,50], %p i32[3,8] -2:26", "%y1 = window_take %x, %p window=[4,6] stride=[2,4] low=[1,3] "
                                                            "high=[2,8] window_dilation=[4,6] : $[3,8]")
    EXACT(window_take, N, "%x $[9,70], %p i32[1,52] -2:362", "%y1 = window_take %x, %p window=[9,40] stride=[9,1] low=[0,12] "
                                                             "high=[0,9] window_dilation=[1,1] : $[1,52]")
    EXACT(window_take, N, "%x $[40,47], %p i32[38,49] -2:8", "%y1 = window_take %x, %p window=[2,3] stride=[1,1] low=[1,2] "
                                                             "high=[0,2] window_dilation=[3,1] : $[38,49]")
    EXACT(window_take, N, "%x $[14,90], %p i32[1,17] -2:37", "%y1 = window_take %x, %p window=[5,7] stride=[6,5] low=[2,3] "
                                                             "high=[1,0] window_dilation=[3,2] : $[1,17]")
    SPECIAL(window_take, N, "%x $[10,6], %p i32[5,5] -1:5", "%y1 = window_take %x, %p window=[2,3] stride=[2,1] low=[0,0] high=[0,1] "
                                                            "window_dilation=[1,1] : $[5,5]")
    SPECIAL(window_take, N, "%x $[11,7], %p i32[3,4] -1:41, %q i32[5,2] -1:3",
            "%y1 = window_take %x, %p window=[7,6] stride=[2,1] low=[0,0] high=[1,2] window_dilation=[1,1] : $[3,4]\n"
            "  %y2 = window_take %x, %q window=[2,2] stride=[1,3] low=[-3,-1] high=[-2,-1] window_dilation=[1,1] : $[5,2]")
    SPECIAL(window_take, N, "%x $[2,0], %p i32[2,2] -1:0, %z $[], %q i32[] 0:0",
            "%y1 = window_take %x, %p window=[1,1] stride=[1,1] low=[0,1] high=[0,1] window_dilation=[1,1] : $[2,2]\n"
            "  %y2 = window_take %z, %q window=[] stride=[] low=[] high=[] window_dilation=[] : $[]")

    /* ---- Along an axis ---- */
    EXACT(cumulative, N, "%x $[13,29]", "%y1 = cumulative %x combine=sum axis=0 reverse=0 exclusive=0 : $[13,29]\n"
                                        "  %y2 = cumulative %x combine=sum axis=1 reverse=1 exclusive=1 : $[13,29]\n"
                                        "  %y3 = cumulative %x combine=sum axis=1 reverse=0 exclusive=1 : $[13,29]\n"
                                        "  %y4 = cumulative %x combine=sum axis=0 reverse=1 exclusive=0 : $[13,29]")
    EXACT(cumulative, N, "%x $[4,3,5], %e $[3,0], %o $[1]", "%y1 = cumulative %x combine=prod axis=1 reverse=0 exclusive=0 : $[4,3,5]\n"
                                                            "  %y2 = cumulative %x combine=prod axis=1 reverse=1 exclusive=1 : $[4,3,5]\n"
                                                            "  %y3 = cumulative %e combine=sum axis=1 reverse=0 exclusive=1 : $[3,0]\n"
                                                            "  %y4 = cumulative %e combine=sum axis=0 reverse=0 exclusive=1 : $[3,0]\n"
                                                            "  %y5 = cumulative %o combine=max axis=0 reverse=0 exclusive=1 : $[1]")
    ZEROS(cumulative, "%x $[8,17]", "%y1 = cumulative %x combine=max axis=0 reverse=1 exclusive=0 : $[8,17]\n"
                                    "  %y2 = cumulative %x combine=min axis=1 reverse=0 exclusive=1 : $[8,17]")
    NANS(cumulative, N, "%x $[8,17]", "%y1 = cumulative %x combine=max axis=0 reverse=1 exclusive=0 : $[8,17]\n"
                                      "  %y2 = cumulative %x combine=min axis=1 reverse=0 exclusive=0 : $[8,17]\n"
                                      "  %y3 = cumulative %x combine=max axis=1 reverse=1 exclusive=1 : $[8,17]\n"
                                      "  %y4 = cumulative %x combine=sum axis=1 reverse=1 exclusive=0 : $[8,17]")
    SPECIAL(cumulative, I, "%x $[33]", "%y1 = cumulative %x combine=sum axis=0 reverse=0 exclusive=0 : $[33]\n"
                                       "  %y2 = cumulative %x combine=prod axis=0 reverse=1 exclusive=0 : $[33]\n"
                                       "  %y3 = cumulative %x combine=max axis=0 reverse=0 exclusive=1 : $[33]\n"
                                       "  %y4 = cumulative %x combine=min axis=0 reverse=0 exclusive=1 : $[33]")
    NANS(sort, B|N, "%x $[57], %p i32[57]", "%y1, %y2 = sort %x, %p axis=0 descending=0 : $[57], i32[57]\n"
                                            "  %y3, %y4 = sort %x, %p axis=0 descending=1 : $[57], i32[57]")
    SPECIAL(sort, B|N, "%x $[3,33,4], %p $[3,33,4]", "%y1, %y2 = sort %x, %p axis=1 descending=1 : $[3,33,4], $[3,33,4]\n"
                                                     "  %y3 = sort %x axis=2 descending=0 : $[3,33,4]\n"
                                                     "  %k, %y4, %y5 = sort %x, %p, %x axis=0 descending=0 : $[3,33,4], $[3,33,4], $[3,33,4]")
    SPECIAL(sort, B|N, "%x $[5,1], %e $[0,3], %g $[3,0]", "%y1 = sort %x axis=1 descending=0 : $[5,1]\n  %y2 = sort %e axis=0 descending=1 : $[0,3]\n"
                                                          "  %y3 = sort %g axis=0 descending=1 : $[3,0]\n"
                                                          "  %y4 = sort %x axis=0 descending=1 : $[5,1]")
    SPECIAL(sort, B|N, "%x $[2,100], %f f16[2,100]", "%y1, %y2 = sort %x, %f axis=1 descending=0 : $[2,100], f16[2,100]")

    /* ---- Contractions ---- */
    EXACT(dot_general, N, "%x $[7,9], %w $[9,17]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : $[7,17]")
    EXACT(dot_general, N, "%x $[33,15], %w $[31,15]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[1] : $[33,31]")
    EXACT(dot_general, N, "%x $[15,8], %w $[15,3]", "%y = dot_general %x, %w lhs_contract=[0] rhs_contract=[0] : $[8,3]")
    EXACT(dot_general, N, "%x $[3,5,7], %w $[3,7,9]", "%y = dot_general %x, %w lhs_batch=[0] rhs_batch=[0] lhs_contract=[2] rhs_contract=[1] : "
                                                      "$[3,5,9]")
    EXACT(dot_general, N, "%x $[2,6,3,5], %w $[5,2,4,3]", "%y = dot_general %x, %w lhs_batch=[2,0] rhs_batch=[3,1] lhs_contract=[3] rhs_contract=[0] "
                                                          ": $[3,2,6,4]")
    EXACT(dot_general, N, "%x $[2,6,3,5], %w $[5,2,4,3]", "%y = dot_general %x, %w lhs_batch=[0] rhs_batch=[1] lhs_contract=[3,2] rhs_contract=[0,3] "
                                                          ": $[2,6,4]")
    EXACT(dot_general, N, "%x $[4,3,5], %w $[5,4,3]", "%y1 = dot_general %x, %w lhs_contract=[0,2,1] rhs_contract=[1,0,2] : $[]\n"
                                                      "  %y2 = dot_general %x, %w lhs_batch=[0,1,2] rhs_batch=[1,2,0] : $[4,3,5]")
    EXACT(dot_general, N, "%x $[33], %w $[33], %z $[], %v $[8]", "%y1 = dot_general %x, %w lhs_contract=[0] rhs_contract=[0] : $[]\n"
                                                                 "  %y2 = dot_general %x, %v : $[33,8]\n  %y3 = dot_general %z, %v : $[8]\n"
                                                                 "  %y4 = dot_general %z, %z : $[]\n"
                                                                 "  %y5 = dot_general %x, %w lhs_batch=[0] rhs_batch=[0] : $[33]")
    EXACT(dot_general, N, "%x $[100,31], %w $[31]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : $[100]")
    EXACT(dot_general, N, "%x $[3,0], %w $[0,5], %v $[3,4]", "%y1 = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : $[3,5]\n"
                                                             "  %y2 = dot_general %x, %v lhs_contract=[0] rhs_contract=[0] : $[0,4]\n"
                                                             "  %y3 = dot_general %x, %x lhs_contract=[0] rhs_contract=[0] : $[0,0]\n"
                                                             "  %y4 = dot_general %x, %x lhs_contract=[1] rhs_contract=[1] : $[3,3]")
    SPECIAL(dot_general, I, "%x $[5,9], %w $[9,8]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : $[5,8]")
    NANS(dot_general, F, "%x $[5,3], %w $[3,8]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : $[5,8]")
    REAL(dot_general, F, "%x $[33,100], %w $[100,17], %b $[17]", "%d = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : $[33,17]\n"
                                                                 "  %c = broadcast %b shape=[33,17] dims=[1] : $[33,17]\n"
                                                                 "  %a = add %d, %c : $[33,17]\n  %z = sub %a, %a : $[33,17]\n"
                                                                 "  %y1 = max %a, %z : $[33,17]\n  %y2 = reduce %d combine=max axes=[1] : $[33]", 2,
                                                                 256)
    EXACT(dot_general, F, "%x $[64,200], %w $[200,96]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : $[64,96]")
    EXACT(dot_general, 0, "%x i8[33,64], %w i8[64,17], %u u8[33,64], %v u8[17,64]",
          "%y1 = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] accumulate=i32 : i32[33,17]\n"
          "  %y2 = dot_general %u, %w lhs_contract=[1] rhs_contract=[0] accumulate=i32 : i32[33,17]\n"
          "  %y3 = dot_general %x, %v lhs_contract=[1] rhs_contract=[1] accumulate=i32 : i32[33,17]\n"
          "  %y4 = dot_general %u, %v lhs_contract=[1] rhs_contract=[1] accumulate=i32 : i32[33,17]")
    SPECIAL(dot_general, 0, "%x i8[13,150], %w i8[150,9]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] accumulate=i32 : i32[13,9]")
    SPECIAL(dot_general, 0, "%x u8[13,150], %w u8[9,150]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[1] accumulate=i32 : i32[13,9]")
    EXACT(dot_general, 0, "%x bf16[33,66], %w bf16[66,17]", "%y1 = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] accumulate=f32 : f32[33,17]\n"
          "  %y2 = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] accumulate=f64 : f64[33,17]")
    EXACT(dot_general, 0, "%x f16[5,9], %w f16[9,17], %a f32[5,9], %b f32[9,17]",
          "%y1 = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] accumulate=f32 : f32[5,17]\n"
          "  %y2 = dot_general %a, %b lhs_contract=[1] rhs_contract=[0] accumulate=f64 : f64[5,17]")
    REAL(dot_general, 0, "%x bf16[20,130], %w bf16[130,17]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] accumulate=f32 : f32[20,17]",
         130, 130)
#define CONV(operands, w, attributes, result) EXACT(convolution, F, operands ", " w, "%y = convolution %x, %w " attributes " : " result)
#define NCHW "lhs=[0,1,2,3] rhs=[0,1,2,3] out=[0,1,2,3] "
    CONV("%x $[2,3,9,8]", "%w $[5,3,3,3]", NCHW "stride=[1,1] low=[1,1] high=[1,1] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
                                                "batch_groups=1", "$[2,5,9,8]")
    CONV("%x $[2,3,9,8]", "%w $[17,3,3,2]", NCHW "stride=[2,1] low=[0,2] high=[1,0] lhs_dilation=[1,1] rhs_dilation=[2,3] feature_groups=1 "
                                                 "batch_groups=1", "$[2,17,3,7]")
    CONV("%x $[2,3,4,5]", "%w $[4,3,3,3]", NCHW "stride=[1,1] low=[2,1] high=[1,2] lhs_dilation=[2,3] rhs_dilation=[1,1] feature_groups=1 "
                                                "batch_groups=1", "$[2,4,8,14]")
    CONV("%x $[2,3,4,5]", "%w $[4,3,3,2]", NCHW "stride=[2,1] low=[2,-1] high=[3,1] lhs_dilation=[3,2] rhs_dilation=[2,3] feature_groups=1 "
                                                "batch_groups=1", "$[2,4,6,6]")
    CONV("%x $[2,6,7,5]", "%w $[9,2,3,3]", NCHW "stride=[1,2] low=[1,0] high=[1,1] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=3 "
                                                "batch_groups=1", "$[2,9,7,2]")
    CONV("%x $[2,16,7,5]", "%w $[16,1,3,3]", NCHW "stride=[1,1] low=[1,1] high=[1,1] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=16 "
                                                  "batch_groups=1", "$[2,16,7,5]")
    CONV("%x $[1,8,7,9]", "%w $[16,1,2,3]", NCHW "stride=[2,1] low=[1,-1] high=[0,2] lhs_dilation=[1,2] rhs_dilation=[1,1] feature_groups=8 "
                                                 "batch_groups=1", "$[1,16,4,16]")
    CONV("%x $[6,3,5,5]", "%w $[4,3,2,2]", NCHW "stride=[1,1] low=[0,0] high=[0,0] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
                                                "batch_groups=2", "$[3,4,4,4]")
    CONV("%x $[6,3,4,5]", "%w $[9,3,2,3]", NCHW "stride=[2,1] low=[1,2] high=[0,-1] lhs_dilation=[2,1] rhs_dilation=[1,2] feature_groups=1 "
                                                "batch_groups=3", "$[2,9,4,2]")
    CONV("%x $[2,9,8,3]", "%w $[3,3,3,5]", "lhs=[0,3,1,2] rhs=[3,2,0,1] out=[0,3,1,2] stride=[1,1] low=[1,1] high=[1,1] lhs_dilation=[1,1] "
                                           "rhs_dilation=[1,1] feature_groups=1 batch_groups=1", "$[2,9,8,5]")
    CONV("%x $[9,3,2,8]", "%w $[3,5,3,3]", "lhs=[2,1,3,0] rhs=[1,0,3,2] out=[3,0,2,1] stride=[2,1] low=[1,0] high=[1,2] lhs_dilation=[1,1] "
                                           "rhs_dilation=[1,1] feature_groups=1 batch_groups=1", "$[5,9,4,2]")
    CONV("%x $[2,3,20]", "%w $[4,3,5]", "lhs=[0,1,2] rhs=[0,1,2] out=[0,1,2] stride=[3] low=[2] high=[2] lhs_dilation=[1] rhs_dilation=[1] "
                                        "feature_groups=1 batch_groups=1", "$[2,4,7]")
    CONV("%x $[3,7]", "%w $[5,7]", "lhs=[0,1] rhs=[0,1] out=[0,1] stride=[] low=[] high=[] lhs_dilation=[] rhs_dilation=[] feature_groups=1 "
                                   "batch_groups=1", "$[3,5]")
    CONV("%x $[1,2,4,3,5]", "%w $[3,2,2,2,2]", "lhs=[0,1,2,3,4] rhs=[0,1,2,3,4] out=[0,1,2,3,4] stride=[1,1,2] low=[0,1,0] high=[1,0,1] "
                                               "lhs_dilation=[1,1,1] rhs_dilation=[1,1,2] feature_groups=1 batch_groups=1", "$[1,3,4,3,2]")
    CONV("%x $[2,0,4,4]", "%w $[3,0,2,2]", NCHW "stride=[1,1] low=[0,0] high=[0,0] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
                                                "batch_groups=1", "$[2,3,3,3]")
    CONV("%x $[0,3,4,4]", "%w $[3,3,2,2]", NCHW "stride=[1,1] low=[0,0] high=[0,0] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
                                                "batch_groups=1", "$[0,3,3,3]")
    CONV("%x $[2,3,2,4]", "%w $[3,3,3,2]", NCHW "stride=[1,1] low=[0,0] high=[0,0] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
                                                "batch_groups=1", "$[2,3,0,3]")
    CONV("%x $[2,3,0,4]", "%w $[3,3,3,2]", NCHW "stride=[1,1] low=[2,1] high=[2,0] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
                                                "batch_groups=1", "$[2,3,2,4]")
    CONV("%x $[1,2,3,3]", "%w $[3,2,2,2]", NCHW "stride=[1,1] low=[5,0] high=[4,7] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
                                                "batch_groups=1", "$[1,3,11,9]")
    /* 72 products of up to 4: the sum in another order is off by many units of 1 */
    EXACT(convolution, 0, "%x u8[2,8,12,12], %w i8[16,8,3,3]",
          "%y1 = convolution %x, %w " NCHW "stride=[1,1] low=[1,1] high=[1,1] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
          "batch_groups=1 accumulate=i32 : i32[2,16,12,12]\n"
          "  %y2 = convolution %w, %w " NCHW "stride=[1,1] low=[1,1] high=[1,1] lhs_dilation=[2,2] rhs_dilation=[1,1] feature_groups=1 "
          "batch_groups=1 : i8[16,16,5,5]")
    REAL(convolution, F, "%x $[2,8,12,12], %w $[16,8,3,3], %b $[16]",
         "%c = convolution %x, %w " NCHW "stride=[1,1] low=[1,1] high=[1,1] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 batch_groups=1 : "
                                         "$[2,16,12,12]\n  %d = broadcast %b shape=[2,16,12,12] dims=[1] : $[2,16,12,12]\n"
                                         "  %a = add %c, %d : $[2,16,12,12]\n  %y1 = abs %a : $[2,16,12,12]\n"
                                         "  %y2 = reduce %a combine=max axes=[2,3] : $[2,16]", 2, 256)

    /* ---- Randomness ---- */
    SPECIAL(random_bits, 0, "%s u64[], %c u64[]", "%y1 = random_bits %s, %c shape=[33] stream=3 : u32[33]\n"
                                                  "  %y2 = random_bits %s, %c shape=[3,5,7] stream=0 : u32[3,5,7]\n"
                                                  "  %y3 = random_bits %c, %s shape=[] stream=4294967295 : u32[]\n"
                                                  "  %y4 = random_bits %s, %s shape=[0] stream=1 : u32[0]\n"
                                                  "  %y5 = random_bits %s, %c shape=[64,65] stream=1 : u32[64,65]")
    EXACT(random_bits, 0, "%x u64[6,2], %z u64[2,4], %c u64[]", "%d = dot_general %x, %z lhs_contract=[1] rhs_contract=[0] : u64[6,4]\n"
                                                               "  %f = reshape %d shape=[24] : u64[24]\n"
                                                               "  %p = slice %f start=[7] limit=[8] stride=[1] : u64[1]\n"
                                                               "  %s = reshape %p shape=[] : u64[]\n"
                                                               "  %y = random_bits %s, %c shape=[9] stream=2 : u32[9]")

    /* ---- Large enough for several tasks ---- */
    EXACT(transpose, F, "%x f32[301,203]", "%y = transpose %x perm=[1,0] : f32[203,301]")
    EXACT(reshape, F, "%x f32[77,513]", "%t = transpose %x perm=[1,0] : f32[513,77]\n  %y = reshape %t shape=[27,1463] : f32[27,1463]")
    EXACT(pad, F, "%x bf16[100,203], %v bf16[]", "%y = pad %x, %v low=[1,-1] high=[2,9] interior=[1,0] : bf16[202,211]")
    EXACT(concat, I, "%x i16[90,203], %z i16[40,203]", "%y = concat %z, %x, %z axis=0 : i16[170,203]")
    EXACT(gather, F, "%x f32[50,333], %i i32[99,1] 0:49", "%y = gather %x, %i dims=[0] batch=0 : f32[99,333]")
    EXACT(scatter, F, "%x f32[50,333], %i i64[99,1] 0:49, %u f32[99,333]", "%y = scatter %x, %i, %u combine=sum dims=[0] batch=0 : f32[50,333]")
    EXACT(scatter, F, "%x f32[20000], %i i64[3000,1] 0:19999, %u f32[3000]", "%y = scatter %x, %i, %u combine=sum dims=[0] batch=0 : f32[20000]")
    EXACT(reduce, F, "%x f32[301,203]", "%y1 = reduce %x combine=sum axes=[0] : f32[203]\n  %y2 = reduce %x combine=sum axes=[1] : f32[301]\n"
                                        "  %y3 = reduce %x combine=max axes=[0,1] : f32[]\n  %y4 = reduce %x combine=sum axes=[0,1] : f32[]")
    EXACT(reduce, I, "%x i8[40,5000]", "%y1 = reduce %x combine=sum axes=[1] : i8[40]\n  %y2 = reduce %x combine=max axes=[0] : i8[5000]\n"
                                       "  %y3 = reduce %x combine=sum axes=[0,1] : i8[]")
    NANS(arg_reduce, F, "%x f64[203,70]", "%y1, %y2 = arg_reduce %x combine=max axis=0 last=0 : f64[70], i64[70]\n"
                                          "  %y3, %y4 = arg_reduce %x combine=min axis=1 last=1 : f64[203], i64[203]")
    NANS(reduce_window, F, "%x f32[3,70,101]", "%y = reduce_window %x combine=max window=[1,3,3] stride=[1,2,2] low=[0,1,1] high=[0,1,1] "
                                               "base_dilation=[1,1,1] window_dilation=[1,1,1] : f32[3,35,51]")
    EXACT(cumulative, F, "%x f32[40,1001]", "%y1 = cumulative %x combine=sum axis=1 reverse=0 exclusive=0 : f32[40,1001]\n"
                                            "  %y2 = cumulative %x combine=sum axis=0 reverse=1 exclusive=1 : f32[40,1001]")
    NANS(sort, F, "%x f32[70,301], %p i64[70,301]", "%y1, %y2 = sort %x, %p axis=1 descending=0 : f32[70,301], i64[70,301]\n"
                                                    "  %y3, %y4 = sort %x, %p axis=0 descending=1 : f32[70,301], i64[70,301]")
    EXACT(dot_general, F, "%x f32[130,257], %w f32[257,71]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[130,71]")
    EXACT(dot_general, F, "%x f32[8,33,64], %w f32[8,64,40]", "%y = dot_general %x, %w lhs_batch=[0] rhs_batch=[0] lhs_contract=[2] rhs_contract=[1] "
                                                              ": f32[8,33,40]")
    EXACT(dot_general, F, "%x bf16[70,130], %w bf16[90,130]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[1] : bf16[70,90]")
    EXACT(dot_general, I, "%x i32[60,130], %w i32[130,50]", "%y = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : i32[60,50]")
    CONV("%x f32[4,16,20,20]", "%w f32[32,16,3,3]", NCHW "stride=[1,1] low=[1,1] high=[1,1] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=1 "
                                                         "batch_groups=1", "f32[4,32,20,20]")
    CONV("%x f64[2,32,17,17]", "%w f64[32,1,3,3]", NCHW "stride=[2,2] low=[1,1] high=[1,1] lhs_dilation=[1,1] rhs_dilation=[1,1] feature_groups=32 "
                                                        "batch_groups=1", "f64[2,32,9,9]")
    CALLS(scan, F, "%c f32[40,300], %x f32[5,40,300]", "%y1, %y2, %y3 = scan %c, %x body=@body consts=0 carries=1 length=5 reverse=1 live=0 : "
                                                       "f32[40,300], f32[5,40], i64[]", "func @body(%c : f32[40,300], %x : f32[40,300]) {\n"
                                                       "  %n = max %c, %x : f32[40,300]\n  %d = reduce %n combine=sum axes=[1] : f32[40]\n"
                                                       "  return %n, %d\n}\n")

    /* ---- Structured ---- */
    CALLS(scan, N, "%c $[5], %x $[7,5]", "%y1, %y2, %y3 = scan %c, %x body=@body consts=0 carries=1 length=7 reverse=0 live=0 : $[5], $[7,5], i64[]",
          "func @body(%c : $[5], %x : $[5]) {\n  %n = max %c, %x : $[5]\n  %d = sub %n, %x : $[5]\n  return %n, %d\n}\n")
    CALLS(scan, N, "%k $[5], %c $[5], %d $[], %x $[7,5]", "%y1, %y2, %y3, %y4 = scan %k, %c, %d, %x body=@body consts=1 carries=2 length=7 reverse=1 "
                                                          "live=0 : $[5], $[], $[7,5], i64[]",
          "func @body(%k : $[5], %c : $[5], %d : $[], %x : $[5]) {\n  %a = add %x, %k : $[5]\n  %n = sub %a, %c : $[5]\n"
          "  %s = reduce %x combine=sum axes=[0] : $[]\n  %m = add %s, %d : $[]\n  return %n, %m, %a\n}\n")
    CALLS(scan, B|N, "%c $[2,3], %x $[4,2,3], %z $[4]", "%y1, %y2, %y3, %y4, %y5 = scan %c, %c, %x, %z body=@body consts=0 carries=2 length=4 "
                                                        "reverse=0 live=0 : $[2,3], $[2,3], $[4], $[4,3,2], i64[]",
          /* the second carry is the first one's last value; the sequence of scalars is passed
           * through */
          "func @body(%a : $[2,3], %b : $[2,3], %x : $[2,3], %z : $[]) {\n  %m = max %a, %x : $[2,3]\n  %t = transpose %a perm=[1,0] : $[3,2]\n"
          "  return %m, %a, %z, %t\n}\n")
    CALLS(scan, N, "%n i64[] 1:4, %c $[3], %x $[6,3], %g bool[]", "%one = constant value=true : bool[]\n"
                                                                  "  %y1, %y2, %y3, %y4 = scan %n, %c, %x, %one body=@body consts=1 carries=1 "
                                                                  "length=6 reverse=0 live=1 : $[3], $[6,3], $[6,3], i64[]\n"
                                                                  "  %y5, %y6, %y7, %y8 = scan %n, %c, %x, %g body=@body consts=1 carries=1 length=6 "
                                                                  "reverse=1 live=1 : $[3], $[6,3], $[6,3], i64[]",
          "func @body(%n : i64[], %c : $[3], %x : $[3]) {\n  %s = add %c, %x : $[3]\n  %m = reduce %s combine=max axes=[0] : $[]\n"
          "  %i = convert %m to=i64 : i64[]\n  %go = compare %i, %n relation=lt : bool[]\n  return %s, %x, %s, %go\n}\n")
    CALLS(scan, N, "%c $[3], %x $[0,3]", "%y1, %y2, %y3 = scan %c, %x body=@body consts=0 carries=1 length=0 reverse=0 live=0 : $[3], $[0,3], i64[]",
          "func @body(%c : $[3], %x : $[3]) {\n  %n = add %c, %x : $[3]\n  return %n, %n\n}\n")
    CALLS(scan, N, "%c $[0], %x $[4,0], %z $[4]", "%y1, %y2, %y3 = scan %c, %z, %x body=@body consts=1 carries=0 length=4 reverse=0 live=0 : $[4], "
                                                  "$[4,0], i64[]", "func @body(%c : $[0], %z : $[], %x : $[0]) {\n  %n = add %z, %z : $[]\n"
                                                                   "  %m = add %c, %x : $[0]\n  return %n, %m\n}\n")
    CALLS(scan, N, "%c $[4], %w $[4,4], %x $[3,2,4]", "%y1, %y2, %y3 = scan %w, %c, %x body=@outer consts=1 carries=1 length=3 reverse=0 live=0 : "
                                                      "$[4], $[3,2,4], i64[]",
          "func @inner(%w : $[4,4], %c : $[4], %x : $[4]) {\n  %d = dot_general %w, %x lhs_contract=[1] rhs_contract=[0] : $[4]\n"
          "  %n = min %d, %c : $[4]\n  return %n, %d\n}\n"
          "func @outer(%w : $[4,4], %c : $[4], %x : $[2,4]) {\n  %n, %s, %t = scan %w, %c, %x body=@inner consts=1 carries=1 length=2 reverse=1 "
          "live=0 : $[4], $[2,4], i64[]\n  return %n, %s\n}\n")
    CALLS(cond, B|N, "%p bool[], %x $[3,5], %z $[]", "%y1, %y2 = cond %p, %x, %z then_body=@yes else_body=@no : $[3,5], $[]\n  %q = not %p : bool[]\n"
                                                     "  %y3, %y4 = cond %q, %x, %z then_body=@yes else_body=@no : $[3,5], $[]",
          "func @yes(%x : $[3,5], %z : $[]) {\n  %r = reverse %x axes=[1] : $[3,5]\n  return %r, %z\n}\nfunc @no(%x : $[3,5], %z : $[]) {\n"
          "  %b = broadcast %z shape=[3,5] dims=[] : $[3,5]\n  %m = max %x, %b : $[3,5]\n  %s = reduce %x combine=min axes=[0,1] : $[]\n"
          "  return %m, %s\n}\n")
    CALLS(cond, N, "%p bool[], %x $[0], %i i64[] 0:1", "%y1 = cond %p, %x then_body=@yes else_body=@no : $[0]\n  %t = constant value=true : bool[]\n"
                                                       "  %y2 = cond %t, %x then_body=@no else_body=@yes : $[0]",
                                                       "func @yes(%x : $[0]) {\n  return %x\n}\nfunc @no(%x : $[0]) {\n  %n = neg %x : $[0]\n"
                                                       "  return %n\n}\n")
    CALLS(while_loop, N, "%n i64[] 0:6, %c $[5]", "%zero = constant value=0 : i64[]\n  %y1, %y2 = while_loop %n, %zero, %c test=@test body=@body "
                                                  "consts=1 limit=10 : i64[], $[5]\n  %y3, %y4 = while_loop %n, %zero, %c test=@test body=@body "
                                                  "consts=1 limit=2 : i64[], $[5]\n  %y5, %y6 = while_loop %n, %zero, %c test=@test body=@body "
                                                  "consts=1 limit=0 : i64[], $[5]",
          "func @test(%n : i64[], %i : i64[], %c : $[5]) {\n  %go = compare %i, %n relation=lt : bool[]\n  return %go\n}\n"
          "func @body(%n : i64[], %i : i64[], %c : $[5]) {\n  %one = constant value=1 : i64[]\n  %j = add %i, %one : i64[]\n"
          "  %r = reverse %c axes=[0] : $[5]\n  %s = sub %c, %r : $[5]\n  return %j, %s\n}\n")
    CALLS(call, B|N, "%x $[3,5], %z $[5]", "%y1, %y2 = call %x, %z callee=@f : $[3,5], $[5,3]\n  %t = reverse %x axes=[0] : $[3,5]\n"
                                           "  %y3, %y4 = call %t, %z callee=@f : $[3,5], $[5,3]",
                                           "func @f(%x : $[3,5], %z : $[5]) {\n  %b = broadcast %z shape=[3,5] dims=[1] : $[3,5]\n"
                                           "  %m = max %x, %b : $[3,5]\n  %t = transpose %x perm=[1,0] : $[5,3]\n  return %m, %t\n}\n")
};
/* clang-format on */
enum { OP_CASES = sizeof op_cases / sizeof *op_cases };

#endif
