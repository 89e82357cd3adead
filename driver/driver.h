/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The verbs: one file each, a row of verbs.def each. */
#ifndef GRADC_DRIVER_DRIVER_H
#define GRADC_DRIVER_DRIVER_H

#include "api/api.h"

/* Does its work on a model; failures are reported through the session. */
typedef void verb_run(api_session *s, const char *model);

typedef struct verb {
    const char *name, *model, *doc; /* model: the argument's name in --help */
    unsigned bit;                   /* API_COMPILE … */
    verb_run *run;
} verb;
extern const verb verbs[]; /* name NULL at the end */

/* Parses argv (argv[0] is the verb) by argp into the session; returns the model's path, or NULL.
 * Exits for --help, --version and faults of the command line. */
const char *driver_arguments(api_session *s, const verb *v, int argc, char **argv);
/* Flushes stdout; returns the status, or 1 and reports it if output was lost. */
int driver_close_output(int status);
struct json_t;
/* A name or a message as a value. */
struct json_t *driver_json_text(api_session *s, const char *text);
/* The warnings so far, as a list for what --json prints. */
struct json_t *driver_json_warnings(api_session *s);
/* Prints it, in ASCII whatever the names in it are, and frees it. */
void driver_print_json(api_session *s, struct json_t *json);
/* --list-ops. */
void driver_list_ops(api_session *s);
extern const char driver_version[];

#endif
