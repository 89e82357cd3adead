/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Reads an untrusted safetensors file. The whole header is read and checked: the grammar, each
 * tensor's range against its type and shape, all ranges together against the file's size (they must
 * cover the data without gap or overlap, as the format demands), each tensor of the model against
 * the file's. Then the model's tensors are read into a staging buffer, and only when all are there
 * does any state change. The buffer is mapped from the system and unmapped before the return. */
#define _GNU_SOURCE
#include "runtime/hosted/json.h"
#include "runtime/hosted/hosted.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MOST_HEADER = 100000000, /* as in other readers of the format */
    MOST_RANK = 64,
    /* At most the bytes of the shortest entry, `"":{"dtype":"","shape":[],"data_offsets":[0,0]},`,
     * which bounds the number of entries. */
    LEAST_ENTRY = 40
};

typedef struct pair {
    uint64_t key, value;
} pair;

/* One tensor's entry in the header. */
typedef struct entry {
    rt_text dtype;
    int64_t shape[MOST_RANK];
    int rank;
    int64_t begin, end;
} entry;

typedef struct loader {
    gradc_rt_ctx *ctx;
    int fd;
    uint64_t header, data; /* bytes */
    char *text;
    pair *names; /* [nstates] hash of the name, index of the state; sorted */
    pair *ranges; /* begin and end of each tensor in the file */
    size_t nranges, most_ranges;
    uint64_t *found; /* [nstates] offset in the file's data, or NOT_FOUND, or MISMATCH */
    bool foreign; /* the file says that it belongs to another model */
    bool with_state; /* the file says that it has the state */
    bool twice; /* the file has a tensor of the model twice */
    /* The first state with another type or shape in the file: of parameters, of the others. */
    struct {
        uint32_t state;
        entry entry;
    } unlike[2];
} loader;

#define NOT_FOUND UINT64_MAX
#define MISMATCH (UINT64_MAX - 1)

static bool below(pair a, pair b)
{
    return a.key != b.key ? a.key < b.key : a.value < b.value;
}

static void sift(pair *p, size_t i, size_t n)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && below(p[child], p[child + 1]))
            child++;
        if (!below(p[i], p[child]))
            return;
        pair t = p[i];
        p[i] = p[child];
        p[child] = t;
    }
}

/* Heap sort: needs no memory and no recursion, and is never quadratic. */
static void sort(pair *p, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(p, i, n);
    for (size_t end = n; end-- > 1;) {
        pair t = p[0];
        p[0] = p[end];
        p[end] = t;
        sift(p, 0, end);
    }
}

static uint64_t hash(const char *at, size_t length)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)at[i]) * 0x100000001b3u;
    return h;
}

/* The state of that name, or nstates. */
static uint32_t find_state(const loader *l, rt_text name)
{
    const gradc_rt_model *model = l->ctx->model;
    uint64_t key = hash(name.at, name.length);
    size_t low = 0, high = model->nstates;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->names[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < model->nstates && l->names[low].key == key; low++)
        if (rt_text_is(name, model->state[l->names[low].value].tensor.name))
            return (uint32_t)l->names[low].value;
    return model->nstates;
}

static void read_shape(rt_json *j, entry *e)
{
    rt_json_expect(j, '[');
    for (e->rank = 0; rt_json_more(j, ']', !e->rank); e->rank++) {
        if (e->rank == MOST_RANK) {
            j->bad = true;
            return;
        }
        e->shape[e->rank] = rt_json_integer(j);
    }
}

/* dtype, shape and data_offsets, each once, in any order. */
static void read_entry(rt_json *j, entry *e)
{
    unsigned seen = 0;
    rt_json_expect(j, '{');
    for (bool first = true; rt_json_more(j, '}', first); first = false) {
        rt_text key = rt_json_string(j);
        rt_json_expect(j, ':');
        unsigned which = rt_text_is(key, "dtype")          ? 1
                         : rt_text_is(key, "shape")        ? 2
                         : rt_text_is(key, "data_offsets") ? 4
                                                           : 0;
        if (!which || seen & which) {
            j->bad = true;
            return;
        }
        seen |= which;
        if (which == 1) {
            e->dtype = rt_json_string(j);
        } else if (which == 2) {
            read_shape(j, e);
        } else {
            rt_json_expect(j, '[');
            e->begin = rt_json_integer(j);
            rt_json_expect(j, ',');
            e->end = rt_json_integer(j);
            rt_json_expect(j, ']');
        }
    }
    if (seen != 7)
        j->bad = true;
}

