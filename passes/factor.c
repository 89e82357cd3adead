/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Takes factors out of sums, in gradients. A sum of products
 *
 *     sum(f * x - h * y)  =  f * sum(x) - h * sum(y)
 *
 * whose factors f and h are constant along the summed axes multiplies fewer elements when it is
 * split; and sums that differ only in such factors become one. Batch normalisation is the example.
 * As the rules build it, backward sums g, g w x and g x / s, and, for the mean, what the second of
 * these contributes to the gradient of the variance. Split, these are the sums of g and g x,
 * computed in one pass over the tensors.
 *
 * Costs decide. A sum over a value that is in memory anyway reads one element per term; split, it
 * may read several and recompute what they are made of, such as an activation's derivative. So a
 * sum is split only if its terms cost less than the sum itself, where terms that are summed anyway
 * cost nothing. Costs are additions per element of the operand.
 *
 * Only derivatives are split: a factor pulled out of one of the model's own sums may turn a NaN
 * into an infinity or back. f16 and bf16 are left alone: their sums could leave the type's range.
 * Needs nothing, breaks only plans; cse then merges equal sums. */
#include "base/map.h"
#include "ir/tuning.h"
#include "passes/pass_utils.h"

#include <stdlib.h>

enum {
    TERMS = 8,
    LEAVES = 16,
    DEPTH = 16, /* depth of instructions that are looked through, … */
    DEEP = 8    /* … of products: each may be walked once per path to it */
};
#define LOAD IR_TUNING(FUSE_LOAD)
#define STORE IR_TUNING(FUSE_STORE)

typedef struct leaf {
    ir_value *v;
    bool divides;
} leaf;

/* +- rest * factors. */
typedef struct term {
    ir_value *all; /* without its sign; NULL: the sign is that of a factor in it */
    bool negative;
    leaf factor[2 * LEAVES];
    ir_value *rest[2 * LEAVES]; /* by number, ascending */
    int nfactors, nrest;
    struct shared *sum; /* over rest */
} term;

/* A sum that reductions, split or whole, have in common. */
typedef struct shared {
    int wanted; /* by how many terms */
    bool made;
} shared;

typedef struct apart {
    ir_inst *reduce;
    term *terms;
    int n;
} apart;

typedef struct factoring {
    ir_func *f;
    base_arena *scratch;
    int *uses;      /* by value id */
    bool *memory;   /* by value id */
    int64_t *seen;  /* by value id: the last walk of cost_of that came here */
    int64_t stamp;
    base_map sums;  /* by axes and terms: to shared */
    base_map reads; /* by axes and value: to bool */
    BASE_LIST(apart) list;
} factoring;

static uint64_t mask_of(ir_ints axes)
{
    uint64_t m = 0;
    for (int i = 0; i < axes.n; i++)
        m |= (uint64_t)1 << axes.v[i];
    return m;
}

static bool is_sum(const ir_inst *inst)
{
    return inst->op == IR_OP_reduce && IR_ATTR(inst, reduce)->combine == IR_SUM;
}

static bool is_eligible(const ir_inst *inst)
{
    const ir_type *t = &inst->result[0]->type;
    return is_sum(inst) && inst->phase == IR_BACKWARD && ir_is_float(t->dtype) &&
           ir_dtypes[t->dtype].bytes >= 4 && IR_ATTR(inst, reduce)->axes.n > 0 && ir_count(t) > 0 &&
           ir_count(&inst->operand[0]->type) > 0;
}

/* ---- Products ---- */

/* v is broadcast along the axes. */
static bool is_factor(const ir_value *v, uint64_t axes)
{
    const ir_inst *r = match(v, IR_OP_broadcast);
    if (!r)
        return false;
    const ir_ints dims = IR_ATTR(r, broadcast)->dims;
    for (int i = 0; i < dims.n; i++)
        if (axes >> dims.v[i] & 1 && r->operand[0]->type.dim[i] != 1)
            return false;
    return true;
}

