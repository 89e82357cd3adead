/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Orders a function's kernels, cuts them into phases and gives every written value its place.
 *
 * A kernel comes after those whose outputs it reads, and the writer of a state after all readers of
 * the old value (if that is a cycle, a copy at the end writes it). A kernel joins the current phase
 * unless it depends on one in it. Values are live from the phase that writes them to the last that
 * reads them. Values that are never live together may share scratch; they are placed largest first,
 * at the lowest free offset. An output is computed in place of an operand that dies in the same
 * kernel and is read only at the output's own index.
 *
 * Needs: fuse. Functions called by loops and branches are planned before their callers. */
#include "passes/pass_utils.h"

#include <stdlib.h>
#include <string.h>

typedef struct span { /* a piece of scratch and the phases in which it is in use */
    int first, last;
    int64_t bytes, offset;
    ir_value *value;       /* that it places, or … */
    int64_t *place;        /* … where the offset goes */
    struct span *host;     /* the span whose storage it shares */
} span;

typedef struct edge_list {
    BASE_LIST(int) to;
} edge_list;

typedef struct planning {
    ir_func *f;
    ir_plan *s;
    base_arena *arena;       /* of the module */
    base_arena *scratch;
    uint64_t *wanted;      /* by value id */
    int values;
    /* By value id, after the kernels are ordered: 1 + the result that it is, or 0. */
    int *port;
    /* By value id, after lifetimes: how many kernels read it in the last phase that does. */
    int *readers;
    ir_value **state_param; /* by state index: its parameter, or NULL */
    BASE_LIST(span *) spans;
    span **span_of;        /* by value id */
    uintptr_t stamp;       /* for match_reads_moved */
} planning;

/* ---- What is wanted for which result ---- */

static void find_wanted(planning *p)
{
    match_wanted(p->f, p->wanted);
    for (int i = 0; i < p->s->kernels.count; i++) {
        ir_kernel *k = p->s->kernels.items[i];
        k->wanted = 0;
        for (int r = 0; r < k->outputs.count; r++)
            k->wanted |= p->wanted[k->outputs.items[r]->id];
        if (k->kind == IR_KERNEL_CHECK)
            k->wanted = p->wanted[k->anchor->result[0]->id];
    }
    /* The outputs of a kernel are computed together: what one reads is needed when another is
     * wanted. */
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = p->s->kernels.count - 1; i >= 0; i--) {
            const ir_kernel *k = p->s->kernels.items[i];
            for (int r = 0; r < k->reads.count; r++) {
                ir_kernel *from = k->reads.items[r]->kernel;
                if (from && (from->wanted | k->wanted) != from->wanted) {
                    from->wanted |= k->wanted;
                    changed = true;
                }
            }
        }
    }
}

/* ---- Order ---- */

/* The result port that v is bound to, or -1. */
static int port_of(const planning *p, const ir_value *v)
{
    return p->port[v->id] - 1;
}

static void find_ports(planning *p)
{
    p->port = base_array(p->scratch, int, p->values + 1);
    for (int i = p->f->results.count; i-- > 0;)
        p->port[p->f->results.items[i].value->id] = i + 1;
}

/* By state index: its parameter in f. */
static ir_value **state_params(const ir_func *f, base_arena *scratch)
{
    ir_value **param = base_array(scratch, ir_value *, f->module->states.count + 1);
    for (int i = f->params.count; i-- > 0;)
        if (f->params.items[i].bind == IR_STATE)
            param[f->params.items[i].state->index] = f->params.items[i].value;
    return param;
}

/* The old value that the update r overwrites, or NULL. */
static ir_value *old_of(const ir_port *r, ir_value *const *state_param)
{
    return r->bind == IR_STATE ? state_param[r->state->index] : NULL;
}

static bool reads(const ir_kernel *k, const ir_value *v)
{
    for (int i = 0; i < k->reads.count; i++)
        if (k->reads.items[i] == v)
            return true;
    return false;
}

