/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The runtime's gradc_rt_load, into a model with all kinds of states. A file that is refused has
 * changed nothing; one that is taken is saved and loaded again. */
#define _GNU_SOURCE
#include "tests/fake_model.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static char path[32];
static int fd = -1;

static void put(const uint8_t *data, size_t size)
{
    if (fd < 0) {
        fd = memfd_create("weights", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fake f = fake_new(&fake_model, 1, NULL), other = fake_new(&fake_model, 1, NULL);
    char *state = gradc_rt_state_data(f.ctx, "w", NULL), before[AT_GRAD];
    memcpy(before, state, sizeof before);
    put(data, size);
    if (gradc_rt_load(f.ctx, path)) {
        if (memcmp(before, state, sizeof before) ||
            !*gradc_rt_status_text(gradc_rt_last_error(f.ctx)->status))
            abort();
    } else {
        char saved[64];
        snprintf(saved, sizeof saved, "/tmp/gradc-fuzz-%d.safetensors", (int)getpid());
        if (gradc_rt_save(f.ctx, saved, 1) || gradc_rt_load(other.ctx, saved) ||
            memcmp(state, gradc_rt_state_data(other.ctx, "w", NULL), sizeof before))
            abort();
        unlink(saved);
    }
    fake_free(f);
    fake_free(other);
    return 0;
}
