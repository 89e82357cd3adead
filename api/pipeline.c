/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors */
#include "api/pipeline.h"

#ifdef NDEBUG
enum { VERIFY = false };
#else
enum { VERIFY = true };
#endif

void api_run_passes(ir_module *m, const api_pipeline *options)
{
    static const api_pipeline all = {.limit = -1};
    const api_pipeline *o = options ? options : &all;
    int n = 0;
    for (const pass_info *p = passes; p->name && (o->limit < 0 || n < o->limit); p++, n++) {
        pass_run_one(m, p, o->verify || VERIFY);
        if (o->watch)
            o->watch(o->user, p, m);
    }
}
