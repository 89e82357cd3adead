/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Trains examples/link/gate.onnx to compute exclusive or; the README shows and explains it. */
#include "gate.h"
#include <stdio.h>

static _Alignas(64) char arena[GATE_ARENA_BYTES]; /* all the memory that the model uses */

int main(void)
{
    const float x[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}}, y[4] = {0, 1, 1, 0};
    float p[4], loss;
    const gate_inputs in = {x[0], y};
    const gate_outputs out = {p, &loss};
    const gradc_rt_options options = GATE_OPTIONS;
    gate_ctx *net;
    gradc_rt_status status = gate_init(&net, arena, sizeof arena, &options);
    for (int i = 0; i < 300 && !status; i++)
        status = gate_step(net, &in, NULL, &out); /* forward, backward, Adam */
    if (status)
        return fprintf(stderr, "%s\n", gradc_rt_status_text(status)), 1;
    for (int i = 0; i < 4; i++)
        printf("%g xor %g: %.2f\n", x[i][0], x[i][1], p[i]);
    gate_fini(net);
    return 0;
}
