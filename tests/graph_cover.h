/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The coverage of random graphs: primitives by an operand's element type (a result's, if there are
 * no operands) and by what produces it. Cells that no graph can fill are blank and not counted:
 * types that the row in ir/ops.def does not allow, and what cover_possible excludes. */
#ifndef TESTS_GRAPH_COVER_H
#define TESTS_GRAPH_COVER_H

#include "ir/ir.h"

typedef enum cover_kind {
    COVER_INPUT,
    COVER_STATE,
    COVER_CONSTANT,
    COVER_COMPUTED, /* where a value comes from, below the views */
    COVER_REPEATED,
    COVER_SPLIT,
    COVER_TURNED,
    COVER_STRIDED,
    COVER_REVERSED,
    COVER_RESHAPED,
    COVER_CHAIN, /* views on it */
    COVER_UNIT,
    COVER_EMPTY,
    COVER_NESTED,
    COVER_KINDS
} cover_kind;
static const char *const cover_names[] = {"input", "state",  "constant", "computed", "repeated",
                                          "split", "turned", "strided",  "reversed", "reshaped",
                                          "chain", "unit",   "empty",    "nested"};

typedef struct cover {
    uint32_t met[IR_OPS][IR_DTYPES][COVER_KINDS];
    uint32_t graphs, instructions, directions, judged;
} cover;

/* The kinds of an operand, a bit each. split: a reshape over a broadcast axis. */
static inline unsigned cover_of(const ir_value *v)
{
    unsigned kinds = 0;
    int views = 0;
    bool reshaped = false;
    for (int i = 0; i < v->type.rank; i++)
        kinds |= v->type.dim[i] == 1   ? 1u << COVER_UNIT
                 : v->type.dim[i] == 0 ? 1u << COVER_EMPTY
                                       : 0;
    for (; v->def; v = v->def->operand[0], views++) {
        ir_op op = v->def->op;
        if (op == IR_OP_broadcast)
            kinds |= 1u << COVER_REPEATED | (reshaped ? 1u << COVER_SPLIT : 0);
        else if (op == IR_OP_transpose)
            kinds |= 1u << COVER_TURNED;
        else if (op == IR_OP_slice)
            kinds |= 1u << COVER_STRIDED;
        else if (op == IR_OP_reverse)
            kinds |= 1u << COVER_REVERSED;
        else if (op == IR_OP_reshape)
            kinds |= 1u << COVER_RESHAPED;
        else
            break;
        reshaped |= op == IR_OP_reshape;
    }
    kinds |= views > 1 ? 1u << COVER_CHAIN : 0;
    if (v->def)
        return kinds | 1u << (v->def->op == IR_OP_constant ? COVER_CONSTANT : COVER_COMPUTED);
    return kinds | 1u << (v->func->params.items[v->index].state ? COVER_STATE : COVER_INPUT);
}

static inline void cover_count(cover *c, ir_op op, ir_dtype t, unsigned kinds)
{
    for (int k = 0; k < COVER_KINDS; k++)
        __atomic_fetch_add(&c->met[op][t][k], kinds >> k & 1, __ATOMIC_RELAXED);
}

static inline void cover_add(cover *c, const ir_module *m)
{
    __atomic_fetch_add(&c->graphs, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR(inst, m->funcs.items[i])
        {
            unsigned nested = m->funcs.items[i]->entry ? 0 : 1u << COVER_NESTED;
            __atomic_fetch_add(&c->instructions, 1, __ATOMIC_RELAXED);
            for (int k = 0; k < inst->noperands; k++)
                cover_count(c, inst->op, inst->operand[k]->type.dtype,
                            nested | cover_of(inst->operand[k]));
            if (!inst->noperands && inst->nresults) /* constants and iota have no operands */
                cover_count(c, inst->op, inst->result[0]->type.dtype,
                            nested | 1u << COVER_CONSTANT);
        }
}

/* Whether an operand of this type (any: -1) can come from this (any: -1). Rows say which types are
 * computed with: structured ops take all, and the keys of random_bits are u64[]. */
static inline bool cover_possible(int op, int t, int kind)
{
    if (op == IR_OP_random_bits)
        return (t < 0 || t == IR_U64) && kind != COVER_UNIT && kind != COVER_EMPTY;
    int classes = ir_ops[op].traits & IR_STRUCTURED ? IR_CLASS_ANY : ir_ops[op].classes;
    return t < 0 || ir_dtypes[t].class & classes;
}

static inline uint32_t cover_sum(const cover *c, int op, int t, int kind)
{
    uint32_t n = 0;
    for (int i = 0; i < IR_DTYPES; i++)
        for (int k = 0; k < COVER_KINDS; k++)
            n += (t < 0 || i == t) && (kind < 0 ? k < COVER_REPEATED : k == kind) ? c->met[op][i][k]
                                                                                  : 0;
    return n;
}

static inline void cover_row(FILE *out, const cover *c, int op, int columns, bool types)
{
    fprintf(out, "%-14s", ir_ops[op].name);
    for (int i = 0; i < columns; i++) {
        uint32_t n = types ? cover_sum(c, op, i, -1) : cover_sum(c, op, -1, i);
        if (!(types ? cover_possible(op, i, -1) : cover_possible(op, -1, i)))
            fprintf(out, "        ");
        else
            fprintf(out, n ? " %7u" : "    HOLE", n);
    }
    fputc('\n', out);
}

/* Two tables, and how many cells of all three ways together are empty. */
static inline void cover_print(FILE *out, const cover *c)
{
    fprintf(out, "operands met, by primitive and their element type\n%-14s", "");
    for (int t = 0; t < IR_DTYPES; t++)
        fprintf(out, " %7s", ir_dtypes[t].name);
    fputc('\n', out);
    for (int op = 0; op < IR_OPS; op++)
        cover_row(out, c, op, IR_DTYPES, true);
    fprintf(out, "\nby primitive and what stands in front\n%-14s", "");
    for (int k = 0; k < COVER_KINDS; k++)
        fprintf(out, " %7.7s", cover_names[k]);
    fputc('\n', out);
    int cells = 0, empty = 0;
    for (int op = 0; op < IR_OPS; op++) {
        if (ir_ops[op].operands)
            cover_row(out, c, op, COVER_KINDS, false);
        for (int t = 0; t < IR_DTYPES && ir_ops[op].operands; t++)
            for (int k = 0; k < COVER_KINDS; k++)
                if (cover_possible(op, t, k)) {
                    cells++;
                    empty += !c->met[op][t][k];
                }
    }
    fprintf(out,
            "\n%u graphs, %u instructions; %d of %d cells primitive x type x kind are empty; %u of "
            "%u slopes were without a kink\n",
            c->graphs, c->instructions, empty, cells, c->judged, c->directions);
}

#endif
