/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Random graphs: each is made from its seed, and checked as tests/graph_check.h says. `./run
 * fuzz-graphs`.
 *
 *   test_fuzz_graphs                  those of tests/graphs, which were wrong once, and a few new
 *                                     ones; what ctest runs
 *   test_fuzz_graphs N [SEED]         N graphs from a seed on, and a table of what was met
 *   test_fuzz_graphs FILE.gir [SEED]  a graph from a file, in all configurations
 *     --all       each graph in all configurations, not in two
 *     --config=K  in one
 *     --show      the text of the graphs
 *     --here      a single graph in this process, for a debugger
 *
 * Graphs run in child processes, so that what crashes or hangs is one failure among others. A
 * failure is made small and written to fuzz-graphs/SEED.gir beside this program. */
#include "tests/graph_check.h"
#include "files/gir.h"
#include "tests/graph_cover.h"
#include "tests/graph_ops.h"
#include "tests/graph_shrink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { WORKERS = 64, SECONDS = 60, SHRUNK = 12, SHRINK_SECONDS = 40, FEW = 60, FAULT = 1200 };

typedef struct worker {
    uint64_t seed; /* of the graph at hand */
    uint64_t next; /* the first one not begun */
    char fault[FAULT];
} worker;

typedef struct board { /* shared by all processes */
    worker worker[WORKERS];
    char fault[FAULT]; /* of a single try */
    cover cover;
} board;

static board *shared;
static char folder[3000]; /* for what is written */
static struct {
    int which, workers;
    bool show, here;
} options = {.which = GRAPH_TWO};

/* ---- One graph ---- */

static gen_profile profile_of(uint64_t seed)
{
    uint64_t h = graph_hash("profile", seed) >> 8;
    gen_profile p = {.types = (1u << IR_DTYPES) - 1,
                     .most = h % 16 == 3 ? 3000 : 300,
                     .steps = 4 + (int)(h / 16 % 23),
                     .depth = 2,
                     .states = true,
                     .may_miss = h / 500 % 24 == 7,
                     .raw = seed % 10 == 2};
    if (seed % 5 < 3)
        return p;
    p.trains = p.smooth = true;
    p.types = 1u << IR_BOOL | 1u << IR_I32 | 1u << IR_I64 | 1u << IR_U8 |
              1u << (h / 20000 % 6 ? IR_F32 : IR_F64);
    if (h / 200000 % 8 == 5)
        p.types |= 1u << IR_F64 | 1u << IR_F32 | 1u << IR_U32 | 1u << IR_U64;
    if (h / 200000 % 8 == 6)
        p.types |= 1u << IR_F16 | 1u << IR_BF16;
    return p;
}

static const char *text_of(uint64_t seed, base_ctx *ctx, base_arena *arena)
{
    gen_profile p = profile_of(seed);
    ir_module *m = gen_module(ctx, arena, seed, &p);
    ir_verify(m);
    return graph_printed(arena, m);
}

static void count(const ir_module *m)
{
    cover_add(&shared->cover, m);
}

/* What is wrong with a text goes to fault. Memory running out leaves through the frame. */
static void check_text(const char *text, uint64_t seed, int which, int stages, char *fault)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_try frame;
    graph_slopes slopes = {0};
    static graph_check k;
    if (setjmp(base_try_push(ctx, &frame))) {
        snprintf(fault, FAULT, "thrown: %s", base_ctx_why(ctx));
    } else {
        k = (graph_check){
            .stages = stages, .ctx = ctx, .arena = base_arena_new(ctx), .text = text, .seed = seed};
        graph_is_right(&k, which, &slopes);
        memcpy(fault, k.fault, FAULT);
        base_try_pop(ctx, &frame);
    }
    __atomic_fetch_add(&shared->cover.directions, (uint32_t)slopes.tried, __ATOMIC_RELAXED);
    __atomic_fetch_add(&shared->cover.judged, (uint32_t)slopes.judged, __ATOMIC_RELAXED);
    base_ctx_free(ctx);
}

