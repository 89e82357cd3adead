/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * .npz: zip files (PKWARE's APPNOTE.TXT) of .npy members. Only the central directory is trusted;
 * local headers only tell where the data begins. */
#include "base/map.h"
#include "files/npy.h"

#include <string.h>
#include <zlib.h>

enum { /* signatures */
       LOCAL = 0x04034b50,
       CENTRAL = 0x02014b50,
       END = 0x06054b50,
       END64 = 0x06064b50,
       LOCATOR64 = 0x07064b50
};
enum {
    LOCAL_SIZE = 30,
    CENTRAL_SIZE = 46,
    END_SIZE = 22,
    END64_SIZE = 56,
    LOCATOR64_SIZE = 20,
    ZIP64_EXTRA = 1
};

static uint64_t number(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static bool refuse(base_arena *arena, const base_loc *loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool refuse(base_arena *arena, const base_loc *loc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    base_vreport(base_arena_ctx(arena), BASE_ERROR, loc, format, args);
    va_end(args);
    return false;
}

/* ---- Reading ---- */

typedef struct member {
    const char *name;
    uint64_t packed, size, at; /* bytes stored, bytes of the member, offset of its local header */
    uint32_t crc;
    int method, flags;
} member;

typedef struct directory {
    uint64_t at, size, count;
} directory;

/* The record that ends a zip file: the last 22 bytes, or earlier if a comment follows. */
static const unsigned char *find_end(base_data d)
{
    if (d.size < END_SIZE)
        return NULL;
    for (size_t i = d.size - END_SIZE, tries = 0; tries < 65536; i--, tries++) {
        if (number(d.bytes + i, 4) == END && i + END_SIZE + number(d.bytes + i + 20, 2) == d.size)
            return d.bytes + i;
        if (!i)
            break;
    }
    return NULL;
}

static bool find_directory(base_data d, directory *out)
{
    const unsigned char *end = find_end(d);
    if (!end)
        return false;
    *out = (directory){
        .at = number(end + 16, 4), .size = number(end + 12, 4), .count = number(end + 10, 2)};
    size_t at = (size_t)(end - d.bytes);
    if (at >= LOCATOR64_SIZE && number(end - LOCATOR64_SIZE, 4) == LOCATOR64) {
        uint64_t record = number(end - LOCATOR64_SIZE + 8, 8);
        if (record > at || at - record < END64_SIZE || number(d.bytes + record, 4) != END64)
            return false;
        const unsigned char *e = d.bytes + record;
        *out = (directory){
            .at = number(e + 48, 8), .size = number(e + 40, 8), .count = number(e + 32, 8)};
    }
    return out->at <= at && out->size <= at - out->at && out->count <= out->size / CENTRAL_SIZE;
}

/* Fields that do not fit in 32 bits are all ones here; an extra field holds them, in this order. */
static bool widen(const unsigned char *extra, size_t n, member *m)
{
    uint64_t *fields[] = {&m->size, &m->packed, &m->at};
    bool need = false;
    for (int i = 0; i < 3; i++)
        need |= *fields[i] == UINT32_MAX;
    if (!need)
        return true;
    while (n >= 4) {
        size_t id = number(extra, 2), length = number(extra + 2, 2);
        if (length > n - 4)
            return false;
        if (id == ZIP64_EXTRA) {
            const unsigned char *p = extra + 4, *end = p + length;
            for (int i = 0; i < 3; i++)
                if (*fields[i] == UINT32_MAX) {
                    if (end - p < 8)
                        return false;
                    *fields[i] = number(p, 8);
                    p += 8;
                }
            return true;
        }
        extra += 4 + length;
        n -= 4 + length;
    }
    return false;
}

/* The entry at p of the directory's remaining n bytes; returns its length, or 0. */
static size_t read_entry(base_arena *arena, const unsigned char *p, size_t n, member *m)
{
    if (n < CENTRAL_SIZE || number(p, 4) != CENTRAL)
        return 0;
    size_t name = number(p + 28, 2), extra = number(p + 30, 2), comment = number(p + 32, 2),
           all = CENTRAL_SIZE + name + extra + comment;
    if (all > n || name > IR_MAX_NAME || memchr(p + CENTRAL_SIZE, 0, name))
        return 0;
    *m = (member){.name = base_strndup(arena, (const char *)p + CENTRAL_SIZE, name),
                  .packed = number(p + 20, 4),
                  .size = number(p + 24, 4),
                  .at = number(p + 42, 4),
                  .crc = (uint32_t)number(p + 16, 4),
                  .method = (int)number(p + 10, 2),
                  .flags = (int)number(p + 8, 2)};
    return widen(p + CENTRAL_SIZE + name, extra, m) ? all : 0;
}

static bool checksum_ok(const unsigned char *p, size_t n, uint32_t crc)
{
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), p, n) == crc;
}

/* The member's content; it must be before the directory. */
static bool extract(base_arena *arena, const base_loc *loc, base_data d, uint64_t limit,
                    const member *m, base_data *out)
{
    if (m->flags & 1)
        return refuse(arena, loc, "member '%s' is encrypted", m->name);
    if (m->at > limit || limit - m->at < LOCAL_SIZE || number(d.bytes + m->at, 4) != LOCAL)
        return refuse(arena, loc, "member '%s' is outside the file", m->name);
    uint64_t at =
        m->at + LOCAL_SIZE + number(d.bytes + m->at + 26, 2) + number(d.bytes + m->at + 28, 2);
    if (at > limit || m->packed > limit - at)
        return refuse(arena, loc, "member '%s' is outside the file", m->name);
    if (m->method == 0 && m->packed == m->size) {
        *out = (base_data){d.bytes + at, (size_t)m->size};
    } else if (m->method == 8 && m->size <= IR_MAX_TENSOR_BYTES) {
        size_t used;
        *out = (base_data){npz_inflate(arena, d.bytes + at, (size_t)m->packed, -MAX_WBITS,
                                       (int64_t)m->size, true, &used),
                           (size_t)m->size};
        if (!out->bytes)
            return refuse(arena, loc,
                          "member '%s' is corrupt: its compressed data does not match the size in "
                          "the directory",
                          m->name);
    } else {
        return refuse(arena, loc,
                      "member '%s' has a compression method or size that is not supported",
                      m->name);
    }
    return checksum_ok(out->bytes, out->size, m->crc) ||
           refuse(arena, loc, "member '%s' is corrupt: its checksum does not match", m->name);
}

static bool read_member(base_arena *arena, const base_loc *loc, base_data d, uint64_t limit,
                        const member *m, base_map *names, ir_tensors *out)
{
    size_t n = strlen(m->name);
    base_data content;
    if (n < 4 || strcmp(m->name + n - 4, ".npy"))
        return true;
    ir_tensor t = {.name = base_strndup(arena, m->name, n - 4)};
    if (base_map_get_text(names, t.name))
        return refuse(arena, loc, "two members are named '%s'", m->name);
    if (!extract(arena, loc, d, limit, m, &content))
        return false;
    base_loc at = {.file = loc ? loc->file : NULL, .name = m->name, .node = -1};
    t.value = npy_read(arena, &at, content);
    if (!t.value)
        return false;
    base_map_put_text(names, t.name, t.value);
    BASE_PUSH(arena, out, t);
    return true;
}

bool npz_read(base_arena *arena, const base_loc *loc, base_data data, ir_tensors *out)
{
    directory dir;
    base_map names = base_map_new(arena);
    uint64_t packed = 0;
    *out = (ir_tensors){0};
    if (!find_directory(data, &dir) || dir.count > IR_MAX_NODES)
        return refuse(arena, loc, "not an .npz file, or its directory is corrupt");
    const unsigned char *p = data.bytes + dir.at;
    size_t left = (size_t)dir.size;
    bool ok = true;
    for (uint64_t i = 0; i < dir.count; i++) {
        member m;
        size_t n = read_entry(arena, p, left, &m);
        if (!n)
            return refuse(arena, loc, "the directory of the .npz file is corrupt");
        /* With overlapping members a small file could expand to a huge one. */
        packed += m.packed < data.size ? m.packed : data.size;
        if (packed > data.size)
            return refuse(arena, loc, "the members of the .npz file overlap");
        ok &= read_member(arena, loc, data, dir.at, &m, &names, out);
        p += n;
        left -= n;
    }
    return ok;
}

bool npz_read_file(base_arena *arena, const char *path, ir_tensors *out)
{
    base_data data;
    return base_read_whole_file(arena, path, IR_MAX_TENSOR_BYTES, &data) &&
           npz_read(arena, &(base_loc){.file = path, .node = -1}, data, out);
}

/* ---- Writing ---- */

typedef struct zip {
    FILE *f;
    base_arena *arena;
    bool deflate, wide;
    uint64_t at; /* bytes written */
    bool ok;
} zip;

static void put(zip *z, const void *p, size_t n)
{
    z->ok = z->ok && fwrite(p, 1, n, z->f) == n;
    z->at += n;
}

/* `format` has a digit for each number, its size in bytes: "2248". */
static void put_numbers(zip *z, const char *format, const uint64_t *v)
{
    for (int i = 0; format[i]; i++) {
        unsigned char bytes[8];
        for (int k = 0; k < 8; k++)
            bytes[k] = (unsigned char)(v[i] >> 8 * k);
        put(z, bytes, (size_t)(format[i] - '0'));
    }
}

static uint64_t narrow(bool wide, uint64_t v)
{
    return wide ? UINT32_MAX : v;
}

static bool is_wide(const zip *z, const member *m)
{
    return z->wide || m->size >= UINT32_MAX || m->packed >= UINT32_MAX || m->at >= UINT32_MAX;
}

static void *deflate_alloc(void *arena, unsigned n, unsigned size)
{
    return base_alloc_array(arena, n, size);
}

static void deflate_free(void *arena, void *p)
{
    (void)arena, (void)p;
}

/* Head and elements of an array as one deflate stream into the arena. */
static base_data pack(base_arena *arena, const base_data *pieces, int n)
{
    size_t size = 0, done = 0;
    z_stream z = {.zalloc = deflate_alloc, .zfree = deflate_free, .opaque = arena};
    BUG_UNLESS(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
                            Z_DEFAULT_STRATEGY) == Z_OK);
    for (int i = 0; i < n; i++)
        size += pieces[i].size;
    size += size / 1000 + 4096; /* more than deflateBound returns, also for sizes beyond its type */
    unsigned char *out = base_alloc(arena, size);
    for (int i = 0; i < n; i++) {
        enum { PIECE = 1 << 30 };
        size_t in = 0;
        int status = Z_OK;
        while (in < pieces[i].size || (i == n - 1 && status == Z_OK)) {
            size_t piece = pieces[i].size - in < PIECE ? pieces[i].size - in : PIECE,
                   room = size - done < PIECE ? size - done : PIECE;
            z.next_in = pieces[i].bytes + in;
            z.avail_in = (unsigned)piece;
            z.next_out = out + done;
            z.avail_out = (unsigned)room;
            status =
                deflate(&z, i == n - 1 && in + piece == pieces[i].size ? Z_FINISH : Z_NO_FLUSH);
            BUG_UNLESS(status == Z_OK || status == Z_STREAM_END);
            in += piece - z.avail_in;
            done += room - z.avail_out;
        }
    }
    return (base_data){out, done};
}

