/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "files/gir.h"
#include "base/path.h"
#include "files/safetensors.h"
#include "ir/text.h"

#include <string.h>

/* ---- Writing ---- */

typedef struct writing {
    const ir_module *m;
    struct ir_side *side;
} writing;

static bool write_text(FILE *f, void *user)
{
    writing *w = user;
    ir_print(f, w->m, w->side);
    return true;
}

static bool write_side(FILE *f, void *user)
{
    writing *w = user;
    return safetensors_write(f, w->side->arena, &w->side->tensors);
}

bool gir_write_file(const ir_module *m, const char *path)
{
    base_arena *arena = base_arena_new(m->ctx);
    struct ir_side side = {.arena = arena, .names = base_map_new(arena)};
    writing w = {m, &side};
    const base_output outputs[] = {{path, write_text, &w},
                                   {base_format(arena, "%s.safetensors", path), write_side, &w}};
    /* The text is printed first, which collects the side file's tensors. */
    bool ok = base_write_atomically(m->ctx, outputs, ir_has_large(m) ? 2 : 1);
    base_arena_free(arena);
    return ok;
}

/* ---- Reading ---- */

static bool read_side(void *user, base_arena *arena, const base_loc *at, ir_tensors *out)
{
    const char *path = user, *name = base_format(arena, "%s.safetensors", base_file_name(path));
    base_data data;
    return base_read_beneath(arena, at, base_folder_of(arena, path), name, 0, -1, &data) &&
           safetensors_read(arena, &(base_loc){.file = name, .node = -1}, data, out);
}

ir_module *gir_read_file(base_ctx *ctx, base_arena *arena, const char *path)
{
    base_data data;
    if (!base_read_whole_file(arena, path, IR_MAX_TEXT_BYTES, &data))
        return NULL;
    bool standard = !strcmp(path, "-");
    const ir_side_source side = {read_side, (void *)path};
    return ir_parse(ctx, arena, (const char *)data.bytes, data.size, standard ? "<stdin>" : path,
                    standard ? NULL : &side);
}
