/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Values at an index, storage, and the control flow inside a kernel. */
#include "codegen/emit.h"

#include <string.h>

/* ---- Registers ---- */

LLVMTypeRef cg_type(cg_emitter *e, ir_dtype t, int lanes)
{
    const cg_unit *u = e->u;
    LLVMTypeRef element = t == IR_BOOL                  ? u->i1
                          : t == IR_F16 || t == IR_BF16 ? u->f32
                                                        : cg_dtype(u, t);
    return cg_vector(element, lanes);
}

LLVMValueRef cg_as_vector(cg_emitter *e, LLVMValueRef x)
{
    return cg_lanes_of(x) == e->lanes ? x : cg_splat(e->u, x, e->lanes);
}

void cg_level(cg_emitter *e, LLVMValueRef *x, LLVMValueRef *y)
{
    int m = cg_lanes_of(*x), n = cg_lanes_of(*y);
    if (m == n)
        return;
    if (m == 1)
        *x = cg_splat(e->u, *x, n);
    else
        *y = cg_splat(e->u, *y, m);
}

LLVMValueRef cg_number(cg_emitter *e, ir_dtype t, double v)
{
    return ir_is_float(t) ? LLVMConstReal(cg_type(e, t, 1), v) : cg_integer(e, t, (int64_t)v);
}

LLVMValueRef cg_integer(cg_emitter *e, ir_dtype t, int64_t v)
{
    return ir_is_float(t) ? cg_number(e, t, (double)v)
                          : LLVMConstInt(cg_type(e, t, 1), (unsigned long long)v, 1);
}

/* Zero for an empty literal, which only a loop without iterations reads. */
static LLVMValueRef splat_number(cg_emitter *e, const ir_literal *l)
{
    ir_dtype t = l->type.dtype;
    if (!ir_count(&l->type))
        return cg_number(e, t, 0);
    return ir_is_float(t) ? LLVMConstReal(cg_type(e, t, 1), ir_literal_get(l, 0))
                          : cg_integer(e, t, ir_literal_get_int(l, 0));
}

LLVMValueRef cg_fma(cg_emitter *e, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z)
{
    cg_unit *u = e->u;
    if (!u->target->fma)
        return LLVMBuildFAdd(u->b, LLVMBuildFMul(u->b, x, y, ""), z, "");
    LLVMTypeRef type = LLVMTypeOf(z);
    return cg_intrinsic(u, "llvm.fma", &type, 1, (LLVMValueRef[]){x, y, z}, 3);
}

/* ---- Storage ---- */

LLVMValueRef cg_storage(cg_emitter *e, const ir_value *leaf)
{
    for (int i = 0; i < e->leaf.count; i++)
        if (e->leaf.items[i] == leaf)
            return LLVMGetParam(e->function, (unsigned)e->argument.items[i]);
    BUG("a kernel reads %s, which is not among its storage", leaf->name ? leaf->name : "a value");
}

cg_index cg_element(cg_emitter *e, const ir_value *v, const cg_index *at)
{
    int64_t stride[IR_MAX_RANK];
    ir_storage_strides(v, stride);
    cg_index r = cg_of(0);
    for (int i = 0; i < v->type.rank; i++)
        if (v->type.dim[i] != 1)
            r = cg_add(e, &r, &at[i], stride[i]);
    return r;
}

static LLVMValueRef address(cg_emitter *e, const ir_value *leaf, LLVMValueRef element)
{
    cg_unit *u = e->u;
    return LLVMBuildInBoundsGEP2(u->b, cg_dtype(u, leaf->type.dtype), cg_storage(e, leaf), &element,
                                 1, "");
}

static LLVMValueRef load(cg_emitter *e, ir_dtype t, LLVMValueRef from, int lanes)
{
    LLVMValueRef v = LLVMBuildLoad2(e->u->b, cg_vector(cg_dtype(e->u, t), lanes), from, "");
    LLVMSetAlignment(v, (unsigned)ir_dtypes[t].bytes);
    return cg_from_memory(e, t, v);
}

static LLVMValueRef reversed(cg_emitter *e, LLVMValueRef v)
{
    LLVMValueRef order[1024];
    int n = cg_lanes_of(v);
    for (int i = 0; i < n; i++)
        order[i] = LLVMConstInt(e->u->i32, (unsigned long long)(n - 1 - i), 0);
    return LLVMBuildShuffleVector(e->u->b, v, LLVMGetPoison(LLVMTypeOf(v)),
                                  LLVMConstVector(order, (unsigned)n), "");
}

/* The element of a lane: base + lane * stride, or its value in the varying index `each`. */
static LLVMValueRef lane_element(cg_emitter *e, LLVMValueRef base, LLVMValueRef each,
                                 int64_t stride, int lane)
{
    cg_unit *u = e->u;
    return each ? LLVMBuildExtractElement(u->b, each,
                                          LLVMConstInt(u->i32, (unsigned long long)lane, 0), "")
                : LLVMBuildNSWAdd(u->b, base, cg_i64(u, stride * lane), "");
}

