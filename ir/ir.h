/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The graph IR: the language that every stage speaks.
 *
 * A module has states (named tensors that outlive a call) and functions. A function has parameters
 * (inputs or states), instructions in topological order, and results (outputs, or updates bound to
 * a state). SSA: a value is a parameter or one result of one instruction; it has an element type
 * and a static shape; nothing has a side effect. Broadcasts are explicit. */
#ifndef GRADC_IR_IR_H
#define GRADC_IR_IR_H

#include "base/arena.h"
#include "ir/limits.h"

#include <stdio.h>

/* ---- Types ---- */

typedef enum ir_dtype {
#define DTYPE(NAME, text, bytes, class, npy, st) IR_##NAME,
#include "ir/dtypes.def"
#undef DTYPE
    IR_DTYPES
} ir_dtype;

enum {
    IR_CLASS_B = 1,
    IR_CLASS_S = 2,
    IR_CLASS_U = 4,
    IR_CLASS_F = 8,
    IR_CLASS_I = 6,
    IR_CLASS_N = 14,
    IR_CLASS_ANY = 15
};

typedef struct ir_dtype_info {
    const char *name; /* "f32" */
    int bytes, class; /* class: one IR_CLASS_* bit */
    const char *npy;  /* "<f4" */
    const char *safetensors; /* "F32" */
} ir_dtype_info;
extern const ir_dtype_info ir_dtypes[IR_DTYPES];

static inline bool ir_is_float(ir_dtype t) { return ir_dtypes[t].class == IR_CLASS_F; }
static inline bool ir_is_int(ir_dtype t) { return (ir_dtypes[t].class & IR_CLASS_I) != 0; }
static inline bool ir_is_signed(ir_dtype t)
{
    return (ir_dtypes[t].class & (IR_CLASS_S | IR_CLASS_F)) != 0;
}

/* Element type and shape; dimensions beyond rank are 0. Copied by value. */
typedef struct ir_type {
    ir_dtype dtype;
    int rank;
    int64_t dim[IR_MAX_RANK];
} ir_type;

ir_type ir_type_of(ir_dtype dtype, int rank, const int64_t *dim);
ir_type ir_scalar_type(ir_dtype dtype);
bool ir_type_eq(const ir_type *a, const ir_type *b);
bool ir_shape_eq(const ir_type *a, const ir_type *b);
/* Products of x and y may be summed in `sum`, another type (ir/accumulators.def). */
bool ir_accumulates(ir_dtype x, ir_dtype y, ir_dtype sum);
/* Elements and bytes of a type that passed ir_type_ok. */
int64_t ir_count(const ir_type *t);
int64_t ir_bytes(const ir_type *t);
/* Rank and dimensions within the limits, bytes at most IR_MAX_TENSOR_BYTES (an empty tensor's other
 * dimensions too). */
bool ir_type_ok(const ir_type *t);
/* Row-major strides in elements. */
void ir_strides(const ir_type *t, int64_t stride[IR_MAX_RANK]);
/* "f32[64,784]" into an arena. */
const char *ir_type_text(base_arena *arena, const ir_type *t);

/* A tensor in the compiler's memory: contiguous, row-major. */
typedef struct ir_literal {
    ir_type type;
    void *data; /* ir_bytes(&type) */
} ir_literal;
/* zeroed; throws if the type is not ok */
ir_literal *ir_literal_new(base_arena *arena, const ir_type *type);
/* Element i as double or int64 (exact for 64-bit integers through the latter), and back (rounding
 * as `convert` does). */
double ir_literal_get(const ir_literal *l, int64_t i);
void ir_literal_set(ir_literal *l, int64_t i, double v);
int64_t ir_literal_get_int(const ir_literal *l, int64_t i);
void ir_literal_set_int(ir_literal *l, int64_t i, int64_t v);
/* True when all elements have the same bits. */
bool ir_literal_is_splat(const ir_literal *l);

typedef struct ir_tensor {
    const char *name;
    ir_literal *value;
} ir_tensor;

/* Named tensors, as files hold them. */
typedef struct ir_tensors {
    ir_tensor *items;
    int count, capacity;
    const char **metadata; /* key, value, key, value, … */
    int nmetadata; /* pairs */
} ir_tensors;

