/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The interface of compiled models: the types that generated headers use, and the interface between
 * generated code and the runtime library (libgradc_rt.a). C99 and C++17. The runtime allocates
 * nothing, never prints and never aborts. */
#ifndef GRADC_RT_H
#define GRADC_RT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== For applications ==== */

typedef int gradc_rt_status;
enum {
    GRADC_RT_OK = 0,
    GRADC_RT_E_ARGUMENT,  /* a NULL or misaligned pointer, an index out of range */
    GRADC_RT_E_ARENA,     /* the arena is too small or not 64-aligned */
    GRADC_RT_E_MODEL,     /* options or file of another model, or another version of the runtime */
    GRADC_RT_E_CPU,       /* the code was not built for this processor */
    GRADC_RT_E_THREADS,   /* the workers could not be started, or the pool is too small */
    GRADC_RT_E_ORDER,     /* backward without forward_train before it */
    GRADC_RT_E_INDEX,     /* an index in the data is out of range: see gradc_rt_error */
    GRADC_RT_E_DIMENSION, /* no specialisation for the dimension given */
    GRADC_RT_E_FILE,      /* a file cannot be read or written */
    GRADC_RT_E_FORMAT,    /* a file is malformed or does not match the model: see gradc_rt_error */
    GRADC_RT_E_MEMORY     /* out of memory for file buffers */
};
/* A sentence for a status; never NULL. */
const char *gradc_rt_status_text(gradc_rt_status status);

/* Element types of gradc_rt_tensor.dtype. */
enum {
    GRADC_RT_BOOL,
    GRADC_RT_I8,
    GRADC_RT_I16,
    GRADC_RT_I32,
    GRADC_RT_I64,
    GRADC_RT_U8,
    GRADC_RT_U16,
    GRADC_RT_U32,
    GRADC_RT_U64,
    GRADC_RT_F16,
    GRADC_RT_BF16,
    GRADC_RT_F32,
    GRADC_RT_F64
};

/* A pool of workers that several contexts may share (calls through one pool run one at a time). */
typedef struct gradc_rt_pool gradc_rt_pool;
/* Bytes of memory for a pool of `threads` (the caller counts as one). */
size_t gradc_rt_pool_bytes(uint32_t threads);
/* Starts threads - 1 workers. memory must be 64-aligned and have gradc_rt_pool_bytes(threads). */
gradc_rt_status gradc_rt_pool_init(gradc_rt_pool **pool, void *memory, size_t bytes,
                                   uint32_t threads, uint32_t spin_us);
/* Joins the workers; the memory belongs to the caller again. NULL is allowed. */
void gradc_rt_pool_fini(gradc_rt_pool *pool);

typedef struct gradc_rt_options {
    uint64_t model;      /* the model's id, checked; set by PREFIX_OPTIONS */
    uint32_t size;       /* sizeof(gradc_rt_options) */
    /* Workers, the caller included; at least 1, at most 64 or what the pool has. */
    uint32_t threads;
    uint64_t seed;       /* of all random numbers */
    gradc_rt_pool *pool; /* NULL: the context starts its own */
    uint32_t spin_us;    /* how long workers spin after a call before they sleep */
    uint32_t flags;      /* 0 */
} gradc_rt_options;

/* Describes the last call that failed. The tensor's name lives as long as the model's object code,
 * expected and found until the next failure. */
typedef struct gradc_rt_error {
    gradc_rt_status status;
    const char *tensor; /* its name, or NULL */
    int64_t at;         /* which element of the index tensor, or which byte of a file */
    int64_t value;      /* what was found there; for GRADC_RT_E_FILE errno */
    int64_t limit;      /* what it must stay below */
    /* For a tensor that load refuses: the expected type, "f32[3,2]", and what the file has;
     * otherwise NULL. */
    const char *expected, *found;
} gradc_rt_error;

typedef struct gradc_rt_tensor {
    const char *name; /* as in the model */
    const int64_t *shape;
    int rank, dtype, trainable;
    size_t bytes;
    size_t grad_at; /* in elements of the gradient block; SIZE_MAX: no gradient */
} gradc_rt_tensor;

/* ==== Between generated code and the runtime ==== */

#define GRADC_RT_ABI 2u
#define GRADC_RT_MAX_PORTS 512u   /* most ports of an entry, and most inputs of a model */
#define GRADC_RT_MAX_THREADS 64u  /* of a context's own pool; a shared pool may have more */
/* Bytes of the arena for the context: its fixed part; a pointer (of `pointer` bytes) for scratch,
 * the state block, each port of the entry with most ports, and each input; and for code with
 * threads and files (hosted: 1), its own pool and texts of errors. */
