/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Memory, sizes and diagnostics of one compilation.
 *
 * Every allocation of the compiler comes from an arena of a base_ctx. Nothing is freed singly. When
 * memory runs out, or a stated limit is passed, allocation does not return: it leaves by longjmp to
 * the innermost base_try, whose owner destroys the context (or releases an arena) and reports. So
 * no caller of base_alloc tests for NULL. Nothing that must be closed (files, LLVM objects) may be
 * owned only by the stack across a call that allocates: register it with base_defer. */
#ifndef GRADC_BASE_ARENA_H
#define GRADC_BASE_ARENA_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct base_ctx base_ctx;
typedef struct base_arena base_arena;

/* Limits of one compilation (law 1); those of models are in ir/limits.h. */
enum { BASE_MAX_DIAGNOSTICS = 100 };
#define BASE_MAX_ARENA_BYTES ((size_t)20 << 30)
#define BASE_STACK_BYTES ((size_t)64 << 20) /* of the threads that compile */

typedef enum { BASE_NOTE, BASE_WARNING, BASE_ERROR } base_severity;

typedef enum base_warning {
#define WARNING(identifier, name, doc) BASE_W_##identifier,
#include "base/warnings.def"
    BASE_WARNINGS
} base_warning;
typedef struct base_warning_info {
    const char *name, *doc;
} base_warning_info;
extern const base_warning_info base_warnings[BASE_WARNINGS];

/* Where something comes from. Any part may be absent (NULL, or node < 0, or line 0). */
typedef struct base_loc {
    const char *file; /* as the user named it */
    const char *name; /* the node's name, raw */
    const char *op; /* the operator or function that asked for it, e.g. "Conv", "gradc_matmul" */
    int node; /* index in the file's graph, or -1 */
    int line, column; /* 1-based in a text file, or 0; column counts bytes */
    const char *source; /* that line, for a caret, or NULL; a sink may read it only while it runs */
} base_loc;

typedef struct base_diagnostic {
    base_severity severity; /* also BASE_ERROR for a warning that counts as one */
    const base_warning_info *warning; /* a row of base_warnings; NULL: not a warning */
    const base_loc *loc; /* may be NULL */
    /* Without a newline at the end, and raw: the sink escapes control characters. */
    const char *text;
} base_diagnostic;

/* Called for each diagnostic. */
typedef void base_sink(void *user, const base_diagnostic *d);

/* A new context, or NULL when out of memory. sink may be NULL (diagnostics are then only counted
 * and the first error kept). */
base_ctx *base_ctx_new(base_sink *sink, void *user);
/* Runs the deferred functions, last first, and frees all arenas. NULL is allowed. */
void base_ctx_free(base_ctx *ctx);

/* A frame to which running out of memory and exceeding a limit jump. Use:
 *     base_try frame;
 *     if (setjmp(base_try_push(ctx, &frame))) {
 *         …failed: base_ctx_why(ctx) says why…
 *     } else {
 *         …
 *         base_try_pop(ctx, &frame);
 *     }
 * A failure pops its frame itself. Locals changed between setjmp and the failure must be
 * volatile. */
typedef struct base_held base_held;
typedef struct base_try {
    jmp_buf jump;
    struct base_try *outer;
    base_held *held; /* what was held when it was pushed */
} base_try;
jmp_buf *base_try_push_(base_ctx *ctx, base_try *frame);
#define base_try_push(ctx, frame) (*base_try_push_((ctx), (frame)))
void base_try_pop(base_ctx *ctx, base_try *frame);
/* Jumps to the innermost frame; a message is first reported as an error. Aborts when there is no
 * frame. */
_Noreturn void base_throw(base_ctx *ctx, const base_loc *loc, const char *message);
/* Calls f(data) when the context is freed. */
void base_defer(base_ctx *ctx, void (*f)(void *), void *data);

/* An arena that lives until it or its context is freed. */
base_arena *base_arena_new(base_ctx *ctx);
void base_arena_free(base_arena *arena);
base_ctx *base_arena_ctx(const base_arena *arena);
/* Zeroed, 16-aligned (64-aligned from 1 KiB), never NULL. */
void *base_alloc(base_arena *arena, size_t bytes);
/* count * size, checked. */
void *base_alloc_array(base_arena *arena, size_t count, size_t size);
#define base_new(arena, type) ((type *)base_alloc((arena), sizeof(type)))
#define base_array(arena, type, count) \
    ((type *)base_alloc_array((arena), (size_t)(count), sizeof(type)))
