/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Kernel functions: their storage arguments, their signature (identical kernels are emitted once),
 * and the kernels that check indices. */
#include "codegen/backend.h"
#include "base/map.h"
#include "schedule/schedule.h"

#include <string.h>

/* ---- Storage that a kernel accesses, and its signature ---- */

typedef struct bytes {
    char *items;
    int count, capacity;
} bytes;

typedef struct signature {
    cg_emitter *e;
    bool polymorphic; /* the extent is an argument: of a shape, only whether it is scalar matters */
    bytes text;
    BASE_LIST(const ir_inst *) seen;
} signature;

static void put(signature *s, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        BASE_PUSH(s->e->arena, &s->text, ((const char *)p)[i]);
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
    if (s->polymorphic) {
        put_int(s, v->type.rank > 0);
        return;
    }
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
            /* Only immediates, which are splats: one element is enough. */
            put(s, l->data, ir_count(&l->type) ? (size_t)ir_dtypes[l->type.dtype].bytes : 0);
            break;
        }
        case IR_ATTR_func: put(s, at, sizeof(void *)); break;
        default: put(s, at, sizeof(int)); break;
        }
    }
}

static int leaf_number(cg_emitter *e, const ir_value *v)
{
    for (int i = 0; i < e->leaf.count; i++)
        if (e->leaf.items[i] == v)
            return i;
    BASE_PUSH(e->arena, &e->leaf, v);
    return e->leaf.count - 1;
}

