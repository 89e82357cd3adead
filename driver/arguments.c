/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The command line, by argp, from the rows of api/options.def. */
#include "driver/driver.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int driver_close_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "gradc: error: cannot write to standard output: %s\n", strerror(errno));
    return status ? status : 1;
}

const char driver_version[] = GRADC_VERSION;

enum { LONG = 1000, USAGE = LONG - 1 }; /* keys of options without a letter: LONG plus their row */

/* In place of argp's own, which do not notice write errors. */
static const struct argp_option common[] = {
    {"help", '?', NULL, 0, "prints this list", -1},
    {"usage", USAGE, NULL, 0, "prints a short usage message", -1},
    {"version", 'V', NULL, 0, "prints the version", -1},
    {0},
};
enum { COMMON = sizeof common / sizeof *common };

typedef struct parsing {
    api_session *s;
    const verb *verb;
    const char *model;
    bool failed;
} parsing;

static error_t parse(int key, char *value, struct argp_state *state)
{
    parsing *p = state->input;
    if (key == ARGP_KEY_ARG) {
        if (p->model)
            argp_error(state, "expected one model, got another: '%s'", value);
        p->model = value;
        return 0;
    }
    if (key == ARGP_KEY_END) {
        if (!p->model && !p->failed &&
            !(p->verb->bit == API_OPT && api_options_of(p->s)->list_passes))
            argp_error(state, "expected a model");
        return 0;
    }
    if (key == '?' || key == USAGE)
        argp_state_help(state, stdout,
                        (unsigned)(key == '?' ? ARGP_HELP_STD_HELP : ARGP_HELP_USAGE) &
                            ~(unsigned)ARGP_HELP_EXIT_OK);
    else if (key == 'V')
        printf("gradc %s\n", driver_version);
    if (key == '?' || key == USAGE || key == 'V')
        exit(driver_close_output(0));
    for (const api_option_info *i = api_option_table; i->name; i++)
        if (key == (i->key ? i->key : LONG + (int)(i - api_option_table)) &&
            i->verbs & p->verb->bit) {
            p->failed |= !api_set_option(p->s, p->verb->bit, i->name, value);
            return 0;
        }
    return ARGP_ERR_UNKNOWN;
}

static struct argp_option *options_of(api_session *s, const verb *v)
{
    int n = 0, rows = 0;
    while (api_option_table[rows].name)
        rows++;
    struct argp_option *o = api_alloc(s, (size_t)(rows + COMMON) * sizeof *o);
    for (int i = 0; i < rows; i++) {
        const api_option_info *x = &api_option_table[i];
        if (x->verbs & v->bit)
            o[n++] =
                (struct argp_option){x->name,     x->key ? x->key : LONG + i,
                                     x->argument, x->kind == API_WORD ? OPTION_ARG_OPTIONAL : 0,
                                     x->doc,      0};
    }
    memcpy(o + n, common, sizeof common);
    return o;
}

/* The verb's own text, then the text after the options. */
static const char *text_of(api_session *s, const verb *v)
{
    const char *text = api_format(s, "%s\vWarnings, for -W:\n", v->doc), *name, *doc;
    for (int i = 0; api_warning_at(i, &name, &doc); i++)
        text = api_format(s, "%s  %-22s %s\n", text, name, doc);
    return text;
}

const char *driver_arguments(api_session *s, const verb *v, int argc, char **argv)
{
    parsing p = {.s = s, .verb = v};
    struct argp argp = {options_of(s, v), parse, v->model, text_of(s, v), NULL, NULL, NULL};
    argp_err_exit_status = 2;
    argv[0] = api_format(s, "gradc %s", v->name);
    argp_parse(&argp, argc, argv, ARGP_NO_HELP, NULL, &p);
    return p.failed ? NULL : p.model;
}
