/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Kernel functions: their storage arguments, their signature (identical kernels are emitted once), and the kernels that are
 * plain loops: maps and index checks. */
#include "codegen/emit.h"

#include <string.h>

/* ---- Storage that a kernel touches, and what makes two kernels the same ---- */

typedef struct bytes {
    char *items;
    int count, capacity;
} bytes;

typedef struct signature {
    cg_emitter *e;
    bytes text;
    IR_LIST(const ir_inst *) seen;
} signature;

static void put(signature *s, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        IR_PUSH(s->e->arena, &s->text, ((const char *)p)[i]);
}

static void put_int(signature *s, int64_t v)
{
    put(s, &v, sizeof v);
}

static void put_ints(signature *s, int n, const int64_t *v)
{
    put_int(s, n);
    put(s, v, (size_t)n * sizeof *v);
}

static void put_type(signature *s, const ir_value *v)
{
    put_int(s, v->type.dtype);
    put_ints(s, v->type.rank, v->type.dim);
    put_ints(s, v->order.n, v->order.v);
}

static void put_attrs(signature *s, const ir_inst *inst)
{
    const ir_op_info *info = &ir_ops[inst->op];
    for (int i = 0; i < info->nattrs; i++) {
        const void *at = (const char *)inst->attrs + info->attr[i].offset;
        switch (info->attr[i].kind) {
        case IR_ATTR_int: put(s, at, sizeof(int64_t)); break;
        case IR_ATTR_float: put(s, at, sizeof(double)); break;
        case IR_ATTR_ints: put_ints(s, ((const ir_ints *)at)->n, ((const ir_ints *)at)->v); break;
        case IR_ATTR_literal: {
            const ir_literal *l = *(ir_literal *const *)at;
            put_int(s, l->type.dtype);
            put(s, l->data, ir_count(&l->type) ? (size_t)ir_dtypes[l->type.dtype].bytes : 0); /* immediates only: one element tells */
            break;
        }
        case IR_ATTR_func: put(s, at, sizeof(void *)); break;
        default: put(s, at, sizeof(int)); break;
        }
    }
}

static bool is_leaf(const cg_emitter *e, const ir_value *v)
{
    if (!v->def || (v->kernel && v->kernel != e->kernel))
        return true;
    return v->def->op == IR_OP_constant && !ir_is_immediate(v);
}

static int leaf_number(cg_emitter *e, const ir_value *v)
{
    for (int i = 0; i < e->leaf.count; i++)
        if (e->leaf.items[i] == v)
            return i;
    IR_PUSH(e->arena, &e->leaf, v);
    return e->leaf.count - 1;
}

static void walk(signature *s, const ir_value *v)
{
    cg_emitter *e = s->e;
    if (is_leaf(e, v)) {
        put_int(s, -1);
        put_int(s, leaf_number(e, v));
        put_type(s, v);
        return;
    }
    put_int(s, v->index);
    for (int i = 0; i < s->seen.count; i++)
        if (s->seen.items[i] == v->def) {
            put_int(s, -2);
            put_int(s, i);
            return;
        }
    IR_PUSH(e->arena, &s->seen, v->def);
    put_int(s, v->def->op);
    put_attrs(s, v->def);
    put_type(s, v);
    for (int i = 0; i < v->def->noperands; i++)
        walk(s, v->def->operand[i]);
}

static void write_signature(signature *s)
{
    const ir_kernel *k = s->e->kernel;
    put_int(s, k->kind);
    put_int(s, k->roots.count);
    for (int i = 0; i < k->roots.count; i++) {
        leaf_number(s->e, k->roots.items[i]);
        put_type(s, k->roots.items[i]);
    }
    for (int i = 0; i < k->roots.count; i++)
        walk(s, k->roots.items[i]);
    if (k->core) {
        put_int(s, k->core->op);
        put_int(s, k->check);
        if (!k->roots.count)
            put_type(s, k->core->operand[0]);
        for (int i = k->roots.count ? 0 : 1; i < k->core->noperands; i++)
            walk(s, k->core->operand[i]);
        put_attrs(s, k->core);
    }
}

/* ---- Functions ---- */

typedef struct known_kernel {
    struct known_kernel *next;
    const bytes *text;
    cg_call call;
    const int *leaf_of_arg;
} known_kernel;
struct cg_kernels {
    known_kernel *first;
};

