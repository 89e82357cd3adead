/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Tensors of the file as literals. */
#include "frontend/onnx/reader.h"

#include <string.h>
#include <unistd.h>

/* TensorProto.DataType, by number. */
static const struct { const char *name; int dtype;
} types[] = {
    {"undefined", -1},      {"float", IR_F32},    {"uint8", IR_U8},       {"int8", IR_I8},
    {"uint16", IR_U16},     {"int16", IR_I16},    {"int32", IR_I32},      {"int64", IR_I64},
    {"string", -1},         {"bool", IR_BOOL},    {"float16", IR_F16},    {"double", IR_F64},
    {"uint32", IR_U32},     {"uint64", IR_U64},   {"complex64", -1},      {"complex128", -1},
    {"bfloat16", IR_BF16},  {"float8e4m3fn", -1}, {"float8e4m3fnuz", -1}, {"float8e5m2", -1},
    {"float8e5m2fnuz", -1}, {"uint4", -1},        {"int4", -1},           {"float4e2m1", -1},
    {"float8e8m0", -1},     {"uint2", -1},        {"int2", -1},
};
enum { TYPES = sizeof types / sizeof *types };

bool onnx_dtype(onnx_reader *r, const base_loc *loc, int32_t data_type, ir_dtype *out)
{
    if (data_type < 1 || data_type >= TYPES) {
        base_report(r->ctx, BASE_ERROR, loc, "element type %d is not one of ONNX's", data_type);
        return false;
    }
    if (types[data_type].dtype < 0) {
        base_report(r->ctx, BASE_ERROR, loc, "element type %s is not supported",
                    types[data_type].name);
        return false;
    }
    *out = (ir_dtype)types[data_type].dtype;
    return true;
}

const char *onnx_dtype_name(int32_t data_type, int *known)
{
    bool ours = data_type > 0 && data_type < TYPES;
    *known = ours ? types[data_type].dtype : -1;
    return *known >= 0 ? ir_dtypes[*known].name : ours ? types[data_type].name : "?";
}

static bool tensor_type(onnx_reader *r, const base_loc *loc, const Onnx__TensorProto *t,
                        ir_type *out)
{
    ir_dtype dtype;
    if (!onnx_dtype(r, loc, t->data_type, &dtype))
        return false;
    if (t->n_dims > IR_MAX_RANK) {
        base_report(r->ctx, BASE_ERROR, loc, "tensor '%s' has rank %zu, the limit is %d",
                    t->name ? t->name : "", t->n_dims, IR_MAX_RANK);
        return false;
    }
    *out = ir_type_of(dtype, (int)t->n_dims, t->dims);
    if (ir_type_ok(out))
        return true;
    base_report(r->ctx, BASE_ERROR, loc, "tensor '%s' has a negative dimension or is too large",
                t->name ? t->name : "");
    return false;
}

/* Reads bytes of a file beside the model. A file that cannot be opened is reported once, however
 * many tensors it holds. */
static bool read_beside(onnx_reader *r, const base_loc *loc, const char *name, int64_t offset,
                        int64_t bytes, base_data *out)
{
    if (base_map_get_text(&r->unopened, name))
        return false;
    if (base_read_beneath(r->arena, loc, r->folder, name, offset, bytes, out))
        return true;
    int fd = base_open_beneath(r->folder, name, false);
    if (fd < 0)
        base_map_put_text(&r->unopened, name, r);
    else
        close(fd);
    return false;
}

