/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The model's descriptor (gradc_rt_model and all it points at) as constant data of the object, and
 * the functions of the header, each a call of the runtime with the descriptor. Structs are literal
 * LLVM structs; natural alignment makes them those of gradc_rt.h, which is checked. */
#include "codegen/model.h"
#include "include/gradc_rt.h"

#include <string.h>

static LLVMValueRef i32(cg_unit *u, uint32_t v)
{
    return LLVMConstInt(u->i32, v, 0);
}

static LLVMValueRef u64(cg_unit *u, uint64_t v)
{
    return LLVMConstInt(u->i64, v, 0);
}

static LLVMValueRef null(cg_unit *u)
{
    return LLVMConstNull(u->ptr);
}

/* Constant data; equal ones may be merged. */
static LLVMValueRef global(cg_unit *u, LLVMValueRef content)
{
    LLVMValueRef g = LLVMAddGlobal(u->module, LLVMTypeOf(content), "");
    LLVMSetInitializer(g, content);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
    return g;
}

static LLVMValueRef text(cg_unit *u, const char *s)
{
    return s ? global(u, LLVMConstStringInContext2(u->ll, s, strlen(s), 0)) : null(u);
}

/* An array of equal types; NULL pointer when empty. */
static LLVMValueRef array(cg_unit *u, LLVMValueRef *items, int n)
{
    return n ? global(u, LLVMConstArray2(LLVMTypeOf(items[0]), items, (uint64_t)n)) : null(u);
}

static LLVMValueRef numbers(cg_unit *u, const int64_t *v, int n)
{
    LLVMValueRef *items = base_array(u->arena, LLVMValueRef, n + 1);
    for (int i = 0; i < n; i++)
        items[i] = cg_i64(u, v[i]);
    return array(u, items, n);
}

/* size: of the runtime's struct on 64-bit targets; size_32: on 32-bit ones. */
static LLVMValueRef record(cg_unit *u, LLVMValueRef *field, int n, size_t size, size_t size_32)
{
    size = u->target->system->word_bytes == 4 ? size_32 : size;
    LLVMValueRef r = LLVMConstStructInContext(u->ll, field, (unsigned)n, 0);
    if (LLVMABISizeOfType(LLVMGetModuleDataLayout(u->module), LLVMTypeOf(r)) != size)
        BUG("a record of %d fields does not have the size of the runtime's", n);
    return r;
}
#define RECORD(u, type, size_32, ...)          \
    record((u), (LLVMValueRef[]){__VA_ARGS__}, \
           sizeof((LLVMValueRef[]){__VA_ARGS__}) / sizeof(LLVMValueRef), sizeof(type), (size_32))

/* ---- States ---- */

static bool is_zero(const ir_literal *l)
{
    const char *bytes = l->data;
    int64_t n = ir_bytes(&l->type);
    return !n || (!bytes[0] && !memcmp(bytes, bytes + 1, (size_t)n - 1));
}

static LLVMValueRef state_record(cg_unit *u, const cg_model *m, int i)
{
    const ir_state *s = m->states.items[i];
    bool keeps = m->r->embed && s->kind <= IR_COUNTER && s->init && !is_zero(s->init);
    if (s->order.n && s->kind == IR_GRAD)
        BUG("the gradient %s is not row-major", s->name);
    LLVMValueRef tensor =
        RECORD(u, gradc_rt_tensor, GRADC_RT_TENSOR_32, text(u, s->name),
               numbers(u, s->type.dim, s->type.rank), i32(u, (uint32_t)s->type.rank),
               i32(u, (uint32_t)s->type.dtype), i32(u, s->kind == IR_PARAM && s->trainable),
               cg_word(u, ir_bytes(&s->type)), cg_word(u, m->grad_of[i]));
    return RECORD(u, gradc_rt_state, GRADC_RT_STATE_32, tensor, i32(u, (uint32_t)s->kind),
                  i32(u, 0), cg_word(u, s->at),
                  keeps ? cg_data_of(u, s->init->data, (size_t)ir_bytes(&s->type)) : null(u),
                  numbers(u, s->order.v, s->order.n));
}
_Static_assert(IR_PARAM == 0 && IR_STAT == 1 && IR_SLOT == 2 && IR_COUNTER == 3 && IR_GRAD == 4 &&
                   IR_SAVED == 5,
               "kinds are the runtime's");
