/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Internals of the text form's parser: its state, and the small parts (tokens, types, literals)
 * that parse.c uses. Functions that return false have noted what is wrong, and mostly stop at the
 * wrong token. */
#ifndef GRADC_IR_PARSER_H
#define GRADC_IR_PARSER_H

#include "ir/lex.h"
#include "ir/text.h"

typedef struct ir_named { /* what a label refers to */
    ir_value *value;   /* NULL: its instruction was refused */
    int line;
} ir_named;

typedef struct ir_body {
    ir_func *func;
    ir_lexer at;      /* after the opening brace */
    base_map names, numbers;
    enum { UNREAD, READING, READ } state;
    bool failed;
} ir_body;

typedef struct ir_later { /* a reference that is resolved when everything was read */
    ir_inst *inst;     /* its primal … */
    ir_state *state;   /* … or the parameter that it belongs to */
    ir_body *where;
    ir_token func, name;
} ir_later;

typedef struct ir_fault {
    ir_token at;
    const char *text;
} ir_fault;

typedef struct ir_parser {
    base_ctx *ctx;
    base_arena *arena;   /* the module's */
    base_arena *scratch;
    const char *file, *source;
    const ir_side_source *source_of_side; /* may be NULL */
    ir_module *m;
    ir_lexer lex;
    base_map states, funcs; /* name -> ir_state, body */
    BASE_LIST(ir_later) later;
    base_map side;       /* name -> literal of the side file */
    bool side_read, side_failed;
    int depth, insts;
    BASE_LIST(ir_fault) wrong; /* found so far, in the order of reading, not of the text */
    int64_t splat_bytes;
    const base_loc *loc; /* the last instruction's, shared while it stays the same */
} ir_parser;

#define TOKEN (&p->lex.token)

/* ---- parse_parts.c ---- */

enum { IR_SOURCE_BYTES = 400 };
/* Copies a token's line, truncated to fit, into a buffer; returns it. */
const char *ir_source_line(const ir_parser *p, const ir_token *t, char out[IR_SOURCE_BYTES + 1]);
/* Reports what was found wrong, in the order of the text. */
void ir_parse_report(ir_parser *p);
/* Notes an error at a token; returns false. */
bool ir_parse_error(ir_parser *p, const ir_token *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool ir_expected(ir_parser *p, const char *what); /* "expected what, found the current token" */
/* "more what than the limit": reports and throws. */
_Noreturn void ir_parse_limit(ir_parser *p, const ir_token *t, const char *what, int limit);

static inline void ir_next(ir_parser *p) { ir_lex_next(&p->lex); }
static inline bool ir_is(const ir_parser *p, char punct) { return ir_lex_is(&p->lex, punct); }
static inline bool ir_is_a(const ir_parser *p, const char *word)
{
    return ir_lex_is_word(&p->lex, word);
}
/* Advances if the current token is that. */
bool ir_take(ir_parser *p, char punct);
bool ir_take_word(ir_parser *p, const char *word);

/* A token's text as a name in the module's arena, or NULL; does not advance. */
const char *ir_name_of(ir_parser *p, const ir_token *t);
/* These read one thing and advance past it. */
bool ir_need(ir_parser *p, char punct);
bool ir_need_string(ir_parser *p, const char **out);
bool ir_need_int(ir_parser *p, int64_t *out);
/* Which of the words (NULL at the end) it is. */
bool ir_need_choice(ir_parser *p, const char *const *names, int *out);
bool ir_need_dtype(ir_parser *p, ir_dtype *out);
bool ir_need_ints(ir_parser *p, ir_ints *out);
bool ir_need_type(ir_parser *p, ir_type *out);
bool ir_need_literal(ir_parser *p, const ir_type *type, ir_literal **out);
/* Skips a literal whose type is not known yet. */
bool ir_skip_literal(ir_parser *p);

#endif
