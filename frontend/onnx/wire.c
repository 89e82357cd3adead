/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Unpacks a file's protobuf messages. protobuf-c recurses without a limit and trusts the sizes in
 * its input, so the bytes are first walked with an explicit stack, driven by the generated
 * descriptors: https://protobuf.dev/programming-guides/encoding/. What passes is shallow, holds a
 * bounded number of messages, and unpacks within a memory budget computed from the counts. A
 * singular message that occurs twice is merged, as the standard says; protobuf-c copies at each
 * merge, so their number is bounded. */
#include "frontend/onnx/reader.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_MESSAGE_DEPTH = 4 * IR_MAX_DEPTH,
    MAX_REPEATS = 16,
    WIRE_VARINT = 0,
    WIRE_64 = 1,
    WIRE_BYTES = 2,
    WIRE_32 = 5
};

typedef struct level { /* a message that is being walked */
    const ProtobufCMessageDescriptor *type;
    const unsigned char *at, *end;
    uint32_t seen; /* singular message fields met, by position in the descriptor */
} level;

typedef struct walker {
    base_ctx *ctx;
    const base_loc *loc;
    const unsigned char *start;
    int64_t messages, unknown, strings, repeats;
} walker;

static bool fail(const walker *w, const unsigned char *at, const char *what)
{
    base_report(w->ctx, BASE_ERROR, w->loc, "not a valid ONNX file: %s, at byte %lld", what,
                (long long)(at - w->start));
    return false;
}

static bool too_many(const walker *w, const unsigned char *at, const char *what)
{
    char text[64];
    snprintf(text, sizeof text, "it holds more than %d %s", IR_MAX_MESSAGES, what);
    return fail(w, at, text);
}

static bool varint(const walker *w, level *l, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 10; i++) {
        if (l->at == l->end)
            return fail(w, l->at, "it ends inside a varint");
        unsigned char c = *l->at++;
        *out |= (uint64_t)(c & 127) << (7 * i);
        if (c < 128)
            return true;
    }
    return fail(w, l->at, "a varint is longer than ten bytes");
}

/* UTF-8 without NUL; surrogates and overlong forms are refused. */
static bool text_ok(const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = s[i++];
        int more = c < 0x80 ? 0 : c < 0xc2 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : -1;
        if (!c || more < 0 || n - i < (size_t)more)
            return false;
        if (more >= 2 && ((c == 0xe0 && s[i] < 0xa0) || (c == 0xed && s[i] > 0x9f) ||
                          (c == 0xf0 && s[i] < 0x90) || (c == 0xf4 && s[i] > 0x8f)))
            return false;
        for (; more; more--)
            if ((s[i++] & 0xc0) != 0x80)
                return false;
    }
    return true;
}

static int wire_of(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_DOUBLE: return WIRE_64;
    case PROTOBUF_C_TYPE_FLOAT: return WIRE_32;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
    default: return WIRE_VARINT;
    }
}

/* Whether the last element of a packed field ends where the field does. */
static bool packed_ok(const walker *w, const ProtobufCFieldDescriptor *f, const unsigned char *at,
                      const unsigned char *end)
{
    int wire = wire_of(f->type);
    if (wire == WIRE_32 || wire == WIRE_64)
        return (size_t)(end - at) % (wire == WIRE_32 ? 4 : 8) == 0 ||
               fail(w, at, "the length of a packed field is not a multiple of its element size");
    for (level l = {.at = at, .end = end}; l.at < l.end;) {
        uint64_t v;
        if (!varint(w, &l, &v))
            return false;
    }
    return true;
}

