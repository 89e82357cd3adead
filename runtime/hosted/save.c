/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Writes a safetensors file: eight bytes with the length of the header, the header in JSON, the
 * tensors. The file is written under a temporary name in the same folder, flushed to the disk and
 * renamed, so that at any moment the old file or the new one is there. A killed process may leave
 * the temporary file, `.gradc-PID-N.tmp`; nothing reads it. Links are followed; a device or pipe is
 * written to directly. */
#define _GNU_SOURCE
#include "runtime/hosted/hosted.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Writes bytes to a file through a small buffer, or only counts them. */
typedef struct sink {
    int fd; /* -1: only counts */
    int error;
    uint64_t total;
    size_t held;
    char buffer[4096];
} sink;

static void write_all(sink *s, const char *from, size_t bytes)
{
    while (bytes && !s->error) {
        ssize_t n = write(s->fd, from, bytes < INT_MAX ? bytes : INT_MAX);
        if (n > 0) {
            from += n;
            bytes -= (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            s->error = n ? errno : EIO;
        }
    }
}

static void flush(sink *s)
{
    write_all(s, s->buffer, s->held);
    s->held = 0;
}

static void put(sink *s, const void *from, size_t bytes)
{
    s->total += bytes;
    if (s->fd < 0)
        return;
    if (bytes > sizeof s->buffer - s->held)
        flush(s);
    if (bytes > sizeof s->buffer) {
        write_all(s, from, bytes);
    } else {
        memcpy(s->buffer + s->held, from, bytes);
        s->held += bytes;
    }
}

static void put_text(sink *s, const char *text)
{
    put(s, text, strlen(text));
}

static void put_number(sink *s, uint64_t value)
{
    char digits[RT_DIGITS];
    put(s, digits, rt_digits(digits, value));
}

static void put_hex(sink *s, uint64_t value, int digits)
{
    while (digits-- > 0)
        put(s, &"0123456789abcdef"[value >> 4 * digits & 15], 1);
}

static void put_string(sink *s, const char *text)
{
    put(s, "\"", 1);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20) {
            put_text(s, "\\u");
            put_hex(s, c, 4);
            continue;
        }
        if (c == '"' || c == '\\')
            put(s, "\\", 1);
        put(s, text, 1);
    }
    put(s, "\"", 1);
}

static void put_entry(sink *s, const gradc_rt_tensor *t, uint64_t begin)
{
    put_text(s, ",");
    put_string(s, t->name);
    put_text(s, ":{\"dtype\":\"");
    put_text(s, rt_dtype_name((uint32_t)t->dtype));
    put_text(s, "\",\"shape\":[");
    for (int d = 0; d < t->rank; d++) {
        if (d)
            put_text(s, ",");
        put_number(s, (uint64_t)t->shape[d]);
    }
    put_text(s, "],\"data_offsets\":[");
    put_number(s, begin);
    put_text(s, ",");
    put_number(s, begin + t->bytes);
    put_text(s, "]}");
}

static void put_data(sink *s, const gradc_rt_state *state, const char *storage)
{
    char rows[1024];
    size_t width = rt_dtype_bytes((uint32_t)state->tensor.dtype),
           count = state->tensor.bytes / width, piece = sizeof rows / width;
    if (!state->order) {
        put(s, storage, state->tensor.bytes);
        return;
    }
    for (size_t first = 0; first < count; first += piece) {
        size_t n = count - first < piece ? count - first : piece;
        rt_read_rows(state, storage, first, n, rows);
        put(s, rows, n * width);
    }
}

static bool is_saved(const gradc_rt_model *model, uint32_t i, bool with_state)
{
    return rt_is_param(model, i) || (with_state && rt_is_resumable(model, i));
}

/* Writes the tensors in the order of the file, wide elements first: this aligns each to its
 * element without gaps, which the format forbids. data: NULL to write their header entries. */
static void put_tensors(sink *s, const gradc_rt_model *model, bool with_state, const char *data)
{
    uint64_t at = 0;
    for (size_t width = 8; width; width /= 2) {
        for (uint32_t i = 0; i < model->nstates; i++) {
            const gradc_rt_state *state = &model->state[i];
            if (!is_saved(model, i, with_state) ||
                rt_dtype_bytes((uint32_t)state->tensor.dtype) != width)
                continue;
            if (data)
                put_data(s, state, data + state->at);
            else
                put_entry(s, &state->tensor, at);
            at += state->tensor.bytes;
        }
    }
}

static void put_header(sink *s, const gradc_rt_model *model, bool with_state)
{
    put_text(s, "{\"__metadata__\":{\"format\":\"pt\",\"gradc.model\":\"");
    put_hex(s, model->id, 16);
    put_text(s, with_state ? "\",\"gradc.state\":\"1\"}" : "\",\"gradc.state\":\"0\"}");
    put_tensors(s, model, with_state, NULL);
    put_text(s, "}");
    while (s->total % 8)
        put(s, " ", 1);
}

