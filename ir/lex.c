/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "ir/lex.h"
#include "ir/limits.h"

#include <string.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) { return is_letter(c) || is_digit(c) || c == '.'; }

ir_lexer ir_lex_start(const char *text, size_t size)
{
    ir_lexer l = {.at = text, .end = text + size, .line_start = text, .line = 1};
    ir_lex_next(&l);
    return l;
}

static void skip_blanks(ir_lexer *l)
{
    while (l->at < l->end) {
        if (*l->at == '\n' && l->brackets) {
            l->line++;
            l->line_start = l->at + 1;
        } else if (*l->at == '/' && l->at + 1 < l->end && l->at[1] == '/') {
            while (l->at < l->end && *l->at != '\n')
                l->at++;
            continue;
        } else if (*l->at != ' ' && *l->at != '\t' && *l->at != '\r') {
            break;
        }
        l->at++;
    }
}

/* The text between quotes; at is after the opening one. */
static void lex_quoted(ir_lexer *l, ir_token *t)
{
    t->quoted = true;
    t->text = l->at;
    while (l->at < l->end && *l->at != '"' && *l->at != '\n')
        l->at += *l->at == '\\' && l->at + 1 < l->end && l->at[1] != '\n' ? 2 : 1;
    t->n = (size_t)(l->at - t->text);
    if (l->at < l->end && *l->at == '"') {
        l->at++;
    } else {
        t->kind = IR_TOK_BAD;
        t->wrong = "a string without a closing quote";
    }
}

static void lex_number(ir_lexer *l, ir_token *t)
{
    t->kind = IR_TOK_NUMBER;
    bool hex = l->end - l->at > 1 && l->at[0] == '0' && l->at[1] == 'x';
    l->at++;
    while (l->at < l->end && (is_word(*l->at) || ((*l->at == '+' || *l->at == '-') && !hex &&
                                                  (l->at[-1] == 'e' || l->at[-1] == 'E'))))
        l->at++;
    t->n = (size_t)(l->at - t->text);
}

/* %… or @…: at is on the sign. */
static void lex_reference(ir_lexer *l, ir_token *t)
{
    t->kind = *l->at++ == '%' ? IR_TOK_VALUE : IR_TOK_FUNC;
    if (l->at < l->end && *l->at == '"') {
        l->at++;
        lex_quoted(l, t);
        return;
    }
    t->text = l->at;
    bool number = l->at < l->end && is_digit(*l->at);
    while (l->at < l->end && (number ? is_digit(*l->at) : is_word(*l->at)))
        l->at++;
    t->n = (size_t)(l->at - t->text);
    if (!t->n || *t->text == '.' || (number && t->kind == IR_TOK_FUNC)) {
        t->kind = IR_TOK_BAD;
        t->wrong = "`%` or `@` without a name";
    }
}

void ir_lex_next(ir_lexer *l)
{
    skip_blanks(l);
    ir_token t = {.kind = IR_TOK_END,
                  .text = l->at,
                  .line = l->line,
                  .column = (int)(l->at - l->line_start) + 1,
                  .line_start = l->line_start};
    if (l->at >= l->end) {
        l->token = t;
        return;
    }
    char c = *l->at;
    if (c == '\n') {
        t.kind = IR_TOK_NEWLINE;
        l->at++;
        l->line++;
        l->line_start = l->at;
    } else if (is_letter(c)) {
        t.kind = IR_TOK_WORD;
        while (l->at < l->end && is_word(*l->at))
            l->at++;
        t.n = (size_t)(l->at - t.text);
    } else if (is_digit(c) || c == '-' || c == '+' || c == '.') {
        lex_number(l, &t);
    } else if (c == '%' || c == '@') {
        lex_reference(l, &t);
    } else if (c == '"') {
        t.kind = IR_TOK_STRING;
        l->at++;
        lex_quoted(l, &t);
    } else if (c && strchr("()[]{},:=!", c)) {
        t.kind = IR_TOK_PUNCT;
        t.n = 1;
        l->at++;
        l->brackets += c == '(' || c == '[';
        l->brackets -= (c == ')' || c == ']') && l->brackets;
    } else {
        t.kind = IR_TOK_BAD;
        t.n = 1;
        t.wrong = "an unexpected character";
        l->at++;
    }
    l->token = t;
}

void ir_lex_skip_line(ir_lexer *l)
{
    l->brackets = 0;
    if (l->token.kind == IR_TOK_NEWLINE || l->token.kind == IR_TOK_END)
        return;
    while (l->at < l->end && *l->at != '\n')
        l->at++;
    ir_lex_next(l);
}

bool ir_lex_is(const ir_lexer *l, char punct)
{
    return l->token.kind == IR_TOK_PUNCT && *l->token.text == punct;
}

bool ir_lex_is_word(const ir_lexer *l, const char *word)
{
    return l->token.kind == IR_TOK_WORD && l->token.n == strlen(word) &&
           !memcmp(l->token.text, word, l->token.n);
}

static int hex_digit(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

const char *ir_lex_text(const ir_token *t, base_arena *arena, const char **wrong)
{
    enum { LONGEST = IR_MAX_NAME + 16 }; /* names in the side file have a prefix */
    /* Pairs: the character after the backslash, and its meaning. */
    static const char *const escapes = "\"\"\\\\n\nt\tr\r";
    *wrong = t->n > LONGEST * 4 ? "the name is longer than 4096 bytes" : NULL;
    if (*wrong)
        return NULL;
    char *out = base_alloc(arena, t->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < t->n && !*wrong; i++) {
        char c = t->text[i];
        if (t->quoted && c == '\\') {
            c = ++i < t->n ? t->text[i] : 0;
            if (c == 'x' && t->n - i > 2 && hex_digit(t->text[i + 1]) >= 0 &&
                hex_digit(t->text[i + 2]) >= 0) {
                c = (char)(hex_digit(t->text[i + 1]) << 4 | hex_digit(t->text[i + 2]));
                i += 2;
            } else {
                const char *e = escapes;
                while (*e && *e != c)
                    e += 2;
                if (!*e)
                    *wrong = "unknown escape; expected one of \\\" \\\\ \\n \\t \\r \\xHH";
                c = *e ? e[1] : 'x';
            }
        }
        if (!c)
            *wrong = "a name cannot contain a zero byte";
        out[n++] = c;
    }
    if (n > LONGEST)
        *wrong = "the name is longer than 4096 bytes";
    return *wrong ? NULL : out;
}

const char *ir_lex_found(const ir_token *t, base_arena *arena)
{
    switch (t->kind) {
    case IR_TOK_END: return "the end of the text";
    case IR_TOK_NEWLINE: return "the end of the line";
    case IR_TOK_BAD: return t->wrong;
    default: break;
    }
    const char *sign = t->kind == IR_TOK_VALUE  ? "%"
                       : t->kind == IR_TOK_FUNC ? "@"
                                                : "",
               *quote = t->quoted ? "\"" : "";
    return base_format(arena, "`%s%s%.*s%s%s`", sign, quote, t->n > 40 ? 40 : (int)t->n, t->text,
                       t->n > 40 ? "…" : "", quote);
}
