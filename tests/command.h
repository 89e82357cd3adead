/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * For tests of the command: runs the built gradc in a folder of its own, as a shell would but
 * without one, and keeps its output; writes small ONNX and .npy files. */
#ifndef GRADC_TESTS_COMMAND_H
#define GRADC_TESTS_COMMAND_H

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOT GRADC_SOURCE "/" /* of the project: tests run in a folder of their own */

static char command_folder[64]; /* the working folder of each test */
static struct {
    int status;                          /* the exit status, or -signal */
    char out[1 << 20], err[1 << 20];     /* what was printed, cut */
} said;

static inline void command_setup(void)
{
    strcpy(command_folder, "/tmp/gradc-command-XXXXXX");
    ck_assert(mkdtemp(command_folder) && !chdir(command_folder));
}

static inline void command_teardown(void)
{
    char line[200];
    snprintf(line, sizeof line, "rm -rf %s", command_folder);
    ck_assert(!chdir("/") && !system(line));
}

static inline void read_all(const char *path, char *to, size_t size)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s", path);
    to[fread(to, 1, size - 1, f)] = 0;
    fclose(f);
}

#ifdef GRADC_SANITIZED
/* Instrumented code takes several times as long. */
enum { SANITIZED = true, PROCESSOR_SECONDS = 600 };
#else
enum { SANITIZED = false, PROCESSOR_SECONDS = 60 };
#endif

/* Runs a program to its end, within PROCESSOR_SECONDS, with the file `input` as its stdin, if not
 * NULL. */
static inline int run_program(const char *const *argv, const char *input)
{
    pid_t child = fork();
    ck_assert(child >= 0);
    if (!child) {
        int in = open(input ? input : "/dev/null", O_RDONLY);
        int to = open(".stdout", O_CREAT | O_TRUNC | O_WRONLY, 0600),
            err = open(".stderr", O_CREAT | O_TRUNC | O_WRONLY, 0600);
        setrlimit(RLIMIT_CPU, &(struct rlimit){PROCESSOR_SECONDS, PROCESSOR_SECONDS});
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        if (in < 0 || to < 0 || err < 0 || dup2(in, 0) < 0 || dup2(to, 1) < 0 || dup2(err, 2) < 0)
            _exit(126);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status;
    ck_assert(waitpid(child, &status, 0) == child);
    said.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    read_all(".stdout", said.out, sizeof said.out);
    read_all(".stderr", said.err, sizeof said.err);
    ck_assert(!unlink(".stdout") && !unlink(".stderr"));
    return said.status;
}

/* Runs gradc with these arguments. */
#define gradc(...) run_program((const char *const[]){GRADC_COMMAND, __VA_ARGS__, NULL}, NULL)

/* The same with the words of one line, split at blanks: for tables. */
static inline int gradc_line(const char *line, const char *input)
{
    static char words[8192];
    const char *argv[64] = {GRADC_COMMAND};
    int n = 1;
    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, " "); w && n < 63; w = strtok(NULL, " "))
        argv[n++] = w;
    return run_program(argv, input);
}

/* Checks the exit status; a failure shows all output. */
#define ck_exit(due, what)                                                                       \
    ck_assert_msg(said.status == (due), "%s: exit %d, not %d\nstdout: %.2000s\nstderr: %.2000s", \
                  (const char *)(what), said.status, (int)(due), said.out, said.err)
#define ck_says(text)                                                                \
    ck_assert_msg(strstr(said.err, text) != NULL, "'%s' is not in stderr:\n%.2000s", \
                  (const char *)(text), said.err)

static inline int file_count(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    ck_assert(d != NULL);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

static inline bool is_there(const char *path)
{
    struct stat s;
    return !lstat(path, &s);
}

static inline void put(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f && fwrite(bytes, 1, size, f) == size && !fclose(f), "%s", path);
}

static inline void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text));
}

/* A .npy file, version 1: type as "<f4", shape as "(2, 3)". */
static inline void put_npy(const char *path, const char *type, const char *shape, const void *bytes,
                           size_t size)
{
    static unsigned char file[1 << 20];
    char text[118];
    ck_assert(size + 128 <= sizeof file);
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                     type, shape);
    memset(text + n, ' ', sizeof text - (size_t)n);
    memcpy(file, "\x93NUMPY\1\0\x76\0", 10);
    memcpy(file + 10, text, sizeof text);
    file[127] = '\n';
    memcpy(file + 128, bytes, size);
    put(path, file, 128 + size);
}

/* ==== ONNX files, written from their end to their beginning: a message's length is known only
 * after its content is written ==== */

typedef struct wire {
    unsigned char *bytes;
    size_t size, at; /* what is written is bytes[at .. size) */
} wire;