static void check_seed(uint64_t seed, char *fault)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    const char *text = text_of(seed, ctx, arena);
    if (options.show)
        fputs(text, stdout), fflush(stdout);
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "graph.gir", NULL);
    if (m) {
        pass_run_one(m, pass_by_name("dce"), true);
        count(m);
    }
    check_text(text, seed, options.which, GRAPH_EVERYTHING, fault);
    base_ctx_free(ctx);
}

/* ---- Processes ---- */

/* Ends this process when it has computed, or waited, too long: a busy machine is no fault. */
static void limit_time(unsigned seconds)
{
    struct rusage used;
    struct rlimit limit;
    getrusage(RUSAGE_SELF, &used);
    getrlimit(RLIMIT_CPU, &limit);
    limit.rlim_cur = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + seconds;
    setrlimit(RLIMIT_CPU, &limit);
    alarm(seconds * 20);
}

/* What a child said before it died: the first line of its standard error, or how it ended. */
static void death(int status, const char *errors, char *fault)
{
    FILE *f = fopen(errors, "r");
    char line[800] = "";
    if (f) {
        while (fgets(line, sizeof line, f) && !strstr(line, "internal error") &&
               !strstr(line, "ERROR") && !strstr(line, "runtime error"))
            ;
        fclose(f);
    }
    line[strcspn(line, "\n")] = 0;
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGALRM || WTERMSIG(status) == SIGXCPU))
        snprintf(fault, FAULT, "time out");
    else if (WIFSIGNALED(status))
        snprintf(fault, FAULT, "crash: %s: %s", strsignal(WTERMSIG(status)), line);
    else
        snprintf(fault, FAULT, "exit %d: %s", WEXITSTATUS(status), line);
}

