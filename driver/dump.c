/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `dump`: the graph between stages. */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

typedef struct dumping {
    api_session *s;
    const api_options *o;
    /* wanted: the stage to print; previous: text of the stage before, for --changed */
    const char *format, *wanted, *previous;
    int number;
    bool found, failed; /* failed: a stage could not be written, the others are not tried */
} dumping;

/* The graph, or with format NULL the schedules. */
static const char *stage_text(dumping *d, const char *format)
{
    char *bytes = NULL;
    size_t size;
    FILE *f = open_memstream(&bytes, &size);
    bool ok = f && (format ? api_print(d->s, f, format) : api_print_schedule(d->s, f));
    ok = f && !fclose(f) && ok;
    char *copy = ok ? api_format(d->s, "%s", bytes) : NULL;
    free(bytes);
    if (!ok)
        api_error(d->s, "cannot print the stage");
    return copy;
}

static void write_stage(dumping *d, const char *name)
{
    const char *text = stage_text(d, "text"),
               *shown = strcmp(d->format, "text") ? stage_text(d, d->format) : text;
    bool changed = !d->previous || !text || strcmp(text, d->previous);
    d->previous = text;
    d->failed = !text || !shown;
    if (d->failed || (d->o->changed && !changed))
        return;
    const char *suffix = strcmp(d->format, "text") ? "dot" : "gir";
    api_file file = {api_format(d->s, "%s/%02d-%s.%s", d->o->folder, d->number, name, suffix),
                     shown, strlen(shown)};
    d->failed = !api_write(d->s, &file, 1);
}

static void on_stage(void *user, const char *name)
{
    dumping *d = user;
    if (d->o->after_all) {
        if (!d->failed)
            write_stage(d, name);
        d->number++;
        return;
    }
    if (d->wanted && !strcmp(d->wanted, name) && !d->found) {
        d->found = true;
        api_print(d->s, stdout, d->format);
    }
}

static void write_schedules(dumping *d)
{
    const char *text = stage_text(d, NULL);
    if (!text)
        return;
    api_file file = {api_format(d->s, "%s/%02d-schedule.txt", d->o->folder, d->number), text,
                     strlen(text)};
    api_write(d->s, &file, 1);
}

/* The stage before a pass. */
static const char *stage_before(const api_options *o, const char *name)
{
    const char *last = o->train ? "train" : "read", *pass, *doc;
    for (int i = 0; api_pass(i, &pass, &doc) && strcmp(pass, name); i++)
        last = pass;
    return last;
}

static bool is_stage(const char *name, bool after)
{
    const char *pass, *doc;
    for (int i = 0; api_pass(i, &pass, &doc); i++)
        if (!strcmp(pass, name))
            return true;
    return after && (!strcmp(name, "read") || !strcmp(name, "train") || !strcmp(name, "schedule"));
}

static bool check_options(api_session *s, const api_options *o, const char *format)
{
    static const char *const formats[] = {"text", "dot", "llvm", "asm", NULL};
    int k = 0;
    while (formats[k] && strcmp(formats[k], format))
        k++;
    if (!formats[k])
        api_usage(s, "--format=%s: expected text, dot, llvm or asm", format);
    else if ((o->after && !is_stage(o->after, true)) || (o->before && !is_stage(o->before, false)))
        api_usage(s, "unknown pass '%s'; gradc opt --list-passes lists them",
                  o->after && !is_stage(o->after, true) ? o->after : o->before);
    else if (o->after && !strcmp(o->after, "schedule") && strcmp(format, "text"))
        api_usage(s, "--format=%s: schedules are printed as text only", format);
    else if (o->after && !strcmp(o->after, "train") && !o->train)
        api_usage(s, "--after=train: this stage needs --train");
    else if ((o->after != NULL) + (o->before != NULL) + o->after_all > 1)
        api_usage(s, "give only one of --after, --before and --after-all");
    else if (o->after_all && !o->folder)
        api_usage(s, "--after-all writes files; give their folder with -o DIR");
    else if (!o->after_all && (o->folder || o->changed))
        api_usage(s, "-o and --changed need --after-all");
    else if (k >= 2 && (o->after || o->before || o->after_all))
        api_usage(
            s, "--format=%s prints the final code and excludes --after, --before and --after-all",
            format);
    else
        return true;
    return false;
}

void run_dump(api_session *s, const char *model)
{
    const api_options *o = api_options_of(s);
    dumping d = {.s = s, .o = o, .format = o->format ? o->format : "text"};
    if (!check_options(s, o, d.format))
        return;
    d.wanted = o->before ? stage_before(o, o->before) : o->after;
    if (o->after_all && !api_make_folder(s, o->folder))
        return;
    api_watch(s, on_stage, &d);
    if (!api_read(s, API_DUMP, model) || !api_optimise(s))
        return;
    if (o->after_all && !d.failed)
        write_schedules(&d);
    if (o->after && !strcmp(o->after, "schedule"))
        api_print_schedule(s, stdout);
    else if (!strcmp(d.format, "llvm") || !strcmp(d.format, "asm")) {
        size_t size;
        if (!api_compile(s))
            return;
        const char *text = api_code_text(s, !strcmp(d.format, "asm"), &size);
        fwrite(text, 1, size, stdout);
    } else if (!o->after && !o->before && !o->after_all) {
        api_print(s, stdout, d.format);
    } else if (!o->after_all && !d.found) {
        api_error(s, "the model did not reach stage '%s'", o->after ? o->after : o->before);
    }
}