/* NULL if there is none of that name. */
ir_literal *ir_tensor_by_name(const ir_tensors *tensors, const char *name);

/* f16/bf16 bit patterns, round to nearest even (double without rounding twice); integer operations
 * only. */
float ir_f16_to_f32(uint16_t h);
float ir_bf16_to_f32(uint16_t h);
uint16_t ir_f16_from_f64(double x);
uint16_t ir_bf16_from_f64(double x);

/* ---- Attributes ---- */

typedef struct ir_ints {
    int n;
    int64_t *v;
} ir_ints;
typedef enum ir_relation { IR_EQ, IR_NE, IR_LT, IR_LE, IR_GT, IR_GE } ir_relation;
/* IR_SET: scatter only. */
typedef enum ir_combine { IR_SUM, IR_PROD, IR_MAX, IR_MIN, IR_AND, IR_OR, IR_SET } ir_combine;
extern const char *const ir_relation_names[], *const ir_combine_names[]; /* NULL at the end */

typedef struct ir_func ir_func;
typedef enum ir_attr_kind {
    IR_ATTR_int,
    IR_ATTR_ints,
    IR_ATTR_float,
    IR_ATTR_dtype,
    IR_ATTR_accumulator, /* a dtype; IR_BOOL, which is never one: the operands' own */
    IR_ATTR_relation,
    IR_ATTR_combine,
    IR_ATTR_func,
    IR_ATTR_literal
} ir_attr_kind;
typedef int64_t ir_attr_int;
typedef ir_ints ir_attr_ints;
typedef double ir_attr_float;
typedef ir_dtype ir_attr_dtype;
typedef ir_dtype ir_attr_accumulator;
typedef ir_relation ir_attr_relation;
typedef ir_combine ir_attr_combine;
typedef ir_func *ir_attr_func;      /* may be NULL (call's vjp) */
typedef ir_literal *ir_attr_literal;

/* `struct ir_attrs_slice { ir_ints start, limit, stride; }` and so on, one an op; empty ones hold
 * one unused byte. */
#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    struct ir_attrs_##name {                                                               \
        attrs char end_;                                                                   \
    };
#define A(op, kind, field) ir_attr_##kind field;
#include "ir/ops.def"
typedef union ir_attrs {
#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    struct ir_attrs_##name name;
#include "ir/ops.def"
} ir_attrs;

typedef enum ir_op {
#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    IR_OP_##name,
#include "ir/ops.def"
    IR_OPS
} ir_op;

typedef enum ir_trait { /* of an op: the letters of ops.def */
                        IR_ELEMENTWISE = 1,
                        IR_COMMUTATIVE = 2,
                        IR_MOVES = 4,
                        IR_VIEW = 8,
                        IR_NULLARY = 16,
                        IR_GENERATED = 32,
                        IR_OVER_AXES = 64,
                        IR_OVER_WINDOW = 128,
                        IR_CONTRACTION = 256,
                        IR_FUNCTION = 512,
                        IR_OWN_EMITTER = 1024,
                        IR_CHECKED = 2048,
                        IR_STRUCTURED = 4096,
                        IR_RUNS = 8192,
                        /* A result element is computed by a loop over elements of the operands. */
                        IR_LOOPS = IR_OVER_AXES | IR_OVER_WINDOW | IR_CONTRACTION,
} ir_trait;

typedef struct ir_attr_info {
    const char *name;
    ir_attr_kind kind;
    size_t offset; /* in ir_attrs */
} ir_attr_info;

typedef struct ir_inst ir_inst;
typedef struct ir_value ir_value;

/* A shape rule writes the result types (as many as it sets *nresults to; the table's count is
 * preset) and returns NULL, or returns an error message for the user (static, or from the
 * arena). */
typedef const char *ir_shape_rule(base_arena *arena, ir_op op, const ir_attrs *attrs,
                                  ir_value *const *operand, int noperands, ir_type *result,
                                  int *nresults);
