/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Mutants of ONNX files. The bytes are cut into a tree of fields, driven by the generated
 * descriptors; fields are dropped, repeated, moved to another message of the kind, taken from
 * another file, or their values changed; then lengths are written anew. So a mutant is a file that
 * the wire format has nothing against, and most of what it holds fits together. */
#include "frontend/onnx/onnx.h"
#include "onnx.pb-c.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { MOST_DEPTH = 60, VARINT = 0, WIRE_64 = 1, BYTES = 2, WIRE_32 = 5 };

typedef struct field field;
struct field {
    /* What it stands in; what it holds, NULL: it is no message. */
    const ProtobufCMessageDescriptor *parent, *type;
    uint64_t number;                                 /* of a varint */
    const uint8_t *bytes;                            /* of what has a length, or 4 or 8 */
    /* Of bytes; of a message once it is measured. */
    size_t size;
    unsigned id, wire;
    BASE_LIST(field *) inner;
};

typedef struct reader {
    base_arena *arena;
    const uint8_t *at, *end;
} reader;

static bool varint(reader *r, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 10 && r->at < r->end; i++) {
        uint8_t c = *r->at++;
        *out |= (uint64_t)(c & 127) << 7 * i;
        if (c < 128)
            return true;
    }
    return false;
}

/* The fields of a message up to the first that is none. */
static void read_fields(base_arena *arena, field *m, const uint8_t *bytes, size_t size, int depth)
{
    reader r = {arena, bytes, bytes + size};
    uint64_t tag, n;
    while (r.at < r.end && varint(&r, &tag)) {
        field *f = base_new(arena, field);
        const ProtobufCFieldDescriptor *d =
            protobuf_c_message_descriptor_get_field(m->type, (unsigned)(tag >> 3));
        *f = (field){.parent = m->type, .id = (unsigned)(tag >> 3), .wire = tag & 7};
        if (f->wire == VARINT) {
            if (!varint(&r, &f->number))
                return;
        } else {
            n = f->wire == WIRE_64 ? 8 : 4;
            if ((f->wire == BYTES && !varint(&r, &n)) || n > (uint64_t)(r.end - r.at) ||
                f->wire == 3 || f->wire == 4 || f->wire > WIRE_32)
                return;
            f->bytes = r.at;
            f->size = (size_t)n;
            r.at += n;
            if (f->wire == BYTES && d && d->type == PROTOBUF_C_TYPE_MESSAGE && depth < MOST_DEPTH) {
                f->type = d->descriptor;
                read_fields(arena, f, f->bytes, f->size, depth + 1);
            }
        }
        BASE_PUSH(arena, &m->inner, f);
    }
}