/* Keys of external data: location, offset, length, checksum; each once. */
static bool external(onnx_reader *r, const base_loc *loc, const Onnx__TensorProto *t, int64_t bytes,
                     base_data *out)
{
    const char *keys[] = {"location", "offset", "length", "checksum"}, *value[4] = {NULL};
    int64_t number[4] = {0, 0, bytes, 0};
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key ? t->external_data[i]->key : "";
        int k = 0;
        while (k < 4 && strcmp(keys[k], key))
            k++;
        if (k == 4 || value[k] || !t->external_data[i]->value) {
            base_report(r->ctx, BASE_ERROR, loc, "tensor '%s': external data key '%s' is %s",
                        t->name, key, k == 4 ? "unknown" : "given twice or empty");
            return false;
        }
        value[k] = t->external_data[i]->value;
        if (k == 1 || k == 2) {
            const char *s = value[k];
            int64_t v = 0;
            bool ok = *s != 0;
            for (; *s >= '0' && *s <= '9'; s++)
                ok = ok && base_size_mul(v, 10, &v) && base_size_add(v, *s - '0', &v);
            if (!ok || *s) {
                base_report(r->ctx, BASE_ERROR, loc,
                            "tensor '%s': external data %s '%.40s' is not a number", t->name, key,
                            value[k]);
                return false;
            }
            number[k] = v;
        }
    }
    if (!value[0] || number[2] != bytes) {
        base_report(r->ctx, BASE_ERROR, loc,
                    value[0] ? "tensor '%s': external data has %lld bytes, expected %lld"
                             : "tensor '%s': external data has no location",
                    t->name, (long long)number[2], (long long)bytes);
        return false;
    }
    if (!r->folder) {
        base_report(
            r->ctx, BASE_ERROR, loc,
            "tensor '%s' is in a file beside the model, but the model was not read from a folder",
            t->name);
        return false;
    }
    return read_beside(r, loc, value[0], number[1], bytes, out);
}

/* bytes may be NULL when there are none; a literal's data never is. */
static void from_bytes(onnx_reader *r, ir_literal *l, void *bytes)
{
    int64_t n = ir_bytes(&l->type);
    if (bytes && (uintptr_t)bytes % 16 == 0) {
        l->data = bytes;
    } else {
        l->data = base_alloc(r->arena, (size_t)n);
        if (n)
            memcpy(l->data, bytes, (size_t)n);
    }
    if (l->type.dtype == IR_BOOL)
        for (int64_t i = 0; i < n; i++)
            ((uint8_t *)l->data)[i] = ((uint8_t *)l->data)[i] != 0;
}

/* The number of elements in all typed fields. */
static size_t elements_in_fields(const Onnx__TensorProto *t)
{
    return t->n_float_data + t->n_int32_data + t->n_int64_data + t->n_double_data +
           t->n_uint64_data + t->n_string_data;
}

/* Whether the typed field for the element type holds all elements, and no other field any. 16-bit
 * floats are bit patterns in int32_data. */
static bool from_fields(const Onnx__TensorProto *t, ir_literal *l)
{
    size_t n = (size_t)ir_count(&l->type),
           have[] = {t->n_float_data, t->n_int32_data, t->n_int64_data, t->n_double_data,
                     t->n_uint64_data};
    l->data = NULL;
    ir_dtype d = l->type.dtype;
    int which = d == IR_F32                  ? 0
                : d == IR_I64                ? 2
                : d == IR_F64                ? 3
                : d == IR_U32 || d == IR_U64 ? 4
                                             : 1;
    return have[which] == n && elements_in_fields(t) == n;
}

static void copy_fields(const Onnx__TensorProto *t, ir_literal *l)
{
    for (int64_t i = 0; i < ir_count(&l->type); i++)
        switch (l->type.dtype) {
        case IR_F32: ((float *)l->data)[i] = t->float_data[i]; break;
        case IR_F64: ((double *)l->data)[i] = t->double_data[i]; break;
        case IR_F16:
        case IR_BF16: ((uint16_t *)l->data)[i] = (uint16_t)t->int32_data[i]; break;
        case IR_I64: ((int64_t *)l->data)[i] = t->int64_data[i]; break;
        case IR_U32:
        case IR_U64: ir_literal_set_int(l, i, (int64_t)t->uint64_data[i]); break;
        case IR_BOOL: ((uint8_t *)l->data)[i] = t->int32_data[i] != 0; break;
        default: ir_literal_set_int(l, i, t->int32_data[i]);
        }
}

