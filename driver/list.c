/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Lists: of operators, of warnings. */
#include "driver/driver.h"

#include <jansson.h>

void driver_list_ops(api_session *s)
{
    api_op_row row;
    printf("Primitives\n  %-14s %-9s %-28s %s\n", "name", "gradient", "types of the first operand", "meaning");
    for (int i = 0; api_primitive(s, i, &row); i++)
        printf("  %-14s %-9s %-28s %s\n", row.name, row.gradient, row.types, row.detail);
    printf("\nONNX operators\n  %-32s %-9s %-18s %s\n", "name", "gradient", "versions", "types of the first input");
    for (int i = 0; api_onnx_operator(s, i, &row); i++)
        printf("  %-32s %-9s %-18s %s\n", row.name, row.gradient, row.detail, row.types);
}

struct json_t *driver_json_warnings(api_session *s)
{
    const api_warnings *list = api_warnings_of(s);
    json_t *all = json_array();
    for (int i = 0; i < list->count; i++) {
        const api_warning *w = &list->items[i];
        json_t *node = w->node < 0 ? json_null() : json_integer(w->node);
        json_array_append_new(all, json_pack("{s:s, s:o, s:s}", "name", w->name, "node", node, "text", w->text));
    }
    return all;
}
