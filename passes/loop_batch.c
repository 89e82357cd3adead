/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * See loop_batch.h. Moves and contractions with a constant are always done outside, and their
 * operand is stacked if necessary. Elementwise instructions, and gathers from a constant, are done
 * outside only where all their operands are known: they cost less than storing another result. */
#include "passes/loop_batch.h"

#include <string.h>

enum { DEEP = 6, DEEPEST = 1000 };

ir_type loop_batch_type(const loop_batch *s, const ir_type *t)
{
    ir_type all = *t;
    if (t->rank < IR_MAX_RANK) {
        memmove(all.dim + 1, t->dim, (size_t)t->rank * sizeof *t->dim);
        all.dim[0] = s->length;
        all.rank++;
    }
    if (t->rank == IR_MAX_RANK || !ir_type_ok(&all))
        base_throw(s->b->func->module->ctx, s->loc,
                   "the derivative of a loop needs the values of all iterations, which are too "
                   "large or have too high a rank");
    return all;
}

int loop_batch_dims(ir_ints dims, int64_t *out)
{
    for (int i = 0; i < dims.n; i++)
        out[i] = dims.v[i] + 1;
    return dims.n;
}

/* The operand of a contraction that is not a constant of the loop, if the other one is; else -1. */
static int varying_side(const loop_batch *s, const ir_inst *dot)
{
    bool first = s->constant[dot->operand[0]->id] != NULL,
         second = s->constant[dot->operand[1]->id] != NULL;
    return first == second ? -1 : first ? 1 : 0;
}

static bool moves(const ir_inst *inst)
{
    return inst->op == IR_OP_reshape || inst->op == IR_OP_transpose || inst->op == IR_OP_broadcast;
}

/* Gathers rows of a constant of the loop. */
static bool looks_up(const loop_batch *s, const ir_inst *inst)
{
    return inst->op == IR_OP_gather && !IR_ATTR(inst, gather)->batch &&
           s->constant[inst->operand[0]->id];
}

static bool has(const loop_batch *s, const ir_value *v, int depth)
{
    ir_literal *splat;
    if (s->stacked[v->id] || s->constant[v->id] || match_splat(v, &splat))
        return true;
    if (!v->def || depth == DEEP || !s->outside(s->user, v))
        return false;
    if (v->def->op == IR_OP_dot_general) {
        int side = varying_side(s, v->def);
        return side >= 0 && has(s, v->def->operand[side], depth + 1);
    }
    if (looks_up(s, v->def))
        return has(s, v->def->operand[1], depth + 1);
    if (!ir_has_trait(v->def, IR_ELEMENTWISE) && !moves(v->def))
        return false;
    for (int i = 0; i < v->def->noperands; i++)
        if (!has(s, v->def->operand[i], depth + 1))
            return false;
    return true;
}

bool loop_batch_has(const loop_batch *s, const ir_value *v)
{
    return !s->exact && has(s, v, 0);
}

/* A splat, or a constant of the loop, broadcast to all iterations; NULL if v is neither. */
static ir_value *repeated(loop_batch *s, ir_value *v)
{
    ir_type t = loop_batch_type(s, &v->type);
    ir_literal *splat;
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < v->type.rank; i++)
        dims[i] = i + 1;
    if (s->constant[v->id])
        return ir_broadcast(s->b, s->constant[v->id], t.rank, t.dim, dims);
    if (!match_splat(v, &splat))
        return NULL;
    ir_type scalar = ir_scalar_type(v->type.dtype);
    ir_literal *one = ir_literal_new(s->b->func->module->arena, &scalar);
    memcpy(one->data, splat->data, (size_t)ir_bytes(&scalar));
    return ir_broadcast(s->b, ir_constant(s->b, one), t.rank, t.dim, NULL);
}

/* A contraction with a constant. The iterations come out as the first free dimension of the other
 * operand, and are moved to the front. */
static ir_value *contraction(loop_batch *s, const ir_inst *dot, int side)
{
    const struct ir_attrs_dot_general *a = IR_ATTR(dot, dot_general);
    const ir_ints batches[2] = {a->lhs_batch, a->rhs_batch},
                  contracts[2] = {a->lhs_contract, a->rhs_contract};
    int64_t batch[2][IR_MAX_RANK], contract[2][IR_MAX_RANK], perm[IR_MAX_RANK];
    ir_value *x[2];
    loop_batch_type(s, &dot->result[0]->type);
    for (int k = 0; k < 2; k++) {
        x[k] = k == side ? loop_batch_of(s, dot->operand[k]) : s->constant[dot->operand[k]->id];
        for (int i = 0; i < batches[k].n; i++)
            batch[k][i] = batches[k].v[i] + (k == side);
        for (int i = 0; i < contracts[k].n; i++)
            contract[k][i] = contracts[k].v[i] + (k == side);
    }
    ir_value *all = ir_dot_general_in(s->b, a->accumulate, x[0], x[1], batches[0].n, batch[0],
                                      batch[1], contracts[0].n, contract[0], contract[1]);
    int at = side ? dot->operand[0]->type.rank - contracts[0].n : batches[0].n;
    perm[0] = at;
    for (int i = 1; i < all->type.rank; i++)
        perm[i] = i <= at ? i - 1 : i;
    return ir_transpose(s->b, all, perm);
}

static ir_value *move(loop_batch *s, const ir_inst *k)
{
    ir_value *x = loop_batch_of(s, k->operand[0]);
    ir_type t = loop_batch_type(s, &k->result[0]->type);
    int64_t dims[IR_MAX_RANK] = {0};
    if (k->op == IR_OP_reshape)
        return ir_reshape(s->b, x, t.rank, t.dim);
    loop_batch_dims(k->op == IR_OP_transpose ? IR_ATTR(k, transpose)->perm
                                             : IR_ATTR(k, broadcast)->dims,
                    dims + 1);
    return k->op == IR_OP_transpose ? ir_transpose(s->b, x, dims)
                                    : ir_broadcast(s->b, x, t.rank, t.dim, dims);
}

static ir_value *build(loop_batch *s, ir_value *v)
{
    const ir_inst *k = v->def;
    int side = k->op == IR_OP_dot_general ? varying_side(s, k) : -1;
    if (side >= 0)
        return contraction(s, k, side);
    if (moves(k))
        return move(s, k);
    if ((!ir_has_trait(k, IR_ELEMENTWISE) && !looks_up(s, k)) || !loop_batch_has(s, v))
        return NULL;
    ir_value *operand[3];
    if (looks_up(s, k))
        return ir_gather(s->b, s->constant[k->operand[0]->id], loop_batch_of(s, k->operand[1]),
                         IR_ATTR(k, gather)->dims.n, IR_ATTR(k, gather)->dims.v, 0);
    for (int i = 0; i < k->noperands; i++)
        operand[i] = loop_batch_of(s, k->operand[i]);
    return ir_build1(s->b, k->op, operand, k->noperands, k->attrs);
}

ir_value *loop_batch_of(loop_batch *s, ir_value *v)
{
    ir_value *all = s->stacked[v->id];
    if (!all && !s->exact)
        all = repeated(s, v);
    if (!all && v->def && s->depth < DEEPEST && s->outside(s->user, v)) {
        s->depth++;
        all = build(s, v);
        s->depth--;
    }
    if (!all) {
        loop_batch_type(s, &v->type);
        all = s->stack(s->user, v);
    }
    return s->stacked[v->id] = all;
}