static void add_rest(term *t, ir_value *v)
{
    int i = t->nrest++;
    for (; i > 0 && t->rest[i - 1]->id > v->id; i--)
        t->rest[i] = t->rest[i - 1];
    t->rest[i] = v;
}

/* A splat is a factor in backward's products only. A product of forward's without factors is not
 * split: it is computed already. */
static void add_product(term *t, const ir_inst *in, ir_value *v, bool divides, uint64_t axes,
                        int depth)
{
    ir_inst *inst = v->def;
    ir_literal *splat;
    term before = *t;
    bool room = depth < DEEP && t->nfactors + t->nrest + depth < LEAVES;
    if (is_factor(v, axes) && (in->phase != IR_FORWARD || !match_splat(v, &splat))) {
        t->factor[t->nfactors++] = (leaf){v, divides};
        return;
    }
    if (room && inst && inst->op == IR_OP_neg && inst->phase != IR_FORWARD) {
        t->negative = !t->negative;
        t->all = NULL;
        add_product(t, inst, inst->operand[0], false, axes, depth + 1);
        return;
    }
    if (room && inst && inst->op == IR_OP_mul) {
        add_product(t, inst, inst->operand[0], false, axes, depth + 1);
        add_product(t, inst, inst->operand[1], false, axes, depth + 1);
    } else if (room && inst && inst->op == IR_OP_div && is_factor(inst->operand[1], axes)) {
        add_product(t, inst, inst->operand[0], false, axes, depth + 1);
        add_product(t, inst, inst->operand[1], true, axes, depth + 1);
    } else {
        add_rest(t, v);
        return;
    }
    if (t->nfactors == before.nfactors && inst->phase == IR_FORWARD) {
        *t = before;
        add_rest(t, v);
    }
}

/* The terms that v is the sum of, as far as backward adds them; how many. */
static int add_terms(term *t, int n, ir_value *v, bool negative, uint64_t axes, int depth)
{
    const ir_inst *inst = v->def;
    bool opens = inst && inst->phase != IR_FORWARD && depth < DEPTH && n + 1 < TERMS;
    if (opens && inst->op == IR_OP_neg)
        return add_terms(t, n, inst->operand[0], !negative, axes, depth + 1);
    if (opens && (inst->op == IR_OP_add || inst->op == IR_OP_sub)) {
        n = add_terms(t, n, inst->operand[0], negative, axes, depth + 1);
        return n < TERMS ? add_terms(t, n, inst->operand[1], negative != (inst->op == IR_OP_sub),
                                     axes, depth + 1)
                         : n + 1;
    }
    if (n == TERMS)
        return n + 1; /* too many */
    t[n] = (term){.all = v, .negative = negative};
    add_product(&t[n], inst ? inst : &(ir_inst){.phase = IR_BACKWARD}, v, false, axes, 0);
    return n + 1;
}

/* The sum over a term's rest. */
static shared *sum_of(factoring *u, const ir_inst *reduce, const term *t)
{
    size_t bytes = (size_t)(t->nrest + 1) * sizeof(uint64_t);
    uint64_t *key = base_array(u->scratch, uint64_t, t->nrest + 1);
    key[0] = mask_of(IR_ATTR(reduce, reduce)->axes);
    for (int i = 0; i < t->nrest; i++)
        key[i + 1] = (uint64_t)t->rest[i]->id;
    shared *s = base_map_get(&u->sums, key, bytes);
    if (!s) {
        s = base_new(u->scratch, shared);
        base_map_put(&u->sums, key, bytes, s);
    }
    return s;
}

static shared *whole_sum(factoring *u, const ir_inst *reduce)
{
    return sum_of(u, reduce, &(term){.nrest = 1, .rest = {reduce->operand[0]}});
}

/* ---- Costs ---- */

/* Values read by instructions other than sums and elementwise ones are in memory in any case. */
static void find_memory(factoring *u)
{
    for (int i = 0; i < u->f->results.count; i++) {
        const ir_value *v = u->f->results.items[i].value;
        u->uses[v->id]++;
        u->memory[v->id] = true;
    }
    IR_FOR (inst, u->f)
        for (int i = 0; i < inst->noperands; i++) {
            u->uses[inst->operand[i]->id]++;
            if (ir_has_trait(inst, IR_CONTRACTION | IR_RUNS | IR_OWN_EMITTER))
                u->memory[match_under_views(inst->operand[i])->id] = true;
        }
}

