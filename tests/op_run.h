/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Compiled code against the evaluator: cases of instructions become one module, which is evaluated,
 * goes through the passes, is compiled for each processor level that runs here, and is called for
 * one thread and for two.
 *
 * A case names its operands with their types and the instructions on them, in the text form with
 * two exceptions: `$` is the element type, replaced by each type that the case allows, and the
 * runner chooses how an operand is produced: it may be a parameter, a view of one (transposed,
 * every second element, reversed, repeated), computed, or a constant. Values whose names begin with
 * y are results.
 *
 * Integers and bool must be equal. Floats too (all NaN are one) unless the case allows units in the
 * last place of its type or of 1. Code flushes denormals where the evaluator does not: a result may
 * be what the evaluator gives for operands with their denormals set to zero, and a denormal result
 * may be zero (docs/numbers.md). Storage ends or begins at a page that may not be touched. */
#ifndef TESTS_OP_RUN_H
#define TESTS_OP_RUN_H

#include "codegen/codegen.h"
#include "gradc_rt.h"
#include "passes/passes.h"
#include "tests/context.h"
#include "tests/guarded.h"
#include "tests/levels.h"

#include <elf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum op_fill {
    FILL_SMALL,   /* small integers: sums in any order are exact */
    FILL_REAL,    /* floats between -2 and 2, any integers */
    FILL_SPECIAL, /* infinities, NaN, zeros, limits, denormals, halves, and any bits */
    FILL_NAN,     /* small integers, NaN and infinities among them */
    FILL_ZERO,    /* zeros of both signs, and a few negative numbers */
} op_fill;

typedef struct op_case {
    int op;               /* the op of ops.def that it is a case of */
    int types;            /* IR_CLASS_* of `$`; 0: what the op's row says */
    /* "%x $[3,4], %i i64[5,1] 0:2": names, types, and bounds if the values must keep to some */
    const char *operands;
    const char *body, *funcs;
    op_fill fill;
    /* The allowed error of floats: in units in the last place of the value, and of 1. */
    double ulps, error;
    bool plain;           /* operands are parameters themselves */
} op_case;

/* ---- Text of a module ---- */

typedef enum op_kind {
    PLAIN,
    TRANSPOSED,
    STRIDED,
    REVERSED,
    REPEATED,
    COMPUTED,
    CONSTANT,
    KINDS
} op_kind;

typedef struct op_text {
    char *bytes;
    size_t size;
    FILE *file;
} op_text;

typedef struct op_output {
    const op_case *of;
    ir_dtype dtype;
    const char *name;
} op_output;

typedef struct op_batch {
    base_arena *arena;
    op_text params, body, funcs, results;
    BASE_LIST(op_output) outputs;
    BASE_LIST(const op_case *) param_case; /* by parameter: how it is filled */
    BASE_LIST(double) bound; /* two per parameter; NAN: none */
    int cases;
    bool bad; /* an index was out of range */
    uint64_t random;
} op_batch;

