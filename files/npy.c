/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * .npy and IDX. */
#include "files/npy.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static ir_literal *refuse(base_arena *arena, const base_loc *loc, const char *what)
{
    base_report(base_arena_ctx(arena), BASE_ERROR, loc, "%s", what);
    return NULL;
}

/* ---- .npy: the header, a Python dictionary ---- */

typedef struct header {
    const char *at, *end;
    char descr[32];
    bool fortran;
    ir_type type;
    unsigned given; /* keys seen, a bit each */
} header;

static void blanks(header *h)
{
    while (h->at < h->end && (*h->at == ' ' || *h->at == '\n' || *h->at == '\t'))
        h->at++;
}

static bool take(header *h, char c)
{
    blanks(h);
    bool found = h->at < h->end && *h->at == c;
    h->at += found;
    return found;
}

static bool take_word(header *h, const char *word)
{
    blanks(h);
    size_t n = strlen(word);
    bool found = (size_t)(h->end - h->at) >= n && !memcmp(h->at, word, n);
    h->at += found ? n : 0;
    return found;
}

/* A string without escapes, truncated to the buffer. */
static bool string(header *h, char *out, size_t size)
{
    blanks(h);
    char quote = h->at < h->end ? *h->at : 0;
    size_t n = 0;
    if (quote != '\'' && quote != '"')
        return false;
    for (h->at++; h->at < h->end && *h->at != quote; h->at++)
        if (n + 1 < size)
            out[n++] = *h->at;
    out[n] = 0;
    return take(h, quote);
}

static bool count(header *h, int64_t *out)
{
    blanks(h);
    *out = 0;
    const char *start = h->at;
    for (; h->at < h->end && isdigit((unsigned char)*h->at); h->at++)
        if (!base_size_mul(*out, 10, out) || !base_size_add(*out, *h->at - '0', out))
            return false;
    return h->at > start;
}

static const char *shape(header *h)
{
    if (!take(h, '('))
        return "the shape is not a tuple";
    while (!take(h, ')')) {
        if (h->type.rank == IR_MAX_RANK)
            return "the array has more than 16 dimensions";
        if (!count(h, &h->type.dim[h->type.rank]))
            return "the shape has a dimension that is not a non-negative integer";
        h->type.rank++;
        if (!take(h, ',')) {
            if (!take(h, ')'))
                return "expected `,` or `)` in the shape";
            break;
        }
    }
    return NULL;
}

static const char *parse_header(header *h)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    if (!take(h, '{'))
        return "the header is not a dictionary";
    while (!take(h, '}')) {
        char key[20];
        int k = 0;
        if (!string(h, key, sizeof key) || !take(h, ':'))
            return "the header is not a dictionary";
        while (k < 3 && strcmp(keys[k], key))
            k++;
        if (k == 3 || h->given >> k & 1)
            return "the header has an unknown or repeated key";
        h->given |= 1u << k;
        if (k == 0 && !string(h, h->descr, sizeof h->descr))
            return "the array has a structured type (records), which is not supported";
        if (k == 1 && !(h->fortran = take_word(h, "True")) && !take_word(h, "False"))
            return "fortran_order is neither True nor False";
        const char *wrong = k == 2 ? shape(h) : NULL;
        if (wrong)
            return wrong;
        if (!take(h, ',') && !(h->at < h->end && *h->at == '}'))
            return "the header is not a dictionary";
    }
    blanks(h);
    return h->given != 7     ? "the header lacks descr, fortran_order or shape"
           : h->at != h->end ? "unexpected text after the header's dictionary"
                             : NULL;
}

/* '<f4' and so on; *swap: stored with the high byte first. False if the type is not supported. */
static bool dtype_of(const char *descr, ir_dtype *out, bool *swap)
{
    *swap = *descr == '>';
    if (!strchr("<>|=", *descr) || !*descr)
        return false;
    for (int t = 0; t < IR_DTYPES; t++)
        if (!strcmp(ir_dtypes[t].npy + 1, descr + 1)) {
            *out = (ir_dtype)t;
            return true;
        }
    return false;
}

