/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "files/safetensors.h"
#include "base/map.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    base_arena *arena;
    base_ctx *ctx;
    const base_loc *loc;
    const unsigned char *data; /* after the header */
    int64_t size;
    ir_tensors *out;
    int64_t (*range)[2]; /* byte range of each tensor */
} reader;

/* ---- Reading ---- */

static bool refuse(const reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(const reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    base_vreport(r->ctx, BASE_ERROR, r->loc, format, args);
    va_end(args);
    return false;
}

static bool need_count(const json_t *v, int64_t *out)
{
    *out = json_is_integer(v) ? (int64_t)json_integer_value(v) : -1;
    return *out >= 0;
}

static bool read_type(const reader *r, const char *name, const json_t *entry, ir_type *type)
{
    const char *code = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape");
    int t = 0;
    if (!code || !json_is_array(shape))
        return refuse(r, "tensor '%s' lacks dtype or shape", name);
    while (t < IR_DTYPES && strcmp(ir_dtypes[t].safetensors, code))
        t++;
    if (t == IR_DTYPES)
        return refuse(r, "tensor '%s' has the type %.20s, which is not supported", name, code);
    if (json_array_size(shape) > IR_MAX_RANK)
        return refuse(r, "tensor '%s' has %zu dimensions; the limit is %d", name,
                      json_array_size(shape), IR_MAX_RANK);
    *type = (ir_type){.dtype = (ir_dtype)t, .rank = (int)json_array_size(shape)};
    for (int i = 0; i < type->rank; i++)
        if (!need_count(json_array_get(shape, (size_t)i), &type->dim[i]))
            return refuse(r, "tensor '%s' has a dimension that is not a non-negative integer",
                          name);
    return ir_type_ok(type) || refuse(r, "tensor '%s' is above the limit of 2^40 bytes", name);
}

/* Any nonzero byte is true; here it must be 1. */
static void normalise_bools(ir_literal *l)
{
    unsigned char *p = l->data;
    for (int64_t i = 0, n = ir_count(&l->type); i < n; i++)
        p[i] = p[i] != 0;
}

static bool read_tensor(reader *r, const char *name, const json_t *entry)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    ir_type type;
    int64_t begin, end;
    if (strlen(name) > IR_MAX_NAME)
        return refuse(r, "a tensor's name is longer than %d bytes", IR_MAX_NAME);
    if (!json_is_object(entry) || json_object_size(entry) != 3)
        return refuse(r, "the entry of tensor '%s' must consist of dtype, shape and data_offsets",
                      name);
    if (!read_type(r, name, entry, &type))
        return false;
    if (json_array_size(offsets) != 2 || !need_count(json_array_get(offsets, 0), &begin) ||
        !need_count(json_array_get(offsets, 1), &end) || end < begin || end > r->size)
        return refuse(r, "the data of tensor '%s' is outside the file", name);
    if (end - begin != ir_bytes(&type))
        return refuse(r, "tensor '%s' has %lld bytes of data; its type needs %lld", name,
                      (long long)(end - begin), (long long)ir_bytes(&type));
    const unsigned char *at = r->data + begin;
    ir_literal *l = base_new(r->arena, ir_literal);
    *l = (ir_literal){type, (void *)(uintptr_t)at};
    if (type.dtype == IR_BOOL || (uintptr_t)at % (size_t)ir_dtypes[type.dtype].bytes)
        l->data = base_memdup(r->arena, at, (size_t)(end - begin));
    if (type.dtype == IR_BOOL)
        normalise_bools(l);
    ir_tensor t = {base_strdup(r->arena, name), l};
    r->range[r->out->count][0] = begin;
    r->range[r->out->count][1] = end;
    BASE_PUSH(r->arena, r->out, t);
    return true;
}

static bool read_metadata(reader *r, json_t *entry)
{
    const char *key;
    json_t *value;
    if (!json_is_object(entry))
        return refuse(r, "__metadata__ is not an object of strings");
    r->out->metadata = base_array(r->arena, const char *, json_object_size(entry) * 2);
    json_object_foreach(entry, key, value)
    {
        if (!json_is_string(value))
            return refuse(r, "__metadata__ is not an object of strings");
        r->out->metadata[2 * r->out->nmetadata] = base_strdup(r->arena, key);
        r->out->metadata[2 * r->out->nmetadata++ + 1] =
            base_strdup(r->arena, json_string_value(value));
    }
    return true;
}

