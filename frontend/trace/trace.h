/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Tracing: operations on tensors are recorded as graph IR, and cut out of the record as modules of
 * their own. Only builds IR; what runs it is in api/.
 *
 * The record is a list of segments, one per mark. A segment has an arena and a function that is
 * never complete: its instructions may use values of older segments, and it has no results. Leaves
 * (tensors without an instruction) enter as parameters, one per segment and version of the leaf's
 * data, so that an assignment does not change older graphs. In the record, ir_value.aux of a
 * parameter is its trace_leaf; that of an instruction's result is its tensor, or NULL for a value
 * inside an operation. No pass sees the record. */
#ifndef GRADC_TRACE_TRACE_H
#define GRADC_TRACE_TRACE_H

#include "base/map.h"
#include "include/gradc.h"
#include "ir/ir.h"

/* Elements of a tensor; held by tensors and by leaves in segments. */
typedef struct trace_data {
    int64_t holders;
    _Alignas(64) unsigned char bytes[];
} trace_data;

/* The operation that produced a tensor; its results share it. */
typedef struct trace_node {
    const char *grad_fn;
    bool released; /* backward has walked through it for the last time */
    int nin;
    gradc_tensor **in;
} trace_node;

typedef struct trace_segment {
    size_t id; /* unique */
    base_arena *arena;
    ir_func *func;
    BASE_LIST(gradc_tensor *) tensors;
    BASE_LIST(struct trace_leaf *) leaves;
} trace_segment;

/* What a parameter of the record stands for. */
typedef enum trace_kind {
    TRACE_DATA,     /* elements */
    TRACE_SEED,     /* u64[]: of random_bits; elements too */
    TRACE_CALL,     /* u64[]: of random_bits, a new number for each draw; elements too */
    /* bool[]: first operand of a select that chooses between training and inference */
    TRACE_TRAINING,
} trace_kind;
typedef struct trace_leaf {
    trace_kind kind;
    gradc_tensor *tensor; /* NULL for the other kinds */
    bool requires_grad;   /* when it was recorded */
    trace_data *data;     /* NULL: an input without a value, or the tensor's update is pending */
} trace_leaf;

struct gradc_tensor {
    gradc *g;
    trace_segment *home;
    ir_type type;
    const char *name;    /* of a parameter, buffer or input */
    enum { TRACE_PLAIN, TRACE_PARAMETER, TRACE_BUFFER, TRACE_INPUT } role;
    ir_value *value;     /* recorded; NULL: a leaf */
    trace_data *data;    /* NULL: pending, or an input */
    trace_node *node;    /* NULL: no operation made it, or none that matters to gradients */
    bool requires_grad, retains;
    bool symbolic;       /* depends on an input */
    gradc_tensor *grad;  /* the tensor that holds it, once there was one */
    bool has_grad;
    gradc_tensor *update; /* a leaf's pending assignment: its next value */
    size_t leaf_segment; /* the segment where leaf_value is this leaf's current value */
    ir_value *leaf_value;
};

struct gradc {
    base_ctx *ctx;
    base_arena *arena; /* lives as long as the context */
    BASE_LIST(trace_segment *) segments; /* the last one records */
    size_t next_segment;
    BASE_LIST(gradc_tensor *) updates; /* leaves with a pending update */
    BASE_LIST(trace_leaf *) waiting; /* leaves of the record that stand for the updated value */
    bool no_grad, failed;
    const char *asking; /* the running function of gradc.h, for errors that name none */
    uint64_t seed, calls;
    char error[2048];
    struct trace_programs *programs;   /* of api/ */
};

/* ---- record.c ---- */