static void walk(signature *s, const ir_value *v)
{
    cg_emitter *e = s->e;
    if (cg_is_leaf(e, v)) {
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
    BASE_PUSH(e->arena, &s->seen, v->def);
    put_int(s, v->def->op);
    if (!s->polymorphic || v->def->op != IR_OP_broadcast)
        put_attrs(s, v->def);
    put_type(s, v);
    for (int i = 0; i < v->def->noperands; i++)
        walk(s, v->def->operand[i]);
}

static const ir_value *behind(const ir_value *v, bool broadcasts)
{
    while (v->def && (v->def->op == IR_OP_reshape || (v->def->op == IR_OP_broadcast && broadcasts)))
        v = v->def->operand[0];
    return v;
}

/* Is v a constant, and component j (of n) of all its index vectors `number`? */
static bool is_component(const ir_value *v, int j, int n, int64_t number)
{
    v = behind(v, true);
    const ir_type *t = &v->type;
    int64_t count = ir_count(t);
    if (!v->def || v->def->op != IR_OP_constant ||
        (count != 1 && (!t->rank || t->dim[t->rank - 1] != n)))
        return false;
    const ir_literal *l = IR_ATTR(v->def, constant)->value;
    for (int64_t i = count == 1 ? 0 : j; i < count; i += n)
        if (ir_literal_get_int(l, i) != number)
            return false;
    return true;
}

static ir_ints selected_dims(const ir_inst *anchor)
{
    return anchor->op == IR_OP_gather ? IR_ATTR(anchor, gather)->dims
                                      : IR_ATTR(anchor, scatter)->dims;
}

/* The components of a gather's or scatter's index, by bit, whose negative values count from the
 * end: select(x < 0, x + extent, x). */
static uint32_t counted_back(const ir_inst *anchor)
{
    const ir_ints dims = selected_dims(anchor);
    const ir_inst *s = behind(anchor->operand[1], false)->def, *less, *sum;
    uint32_t found = 0;
    if (!s || s->op != IR_OP_select || !(less = s->operand[0]->def) || less->op != IR_OP_compare ||
        !(sum = s->operand[1]->def) || sum->op != IR_OP_add ||
        IR_ATTR(less, compare)->relation != IR_LT || less->operand[0] != s->operand[2])
        return 0;
    int other = sum->operand[0] == s->operand[2];
    for (int j = 0; j < dims.n && sum->operand[!other] == s->operand[2]; j++)
        if (is_component(less->operand[1], j, dims.n, 0) &&
            is_component(sum->operand[other], j, dims.n, anchor->operand[0]->type.dim[dims.v[j]]))
            found |= 1u << j;
    return found;
}

static void write_signature(signature *s)
{
    const ir_kernel *k = s->e->kernel;
    put_int(s, k->kind);
    put_int(s, s->polymorphic);
    const char *how = sched_text(s->e->arena, k->schedule);
    put(s, how, strlen(how) + 1);
    put_int(s, k->outputs.count);
    for (int i = 0; i < k->outputs.count; i++) {
        leaf_number(s->e, k->outputs.items[i]);
        put_type(s, k->outputs.items[i]);
    }
    for (int i = 0; i < k->outputs.count; i++)
        walk(s, k->outputs.items[i]);
    if (k->anchor) {
        put_int(s, k->anchor->op);
        put_int(s, k->check);
        if (!k->outputs.count) {
            put_type(s, k->anchor->operand[0]);
            put_int(s, counted_back(k->anchor));
        }
        for (int i = k->outputs.count ? 0 : 1; i < k->anchor->noperands; i++)
            walk(s, k->anchor->operand[i]);
        put_attrs(s, k->anchor);
    }
}

/* ---- Functions ---- */

struct cg_kernels {
    base_map call; /* a cg_call by signature */
};

void cg_kernel_attributes(cg_unit *u, LLVMValueRef f)
{
    const struct { const char *name, *value; } texts[] = {
        {"target-cpu", u->target->cpu},
        {"target-features", u->target->features},
        {"prefer-vector-width", u->target->vector_bytes == 64 ? "512" : "256"},
        {"min-legal-vector-width", u->target->vector_bytes == 64 ? "512" : "256"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        LLVMAddAttributeAtIndex(
            f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
            LLVMCreateStringAttribute(u->ll, texts[i].name, (unsigned)strlen(texts[i].name),
                                      texts[i].value, (unsigned)strlen(texts[i].value)));
    LLVMAddAttributeAtIndex(
        f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
        LLVMCreateEnumAttribute(u->ll, LLVMGetEnumAttributeKindForName("nounwind", 8), 0));
}

static LLVMTypeRef type_of(const cg_unit *u, const cg_call *call)
{
    int n = call->nargs + 1;
    LLVMTypeRef *param = base_array(u->arena, LLVMTypeRef, n + 1);
    for (int i = 0; i < n; i++)
        param[i] = u->ptr;
    param[n] = call->extent ? u->i64 : u->ptr;
    return LLVMFunctionType(u->nothing, param,
                            (unsigned)(call->scratch || call->extent ? n + 1 : n), 0);
}

/* Declares the function in the unit if it is defined in a part of it. */
static void declare(cg_unit *u, cg_call *call, const char *symbol, const cg_unit *part)
{
    if (part == u)
        return;
    LLVMSetVisibility(call->function, LLVMHiddenVisibility);
    LLVMSetLinkage(call->function, LLVMExternalLinkage);
    call->type = type_of(u, call);
    call->function = LLVMAddFunction(u->module, symbol, call->type);
    LLVMSetVisibility(call->function, LLVMHiddenVisibility);
}

static void new_function(cg_emitter *e, cg_call *call, const char *symbol)
{
    cg_unit *u = e->u;
    call->type = type_of(u, call);
    call->function = e->function = LLVMAddFunction(u->module, symbol, call->type);
    LLVMSetLinkage(e->function, LLVMInternalLinkage);
    cg_kernel_attributes(u, e->function);
    for (int i = 1; i <= call->nargs; i++)
        LLVMAddAttributeAtIndex(
            e->function, (unsigned)i + 1,
            LLVMCreateEnumAttribute(u->ll, LLVMGetEnumAttributeKindForName("noalias", 7), 0));
    e->worker = LLVMGetParam(e->function, 0);
    e->scratch = call->scratch ? LLVMGetParam(e->function, (unsigned)call->nargs + 1) : NULL;
    e->extent = call->extent ? LLVMGetParam(e->function, (unsigned)call->nargs + 1) : NULL;
}

/* Leaves that share storage share an argument, so that all arguments are noalias. */
static int number_arguments(cg_emitter *e, int *leaf_of_arg,
                            bool (*same)(void *, const ir_value *, const ir_value *), void *user)
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
        BASE_PUSH(e->arena, &e->argument, argument);
    }
    return n;
}

void cg_emit_none(cg_emitter *e, const sched_contraction *part)
{
    (void)part;
    BUG("a %s has no kernel function", ir_kernel_kind_names[e->kernel->kind]);
}

/* Calls the emitter of each strategy in the schedule. */
static void run_strategy(cg_emitter *e)
{
    static cg_strategy *const strategies[SCHED_STRATEGIES] = {
#define STRATEGY(NAME, text, kind, applies, choose, cost, complete, emit, doc) cg_emit_##emit,
#include "schedule/strategies.def"
    };
    const sched_kernel *s = e->kernel->schedule;
    if (e->kernel->kind != IR_KERNEL_CONTRACTION && (s->tasks || s->map.polymorphic))
        strategies[s->strategy](e, NULL);
    for (int p = 0; p < s->nparts; p++)
        strategies[s->part[p].strategy](e, &s->part[p]);
}

static void emit(cg_emitter *e, cg_call *call, const char *symbol)
{
    cg_unit *u = e->u;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(u->b);
    LLVMMetadataRef place = cg_debug_enter(u, NULL);
    const ir_inst *main_inst =
        e->kernel->anchor ? e->kernel->anchor : e->kernel->outputs.items[0]->def;
    new_function(e, call, symbol);
    cg_debug_function(u, e->function,
                      main_inst->loc && main_inst->loc->op ? main_inst->loc->op
                                                           : ir_ops[main_inst->op].name,
                      main_inst->loc);
    /* Accumulators are allocated in the entry block, where SROA promotes them to registers. */
    LLVMBasicBlockRef first = LLVMAppendBasicBlockInContext(u->ll, e->function, ""),
                      body = LLVMAppendBasicBlockInContext(u->ll, e->function, "");
    LLVMPositionBuilderAtEnd(u->b, body);
    e->lanes = 1;
    const cg_backend *backend = u->target->system->backend;
    backend->begin_tasks(e, e->extent ? cg_map_tasks(e) : cg_i64(u, call->tasks));
    run_strategy(e);
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

cg_call cg_kernel_function(cg_unit *u, const ir_kernel *k,
                           bool (*same_storage)(void *user, const ir_value *x, const ir_value *y),
                           void *user)
{
    cg_emitter *e = base_new(u->arena, cg_emitter);
    *e = (cg_emitter){.u = u, .arena = u->arena, .kernel = k};
    const sched_kernel *how = k->schedule;
    signature *s = base_new(u->arena, signature);
    s->e = e;
    s->polymorphic = how->map.polymorphic;
    write_signature(s);
    int *leaf_of_arg = base_array(u->arena, int, e->leaf.count + 1);
    cg_call call = {.nargs = number_arguments(e, leaf_of_arg, same_storage, user),
                    .scratch = k->kind == IR_KERNEL_STANDALONE && ir_standalone_scratch(k->anchor),
                    .extent = s->polymorphic ? ir_count(&k->outputs.items[0]->type) : 0,
                    .tasks = s->polymorphic ? 1 : how->tasks};
    for (int i = 0; i < e->leaf.count; i++)
        put_int(s, e->argument.items[i]);
    put(s, u->suffix, strlen(u->suffix));
    call.arg = base_array(u->arena, const ir_value *, call.nargs + 1);
    for (int i = 0; i < call.nargs; i++)
        call.arg[i] = e->leaf.items[leaf_of_arg[i]];
    if (!u->kernels) {
        u->kernels = base_new(u->arena, struct cg_kernels);
        u->kernels->call = base_map_new(u->arena);
    }
    const cg_call *known = base_map_get(&u->kernels->call, s->text.items, (size_t)s->text.count);
    if (known) {
        call.function = known->function;
        call.type = known->type;
        return call;
    }
    const char *symbol =
        base_format(u->arena, "%s_kernel%d%s", u->prefix, u->nkernels++, u->suffix);
    e->u = part_for_kernel(u);
    emit(e, &call, symbol);
    e->u->weight += weight_of(call.function);
    u->uses_blas |= e->u->uses_blas;
    declare(u, &call, symbol, e->u);
    base_map_put(&u->kernels->call, s->text.items, (size_t)s->text.count,
                 base_memdup(u->arena, &call, sizeof call));
    return call;
}

/* ---- Index checks ---- */

/* The parameter of which v is an elementwise function, or NULL. */
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

void cg_emit_check(cg_emitter *e, const sched_contraction *part)
{
    (void)part;
    cg_unit *u = e->u;
    const ir_inst *anchor = e->kernel->anchor;
    const ir_value *index = anchor->operand[1];
    const ir_ints dims = selected_dims(anchor);
    uint32_t back = counted_back(anchor);
    int64_t count = ir_count(&index->type), vectors = dims.n ? count / dims.n : 0;
    const ir_value *source = dims.n == 1 ? source_of(index, count, 8) : NULL;
    bool known = false; /* the kernel reads the source */
    for (int i = 0; source && i < e->leaf.count; i++)
        known |= e->leaf.items[i] == source;
    cg_loop loop;
    cg_loop_begin(e, &loop, e->lo, e->hi, 1, true);
    cg_index vector = cg_of_var(cg_var_new(e, loop.i, vectors - 1));
    for (int j = 0; j < dims.n; j++) {
        int64_t limit = anchor->operand[0]->type.dim[dims.v[j]];
        cg_index number = cg_scaled(&vector, dims.n), at[IR_MAX_RANK];
        number.constant += j;
        cg_unravel(e, &index->type, &number, at);
        LLVMValueRef v = LLVMBuildIntCast2(u->b, cg_at(e, index, at), u->i64,
                                           ir_is_signed(index->type.dtype), "");
        cg_branch branch;
        cg_if(e, &branch, LLVMBuildICmp(u->b, LLVMIntUGE, v, cg_i64(u, limit), ""));
        LLVMValueRef where = cg_scalar_part(e, &number);
        if (known) {
            cg_index raw[IR_MAX_RANK];
            cg_unravel(e, &source->type, &number, raw);
            v = LLVMBuildIntCast2(u->b, cg_at(e, source, raw), u->i64,
                                  ir_is_signed(source->type.dtype), "");
        } else if (back >> j & 1) { /* the value before the extent was added */
            LLVMValueRef given = LLVMBuildSub(u->b, v, cg_i64(u, limit), "");
            v = LLVMBuildSelect(u->b, LLVMBuildICmp(u->b, LLVMIntSLT, v, cg_i64(u, 0), ""), given,
                                v, "");
        }
        LLVMValueRef check = LLVMConstInt(u->i32, (unsigned long long)e->kernel->check, 0);
        u->target->system->backend->bad_index(u, e->worker, check, where, v, cg_i64(u, limit));
        cg_endif(e, &branch);
    }
    cg_loop_end(e, &loop);
}
