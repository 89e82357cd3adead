/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Records one operation: checks its operands, promotes and broadcasts them, calls the row's
 * builder, and makes tensors of its results. */
#include "frontend/trace/trace.h"

/* ---- Types promote as in torch ---- */

/* The common type of two; IR_DTYPES if there is none. */
static ir_dtype common(ir_dtype a, ir_dtype b)
{
    int ca = ir_dtypes[a].class, cb = ir_dtypes[b].class, na = ir_dtypes[a].bytes,
        nb = ir_dtypes[b].bytes;
    if (a == b || cb == IR_CLASS_B)
        return a;
    if (ca == IR_CLASS_B)
        return b;
    if (ca == IR_CLASS_F && cb == IR_CLASS_F)
        return na == nb ? IR_F32 : na > nb ? a : b; /* f16 with bf16 gives f32 */
    if (ca == IR_CLASS_F || cb == IR_CLASS_F)
        return ca == IR_CLASS_F ? a : b;
    if (ca == cb)
        return na >= nb ? a : b;
    ir_dtype s = ca == IR_CLASS_S ? a : b, u = ca == IR_CLASS_S ? b : a;
    if (ir_dtypes[s].bytes > ir_dtypes[u].bytes)
        return s;
    return u == IR_U8 ? IR_I16 : u == IR_U16 ? IR_I32 : u == IR_U32 ? IR_I64 : IR_DTYPES;
}

/* Operands have three classes: tensors with dimensions, tensors without, numbers. A later class
 * changes the type only if its kind (bool, integer, float) is higher. */
static ir_dtype prefer(ir_dtype first, ir_dtype second)
{
    if (first == IR_DTYPES || second == IR_DTYPES)
        return first == IR_DTYPES ? second : first;
    if (ir_is_float(first))
        return first;
    return first == IR_BOOL || ir_is_float(second) ? common(first, second) : first;
}

static bool is_whole(double x)
{
    return x >= -9223372036854775808.0 && x < 9223372036854775808.0 && x == (double)(int64_t)x;
}

static bool promote(trace_call *c)
{
    /* With dimensions, without, the number. */
    ir_dtype level[3] = {IR_DTYPES, IR_DTYPES, IR_DTYPES};
    for (int i = 0; i < c->nin; i++) {
        ir_dtype t = c->v[i]->type.dtype, *l = &level[c->v[i]->type.rank == 0], was = *l;
        *l = was == IR_DTYPES ? t : common(was, t);
        if (*l == IR_DTYPES) {
            trace_wrong(c, "%s and %s have no common type", ir_dtypes[was].name, ir_dtypes[t].name);
            return false;
        }
    }
    if (c->row->types & TRACE_NUMBER)
        level[2] = is_whole(c->n[0]) ? IR_I64 : IR_F32;
    ir_dtype t = prefer(level[0], prefer(level[1], level[2]));
    if (t == IR_DTYPES) {
        trace_wrong(c, "%s and %s have no common type", trace_text(c, c->v[0]),
                    trace_text(c, c->v[1]));
        return false;
    }
    if ((c->row->types & TRACE_REAL) && !ir_is_float(t))
        t = IR_F32;
    for (int i = 0; i < c->nin; i++)
        c->v[i] = ir_convert(c->b, c->v[i], t);
    return true;
}

/* If the first float has 16 bits, converts the operands of its type to f32 and returns that type;
 * else returns IR_F32. */
static ir_dtype widen(trace_call *c)
{
    ir_dtype first = IR_DTYPES;
    for (int i = 0; i < c->nin; i++) {
        ir_value *v = c->given[i] = c->v[i];
        if (!v || !ir_is_float(v->type.dtype))
            continue;
        first = first == IR_DTYPES ? v->type.dtype : first;
        if (v->type.dtype == first && ir_dtypes[first].bytes < 4)
            c->v[i] = ir_convert(c->b, v, IR_F32);
    }
    return first != IR_DTYPES && ir_dtypes[first].bytes < 4 ? first : IR_F32;
}

static bool spread(trace_call *c)
{
    /* The second round broadcasts the earlier operands to dimensions that the later ones added. */
    for (int k = 0; k < 2; k++)
        for (int i = 1; i < c->nin; i++)
            if (!ir_broadcast_both(c->b, &c->v[0], &c->v[i]))
                return false;
    return true;
}

