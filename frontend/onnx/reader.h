/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Internals of the ONNX reader, shared by the reader (read.c, wire.c, tensor.c, fold.c) and the
 * operators' builders (op_*.c).
 *
 * A model is converted in rounds. In the first, float initializers are weights and inputs stay
 * inputs. A tensor that turns out to configure an operator or to determine a shape becomes a
 * constant in the next round, so there is at most one round more than there are such tensors. */
#ifndef GRADC_ONNX_READER_H
#define GRADC_ONNX_READER_H

#include "base/map.h"
#include "base/path.h"
#include "frontend/onnx/onnx.h"
#include "onnx.pb-c.h"

typedef struct onnx_reader onnx_reader;
typedef struct onnx_node onnx_node;
typedef struct onnx_scope onnx_scope;

/* A use of an initializer: a key made of its scope and role, and a text for messages. */
typedef struct onnx_use {
    const char *key, *shown;
} onnx_use;

/* An initializer of the main graph. */
typedef struct onnx_init {
    const Onnx__TensorProto *proto;
    ir_literal *value;      /* NULL: could not be read */
    const char *name;
    bool broken;            /* could not be read: reported */
    bool constant;          /* found to be no weight */
    bool data, config, stat; /* its uses in this round */
    bool listed;            /* by the exporter, as a parameter */
    BASE_LIST(onnx_use) uses; /* in this round: of different keys, the first few */
    bool more_uses;
    const char *why;        /* why it is constant */
    ir_state *state;        /* in this round */
} onnx_init;

/* What a name stands for. */
typedef struct onnx_entry {
    ir_value *value;    /* NULL: it was not built, which was reported */
    ir_value **items;   /* of a sequence, whose length is always known */
    int nitems;
    bool sequence;
    onnx_init *init;    /* a weight or constant of the file, built at its first use */
} onnx_entry;

/* A function that is being built; the body of an If, Loop or Scan has an outer one, whose values it
 * takes as parameters. */
typedef struct onnx_body {
    ir_builder b;
    struct onnx_body *outer;
    BASE_LIST(ir_value *) captured; /* of outer, in the order of the captured parameters */
    BASE_LIST(ir_value *) params; /* those parameters */
    base_map inside; /* outer value -> parameter */
    bool loop;                    /* runs many times */
} onnx_body;

/* A scope of names: a graph or a function's body. */
struct onnx_scope {
    onnx_reader *r;
    onnx_scope *outer;  /* whose names are visible too; NULL in the main graph and in functions */
    onnx_body *body;
    base_map names; /* -> onnx_entry */
    base_map makers; /* name -> node index + 1, of all nodes of the graph */
    onnx_node *caller;  /* of a function: the node that calls it */
    const Onnx__FunctionProto *function;
    int depth;
};

typedef void onnx_build(onnx_node *n);
enum { ONNX_WIDE = 1 << 8 }; /* of `types`, beside IR_CLASS_*: W in ops.def */
typedef struct onnx_op {
    const char *name, *domain;
    int since, last, in_min, in_max, out_max, types;
    unsigned config; /* inputs that configure: bit i for input i */
    const char *gradient;
    onnx_build *build;
    int extra;
    const char *attrs; /* names, each followed by a space */
} onnx_op;
extern const onnx_op onnx_ops[];

struct onnx_node {
    onnx_reader *r;
    onnx_scope *scope;
    const Onnx__NodeProto *proto;
    const onnx_op *op;
    int opset;
    const base_loc *loc;
    ir_builder *b;
    int nin, nout;
    ir_value **in;       /* at least op->in_max and nin of them; NULL: left out */
    ir_value **given;    /* the same before conversion to f32 */
    onnx_entry **entry;  /* the same, for sequences */
    ir_value **out;      /* at least 8 */
    /* What f32 results are rounded to; IR_F32 where no operand was converted to f32. */
    ir_dtype rounded;
    unsigned typed;      /* bit i: output i has its type already */
    onnx_entry *out_entry; /* sequences; at least 8 */
    const char *layer;   /* its scope's name, "" if it has none; NULL: not looked for yet */
    bool failed;
};

struct onnx_reader {
    base_ctx *ctx;
    base_arena *arena; /* of the module */
    base_arena *scratch; /* of the reading */
    const onnx_options *options;
    onnx_facts *facts;
    const Onnx__ModelProto *model;
    const char *file, *folder;
    int errors;        /* in the context before this file */
    ir_module *m;
    ir_func *main;        /* the function that is being built */
    bool training;        /* building `train` */
    bool inference;       /* `forward` of a training compilation */
    bool changed;         /* another round is needed */
    base_map ops, functions, inits, states;
    BASE_LIST(onnx_init *) all_inits;
    base_map known; /* value -> its literal */
    base_map outer_of; /* captured parameter -> the value outside */
    base_map used_offers; /* input name -> its literal, baked because it determines a shape */
    base_map dims; /* symbolic dimension -> extent + 1 */
    base_map unopened; /* external data files that could not be opened: reported */
    base_map updated; /* state -> its new value in `train` */
    base_map quantised; /* integer value -> what it was quantised from (op_quantize.c) */
    /* Type -> attributes of the call that passes gradients straight through. */
    base_map straight;
    int64_t fold_left, nodes;
    /* Bytes of tensors that the file stores in fewer bytes: so far, and those of initializers. */
    int64_t unpacked, unpacked_first;
    int streams, bodies;
    ir_value *random_seed, *random_calls;
};

/* wire.c: NULL and reported if the bytes are not a model. */
Onnx__ModelProto *onnx_unpack(base_arena *arena, const base_loc *loc, const void *bytes,
                              size_t size);