#define GRADC_RT_CTX_FIXED 192u
#define GRADC_RT_HOSTED_BYTES 4800u
#define GRADC_RT_CTX_BYTES(pointer, ports, inputs, hosted)                            \
    ((GRADC_RT_CTX_FIXED + (pointer) * (2u + (ports) + (inputs)) + 63u) / 64u * 64u + \
     ((hosted) ? GRADC_RT_HOSTED_BYTES : 0u))

typedef struct gradc_rt_ctx gradc_rt_ctx;

/* One of the threads in a call. */
typedef struct gradc_rt_worker {
    uint32_t id, threads; /* id < threads */
    void *run;            /* the runtime's */
} gradc_rt_worker;

/* An entry's code; all workers run it at the same time. slot[0] is scratch, slot[1] the state
 * block, then a pointer for each port, in order (NULL: not given, and not needed for the wanted
 * outputs). Bit i of `wanted`: output port group i is wanted, see gradc_rt_port.needed_by. */
typedef void gradc_rt_body(gradc_rt_worker *worker, void *const *slot, uint64_t wanted);
/* A barrier of all workers of the call: writes before it are visible to all after it. Does nothing
 * with one thread. */
void gradc_rt_barrier(gradc_rt_worker *worker);
/* Reports a bad index; of several the smallest (check, at) is kept, so that the report does not
 * depend on threads. */
void gradc_rt_bad_index(gradc_rt_worker *worker, uint32_t check, int64_t at, int64_t value,
                        int64_t limit);
/* 1 if a bad index was reported in this call; called after a barrier, so that all workers get the
 * same answer. */
int gradc_rt_failed(gradc_rt_worker *worker);

/* The square root of a float given by its bits, rounded to nearest: for processors without an
 * instruction for it. */
uint32_t gradc_rt_sqrt_f32(uint32_t x);
uint64_t gradc_rt_sqrt_f64(uint64_t x);

enum { /* the struct that a port is a member of */
    GRADC_RT_INPUT, GRADC_RT_COTANGENT, GRADC_RT_HYPER, GRADC_RT_OUTPUT, GRADC_RT_INPUT_GRAD
};
typedef struct gradc_rt_port {
    const char *name;
    /* The struct, and the member's index (a pointer each; GRADC_RT_HYPER: a float). */
    uint32_t source, index;
    uint32_t dtype, rank;
    const int64_t *shape;
    size_t bytes;
    /* input: mask of the outputs that need it; output: its own bit */
    uint64_t needed_by;
    /* For an output that is not wanted, or a NULL cotangent: offset of its storage in scratch;
     * SIZE_MAX: NULL is passed. */
    size_t fallback;
    /* cotangent: 1 for the loss's, which is 1 if the struct is NULL; a NULL member is zero */
    uint32_t one;
    uint32_t reserved;
} gradc_rt_port;

enum { /* kinds of entries */
       GRADC_RT_FORWARD,
       GRADC_RT_FORWARD_TRAIN,
       GRADC_RT_BACKWARD,
       GRADC_RT_UPDATE,
       GRADC_RT_STEP,
       GRADC_RT_KINDS
};
typedef struct gradc_rt_entry {
    gradc_rt_body *body; /* NULL: the model has no such entry */
    const gradc_rt_port *port;
    uint32_t nports;
    uint32_t parallel;        /* 0: too small to gain from workers, the caller runs it alone */
    uint64_t always;          /* bits of `wanted` that are always set: state updates */
    const char *const *check; /* names of the index tensors of bad_index's checks */
    uint64_t nchecks;
} gradc_rt_entry;

typedef struct gradc_rt_state {
    gradc_rt_tensor tensor;
    uint32_t kind; /* 0 parameter, 1 statistic, 2 optimizer slot, 3 counter, 4 gradient, 5 saved */
    uint32_t reserved;
    size_t at;        /* in the state block */
    const void *init; /* row-major; NULL: zeros */
    /* The order of dimensions in storage, outermost first; NULL: row-major, as gradients are. */
    const int64_t *order;
} gradc_rt_state;

enum { /* bits of gradc_rt_level.cpu: features that the code needs */
       GRADC_RT_CPU_SSE41 = 1,
       GRADC_RT_CPU_AVX = 2,
       GRADC_RT_CPU_AVX2 = 4,
       GRADC_RT_CPU_FMA = 8,
       GRADC_RT_CPU_F16C = 16,
       GRADC_RT_CPU_AVX512 = 32, /* F, BW, DQ, VL, CD */
       GRADC_RT_CPU_BMI2 = 64,
       GRADC_RT_CPU_AVXVNNI = 128,
       GRADC_RT_CPU_AVX512VNNI = 256,
       GRADC_RT_CPU_AVX512BF16 = 512,
       GRADC_RT_CPU_AVXVNNIINT8 = 1024,
       GRADC_RT_CPU_AMX_INT8 = 2048,
       GRADC_RT_CPU_AMX_BF16 = 4096
};
typedef struct gradc_rt_level {
    uint64_t cpu;
    const gradc_rt_entry *entry; /* [specialisation][GRADC_RT_KINDS] */
} gradc_rt_level;