typedef struct ir_evaluation {
    base_arena *arena; /* for temporary memory */
    bool bad_index;  /* set when an index was out of range */
    /* See ir_eval_watched; may be NULL. */
    void (*watch)(void *user, const ir_inst *inst, ir_literal *const *operand, ir_literal **result);
    void *user;
} ir_evaluation;
/* An evaluator reads operand literals and fills the results, which are allocated and zeroed. */
typedef void ir_eval_rule(ir_evaluation *e, const ir_inst *inst, ir_literal *const *operand,
                          ir_literal **result);

typedef struct ir_op_info {
    const char *name, *doc;
    int operands, results; /* -1: any */
    int classes, traits, cost;
    double ulps[2]; /* published error, of f32 and f64; 0: none */
    int nattrs;
    const ir_attr_info *attr;
    ir_shape_rule *shape;
} ir_op_info;
extern const ir_op_info ir_ops[IR_OPS];
extern ir_eval_rule *const ir_eval_rules[IR_OPS]; /* ir/eval.c */
bool ir_op_by_name(const char *name, ir_op *out);

/* ---- Module ---- */

typedef enum ir_state_kind {
    IR_PARAM, /* a weight */
    IR_STAT, /* running statistics: kept and saved with the weights, never trained */
    IR_SLOT, /* optimizer state of the parameter `of` */
    IR_COUNTER, /* step count, training call count, seed */
    IR_GRAD, /* gradient of the parameter `of` */
    IR_SAVED, /* residual: forward_train saves it for backward */
} ir_state_kind;
extern const char *const ir_state_kind_names[];

typedef struct ir_state {
    const char *name; /* raw; unique in the module */
    ir_type type;
    ir_state_kind kind;
    bool trainable;
    const char *why;      /* why it trains or not, in words, for `info`; may be NULL */
    struct ir_state *of;  /* of a slot or gradient: its parameter */
    ir_literal *init;     /* NULL: zeros */
    int index;            /* in the module's list */
    /* Of dimensions in storage, outermost first; n = 0: row-major. Set by the layout pass. */
    ir_ints order;
    bool ordered;         /* the order is decided: the layout pass keeps it */
    int64_t at;           /* offset in the state block, set by codegen */
} ir_state;

typedef enum ir_phase { IR_FORWARD, IR_BACKWARD, IR_UPDATE } ir_phase;
extern const char *const ir_phase_names[];

typedef enum ir_place {
    IR_NOWHERE,   /* computed inside its users, or not planned yet */
    IR_SCRATCH,   /* at `offset` in the function's scratch */
    /* The storage of parameter `offset` (an input's buffer or a state), from `shift` bytes on. */
    IR_AT_PARAM,
    IR_AT_RESULT, /* the storage of result `offset` */
    IR_AT_DATA,   /* constant data in the object, or an immediate */
} ir_place;

struct ir_value {
    ir_type type;
    ir_inst *def;      /* NULL: a parameter of func */
    ir_func *func;
    int index;         /* which result of def, or which parameter */
    const char *name;  /* raw name in the model, or NULL */
    int id; /* scratch number for a pass; the printer does not use it */
    void *aux;         /* scratch pointer for a pass; garbage at the start of each */
    /* Set by the passes layout, fuse and plan; see ir/kernels.h. */
    ir_ints order;             /* of dimensions in storage, outermost first; n = 0: row-major */
    /* The kernel that writes it; NULL: computed inside its users (or a parameter or constant). */
    struct ir_kernel *kernel;
    ir_place place;
    int64_t offset, shift;
};

struct ir_inst {
    ir_op op;
    ir_phase phase;
    int noperands, nresults;
    ir_value **operand;
    ir_value **result;
    ir_attrs *attrs;
    const base_loc *loc; /* may be NULL */
    ir_inst *primal;   /* in backward: the forward instruction that it differentiates */
    ir_func *func;
    ir_inst *next, *previous;
    int id;            /* scratch, as in ir_value */
    void *aux;
};
#define IR_ATTR(inst, name) (&(inst)->attrs->name)

/* results: an output, or an update of a state */
typedef enum ir_bind { IR_INPUT, IR_STATE } ir_bind;
typedef enum ir_role {
    IR_DATA, /* the model's own inputs and outputs */
    /* input: cotangent of the output of that name; output: gradient of the input or state of that
     * name */
    IR_GRADIENT,
    IR_HYPER, /* input f32[]: a hyper-parameter of the optimizer */
} ir_role;
extern const char *const ir_role_names[]; /* NULL at the end */

