/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * IR_TUNING_NAME for each row of ir/tuning.def. */
#ifndef GRADC_IR_TUNING_H
#define GRADC_IR_TUNING_H

enum {
#define TUNING(name, value, decides, measured, command) IR_TUNING_##name = (value),
#include "ir/tuning.def"
};

#endif