_Static_assert(SIZE_MAX == UINT64_MAX && (uint64_t)-1 == SIZE_MAX, "-1 means none for both");

/* ---- Entries ---- */

static LLVMValueRef port_record(cg_unit *u, const cg_port *p)
{
    return RECORD(u, gradc_rt_port, GRADC_RT_PORT_32, text(u, p->name), i32(u, (uint32_t)p->part),
                  i32(u, (uint32_t)p->member), i32(u, (uint32_t)p->type->dtype),
                  i32(u, (uint32_t)p->type->rank), numbers(u, p->type->dim, p->type->rank),
                  cg_word(u, ir_bytes(p->type)), u64(u, p->needed_by), cg_word(u, p->fallback),
                  i32(u, p->one), i32(u, 0));
}

/* Ports and names of checks are the same at every level. */
typedef struct shared_parts {
    LLVMValueRef ports, checks;
    int nchecks;
} shared_parts;

static shared_parts parts_of(cg_unit *u, const cg_entry *e)
{
    shared_parts s = {null(u), null(u), 0};
    if (!e->f)
        return s;
    LLVMValueRef *port = base_array(u->arena, LLVMValueRef, e->nports + 1);
    for (int i = 0; i < e->nports; i++)
        port[i] = port_record(u, &e->port[i]);
    s.ports = array(u, port, e->nports);
    s.nchecks = e->nchecks;
    LLVMValueRef *name = base_array(u->arena, LLVMValueRef, s.nchecks + 1);
    for (int i = 0; i < s.nchecks; i++)
        name[i] = text(u, e->check[i]);
    s.checks = array(u, name, s.nchecks);
    return s;
}

static LLVMValueRef levels(cg_unit *u, const cg_model *m, const cg_target *const *level,
                           int nlevels, const LLVMValueRef *body)
{
    int n = m->r->nspecs * CG_ENTRIES;
    shared_parts *parts = base_array(u->arena, shared_parts, n);
    for (int i = 0; i < n; i++)
        parts[i] = parts_of(u, &m->entry[i]);
    LLVMValueRef *rows = base_array(u->arena, LLVMValueRef, nlevels),
                 *entries = base_array(u->arena, LLVMValueRef, n);
    for (int l = 0; l < nlevels; l++) {
        for (int i = 0; i < n; i++) {
            const cg_entry *e = &m->entry[i];
            entries[i] =
                RECORD(u, gradc_rt_entry, GRADC_RT_ENTRY_32, e->f ? body[l * n + i] : null(u),
                       parts[i].ports, i32(u, (uint32_t)e->nports), i32(u, e->parallel),
                       u64(u, e->always), parts[i].checks, u64(u, (uint64_t)parts[i].nchecks));
        }
        rows[l] = RECORD(u, gradc_rt_level, GRADC_RT_LEVEL_32, u64(u, level[l]->cpu_bits),
                         array(u, entries, n));
    }
    return array(u, rows, nlevels);
}

/* ---- The model ---- */

static LLVMValueRef dims(cg_unit *u, const cg_model *m)
{
    int n = m->r->ndims;
    int64_t *all = base_array(u->arena, int64_t, m->r->nspecs *n + 1);
    for (int i = 0; i < m->r->nspecs * n; i++)
        all[i] = m->r->spec[i / n].dim[i % n];
    return numbers(u, all, m->r->nspecs * n);
}

static LLVMValueRef dim_names(cg_unit *u, const cg_model *m)
{
    LLVMValueRef *name = base_array(u->arena, LLVMValueRef, m->r->ndims + 1);
    for (int i = 0; i < m->r->ndims; i++)
        name[i] = text(u, m->r->dim_name[i]);
    return array(u, name, m->r->ndims);
}

static LLVMValueRef defaults(cg_unit *u, const cg_model *m)
{
    const cg_part *hyper = &m->o->part[CG_HYPER];
    LLVMValueRef *value = base_array(u->arena, LLVMValueRef, hyper->count + 1);
    for (int i = 0; i < hyper->count; i++)
        value[i] = LLVMConstReal(u->f32, hyper->items[i].value);
    return array(u, value, hyper->count);
}

