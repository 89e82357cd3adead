/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A hash table in an arena: byte strings or pointers to pointers. Its order is never visible: there
 * is no iteration, and the hash differs from run to run, so that no text can be made to collide. */
#ifndef GRADC_IR_MAP_H
#define GRADC_IR_MAP_H

#include "ir/arena.h"

#include <string.h>

typedef struct ir_map_slot {
    const void *key;
    size_t n; /* bytes of the key; SIZE_MAX: the pointer itself is the key */
    void *value;
    bool used;
} ir_map_slot;

typedef struct ir_map {
    ir_arena *arena;
    ir_map_slot *slot;
    size_t count, capacity; /* a power of two, or 0 */
} ir_map;

static inline ir_map ir_map_new(ir_arena *arena) { return (ir_map){.arena = arena}; }
/* The value under the n bytes at key, or NULL. */
void *ir_map_get(const ir_map *map, const void *key, size_t n);
/* Sets it. The bytes must live as long as the map. */
void ir_map_put(ir_map *map, const void *key, size_t n, void *value);

static inline void *ir_map_get_ptr(const ir_map *map, const void *key)
{
    return ir_map_get(map, key, SIZE_MAX);
}
static inline void ir_map_put_ptr(ir_map *map, const void *key, void *value)
{
    ir_map_put(map, key, SIZE_MAX, value);
}
static inline void *ir_map_get_text(const ir_map *map, const char *key)
{
    return ir_map_get(map, key, strlen(key));
}
static inline void ir_map_put_text(ir_map *map, const char *key, void *value)
{
    ir_map_put(map, key, strlen(key), value);
}

#endif
