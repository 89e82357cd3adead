/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Compiles modules to machine code, and makes what belongs to it: libraries, weights, flags for the
 * C compiler. */
#include "api/session.h"
#include "base/path.h"
#include "files/safetensors.h"
#include "schedule/schedule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void api_watch(api_session *s, api_stage *stage, void *user)
{
    s->stage = stage;
    s->stage_user = user;
}

void api_note_stage(api_session *s, const char *name)
{
    if (s->stage)
        s->stage(s->stage_user, name);
}

static void watch(void *user, const pass_info *pass, const ir_module *m)
{
    (void)m;
    api_note_stage(user, pass->name);
}

/* All specialisations store a state in the same layout. */
static void share_orders(const ir_module *from, ir_module *to)
{
    for (int i = 0; i < to->states.count; i++) {
        ir_state *x = to->states.items[i];
        const ir_state *first = x->kind == IR_SAVED ? NULL : ir_state_by_name(from, x->name);
        if (first) {
            x->order = first->order;
            x->ordered = true;
        }
    }
}

bool api_optimise(api_session *s)
{
    for (int k = 0; k < s->nspecs; k++) {
        api_pipeline p = {
            .verify = s->options.verify_each, .watch = k ? NULL : watch, .user = s, .limit = -1};
        if (k)
            share_orders(s->module[0], s->module[k]);
        api_run_passes(s->module[k], &p);
    }
    return !base_error_count(s->ctx);
}

cg_request api_request(api_session *s)
{
    const api_options *o = &s->options;
    cg_request r = {.file = s->path,
                    .prefix = o->prefix ? o->prefix : s->stem,
                    .spec = s->spec,
                    .nspecs = s->nspecs,
                    .dim_name = s->dim_name,
                    .ndims = s->ndims,
                    .triple = o->target,
                    .cpu = (const char *const *)o->cpu.items,
                    .ncpus = o->cpu.count,
                    .level = o->level < 0 ? 2 : (int)o->level,
                    .blas = !o->blas || strcmp(o->blas, "none"),
                    .debug = o->debug,
                    .profile = o->profile,
                    .embed = !o->weights || !strcmp(o->weights, "embed"),
                    .hyper = s->hyper.items,
                    .nhyper = s->hyper.count,
                    .threads = o->threads < 1 ? 1 : (uint32_t)o->threads,
                    .seed = o->seed < 0 ? 0 : (uint64_t)o->seed};
    cg_rename *rename = base_array(s->arena, cg_rename, o->rename.count + 1);
    for (int i = 0; i < o->rename.count; i++)
        rename[i] = (cg_rename){o->rename.items[i].name, o->rename.items[i].value};
    r.rename = rename;
    r.nrenames = o->rename.count;
    r.range = s->ranges.items;
    r.nranges = s->ranges.count;
    return r;
}

/* Reads the file of --schedule; true if there is none. */
static bool read_schedule(api_session *s, cg_request *r)
{
    enum { MOST = 64 << 20 }; /* bytes */
    const char *path = s->options.schedule;
    base_data data;
    if (!path)
        return true;
    if (!base_read_whole_file(s->arena, path, MOST, &data))
        return false;
    r->schedule = sched_read(s->ctx, s->arena, (const char *)data.bytes, data.size, path);
    return r->schedule != NULL;
}

bool api_print_schedule(api_session *s, FILE *out)
{
    cg_request *r = base_new(s->arena, cg_request);
    *r = api_request(s);
    return read_schedule(s, r) && cg_print_schedule(s->ctx, s->arena, r, out) && !ferror(out);
}

const api_code *api_compile(api_session *s)
{
    cg_request *r = base_new(s->arena, cg_request); /* lives as long as the code */
    *r = api_request(s);
    if (!read_schedule(s, r))
        return NULL;
    s->object = cg_compile(s->ctx, s->arena, r);
    if (!s->object)
        return NULL;
    s->code = (api_code){s->object->bytes, s->object->size, s->object->prefix, s->object->header,
                         s->object->uses_blas};
    return &s->code;
}

const char *api_code_text(api_session *s, bool assembly, size_t *size)
{
    return cg_text_of(s->object, assembly, size);
}

