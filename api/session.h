/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Internals of api/: the state of a session, from a model to its code. */
#ifndef GRADC_API_SESSION_H
#define GRADC_API_SESSION_H

#include "api/api.h"
#include "api/machine.h"
#include "api/pipeline.h"
#include "files/npy.h"
#include "frontend/onnx/onnx.h"

struct api_session {
    base_ctx *ctx;
    base_arena *arena;
    FILE *err;
    bool colour, usage; /* usage: the command line was at fault */
    api_options options;

    api_warnings warned;    /* with --json */
    int errors;             /* in the context before this session's work */

    api_stage *stage;       /* the observer, or NULL */
    void *stage_user;

    /* read.c */
    unsigned verb;
    const char *path;       /* of the model */
    /* The file's name without folder and suffix; NULL: it comes from no file. */
    const char *stem;
    bool text;              /* it is a .gir */
    onnx_facts facts;       /* of an ONNX file */
    ir_tensors given;       /* inputs from files, by raw name */
    ir_module **module;     /* [nspecs] one for each choice of dimensions */
    cg_spec *spec;          /* [nspecs] */
    int nspecs;
    const char **dim_name;  /* [ndims] those with several extents */
    int ndims;
    const char *loss;       /* name of the output, or NULL */
    const train_optimizer *optimizer;
    BASE_LIST(cg_default) hyper;
    bool trains;            /* there are training entries */
    BASE_LIST(cg_taken) ranges; /* range.c: of inputs that are indices */

    /* compile.c */
    cg_object *object;
    api_code code;
    api_machine *machine;   /* execute.c: the one that bench times */
};

void api_options_reset(api_options *o);
/* diagnose.c: a base_sink whose user is a session: prints to its `err`. */
void api_report(void *session, const base_diagnostic *d);
/* Applies the warning options, once all options are known. */
void api_set_warnings(api_session *s);
/* Whether there was no error since then; a warning may be one. */
bool api_sound(const api_session *s);
/* False and reported if the expanded module exceeds the limits. */
bool api_check_extent(api_session *s, const ir_module *m);
/* A decimal number of at most 19 digits. */
bool api_read_integer(const char *text, int64_t *out);

/* ---- patterns.c: names and globs ---- */

/* Sets chosen[i] for each name that a pattern matches. An exact name takes precedence over a glob.
 * Reports, as a fault of the command line, the patterns that match nothing; option is for the
 * message. */
bool api_choose(api_session *s, const char *option, const api_names *patterns,
                const char *const *name, int n, bool *chosen);

/* ---- read.c ---- */

/* Sets the verb and the model's path, which tells whether it is text; false and reported if it is
 * not that of a model. */
bool api_name_model(api_session *s, unsigned verb, const char *path);

/* For `check`: the reader's options for an ONNX file, with the first of several extents; NULL and
 * reported if the options are wrong. */
onnx_options *api_onnx_options(api_session *s);
/* The two halves of api_read: the file's modules, one for each choice of the dimensions, and then
 * their training entries and the checks of names in the options. */
bool api_read_modules(api_session *s, unsigned verb, const char *path);
bool api_complete(api_session *s);
/* Counts names that the file does not have as faults of the command line; after reading into
 * s->facts. */
void api_blame(api_session *s);
/* The file that an input was given in, for messages. */
const char *api_input_file(const api_session *s, const char *name);

/* compile.c: tells the observer that a stage is done. */
void api_note_stage(api_session *s, const char *name);
/* Training entries of module m, after its loss and trainable parameters are known. */
bool api_train(api_session *s, ir_module *m);
/* For `check`: whether the module has the names in the training options; else false and
 * reported. */
bool api_check_names(api_session *s, ir_module *m);
/* warn.c: reports warnings, after it is known what trains. */
void api_warn(api_session *s, const ir_module *m);
/* False and reported if --batchnorm=train finds no BatchNormalization. */
bool api_check_layers(api_session *s);
/* attach.c: adds the loss of --attach-loss to a function. */
bool api_attach_loss(api_session *s, ir_func *f);
/* range.c: fills s->ranges from the entries before the passes. */
void api_find_ranges(api_session *s);
/* The codegen request that the options describe. */
cg_request api_request(api_session *s);

/* ---- compile.c: forms of the code that api_write_outputs writes ---- */

/* A static library of the code. */
const void *api_code_library(api_session *s, const char *member, size_t *size);
/* A shared library of the code, named `name`; NULL and reported if the linker is missing or
 * fails. */
const void *api_code_shared(api_session *s, const char *name, size_t *size);
/* The weights as a safetensors file's bytes. */
const void *api_weights(api_session *s, size_t *size);

/* ---- For models that do not come from a file (session.c, read.c) ---- */

/* A session in the caller's context, which owns its diagnostics, memory and failures. Must not be
 * closed. */
api_session *api_session_in(base_ctx *ctx, base_arena *arena);
/* In place of api_read: a module with an entry `forward` (and perhaps a function `train`), of the
 * same context. `path` names it in messages. The options may be set before. */
bool api_take(api_session *s, unsigned verb, ir_module *m, const char *path);

/* ---- execute.c ---- */

/* A machine of the session's code whose inputs point to what is given; those not given are random
 * floats or zero integers if `fill`, else unset. */
api_machine *api_start(api_session *s, bool fill);

#endif
