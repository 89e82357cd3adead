/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Sessions, and how diagnostics look: as clang's, with the place first and a caret under a line of
 * text. */
#include "api/session.h"
#include "ir/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *paint(const api_session *s, const char *code)
{
    return s->colour ? code : "";
}

enum { SAFE_PIECE = 5 };

/* The next character of raw text as a terminal may see it, in `to`: what is not to be shown as
 * \xHH. Returns the bytes of text that it is. */
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

/* For JSON, as a terminal may see it. */
static void keep_warning(api_session *s, const base_diagnostic *d)
{
    api_warning w = {d->warning->name, api_shown(s, d->text), d->loc ? d->loc->node : -1};
    BASE_PUSH(s->arena, &s->warned, w);
}

static void report(void *user, const base_diagnostic *d)
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

static bool make_arena(api_session *s)
{
    base_try frame;
    if (setjmp(base_try_push(s->ctx, &frame)))
        return false;
    s->arena = base_arena_new(s->ctx);
    base_try_pop(s->ctx, &frame);
    return true;
}

api_session *api_open(FILE *err, bool colour)
{
    api_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->err = err;
    s->colour = colour;
    s->ctx = base_ctx_new(report, s);
    api_options_reset(&s->options);
    if (s->ctx && make_arena(s))
        return s;
    api_close(s);
    return NULL;
}

api_session *api_session_in(base_ctx *ctx, base_arena *arena)
{
    api_session *s = base_new(arena, api_session);
    s->ctx = ctx;
    s->arena = arena;
    api_options_reset(&s->options);
    return s;
}

void api_close(api_session *s)
{
    if (s)
        base_ctx_free(s->ctx);
    free(s);
}

typedef struct running {
    api_session *s;
    void (*f)(api_session *, void *);
    void *user;
} running;

static void run(void *user)
{
    running *r = user;
    r->f(r->s, r->user);
}

int api_run(api_session *s, void (*f)(api_session *, void *), void *user)
{
    running r = {s, f, user};
    base_try frame;
    if (!setjmp(base_try_push(s->ctx, &frame))) {
        base_on_stack(s->ctx, run, &r);
        base_try_pop(s->ctx, &frame);
    } else if (!base_error_count(s->ctx)) {
        report(s, &(base_diagnostic){.severity = BASE_ERROR, .text = base_ctx_why(s->ctx)});
        return 1;
    }
    return s->usage ? 2 : base_error_count(s->ctx) ? 1 : 0;
}

const api_options *api_options_of(const api_session *s)
{
    return &s->options;
}

void api_set_warnings(api_session *s)
{
    const api_names *names = &s->options.warnings;
    s->errors = base_error_count(s->ctx);
    bool *known = base_array(s->arena, bool, names->count + 1);
    for (int i = 0; i < names->count; i++)
        known[i] = base_set_warning(s->ctx, names->items[i]);
    for (int i = 0; i < names->count; i++)
        if (!known[i])
            base_warn(s->ctx, BASE_W_unknown_warning_option, NULL,
                      "unknown warning option '-W%s'; --help lists the known", names->items[i]);
}

bool api_sound(const api_session *s)
{
    return base_error_count(s->ctx) == s->errors;
}

bool api_check_extent(api_session *s, const ir_module *m)
{
    const char *fault = ir_extent_fault(m, s->arena);
    if (fault)
        api_error(s, "%s: %s", s->path, fault);
    return !fault;
}

const api_warnings *api_warnings_of(const api_session *s)
{
    return &s->warned;
}

bool api_warning_at(int i, const char **name, const char **doc)
{
    if (i >= BASE_WARNINGS)
        return false;
    *name = base_warnings[i].name;
    *doc = base_warnings[i].doc;
    return true;
}

/* One severity and the words. */
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

void *api_alloc(api_session *s, size_t bytes)
{
    return base_alloc(s->arena, bytes);
}

char *api_format(api_session *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = base_vformat(s->arena, format, args);
    va_end(args);
    return text;
}

static bool write_bytes(FILE *f, void *user)
{
    const api_file *file = user;
    return fwrite(file->bytes, 1, file->size, f) == file->size;
}

bool api_write(api_session *s, const api_file *files, int n)
{
    base_output *out = base_array(s->arena, base_output, n + 1);
    for (int i = 0; i < n; i++) {
        out[i] = (base_output){files[i].path, write_bytes, (void *)&files[i]};
        for (int k = 0; k < i; k++)
            if (!strcmp(files[i].path, files[k].path)) {
                api_usage(s, "two outputs would be written to '%s'", files[i].path);
                return false;
            }
    }
    return base_write_atomically(s->ctx, out, n);
}

bool api_make_folder(api_session *s, const char *path)
{
    char *part = base_strdup(s->arena, path);
    for (char *slash = part + 1; *slash; slash++) /* the folders on the way */
        if (*slash == '/') {
            *slash = 0;
            mkdir(part, 0777);
            *slash = '/';
        }
    struct stat st;
    if (!mkdir(part, 0777) || (errno == EEXIST && !stat(part, &st) && S_ISDIR(st.st_mode)))
        return true;
    api_error(s, "%s: the folder cannot be made: %s", path, strerror(errno));
    return false;
}
