/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Entries: a planned function becomes one LLVM function that every worker runs. It calls the
 * kernels phase by phase, and each worker does its share of their tasks; between phases is a
 * barrier. Loops and branches become control flow around the kernels of the functions that they
 * call. A long list of kernels is cut into parts, functions of their own: LLVM's time grows faster
 * than the size of a function. */
#include "codegen/backend.h"
#include "base/map.h"

#include <string.h>

/* Storage: a pointer of the function being emitted, and an offset in bytes. */
typedef struct storage {
    LLVMValueRef base;
    int64_t offset;
} storage;

/* The pointers of the outer function, from which a part was cut: the outer function stores them in
 * an array, from which the part loads those that it needs. */
typedef struct bridge {
    base_map number;      /* of an outer pointer, + 1 */
    LLVMValueRef array;   /* in the part */
    LLVMValueRef *loaded; /* in the part, by number */
    LLVMValueRef end;     /* of the block in which they are loaded */
} bridge;

/* A function whose kernels are being called: where its parameters, results and scratch are. */
typedef struct frame {
    const ir_func *f;
    storage *param, *result;
    storage scratch;
    bool guarded; /* kernels whose outputs are not wanted are skipped */
    int checks;   /* number of its first index check in the entry */
    bridge *bridge; /* in a part: gives its pointers for those above; else NULL */
} frame;

typedef struct program {
    cg_unit *u;
    LLVMValueRef function, worker, slot, wanted, id;
    LLVMBasicBlockRef leave;
} program;

static const cg_backend *backend(const program *p)
{
    return p->u->target->system->backend;
}

static LLVMBasicBlockRef block(program *p)
{
    return LLVMAppendBasicBlockInContext(p->u->ll, p->function, "");
}

/* ---- Storage ---- */

/* Bytes of a constant in the order of its storage. */
static const void *ordered(cg_unit *u, const ir_value *v, const ir_literal *l)
{
    if (!v->order.n)
        return l->data;
    int64_t stride[IR_MAX_RANK], plain[IR_MAX_RANK], size = ir_dtypes[l->type.dtype].bytes,
                                                     n = ir_count(&l->type);
    char *to = base_alloc(u->arena, (size_t)(n * size));
    ir_storage_strides(v, stride);
    ir_strides(&l->type, plain);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0;
        for (int d = 0; d < l->type.rank; d++)
            at += i / plain[d] % l->type.dim[d] * stride[d];
        memcpy(to + at * size, (const char *)l->data + i * size, (size_t)size);
    }
    return to;
}

/* Storage of the frame, with a pointer of the function being emitted. */
static storage here(program *p, const frame *f, storage s)
{
    bridge *x = f->bridge;
    if (!x || LLVMIsConstant(s.base))
        return s;
    cg_unit *u = p->u;
    intptr_t number = (intptr_t)base_map_get_ptr(&x->number, s.base) - 1;
    if (!x->loaded[number]) {
        LLVMBasicBlockRef now = LLVMGetInsertBlock(u->b);
        LLVMPositionBuilderBefore(u->b, x->end);
        x->loaded[number] = LLVMBuildLoad2(u->b, u->ptr, cg_pointer_at(u, x->array, number), "");
        LLVMPositionBuilderAtEnd(u->b, now);
    }
    return (storage){x->loaded[number], s.offset};
}

static storage scratch_of(program *p, const frame *f)
{
    return here(p, f, f->scratch);
}

