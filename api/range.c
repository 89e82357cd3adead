/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Which integers the model accepts at an input: for the header's comments, and for messages about
 * values out of range. They follow from the graph before the passes, where the index of a gather is
 * an input itself, or an input with one value replaced (an ignored label) or with negative values
 * counted from the end. */
#include "api/session.h"

#include <string.h>

enum { DEEP = 32 };

/* Whether all elements of v are one constant integer. */
static bool is_number(const ir_value *v, int64_t *out)
{
    for (int i = 0;
         i < DEEP && v->def && (ir_has_trait(v->def, IR_VIEW) || v->def->op == IR_OP_convert); i++)
        v = v->def->operand[0];
    if (!v->def || v->def->op != IR_OP_constant || ir_count(&v->type) != 1 ||
        !ir_is_int(v->type.dtype))
        return false;
    *out = ir_literal_get_int(IR_ATTR(v->def, constant)->value, 0);
    return true;
}

/* The value behind views and integer conversions. */
static const ir_value *source(const ir_value *v)
{
    for (int i = 0; i < DEEP && v->def; i++) {
        ir_op op = v->def->op;
        if (op != IR_OP_reshape && op != IR_OP_broadcast && op != IR_OP_transpose &&
            (op != IR_OP_convert || !ir_is_int(v->def->operand[0]->type.dtype)))
            break;
        v = v->def->operand[0];
    }
    return v;
}

static bool is_compared(const ir_value *cond, ir_relation relation, const ir_value *with,
                        int64_t *number)
{
    const ir_inst *c = source(cond)->def;
    return c && c->op == IR_OP_compare && IR_ATTR(c, compare)->relation == (int64_t)relation &&
           source(c->operand[0]) == with && is_number(c->operand[1], number);
}

/* The input that v comes from, or NULL; `range`: the values of the input for which v is within [0,
 * limit). */
static const ir_value *input_of(const ir_value *v, int64_t limit, cg_taken *range)
{
    *range = (cg_taken){.high = limit - 1};
    v = source(v);
    for (int i = 0; i < 2 && v->def && v->def->op == IR_OP_select; i++) {
        const ir_value *cond = v->def->operand[0], *yes = source(v->def->operand[1]),
                       *no = source(v->def->operand[2]);
        int64_t number, other;
        if (!range->has_other && is_compared(cond, IR_NE, yes, &number) && is_number(no, &other) &&
            other >= 0 && other < limit) {
            range->has_other = true;
            range->other = number;
            v = yes;
        } else if (!range->low && is_compared(cond, IR_LT, no, &number) && number == 0 &&
                   yes->def && yes->def->op == IR_OP_add && source(yes->def->operand[0]) == no &&
                   is_number(yes->def->operand[1], &number) && number == limit) {
            range->low = -limit;
            v = no;
        } else {
            return NULL;
        }
    }
    return v->def ? NULL : v;
}

/* Intersects two ranges of one input; a replaced value stays allowed only if both replace it. */
static void meet(cg_taken *x, const cg_taken *y)
{
    x->has_other &= y->has_other && x->other == y->other;
    x->low = x->low > y->low ? x->low : y->low;
    x->high = x->high < y->high ? x->high : y->high;
}

static void add_func(api_session *s, const ir_func *f)
{
    IR_FOR (inst, f) {
        if (inst->op != IR_OP_gather || IR_ATTR(inst, gather)->dims.n != 1)
            continue;
        cg_taken range;
        const ir_value *v = input_of(
            inst->operand[1], inst->operand[0]->type.dim[IR_ATTR(inst, gather)->dims.v[0]], &range);
        const ir_port *p = v ? &f->params.items[v->index] : NULL;
        if (!p || p->bind != IR_INPUT || p->role != IR_DATA)
            continue;
        int i = 0;
        while (i < s->ranges.count && strcmp(s->ranges.items[i].name, p->name))
            i++;
        range.name = p->name;
        if (i < s->ranges.count)
            meet(&s->ranges.items[i], &range);
        else
            BASE_PUSH(s->arena, &s->ranges, range);
    }
}

void api_find_ranges(api_session *s)
{
    for (int k = 0; k < s->nspecs; k++)
        for (int i = 0; i < s->module[k]->funcs.count; i++)
            if (s->module[k]->funcs.items[i]->entry)
                add_func(s, s->module[k]->funcs.items[i]);
}
