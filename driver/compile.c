/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `compile`: PREFIX.o and PREFIX.h, other forms of the code, and the line that links them. */
#include "driver/driver.h"

#include <string.h>

typedef struct outputs {
    api_session *s;
    const api_code *code;
    const char *stem; /* the files' path without suffix */
    api_file file[8];
    int n;
} outputs;

static const char *path(const outputs *o, const char *suffix)
{
    return api_format(o->s, "%s%s", o->stem, suffix);
}

static void add(outputs *o, const char *suffix, const void *bytes, size_t size)
{
    o->file[o->n++] = (api_file){path(o, suffix), bytes, size};
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
    o->file[o->n++] = (api_file){library_path(o, ".a"), bytes, size};
}

static const struct {
    const char *name;
    void (*add)(outputs *);
} kinds[] = {{"obj", add_object}, {"asm", add_assembly}, {"llvm", add_llvm}, {"lib", add_library}, {"shared", add_object}};
enum { KINDS = sizeof kinds / sizeof *kinds, SHARED = KINDS - 1 };

/* The kinds asked for, each once; the object of `shared` is written too. */
static bool choose_kinds(api_session *s, bool chosen[KINDS])
{
    const api_options *o = api_options_of(s);
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
    const char *file = api_options_of(s)->file;
    size_t n = file ? strlen(file) : 0;
    static const char *const suffixes[] = {".o", ".s", ".ll", ".a", ".so"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t k = strlen(suffixes[i]);
        if (n > k && !strcmp(file + n - k, suffixes[i]))
            return api_format(s, "%.*s", (int)(n - k), file);
    }
    return file ? file : prefix;
}

static void print_set(const char *title, const api_tensors *list, int trainable)
{
    const char *comma = "";
    for (int i = 0; i < list->count; i++)
        if (trainable < 0 || list->items[i].trainable == trainable) {
            printf("%s%s", *comma ? comma : title, list->items[i].name);
            comma = ", ";
        }
    if (*comma)
        putchar('\n');
}

static void print_summary(api_session *s, const outputs *o, const bool *chosen)
{
    const api_facts *f = api_facts_of(s);
    if (api_options_of(s)->quiet || !f)
        return;
    if (api_options_of(s)->train) {
        print_set("trains: ", &f->params, 1);
        print_set("does not train: ", &f->params, 0);
        print_set("statistics: ", &f->stats, -1);
    }
    for (int i = 0; i < o->n; i++)
        printf("wrote %s, %zu bytes\n", o->file[i].path, o->file[i].size);
    if (chosen[SHARED])
        printf("wrote %s\n", library_path(o, ".so"));
    const char *what = chosen[0] || chosen[SHARED] ? path(o, ".o") : chosen[3] ? library_path(o, ".a") : NULL;
    if (what)
        printf("link: cc %s app.c %s %s\n", api_compile_flags(s), what, api_link_flags(s));
}

void run_compile(api_session *s, const char *model)
{
    bool chosen[KINDS] = {false};
    outputs o = {.s = s};
    if (!choose_kinds(s, chosen) || !api_read(s, API_COMPILE, model) || !api_optimise(s, NULL, NULL))
        return;
    o.code = api_compile(s);
    if (!o.code)
        return;
    o.stem = stem_of(s, o.code->prefix);
    chosen[0] |= chosen[SHARED];
    for (int k = 0; k < SHARED; k++)
        if (chosen[k])
            kinds[k].add(&o);
    add(&o, ".h", o.code->header, strlen(o.code->header));
    if (api_options_of(s)->weights && !strcmp(api_options_of(s)->weights, "file")) {
        size_t size;
        const void *bytes = api_weights(s, &size);
        if (!bytes)
            return;
        add(&o, ".safetensors", bytes, size);
    }
    if (!api_write(s, o.file, o.n) || (chosen[SHARED] && !api_link_shared(s, path(&o, ".o"), library_path(&o, ".so"))))
        return;
    print_summary(s, &o, chosen);
}
