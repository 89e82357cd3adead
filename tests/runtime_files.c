/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The runtime's files: what is saved is restored, and no content of a file does harm. */
#include "tests/fake_model.h"
#include "tests/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/gradc-files-XXXXXX", path[64];
/* Of the file at `path` before it loses all its bytes, if not negative. */
static int reads_left = -1;

/* In place of the C library's. */
ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    if (reads_left >= 0 && !reads_left--)
        ck_assert(!truncate(path, 0));
    return syscall(SYS_pread64, fd, to, n, at);
}

static void make_folder(void)
{
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/w.safetensors", folder);
}

static void remove_folder(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static char *read_file(size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    static char content[4096];
    *bytes = fread(content, 1, sizeof content, f);
    fclose(f);
    return content;
}

static void write_file(const void *content, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content, bytes), (ssize_t)bytes);
    close(fd);
}

/* A file with that header and so many bytes of data, all 1. */
static void write_header(const char *header, size_t data)
{
    static unsigned char content[8192];
    size_t n = strlen(header);
    memset(content, 0, 8);
    content[0] = (unsigned char)n;
    content[1] = (unsigned char)(n >> 8);
    memcpy(content + 8, header, n);
    memset(content + 8 + n, 1, data);
    write_file(content, 8 + n + data);
}

static char *state(fake f)
{
    return gradc_rt_state_data(f.ctx, "w", NULL);
}

static void step(fake f, int times)
{
    fake_data d;
    fake_inputs in = fake_batch(&d, 64);
    while (times-- > 0)
        ck_assert_int_eq(FAKE_CALL(f, GRADC_RT_STEP, &in, NULL, NULL, NULL, NULL), GRADC_RT_OK);
}

START_TEST(training_resumes_bit_for_bit)
{
    fake a = fake_new(&fake_model, 1, NULL), b = fake_new(&fake_model, 1, NULL),
         c = fake_new(&fake_model, 1, NULL);
    *(uint64_t *)gradc_rt_state_data(a.ctx, "seed", NULL) = 99;
    step(a, 5);
    ck_assert_int_eq(gradc_rt_save(a.ctx, path, 1), GRADC_RT_OK);
    ck_assert_int_eq(gradc_rt_load(b.ctx, path), GRADC_RT_OK);
    ck_assert_mem_eq(state(a), state(b), AT_GRAD);
    step(a, 5);
    step(b, 5);
    ck_assert_mem_eq(state(a), state(b), AT_GRAD);
    /* Without the state, parameters and statistics come back and the rest stays as it is. */
    ck_assert_int_eq(gradc_rt_save(a.ctx, path, 0), GRADC_RT_OK);
    ck_assert_int_eq(gradc_rt_load(c.ctx, path), GRADC_RT_OK);
    ck_assert_mem_eq(state(a), state(c), AT_MOMENTUM);
    ck_assert_uint_eq(*(uint64_t *)gradc_rt_state_data(c.ctx, "seed", NULL), 7);
    ck_assert_int_eq(*(int64_t *)gradc_rt_state_data(c.ctx, "calls", NULL), 0);
    fake_free(a);
    fake_free(b);
    fake_free(c);
}
END_TEST

START_TEST(the_file_is_as_others_read_it)
{
    fake a = fake_new(&fake_model, 1, NULL);
    ck_assert_int_eq(gradc_rt_save(a.ctx, path, 1), GRADC_RT_OK);
    size_t bytes;
    char *content = read_file(&bytes);
    const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"gradc.model\":\"fa4e0123456789ab\",\"gradc.state\":"
        "\"1\"},"
        "\"a \\\"name\\\"\\\\with\\u000a\\u0001 "
        "all/\xc3\xa9\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]},"
        "\"seed\":{\"dtype\":\"U64\",\"shape\":[],\"data_offsets\":[16,24]},"
        "\"calls\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[32,64]},"
        "\"mean\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[64,68]},"
        "\"w.momentum\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[68,100]},"
        "\"mask\":{\"dtype\":\"BOOL\",\"shape\":[1,3],\"data_offsets\":[100,103]}}";
    size_t n = (sizeof header - 1 + 7) / 8 * 8;
    ck_assert_uint_eq((unsigned char)content[0] + 256u * (unsigned char)content[1], n);
    ck_assert_mem_eq(content + 8, header, sizeof header - 1);
    ck_assert_uint_eq(bytes, 8 + n + 103);
    ck_assert_mem_eq(content + 8 + n + 32, fake_w, 32);
    fake_free(a);
}
END_TEST

