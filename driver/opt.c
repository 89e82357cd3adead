/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `opt`: text in, passes, text out. */
#include "driver/driver.h"

void run_opt(api_session *s, const char *model)
{
    const char *name, *doc;
    if (!api_options_of(s)->list_passes) {
        api_opt(s, model, stdout);
        return;
    }
    for (int i = 0; api_pass(i, &name, &doc); i++)
        printf("%-10s %s\n", name, doc);
}