typedef struct ir_port { /* a parameter or result of a function */
    ir_value *value;
    ir_bind bind;
    ir_state *state;   /* if IR_STATE */
    const char *name;  /* raw name of an input or output; NULL in functions that are only called */
    ir_role role;
    const char *const *dim_names; /* inputs: symbolic name of each dimension, or NULL */
} ir_port;

struct ir_func {
    const char *name;
    struct ir_module *module;
    BASE_LIST(ir_port) params;
    BASE_LIST(ir_port) results;
    ir_inst *first, *last;
    int loss;          /* index of the result that is the loss, or -1 */
    /* Becomes a function of the generated header; else only instructions name it. */
    bool entry;
    /* The instructions that name it, once for each mention; valid while a pass runs, see
     * pass_run_one. */
    BASE_LIST(ir_inst *) callers;
    struct ir_plan *plan; /* set by the passes fuse and plan; NULL before */
    int id;            /* scratch number for a pass */
    /* of module.c: NULL, or the first `looked_up` parameters by state; some may be removed */
    struct base_map *param_of_state;
    int looked_up;
};

typedef struct ir_builder ir_builder;
struct base_map;

typedef struct ir_module {
    base_ctx *ctx;
    base_arena *arena;
    const char *name;
    BASE_LIST(ir_state *) states;
    BASE_LIST(ir_func *) funcs;
    int props; /* PASS_* of passes/passes.h that hold for all functions */
    struct base_map *func_names, *state_names; /* of module.c */
    int64_t folded; /* bytes of constants created by folding */
} ir_module;

ir_module *ir_module_new(base_ctx *ctx, base_arena *arena, const char *name);
/* The name is made unique by a suffix. */
ir_func *ir_func_new(ir_module *m, const char *name);
ir_func *ir_func_by_name(const ir_module *m, const char *name); /* NULL if there is none */
/* The same among entries, and among roots: functions that instructions name may have any name, so
 * these do not return them. */
ir_func *ir_entry_by_name(const ir_module *m, const char *name);
ir_func *ir_root_by_name(const ir_module *m, const char *name);
/* An entry, or a function whose parameters or results have names or states: no instruction may name
 * it. */
bool ir_is_root(const ir_func *f);
void ir_func_remove(ir_func *f);
/* Renames f to `wish`, made unique. */
void ir_func_rename(ir_func *f, const char *wish);
/* Frees f's name when f leaves the module; the caller removes f from the list. */
void ir_func_forget(ir_func *f);
ir_state *ir_state_new(ir_module *m, const char *name, ir_state_kind kind, const ir_type *type);
/* The first; NULL if there is none. */
ir_state *ir_state_by_name(const ir_module *m, const char *name);
/* Parameters and results. */
ir_value *ir_add_input(ir_func *f, const char *name, const ir_type *type);
/* The parameter for s; the same one when asked twice. */
ir_value *ir_add_state(ir_func *f, ir_state *s);
ir_value *ir_state_param(ir_func *f, const ir_state *s); /* it, or NULL */
void ir_add_output(ir_func *f, const char *name, ir_value *v);
void ir_add_update(ir_func *f, ir_state *s, ir_value *v);

/* Copies the instructions of `from` into `to` at the builder's end, its parameters replaced by
 * args; results written to out. */
void ir_inline(ir_builder *b, const ir_func *from, ir_value *const *args, ir_value **out);
/* A copy of a function (nested functions are shared). */
ir_func *ir_clone(const ir_func *f, const char *name);
/* Copies the functions of another module that inst, an instruction of m, names into m, each once,
 * with those that they name. `adopted` maps functions to copies and starts empty. Whatever else
 * attributes point to is shared. */
void ir_adopt_called(ir_module *m, ir_inst *inst, struct base_map *adopted);
/* Replaces every use of `old` in its function (results included) by `with`; reads all of it. */
void ir_replace(ir_value *old, ir_value *with);
void ir_remove(ir_inst *inst); /* unlinks; its results must be unused */
/* Moves inst before `at` (NULL: to the end). */
void ir_move(ir_inst *inst, ir_inst *at);
/* Numbers values (parameters first) and instructions in order through `id`; returns how many
 * values. */
