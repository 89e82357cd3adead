/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Shared by the files of runtime/hosted/: threads and files, which freestanding code does not
 * have. */
#ifndef RUNTIME_HOSTED_HOSTED_H
#define RUNTIME_HOSTED_HOSTED_H

#include "runtime/rt.h"

#include <pthread.h>
#include <sys/types.h>

#define RT_ALIGNED __attribute__((aligned(RT_LINE)))

/* Where a worker of a pool waits for its next call. */
typedef struct rt_box {
    gradc_rt_pool *pool;
    pthread_t thread;
    uint32_t id;
    uint32_t go; /* atomic: grows by 2 per call; bit 0: the worker sleeps */
} RT_ALIGNED rt_box;

struct gradc_rt_pool {
    pthread_mutex_t turn; /* held during a call */
    uint64_t spin_ns;
    pid_t owner; /* the process that started the workers: a child of fork has none */
    uint32_t threads;
    /* The current call: written before the boxes' `go`, read after it. */
    gradc_rt_body *body; /* NULL: the worker ends */
    void *const *slot;
    uint64_t wanted;
    rt_run *run;
    uint32_t active; /* threads in this call */
    /* Words that all threads write, each in its own cache line. */
    uint32_t arrived RT_ALIGNED; /* atomic: at the barrier */
    uint32_t phase RT_ALIGNED;   /* atomic: grows by 2 per barrier; bit 0: some sleep */
    uint32_t left RT_ALIGNED;    /* atomic: workers still in the call */
    /* atomic: grows by 2 when `left` reaches 0; bit 0: the caller sleeps */
    uint32_t done RT_ALIGNED;
    rt_box box[];                /* [threads]; box[0], the caller's, is not used */
};

enum { RT_TYPE_TEXT = 160 }; /* room for a type as text; a longer one is truncated */
/* Storage after a context for the error's texts. The context's own pool follows. */
typedef struct rt_texts {
    char expected[RT_TYPE_TEXT], found[RT_TYPE_TEXT];
} rt_texts;

/* text.c */
/* rt_fail for a tensor that a file should have: the expected type, and what the file has. */
gradc_rt_status rt_fail_tensor(gradc_rt_ctx *ctx, gradc_rt_status status, const gradc_rt_tensor *t,
                               int64_t at, const char *found);
/* Writes the decimal digits of value, without a terminating zero; returns their number. */
enum { RT_DIGITS = 20 };
size_t rt_digits(char to[RT_DIGITS], uint64_t value);
/* "f32[3,2]"; dtype as safetensors files spell it, in capitals. */
void rt_type_text(char text[RT_TYPE_TEXT], const char *dtype, int rank, const int64_t *shape);
/* The name in safetensors files. */
const char *rt_dtype_name(uint32_t dtype);

/* A file holds parameters and statistics (kinds 0 and 1), and with state kinds 2 and 3. Gradients
 * and residuals are never in a file. */
static inline bool rt_is_param(const gradc_rt_model *model, uint32_t i)
{
    return i < model->nparams;
}

static inline bool rt_is_resumable(const gradc_rt_model *model, uint32_t i)
{
    return i >= model->nparams && (model->state[i].kind == 2 || model->state[i].kind == 3);
}

#endif
