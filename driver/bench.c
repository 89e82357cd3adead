/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `bench`: times the compilation and each entry. */
#include "driver/driver.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const int shown[] = {0, 1, 2, 4}; /* forward, forward_train, backward, step */
enum { SHOWN = sizeof shown / sizeof *shown };

static void print_json(api_session *s, const api_timing *t, const bool *has, double compile_s,
                       int64_t arena, const char *cpu)
{
    json_t *o = json_object();
    for (int i = 0; i < SHOWN; i++)
        if (has[i])
            json_object_set_new(o, api_entry_name(shown[i]),
                                json_pack("{s:f, s:f, s:f}", "min_us", t[i].min_us, "median_us",
                                          t[i].median_us, "p90_us", t[i].p90_us));
    json_object_set_new(o, "compile_s", json_real(compile_s));
    json_object_set_new(o, "arena_bytes", json_integer(arena));
    json_object_set_new(o, "cpu", json_string(cpu));
    json_object_set_new(o, "warnings", driver_json_warnings(s));
    driver_print_json(s, o);
}

static void print_profile(api_session *s, int e, const api_timing *t)
{
    enum { SHOW = 40 };
    api_parts parts = {0};
    api_profile(s, e, t, &parts);
    printf("\n%s\n%10s %6s %8s %-11s %-9s %s\n", api_entry_name(e), "us", "share", "GFLOP/s",
           "kernel", "phase", "what; from; schedule");
    for (int i = 0; i < parts.count && i < SHOW; i++) {
        const api_part *p = &parts.items[i];
        printf("%10.2f %5.1f%% ", p->us, p->share * 100);
        if (p->gflops > 0)
            printf("%8.1f", p->gflops);
        else
            printf("%8s", "");
        printf(" %-11s %-9s %s; %s%s%s\n", p->kind, p->phase, p->what, api_shown(s, p->origin),
               *p->how ? "; " : "", p->how);
    }
}

void run_bench(api_session *s, const char *model)
{
    enum { SECONDS = 2 };
    double start = now();
    if (!api_read(s, API_BENCH, model) || !api_optimise(s) || !api_compile(s))
        return;
    double compile_s = now() - start;
    const api_facts *f = api_facts_of(s);
    api_timing t[SHOWN] = {{0}};
    bool has[SHOWN] = {false};
    for (int i = 0; i < SHOWN && f; i++) {
        if (!f->entry[shown[i]])
            continue;
        if (!api_time(s, shown[i], SECONDS, &t[i]))
            return;
        has[i] = true;
        if (api_options_of(s)->profile && !api_options_of(s)->json)
            print_profile(s, shown[i], &t[i]);
    }
    if (!f)
        return;
    if (api_options_of(s)->json) {
        print_json(s, t, has, compile_s, f->bytes.arena, api_cpu(s));
        return;
    }
    printf("%-14s %12s %12s %12s %8s\n", "entry", "min us", "median us", "p90 us", "calls");
    for (int i = 0; i < SHOWN; i++)
        if (has[i])
            printf("%-14s %12.2f %12.2f %12.2f %8d\n", api_entry_name(shown[i]), t[i].min_us,
                   t[i].median_us, t[i].p90_us, t[i].calls);
    printf("compiled in %.2f s, arena %lld bytes, for %s\n", compile_s, (long long)f->bytes.arena,
           api_cpu(s));
}
