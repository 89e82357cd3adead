/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The options as values; see options.def. */
#ifndef GRADC_API_OPTIONS_H
#define GRADC_API_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    API_COMPILE = 1,
    API_RUN = 2,
    API_BENCH = 4,
    API_DUMP = 8,
    API_CHECK = 16,
    API_INFO = 32,
    API_OPT = 64,
    API_MODEL = API_COMPILE | API_RUN | API_BENCH | API_DUMP | API_CHECK | API_INFO,
    API_ALL = API_MODEL | API_OPT
};

typedef struct api_names {
    const char **items;
    int count, capacity;
} api_names;
typedef struct api_pair {
    const char *name, *value;
} api_pair;
typedef struct api_pairs {
    api_pair *items;
    int count, capacity;
} api_pairs;

typedef enum api_kind {
    API_FLAG,
    API_TEXT,
    API_WORD,
    API_NUMBER,
    API_NAMES,
    API_FILES,
    API_PAIRS
} api_kind;
typedef bool api_kind_FLAG;
typedef const char *api_kind_TEXT, *api_kind_WORD;
typedef int64_t api_kind_NUMBER;
typedef api_names api_kind_NAMES, api_kind_FILES;
typedef api_pairs api_kind_PAIRS;

typedef struct api_options {
#define OPTION(name, field, kind, key, argument, verbs, doc) api_kind_##kind field;
#include "api/options.def"
} api_options;

typedef struct api_option_info {
    const char *name, *argument, *doc;
    api_kind kind;
    int key;
    unsigned verbs;
    int offset; /* in api_options */
} api_option_info;
extern const api_option_info api_option_table[]; /* name NULL at the end */

#endif