/* The range is within the data and, for known types, has the size of the shape. */
static bool range_is_right(const loader *l, const entry *e)
{
    if (e->begin > e->end || (uint64_t)e->end > l->data)
        return false;
    uint32_t dtype = 0;
    while (rt_dtype_bytes(dtype) && !rt_text_is(e->dtype, rt_dtype_name(dtype)))
        dtype++;
    uint64_t bytes = rt_dtype_bytes(dtype);
    if (!bytes)
        return true; /* an unknown type: no tensor of the model has it */
    bool empty = false;
    for (int d = 0; d < e->rank; d++)
        empty |= !e->shape[d];
    for (int d = 0; d < e->rank && !empty; d++) {
        if ((uint64_t)e->shape[d] > l->data / bytes)
            return false;
        bytes *= (uint64_t)e->shape[d];
    }
    return (uint64_t)(e->end - e->begin) == (empty ? 0 : bytes);
}

static bool is_like(const entry *e, const gradc_rt_tensor *t)
{
    if (!rt_text_is(e->dtype, rt_dtype_name((uint32_t)t->dtype)) || e->rank != t->rank ||
        (uint64_t)(e->end - e->begin) != t->bytes)
        return false;
    for (int d = 0; d < t->rank; d++)
        if (e->shape[d] != t->shape[d])
            return false;
    return true;
}

static void read_tensor(loader *l, rt_json *j, rt_text name)
{
    entry e = {.rank = 0};
    read_entry(j, &e);
    if (!j->bad && (!range_is_right(l, &e) || l->nranges == l->most_ranges))
        j->bad = true;
    if (j->bad)
        return;
    l->ranges[l->nranges++] = (pair){(uint64_t)e.begin, (uint64_t)e.end};
    uint32_t i = find_state(l, name);
    if (i == l->ctx->model->nstates)
        return;
    l->twice |= l->found[i] != NOT_FOUND;
    bool like = is_like(&e, &l->ctx->model->state[i].tensor);
    l->found[i] = like ? (uint64_t)e.begin : MISMATCH;
    int kind = !rt_is_param(l->ctx->model, i);
    if (!like && i < l->unlike[kind].state) {
        l->unlike[kind].state = i;
        l->unlike[kind].entry = e;
    }
}

static void read_metadata(loader *l, rt_json *j)
{
    char id[17];
    for (int i = 0; i < 16; i++)
        id[i] = "0123456789abcdef"[l->ctx->model->id >> 4 * (15 - i) & 15];
    id[16] = '\0';
    rt_json_expect(j, '{');
    for (bool first = true; rt_json_more(j, '}', first); first = false) {
        rt_text key = rt_json_string(j);
        rt_json_expect(j, ':');
        rt_text value = rt_json_string(j);
        if (rt_text_is(key, "gradc.model"))
            l->foreign = !rt_text_is(value, id);
        if (rt_text_is(key, "gradc.state"))
            l->with_state = rt_text_is(value, "1");
    }
}

static gradc_rt_status read_header(loader *l)
{
    rt_json j = {l->text, l->text + l->header, false};
    rt_json_expect(&j, '{');
    bool metadata = false;
    for (bool first = true; rt_json_more(&j, '}', first); first = false) {
        rt_text name = rt_json_string(&j);
        rt_json_expect(&j, ':');
        if (!rt_text_is(name, "__metadata__")) {
            read_tensor(l, &j, name);
            continue;
        }
        if (metadata)
            j.bad = true;
        metadata = true;
        read_metadata(l, &j);
    }
    rt_json_finish(&j);
    if (j.bad)
        return rt_fail(l->ctx, GRADC_RT_E_FORMAT, NULL, 8 + (j.at - l->text), 0, 0);
    return GRADC_RT_OK;
}

