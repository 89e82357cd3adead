/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The smallest program of a freestanding model: examples/link/gate.onnx computed once, or with
 * -DTRAIN trained to be an exclusive or. Prints ninety-ninths. */
#include "gate.h"
#include "tests/freestanding/start.h"

static _Alignas(64) char arena[GATE_ARENA_BYTES];
static const float x[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}}, y[4] = {0, 1, 1, 0};

int main(void)
{
    static float p[4], loss;
    const gate_inputs in = {x[0], y};
    const gate_outputs out = {p, &loss};
    const gradc_rt_options options = GATE_OPTIONS;
    gate_ctx *net;
    gradc_rt_status status = gate_init(&net, arena, sizeof arena, &options);
#ifdef TRAIN
    for (int i = 0; i < 300 && !status; i++)
        status = gate_step(net, &in, NULL, &out);
#else
    status = status ? status : gate_forward(net, &in, &out);
#endif
    for (int i = 0; i < 4; i++) {
        int percent = (int)(p[i] * 99 + 0.5f);
        put_text((char[]){(char)('0' + percent / 10), (char)('0' + percent % 10), '\n', 0});
    }
    return status;
}