/* What a file of the fake model's parameters has at the least, with room for more. */
#define ODD                                  \
    "\"a \\u0022name\\\"\\\\with\\n\\u0001 " \
    "all\\/\\u00e9\":{\"shape\":[2],\"data_offsets\":[0,16],\"dtype\":\"F64\"}"
#define W "\"w\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[16,48]}"
#define MEAN "\"mean\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[48,52]}"
#define MASK "\"mask\":{\"dtype\":\"BOOL\",\"shape\":[1,3],\"data_offsets\":[52,55]}"

START_TEST(files_of_others_load)
{
    static const struct {
        const char *header;
        size_t data;
    } good[] = {
        {"{" ODD "," W "," MEAN "," MASK "}", 55},
        /* In any order, with white space. */
        {" \t\n\r{ " MASK " , " W "\n," MEAN "," ODD " }   ", 55},
        {"{" ODD "," W "," MEAN "," MASK ",\"__metadata__\":{}}", 55},
        {"{" ODD "," W "," MEAN "," MASK
         ",\"more\":{\"dtype\":\"I8\",\"shape\":[5],\"data_offsets\":[55,60]}}",
         60},
        {"{" ODD "," W "," MEAN "," MASK
         ",\"more\":{\"dtype\":\"F8_E4M3\",\"shape\":[7],\"data_offsets\":[55,60]}}",
         60},
        {"{" ODD "," W "," MEAN "," MASK ",\"none\":{\"dtype\":\"F32\",\"shape\":["
                                         "9223372036854775807,0,3],\"data_offsets\":[55,55]}}",
         55},
        {"{" ODD "," W "," MEAN "," MASK
         ",\"\\ud83d\\ude00\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[52,52]}}",
         55},
        /* part of the state is none of it; of another model, more may be missing */
        {"{\"__metadata__\":{\"gradc.state\":\"0\"}," ODD "," W "," MEAN "," MASK
         ",\"seed\":{\"dtype\":\"U64\",\"shape\":[],\"data_offsets\":[55,63]}}",
         63},
        {"{\"__metadata__\":{\"gradc.state\":\"1\",\"gradc.model\":\"0000000000000001\"}," ODD "," W
         "," MEAN "," MASK "}",
         55},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        fake f = fake_new(&fake_model, 1, NULL);
        write_header(good[i].header, good[i].data);
        ck_assert_msg(gradc_rt_load(f.ctx, path) == GRADC_RT_OK, "case %zu, at %d", i,
                      (int)gradc_rt_last_error(f.ctx)->at);
        for (int k = 0; k < 32; k++)
            ck_assert_int_eq(state(f)[k], 1);
        ck_assert_uint_eq(*(uint64_t *)gradc_rt_state_data(f.ctx, "seed", NULL), 7);
        fake_free(f);
    }
}
END_TEST

