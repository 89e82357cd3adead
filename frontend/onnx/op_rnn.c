/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * RNN, GRU and LSTM as scans. The product of the inputs with W does not depend on the state, so it
 * is one contraction over all steps before the scan; only the product with R is inside. Where
 * 16-bit operands were converted to f32, the state is rounded once per step. */
#include "frontend/onnx/reader.h"
#include "ir/nn.h"

enum { RNN = 1, GRU = 3, LSTM = 4 }; /* gates */

typedef struct activation {
    const char *name;
    ir_value *(*build)(ir_builder *b, ir_value *x);
} activation;

typedef struct cell {
    onnx_node *n;
    ir_builder b;      /* of the step */
    int gates;
    bool linear_before_reset, input_forget;
    const activation *activation[3];
    double clip;
    int64_t steps, batch, hidden;
    ir_value *r, *rb, *p, *h, *c, *x, *valid; /* parameters of the step */
} cell;

static ir_value *hard_sigmoid(ir_builder *b, ir_value *x)
{
    return ir_hard_sigmoid(b, x, 0.2, 0.5);
}

/* With the default values of their parameters. */
static const activation activations[] = {
    {"Sigmoid", ir_logistic},
    {"Tanh", ir_tanh},
    {"Relu", ir_relu},
    {"Softsign", ir_softsign},
    {"Softplus", ir_softplus},
    {"HardSigmoid", hard_sigmoid},
    {NULL, NULL},
};
static const activation *const sigmoid = &activations[0], *const tangent = &activations[1];

static ir_value *activate(cell *k, int which, ir_value *x)
{
    ir_builder *b = &k->b;
    if (k->clip > 0)
        x = ir_hardtanh(b, x, ir_like(b, x, -k->clip), ir_like(b, x, k->clip));
    return k->activation[which]->build(b, x);
}

/* Columns of gate g of [N, gates * H]. */
static ir_value *gate(cell *k, ir_value *x, int g)
{
    return ir_slice_axis(&k->b, x, 1, g * k->hidden, (g + 1) * k->hidden);
}

/* h times the rows of R that belong to gates [from, to). */
static ir_value *recur(cell *k, ir_value *h, int from, int to)
{
    int64_t one = 1;
    return ir_dot_general(&k->b, h, ir_slice_axis(&k->b, k->r, 0, from * k->hidden, to * k->hidden),
                          0, NULL, NULL, 1, &one, &one);
}

/* Vector g of a list of vectors of length H, broadcast to all rows. */
static ir_value *vector(cell *k, ir_value *v, int g)
{
    v = ir_slice_axis(&k->b, v, 0, g * k->hidden, (g + 1) * k->hidden);
    return ir_broadcast(&k->b, v, 2, (int64_t[]){k->batch, k->hidden}, (int64_t[]){1});
}

static ir_value *step_rnn(cell *k)
{
    return activate(k, 0, ir_add(&k->b, k->x, recur(k, k->h, 0, 1)));
}

static ir_value *step_gru(cell *k)
{
    ir_builder *b = &k->b;
    ir_value *all = recur(k, k->h, 0, k->linear_before_reset ? 3 : 2), *z, *r, *g;
    z = activate(k, 0, ir_add(b, gate(k, k->x, 0), gate(k, all, 0)));
    r = activate(k, 0, ir_add(b, gate(k, k->x, 1), gate(k, all, 1)));
    if (k->linear_before_reset) {
        g = gate(k, all, 2);
        g = ir_mul(b, r, k->rb ? ir_add(b, g, vector(k, k->rb, 0)) : g);
    } else {
        g = recur(k, ir_mul(b, r, k->h), 2, 3);
    }
    g = activate(k, 1, ir_add(b, gate(k, k->x, 2), g));
    return z && g ? ir_add(b, ir_mul(b, ir_sub(b, ir_like(&k->b, z, 1), z), g), ir_mul(b, z, k->h))
                  : NULL;
}