static field *read_model(base_arena *arena, const uint8_t *bytes, size_t size)
{
    field *m = base_new(arena, field);
    m->type = &onnx__model_proto__descriptor;
    read_fields(arena, m, bytes, size, 0);
    return m;
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

static size_t measure(field *f)
{
    size_t n = 0;
    for (int i = 0; i < f->inner.count; i++) {
        field *x = f->inner.items[i];
        if (x->type)
            measure(x);
        n += varint_size((uint64_t)x->id << 3);
        n += x->wire == VARINT ? varint_size(x->number)
                               : x->size + (x->wire == BYTES ? varint_size(x->size) : 0);
    }
    return f->size = n;
}

static uint8_t *put_varint(uint8_t *to, uint64_t v)
{
    for (; v > 127; v >>= 7)
        *to++ = (uint8_t)(v | 128);
    *to++ = (uint8_t)v;
    return to;
}

static uint8_t *write_fields(uint8_t *to, const field *f)
{
    for (int i = 0; i < f->inner.count; i++) {
        const field *x = f->inner.items[i];
        to = put_varint(to, (uint64_t)x->id << 3 | x->wire);
        if (x->wire == VARINT) {
            to = put_varint(to, x->number);
            continue;
        }
        if (x->wire == BYTES)
            to = put_varint(to, x->size);
        if (x->type)
            to = write_fields(to, x);
        else if (x->size)
            memcpy(to, x->bytes, x->size);
        to += x->type ? 0 : x->size;
    }
    return to;
}

/* ---- Choice ---- */

typedef struct chooser {
    uint64_t *state;
    const ProtobufCMessageDescriptor *parent; /* fields of such a message, or NULL */
    unsigned id;                              /* of that number, or 0 */
    bool any_string, messages;                /* strings alone; what holds fields alone */
    size_t seen;
    field *found;
} chooser;

static bool is_string(const field *f)
{
    const ProtobufCFieldDescriptor *d =
        f->parent ? protobuf_c_message_descriptor_get_field(f->parent, f->id) : NULL;
    return d && d->type == PROTOBUF_C_TYPE_STRING && f->wire == BYTES;
}

/* One of those in the tree that fit, all as likely. */
static void choose(chooser *c, field *f)
{
    bool fits = (!c->parent || f->parent == c->parent) && (!c->id || f->id == c->id) &&
                (!c->any_string || is_string(f)) &&
                (c->messages ? f->type && f->inner.count : f->parent != NULL);
    if (fits && !fuzz_draw(c->state, ++c->seen))
        c->found = f;
    for (int i = 0; i < f->inner.count; i++)
        choose(c, f->inner.items[i]);
}

static field *one_of(uint64_t *state, field *tree, chooser c)
{
    c.state = state;
    choose(&c, tree);
    return c.found;
}

/* ---- Changes ---- */

static void insert(base_arena *arena, field *m, int at, field *f)
{
    BASE_PUSH(arena, &m->inner, f);
    for (int i = m->inner.count - 1; i > at; i--)
        m->inner.items[i] = m->inner.items[i - 1];
    m->inner.items[at] = f;
}

/* Copies, so that a field which stands twice can be changed once, and no message holds itself. */
static field *copy(base_arena *arena, const field *f)
{
    field *c = base_memdup(arena, f, sizeof *f);
    c->inner.items = NULL;
    c->inner.count = c->inner.capacity = 0;
    for (int i = 0; i < f->inner.count; i++)
        BASE_PUSH(arena, &c->inner, copy(arena, f->inner.items[i]));
    return c;
}

/* The fields of a message change place, number or kin. */
static void change_fields(base_arena *arena, uint64_t *state, field *tree, field *from)
{
    field *m = one_of(state, tree, (chooser){.messages = true});
    if (!m)
        return;
    int n = m->inner.count, at = (int)fuzz_draw(state, (size_t)n),
        other = (int)fuzz_draw(state, (size_t)n);
    field *x = m->inner.items[at], *kin;
    switch (fuzz_draw(state, 5)) {
    case 0: /* dropped */
        for (m->inner.count--; at < m->inner.count; at++)
            m->inner.items[at] = m->inner.items[at + 1];
        break;
    case 1: insert(arena, m, other, copy(arena, x)); break;
    case 2:
        m->inner.items[at] = m->inner.items[other];
        m->inner.items[other] = x;
        break;
    case 3: /* another of its kind in its place */
        kin = one_of(state, from, (chooser){.parent = x->parent, .id = x->id});
        if (kin)
            m->inner.items[at] = copy(arena, kin);
        break;
    default: /* a field that such a message has elsewhere beside it */
        kin = one_of(state, from, (chooser){.parent = m->type});
        if (kin)
            insert(arena, m, at, copy(arena, kin));
    }
}

static uint64_t other_number(uint64_t *state, uint64_t v)
{
    static const int64_t some[] = {
        0,   1,     2,         3,         4,         5,         7,
        8,   11,    13,        16,        -1,        -2,        64,
        255, 65536, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, (int64_t)1 << 40};
    switch (fuzz_draw(state, 3)) {
    case 0: return (uint64_t)some[fuzz_draw(state, sizeof some / sizeof *some)];
    case 1: return v + fuzz_draw(state, 5) - 2;
    default: return fuzz_draw(state, 24);
    }
}

/* A value: another name of the file, another operator, another number, other bytes. */
static void change_value(base_arena *arena, uint64_t *state, field *tree, field *from)
{
    field *x = one_of(state, tree, (chooser){.any_string = fuzz_draw(state, 3) == 0}),
          *other = NULL;
    if (!x || x->type)
        return;
    if (x->wire == VARINT) {
        x->number = other_number(state, x->number);
        return;
    }
    bool named = is_string(x), op = x->parent == &onnx__node_proto__descriptor && x->id == 4;
    if (named && fuzz_draw(state, 8)) {
        onnx_op_info info;
        size_t ops = 0;
        while (onnx_op_at((int)ops, &info))
            ops++;
        if (op && onnx_op_at((int)fuzz_draw(state, ops), &info)) {
            x->bytes = (const uint8_t *)info.name;
            x->size = strlen(info.name);
        } else {
            other = one_of(state, from, (chooser){.any_string = true});
        }
        if (other) {
            x->bytes = other->bytes;
            x->size = other->size;
        }
        return;
    }
    size_t room = x->wire == BYTES ? x->size + 16 : x->size;
    uint8_t *bytes = base_alloc(arena, room + 1);
    if (x->size)
        memcpy(bytes, x->bytes, x->size);
    size_t n = LLVMFuzzerMutate(bytes, x->size, room);
    x->bytes = bytes;
    x->size = x->wire == BYTES ? n : x->size;
}

/* Of `one`, some from `two`; 0 if it has no room. */
static size_t mutate(const uint8_t *one, size_t n1, const uint8_t *two, size_t n2, uint8_t *out,
                     size_t room, unsigned seed)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_try frame;
    volatile size_t n = 0;
    if (!setjmp(base_try_push(ctx, &frame))) {
        base_arena *arena = base_arena_new(ctx);
        uint64_t state = seed;
        field *tree = read_model(arena, one, n1), *from = read_model(arena, two, n2);
        for (uint32_t times = 1 + fuzz_draw(&state, 3); times; times--)
            (fuzz_draw(&state, 2) ? change_fields : change_value)(arena, &state, tree, from);
        size_t size = measure(tree);
        if (size <= room)
            n = (size_t)(write_fields(out, tree) - out);
        base_try_pop(ctx, &frame);
    }
    base_ctx_free(ctx);
    return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    static uint8_t out[1 << 20];
    size_t n =
        seed % 16 && room <= sizeof out ? mutate(data, size, data, size, out, room, seed) : 0;
    if (!n)
        return LLVMFuzzerMutate(data, size, room);
    memcpy(data, out, n);
    return n;
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t n1, const uint8_t *two, size_t n2,
                                 uint8_t *out, size_t room, unsigned seed)
{
    return mutate(one, n1, two, n2, out, room, seed);
}
