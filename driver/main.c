/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The command `gradc`. */
#include "driver/driver.h"

#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERB(name, bit, model, doc) verb_run run_##name;
#include "driver/verbs.def"

const verb verbs[] = {
#define VERB(name_, bit_, model_, doc_) {#name_, model_, doc_, bit_, run_##name_},
#include "driver/verbs.def"
    {0}};

static void help(FILE *out)
{
    fputs("Usage: gradc VERB MODEL [OPTION...]\n"
          "An ahead-of-time compiler for neural networks, training included. MODEL is NAME.onnx, "
          "NAME.gir, or - for text on standard "
          "input.\n\n",
          out);
    for (const verb *v = verbs; v->name; v++)
        fprintf(out, "  %-10s %s\n", v->name, v->doc);
    fputs("\n  gradc VERB --help shows a verb's options\n  gradc --list-ops  prints the primitives "
          "and the ONNX operators\n"
          "  gradc --version   prints the version\n",
          out);
}

typedef struct command {
    const verb *verb;
    int argc;
    char **argv;
} command;

static void run(api_session *s, void *user)
{
    const command *c = user;
    if (!c->verb) {
        driver_list_ops(s);
        return;
    }
    const char *model = driver_arguments(s, c->verb, c->argc, c->argv);
    if (model || (c->verb->bit == API_OPT && api_options_of(s)->list_passes))
        c->verb->run(s, model);
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";
    if (!strcmp(first, "--help") || !strcmp(first, "-h") || !strcmp(first, "help")) {
        help(stdout);
        return driver_close_output(0);
    }
    if (!strcmp(first, "--version") || !strcmp(first, "-V")) {
        printf("gradc %s\n", driver_version);
        return driver_close_output(0);
    }
    api_own_process();
    /* a file that grows too large fails like any other write, and is removed */
    signal(SIGXFSZ, SIG_IGN);
    command c = {.argc = argc - 1, .argv = argv + 1};
    for (const verb *v = verbs; v->name && !c.verb; v++)
        c.verb = strcmp(v->name, first) ? NULL : v;
    if (!c.verb && (strcmp(first, "--list-ops") || argc > 2)) {
        if (*first)
            fprintf(stderr, "gradc: error: unknown verb '%s'\n", first);
        help(stderr);
        return 2;
    }
    const char *plain = getenv("NO_COLOR");
    api_session *s = api_open(stderr, isatty(STDERR_FILENO) && !(plain && *plain));
    if (!s) {
        fputs("gradc: error: out of memory\n", stderr);
        return 1;
    }
    int status = driver_close_output(api_run(s, run, &c));
    api_close(s);
    return status;
}