static ir_value *step_lstm(cell *k, ir_value **c)
{
    ir_builder *b = &k->b;
    ir_value *all = ir_add(b, k->x, recur(k, k->h, 0, 4)), *i = gate(k, all, 0),
             *o = gate(k, all, 1), *f = gate(k, all, 2), *g = gate(k, all, 3);
    if (k->p) {
        i = ir_add(b, i, ir_mul(b, vector(k, k->p, 0), k->c));
        f = ir_add(b, f, ir_mul(b, vector(k, k->p, 2), k->c));
    }
    i = activate(k, 0, i);
    f = k->input_forget && i ? ir_sub(b, ir_like(&k->b, i, 1), i) : activate(k, 0, f);
    *c = ir_add(b, ir_mul(b, f, k->c), ir_mul(b, i, activate(k, 1, g)));
    if (k->p)
        o = ir_add(b, o, ir_mul(b, vector(k, k->p, 1), *c));
    double clip = k->clip;
    k->clip = 0; /* the cell's state is not clipped */
    ir_value *out = activate(k, 2, *c);
    k->clip = clip;
    return ir_mul(b, activate(k, 0, o), out);
}

/* Slice d of the first dimension, without that dimension. */
static ir_value *part(onnx_node *n, ir_value *v, int d)
{
    return v ? ir_reshape(n->b, ir_slice_axis(n->b, v, 0, d, d + 1), v->type.rank - 1,
                          v->type.dim + 1)
             : NULL;
}

/* x times W and the biases for all steps, [T, N, gates * H]; *rb: the bias that stays inside the
 * step, or NULL. */
static ir_value *project(cell *k, ir_value *x, int d, ir_value **rb)
{
    onnx_node *n = k->n;
    ir_builder *b = n->b;
    int64_t H = k->hidden, wide = k->gates * H, two = 2, one = 1;
    ir_value *bias = n->nin > 3 ? part(n, n->in[3], d) : NULL,
             *xw = ir_dot_general(b, x, part(n, n->in[1], d), 0, NULL, NULL, 1, &two, &one);
    *rb = NULL;
    if (!bias)
        return xw;
    ir_value *wb = ir_slice_axis(b, bias, 0, 0, wide),
             *r = ir_slice_axis(b, bias, 0, wide, 2 * wide);
    if (k->linear_before_reset) { /* the bias of the hidden gate */
        ir_value *sum =
            ir_add(b, ir_slice_axis(b, wb, 0, 0, 2 * H), ir_slice_axis(b, r, 0, 0, 2 * H));
        wb = ir_concat(b, (ir_value *[]){sum, ir_slice_axis(b, wb, 0, 2 * H, 3 * H)}, 2, 0);
        *rb = ir_slice_axis(b, r, 0, 2 * H, 3 * H);
    } else {
        wb = ir_add(b, wb, r);
    }
    return ir_add(b, xw, onnx_along(b, wb, 3, 2, (int64_t[]){k->steps, k->batch, wide}));
}

/* Completes the step's function, whose parameters exist; results h, c, y. */
static bool finish_step(cell *k, ir_func *f)
{
    bool lstm = k->gates == LSTM;
    ir_dtype state = k->h->type.dtype;
    k->h = ir_convert(&k->b, k->h, k->x->type.dtype);
    k->c = lstm ? ir_convert(&k->b, k->c, k->x->type.dtype) : NULL;
    ir_value *c = NULL,
             *h = lstm              ? step_lstm(k, &c)
                  : k->gates == GRU ? step_gru(k)
                                    : step_rnn(k),
             *y = h;
    if (k->valid && h) { /* beyond a sequence's end the state stays and the output is zero */
        ir_value *live = ir_broadcast(&k->b, k->valid, 2, h->type.dim, (int64_t[]){0});
        y = ir_select(&k->b, live, h, ir_like(&k->b, h, 0));
        h = ir_select(&k->b, live, h, k->h);
        c = c ? ir_select(&k->b, live, c, k->c) : NULL;
    }
    ir_value *result[] = {h, y, c};
    for (int i = 0; i < 2 + lstm; i++)
        if (!(result[i] = ir_convert(&k->b, result[i], state)))
            return false;
    ir_add_output(f, NULL, result[0]);
    if (lstm)
        ir_add_output(f, NULL, result[2]);
    ir_add_output(f, NULL, result[1]);
    return true;
}