/* Is v read by the loop that computes the sums over these axes? */
static bool *read_beside(factoring *u, const ir_value *v, uint64_t axes)
{
    uint64_t *key = base_array(u->scratch, uint64_t, 2);
    key[0] = axes;
    key[1] = (uint64_t)v->id;
    bool *read = base_map_get(&u->reads, key, 2 * sizeof *key);
    if (!read) {
        read = base_new(u->scratch, bool);
        base_map_put(&u->reads, key, 2 * sizeof *key, read);
    }
    return read;
}

/* The cost of an element of v in a sum over these axes. What the walk has met is free; so is what
 * other sums over the same axes read, because one loop computes them all. A value with other users
 * is written if that costs less than computing it. reads: notes what is read. */
static double cost_of(factoring *u, const ir_value *v, uint64_t axes, int depth, bool reads)
{
    if (u->seen[v->id] == u->stamp || is_factor(v, axes))
        return 0;
    u->seen[v->id] = u->stamp;
    if (!v->def || !ir_has_trait(v->def, IR_ELEMENTWISE) || u->memory[v->id] || depth == DEPTH) {
        bool *read = read_beside(u, v, axes);
        double cost = *read ? 0 : LOAD;
        *read |= reads;
        return cost;
    }
    double cost = ir_ops[v->def->op].cost;
    for (int i = 0; i < v->def->noperands; i++)
        cost += cost_of(u, v->def->operand[i], axes, depth + 1, reads);
    return u->uses[v->id] > 1 && cost > STORE + LOAD ? STORE + LOAD : cost;
}

/* The cost of the whole sum. */
static double whole_cost(factoring *u, const ir_inst *reduce, bool reads)
{
    u->stamp++;
    return cost_of(u, reduce->operand[0], mask_of(IR_ATTR(reduce, reduce)->axes), 0, reads) + 1;
}

/* The cost of the sums that its terms need, and of combining them. */
static double parts_cost(factoring *u, const apart *a, bool reads)
{
    uint64_t axes = mask_of(IR_ATTR(a->reduce, reduce)->axes);
    double all = 0;
    u->stamp++;
    for (int i = 0; i < a->n; i++) {
        const term *t = &a->terms[i];
        double cost = t->nrest; /* products, and the addition to the sum */
        for (int k = 0; k < t->nrest && !t->sum->made; k++)
            cost += cost_of(u, t->rest[k], axes, 1, reads);
        all += t->sum->made ? 0 : cost / t->sum->wanted;
        all += (t->nfactors + 1) / ir_cost_reads(a->reduce, 0);
    }
    return all;
}

/* Decides to split the sum, if its parts cost less. */
static bool decide(factoring *u, apart *a)
{
    if (parts_cost(u, a, false) >= whole_cost(u, a->reduce, false)) {
        whole_cost(u, a->reduce, true);
        whole_sum(u, a->reduce)->made = true;
        a->n = 0;
        return false;
    }
    parts_cost(u, a, true);
    for (int k = 0; k < a->n; k++)
        a->terms[k].sum->made = true;
    return true;
}

/* ---- The pass ---- */

static void find_sums(factoring *u)
{
    IR_FOR (inst, u->f) {
        if (!is_sum(inst))
            continue;
        term terms[TERMS];
        int n = is_eligible(inst) ? add_terms(terms, 0, inst->operand[0], false,
                                              mask_of(IR_ATTR(inst, reduce)->axes), 0)
                                  : TERMS + 1;
        bool factors = false, rests = true;
        for (int i = 0; i < n && n <= TERMS; i++) {
            factors |= terms[i].nfactors > 0;
            rests &= terms[i].nrest > 0;
        }
        if (!factors || !rests || n > TERMS) { /* not split */
            whole_sum(u, inst)->made = true;
            whole_cost(u, inst, true);
            if (n == 1 && rests)
                sum_of(u, inst, &terms[0])->made = true;
            continue;
        }
        for (int i = 0; i < n; i++) {
            terms[i].sum = sum_of(u, inst, &terms[i]);
            terms[i].sum->wanted++;
        }
        apart a = {inst, base_memdup(u->scratch, terms, (size_t)n * sizeof *terms), n};
        BASE_PUSH(u->scratch, &u->list, a);
    }
}