START_TEST(hostile_files_are_refused)
{
    static const struct {
        const char *header;
        size_t data;
        gradc_rt_status status;
        const char *tensor;
    } bad[] = {
        {"", 0, GRADC_RT_E_FORMAT, NULL},
        {"{}", 0, GRADC_RT_E_FORMAT, "w"},
        {"{}", 1, GRADC_RT_E_FORMAT, NULL}, /* data of no tensor */
        {"[]", 0, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN "}", 52, GRADC_RT_E_FORMAT, "mask"},
        {"{\"__metadata__\":{\"gradc.model\":\"0000000000000001\"}," ODD "," W "," MEAN "}", 52,
         GRADC_RT_E_MODEL, "mask"},
        /* claims to be of this model, with state, but has none */
        {"{\"__metadata__\":{\"gradc.state\":\"1\"}," ODD "," W "," MEAN "," MASK "}", 55,
         GRADC_RT_E_FORMAT, "w.momentum"},
        /* Too short. */
        {"{" ODD "," W "," MEAN "," MASK "}", 54, GRADC_RT_E_FORMAT, NULL},
        /* Too long. */
        {"{" ODD "," W "," MEAN "," MASK "}", 56, GRADC_RT_E_FORMAT, NULL},
        /* Something after it. */
        {"{" ODD "," W "," MEAN "," MASK "} x", 55, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN "," MASK ",}", 55, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN "," MASK ",\"__metadata__\":{},\"__metadata__\":{}}", 55,
         GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN "," MASK ",\"__metadata__\":{\"a\":1}}", 55, GRADC_RT_E_FORMAT,
         NULL},
        {"{" ODD "," W "," MEAN "," MASK ",\"__metadata__\":{\"a\":{}}}", 55, GRADC_RT_E_FORMAT,
         NULL},
        /* twice */
        {"{" ODD "," W "," MEAN "," MASK "," W "}", 55, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN "," MASK
         ",\"mean\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[55,59]}}",
         59, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN
         ",\"mask\":{\"dtype\":\"U8\",\"shape\":[1,3],\"data_offsets\":[52,55]}}",
         55, GRADC_RT_E_FORMAT, "mask"},
        {"{" ODD "," W "," MEAN
         ",\"mask\":{\"dtype\":\"BOOL\",\"shape\":[3,1],\"data_offsets\":[52,55]}}",
         55, GRADC_RT_E_FORMAT, "mask"},
        {"{" ODD "," W "," MEAN
         ",\"mask\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[52,55]}}",
         55, GRADC_RT_E_FORMAT, "mask"},
        {"{" ODD "," W "," MEAN
         ",\"mask\":{\"dtype\":\"X\",\"shape\":[1,3],\"data_offsets\":[52,55]}}",
         55, GRADC_RT_E_FORMAT, "mask"},
        /* ranges: a gap, an overlap, backwards, beyond the end, wrapped around */
        {"{" ODD "," W "," MEAN
         ",\"mask\":{\"dtype\":\"BOOL\",\"shape\":[1,3],\"data_offsets\":[53,56]}}",
         56, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN
         ",\"mask\":{\"dtype\":\"BOOL\",\"shape\":[1,3],\"data_offsets\":[51,54]}}",
         54, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN
         ",\"mask\":{\"dtype\":\"BOOL\",\"shape\":[1,3],\"data_offsets\":[55,52]}}",
         55, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN
         ",\"mask\":{\"dtype\":\"BOOL\",\"shape\":[1,3],\"data_offsets\":[52,56]}}",
         55, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN "," MASK
         ",\"z\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[55,55]}}",
         55, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN "," MASK
         ",\"z\":{\"dtype\":\"F32\",\"shape\":[2147483648,2147483648,4],\"data_offsets\":[55,55]}}",
         55, GRADC_RT_E_FORMAT, NULL},
        {"{" ODD "," W "," MEAN "," MASK ",\"z\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":["
                                         "9223372036854775807,9223372036854775807]}}",
         55, GRADC_RT_E_FORMAT, NULL},
        /* numbers */
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[-8],\"data_offsets\":[0,32]}}", 32,
         GRADC_RT_E_FORMAT, NULL},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[08],\"data_offsets\":[0,32]}}", 32,
         GRADC_RT_E_FORMAT, NULL},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[8.0],\"data_offsets\":[0,32]}}", 32,
         GRADC_RT_E_FORMAT, NULL},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[8e0],\"data_offsets\":[0,32]}}", 32,
         GRADC_RT_E_FORMAT, NULL},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,32]}}", 32,
         GRADC_RT_E_FORMAT, NULL},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[]}}", 4, GRADC_RT_E_FORMAT,
         NULL},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32,32]}}", 32,
         GRADC_RT_E_FORMAT, NULL},
        /* entries */
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[8]}}", 0, GRADC_RT_E_FORMAT, NULL},
        {"{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]}}", 32,
         GRADC_RT_E_FORMAT, NULL},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32],\"x\":1}}", 32,
         GRADC_RT_E_FORMAT, NULL},
        {"{\"w\":[[[[[[[[[[[[[[[[", 32, GRADC_RT_E_FORMAT, NULL},
        {"{\"w\":null}", 0, GRADC_RT_E_FORMAT, NULL},
        /* strings */
        {"{\"w", 0, GRADC_RT_E_FORMAT, NULL},
        {"{\"w\\", 0, GRADC_RT_E_FORMAT, NULL},
        {"{\"w\\u12", 0, GRADC_RT_E_FORMAT, NULL},
        {"{\"\\x\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, GRADC_RT_E_FORMAT,
         NULL},
        {"{\"\\ud800\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
         GRADC_RT_E_FORMAT, NULL},
        {"{\"\\udc00\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
         GRADC_RT_E_FORMAT, NULL},
        {"{\"\n\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, GRADC_RT_E_FORMAT,
         NULL},
    };
    fake f = fake_new(&fake_model, 1, NULL);
    char before[STATE_BYTES];
    memcpy(before, state(f), sizeof before);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_header(bad[i].header, bad[i].data);
        ck_assert_msg(gradc_rt_load(f.ctx, path) == bad[i].status, "case %zu: %s", i,
                      bad[i].header);
        const char *tensor = gradc_rt_last_error(f.ctx)->tensor;
        if (bad[i].tensor)
            ck_assert_str_eq(tensor, bad[i].tensor);
        else
            ck_assert_msg(!tensor, "case %zu names %s", i, tensor);
        ck_assert_mem_eq(before, state(f), sizeof before);
    }
    fake_free(f);
}
END_TEST

