/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Einsum: sums of products of tensors whose dimensions have letters, lowered to ops of the table.
 * Operands are contracted one after the other; a letter that neither a later operand nor the output
 * needs is summed as soon as possible. */
#include "ir/ir.h"

#include <string.h>

static void refuse(ir_builder *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void refuse(ir_builder *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    base_vreport(b->func->module->ctx, BASE_ERROR, b->loc, format, args);
    va_end(args);
    b->failed = true;
}

/* An operand with a letter for each dimension; dimensions of `...` are letters beyond 'z'. */
typedef struct term {
    ir_value *x;
    int rank;
    unsigned char letter[IR_MAX_RANK];
} term;

static bool has_letter(const term *t, unsigned char c)
{
    return t->rank && memchr(t->letter, c, (size_t)t->rank);
}

/* Letters of "ij...k" for a tensor of this rank (-1: the output, with as many dots as the operands
 * had). */
static bool read_term(ir_builder *b, const char **at, int rank, int *dots, term *t)
{
    t->rank = 0;
    for (; **at && **at != ',' && **at != '-'; ++*at) {
        unsigned char c = (unsigned char)**at;
        if (c == ' ')
            continue;
        int many = 1;
        if (c == '.') {
            if ((*at)[1] != '.' || (*at)[2] != '.')
                break;
            *at += 2;
            int letters = t->rank;
            for (const char *p = *at + 1; *p && *p != ',' && *p != '-'; p++)
                letters += *p != ' ';
            many = rank < 0 ? *dots : rank - letters;
            c = (unsigned char)(128 + 16 - many); /* aligned at the right */
            if (many > *dots)
                *dots = many;
        } else if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
            break;
        }
        for (; many > 0 && t->rank < IR_MAX_RANK; many--)
            t->letter[t->rank++] = c++;
    }
    if (**at && **at != ',' && **at != '-')
        refuse(b, "the equation has a character that is neither a letter nor part of `...`");
    else if (rank >= 0 && t->rank != rank)
        refuse(b, "the equation does not fit a tensor of rank %d", rank);
    return !b->failed;
}

static ir_value *reorder(ir_builder *b, term *t, const unsigned char *letters, int count)
{
    int64_t perm[IR_MAX_RANK];
    for (int i = 0; i < count; i++)
        perm[i] = (unsigned char *)memchr(t->letter, letters[i], (size_t)t->rank) - t->letter;
    memcpy(t->letter, letters, (size_t)count);
    return t->x = ir_transpose(b, t->x, perm);
}

/* A repeated letter selects the diagonal; letters that `keep` lacks are summed. */
static bool reduce_term(ir_builder *b, term *t, const bool *keep)
{
    int64_t axes[IR_MAX_RANK];
    int k = 0, rank = 0;
    for (int i = 0; t->x && i < t->rank; i++)
        for (int j = i + 1; t->x && j < t->rank; j++)
            /* Elements off the diagonal become zeros, which the sum drops. */
            if (t->letter[i] == t->letter[j]) {
                const ir_type *s = &t->x->type;
                int64_t axis = j;
                if (s->dim[i] != s->dim[j]) {
                    refuse(b, "a repeated letter names dimensions of different extents");
                    return false;
                }
                ir_value *on = ir_compare(b, IR_EQ, ir_iota(b, IR_I64, s->rank, s->dim, i),
                                          ir_iota(b, IR_I64, s->rank, s->dim, j));
                t->x =
                    ir_reduce(b, IR_SUM, ir_select(b, on, t->x, ir_zeros_like(b, t->x)), 1, &axis);
                memmove(t->letter + j, t->letter + j + 1, (size_t)(t->rank - j - 1));
                t->rank--;
                j--;
            }
    for (int i = 0; i < t->rank; i++)
        if (keep[t->letter[i]])
            t->letter[rank++] = t->letter[i];
        else
            axes[k++] = i;
    t->rank = rank;
    t->x = ir_reduce(b, IR_SUM, t->x, k, axes);
    return t->x != NULL;
}

