/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer the free part of a block is poisoned, and a gap follows each
 * allocation. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN
#endif
#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
enum { GAP = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
enum { GAP = 0 };
#endif

typedef struct block {
    struct block *next;
    size_t used, size; /* of data */
    _Alignas(64) unsigned char data[];
} block;

struct base_arena {
    base_ctx *ctx;
    block *blocks;
    struct base_arena *next, *previous;
};

typedef struct deferred {
    void (*f)(void *);
    void *data;
    struct deferred *next;
} deferred;

/* The context's sink and counts from before the hold. */
struct base_held {
    base_arena *arena;
    base_held *outer;
    base_sink *sink;
    void *user;
    int errors, passed_on[2];
    char first[512];
    BASE_LIST(base_diagnostic) kept;
};

struct base_ctx {
    base_sink *sink;
    void *user;
    base_try *frame;
    base_held *held;
    base_arena *arenas;
    deferred *deferred;
    size_t bytes, limit;
    int64_t fail_at; /* allocations until one fails; 0: never */
    bool fail_stays, out_of_memory;
    int errors, passed_on[2]; /* others, errors */
    char first[512];
    bool warnings_are_errors;
    struct {
        bool off;
        enum { AS_THE_OTHERS, AN_ERROR, NO_ERROR } error;
    } warning[BASE_WARNINGS];
};

_Thread_local const char *base_current_pass;

base_ctx *base_ctx_new(base_sink *sink, void *user)
{
    base_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx)
        return NULL;
    ctx->sink = sink;
    ctx->user = user;
    const char *limit = getenv("GRADC_LIMIT_BYTES"), *fail = getenv("GRADC_FAIL_ALLOCATION");
    unsigned long long lower = limit ? strtoull(limit, NULL, 10) : 0;
    ctx->limit = lower && lower < BASE_MAX_ARENA_BYTES ? lower : BASE_MAX_ARENA_BYTES;
    if (fail) {
        char *end;
        ctx->fail_at = strtoll(fail, &end, 10);
        ctx->fail_stays = *end == '+';
    }
    return ctx;
}

void base_ctx_free(base_ctx *ctx)
{
    if (!ctx)
        return;
    while (ctx->deferred) {
        deferred *d = ctx->deferred;
        ctx->deferred = d->next;
        d->f(d->data);
        free(d);
    }
    while (ctx->arenas)
        base_arena_free(ctx->arenas);
    free(ctx);
}

jmp_buf *base_try_push_(base_ctx *ctx, base_try *frame)
{
    frame->outer = ctx->frame;
    frame->held = ctx->held;
    ctx->frame = frame;
    return &frame->jump;
}

void base_try_pop(base_ctx *ctx, base_try *frame)
{
    BUG_UNLESS(ctx->frame == frame);
    ctx->frame = frame->outer;
}

_Noreturn void base_throw(base_ctx *ctx, const base_loc *loc, const char *message)
{
    base_try *frame = ctx->frame;
    while (frame && ctx->held != frame->held)
        base_release(ctx, ctx->held, false);
    if (message)
        base_report(ctx, BASE_ERROR, loc, "%s", message);
    if (!frame)
        BUG("%s, with no base_try to return to", message ? message : "error");
    ctx->frame = frame->outer;
    longjmp(frame->jump, 1);
}

static _Noreturn void out_of_memory(base_ctx *ctx)
{
    ctx->out_of_memory = true;
    base_throw(ctx, NULL, "out of memory");
}

static _Noreturn void beyond_limit(base_ctx *ctx)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
    char text[96];
    size_t n = ctx->limit;
    int unit = 0;
    for (; unit < 3 && n % 1024 == 0; unit++)
        n /= 1024;
    snprintf(text, sizeof text, "the model needs more memory to compile than the limit of %zu %s",
             n, units[unit]);
    base_throw(ctx, NULL, text);
}

/* Counts an allocation of the compiler; throws at the test hook's allocation and beyond the
 * limit. */
static void *allocate(base_ctx *ctx, size_t bytes)
{
    if (ctx->fail_at && --ctx->fail_at == 0) {
        ctx->fail_at = ctx->fail_stays ? 1 : 0;
        out_of_memory(ctx);
    }
    if (ctx->bytes > ctx->limit || bytes > ctx->limit - ctx->bytes)
        beyond_limit(ctx);
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes))
        out_of_memory(ctx);
    ctx->bytes += bytes;
    return p;
}

