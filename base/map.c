/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "base/map.h"

static uint64_t scramble(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

/* The arena's address is the seed: it is random where the system randomises addresses. */
static uint64_t hash(const base_map *map, const void *key, size_t n)
{
    uint64_t seed = scramble((uintptr_t)map->arena);
    if (n == SIZE_MAX)
        return scramble((uintptr_t)key ^ seed);
    uint64_t h = seed ^ n;
    const unsigned char *p = key;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = scramble(h ^ word);
    }
    uint64_t rest = 0;
    memcpy(&rest, p, n);
    return scramble(h ^ rest ^ seed << 1);
}

static base_map_slot *find(const base_map *map, const void *key, size_t n)
{
    for (size_t i = hash(map, key, n) & (map->capacity - 1);; i = (i + 1) & (map->capacity - 1)) {
        base_map_slot *s = &map->slot[i];
        if (!s->used ||
            (s->n == n && (s->key == key || (n != SIZE_MAX && !memcmp(s->key, key, n)))))
            return s;
    }
}

void *base_map_get(const base_map *map, const void *key, size_t n)
{
    return map->capacity ? find(map, key, n)->value : NULL;
}

void base_map_put(base_map *map, const void *key, size_t n, void *value)
{
    if (map->count * 4 >= map->capacity * 3) {
        base_map grown = {.arena = map->arena,
                          .count = map->count,
                          .capacity = map->capacity ? map->capacity * 2 : 16};
        grown.slot = base_array(map->arena, base_map_slot, grown.capacity);
        for (size_t i = 0; i < map->capacity; i++)
            if (map->slot[i].used)
                *find(&grown, map->slot[i].key, map->slot[i].n) = map->slot[i];
        *map = grown;
    }
    base_map_slot *s = find(map, key, n);
    map->count += !s->used;
    *s = (base_map_slot){key, n, value, true};
}
