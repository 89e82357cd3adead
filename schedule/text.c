/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Schedules as text, written and read by one table of the decisions. docs/schedule.md describes the
 * form. */
#include "schedule/internal.h"
#include "base/text.h"
#include "ir/lex.h"

#include <stdlib.h>
#include <string.h>

const char *const sched_strategy_names[SCHED_STRATEGIES] = {
#define STRATEGY(NAME, text, kind, applies, choose, cost, complete, emit, doc) text,
#include "schedule/strategies.def"
};

const char *sched_key(base_arena *arena, const char *level, int spec, const char *func, int kernel,
                      int part)
{
    return base_format(arena, "%s %d %d %d %s", level, spec, kernel, part, func);
}

/* ---- The decisions ---- */

typedef enum field_kind {
    FLAG,  /* a bool: the key alone */
    INT,   /* an int */
    LONG,  /* an int64_t */
    DIM,   /* an int, a dimension; -1: none, and nothing is written */
    DIMS,  /* bool[IR_MAX_RANK]: a list of dimensions */
    ORDER, /* the summed axes from slow to fast, as the op numbers them */
    TILES, /* of the row axes: rows of a tile, innermost axis first */
    EPILOGUE, /* a bool: loop or unrolled */
    DOT_NAME, /* a row of dots.def */
} field_kind;