/* One direction: results y [T, N, H], h and c [N, H]. */
static bool direction(cell *k, ir_value *x, ir_value *valid, int d, bool reverse, ir_value **y,
                      ir_value **h, ir_value **c)
{
    onnx_node *n = k->n;
    ir_builder *b = n->b;
    bool lstm = k->gates == LSTM;
    int64_t H = k->hidden;
    ir_value *r = part(n, n->in[2], d), *rb, *xw = project(k, x, d, &rb);
    ir_value *operand[8],
        *zero = ir_splat(b, &(ir_type){.dtype = x->type.dtype, .rank = 2, .dim = {k->batch, H}}, 0);
    int m = 0;
    k->rb = k->p = k->valid = NULL;
    ir_value *p = lstm && n->nin > 7 ? part(n, n->in[7], d) : NULL,
             *h0 = n->nin > 5 ? part(n, n->in[5], d) : NULL,
             *c0 = lstm && n->nin > 6 ? part(n, n->in[6], d) : NULL;
    ir_value **slot[8];
#define TAKE(value, where)    \
    do {                      \
        operand[m] = (value); \
        slot[m++] = &(where); \
    } while (0)
    TAKE(r, k->r);
    if (rb)
        TAKE(rb, k->rb);
    if (p)
        TAKE(p, k->p);
    int consts = m;
    ir_dtype state = n->rounded == IR_F32 ? x->type.dtype : n->rounded;
    TAKE(ir_convert(b, h0 ? h0 : zero, state), k->h);
    if (lstm)
        TAKE(ir_convert(b, c0 ? c0 : zero, state), k->c);
    int fixed = m;
    TAKE(xw, k->x);
    if (valid)
        TAKE(valid, k->valid);
#undef TAKE
    ir_func *f = onnx_func_new(n->r, "step");
    k->b = ir_builder_new(f);
    k->b.loc = n->loc;
    for (int i = 0; i < m; i++) {
        if (!operand[i])
            return false;
        ir_type t = operand[i]->type;
        if (i >= fixed) {
            memmove(t.dim, t.dim + 1, (size_t)(t.rank - 1) * sizeof *t.dim);
            t.dim[--t.rank] = 0;
        }
        *slot[i] = ir_add_input(f, NULL, &t);
    }
    if (!finish_step(k, f))
        return false;
    ir_inst *scan = ir_build(b, IR_OP_scan, operand, m,
                             &(ir_attrs){.scan = {.body = f,
                                                  .consts = consts,
                                                  .carries = fixed - consts,
                                                  .length = k->steps,
                                                  .reverse = reverse}});
    if (!scan)
        return false;
    *h = scan->result[0];
    *c = lstm ? scan->result[1] : NULL;
    *y = scan->result[fixed - consts];
    return true;
}

static const activation *find_activation(const ProtobufCBinaryData *name)
{
    for (const activation *a = activations; a->name; a++)
        if (name->len == strlen(a->name) && !memcmp(name->data, a->name, name->len))
            return a;
    return NULL;
}

static bool read_activations(onnx_node *n, int directions, cell *k)
{
    const activation *const usual[3] = {k->gates == RNN ? tangent : sigmoid, tangent, tangent};
    const Onnx__AttributeProto *a = onnx_attr(n, "activations", 8);
    int per = k->gates == LSTM ? 3 : k->gates == GRU ? 2 : 1;
    memcpy(k->activation, usual, sizeof usual);
    if (onnx_has(n, "activation_alpha") || onnx_has(n, "activation_beta"))
        onnx_error(n, "activation_alpha and activation_beta are not supported");
    if (a && a->n_strings != (size_t)(per * directions))
        onnx_error(n, "got %zu activations, expected %d", a->n_strings, per * directions);
    for (size_t i = 0; !n->failed && a && i < a->n_strings; i++) {
        const activation *found = find_activation(&a->strings[i]),
                         **used = &k->activation[i % (size_t)per];
        if (!found || (i >= (size_t)per && found != *used))
            onnx_error(
                n,
                !found ? "activation %zu is not supported"
                       : "activation %zu differs between the directions, which is not supported",
                i);
        else
            *used = found;
    }
    return !n->failed;
}

static bool has_type(onnx_node *n, int i, int rank, const int64_t *dim)
{
    ir_value *v = i < n->nin ? n->in[i] : NULL;
    if (!v)
        return true;
    ir_type due = ir_type_of(v->type.dtype, rank, dim);
    if (!ir_shape_eq(&due, &v->type))
        onnx_error(n, "input %d is %s, expected %s", i, onnx_type_text(n, v),
                   ir_type_text(n->r->scratch, &due));
    return !n->failed;
}

