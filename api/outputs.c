/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What `compile` writes: the header and every form of the code that --emit names. */
#include "api/session.h"

#include <string.h>

typedef struct outputs {
    api_session *s;
    const api_code *code;
    const char *stem; /* the files' path without suffix */
    api_outputs *out;
} outputs;

static const char *path(const outputs *o, const char *suffix)
{
    return api_format(o->s, "%s%s", o->stem, suffix);
}

static void add(outputs *o, const char *suffix, const void *bytes, size_t size)
{
    o->out->file[o->out->n++] = (api_file){path(o, suffix), bytes, size};
}

static void add_object(outputs *o)
{
    add(o, ".o", o->code->object, o->code->size);
}

static void add_assembly(outputs *o)
{
    size_t size;
    const char *text = api_code_text(o->s, true, &size);
    add(o, ".s", text, size);
}

static void add_llvm(outputs *o)
{
    size_t size;
    const char *text = api_code_text(o->s, false, &size);
    add(o, ".ll", text, size);
}

static const char *base_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* Beside the object, in the form libNAME.a and libNAME.so. */
static const char *library_path(const outputs *o, const char *suffix)
{
    const char *base = base_of(o->stem);
    return api_format(o->s, "%.*slib%s%s", (int)(base - o->stem), o->stem, base, suffix);
}

static void add_library(outputs *o)
{
    size_t size;
    const void *bytes = api_code_library(o->s, api_format(o->s, "%s.o", o->code->prefix), &size);
    o->out->file[o->out->n++] = (api_file){library_path(o, ".a"), bytes, size};
}

static const struct {
    const char *name;
    void (*add)(outputs *);
} kinds[] = {{"obj", add_object}, {"asm", add_assembly}, {"llvm", add_llvm}, {"lib", add_library}, {"shared", add_object}};
enum { KINDS = sizeof kinds / sizeof *kinds, SHARED = KINDS - 1 };

/* The kinds asked for, each once; the object of `shared` is written too. */
static bool choose_kinds(api_session *s, bool chosen[KINDS])
{
    const api_options *o = &s->options;
    for (int i = 0; i < o->emit.count; i++) {
        int k = 0;
        while (k < KINDS && strcmp(kinds[k].name, o->emit.items[i]))
            k++;
        if (k == KINDS) {
            api_usage(s, "--emit: '%s' is none of obj, asm, llvm, lib, shared", o->emit.items[i]);
            return false;
        }
        chosen[k] = true;
    }
    if (!o->emit.count)
        chosen[0] = true;
    return true;
}

static const char *stem_of(api_session *s, const char *prefix)
{
    const char *file = s->options.file;
    size_t n = file ? strlen(file) : 0;
    static const char *const suffixes[] = {".o", ".s", ".ll", ".a", ".so"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t k = strlen(suffixes[i]);
        if (n > k && !strcmp(file + n - k, suffixes[i]))
            return api_format(s, "%.*s", (int)(n - k), file);
    }
    return file ? file : prefix;
}

static void add_weights(outputs *o)
{
    size_t size;
    const void *bytes = api_weights(o->s, &size);
    if (bytes)
        add(o, ".safetensors", bytes, size);
}

bool api_write_outputs(api_session *s, api_outputs *out)
{
    bool chosen[KINDS] = {false};
    outputs o = {.s = s, .code = &s->code, .stem = stem_of(s, s->code.prefix), .out = out};
    *out = (api_outputs){0};
    if (!choose_kinds(s, chosen))
        return false;
    if (chosen[SHARED] && s->options.target) {
        api_usage(s, "--emit=shared links for this machine: leave out --target");
        return false;
    }
    chosen[0] |= chosen[SHARED];
    for (int k = 0; k < SHARED; k++)
        if (chosen[k])
            kinds[k].add(&o);
    add(&o, ".h", o.code->header, strlen(o.code->header));
    if (s->options.weights && !strcmp(s->options.weights, "file"))
        add_weights(&o);
    if (ir_error_count(s->ctx) || !api_write(s, out->file, out->n))
        return false;
    out->shared = chosen[SHARED] ? library_path(&o, ".so") : NULL;
    out->link = chosen[0] ? path(&o, ".o") : chosen[3] ? library_path(&o, ".a") : NULL;
    return !out->shared || api_link_shared(s, out->link, out->shared);
}
