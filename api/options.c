/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "api/session.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const api_option_info api_option_table[] = {
#define OPTION(name_, field, kind_, key_, argument_, verbs_, doc_) \
    {name_, argument_, doc_, API_##kind_, key_, verbs_, offsetof(api_options, field)},
#include "api/options.def"
    {0}};

void api_options_reset(api_options *o)
{
    memset(o, 0, sizeof *o);
    for (const api_option_info *i = api_option_table; i->name; i++)
        if (i->kind == API_NUMBER)
            *(int64_t *)(void *)((char *)o + i->offset) = -1;
}

static const char *add_names(api_session *s, api_names *names, const char *value)
{
    while (*value) {
        size_t n = strcspn(value, ",");
        if (!n)
            return "an empty name";
        BASE_PUSH(s->arena, names, base_strndup(s->arena, value, n));
        value += n;
        if (*value == ',' && !*++value)
            return "an empty name";
    }
    return NULL;
}

/* The error is already reported. */
static const char reported[] = "";

/* One name per line; empty lines are skipped. */
static const char *add_file(api_session *s, api_names *names, const char *path)
{
    base_data data;
    if (!base_read_whole_file(s->arena, path, 1 << 26, &data))
        return reported;
    for (char *at = (char *)data.bytes, *end = at + data.size; at < end;) {
        size_t n = strcspn(at, "\r\n");
        if (n)
            BASE_PUSH(s->arena, names, base_strndup(s->arena, at, n));
        at += n + 1;
    }
    return NULL;
}

static const char *add_files(api_session *s, api_names *names, const char *value)
{
    api_names list = {0};
    const char *wrong = add_names(s, &list, value);
    for (int i = 0; i < list.count && !wrong; i++) {
        if (list.items[i][0] == '@')
            wrong = add_file(s, names, list.items[i] + 1);
        else
            BASE_PUSH(s->arena, names, list.items[i]);
    }
    return wrong;
}

static const char *add_pair(api_session *s, api_pairs *pairs, const char *value)
{
    const char *equals = strchr(value, '=');
    if (!equals || equals == value || !equals[1])
        return "expected NAME=VALUE";
    api_pair pair = {base_strndup(s->arena, value, (size_t)(equals - value)),
                     base_strdup(s->arena, equals + 1)};
    for (int i = 0; i < pairs->count; i++)
        if (!strcmp(pairs->items[i].name, pair.name))
            return base_format(s->arena, "'%s' is given twice", pair.name);
    BASE_PUSH(s->arena, pairs, pair);
    return NULL;
}

bool api_read_integer(const char *text, int64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long v = strtoull(text, &end, 10);
    if (*end || v > INT64_MAX || strlen(text) > 19)
        return false;
    *out = (int64_t)v;
    return true;
}

static const char *set(api_session *s, const api_option_info *i, void *field, const char *value)
{
    switch (i->kind) {
    case API_FLAG: *(bool *)field = true; return value ? "it takes no value" : NULL;
    case API_WORD:
        *(const char **)field =
            base_strdup(s->arena, value ? value : strrchr(i->argument, '|') + 1);
        return NULL;
    default: break;
    }
    if (!value || !*value)
        return "expected a value";
    switch (i->kind) {
    case API_TEXT: *(const char **)field = base_strdup(s->arena, value); return NULL;
    case API_NUMBER:
        return api_read_integer(value, field) ? NULL
                                              : "expected an integer from 0 to 9223372036854775807";
    case API_NAMES: return add_names(s, field, value);
    case API_FILES: return add_files(s, field, value);
    default: return add_pair(s, field, value);
    }
}

bool api_set_option(api_session *s, unsigned verb, const char *name, const char *value)
{
    for (const api_option_info *i = api_option_table; i->name; i++) {
        if (strcmp(i->name, name) || !(i->verbs & verb))
            continue;
        const char *wrong = set(s, i, (char *)&s->options + i->offset, value);
        if (wrong == reported)
            s->usage = true;
        else if (wrong)
            api_usage(s, "--%s%s%s: %s%s%s", name, value ? "=" : "", value ? value : "", wrong,
                      i->argument ? ", as in " : "", i->argument ? i->argument : "");
        return !wrong;
    }
    api_usage(s, "unknown option --%s", name);
    return false;
}

bool api_option_string(api_session *s, unsigned verb, const char *text)
{
    const char *equals = strchr(text, '=');
    if (text[0] == '-' && text[1] && text[1] != '-') { /* -O2, -o FILE, -g */
        for (const api_option_info *i = api_option_table; i->name; i++)
            if (i->key == text[1] && i->verbs & verb)
                return api_set_option(s, verb, i->name, text[2] ? text + 2 : NULL);
    }
    if (strncmp(text, "--", 2)) {
        api_usage(s, "'%s' is not an option", text);
        return false;
    }
    return api_set_option(
        s, verb, equals ? base_strndup(s->arena, text + 2, (size_t)(equals - text - 2)) : text + 2,
        equals ? equals + 1 : NULL);
}