static void add_attributes(cg_unit *u, LLVMValueRef f)
{
    const struct { const char *name, *value; } texts[] = {
        {"target-cpu", u->target->cpu},
        {"target-features", u->target->features},
        {"prefer-vector-width", u->target->vector_bytes == 64 ? "512" : "256"},
        {"min-legal-vector-width", u->target->vector_bytes == 64 ? "512" : "256"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        LLVMAddAttributeAtIndex(f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                                LLVMCreateStringAttribute(u->ll, texts[i].name, (unsigned)strlen(texts[i].name), texts[i].value,
                                                          (unsigned)strlen(texts[i].value)));
    LLVMAddAttributeAtIndex(f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(u->ll, LLVMGetEnumAttributeKindForName("nounwind", 8), 0));
}

/* The object's function (worker, tasks) -> {lo, hi}: a worker's share of a kernel's tasks. A single task is the first worker's. */
static LLVMValueRef share_function(cg_unit *u)
{
    const char *symbol = ir_format(u->arena, "%s_share%s", u->prefix, u->suffix);
    LLVMValueRef f = LLVMGetNamedFunction(u->module, symbol), bound[2];
    if (f)
        return f;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(u->b);
    LLVMMetadataRef place = cg_debug_enter(u, NULL);
    LLVMTypeRef param[] = {u->ptr, u->i64}, pair[] = {u->i64, u->i64};
    f = LLVMAddFunction(u->module, symbol, LLVMFunctionType(LLVMStructTypeInContext(u->ll, pair, 2, 0), param, 2, 0));
    LLVMSetLinkage(f, LLVMInternalLinkage);
    add_attributes(u, f);
    LLVMPositionBuilderAtEnd(u->b, LLVMAppendBasicBlockInContext(u->ll, f, ""));
    LLVMValueRef id = cg_worker_word(u, LLVMGetParam(f, 0), CG_WORKER_ID), threads = cg_worker_word(u, LLVMGetParam(f, 0), CG_WORKER_THREADS);
    LLVMValueRef up = LLVMBuildSub(u->b, threads, cg_i64(u, 1), "");
    for (int i = 0; i < 2; i++) {
        LLVMValueRef number = LLVMBuildAdd(u->b, id, cg_i64(u, i), "");
        bound[i] = LLVMBuildUDiv(u->b, LLVMBuildAdd(u->b, LLVMBuildMul(u->b, LLVMGetParam(f, 1), number, ""), up, ""), threads, "");
    }
    LLVMBuildAggregateRet(u->b, bound, 2);
    LLVMPositionBuilderAtEnd(u->b, before);
    cg_debug_leave(u, place);
    return f;
}

/* Declared in the unit, if it is defined in a part of it. */
static void declare(cg_unit *u, cg_call *call, const char *symbol, const cg_unit *part)
{
    if (part == u)
        return;
    int n = call->nargs + (call->scratch ? 2 : 1);
    LLVMTypeRef *param = ir_array(u->arena, LLVMTypeRef, n);
    for (int i = 0; i < n; i++)
        param[i] = u->ptr;
    LLVMSetVisibility(call->function, LLVMHiddenVisibility);
    LLVMSetLinkage(call->function, LLVMExternalLinkage);
    call->type = LLVMFunctionType(u->nothing, param, (unsigned)n, 0);
    call->function = LLVMAddFunction(u->module, symbol, call->type);
    LLVMSetVisibility(call->function, LLVMHiddenVisibility);
}

static void new_function(cg_emitter *e, cg_call *call, const char *symbol)
{
    cg_unit *u = e->u;
    int n = call->nargs + (call->scratch ? 2 : 1);
    LLVMTypeRef *param = ir_array(e->arena, LLVMTypeRef, n);
    for (int i = 0; i < n; i++)
        param[i] = u->ptr;
    call->type = LLVMFunctionType(u->nothing, param, (unsigned)n, 0);
    call->function = e->function = LLVMAddFunction(u->module, symbol, call->type);
    LLVMSetLinkage(e->function, LLVMInternalLinkage);
    add_attributes(u, e->function);
    for (int i = 1; i <= call->nargs; i++)
        LLVMAddAttributeAtIndex(e->function, (unsigned)i + 1, LLVMCreateEnumAttribute(u->ll, LLVMGetEnumAttributeKindForName("noalias", 7), 0));
    e->worker = LLVMGetParam(e->function, 0);
    e->scratch = call->scratch ? LLVMGetParam(e->function, (unsigned)call->nargs + 1) : NULL;
}

/* Finds the worker's tasks, in the function's first block: code goes on where there are some. Returns the call, whose second operand is
 * the number of tasks. */
static LLVMValueRef ask_for_tasks(cg_emitter *e)
{
    cg_unit *u = e->u;
    LLVMValueRef f = share_function(u), args[] = {e->worker, cg_i64(u, 0)};
    LLVMValueRef share = LLVMBuildCall2(u->b, LLVMGlobalGetValueType(f), f, args, 2, "");
    e->lo = LLVMBuildExtractValue(u->b, share, 0, "");
    e->hi = LLVMBuildExtractValue(u->b, share, 1, "");
    LLVMBasicBlockRef some = LLVMAppendBasicBlockInContext(u->ll, e->function, ""), none = LLVMAppendBasicBlockInContext(u->ll, e->function, "");
    LLVMBuildCondBr(u->b, LLVMBuildICmp(u->b, LLVMIntSLT, e->lo, e->hi, ""), some, none);
    LLVMPositionBuilderAtEnd(u->b, none);
    LLVMBuildRetVoid(u->b);
    LLVMPositionBuilderAtEnd(u->b, some);
    return share;
}

/* Leaves that share storage share an argument, so all others can be promised not to overlap. */
static int number_arguments(cg_emitter *e, int *leaf_of_arg, bool (*same)(void *, const ir_value *, const ir_value *), void *user)
{
    int n = 0;
    for (int i = 0; i < e->leaf.count; i++) {
        int argument = 0;
        for (int j = 0; j < i && !argument; j++)
            if (same(user, e->leaf.items[i], e->leaf.items[j]))
                argument = e->argument.items[j];
        if (!argument) {
            leaf_of_arg[n++] = i;
            argument = n;
        }
        IR_PUSH(e->arena, &e->argument, argument);
    }
    return n;
}

static void emit(cg_emitter *e, cg_call *call, const char *symbol)
{
    static cg_kernel_emitter *const emitters[] = {cg_map_kernel, cg_contraction_kernel, cg_single_kernel, cg_check_kernel};
    _Static_assert(IR_KERNEL_MAP == 0 && IR_KERNEL_CONTRACTION == 1 && IR_KERNEL_SINGLE == 2 && IR_KERNEL_CHECK == 3, "order of kernel kinds");
    cg_unit *u = e->u;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(u->b);
    LLVMMetadataRef place = cg_debug_enter(u, NULL);
    const ir_inst *main_inst = e->kernel->core ? e->kernel->core : e->kernel->roots.items[0]->def;
    new_function(e, call, symbol);
    cg_debug_function(u, e->function, main_inst->loc && main_inst->loc->op ? main_inst->loc->op : ir_ops[main_inst->op].name, main_inst->loc);
    /* Accumulators stand in the first block, so that the passes see them once. */
    LLVMBasicBlockRef first = LLVMAppendBasicBlockInContext(u->ll, e->function, ""), body = LLVMAppendBasicBlockInContext(u->ll, e->function, "");
    LLVMPositionBuilderAtEnd(u->b, body);
    e->lanes = 1;
    LLVMValueRef share = ask_for_tasks(e);
    call->tasks = emitters[e->kernel->kind](e);
    LLVMSetOperand(share, 1, cg_i64(u, call->tasks));
    LLVMBuildRetVoid(u->b);
    LLVMPositionBuilderAtEnd(u->b, first);
    LLVMBuildBr(u->b, body);
    if (before)
        LLVMPositionBuilderAtEnd(u->b, before);
    cg_debug_leave(u, place);
}

/* Where the next kernel goes: the lightest part. */
static cg_unit *part_for_kernel(cg_unit *u)
{
    cg_unit *part = u->nparts ? u->part[0] : u;
    for (int i = 1; i < u->nparts; i++)
        part = u->part[i]->weight < part->weight ? u->part[i] : part;
    part->target = u->target;
    part->suffix = u->suffix;
    return part;
}

static int64_t weight_of(LLVMValueRef function)
{
    int64_t n = 0;
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(function); b; b = LLVMGetNextBasicBlock(b))
        for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i))
            n++;
    return n;
}