static inline uint64_t op_random(op_batch *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static inline void op_open(op_batch *b)
{
    *b = (op_batch){.arena = base_arena_new(ctx), .random = 88172645463325252u};
    op_text *const all[] = {&b->params, &b->body, &b->funcs, &b->results};
    for (int i = 0; i < 4; i++)
        all[i]->file = open_memstream(&all[i]->bytes, &all[i]->size);
}

/* The case's text with `$` replaced and names made unique. */
static inline void op_expand(FILE *out, const char *text, int number, const char *dtype)
{
    for (; text && *text; text++)
        if (*text == '$')
            fputs(dtype, out);
        else if (*text == '%' || *text == '@')
            fprintf(out, "%cc%d_", *text, number);
        else
            fputc(*text, out);
}

static inline void op_dims(FILE *out, ir_dtype t, int rank, const int64_t *dim)
{
    fprintf(out, "%s[", ir_dtypes[t].name);
    for (int i = 0; i < rank; i++)
        fprintf(out, i ? ",%lld" : "%lld", (long long)dim[i]);
    fputc(']', out);
}

static inline void op_list(FILE *out, const char *name, int n, const int64_t *v)
{
    fprintf(out, " %s=[", name);
    for (int i = 0; i < n; i++)
        fprintf(out, i ? ",%lld" : "%lld", (long long)v[i]);
    fputc(']', out);
}

static inline void op_input(op_batch *b, const op_case *c, const char *name, const char *suffix,
                            const ir_type *t, const double *bound)
{
    fprintf(b->params.file, "%sinput %%c%d_%s%s : ", b->param_case.count ? ", " : "", b->cases,
            name, suffix);
    op_dims(b->params.file, t->dtype, t->rank, t->dim);
    BASE_PUSH(b->arena, &b->param_case, c);
    BASE_PUSH(b->arena, &b->bound, bound[0]);
    BASE_PUSH(b->arena, &b->bound, bound[1]);
}

/* ---- Values of operands ---- */

static const double special_floats[] = {
    0,    -0.0,  1,       -1,     NAN,   INFINITY, -INFINITY,    0.5,           -0.5,  1.5,
    2.5,  -2.5,  3,       1e-3,   -7.75, 100.25,   65504,        -65520,        1e10,  -1e20,
    3e38, 1e-38, 1.4e-45, -1e-40, 6e-8,  3e-5,     2147483648.0, -2147483649.0, 255.5, -128.5};
enum { SPECIAL_FLOATS = sizeof special_floats / sizeof *special_floats };

static inline void fill_float(op_batch *b, ir_literal *l, int64_t i, op_fill fill)
{
    uint64_t r = op_random(b);
    double small = (double)(r % 9) - 4, real = (double)(r >> 11) * 0x1p-51 - 2;
    switch (fill) {
    case FILL_SMALL: ir_literal_set(l, i, small); break;
    case FILL_REAL: ir_literal_set(l, i, real); break;
    case FILL_NAN:
        ir_literal_set(l, i,
                       r % 7 == 3    ? NAN
                       : r % 11 == 4 ? INFINITY
                       : r % 13 == 5 ? -INFINITY
                       : r % 8 == 0  ? -0.0
                                     : small);
        break;
    case FILL_ZERO: ir_literal_set(l, i, r % 9 == 4 ? -1 : r % 2 ? -0.0 : 0); break;
    case FILL_SPECIAL:
        if ((i < SPECIAL_FLOATS * 2 && r % 4) || r % 2)
            ir_literal_set(
                l, i, special_floats[i < SPECIAL_FLOATS ? (uint64_t)i : r / 2 % SPECIAL_FLOATS]);
        else if (r % 8 < 4)
            ir_literal_set(l, i, real * 20);
        else
            memcpy((char *)l->data + i * ir_dtypes[l->type.dtype].bytes, &r,
                   (size_t)ir_dtypes[l->type.dtype].bytes);
    }
}

static inline void fill_int(op_batch *b, ir_literal *l, int64_t i, op_fill fill)
{
    ir_dtype t = l->type.dtype;
    uint64_t r = op_random(b), top = 1ull << (8 * ir_dtypes[t].bytes - 1);
    const uint64_t special[] = {
        0,  1,  (uint64_t)-1, top, top - 1, 2,  top + 1,      7, 8,   15,
        16, 31, 32,           33,  63,      64, (uint64_t)-2, 3, 100, (uint64_t)-63};
    enum { N = sizeof special / sizeof *special };
    uint64_t small = ir_is_signed(t) ? (uint64_t)((int64_t)(r % 9) - 4) : r % 6, v = r;
    if (fill == FILL_SMALL || fill == FILL_NAN || fill == FILL_ZERO)
        v = small;
    else if (fill == FILL_SPECIAL && (i < N || r % 3))
        v = special[i < N ? (uint64_t)i : r / 3 % N];
    ir_literal_set_int(l, i, t == IR_BOOL ? r % 3 == 0 : (int64_t)v);
}

static inline ir_literal *op_values(op_batch *b, const ir_type *t, op_fill fill,
                                    const double *bound)
{
    ir_literal *l = ir_literal_new(b->arena, t);
    for (int64_t i = 0; i < ir_count(t); i++)
        if (!isnan(bound[0])) {
            double v = bound[0] +
                       (double)(op_random(b) >> 20 & 0xffff) / 0x10000 * (bound[1] - bound[0] + 1);
            ir_literal_set(l, i, floor(v));
        } else if (ir_is_float(t->dtype)) {
            fill_float(b, l, i, fill);
        } else {
            fill_int(b, l, i, fill);
        }
    return l;
}

static inline double smallest_normal(ir_dtype t)
{
    return t == IR_F64 ? 0x1p-1022 : t == IR_F16 ? 0 : 0x1p-126;
}

static inline double flushed(ir_dtype t, double x)
{
    return fabs(x) < smallest_normal(t) ? copysign(0, x) : x;
}

static inline const ir_literal *op_flush(op_batch *b, const ir_literal *l)
{
    ir_literal *r = ir_literal_new(b->arena, &l->type);
    memcpy(r->data, l->data, (size_t)ir_bytes(&l->type));
    for (int64_t i = 0; ir_is_float(l->type.dtype) && i < ir_count(&l->type); i++)
        if (ir_literal_get(l, i) != flushed(l->type.dtype, ir_literal_get(l, i)))
            ir_literal_set(r, i, flushed(l->type.dtype, ir_literal_get(l, i)));
    return r;
}

static inline void op_element(FILE *out, const ir_literal *l, int64_t i)
{
    uint64_t bits = 0;
    memcpy(&bits, (const char *)l->data + i * ir_dtypes[l->type.dtype].bytes,
           (size_t)ir_dtypes[l->type.dtype].bytes);
    if (l->type.dtype == IR_BOOL)
        fputs(bits ? "true" : "false", out);
    else if (ir_is_float(l->type.dtype))
        fprintf(out, "0x%0*llx", 2 * ir_dtypes[l->type.dtype].bytes, (unsigned long long)bits);
    else if (l->type.dtype == IR_U64)
        fprintf(out, "%llu", (unsigned long long)bits);
    else
        fprintf(out, "%lld", (long long)ir_literal_get_int(l, i));
}

static inline void op_nested(FILE *out, const ir_literal *l, int d, int64_t *i)
{
    if (d == l->type.rank) {
        op_element(out, l, (*i)++);
        return;
    }
    fputc('[', out);
    for (int64_t k = 0; k < l->type.dim[d]; k++) {
        if (k)
            fputc(',', out);
        op_nested(out, l, d + 1, i);
    }
    fputc(']', out);
}

/* ---- Operands ---- */

static inline void op_constant(op_batch *b, const op_case *c, const char *name, const ir_type *t,
                               const double *bound)
{
    int64_t i = 0;
    fprintf(b->body.file, "  %%c%d_%s = constant value=", b->cases, name);
    if (ir_count(t)) /* it is the same in both evaluations, so no denormals */
        op_nested(b->body.file, op_flush(b, op_values(b, t, c->fill, bound)), 0, &i);
    else
        fputs("[]", b->body.file);
}

static inline void op_strided(op_batch *b, const op_case *c, const char *name, const ir_type *t,
                              const double *bound)
{
    ir_type from = *t;
    int64_t start[IR_MAX_RANK] = {0}, limit[IR_MAX_RANK], stride[IR_MAX_RANK];
    for (int d = 0; d < t->rank; d++) {
        bool here = d == 0 || d == t->rank - 1;
        from.dim[d] = here ? t->dim[d] * (d ? 2 : 3) + 1 : t->dim[d];
        start[d] = here;
        stride[d] = here ? (d ? 2 : 3) : 1;
        limit[d] = from.dim[d];
        if (here && !t->dim[d])
            limit[d] = start[d];
    }
    op_input(b, c, name, "_wide", &from, bound);
    fprintf(b->body.file, "  %%c%d_%s = slice %%c%d_%s_wide", b->cases, name, b->cases, name);
    op_list(b->body.file, "start", t->rank, start);
    op_list(b->body.file, "limit", t->rank, limit);
    op_list(b->body.file, "stride", t->rank, stride);
}

/* A value of rank 0 that is an element of a tensor. */
static inline void op_picked(op_batch *b, const op_case *c, const char *name, const ir_type *t,
                             const double *bound)
{
    op_input(b, c, name, "_wide", &(ir_type){t->dtype, 1, {5}}, bound);
    fprintf(b->body.file,
            "  %%c%d_%s_one = slice %%c%d_%s_wide start=[3] limit=[4] stride=[1] : %s[1]\n",
            b->cases, name, b->cases, name, ir_dtypes[t->dtype].name);
    fprintf(b->body.file, "  %%c%d_%s = reshape %%c%d_%s_one shape=[]", b->cases, name, b->cases,
            name);
}

static inline void op_view(op_batch *b, const op_case *c, const char *name, const ir_type *t,
                           const double *bound, op_kind kind)
{
    ir_type from = *t;
    int64_t dims[IR_MAX_RANK];
    for (int d = 0; d < t->rank; d++)
        dims[d] = kind == TRANSPOSED ? t->rank - 1 - d : kind == REPEATED ? d + 1 : d;
    for (int d = 0; d < t->rank && kind == TRANSPOSED; d++)
        from.dim[d] = t->dim[dims[d]];
    if (kind == REPEATED)
        from = ir_type_of(t->dtype, t->rank - 1, t->dim + 1);
    op_input(b, c, name, "_wide", &from, bound);
    fprintf(b->body.file, "  %%c%d_%s = %s %%c%d_%s_wide", b->cases, name,
            kind == TRANSPOSED ? "transpose"
            : kind == REPEATED ? "broadcast"
                               : "reverse",
            b->cases, name);
    if (kind == REPEATED)
        op_list(b->body.file, "shape", t->rank, t->dim);
    op_list(b->body.file,
            kind == TRANSPOSED ? "perm"
            : kind == REPEATED ? "dims"
                               : "axes",
            kind == REPEATED ? t->rank - 1 : t->rank, dims);
}

static inline void op_operand(op_batch *b, const op_case *c, const char *name, const ir_type *t,
                              const double *bound, op_kind kind)
{
    if ((kind == CONSTANT && ir_count(t) > 64) || (kind == TRANSPOSED && t->rank == 1))
        kind = PLAIN;
    if (kind == PLAIN) {
        op_input(b, c, name, "", t, bound);
        return;
    }
    if (kind == CONSTANT) {
        op_constant(b, c, name, t, bound);
    } else if (kind == COMPUTED) {
        ir_type choice = *t;
        choice.dtype = IR_BOOL;
        op_input(b, c, name, "_choice", &choice, (double[]){NAN, NAN});
        op_input(b, c, name, "_wide", t, bound);
        op_input(b, c, name, "_more", t, bound);
        fprintf(b->body.file, "  %%c%d_%s = select %%c%d_%s_choice, %%c%d_%s_wide, %%c%d_%s_more",
                b->cases, name, b->cases, name, b->cases, name, b->cases, name);
    } else if (t->rank == 0) {
        op_picked(b, c, name, t, bound);
    } else if (kind == STRIDED) {
        op_strided(b, c, name, t, bound);
    } else {
        op_view(b, c, name, t, bound, kind);
    }
    fputs(" : ", b->body.file);
    op_dims(b->body.file, t->dtype, t->rank, t->dim);
    fputc('\n', b->body.file);
}

/* ---- Cases ---- */

static inline void op_outputs(op_batch *b, const op_case *c, ir_dtype t)
{
    for (const char *line = c->body; line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *end = line + strcspn(line, "=\n");
        for (const char *at = line; (at = strstr(at, "%y")) && at < end; at++) {
            op_output o = {c, t,
                           base_format(b->arena, "c%d_%.*s", b->cases,
                                       (int)strspn(at + 1, "abcdefghijklmnopqrstuvwxyz0123456789"),
                                       at + 1)};
            fprintf(b->results.file, "%soutput \"%s\" %%%s", b->outputs.count ? ", " : "", o.name,
                    o.name);
            BASE_PUSH(b->arena, &b->outputs, o);
        }
    }
}

static inline bool dtype_by_name(const char *name, ir_dtype *out)
{
    for (int t = 0; t < IR_DTYPES; t++)
        if (!strcmp(ir_dtypes[t].name, name)) {
            *out = (ir_dtype)t;
            return true;
        }
    return false;
}

/* Adds a case with an element type; kind: how the first operand is produced; the others take the
 * next kinds. */
static inline void op_add(op_batch *b, const op_case *c, ir_dtype t, unsigned kind)
{
    char word[64], type[16];
    for (const char *at = c->operands; *at; kind++) {
        int read = 0;
        double bound[2] = {NAN, NAN};
        ck_assert_msg(sscanf(at, " %%%63[a-z0-9] %15[a-z0-9$][%n", word, type, &read) == 2 && read,
                      "operands: %s", at);
        ir_type full = {.dtype = t};
        if (*type != '$')
            ck_assert_msg(dtype_by_name(type, &full.dtype), "type: %s", type);
        for (at += read; *at != ']'; at += *at == ',')
            full.dim[full.rank++] = strtoll(at, (char **)&at, 10);
        at++;
        if (sscanf(at, " %lf:%lf%n", &bound[0], &bound[1], &read) == 2)
            at += read;
        at += strspn(at, ", ");
        op_operand(b, c, word, &full, bound, c->plain ? PLAIN : (op_kind)(kind % KINDS));
    }
    fputs("  ", b->body.file);
    op_expand(b->body.file, c->body, b->cases, ir_dtypes[t].name);
    fputc('\n', b->body.file);
    op_expand(b->funcs.file, c->funcs, b->cases, ir_dtypes[t].name);
    op_outputs(b, c, t);
    b->cases++;
}

/* Whether the case has `$` at all. */
static inline bool op_is_typed(const op_case *c)
{
    return strchr(c->operands, '$') || strchr(c->body, '$');
}

static inline int op_classes(const op_case *c)
{
    return c->types ? c->types : ir_ops[c->op].classes;
}

/* ---- Comparison ---- */

static inline double unit_of(ir_dtype t, double x)
{
    int precision = t == IR_F64   ? 53
                    : t == IR_F32 ? 24
                    : t == IR_F16 ? 11
                                  : 8,
        least = t == IR_F64   ? -1022
                : t == IR_F16 ? -14
                              : -126;
    int e = x == 0 ? least : ilogb(x);
    return ldexp(1, (e < least ? least : e) - precision + 1);
}

static inline bool near(ir_dtype t, double want, double got, const op_case *c)
{
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got);
    if (want == got)
        return signbit(want) == signbit(got) || c->error > 0;
    if (isinf(want) || isinf(got)) /* overflow one unit sooner or later */
        return c->ulps > 0 && isinf(want) && fabs(got) > 0 && signbit(got) == signbit(want) &&
               unit_of(t, got) > ldexp(1, t == IR_F64   ? 970
                                          : t == IR_F16 ? 4
                                                        : 103);
    return fabs(want - got) <= c->ulps * unit_of(t, want) + c->error * unit_of(t, 1);
}

