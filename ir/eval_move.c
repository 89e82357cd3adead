/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Evaluators of ops that move elements. */
#include "ir/eval.h"
#include "ir/philox.h"

#include <string.h>

#define RULE(name)                                                                         \
    void ir_eval_##name(ir_evaluation *e, const ir_inst *inst, ir_literal *const *operand, \
                        ir_literal **result)

static int64_t size_of(const ir_literal *l)
{
    return ir_dtypes[l->type.dtype].bytes;
}

static void move(ir_literal *to, int64_t i, const ir_literal *from, int64_t j)
{
    int64_t size = size_of(to);
    memcpy((char *)to->data + i * size, (const char *)from->data + j * size, (size_t)size);
}

RULE(constant)
{
    (void)e, (void)operand;
    const ir_literal *l = IR_ATTR(inst, constant)->value;
    if (ir_bytes(&l->type))
        memcpy(result[0]->data, l->data, (size_t)ir_bytes(&l->type));
}

RULE(iota)
{
    (void)e, (void)operand;
    const ir_type *t = &result[0]->type;
    int64_t at[IR_MAX_RANK] = {0}, n = ir_count(t), axis = IR_ATTR(inst, iota)->axis;
    for (int64_t i = 0; i < n; i++) {
        ir_literal_set_int(result[0], i, at[axis]);
        ir_next_index(t->rank, t->dim, at);
    }
}

RULE(reshape)
{
    (void)e, (void)inst;
    if (ir_bytes(&result[0]->type))
        memcpy(result[0]->data, operand[0]->data, (size_t)ir_bytes(&result[0]->type));
}

/* Result element (i0, i1, …) is operand element start + sum(i_d * step_d). */
static void strided(ir_literal *to, const ir_literal *from, int64_t start, const int64_t *step)
{
    const ir_type *t = &to->type;
    int64_t at[IR_MAX_RANK] = {0}, n = ir_count(t);
    for (int64_t i = 0; i < n; i++) {
        int64_t j = start;
        for (int d = 0; d < t->rank; d++)
            j += at[d] * step[d];
        move(to, i, from, j);
        ir_next_index(t->rank, t->dim, at);
    }
}

RULE(broadcast)
{
    (void)e;
    int64_t s[IR_MAX_RANK], step[IR_MAX_RANK] = {0};
    ir_strides(&operand[0]->type, s);
    for (int i = 0; i < operand[0]->type.rank; i++)
        step[IR_ATTR(inst, broadcast)->dims.v[i]] = operand[0]->type.dim[i] == 1 ? 0 : s[i];
    strided(result[0], operand[0], 0, step);
}

RULE(transpose)
{
    (void)e;
    int64_t s[IR_MAX_RANK], step[IR_MAX_RANK];
    ir_strides(&operand[0]->type, s);
    for (int i = 0; i < result[0]->type.rank; i++)
        step[i] = s[IR_ATTR(inst, transpose)->perm.v[i]];
    strided(result[0], operand[0], 0, step);
}

RULE(slice)
{
    (void)e;
    int64_t s[IR_MAX_RANK], step[IR_MAX_RANK], start = 0;
    ir_strides(&operand[0]->type, s);
    for (int i = 0; i < result[0]->type.rank; i++) {
        step[i] = s[i] * IR_ATTR(inst, slice)->stride.v[i];
        start += s[i] * IR_ATTR(inst, slice)->start.v[i];
    }
    strided(result[0], operand[0], start, step);
}

RULE(reverse)
{
    (void)e;
    int64_t step[IR_MAX_RANK], start = 0;
    const ir_ints axes = IR_ATTR(inst, reverse)->axes;
    ir_strides(&operand[0]->type, step);
    for (int i = 0; i < axes.n; i++) {
        start += (operand[0]->type.dim[axes.v[i]] - 1) * step[axes.v[i]];
        step[axes.v[i]] = -step[axes.v[i]];
    }
    strided(result[0], operand[0], start, step);
}

RULE(pad)
{
    (void)e;
    const struct ir_attrs_pad *a = IR_ATTR(inst, pad);
    const ir_type *from = &operand[0]->type, *t = &result[0]->type;
    int64_t at[IR_MAX_RANK] = {0}, n = ir_count(t), s[IR_MAX_RANK];
    ir_strides(from, s);
    for (int64_t i = 0; i < n; i++) {
        int64_t j = 0;
        bool inside = true;
        for (int d = 0; d < t->rank; d++) {
            int64_t place = at[d] - a->low.v[d], step = a->interior.v[d] + 1;
            inside = inside && place >= 0 && place % step == 0 && place / step < from->dim[d];
            j += place / step * s[d];
        }
        move(result[0], i, inside ? operand[0] : operand[1], inside ? j : 0);
        ir_next_index(t->rank, t->dim, at);
    }
}