/* Returns 0 or an errno. */
static int put_file(int fd, gradc_rt_ctx *ctx, bool with_state)
{
    sink s;
    s.fd = -1;
    s.total = 0;
    put_header(&s, ctx->model, with_state);
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(s.total >> 8 * i);
    s.fd = fd;
    s.error = 0;
    s.total = 0;
    s.held = 0;
    put(&s, length, sizeof length);
    put_header(&s, ctx->model, with_state);
    put_tensors(&s, ctx->model, with_state, ctx->state);
    flush(&s);
    if (!s.error && fsync(fd) && errno != EINVAL) /* EINVAL: a pipe or device cannot be flushed */
        s.error = errno;
    return s.error;
}

/* `.gradc-PID-N.tmp`: short enough for any file system. */
static void temporary_name(char name[64], uint64_t pid, uint64_t n)
{
    sink s;
    s.fd = INT_MAX; /* never written to: the name fits the buffer */
    s.error = 0;
    s.total = 0;
    s.held = 0;
    put_text(&s, ".gradc-");
    put_number(&s, pid);
    put_text(&s, "-");
    put_number(&s, n);
    put_text(&s, ".tmp");
    memcpy(name, s.buffer, s.held);
    name[s.held] = '\0';
}

/* Creates a file that was not there before. */
static int create_temporary(int folder, char name[64])
{
    int fd = -1;
    for (uint64_t n = 0; n < 100000; n++) {
        temporary_name(name, (uint64_t)getpid(), n);
        fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd >= 0 || (errno != EEXIST && errno != EINTR))
            break;
    }
    return fd;
}

/* Writes folder/base. Returns 0 or an errno. */
static int replace(gradc_rt_ctx *ctx, int folder, const char *base, bool with_state)
{
    char name[64];
    int fd = create_temporary(folder, name);
    if (fd < 0)
        return errno;
    int error = put_file(fd, ctx, with_state);
    if (close(fd) && !error && errno != EINTR)
        error = errno;
    if (!error && renameat(folder, name, folder, base))
        error = errno;
    if (error)
        unlinkat(folder, name, 0);
    else if (fsync(folder) && errno != EINVAL) /* EINVAL: the file system cannot flush folders */
        error = errno;
    return error;
}

/* Writes to an existing path that is not a regular file. Returns 0 or an errno. */
static int overwrite(gradc_rt_ctx *ctx, const char *path, bool with_state)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno;
    int error = put_file(fd, ctx, with_state);
    if (close(fd) && !error && errno != EINTR)
        error = errno;
    return error;
}

/* Resolves links at path as open would; the target need not exist. Returns 0 or an errno. */
static int follow(const char *path, char to[PATH_MAX])
{
    enum { MOST = 40 }; /* as in Linux */
    char target[PATH_MAX];
    size_t n = strlen(path);
    if (n >= PATH_MAX)
        return ENAMETOOLONG;
    memcpy(to, path, n + 1);
    for (int links = 0; links < MOST; links++) {
        ssize_t length = readlink(to, target, sizeof target);
        if (length < 0)
            return 0; /* not a link */
        char *slash = strrchr(to, '/');
        size_t at = *target == '/' || !slash ? 0 : (size_t)(slash - to) + 1;
        if ((size_t)length >= PATH_MAX - at)
            return ENAMETOOLONG;
        memcpy(to + at, target, (size_t)length);
        to[at + (size_t)length] = '\0';
    }
    return ELOOP;
}

static int save(gradc_rt_ctx *ctx, const char *path, bool with_state)
{
    char to[PATH_MAX];
    struct stat there;
    if (!stat(path, &there) && !S_ISREG(there.st_mode))
        return overwrite(ctx, path, with_state);
    int error = follow(path, to);
    if (error)
        return error;
    char *slash = strrchr(to, '/');
    const char *base = slash ? slash + 1 : to, *where = slash ? to : ".";
    if (!*base)
        return EISDIR;
    if (slash)
        *slash = '\0';
    int folder = open(*where ? where : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return errno;
    error = replace(ctx, folder, base, with_state);
    close(folder);
    return error;
}

gradc_rt_status gradc_rt_save(gradc_rt_ctx *ctx, const char *path, int with_state)
{
    if (!ctx)
        return GRADC_RT_E_ARGUMENT;
    if (!path)
        return rt_fail(ctx, GRADC_RT_E_ARGUMENT, NULL, 0, 0, 0);
    for (uint32_t i = 0; i < ctx->model->nstates; i++) /* the one name that the format reserves */
        if (is_saved(ctx->model, i, with_state) &&
            !strcmp(ctx->model->state[i].tensor.name, "__metadata__"))
            return rt_fail(ctx, GRADC_RT_E_FORMAT, ctx->model->state[i].tensor.name, 0, 0, 0);
    int error = save(ctx, path, with_state);
    return error ? rt_fail(ctx, GRADC_RT_E_FILE, NULL, 0, error, 0) : GRADC_RT_OK;
}