static storage storage_of(program *p, const frame *f, const ir_value *v)
{
    storage s;
    if (!v->def)
        return here(p, f, f->param[v->index]);
    if (v->def->op == IR_OP_constant && !v->kernel) {
        const ir_literal *l = IR_ATTR(v->def, constant)->value;
        return (storage){cg_data_of(p->u, ordered(p->u, v, l), (size_t)ir_bytes(&l->type)), 0};
    }
    switch (v->place) {
    case IR_SCRATCH:
        s = scratch_of(p, f);
        s.offset += v->offset + v->shift;
        return s;
    case IR_AT_PARAM:
        s = here(p, f, f->param[v->offset]);
        break;
    case IR_AT_RESULT:
        s = here(p, f, f->result[v->offset]);
        break;
    default:
        BUG("a value of %s has no place", ir_ops[v->def->op].name);
    }
    s.offset += v->shift;
    return s;
}

static LLVMValueRef pointer(program *p, storage s)
{
    return s.offset ? cg_gep(p->u, s.base, cg_i64(p->u, s.offset)) : s.base;
}

typedef struct where {
    program *p;
    const frame *f;
} where;

static bool same_storage(void *user, const ir_value *x, const ir_value *y)
{
    where *w = user;
    storage s = storage_of(w->p, w->f, x), t = storage_of(w->p, w->f, y);
    return s.base == t.base && s.offset == t.offset;
}

static LLVMValueRef is_first(program *p)
{
    return LLVMBuildICmp(p->u->b, LLVMIntEQ, p->id, cg_i64(p->u, 0), "");
}

/* ---- Kernels ---- */

static void call_kernel(program *p, const frame *f, const ir_kernel *k)
{
    cg_unit *u = p->u;
    ir_kernel numbered = *k; /* checks are numbered across the functions of an entry */
    numbered.check += f->checks;
    where w = {p, f};
    cg_call call =
        cg_kernel_function(u, k->kind == IR_KERNEL_CHECK ? &numbered : k, same_storage, &w);
    if (!call.tasks)
        return;
    LLVMValueRef *arg = base_array(u->arena, LLVMValueRef, call.nargs + 2);
    arg[0] = p->worker;
    for (int i = 0; i < call.nargs; i++)
        arg[i + 1] = pointer(p, storage_of(p, f, call.arg[i]));
    if (call.scratch) {
        storage own = scratch_of(p, f);
        own.offset += k->scratch_at;
        arg[call.nargs + 1] = pointer(p, own);
    }
    if (call.extent)
        arg[call.nargs + 1] = cg_i64(u, call.extent);
    LLVMValueRef begin = u->profile ? cg_profile_begin(u) : NULL;
    backend(p)->launch(u, &call, arg, call.nargs + (call.scratch || call.extent ? 2 : 1));
    if (begin)
        cg_profile_end(u, begin, cg_profile_place(u, k), is_first(p));
}

static void barrier(program *p)
{
    cg_unit *u = p->u;
    LLVMValueRef begin = u->profile ? cg_profile_begin(u) : NULL;
    backend(p)->barrier(u, p->worker);
    if (begin)
        cg_profile_end(u, begin, cg_profile_place(u, NULL), is_first(p));
}

static void leave_if_failed(program *p)
{
    cg_unit *u = p->u;
    LLVMValueRef failed = backend(p)->failed(u, p->worker);
    LLVMBasicBlockRef next = block(p);
    LLVMBuildCondBr(u->b, failed, p->leave, next);
    LLVMPositionBuilderAtEnd(u->b, next);
}

static void run(program *p, const frame *f);

/* Appends the function's checks to the entry's; returns the number of the first. */
static int add_checks(program *p, const ir_func *f)
{
    cg_unit *u = p->u;
    int first = u->checks.count;
    for (int i = 0; f->plan && i < f->plan->checks.count; i++)
        BASE_PUSH(u->arena, &u->checks, f->plan->checks.items[i]);
    return first;
}

/* A frame for a function that kernel k runs; the caller sets parameters and results. */
static frame frame_of(program *p, const frame *outer, const ir_kernel *k, const ir_func *f)
{
    frame inner = {.f = f, .scratch = scratch_of(p, outer)};
    inner.scratch.offset += k->scratch_at;
    inner.checks = add_checks(p, f);
    inner.param = base_array(p->u->arena, storage, f->params.count + 1);
    inner.result = base_array(p->u->arena, storage, f->results.count + 1);
    return inner;
}

