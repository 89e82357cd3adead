/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Tasks of a contraction, its operands, and its epilogue: the outputs' expressions. */
#include "codegen/contraction.h"

cg_contraction cg_contraction_of(cg_emitter *e, const sched_contraction *s)
{
    return (cg_contraction){.e = e,
                            .s = s,
                            .output = e->kernel->outputs.items[0],
                            .parts = e->kernel->schedule->nparts > 1};
}

/* ---- Operands ---- */

LLVMValueRef cg_operand_pointer(cg_contraction *c, int side, LLVMValueRef base,
                                LLVMValueRef element)
{
    cg_unit *u = c->e->u;
    return LLVMBuildInBoundsGEP2(u->b, cg_dtype(u, c->s->of[side]), base, &element, 1,
                                 side ? "b" : "a");
}

LLVMValueRef cg_operand_load(cg_contraction *c, int side, LLVMValueRef pointer, int64_t offset,
                             int n)
{
    cg_unit *u = c->e->u;
    LLVMValueRef at = cg_operand_pointer(c, side, pointer, cg_i64(u, offset));
    ir_dtype of = c->s->of[side], sum = c->s->dtype;
    LLVMValueRef v = LLVMBuildLoad2(u->b, cg_vector(cg_dtype(u, of), n), at, "");
    LLVMSetAlignment(v, (unsigned)ir_dtypes[of].bytes);
    v = cg_from_memory(c->e, of, v);
    LLVMTypeRef type = cg_type(c->e, sum, n);
    if (LLVMTypeOf(v) == type)
        return v;
    return ir_is_float(of)    ? LLVMBuildFPExt(u->b, v, type, "")
           : ir_is_signed(of) ? LLVMBuildSExt(u->b, v, type, "")
                              : LLVMBuildZExt(u->b, v, type, "");
}

LLVMValueRef cg_multiply_add(cg_contraction *c, LLVMValueRef x, LLVMValueRef y, LLVMValueRef sum)
{
    LLVMBuilderRef b = c->e->u->b;
    return ir_is_float(c->s->dtype) ? cg_fma(c->e, x, y, sum)
                                    : LLVMBuildAdd(b, LLVMBuildMul(b, x, y, ""), sum, "");
}

/* ---- Epilogue ---- */

void cg_output_index(cg_contraction *c, const cg_index *part, const cg_index *lane, cg_index *at)
{
    for (int d = 0; d < c->output->type.rank; d++)
        at[d] = cg_of(c->s->first[d]);
    for (int i = 0; i < c->s->naxes; i++) {
        const sched_axis *x = &c->s->axis[i];
        cg_index here = cg_add(c->e, &c->base[i], i == c->s->lane ? lane : &part[i], 1);
        at[x->out] = cg_add(c->e, &at[x->out], &here, x->times);
    }
}

void cg_finish(cg_contraction *c, const cg_index *at, LLVMValueRef sum)
{
    cg_emitter *e = c->e;
    const ir_kernel *k = e->kernel;
    LLVMValueRef *value = base_array(e->u->arena, LLVMValueRef, k->outputs.count);
    int mark = e->memo.count;
    e->anchor = k->anchor->result[0];
    e->anchor_value = cg_round(e, c->s->dtype, sum);
    /* All outputs are computed before any is stored: one may share the storage of an operand. */
    for (int i = 0; i < k->outputs.count; i++)
        value[i] = cg_at(e, k->outputs.items[i], at);
    for (int i = 0; i < k->outputs.count; i++)
        cg_store(e, k->outputs.items[i], at, value[i]);
    e->anchor_value = NULL;
    cg_forget(e, mark);
}

/* ---- Tasks ---- */

cg_index cg_contract_task(cg_contraction *c, cg_loop *loop)
{
    cg_emitter *e = c->e;
    cg_unit *u = e->u;
    LLVMValueRef lo = e->lo, hi = e->hi;
    if (c->parts) { /* this part's share of lo … hi */
        LLVMValueRef before = cg_i64(u, c->s->tasks_before);
        lo = cg_max(e, LLVMBuildNSWSub(u->b, lo, before, ""), cg_i64(u, 0));
        hi = cg_min(e, LLVMBuildNSWSub(u->b, hi, before, ""), cg_i64(u, c->s->tasks));
    }
    cg_loop_begin(e, loop, lo, hi, 1, !c->parts);
    return cg_of_var(cg_var_new(e, loop->i, c->s->tasks - 1));
}

void cg_contract_start(cg_contraction *c, cg_index task, cg_index start[3])
{
    start[0] = cg_of(c->s->operand[0].offset);
    start[1] = cg_of(c->s->operand[1].offset);
    start[2] = cg_of(0);
    for (int i = 0; i < c->s->naxes; i++) {
        const sched_axis *x = &c->s->axis[i];
        if (i != c->s->lane)
            c->base[i] = cg_of(0);
        if (i != c->s->lane && x->stride[c->s->vector])
            cg_divide(c->e, &task, x->extent, &task, &c->base[i]);
        for (int s = 0; s < 3; s++)
            start[s] = cg_add(c->e, &start[s], &c->base[i], s < 2 ? x->stride[s] : x->out_stride);
    }
}

void cg_row_parts(cg_contraction *c, int from, cg_index row, cg_index *part)
{
    for (int i = from; i < c->s->nrows; i++) {
        if (i == c->s->nrows - 1)
            part[c->s->row[i]] = row;
        else
            cg_divide(c->e, &row, c->s->axis[c->s->row[i]].extent, &row, &part[c->s->row[i]]);
    }
}
