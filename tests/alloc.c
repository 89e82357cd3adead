/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Out of memory on the way from a file to code: each step is run with its first, second, third …
 * allocation failing, once or from then on, until it succeeds. Every failure is returned as "out of
 * memory" to the caller; under AddressSanitizer (docs/extending.md) nothing leaks, LLVM included.
 * Other tests cover the rest: tests/text.c writes files, tests/files.c reads data, tests/runtime.c
 * has no allocations. */
#include "codegen/codegen.h"
#include "files/gir.h"
#include "frontend/onnx/onnx.h"
#include "passes/passes.h"
#include "tests/suite.h"

#include <stdlib.h>
#include <string.h>

/* The results of the steps so far. */
typedef struct way {
    base_ctx *ctx;
    base_arena *arena;
    const char *file;
    ir_module *m;
    cg_object *object;
} way;

static void read_file(way *w)
{
    const onnx_options training = {.training = true};
    w->m = strstr(w->file, ".onnx") ? onnx_read_file(w->ctx, w->arena, w->file, &training)
                                    : gir_read_file(w->ctx, w->arena, w->file);
}

static void make_training(way *w)
{
    const train_options o = {
        .optimizer = train_optimizer_by_name("adam"), .step = true, .split = true};
    if (!train_build(w->m, &o))
        w->m = NULL;
}

static void run_passes(way *w)
{
    for (const pass_info *p = passes; p->name; p++)
        pass_run_one(w->m, p, true);
}

static void widen(way *w)
{
    pass_widen(w->m);
}

static cg_request request_of(const cg_spec *spec)
{
    static const char *const cpus[] = {"native"};
    return (cg_request){.prefix = "t",
                        .spec = spec,
                        .nspecs = 1,
                        .level = 1,
                        .embed = true,
                        .cpu = cpus,
                        .ncpus = 1};
}

static void compile(way *w)
{
    const cg_spec spec = {w->m, NULL};
    const cg_request r = request_of(&spec);
    w->object = cg_compile(w->ctx, w->arena, &r);
    if (!w->object)
        w->m = NULL;
}

static void write_texts(way *w)
{
    size_t size;
    if (!cg_text_of(w->object, true, &size) || !cg_text_of(w->object, false, &size) ||
        !cg_archive(w->arena, w->object, "t.o", &size))
        w->m = NULL;
}

static void load(way *w)
{
    cg_jit *jit = cg_jit_load(w->ctx, w->arena, w->object->bytes, w->object->size, NULL);
    if (!jit || !cg_jit_symbol(jit, "t_init"))
        w->m = NULL;
}

/* few: the step has few allocations, all after the code exists, so a small model suffices. every:
 * after many allocations the next one that fails is further away, by their number divided by this;
 * 0, or GRADC_FAIL_EACH=1 in the environment: each one fails. */
static const struct { const char *name; void (*run)(way *); int every; bool few;
} steps[] = {
    {"read", read_file, 60, false}, {"training", make_training, 15, false},
    {"widen", widen, 0, false},     {"passes", run_passes, 12, false},
    {"compile", compile, 7, false}, {"texts", write_texts, 0, true},
    {"load", load, 0, true},
};
enum { STEPS = sizeof steps / sizeof *steps };
static const struct { const char *file; bool trains, small;
} files[] = {
    {"tests/fixtures/onnx/conv_script.onnx", true, false},
    {"tests/fixtures/onnx/rnn.onnx", false, false},
    {"tests/fixtures/onnx/loop_early.onnx", false, true},
    {"tests/text/alloc.gir", true, false},
};
enum { FILES = sizeof files / sizeof *files };

static bool is_of(int file, int step)
{
    return (files[file].trains || steps[step].run != make_training) &&
           (files[file].small || !steps[step].few);
}

/* Runs the steps up to `step`, whose n-th allocation fails; false if it did fail. */
static bool go(int file, int step, int64_t n, bool stay)
{
    way *w = calloc(1, sizeof *w);
    base_try frame;
    volatile bool done = false;
    *w = (way){.ctx = base_ctx_new(NULL, NULL), .file = files[file].file};
    if (!setjmp(base_try_push(w->ctx, &frame))) {
        w->arena = base_arena_new(w->ctx);
        for (int i = 0; i <= step; i++) {
            if (!is_of(file, i) || (steps[i].run == widen && i < step))
                continue;
            if (i == step)
                base_fail_allocation(w->ctx, n, stay);
            steps[i].run(w);
            ck_assert_msg(w->m != NULL, "%s, %s: %s", w->file, steps[i].name, base_ctx_why(w->ctx));
        }
        base_fail_allocation(w->ctx, 0, false);
        ir_verify(w->m);
        base_try_pop(w->ctx, &frame);
        done = true;
    } else {
        ck_assert_msg(base_ctx_out_of_memory(w->ctx), "%s, %s, allocation %lld: %s",
                      files[file].file, steps[step].name, (long long)n, base_ctx_why(w->ctx));
        ck_assert_str_eq(base_ctx_why(w->ctx), "out of memory");
    }
    base_ctx_free(w->ctx);
    free(w);
    return done;
}

START_TEST(every_failure_comes_back)
{
    int file = _i / STEPS, step = _i % STEPS;
    for (int stay = 0; stay < 2 && is_of(file, step); stay++) {
        int64_t n = 1 + stay, every = getenv("GRADC_FAIL_EACH") ? 0 : steps[step].every;
        while (!go(file, step, n, stay))
            n += 1 + (every ? n / every : 0);
        if (getenv("GRADC_SHOW"))
            fprintf(stderr, "%s, %s: %lld allocations\n", files[file].file, steps[step].name,
                    (long long)n);
        ck_assert_msg(n > 1 + stay, "%s of %s allocates nothing", steps[step].name,
                      files[file].file);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("alloc");
    TCase *c = tcase_create("alloc");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, every_failure_comes_back, 0, FILES * STEPS);
    suite_add_tcase(s, c);
    return suite_run(s);
}