/* The descriptor; *states: its table of states. */
static LLVMValueRef descriptor(cg_unit *u, const cg_model *m, LLVMValueRef tables,
                               LLVMValueRef *states)
{
    LLVMValueRef *state = base_array(u->arena, LLVMValueRef, m->states.count + 1);
    for (int i = 0; i < m->states.count; i++)
        state[i] = state_record(u, m, i);
    *states = array(u, state, m->states.count);
    const cg_object *o = m->o;
    return global(
        u,
        RECORD(
            u, gradc_rt_model, GRADC_RT_MODEL_32, i32(u, GRADC_RT_ABI),
            i32(u, u->target->system->word_bytes == 4 ? GRADC_RT_MODEL_32 : sizeof(gradc_rt_model)),
            u64(u, o->id), text(u, m->r->name ? m->r->name : m->r->spec[0].module->name), *states,
            i32(u, (uint32_t)m->states.count), i32(u, (uint32_t)m->nparams),
            cg_word(u, m->state_bytes), cg_word(u, m->scratch_bytes), cg_word(u, m->grad_at),
            cg_word(u, m->grad_count), cg_word(u, o->sizes.context), cg_word(u, o->sizes.arena),
            tables, i32(u, (uint32_t)LLVMGetArrayLength2(LLVMGlobalGetValueType(tables))),
            i32(u, (uint32_t)m->r->nspecs), i32(u, (uint32_t)o->part[CG_INPUTS].count),
            i32(u, (uint32_t)m->r->ndims), dims(u, m), dim_names(u, m), defaults(u, m),
            i32(u, (uint32_t)o->part[CG_HYPER].count), i32(u, (uint32_t)m->seed_state)));
}

/* ---- Functions ---- */

static LLVMValueRef begin(cg_unit *u, const cg_model *m, const char *name, LLVMTypeRef result,
                          LLVMTypeRef *param, int n)
{
    const char *symbol = base_format(u->arena, "%s_%s", m->o->prefix, name);
    LLVMValueRef f =
        LLVMAddFunction(u->module, symbol, LLVMFunctionType(result, param, (unsigned)n, 0));
    /* A section of its own, so that what an app does not call is not linked. */
    LLVMSetSection(f, base_format(u->arena, ".text.%s", symbol));
    LLVMAddAttributeAtIndex(
        f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
        LLVMCreateEnumAttribute(u->ll, LLVMGetEnumAttributeKindForName("nounwind", 8), 0));
    LLVMPositionBuilderAtEnd(u->b, LLVMAppendBasicBlockInContext(u->ll, f, ""));
    return f;
}

static void end(cg_unit *u, LLVMTypeRef result, const char *callee, LLVMValueRef *arg, int n)
{
    LLVMTypeRef *param = base_array(u->arena, LLVMTypeRef, n + 1);
    for (int i = 0; i < n; i++)
        param[i] = LLVMTypeOf(arg[i]);
    LLVMTypeRef type = LLVMFunctionType(result, param, (unsigned)n, 0);
    LLVMValueRef f = LLVMGetNamedFunction(u->module, callee);
    if (!f)
        f = LLVMAddFunction(u->module, callee, type);
    LLVMValueRef call = LLVMBuildCall2(u->b, type, f, arg, (unsigned)n, "");
    LLVMSetTailCallKind(call, LLVMTailCallKindTail);
    if (result == u->nothing)
        LLVMBuildRetVoid(u->b);
    else
        LLVMBuildRet(u->b, call);
}

/* PREFIX_name(…) is gradc_rt_callee(…). types: a letter for the result (v: void), then one for each
 * parameter: p pointer, s size, i int. */
static void forward_to(cg_unit *u, const cg_model *m, const char *name, const char *callee,
                       const char *types)
{
    LLVMTypeRef type[8] = {u->nothing};
    int n = (int)strlen(types);
    for (int i = 0; i < n; i++)
        type[i] = types[i] == 'p'   ? u->ptr
                  : types[i] == 's' ? u->word
                  : types[i] == 'i' ? u->i32
                                    : u->nothing;
    LLVMValueRef f = begin(u, m, name, type[0], type + 1, n - 1), arg[8];
    for (int i = 1; i < n; i++)
        arg[i - 1] = LLVMGetParam(f, (unsigned)i - 1);
    end(u, type[0], callee, arg, n - 1);
}

