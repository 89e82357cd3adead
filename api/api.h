/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The parts of the command: a session holds options, reads a model, and makes of it what a verb
 * asks for. No internal types of the compiler appear here.
 *
 * All functions except api_open, api_close and api_run are called inside api_run, to which failures
 * return. Their results live until api_close. A function that fails has reported why. */
#ifndef GRADC_API_API_H
#define GRADC_API_API_H

#include "api/options.h"

#include <stddef.h>
#include <stdio.h>

typedef struct api_session api_session;

/* For a program that is only the command; called first. The process gets no more memory than the
 * machine has (RLIMIT_DATA). If LLVM runs out of memory, which it cannot return from, the process
 * exits with status 1 and a message instead of aborting. */
void api_own_process(void);
/* Diagnostics go to err, in colour if asked for. NULL when out of memory. */
api_session *api_open(FILE *err, bool colour);
void api_close(api_session *s);
/* Runs f, on a thread of its own (base_on_stack); returns the exit status: 0, 1 when something was
 * reported, 2 when the command line was at fault. */
int api_run(api_session *s, void (*f)(api_session *s, void *user), void *user);

/* ---- Options ---- */

/* Sets an option of the verb (a bit of API_*); value NULL: none was given. False and reported if
 * that fails. */
bool api_set_option(api_session *s, unsigned verb, const char *name, const char *value);
/* The same for a string as on the command line, "--train=adam" or "-O3". */
bool api_option_string(api_session *s, unsigned verb, const char *text);
const api_options *api_options_of(const api_session *s);
/* Reports that the command line is at fault. */
void api_usage(api_session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reports an error, or a note that --quiet hides. */
void api_error(api_session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void api_note(api_session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The warnings that were reported so far, with --json: `text` is safe for a terminal; node -1:
 * none. */
typedef struct api_warning {
    const char *name, *text;
    int node;
} api_warning;
typedef struct api_warnings {
    api_warning *items;
    int count, capacity;
} api_warnings;
const api_warnings *api_warnings_of(const api_session *s);
/* Memory of the session, zeroed. */
void *api_alloc(api_session *s, size_t bytes);
char *api_format(api_session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A raw name made safe for a terminal: control characters and invalid UTF-8 as \xHH. */
const char *api_shown(api_session *s, const char *text);

/* ---- The stages ---- */

/* Reads the model (NAME.onnx, NAME.gir, or - for text) as the options say: dimensions, baked
 * inputs, loss, what trains; then, when the options or the verb (a bit) ask for it, the training
 * entries. */
bool api_read(api_session *s, unsigned verb, const char *path);
/* Runs the passes. */
bool api_optimise(api_session *s);
/* Makes the session call `stage` after each stage with its name: `read`, then `train` if there are
 * training entries, then each pass. */
typedef void api_stage(void *user, const char *name);
void api_watch(api_session *s, api_stage *stage, void *user);
/* Prints the current module of the first specialisation, as text or for Graphviz; false on a write
 * error. */
bool api_print(api_session *s, FILE *out, const char *format);
/* After api_optimise: prints the schedules of the kernels for each processor level, as --schedule
 * reads them. */
bool api_print_schedule(api_session *s, FILE *out);

/* Machine code. */
typedef struct api_code {
    const void *object;
    size_t size;
    const char *prefix, *header;
    bool uses_blas;
} api_code;
const api_code *api_compile(api_session *s);
/* The same code as assembly or as LLVM's text. */
const char *api_code_text(api_session *s, bool assembly, size_t *size);
/* Flags for the C compiler and linker to build against the runtime that belongs to this program. */
const char *api_compile_flags(api_session *s);
const char *api_link_flags(api_session *s);

/* Files, all of them or none. */
typedef struct api_file {
    const char *path;
    const void *bytes;
    size_t size;
} api_file;
bool api_write(api_session *s, const api_file *files, int n);
/* Creates a folder and its parents; existing ones are kept. */
bool api_make_folder(api_session *s, const char *path);

/* What compile writes, as --emit, -o, --prefix and --weights say. */
typedef struct api_outputs {
    api_file file[8];
    int n;
    const char *link; /* what an application links, or NULL */
} api_outputs;
/* False and reported if the options about outputs are wrong, which api_write_outputs would find out
 * late. */
bool api_check_outputs(api_session *s);
/* Writes them; after api_compile. */
bool api_write_outputs(api_session *s, api_outputs *out);

/* ---- What is known about a model ---- */

typedef struct api_tensor_info {
    const char *name, *type; /* raw, and as f32[64,784] */
    const char *why;         /* why it trains, or not; may be NULL */
    bool trainable;
    int64_t bytes;
} api_tensor_info;
typedef struct api_tensors {
    api_tensor_info *items;
    int count, capacity;
} api_tensors;
/* A specialisation; there is one, without extents, when no dimension has several. */
typedef struct api_variant {
    const int64_t *extent;      /* of each dimension in api_facts.dim_name */
    api_tensors inputs, outputs;
    int64_t macs;               /* multiply-accumulates of forward */
} api_variant;
typedef struct api_facts {
    const char *name, *loss;    /* loss: the output's name, or NULL */
    const char *const *dim_name;
    int ndims, nvariants;
    const api_variant *variant;
    api_tensors params, stats, constants;
    bool entry[5];              /* forward, forward_train, backward, update, step */
    struct {
        int64_t context, params, stats, optimizer, counters, grads, saved, scratch, arena;
    } bytes;                    /* of the arena; valid after api_optimise */
} api_facts;
/* Forward, forward_train, backward, update, step; NULL from 5 on. */
const char *api_entry_name(int e);
const api_facts *api_facts_of(api_session *s);

/* A node, and whether it has forward and backward. */
typedef struct api_node {
    int index;
    const char *name, *op;
    bool forward, backward;
    const char *why; /* of a gap; else NULL */
} api_node;
typedef struct api_nodes {
    api_node *items;
    int count, capacity;
} api_nodes;
/* Reads as much of the file as it can; false only if it is not a model. Gaps are in the nodes and
 * not reported. */
bool api_check(api_session *s, const char *path, api_nodes *out);

/* ---- Running ---- */

/* Loads the code, sets inputs from files, calls forward (or forward_train and backward with
 * --grad), writes, prints or compares. */
bool api_execute(api_session *s, FILE *out);

typedef struct api_timing {
    double min_us, median_us, p90_us;
    int calls;
} api_timing;
/* Times entry e (see api_entry_name) with inputs from files, or random ones; false if there is no
 * such entry. */
bool api_time(api_session *s, int e, double seconds, api_timing *out);
/* Where the time of the last timed entry went, with --profile: the largest part first. */
typedef struct api_part {
    /* "contraction", its shapes in words, the node's name, "backward", its schedule */
    const char *kind, *what, *origin, *phase, *how;
    /* Of one call, of the whole; gflops of contractions, else 0. */
    double us, share, gflops;
} api_part;
typedef struct api_parts {
    api_part *items;
    int count, capacity;
} api_parts;
void api_profile(api_session *s, int e, const api_timing *t, api_parts *out);
/* The processor that the code is for. */
const char *api_cpu(api_session *s);

/* ---- Lists ---- */

/* Row i of the primitives or of the ONNX operators as columns; false past the last. */
typedef struct api_op_row {
    const char *name, *detail, *types, *gradient;
} api_op_row;
bool api_primitive(api_session *s, int i, api_op_row *out);
bool api_onnx_operator(api_session *s, int i, api_op_row *out);
bool api_pass(int i, const char **name, const char **doc);
bool api_warning_at(int i, const char **name, const char **doc);

/* opt: reads text, runs passes, prints text. */
bool api_opt(api_session *s, const char *path, FILE *out);

#endif
