/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What --json prints. */
#include "driver/driver.h"

#include <jansson.h>
#include <stdlib.h>

/* NULL is printed as null. A name in a text may be invalid UTF-8; it is then printed as on a
 * terminal. */
json_t *driver_json_text(api_session *s, const char *text)
{
    json_t *plain = text ? json_string(text) : json_null();
    return plain ? plain : json_string(api_shown(s, text));
}

json_t *driver_json_warnings(api_session *s)
{
    const api_warnings *list = api_warnings_of(s);
    json_t *all = json_array();
    for (int i = 0; i < list->count; i++) {
        const api_warning *w = &list->items[i];
        json_t *node = w->node < 0 ? json_null() : json_integer(w->node);
        json_array_append_new(all, json_pack("{s:s, s:o, s:o}", "name", w->name, "node", node,
                                             "text", driver_json_text(s, w->text)));
    }
    return all;
}

/* jansson does not escape one control character. */
static void print_safe(const char *text)
{
    for (; *text; text++)
        if (*text == 0x7f)
            fputs("\\u007f", stdout);
        else
            putchar(*text);
}

void driver_print_json(api_session *s, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
    json_decref(json);
    if (!text) {
        api_error(s, "out of memory");
        return;
    }
    print_safe(text);
    putchar('\n');
    free(text);
}