/* want: with denormal operands as they are, and as zero. */
static inline bool op_same(const ir_literal *want, const ir_literal *want_flushed,
                           const ir_literal *got, int64_t i, const op_case *c)
{
    ir_dtype t = got->type.dtype;
    if (!ir_is_float(t)) {
        size_t n = (size_t)ir_dtypes[t].bytes;
        const char *g = (const char *)got->data + (size_t)i * n;
        return !memcmp((const char *)want->data + (size_t)i * n, g, n) ||
               !memcmp((const char *)want_flushed->data + (size_t)i * n, g, n);
    }
    double a = ir_literal_get(want, i), b = ir_literal_get(want_flushed, i),
           g = ir_literal_get(got, i);
    return near(t, a, g, c) || near(t, flushed(t, a), flushed(t, g), c) ||
           near(t, flushed(t, b), flushed(t, g), c);
}

static inline int op_compare(const op_output *o, const ir_literal *want,
                             const ir_literal *want_flushed, const ir_literal *got, const char *cpu,
                             uint32_t threads)
{
    int wrong = 0;
    for (int64_t i = 0; i < ir_count(&got->type); i++)
        if (!op_same(want, want_flushed, got, i, o->of) && wrong++ < 3)
            fprintf(stderr,
                    "%s, %s, %u threads: %s of\n%s | %s\nelement %lld is %.17g (%lld), not %.17g "
                    "(%lld)\n",
                    cpu, ir_dtypes[o->dtype].name, threads, o->name, o->of->operands, o->of->body,
                    (long long)i, ir_literal_get(got, i), (long long)ir_literal_get_int(got, i),
                    ir_literal_get(want, i), (long long)ir_literal_get_int(want, i));
    return wrong;
}