static bool reads_only_in_place(const ir_kernel *k, const ir_value *v, uintptr_t *stamp)
{
    return (k->kind == IR_KERNEL_MAP || k->kind == IR_KERNEL_CONTRACTION) &&
           !match_reads_moved(k, v, stamp);
}

static void clear_aux(const ir_func *f)
{
    for (int i = 0; i < f->params.count; i++)
        f->params.items[i].value->aux = NULL;
    IR_FOR (inst, f)
        for (int i = 0; i < inst->nresults; i++)
            inst->result[i]->aux = NULL;
}

/* A kernel that writes `output` (bound to the state of parameter `old`) and reads it must read each
 * element before it writes it. */
static bool may_write_over(const ir_kernel *k, const ir_value *output, const ir_value *old,
                           uintptr_t *stamp)
{
    return !reads(k, old) || (ir_same_storage(output, old) && reads_only_in_place(k, old, stamp));
}

/* A heap of numbers, the least on top. */
typedef struct heap {
    int *item, count;
} heap;

static void heap_add(heap *h, int item)
{
    int at = h->count++;
    for (; at > 0 && h->item[(at - 1) / 2] > item; at = (at - 1) / 2)
        h->item[at] = h->item[(at - 1) / 2];
    h->item[at] = item;
}

static int heap_take(heap *h)
{
    int top = h->item[0], last = h->item[--h->count], at = 0;
    for (int child; (child = 2 * at + 1) < h->count; at = child) {
        child += child + 1 < h->count && h->item[child + 1] < h->item[child];
        if (h->item[child] >= last)
            break;
        h->item[at] = h->item[child];
    }
    h->item[at] = last;
    return top;
}

/* Nodes that wait for node i no longer do; those that wait for nothing then are ready. Node n,
 * which represents the checks, is released at once. */
static void release(const edge_list *edges, int i, int n, int *waits, heap *ready)
{
    for (int j = 0; j < edges[i].to.count; j++) {
        int to = edges[i].to.items[j];
        if (--waits[to])
            continue;
        if (to == n)
            release(edges, n, n, waits, ready);
        else
            heap_add(ready, to);
    }
}

/* Ready kernels run in program order. Edges: from kernel i to those that must come later; node n:
 * all kernels that may fail. Returns how many could be ordered. */
static int sort_kernels(planning *p, const edge_list *edges, ir_kernel **out)
{
    int n = p->s->kernels.count, done = 0;
    int *waits = base_array(p->scratch, int, n + 1);
    heap ready = {base_array(p->scratch, int, n + 1), 0};
    for (int i = 0; i <= n; i++)
        for (int j = 0; j < edges[i].to.count; j++)
            waits[edges[i].to.items[j]]++;
    for (int i = 0; i < n; i++)
        if (!waits[i])
            heap_add(&ready, i);
    while (ready.count) {
        int next = heap_take(&ready);
        out[done++] = p->s->kernels.items[next];
        release(edges, next, n, waits, &ready);
    }
    return done;
}

static void add_edge(planning *p, edge_list *edges, int from, int to)
{
    if (from != to)
        BASE_PUSH(p->scratch, &edges[from].to, to);
}

static edge_list *data_edges(planning *p)
{
    edge_list *edges = base_array(p->scratch, edge_list, p->s->kernels.count + 1);
    for (int i = 0; i < p->s->kernels.count; i++)
        p->s->kernels.items[i]->index = i;
    for (int i = 0; i < p->s->kernels.count; i++) {
        const ir_kernel *k = p->s->kernels.items[i];
        for (int r = 0; r < k->reads.count; r++)
            if (k->reads.items[r]->kernel)
                add_edge(p, edges, k->reads.items[r]->kernel->index, i);
    }
    return edges;
}

/* Writers of this state come after the index checks, so that a call that fails leaves it as it was.
 * Residuals are not needed after a failure. */
static bool is_kept(const ir_port *result)
{
    return result->bind == IR_STATE && result->state->kind != IR_SAVED;
}