cg_call cg_kernel_function(cg_unit *u, const ir_kernel *k, bool (*same_storage)(void *user, const ir_value *x, const ir_value *y), void *user)
{
    cg_emitter *e = ir_new(u->arena, cg_emitter);
    *e = (cg_emitter){.u = u, .arena = u->arena, .kernel = k};
    signature *s = ir_new(u->arena, signature);
    s->e = e;
    write_signature(s);
    int *leaf_of_arg = ir_array(u->arena, int, e->leaf.count + 1);
    cg_call call = {.nargs = number_arguments(e, leaf_of_arg, same_storage, user),
                    .scratch = k->kind == IR_KERNEL_SINGLE && ir_single_scratch(k->core)};
    for (int i = 0; i < e->leaf.count; i++)
        put_int(s, e->argument.items[i]);
    put(s, u->suffix, strlen(u->suffix));
    call.arg = ir_array(u->arena, const ir_value *, call.nargs + 1);
    for (int i = 0; i < call.nargs; i++)
        call.arg[i] = e->leaf.items[leaf_of_arg[i]];
    if (!u->kernels)
        u->kernels = ir_new(u->arena, struct cg_kernels);
    for (known_kernel *known = u->kernels->first; known; known = known->next)
        if (known->text->count == s->text.count && !memcmp(known->text->items, s->text.items, (size_t)s->text.count)) {
            call.function = known->call.function;
            call.type = known->call.type;
            call.tasks = known->call.tasks;
            return call;
        }
    const char *symbol = ir_format(u->arena, "%s_kernel%d%s", u->prefix, u->nkernels++, u->suffix);
    e->u = part_for_kernel(u);
    emit(e, &call, symbol);
    e->u->weight += weight_of(call.function);
    u->uses_blas |= e->u->uses_blas;
    declare(u, &call, symbol, e->u);
    known_kernel *known = ir_new(u->arena, known_kernel);
    *known = (known_kernel){u->kernels->first, &s->text, call, leaf_of_arg};
    u->kernels->first = known;
    return call;
}