RULE(concat)
{
    (void)e;
    int64_t axis = IR_ATTR(inst, concat)->axis, outer = 1, inner = size_of(result[0]), at = 0, row;
    for (int i = 0; i < axis; i++)
        outer *= result[0]->type.dim[i];
    for (int i = (int)axis + 1; i < result[0]->type.rank; i++)
        inner *= result[0]->type.dim[i];
    row = inner * result[0]->type.dim[axis];
    for (int k = 0; k < inst->noperands; k++) {
        int64_t piece = inner * operand[k]->type.dim[axis];
        for (int64_t o = 0; o < outer && piece; o++)
            memcpy((char *)result[0]->data + o * row + at,
                   (const char *)operand[k]->data + o * piece, (size_t)piece);
        at += piece;
    }
}

/* ---- Gather and scatter ---- */

/* Walks the pairs (element of the indexed tensor, element of the gathered one); an index out of
 * range is clamped for gather, and skips the pair for scatter (`put`). */
typedef void pair(void *user, int64_t whole, int64_t part);

static void indexed(ir_evaluation *e, const ir_type *whole, const ir_literal *index,
                    const ir_type *part, ir_ints dims, int batch, bool put, pair *f, void *user)
{
    int selected = index->type.rank - 1;
    int64_t at[IR_MAX_RANK] = {0}, n = ir_count(part), s[IR_MAX_RANK], is[IR_MAX_RANK];
    bool taken[IR_MAX_RANK] = {false};
    ir_strides(whole, s);
    ir_strides(&index->type, is);
    for (int i = 0; i < dims.n; i++)
        taken[dims.v[i]] = true;
    for (int64_t i = 0; i < n; i++) {
        int64_t j = 0, k = 0;
        bool skip = false;
        for (int d = 0; d < selected; d++)
            k += at[d] * is[d];
        for (int d = 0; d < batch; d++)
            j += at[d] * s[d];
        for (int c = 0; c < dims.n; c++) {
            int64_t v = ir_literal_get_int(index, k + c), limit = whole->dim[dims.v[c]];
            bool bad =
                index->type.dtype == IR_U64 ? (uint64_t)v >= (uint64_t)limit : v < 0 || v >= limit;
            e->bad_index |= bad;
            skip |= bad && (put || !limit);
            v = !bad ? v : v < 0 && index->type.dtype != IR_U64 ? 0 : limit - 1;
            j += v * s[dims.v[c]];
        }
        for (int d = batch, next = selected; d < whole->rank; d++)
            if (!taken[d])
                j += at[next++] * s[d];
        if (!skip)
            f(user, j, i);
        ir_next_index(part->rank, part->dim, at);
    }
}

typedef struct gathering {
    ir_literal *to;
    const ir_literal *from;
} gathering;

static void gather_pair(void *user, int64_t whole, int64_t part)
{
    gathering *g = user;
    move(g->to, part, g->from, whole);
}

RULE(gather)
{
    const struct ir_attrs_gather *a = IR_ATTR(inst, gather);
    gathering g = {result[0], operand[0]};
    indexed(e, &operand[0]->type, operand[1], &result[0]->type, a->dims, (int)a->batch, false,
            gather_pair, &g);
}

typedef struct scattering {
    ir_wide to, update;
    ir_combine combine;
} scattering;

static void scatter_pair(void *user, int64_t whole, int64_t part)
{
    scattering *s = user;
    ir_combine c = s->combine;
    if (s->to.is_float)
        s->to.f[whole] = c == IR_SET ? s->update.f[part]
                                     : ir_combine_float(c, s->to.f[whole], s->update.f[part]);
    else
        s->to.i[whole] =
            c == IR_SET ? s->update.i[part]
                        : ir_combine_int(c, s->to.i[whole], s->update.i[part], s->to.is_unsigned);
}

RULE(scatter)
{
    const struct ir_attrs_scatter *a = IR_ATTR(inst, scatter);
    scattering s = {ir_wide_of(e->arena, operand[0]), ir_wide_of(e->arena, operand[2]), a->combine};
    indexed(e, &operand[0]->type, operand[1], &operand[2]->type, a->dims, (int)a->batch, true,
            scatter_pair, &s);
    ir_wide_store(&s.to, result[0]);
}

RULE(random_bits)
{
    (void)e;
    uint64_t seed = (uint64_t)ir_literal_get_int(operand[0], 0),
             call = (uint64_t)ir_literal_get_int(operand[1], 0);
    int64_t n = ir_count(&result[0]->type);
    for (int64_t i = 0; i < n; i++) {
        uint32_t c[4] = {(uint32_t)(i / 4), (uint32_t)call, (uint32_t)(call >> 32),
                         (uint32_t)IR_ATTR(inst, random_bits)->stream};
        ir_philox((uint32_t)seed, (uint32_t)(seed >> 32), c);
        ((uint32_t *)result[0]->data)[i] = c[i % 4];
    }
}
