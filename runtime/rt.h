/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the runtime's files share. The runtime has no static mutable state: everything lies in a
 * context or a pool, both in memory of the caller. */
#ifndef RUNTIME_RT_H
#define RUNTIME_RT_H

#include "include/gradc_rt.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#define RT_LINE 64 /* bytes of a cache line, and the alignment of every block */
#define RT_ALIGNED __attribute__((aligned(RT_LINE)))

/* What the workers of one call share beside the model's own memory. */
typedef struct rt_run {
    gradc_rt_pool *pool; /* of barriers; NULL when one thread runs the call */
    uint32_t noted;      /* atomic: a bad index was noted */
    uint32_t lock;       /* atomic: guards the four fields at the end */
    /* `noted` as the last barrier found it: the same for all until the next one */
    uint32_t agreed;
    uint32_t check;
    int64_t at, value, limit;
} rt_run;

/* Where a worker of a pool waits for its next call. */
typedef struct rt_box {
    gradc_rt_pool *pool;
    pthread_t thread;
    uint32_t id;
    uint32_t go; /* atomic: grows by 2 a call; bit 0: the worker sleeps */
} RT_ALIGNED rt_box;

struct gradc_rt_pool {
    pthread_mutex_t turn; /* held during a call */
    uint64_t spin_ns;
    pid_t owner; /* a child of fork has no workers */
    uint32_t threads;
    /* The call: written before the boxes' `go`, read after it. */
    gradc_rt_body *body; /* NULL: the worker ends */
    void *const *slot;
    uint64_t wanted;
    rt_run *run;
    uint32_t active; /* threads in this call */
    /* Words that all write, each in a line of its own. */
    uint32_t arrived RT_ALIGNED; /* atomic: at the barrier */
    uint32_t phase RT_ALIGNED;   /* atomic: grows by 2 a barrier; bit 0: some sleep */
    uint32_t left RT_ALIGNED;    /* atomic: workers still in the call */
    /* atomic: grows by 2 when `left` reaches 0; bit 0: the caller sleeps */
    uint32_t done RT_ALIGNED;
    rt_box box[];                /* [threads]; box[0], the caller's, is not used */
};

enum { RT_TYPE_TEXT = 160 }; /* room for a type as text; a longer one is cut */

struct gradc_rt_ctx {
    const gradc_rt_model *model;
    const gradc_rt_level *level; /* the best that this processor runs */
    char *state, *scratch;
    gradc_rt_pool *pool; /* NULL when threads is 1 */
    uint32_t threads;
    uint32_t own_pool;
    uint32_t ready;     /* forward_train is done, backward may come */
    uint32_t kept_spec; /* forward_train's specialisation and inputs, for backward */
    gradc_rt_error error;
    char due[RT_TYPE_TEXT], found[RT_TYPE_TEXT]; /* what the error's pointers point to */
    rt_run run;
    void *slot[2 + GRADC_RT_MAX_PORTS];
    void *kept[GRADC_RT_MAX_PORTS];
};

/* status.c */
/* Keeps what a failed call found and returns its status. */
gradc_rt_status rt_fail(gradc_rt_ctx *ctx, gradc_rt_status status, const char *tensor, int64_t at,
                        int64_t value, int64_t limit);
/* The same of a tensor that a file should have: what is due of it, and what the file has. */
gradc_rt_status rt_fail_tensor(gradc_rt_ctx *ctx, gradc_rt_status status, const gradc_rt_tensor *t,
                               int64_t at, const char *found);
/* The decimal digits of value, without a zero at the end; how many. */
enum { RT_DIGITS = 20 };
size_t rt_digits(char to[RT_DIGITS], uint64_t value);
/* "f32[3,2]"; dtype as safetensors files spell it, in capitals. */
void rt_type_text(char text[RT_TYPE_TEXT], const char *dtype, int rank, const int64_t *shape);
/* Bytes of an element; 0 for what is no element type. */
size_t rt_dtype_bytes(uint32_t dtype);
/* As safetensors files spell it. */
const char *rt_dtype_name(uint32_t dtype);

/* order.c */
/* `count` elements from row-major position `first` on, out of the state's storage. */
void rt_read_rows(const gradc_rt_state *s, const char *storage, size_t first, size_t count,
                  char *rows);
/* All of the state's elements, given row-major. */
void rt_write_rows(const gradc_rt_state *s, char *storage, const char *rows);

/* cpu.c */
/* GRADC_RT_CPU_ bits of what this processor and the system offer. */
uint64_t rt_cpu(void);
/* Flush-to-zero, denormals-are-zero, round to nearest, no traps. Returns the mode that was. */
uint64_t rt_fp_enter(void);
void rt_fp_leave(uint64_t mode);

/* pool.c */
/* Runs body with `threads` threads, the caller among them, and returns when all have left it. */
gradc_rt_status rt_pool_run(gradc_rt_pool *pool, uint32_t threads, gradc_rt_body *body,
                            void *const *slot, uint64_t wanted, rt_run *run);

/* A tensor is in a file of parameters: kinds 0 and 1; or of state: 2 and 3. Gradients and saved
 * values never are. */
static inline bool rt_is_param(const gradc_rt_model *model, uint32_t i)
{
    return i < model->nparams;
}

static inline bool rt_is_resumable(const gradc_rt_model *model, uint32_t i)
{
    return i >= model->nparams && (model->state[i].kind == 2 || model->state[i].kind == 3);
}

#endif