/* Which of gradc_rt_call's pointers an entry's function takes, in order. */
static const int taken[CG_ENTRIES][4] = {
    {CG_INPUTS, CG_OUTPUTS, -1}, {CG_INPUTS, CG_OUTPUTS, -1},
    {CG_COTANGENTS, CG_INPUT_GRADS, -1}, {CG_HYPER, -1}, {CG_INPUTS, CG_HYPER, CG_OUTPUTS, -1}};

static void emit_calls(cg_unit *u, const cg_model *m)
{
    for (int e = 0; e < CG_ENTRIES; e++) {
        if (!m->o->has[e])
            continue;
        int n = 1;
        while (taken[e][n - 1] >= 0)
            n++;
        LLVMTypeRef param[4] = {u->ptr, u->ptr, u->ptr, u->ptr};
        LLVMValueRef f = begin(u, m, cg_entry_names[e], u->i32, param, n);
        LLVMValueRef arg[2 + CG_PARTS] = {
            LLVMGetParam(f, 0), i32(u, (uint32_t)e), null(u), null(u), null(u), null(u), null(u)};
        for (int i = 1; i < n; i++)
            arg[2 + taken[e][i - 1]] = LLVMGetParam(f, (unsigned)i);
        end(u, u->i32, "gradc_rt_call", arg, 2 + CG_PARTS);
    }
}

static void emit_queries(cg_unit *u, const cg_model *m, LLVMValueRef states)
{
    begin(u, m, "param_count", u->word, NULL, 0);
    LLVMBuildRet(u->b, cg_word(u, m->nparams));
    LLVMValueRef f = begin(u, m, "param", u->ptr, &u->word, 1), i = LLVMGetParam(f, 0);
    int64_t size = u->target->system->word_bytes == 4 ? GRADC_RT_STATE_32 : sizeof(gradc_rt_state);
    LLVMValueRef at = LLVMBuildMul(u->b, i, cg_word(u, size), "");
    LLVMValueRef tensor = LLVMBuildGEP2(u->b, u->i8, states, &at, 1, "");
    LLVMBuildRet(
        u->b, LLVMBuildSelect(u->b, LLVMBuildICmp(u->b, LLVMIntULT, i, cg_word(u, m->nparams), ""),
                              tensor, null(u), ""));
}

void cg_emit_model(cg_unit *u, const cg_model *m, const cg_target *const *level, int nlevels,
                   const LLVMValueRef *body)
{
    LLVMValueRef states, model = descriptor(u, m, levels(u, m, level, nlevels, body), &states);
    LLVMTypeRef param[4] = {u->ptr, u->ptr, u->word, u->ptr};
    LLVMValueRef f = begin(u, m, "init", u->i32, param, 4);
    LLVMValueRef arg[5] = {LLVMGetParam(f, 0), model, LLVMGetParam(f, 1), LLVMGetParam(f, 2),
                           LLVMGetParam(f, 3)};
    bool hosted = m->o->hosted;
    end(u, u->i32, hosted ? "gradc_rt_init" : "gradc_rt_init_freestanding", arg, 5);
    if (hosted) {
        forward_to(u, m, "fini", "gradc_rt_fini", "vp");
    } else {
        begin(u, m, "fini", u->nothing, &u->ptr, 1);
        LLVMBuildRetVoid(u->b);
    }
    emit_calls(u, m);
    if (m->grad_count) {
        forward_to(u, m, "zero_grad", "gradc_rt_zero_grad", "ip");
        forward_to(u, m, "grad_block", "gradc_rt_grad_block", "ppp");
    }
    forward_to(u, m, "error", "gradc_rt_last_error", "pp");
    emit_queries(u, m, states);
    forward_to(u, m, "param_get", "gradc_rt_param_get", "ipsp");
    forward_to(u, m, "param_set", "gradc_rt_param_set", "ipsp");
    if (hosted) {
        forward_to(u, m, "save", "gradc_rt_save", "ippi");
        forward_to(u, m, "load", "gradc_rt_load", "ipp");
    }
}