/* ---- Branches ---- */

static LLVMValueRef load_flag(program *p, storage s)
{
    cg_unit *u = p->u;
    LLVMValueRef v = LLVMBuildLoad2(u->b, u->i8, pointer(p, s), "");
    return LLVMBuildICmp(u->b, LLVMIntNE, v, LLVMConstNull(u->i8), "");
}

static void run_branch(program *p, const frame *f, const ir_kernel *k)
{
    cg_unit *u = p->u;
    const ir_inst *cond = k->anchor;
    LLVMBasicBlockRef side[2] = {block(p), block(p)}, done = block(p);
    LLVMBuildCondBr(u->b, load_flag(p, storage_of(p, f, cond->operand[0])), side[0], side[1]);
    const ir_func *bodies[2] = {IR_ATTR(cond, cond)->then_body, IR_ATTR(cond, cond)->else_body};
    for (int s = 0; s < 2; s++) {
        LLVMPositionBuilderAtEnd(u->b, side[s]);
        frame inner = frame_of(p, f, k, bodies[s]);
        for (int i = 1; i < cond->noperands; i++)
            inner.param[i - 1] = storage_of(p, f, cond->operand[i]);
        for (int i = 0; i < cond->nresults; i++)
            inner.result[i] = storage_of(p, f, cond->result[i]);
        run(p, &inner);
        LLVMBuildBr(u->b, done);
    }
    LLVMPositionBuilderAtEnd(u->b, done);
}

/* ---- Loops ---- */

/* Shared by scan and while_loop: carried values, which are double-buffered, an iteration count and
 * a flag. */
typedef struct loop {
    const ir_kernel *k;
    int consts, carries;
    LLVMValueRef t;       /* i64: iterations done */
    LLVMValueRef *now;    /* pointers of the carried values, phis */
    LLVMValueRef *to;     /* where this iteration writes them */
    LLVMBasicBlockRef head, body, done;
} loop;

static void open_loop(program *p, const frame *f, loop *l)
{
    cg_unit *u = p->u;
    const ir_inst *inst = l->k->anchor;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(u->b);
    LLVMValueRef *start = base_array(u->arena, LLVMValueRef, l->carries + 1), zero = cg_i64(u, 0);
    l->now = base_array(u->arena, LLVMValueRef, l->carries + 1);
    l->to = base_array(u->arena, LLVMValueRef, l->carries + 1);
    for (int i = 0; i < l->carries; i++)
        start[i] = pointer(p, storage_of(p, f, inst->operand[l->consts + i]));
    l->head = block(p);
    l->body = block(p);
    l->done = block(p);
    LLVMBuildBr(u->b, l->head);
    LLVMPositionBuilderAtEnd(u->b, l->head);
    l->t = LLVMBuildPhi(u->b, u->i64, "");
    LLVMAddIncoming(l->t, &zero, &before, 1);
    for (int i = 0; i < l->carries; i++) {
        l->now[i] = LLVMBuildPhi(u->b, u->ptr, "");
        LLVMAddIncoming(l->now[i], &start[i], &before, 1);
    }
}

/* In the body: each carried value is written to the buffer that this iteration does not read. */
static void choose_buffers(program *p, const frame *f, loop *l)
{
    cg_unit *u = p->u;
    for (int i = 0; i < l->carries; i++) {
        storage spare = scratch_of(p, f);
        spare.offset += l->k->second_buffer[i];
        LLVMValueRef result = pointer(p, storage_of(p, f, l->k->anchor->result[i])),
                     other = pointer(p, spare);
        l->to[i] = LLVMBuildSelect(u->b, LLVMBuildICmp(u->b, LLVMIntEQ, l->now[i], result, ""),
                                   other, result, "");
    }
}

