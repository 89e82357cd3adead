/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Cuts a function into kernels. First it decides which values are written to memory: results,
 * values that cannot be emitted at an index, and values that would be computed so often inside
 * their users that writing and reading them is cheaper. Everything else is computed where it is
 * used. Then each written value becomes the output of a kernel; a contraction absorbs the
 * elementwise instructions that follow it as its epilogue; outputs of one shape that read the same
 * values share a kernel.
 *
 * Needs: calls inlined. Sets kernel of values, and the plan's kernels in program order; the pass
 * plan does the rest. */
#include "ir/tuning.h"
#include "passes/pass_utils.h"

#include <string.h>

#define LOAD IR_TUNING(FUSE_LOAD) /* cost per element, in additions */
#define STORE IR_TUNING(FUSE_STORE)
#define LARGE IR_TUNING(FUSE_LARGE)
enum { DEEP = 250 /* depth of expressions, for recursive walks */ };

typedef struct fact { /* about a value, by its id */
    double evaluations;  /* how often it is computed if it is inside its users */
    double cost;         /* of one, operands included */
    int users, depth;    /* depth: of its expression */
    int loops;           /* in sequence, that computing it runs */
    int size;            /* of the code that computes it, in additions; at most LARGE */
    int64_t stamp; /* of the last walk that came here, see size_of */
    bool memory, reduces, result, taken; /* taken: in a contraction's epilogue */
    ir_inst *only_user;
    struct check *checks; /* that use it as an index */
    /* Of an integer: name of the nearest integer tensor that it is computed from, or NULL. */
    const char *name;
    bool fixed; /* computed from constants alone */
    bool bounded;         /* an integer: none is below low or above high */
    int64_t low, high;
} fact;

typedef struct check {
    const ir_inst *anchor;
    struct check *next;
} check;

typedef struct fusing {
    ir_func *f;
    base_arena *scratch;
    fact *fact;
    uint64_t *wanted;    /* match_wanted */
    uintptr_t walks; /* for match_reads_moved */
    int64_t stamp;   /* for size_of */
} fusing;

static fact *of(const fusing *u, const ir_value *v)
{
    return &u->fact[v->id];
}

static double count(const ir_value *v)
{
    return (double)ir_count(&v->type);
}

/* How often operand i is evaluated for one evaluation of the result. */
static double operand_share(const fusing *u, const ir_inst *inst, int i)
{
    if (inst->op == IR_OP_concat && of(u, inst->result[0])->memory && ir_in_pieces(inst->result[0]))
        return 1.0 / inst->noperands;
    return ir_cost_reads(inst, i);
}

/* ---- Which values are in memory ---- */

/* A result needs a kernel of its own: it is copied where it is a parameter or constant, is another
 * result too, or is a view that has users, which look through it (match_view). So a view is in
 * memory only where nothing reads it. */
static void own_results(ir_func *f, base_arena *scratch)
{
    ir_builder b = ir_builder_new(f);
    int n = ir_number(f);
    /* By value id: read by an instruction; taken by a result. */
    bool *read = base_array(scratch, bool, n + 1), *taken = base_array(scratch, bool, n + 1);
    IR_FOR (inst, f)
        for (int i = 0; i < inst->noperands; i++)
            read[inst->operand[i]->id] = true;
    for (int i = 0; i < f->results.count; i++) {
        ir_port *r = &f->results.items[i];
        const ir_inst *def = r->value->def;
        bool shared = !def || def->op == IR_OP_constant || ir_has_trait(def, IR_RUNS) ||
                      taken[r->value->id] || (ir_is_view(def) && read[r->value->id]);
        taken[r->value->id] = true;
        if (!shared)
            continue;
        b.phase = r->value->def ? r->value->def->phase : IR_FORWARD;
        b.loc = r->value->def ? r->value->def->loc : NULL;
        ir_value *c = ir_unary(&b, IR_OP_copy, r->value);
        c->name = r->value->name;
        c->order = r->bind == IR_STATE ? r->state->order : (ir_ints){0};
        r->value = c;
    }
    ir_built(&b);
}

