/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A model with all five entries, written by hand: y = x * w, loss = sum (y - t)^2; and a function
 * that makes a planned module from text. */
#ifndef TESTS_TINY_MODEL_H
#define TESTS_TINY_MODEL_H

#include "codegen/codegen.h"
#include "passes/passes.h"
#include "tests/context.h"

#include <stdlib.h>
#include <string.h>

/* n: elements of all tensors. */
static inline char *tiny_text(base_arena *a, int n)
{
    return base_format(
        a,
        "gir 1\n"
        "module \"tiny\"\n"
        "param \"w\" : f32[%d] trainable init splat(2)\n"
        "param \"frozen\" : i32[3] init [1, 2, 3]\n"
        "stat \"mean\" : f32[]\n"
        "slot \"sum:w\" : f32[%d] of \"w\"\n"
        "counter \"seed\" : u64[]\n"
        "grad \"grad:w\" : f32[%d] of \"w\"\n"
        "saved \"saved:0\" : f32[%d]\n"
        "entry @forward(input %%x : f32[%d] dims(batch), input %%t : f32[%d] "
        "dims(batch), state %%w : f32[%d]) {\n"
        "  %%y = mul %%x, %%w : f32[%d]\n  %%d = sub %%y, %%t : f32[%d]\n  %%s = mul "
        "%%d, %%d : f32[%d]\n"
        "  %%l = reduce %%s combine=sum axes=[0] : f32[]\n"
        "  return (output \"y\" %%y, output \"loss\" %%l loss)\n}\n"
        "entry @forward_train(input %%x : f32[%d] dims(batch), input %%t : f32[%d] "
        "dims(batch), state %%w : f32[%d], state %%mean : f32[], state "
        "%%seed : u64[]) {\n"
        "  %%y = mul %%x, %%w : f32[%d]\n  %%d = sub %%y, %%t : f32[%d]\n  %%s = mul "
        "%%d, %%d : f32[%d]\n"
        "  %%l = reduce %%s combine=sum axes=[0] : f32[]\n"
        "  %%m = add %%mean, %%l : f32[]\n  %%one = constant value=1 : u64[]\n  "
        "%%next = add %%seed, %%one : u64[]\n"
        "  return (output \"y\" %%y, output \"loss\" %%l loss, update \"mean\" %%m, "
        "update \"seed\" %%next, update \"saved:0\" %%d)\n}\n"
        "entry @backward(gradient %%loss : f32[], input %%x : f32[%d] dims(batch), "
        "state %%saved : f32[%d], state %%g : f32[%d], state %%w : "
        "f32[%d]) {\n"
        "  %%b = broadcast %%loss shape=[%d] dims=[] : f32[%d]\n  %%d = mul %%saved, "
        "%%b : f32[%d]\n  %%d2 = add %%d, %%d : f32[%d]\n"
        "  %%dw = mul %%d2, %%x : f32[%d]\n  %%sum = add %%g, %%dw : f32[%d]\n  %%dx "
        "= mul %%d2, %%w : f32[%d]\n"
        "  return (gradient \"x\" %%dx, update \"grad:w\" %%sum)\n}\n"
        "entry @update(hyper %%lr : f32[], state %%g : f32[%d], state %%w : f32[%d], "
        "state %%n : f32[%d]) {\n"
        "  %%b = broadcast %%lr shape=[%d] dims=[] : f32[%d]\n  %%s = mul %%g, %%b : "
        "f32[%d]\n  %%v = sub %%w, %%s : f32[%d]\n"
        "  %%k = add %%n, %%g : f32[%d]\n"
        "  return (update \"w\" %%v, update \"sum:w\" %%k)\n}\n",
        n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n,
        n, n, n, n);
}

/* State parameters in the text are named like their states: %saved and the like are put right
 * here. */
static inline char *tiny_named(base_arena *a, const char *text)
{
    static const char *const names[][2] = {
        {"%saved", "%\"saved:0\""}, {"%g", "%\"grad:w\""}, {"%n", "%\"sum:w\""}};
    for (int i = 0; i < 3; i++) {
        size_t k = strlen(names[i][0]);
        char *out = base_alloc(a, strlen(text) * 2 + 1), *to = out;
        for (const char *at = text; *at;) {
            bool word = !strncmp(at, names[i][0], k) && strchr(" ,:", at[k]);
            const char *from = word ? names[i][1] : at;
            size_t length = word ? strlen(from) : 1;
            memcpy(to, from, length);
            to += length;
            at += word ? k : 1;
        }
        text = out;
    }
    return (char *)text;
}

static inline ir_module *tiny_planned(base_ctx *c, base_arena *a, const char *text)
{
    ir_module *m = ir_parse(c, a, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m != NULL, "%s", first_error);
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(m, p, true);
    return m;
}

static inline ir_module *tiny_module(base_ctx *c, base_arena *a, int n)
{
    return tiny_planned(c, a, tiny_named(a, tiny_text(a, n)));
}

#endif