static void close_loop(program *p, loop *l)
{
    cg_unit *u = p->u;
    barrier(p);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(u->b);
    LLVMValueRef next = LLVMBuildAdd(u->b, l->t, cg_i64(u, 1), "");
    LLVMBuildBr(u->b, l->head);
    LLVMAddIncoming(l->t, &next, &latch, 1);
    for (int i = 0; i < l->carries; i++)
        LLVMAddIncoming(l->now[i], &l->to[i], &latch, 1);
    LLVMPositionBuilderAtEnd(u->b, l->done);
}

/* Runs the code that follows on the first worker alone, up to end_alone. */
static LLVMBasicBlockRef begin_alone(program *p, LLVMValueRef condition)
{
    cg_unit *u = p->u;
    LLVMBasicBlockRef then = block(p), next = block(p);
    LLVMValueRef first = is_first(p);
    LLVMBuildCondBr(u->b, condition ? LLVMBuildAnd(u->b, first, condition, "") : first, then, next);
    LLVMPositionBuilderAtEnd(u->b, then);
    return next;
}

static void end_alone(program *p, LLVMBasicBlockRef next)
{
    LLVMBuildBr(p->u->b, next);
    LLVMPositionBuilderAtEnd(p->u->b, next);
}

/* After the loop: copies results whose final value is in another buffer. */
static void settle_carries(program *p, const frame *f, loop *l)
{
    cg_unit *u = p->u;
    for (int i = 0; i < l->carries; i++) {
        const ir_value *r = l->k->anchor->result[i];
        LLVMValueRef to = pointer(p, storage_of(p, f, r));
        LLVMBasicBlockRef next = begin_alone(p, LLVMBuildICmp(u->b, LLVMIntNE, l->now[i], to, ""));
        LLVMBuildMemCpy(u->b, to, 1, l->now[i], 1, cg_word(u, ir_bytes(&r->type)));
        end_alone(p, next);
    }
}

static storage slice(program *p, storage s, LLVMValueRef number, int64_t size)
{
    return (storage){
        cg_gep(p->u, pointer(p, s), LLVMBuildMul(p->u->b, number, cg_i64(p->u, size), "")), 0};
}

/* The flag that iteration t reads. Flags are double-buffered: a worker may still read one while
 * another is in the body and writes the next. */
static storage flag_of(program *p, const frame *f, const ir_kernel *k, int carries, LLVMValueRef t)
{
    storage flags = scratch_of(p, f);
    flags.offset += k->second_buffer[carries];
    return slice(p, flags, LLVMBuildAnd(p->u->b, t, cg_i64(p->u, 1), ""), 1);
}