/* Replaces operand i of inst by a copy, in memory. */
static ir_value *copy_operand(ir_inst *inst, int i)
{
    ir_builder b = ir_builder_before(inst);
    ir_value *c = ir_unary(&b, IR_OP_copy, inst->operand[i]);
    ir_built(&b);
    inst->operand[i] = c;
    return c;
}

/* Operand i has the storage order of the parameter that it becomes in the functions that inst
 * names. */
static bool lies_alike(const ir_inst *inst, int i)
{
    ir_func *called[2];
    bool alike =
        inst->op == IR_OP_cond ? i > 0 : inst->op == IR_OP_scan && i < IR_ATTR(inst, scan)->consts;
    for (int c = 0, n = alike ? ir_called(inst, called, 2) : 0; c < n; c++)
        alike &= ir_same_storage(called[c]->params.items[inst->op == IR_OP_cond ? i - 1 : i].value,
                                 inst->operand[i]);
    return alike;
}

/* Contractions read views, loops and branches read whole tensors: copies an operand that is
 * neither. Runs before values are numbered. */
static void copy_operands(ir_func *f)
{
    IR_FOR (inst, f) {
        ir_view view;
        if (ir_has_trait(inst, IR_CONTRACTION)) {
            for (int i = 0; i < 2; i++)
                if (!match_view(inst->operand[i], &view))
                    copy_operand(inst, i);
        } else if (ir_has_trait(inst, IR_RUNS)) {
            for (int i = 0; i < inst->noperands; i++) {
                const ir_inst *def = inst->operand[i]->def;
                if ((inst->operand[i]->order.n && !lies_alike(inst, i)) ||
                    (def && (ir_is_view(def) || ir_is_immediate(inst->operand[i]))))
                    copy_operand(inst, i);
            }
        }
    }
}

static void require(fusing *u)
{
    IR_FOR (inst, u->f) {
        bool structured = ir_has_trait(inst, IR_RUNS);
        for (int i = 0; i < inst->nresults; i++)
            of(u, inst->result[i])->memory =
                ir_has_trait(inst, IR_CONTRACTION | IR_OWN_EMITTER | IR_RUNS);
        for (int i = 0; i < inst->noperands; i++) {
            fact *o = of(u, inst->operand[i]);
            o->only_user = o->users++ ? NULL : inst;
            ir_value *base = ir_has_trait(inst, IR_CONTRACTION)
                                 ? match_under_views(inst->operand[i])
                                 : inst->operand[i];
            if ((ir_has_trait(inst, IR_CONTRACTION) || structured) && base->def &&
                base->def->op != IR_OP_constant)
                of(u, base)->memory = true;
        }
    }
    for (int i = 0; i < u->f->results.count; i++) {
        fact *r = of(u, u->f->results.items[i].value);
        r->users++;
        r->only_user = NULL;
        r->memory = r->result = true;
    }
}

/* Does the expression of v, down to values in memory, contain a loop? */
static bool reaches_loop(const fusing *u, const ir_value *v)
{
    return v->def && !of(u, v)->memory && of(u, v)->reduces;
}

/* Size of the code of inst itself, in additions. */
static int own_size(const ir_inst *inst)
{
    return 1 + ir_ops[inst->op].cost +
           (inst->op == IR_OP_concat ? IR_TUNING(FUSE_BRANCH) * inst->noperands : 0);
}

/* Size of the code of inst and of what is computed inside it, each instruction once; counting stops
 * beyond LARGE. */
static int size_of(fusing *u, const ir_inst *inst, int64_t stamp)
{
    int n = own_size(inst);
    for (int i = 0; i < inst->noperands && n <= LARGE; i++) {
        fact *o = of(u, inst->operand[i]);
        if (o->stamp == stamp)
            continue;
        o->stamp = stamp;
        n += o->memory || !inst->operand[i]->def ? LOAD : size_of(u, inst->operand[i]->def, stamp);
    }
    return n;
}

/* Puts v, or the value under it if it is a view, in memory; views then count as a load. */
static void put_away(fusing *u, ir_value *v)
{
    for (; ir_is_view(v->def); v = v->def->operand[0])
        of(u, v)->size = LOAD;
    of(u, v)->memory = true;
}