static void put_member(zip *z, const ir_tensor *t, member *m)
{
    base_data pieces[2] = {npy_header(z->arena, &t->value->type),
                           {t->value->data, (size_t)ir_bytes(&t->value->type)}};
    uint32_t crc = (uint32_t)crc32_z(0, pieces[0].bytes, pieces[0].size);
    crc = pieces[1].size ? (uint32_t)crc32_z(crc, pieces[1].bytes, pieces[1].size) : crc;
    base_arena *scratch = base_arena_new(base_arena_ctx(z->arena));
    *m = (member){.name = base_format(z->arena, "%s.npy", t->name),
                  .crc = crc,
                  .at = z->at,
                  .method = z->deflate ? 8 : 0};
    m->size = pieces[0].size + pieces[1].size;
    int n = 2;
    if (z->deflate) {
        pieces[0] = pack(scratch, pieces, 2);
        n = 1;
    }
    m->packed = z->deflate ? pieces[0].size : m->size;
    bool wide = is_wide(z, m);
    size_t name = strlen(m->name);
    /* version, flags (names are UTF-8), method, time and date (the earliest possible), checksum,
     * sizes, lengths */
    put_numbers(z, "42222244422",
                (uint64_t[]){LOCAL, wide ? 45 : 20, 1 << 11, (uint64_t)m->method, 0, 33, crc,
                             narrow(wide, m->packed), narrow(wide, m->size), name, wide ? 20 : 0});
    put(z, m->name, name);
    if (wide)
        put_numbers(z, "2288", (uint64_t[]){ZIP64_EXTRA, 16, m->size, m->packed});
    for (int i = 0; i < n; i++)
        put(z, pieces[i].bytes, pieces[i].size);
    base_arena_free(scratch);
}

