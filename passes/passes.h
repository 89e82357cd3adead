/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Graph IR to graph IR. Passes that work on one function are rows of passes.def; autodiff and the
 * construction of training functions take more than a function, and are declared below. */
#ifndef GRADC_PASSES_PASSES_H
#define GRADC_PASSES_PASSES_H

#include "ir/ir.h"

/* ---- The table (passes.c) ---- */

typedef void pass_run(ir_func *f);

/* Properties of a module's functions: ir_module.props. */
enum { PASS_LAID_OUT = 1, PASS_FUSED = 2, PASS_PLANNED = 4, PASS_PADDED = 8 };

typedef struct pass_info {
    const char *name, *doc;
    pass_run *run;
    /* NULL, or what runs once on the module, before the pass runs on its functions. */
    void (*prepare)(ir_module *m);
    int needs, sets; /* properties that must hold before it, and that hold after it */
    int breaks;      /* properties that no longer hold after it */
} pass_info;
extern const pass_info passes[]; /* in the order of the pipeline; name NULL at the end */
const pass_info *pass_by_name(const char *name);

/* Called after every pass of a pipeline. */
typedef void pass_watch(void *user, const pass_info *pass, const ir_module *m);
/* Runs one pass on all functions of the module, called ones before their callers, then the verifier
 * if `verify`. Before it the callers of each function are listed; a pass that creates or removes
 * instructions that name functions must not read them after that. BUG when m->props lacks what the
 * pass needs: code that lets a user choose passes checks first. */
void pass_run_one(ir_module *m, const pass_info *pass, bool verify);
/* Runs the rows of a sequence of passes.def on one function. */
typedef enum pass_sequence { PASS_JOINT, PASS_JOINT_CLEAN, PASS_UPDATE } pass_sequence;
void pass_run_sequence(ir_func *f, pass_sequence sequence);
/* Drops functions that no root reaches; pass_run_one ends with it. */
void pass_drop_functions(ir_module *m);

/* ---- Autodiff (autodiff.c, vjp*.c) ---- */

typedef struct ad_request {
    int loss;                /* result of f whose cotangent is 1, or -1 */
    /* Results of f that get a cotangent input (role IR_GRADIENT, the output's name). */
    const int *cotangents;
    int ncotangents;
    ir_state *const *states; /* gradients wanted: of states (parameters) … */
    int nstates;
    const int *inputs;       /* … and of inputs of f, as indices of its params */
    int ninputs;
} ad_request;

/* A new function: f (inlined, phase forward) and its gradients (phase backward). Parameters: f's,
 * then the cotangent inputs; results: f's, then one output of role IR_GRADIENT for each state and
 * input asked for, in that order (zeros where nothing flows). A loss that also has a cotangent
 * input gets that cotangent, not 1. NULL, with diagnostics at the forward instruction's loc, where
 * a rule is missing ("no derivative rule for `while_loop`"). */
ir_func *ad_joint(ir_module *m, const ir_func *f, const ad_request *request, const char *name);

/* A rule: given the cotangents of inst's results (NULL: zero), writes those of its operands (NULL:
 * zero, preset) through b. want[i] says whether operand i's is used; leaving others NULL saves
 * work. */
typedef void ad_rule(ir_builder *b, const ir_inst *inst, ir_value *const *ct, ir_value **out,
                     const bool *want);
extern ad_rule *const ad_rules[IR_OPS]; /* NULL: missing */
/* True when the gradient of op is always zero (`none` in the table). */
bool ad_is_zero(ir_op op);

/* ---- Training functions (train.c, partition.c, optimizers.def) ---- */

typedef struct train_optimizer train_optimizer; /* a row of optimizers.def */
/* NULL if there is none; NULL for `none`. */
const train_optimizer *train_optimizer_by_name(const char *name);
int train_hyper_count(const train_optimizer *o);
const char *train_hyper_name(const train_optimizer *o, int i); /* lr, …, grad_scale, clip_norm */
double train_hyper_default(const train_optimizer *o, int i);

/* The choice in a text like "adam:lr=0.1,eps=1e-6" or "none". */
typedef struct train_hyper {
    const char *name;
    double value;
} train_hyper;
typedef struct train_choice {
    const train_optimizer *optimizer; /* NULL: none */
    BASE_LIST(train_hyper) hyper; /* those that the text sets, then the others */
} train_choice;
/* NULL, or a message that says what is wrong with the text. */
const char *train_choose(base_arena *arena, const char *text, train_choice *out);

typedef struct train_options {
    const train_optimizer *optimizer; /* NULL: none (no step, no update) */
    const int *cotangents;            /* as in ad_request; results of the function that trains */
    int ncotangents;
    const int *wrt; /* params of that function (inputs) whose gradient backward returns */
    int nwrt;
    const bool *no_decay; /* by state index; NULL: all decay */
    bool step, split;     /* build `step`; build `forward_train`, `backward` and `update` */
} train_options;

/* From the function `train` (or `forward` if there is none), whose ->loss is set (or -1), adds the
 * entries
 *
 *   forward_train  inputs -> outputs, statistics, residuals as updates of IR_SAVED states
 *   backward       cotangents, inputs, saved -> updates of IR_GRAD states (old + new), gradients of
 *                  the wrt inputs
 *   update         IR_GRAD states, hyper-parameters -> parameters, slots, counters
 *   step           inputs, hyper-parameters -> outputs, statistics, parameters, slots, counters;
 *                  gradients are never stored
 *
 * and the states they need, and removes `train`. False, with diagnostics, if a rule is missing. */
bool train_build(ir_module *m, const train_options *options);
/* Cuts a joint function at the phase boundary; see partition.c. */
void train_partition(ir_module *m, const ir_func *joint, const char *forward_name,
                     const char *backward_name);

/* Converts all f32 of the module (states, constants, functions) to f64. */
void pass_widen(ir_module *m);

/* ---- Memory plan (plan.c) ---- */

enum { PLAN_ALIGN = 64 };
/* BUG when two live values of a planned function overlap, or a state is written before its last
 * reader. */
void plan_verify(const ir_func *f);

#endif