/* The description of a model, constant data of its object. Parameters and statistics come first
 * (nparams of them, those of PREFIX_param), then the other states. */
typedef struct gradc_rt_model {
    uint32_t abi, size; /* GRADC_RT_ABI, sizeof(gradc_rt_model) */
    uint64_t id;        /* hash of the model: states and entries */
    const char *name;
    const gradc_rt_state *state;
    uint32_t nstates, nparams;
    size_t state_bytes, scratch_bytes;
    /* The gradient block: offset in the state block, and elements (f64 if all gradients are f64,
     * else f32). */
    size_t grad_at, grad_count;
    /* GRADC_RT_CTX_BYTES; that + state_bytes + scratch_bytes, each 64-aligned. */
    size_t ctx_bytes, arena_bytes;
    const gradc_rt_level *level; /* the first that the processor supports is used */
    uint32_t nlevels, nspecs;
    uint32_t ninputs;            /* members of PREFIX_inputs before the dimensions */
    /* Symbolic dimensions that choose the specialisation, int64_t members after the inputs. */
    uint32_t ndims;
    const int64_t *dims;         /* [nspecs][ndims] */
    const char *const *dim_name; /* [ndims] */
    const float *hyper;          /* defaults */
    uint32_t nhyper;
    /* Index of the counter set from options.seed at init; UINT32_MAX: none. */
    uint32_t seed_state;
} gradc_rt_model;

enum { /* sizes of these structs on a 32-bit machine */
       GRADC_RT_TENSOR_32 = 28,
       GRADC_RT_PORT_32 = 56,
       GRADC_RT_ENTRY_32 = 40,
       GRADC_RT_STATE_32 = 48,
       GRADC_RT_LEVEL_32 = 16,
       GRADC_RT_MODEL_32 = 96
};

/* Places a context in the arena and starts its pool. The arena must be 64-aligned and have
 * model->arena_bytes. Parameters get their initial values, all other states zero. */
gradc_rt_status gradc_rt_init(gradc_rt_ctx **ctx, const gradc_rt_model *model, void *arena,
                              size_t bytes, const gradc_rt_options *options);
/* The same for freestanding code, which has no threads: options->threads must be 1. */
gradc_rt_status gradc_rt_init_freestanding(gradc_rt_ctx **ctx, const gradc_rt_model *model,
                                           void *arena, size_t bytes,
                                           const gradc_rt_options *options);
/* Joins the workers of the context's own pool; the arena belongs to the caller again. NULL is
 * allowed. */
void gradc_rt_fini(gradc_rt_ctx *ctx);
/* Runs an entry. The structs are those of the generated header (arrays of pointers; hyper of
 * floats) or NULL. */
gradc_rt_status gradc_rt_call(gradc_rt_ctx *ctx, uint32_t kind, const void *inputs,
                              const void *cotangents, const void *hyper, const void *outputs,
                              const void *input_grads);
/* Sets the gradient block to zero. */
gradc_rt_status gradc_rt_zero_grad(gradc_rt_ctx *ctx);
/* Describes the last call that failed; never NULL, with status GRADC_RT_OK if none failed. Lives as
 * long as the context. */
const gradc_rt_error *gradc_rt_last_error(const gradc_rt_ctx *ctx);
/* Copies parameter or statistic i out or in, row-major, the bytes of its gradc_rt_tensor.
 * GRADC_RT_E_ARGUMENT if there is no i. After a set, backward needs a new forward_train. */
gradc_rt_status gradc_rt_param_get(gradc_rt_ctx *ctx, size_t i, void *dst);
gradc_rt_status gradc_rt_param_set(gradc_rt_ctx *ctx, size_t i, const void *src);
/* NULL and *count 0 if the model has no gradient block. */
float *gradc_rt_grad_block(gradc_rt_ctx *ctx, size_t *count);
/* Writes parameters and statistics, and with_state optimizer slots and counters too, to a
 * safetensors file: to a temporary file beside it, then renamed, so that a kill at any moment
 * leaves the old file or the new. */
gradc_rt_status gradc_rt_save(gradc_rt_ctx *ctx, const char *path, int with_state);
/* Loads tensors by name, type and shape, all or nothing. Every parameter must be there, other
 * tensors of the file are ignored; state is loaded if the file has all of it. */
gradc_rt_status gradc_rt_load(gradc_rt_ctx *ctx, const char *path);
/* Storage of any state, for tests and tools; NULL if no state has that name. */
void *gradc_rt_state_data(gradc_rt_ctx *ctx, const char *name, size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