/* Can k find an index out of range: by itself, or in a function that it runs? */
static bool may_fail(const ir_kernel *k)
{
    ir_func *called[2];
    bool fails = k->kind == IR_KERNEL_CHECK;
    for (int c = 0, n = k->kind >= IR_KERNEL_LOOP ? ir_called(k->anchor, called, 2) : 0; c < n; c++)
        fails |= called[c]->plan->checked_phase >= 0;
    return fails;
}

/* Writers of states come after their readers and after kernels that may fail. */
static void state_edges(planning *p, edge_list *edges)
{
    int n = p->s->kernels.count;
    /* Kernels, by the parameter that they read. */
    edge_list *readers = base_array(p->scratch, edge_list, p->f->params.count + 1);
    bool fails = false;
    for (int k = 0; k < n; k++) {
        const ir_kernel *other = p->s->kernels.items[k];
        for (int r = 0; r < other->reads.count; r++)
            if (!other->reads.items[r]->def)
                BASE_PUSH(p->scratch, &readers[other->reads.items[r]->index].to, k);
        if (may_fail(other)) {
            add_edge(p, edges, k, n);
            fails = true;
        }
    }
    for (int i = 0; i < p->f->results.count; i++) {
        const ir_port *r = &p->f->results.items[i];
        if (r->bind != IR_STATE)
            continue;
        int writer = r->value->kernel->index;
        const ir_value *old = old_of(r, p->state_param);
        BUG_UNLESS(!may_fail(r->value->kernel));
        for (int k = 0; old && k < readers[old->index].to.count; k++)
            add_edge(p, edges, readers[old->index].to.items[k], writer);
        if (fails && is_kept(r))
            add_edge(p, edges, n, writer);
    }
}

/* The update of result i goes through a copy: its value goes to scratch first, and a kernel of its
 * own writes the state. */
static void detour(planning *p, int i)
{
    ir_port *r = &p->f->results.items[i];
    ir_builder b = ir_builder_new(p->f);
    b.phase = r->value->def->phase;
    b.loc = r->value->def->loc;
    ir_value *c = ir_unary(&b, IR_OP_copy, r->value);
    c->order = r->value->order;
    c->aux = NULL;
    ir_kernel *k = base_new(p->arena, ir_kernel);
    k->kind = IR_KERNEL_MAP;
    c->kernel = k;
    BASE_PUSH(p->arena, &k->outputs, c);
    BASE_PUSH(p->arena, &k->reads, r->value);
    r->value = c;
    BASE_PUSH(p->arena, &p->s->kernels, k);
}

/* Orders the kernels. An update goes through a copy if it cannot write straight over the state,
 * because its kernel still needs the old value or the order would be a cycle. */
static void order_kernels(planning *p)
{
    for (int i = 0; i < p->f->results.count; i++) {
        const ir_port *r = &p->f->results.items[i];
        const ir_value *old = old_of(r, p->state_param);
        if (old && !may_write_over(r->value->kernel, r->value, old, &p->stamp))
            detour(p, i);
    }
    for (int attempt = 0;; attempt++) {
        int n = p->s->kernels.count;
        edge_list *edges = data_edges(p);
        state_edges(p, edges);
        ir_kernel **order = base_array(p->scratch, ir_kernel *, n + 1);
        if (sort_kernels(p, edges, order) == n) {
            if (n)
                memcpy(p->s->kernels.items, order, (size_t)n * sizeof *order);
            break;
        }
        BUG_UNLESS(attempt == 0);
        for (int i = 0; i < p->f->results.count; i++)
            if (is_kept(&p->f->results.items[i]))
                detour(p, i);
    }
    for (int i = 0; i < p->s->kernels.count; i++)
        p->s->kernels.items[i]->index = i;
}

/* ---- Phases ---- */

