/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Gradients against torch's in f64, at ties, zeros and infinities too: tests/fixtures/grads.txt,
 * which make_grads.py writes. */
#include "tests/grad.h"

typedef struct reader {
    FILE *file;
    int line;
} reader;

/* The next line; NULL at the end. */
static char *next(reader *r)
{
    char *line = NULL;
    size_t size;
    ssize_t n = getline(&line, &size, r->file);
    char *copy = n > 0 ? base_strndup(arena, line, (size_t)n - 1) : NULL;
    free(line);
    r->line++;
    return copy;
}

static ir_literal *numbers(reader *r, const ir_type *t)
{
    ir_literal *l = ir_literal_new(arena, t);
    char *at = next(r);
    for (int64_t i = 0; i < ir_count(t); i++) {
        char *end;
        ir_literal_set(l, i, strtod(at, &end));
        ck_assert_msg(end != at, "line %d: too few numbers", r->line);
        at = end;
    }
    ck_assert_msg(*at == 0, "line %d: too many numbers", r->line);
    return l;
}

static void check_case(reader *r, const char *name)
{
    const char *params = next(r), *body = "", *line;
    while (strcmp(line = next(r), "."))
        body = base_format(arena, "%s %s\n", body, line);
    const char *text =
        base_format(arena, "gir 1\nmodule \"m\"\nfunc @f(%s) {\n%s return %%y\n}\n", params, body);
    ir_module *m = ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
    ck_assert_msg(m != NULL, "%s: %s", name, first_error);
    ir_func *f = m->funcs.items[0];
    f->entry = true;
    f->results.items[0].name = "y";
    ir_literal *args[64];
    for (int i = 0; i < f->params.count; i++) {
        f->params.items[i].name = f->params.items[i].value->name;
        args[i] = numbers(r, &f->params.items[i].value->type);
    }
    args[f->params.count] = numbers(r, &f->results.items[0].value->type);
    grad_request q;
    grad_all(&q, f, 0);
    ir_func *joint = ad_joint(m, f, &q.r, "joint");
    ck_assert_msg(joint != NULL, "%s: %s", name, first_error);
    ir_literal **results = grad_eval(arena, joint, args);
    for (int i = 1; i < joint->results.count; i++)
        grad_near(base_format(arena, "%s, the gradient of %s", name, joint->results.items[i].name),
                  results[i], numbers(r, &results[i]->type), 1e-12);
    grad_survives_passes(name, joint, args);
    grad_compiled(name, joint, args);
}

START_TEST(gradients_are_those_of_torch)
{
    FILE *file = fopen("tests/fixtures/grads.txt", "r");
    ck_assert(file != NULL);
    int line = 0, cases = 0;
    for (bool more = true; more; cases += more) {
        context_setup();
        reader r = {file, line};
        const char *name = next(&r);
        more = name != NULL;
        if (more)
            check_case(&r, name);
        line = r.line;
        context_teardown();
    }
    fclose(file);
    ck_assert_int_ge(cases, 80);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("grad_torch");
    TCase *c = tcase_create("grad_torch");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, gradients_are_those_of_torch);
    suite_add_tcase(s, c);
    return suite_run(s);
}