/* The value that replaces v. */
static ir_value *now(ir_value *v)
{
    return v->aux ? v->aux : v;
}

/* A factor in the shape of the reduce's result. */
static ir_value *outside(ir_builder *b, const ir_inst *reduce, const ir_value *factor,
                         uint64_t axes)
{
    const ir_inst *r = factor->def;
    const ir_type *shape = &reduce->result[0]->type;
    const ir_ints dims = IR_ATTR(r, broadcast)->dims;
    ir_type from = {.dtype = shape->dtype};
    int64_t to[IR_MAX_RANK];
    for (int i = 0; i < dims.n; i++) {
        if (axes >> dims.v[i] & 1)
            continue;
        to[from.rank] = dims.v[i] - __builtin_popcountll(axes & (((uint64_t)1 << dims.v[i]) - 1));
        from.dim[from.rank++] = r->operand[0]->type.dim[i];
    }
    return ir_broadcast(b, ir_reshape(b, now(r->operand[0]), from.rank, from.dim), shape->rank,
                        shape->dim, to);
}

static ir_value *build(const apart *a)
{
    ir_builder b = ir_builder_before(a->reduce);
    const ir_ints axes = IR_ATTR(a->reduce, reduce)->axes;
    ir_value *all = NULL;
    for (int i = 0; i < a->n; i++) {
        const term *t = &a->terms[i];
        ir_value *rest = NULL;
        for (int k = 0; k < t->nrest && (t->nfactors || !t->all); k++)
            rest = rest ? ir_mul(&b, rest, now(t->rest[k])) : now(t->rest[k]);
        ir_value *sum = ir_reduce(&b, IR_SUM, rest ? rest : now(t->all), axes.n, axes.v);
        for (int k = 0; k < t->nfactors; k++)
            sum = ir_binary(&b, t->factor[k].divides ? IR_OP_div : IR_OP_mul, sum,
                            outside(&b, a->reduce, t->factor[k].v, mask_of(axes)));
        bool negative = t->negative;
        if (!all)
            all = negative ? ir_neg(&b, sum) : sum;
        else
            all = negative ? ir_sub(&b, all, sum) : ir_add(&b, all, sum);
    }
    ir_built(&b);
    return all;
}

/* Replaces the sums that are split, in one walk. */
static void apply(factoring *u)
{
    int next = 0;
    pass_replace_begin(u->f);
    IR_FOR_SAFE (inst, u->f) {
        pass_replace_in(inst);
        if (next == u->list.count || u->list.items[next].reduce != inst)
            continue;
        const apart *a = &u->list.items[next++];
        if (!a->n)
            continue;
        ir_value *v = build(a);
        v->name = v->name ? v->name : inst->result[0]->name;
        inst->result[0]->aux = v;
        ir_remove(inst);
    }
    pass_replace_end(u->f);
}

void pass_factor(ir_func *f)
{
    factoring u = {.f = f, .scratch = base_arena_new(f->module->ctx)};
    int n = ir_number(f);
    bool any = false;
    u.uses = base_array(u.scratch, int, n + 1);
    u.seen = base_array(u.scratch, int64_t, n + 1);
    u.memory = base_array(u.scratch, bool, n + 1);
    u.sums = base_map_new(u.scratch);
    u.reads = base_map_new(u.scratch);
    find_memory(&u);
    find_sums(&u);
    for (int i = 0; i < u.list.count; i++)
        any |= decide(&u, &u.list.items[i]);
    if (any)
        apply(&u);
    base_arena_free(u.scratch);
}