/* Bounds the size of code: while it is too large, the largest operand goes to memory. The sum of
 * the operands' sizes counts what they share twice, so where that is too large the size is counted
 * exactly. Returns the size. */
static int part_size(fusing *u, const ir_inst *inst)
{
    for (;;) {
        ir_value *largest = NULL;
        int n = own_size(inst);
        for (int i = 0; i < inst->noperands; i++) {
            const fact *o = of(u, inst->operand[i]);
            const ir_value *base = match_under_views(inst->operand[i]);
            bool inside = inst->operand[i]->def && !o->memory;
            n += inside ? o->size : LOAD;
            n = n > 2 * LARGE ? 2 * LARGE : n;
            if (inside && o->size > LOAD && base->def && base->def->op != IR_OP_constant &&
                !of(u, base)->memory && (!largest || o->size > of(u, largest)->size))
                largest = inst->operand[i];
        }
        n = n > LARGE ? size_of(u, inst, ++u->stamp) : n;
        if (n <= LARGE || !largest)
            return n < LARGE ? n : LARGE;
        put_away(u, largest);
    }
}

/* Avoids loops inside loops, which would repeat the inner one: a value that loops goes to memory if
 * it is broadcast or is read by a loop, also through views. Also bounds the depth of expressions,
 * for recursive walks, and their number of loops: a sum of sums is split into kernels that workers
 * can share. */
static void part_loops(fusing *u)
{
    IR_FOR (inst, u->f) {
        bool reduces = ir_has_trait(inst, IR_LOOPS);
        int depth = 0, inside = reduces;
        ir_value *spread = inst->op == IR_OP_broadcast ? match_under_views(inst->operand[0]) : NULL;
        if (spread && count(inst->result[0]) > count(inst->operand[0]) && reaches_loop(u, spread))
            of(u, spread)->memory = true;
        for (int i = 0; i < inst->noperands; i++) {
            ir_value *base = ir_has_trait(inst, IR_LOOPS) ? match_under_views(inst->operand[i])
                                                          : inst->operand[i];
            if (ir_has_trait(inst, IR_LOOPS) && base->def && base->def->op != IR_OP_constant &&
                reaches_loop(u, base))
                of(u, base)->memory = true;
            fact *o = of(u, inst->operand[i]);
            reduces |= reaches_loop(u, inst->operand[i]);
            depth = !o->memory && o->depth + 1 > depth ? o->depth + 1 : depth;
            inside += o->memory ? 0 : o->loops;
        }
        int size = part_size(u, inst); /* last: it puts operands in memory */
        for (int r = 0; r < inst->nresults; r++) {
            fact *v = of(u, inst->result[r]);
            v->size = size;
            v->reduces = reduces;
            v->depth = depth;
            v->loops = inside;
            v->memory |= depth >= DEEP || inside >= IR_TUNING(FUSE_LOOPS);
        }
    }
}

static void costs(fusing *u)
{
    IR_FOR (inst, u->f)
        for (int r = 0; r < inst->nresults; r++) {
            fact *v = of(u, inst->result[r]);
            v->cost = ir_ops[inst->op].cost * ir_cost_reads(inst, 0);
            v->reduces = ir_has_trait(inst, IR_LOOPS);
            for (int i = 0; i < inst->noperands; i++) {
                fact *o = of(u, inst->operand[i]);
                bool stored = o->memory || !inst->operand[i]->def;
                v->cost += operand_share(u, inst, i) * (stored ? LOAD : o->cost);
                v->reduces |= !stored && o->reduces;
            }
        }
}