static void run_scan(program *p, const frame *f, const ir_kernel *k)
{
    cg_unit *u = p->u;
    const ir_inst *scan = k->anchor;
    const struct ir_attrs_scan *a = IR_ATTR(scan, scan);
    const ir_func *body = a->body;
    int live = a->live != 0, ys = scan->nresults - 1, fixed = (int)(a->consts + a->carries);
    loop l = {.k = k, .consts = (int)a->consts, .carries = (int)a->carries};
    open_loop(p, f, &l);
    LLVMValueRef more = LLVMBuildICmp(u->b, LLVMIntSLT, l.t, cg_i64(u, a->length), "");
    if (live) { /* the flag is the operand for the first iteration, then the body's result */
        LLVMValueRef from =
            LLVMBuildSelect(u->b, LLVMBuildICmp(u->b, LLVMIntEQ, l.t, cg_i64(u, 0), ""),
                            pointer(p, storage_of(p, f, scan->operand[scan->noperands - 1])),
                            pointer(p, flag_of(p, f, k, l.carries, l.t)), "");
        more = LLVMBuildAnd(u->b, more, load_flag(p, (storage){from, 0}), "");
    }
    LLVMBuildCondBr(u->b, more, l.body, l.done);
    LLVMPositionBuilderAtEnd(u->b, l.body);
    choose_buffers(p, f, &l);
    LLVMValueRef number = a->reverse ? LLVMBuildSub(u->b, cg_i64(u, a->length - 1), l.t, "") : l.t;
    frame inner = frame_of(p, f, k, body);
    for (int i = 0; i < body->params.count; i++) {
        storage s = storage_of(p, f, scan->operand[i]);
        inner.param[i] = i < l.consts ? s
                         : i < fixed
                             ? (storage){l.now[i - l.consts], 0}
                             : slice(p, s, number, ir_bytes(&body->params.items[i].value->type));
    }
    for (int i = 0; i < ys; i++)
        inner.result[i] = i < l.carries ? (storage){l.to[i], 0}
                                        : slice(p, storage_of(p, f, scan->result[i]), number,
                                                ir_bytes(&body->results.items[i].value->type));
    if (live)
        inner.result[ys] = flag_of(p, f, k, l.carries, LLVMBuildAdd(u->b, l.t, cg_i64(u, 1), ""));
    run(p, &inner);
    close_loop(p, &l);
    settle_carries(p, f, &l);
    LLVMBasicBlockRef next = begin_alone(p, NULL);
    LLVMBuildStore(u->b, l.t, pointer(p, storage_of(p, f, scan->result[ys])));
    for (int i = l.carries; live && i < ys; i++) { /* slices of iterations that did not run are 0 */
        int64_t size = ir_bytes(&body->results.items[i].value->type);
        LLVMValueRef left = LLVMBuildSub(u->b, cg_i64(u, a->length), l.t, ""),
                     from = a->reverse ? cg_i64(u, 0) : l.t;
        LLVMBuildMemSet(u->b, pointer(p, slice(p, storage_of(p, f, scan->result[i]), from, size)),
                        LLVMConstNull(u->i8),
                        LLVMBuildIntCast2(u->b, LLVMBuildMul(u->b, left, cg_i64(u, size), ""),
                                          u->word, false, ""),
                        1);
    }
    end_alone(p, next);
}

static void run_while(program *p, const frame *f, const ir_kernel *k)
{
    cg_unit *u = p->u;
    const ir_inst *inst = k->anchor;
    const struct ir_attrs_while_loop *a = IR_ATTR(inst, while_loop);
    loop l = {.k = k, .consts = (int)a->consts, .carries = inst->nresults};
    storage go = scratch_of(p, f);
    go.offset += k->second_buffer[l.carries];
    open_loop(p, f, &l);
    LLVMBasicBlockRef test = block(p); /* not run after the last iteration: it may check an index */
    LLVMValueRef more = LLVMBuildICmp(u->b, LLVMIntSLT, l.t, cg_i64(u, a->limit), "");
    LLVMBuildCondBr(u->b, more, test, l.done);
    LLVMPositionBuilderAtEnd(u->b, test);
    const ir_func *functions[2] = {a->test, a->body};
    for (int step = 0; step < 2; step++) {
        frame inner = frame_of(p, f, k, functions[step]);
        if (step) {
            LLVMBuildCondBr(u->b, load_flag(p, go), l.body, l.done);
            LLVMPositionBuilderAtEnd(u->b, l.body);
            choose_buffers(p, f, &l);
        }
        for (int i = 0; i < inst->noperands; i++)
            inner.param[i] = i < l.consts ? storage_of(p, f, inst->operand[i])
                                          : (storage){l.now[i - l.consts], 0};
        for (int i = 0; i < functions[step]->results.count; i++)
            inner.result[i] = step ? (storage){l.to[i], 0} : go;
        run(p, &inner);
        if (!step)
            barrier(p);
    }
    close_loop(p, &l);
    settle_carries(p, f, &l);
}

/* ---- Lists of kernels ---- */