/* Which tensor, what is expected, what the file has. */
START_TEST(a_refused_tensor_is_described)
{
    static const struct { const char *entry, *tensor, *due, *found; size_t data;
    } bad[] = {
        {"{}", "w", "f32[8]", "no tensor of that name", 0},
        {"{\"w\":{\"dtype\":\"F64\",\"shape\":[2,4],\"data_offsets\":[0,64]}}", "w", "f32[8]",
         "f64[2,4]", 64},
        {"{\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", "w", "f32[8]",
         "?[8]", 8},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", "w", "f32[8]", "f32[]",
         4},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]},"
         "\"mask\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[32,35]}}",
         "mask", "bool[1,3]", "u8[3]", 35},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]},"
         "\"mask\":{\"dtype\":\"BOOL\",\"shape\":[1,3],\"data_offsets\":[32,35]}}",
         "mean", "f32[]", "no tensor of that name", 35},
    };
    fake f = fake_new(&fake_model, 1, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_header(bad[i].entry, bad[i].data);
        ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_E_FORMAT);
        const gradc_rt_error *e = gradc_rt_last_error(f.ctx);
        ck_assert_msg(!strcmp(e->tensor, bad[i].tensor) && !strcmp(e->found, bad[i].found),
                      "case %zu: '%s' has %s", i, e->tensor, e->found);
        ck_assert_msg(!strcmp(e->expected, bad[i].due), "case %zu: expected %s", i, e->expected);
    }
    char header[2048];
    int n = sprintf(header, "{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,0],\"shape\":[0");
    for (int i = 1; i < 64; i++)
        n += sprintf(header + n, ",123456789");
    sprintf(header + n, "]}}");
    write_header(header, 0);
    ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(gradc_rt_last_error(f.ctx)->found, "f32[0,123456789,"));
    ck_assert_ptr_nonnull(strstr(gradc_rt_last_error(f.ctx)->found, ",...]"));
    ck_assert_int_eq(gradc_rt_load(f.ctx, "/nowhere/at/all"), GRADC_RT_E_FILE);
    ck_assert(!gradc_rt_last_error(f.ctx)->expected && !gradc_rt_last_error(f.ctx)->found);
    fake_free(f);
}
END_TEST