const void *api_code_library(api_session *s, const char *member, size_t *size)
{
    return cg_archive(s->arena, s->object, member, size);
}

const void *api_weights(api_session *s, size_t *size)
{
    ir_tensors all = {0};
    const ir_module *m = s->module[0];
    for (int i = 0; i < m->states.count; i++) {
        const ir_state *x = m->states.items[i];
        ir_tensor t = {x->name, x->init ? x->init : ir_literal_new(s->arena, &x->type)};
        if (x->kind <= IR_STAT)
            BASE_PUSH(s->arena, &all, t);
    }
    char *bytes = NULL;
    FILE *f = open_memstream(&bytes, size);
    bool ok = f && safetensors_write(f, s->arena, &all);
    ok = f && !fclose(f) && ok;
    void *copy = ok ? base_memdup(s->arena, bytes, *size) : NULL;
    free(bytes);
    if (!ok)
        api_error(s, "cannot write the weights to memory");
    return copy;
}

/* ---- Where the runtime is: installed with this program, or built beside it ---- */

static const char *beside_program(api_session *s, const char *const *places)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return NULL;
    path[n] = 0;
    const char *folder = base_folder_of(s->arena, path);
    for (; *places; places++) {
        const char *full = base_format(s->arena, "%s/%s", folder, *places);
        char *real = access(full, R_OK) ? NULL : realpath(full, NULL);
        if (!real)
            continue;
        full = base_strdup(s->arena, real);
        free(real);
        return full;
    }
    return NULL;
}

static const char *runtime_library(api_session *s)
{
    static const char *const places[] = {"runtime/libgradc_rt.a",
                                         "../lib/libgradc_rt.a",
                                         "../lib64/libgradc_rt.a",
                                         "../lib/x86_64-linux-gnu/libgradc_rt.a",
                                         "../lib/aarch64-linux-gnu/libgradc_rt.a",
                                         NULL};
    return beside_program(s, places);
}

const char *api_compile_flags(api_session *s)
{
    static const char *const places[] = {"runtime/include/gradc_rt.h", "../include/gradc_rt.h",
                                         NULL};
    const char *header = beside_program(s, places);
    return header ? base_format(s->arena, "-I%s", base_folder_of(s->arena, header))
                  : "$(pkg-config --cflags gradc-rt)";
}

const char *api_link_flags(api_session *s)
{
    const char *library = runtime_library(s),
               *blas = s->object && s->object->uses_blas ? " -lopenblas" : "";
    return library ? base_format(s->arena, "%s -pthread -lm%s", library, blas)
                   : base_format(s->arena, "$(pkg-config --libs gradc-rt)%s", blas);
}

/* The linker works on files: they are in a folder of their own, below TMPDIR, until the session
 * ends. */
typedef struct workshop {
    char *folder;
    const char *object, *shared;
} workshop;

static void clean(void *user)
{
    const workshop *w = user;
    unlink(w->object);
    unlink(w->shared);
    rmdir(w->folder);
}

const void *api_code_shared(api_session *s, const char *name, size_t *size)
{
    const char *library = runtime_library(s), *place = getenv("TMPDIR");
    workshop *w = base_new(s->arena, workshop);
    base_data data;
    if (!library) {
        api_error(s, "cannot find libgradc_rt.a; expected it in ../lib beside this program");
        return NULL;
    }
    w->folder = base_format(s->arena, "%s/gradc-link-XXXXXX", place && *place ? place : "/tmp");
    if (!mkdtemp(w->folder)) {
        api_error(s, "%s: cannot create the linker's folder: %s", w->folder, strerror(errno));
        return NULL;
    }
    w->object = base_format(s->arena, "%s/.o", w->folder);
    w->shared = base_format(s->arena, "%s/%s", w->folder, name);
    base_defer(s->ctx, clean, w);
    if (!base_write_bytes(s->ctx, w->object, s->code.object, s->code.size) ||
        !cg_link_shared(s->ctx, w->object, library, s->object->uses_blas, w->shared) ||
        !base_read_whole_file(s->arena, w->shared, INT64_MAX, &data))
        return NULL;
    *size = data.size;
    return data.bytes;
}