/* From the end: how often is each value computed if it is inside its users, and does that pay? */
static void choose(fusing *u)
{
    IR_FOR_REVERSE (inst, u->f) {
        double times = 0;
        for (int r = 0; r < inst->nresults; r++) {
            fact *v = of(u, inst->result[r]);
            double n = count(inst->result[r]), inside = v->evaluations * v->cost;
            double written = n * (v->cost + STORE) + v->evaluations * LOAD;
            bool moves = ir_has_trait(inst, IR_VIEW | IR_NULLARY);
            if (!v->memory && !moves && v->users &&
                (inside > IR_TUNING(FUSE_WRITE) / 100.0 * written ||
                 (v->reduces && v->evaluations > IR_TUNING(FUSE_REDUCE) / 100.0 * n)))
                v->memory = true;
            times = v->memory                ? (n > times ? n : times)
                    : v->evaluations > times ? v->evaluations
                                             : times;
        }
        /* One loop computes both results: both are in memory, or neither. */
        bool together = inst->nresults > 1;
        for (int r = 0; together && r < inst->nresults; r++)
            if (of(u, inst->result[r])->memory && of(u, inst->result[r == 0])->users)
                of(u, inst->result[r == 0])->memory = true;
        for (int i = 0; i < inst->noperands; i++) {
            fact *o = of(u, inst->operand[i]);
            double share = times * operand_share(u, inst, i);
            o->evaluations += share;
        }
    }
}

/* ---- Kernels ---- */

/* Follows a contraction's result through elementwise instructions that are its only users, up to a
 * limit; returns the last result, the kernel's output. */
static ir_value *epilogue(fusing *u, ir_value *anchor)
{
    ir_value *output = anchor;
    for (int n = 0, size = 0;; n++) {
        fact *r = of(u, output);
        ir_inst *next = r->only_user;
        if (n == DEEP || r->users != 1 || !next || !ir_has_trait(next, IR_ELEMENTWISE) ||
            next->nresults != 1 || of(u, next->result[0])->taken ||
            !ir_same_storage(next->result[0], anchor))
            return output;
        size += own_size(next);
        for (int i = 0; i < next->noperands; i++)
            size += next->operand[i] == output        ? 0
                    : of(u, next->operand[i])->memory ? LOAD
                                                      : of(u, next->operand[i])->size;
        if (size > LARGE)
            return output;
        /* Other operands are loads or cheap, or they go to memory. */
        for (int i = 0; i < next->noperands; i++) {
            fact *o = of(u, next->operand[i]);
            if (next->operand[i] != output && next->operand[i]->def && !o->memory && o->reduces)
                o->memory = true;
        }
        r->memory = false;
        output = next->result[0];
        of(u, output)->memory = of(u, output)->taken = true;
    }
}

static ir_kernel *new_kernel(fusing *u, ir_kernel_kind kind, ir_inst *anchor)
{
    ir_kernel *k = base_new(u->f->module->arena, ir_kernel);
    k->kind = kind;
    k->anchor = anchor;
    k->index = u->f->plan->kernels.count;
    BASE_PUSH(u->f->module->arena, &u->f->plan->kernels, k);
    return k;
}

static void add_output(fusing *u, ir_kernel *k, ir_value *v)
{
    v->kernel = k;
    BASE_PUSH(u->f->module->arena, &k->outputs, v);
}

/* Recurses as deep as the kernel's expressions, which part_loops and epilogue bound: each output's
 * by twice DEEP. */
static void find_reads(fusing *u, ir_kernel *k, ir_value *v, bool is_root, int64_t stamp,
                       int64_t *seen)
{
    if (seen[v->id] == stamp)
        return;
    seen[v->id] = stamp;
    bool leaf = !v->def || (v->def->op == IR_OP_constant && !ir_is_immediate(v)) ||
                (v->kernel && v->kernel != k);
    if (leaf && !is_root) {
        BASE_PUSH(u->f->module->arena, &k->reads, v);
        k->size += LOAD;
        return;
    }
    k->size += own_size(v->def);
    for (int i = 0; i < v->def->noperands; i++)
        find_reads(u, k, v->def->operand[i], false, stamp, seen);
}

static void all_reads(fusing *u, ir_kernel *k, int64_t stamp, int64_t *seen)
{
    k->reads.count = 0;
    k->size = 0;
    for (int i = 0; i < k->outputs.count; i++)
        find_reads(u, k, k->outputs.items[i], true, stamp, seen);
    for (int i = 0; k->anchor && i < k->anchor->noperands; i++)
        if (k->kind != IR_KERNEL_CHECK || i == 1)
            find_reads(u, k, k->anchor->operand[i], false, stamp, seen);
}