LLVMValueRef cg_load_element(cg_emitter *e, const ir_value *leaf, const cg_index *where)
{
    cg_unit *u = e->u;
    ir_dtype t = leaf->type.dtype;
    int64_t stride = cg_lane_stride(where);
    bool varying = cg_is_varying(where);
    LLVMValueRef base = varying ? NULL : cg_scalar_part(e, where);
    if (!varying && (e->lanes == 1 || stride == 0))
        return load(e, t, address(e, leaf, base), 1);
    if (!varying && stride == 1)
        return load(e, t, address(e, leaf, base), e->lanes);
    if (!varying && stride == -1)
        return reversed(
            e,
            load(e, t, address(e, leaf, LLVMBuildNSWSub(u->b, base, cg_i64(u, e->lanes - 1), "")),
                 e->lanes));
    LLVMValueRef each = varying ? cg_index_value(e, where) : NULL;
    if (e->lanes == 1)
        return load(e, t, address(e, leaf, each), 1);
    LLVMValueRef v = LLVMGetPoison(cg_type(e, t, e->lanes));
    for (int i = 0; i < e->lanes; i++)
        v = LLVMBuildInsertElement(
            u->b, v, load(e, t, address(e, leaf, lane_element(e, base, each, stride, i)), 1),
            LLVMConstInt(u->i32, (unsigned long long)i, 0), "");
    return v;
}

LLVMValueRef cg_load_lanes(cg_emitter *e, const ir_value *leaf, const cg_index *where,
                           LLVMValueRef mask)
{
    cg_unit *u = e->u;
    ir_dtype t = leaf->type.dtype;
    LLVMTypeRef element = cg_dtype(u, t),
                type[] = {cg_vector(element, e->lanes), LLVMTypeOf(cg_storage(e, leaf))};
    LLVMValueRef at = cg_scalar_part(e, where),
                 from = LLVMBuildGEP2(u->b, element, cg_storage(e, leaf), &at, 1, "");
    LLVMValueRef args[] = {from, LLVMConstInt(u->i32, (unsigned long long)ir_dtypes[t].bytes, 0),
                           mask, LLVMConstNull(type[0])};
    return cg_from_memory(e, t, cg_intrinsic(u, "llvm.masked.load", type, 2, args, 4));
}

static void store(cg_emitter *e, ir_dtype t, LLVMValueRef value, LLVMValueRef to)
{
    LLVMSetAlignment(LLVMBuildStore(e->u->b, cg_to_memory(e, t, value), to),
                     (unsigned)ir_dtypes[t].bytes);
}

void cg_store_element(cg_emitter *e, const ir_value *leaf, const cg_index *where,
                      LLVMValueRef value)
{
    cg_unit *u = e->u;
    ir_dtype t = leaf->type.dtype;
    int64_t stride = cg_lane_stride(where);
    bool varying = cg_is_varying(where);
    LLVMValueRef base = varying ? NULL : cg_scalar_part(e, where),
                 each = varying ? cg_index_value(e, where) : NULL;
    if (e->lanes == 1 || (!varying && stride == 0)) {
        store(e, t, value, address(e, leaf, base ? base : each));
        return;
    }
    value = cg_as_vector(e, value);
    if (stride == 1 && !varying) {
        store(e, t, value, address(e, leaf, base));
        return;
    }
    for (int i = 0; i < e->lanes; i++)
        store(e, t,
              LLVMBuildExtractElement(u->b, value, LLVMConstInt(u->i32, (unsigned long long)i, 0),
                                      ""),
              address(e, leaf, lane_element(e, base, each, stride, i)));
}

void cg_store(cg_emitter *e, const ir_value *v, const cg_index *at, LLVMValueRef value)
{
    cg_index where = cg_element(e, v, at);
    cg_store_element(e, v, &where, value);
}

/* ---- Values ---- */

bool cg_is_leaf(const cg_emitter *e, const ir_value *v)
{
    return ir_is_read(e->kernel, v);
}

void cg_forget(cg_emitter *e, int mark)
{
    e->memo.count = mark;
}

LLVMValueRef cg_known(cg_emitter *e, const ir_value *v, const cg_index *at)
{
    for (int i = e->memo.count - 1; i >= 0; i--) {
        const cg_memo *m = &e->memo.items[i];
        if (m->value != v)
            continue;
        bool same = true;
        for (int d = 0; d < v->type.rank && same; d++)
            same = cg_index_eq(&m->at[d], &at[d]);
        if (same)
            return m->emitted;
    }
    return NULL;
}

LLVMValueRef cg_at(cg_emitter *e, const ir_value *v, const cg_index *at)
{
    if (v == e->anchor && e->anchor_value)
        return e->anchor_value;
    if (v->def && v->def->op == IR_OP_constant && ir_is_immediate(v))
        return splat_number(e, IR_ATTR(v->def, constant)->value);
    LLVMValueRef emitted = cg_known(e, v, at);
    if (emitted)
        return emitted;
    if (cg_is_leaf(e, v)) {
        cg_index where = cg_element(e, v, at);
        emitted = cg_load_element(e, v, &where);
    } else {
        LLVMMetadataRef place = cg_debug_enter(e->u, v->def->loc);
        emitted = cg_rules[v->def->op](e, v->def, v->index, at);
        cg_debug_leave(e->u, place);
    }
    cg_memo m = {v, base_memdup(e->arena, at, (size_t)v->type.rank * sizeof *at), emitted};
    BASE_PUSH(e->arena, &e->memo, m);
    return emitted;
}

