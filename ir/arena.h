/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Memory, sizes and diagnostics of one compilation.
 *
 * Every allocation of the compiler comes from an arena of an ir_ctx. There are no single frees.
 * When memory runs out, or a stated limit is passed, allocation does not return: it leaves by
 * longjmp to the innermost ir_try, whose owner destroys the context (or releases an arena) and
 * reports. So no caller of ir_alloc tests for NULL. Nothing that must be closed (files, LLVM
 * objects) may be owned only by the stack across a call that allocates: register it with
 * ir_defer. */
#ifndef GRADC_IR_ARENA_H
#define GRADC_IR_ARENA_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ir_ctx ir_ctx;
typedef struct ir_arena ir_arena;

/* Limits of one compilation (law 1): docs/limits.md, tests/driver_limits.c. */
enum {
    IR_MAX_RANK = 16,
    IR_MAX_DEPTH = 100,        /* nesting of subgraphs, calls and types */
    IR_MAX_NESTING = IR_MAX_DEPTH - 10, /* of ONNX: bodies become functions, and passes add a few */
    IR_MAX_NODES = 1000000,    /* nodes, initializers, values of a file, each */
    /* Of a function, those of the functions that it names among them, each time they are named. */
    IR_MAX_INSTS = 4 * IR_MAX_NODES,
    /* Loops and branches, counted the same way: each gets code of its own. */
    IR_MAX_BODIES = 2000,
    IR_MAX_MESSAGES = 8 * IR_MAX_NODES, /* of an ONNX file, and as many fields that are not known */
    IR_MAX_FUNCS = 10000,      /* of a text */
    IR_MAX_NAME = 4096,        /* bytes of a name */
    IR_MAX_DIAGNOSTICS = 100,
    IR_MAX_SPECS = 64,         /* choices of extents of symbolic dimensions */
};
#define IR_MAX_TENSOR_BYTES ((int64_t)1 << 40)
#define IR_MAX_FOLD_BYTES ((int64_t)1 << 26) /* a constant that folding may create */
/* Tensors that a file tells in fewer bytes, all of them; folded constants, the same. */
#define IR_MAX_UNPACKED_BYTES (4 * IR_MAX_FOLD_BYTES)
#define IR_MAX_ARENA_BYTES ((size_t)20 << 30)
#define IR_STACK_BYTES ((size_t)64 << 20) /* of the threads that compile */

typedef enum { IR_NOTE, IR_WARNING, IR_ERROR } ir_severity;

typedef enum ir_warning {
#define WARNING(identifier, name, doc) IR_W_##identifier,
#include "ir/warnings.def"
    IR_WARNINGS
} ir_warning;
typedef struct ir_warning_info {
    const char *name, *doc;
} ir_warning_info;
extern const ir_warning_info ir_warnings[IR_WARNINGS];

/* Where something comes from. Any part may be absent (NULL, or node < 0, or line 0). */
typedef struct ir_loc {
    const char *file; /* as the user named it */
    const char *name; /* the node's name, raw */
    const char *op;   /* the operator or function that asked for it, e.g. "Conv", "gradc_matmul" */
    int node;         /* index in the file's graph, or -1 */
    int line, column; /* 1-based in a text file, or 0; column counts bytes */
    const char *source; /* that line, for a caret, or NULL; a sink may read it only while it runs */
} ir_loc;

typedef struct ir_diagnostic {
    ir_severity severity;           /* IR_ERROR too of a warning that counts as one */
    const ir_warning_info *warning; /* a row of ir_warnings, or NULL: none */
    const ir_loc *loc;              /* may be NULL */
    /* Without a newline at the end, and raw: the sink escapes control characters. */
    const char *text;
} ir_diagnostic;

/* Called for each diagnostic. */
typedef void ir_sink(void *user, const ir_diagnostic *d);

/* A new context, or NULL when out of memory. sink may be NULL (diagnostics are then only counted
 * and the first error kept). */
ir_ctx *ir_ctx_new(ir_sink *sink, void *user);
/* Runs what was deferred, last first, and frees all arenas. NULL is allowed. */
void ir_ctx_free(ir_ctx *ctx);

/* A frame to which out-of-memory and limits return. Use: ir_try frame; if (setjmp(ir_try_push(ctx,
 *     &frame))) { …failed: ir_ctx_why(ctx) says why… } else { …; ir_try_pop(ctx, &frame); }
 * A failure pops its frame itself. Locals changed between setjmp and the failure must be
 * volatile. */
typedef struct ir_held ir_held;
typedef struct ir_try {
    jmp_buf jump;
    struct ir_try *outer;
    ir_held *held; /* what was held when it was pushed */
} ir_try;
jmp_buf *ir_try_push_(ir_ctx *ctx, ir_try *frame);
#define ir_try_push(ctx, frame) (*ir_try_push_((ctx), (frame)))
void ir_try_pop(ir_ctx *ctx, ir_try *frame);
/* Leaves to the innermost frame; with a message it is first reported as an error. Aborts when there
 * is no frame. */
_Noreturn void ir_throw(ir_ctx *ctx, const ir_loc *loc, const char *message);
/* Calls f(data) when the context is freed. */
void ir_defer(ir_ctx *ctx, void (*f)(void *), void *data);