ir_literal *onnx_literal(onnx_reader *r, const base_loc *loc, const Onnx__TensorProto *t)
{
    ir_literal l = {0};
    if (!tensor_type(r, loc, t, &l.type))
        return NULL;
    int64_t bytes = ir_bytes(&l.type);
    const char *name = t->name ? t->name : "";
    if (t->has_raw_data + (elements_in_fields(t) > 0) + (t->data_location == 1) > 1) {
        base_report(r->ctx, BASE_ERROR, loc,
                    "tensor '%s' has data in two places; expected one of raw_data, a typed field "
                    "and external data",
                    name);
        return NULL;
    }
    if (t->data_location == 1) {
        base_data data;
        if (!external(r, loc, t, bytes, &data))
            return NULL;
        from_bytes(r, &l, data.bytes);
    } else if (t->data_location) {
        base_report(r->ctx, BASE_ERROR, loc, "tensor '%s': unknown data location %d", name,
                    t->data_location);
        return NULL;
    } else if (t->has_raw_data) {
        if (t->raw_data.len != (size_t)bytes) {
            base_report(r->ctx, BASE_ERROR, loc, "tensor '%s' has %zu raw bytes, but %s needs %lld",
                        name, t->raw_data.len, ir_type_text(r->scratch, &l.type), (long long)bytes);
            return NULL;
        }
        from_bytes(r, &l, t->raw_data.data);
    } else {
        if (!from_fields(t, &l)) {
            base_report(r->ctx, BASE_ERROR, loc,
                        "tensor '%s' does not have the %lld elements of %s", name,
                        (long long)ir_count(&l.type), ir_type_text(r->scratch, &l.type));
            return NULL;
        }
        l.data = base_alloc(r->arena, (size_t)bytes);
        copy_fields(t, &l);
    }
    return base_memdup(r->arena, &l, sizeof l);
}

bool onnx_unpacks(onnx_reader *r, const base_loc *loc, int64_t bytes)
{
    if (base_size_within(&r->unpacked, bytes, IR_MAX_UNPACKED_BYTES))
        return true;
    base_report(r->ctx, BASE_ERROR, loc,
                "sparse tensors and operators' tables exceed the limit of %lld bytes in total",
                (long long)IR_MAX_UNPACKED_BYTES);
    return false;
}

ir_literal *onnx_dense_literal(onnx_reader *r, const base_loc *loc,
                               const Onnx__SparseTensorProto *t)
{
    ir_literal *values = t->values ? onnx_literal(r, loc, t->values) : NULL,
               *at = t->indices ? onnx_literal(r, loc, t->indices) : NULL;
    if (!values || !at)
        return NULL;
    ir_type type = {.dtype = values->type.dtype, .rank = (int)t->n_dims};
    bool ok = t->n_dims <= IR_MAX_RANK && at->type.dtype == IR_I64 && values->type.rank == 1 &&
              at->type.rank >= 1 && at->type.rank <= 2 && at->type.dim[0] == values->type.dim[0] &&
              (at->type.rank == 1 || at->type.dim[1] == (int64_t)t->n_dims);
    for (int i = 0; ok && i < type.rank; i++) /* a scalar's dims are NULL */
        type.dim[i] = t->dims[i];
    ok = ok && ir_type_ok(&type) && ir_bytes(&type) <= IR_MAX_FOLD_BYTES;
    if (ok && !onnx_unpacks(r, loc, ir_bytes(&type)))
        return NULL;
    ir_literal *l = ok ? ir_literal_new(r->arena, &type) : NULL;
    int64_t last = -1, size = ir_dtypes[type.dtype].bytes;
    for (int64_t i = 0; ok && i < values->type.dim[0]; i++) {
        int64_t flat = 0;
        if (at->type.rank == 1)
            flat = ((int64_t *)at->data)[i];
        else
            for (int d = 0; ok && d < type.rank; d++) {
                int64_t x = ((int64_t *)at->data)[i * type.rank + d];
                ok = x >= 0 && x < type.dim[d];
                flat = flat * type.dim[d] + x;
            }
        ok = ok && flat > last && flat < ir_count(&type);
        last = flat;
        if (ok)
            memcpy((char *)l->data + flat * size, (char *)values->data + i * size, (size_t)size);
    }
    if (!ok)
        base_report(r->ctx, BASE_ERROR, loc, "a sparse tensor's indices or sizes are not valid");
    return ok ? l : NULL;
}
