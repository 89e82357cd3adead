/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Tokens of the text form. A lexer is a plain value: a copy of it is a place to come back to. */
#ifndef GRADC_IR_LEX_H
#define GRADC_IR_LEX_H

#include "base/arena.h"

typedef enum ir_token_kind {
    IR_TOK_END,
    IR_TOK_NEWLINE, /* not inside ( ) and [ ] */
    IR_TOK_WORD,    /* add, f32, true */
    IR_TOK_NUMBER,  /* starts with a digit, sign or point; not checked further */
    IR_TOK_STRING,  /* "…" */
    IR_TOK_VALUE,   /* %12, %x, %"…" */
    IR_TOK_FUNC,    /* @f, @"…" */
    IR_TOK_PUNCT,   /* one of ( ) [ ] { } , : = ! */
    IR_TOK_BAD,     /* anything else; `wrong` says what */
} ir_token_kind;

typedef struct ir_token {
    ir_token_kind kind;
    const char *text; /* without % or @ and quotes; quoted text still escaped */
    size_t n;
    bool quoted;
    const char *wrong;
    int line, column;
    const char *line_start;
} ir_token;

typedef struct ir_lexer {
    const char *at, *end, *line_start;
    int line, brackets;
    ir_token token; /* the current one */
} ir_lexer;

ir_lexer ir_lex_start(const char *text, size_t size); /* at its first token */
void ir_lex_next(ir_lexer *lexer);
/* After an error: skips to the newline that ends the current token's line (or to the end), and
 * forgets brackets. */
void ir_lex_skip_line(ir_lexer *lexer);
bool ir_lex_is(const ir_lexer *lexer, char punct);
bool ir_lex_is_word(const ir_lexer *lexer, const char *word);
/* The token's text with escapes resolved; NULL and *wrong set when it is not fit for a name: a bad
 * escape, a zero byte, too long. */
const char *ir_lex_text(const ir_token *token, base_arena *arena, const char **wrong);
/* "`add`", "the end of the line": for messages. */
const char *ir_lex_found(const ir_token *token, base_arena *arena);

#endif