START_TEST(a_shape_of_a_thousand_dimensions_is_refused)
{
    fake f = fake_new(&fake_model, 1, NULL);
    char header[4096];
    int n = sprintf(header, "{\"z\":{\"dtype\":\"I8\",\"data_offsets\":[0,1],\"shape\":[1");
    for (int i = 0; i < 1000; i++)
        n += sprintf(header + n, ",1");
    sprintf(header + n, "]}}");
    write_header(header, 1);
    ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_E_FORMAT);
    fake_free(f);
}
END_TEST

START_TEST(a_boolean_is_0_or_1)
{
    fake f = fake_new(&fake_model, 1, NULL);
    ck_assert_int_eq(gradc_rt_save(f.ctx, path, 1), GRADC_RT_OK);
    size_t bytes;
    char *content = read_file(&bytes);
    content[bytes - 1] = 2; /* the mask's last, at the end of the file */
    write_file(content, bytes);
    step(f, 1);
    char before[STATE_BYTES];
    memcpy(before, state(f), sizeof before);
    ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_E_FORMAT);
    ck_assert_str_eq(gradc_rt_last_error(f.ctx)->tensor, "mask");
    ck_assert_mem_eq(before, state(f), sizeof before);
    fake_free(f);
}
END_TEST

/* A context that was saved to a file and has changed since: `before` is its state now. */
static fake saved_and_moved(char before[STATE_BYTES])
{
    fake f = fake_new(&fake_model, 1, NULL);
    ck_assert_int_eq(gradc_rt_save(f.ctx, path, 1), GRADC_RT_OK);
    step(f, 1);
    memcpy(before, state(f), STATE_BYTES);
    return f;
}

START_TEST(a_file_cut_anywhere_is_refused)
{
    char before[STATE_BYTES];
    fake f = saved_and_moved(before);
    size_t bytes;
    char *content = read_file(&bytes);
    for (size_t n = 0; n < bytes; n++) {
        write_file(content, n);
        ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_E_FORMAT);
        ck_assert_mem_eq(before, state(f), sizeof before);
    }
    write_file(content, bytes);
    ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_OK);
    fake_free(f);
}
END_TEST

START_TEST(a_file_that_shrinks_is_refused)
{
    char before[STATE_BYTES];
    fake f = saved_and_moved(before);
    size_t bytes;
    char *content = read_file(&bytes);
    int reads = 0;
    for (bool refused = true; refused; reads++) {
        write_file(content, bytes);
        reads_left = reads;
        refused = gradc_rt_load(f.ctx, path) == GRADC_RT_E_FORMAT;
        ck_assert(!refused || !memcmp(before, state(f), sizeof before));
    }
    ck_assert_int_eq(reads_left, 0); /* the last load needed no more of them */
    ck_assert_int_gt(reads, 3);      /* the length, the header, tensors */
    reads_left = -1;
    fake_free(f);
}
END_TEST