static void cut_phases(planning *p)
{
    /* By parameter: 1 + the phase, so far. */
    int phase = 0, *last_reader = base_array(p->scratch, int, p->f->params.count + 1);
    p->s->checked_phase = -1;
    for (int i = 0; i < p->s->kernels.count; i++) {
        ir_kernel *k = p->s->kernels.items[i];
        int least = 0; /* the first phase in which everything that it needs is ready */
        for (int r = 0; r < k->reads.count; r++) {
            const ir_kernel *from = k->reads.items[r]->kernel;
            least = from && from->phase + 1 > least ? from->phase + 1 : least;
        }
        for (int r = 0; r < k->outputs.count; r++) {
            int port = port_of(p, k->outputs.items[r]);
            if (port < 0 || p->f->results.items[port].bind != IR_STATE)
                continue;
            const ir_value *old = old_of(&p->f->results.items[port], p->state_param);
            least = old && last_reader[old->index] > least ? last_reader[old->index] : least;
            least = is_kept(&p->f->results.items[port]) && p->s->checked_phase + 1 > least
                        ? p->s->checked_phase + 1
                        : least;
        }
        /* Loops and branches have barriers of their own. */
        bool alone = k->kind == IR_KERNEL_LOOP || k->kind == IR_KERNEL_BRANCH;
        bool after_alone = i > 0 && p->s->kernels.items[i - 1]->phase == phase &&
                           (p->s->kernels.items[i - 1]->kind == IR_KERNEL_LOOP ||
                            p->s->kernels.items[i - 1]->kind == IR_KERNEL_BRANCH);
        if (i > 0 && (least > phase || alone || after_alone))
            phase++;
        k->phase = phase;
        for (int r = 0; r < k->reads.count; r++)
            if (!k->reads.items[r]->def)
                last_reader[k->reads.items[r]->index] = phase + 1;
        if (may_fail(k))
            p->s->checked_phase = phase;
    }
    p->s->phases = p->s->kernels.count ? phase + 1 : 0;
}

/* ---- Memory ---- */

static span *new_span(planning *p, int first, int last, int64_t bytes)
{
    span *s = base_new(p->scratch, span);
    *s = (span){.first = first, .last = last};
    if (!base_size_align(bytes ? bytes : 1, PLAN_ALIGN, &s->bytes))
        base_throw(p->f->module->ctx, NULL, "the scratch memory is too large");
    BASE_PUSH(p->scratch, &p->spans, s);
    return s;
}

static void lifetimes(planning *p)
{
    for (int i = 0; i < p->s->kernels.count; i++) {
        ir_kernel *k = p->s->kernels.items[i];
        for (int r = 0; r < k->reads.count; r++) {
            span *s = p->span_of[k->reads.items[r]->id];
            int *readers = &p->readers[k->reads.items[r]->id];
            *readers = s && s->last == k->phase ? *readers + 1 : 1;
            if (s)
                s->last = k->phase;
        }
        for (int r = 0; r < k->outputs.count; r++) {
            ir_value *v = k->outputs.items[r];
            int port = port_of(p, v);
            if (port >= 0) {
                v->place = IR_AT_RESULT;
                v->offset = port;
                v->shift = 0;
                continue;
            }
            span *s = new_span(p, k->phase, k->phase, ir_bytes(&v->type));
            s->value = v;
            p->span_of[v->id] = s;
        }
    }
}

/* The span whose storage s shares in the end; shortens the path there. */
static span *host_of(span *s)
{
    span *output = s;
    while (output->host)
        output = output->host;
    for (span *next; s != output; s = next) {
        next = s->host;
        s->host = output;
    }
    return output;
}