/* A length-delimited field's content. */
static bool bytes_field(walker *w, level *l, const ProtobufCFieldDescriptor *f, size_t n,
                        level *inner)
{
    const unsigned char *at = l->at, *end = l->at + n;
    inner->type = NULL;
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        if (!text_ok(at, n))
            return fail(w, at, "a string is not valid UTF-8 or contains a NUL");
        if (n > IR_MAX_NAME && strcmp(f->name, "value"))
            return fail(w, at, "a name is longer than 4096 bytes");
        w->strings++;
    } else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        unsigned position = (unsigned)(f - l->type->fields);
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            if (l->seen >> position & 1 && ++w->repeats > MAX_REPEATS)
                return fail(w, at, "singular messages are repeated too often");
            l->seen |= 1u << position;
        }
        if (++w->messages > IR_MAX_MESSAGES)
            return too_many(w, at, "messages");
        *inner = (level){f->descriptor, at, end, 0};
    } else if (f->type != PROTOBUF_C_TYPE_BYTES) {
        return f->label == PROTOBUF_C_LABEL_REPEATED
                   ? packed_ok(w, f, at, end)
                   : fail(w, at, "a field has the wrong wire type");
    }
    return true;
}

static bool one_field(walker *w, level *l, level *inner)
{
    uint64_t tag, v;
    const unsigned char *at = l->at;
    inner->type = NULL;
    if (!varint(w, l, &tag))
        return false;
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return fail(w, at, "a field number is out of range");
    int wire = (int)(tag & 7);
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(l->type, (unsigned)(tag >> 3));
    if (!f && ++w->unknown > IR_MAX_MESSAGES)
        return too_many(w, at, "unknown fields");
    if (f && wire != wire_of(f->type) && wire != WIRE_BYTES)
        return fail(w, at, "a field has the wrong wire type");
    if (wire == WIRE_VARINT)
        return varint(w, l, &v);
    if (wire == WIRE_64 || wire == WIRE_32) {
        v = wire == WIRE_64 ? 8 : 4;
    } else if (wire != WIRE_BYTES) {
        return fail(w, at, "groups are not part of the format");
    } else if (!varint(w, l, &v)) {
        return false;
    }
    if (v > (uint64_t)(l->end - l->at))
        return fail(w, at, "a field extends beyond its message");
    if (f && wire == WIRE_BYTES && !bytes_field(w, l, f, (size_t)v, inner))
        return false;
    l->at += v;
    return true;
}

static bool walk(walker *w, const unsigned char *bytes, size_t size)
{
    level stack[MAX_MESSAGE_DEPTH];
    int depth = 1;
    stack[0] = (level){&onnx__model_proto__descriptor, bytes, bytes + size, 0};
    while (depth) {
        level *top = &stack[depth - 1], inner;
        if (top->at == top->end) {
            depth--;
            continue;
        }
        if (!one_field(w, top, &inner))
            return false;
        if (!inner.type)
            continue;
        if (depth == MAX_MESSAGE_DEPTH)
            return fail(w, inner.at, "subgraphs are nested more than 100 deep");
        stack[depth++] = inner;
    }
    return true;
}

typedef struct budget {
    base_arena *arena;
    int64_t left;
} budget;

static void *take(void *data, size_t n)
{
    budget *b = data;
    if ((uint64_t)b->left < n)
        return NULL;
    b->left -= (int64_t)n;
    return base_alloc(b->arena, n);
}

static void give_back(void *data, void *p)
{
    (void)data, (void)p;
}

Onnx__ModelProto *onnx_unpack(base_arena *arena, const base_loc *loc, const void *bytes,
                              size_t size)
{
    base_ctx *ctx = base_arena_ctx(arena);
    walker w = {.ctx = ctx, .loc = loc, .start = bytes};
    if (size > INT32_MAX) {
        base_report(ctx, BASE_ERROR, loc,
                    "the file is larger than 2 GiB, which the format does not allow; store weights "
                    "as external data");
        return NULL;
    }
    if (!walk(&w, bytes, size))
        return NULL;
    budget b = {arena, (64 + 2 * w.repeats) * (int64_t)size + 1024 * (w.messages + 1) +
                           128 * (w.unknown + w.strings) + (1 << 20)};
    ProtobufCAllocator allocator = {take, give_back, &b};
    Onnx__ModelProto *model = onnx__model_proto__unpack(&allocator, size, bytes);
    if (!model)
        base_report(ctx, BASE_ERROR, loc,
                    "reading the file needs more memory than its size allows");
    return model;
}
