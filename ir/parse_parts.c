/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "ir/parser.h"

#include <string.h>

/* ---- Errors and small things ---- */

const char *ir_source_line(const ir_parser *p, const ir_token *t, char out[IR_SOURCE_BYTES + 1])
{
    size_t n = 0;
    for (; n < IR_SOURCE_BYTES && t->line_start + n < p->lex.end && t->line_start[n] &&
           t->line_start[n] != '\n';
         n++)
        out[n] = t->line_start[n];
    out[n] = 0;
    return out;
}

static bool stands_before(const ir_token *a, const ir_token *b)
{
    return a->line < b->line || (a->line == b->line && a->column < b->column);
}

bool ir_parse_error(ir_parser *p, const ir_token *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ir_fault f = {*t, base_vformat(p->scratch, format, args)};
    va_end(args);
    int i = p->wrong.count;
    BASE_PUSH(p->scratch, &p->wrong, f);
    for (; i > 0 && stands_before(t, &p->wrong.items[i - 1].at); i--)
        p->wrong.items[i] = p->wrong.items[i - 1];
    p->wrong.items[i] = f;
    return false;
}

void ir_parse_report(ir_parser *p)
{
    for (int i = 0; i < p->wrong.count; i++) {
        const ir_token *t = &p->wrong.items[i].at;
        char source[IR_SOURCE_BYTES + 1];
        const base_loc loc = {.file = p->file,
                              .node = -1,
                              .line = t->line,
                              .column = t->column,
                              .source = ir_source_line(p, t, source)};
        base_report(p->ctx, BASE_ERROR, &loc, "%s", p->wrong.items[i].text);
    }
}

void ir_parse_limit(ir_parser *p, const ir_token *t, const char *what, int limit)
{
    ir_parse_error(p, t, "more %s than the limit of %d", what, limit);
    ir_parse_report(p);
    base_throw(p->ctx, NULL, NULL);
}

bool ir_expected(ir_parser *p, const char *what)
{
    return ir_parse_error(p, TOKEN, "expected %s, found %s", what, ir_lex_found(TOKEN, p->scratch));
}

bool ir_take(ir_parser *p, char punct)
{
    bool found = ir_is(p, punct);
    if (found)
        ir_next(p);
    return found;
}

bool ir_take_word(ir_parser *p, const char *word)
{
    bool found = ir_is_a(p, word);
    if (found)
        ir_next(p);
    return found;
}

bool ir_need(ir_parser *p, char punct)
{
    const char what[] = {'`', punct, '`', 0};
    return ir_take(p, punct) || ir_expected(p, what);
}

/* The token's text as a name in the module's arena; does not advance. */
const char *ir_name_of(ir_parser *p, const ir_token *t)
{
    const char *wrong, *name = ir_lex_text(t, p->arena, &wrong);
    if (!name)
        ir_parse_error(p, t, "%s", wrong);
    return name;
}

bool ir_need_string(ir_parser *p, const char **out)
{
    if (TOKEN->kind != IR_TOK_STRING)
        return ir_expected(p, "a string");
    *out = ir_name_of(p, TOKEN);
    ir_next(p);
    return *out != NULL;
}

bool ir_need_int(ir_parser *p, int64_t *out)
{
    const char *wrong =
        TOKEN->kind == IR_TOK_NUMBER ? ir_read_element(IR_I64, TOKEN->text, TOKEN->n, out) : NULL;
    if (wrong)
        return ir_parse_error(p, TOKEN, "%s is %s", ir_lex_found(TOKEN, p->scratch), wrong);
    if (TOKEN->kind != IR_TOK_NUMBER)
        return ir_expected(p, "an integer");
    ir_next(p);
    return true;
}

/* Which of the names (NULL at the end) the current word is. */
bool ir_need_choice(ir_parser *p, const char *const *names, int *out)
{
    const char *all = "";
    for (int i = 0; names[i]; i++) {
        if (ir_is_a(p, names[i])) {
            *out = i;
            ir_next(p);
            return true;
        }
        all = base_format(p->scratch, "%s%s%s", all, i ? ", " : "", names[i]);
    }
    return ir_expected(p, base_format(p->scratch, "one of %s", all));
}

bool ir_need_dtype(ir_parser *p, ir_dtype *out)
{
    const char *names[IR_DTYPES + 1] = {NULL};
    int i;
    for (int t = 0; t < IR_DTYPES; t++)
        names[t] = ir_dtypes[t].name;
    if (!ir_need_choice(p, names, &i))
        return false;
    *out = (ir_dtype)i;
    return true;
}

bool ir_need_ints(ir_parser *p, ir_ints *out)
{
    struct { int64_t *items; int count, capacity; } list = {NULL, 0, 0};
    if (!ir_need(p, '['))
        return false;
    while (!ir_is(p, ']')) {
        int64_t v;
        if (!ir_need_int(p, &v))
            return false;
        BASE_PUSH(p->arena, &list, v);
        if (!ir_take(p, ',') && !ir_is(p, ']'))
            return ir_expected(p, "`,` or `]`");
    }
    *out = (ir_ints){list.count, list.items};
    return ir_need(p, ']');
}

bool ir_need_type(ir_parser *p, ir_type *out)
{
    const ir_token at = *TOKEN;
    ir_dtype dtype;
    ir_ints dims;
    if (!ir_need_dtype(p, &dtype) || !ir_need_ints(p, &dims))
        return false;
    if (dims.n > IR_MAX_RANK)
        return ir_parse_error(p, &at, "rank %d is above the limit of %d", dims.n, IR_MAX_RANK);
    *out = ir_type_of(dtype, dims.n, dims.v);
    return ir_type_ok(out) ||
           ir_parse_error(
               p, &at, "a dimension is negative, or the tensor is above the limit of 2^40 bytes");
}