void base_defer(base_ctx *ctx, void (*f)(void *), void *data)
{
    deferred *d = malloc(sizeof *d);
    if (!d || (ctx->fail_at && --ctx->fail_at == 0)) {
        free(d);
        f(data);
        out_of_memory(ctx);
    }
    *d = (deferred){f, data, ctx->deferred};
    ctx->deferred = d;
}

base_arena *base_arena_new(base_ctx *ctx)
{
    base_arena *arena = allocate(ctx, sizeof *arena);
    *arena = (base_arena){.ctx = ctx, .next = ctx->arenas};
    if (arena->next)
        arena->next->previous = arena;
    ctx->arenas = arena;
    return arena;
}

void base_arena_free(base_arena *arena)
{
    if (!arena)
        return;
    if (arena->previous)
        arena->previous->next = arena->next;
    else
        arena->ctx->arenas = arena->next;
    if (arena->next)
        arena->next->previous = arena->previous;
    arena->ctx->bytes -= sizeof *arena;
    for (block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        arena->ctx->bytes -= sizeof *b + b->size;
        free(b);
    }
    free(arena);
}

base_ctx *base_arena_ctx(const base_arena *arena)
{
    return arena->ctx;
}

void *base_alloc(base_arena *arena, size_t bytes)
{
    enum { BLOCK = 64 << 10 };
    size_t align = bytes >= 1024 ? 64 : 16;
    if (bytes > SIZE_MAX / 2)
        out_of_memory(arena->ctx);
    block *b = arena->blocks;
    size_t at = b ? (b->used + align - 1) & ~(align - 1) : 0;
    if (!b || at > b->size || bytes > b->size - at) {
        size_t size = bytes > BLOCK / 4 ? (bytes + GAP + 63) & ~(size_t)63 : BLOCK;
        block *fresh = allocate(arena->ctx, sizeof *fresh + size);
        *fresh = (block){.size = size};
        ASAN_POISON_MEMORY_REGION(fresh->data, size);
        /* a large block goes after the current one, which still has room */
        if (b && size != BLOCK) {
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            arena->blocks = fresh;
        }
        b = fresh;
        at = 0;
    } else if (arena->ctx->fail_at && --arena->ctx->fail_at == 0) {
        arena->ctx->fail_at = arena->ctx->fail_stays ? 1 : 0;
        out_of_memory(arena->ctx);
    }
    b->used = at + bytes + GAP < b->size ? at + bytes + GAP : b->size;
    ASAN_UNPOISON_MEMORY_REGION(b->data + at, bytes);
    return memset(b->data + at, 0, bytes);
}

void *base_alloc_array(base_arena *arena, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / 2 / size)
        out_of_memory(arena->ctx);
    return base_alloc(arena, count * size);
}

void *base_memdup(base_arena *arena, const void *p, size_t bytes)
{
    void *copy = base_alloc(arena, bytes);
    if (bytes)
        memcpy(copy, p, bytes);
    return copy;
}

