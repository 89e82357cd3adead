/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `check`: a table of nodes. */
#include "driver/driver.h"

#include <jansson.h>
#include <string.h>

void run_check(api_session *s, const char *model)
{
    api_nodes nodes = {0};
    const api_options *o = api_options_of(s);
    int forward = 0, backward = 0;
    if (!api_check(s, model, &nodes))
        return;
    json_t *list = json_array();
    if (!o->json)
        printf("%-6s %-24s %-8s %-8s %s\n", "node", "operator", "forward", "backward",
               "name; why not");
    for (int i = 0; i < nodes.count; i++) {
        const api_node *n = &nodes.items[i];
        forward += !n->forward;
        backward += n->forward && !n->backward;
        if (o->json)
            json_array_append_new(list, json_pack("{s:i, s:o, s:o, s:b, s:b, s:o}", "node",
                                                  n->index, "name", driver_json_text(s, n->name),
                                                  "op", driver_json_text(s, n->op), "forward",
                                                  n->forward, "backward", n->backward, "why",
                                                  driver_json_text(s, n->why)));
        else
            printf("%-6d %-24s %-8s %-8s %s%s%s\n", n->index, api_shown(s, n->op),
                   n->forward ? "yes" : "no", n->backward ? "yes" : "no", api_shown(s, n->name),
                   n->why ? "; " : "", n->why ? api_shown(s, n->why) : "");
    }
    if (o->json) {
        json_t *all = json_pack("{s:o, s:i, s:i, s:o}", "nodes", list, "forward_gaps", forward,
                                "backward_gaps", backward, "warnings", driver_json_warnings(s));
        driver_print_json(s, all);
    } else {
        json_decref(list);
        printf("%d nodes: %d without forward, %d more without backward\n", nodes.count, forward,
               backward);
    }
    if (forward)
        api_error(s, "%s: %d of %d nodes are not supported", model, forward, nodes.count);
}