#define ONE(strategy) (1u << SCHED_##strategy)
enum {
    CONTRACTIONS = 0
#define STRATEGY(NAME, text, kind, applies, choose, cost, complete, emit, doc) \
    | (IR_KERNEL_##kind == IR_KERNEL_CONTRACTION ? ONE(NAME) : 0)
#include "schedule/strategies.def"
    ,
    MAPS = 0
#define STRATEGY(NAME, text, kind, applies, choose, cost, complete, emit, doc) \
    | (IR_KERNEL_##kind == IR_KERNEL_MAP ? ONE(NAME) : 0)
#include "schedule/strategies.def"
};
#define CUTS (ONE(SCATTER) | ONE(CUMULATIVE))
static const struct field {
    const char *key;
    unsigned strategies;
    field_kind kind;
    size_t at; /* in sched_contraction or in sched_kernel */
} fields[] = {
    {"by", ONE(DOT), DOT_NAME, offsetof(sched_contraction, dot)},
    {"NR", ONE(DOT) | ONE(BLOCK) | ONE(TILE), INT, offsetof(sched_contraction, NR)},
    {"MR", ONE(DOT) | ONE(BLOCK), INT, offsetof(sched_contraction, MR)},
    {"MR", ONE(TILE), TILES, 0},
    {"MC", ONE(DOT) | ONE(BLOCK) | ONE(BLAS), LONG, offsetof(sched_contraction, MC)},
    {"NC", ONE(DOT) | ONE(BLAS), LONG, offsetof(sched_contraction, NC)},
    {"KC", ONE(DOT) | ONE(BLOCK), LONG, offsetof(sched_contraction, KC)},
    {"k", CONTRACTIONS, ORDER, 0},
    {"unroll", ONE(DOT) | ONE(BLOCK) | ONE(TILE), INT, offsetof(sched_contraction, unroll)},
    {"pack", ONE(BLOCK), FLAG, offsetof(sched_contraction, packs)},
    {"epilogue", ONE(TILE), EPILOGUE, offsetof(sched_contraction, epilogue_loop)},
    {"flat", MAPS, FLAG, offsetof(sched_kernel, map.flat)},
    {"polymorphic", ONE(MAP), FLAG, offsetof(sched_kernel, map.polymorphic)},
    {"lanes", MAPS, INT, offsetof(sched_kernel, map.lanes)},
    {"accumulators", ONE(ROW), INT, offsetof(sched_kernel, accumulators)},
    {"taps", MAPS, INT, offsetof(sched_kernel, taps)},
    {"parallel", MAPS, INT, offsetof(sched_kernel, map.parallel)},
    {"chunk", MAPS, LONG, offsetof(sched_kernel, map.chunk)},
    {"lane", CUTS, DIM, offsetof(sched_kernel, cut.lane)},
    {"lanes", CUTS, INT, offsetof(sched_kernel, cut.lanes)},
    {"copy_lanes", ONE(SCATTER), INT, offsetof(sched_kernel, cut.copy_lanes)},
    {"parallel", CUTS, DIMS, offsetof(sched_kernel, cut.parallel)},
    {"chunk", CUTS, LONG, offsetof(sched_kernel, cut.chunk)},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static void *member(const struct field *f, const sched_kernel *s, const sched_contraction *c)
{
    bool of_part = f->strategies & CONTRACTIONS;
    return (char *)(of_part ? (const void *)c : (const void *)s) + f->at;
}

/* ---- Writing ---- */

static const char *join(base_arena *arena, const int64_t *v, int n)
{
    const char *text = "";
    for (int i = 0; i < n; i++)
        text = base_format(arena, "%s%s%lld", text, i ? "," : "", (long long)v[i]);
    return text;
}

/* NULL: the value is the default, which is not written. */
static const char *value_of(base_arena *arena, const struct field *f, const sched_kernel *s,
                            const sched_contraction *c)
{
    const void *at = member(f, s, c);
    int64_t list[SCHED_AXES];
    int n = 0, last = 0;
    switch (f->kind) {
    case FLAG: return *(const bool *)at ? "" : NULL;
    case INT: return *(const int *)at ? base_format(arena, "%d", *(const int *)at) : NULL;
    case LONG:
        return *(const int64_t *)at ? base_format(arena, "%lld", (long long)*(const int64_t *)at)
                                    : NULL;
    case DIM: return *(const int *)at >= 0 ? base_format(arena, "%d", *(const int *)at) : NULL;
    case DIMS:
        for (int d = 0; d < IR_MAX_RANK; d++)
            if (((const bool *)at)[d])
                list[n++] = d;
        return n ? join(arena, list, n) : NULL;
    case ORDER: return c->norder > 1 ? join(arena, c->order, c->norder) : NULL;
    case TILES:
        for (; n < c->nrows; n++) {
            list[n] = c->axis[c->row[n]].tile;
            last = list[n] > 1 ? n + 1 : last;
        }
        return last ? join(arena, list, last) : NULL;
    case EPILOGUE: return *(const bool *)at ? "loop" : "unrolled";
    case DOT_NAME: return sched_dots[*(const sched_dot *)at].name;
    }
    return NULL;
}

/* c: a part of a contraction; NULL for another kernel. */
static const char *text_of(base_arena *arena, const sched_kernel *s, const sched_contraction *c)
{
    sched_strategy strategy = c ? c->strategy : s->strategy;
    const char *text = sched_strategy_names[strategy], *value;
    for (int i = 0; i < FIELDS; i++)
        if ((fields[i].strategies >> strategy & 1) &&
            (c || !(fields[i].strategies & CONTRACTIONS)) &&
            (value = value_of(arena, &fields[i], s, c)))
            text = base_format(arena, "%s %s%s%s", text, fields[i].key, *value ? "=" : "", value);
    return text;
}

const char *sched_text(base_arena *arena, const sched_kernel *s)
{
    const char *text = s->nparts ? "" : text_of(arena, s, NULL);
    for (int p = 0; p < s->nparts; p++)
        text =
            base_format(arena, "%s%s%s", text, p ? "; " : "", text_of(arena, s, &s->part[p]));
    return text;
}

static void print_kernel(FILE *out, base_arena *arena, const ir_kernel *k)
{
    const sched_kernel *s = k->schedule;
    if (k->kind == IR_KERNEL_CONTRACTION && !s->nparts)
        fprintf(out, "  // %d: nothing is computed", k->index);
    for (int p = 0; p < s->nparts || p == 0; p++) {
        if (s->nparts > 1)
            fprintf(out, "%s  %d part %d %s", p ? "\n" : "", k->index, p,
                    text_of(arena, s, &s->part[p]));
        else if (s->nparts || k->kind != IR_KERNEL_CONTRACTION)
            fprintf(out, "  %d %s", k->index, sched_text(arena, s));
        if (s->nparts > 1)
            fprintf(out, "  // tasks: %lld", (long long)s->part[p].tasks);
    }
    if (s->nparts <= 1 && k->kind < IR_KERNEL_LOOP)
        fprintf(out, s->map.polymorphic ? "  //" : "  // tasks: %lld;", (long long)s->tasks);
    else
        fputs(s->nparts > 1 ? ";" : "  //", out);
    fprintf(out, " %s\n", sched_describe(arena, k));
}

void sched_print(FILE *out, const ir_module *m, const sched_level *level, int spec)
{
    base_arena *arena = base_arena_new(m->ctx);
    if (!spec)
        fprintf(out, "level \"%s\"  // %d bytes in a vector register, %d registers\n", level->name,
                level->vector_bytes, level->registers);
    for (int i = 0; i < m->funcs.count; i++) {
        const ir_func *f = m->funcs.items[i];
        if (!f->plan)
            continue;
        fputs("\nfunc @", out);
        if (base_is_word(f->name))
            fputs(f->name, out);
        else
            base_print_string(out, f->name);
        fprintf(out, spec ? " module %d\n" : "\n", spec);
        for (int k = 0; k < f->plan->kernels.count; k++)
            print_kernel(out, arena, f->plan->kernels.items[k]);
    }
    base_arena_free(arena);
}

/* ---- Setting decisions ---- */

static int read_list(const char *text, int64_t *out, int most)
{
    int n = 0;
    for (char *end; *text && n < most; text = *end ? end + 1 : end) {
        out[n++] = strtoll(text, &end, 10);
        if (end == text)
            return -1;
    }
    return *text ? -1 : n;
}

static const char *set(const struct field *f, sched_kernel *s, sched_contraction *c,
                       const char *value)
{
    void *at = member(f, s, c);
    int64_t list[SCHED_AXES];
    bool seen[SCHED_AXES] = {false};
    int n = value ? read_list(value, list, SCHED_AXES) : 0;
    if ((f->kind == FLAG) != !value)
        return value ? "takes no value" : "needs a value";
    if (f->kind == EPILOGUE) {
        *(bool *)at = !strcmp(value, "loop");
        return *(bool *)at || !strcmp(value, "unrolled") ? NULL : "is loop or unrolled";
    }
    if (f->kind == DOT_NAME) {
        for (int i = 0; i < SCHED_DOTS; i++)
            if (!strcmp(value, sched_dots[i].name)) {
                *(sched_dot *)at = (sched_dot)i;
                return NULL;
            }
        return "does not name an instruction";
    }
    if (n < 0 || (n != 1 && (f->kind == INT || f->kind == LONG || f->kind == DIM)))
        return "takes one number";
    for (int i = 0; i < n; i++)
        if (list[i] < 0 || list[i] > INT32_MAX)
            return "is out of range";
    switch (f->kind) {
    case FLAG: *(bool *)at = true; return NULL;
    case INT:
    case DIM: *(int *)at = (int)list[0]; return NULL;
    case LONG: *(int64_t *)at = list[0]; return NULL;
    case DIMS:
        for (int i = 0; i < n; i++) {
            if (list[i] >= IR_MAX_RANK)
                return "is out of range";
            ((bool *)at)[list[i]] = true;
        }
        return NULL;
    case ORDER:
        for (int i = 0; i < n; i++) {
            if (n != c->nk || list[i] >= n || seen[list[i]])
                return "does not name each summed axis once";
            seen[list[i]] = true;
            c->order[i] = list[i];
        }
        return NULL;
    case TILES:
        for (int i = 0; i < n; i++) {
            if (i >= c->nrows || list[i] < 1 || list[i] > c->axis[c->row[i]].extent)
                return "does not fit the row axes";
            c->axis[c->row[i]].tile = list[i];
        }
        return NULL;
    default: return NULL;
    }
}

const char *sched_set(base_arena *arena, sched_kernel *s, sched_contraction *c,
                      const sched_wish *wish)
{
    if (c) { /* defaults of what the line does not name */
        c->norder = c->nk;
        for (int i = 0; i < c->nk; i++)
            c->order[i] = i;
        c->epilogue_loop = false;
        c->NR = c->MR = c->unroll = 1;
        c->NC = 0;
        c->dot = SCHED_DOTS;
    }
    s->map.lanes = s->accumulators = s->cut.lanes = 1;
    s->cut.lane = -1;
    for (int p = 0; p < wish->pairs.count; p++) {
        const sched_pair *pair = &wish->pairs.items[p];
        const struct field *f = NULL;
        for (int i = 0; i < FIELDS && !f; i++)
            if ((fields[i].strategies >> wish->strategy & 1) && !strcmp(fields[i].key, pair->key))
                f = &fields[i];
        if (!f)
            return base_format(arena, "`%s` has no `%s`", sched_strategy_names[wish->strategy],
                               pair->key);
        for (int i = 0; i < p; i++)
            if (!strcmp(wish->pairs.items[i].key, pair->key))
                return base_format(arena, "`%s` is given twice", pair->key);
        const char *why = set(f, s, c, pair->value);
        if (why)
            return base_format(arena, "`%s` %s", pair->key, why);
    }
    return NULL;
}

/* ---- Reading ---- */

typedef struct reader {
    base_ctx *ctx;
    base_arena *arena;
    const char *file, *level, *func;
    int spec;
    ir_lexer lex;
    struct sched_wishes *out;
} reader;

static base_loc here(const reader *r)
{
    return (base_loc){
        .file = r->file, .node = -1, .line = r->lex.token.line, .column = r->lex.token.column};
}

static bool fail(reader *r, const char *expected)
{
    base_loc loc = here(r);
    base_report(r->ctx, BASE_ERROR, &loc, "expected %s, found %s", expected,
                ir_lex_found(&r->lex.token, r->arena));
    return false;
}

static bool take_word(reader *r, const char *word)
{
    bool is = ir_lex_is_word(&r->lex, word);
    if (is)
        ir_lex_next(&r->lex);
    return is;
}

static bool need_int(reader *r, int *out)
{
    const ir_token *t = &r->lex.token;
    char *end;
    if (t->kind != IR_TOK_NUMBER)
        return fail(r, "a number");
    const char *text = base_strndup(r->arena, t->text, t->n);
    long v = strtol(text, &end, 10);
    if (*end || v < 0 || v > INT32_MAX)
        return fail(r, "a number");
    *out = (int)v;
    ir_lex_next(&r->lex);
    return true;
}

static bool need_name(reader *r, ir_token_kind kind, const char *what, const char **out)
{
    const char *wrong;
    if (r->lex.token.kind != kind || !(*out = ir_lex_text(&r->lex.token, r->arena, &wrong)))
        return fail(r, what);
    ir_lex_next(&r->lex);
    return true;
}

/* =VALUE: a word, or numbers between commas. */
static bool read_value(reader *r, const char **out)
{
    *out = NULL;
    if (!ir_lex_is(&r->lex, '='))
        return true;
    *out = "";
    do {
        ir_lex_next(&r->lex);
        const ir_token *t = &r->lex.token;
        if (t->kind != IR_TOK_NUMBER && t->kind != IR_TOK_WORD)
            return fail(r, "a value");
        *out = base_format(r->arena, "%s%s%s", *out, **out ? "," : "",
                           base_strndup(r->arena, t->text, t->n));
        ir_lex_next(&r->lex);
    } while (ir_lex_is(&r->lex, ','));
    return true;
}

/* KERNEL [part P] STRATEGY DECISION… */
static bool read_kernel(reader *r)
{
    sched_wish *w = base_new(r->arena, sched_wish);
    *w = (sched_wish){.loc = here(r), .level = r->level, .func = r->func, .spec = r->spec};
    if (!need_int(r, &w->kernel) || (take_word(r, "part") && !need_int(r, &w->part)))
        return false;
    int s = 0;
    while (s < SCHED_STRATEGIES && !ir_lex_is_word(&r->lex, sched_strategy_names[s]))
        s++;
    if (s == SCHED_STRATEGIES)
        return fail(r, "a strategy");
    w->strategy = (sched_strategy)s;
    ir_lex_next(&r->lex);
    while (r->lex.token.kind == IR_TOK_WORD) {
        sched_pair p = {base_strndup(r->arena, r->lex.token.text, r->lex.token.n), NULL};
        ir_lex_next(&r->lex);
        if (!read_value(r, &p.value))
            return false;
        BASE_PUSH(r->arena, &w->pairs, p);
    }
    const char *key = sched_key(r->arena, w->level, w->spec, w->func, w->kernel, w->part);
    if (base_map_get_text(&r->out->by_key, key)) {
        base_report(r->ctx, BASE_ERROR, &w->loc, "kernel %d, part %d, of @%s is scheduled twice",
                    w->kernel, w->part, w->func);
        return false;
    }
    BASE_PUSH(r->arena, &r->out->lines, w);
    base_map_put_text(&r->out->by_key, key, w);
    return true;
}

static bool read_line(reader *r)
{
    if (take_word(r, "level")) {
        r->func = NULL;
        return need_name(r, IR_TOK_STRING, "the level's name in quotes", &r->level);
    }
    if (take_word(r, "func")) {
        r->spec = 0;
        return need_name(r, IR_TOK_FUNC, "a function's name, such as @forward", &r->func) &&
               (!take_word(r, "module") || need_int(r, &r->spec));
    }
    if (!r->level || !r->func)
        return fail(r, !r->level ? "`level`" : "`func`");
    return read_kernel(r);
}

struct sched_wishes *sched_read(base_ctx *ctx, base_arena *arena, const char *text, size_t size,
                                const char *file)
{
    enum { VERSION = 1 };
    reader r = {.ctx = ctx, .arena = arena, .file = file};
    int version;
    r.out = base_new(arena, struct sched_wishes);
    r.out->by_key = base_map_new(arena);
    r.lex = ir_lex_start(text, size);
    while (r.lex.token.kind == IR_TOK_NEWLINE)
        ir_lex_next(&r.lex);
    if (!take_word(&r, "schedule")) {
        fail(&r, "`schedule 1`");
        return NULL;
    }
    if (!need_int(&r, &version))
        return NULL;
    if (version != VERSION) {
        base_report(ctx, BASE_ERROR, &(base_loc){.file = file, .node = -1},
                    "schedule version %d is not supported, only version %d", version, VERSION);
        return NULL;
    }
    while (r.lex.token.kind != IR_TOK_END) {
        if (r.lex.token.kind == IR_TOK_NEWLINE) {
            ir_lex_next(&r.lex);
            continue;
        }
        if (!read_line(&r))
            return NULL;
        if (r.lex.token.kind != IR_TOK_NEWLINE && r.lex.token.kind != IR_TOK_END) {
            fail(&r, "the end of the line");
            return NULL;
        }
    }
    return r.out;
}
