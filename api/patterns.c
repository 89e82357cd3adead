/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Names and globs of the command line. */
#include "api/session.h"

#include <fnmatch.h>
#include <string.h>

static int mark(const char *pattern, bool glob, const char *const *name, int n, bool *chosen)
{
    int found = 0;
    for (int i = 0; i < n; i++)
        if (glob ? !fnmatch(pattern, name[i], 0) : !strcmp(pattern, name[i])) {
            chosen[i] = true;
            found++;
        }
    return found;
}

bool api_choose(api_session *s, const char *option, const api_names *patterns,
                const char *const *name, int n, bool *chosen)
{
    bool ok = true;
    for (int k = 0; k < patterns->count; k++) {
        if (mark(patterns->items[k], false, name, n, chosen) ||
            mark(patterns->items[k], true, name, n, chosen))
            continue;
        api_usage(s, "--%s: '%s' matches nothing%s%s", option, patterns->items[k],
                  n ? "; try, for example, " : "", n ? name[0] : "");
        ok = false;
    }
    return ok;
}