/* Kernels by index while siblings are merged. A kernel may read a later one, because of what was
 * merged into it or of a contraction's epilogue. A prefix of the kernels is closed if none of its
 * kernels reads one beyond it; then none depends on one beyond it. */
typedef struct prefixes {
    int *high; /* the last kernel that one of the first i + 1 reads */
    int count;
} prefixes;

/* Updates p for the kernels from `first` on. */
static void measure(prefixes *p, const ir_plan *s, int first, int count)
{
    p->count = count;
    for (int i = first < 0 ? 0 : first; i < count; i++) {
        const ir_kernel *k = s->kernels.items[i];
        p->high[i] = i ? p->high[i - 1] : -1;
        for (int r = 0; r < k->reads.count; r++) {
            const ir_kernel *from = k->reads.items[r]->kernel;
            if (from && from->index > p->high[i])
                p->high[i] = from->index;
        }
    }
}

/* The last kernel of the longest closed prefix without `on`. */
static int closed_before(const prefixes *p, const ir_kernel *on)
{
    int last = (on->index < p->count ? on->index : p->count) - 1;
    while (last >= 0 && p->high[last] > last)
        last--;
    return last;
}

/* Does k read, directly or through others, what `on` writes? */
static bool depends(const ir_kernel *k, const ir_kernel *on, int closed, int64_t stamp,
                    int64_t *seen)
{
    if (k == on)
        return true;
    if (seen[k->index] == stamp || k->index <= closed)
        return false;
    seen[k->index] = stamp;
    for (int i = 0; i < k->reads.count; i++)
        if (k->reads.items[i]->kernel &&
            depends(k->reads.items[i]->kernel, on, closed, stamp, seen))
            return true;
    return false;
}

static bool reduces_inside(const fusing *u, const ir_value *output)
{
    return of(u, output)->reduces;
}

static uint64_t wanted_by(const fusing *u, const ir_kernel *k)
{
    uint64_t bits = 0;
    for (int i = 0; i < k->outputs.count; i++)
        bits |= u->wanted[k->outputs.items[i]->id];
    return bits;
}

/* Would merging make a result for which x is computed need something that only y reads? What is
 * computed in any case (bit 63) is no burden. In functions other than entries all results are
 * always wanted. */
static bool burdens(const fusing *u, const ir_kernel *x, const ir_kernel *y)
{
    for (int i = 0; u->f->entry && i < y->reads.count; i++) {
        uint64_t there = u->wanted[y->reads.items[i]->id];
        if (!(there >> 63) && (wanted_by(u, x) & ~there))
            return true;
    }
    return false;
}

/* May `from` be merged into the earlier `into`, looking only at these two, and does that save
 * reads? */
static bool fits(const fusing *u, const ir_kernel *into, const ir_kernel *from)
{
    bool contraction = into->kind == IR_KERNEL_CONTRACTION;
    if ((into->kind != IR_KERNEL_MAP && !contraction) || from->kind != IR_KERNEL_MAP)
        return false;
    for (int i = 0; i < from->outputs.count; i++)
        if (contraction && ir_in_pieces(from->outputs.items[i]))
            return false;
    const ir_value *x = ir_space(into->outputs.items[0]), *y = ir_space(from->outputs.items[0]);
    if (!ir_same_storage(x, y) ||
        into->outputs.count + from->outputs.count > IR_TUNING(FUSE_OUTPUTS) ||
        into->size + from->size > LARGE ||
        (contraction ? reduces_inside(u, y) : reduces_inside(u, x) != reduces_inside(u, y)))
        return false;
    int common = 0, more = 0;
    for (int i = 0; i < from->reads.count && into->reads.count + more <= IR_TUNING(FUSE_READS);
         i++) {
        const ir_value *r = from->reads.items[i];
        bool shared = r->kernel == into;
        for (int j = 0; j < into->reads.count && !shared && !contraction; j++)
            shared = into->reads.items[j] == r;
        common += shared && ir_count(&r->type) * 2 > ir_count(&x->type);
        more += !shared;
    }
    return common && into->reads.count + more <= IR_TUNING(FUSE_READS) && !burdens(u, into, from) &&
           !burdens(u, from, into);
}

