/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Bad indices that generated code detects in its data. */
#include "runtime/rt.h"

void gradc_rt_bad_index(gradc_rt_worker *worker, uint32_t check, int64_t at, int64_t value,
                        int64_t limit)
{
    rt_run *run = worker->run;
    while (__atomic_exchange_n(&run->lock, 1, __ATOMIC_ACQUIRE))
        rt_relax();
    bool first = !__atomic_load_n(&run->noted, __ATOMIC_RELAXED);
    if (first || check < run->check || (check == run->check && at < run->at)) {
        run->check = check;
        run->at = at;
        run->value = value;
        run->limit = limit;
    }
    __atomic_store_n(&run->noted, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&run->lock, 0, __ATOMIC_RELEASE);
}

int gradc_rt_failed(gradc_rt_worker *worker)
{
    rt_run *run = worker->run;
    return worker->threads == 1 ? (int)run->noted : (int)run->agreed;
}
