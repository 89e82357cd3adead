/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Helpers for the operators' builders: attributes, constant operands, axes. */
#include "frontend/onnx/reader.h"

#include <stdlib.h>

void onnx_error(onnx_node *n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    base_vreport(n->r->ctx, BASE_ERROR, n->loc, format, args);
    va_end(args);
    n->failed = true;
}

/* ---- Attributes ---- */

enum { A_FLOAT = 1, A_INT, A_STRING, A_TENSOR, A_GRAPH, A_FLOATS, A_INTS, A_STRINGS };
static const char *const kinds[] = {"nothing", "a float", "an int", "a string", "a tensor",
                                    "a graph", "floats",  "ints",   "strings"};

/* The kind of the field that is filled; 0: several or none. Lists may be empty, so their `type`
 * counts. */
static int kind_of(const Onnx__AttributeProto *a)
{
    int found = 0, kind = 0;
    const bool has[] = {false,        a->has_f,        a->has_i,      a->has_s,        a->t != NULL,
                        a->g != NULL, a->n_floats > 0, a->n_ints > 0, a->n_strings > 0};
    for (int k = 1; k < 9; k++)
        if (has[k]) {
            found++;
            kind = k;
        }
    if (a->n_tensors || a->n_graphs || a->sparse_tensor || a->has_tp || a->n_type_protos)
        return 0;
    if (!found && a->type >= A_FLOAT && a->type <= A_STRINGS && a->type != A_TENSOR &&
        a->type != A_GRAPH)
        return a->type; /* proto3 writers leave out zeros and empty strings */
    return found == 1 && (!a->type || a->type == kind) ? kind : 0;
}

static const Onnx__AttributeProto *raw_attr(const Onnx__NodeProto *p, const char *name)
{
    for (size_t i = 0; i < p->n_attribute; i++)
        if (p->attribute[i]->name && !strcmp(p->attribute[i]->name, name))
            return p->attribute[i];
    return NULL;
}

/* Follows references to attributes of the function that holds this node. */
static const Onnx__AttributeProto *resolve(const onnx_scope *s, const Onnx__AttributeProto *a)
{
    while (a && a->ref_attr_name && *a->ref_attr_name) {
        while (s && !s->function)
            s = s->outer;
        if (!s)
            return NULL;
        const char *name = a->ref_attr_name;
        const Onnx__FunctionProto *f = s->function;
        a = raw_attr(s->caller->proto, name);
        s = s->caller->scope;
        for (size_t i = 0; !a && i < f->n_attribute_proto; i++)
            if (f->attribute_proto[i]->name && !strcmp(f->attribute_proto[i]->name, name))
                return f->attribute_proto[i];
    }
    return a;
}

const Onnx__AttributeProto *onnx_attr(onnx_node *n, const char *name, int type)
{
    const Onnx__AttributeProto *a = resolve(n->scope, raw_attr(n->proto, name));
    if (!a)
        return NULL;
    if (a->sparse_tensor && type == A_TENSOR)
        return NULL;
    int kind = kind_of(a);
    if (kind == type)
        return a;
    onnx_error(n, "attribute '%s': expected %s, got %s", name, kinds[type], kinds[kind]);
    return NULL;
}

bool onnx_has(onnx_node *n, const char *name)
{
    return resolve(n->scope, raw_attr(n->proto, name)) != NULL;
}

int64_t onnx_int(onnx_node *n, const char *name, int64_t otherwise)
{
    const Onnx__AttributeProto *a = onnx_attr(n, name, A_INT);
    return a ? a->i : otherwise;
}

double onnx_float(onnx_node *n, const char *name, double otherwise)
{
    const Onnx__AttributeProto *a = onnx_attr(n, name, A_FLOAT);
    if (a && !(a->f - a->f == 0)) {
        onnx_error(n, "attribute '%s' is not a finite number", name);
        return otherwise;
    }
    return a ? (double)a->f : otherwise;
}

const char *onnx_text(onnx_node *n, const char *name, const char *otherwise)
{
    const Onnx__AttributeProto *a = onnx_attr(n, name, A_STRING);
    return a ? base_strndup(n->r->arena, a->s.data ? (char *)a->s.data : "", a->s.len) : otherwise;
}

bool onnx_ints(onnx_node *n, const char *name, ir_ints *out)
{
    const Onnx__AttributeProto *a = onnx_attr(n, name, A_INTS);
    *out = (ir_ints){0};
    if (!a)
        return false;
    if (a->n_ints > IR_MAX_NODES) {
        onnx_error(n, "attribute '%s' has too many entries (%zu)", name, a->n_ints);
        return false;
    }
    *out = (ir_ints){(int)a->n_ints, a->ints};
    return true;
}

int onnx_choice(onnx_node *n, const char *name, const char *otherwise, const char *const *list)
{
    const char *text = onnx_text(n, name, otherwise);
    for (int i = 0; list[i]; i++)
        if (!strcmp(list[i], text))
            return i;
    onnx_error(n, "attribute '%s' is '%.40s', which is not supported", name, text);
    return -1;
}