/* ---- Undefined symbols of an object ---- */

static inline bool op_may_want(const char *symbol, bool blas)
{
    return !strncmp(symbol, "gradc_rt_", 9) || !strcmp(symbol, "memcpy") ||
           !strcmp(symbol, "memset") || !strcmp(symbol, "memmove") ||
           (blas && (!strncmp(symbol, "cblas_", 6) || !strncmp(symbol, "openblas_", 9)));
}

/* Checks the symbol table of an ELF file: nothing is undefined but the runtime and what any C
 * program has. */
static inline int op_undefined(const cg_object *o)
{
    const char *bytes = o->bytes;
    const Elf64_Ehdr *h = o->bytes;
    int wrong = 0, seen = 0;
    ck_assert(o->size > sizeof *h && !memcmp(bytes, ELFMAG, SELFMAG) &&
              h->e_ident[EI_CLASS] == ELFCLASS64);
    const Elf64_Shdr *section = (const void *)(bytes + h->e_shoff);
    for (int s = 0; s < h->e_shnum; s++) {
        if (section[s].sh_type != SHT_SYMTAB)
            continue;
        const Elf64_Sym *symbol = (const void *)(bytes + section[s].sh_offset);
        const char *names = bytes + section[section[s].sh_link].sh_offset;
        for (size_t i = 1; i < section[s].sh_size / sizeof *symbol; i++, seen++)
            if (symbol[i].st_shndx == SHN_UNDEF &&
                !op_may_want(names + symbol[i].st_name, o->uses_blas) && ++wrong)
                fprintf(stderr, "the object wants %s\n", names + symbol[i].st_name);
    }
    ck_assert_msg(seen > 10, "the object has no symbols");
    return wrong;
}

