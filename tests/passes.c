/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Passes on text: tests/passes/PASS/NAME.gir holds a module before, a line `---`, and the module
 * after the pass. Every function of it is also evaluated before and after on the same numbers. Two
 * more folders test what is not in the pass table: `partition` splits the function @joint, `widen`
 * widens. What layout, fuse and plan decide is printed as comments; the rows that set what a pass
 * needs run before it. `build/tests/test_passes --update` writes what the passes now give into the
 * files: read the difference before committing. */
#include "base/path.h"
#include "passes/passes.h"
#include "tests/context.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool update;

static char *printed(const ir_module *m)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    ir_print(f, m, NULL);
    fclose(f);
    char *copy = base_strdup(arena, text);
    free(text);
    return copy;
}

/* Small numbers of either sign that differ from each other; integers 0, 1, 2, 0, … so that they
 * serve as indices. */
static ir_literal *sample(const ir_type *t, int salt)
{
    ir_literal *l = ir_literal_new(arena, t);
    for (int64_t i = 0; i < ir_count(t); i++)
        if (ir_is_float(t->dtype))
            ir_literal_set(l, i, (double)((i * 37 + salt * 11) % 29 - 13) / 8);
        else
            ir_literal_set_int(l, i, (i + salt) % (t->dtype == IR_BOOL ? 2 : 3));
    return l;
}

static void same_numbers(const char *where, const ir_literal *a, const ir_literal *b)
{
    ck_assert_msg(ir_type_eq(&a->type, &b->type), "%s: the type changed", where);
    for (int64_t i = 0; i < ir_count(&a->type); i++) {
        double x = ir_literal_get(a, i), y = ir_literal_get(b, i),
               limit = a->type.dtype == IR_F64 ? 1e-12 : 1e-5;
        if (x == y || (x != x && y != y))
            continue;
        ck_assert_msg(ir_is_float(a->type.dtype) && fabs(x - y) <= limit * (1 + fabs(x)),
                      "%s: element %d is %g after, %g before", where, (int)i, y, x);
    }
}

/* All functions of `a` that `b` has too give the same. */
static void same_meaning(const char *where, const ir_module *a, const ir_module *b)
{
    for (int i = 0; i < a->funcs.count; i++) {
        const ir_func *f = a->funcs.items[i], *g = ir_func_by_name(b, f->name);
        if (!g)
            continue;
        ck_assert_int_eq(f->params.count, g->params.count);
        ck_assert_int_eq(f->results.count, g->results.count);
        ir_literal *args[64], *x[64], *y[64];
        for (int k = 0; k < f->params.count; k++)
            args[k] = sample(&f->params.items[k].value->type, k);
        ir_eval(arena, f, args, x, NULL);
        ir_eval(arena, g, args, y, NULL);
        for (int k = 0; k < f->results.count; k++)
            same_numbers(base_format(arena, "%s: @%s result %d", where, f->name, k), x[k], y[k]);
    }
}

/* A parameter's number in the joint function of the module before, or -1; parameters keep their
 * names. */
static int param_of(const ir_func *f, const ir_port *p)
{
    for (int i = 0; i < f->params.count; i++) {
        const ir_port *q = &f->params.items[i];
        if (q->bind == p->bind && q->role == p->role &&
            !strcmp(p->state ? p->state->name : p->name, q->state ? q->state->name : q->name))
            return i;
    }
    return -1;
}

/* forward_train and then backward, which gets what forward_train saved, give what the joint
 * function gave. */
static void same_as_joint(const char *where, const ir_module *before, const ir_module *after)
{
    const ir_func *joint = ir_func_by_name(before, "joint"),
                  *half[] = {ir_func_by_name(after, "forward_train"),
                             ir_func_by_name(after, "backward")};
    ir_literal *args[64], *due[64], *part[64], *got[64],
        **state = base_array(arena, ir_literal *, after->states.count);
    for (int k = 0; k < joint->params.count; k++)
        args[k] = sample(&joint->params.items[k].value->type, k);
    ir_eval(arena, joint, args, due, NULL);
    int done = 0;
    for (int h = 0; h < 2; h++) {
        for (int k = 0; k < half[h]->params.count; k++) {
            const ir_port *p = &half[h]->params.items[k];
            int at = param_of(joint, p);
            part[k] = p->state && state[p->state->index] ? state[p->state->index] : args[at];
        }
        ir_eval(arena, half[h], part, got, NULL);
        for (int k = 0; k < half[h]->results.count; k++) {
            const ir_port *p = &half[h]->results.items[k];
            if (p->bind == IR_STATE)
                /* What backward then sees of a statistic is the new one. */
                state[p->state->index] = got[k];
            if (!p->state || p->state->kind != IR_SAVED)
                same_numbers(base_format(arena, "%s: result %d", where, done), due[done], got[k]),
                    done++;
        }
    }
    ck_assert_int_eq(done, joint->results.count);
}

