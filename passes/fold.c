/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Constant folding: the reference evaluator computes an instruction whose operands are all
 * known. Three rules keep a hostile file from growing the module or the compile time: a splat
 * stays a splat (elementwise instructions on splats compute one element, and a constant with
 * equal elements becomes a broadcast scalar); a result is at most as large as the real constants
 * that it comes from, or FOLD_SMALL elements; and the work per function and the bytes per module
 * have a budget. So iota, broadcast and pad never become big constants: they are cheaper to
 * compute than to load. */
#include "ir/tuning.h"
#include "passes/pass_utils.h"

enum { MOST_OPERANDS = 64 };

typedef struct fold {
    ir_func *f;
    base_arena *scratch; /* operands made for one evaluation */
    int64_t work, bytes;
} fold;

/* Work of an instruction in element operations; -1 if it is not folded. */
static int64_t work_of(const ir_inst *inst)
{
    if (ir_has_trait(inst, IR_STRUCTURED | IR_NULLARY) || inst->op == IR_OP_copy ||
        inst->op == IR_OP_broadcast)
        return -1;
    int64_t n = 0;
    for (int i = 0; i < inst->nresults; i++)
        n += ir_count(&inst->result[i]->type);
    for (int i = 0; i < inst->noperands; i++)
        n += ir_count(&inst->operand[i]->type);
    if (inst->op == IR_OP_dot_general) {
        double macs = ir_cost_macs(inst);
        return macs < (double)IR_TUNING(FOLD_WORK) ? n + (int64_t)macs : -1;
    }
    if (!ir_has_trait(inst, IR_ELEMENTWISE | IR_MOVES | IR_OVER_AXES | IR_OWN_EMITTER)) {
        return n > IR_TUNING(FOLD_WINDOWS)
                   ? -1
                   : n * IR_TUNING(FOLD_WINDOWS); /* windows and convolutions: only small ones */
    }
    return n;
}

/* The value as a literal of its type, or NULL. */
static ir_literal *known(fold *s, const ir_value *v)
{
    ir_inst *c = match(v, IR_OP_constant), *iota = match(v, IR_OP_iota);
    if (c)
        return IR_ATTR(c, constant)->value;
    ir_literal *splat = NULL;
    int64_t n = ir_count(&v->type);
    if (ir_bytes(&v->type) > IR_MAX_FOLD_BYTES || n > s->work || (!iota && !match_splat(v, &splat)))
        return NULL;
    ir_literal *l = ir_literal_new(s->scratch, &v->type);
    s->work -= n;
    if (iota)
        ir_eval_inst(s->scratch, iota, NULL, &l);
    for (int64_t i = 0; i < n && splat; i++)
        if (ir_is_float(v->type.dtype))
            ir_literal_set(l, i, ir_literal_get(splat, 0));
        else
            ir_literal_set_int(l, i, ir_literal_get_int(splat, 0));
    return l;
}

/* A constant, or a broadcast scalar if all elements are equal. */
static ir_value *constant(ir_inst *where, ir_literal *l)
{
    ir_builder b = ir_builder_before(where);
    if (!l->type.rank || !ir_count(&l->type) || !ir_literal_is_splat(l))
        return ir_constant(&b, l);
    ir_type scalar = ir_scalar_type(l->type.dtype);
    ir_literal *one = ir_literal_new(where->func->module->arena, &scalar);
    one->data = base_memdup(where->func->module->arena, l->data, (size_t)ir_bytes(&scalar));
    return ir_broadcast(&b, ir_constant(&b, one), l->type.rank, l->type.dim, NULL);
}

/* An elementwise instruction on splats, as one element. */
static bool fold_splat(ir_inst *inst)
{
    if (!ir_has_trait(inst, IR_ELEMENTWISE) || inst->op == IR_OP_copy)
        return false;
    ir_literal *operand[3], *result;
    ir_value *scalar[3];
    for (int i = 0; i < inst->noperands; i++)
        if (!match_splat(inst->operand[i], &operand[i]))
            return false;
    ir_builder b = ir_builder_before(inst);
    for (int i = 0; i < inst->noperands; i++) {
        ir_type t = ir_scalar_type(inst->operand[i]->type.dtype);
        ir_literal *one = ir_literal_new(inst->func->module->arena, &t);
        one->data = operand[i]->data; /* the first element */
        operand[i] = one;
        scalar[i] = ir_constant(&b, one);
    }
    ir_inst *small = ir_build(&b, inst->op, scalar, inst->noperands, inst->attrs);
    ir_built(&b);
    result = ir_literal_new(inst->func->module->arena, &small->result[0]->type);
    ir_eval_inst(inst->func->module->arena, small, operand, &result);
    ir_remove(small);
    for (int i = inst->noperands; i-- > 0;)
        ir_remove(scalar[i]->def);
    ir_value *v = ir_constant(&b, result);
    inst->result[0]->aux =
        ir_broadcast(&b, v, inst->result[0]->type.rank, inst->result[0]->type.dim, NULL);
    return true;
}

static bool fold_inst(fold *s, ir_inst *inst)
{
    int64_t work = work_of(inst), real = 0, bytes = 0, elements = 0;
    if (work < 0 || work > s->work || !inst->noperands || inst->noperands > MOST_OPERANDS ||
        inst->nresults > MOST_OPERANDS)
        return false;
    ir_literal *operand[MOST_OPERANDS], *result[MOST_OPERANDS];
    for (int i = 0; i < inst->nresults; i++) {
        elements += ir_count(&inst->result[i]->type);
        bytes += ir_bytes(&inst->result[i]->type);
    }
    for (int i = 0; i < inst->noperands; i++)
        if (match(inst->operand[i], IR_OP_constant))
            real += ir_bytes(&inst->operand[i]->type);
    if (bytes > IR_MAX_FOLD_BYTES || bytes > s->bytes ||
        (elements > IR_TUNING(FOLD_SMALL) && bytes > real) || (!real && elements > 1))
        return false;
    for (int i = 0; i < inst->noperands; i++)
        if (!(operand[i] = known(s, inst->operand[i])))
            return false;
    base_arena *arena = inst->func->module->arena;
    for (int i = 0; i < inst->nresults; i++)
        result[i] = ir_literal_new(arena, &inst->result[i]->type);
    ir_eval_inst(arena, inst, operand, result);
    for (int i = 0; i < inst->nresults; i++)
        inst->result[i]->aux = constant(inst, result[i]);
    s->work -= work;
    s->bytes -= bytes;
    return true;
}

void pass_fold(ir_func *f)
{
    fold s = {
        .f = f, .work = IR_TUNING(FOLD_WORK), .bytes = IR_MAX_UNPACKED_BYTES - f->module->folded};
    s.scratch = base_arena_new(f->module->ctx);
    pass_replace_begin(f);
    IR_FOR_SAFE (inst, f) {
        pass_replace_in(inst);
        ir_inst *c = inst->op == IR_OP_constant ? inst : NULL;
        if (c && c->result[0]->type.rank && ir_count(&c->result[0]->type) &&
            ir_literal_is_splat(IR_ATTR(c, constant)->value)) {
            c->result[0]->aux = constant(c, IR_ATTR(c, constant)->value);
            ir_remove(c);
        } else if (fold_splat(inst) || fold_inst(&s, inst)) {
            ir_remove(inst);
        }
    }
    pass_replace_end(f);
    f->module->folded = IR_MAX_UNPACKED_BYTES - s.bytes;
    base_arena_free(s.scratch);
}