int ir_number(ir_func *f);
bool ir_has_trait(const ir_inst *inst, int traits); /* any of them */
/* Structural hash and equality of op, attributes and operands (not results, loc, phase). */
uint64_t ir_hash(const ir_inst *inst);
bool ir_same(const ir_inst *a, const ir_inst *b);
bool ir_attrs_eq(ir_op op, const ir_attrs *a, const ir_attrs *b);
/* The accumulator attribute; NULL: op has none. */
ir_dtype *ir_accumulator(ir_op op, ir_attrs *attrs);
/* Result types of an instruction into *result (an array in arena) and *nresults; returns NULL, or a
 * message that says what is wrong with the count or types of operands or with the attributes. Enum
 * attributes must be in range. */
const char *ir_infer(base_arena *arena, ir_op op, const ir_attrs *attrs, ir_value *const *operand,
                     int noperands, ir_type **result, int *nresults);
/* Every function that an attribute of inst names: fills at most `max`, returns how many. */
int ir_called(const ir_inst *inst, ir_func **out, int max);

#define IR_FOR(inst, f) for (ir_inst *inst = (f)->first; inst; inst = inst->next)
/* The same while inst may be removed or replaced. */
#define IR_FOR_SAFE(inst, f)                                                  \
    for (ir_inst *inst = (f)->first, *next_ = inst ? inst->next : NULL; inst; \
         inst = next_, next_ = inst ? inst->next : NULL)
#define IR_FOR_REVERSE(inst, f) for (ir_inst *inst = (f)->last; inst; inst = inst->previous)

/* ---- Builder ---- */

/* Appends instructions to a function (before `at`, or at the end). A builder function returns NULL
 * if an operand is NULL, or if a shape rule refuses, which is reported at loc as the user's error.
 * So a frontend checks once at the end; a pass that knows its shapes calls ir_built(), a BUG if
 * anything was refused. */
struct ir_builder {
    ir_func *func;
    ir_inst *at;         /* insert before; NULL: append */
    const base_loc *loc;
    ir_phase phase;
    ir_inst *primal;
    bool failed;
};

ir_builder ir_builder_new(ir_func *f);
/* Inserts before inst, with its location, phase and primal. */
ir_builder ir_builder_before(ir_inst *inst);
void ir_built(const ir_builder *b);
/* The general form. attrs is copied (shallow: arrays must live in the module's arena) and may be
 * NULL for none. */
ir_inst *ir_build(ir_builder *b, ir_op op, ir_value *const *operand, int noperands,
                  const ir_attrs *attrs);
/* The same with one result; NULL if refused. */
ir_value *ir_build1(ir_builder *b, ir_op op, ir_value *const *operand, int noperands,
                    const ir_attrs *attrs);
ir_ints ir_ints_of(ir_builder *b, int n, const int64_t *v); /* a copy in the module's arena */

/* A window attribute over all dimensions: `first` for batch and feature, then one number per
 * spatial dimension. */
ir_ints ir_spatial_ints(ir_builder *b, int spatial, const int64_t *v, int64_t first);

ir_value *ir_unary(ir_builder *b, ir_op op, ir_value *x);
ir_value *ir_binary(ir_builder *b, ir_op op, ir_value *x, ir_value *y);
/* ir_neg(b, x), ir_add(b, x, y) … for each row of the table whose shape rule is `same`:
 * elementwise, without attributes. */
