/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Printing of strings. */
#include "base/text.h"

#include <stdint.h>

bool base_is_word(const char *s)
{
    if (!(*s == '_' || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z')))
        return false;
    for (; *s; s++)
        if (!(*s == '_' || *s == '.' || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
              (*s >= '0' && *s <= '9')))
            return false;
    return true;
}

int base_shown_utf8(const unsigned char *s)
{
    int n = s[0] >= 0xc2 && s[0] < 0xe0   ? 2
            : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
            : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                          : 0;
    if (!n)
        return 0;
    uint32_t c = s[0] & (0xff >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    static const struct {
        uint32_t from, to;
    } hidden[] = {
        /* of Unicode 16: controls, format characters (Cf), separators of lines, surrogates,
         * variation selectors */
        {0, 0x9f},          {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
        {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},
        {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},
        {0xd800, 0xdfff},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xfff0, 0xfffb},
        {0xfffe, 0xffff},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f},
        {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}, {0x110000, UINT32_MAX},
    };
    if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000))
        return 0;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i].from && c <= hidden[i].to)
            return 0;
    return n;
}

void base_print_string(FILE *f, const char *text)
{
    putc('"', f);
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        int n = base_shown_utf8(s);
        if (n) {
            fwrite(s, 1, (size_t)n, f);
            s += n - 1;
        } else if (*s == '"' || *s == '\\') {
            fprintf(f, "\\%c", *s);
        } else if (*s == '\n' || *s == '\t') {
            fputs(*s == '\n' ? "\\n" : "\\t", f);
        } else if (*s < ' ' || *s > '~') {
            fprintf(f, "\\x%02x", *s);
        } else {
            putc(*s, f);
        }
    }
    putc('"', f);
}

const char *base_and(base_arena *arena, const char *const *name, int n)
{
    const char *text = "";
    for (int i = 0; i < n; i++)
        text = base_format(arena, "%s%s%s", text,
                           i == 0       ? ""
                           : i == n - 1 ? " and "
                                        : ", ",
                           name[i]);
    return text;
}