/* Broadcasts dimensions of extent 1 that meet a larger extent (dimensions of `...`). */
static void fit(ir_builder *b, term *t, const term *u)
{
    ir_type s = t->x->type;
    for (int i = 0; i < t->rank; i++) {
        const unsigned char *p = u->rank ? memchr(u->letter, t->letter[i], (size_t)u->rank) : NULL;
        if (p && s.dim[i] == 1)
            s.dim[i] = u->x->type.dim[p - u->letter];
    }
    t->x = ir_broadcast_to(b, t->x, s.rank, s.dim);
}

static bool multiply(ir_builder *b, term *t, term *u, const bool *keep)
{
    int64_t batch[2][IR_MAX_RANK], contract[2][IR_MAX_RANK];
    int nb = 0, nc = 0, rank = 0;
    unsigned char letters[2 * IR_MAX_RANK];
    fit(b, t, u);
    if (t->x)
        fit(b, u, t);
    if (!t->x || !u->x)
        return false;
    for (int i = 0; i < t->rank; i++)
        if (has_letter(u, t->letter[i])) {
            int64_t j =
                (unsigned char *)memchr(u->letter, t->letter[i], (size_t)u->rank) - u->letter;
            if (keep[t->letter[i]]) {
                batch[0][nb] = i;
                batch[1][nb++] = j;
                letters[rank++] = t->letter[i];
            } else {
                contract[0][nc] = i;
                contract[1][nc++] = j;
            }
        }
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < (side ? u : t)->rank; i++)
            if (!has_letter(side ? t : u, (side ? u : t)->letter[i]))
                letters[rank++] = (side ? u : t)->letter[i];
    t->x = ir_dot_general(b, t->x, u->x, nb, batch[0], batch[1], nc, contract[0], contract[1]);
    if (!t->x)
        return false;
    t->rank = rank;
    memcpy(t->letter, letters, (size_t)rank);
    return true;
}

ir_value *ir_einsum(ir_builder *b, const char *equation, ir_value *const *x, int n)
{
    const char *at = equation;
    term *t = base_array(b->func->module->arena, term, n), out = {0};
    int dots = 0, uses[256] = {0};
    if (n < 1)
        refuse(b, "the equation has no operands");
    for (int i = 0; i < n; i++)
        if (!x[i])
            b->failed = true;
    if (b->failed)
        return NULL;
    for (int i = 0; i < n; i++) {
        t[i].x = x[i];
        if (!read_term(b, &at, x[i]->type.rank, &dots, &t[i]))
            return NULL;
        for (int d = 0; d < t[i].rank; d++)
            uses[t[i].letter[d]]++;
        if (*at == ',' ? i == n - 1 : i < n - 1) {
            refuse(b, "expected an equation of %d operand%s", n, n == 1 ? "" : "s");
            return NULL;
        }
        at += *at == ',';
    }
    if (*at == '-') {
        at += at[1] == '>' ? 2 : 0;
        if (!read_term(b, &at, -1, &dots, &out))
            return NULL;
    } else { /* dots first, then the letters that occur once, in order */
        for (int c = 128; c < 144; c++)
            if (uses[c] && out.rank < IR_MAX_RANK)
                out.letter[out.rank++] = (unsigned char)c;
        for (int c = 0; c < 128; c++)
            if (uses[c] == 1 && out.rank < IR_MAX_RANK)
                out.letter[out.rank++] = (unsigned char)c;
    }
    if (*at) {
        refuse(b, "unexpected text after the equation's output");
        return NULL;
    }
    for (int i = 0; i < out.rank; i++)
        if (!uses[out.letter[i]] || memchr(out.letter, out.letter[i], (size_t)i)) {
            refuse(b, "the equation's output has a repeated letter, or one that no operand has");
            return NULL;
        }
    for (int i = 0; i < n; i++) {
        bool keep[256] = {false}; /* letters still needed by other operands or the output */
        for (int d = 0; d < out.rank; d++)
            keep[out.letter[d]] = true;
        for (int j = i ? i + 1 : 1; j < n; j++)
            for (int d = 0; d < t[j].rank; d++)
                keep[t[j].letter[d]] = true;
        bool here[256];
        memcpy(here, keep, sizeof here);
        for (int d = 0; i && d < t[0].rank; d++)
            here[t[0].letter[d]] = true;
        if (!reduce_term(b, &t[i], here) || (i && !multiply(b, &t[0], &t[i], keep)))
            return NULL;
    }
    return reorder(b, &t[0], out.letter, out.rank);
}