static void run(ir_module *m, const char *name)
{
    if (!strcmp(name, "partition"))
        train_partition(m, ir_func_by_name(m, "joint"), "forward_train", "backward");
    else if (!strcmp(name, "widen"))
        pass_widen(m);
    else
        for (const pass_info *p = passes, *last = pass_by_name(name); p <= last; p++)
            if (p == last || (last->needs && p->sets))
                pass_run_one(m, p, true);
    ir_verify(m);
}

/* The text without comments, and without lines that are nothing else. */
static const char *bare(const char *text)
{
    char *out = base_alloc(arena, strlen(text) + 1), *to = out;
    for (const char *line = text; *line;) {
        const char *end = strchr(line, '\n') + 1, *cut = strstr(line, "//");
        size_t n = (size_t)(end - line);
        if (cut && cut < end) {
            for (n = (size_t)(cut - line); n && line[n - 1] == ' ';)
                n--;
            memcpy(to, line, n);
            if (n)
                to[n++] = '\n';
        } else {
            memcpy(to, line, n);
        }
        to += n;
        line = end;
    }
    return out;
}

static void check_file(const char *pass, const char *path)
{
    base_data data;
    ck_assert_msg(base_read_whole_file(arena, path, 1 << 20, &data), "%s cannot be read", path);
    const char *text = base_strndup(arena, (const char *)data.bytes, data.size),
               *cut = strstr(text, "\n---\n");
    size_t size = cut ? (size_t)(cut + 1 - text) : strlen(text);
    ir_module *before = ir_parse(ctx, arena, text, size, path, NULL),
              *after = ir_parse(ctx, arena, text, size, path, NULL);
    ck_assert_msg(before && after, "%s: %s", path, first_error);
    run(after, pass);
    const char *got = printed(after);
    if (!strcmp(pass, "partition"))
        same_as_joint(path, before, after);
    else if (strcmp(pass, "widen"))
        same_meaning(path, before, after);
    if (update) {
        FILE *f = fopen(path, "w");
        fprintf(f, "%.*s---\n%s", (int)size, text, got);
        fclose(f);
        return;
    }
    ck_assert_msg(cut && !strcmp(cut + 5, got), "%s: the pass now gives (--update accepts it)\n%s",
                  path, got);
    const ir_module *again = ir_parse(ctx, arena, got, strlen(got), path, NULL);
    ck_assert_msg(again && !strcmp(printed(again), bare(got)), "%s: the result does not read back",
                  path);
}

static void check_folder(const char *pass)
{
    const char *folder = base_format(arena, "tests/passes/%s", pass);
    DIR *d = opendir(folder);
    ck_assert_msg(d != NULL, "%s: no such folder", folder);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (strstr(e->d_name, ".gir")) {
            check_file(pass, base_format(arena, "%s/%s", folder, e->d_name));
            n++;
        }
    closedir(d);
    ck_assert_int_gt(n, 0);
}

START_TEST(text_before_and_after)
{
    check_folder(passes[_i].name);
}
END_TEST

START_TEST(text_before_and_after_others)
{
    check_folder("partition");
    check_folder("widen");
}
END_TEST

int main(int argc, char **argv)
{
    update = argc > 1 && !strcmp(argv[1], "--update");
    Suite *s = suite_create("passes");
    TCase *c = tcase_create("passes");
    tcase_add_checked_fixture(c, context_setup, context_teardown);
    int rows = 0;
    while (passes[rows].name)
        rows++;
    tcase_add_loop_test(c, text_before_and_after, 0, rows);
    tcase_add_test(c, text_before_and_after_others);
    suite_add_tcase(s, c);
    return suite_run(s);
}
