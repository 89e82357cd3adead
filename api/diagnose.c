/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Prints diagnostics as clang does, with the location first and a caret under a line of text. */
#include "api/session.h"
#include "ir/text.h"

#include <string.h>

static const char *paint(const api_session *s, const char *code)
{
    return s->colour ? code : "";
}

enum { SAFE_PIECE = 5 };

/* Writes the next character of raw text to `to`, safe for a terminal: what cannot be shown as \xHH.
 * Returns the number of bytes of the character. */
static size_t safe_piece(const unsigned char *c, char to[SAFE_PIECE])
{
    int n = *c >= 0x20 && *c < 0x7f ? 1 : base_shown_utf8(c);
    if (!n) {
        snprintf(to, SAFE_PIECE, "\\x%02x", *c);
        return 1;
    }
    memcpy(to, c, (size_t)n);
    to[n] = 0;
    return (size_t)n;
}

static void print_safe(FILE *f, const char *text)
{
    char piece[SAFE_PIECE];
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        c += safe_piece(c, piece);
        fputs(piece, f);
    }
}

const char *api_shown(api_session *s, const char *text)
{
    char *to = base_alloc(s->arena, strlen(text) * (SAFE_PIECE - 1) + 1), *at = to;
    for (const unsigned char *c = (const unsigned char *)text; *c; at += strlen(at))
        c += safe_piece(c, at);
    *at = 0;
    return to;
}

/* "model.onnx: node 17 'conv1' (Conv): ", "model.gir:3:7: ". */
static void print_place(FILE *f, const base_loc *loc)
{
    if (loc->file) {
        print_safe(f, loc->file);
        if (loc->line > 0)
            fprintf(f, ":%d:%d", loc->line, loc->column);
        fputs(": ", f);
    }
    if (loc->node < 0 && !loc->op)
        return;
    if (loc->node >= 0)
        fprintf(f, "node %d%s", loc->node, loc->op || (loc->name && *loc->name) ? " " : "");
    if (loc->name && *loc->name) {
        fputc('\'', f);
        print_safe(f, loc->name);
        fputs(loc->op ? "' (" : "'", f);
    } else if (loc->op) {
        fputc('(', f);
    }
    if (loc->op) {
        print_safe(f, loc->op);
        fputc(')', f);
    }
    fputs(": ", f);
}

static void print_source(FILE *f, const base_loc *loc)
{
    size_t n = strcspn(loc->source, "\r\n"), column = loc->column > 0 ? (size_t)loc->column - 1 : 0;
    enum { WIDTH = 160 };
    size_t from = column > WIDTH - 20 ? column - WIDTH / 2 : 0;
    char line[WIDTH + 1];
    size_t shown = n > from ? n - from : 0;
    shown = shown > WIDTH ? WIDTH : shown;
    memcpy(line, loc->source + from, shown);
    line[shown] = 0;
    for (size_t i = 0; i < shown; i++)
        line[i] = (unsigned char)line[i] < 0x20 || (unsigned char)line[i] >= 0x7f
                      ? (line[i] == '\t' ? ' ' : '?')
                      : line[i];
    fprintf(f, "    %s\n    %*s^\n", line, (int)(column - from), "");
}

/* For JSON, with text that is safe for a terminal. */
static void keep_warning(api_session *s, const base_diagnostic *d)
{
    api_warning w = {d->warning->name, api_shown(s, d->text), d->loc ? d->loc->node : -1};
    BASE_PUSH(s->arena, &s->warned, w);
}

void api_report(void *user, const base_diagnostic *d)
{
    api_session *s = user;
    const base_loc *loc = d->loc;
    static const char *const words[] = {"note", "warning", "error"}, *const colours[] = {
                                                                         "\033[1;36m", "\033[1;35m",
                                                                         "\033[1;31m"};
    if (!s->err || (d->severity == BASE_NOTE && s->options.quiet))
        return;
    if (loc && (loc->file || loc->op))
        print_place(s->err, loc);
    else
        fputs("gradc: ", s->err);
    fprintf(s->err, "%s%s:%s ", paint(s, colours[d->severity]), words[d->severity],
            paint(s, "\033[0m"));
    print_safe(s->err, d->text);
    if (d->warning)
        fprintf(s->err, " [%s-W%s]", d->severity == BASE_ERROR ? "-Werror," : "", d->warning->name);
    fputc('\n', s->err);
    if (loc && loc->line > 0 && loc->source)
        print_source(s->err, loc);
    if (d->warning && s->options.json)
        keep_warning(s, d);
}

/* Reports a formatted message. */
#define REPORT(severity)                                    \
    do {                                                    \
        va_list args;                                       \
        va_start(args, format);                             \
        base_vreport(s->ctx, severity, NULL, format, args); \
        va_end(args);                                       \
    } while (0)

void api_usage(api_session *s, const char *format, ...)
{
    s->usage = true;
    REPORT(BASE_ERROR);
}

void api_error(api_session *s, const char *format, ...)
{
    REPORT(BASE_ERROR);
}

void api_note(api_session *s, const char *format, ...)
{
    REPORT(BASE_NOTE);
}
