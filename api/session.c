/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Sessions. */
#include "api/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
    s->ctx = base_ctx_new(api_report, s);
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
        api_report(s, &(base_diagnostic){.severity = BASE_ERROR, .text = base_ctx_why(s->ctx)});
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
                      "unknown warning option '-W%s'; --help lists the warnings", names->items[i]);
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
    for (char *slash = part + 1; *slash; slash++) /* the parent folders */
        if (*slash == '/') {
            *slash = 0;
            mkdir(part, 0777);
            *slash = '/';
        }
    struct stat st;
    if (!mkdir(part, 0777) || (errno == EEXIST && !stat(part, &st) && S_ISDIR(st.st_mode)))
        return true;
    api_error(s, "%s: cannot create the folder: %s", path, strerror(errno));
    return false;
}
