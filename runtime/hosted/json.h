/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A strict reader for the headers of safetensors files: objects, arrays, strings and unsigned
 * integers. Code that knows the grammar reads it token by token, so there is no recursion. On an
 * error every function sets `bad`; after that they do nothing. */
#ifndef RUNTIME_HOSTED_JSON_H
#define RUNTIME_HOSTED_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rt_json {
    char *at, *end; /* the text; strings are decoded in place */
    bool bad;
} rt_json;

typedef struct rt_text {
    const char *at;
    size_t length;
} rt_text;

/* Consumes the character if it is next. */
bool rt_json_accept(rt_json *j, char c);
/* Consumes the character, which must be next. */
void rt_json_expect(rt_json *j, char c);
/* A string, decoded in place. */
rt_text rt_json_string(rt_json *j);
/* An integer from 0 to 2^63 - 1, without sign, fraction or exponent. */
int64_t rt_json_integer(rt_json *j);
/* After an opening bracket and after each member: true when another member follows. */
bool rt_json_more(rt_json *j, char closing, bool first);
/* Only white space may follow. */
void rt_json_finish(rt_json *j);

bool rt_text_is(rt_text text, const char *s);

#endif
