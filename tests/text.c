/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * The text form: what is printed is read back, the same to the byte; what is wrong is reported with its place. */
#include "ir/lex.h"
#include "ir/path.h"
#include "ir/text.h"

#include <check.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct report {
    int line, column;
    char text[300], source[100];
} report;
static struct { report items[IR_MAX_DIAGNOSTICS]; int count; } seen;

static void sink(void *user, ir_severity severity, const ir_loc *loc, const char *text)
{
    (void)user;
    report *r = &seen.items[seen.count++];
    ck_assert_int_eq(severity, IR_ERROR);
    memset(r, 0, sizeof *r);
    r->line = loc ? loc->line : 0;
    r->column = loc ? loc->column : 0;
    snprintf(r->text, sizeof r->text, "%s", text);
    snprintf(r->source, sizeof r->source, "%s", loc && loc->source ? loc->source : "");
}

static ir_ctx *ctx;
static ir_arena *arena;

static void setup(void)
{
    seen.count = 0;
    ctx = ir_ctx_new(sink, NULL);
    arena = ir_arena_new(ctx);
}

static void teardown(void)
{
    ir_ctx_free(ctx);
}

static char *printed(const ir_module *m)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    ir_print(f, m, NULL);
    fclose(f);
    char *copy = ir_strdup(arena, text);
    free(text);
    return copy;
}

static ir_module *parse(const char *text)
{
    return ir_parse(ctx, arena, text, strlen(text), "test.gir", NULL);
}

static void same_lines(const char *a, const char *b)
{
    for (int line = 1; *a || *b; line++) {
        size_t n = strcspn(a, "\n"), k = strcspn(b, "\n");
        if (n != k || memcmp(a, b, n))
            ck_abort_msg("line %d differs:\n%.*s\n%.*s", line, (int)n, a, (int)k, b);
        a += n + (a[n] == '\n');
        b += k + (b[k] == '\n');
    }
}

static char *file_text(const char *path)
{
    ir_data data;
    ck_assert(ir_read_whole_file(arena, path, 1 << 20, &data));
    return (char *)data.bytes;
}

START_TEST(every_op_round_trips)
{
    char *text = file_text("tests/text/ops.gir");
    ir_module *m = parse(text);
    for (int i = 0; i < seen.count; i++)
        fprintf(stderr, "%d:%d: %s\n%s\n", seen.items[i].line, seen.items[i].column, seen.items[i].text, seen.items[i].source);
    ck_assert_ptr_nonnull(m);
    bool used[IR_OPS] = {false};
    for (int i = 0; i < m->funcs.count; i++)
        IR_FOR (inst, m->funcs.items[i])
            used[inst->op] = true;
    for (int op = 0; op < IR_OPS; op++)
        if (!used[op])
            ck_abort_msg("tests/text/ops.gir lacks `%s`", ir_ops[op].name);
    same_lines(printed(m), text);
    same_lines(printed(parse(printed(m))), text);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("text");
    TCase *c = tcase_create("text");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, every_op_round_trips);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
