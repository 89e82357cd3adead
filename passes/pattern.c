/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Queries on values that several passes use. */
#include "passes/pass_utils.h"

bool match_splat(const ir_value *v, ir_literal **literal)
{
    for (int steps = 0; steps < 16 && v->def; steps++) {
        if (v->def->op == IR_OP_constant) {
            ir_literal *l = IR_ATTR(v->def, constant)->value;
            if (ir_count(&l->type) < 1 || !ir_literal_is_splat(l))
                return false;
            *literal = l;
            return true;
        }
        if (!ir_is_view(v->def))
            return false;
        v = v->def->operand[0];
    }
    return false;
}

bool match_number(const ir_value *v, double *number)
{
    ir_literal *l;
    if (!match_splat(v, &l))
        return false;
    *number = ir_literal_get(l, 0);
    int64_t whole = ir_literal_get_int(l, 0);
    return !ir_is_int(l->type.dtype) || (whole > -((int64_t)1 << 53) && whole < (int64_t)1 << 53);
}

bool match_is(const ir_value *v, double number)
{
    double found;
    return match_number(v, &found) && found == number;
}

bool match_unit_reshape(const ir_type *from, const ir_type *to)
{
    int i = 0, j = 0;
    for (;; i++, j++) {
        while (i < from->rank && from->dim[i] == 1)
            i++;
        while (j < to->rank && to->dim[j] == 1)
            j++;
        if (i == from->rank || j == to->rank)
            return i == from->rank && j == to->rank;
        if (from->dim[i] != to->dim[j])
            return false;
    }
}

ir_value *match_under_views(ir_value *v)
{
    while (v->def && ir_is_view(v->def))
        v = v->def->operand[0];
    return v;
}

bool match_view(ir_value *v, ir_view *out)
{
    ir_value *base = match_under_views(v);
    ir_kernel *before = base->kernel, any = {0};
    if (base->def && base->def->op != IR_OP_constant && !before)
        base->kernel = &any;
    bool is = ir_view_of(v, out);
    base->kernel = before;
    return is;
}

/* A value's aux says that this walk has visited it; the lowest bit, that it came along a path that
 * moves. */
static bool walk_moved(const ir_kernel *k, ir_value *from, const ir_value *v, bool moved,
                       uintptr_t stamp)
{
    uintptr_t seen = (uintptr_t)from->aux;
    if (from == v)
        return moved;
    if (!from->def || (from->kernel && from->kernel != k) || seen == 2 * stamp + 1 ||
        seen == 2 * stamp + moved)
        return false;
    from->aux = (void *)(2 * stamp + moved); /* NOLINT: aux holds a number */
    bool here = moved || !ir_has_trait(from->def, IR_ELEMENTWISE);
    for (int i = 0; i < from->def->noperands; i++)
        if (walk_moved(k, from->def->operand[i], v, here, stamp))
            return true;
    return false;
}

bool match_reads_moved(const ir_kernel *k, const ir_value *v, uintptr_t *stamp)
{
    ++*stamp;
    for (int i = 0; i < k->outputs.count; i++) {
        ir_value *output = k->outputs.items[i];
        /* Each piece is emitted at the index. */
        bool pieces = k->kind == IR_KERNEL_MAP && ir_in_pieces(output);
        for (int p = 0; p < (pieces ? output->def->noperands : 1); p++)
            if (walk_moved(k, pieces ? output->def->operand[p] : output, v, false, *stamp))
                return true;
    }
    return false;
}

void match_wanted(const ir_func *f, uint64_t *wanted)
{
    for (int i = 0, output = 0; i < f->results.count; i++) {
        const ir_port *r = &f->results.items[i];
        int bit = r->bind == IR_STATE || output >= 63 ? 63 : output;
        output += r->bind != IR_STATE;
        wanted[r->value->id] |= (uint64_t)1 << bit;
    }
    IR_FOR_REVERSE (inst, f) {
        uint64_t bits = 0;
        for (int i = 0; i < inst->nresults; i++)
            bits |= wanted[inst->result[i]->id];
        for (int i = 0; i < inst->noperands; i++)
            wanted[inst->operand[i]->id] |= bits;
        for (int i = 0; i < inst->nresults && inst->nresults > 1; i++)
            wanted[inst->result[i]->id] = bits;
    }
}

/* ---- Replacing values ---- */

void pass_replace_begin(ir_func *f)
{
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->aux = NULL;
}

void pass_replace_in(ir_inst *inst)
{
    for (int i = 0; i < inst->noperands; i++)
        if (inst->operand[i]->aux)
            inst->operand[i] = inst->operand[i]->aux;
    for (int i = 0; i < inst->nresults; i++)
        inst->result[i]->aux = NULL;
}

void pass_replace_end(ir_func *f)
{
    for (int i = 0; i < f->results.count; i++)
        if (f->results.items[i].value->aux)
            f->results.items[i].value = f->results.items[i].value->aux;
}