/* ---- .npy: elements ---- */

static void swap_bytes(unsigned char *p, int64_t n, int size)
{
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < size / 2; k++) {
            unsigned char c = p[i * size + k];
            p[i * size + k] = p[i * size + size - 1 - k];
            p[i * size + size - 1 - k] = c;
        }
}

/* Column-major to row-major. */
static void from_fortran(const unsigned char *from, unsigned char *to, const ir_type *t)
{
    int size = ir_dtypes[t->dtype].bytes;
    int64_t at[IR_MAX_RANK] = {0}, stride[IR_MAX_RANK], source = 0, step = 1;
    for (int i = 0; i < t->rank; i++) {
        stride[i] = step;
        step *= t->dim[i];
    }
    for (int64_t i = 0, n = ir_count(t); i < n; i++) {
        memcpy(to + i * size, from + source * size, (size_t)size);
        for (int d = t->rank - 1; d >= 0; d--) { /* the next index in row-major order */
            source += stride[d];
            if (++at[d] < t->dim[d])
                break;
            source -= at[d] * stride[d];
            at[d] = 0;
        }
    }
}

static ir_literal *elements(base_arena *arena, const header *h, const unsigned char *at, bool swap)
{
    const ir_type *t = &h->type;
    int size = ir_dtypes[t->dtype].bytes;
    bool copy = swap || h->fortran || t->dtype == IR_BOOL || (uintptr_t)at % (size_t)size;
    ir_literal *l = base_new(arena, ir_literal);
    *l = (ir_literal){*t, (void *)(uintptr_t)at};
    if (!copy)
        return l;
    l->data = base_alloc(arena, (size_t)ir_bytes(t));
    if (h->fortran)
        from_fortran(at, l->data, t);
    else if (ir_bytes(t))
        memcpy(l->data, at, (size_t)ir_bytes(t));
    if (swap)
        swap_bytes(l->data, ir_count(t), size);
    for (int64_t i = 0, n = t->dtype == IR_BOOL ? ir_count(t) : 0; i < n; i++)
        ((unsigned char *)l->data)[i] = ((unsigned char *)l->data)[i] != 0;
    return l;
}

ir_literal *npy_read(base_arena *arena, const base_loc *loc, base_data data)
{
    if (data.size < 10 || memcmp(data.bytes, "\x93NUMPY", 6))
        return refuse(arena, loc, "not a .npy file");
    int version = data.bytes[6];
    size_t fixed = version == 1 ? 10 : 12, n = (size_t)data.bytes[8] | (size_t)data.bytes[9] << 8;
    if (version < 1 || version > 3 || data.size < fixed)
        return refuse(arena, loc, "unknown version of the .npy format");
    if (version > 1)
        n |= (size_t)data.bytes[10] << 16 | (size_t)data.bytes[11] << 24;
    if (n > data.size - fixed)
        return refuse(arena, loc, "the header is longer than the file");
    header h = {.at = (const char *)data.bytes + fixed,
                .end = (const char *)data.bytes + fixed + n};
    const char *wrong = parse_header(&h);
    bool swap;
    if (wrong)
        return refuse(arena, loc, wrong);
    if (!dtype_of(h.descr, &h.type.dtype, &swap))
        return refuse(arena, loc,
                      base_format(arena, "the array's type '%s' is not supported", h.descr));
    if (!ir_type_ok(&h.type))
        return refuse(arena, loc, "the array is above the limit of 2^40 bytes");
    if ((int64_t)(data.size - fixed - n) != ir_bytes(&h.type))
        return refuse(arena, loc,
                      base_format(arena, "the file has %zu bytes of data; %s needs %lld",
                                  data.size - fixed - n, ir_type_text(arena, &h.type),
                                  (long long)ir_bytes(&h.type)));
    return elements(arena, &h, data.bytes + fixed + n, swap);
}