/* ---- The run ---- */

/* Levels, best last, each with the optimisation it is compiled with; how often: in every n-th
 * batch, since the lower ones differ little. */
static const struct { const char *cpu; int level, every;
} op_levels[] = {
#ifdef __x86_64__
    {"x86-64", 0, 1},    {"x86-64", 2, 3},    {"x86-64-v2", 1, 3},
    {"x86-64-v3", 2, 1}, {"x86-64-v4", 2, 1},
#else
    {"native", 2, 1}, {"native", 0, 2},
#endif
};
enum { OP_LEVELS = sizeof op_levels / sizeof *op_levels };

typedef struct op_program {
    const ir_func *f;
    ir_literal **arg, **want, **want_flushed, **got, **first;
    guarded *storage; /* of parameters, then results */
    const void **in;
    void **out;
    bool bad;
} op_program;

static inline void op_prepare(op_batch *b, op_program *p, const ir_func *f)
{
    int n = f->params.count, m = f->results.count;
    p->f = f;
    p->storage = base_array(b->arena, guarded, n + m + 1);
    ir_literal ***const lists[] = {&p->arg, &p->want, &p->want_flushed, &p->got, &p->first};
    for (int i = 0; i < 5; i++)
        *lists[i] = base_array(b->arena, ir_literal *, n + m + 1);
    p->in = base_array(b->arena, const void *, n + 1);
    p->out = base_array(b->arena, void *, m + 1);
    ir_literal **zero = base_array(b->arena, ir_literal *, n + 1);
    for (int i = 0; i < n; i++) {
        p->arg[i] = op_values(b, &f->params.items[i].value->type, b->param_case.items[i]->fill,
                              &b->bound.items[2 * i]);
        zero[i] = (ir_literal *)op_flush(b, p->arg[i]);
        p->storage[i] = guarded_new((size_t)ir_bytes(&p->arg[i]->type), i % 3);
        memcpy(p->storage[i].at, p->arg[i]->data, p->storage[i].bytes);
        p->in[i] = p->storage[i].at;
    }
    ir_eval(b->arena, f, p->arg, p->want, &p->bad);
    ir_eval(b->arena, f, zero, p->want_flushed, NULL);
    b->bad = p->bad;
    for (int i = 0; i < m; i++) {
        p->got[i] = ir_literal_new(b->arena, &p->want[i]->type);
        p->first[i] = ir_literal_new(b->arena, &p->want[i]->type);
        p->storage[n + i] = guarded_new((size_t)ir_bytes(&p->want[i]->type), i % 3);
        p->out[i] = p->storage[n + i].at;
    }
}

