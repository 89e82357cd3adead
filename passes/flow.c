/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Minimum cut by maximum flow, with Dinic's algorithm: levels by breadth-first search, then
 * augmenting paths that descend the levels, each node remembering its dead edges, until the sink
 * has no level. */
#include "passes/flow.h"

#include <string.h>

typedef struct edge {
    int to, next;
    int64_t left; /* capacity not used; edge i ^ 1 is the reverse */
} edge;

struct flow {
    base_arena *arena;
    int nodes, *first, *level, *at, *queue, *path;
    BASE_LIST(edge) edges;
    int64_t steps;
};

#define STEPS ((int64_t)400 << 20)

flow *flow_new(base_arena *arena, int nodes)
{
    flow *g = base_new(arena, flow);
    g->arena = arena;
    g->nodes = nodes;
    g->first = base_array(arena, int, nodes);
    g->level = base_array(arena, int, nodes);
    g->at = base_array(arena, int, nodes);
    g->queue = base_array(arena, int, nodes);
    g->path = base_array(arena, int, nodes);
    g->steps = STEPS;
    for (int i = 0; i < nodes; i++)
        g->first[i] = -1;
    return g;
}

static void half(flow *g, int from, int to, int64_t capacity)
{
    edge e = {to, g->first[from], capacity};
    g->first[from] = g->edges.count;
    BASE_PUSH(g->arena, &g->edges, e);
}

void flow_edge(flow *g, int from, int to, int64_t capacity)
{
    half(g, from, to, capacity);
    half(g, to, from, 0);
}

static bool levels(flow *g, int source, int sink)
{
    int head = 0, tail = 0;
    for (int i = 0; i < g->nodes; i++)
        g->level[i] = -1;
    g->level[source] = 0;
    g->queue[tail++] = source;
    while (head < tail) {
        int v = g->queue[head++];
        for (int e = g->first[v]; e >= 0; e = g->edges.items[e].next) {
            const edge *x = &g->edges.items[e];
            g->steps--;
            if (x->left > 0 && g->level[x->to] < 0) {
                g->level[x->to] = g->level[v] + 1;
                g->queue[tail++] = x->to;
            }
        }
    }
    return g->level[sink] >= 0;
}

/* Finds one path of edges that descends the levels, as a list of edges; its length, 0 if there is
 * none. */
static int descend(flow *g, int source, int sink)
{
    int n = 0, v = source;
    while (v != sink) {
        int e = g->at[v];
        for (; e >= 0; e = g->edges.items[e].next) {
            const edge *x = &g->edges.items[e];
            g->steps--;
            if (x->left > 0 && g->level[x->to] == g->level[v] + 1)
                break;
        }
        g->at[v] = e;
        if (e >= 0) {
            g->path[n++] = e;
            v = g->edges.items[e].to;
        } else {
            if (!n || g->steps < 0)
                return 0;
            v = g->edges.items[g->path[--n] ^ 1].to;
            g->at[v] = g->edges.items[g->at[v]].next;
        }
    }
    return n;
}

static void sink_nodes(flow *g, int sink, bool *side)
{
    int head = 0, tail = 0;
    memset(side, 0, (size_t)g->nodes * sizeof *side);
    side[sink] = true;
    g->queue[tail++] = sink;
    while (head < tail) {
        int v = g->queue[head++];
        for (int e = g->first[v]; e >= 0; e = g->edges.items[e].next) {
            int from = g->edges.items[e].to;
            if (g->edges.items[e ^ 1].left > 0 && !side[from]) {
                side[from] = true;
                g->queue[tail++] = from;
            }
        }
    }
}

bool flow_cut(flow *g, int source, int sink, bool *sink_side)
{
    while (levels(g, source, sink)) {
        memcpy(g->at, g->first, (size_t)g->nodes * sizeof *g->at);
        for (int n; (n = descend(g, source, sink)) > 0;) {
            int64_t least = FLOW_NEVER;
            for (int i = 0; i < n; i++)
                if (g->edges.items[g->path[i]].left < least)
                    least = g->edges.items[g->path[i]].left;
            for (int i = 0; i < n; i++) {
                g->edges.items[g->path[i]].left -= least;
                g->edges.items[g->path[i] ^ 1].left += least;
            }
            if ((g->steps -= n) < 0)
                return false;
        }
        if (g->steps < 0)
            return false;
    }
    sink_nodes(g, sink, sink_side);
    return true;
}
