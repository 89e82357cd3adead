/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Files: confined reading, writing all or nothing, safetensors, .npy, .npz, IDX; hostile files.
 * Fixtures are made by tests/fixtures/make_files.py. */
#define _GNU_SOURCE
#include "files/npy.h"
#include "base/path.h"
#include "files/safetensors.h"
#include "tests/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct { int count; char last[400]; } seen;

/* The length that a file gets once it is open and has told its size, if not negative. */
static off_t shorter = -1;

/* In place of the C library's. */
ssize_t read(int fd, void *to, size_t n)
{
    if (shorter >= 0 && ftruncate(fd, shorter) < 0) { /* it is open for reading only */
        char link[40];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ck_assert(!truncate(link, shorter));
    }
    return syscall(SYS_read, fd, to, n);
}

static void sink(void *user, const base_diagnostic *d)
{
    (void)user;
    seen.count++;
    snprintf(seen.last, sizeof seen.last, "%s", d->text);
}

static base_ctx *ctx;
static base_arena *arena;
static char folder[64]; /* of this test's own files */

static void setup(void)
{
    seen.count = 0;
    ctx = base_ctx_new(sink, NULL);
    arena = base_arena_new(ctx);
    strcpy(folder, "/tmp/gradc-files-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
    base_ctx_free(ctx);
}

static const char *in(const char *name)
{
    return base_format(arena, "%s/%s", folder, name);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void expect_file(const char *path, const char *text)
{
    base_data d;
    ck_assert(base_read_whole_file(arena, path, 1000, &d));
    ck_assert_str_eq((char *)d.bytes, text);
}

static int entries_of(const char *path)
{
    char command[100];
    int n = 0;
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", path);
    FILE *p = popen(command, "r");
    ck_assert_int_eq(fscanf(p, "%d", &n), 1);
    pclose(p);
    return n;
}

static base_data load(const char *path)
{
    base_data d;
    ck_assert(base_read_whole_file(arena, path, 1 << 24, &d));
    return d;
}

#define REFUSED(call, text)                                                         \
    do {                                                                            \
        int before_ = base_error_count(ctx), passed_on_ = seen.count;               \
        ck_assert_msg(!(call), "accepted");                                         \
        ck_assert_int_gt(base_error_count(ctx), before_);                           \
        if (seen.count > passed_on_) /* not above the limit */                      \
            ck_assert_msg(strstr(seen.last, text) != NULL, "found: %s", seen.last); \
    } while (0)

/* ---- Paths ---- */

START_TEST(reading_stays_in_the_folder)
{
    base_data d;
    ck_assert_int_eq(mkdir(in("model"), 0700), 0);
    ck_assert_int_eq(mkdir(in("model/sub"), 0700), 0);
    put(in("secret"), "secret");
    put(in("model/w"), "weights");
    put(in("model/sub/w"), "below");
    ck_assert_int_eq(symlink("../secret", in("model/link")), 0);
    ck_assert_int_eq(symlink("sub", in("model/folder")), 0);
    ck_assert_int_eq(symlink("w", in("model/inside")), 0);
    ck_assert_int_eq(link(in("model/w"), in("model/hard")), 0);
    ck_assert_int_eq(mkfifo(in("model/pipe"), 0600), 0);
    const char *model = in("model");
    ck_assert(base_read_beneath(arena, NULL, model, "w", 0, -1, &d) &&
              !strcmp((char *)d.bytes, "weights"));
    ck_assert(base_read_beneath(arena, NULL, model, "w", 2, 3, &d) && d.size == 3 &&
              !memcmp(d.bytes, "igh", 4));
    ck_assert(base_read_beneath(arena, NULL, model, "w", 7, -1, &d) && d.size == 0);
    ck_assert(base_read_beneath(arena, NULL, model, "./sub//w", 0, -1, &d) &&
              !strcmp((char *)d.bytes, "below"));
    ck_assert(base_read_beneath(arena, NULL, model, "hard", 0, -1, &d) && d.size == 7);
    const struct { const char *name, *why;
    } refused[] = {
        {"", "empty"},
        {"/etc/passwd", "absolute"},
        {"../secret", ".."},
        {"sub/../../secret", ".."},
        {"sub/../w", ".."},
        {"..", ".."},
        {"link", "symbolic link"},
        {"folder/w", "symbolic link"},
        {"inside", "symbolic link"},
        {"pipe", "not a regular file"},
        {"sub", "not a regular file"},
        {"none", "No such file"},
        {"w/x", "Not a directory"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        REFUSED(base_read_beneath(arena, NULL, model, refused[i].name, 0, -1, &d), refused[i].why);
    REFUSED(base_read_beneath(arena, NULL, "/dev", "null", 0, -1, &d), "not a regular file");
    REFUSED(base_read_beneath(arena, NULL, "/proc/self", "exe", 0, -1, &d), "symbolic link");
    const struct {
        int64_t offset, length; /* -1: the rest */
        const char *why;
    } pieces[] = {{8, -1, "offset 8 is outside its 7 bytes"},
                  {-1, -1, "offset -1 is outside its 7 bytes"},
                  {INT64_MIN, -1, "offset -9223372036854775808 is outside its 7 bytes"},
                  {0, 8, "8 bytes at offset 0 are outside its 7 bytes"},
                  {7, 1, "at offset 7 are outside its 7 bytes"},
                  {-1, 1, "outside"},
                  {0, -2, "outside"},
                  {1, INT64_MAX, "outside"},
                  {INT64_MAX, INT64_MAX, "outside"}};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        REFUSED(base_read_beneath(arena, NULL, model, "w", pieces[i].offset, pieces[i].length, &d),
                pieces[i].why);
    char *longest = memset(base_alloc(arena, 5001), 'a', 5000);
    REFUSED(base_read_beneath(arena, NULL, model, longest, 0, -1, &d), "too long");
}
END_TEST

START_TEST(without_openat2_too)
{
    ck_assert_int_eq(mkdir(in("sub"), 0700), 0);
    put(in("sub/w"), "w");
    ck_assert_int_eq(symlink("sub", in("folder")), 0);
    ck_assert_int_eq(symlink("sub/w", in("link")), 0);
    const struct {
        const char *name;
        bool opens;
    } cases[] = {{"sub/w", true},    {"./sub//w", true},      {"folder/w", false}, {"link", false},
                 {"sub/w/x", false}, {"sub/../sub/w", false}, {"none/w", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int way = 0; way < 2; way++) {
            int fd = base_open_beneath(folder, cases[i].name, way);
            ck_assert_msg((fd >= 0) == cases[i].opens, "%s, way %d", cases[i].name, way);
            if (fd >= 0)
                close(fd);
        }
}
END_TEST

START_TEST(whole_files_have_a_limit)
{
    base_data d;
    put(in("f"), "12345");
    ck_assert(base_read_whole_file(arena, in("f"), 5, &d) && d.size == 5);
    REFUSED(base_read_whole_file(arena, in("f"), 4, &d), "limit");
    REFUSED(base_read_whole_file(arena, "/dev/zero", 100000, &d), "limit");
    REFUSED(base_read_whole_file(arena, folder, 4, &d), "folder");
    REFUSED(base_read_whole_file(arena, in("none"), 4, &d), "No such file");
    ck_assert(base_read_whole_file(arena, "/dev/null", 5, &d) && d.size == 0);
}
END_TEST

START_TEST(a_file_that_shrinks_is_refused)
{
    base_data d;
    for (shorter = 0; shorter < 5; shorter++) {
        off_t now = shorter;
        shorter = -1;
        put(in("f"), "12345");
        shorter = now;
        REFUSED(base_read_whole_file(arena, in("f"), 5, &d), "was truncated");
        shorter = -1;
        put(in("f"), "12345");
        shorter = now;
        REFUSED(base_read_beneath(arena, NULL, folder, "f", 0, -1, &d), "was truncated");
    }
    shorter = -1;
}
END_TEST

static bool write_then_fail(FILE *f, void *user)
{
    fputs("half", f);
    if (user)
        base_throw(user, NULL, "thrown");
    return false;
}

static bool write_text(FILE *f, void *user)
{
    return fputs(user, f) >= 0;
}

START_TEST(writing_is_all_or_nothing)
{
    put(in("a"), "old");
    const base_output both[] = {{in("b"), write_text, "new"}, {in("a"), write_then_fail, NULL}};
    REFUSED(base_write_atomically(ctx, both, 2), "cannot be written");
    expect_file(in("a"), "old");
    ck_assert_int_eq(entries_of(folder), 1);
    base_try frame;
    volatile bool thrown = false;
    const base_output throws[] = {{in("b"), write_text, "new"}, {in("a"), write_then_fail, ctx}};
    if (setjmp(base_try_push(ctx, &frame))) {
        thrown = true;
    } else {
        base_write_atomically(ctx, throws, 2);
        base_try_pop(ctx, &frame);
    }
    ck_assert(thrown);
    expect_file(in("a"), "old");
    ck_assert_int_eq(entries_of(folder), 1);
    const base_output good[] = {{in("b"), write_text, "new b"}, {in("a"), write_text, "new a"}};
    ck_assert(base_write_atomically(ctx, good, 2));
    expect_file(in("a"), "new a");
    expect_file(in("b"), "new b");
    ck_assert_int_eq(entries_of(folder), 2);
    ck_assert_int_eq(symlink("a", in("link")), 0);
    ck_assert(base_write_bytes(ctx, in("link"), "through", 7));
    struct stat st;
    ck_assert(!mkdir(in("sub"), 0700) && !symlink("sub/late", in("dangling")) &&
              base_write_bytes(ctx, in("dangling"), "late", 4));
    ck_assert(!lstat(in("dangling"), &st) && S_ISLNK(st.st_mode) && !lstat(in("sub/late"), &st) &&
              S_ISREG(st.st_mode));
    ck_assert(!symlink("circle", in("circle")));
    REFUSED(base_write_bytes(ctx, in("circle"), "x", 1), "symbolic links");
    expect_file(in("a"), "through");
    ck_assert(base_write_bytes(ctx, "/dev/null", "x", 1)); /* still a device afterwards */
    ck_assert(!stat("/dev/null", &st) && S_ISCHR(st.st_mode));
    REFUSED(base_write_bytes(ctx, in("none/x"), "x", 1), "No such file");
    REFUSED(base_write_bytes(ctx, folder, "x", 1), "directory");
    REFUSED(base_write_bytes(ctx, "/dev/full", "x", 1), "No space");
}
END_TEST

/* ---- Arrays ---- */

static void expect_counted(const ir_literal *l, const char *dtype, const char *shape)
{
    ck_assert_ptr_nonnull(l);
    ck_assert_str_eq(ir_type_text(arena, &l->type), base_format(arena, "%s%s", dtype, shape));
    for (int64_t i = 0; i < ir_count(&l->type); i++)
        ck_assert_msg(ir_literal_get(l, i) ==
                          (l->type.dtype == IR_BOOL ? (double)(i % 2) : (double)i),
                      "element %d of %s", (int)i, dtype);
}

static void expect_npz(const ir_tensors *t)
{
    for (int i = 0; i < IR_DTYPES; i++) {
        const char *name = ir_dtypes[i].name;
        expect_counted(ir_tensor_by_name(t, base_format(arena, "c/%s", name)), name, "[2,3,4]");
        expect_counted(ir_tensor_by_name(t, base_format(arena, "f/%s", name)), name, "[2,3,4]");
        if (ir_dtypes[i].bytes > 1 && i != IR_BF16)
            expect_counted(ir_tensor_by_name(t, base_format(arena, "big/%s", name)), name,
                           "[2,3,4]");
    }
    expect_counted(ir_tensor_by_name(t, "scalar"), "f32", "[]");
    expect_counted(ir_tensor_by_name(t, "vector"), "f32", "[5]");
    expect_counted(ir_tensor_by_name(t, "empty"), "f32", "[3,0,2]");
    ck_assert_ptr_null(ir_tensor_by_name(t, "readme"));
}

START_TEST(npz_files_of_numpy)
{
    ir_tensors t;
    ck_assert(npz_read_file(arena, "tests/fixtures/stored.npz", &t));
    expect_npz(&t);
    ck_assert(npz_read_file(arena, "tests/fixtures/deflated.npz", &t));
    expect_npz(&t);
    for (int mode = 0; mode < 4; mode++) {
        ir_tensors again;
        ck_assert(npz_write_file(ctx, in("x.npz"), &t, mode));
        ck_assert(npz_read_file(arena, in("x.npz"), &again));
        ck_assert_int_eq(again.count, t.count);
        expect_npz(&again);
    }
}
END_TEST

START_TEST(npy_files_of_numpy)
{
    for (int i = 1; i <= 3; i++)
        expect_counted(npy_read_file(arena, base_format(arena, "tests/fixtures/version%d.npy", i)),
                       "f32", "[2,3]");
    REFUSED(npy_read_file(arena, "tests/fixtures/complex.npy"), "'<c8' is not supported");
    REFUSED(npy_read_file(arena, "tests/fixtures/record.npy"), "record");
    REFUSED(npy_read_file(arena, "tests/fixtures/text.npy"), "'<U2' is not supported");
    ir_literal *l = npy_read_file(arena, "tests/fixtures/version1.npy");
    FILE *f = fopen(in("x.npy"), "wb");
    ck_assert(f && npy_write(f, ctx, l) && !fclose(f));
    base_data ours = load(in("x.npy")), numpys = load("tests/fixtures/version1.npy");
    ck_assert(ours.size == numpys.size && !memcmp(ours.bytes, numpys.bytes, ours.size));
}
END_TEST

START_TEST(idx_files)
{
    static const char *const names[] = {"u8", "i8", "i16", "i32", "f32", "f64"};
    for (int i = 0; i < 6; i++)
        expect_counted(idx_read_file(arena, base_format(arena, "tests/fixtures/%s.idx", names[i])),
                       names[i], "[4,3,2]");
    expect_counted(idx_read_file(arena, "tests/fixtures/u8.idx.gz"), "u8", "[4,3,2]");
    static const char *const files[] = {"u8.idx", "u8.idx.gz"};
    for (int i = 0; i < 2; i++) {
        base_data d = load(base_format(arena, "tests/fixtures/%s", files[i]));
        for (size_t n = 0; n < d.size; n++)
            REFUSED(idx_read(arena, NULL, (base_data){base_memdup(arena, d.bytes, n), n}), "");
    }
    unsigned char huge[] = {0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
                  many[] = {0, 0, 8, 255};
    REFUSED(idx_read(arena, NULL, (base_data){huge, sizeof huge}), "limit");
    REFUSED(idx_read(arena, NULL, (base_data){many, sizeof many}), "more than 16");
}
END_TEST

static ir_literal *npy(const char *header)
{
    size_t n = strlen(header);
    unsigned char *bytes = base_alloc(arena, n + 34);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (unsigned char)n;
    bytes[9] = (unsigned char)(n >> 8);
    memcpy(bytes + 10, header, n);
    return npy_read(arena, NULL, (base_data){bytes, n + 34}); /* with 24 bytes of data */
}

START_TEST(hostile_npy)
{
    expect_counted(npy("{ \"shape\" : ( 0, ) , 'fortran_order':True,'descr':'|u1'}")
                       ? NULL
                       : npy_read_file(arena, "tests/fixtures/version1.npy"),
                   "f32", "[2,3]");
    ck_assert_ptr_nonnull(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"));
    static const char *const bad[] = {
        "",
        "{",
        "{}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x",
        "{'descr': '<f4', 'fortran_order': 1, 'shape': (2, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 6}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387905, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999999)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 8)}",
        "{'descr': '', 'fortran_order': False, 'shape': (6)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,6)}",
        "{'descr': '<f4', 'x': False, 'shape': (6)}",
        "{'descr': '|V1', 'fortran_order': False, 'shape': (24)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6",
        ("{'descr': '<f4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 'fortran_order': False, "
         "'shape': (6)}"),
        "{'descr': '<f4",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(npy(bad[i]), "");
}
END_TEST

/* Every proper beginning is refused; every byte changed is refused or read, without a fault. */
static void damage(const char *path, bool (*read)(base_data d))
{
    base_data d = load(path);
    ck_assert(read(d));
    for (size_t n = 0; n < d.size; n++)
        REFUSED(read((base_data){base_memdup(arena, d.bytes, n), n}), "");
    for (size_t i = 0; i < d.size; i++) {
        base_data changed = {base_memdup(arena, d.bytes, d.size), d.size};
        changed.bytes[i] ^= (unsigned char)(1 << i % 8);
        read(changed);
        changed.bytes[i] = 0xff;
        read(changed);
    }
}

static bool read_npz(base_data d)
{
    ir_tensors t;
    return npz_read(arena, NULL, d, &t);
}

static bool read_safetensors(base_data d)
{
    ir_tensors t;
    return safetensors_read(arena, NULL, d, &t);
}

static bool read_npy(base_data d)
{
    return npy_read(arena, NULL, d) != NULL;
}

START_TEST(damaged_files)
{
    ir_tensors t = {0};
    ir_literal *l = npy_read_file(arena, "tests/fixtures/version1.npy");
    BASE_PUSH(arena, &t, ((ir_tensor){"a", l}));
    BASE_PUSH(arena, &t, ((ir_tensor){"b", l}));
    for (int mode = 0; mode < 4; mode++) {
        ck_assert(npz_write_file(ctx, in("x.npz"), &t, mode));
        damage(in("x.npz"), read_npz);
    }
    damage("tests/fixtures/version1.npy", read_npy);
    damage("tests/fixtures/all.safetensors", read_safetensors);
}
END_TEST

START_TEST(hostile_npz)
{
    ir_tensors t = {0}, out;
    ir_literal *l = npy_read_file(arena, "tests/fixtures/version1.npy");
    BASE_PUSH(arena, &t, ((ir_tensor){"a", l}));
    BASE_PUSH(arena, &t, ((ir_tensor){"a", l}));
    ck_assert(npz_write_file(ctx, in("x.npz"), &t, NPZ_STORED));
    REFUSED(npz_read_file(arena, in("x.npz"), &out), "two members");
    ir_type zeros = ir_type_of(IR_F32, 1, (int64_t[]){1 << 20});
    t.count = 1;
    t.items[0].value = ir_literal_new(arena, &zeros);
    ck_assert(npz_write_file(ctx, in("x.npz"), &t, NPZ_DEFLATED));
    ck_assert(npz_read_file(arena, in("x.npz"), &out));
    base_data d = load(in("x.npz"));
    unsigned char *entry = memmem(d.bytes, d.size, "PK\1\2", 4);
    const struct { int at; unsigned char value; const char *why;
    } changes[] = {
        {24 + 3, 0x40, "compressed data"}, /* the size: 1 GiB more than the packed bytes can give */
        {24 + 2, 0x41, "compressed data"}, /* 64 KiB more */
        {16, 0xaa, "checksum"},
        {10, 12, "not supported"},
        {8, 1, "encrypted"},
        {42, 9, "outside"},
        {20 + 3, 0x10, "outside"},
        /* The entry would be longer than the directory. */
        {28, 200, "directory"},
        {30, 200, "directory"},
        {32, 200, "directory"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        unsigned char was = entry[changes[i].at];
        entry[changes[i].at] =
            changes[i].value == was ? (unsigned char)(was ^ 1) : changes[i].value;
        REFUSED(npz_read(arena, NULL, d, &out), changes[i].why);
        entry[changes[i].at] = was;
    }
    t.count = 2;
    t.items[1] = (ir_tensor){"b", l};
    ck_assert(npz_write_file(ctx, in("x.npz"), &t, NPZ_STORED));
    d = load(in("x.npz"));
    entry = memmem(d.bytes, d.size, "PK\1\2", 4);
    memcpy(entry + 46 + 5, entry, 46); /* b overlaps a */
    REFUSED(npz_read(arena, NULL, d, &out), "overlap");
}
END_TEST

/* ---- Safetensors ---- */

START_TEST(safetensors_files)
{
    ir_tensors t, again;
    ck_assert(safetensors_read_file(arena, "tests/fixtures/all.safetensors", &t));
    for (int i = 0; i < IR_DTYPES; i++)
        expect_counted(ir_tensor_by_name(&t, ir_dtypes[i].name), ir_dtypes[i].name, "[2,3]");
    expect_counted(ir_tensor_by_name(&t, "empty"), "f32", "[0,7]");
    ck_assert_int_eq(t.nmetadata, 2);
    ck_assert_str_eq(t.metadata[3], "grüße");
    t.items[0].name = "a \"b\"\\\n\x01";
    ck_assert(safetensors_write_file(ctx, in("x.safetensors"), &t));
    ck_assert(safetensors_read_file(arena, in("x.safetensors"), &again));
    ck_assert_int_eq(again.count, t.count);
    ck_assert_str_eq(again.metadata[0], "format");
    for (int i = 0; i < t.count; i++) {
        const ir_literal *a = t.items[i].value, *b = ir_tensor_by_name(&again, t.items[i].name);
        ck_assert_ptr_nonnull(b);
        ck_assert(ir_type_eq(&a->type, &b->type) &&
                  !memcmp(a->data, b->data, (size_t)ir_bytes(&a->type)));
    }
}
END_TEST

static bool header_of(const char *json, size_t data)
{
    ir_tensors t;
    uint64_t n = strlen(json);
    unsigned char *bytes = base_alloc(arena, 8 + n + data + 1);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, json, n);
    return safetensors_read(arena, NULL, (base_data){bytes, 8 + n + data}, &t);
}

START_TEST(hostile_safetensors)
{
    ir_tensors t;
    ck_assert(header_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  ", 8));
    ck_assert(header_of("{}", 0));
    static const struct { const char *json; size_t data; const char *why;
    } bad[] = {
        {"", 0, "JSON"},
        {"[]", 0, "JSON"},
        {"{", 0, "JSON"},
        {"{}x", 0, "JSON"},
        {" {}", 0, "JSON"},
        {"{}", 4, "belong to no tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\","
         "\"shape\":[2],\"data_offsets\":[0,8]}}",
         8, "JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\","
         "\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\","
         "\"shape\":[2],\"data_offsets\":[0,8]}}",
         8, "overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9223372036854775807]}}", 8,
         "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,99999999999999999999]}}", 8,
         "JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
         "its type needs 12"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8,
         "not a non-negative integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8,
         "not a non-negative integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905,4],\"data_offsets\":[0,16]}}",
         16, "limit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0,9223372036854775807,9],\"data_offsets\":[0,0]}}",
         0, "limit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],\"data_offsets\":"
         "[0,8]}}",
         8, "dimensions"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         "F8_E4M3, which is not supported"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "consist"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, "consist"},
        {"{\"a\":1}", 0, "consist"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "strings"},
        {"{\"__metadata__\":[]}", 0, "strings"},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "JSON"},
        {"{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(header_of(bad[i].json, bad[i].data), bad[i].why);
    char *deep = memset(base_alloc(arena, 200002), '[', 200000);
    memcpy(deep, "{\"a\":", 5);
    REFUSED(header_of(deep, 0), "JSON");
    unsigned char size[16];
    memset(size, 0xff, sizeof size);
    REFUSED(safetensors_read(arena, NULL, (base_data){size, sizeof size}, &t), "header");
    REFUSED(safetensors_read(arena, NULL, (base_data){size, 3}, &t), "3 bytes");
}
END_TEST

/* ---- Memory ---- */

START_TEST(each_failed_allocation_comes_back)
{
    const char *npz = base_strdup(arena, in("x.npz")),
               *st = base_strdup(arena, in("x.safetensors"));
    for (int n = 1;; n++) {
        base_ctx *c = base_ctx_new(NULL, NULL);
        base_fail_allocation(c, n, n % 2);
        base_try frame;
        volatile bool done = false;
        if (!setjmp(base_try_push(c, &frame))) {
            base_arena *a = base_arena_new(c);
            ir_tensors t;
            ck_assert(npz_read_file(a, "tests/fixtures/deflated.npz", &t));
            ck_assert(safetensors_read_file(a, "tests/fixtures/all.safetensors", &t));
            ck_assert_ptr_nonnull(idx_read_file(a, "tests/fixtures/u8.idx.gz"));
            ck_assert(npz_write_file(c, npz, &t, NPZ_DEFLATED));
            ck_assert(safetensors_write_file(c, st, &t));
            base_try_pop(c, &frame);
            done = true;
        } else {
            ck_assert(base_ctx_out_of_memory(c));
            ck_assert_int_le(entries_of(folder), 2);
        }
        base_ctx_free(c);
        if (done)
            break;
    }
    int fd = open("/dev/null", 0);
    ck_assert_int_lt(fd, 20); /* none was left open */
    close(fd);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("files");
    TCase *c = tcase_create("files");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, reading_stays_in_the_folder);
    tcase_add_test(c, without_openat2_too);
    tcase_add_test(c, whole_files_have_a_limit);
    tcase_add_test(c, a_file_that_shrinks_is_refused);
    tcase_add_test(c, writing_is_all_or_nothing);
    tcase_add_test(c, npz_files_of_numpy);
    tcase_add_test(c, npy_files_of_numpy);
    tcase_add_test(c, idx_files);
    tcase_add_test(c, hostile_npy);
    tcase_add_test(c, damaged_files);
    tcase_add_test(c, hostile_npz);
    tcase_add_test(c, safetensors_files);
    tcase_add_test(c, hostile_safetensors);
    tcase_add_test(c, each_failed_allocation_comes_back);
    suite_add_tcase(s, c);
    return suite_run(s);
}