/* Any one byte changed: the file loads or is refused, whole or not at all. */
START_TEST(a_file_changed_anywhere_does_no_harm)
{
    static const unsigned char change[] = {0x01, 0x02, 0x20, 0x80, 0xff};
    char before[STATE_BYTES];
    fake f = saved_and_moved(before);
    size_t bytes, loaded = 0;
    char *content = read_file(&bytes);
    int fd = open(path, O_WRONLY);
    for (size_t i = 0; i < bytes * sizeof change; i++) {
        size_t at = i / sizeof change;
        char changed = (char)(content[at] ^ (char)change[i % sizeof change]);
        ck_assert_int_eq(pwrite(fd, &changed, 1, (off_t)at), 1);
        gradc_rt_status status = gradc_rt_load(f.ctx, path);
        if (status == GRADC_RT_OK) {
            loaded++;
            memcpy(state(f), before, sizeof before);
        } else if (memcmp(before, state(f), sizeof before)) {
            ck_abort_msg("byte %zu: refused, but states changed", at);
        }
        ck_assert_int_eq(pwrite(fd, &content[at], 1, (off_t)at), 1);
    }
    close(fd);
    ck_assert_uint_ge(loaded, 100 * sizeof change); /* the data's bytes may be anything */
    ck_assert_uint_lt(loaded, 250 * sizeof change); /* the header's may not */
    fake_free(f);
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
    fake f = fake_new(&fake_model, 1, NULL);
    ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_E_FILE);
    ck_assert_int_eq(gradc_rt_last_error(f.ctx)->value, ENOENT);
    ck_assert_int_eq(gradc_rt_load(f.ctx, folder), GRADC_RT_E_FILE);
    ck_assert_int_eq(gradc_rt_load(f.ctx, "/dev/zero"), GRADC_RT_E_FILE);
    ck_assert_int_eq(gradc_rt_load(f.ctx, NULL), GRADC_RT_E_ARGUMENT);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    /* And does not wait for a writer. */
    ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_E_FILE);
    unlink(path);
    static const char huge[8] = "\xff\xff\xff\xff\xff\xff\xff\x7f";
    write_file(huge, sizeof huge);
    ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_E_FORMAT);
    fake_free(f);
}
END_TEST

START_TEST(another_models_file_is_refused)
{
    fake f = fake_new(&fake_model, 1, NULL), big = fake_new(&big_model, 1, NULL);
    ck_assert_int_eq(gradc_rt_save(big.ctx, path, 1), GRADC_RT_OK);
    ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_E_MODEL);
    ck_assert_str_eq(gradc_rt_last_error(f.ctx)->tensor, "w");
    ck_assert_mem_eq(state(f), fake_w, sizeof fake_w);
    /* The same tensors under another id, as after compiling for another batch: all comes back. */
    gradc_rt_model m = fake_model;
    m.id++;
    fake other = fake_new(&m, 1, NULL);
    step(f, 3);
    ck_assert_int_eq(gradc_rt_save(f.ctx, path, 1), GRADC_RT_OK);
    ck_assert_int_eq(gradc_rt_load(other.ctx, path), GRADC_RT_OK);
    ck_assert_mem_eq(state(f), state(other), AT_GRAD);
    fake_free(f);
    fake_free(big);
    fake_free(other);
}
END_TEST

START_TEST(save_reports_and_leaves_no_trace)
{
    fake f = fake_new(&fake_model, 1, NULL);
    char other[128];
    ck_assert_int_eq(gradc_rt_save(f.ctx, NULL, 0), GRADC_RT_E_ARGUMENT);
    snprintf(other, sizeof other, "%s/none/w", folder);
    ck_assert_int_eq(gradc_rt_save(f.ctx, other, 0), GRADC_RT_E_FILE);
    ck_assert_int_eq(gradc_rt_last_error(f.ctx)->value, ENOENT);
    snprintf(other, sizeof other, "%s/", folder);
    ck_assert_int_eq(gradc_rt_save(f.ctx, other, 0), GRADC_RT_E_FILE);
    ck_assert_int_eq(mkdir(path, 0700), 0); /* cannot be renamed over */
    ck_assert_int_eq(gradc_rt_save(f.ctx, path, 0), GRADC_RT_E_FILE);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(gradc_rt_save(f.ctx, path, 0), GRADC_RT_OK);
    unlink(path);
    ck_assert_int_eq(symlink(path, path), 0);
    ck_assert_int_eq(gradc_rt_save(f.ctx, path, 0), GRADC_RT_E_FILE);
    ck_assert_int_eq(gradc_rt_last_error(f.ctx)->value, ELOOP);
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0); /* nothing was left in it */
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    fake_free(f);
}
END_TEST

/* The file that a link leads to gets the content, whether it is there already or not, and the link
 * stays. */
