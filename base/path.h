/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Files: reading whole ones, reading confined to a folder, writing all or nothing.
 *
 * Nothing is mapped: a file that shrinks while it is read is an error and not a fault. No
 * descriptor leaks when an allocation throws. */
#ifndef GRADC_BASE_PATH_H
#define GRADC_BASE_PATH_H

#include "base/arena.h"

#include <stdio.h>

typedef struct base_data {
    unsigned char *bytes; /* followed by one NUL that size does not count */
    size_t size;
} base_data;

/* The file that the user named (pipes and devices too), at most `limit` bytes; "-" is standard
 * input. False and reported when it cannot be read or is larger. */
bool base_read_whole_file(base_arena *arena, const char *path, int64_t limit, base_data *out);

/* A piece of the file `name`, a relative path that a model or weight file gave, inside `folder`
 * (NULL or "": the current one). Never leaves the folder: absolute names, `..`, symbolic links in
 * any component, and anything but a regular file are refused. `length` -1: to the end. The piece
 * must lie in the file. False and reported at loc (may be NULL). */
bool base_read_beneath(base_arena *arena, const base_loc *loc, const char *folder, const char *name,
                       int64_t offset, int64_t length, base_data *out);
/* The descriptor alone (still to be checked by fstat), or -1 and errno; by_component: the way
 * without openat2. */
int base_open_beneath(const char *folder, const char *name, bool by_component);

/* The part of path up to its last slash, "." if there is none, and the part after it. */
const char *base_folder_of(base_arena *arena, const char *path);
const char *base_file_name(const char *path);

/* Writes the content; false if it failed (a write error on f is noticed anyway). May throw. */
typedef bool base_write(FILE *f, void *user);
typedef struct base_output {
    const char *path;
    base_write *write;
    void *user;
} base_output;
/* All files or none: each is written in full to a temporary file in the same folder and synced,
 * then all are renamed. Old files stay until then. A path that leads to a pipe or device is
 * written directly. False and reported on failure; the temporary files are gone then, also after
 * a throw. */
bool base_write_atomically(base_ctx *ctx, const base_output *outputs, int n);
/* The same for one file of given bytes. */
bool base_write_bytes(base_ctx *ctx, const char *path, const void *bytes, size_t size);

#endif
