/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Names from a model in generated text; see names.c. */
#ifndef GRADC_CODEGEN_NAMES_H
#define GRADC_CODEGEN_NAMES_H

#include "codegen/codegen.h"

typedef struct cg_names {
    base_arena *arena;
    const cg_rename *rename;
    int nrenames;
    bool *renamed;                /* by rename: its name was found */
    BASE_LIST(const char *) taken;
} cg_names;
/* Is s a valid name of a member: an identifier that is not reserved? */
bool cg_is_member_name(base_arena *arena, const char *s);
/* The member for a raw name: renamed or cleaned, and different from all taken before. */
const char *cg_field(cg_names *n, const char *raw, const char *digit);
/* The raw name as it may stand in a comment or a string: printable ASCII, nothing that ends a
 * comment or begins a trigraph. */
const char *cg_quoted(base_arena *arena, const char *raw);
bool cg_is_identifier(const char *s);

/* Text that grows in an arena. */
typedef struct cg_text {
    base_arena *arena;
    char *items;
    int count, capacity;
} cg_text;
void cg_print(cg_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