int cg_width(const cg_unit *u, int size)
{
    return u->target->vector_bytes / (size < 4 ? 4 : size);
}

/* ---- Maps ---- */

enum {
    TASKS = 32,            /* wanted at least, where there is work for them */
    SMALL = 16384,         /* work (elements times instructions) that one thread does alone */
    CHUNK = 4096,          /* elements of a task that is a part of the innermost loop */
    WIDEST = 64,           /* lanes */
    MOST_STORES = 128      /* of an index */
};

/* What a map's expressions are like. */
typedef struct shape_of_work {
    const cg_emitter *e;
    IR_LIST(const ir_value *) seen;
    bool flat;      /* only elementwise ops on values stored alike: one loop over all elements does */
    bool row;       /* reduces the innermost dimension of something */
    bool column;    /* reduces other dimensions */
    double work;    /* a result element */
} shape_of_work;

static void study(shape_of_work *s, const ir_value *root, const ir_value *v, double times)
{
    for (int i = 0; i < s->seen.count; i++)
        if (s->seen.items[i] == v)
            return;
    IR_PUSH(s->e->arena, &s->seen, v);
    if (is_leaf(s->e, v)) {
        s->work += times;
        s->flat = s->flat && (v->type.rank == 0 || ir_same_storage(v, root));
        return;
    }
    const ir_inst *inst = v->def;
    if (inst->op == IR_OP_constant)
        return;
    bool to_scalar = inst->op == IR_OP_broadcast && inst->operand[0]->type.rank == 0;
    s->flat = s->flat && (to_scalar || ir_has_trait(inst, IR_ELEMENTWISE) || v->type.rank == 0);
    if (inst->op == IR_OP_reduce) {
        int fastest = cg_nearest(inst->operand[0]);
        bool inner = false;
        for (int i = 0; i < IR_ATTR(inst, reduce)->axes.n; i++) {
            inner |= IR_ATTR(inst, reduce)->axes.v[i] == fastest;
            times *= (double)inst->operand[0]->type.dim[IR_ATTR(inst, reduce)->axes.v[i]];
        }
        *(inner ? &s->row : &s->column) = true;
    }
    if (inst->op == IR_OP_dot_general && inst->operand[0]->type.rank)
        times *= (double)inst->operand[0]->type.dim[inst->operand[0]->type.rank - 1];
    if (inst->op == IR_OP_convolution)
        times *= (double)ir_count(&inst->operand[1]->type);
    s->work += times;
    for (int i = 0; i < inst->noperands; i++)
        study(s, root, inst->operand[i], times);
}