/* Computes outputs in place of operands that die with them. */
static void in_place(planning *p)
{
    for (int i = 0; i < p->s->kernels.count; i++) {
        ir_kernel *k = p->s->kernels.items[i];
        bool used[64] = {false};
        for (int r = 0; r < k->outputs.count; r++) {
            ir_value *v = k->outputs.items[r];
            span *s = p->span_of[v->id];
            for (int o = 0; s && !s->host && o < k->reads.count && o < 64; o++) {
                ir_value *from = k->reads.items[o];
                span *t = p->span_of[from->id];
                if (!t || used[o] || t->last != k->phase || t->first == k->phase ||
                    ir_bytes(&from->type) != ir_bytes(&v->type) ||
                    ir_dtypes[from->type.dtype].bytes != ir_dtypes[v->type.dtype].bytes ||
                    !ir_same_storage(v, from) || host_of(t)->last != t->last ||
                    p->readers[from->id] != 1 || !reads_only_in_place(k, from, &p->stamp))
                    continue;
                used[o] = true;
                s->host = t;
                span *h = host_of(t);
                h->last = s->last > h->last ? s->last : h->last;
            }
        }
    }
}

/* The scratch of loops, branches and standalone kernels, beside their operands and results. */
static void kernel_scratch(planning *p)
{
    for (int i = 0; i < p->s->kernels.count; i++) {
        ir_kernel *k = p->s->kernels.items[i];
        int64_t inner = 0;
        ir_func *called[2];
        if (k->kind == IR_KERNEL_STANDALONE && ir_standalone_scratch(k->anchor))
            new_span(p, k->phase, k->phase, ir_standalone_scratch(k->anchor))->place =
                &k->scratch_at;
        if (k->kind != IR_KERNEL_LOOP && k->kind != IR_KERNEL_BRANCH)
            continue;
        for (int c = 0, n = ir_called(k->anchor, called, 2); c < n; c++)
            inner = called[c]->plan->scratch > inner ? called[c]->plan->scratch : inner;
        new_span(p, k->phase, k->phase, inner)->place = &k->scratch_at;
        if (k->kind == IR_KERNEL_BRANCH)
            continue;
        int carries = k->anchor->op == IR_OP_scan ? (int)IR_ATTR(k->anchor, scan)->carries
                                                  : k->anchor->nresults;
        /* The last holds two flags. */
        k->second_buffer = base_array(p->arena, int64_t, carries + 1);
        for (int c = 0; c <= carries; c++)
            new_span(p, k->phase, k->phase, c < carries ? ir_bytes(&k->anchor->result[c]->type) : 2)
                ->place = &k->second_buffer[c];
    }
}

static int larger_first(const void *x, const void *y)
{
    const span *s = *(span *const *)x, *t = *(span *const *)y;
    if (s->bytes != t->bytes)
        return s->bytes < t->bytes ? 1 : -1;
    return s->first != t->first ? (s->first < t->first ? -1 : 1) : 0;
}

static int lower_first(const void *x, const void *y)
{
    const span *s = *(span *const *)x, *t = *(span *const *)y;
    return s->offset != t->offset ? (s->offset < t->offset ? -1 : 1) : 0;
}

static void assign(planning *p)
{
    int n = 0, placed = 0;
    span **all = base_array(p->scratch, span *, p->spans.count + 1),
         **lie = base_array(p->scratch, span *, p->spans.count + 1);
    for (int i = 0; i < p->spans.count; i++)
        if (!p->spans.items[i]->host)
            all[n++] = p->spans.items[i];
    qsort(all, (size_t)n, sizeof *all, larger_first);
    for (int i = 0; i < n; i++) {
        span *s = all[i];
        int64_t at = 0, end;
        /* By offset: the first gap among spans that are live with it. */
        for (int j = 0; j < placed; j++) {
            if (lie[j]->last < s->first || lie[j]->first > s->last)
                continue;
            if (lie[j]->offset - at >= s->bytes)
                break;
            end = lie[j]->offset + lie[j]->bytes;
            at = end > at ? end : at;
        }
        s->offset = at;
        if (!base_size_add(at, s->bytes, &end) || end > IR_MAX_TENSOR_BYTES)
            base_throw(p->f->module->ctx, NULL, "the scratch memory is too large");
        p->s->scratch = end > p->s->scratch ? end : p->s->scratch;
        lie[placed++] = s;
        for (int j = placed - 1; j > 0 && lower_first(&lie[j - 1], &lie[j]) > 0; j--) {
            span *swap = lie[j];
            lie[j] = lie[j - 1];
            lie[j - 1] = swap;
        }
    }
    for (int i = 0; i < p->spans.count; i++) {
        span *s = p->spans.items[i];
        if (s->value) {
            s->value->place = IR_SCRATCH;
            s->value->offset = host_of(s)->offset;
            s->value->shift = 0;
        } else {
            *s->place = s->offset;
        }
    }
}

