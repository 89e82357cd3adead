/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Minimum cut of a directed graph with capacities. */
#ifndef GRADC_PASSES_FLOW_H
#define GRADC_PASSES_FLOW_H

#include "base/arena.h"

typedef struct flow flow;

#define FLOW_NEVER ((int64_t)1 << 60) /* capacity of an edge that is not cut */

flow *flow_new(base_arena *arena, int nodes);
void flow_edge(flow *g, int from, int to, int64_t capacity);
/* Computes a minimum cut between source and sink, the one nearest to the sink, and writes which
 * nodes are on the sink's side. False if that takes too long (the number of steps is bounded). */
bool flow_cut(flow *g, int source, int sink, bool *sink_side);

#endif