/* Runs body; false if it throws. Errors, thrown or reported, go to g->error. */
bool trace_try(gradc *g, void (*body)(gradc *g, void *user), void *user);
/* Reports an error of a function, given by its name in C. */
void trace_error(gradc *g, const char *function, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void trace_sink(void *g, const base_diagnostic *d);
trace_segment *trace_push_segment(gradc *g);
/* Frees the newest segment. No older tensor may have an update that depends on it. */
void trace_pop_segment(gradc *g);
trace_segment *trace_top(gradc *g);

/* Uninitialised elements, held by the caller. Out of memory, the first throws and the second
 * returns NULL. */
trace_data *trace_data_new(gradc *g, const ir_type *t);
trace_data *trace_data_try(const ir_type *t);
trace_data *trace_hold(trace_data *d);
void trace_drop(trace_data *d);
/* A leaf in a segment; it takes over the caller's hold on data (NULL: an input). */
gradc_tensor *trace_leaf_new(gradc *g, trace_segment *home, const ir_type *t, trace_data *data);
/* A tensor for the result of an instruction. */
gradc_tensor *trace_result_new(gradc *g, ir_value *v);
/* The value of x in the record, for an operation that is being recorded. */
ir_value *trace_value(gradc_tensor *x);
/* A parameter of the record of this kind; elements of data are its value. */
ir_value *trace_special(gradc *g, trace_kind kind, const ir_type *t, uint64_t value);
/* The type with this shape; false and reported if it is not valid. */
bool trace_type(gradc *g, const char *function, gradc_dtype dtype, gradc_shape shape, ir_type *out);
/* False and reported unless x is a tensor of g. */
bool trace_mine(gradc *g, const char *function, const gradc_tensor *x);
/* False and reported unless the name can be a new tensor's. */
bool trace_name_ok(gradc *g, const char *function, const char *name);
/* Gives a leaf new elements (the hold passes to it); recorded graphs keep the old ones. */
void trace_set_data(gradc_tensor *x, trace_data *data);
/* Gives a leaf the value of `to`, a tensor without gradient. */
void trace_set_update(gradc_tensor *x, gradc_tensor *to);

/* ---- Operations: ops.def, op_*.c ---- */

typedef struct trace_call trace_call;
typedef void trace_build(trace_call *c);

enum { /* what happens to operands before the builder sees them */
    TRACE_ANY = 0,
    TRACE_FLOATS = 1,  /* each must be float, all of one type */
    TRACE_PROMOTE = 2, /* all get their common type */
    TRACE_REAL = 4,    /* the same, and integers become f32 */
    TRACE_SPREAD = 8,  /* all are broadcast to their common shape */
    TRACE_NUMBER = 16, /* number n[0] becomes one more operand */
    /* Where the first float is f16 or bf16, operands of its type become f32, and f32 results are
     * rounded to that type. */
    TRACE_WIDE = 32,
};
typedef struct trace_row {
    const char *name, *grad_fn;
    int types;
    trace_build *build;
    int extra;
} trace_row;

enum { TRACE_RESULTS = 2 };
struct trace_call {
    /* As called. */
    gradc *g;
    const trace_row *row;
    gradc_tensor *const *in;
    int nin;
    unsigned optional; /* bit i: in[i] may be NULL */
    gradc_shape s[5];
    int64_t i[4];
    double n[3];
    const char *text;
    gradc_tensor **also; /* where the second result goes; may be NULL */
    /* For the builder. */
    ir_builder *b;
    ir_value **v;        /* operands; NULL: left out */
    ir_value **given;    /* the same before TRACE_WIDE */
    ir_value *out[TRACE_RESULTS];
    const char *grad_fn; /* the row's, unless the builder sets another */
    gradc_tensor *result;
};
#define TRACE_BUILD(name) void trace_build_##name(trace_call *c)

TRACE_BUILD(to); /* for functions that are not in the table */

/* Records an operation; NULL if it failed. */
gradc_tensor *trace_apply(trace_call *c);
/* An error of the operation; the builder then returns. */
void trace_wrong(trace_call *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *trace_text(trace_call *c, const ir_value *v); /* "f32[64,784]" */
/* A dimension, negative ones counted from the end; false and reported if it is out of range. room:
 * the number of dimensions. */
bool trace_dim(trace_call *c, int64_t dim, int room, int *out);
/* Ascending, each once; all if none is given. */
bool trace_dims(trace_call *c, gradc_shape dims, int rank, int64_t *out, int *n);
/* `n` numbers from a list of none (all are `otherwise`), one or n. */
bool trace_numbers(trace_call *c, const char *what, gradc_shape from, int n, int64_t otherwise,
                   int64_t *out);
/* in training ? yes : no; they have one type. */
ir_value *trace_choose(trace_call *c, ir_value *yes, ir_value *no);
/* Random bits, u32 of this shape. */
ir_value *trace_random_bits(trace_call *c, const ir_type *shape);
/* In training x gets the value v instead of old: a pending update, not differentiated. */
void trace_update(trace_call *c, gradc_tensor *x, ir_value *old, ir_value *v);
/* in[batch…][i] of the last dimension: index [batch…, m], the leading dimensions are those of x. */
ir_value *trace_take_last(trace_call *c, ir_value *x, ir_value *index);

/* ---- cut.c ---- */

/* A piece of the record as a function. */
typedef struct trace_input {
    ir_value *value;      /* the parameter */
    gradc_tensor *tensor; /* whose gradient is the parameter's, or NULL */
    ir_value *recorded;   /* the value of the record that it stands for; NULL: zeros … */
    /* … and its elements; for a tensor inside the graph whose gradient is wanted there are none */
    trace_data *data;
} trace_input;
typedef struct trace_cut trace_cut;
struct trace_cut {
    ir_func *f;
    bool through;         /* follow what requires grad to its leaves even where values are known */
    bool training;        /* which side of trace_choose */
    /* Tensors whose gradient is wanted; NULL: the leaves, and what retains its own. */
    gradc_tensor *const *wrt;
    int nwrt;
    /* What a parameter of the record becomes; NULL: an input. */
    ir_value *(*leaf)(trace_cut *cut, ir_value *v, trace_leaf *leaf);
    void *user;
    /* Results. */
    BASE_LIST(trace_input) inputs;
    gradc_tensor *without; /* an input that has no value, and was met */
    bool chose;            /* a trace_choose was met */
    int drawings;          /* random_bits met */
    /* Internal. */
    base_arena *scratch;
    ir_builder b;
    base_map made, adopted; /* values and functions of the record -> those of f's module */
};
/* Adds to f the instructions that x depends on and whose results are not known; returns the value
 * of x in f. Set f, scratch and the options first. */
ir_value *trace_cut_value(trace_cut *cut, gradc_tensor *x);
/* Everything that determines what f computes, as bytes: equal keys, equal code. */
typedef struct trace_bytes {
    unsigned char *items;
    int count, capacity;
} trace_bytes;
void trace_key(base_arena *arena, const trace_cut *cut, trace_bytes *out);

/* ---- model.c ---- */

/* The graph from inputs to outputs as a module like one read from a file: `forward`, and if
 * training differs, `train`. The initial values of its states are the tensors' elements, not
 * copies. NULL and reported (under the function's name) on errors. No tensor involved may have a
 * pending update that depends on no input. */
ir_module *trace_model(gradc *g, const char *function, base_ctx *ctx, base_arena *arena,
                       const char *name, const gradc_output *outputs, int n);

#endif
