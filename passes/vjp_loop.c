/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Derivatives of the structured ops: not there yet. */
#include "passes/vjp.h"

AD_RULE(scan)
{
    (void)b, (void)ct, (void)out, (void)want;
    ad_missing(inst);
}

AD_RULE(cond)
{
    (void)b, (void)ct, (void)out, (void)want;
    ad_missing(inst);
}

AD_RULE(call)
{
    (void)b, (void)ct, (void)out, (void)want;
    ad_missing(inst);
}