void pass_plan(ir_func *f)
{
    planning p = {
        .f = f, .s = f->plan, .arena = f->module->arena, .scratch = base_arena_new(f->module->ctx)};
    if (!p.s)
        BUG("@%s has no kernels", f->name);
    clear_aux(f);
    p.state_param = state_params(f, p.scratch);
    order_kernels(&p);
    p.values = ir_number(f); /* including those of detours */
    p.wanted = base_array(p.scratch, uint64_t, p.values + 1);
    find_wanted(&p);
    find_ports(&p);
    p.span_of = base_array(p.scratch, span *, p.values + 1);
    p.readers = base_array(p.scratch, int, p.values + 1);
    cut_phases(&p);
    lifetimes(&p);
    in_place(&p);
    kernel_scratch(&p);
    assign(&p);
    for (int i = 0; i < p.s->kernels.count; i++)
        p.s->cost = ir_cost_plus(p.s->cost, ir_cost_of_kernel(p.scratch, p.s->kernels.items[i]), 1);
    base_arena_free(p.scratch);
    plan_verify(f);
}

/* ---- Proof ---- */

/* Which value is where in scratch, kernel after kernel: a tree over the pieces between all offsets
 * where a value begins or ends. Node 1 is all, 2i and 2i + 1 are the halves of node i. */
typedef struct ground {
    const ir_func *f;
    const int *last;        /* by value id: the last phase that needs it */
    uintptr_t stamp;
    int64_t *edge;          /* where pieces begin, ascending; then where the last ends */
    int pieces;
    /* By node: the last value written to all of it; NULL: values differ, or there is none. */
    const ir_value **owner;
    int *latest;            /* by node: the last phase that needs something in it, or -1 */
} ground;