START_TEST(save_follows_links)
{
    static const char *const targets[] = {"real", "./real", "sub/real", NULL};
    fake f = fake_new(&fake_model, 1, NULL);
    char sub[128], real[128];
    struct stat s;
    snprintf(sub, sizeof sub, "%s/sub", folder);
    ck_assert_int_eq(mkdir(sub, 0700), 0);
    for (int i = 0; i < 8; i++) {
        const char *target = targets[i / 2];
        snprintf(real, sizeof real, "%s/%s", folder, target ? target : "sub/other");
        ck_assert_int_eq(symlink(target ? target : real, path), 0);
        for (int again = 0; again < 2; again++) {
            ck_assert_int_eq(gradc_rt_save(f.ctx, path, 0), GRADC_RT_OK);
            ck_assert(!lstat(path, &s) && S_ISLNK(s.st_mode));
            ck_assert(!lstat(real, &s) && S_ISREG(s.st_mode) && s.st_size > 100);
        }
        ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_OK);
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(unlink(real), 0);
    }
    ck_assert_int_eq(rmdir(sub), 0);
    fake_free(f);
}
END_TEST

/* A device stays one, whoever writes to it; a pipe gets the content. */
START_TEST(save_writes_to_what_is_no_file)
{
    fake f = fake_new(&fake_model, 1, NULL);
    struct stat s;
    static char got[4096], link[80];
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(gradc_rt_save(f.ctx, path, 0), GRADC_RT_OK);
    ssize_t n = read(fd, got, sizeof got);
    ck_assert_int_gt(n, 100);
    ck_assert(!memcmp(got + 8, "{\"__metadata__\"", 15));
    close(fd);
    ck_assert(!lstat(path, &s) && S_ISFIFO(s.st_mode));
    ck_assert_int_eq(unlink(path), 0);
    /* root's own /dev/null, which is no loss */
    if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) == 0) {
        fd = open(path, O_WRONLY);
        if (fd >= 0) { /* not on a file system without devices */
            close(fd);
            snprintf(link, sizeof link, "%s/link", folder);
            ck_assert_int_eq(symlink(path, link), 0);
            ck_assert_int_eq(gradc_rt_save(f.ctx, path, 1), GRADC_RT_OK);
            ck_assert_int_eq(gradc_rt_save(f.ctx, link, 1), GRADC_RT_OK);
            ck_assert_int_eq(unlink(link), 0);
        }
        ck_assert(!lstat(path, &s) && S_ISCHR(s.st_mode));
        ck_assert_int_eq(unlink(path), 0);
    }
    ck_assert_int_eq(gradc_rt_save(f.ctx, "/dev/full", 0), GRADC_RT_E_FILE);
    ck_assert_int_eq(gradc_rt_last_error(f.ctx)->value, ENOSPC);
    ck_assert(!stat("/dev/full", &s) && S_ISCHR(s.st_mode));
    fake_free(f);
}
END_TEST

/* Saves alternating parameters until it is killed. */
static void save_for_ever(void)
{
    fake f = fake_new(&big_model, 1, NULL);
    float *w = gradc_rt_state_data(f.ctx, "w", NULL);
    for (int k = 1;; k++) {
        for (int i = 0; i < FAKE_BIG; i++)
            w[i] = (float)(k % 2 + 1);
        if (gradc_rt_save(f.ctx, path, 1))
            _exit(1);
    }
}

START_TEST(a_kill_leaves_the_old_file_or_the_new)
{
    fake f = fake_new(&big_model, 1, NULL);
    float *w = gradc_rt_state_data(f.ctx, "w", NULL);
    for (int i = 0; i < FAKE_BIG; i++)
        w[i] = 1;
    ck_assert_int_eq(gradc_rt_save(f.ctx, path, 1), GRADC_RT_OK);
    for (int k = 0; k < 40; k++) {
        pid_t child = fork();
        if (!child)
            save_for_ever();
        usleep((useconds_t)(2000 + k * 331 % 5000));
        kill(child, SIGKILL);
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status));
        w[0] = 0;
        ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_OK);
        for (int i = 0; i < FAKE_BIG; i++)
            if (w[i] != w[0] || (w[0] != 1 && w[0] != 2))
                ck_abort_msg("round %d: element %d is %g, the first is %g", k, i, (double)w[i],
                             (double)w[0]);
    }
    fake_free(f);
}
END_TEST