ir_literal *npy_read_file(base_arena *arena, const char *path)
{
    base_data data;
    return base_read_whole_file(arena, path, IR_MAX_TENSOR_BYTES, &data)
               ? npy_read(arena, &(base_loc){.file = path, .node = -1}, data)
               : NULL;
}

base_data npy_header(base_arena *arena, const ir_type *t)
{
    char text[64 + 21 * IR_MAX_RANK];
    int n = sprintf(text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                    ir_dtypes[t->dtype].npy);
    for (int i = 0; i < t->rank; i++)
        n += sprintf(text + n, i ? ", %lld" : "%lld", (long long)t->dim[i]);
    n += sprintf(text + n, t->rank == 1 ? ",), }" : "), }");
    /* Elements start at a multiple of 64, as the format asks. */
    size_t size = ((size_t)n + 1 + 10 + 63) / 64 * 64;
    unsigned char *bytes = base_alloc(arena, size + 1);
    memset(bytes, ' ', size);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (unsigned char)(size - 10);
    bytes[9] = (unsigned char)((size - 10) >> 8);
    memcpy(bytes + 10, text, (size_t)n);
    bytes[size - 1] = '\n';
    return (base_data){bytes, size};
}

typedef struct writing {
    base_ctx *ctx;
    const ir_literal *literal;
} writing;

static bool write_npy(FILE *f, void *user)
{
    const writing *w = user;
    base_arena *scratch = base_arena_new(w->ctx);
    base_data head = npy_header(scratch, &w->literal->type);
    size_t bytes = (size_t)ir_bytes(&w->literal->type);
    bool ok = fwrite(head.bytes, 1, head.size, f) == head.size &&
              fwrite(w->literal->data, 1, bytes, f) == bytes;
    base_arena_free(scratch);
    return ok;
}

bool npy_write(FILE *f, base_ctx *ctx, const ir_literal *l)
{
    return write_npy(f, &(writing){ctx, l});
}

/* ---- Inflating ---- */

static void *inflate_alloc(void *arena, unsigned n, unsigned size)
{
    return base_alloc_array(arena, n, size);
}

static void inflate_free(void *arena, void *p)
{
    (void)arena, (void)p;
}

/* One call of inflate takes at most 4 GiB of input and of output. */
static int inflate_some(z_stream *z, const unsigned char *from, size_t n, unsigned char *to,
                        size_t size, size_t *in, size_t *out)
{
    enum { PIECE = 1 << 30 };
    int status = Z_OK;
    *in = *out = 0;
    while (status == Z_OK) {
        z->next_in = (unsigned char *)(uintptr_t)from + *in;
        z->avail_in = n - *in < PIECE ? (unsigned)(n - *in) : PIECE;
        z->next_out = to + *out;
        z->avail_out = size - *out < PIECE ? (unsigned)(size - *out) : PIECE;
        unsigned in_before = z->avail_in, out_before = z->avail_out;
        status = inflate(z, Z_NO_FLUSH);
        *in += in_before - z->avail_in;
        *out += out_before - z->avail_out;
        if (in_before == z->avail_in && out_before == z->avail_out)
            break;
    }
    return status;
}

unsigned char *npz_inflate(base_arena *arena, const unsigned char *from, size_t n, int window,
                           int64_t size, bool whole, size_t *used)
{
    if ((uint64_t)size / 1032 > n + 1) /* deflate never does better than 1032 to 1 */
        return NULL;
    /* One byte more than expected, to detect a longer stream. */
    unsigned char *to = base_alloc(arena, (size_t)size + 1);
    base_arena *scratch = base_arena_new(base_arena_ctx(arena));
    z_stream z = {.zalloc = inflate_alloc, .zfree = inflate_free, .opaque = scratch};
    size_t out = 0;
    int status = inflateInit2(&z, window);
    if (status == Z_OK)
        status = inflate_some(&z, from, n, to, (size_t)size + whole, used, &out);
    base_arena_free(scratch);
    return out == (size_t)size && (!whole || status == Z_STREAM_END) ? to : NULL;
}