bool onnx_ints_n(onnx_node *n, const char *name, int count, int64_t otherwise, int64_t *out)
{
    ir_ints v;
    bool given = onnx_ints(n, name, &v);
    if (given && v.n != count) {
        onnx_error(n, "attribute '%s' has %d entries, expected %d", name, v.n, count);
        return false;
    }
    for (int i = 0; i < count; i++)
        out[i] = given ? v.v[i] : otherwise;
    return !n->failed;
}

/* ---- Constant operands ---- */

ir_literal *onnx_const(onnx_node *n, int input, const char *what)
{
    const char *why;
    ir_literal *l = onnx_demand(n->r, input < n->nin ? n->in[input] : NULL, &why);
    if (!l)
        onnx_error(n, "input %d (%s) determines a shape and must be a constant; it depends on %s",
                   input, what, why);
    return l;
}

bool onnx_const_ints(onnx_node *n, int input, const char *what, ir_ints *out)
{
    ir_literal *l = onnx_const(n, input, what);
    if (!l)
        return false;
    if (l->type.rank > 1 || !ir_is_int(l->type.dtype) || ir_count(&l->type) > 65536) {
        onnx_error(n, "input %d (%s): expected a list of at most 65536 integers, got %s", input,
                   what, ir_type_text(n->r->scratch, &l->type));
        return false;
    }
    *out = (ir_ints){(int)ir_count(&l->type),
                     base_array(n->r->arena, int64_t, ir_count(&l->type) + 1)};
    for (int i = 0; i < out->n; i++)
        out->v[i] = ir_literal_get_int(l, i);
    return true;
}

bool onnx_const_int(onnx_node *n, int input, const char *what, int64_t *out)
{
    ir_ints v;
    if (!onnx_const_ints(n, input, what, &v))
        return false;
    if (v.n != 1)
        onnx_error(n, "input %d (%s): expected one element, got %d", input, what, v.n);
    else
        *out = v.v[0];
    return !n->failed;
}

bool onnx_const_float(onnx_node *n, int input, const char *what, double *out)
{
    ir_literal *l = onnx_const(n, input, what);
    if (!l)
        return false;
    if (ir_count(&l->type) != 1)
        onnx_error(n, "input %d (%s): expected one number, got %s", input, what,
                   ir_type_text(n->r->scratch, &l->type));
    else
        *out = ir_literal_get(l, 0);
    return !n->failed;
}

/* ---- Axes and shapes ---- */

bool onnx_axis(onnx_node *n, int64_t axis, int rank, int64_t *out)
{
    if (axis < -rank || axis >= rank) {
        onnx_error(n, "axis %lld is out of range for a tensor of rank %d", (long long)axis, rank);
        return false;
    }
    *out = axis < 0 ? axis + rank : axis;
    return true;
}

bool onnx_axes(onnx_node *n, ir_ints axes, int rank, int64_t *out, int *count)
{
    uint32_t seen = 0;
    *count = 0;
    for (int i = 0; i < axes.n; i++) {
        int64_t a;
        if (!onnx_axis(n, axes.v[i], rank, &a))
            return false;
        if (seen >> a & 1) {
            onnx_error(n, "axis %lld is given twice", (long long)axes.v[i]);
            return false;
        }
        seen |= 1u << a;
    }
    for (int i = 0; i < rank; i++)
        if (seen >> i & 1)
            out[(*count)++] = i;
    return true;
}

bool onnx_axes_from(onnx_node *n, const char *attr, int input, ir_ints *out, bool *given)
{
    *given = onnx_ints(n, attr, out);
    if (!*given && !n->failed && input < n->nin && n->in[input])
        *given = onnx_const_ints(n, input, attr, out);
    return !n->failed;
}

bool onnx_shape_ok(onnx_node *n, ir_dtype t, int rank, const int64_t *dim)
{
    if (rank > IR_MAX_RANK) {
        onnx_error(n, "the result's rank %d is above the limit of %d", rank, IR_MAX_RANK);
        return false;
    }
    ir_type type = ir_type_of(t, rank, dim);
    if (!ir_type_ok(&type))
        onnx_error(n, "the result %s has a negative dimension or is too large",
                   ir_type_text(n->r->scratch, &type));
    return !n->failed;
}

ir_literal *onnx_ints_literal(base_arena *arena, ir_dtype t, int rank, const int64_t *dim,
                              const int64_t *v)
{
    ir_type type = ir_type_of(t, rank, dim);
    ir_literal *l = ir_literal_new(arena, &type);
    for (int64_t i = 0; i < ir_count(&type); i++)
        ir_literal_set_int(l, i, v[i]);
    return l;
}

ir_value *onnx_i64s(onnx_node *n, int count, const int64_t *v)
{
    return ir_constant(n->b, onnx_ints_literal(n->r->arena, IR_I64, 1, (int64_t[]){count}, v));
}

const char *onnx_type_text(onnx_node *n, const ir_value *v)
{
    return v ? ir_type_text(n->r->scratch, &v->type) : "nothing";
}

/* ---- Common pieces ---- */

ir_value *onnx_along(ir_builder *b, ir_value *x, int rank, int axis, const int64_t *shape)
{
    return ir_broadcast(b, x, rank, shape, (int64_t[]){axis});
}
