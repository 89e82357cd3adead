/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Constant folding while a model is read. Shapes are known, and so is all that is computed from
 * them; initializers and inputs become constants where a shape depends on them. */
#include "frontend/onnx/reader.h"

/* Ops that cost no more than reading their operands and writing their results. */
static bool cheap(const ir_inst *inst)
{
    return !ir_has_trait(inst, IR_CONTRACTION | IR_OVER_WINDOW | IR_STRUCTURED);
}

static const char *input_name(const onnx_reader *r, const ir_value *v)
{
    return v->func == r->main && r->main->params.items[v->index].bind == IR_INPUT
               ? r->main->params.items[v->index].name
               : NULL;
}

onnx_init *onnx_init_of(onnx_reader *r, ir_value *v)
{
    for (ir_value *outer; v && (outer = base_map_get_ptr(&r->outer_of, v)); v = outer)
        ;
    if (!v || v->def || v->func != r->main || r->main->params.items[v->index].bind != IR_STATE)
        return NULL;
    return base_map_get_ptr(&r->states, r->main->params.items[v->index].state);
}

/* A parameter's literal where a constant is required. */
static ir_literal *of_param(onnx_reader *r, ir_value *v, const char **why)
{
    onnx_init *init = onnx_init_of(r, v);
    if (init) {
        if (!init->constant) {
            init->constant = r->changed = true;
            init->why = "it determines a shape";
        }
        return init->value;
    }
    const char *name = input_name(r, v);
    if (!name) {
        *why = v->name && *v->name ? v->name : "a value inside a loop";
        return NULL;
    }
    *why = base_format(r->scratch, "the input '%s', which can be baked", name);
    for (int i = 0; i < r->options->noffered; i++)
        if (!strcmp(r->options->offered[i].name, name)) {
            ir_literal *l = r->options->offered[i].value;
            if (!ir_type_eq(&l->type, &v->type))
                return NULL;
            base_map_put_text(&r->used_offers, name, l);
            r->changed = true;
            return l;
        }
    return NULL;
}

static bool evaluate(onnx_reader *r, const ir_inst *inst)
{
    ir_literal *result[8], **operand = base_array(r->scratch, ir_literal *, inst->noperands + 1);
    int64_t bytes = 0;
    if (inst->nresults > 8)
        return false;
    for (int i = 0; i < inst->nresults; i++)
        bytes += ir_bytes(&inst->result[i]->type) > IR_MAX_FOLD_BYTES
                     ? IR_MAX_FOLD_BYTES + 1
                     : ir_bytes(&inst->result[i]->type);
    for (int i = 0; i < inst->noperands; i++) {
        operand[i] = base_map_get_ptr(&r->known, inst->operand[i]);
        bytes += ir_bytes(&operand[i]->type);
    }
    if (bytes > r->fold_left)
        return false;
    r->fold_left -= bytes;
    ir_eval_inst(r->arena, inst, operand, result);
    for (int i = 0; i < inst->nresults; i++)
        base_map_put_ptr(&r->known, inst->result[i], result[i]);
    return true;
}

static ir_literal *fold(onnx_reader *r, ir_value *asked, bool demand, const char **why)
{
    base_arena *temporary = base_arena_new(r->ctx);
    BASE_LIST(ir_value *) stack = {0};
    ir_literal *answer = NULL;
    BASE_PUSH(temporary, &stack, asked);
    while (stack.count) {
        ir_value *v = stack.items[stack.count - 1], *outer = base_map_get_ptr(&r->outer_of, v);
        ir_literal *l = base_map_get_ptr(&r->known, v);
        if (!l && outer) {
            l = base_map_get_ptr(&r->known, outer);
            if (!l) {
                BASE_PUSH(temporary, &stack, outer);
                continue;
            }
        } else if (!l && !v->def) {
            l = demand ? of_param(r, v, why) : NULL;
            if (!l)
                break;
        } else if (!l && v->def->op == IR_OP_constant) {
            l = IR_ATTR(v->def, constant)->value;
        } else if (!l) {
            int due = stack.count;
            *why = "values computed from data";
            if (!cheap(v->def))
                break;
            for (int i = 0; i < v->def->noperands; i++)
                if (!base_map_get_ptr(&r->known, v->def->operand[i]))
                    BASE_PUSH(temporary, &stack, v->def->operand[i]);
            if (stack.count > due)
                continue;
            *why = "a computation that is too large to fold";
            if (!evaluate(r, v->def))
                break;
            l = base_map_get_ptr(&r->known, v);
        }
        base_map_put_ptr(&r->known, v, l);
        stack.count--;
        if (!stack.count)
            answer = l;
    }
    base_arena_free(temporary);
    return answer;
}

ir_literal *onnx_peek(onnx_reader *r, ir_value *v)
{
    const char *why;
    return v ? fold(r, v, false, &why) : NULL;
}

ir_literal *onnx_demand(onnx_reader *r, ir_value *v, const char **why)
{
    *why = "an input that is missing";
    return v ? fold(r, v, true, why) : NULL;
}