char *base_strndup(base_arena *arena, const char *s, size_t n)
{
    char *copy = base_alloc(arena, n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *base_strdup(base_arena *arena, const char *s)
{
    return base_strndup(arena, s, strlen(s));
}

char *base_vformat(base_arena *arena, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    BUG_UNLESS(n >= 0);
    char *s = base_alloc(arena, (size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, format, again);
    va_end(again);
    return s;
}

char *base_format(base_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *s = base_vformat(arena, format, args);
    va_end(args);
    return s;
}

void *base_grow_(base_arena *arena, void *items, int count, int *capacity, size_t size)
{
    if (*capacity > INT32_MAX / 2)
        out_of_memory(arena->ctx);
    *capacity = *capacity ? *capacity * 2 : 8;
    void *grown = base_alloc_array(arena, (size_t)*capacity, size);
    if (count)
        memcpy(grown, items, (size_t)count * size);
    return grown;
}

void base_fail_allocation(base_ctx *ctx, int64_t n, bool stay)
{
    ctx->fail_at = n;
    ctx->fail_stays = stay;
}

bool base_size_mul(int64_t a, int64_t b, int64_t *out)
{
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, out);
}

bool base_size_add(int64_t a, int64_t b, int64_t *out)
{
    return a >= 0 && b >= 0 && !__builtin_add_overflow(a, b, out);
}

bool base_size_within(int64_t *sum, int64_t bytes, int64_t limit)
{
    return base_size_add(*sum, bytes, sum) && *sum <= limit;
}

bool base_size_align(int64_t n, int64_t align, int64_t *out)
{
    int64_t sum;
    if (!base_size_add(n, align - 1, &sum))
        return false;
    *out = sum & ~(align - 1);
    return true;
}

static void report(base_ctx *ctx, base_severity severity, const base_warning_info *warning,
                   const base_loc *loc, const char *format, va_list args)
{
    char text[4096];
    int *passed_on = &ctx->passed_on[severity == BASE_ERROR];
    vsnprintf(text, sizeof text, format, args);
    if (severity == BASE_ERROR && ctx->errors++ == 0)
        snprintf(ctx->first, sizeof ctx->first, "%.500s", text);
    if (ctx->sink && *passed_on < BASE_MAX_DIAGNOSTICS) {
        ++*passed_on;
        ctx->sink(ctx->user, &(base_diagnostic){severity, warning, loc, text});
    }
}

void base_vreport(base_ctx *ctx, base_severity severity, const base_loc *loc, const char *format,
                  va_list args)
{
    report(ctx, severity, NULL, loc, format, args);
}

void base_report(base_ctx *ctx, base_severity severity, const base_loc *loc, const char *format,
                 ...)
{
    va_list args;
    va_start(args, format);
    base_vreport(ctx, severity, loc, format, args);
    va_end(args);
}

/* ---- Warnings ---- */

const base_warning_info base_warnings[BASE_WARNINGS] = {
#define WARNING(identifier, name, doc) {name, doc},
#include "base/warnings.def"
};

void base_warn(base_ctx *ctx, base_warning which, const base_loc *loc, const char *format, ...)
{
    va_list args;
    if (ctx->warning[which].off)
        return;
    bool error = ctx->warning[which].error ? ctx->warning[which].error == AN_ERROR
                                           : ctx->warnings_are_errors;
    va_start(args, format);
    report(ctx, error ? BASE_ERROR : BASE_WARNING, &base_warnings[which], loc, format, args);
    va_end(args);
}

/* The text after a prefix, or NULL. */
static const char *behind(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) ? NULL : text + n;
}

bool base_set_warning(base_ctx *ctx, const char *option)
{
    const char *rest = behind(option, "no-"), *name = rest ? rest : option,
               *error = behind(name, "error=");
    bool off = rest != NULL, found = false;
    if (!strcmp(name, "error")) {
        ctx->warnings_are_errors = !off;
        return true;
    }
    for (int i = 0; i < BASE_WARNINGS; i++) {
        if (strcmp(error ? error : name, base_warnings[i].name) &&
            (error || strcmp(name, "everything")))
            continue;
        found = true;
        if (error)
            ctx->warning[i].error = off ? NO_ERROR : AN_ERROR;
        if (!error || !off)
            ctx->warning[i].off = off;
    }
    return found;
}

int base_error_count(const base_ctx *ctx)
{
    return ctx->errors;
}

const char *base_ctx_why(const base_ctx *ctx)
{
    return ctx->out_of_memory ? "out of memory" : ctx->first;
}

bool base_ctx_out_of_memory(const base_ctx *ctx)
{
    return ctx->out_of_memory;
}

void base_forget_errors(base_ctx *ctx)
{
    ctx->out_of_memory = false;
    ctx->errors = ctx->passed_on[0] = ctx->passed_on[1] = 0;
    *ctx->first = 0;
}

/* ---- Held back ---- */

static void keep(void *user, const base_diagnostic *d)
{
    base_held *held = user;
    base_diagnostic copy = *d;
    copy.text = base_strdup(held->arena, d->text);
    BASE_PUSH(held->arena, &held->kept, copy);
}

base_held *base_hold(base_ctx *ctx, base_arena *arena)
{
    base_held *held = base_new(arena, base_held);
    *held = (base_held){arena,     ctx->held,   ctx->sink,
                        ctx->user, ctx->errors, {ctx->passed_on[0], ctx->passed_on[1]},
                        "",        {0}};
    memcpy(held->first, ctx->first, sizeof held->first);
    ctx->held = held;
    ctx->sink = keep;
    ctx->user = held;
    return held;
}

void base_release(base_ctx *ctx, base_held *held, bool pass_on)
{
    BUG_UNLESS(ctx->held == held);
    ctx->held = held->outer;
    ctx->sink = held->sink;
    ctx->user = held->user;
    if (!pass_on) {
        ctx->errors = held->errors;
        memcpy(ctx->passed_on, held->passed_on, sizeof ctx->passed_on);
        memcpy(ctx->first, held->first, sizeof ctx->first);
        return;
    }
    for (int i = 0; i < held->kept.count && ctx->sink; i++)
        ctx->sink(ctx->user, &held->kept.items[i]);
}

_Noreturn void base_bug(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "gradc: internal error in %s (%s:%d): ",
            base_current_pass ? base_current_pass : "no pass", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}