static inline void wire_bytes(wire *w, const void *bytes, size_t n)
{
    if (w->at < n) {
        size_t more = w->size + n + 65536;
        unsigned char *b = malloc(w->size + more);
        ck_assert(b != NULL);
        if (w->bytes)
            memcpy(b + more + w->at, w->bytes + w->at, w->size - w->at);
        free(w->bytes);
        w->bytes = b;
        w->at += more;
        w->size += more;
    }
    w->at -= n;
    memcpy(w->bytes + w->at, bytes, n);
}

static inline void wire_varint(wire *w, uint64_t v)
{
    unsigned char b[10];
    size_t n = 0;
    do
        b[n++] = (unsigned char)((v & 127) | (v > 127 ? 128 : 0));
    while (v >>= 7);
    wire_bytes(w, b, n);
}

/* Makes what was written since `end`, a former size - at, a message in this field. */
static inline void wire_close(wire *w, int field, size_t end)
{
    wire_varint(w, w->size - w->at - end);
    wire_varint(w, (uint64_t)field << 3 | 2);
}

static inline size_t wire_mark(const wire *w)
{
    return w->size - w->at;
}

static inline void wire_text(wire *w, int field, const char *text)
{
    size_t end = wire_mark(w);
    wire_bytes(w, text, strlen(text));
    wire_close(w, field, end);
}

static inline void wire_number(wire *w, int field, int64_t v)
{
    wire_varint(w, (uint64_t)v);
    wire_varint(w, (uint64_t)field << 3);
}

/* Field numbers of onnx.proto. */
enum {
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    GRAPH_NODE = 1,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OP = 4,
    NODE_ATTRIBUTE = 5
};

/* An input or output (a ValueInfoProto); type as onnx.proto counts them. */
static inline void wire_typed(wire *w, int field, const char *name, int dtype, int rank,
                              const int64_t *dim)
{
    size_t value = wire_mark(w), type = value;
    for (int i = rank; i-- > 0;) {
        size_t end = wire_mark(w);
        wire_number(w, 1, dim[i]);
        wire_close(w, 1, end);
    }
    wire_close(w, 2, type);  /* shape */
    wire_number(w, 1, dtype); /* elem_type */
    wire_close(w, 1, type);  /* tensor_type */
    wire_close(w, 2, type);  /* type */
    wire_text(w, 1, name);
    wire_close(w, field, value);
}

static inline void wire_value(wire *w, int field, const char *name, int rank, const int64_t *dim)
{
    wire_typed(w, field, name, 1, rank, dim); /* f32 */
}

/* An initializer with these bytes (a TensorProto with raw_data). */
static inline void wire_tensor(wire *w, const char *name, int dtype, int rank, const int64_t *dim,
                               const void *bytes, size_t size)
{
    size_t tensor = wire_mark(w);
    wire_bytes(w, bytes, size);
    wire_close(w, 9, tensor);
    wire_text(w, 8, name);
    wire_number(w, 2, dtype);
    for (int i = rank; i-- > 0;)
        wire_number(w, 1, dim[i]);
    wire_close(w, GRAPH_INITIALIZER, tensor);
}

/* A node of one input and one output. */
static inline void wire_node(wire *w, const char *op, const char *name, const char *input,
                             const char *output)
{
    size_t end = wire_mark(w);
    wire_text(w, NODE_OP, op);
    wire_text(w, NODE_NAME, name);
    wire_text(w, NODE_OUTPUT, output);
    wire_text(w, NODE_INPUT, input);
    wire_close(w, GRAPH_NODE, end);
}

/* The same with two inputs and without a name. */
static inline void wire_binary(wire *w, const char *op, const char *x, const char *y,
                               const char *output)
{
    size_t end = wire_mark(w);
    wire_text(w, NODE_OP, op);
    wire_text(w, NODE_OUTPUT, output);
    wire_text(w, NODE_INPUT, y);
    wire_text(w, NODE_INPUT, x);
    wire_close(w, GRAPH_NODE, end);
}

/* An attribute of the node that is being written: an integer. */
static inline void wire_integer(wire *w, const char *name, int64_t v)
{
    size_t end = wire_mark(w);
    wire_number(w, 20, 2); /* type: INT */
    wire_number(w, 3, v);  /* i */
    wire_text(w, 1, name);
    wire_close(w, NODE_ATTRIBUTE, end);
}

/* Writes the graph to a file, as a model of opset 17. */
static inline void wire_model(wire *w, const char *path)
{
    wire_close(w, MODEL_GRAPH, 0);
    size_t end = wire_mark(w);
    wire_number(w, 2, 17);
    wire_close(w, MODEL_OPSET, end);
    wire_number(w, 1, 8); /* ir_version */
    put(path, w->bytes + w->at, w->size - w->at);
    free(w->bytes);
    *w = (wire){0};
}

#endif
