/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#define _GNU_SOURCE
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Reading ---- */

/* Reads up to n bytes; fewer only at the end of the file; -1 on error. */
static ssize_t read_full(int fd, void *to, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t r =
            read(fd, (char *)to + done, n - done < (size_t)1 << 30 ? n - done : (size_t)1 << 30);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        if (r == 0)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

/* Allocates while a descriptor is open: closes it when the allocation throws. */
static void *alloc_or_close(base_arena *arena, size_t bytes, int fd)
{
    base_ctx *ctx = base_arena_ctx(arena);
    base_try frame;
    if (setjmp(base_try_push(ctx, &frame))) {
        close(fd);
        base_throw(ctx, NULL, NULL);
    }
    void *p = base_alloc(arena, bytes);
    base_try_pop(ctx, &frame);
    return p;
}

static bool fail(base_ctx *ctx, const char *path, const char *what)
{
    base_report(ctx, BASE_ERROR, &(base_loc){.file = path, .node = -1}, "%s", what);
    return false;
}

/* From a pipe, a terminal or a device: until the end, in doubling pieces. */
static bool read_stream(base_arena *arena, int fd, const char *path, int64_t limit, base_data *out)
{
    size_t capacity = 0, size = 0;
    unsigned char *bytes = NULL;
    for (;;) {
        if (size == capacity) {
            capacity = capacity ? capacity * 2 : 64 << 10;
            unsigned char *grown = alloc_or_close(arena, capacity + 1, fd);
            if (size)
                memcpy(grown, bytes, size);
            bytes = grown;
        }
        ssize_t r = read_full(fd, bytes + size, capacity - size);
        if (r < 0)
            return fail(base_arena_ctx(arena), path, strerror(errno));
        size += (size_t)r;
        if ((int64_t)size > limit)
            return fail(
                base_arena_ctx(arena), path,
                base_format(arena, "larger than the limit of %lld bytes", (long long)limit));
        if (size < capacity)
            break;
    }
    *out = (base_data){bytes, size};
    return true;
}

static bool read_open(base_arena *arena, int fd, const char *path, int64_t limit, base_data *out)
{
    base_ctx *ctx = base_arena_ctx(arena);
    struct stat st;
    if (fstat(fd, &st))
        return fail(ctx, path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return fail(ctx, path, "is a folder; expected a file");
    if (!S_ISREG(st.st_mode))
        return read_stream(arena, fd, path, limit, out);
    if (st.st_size > limit) {
        base_report(ctx, BASE_ERROR, &(base_loc){.file = path, .node = -1},
                    "the file has %lld bytes; the limit is %lld", (long long)st.st_size,
                    (long long)limit);
        return false;
    }
    off_t at = lseek(fd, 0, SEEK_CUR); /* standard input may have been read from */
    size_t size = (size_t)(at > 0 && at < st.st_size ? st.st_size - at : at > 0 ? 0 : st.st_size);
    *out = (base_data){alloc_or_close(arena, size + 1, fd), size};
    ssize_t r = read_full(fd, out->bytes, size);
    if (r < 0)
        return fail(ctx, path, strerror(errno));
    return (size_t)r == size || fail(ctx, path, "was truncated while it was being read");
}

bool base_read_whole_file(base_arena *arena, const char *path, int64_t limit, base_data *out)
{
    bool standard = !strcmp(path, "-");
    int fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail(base_arena_ctx(arena), path, strerror(errno));
    bool ok = read_open(arena, fd, standard ? "<stdin>" : path, limit, out);
    close(fd);
    return ok;
}

/* ---- Confined to a folder ---- */

/* What is wrong with the spelling of a relative name, or NULL. */
static const char *check_name(const char *name)
{
    if (!*name)
        return "the file name is empty";
    if (*name == '/')
        return "is an absolute path; only files in the model's folder are read";
    if (strlen(name) >= PATH_MAX)
        return "the file name is too long";
    for (const char *p = name; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (p[0] == '.' && p[1] == '.' && (!p[2] || p[2] == '/'))
            return "`..` leads out of the model's folder";
    return NULL;
}

/* Component by component, each without following a link: for kernels without openat2. */
static int open_by_component(int folder, const char *name)
{
    char part[NAME_MAX + 1];
    int at = dup(folder);
    while (at >= 0) {
        size_t n = strcspn(name, "/");
        const char *rest = name + n + strspn(name + n, "/");
        if (n > NAME_MAX) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, name, n);
        part[n] = 0;
        bool last = !*rest;
        int next = openat(at, n ? part : ".",
                          O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK |
                              (last && !name[n] ? 0 : O_DIRECTORY));
        int error = errno;
        close(at);
        errno = error;
        if (next < 0 || last)
            return next;
        at = next;
        name = rest;
    }
    return -1;
}

int base_open_beneath(const char *folder, const char *name, bool by_component)
{
    const char *wrong = check_name(name);
    if (wrong) {
        errno = EXDEV;
        return -1;
    }
    int at = open(folder && *folder ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return -1;
    /* O_NONBLOCK: opening a pipe must not wait for its writer. */
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    int fd = by_component ? -1 : (int)syscall(SYS_openat2, at, name, &how, sizeof how);
    /* An old kernel, or a sandbox that does not know it. */
    if (by_component || (fd < 0 && (errno == ENOSYS || errno == EPERM)))
        fd = open_by_component(at, name);
    int error = errno;
    close(at);
    errno = error;
    return fd;
}

static const char *why_not_opened(int error)
{
    switch (error) {
    case ELOOP: return "is a symbolic link; only plain files in the model's folder are read";
    case EXDEV: return "leads out of the model's folder";
    default: return strerror(error);
    }
}

static bool refuse(base_ctx *ctx, const base_loc *loc, const char *name, const char *what)
{
    base_report(ctx, BASE_ERROR, loc, "file '%.300s': %s", name, what);
    return false;
}

static bool read_piece(base_arena *arena, int fd, const base_loc *loc, const char *name,
                       int64_t offset, int64_t length, base_data *out)
{
    base_ctx *ctx = base_arena_ctx(arena);
    struct stat st;
    int64_t end;
    if (fstat(fd, &st))
        return refuse(ctx, loc, name, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return refuse(ctx, loc, name, "is not a regular file");
    if (length == -1) {
        if (offset < 0 || offset > st.st_size) {
            base_report(ctx, BASE_ERROR, loc,
                        "file '%.300s': offset %lld is outside its %lld bytes", name,
                        (long long)offset, (long long)st.st_size);
            return false;
        }
        length = st.st_size - offset;
    }
    if (!base_size_add(offset, length, &end) || end > st.st_size) {
        base_report(ctx, BASE_ERROR, loc,
                    "file '%.300s': %lld bytes at offset %lld are outside its %lld bytes", name,
                    (long long)length, (long long)offset, (long long)st.st_size);
        return false;
    }
    *out = (base_data){alloc_or_close(arena, (size_t)length + 1, fd), (size_t)length};
    if (lseek(fd, offset, SEEK_SET) != offset)
        return refuse(ctx, loc, name, strerror(errno));
    ssize_t r = read_full(fd, out->bytes, out->size);
    if (r < 0)
        return refuse(ctx, loc, name, strerror(errno));
    return (size_t)r == out->size ||
           refuse(ctx, loc, name, "was truncated while it was being read");
}

bool base_read_beneath(base_arena *arena, const base_loc *loc, const char *folder, const char *name,
                       int64_t offset, int64_t length, base_data *out)
{
    const char *wrong = check_name(name);
    if (wrong)
        return refuse(base_arena_ctx(arena), loc, name, wrong);
    int fd = base_open_beneath(folder, name, false);
    if (fd < 0)
        return refuse(base_arena_ctx(arena), loc, name, why_not_opened(errno));
    bool ok = read_piece(arena, fd, loc, name, offset, length, out);
    close(fd);
    return ok;
}

const char *base_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *base_folder_of(base_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash ? "." : slash == path ? "/" : base_strndup(arena, path, (size_t)(slash - path));
}

/* ---- Writing ---- */

typedef struct temporary {
    FILE *f;          /* open, or NULL */
    const char *path; /* final path; NULL: written directly */
    const char *folder;
    char *name;       /* the temporary file, or NULL once it is gone */
} temporary;

static bool cannot_write(base_ctx *ctx, const char *path, int error)
{
    base_report(ctx, BASE_ERROR, &(base_loc){.file = path, .node = -1}, "cannot be written: %s",
                strerror(error));
    return false;
}

static void drop(temporary *t)
{
    if (t->f)
        fclose(t->f);
    if (t->name)
        unlink(t->name);
    t->f = NULL;
    t->name = NULL;
}

/* The target of the symbolic links at path, which need not exist yet, as for a plain open; NULL if
 * the links form a cycle. */
static const char *follow(base_arena *scratch, const char *path)
{
    enum { MOST = 40 }; /* as in Linux */
    char target[PATH_MAX];
    for (int links = 0; links < MOST; links++) {
        ssize_t n = readlink(path, target, sizeof target);
        if (n < 0)
            return path; /* no link */
        int folder = *target == '/' ? 0 : (int)(base_file_name(path) - path);
        path = base_format(scratch, "%.*s%.*s", folder, path, (int)n, target);
    }
    return NULL;
}

/* Opens the file that will be renamed to path, following a link at path. */
static bool open_temporary(base_ctx *ctx, base_arena *scratch, const char *path, temporary *t)
{
    struct stat st;
    if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
        if (S_ISDIR(st.st_mode))
            return cannot_write(ctx, path, EISDIR);
        t->f = fopen(path, "wbe");
        return t->f || cannot_write(ctx, path, errno);
    }
    t->path = follow(scratch, path);
    if (!t->path)
        return cannot_write(ctx, path, ELOOP);
    path = t->path;
    t->folder = base_folder_of(scratch, path);
    for (int i = 0; i < 1000; i++) {
        char *name = base_format(scratch, "%s/.gradc-%ld-%d.tmp", t->folder, (long)getpid(), i);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0)
            break;
        t->name = name;
        t->f = fdopen(fd, "wb");
        if (t->f)
            return true;
        int error = errno;
        close(fd);
        errno = error;
        break;
    }
    return cannot_write(ctx, path, errno);
}

static bool write_one(base_ctx *ctx, base_arena *scratch, const base_output *o, temporary *t)
{
    if (!open_temporary(ctx, scratch, o->path, t))
        return false;
    int errors = base_error_count(ctx);
    errno = 0;
    if (!o->write(t->f, o->user))
        return base_error_count(ctx) > errors ? false
                                              : cannot_write(ctx, o->path, errno ? errno : EIO);
    bool failed = fflush(t->f) || ferror(t->f) || (t->name && fsync(fileno(t->f)));
    int error = errno;
    failed |= fclose(t->f) != 0;
    t->f = NULL;
    return !failed || cannot_write(ctx, o->path, error ? error : errno);
}

/* Allocates nothing: between two renames nothing may throw. */
static bool rename_all(base_ctx *ctx, temporary *t, int n)
{
    for (int i = 0; i < n; i++) {
        if (!t[i].name)
            continue;
        if (rename(t[i].name, t[i].path))
            return cannot_write(ctx, t[i].path, errno);
        t[i].name = NULL;
        int folder = open(t[i].folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder >= 0) {
            fsync(folder); /* some file systems cannot; the rename is done anyway */
            close(folder);
        }
    }
    return true;
}

bool base_write_atomically(base_ctx *ctx, const base_output *outputs, int n)
{
    base_arena *scratch = base_arena_new(ctx);
    temporary *t = base_array(scratch, temporary, n);
    base_try frame;
    if (setjmp(base_try_push(ctx, &frame))) {
        for (int i = 0; i < n; i++)
            drop(&t[i]);
        base_arena_free(scratch);
        base_throw(ctx, NULL, NULL);
    }
    bool ok = true;
    for (int i = 0; ok && i < n; i++)
        ok = write_one(ctx, scratch, &outputs[i], &t[i]);
    ok = ok && rename_all(ctx, t, n);
    for (int i = 0; i < n; i++)
        drop(&t[i]);
    base_try_pop(ctx, &frame);
    base_arena_free(scratch);
    return ok;
}

static bool write_data(FILE *f, void *user)
{
    const base_data *d = user;
    return fwrite(d->bytes, 1, d->size, f) == d->size;
}

bool base_write_bytes(base_ctx *ctx, const char *path, const void *bytes, size_t size)
{
    base_data d = {(unsigned char *)(uintptr_t)bytes, size};
    return base_write_atomically(ctx, &(base_output){path, write_data, &d}, 1);
}
