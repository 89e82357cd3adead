/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * See json.h. Bounds: `at` never passes `end`, and a decoded string is never longer than its
 * source. */
#include "runtime/hosted/json.h"

#include <string.h>

static void skip_space(rt_json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
        j->at++;
}

bool rt_json_accept(rt_json *j, char c)
{
    if (j->bad)
        return false;
    skip_space(j);
    if (j->at == j->end || *j->at != c)
        return false;
    j->at++;
    return true;
}

void rt_json_expect(rt_json *j, char c)
{
    if (!rt_json_accept(j, c))
        j->bad = true;
}

/* Four hexadecimal digits. */
static uint32_t hex4(rt_json *j)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        if (j->at == j->end) {
            j->bad = true;
            return 0;
        }
        char c = *j->at++;
        uint32_t digit = c >= '0' && c <= '9'                 ? (uint32_t)(c - '0')
                         : (c | 32) >= 'a' && (c | 32) <= 'f' ? (uint32_t)((c | 32) - 'a') + 10
                                                              : 16;
        if (digit == 16) {
            j->bad = true;
            return 0;
        }
        value = value << 4 | digit;
    }
    return value;
}

/* Decodes the digits after \u to UTF-8; refuses a lone surrogate. */
static char *unicode(rt_json *j, char *to)
{
    uint32_t c = hex4(j);
    if (c >= 0xd800 && c < 0xdc00) {
        bool pair = j->end - j->at >= 6 && j->at[0] == '\\' && j->at[1] == 'u';
        if (!pair) {
            j->bad = true;
            return to;
        }
        j->at += 2;
        uint32_t low = hex4(j);
        j->bad |= low < 0xdc00 || low > 0xdfff;
        c = 0x10000 + ((c - 0xd800) << 10 | (low & 0x3ff));
    } else if (c >= 0xdc00 && c < 0xe000) {
        j->bad = true;
    }
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    *to++ = (char)(lead[more] | c >> 6 * more);
    while (more-- > 0)
        *to++ = (char)(0x80 | (c >> 6 * more & 0x3f));
    return to;
}

static char *escape(rt_json *j, char *to)
{
    static const char from[] = "\"\\/bfnrt", is[] = "\"\\/\b\f\n\r\t";
    if (j->at == j->end) {
        j->bad = true;
        return to;
    }
    char c = *j->at++;
    if (c == 'u')
        return unicode(j, to);
    const char *found = c ? strchr(from, c) : NULL;
    if (!found)
        j->bad = true;
    else
        *to++ = is[found - from];
    return to;
}

rt_text rt_json_string(rt_json *j)
{
    rt_json_expect(j, '"');
    char *start = j->at, *to = start;
    while (!j->bad) {
        if (j->at == j->end || (unsigned char)*j->at < 0x20) {
            j->bad = true;
        } else if (*j->at == '"') {
            j->at++;
            return (rt_text){start, (size_t)(to - start)};
        } else if (*j->at == '\\') {
            j->at++;
            to = escape(j, to);
        } else {
            *to++ = *j->at++;
        }
    }
    return (rt_text){"", 0};
}

int64_t rt_json_integer(rt_json *j)
{
    skip_space(j);
    char *start = j->at;
    int64_t value = 0;
    while (!j->bad && j->at < j->end && *j->at >= '0' && *j->at <= '9') {
        int digit = *j->at++ - '0';
        if (value > (INT64_MAX - digit) / 10)
            j->bad = true;
        else
            value = value * 10 + digit;
    }
    if (j->at == start || (*start == '0' && j->at - start > 1))
        j->bad = true;
    return j->bad ? 0 : value;
}

bool rt_json_more(rt_json *j, char closing, bool first)
{
    if (j->bad || rt_json_accept(j, closing))
        return false;
    if (!first)
        rt_json_expect(j, ',');
    return !j->bad;
}

void rt_json_finish(rt_json *j)
{
    skip_space(j);
    if (j->at != j->end)
        j->bad = true;
}

bool rt_text_is(rt_text text, const char *s)
{
    return text.length == strlen(s) && !memcmp(text.at, s, text.length);
}