#define IR_FORM_1(name)                                           \
    static inline ir_value *ir_##name(ir_builder *b, ir_value *x) \
    {                                                             \
        return ir_unary(b, IR_OP_##name, x);                      \
    }
#define IR_FORM_2(name)                                                        \
    static inline ir_value *ir_##name(ir_builder *b, ir_value *x, ir_value *y) \
    {                                                                          \
        return ir_binary(b, IR_OP_##name, x, y);                               \
    }
#define IR_FORMED(in, name) IR_FORM_##in(name)
#define IR_UNFORMED(in, name)
/* Shifts the arguments after it by one, so that the third is another one. */
#define IR_SHAPE_same ,
#define IR_THIRD(a, b, c, ...) c
#define IR_CHOOSE(...) IR_THIRD(__VA_ARGS__)
#define OP(name, in, out, types, attrs, traits, cost, error, shape, eval, vjp, lower, doc) \
    IR_CHOOSE(IR_SHAPE_##shape, IR_FORMED, IR_UNFORMED, )(in, name)
#include "ir/ops.def"
IR_FORM_1(is_nan)
ir_value *ir_compare(ir_builder *b, ir_relation relation, ir_value *x, ir_value *y);
ir_value *ir_select(ir_builder *b, ir_value *which, ir_value *yes, ir_value *no);
ir_value *ir_convert(ir_builder *b, ir_value *x, ir_dtype to); /* x itself if it has the type */

ir_value *ir_constant(ir_builder *b, ir_literal *value);
/* A number as a rank-0 constant, broadcast to the shape of type. */
ir_value *ir_splat(ir_builder *b, const ir_type *type, double v);
ir_value *ir_scalar(ir_builder *b, ir_dtype dtype, double v);
ir_value *ir_zeros_like(ir_builder *b, ir_value *x);
ir_value *ir_iota(ir_builder *b, ir_dtype dtype, int rank, const int64_t *shape, int axis);
/* x itself if it has the shape */
ir_value *ir_reshape(ir_builder *b, ir_value *x, int rank, const int64_t *shape);
ir_value *ir_broadcast(ir_builder *b, ir_value *x, int rank, const int64_t *shape,
                       const int64_t *dims);
/* Numpy's rule: x aligned at the right, missing and unit dimensions broadcast; x itself if it has
 * the shape. */
ir_value *ir_broadcast_to(ir_builder *b, ir_value *x, int rank, const int64_t *shape);
/* Broadcasts both to their common shape by numpy's rule; false (and reported) if they have none. */
bool ir_broadcast_both(ir_builder *b, ir_value **x, ir_value **y);
/* x itself if it is the identity */
ir_value *ir_transpose(ir_builder *b, ir_value *x, const int64_t *perm);
/* Stride NULL: ones. */
ir_value *ir_slice(ir_builder *b, ir_value *x, const int64_t *start, const int64_t *limit,
                   const int64_t *stride);
ir_value *ir_slice_axis(ir_builder *b, ir_value *x, int axis, int64_t start, int64_t limit);
/* interior NULL: zeros. */
ir_value *ir_pad(ir_builder *b, ir_value *x, ir_value *v, const int64_t *low, const int64_t *high,
                 const int64_t *interior);
ir_value *ir_concat(ir_builder *b, ir_value *const *x, int n, int axis);
ir_value *ir_reverse(ir_builder *b, ir_value *x, int n, const int64_t *axes);
ir_value *ir_gather(ir_builder *b, ir_value *x, ir_value *index, int ndims, const int64_t *dims,
                    int batch);
ir_value *ir_scatter(ir_builder *b, ir_combine combine, ir_value *x, ir_value *index,
                     ir_value *update, int ndims, const int64_t *dims, int batch);
/* x itself if n is 0 */
ir_value *ir_reduce(ir_builder *b, ir_combine combine, ir_value *x, int n, const int64_t *axes);
/* The same, the reduced dimensions kept as 1. */
ir_value *ir_reduce_keep(ir_builder *b, ir_combine combine, ir_value *x, int n,
                         const int64_t *axes);
/* x without axes (ascending), which have extent 1. */
ir_value *ir_squeeze(ir_builder *b, ir_value *x, int n, const int64_t *axes);
/* Broadcasts v, of x's shape without axes, to the shape of x. */
ir_value *ir_unreduce(ir_builder *b, ir_value *v, const ir_value *x, int n, const int64_t *axes);
ir_value *ir_dot_general(ir_builder *b, ir_value *x, ir_value *y, int nbatch, const int64_t *xbatch,
                         const int64_t *ybatch, int ncontract, const int64_t *xcontract,
                         const int64_t *ycontract);
/* The same, summed in the type `accumulate`; IR_BOOL: in the operands' own. */
ir_value *ir_dot_general_in(ir_builder *b, ir_dtype accumulate, ir_value *x, ir_value *y,
                            int nbatch, const int64_t *xbatch, const int64_t *ybatch, int ncontract,
                            const int64_t *xcontract, const int64_t *ycontract);
/* torch.matmul: rank 1 operands, batch dimensions broadcast. */
ir_value *ir_matmul(ir_builder *b, ir_value *x, ir_value *y);
/* The same, summed in the type `accumulate`. */
ir_value *ir_matmul_in(ir_builder *b, ir_dtype accumulate, ir_value *x, ir_value *y);
/* numpy's einsum, including `...` and equations without "->". NULL in an operand gives NULL. */
ir_value *ir_einsum(ir_builder *b, const char *equation, ir_value *const *x, int n);
/* x + y, either may be NULL (a symbolic zero). */
ir_value *ir_add_or(ir_builder *b, ir_value *x, ir_value *y);

/* v in x's type and shape; ir_like_int: v need not be exact as a double. */
ir_value *ir_like(ir_builder *b, const ir_value *x, double v);
ir_value *ir_like_int(ir_builder *b, const ir_value *x, int64_t v);
/* x times v and x plus v; x itself if v is 1, or 0. */
ir_value *ir_times(ir_builder *b, ir_value *x, double v);
ir_value *ir_plus(ir_builder *b, ir_value *x, double v);
/* ir_broadcast_to the shape of `to`. */
ir_value *ir_broadcast_like(ir_builder *b, ir_value *x, const ir_value *to);
/* Dimension `from` becomes dimension `to`; the others keep their order. */
ir_value *ir_move_axis(ir_builder *b, ir_value *x, int from, int to);

/* ---- Whole modules ---- */

/* BUG with the function and instruction when the module breaks a rule: operand order and scope,
 * types against the shape rules, attributes, results bound to states of their type, called
 * functions' signatures, no recursion. */
void ir_verify(const ir_module *m);
/* The same, reported as the user's errors (for text that was read); false if there were any. */
bool ir_verify_user(const ir_module *m);
/* NULL, or a message if the functions, with every call expanded, exceed IR_MAX_INSTS or
 * IR_MAX_BODIES. In a chain of functions each of which names the next one twice, every function
 * doubles both; so check this before anything walks or inlines them. */
const char *ir_extent_fault(const ir_module *m, base_arena *arena);

/* Text form; see docs/text-form.md. Constants and initial values above 64 elements go to `side` (a
 * safetensors file made beside the text, see files/gir.h) and the text names them; with side NULL
 * they are printed as `large(name)` placeholders, for dumps. */
struct ir_side;
void ir_print(FILE *out, const ir_module *m, struct ir_side *side);
void ir_print_func(FILE *out, const ir_func *f);
void ir_print_inst(FILE *out, const ir_inst *inst); /* for messages; numbers by ir_number */
/* The source of a text's large tensors: read is called when the text names the first of them, at
 * `at`; it returns false after reporting an error. */
typedef struct ir_side_source {
    bool (*read)(void *user, base_arena *arena, const base_loc *at, ir_tensors *out);
    void *user;
} ir_side_source;
/* Reads text. `file` names it in diagnostics; side may be NULL. NULL and reported when the text is
 * wrong; the result passed ir_verify_user. */
ir_module *ir_parse(base_ctx *ctx, base_arena *arena, const char *text, size_t size,
                    const char *file, const ir_side_source *side);

/* Evaluates f on args (one per parameter, states included) into results (allocated, one per
 * result). Plain loops: the reference for every op. Throws only when out of memory. A bad index is
 * clamped, as in compiled code; *bad_index (may be NULL) is set. */
void ir_eval(base_arena *arena, const ir_func *f, ir_literal *const *args, ir_literal **results,
             bool *bad_index);
/* The same; watch is called after each instruction that ran, those of called functions too, and may
 * change its results. */
typedef void ir_eval_watch(void *user, const ir_inst *inst, ir_literal *const *operand,
                           ir_literal **result);
void ir_eval_watched(base_arena *arena, const ir_func *f, ir_literal *const *args,
                     ir_literal **results, bool *bad_index, ir_eval_watch *watch, void *user);
/* One instruction. */
void ir_eval_inst(base_arena *arena, const ir_inst *inst, ir_literal *const *operand,
                  ir_literal **result);

#endif
