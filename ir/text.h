/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the printer and the parser of the text form share; see docs/text-form.md. */
#ifndef GRADC_IR_TEXT_H
#define GRADC_IR_TEXT_H

#include "ir/ir.h"
#include "ir/map.h"
#include "ir/safetensors.h"

enum {
    IR_TEXT_VERSION = 1,
    IR_INLINE_ELEMENTS = 64,    /* larger tensors go to the side file */
    IR_ELEMENT_TEXT = 48,       /* bytes that the text of an element takes at most */
};
#define IR_MAX_TEXT_BYTES ((int64_t)1 << 30)

/* The shortest text that ir_read_element turns into the same bits, whatever the locale; returns its
 * length. */
int ir_format_element(char out[IR_ELEMENT_TEXT], ir_dtype dtype, const void *element);
/* Reads n bytes of text as one element; returns NULL, or what is wrong in words. */
const char *ir_read_element(ir_dtype dtype, const char *text, size_t n, void *element);

/* Letters, digits, `_` and `.`, not starting with a digit or `.`: needs no quotes. */
bool ir_is_word(const char *s);
/* Bytes of the UTF-8 character beyond ASCII at s that can be shown as it is, or 0: ASCII, invalid,
 * a control, invisible, or one that reorders text. */
int ir_shown_utf8(const unsigned char *s);
/* In quotes; what could disturb a terminal or a reader is escaped. */
void ir_print_string(FILE *f, const char *s);

/* The tensors that a text names by `large("…")`. */
struct ir_side {
    ir_arena *arena;
    ir_tensors tensors;
    ir_map names; /* literal -> its name */
};

#endif
