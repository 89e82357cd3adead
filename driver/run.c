/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `run`. */
#include "driver/driver.h"

void run_run(api_session *s, const char *model)
{
    if (api_read(s, API_RUN, model) && api_optimise(s) && api_compile(s))
        api_execute(s, stdout);
}
