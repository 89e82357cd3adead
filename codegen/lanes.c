/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Vector loops over adjacent elements, and their remainders. LLVM handles a vector of several
 * registers well if its length is a power of two; of any other length it builds a splat element
 * by element. So a remainder is split into pieces. */
#include "codegen/emit.h"

int cg_piece(int64_t left, int width)
{
    int n = width;
    if (left <= width)
        return (int)left;
    while (n * 2 <= left)
        n *= 2;
    return n;
}

/* Elements `constant` + v, …, one for each of e->lanes lanes. */
static cg_index lanes_at(cg_emitter *e, LLVMValueRef v, int64_t most, int64_t constant)
{
    cg_var *var = cg_var_new(e, v, most);
    var->lane = e->lanes > 1;
    cg_index x = cg_of_var(var);
    x.constant = constant;
    return x;
}

void cg_each_piece(cg_emitter *e, int64_t from, int64_t to, int width, cg_lanes_body *body,
                   void *user)
{
    int outer = e->lanes;
    for (int64_t at = from; at < to; at += e->lanes) {
        int mark = e->memo.count;
        e->lanes = cg_piece(to - at, width);
        cg_index x = lanes_at(e, cg_i64(e->u, 0), e->lanes - 1, at);
        body(e, user, &x);
        cg_forget(e, mark);
    }
    e->lanes = outer;
}

void cg_each_lanes(cg_emitter *e, const cg_row *r, cg_lanes_body *body, void *user)
{
    int64_t whole = r->extent / r->lanes * r->lanes;
    int outer = e->lanes;
    cg_unit *u = e->u;
    LLVMValueRef start = cg_i64(u, 0), end = cg_i64(u, whole), last = NULL;
    if (r->chunks > 1) {
        LLVMValueRef number = cg_scalar_part(e, r->chunk);
        start = LLVMBuildMul(u->b, number, cg_i64(u, r->each), "");
        end = cg_min(e, LLVMBuildAdd(u->b, start, cg_i64(u, r->each), ""), end);
        last = LLVMBuildICmp(u->b, LLVMIntEQ, number, cg_i64(u, r->chunks - 1), "");
    }
    e->lanes = r->lanes;
    if (whole) {
        cg_loop loop;
        cg_loop_begin(e, &loop, start, end, r->lanes, r->chunks == 1);
        cg_index x = lanes_at(e, loop.i, r->extent - 1, 0);
        body(e, user, &x);
        cg_loop_end(e, &loop);
    }
    if (r->extent > whole) {
        cg_branch branch;
        if (last)
            cg_if(e, &branch, last);
        cg_each_piece(e, whole, r->extent, r->width, body, user);
        if (last)
            cg_endif(e, &branch);
    }
    e->lanes = outer;
}