/* ---- Control flow ---- */

static LLVMBasicBlockRef block(cg_emitter *e)
{
    return LLVMAppendBasicBlockInContext(e->u->ll, e->function, "");
}

/* Does the loop count in 32 bits, on a 32-bit processor? LLVM does not narrow it by itself, and
 * code of examples/fashion/cnn.onnx for a Cortex-M4 is 5 % smaller so (`size cnn.o`). The number of
 * tasks always fits: it is less than the bytes of memory. */
static bool is_narrow(const cg_emitter *e, LLVMValueRef start, LLVMValueRef end)
{
    enum { MOST = 1 << 30 };
    return e->u->target->system->word_bytes == 4 && LLVMIsAConstantInt(start) &&
           LLVMConstIntGetZExtValue(start) < MOST &&
           (end == e->hi || (LLVMIsAConstantInt(end) && LLVMConstIntGetSExtValue(end) < MOST));
}

void cg_loop_begin(cg_emitter *e, cg_loop *loop, LLVMValueRef start, LLVMValueRef end, int64_t step,
                   bool sure)
{
    cg_unit *u = e->u;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(u->b);
    *loop = (cg_loop){
        .body = block(e), .done = block(e), .end = end, .step = step, .mark = e->memo.count};
    if (sure)
        LLVMBuildBr(u->b, loop->body);
    else
        LLVMBuildCondBr(u->b, LLVMBuildICmp(u->b, LLVMIntSLT, start, end, ""), loop->body,
                        loop->done);
    LLVMPositionBuilderAtEnd(u->b, loop->body);
    if (is_narrow(e, start, end)) {
        start = LLVMBuildTrunc(u->b, start, u->i32, "");
        loop->narrow = LLVMBuildPhi(u->b, u->i32, "");
        LLVMAddIncoming(loop->narrow, &start, &before, 1);
        loop->i = LLVMBuildZExt(u->b, loop->narrow, u->i64, "");
        return;
    }
    loop->i = LLVMBuildPhi(u->b, u->i64, "");
    LLVMAddIncoming(loop->i, &start, &before, 1);
}

void cg_loop_end(cg_emitter *e, cg_loop *loop)
{
    cg_unit *u = e->u;
    LLVMValueRef count = loop->i, end = loop->end, step = cg_i64(u, loop->step);
    if (loop->narrow) {
        count = loop->narrow;
        end = LLVMBuildTrunc(u->b, end, u->i32, "");
        step = LLVMConstInt(u->i32, (unsigned long long)loop->step, 1);
    }
    LLVMValueRef next = LLVMBuildNSWAdd(u->b, count, step, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(u->b);
    LLVMBuildCondBr(u->b, LLVMBuildICmp(u->b, LLVMIntSLT, next, end, ""), loop->body, loop->done);
    LLVMAddIncoming(count, &next, &latch, 1);
    LLVMPositionBuilderAtEnd(u->b, loop->done);
    cg_forget(e, loop->mark);
}

cg_index cg_loop_count(cg_emitter *e, cg_loop *loop, int64_t count)
{
    cg_loop_begin(e, loop, cg_i64(e->u, 0), cg_i64(e->u, count), 1, count > 0);
    return cg_of_var(cg_var_new(e, loop->i, count > 0 ? count - 1 : 0));
}

void cg_if(cg_emitter *e, cg_branch *b, LLVMValueRef condition)
{
    cg_unit *u = e->u;
    LLVMBasicBlockRef then = block(e);
    *b = (cg_branch){.done = block(e), .mark = e->memo.count};
    LLVMBuildCondBr(u->b, condition, then, b->done);
    LLVMPositionBuilderAtEnd(u->b, then);
}

void cg_endif(cg_emitter *e, cg_branch *b)
{
    LLVMBuildBr(e->u->b, b->done);
    LLVMPositionBuilderAtEnd(e->u->b, b->done);
    cg_forget(e, b->mark);
}

LLVMValueRef cg_local(cg_emitter *e, LLVMTypeRef type)
{
    cg_unit *u = e->u;
    LLVMBasicBlockRef now = LLVMGetInsertBlock(u->b), first = LLVMGetEntryBasicBlock(e->function);
    LLVMValueRef at = LLVMGetFirstInstruction(first);
    if (at)
        LLVMPositionBuilderBefore(u->b, at);
    else
        LLVMPositionBuilderAtEnd(u->b, first);
    LLVMValueRef slot = LLVMBuildAlloca(u->b, type, "");
    LLVMPositionBuilderAtEnd(u->b, now);
    return slot;
}