static void redirect(const char *errors)
{
    int fd = open(errors, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (fd >= 0) {
        dup2(fd, 2);
        close(fd);
    }
}

/* Where the standard error of a process goes; number -1: of a single try. */
static const char *errors_of(pid_t parent, int number)
{
    static char path[sizeof folder + 64];
    snprintf(path, sizeof path, "%s/errors-%d-%d", folder, (int)parent, number);
    return path;
}

/* A shrink_try: in a child. */
static void try_text(const char *text, uint64_t seed, int config, int stages, char *fault,
                     size_t size)
{
    const char *errors = errors_of(getpid(), -1);
    *shared->fault = 0;
    fflush(NULL);
    pid_t child = fork();
    if (!child) {
        redirect(errors);
        limit_time(SECONDS / 3);
        check_text(text, seed, config, stages, shared->fault);
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (status)
        death(status, errors, shared->fault);
    unlink(errors);
    snprintf(fault, size, "%s", shared->fault);
}

static void check_here(const char *text, uint64_t seed, int config, int stages, char *fault,
                       size_t size)
{
    (void)size;
    check_text(text, seed, config, stages, fault);
}

/* ---- Failures ---- */

/* The first configuration and stage in which a text fails so; false if there is none. */
static bool find_config(shrinking *s, const char *fault)
{
    char kind[80], other[80], got[FAULT];
    shrink_kind(fault, kind, sizeof kind);
    for (s->config = 0; s->config < GRAPH_CONFIGS; s->config++)
        for (s->stages = s->config ? GRAPH_VALUES : GRAPH_TEXT; s->stages <= GRAPH_SECOND;
             s->stages *= 2) {
            graph_config config = graph_config_of((unsigned)s->config);
            if (!level_runs_here(config.cpu))
                continue;
            try_text(s->text, s->seed, s->config, s->stages, got, sizeof got);
            shrink_kind(got, other, sizeof other);
            if (*got && !strcmp(kind, other))
                return true;
        }
    return false;
}

/* Shrinks a failing graph, reports it, and writes it to a file. */
static void report(uint64_t seed, const char *text, const char *fault)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    shrinking s = {.arena = base_arena_new(ctx), .text = text, .seed = seed, .fails = try_text};
    printf("\nseed %llu: %s\n", (unsigned long long)seed, fault);
    fflush(stdout);
    if (find_config(&s, fault)) {
        shrink(&s, fault, SHRINK_SECONDS);
        char small[FAULT];
        try_text(s.text, seed, s.config, s.stages, small, sizeof small);
        graph_config c = graph_config_of((unsigned)s.config);
        printf("  with %s (--config=%d), made smaller: %s\n", graph_config_text(s.arena, &c),
               s.config, small);
    } else {
        puts("  it did not fail again");
    }
    const char *path = base_format(s.arena, "%s/%llu.gir", folder, (unsigned long long)seed);
    FILE *f = fopen(path, "w");
    if (f) {
        fputs(s.text, f);
        fclose(f);
        printf("  %s\n%s", path, strlen(s.text) < 3000 ? s.text : "");
    }
    fflush(stdout);
    base_ctx_free(ctx);
}

/* ---- Many graphs ---- */

static void work(int number, uint64_t from, uint64_t end)
{
    worker *w = &shared->worker[number];
    for (uint64_t seed = from; seed < end; seed += (uint64_t)options.workers) {
        w->seed = seed;
        w->next = seed + (uint64_t)options.workers;
        redirect(errors_of(getppid(), number));
        limit_time(options.which == GRAPH_TWO ? SECONDS : SECONDS * 10);
        check_seed(seed, w->fault);
        if (*w->fault)
            _exit(3); /* as if it had died: one way to report it */
    }
    _exit(0);
}

static pid_t start_worker(int number, uint64_t from, uint64_t end)
{
    *shared->worker[number].fault = 0;
    fflush(NULL);
    pid_t p = fork();
    if (!p)
        work(number, from, end);
    return p;
}

/* The text of a seed, made in a child process, since the generator may fail; NULL if it dies. */
static const char *safe_text(uint64_t seed, base_ctx *ctx, base_arena *arena)
{
    pid_t p = fork();
    if (!p) {
        redirect("/dev/null");
        text_of(seed, ctx, arena);
        _exit(0);
    }
    int status;
    waitpid(p, &status, 0);
    return status ? NULL : text_of(seed, ctx, arena);
}

typedef struct failure {
    uint64_t seed;
    char fault[FAULT];
} failure;

static bool is_new(const failure *all, int n)
{
    char kind[80], other[80];
    shrink_kind(all[n].fault, kind, sizeof kind);
    int alike = 0;
    for (int i = 0; i < n; i++) {
        shrink_kind(all[i].fault, other, sizeof other);
        alike += !strcmp(kind, other);
    }
    return alike < 3;
}

/* Keeps the workers busy until all seeds are done; the failures, sorted as they came. */
static int run_all(uint64_t first, uint64_t n, failure *all, int most)
{
    pid_t pid[WORKERS];
    int failures = 0, running = options.workers;
    for (int i = 0; i < options.workers; i++)
        pid[i] = start_worker(i, first + (uint64_t)i, first + n);
    while (running) {
        int status = 0, i = 0;
        pid_t p = waitpid(-1, &status, 0);
        while (i < options.workers && pid[i] != p)
            i++;
        if (i == options.workers)
            continue;
        worker *w = &shared->worker[i];
        if (!status) {
            running--;
            continue;
        }
        if (!*w->fault)
            death(status, errors_of(getpid(), i), w->fault);
        if (failures < most) {
            all[failures].seed = w->seed;
            memcpy(all[failures].fault, w->fault, FAULT);
        }
        failures++;
        printf("seed %llu: %.200s\n", (unsigned long long)w->seed, w->fault);
        pid[i] = start_worker(i, w->next, first + n);
    }
    for (int i = 0; i < options.workers; i++)
        unlink(errors_of(getpid(), i));
    return failures;
}

static int many(uint64_t n, uint64_t first, bool shrinks)
{
    enum { MOST = 200 };
    static failure all[MOST];
    time_t start = time(NULL);
    int failures = run_all(first, n, all, MOST), shrunk = 0;
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    for (int i = 0; i < failures && i < MOST && shrunk < SHRUNK && shrinks; i++)
        if (is_new(all, i)) {
            const char *text = safe_text(all[i].seed, ctx, arena);
            if (text)
                report(all[i].seed, text, all[i].fault);
            shrunk++;
        }
    base_ctx_free(ctx);
    if (n > 1)
        cover_print(stdout, &shared->cover);
    int seconds = (int)(time(NULL) - start);
    printf("%llu graphs from seed %llu in %d s: %d failures\n", (unsigned long long)n,
           (unsigned long long)first, seconds, failures);
    return failures != 0;
}

static int one_seed(uint64_t seed)
{
    char fault[FAULT];
    check_seed(seed, fault);
    puts(*fault ? fault : "right");
    return *fault != 0;
}

static int one_file(const char *path, uint64_t seed)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    ir_module *m = gir_read_file(ctx, arena, path);
    char fault[FAULT];
    if (!m) {
        fprintf(stderr, "%s: %s\n", path, base_ctx_why(ctx));
        return 1;
    }
    (options.here ? check_here : try_text)(graph_printed(arena, m), seed,
                                           options.which == GRAPH_TWO ? GRAPH_ALL : options.which,
                                           GRAPH_EVERYTHING, fault, sizeof fault);
    printf("%s: %s\n", path, *fault ? fault : "right");
    base_ctx_free(ctx);
    return *fault != 0;
}

