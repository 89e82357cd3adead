/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Models, files called model.SUFFIX: `gradc check`, then reading for inference and for training,
 * with its own loss or one that is attached, and, if the result is small, the passes with the
 * verifier after each; code, if it is tiny. A text goes through print, parse and the passes before,
 * whatever its entries are called. */
#define _GNU_SOURCE
#include "api/session.h"
#include "files/gir.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_INSTS = 400, MOST_BYTES = 1 << 24, TINY_INSTS = 16, TINY_BYTES = 1 << 14 };

static char folder[64], path[96];
static int fd = -1;

static void leave(void)
{
    unlink(path);
    rmdir(folder);
}

/* In memory where there is a file system for that. */
static void make_file(void)
{
    const char *place = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
    snprintf(folder, sizeof folder, "%s/gradc-fuzz-XXXXXX", place);
    if (!mkdtemp(folder))
        abort();
    snprintf(path, sizeof path, "%s/model" SUFFIX, folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        abort();
    atexit(leave);
    setenv("GRADC_LIMIT_BYTES", "536870912", 1);
}

static bool is_within(const ir_module *m, int64_t most_insts, int64_t most_bytes)
{
    int64_t insts = 0, bytes = 0;
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR(inst, m->funcs.items[i])
        {
            insts++;
            for (int k = 0; k < inst->nresults; k++)
                if (!base_size_add(bytes, ir_bytes(&inst->result[k]->type), &bytes))
                    return false;
        }
    return insts <= most_insts && bytes <= most_bytes;
}

typedef struct way {
    const char *train, *loss;
    bool read;
} way;

static void check(api_session *s, void *user)
{
    api_nodes nodes = {0};
    ((way *)user)->read = api_check(s, path, &nodes);
}

static void optimise(api_session *s, void *user)
{
    way *w = user;
    s->options.train = w->train;
    s->options.attach_loss = w->loss;
    s->options.verify_each = true;
    w->read = api_read(s, API_COMPILE, path);
    s->options.level = 0;
    if (!w->read || !is_within(s->module[0], MOST_INSTS, MOST_BYTES))
        return;
    bool tiny = is_within(s->module[0], TINY_INSTS, TINY_BYTES);
    if (api_optimise(s) && tiny)
        api_compile(s);
}

static const char *printed(api_session *s, const ir_module *m)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        abort();
    ir_print(f, m, NULL);
    fclose(f);
    const char *copy = base_strdup(s->arena, text);
    free(text);
    return copy;
}

/* A text of any entries, as `gradc opt` takes it. What is printed reads back to the same, unless
 * large constants lie beside it. */
static void rewrite(api_session *s, void *user)
{
    ir_module *m = gir_read_file(s->ctx, s->arena, path);
    ((way *)user)->read = m != NULL;
    if (!m || !is_within(m, MOST_INSTS, MOST_BYTES))
        return;
    const char *text = printed(s, m);
    if (!strstr(text, "large(")) {
        ir_module *again = ir_parse(s->ctx, s->arena, text, strlen(text), "again", NULL);
        BUG_UNLESS(again && !strcmp(text, printed(s, again)));
    }
    api_run_passes(m, &(api_pipeline){.verify = true, .limit = -1});
}

static bool run(void f(api_session *, void *), const char *train, const char *loss)
{
    api_session *s = api_open(NULL, false);
    way w = {train, loss, false};
    if (!s)
        return false;
    int status = api_run(s, f, &w);
    BUG_UNLESS(f == check || status == 0 || base_error_count(s->ctx) || *base_ctx_why(s->ctx));
    api_close(s);
    return w.read;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool text = !strcmp(SUFFIX, ".gir");
    /* Tests of passes show two texts. */
    const char *end = text ? memmem(data, size, "\n---\n", 5) : NULL;
    if (fd < 0)
        make_file();
    size = end ? (size_t)(end - (const char *)data) + 1 : size;
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    if (text && !run(rewrite, NULL, NULL))
        return 0;
    if (run(check, NULL, NULL) && run(optimise, NULL, NULL) && !run(optimise, "adamw", NULL))
        run(optimise, "adamw", "mse");
    return 0;
}
