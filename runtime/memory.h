/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The functions of <string.h> that the runtime uses. Freestanding machines may lack that header,
 * but compilers need these two functions everywhere. */
#ifndef RUNTIME_MEMORY_H
#define RUNTIME_MEMORY_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int value, size_t n);

#endif
