/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * IR_TUNING(NAME): the value of a row of ir/tuning.def, a constant. In a build with
 * GRADC_TUNABLE the environment changes values, so that one program can be measured with
 * several: GRADC_TUNING="NAME=VALUE NAME=VALUE". bench/tuning.py does. */
#ifndef GRADC_IR_TUNING_H
#define GRADC_IR_TUNING_H

#ifdef GRADC_TUNABLE
enum {
#define TUNING(name, value, decides, measured, command) IR_TUNING_##name,
#include "ir/tuning.def"
    IR_TUNINGS
};
int ir_tuned(int row);
#define IR_TUNING(name) ir_tuned(IR_TUNING_##name)
#else
enum {
#define TUNING(name, value, decides, measured, command) IR_TUNING_##name = (value),
#include "ir/tuning.def"
};
#define IR_TUNING(name) IR_TUNING_##name
#endif

#endif
