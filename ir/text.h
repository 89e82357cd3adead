/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * What the printer and the parser of the text form share; see docs/text-form.md. */
#ifndef GRADC_IR_TEXT_H
#define GRADC_IR_TEXT_H

#include "base/map.h"
#include "base/text.h"
#include "ir/ir.h"

enum {
    IR_TEXT_VERSION = 1,
    IR_INLINE_ELEMENTS = 64,    /* larger tensors go to the side file */
    IR_ELEMENT_TEXT = 48,       /* bytes that the text of an element takes at most */
};
#define IR_MAX_TEXT_BYTES ((int64_t)1 << 30)

/* The shortest text that ir_read_element turns into the same bits, whatever the locale; returns its
 * length. */
int ir_format_element(char out[IR_ELEMENT_TEXT], ir_dtype dtype, const void *element);
/* Reads n bytes of text as one element; returns NULL, or a message that says what is wrong. */
const char *ir_read_element(ir_dtype dtype, const char *text, size_t n, void *element);

/* The tensors that a text names by `large("…")`. */
struct ir_side {
    base_arena *arena;
    ir_tensors tensors;
    base_map names; /* literal -> its name */
};
/* Does the text of m name any? */
bool ir_has_large(const ir_module *m);

#endif
