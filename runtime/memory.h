/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the runtime has of <string.h>, which a machine without a system may not have; compilers want
 * these two functions anywhere. */
#ifndef RUNTIME_MEMORY_H
#define RUNTIME_MEMORY_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int value, size_t n);

#endif