static void put_entry(zip *z, const member *m)
{
    bool wide = is_wide(z, m);
    size_t name = strlen(m->name);
    put_numbers(z, "42222224442222244",
                (uint64_t[]){CENTRAL, wide ? 45 : 20, wide ? 45 : 20, 1 << 11, (uint64_t)m->method,
                             0, 33, m->crc, narrow(wide, m->packed), narrow(wide, m->size), name,
                             wide ? 28 : 0, 0, 0, 0, 0, narrow(wide, m->at)});
    put(z, m->name, name);
    if (wide)
        put_numbers(z, "22888", (uint64_t[]){ZIP64_EXTRA, 24, m->size, m->packed, m->at});
}

bool npz_write(FILE *f, base_arena *arena, const ir_tensors *tensors, int mode)
{
    zip z = {.f = f,
             .arena = arena,
             .deflate = mode & NPZ_DEFLATED,
             .wide = mode & NPZ_ZIP64,
             .ok = true};
    uint64_t n = (uint64_t)tensors->count;
    member *m = base_array(arena, member, n);
    for (int i = 0; i < tensors->count; i++)
        put_member(&z, &tensors->items[i], &m[i]);
    uint64_t at = z.at;
    for (int i = 0; i < tensors->count; i++)
        put_entry(&z, &m[i]);
    uint64_t size = z.at - at, record = z.at;
    bool wide = z.wide || n >= UINT16_MAX || at >= UINT32_MAX || size >= UINT32_MAX;
    if (wide) {
        put_numbers(&z, "4822448888",
                    (uint64_t[]){END64, END64_SIZE - 12, 45, 45, 0, 0, n, n, size, at});
        put_numbers(&z, "4484", (uint64_t[]){LOCATOR64, 0, record, 1});
    }
    put_numbers(&z, "42222442",
                (uint64_t[]){END, 0, 0, wide ? UINT16_MAX : n, wide ? UINT16_MAX : n,
                             narrow(wide, size), narrow(wide, at), 0});
    return z.ok;
}

typedef struct writing {
    base_ctx *ctx;
    const ir_tensors *tensors;
    int mode;
} writing;

static bool write_all(FILE *f, void *user)
{
    const writing *w = user;
    base_arena *scratch = base_arena_new(w->ctx);
    bool ok = npz_write(f, scratch, w->tensors, w->mode);
    base_arena_free(scratch);
    return ok;
}

bool npz_write_file(base_ctx *ctx, const char *path, const ir_tensors *tensors, int mode)
{
    return base_write_atomically(
        ctx, &(base_output){path, write_all, &(writing){ctx, tensors, mode}}, 1);
}