/* Merges kernel `from` into the earlier `into`, if that is correct and saves reads. */
static bool merge(fusing *u, ir_kernel *into, ir_kernel *from, const prefixes *p, int64_t *stamp,
                  int64_t *seen)
{
    if (!fits(u, into, from))
        return false;
    /* No kernel between them may depend on one and be read by the other. */
    if (depends(into, from, closed_before(p, from), ++*stamp, seen))
        return false;
    int closed = closed_before(p, into);
    for (int i = 0; i < from->reads.count; i++) {
        ir_kernel *needs = from->reads.items[i]->kernel;
        if (needs && needs != into && depends(needs, into, closed, ++*stamp, seen))
            return false;
        if (needs == into && match_reads_moved(from, from->reads.items[i], &u->walks))
            return false;
    }
    for (int i = 0; i < from->outputs.count; i++)
        add_output(u, into, from->outputs.items[i]);
    return true;
}

/* An output that only its own kernel reads need not be written: it is computed once per index. */
static void drop_inner_outputs(fusing *u, ir_kernel *k, const int *readers)
{
    int kept = 0, left = k->outputs.count;
    for (int i = 0; i < k->outputs.count; i++) {
        ir_value *v = k->outputs.items[i];
        if (left > 1 && !readers[v->id] && !of(u, v)->result && of(u, v)->users) {
            v->kernel = NULL;
            left--;
        } else {
            k->outputs.items[kept++] = v;
        }
    }
    k->outputs.count = kept;
}

static void merge_siblings(fusing *u)
{
    ir_plan *s = u->f->plan;
    int64_t *seen = base_array(u->scratch, int64_t, ir_number(u->f) + 1),
            *seen_kernel = base_array(u->scratch, int64_t, s->kernels.count + 1), stamp = 0;
    for (int i = 0; i < s->kernels.count; i++)
        all_reads(u, s->kernels.items[i], ++stamp, seen);
    int kept = 0;
    prefixes p = {base_array(u->scratch, int, s->kernels.count + 1), 0};
    for (int i = 0; i < s->kernels.count; i++) {
        ir_kernel *k = s->kernels.items[i];
        bool merged = false;
        for (int j = kept - 1; j >= 0 && j >= kept - IR_TUNING(FUSE_NEAR) && !merged; j--) {
            merged = merge(u, s->kernels.items[j], k, &p, &stamp, seen_kernel);
            if (merged)
                all_reads(u, s->kernels.items[j], ++stamp, seen);
        }
        if (!merged) {
            k->index = kept;
            s->kernels.items[kept++] = k;
        }
        measure(&p, s, kept - IR_TUNING(FUSE_NEAR), kept); /* the others no longer change */
    }
    s->kernels.count = kept;
    int *readers = base_array(u->scratch, int, ir_number(u->f) + 1);
    for (int i = 0; i < kept; i++)
        for (int r = 0; r < s->kernels.items[i]->reads.count; r++)
            readers[s->kernels.items[i]->reads.items[r]->id]++;
    for (int i = 0; i < kept; i++)
        if (s->kernels.items[i]->kind == IR_KERNEL_MAP ||
            s->kernels.items[i]->kind == IR_KERNEL_CONTRACTION)
            drop_inner_outputs(u, s->kernels.items[i], readers);
}

/* ---- Index checks ---- */

static void literal_bounds(const ir_literal *l, int64_t *low, int64_t *high)
{
    int64_t n = ir_count(&l->type);
    *low = INT64_MAX;
    *high = INT64_MIN;
    for (int64_t i = 0; i < n; i++) {
        int64_t v = ir_literal_get_int(l, i);
        *low = v < *low ? v : *low;
        *high = v > *high ? v : *high;
    }
}

/* Bounds of the result of a min or max. If only one operand has bounds, one side is open. */
static bool least_or_most(const fact *x, const fact *y, bool least, fact *out)
{
    const fact *one = x->bounded ? x : y;
    out->low = least ? INT64_MIN : one->low;
    out->high = least ? one->high : INT64_MAX;
    if (x->bounded && y->bounded) {
        out->low = (x->low < y->low) == least ? x->low : y->low;
        out->high = (x->high < y->high) == least ? x->high : y->high;
    }
    return one->bounded;
}

