/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What `compile` writes: the header and every form of the code that --emit names. */
#include "api/session.h"

#include <string.h>

typedef enum kind { OBJ, ASM, LLVM, LIB, SHARED, KINDS } kind;
static const struct {
    const char *name, *suffix;
} kinds[KINDS] = {{"obj", ".o"}, {"asm", ".s"}, {"llvm", ".ll"}, {"lib", ".a"}, {"shared", ".so"}};

/* What to write, and where. */
typedef struct wanted {
    bool kind[KINDS];
    int own;          /* the kind of -o, which gets this very path; KINDS without -o */
    /* The files' path without suffix, and without the `lib` of libraries; NULL without -o. */
    const char *stem;
} wanted;

static bool choose_kinds(api_session *s, wanted *w)
{
    const api_options *o = &s->options;
    for (int i = 0; i < o->emit.count; i++) {
        int k = 0;
        while (k < KINDS && strcmp(kinds[k].name, o->emit.items[i]))
            k++;
        if (k == KINDS) {
            api_usage(s, "--emit: unknown form '%s'; choose from obj, asm, llvm, lib, shared",
                      o->emit.items[i]);
            return false;
        }
        w->kind[k] = true;
    }
    return true;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* -o FILE.o, or a file whose suffix selects another kind. FILE.o names all files, even if --emit
 * leaves out the object. */
static bool read_path(api_session *s, wanted *w)
{
    const char *file = s->options.file, *base = base_of(file), *dot = strrchr(base, '.');
    int k = 0;
    while (k < KINDS && (!dot || dot == base || strcmp(kinds[k].suffix, dot)))
        k++;
    if (k == KINDS) {
        api_usage(s,
                  "--output=%s: expected a name that ends in .o, or in .s, .ll, .a, .so for asm, "
                  "llvm, lib, shared of --emit",
                  file);
        return false;
    }
    bool named = !s->options.emit.count || w->kind[k];
    if (!named && k != OBJ) {
        api_usage(s, "--output=%s: --emit does not name %s", file, kinds[k].name);
        return false;
    }
    bool library = k >= LIB && !strncmp(base, "lib", 3) && dot > base + 3;
    w->stem = api_format(s, "%.*s%.*s", (int)(base - file), file,
                         (int)(dot - base) - (library ? 3 : 0), base + (library ? 3 : 0));
    w->own = named ? k : KINDS;
    w->kind[k] = named;
    return true;
}

static bool read_wanted(api_session *s, wanted *w)
{
    *w = (wanted){.own = KINDS};
    if (!choose_kinds(s, w) || (s->options.file && !read_path(s, w)))
        return false;
    w->kind[OBJ] |= !s->options.file && !s->options.emit.count;
    if (!w->kind[SHARED] || !s->options.target)
        return true;
    api_usage(s, "--emit=shared links for this machine and excludes --target");
    return false;
}

bool api_check_outputs(api_session *s)
{
    wanted w;
    return read_wanted(s, &w);
}

/* Libraries are called libNAME. */
static const char *path_of(api_session *s, const wanted *w, kind k)
{
    const char *base = base_of(w->stem);
    if (w->own == (int)k)
        return s->options.file;
    return api_format(s, "%.*s%s%s%s", (int)(base - w->stem), w->stem, k >= LIB ? "lib" : "", base,
                      kinds[k].suffix);
}

static const void *bytes_of(api_session *s, kind k, const char *path, size_t *size)
{
    switch (k) {
    case OBJ: *size = s->code.size; return s->code.object;
    case LIB: return api_code_library(s, api_format(s, "%s.o", s->code.prefix), size);
    case SHARED: return api_code_shared(s, base_of(path), size);
    default: return api_code_text(s, k == ASM, size);
    }
}

static void add(api_outputs *out, const char *path, const void *bytes, size_t size)
{
    if (bytes)
        out->file[out->n++] = (api_file){path, bytes, size};
}

bool api_write_outputs(api_session *s, api_outputs *out)
{
    wanted w;
    size_t size;
    *out = (api_outputs){0};
    if (!read_wanted(s, &w))
        return false;
    w.stem = w.stem ? w.stem : s->code.prefix;
    for (kind k = OBJ; k < KINDS; k++) {
        if (!w.kind[k])
            continue;
        const char *path = path_of(s, &w, k);
        const void *bytes = bytes_of(s, k, path, &size);
        add(out, path, bytes, size);
        if (k != ASM && k != LLVM && !out->link)
            out->link = path;
    }
    add(out, api_format(s, "%s.h", w.stem), s->code.header, strlen(s->code.header));
    if (s->options.weights && !strcmp(s->options.weights, "file")) {
        const void *bytes = api_weights(s, &size);
        add(out, api_format(s, "%s.safetensors", w.stem), bytes, size);
    }
    return !base_error_count(s->ctx) && api_write(s, out->file, out->n);
}