static int ascending(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static ground ground_new(const ir_func *f, base_arena *scratch, const int *last)
{
    const ir_plan *s = f->plan;
    ground g = {.f = f, .last = last};
    int n = 0, unique = 0;
    for (int i = 0; i < s->kernels.count; i++)
        n += s->kernels.items[i]->outputs.count;
    g.edge = base_array(scratch, int64_t, 2 * n + 1);
    n = 0;
    for (int i = 0; i < s->kernels.count; i++)
        for (int r = 0; r < s->kernels.items[i]->outputs.count; r++) {
            const ir_value *v = s->kernels.items[i]->outputs.items[r];
            if (v->place != IR_SCRATCH)
                continue;
            g.edge[n++] = v->offset;
            g.edge[n++] = v->offset + ir_bytes(&v->type);
        }
    if (n)
        qsort(g.edge, (size_t)n, sizeof *g.edge, ascending);
    for (int i = 0; i < n; i++)
        if (!unique || g.edge[unique - 1] != g.edge[i])
            g.edge[unique++] = g.edge[i];
    g.pieces = unique > 1 ? unique - 1 : 0;
    g.owner = base_array(scratch, const ir_value *, 4 * g.pieces + 4);
    g.latest = base_array(scratch, int, 4 * g.pieces + 4);
    for (int i = 0; i < 4 * g.pieces + 4; i++)
        g.latest[i] = -1;
    return g;
}

/* v is written over x: x is dead, or the kernel that writes v reads each element of x first. */
static void verify_over(ground *g, const ir_value *x, const ir_value *v)
{
    int last = g->last[x->id], phase = v->kernel->phase;
    if (last < phase || (last == phase && x->kernel->phase < phase && x->offset == v->offset &&
                         reads(v->kernel, x) && reads_only_in_place(v->kernel, x, &g->stamp)))
        return;
    BUG("@%s: two values share scratch while both are live (phases %d-%d and %d-%d)", g->f->name,
        x->kernel->phase, last, phase, g->last[v->id]);
}

/* Writes v to its part of a node, the pieces from `from` to `to`. */
static void write(ground *g, int node, int from, int to, const ir_value *v)
{
    int64_t begin = v->offset, end = v->offset + ir_bytes(&v->type);
    if (end <= g->edge[from] || begin >= g->edge[to])
        return;
    bool whole = begin <= g->edge[from] && end >= g->edge[to];
    if (whole && (g->owner[node] || g->latest[node] < v->kernel->phase)) {
        if (g->owner[node])
            verify_over(g, g->owner[node], v);
    } else {
        int middle = from + (to - from) / 2, half[2] = {2 * node, 2 * node + 1};
        for (int h = 0; h < 2 && to - from > 1; h++) {
            if (g->owner[node]) {
                g->owner[half[h]] = g->owner[node];
                g->latest[half[h]] = g->latest[node];
            }
            write(g, half[h], h ? middle : from, h ? to : middle, v);
        }
        if (!whole) {
            g->owner[node] = NULL;
            g->latest[node] = g->latest[half[g->latest[half[1]] > g->latest[half[0]]]];
            return;
        }
    }
    g->owner[node] = v;
    g->latest[node] = g->last[v->id];
}

static void verify_scratch(const ir_func *f, base_arena *scratch, const int *last)
{
    ground g = ground_new(f, scratch, last);
    for (int i = 0; i < f->plan->kernels.count; i++) {
        const ir_kernel *k = f->plan->kernels.items[i];
        for (int r = 0; r < k->outputs.count && g.pieces; r++)
            if (k->outputs.items[r]->place == IR_SCRATCH)
                write(&g, 1, 0, g.pieces, k->outputs.items[r]);
    }
}

/* States are written after their last reader, and after the last check. */
static void verify_states(const ir_func *f, base_arena *scratch, const int *last)
{
    ir_value **param = state_params(f, scratch);
    for (int i = 0; i < f->results.count; i++) {
        const ir_port *r = &f->results.items[i];
        const ir_value *old = old_of(r, param);
        if (old && last[old->id] > r->value->kernel->phase)
            BUG("@%s: state `%s` is written before its last read", f->name, r->state->name);
        if (is_kept(r) && r->value->kernel->phase <= f->plan->checked_phase && f->entry)
            BUG("@%s: state `%s` is written before the last check", f->name, r->state->name);
    }
}

void plan_verify(const ir_func *f)
{
    const ir_plan *s = f->plan;
    base_arena *scratch = base_arena_new(f->module->ctx);
    int *last = base_array(scratch, int, ir_number((ir_func *)f) + 1);
    clear_aux(f);
    for (int i = 0; i < s->kernels.count; i++) {
        const ir_kernel *k = s->kernels.items[i];
        if (i && k->phase < s->kernels.items[i - 1]->phase)
            BUG("@%s: kernel %d has an earlier phase than the kernel before it", f->name, i);
        for (int r = 0; r < k->outputs.count; r++) {
            last[k->outputs.items[r]->id] = k->phase;
            if (k->outputs.items[r]->place != IR_SCRATCH &&
                k->outputs.items[r]->place != IR_AT_RESULT)
                BUG("@%s: an output of kernel %d has no place", f->name, i);
        }
        for (int r = 0; r < k->reads.count; r++) {
            const ir_value *v = k->reads.items[r];
            if (v->kernel && v->kernel->phase >= k->phase)
                BUG("@%s: kernel %d reads a value written in its own phase or later", f->name, i);
            last[v->id] = k->phase;
        }
    }
    verify_scratch(f, scratch, last);
    verify_states(f, scratch, last);
    base_arena_free(scratch);
}
