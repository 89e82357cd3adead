/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Printing of strings. */
#ifndef GRADC_BASE_TEXT_H
#define GRADC_BASE_TEXT_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdio.h>

/* Letters, digits, `_` and `.`, not starting with a digit or `.`: needs no quotes. */
bool base_is_word(const char *s);
/* Length of the non-ASCII UTF-8 character at s if it can be shown as it is; 0 for one that is
 * ASCII, invalid, a control, invisible, or that reorders text. */
int base_shown_utf8(const unsigned char *s);
/* In quotes; what could disturb a terminal or a reader is escaped. */
void base_print_string(FILE *f, const char *s);

/* "a, b and c". */
const char *base_and(base_arena *arena, const char *const *name, int n);

#endif