/* tensor.c: NULL and reported if the tensor is not valid or of a type that is not supported. */
ir_literal *onnx_literal(onnx_reader *r, const base_loc *loc, const Onnx__TensorProto *t);
ir_literal *onnx_dense_literal(onnx_reader *r, const base_loc *loc,
                               const Onnx__SparseTensorProto *t);
/* Counts a tensor of so many bytes that the file stores in fewer; false and reported if all such
 * tensors exceed the limit. */
bool onnx_unpacks(onnx_reader *r, const base_loc *loc, int64_t bytes);
/* An ONNX element type; false and reported if it is not supported. */
bool onnx_dtype(onnx_reader *r, const base_loc *loc, int32_t data_type, ir_dtype *out);
/* The type's name, the IR's if it has the type; *known: what onnx_dtype gives, or -1. */
const char *onnx_dtype_name(int32_t data_type, int *known);

/* The initializer that v is, or NULL. */
onnx_init *onnx_init_of(onnx_reader *r, ir_value *v);
/* fold.c: the value as a literal if it depends on constants alone, else NULL. */
ir_literal *onnx_peek(onnx_reader *r, ir_value *v);
/* The same where a constant is required: initializers and offered inputs that it depends on become
 * constants (in the next round). NULL if that fails; *why then says what it depends on. */
ir_literal *onnx_demand(onnx_reader *r, ir_value *v, const char **why);

/* graph.c */
bool onnx_run_graph(onnx_scope *s, const Onnx__GraphProto *g);
onnx_entry *onnx_find(onnx_scope *s, const char *name);
ir_value *onnx_value_of(onnx_scope *s, onnx_entry *e);
bool onnx_bind(onnx_scope *s, const base_loc *loc, const char *name, ir_value *v);
/* v as seen from inside body: if it is defined outside, a parameter or a copy of a small
 * constant. */
ir_value *onnx_capture(onnx_reader *r, onnx_body *body, ir_value *v);
/* A function whose name is made unique by a count. */
ir_func *onnx_func_new(onnx_reader *r, const char *name);
onnx_body onnx_body_new(onnx_reader *r, onnx_body *outer, const char *name, const base_loc *loc);
void onnx_scope_init(onnx_scope *s, onnx_reader *r, onnx_scope *outer, onnx_body *body, int depth);
/* The location of a node, with its operator or function for messages. */
const base_loc *onnx_loc(onnx_scope *s, const Onnx__NodeProto *p, int index);
/* The opset version of a domain in this scope, 0 if it is not imported. */
int onnx_opset(const onnx_scope *s, const char *domain);
/* The states `seed` and `calls`, for random_bits; false and reported where randomness is not
 * supported. */
bool onnx_random(onnx_node *n, ir_value **seed, ir_value **calls, int *stream);

/* share.c: records that input i of a node is that initializer, perhaps under another name. */
void onnx_note_use(onnx_node *n, onnx_init *init, int i, bool stat);
/* Fills facts->shared. */
void onnx_list_shared(onnx_reader *r);

/* node.c: for builders. */
void onnx_error(onnx_node *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* NULL if absent. */
const Onnx__AttributeProto *onnx_attr(onnx_node *n, const char *name, int type);
bool onnx_has(onnx_node *n, const char *name);
int64_t onnx_int(onnx_node *n, const char *name, int64_t otherwise);
double onnx_float(onnx_node *n, const char *name, double otherwise);
const char *onnx_text(onnx_node *n, const char *name, const char *otherwise);
bool onnx_ints(onnx_node *n, const char *name, ir_ints *out); /* false if absent */
/* The index of a text attribute in a list that ends with NULL; -1 and reported if it is not
 * there. */
int onnx_choice(onnx_node *n, const char *name, const char *otherwise, const char *const *list);
/* Exactly `count` integers, `otherwise` if absent; false and reported if there are more or
 * fewer. */
bool onnx_ints_n(onnx_node *n, const char *name, int count, int64_t otherwise, int64_t *out);
/* A constant operand; NULL and reported if it is not one. */
ir_literal *onnx_const(onnx_node *n, int input, const char *what);
/* The same as integers or numbers; false and reported if it is not that. */
bool onnx_const_ints(onnx_node *n, int input, const char *what, ir_ints *out);
bool onnx_const_int(onnx_node *n, int input, const char *what, int64_t *out);
bool onnx_const_float(onnx_node *n, int input, const char *what, double *out);
/* Negative axes count from the end; each axis once; ascending. */
bool onnx_axis(onnx_node *n, int64_t axis, int rank, int64_t *out);
bool onnx_axes(onnx_node *n, ir_ints axes, int rank, int64_t *out, int *count);
/* `axes` from the attribute, or from input i (constant); *given: there was one. */
bool onnx_axes_from(onnx_node *n, const char *attr, int input, ir_ints *out, bool *given);
/* Shapes out of range are reported. */
bool onnx_shape_ok(onnx_node *n, ir_dtype t, int rank, const int64_t *dim);
ir_value *onnx_i64s(onnx_node *n, int count, const int64_t *v);
ir_literal *onnx_ints_literal(base_arena *arena, ir_dtype t, int rank, const int64_t *dim,
                              const int64_t *v);
const char *onnx_type_text(onnx_node *n, const ir_value *v);
/* Common pieces. */
/* Broadcasts x, of rank 1, along an axis of the shape. */
ir_value *onnx_along(ir_builder *b, ir_value *x, int rank, int axis, const int64_t *shape);

#define ONNX_OP(name, domain, since, last, in_min, in_max, out_max, types, config, gradient, \
                build, extra, attrs)                                                         \
    onnx_build onnx_build_##build;
#include "frontend/onnx/ops.def"

#endif