char *base_strdup(base_arena *arena, const char *s);
char *base_strndup(base_arena *arena, const char *s, size_t n);
char *base_format(base_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *base_vformat(base_arena *arena, const char *format, va_list args);
void *base_memdup(base_arena *arena, const void *p, size_t bytes);

/* A growing array in an arena: `type *items; int count, capacity;` members by convention.
 * BASE_PUSH(arena, list, item) appends to a struct with those three members. */
void *base_grow_(base_arena *arena, void *items, int count, int *capacity, size_t size);
#define BASE_PUSH(arena, list, item)                                                             \
    do {                                                                                         \
        if ((list)->count == (list)->capacity)                                                   \
            (list)->items = base_grow_((arena), (list)->items, (list)->count, &(list)->capacity, \
                                       sizeof *(list)->items);                                   \
        (list)->items[(list)->count++] = (item);                                                 \
    } while (0)
#define BASE_LIST(type)      \
    struct {                 \
        type *items;         \
        int count, capacity; \
    }

/* The test hook of law 1: the n-th allocation from now on fails (1 is the next), once or, if
 * `stay`, from then on; 0: off. */
void base_fail_allocation(base_ctx *ctx, int64_t n, bool stay);
/* The same for later contexts: read by base_ctx_new from GRADC_FAIL_ALLOCATION in the environment
 * ("17" or "17+"). Fuzzers set GRADC_LIMIT_BYTES there, which lowers BASE_MAX_ARENA_BYTES; nothing
 * raises it. */

/* Calls f(data) on a thread with a stack of BASE_STACK_BYTES and waits for it; throws when f throws
 * or when no thread can be started. Compiling recurses as deep as subgraphs and the expressions of
 * a kernel are nested, which is bounded, and LLVM as deep as it likes: the stack of a program's
 * thread may be too small. */
void base_on_stack(base_ctx *ctx, void (*f)(void *), void *data);
/* pthread_create with such a stack; 0 or an error number. */
int base_thread_start(pthread_t *thread, void *(*f)(void *), void *data);

/* Size arithmetic: true and *out set, or false on overflow or a negative operand. Sizes are
 * multiplied only here. */
bool base_size_mul(int64_t a, int64_t b, int64_t *out);
bool base_size_add(int64_t a, int64_t b, int64_t *out);
/* *sum grows by bytes; false if it is then above limit. */
bool base_size_within(int64_t *sum, int64_t bytes, int64_t limit);
/* n rounded up to a multiple of align (a power of two). */
bool base_size_align(int64_t n, int64_t align, int64_t *out);

/* Diagnostics: the user's errors (law 4) and notes; warnings go through base_warn. loc may be NULL.
 * At most BASE_MAX_DIAGNOSTICS errors and as many other diagnostics are passed on; all errors are
 * counted. */
void base_report(base_ctx *ctx, base_severity severity, const base_loc *loc, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));
void base_vreport(base_ctx *ctx, base_severity severity, const base_loc *loc, const char *format,
                  va_list args);
/* Reports a warning, an error or nothing, as base_set_warning has chosen. */
void base_warn(base_ctx *ctx, base_warning which, const base_loc *loc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The text after -W: NAME and no-NAME (NAME may be `everything`), error and no-error, error=NAME
 * and no-error=NAME, with the meanings that clang gives them. False if there is no such name. */
bool base_set_warning(base_ctx *ctx, const char *option);
int base_error_count(const base_ctx *ctx);
/* The first error's text, or "" if there was none; "out of memory" when that is what happened. */
const char *base_ctx_why(const base_ctx *ctx);
bool base_ctx_out_of_memory(const base_ctx *ctx);
/* Forgets all errors, for a context that is used further. */
void base_forget_errors(base_ctx *ctx);
/* Holds diagnostics back from here on, for work that may turn out to be unnecessary: they are
 * counted, and kept in the arena. base_release ends the latest hold: it passes the diagnostics on,
 * or forgets them and their counts. base_throw forgets what was held since its base_try. */
base_held *base_hold(base_ctx *ctx, base_arena *arena);
void base_release(base_ctx *ctx, base_held *held, bool pass_on);

/* The compiler's own errors (law 4): prints pass and message, aborts. */
_Noreturn void base_bug(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define BUG(...) base_bug(__FILE__, __LINE__, __VA_ARGS__)
#define BUG_UNLESS(condition) \
    ((condition) ? (void)0 : base_bug(__FILE__, __LINE__, "%s", #condition))
/* Name of the running pass, for BUG. */
extern _Thread_local const char *base_current_pass;

#endif