/* The pieces of a concat lie one behind the other: no dimension outside its axis. */
static bool pieces_in_row(const ir_value *root)
{
    for (int i = 0; i < root->type.rank; i++) {
        int d = root->order.n ? (int)root->order.v[i] : i;
        if (d == IR_ATTR(root->def, concat)->axis)
            return true;
        if (root->type.dim[d] != 1)
            return false;
    }
    return false;
}

static void study_root(shape_of_work *s, const ir_value *space, const ir_value *root)
{
    if (!ir_in_pieces(root)) {
        study(s, space, root, 1);
        return;
    }
    s->flat = s->flat && pieces_in_row(root);
    for (int i = 0; i < root->def->noperands; i++)
        study(s, space, root->def->operand[i], 1);
}

typedef struct map_loops {
    int n;                    /* loops, outermost first; the last is the lanes' unless lanes is 1 */
    int dim[IR_MAX_RANK];     /* of the result; -1: all of them as one */
    int64_t extent[IR_MAX_RANK];
    int outer;                /* loops that tasks divide */
    int64_t chunk, chunks;    /* parts of the last loop that tasks divide too; 1: all */
} map_loops;

static map_loops plan_loops(cg_emitter *e, const ir_value *root, const shape_of_work *s)
{
    map_loops m = {.chunks = 1};
    int64_t outer = 1;
    if (s->flat) {
        m.n = 1;
        m.dim[0] = -1;
        m.extent[0] = ir_count(&root->type);
    }
    for (int i = 0; !s->flat && i < root->type.rank; i++) {
        int d = root->order.n ? (int)root->order.v[i] : i;
        if (root->type.dim[d] != 1) {
            m.dim[m.n] = d;
            m.extent[m.n++] = root->type.dim[d];
        }
    }
    if (m.n == 0) { /* one element */
        m.n = 1;
        m.dim[0] = -1;
        m.extent[0] = 1;
    }
    double work = s->work * (double)ir_count(&root->type);
    if (work <= SMALL)
        return m;
    int loops = e->lanes > 1 ? m.n - 1 : m.n;
    while (m.outer < loops && outer < TASKS)
        outer *= m.extent[m.outer++];
    int64_t last = m.extent[m.n - 1];
    if (e->lanes > 1 && outer < TASKS && last > CHUNK) {
        m.chunk = CHUNK;
        m.chunks = (last + CHUNK - 1) / CHUNK;
    }
    return m;
}

/* All roots at the index, of a concat in pieces all pieces: first everything is read, then written, so that a root may lie where
 * an operand lay. */
static void emit_element(cg_emitter *e, const cg_index *at)
{
    const ir_kernel *k = e->kernel;
    LLVMValueRef value[MOST_STORES];
    int mark = e->memo.count, n = 0;
    for (int i = 0; i < k->roots.count; i++) {
        const ir_value *root = k->roots.items[i];
        int pieces = ir_in_pieces(root) ? root->def->noperands : 1;
        BUG_UNLESS(n + pieces <= MOST_STORES);
        for (int p = 0; p < pieces; p++)
            value[n++] = cg_at(e, ir_in_pieces(root) ? root->def->operand[p] : root, at);
    }
    n = 0;
    for (int i = 0; i < k->roots.count; i++) {
        const ir_value *root = k->roots.items[i];
        if (!ir_in_pieces(root)) {
            cg_store(e, root, at, value[n++]);
            continue;
        }
        int axis = (int)IR_ATTR(root->def, concat)->axis;
        cg_index there[IR_MAX_RANK];
        memcpy(there, at, sizeof there);
        for (int p = 0; p < root->def->noperands; p++, there[axis] = cg_plus(&there[axis], root->def->operand[0]->type.dim[axis]))
            cg_store(e, root, there, value[n++]);
    }
    cg_forget(e, mark);
}

static void set_index(const map_loops *m, int loop, const cg_index *v, cg_index *at, const ir_value *root)
{
    int d = m->dim[loop] >= 0 ? m->dim[loop] : cg_fastest(root); /* as one: the stride of the innermost is 1, so it counts all elements */
    if (d >= 0)
        at[d] = *v;
}