/* Bounds of result r of inst, for a few simple ops. */
static bool bounds(const fusing *u, const ir_inst *inst, int r, fact *out)
{
    const fact *o[3] = {0};
    for (int i = 0; i < inst->noperands && i < 3; i++)
        o[i] = of(u, inst->operand[i]);
    if (ir_is_view(inst) || inst->op == IR_OP_copy) {
        out->low = o[0]->low;
        out->high = o[0]->high;
        return o[0]->bounded;
    }
    switch (inst->op) {
    case IR_OP_constant:
        literal_bounds(IR_ATTR(inst, constant)->value, &out->low, &out->high);
        return true;
    case IR_OP_iota:
        out->high = inst->result[0]->type.dim[IR_ATTR(inst, iota)->axis] - 1;
        return true;
    case IR_OP_arg_reduce:
        out->high = inst->operand[0]->type.dim[IR_ATTR(inst, arg_reduce)->axis] - 1;
        return r == 1;
    case IR_OP_select:
        out->low = o[1]->low < o[2]->low ? o[1]->low : o[2]->low;
        out->high = o[1]->high > o[2]->high ? o[1]->high : o[2]->high;
        return o[1]->bounded && o[2]->bounded;
    case IR_OP_min: case IR_OP_max:
        return least_or_most(o[0], o[1], inst->op == IR_OP_min, out);
    default:
        return false;
    }
}

static bool is_fixed(const fusing *u, const ir_inst *inst)
{
    bool fixed = true;
    for (int i = 0; i < inst->noperands; i++)
        fixed &= of(u, inst->operand[i])->fixed;
    return fixed;
}

/* The name of an integer operand; if the result varies, of one that varies, since a constant is not
 * to blame then. */
static const char *name_from(const fusing *u, const ir_inst *inst, bool fixed)
{
    const char *name = NULL;
    for (int i = inst->noperands - 1; i >= 0 && !name; i--) {
        const fact *operand = of(u, inst->operand[i]);
        name = ir_is_int(inst->operand[i]->type.dtype) && operand->fixed == fixed ? operand->name
                                                                                  : NULL;
    }
    return name;
}

/* Bounds and names of integers, operands first. */
static void find_indices(fusing *u)
{
    for (int i = 0; i < u->f->params.count; i++) {
        const ir_port *p = &u->f->params.items[i];
        of(u, p->value)->name = p->name ? p->name : p->value->name;
    }
    IR_FOR (inst, u->f)
        for (int r = 0; r < inst->nresults; r++) {
            fact *v = of(u, inst->result[r]);
            v->bounded = ir_is_int(inst->result[r]->type.dtype) && bounds(u, inst, r, v);
            v->fixed = is_fixed(u, inst);
            v->name = inst->result[r]->name ? inst->result[r]->name : name_from(u, inst, v->fixed);
        }
}

static const ir_ints *indexed_dims(const ir_inst *inst)
{
    return inst->op == IR_OP_gather ? &IR_ATTR(inst, gather)->dims : &IR_ATTR(inst, scatter)->dims;
}

static bool in_range(const fusing *u, const ir_inst *inst)
{
    const ir_ints *dims = indexed_dims(inst);
    const fact *index = of(u, inst->operand[1]);
    if (!index->bounded)
        return ir_count(&inst->operand[1]->type) == 0;
    for (int i = 0; i < dims->n; i++)
        if (index->low < 0 || index->high >= inst->operand[0]->type.dim[dims->v[i]])
            return false;
    return true;
}

static bool same_check(const ir_inst *x, const ir_inst *y)
{
    const ir_ints *p = indexed_dims(x), *q = indexed_dims(y);
    if (x->operand[1] != y->operand[1] || p->n != q->n)
        return false;
    for (int i = 0; i < p->n; i++)
        if (x->operand[0]->type.dim[p->v[i]] != y->operand[0]->type.dim[q->v[i]])
            return false;
    return true;
}