static void run_kernel(program *p, const frame *f, const ir_kernel *k)
{
    switch (k->kind) {
    case IR_KERNEL_LOOP:
        if (k->anchor->op == IR_OP_scan)
            run_scan(p, f, k);
        else
            run_while(p, f, k);
        break;
    case IR_KERNEL_BRANCH: run_branch(p, f, k); break;
    default: call_kernel(p, f, k);
    }
}

/* Kernels `from` … `to` - 1, and the barriers before them. */
static void run_some(program *p, const frame *f, int from, int to, uint64_t all)
{
    cg_unit *u = p->u;
    const ir_plan *s = f->f->plan;
    for (int i = from; i < to; i++) {
        const ir_kernel *k = s->kernels.items[i];
        int phase = i ? s->kernels.items[i - 1]->phase : 0;
        if (k->phase != phase) {
            barrier(p);
            if (phase <= s->checked_phase && k->phase > s->checked_phase)
                leave_if_failed(p);
        }
        bool guard = f->guarded && k->wanted != all && !(k->wanted >> 63);
        LLVMBasicBlockRef then, next = NULL;
        if (guard) {
            then = block(p);
            next = block(p);
            LLVMValueRef bits = LLVMBuildAnd(u->b, p->wanted, cg_i64(u, (int64_t)k->wanted), "");
            LLVMBuildCondBr(u->b, LLVMBuildICmp(u->b, LLVMIntNE, bits, cg_i64(u, 0), ""), then,
                            next);
            LLVMPositionBuilderAtEnd(u->b, then);
        }
        run_kernel(p, f, k);
        if (guard)
            end_alone(p, next);
    }
}

/* ---- Parts ---- */

enum { PART = 64 }; /* the most kernels in a part, and in a function that is not cut */

static int kernels_in(const ir_func *f);

/* How many kernels k adds to the function that runs it, including those of functions it calls. */
static int kernels_of(const ir_kernel *k)
{
    ir_func *called[2];
    int n = 1;
    for (int c = 0, calls = k->kind >= IR_KERNEL_LOOP ? ir_called(k->anchor, called, 2) : 0;
         c < calls; c++)
        n += kernels_in(called[c]);
    return n;
}

static int kernels_in(const ir_func *f)
{
    int n = 0;
    for (int i = 0; f->plan && i < f->plan->kernels.count && n <= PART; i++)
        n += kernels_of(f->plan->kernels.items[i]);
    return n <= PART ? n : 1; /* one that is cut is only calls of its parts */
}

static void add_plain_attributes(cg_unit *u, LLVMValueRef function)
{
    /* A long list of calls gains nothing from LLVM's passes, which would keep all its pointers live
     * and spill them. */
    static const char *const plain[] = {"noinline", "optnone"};
    for (int i = 0; i < 2; i++)
        LLVMAddAttributeAtIndex(
            function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
            LLVMCreateEnumAttribute(
                u->ll, LLVMGetEnumAttributeKindForName(plain[i], strlen(plain[i])), 0));
}

static void cross(bridge *x, LLVMValueRef base, LLVMValueRef *all, int *n)
{
    if (LLVMIsConstant(base) || base_map_get_ptr(&x->number, base))
        return;
    all[(*n)++] = base;
    base_map_put_ptr(&x->number, base, (void *)(intptr_t)*n); /* NOLINT: a number is what is kept */
}

