/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Tuning constants that the environment changes; empty but in a build with GRADC_TUNABLE. */
#include "ir/tuning.h"

typedef int ir_tuning_is_constant; /* C has no empty files */

#ifdef GRADC_TUNABLE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *name;
    int value;
} rows[IR_TUNINGS] = {
#define TUNING(name, value, decides, measured, command) {#name, (value)},
#include "ir/tuning.def"
};

static void fail(const char *what)
{
    fprintf(stderr, "GRADC_TUNING: expected NAME=VALUE, got `%s`\n", what);
    exit(2);
}

static void read_environment(void)
{
    const char *text = getenv("GRADC_TUNING");
    while (text && *text) {
        size_t n = strcspn(text, " "), name = strcspn(text, "=");
        int row = 0;
        while (row < IR_TUNINGS &&
               (strlen(rows[row].name) != name || memcmp(rows[row].name, text, name) != 0))
            row++;
        if (name >= n || row == IR_TUNINGS)
            fail(text);
        rows[row].value = atoi(text + name + 1);
        text += n + strspn(text + n, " ");
    }
}

int ir_tuned(int row)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_environment);
    return rows[row].value;
}
#endif
