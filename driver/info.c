/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `info`: inputs, outputs, parameters and memory of a model. */
#include "driver/driver.h"

#include <jansson.h>
#include <stddef.h>

static const struct {
    const char *key, *title;
    size_t at;
} rows[] = {
#define ROW(field, title) {#field, title, offsetof(api_facts, bytes.field)}
    ROW(params, "parameters"), ROW(stats, "statistics"), ROW(optimizer, "optimizer state"),
    ROW(counters, "counters"), ROW(grads, "gradients"),  ROW(saved, "saved activations"),
    ROW(scratch, "scratch"),   ROW(context, "context"),  ROW(arena, "arena in all"),
#undef ROW
};
enum { ROWS = sizeof rows / sizeof *rows };

static long long bytes_of(const api_facts *f, int row)
{
    return (long long)*(const int64_t *)(const void *)((const char *)f + rows[row].at);
}

static void print_list(api_session *s, const char *title, const api_tensors *list, bool states)
{
    if (list->count)
        printf("%s\n", title);
    for (int i = 0; i < list->count; i++) {
        const api_tensor_info *t = &list->items[i];
        printf("  %s%s%s%s", api_shown(s, t->name), *t->type ? " " : "", t->type,
               states ? t->trainable ? ": trains" : ": does not train" : "");
        printf("%s%s%s\n", t->why ? states ? " (" : ": " : "", t->why ? api_shown(s, t->why) : "",
               t->why && states ? ")" : "");
    }
}

static json_t *json_list(api_session *s, const api_tensors *list, bool states)
{
    json_t *all = json_array();
    for (int i = 0; i < list->count; i++) {
        const api_tensor_info *t = &list->items[i];
        json_t *one =
            json_pack("{s:o, s:s, s:I, s:o}", "name", driver_json_text(s, t->name), "type", t->type,
                      "bytes", (json_int_t)t->bytes, "why", driver_json_text(s, t->why));
        if (states)
            json_object_set_new(one, "trains", json_boolean(t->trainable));
        json_array_append_new(all, one);
    }
    return all;
}

static json_t *json_variants(api_session *s, const api_facts *f)
{
    json_t *all = json_array();
    for (int k = 0; k < f->nvariants; k++) {
        const api_variant *v = &f->variant[k];
        json_t *dims = json_object();
        for (int d = 0; d < f->ndims; d++)
            /* Not UTF-8. */
            if (json_object_set_new(dims, f->dim_name[d], json_integer(v->extent[d])))
                json_object_set_new(dims, api_shown(s, f->dim_name[d]), json_integer(v->extent[d]));
        json_array_append_new(all, json_pack("{s:o, s:o, s:o, s:I}", "dims", dims, "inputs",
                                             json_list(s, &v->inputs, false), "outputs",
                                             json_list(s, &v->outputs, false), "macs",
                                             (json_int_t)v->macs));
    }
    return all;
}

/* Inputs, outputs and macs of the first specialisation, then of all. */
static void print_json(api_session *s, const api_facts *f)
{
    json_t *entries = json_array(), *bytes = json_object();
    for (int i = 0; api_entry_name(i); i++)
        if (f->entry[i])
            json_array_append_new(entries, json_string(api_entry_name(i)));
    for (int i = 0; i < ROWS; i++)
        json_object_set_new(bytes, rows[i].key, json_integer(bytes_of(f, i)));
    json_t *all = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o}", "name",
        driver_json_text(s, f->name), "inputs", json_list(s, &f->variant->inputs, false), "outputs",
        json_list(s, &f->variant->outputs, false), "specialisations", json_variants(s, f),
        "parameters", json_list(s, &f->params, true), "statistics", json_list(s, &f->stats, false),
        "constants", json_list(s, &f->constants, false), "entries", entries, "loss",
        driver_json_text(s, f->loss), "macs", (json_int_t)f->variant->macs, "bytes", bytes,
        "warnings", driver_json_warnings(s));
    driver_print_json(s, all);
}

static void print_variant(api_session *s, const api_facts *f, const api_variant *v)
{
    for (int d = 0; d < f->ndims; d++)
        printf("%s%s=%lld%s", d ? ", " : "specialisation ", api_shown(s, f->dim_name[d]),
               (long long)v->extent[d], d + 1 < f->ndims ? "" : "\n");
    print_list(s, "inputs", &v->inputs, false);
    print_list(s, "outputs", &v->outputs, false);
    printf("multiply-accumulates of forward: %lld\n", (long long)v->macs);
}

void run_info(api_session *s, const char *model)
{
    if (!api_read(s, API_INFO, model) || !api_optimise(s))
        return;
    const api_facts *f = api_facts_of(s);
    if (!f)
        return;
    if (api_options_of(s)->json) {
        print_json(s, f);
        return;
    }
    printf("model %s, entries", api_shown(s, f->name));
    for (int i = 0; api_entry_name(i); i++)
        if (f->entry[i])
            printf(" %s", api_entry_name(i));
    printf("\nloss: %s\n", f->loss ? api_shown(s, f->loss) : "none");
    for (int k = 0; k < f->nvariants; k++)
        print_variant(s, f, &f->variant[k]);
    print_list(s, "parameters", &f->params, true);
    print_list(s, "statistics", &f->stats, false);
    print_list(s, "constants", &f->constants, false);
    printf("bytes\n");
    for (int i = 0; i < ROWS; i++)
        printf("  %-18s %14lld\n", rows[i].title, bytes_of(f, i));
}