/* [D, N, H] from one [N, H] per direction, or [N, D, H] where the batch comes first. */
static ir_value *stack_states(onnx_node *n, ir_value *const *v, int count, bool batch_first)
{
    ir_value *part_of[2];
    for (int i = 0; i < count; i++)
        part_of[i] =
            v[i] ? ir_reshape(n->b, v[i], 3, (int64_t[]){1, v[i]->type.dim[0], v[i]->type.dim[1]})
                 : NULL;
    ir_value *all = ir_concat(n->b, part_of, count, 0);
    return batch_first ? ir_transpose(n->b, all, (int64_t[]){1, 0, 2}) : all;
}

static void recurrent(onnx_node *n, int gates)
{
    static const char *const ways[] = {"forward", "reverse", "bidirectional", NULL};
    ir_builder *b = n->b;
    int way = onnx_choice(n, "direction", "forward", ways), D = way == 2 ? 2 : 1;
    bool batch_first = onnx_int(n, "layout", 0) != 0;
    cell k = {.n = n,
              .gates = gates,
              .linear_before_reset = onnx_int(n, "linear_before_reset", 0) != 0,
              .clip = onnx_float(n, "clip", 0),
              .input_forget = onnx_int(n, "input_forget", 0) != 0};
    ir_value *x = n->in[0], *y[2], *h[2], *c[2], *valid = NULL;
    if (way < 0 || !read_activations(n, D, &k))
        return;
    if (x->type.rank != 3 || n->in[2]->type.rank != 3) {
        onnx_error(n, "expected sequences [T, N, I] and weights [D, gates, H], got %s and %s",
                   onnx_type_text(n, x), onnx_type_text(n, n->in[2]));
        return;
    }
    x = batch_first ? ir_transpose(b, x, (int64_t[]){1, 0, 2}) : x;
    k.steps = x->type.dim[0];
    k.batch = x->type.dim[1];
    k.hidden = n->in[2]->type.dim[2];
    int64_t wide = k.gates * k.hidden, I = x->type.dim[2],
            state[3] = {batch_first ? k.batch : D, batch_first ? D : k.batch, k.hidden};
    if (onnx_int(n, "hidden_size", k.hidden) != k.hidden ||
        !has_type(n, 1, 3, (int64_t[]){D, wide, I}) ||
        !has_type(n, 2, 3, (int64_t[]){D, wide, k.hidden}) ||
        !has_type(n, 3, 2, (int64_t[]){D, 2 * wide}) || !has_type(n, 4, 1, &k.batch) ||
        !has_type(n, 5, 3, state) || !has_type(n, 6, 3, state) ||
        !has_type(n, 7, 2, (int64_t[]){D, 3 * k.hidden})) {
        onnx_error(n, "the operands do not fit a hidden size of %lld", (long long)k.hidden);
        return;
    }
    for (int i = 5; batch_first && i < 7 && i < n->nin; i++)
        n->in[i] = n->in[i] ? ir_transpose(b, n->in[i], (int64_t[]){1, 0, 2}) : NULL;
    if (n->nin > 4 && n->in[4]) {
        int64_t shape[] = {k.steps, k.batch};
        valid =
            ir_compare(b, IR_LT, ir_iota(b, IR_I64, 2, shape, 0),
                       ir_broadcast(b, ir_convert(b, n->in[4], IR_I64), 2, shape, (int64_t[]){1}));
    }
    for (int d = 0; d < D; d++)
        if (!direction(&k, x, valid, d, way == 1 || d == 1, &y[d], &h[d], &c[d]))
            return;
    for (int d = 0; d < D; d++)
        y[d] = ir_reshape(b, y[d], 4, (int64_t[]){k.steps, 1, k.batch, k.hidden});
    n->out[0] = ir_concat(b, y, D, 1);
    if (batch_first)
        n->out[0] = ir_transpose(b, n->out[0], (int64_t[]){2, 0, 1, 3});
    n->out[1] = stack_states(n, h, D, batch_first);
    if (k.gates == LSTM)
        n->out[2] = stack_states(n, c, D, batch_first);
}

void onnx_build_rnn(onnx_node *n)
{
    recurrent(n, RNN);
}

void onnx_build_gru(onnx_node *n)
{
    recurrent(n, GRU);
}

void onnx_build_lstm(onnx_node *n)
{
    recurrent(n, LSTM);
}