/* *rounded: what f32 results are rounded to. */
static bool prepare(trace_call *c, ir_dtype *rounded)
{
    int types = c->row->types;
    for (int i = 0; (types & TRACE_FLOATS) && i < c->nin; i++) {
        ir_value *v = c->v[i];
        if (v && (!ir_is_float(v->type.dtype) || v->type.dtype != c->v[0]->type.dtype)) {
            trace_wrong(c, "operand %d is %s, expected %s", i, trace_text(c, v),
                        i ? ir_dtypes[c->v[0]->type.dtype].name : "a float type");
            return false;
        }
    }
    if ((types & (TRACE_PROMOTE | TRACE_REAL)) && !promote(c))
        return false;
    *rounded = types & TRACE_WIDE ? widen(c) : IR_F32;
    if (types & TRACE_NUMBER && c->v[0]) {
        c->v[1] = ir_scalar(c->b, c->v[0]->type.dtype, c->n[0]);
        c->nin = 2;
    }
    return !(types & TRACE_SPREAD) || spread(c);
}

/* ---- Results ---- */

/* A value of the result's own: not a parameter, nor another tensor's value. */
static ir_value *own(trace_call *c, ir_value *v, bool cut_off)
{
    if (cut_off)
        return ir_stop_gradient(c->b, v);
    if (v->def && !v->aux)
        return v;
    return ir_build1(c->b, IR_OP_reshape, &v, 1,
                     &(ir_attrs){.reshape.shape = ir_ints_of(c->b, v->type.rank, v->type.dim)});
}

static trace_node *node_new(trace_call *c, int nin)
{
    base_arena *arena = trace_top(c->g)->arena;
    trace_node *node = base_new(arena, trace_node);
    node->grad_fn = c->grad_fn;
    node->in = base_array(arena, gradc_tensor *, nin);
    for (int i = 0; i < nin; i++)
        if (c->in[i] && c->in[i]->requires_grad)
            node->in[node->nin++] = c->in[i];
    return node;
}

static void wrap(trace_call *c, int nin)
{
    bool any = false, symbolic = false;
    for (int i = 0; i < nin; i++) {
        const gradc_tensor *x = c->in[i];
        any |= x && x->requires_grad;
        symbolic |= x && (x->symbolic || (x->update && x->update->symbolic));
    }
    bool recorded = any && !c->g->no_grad && c->grad_fn;
    trace_node *node = recorded ? node_new(c, nin) : NULL;
    gradc_tensor *made[TRACE_RESULTS] = {NULL};
    for (int i = 0; i < TRACE_RESULTS; i++) {
        if (!c->out[i])
            continue;
        ir_value *v = own(c, c->out[i], any && !recorded && ir_is_float(c->out[i]->type.dtype));
        if (!v)
            return;
        gradc_tensor *x = trace_result_new(c->g, v);
        x->symbolic = symbolic;
        if (recorded && ir_is_float(v->type.dtype)) {
            x->node = node;
            x->requires_grad = true;
        }
        made[i] = x;
    }
    c->result = made[0];
    if (c->also)
        *c->also = made[1];
}

static void record(gradc *g, void *user)
{
    trace_call *c = user;
    base_arena *arena = trace_top(g)->arena;
    ir_builder b = ir_builder_new(trace_top(g)->func);
    base_loc *loc = base_new(arena, base_loc);
    int nin = c->nin;
    *loc = (base_loc){.op = c->row->name, .node = -1};
    b.loc = loc;
    c->b = &b;
    c->grad_fn = c->row->grad_fn;
    c->v = base_array(arena, ir_value *, nin + 1);
    for (int i = 0; i < nin; i++)
        c->v[i] = c->in[i] ? trace_value(c->in[i]) : NULL;
    c->given = base_array(arena, ir_value *, nin + 1);
    ir_dtype rounded;
    if (!prepare(c, &rounded))
        return;
    c->row->build(c);
    for (int i = 0; i < TRACE_RESULTS && rounded != IR_F32; i++)
        if (c->out[i] && c->out[i]->type.dtype == IR_F32)
            c->out[i] = ir_convert(&b, c->out[i], rounded);
    if (!b.failed && c->out[0])
        wrap(c, nin);
}