/* Dimensions stored in another order: what callers and files see is row-major. */
START_TEST(the_order_of_storage_is_hidden)
{
    enum { A = 20, B = 3, C = 50, N = A * B * C };
    static int16_t rows[N], stored[N], back[N];
    for (int i = 0; i < N; i++)
        rows[i] = (int16_t)(i * 7);
    for (int a = 0; a < A; a++)
        for (int b = 0; b < B; b++)
            for (int c = 0; c < C; c++)
                stored[(c * A + a) * B + b] = rows[(a * B + b) * C + c];
    static const int64_t shape[] = {A, B, C}, order[] = {2, 0, 1};
    gradc_rt_state states[] = {
        {{"w", shape, 3, GRADC_RT_I16, 0, sizeof rows, SIZE_MAX}, 0, 0, 0, rows, order}};
    gradc_rt_model turned = big_model, plain = big_model;
    turned.state = states;
    turned.state_bytes = sizeof rows;
    fake f = fake_new(&turned, 1, NULL);
    ck_assert_mem_eq(state(f), stored, sizeof stored);
    ck_assert_int_eq(gradc_rt_param_get(f.ctx, 0, back), GRADC_RT_OK);
    ck_assert_mem_eq(back, rows, sizeof rows);
    ck_assert_int_eq(gradc_rt_save(f.ctx, path, 0), GRADC_RT_OK);
    memset(state(f), 0, sizeof stored);
    ck_assert_int_eq(gradc_rt_load(f.ctx, path), GRADC_RT_OK);
    ck_assert_mem_eq(state(f), stored, sizeof stored);
    memset(state(f), 0, sizeof stored);
    ck_assert_int_eq(gradc_rt_param_set(f.ctx, 0, rows), GRADC_RT_OK);
    ck_assert_mem_eq(state(f), stored, sizeof stored);
    /* A model that stores it row-major reads the same file. */
    gradc_rt_state straight[] = {states[0]};
    straight[0].order = NULL;
    straight[0].init = NULL;
    plain.state = straight;
    plain.state_bytes = sizeof rows;
    fake g = fake_new(&plain, 1, NULL);
    ck_assert_int_eq(gradc_rt_load(g.ctx, path), GRADC_RT_OK);
    ck_assert_mem_eq(state(g), rows, sizeof rows);
    fake_free(f);
    fake_free(g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("runtime_files");
    TCase *c = tcase_create("runtime_files");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, make_folder, remove_folder);
    tcase_add_test(c, training_resumes_bit_for_bit);
    tcase_add_test(c, the_file_is_as_others_read_it);
    tcase_add_test(c, files_of_others_load);
    tcase_add_test(c, hostile_files_are_refused);
    tcase_add_test(c, a_refused_tensor_is_described);
    tcase_add_test(c, a_shape_of_a_thousand_dimensions_is_refused);
    tcase_add_test(c, a_boolean_is_0_or_1);
    tcase_add_test(c, a_file_cut_anywhere_is_refused);
    tcase_add_test(c, a_file_that_shrinks_is_refused);
    tcase_add_test(c, a_file_changed_anywhere_does_no_harm);
    tcase_add_test(c, what_is_no_file_is_refused);
    tcase_add_test(c, another_models_file_is_refused);
    tcase_add_test(c, save_reports_and_leaves_no_trace);
    tcase_add_test(c, the_order_of_storage_is_hidden);
    tcase_add_test(c, save_follows_links);
    tcase_add_test(c, save_writes_to_what_is_no_file);
    tcase_add_test(c, a_kill_leaves_the_old_file_or_the_new);
    suite_add_tcase(s, c);
    return suite_run(s);
}
