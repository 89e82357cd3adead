/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Libraries: a static one with a symbol table, written here (the System V format that ld reads),
 * and a shared one by the C compiler. */
#include "codegen/codegen.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

/* A member's header is 60 bytes of text: name, time, owner, group, mode, size. All but name and
 * size are fixed, so that the same object makes the same archive. */
static void put_header(char *to, const char *name, size_t size)
{
    char line[80];
    snprintf(line, sizeof line, "%-16.16s%-12d%-6d%-6d%-8s%-10zu`\n", name, 0, 0, 0, "100644",
             size);
    memcpy(to, line, 60);
}

static void put_big(unsigned char *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* The symbols of the header's functions. */
static int symbols_of(base_arena *arena, const cg_object *o, const char **out)
{
    static const char *const fixed[] = {"init",      "fini",      "error", "param_count", "param",
                                        "param_get", "param_set", "save",  "load"};
    int n = 0;
    /* The last two are for files. */
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed - (o->hosted ? 0 : 2); i++)
        out[n++] = base_format(arena, "%s_%s", o->prefix, fixed[i]);
    for (int e = 0; e < CG_ENTRIES; e++)
        if (o->has[e])
            out[n++] = base_format(arena, "%s_%s", o->prefix, cg_entry_names[e]);
    if (o->sizes.grads) {
        out[n++] = base_format(arena, "%s_zero_grad", o->prefix);
        out[n++] = base_format(arena, "%s_grad_block", o->prefix);
    }
    return n;
}

void *cg_archive(base_arena *arena, const cg_object *o, const char *member, size_t *size)
{
    enum { MAGIC = 8, HEADER = 60, MOST = 32, NAME = 15 };
    const char *symbol[MOST];
    int n = symbols_of(arena, o, symbol);
    size_t table = 4 + 4 * (size_t)n;
    for (int i = 0; i < n; i++)
        table += strlen(symbol[i]) + 1;
    table += table % 2;
    size_t object_at = MAGIC + HEADER + table, total = object_at + HEADER + o->size + o->size % 2;
    char *a = base_alloc(arena, total);
    memcpy(a, "!<arch>\n", MAGIC);
    put_header(a + MAGIC, "/", table);
    unsigned char *at = (unsigned char *)a + MAGIC + HEADER;
    put_big(at, (uint32_t)n);
    for (int i = 0; i < n; i++)
        put_big(at + 4 * (i + 1), (uint32_t)object_at);
    char *names = (char *)at + 4 * (n + 1);
    for (int i = 0; i < n; i++) {
        memcpy(names, symbol[i], strlen(symbol[i]) + 1);
        names += strlen(symbol[i]) + 1;
    }
    char name[NAME + 2];
    snprintf(name, sizeof name, "%.*s/", NAME, member);
    for (char *c = name; c[1]; c++)
        if (*c == '/' || *c == ' ' || *c == '\n')
            *c = '_';
    put_header(a + object_at, name, o->size);
    memcpy(a + object_at + HEADER, o->bytes, o->size);
    if (o->size % 2)
        a[total - 1] = '\n';
    *size = total;
    return a;
}

bool cg_link_shared(base_ctx *ctx, const char *object, const char *runtime, bool blas,
                    const char *output)
{
    const char *dot[3] = {object, runtime, output}; /* ./ before -, which cc takes for an option */
    char *path[3];
    base_arena *arena = base_arena_new(ctx);
    for (int i = 0; i < 3; i++)
        path[i] = base_format(arena, "%s%s", *dot[i] == '-' ? "./" : "", dot[i]);
    char *argv[] = {"cc",       "-shared", "-o",
                    path[2],    path[0],   path[1],
                    "-pthread", "-lm",     blas ? "-lopenblas" : NULL,
                    NULL};
    pid_t child;
    int error = posix_spawnp(&child, "cc", NULL, NULL, argv, environ), status = 0;
    if (error) {
        base_report(ctx, BASE_ERROR, NULL, "cannot run cc: %s", strerror(error));
        return false;
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        base_report(ctx, BASE_ERROR, NULL, "cc could not link %s", output);
        return false;
    }
    return true;
}
