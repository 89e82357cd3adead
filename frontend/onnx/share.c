/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Initializers that layers share. Exporters merge equal ones, so that different parameters with
 * equal initial values become one. The scopes of the uses distinguish that from a layer that runs
 * twice. A scope is in a node's name (`/layers.0/linear/Gemm`, from torch's older exporter, which
 * numbers the calls of a layer, `/layers.0_1/…`), in its metadata (the newer one), or in the name
 * that an Identity gives the initializer for the parameter that was merged into it. Nodes without a
 * scope count as one layer. */
#include "frontend/onnx/reader.h"

#include <ctype.h>
#include <string.h>

enum { MOST_USES = 16 };

/* "layers.0.linear" of "/layers.0_1/linear/Gemm"; NULL: no such name. */
static const char *scope_of_name(onnx_reader *r, const char *name)
{
    const char *last = strrchr(name, '/');
    if (*name != '/')
        return NULL;
    char *scope = base_alloc(r->scratch, strlen(name) + 1), *to = scope;
    for (const char *at = name + 1, *end; at < last; at = end + 1) {
        end = at + strcspn(at, "/");
        size_t n = (size_t)(end - at), digits = 0;
        while (digits < n && isdigit((unsigned char)at[n - digits - 1]))
            digits++;
        if (digits && digits + 1 < n && at[n - digits - 1] == '_')
            n -= digits + 1;
        if (to > scope)
            *to++ = '.';
        memcpy(to, at, n);
        to += n;
    }
    return scope;
}

/* The second to last entry of "['', 'layers', 'layers.0', 'linear_2']"; NULL: there is no such
 * list. */
static const char *scope_of_list(onnx_reader *r, const Onnx__NodeProto *p)
{
    const char *item[2] = {NULL, NULL};
    size_t length[2] = {0, 0};
    for (size_t i = 0; i < p->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *m = p->metadata_props[i];
        if (!m->key || !m->value || strcmp(m->key, "pkg.torch.onnx.name_scopes"))
            continue;
        for (const char *at = strchr(m->value, '\''); at; at = strchr(at + length[1] + 1, '\'')) {
            item[0] = item[1];
            length[0] = length[1];
            item[1] = at + 1;
            length[1] = strcspn(item[1], "'");
            at = item[1];
            if (!at[length[1]])
                break;
        }
    }
    return item[0] && length[0] <= IR_MAX_NAME ? base_strndup(r->scratch, item[0], length[0])
                                               : NULL;
}

/* The scope of a node, looked up once; "" if it has none. */
static const char *scope_of(onnx_node *n)
{
    if (!n->layer)
        n->layer = scope_of_list(n->r, n->proto);
    if (!n->layer)
        n->layer = scope_of_name(n->r, n->proto->name ? n->proto->name : "");
    if (!n->layer)
        n->layer = "";
    return n->layer;
}

void onnx_note_use(onnx_node *n, onnx_init *init, int i, bool stat)
{
    onnx_reader *r = n->r;
    const char *name = n->proto->input[i], *scope, *shown;
    if (r->training || init->value->type.rank == 0)
        return;
    const char *producer = r->model->producer_name;
    /* An Identity gave it this name. */
    if (!n->entry[i]->init && producer && !strcmp(producer, "pytorch")) {
        const char *dot = strrchr(name, '.');
        scope = dot ? base_strndup(r->scratch, name, (size_t)(dot - name)) : name;
        shown = base_format(r->arena, "'%s'", name);
    } else {
        scope = scope_of(n);
        shown = *scope ? scope : n->loc->name;
        shown = shown ? base_format(r->arena, stat ? "'%s' (statistics)" : "'%s'", shown)
                      : base_format(r->arena, "node %d", n->loc->node);
    }
    onnx_use use = {base_format(r->scratch, "%c%s", stat ? 's' : 'd', scope), shown};
    for (int k = 0; k < init->uses.count; k++)
        if (!strcmp(init->uses.items[k].key, use.key))
            return;
    if (init->uses.count == MOST_USES)
        init->more_uses = true;
    else
        BASE_PUSH(r->scratch, &init->uses, use);
}

void onnx_list_shared(onnx_reader *r)
{
    for (int i = 0; i < r->all_inits.count; i++) {
        const onnx_init *init = r->all_inits.items[i];
        onnx_shared_info info = {.name = base_strdup(r->arena, init->name),
                                 .more = init->more_uses};
        if (!init->state || init->uses.count < 2)
            continue;
        for (int k = 0; k < init->uses.count; k++)
            BASE_PUSH(r->arena, &info.users, init->uses.items[k].shown);
        BASE_PUSH(r->arena, &r->facts->shared, info);
    }
}