/* Those that were wrong once, in all configurations. */
static int known(void)
{
    static const char where[] = GRADC_SOURCE "/tests/graphs";
    int wrong = 0, found = 0;
    DIR *d = opendir(where);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[sizeof where + 300];
        snprintf(path, sizeof path, "%s/%s", where, e->d_name);
        if (strstr(e->d_name, ".gir")) {
            wrong += one_file(path, 1);
            found++;
        }
    }
    if (d)
        closedir(d);
    if (!found)
        printf("%s: no graphs\n", where);
    return wrong + !found;
}

/* Whether the arguments check anything: a count of graphs, and a configuration that this processor
 * runs. */
static bool asks(const char *count)
{
    graph_config c = graph_config_of(options.which < 0 ? 0 : (unsigned)options.which);
    if (options.which >= GRAPH_CONFIGS || !level_runs_here(c.cpu))
        return fprintf(stderr, "--config: there are %d, and this one must run here\n",
                       GRAPH_CONFIGS),
               false;
    if (count && !strstr(count, ".gir") &&
        (strspn(count, "0123456789") != strlen(count) || !strtoull(count, NULL, 10)))
        return fprintf(stderr, "%s: neither a number of graphs nor a .gir file\n", count), false;
    return true;
}

int main(int argc, char **argv)
{
    const char *word[2] = {NULL, NULL};
    int n = 0;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--all"))
            options.which = GRAPH_ALL;
        else if (!strncmp(argv[i], "--config=", 9))
            options.which = atoi(argv[i] + 9);
        else if (!strcmp(argv[i], "--here"))
            options.here = true;
        else if (!strcmp(argv[i], "--show"))
            options.show = true;
        else if (n < 2)
            word[n++] = argv[i];
    if (!asks(word[0]))
        return 2;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    options.workers = cores < 1 ? 1 : cores > WORKERS ? WORKERS : (int)cores;
    setvbuf(stdout, NULL, _IOLBF, 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 16);
    folder[length < 0 ? 0 : length] = 0;
    char *end = strrchr(folder, '/');
    strcpy(end ? end + 1 : folder, "fuzz-graphs");
    mkdir(folder, 0777);
    uint64_t seed = word[1] ? strtoull(word[1], NULL, 10) : 1;
    if (word[0] && strstr(word[0], ".gir"))
        return one_file(word[0], seed);
    if (options.here)
        return one_seed(seed);
    return word[0] ? many(strtoull(word[0], NULL, 10), seed, true)
                   : known() + many(FEW, seed, false) != 0;
}