gradc_tensor *trace_apply(trace_call *c)
{
    gradc *g = c->g;
    if (!g)
        return NULL;
    if (c->also)
        *c->also = NULL;
    if (c->nin < 1) {
        trace_error(g, c->row->name, "expected at least one tensor");
        return NULL;
    }
    for (int i = 0; i < c->nin; i++) {
        if (!c->in[i] && (c->optional >> i & 1) && !g->failed)
            continue;
        if (!c->in[i] && g->failed)
            return NULL;
        if (!trace_mine(g, c->row->name, c->in[i]))
            return NULL;
    }
    for (size_t i = 0; i < sizeof c->s / sizeof *c->s; i++)
        if (c->s[i].rank < 0 || c->s[i].rank > IR_MAX_RANK) {
            trace_error(g, c->row->name, "a list has %d numbers, expected at most %d", c->s[i].rank,
                        IR_MAX_RANK);
            return NULL;
        }
    trace_try(g, record, c);
    return c->result;
}

/* ---- For builders ---- */

void trace_wrong(trace_call *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    base_vreport(c->g->ctx, BASE_ERROR, c->b->loc, format, args);
    va_end(args);
    c->b->failed = true;
}

const char *trace_text(trace_call *c, const ir_value *v)
{
    return v ? ir_type_text(c->b->func->module->arena, &v->type) : "nothing";
}

bool trace_dim(trace_call *c, int64_t dim, int room, int *out)
{
    if (dim < -room || dim >= room) {
        trace_wrong(c, "dimension %lld is out of range for %s", (long long)dim,
                    c->v[0] ? trace_text(c, c->v[0]) : "?");
        return false;
    }
    *out = (int)(dim < 0 ? dim + room : dim);
    return true;
}

bool trace_dims(trace_call *c, gradc_shape dims, int rank, int64_t *out, int *n)
{
    bool on[IR_MAX_RANK] = {false};
    for (int i = 0, d; i < dims.rank; i++) {
        /* As in torch, a tensor of rank 0 has one dimension here. */
        if (rank == 0 && (dims.dim[i] == 0 || dims.dim[i] == -1))
            continue;
        if (!trace_dim(c, dims.dim[i], rank, &d))
            return false;
        if (on[d]) {
            trace_wrong(c, "dimension %lld is given twice", (long long)dims.dim[i]);
            return false;
        }
        on[d] = true;
    }
    *n = 0;
    for (int i = 0; i < rank; i++)
        if (on[i] || !dims.rank)
            out[(*n)++] = i;
    return true;
}

bool trace_numbers(trace_call *c, const char *what, gradc_shape from, int n, int64_t otherwise,
                   int64_t *out)
{
    if (from.rank > 1 && from.rank != n) {
        trace_wrong(c, "%s has %d numbers, expected 1 or %d", what, from.rank, n);
        return false;
    }
    for (int i = 0; i < n; i++)
        out[i] = from.rank == 0 ? otherwise : from.dim[from.rank == 1 ? 0 : i];
    return true;
}

ir_value *trace_choose(trace_call *c, ir_value *yes, ir_value *no)
{
    ir_type t = ir_scalar_type(IR_BOOL);
    if (!yes || !no)
        return NULL;
    ir_value *flag = trace_special(c->g, TRACE_TRAINING, &t, 1);
    ir_value *v = ir_select(c->b, ir_broadcast_like(c->b, flag, yes), yes, no);
    /* trace_cut_value() skips the select, so it must not itself be the value of a tensor. */
    return ir_build1(c->b, IR_OP_reshape, &v, 1,
                     &(ir_attrs){.reshape.shape = ir_ints_of(c->b, yes->type.rank, yes->type.dim)});
}

ir_value *trace_random_bits(trace_call *c, const ir_type *shape)
{
    gradc *g = c->g;
    ir_type t = ir_scalar_type(IR_U64);
    ir_value *from[] = {trace_special(g, TRACE_SEED, &t, g->seed),
                        trace_special(g, TRACE_CALL, &t, g->calls++)};
    return ir_build1(c->b, IR_OP_random_bits, from, 2,
                     &(ir_attrs){.random_bits.shape = ir_ints_of(c->b, shape->rank, shape->dim)});
}

void trace_update(trace_call *c, gradc_tensor *x, ir_value *old, ir_value *v)
{
    v = trace_choose(c, ir_stop_gradient(c->b, v), old);
    if (v) {
        gradc_tensor *to = trace_result_new(c->g, v);
        for (int i = 0; i < c->nin; i++)
            to->symbolic |= c->in[i] && c->in[i]->symbolic;
        trace_set_update(x, to);
    }
}