typedef gradc_rt_status op_entry(gradc_rt_ctx *, const void *, const void *);

/* One call; the outputs go to `to`. */
static inline gradc_rt_status op_call(op_program *p, const cg_object *o, cg_jit *jit,
                                      uint32_t threads, ir_literal **to)
{
    gradc_rt_status (*init)(gradc_rt_ctx **, void *, size_t, const gradc_rt_options *);
    op_entry *forward;
    gradc_rt_ctx *rt;
    *(void **)&init = cg_jit_symbol(jit, "t_init");
    *(void **)&forward = cg_jit_symbol(jit, "t_forward");
    ck_assert(init && forward);
    gradc_rt_options options = {o->id, sizeof options, threads, 5, NULL, 0, 0};
    void *memory = aligned_alloc(64, (size_t)o->sizes.arena);
    ck_assert(memory != NULL);
    memset(memory, 0xa5, (size_t)o->sizes.arena); /* nothing may rely on earlier contents */
    ck_assert_int_eq(init(&rt, memory, (size_t)o->sizes.arena, &options), GRADC_RT_OK);
    for (int i = 0; i < p->f->results.count; i++)
        memset(p->out[i], 0xa5, p->storage[p->f->params.count + i].bytes);
    gradc_rt_status status = forward(rt, p->in, p->out);
    for (int i = 0; to && i < p->f->results.count; i++)
        memcpy(to[i]->data, p->out[i], p->storage[p->f->params.count + i].bytes);
    gradc_rt_fini(rt);
    free(memory);
    return status;
}