static void emit_lanes(cg_emitter *e, const map_loops *m, const ir_value *root, const cg_index *chunk, cg_index *at)
{
    cg_unit *u = e->u;
    int last = m->n - 1, lanes = e->lanes;
    int64_t extent = m->extent[last], whole = extent / lanes * lanes;
    LLVMValueRef start = cg_i64(u, 0), end = cg_i64(u, whole);
    if (m->chunks > 1) {
        start = LLVMBuildMul(u->b, cg_scalar_part(e, chunk), cg_i64(u, m->chunk), "");
        LLVMValueRef next = LLVMBuildAdd(u->b, start, cg_i64(u, m->chunk), "");
        LLVMTypeRef i64 = u->i64;
        end = cg_intrinsic(u, "llvm.smin", &i64, 1, (LLVMValueRef[]){next, end}, 2);
    }
    if (whole) {
        cg_loop loop;
        cg_loop_begin(e, &loop, start, end, lanes, m->chunks == 1);
        cg_var *v = cg_var_new(e, loop.i, extent - 1);
        v->lane = lanes > 1;
        cg_index x = cg_of_var(v);
        set_index(m, last, &x, at, root);
        emit_element(e, at);
        cg_loop_end(e, &loop);
    }
    if (extent > whole) {
        cg_branch branch;
        if (m->chunks > 1)
            cg_if(e, &branch, LLVMBuildICmp(u->b, LLVMIntEQ, cg_scalar_part(e, chunk), cg_i64(u, m->chunks - 1), ""));
        e->lanes = (int)(extent - whole);
        cg_var *v = cg_var_new(e, cg_i64(u, 0), e->lanes - 1);
        v->lane = e->lanes > 1;
        cg_index x = cg_of_var(v);
        x.constant = whole;
        set_index(m, last, &x, at, root);
        emit_element(e, at);
        e->lanes = lanes;
        if (m->chunks > 1)
            cg_endif(e, &branch);
    }
}

static void emit_loops(cg_emitter *e, const map_loops *m, int loop_number, const ir_value *root, const cg_index *chunk, cg_index *at)
{
    if (e->lanes > 1 && loop_number == m->n - 1) {
        emit_lanes(e, m, root, chunk, at);
        return;
    }
    if (loop_number == m->n) {
        emit_element(e, at);
        return;
    }
    cg_loop loop;
    cg_index x = cg_loop_count(e, &loop, m->extent[loop_number]);
    set_index(m, loop_number, &x, at, root);
    emit_loops(e, m, loop_number + 1, root, chunk, at);
    cg_loop_end(e, &loop);
}

static int choose_lanes(cg_emitter *e, const ir_value *root, const shape_of_work *s)
{
    int size = 4;
    for (int i = 0; i < e->kernel->roots.count; i++) {
        int here = ir_dtypes[e->kernel->roots.items[i]->type.dtype].bytes;
        size = here > size ? here : size;
    }
    int fastest = cg_fastest(root), lanes = cg_width(e->u, size), most = s->column ? 4 * lanes : s->work < 16 ? 2 * lanes : lanes;
    int64_t extent = s->flat ? ir_count(&root->type) : fastest < 0 ? 1 : root->type.dim[fastest];
    if (s->row)
        return 1;
    while (lanes < most && lanes < WIDEST && lanes * 2 <= extent)
        lanes *= 2;
    return extent < lanes ? (int)(extent < 1 ? 1 : extent) : lanes;
}

/* Reductions that v needs at its own index. */
static void find_reduces(cg_emitter *e, const ir_value *v, int depth)
{
    if (is_leaf(e, v) || depth > 16)
        return;
    if (v->def->op == IR_OP_reduce) {
        for (int i = 0; i < e->reduces.count; i++)
            if (e->reduces.items[i] == v->def)
                return;
        IR_PUSH(e->arena, &e->reduces, v->def);
    }
    for (int i = 0; ir_has_trait(v->def, IR_ELEMENTWISE) && i < v->def->noperands; i++)
        find_reduces(e, v->def->operand[i], depth + 1);
}