/* ---- Literals ---- */

static bool read_side(ir_parser *p, const ir_token *at)
{
    char source[IR_SOURCE_BYTES + 1];
    const base_loc loc = {.file = p->file,
                          .node = -1,
                          .line = at->line,
                          .column = at->column,
                          .source = ir_source_line(p, at, source)};
    ir_tensors tensors;
    p->side_read = true;
    if (!p->source_of_side)
        return ir_parse_error(
            p, at, "`large` names a tensor of a file beside the text, and this text has no folder");
    if (!p->source_of_side->read(p->source_of_side->user, p->arena, &loc, &tensors))
        return false;
    for (int i = 0; i < tensors.count; i++)
        base_map_put_text(&p->side, tensors.items[i].name, tensors.items[i].value);
    return true;
}

static bool read_large(ir_parser *p, const ir_type *type, ir_literal **out)
{
    const char *name;
    const ir_token at = p->lex.token;
    ir_next(p);
    if (!ir_need(p, '('))
        return false;
    const ir_token where = p->lex.token;
    if (!ir_need_string(p, &name) || !ir_need(p, ')'))
        return false;
    if (!p->side_read)
        p->side_failed = !read_side(p, &at);
    if (p->side_failed) /* reported the first time */
        return false;
    *out = base_map_get_text(&p->side, name);
    if (!*out)
        return ir_parse_error(p, &where, "the file beside this text has no tensor of this name");
    return ir_type_eq(&(*out)->type, type) ||
           ir_parse_error(p, &where,
                          "the tensor has type %s in the file beside this text; expected %s",
                          ir_type_text(p->scratch, &(*out)->type), ir_type_text(p->scratch, type));
}

static bool read_element(ir_parser *p, const ir_literal *l, int64_t i)
{
    void *element = (char *)l->data + i * ir_dtypes[l->type.dtype].bytes;
    if (TOKEN->kind != IR_TOK_NUMBER && TOKEN->kind != IR_TOK_WORD)
        return ir_expected(p, "a number");
    const char *wrong = ir_read_element(l->type.dtype, TOKEN->text, TOKEN->n, element);
    if (wrong)
        return ir_parse_error(p, TOKEN, "%s is %s (%s)", ir_lex_found(TOKEN, p->scratch), wrong,
                              ir_dtypes[l->type.dtype].name);
    ir_next(p);
    return true;
}

static bool read_elements(ir_parser *p, const ir_literal *l, int dimension, int64_t *at)
{
    if (dimension == l->type.rank)
        return read_element(p, l, (*at)++);
    if (!ir_need(p, '['))
        return false;
    for (int64_t i = 0; i < l->type.dim[dimension]; i++)
        if ((i && !ir_need(p, ',')) || !read_elements(p, l, dimension + 1, at))
            return false;
    return ir_need(p, ']');
}

static bool read_splat(ir_parser *p, const ir_type *type, ir_literal **out)
{
    const ir_token at = p->lex.token;
    int64_t bytes = ir_bytes(type), one = ir_dtypes[type->dtype].bytes;
    ir_next(p);
    if (bytes > IR_MAX_FOLD_BYTES ||
        (ir_count(type) > IR_INLINE_ELEMENTS &&
         !base_size_within(&p->splat_bytes, bytes, IR_MAX_UNPACKED_BYTES)))
        return ir_parse_error(
            p, &at, "`splat` makes %lld bytes; the limit is %lld, and %lld in all",
            (long long)bytes, (long long)IR_MAX_FOLD_BYTES, (long long)IR_MAX_UNPACKED_BYTES);
    if (!bytes)
        return ir_parse_error(p, &at, "an empty tensor must be written `[]`");
    *out = ir_literal_new(p->arena, type);
    if (!ir_need(p, '(') || !read_element(p, *out, 0) || !ir_need(p, ')'))
        return false;
    for (int64_t done = one; done < bytes; done *= 2)
        memcpy((char *)(*out)->data + done, (*out)->data,
               (size_t)(done < bytes - done ? done : bytes - done));
    return true;
}

bool ir_need_literal(ir_parser *p, const ir_type *type, ir_literal **out)
{
    int64_t at = 0, count = ir_count(type);
    if (ir_is_a(p, "large"))
        return read_large(p, type, out);
    if (ir_is_a(p, "splat"))
        return read_splat(p, type, out);
    if (count > IR_INLINE_ELEMENTS)
        return ir_parse_error(p, TOKEN, "%lld elements are written out; the limit is %d",
                              (long long)count, IR_INLINE_ELEMENTS);
    *out = ir_literal_new(p->arena, type);
    return count ? read_elements(p, *out, 0, &at) : ir_need(p, '[') && ir_need(p, ']');
}

bool ir_skip_literal(ir_parser *p)
{
    int depth = 0;
    if (ir_is_a(p, "large") || ir_is_a(p, "splat"))
        ir_next(p);
    do {
        if (TOKEN->kind == IR_TOK_NEWLINE || TOKEN->kind == IR_TOK_END || TOKEN->kind == IR_TOK_BAD)
            return ir_expected(p, "a literal");
        depth += ir_is(p, '[') || ir_is(p, '(');
        depth -= ir_is(p, ']') || ir_is(p, ')');
        ir_next(p);
    } while (depth > 0);
    return true;
}