/* The ranges follow each other without gaps from the first byte of the data to the last. */
static gradc_rt_status check_ranges(loader *l)
{
    sort(l->ranges, l->nranges);
    uint64_t at = 0;
    size_t i = 0;
    while (i < l->nranges && l->ranges[i].key == at)
        at = l->ranges[i++].value;
    if (i < l->nranges || at != l->data)
        return rt_fail(l->ctx, GRADC_RT_E_FORMAT, NULL, (int64_t)(8 + l->header + at), 0,
                       (int64_t)(8 + l->header + l->data));
    return GRADC_RT_OK;
}

/* Reports state i, the first of its kind that the file lacks or has with another type or shape. */
static gradc_rt_status fail_state(loader *l, uint32_t i)
{
    char found[RT_TYPE_TEXT] = "no tensor of that name";
    const char *dtype = "?";
    const entry *e = &l->unlike[!rt_is_param(l->ctx->model, i)].entry;
    if (l->found[i] == MISMATCH) {
        for (uint32_t t = 0; rt_dtype_bytes(t); t++) /* other text of the file is not repeated */
            if (rt_text_is(e->dtype, rt_dtype_name(t)))
                dtype = rt_dtype_name(t);
        rt_type_text(found, dtype, e->rank, e->shape);
    }
    return rt_fail_tensor(l->ctx, l->foreign ? GRADC_RT_E_MODEL : GRADC_RT_E_FORMAT,
                          &l->ctx->model->state[i].tensor, 0, found);
}

/* Checks that all required tensors are there. Unless all of the state is there, none of it is
 * loaded; a file of this very model that says it has the state must have it. */
static gradc_rt_status check_tensors(loader *l, bool *with_state)
{
    const gradc_rt_model *model = l->ctx->model;
    if (l->twice)
        return rt_fail(l->ctx, GRADC_RT_E_FORMAT, NULL, 8, 0, 0);
    *with_state = true;
    for (uint32_t i = 0; i < model->nstates; i++) {
        if (l->found[i] < MISMATCH)
            continue;
        if (rt_is_param(model, i) || (rt_is_resumable(model, i) && l->with_state && !l->foreign))
            return fail_state(l, i);
        if (rt_is_resumable(model, i))
            *with_state = false;
    }
    return GRADC_RT_OK;
}

