/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Mutants of the text form: lines are moved, repeated, dropped and taken from another text; words
 * and numbers are put in other places. */
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PIECES = 4096 };

typedef struct piece {
    const char *at;
    size_t n;
} piece;

typedef struct pieces {
    piece item[MOST_PIECES];
    size_t count;
} pieces;

static void add(pieces *p, const char *at, size_t n)
{
    if (p->count < MOST_PIECES)
        p->item[p->count++] = (piece){at, n};
}

static void cut_lines(pieces *p, const char *text, size_t size)
{
    p->count = 0;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - text) - at + 1 : size - at;
        add(p, text + at, n);
        at += n;
    }
}

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-' || c == '%' || c == '@';
}

/* Words and numbers, the characters between them, and names in quotes, each a piece. */
static void cut_words(pieces *p, const char *text, size_t size)
{
    p->count = 0;
    for (size_t at = 0; at < size;) {
        size_t n = 1;
        if (in_word(text[at]))
            while (at + n < size && in_word(text[at + n]))
                n++;
        else if (text[at] == '"')
            while (at + n < size && text[at + n - (n > 1)] != '"' && text[at + n] != '\n')
                n++;
        add(p, text + at, n);
        at += n;
    }
}

static size_t put(char *out, size_t used, size_t room, piece p)
{
    size_t n = p.n < room - used ? p.n : room - used;
    memcpy(out + used, p.at, n);
    return used + n;
}

/* A list [a,b,…] or a number that is not far from the old one, or far. */
static piece number(uint64_t *state, piece old, char text[32])
{
    static const long long some[] = {0,
                                     1,
                                     -1,
                                     2,
                                     3,
                                     16,
                                     17,
                                     65536,
                                     2147483647,
                                     -2147483648,
                                     4294967296,
                                     1099511627776,
                                     9223372036854775807};
    long long v = strtoll(old.at, NULL, 10);
    v = fuzz_draw(state, 2) ? some[fuzz_draw(state, sizeof some / sizeof *some)]
                            : (long long)((uint64_t)v + fuzz_draw(state, 5) - 2);
    return (piece){text, (size_t)snprintf(text, 32, "%lld", v)};
}

/* Changes one line or one word and writes all into out. */
static size_t change(const pieces *p, const pieces *from, bool lines, uint64_t *state, char *out,
                     size_t room)
{
    char text[32];
    size_t at = fuzz_draw(state, p->count), other = fuzz_draw(state, from->count), used = 0;
    uint32_t what = fuzz_draw(state, 4);
    for (int tries = 0; !lines && tries < 20 && !in_word(*p->item[at].at); tries++)
        at = fuzz_draw(state, p->count);
    for (int tries = 0; !lines && tries < 20 && !in_word(*from->item[other].at); tries++)
        other = fuzz_draw(state, from->count);
    bool digits = isdigit((unsigned char)*p->item[at].at);
    for (size_t i = 0; i < p->count; i++) {
        piece x = p->item[i];
        if (i == at && lines && what == 0)
            continue;
        if (i == at && lines && what <= 2)
            used = put(out, used, room, from->item[other]);
        else if (i == at)
            x = !lines && digits && what ? number(state, x, text) : from->item[other];
        used = put(out, used, room, x);
    }
    return used;
}

static size_t mutate(const char *text, size_t size, const char *other, size_t nother, char *out,
                     size_t room, unsigned seed)
{
    static pieces p, from;
    uint64_t state = seed;
    bool lines = fuzz_draw(&state, 2);
    (lines ? cut_lines : cut_words)(&p, text, size);
    (lines ? cut_lines : cut_words)(&from, other, nother);
    if (!p.count || !from.count)
        return 0;
    return change(&p, &from, lines, &state, out, room);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    char *out = seed % 8 ? malloc(room + 1) : NULL;
    /* Numbers are read up to a NUL. */
    char *text = out ? malloc(size + 1) : NULL;
    size_t n = 0;
    if (text) {
        memcpy(text, data, size);
        text[size] = 0;
        n = mutate(text, size, text, size, out, room, seed);
        memcpy(data, out, n);
    }
    free(text);
    free(out);
    return n ? n : LLVMFuzzerMutate(data, size, room);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t n1, const uint8_t *two, size_t n2,
                                 uint8_t *out, size_t room, unsigned seed)
{
    char *text = malloc(n1 + 1);
    size_t n = 0;
    if (text) {
        memcpy(text, one, n1);
        text[n1] = 0;
        n = mutate(text, n1, (const char *)two, n2, (char *)out, room, seed);
    }
    free(text);
    return n;
}
