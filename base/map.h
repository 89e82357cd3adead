/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A hash table in an arena: byte strings or pointers to pointers. Its order is never visible: there
 * is no iteration, and the hash differs from run to run, so that no text can be made to collide. */
#ifndef GRADC_BASE_MAP_H
#define GRADC_BASE_MAP_H

#include "base/arena.h"

#include <string.h>

typedef struct base_map_slot {
    const void *key;
    size_t n; /* bytes of the key; SIZE_MAX: the pointer itself is the key */
    void *value;
    bool used;
} base_map_slot;

typedef struct base_map {
    base_arena *arena;
    base_map_slot *slot;
    size_t count, capacity; /* a power of two, or 0 */
} base_map;

static inline base_map base_map_new(base_arena *arena)
{
    return (base_map){.arena = arena};
}
/* The value under the n bytes at key, or NULL. */
void *base_map_get(const base_map *map, const void *key, size_t n);
/* Sets it. The bytes must live as long as the map. */
void base_map_put(base_map *map, const void *key, size_t n, void *value);

static inline void *base_map_get_ptr(const base_map *map, const void *key)
{
    return base_map_get(map, key, SIZE_MAX);
}
static inline void base_map_put_ptr(base_map *map, const void *key, void *value)
{
    base_map_put(map, key, SIZE_MAX, value);
}
static inline void *base_map_get_text(const base_map *map, const char *key)
{
    return base_map_get(map, key, strlen(key));
}
static inline void base_map_put_text(base_map *map, const char *key, void *value)
{
    base_map_put(map, key, strlen(key), value);
}

#endif