static int by_range(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

/* The tensors cover the data exactly. */
static bool check_ranges(const reader *r)
{
    int64_t at = 0;
    qsort(r->range, (size_t)r->out->count, sizeof *r->range, by_range);
    for (int i = 0; i < r->out->count; i++) {
        if (r->range[i][0] != at)
            return refuse(
                r, r->range[i][0] < at ? "two tensors overlap" : "the data has a hole at byte %lld",
                (long long)at);
        at = r->range[i][1];
    }
    return at == r->size ||
           refuse(r, "%lld bytes of data belong to no tensor", (long long)(r->size - at));
}

static bool read_entries(reader *r, json_t *root)
{
    const char *name;
    json_t *entry;
    if (!json_is_object(root))
        return refuse(r, "the header is not an object");
    if (json_object_size(root) > IR_MAX_NODES)
        return refuse(r, "more tensors than the limit of %d", IR_MAX_NODES);
    r->range = base_alloc_array(r->arena, json_object_size(root), sizeof *r->range);
    bool ok = true; /* reports everything that is wrong */
    json_object_foreach(root, name, entry) ok &=
        !strcmp(name, "__metadata__") ? read_metadata(r, entry) : read_tensor(r, name, entry);
    return ok && check_ranges(r);
}

bool safetensors_read(base_arena *arena, const base_loc *loc, base_data data, ir_tensors *out)
{
    *out = (ir_tensors){0};
    reader r = {.arena = arena, .ctx = base_arena_ctx(arena), .loc = loc, .out = out};
    uint64_t n = 0;
    if (data.size < 8)
        return refuse(&r, "not a safetensors file: it has only %zu bytes", data.size);
    memcpy(&n, data.bytes, 8);
    if (n > SAFETENSORS_MAX_HEADER || n > data.size - 8)
        return refuse(&r, "not a safetensors file: a header of %llu bytes in a file of %zu",
                      (unsigned long long)n, data.size);
    r.data = data.bytes + 8 + n;
    r.size = (int64_t)(data.size - 8 - n);
    json_error_t why;
    json_t *root = n && data.bytes[8] == '{'
                       ? json_loadb((const char *)data.bytes + 8, n, JSON_REJECT_DUPLICATES, &why)
                       : NULL;
    if (!root)
        return refuse(&r, "the header is not JSON: %s",
                      n && data.bytes[8] == '{' ? why.text : "it does not start with `{`");
    base_try frame;
    if (setjmp(base_try_push(r.ctx, &frame))) {
        json_decref(root);
        base_throw(r.ctx, NULL, NULL);
    }
    bool ok = read_entries(&r, root);
    base_try_pop(r.ctx, &frame);
    json_decref(root);
    return ok;
}

bool safetensors_read_file(base_arena *arena, const char *path, ir_tensors *out)
{
    base_data data;
    return base_read_whole_file(arena, path, IR_MAX_TENSOR_BYTES, &data) &&
           safetensors_read(arena, &(base_loc){.file = path, .node = -1}, data, out);
}

/* ---- Writing ---- */

/* A JSON string. If it is not UTF-8, its bytes above 127 are written as \u escapes, so that the
 * file stays readable. */
static void put_string(FILE *f, const char *text)
{
    json_t *s = json_string(text);
    putc('"', f);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p == '"' || *p == '\\')
            fprintf(f, "\\%c", *p);
        else if (*p < ' ' || *p == 127 || (!s && *p > 127))
            fprintf(f, "\\u%04x", *p);
        else
            putc(*p, f);
    putc('"', f);
    json_decref(s);
}

static void put_header(FILE *f, const ir_tensors *t)
{
    int64_t at = 0;
    putc('{', f);
    if (t->nmetadata)
        fputs("\"__metadata__\":{", f);
    for (int i = 0; i < t->nmetadata; i++) {
        fputs(i ? "," : "", f);
        put_string(f, t->metadata[2 * i]);
        putc(':', f);
        put_string(f, t->metadata[2 * i + 1]);
    }
    fputs(t->nmetadata ? t->count ? "}," : "}" : "", f);
    for (int i = 0; i < t->count; i++) {
        const ir_type *type = &t->items[i].value->type;
        fputs(i ? "," : "", f);
        put_string(f, t->items[i].name);
        fprintf(f, ":{\"dtype\":\"%s\",\"shape\":[", ir_dtypes[type->dtype].safetensors);
        for (int k = 0; k < type->rank; k++)
            fprintf(f, k ? ",%lld" : "%lld", (long long)type->dim[k]);
        fprintf(f, "],\"data_offsets\":[%lld,%lld]}", (long long)at,
                (long long)(at + ir_bytes(type)));
        at += ir_bytes(type);
    }
    putc('}', f);
}

/* Widest elements first, as the format asks, so that every tensor is aligned; otherwise in the
 * given order. */
static ir_tensors ordered(base_arena *scratch, const ir_tensors *tensors)
{
    ir_tensors t = *tensors;
    t.items = base_array(scratch, ir_tensor, t.count);
    int n = 0;
    for (int bytes = 8; bytes; bytes /= 2)
        for (int i = 0; i < t.count; i++)
            if (ir_dtypes[tensors->items[i].value->type.dtype].bytes == bytes)
                t.items[n++] = tensors->items[i];
    BUG_UNLESS(n == t.count);
    return t;
}

bool safetensors_write(FILE *f, base_arena *scratch, const ir_tensors *tensors)
{
    const ir_tensors t = ordered(scratch, tensors);
    char *header = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&header, &n);
    if (!memory)
        return false;
    put_header(memory, &t);
    bool ok = !ferror(memory);
    ok &= fclose(memory) == 0;
    uint64_t padded = (n + 7) / 8 * 8;
    ok = ok && padded <= SAFETENSORS_MAX_HEADER && fwrite(&padded, 8, 1, f) == 1 &&
         fwrite(header, 1, n, f) == n &&
         fprintf(f, "%*s", (int)(padded - n), "") == (int)(padded - n);
    free(header);
    for (int i = 0; ok && i < t.count; i++) {
        size_t bytes = (size_t)ir_bytes(&t.items[i].value->type);
        ok = fwrite(t.items[i].value->data, 1, bytes, f) == bytes;
    }
    return ok;
}

typedef struct writing {
    base_ctx *ctx;
    const ir_tensors *tensors;
} writing;

static bool write_all(FILE *f, void *user)
{
    writing *w = user;
    base_arena *scratch = base_arena_new(w->ctx);
    bool ok = safetensors_write(f, scratch, w->tensors);
    base_arena_free(scratch);
    return ok;
}

bool safetensors_write_file(base_ctx *ctx, const char *path, const ir_tensors *tensors)
{
    writing w = {ctx, tensors};
    return base_write_atomically(ctx, &(base_output){path, write_all, &w}, 1);
}