/* Reads `bytes` from offset `at` of the file. */
static gradc_rt_status read_at(loader *l, void *to, uint64_t bytes, uint64_t at)
{
    char *p = to;
    while (bytes) {
        ssize_t n = pread(l->fd, p, bytes < 1u << 30 ? bytes : 1u << 30, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rt_fail(l->ctx, GRADC_RT_E_FILE, NULL, (int64_t)at, errno, 0);
        if (!n) /* the file was truncated meanwhile */
            return rt_fail(l->ctx, GRADC_RT_E_FORMAT, NULL, (int64_t)at, 0, 0);
        p += n;
        at += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
    return GRADC_RT_OK;
}

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static bool is_taken(const gradc_rt_model *model, uint32_t i, bool with_state)
{
    return (rt_is_param(model, i) || (with_state && rt_is_resumable(model, i))) &&
           model->state[i].tensor.bytes;
}

/* Generated code relies on bools being bytes 0 or 1. */
static bool bytes_are_valid(const gradc_rt_tensor *t, const char *data)
{
    for (size_t i = 0; t->dtype == GRADC_RT_BOOL && i < t->bytes; i++)
        if (data[i] != 0 && data[i] != 1)
            return false;
    return true;
}

static gradc_rt_status read_tensors(loader *l, bool with_state, char *staging)
{
    const gradc_rt_model *model = l->ctx->model;
    for (uint32_t i = 0; i < model->nstates; i++) {
        const gradc_rt_state *s = &model->state[i];
        if (!is_taken(model, i, with_state))
            continue;
        gradc_rt_status status = read_at(l, staging, s->tensor.bytes, 8 + l->header + l->found[i]);
        if (status)
            return status;
        if (!bytes_are_valid(&s->tensor, staging))
            return rt_fail_tensor(l->ctx, GRADC_RT_E_FORMAT, &s->tensor,
                                  (int64_t)(8 + l->header + l->found[i]),
                                  "bytes other than 0 and 1");
        staging += s->tensor.bytes;
    }
    return GRADC_RT_OK;
}

/* Reads the tensors into a staging buffer, then copies them to the state block. */
static gradc_rt_status take(loader *l, bool with_state)
{
    gradc_rt_ctx *ctx = l->ctx;
    const gradc_rt_model *model = ctx->model;
    size_t bytes = 0;
    for (uint32_t i = 0; i < model->nstates; i++)
        bytes += is_taken(model, i, with_state) ? model->state[i].tensor.bytes : 0;
    if (!bytes)
        return GRADC_RT_OK;
    char *staging = map(bytes);
    if (!staging)
        return rt_fail(ctx, GRADC_RT_E_MEMORY, NULL, 0, (int64_t)bytes, 0);
    gradc_rt_status status = read_tensors(l, with_state, staging);
    const char *from = staging;
    for (uint32_t i = 0; !status && i < model->nstates; i++) {
        const gradc_rt_state *s = &model->state[i];
        if (!is_taken(model, i, with_state))
            continue;
        rt_write_rows(s, ctx->state + s->at, from);
        from += s->tensor.bytes;
    }
    munmap(staging, bytes);
    return status;
}

static gradc_rt_status load_mapped(loader *l)
{
    const gradc_rt_model *model = l->ctx->model;
    gradc_rt_status status = read_at(l, l->text, l->header, 8);
    if (status)
        return status;
    for (uint32_t i = 0; i < model->nstates; i++) {
        const char *name = model->state[i].tensor.name;
        l->names[i] = (pair){hash(name, strlen(name)), i};
        l->found[i] = NOT_FOUND;
    }
    sort(l->names, model->nstates);
    bool with_state = false;
    l->unlike[0].state = l->unlike[1].state = model->nstates;
    status = read_header(l);
    if (!status)
        status = check_ranges(l);
    if (!status)
        status = check_tensors(l, &with_state);
    if (!status)
        status = take(l, with_state);
    if (!status)
        l->ctx->ready = 0; /* the residuals of forward_train belong to the old parameters */
    return status;
}

static gradc_rt_status load(loader *l)
{
    struct stat info;
    if (fstat(l->fd, &info))
        return rt_fail(l->ctx, GRADC_RT_E_FILE, NULL, 0, errno, 0);
    if (!S_ISREG(info.st_mode))
        return rt_fail(l->ctx, GRADC_RT_E_FILE, NULL, 0, S_ISDIR(info.st_mode) ? EISDIR : EINVAL,
                       0);
    unsigned char length[8];
    gradc_rt_status status = read_at(l, length, sizeof length, 0);
    if (status)
        return status;
    for (int i = 0; i < 8; i++)
        l->header |= (uint64_t)length[i] << 8 * i;
    uint64_t rest = (uint64_t)info.st_size - sizeof length,
             most = rest < MOST_HEADER ? rest : MOST_HEADER;
    if (l->header > most)
        return rt_fail(l->ctx, GRADC_RT_E_FORMAT, NULL, 0, (int64_t)l->header, (int64_t)most);
    l->data = rest - l->header;

    size_t nstates = l->ctx->model->nstates;
    l->most_ranges = l->header / LEAST_ENTRY + 1;
    size_t bytes =
        nstates * (sizeof(pair) + sizeof(uint64_t)) + l->most_ranges * sizeof(pair) + l->header;
    char *memory = map(bytes);
    if (!memory)
        return rt_fail(l->ctx, GRADC_RT_E_MEMORY, NULL, 0, (int64_t)bytes, 0);
    l->names = (pair *)(void *)memory;
    l->ranges = l->names + nstates;
    l->found = (uint64_t *)(void *)(l->ranges + l->most_ranges);
    l->text = (char *)(l->found + nstates);
    status = load_mapped(l);
    munmap(memory, bytes);
    return status;
}

gradc_rt_status gradc_rt_load(gradc_rt_ctx *ctx, const char *path)
{
    if (!ctx)
        return GRADC_RT_E_ARGUMENT;
    if (!path)
        return rt_fail(ctx, GRADC_RT_E_ARGUMENT, NULL, 0, 0, 0);
    loader l = {.ctx = ctx, .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (l.fd < 0)
        return rt_fail(ctx, GRADC_RT_E_FILE, NULL, 0, errno, 0);
    gradc_rt_status status = load(&l);
    close(l.fd);
    return status;
}