/* Stores the pointers of the frame, each once, in an array on the stack of the function. */
static LLVMValueRef build_bridge(program *p, const frame *f, bridge *x)
{
    cg_unit *u = p->u;
    int n = 0, params = f->f->params.count, results = f->f->results.count;
    LLVMValueRef *all = base_array(u->arena, LLVMValueRef, params + results + 1);
    x->number = base_map_new(u->arena);
    cross(x, scratch_of(p, f).base, all, &n);
    for (int i = 0; i < params; i++)
        cross(x, here(p, f, f->param[i]).base, all, &n);
    for (int i = 0; i < results; i++)
        cross(x, here(p, f, f->result[i]).base, all, &n);
    LLVMBasicBlockRef now = LLVMGetInsertBlock(u->b), first = LLVMGetEntryBasicBlock(p->function);
    /* In the entry block: allocated once per call, not per iteration of a loop. */
    LLVMPositionBuilderBefore(u->b, LLVMGetFirstInstruction(first));
    LLVMValueRef array = LLVMBuildArrayAlloca(u->b, u->ptr, cg_i64(u, n + 1), "");
    LLVMPositionBuilderAtEnd(u->b, now);
    for (int i = 0; i < n; i++)
        LLVMBuildStore(u->b, all[i], cg_pointer_at(u, array, i));
    return array;
}

/* The function (worker, wanted, pointers) that runs some kernels of f; it returns not 0 if the call
 * has failed. */
static LLVMValueRef part_function(const program *outer, const frame *f, bridge *x, int from, int to,
                                  uint64_t all)
{
    cg_unit *u = outer->u;
    program p = *outer;
    frame inner = *f;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(u->b);
    LLVMMetadataRef place = cg_debug_enter(u, NULL);
    LLVMTypeRef param[3] = {u->ptr, u->i64, u->ptr};
    const char *symbol = base_format(u->arena, "%s_%s_part%d%s", u->prefix,
                                     u->entry ? u->entry : "entry", u->nparts_cut++, u->suffix);
    p.function = LLVMAddFunction(u->module, symbol, LLVMFunctionType(u->i32, param, 3, 0));
    LLVMSetLinkage(p.function, LLVMInternalLinkage);
    add_plain_attributes(u, p.function);
    cg_debug_function(u, p.function, f->f->name, f->f->first ? f->f->first->loc : NULL);
    LLVMBasicBlockRef first = block(&p), body = block(&p);
    p.leave = block(&p);
    p.worker = LLVMGetParam(p.function, 0);
    p.wanted = LLVMGetParam(p.function, 1);
    x->array = LLVMGetParam(p.function, 2);
    memset(x->loaded, 0,
           (size_t)(f->f->params.count + f->f->results.count + 1) * sizeof(LLVMValueRef));
    inner.bridge = x;
    LLVMPositionBuilderAtEnd(u->b, p.leave);
    LLVMBuildRet(u->b, LLVMConstInt(u->i32, 1, 0));
    LLVMPositionBuilderAtEnd(u->b, first);
    p.id = backend(&p)->worker_id(u, p.worker);
    x->end = LLVMBuildBr(u->b, body);
    LLVMPositionBuilderAtEnd(u->b, body);
    run_some(&p, &inner, from, to, all);
    LLVMBuildRet(u->b, LLVMConstNull(u->i32));
    LLVMPositionBuilderAtEnd(u->b, before);
    cg_debug_leave(u, place);
    return p.function;
}

static void run_in_parts(program *p, const frame *f, uint64_t all)
{
    cg_unit *u = p->u;
    const ir_plan *s = f->f->plan;
    bridge x = {
        .loaded = base_array(u->arena, LLVMValueRef, f->f->params.count + f->f->results.count + 1)};
    LLVMValueRef args[] = {p->worker, p->wanted, build_bridge(p, f, &x)};
    for (int from = 0, to; from < s->kernels.count; from = to) {
        int n = kernels_of(s->kernels.items[from]);
        for (to = from + 1;
             to < s->kernels.count && (n += kernels_of(s->kernels.items[to])) <= PART;)
            to++;
        LLVMValueRef part = part_function(p, f, &x, from, to, all);
        LLVMValueRef bad = LLVMBuildCall2(u->b, LLVMGlobalGetValueType(part), part, args, 3, "");
        LLVMBasicBlockRef next = block(p);
        LLVMBuildCondBr(u->b, LLVMBuildICmp(u->b, LLVMIntNE, bad, LLVMConstNull(u->i32), ""),
                        p->leave, next);
        LLVMPositionBuilderAtEnd(u->b, next);
    }
}