static inline int op_run_on(op_batch *b, op_program *p, const cg_request *r, const char *cpu)
{
    level_ran(cpu);
    cg_object *o = cg_compile(ctx, b->arena, r);
    ck_assert_msg(o != NULL, "%s", first_error);
    cg_jit *jit = cg_jit_load(ctx, b->arena, o->bytes, o->size, NULL);
    ck_assert_msg(jit != NULL, "%s", first_error);
    int wrong = op_undefined(o);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        gradc_rt_status status = op_call(p, o, jit, threads, threads == 1 ? p->first : p->got);
        ck_assert_msg(status == (p->bad ? GRADC_RT_E_INDEX : GRADC_RT_OK),
                      "%s, %u threads: status %d", cpu, threads, (int)status);
        for (int i = 0; i < p->f->results.count && !p->bad; i++) {
            if (threads == 1)
                wrong += op_compare(&b->outputs.items[i], p->want[i], p->want_flushed[i],
                                    p->first[i], cpu, threads) > 0;
            else if (memcmp(p->first[i]->data, p->got[i]->data,
                            (size_t)ir_bytes(&p->got[i]->type)) &&
                     ++wrong)
                fprintf(stderr, "%s: %s differs for two threads: %s\n", cpu,
                        b->outputs.items[i].name, b->outputs.items[i].of->body);
        }
    }
    return wrong;
}

static inline ir_module *op_module(op_batch *b)
{
    op_text *const all[] = {&b->params, &b->body, &b->funcs, &b->results};
    for (int i = 0; i < 4; i++)
        fclose(all[i]->file);
    const char *text =
        base_format(b->arena, "gir 1\nmodule \"m\"\n%sentry @forward(%s) {\n%s  return (%s)\n}\n",
                    b->funcs.bytes, b->params.bytes, b->body.bytes, b->results.bytes);
    for (int i = 0; i < 4; i++)
        free(all[i]->bytes);
    if (getenv("GRADC_SHOW"))
        fputs(text, stderr);
    ir_module *m = ir_parse(ctx, b->arena, text, strlen(text), "ops.gir", NULL);
    ck_assert_msg(m != NULL, "%s", first_error);
    return m;
}

/* Runs the added cases, as the batch of this number, on the levels; returns the number of
 * failures. */
static inline int op_run(op_batch *b, ir_module *m, unsigned number)
{
    op_program p = {0};
    op_prepare(b, &p, ir_func_by_name(m, "forward"));
    for (const pass_info *pass = passes; pass->name; pass++)
        pass_run_one(m, pass, true);
    p.f = ir_func_by_name(m, "forward");
    int wrong = 0;
    const cg_spec spec = {m, NULL};
    for (unsigned i = 0; i < OP_LEVELS; i++) {
        const char *cpu = op_levels[i].cpu;
        const cg_request r = {.prefix = "t",
                              .spec = &spec,
                              .nspecs = 1,
                              .level = op_levels[i].level,
                              .threads = 2,
                              .blas = (number + i) % 2,
                              .cpu = &cpu,
                              .ncpus = 1};
        if (level_runs_here(cpu) &&
            (getenv("GRADC_OPS_ALL") || (number + i) % (unsigned)op_levels[i].every == 0))
            wrong += op_run_on(b, &p, &r, cpu);
    }
    guarded_free(p.storage, p.f->params.count + p.f->results.count);
    return wrong;
}

#endif
