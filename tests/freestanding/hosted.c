/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "tests/freestanding/start.h"

#include <stdio.h>

void put_text(const char *text)
{
    fputs(text, stdout);
}