int64_t cg_map_kernel(cg_emitter *e)
{
    const ir_value *root = ir_space(e->kernel->roots.items[0]);
    if (ir_count(&root->type) == 0)
        return 0;
    shape_of_work s = {.e = e, .flat = true, .work = 1};
    for (int i = 0; i < e->kernel->roots.count; i++) {
        study_root(&s, root, e->kernel->roots.items[i]);
        find_reduces(e, e->kernel->roots.items[i], 0);
    }
    e->lanes = choose_lanes(e, root, &s);
    map_loops m = plan_loops(e, root, &s);
    cg_index at[IR_MAX_RANK];
    for (int d = 0; d < IR_MAX_RANK; d++)
        at[d] = cg_of(0);
    int64_t outer = 1;
    for (int i = 0; i < m.outer; i++)
        outer *= m.extent[i];
    int64_t tasks = outer * m.chunks;
    cg_loop loop;
    cg_loop_begin(e, &loop, e->lo, e->hi, 1, true);
    cg_index task = cg_of_var(cg_var_new(e, loop.i, tasks - 1)), chunk = cg_of(0), x;
    if (m.chunks > 1)
        cg_divide(e, &task, m.chunks, &task, &chunk);
    for (int i = m.outer - 1; i >= 0; i--) {
        if (i)
            cg_divide(e, &task, m.extent[i], &task, &x);
        set_index(&m, i, i ? &x : &task, at, root);
    }
    emit_loops(e, &m, m.outer, root, &chunk, at);
    cg_loop_end(e, &loop);
    return tasks;
}

/* ---- Index checks ---- */

/* The parameter whose elements v's are made from, one for one; NULL if there is no such one. */
static const ir_value *source_of(const ir_value *v, int64_t count, int depth)
{
    if (!v->def)
        return ir_is_int(v->type.dtype) && ir_count(&v->type) == count ? v : NULL;
    if (depth == 0 || (!ir_has_trait(v->def, IR_ELEMENTWISE) && v->def->op != IR_OP_reshape))
        return NULL;
    for (int i = v->def->noperands - 1; i >= 0; i--) {
        const ir_value *found = source_of(v->def->operand[i], count, depth - 1);
        if (found)
            return found;
    }
    return NULL;
}

int64_t cg_check_kernel(cg_emitter *e)
{
    cg_unit *u = e->u;
    const ir_inst *core = e->kernel->core;
    const ir_value *index = core->operand[1];
    const ir_ints dims = core->op == IR_OP_gather ? IR_ATTR(core, gather)->dims : IR_ATTR(core, scatter)->dims;
    int64_t count = ir_count(&index->type), vectors = dims.n ? count / dims.n : 0;
    if (!vectors)
        return 0;
    const ir_value *source = dims.n == 1 ? source_of(index, count, 8) : NULL;
    bool known = false; /* the source is among what the kernel's expression reads */
    for (int i = 0; source && i < e->leaf.count; i++)
        known |= e->leaf.items[i] == source;
    LLVMTypeRef param[] = {u->ptr, u->i32, u->i64, u->i64, u->i64}, type = LLVMFunctionType(u->nothing, param, 5, 0);
    LLVMValueRef report = LLVMGetNamedFunction(u->module, "gradc_rt_bad_index");
    if (!report)
        report = LLVMAddFunction(u->module, "gradc_rt_bad_index", type);
    cg_loop loop;
    cg_loop_begin(e, &loop, e->lo, e->hi, 1, true);
    cg_index vector = cg_of_var(cg_var_new(e, loop.i, vectors - 1));
    for (int j = 0; j < dims.n; j++) {
        int64_t limit = core->operand[0]->type.dim[dims.v[j]];
        cg_index number = cg_scaled(&vector, dims.n), at[IR_MAX_RANK];
        number.constant += j;
        cg_unravel(e, &index->type, &number, at);
        LLVMValueRef v = LLVMBuildIntCast2(u->b, cg_at(e, index, at), u->i64, ir_is_signed(index->type.dtype), "");
        cg_branch branch;
        cg_if(e, &branch, LLVMBuildICmp(u->b, LLVMIntUGE, v, cg_i64(u, limit), ""));
        LLVMValueRef where = cg_scalar_part(e, &number);
        if (known) {
            cg_index raw[IR_MAX_RANK];
            cg_unravel(e, &source->type, &number, raw);
            v = LLVMBuildIntCast2(u->b, cg_at(e, source, raw), u->i64, ir_is_signed(source->type.dtype), "");
        }
        LLVMValueRef args[] = {e->worker, LLVMConstInt(u->i32, (unsigned long long)e->kernel->check, 0), where, v, cg_i64(u, limit)};
        LLVMBuildCall2(u->b, type, report, args, 5, "");
        cg_endif(e, &branch);
    }
    cg_loop_end(e, &loop);
    return vectors;
}