/* An arena that lives until it or its context is freed. */
ir_arena *ir_arena_new(ir_ctx *ctx);
void ir_arena_free(ir_arena *arena);
ir_ctx *ir_arena_ctx(const ir_arena *arena);
/* Zeroed, 16-aligned (64-aligned from 1 KiB), never NULL. */
void *ir_alloc(ir_arena *arena, size_t bytes);
/* count * size, checked. */
void *ir_alloc_array(ir_arena *arena, size_t count, size_t size);
#define ir_new(arena, type) ((type *)ir_alloc((arena), sizeof(type)))
#define ir_array(arena, type, count) \
    ((type *)ir_alloc_array((arena), (size_t)(count), sizeof(type)))
char *ir_strdup(ir_arena *arena, const char *s);
char *ir_strndup(ir_arena *arena, const char *s, size_t n);
char *ir_format(ir_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *ir_vformat(ir_arena *arena, const char *format, va_list args);
void *ir_memdup(ir_arena *arena, const void *p, size_t bytes);

/* A growing array in an arena: `type *items; int count, capacity;` members by convention.
 * IR_PUSH(arena, list, item) appends to a struct with those three members. */
void *ir_grow_(ir_arena *arena, void *items, int count, int *capacity, size_t size);
#define IR_PUSH(arena, list, item)                                                             \
    do {                                                                                       \
        if ((list)->count == (list)->capacity)                                                 \
            (list)->items = ir_grow_((arena), (list)->items, (list)->count, &(list)->capacity, \
                                     sizeof *(list)->items);                                   \
        (list)->items[(list)->count++] = (item);                                               \
    } while (0)
#define IR_LIST(type)        \
    struct {                 \
        type *items;         \
        int count, capacity; \
    }

/* The test hook of law 1: the n-th allocation from now on fails (1 is the next), once or, if
 * `stay`, from then on; 0: off. */
void ir_fail_allocation(ir_ctx *ctx, int64_t n, bool stay);
/* The same for contexts not yet made: read by ir_ctx_new from GRADC_FAIL_ALLOCATION in the
 * environment ("17" or "17+"). Fuzzers set GRADC_LIMIT_BYTES there, which lowers
 * IR_MAX_ARENA_BYTES; nothing raises it. */

/* Compiling recurses as deep as subgraphs are nested and expressions of a kernel are, both bounded,
 * and LLVM as deep as it likes: more than the stack of a program's thread may hold. Calls f(data)
 * on a thread with a stack of IR_STACK_BYTES and waits for its end; throws as f throws, and when
 * there can be no thread. */
void ir_on_stack(ir_ctx *ctx, void (*f)(void *), void *data);
/* pthread_create with such a stack; 0 or an error number. */
int ir_thread_start(pthread_t *thread, void *(*f)(void *), void *data);

/* Size arithmetic: true and *out set, or false on overflow or a negative operand. The only place
 * where sizes multiply. */
bool ir_size_mul(int64_t a, int64_t b, int64_t *out);
bool ir_size_add(int64_t a, int64_t b, int64_t *out);
/* *sum grows by bytes; false when it then is above limit. */
bool ir_size_within(int64_t *sum, int64_t bytes, int64_t limit);
/* n rounded up to a multiple of align (a power of two). */
bool ir_size_align(int64_t n, int64_t align, int64_t *out);

/* Diagnostics: the user's errors (law 4) and notes; warnings go through ir_warn. loc may be NULL.
 * Of errors and of others at most IR_MAX_DIAGNOSTICS each are passed on; all errors are counted. */
void ir_report(ir_ctx *ctx, ir_severity severity, const ir_loc *loc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void ir_vreport(ir_ctx *ctx, ir_severity severity, const ir_loc *loc, const char *format,
                va_list args);
/* A warning, or an error or nothing, as ir_set_warning says. */
void ir_warn(ir_ctx *ctx, ir_warning which, const ir_loc *loc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What stands behind -W: NAME and no-NAME (NAME may be `everything`), error and no-error,
 * error=NAME and no-error=NAME, which mean what they mean to clang. False if there is no such
 * name. */
bool ir_set_warning(ir_ctx *ctx, const char *option);
int ir_error_count(const ir_ctx *ctx);
/* The first error's text, or "" if there was none; "out of memory" when that is what happened. */
const char *ir_ctx_why(const ir_ctx *ctx);
bool ir_ctx_out_of_memory(const ir_ctx *ctx);
/* Forgets them, for a context that goes on. */
void ir_forget_errors(ir_ctx *ctx);
/* Holds diagnostics back from here on, for work that may prove not to be needed: they are counted,
 * and kept in the arena. ir_release ends what was held last: it passes them on, or forgets them and
 * what they counted. What leaves by ir_throw forgets what was held since its ir_try. */
ir_held *ir_hold(ir_ctx *ctx, ir_arena *arena);
void ir_release(ir_ctx *ctx, ir_held *held, bool pass_on);

/* The compiler's own errors (law 4): prints pass and message, aborts. */
_Noreturn void ir_bug(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define BUG(...) ir_bug(__FILE__, __LINE__, __VA_ARGS__)
#define BUG_UNLESS(condition) ((condition) ? (void)0 : ir_bug(__FILE__, __LINE__, "%s", #condition))
/* Name of the running pass, for BUG. */
extern _Thread_local const char *ir_current_pass;

#endif
