/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Strings as text. */
#ifndef GRADC_BASE_TEXT_H
#define GRADC_BASE_TEXT_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdio.h>

/* Letters, digits, `_` and `.`, not starting with a digit or `.`: needs no quotes. */
bool base_is_word(const char *s);
/* Bytes of the UTF-8 character beyond ASCII at s that can be shown as it is, or 0: ASCII, invalid,
 * a control, invisible, or one that reorders text. */
int base_shown_utf8(const unsigned char *s);
/* In quotes; what could disturb a terminal or a reader is escaped. */
void base_print_string(FILE *f, const char *s);

/* "a, b and c". */
const char *base_and(base_arena *arena, const char *const *name, int n);

#endif