static void run(program *p, const frame *f)
{
    const ir_plan *s = f->f->plan;
    if (!s)
        BUG("@%s is not planned", f->f->name);
    uint64_t all = 0;
    int n = 0;
    for (int i = 0; i < s->kernels.count; i++) {
        all |= s->kernels.items[i]->wanted;
        n += n > PART ? 0 : kernels_of(s->kernels.items[i]);
    }
    if (n > PART && s->kernels.count > 1)
        run_in_parts(p, f, all);
    else
        run_some(p, f, 0, s->kernels.count, all);
}

/* Leaves at once if no result is wanted: so kernels that all results need have no guards. */
static void leave_if_unwanted(program *p, const ir_func *f)
{
    cg_unit *u = p->u;
    uint64_t all = 0;
    for (int i = 0; f->plan && i < f->plan->kernels.count; i++)
        all |= f->plan->kernels.items[i]->wanted;
    if (all >> 63)
        return;
    LLVMBasicBlockRef next = block(p);
    LLVMValueRef bits = LLVMBuildAnd(u->b, p->wanted, cg_i64(u, (int64_t)all), "");
    LLVMBuildCondBr(u->b, LLVMBuildICmp(u->b, LLVMIntNE, bits, cg_i64(u, 0), ""), next, p->leave);
    LLVMPositionBuilderAtEnd(u->b, next);
}

LLVMValueRef cg_emit_body(cg_unit *u, const ir_func *f, const char *symbol)
{
    program *p = base_new(u->arena, program);
    p->u = u;
    LLVMTypeRef param[3] = {u->ptr, u->ptr, u->i64};
    p->function = LLVMAddFunction(u->module, symbol, LLVMFunctionType(u->nothing, param, 3, 0));
    LLVMSetLinkage(p->function, LLVMInternalLinkage);
    add_plain_attributes(u, p->function);
    cg_debug_function(u, p->function, f->name, f->first ? f->first->loc : NULL);
    backend(p)->begin_entry(u);
    LLVMBasicBlockRef first = block(p);
    p->leave = block(p);
    LLVMPositionBuilderAtEnd(u->b, p->leave);
    LLVMBuildRetVoid(u->b);
    LLVMPositionBuilderAtEnd(u->b, first);
    p->worker = LLVMGetParam(p->function, 0);
    p->slot = LLVMGetParam(p->function, 1);
    p->wanted = LLVMGetParam(p->function, 2);
    p->id = backend(p)->worker_id(u, p->worker);
    u->checks.count = 0;
    frame top = {.f = f, .guarded = true, .checks = add_checks(p, f)};
    top.param = base_array(u->arena, storage, f->params.count + 1);
    top.result = base_array(u->arena, storage, f->results.count + 1);
    LLVMValueRef slots[2];
    for (int i = 0; i < 2; i++)
        slots[i] = LLVMBuildLoad2(u->b, u->ptr, cg_pointer_at(u, p->slot, i), "");
    top.scratch.base = slots[0];
    int port = 2;
    for (int i = 0; i < f->params.count + f->results.count; i++) {
        const ir_port *at =
            i < f->params.count ? &f->params.items[i] : &f->results.items[i - f->params.count];
        storage *s = i < f->params.count ? &top.param[i] : &top.result[i - f->params.count];
        *s =
            at->bind == IR_STATE
                ? (storage){slots[1], at->state->at}
                : (storage){LLVMBuildLoad2(u->b, u->ptr, cg_pointer_at(u, p->slot, port++), ""), 0};
    }
    leave_if_unwanted(p, f);
    run(p, &top);
    LLVMBuildBr(u->b, p->leave);
    cg_debug_leave(u, NULL);
    return p->function;
}
