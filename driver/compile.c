/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `compile`: PREFIX.o and PREFIX.h, other forms of the code, and the line that links them. */
#include "driver/driver.h"

static void print_set(api_session *s, const char *title, const api_tensors *list, int trainable)
{
    const char *comma = "";
    for (int i = 0; i < list->count; i++)
        if (trainable < 0 || list->items[i].trainable == trainable) {
            printf("%s%s", *comma ? comma : title, api_shown(s, list->items[i].name));
            comma = ", ";
        }
    if (*comma)
        putchar('\n');
}

static void print_summary(api_session *s, const api_outputs *o)
{
    const api_facts *f = api_facts_of(s);
    if (api_options_of(s)->quiet || !f)
        return;
    if (api_options_of(s)->train) {
        print_set(s, "trains: ", &f->params, 1);
        print_set(s, "does not train: ", &f->params, 0);
        print_set(s, "statistics: ", &f->stats, -1);
    }
    for (int i = 0; i < o->n; i++)
        printf("wrote %s, %zu bytes\n", o->file[i].path, o->file[i].size);
    if (o->link && !api_options_of(s)->target) /* the runtime here is this machine's */
        printf("link: cc %s app.c %s %s\n", api_compile_flags(s), o->link, api_link_flags(s));
}

void run_compile(api_session *s, const char *model)
{
    api_outputs o;
    if (api_check_outputs(s) && api_read(s, API_COMPILE, model) && api_optimise(s) &&
        api_compile(s) && api_write_outputs(s, &o))
        print_summary(s, &o);
}