/* ---- IDX ---- */

/* 0, 0, type, rank; then the dimensions and the elements, high byte first. */
static const char *idx_type(const unsigned char *p, size_t n, ir_type *t)
{
    static const struct {
        int code;
        ir_dtype dtype;
    } types[] = {{8, IR_U8}, {9, IR_I8}, {11, IR_I16}, {12, IR_I32}, {13, IR_F32}, {14, IR_F64}};
    *t = (ir_type){0};
    if (n < 4 || p[0] || p[1])
        return "not an IDX file";
    for (size_t i = 0;; i++) {
        if (i == sizeof types / sizeof *types)
            return "the IDX file has an unknown element type";
        if (types[i].code == p[2]) {
            t->dtype = types[i].dtype;
            break;
        }
    }
    if (p[3] > IR_MAX_RANK)
        return "the IDX file has more than 16 dimensions";
    t->rank = p[3];
    if (n < 4 + 4 * (size_t)t->rank)
        return "the IDX file ends inside its header";
    for (int i = 0; i < t->rank; i++) {
        const unsigned char *d = p + 4 + 4 * i;
        t->dim[i] = (int64_t)d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
    }
    return ir_type_ok(t) ? NULL : "the array is above the limit of 2^40 bytes";
}

/* Replaces gzipped data by what it inflates to. Its size follows from the array's header, which is
 * inflated first. */
static const char *gunzip(base_arena *arena, base_data *data)
{
    ir_type t;
    int64_t size;
    size_t used;
    unsigned char *head = npz_inflate(arena, data->bytes, data->size, 31, 4, false, &used);
    int rank = head ? head[3] <= IR_MAX_RANK ? head[3] : IR_MAX_RANK : 0;
    head =
        head ? npz_inflate(arena, data->bytes, data->size, 31, 4 + 4 * rank, false, &used) : NULL;
    if (!head)
        return "the gzip file is corrupt";
    const char *wrong = idx_type(head, 4 + 4 * (size_t)rank, &t);
    if (wrong)
        return wrong;
    if (!base_size_add(ir_bytes(&t), 4 + 4 * rank, &size))
        return "the array is too large";
    unsigned char *bytes = npz_inflate(arena, data->bytes, data->size, 31, size, true, &used);
    if (!bytes || used != data->size)
        return "the gzip file is corrupt, or its size is not that of the array inside";
    *data = (base_data){bytes, (size_t)size};
    return NULL;
}

ir_literal *idx_read(base_arena *arena, const base_loc *loc, base_data data)
{
    ir_type t;
    const char *wrong = data.size > 2 && data.bytes[0] == 0x1f && data.bytes[1] == 0x8b
                            ? gunzip(arena, &data)
                            : NULL;
    if (!wrong)
        wrong = idx_type(data.bytes, data.size, &t);
    if (wrong)
        return refuse(arena, loc, wrong);
    size_t head = 4 + 4 * (size_t)t.rank;
    if ((int64_t)(data.size - head) != ir_bytes(&t))
        return refuse(arena, loc,
                      base_format(arena, "the file has %zu bytes of data; %s needs %lld",
                                  data.size - head, ir_type_text(arena, &t),
                                  (long long)ir_bytes(&t)));
    header h = {.type = t};
    return elements(arena, &h, data.bytes + head, ir_dtypes[t.dtype].bytes > 1);
}

ir_literal *idx_read_file(base_arena *arena, const char *path)
{
    base_data data;
    return base_read_whole_file(arena, path, IR_MAX_TENSOR_BYTES, &data)
               ? idx_read(arena, &(base_loc){.file = path, .node = -1}, data)
               : NULL;
}