/* The name of an index that has none, such as a body's parameter: says at least whose index it
 * is. */
static const char *whose_index(base_arena *arena, const base_loc *loc)
{
    if (loc && loc->name && *loc->name)
        return base_format(arena, "index of %s", loc->name);
    if (loc && loc->op && loc->node >= 0)
        return base_format(arena, "index of node %d (%s)", loc->node, loc->op);
    if (loc && loc->op)
        return base_format(arena, "index of a %s", loc->op);
    return loc && loc->line ? base_format(arena, "index in line %d", loc->line) : "an index";
}

static void add_check(fusing *u, ir_inst *inst)
{
    ir_plan *s = u->f->plan;
    fact *index = of(u, inst->operand[1]);
    for (const check *c = index->checks; c; c = c->next)
        if (same_check(c->anchor, inst))
            return;
    if (in_range(u, inst))
        return;
    check *c = base_new(u->scratch, check);
    *c = (check){inst, index->checks};
    index->checks = c;
    ir_kernel *k = new_kernel(u, IR_KERNEL_CHECK, inst);
    k->check = s->checks.count;
    BASE_PUSH(u->f->module->arena, &s->checks,
              index->name ? index->name : whose_index(u->f->module->arena, inst->loc));
}

/* ---- The pass ---- */

static void make_kernels(fusing *u)
{
    IR_FOR (inst, u->f) {
        ir_value *first = NULL;
        if (ir_has_trait(inst, IR_CHECKED))
            add_check(u, inst);
        for (int i = 0; i < inst->nresults && !first; i++)
            if (of(u, inst->result[i])->memory)
                first = inst->result[i];
        if (ir_has_trait(inst, IR_CONTRACTION)) {
            ir_value *output = inst->result[0];
            while (!of(u, output)->memory)
                output = of(u, output)->only_user->result[0];
            add_output(u, new_kernel(u, IR_KERNEL_CONTRACTION, inst), output);
        } else if (first && !first->kernel) {
            bool own = ir_has_trait(inst, IR_OWN_EMITTER | IR_RUNS);
            ir_kernel_kind kind = ir_has_trait(inst, IR_OWN_EMITTER) ? IR_KERNEL_STANDALONE
                                  : !own                             ? IR_KERNEL_MAP
                                  : inst->op == IR_OP_cond           ? IR_KERNEL_BRANCH
                                                                     : IR_KERNEL_LOOP;
            ir_kernel *k = new_kernel(u, kind, own ? inst : NULL);
            for (int i = 0; i < inst->nresults; i++)
                if (own || of(u, inst->result[i])->memory)
                    add_output(u, k, inst->result[i]);
        }
    }
}

/* Contractions must read their operands through views of values in memory. */
static void check_operands(const ir_func *f)
{
    ir_view view;
    IR_FOR (inst, f)
        for (int i = 0; i < 2 && ir_has_trait(inst, IR_CONTRACTION); i++)
            if (!ir_view_of(inst->operand[i], &view))
                BUG("@%s: operand %d of a %s is not a view", f->name, i, ir_ops[inst->op].name);
}

void pass_fuse(ir_func *f)
{
    fusing u = {.f = f, .scratch = base_arena_new(f->module->ctx)};
    f->plan = base_new(f->module->arena, ir_plan);
    own_results(f, u.scratch);
    copy_operands(f);
    int n = ir_number(f);
    u.fact = base_array(u.scratch, fact, n + 1);
    IR_FOR (inst, f)
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->aux = NULL;
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->aux = NULL;
    require(&u);
    part_loops(&u);
    costs(&u);
    choose(&u);
    IR_FOR_REVERSE (inst, f) /* the later of two contractions takes their sum as epilogue */
        if (ir_has_trait(inst, IR_CONTRACTION))
            epilogue(&u, inst->result[0]);
    costs(&u);
    find_indices(&u);
    make_kernels(&u);
    u.wanted = base_array(u.scratch, uint64_t, ir_number(f) + 1);
    match_wanted(f, u.wanted);
    merge_siblings(&u);
    check_operands(f);
    base_arena_free(u.scratch);
}
